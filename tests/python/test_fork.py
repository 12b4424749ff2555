"""After `fork` the child has a usable queue without waiters, whatever its parent's threads were doing.

Each test is a script of its own; its children tell by their exit status. Python warns of forks with threads: here that
is the point.
"""

from __future__ import annotations

import os

import pytest
from helpers import FORKING, ROUNDS, run_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

COMMON = (
    FORKING
    + """
import asyncio, os, signal, sys, threading, time, traceback
from sluicegate import *

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
    return seen.waiting_getters + seen.waiting_putters + seen.waiting_joiners

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
)


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue", "OneKey", "Composed", "OneKeyComposed", "Hooked"])
def test_fork_with_threads_blocked(kind):
    """Threads blocked in get, put and join: the child's queues have their items and no waiters, and work."""
    run_script(
        COMMON
        + f"""
empty, full = {kind}(1), {kind}(1)
full.put(0)
threads = [start(empty.get), start(empty.get_many, 3), start(full.put, 1), start(full.put_many, [2, 3]), start(full.join)]
until(lambda: waiters(empty) == 2 and waiters(full) == 3)

def child():
    assert waiters(empty) == 0 and waiters(full) == 0
    assert (empty.qsize(), full.qsize(), full.unfinished_tasks) == (0, 1, 1)
    empty.put(7)
    assert empty.get() == 7
    assert full.get() == 0
    full.put(8)
    assert full.get() == 8
    # Nothing of the parent's waiters comes back, and new ones are served.
    got = []
    getter = start(lambda: got.append(empty.get()))
    until(lambda: waiters(empty) == 1)
    empty.put(9)
    getter.join(10)
    assert got == [9]
    full.put(1)
    putter = start(full.put, 2)
    until(lambda: waiters(full) == 1)
    assert full.get() == 1
    putter.join(10)
    assert full.get() == 2
    for _ in range(4):
        full.task_done()
    full.join(timeout=5)
    assert asyncio.run(asyncio.wait_for(both(), 10)) == "async"

async def both():
    task = asyncio.ensure_future(empty.get_async())
    await asyncio.sleep(0)
    await empty.put_async("async")
    return await task

check(in_child(child), in_child(child))
# The parent's waiters have noticed nothing.
assert waiters(empty) == 2 and waiters(full) == 3
empty.put("a"); empty.put("b")
got = [full.get(timeout=10) for _ in range(4)]
assert sorted(got) == [0, 1, 2, 3]
for _ in got:
    full.task_done()
for thread in threads:
    thread.join(10)
    assert not thread.is_alive()
"""
    )


@pytest.mark.parametrize("kind", ["Queue", "PriorityQueue", "OneKey", "Composed", "OneKeyComposed", "SimpleQueue", "Hooked"])
def test_fork_with_threads_in_the_middle_of_operations(kind):
    """Forks while four threads put and get as fast as they can: every child finds a whole, usable queue."""
    run_script(
        COMMON
        + f"""
kind = {kind}
queue = kind() if kind is SimpleQueue else kind(4)
stop = False

def put():
    while not stop:
        try:
            queue.put(5, timeout=0.01)
        except Full:
            pass
        if queue.qsize() > 1000:
            time.sleep(0.001)  # without a bound it would grow faster than a child can empty it

def get():
    while not stop:
        try:
            queue.get(timeout=0.01)
        except Empty:
            pass

threads = [start(put), start(put), start(get), start(get)]

def child():
    size = queue.qsize()
    seen = queue.statistics()
    if kind is not Hooked:  # whose owner may have forked away between its hook and our count
        assert seen.size == size == seen.puts - seen.gets, (seen, size)
    assert seen.waiting_getters == seen.waiting_putters == 0
    got = [queue.get(timeout=1) for _ in range(size)]
    assert got == [5] * size
    for number in range(100):
        queue.put(number, timeout=1)
        assert queue.get(timeout=1) == number

for _ in range({max(20, ROUNDS // 5)}):
    check(in_child(child))
stop = True
for thread in threads:
    thread.join(10)
    assert not thread.is_alive()
""",
        limit=120,
    )


def test_fork_inside_a_signal_handler():
    """A handler that forks inside a waiting `get`: the child's wait goes on, on a line without its parent's waiters."""
    run_script(
        COMMON
        + """
queue = Queue()
children = []

def handler(number, frame):
    pid = os.fork()
    if pid:
        children.append(pid)
    else:
        signal.alarm(20)
        start(late_put)

def late_put():
    time.sleep(0.05)
    queue.put("of the child")

signal.signal(signal.SIGUSR1, handler)
parent = os.getpid()

def drive():
    until(lambda: waiters(queue) == 2)
    os.kill(parent, signal.SIGUSR1)
    until(lambda: children)
    queue.put("one")
    queue.put("two")

got = []
behind = start(lambda: got.append(queue.get()))
until(lambda: waiters(queue) == 1)
start(drive)
item = queue.get()
if os.getpid() != parent:
    status = 0 if item == "of the child" and waiters(queue) == 0 else 1
    os._exit(status)
behind.join(10)
assert sorted([item, *got]) == ["one", "two"]
check(*children)
"""
    )


def test_fork_inside_a_hook_and_a_comparison():
    """A fork while the baton is held: the child, whose owner thread it is, finishes the operation and goes on."""
    run_script(
        COMMON
        + """
children = []

def fork():
    pid = os.fork()
    if pid:
        children.append(pid)
    else:
        signal.alarm(20)

class Forking(Hooked):
    def _put(self, item):
        if item == "fork":
            fork()
        super()._put(item)

class Number:
    def __init__(self, number): self.number = number
    def __lt__(self, other):
        if self.number == 0:
            fork()
        return self.number < other.number

parent = os.getpid()
hooked = Forking()
hooked.put("fork")
assert hooked.get(timeout=1) == "fork"
hooked.put("more")
assert hooked.get(timeout=1) == "more"
if os.getpid() != parent:
    os._exit(0)
check(*children)

children.clear()
heap = PriorityQueue()
heap.put(Number(1))
heap.put(Number(0))
assert [heap.get(timeout=1).number for _ in range(2)] == [0, 1]
if os.getpid() != parent:
    os._exit(0)
check(*children)
"""
    )


def test_fork_while_another_thread_holds_the_baton():
    """The baton's owner does not exist in the child: it is given up there, and the queue works."""
    run_script(
        COMMON
        + """
inside, go_on = threading.Event(), threading.Event()

class Slow(Hooked):
    def _put(self, item):
        if item == "slow":
            inside.set()
            go_on.wait()
        super()._put(item)

queue = Slow()
thread = start(queue.put, "slow")
inside.wait()

def child():
    queue.put("of the child", timeout=5)
    got = []
    while queue.qsize():
        got.append(queue.get(timeout=5))
    assert "of the child" in got, got

check(in_child(child))
go_on.set()
thread.join(10)
assert queue.get(timeout=5) == "slow"
"""
    )


def test_fork_inside_del():
    """A fork in an item's `__del__` during `clear`."""
    run_script(
        COMMON
        + """
parent, children = os.getpid(), []

class Item:
    def __del__(self):
        if os.getpid() == parent and not children:
            pid = os.fork()
            if pid:
                children.append(pid)
            else:
                signal.alarm(20)

queue = Queue()
queue.put(Item()); queue.put("plain")
assert queue.clear() == 2
queue.put("after")
assert queue.get() == "after"
if os.getpid() != parent:
    os._exit(0)
check(*children)
"""
    )


def test_fork_with_a_loop_waiting():
    """A task of the parent waits: the child's put keeps its item, the parent's task is not touched."""
    run_script(
        COMMON
        + """
queue = Queue()

async def main():
    getter = asyncio.create_task(queue.get_async())
    await asyncio.sleep(0)

    def child():
        assert waiters(queue) == 0
        queue.put("of the child")
        assert queue.qsize() == 1
        assert queue.get(timeout=1) == "of the child"
        got = []
        thread = start(lambda: got.append(asyncio.run(queue.get_async())))
        until(lambda: waiters(queue) == 1)
        queue.put("again")
        thread.join(10)
        assert got == ["again"]

    check(in_child(child))
    await asyncio.sleep(0.01)
    assert not getter.done()
    queue.put("of the parent")
    assert await getter == "of the parent"

asyncio.run(main())
"""
    )


def test_fork_with_a_wake_up_on_its_way():
    """A wake-up granted but not yet delivered at the fork: child and parent each have the item, once."""
    run_script(
        COMMON
        + """
queue = Queue()
got = []

async def main():
    getter = asyncio.create_task(queue.get_async())
    await asyncio.sleep(0)
    thread = start(queue.put, "item")
    thread.join()

    def child():
        assert queue.qsize() == 1
        assert waiters(queue) == 0
        assert queue.get(timeout=1) == "item"
        assert queue.qsize() == 0

    check(in_child(child))
    assert await getter == "item"

asyncio.run(main())
"""
    )


def test_multiprocessing_fork():
    """`multiprocessing` with the fork method: a queue inherited as a global works in the child."""
    run_script(
        COMMON
        + """
import multiprocessing
queue = Queue()
queue.put("inherited")
start(Queue().get)

def child():
    assert queue.get(timeout=1) == "inherited"
    queue.put(1)
    assert queue.get(timeout=1) == 1

process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join(20)
assert process.exitcode == 0
assert queue.qsize() == 1
"""
    )


@pytest.mark.parametrize(
    ("work", "in_child", "in_parent"),
    [
        # A put and a get that are not over when the fork comes have happened wholly or not at all: the item of the put is in the heap.
        ("q.put(Item(-1))", [[-1, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4]], [-1, 0, 1, 2, 3, 4]),
        ("got.append(q.get())", [[0, 1, 2, 3, 4]], [1, 2, 3, 4]),
        ("got.extend(q.get_many(3))", [[0, 1, 2, 3, 4]], [3, 4]),
        ("q.put_many([Item(5), Item(-1)])", [[-1, 0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4]], [-1, 0, 1, 2, 3, 4, 5]),
    ],
)
@pytest.mark.parametrize("at", [1, 2, 3])
def test_fork_while_another_thread_is_inside_a_heap(work, in_child, in_parent, at):
    """Whatever comparison of whatever operation it is in: nothing that was in the heap is lost in the child."""
    run_script(
        COMMON
        + f"""
inside, leave = threading.Event(), threading.Event()
comparisons = None

class Item:
    def __init__(self, value): self.value = value
    def __lt__(self, other):
        global comparisons
        if comparisons is not None and threading.current_thread() is not threading.main_thread():
            comparisons += 1
            if comparisons == {at}:
                inside.set()
                leave.wait(30)
        return self.value < other.value

q, got = PriorityQueue(), []
for value in (3, 1, 4, 0, 2):
    q.put(Item(value))
comparisons = 0
owner = start(lambda: {work})
while owner.is_alive() and not inside.is_set():
    time.sleep(0.001)

def child():
    items = [item.value for item in q.queue]
    assert len(items) == q.qsize(), (items, q.qsize())
    out = [q.get().value for _ in range(q.qsize())]
    assert sorted(items) == out, (items, out)
    assert out in {in_child!r} or not inside.is_set(), out
    assert q.unfinished_tasks == len(out)
    q.put(Item(7))
    assert q.get().value == 7

check(in_child(child))
leave.set()
owner.join(30)
assert [q.get().value for _ in range(q.qsize())] == {in_parent!r}
"""
    )


def test_a_heap_made_anew_in_the_middle_of_a_comparison():
    """By `__init__`, from a comparison: what is compared is not there any more."""
    from sluicegate import PriorityQueue

    class Item:
        def __init__(self, value, act=None):
            self.value, self.act = value, act

        def __lt__(self, other):
            if self.act:
                self.act()
            return self.value < other.value

    q = PriorityQueue()
    for value in range(5):
        q.put(Item(value))
    with pytest.raises(RuntimeError, match="made anew"):
        q.put(Item(-1, lambda: q.__init__()))
    assert q.qsize() == 0
    q.put(Item(1))
    assert q.get().value == 1
