"""janus' names over sluicegate's queues: ``from sluicegate import janus`` in place of ``import janus``, and nothing else changes.

The interface is that of janus 2.0: ``Queue``, ``LifoQueue`` and ``PriorityQueue`` with ``sync_q``, ``async_q``, ``shutdown``,
``close``, ``wait_closed``, ``aclose``, ``closed`` and ``maxsize``; the protocols ``BaseQueue``, ``SyncQueue`` and ``AsyncQueue``; and
the exceptions under both families of names. Subclasses may override ``_init``, ``_qsize``, ``_put`` and ``_get``.

Three limits of janus are not kept, so a program that did not depend on them sees no difference:

- A queue is not bound to one event loop: any number of loops and threads may use it, and no ``RuntimeError`` says otherwise.
- ``async_q.put_nowait`` and ``async_q.get_nowait`` need no running loop.
- Nothing is pending after a close: no task is created to wake waiters, so ``closed`` is true as soon as the queue is shut down, and a
  queue that is dropped without ``aclose()`` leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from sluicegate import _queues
from sluicegate._exceptions import ShutDown
from sluicegate._views import AsyncQueueView, SyncQueueView

if TYPE_CHECKING:
    from collections.abc import Callable

# The exceptions are the standard library's own, as in janus; what sluicegate raises is a subclass of both families.
from asyncio import QueueEmpty as AsyncQueueEmpty
from asyncio import QueueFull as AsyncQueueFull
from queue import Empty as SyncQueueEmpty
from queue import Full as SyncQueueFull

if sys.version_info >= (3, 13):
    from asyncio import QueueShutDown as AsyncQueueShutDown
    from queue import ShutDown as SyncQueueShutDown
else:
    AsyncQueueShutDown = SyncQueueShutDown = ShutDown

__all__ = (
    "AsyncQueue",
    "AsyncQueueEmpty",
    "AsyncQueueFull",
    "AsyncQueueShutDown",
    "BaseQueue",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "SyncQueue",
    "SyncQueueEmpty",
    "SyncQueueFull",
    "SyncQueueShutDown",
)

__version__ = "2.0.0"
"""The version of janus whose interface this module has."""

T = TypeVar("T")


class BaseQueue(Protocol[T]):
    """The common interface of ``sync_q`` and ``async_q``."""

    @property
    def maxsize(self) -> int: ...

    @property
    def closed(self) -> bool: ...

    @property
    def unfinished_tasks(self) -> int: ...

    def qsize(self) -> int: ...

    def empty(self) -> bool: ...

    def full(self) -> bool: ...

    def put_nowait(self, item: T) -> None: ...

    def get_nowait(self) -> T: ...

    def task_done(self) -> None: ...

    def shutdown(self, immediate: bool = False) -> None: ...


class SyncQueue(BaseQueue[T], Protocol[T]):
    """The type of ``sync_q``: what :class:`queue.Queue` offers to threads."""

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None: ...

    def get(self, block: bool = True, timeout: float | None = None) -> T: ...

    def join(self) -> None: ...


class AsyncQueue(BaseQueue[T], Protocol[T]):
    """The type of ``async_q``: what :class:`asyncio.Queue` offers to coroutines."""

    async def put(self, item: T) -> None: ...

    async def get(self) -> T: ...

    async def join(self) -> None: ...


class _SyncQueueProxy(SyncQueueView[T]):
    @property
    def closed(self) -> bool:
        """Whether the queue has been shut down."""
        return self._q.is_shutdown


class _AsyncQueueProxy(AsyncQueueView[T]):
    @property
    def closed(self) -> bool:
        """Whether the queue has been shut down."""
        return self._q.is_shutdown

    @property
    def unfinished_tasks(self) -> int:
        """Number of items put for which ``task_done`` has not been called."""
        return self._q.unfinished_tasks


_HOOKS = ("_init", "_qsize", "_put", "_get")


def _plain(owner: Queue[Any], maxsize: int) -> _queues.Queue[Any]:
    return owner._kind(maxsize)


@functools.cache
def _hooked(kind: type[_queues.Queue[Any]]) -> Callable[[Queue[Any], int], _queues.Queue[Any]]:
    """A queue of this kind that asks another object, its owner, how to store items."""

    class Hooked(kind):
        def __init__(self, owner: Queue[Any], maxsize: int) -> None:
            self._owner = owner
            owner._core = self  # the owner's _init may want it already
            super().__init__(maxsize)

        def _init(self, maxsize: int) -> None:
            self._owner._init(maxsize)

        def _qsize(self) -> int:
            return self._owner._qsize()

        def _put(self, item: Any) -> None:
            self._owner._put(item)

        def _get(self) -> Any:
            return self._owner._get()

    Hooked.__name__ = Hooked.__qualname__ = kind.__name__
    return Hooked


class Queue(Generic[T]):
    """A queue with two interfaces: ``sync_q`` for threads, ``async_q`` for coroutines. ``maxsize`` of 0 or less means no bound."""

    _kind: ClassVar[type[_queues.Queue[Any]]] = _queues.Queue
    _make: ClassVar[Callable[[Queue[Any], int], _queues.Queue[Any]]] = _plain
    _core: _queues.Queue[T]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A subclass that overrides a hook pays for it, every other one gets the plain queue.
        own = any(getattr(cls, hook) is not getattr(Queue, hook) for hook in _HOOKS)
        cls._make = _hooked(cls._kind) if own else _plain

    def __init__(self, maxsize: int = 0) -> None:
        self._core = type(self)._make(self, maxsize)
        self._sync_q: _SyncQueueProxy[T] = _SyncQueueProxy(self._core)
        self._async_q: _AsyncQueueProxy[T] = _AsyncQueueProxy(self._core)

    @property
    def maxsize(self) -> int:
        """Number of items allowed in the queue."""
        return self._core.maxsize

    @property
    def closed(self) -> bool:
        """Whether the queue has been shut down."""
        return self._core.is_shutdown

    @property
    def sync_q(self) -> _SyncQueueProxy[T]:
        """The interface for threads."""
        return self._sync_q

    @property
    def async_q(self) -> _AsyncQueueProxy[T]:
        """The interface for coroutines."""
        return self._async_q

    def shutdown(self, immediate: bool = False) -> None:
        """Refuse further items. The queued items can still be taken; with ``immediate`` they are removed and count as done."""
        self._core.shutdown(immediate)

    def close(self) -> None:
        """Shut the queue down at once and remove the queued items: ``shutdown(immediate=True)``."""
        self._core.shutdown(immediate=True)

    async def wait_closed(self) -> None:
        """After a close or shutdown, let the tasks it woke on this loop run; ``RuntimeError`` if the queue is open."""
        if not self._core.is_shutdown:
            raise RuntimeError("Waiting for non-closed queue")
        await asyncio.sleep(0)

    async def aclose(self) -> None:
        """:meth:`close`, then :meth:`wait_closed`."""
        self.close()
        await self.wait_closed()

    # Override these to store items in another order. They are called one at a time, as in queue.Queue.

    def _init(self, maxsize: int) -> None:
        self._kind._init(self._core, maxsize)

    def _qsize(self) -> int:
        return self._kind._qsize(self._core)

    def _put(self, item: T) -> None:
        self._kind._put(self._core, item)

    def _get(self) -> T:
        return self._kind._get(self._core)

    @property
    def _queue(self) -> Any:
        """The queued items, for hooks that use them; a copy if no hook is overridden."""
        return self._core.queue

    @_queue.setter
    def _queue(self, value: Any) -> None:
        self._core.queue = value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} maxsize={self.maxsize!r} qsize={self._core.qsize()}{' closed' * self.closed}>"


class LifoQueue(Queue[T]):
    """A :class:`Queue` that gives the newest item first."""

    _kind = _queues.LifoQueue


class PriorityQueue(Queue[T]):
    """A :class:`Queue` that gives the smallest item first."""

    _kind = _queues.PriorityQueue
