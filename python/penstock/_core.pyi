# ruff: noqa: D205 (the docstrings are the binary's, whatever they look like)
import queue
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from types import GenericAlias, MappingProxyType, TracebackType
from typing import Any, ClassVar, Final, Generic, Literal, NoReturn, TypeAlias, TypeVar, final, overload, type_check_only
from uuid import UUID

from _typeshed import SupportsRichComparison
from typing_extensions import Self, disjoint_base

from penstock._statistics import KeyedRateStatistics, QueueStatistics, RateStatistics
from penstock._views import AsyncQueueView, SyncQueueView

_T = TypeVar("_T")
_OrderedT = TypeVar("_OrderedT", bound=SupportsRichComparison)
_Q_co = TypeVar("_Q_co", covariant=True)
_F = TypeVar("_F", bound=Callable[..., Any])

# What `KeyedTokenBucket` takes for a key. (Not bool, which type checkers take for an int.)
_Key: TypeAlias = str | bytes | int | UUID | IPv4Address | IPv6Address | tuple[_Key, ...]

__all__ = [
    "STAND_INS",
    "WAIT",
    "AsyncOperation",
    "Clock",
    "Ends",
    "KeyedBucket",
    "KeyedTokenBucket",
    "LeakyBucket",
    "LifoQueue",
    "ManualClock",
    "PriorityQueue",
    "Queue",
    "RateLimiter",
    "RateLimits",
    "Reservation",
    "SimpleQueue",
    "SlidingWindow",
    "TokenBucket",
    "__version__",
    "_after_fork_in_child",
]

__version__: Final[str]

# The docstrings are the binary's, word for word (a test compares them): editors cannot read them there.

@final
class Clock:
    """Where an object reads the time. `Clock()` is the system's monotonic clock; `penstock.testing.ManualClock`
    stands still until it is told to move. There are no others: the class cannot be subclassed.
    """

    def __new__(cls) -> Self: ...
    def __init_subclass__(cls, **_kwargs: object) -> None: ...
    def now(self) -> float:
        """The time in seconds since an arbitrary moment. Never goes back."""

