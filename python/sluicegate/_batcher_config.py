"""`BatcherConfig`: what a `Batcher` was made with, and what it has counted."""

from __future__ import annotations

from sluicegate._core import Semaphore

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any

    from sluicegate._core import Clock

__all__ = ["BatcherConfig"]


class BatcherConfig:
    """The settings of a batcher, and the counters that all its runners share."""

    def __init__(
        self,
        handler: Callable[[list[Any]], Any],
        *,
        is_async: bool,
        max: int,
        linger: float,
        max_pending: int,
        workers: int,
        overflow: str,
        ttl: float | None,
        loop: asyncio.AbstractEventLoop | None,
        clock: Clock,
        name: str | None,
        context: Context,
    ) -> None:
        self.handler = handler
        self.is_async = is_async
        self.max = max
        self.linger = linger
        self.max_pending = max_pending
        self.workers = workers
        self.overflow = overflow
        self.drops = overflow.startswith("drop")
        self.ttl = ttl
        self.loop = loop
        self.clock = clock
        self.name = name
        self.context = context
        self.is_closed = False
        self.batches, self.handled, self.busy = Semaphore(0), Semaphore(0), Semaphore(0)
        self.succeeded, self.failed, self.cancelled, self.expired = Semaphore(0), Semaphore(0), Semaphore(0), Semaphore(0)
        self.refused, self.shed = Semaphore(0), Semaphore(0)

    def ended(self) -> int:
        """The number of calls that have had an outcome."""
        return self.succeeded.value + self.failed.value + self.cancelled.value + self.expired.value + self.shed.value
