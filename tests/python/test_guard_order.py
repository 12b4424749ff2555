"""The order of a guard's seven layers, told by what each has done when the call begins, and when another one refuses it.

The layers are those that the binding knows, and no subclasses: so these go the way that programs go.
"""

from __future__ import annotations

import asyncio

import pytest
from helpers import on_loops

from sluicegate import AdaptiveConcurrency, Backoff, CircuitBreaker, Fallback, Guard, Retry, RetryBudget, TokenBucket
from sluicegate.testing import ManualClock


class Layers:
    """A guard with a layer of each kind; `attempt_timeout` is for coroutines."""

    def __init__(self, is_async):
        self.clock = clock = ManualClock()
        self.fallback = Fallback("instead", on=Exception, clock=clock)
        budget = RetryBudget(reserve=1000, clock=clock)
        self.retry = Retry(3, on=Exception, backoff=Backoff(0, 0), budget=budget, retry_after_max=0, clock=clock)
        self.breaker = CircuitBreaker(clock=clock)
        self.rate = TokenBucket(1e-6, burst=10, clock=clock)
        self.limit = AdaptiveConcurrency(target=60, initial=1, max=1, dropped=OSError, clock=clock)
        self.is_async = is_async
        self.guard = Guard(
            fallback=self.fallback,
            total=100,
            retry=self.retry,
            breaker=self.breaker,
            rate=self.rate,
            concurrency=self.limit,
            attempt_timeout=5 if is_async else None,
            clock=clock,
        )

    async def call(self, function):
        """Call it through the guard, as a coroutine function or as it is."""

        async def run():
            return function()

        return await self.guard.call_async(run) if self.is_async else self.guard.call(function)

    def done(self):
        """What each layer has done, from the outside in."""
        fallback, retry, limit = self.fallback.statistics(), self.retry.statistics(), self.limit.statistics()
        breaker = self.breaker.statistics()
        return {
            "answers": fallback.values,
            "remaining": self.guard.remaining,
            "retries": retry.retries,
            "gave up": retry.exhausted + retry.too_late,
            "let through": breaker.calls,
            "results": breaker.failures + breaker.successes,
            "refused by the breaker": breaker.refused,
            "tokens": round(self.rate.tokens, 2),
            "samples": limit.dropped + limit.successes,
            "in flight": limit.in_flight,
        }


NOTHING = {
    "answers": 0,
    "remaining": None,
    "retries": 0,
    "gave up": 0,
    "let through": 0,
    "results": 0,
    "refused by the breaker": 0,
    "tokens": 10,
    "samples": 0,
    "in flight": 0,
}


#: After three attempts that have failed.
AFTER_THREE = NOTHING | {"answers": 1, "retries": 2, "gave up": 1, "let through": 3, "results": 3, "tokens": 7, "samples": 3}


@pytest.mark.parametrize("is_async", [False, True])
@on_loops
async def test_g1_what_each_layer_has_done_when_an_attempt_begins(is_async):
    """resilience G1: 3 attempts take 3 tokens, and are 3 results of the breaker and 3 samples of the limit."""
    layers, seen = Layers(is_async), []

    def fails():
        seen.append(layers.done())
        layers.clock.advance(1)
        raise OSError

    assert await layers.call(fails) == "instead"
    each = NOTHING | {"in flight": 1}
    assert seen == [
        each | {"remaining": 100, "tokens": 9, "let through": 1},
        each | {"remaining": 99, "tokens": 8, "let through": 2, "retries": 1, "results": 1, "samples": 1},
        each | {"remaining": 98, "tokens": 7, "let through": 3, "retries": 2, "results": 2, "samples": 2},
    ]
    assert layers.done() == AFTER_THREE


@pytest.mark.parametrize("is_async", [False, True])
@on_loops
async def test_g1_what_a_refusal_costs_the_other_layers(is_async):
    """Those outside the layer that refuses see it, and those inside see nothing."""
    at_the_end = {"answers": 1, "gave up": 1}

    layers = Layers(is_async)
    layers.breaker.force_open(60)
    assert await layers.call(pytest.fail) == "instead"
    assert layers.done() == NOTHING | at_the_end | {"refused by the breaker": 1}

    layers = Layers(is_async)
    layers.rate.acquire(10)
    assert await layers.call(pytest.fail) == "instead"
    assert layers.done() == NOTHING | at_the_end | {"tokens": 0}

    layers = Layers(is_async)
    with layers.limit.permit():
        before = layers.done()
        assert await layers.call(pytest.fail) == "instead"
        assert layers.done() == before | at_the_end
    assert layers.rate.statistics().admitted == 1  # it had its token, and has given it back


@on_loops
async def test_g1_the_time_limits_are_the_innermost_layer_and_the_one_below_the_fallback():
    layers, began = Layers(True), []

    async def hangs():
        began.append(layers.clock.now())
        await asyncio.Event().wait()

    async def advance(task):
        await layers.clock.advance_async(0)  # so it begins
        while not task.done():
            await layers.clock.advance_async(0.5)
        return await task

    assert await advance(asyncio.create_task(layers.guard.call_async(hangs))) == "instead"
    assert began == [0, 5, 10]  # each attempt has its own 5 seconds, which begin when the layers have let it through
    assert layers.done() == AFTER_THREE

    layers, began = Layers(True), []
    layers.guard = Guard(fallback=layers.fallback, total=12, retry=layers.retry, attempt_timeout=5, clock=layers.clock)
    assert await advance(asyncio.create_task(layers.guard.call_async(hangs))) == "instead"
    assert (began, layers.clock.now()) == ([0, 5, 10], 12)  # the deadline is that of all attempts, and the fallback answers for it
    assert layers.done() == NOTHING | {"answers": 1, "retries": 2}
