"""The exceptions and the warning. The queues' exceptions are subclasses of `queue`'s and of `asyncio`'s, so either `except` matches."""

from __future__ import annotations

import queue
import sys

from sluicegate._asyncio_bases import watch
from sluicegate._classes import public

__all__ = [
    "BlockingInEventLoopWarning",
    "ChannelCancelled",
    "ChannelClosed",
    "ChannelError",
    "ChannelFailed",
    "Empty",
    "Full",
    "Overloaded",
    "RateLimited",
    "Refused",
    "ShutDown",
    "StaleDelivery",
]


TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any

    class _Empty(queue.Empty, asyncio.QueueEmpty): ...

    class _Full(queue.Full, asyncio.QueueFull): ...

    if sys.version_info >= (3, 13):

        class _ShutDown(queue.ShutDown, asyncio.QueueShutDown): ...

    else:
        _ShutDown = Exception
else:
    # asyncio's are added when asyncio is there.
    _Empty, _Full, _ShutDown = queue.Empty, queue.Full, getattr(queue, "ShutDown", Exception)


def _text(self: BaseException) -> str:
    """Make the text of an exception that the package raised, when somebody reads it: most refusals are caught and never shown.

    Its `args` are a template, the name of the object that raised it (or None), and the other values for the template.
    """
    args = self.args
    if len(args) > 2 and isinstance(args[0], str):
        name = "" if args[1] is None else f" {args[1]!r}"
        try:
            return args[0].format(name, *args[2:])
        except (LookupError, ValueError, TypeError):
            pass  # arguments of somebody else's making
    return BaseException.__str__(self)


@public
class Empty(_Empty):
    """There was no item (in time)."""

    __str__ = _text


@public
class Full(_Full):
    """There was no room (in time). After `put_many`, `accepted` is the number of items that were put."""

    __str__ = _text
    accepted: int


@public
class ShutDown(_ShutDown):
    """The queue has been shut down.

    If it was shut down with an error, that is the `__cause__`. After `put_many`, `accepted` is the number of items that were put.
    """

    accepted: int


@public
class Refused(Exception):
    """A limit refused a call. Nothing has been taken."""

    __str__ = _text
    _retry_after = 0.0

    def _told(self, index: int) -> Any:
        """Return one of the values that the package raised this with, or None if somebody else raised it."""
        return self.args[index] if len(self.args) > index else None

    @property
    def retry_after(self) -> float:
        """Seconds after which a retry is worthwhile."""
        told = self._told(2)
        return told if isinstance(told, float) else self._retry_after

    @property
    def name(self) -> str | None:
        """The name of the object that refused, if it has one."""
        return self._told(1)


@public
class RateLimited(Refused):
    """A limiter cannot admit the request in time. Nothing has been taken; `retry_after` says when to try again."""


@public
class Overloaded(Refused):
    """There was no room for the call (in time). Nothing has been taken. `retry_after` is only a hint."""

    _retry_after = 1.0

    @property
    def reason(self) -> str:
        """Why: "full" (no room, and no time to wait), "expired" (no room in time) or "shed" (dropped in favour of other calls)."""
        return self._told(3) or "full"


@public
class ChannelError(Exception):
    """The base of the channels' exceptions. After `send_many`, `accepted` is the number of items that were sent."""

    accepted: int


@public
class ChannelClosed(ChannelError):
    """The channel is complete: nothing more can be sent, or everything has been received."""


@public
class ChannelCancelled(ChannelError):
    """The receiver has cancelled the channel or is gone."""


@public
class ChannelFailed(ChannelError):
    """A sender has failed; `__cause__` is its exception."""


@public
class StaleDelivery(ChannelError):
    """A delivery was settled too late: the item has been requeued or discarded. Nothing has changed."""


@public
class BlockingInEventLoopWarning(RuntimeWarning):
    """A blocking call is about to block a thread on which an event loop is running."""


def warn_blocking(blocking: str, awaitable: str) -> None:
    """Warn of a blocking call on an event loop's thread, at the caller's line (the first outside this package)."""
    import warnings

    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("sluicegate."):
        level, frame = level + 1, frame.f_back
    instead = awaitable if awaitable.startswith("async ") else f"await {awaitable}"
    message = f"{blocking}() is about to block a thread on which an event loop is running; use `{instead}()`"
    warnings.warn(message, BlockingInEventLoopWarning, stacklevel=level)


_THEIRS: dict[type, str] = {Empty: "QueueEmpty", Full: "QueueFull"}
if sys.version_info >= (3, 13):
    _THEIRS[ShutDown] = "QueueShutDown"
watch(_THEIRS)
