"""Functions of the user that a queue between two stages calls: `key` and `merge` of a `conflate`, and `on_drop` of a `buffer`.

They are called by whoever puts an item, inside `put`. There nobody else sees who works on what, so it is noted here: `stop(timeout=)` names
a function that hangs. And `on_discard` cannot be called from a `merge`, because nobody else takes from the queue or puts into it meanwhile.
So an item that `conflate` replaces is kept until the put has returned (`Edge.tell_replaced`).
"""

from __future__ import annotations

import threading
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Calls", "Conflation"]


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


class Conflation:
    """The functions of one `conflate` in one run."""

    def __init__(self, calls: Calls, key: Callable[[Any], Any], merge: Callable[[Any, Any], Any] | None) -> None:
        self.key = calls.watched(key)
        self.merge = self._replace if merge is None else calls.watched(merge)
        #: What was replaced and `on_discard` has not been told of.
        self.replaced: deque[Any] = deque()

    def _replace(self, old: Any, new: Any) -> Any:
        self.replaced.append(old)
        return new
