"""For tests of code that waits and measures: a clock that is set by hand."""

from __future__ import annotations

from typing import Any

from sluicegate._aio import running_loop
from sluicegate._arguments import count
from sluicegate._core import ManualClock, _duration
from sluicegate._exceptions import warn_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["ManualClock"]

#: Turns of the loop after which whatever a wake-up sets off in a chain of a few tasks has run.
_TURNS = 10

#: By how much each pause between two looks at the clock is longer than the one before, and the longest one, in real seconds.
_MORE_PAUSE, _LONGEST_PAUSE = 0.0002, 0.01

_wait_for_waiters = ManualClock.wait_for_waiters


async def advance_async(self: Any, seconds: float | timedelta) -> None:
    """Move the clock forward by `seconds`, then let this loop run: tasks woken on it have run when this returns."""
    import asyncio  # which runs this

    self.advance(seconds)
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def wait_for_waiters(self: Any, n: int, timeout: float | timedelta = 5.0) -> None:
    """Block, in real time, until at least `n` operations are waiting on objects with this clock.

    Raises TimeoutError after `timeout` seconds. On an event loop's thread it warns, since the tasks of that loop cannot come to
    where they wait meanwhile: use `wait_for_waiters_async` there.
    """
    limit = _duration("timeout", timeout)
    if self.waiters < n and running_loop() is not None:
        warn_blocking("wait_for_waiters", "wait_for_waiters_async")
    _wait_for_waiters(self, n, limit)


async def wait_for_waiters_async(self: Any, n: int, timeout: float | timedelta = 5.0) -> None:
    """Let this loop run, in real time, until at least `n` operations are waiting on objects with this clock.

    Raises TimeoutError after `timeout` seconds.
    """
    import asyncio  # which runs this
    import time

    count("n", n, 0)
    limit = _duration("timeout", timeout)
    end = time.monotonic() + limit
    pause = 0.0  # at first, for the tasks of this loop; threads may take longer
    while (waiters := self.waiters) < n:
        if time.monotonic() >= end:
            raise TimeoutError(f"{waiters} of {n} operations are waiting on this clock after {limit} seconds")
        await asyncio.sleep(pause)
        pause = min(pause + _MORE_PAUSE, _LONGEST_PAUSE)


for _method in (advance_async, wait_for_waiters, wait_for_waiters_async):
    _method.__qualname__ = f"ManualClock.{_method.__name__}"
    setattr(ManualClock, _method.__name__, _method)
del _method
