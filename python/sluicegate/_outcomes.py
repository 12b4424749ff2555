"""The calls of a `Batcher` and their outcomes: results, and exceptions that many callers raise.

A call is claimed once, by the thread or task that takes it out of the queue, and then succeeds or fails once. Or its caller claims it in
the queue, because it has expired: then it leaves the queue as one does whose caller no longer waits. Claiming it says at the same time by
whom, so that nobody counts an expired call as a cancelled one.

| the caller                                 | its call        | the outcome is in                                                      |
|--------------------------------------------|-----------------|------------------------------------------------------------------------|
| `submit`                                   | `SubmittedCall` | the call, which is the future                                          |
| `call`, or `submit_async` with a timeout   | `WaitingCall`   | a `SimpleQueue`, in which a thread or a task waits by the batcher's clock |
| `submit_async` without a timeout           | `AwaitedCall`   | a future of the caller's loop, which costs a third of that             |

An `Outbox` brings the outcomes of a batch to other loops, with one call for each loop.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import operator
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import TimeoutError as TimedOut  # not the built-in class before 3.11
from concurrent.futures._base import RUNNING

from sluicegate._arguments import patience
from sluicegate._core import Receiver, SimpleQueue
from sluicegate._futures import JobFuture

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol, TypeAlias

    from sluicegate._core import Clock

    class _Runner(Protocol):
        """The owner of the queue that a call is in."""

        clock: Clock
        now: Callable[[], float]

        def left(self) -> None: ...
        def due_in(self, call: Call) -> float | None: ...
        def overdue(self) -> BaseException: ...
        @property
        def is_real_time(self) -> bool: ...

    Call: TypeAlias = "WaitingCall | AwaitedCall | SubmittedCall"
    Outcome: TypeAlias = tuple[Any, BaseException | None]

__all__ = ["AwaitedCall", "Failure", "Outbox", "SubmittedCall", "WaitingCall", "checked", "copied", "is_handlers_own", "raisable", "run"]

#: Who claims a call: whoever takes it out of the queue, or its caller, because it has expired.
_TAKER, _EXPIRY = "taker", "expiry"


class Outbox:
    """The outcomes for tasks, until `send`. What a task sends to tasks of its own loop, `here`, is not kept.

    Without a task there is no `here`: a loop that sleeps has to be woken, also from its own thread, where a signal handler or a finaliser
    may run meanwhile.
    """

    __slots__ = ("here", "mail")

    def __init__(self, here: asyncio.AbstractEventLoop | None = None) -> None:
        self.here = here
        self.mail: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}

    def post(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], outcome: Any) -> None:
        """Give a task its outcome: now, or with `send`."""
        if loop is not self.here:
            outcomes = self.mail.get(loop)
            if outcomes is None:
                outcomes = self.mail.setdefault(loop, [])
            outcomes.append((future, outcome))
        elif not future.done():
            future.set_result(outcome)

    def send(self) -> None:
        """Send the outcomes to their loops. The tasks of a loop that has been closed need none."""
        for loop, outcomes in self.mail.items():
            try:
                loop.call_soon_threadsafe(_settle, outcomes)
            except RuntimeError:
                if not loop.is_closed():
                    raise
        self.mail = {}


def _settle(outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in outcomes:
        if not future.done():
            future.set_result(outcome)


class Failure:
    """The result of an awaited call's future, if the call has failed. An exception of the future would be logged if nobody retrieved it."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class WaitingCall:
    """A call whose caller waits for the outcome with a timeout, or in a thread."""

    __slots__ = ("arrived", "claims", "has_left", "item", "outcome", "runner")

    def __init__(self, item: Any, runner: _Runner) -> None:
        self.item = item
        self.runner: _Runner | None = runner
        self.arrived = runner.now()
        self.has_left = False
        #: Whoever comes first has claimed the call.
        self.claims: list[str] = []
        self.outcome: SimpleQueue[Outcome] = SimpleQueue(clock=runner.clock)

    def claim(self) -> bool:
        """Claim the call. Return False if its caller has left."""
        self.runner = None
        self.claims.append(_TAKER)
        return self.claims[0] is _TAKER and not self.has_left

    def expire(self) -> bool:
        """Claim the call for its caller, whose patience it is. Return False if a batch has taken it."""
        self.claims.append(_EXPIRY)
        return self.has_expired

    @property
    def has_expired(self) -> bool:
        """Return whether its caller has claimed it."""
        return self.claims[:1] == [_EXPIRY]

    def succeed(self, result: Any, _outbox: Outbox) -> None:
        """Give the caller its result."""
        self.outcome.put((result, None))

    def fail(self, error: BaseException, _outbox: Outbox) -> None:
        """Make the caller raise this exception."""
        self.outcome.put((None, error))

    def leave(self) -> None:
        """Record that the caller no longer waits for the outcome."""
        self.has_left = True
        if (runner := self.runner) is not None:
            runner.left()


