# ruff: noqa: D205 (the docstrings are the binary's, whatever they look like)
import queue
from asyncio import AbstractEventLoop, Future, ReadTransport
from collections.abc import AsyncIterator, Callable, Generator, Hashable, Iterable, Iterator, Mapping
from contextvars import Context, ContextVar
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address
from types import GenericAlias, MappingProxyType, TracebackType
from typing import Any, ClassVar, Final, Generic, Literal, NoReturn, SupportsIndex, TypeAlias, TypeVar, final, overload, type_check_only
from uuid import UUID

from _typeshed import SupportsRichComparison
from typing_extensions import Self, disjoint_base

from sluicegate._conditions import QueueCondition
from sluicegate._queues import Consumers, Producers
from sluicegate._select import Ready
from sluicegate._semaphores import AsyncSemaphoreView
from sluicegate._statistics import (
    BreakerStatistics,
    BroadcastStatistics,
    ChannelStatistics,
    ConcurrencyStatistics,
    KeyedBreakerStatistics,
    KeyedRateStatistics,
    KeyedSemaphoreStatistics,
    LatestStatistics,
    QueueStatistics,
    RateStatistics,
    RetryBudgetStatistics,
    SemaphoreStatistics,
    SubscriberStatistics,
)
from sluicegate._subscriptions import Subscription
from sluicegate._views import AsyncQueueView, SyncQueueView
from sluicegate._working import Working

_T = TypeVar("_T")
_OrderedT = TypeVar("_OrderedT", bound=SupportsRichComparison)
_T_co = TypeVar("_T_co", covariant=True)
_Q_co = TypeVar("_Q_co", covariant=True)
_R_co = TypeVar("_R_co", covariant=True)
_S_contra = TypeVar("_S_contra", contravariant=True)
_Lane = TypeVar("_Lane", bound=Hashable)
_Default = TypeVar("_Default")
_F = TypeVar("_F", bound=Callable[..., Any])

# A time is a number of seconds or a timedelta.
_Seconds: TypeAlias = float | timedelta
_Reason: TypeAlias = Literal["poison", "rejected", "cancelled"]

# Amounts of a set by name: of a set in it a number, or amounts by name.
_Amounts: TypeAlias = Mapping[str, _Amount]
_Amount: TypeAlias = float | Mapping[str, _Amount]

# What `cost` of a decorator is: a value, or a function of the arguments of each call.
_CostT = TypeVar("_CostT")
_Of: TypeAlias = _CostT | Callable[..., _CostT]

# Which exceptions a breaker means: classes, or a function of an exception.
_Errors: TypeAlias = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], object]
_BreakerState: TypeAlias = Literal["closed", "open", "half_open", "forced_open", "disabled"]

# What keyed limiters take for a key. (Not bool, which type checkers take for an int.)
_Key: TypeAlias = str | bytes | int | UUID | IPv4Address | IPv6Address | tuple[_Key, ...]

__all__ = [
    "CLASSES",
    "LONGEST_RETRY_AFTER",
    "STAND_INS",
    "WAIT",
    "AckChannel",
    "AdaptiveConcurrency",
    "AdaptiveLifo",
    "AsyncOperation",
    "BoundedSemaphore",
    "BreakerKey",
    "Broadcast",
    "Channel",
    "CircuitBreaker",
    "CircuitPermit",
    "Clock",
    "CoDel",
    "CoalescingQueue",
    "ConcurrencyPermit",
    "Credit",
    "CreditChannel",
    "CubicRate",
    "Delivery",
    "FairQueue",
    "KeyedBreaker",
    "KeyedLeakyBucket",
    "KeyedLimiter",
    "KeyedSemaphore",
    "KeyedSlidingWindow",
    "KeyedTokenBucket",
    "Latest",
    "LatestTicks",
    "LeakyBucket",
    "LeakyBucketKey",
    "LifoQueue",
    "ManualClock",
    "Offered",
    "Permit",
    "Pressure",
    "PressureListener",
    "PriorityQueue",
    "Queue",
    "QueueMutex",
    "RateLimiter",
    "RateLimits",
    "RatePermit",
    "Receiver",
    "Reservation",
    "RetryBudget",
    "Sample",
    "Selectable",
    "Semaphore",
    "SemaphoreKey",
    "SemaphorePermit",
    "Sender",
    "SimpleQueue",
    "SlidingWindow",
    "SlidingWindowKey",
    "StreamEnds",
    "Subscriber",
    "TokenBucket",
    "TokenBucketKey",
    "Transfer",
    "UnlimitedRate",
    "ZeroRate",
    "_FirstAttempts",
    "_LayerAttempts",
    "__version__",
    "_after_fork_in_child",
    "_async_select",
    "_clock",
    "_duration",
    "_io_close",
    "_is_plain_rate",
    "_leaves",
    "_raise_again",
    "_read_chunks",
    "_read_lines",
    "_refuse_coroutine_function",
    "_write_from",
    "select",
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
        timeout. An operation that the clock has woken does not count, even before its thread or task has run.
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

        Raises TimeoutError after `timeout` seconds. On an event loop's thread it warns, since the tasks of that loop cannot come to
        where they wait meanwhile: use `wait_for_waiters_async` there.
        """

    async def wait_for_waiters_async(self, n: int, timeout: _Seconds = 5.0) -> None:
        """Let this loop run, in real time, until at least `n` operations are waiting on objects with this clock.

        Raises TimeoutError after `timeout` seconds.
        """

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...

_Overflow: TypeAlias = Literal["block", "reject", "drop_oldest", "drop_newest", "drop_lowest"] | Sample

@final
class Sample:
    """An overflow policy: of the items that find a queue full, one in `n` is put in the place of the oldest, and the others are dropped.

    In a PriorityQueue, which does not know which item is the oldest, it takes the place of the least urgent one. Raises
    ValueError for an `n` below 1, TypeError for one that is not an integer.
    """

    def __new__(cls, n: SupportsIndex) -> Self: ...
    @property
    def n(self) -> int:
        """One in this many items is put."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class CoDel:
    """A rule by which a queue drops items that have waited too long: CoDel, Controlled Delay (RFC 8289).

    If every item taken in the course of `interval` seconds has waited for `target` seconds or longer, items are dropped instead of being
    delivered: one, the next after `interval`, then `interval / sqrt(2)` later, and so on, until an item has waited for less. The
    last item in a queue is never dropped. The constants are the RFC's. It is for senders that slow down when their items are
    dropped; senders that do not react need `AdaptiveLifo`, a `ttl` or a smaller queue. Raises ValueError for a time that is not
    positive, or a target above the interval.
    """

    def __new__(cls, target: _Seconds = 0.005, interval: _Seconds = 0.1) -> Self: ...
    @property
    def target(self) -> float:
        """How long an item may wait, in seconds."""

    @property
    def interval(self) -> float:
        """For how long that is looked at, in seconds."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class AdaptiveLifo:
    """A rule by which a queue drops items that have waited too long: adaptive LIFO with short timeouts, as in B. Maurer, "Fail at Scale",
    ACM Queue 13(8), 2015.

    While the queue has been empty within the last `interval` seconds, items leave in order and may wait for `interval`
    seconds. A queue that has not been empty for so long gives the newest item first, and an item that comes then may wait
    for `target` seconds only. The constants are the article's. Raises ValueError for a time that is not positive, or a target
    above the interval.
    """

    def __new__(cls, target: _Seconds = 0.005, interval: _Seconds = 0.1) -> Self: ...
    @property
    def target(self) -> float:
        """How long an item may wait, in seconds."""

    @property
    def interval(self) -> float:
        """For how long that is looked at, in seconds."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Offered(Generic[_T_co]):
    """What `offer` returns: whether the item was put, and which items were dropped for it. Its truth value is `accepted`."""

    @property
    def accepted(self) -> bool:
        """Whether the item is in the queue."""

    @property
    def displaced(self) -> tuple[_T_co, ...]:
        """The items that had been in the queue and were dropped to make room."""

    @property
    def reason(self) -> str | None:
        """Why an item was dropped ("oldest", "newest", "lowest", "sampled", or "expired" if its own `ttl` had passed), "full" if the item
        was refused, else None.
        """

    def __bool__(self) -> bool: ...
    def __class_getitem__(cls, key: object) -> GenericAlias: ...

@final
class PressureListener:
    """Somebody who is told of crossings: what `on_change` and `drive` return. Closing it ends that; so does leaving a `with` block."""
    def close(self) -> None:
        """End it. A source that `drive` has paused is resumed. If another thread is in the middle of a call, that call is the last one, and
        the source is resumed after it. Closing it again has no effect.
        """
    @property
    def is_closed(self) -> bool:
        """Whether it has been closed."""
    def __enter__(self) -> Self: ...
    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None, /) -> None: ...

@final
class Pressure:
    """How full a queue is: what `Queue.pressure` returns. It cannot be instantiated.

    A queue that is made with `high` has two marks. It is *high* from when it is filled to `high` until it is filled to `low` only, so
    that a source is not stopped and started for every item.
    """
    @property
    def level(self) -> float:
        """How full the queue is at this moment, from 0.0 to 1.0: by the number of items or by their weight, whichever is fuller. Without
        a bound it is 0.0. A queue without marks has it too.
        """
    @property
    def high(self) -> bool:
        """Whether the queue has been filled to the high mark, and not emptied to the low one since."""
    def on_change(self, callback: Callable[[bool], object]) -> PressureListener:
        """Call `callback(high)` at every crossing of a mark: with True when the queue has become high, with False when it has become low.
        Return a `PressureListener`, whose `close()` ends that.

        Crossings alternate, and a listener is called once for each, in their order, in the thread that caused it. If that happens
        while another thread is in the middle of a call of this listener, the other thread makes this call too, right after its own.
        It is called outside every lock, after the operation has happened, so it may use the queue; a crossing that it causes itself
        is told when it has returned. It should be short: the operation returns after it. What it raises goes to
        `sys.unraisablehook`.

        Raises TypeError if `callback` cannot be called or is a coroutine function, RuntimeError if the queue has no marks.
        """
    def drive(self, pause: Callable[[], object], resume: Callable[[], object]) -> PressureListener:
        """Call `pause()` when the queue becomes high and `resume()` when it becomes low again, for a source that can only be
        stopped and started. If it is high now, `pause()` is called at once. Return a `PressureListener`, whose `close()` ends that, and
        resumes a source that is paused.

        The two are called in turn, as `on_change` calls its callback; if several crossings have happened before there is time for a
        call, only the last one counts. Raises TypeError if one of them cannot be called or is a coroutine function, RuntimeError if the
        queue has no marks.
        """
    def drive_transport(self, transport: ReadTransport, *, loop: AbstractEventLoop | None = None) -> PressureListener:
        """Pause the reading of an asyncio transport while the queue is high: call it in `connection_made` of a Protocol.

        `pause_reading` and `resume_reading` of the transport are called on the thread of its loop, whichever threads fill and empty
        the queue. A put on that thread, in `data_received`, pauses it before it returns. So what one transport brings into the queue
        exceeds the high mark by less than one read; while it is paused, the buffers of the operating system fill, and the sender is
        stopped by TCP.

        `loop` is the transport's event loop; without it, the one that runs. Return a `PressureListener`, whose `close()` ends that and
        resumes the transport; it ends by itself, at the next crossing, when the transport is closing. Raises RuntimeError if the
        queue has no marks, or if there is no loop; TypeError for what is no transport that can be read from, or no loop.
        """
    def wait_low(self, timeout: _Seconds | None = None) -> None:
        """Wait until the queue is low. Return at once if it is not high.

        Raises TimeoutError if it is still high after `timeout` seconds, ShutDown if it is high and has been shut down (waiters
        are woken then), RuntimeError if the queue has no marks, ValueError, TypeError or OverflowError for an invalid `timeout`.

        Fairness: all waiters, threads and tasks, are woken at the next crossing, in order of arrival. It may be high again by the
        time that they run.
        """
    async def wait_low_async(self, timeout: _Seconds | None = None) -> None:
        """Wait until the queue is low, from a coroutine. Return at once if it is not high.

        Raises what `wait_low` raises. Fairness: as `wait_low`; threads and tasks share one wait queue.
        """
    def _watch(self, look: Callable[[], object]) -> PressureListener: ...
    def _async_wait_low(self, timeout: _Seconds | None = None) -> AsyncOperation: ...

