"""`Batcher` from threads: when a batch goes, what becomes of each call, what happens when it is full, and bad arguments."""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import copy
import functools
import gc
import inspect
import itertools
import pickle
import sys
import threading
import traceback
import warnings
import weakref

import pytest
from helpers import PATIENCE, collect, spawn, wait_until

import sluicegate
from sluicegate import Batcher, Overloaded, ShutDown, _core
from sluicegate._batches import BatchRunner
from sluicegate._outcomes import SubmittedCall, WaitingCall
from sluicegate.testing import ManualClock


class Gate:
    """A handler that keeps its batches, and runs them when it is told to."""

    def __init__(self):
        self.batches = []
        self.open = threading.Semaphore(0)
        self.free = False

    def __call__(self, items):
        self.batches.append(list(items))
        if not self.free:
            assert self.open.acquire(timeout=PATIENCE)
        return [item * 10 for item in items]

    def let(self, n=1):
        self.open.release(n)

    def let_all(self):
        self.free = True
        self.open.release(1000)

    def wait_for(self, n):
        wait_until(lambda: len(self.batches) >= n)


def held_up(gate, ttl, **options):
    """Return a batcher whose worker is in its handler with 0, and how many calls had expired before the worker of a busy machine began."""
    batcher = Batcher(gate, max=1, linger=0, ttl=ttl, **options)
    early = -1
    while not gate.batches:
        early += 1
        first = batcher.submit(0)
        wait_until(lambda first=first: gate.batches or first.done())
    return batcher, early


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.let_all()


def doubled(items):
    return [item * 2 for item in items]


def raised_by(function, *args):
    with pytest.raises(BaseException) as caught:
        function(*args)
    return caught.value


# What becomes of a call.


def test_results_reach_their_callers():
    with Batcher(doubled) as batcher:
        assert batcher.call(1) == 2
        futures = [batcher.submit(n) for n in range(1000)]
        assert [future.result(PATIENCE) for future in futures] == [n * 2 for n in range(1000)]
        assert all(isinstance(future, concurrent.futures.Future) for future in futures)
    assert batcher.closed


def test_threads(threads):
    """Many threads, each of which gets its own results."""
    batcher = Batcher(doubled, max=8, linger=0.001)
    workers = [threads(lambda base=base: [batcher.call(n) for n in range(base, base + 200)]) for base in range(0, 8000, 1000)]
    for base, worker in zip(range(0, 8000, 1000), workers, strict=True):
        assert worker.result() == [n * 2 for n in range(base, base + 200)]
    batcher.close()
    seen = batcher.statistics()
    assert (seen.submitted, seen.succeeded, seen.pending, seen.running) == (1600, 1600, 0, 0)
    assert seen.batches <= 1600
    assert seen.mean_batch_size == pytest.approx(1600 / seen.batches)


@pytest.mark.parametrize("results", [tuple, iter, lambda xs: (x for x in xs), lambda xs: dict.fromkeys(xs).keys() and list(xs)])
def test_any_iterable_of_results(results):
    with Batcher(lambda items: results(items), linger=0) as batcher:
        assert [batcher.submit(n).result(PATIENCE) for n in range(20)] == list(range(20))


def test_a_generator_function_is_a_handler():
    def handler(items):
        for item in items:
            yield item + 1

    with Batcher(handler) as batcher:
        assert batcher.call(1) == 2


def test_a_generator_that_raises_fails_the_batch():
    def handler(items):
        yield 1
        raise OSError("in the middle")

    with Batcher(handler, linger=0) as batcher, pytest.raises(OSError, match="in the middle"):
        batcher.call(1)


def test_an_exception_among_the_results_is_its_callers_alone(gate):
    def handler(items):
        gate(items)
        return [ValueError(f"item {item}") if item % 2 else item for item in items]

    batcher = Batcher(handler, max=4)
    first = batcher.submit(0)
    gate.wait_for(1)
    futures = [batcher.submit(n) for n in range(4)]
    gate.let(2)
    assert first.result(PATIENCE) == 0
    assert [future.exception(PATIENCE) and str(future.exception()) for future in futures] == [None, "item 1", None, "item 3"]
    batcher.close()
    seen = batcher.statistics()
    assert (seen.succeeded, seen.failed, seen.submitted) == (3, 2, 5)


def batch_of(batcher, gate, items):
    """The futures of one batch of these items, which has run. (A batch of one call comes before it.)"""
    before = len(gate.batches)
    batcher.submit("first")
    gate.wait_for(before + 1)
    futures = [batcher.submit(item) for item in items]
    gate.let(2)
    concurrent.futures.wait(futures, PATIENCE)
    assert gate.batches[before + 1] == items
    return futures


def test_a_handler_that_raises_fails_the_batch(gate):
    """Each caller raises an exception of its own: what one adds to it, the others do not see. The traceback is the handler's."""

    class Broken(Exception):
        pass

    cause = OSError("disk")

    def handler(items):
        gate(items)
        raise Broken("no", 5) from cause

    batcher = Batcher(handler)
    errors = [future.exception(0) for future in batch_of(batcher, gate, [1, 2, 3])]
    assert len({id(error) for error in errors}) == 3
    before = [len(traceback.extract_tb(error.__traceback__)) for error in errors]
    for error in errors:
        assert type(error) is Broken
        assert error.args == ("no", 5)
        assert error.__cause__ is cause
        assert traceback.extract_tb(error.__traceback__)[-1].name == "handler"
    with pytest.raises(Broken):
        raise errors[0]
    errors[0].extra = 1
    assert [len(traceback.extract_tb(error.__traceback__)) for error in errors] == [before[0] + 1, *before[1:]]
    assert not hasattr(errors[1], "extra")
    batcher.close()
    assert batcher.statistics().failed == 4


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with 3.11")
def test_notes_are_not_shared(gate):
    def handler(items):
        gate(items)
        error = ValueError("x")
        error.add_note("the handler's")
        raise error

    errors = [future.exception(0) for future in batch_of(Batcher(handler), gate, [1, 2])]
    errors[1].add_note("mine")
    assert [error.__notes__ for error in errors] == [["the handler's"], ["the handler's", "mine"]]


