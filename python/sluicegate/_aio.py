"""The awaitable methods: native coroutine functions around one call into the core.

The fast path is that call. If it returns `WAIT`, the coroutine drives an operation, which yields something to await (a future, or one pass
of the event loop) until it is done. If any exception is thrown in meanwhile, the operation is abandoned: it gives up its place in the wait
queue, and a wake-up that it may have been given goes to the next waiter.
"""

from __future__ import annotations

import sys

from sluicegate._core import WAIT, AsyncOperation
from sluicegate._exceptions import ShutDown

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable
    from typing import Any

__all__ = ["AsyncQueueIterator", "Batches", "FairQueueMethods", "PermitMethods", "QueueMethods", "SimpleQueueMethods", "needed_loop"]


def running_loop() -> Any:
    """Return the event loop that runs in this thread, or None. If asyncio has not been imported, there is none."""
    running = _asks or _how_to_ask()
    return running and running()


#: asyncio's function for that, when it has been found.
_asks: Any = None


def _how_to_ask() -> Any:
    global _asks
    _asks = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return _asks


def needed_loop(who: str) -> asyncio.AbstractEventLoop:
    """Return the event loop that runs in this thread. Raises RuntimeError if there is none: `who` begins the sentence ("f() needs")."""
    loop = running_loop()
    if loop is None:
        raise RuntimeError(
            f"{who} a running asyncio event loop (asyncio's own or uvloop's); there is none on this thread, and trio's is not one"
        )
    return loop


async def drive(operation: AsyncOperation) -> Any:
    """Step the operation until it has a result. `step` returns the operation itself as long as it has none."""
    try:
        while (result := operation.step()) is operation:
            await operation
    except BaseException as error:
        operation.abandon(error)
        raise
    return result


class PermitMethods:
    """How a permit with raw methods is used with `async with`."""

    async def __aenter__(self: Any) -> Any:
        """Enter the block, waiting as `with` does."""
        if self._try_enter() is WAIT:
            await drive(self._async_acquire())
        return self

    async def __aexit__(self: Any, *exc: object) -> None:
        """End the block, as `with` does."""
        self.__exit__(*exc)


class AsyncQueueIterator:
    """Iterates over items. Ends when the queue has been shut down and is empty."""

    __slots__ = ("_queue",)

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __aiter__(self) -> AsyncQueueIterator:
        return self

    async def __anext__(self) -> Any:
        try:
            item = self._queue._try_get(None)
            return await drive(self._queue._async_get(None)) if item is WAIT else item
        except ShutDown:
            pass
        self._queue._end_of_iteration()
        raise StopAsyncIteration


class Batches:
    """Iterates over the items of a queue in lists, with `for` and with `async for`."""

    __slots__ = ("_max", "_options", "_queue")

    def __init__(self, queue: Any, max: int, **options: float | None) -> None:
        self._queue, self._max, self._options = queue, max, options

    def __repr__(self) -> str:
        linger, max_weight = self._options.get("linger"), self._options.get("max_weight")
        weighing = "" if max_weight is None else f" that weigh up to {max_weight}"
        lingering = f" lingering for {linger:g} seconds" if linger else ""
        return f"<batches of up to {self._max}{weighing}{lingering} from {self._queue!r}>"

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> list[Any]:
        try:
            return self._queue.get_many(self._max, **self._options)
        except ShutDown:
            pass
        self._queue._end_of_iteration()
        raise StopIteration

    def __aiter__(self) -> Batches:
        return self

    async def __anext__(self) -> list[Any]:
        try:
            return await self._queue.get_many_async(self._max, **self._options)
        except ShutDown:
            pass
        self._queue._end_of_iteration()
        raise StopAsyncIteration


class SimpleQueueMethods:
    """The methods of both kinds of queue."""

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
        if self._try_put(item, timeout, None) is not None:
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
        self._check_batch(max, linger)
        return Batches(self, max, linger=linger)

    def __aiter__(self: Any) -> AsyncQueueIterator:
        """Iterate over the items until the queue has been shut down and is empty."""
        return AsyncQueueIterator(self)


class QueueMethods(SimpleQueueMethods):
    """The methods of `Queue`."""

    async def put_async(self: Any, item: Any, timeout: float | None = None, ttl: float | None = None) -> None:
        """Put an item into the queue, from a coroutine.

        If the queue is full, wait for room: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.
        If there is room, the coroutine does not suspend, except that after 128 operations in a row other tasks of the
        loop get to run. `ttl` is that of `put`.

        Raises Full if there was no room in time, ShutDown if the queue has been shut down, ValueError, TypeError or
        OverflowError for an invalid `timeout` or `ttl`.

        Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If the call is
        cancelled, nothing has been put.
        """
        if self._try_put(item, timeout, ttl) is not None:
            await drive(self._async_put(item, timeout, ttl))

    async def get_many_async(
        self: Any, max: int, *, timeout: float | None = None, linger: float = 0.0, max_weight: int | None = None
    ) -> list[Any]:
        """Remove and return 1 to `max` items, as a list, from a coroutine.

        Works as `get_many`. If it is cancelled, nothing has been taken.
        """
        return await drive(self._async_get_many(max, timeout, linger, max_weight))

    def batches(self: Any, max: int, *, max_weight: int | None = None, linger: float = 0.0) -> Batches:
        """Return an iterator, for `for` and `async for`, over lists of 1 to `max` items.

        Each list is what `get_many(max, linger=linger, max_weight=max_weight)` returns: with `linger` the first item of a
        list waits up to that many seconds for more, and with `max_weight` a list ends before the item that would make it
        heavier. The iteration ends as that over the single items does; what is in the queue at the shutdown still comes, in
        lists that do not linger.

        Raises ValueError, TypeError or OverflowError for an invalid `max`, `max_weight` or `linger`, and ValueError for
        `max_weight` if the queue was made without `weigh`.
        """
        self._check_batch(max, linger, max_weight)
        if max_weight is None:
            return Batches(self, max, linger=linger)
        return Batches(self, max, linger=linger, max_weight=max_weight)

    async def join_async(self: Any, timeout: float | None = None) -> None:
        """Wait until every item that was put has been processed (see `task_done`), from a coroutine.

        Raises TimeoutError after `timeout` seconds. The call returns if the count of unfinished tasks reached zero at
        any moment during the wait.
        """
        await drive(self._async_join(timeout))


class FairQueueMethods:
    """The methods of `FairQueue`."""

    async def put_async(
        self: Any, item: Any, timeout: float | None = None, ttl: float | None = None, *, key: Any = None, priority: float = 0
    ) -> None:
        """Put an item into the queue, from a coroutine, with the key that is given or that the queue's `key` function says.

        If there is no room for it, wait for room in the wait queue of this key: indefinitely if `timeout` is None, otherwise
        for at most `timeout` seconds. If there is room, the coroutine does not suspend, except that after 128 operations in a
        row other tasks of the loop get to run. `ttl` is that of `put`.

        Raises what `put` raises. Fairness: as `put`. If the call is cancelled, nothing has been put.
        """
        if (operation := self._start_put(item, timeout, key=key, priority=priority, ttl=ttl)) is not None:
            await drive(operation)

    async def put_many_async(self: Any, items: Iterable[Any], *, timeout: float | None = None, key: Any = None, priority: float = 0) -> int:
        """Put all of `items`, in order, from a coroutine, and return the number of items. With `key` all of them have that key.

        Works as `put_many`. An exception that ends it early, CancelledError included, has an attribute `accepted`: the
        number of items that were put.
        """
        return await drive(self._async_put_many(items, timeout, key, priority))
