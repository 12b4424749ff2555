"""An interpreter that exits with the queues in use neither crashes nor hangs, and says nothing."""

from __future__ import annotations

import pytest
from helpers import LOOP_KINDS, run_script

COMMON = """
import asyncio, atexit, sys, threading, time
from sluicegate import *
from sluicegate.testing import ManualClock

def until(predicate, seconds=30):
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.0005)

def start(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread

def waiters(queue):
    seen = queue.statistics()
    return seen.waiting_getters + seen.waiting_putters + getattr(seen, "waiting_joiners", 0)

class OneKey(FairQueue):
    def __init__(self, maxsize=0): super().__init__(maxsize, key=lambda item: 0)

# With everything that a queue can be composed of, and so much of it that nothing is ever dropped.
def parts(maxsize):
    return dict(weigh=lambda item: 1, max_weight=maxsize or 1 << 30, shed=CoDel(3600, 3600), track_latency=True, high=0.8, low=0.5)

class Composed(Queue):
    def __init__(self, maxsize=0): super().__init__(maxsize, **parts(maxsize))

class OneKeyComposed(FairQueue):
    def __init__(self, maxsize=0): super().__init__(maxsize, key=lambda item: 0, **parts(maxsize))

class Hooked(Queue):
    def _init(self, maxsize): self.held = []
    def _qsize(self): return len(self.held)
    def _put(self, item): self.held.append(item)
    def _get(self): return self.held.pop(0)
"""


def ends(source, **options):
    """The script reaches its last line, leaves with 0 and writes nothing on stderr."""
    assert run_script(COMMON + source + "\nprint('end')\n", limit=30, **options).endswith("end\n")


@pytest.mark.parametrize("kind", ["Queue", "PriorityQueue", "OneKey", "Composed", "OneKeyComposed", "Hooked"])
def test_daemon_threads_blocked(kind):
    """Daemon threads blocked in every call that waits."""
    ends(
        f"""
empty, full = {kind}(1), {kind}(1)
full.put(0)
start(empty.get)
start(empty.get, True, 1000)
start(empty.get_many, 5)
start(list, empty)
start(full.put, 1)
start(full.put, 1, True, 1000)
start(full.put_many, [1, 2])
start(full.join)
until(lambda: waiters(empty) == 4 and waiters(full) == 4)
"""
    )


def test_daemon_threads_blocked_on_a_simple_queue():
    """The same on `SimpleQueue`."""
    ends(
        """
queue = SimpleQueue()
for _ in range(3):
    start(queue.get)
until(lambda: waiters(queue) == 3)
"""
    )


def test_daemon_threads_woken_at_the_very_end():
    """A finaliser which wakes blocked daemon threads as the interpreter goes."""
    ends(
        """
queue = Queue()
for _ in range(3):
    start(queue.get)
until(lambda: waiters(queue) == 3)

class Late:
    def __del__(self):
        try:
            queue.put_many([1, 2, 3])
            queue.shutdown()
        except BaseException:
            pass

late = Late()
sys.modules["a module which goes last"] = Late()
atexit.register(queue.put, 0)
"""
    )


@pytest.mark.parametrize("kind", ["Queue", "PriorityQueue", "OneKey", "Composed", "OneKeyComposed", "SimpleQueue", "Hooked"])
def test_daemon_threads_at_full_speed(kind):
    """Daemon threads which put and get as fast as they can while the interpreter goes."""
    ends(
        f"""
kind = {kind}
queue = kind() if kind is SimpleQueue else kind(2)

def both():
    while True:
        queue.put(1)
        queue.get()

for _ in range(4):
    start(both)
until(lambda: queue.statistics().puts > 1000)
"""
    )


