"""Flow control for Python with a Rust core: bounded queues and rate limits that threads and asyncio share.

The same object works from threads (blocking calls release the GIL) and from coroutines (`await`), on the ordinary and on the
free-threaded build.
"""

from __future__ import annotations

from penstock._core import Clock, __version__
from penstock._exceptions import BlockingInEventLoopWarning, Empty, Full, RateLimited, ShutDown
from penstock._queues import LifoQueue, PriorityQueue, Queue, SimpleQueue
from penstock._rates import (
    KeyedBucket,
    KeyedTokenBucket,
    LeakyBucket,
    RateLimiter,
    RateLimits,
    Reservation,
    SlidingWindow,
    TokenBucket,
)
from penstock._statistics import KeyedRateStatistics, QueueStatistics, RateStatistics

__all__ = [
    "BlockingInEventLoopWarning",
    "Clock",
    "Empty",
    "Full",
    "KeyedBucket",
    "KeyedRateStatistics",
    "KeyedTokenBucket",
    "LeakyBucket",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "QueueStatistics",
    "RateLimited",
    "RateLimiter",
    "RateLimits",
    "RateStatistics",
    "Reservation",
    "ShutDown",
    "SimpleQueue",
    "SlidingWindow",
    "TokenBucket",
    "__version__",
]
