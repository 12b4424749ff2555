"""Subscriptions: a receiver's items passed to functions, on a thread of their own or on the running event loop.

A subscriber has finished when its last function has returned. That moment is the shutdown of a queue that nobody puts anything into but
one item at the start: `join` of that queue is what threads and tasks of any loop wait in. It is shut down in the subscriber's
`__del__` too, so that a task that never ran, or whose loop was closed, leaves nobody waiting.

The threads are daemons: a program that has not completed its sender ends without them. `_finish_all` runs at exit, after the last thread
that is no daemon, and waits for the subscribers that have an end to come to.
"""

from __future__ import annotations

import functools

from sluicegate._aio import drive, running_loop
from sluicegate._classes import public
from sluicegate._core import Queue, Receiver
from sluicegate._exceptions import ChannelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator
    from typing import Any

__all__ = ["Subscription", "start"]


@public
class Subscription:
    """Controls what a subscriber receives, as returned by `Receiver.subscribe`."""

    __slots__ = ("__weakref__", "_finished", "_is_own", "_receiver")

    def __init__(self, receiver: Receiver[Any]) -> None:
        self._receiver = receiver
        self._finished: Queue[None] = Queue()
        self._finished.put_nowait(None)
        self._is_own: Callable[[], bool] = _never

    def request(self, n: float) -> bool:
        """Request `n` more items, as `Receiver.credit.request`, on a channel with `window=0`."""
        return self._receiver.credit.request(n)

    def cancel(self) -> None:
        """Stop receiving. It can be called from anywhere, any number of times, and never raises."""
        self._receiver.cancel()

    @property
    def cancelled(self) -> bool:
        """True once nothing more can be received, for any reason."""
        return self._receiver.ended

    def join(self, timeout: float | None = None) -> None:
        """Wait until the subscriber has finished: its last function has returned, and none will be called any more.

        It finishes after `on_complete` or `on_error`, after `cancel`, and when one of its functions raises. `await subscription` is the
        same for coroutines.

        Raises TimeoutError if it has not finished within `timeout` seconds, RuntimeError if one of the subscriber's own functions calls
        it; ValueError, TypeError or OverflowError for an invalid `timeout`.
        """
        self._check()
        try:
            self._finished.join(timeout)
        except TimeoutError:
            raise TimeoutError(f"the subscriber has not finished within {timeout} seconds: {self!r}") from None

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until the subscriber has finished, as `join`. Cancelling it does not end the subscription."""
        self._check()
        return self._finished.join_async().__await__()

    def _check(self) -> None:
        if self._is_own():
            raise RuntimeError("a subscriber cannot wait for itself: join was called by one of its own functions")

    def __repr__(self) -> str:
        return f"<sluicegate.Subscription of {self._receiver!r}>"


def _never() -> bool:
    return False


class _Subscriber:
    """Calls the functions, one after the other."""

    def __init__(
        self,
        subscription: Subscription,
        on_next: Callable[[Any], object],
        on_error: Callable[[BaseException], object] | None,
        on_complete: Callable[[], object] | None,
    ) -> None:
        self.receiver = subscription._receiver
        self.finished = subscription._finished
        self.on_next = on_next
        self.on_error = on_error
        self.on_complete = on_complete
        self.is_calling = False

    def __del__(self) -> None:
        self.finish()

    def finish(self) -> None:
        self.finished.shutdown(immediate=True)

    def signal(self, handler: Callable[..., object], *args: Any) -> bool:
        """False if the handler raised: that ends the subscription, and is reported here, never to the sender (rule 2.13)."""
        self.is_calling = True
        try:
            handler(*args)
        except BaseException as error:
            self.receiver.cancel()
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise  # these are for the code that runs us
            Receiver._report(error, handler)
            return False
        finally:
            self.is_calling = False
        return True

    def ended(self, error: BaseException) -> None:
        """The signal that ends it, if there is one: none after a cancellation (rules 1.7 and 1.8)."""
        state = self.receiver.statistics().state
        if state == "completed":
            if self.on_complete is not None:
                self.signal(self.on_complete)
        elif state not in ("stopping", "cancelled") and self.on_error is not None:
            self.signal(self.on_error, error)

    def next(self) -> Any:
        try:
            return self.receiver.receive()
        except ChannelError:
            pass  # the end, unless it is said to wait for itself: but it has handed on what it received
        return self.receiver._next()

    async def next_async(self) -> Any:
        try:
            return await self.receiver.receive_async()
        except ChannelError:
            pass
        return await drive(self.receiver._async_next())

    def run(self) -> None:
        try:
            self.receive_all()
        finally:
            self.finish()

    def receive_all(self) -> None:
        while True:
            try:
                item = self.next()
            except BaseException as error:  # noqa: BLE001 - the end, of whatever kind
                return self.ended(error)
            if not self.signal(self.on_next, item):
                return None
            del item

    async def run_async(self) -> None:
        try:
            await self.receive_all_async()
        finally:
            self.finish()

    async def receive_all_async(self) -> None:
        import asyncio  # which runs this

        while True:
            try:
                item = await self.next_async()
            except (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit) as error:
                if self.receiver.statistics().state == "failed":  # it is the sender's error: the task that sent was cancelled
                    return self.ended(error)
                self.receiver.cancel()
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                return self.ended(error)
            if not self.signal(self.on_next, item):
                return None
            del item


def start(
    receiver: Receiver[Any],
    on_next: Callable[[Any], object],
    on_error: Callable[[BaseException], object] | None,
    on_complete: Callable[[], object] | None,
    on_subscribe: Callable[[Subscription], object] | None,
) -> Subscription:
    """What `Receiver.subscribe` does once its arguments are right."""
    receiver._subscribe()
    subscription = Subscription(receiver)
    subscriber = _Subscriber(subscription, on_next, on_error, on_complete)
    loop = running_loop()
    try:
        if loop is None:
            _start_thread(subscription, subscriber, on_subscribe)
        elif on_subscribe is None or subscriber.signal(on_subscribe, subscription):
            # While it waits its channel keeps it, and else its loop: a task that nothing can wake any more goes, and with it the receiver.
            _start_task(loop, subscription, subscriber)
    except BaseException:
        receiver._unsubscribe()  # nobody will receive
        raise
    return subscription


def _start_thread(subscription: Subscription, subscriber: _Subscriber, on_subscribe: Callable[[Subscription], object] | None) -> None:
    """The thread first, and then `on_subscribe`: if there is no thread nothing has been called."""
    import atexit
    import contextvars
    import threading

    gate = threading.Lock()
    contexts: list[contextvars.Context] = []

    def run() -> None:
        with gate:
            pass
        if contexts:
            try:
                contexts.pop().run(subscriber.run)
            finally:
                _running.discard(entry)

    thread = threading.Thread(target=run, name="sluicegate-subscriber", daemon=True)
    subscription._is_own = lambda: threading.get_ident() == thread.ident
    entry = (thread, subscriber)
    with gate:
        thread.start()
        if on_subscribe is not None and not subscriber.signal(on_subscribe, subscription):
            subscriber.finish()
            return
        if not _running:
            atexit.unregister(_finish_all)  # once is enough, and it goes before what was registered until now
            atexit.register(_finish_all)
        _running.add(entry)
        contexts.append(contextvars.copy_context())


def _start_task(loop: Any, subscription: Subscription, subscriber: _Subscriber) -> None:
    import asyncio
    import weakref

    run = subscriber.run_async()
    try:
        task = loop.create_task(run)
    except BaseException:
        run.close()
        raise
    reference = weakref.ref(task)

    def is_own() -> bool:
        if running_loop() is None:
            return False
        return asyncio.current_task() is reference() is not None

    subscription._is_own = is_own
    # A task that is cancelled before it began runs none of its code.
    task.add_done_callback(functools.partial(_shut_down, subscription._finished))


def _shut_down(finished: Queue[None], _task: object) -> None:
    finished.shutdown(immediate=True)


_running: set[tuple[threading.Thread, _Subscriber]] = set()

#: The exit looks this often, in seconds, at a subscriber that may have nothing more to do.
_LOOK = 0.02


def _finish_all() -> None:
    for thread, subscriber in list(_running):
        is_idle = False
        while thread.is_alive():  # in the child of a fork the parent's are not
            seen = subscriber.receiver.statistics()
            if seen.state == "open":
                break  # nobody has said that there is an end
            # Deliveries that somebody holds, and permits, may stay out for ever. With nothing buffered it is enough to have seen, twice,
            # that the subscriber stands in line.
            was_idle, is_idle = is_idle, not (seen.buffered or subscriber.is_calling) and seen.waiting_receivers > 0
            if was_idle and is_idle:
                break
            try:
                subscriber.finished.join(_LOOK)
                break
            except TimeoutError:
                pass
