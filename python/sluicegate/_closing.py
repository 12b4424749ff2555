"""Which async iterators are closed at the end, also at an early one, by whoever iterates over them in this package.

An async generator is: if nobody closes it, its `finally` blocks run at some later time, or never. So is an iterator that was made for us,
by `__aiter__` of what we were given. An iterator that was given to us and is no generator (a stream, the results of an `amap_bounded`)
belongs to whoever made it, who may go on with it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from sluicegate._mistakes import can_be_awaited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

__all__ = ["Closing", "aclose_of"]


def aclose_of(given: Any, iterator: Any) -> Callable[[], Awaitable[object]] | None:
    """Return what closes the iterator over `given`, if it is ours to close."""
    if iterator is given and not isinstance(iterator, AsyncGenerator):
        return None
    return getattr(iterator, "aclose", None)


class Closing:
    """`async with Closing(...)`: closes at the end.

    If the task itself is being closed, because its loop is gone, it does not: nothing can be awaited then.
    """

    __slots__ = ("_close",)

    def __init__(self, close: Callable[[], Awaitable[object]] | None) -> None:
        self._close = close

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if self._close is not None and kind is not GeneratorExit:
            closing = self._close()
            if can_be_awaited(closing):  # somebody else's `aclose` may be a plain function
                await closing
