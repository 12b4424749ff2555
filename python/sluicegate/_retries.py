"""`Retry`: attempts of one call, until one succeeds or there is a reason to make no more.

A call's state is a `_Call`, which is also what a `Retry` inside it sees (in a context variable). Retries of several layers would multiply,
so an error is repeated by one layer alone:

| an error inside an attempt of another `Retry`                | is repeated by                          |
|--------------------------------------------------------------|-----------------------------------------|
| which the other one would repeat too                         | the outer one: the inner makes one attempt |
| which the other one would not repeat                         | the inner one                           |
| which the inner one has repeated in vain, one raised from it, or one of the same response | no other: the outer raises it |

Most calls succeed at once, and need no state of their own; so the first attempt of a call that has no deadline is made by the binding
(`_FirstAttempts`), with a list in the place of that state, which has the `Retry`. When the attempt is over, the list stays in the context
variable, and says that there is no call: taking it out would cost as much as putting it in.

A generator that yields inside `with attempt:` leaves the context variable set in its consumer. So the call of an attempt in a generator has
the generator's frame, and counts only while that runs.

The wait between attempts is a wait for a permit of a semaphore that has none: it is interrupted, cancelled and driven by a clock as any
other wait, and the semaphore counts it.

Fairness: calls do not wait for each other. It does not stop an attempt that takes too long, and holds nothing while it waits.
"""

from __future__ import annotations

import contextvars
import itertools
import math
import random as _random
import sys
import threading
from weakref import ref

from sluicegate._arguments import count
from sluicegate._backoff import Backoff
from sluicegate._classes import public
from sluicegate._core import RetryBudget, Semaphore, _clock, _duration, _FirstAttempts, _raise_again
from sluicegate._decorators import over_calls
from sluicegate._exceptions import Refused
from sluicegate._hints import HOW_TO_CALL, hinting, of_retry
from sluicegate._leaves import answer_of, are_named, attribute_of, condition, leaves, longer, longest_retry_after
from sluicegate._mistakes import CO_GENERATORS, NOT_RUN, can_be_awaited, check_callable_now, needs_call, not_run
from sluicegate._running import add_note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from datetime import timedelta
    from types import FrameType, TracebackType
    from typing import Any, NoReturn, TypeAlias, TypeVar

    from typing_extensions import ParamSpec

    from sluicegate._core import Clock
    from sluicegate._statistics import RetryStatistics

    _P = ParamSpec("_P")
    _T = TypeVar("_T")
    _F = TypeVar("_F", bound=Callable[..., Any])
    _Seconds: TypeAlias = float | timedelta
    _On: TypeAlias = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], "bool | float | None"]

__all__ = ["Counter", "Deadline", "Retry", "RetryAttempt", "patience_left"]

#: What `warn_blocking` names if one of these blocks an event loop.
AWAITABLE = {"_attempts_of": ("call", "call_async"), "__next__": ("for attempt in retry:", "async for attempt in retry:")}


#: What a function has returned that cannot be awaited.
_NOTHING: Any = object()


class Counter:
    """Counts exactly, on every build and without a lock: `next` of an `itertools.count` is one step."""

    __slots__ = ("_count", "add")

    def __init__(self) -> None:
        self._count = itertools.count()
        self.add = self._count.__next__

    @property
    def value(self) -> int:
        return int(repr(self._count)[len("count(") : -1])


