"""`amap_bounded`: as `map_bounded` (see `_mapping`), with tasks for workers.

Two things are different. Each worker is a task for many items, because a task for each would cost more than the rest; an item's coroutine
is stepped in a context of its own all the same. And what runs can be cancelled: the first error cancels whatever comes after it.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import copy_context
from inspect import isawaitable
from types import GenericAlias, coroutine

from sluicegate._aio import needed_loop
from sluicegate._arguments import check_made
from sluicegate._classes import public
from sluicegate._closing import Cancellations, aclose_of
from sluicegate._core import Queue, Semaphore
from sluicegate._exceptions import ShutDown
from sluicegate._mapping import NOTHING, check, first_error, next_outcome
from sluicegate._running import CLOCK, PLENTY, add_item_note, add_note, not_an_end, refuse_pickle, short_repr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Generator, Iterable
    from contextvars import Context
    from types import TracebackType
    from typing import Any, Generic, NoReturn, TypeVar

    from typing_extensions import Self

    _T = TypeVar("_T")
    _R = TypeVar("_R")
    _R_co = TypeVar("_R_co", covariant=True)
else:
    _R_co, Generic = None, {None: object}

__all__ = ["AsyncBoundedMap", "amap_bounded"]


def amap_bounded(
    f: Callable[[_T], Awaitable[_R]], items: AsyncIterable[_T] | Iterable[_T], *, workers: int, buffer: int = 0, ordered: bool = True
) -> AsyncBoundedMap[_R]:
    """Await `f` for each item, `workers` at a time, and iterate over the results. Use it in an `async with` block.

    At most `workers` calls run at the same time. `buffer` is the number of results that may wait beyond that: at most
    `workers + buffer` items have been taken whose results have not been returned yet, so `items` may be endless. With `ordered=True`
    the results are in the order of the items, otherwise as they come.

    The first exception, of a call or of `items`, ends it: no further item is taken, calls for later items are cancelled (all others, with
    `ordered=False`), and the exception is raised in its place among the results, with the item as a note.

    Leaving the block stops everything: calls that are running are cancelled, and have ended when the block is left.

    `items` is an async iterable, or an iterable that does not block. An async generator is closed at the end, also at an early one: its
    `finally` blocks have run when the block is left. (So is an iterator that `items` has made for this call; one that is `items` itself
    belongs to whoever made it.) Each call runs in a copy of the context (see `contextvars`) of the
    call of `amap_bounded`.

    Fairness: the tasks take the items in their order, whichever is free. Iterate in one task: `anext` raises RuntimeError while another
    task is in it. If `anext` is cancelled, the next call returns the result.

    Raises ValueError or TypeError for invalid arguments.
    """
    workers, buffer = check("amap_bounded", f, workers, buffer, ordered)
    is_async = hasattr(items, "__aiter__")
    source: Any = items.__aiter__() if is_async else iter(items)  # type: ignore[union-attr]
    close = aclose_of(items, source) if is_async else None
    return AsyncBoundedMap(_AsyncWork(f, source, is_async, close, workers, buffer, ordered))


amap_bounded.__module__ = "sluicegate"


class _AsyncWork:
    """What the tasks and the iterator share. It does not refer to the iterator, which can be collected while they run."""

    def __init__(
        self,
        f: Callable[[Any], Awaitable[Any]],
        source: Any,
        is_async: bool,
        close: Callable[[], Awaitable[object]] | None,
        workers: int,
        buffer: int,
        ordered: bool,
    ) -> None:
        self.f = f
        self.source = source
        self.is_async = is_async
        self.workers = workers
        self.ordered = ordered
        self.permits = Semaphore(workers + buffer, clock=CLOCK)
        self.turn = Semaphore(1, clock=CLOCK)  # to take an item from an async source
        #: Closes the source, if it is ours to close: see `_closing`.
        self.close = close
        #: (number, result, error, item). It is shut down when the last worker has left.
        self.outcomes: Queue[tuple[int, Any, BaseException | None, Any]] = Queue(clock=CLOCK)
        self.context = copy_context()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.taken = 0
        self.stopped = False
        #: The number of the item that each task has; -1 while it takes one.
        self.tasks: dict[asyncio.Task[None], int] = {}
        self.cancellations = Cancellations()
        self.started = 0

    def start_worker(self) -> None:
        """Start one more worker, if there may be one."""
        if self.stopped or self.started >= self.workers:
            return
        if self.loop is None:
            self.loop = needed_loop("amap_bounded() needs")
        worker = _work(self)
        try:
            task = self.loop.create_task(worker)
        except BaseException:
            worker.close()
            raise
        self.started += 1
        self.tasks[task] = -1
        task.add_done_callback(self.left)  # a task that is cancelled before it began runs none of its code

    def left(self, task: asyncio.Task[None]) -> None:
        """Note that a worker has left."""
        self.tasks.pop(task, None)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None and task not in self.cancellations:
            self.stop()
            with contextlib.suppress(ShutDown):  # closed, by one of its own calls
                self.outcomes.put((self.taken, None, error, NOTHING))
        self.cancellations.forget(task)
        if not self.tasks:
            self.outcomes.shutdown()

    def stop(self, *, after: int | None = None) -> None:
        """Take no further item, and cancel the calls for items after this number, or all of them if there is no order."""
        self.stopped = True
        self.source = None
        # Waiters for these find that it has stopped.
        self.permits.resize(PLENTY)
        self.turn.resize(PLENTY)
        if after is None:
            return
        me = asyncio.current_task()
        for task, number in list(self.tasks.items()):
            if task is not me and (number < 0 or number > after or not self.ordered):
                self.cancellations.cancel(task)

    def cancel(self) -> None:
        """Take no further item, and cancel all workers."""
        self.stop()
        for task in list(self.tasks):
            self.cancellations.cancel(task)

    async def close_source(self) -> None:
        """Close the source, if it is ours to close, and no task is in it any more."""
        if not self.tasks:
            close, self.close = self.close, None
            if close is not None:
                await close()

    def abandon(self) -> None:
        """As `cancel`, from wherever the iterator is collected."""
        self.stop()
        loop = self.loop
        if loop is None or not self.tasks:
            return
        with contextlib.suppress(RuntimeError):  # closed
            loop.call_soon_threadsafe(self.cancel)


async def _work(work: _AsyncWork) -> None:
    """Run a worker until there are no more items."""
    me: Any = asyncio.current_task()
    f, put, tasks = work.f, work.outcomes.put, work.tasks
    end = StopAsyncIteration if work.is_async else StopIteration
    take_permit, copy = work.permits.acquire_async, work.context.copy
    while True:
        await take_permit()
        source = work.source
        number = work.taken
        try:
            if work.is_async:
                await work.turn.acquire_async()
                try:
                    source, number = work.source, work.taken
                    if source is None:
                        return None
                    item = await source.__anext__()
                    work.taken += 1
                finally:
                    work.turn.release()
            else:
                if source is None:
                    return None
                item = next(source)
                work.taken += 1
        except end:
            return work.stop()
        except BaseException as error:
            if me in work.cancellations:
                raise
            work.stop()
            return put((number, None, error, NOTHING))
        finally:
            source = None
        if work.stopped:
            return None
        if work.started < work.workers:
            work.start_worker()
        tasks[me] = number
        try:
            result = await _in_context(copy(), _call(f, item))
        except BaseException as error:
            if me in work.cancellations:
                raise
            work.stop(after=number)
            return put((number, None, error, item))
        tasks[me] = -1
        put((number, result, None, None))
        del result, item


async def _call(f: Callable[[Any], Awaitable[Any]], item: Any) -> Any:
    awaited = f(item)
    if not hasattr(awaited, "__await__") and not isawaitable(awaited):
        kind = type(awaited).__name__
        raise TypeError(
            f"amap_bounded() awaits what its function returns, and {f!r} returned {kind}: for a plain function use map_bounded()"
        )
    return await awaited


@coroutine
def _in_context(context: Context, inner: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Drive a coroutine in the current task, but in a context of its own."""
    step: Callable[[Any], Any] = inner.send
    value: Any = None
    try:
        while True:
            try:
                awaited = context.run(step, value)
            except StopIteration as stop:
                return stop.value
            try:
                value = yield awaited
                step = inner.send
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to see
                step, value = inner.throw, error
    finally:
        value = None  # an error, perhaps, whose traceback refers to this frame


