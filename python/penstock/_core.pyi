# ruff: noqa: D205 (the docstrings are the binary's, whatever they look like)
import queue
from collections.abc import AsyncIterator, Iterable, Iterator
from types import GenericAlias, TracebackType
from typing import Any, ClassVar, Final, Generic, Literal, NoReturn, TypeVar, final, type_check_only

from _typeshed import SupportsRichComparison
from typing_extensions import Self, disjoint_base

from penstock._statistics import QueueStatistics
from penstock._views import AsyncQueueView, SyncQueueView

_T = TypeVar("_T")
_OrderedT = TypeVar("_OrderedT", bound=SupportsRichComparison)
_Q_co = TypeVar("_Q_co", covariant=True)

__all__ = [
    "STAND_INS",
    "WAIT",
    "AsyncOperation",
    "Clock",
    "Ends",
    "LifoQueue",
    "ManualClock",
    "PriorityQueue",
    "Queue",
    "SimpleQueue",
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
