"""What the latest value has in Python: the awaitable methods, and the iterators."""

from __future__ import annotations

from sluicegate._aio import drive
from sluicegate._core import WAIT, Latest, LatestTicks
from sluicegate._exceptions import ShutDown
from sluicegate._methods import set_methods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["AsyncLatestIterator", "Latest", "LatestIterator", "LatestTicks"]


class _Changes:
    """Ends at shutdown, after the last value. `_version` is that of the value given last."""

    __slots__ = ("_latest", "_version")

    def __init__(self, latest: Any) -> None:
        self._latest, self._version = latest, 0


class LatestIterator(_Changes):
    def __iter__(self) -> LatestIterator:
        return self

    def __next__(self) -> Any:
        try:
            value, self._version = self._latest.changed(self._version)
            return value
        except ShutDown:
            pass
        self._latest._end_of_iteration()
        raise StopIteration


class AsyncLatestIterator(_Changes):
    def __aiter__(self) -> AsyncLatestIterator:
        return self

    async def __anext__(self) -> Any:
        try:
            value, self._version = await self._latest.changed_async(self._version)
            return value
        except ShutDown:
            pass
        self._latest._end_of_iteration()
        raise StopAsyncIteration


class _LatestMethods:
    async def get_async(self: Any, timeout: float | None = None) -> Any:
        """Return the value, from a coroutine. If none has been set yet, wait for the first.

        Waits indefinitely if `timeout` is None, otherwise for at most `timeout` seconds. If there is a value, the
        coroutine does not suspend, except that after 128 operations in a row other tasks of the loop get to run.

        Raises Empty if there was none in time; ShutDown after a shutdown (`peek` still returns the last value);
        ValueError, TypeError or OverflowError for an invalid `timeout`.
        """
        value = self._try_get(timeout)
        return await drive(self._async_get(timeout)) if value is WAIT else value

    async def changed_async(self: Any, since: int | None = None, *, timeout: float | None = None) -> tuple[Any, int]:
        """Wait for a value newer than version `since`, from a coroutine, and return it with its version.

        Works as `changed`. If it is cancelled, nothing has changed: a call with the same `since` gets the value.
        """
        read = self._try_changed(since, timeout)
        return await drive(self._async_changed(since, timeout)) if read is WAIT else read

    def __iter__(self: Any) -> LatestIterator:
        """Iterate over the changes: the value, if there is one, then each newer value. Replaced values are skipped.

        At the end after a shutdown the iteration stops, or raises the error of the shutdown.
        """
        return LatestIterator(self)

    def __aiter__(self: Any) -> AsyncLatestIterator:
        """Iterate over the changes: the value, if there is one, then each newer value. Replaced values are skipped.

        At the end after a shutdown the iteration stops, or raises the error of the shutdown.
        """
        return AsyncLatestIterator(self)


class _TicksMethods:
    def __aiter__(self: Any) -> LatestTicks[Any]:
        """Iterate over the newest value at each tick."""
        return self

    async def __anext__(self: Any) -> Any:
        try:
            return await drive(self._async_next())
        except ShutDown:
            pass
        self._end_of_iteration()
        raise StopAsyncIteration


set_methods(_LatestMethods, Latest)
Latest.__contains__ = None  # `in` would wait for values
set_methods(_TicksMethods, LatestTicks)
