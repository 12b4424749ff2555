"""`map_bounded` and `amap_bounded`: a function applied to items, several at a time, and only a bounded number ahead.

Both work alike. A worker, a thread or a task, takes a permit, then an item from the source, calls the function, and puts the outcome into
a queue. The iterator takes outcomes from the queue, gives the permit back when it hands a result out, and in ordered mode keeps what is
early. There are `workers + buffer` permits, so at most that many items have been taken from the source and not been handed out.

The workers take the items themselves, one at a time and in turn. So a result is handed out as soon as it is there, however long the next
item takes to come, and a slow consumer holds nobody up before the buffer is full.

The first error, of a call or of the source, stops the source: nobody takes another item. It has its place among the results: in ordered
mode what comes before it in the source comes before it here too.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextvars import copy_context
from types import CoroutineType, GenericAlias

from sluicegate._arguments import check_flag, check_made, count, iterator_of
from sluicegate._classes import public
from sluicegate._core import Queue, Semaphore
from sluicegate._exceptions import ShutDown
from sluicegate._functions import is_coroutine_function
from sluicegate._mistakes import Mistake, check_result
from sluicegate._running import CLOCK, PLENTY, Lock, Start, add_item_note, call_at_exit, not_an_end, refuse_pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any, Generic, NoReturn, TypeVar

    from typing_extensions import Self

    _T = TypeVar("_T")
    _R = TypeVar("_R")
    _R_co = TypeVar("_R_co", covariant=True)
else:
    _R_co, Generic = None, {None: object}

__all__ = ["NOTHING", "BoundedMap", "check", "first_error", "map_bounded", "next_outcome"]

#: What `warn_blocking` names if one of these blocks an event loop.
AWAITABLE = {"__next__": ("map_bounded", "async for ... in amap_bounded")}

#: How long leaving waits for an item that is being taken from the source: a source may never yield another one.
_PATIENCE = 1.0


def map_bounded(f: Callable[[_T], _R], items: Iterable[_T], *, workers: int, buffer: int = 0, ordered: bool = True) -> BoundedMap[_R]:
    """Call `f` for each item, in `workers` threads, and iterate over the results. Use it in a `with` block.

    At most `workers` calls run at the same time. `buffer` is the number of results that may wait beyond that: at most
    `workers + buffer` items have been taken whose results have not been returned yet, so `items` may be endless. With `ordered=True`
    the results are in the order of the items, otherwise as they come.

    The first exception, of a call or of `items`, ends it: no further item is taken, and the exception is raised in its place among the
    results, with the item as a note. Calls that are running are waited for.

    Leaving the block stops everything: no further item is taken or call begun, and those that are running are waited for. (For an item
    that is just being taken from `items`, one second at most; if it comes later, it is dropped.)

    `items` is iterated over in the worker threads, one at a time. Each call runs in a copy of the context (see `contextvars`) of the
    call of `map_bounded`.

    Fairness: workers take the items in their order, whichever is free. Iterate in one thread: `next` raises ValueError while another thread
    is in it.

    Raises ValueError or TypeError for invalid arguments.
    """
    workers, buffer = check("map_bounded", f, workers, buffer, ordered)
    return BoundedMap(_Work(f, iterator_of("map_bounded", items, "amap_bounded"), workers, buffer), ordered)


map_bounded.__module__ = "sluicegate"


def check(name: str, f: Any, workers: Any, buffer: Any, ordered: Any) -> tuple[int, int]:
    """Refuse bad arguments; return the two numbers as ints."""
    if not callable(f):
        raise TypeError(f"{name}(): 'f' must be a callable, not {f!r}")
    check_flag("ordered", ordered)
    workers, buffer = count("workers", workers, 1), count("buffer", buffer, 0)
    if workers + buffer > PLENTY:
        raise OverflowError(f"'workers' and 'buffer' must not be over {PLENTY} together, got {workers + buffer}")
    return workers, buffer


def _refuse_coroutines(f: Any) -> None:
    """Raise TypeError for a coroutine function: called in a thread it would return coroutines that nobody awaits."""
    if is_coroutine_function(f):
        raise TypeError(f"map_bounded() calls a plain function in threads, and {f!r} is a coroutine function: use amap_bounded()")


class _Work:
    """What the workers and the iterator share. It does not refer to the iterator, which can be collected while they run."""

    def __init__(self, f: Callable[[Any], Any], source: Iterator[Any], workers: int, buffer: int) -> None:
        _refuse_coroutines(f)
        self.f = f
        self.source: Iterator[Any] | None = source
        self.workers = workers
        self.permits = Semaphore(workers + buffer, clock=CLOCK)
        self.turn = Semaphore(1, clock=CLOCK)  # to take an item
        #: (number, result, error, item). It is shut down when the last worker has left.
        self.outcomes: Queue[tuple[int, Any, BaseException | None, Any]] = Queue(clock=CLOCK)
        self.context = copy_context()
        self.source_context = copy_context()
        self.taken = 0
        #: The threads in the source: one, and for an instant those that the end has woken, which find no source.
        self.takers: set[int] = set()
        #: No call begins for an item after the one with this number: the first that failed.
        self.last = PLENTY
        self.lock = Lock()  # of the above and the two below; held for a few lines
        self.threads: list[threading.Thread] = []
        self.running = 0

    def start_worker(self) -> None:
        """Start one more worker, if there may be one."""
        with self.lock:
            if self.source is None or len(self.threads) >= self.workers:
                return
            start = Start()
            thread = threading.Thread(target=start.run, args=(self.work,), name=f"map_bounded_{len(self.threads)}", daemon=True)
            self.running += 1
            try:
                thread.start()
            except BaseException as error:
                if not start.give_up():  # a signal handler has raised, and the thread runs all the same
                    self.threads.append(thread)
                    _live.add(self)
                    raise
                self.running -= 1
                if not self.running or not isinstance(error, RuntimeError):
                    raise
                return  # those that are there will do
            self.threads.append(thread)
            _live.add(self)

    def work(self) -> None:
        """Work on items until there are no more."""
        try:
            while self.work_on_one():
                pass
        except ShutDown:
            pass  # nobody wants the outcome any more
        finally:
            with self.lock:
                self.running -= 1
                is_last = not self.running
            if is_last:
                self.outcomes.shutdown()

    def work_on_one(self) -> bool:
        """Take an item and call the function. Return False at the end."""
        self.permits.acquire()
        self.turn.acquire()
        me = threading.get_ident()
        try:
            self.takers.add(me)  # before it looks: `leave` looks in the other order
            source = self.source
            if source is None:
                return False
            number = self.taken
            try:
                item = self.source_context.run(next, source)
            except StopIteration:
                self.end()
                return False
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread that iterates
                self.end()
                self.outcomes.put((number, None, error, NOTHING))
                return False
            self.taken += 1
        finally:
            self.takers.discard(me)
            self.turn.release()
            source = None
        if number > self.last:
            return False
        if len(self.threads) < self.workers:
            self.start_worker()
        try:
            result = self.context.copy().run(self.f, item)
            if type(result) is CoroutineType:
                check_result(self.f, result)
        except BaseException as error:  # noqa: BLE001 - as above
            with self.lock:
                self.last = min(self.last, number)
            self.end()
            self.outcomes.put((number, None, error.taken() if isinstance(error, Mistake) else error, item))
            return False
        self.outcomes.put((number, result, None, None))
        return True

    def end(self) -> None:
        """Take no further item. Calls for those that were taken go on."""
        self.source = None
        # Waiters for these find that there is no source.
        self.permits.resize(PLENTY)
        self.turn.resize(PLENTY)

    def stop(self) -> None:
        """Take no further item, and begin no further call. May be called from anywhere, any number of times."""
        self.last = -1
        self.end()

    def leave(self) -> None:
        """`stop`, and wait for the calls that are running, and for a moment for the source."""
        self.stop()
        me = threading.get_ident()
        if any(thread.ident == me for thread in self.threads):
            return
        takers = self.takers.copy()
        for thread in self.threads:
            if thread.ident not in takers:
                thread.join()
        for thread in self.threads:
            thread.join(_PATIENCE)


@public
class BoundedMap(Generic[_R_co]):
    """What `map_bounded` returns: an iterator over results, and a context manager that stops everything on the way out."""

    __slots__ = ("__weakref__", "_early", "_hand", "_next", "_ordered", "_taker", "_work")

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def __init__(self, work: Any, ordered: bool) -> None:
        check_made(work, (_Work,), "BoundedMap", "map_bounded(f, items, workers=n)")
        self._work: _Work = work
        self._ordered = ordered
        self._early: dict[int, tuple[int, Any, BaseException | None, Any]] = {}
        #: What has just been taken from the queue of outcomes, before it is in `_early`.
        self._hand: list[list[tuple[int, Any, BaseException | None, Any]]] = []
        self._next = 0
        #: The thread that is in `next`.
        self._taker: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _R_co:
        me = threading.get_ident()
        if self._taker.setdefault("", me) != me:  # a thread that was interrupted here may come again
            raise ValueError("map_bounded: another thread is taking a result; iterate in one thread")
        try:
            return self._take()
        finally:
            self._taker.clear()

    def _take(self) -> _R_co:
        """Return the next result.

        A signal handler may raise between any two lines. At each of them what has been taken from the queue is in `_hand` or `_early`, so
        that the next call goes on from there.
        """
        work, early, hand = self._work, self._early, self._hand
        while True:
            if hand:
                early.update((each[0], each) for each in hand[0])
                hand.clear()
            outcome = next_outcome(early, self._next if self._ordered else None)
            if outcome is None:
                if not work.threads:
                    work.start_worker()
                try:
                    # `extend` keeps what `get_many` returns without a line in between.
                    hand.extend(map(work.outcomes.get_many, (256,)))
                    continue
                except ShutDown:
                    outcome = first_error(early)
                    if outcome is None:
                        break
            number, result, error, item = outcome
            del outcome
            if error is not None:
                self._raise(number, error, item)
            work.permits.release()
            if not self._ordered:
                del early[number]
            self._next += 1  # from here on it has been handed out, if they are ordered
            early.pop(number, None)
            return result
        self.close()
        raise StopIteration

    def _raise(self, number: int, error: BaseException, item: Any) -> NoReturn:
        try:
            self.close()
            if item is not NOTHING:
                add_item_note(error, "map_bounded", number, item)
            raise not_an_end(error, "map_bounded: a call or the iterable")
        finally:
            del error

    def close(self) -> None:
        """Stop everything, as leaving the block does. The iterator is then exhausted."""
        self._work.leave()
        self._work.outcomes.shutdown(immediate=True)
        self._hand.clear()
        self._early.clear()

    def __del__(self) -> None:
        if hasattr(self, "_work"):
            self._work.stop()

    def __repr__(self) -> str:
        work = self._work
        state = "ended" if work.outcomes.is_shutdown else f"{work.taken} items taken, {self._next} results handed out"
        return f"<sluicegate.BoundedMap: {state}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickle(self)


def next_outcome(early: dict[int, Any], wanted: int | None) -> Any:
    """Return the outcome with this number, or, without a number, any result. None if it is not there."""
    if wanted is not None:
        return early.get(wanted)
    # The source's error comes last.
    return next((outcome for outcome in early.values() if outcome[3] is not NOTHING), None)


def first_error(early: dict[int, Any]) -> Any:
    """Return the first outcome that is an error, when all workers have left and all results are handed out, or None."""
    errors = sorted(number for number, outcome in early.items() if outcome[2] is not None)
    return early[errors[0]] if errors else None


#: In the place of an item, with an error of the source.
NOTHING: Any = object()

_live: weakref.WeakSet[_Work] = weakref.WeakSet()


def _at_exit() -> None:
    """Let the calls that are running finish, and begin no other."""
    works = list(_live)
    for work in works:
        work.stop()
    for work in works:
        work.leave()


def _after_fork_in_child() -> None:
    for work in list(_live):  # the threads are the parent's
        work.lock = Lock()
        work.threads.clear()
        work.stop()
        if not work.outcomes.is_shutdown:
            error = RuntimeError("this process was forked while its parent was in map_bounded")
            work.outcomes.put((work.taken, None, error, NOTHING))
            work.outcomes.shutdown()


call_at_exit(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
