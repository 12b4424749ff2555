"""Where items come from, and how each kind of source is read.

| source | read by | stopped by |
|---|---|---|
| a list, range, str and other iterables that never block | a thread, many items at a time | a look between two batches |
| any other iterable | a thread, item by item | a look between two items |
| `produce(fn, threads=n)` | n threads, each with an iterable of its own | the same |
| a `Queue`, a channel's `Receiver` | a task, many items at a time | cancellation: what is not taken stays there |
| any other async iterable | a task, item by item | cancellation |
"""

from __future__ import annotations

from collections import deque

from sluicegate._arguments import count
from sluicegate._classes import public
from sluicegate._core import Queue, Receiver
from sluicegate._pipeline.steps import MOST, check_callable, is_async, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Generic, TypeVar

    _T_co = TypeVar("_T_co", covariant=True)
else:
    _T_co, Generic = None, {None: object}

__all__ = ["READY", "Produce", "Source", "produce", "source_of"]

#: Taking an item from one of these takes no time, so that they are taken in batches.
READY = (list, tuple, range, str, bytes, dict, set, frozenset, deque)


@public
class Produce(Generic[_T_co]):
    """Several threads that make items, as returned by `produce`. It is a source for a `Pipeline`."""

    __slots__ = ("_function", "_threads")

    def __init__(self, function: Any, threads: int) -> None:
        self._function: Callable[[], Iterable[_T_co]] = function
        self._threads = threads

    def __repr__(self) -> str:
        return f"<sluicegate.Produce: {name_of(self._function)}() in {self._threads} threads>"


def produce(fn: Callable[[], Iterable[_T_co]], *, threads: int = 1) -> Produce[_T_co]:
    """Return a source for a `Pipeline`: `fn` is called in each of `threads` threads, and what the iterables yield are the items.

    The pipeline ends when all of the iterables have ended. `fn` is usually a generator function.

    Raises TypeError if `fn` is not callable or is a coroutine function, ValueError or TypeError for an invalid number of threads.
    """
    check_callable("produce", "fn", fn)
    if is_async(fn):
        raise TypeError(f"produce() calls a plain function in threads, and {fn!r} is a coroutine function: give Pipeline() what it returns")
    return Produce(fn, count("threads", threads, 1, MOST))


produce.__module__ = "sluicegate"


class Source:
    """How to read a source: `kind` is "ready", "iterator", "produce", "queue", "receiver" or "async"."""

    __slots__ = ("given", "kind", "threads")

    def __init__(self, kind: str, given: Any, threads: int = 1) -> None:
        self.kind: str = kind
        self.given: Any = given
        self.threads: int = threads

    @property
    def is_async(self) -> bool:
        """Whether a task reads it."""
        return self.kind in ("queue", "receiver", "async")

    @property
    def name(self) -> str:
        """The name of its stage."""
        given = self.given
        if self.kind == "produce":
            return name_of(given)
        return getattr(given, "name", None) or getattr(given, "__name__", None) or type(given).__name__


def source_of(given: Any) -> Source:
    """Return how to read what a pipeline was given. Raises TypeError for an object that is not a source."""
    if isinstance(given, Produce):
        return Source("produce", given._function, given._threads)
    if isinstance(given, Receiver):
        return Source("receiver", given)
    if isinstance(getattr(given, "receiver", None), Receiver):
        return Source("receiver", given.receiver)
    if isinstance(given, Queue):
        return Source("queue", given)
    if hasattr(type(given), "__iter__"):
        return Source("ready" if type(given) in READY else "iterator", given)
    if hasattr(type(given), "__aiter__"):
        return Source("async", given)
    if hasattr(type(given), "__getitem__"):
        return Source("iterator", given)
    hint = ": pass what it returns, or produce(...) of it" if callable(given) else ""
    kinds = "an iterable, an async iterable, a queue of sluicegate, a channel or produce(...)"
    raise TypeError(f"Pipeline(): 'source' must be {kinds}, not {given!r}{hint}")
