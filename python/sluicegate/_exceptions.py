"""The exceptions and the warning. Each is what both `queue` and `asyncio` raise, so either `except` catches it."""

from __future__ import annotations

import asyncio
import queue
import sys
import warnings

__all__ = [
    "BlockingInEventLoopWarning",
    "ChannelCancelled",
    "ChannelClosed",
    "ChannelError",
    "ChannelFailed",
    "Empty",
    "Full",
    "RateLimited",
    "ShutDown",
    "StaleDelivery",
]


class Empty(queue.Empty, asyncio.QueueEmpty):
    """There was no item (in time)."""


class Full(queue.Full, asyncio.QueueFull):
    """There was no room (in time). From `put_many`, `accepted` says how many items were put before."""

    accepted: int


if sys.version_info >= (3, 13):

    class ShutDown(queue.ShutDown, asyncio.QueueShutDown):
        """The queue has been shut down.

        `__cause__` is the exception by which a producer left, if one did. From `put_many`, `accepted` says how many items were put before.
        """

        accepted: int

else:

    class ShutDown(Exception):
        """The queue has been shut down.

        `__cause__` is the exception by which a producer left, if one did. From `put_many`, `accepted` says how many items were put before.
        """

        accepted: int


class RateLimited(Exception):
    """A limiter lets it through only later. Nothing has been taken."""

    #: Seconds after which it is worth trying again.
    retry_after: float = 0.0


class ChannelError(Exception):
    """Something about a channel. From `send_many`, `accepted` says how many items were sent before."""

    accepted: int


class ChannelClosed(ChannelError):
    """The channel has been completed: nothing can be sent, or everything has been received."""


class ChannelCancelled(ChannelError):
    """The receiver wants nothing more."""


class ChannelFailed(ChannelError):
    """A sender has failed; `__cause__` is the exception by which it did."""


class StaleDelivery(ChannelError):
    """A delivery was settled too late: the item has come back meanwhile. Nothing has changed."""


class BlockingInEventLoopWarning(RuntimeWarning):
    """A blocking call is about to stop a running event loop."""


def warn_blocking(blocking: str, awaitable: str) -> None:
    """Warn of a blocking call on an event loop's thread, at the caller's line (the first outside this package)."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("sluicegate."):
        level, frame = level + 1, frame.f_back
    instead = awaitable if awaitable.startswith("async ") else f"await {awaitable}"
    message = f"{blocking}() is about to block a thread on which an event loop is running; use `{instead}()`"
    warnings.warn(message, BlockingInEventLoopWarning, stacklevel=level)


for _class in (
    Empty,
    Full,
    ShutDown,
    RateLimited,
    ChannelError,
    ChannelClosed,
    ChannelCancelled,
    ChannelFailed,
    StaleDelivery,
    BlockingInEventLoopWarning,
):
    _class.__module__ = "sluicegate"
del _class
