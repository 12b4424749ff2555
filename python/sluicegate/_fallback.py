"""`Fallback`: an answer in the place of an error. With `Stale` that is the last good one: see `_stale`."""

from __future__ import annotations

import contextlib
from types import CoroutineType

from sluicegate._aio import running_loop
from sluicegate._arguments import check_instance, check_name
from sluicegate._classes import public
from sluicegate._core import _clock
from sluicegate._decorators import over_calls
from sluicegate._exceptions import Empty, Refused
from sluicegate._hints import HOW_TO_CALL, hinting, of_fallback
from sluicegate._leaves import are_named, condition
from sluicegate._methods import refuses_calls
from sluicegate._mistakes import Mistake, awaitable_result, can_be_awaited, check_callable_now, check_sync, sync_result
from sluicegate._outcomes import copied
from sluicegate._retries import Counter, patience_left
from sluicegate._stale import NOTHING, Flight, Memory, Stale

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable
    from typing import Any, NoReturn, TypeAlias, TypeVar

    from typing_extensions import ParamSpec

    from sluicegate._core import Clock
    from sluicegate._retries import Deadline
    from sluicegate._statistics import FallbackStatistics

    _P = ParamSpec("_P")
    _T = TypeVar("_T")
    _F = TypeVar("_F", bound=Callable[..., Any])
    _On: TypeAlias = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]

__all__ = ["Fallback"]

AWAITABLE = {"call": ("call", "call_async")}


