"""Adaptive limits at the ends of things: a fork, the end of the interpreter, signals, the garbage collector, an import."""

from __future__ import annotations

import os
import sys

import pytest
from helpers import FORKING, run_script

signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

COMMON = (
    FORKING
    + """
import asyncio, gc, os, signal, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from sluicegate import AdaptiveConcurrency, Overloaded
from sluicegate.testing import ManualClock

def start(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_child_of_a_fork_has_all_slots():
    """Calls of the parent's threads never end in the child, so they hold no slot there; its waiters are not there either."""
    assert run_script(
        COMMON
        + """
clock = ManualClock()
limiter = AdaptiveConcurrency(target=1, initial=2, max=2, max_waiting=5, clock=clock)
end = threading.Event()

def call():
    with limiter.permit():
        end.wait()

def wait():
    with limiter.permit():
        pass

thread, own = start(call), limiter.permit()
while limiter.in_flight != 1:
    time.sleep(0.001)
own.acquire()
waiter = start(wait)
clock.wait_for_waiters(1)

def child():
    assert limiter.statistics().waiters == 0 and limiter.in_flight == 0
    with limiter.permit(), limiter.permit():
        assert limiter.in_flight == 2
    own.success()  # the parent's call
    assert limiter.in_flight == 0
    assert own.try_acquire() and limiter.in_flight == 1
    own.ignore()

def child_holding():
    with own:  # it is not held here
        assert limiter.in_flight == 1
    assert limiter.in_flight == 0

check(in_child(child))
check(in_child(child_holding))
assert (limiter.in_flight, limiter.statistics().waiters) == (2, 1)
own.success()
waiter.join()
end.set()
thread.join()
assert limiter.in_flight == 0
print("end")
"""
    ).endswith("end\n")


def test_the_end_of_the_interpreter():
    """Held permits in globals, a limiter used in atexit, threads that wait and threads at full speed, a task in the wait queue."""
    assert run_script(
        COMMON
        + """
import atexit
warnings.simplefilter("ignore", ResourceWarning)
limiter, full = AdaptiveConcurrency(target=1, max_waiting=99), AdaptiveConcurrency(target=1, initial=1, max_waiting=9)
held = full.permit()
held.acquire()

def work(number):
    while True:
        with limiter.permit() as permit:
            permit.failure() if number % 2 else permit.success()

def wait():
    with full.permit():
        pass

def last():
    with limiter.permit(timeout=1):
        pass
    print("end")

atexit.register(last)
for number in range(3):
    start(work, number)
    start(wait)
coroutine = full.permit().acquire_async()
async def step():
    coroutine.send(None)
asyncio.run(step())
"""
    ).endswith("end\n")


@signals
def test_ctrl_c_in_line():
    """Nothing is taken, no waiter is left in the wait queue, and later waiters go on."""
    assert run_script(
        COMMON
        + """
for turn in range(3):
    clock = ManualClock()
    limiter = AdaptiveConcurrency(target=1, initial=1, max=1, max_waiting=9, clock=clock)
    held = limiter.permit()
    held.acquire()

    def behind():
        with limiter.permit():
            pass

    def interrupt():
        clock.wait_for_waiters(1)
        thread = start(behind)
        clock.wait_for_waiters(2)
        os.kill(os.getpid(), signal.SIGINT)
        return thread

    box = []
    helper = start(lambda: box.append(interrupt()))
    try:
        with limiter.permit(timeout=(None, 2000)[turn % 2]):
            raise SystemExit("it was admitted")
    except KeyboardInterrupt:
        pass
    helper.join()
    held.ignore()
    box[0].join()
    seen = limiter.statistics()
    assert (seen.in_flight, seen.waiters, seen.calls) == (0, 0, 2), seen
print("end")
"""
    ).endswith("end\n")


@signals
def test_a_signal_handler_uses_the_limiter_in_the_middle_of_a_wait():
    """It tries, and it waits: the interrupted wait steps aside and keeps its place."""
    assert run_script(
        COMMON
        + """
limiter = AdaptiveConcurrency(target=1, initial=1, max=1, max_waiting=9)
held = limiter.permit()
held.acquire()
turns = []

def handler(number, frame):
    assert not limiter.permit().try_acquire()
    held.ignore()
    with limiter.permit():
        turns.append(limiter.statistics().waiters)
    held.acquire()
    start(lambda: (time.sleep(0.01), held.ignore()))

signal.signal(signal.SIGUSR1, handler)

def interrupt():
    while not limiter.statistics().waiters:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGUSR1)

start(interrupt)
with limiter.permit():
    assert turns == [1], turns
assert limiter.in_flight == 0
print("end")
"""
    ).endswith("end\n")


def test_everything_that_python_runs_may_use_the_limiter():
    """A predicate, a repr in a warning, a finaliser in a collection, and the log of an unmet target."""
    assert run_script(
        COMMON
        + """
import logging
clock = ManualClock()
used = []

def use(*args):
    with limiter.permit() as permit:
        permit.ignore()
    repr(limiter), limiter.statistics(), limiter.set_limits(1, 9)
    used.append(args)
    return True

class Own(AdaptiveConcurrency):
    def __repr__(self):
        use("repr")
        return "own"

class Handler(logging.Handler):
    def emit(self, record):
        use("log", record.getMessage())

logging.getLogger("sluicegate").addHandler(Handler())
limiter = AdaptiveConcurrency(target=0.1, initial=5, max=9, dropped=use, clock=clock)
try:
    with limiter.permit():
        raise ValueError
except ValueError:
    pass
assert len(used) == 1 and limiter.statistics().dropped == 1
own = Own(target=1)
permit = own.permit()
permit.acquire()
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    del permit
assert "own" in str(told[0].message) and used[-1] == ("repr",)
for turn in range(60):
    with limiter.permit():
        clock.advance(1)
assert any(each[0] == "log" for each in used if each)

class Cycle:
    def __del__(self):
        use("del")

cycle = Cycle()
cycle.itself = cycle
limiter.set_limits(2, 9)
with limiter.permit():
    del cycle
    gc.collect()
assert used[-1] == ("del",) and limiter.in_flight == 0
print("end")
"""
    ).endswith("end\n")


def test_the_log_is_imported_by_the_first_warning():
    """And an error of it does not come out of the call."""
    out = run_script(
        """
import sys
from sluicegate import AdaptiveConcurrency
from sluicegate.testing import ManualClock
before = "logging" in sys.modules
clock = ManualClock()
limiter = AdaptiveConcurrency(target=0.1, initial=1, clock=clock)
said = []
sys.unraisablehook = said.append
import sluicegate._adaptive as module
module._warn_unmet = lambda *args: 1 / 0
for turn in range(30):
    with limiter.permit():
        clock.advance(1)
print(before, type(said[0].exc_value).__name__, limiter.in_flight)
""",
        quiet=False,
    )
    assert out == "False ZeroDivisionError 0\n"
