"""What comes to `Latest` from outside: signals, forks, the end of the interpreter, the garbage collector.

Signals, forks and exits are scripts in an interpreter of their own, whose main thread they are.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import weakref

import pytest
from helpers import FORKING, ROUNDS, collect, new_loop, on_loops, run_script, settle, spawn, step, wait_until

from sluicegate import Latest
from sluicegate.testing import ManualClock

signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

COMMON = (
    FORKING
    + """
import asyncio, os, random, signal, sys, threading, time
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

def waiting(latest):
    return latest.statistics().waiting_readers

main_thread = threading.main_thread().ident
"""
)
BLOCKING = {
    "get": "Latest(clock=clock).get()",
    "timeout": "Latest(clock=clock).get(timeout=2000)",
    "changed": "latest.changed()",
    "for": "list(latest)",
    "every": "list(latest.every(1000))",
}


# ------------------------------------------------------------------------------------------------------------- signals


@signals
@pytest.mark.parametrize("call", list(BLOCKING))
def test_ctrl_c(call):
    """It ends every blocking call, no waiter is left in the wait queue, and later waiters go on."""
    run_script(
        COMMON
        + f"""
for turn in range(5):
    clock = ManualClock()
    latest = Latest(1, clock=clock)

    def interrupt():
        clock.wait_for_waiters(1)
        thread = start(latest.changed)
        clock.wait_for_waiters(2)
        os.kill(os.getpid(), signal.SIGINT)
        return thread

    thread = start(interrupt)
    try:
        {BLOCKING[call]}
    except KeyboardInterrupt:
        pass
    else:
        raise SystemExit("it returned")
    thread.join()
    latest.set(2)
    until(lambda: waiting(latest) == 0)
    assert clock.waiters == 0
"""
    )


@signals
def test_an_interrupt_races_with_a_set():
    """However they meet, the value is there afterwards, and for a reader who asks again."""
    run_script(
        COMMON
        + f"""
class Interrupted(Exception):
    pass

def handler(number, frame):
    raise Interrupted

signal.signal(signal.SIGUSR1, handler)
latest = Latest(0)
dice = random.Random(7)
interrupted = 0
for turn in range({ROUNDS}):
    version = latest.version

    def both(delay=dice.random() * 0.0005, first=dice.random() < 0.5):
        until(lambda: waiting(latest) == 1)
        if first:
            latest.set(turn)
        time.sleep(delay)
        signal.pthread_kill(main_thread, signal.SIGUSR1)
        if not first:
            latest.set(turn)

    thread = threading.Thread(target=both)
    try:
        thread.start()
        assert latest.changed(version) == (turn, version + 1)
        thread.join()
    except Interrupted:
        interrupted += 1
    while thread.is_alive():
        try:
            thread.join()
        except Interrupted:
            pass
    assert latest.changed(version, timeout=30) == (turn, version + 1)
    assert waiting(latest) == 0
assert interrupted > 0
"""
    )


@signals
def test_handlers_that_return_let_the_wait_go_on():
    """The wait goes on with the time that is left (PEP 475); a handler may itself set the value, and wait for it."""
    run_script(
        COMMON
        + """
clock = ManualClock()
latest = Latest(0, clock=clock)
seen = []

def handler(number, frame):
    start(latest.set, 1)
    seen.append(latest.changed(1))  # a wait inside the wait: the outer one steps aside, and is told afterwards

signal.signal(signal.SIGUSR1, handler)

def drive():
    clock.wait_for_waiters(1)
    clock.advance(3)
    signal.pthread_kill(main_thread, signal.SIGUSR1)

thread = start(drive)
assert latest.changed(1, timeout=10) == (1, 2)
thread.join()
assert seen == [(1, 2)], seen
assert (waiting(latest), clock.now(), clock.waiters) == (0, 3.0, 0)

def handler(number, frame):
    seen.append(2)

signal.signal(signal.SIGUSR1, handler)

def drive():
    clock.wait_for_waiters(1)
    signal.pthread_kill(main_thread, signal.SIGUSR1)
    until(lambda: len(seen) == 2)
    clock.advance(9.999999999)
    assert waiting(latest) == 1
    clock.advance(0.000000001)

thread = start(drive)
try:
    latest.changed(timeout=10)
except Empty:
    pass
else:
    raise SystemExit("there was nothing")
thread.join()
assert clock.now() == 13.0
"""
    )


@signals
def test_it_is_used_in_a_handler():
    """At any moment of a set and a get on the same object, and in a finaliser."""
    run_script(
        COMMON
        + f"""
latest = Latest(0)
count = 0

class Value:
    def __del__(self):
        latest.peek()

def handler(number, frame):
    global count
    count += 1
    latest.set(Value())
    latest.get()

signal.signal(signal.SIGUSR1, handler)
ended = False

def shoot():
    while not ended:
        signal.pthread_kill(main_thread, signal.SIGUSR1)
        time.sleep(0.0001)

thread = start(shoot)
until(lambda: count > 0)
for _ in range({ROUNDS * 100}):
    latest.set(Value())
    latest.get()
    latest.changed(0)