@public
@hinting(__init__=of_fallback, __call__=HOW_TO_CALL)
class Fallback:
    """Gives another answer when a call is refused or fails, for threads and asyncio.

    `value` is the answer, or a function of the error that returns it (or something to await, for `call_async`). `on` says for which
    errors it is given: a type, a tuple of types, or a function of the error that returns whether. By default those are the refusals of
    sluicegate's own limits, `Refused`. With `stale`, the last good result of the same call is given if there is one that is young enough,
    and `value` otherwise. If there is neither, the error is raised as it is.

    Cancellation, KeyboardInterrupt and anything else that is not an `Exception` is never replaced. What `value` itself raises is raised.
    `statistics()` says how many answers were degraded.

    Raises TypeError, ValueError or OverflowError for an invalid argument.
    """

    def __init__(
        self,
        value: Any = NOTHING,
        /,
        *,
        on: _On = Refused,
        stale: Stale | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None:
        if value is NOTHING and stale is None:
            raise TypeError("a Fallback needs a value, a function of the error, or stale=Stale(...)")
        if isinstance(value, type):
            raise TypeError(f"'value' must be an answer or a function of the error, not the class {value!r}; write `lambda error: ...`")
        if isinstance(value, Stale):
            raise TypeError(f"'value' must be an answer or a function of the error, not {value!r}; write Fallback(stale=Stale(...))")
        if refuses_calls(value):
            raise TypeError(f"'value' must be an answer or a function of the error, not {value!r}")
        check_instance("stale", stale, (Stale,), "a Stale")
        self._value: Any = value
        self._types, self._predicate = condition("on", on)
        self._clock: Clock = _clock(clock)
        self._name: str | None = check_name(name)
        self._memory: Memory | None = None if stale is None else Memory(stale, self._clock)
        self._successes, self._values, self._stale, self._raised = Counter(), Counter(), Counter(), Counter()

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""
        return self._name

    def call(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return `function(*args, **kwargs)`, or the other answer if that raises an error of `on`.

        A coroutine function is refused with a TypeError: use `call_async`.
        """
        check_sync(function, "fallback")
        try:
            return self._call(_plain, None, function, args, kwargs)[0]
        except Mistake as mistake:
            raise mistake.taken() from None

    async def call_async(self, function: Callable[_P, Awaitable[_T]], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return `await function(*args, **kwargs)`, or the other answer if that raises an error of `on`.

        If what the function returns cannot be awaited, that is a TypeError, whatever `on` says.
        """
        check_callable_now(function)
        try:
            return (await self._call_async(_plain_async, None, function, args, kwargs))[0]
        except Mistake as mistake:
            raise mistake.taken() from None

    def __call__(self, function: _F, /) -> _F:
        """Decorate a def or an async def. Generator functions are refused with a TypeError."""
        return over_calls(self, function)

    # `run(function, args, kwargs)` makes the call; calls of different scopes share nothing. `deadline` is also that of the wait for another
    # call with the same key. These return the answer, and whether it is the other one.

    def _call(self, run: Any, scope: Hashable, function: Any, args: Any, kwargs: Any, deadline: Deadline | None = None) -> tuple[Any, bool]:
        memory = self._memory
        key = None if memory is None else memory.key_of(scope, function, args, kwargs)
        try:
            if memory is None:
                result = run(function, args, kwargs)
            else:
                try:
                    with deadline or contextlib.nullcontext():
                        result = self._one_of_many(memory, key, run, function, args, kwargs)
                finally:
                    if deadline is not None:
                        deadline.call.over = True
        except Exception as error:  # noqa: BLE001 - `on` says which
            return self._answer_at_once(error, key), True
        self._successes.add()
        return result, False

    def _answer_at_once(self, error: Exception, key: Hashable) -> Any:
        """Return the other answer, which must not have to be awaited, or raise the error. Called while it is handled."""
        try:
            result, _ = self._instead(error, key)
        finally:
            del error  # its traceback refers to this frame
        if type(result) is CoroutineType:
            result.close()
            hint = "make it a `def`, or use `await fallback.call_async(...)`"
            raise TypeError(f"'value' {self._value!r} has returned a coroutine, which a plain call cannot await: {hint}") from None
        return result

    async def _call_async(
        self, run: Any, scope: Hashable, function: Any, args: Any, kwargs: Any, deadline: Deadline | None = None
    ) -> tuple[Any, bool]:
        memory = self._memory
        key = None if memory is None else memory.key_of(scope, function, args, kwargs)
        try:
            if memory is None:
                result = await run(function, args, kwargs)
            else:
                try:
                    with deadline or contextlib.nullcontext():
                        result = await self._one_of_many_async(memory, key, run, function, args, kwargs)
                finally:
                    if deadline is not None:
                        deadline.call.over = True
        except Exception as error:  # noqa: BLE001 - as above
            result, is_made = self._instead(error, key)
            return await result if is_made and can_be_awaited(result) else result, True
        self._successes.add()
        return result, False

    def _one_of_many(self, memory: Memory, key: Hashable, run: Any, function: Any, args: Any, kwargs: Any) -> Any:
        """Make the call, or wait for the outcome of another one with the same key."""
        while True:
            with Flight(memory, key) as flight:
                # A task of this loop may be the one that is on its way: to block the loop would block it too.
                other = flight.begin_or_join(alone=running_loop() is not None)
                if other is None:
                    try:
                        return flight.succeeded(run(function, args, kwargs))
                    finally:
                        del flight  # its outcome may be an error, whose traceback refers to this frame
                try:
                    shared = other.get(patience_left())
                except Empty:
                    raise _too_late() from None
            if shared is not None:
                return _result_of(shared)

    async def _one_of_many_async(self, memory: Memory, key: Hashable, run: Any, function: Any, args: Any, kwargs: Any) -> Any:
        while True:
            with Flight(memory, key) as flight:
                other = flight.begin_or_join()
                if other is None:
                    try:
                        return flight.succeeded(await run(function, args, kwargs))
                    finally:
                        del flight  # as above
                try:
                    shared = await other.get_async(patience_left())
                except Empty:
                    raise _too_late() from None
            if shared is not None:
                return _result_of(shared)

    def _instead(self, error: Exception, key: Hashable) -> tuple[Any, bool]:
        """Return the other answer, or raise the error. Called while it is handled.

        True if the function of the error has made the answer, which may have to be awaited.
        """
        predicate: Any = self._predicate
        wanted, _ = are_named(error, self._types, lambda member: (bool(predicate(member)), None))
        if wanted:
            result = NOTHING if self._memory is None else self._memory.last(key)
            if result is not NOTHING:
                self._stale.add()
                return result, False
            if self._value is not NOTHING:
                is_made = callable(self._value)
                result = self._value(error) if is_made else self._value
                self._values.add()
                return result, is_made
        self._raised.add()
        try:
            raise error
        finally:
            del error  # as above

    def statistics(self) -> FallbackStatistics:
        """Return a snapshot of the counters. They are read one after another while calls go on."""
        from sluicegate._statistics import FallbackStatistics

        return FallbackStatistics(
            name=self._name,
            successes=self._successes.value,
            values=self._values.value,
            stale=self._stale.value,
            raised=self._raised.value,
            remembered=0 if self._memory is None else len(self._memory.results),
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object: it has calls on their way")

    def __repr__(self) -> str:
        label = "" if self._name is None else f" {self._name!r}"
        value = "" if self._value is NOTHING else f" value={self._value!r}"
        stale = "" if self._memory is None else f" stale={self._memory.stale!r}"
        return f"<sluicegate.{type(self).__name__}{label} at {id(self):#x}{value}{stale}>"


def _result_of(outcome: tuple[Any, Exception | None]) -> Any:
    """Return the result of a call that others share, or raise a copy of its error."""
    result, error = outcome
    if error is not None:
        raise copied(error)
    return result


def _too_late() -> TimeoutError:
    return TimeoutError("a call with the same key is on its way, and had no result before the deadline")


def _plain(function: Any, args: Any, kwargs: Any) -> Any:
    return sync_result(function, function(*args, **kwargs), "fallback")


async def _plain_async(function: Any, args: Any, kwargs: Any) -> Any:
    return await awaitable_result(function, function(*args, **kwargs), "fallback")
