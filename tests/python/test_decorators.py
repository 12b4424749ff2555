"""What the decorators of all objects have in common."""

from __future__ import annotations

import functools

import pytest
from helpers import on_loops

from sluicegate import (
    AdaptiveConcurrency,
    AdaptiveRate,
    CircuitBreaker,
    Fallback,
    Guard,
    KeyedBreaker,
    KeyedTokenBucket,
    LeakyBucket,
    RateLimits,
    Retry,
    SlidingWindow,
    TokenBucket,
)


def logged(function):
    """A decorator as it is usually written, which is no coroutine function."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def decorators():
    breaker = CircuitBreaker()
    keyed = KeyedBreaker(max_keys=3)
    concurrency = AdaptiveConcurrency(target=1)
    rate = AdaptiveRate(100, burst=50)
    return {
        "breaker": (breaker, breaker),
        "keyed breaker": (keyed, keyed.by(key=lambda *_args: "a")),
        "adaptive concurrency": (concurrency, concurrency),
        "adaptive rate": (rate, rate),
        "failed": (breaker, breaker(failed=bool)),
        "token bucket": (None, TokenBucket(100, burst=50)),
        "leaky bucket": (None, LeakyBucket(100, capacity=50)),
        "sliding window": (None, SlidingWindow(100, 1)),
        "cost": (None, TokenBucket(100, burst=50).by(cost=2)),
        "set": (None, RateLimits(a=TokenBucket(100, burst=50))),
        "keyed bucket": (None, KeyedTokenBucket(100, burst=50, max_keys=3).by(key=lambda *_args: "a")),
        "retry": (None, Retry(on=OSError)),
        "fallback": (None, Fallback(0)),
        "guard": (None, Guard(breaker=breaker)),
    }


@pytest.mark.parametrize("kind", decorators())
@on_loops
async def test_a_def_that_returns_a_coroutine(kind):
    """It would run after the permit has been left, and its failure would be a success: so every decorator refuses it."""
    counted, decorate = decorators()[kind]

    async def call():
        raise AssertionError("it must not run")

    decorated = decorate(logged(call))
    with pytest.raises(TypeError, match="coroutine"):
        await decorated()
    if counted is not None:
        seen = counted.statistics()
        assert seen.successes == 0
        assert seen.ignored == 1
