"""Circuit breakers at the ends of things: a fork, the end of the interpreter, a signal, an import."""

from __future__ import annotations

import os

import pytest
from helpers import FORKING, run_script


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_child_of_a_fork_has_a_breaker_of_its_own():
    """What the child does is not seen in the parent, and probes of its parent's threads do not hold it half-open for ever."""
    assert run_script(
        FORKING
        + """
import logging, threading
logging.getLogger("sluicegate").setLevel("ERROR")
from sluicegate import CircuitBreaker, KeyedBreaker
from sluicegate.testing import ManualClock

clock = ManualClock()
breaker, hosts = CircuitBreaker(calls=1, probes=1, clock=clock), KeyedBreaker(max_keys=2, calls=1, clock=clock)
with breaker.permit() as permit:
    permit.failure()
clock.advance(5)
out, end = threading.Event(), threading.Event()
def probe():
    with breaker.permit():
        out.set()
        end.wait()
thread = threading.Thread(target=probe)
thread.start()
out.wait()

def child():
    assert breaker.state == "half_open" and not breaker.permit().try_acquire()
    clock.advance(30)
    with breaker.permit():
        pass
    assert breaker.state == "closed"
    with hosts.permit("a") as permit:
        permit.failure()
    assert hosts.state("a") == "open"

with hosts.permit("b"):
    check(in_child(child))
assert (breaker.state, hosts.state("a")) == ("half_open", "closed")
end.set()
thread.join()
assert breaker.state == "closed"
print("end")
"""
    ).endswith("end\n")


def test_the_end_of_the_interpreter():
    """Breakers with listeners and held permits in globals, a breaker used in atexit, and daemon threads at full speed."""
    assert run_script(
        """
import atexit, threading, warnings
from sluicegate import CircuitBreaker, KeyedBreaker
warnings.simplefilter("ignore", ResourceWarning)
breaker, hosts = CircuitBreaker(calls=1, open_for=1e-6, open_for_max=1e-6), KeyedBreaker(max_keys=3)
held = breaker.permit()
held.acquire()

def work(number):
    while True:
        permit = breaker.permit()
        if permit.try_acquire():
            permit.failure() if number % 2 else permit.success()
        with hosts.permit(number):
            pass

def last():
    with hosts.permit("last"):
        pass
    print("end")

atexit.register(last)
import logging
logging.getLogger("sluicegate").setLevel("ERROR")
for number in range(4):
    threading.Thread(target=work, args=(number,), daemon=True).start()
"""
    ).endswith("end\n")


def test_a_signal_handler_in_the_middle_of_a_call():
    """It uses the breaker; an interrupt out of the block does not count."""
    assert run_script(
        """
import signal
from sluicegate import CircuitBreaker
breaker = CircuitBreaker(calls=1)
turns = 0

def handler(number, frame):
    global turns
    turns += 1
    with breaker.permit():
        pass
    if turns == 20:
        raise KeyboardInterrupt

if hasattr(signal, "setitimer"):
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        while True:
            with breaker.permit():
                pass
    except KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)
    seen = breaker.statistics()
    assert seen.failures == 0 and breaker.state == "closed"
    assert seen.calls == seen.successes + seen.ignored and seen.ignored <= 1, seen
print("end")
"""
    ).endswith("end\n")


def test_logging_is_imported_by_the_first_change():
    """And not by the package, nor by calls."""
    out = run_script(
        """
import sys
from sluicegate import CircuitBreaker, KeyedBreaker
breaker = CircuitBreaker(calls=1, name="db")
with breaker.permit():
    pass
before = "logging" in sys.modules
with breaker.permit() as permit:
    permit.failure()
print(before, "logging" in sys.modules)
""",
        quiet=False,
    )
    assert out == "False True\n"
