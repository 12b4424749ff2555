"""Flow control for Python with a Rust core: bounded queues, rate limits, semaphores and credit channels that threads and asyncio share.

The same object can be used from threads, where a blocking call releases the GIL, and from coroutines, where it is awaited, on the
ordinary and on the free-threaded build.
"""

from __future__ import annotations

from sluicegate._core import Clock, RetryBudget, __version__
from sluicegate._exceptions import (
    BlockingInEventLoopWarning,
    ChannelCancelled,
    ChannelClosed,
    ChannelError,
    ChannelFailed,
    CircuitOpen,
    Empty,
    Full,
    Killed,
    Overloaded,
    RateLimited,
    Refused,
    ShutDown,
    StaleDelivery,
)
from sluicegate._pressure import Pressure, PressureListener
from sluicegate._queues import (
    AdaptiveLifo,
    CoalescingQueue,
    CoDel,
    Consumers,
    FairQueue,
    LifoQueue,
    Offered,
    PriorityQueue,
    Producers,
    Queue,
    Sample,
    SimpleQueue,
)
from sluicegate._rates import (
    KeyedLeakyBucket,
    KeyedLimiter,
    KeyedSlidingWindow,
    KeyedTokenBucket,
    LeakyBucket,
    LeakyBucketKey,
    RateLimiter,
    RateLimits,
    RatePermit,
    Reservation,
    SlidingWindow,
    SlidingWindowKey,
    TokenBucket,
    TokenBucketKey,
    UnlimitedRate,
    ZeroRate,
)
from sluicegate._select import Ready, Selectable, select, select_async
from sluicegate._semaphores import BoundedSemaphore, KeyedSemaphore, Semaphore, SemaphoreKey, SemaphorePermit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sluicegate import http as http
    from sluicegate import io as io
    from sluicegate import janus as janus
    from sluicegate import logging as logging
    from sluicegate import sizing as sizing
    from sluicegate import testing as testing
    from sluicegate._adaptive import AdaptiveConcurrency, ConcurrencyPermit
    from sluicegate._adaptive_rate import AdaptiveRate, AdaptiveRatePermit
    from sluicegate._amapping import AsyncBoundedMap, amap_bounded
    from sluicegate._backoff import Backoff
    from sluicegate._batcher import Batcher
    from sluicegate._breakers import BreakerKey, CircuitBreaker, CircuitPermit, KeyedBreaker
    from sluicegate._broadcast import Broadcast, Subscriber
    from sluicegate._credits import AckChannel, Channel, Credit, CreditChannel, Delivery, Permit, Receiver, Sender, Subscription
    from sluicegate._executor import BoundedExecutor, Submitting
    from sluicegate._fallback import Fallback
    from sluicegate._guard import Guard, GuardKey
    from sluicegate._latest import Latest, LatestTicks
    from sluicegate._mapping import BoundedMap, map_bounded
    from sluicegate._pipeline import DeadLetter, Pipeline, PipelineRun, Produce, produce
    from sluicegate._prefetch import AsyncPrefetch, Prefetch, aprefetch, prefetch
    from sluicegate._retries import Retry, RetryAttempt
    from sluicegate._stale import Stale
    from sluicegate._statistics import (
        AdaptiveRateStatistics,
        BatcherStatistics,
        BreakerStatistics,
        BroadcastStatistics,
        ChannelStatistics,
        ConcurrencyStatistics,
        ExecutorStatistics,
        FallbackStatistics,
        GuardStatistics,
        KeyedBreakerStatistics,
        KeyedRateStatistics,
        KeyedSemaphoreStatistics,
        Latency,
        LatestStatistics,
        MiddlewareStatistics,
        PipelineStatistics,
        QueueStatistics,
        RateStatistics,
        RetryBudgetStatistics,
        RetryStatistics,
        SemaphoreStatistics,
        StageStatistics,
        SubscriberStatistics,
    )

