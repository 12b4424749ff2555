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
    KeyedSemaphore,
    KeyedSlidingWindow,
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


def work(x=None):
    return x


@pytest.mark.parametrize(
    "wrong, words",
    [
        (lambda: CircuitBreaker(work), r"write `@CircuitBreaker\(\)`, with parentheses"),
        (lambda: CircuitBreaker(0.5), "give all options by name"),
        (lambda: KeyedBreaker(work), r"write `@breakers.by\(key=...\)`"),
        (lambda: AdaptiveConcurrency(work), r"write `@AdaptiveConcurrency\(target=...\)`"),
        (lambda: AdaptiveConcurrency(0.1), r"write AdaptiveConcurrency\(target=0.1\)"),
        (lambda: AdaptiveConcurrency(), "missing 1 required keyword-only argument: 'target'"),
        (lambda: RateLimits(TokenBucket(1, burst=1)), r"as in `RateLimits\(requests=limiter\)`"),
        (lambda: RateLimits([TokenBucket(1, burst=1)]), r"as in `RateLimits\(requests=limiter\)`"),
        (lambda: KeyedTokenBucket(1, burst=1, max_keys=3)(work), r"a KeyedTokenBucket .* write `@limiter.by\(key=...\)`"),
        (lambda: KeyedSlidingWindow(1, 1, max_keys=3)(work), r"a KeyedSlidingWindow .* write `@limiter.by\(key=...\)`"),
        (lambda: KeyedBreaker(max_keys=3)(work), r"write `@breakers.by\(key=...\)`"),
        (lambda: KeyedSemaphore(1, max_keys=3)(work), r"write `@semaphore.by\(key=...\)`"),
    ],
)
def test_a_wrong_first_argument_is_told_what_to_write(wrong, words):
    with pytest.raises(TypeError, match=words):
        wrong()