def test_daemon_threads_with_items_that_have_finalisers():
    """Items with `__del__` in the hands of blocked daemon threads and in the queue."""
    ends(
        """
class Item:
    def __init__(self, queue): self.queue = queue
    def __del__(self):
        try:
            self.queue.put_nowait("from __del__")
        except BaseException:
            pass

queue = Queue(1)
queue.put(Item(queue))
for _ in range(3):
    start(queue.put, Item(queue))
until(lambda: waiters(queue) == 3)
"""
    )


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
def test_a_pending_get_async_on_a_loop_left_as_it_is(loop_kind):
    """A loop neither closed nor drained with getters and putters pending."""
    ends(
        f"""
import logging
logging.disable()  # asyncio says that a pending task was destroyed; that is not ours
if {loop_kind!r} == "uvloop":
    import uvloop
    loop = uvloop.new_event_loop()
else:
    loop = asyncio.new_event_loop()
import warnings
warnings.simplefilter("ignore", ResourceWarning)
empty, full = Queue(), Queue(1)
full.put(0)
tasks = [loop.create_task(c) for c in (empty.get_async(), empty.get_many_async(2), full.put_async(1), full.join_async())]
loop.run_until_complete(asyncio.sleep(0.01))
assert waiters(empty) == 2 and waiters(full) == 2
"""
    )


def test_a_pending_get_async_in_asyncio_run():
    """`asyncio.run` cancels what is pending, and the interpreter ends."""
    ends(
        """
queue = Queue()

async def main():
    global task
    task = asyncio.create_task(queue.get_async())
    await asyncio.sleep(0)

asyncio.run(main())
assert task.cancelled()
assert waiters(queue) == 0
"""
    )


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
def test_a_loop_in_a_daemon_thread(loop_kind):
    """A loop that runs in a daemon thread, with a getter pending and a busy pair."""
    ends(
        f"""
import logging
logging.disable()
import warnings
warnings.simplefilter("ignore", ResourceWarning)
if {loop_kind!r} == "uvloop":
    import uvloop
    loop = uvloop.new_event_loop()
else:
    loop = asyncio.new_event_loop()
start(loop.run_forever)
queue, busy = Queue(), Queue(1)

async def pump():
    while True:
        await busy.put_async(1)

asyncio.run_coroutine_threadsafe(queue.get_async(), loop)
asyncio.run_coroutine_threadsafe(pump(), loop)
start(list, busy)
until(lambda: waiters(queue) == 1 and busy.statistics().gets > 1000)
"""
    )


def test_queues_in_module_globals():
    """Queues referenced from module globals, builtins and each other, with items that refer back."""
    ends(
        """
import builtins
queue = Queue(name="global")
queue.put(queue)
queue.put(sys.modules[__name__])
builtins.sluicegate_queue = other = PriorityQueue()
other.put((1, queue))
queue.put(other)
alive = [iter(queue), queue.producers(2), queue.consumers(2), queue.statistics(), ManualClock()]
"""
    )


def test_atexit_uses_queues():
    """Exit handlers may put, get, wait with a timeout and shut down."""
    ends(
        """
queue = Queue(1)

def last():
    queue.put(1)
    assert queue.get() == 1
    try:
        queue.get(timeout=0.01)
    except Empty:
        pass
    queue.shutdown()
    assert list(queue) == []

atexit.register(last)
"""
    )


def test_threads_that_are_joined_at_exit():
    """A thread that is no daemon and blocked in `get` holds the exit until `atexit` of threading lets it go."""
    ends(
        """
queue = Queue()
thread = threading.Thread(target=queue.get)
thread.start()
until(lambda: waiters(queue) == 1)
threading._register_atexit(queue.put, "go")
"""
    )


def test_exit_by_exception_with_waiters():
    """An error that ends the program is shown, and the program ends."""
    out = run_script(
        COMMON
        + """
queue = Queue()
start(queue.get)
until(lambda: waiters(queue) == 1)
sys.excepthook = lambda *error: print("hook", error[0].__name__, flush=True)
import os
try:
    raise LookupError
except LookupError:
    sys.excepthook(*sys.exc_info())
    sys.exit(0)
""",
        limit=30,
    )
    assert out == "hook LookupError\n"


def test_import_twice_and_exit():
    """The module forgotten and imported again: both copies end in peace."""
    ends(
        """
first = Queue()
start(first.get)
for name in [name for name in sys.modules if name.split(".")[0] == "sluicegate"]:
    if name != "sluicegate._core":
        del sys.modules[name]
import sluicegate
second = sluicegate.Queue()
start(second.get)
until(lambda: waiters(first) == 1 and waiters(second) == 1)
"""
    )
