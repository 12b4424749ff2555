"""A time limit for what a task awaits, on every Python and by any clock.

`asyncio.timeout` came with 3.11, and `asyncio.wait_for` runs what it waits for in another task before 3.12.
"""

from __future__ import annotations

import asyncio
import sys

from sluicegate._core import Semaphore
from sluicegate.testing import ManualClock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from sluicegate._core import Clock

__all__ = ["Timeout"]

TimedOut: Any = TimeoutError
if sys.version_info < (3, 11):

    class _TimedOut(TimeoutError, asyncio.TimeoutError):
        """A TimeoutError for asyncio too: aiohttp passes those on, and takes another OSError for one of its connection."""

    TimedOut = _TimedOut


class Timeout:
    """`async with Timeout(name, seconds, clock)`: the block is cancelled after `seconds`, which then raises TimeoutError.

    `name` is the argument that has set the limit, for the text of the error. The time begins when the object is made, or has begun
    before and ends at `end`.

    A cancellation from elsewhere stays one. Before 3.11 a task does not tell them apart if both come in the same turn of its loop.
    """

    __slots__ = ("_cancelling", "_clock", "_end", "_fired", "_name", "_seconds", "_task", "_timer")

    def __init__(self, name: str, seconds: float, clock: Clock, end: float | None = None) -> None:
        self._name = name
        self._seconds = seconds
        self._clock = clock
        self._end = clock.now() + seconds if end is None else end
        self._fired = False

    async def __aenter__(self) -> Timeout:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            raise RuntimeError(
                "a time limit needs a running asyncio event loop (asyncio's own or uvloop's);"
                " there is none on this thread, and trio's is not one"
            ) from None
        if task is None:
            raise RuntimeError("a time limit needs a task of asyncio: this coroutine is not run by one")
        self._task: Any = task
        self._cancelling: int = self._task.cancelling() if hasattr(task, "cancelling") else 0
        self._timer: asyncio.TimerHandle | asyncio.Task[None]
        if isinstance(self._clock, ManualClock):
            self._timer = asyncio.create_task(self._watch())
        else:
            self._timer = asyncio.get_running_loop().call_later(self._left(), self._fire)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None) -> None:
        self._timer.cancel()
        # The error of the task has a traceback, whose frames have this object: it must not refer back to the task.
        task, self._task = self._task, None
        if not self._fired:
            return
        # The cancellation was ours if nobody else has asked for one meanwhile.
        ours = task.uncancel() <= self._cancelling if hasattr(task, "uncancel") else True
        if ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            late: Any = TimedOut(f"it took longer than {self._name!r}, which is {self._seconds:g} seconds")
            if getattr(error, "repeatable", True) is False:  # what was cancelled has said that it must not be done once more
                late.repeatable = False
            raise late from error

    def has_caused(self, error: BaseException) -> bool:
        """Return whether it is the cancellation that this time limit has asked for, and nobody else."""
        if not self._fired or not isinstance(error, asyncio.CancelledError):
            return False
        return not hasattr(self._task, "cancelling") or self._task.cancelling() - 1 <= self._cancelling

    def _fire(self) -> None:
        self._fired = True
        self._task.cancel()

    def _left(self) -> float:
        return max(0.0, self._end - self._clock.now())

    async def _watch(self) -> None:
        await Semaphore(0, clock=self._clock).acquire_async(timeout=self._left())
        self._fire()
