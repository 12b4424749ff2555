"""Views of a queue with the interfaces of `asyncio.Queue` and `queue.Queue`.

A :class:`sluicegate.Queue` serves threads and asyncio on the same object, under names of its own. Code that was written for
``asyncio.Queue`` or for ``queue.Queue`` gets the same queue through a view with exactly that interface::

    q = sluicegate.Queue(maxsize=100)
    threading.Thread(target=legacy_worker, args=(q.sync_q,)).start()
    await legacy_coroutine(q.async_q)

A view has no lock and no task, and needs no closing. Views are cheap to create, two views of one queue are equal, and a view keeps
its queue alive. Views raise sluicegate's exceptions, which are subclasses of ``queue``'s and ``asyncio``'s.
"""

from __future__ import annotations

from types import GenericAlias

from sluicegate._aio import drive
from sluicegate._core import WAIT, FairQueue, LifoQueue, PriorityQueue, Queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")
else:
    T, Generic = None, {None: object}  # `typing` takes longer to import than the rest of the package

__all__ = ["AsyncQueueView", "SyncQueueView"]


def _puts() -> dict[Any, str | None]:
    """The puts that are ours, and which of the queue's methods has the standard library's arguments alone; None where there is none."""
    plain: dict[Any, str | None] = {FairQueue.put: None, FairQueue.put_nowait: None}
    for each in (Queue, LifoQueue, PriorityQueue):
        plain |= {each.put: "_put_only", each.put_nowait: "_put_nowait_only"}
    return plain


class _View(Generic[T]):
    """What both views share.

    The methods below say what there is and with which arguments. Of those that are called once per item, each view has the queue's own
    bound methods as attributes of the same names, which is what a call finds first: through a view it costs what it costs on the queue.
    What only the queue has (`ttl`, and the `key` and `priority` of a FairQueue) cannot be given through a view.
    """

    _q: Queue[T]
    _plain_puts = _puts()

    def _take_over(self, name: str) -> None:
        """Let a call of this method find the queue's own first; a user's own, where a class has one."""
        queue = self._q
        plain = self._plain_puts.get(getattr(type(queue), name), name)
        if plain is not None:
            setattr(self, name, getattr(queue, plain))

    if not TYPE_CHECKING:
        # The standard library's classes answer `Queue[int]` with a types.GenericAlias, and code looks for that.
        __class_getitem__ = classmethod(GenericAlias)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _View) and type(other) is type(self):
            return other._q is self._q
        return NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), id(self._q)))

    def __reduce__(self) -> Any:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object: it is a view of a queue, which has waiters")

    def qsize(self) -> int:
        """Return the number of items in the queue."""
        return self._q.qsize()

    def empty(self) -> bool:
        """Return True if the queue is empty, False otherwise."""
        return self._q.empty()

    def full(self) -> bool:
        """Return True if there are ``maxsize`` items in the queue; always False if ``maxsize`` is 0 or less."""
        return self._q.full()

    def put_nowait(self, item: T) -> None:
        """Put an item without waiting; raise ``Full`` if there is no room, ``ShutDown`` if the queue has been shut down."""
        return self._q.put_nowait(item)

    def get_nowait(self) -> T:
        """Return an item without waiting; raise ``Empty`` if there is none, ``ShutDown`` if it is empty and has been shut down."""
        return self._q.get_nowait()

    def task_done(self) -> None:
        """Indicate that an item taken from the queue has been processed; ``ValueError`` if called more times than items were put."""
        return self._q.task_done()

    def shutdown(self, immediate: bool = False) -> None:
        """Refuse further items. The queued items can still be taken; with ``immediate`` they are removed and count as done."""
        return self._q.shutdown(immediate)


