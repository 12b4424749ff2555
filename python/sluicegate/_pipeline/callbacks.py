"""The queues of `buffer` and `conflate`, which call functions of the user: `on_drop`, `key` and `merge`.

They are called by whoever puts an item, inside `put`. There nobody else sees who works on what, so it is noted here: `stop(timeout=)` names
a function that hangs.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from sluicegate._core import CoalescingQueue, Queue
from sluicegate._running import CLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sluicegate._pipeline.steps import Step

__all__ = ["Calls", "Dropped", "make_queue"]


class Calls:
    """The calls of such functions that are running: by thread, since when, and for which item."""

    def __init__(self) -> None:
        self.running: dict[int, tuple[float, Any]] = {}

    def watched(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls `f` and notes its first argument: an item, of two to be merged the one that waits."""

        def call(*args: Any) -> Any:
            me = threading.get_ident()
            self.running[me] = (time.monotonic(), args[0])
            try:
                return f(*args)
            finally:
                self.running.pop(me, None)

        return call


class Dropped:
    """The items that a queue has dropped or replaced, and that the run discards. It is the `on_drop` of the queue."""

    #: Called with each item. The run sets it before it starts.
    tell: Callable[[Any], object]

    def __init__(self) -> None:
        #: Items that were replaced, until the put has returned.
        self.replaced: deque[Any] = deque()

    def __call__(self, item: Any, reason: str) -> None:
        self.tell(item)

    def replace(self, old: Any, new: Any) -> Any:
        """The `merge` of a `conflate` that has none."""
        self.replaced.append(old)
        return new

    def tell_replaced(self) -> None:
        """Discard the items that were replaced."""
        while self.replaced:
            try:
                item = self.replaced.popleft()
            except IndexError:  # another thread was faster
                return
            self.tell(item)


class _ReplacingQueue(CoalescingQueue["Any"]):
    """The queue of a `conflate` without `merge`, where an item takes the place of the one with the same key.

    The item that was replaced is discarded when the put has returned: while the queue merges nobody else takes or puts, and `on_discard`
    may take its time, or kill the run.
    """

    def __init__(self, maxsize: int, *, key: Callable[[Any], Any], dropped: Dropped) -> None:
        super().__init__(maxsize, key=key, merge=dropped.replace, clock=CLOCK)
        self._dropped = dropped

    def put(self, item: Any, *args: Any, **kwargs: Any) -> None:
        super().put(item, *args, **kwargs)
        self._dropped.tell_replaced()

    async def put_async(self, item: Any, *args: Any, **kwargs: Any) -> None:
        await super().put_async(item, *args, **kwargs)
        self._dropped.tell_replaced()


def make_queue(step: Step, calls: Calls, dropped: Dropped) -> Any:
    """Make the queue that a `buffer` with a policy or a `conflate` has described."""
    if step.kind == "conflate":
        key, merge = step.options
        if merge is None:
            return _ReplacingQueue(step.buffer, key=calls.watched(key), dropped=dropped)
        return CoalescingQueue(step.buffer, key=calls.watched(key), merge=calls.watched(merge), clock=CLOCK)
    overflow, on_drop = step.options
    if on_drop is not None:
        on_drop = calls.watched(on_drop)
    elif overflow != "reject":
        on_drop = dropped
    return Queue(step.buffer, overflow=overflow, on_drop=on_drop, clock=CLOCK)