ended = True
thread.join()
assert latest.version == 1 + count + {ROUNDS * 100}
"""
    )


# --------------------------------------------------------------------------------------------------------------- forks


@forks
def test_fork_with_readers_waiting():
    """The child has the value and the version, no waiters, and works; the parent's readers are served."""
    run_script(
        COMMON
        + """
latest = Latest()
ticking = Latest(1)

def tick():
    assert list(ticking.every(1000)) == [1, 2]

threads = [start(latest.get), start(lambda: asyncio.run(latest.get_async())), start(tick)]
until(lambda: waiting(latest) == 2 and waiting(ticking) == 1)

def child():
    assert (waiting(latest), waiting(ticking)) == (0, 0)
    assert (latest.version, ticking.get()) == (0, 1)
    try:
        latest.get(timeout=0.01)
    except Empty:
        pass
    waiter = start(latest.get)
    until(lambda: waiting(latest) == 1)
    latest.set(7)
    waiter.join(20)
    assert not waiter.is_alive()
    ticking.shutdown()
    assert list(ticking) == [1]

check(in_child(child), in_child(child))
latest.set(8)
ticking.set(2)
ticking.shutdown()
for thread in threads:
    thread.join(20)
    assert not thread.is_alive()
assert latest.get() == 8
"""
    )


@forks
@signals
def test_a_handler_that_forks_in_the_middle_of_a_wait():
    """The child's wait goes on in a line of its own."""
    run_script(
        COMMON
        + """
latest = Latest(0)
child = None

def handler(number, frame):
    global child
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        start(lambda: (until(lambda: waiting(latest) == 1), latest.set("child")))

signal.signal(signal.SIGUSR1, handler)

def interrupt():
    until(lambda: waiting(latest) == 1)
    signal.pthread_kill(main_thread, signal.SIGUSR1)
    until(lambda: child)
    latest.set("parent")

start(interrupt)
value, version = latest.changed(1)
if child == 0:
    os._exit(0 if (value, version) == ("child", 2) else 1)
assert (value, version) == ("parent", 2)
check(child)
"""
    )


# ---------------------------------------------------------------------------------------------------------------- exit


def test_exit_with_everybody_waiting():
    """Daemon threads in every call, tasks on a loop left as it is: the interpreter leaves, and says nothing."""
    told = run_script(
        COMMON
        + """
latest, ticking = Latest(), Latest(1)

def on_a_loop():
    loop = asyncio.new_event_loop()

    async def follow(values):
        async for _ in values:
            pass

    tasks = [loop.create_task(wait) for wait in (latest.get_async(), follow(latest), follow(ticking.every(1000)))]
    loop.run_forever()

for function, *args in ((latest.get,), (latest.get, 1000), (latest.changed,), (list, latest), (list, ticking.every(1000)), (on_a_loop,)):
    start(function, *args)
until(lambda: waiting(latest) == 6 and waiting(ticking) == 2)

class AtTheEnd:
    def __del__(self):
        latest.set(3)
        ticking.shutdown()

sys.at_the_end = AtTheEnd()
busy = Latest(0)

def write():
    while True:
        busy.set(object())

def read():
    for _ in busy:
        pass

start(write)
start(read)
print("end")
""",
        limit=30,
    )
    assert told.endswith("end\n")


# ------------------------------------------------------------------------------------------------------------------ gc


class Box:
    """A thing to refer to, and to be referred to."""


def test_cycles_are_collected():
    """Through the value, an error, an iterator, ticks, a subclass."""

    class Mine(Latest[object]):
        pass

    references = []
    for kind in (Latest, Mine):
        for tie in ("value", "initial", "error", "iterator", "ticks"):
            box = Box()
            latest = kind(box) if tie == "initial" else kind()
            if tie == "value":
                latest.set(box)
            elif tie == "error":
                error = ValueError()
                error.box = box
                latest.fail(error)
                del error
            elif tie == "iterator":
                box.values = iter(latest)
                latest.set(box)
            elif tie == "ticks":
                box.values = latest.every(1)
                latest.set(box)
            box.latest = latest
            references += [weakref.ref(latest), weakref.ref(box)]
            del latest, box
    assert any(reference() is not None for reference in references)
    collect()
    assert [reference() for reference in references] == [None] * len(references)


def test_the_collector_sees_the_value_once():
    """So it does not take what is alive for garbage."""
    box, latest = Box(), Latest()
    latest.set(box)
    assert gc.get_referents(latest).count(box) == 1
    reference = weakref.ref(box)
    del box
    collect()
    assert reference() is latest.get()


def test_no_reference_is_kept_of_what_was_replaced():
    """Nor of what was refused or removed."""
    latest = Latest()
    boxes = [Box() for _ in range(5)]
    references = [weakref.ref(box) for box in boxes]
    for box in boxes[:3]:
        latest.set(box)
    latest.shutdown(immediate=True)
    for box in boxes[3:]:
        with pytest.raises(Exception, match="shut down"):
            latest.set(box)
    del boxes, box
    collect()
    assert [reference() for reference in references] == [None] * 5


@on_loops
async def test_a_cycle_through_a_waiting_task():
    """Nobody but the two knows the object and the task: both go."""
    latest = Latest()

    async def wait(latest):
        await latest.get_async()

    task = asyncio.ensure_future(wait(latest))
    await settle()
    assert latest.statistics().waiting_readers == 1
    references = [weakref.ref(latest), weakref.ref(task)]
    del latest, task
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
    await settle()
    collect()
    assert [reference() for reference in references] == [None, None]


def test_a_coroutine_that_is_dropped_leaves_the_line():
    """Closed, or collected."""
    latest = Latest()
    loop = new_loop()

    async def main():
        coroutine = latest.get_async()
        assert step(coroutine) == (False, None)
        assert latest.statistics().waiting_readers == 1
        del coroutine
        collect()
        assert latest.statistics().waiting_readers == 0

    loop.run_until_complete(main())
    loop.close()


def test_an_object_with_a_blocked_thread_stays():
    """The thread holds it; the clock does not."""
    clock = ManualClock()
    latest = Latest(clock=clock)
    reference = weakref.ref(latest)
    thread = spawn(latest.get)
    clock.wait_for_waiters(1)
    del latest
    collect()
    reference().set(1)
    assert thread.result() == 1
    del thread
    collect()
    wait_until(lambda: reference() is None)