class _Call:
    """One call: its attempts so far and its deadline."""

    #: No attempt is running: a task that was started in one lives on, and its own calls are not nested any more.
    over = False
    #: What makes the attempts; None if this is only a deadline.
    retry: Retry | None = None
    #: The call that this one is inside.
    outer: _Call | None = None
    number = 1
    previous = 0.0
    end = math.inf
    clock: Clock | None = None
    #: The generator in which an attempt in a loop is running, and its thread.
    frame: FrameType | None = None
    thread = 0
    #: Attempts that limits have refused, and the last error that was no refusal.
    refused = 0
    last: Exception | None = None
    #: The error to raise in the place of a refusal.
    own: Exception | None = None
    #: The list that stands for the call in its first attempt: see `_current`.
    flag: list[Any] | None = None
    #: The errors that a `Retry` inside the attempt has repeated in vain.
    repeated: list[Any] | tuple[()] = ()

    def remaining(self) -> float:
        """Return the seconds until the deadline; infinity if there is none."""
        return math.inf if self.clock is None else self.end - self.clock.now()

    def shorten(self, seconds: float, clock: Clock) -> None:
        """Let it end within `seconds`, unless its deadline is sooner."""
        if self.clock is None or seconds < self.remaining():
            self.clock, self.end = clock, clock.now() + seconds

    def is_running(self) -> bool:
        """Return whether this thread or task is in an attempt of it, and not only in what a generator has yielded to."""
        if self.over or (self.flag is not None and self.flag[0] is None):
            return False
        frame = self.frame
        return frame is None or (self.thread == threading.get_ident() and frame.f_back is not None)

    def outers(self) -> Iterator[_Call]:
        """Return the calls of other `Retry` objects that this one is inside, from the inside out."""
        call = self.outer
        while call is not None:
            if call.retry is not None and call.is_running():
                yield call
            call = call.outer

    def has_been_repeated(self, error: BaseException) -> bool:
        """Return whether a `Retry` inside the attempt has repeated the error in vain, or one from which it was raised."""
        seen: set[int] = set()
        todo: list[BaseException | None] = [error]
        while todo:
            each = todo.pop()
            if each is None or id(each) in seen:
                continue
            if any(each is repeated or _is_of_response(each, repeated) for repeated in self.repeated):
                return True
            seen.add(id(each))
            members = attribute_of(each, "exceptions")
            if isinstance(members, (tuple, list)):  # of a group; another error may have anything there
                todo += [member for member in members if isinstance(member, BaseException)]
            todo += (each.__cause__, each.__context__)
        return False


def _is_of_response(error: BaseException, repeated: object) -> bool:
    """Return whether an error is of the response that a repeated one has, as that of `raise_for_status` is.

    A client of `sluicegate.http` gives the response of the last attempt to its caller, and with it the error is lost. An error of aiohttp's
    has the headers of its response alone.
    """
    response = attribute_of(repeated, "response")
    if response is None:
        return False
    if attribute_of(error, "response") is response:
        return True
    headers = attribute_of(error, "headers")
    return headers is not None and headers is attribute_of(response, "headers")


#: The call that this thread or task is in. Its first attempt has a list in its place: the `Retry`, and then the errors that were repeated
#: inside; when the attempt is over, None alone. For attempts in a loop it is a weak reference: if a signal handler raises before the first
#: line of `__exit__`, the call ends with its frame.
_current: contextvars.ContextVar[_Call | ref[_Call] | list[Any] | None] = contextvars.ContextVar("sluicegate.retry", default=None)


def _outer() -> _Call | None:
    """Return the call that this thread or task is in; None if it is in none."""
    call = _current.get()
    if call is None:
        return None
    if isinstance(call, list):
        if call[0] is None:
            return None
        first = _Call()
        first.retry, first.flag, first.repeated = call[0], call, call
        return first
    if isinstance(call, ref):
        call = call()
    return call if call is not None and call.is_running() else None


def patience_left() -> float | None:
    """Return the seconds until the deadline of the call that this thread or task is in; None if there is none. Fits a `timeout`."""
    call = _current.get()
    if call is None or type(call) is list:  # in most cases
        return None
    if isinstance(call, ref):
        call = call()
        if call is not None and not call.is_running():
            return None
    if not isinstance(call, _Call) or call.over or call.clock is None:
        return None
    left = call.end - call.clock.now()
    return left if left > 0 else 0.0


