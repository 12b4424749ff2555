"""Semaphores among threads: `threading.Semaphore`'s interface, weights, resizing, permits, and one strict line."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import warnings
import weakref

import pytest
from helpers import PATIENCE, STORM_ITEMS, collect, spawn, wait_until

from sluicegate import (
    AdaptiveConcurrency,
    BoundedSemaphore,
    CircuitBreaker,
    KeyedSemaphore,
    Overloaded,
    RateLimited,
    Refused,
    Semaphore,
    SemaphorePermit,
)
from sluicegate.testing import ManualClock

NAN, INF = float("nan"), float("inf")
kinds = pytest.mark.parametrize("kind", [Semaphore, BoundedSemaphore])


def in_line(semaphore, *calls):
    """A thread for each call, which join the wait queue one after the other."""
    workers = []
    for call in calls:
        before = semaphore.statistics().waiters
        workers.append(spawn(call))
        wait_until(lambda before=before: semaphore.statistics().waiters == before + 1)
    return workers


def state(semaphore):
    seen = semaphore.statistics()
    return seen.size, seen.held, seen.value, seen.waiters, seen.acquired


# ---------------------------------------------------------------------------------------------- as threading.Semaphore


@kinds
def test_permits_are_counted(kind):
    """Acquire and release, with and without waiting; answers are bools."""
    semaphore = kind(2)
    assert semaphore.acquire() is True
    assert semaphore.acquire(False) is True
    assert semaphore.acquire(blocking=False) is False
    assert semaphore.acquire(timeout=0) is False
    assert semaphore.acquire(True, -1) is False, "as in the standard library: no time is left"
    assert semaphore.locked() is True
    assert semaphore.release() is None
    assert (semaphore.value, semaphore.size, semaphore.locked()) == (1, 2, False)
    with semaphore as answer:
        assert answer is True
        assert semaphore.value == 0
    assert semaphore.value == 1


def test_releasing_more_than_is_held():
    """A semaphore grows by it; a bounded one refuses it and stays as it is."""
    semaphore = Semaphore(0)
    semaphore.release()
    semaphore.release(3)
    assert (semaphore.value, semaphore.size) == (4, 4)
    bounded = BoundedSemaphore(2)
    bounded.acquire()
    with pytest.raises(ValueError, match="released too many times: 'n' is 2, and 1 are held"):
        bounded.release(2)
    assert state(bounded) == (2, 1, 1, 0, 1)


@kinds
def test_a_timeout_is_false_and_takes_nothing(kind):
    """The time is the clock's, to the nanosecond, and those behind go on."""
    clock = ManualClock()
    semaphore = kind(1, clock=clock)
    semaphore.acquire()
    waiter = spawn(semaphore.acquire, timeout=2)
    clock.wait_for_waiters(1)
    clock.advance(2 - 1e-9)
    assert not waiter.done()
    clock.advance(1e-9)
    assert waiter.result() is False
    seen = semaphore.statistics()
    assert (seen.waiters, seen.waited_seconds, seen.held) == (0, 2.0, 1)
    assert clock.waiters == 0


# -------------------------------------------------------------------------------------------------- weights and sizes


def test_the_line_is_strict():
    """A large request is not passed by small ones; the order is that of arrival."""
    semaphore = Semaphore(3)
    semaphore.acquire(n=3)
    order = []

    def take(n):
        semaphore.acquire(n=n)
        order.append(n)

    waiters = in_line(semaphore, *(lambda n=n: take(n) for n in (3, 1, 2)))
    for _ in range(2):
        semaphore.release()
        assert semaphore.try_acquire() is False, "what is there is for the first"
    assert order == []
    semaphore.release()
    waiters[0].result()
    semaphore.release(3)
    for waiter in waiters:
        waiter.result()
    assert order[0] == 3
    assert (semaphore.value, semaphore.statistics().peak_held) == (0, 3)


