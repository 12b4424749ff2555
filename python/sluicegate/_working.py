"""The items of a queue for workers that put into the queue that they take from."""

from __future__ import annotations

import itertools
from types import GenericAlias

from sluicegate._aio import drive
from sluicegate._core import WAIT
from sluicegate._exceptions import ShutDown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Generic, TypeVar

    from typing_extensions import Self

    _T = TypeVar("_T")
else:
    _T, Generic = None, {None: object}  # `typing` takes longer to import than the rest of the package

__all__ = ["Working"]


class Working(Generic[_T]):
    """What `working` returns: the items for one worker, a context manager and an iterator (`with` and `for`, or `async`)."""

    __slots__ = ("_busy", "_here", "_queue", "_steps", "_tries", "_worker")

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        # Each step takes an item. Between a step of a loop and what follows it no signal handler runs, as it may after a call.
        self._steps = itertools.starmap(queue.get, itertools.repeat(()))
        self._tries = itertools.starmap(queue._try_get, itertools.repeat((None,)))
        self._here = self._busy = False

    def __enter__(self) -> Self:
        if self._here:
            raise RuntimeError("working() is for one worker at a time: call it once for each")
        self._here = True
        self._worker = self._queue._start_work()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._done()
        if self._here:
            self._here = False
            self._queue._stop_work(self._worker)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.__exit__(kind, error, traceback)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _T:
        self._next()
        try:
            for item in self._steps:
                self._busy = True
                return item
        except ShutDown:
            pass
        self._queue._end_of_iteration()
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        self._next()
        try:
            for item in self._tries:
                if item is not WAIT:
                    self._busy = True
                    return item
                break
            item = await drive(self._queue._async_get(None))
        except ShutDown:
            pass
        else:
            self._busy = True
            return item
        self._queue._end_of_iteration()
        raise StopAsyncIteration

    def __repr__(self) -> str:
        return f"<working on {self._queue!r}>"

    def _next(self) -> None:
        if not self._here:
            raise RuntimeError("working() is a context manager: write `with queue.working() as items:`, and iterate over `items` inside")
        self._done()

    def _done(self) -> None:
        if self._busy:
            self._busy = False
            self._queue.task_done()
