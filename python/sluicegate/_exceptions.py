"""The exceptions and the warning. Each is what both `queue` and `asyncio` raise, so either `except` catches it."""

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

    class _Empty(queue.Empty, asyncio.QueueEmpty): ...

    class _Full(queue.Full, asyncio.QueueFull): ...

    if sys.version_info >= (3, 13):

        class _ShutDown(queue.ShutDown, asyncio.QueueShutDown): ...

    else:
        _ShutDown = Exception
else:
    # asyncio's are added when asyncio is there.
    _Empty, _Full, _ShutDown = queue.Empty, queue.Full, getattr(queue, "ShutDown", Exception)


@public
class Empty(_Empty):
    """There was no item (in time)."""


@public
class Full(_Full):
    """There was no room (in time). From `put_many`, `accepted` says how many items were put before."""

    accepted: int


@public
class ShutDown(_ShutDown):
    """The queue has been shut down.

    `__cause__` is the exception by which a producer left, if one did. From `put_many`, `accepted` says how many items were put before.
    """

    accepted: int


@public
class Refused(Exception):
    """A limit lets a call through only later, or not at all. Nothing has been taken."""

    #: Seconds after which it is worth trying again.
    retry_after: float = 0.0
    #: The name of the object that refused, if it has one.
    name: str | None = None


@public
class RateLimited(Refused):
    """A limiter lets it through only later. Nothing has been taken."""


@public
class Overloaded(Refused):
    """There was no room for a call that somebody waits on."""

    #: When there will be room is not known: a hint.
    retry_after: float = 1.0
    #: "full": no room at once; "expired": no room in time; "shed": given up in favour of others.
    reason: str = "full"


@public
class ChannelError(Exception):
    """Something about a channel. From `send_many`, `accepted` says how many items were sent before."""

    accepted: int


@public
class ChannelClosed(ChannelError):
    """The channel has been completed: nothing can be sent, or everything has been received."""


@public
class ChannelCancelled(ChannelError):
    """The receiver wants nothing more."""


@public
class ChannelFailed(ChannelError):
    """A sender has failed; `__cause__` is the exception by which it did."""


@public
class StaleDelivery(ChannelError):
    """A delivery was settled too late: the item has come back meanwhile. Nothing has changed."""


@public
class BlockingInEventLoopWarning(RuntimeWarning):
    """A blocking call is about to stop a running event loop."""


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
