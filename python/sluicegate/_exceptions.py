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
    "CircuitOpen",
    "Empty",
    "Full",
    "Killed",
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


def _representation(self: BaseException) -> str:
    """Show the text in the place of the template and its values."""
    text = _text(self)
    return BaseException.__repr__(self) if text == BaseException.__str__(self) else f"{type(self).__name__}({text!r})"


@public
class Empty(_Empty):
    """There was no item (in time)."""

    __str__ = _text
    __repr__ = _representation


@public
class Full(_Full):
    """There was no room (in time). After `put_many`, `accepted` is the number of items that were put; otherwise it is 0."""

    __str__ = _text
    __repr__ = _representation
    accepted: int = 0


@public
class ShutDown(_ShutDown):
    """The queue has been shut down.

    If it was shut down with an error, that is the `__cause__`. After `put_many`, `accepted` is the number of items that were put.
    """

    accepted: int = 0


@public
class Killed(ShutDown):
    """A pipeline was ended at once, and not because its source had ended."""


@public
class Refused(Exception):
    """A limit refused a call. Nothing has been taken."""

    __str__ = _text
    __repr__ = _representation
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
class CircuitOpen(Refused):
    """A circuit breaker did not let the call through. `retry_after` is the rest of its open time, or a hint."""

    @property
    def state(self) -> str:
        """The breaker's state: "open", "half_open" (all probes are on their way) or "forced_open"."""
        return self._told(3) or "open"


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

    accepted: int = 0


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


def _caller(blocking: str, awaitable: str) -> tuple[int, str, str]:
    """Return the stack level of the caller's line (the first outside this package) and the names that the caller knows.

    A method written in Python that waits in another object is listed in its module's `AWAITABLE`, with its own names. A name that ends
    with a colon is a statement, and not a call.
    """
    level, frame = 2, sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("sluicegate."):
        names = frame.f_globals.get("AWAITABLE", {})
        blocking, awaitable = names.get(frame.f_code.co_name, (blocking, awaitable))
        level, frame = level + 1, frame.f_back
    return level, blocking, awaitable


def _written(name: str) -> str:
    return name if name.endswith(":") else f"{name}()"


def warn_blocking(blocking: str, awaitable: str) -> None:
    """Warn of a blocking call on an event loop's thread."""
    import warnings

    level, blocking, awaitable = _caller(blocking, awaitable)
    instead = awaitable if awaitable.startswith("async ") else f"await {awaitable}"
    message = f"{_written(blocking)} is about to block a thread on which an event loop is running; use `{_written(instead)}`"
    warnings.warn(message, BlockingInEventLoopWarning, stacklevel=level)


def warn_of_hub(blocking: str) -> bool:
    """Warn of a blocking call where gevent or eventlet has patched `threading`; return whether there was reason to."""
    for library, patches, question, names, pool in (
        ("gevent", "gevent.monkey", "is_module_patched", ("threading", "thread"), "gevent.get_hub().threadpool.apply"),
        ("eventlet", "eventlet.patcher", "is_monkey_patched", ("thread",), "eventlet.tpool.execute"),
    ):
        is_patched = getattr(sys.modules.get(patches), question, None)
        if is_patched is None or not any(is_patched(name) for name in names):
            continue
        # A thread of gevent's pool has no hub that it could stop.
        hub = getattr(sys.modules.get("gevent._hub_local"), "get_hub_if_exists", None) if library == "gevent" else None
        if hub is None or hub() is not None:
            import warnings

            level, blocking, _ = _caller(blocking, "")
            warnings.warn(
                f"{_written(blocking)} is about to block a thread and with it all of its greenlets, because {library} cannot patch"
                f" sluicegate; call it on a thread of a pool: {pool}({blocking}, ...) (this is said once)",
                BlockingInEventLoopWarning,
                stacklevel=level,
            )
            return True
    return False


_THEIRS: dict[type, str] = {Empty: "QueueEmpty", Full: "QueueFull"}
if sys.version_info >= (3, 13):
    _THEIRS[ShutDown] = "QueueShutDown"
watch(_THEIRS)