def test_more_than_there_are():
    """Refused at the door with both numbers, in every form; one permit always waits."""
    semaphore = Semaphore(2, name="pool")
    for call in (semaphore.try_acquire, lambda n: semaphore.acquire(n=n), lambda n: semaphore.permit(n).__enter__()):
        with pytest.raises(ValueError, match="'n' is 3, more than the total of 2 permits: .*'pool'"):
            call(3)
    assert state(semaphore) == (2, 0, 2, 0, 0)
    assert Semaphore(0).try_acquire() is False


def test_resize():
    """More permits wake those who wait; with fewer, holders finish; who no longer fits is told."""
    semaphore = Semaphore(1)
    semaphore.acquire()
    (waiter,) = in_line(semaphore, semaphore.acquire)
    semaphore.resize(4)
    assert waiter.result() is True
    semaphore.acquire(n=2)
    small, large = in_line(semaphore, semaphore.acquire, lambda: semaphore.acquire(n=3))
    semaphore.resize(2)
    assert isinstance(large.exception(), ValueError)
    assert not small.done()
    semaphore.release(2)
    assert (semaphore.value, semaphore.statistics().held) == (0, 2), "what was released above the size is gone"
    semaphore.release()
    assert small.result() is True
    with pytest.raises(AttributeError):
        semaphore.size = 3


# ------------------------------------------------------------------------------------------------------------ permits


def test_a_permit_holds_while_its_block_runs():
    """Admitted on entry, given back on exit, by an exception too, and usable again."""
    semaphore = Semaphore(3)
    permit = semaphore.permit(2)
    assert semaphore.value == 3, "nothing is held before the block"
    with permit as same:
        assert same is permit
        assert semaphore.value == 1
        with pytest.raises(RuntimeError, match="held already"):
            permit.__enter__()
    with pytest.raises(KeyError), permit:
        raise KeyError
    assert state(semaphore)[:3] == (3, 0, 3)
    permit.__exit__(None, None, None)  # not held: nothing happens
    assert semaphore.value == 3


def test_a_permit_that_cannot_be_had():
    """Overloaded, which is a Refused, with the reason and the name; and the permit can be tried again."""
    clock = ManualClock()
    semaphore = Semaphore(1, clock=clock, name="db")
    semaphore.acquire()
    with pytest.raises(Overloaded, match="without waiting.*'db'") as caught, semaphore.permit(timeout=0):
        pass
    assert (caught.value.reason, caught.value.name, caught.value.retry_after) == ("full", "db", 1.0)
    permit = semaphore.permit(timeout=1)
    waiter = spawn(permit.__enter__)
    clock.wait_for_waiters(1)
    clock.advance(1)
    error = waiter.exception()
    assert isinstance(error, Overloaded)
    assert error.reason == "expired"
    semaphore.release()
    with permit:
        assert semaphore.value == 0
    assert issubclass(Overloaded, Refused)
    assert issubclass(RateLimited, Refused)
    assert not issubclass(Refused, (OSError, TimeoutError))


def test_a_permit_dropped_while_held_is_released():
    """With a ResourceWarning, and nothing is lost."""
    semaphore = Semaphore(2)
    permit = semaphore.permit(2).__enter__()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del permit
        collect()
    assert [each.category for each in seen] == [ResourceWarning]
    assert "n=2" in str(seen[0].message)
    assert semaphore.value == 2


def test_one_permit_entered_by_two_threads():
    """Only one of them holds it; the other is told, and nothing is taken for it."""
    semaphore = Semaphore(2)
    semaphore.acquire(n=2)
    permit = semaphore.permit()
    workers = in_line(semaphore, permit.__enter__, permit.__enter__)
    semaphore.release(2)
    outcomes = sorted(type(worker.exception()).__name__ for worker in workers)
    assert outcomes == ["NoneType", "RuntimeError"]
    assert semaphore.statistics().held == 1
    permit.__exit__()
    assert semaphore.value == 2


# --------------------------------------------------------------------------------------------- arguments and the class

COUNT = [True, "1", 1.5, None, [1], NAN]


@pytest.mark.parametrize("value", COUNT, ids=repr)
def test_counts_of_the_wrong_type(value):
    """`TypeError` by the name of the argument, and nothing has changed."""
    semaphore = Semaphore(2)
    calls = [Semaphore, semaphore.try_acquire, semaphore.release, semaphore.resize, semaphore.permit, lambda n: semaphore.acquire(n=n)]
    for call in calls:
        with pytest.raises(TypeError, match="'(n|value)' must be an int of at least"):
            call(value)
    assert state(semaphore) == (2, 0, 2, 0, 0)


