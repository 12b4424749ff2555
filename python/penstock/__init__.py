"""Flow control for Python with a Rust core: bounded queues that threads and asyncio share.

The same object works from threads (blocking calls release the GIL) and from coroutines (`await`), on the ordinary and on the
free-threaded build.
"""

from __future__ import annotations

from penstock._core import Clock, __version__
from penstock._exceptions import BlockingInEventLoopWarning, Empty, Full, ShutDown
from penstock._queues import LifoQueue, PriorityQueue, Queue, SimpleQueue
from penstock._statistics import QueueStatistics

__all__ = [
    "BlockingInEventLoopWarning",
    "Clock",
    "Empty",
    "Full",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "QueueStatistics",
    "ShutDown",
    "SimpleQueue",
    "__version__",
]
