"""Finishes `Pressure`: what waits on an event loop, and the bridge to its transports."""

from __future__ import annotations

from sluicegate._aio import drive, running_loop
from sluicegate._core import Pressure, PressureListener
from sluicegate._methods import set_methods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from typing import Any

__all__ = ["Pressure", "PressureListener"]


class _Valve:
    """Pauses and resumes the reading of one transport, on the thread of its loop."""

    def __init__(self, pressure: Any, transport: Any, loop: Any) -> None:
        self._pressure, self._transport, self._loop = pressure, transport, loop
        self._is_paused = False
        self.listener: Any = None

    def look(self) -> None:
        """Hear that there has been a crossing, on any thread."""
        if running_loop() is self._loop:
            self.settle()  # at once: the loop would deliver what it has seen to be there already
            return
        try:
            self._loop.call_soon_threadsafe(self.settle)
        except RuntimeError:
            if not self._loop.is_closed():
                raise
            self._end()

    def settle(self) -> None:
        """Do as is right now, whatever has been heard: crossings may come here late, and in another order."""
        if self._transport.is_closing():
            self._end()
            return
        high = self._pressure.high and not (self.listener and self.listener.is_closed)
        if high == self._is_paused:
            return
        self._is_paused = high
        if high:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _end(self) -> None:
        if self.listener is not None:
            self.listener.close()


class _PressureMethods:
    async def wait_low_async(self: Any, timeout: float | None = None) -> None:
        """Wait until the queue is low, from a coroutine. Return at once if it is not high.

        Raises what `wait_low` raises. Fairness: as `wait_low`; threads and tasks share one wait queue.
        """
        await drive(self._async_wait_low(timeout))

    def drive_transport(self: Any, transport: Any, *, loop: AbstractEventLoop | None = None) -> PressureListener:
        """Pause the reading of an asyncio transport while the queue is high: call it in `connection_made` of a Protocol.

        `pause_reading` and `resume_reading` of the transport are called on the thread of its loop, whichever threads fill and empty
        the queue. A put on that thread, in `data_received`, pauses it before it returns. So what one transport brings into the queue
        exceeds the high mark by less than one read; while it is paused, the buffers of the operating system fill, and the sender is
        stopped by TCP.

        `loop` is the transport's event loop; without it, the one that runs. Return a `PressureListener`, whose `close()` ends that and
        resumes the transport; it ends by itself, at the next crossing, when the transport is closing. Raises RuntimeError if the
        queue has no marks, or if there is no loop; TypeError for what is no transport that can be read from, or no loop.
        """
        loop = loop or running_loop()
        if loop is None:
            raise RuntimeError(
                "drive_transport needs the event loop of the transport: call it in a coroutine or callback of the loop, or give 'loop'"
            )
        if not callable(getattr(loop, "call_soon_threadsafe", None)):
            raise TypeError(f"'loop' must be an event loop or None, not {loop!r}")
        if not all(callable(getattr(transport, name, None)) for name in ("pause_reading", "resume_reading", "is_closing")):
            raise TypeError(
                f"'transport' must be a transport that can be read from, with pause_reading and resume_reading, not {transport!r}"
            )
        valve = _Valve(self, transport, loop)
        valve.listener = self._watch(valve.look)
        return valve.listener


set_methods(_PressureMethods, Pressure)
