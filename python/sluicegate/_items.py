"""`q.queue`: the items of a queue as the standard library's programs use them, a deque or a list that is the queue itself."""

from __future__ import annotations

import functools
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

__all__ = ["QueueItems"]


class QueueItems:
    """A live view of the items in a queue.

    It has the methods of a deque (`Queue`) or a list (`LifoQueue`; `PriorityQueue`, in the layout of `heapq`), and `isinstance` takes it
    for one. Each method is applied to a copy of the items, and the result takes their place if they are still the same by then; else it is
    applied again. So each is one step for everybody else, runs comparisons outside any lock, and takes time in proportion to the number of
    items. Iterating is over the items of one moment.
    """

    __slots__ = ("_kind", "_queue", "_take")

    def __init__(self, queue: Any, is_fifo: bool) -> None:
        self._queue = queue
        self._kind: type = deque if is_fifo else list
        #: The method that takes the item that `get` would.
        self._take = "popleft" if is_fifo else "pop"

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride] (nobody assigns it)
        return self._kind

    def _copy(self) -> Any:
        return self._kind(self._queue._snapshot())

    def _apply(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        while True:
            seen = self._queue._snapshot()
            items = self._kind(seen)
            result = function(items, *args, **kwargs)
            after = list(items)
            unchanged = len(after) == len(seen) and all(map(_is, after, seen))
            if unchanged or self._queue._replace(seen, after):
                return result

    def _take_next(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Apply the method that takes the next item: without a copy of the others, so that a program may take all of them one by one."""
        taken = None if args or kwargs else self._queue._take_next()
        return taken[0] if taken else self._apply(function, *args, **kwargs)

    def _assign(self, items: Iterable[Any]) -> None:
        """Assignment to `q.queue`: these items take the place of those in the queue."""
        items = list(items)

        def replace(old: Any) -> None:
            old.clear()
            old.extend(items)

        self._apply(replace)

    def __getattr__(self, name: str) -> Any:
        """Every other method that a deque or a list has."""
        if name.startswith("__"):
            raise AttributeError(name)
        attribute = getattr(self._kind, name)
        if name == self._take:
            return functools.partial(self._take_next, attribute)
        return functools.partial(self._apply, attribute) if callable(attribute) else getattr(self._kind(), name)

    def __len__(self) -> int:
        return self._queue.qsize()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._queue._snapshot())

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._queue._snapshot())

    def __contains__(self, item: object) -> bool:
        return item in self._queue._snapshot()

    def __getitem__(self, index: Any) -> Any:
        return self._copy()[index]

    def __setitem__(self, index: Any, item: Any) -> None:
        self._apply(self._kind.__setitem__, index, item)

    def __delitem__(self, index: Any) -> None:
        self._apply(self._kind.__delitem__, index)

    def __iadd__(self, items: Iterable[Any]) -> QueueItems:
        self._apply(self._kind.extend, list(items))
        return self

    def __add__(self, items: Any) -> Any:
        return self._copy() + _copy_of(items)

    def __eq__(self, other: object) -> bool:
        return self._copy() == _copy_of(other)

    def __lt__(self, other: Any) -> bool:
        return self._copy() < _copy_of(other)

    def __copy__(self) -> Any:
        return self._copy()

    def __repr__(self) -> str:
        return repr(self._copy())

    __hash__ = None  # type: ignore[assignment]


def _is(one: object, other: object) -> bool:
    return one is other


def _copy_of(other: Any) -> Any:
    return other._copy() if type(other) is QueueItems else other
