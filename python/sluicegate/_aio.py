"""The awaitable methods: native coroutine functions around one call into the core.

The fast path is that call. When it answers `WAIT` the coroutine drives an operation, which hands out something to await (a future, or a
turn of the loop) until it is done. Whatever is thrown in meanwhile, the operation is abandoned: it gives up its place in line, and a
wake-up it may have been given goes to the next.
"""

from __future__ import annotations

import sys

from sluicegate._core import WAIT, AsyncOperation
from sluicegate._exceptions import ShutDown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["AsyncQueueIterator", "Batches", "QueueMethods", "SimpleQueueMethods"]


def running_loop() -> Any:
    """The event loop that runs on this thread, or None. Where asyncio has not been imported, there is none."""
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return running and running()


async def drive(operation: AsyncOperation) -> Any:
    """Step until there is a result. `step` gives the operation itself when there is none yet."""
    try:
        while (result := operation.step()) is operation:
            await operation
    except BaseException as error:
        operation.abandon(error)
        raise
    return result


class AsyncQueueIterator:
    """Ends at shutdown, once the queue is drained."""

    __slots__ = ("_queue",)

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __aiter__(self) -> AsyncQueueIterator:
        return self

    async def __anext__(self) -> Any:
        try:
            item = self._queue._try_get()
            return await drive(self._queue._async_get(None)) if item is WAIT else item
        except ShutDown:
            pass
        self._queue._end_of_iteration()
        raise StopAsyncIteration


class Batches:
    """Iterates over the items of a queue in lists, with `for` and with `async for`."""

    __slots__ = ("_linger", "_max", "_queue")

    def __init__(self, queue: Any, max: int, linger: float) -> None:
        queue._check_batch(max, linger)
        self._queue, self._max, self._linger = queue, max, linger

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> list[Any]:
        try:
            return self._queue.get_many(self._max, linger=self._linger)
        except ShutDown:
            pass
        self._queue._end_of_iteration()
        raise StopIteration

    def __aiter__(self) -> Batches:
        return self

    async def __anext__(self) -> list[Any]:
        try:
            return await self._queue.get_many_async(self._max, linger=self._linger)
        except ShutDown:
            pass
        self._queue._end_of_iteration()
        raise StopAsyncIteration


class SimpleQueueMethods:
    """Set on both kinds of queue."""

    async def put_async(self: Any, item: Any, timeout: float | None = None) -> None:
        """Put an item into the queue, from a coroutine.

        If the queue is full, wait for room: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.
        If there is room, the coroutine does not suspend, except that after 128 operations in a row other tasks of the
        loop get to run.

        Raises Full if there was no room in time, ShutDown if the queue has been shut down, ValueError, TypeError or
        OverflowError for an invalid `timeout`.

        Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If the call is
        cancelled, nothing has been put.
        """
        if self._try_put(item, timeout) is WAIT:
            await drive(self._async_put(item, timeout))

    async def get_async(self: Any, timeout: float | None = None) -> Any:
        """Remove and return the next item, from a coroutine.

        If the queue is empty, wait for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
        seconds. If there is an item, the coroutine does not suspend, except that after 128 operations in a row other
        tasks of the loop get to run.

        Raises Empty if there was no item in time, ShutDown if the queue has been shut down and is empty, ValueError,
        TypeError or OverflowError for an invalid `timeout`.

        Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If the call is
        cancelled, nothing has been taken: the item stays in the queue.
        """
        item = self._try_get(timeout)
        return await drive(self._async_get(timeout)) if item is WAIT else item

    async def put_many_async(self: Any, items: Iterable[Any], *, timeout: float | None = None) -> int:
        """Put all of `items`, in order, from a coroutine, and return the number of items.

        Works as `put_many`. An exception that ends it early, CancelledError included, has an attribute `accepted`: the
        number of items that were put.
        """
        return await drive(self._async_put_many(items, timeout))

    async def get_many_async(self: Any, max: int, *, timeout: float | None = None, linger: float = 0.0) -> list[Any]:
        """Remove and return 1 to `max` items, as a list, from a coroutine.

        Works as `get_many`. If it is cancelled, nothing has been taken.
        """
        return await drive(self._async_get_many(max, timeout, linger))

    def batches(self: Any, max: int, *, linger: float = 0.0) -> Batches:
        """Return an iterator, for `for` and `async for`, over lists of 1 to `max` items.

        Each list is what `get_many(max, linger=linger)` returns: with `linger` the first item of a list waits up to
        that many seconds for more. The iteration ends as that over the single items does; what is in the queue at the
        shutdown still comes, in lists that do not linger.

        Raises ValueError, TypeError or OverflowError for an invalid `max` or `linger`.
        """
        return Batches(self, max, linger)

    def __aiter__(self: Any) -> AsyncQueueIterator:
        """Iterate over the items until the queue has been shut down and is empty."""
        return AsyncQueueIterator(self)


class QueueMethods(SimpleQueueMethods):
    """Set on `Queue` beside those."""

    async def join_async(self: Any, timeout: float | None = None) -> None:
        """Wait until every item that was put has been processed (see `task_done`), from a coroutine.

        Raises TimeoutError after `timeout` seconds. The call returns if the count of unfinished tasks reached zero at
        any moment during the wait.
        """
        await drive(self._async_join(timeout))
