"""Functions that the package calls and does not await: a coroutine function is refused wherever one is given."""

from __future__ import annotations

import functools

import pytest

from sluicegate import (
    AckChannel,
    AdaptiveConcurrency,
    AdaptiveRate,
    BoundedExecutor,
    CircuitBreaker,
    CoalescingQueue,
    CreditChannel,
    FairQueue,
    Fallback,
    Guard,
    KeyedBreaker,
    KeyedSemaphore,
    KeyedTokenBucket,
    Pipeline,
    Queue,
    RateLimits,
    Retry,
    Stale,
    TokenBucket,
)


async def coroutine(*_args):
    raise AssertionError("it must not be called")


def generator(*_args):
    yield


async def async_generator(*_args):
    yield


class Callable:
    async def __call__(self, *_args): ...


PLACES = {
    "failure": lambda f: CircuitBreaker(failure=f),
    "ignore": lambda f: CircuitBreaker(ignore=f),
    "on_change": lambda f: CircuitBreaker(on_change=f),
    "keyed on_change": lambda f: KeyedBreaker(max_keys=3, on_change=f),
    "failed": lambda f: CircuitBreaker()(failed=f),
    "breaker key": lambda f: KeyedBreaker(max_keys=3).by(key=f),
    "dropped": lambda f: AdaptiveConcurrency(target=1, dropped=f),
    "adaptive failed": lambda f: AdaptiveConcurrency(target=1)(failed=f),
    "throttled": lambda f: AdaptiveRate(10, burst=5, throttled=f),
    "rate failed": lambda f: AdaptiveRate(10, burst=5)(failed=f),
    "on": lambda f: Retry(on=f),
    "fallback on": lambda f: Fallback(0, on=f),
    "stale key": lambda f: Stale(1, key=f),
    "guard key": lambda f: Guard(breaker=KeyedBreaker(max_keys=3)).by(key=f),
    "cost": lambda f: TokenBucket(1, burst=1).by(cost=f),
    "set cost": lambda f: RateLimits(a=TokenBucket(1, burst=1)).by(cost=f),
    "bucket key": lambda f: KeyedTokenBucket(1, burst=1, max_keys=3).by(key=f),
    "bucket cost": lambda f: KeyedTokenBucket(1, burst=1, max_keys=3).by(key=len, cost=f),
    "on_drop": lambda f: Queue(1, on_drop=f),
    "weigh": lambda f: Queue(weigh=f, max_weight=3),
    "fair key": lambda f: FairQueue(key=f),
    "coalescing key": lambda f: CoalescingQueue(key=f),
    "coalescing merge": lambda f: CoalescingQueue(key=len, merge=f),
    "channel weigh": lambda f: CreditChannel(weigh=f),
    "channel on_discard": lambda f: CreditChannel(on_discard=f),
    "channel retry": lambda f: AckChannel(retry=f),
    "channel lane": lambda f: AckChannel(lane=f),
    "channel on_settled": lambda f: AckChannel(on_settled=f),
    "initializer": lambda f: BoundedExecutor(1, initializer=f),
    "on_discard": lambda f: Pipeline([1]).run(on_discard=f),
    "keyed_map": lambda f: Pipeline([1]).keyed_map(len, key=f, workers=2),
    "conflate": lambda f: Pipeline([1]).conflate(key=f),
    "conflate merge": lambda f: Pipeline([1]).conflate(key=len, merge=f),
    "on_error": lambda f: Pipeline([1]).on_error(f),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "function",
    [coroutine, functools.partial(coroutine, 1), Callable(), Callable().__call__, generator, async_generator],
    ids=["coroutine", "partial", "object", "method", "generator", "async generator"],
)
def test_a_function_that_does_nothing_when_it_is_called_is_refused(place, function):
    """As an answer it is always true, and as a listener it never runs."""
    with pytest.raises(TypeError, match=r"must be an ordinary function, not the (coroutine|generator) function"):
        PLACES[place](function)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("make", [KeyedBreaker, functools.partial(KeyedSemaphore, 1), functools.partial(KeyedTokenBucket, 1, burst=1)])
def test_an_object_that_only_says_what_to_write_instead_is_no_function(place, make):
    """It has a `__call__`, which raises the error for its use as a decorator."""
    with pytest.raises(TypeError, match=r"must be a function, not <sluicegate\.Keyed"):
        PLACES[place](make(max_keys=1))


def test_a_subclass_with_a_call_of_its_own_is_one():
    class Judge(KeyedBreaker):
        def __call__(self, error):
            return isinstance(error, OSError)

    breaker = CircuitBreaker(failure=Judge(max_keys=1))
    with pytest.raises(OSError), breaker.permit():
        raise OSError
    assert breaker.statistics().failures == 1
    assert Fallback(Judge(max_keys=1)).call(lambda: 1) == 1


@pytest.mark.parametrize("place", sorted(set(PLACES) - {"keyed_map", "on_discard", "initializer"}))
def test_ordinary_functions_are_not(place):
    PLACES[place](lambda *_args: 1)
    PLACES[place](functools.partial(max, 1))
