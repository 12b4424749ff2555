"""Flow control for Python with a Rust core: bounded queues, rate limiters, semaphores and credit channels for threads and asyncio.

The same object can be used from threads, where a blocking call releases the GIL, and from coroutines, where it is awaited, on the
ordinary and on the free-threaded build.
"""

from __future__ import annotations

from sluicegate._core import Clock, __version__
from sluicegate._credits import AckChannel, Channel, Credit, CreditChannel, Delivery, Permit, Receiver, Sender, Subscription
from sluicegate._exceptions import (
    BlockingInEventLoopWarning,
    ChannelCancelled,
    ChannelClosed,
    ChannelError,
    ChannelFailed,
    Empty,
    Full,
    Overloaded,
    RateLimited,
    Refused,
    ShutDown,
    StaleDelivery,
)
from sluicegate._queues import Consumers, LifoQueue, PriorityQueue, Producers, Queue, SimpleQueue
from sluicegate._rates import (
    KeyedBucket,
    KeyedTokenBucket,
    LeakyBucket,
    RateLimiter,
    RateLimits,
    Reservation,
    SlidingWindow,
    TokenBucket,
)
from sluicegate._semaphores import BoundedSemaphore, KeyedSemaphore, Semaphore, SemaphoreKey, SemaphorePermit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sluicegate import io as io
    from sluicegate import janus as janus
    from sluicegate import testing as testing
    from sluicegate._statistics import (
        ChannelStatistics,
        KeyedRateStatistics,
        KeyedSemaphoreStatistics,
        QueueStatistics,
        RateStatistics,
        SemaphoreStatistics,
    )

__all__ = [
    "AckChannel",
    "BlockingInEventLoopWarning",
    "BoundedSemaphore",
    "Channel",
    "ChannelCancelled",
    "ChannelClosed",
    "ChannelError",
    "ChannelFailed",
    "ChannelStatistics",
    "Clock",
    "Consumers",
    "Credit",
    "CreditChannel",
    "Delivery",
    "Empty",
    "Full",
    "KeyedBucket",
    "KeyedRateStatistics",
    "KeyedSemaphore",
    "KeyedSemaphoreStatistics",
    "KeyedTokenBucket",
    "LeakyBucket",
    "LifoQueue",
    "Overloaded",
    "Permit",
    "PriorityQueue",
    "Producers",
    "Queue",
    "QueueStatistics",
    "RateLimited",
    "RateLimiter",
    "RateLimits",
    "RateStatistics",
    "Receiver",
    "Refused",
    "Reservation",
    "Semaphore",
    "SemaphoreKey",
    "SemaphorePermit",
    "SemaphoreStatistics",
    "Sender",
    "ShutDown",
    "SimpleQueue",
    "SlidingWindow",
    "StaleDelivery",
    "Subscription",
    "TokenBucket",
    "__version__",
]

# Imported when they are asked for: what they need (asyncio, dataclasses) takes longer to import than all of the above.
_LATER = {name: "sluicegate._statistics" for name in __all__ if name.endswith("Statistics")}
_SUBMODULES = ("io", "janus", "testing")


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