# `isinstance(q, queue.Queue)` holds, so an annotation `queue.Queue[int]` takes one of ours too.
@disjoint_base
class Queue(queue.Queue[_T]):
    """A bounded first-in, first-out queue for threads and asyncio."""

    def __init__(
        self,
        maxsize: int = 0,
        *,
        overflow: _Overflow = "block",
        on_drop: Callable[[_T, str], object] | None = None,
        weigh: Callable[[_T], int] | None = None,
        max_weight: int | None = None,
        shed: CoDel | AdaptiveLifo | None = None,
        track_latency: bool = False,
        high: float | None = None,
        low: float | None = None,
        name: str | None = None,
        clock: Clock | None = None,
    ) -> None: ...

    # What queue.Queue has.

    @property
    def maxsize(self) -> int:
        """The largest number of items in the queue; zero or less means no bound. It can be assigned: a larger bound wakes
        waiting putters. Of a FairQueue it has to be greater than the number of reserved places.
        """

    @maxsize.setter
    def maxsize(self, maxsize: int) -> None: ...  # pyright: ignore[reportIncompatibleVariableOverride]
    @property
    def overflow(self) -> _Overflow:
        """What happens to an item that finds the queue full: "block", "reject", "drop_oldest", "drop_newest", "drop_lowest" (of a
        PriorityQueue) or a `Sample`. It can be assigned; the new policy applies to waiting putters too.
        """

    @overflow.setter
    def overflow(self, overflow: _Overflow) -> None: ...
    @property
    def max_weight(self) -> int | None:
        """What the items in the queue may weigh together, or None without `weigh`. It can be assigned: a larger bound wakes waiting
        putters; with a smaller one, putters that wait with an item that is heavier get ValueError. Items in the queue stay.
        """
    @max_weight.setter
    def max_weight(self, max_weight: int) -> None: ...
    @property
    def pressure(self) -> Pressure:
        """How full the queue is, whether that is above its marks, and how to hear of it: see `Pressure`."""
    @property
    def on_drop(self) -> Callable[[_T, str], object] | None:
        """The function that is called with every dropped item and the reason, or None."""

    def offer(self, item: _T, *, ttl: _Seconds | None = None) -> Offered[_T]:
        """Put an item if there is room for it, or if the overflow policy makes room, without waiting and in one step. Return what became of
        it: an `Offered`, which is true if the item is in the queue.

        With `overflow="block"` or `"reject"` an item that finds no room is refused, with the reason "full". What is dropped by the other
        policies, or because its `ttl` has passed, is reported to `on_drop` as well. `ttl` is that of `put`. Raises ShutDown if the
        queue has been shut down.

        Fairness: as `put_nowait` it does not use the wait queue, so it takes free room even while other putters are waiting.
        """

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
    def mutex(self) -> QueueMutex:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The lock that makes several steps one: see `QueueMutex`."""

    @property
    def not_empty(self) -> QueueCondition:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The condition that is notified when an item has been put. It shares `mutex`."""

    @property
    def not_full(self) -> QueueCondition:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The condition that is notified when an item has been taken. It shares `mutex`."""

    @property
    def all_tasks_done(self) -> QueueCondition:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The condition that is notified when no task is unfinished. It shares `mutex`."""

    def put(self, item: _T, block: bool = True, timeout: _Seconds | None = None, *, ttl: _Seconds | None = None) -> None:
        """Put an item into the queue.

        If the queue is full, wait for room: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.
        With `block=False` the call does not wait, and `timeout` is ignored.

        With `ttl` the item expires after that many seconds, the wait for room included: it is then dropped instead of being
        delivered, with the reason "expired". If that time passes before there is room, the call raises Full. A `ttl` of a second
        or more may be counted from the system's last tick: the item expires up to 10 milliseconds early, and never late.

        Raises Full if there was no room (in time), ShutDown if the queue has been shut down, ValueError for a negative
        or NaN timeout or for a `ttl` that is not positive.

        Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If an exception from a
        signal handler interrupts the wait, nothing has been put.
        """

    def get(self, block: bool = True, timeout: _Seconds | None = None) -> _T:
        """Remove and return the next item.

        If the queue is empty, wait for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
        seconds. With `block=False` the call does not wait, and `timeout` is ignored.

        Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is empty, ValueError
        for a negative or NaN timeout.

        Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If an exception from a
        signal handler interrupts the wait, nothing has been taken.
        """

    def put_nowait(self, item: _T, *, ttl: _Seconds | None = None) -> None:
        """Put an item without waiting. Raises Full if there is no room, ShutDown if the queue has been shut down.

        It does not use the wait queue: if there is room, it takes the room even while other putters are waiting. `ttl` is that
        of `put`.
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
        """Return True if the queue holds `maxsize` items at this moment, or items that weigh `max_weight` together; always False if there
        is neither bound. Where items weigh something, one may find no room although the queue is not full.
        """

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

    def _start_work(self) -> int: ...
    def _stop_work(self, worker: int) -> None: ...
    def _end_of_iteration(self) -> None: ...
    def _tasks_done(self, count: int) -> None: ...
    def _init(self, maxsize: int) -> None: ...
    def _qsize(self) -> int: ...
    def _put(self, item: _T) -> None: ...
    def _get(self) -> _T: ...

    # What it has not.

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""

    def put_many(self, items: Iterable[_T], block: bool = True, timeout: _Seconds | None = None) -> int:
        """Put all of `items`, in order, and return the number of items.

        If a list or tuple fits, it is put in one step. Otherwise items are put in chunks as room appears, with no other
        putter's items between them, waiting for room as `put` does. An item is taken from an iterator only when there
        is room for it, so afterwards the iterator is at the first item that was not put.

        Raises Full, ShutDown, or the exception of a signal handler or of the iterable, each with an attribute
        `accepted`: the number of items that were put.
        """

    def get_many(
        self,
        max: SupportsIndex,
        block: bool = True,
        timeout: _Seconds | None = None,
        *,
        linger: _Seconds = 0.0,
        max_weight: SupportsIndex | None = None,
    ) -> list[_T]:
        """Remove and return 1 to `max` items, as a list.

        Waits for the first item as `get` does. With `linger` it then waits up to that many seconds for more items:
        until `max` are there, the queue is full, a putter is waiting, or the queue is shut down. Meanwhile it keeps its
        position in the wait queue and has taken nothing.

        With `max_weight` the list ends before the item that would make it heavier than that, as `weigh` of the queue has
        weighed it; an item that is heavier than that alone comes in a list of its own. `linger` then also ends when the
        items in the queue weigh `max_weight` together.

        Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is empty, ValueError,
        TypeError or OverflowError for an invalid `max`, `max_weight`, `timeout` or `linger`, and ValueError for
        `max_weight` if the queue was made without `weigh`.
        """

    def clear(self) -> int:
        """Remove all items from the queue, in one step, and return their number.

        Each removed item counts as a finished task.
        """

    def peek(self) -> _T:
        """Return the item that `get` would return next, without removing it. With `shed=AdaptiveLifo()` that is the oldest item, also
        while `get` returns the newest.

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

        The queue should have no bound: if all workers wait for room in it at once, nobody takes items. The last of them then
        gets a RuntimeError from its `put`, and so do the others as each of them leaves.
        """

    @property
    def async_q(self) -> AsyncQueueView[_T]:
        """This queue with exactly the interface of `asyncio.Queue`."""

    @property
    def sync_q(self) -> SyncQueueView[_T]:
        """This queue with exactly the interface of `queue.Queue`."""

    def getting(self) -> Selectable[_T]:
        """Return the operation `get` for `select`, which then removes and returns the next item."""
    def putting(self, item: _T) -> Selectable[None]:
        """Return the operation `put(item)` for `select`, which then puts the item and returns None."""
    async def put_async(self, item: _T, timeout: _Seconds | None = None, ttl: _Seconds | None = None) -> None:
        """Put an item into the queue, from a coroutine.

        If the queue is full, wait for room: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.
        If there is room, the coroutine does not suspend, except that after 128 operations in a row other tasks of the
        loop get to run. `ttl` is that of `put`.

        Raises Full if there was no room in time, ShutDown if the queue has been shut down, ValueError, TypeError or
        OverflowError for an invalid `timeout` or `ttl`.

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

    async def get_many_async(
        self, max: SupportsIndex, *, timeout: _Seconds | None = None, linger: _Seconds = 0.0, max_weight: SupportsIndex | None = None
    ) -> list[_T]:
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
    def batches(self, max: SupportsIndex, *, max_weight: SupportsIndex | None = None, linger: _Seconds = 0.0) -> _Batches[_T]:
        """Return an iterator, for `for` and `async for`, over lists of 1 to `max` items.

        Each list is what `get_many(max, linger=linger, max_weight=max_weight)` returns: with `linger` the first item of a
        list waits up to that many seconds for more, and with `max_weight` a list ends before the item that would make it
        heavier. The iteration ends as that over the single items does; what is in the queue at the shutdown still comes, in
        lists that do not linger.

        Raises ValueError, TypeError or OverflowError for an invalid `max`, `max_weight` or `linger`, and ValueError for
        `max_weight` if the queue was made without `weigh`.
        """

    def _check_batch(self, max: SupportsIndex, linger: _Seconds, max_weight: SupportsIndex | None = None) -> None: ...
    def __aiter__(self) -> AsyncIterator[_T]:
        """Iterate over the items until the queue has been shut down and is empty."""
    def __bool__(self) -> Literal[True]: ...
    def __sizeof__(self) -> int: ...
    __contains__: ClassVar[None]
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _try_put(self, item: _T, timeout: _Seconds | None, ttl: _Seconds | None) -> object: ...
    def _put_only(self, item: _T, block: bool = True, timeout: float | None = None) -> None: ...
    def _put_nowait_only(self, item: _T) -> None: ...
    def _try_get(self, timeout: _Seconds | None) -> Any: ...
    def _listen(self, listener: Callable[[_T], object]) -> None: ...
    def _async_put(self, item: _T, timeout: _Seconds | None, ttl: _Seconds | None = None) -> AsyncOperation: ...
    def _async_get(self, timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_put_many(self, items: Iterable[_T], timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_get_many(
        self, max: SupportsIndex, timeout: _Seconds | None, linger: _Seconds, max_weight: SupportsIndex | None = None
    ) -> AsyncOperation: ...
    def _async_join(self, timeout: _Seconds | None) -> AsyncOperation: ...
    def _wait_to_be_notified(self, side: str, timeout: _Seconds | None) -> bool: ...
    def _replace_wait(self, side: str, replaced: bool) -> None: ...
    def _notify(self, side: str, count: int) -> None: ...

@disjoint_base
class LifoQueue(Queue[_T], queue.LifoQueue[_T]):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A last-in, first-out queue."""

@disjoint_base
class PriorityQueue(Queue[_OrderedT], queue.PriorityQueue[_OrderedT]):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A queue that returns the smallest item first, in exactly the order of `heapq`."""

@disjoint_base
class CoalescingQueue(Queue[_T]):
    """A first-in, first-out queue with at most one item for each key: an item whose key waits already is merged into the
    one that waits.

    `key(item)` is called once for each item and returns its key: a str, bytes, int, UUID, IP address, or a tuple of
    those; only a keyed 128-bit hash of it is kept, and nothing of a key that does not wait. `merge(old, new)` returns
    what takes the place of the two; without it the newer item replaces the older one. A merged item keeps the place of
    the first one, needs no room, also in a full queue, and counts as finished at once.

    While `merge` runs nobody else takes, puts or merges an item, so it may change the old item in place; it should be
    short. Called from inside it, `put` works and `get` raises RuntimeError.

    Raises TypeError if `key` or `merge` cannot be called, or if a subclass overrides `_init`, `_qsize`, `_put` or `_get`.
    """

    def __init__(
        self,
        maxsize: int = 0,
        *,
        key: Callable[[_T], _Key],
        merge: Callable[[_T, _T], _T] | None = None,
        overflow: _Overflow = "block",
        on_drop: Callable[[_T, str], object] | None = None,
        high: float | None = None,
        low: float | None = None,
        name: str | None = None,
        clock: Clock | None = None,
    ) -> None: ...

@disjoint_base
class FairQueue(Queue[_T]):
    """A bounded queue in which every key (a tenant, a user, a connection) gets its share: for threads and asyncio.

    Each item has a key: the one that `put` is given, else `key(item)`. It is a str, bytes, int, UUID, IP address, or a
    tuple of those; only a keyed 128-bit hash of it is kept, and nothing of a key that has no items and no waiters. Items
    come out by self-clocked fair queueing (Golestani, 1994): of keys that always have items, each gives items in
    proportion to its weight, give or take one, and a key that had none waits, in relation to its weight, for at most one
    item of each other key. With `weigh` the shares are shares of what the items weigh, give or take the heaviest one, and
    an item that weighs nothing counts as 1. `weights` maps keys to their weights; every other key's is 1.

    `per_key` bounds the items of each key. `reserved` maps keys to numbers of places, out of `maxsize`, that nobody else
    uses. A putter that finds no room waits in the wait queue of its key. Room goes to a key with free reserved places
    first, and else to the keys in proportion to their weights.

    Within a key items come out in the order in which they were put, or with `within="priority"` by the `priority` that
    `put` is given, the lowest first. Each step of priority is worth `aging` seconds of waiting, so an item that is less
    urgent is delayed, and not starved.

    A policy that drops items takes them from the key that holds most for its weight, the new item's own included:
    "drop_oldest" its oldest item, "drop_newest" its newest, "drop_lowest" (of `within="priority"`) its least urgent one.

    `weigh`, `max_weight`, `track_latency` and `ttl` are those of a `Queue`. The bound on weight is common to all keys, and
    with it the key that holds most is the one whose items weigh most. `shed=CoDel(...)` has a state for each key, as in
    RFC 8290, which is forgotten with the key's last item.

    Raises TypeError or ValueError for an invalid argument, TypeError if a subclass overrides `_init`, `_qsize`, `_put` or
    `_get`.
    """
    def __init__(
        self,
        maxsize: int = 0,
        *,
        key: Callable[[_T], _Key] | None = None,
        weights: Mapping[Any, float] | None = None,
        per_key: int | None = None,
        reserved: Mapping[Any, int] | None = None,
        within: Literal["fifo", "priority"] = "fifo",
        aging: _Seconds = 1.0,
        overflow: _Overflow = "block",
        on_drop: Callable[[_T, str], object] | None = None,
        weigh: Callable[[_T], int] | None = None,
        max_weight: int | None = None,
        shed: CoDel | None = None,
        track_latency: bool = False,
        high: float | None = None,
        low: float | None = None,
        name: str | None = None,
        clock: Clock | None = None,
    ) -> None: ...
    @property
    def weights(self) -> dict[_Key, float]:
        """The weights of keys that have been given one, as a dict. To change one, call `set_weight`."""
    def set_weight(self, key: _Key, weight: float) -> None:
        """Change the weight of a key: at once for room, and with its next round for items.

        Raises ValueError for a weight that is not greater than 0 or not finite, TypeError for one that is not a number or
        for a key of another kind.
        """
    @property
    def per_key(self) -> int | None:
        """The largest number of items of one key, or None. It can be assigned: a larger bound wakes waiting putters. It cannot be less
        than the places that are reserved for a key.
        """
    @per_key.setter
    def per_key(self, per_key: int | None) -> None: ...
    def key_size(self, key: _Key) -> int:
        """Return the number of items of this key in the queue at this moment."""
    def put(
        self,
        item: _T,
        block: bool = True,
        timeout: _Seconds | None = None,
        *,
        key: _Key | None = None,
        priority: float = 0,
        ttl: _Seconds | None = None,
    ) -> None:
        """Put an item into the queue, with the key that is given or that the queue's `key` function says.

        If there is no room for it, because the queue is full or holds `per_key` items of this key, wait for room in the wait
        queue of this key: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds. With `block=False` the
        call does not wait, and `timeout` is ignored.

        With `ttl` the item expires after that many seconds, the wait for room included: it is then dropped instead of being
        delivered, with the reason "expired". If that time passes before there is room, the call raises Full.

        Raises TypeError if there is no key, or one of another kind, ValueError for a `priority` that is not finite, for one
        in a queue without priorities or for a `ttl` that is not positive, Full if there was no room (in time), ShutDown if the
        queue has been shut down.

        Fairness: the waiters of one key are woken in order of arrival, and the keys in proportion to their weights;
        threads and tasks share one wait queue. An arrival that can wait does not overtake a waiter of any key. If an
        exception from a signal handler interrupts the wait, nothing has been put.
        """
    def put_nowait(self, item: _T, *, key: _Key | None = None, priority: float = 0, ttl: _Seconds | None = None) -> None:
        """Put an item without waiting. Raises Full if there is no room for an item with its key, ShutDown if the queue has been
        shut down.

        It does not use the wait queues: if there is room, it takes the room even while other putters are waiting. `ttl` is that
        of `put`.
        """
    def offer(self, item: _T, *, key: _Key | None = None, priority: float = 0, ttl: _Seconds | None = None) -> Offered[_T]:
        """Put an item if there is room for it, or if the overflow policy makes room, without waiting and in one step, as
        `Queue.offer` does. Return an `Offered`, which is true if the item is in the queue. `ttl` is that of `put`.
        """
    def put_many(
        self,
        items: Iterable[_T],
        block: bool = True,
        timeout: _Seconds | None = None,
        *,
        key: _Key | None = None,
        priority: float = 0,
    ) -> int:
        """Put all of `items`, in order, and return the number of items. With `key` all of them have that key.

        `items` is read to its end first, because the key of an item determines its wait queue. The items that fit are put in
        one step; after that each item waits in the wait queue of its key, and the items behind it wait for it.

        Raises Full, ShutDown, or the exception of a signal handler, each with an attribute `accepted`: the number of
        items that were put.
        """
    def putting(self, item: _T, *, key: _Key | None = None, priority: float = 0) -> Selectable[None]:
        """Return the operation `put(item, key=key, priority=priority)` for `select`, which then puts the item and returns None."""
    def remove(self, item: _T) -> None:
        """Remove the item that is this very object, wherever it is in the queue; it counts as a finished task. Takes time
        in proportion to the number of items.

        Raises ValueError if it is not in the queue.
        """
    async def put_async(
        self,
        item: _T,
        timeout: _Seconds | None = None,
        ttl: _Seconds | None = None,
        *,
        key: _Key | None = None,
        priority: float = 0,
    ) -> None:
        """Put an item into the queue, from a coroutine, with the key that is given or that the queue's `key` function says.

        If there is no room for it, wait for room in the wait queue of this key: indefinitely if `timeout` is None, otherwise
        for at most `timeout` seconds. If there is room, the coroutine does not suspend, except that after 128 operations in a
        row other tasks of the loop get to run. `ttl` is that of `put`.

        Raises what `put` raises. Fairness: as `put`. If the call is cancelled, nothing has been put.
        """
    async def put_many_async(
        self, items: Iterable[_T], *, timeout: _Seconds | None = None, key: _Key | None = None, priority: float = 0
    ) -> int:
        """Put all of `items`, in order, from a coroutine, and return the number of items. With `key` all of them have that key.

        Works as `put_many`. An exception that ends it early, CancelledError included, has an attribute `accepted`: the
        number of items that were put.
        """
    def _start_put(
        self,
        item: _T,
        timeout: _Seconds | None = None,
        *,
        key: _Key | None = None,
        priority: float = 0,
        ttl: _Seconds | None = None,
    ) -> AsyncOperation | None: ...
    def _async_put_many(
        self, items: Iterable[_T], timeout: _Seconds | None, key: _Key | None = None, priority: float | None = None
    ) -> AsyncOperation: ...

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
        signal handler interrupts the wait, nothing has been taken.
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
        """The name given at creation, for `repr`, messages and statistics."""

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

        Waits for the first item as `get` does. With `linger` it then waits up to that many seconds for more items, until
        `max` are there. Meanwhile it keeps its position in the wait queue and has taken nothing.

        Raises Empty if there was no item (in time), ValueError, TypeError or OverflowError for an invalid `max`, `timeout`
        or `linger`.
        """

    def clear(self) -> int:
        """Remove all items from the queue, in one step, and return their number.

        Each removed item counts as a finished task.
        """

    def peek(self) -> _T:
        """Return the item that `get` would return next, without removing it. With `shed=AdaptiveLifo()` that is the oldest item, also
        while `get` returns the newest.

        Raises Empty if there is no item, ShutDown if the queue has been shut down and is empty. Another getter may take
        the item before the caller does.
        """

    def statistics(self) -> QueueStatistics:
        """Return a snapshot of the queue's size, counters and waiting times."""

    def getting(self) -> Selectable[_T]:
        """Return the operation `get` for `select`, which then removes and returns the next item."""
    def putting(self, item: _T) -> Selectable[None]:
        """Return the operation `put(item)` for `select`, which then puts the item and returns None."""
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

    def _check_batch(self, max: SupportsIndex, linger: _Seconds, max_weight: SupportsIndex | None = None) -> None: ...
    def __aiter__(self) -> AsyncIterator[_T]:
        """Iterate over the items until the queue has been shut down and is empty."""
    def __bool__(self) -> Literal[True]: ...
    def __sizeof__(self) -> int: ...
    __contains__: ClassVar[None]
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _try_put(self, item: _T, timeout: _Seconds | None, ttl: None) -> object: ...
    def _try_get(self, timeout: _Seconds | None) -> Any: ...
    def _async_put(self, item: _T, timeout: _Seconds | None, ttl: _Seconds | None = None) -> AsyncOperation: ...
    def _async_get(self, timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_put_many(self, items: Iterable[_T], timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_get_many(
        self, max: SupportsIndex, timeout: _Seconds | None, linger: _Seconds, max_weight: SupportsIndex | None = None
    ) -> AsyncOperation: ...

# Selections.

@final
class Selectable(Generic[_T_co]):
    """An operation that `select` can choose: what `getting`, `putting`, `receiving`, `sending`, `acquiring` and `changing` of
    the objects return.

    It describes an operation and performs nothing until it is selected, so it can be used in any number of selections, also by several
    threads and tasks at the same time. It cannot be instantiated.
    """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...

# The latest value.

@disjoint_base
class Latest(Generic[_T]):
    """One value, set by many writers and read by many readers, threads and coroutines: each sees the newest value and may
    miss the values that it replaced.

    `initial` is the first value; without it there is none until `set` is called. Each value has a version: 1, 2, 3 and so
    on. `get` returns the value, `changed` waits for a newer one, `for value in latest` and `async for` follow the changes,
    and `every(seconds)` samples them. Setting a value never waits, however slow the readers are.

    After `shutdown` readers get the last value if they have not had it, and then the end.

    Fairness: a new value wakes all waiting readers, in order of arrival.

    Raises TypeError for an invalid `clock` or `name`.
    """

    @overload
    def __init__(self, *, clock: Clock | None = None, name: str | None = None) -> None: ...
    @overload
    def __init__(self, initial: _T, *, clock: Clock | None = None, name: str | None = None) -> None: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""

    @property
    def version(self) -> int:
        """The version of the value: 0 before the first value, then one more with each value."""

    @property
    def is_shutdown(self) -> bool:
        """True once `shutdown` has been called."""

    def set(self, value: _T) -> None:
        """Set the value and wake all waiting readers. Never waits.

        The version grows by one, also if the value is equal to the one before. Readers that have not come yet get only the
        newest value.

        Raises ShutDown after a shutdown.
        """

    def get(self, timeout: _Seconds | None = None) -> _T:
        """Return the value. If none has been set yet, wait for the first: indefinitely if `timeout` is None, otherwise for at
        most `timeout` seconds.

        Raises Empty if there was none in time; ShutDown after a shutdown (`peek` still returns the last value); ValueError,
        TypeError or OverflowError for an invalid `timeout`.
        """

    async def get_async(self, timeout: _Seconds | None = None) -> _T:
        """Return the value, from a coroutine. If none has been set yet, wait for the first.

        Waits indefinitely if `timeout` is None, otherwise for at most `timeout` seconds. If there is a value, the
        coroutine does not suspend, except that after 128 operations in a row other tasks of the loop get to run.

        Raises Empty if there was none in time; ShutDown after a shutdown (`peek` still returns the last value);
        ValueError, TypeError or OverflowError for an invalid `timeout`.
        """

    def get_nowait(self) -> _T:
        """Return the value without waiting for one.

        Raises Empty if no value has been set yet, ShutDown after a shutdown.
        """

    def peek(self) -> _T:
        """Return the value without waiting for one, also after a shutdown. It does not count as read.

        Raises Empty if no value has been set yet, ShutDown if an immediate shutdown has removed it.
        """

    def changed(self, since: SupportsIndex | None = None, *, timeout: _Seconds | None = None) -> tuple[_T, int]:
        """Wait for a value newer than version `since`, and return it with its version: `value, version`.

        `since` is the version that the caller has; 0 accepts any value. Without it the call waits for a value that is set
        after it has begun. If several values have been set since, the newest is returned. Pass the returned version the next
        time to miss no change:

            value, version = latest.changed(version)

        Raises Empty if there was none within `timeout` seconds; ShutDown after a shutdown, if no newer value had been set
        before; ValueError, TypeError or OverflowError for an invalid argument.

        Fairness: a new value wakes all waiting readers, in order of arrival.
        """

    def changing(self, since: SupportsIndex | None = None) -> Selectable[tuple[_T, int]]:
        """Return the operation `changed(since)` for `select`, which then returns `value, version` of a newer value.

        Without `since` each selection waits for a value that is set after it has begun. Raises ValueError, TypeError or
        OverflowError for an invalid `since`.
        """
    async def changed_async(self, since: SupportsIndex | None = None, *, timeout: _Seconds | None = None) -> tuple[_T, int]:
        """Wait for a value newer than version `since`, from a coroutine, and return it with its version.

        Works as `changed`. If it is cancelled, nothing has changed: a call with the same `since` gets the value.
        """

    def every(self, seconds: _Seconds) -> LatestTicks[_T]:
        """Return an iterator, for `for` and `async for`, over the newest value at each tick.

        The first value is returned at once, or when it has been set. After that one value is returned every `seconds`
        seconds, whether or not it has changed, by the object's clock. Ticks for which the caller comes too late are left
        out, so a slow reader is not followed by a burst. After a shutdown the last value is returned once more if the
        iterator has not returned it before, and then the iteration ends as that over the changes does.

        Each reader should call it for itself. Raises ValueError, TypeError or OverflowError for an invalid `seconds`.
        """

    def shutdown(self, immediate: bool = False, *, error: BaseException | None = None) -> None:
        """Shut the object down: `set` and `get` raise ShutDown from now on.

        Iterations and `changed` give the last value to readers that have not had it, and then end; `peek` still returns it.
        With `immediate=True` the value is removed, and iteration raises ShutDown. With `error`, iteration raises that
        exception at its end, and it is the `__cause__` of every ShutDown. All waiters are woken. Calling it again has no
        effect, except that an immediate shutdown may follow.

        Raises TypeError if `error` is not an exception, with nothing changed.
        """

    def fail(self, error: BaseException) -> None:
        """Shut the object down with an error: the same as `shutdown(error=error)`."""

    def statistics(self) -> LatestStatistics:
        """Return a snapshot of the version, the counters and the waiting times."""

    def __iter__(self) -> Iterator[_T]:
        """Iterate over the changes: the value, if there is one, then each newer value. Replaced values are skipped.

        At the end after a shutdown the iteration stops, or raises the error of the shutdown.
        """

    def __aiter__(self) -> AsyncIterator[_T]:
        """Iterate over the changes: the value, if there is one, then each newer value. Replaced values are skipped.

        At the end after a shutdown the iteration stops, or raises the error of the shutdown.
        """

    __contains__: ClassVar[None]
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _try_get(self, timeout: _Seconds | None) -> Any: ...
    def _try_changed(self, since: SupportsIndex | None, timeout: _Seconds | None) -> Any: ...
    def _async_get(self, timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_changed(self, since: SupportsIndex | None, timeout: _Seconds | None) -> AsyncOperation: ...
    def _end_of_iteration(self) -> None: ...

@final
class LatestTicks(Generic[_T]):
    """What `Latest.every(seconds)` returns: an iterator, for `for` and `async for`, over the newest value at each tick."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> _T: ...
    def __aiter__(self) -> Self:
        """Iterate over the newest value at each tick."""

    async def __anext__(self) -> _T: ...
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _async_next(self) -> AsyncOperation: ...
    def _end_of_iteration(self) -> None: ...

# The broadcast.

@disjoint_base
class Broadcast(Generic[_T]):
    """Publishes items to any number of subscribers, threads and coroutines: each gets every item that is published while it
    is subscribed, at its own pace.

    `subscribe(maxsize)` returns a `Subscriber`, which is used like a queue. What happens to an item when a subscriber is
    full is that subscriber's policy, so a slow one need not delay the others. An item is stored once, however many
    subscribers there are. A new subscriber gets nothing that was published before.

    After `shutdown` subscribers get what they have not had yet, and then the end.

    Fairness: each subscriber has a wait queue of its own, and so have publishers; waiters are woken in order of arrival.

    Raises TypeError for an invalid `clock` or `name`.
    """
    def __init__(self, *, clock: Clock | None = None, name: str | None = None) -> None: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""
    @property
    def is_shutdown(self) -> bool:
        """True once `shutdown` has been called."""
    def subscribe(
        self, maxsize: SupportsIndex, *, overflow: Literal["drop_oldest", "drop_newest", "block", "disconnect"] = "drop_oldest"
    ) -> Subscriber[_T]:
        """Return a new `Subscriber` with room for `maxsize` items. It gets what is published from now on.

        `overflow` says what happens when an item is published and the subscriber is full:

        - "drop_oldest": its oldest item is dropped for the new one;
        - "drop_newest": it does not get the new one;
        - "block": `publish` waits until it has room, and `publish_nowait` raises Full;
        - "disconnect": it gets no further items. It can take those that it has, and then gets ShutDown.

        Raises ShutDown after a shutdown; ValueError or TypeError for an invalid argument.
        """
    def publish(self, item: _T, timeout: _Seconds | None = None) -> int:
        """Publish an item to all subscribers, and return the number of those that will get it.

        Waits while a subscriber with `overflow="block"` is full: indefinitely if `timeout` is None, otherwise for at most
        `timeout` seconds. Without such a subscriber it never waits.

        Raises Full if one was full all the time, with nothing published to anybody; ShutDown after a shutdown; ValueError,
        TypeError or OverflowError for an invalid `timeout`.

        Fairness: waiting publishers are woken in order of arrival; threads and tasks share one wait queue. If an exception
        from a signal handler interrupts the wait, nothing has been published.
        """
    def publish_nowait(self, item: _T) -> int:
        """Publish an item without waiting, and return the number of subscribers that will get it.

        Raises Full if a subscriber with `overflow="block"` is full, with nothing published to anybody; ShutDown after a
        shutdown.
        """
    async def publish_async(self, item: _T, timeout: _Seconds | None = None) -> int:
        """Publish an item to all subscribers, from a coroutine, and return the number of those that will get it.

        Works as `publish`. If nobody has to be waited for, the coroutine does not suspend, except that after 128 operations
        in a row other tasks of the loop get to run. If it is cancelled, nothing has been published.
        """
    def publishing(self, item: _T) -> Selectable[int]:
        """Return the operation `publish(item)` for `select`, which then publishes the item and returns what `publish` returns."""
    def shutdown(self, immediate: bool = False, *, error: BaseException | None = None) -> None:
        """End it: publishing and subscribing raise ShutDown from now on.

        Subscribers get what they have not had yet. Then their iterations end, and `get` raises ShutDown. With
        `immediate=True` they get nothing more, and iteration raises ShutDown. With `error`, iteration raises that exception
        at its end, and it is the `__cause__` of every ShutDown. All waiters are woken. Calling it again has no effect, except
        that an immediate shutdown may follow.

        Raises TypeError if `error` is not an exception, with nothing changed.
        """
    def fail(self, error: BaseException) -> None:
        """End it with an error: the same as `shutdown(error=error)`."""
    def statistics(self) -> BroadcastStatistics:
        """Return a snapshot of the counters, the subscribers and the waiting times."""
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _try_publish(self, item: _T, timeout: _Seconds | None) -> Any: ...
    def _async_publish(self, item: _T, timeout: _Seconds | None) -> AsyncOperation: ...

@final
class Subscriber(Generic[_T]):
    """What `Broadcast.subscribe` returns: the items that are published, used like a queue, with `get`, `for` and `async for`.

    Several threads and tasks can share a subscriber; each item then goes to one of them. `with subscriber:` closes it at the
    end of the block, and so does garbage collection of the subscriber: a broadcast does not keep its subscribers alive.
    """

    @property
    def broadcast(self) -> Broadcast[_T]:
        """The broadcast that it subscribes to."""
    @property
    def name(self) -> str | None:
        """The name of the broadcast."""
    @property
    def maxsize(self) -> int:
        """The largest number of items that wait for this subscriber."""
    @property
    def overflow(self) -> Literal["drop_oldest", "drop_newest", "block", "disconnect"]:
        """What happens when an item is published and the subscriber is full: "drop_oldest", "drop_newest", "block" or "disconnect"."""
    @property
    def missed(self) -> int:
        """The number of items that the subscriber has missed, because it was full, before the item that it took last.

        A consumer that compares it with the number after the item before knows how many items are missing between the two.
        `statistics().dropped` also counts those that it has yet to come to.
        """
    @property
    def is_closed(self) -> bool:
        """True once `close` has been called."""
    @property
    def is_shutdown(self) -> bool:
        """True once no further items come: the broadcast has been shut down, or the subscriber disconnected or closed. Items that wait
        already can still be taken, unless it has been closed.
        """
    def peek(self) -> _T:
        """Return the item that `get` would return next, without removing it.

        Raises Empty if there is no item; ShutDown if there is none and the broadcast has been shut down, or the subscriber has been
        disconnected or closed. Another getter may take the item before the caller does, and "drop_oldest" may drop it.
        """
    def get(self, block: bool = True, timeout: _Seconds | None = None) -> _T:
        """Remove and return the next item.

        If there is none, wait for one: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds. With
        `block=False` the call does not wait, and `timeout` is ignored.

        Raises Empty if there was no item (in time); ShutDown if there is none and the broadcast has been shut down, or the
        subscriber has been disconnected or closed; ValueError, TypeError or OverflowError for an invalid `timeout`.

        Fairness: waiters of one subscriber are woken in order of arrival; threads and tasks share one wait queue. If an
        exception from a signal handler interrupts the wait, nothing has been taken.
        """
    def get_nowait(self) -> _T:
        """Remove and return the next item without waiting. Raises Empty if there is none, otherwise what `get` raises."""
    async def get_async(self, timeout: _Seconds | None = None) -> _T:
        """Remove and return the next item, from a coroutine.

        If there is none, wait for one: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds. If there
        is an item, the coroutine does not suspend, except that after 128 operations in a row other tasks of the loop get to
        run.

        Raises what `get` raises. If the call is cancelled, nothing has been taken.
        """
    def get_many(self, max: SupportsIndex, block: bool = True, timeout: _Seconds | None = None) -> list[_T]:
        """Remove and return 1 to `max` items, as a list: wait for the first as `get` does, then take what else is there.

        Raises what `get` raises; ValueError, TypeError or OverflowError for an invalid `max` or `timeout`.
        """
    async def get_many_async(self, max: SupportsIndex, *, timeout: _Seconds | None = None) -> list[_T]:
        """Remove and return 1 to `max` items, as a list, from a coroutine.

        Works as `get_many`. If it is cancelled, nothing has been taken.
        """
    def getting(self) -> Selectable[_T]:
        """Return the operation `get` for `select`, which then removes and returns the next item."""
    def batches(self, max: SupportsIndex) -> _Batches[_T]:
        """Return an iterator, for `for` and `async for`, over lists of 1 to `max` items.

        Each list is what `get_many(max)` returns, and the iteration ends as that over the single items does.

        Raises ValueError or TypeError for an invalid `max`.
        """
    def qsize(self) -> int:
        """Return the number of items that wait for this subscriber at this moment."""
    def empty(self) -> bool:
        """Return True if no item waits for this subscriber at this moment."""
    def full(self) -> bool:
        """Return True if `maxsize` items wait for this subscriber at this moment, so that `overflow` decides about the next one."""
    def close(self) -> None:
        """Stop subscribing, and give up the items that wait. `get` raises ShutDown from now on, and iterations end.

        Publishers do not wait for it any longer. It can be called from anywhere, any number of times.
        """
    def statistics(self) -> SubscriberStatistics:
        """Return a snapshot of the counters and the waiting times of this subscriber."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_exc: object) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> _T: ...
    def __aiter__(self) -> Self:
        """Iterate over the items, until the broadcast is shut down and everything has been taken."""
    async def __anext__(self) -> _T: ...
    __contains__: ClassVar[None]
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _try_get(self, timeout: _Seconds | None = None) -> Any: ...
    def _async_get(self, timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_get_many(self, max: SupportsIndex, timeout: _Seconds | None) -> AsyncOperation: ...
    def _end_of_iteration(self) -> None: ...

# Rate limits. An amount is an int or a float.

@disjoint_base
class RateLimiter:
    """The common base of `TokenBucket`, `LeakyBucket`, `SlidingWindow`, `RateLimits`, `UnlimitedRate`, `ZeroRate` and of the
    handles that `key` of a keyed limiter returns. A limiter admits amounts at a limited rate. The class cannot be
    instantiated.
    """

    # It cannot be instantiated; subclasses may have an `__init__` of any kind.
    def __init__(self, *args: object, **kwargs: object) -> None: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""

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

        Returns True, which is no context manager: for a block use `with limiter.permit(n)`.

        Raises RateLimited, with `retry_after` in seconds and nothing taken, if `n` tokens are not available in time or
        a leaky bucket has no free place for a waiter; ValueError if `n` is larger than can ever be admitted at once;
        ValueError, TypeError or OverflowError for an invalid argument.

        Fairness: strictly first come, first served; threads and tasks share one wait queue, and nobody overtakes a
        large request. If an exception from a signal handler interrupts the wait, nothing has been taken, and later
        waiters are admitted earlier.
        """

    def acquiring(self, n: float = 1) -> Selectable[Literal[True]]:
        """Return the operation `acquire(n)` for `select`, which then takes `n` tokens and returns True.

        A selection waits for the tokens for as long as it lasts, whatever its `timeout` is: it is refused with RateLimited
        only where a leaky bucket has no free place for a waiter.

        Raises ValueError if `n` is larger than can ever be admitted at once; ValueError, TypeError or OverflowError for an
        invalid `n`.
        """
    async def acquire_async(self, n: float = 1, *, timeout: _Seconds | None = None) -> Literal[True]:
        """Take `n` tokens, waiting until they are available, from a coroutine.

        Works as `acquire`. If the tokens are available, the coroutine does not suspend, except that after 128
        operations in a row other tasks of the loop get to run. If it is cancelled, nothing has been taken, and later
        waiters are admitted earlier.
        """

    def permit(self, n: float = 1, *, timeout: _Seconds | None = None) -> _RatePermit:
        """Return a context manager (`with`, `async with`) that takes `n` tokens on entry.

        Entering waits in the wait queue as `acquire` does, at most `timeout` seconds if that is given. In the block, or after it,
        `settle(actual)` reports the amount actually used, and `refund()` that nothing was.

        Entering raises what `acquire` raises. Raises ValueError, TypeError or OverflowError for an invalid argument.
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
        by the system's clock counts. A date in the past pauses nothing. A shorter pause does not shorten a longer one.
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
    def by(self, *, cost: _Of[float] = 1, timeout: _Seconds | None = None) -> Callable[[_F], _F]:
        """Decorate a function so that each call first takes an amount that depends on the call.

        Use `@bucket.by(cost=lambda request: len(request))`: `cost` is called with the arguments of the call, before
        anything is taken, and returns the amount. It can also be a number. Otherwise works as the plain decorator; a
        call raises what `cost` and `acquire` raise.
        """
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

    def __init__(
        self,
        rate: float,
        *,
        burst: float,
        period: _Seconds = 1.0,
        initial: float | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None: ...
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

    def __init__(
        self,
        rate: float,
        *,
        capacity: int,
        period: _Seconds = 1.0,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None: ...
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

    def __init__(self, limit: float, period: _Seconds, *, clock: Clock | None = None, name: str | None = None) -> None: ...
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
class RateLimits(RateLimiter):
    """Several limiters taken together: either all of them or none. A set is a limiter itself.

    Example: `RateLimits(requests=TokenBucket(50, burst=10), tokens=TokenBucket(9000, burst=9000, period=60))`. A
    positional amount is taken from every limiter. Amounts by name are taken from the limiters of those names, and
    then every limiter has to be named. Waiters of the set are served strictly first come, first served. A limiter can belong
    to several sets, and can also be used directly.

    A member can be another set: then all its limiters are limiters of this set, and its amount is a number, for each of
    them, or a mapping of amounts by name. A member can be a `Semaphore` too, to limit concurrency and rate together. Such a
    set admits by `permit` only, which acquires the semaphore first and the tokens last.

    Raises ValueError if no limiter is given, if a limiter is given twice, if the limiters have different clocks, or
    if a name is `name`, `n`, `timeout` or `max_wait`; TypeError for an object that is no limiter and no semaphore.
    """

    def __init__(self, *, name: str | None = None, **limits: RateLimiter | Semaphore) -> None: ...
    @property
    def limits(self) -> MappingProxyType[str, RateLimiter | Semaphore]:
        """A read-only mapping of the limiters by name."""

    def try_acquire(self, n: float = 1, **amounts: _Amount) -> bool:
        """Take `n` of each limit, or amounts by name, if all are available now and nobody is waiting. All or none.

        Returns whether they were taken. Never waits. Raises what `acquire` raises for amounts that can never be
        admitted and for invalid arguments.
        """

    def acquire(self, n: float = 1, *, timeout: _Seconds | None = None, **amounts: _Amount) -> Literal[True]:
        """Take `n` of each limit, or amounts by name, waiting until all are available. All or none.

        With `timeout` it waits for at most that many seconds; if the wait is known to be longer, the request is refused
        at once.

        Returns True, which is no context manager: for a block use `with limits.permit(...)`.

        Raises RateLimited, with `retry_after` in seconds and nothing taken, if the amounts are not available in time;
        ValueError for an amount that can never be admitted at once; TypeError for a limit that is missing or unknown;
        ValueError, TypeError or OverflowError for an invalid argument.

        Fairness: strictly first come, first served; threads and tasks share one wait queue. If an exception from a
        signal handler interrupts the wait, nothing has been taken.
        """

    def acquiring(self, n: float = 1, **amounts: _Amount) -> Selectable[Literal[True]]:
        """Return the operation `acquire` with these amounts for `select`, which then takes them and returns True.

        Raises what `acquire` raises for amounts that can never be admitted and for invalid arguments.
        """
    async def acquire_async(self, n: float = 1, *, timeout: _Seconds | None = None, **amounts: _Amount) -> Literal[True]:
        """Take `n` of each limit, or amounts by name, waiting until all are available, from a coroutine. All or none.

        Works as `acquire`. If it is cancelled, nothing has been taken.
        """

    def permit(self, n: float = 1, *, timeout: _Seconds | None = None, **amounts: _Amount) -> _RatePermitByName:  # type: ignore[override]
        """Return a context manager (`with`, `async with`) that takes `n` of each limit, or amounts by name, on entry: all or
        none.

        Entering waits in the wait queue as `acquire` does, at most `timeout` seconds if that is given. Semaphores of the set are
        acquired first, in their order, and released when the block ends; then the tokens are taken. In the block, or
        after it, `settle` reports the true amounts by name, and `refund` gives everything back.

        Entering raises RateLimited if the amounts are not available in time, Overloaded if a semaphore is not, with
        nothing held or taken; ValueError for an amount that can never be admitted at once. Raises TypeError for a limit
        that is missing or unknown; ValueError, TypeError or OverflowError for an invalid argument.
        """
    def reserve(self, n: float = 1, *, max_wait: _Seconds | None = None, **amounts: _Amount) -> _ReservationByName:  # type: ignore[override]
        """Book `n` of each limit, or amounts by name, for the first moment at which all are available, after all current
        waiters.

        Returns a Reservation. Call its `settle` with amounts by name when the true amounts are known.

        Raises RateLimited, with nothing booked, if the moment is more than `max_wait` seconds away; otherwise what
        `acquire` raises.
        """

    def refund(self, n: float = 1, **amounts: _Amount) -> None:
        """Give tokens back: `n` to each limit, or amounts by name to the named limits.

        Raises TypeError for an unknown limit; ValueError, TypeError or OverflowError for an invalid amount.
        """

    def debit(self, n: float = 1, **amounts: _Amount) -> None:
        """Take tokens without waiting, even if that leaves debts: `n` from each limit, or amounts by name from the named
        limits.

        Later requests wait until the debts are paid. Raises what `refund` raises, with nothing taken.
        """

    @property
    def tokens(self) -> dict[str, Any]:  # type: ignore[override]
        """The number of tokens available now, by name."""

    def retry_after(self, n: float = 1, **amounts: _Amount) -> float:
        """Return the seconds until `try_acquire` with the same amounts can succeed, after all current waiters; 0.0 if it
        can now.

        Raises what `acquire` raises for amounts that can never be admitted and for invalid arguments.
        """

    def statistics(self) -> RateStatistics:
        """Return a snapshot of the set's counters and waiting times. Each member has its own statistics."""
    def pause_for(self, seconds: _Seconds | str | bytes) -> None:
        """Admit no request to any of the limits for `seconds`, such as a server's Retry-After.

        Works as `TokenBucket.pause_for`. Raises ValueError, TypeError or OverflowError for invalid `seconds`.
        """
    @overload
    def __call__(self, function: _F, /, *, n: float | None = None, timeout: _Seconds | None = None, **amounts: _Amount) -> _F:
        """Decorate a function so that each call first takes `n` of each limit, or amounts by name.

        Use `@limits`, `@limits(n=2, timeout=1)` or `@limits(requests=1, tokens=500)`. The function can be a def, an
        async def, or a generator function of either kind; a generator takes its amounts when iteration begins. A call
        raises what `acquire` raises.
        """

    @overload
    def __call__(
        self, function: None = None, /, *, n: float | None = None, timeout: _Seconds | None = None, **amounts: _Amount
    ) -> Callable[[_F], _F]: ...
    def by(self, *, cost: _Of[float | _Amounts] = 1, timeout: _Seconds | None = None) -> Callable[[_F], _F]:
        """Decorate a function so that each call first takes amounts that depend on the call.

        Use `@limits.by(cost=lambda request: {"requests": 1, "tokens": len(request)})`: `cost` is called with the
        arguments of the call, before anything is taken, and returns amounts by name, or one amount for all limits. It
        can also be such a value itself. Otherwise works as the plain decorator; a call raises what `cost` and
        `acquire` raise.
        """
    def _leaf(self, index: int) -> tuple[str, RateLimiter]: ...
    def _async_acquire(  # type: ignore[override]
        self, timeout: _Seconds | None, *args: float, **amounts: _Amount
    ) -> AsyncOperation: ...
    def _check(self, timeout: _Seconds | None, *args: float, **amounts: _Amount) -> None: ...  # type: ignore[override]

@disjoint_base
class UnlimitedRate(RateLimiter):
    """A limiter that admits every request at once, for settings in which there is no limit.

    It counts requests as any limiter does, and a `pause_for` holds: during a pause requests wait. `tokens` is infinite.

    Raises TypeError for invalid arguments.
    """
    def __init__(self, *, clock: Clock | None = None, name: str | None = None) -> None: ...

@disjoint_base
class ZeroRate(RateLimiter):
    """A limiter that admits no request, for settings in which something is switched off.

    `try_acquire` returns False; `acquire`, `reserve` and `permit` raise RateLimited at once, with or without a timeout,
    because waiting would not end. `retry_after` is infinite. (`n=0` succeeds, as with every limiter.)

    Raises TypeError for invalid arguments.
    """
    def __init__(self, *, clock: Clock | None = None, name: str | None = None) -> None: ...

@disjoint_base
class KeyedLimiter:
    """The common base of `KeyedTokenBucket`, `KeyedLeakyBucket` and `KeyedSlidingWindow`: a limiter for each of very many
    keys, in bounded memory. The class cannot be instantiated.
    """
    def __init__(self, *args: object, **kwargs: object) -> None: ...
    def key(self, key: _Key) -> RateLimiter:
        """Return the limiter of one key, as a light handle with the whole interface of a limiter.

        Raises TypeError for a key of an unsupported type.
        """
    def try_acquire(self, key: _Key, n: float = 1) -> bool:
        """Take `n` tokens of the key if they are available and nobody is waiting for that key. Never waits.

        Returns whether the tokens were taken. `n=0` always succeeds and changes nothing.

        Raises RateLimited if the key is new and all `max_keys` keys are in use (see the class), ValueError if `n` is
        larger than can ever be admitted at once; ValueError, TypeError or OverflowError for an invalid `key` or `n`.
        """
    def acquire(self, key: _Key, n: float = 1, *, timeout: _Seconds | None = None) -> Literal[True]:
        """Take `n` tokens of the key, waiting until they are available. Works as `TokenBucket.acquire`."""
    async def acquire_async(self, key: _Key, n: float = 1, *, timeout: _Seconds | None = None) -> Literal[True]:
        """Take `n` tokens of the key, waiting until they are available, from a coroutine.

        Works as `TokenBucket.acquire_async`.
        """
    def permit(self, key: _Key, n: float = 1, *, timeout: _Seconds | None = None) -> _RatePermit:
        """Return a context manager that takes `n` tokens of the key on entry. Works as `TokenBucket.permit`."""
    def retry_after(self, key: _Key, n: float = 1) -> float:
        """Return the seconds until `n` tokens of the key can be taken. Works as `TokenBucket.retry_after`."""
    def pause_for(self, key: _Key, seconds: _Seconds | str | bytes) -> None:
        """Admit no request of the key for `seconds`. Works as `TokenBucket.pause_for`."""
    def by(self, *, key: Callable[..., _Key], cost: _Of[float] = 1, timeout: _Seconds | None = None) -> Callable[[_F], _F]:
        """Decorate a function so that each call first takes an amount of a key, both of which depend on the call.

        Use `@per_user.by(key=lambda request: request.user)`, or with `cost=lambda request: request.size`: both are
        called with the arguments of the call, before anything is taken. `cost` can also be a number. Otherwise works as
        the decorator of a `TokenBucket`; a call raises what `key`, `cost` and `acquire` raise.
        """
    def forget(self, key: _Key) -> bool:
        """Remove the key's own rate or limit, so that the default applies again. What it has taken still counts. Return
        whether it had one of its own.

        Raises TypeError for a key of an unsupported type.
        """
    @property
    def period(self) -> float:
        """The length of time that the rate or limit refers to, in seconds."""
    @property
    def max_keys(self) -> int:
        """The largest number of keys that are remembered."""
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""
    def statistics(self) -> KeyedRateStatistics:
        """Return a snapshot of the counters and waiting times of all keys together."""
    def __len__(self) -> int: ...
    def __bool__(self) -> Literal[True]: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...

@disjoint_base
class KeyedTokenBucket(KeyedLimiter):
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
    def __init__(
        self,
        rate: float,
        *,
        burst: float,
        max_keys: SupportsIndex,
        period: _Seconds = 1.0,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None: ...
    def key(self, key: _Key) -> TokenBucketKey: ...
    def try_acquire(self, key: _Key, n: float = 1) -> bool:
        """Take `n` tokens of the key if they are available and nobody is waiting for that key. Never waits.

        Returns whether the tokens were taken. `n=0` always succeeds and changes nothing.

        Raises RateLimited if the key is new and all `max_keys` keys are in use (see the class), ValueError if `n` is
        larger than can ever be admitted at once; ValueError, TypeError or OverflowError for an invalid `key` or `n`.
        """
    def set_rate(self, rate: float, *, burst: float | None = None, key: _Key = ...) -> None:
        """Change the rate (per the same period) and, if given, the burst, from now on.

        With `key` the change applies to that key alone, which is then remembered until `forget(key)`; otherwise it
        applies to every key without a rate of its own. Tokens are kept as far as they fit, and debts are kept.

        Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed; RateLimited if there
        is no room for another key.
        """
    @property
    def rate(self) -> float:
        """The number of tokens refilled per `period`, for a key without a rate of its own."""
    @property
    def burst(self) -> float:
        """The largest number of tokens in a bucket, for a key without a rate of its own."""

@disjoint_base
class KeyedLeakyBucket(KeyedLimiter):
    """A leaky bucket used as a shaper for each of very many keys, in bounded memory: requests for one key are admitted
    evenly spaced, `rate` per `period` seconds.

    At most `capacity` requests can wait for each key, reservations included; further requests are refused. Keys, and
    which of them are remembered, are those of `KeyedTokenBucket`; a key whose next request would be admitted at once
    may be forgotten.

    Raises ValueError, TypeError or OverflowError for invalid arguments.
    """
    def __init__(
        self,
        rate: float,
        *,
        capacity: int,
        max_keys: SupportsIndex,
        period: _Seconds = 1.0,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None: ...
    def key(self, key: _Key) -> LeakyBucketKey: ...
    def set_rate(self, rate: float, *, capacity: int | None = None, key: _Key = ...) -> None:
        """Change the rate (per the same period) and, if given, the capacity, from now on.

        With `key` the change applies to that key alone, which is then remembered until `forget(key)`; otherwise it
        applies to every key without a rate of its own.

        Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed; RateLimited if there
        is no room for another key.
        """
    @property
    def rate(self) -> float:
        """The number of tokens admitted per `period`, for a key without a rate of its own."""
    @property
    def capacity(self) -> int:
        """The largest number of requests that can wait for one key."""

@disjoint_base
class KeyedSlidingWindow(KeyedLimiter):
    """A sliding window for each of very many keys, in bounded memory: it never admits more than `limit` tokens of one key
    in any window of `period` seconds.

    Of each key the last 16 moments at which something was admitted are remembered. If there were more of them in one
    period, some become one, and their amounts count for up to a fifteenth of the period longer; never shorter, so the
    limit holds. Keys, and which of them are remembered, are those of `KeyedTokenBucket`; a key of which nothing was
    admitted for a period may be forgotten.

    Raises ValueError, TypeError or OverflowError for invalid arguments.
    """
    def __init__(
        self, limit: float, period: _Seconds, *, max_keys: SupportsIndex, clock: Clock | None = None, name: str | None = None
    ) -> None: ...
    def key(self, key: _Key) -> SlidingWindowKey: ...
    def set_limit(self, limit: float, period: _Seconds | None = None, *, key: _Key = ...) -> None:
        """Change the limit and, if given, the period, from now on.

        With `key` the change applies to that key alone, which is then remembered until `forget(key)`; otherwise it
        applies to every key without a limit of its own. Amounts already taken still count. Lengthening the period does
        not bring back amounts that have already left the window.

        Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed; RateLimited if there
        is no room for another key.
        """
    @property
    def limit(self) -> float:
        """The largest number of tokens admitted in any window, for a key without a limit of its own."""

@final
class LeakyBucketKey(RateLimiter):
    """The leaky bucket of one key, as returned by `KeyedLeakyBucket.key`. A light handle: the `KeyedLeakyBucket` holds the
    bucket's state.

    Its `statistics()` shows who waits for the key now. The other counters are kept for all keys together: those of one key
    may begin anew whenever nobody waits for it.
    """

    @property
    def key(self) -> _Key:
        """The key."""
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
        """Give this key a rate of its own (per the same period) and, if given, a capacity of its own, from now on.

        The key is remembered until `KeyedLeakyBucket.forget(key)`.

        Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
        """

@final
class SlidingWindowKey(RateLimiter):
    """The window of one key, as returned by `KeyedSlidingWindow.key`. A light handle: the `KeyedSlidingWindow` holds the
    window's state.

    Its `statistics()` shows who waits for the key now. The other counters are kept for all keys together: those of one key
    may begin anew whenever nobody waits for it.
    """

    @property
    def key(self) -> _Key:
        """The key."""
    @property
    def limit(self) -> float:
        """The largest number of tokens admitted in any window."""
    @property
    def period(self) -> float:
        """The length of the window, in seconds."""
    def set_limit(self, limit: float, period: _Seconds | None = None) -> None:
        """Give this key a limit of its own and, if given, a period of its own, from now on.

        Amounts already taken still count. The key is remembered until `KeyedSlidingWindow.forget(key)`.

        Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
        """

@final
class TokenBucketKey(RateLimiter):
    """The bucket of one key, as returned by `KeyedTokenBucket.key`. A light handle: the `KeyedTokenBucket` holds the
    bucket's state.

    Its `statistics()` shows who waits for the key now. The other counters are kept for all keys together: those of one key
    may begin anew whenever nobody waits for it.
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

    Wait for the moment with `wait` or `wait_async`; call `cancel` before the moment, or `settle` with the true amount
    when it is known. A reservation is not a context manager: use `with limiter.permit(n):`, which waits in the wait queue
    and can be settled.
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

        Raises RateLimited at once, with the booking unchanged, if that is more than `timeout` seconds away; RuntimeError if
        the reservation has been cancelled, or is cancelled meanwhile (then at its moment); ValueError, TypeError or
        OverflowError for an invalid `timeout`. If an exception from a signal handler interrupts the wait, the booking is
        unchanged.
        """

    async def wait_async(self, timeout: _Seconds | None = None) -> Literal[True]:
        """Wait until the reservation is ready, from a coroutine.

        Works as `wait`. If it is cancelled, the booking is unchanged.
        """

    def settle(self, actual: float = ..., /, **actual_by_name: _Amount) -> None:
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

    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _async_wait(self, timeout: _Seconds | None) -> AsyncOperation: ...

@final
class RatePermit:
    """An amount taken on entry to a block, `with` or `async with`, as returned by `permit`.

    Entering waits in the wait queue as `acquire` does. When the true amount is known, in the block or after it, `settle` reports
    it, or `refund` gives everything back. An exception in the block gives nothing back, since the limiter cannot know
    how much was used; nor does a permit that is entered and then dropped, which gives a ResourceWarning. A permit can
    be entered again after its block has ended.
    """
    def __new__(cls, *_args: object, **_kwargs: object) -> NoReturn: ...
    @property
    def n(self) -> float | dict[str, Any]:
        """The amount taken on entry: tokens, or a dict of tokens by name for `RateLimits`."""
    def settle(self, actual: float = ..., /, **actual_by_name: _Amount) -> None:
        """Report the amount actually used; the difference is refunded, or debited even if that leaves a debt.

        Call it in the block or after it, once for each time the block was entered. An amount that has been refilled since
        is not refunded a second time: a sliding window refunds what still counts in it, a bucket refunds what it would
        hold in addition if `actual` had been taken.

        For `RateLimits` give amounts by name, as in `settle(tokens=950)`; a limit that is not named keeps its amount.

        Raises RuntimeError if the permit has not been entered, or has been settled; ValueError, TypeError or
        OverflowError for an invalid amount.
        """
    def refund(self) -> float | dict[str, Any]:
        """Report that nothing was used, and return the amount given back: tokens, or a dict of tokens by name.

        As with `settle`, an amount that has been refilled since is not given back a second time.

        Raises RuntimeError if the permit has not been entered, or has been settled.
        """
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_exc: object) -> None: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _async_acquire(self) -> AsyncOperation: ...
    def _async_acquire_within(self, timeout: _Seconds | None) -> AsyncOperation: ...
    def _acquire_within(self, timeout: _Seconds | None) -> None: ...
    @property
    def _gates(self) -> tuple[tuple[Semaphore, int, int], ...] | None: ...
    def _gate(self, index: int) -> tuple[RateLimits, str | None]: ...
    def _timing(self) -> tuple[float | None, float]: ...
    def _keep(self, held: object) -> object: ...

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
    slots as units in the window. `control_capacity` is the largest number of waiting control messages.

    `on_discard(item, reason, error)` is called with each item that is sent and will not be received, outside every lock.
    `reason` is "cancelled": the receiver has cancelled, stopped or is gone. `error` is the exception that caused this, or
    None.

    The ends, `sender` and `receiver`, can be given to different owners; the channel object itself need not be kept.

    Raises ValueError, TypeError or OverflowError for invalid arguments.

    Fairness: credit is given to senders strictly first come, first served, by weight; threads and tasks share one
    wait queue.
    """

    def __init__(
        self,
        window: SupportsIndex = 256,
        *,
        threshold: float = 0.5,
        buffer: float | None = None,
        weigh: Callable[[_T], int] | None = None,
        control_capacity: int = 8,
        on_discard: Callable[[_T, _Reason, BaseException | None], object] | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None: ...

@disjoint_base
class AckChannel(Channel[_T, Delivery[_T]]):
    """A credit channel whose items have to be settled: `receive` returns a `Delivery`, and its credit is granted again
    when it is acked.

    A delivery that is nacked, dropped or not settled within `ack_wait` seconds is requeued at the head. After
    `max_deliver` attempts the item is discarded. `retry` is how long a delivery that was nacked, dropped, or left with an
    exception stays away before that: a number of seconds, or a function of the number of the attempt (1, 2, ...) that
    returns it. A delivery that has outlasted `ack_wait`, and one whose holder was cancelled, comes back at once.

    `on_discard(item, reason, error)` is called with each item that is given up. `reason` is "poison" (`max_deliver`
    attempts have failed), "rejected" (`nack(requeue=False)`) or "cancelled" (the receiver has cancelled, stopped or is
    gone); `error` is the exception that left the `with delivery:` block, or None.

    `lane(item)` returns the part of the stream that an item belongs to, any hashable object: for example a log's
    partition. Items are then counted separately in each lane, and `receiver.stop(lanes=...)` stops some of them. The
    channel keeps a few words of memory for every lane that it has ever seen.

    `on_settled(through)`, with lanes `on_settled(lane, through)`, is called when `receiver.settled_through` has grown:
    one call at a time, in order, outside every lock, from a thread that settles. Progress made during a call is reported
    by the next call, several steps together. An exception in it goes to `sys.unraisablehook`.

    Everything else works as in `CreditChannel`.
    """

    def __init__(
        self,
        window: SupportsIndex = 256,
        *,
        threshold: float = 0.5,
        buffer: float | None = None,
        ack_wait: _Seconds | None = None,
        max_deliver: int = 5,
        retry: _Seconds | Callable[[int], _Seconds] | None = None,
        lane: Callable[[_T], Hashable] | None = None,
        weigh: Callable[[_T], int] | None = None,
        control_capacity: int = 8,
        on_discard: Callable[[_T, _Reason, BaseException | None], object] | None = None,
        on_settled: Callable[..., object] | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None: ...

@final
class Sender(Generic[_S_contra]):
    """The sending end of a channel. Returned by `channel.sender` and by `clone`.

    Any number of threads and tasks can use it. `with sender:` completes the channel at the end of the block, or
    fails it with the exception that leaves the block. A sender that is garbage-collected without having completed
    or failed makes the channel fail, with a ResourceWarning.
    """

    def send(self, item: _S_contra, timeout: _Seconds | None = None) -> None:
        """Send an item. Waits for credit: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.

        Raises Full if there was no credit in time, ChannelClosed if this sender has completed, ChannelCancelled if the
        receiver has cancelled or is gone, ChannelFailed if another sender has failed; ValueError for an item that is
        heavier than the window; ValueError, TypeError or OverflowError for an invalid `timeout` or weight.

        Fairness: credit is given strictly first come, first served, by weight; threads and tasks share one wait queue.
        If an exception from a signal handler interrupts the wait, nothing has been sent.
        """

    def sending(self, item: _S_contra) -> Selectable[None]:
        """Return the operation `send(item)` for `select`, which then sends the item and returns None."""
    def send_nowait(self, item: _S_contra) -> None:
        """Send an item if there is credit for it and nobody is waiting. Never waits.

        Raises Full if there is no credit or others are waiting, otherwise what `send` raises.
        """

    async def send_async(self, item: _S_contra, timeout: _Seconds | None = None) -> None:
        """Send an item, waiting for credit, from a coroutine.

        Works as `send`. If there is credit, the coroutine does not suspend, except that after 128 operations in a row
        other tasks of the loop get to run. If it is cancelled, nothing has been sent.
        """

    def send_many(self, items: Iterable[_S_contra], *, timeout: _Seconds | None = None) -> int:
        """Send all of `items`, in order, and return the number of items.

        As many items as there is credit for are sent in one step, the rest as credit is granted; `timeout` bounds the
        whole call. An item is taken from an iterator only when there is credit for one, so afterwards the iterator is
        at the first item that was not sent. With `weigh`, an item that was taken and turned out to be too heavy for the
        remaining credit is in the exception's `pending`.

        Raises Full if there was no credit in time, ChannelClosed, ChannelFailed or ChannelCancelled at the end of the
        channel, ValueError for an item that is too heavy. The exception's `accepted`, also that of CancelledError, is
        the number of items that were sent.
        """

    async def send_many_async(self, items: Iterable[_S_contra], *, timeout: _Seconds | None = None) -> int:
        """Send all of `items`, in order, from a coroutine, and return the number of items.

        Works as `send_many`. An exception that ends it early, CancelledError included, has an attribute `accepted`: the
        number of items that were sent.
        """

    def permit(self, n: int = 1, *, timeout: _Seconds | None = None) -> Permit[_S_contra]:
        """Return a context manager that holds credit for items that do not exist yet.

        Use it as `with sender.permit(3) as permit: permit.send(x)`. The credit is taken on entry, which waits for it
        (`async with` awaits it); unused credit is given back on exit. Entering raises Full if there was no credit
        within `timeout` seconds. A permit object that is dropped while it is held gives its credit back, with a
        ResourceWarning.
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

    def clone(self) -> Sender[_S_contra]:
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
    def _try_send(self, item: _S_contra, timeout: _Seconds | None = None) -> object: ...
    def _async_send(self, item: _S_contra, timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_send_many(self, items: Iterable[_S_contra], timeout: _Seconds | None) -> AsyncOperation: ...
    def _async_wait_ready(self, n: int, timeout: _Seconds | None) -> AsyncOperation: ...
    @property
    def _weighs_length(self) -> bool: ...

@final
class Permit(Generic[_S_contra]):
    """Credit held for items that do not exist yet, as returned by `Sender.permit`."""

    @property
    def left(self) -> int:
        """The amount of credit that is left."""

    def send(self, item: _S_contra) -> None:
        """Send an item with the credit that is held. Never waits.

        Raises ValueError if the item weighs more than what is left, RuntimeError if the permit is not held, and what
        `Sender.send` raises when the receiver has cancelled or is gone.
        """

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
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
        signal handler interrupts the wait, nothing has been taken.
        """

    def receiving(self) -> Selectable[_R_co]:
        """Return the operation `receive` for `select`, which then receives the next item."""
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

    @overload
    def stop(self, timeout: _Seconds | None = None, *, lanes: None = None) -> int:
        """Stop receiving for good, without losing count of work in progress, and return `settled_through`.

        From this call on nothing more is handed out: senders and other receivers get ChannelCancelled, and what is buffered
        or comes back goes to `on_discard`, unsettled. Deliveries that are out can still be settled; the call waits for them,
        for at most `timeout` seconds. After that the number is final: it is the one to commit for a log that is read in
        order, and settling what is still out raises StaleDelivery.

        `lanes` names the lanes to stop, on an AckChannel made with `lane=`; everything else goes on, and the result is a
        dict with the number of each. An item that is sent in such a lane after the call has returned begins it anew, from 0.

        If an exception from a signal handler interrupts the wait, or a second thread calls `stop`, the stop goes on: call it
        again to wait for its end. Raises ValueError, TypeError or OverflowError for an invalid `timeout`, TypeError for
        invalid `lanes`.
        """

    @overload
    def stop(self, timeout: _Seconds | None = None, *, lanes: Iterable[_Lane]) -> dict[_Lane, int]: ...
    @overload
    async def stop_async(self, timeout: _Seconds | None = None, *, lanes: None = None) -> int:
        """Stop receiving for good, without losing count of work in progress, from a coroutine, and return `settled_through`.

        Works as `stop`. If it is cancelled, the stop goes on: call it again to wait for its end.
        """

    @overload
    async def stop_async(self, timeout: _Seconds | None = None, *, lanes: Iterable[_Lane]) -> dict[_Lane, int]: ...
    @property
    def credit(self) -> Credit:
        """Manual control of the credit: `request`, `drain`, `pause` and the like."""

    @property
    def settled_through(self) -> int:
        """On an AckChannel, the sequence number below which every item is settled; otherwise the number of items received.

        On a channel with lanes, the sum of `settled_lanes`.
        """

    @property
    def settled_lanes(self) -> dict[Any, int]:
        """For each lane the number below which every item of it is settled, as a new dict; empty on a channel without lanes."""

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
    def _async_stop(self, timeout: _Seconds | None, lanes: Iterable[Any] | None) -> AsyncOperation: ...
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
    """An item received from an `AckChannel`, which has to be settled. Its credit is granted again when it is settled.

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
        """The item's number, counted from 0 in the order in which items were sent; on a channel with lanes, those of its lane."""

    @property
    def lane(self) -> Any:
        """The item's lane, or None on a channel without lanes."""

    def ack(self) -> None:
        """Report that the item has been processed. Calling it again has no effect.

        Raises StaleDelivery, each time, if it is too late (see `ack_wait`): the item has been delivered again or
        discarded.
        """

    def nack(self, requeue: bool = True, delay: _Seconds | None = None, *, error: BaseException | None = None) -> None:
        """Report that the item has not been processed. It is requeued at the head after `delay` seconds, by default those of
        the channel's `retry`, or discarded with `requeue=False`.

        After `max_deliver` attempts it is discarded in any case. If it is discarded, `on_discard` is called with `error`.
        Calling it again has no effect. Raises what `ack` raises, and what `retry` raises; ValueError, TypeError or
        OverflowError for invalid arguments.
        """

    def extend(self, seconds: _Seconds) -> None:
        """Ask for more time: `ack_wait` ends in `seconds` from now, or when it would have ended, whichever is later.

        It has no effect on a channel without `ack_wait`, and after the delivery has been settled. Raises StaleDelivery if
        it is too late: the item has been delivered again or discarded; ValueError, TypeError or OverflowError for invalid
        `seconds`.
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

@final
class QueueMutex:
    """The lock of a queue, as `queue.Queue` has one: `with q.mutex:` makes what is done in the block one step for everybody else.

    Its owner may take it again (it is a reentrant lock), and use `q.queue`, `_put`, `_get`, `_qsize`, `qsize`, `put_nowait`, `get_nowait`
    and the conditions; what would have to wait raises RuntimeError. Other threads and tasks wait for their turn, also in `put_nowait` and
    `get_nowait`; the awaitable methods wait without blocking their event loop.
    """

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire the lock, waiting for it at most `timeout` seconds, or without a limit if that is -1. Return False if that took
        too long.

        The owner may acquire it again, and then has to release it as often. Raises RuntimeError instead of waiting for another task of the
        same thread, ValueError for a negative `timeout` other than -1 or for one with `blocking=False`, OverflowError for one that is
        too large.
        Fairness: threads and tasks get it in order of arrival.
        """

    def release(self) -> None:
        """Release the lock. Raises RuntimeError if the caller has not acquired it."""

    def locked(self) -> bool:
        """Return True if the lock is held at this moment."""

    def __enter__(self) -> bool: ...
    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None, /) -> None: ...
    def _is_owned(self) -> bool: ...
    def _release_save(self) -> int: ...
    def _acquire_restore(self, depth: int) -> None: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

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

#: For how many seconds a server's own Retry-After counts at most.
LONGEST_RETRY_AFTER: Final[float]
#: What `_try_put` and `_try_get` answer when it is not that easy.
WAIT: Final[object]
#: What `__class__` answers, by class.
STAND_INS: Final[dict[type, type]]
#: The classes that are written in Python and that the binary uses, by name.
CLASSES: Final[dict[str, Any]]

@overload
def select(*members: Selectable[_T], timeout: _Seconds | None = None) -> Ready[_T]:
    """Wait until one of several operations can happen, do exactly that one, and return `Ready(index, value)`: its position
    among the arguments, and what its own method would have returned.

    The operations are what `getting()` and `putting(item)` of queues, `receiving()` and `sending(item)` of channels,
    `acquiring(n)` of semaphores and limiters and `changing(since)` of a `Latest` return. The other operations have no effect.

    Waits indefinitely if `timeout` is None, otherwise for at most `timeout` seconds. With `default` it does not wait: if no
    operation can happen at once, it returns `Ready(-1, default)`.

    Raises TimeoutError if none could happen in time. If an operation can only fail, because its object has been shut down or
    closed or refuses it, its own exception is raised, with its position in an attribute `select_index`. Raises ValueError if
    there is no operation or if the objects have different clocks; ValueError, TypeError or OverflowError for an invalid
    argument.

    Fairness: if several operations can happen at once, each is equally likely to be chosen. While it waits, the call is in the
    wait queue of each object, behind the waiters that came before it. If an exception from a signal handler interrupts the
    call, nothing has happened.
    """

@overload
def select(*members: Selectable[_T], default: _Default) -> Ready[_T | _Default]: ...
def _async_select(*members: Selectable[Any], timeout: _Seconds | None = None, default: object = ...) -> AsyncOperation: ...
def _after_fork_in_child() -> None: ...
def _clock(clock: Clock | None) -> Clock: ...
def _duration(name: str, value: _Seconds) -> float: ...
def _refuse_coroutine_function(name: str, function: object) -> None: ...
def _is_plain_rate(rate: object) -> bool: ...
def _leaves(error: BaseException) -> list[Exception]: ...

# What `batches` returns.
@type_check_only
class _Batches(Generic[_T]):
    def __iter__(self) -> Self: ...
    def __next__(self) -> list[_T]: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> list[_T]: ...

# What the `reserve` of one limiter returns, and that of several; and what their `permit` does. (`Self` in a final class is that class.)
@type_check_only
class _Reservation(Reservation):  # pyright: ignore[reportGeneralTypeIssues]  # a Reservation at run time
    @property
    def n(self) -> float: ...
    def settle(self, actual: float) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
    def cancel(self) -> float: ...

@type_check_only
class _ReservationByName(Reservation):  # pyright: ignore[reportGeneralTypeIssues]  # a Reservation at run time
    @property
    def n(self) -> dict[str, Any]: ...
    def settle(self, **actual: _Amount) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
    def cancel(self) -> dict[str, Any]: ...

@type_check_only
class _RatePermit(RatePermit):  # pyright: ignore[reportGeneralTypeIssues]  # a RatePermit at run time
    @property
    def n(self) -> float: ...
    def settle(self, actual: float) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
    def refund(self) -> float: ...
    def __enter__(self) -> Self: ...
    async def __aenter__(self) -> Self: ...

@type_check_only
class _RatePermitByName(RatePermit):  # pyright: ignore[reportGeneralTypeIssues]  # a RatePermit at run time
    @property
    def n(self) -> dict[str, Any]: ...
    def settle(self, **actual: _Amount) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
    def refund(self) -> dict[str, Any]: ...
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

    def __init__(self, value: int = 1, *, clock: Clock | None = None, name: str | None = None) -> None: ...
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

    def acquiring(self, n: int = 1) -> Selectable[Literal[True]]:
        """Return the operation `acquire(n=n)` for `select`, which then acquires `n` permits and returns True.

        Raises ValueError, TypeError or OverflowError for an invalid `n`.
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
    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None: ...
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

    def __init__(self, value: int = 1, *, clock: Clock | None = None, name: str | None = None) -> None: ...

@final
class SemaphorePermit:
    """Permits held while a block runs, as returned by `Semaphore.permit`."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None: ...
    async def __aenter__(self) -> Self:
        """Enter the block, waiting as `with` does."""
    async def __aexit__(self, *_exc: object) -> None:
        """End the block, as `with` does."""
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

    def __init__(self, value: int, *, max_keys: SupportsIndex, clock: Clock | None = None, name: str | None = None) -> None: ...
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

    def by(self, *, key: Callable[..., _Key], n: int = 1, timeout: _Seconds | None = None) -> Callable[[_F], _F]:
        """Decorate a function so that each call holds `n` permits of a key that depends on the call.

        Use `@per_host.by(key=lambda url: urlsplit(url).hostname)`: `key` is called with the arguments of the call. A
        `def`, an `async def` and both kinds of generators can be decorated; a generator holds the permits until its
        iteration ends. A call waits in the wait queue of the key, at most `timeout` seconds; it also raises what `key`
        raises, and what entering a `permit` raises.
        """

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
    def __init__(self, *_args: object, **_kwargs: object) -> None: ...

@disjoint_base
class AdaptiveConcurrency:
    """An adaptive limit on concurrent calls: it grows while calls are fast, and falls when they are slow or dropped.

    `permit()` returns a context manager for one call: entering it waits in the wait queue for a slot, or raises Overloaded, and
    the result is taken from how the block ends. The limiter also decorates functions.

    `target` is how long a call may take, in seconds: choose it two or three times as long as a call takes when the
    service has nothing else to do. With `target=None` only dropped calls lower the limit. About once in the time that
    calls take, the limit is set anew: if more than `bad_fraction` of the calls since the last time took longer than the
    target or were dropped, it is multiplied by `decrease`; otherwise it grows by one (`step="one"`) or by half of its
    square root (`step="sqrt"`), if it has nearly been reached. It begins with `initial` and stays between `min` and
    `max`. At least `min_samples` calls decide. Of the calls that began together it is the first half to end that
    decides, so the limit holds the median of the durations below the target, and promises nothing about the slowest.
    If the limit stays at `min` and calls still take longer than the target, a warning with both times is logged, at
    most once a minute.

    `dropped` says which exceptions mean that the service could not serve a call: a class, a tuple of classes, or a
    function; by default TimeoutError and ConnectionError. A block that ends with another exception says nothing about
    the service, nor do cancellation, KeyboardInterrupt, GeneratorExit and this package's own refusals.

    `max_waiting` calls may wait for a slot, first come, first served; with 0 a call that finds none is refused. With `shed`, a `CoDel`, a
    call whose turn comes too late is refused instead, as long as the wait queue does not empty.

    Fairness: strictly first come, first served; threads and tasks share one wait queue. `permit(priority=)` decides who
    is refused first, and nobody overtakes: of the slots (without a wait queue) or the places in the wait queue, some are kept free for
    more urgent calls.

    The rule is additive increase and multiplicative decrease (Chiu and Jain, 1989), decided by the fraction of bad calls.
    Raises ValueError, TypeError or OverflowError for invalid arguments.
    """
    def __init__(
        self,
        *,
        target: _Seconds | None,
        initial: SupportsIndex = 20,
        min: SupportsIndex = 1,
        max: SupportsIndex = 200,
        decrease: float = 0.9,
        bad_fraction: float = 0.1,
        min_samples: SupportsIndex = 1,
        step: Literal["one", "sqrt"] = "one",
        max_waiting: SupportsIndex = 0,
        shed: CoDel | None = None,
        dropped: _Errors = ...,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""
    @property
    def limit(self) -> int:
        """How many calls may be in flight now."""
    @property
    def in_flight(self) -> int:
        """How many calls are in flight."""
    def permit(self, *, priority: SupportsIndex = 0, timeout: _Seconds | None = None) -> ConcurrencyPermit:
        """Return a permit for one call: a context manager (`with`, `async with`).

        Entering it waits in the wait queue for a slot, at most `timeout` seconds, or raises Overloaded; the end of the block records
        the result: see the class, and `ConcurrencyPermit.success`, `failure` and `ignore`. With a `max_waiting` of 0 there is no wait
        queue, and a call that finds no slot is refused at once, whatever `timeout` says.

        `priority` is from 0, the most urgent, to 4. When there is little room, less urgent calls are refused first.

        Raises ValueError, TypeError or OverflowError for an invalid argument.
        """
    def set_limits(self, min: SupportsIndex, max: SupportsIndex) -> None:
        """Set the bounds of the limit. It never waits.

        Calls in flight stay when the limit falls below their number, and no call is admitted until enough have ended.

        Raises ValueError, TypeError or OverflowError for an invalid argument, with nothing changed.
        """
    def statistics(self) -> ConcurrencyStatistics:
        """Return a snapshot of the limit, and of the results of the calls."""
    @overload
    def __call__(
        self,
        function: _F,
        /,
        *,
        failed: Callable[[Any], object] | None = None,
        priority: SupportsIndex = 0,
        timeout: _Seconds | None = None,
    ) -> _F:
        """Decorate a function so that each call holds a permit.

        Use `@limiter`, or `@limiter(failed=lambda response: response.status_code == 429)`: `failed` is called with what
        the function returns, and says whether the service could not serve the call. `priority` and `timeout` are those
        of `permit`. The function can be a def, an async def, or a generator function of either kind; a generator's call
        begins with the iteration and ends with it. A call waits as `permit` does, and raises Overloaded if it is refused;
        unless the limiter has `max_waiting`, it is refused at once, whatever `timeout` says.
        """
    @overload
    def __call__(
        self,
        function: None = None,
        /,
        *,
        failed: Callable[[Any], object] | None = None,
        priority: SupportsIndex = 0,
        timeout: _Seconds | None = None,
    ) -> Callable[[_F], _F]: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...

@final
class ConcurrencyPermit:
    """One call of an adaptive limit, as returned by `AdaptiveConcurrency.permit`: a context manager (`with`, `async with`).

    Entering it waits in the wait queue for a slot, or raises Overloaded. The result is taken from how the block ends, unless
    `success`, `failure` or `ignore` has reported it before; these free the slot as well. Outside a block, `acquire`,
    `acquire_async` or `try_acquire` admits it. A permit that is dropped before its result is reported gives its slot back
    and does not count, with a ResourceWarning. It can be used again after its end.
    """
    def acquire(self, *, timeout: _Seconds | None = None) -> Literal[True]:
        """Begin the call, waiting in the wait queue for a slot, and return True.

        It waits at most `timeout` seconds; without it, as long as the `timeout` of the permit says. Raises Overloaded if there is
        neither a slot nor a place in the wait queue, if no slot was free in time, or if the call was shed; RuntimeError if the
        permit is held already; ValueError, TypeError or OverflowError for an invalid `timeout`.

        If an exception from a signal handler interrupts the wait, nothing has been acquired, and later waiters move up.
        """
    async def acquire_async(self, *, timeout: _Seconds | None = ...) -> Literal[True]:
        """Begin the call, waiting for a slot in the wait queue, from a coroutine, and return True.

        Works as `acquire`. If it is cancelled, nothing has been acquired, and later waiters move up.
        """
    def try_acquire(self) -> bool:
        """Begin the call if a slot is free and nobody is waiting. Return whether it has begun. Never waits.

        Raises RuntimeError if the permit is held already.
        """
    def success(self) -> None:
        """Report that the call was served. Only the first report counts: later ones, and how the block ends, have no effect.

        How long it took counts. Raises RuntimeError if the permit has not been admitted.
        """
    def failure(self, error: BaseException | None = None, *, retry_after: _Seconds | None = None) -> None:
        """Report that the service could not serve the call. Only the first report counts: later ones, and how the block
        ends, have no effect.

        `error` is the exception, if there was one: what it asks for by `retry_after` or a response counts. `retry_after`
        is what the server asked for, in seconds: calls that are refused meanwhile get it as their `retry_after`, at
        most 600 seconds.

        Raises RuntimeError if the permit has not been admitted; ValueError, TypeError or OverflowError for an invalid
        argument.
        """
    def ignore(self) -> None:
        """Report that the call says nothing about the service. Its slot is free.

        Raises RuntimeError if the permit has not been admitted.
        """
    def __enter__(self) -> Self: ...
    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> None: ...
    async def __aenter__(self) -> Self:
        """Enter the block, waiting as `with` does."""
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the block, as `with` does."""
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...

@final
class CubicRate:
    """The rate that a service can sustain, found by its refusals. Times are those of a monotonic clock, in seconds."""
    def __new__(cls, min: float, max: float, decrease: float, scale: float, now: float) -> Self: ...
    def succeeded(self, now: float) -> None: ...
    def throttled(self, began: float, now: float) -> None: ...
    def configure(self, max: float) -> None: ...
    def seen(self) -> tuple[float, float, int, float]:
        """The rate now, the configured rate, the number of cuts, and in how many seconds after a cut at this rate it is reached again."""

@disjoint_base
class CircuitBreaker:
    """A circuit breaker: it watches calls to a service, and refuses them for a while when too many fail or are slow.

    `permit()` returns a context manager for one call: it raises CircuitOpen on entry if the breaker is open, and takes
    the result from how the block ends. The breaker also decorates functions.

    The breaker opens when, of the last `window` seconds (or of the last `calls` results) with at least `min_calls`
    results, a share of `failure_rate` failed or a share of `slow_rate` took `slow_after` seconds or more; and, for
    services that are called rarely, when `run` failures in a row have come over at least `window` seconds. `run=None`
    is without that rule. It is open for `open_for` seconds, twice as long each time it opens again up to
    `open_for_max`, and at least as long as the `retry_after` of the failure (at most 600 seconds). Then it lets
    `probes` calls through: when all have succeeded it closes, when one fails or is slow it opens again. A probe that
    has not ended after `probe_timeout` seconds gives its place to another call.

    `failure` says which exceptions are failures: a class, a tuple of classes, or a function. Other exceptions are
    answers of the service and count as successes, except those that `ignore` names, which do not count. Cancellation,
    KeyboardInterrupt, GeneratorExit and this package's own refusals never count. The result of a call counts only if
    the state has not changed since the call began.

    `on_change(old, new, why)` is called with the names of the states and a text, outside every lock, on the thread
    whose call made the change; an exception in it goes to `sys.unraisablehook`. With `metrics_only` the breaker changes
    its state as usual and refuses nothing.

    Fairness: nobody waits; of several calls at the same moment those that come first become the probes, however many
    threads and tasks there are.

    The states are those of Nygard's *Release It!* (2007). The window of failure rates, and most of the numbers in the
    defaults, are from Hystrix; that a result belongs to the state in which its call began is from Sony's gobreaker, and
    an open time that grows and falls again from Envoy's outlier detection.

    Raises ValueError, TypeError or OverflowError for invalid arguments.
    """
    def __init__(
        self,
        *,
        failure_rate: float = 0.5,
        window: _Seconds = 10.0,
        min_calls: SupportsIndex = 20,
        run: SupportsIndex | None = 5,
        slow_after: _Seconds | None = None,
        slow_rate: float = 0.8,
        open_for: _Seconds = 5.0,
        open_for_max: _Seconds = 60.0,
        probes: SupportsIndex = 3,
        probe_timeout: _Seconds = 30.0,
        failure: _Errors = ...,
        ignore: _Errors = (),
        on_change: Callable[[_BreakerState, _BreakerState, str], object] | None = None,
        calls: SupportsIndex | None = None,
        metrics_only: bool = False,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""
    @property
    def state(self) -> _BreakerState:
        """The state in which the next call finds the breaker: "closed", "open", "half_open", "forced_open" or "disabled"."""
    @property
    def retry_after(self) -> float:
        """Seconds until the next call may be let through; 0 if that is now.

        If all probes are on their way, or the breaker is forced open, it is a hint.
        """
    def permit(self) -> CircuitPermit:
        """Return a permit for one call: a context manager (`with`, `async with`).

        Entering it raises CircuitOpen if the breaker does not let the call through. The end of the block records
        the result: see the class, and `CircuitPermit.success`, `failure` and `ignore`.
        """
    def _refuse(self) -> None: ...
    def force_open(self, for_: _Seconds | None = None) -> None:
        """Refuse every call from now on: for `for_` seconds, or until `reset` is called.

        When the time is over, the breaker lets probes through, as after it has opened on its own.

        Raises ValueError, TypeError or OverflowError for an invalid `for_`; Overloaded if it is the breaker of a key
        for which there is no room.
        """
    def disable(self) -> None:
        """Let every call through from now on, and only count, until `reset` is called.

        Raises Overloaded if it is the breaker of a key for which there is no room.
        """
    def reset(self) -> None:
        """Close the breaker, as if it were new: no earlier result counts, and the open time is `open_for` again."""
    def statistics(self) -> BreakerStatistics:
        """Return a snapshot of the breaker's state, counters and rates."""
    @overload
    def __call__(self, function: _F, /, *, failed: Callable[[Any], object] | None = None) -> _F:
        """Decorate a function so that each call goes through the breaker.

        Use `@breaker`, or `@breaker(failed=lambda response: response.status_code >= 500)`: `failed` is called with what
        the function returns, and says whether that is a failure. The function can be a def, an async def, or a generator
        function of either kind; a generator's call begins with the iteration and ends with it. A call raises
        CircuitOpen if the breaker does not let it through.
        """
    @overload
    def __call__(self, function: None = None, /, *, failed: Callable[[Any], object] | None = None) -> Callable[[_F], _F]: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...

@final
class CircuitPermit:
    """One call through a breaker, as returned by `CircuitBreaker.permit`: a context manager (`with`, `async with`).

    It is admitted on entry, which raises CircuitOpen if the breaker is open; nothing waits. The result is taken from how
    the block ends, unless `success`, `failure` or `ignore` has reported it before. Outside a block, `acquire` or
    `try_acquire` admits it. A permit that is dropped before its result is reported does not count, with a ResourceWarning.
    It can be used again after its end.
    """
    def acquire(self) -> Literal[True]:
        """Begin the call. Return True. Never waits.

        Raises CircuitOpen if the breaker does not let it through, RuntimeError if the permit is held already.
        """
    def try_acquire(self) -> bool:
        """Begin the call if the breaker lets it through. Return whether it does. Never waits.

        Raises RuntimeError if the permit is held already.
        """
    def success(self) -> None:
        """Report that the call succeeded. Only the first report counts: later ones, and how the block ends, have no effect.

        Raises RuntimeError if the permit has not been admitted.
        """
    def failure(self, error: BaseException | None = None, *, retry_after: _Seconds | None = None) -> None:
        """Report that the call failed. Only the first report counts: later ones, and how the block ends, have no effect.

        `error` is the exception, if there was one: what it asks for by `retry_after` or a response counts. `retry_after`
        is what the server asked for, in seconds: if the breaker opens now, it stays open at least as long, up to 600
        seconds.

        Raises RuntimeError if the permit has not been admitted; ValueError, TypeError or OverflowError for an invalid
        argument.
        """
    def ignore(self) -> None:
        """Report that the call says nothing about the service. A probe gives its place to another call.

        Raises RuntimeError if the permit has not been admitted.
        """
    def __enter__(self) -> Self: ...
    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...

@disjoint_base
class KeyedBreaker:
    """A circuit breaker for each of very many keys (hosts, users, tenants), in bounded memory.

    It takes the arguments of a CircuitBreaker, and `max_keys`. Keys are str, bytes, int, UUID, IP addresses, and tuples
    of those; only a keyed 128-bit hash of each is stored. `key(k)` returns a light handle with the whole interface of a
    breaker; the methods of this class are the handle's, with the key as the first argument, and `on_change` is called
    with the key before its other arguments.

    At most `max_keys` keys are remembered. To make room for another, a key is forgotten that has been closed without a
    failure in the last `window` seconds. A breaker that is open is never forgotten while it is open. If no key can be
    forgotten, calls for further keys are let through without being counted; the statistics say how many.

    Fairness: nobody waits; of several calls of a key at the same moment those that come first become its probes. The
    sources of the rules are those that CircuitBreaker names.

    Raises ValueError, TypeError or OverflowError for invalid arguments.
    """
    def __init__(
        self,
        *,
        max_keys: SupportsIndex,
        failure_rate: float = 0.5,
        window: _Seconds = 10.0,
        min_calls: SupportsIndex = 20,
        run: SupportsIndex | None = 5,
        slow_after: _Seconds | None = None,
        slow_rate: float = 0.8,
        open_for: _Seconds = 5.0,
        open_for_max: _Seconds = 60.0,
        probes: SupportsIndex = 3,
        probe_timeout: _Seconds = 30.0,
        failure: _Errors = ...,
        ignore: _Errors = (),
        on_change: Callable[[Any, _BreakerState, _BreakerState, str], object] | None = None,
        calls: SupportsIndex | None = None,
        metrics_only: bool = False,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""
    @property
    def max_keys(self) -> int:
        """The largest number of keys that are remembered."""
    def key(self, key: _Key) -> BreakerKey:
        """Return the breaker of one key, as a light handle with the whole interface of a breaker.

        Raises TypeError for a key of an unsupported type.
        """
    def permit(self, key: _Key) -> CircuitPermit:
        """Return a permit for one call with the key. Works as `CircuitBreaker.permit`."""
    def state(self, key: _Key) -> _BreakerState:
        """Return the state in which the next call with the key finds its breaker. Works as `CircuitBreaker.state`."""
    def retry_after(self, key: _Key) -> float:
        """Return the seconds until a call with the key may be let through. Works as `CircuitBreaker.retry_after`."""
    def force_open(self, key: _Key, for_: _Seconds | None = None) -> None:
        """Refuse every call with the key from now on. Works as `CircuitBreaker.force_open`."""
    def disable(self, key: _Key) -> None:
        """Let every call with the key through from now on, and only count. Works as `CircuitBreaker.disable`."""
    def reset(self, key: _Key) -> None:
        """Close the breaker of the key, as if it were new. Works as `CircuitBreaker.reset`."""
    def by(self, *, key: Callable[..., _Key], failed: Callable[[Any], object] | None = None) -> Callable[[_F], _F]:
        """Decorate a function so that each call goes through the breaker of a key that depends on the call.

        Use `@per_host.by(key=lambda url: urlsplit(url).hostname)`: `key` is called with the arguments of the call.
        Otherwise works as the decorator of a `CircuitBreaker`; a call also raises what `key` raises.
        """
    def statistics(self) -> KeyedBreakerStatistics:
        """Return a snapshot of the counters of all keys together."""
    def __len__(self) -> int: ...
    def __bool__(self) -> Literal[True]: ...
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...

@final
class BreakerKey(CircuitBreaker):
    """The breaker of one key, as returned by `KeyedBreaker.key`. A light handle: the `KeyedBreaker` holds the breaker's
    state.
    """
    @property
    def key(self) -> _Key:
        """The key."""

@disjoint_base
class RetryBudget:
    """A budget for retries, shared by any number of threads and tasks: in an outage it bounds what they add to the load.

    A retry takes a token (`try_acquire`), and is refused if there is none. A call that succeeds at its first attempt
    adds `ratio` of a token (`deposit`), and each second adds `per_second`, up to `reserve` tokens, with which the budget
    begins. So in the long run at most a share of `ratio` of the successful calls is added as retries, and in an outage,
    when nothing succeeds, almost nothing.

    Fairness: nobody waits; the first caller takes the token.

    The method is that of the AWS SDKs, of gRPC (A6) and of Finagle. Raises ValueError, TypeError or OverflowError for
    invalid arguments.
    """
    def __init__(
        self, ratio: float = 0.1, *, reserve: float = 10, per_second: float = 0.1, clock: Clock | None = None, name: str | None = None
    ) -> None: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""
    @property
    def ratio(self) -> float:
        """What a call that succeeds at its first attempt adds, in tokens."""
    @property
    def reserve(self) -> float:
        """The largest number of tokens."""
    @property
    def per_second(self) -> float:
        """What each second adds, in tokens."""
    @property
    def tokens(self) -> float:
        """The number of tokens now."""
    def try_acquire(self) -> bool:
        """Take a token for a retry, if there is one. Return whether there was. Never waits."""
    def deposit(self) -> None:
        """Say that a call has succeeded at its first attempt: adds `ratio` of a token."""
    def statistics(self) -> RetryBudgetStatistics:
        """Return a snapshot of the budget's tokens and counters."""
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...

# The base of `Retry`, which is written in Python.
@disjoint_base
class _FirstAttempts:
    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def _prepare(self, current: ContextVar[Any], budget: RetryBudget, has_deadline: bool) -> None: ...
    def _run(self, function: Any, args: Any, kwargs: Any) -> Any: ...
    def _count_first(self) -> None: ...
    @property
    def _first_successes(self) -> int: ...

def _raise_again(error: BaseException) -> NoReturn: ...

# The base of `sluicegate._attempts.Attempts`, which is written in Python.
@disjoint_base
class _LayerAttempts:
    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def _prepare(self, breaker: Any, rate: Any, concurrency: Any) -> None: ...
    def _make(self, function: Any, args: Any, kwargs: Any) -> Any: ...

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
