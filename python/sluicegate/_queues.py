"""Finishes the queue classes: what reads best in Python is set on the types from the core, once, at import."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import sys

from sluicegate import _aio, _core
from sluicegate._classes import public
from sluicegate._conditions import QueueCondition
from sluicegate._core import (
    STAND_INS,
    AdaptiveLifo,
    CoalescingQueue,
    CoDel,
    FairQueue,
    LifoQueue,
    Offered,
    PriorityQueue,
    Queue,
    Sample,
    SimpleQueue,
    StreamEnds,
)
from sluicegate._methods import copy_methods, set_methods
from sluicegate._views import AsyncQueueView, SyncQueueView
from sluicegate._working import Working

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, TypeVar

    _Q_co = TypeVar("_Q_co", covariant=True)

__all__ = [
    "AdaptiveLifo",
    "CoDel",
    "CoalescingQueue",
    "Consumers",
    "FairQueue",
    "LifoQueue",
    "Offered",
    "PriorityQueue",
    "Producers",
    "Queue",
    "Sample",
    "SimpleQueue",
]


class _StreamEnds(StreamEnds["_Q_co"]):
    """`with` from the core, and `async with`."""

    _method = ""

    async def __aenter__(self) -> _Q_co:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        return self.__exit__(kind, error, traceback)

    def __del__(self) -> None:
        """Warn of an end that will never come: the usual reason is that each worker has made a manager of its own."""
        if not sys.is_finalizing() and (missing := self._missing()) is not None:
            import warnings

            left, expected = missing
            warnings.warn(
                f"{self._method}({expected}) was garbage-collected after {left} of {expected} had left the block, so it will never shut the"
                f" queue down; call {self._method}() once, outside the workers, and let them share what it returns",
                RuntimeWarning,
                source=self,
                stacklevel=2,
            )


@public
class Producers(_StreamEnds["_Q_co"]):
    """What `producers(n)` returns: a context manager (`with`, `async with`) for `n` threads or tasks."""

    _method = "producers"


@public
class Consumers(_StreamEnds["_Q_co"]):
    """What `consumers(n)` returns: a context manager (`with`, `async with`) for `n` threads or tasks."""

    _method = "consumers"


class _QueueMethods(_aio.QueueMethods):
    def producers(self: Any, n: int = 1) -> Producers[Any]:
        """Return a context manager (`with`, `async with`) that `n` threads or tasks share as producers.

        When the last of them has left the block, the queue is shut down; if any of them left with an exception, with the
        first such exception as its error (see `shutdown`). A ShutDown of this queue that leaves the block is not raised
        further. Call it once, outside the threads or tasks: a manager that is garbage-collected before all have left
        gives a RuntimeWarning.
        """
        return Producers(self, False, n)

    def consumers(self: Any, n: int = 1) -> Consumers[Any]:
        """Return a context manager (`with`, `async with`) that `n` threads or tasks share as consumers.

        When the last of them has left the block, the queue is shut down at once and its items are removed, so that no
        producer waits forever. If any of them left with an exception, the first such exception is the `__cause__` of the
        ShutDown that producers then get; the other consumers go on and do not get it.

        A ShutDown of this queue that leaves the block is not raised further. Call it once, outside the threads or tasks.
        """
        return Consumers(self, True, n)

    def working(self: Any) -> Working[Any]:
        """Return the items for one worker that may put new items into this queue: `with q.working() as items`.

        Use it with `for item in items` inside `with`, or with `async for` inside `async with`; call it once for each
        worker. `task_done` is called for an item when the next one is asked for or the block is left, also by an
        exception. When nothing is queued, no worker has an item, and no `producers()` end is open, the queue is shut
        down, which ends the iteration of all workers. It is not shut down before the first item has been put.

        The queue should have no bound: if all workers wait for room in it at once, nobody takes items. The last of them then
        gets a RuntimeError from its `put`, and so do the others as each of them leaves.
        """
        return Working(self)

    @property
    def async_q(self: Any) -> Any:
        """This queue with exactly the interface of `asyncio.Queue`."""
        return AsyncQueueView(self)

    @property
    def sync_q(self: Any) -> Any:
        """This queue with exactly the interface of `queue.Queue`."""
        return SyncQueueView(self)

    @functools.cached_property
    def not_empty(self: Any) -> QueueCondition:
        """The condition that is notified when an item has been put. It shares `mutex`."""
        return QueueCondition(self, "get")

    @functools.cached_property
    def not_full(self: Any) -> QueueCondition:
        """The condition that is notified when an item has been taken. It shares `mutex`."""
        return QueueCondition(self, "put")

    @functools.cached_property
    def all_tasks_done(self: Any) -> QueueCondition:
        """The condition that is notified when no task is unfinished. It shares `mutex`."""
        return QueueCondition(self, "join")


# Most derived first.
_THEIRS: dict[type, type] = {
    LifoQueue: queue.LifoQueue,
    PriorityQueue: queue.PriorityQueue,
    CoalescingQueue: queue.Queue,
    FairQueue: queue.Queue,
    Queue: queue.Queue,
}


def _init_subclass(cls: Any, **kwargs: Any) -> None:
    """Give the subclass the standard library's class as a base, so that `isinstance` checks accept it."""
    super(Queue, cls).__init_subclass__(**kwargs)
    for ours, theirs in _THEIRS.items():
        if issubclass(cls, ours) and not issubclass(cls, theirs):
            with contextlib.suppress(TypeError):  # as in `_make_stand_in`: the subclass does without
                cls.__bases__ = (*cls.__bases__, theirs)
            break


def _dir(self: Any) -> list[str]:
    """Return the names that are there: `object.__dir__` would ask `__class__`, which is a stand-in."""
    return sorted({*dir(type(self)), *vars(self)})


def _make_stand_in(ours: type, theirs: type) -> type:
    """A class that `isinstance` takes for the standard library's and `singledispatch` for either, and that makes ours."""

    def __new__(cls: type, *args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs)

    namespace = {"__new__": __new__, "__module__": "sluicegate", "__qualname__": ours.__qualname__, "__doc__": ours.__doc__}
    try:
        return type(ours.__name__, (ours, theirs), namespace)
    except TypeError:  # theirs is written in C (gevent's, where it has patched the module), and cannot be a base beside ours
        return type(ours.__name__, (theirs,), namespace)


copy_methods(_aio.SimpleQueueMethods, SimpleQueue)
set_methods(_QueueMethods, Queue)
set_methods(_aio.FairQueueMethods, FairQueue)
for _class in (Queue, SimpleQueue):
    _class.__contains__ = None  # `x in q` would eat items
    _class.__dir__ = _dir
_init_subclass.__name__, _init_subclass.__qualname__ = "__init_subclass__", "Queue.__init_subclass__"
Queue.__init_subclass__ = classmethod(_init_subclass)  # type: ignore[assignment]
STAND_INS.update({ours: _make_stand_in(ours, theirs) for ours, theirs in _THEIRS.items()})
del _class

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_core._after_fork_in_child)
