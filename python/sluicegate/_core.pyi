# ruff: noqa: D205 (the docstrings are the binary's, whatever they look like)
import queue
from asyncio import AbstractEventLoop, Future
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from contextvars import Context
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address
from types import GenericAlias, MappingProxyType, TracebackType
from typing import Any, ClassVar, Final, Generic, Literal, NoReturn, SupportsIndex, TypeAlias, TypeVar, final, overload, type_check_only
from uuid import UUID

from _typeshed import SupportsRichComparison
from typing_extensions import Self, disjoint_base

from sluicegate._queues import Consumers, Producers
from sluicegate._semaphores import AsyncSemaphoreView
from sluicegate._statistics import (
    ChannelStatistics,
    KeyedRateStatistics,
    KeyedSemaphoreStatistics,
    QueueStatistics,
    RateStatistics,
    SemaphoreStatistics,
)
from sluicegate._subscriptions import Subscription
from sluicegate._views import AsyncQueueView, SyncQueueView
from sluicegate._working import Working

_T = TypeVar("_T")
_OrderedT = TypeVar("_OrderedT", bound=SupportsRichComparison)
_Q_co = TypeVar("_Q_co", covariant=True)
_R_co = TypeVar("_R_co", covariant=True)
_F = TypeVar("_F", bound=Callable[..., Any])

# A time is a number of seconds or a timedelta.
_Seconds: TypeAlias = float | timedelta

# What `KeyedTokenBucket` takes for a key. (Not bool, which type checkers take for an int.)
_Key: TypeAlias = str | bytes | int | UUID | IPv4Address | IPv6Address | tuple[_Key, ...]

__all__ = [
    "CLASSES",
    "STAND_INS",
    "WAIT",
    "AckChannel",
    "AsyncOperation",
    "BoundedSemaphore",
    "Channel",
    "Clock",
    "Credit",
    "CreditChannel",
    "Delivery",
    "KeyedBucket",
    "KeyedSemaphore",
    "KeyedTokenBucket",
    "LeakyBucket",
    "LifoQueue",
    "ManualClock",
    "Permit",
    "PriorityQueue",
    "Queue",
    "RateLimiter",
    "RateLimits",
    "Receiver",
    "Reservation",
    "Semaphore",
    "SemaphoreKey",
    "SemaphorePermit",
    "Sender",
    "SimpleQueue",
    "SlidingWindow",
    "StreamEnds",
    "TokenBucket",
    "Transfer",
    "__version__",
    "_after_fork_in_child",
    "_io_close",
    "_read_chunks",
    "_read_lines",
    "_write_from",
]

__version__: Final[str]

# The docstrings are the binary's, copied by `make stubs`: editors cannot read them there.

@final
class Clock:
    """The clock an object reads the time from. `Clock()` is the system's monotonic clock;
    `sluicegate.testing.ManualClock` moves only when told to. There are no other clocks: the class cannot be
    subclassed.
    """

    def __new__(cls) -> Self: ...
    def __init_subclass__(cls, **_kwargs: object) -> None: ...
    def now(self) -> float:
        """Return the time in seconds since an arbitrary moment. It never goes back."""

@final
class ManualClock(Clock):  # pyright: ignore[reportGeneralTypeIssues]  # nobody else may
    """A clock that moves only when told to, for testing code that waits or measures time.

    `start` is the first reading, in seconds. Inside `with clock:` it is the default clock of every sluicegate
    object that is created without one. This holds for the current context: a thread started inside the block has
    its own.
    """

    def __new__(cls, start: _Seconds = 0.0) -> Self: ...
    @property
    def waiters(self) -> int:
        """The number of operations that are waiting on objects with this clock: threads and tasks, with and without a
        timeout.
        """

    def advance(self, seconds: _Seconds) -> None:
        """Move the clock forward by `seconds`, in steps of a nanosecond, and wake the operations that become due, in time
        order.

        Raises ValueError, TypeError or OverflowError for an invalid amount. A woken thread or task runs later, when it
        is scheduled, not inside this call.
        """

    async def advance_async(self, seconds: _Seconds) -> None:
        """Move the clock forward by `seconds`, then let this loop run: tasks woken on it have run when this returns."""

    def wait_for_waiters(self, n: int, timeout: _Seconds = 5.0) -> None:
        """Block, in real time, until at least `n` operations are waiting on objects with this clock.

        Raises TimeoutError after `timeout` seconds.
        """

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...

