"""What comes to semaphores from outside: signals, forks, the end of the interpreter, the garbage collector.

Signals, forks and exits are scripts in an interpreter of their own, whose main thread they are.
"""

from __future__ import annotations

import os
import sys
import weakref

import pytest
from helpers import FORKING, ROUNDS, collect, new_loop, run_script, settle, spawn, step, wait_until

from sluicegate import Semaphore

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

def waiters(semaphore):
    return semaphore.statistics().waiters

main_thread = threading.main_thread().ident
"""
)
BLOCKING = {"acquire": "semaphore.acquire()", "timeout": "semaphore.acquire(timeout=2000)", "with": "semaphore.__enter__()"}
BLOCKING |= {"weight": "semaphore.acquire(n=2)", "permit": "semaphore.permit(2).__enter__()"}


# ------------------------------------------------------------------------------------------------------------- signals


@signals
@pytest.mark.parametrize("call", list(BLOCKING))
def test_ctrl_c(call):
    """It ends every blocking call: nothing is taken, no waiter is left in the wait queue, and later waiters go on."""
    run_script(
        COMMON
        + f"""
for turn in range(5):
    clock = ManualClock()
    semaphore = BoundedSemaphore(2, clock=clock)
    semaphore.acquire(n=2)

    def interrupt():
        clock.wait_for_waiters(1)
        thread = start(semaphore.acquire)
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
    semaphore.release(1)
    until(lambda: waiters(semaphore) == 0)
    assert semaphore.statistics().held == 2
    assert clock.waiters == 0
"""
    )


@signals
def test_an_interrupt_races_with_a_release():
    """However they meet, the permit is either taken, or there for the next."""
    run_script(
        COMMON
        + f"""
class Interrupted(Exception):
    pass

def handler(number, frame):
    raise Interrupted

signal.signal(signal.SIGUSR1, handler)
semaphore = BoundedSemaphore(1)
semaphore.acquire()
dice = random.Random(7)
for turn in range({ROUNDS}):
    before = semaphore.statistics().acquired

    def both(delay=dice.random() * 0.0005, first=dice.random() < 0.5):
        until(lambda: waiters(semaphore) == 1)
        if first:
            semaphore.release()
        time.sleep(delay)
        signal.pthread_kill(main_thread, signal.SIGUSR1)
        if not first:
            semaphore.release()

    thread = threading.Thread(target=both)
    try:
        thread.start()
        semaphore.acquire()
        thread.join()
    except Interrupted:
        pass
    while thread.is_alive():
        try:
            thread.join()
        except Interrupted:
            pass
    # Committed or not, its own counters say; the next finds what is there.
    taken = semaphore.statistics().acquired - before
    assert semaphore.statistics().held == taken <= 1, (turn, semaphore)
    if not taken:
        assert semaphore.acquire(timeout=30)
"""
    )


@signals
@pytest.mark.parametrize("key", ["first", "second"])
def test_a_handler_waits_for_another_key(key):
    """All places are taken. The key that the interrupted wait is for does not get one while the handler waits: it could not use it."""
    run_script(
        COMMON
        + f"""
semaphore = KeyedSemaphore(1, max_keys=1)
semaphore.acquire("first")
seen = []

def handler(number, frame):
    semaphore.acquire("third")
    seen.append(semaphore.statistics().waiters)
    semaphore.release("third")

signal.signal(signal.SIGUSR1, handler)

def interrupt():
    until(lambda: waiters(semaphore) == 1)
    signal.pthread_kill(main_thread, signal.SIGUSR1)
    until(lambda: waiters(semaphore) == 2)
    semaphore.release("first")

thread = start(interrupt)
semaphore.acquire({key!r})
thread.join()
assert seen == [1]
semaphore.release({key!r})
assert semaphore.statistics().keys == 0
"""
    )


@signals
def test_handlers_that_return_let_the_wait_go_on():
    """The wait goes on with the time that is left (PEP 475); a handler may itself acquire and release."""
    run_script(
        COMMON
        + """
clock = ManualClock()
semaphore = Semaphore(1, clock=clock)
semaphore.acquire()
seen = []

def handler(number, frame):
    seen.append(semaphore.try_acquire())
    start(semaphore.release)
    seen.append(semaphore.acquire(timeout=5))  # a wait inside the wait: the outer one steps aside

signal.signal(signal.SIGUSR1, handler)

def drive():
    clock.wait_for_waiters(1)
    clock.advance(3)
    signal.pthread_kill(main_thread, signal.SIGUSR1)
    until(lambda: len(seen) == 2)
    clock.advance(6.999999999)
    assert waiters(semaphore) == 1
    clock.advance(0.000000001)