class AwaitedCall:
    """A call whose caller is a task that waits without a timeout, at a batcher without a `ttl`."""

    has_expired = False
    __slots__ = ("arrived", "future", "has_left", "item", "loop", "runner")

    def __init__(self, item: Any, runner: _Runner, loop: asyncio.AbstractEventLoop) -> None:
        self.item = item
        self.runner: _Runner | None = runner
        self.arrived = runner.now()
        self.has_left = False
        self.loop = loop
        #: Its result is the call's, or a `Failure`.
        self.future: asyncio.Future[Any] = loop.create_future()

    leave = WaitingCall.leave

    def claim(self) -> bool:
        """Claim the call. Return False if its caller has left."""
        self.runner = None
        return not self.has_left

    def succeed(self, result: Any, outbox: Outbox) -> None:
        """Give the caller its result."""
        if self.loop is not outbox.here:
            outbox.post(self.loop, self.future, result)
        elif not self.future.done():
            self.future.set_result(result)

    def fail(self, error: BaseException, outbox: Outbox) -> None:
        """Make the caller raise this exception."""
        outbox.post(self.loop, self.future, Failure(error))


class SubmittedCall(JobFuture):
    """The future that `submit` returns. It holds the item until a batch takes it."""

    # `_claimed` has the place of the `_task` with which the base class begins.

    def __init__(self, item: Any, runner: _Runner) -> None:
        self.item = item
        self.runner: _Runner | None = runner
        self.arrived = runner.now()

    @staticmethod
    def _on_cancel(_call: Any) -> None:
        pass

    def _wait(self, timeout: Any) -> None:
        """As in the base class, but a call whose time passes meanwhile expires."""
        limit, runner = patience("timeout", timeout), self.runner
        due = runner.due_in(self) if runner is not None and runner.is_real_time else None
        if runner is not None and due is not None and (limit is None or due < limit):
            with contextlib.suppress(TimedOut):
                return super()._wait(due)
            if self._claim(_EXPIRY) is not None:  # no batch has taken it
                self._settle((None, runner.overdue()))
                runner.left()
            limit = None if limit is None else limit - due
        return super()._wait(limit)

    def _claim(self, by: Any = None) -> Any:
        """As in the base class, and say by whom: without `by`, by none of those for whom the batcher counts the call."""
        by = object() if by is None else by
        return by if vars(self).setdefault("_claimed", by) is by else None

    @property
    def has_expired(self) -> bool:
        """Return whether a caller that waited has claimed it."""
        return vars(self).get("_claimed") is _EXPIRY

    @property
    def has_left(self) -> bool:
        """Return whether the call was cancelled, or has expired."""
        return self.has_expired or self.cancelled()

    def claim(self) -> bool:
        """Claim the call. Return False if it was cancelled, or if its outcome was set from outside."""
        self.runner = None
        state = self.__dict__
        return state.setdefault("_claimed", _TAKER) is _TAKER and state.setdefault("_state", RUNNING) == RUNNING

    def succeed(self, result: Any, _outbox: Outbox) -> None:
        """Set the result, unless the outcome was set from outside. An exception in a callback does not affect other calls."""
        try:
            self._settle((result, None))
        except BaseException as error:  # noqa: BLE001 - raised by a callback; those that are an Exception are logged
            Receiver._report(error, self)

    def fail(self, error: BaseException, _outbox: Outbox) -> None:
        """Set the exception."""
        try:
            self._settle((None, error))
        except BaseException as raised:  # noqa: BLE001 - as above
            self._settle((None, error))  # unless it has been: a signal handler may have raised before that
            Receiver._report(raised, self)

    def cancel(self) -> bool:
        """Cancel the call if no batch has taken it yet: it leaves the queue, and its place is free."""
        if not super().cancel():
            return False
        if (runner := self.runner) is not None:
            runner.left()
        return True