def test_an_exception_that_cannot_be_copied_is_shared(gate):
    class Stubborn(Exception):
        def __init__(self, a, *, b):
            super().__init__(f"{a}{b}")

    def handler(items):
        gate(items)
        raise Stubborn("a", b="b")

    errors = [future.exception(0) for future in batch_of(Batcher(handler), gate, [1, 2])]
    assert errors[0] is errors[1]
    assert str(errors[0]) == "ab"


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), StopIteration(7), concurrent.futures.CancelledError()]
)
def test_what_is_meant_for_the_handlers_thread_does_not_end_the_callers(error):
    """It is the cause of a RuntimeError, and the worker goes on."""

    def handler(items):
        if items == ["bad"]:
            raise error
        return items

    is_plain = isinstance(error, Exception) and not isinstance(error, StopIteration)
    with Batcher(handler, linger=0) as batcher:
        with pytest.raises(type(error) if is_plain else RuntimeError) as caught:
            batcher.call("bad")
        assert is_plain or caught.value.__cause__ is error
        assert batcher.call("good") == "good"


def test_such_an_exception_as_a_result():
    with Batcher(lambda items: [SystemExit(1)], linger=0) as batcher:
        with pytest.raises(RuntimeError, match="SystemExit: 1"):
            batcher.call(0)


@pytest.mark.parametrize(
    ("handler", "error", "message"),
    [
        (lambda items: [], ValueError, "it returned 0 for 1 items"),
        (lambda items: [1, 2, 3], ValueError, "it returned 3 for 1 items"),
        (lambda items: iter(int, 1), ValueError, "it returned more than 1 for 1 items"),
        (lambda items: (), ValueError, "returned 0"),
        (lambda items: None, TypeError, "not NoneType"),
        (lambda items: 7, TypeError, "not int"),
        (lambda items: "x", TypeError, "not str"),
        (lambda items: {0: 1}, TypeError, "not dict"),
        (lambda items: {1}, TypeError, "not set"),
    ],
)
def test_wrong_results_fail_the_batch(handler, error, message):
    with Batcher(handler, linger=0) as batcher:
        for _ in range(2):
            with pytest.raises(error, match=message):
                batcher.call(0)


def test_a_def_handler_that_returns_a_coroutine():
    """It says so, and nobody warns of a coroutine that was never awaited."""

    async def inner(items):
        return items

    with Batcher(lambda items: inner(items), linger=0) as batcher:
        with pytest.raises(TypeError, match="not coroutine: pass the `async def` itself"):
            batcher.call(0)
    collect()


def test_the_handler_may_change_its_list():
    def handler(items):
        results = list(items)
        items.clear()
        return results

    with Batcher(handler) as batcher:
        assert batcher.call(1) == 1