thread = start(drive)
assert semaphore.acquire(timeout=10) is False
thread.join()
assert seen == [False, True], seen
assert (waiters(semaphore), clock.now()) == (0, 10.0)
"""
    )


# --------------------------------------------------------------------------------------------------------------- forks


@forks
def test_fork_with_threads_blocked():
    """The child's semaphore has the count it had, no waiters, and works; the parent's waiters are served."""
    run_script(
        COMMON
        + """
semaphore = BoundedSemaphore(3)
permit = semaphore.permit(2)
permit.__enter__()
semaphore.acquire()
threads = [start(semaphore.acquire), start(lambda: asyncio.run(semaphore.acquire_async(2)))]
until(lambda: waiters(semaphore) == 2)

def child():
    assert waiters(semaphore) == 0
    assert semaphore.statistics().held == 3
    permit.__exit__(None, None, None)
    assert semaphore.value == 2
    assert semaphore.try_acquire(2)
    assert not semaphore.acquire(timeout=0.01)
    waiter = start(semaphore.acquire)
    until(lambda: waiters(semaphore) == 1)
    semaphore.release()
    waiter.join(20)
    assert not waiter.is_alive()
    semaphore.release(3)

check(in_child(child), in_child(child))
semaphore.release()
permit.__exit__(None, None, None)
for thread in threads:
    thread.join(20)
    assert not thread.is_alive()
assert semaphore.value == 0
"""
    )


@forks
@signals
def test_a_handler_that_forks_in_the_middle_of_a_wait():
    """The child's wait goes on in a line of its own."""
    run_script(
        COMMON
        + """
semaphore = Semaphore(1)
semaphore.acquire()
child = None

def handler(number, frame):
    global child
    child = os.fork()
    if child == 0:
        start(semaphore.release)

signal.signal(signal.SIGUSR1, handler)

def drive():
    until(lambda: waiters(semaphore) == 1)
    signal.pthread_kill(main_thread, signal.SIGUSR1)
    until(lambda: child is not None)
    semaphore.release()

start(drive)
assert semaphore.acquire(timeout=20)
assert semaphore.statistics().held == 1
if child == 0:
    os._exit(0)
check(child)
"""
    )


# --------------------------------------------------------------------------------------------------------------- exits


def test_daemon_threads_blocked_at_the_end():
    """The interpreter ends with threads and loops blocked in every call that waits, and says nothing."""
    out = run_script(
        COMMON
        + """
semaphore = Semaphore(2)
held = semaphore.permit(2)
held.__enter__()
start(semaphore.acquire)
start(semaphore.acquire, True, 1000)
start(semaphore.permit(2).__enter__)
start(lambda: asyncio.run(semaphore.acquire_async()))
start(lambda: asyncio.run(semaphore.acquire_async(timeout=1000)))
until(lambda: waiters(semaphore) == 5)
print("end")
""",
        limit=30,
    )
    assert out.endswith("end\n")


# --------------------------------------------------------------------------------------------------- the garbage collector


class Holder:
    """Something in a cycle."""


def test_a_cycle_through_a_waiting_coroutine():
    """A coroutine that waits on a semaphore, and is referred to by nothing else, is collected with it."""
    semaphore = Semaphore(0)
    holder = Holder()
    holder.coroutine, holder.me = semaphore.acquire_async(), holder
    holder.semaphore = semaphore
    loop = new_loop()

    async def first_step(coroutine):
        assert step(coroutine) == (False, None)

    loop.run_until_complete(first_step(holder.coroutine))
    loop.close()
    references = [weakref.ref(semaphore), weakref.ref(holder)]
    del semaphore, holder
    collect()
    assert [reference() for reference in references] == [None, None]


def test_a_permit_in_a_cycle_is_given_back():
    """The collector finds it held: the permits come back, with a warning."""
    semaphore = Semaphore(2)
    holder = Holder()
    holder.permit, holder.me = semaphore.permit(2), holder
    holder.permit.__enter__()
    del holder
    with pytest.warns(ResourceWarning, match="dropped while it was held"):
        collect()
    assert semaphore.value == 2


def test_a_semaphore_with_a_blocked_thread_stays():
    """A thread that waits keeps its semaphore, and is served."""
    semaphore = Semaphore(0)
    reference = weakref.ref(semaphore)
    waiter = spawn(semaphore.acquire)
    wait_until(lambda: reference().statistics().waiters == 1)
    del semaphore
    collect()
    reference().release()
    assert waiter.result() is True
    del waiter
    collect()
    assert reference() is None


def test_waiting_tasks_are_seen_and_stay_alive():
    """A task that only the line refers to lives, and is served."""
    semaphore = Semaphore(0)
    loop = new_loop()
    task = loop.create_task(semaphore.acquire_async())
    loop.run_until_complete(settle())
    collect()
    semaphore.release()
    assert loop.run_until_complete(task) is True
    references = [weakref.ref(task), weakref.ref(loop)]
    loop.close()
    del task, loop
    collect()
    assert [reference() for reference in references] == [None, None]