# `isinstance(q, queue.Queue)` holds, so an annotation `queue.Queue[int]` takes one of ours too.
@disjoint_base
class Queue(queue.Queue[_T]):
    """A bounded first-in, first-out queue for threads and asyncio."""

    def __init__(self, maxsize: int = 0, *, name: str | None = None, clock: Clock | None = None) -> None: ...

    # What queue.Queue has.

    @property
    def maxsize(self) -> int:
        """The largest number of items in the queue; zero or less means no bound. It can be assigned: a larger bound wakes
        waiting putters.
        """

    @maxsize.setter
    def maxsize(self, maxsize: int) -> None: ...  # pyright: ignore[reportIncompatibleVariableOverride]
    @property
    def unfinished_tasks(self) -> int:
        """The number of items put for which `task_done` has not been called yet."""

    @unfinished_tasks.setter
    def unfinished_tasks(self, count: int) -> None: ...  # pyright: ignore[reportIncompatibleVariableOverride]
    @property
    def is_shutdown(self) -> bool:
        """True once `shutdown` has been called."""

    # A deque or a list, or whatever the hooks of a subclass made it.
    @property
    def queue(self) -> Any:
        """The queued items, as a live view with the methods of a `deque` (Queue) or a list (LifoQueue; PriorityQueue, in
        heap order). Changes by hand ignore `maxsize` and leave `unfinished_tasks` alone.
        """

    @queue.setter
    def queue(self, storage: Any) -> None: ...
    @property
    def mutex(self) -> NoReturn:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Not available, because every operation is atomic. Raises AttributeError, whose message names the alternatives."""

    @property
    def not_empty(self) -> _Condition:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Replaces the standard library's condition: `wait(timeout)` waits until there is an item."""

    @property
    def not_full(self) -> _Condition:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Replaces the standard library's condition: `wait(timeout)` waits until there is room."""

    @property
    def all_tasks_done(self) -> _Condition:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Replaces the standard library's condition: `wait(timeout)` waits until there are no unfinished tasks."""

    def put(self, item: _T, block: bool = True, timeout: _Seconds | None = None) -> None:
        """Put an item into the queue.

        If the queue is full, wait for room: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.
        With `block=False` the call does not wait, and `timeout` is ignored.

        Raises Full if there was no room (in time), ShutDown if the queue has been shut down, ValueError for a negative
        or NaN timeout.

        Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If an exception from a
        signal handler interrupts the call, nothing has been put.
        """

    def get(self, block: bool = True, timeout: _Seconds | None = None) -> _T:
        """Remove and return the next item.

        If the queue is empty, wait for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
        seconds. With `block=False` the call does not wait, and `timeout` is ignored.

        Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is empty, ValueError
        for a negative or NaN timeout.

        Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If an exception from a
        signal handler interrupts the call, nothing has been taken.
        """

    def put_nowait(self, item: _T) -> None:
        """Put an item without waiting. Raises Full if there is no room, ShutDown if the queue has been shut down.

        It does not use the wait queue: if there is room, it takes the room even while other putters are waiting.
        """

    def get_nowait(self) -> _T:
        """Remove and return the next item without waiting. Raises Empty if there is no item, ShutDown if the queue has
        been shut down and is empty.

        It does not use the wait queue: if there is an item, it takes the item even while other getters are waiting.
        """

    def qsize(self) -> int:
        """Return the number of items in the queue at this moment."""

    def empty(self) -> bool:
        """Return True if the queue is empty at this moment."""

    def full(self) -> bool:
        """Return True if the queue holds `maxsize` items at this moment; always False if there is no bound."""

    def task_done(self) -> None:
        """Indicate that an item taken from the queue has been processed.

        Raises ValueError if called more times than items were put.
        """

    def join(self, timeout: _Seconds | None = None) -> None:
        """Block until every item that was put has been processed (see `task_done`).

        Raises TimeoutError after `timeout` seconds. The call returns if the count of unfinished tasks reached zero at
        any moment during the wait.
        """

    def shutdown(self, immediate: bool = False, *, error: BaseException | None = None) -> None:
        """Shut the queue down: `put` raises ShutDown from now on, and `get` raises it once the queue is empty.

        With `immediate=True` the queued items are removed and count as finished tasks, and iteration raises ShutDown.
        With `error`, iteration raises that exception once the queue is empty, and it is the `__cause__` of every ShutDown.
        All waiters are woken. Calling it again has no effect, except that an immediate shutdown may follow.

        Raises TypeError if `error` is not an exception, with nothing changed.
        """

    def fail(self, error: BaseException) -> None:
        """Shut the queue down with an error: the same as `shutdown(error=error)`."""

    def _start_work(self) -> None: ...
    def _stop_work(self) -> None: ...
    def _end_of_iteration(self) -> None: ...
    def _init(self, maxsize: int) -> None: ...
    def _qsize(self) -> int: ...
    def _put(self, item: _T) -> None: ...
    def _get(self) -> _T: ...

    # What it has not.

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""

    def put_many(self, items: Iterable[_T], block: bool = True, timeout: _Seconds | None = None) -> int:
        """Put all of `items`, in order, and return the number of items.

        If a list or tuple fits, it is put in one step. Otherwise items are put in chunks as room appears, with no other
        putter's items between them, waiting for room as `put` does. An item is taken from an iterator only when there
        is room for it, so afterwards the iterator is at the first item that was not put.

        Raises Full, ShutDown, or the exception of a signal handler or of the iterable, each with an attribute
        `accepted`: the number of items that were put.
        """

    def get_many(self, max: SupportsIndex, block: bool = True, timeout: _Seconds | None = None, *, linger: _Seconds = 0.0) -> list[_T]:
        """Remove and return 1 to `max` items, as a list.

        Waits for the first item as `get` does. With `linger` it then waits up to that many seconds for more items:
        until `max` are there, the queue is full, a putter is waiting, or the queue is shut down. Meanwhile it keeps its
        position in the wait queue and has taken nothing.

        Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is empty, ValueError,
        TypeError or OverflowError for an invalid `max`, `timeout` or `linger`.
        """

    def clear(self) -> int:
        """Remove all items from the queue, in one step, and return their number.

        Each removed item counts as a finished task.
        """

    def peek(self) -> _T:
        """Return the item that `get` would return next, without removing it.

        Raises Empty if there is no item, ShutDown if the queue has been shut down and is empty. Another getter may take
        the item before the caller does.
        """

    def statistics(self) -> QueueStatistics:
        """Return a snapshot of the queue's size, counters and waiting times."""

    def producers(self, n: int = 1) -> Producers[Self]:
        """Return a context manager (`with`, `async with`) that `n` threads or tasks share as producers.

        When the last of them has left the block, the queue is shut down; if any of them left with an exception, with the
        first such exception as its error (see `shutdown`). A ShutDown of this queue that leaves the block is not raised
        further. Call it once, outside the threads or tasks: a manager that is garbage-collected before all have left
        gives a RuntimeWarning.
        """

    def consumers(self, n: int = 1) -> Consumers[Self]:
        """Return a context manager (`with`, `async with`) that `n` threads or tasks share as consumers.

        When the last of them has left the block, the queue is shut down at once and its items are removed, so that no
        producer waits forever. If any of them left with an exception, the first such exception is the `__cause__` of the
        ShutDown that producers then get; the other consumers go on and do not get it.

        A ShutDown of this queue that leaves the block is not raised further. Call it once, outside the threads or tasks.
        """

    def working(self) -> Working[_T]:
        """Return the items for one worker that may put new items into this queue: `with q.working() as items`.

        Use it with `for item in items` inside `with`, or with `async for` inside `async with`; call it once for each
        worker. `task_done` is called for an item when the next one is asked for or the block is left, also by an
        exception. When nothing is queued, no worker has an item, and no `producers()` end is open, the queue is shut
        down, which ends the iteration of all workers. It is not shut down before the first item has been put.

        The queue should have no bound: if all workers wait for room in it at once, nobody takes items.
        """

    @property
    def async_q(self) -> AsyncQueueView[_T]:
        """This queue with exactly the interface of `asyncio.Queue`."""

    @property
    def sync_q(self) -> SyncQueueView[_T]:
        """This queue with exactly the interface of `queue.Queue`."""

    async def put_async(self, item: _T, timeout: _Seconds | None = None) -> None:
        """Put an item into the queue, from a coroutine.

        If the queue is full, wait for room: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.
        If there is room, the coroutine does not suspend, except that after 128 operations in a row other tasks of the
        loop get to run.

        Raises Full if there was no room in time, ShutDown if the queue has been shut down, ValueError, TypeError or
        OverflowError for an invalid `timeout`.

        Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If the call is
        cancelled, nothing has been put.
        """

    async def get_async(self, timeout: _Seconds | None = None) -> _T:
        """Remove and return the next item, from a coroutine.

        If the queue is empty, wait for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
        seconds. If there is an item, the coroutine does not suspend, except that after 128 operations in a row other
        tasks of the loop get to run.

        Raises Empty if there was no item in time, ShutDown if the queue has been shut down and is empty, ValueError,
        TypeError or OverflowError for an invalid `timeout`.

        Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If the call is
        cancelled, nothing has been taken: the item stays in the queue.
        """

    async def put_many_async(self, items: Iterable[_T], *, timeout: _Seconds | None = None) -> int:
        """Put all of `items`, in order, from a coroutine, and return the number of items.

        Works as `put_many`. An exception that ends it early, CancelledError included, has an attribute `accepted`: the
        number of items that were put.
        """

    async def get_many_async(self, max: SupportsIndex, *, timeout: _Seconds | None = None, linger: _Seconds = 0.0) -> list[_T]:
        """Remove and return 1 to `max` items, as a list, from a coroutine.

        Works as `get_many`. If it is cancelled, nothing has been taken.
        """

    async def join_async(self, timeout: _Seconds | None = None) -> None:
        """Wait until every item that was put has been processed (see `task_done`), from a coroutine.

        Raises TimeoutError after `timeout` seconds. The call returns if the count of unfinished tasks reached zero at
        any moment during the wait.
        """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __iter__(self) -> Iterator[_T]: ...
    def batches(self, max: SupportsIndex, *, linger: _Seconds = 0.0) -> _Batches[_T]:
        """Return an iterator, for `for` and `async for`, over lists of 1 to `max` items.

        Each list is what `get_many(max, linger=linger)` returns: with `linger` the first item of a list waits up to
        that many seconds for more. The iteration ends as that over the single items does; what is in the queue at the
        shutdown still comes, in lists that do not linger.

        Raises ValueError, TypeError or OverflowError for an invalid `max` or `linger`.
        """

    def _check_batch(self, max: SupportsIndex, linger: _Seconds) -> None: ...
    def __aiter__(self) -> AsyncIterator[_T]:
        """Iterate over the items until the queue has been shut down and is empty."""
    def __bool__(self) -> Literal[True]: ...
    def __sizeof__(self) -> int: ...
    __contains__: ClassVar[None]
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _try_put(self, item: _T, timeout: _Seconds | None = None) -> object: ...
    def _try_get(self, timeout: _Seconds | None = None) -> Any: ...
    def _async_put(self, item: _T, timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_get(self, timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_put_many(self, items: Iterable[_T], timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_get_many(self, max: SupportsIndex, timeout: _Seconds | None, linger: _Seconds) -> AsyncOperation: ...
    def _async_join(self, timeout: _Seconds | None) -> AsyncOperation: ...
    def _wait_ready(self, putting: bool, timeout: _Seconds | None) -> bool: ...

@disjoint_base
class LifoQueue(Queue[_T], queue.LifoQueue[_T]):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A last-in, first-out queue."""

@disjoint_base
class PriorityQueue(Queue[_OrderedT], queue.PriorityQueue[_OrderedT]):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A queue that returns the smallest item first, in exactly the order of `heapq`."""

@disjoint_base
class SimpleQueue(Generic[_T]):
    """An unbounded first-in, first-out queue without task tracking or shutdown."""

    def __init__(self, *, name: str | None = None, clock: Clock | None = None) -> None: ...
    def put(self, item: _T, block: bool = True, timeout: _Seconds | None = None) -> None:
        """Put an item into the queue. It never waits: the queue has no bound, and `block` and `timeout` are ignored."""

    def get(self, block: bool = True, timeout: _Seconds | None = None) -> _T:
        """Remove and return the next item.

        If the queue is empty, wait for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
        seconds. With `block=False` the call does not wait, and `timeout` is ignored.

        Raises Empty if there was no item (in time), ValueError for a negative or NaN timeout, OverflowError for a
        timeout that is too long.

        Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If an exception from a
        signal handler interrupts the call, nothing has been taken.
        """

    def put_nowait(self, item: _T) -> None:
        """Put an item into the queue, as `put` does."""

    def get_nowait(self) -> _T:
        """Remove and return the next item without waiting. Raises Empty if there is no item.

        It does not use the wait queue: if there is an item, it takes the item even while other getters are waiting.
        """

    def qsize(self) -> int:
        """Return the number of items in the queue at this moment."""

    def empty(self) -> bool:
        """Return True if the queue is empty at this moment."""

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""

    def put_many(self, items: Iterable[_T], block: bool = True, timeout: _Seconds | None = None) -> int:
        """Put all of `items`, in order, and return the number of items.

        If a list or tuple fits, it is put in one step. Otherwise items are put in chunks as room appears, with no other
        putter's items between them, waiting for room as `put` does. An item is taken from an iterator only when there
        is room for it, so afterwards the iterator is at the first item that was not put.

        Raises Full, ShutDown, or the exception of a signal handler or of the iterable, each with an attribute
        `accepted`: the number of items that were put.
        """

    def get_many(self, max: SupportsIndex, block: bool = True, timeout: _Seconds | None = None, *, linger: _Seconds = 0.0) -> list[_T]:
        """Remove and return 1 to `max` items, as a list.

        Waits for the first item as `get` does. With `linger` it then waits up to that many seconds for more items:
        until `max` are there, the queue is full, a putter is waiting, or the queue is shut down. Meanwhile it keeps its
        position in the wait queue and has taken nothing.

        Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is empty, ValueError,
        TypeError or OverflowError for an invalid `max`, `timeout` or `linger`.
        """

    def clear(self) -> int:
        """Remove all items from the queue, in one step, and return their number.

        Each removed item counts as a finished task.
        """

    def peek(self) -> _T:
        """Return the item that `get` would return next, without removing it.

        Raises Empty if there is no item, ShutDown if the queue has been shut down and is empty. Another getter may take
        the item before the caller does.
        """

    def statistics(self) -> QueueStatistics:
        """Return a snapshot of the queue's size, counters and waiting times."""

    async def put_async(self, item: _T, timeout: _Seconds | None = None) -> None:
        """Put an item into the queue, from a coroutine.

        If the queue is full, wait for room: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.
        If there is room, the coroutine does not suspend, except that after 128 operations in a row other tasks of the
        loop get to run.

        Raises Full if there was no room in time, ShutDown if the queue has been shut down, ValueError, TypeError or
        OverflowError for an invalid `timeout`.

        Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If the call is
        cancelled, nothing has been put.
        """

    async def get_async(self, timeout: _Seconds | None = None) -> _T:
        """Remove and return the next item, from a coroutine.

        If the queue is empty, wait for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
        seconds. If there is an item, the coroutine does not suspend, except that after 128 operations in a row other
        tasks of the loop get to run.

        Raises Empty if there was no item in time, ShutDown if the queue has been shut down and is empty, ValueError,
        TypeError or OverflowError for an invalid `timeout`.

        Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If the call is
        cancelled, nothing has been taken: the item stays in the queue.
        """

    async def put_many_async(self, items: Iterable[_T], *, timeout: _Seconds | None = None) -> int:
        """Put all of `items`, in order, from a coroutine, and return the number of items.

        Works as `put_many`. An exception that ends it early, CancelledError included, has an attribute `accepted`: the
        number of items that were put.
        """

    async def get_many_async(self, max: SupportsIndex, *, timeout: _Seconds | None = None, linger: _Seconds = 0.0) -> list[_T]:
        """Remove and return 1 to `max` items, as a list, from a coroutine.

        Works as `get_many`. If it is cancelled, nothing has been taken.
        """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __iter__(self) -> Iterator[_T]: ...
    def batches(self, max: SupportsIndex, *, linger: _Seconds = 0.0) -> _Batches[_T]:
        """Return an iterator, for `for` and `async for`, over lists of 1 to `max` items.

        Each list is what `get_many(max, linger=linger)` returns: with `linger` the first item of a list waits up to
        that many seconds for more. The iteration ends as that over the single items does; what is in the queue at the
        shutdown still comes, in lists that do not linger.

        Raises ValueError, TypeError or OverflowError for an invalid `max` or `linger`.
        """

    def _check_batch(self, max: SupportsIndex, linger: _Seconds) -> None: ...
    def __aiter__(self) -> AsyncIterator[_T]:
        """Iterate over the items until the queue has been shut down and is empty."""
    def __bool__(self) -> Literal[True]: ...
    def __sizeof__(self) -> int: ...
    __contains__: ClassVar[None]
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _try_put(self, item: _T, timeout: _Seconds | None = None) -> object: ...
    def _try_get(self, timeout: _Seconds | None = None) -> Any: ...
    def _async_put(self, item: _T, timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_get(self, timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_put_many(self, items: Iterable[_T], timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_get_many(self, max: SupportsIndex, timeout: _Seconds | None, linger: _Seconds) -> AsyncOperation: ...

# Rate limits. An amount is an int or a float.

@disjoint_base
class RateLimiter:
    """The common base of `TokenBucket`, `LeakyBucket`, `SlidingWindow` and the handles that `KeyedTokenBucket.key`
    returns. A limiter admits amounts at a limited rate. The class cannot be instantiated.
    """

    def __new__(cls, *_args: object, **_kwargs: object) -> NoReturn: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""

    def try_acquire(self, n: float = 1) -> bool:
        """Take `n` tokens if they are available and nobody is waiting. Return whether they were taken. Never waits.

        While others are waiting it returns False, so it never overtakes a waiter. `n=0` always succeeds and changes
        nothing.

        Raises ValueError if `n` is larger than can ever be admitted at once; ValueError, TypeError or OverflowError for
        an invalid `n`.
        """

    def acquire(self, n: float = 1, *, timeout: _Seconds | None = None) -> Literal[True]:
        """Take `n` tokens, waiting until they are available.

        With `timeout` it waits for at most that many seconds; if the wait is known to be longer, the request is refused
        at once. `n=0` succeeds at once and changes nothing.

        Raises RateLimited, with `retry_after` in seconds and nothing taken, if `n` tokens are not available in time or
        a leaky bucket has no free place for a waiter; ValueError if `n` is larger than can ever be admitted at once;
        ValueError, TypeError or OverflowError for an invalid argument.

        Fairness: strictly first come, first served; threads and tasks share one wait queue, and nobody overtakes a
        large request. If an exception from a signal handler interrupts the wait, nothing has been taken, and later
        waiters are admitted earlier.
        """

    async def acquire_async(self, n: float = 1, *, timeout: _Seconds | None = None) -> Literal[True]:
        """Take `n` tokens, waiting until they are available, from a coroutine.

        Works as `acquire`. If the tokens are available, the coroutine does not suspend, except that after 128
        operations in a row other tasks of the loop get to run. If it is cancelled, nothing has been taken, and later
        waiters are admitted earlier.
        """

    def reserve(self, n: float = 1, *, max_wait: _Seconds | None = None) -> _Reservation:
        """Book `n` tokens for the first moment at which they will be available, after all current waiters.

        Returns a Reservation, which tells that moment and can be waited for, settled and cancelled. The moment is
        fixed: nothing that happens later moves it.

        Raises RateLimited, with nothing booked, if the moment is more than `max_wait` seconds away or a leaky bucket
        has no free place for a waiter; ValueError if `n` is larger than can ever be admitted at once; ValueError,
        TypeError or OverflowError for an invalid argument.
        """

    def refund(self, n: float) -> None:
        """Give `n` tokens back, at most until the limiter is full.

        Raises ValueError, TypeError or OverflowError for an invalid `n`.
        """

    def debit(self, n: float) -> None:
        """Take `n` tokens without waiting, even if that leaves a debt. Later requests wait until the debt is paid.

        Raises ValueError, TypeError or OverflowError for an invalid `n`.
        """

    @property
    def tokens(self) -> float:
        """The number of tokens available now; negative in debt. For a sliding window it is the unused part of the limit;
        for a leaky bucket it is the level of a token bucket with a burst of one. A booking for the next free moment is
        deducted at once, a later booking (by a set, or behind waiters or a pause) only when it is due.
        """

    def retry_after(self, n: float = 1) -> float:
        """Return the seconds until `try_acquire(n)` can succeed, after all current waiters have been served; 0.0 if it can
        now.

        A caller that comes exactly then is admitted, unless another request has come in between. (For a key that is not
        remembered, it does not take into account whether there is room for another key.)

        Raises ValueError if `n` is larger than can ever be admitted at once; ValueError, TypeError or OverflowError for
        an invalid `n`.
        """

    def pause_for(self, seconds: _Seconds | str | bytes) -> None:
        """Admit no request for `seconds`, such as a server's Retry-After. Tokens are still refilled during the pause.

        A string is taken for the value of a Retry-After header: seconds, or an HTTP date, of which the time from now on
        by the system's clock counts. A date in the past is no pause. A shorter pause does not shorten a longer one.
        Existing reservations keep their moments.

        Raises ValueError, TypeError or OverflowError for invalid `seconds`.
        """

    def statistics(self) -> RateStatistics:
        """Return a snapshot of the limiter's counters and waiting times."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_exc: object) -> None: ...
    @overload
    def __call__(self, function: _F, /, *, n: float = 1, timeout: _Seconds | None = None) -> _F:
        """Decorate a function so that each call first takes `n` tokens.

        Use `@bucket` or `@bucket(n=2, timeout=1)`. The function can be a def, an async def, or a generator function of
        either kind; a generator takes its tokens when iteration begins. A call raises what `acquire` raises.
        """

    @overload
    def __call__(self, function: None = None, /, *, n: float = 1, timeout: _Seconds | None = None) -> Callable[[_F], _F]: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _try_acquire(self, n: float = 1) -> object: ...
    def _async_acquire(self, n: float, timeout: _Seconds | None) -> AsyncOperation: ...
    def _check(self, n: float, timeout: _Seconds | None) -> None: ...

@disjoint_base
class TokenBucket(RateLimiter):
    """A token bucket: it is refilled with `rate` tokens per `period` seconds, and holds at most `burst` tokens.

    In any window of t seconds it admits at most `burst + rate * t / period` tokens. That is too much for somebody
    else's quota of N a minute; use `SlidingWindow(N, 60)` for that. The bucket starts with `initial` tokens, by
    default full. Rates and amounts can be fractions; amounts are counted in billionths of a token, or more coarsely
    if `burst` is above 1e9.

    Any number of threads and event loops can share it. Waiters are served strictly first come, first served. `with
    bucket:` takes one token, and `@bucket` takes one before each call.

    Raises ValueError, TypeError or OverflowError for invalid arguments.

    Algorithm: GCRA (ITU-T I.371, annex A).
    """

    def __new__(
        cls,
        rate: float,
        *,
        burst: float,
        period: _Seconds = 1.0,
        initial: float | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> Self: ...
    @property
    def rate(self) -> float:
        """The number of tokens refilled per `period`."""

    @property
    def burst(self) -> float:
        """The largest number of tokens the bucket holds."""

    @property
    def period(self) -> float:
        """The length of time that `rate` refers to, in seconds."""

    def set_rate(self, rate: float, *, burst: float | None = None) -> None:
        """Change the rate (per the same period) and, if given, the burst, from now on.

        Tokens are kept as far as they fit, and debts are kept. The times of waiters are recalculated; a waiter whose
        amount is now larger than the burst gets ValueError. Reservations keep their moments.

        Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
        """

@disjoint_base
class LeakyBucket(RateLimiter):
    """A leaky bucket used as a shaper: it admits requests evenly spaced. A request for n tokens delays the next one by
    `n / rate` periods.

    At most `capacity` requests can wait, reservations included; further requests are refused. (Waiters of a
    `RateLimits` are in the wait queue of the set and do not count.) Unused capacity is not saved: after a pause the
    first request is admitted at once, and the second at the usual distance from it.

    Raises ValueError, TypeError or OverflowError for invalid arguments.

    Algorithm: GCRA (ITU-T I.371, annex A) without a burst.
    """

    def __new__(
        cls,
        rate: float,
        *,
        capacity: int,
        period: _Seconds = 1.0,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> Self: ...
    @property
    def rate(self) -> float:
        """The number of tokens admitted per `period`."""

    @property
    def capacity(self) -> int:
        """The largest number of requests that can wait."""

    @property
    def period(self) -> float:
        """The length of time that `rate` refers to, in seconds."""

    def set_rate(self, rate: float, *, capacity: int | None = None) -> None:
        """Change the rate (per the same period) and, if given, the capacity, from now on.

        The times of waiters are recalculated. A smaller capacity does not remove requests that are already waiting.
        Reservations keep their moments.

        Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
        """

@disjoint_base
class SlidingWindow(RateLimiter):
    """A sliding window: it never admits more than `limit` tokens in any window of `period` seconds.

    An amount taken at time t counts until just before t + `period`. Use it for somebody else's quota, where a token
    bucket may admit up to twice as much in one window. It remembers each moment of the last `period` at which
    something was taken, so its memory grows with `limit`.

    Raises ValueError, TypeError or OverflowError for invalid arguments.
    """

    def __new__(cls, limit: float, period: _Seconds, *, clock: Clock | None = None, name: str | None = None) -> Self: ...
    @property
    def limit(self) -> float:
        """The largest number of tokens admitted in any window."""

    @property
    def period(self) -> float:
        """The length of the window, in seconds."""

    def set_limit(self, limit: float, period: float | None = None) -> None:
        """Change the limit and, if given, the period, from now on.

        Amounts already taken still count. The times of waiters are recalculated; a waiter whose amount is now larger
        than the limit gets ValueError. Reservations keep their moments. Lengthening the period does not bring back
        amounts that have already left the window.

        Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
        """

@disjoint_base
class RateLimits:
    """Several limiters taken together: either all of them or none.

    Example: `RateLimits(requests=TokenBucket(50, burst=10), tokens=TokenBucket(9000, burst=9000, period=60))`. A
    positional amount is taken from every limiter. Amounts by name are taken from the limiters of those names, and
    then every limiter has to be named. Waiters of the set are served strictly first come, first served. A limiter can belong
    to several sets, and can also be used directly.

    Raises ValueError if no limiter is given, if a limiter is given twice, if the limiters have different clocks, or
    if a name is `name`, `n`, `timeout` or `max_wait`; TypeError for an object that is not a limiter.
    """

    def __new__(cls, *, name: str | None = None, **limits: RateLimiter) -> Self: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""

    @property
    def limits(self) -> MappingProxyType[str, RateLimiter]:
        """A read-only mapping of the limiters by name."""

    def try_acquire(self, n: float = 1, /, **amounts: float) -> bool:
        """Take `n` of each limit, or amounts by name, if all are available now and nobody is waiting. All or none.

        Returns whether they were taken. Never waits. Raises what `acquire` raises for amounts that can never be
        admitted and for invalid arguments.
        """

    def acquire(self, n: float = 1, /, *, timeout: _Seconds | None = None, **amounts: float) -> Literal[True]:
        """Take `n` of each limit, or amounts by name, waiting until all are available. All or none.

        With `timeout` it waits for at most that many seconds; if the wait is known to be longer, the request is refused
        at once.

        Raises RateLimited, with `retry_after` in seconds and nothing taken, if the amounts are not available in time;
        ValueError for an amount that can never be admitted at once; TypeError for a limit that is missing or unknown;
        ValueError, TypeError or OverflowError for an invalid argument.

        Fairness: strictly first come, first served; threads and tasks share one wait queue. If an exception from a
        signal handler interrupts the wait, nothing has been taken.
        """

    async def acquire_async(self, n: float = 1, /, *, timeout: _Seconds | None = None, **amounts: float) -> Literal[True]:
        """Take `n` of each limit, or amounts by name, waiting until all are available, from a coroutine. All or none.

        Works as `acquire`. If it is cancelled, nothing has been taken.
        """

    def reserve(self, n: float = 1, /, *, max_wait: _Seconds | None = None, **amounts: float) -> _ReservationByName:
        """Book `n` of each limit, or amounts by name, for the first moment at which all are available, after all current
        waiters.

        Returns a Reservation. Call its `settle` with amounts by name when the true amounts are known.

        Raises RateLimited, with nothing booked, if the moment is more than `max_wait` seconds away; otherwise what
        `acquire` raises.
        """

    def refund(self, n: float = 1, /, **amounts: float) -> None:
        """Give tokens back: `n` to each limit, or amounts by name to the named limits.

        Raises TypeError for an unknown limit; ValueError, TypeError or OverflowError for an invalid amount.
        """

    def debit(self, n: float = 1, /, **amounts: float) -> None:
        """Take tokens without waiting, even if that leaves debts: `n` from each limit, or amounts by name from the named
        limits.

        Later requests wait until the debts are paid. Raises what `refund` raises, with nothing taken.
        """

    @property
    def tokens(self) -> dict[str, float]:
        """The number of tokens available now, by name."""

    def retry_after(self, n: float = 1, /, **amounts: float) -> float:
        """Return the seconds until `try_acquire` with the same amounts can succeed, after all current waiters; 0.0 if it
        can now.

        Raises what `acquire` raises for amounts that can never be admitted and for invalid arguments.
        """

    def pause_for(self, seconds: _Seconds | str | bytes) -> None:
        """Admit no request to any of the limits for `seconds`, such as a server's Retry-After.

        Works as `TokenBucket.pause_for`. Raises ValueError, TypeError or OverflowError for invalid `seconds`.
        """

    def statistics(self) -> RateStatistics:
        """Return a snapshot of the set's counters and waiting times. Each member has its own statistics."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_exc: object) -> None: ...
    @overload
    def __call__(self, function: _F, /, *, n: float | None = None, timeout: _Seconds | None = None, **amounts: float) -> _F:
        """Decorate a function so that each call first takes `n` of each limit, or amounts by name.

        Use `@limits`, `@limits(n=2, timeout=1)` or `@limits(requests=1, tokens=500)`. The function can be a def, an
        async def, or a generator function of either kind; a generator takes its amounts when iteration begins. A call
        raises what `acquire` raises.
        """

    @overload
    def __call__(
        self, function: None = None, /, *, n: float | None = None, timeout: _Seconds | None = None, **amounts: float
    ) -> Callable[[_F], _F]: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _async_acquire(self, timeout: _Seconds | None, *args: float, **amounts: float) -> AsyncOperation: ...
    def _check(self, timeout: _Seconds | None, *args: float, **amounts: float) -> None: ...

@disjoint_base
class KeyedTokenBucket:
    """A token bucket for each of very many keys (users, addresses, hosts), in bounded memory.

    Each key has a bucket of `burst` tokens, refilled with `rate` tokens per `period` seconds, and a wait queue of
    its own, so waiting for one key delays no other key. Keys are str, bytes, int, UUID, IP addresses, and tuples of
    those; only a keyed 128-bit hash of each is stored. `key(k)` returns a light handle with the whole interface of
    a token bucket; `try_acquire(key, n)` is the fastest way to use a key.

    At most `max_keys` keys are remembered. A full bucket is forgotten when room is needed, because a new bucket
    starts full anyway. A bucket that is in use (not full, waited for, or with a rate of its own) is never
    forgotten, because forgetting a debt would admit more than the limit. If all buckets are in use, a new key is
    refused with RateLimited, whose `retry_after` says when a bucket can be forgotten.

    Raises ValueError, TypeError or OverflowError for invalid arguments.

    Algorithm: GCRA (ITU-T I.371, annex A).
    """

    def __new__(
        cls,
        rate: float,
        *,
        burst: float,
        max_keys: SupportsIndex,
        period: _Seconds = 1.0,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> Self: ...
    def key(self, key: _Key) -> KeyedBucket:
        """Return the bucket of one key, as a light handle with the whole interface of a token bucket.

        Raises TypeError for a key of an unsupported type.
        """

    def try_acquire(self, key: _Key, n: float = 1) -> bool:
        """Take `n` tokens from the key's bucket if they are available and nobody is waiting for that key. Never waits.

        Returns whether the tokens were taken. `n=0` always succeeds and changes nothing.

        Raises RateLimited if the key is new and all `max_keys` buckets are in use (see the class), ValueError if `n` is
        larger than can ever be admitted at once; ValueError, TypeError or OverflowError for an invalid `key` or `n`.
        """

    def acquire(self, key: _Key, n: float = 1, *, timeout: _Seconds | None = None) -> Literal[True]:
        """Take `n` tokens from the key's bucket, waiting until they are available. Works as `TokenBucket.acquire`."""

    async def acquire_async(self, key: _Key, n: float = 1, *, timeout: _Seconds | None = None) -> Literal[True]:
        """Take `n` tokens from the key's bucket, waiting until they are available, from a coroutine.

        Works as `TokenBucket.acquire_async`.
        """

    def retry_after(self, key: _Key, n: float = 1) -> float:
        """Return the seconds until `n` tokens can be taken from the key's bucket. Works as `TokenBucket.retry_after`."""

    def pause_for(self, key: _Key, seconds: _Seconds | str | bytes) -> None:
        """Admit no request of the key for `seconds`. Works as `TokenBucket.pause_for`."""

    def set_rate(self, rate: float, *, burst: float | None = None, key: _Key = ...) -> None:
        """Change the rate (per the same period) and, if given, the burst, from now on.

        With `key` the change applies to that key alone, which is then remembered until `forget(key)`; otherwise it
        applies to every key without a rate of its own. Tokens are kept as far as they fit, and debts are kept.

        Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed; RateLimited if there
        is no room for another key.
        """

    def forget(self, key: _Key) -> bool:
        """Remove the key's own rate, so that the default applies again. Its debt is kept. Return whether it had a rate of
        its own.

        Raises TypeError for a key of an unsupported type.
        """

    @property
    def rate(self) -> float:
        """The number of tokens refilled per `period`, for a key without a rate of its own."""

    @property
    def burst(self) -> float:
        """The largest number of tokens in a bucket, for a key without a rate of its own."""

    @property
    def period(self) -> float:
        """The length of time that `rate` refers to, in seconds."""

    @property
    def max_keys(self) -> int:
        """The largest number of keys that are remembered."""

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""

    def statistics(self) -> KeyedRateStatistics:
        """Return a snapshot of the counters and waiting times of all keys together."""

    def __len__(self) -> int: ...
    def __bool__(self) -> Literal[True]: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...

@final
class KeyedBucket(RateLimiter):
    """The bucket of one key, as returned by `KeyedTokenBucket.key`. A light handle: the `KeyedTokenBucket` holds the
    bucket's state.
    """

    @property
    def key(self) -> _Key:
        """The key."""

    @property
    def rate(self) -> float:
        """The number of tokens refilled per `period`."""

    @property
    def burst(self) -> float:
        """The largest number of tokens the bucket holds."""

    @property
    def period(self) -> float:
        """The length of time that `rate` refers to, in seconds."""

    def set_rate(self, rate: float, *, burst: float | None = None) -> None:
        """Give this key a rate of its own (per the same period) and, if given, a burst of its own, from now on.

        Tokens are kept as far as they fit, and debts are kept. The key is remembered until
        `KeyedTokenBucket.forget(key)`.

        Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
        """

@final
class Reservation:
    """Tokens booked for a future moment, as returned by `reserve`.

    Wait for the moment with `wait` or `wait_async`, or with `with` or `async with`, which wait on entry and raise
    RuntimeError if the reservation has been cancelled. An exception in the block gives nothing back; call `cancel`
    before the moment, or `settle` with the true amount when it is known.
    """

    def __new__(cls, *_args: object, **_kwargs: object) -> NoReturn: ...
    @property
    def n(self) -> float | dict[str, float]:
        """The booked amount: tokens, or a dict of tokens by name for `RateLimits`."""

    @property
    def delay(self) -> float:
        """The seconds until the reservation is ready; 0.0 if it is ready."""

    @property
    def ready_at(self) -> float:
        """The moment at which the reservation is ready, in seconds on the limiter's clock (by default
        `sluicegate.Clock().now()`).
        """

    def wait(self, timeout: _Seconds | None = None) -> Literal[True]:
        """Block until the reservation is ready.

        Raises RateLimited at once, with the booking unchanged, if that is more than `timeout` seconds away; ValueError,
        TypeError or OverflowError for an invalid `timeout`. If an exception from a signal handler interrupts the wait,
        the booking is unchanged.
        """

    async def wait_async(self, timeout: _Seconds | None = None) -> Literal[True]:
        """Wait until the reservation is ready, from a coroutine.

        Works as `wait`. If it is cancelled, the booking is unchanged.
        """

    def settle(self, actual: float = ..., /, **actual_by_name: float) -> None:
        """Report the amount actually used; the difference is refunded, or debited even if that leaves a debt.

        An amount that has been refilled since the reservation's moment is not refunded a second time: a sliding window
        refunds what still counts in it, a bucket refunds what it would hold in addition if `actual` had been booked.
        Before its moment, a reservation refunds no more than `cancel` would.

        For `RateLimits` give amounts by name, as in `settle(tokens=950)`; a limit that is not named keeps its booked
        amount.

        Raises RuntimeError if the reservation has been settled or cancelled; ValueError, TypeError or OverflowError for
        an invalid amount.
        """

    def cancel(self) -> float | dict[str, float]:
        """Cancel the reservation and return the amount given back: tokens, or a dict of tokens by name.

        Later bookings rely on this one and keep their moments, so the part of it that they need cannot be given back
        without exceeding the limit in some window. (A sliding window can always give back everything.) Once its moment
        has passed, nothing is given back. Calling it again has no effect.

        Raises RuntimeError if the reservation has been settled.
        """

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_exc: object) -> None: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _async_wait(self, timeout: _Seconds | None) -> AsyncOperation: ...
    def _check_open(self) -> None: ...

# Credit channels.

@disjoint_base
class Channel(Generic[_T, _R_co]):
    """The common base of `CreditChannel` and `AckChannel`. It cannot be instantiated."""

    @property
    def sender(self) -> Sender[_T]:
        """The sending end."""

    @property
    def receiver(self) -> Receiver[_R_co]:
        """The receiving end."""

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""

    def statistics(self) -> ChannelStatistics:
        """Return a snapshot of the channel's state, counters and waiting times."""

    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    @classmethod
    def __class_getitem__(cls, key: object) -> GenericAlias: ...

@disjoint_base
class CreditChannel(Channel[_T, _T]):
    """A channel on which the receiver decides how much may be outstanding.

    With a `window` (default 256) the amount sent and not yet received never exceeds the window. Credit is granted
    again as items are received, in steps of `threshold` times the window, and in full when a sender is waiting or
    nothing is left to receive. With `window=0` a sender may only send what was requested with
    `receiver.credit.request(n)`, and at most `buffer` of it can wait to be received.

    Amounts are counted in items, or by `weigh(item)`, which returns a whole number, for example of bytes. An item
    heavier than the window is refused. An item of weight 0 takes no credit but occupies a slot; there are as many
    slots as units in the window. `on_discard(item)` is called with each discarded item. `control_capacity` is the
    largest number of waiting control messages.

    The ends, `sender` and `receiver`, can be given to different owners; the channel object itself need not be kept.

    Raises ValueError, TypeError or OverflowError for invalid arguments.

    Fairness: credit is given to senders strictly first come, first served, by weight; threads and tasks share one
    wait queue.
    """

    def __new__(
        cls,
        window: SupportsIndex = 256,
        *,
        threshold: float = 0.5,
        buffer: float | None = None,
        weigh: Callable[[_T], int] | None = None,
        control_capacity: int = 8,
        on_discard: Callable[[_T], object] | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> Self: ...

@disjoint_base
class AckChannel(Channel[_T, Delivery[_T]]):
    """A credit channel whose items have to be settled: `receive` returns a `Delivery`, and its credit is granted again
    when it is acked.

    A delivery that is nacked, dropped or not settled within `ack_wait` seconds is requeued at the head. After
    `max_deliver` attempts the item is discarded and passed to `on_discard`. `receiver.settled_through` is the
    sequence number below which every item is settled.

    Everything else works as in `CreditChannel`.
    """

    def __new__(
        cls,
        window: SupportsIndex = 256,
        *,
        threshold: float = 0.5,
        buffer: float | None = None,
        ack_wait: _Seconds | None = None,
        max_deliver: int = 5,
        weigh: Callable[[_T], int] | None = None,
        control_capacity: int = 8,
        on_discard: Callable[[_T], object] | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> Self: ...

@final
class Sender(Generic[_T]):
    """The sending end of a channel. Returned by `channel.sender` and by `clone`.

    Any number of threads and tasks can use it. `with sender:` completes the channel at the end of the block, or
    fails it with the exception that leaves the block. A sender that is garbage-collected without having completed
    or failed makes the channel fail, with a ResourceWarning.
    """

    def send(self, item: _T, timeout: _Seconds | None = None) -> None:
        """Send an item. Waits for credit: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.

        Raises Full if there was no credit in time, ChannelClosed if this sender has completed, ChannelCancelled if the
        receiver has cancelled or is gone, ChannelFailed if another sender has failed; ValueError for an item that is
        heavier than the window; ValueError, TypeError or OverflowError for an invalid `timeout` or weight.

        Fairness: credit is given strictly first come, first served, by weight; threads and tasks share one wait queue.
        If an exception from a signal handler interrupts the call, nothing has been sent.
        """

    def send_nowait(self, item: _T) -> None:
        """Send an item if there is credit for it and nobody is waiting. Never waits.

        Raises Full if there is no credit or others are waiting, otherwise what `send` raises.
        """

    async def send_async(self, item: _T, timeout: _Seconds | None = None) -> None:
        """Send an item, waiting for credit, from a coroutine.

        Works as `send`. If there is credit, the coroutine does not suspend, except that after 128 operations in a row
        other tasks of the loop get to run. If it is cancelled, nothing has been sent.
        """

    def send_many(self, items: Iterable[_T], *, timeout: _Seconds | None = None) -> int:
        """Send all of `items`, in order, and return the number of items.

        As many items as there is credit for are sent in one step, the rest as credit is granted; `timeout` bounds the
        whole call. An item is taken from an iterator only when there is credit for one, so afterwards the iterator is
        at the first item that was not sent. With `weigh`, an item that was taken and turned out to be too heavy for the
        remaining credit is in the exception's `pending`.

        Raises Full if there was no credit in time, ChannelClosed, ChannelFailed or ChannelCancelled at the end of the
        channel, ValueError for an item that is too heavy. The exception's `accepted`, also that of CancelledError, is
        the number of items that were sent.
        """

    async def send_many_async(self, items: Iterable[_T], *, timeout: _Seconds | None = None) -> int:
        """Send all of `items`, in order, from a coroutine, and return the number of items.

        Works as `send_many`. An exception that ends it early, CancelledError included, has an attribute `accepted`: the
        number of items that were sent.
        """

    def permit(self, n: int = 1, *, timeout: _Seconds | None = None) -> Permit[_T]:
        """Return a context manager that holds credit for items that do not exist yet.

        Use it as `with sender.permit(3) as permit: permit.send(x)`. The credit is taken on entry, which waits for it
        (`async with` awaits it); unused credit is given back on exit. Entering raises Full if there was no credit
        within `timeout` seconds.
        """

    @property
    def credit(self) -> float:
        """The amount that can be sent now without waiting, in items or in units of weight; `math.inf` if it is unlimited."""

    def wait_ready(self, n: int = 1, *, timeout: _Seconds | None = None) -> Literal[True]:
        """Wait until `n` could be sent, without taking credit. Another sender may use the credit first (see `permit`).

        Raises Full if there was not enough credit within `timeout` seconds, ValueError if there never can be, and what
        `send` raises at the end of the channel.
        """

    async def wait_ready_async(self, n: int = 1, *, timeout: _Seconds | None = None) -> Literal[True]:
        """Wait until `n` could be sent, without taking credit, from a coroutine. Works as `wait_ready`."""

    def complete(self) -> None:
        """Announce that this sender sends nothing more. When all clones have completed, so has the channel: receivers get
        the buffered items, then the end.

        Calling it again has no effect.
        """

    def fail(self, error: BaseException) -> None:
        """End the channel with an error: receivers get the buffered items, then exactly this exception.

        Other senders get ChannelFailed from now on. If the channel has already ended, the call has no effect. Raises
        TypeError if `error` is not an exception.
        """

    def send_control(self, message: object) -> None:
        """Send a message that needs no credit and overtakes all items; it is passed to the receiver's `credit.on_control`.

        Never waits. Raises Full if `control_capacity` messages are already waiting, and what `send` raises at the end
        of the channel.
        """

    def clone(self) -> Sender[_T]:
        """Return another sender of the same channel, which completes separately: the channel is complete when all senders
        are.
        """

    def statistics(self) -> ChannelStatistics:
        """Return a snapshot of the channel's state, counters and waiting times."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    @classmethod
    def __class_getitem__(cls, key: object) -> GenericAlias: ...
    def _try_send(self, item: _T, timeout: _Seconds | None = None) -> object: ...
    def _async_send(self, item: _T, timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_send_many(self, items: Iterable[_T], timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_wait_ready(self, n: int, timeout: _Seconds | None) -> AsyncOperation: ...
    @property
    def _weighs_length(self) -> bool: ...

@final
class Permit(Generic[_T]):
    """Credit held for items that do not exist yet, as returned by `Sender.permit`."""

    @property
    def left(self) -> int:
        """The amount of credit that is left."""

    def send(self, item: _T) -> None:
        """Send an item with the credit that is held. Never waits.

        Raises ValueError if the item weighs more than what is left, RuntimeError if the permit is not held, and what
        `Sender.send` raises when the receiver has cancelled or is gone.
        """

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...
    def _async_acquire(self) -> AsyncOperation: ...

@final
class Receiver(Generic[_R_co]):
    """The receiving end of a channel. Returned by `channel.receiver`.

    Any number of threads and tasks can use it; each item goes to one of them. Iteration (`for`, `async for`) ends
    when the channel is complete, and raises the sender's error if it failed. `with receiver:` cancels at the end of
    the block, and so does garbage collection of the receiver.
    """

    def receive(self, timeout: _Seconds | None = None) -> _R_co:
        """Receive the next item. Waits for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
        seconds.

        On an AckChannel the result is a Delivery.

        Raises Empty if there was no item in time; ChannelClosed if the channel is complete and everything has been
        received; the sender's own exception if it failed, after the items sent before; ChannelCancelled after `cancel`;
        ChannelError if an AckChannel is complete and all that is left is deliveries that the caller itself has not
        settled; ValueError, TypeError or OverflowError for an invalid `timeout`.

        Fairness: strictly first come, first served; threads and tasks share one wait queue. If an exception from a
        signal handler interrupts the call, nothing has been taken.
        """

    def receive_nowait(self) -> _R_co:
        """Receive the next item if there is one. Never waits.

        Raises Empty if there is no item, otherwise what `receive` raises.
        """

    async def receive_async(self, timeout: _Seconds | None = None) -> _R_co:
        """Receive the next item, waiting for it, from a coroutine.

        Works as `receive`. If there is an item, the coroutine does not suspend, except that after 128 operations in a
        row other tasks of the loop get to run. If it is cancelled, nothing has been taken.
        """

    def receive_many(self, max: SupportsIndex, *, timeout: _Seconds | None = None) -> list[_R_co]:
        """Receive 1 to `max` items, as a list: wait for the first item, then take what else is available.

        Raises Empty if there was no item within `timeout` seconds, and what `receive` raises at the end of the channel;
        ValueError, TypeError or OverflowError for an invalid `max` or `timeout`.
        """

    async def receive_many_async(self, max: SupportsIndex, *, timeout: _Seconds | None = None) -> list[_R_co]:
        """Receive 1 to `max` items, as a list, from a coroutine.

        Works as `receive_many`. If it is cancelled, nothing has been taken.
        """

    def subscribe(
        self,
        on_next: Callable[[_R_co], object],
        *,
        on_error: Callable[[BaseException], object] | None = None,
        on_complete: Callable[[], object] | None = None,
        on_subscribe: Callable[[Subscription], object] | None = None,
    ) -> Subscription:
        """Pass the items to `on_next`, one at a time, and return the subscription.

        `on_subscribe(subscription)` is called first, by this method. The other functions are called on the running
        event loop, or on a new thread if there is none, in the caller's context: `on_next(item)` for each item, finally
        `on_complete()` or `on_error(error)`. Calls never overlap and never nest: `request` inside `on_next` returns
        without calling it. If a function raises, the subscription ends and the exception goes to `sys.unraisablehook`.

        At its exit the program waits for a subscriber on a thread whose channel's senders have all completed or failed,
        until it has handled what is buffered. A task on an event loop ends with its loop: `await` the subscription.

        Raises RuntimeError if there is a subscriber already, or if no thread could be started (then no function has been
        called, and the receiver is free), TypeError if an argument is not callable.
        """

    def cancel(self) -> None:
        """Stop receiving. Senders and other receivers get ChannelCancelled, and buffered items go to `on_discard`.

        It can be called from anywhere, any number of times, and never raises.
        """

    @property
    def credit(self) -> Credit:
        """Manual control of the credit: `request`, `drain`, `pause` and the like."""

    @property
    def settled_through(self) -> int:
        """On an AckChannel, the sequence number below which every item is settled; otherwise the number of items received."""

    @property
    def ended(self) -> bool:
        """True once nothing more can be received."""

    def statistics(self) -> ChannelStatistics:
        """Return a snapshot of the channel's state, counters and waiting times."""

    def __iter__(self) -> Iterator[_R_co]: ...
    def __next__(self) -> _R_co: ...
    def __aiter__(self) -> AsyncIterator[_R_co]:
        """Iterate over the items until the channel is complete; raise the sender's error if it failed."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    @classmethod
    def __class_getitem__(cls, key: object) -> GenericAlias: ...
    def _next(self) -> Any: ...
    def _async_next(self) -> AsyncOperation: ...
    def _subscribe(self) -> None: ...
    def _unsubscribe(self) -> None: ...
    @staticmethod
    def _report(error: BaseException, handler: object) -> None: ...
    def _try_receive(self, timeout: _Seconds | None = None) -> Any: ...
    def _async_receive(self, timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_receive_many(self, max: SupportsIndex, timeout: _Seconds | None) -> AsyncOperation: ...

@final
class Credit:
    """Manual control of a channel's credit, as returned by `Receiver.credit`.

    `request`, `request_up_to` and `lease` are for a channel with `window=0`, where only what was requested may be
    sent. After the end of the channel none of the methods has an effect, and none raises.
    """

    def request(self, n: float) -> bool:
        """Request `n` more items (or units of weight). Requests add up; `math.inf` requests without limit.

        Returns True if the request was accepted, False if the channel has ended. Raises ValueError for less than 1,
        TypeError if `n` is not an int, RuntimeError on a channel with a window. Unused requests of 2**63 - 1 or more in
        total count as unlimited (Reactive Streams, rule 3.17).
        """

    def request_up_to(self, sequence: float) -> bool:
        """Request as much as brings the total ever granted to `sequence`. It is idempotent: a total that has been reached
        changes nothing.

        Returns whether it changed something. Raises what `request` raises.
        """

    def lease(self, n: float, ttl: _Seconds) -> bool:
        """Grant `n` for `ttl` seconds, replacing what is left of an earlier lease. Credit that is not used by then
        expires. `math.inf` grants the largest amount that can be counted.

        Returns True if the lease was accepted, False if the channel has ended or grants are held back. Raises what
        `request` raises, and ValueError, TypeError or OverflowError for an invalid `ttl`.
        """

    def drain(self) -> float:
        """Take back all unused credit and return the amount. Buffered items stay.

        A channel with a window is paused by it; `resume` grants the window again.
        """

    def pause(self) -> None:
        """Grant no more credit until `resume`. Credit already granted can be used, and buffered items can be received."""

    def resume(self) -> None:
        """Grant the credit that was held back, and continue granting."""

    def defer_to(self, sender: Sender[Any] | None) -> None:
        """Grant no credit while `sender`, the sender of the next channel in a chain, has none.

        Credit held back meanwhile is granted in one step when that sender has credit again. So a chain of channels
        stops at its source when the last receiver stops. `None` ends the deferral. Raises ValueError for a cycle,
        TypeError if the argument is not a Sender.
        """

    @property
    def on_control(self) -> Callable[[Any], object] | None:
        """The function called with each control message (see `Sender.send_control`), on the thread or loop that receives,
        before the next item.

        Without a function the messages stay queued. An exception it raises goes to `sys.unraisablehook`.
        """

    @on_control.setter
    def on_control(self, handler: Callable[[Any], object] | None) -> None: ...

@final
class Delivery(Generic[_T]):
    """An item received from an `AckChannel`, which has to be settled. Its credit is granted again when it is.

    As a context manager it is acked at the end of the block, and nacked if the block raises. An exception that only
    stops the caller (CancelledError, KeyboardInterrupt) does not count as an attempt. A delivery that is dropped
    without being settled is requeued, as after `nack()`.
    """

    @property
    def value(self) -> _T:
        """The item."""

    @property
    def attempt(self) -> int:
        """The number of times the item has been delivered, this time included; 1 for the first delivery."""

    @property
    def sequence(self) -> int:
        """The item's number, counted from 0 in the order in which items were sent."""

    def ack(self) -> None:
        """Report that the item has been processed. Calling it again has no effect.

        Raises StaleDelivery if it is too late (see `ack_wait`): the item has been delivered again or discarded.
        """

    def nack(self, requeue: bool = True, delay: _Seconds = 0.0) -> None:
        """Report that the item has not been processed. It is requeued at the head after `delay` seconds, or discarded with
        `requeue=False`.

        After `max_deliver` attempts it is discarded in any case: `on_discard` is called with it. Calling it again has
        no effect. Raises what `ack` raises; ValueError, TypeError or OverflowError for invalid arguments.
        """

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    @classmethod
    def __class_getitem__(cls, key: object) -> GenericAlias: ...

# What the package's Python is made of.

@disjoint_base
class StreamEnds(Generic[_Q_co]):
    """A context manager that `n` threads or tasks share (`with`, `async with`). When the last of them has left the
    block, the queue is shut down. A ShutDown of that queue which leaves the block is not raised further.
    """

    def __new__(cls, queue: Queue[Any], immediate: bool, n: int) -> Self: ...
    def __class_getitem__(cls, key: object) -> GenericAlias: ...
    def __enter__(self) -> _Q_co: ...
    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None) -> bool: ...
    def _missing(self) -> tuple[int, int] | None: ...

@final
class AsyncOperation:
    """An operation that has to wait, awaited on an event loop."""

    _asyncio_future_blocking: bool

    def step(self) -> Any:
        """Try the operation: return its result, or this object, which has to be awaited before the next step."""

    def __await__(self) -> Generator[Any, Any, Any]: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...
    def get_loop(self) -> AbstractEventLoop: ...
    def add_done_callback(self, resume: Callable[[AsyncOperation], object], *, context: Context) -> None:
        """Called by the task before it suspends; `resume` is the callback that resumes it."""

    def cancel(self, msg: object = None) -> bool:
        """Called when the task is cancelled. Resumes the task and returns False, so that the task throws CancelledError
        into the coroutine itself.
        """

    def result(self) -> None:
        """Called by the task when it is resumed. Returns None; the next `step` tries the operation again."""

    def abandon(self, error: BaseException) -> None:
        """End the operation without a result because the coroutine ended with `error`."""

    def _fire(self, at: int) -> None: ...

#: What `_try_put` and `_try_get` answer when it is not that easy.
WAIT: Final[object]
#: What `__class__` answers, by class.
STAND_INS: Final[dict[type, type]]
#: The classes that are written in Python and that the binary uses, by name.
CLASSES: Final[dict[str, Any]]

def _after_fork_in_child() -> None: ...

# What `batches` returns.
@type_check_only
class _Batches(Generic[_T]):
    def __iter__(self) -> Self: ...
    def __next__(self) -> list[_T]: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> list[_T]: ...

# What is left of the standard library's conditions.
@type_check_only
class _Condition:
    def __enter__(self) -> bool: ...
    def __exit__(self, *_exc: object) -> None: ...
    def wait(self, timeout: _Seconds | None = None) -> bool: ...

# What the `reserve` of one limiter returns, and that of several. (`Self` in a final class is that class.)
@type_check_only
class _Reservation(Reservation):  # pyright: ignore[reportGeneralTypeIssues]  # a Reservation at run time
    @property
    def n(self) -> float: ...
    def settle(self, actual: float) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
    def cancel(self) -> float: ...
    def __enter__(self) -> Self: ...
    async def __aenter__(self) -> Self: ...

@type_check_only
class _ReservationByName(Reservation):  # pyright: ignore[reportGeneralTypeIssues]  # a Reservation at run time
    @property
    def n(self) -> dict[str, float]: ...
    def settle(self, **actual: float) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
    def cancel(self) -> dict[str, float]: ...
    def __enter__(self) -> Self: ...
    async def __aenter__(self) -> Self: ...

# Semaphores.

@disjoint_base
class Semaphore:
    """A number of permits that threads and coroutines acquire and release: `threading.Semaphore` that can also be
    awaited.

    `value` is the number of permits, and `resize` changes it. `acquire`, `release` and `with` are those of
    `threading.Semaphore`; `async_semaphore` is the same semaphore with exactly the interface of
    `asyncio.Semaphore`. A request can be for several permits at once. As in the standard library, releasing more
    permits than were acquired increases their number.

    Fairness: strictly first come, first served; threads and tasks share one wait queue, and nobody overtakes a
    request for many permits.

    Raises ValueError, TypeError or OverflowError for invalid arguments.
    """

    def __new__(cls, value: int = 1, *, clock: Clock | None = None, name: str | None = None) -> Self: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""

    @property
    def size(self) -> int:
        """The total number of permits, held or free."""

    @property
    def value(self) -> int:
        """The number of free permits, not counting those on their way to a waiter. It is the counter of
        `threading.Semaphore`.
        """

    @property
    def async_semaphore(self) -> AsyncSemaphoreView:
        """This semaphore with exactly the interface of `asyncio.Semaphore`."""

    def acquire(self, blocking: bool = True, timeout: _Seconds | None = None, n: int = 1) -> bool:
        """Acquire `n` permits, waiting until they are free, and return True.

        Return False if the permits are not free and `blocking` is false, or if they did not become free within
        `timeout` seconds. A timeout of zero or less does not wait.

        Raises ValueError if `n` is more than one and more than the total number of permits, or if `blocking` is false
        and `timeout` is given; ValueError, TypeError or OverflowError for an invalid argument.

        Fairness: strictly first come, first served; threads and tasks share one wait queue, and nobody overtakes a
        request for many permits. If an exception from a signal handler interrupts the wait, nothing has been acquired,
        and later waiters move up.
        """

    async def acquire_async(self, n: int = 1, *, timeout: _Seconds | None = None) -> bool:
        """Acquire `n` permits, waiting until they are free, from a coroutine, and return True.

        Return False if they did not become free within `timeout` seconds. If the permits are free, the coroutine does
        not suspend, except that after 128 operations in a row other tasks of the loop get to run.

        Raises ValueError if `n` is more than one and more than the total number of permits; ValueError, TypeError or
        OverflowError for an invalid argument.

        Fairness: strictly first come, first served; threads and tasks share one wait queue. If it is cancelled, nothing
        has been acquired, and later waiters move up.
        """

    def try_acquire(self, n: int = 1) -> bool:
        """Acquire `n` permits if they are free and nobody is waiting. Return whether they were acquired. Never waits.

        Raises ValueError if `n` is more than one and more than the total number of permits; ValueError, TypeError or
        OverflowError for an invalid `n`.
        """

    def release(self, n: int = 1) -> None:
        """Release `n` permits and wake waiters, in order of arrival.

        Releasing more permits than are held increases their number; a bounded semaphore raises ValueError instead, with
        nothing changed. Raises ValueError, TypeError or OverflowError for an invalid `n`.
        """

    def permit(self, n: int = 1, *, timeout: _Seconds | None = None) -> SemaphorePermit:
        """Return a context manager (`with`, `async with`) that holds `n` permits while its block runs.

        The permits are acquired on entry, waiting at most `timeout` seconds if that is given, and released on exit. A
        permit object that is dropped while it is held releases its permits, with a ResourceWarning.

        Entering raises Overloaded if the permits were not free in time, ValueError if `n` is more than one and more
        than the total number. Raises ValueError, TypeError or OverflowError for an invalid argument.
        """

    def locked(self) -> bool:
        """Return True if a permit cannot be acquired immediately."""

    def resize(self, value: int) -> None:
        """Change the total number of permits, from now on.

        A larger number wakes waiters. With a smaller number, permits that are held stay held, and none is granted until
        enough have been released. A waiter for more than one permit and more than the new total gets ValueError.

        Raises ValueError, TypeError or OverflowError for an invalid `value`, with nothing changed.
        """

    def statistics(self) -> SemaphoreStatistics:
        """Return a snapshot of the semaphore's permits, counters and waiting times."""

    def __enter__(self, blocking: bool = True, timeout: _Seconds | None = None, n: int = 1) -> bool: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> bool:
        """Acquire a permit, waiting until it is free, from a coroutine."""

    async def __aexit__(self, *_exc: object) -> None:
        """Release a permit."""

    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _try_acquire(self, n: int, timeout: _Seconds | None) -> object: ...
    def _async_acquire(self, n: int, timeout: _Seconds | None) -> AsyncOperation: ...

@disjoint_base
class BoundedSemaphore(Semaphore):
    """A semaphore that raises ValueError when more permits are released than are held, as `threading.BoundedSemaphore`
    does.
    """

    def __new__(cls, value: int = 1, *, clock: Clock | None = None, name: str | None = None) -> Self: ...

@final
class SemaphorePermit:
    """Permits held while a block runs, as returned by `Semaphore.permit`."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_exc: object) -> None: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _async_acquire(self) -> AsyncOperation: ...

@disjoint_base
class KeyedSemaphore:
    """A semaphore of `value` permits for each of very many keys (hosts, users, tenants); only the keys in use take
    memory.

    Each key has permits and a wait queue of its own, so waiting for one key delays no other key. Keys are str,
    bytes, int, UUID, IP addresses, and tuples of those; only a keyed 128-bit hash of each is stored. `key(k)`
    returns a light handle with the whole interface of a semaphore; the methods of this class are the handle's, with
    the key as the first argument.

    An idle key is forgotten, and a key whose permits are held or waited for never is. Permits of at most `max_keys`
    keys can be held at the same time: a request for a further key waits until another key is idle, and
    `try_acquire` for it returns False.

    Fairness: strictly first come, first served within each key; keys that wait for another to become idle are
    served in the order of their first waiters.

    Raises ValueError, TypeError or OverflowError for invalid arguments.
    """

    def __new__(cls, value: int, *, max_keys: SupportsIndex, clock: Clock | None = None, name: str | None = None) -> Self: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""

    @property
    def size(self) -> int:
        """The number of permits of each key."""

    @property
    def max_keys(self) -> int:
        """The largest number of keys whose permits can be held at the same time."""

    def key(self, key: _Key) -> SemaphoreKey:
        """Return the semaphore of one key, as a light handle with the whole interface of a bounded semaphore except
        `resize`.

        Raises TypeError for a key of an unsupported type.
        """

    def acquire(self, key: _Key, blocking: bool = True, timeout: _Seconds | None = None, n: int = 1) -> bool:
        """Acquire `n` permits of the key, waiting until free, and return True. Works as `Semaphore.acquire`."""

    async def acquire_async(self, key: _Key, n: int = 1, *, timeout: _Seconds | None = None) -> bool:
        """Acquire `n` permits of the key, waiting until free, from a coroutine. Works as `Semaphore.acquire_async`."""

    def try_acquire(self, key: _Key, n: int = 1) -> bool:
        """Acquire `n` permits of the key if they are free and nobody is waiting. Works as `Semaphore.try_acquire`."""

    def release(self, key: _Key, n: int = 1) -> None:
        """Release `n` permits of the key. Raises ValueError if fewer are held. Works as `Semaphore.release`."""

    def permit(self, key: _Key, n: int = 1, *, timeout: _Seconds | None = None) -> SemaphorePermit:
        """Return a context manager that holds `n` permits of the key while its block runs. Works as `Semaphore.permit`."""

    def statistics(self) -> KeyedSemaphoreStatistics:
        """Return a snapshot of the permits, counters and waiting times of all keys together."""

    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...

@final
class SemaphoreKey(Semaphore):
    """The semaphore of one key, as returned by `KeyedSemaphore.key`. A light handle: the `KeyedSemaphore` holds the
    permits.
    """

    def __new__(cls, *_args: object, **_kwargs: object) -> NoReturn: ...

# Behind `sluicegate.io`; not there in a build without the feature `tokio`.

@final
class Transfer:
    """A transfer between a file or socket and a channel, as returned by `read_lines`, `read_chunks` and `write_from`.

    It runs from the moment it is created. `await` it, or call `result`, to wait for its completion; cancelling the
    `await` stops the transfer.
    """

    def result(self, timeout: _Seconds | None = None) -> int:
        """Wait until the transfer has ended, and return the number of items (lines) or bytes.

        Raises the error that ended it, TimeoutError if it did not end within `timeout` seconds, and
        concurrent.futures.CancelledError after `cancel`.
        """

    def exception(self, timeout: _Seconds | None = None) -> BaseException | None:
        """Wait until the transfer has ended, and return the exception that ended it, or None if it was successful.

        Raises TimeoutError if it did not end within `timeout` seconds, and concurrent.futures.CancelledError after
        `cancel`.
        """

    async def result_async(self) -> int:
        """Wait until the transfer has ended, from a coroutine, and return the number of items (lines) or bytes.

        The same as `await transfer`, as a coroutine function: `group.create_task(transfer.result_async())`.
        """

    def add_done_callback(self, callback: Callable[[Self], object], *, context: Context | None = None) -> None:
        """Have the running event loop call `callback(transfer)` once the transfer has ended, or stopped after `cancel`.

        Together with `remove_done_callback`, `done` and `exception` this is what `asyncio.wait` needs.

        Raises RuntimeError if no event loop is running.
        """

    def remove_done_callback(self, callback: Callable[[Self], object]) -> int:
        """Remove all instances of `callback`, and return how many there were."""

    def cancel(self) -> None:
        """Stop at the end of an item: after this call no further item is delivered (by `write_from`: received). The
        channel and the source stay open, and `resume` continues where the transfer stopped.

        It can be called from anywhere, any number of times, and never raises.
        """

    def resume(self) -> Self:
        """Continue after `cancel` with exactly the rest. Returns the transfer, so that `await transfer.resume()` works."""

    def done(self) -> bool:
        """Return True if the transfer is not running: it has ended, or it has stopped after `cancel`."""

    def cancelled(self) -> bool:
        """Return True if the transfer has stopped, or is about to stop, after `cancel`."""

    @property
    def items(self) -> int:
        """The number of items delivered or written."""

    @property
    def bytes(self) -> int:
        """The number of bytes of the source that were delivered, line ends included, or the number of bytes written."""

    def __await__(self) -> Generator[Any, None, int]:
        """Wait until the transfer has ended, and return the number of items (lines) or bytes.

        Raises the error that ended it. If it is cancelled while it waits, the transfer stops as after `cancel`, and
        `resume` continues it.
        """

    def _completion(self) -> Future[None]: ...
    def _outcome(self) -> int | None: ...

def _read_lines(
    source: object, sender: Sender[Any], encoding: str | None, errors: str, keep_ends: bool, limit: int, complete: bool
) -> Transfer: ...
def _read_chunks(source: object, sender: Sender[Any], chunk_size: int, complete: bool) -> Transfer: ...
def _write_from(receiver: Receiver[Any], target: object, append: bool) -> Transfer: ...
def _io_close() -> None: ...