class Deadline:
    """A context manager that sets the deadline of the calls inside: `seconds` from now, or an outer deadline that is sooner.

    It interrupts nothing.

    A signal handler can raise before the first line of `__exit__`. So its users set `call.over` in a `finally` around the block.
    """

    __slots__ = ("_token", "call")

    if TYPE_CHECKING:
        _token: contextvars.Token[_Call | ref[_Call] | list[Any] | None]

    def __init__(self, seconds: float, clock: Clock) -> None:
        call, outer = _Call(), _outer()
        self.call: _Call = call
        call.outer = outer
        if outer is not None and outer.remaining() <= seconds:
            call.clock, call.end = outer.clock, outer.end
        else:
            call.clock, call.end = clock, clock.now() + seconds

    def __enter__(self) -> None:
        try:
            self._token = _current.set(self.call)
        except BaseException:  # a signal handler's
            self.call.over = True
            raise

    def __exit__(self, _kind: object, _error: object, _traceback: object) -> None:
        self.call.over = True
        _leave(self._token)


def _raise_own(call: _Call) -> NoReturn:
    """Raise the call's own error, whose context is not the refusal that is being handled."""
    error: Any = call.own
    call.own = None
    try:
        _raise_again(error)
    finally:
        del error


def _leave(token: contextvars.Token[_Call | ref[_Call] | list[Any] | None]) -> None:
    """Reset it. A generator that is closed by the collector may leave in another context than it entered."""
    try:  # noqa: SIM105 - `suppress` would cost more than all the rest
        _current.reset(token)
    except ValueError:
        pass


def _check(argument: str, value: object, kind: type, what: str, fine: bool = False) -> None:
    if not fine and not isinstance(value, kind):
        raise TypeError(f"'{argument}' must be {what}, not {value!r}")


@public
class RetryAttempt:
    """One attempt of a call: `for attempt in retry: with attempt: ...`. An error in the block that is to be retried does not leave it."""

    __slots__ = ("__weakref__", "_attempts", "_number", "_state", "_token")

    if TYPE_CHECKING:
        _attempts: _Attempts
        _number: int
        _state: str
        _token: contextvars.Token[_Call | ref[_Call] | list[Any] | None] | None

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        raise TypeError("attempts are made by iterating over a Retry: write `for attempt in retry:`")

    @property
    def number(self) -> int:
        """The number of the attempt; the first one is 1."""
        return self._number

    @property
    def remaining(self) -> float | None:
        """The seconds until the deadline, which `total` sets here or further out; None if there is none. Fits a `timeout`."""
        left = self._attempts.call.remaining()
        return None if left == math.inf else max(0.0, left)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object: it is one attempt of a call")

    def __enter__(self) -> RetryAttempt:
        return self._enter(sys._getframe(1))

    def _enter(self, frame: FrameType) -> RetryAttempt:
        if self._state != "new":
            raise RuntimeError(f"attempt {self._number} has been entered already: each attempt is one block")
        self._state = "entered"
        call = self._attempts.call
        if frame.f_code.co_flags & CO_GENERATORS:
            call.frame, call.thread = frame, threading.get_ident()
        call.over = False
        try:
            self._token = _current.set(ref(call))
        except BaseException:  # a signal handler's
            call.over, call.frame = True, None
            raise
        return self

    def __exit__(self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None) -> bool:
        token, self._token = self._token, None
        if token is None:
            raise RuntimeError(f"attempt {self._number} has not been entered, or has ended")
        self._state = "ended"
        call = self._attempts.call
        try:
            return self._attempts.ended(error)
        finally:
            call.over = True
            is_alone = call.frame is None or _current.get() == ref(call)
            call.frame, call.repeated = None, []
            if is_alone:  # otherwise the consumer of a generator has begun an attempt of its own, which goes on
                _leave(token)

    async def __aenter__(self) -> RetryAttempt:
        return self._enter(sys._getframe(1))

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        return self.__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<sluicegate.RetryAttempt number={self._number} {self._state}>"