class AsyncQueueView(_View[T]):
    """A queue with exactly the interface of :class:`asyncio.Queue`, the newest one on every Python.

    Unlike ``asyncio.Queue`` it is safe from any thread and from any number of event loops, because the queue behind it is. Cancelling
    ``put`` or ``get`` has an all-or-nothing effect: if it raises ``CancelledError``, nothing was put or taken.
    """

    def __init__(self, queue: Queue[T]) -> None:
        self._q = queue
        if not TYPE_CHECKING:  # to a type checker these are the methods below
            self._take_over("put_nowait")
            self.get_nowait = queue.get_nowait
        self._try_put = queue._try_put
        self._try_get = queue._try_get

    @property
    def maxsize(self) -> int:
        """Number of items allowed in the queue."""
        return self._q.maxsize

    @property
    def _unfinished_tasks(self) -> int:
        # asyncio.Queue has no public name for it, so this one is what its users read.
        return self._q.unfinished_tasks

    @_unfinished_tasks.setter
    def _unfinished_tasks(self, value: int) -> None:
        self._q.unfinished_tasks = value

    async def put(self, item: T) -> None:
        """Put an item into the queue, waiting for room if it is full. Raises ``ShutDown`` if the queue has been shut down."""
        # As Queue.put_async, whose own coroutine would cost as much again.
        if self._try_put(item, None, None) is not None:
            await drive(self._q._async_put(item, None))

    async def get(self) -> T:
        """Remove and return an item, waiting for one. Raises ``ShutDown`` if the queue is empty and has been shut down."""
        item = self._try_get(None)
        return await drive(self._q._async_get(None)) if item is WAIT else item

    async def join(self) -> None:
        """Wait until :meth:`task_done` has been called for every item put."""
        return await self._q.join_async()

    def __repr__(self) -> str:
        return f"<{type(self._q).__name__}.async_q at {id(self):#x} {self._format()}>"

    def __str__(self) -> str:
        return f"<{type(self._q).__name__}.async_q {self._format()}>"

    def _format(self) -> str:
        # asyncio.Queue's own wording, which people know from logs and debuggers.
        queue = self._q
        now = queue.statistics()
        words = [f"maxsize={queue.maxsize!r}"]
        if now.size:
            words.append(f"_queue={list(queue.queue)!r}")
        if now.waiting_getters:
            words.append(f"_getters[{now.waiting_getters}]")
        if now.waiting_putters:
            words.append(f"_putters[{now.waiting_putters}]")
        if now.unfinished_tasks:
            words.append(f"tasks={now.unfinished_tasks}")
        if now.is_shutdown:
            words.append("shutdown")
        return " ".join(words)


class SyncQueueView(_View[T]):
    """A queue with exactly the interface of :class:`queue.Queue`, 3.13's on every Python.

    A :class:`sluicegate.Queue` has that interface itself; the view is for code that should see only that interface.
    """

    def __init__(self, queue: Queue[T]) -> None:
        self._q = queue
        if not TYPE_CHECKING:  # to a type checker these are the methods below
            self._take_over("put_nowait")
            self.get_nowait = queue.get_nowait
            self._take_over("put")
            self.get = queue.get

    @property
    def maxsize(self) -> int:
        """Number of items allowed in the queue. It can be assigned: a larger number wakes waiting putters."""
        return self._q.maxsize

    @maxsize.setter
    def maxsize(self, value: int) -> None:
        self._q.maxsize = value

    @property
    def unfinished_tasks(self) -> int:
        """Number of items put for which :meth:`task_done` has not been called."""
        return self._q.unfinished_tasks

    @unfinished_tasks.setter
    def unfinished_tasks(self, value: int) -> None:
        self._q.unfinished_tasks = value

    @property
    def is_shutdown(self) -> bool:
        """Whether the queue has been shut down."""
        return self._q.is_shutdown

    @property
    def queue(self) -> Any:
        """The queued items: a live view with the methods of a deque, or a list for a LifoQueue or PriorityQueue."""
        return self._q.queue

    @property
    def mutex(self) -> Any:
        """The lock that makes several steps one; the conditions below share it."""
        return self._q.mutex

    @property
    def not_empty(self) -> Any:
        """The condition that is notified when an item has been put."""
        return self._q.not_empty

    @property
    def not_full(self) -> Any:
        """The condition that is notified when an item has been taken."""
        return self._q.not_full

    @property
    def all_tasks_done(self) -> Any:
        """The condition that is notified when no task is unfinished."""
        return self._q.all_tasks_done

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Put an item into the queue. If it is full and ``block`` is true, wait at most ``timeout`` seconds for room.

        Raises ``Full`` if there was no room (in time), ``ShutDown`` if the queue has been shut down.
        """
        return self._q.put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Remove and return an item. If there is none and ``block`` is true, wait at most ``timeout`` seconds for one.

        Raises ``Empty`` if there was no item (in time), ``ShutDown`` if the queue is empty and has been shut down.
        """
        return self._q.get(block, timeout)

    def join(self) -> None:
        """Block until :meth:`task_done` has been called for every item put."""
        return self._q.join()

    def __repr__(self) -> str:
        return f"<{type(self._q).__name__}.sync_q at {id(self):#x} maxsize={self._q.maxsize!r} qsize={self._q.qsize()}>"