def test_counts_out_of_range():
    """`ValueError` below the least, `OverflowError` beyond what can be counted."""
    semaphore = Semaphore(2)
    for call in (semaphore.try_acquire, semaphore.release, semaphore.permit, lambda n: semaphore.acquire(n=n)):
        for value in (0, -1):
            with pytest.raises(ValueError, match=f"'n' must be at least 1, not {value}"):
                call(value)
        with pytest.raises(OverflowError, match="'n' is too large"):
            call(10**30)
    for call in (Semaphore, BoundedSemaphore, semaphore.resize):
        with pytest.raises(ValueError, match="'value' must be at least 0, not -1"):
            call(-1)
        with pytest.raises(OverflowError, match="'value' is too large"):
            call(2**63)
    assert state(semaphore) == (2, 0, 2, 0, 0)
    assert Semaphore(2**63 - 1).try_acquire(2**63 - 1)


@pytest.mark.parametrize(
    ("timeout", "error"),
    [(NAN, ValueError), ("1", TypeError), ([], TypeError), (1j, TypeError)],
    ids=repr,
)
def test_timeouts(timeout, error):
    """`acquire` takes what the standard library's takes, and refuses the rest; `permit` refuses all that is no time."""
    semaphore = Semaphore()
    with pytest.raises(error):
        semaphore.acquire(timeout=timeout)
    with pytest.raises(error, match="'timeout'"):
        semaphore.permit(timeout=timeout)
    with pytest.raises(ValueError, match="'timeout'"):
        semaphore.permit(timeout=-1)
    with pytest.raises(ValueError, match="non-blocking"):
        semaphore.acquire(False, 1)
    assert semaphore.acquire(False, None) is True


def test_a_timeout_that_can_only_be_waited_for():
    """Infinity is refused when there is a wait, as in the standard library."""
    semaphore = Semaphore()
    assert semaphore.acquire(timeout=INF) is True
    with pytest.raises(OverflowError):
        semaphore.acquire(timeout=INF)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(((1, 2), {}), TypeError), (((), {"name": 1}), TypeError), (((), {"clock": 1}), TypeError), (((), {"size": 1}), TypeError)],
)
def test_constructor(arguments, error):
    """Names and clocks are checked."""
    positional, named = arguments
    with pytest.raises(error):
        Semaphore(*positional, **named)


@kinds
def test_repr_and_statistics(kind):
    """The repr ends as the standard library's; the snapshot is frozen and its repr says what is what."""
    semaphore = kind(3, name="pool")
    semaphore.acquire()
    most = "/3" if kind is BoundedSemaphore else ""
    assert repr(semaphore) == f"<sluicegate.{kind.__name__} 'pool' at {id(semaphore):#x} held=1 waiters=0: value=2{most}>"
    assert repr(semaphore.permit(2)) == f"<sluicegate.SemaphorePermit n=2 not held of {semaphore!r}>"
    seen = semaphore.statistics()
    assert (seen.name, *state(semaphore), seen.peak_held, seen.waited_seconds) == ("pool", 3, 1, 2, 0, 1, 1, 0.0)
    with pytest.raises(AttributeError):
        seen.held = 2


@kinds
def test_the_class(kind):
    """Neither pickled nor copied; weakly referenced; subclassed with arguments and attributes of its own."""
    semaphore = kind()
    for copier in (copy.copy, copy.deepcopy, pickle.dumps):
        for thing in (semaphore, semaphore.permit(), semaphore.async_semaphore):
            with pytest.raises(TypeError, match="cannot (pickle|copy)"):
                copier(thing)
    assert weakref.ref(semaphore)() is semaphore
    assert issubclass(BoundedSemaphore, Semaphore)

    class Named(kind):
        def __init__(self, value, *, name=None):
            super().__init__(value, name=name)
            self.label = name or "none"

        def acquire(self, *arguments, **named):
            self.label += "!"
            return super().acquire(*arguments, **named)

    mine = Named(2, name="mine")
    assert mine.acquire() is True
    assert (mine.label, mine.name, mine.size) == ("mine!", "mine", 2)
    with pytest.raises(TypeError):
        type("Permit", (SemaphorePermit,), {})
    with pytest.raises(TypeError):
        SemaphorePermit()