class _Attempts:
    """The iterator, for `for` and `async for`."""

    def __init__(self, retry: Retry) -> None:
        self._retry: Retry = retry
        self.call: _Call = retry._begin()
        #: An attempt has been handed out that has not ended. (It refers to this object, which must not refer to it: see `_current`.)
        self._is_open = False
        #: Before the next attempt; None if there is none.
        self._wait: float | None = 0.0

    def ended(self, error: BaseException | None) -> bool:
        """Take the end of an attempt; say whether there is another one."""
        self._wait, self._is_open = None, False
        if error is None:
            self._retry._succeeded(self.call)
        elif isinstance(error, Exception):
            self._wait = self._retry._wait_after(self.call, error)
            if self.call.own is not None:
                _raise_own(self.call)
        return self._wait is not None

    def _due(self) -> float:
        """Return the seconds until the next attempt, or a negative number if there is none."""
        if self._is_open:
            raise RuntimeError(f"attempt {self.call.number} was not used: write `with attempt:` around the call, in the body of the loop")
        return -1.0 if self._wait is None else self._wait

    def _next(self) -> RetryAttempt:
        attempt = RetryAttempt.__new__(RetryAttempt)
        attempt._attempts, attempt._number, attempt._state, attempt._token = self, self.call.number, "new", None
        self._wait, self._is_open = None, True
        return attempt

    def __iter__(self) -> _Attempts:
        return self

    def __next__(self) -> RetryAttempt:
        wait = self._due()
        if wait < 0:
            raise StopIteration
        if wait:
            self._retry._sleeper.acquire(True, wait)
        return self._next()

    def __aiter__(self) -> _Attempts:
        return self

    async def __anext__(self) -> RetryAttempt:
        wait = self._due()
        if wait < 0:
            raise StopAsyncIteration
        if wait:
            await self._retry._sleep(self.call, wait)
        return self._next()


