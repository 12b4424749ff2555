"""The standard library's bounded queue, given the ends that the demo's pipeline needs.

`queue.Queue` has no batches, no end of a stream on every supported Python, no way to wake a blocked `put` when its
consumers have left, and no coroutines. This class adds them the way programs usually do: item by item, with an end
mark, and with a helper thread that waits on behalf of the event loop. It has as much of sluicegate's interface as the
pipeline uses, so that the pipeline itself is the same for both.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar

from sluicegate import ShutDown

T = TypeVar("T")

_END: Any = object()


class StdlibQueue(Generic[T]):
    """A `queue.Queue` with batches, ends and `async for`."""

    def __init__(self, maxsize: int, *, name: str) -> None:
        self.name = name
        self._queue: queue.Queue[T] = queue.Queue(maxsize)
        self._ended = False  # no more puts
        self._stopped = False  # no more gets either
        self._cause: BaseException | None = None

    def qsize(self) -> int:
        """Return how many items wait."""
        return self._queue.qsize()

    def put(self, item: T) -> None:
        """Put one item, waiting for room."""
        self._refuse_if(self._ended)
        self._queue.put(item)
        self._refuse_if(self._stopped)

    def put_many(self, items: Iterable[T]) -> None:
        """Put the items, one after the other."""
        for item in items:
            self.put(item)

    def get_many(self, max: int) -> list[T]:
        """Get one item, waiting for it, and as many more as there are at once."""
        items = [self._get()]
        self._refuse_if(items[0] is _END)
        try:
            while len(items) < max:
                item = self._queue.get_nowait()
                if item is _END:
                    self._queue.put(_END)
                    break
                items.append(item)
        except queue.Empty:
            pass
        return items

    async def __aiter__(self) -> AsyncIterator[T]:
        """Get items on an event loop until the end, with one trip through a helper thread for each."""
        loop = asyncio.get_running_loop()
        while (item := await loop.run_in_executor(None, self._get)) is not _END:
            yield item
        self._refuse_if(self._cause is not None)

    def shutdown(self, immediate: bool = False) -> None:
        """Refuse puts from now on; with `immediate`, drop what waits and wake everybody."""
        self._ended = True
        if immediate:
            self._stopped = True
            with self._queue.mutex:
                self._queue.queue.clear()
                self._queue.maxsize = sys.maxsize
                self._queue.not_full.notify_all()
        self._queue.put(_END)

    def producers(self, n: int) -> _Party:
        """Return a context manager for n threads; when the last one leaves, the stream ends."""
        return _Party(n, self._end_producers)

    def consumers(self, n: int) -> _Party:
        """Return a context manager for n threads or tasks; when the last one has left, nobody may put."""
        return _Party(n, self._end_consumers)

    def _get(self) -> T:
        """Get an item, or the end mark, which stays for the next caller."""
        item = self._queue.get()
        if item is _END or self._stopped:
            self._queue.put(_END)
            return _END
        return item

    def _end_producers(self, error: BaseException | None) -> None:
        self._cause = self._cause or error
        self.shutdown()

    def _end_consumers(self, error: BaseException | None) -> None:
        self.shutdown(immediate=True)

    def _refuse_if(self, refused: bool) -> None:
        if refused:
            raise ShutDown(f"{self.name} is shut down") from self._cause


class _Party:
    """The threads on one side of a queue: they leave one by one, and the last one out turns off the light."""

    def __init__(self, n: int, last_one_out: Callable[[BaseException | None], None]) -> None:
        self._inside = n
        self._error: BaseException | None = None
        self._last_one_out = last_one_out
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        """Come in; the n were counted beforehand."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        """Leave, and remember the first error that somebody left by."""
        with self._lock:
            self._error = self._error or error
            self._inside -= 1
            last = self._inside == 0
        if last:
            self._last_one_out(self._error)