@final
class ManualClock(Clock):  # pyright: ignore[reportGeneralTypeIssues]  # nobody else may
    """A clock that stands still until it is told to move, for tests of anything that waits or measures.

    `start` is the first reading, in seconds. `with clock:` makes it the clock of every penstock object made inside that is not given
    one (in this context: a thread started inside has its own).
    """

    def __new__(cls, start: float = 0.0) -> Self: ...
    @property
    def waiters(self) -> int:
        """How many operations, of threads and tasks, with a timeout or without, wait on objects with this clock."""

    def advance(self, seconds: float) -> None:
        """Move the clock by `seconds` (to the nanosecond). Whoever is due on the way is woken, in time order.

        Raises ValueError, TypeError or OverflowError for a bad amount. A woken thread or task runs when it gets
        its turn, not inside this call.
        """

    async def advance_async(self, seconds: float) -> None:
        """Move the clock by `seconds`, then let this loop settle: whoever was woken on it has run when this returns."""

    def wait_for_waiters(self, n: int, timeout: float = 5.0) -> None:
        """Block, in real time, until at least `n` operations wait on objects with this clock.

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
        """The bound on the number of items; zero or less for none. May be assigned: waiting putters notice."""

    @maxsize.setter
    def maxsize(self, maxsize: int) -> None: ...  # pyright: ignore[reportIncompatibleVariableOverride]
    @property
    def unfinished_tasks(self) -> int:
        """How many items have been put for which `task_done` has not been called yet."""

    @unfinished_tasks.setter
    def unfinished_tasks(self, count: int) -> None: ...  # pyright: ignore[reportIncompatibleVariableOverride]
    @property
    def is_shutdown(self) -> bool:
        """True once `shutdown` has been called."""

    # A deque or a list, or whatever the hooks of a subclass made it.
    @property
    def queue(self) -> Any:
        """A copy of what is in the queue: a `deque` (Queue) or list (LifoQueue, PriorityQueue: in heap order)."""

    @queue.setter
    def queue(self, storage: Any) -> None: ...
    @property
    def mutex(self) -> NoReturn:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Not available: every operation is atomic by itself. Raises AttributeError naming the alternatives."""

    @property
    def not_empty(self) -> _Condition:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Stands in for the standard library's condition: `wait(timeout)` waits until there is an item."""

    @property
    def not_full(self) -> _Condition:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Stands in for the standard library's condition: `wait(timeout)` waits until there is room."""

    @property
    def all_tasks_done(self) -> _Condition:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Stands in for the standard library's condition: `wait(timeout)` waits until nothing is unfinished."""

    def put(self, item: _T, block: bool = True, timeout: float | None = None) -> None:
        """Put an item into the queue.

        Waits for room while the queue is full: without a limit if `timeout` is None, else for at most
        `timeout` seconds. With `block=False` it never waits and `timeout` is ignored.

        Raises Full if there was no room (in time), ShutDown if the queue has been shut down, ValueError for a
        negative or NaN timeout.

        Fairness: waiters get their turn in the order they came, threads and tasks in one line. Interrupted by an
        exception from a signal handler, it has put nothing.
        """

    def get(self, block: bool = True, timeout: float | None = None) -> _T:
        """Remove and return the next item.

        Waits for one while the queue is empty: without a limit if `timeout` is None, else for at most `timeout`
        seconds. With `block=False` it never waits and `timeout` is ignored.

        Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is drained,
        ValueError for a negative or NaN timeout.

        Fairness: waiters get their turn in the order they came, threads and tasks in one line. Interrupted by an
        exception from a signal handler, it has taken nothing.
        """

    def put_nowait(self, item: _T) -> None:
        """Put an item without waiting. Raises Full if there is no room, ShutDown if the queue has been shut down.

        It never waits, so it never stands in line: if there is room it is taken, whoever waits.
        """

    def get_nowait(self) -> _T:
        """Remove and return the next item without waiting. Raises Empty if there is none, ShutDown if the queue has
        been shut down and is drained.

        It never waits, so it never stands in line: if there is an item it is taken, whoever waits.
        """

    def qsize(self) -> int:
        """The number of items in the queue, at this moment."""

    def empty(self) -> bool:
        """True if the queue holds nothing, at this moment."""

    def full(self) -> bool:
        """True if the queue holds `maxsize` items, at this moment. Never, if there is no bound."""

    def task_done(self) -> None:
        """Say that one item that was got has been dealt with.

        Raises ValueError if called more often than items were put.
        """

    def join(self, timeout: float | None = None) -> None:
        """Block until every item that was put has been dealt with (see `task_done`).

        Raises TimeoutError after `timeout` seconds. It is enough that the count of unfinished tasks reached zero at
        some moment during the wait.
        """

    def shutdown(self, immediate: bool = False) -> None:
        """Shut the queue down: puts raise ShutDown from now on, gets when nothing is left.

        With `immediate=True` everything that is in the queue is removed, and counts as finished. Wakes everybody who
        waits. May be called again, also to make a graceful shutdown an immediate one.
        """

    def _init(self, maxsize: int) -> None: ...
    def _qsize(self) -> int: ...
    def _put(self, item: _T) -> None: ...
    def _get(self) -> _T: ...

    # What it has not.

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""

    def put_many(self, items: Iterable[_T], block: bool = True, timeout: float | None = None) -> int:
        """Put every item of `items`, in order, and return how many that were.

        A list or tuple that fits enters in one step. What does not fit enters in chunks, with no other
        putter's items in between; an item is taken from an iterator only when its place is certain, so that
        the iterator stands at the first item that was not put. Waits for room as `put` does.

        Raises Full, ShutDown, or what a signal handler or the iterable raised, each with an attribute
        `accepted`: how many items were put.
        """

    def get_many(self, max: int, block: bool = True, timeout: float | None = None, *, linger: float = 0.0) -> list[_T]:
        """Remove and return 1 to `max` items, as a list.

        Waits for the first item as `get` does. With `linger` it then waits up to that many seconds for more: until
        `max` are there, the queue is full, a putter waits, or the queue is shut down. Meanwhile it keeps its
        place in line and has taken nothing.

        Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is drained,
        ValueError, TypeError or OverflowError for a bad `max`, `timeout` or `linger`.
        """

    def clear(self) -> int:
        """Remove everything that is in the queue, in one step, and return how many items that were.

        Each counts as a finished task.
        """

    def peek(self) -> _T:
        """Return the item that `get` would return next, without removing it.

        Raises Empty if there is none, ShutDown if the queue has been shut down and is drained. Another getter may
        take the item before you do.
        """

    def statistics(self) -> QueueStatistics:
        """What the queue has seen so far, as a frozen snapshot."""

    def producers(self, n: int = 1) -> _SharedEnd[Self]:
        """Return a context manager (`with`, `async with`) that `n` threads or tasks share as producers.

        When the last of them has left, the queue is shut down. If one left by an exception, consumers get
        ShutDown with the first such exception as `__cause__`, once they have drained the queue.
        """

    def consumers(self, n: int = 1) -> _SharedEnd[Self]:
        """Return a context manager (`with`, `async with`) that `n` threads or tasks share as consumers.

        When the last of them has left, the queue is shut down at once, and what is in it is removed, so
        that no producer waits for ever.
        """

    @property
    def async_q(self) -> AsyncQueueView[_T]:
        """The same queue with exactly `asyncio.Queue`'s interface."""

    @property
    def sync_q(self) -> SyncQueueView[_T]:
        """The same queue with exactly `queue.Queue`'s interface."""

    async def put_async(self, item: _T, timeout: float | None = None) -> None:
        """Put an item into the queue, from a coroutine.

        Waits for room while the queue is full: without a limit if `timeout` is None, else for at most
        `timeout` seconds. Does not suspend when there is room, except that after 128 operations in a row the
        loop gets a turn.

        Raises Full if there was no room in time, ShutDown if the queue has been shut down, ValueError,
        TypeError or OverflowError for a bad `timeout`.

        Fairness: waiters get their turn in the order they came, threads and tasks in one line. Cancelled, it
        has put nothing.
        """

    async def get_async(self, timeout: float | None = None) -> _T:
        """Remove and return the next item, from a coroutine.

        Waits for one while the queue is empty: without a limit if `timeout` is None, else for at most
        `timeout` seconds. Does not suspend when there is an item, except that after 128 operations in a row
        the loop gets a turn.

        Raises Empty if there was no item in time, ShutDown if the queue has been shut down and is drained,
        ValueError, TypeError or OverflowError for a bad `timeout`.

        Fairness: waiters get their turn in the order they came, threads and tasks in one line. Cancelled, it
        has taken nothing: the item stays in the queue.
        """

    async def put_many_async(self, items: Iterable[_T], *, timeout: float | None = None) -> int:
        """Put every item of `items`, in order, from a coroutine, and return how many that were.

        As `put_many`. What ends it early, a cancellation too, carries `accepted`: how many items were put.
        """

    async def get_many_async(self, max: int, *, timeout: float | None = None, linger: float = 0.0) -> list[_T]:
        """Remove and return 1 to `max` items, as a list, from a coroutine.

        As `get_many`. Cancelled, it has taken nothing.
        """

    async def join_async(self, timeout: float | None = None) -> None:
        """Wait until every item that was put has been dealt with (see `task_done`), from a coroutine.

        Raises TimeoutError after `timeout` seconds. It is enough that the count of unfinished tasks reached
        zero at some moment during the wait.
        """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __iter__(self) -> Iterator[_T]: ...
    def __aiter__(self) -> AsyncIterator[_T]: ...
    def __bool__(self) -> Literal[True]: ...
    __contains__: ClassVar[None]
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _try_put(self, item: _T) -> object: ...
    def _try_get(self) -> Any: ...
    def _async_put(self, item: _T, timeout: float | None) -> AsyncOperation: ...
    def _async_get(self, timeout: float | None) -> AsyncOperation: ...
    def _async_put_many(self, items: Iterable[_T], timeout: float | None) -> AsyncOperation: ...
    def _async_get_many(self, max: int, timeout: float | None, linger: float) -> AsyncOperation: ...
    def _async_join(self, timeout: float | None) -> AsyncOperation: ...
    def _wait_ready(self, putting: bool, timeout: float | None) -> bool: ...
    def _fail(self, error: BaseException) -> None: ...

