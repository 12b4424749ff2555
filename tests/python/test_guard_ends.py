"""What a call through `Guard`, `Fallback` or `Retry` leaves behind: no cycle, no time beyond its deadline, no copy of itself."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import sys

import pytest
from helpers import on_loops

from sluicegate import Backoff, CircuitBreaker, Fallback, Guard, KeyedBreaker, Pipeline, Refused, Retry, Stale, TokenBucket, _rates
from sluicegate.testing import ManualClock


class Unexpected(Exception):
    pass


def fails():
    raise Unexpected


async def fails_async():
    await asyncio.sleep(0)
    raise Unexpected


def quietly(call, *args):
    try:
        call(*args)
    except (Unexpected, TypeError):
        pass


def garbage_of(call, *args):
    """Return how many objects only a collection frees after ten calls. What is made for the first one stays."""
    call(*args)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            call(*args)
        return gc.collect()
    finally:
        gc.enable()


#: Layers that raise the error, and those in which it is the outcome that other calls wait for.
NOT_NAMED = {
    "fallback": lambda: Fallback(1, on=KeyError),
    "guard": lambda: Guard(fallback=Fallback(1, on=KeyError)),
    "shared": lambda: Fallback(on=Unexpected, stale=Stale(9)),
    "guard with shared": lambda: Guard(fallback=Fallback(1, on=Unexpected, stale=Stale(9))),
    "deadline": lambda: Guard(total=60),
    "retry": lambda: Guard(retry=Retry(2, on=Unexpected, backoff=Backoff(0, 0)), breaker=CircuitBreaker(failure=KeyError)),
}


@pytest.mark.thread_unsafe(reason="counts what one collection of the whole process finds")
@pytest.mark.parametrize("kind", NOT_NAMED)
def test_a_failed_call_leaves_no_cycle(kind):
    assert garbage_of(quietly, NOT_NAMED[kind]().call, fails) == 0


@pytest.mark.thread_unsafe(reason="counts what one collection of the whole process finds")
@pytest.mark.parametrize("kind", NOT_NAMED)
def test_a_failed_call_of_a_task_leaves_no_cycle(kind):
    layer = NOT_NAMED[kind]()

    async def several():
        await asyncio.gather(layer.call_async(fails_async), return_exceptions=True)

    loop = asyncio.new_event_loop()
    try:
        assert garbage_of(lambda: loop.run_until_complete(several())) == 0
    finally:
        loop.close()


@pytest.mark.thread_unsafe(reason="counts what one collection of the whole process finds")
@pytest.mark.parametrize("layer", [Guard(), Fallback(1), Retry(2, on=OSError)])
def test_a_mistake_of_the_program_leaves_no_cycle(layer):
    assert garbage_of(quietly, layer.call, lambda: fails_async()) == 0


@pytest.mark.thread_unsafe(reason="sys.unraisablehook is the process's")
def test_what_an_interrupt_leaves_of_the_semaphores_of_a_set(monkeypatch):
    """Ctrl-C may come before the first line of `__init__`."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    _rates._Gates.__new__(_rates._Gates)
    assert seen == []


@on_loops
async def test_the_deadline_counts_the_wait_for_another_call():
    clock = ManualClock()
    guard = Guard(total=3, fallback=Fallback(on=Refused, stale=Stale(100, key=lambda *_: 1)), clock=clock)
    first, second = (asyncio.create_task(guard.call_async(asyncio.Event().wait)) for _ in range(2))
    await asyncio.sleep(0)
    await clock.advance_async(2)
    first.cancel()
    await asyncio.wait([first])
    await clock.advance_async(0.5)
    assert not second.done()
    await clock.advance_async(0.5)
    with pytest.raises(TimeoutError, match="longer than 'total', which is 3 seconds"):
        await asyncio.wait_for(second, 10)


@on_loops
@pytest.mark.parametrize("limit", ["total", "attempt_timeout"])
async def test_a_time_limit_begins_with_the_call(limit):
    """One turn of the loop is enough for a test that sets the clock."""
    clock = ManualClock()
    guard = Guard(clock=clock, **{limit: 3})
    task = asyncio.create_task(guard.call_async(asyncio.Event().wait))
    await asyncio.sleep(0)
    await clock.advance_async(3)
    with pytest.raises(TimeoutError, match=f"longer than '{limit}', which is 3 seconds"):
        await asyncio.wait_for(task, 10)


class Remote:
    """As a method of `xmlrpc.client.ServerProxy`: each of its attributes is made up."""

    def __getattr__(self, name):
        return Remote()

    def __call__(self, *args):
        return args


@pytest.mark.parametrize("layer", [Guard(), Fallback(1), Retry(2, on=OSError)])
def test_a_proxy_is_a_function(layer):
    assert layer.call(Remote(), 1, 2) == (1, 2)


def test_a_stage_that_is_a_class_has_a_guard():
    guard = Guard()
    assert list(Pipeline(["1", "2"]).map(int, guard=guard)) == [1, 2]
    assert guard.statistics().successes == 2
    with pytest.raises(TypeError, match="'guard' must have no 'attempt_timeout', because a thread cannot be stopped"):
        Pipeline(["1"]).map(int, guard=Guard(attempt_timeout=1))


@pytest.mark.parametrize("answer", [0, "yes", None, [1]])
def test_the_truth_of_what_a_fallbacks_on_returns(answer):
    call = Fallback("instead", on=lambda _: answer).call
    if answer:
        assert call(fails) == "instead"
    else:
        with pytest.raises(Unexpected):
            call(fails)


@pytest.mark.parametrize("make", [lambda: Guard(breaker=KeyedBreaker(max_keys=9)).key(1), lambda: next(iter(Retry(2, on=OSError)))])
def test_what_has_a_call_on_its_way_has_no_copy(make):
    one = make()
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=f"cannot pickle or copy '{type(one).__name__}' object"):
            duplicate(one)


def test_the_guard_of_a_key_tells_what_its_guard_does():
    guard = Guard(breaker=KeyedBreaker(max_keys=9), total=60, name="shop")
    one = guard.key(1)
    assert one.call(lambda: 0 < one.remaining <= 60)
    assert one.remaining is None
    assert (one.name, one.statistics()) == ("shop", guard.statistics())
    assert one.statistics().successes == 1


def test_subclasses_are_named_and_asked():
    class Again(Retry):
        def call(self, function, /, *args, **kwargs):
            return "mine"

    class Own(Guard):
        pass

    class Other(Fallback):
        pass

    again = Again(2, on=OSError)
    assert again(fails)() == "mine"
    assert [repr(one).split()[0] for one in (again, Own(), Other(1))] == ["<sluicegate.Again", "<sluicegate.Own", "<sluicegate.Other"]


def test_a_clock_that_is_the_default_is_that_of_the_guard_and_its_layers():
    with ManualClock() as clock:
        guard = Guard(fallback=Fallback(0, on=Exception, stale=Stale(10, key=lambda *_: 1)), total=3, rate=TokenBucket(1, burst=1))
    assert guard.call(lambda: guard.remaining) == 3
    clock.advance(9)
    assert guard.call(fails) == 3
    clock.advance(2)
    assert guard.call(fails) == 0


@pytest.mark.parametrize("layer", [Guard(), Fallback(1), Retry(2, on=OSError)])
def test_a_type_error_of_what_is_decorated_is_its_own(layer):
    class Unprintable:
        def __call__(self):
            raise TypeError("mine")

        def __repr__(self):
            raise Unexpected

    with pytest.raises(TypeError, match="^mine$"):
        layer(Unprintable())()
