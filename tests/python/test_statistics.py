"""What statistics measure is said in one place, and `help()` shows it."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

import sluicegate
from sluicegate.http import asgi, wsgi

MADE = {
    "QueueStatistics": lambda: [sluicegate.Queue(), sluicegate.SimpleQueue()],
    "RateStatistics": lambda: [
        sluicegate.TokenBucket(1, burst=1),
        sluicegate.SlidingWindow(1, 1),
        sluicegate.RateLimits(one=sluicegate.TokenBucket(1, burst=1)),
    ],
    "KeyedRateStatistics": lambda: [sluicegate.KeyedTokenBucket(1, burst=1, max_keys=1)],
    "SemaphoreStatistics": lambda: [sluicegate.Semaphore(), sluicegate.BoundedSemaphore(2)],
    "KeyedSemaphoreStatistics": lambda: [sluicegate.KeyedSemaphore(1, max_keys=1)],
    "BreakerStatistics": lambda: [sluicegate.CircuitBreaker(), sluicegate.KeyedBreaker(max_keys=1).key("key")],
    "KeyedBreakerStatistics": lambda: [sluicegate.KeyedBreaker(max_keys=1)],
    "ConcurrencyStatistics": lambda: [sluicegate.AdaptiveConcurrency(target=1), sluicegate.AdaptiveConcurrency(target=None, name="named")],
    "AdaptiveRateStatistics": lambda: [sluicegate.AdaptiveRate(5, burst=1), sluicegate.AdaptiveRate(5, burst=1, name="named")],
    "RetryBudgetStatistics": lambda: [sluicegate.RetryBudget()],
    "BroadcastStatistics": lambda: [sluicegate.Broadcast()],
    "SubscriberStatistics": lambda: [sluicegate.Broadcast().subscribe(1)],
    "RetryStatistics": lambda: [sluicegate.Retry(on=OSError), sluicegate.Retry(on=OSError, name="named")],
    "FallbackStatistics": lambda: [sluicegate.Fallback(1), sluicegate.Fallback(1, name="named", stale=sluicegate.Stale(60))],
    "GuardStatistics": lambda: [sluicegate.Guard(), sluicegate.Guard(name="named", total=1)],
    "MiddlewareStatistics": lambda: [
        asgi.RateLimitMiddleware(print, sluicegate.UnlimitedRate()),
        asgi.ConcurrencyLimitMiddleware(print, sluicegate.Semaphore(), name="named"),
        wsgi.RateLimitMiddleware(print, sluicegate.UnlimitedRate(), name="named"),
        wsgi.ConcurrencyLimitMiddleware(print, sluicegate.Semaphore()),
    ],
    "LatestStatistics": lambda: [sluicegate.Latest(), sluicegate.Latest(1)],
    "BatcherStatistics": lambda: [sluicegate.Batcher(list), sluicegate.Batcher(list, name="named")],
    "ExecutorStatistics": lambda: [sluicegate.BoundedExecutor(1, max_pending=1), sluicegate.BoundedExecutor(1, queue=sluicegate.Queue())],
    "PipelineStatistics": lambda: [sluicegate.Pipeline([1]).run(), sluicegate.Pipeline([1], name="named").map(str).start()],
    "StageStatistics": lambda: [OfStage(0), OfStage(1)],
    "ChannelStatistics": lambda: [sluicegate.CreditChannel(), sluicegate.AckChannel()],
}


class OfStage:
    """A stage is seen in the snapshot of its pipeline."""

    def __init__(self, number):
        self.number = number

    def statistics(self):
        return sluicegate.Pipeline([1]).map(str).run().statistics().stages[self.number]


ALL = [name for name in sluicegate.__all__ if name.endswith("Statistics")]


@pytest.mark.parametrize("name", ALL)
def test_each_field_says_what_it_is(name):
    """Kind, unit and a sentence."""
    for field in dataclasses.fields(getattr(sluicegate, name)):
        assert field.metadata["kind"] in {"label", "gauge", "counter"}, field.name
        assert field.metadata["doc"].endswith("."), field.name
        if field.type in {"int", "float"}:
            assert field.metadata["unit"], field.name
        assert (field.metadata["unit"] == "seconds") == field.name.endswith(("_seconds", "_for")), field.name


@pytest.mark.parametrize("name", ALL)
def test_help_shows_the_fields(name):
    """In the class's docstring."""
    kind = getattr(sluicegate, name)
    for field in dataclasses.fields(kind):
        assert f"    {field.name}: {field.metadata['doc']}" in inspect.getdoc(kind)


@pytest.mark.parametrize("name", ALL)
def test_the_binary_fills_them(name):
    """Every object gives the snapshot of its kind, with values of the types that it says."""
    for thing in MADE[name]():
        snapshot = thing.statistics()
        assert type(snapshot) is getattr(sluicegate, name)
        for field in dataclasses.fields(snapshot):
            value = getattr(snapshot, field.name)
            kind = "None" if value is None else type(value).__name__
            assert kind in field.type or (kind, field.type) == ("int", "float"), field.name
        with pytest.raises(dataclasses.FrozenInstanceError):
            snapshot.name = "another"
