"""What credit channels have in Python: the awaitable methods and `with`."""

from __future__ import annotations

from sluicegate._aio import drive
from sluicegate._core import (
    WAIT,
    AckChannel,
    Channel,
    Credit,
    CreditChannel,
    Delivery,
    Permit,
    Receiver,
    Sender,
    _refuse_coroutine_function,
)
from sluicegate._exceptions import ChannelClosed, ChannelFailed
from sluicegate._methods import copy_methods, set_methods
from sluicegate._subscriptions import Subscription, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any

__all__ = ["AckChannel", "Channel", "Credit", "CreditChannel", "Delivery", "Permit", "Receiver", "Sender", "Subscription"]


class _AsyncWith:
    """What `with` does, for `async with`."""

    async def __aenter__(self: Any) -> Any:
        return self.__enter__()

    async def __aexit__(self: Any, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.__exit__(kind, error, traceback)


class _SenderMethods:
    async def send_async(self: Any, item: Any, timeout: float | None = None) -> None:
        """Send an item, waiting for credit, from a coroutine.

        Works as `send`. If there is credit, the coroutine does not suspend, except that after 128 operations in a row
        other tasks of the loop get to run. If it is cancelled, nothing has been sent.
        """
        if self._try_send(item, timeout) is WAIT:
            await drive(self._async_send(item, timeout))

    async def send_many_async(self: Any, items: Iterable[Any], *, timeout: float | None = None) -> int:
        """Send all of `items`, in order, from a coroutine, and return the number of items.

        Works as `send_many`. An exception that ends it early, CancelledError included, has an attribute `accepted`: the
        number of items that were sent.
        """
        return await drive(self._async_send_many(items, timeout))

    async def wait_ready_async(self: Any, n: int = 1, *, timeout: float | None = None) -> bool:
        """Wait until `n` could be sent, without taking credit, from a coroutine. Works as `wait_ready`."""
        return await drive(self._async_wait_ready(n, timeout))


class _PermitMethods:
    async def __aenter__(self: Any) -> Any:
        await drive(self._async_acquire())
        return self

    async def __aexit__(self: Any, *exc: object) -> None:
        self.__exit__(*exc)


class AsyncReceiverIterator:
    """Ends when the channel is complete."""

    __slots__ = ("_receiver",)

    def __init__(self, receiver: Any) -> None:
        self._receiver = receiver

    def __aiter__(self) -> AsyncReceiverIterator:
        return self

    async def __anext__(self) -> Any:
        try:
            item = self._receiver._try_receive()
            return await drive(self._receiver._async_receive(None)) if item is WAIT else item
        except ChannelClosed:
            if self._receiver.statistics().state != "completed":  # a sender has failed with just this
                raise
            raise StopAsyncIteration from None
        except StopAsyncIteration as error:  # so it has with this: here it would look like the end (PEP 479)
            raise ChannelFailed("receive_async: a sender of the channel has failed") from error


class _ReceiverMethods:
    async def receive_async(self: Any, timeout: float | None = None) -> Any:
        """Receive the next item, waiting for it, from a coroutine.

        Works as `receive`. If there is an item, the coroutine does not suspend, except that after 128 operations in a
        row other tasks of the loop get to run. If it is cancelled, nothing has been taken.
        """
        item = self._try_receive(timeout)
        return await drive(self._async_receive(timeout)) if item is WAIT else item

    async def receive_many_async(self: Any, max: int, *, timeout: float | None = None) -> list[Any]:
        """Receive 1 to `max` items, as a list, from a coroutine.

        Works as `receive_many`. If it is cancelled, nothing has been taken.
        """
        return await drive(self._async_receive_many(max, timeout))

    async def stop_async(self: Any, timeout: float | None = None, *, lanes: Iterable[Any] | None = None) -> Any:
        """Stop receiving for good, without losing count of work in progress, from a coroutine, and return `settled_through`.

        Works as `stop`. If it is cancelled, the stop goes on: call it again to wait for its end.
        """
        return await drive(self._async_stop(timeout, lanes))

    def __aiter__(self: Any) -> AsyncReceiverIterator:
        """Iterate over the items until the channel is complete; raise the sender's error if it failed."""
        return AsyncReceiverIterator(self)

    def subscribe(
        self: Any,
        on_next: Callable[[Any], object],
        *,
        on_error: Callable[[BaseException], object] | None = None,
        on_complete: Callable[[], object] | None = None,
        on_subscribe: Callable[[Subscription], object] | None = None,
    ) -> Subscription:
        """Pass the items to `on_next`, one at a time, and return the subscription.

        `on_subscribe(subscription)` is called first, by this method. The other functions are called on the running
        event loop, or on a new thread if there is none, in the caller's context: `on_next(item)` for each item, finally
        `on_complete()` or `on_error(error)`. Calls never overlap and never nest: `request` inside `on_next` returns
        without calling it. If a function raises, the subscription ends and the exception goes to `sys.unraisablehook`.

        At its exit the program waits for a subscriber on a thread whose channel's senders have all completed or failed,
        until it has handled what is buffered. A task on an event loop ends with its loop: `await` the subscription.

        Raises RuntimeError if there is a subscriber already, or if no thread could be started (then no function has been
        called, and the receiver is free), TypeError if an argument is not callable.
        """
        if not callable(on_next):
            raise TypeError(f"'on_next' must be callable, not {on_next!r}")
        _refuse_coroutine_function("on_next", on_next)
        for name, handler in {"on_error": on_error, "on_complete": on_complete, "on_subscribe": on_subscribe}.items():
            if handler is not None and not callable(handler):
                raise TypeError(f"{name!r} must be callable or None, not {handler!r}")
            if handler is not None:
                _refuse_coroutine_function(name, handler)
        return start(self, on_next, on_error, on_complete, on_subscribe)


set_methods(_SenderMethods, Sender)
set_methods(_ReceiverMethods, Receiver)
set_methods(_PermitMethods, Permit)
for _class in (Sender, Receiver, Delivery):
    copy_methods(_AsyncWith, _class)
del _class
