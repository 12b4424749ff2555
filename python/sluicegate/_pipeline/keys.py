"""The order of `keyed_map`: items with the same key are worked on one after the other, those with different keys side by side.

Items are looked at in the order in which they are taken. An item whose key is being worked on is parked, and the worker of that key
works on it afterwards, so no worker waits for a key. A parked item keeps its permit.
"""

from __future__ import annotations

from collections import deque

from sluicegate._arguments import text
from sluicegate._running import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

__all__ = ["Keys"]


class Keys:
    """The keys that are being worked on."""

    def __init__(self, key: Callable[[Any], Hashable]) -> None:
        self.key = key
        self.lock = Lock()  # held for a dictionary's operation; the key's own `__hash__` and `__eq__` run in it
        self.parked: dict[Hashable, deque[tuple[int, Any]]] = {}

    def of(self, item: Any) -> Hashable:
        """Return the key of an item. Raises TypeError if it is not hashable."""
        key = self.key(item)
        try:
            hash(key)
        except TypeError as error:
            raise TypeError(f"keyed_map(): 'key' must return something hashable, not {text(key)} ({type(key).__name__})") from error
        return key

    def enter(self, key: Hashable, number: int, item: Any) -> bool:
        """Return whether the caller has to work on the item. Otherwise it has been parked."""
        with self.lock:
            waiting = self.parked.get(key)
            if waiting is None:
                self.parked[key] = deque()
                return True
            waiting.append((number, item))
            return False

    def next(self, key: Hashable) -> tuple[int, Any] | None:
        """Return the next number and item of the key that the caller has worked on, or None. The key is free then."""
        with self.lock:
            waiting = self.parked[key]
            if waiting:
                return waiting.popleft()
            del self.parked[key]
            return None