def test_callbacks_that_raise_are_no_affair_of_the_others(gate, monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    batcher = Batcher(gate)
    first = batcher.submit(0)
    gate.wait_for(1)
    futures = [batcher.submit(n) for n in range(3)]
    futures[0].add_done_callback(lambda _: sys.exit(1))
    gate.let(2)
    assert [future.result(PATIENCE) for future in [first, *futures]] == [0, 0, 10, 20]
    batcher.close()
    assert [told[0].exc_type] == [SystemExit]


def test_an_outcome_that_somebody_else_has_set(gate):
    """By hand, which futures forbid nobody: while the batch runs, and before."""
    batcher = Batcher(gate, max=2)
    running = batcher.submit(1)
    gate.wait_for(1)
    waiting, other = batcher.submit(2), batcher.submit(3)
    waiting.set_result("mine")
    running.set_exception(OSError())
    gate.let_all()
    assert other.result(PATIENCE) == 30
    batcher.close()
    assert waiting.result() == "mine"
    assert gate.batches == [[1], [3]]


def test_futures_are_the_standard_librarys(gate):
    """For those who wait for many, for callbacks, and for those who look."""
    with Batcher(gate, max=2, linger=0) as batcher:
        running = [batcher.submit(1)]
        gate.wait_for(1)
        pending = [batcher.submit(n) for n in (2, 3, 4)]
        told = []
        pending[0].add_done_callback(told.append)
        assert running[0].running() and not running[0].cancel() and not running[0].done()
        assert not pending[0].running() and "state=pending" in repr(pending[0]) and "state=running" in repr(running[0])
        assert pending[2].cancel() and pending[2].cancelled() and pending[2].done()
        done, others = concurrent.futures.wait(running + pending, timeout=0)
        assert (done, others) == ({pending[2]}, {running[0], *pending[:2]})
        gate.let_all()
        assert set(concurrent.futures.as_completed(running + pending, timeout=PATIENCE)) == {*running, *pending}
        assert [future.result(0) for future in running + pending[:2]] == [10, 20, 30]
        assert told == [pending[0]]
        pending[1].add_done_callback(told.append)
        assert told == pending[:2] and pending[1].exception() is None
        with pytest.raises(concurrent.futures.CancelledError):
            pending[2].result()
        with pytest.raises(concurrent.futures.InvalidStateError):
            pending[0].set_result(0)


# When a batch goes.


def test_a_full_batch_goes_at_once():
    clock = ManualClock()
    gate = Gate()
    gate.free = True
    batcher = Batcher(gate, max=3, linger=60, clock=clock)
    futures = [batcher.submit(n) for n in range(3)]
    assert [future.result(PATIENCE) for future in futures] == [0, 10, 20]
    assert gate.batches == [[0, 1, 2]]
    batcher.close()


def test_linger_counts_from_the_first_item(gate):
    clock = ManualClock()
    batcher = Batcher(gate, max=3, linger=10, clock=clock)
    for n in range(3):
        batcher.submit(n)
    gate.wait_for(1)
    first = batcher.submit(1)
    gate.let()
    clock.wait_for_waiters(1)  # a worker that was busy: when it waits, it has seen the call
    clock.advance(6)
    second = batcher.submit(2)
    clock.advance(3.9)
    assert not first.done()
    clock.advance(0.1)
    gate.let()
    assert (first.result(PATIENCE), second.result(PATIENCE)) == (10, 20)
    assert gate.batches == [[0, 1, 2], [1, 2]]
    batcher.close()


def test_linger_counts_while_the_workers_are_busy(gate):
    """What has waited for a worker for as long as a batch lingers goes when the worker is free."""
    clock = ManualClock()
    batcher = Batcher(gate, max=3, linger=10, clock=clock)
    futures = [batcher.submit(n) for n in range(3)]
    gate.wait_for(1)
    late = batcher.submit(3)
    clock.advance(7)
    gate.let()
    clock.wait_for_waiters(1)
    assert not late.done()
    clock.advance(3)
    gate.let()
    assert late.result(PATIENCE) == 30
    assert [future.result(PATIENCE) for future in futures] == [0, 10, 20]
    later = [batcher.submit(n) for n in range(3)]
    gate.wait_for(3)
    last = batcher.submit(4)
    clock.advance(10)
    gate.let(2)
    assert last.result(PATIENCE) == 40
    assert gate.batches[2:] == [[0, 1, 2], [4]]
    assert all(future.done() for future in later)
    batcher.close()


def test_without_linger_an_idle_worker_takes_what_is_there(gate):
    batcher = Batcher(gate, max=3, linger=0)
    futures = [batcher.submit(0)]
    gate.wait_for(1)
    futures += [batcher.submit(n) for n in range(1, 6)]
    gate.let(3)
    assert [future.result(PATIENCE) for future in futures] == [0, 10, 20, 30, 40, 50]
    assert gate.batches == [[0], [1, 2, 3], [4, 5]]
    batcher.close()


def test_somebody_who_waits_for_room_ends_the_lingering():
    """A `max` above `max_pending` never fills."""
    clock = ManualClock()
    batcher = Batcher(doubled, max=10, linger=60, max_pending=2, clock=clock)
    futures = [batcher.submit(n) for n in range(2)]
    assert [future.result(PATIENCE) for future in futures] == [0, 2]
    batcher.close()


def test_workers_run_batches_side_by_side(gate):
    batcher = Batcher(gate, max=1, workers=3)
    futures = [batcher.submit(n) for n in range(3)]
    gate.wait_for(3)
    assert batcher.statistics().running == 3
    gate.let(3)
    assert sorted(future.result(PATIENCE) for future in futures) == [0, 10, 20]
    batcher.close()


# Callers that leave.


def test_cancelled_calls_leave_the_batch(gate):
    """Those behind take their places."""
    batcher = Batcher(gate, max=3, linger=0)
    running = batcher.submit(0)
    gate.wait_for(1)
    futures = [batcher.submit(n) for n in range(1, 7)]
    assert futures[0].cancel()
    assert futures[2].cancel()
    assert futures[2].cancel()  # again
    assert not running.cancel()
    assert concurrent.futures.wait([futures[0]], PATIENCE).done
    gate.let(3)
    assert [future.result(PATIENCE) for future in futures if not future.cancelled()] == [20, 40, 50, 60]
    assert gate.batches == [[0], [2, 4, 5], [6]]
    batcher.close()
    seen = batcher.statistics()
    assert (seen.submitted, seen.succeeded, seen.cancelled) == (7, 5, 2)


def test_a_batch_of_cancelled_calls_does_not_run(gate):
    batcher = Batcher(gate, max=100, linger=0, max_pending=1000)
    running = batcher.submit(0)
    gate.wait_for(1)
    futures = [batcher.submit(n) for n in range(300)]
    assert all(future.cancel() for future in futures)
    gate.let(1)
    batcher.drain(PATIENCE)
    assert running.result() == 0
    assert gate.batches == [[0]]
    assert batcher.statistics().cancelled == 300
    gate.let(1)
    assert batcher.call(7) == 70
    batcher.close()


def test_a_cancelled_call_frees_its_room(gate):
    """While the handler runs: for somebody who waits, and for somebody who would be refused."""
    batcher = Batcher(gate, max=1, linger=0, max_pending=2)
    batcher.submit(0)
    gate.wait_for(1)
    futures = [batcher.submit(n) for n in (1, 2)]
    waiting = spawn(batcher.call, 3)
    wait_until(lambda: batcher.statistics().waiters == 1)
    futures[0].cancel()
    wait_until(lambda: batcher.statistics().waiters == 0)
    gate.let_all()
    assert waiting.result() == 30
    batcher.close()
    assert gate.batches == [[0], [2], [3]]


def test_a_timeout_while_pending(gate):
    clock = ManualClock()
    batcher = Batcher(gate, max=1, clock=clock, name="model")
    batcher.submit(0)
    gate.wait_for(1)
    caller = spawn(batcher.call, 1, timeout=5)
    clock.wait_for_waiters(1)
    clock.advance(5)
    with pytest.raises(TimeoutError, match="no result within 5 seconds"):
        caller.result()
    gate.let_all()
    batcher.close()
    assert gate.batches == [[0]]
    assert batcher.statistics().cancelled == 1


def test_a_timeout_while_it_runs(gate):
    """The item has run, and its result is dropped."""
    clock = ManualClock()
    batcher = Batcher(gate, clock=clock, linger=0)
    caller = spawn(batcher.call, 1, timeout=5)
    gate.wait_for(1)
    clock.wait_for_waiters(1)
    clock.advance(5)
    with pytest.raises(TimeoutError):
        caller.result()
    gate.let()
    batcher.close()
    seen = batcher.statistics()
    assert (seen.succeeded, seen.cancelled) == (1, 0)


def test_a_timeout_counts_the_wait_for_room(gate):
    clock = ManualClock()
    batcher = Batcher(gate, max=1, max_pending=1, clock=clock, linger=0)
    batcher.submit(0)
    gate.wait_for(1)
    batcher.submit(1)
    caller = spawn(batcher.call, 2, timeout=10)
    clock.wait_for_waiters(1)
    clock.advance(6)
    gate.let()
    gate.wait_for(2)
    wait_until(lambda: batcher.statistics().pending == 1)
    clock.wait_for_waiters(1)
    clock.advance(3.9)
    assert not caller.done()
    clock.advance(0.1)
    with pytest.raises(TimeoutError):
        caller.result()
    gate.let_all()
    batcher.close()


# When it is full.


def test_block_waits_in_line(gate):
    batcher = Batcher(gate, max=1, max_pending=1, linger=0)
    batcher.submit(0)
    gate.wait_for(1)
    batcher.submit(1)
    callers = []
    for n in range(2, 5):
        callers.append(spawn(batcher.submit, n))
        wait_until(lambda n=n: batcher.statistics().waiters == n - 1)
    gate.let_all()
    assert [caller.result().result(PATIENCE) for caller in callers] == [20, 30, 40]
    batcher.close()
    assert gate.batches == [[0], [1], [2], [3], [4]]


def test_no_room_in_time(gate):
    clock = ManualClock()
    batcher = Batcher(gate, max=1, max_pending=1, clock=clock, name="model", linger=0)
    batcher.submit(0)
    gate.wait_for(1)
    batcher.submit(1)
    caller = spawn(batcher.call, 2, timeout=3)
    clock.wait_for_waiters(1)
    clock.advance(3)
    with pytest.raises(Overloaded, match="the batcher 'model' has no room, with 1 of 1 calls pending; retry after 1 s") as caught:
        caller.result()
    assert (caught.value.reason, caught.value.name, caught.value.retry_after) == ("expired", "model", 1.0)
    with pytest.raises(Overloaded) as caught:
        batcher.call(2, timeout=0)
    assert caught.value.reason == "full"
    assert batcher.statistics().refused == 2
    gate.let_all()
    batcher.close()


def test_reject(gate):
    batcher = Batcher(gate, max=1, max_pending=2, overflow="reject", linger=0)
    batcher.submit(0)
    gate.wait_for(1)
    futures = [batcher.submit(n) for n in (1, 2)]
    for refused in (lambda: batcher.submit(3), lambda: batcher.call(3), lambda: batcher.call(3, timeout=5)):
        with pytest.raises(Overloaded) as caught:
            refused()
        assert caught.value.reason == "full"
    futures[0].cancel()
    fourth = batcher.submit(4)
    with pytest.raises(Overloaded):
        batcher.submit(5)
    gate.let_all()
    assert fourth.result(PATIENCE) == 40
    batcher.close()
    seen = batcher.statistics()
    assert (seen.refused, seen.cancelled, seen.succeeded, seen.submitted) == (4, 1, 3, 4)


def is_shed(error):
    assert isinstance(error, Overloaded)
    assert "was full, with 2 calls pending, and this one was dropped; retry after 1 s" in str(error)
    return error.reason == "shed"


def test_drop_oldest(gate):
    batcher = Batcher(gate, max=1, max_pending=2, overflow="drop_oldest", linger=0)
    running = batcher.submit(0)
    gate.wait_for(1)
    futures = [batcher.submit(n) for n in (1, 2, 3)]
    assert is_shed(futures[0].exception(0))
    caller = spawn(batcher.call, 4)
    assert is_shed(futures[1].exception(PATIENCE))
    gate.let_all()
    assert (running.result(PATIENCE), futures[2].result(PATIENCE), caller.result()) == (0, 30, 40)
    batcher.close()
    assert gate.batches == [[0], [3], [4]]
    seen = batcher.statistics()
    assert (seen.submitted, seen.succeeded, seen.shed, seen.refused, seen.running) == (5, 3, 2, 0, 0)


def test_drop_newest(gate):
    batcher = Batcher(gate, max=1, max_pending=2, overflow="drop_newest", linger=0)
    batcher.submit(0)
    gate.wait_for(1)
    futures = [batcher.submit(n) for n in (1, 2, 3)]
    assert is_shed(futures[2].exception(0))
    with pytest.raises(Overloaded) as caught:
        batcher.call(4)
    assert is_shed(caught.value)
    gate.let_all()
    batcher.close()
    assert gate.batches == [[0], [1], [2]]
    seen = batcher.statistics()
    assert (seen.submitted, seen.succeeded, seen.shed, seen.refused, seen.running) == (5, 3, 2, 0, 0)


def test_the_callback_of_a_dropped_call_may_submit(gate):
    """What that drops is told too."""
    batcher = Batcher(gate, max=1, max_pending=2, overflow="drop_oldest", linger=0)
    batcher.submit(0)
    gate.wait_for(1)
    again = []
    futures = [batcher.submit(1)]
    futures[0].add_done_callback(lambda _: again.append(batcher.submit(9)))
    futures += [batcher.submit(n) for n in (2, 3)]
    assert [is_shed(future.exception(0)) for future in futures[:2]] == [True, True]
    gate.let_all()
    assert (futures[2].result(PATIENCE), again[0].result(PATIENCE)) == (30, 90)
    batcher.close()


def test_retry_after_is_measured(gate):
    """The batches that are pending, each as long as the recent ones were."""
    clock = ManualClock()
    batcher = Batcher(gate, max=2, max_pending=5, overflow="reject", linger=0, clock=clock)
    batcher.submit(0)
    gate.wait_for(1)
    clock.advance(4)
    gate.let()
    batcher.drain(PATIENCE)
    batcher.submit(0)
    gate.wait_for(2)
    for n in range(5):
        batcher.submit(n)
    with pytest.raises(Overloaded) as caught:
        batcher.submit(9)
    assert caught.value.retry_after == pytest.approx(3 * 4.0)
    assert batcher.statistics().handler_seconds == pytest.approx(4.0)
    gate.let_all()
    batcher.close()


@pytest.mark.parametrize("overflow", ["drop_lowest", "wait", None, 3, ["block"]])
def test_other_policies_are_refused(overflow):
    with pytest.raises(ValueError, match="'overflow' must be one of 'block', 'reject', 'drop_oldest', 'drop_newest', got"):
        Batcher(doubled, overflow=overflow)


# Time to live.


def test_what_is_too_old_never_reaches_the_handler(gate):
    clock = ManualClock()
    batcher = Batcher(gate, max=2, linger=0, ttl=5, clock=clock)
    batcher.submit(0)
    gate.wait_for(1)
    old = batcher.submit(1)
    clock.advance(1)
    young = batcher.submit(2)
    clock.advance(5)  # 6 and exactly 5 seconds
    fresh = batcher.submit(3)
    gate.let_all()
    with pytest.raises(Overloaded, match=r"was in the batcher for more than 5\.0 seconds") as caught:
        old.result(PATIENCE)
    assert caught.value.reason == "expired"
    assert (young.result(PATIENCE), fresh.result(PATIENCE)) == (20, 30)
    assert gate.batches == [[0], [2, 3]]
    batcher.close()
    seen = batcher.statistics()
    assert (seen.expired, seen.succeeded, seen.submitted) == (1, 3, 4)


@pytest.mark.parametrize("overflow", ["block", "reject"])
def test_what_is_too_old_makes_room(gate, overflow):
    """When it is full, expired calls go first."""
    clock = ManualClock()
    batcher = Batcher(gate, max=1, linger=0, ttl=5, clock=clock, max_pending=2, overflow=overflow)
    batcher.submit(0)
    gate.wait_for(1)
    old = [batcher.submit(n) for n in (1, 2)]
    clock.advance(6)
    new = batcher.submit(3)
    assert [future.exception(PATIENCE).reason for future in old] == ["expired", "expired"]
    gate.let_all()
    assert new.result(PATIENCE) == 30
    batcher.close()


def test_a_caller_hears_that_its_call_has_expired_while_all_workers_are_busy(gate):
    clock = ManualClock()
    batcher = Batcher(gate, max=1, linger=0, ttl=5, clock=clock)
    batcher.submit(0)
    gate.wait_for(1)
    caller = spawn(batcher.call, 1)
    clock.wait_for_waiters(1)
    clock.advance(4)
    patient = spawn(batcher.call, 2)
    clock.wait_for_waiters(2)
    clock.advance(1)
    with pytest.raises(Overloaded, match=r"was in the batcher for more than 5\.0 seconds") as caught:
        caller.result()
    assert caught.value.reason == "expired"
    seen = batcher.statistics()
    assert (seen.expired, seen.pending, seen.running) == (1, 1, 1)
    gate.let_all()
    assert patient.result() == 20
    assert gate.batches == [[0], [2]]
    batcher.close()


def test_a_timeout_that_is_shorter_than_ttl_is_one(gate):
    clock = ManualClock()
    batcher = Batcher(gate, max=1, linger=0, ttl=5, clock=clock)
    batcher.submit(0)
    gate.wait_for(1)
    caller = spawn(batcher.call, 1, timeout=2)
    clock.wait_for_waiters(1)
    clock.advance(2)
    with pytest.raises(TimeoutError):
        caller.result()
    gate.let_all()
    batcher.close()
    assert batcher.statistics().cancelled == 1


def test_a_call_that_a_batch_has_taken_does_not_expire(gate):
    clock = ManualClock()
    batcher = Batcher(gate, max=1, linger=0, ttl=5, clock=clock)
    caller = spawn(batcher.call, 1, timeout=20)
    gate.wait_for(1)
    clock.wait_for_waiters(1)
    clock.advance(5)
    clock.wait_for_waiters(1)
    gate.let_all()
    assert caller.result() == 10
    batcher.close()


@pytest.mark.parametrize("ask", ["result", "exception"])
def test_a_future_that_is_waited_for_expires_in_time(gate, ask):
    batcher, _ = held_up(gate, 0.05)
    future = batcher.submit(1)
    with pytest.raises(TimeoutError if sys.version_info >= (3, 11) else concurrent.futures.TimeoutError):
        getattr(future, ask)(0.001)
    error = future.exception(PATIENCE) if ask == "exception" else raised_by(future.result, PATIENCE)
    assert isinstance(error, Overloaded)
    assert error.reason == "expired"
    gate.let_all()
    batcher.close()
    assert gate.batches == [[0]]


def test_one_caller_that_hears_of_it_touches_no_other_call(gate):
    """Its thread may be interrupted at any moment, and then others would be lost that it had in its hands."""
    batcher, early = held_up(gate, 0.02, max_pending=2000)
    others = [batcher.submit(n) for n in range(1, 1000)]
    last = batcher.submit(1000)
    assert isinstance(last.exception(PATIENCE), Overloaded)
    assert not any(other.done() for other in others)
    gate.let_all()
    batcher.close()
    assert all(isinstance(other.exception(), Overloaded) for other in others)
    assert batcher.statistics().expired == 1000 + early


@pytest.mark.parametrize("ask", [lambda batcher: batcher.call(1), lambda batcher: batcher.submit(1).result()], ids=["call", "submit"])
def test_an_expired_call_is_counted_as_one_wherever_its_caller_is_overtaken(ask):
    """The caller's thread stops at one line after the other while the worker takes the call, until there are no more lines."""
    codes = [member.__code__ for kind in (SubmittedCall, WaitingCall) for member in vars(kind).values() if inspect.isfunction(member)]
    for stop_at in itertools.count():
        gate, lines = Gate(), itertools.count()
        batcher, early = held_up(gate, 0.01)

        def at_each_line(_frame, event, _argument, gate=gate, lines=lines, stop_at=stop_at, batcher=batcher):
            if event == "line" and next(lines) == stop_at:
                gate.let_all()
                wait_until(lambda: batcher.statistics().succeeded and not batcher.statistics().pending, 1)
            return at_each_line

        def traced(batcher=batcher, at_each_line=at_each_line):
            sys.settrace(lambda frame, _event, _argument: at_each_line if frame.f_code in codes else None)
            try:
                return ask(batcher)
            finally:
                sys.settrace(None)

        error = spawn(traced).exception()
        is_stopped = gate.free
        gate.let_all()
        batcher.close()
        seen = batcher.statistics()
        if error is None:
            assert (seen.succeeded, seen.expired, seen.cancelled) == (2, early, 0)
        else:
            assert error.reason == "expired"
            assert (seen.succeeded, seen.expired, seen.cancelled) == (1, 1 + early, 0)
        if not is_stopped:
            break
    assert stop_at > 5


def test_an_expired_future_has_an_outcome_wherever_its_caller_is_interrupted():
    """As by a signal handler that raises, at one line after the other of what claims the call."""
    codes = [SubmittedCall._wait.__code__, SubmittedCall._claim.__code__]
    for stop_at in itertools.count():
        gate, lines = Gate(), itertools.count()
        batcher, early = held_up(gate, 0.01)
        future = batcher.submit(1)

        def at_each_line(_frame, event, _argument, lines=lines, stop_at=stop_at):
            if event == "line" and next(lines) == stop_at:
                raise KeyboardInterrupt
            return at_each_line

        def traced(future=future, at_each_line=at_each_line):
            sys.settrace(lambda frame, _event, _argument: at_each_line if frame.f_code in codes else None)
            try:
                return future.result()
            finally:
                sys.settrace(None)

        error = spawn(traced).exception()
        gate.let_all()
        batcher.close()
        assert future.done()
        seen = batcher.statistics()
        assert (seen.succeeded + seen.expired, seen.cancelled) == (2 + early, 0)
        if not isinstance(error, KeyboardInterrupt):
            break
    assert stop_at > 5


def interrupted_at(codes, line, function):
    """Calls the function, and raises KeyboardInterrupt, as a signal handler may, where so many lines of these codes have run."""
    lines = itertools.count()

    def at_each_line(_frame, event, _argument):
        if event == "line" and next(lines) == line:
            raise KeyboardInterrupt
        return at_each_line

    sys.settrace(lambda frame, _event, _argument: at_each_line if frame.f_code in codes else None)
    try:
        return function()
    finally:
        sys.settrace(None)


REMOVING = [getattr(BatchRunner, name).__code__ for name in ("purge", "remove", "fail_leaving", "settle_departed", "fail_pending")]


@pytest.mark.parametrize("how", ["cancelled", "expired", "closed"])
def test_calls_that_leave_the_queue_have_an_outcome_wherever_that_is_interrupted(how):
    for stop_at in itertools.count():
        gate, clock = Gate(), ManualClock()
        batcher = Batcher(gate, max=1, linger=0, ttl=5 if how == "expired" else None, clock=clock, max_pending=3)
        running = batcher.submit(0)
        gate.wait_for(1)
        pending = [batcher.submit(n) for n in (1, 2, 3)]

        def provoke(how=how, batcher=batcher, clock=clock, pending=pending):
            if how == "cancelled":
                for future in pending:
                    future.cancel()
            elif how == "expired":
                clock.advance(6)
                batcher.submit(4)  # finds no room
            else:
                with contextlib.suppress(TimeoutError):
                    batcher.close(0)

        error = spawn(interrupted_at, REMOVING, stop_at, provoke).exception()
        gate.let_all()
        spawn(batcher.close).result()
        assert running.result() == 0
        assert all(future.done() for future in pending)
        seen = batcher.statistics()
        assert (seen.pending, seen.running) == (0, 0)
        assert seen.succeeded + seen.expired + seen.cancelled + seen.failed == seen.submitted
        if error is None:
            break
    assert stop_at > 8


def test_a_batch_that_lingers_as_long_as_its_calls_live():
    with pytest.raises(ValueError, match=r"'linger' must be less than 'ttl', .* got 0\.005 and 0\.005"):
        Batcher(list, ttl=0.005)
    with pytest.raises(ValueError, match=r"'linger' must be less than 'ttl', .* got 1 and 0\.5"):
        Batcher.of(linger=1, ttl=0.5)(list)
    Batcher(list, linger=0.4, ttl=0.5).close()


def test_ttl_counts_the_wait_for_room(gate):
    clock = ManualClock()
    batcher = Batcher(gate, max=1, linger=0, ttl=5, clock=clock, max_pending=1)
    batcher.submit(0)
    gate.wait_for(1)
    clock.advance(1)
    batcher.submit(1)
    caller = spawn(batcher.call, 2)
    clock.wait_for_waiters(1)
    clock.advance(5)
    with pytest.raises(Overloaded) as caught:
        caller.result()
    assert caught.value.reason == "expired"
    assert batcher.statistics().refused == 1
    gate.let_all()
    batcher.close()


# The end.


def test_drain(gate):
    batcher = Batcher(gate, linger=0)
    batcher.drain()
    batcher.submit(1)
    with pytest.raises(TimeoutError, match=r"drain: 0 calls are pending and 1 running after 0\.01 seconds"):
        wait_until(lambda: batcher.statistics().running == 1)
        batcher.drain(0.01)
    gate.let()
    batcher.drain(PATIENCE)
    gate.let()
    assert batcher.call(2) == 20
    batcher.close()


def test_close_runs_what_is_pending():
    """Lingering ends at once."""
    clock = ManualClock()
    name = f"closed by {threading.get_ident()}"
    batcher = Batcher(doubled, linger=60, clock=clock, name=name)
    futures = [batcher.submit(n) for n in range(3)]
    batcher.close()
    batcher.close()
    assert [future.result(0) for future in futures] == [0, 2, 4]
    for late in (lambda: batcher.submit(1), lambda: batcher.call(1)):
        with pytest.raises(ShutDown, match=f"the batcher '{name}' is closed"):
            late()
    assert batcher.statistics().is_closed
    assert not batcher_threads(name)


def test_close_that_does_not_wait(gate):
    batcher = Batcher(gate, max=1, linger=0, max_pending=2)
    running = batcher.submit(0)
    gate.wait_for(1)
    pending = [batcher.submit(n) for n in (1, 2)]
    waiting = spawn(batcher.call, 3)
    wait_until(lambda: batcher.statistics().waiters == 1)
    with pytest.raises(TimeoutError, match="close: 2 calls are pending and 1 running after 0 seconds"):
        batcher.close(0)
    assert [type(future.exception(0)) for future in pending] == [ShutDown, ShutDown]
    with pytest.raises(ShutDown):
        waiting.result()
    gate.let()
    assert running.result(PATIENCE) == 0
    batcher.close(PATIENCE)
    assert batcher.statistics().failed == 2


def test_the_block_closes_after_an_error():
    with pytest.raises(KeyError):
        with Batcher(doubled) as batcher:
            future = batcher.submit(1)
            raise KeyError
    assert future.result(0) == 2


def test_close_before_the_first_call():
    batcher = Batcher(doubled)
    batcher.close()
    with pytest.raises(ShutDown):
        batcher.call(1)
    assert repr(batcher).endswith(" closed pending=0 max_pending=1024 max=32 linger=0.005>")


@pytest.mark.parametrize("method", ["call", "drain", "close"])
def test_a_handler_that_waits_for_itself(method):
    def handler(items):
        getattr(batcher, method)(*([1] if method == "call" else []))
        return items

    batcher = Batcher(handler, linger=0)
    with pytest.raises(RuntimeError, match=rf"{method}\(\) was called by the Batcher's own handler"):
        batcher.call(1)
    assert not batcher.closed
    batcher.close()


def test_a_handler_may_submit():
    """Unless it would have to wait for room."""
    futures = []

    def handler(items):
        for item in items:
            if item:
                futures.append(batcher.submit(item - 1))
        return items

    batcher = Batcher(handler, linger=0, max=1, max_pending=1)
    assert batcher.call(3) == 3
    batcher.drain(PATIENCE)
    assert [future.result() for future in futures] == [2, 1, 0]

    def overfull(items):
        return [[greedy.submit(0) for _ in range(2)] if item else None for item in items]

    greedy = Batcher(overfull, linger=0, max=1, max_pending=1)
    with pytest.raises(RuntimeError, match=r"submit\(\) was called by the Batcher's own handler"):
        greedy.call(1)
    batcher.close()
    greedy.close()


# Context, garbage, and what it is.


def test_the_handler_runs_in_the_batchers_context():
    """Not in a caller's; each worker has a copy."""
    variable = contextvars.ContextVar("variable", default="default")

    def handler(items):
        seen = variable.get()
        variable.set("the handler's")
        return [seen] * len(items)

    def make():
        variable.set("the maker's")
        return Batcher(handler, linger=0)

    batcher = contextvars.copy_context().run(make)
    variable.set("the caller's")
    assert [batcher.call(0) for _ in range(2)] == ["the maker's", "the handler's"]
    assert variable.get() == "the caller's"
    batcher.close()


def test_the_default_clock(gate):
    """Also for the timeouts of callers, and for what the handler makes."""
    clocks = []

    def handler(items):
        clocks.append(_core._clock(None))
        return gate(items)

    with ManualClock() as clock:
        batcher = Batcher(handler, linger=7, max=2)
    futures = [batcher.submit(n) for n in range(2)]
    gate.wait_for(1)
    caller = spawn(batcher.call, 3, timeout=6)
    clock.wait_for_waiters(1)
    gate.let()
    clock.wait_for_waiters(2)
    clock.advance(6)
    with pytest.raises(TimeoutError):
        caller.result()
    assert [future.result(PATIENCE) for future in futures] == [0, 10]
    assert clocks == [clock]
    batcher.close()


def batcher_threads(name):
    return [thread for thread in threading.enumerate() if thread.name == f"sluicegate-batcher-{name}"]


def test_a_dropped_batcher_ends_its_threads(recwarn):
    name = f"dropped by {threading.get_ident()}"
    batcher = Batcher(doubled, workers=2, name=name)
    assert batcher.call(1) == 2
    assert len(batcher_threads(name)) == 2
    reference = weakref.ref(batcher)
    del batcher
    collect()
    assert reference() is None
    wait_until(lambda: not batcher_threads(name))
    assert not [warning for warning in recwarn if warning.category is ResourceWarning and "Batcher" in str(warning.message)]


@pytest.mark.thread_unsafe(reason="counts the warnings of the process")
def test_a_dropped_batcher_with_calls(gate):
    """They run, and it warns."""
    batcher = Batcher(gate, linger=0, max=1, name="dropped")
    futures = [batcher.submit(n) for n in range(3)]
    gate.wait_for(1)
    with pytest.warns(ResourceWarning, match=r"a Batcher of Gate\(\) was garbage-collected with 3 calls that"):  # noqa: PT031 - as soon as it goes
        del batcher
        collect()
    gate.let_all()
    assert [future.result(PATIENCE) for future in futures] == [0, 10, 20]
    wait_until(lambda: not batcher_threads("dropped"))


def test_results_and_items_are_not_kept():
    """Neither by the idle worker, nor by the future of a call that is over (the item)."""

    class Thing:
        pass

    batcher = Batcher(lambda items: [Thing() for _ in items], linger=0)
    item = Thing()
    future = batcher.submit(item)
    references = [weakref.ref(item), weakref.ref(future.result(PATIENCE))]
    del item
    wait_until(lambda: gc.collect() >= 0 and references[0]() is None)
    del future
    wait_until(lambda: gc.collect() >= 0 and references[1]() is None)
    batcher.close()


def test_no_cycle_through_a_raised_error():
    class Broken(Exception):
        pass

    def handler(items):
        raise Broken

    batcher = Batcher(handler, linger=0)
    reference = None
    try:
        batcher.call(1)
    except Broken as error:
        reference = weakref.ref(error)
    batcher.close()
    wait_until(lambda: reference() is None)  # without a collection


def test_of_makes_a_batcher():
    @Batcher.of(max=7, linger=0, name="model")
    def predict(items):
        """Predict."""
        return [item + 1 for item in items]

    assert type(predict) is Batcher
    assert predict.__doc__ == "Predict."
    assert predict.handler([1]) == [2]
    assert predict.call(1) == 2
    assert " 'model' at " in repr(predict)
    assert ".predict: pending=0 max_pending=1024 max=7 linger=0>" in repr(predict)
    predict.close()


class Model:
    def __init__(self, factor):
        self.factor = factor

    @Batcher.of(linger=0)
    def predict(self, items):
        return [item * self.factor for item in items]

    @Batcher.of(linger=0)
    @staticmethod
    def plain(items):
        return items

    shared = Batcher(doubled, linger=0)


def test_of_on_a_method():
    """Each instance has its own, which goes with it; a batcher that was made by hand stays one."""
    one, two = Model(2), Model(3)
    assert (one.predict.call(5), two.predict.call(5)) == (10, 15)
    assert one.predict is one.predict
    assert one.predict is not two.predict
    assert one.shared is two.shared is Model.shared
    assert one.plain is Model.plain
    with pytest.raises(TypeError, match=r"Model.predict\(\) is a method: ask an instance for its Batcher"):
        Model.predict.call(5)
    other = copy.copy(one)
    other.factor = 7
    assert other.predict.call(5) == 35
    assert one.predict.call(5) == 10
    references = [weakref.ref(one), weakref.ref(two), weakref.ref(other)]
    del one, two, other
    wait_until(lambda: gc.collect() >= 0 and not any(reference() for reference in references))


def test_of_on_a_method_of_a_class_with_slots():
    class Slotted:
        __slots__ = ()

        @Batcher.of()
        def predict(self, items):
            return items

    with pytest.raises(TypeError, match="Slotted has no __dict__ to keep the Batcher of its method in"):
        Slotted().predict  # noqa: B018 - asking is enough


def test_of_on_a_class_method():
    with pytest.raises(TypeError, match="'handler' must be a function that takes a list of items, got <classmethod"):
        Batcher.of()(classmethod(lambda cls, items: items))


def test_bound_methods_and_partials():
    model = Model(3)
    with Batcher(functools.partial(lambda factor, items: [item * factor for item in items], 4)) as batcher:
        assert batcher.call(2) == 8
    with Batcher(model.predict.handler) as batcher:
        assert batcher.call(2) == 6
        assert "of Model.predict:" in repr(batcher)
    model.predict.close()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max": 0}, ValueError, "'max' must be at least 1, not 0"),
        ({"max": True}, TypeError, "'max' must be an int of at least 1, not True"),
        ({"max": 1.5}, TypeError, "'max' must be an int of at least 1, not 1.5"),
        ({"max": 1 << 80}, ValueError, "'max' must be at most"),
        ({"max_pending": 0}, ValueError, "'max_pending' must be at least 1, not 0"),
        ({"workers": -1}, ValueError, "'workers' must be at least 1, not -1"),
        ({"linger": -1}, ValueError, "'linger' must be a finite number of seconds"),
        ({"linger": float("nan")}, ValueError, "'linger'"),
        ({"linger": "1"}, TypeError, "'linger'"),
        ({"ttl": -1}, ValueError, "'ttl'"),
        ({"ttl": 0}, ValueError, "'ttl' must be greater than 0, got 0"),
        ({"ttl": float("inf")}, ValueError, "'ttl'"),
        ({"clock": 1}, TypeError, "'clock' must be a sluicegate.Clock"),
        ({"name": 1}, TypeError, "'name' must be a str or None, not 1"),
        ({"loop": object()}, TypeError, "'loop' is for an `async def` handler"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Batcher(doubled, **arguments)
    with pytest.raises(error, match=message):
        Batcher.of(**arguments)(doubled)


@pytest.mark.parametrize("handler", [None, 3, "x"])
def test_bad_handlers(handler):
    with pytest.raises(TypeError, match="'handler' must be a function"):
        Batcher(handler)


def test_an_asynchronous_generator_is_refused():
    async def handler(items):
        yield 1

    with pytest.raises(TypeError, match="is an asynchronous generator"):
        Batcher(handler)


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (1e30, OverflowError)])
def test_bad_timeouts(timeout, error):
    batcher = Batcher(doubled)
    for wrong in (lambda: batcher.call(1, timeout=timeout), lambda: batcher.close(timeout)):
        with pytest.raises(error):
            wrong()
    assert batcher.call(1) == 2
    assert batcher.statistics().submitted == 1
    batcher.close()