@disjoint_base
class LifoQueue(Queue[_T]):
    """A last-in, first-out queue."""

@disjoint_base
class PriorityQueue(Queue[_OrderedT]):
    """A queue that gives back the smallest item first, with exactly the order of `heapq`."""

@disjoint_base
class SimpleQueue(Generic[_T]):
    """An unbounded first-in, first-out queue without task tracking or shutdown."""

    def __init__(self, *, name: str | None = None, clock: Clock | None = None) -> None: ...
    def put(self, item: _T, block: bool = True, timeout: float | None = None) -> None:
        """Put an item into the queue. Never waits: the queue has no bound, and `block` and `timeout` are
        ignored.
        """

    def get(self, block: bool = True, timeout: float | None = None) -> _T:
        """Remove and return the next item.

        Waits for one while the queue is empty: without a limit if `timeout` is None, else for at most `timeout`
        seconds. With `block=False` it never waits and `timeout` is ignored.

        Raises Empty if there was no item (in time), ValueError for a negative or NaN timeout, OverflowError for one
        that is too long.

        Fairness: waiters get their turn in the order they came, threads and tasks in one line. Interrupted by an
        exception from a signal handler, it has taken nothing.
        """

    def put_nowait(self, item: _T) -> None:
        """Put an item into the queue, as `put` does."""

    def get_nowait(self) -> _T:
        """Remove and return the next item without waiting. Raises Empty if there is none.

        It never waits, so it never stands in line: if there is an item it is taken, whoever waits.
        """

    def qsize(self) -> int:
        """The number of items in the queue, at this moment."""

    def empty(self) -> bool:
        """True if the queue holds nothing, at this moment."""

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""

    def put_many(self, items: Iterable[_T], block: bool = True, timeout: float | None = None) -> int:
        """Put every item of `items`, in order, and return how many that were.

        A list or tuple that fits enters in one step. What does not fit enters in chunks, with no other
        putter's items in between; an item is taken from an iterator only when its place is certain, so that
        the iterator stands at the first item that was not put. Waits for room as `put` does.

        Raises Full, ShutDown, or what a signal handler or the iterable raised, each with an attribute
        `accepted`: how many items were put.
        """

    def get_many(self, max: int, block: bool = True, timeout: float | None = None, *, linger: float = 0.0) -> list[_T]:
        """Remove and return 1 to `max` items, as a list.

        Waits for the first item as `get` does. With `linger` it then waits up to that many seconds for more: until
        `max` are there, the queue is full, a putter waits, or the queue is shut down. Meanwhile it keeps its
        place in line and has taken nothing.

        Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is drained,
        ValueError, TypeError or OverflowError for a bad `max`, `timeout` or `linger`.
        """

    def clear(self) -> int:
        """Remove everything that is in the queue, in one step, and return how many items that were.

        Each counts as a finished task.
        """

    def peek(self) -> _T:
        """Return the item that `get` would return next, without removing it.

        Raises Empty if there is none, ShutDown if the queue has been shut down and is drained. Another getter may
        take the item before you do.
        """

    def statistics(self) -> QueueStatistics:
        """What the queue has seen so far, as a frozen snapshot."""

    async def put_async(self, item: _T, timeout: float | None = None) -> None:
        """Put an item into the queue, from a coroutine.

        Waits for room while the queue is full: without a limit if `timeout` is None, else for at most
        `timeout` seconds. Does not suspend when there is room, except that after 128 operations in a row the
        loop gets a turn.

        Raises Full if there was no room in time, ShutDown if the queue has been shut down, ValueError,
        TypeError or OverflowError for a bad `timeout`.

        Fairness: waiters get their turn in the order they came, threads and tasks in one line. Cancelled, it
        has put nothing.
        """

    async def get_async(self, timeout: float | None = None) -> _T:
        """Remove and return the next item, from a coroutine.

        Waits for one while the queue is empty: without a limit if `timeout` is None, else for at most
        `timeout` seconds. Does not suspend when there is an item, except that after 128 operations in a row
        the loop gets a turn.

        Raises Empty if there was no item in time, ShutDown if the queue has been shut down and is drained,
        ValueError, TypeError or OverflowError for a bad `timeout`.

        Fairness: waiters get their turn in the order they came, threads and tasks in one line. Cancelled, it
        has taken nothing: the item stays in the queue.
        """

    async def put_many_async(self, items: Iterable[_T], *, timeout: float | None = None) -> int:
        """Put every item of `items`, in order, from a coroutine, and return how many that were.

        As `put_many`. What ends it early, a cancellation too, carries `accepted`: how many items were put.
        """

    async def get_many_async(self, max: int, *, timeout: float | None = None, linger: float = 0.0) -> list[_T]:
        """Remove and return 1 to `max` items, as a list, from a coroutine.

        As `get_many`. Cancelled, it has taken nothing.
        """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __iter__(self) -> Iterator[_T]: ...
    def __aiter__(self) -> AsyncIterator[_T]: ...
    def __bool__(self) -> Literal[True]: ...
    __contains__: ClassVar[None]
    def __reduce__(self) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _try_put(self, item: _T) -> object: ...
    def _try_get(self) -> Any: ...
    def _async_put(self, item: _T, timeout: float | None) -> AsyncOperation: ...
    def _async_get(self, timeout: float | None) -> AsyncOperation: ...
    def _async_put_many(self, items: Iterable[_T], timeout: float | None) -> AsyncOperation: ...
    def _async_get_many(self, max: int, timeout: float | None, linger: float) -> AsyncOperation: ...

