"""For tests of code that waits and measures: a clock that is set by hand."""

from __future__ import annotations

from typing import Any

from sluicegate._core import ManualClock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["ManualClock"]

#: Turns of the loop after which whatever a wake-up sets off in a chain of a few tasks has run.
_TURNS = 10


async def advance_async(self: Any, seconds: float | timedelta) -> None:
    """Move the clock forward by `seconds`, then let this loop run: tasks woken on it have run when this returns."""
    import asyncio  # which runs this

    self.advance(seconds)
    for _ in range(_TURNS):
        await asyncio.sleep(0)


advance_async.__qualname__ = "ManualClock.advance_async"
ManualClock.advance_async = advance_async