def run(handler: Callable[[list[Any]], Any], items: list[Any], count: int) -> Iterable[Any]:
    """Call the handler and check the result."""
    return checked(handler(items), count)


def checked(returned: Any, count: int) -> Iterable[Any]:
    """Return the handler's result as a list or tuple of `count` results. At most one item too many is taken from an iterator."""
    results = returned
    if type(results) is not list and type(results) is not tuple:
        has_no_order = isinstance(results, (str, bytes, bytearray, Mapping, AbstractSet))
        if has_no_order or not hasattr(type(results), "__iter__"):
            if hasattr(returned, "close") and hasattr(returned, "__await__"):
                returned.close()  # a coroutine, which would otherwise warn that it was never awaited
            kind = type(returned).__name__
            hint = ": pass the `async def` itself, or make what wraps it an `async def` too" if hasattr(returned, "__await__") else ""
            raise TypeError(f"the handler of a Batcher must return an iterable of results, in the order of the items, not {kind}{hint}")
        results = list(itertools.islice(returned, count + 1))
    if len(results) != count:
        more = "more than " if len(results) > count and results is not returned else ""
        number = count if more else len(results)
        raise ValueError(f"the handler of a Batcher must return a result for each item: it returned {more}{number} for {count} items")
    return results


def raisable(error: BaseException) -> BaseException:
    """Return the exception that callers raise. One that would end the caller's thread or task becomes the cause of another."""
    if isinstance(error, Exception) and not isinstance(error, (StopIteration, StopAsyncIteration)):
        return error
    ended = RuntimeError(f"the handler of a Batcher ended with {type(error).__name__}" + (f": {error}" if str(error) else ""))
    ended.__cause__ = error
    return ended


def copied(error: BaseException) -> BaseException:
    """Return a copy of the exception, or the exception itself if it cannot be copied. Each raise extends a traceback."""
    try:
        other = copy.copy(error)
        is_faithful = type(other) is type(error) and len(other.args) == len(error.args) and str(other) == str(error)
        is_faithful = is_faithful and all(map(operator.is_, other.args, error.args))
    except Exception:  # noqa: BLE001 - a class whose `__init__` does not take its `args`
        return error
    if not is_faithful:
        return error
    other.__cause__, other.__context__, other.__suppress_context__ = error.__cause__, error.__context__, error.__suppress_context__
    other.__traceback__ = error.__traceback__
    if hasattr(error, "__notes__"):
        other.__notes__ = list(error.__notes__)  # type: ignore[attr-defined]
    return other


def is_handlers_own(error: BaseException) -> bool:
    """Return whether a CancelledError was raised by what the handler awaited, not by cancelling the worker (unknown before 3.11)."""
    import asyncio

    if not isinstance(error, asyncio.CancelledError):
        return False
    cancelling = getattr(asyncio.current_task(), "cancelling", None)
    return cancelling is not None and not cancelling()