# Rate limits. An amount is an int or a float.

@disjoint_base
class RateLimiter:
    """Something that admits amounts at a limited rate: the common base of `TokenBucket`, `LeakyBucket`, `SlidingWindow` and the handles
    that `KeyedTokenBucket.key` returns. It cannot be made itself.
    """

    def __new__(cls, *_args: object, **_kwargs: object) -> NoReturn: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""

    def try_acquire(self, n: float = 1) -> bool:
        """Take `n` tokens if they can go now and nobody waits. Returns whether it did. Never waits.

        It overtakes nobody: while others wait in line it is refused. `n=0` goes always and changes nothing.

        Raises ValueError if `n` can never pass at once; ValueError, TypeError or OverflowError for a bad `n`.
        """

    def acquire(self, n: float = 1, *, timeout: float | None = None) -> Literal[True]:
        """Take `n` tokens, waiting for them in line.

        With `timeout` it waits for at most that many seconds, and if it can be foreseen that this is not enough it
        does not wait at all. `n=0` goes at once and changes nothing.

        Raises RateLimited, with `retry_after` in seconds and nothing taken, if `n` cannot be had in time or no place
        in line is free; ValueError if `n` can never pass at once; ValueError, TypeError or OverflowError for a bad
        argument.

        Fairness: strictly in the order of arrival, threads and tasks in one line; nobody overtakes a large request.
        Interrupted by an exception from a signal handler, it has taken nothing, and those behind it go earlier.
        """

    async def acquire_async(self, n: float = 1, *, timeout: float | None = None) -> Literal[True]:
        """Take `n` tokens, waiting for them in line, from a coroutine.

        As `acquire`. Does not suspend when they can be had at once, except that after 128 operations in a row the loop
        gets a turn. Cancelled, it has taken nothing, and those behind it go earlier.
        """

    def reserve(self, n: float = 1, *, max_wait: float | None = None) -> _Reservation:
        """Book `n` tokens for the first moment possible, after everybody who waits.

        Returns a Reservation, which says when that is and can be waited for, settled and cancelled. Its moment is a
        promise: nothing that happens afterwards moves it.

        Raises RateLimited, having booked nothing, if it would be more than `max_wait` seconds away or no place in
        line is free; ValueError if `n` can never pass at once; ValueError, TypeError or OverflowError for a bad
        argument.
        """

    def refund(self, n: float) -> None:
        """Give `n` tokens back, at most until the bucket is full.

        Raises ValueError, TypeError or OverflowError for a bad `n`.
        """

    def debit(self, n: float) -> None:
        """Take `n` tokens without asking. That may leave a debt, which those who come later wait off.

        Raises ValueError, TypeError or OverflowError for a bad `n`.
        """

    @property
    def tokens(self) -> float:
        """The tokens available now; negative in debt. A sliding window says what is left of its limit, a leaky bucket
        what a bucket for one token would say.
        """

    def retry_after(self, n: float = 1) -> float:
        """The seconds until `try_acquire(n)` can pass, those in line being served first; 0.0 if it can now.

        Whoever comes exactly then is admitted, if nobody has come in between.

        Raises ValueError if `n` can never pass at once; ValueError, TypeError or OverflowError for a bad `n`.
        """

    def pause_for(self, seconds: float) -> None:
        """Admit nobody before `seconds` have passed (a server's Retry-After). Tokens go on coming in meanwhile.

        A shorter pause does not end a longer one. Reservations keep their moments.

        Raises ValueError, TypeError or OverflowError for bad `seconds`.
        """

    def statistics(self) -> RateStatistics:
        """A snapshot of what the limiter has seen, at this moment."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_exc: object) -> None: ...
    @overload
    def __call__(self, function: _F, /, *, n: float = 1, timeout: float | None = None) -> _F:
        """Decorate a function (def, async def, or a generator function of either kind): each call first takes `n` tokens.

        `@bucket`, or `@bucket(n=2, timeout=1)`. A generator takes them when iteration begins. Raises what `acquire` raises.
        """

    @overload
    def __call__(self, function: None = None, /, *, n: float = 1, timeout: float | None = None) -> Callable[[_F], _F]: ...
    def __reduce_ex__(self, _protocol: object) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _try_acquire(self, n: float = 1) -> object: ...
    def _async_acquire(self, n: float, timeout: float | None) -> AsyncOperation: ...
    def _check(self, n: float, timeout: float | None) -> None: ...

@disjoint_base
class TokenBucket(RateLimiter):
    """A token bucket: `rate` tokens come in per `period` seconds, up to `burst` of them can be saved.

    In the first t seconds up to `burst + rate * t` pass, and so in any window of that length. For somebody
    else's quota of N a minute that is too much: use `SlidingWindow(N, 60)`. A bucket begins with `initial` tokens,
    by default full. Rates and amounts may be fractions; amounts are counted in billionths of a token.

    Shared by any number of threads and event loops. Those who wait stand in one line, strictly first come, first
    served. `with bucket:` takes one token, `@bucket` takes one before each call.

    Raises ValueError, TypeError or OverflowError for bad arguments.

    Algorithm: GCRA (ITU-T I.371, annex A).
    """

    def __new__(
        cls,
        rate: float,
        burst: float,
        *,
        period: float = 1.0,
        initial: float | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> Self: ...
    @property
    def rate(self) -> float:
        """Tokens that come in per `period`."""

    @property
    def burst(self) -> float:
        """Tokens that can be saved."""

    @property
    def period(self) -> float:
        """Seconds that `rate` is counted over."""

    def set_rate(self, rate: float, burst: float | None = None) -> None:
        """Change the rate, per the same period, and the burst, if one is given, from now on.

        Tokens stay, as far as they fit, and so do debts. The times of those who wait are worked out anew; one
        whose amount no longer fits the burst gets ValueError. Reservations keep their moments.

        Raises ValueError, TypeError or OverflowError for bad arguments, with nothing changed.
        """

@disjoint_base
class LeakyBucket(RateLimiter):
    """A shaper: lets callers go evenly spaced, one of n tokens holding up the next for `n / rate` periods.

    At most `capacity` stand in line, reservations included; the next is refused. Nothing is saved up: after a
    pause the first goes at once and the second after it has been paid for.

    Raises ValueError, TypeError or OverflowError for bad arguments.

    Algorithm: GCRA (ITU-T I.371, annex A) without a burst.
    """

    def __new__(
        cls,
        rate: float,
        capacity: int,
        *,
        period: float = 1.0,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> Self: ...
    @property
    def rate(self) -> float:
        """Tokens let go per `period`."""

    @property
    def capacity(self) -> int:
        """How many may stand in line."""

    @property
    def period(self) -> float:
        """Seconds that `rate` is counted over."""

    def set_rate(self, rate: float, capacity: int | None = None) -> None:
        """Change the rate, per the same period, and the capacity, if one is given, from now on.

        The times of those who wait are worked out anew. With a smaller capacity nobody is sent away who stands in
        line already. Reservations keep their moments.

        Raises ValueError, TypeError or OverflowError for bad arguments, with nothing changed.
        """

@disjoint_base
class SlidingWindow(RateLimiter):
    """A sliding window: never more than `limit` tokens in any window of `period` seconds, exactly.

    What is taken at t counts until just before t + `period`. This is what somebody else's quota needs, where a
    token bucket may let through up to twice as much in one window. It remembers each moment at which something
    was taken in the last `period`, so its memory grows with `limit`.

    Raises ValueError, TypeError or OverflowError for bad arguments.
    """

    def __new__(cls, limit: float, period: float, *, clock: Clock | None = None, name: str | None = None) -> Self: ...
    @property
    def limit(self) -> float:
        """Tokens that may be taken in any window."""

    @property
    def period(self) -> float:
        """The length of the window, in seconds."""

    def set_limit(self, limit: float, period: float | None = None) -> None:
        """Change the limit, and the period, if one is given, from now on.

        What has been taken counts on. The times of those who wait are worked out anew; one whose amount is more
        than the limit gets ValueError. Reservations keep their moments. What a shorter window has forgotten a
        longer one does not know.

        Raises ValueError, TypeError or OverflowError for bad arguments, with nothing changed.
        """

@disjoint_base
class RateLimits:
    """Several limiters, taken together: all or none.

    `RateLimits(requests=TokenBucket(50, 10), tokens=TokenBucket(90_000, 90_000, period=60))`. An amount by position is taken
    of each, amounts by name of each its own; then every limit must be named. Those who wait stand in one line, strictly
    first come, first served. Limiters may be shared between several sets, and used beside them.

    Raises ValueError if there is none, the same one twice, one of another clock, or one called `name`, `n`, `timeout` or `max_wait`;
    TypeError for what is no limiter.
    """

    def __new__(cls, *, name: str | None = None, **limits: RateLimiter) -> Self: ...
    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""

    @property
    def limits(self) -> MappingProxyType[str, RateLimiter]:
        """The limiters by name, read-only."""

    def try_acquire(self, n: float = 1, /, **amounts: float) -> bool:
        """Take `n` of each limit, or amounts by name, if all can go now and nobody waits. All or none.

        Returns whether it did. Never waits. Raises as `acquire` does for amounts that can never pass and bad arguments.
        """

    def acquire(self, n: float = 1, /, *, timeout: float | None = None, **amounts: float) -> Literal[True]:
        """Take `n` of each limit, or amounts by name, waiting for them in line. All or none.

        With `timeout` it waits for at most that many seconds, and if it can be foreseen that this is not enough it
        does not wait at all.

        Raises RateLimited, with `retry_after` in seconds and nothing taken, if they cannot be had in time; ValueError
        for an amount that can never pass at once; TypeError for a limit that is missing or unknown; ValueError,
        TypeError or OverflowError for a bad argument.

        Fairness: strictly in the order of arrival, threads and tasks in one line. Interrupted by an exception from a signal
        handler, it has taken nothing.
        """

    async def acquire_async(self, n: float = 1, /, *, timeout: float | None = None, **amounts: float) -> Literal[True]:
        """Take `n` of each limit, or amounts by name, waiting for them in line, from a coroutine. All or none.

        As `acquire`. Cancelled, it has taken nothing.
        """

    def reserve(self, n: float = 1, /, *, max_wait: float | None = None, **amounts: float) -> _ReservationByName:
        """Book `n` of each limit, or amounts by name, for the first moment at which all can go, after everybody who waits.

        Returns a Reservation. `settle` it by name when the true amounts are known.

        Raises RateLimited, having booked nothing, if that would be more than `max_wait` seconds away; else as `acquire`.
        """

    def refund(self, n: float = 1, /, **amounts: float) -> None:
        """Give tokens back: `n` to each limit, or amounts by name to those that are named.

        Raises TypeError for an unknown limit; ValueError, TypeError or OverflowError for a bad amount.
        """

    def debit(self, n: float = 1, /, **amounts: float) -> None:
        """Take tokens without asking: `n` of each limit, or amounts by name of those that are named.

        That may leave debts, which those who come later wait off. Raises as `refund` does.
        """

    @property
    def tokens(self) -> dict[str, float]:
        """The tokens available now, by name."""

    def retry_after(self, n: float = 1, /, **amounts: float) -> float:
        """The seconds until `try_acquire` with the same amounts can pass, those in line being served first; 0.0 if it can now.

        Raises as `acquire` does for amounts that can never pass and bad arguments.
        """

    def pause_for(self, seconds: float) -> None:
        """Admit nobody to any of the limits before `seconds` have passed (a server's Retry-After).

        Raises ValueError, TypeError or OverflowError for bad `seconds`.
        """

    def statistics(self) -> RateStatistics:
        """A snapshot of what the set has seen, at this moment. The members have their own."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_exc: object) -> None: ...
    @overload
    def __call__(self, function: _F, /, *, n: float | None = None, timeout: float | None = None, **amounts: float) -> _F:
        """Decorate a function: each call first takes `n` of each limit, or amounts by name.

        `@limits`, `@limits(n=2, timeout=1)`, or `@limits(requests=1, tokens=500)`. The function is a def, an async def, or a
        generator function of either kind: a generator takes them when iteration begins. Raises what `acquire` raises.
        """

    @overload
    def __call__(
        self, function: None = None, /, *, n: float | None = None, timeout: float | None = None, **amounts: float
    ) -> Callable[[_F], _F]: ...
    def __reduce_ex__(self, _protocol: object) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _async_acquire(self, timeout: float | None, *args: float, **amounts: float) -> AsyncOperation: ...
    def _check(self, timeout: float | None, *args: float, **amounts: float) -> None: ...

@disjoint_base
class KeyedTokenBucket:
    """A token bucket for each of very many keys (users, addresses, hosts), in bounded memory.

    Each key has a bucket of `burst` tokens to which `rate` come in per `period` seconds, and a line of its own: who waits for one
    key holds up nobody at another. Keys are str, bytes, int, UUID, IP addresses, and tuples of those; only a keyed 128-bit hash of
    each is stored. `key(k)` is a light handle with the whole interface of a token bucket; `try_acquire(key, n)` is the hot path.

    At most `max_keys` are remembered. A full bucket is the same as none and is forgotten when room is needed; one in debt, waited
    for or with a rate of its own never. When all of them are needed a new key is refused with RateLimited, because to forget a debt
    would let more through than the limit; `retry_after` says when one may be forgotten.

    Raises ValueError, TypeError or OverflowError for bad arguments.

    Algorithm: GCRA (ITU-T I.371, annex A).
    """

    def __new__(
        cls,
        rate: float,
        burst: float,
        *,
        max_keys: int,
        period: float = 1.0,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> Self: ...
    def key(self, key: _Key) -> KeyedBucket:
        """The bucket of one key, as a light handle with the whole interface of a token bucket.

        Raises TypeError for a key of another kind.
        """

    def try_acquire(self, key: _Key, n: float = 1) -> bool:
        """Take `n` tokens of the key's bucket if they can go now and nobody waits for them. Returns whether it did. Never waits.

        `n=0` goes always and changes nothing.

        Raises RateLimited if the key is new and all `max_keys` are needed (see the class), ValueError if `n` can never pass
        at once; ValueError, TypeError or OverflowError for a bad `key` or `n`.
        """

    def set_rate(self, rate: float, burst: float | None = None, *, key: _Key = ...) -> None:
        """Change the rate, per the same period, and the burst, if one is given, from now on: for every key without a rate of its own,
        or for one key alone.

        Tokens stay, as far as they fit, and so do debts. A key with a rate of its own is remembered until `forget(key)`.

        Raises ValueError, TypeError or OverflowError for bad arguments, with nothing changed; RateLimited if there is no
        room for one more key.
        """

    def forget(self, key: _Key) -> bool:
        """Drop the key's own rate: that of all others holds for it again. Its debt stays. Returns whether it had one.

        Raises TypeError for a key of another kind.
        """

    @property
    def rate(self) -> float:
        """Tokens that come in per `period`, for a key without a rate of its own."""

    @property
    def burst(self) -> float:
        """Tokens that can be saved, for a key without a rate of its own."""

    @property
    def period(self) -> float:
        """Seconds that `rate` is counted over."""

    @property
    def max_keys(self) -> int:
        """The most keys that are remembered."""

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""

    def statistics(self) -> KeyedRateStatistics:
        """A snapshot of what the buckets of all keys have seen, at this moment."""

    def __len__(self) -> int: ...
    def __bool__(self) -> Literal[True]: ...
    def __reduce_ex__(self, _protocol: object) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...

@final
class KeyedBucket(RateLimiter):
    """One key's bucket: what `KeyedTokenBucket.key` returns. A light handle; the bucket itself is the keyed bucket's."""

    @property
    def key(self) -> _Key:
        """The key."""

    @property
    def rate(self) -> float:
        """Tokens that come in per `period`."""

    @property
    def burst(self) -> float:
        """Tokens that can be saved."""

    @property
    def period(self) -> float:
        """Seconds that `rate` is counted over."""

    def set_rate(self, rate: float, burst: float | None = None) -> None:
        """Give this key a rate of its own, per the same period, and a burst, if one is given, from now on.

        Tokens stay, as far as they fit, and so do debts. The key is then remembered until `KeyedTokenBucket.forget(key)`.

        Raises ValueError, TypeError or OverflowError for bad arguments, with nothing changed.
        """

@final
class Reservation:
    """Tokens booked for a moment to come: what `reserve` returns.

    Wait for the moment with `wait` or `wait_async`, or with `with` or `async with`, which wait on entry. An exception in the
    body gives nothing back; `cancel` does, as far as that is possible. When the true amount is known, `settle` it.
    """

    def __new__(cls, *_args: object, **_kwargs: object) -> NoReturn: ...
    @property
    def n(self) -> float | dict[str, float]:
        """What was booked: tokens, or a dict of them by name for `RateLimits`."""

    @property
    def delay(self) -> float:
        """The seconds until its moment; 0.0 when that has come."""

    @property
    def ready_at(self) -> float:
        """Its moment, in seconds on the limiter's clock (`penstock.Clock().now()` unless it was given another)."""

    def wait(self, timeout: float | None = None) -> Literal[True]:
        """Block until its moment has come.

        Raises RateLimited at once, the booking staying as it is, if that is more than `timeout` seconds away;
        ValueError, TypeError or OverflowError for a bad `timeout`. Interrupted by an exception from a signal handler, the
        booking stays as it is.
        """

    async def wait_async(self, timeout: float | None = None) -> Literal[True]:
        """Wait until its moment has come, from a coroutine.

        As `wait`. Cancelled, the booking stays as it is.
        """

    def settle(self, actual: float = ..., /, **actual_by_name: float) -> None:
        """Say what it really came to: the difference is given back or taken, without asking.

        For `RateLimits` by name, `settle(tokens=950)`; a limit that is not named stays as it was booked.

        Raises RuntimeError if it has been settled or cancelled before; ValueError, TypeError or OverflowError for a bad amount.
        """

    def cancel(self) -> float | dict[str, float]:
        """Give it back, as far as that is possible, and return how much that was: tokens, or a dict of them by name.

        What has been booked after it, relying on it, stays where it is, and so much of it cannot be given back: else
        more might pass in some window than the limit allows. (A sliding window can always give all of it back.)
        Nothing is given back once its moment has passed. A second time does nothing.

        Raises RuntimeError if it has been settled.
        """

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_exc: object) -> None: ...
    def __reduce_ex__(self, _protocol: object) -> NoReturn: ...
    def __copy__(self) -> NoReturn: ...
    def __deepcopy__(self, _memo: object) -> NoReturn: ...
    def _async_wait(self, timeout: float | None) -> AsyncOperation: ...

# What the package's Python is made of.

@disjoint_base
class Ends:
    """A context manager that `n` threads or tasks share (`with`, `async with`). When the last of them has left, the queue is shut down."""

    def __new__(cls, queue: Queue[Any], immediate: bool, n: int) -> Self: ...
    def __enter__(self) -> Queue[Any]: ...
    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None) -> None: ...

@final
class AsyncOperation:
    """One operation awaited on an event loop, from the moment it has to wait."""

    def step(self) -> Any:
        """Tries. `None` when the operation is done, else something to await before the next step."""

    def result(self) -> Any:
        """What the operation gave, once."""

    def abandon(self, error: BaseException) -> None:
        """The coroutine ends without having got anything, by this exception."""

    def _fire(self, at: int) -> None: ...

#: What `_try_put` and `_try_get` answer when it is not that easy.
WAIT: Final[object]
#: What `__class__` answers, by class.
STAND_INS: Final[dict[type, type]]

def _after_fork_in_child() -> None: ...

# What `producers` and `consumers` return.
@type_check_only
class _SharedEnd(Generic[_Q_co]):
    def __enter__(self) -> _Q_co: ...
    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None) -> None: ...
    async def __aenter__(self) -> _Q_co: ...
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None: ...

# What is left of the standard library's conditions.
@type_check_only
class _Condition:
    def __enter__(self) -> bool: ...
    def __exit__(self, *_exc: object) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...

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
