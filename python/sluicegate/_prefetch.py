"""`prefetch` and `aprefetch`: an iterable read ahead, so far and no further, while what it has yielded is being used.

A queue of `n` places and a producer, which is a thread, or a task for an async iterable. The producer's loop is `put_many`: it takes an
item from the iterable only when there is a place for it. So never more than `n` items have been taken and not been handed out.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import weakref
from contextvars import copy_context
from types import GenericAlias

from sluicegate._aio import needed_loop
from sluicegate._arguments import check_made, count, iterator_of
from sluicegate._classes import public
from sluicegate._closing import Cancellations, Closing, aclose_of
from sluicegate._core import Queue, Semaphore
from sluicegate._exceptions import ShutDown
from sluicegate._running import CLOCK, Lock, Start, call_at_exit, not_an_end, refuse_pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any, Generic, NoReturn, TypeVar

    from typing_extensions import Self

    _T = TypeVar("_T")
    _T_co = TypeVar("_T_co", covariant=True)
else:
    _T_co, Generic = None, {None: object}

__all__ = ["AsyncPrefetch", "Prefetch", "aprefetch", "prefetch"]

#: What `warn_blocking` names if one of these blocks an event loop.
AWAITABLE = {"__next__": ("prefetch", "async for ... in aprefetch")}

#: How long leaving waits for an item that is being taken: an iterable may never yield another one.
_PATIENCE = 1.0


def prefetch(iterable: Iterable[_T], n: int) -> Prefetch[_T]:
    """Iterate over `iterable` in a thread, at most `n` items ahead. Use it in a `with` block.

    It takes at most `n` items ahead. An exception that `iterable` raises comes after the items before it. Leaving the block stops the
    reading: an item that is just being taken is waited for (one second at most), and dropped.

    The thread runs in a copy of the context (see `contextvars`) of this call. On the thread of an event loop use `aprefetch`.

    Fairness: several threads may iterate at once: each item goes to one of them, and they are served as by `Queue.get`.

    Raises ValueError or TypeError for invalid arguments.
    """
    n = count("n", n, 1)
    return Prefetch(_Thread(iterator_of("prefetch", iterable, "aprefetch"), n))


def aprefetch(iterable: AsyncIterable[_T] | Iterable[_T], n: int) -> AsyncPrefetch[_T]:
    """Iterate over `iterable` at most `n` items ahead of the use. Use it in an `async with` block.

    An async iterable is iterated over in a task, any other in a thread, so that it may block. Otherwise it works as `prefetch`; leaving
    the block cancels the task, and waits for no thread. An async generator has been closed when the block is left; so has an iterator that
    `iterable` has made for this call.

    Fairness: several tasks may iterate at once, and are served as by `Queue.get_async`. If `anext` is cancelled, its item goes to the next
    call.

    Raises ValueError or TypeError for invalid arguments.
    """
    n = count("n", n, 1)
    if hasattr(iterable, "__aiter__"):
        source = iterable.__aiter__()  # type: ignore[union-attr]
        return AsyncPrefetch(_Task(source, aclose_of(iterable, source), n))
    return AsyncPrefetch(_Thread(iter(iterable), n))  # type: ignore[arg-type]


prefetch.__module__ = aprefetch.__module__ = "sluicegate"


class _Thread:
    """Reads ahead in a thread. It does not refer to the iterator, which can be collected meanwhile."""

    def __init__(self, source: Iterator[Any], n: int) -> None:
        self.source: Iterator[Any] | None = source
        self.queue: Queue[Any] = Queue(n, clock=CLOCK)
        self.thread: threading.Thread | None = None
        self.context = copy_context()
        self.lock = Lock()

    def start(self) -> None:
        """Start, unless it has been started or stopped."""
        if self.thread is None and not self.queue.is_shutdown:
            with self.lock:  # several threads may ask for the first item at once
                if self.thread is None and not self.queue.is_shutdown:
                    self.start_thread()

    def start_thread(self) -> None:
        """Start the thread."""
        start = Start()
        thread = threading.Thread(target=start.run, args=(self.context.run, self.read), name="prefetch", daemon=True)
        _live.add(self)  # first, so that in the child of a fork nobody waits for the lock
        try:
            thread.start()
        except BaseException:
            if start.give_up():
                _live.discard(self)
            else:  # a signal handler has raised, and the thread runs all the same
                self.thread = thread
            raise
        self.thread = thread

    def read(self) -> None:
        """Read the iterable to its end."""
        source = vars(self).pop("source", None)  # only one thread gets it, also if a signal handler has started another
        if source is None:
            return
        try:
            self.queue.put_many(source)
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that iterates
            if not (isinstance(error, ShutDown) and self.queue.is_shutdown):
                vars(error).pop("accepted", None)  # put_many's
                self.queue.fail(error)
        self.queue.shutdown()

    def took(self) -> None:
        """Note that an item has been handed out. The queue does that by itself."""

    def stop(self) -> None:
        """Take no further item. May be called from anywhere."""
        self.queue.shutdown(immediate=True)
        self.source = None

    def join(self) -> None:
        """Wait for the item that is being taken, one second at most."""
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join(_PATIENCE)

    async def leave(self) -> None:
        """Stop, and wait for nobody."""
        self.stop()


class _Task:
    """Reads ahead in a task."""

    def __init__(self, source: Any, close: Callable[[], Awaitable[object]] | None, n: int) -> None:
        self.source = source
        self.close = close
        self.places = Semaphore(n, clock=CLOCK)
        self.took = self.places.release
        self.queue: Queue[Any] = Queue(clock=CLOCK)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[None] | None = None
        self.cancellations = Cancellations()

    def start(self) -> None:
        """Start, unless it has been started or stopped."""
        if self.task is not None or self.queue.is_shutdown:
            return
        self.loop = needed_loop("aprefetch() needs")
        read = self.read()
        try:
            self.task = self.loop.create_task(read)
        except BaseException:
            read.close()
            raise
        self.task.add_done_callback(self.left)

    async def read(self) -> None:
        """Read the iterable to its end. There is a place for each item before it is taken."""
        take_place, put, take = self.places.acquire_async, self.queue.put_nowait, self.source.__anext__
        async with Closing(self.close, self.cancellations):
            del self.source, self.close
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    await take_place()
                    put(await take())

    def left(self, task: asyncio.Task[None]) -> None:
        """End the queue, because the task has ended. A cancellation that is not ours is an error like others."""
        import asyncio

        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self.queue.shutdown(error=error)

    def stop(self) -> None:
        """Take no further item. May be called from anywhere."""
        self.queue.shutdown(immediate=True)
        if self.task is not None and self.loop is not None and not self.task.done():
            with contextlib.suppress(RuntimeError):  # closed
                self.loop.call_soon_threadsafe(self.cancel)

    def cancel(self) -> None:
        """Cancel the task."""
        if self.task is not None:
            self.cancellations.cancel(self.task)

    async def leave(self) -> None:
        """Cancel the task and wait until it has ended. What an async generator raises when it is closed is raised here."""
        import asyncio

        self.queue.shutdown(immediate=True)
        task = self.task
        if task is not None and not task.done() and task is not asyncio.current_task():
            self.cancel()
            await asyncio.wait([task])
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, ShutDown):  # the generator yielded once more: the queue takes nothing
                raise error
        close = vars(self).pop("close", None)  # it is still there if the task was cancelled before its first step
        async with Closing(close, self.cancellations):
            pass


@public
class Prefetch(Generic[_T_co]):
    """What `prefetch` returns: an iterator, and a context manager that stops reading on the way out."""

    __slots__ = ("__weakref__", "_has_raised", "_reader", "_steps")

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def __init__(self, reader: Any) -> None:
        check_made(reader, (_Thread,), "Prefetch", "prefetch(iterable, n)")
        self._reader: _Thread = reader
        #: Each step takes an item; None before it has been started.
        self._steps: map[Any] | None = None
        self._has_raised = False

    def _start(self) -> map[Any]:
        self._reader.start()
        self._steps = steps = map(self._reader.queue.get, itertools.repeat(True))
        return steps

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _T_co:
        error: BaseException | None = None
        steps = self._steps or self._start()
        try:
            # Once a step has taken the item no call returns before this method does, so a signal handler that raises cannot lose it.
            for item in steps: return item  # noqa: E701  # fmt: skip
        except ShutDown as end:
            error = end.__cause__
        self.close()
        if error is None or self._has_raised:
            raise StopIteration
        self._has_raised = True
        try:
            raise not_an_end(error, "the iterable of prefetch")
        finally:
            del error

    def close(self) -> None:
        """Stop reading, as leaving the block does. The iterator is then exhausted."""
        self._reader.stop()
        self._reader.join()

    def __del__(self) -> None:
        if hasattr(self, "_reader"):
            self._reader.stop()

    def __repr__(self) -> str:
        return f"<sluicegate.Prefetch: {_state(self._reader.queue)}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickle(self)


@public
class AsyncPrefetch(Generic[_T_co]):
    """What `aprefetch` returns: an async iterator, and a context manager that stops reading on the way out."""

    __slots__ = ("__weakref__", "_has_raised", "_reader")

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def __init__(self, reader: Any) -> None:
        check_made(reader, (_Thread, _Task), "AsyncPrefetch", "aprefetch(iterable, n)")
        self._reader: _Thread | _Task = reader
        self._has_raised = False

    async def __aenter__(self) -> Self:
        needed_loop("aprefetch() needs")
        self._reader.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T_co:
        reader = self._reader
        try:
            reader.start()
            item = await reader.queue.get_async()
        except ShutDown as end:
            error = end.__cause__
        else:
            reader.took()
            return item
        await self.aclose()
        if error is None or self._has_raised:
            raise StopAsyncIteration
        self._has_raised = True
        try:
            raise not_an_end(error, "the iterable of aprefetch")
        finally:
            del error

    async def aclose(self) -> None:
        """Stop reading, as leaving the block does. The iterator is then exhausted."""
        await self._reader.leave()

    def __del__(self) -> None:
        if hasattr(self, "_reader"):
            self._reader.stop()

    def __repr__(self) -> str:
        return f"<sluicegate.AsyncPrefetch: {_state(self._reader.queue)}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickle(self)


def _state(queue: Any) -> str:
    return "ended" if queue.is_shutdown and queue.empty() else f"{queue.qsize()} items read ahead"


_live: weakref.WeakSet[_Thread] = weakref.WeakSet()


def _at_exit() -> None:
    readers = list(_live)
    for reader in readers:
        reader.stop()
    for reader in readers:
        reader.join()


def _after_fork_in_child() -> None:
    for reader in list(_live):  # the thread is the parent's
        if not reader.queue.is_shutdown:
            reader.queue.shutdown(immediate=True, error=RuntimeError("this process was forked while its parent was reading ahead"))


call_at_exit(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
