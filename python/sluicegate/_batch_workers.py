"""The workers of a `Batcher`: each takes a batch of calls from the queue and gives it to their runner.

While they wait, they refer to the queue, and neither to the runner nor to its config, because the handler may be a method of an object that
refers to the batcher: otherwise a batcher that is dropped would never end.
"""

from __future__ import annotations

import contextlib
import threading

from sluicegate._exceptions import Empty, ShutDown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Context
    from typing import Any

    from sluicegate._core import Clock, Queue
    from sluicegate._outcomes import Call

__all__ = ["Worker", "work", "work_async"]


class Worker:
    """The state of one worker. Only the worker itself writes it."""

    __slots__ = ("batch", "context", "pace")

    def __init__(self, context: Context) -> None:
        self.context = context
        self.batch: list[Call] = []
        #: Seconds that its recent batches took: an average that moves by an eighth of each difference.
        self.pace: float | None = None


def _linger_left(queue: Queue[Call], linger: float, clock: Clock) -> float:
    """Return how long a batch that begins now may wait for more calls: `linger` counts from the arrival of the first call."""
    if linger and queue.qsize():
        with contextlib.suppress(Empty, ShutDown):
            return max(0.0, linger - (clock.now() - queue.peek().arrived))
    return linger


def work(queue: Queue[Call], working: Queue[None], idents: set[int], worker: Worker, max: int, linger: float, clock: Clock) -> None:
    """Be a worker in a thread, until the queue is shut down or the runner is over."""
    idents.add(threading.get_ident())
    try:
        while True:
            try:
                calls = queue.get_many(max, linger=_linger_left(queue, linger, clock))
            except ShutDown:
                return
            runner: Any = calls[0].runner  # set as long as the call is in the queue
            runner.run(worker, calls)
            if runner.is_over:
                return
            del calls, runner
    finally:
        working.task_done()


async def work_async(queue: Queue[Call], working: Queue[None], worker: Worker, max: int, linger: float, clock: Clock) -> None:
    """Be a worker in a task, until the queue is shut down or the runner is over."""
    try:
        while True:
            try:
                calls = await queue.get_many_async(max, linger=_linger_left(queue, linger, clock))
            except ShutDown:
                return
            runner: Any = calls[0].runner  # set as long as the call is in the queue
            await runner.run_async(worker, calls)
            if runner.is_over:
                return
            del calls, runner
    finally:
        working.task_done()