def test_timedeltas():
    from datetime import timedelta

    with Batcher(doubled, linger=timedelta(milliseconds=1), ttl=timedelta(hours=1)) as batcher:
        assert batcher.call(1, timeout=timedelta(seconds=PATIENCE)) == 2


def test_what_it_is():
    batcher: Batcher[int, int] = Batcher(doubled, name="b")
    assert Batcher[int, int].__origin__ is Batcher
    assert batcher.name == "b"
    assert weakref.ref(batcher)() is batcher
    for refused in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"cannot pickle or copy 'sluicegate\.Batcher'"):
            refused(batcher)
    for name in ("name", "handler", "closed"):
        with pytest.raises(AttributeError):
            setattr(batcher, name, None)
    public = {name for name in dir(batcher) if not name.startswith("_")}
    assert public == {
        "call",
        "close",
        "close_async",
        "closed",
        "drain",
        "drain_async",
        "handler",
        "name",
        "of",
        "statistics",
        "submit",
        "submit_async",
    }
    settings = "max=32, linger=0.005, max_pending=1024, workers=1, overflow='block', ttl=None, loop=None, clock=None, name=None"
    for function in (Batcher, Batcher.of):
        plain = [f"{name}={parameter.default!r}" for name, parameter in inspect.signature(function).parameters.items() if name != "handler"]
        assert ", ".join(plain) == settings


def test_it_is_imported_when_it_is_asked_for():
    """Warned by nothing, and the same class each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sluicegate.Batcher is Batcher


def test_parentheses_that_are_missing_or_too_many():
    """Both mistakes are told with what to write."""
    with pytest.raises(TypeError, match=r"write @Batcher\.of\(\) with parentheses"):

        @Batcher.of
        def double(items):
            return [2 * item for item in items]

    @Batcher.of(linger=0)
    def triple(items):
        return [3 * item for item in items]

    with triple, pytest.raises(TypeError, match=r"use call\(item\), or await submit_async\(item\).* its handler, .*triple\(\)"):
        triple(3)
    with pytest.raises(TypeError, match="must be a function that takes a list"):
        Batcher(triple)


def test_a_batch_is_at_most_what_may_be_pending():
    """As the docstring says: `max` beyond `max_pending` is not reached."""
    sizes = []
    with Batcher(lambda items: sizes.append(len(items)) or items, max=32, max_pending=4, linger=1000) as batcher:
        futures = [batcher.submit(i) for i in range(8)]
    assert [future.result(PATIENCE) for future in futures] == list(range(8))
    assert sum(sizes) == 8
    assert max(sizes) <= 4
