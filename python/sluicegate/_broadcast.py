"""What the broadcast has in Python: the awaitable methods."""

from __future__ import annotations

import sys

from sluicegate._aio import Batches, drive
from sluicegate._arguments import count
from sluicegate._core import WAIT, Broadcast, Subscriber
from sluicegate._exceptions import ShutDown
from sluicegate._methods import set_methods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["Broadcast", "Subscriber"]


class _BroadcastMethods:
    async def publish_async(self: Any, item: Any, timeout: float | None = None) -> int:
        """Publish an item to all subscribers, from a coroutine, and return the number of those that will get it.

        Works as `publish`. If nobody has to be waited for, the coroutine does not suspend, except that after 128 operations
        in a row other tasks of the loop get to run. If it is cancelled, nothing has been published.
        """
        published = self._try_publish(item, timeout)
        return await drive(self._async_publish(item, timeout)) if published is WAIT else published


class _SubscriberMethods:
    async def get_async(self: Any, timeout: float | None = None) -> Any:
        """Remove and return the next item, from a coroutine.

        If there is none, wait for one: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds. If there
        is an item, the coroutine does not suspend, except that after 128 operations in a row other tasks of the loop get to
        run.

        Raises what `get` raises. If the call is cancelled, nothing has been taken.
        """
        item = self._try_get(timeout)
        return await drive(self._async_get(timeout)) if item is WAIT else item

    async def get_many_async(self: Any, max: int, *, timeout: float | None = None) -> list[Any]:
        """Remove and return 1 to `max` items, as a list, from a coroutine.

        Works as `get_many`. If it is cancelled, nothing has been taken.
        """
        return await drive(self._async_get_many(max, timeout))

    def batches(self: Any, max: int) -> Batches:
        """Return an iterator, for `for` and `async for`, over lists of 1 to `max` items.

        Each list is what `get_many(max)` returns, and the iteration ends as that over the single items does.

        Raises ValueError or TypeError for an invalid `max`.
        """
        return Batches(self, count("max", max, 1, sys.maxsize))

    def full(self: Any) -> bool:
        """Return True if `maxsize` items wait for this subscriber at this moment, so that `overflow` decides about the next one."""
        return self.qsize() >= self.maxsize

    @property
    def name(self: Any) -> str | None:
        """The name of the broadcast."""
        return self.broadcast.name

    def __dir__(self: Any) -> list[str]:
        return [name for name in object.__dir__(self) if name not in _WHY]

    def __aiter__(self: Any) -> Any:
        """Iterate over the items, until the broadcast is shut down and everything has been taken."""
        return self

    async def __anext__(self: Any) -> Any:
        try:
            item = self._try_get()
            return await drive(self._async_get(None)) if item is WAIT else item
        except ShutDown:
            pass
        self._end_of_iteration()
        raise StopAsyncIteration

    async def __aenter__(self: Any) -> Any:
        return self

    async def __aexit__(self: Any, *_exc: object) -> None:
        self.close()


class _Missing:
    """A member of queues that a subscriber does not have. `hasattr` says so, and the AttributeError says why.

    (A `__getattr__` of the class would make every access to its members slower.)
    """

    __slots__ = ("_name", "_why")

    def __init__(self, name: str, why: str) -> None:
        self._name, self._why = name, why

    def __get__(self, instance: object, owner: type | None = None) -> NoReturn:
        raise AttributeError(f"a Subscriber has no '{self._name}', as queues have: {self._why}", name=self._name, obj=instance or owner)


_PUTTERS = ("put", "put_async", "put_nowait", "put_many", "put_many_async", "offer", "putting")
_TASKS = ("task_done", "unfinished_tasks", "join", "join_async", "working")
_ENDS = ("shutdown", "fail")
_WHY = {
    **dict.fromkeys(_PUTTERS, "items come from its broadcast; use subscriber.broadcast.publish(item)"),
    **dict.fromkeys(_TASKS, "what its consumers have finished is not counted; let them tell a queue or a Semaphore"),
    **dict.fromkeys(_ENDS, "close() ends this subscription, and subscriber.broadcast has what concerns all of them"),
    "clear": "get_many(n) takes what waits, and close() gives it up",
}

set_methods(_BroadcastMethods, Broadcast)
set_methods(_SubscriberMethods, Subscriber)
for _name, _reason in _WHY.items():
    setattr(Subscriber, _name, _Missing(_name, _reason))
Subscriber.__contains__ = None  # `in` would take items
