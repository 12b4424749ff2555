"""How `amap_bounded`, `aprefetch` and pipelines end: which async iterators they close, and how they cancel their tasks.

*Closing.* An async generator is closed at the end, also at an early one: if nobody closes it, its `finally` blocks run at some later time,
or never. So is an iterator that was made for us, by `__aiter__` of what we were given. An iterator that was given to us and is no
generator (a stream, the results of an `amap_bounded`) belongs to whoever made it, who may go on with it.

*Cancelling.* A task is cancelled once, and not while it closes an iterator. What it does because it is cancelled may await something: a
`finally` block, the `aclose` of an iterator. A second cancellation would interrupt that, and there often is a second reason to cancel:
an error and the end of the block, `kill` and `close`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from sluicegate._mistakes import can_be_awaited

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from typing import Any

__all__ = ["Cancellations", "Closing", "aclose_of"]


def aclose_of(given: Any, iterator: Any) -> Callable[[], Awaitable[object]] | None:
    """Return what closes the iterator over `given`, if it is ours to close."""
    if iterator is given and not isinstance(iterator, AsyncGenerator):
        return None
    return getattr(iterator, "aclose", None)


class Cancellations:
    """The cancellations of tasks that belong together: each task is cancelled once, and not while it closes an iterator."""

    __slots__ = ("_cancelled", "_insists", "closing")

    def __init__(self) -> None:
        self._cancelled: set[asyncio.Task[Any]] = set()
        #: The tasks that close an iterator: see `Closing`.
        self.closing: set[Any] = set()
        self._insists = False

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task, on the thread of its loop, unless that has been done."""
        if task not in self._cancelled and (self._insists or task not in self.closing):
            self._cancelled.add(task)
            task.cancel()

    def __contains__(self, task: asyncio.Task[Any]) -> bool:
        """Return whether a task was cancelled here. Any other cancellation is an error like others."""
        return task in self._cancelled

    def forget(self, task: asyncio.Task[Any]) -> None:
        """Forget a task that has ended."""
        self._cancelled.discard(task)

    def insist(self) -> None:
        """Let each task be cancelled once more, whatever it is doing.

        For when whoever waits for them is cancelled or interrupted: what they do because of the first cancellation may never end.
        """
        self._insists = True
        self._cancelled.clear()


class Closing:
    """`async with Closing(...)`: closes at the end, and the task is not cancelled meanwhile.

    If the task itself is being closed, because its loop is gone, it does not: nothing can be awaited then.
    """

    __slots__ = ("_cancellations", "_close")

    def __init__(self, close: Callable[[], Awaitable[object]] | None, cancellations: Cancellations) -> None:
        self._close = close
        self._cancellations = cancellations

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if self._close is None or kind is GeneratorExit:
            return
        import asyncio

        me = asyncio.current_task()
        self._cancellations.closing.add(me)
        try:
            closing = self._close()
            if can_be_awaited(closing):  # somebody else's `aclose` may be a plain function
                await closing
        finally:
            self._cancellations.closing.discard(me)
