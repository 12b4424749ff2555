"""`not_empty`, `not_full` and `all_tasks_done`: the conditions of a queue that share its `mutex`, as `queue.Queue` has them."""

from __future__ import annotations

import time

from sluicegate._arguments import patience

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from types import TracebackType
    from typing import Any

    from sluicegate._core import QueueMutex

__all__ = ["QueueCondition"]

_ALL = 2**64 - 1


class QueueCondition:
    """A condition variable that shares a queue's `mutex`, with the interface of `threading.Condition`.

    The queue itself notifies one waiter for each item that is put (`not_empty`) or taken (`not_full`), and all of them when the last
    unfinished task is done (`all_tasks_done`) or the queue is shut down. Changes by hand, to `q.queue` or with `_put` and `_get`, notify
    nobody: call `notify` after them.

    `wait` may be replaced by another function (`condition.wait = f`): `put`, `get` or `join` of the queue then calls it, with the
    mutex held, whenever it has to wait, and tries again afterwards.
    """

    def __init__(self, queue: Any, line: str) -> None:
        self._queue = queue
        self._line = line
        self._mutex: QueueMutex = queue.mutex
        self.acquire: Callable[..., bool] = self._mutex.acquire
        self.release: Callable[[], None] = self._mutex.release

    def __enter__(self) -> bool:
        held: list[bool] = []
        try:
            # It is noted in the same call into C that the mutex is held: a signal handler could raise before this method returns.
            held.extend(map(self._mutex.acquire, (True,)))
        except BaseException:
            if held:
                self._mutex.release()
            raise
        return True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._mutex.__exit__(kind, error, traceback)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name == "wait":
            self._queue._replace_wait(self._line, getattr(value, "__func__", None) is not QueueCondition.wait)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        if name == "wait":
            self._queue._replace_wait(self._line, False)

    def wait(self, timeout: float | timedelta | None = None) -> bool:
        """Release the mutex, wait to be notified, and acquire it again. Return False if that took longer than `timeout` seconds.

        As in the standard library, a negative `timeout` is over at once.

        Raises RuntimeError if the caller does not hold the mutex. If a signal handler raises, the mutex is held again before the
        exception comes, and a notification that had arrived goes to the next waiter.
        """
        return self._queue._wait_to_be_notified(self._line, patience("timeout", timeout))

    def wait_for(self, predicate: Callable[[], Any], timeout: float | timedelta | None = None) -> Any:
        """Wait until `predicate()`, which is called with the mutex held, is true. Return its last result, after `timeout` seconds too."""
        limit = patience("timeout", timeout)
        end = None if limit is None else time.monotonic() + limit
        while not (result := predicate()):
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return result

    def notify(self, n: int = 1) -> None:
        """Wake `n` of the waiters. Raises RuntimeError if the caller does not hold the mutex."""
        self._queue._notify(self._line, n)

    def notify_all(self) -> None:
        """Wake all waiters. Raises RuntimeError if the caller does not hold the mutex."""
        self._queue._notify(self._line, _ALL)

    def notifyAll(self) -> None:  # noqa: N802 (its name in threading)
        """The old name of `notify_all`."""
        self.notify_all()

    def __repr__(self) -> str:
        return f"<condition {self._line!r} of {self._queue!r}>"
