"""The exceptions and the warning. Each is what both `queue` and `asyncio` raise, so either `except` catches it."""

from __future__ import annotations

import asyncio
import queue
import sys

__all__ = ["BlockingInEventLoopWarning", "Empty", "Full", "ShutDown"]


class Empty(queue.Empty, asyncio.QueueEmpty):
    """There was no item (in time)."""


class Full(queue.Full, asyncio.QueueFull):
    """There was no room (in time). From `put_many`, `accepted` says how many items were put before."""


if sys.version_info >= (3, 13):

    class ShutDown(queue.ShutDown, asyncio.QueueShutDown):
        """The queue has been shut down.

        `__cause__` is the exception by which a producer left, if one did. From `put_many`, `accepted` says how many items were put before.
        """

else:

    class ShutDown(Exception):
        """The queue has been shut down.

        `__cause__` is the exception by which a producer left, if one did. From `put_many`, `accepted` says how many items were put before.
        """


class BlockingInEventLoopWarning(RuntimeWarning):
    """A blocking call is about to stop a running event loop."""


for _class in (Empty, Full, ShutDown, BlockingInEventLoopWarning):
    _class.__module__ = "penstock"
del _class