@public
@hinting(__init__=of_retry, __call__=HOW_TO_CALL)
class Retry(_FirstAttempts):
    """Repeats calls that fail, after growing random delays, within a budget and a deadline, for threads and asyncio.

    `attempts` is the largest number of attempts of a call, the first one included; None for no such limit, which needs `total`. `on` says
    which errors are retried: a type, a tuple of types, or a function of the error that returns whether, or the seconds that have to pass
    first. Cancellation, KeyboardInterrupt and anything else that is not an `Exception` is never retried, nor is an error whose attribute
    `repeatable` is false.

    `backoff` gives the delays: a `Backoff`, or any object with its `base` and `delay`. An attempt is never made sooner than the server
    wants, as the error's `retry_after` says, or the header Retry-After of the error's `response` (or of its own `headers`). `total` is a
    deadline, in seconds from the beginning of the call: no wait lasts until then. It does not interrupt an attempt; `attempt.remaining` is
    there to be passed on as a timeout.

    When there are no more attempts, the error of the last one is raised, as it is, with a note that says how many there were and why there
    are no more. If a limit has refused that attempt (`Refused`), it is the error of the last one that was made. That happens at once,
    without a wait, if the wait would outlast the deadline, if the server wants more than `retry_after_max` seconds, or if the budget has no
    token.

    `budget` is a `RetryBudget`, which may be shared with others; without one the object makes its own, with the defaults: ten retries, and
    one more for each ten calls that succeed at once, however many `attempts` there are. A call that is made inside an attempt of another
    `Retry` leaves to the outer one the errors that the outer one would retry, and makes one attempt then, unless `nested` is true; other
    errors it retries itself, and then the outer one does not retry them once more. It inherits the deadline.

    `random` is where the jitter comes from: an object with a method `random()`, such as `random.Random(7)`.

    Fairness: calls do not wait for each other. A call that is cancelled or interrupted while it waits makes no further attempt; the token
    of the retry is spent.

    Raises TypeError, ValueError or OverflowError for an invalid argument.
    """

    def __init__(
        self,
        attempts: int | None = 3,
        *,
        on: _On,
        backoff: Backoff | None = None,
        total: _Seconds | None = None,
        retry_after_max: _Seconds = 60.0,
        budget: RetryBudget | None = None,
        nested: bool = False,
        random: _random.Random | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None:
        if attempts is None and total is None:
            raise ValueError("'attempts' can be None only with 'total', or a call would be repeated for ever")
        self._attempts: float = math.inf if attempts is None else count("attempts", attempts, 1)
        self._types, self._predicate = condition("on", on)
        self._backoff: Backoff = Backoff() if backoff is None else backoff
        if not callable(getattr(self._backoff, "delay", None)) or not isinstance(getattr(self._backoff, "base", None), (int, float)):
            raise TypeError(f"'backoff' must be a Backoff or None, not {backoff!r} (another object needs its `base` and `delay`)")
        self._total: float | None = None if total is None else _duration("total", total)
        self._retry_after_max: float = _duration("retry_after_max", retry_after_max)
        _check("budget", budget, RetryBudget, "a RetryBudget or None", budget is None)
        _check("nested", nested, bool, "a bool")
        self._nested: bool = nested
        draw: Callable[[], float] | None = getattr(_random if random is None else random, "random", None)
        if not callable(draw):
            raise TypeError(f"'random' must have a method random(), as random.Random has, or be None, not {random!r}")
        self._draw: Callable[[], float] = draw
        self._clock: Clock = _clock(clock)
        # It checks the name, as every object of the binding does.
        self._budget: RetryBudget = RetryBudget(clock=self._clock, name=name)
        self._name: str | None = self._budget.name
        if budget is not None:
            self._budget = budget
        self._deposit: Callable[[], None] = self._budget.deposit
        self._sleeper: Semaphore = Semaphore(0, clock=self._clock)
        self._prepare(_current, self._budget, self._total is not None)
        self._later, self._retries, self._left = Counter(), Counter(), Counter()
        self._exhausted, self._late, self._unpaid, self._other = Counter(), Counter(), Counter(), Counter()

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, notes and statistics."""
        return self._name

    @property
    def budget(self) -> RetryBudget:
        """What pays for the retries."""
        return self._budget

    @property
    def backoff(self) -> Backoff:
        """What gives the delays."""
        return self._backoff

    def __iter__(self) -> Iterator[RetryAttempt]:
        """Begin a call, from a thread: `for attempt in retry: with attempt: ...`."""
        return _Attempts(self)

    def __aiter__(self) -> AsyncIterator[RetryAttempt]:
        """Begin a call, from a coroutine: `async for attempt in retry: with attempt: ...`; `async with` works too."""
        return _Attempts(self)

    def call(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return `function(*args, **kwargs)`, calling again after errors, with waits that block the thread.

        Raises the error of the last attempt. A coroutine function is refused with a TypeError: use `call_async`.
        """
        return self._run(function, args, kwargs)

    # What `_run` does apart from making the first attempt; it is in the binding.

    def _run_in_state(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Make the attempts of a call that has a deadline, or is inside another one."""
        return self._attempts_of(self._begin(), 0.0, function, args, kwargs)

    def _after_first(self, flag: list[Any], error: Exception, function: Any) -> tuple[_Call, float]:
        """Return a call whose first attempt has raised `error`, and the seconds until the next one. Raise it if there is none."""
        try:
            _raise_again(error)
        except Exception:
            check_callable_now(function)
            call = _Call()
            call.retry, call.repeated = self, flag
            wait = self._wait_after(call, error)
            if wait is None:
                raise
            call.repeated = []
            return call, wait
        finally:
            del error  # which its traceback would refer to

    def _checked(self, function: Any, result: Any) -> Any:
        """Return the result of a call, unless nothing has run."""
        if type(result) in NOT_RUN and (text := not_run(function, result, "retry")) is not None:
            raise TypeError(text)
        return result

    def _attempts_of(self, call: _Call, wait: float, function: Any, args: Any, kwargs: Any) -> Any:
        """Make attempts, the first of them after `wait` seconds, and return the result."""
        try:
            while True:
                if wait:
                    self._sleeper.acquire(True, wait)
                token = None
                try:
                    call.over = False
                    token = _current.set(call)
                    result = function(*args, **kwargs)
                except Exception as error:
                    check_callable_now(function)
                    found = self._wait_after(call, error)
                    if found is None:
                        if call.own is not None:
                            _raise_own(call)
                        raise
                    wait = found
                else:
                    self._checked(function, result)
                    self._succeeded(call)
                    return result
                finally:
                    call.over, call.repeated = True, []
                    if token is not None:
                        _current.reset(token)
        finally:
            call.last = None

    async def call_async(self, function: Callable[_P, Awaitable[_T]], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return `await function(*args, **kwargs)`, calling again after errors, with waits that let the loop run.

        Raises the error of the last attempt. If it is cancelled, there are no more attempts. What the function returns must be something to
        await, or it is a TypeError.
        """
        check_callable_now(function)
        call = self._begin()
        try:
            while True:
                token = None
                try:
                    call.over = False
                    token = _current.set(call)
                    awaitable = function(*args, **kwargs)
                    result = await awaitable if can_be_awaited(awaitable) else _NOTHING
                except Exception as error:
                    wait = self._wait_after(call, error)
                    if wait is None:
                        if call.own is not None:
                            _raise_own(call)
                        raise
                else:
                    if result is _NOTHING:
                        raise TypeError(needs_call(function, awaitable, "retry"))
                    self._succeeded(call)
                    return result
                finally:
                    call.over, call.repeated = True, []
                    if token is not None:
                        _leave(token)
                if wait:
                    await self._sleep(call, wait)
        finally:
            call.last = None

    async def _sleep(self, call: _Call, wait: float) -> None:
        try:
            await self._sleeper.acquire_async(timeout=wait)
        except RuntimeError as error:  # there is no event loop of asyncio's
            raise error from call.last

    def __call__(self, function: _F, /) -> _F:
        """Decorate a def or an async def, so that each call is retried. Generator functions are refused with a TypeError."""
        return over_calls(self, function, self._run if type(self).call is Retry.call else None)

    def _begin(self) -> _Call:
        """Begin a call: its deadline, and the one that it is inside, from which it inherits another."""
        call, outer = _Call(), _outer()
        call.retry, call.repeated = self, []
        if outer is not None:
            call.outer, call.clock, call.end = outer, outer.clock, outer.end
        if self._total is not None:
            call.shorten(self._total, self._clock)
        return call

    def _succeeded(self, call: _Call) -> None:
        call.last = None
        if call.number > 1:
            self._later.add()
            return
        self._count_first()
        if call.outer is None or all(outer.retry._budget is not self._budget for outer in call.outers() if outer.retry is not None):
            self._deposit()  # otherwise the outer call's success is the one that counts

    def _would_retry(self, error: Exception) -> bool:
        """Return whether such an error is retried at all."""
        return self._attempts > 1 and are_named(error, self._types, self._answer)[0]

    def _answer(self, error: Exception) -> tuple[bool, float | None]:
        return answer_of(self._predicate, error)

    def _wait_after(self, call: _Call, error: Exception) -> float | None:
        """Return the seconds until the next attempt, or None if there is none, with a note on the error, or on `call.own`."""
        is_refusal = isinstance(error, Refused)
        call.refused += is_refusal
        named, least = are_named(error, self._types, self._answer)
        if not named:
            return self._give_up(call, error, self._other, "it is not an error that 'on' names", at_first=False)
        asked = longer(longest_retry_after(error), least)
        if any(attribute_of(each, "repeatable", True) is False for each in (error, *leaves(error))):
            return self._give_up(call, error, self._other, "the error says that the call must not be repeated")
        if call.outer is not None and not self._nested and any(outer.retry._would_retry(error) for outer in call.outers() if outer.retry):
            return self._give_up(call, error, self._left, "it is inside an attempt of another Retry, which retries")
        if call.repeated and call.has_been_repeated(error):
            return self._give_up(call, error, self._left, "another Retry has repeated it inside the attempt", at_first=self._attempts > 1)
        if call.number >= self._attempts:
            return self._give_up(call, error, self._exhausted, f"'attempts' is {self._attempts}", at_first=self._attempts > 1)
        wait = self._delay(call, error)
        call.previous = wait
        if asked is not None:
            if asked > self._retry_after_max:
                why = f"the server wants {asked:.6g} seconds, and 'retry_after_max' is {self._retry_after_max:.6g}"
                return self._give_up(call, error, self._late, why)
            # Callers that got the same answer do not all come back at the same moment.
            wait = max(wait, asked + max(self._backoff.base, 0.1 * asked) * self._draw())
        if call.clock is not None and wait >= (left := call.remaining()):
            return self._give_up(call, error, self._late, f"the next one would be in {wait:.3g} seconds, and {max(0.0, left):.3g} are left")
        if not self._budget.try_acquire():
            return self._give_up(call, error, self._unpaid, "the budget for retries is empty ('budget' can be a larger one)")
        self._retries.add()
        call.number += 1
        if not is_refusal:
            call.last = error
        return wait

    def _delay(self, call: _Call, error: Exception) -> float:
        delay = self._backoff.delay(call.number - 1, call.previous, self._draw())
        if type(self._backoff) is Backoff:
            return delay
        try:
            return _duration("backoff.delay()", delay)
        except (TypeError, ValueError, OverflowError) as mistake:
            # The program's own: it is told, and the error of the call is its cause.
            raise type(mistake)(*mistake.args) from error

    def _give_up(self, call: _Call, error: Exception, counter: Counter, why: str, *, at_first: bool = True) -> None:
        counter.add()
        made, last, call.last = call.number, call.last, None
        if isinstance(error, Refused) and last is not None:
            # That attempt was not made, so what became of the call is what the one before it has raised.
            why = f"the next one was refused ({type(error).__name__}: {error})" + (f", and {why}" if at_first else "")
            made -= call.refused
            error = call.own = last
        if call.number > 1 and counter is not self._other and not self._nested:
            for outer in call.outers():
                if isinstance(outer.repeated, list):
                    outer.repeated.append(error)
        if call.number == 1 and not at_first:  # nothing was retried, and nothing was to be
            return
        label = "" if self._name is None else f" {self._name!r}"
        note = f"sluicegate.Retry{label}: no more attempts after {made}, because {why}"
        notes = attribute_of(error, "__notes__")
        if not isinstance(notes, list) or note not in notes:
            add_note(error, note)

    def statistics(self) -> RetryStatistics:
        """Return a snapshot of the counters. They are read one after another while calls go on."""
        from sluicegate._statistics import RetryStatistics

        waits = self._sleeper.statistics()
        return RetryStatistics(
            name=self._name,
            first_successes=self._first_successes,
            later_successes=self._later.value,
            retries=self._retries.value,
            exhausted=self._exhausted.value,
            too_late=self._late.value,
            over_budget=self._unpaid.value,
            not_retried=self._other.value,
            nested=self._left.value,
            waiters=waits.waiters,
            waited_seconds=waits.waited_seconds,
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object: it has calls that wait")

    def __repr__(self) -> str:
        label = "" if self._name is None else f" {self._name!r}"
        return f"<sluicegate.{type(self).__name__}{label} at {id(self):#x} attempts={self._attempts} backoff={self._backoff!r}>"