__all__ = [
    "AckChannel",
    "AdaptiveConcurrency",
    "AdaptiveLifo",
    "AdaptiveRate",
    "AdaptiveRatePermit",
    "AdaptiveRateStatistics",
    "AsyncBoundedMap",
    "AsyncPrefetch",
    "Backoff",
    "Batcher",
    "BatcherStatistics",
    "BlockingInEventLoopWarning",
    "BoundedExecutor",
    "BoundedMap",
    "BoundedSemaphore",
    "BreakerKey",
    "BreakerStatistics",
    "Broadcast",
    "BroadcastStatistics",
    "Channel",
    "ChannelCancelled",
    "ChannelClosed",
    "ChannelError",
    "ChannelFailed",
    "ChannelStatistics",
    "CircuitBreaker",
    "CircuitOpen",
    "CircuitPermit",
    "Clock",
    "CoDel",
    "CoalescingQueue",
    "ConcurrencyPermit",
    "ConcurrencyStatistics",
    "Consumers",
    "Credit",
    "CreditChannel",
    "DeadLetter",
    "Delivery",
    "Empty",
    "ExecutorStatistics",
    "FairQueue",
    "Fallback",
    "FallbackStatistics",
    "Full",
    "Guard",
    "GuardKey",
    "GuardStatistics",
    "KeyedBreaker",
    "KeyedBreakerStatistics",
    "KeyedLeakyBucket",
    "KeyedLimiter",
    "KeyedRateStatistics",
    "KeyedSemaphore",
    "KeyedSemaphoreStatistics",
    "KeyedSlidingWindow",
    "KeyedTokenBucket",
    "Killed",
    "Latency",
    "Latest",
    "LatestStatistics",
    "LatestTicks",
    "LeakyBucket",
    "LeakyBucketKey",
    "LifoQueue",
    "MiddlewareStatistics",
    "Offered",
    "Overloaded",
    "Permit",
    "Pipeline",
    "PipelineRun",
    "PipelineStatistics",
    "Prefetch",
    "Pressure",
    "PressureListener",
    "PriorityQueue",
    "Produce",
    "Producers",
    "Queue",
    "QueueStatistics",
    "RateLimited",
    "RateLimiter",
    "RateLimits",
    "RatePermit",
    "RateStatistics",
    "Ready",
    "Receiver",
    "Refused",
    "Reservation",
    "Retry",
    "RetryAttempt",
    "RetryBudget",
    "RetryBudgetStatistics",
    "RetryStatistics",
    "Sample",
    "Selectable",
    "Semaphore",
    "SemaphoreKey",
    "SemaphorePermit",
    "SemaphoreStatistics",
    "Sender",
    "ShutDown",
    "SimpleQueue",
    "SlidingWindow",
    "SlidingWindowKey",
    "StageStatistics",
    "Stale",
    "StaleDelivery",
    "Submitting",
    "Subscriber",
    "SubscriberStatistics",
    "Subscription",
    "TokenBucket",
    "TokenBucketKey",
    "UnlimitedRate",
    "ZeroRate",
    "__version__",
    "amap_bounded",
    "aprefetch",
    "map_bounded",
    "prefetch",
    "produce",
    "select",
    "select_async",
]

# Imported when they are asked for: what not every program needs, and what needs modules (asyncio, dataclasses, concurrent.futures) that
# take longer to import than all of the above.
_LATER = {
    name: f"sluicegate.{module}"
    for module, names in {
        "_adaptive": ("AdaptiveConcurrency", "ConcurrencyPermit"),
        "_adaptive_rate": ("AdaptiveRate", "AdaptiveRatePermit"),
        "_amapping": ("AsyncBoundedMap", "amap_bounded"),
        "_backoff": ("Backoff",),
        "_batcher": ("Batcher",),
        "_breakers": ("BreakerKey", "CircuitBreaker", "CircuitPermit", "KeyedBreaker"),
        "_broadcast": ("Broadcast", "Subscriber"),
        "_credits": ("AckChannel", "Channel", "Credit", "CreditChannel", "Delivery", "Permit", "Receiver", "Sender", "Subscription"),
        "_executor": ("BoundedExecutor", "Submitting"),
        "_fallback": ("Fallback",),
        "_guard": ("Guard", "GuardKey"),
        "_latest": ("Latest", "LatestTicks"),
        "_mapping": ("BoundedMap", "map_bounded"),
        "_pipeline": ("DeadLetter", "Pipeline", "PipelineRun", "Produce", "produce"),
        "_prefetch": ("AsyncPrefetch", "Prefetch", "aprefetch", "prefetch"),
        "_retries": ("Retry", "RetryAttempt"),
        "_stale": ("Stale",),
        "_statistics": ("Latency", *(name for name in __all__ if name.endswith("Statistics"))),
    }.items()
    for name in names
}
_SUBMODULES = ("http", "io", "janus", "logging", "sizing", "testing")


if not TYPE_CHECKING:  # or every other name would be there too

    def __getattr__(name: str) -> object:
        import importlib

        if name in _LATER:
            value = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
            return value
        if name in _SUBMODULES:
            try:
                return importlib.import_module(f"sluicegate.{name}")
            except ImportError as error:  # `io`, in a build without it
                raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {error}") from error
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_SUBMODULES})


del TYPE_CHECKING
