"""Flow control for Python with a Rust core: bounded queues, rate limits and credit channels that threads and asyncio share.

The same object works from threads (blocking calls release the GIL) and from coroutines (`await`), on the ordinary and on the
free-threaded build.
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
    RateLimited,
    ShutDown,
    StaleDelivery,
)
from sluicegate._queues import LifoQueue, PriorityQueue, Queue, SimpleQueue
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
from sluicegate._statistics import ChannelStatistics, KeyedRateStatistics, QueueStatistics, RateStatistics

__all__ = [
    "AckChannel",
    "BlockingInEventLoopWarning",
    "Channel",
    "ChannelCancelled",
    "ChannelClosed",
    "ChannelError",
    "ChannelFailed",
    "ChannelStatistics",
    "Clock",
    "Credit",
    "CreditChannel",
    "Delivery",
    "Empty",
    "Full",
    "KeyedBucket",
    "KeyedRateStatistics",
    "KeyedTokenBucket",
    "LeakyBucket",
    "LifoQueue",
    "Permit",
    "PriorityQueue",
    "Queue",
    "QueueStatistics",
    "RateLimited",
    "RateLimiter",
    "RateLimits",
    "RateStatistics",
    "Receiver",
    "Reservation",
    "Sender",
    "ShutDown",
    "SimpleQueue",
    "SlidingWindow",
    "StaleDelivery",
    "Subscription",
    "TokenBucket",
    "__version__",
]