@public
class AsyncBoundedMap(Generic[_R_co]):
    """What `amap_bounded` returns: an async iterator over results, and a context manager that stops everything on the way out."""

    __slots__ = ("__weakref__", "_early", "_is_busy", "_next", "_work")

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def __init__(self, work: Any) -> None:
        check_made(work, (_AsyncWork,), "AsyncBoundedMap", "amap_bounded(f, items, workers=n)")
        self._work: _AsyncWork = work
        self._early: dict[int, tuple[int, Any, BaseException | None, Any]] = {}
        self._next = 0
        self._is_busy = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _R_co:
        if self._is_busy:
            raise RuntimeError("amap_bounded: another task is taking a result; iterate in one task")
        self._is_busy = True
        try:
            work, early = self._work, self._early
            while True:
                outcome = next_outcome(early, self._next if work.ordered else None)
                if outcome is None:
                    if not work.started:
                        work.start_worker()
                    try:
                        outcomes = await work.outcomes.get_many_async(256)
                    except ShutDown:
                        outcome = first_error(early)
                        if outcome is None:
                            break
                    else:
                        early.update((each[0], each) for each in outcomes)
                        del outcomes
                        continue
                self._next += 1
                number, result, error, item = early.pop(outcome[0])
                del outcome
                if error is not None:
                    await self._raise(number, error, item)
                work.permits.release()
                return result
            await self.aclose()
            raise StopAsyncIteration
        finally:
            self._is_busy = False

    async def _raise(self, number: int, error: BaseException, item: Any) -> NoReturn:
        try:
            try:
                await self.aclose()
            except Exception as other:  # noqa: BLE001 - of the generator, and the first error is the cause of the end
                add_note(error, f"also raised: {short_repr(other)}")
            if item is not NOTHING:
                add_item_note(error, "amap_bounded", number, item)
            raise not_an_end(error, "amap_bounded: a call or the iterable")
        finally:
            del error

    async def aclose(self) -> None:
        """Stop everything, as leaving the block does. The iterator is then exhausted."""
        work = self._work
        work.cancel()
        self._early.clear()
        if work.tasks and asyncio.current_task() not in work.tasks:
            try:
                while True:  # until the last one has left
                    await work.outcomes.get_many_async(256)
            except ShutDown:
                pass
        work.outcomes.shutdown(immediate=True)
        await work.close_source()

    def __del__(self) -> None:
        if hasattr(self, "_work"):
            self._work.abandon()

    def __repr__(self) -> str:
        work = self._work
        state = "ended" if work.outcomes.is_shutdown else f"{work.taken} items taken, {self._next} results handed out"
        return f"<sluicegate.AsyncBoundedMap: {state}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickle(self)