def test_keywords():
    """Arguments by name and by position, and the interpreter's own texts for wrong ones."""
    semaphore = Semaphore(value=5)
    assert semaphore.acquire(True, None, 2) is True
    assert semaphore.acquire(n=1, timeout=1, blocking=True) is True
    assert semaphore.try_acquire(n=1) is True
    semaphore.release(n=4)
    with pytest.raises(TypeError, match=r"Semaphore.release\(\) takes from 1 to 2 positional arguments but 3 were given"):
        semaphore.release(1, 2)
    with pytest.raises(TypeError, match=r"try_acquire\(\) got an unexpected keyword argument 'm'"):
        semaphore.try_acquire(m=1)


# ----------------------------------------------------------------------------------------------------------- reentrancy


@pytest.mark.thread_unsafe(reason="collects garbage, and counts")
def test_used_from_a_finalizer():
    """Release and acquire in `__del__`, whatever thread runs it."""
    semaphore = Semaphore(1)

    class Holder:
        def __init__(self):
            semaphore.acquire()

        def __del__(self):
            semaphore.release()

    for _ in range(20):
        holder = Holder()
        holder.itself = holder
        del holder
        gc.collect()
    assert (semaphore.value, semaphore.size) == (1, 1)


def test_a_semaphore_shared_by_many():
    """Never more inside than there are permits, and all come back."""
    semaphore = BoundedSemaphore(3)
    inside, most, lock = 0, 0, threading.Lock()

    def work():
        nonlocal inside, most
        for _ in range(200):
            with semaphore:
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1

    workers = [spawn(work) for _ in range(8)]
    for worker in workers:
        worker.result(PATIENCE * 4)
    assert most <= 3
    assert state(semaphore)[:4] == (3, 0, 3, 0)


@pytest.mark.parametrize("number", [2, 3, -1])
@pytest.mark.parametrize("keyed", [False, True])
def test_a_number_is_no_way_to_block(keyed, number):
    """`acquire(3)` took one permit: 3 is `blocking`, as in the standard library. Who writes it means three."""
    if keyed:
        every = KeyedSemaphore(5, max_keys=2)
        semaphore, acquire = every.key("k"), lambda *args: every.acquire("k", *args)
    else:
        semaphore = Semaphore(5)
        acquire = semaphore.acquire
    with pytest.raises(TypeError, match=f"for {number} permits write n={number}"):
        acquire(number)
    assert semaphore.value == 5
    assert acquire(1)
    assert acquire(True)
    assert acquire(0)


PERMITS = {
    "semaphore": lambda: Semaphore(100),
    "key": lambda: KeyedSemaphore(100, max_keys=1),
    "breaker": CircuitBreaker,
    "adaptive": lambda: AdaptiveConcurrency(target=None, initial=100),
}


@pytest.mark.parametrize("kind", PERMITS)
def test_many_threads_enter_one_permit(kind):
    """One of them holds it at a time; the others are told, and what they were granted is given back."""
    limit = PERMITS[kind]()
    permit = limit.permit("a") if kind == "key" else limit.permit()
    inside = []

    def enter_and_leave():
        for _ in range(STORM_ITEMS // 40):
            try:
                permit.__enter__()
            except RuntimeError as error:
                assert "held already" in str(error)
            else:
                inside.append(1)
                assert len(inside) == 1
                inside.pop()
                permit.__exit__(None, None, None)

    for worker in [spawn(enter_and_leave) for _ in range(4)]:
        worker.result(PATIENCE)
    assert "not held" in repr(permit)
    seen = limit.statistics()
    if kind == "breaker":
        assert seen.calls == seen.successes + seen.ignored
    else:
        assert (seen.in_flight if kind == "adaptive" else seen.held) == 0
