"""`Guard`: everything that stands between a caller and a shaky service, in the one order that is right.

From the outside in: fallback, deadline, retry, and then for each attempt breaker, rate, concurrency and the time limit. Every attempt pays
the rate and is one result for breaker and concurrency limit; nothing is held between attempts; and what our own layers refuse is neither a
failure of the service for the breaker nor a sample for the limit.

The breaker is checked twice: before an attempt waits for anything, so that an open breaker costs no token, and again when the call is about
to be made. So no probe waits in a wait queue, the time of a wait does not make a call slow, and a breaker that opens meanwhile stops the
attempts that wait; they get their tokens back.
"""

from __future__ import annotations

import functools
from types import CodeType

from sluicegate._arguments import check_instance, check_made, check_name, key_function, text
from sluicegate._attempts import ABSENT, Attempts, failed, is_plain
from sluicegate._classes import public
from sluicegate._core import (
    WAIT,
    AdaptiveConcurrency,
    CircuitBreaker,
    KeyedBreaker,
    KeyedLimiter,
    KeyedSemaphore,
    RateLimiter,
    RateLimits,
    Semaphore,
    _clock,
    _duration,
)
from sluicegate._decorators import over_calls
from sluicegate._exceptions import Refused
from sluicegate._fallback import Fallback
from sluicegate._functions import code_of, is_coroutine_function, is_generator
from sluicegate._hints import BY_KEY, HOW_TO_CALL, hinting
from sluicegate._mistakes import NOT_PLAIN, Mistake, awaitable_result, check_callable_now, refuse_function
from sluicegate._rates import members_of
from sluicegate._retries import Counter, Deadline, Retry, patience_left
from sluicegate._stale import Stale

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta
    from typing import Any, NoReturn, TypeAlias, TypeVar

    from typing_extensions import ParamSpec

    from sluicegate._core import Clock
    from sluicegate._statistics import GuardStatistics
    from sluicegate._timeouts import Timeout

    _P = ParamSpec("_P")
    _T = TypeVar("_T")
    _F = TypeVar("_F", bound=Callable[..., Any])
    _Seconds: TypeAlias = float | timedelta

__all__ = ["Guard", "GuardKey", "call_of", "check_guard"]

AWAITABLE = {"call": ("call", "call_async")}


#: The keyword arguments of a call that has none.
_NO_NAMES: dict[str, Any] = {}


def _once(attempt: Callable[..., Any], args: tuple[Any, ...], _names: dict[str, Any]) -> Any:
    """Make the one attempt of a call without retries."""
    return attempt(*args)


#: What each layer may be.
_KINDS: dict[str, tuple[type, ...]] = {
    "fallback": (Fallback,),
    "retry": (Retry,),
    "breaker": (CircuitBreaker, KeyedBreaker),
    "rate": (RateLimiter, KeyedLimiter),
    "concurrency": (Semaphore, KeyedSemaphore, AdaptiveConcurrency),
}

#: What to write for a number in the place of a layer.
_OF_NUMBER = {"retry": "Retry({}, on=...)", "rate": "TokenBucket({}, burst={})", "concurrency": "Semaphore({})"}


def _layer_of(value: object) -> str | None:
    """Return the name of the layer that an object is."""
    return next((name for name, kinds in _KINDS.items() if isinstance(value, kinds)), None)


def _instead(name: str, value: Any) -> str:
    """Return what to write for what is given in the place of a layer."""
    if isinstance(value, Stale):
        return "write Fallback(stale=...)"
    layer = _layer_of(value)
    if layer is not None:
        return f"give it as '{layer}'"
    if name == "fallback" and not isinstance(value, type):
        return f"write Fallback({'...' if callable(value) else text(value)})"
    if name in _OF_NUMBER and (type(value) is int or (type(value) is float and name == "rate")):
        return f"write {_OF_NUMBER[name].format(text(value), text(max(1, value)))}"
    return ""


def _check_rate(rate: object) -> None:
    """Refuse a set with an `AdaptiveRate` in it, which would never learn."""
    if not isinstance(rate, RateLimits):
        return
    from sluicegate._adaptive_rate import AdaptiveRate

    if any(isinstance(member, AdaptiveRate) for member in members_of(rate)):
        raise TypeError(
            f"'rate' must have no AdaptiveRate in it, because a set does not tell it how calls end, not {text(rate)}; "
            "give the AdaptiveRate itself"
        )


def _how_to_make(args: tuple[Any, ...], _kwargs: object) -> str:
    names = [_layer_of(value) for value in args]
    if args and None not in names:
        return f"write Guard({', '.join(f'{name}=...' for name in names)})"
    return "to decorate a function, write `@Guard(...)`, with parentheses" if len(args) == 1 and callable(args[0]) else ""


class _Counts:
    """What became of the calls of a guard."""

    def __init__(self) -> None:
        self.successes, self.degraded, self.refused, self.failures = Counter(), Counter(), Counter(), Counter()


@hinting(__call__=HOW_TO_CALL)
class _Calls:
    """The calls of a guard, or of one of its keys: the layers, each of them there or absent."""

    _fallback: Fallback | None
    _total: float | None
    _retry: Retry | None
    _breaker: Any
    _rate: Any
    _concurrency: Any
    _attempt_timeout: float | None
    _is_plain: bool
    _refund_one: Callable[[], object]
    #: `_attempt(function, args, kwargs)` makes an attempt, and `_attempts(_attempt, (function, args, kwargs), {})` all those of a call.
    _attempt: Callable[..., Any]
    _attempts: Callable[..., Any]
    #: The fallback, if it lets calls with the same key wait for the result of one of them: see `Stale`.
    _sharing: Fallback | None
    _clock: Clock
    _counts: _Counts
    #: Some layer is keyed, and this is not the guard of one key.
    _needs_key = False
    #: The key of the guard of one key: its calls share no result with those of another one.
    _scope: Any = None

    def call(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return `function(*args, **kwargs)`, called through all layers, with waits that block the thread.

        A coroutine function is refused with a TypeError: use `call_async`. So is every function if there is an `attempt_timeout`, because
        a thread cannot be stopped. Such a mistake is neither a failure nor a success for any layer.

        Raises the error of the last attempt: what the function raised, or CircuitOpen, RateLimited or Overloaded where a layer refused the
        attempt. A `fallback` may give another answer instead.
        """
        if self._attempt_timeout is not None:
            raise TypeError(
                f"'attempt_timeout' is for coroutine functions, and call() runs {function!r} in a thread, which cannot be stopped"
            )
        if self._needs_key:
            raise self._no_key()
        code: Any = getattr(function, "__code__", None)
        if type(code) is not CodeType or code.co_flags & NOT_PLAIN:  # as `check_sync`, which costs twice as much
            refuse_function(function, "guard")
        counts = self._counts
        fallback = self._fallback
        try:
            if self._sharing is not None:
                result, degraded = self._sharing._call(self._through, self._scope, function, args, kwargs, self._deadline())
                if degraded:
                    counts.degraded.add()
                    return result
            else:  # as `Fallback._call` without a memory, and without the cost of two calls of Python functions
                try:
                    run = self._attempts if self._total is None else self._run_before
                    result = run(self._attempt, (function, args, kwargs), _NO_NAMES)
                except Exception as error:
                    if fallback is None:
                        raise
                    result = fallback._answer_at_once(error, None)
                    counts.degraded.add()
                    return result
                if fallback is not None:
                    fallback._successes.add()
        except Refused:
            counts.refused.add()
            raise
        except Exception:
            counts.failures.add()
            raise
        except Mistake as mistake:
            raise mistake.taken() from None
        counts.successes.add()
        return result

    async def call_async(self, function: Callable[_P, Awaitable[_T]], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return `await function(*args, **kwargs)`, called through all layers, with waits that let the loop run.

        At the end of `total` seconds it is cancelled, and raises TimeoutError. If what the function returns cannot be awaited, that is a
        TypeError, and neither a failure nor a success for any layer.

        Raises what `call` raises. A call that is cancelled gives back its permit, and its token if the attempt had not begun.
        """
        if self._needs_key:
            raise self._no_key()
        check_callable_now(function)
        counts = self._counts
        try:
            if self._fallback is None:
                result = await self._through_async(function, args, kwargs)
            else:
                run = self._through_async
                if self._sharing is not None and self._total is not None:  # so a wait for another call is a part of this one's time
                    run = functools.partial(run, end=self._clock.now() + self._total)
                result, degraded = await self._fallback._call_async(run, self._scope, function, args, kwargs, self._deadline())
                if degraded:
                    counts.degraded.add()
                    return result
        except Refused:
            counts.refused.add()
            raise
        except Exception:
            counts.failures.add()
            raise
        except Mistake as mistake:
            raise mistake.taken() from None
        counts.successes.add()
        return result

    def __call__(self, function: _F, /) -> _F:
        """Decorate a def or an async def, so that each call goes through all layers. Generator functions are refused with a TypeError."""
        if self._needs_key:
            raise self._no_key()
        self._check_function(function)
        return over_calls(self, function)

    def _no_key(self) -> TypeError:
        return TypeError(f"{self!r} has keyed layers: use `guard.key(k).call(...)`, or decorate with `guard.by(key=...)`")

    def _check_function(self, function: Any) -> None:
        if self._attempt_timeout is not None and callable(function) and not is_coroutine_function(function) and not is_generator(function):
            raise TypeError(
                f"'attempt_timeout' is for coroutine functions, and {code_of(function)!r} is not one: a thread cannot be stopped"
            )

    def _deadline(self) -> Deadline | None:
        """Return the deadline of a wait for another call with the same key; None if there is none, or no such wait."""
        return None if self._sharing is None or self._total is None else Deadline(self._total, self._clock)

    def _through(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Make the call, without the fallback."""
        run = self._attempts if self._total is None else self._run_before
        return run(self._attempt, (function, args, kwargs), _NO_NAMES)

    def _run_before(self, attempt: Any, args: tuple[Any, ...], names: dict[str, Any]) -> Any:
        """Make the attempts of a call that has a deadline."""
        total: Any = self._total
        deadline = Deadline(total, self._clock)
        try:
            with deadline:
                return self._attempts(attempt, args, names)
        finally:
            deadline.call.over = True

    async def _through_async(self, function: Any, args: Any, kwargs: Any, end: float | None = None) -> Any:
        """Make the call, without the fallback. `end` is when `total` is over, if that has begun already."""
        if self._total is None:
            if self._retry is None:
                return await self._attempt_async(function, args, kwargs)
            return await self._retry.call_async(self._attempt_async, function, args, kwargs)
        from sluicegate._timeouts import Timeout

        deadline = Deadline(self._total, self._clock)
        try:
            with deadline:
                async with Timeout("total", self._total, self._clock, end) as limit:
                    if self._retry is None:
                        return await self._attempt_async(function, args, kwargs, limit)
                    return await self._retry.call_async(self._attempt_async, function, args, kwargs, limit)
        finally:
            deadline.call.over = True

    async def _attempt_async(self, function: Any, args: Any, kwargs: Any, limit: Timeout | None = None) -> Any:
        timeout = patience_left()
        self._breaker._refuse()  # an open breaker refuses and counts that; another one gives no probe away
        # As `acquire_async`, which waits otherwise; it lets the loop run now and then.
        if self._is_plain and self._rate._try_acquire() is not WAIT:
            return await self._admitted_async(function, args, kwargs, timeout, self._refund_one, limit)
        async with self._rate.permit(timeout=timeout) as taken:
            return await self._admitted_async(function, args, kwargs, timeout, taken.refund, limit)

    async def _admitted_async(
        self, function: Any, args: Any, kwargs: Any, timeout: float | None, refund: Callable[[], object], limit: Timeout | None
    ) -> Any:
        called = False
        try:
            async with self._concurrency.permit() if timeout is None else self._concurrency.permit(timeout=patience_left()) as slot:
                with self._breaker.permit() as call:
                    called = True
                    if limit is None:
                        return await self._call_within(function, args, kwargs)
                    began = self._clock.now()
                    try:
                        return await self._call_within(function, args, kwargs)
                    except BaseException as error:
                        if limit.has_caused(error):
                            self._hung(self._clock.now() - began, call, slot)
                        raise
        except BaseException as error:
            failed(self._rate, error, called, refund)
            raise

    async def _call_within(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Make the call, within the time limit of an attempt."""
        if self._attempt_timeout is None:
            return await awaitable_result(function, function(*args, **kwargs), "guard")
        from sluicegate._timeouts import Timeout

        async with Timeout("attempt_timeout", self._attempt_timeout, self._clock):
            return await awaitable_result(function, function(*args, **kwargs), "guard")

    def _hung(self, lasted: float, *permits: Any) -> None:
        """Report that `total` has ended a call, which is no cancellation by the caller.

        One that has had less than half of that time, because of waits and other attempts, says nothing about the service.
        """
        if self._total is not None and lasted >= self._total / 2:
            for permit in permits:
                report = getattr(permit, "failure", None)  # that of a breaker and an adaptive limit
                if report is not None:
                    report()

    def _use(self, breaker: Any, rate: Any, concurrency: Any) -> None:
        self._breaker = ABSENT if breaker is None else breaker
        self._rate = ABSENT if rate is None else rate
        self._concurrency = ABSENT if concurrency is None else concurrency
        self._is_plain = is_plain(rate)
        self._refund_one = functools.partial(self._rate.refund, 1)
        self._attempt = Attempts(self._breaker, self._rate, self._concurrency)._make
        self._attempts = _once if self._retry is None else self._retry._run
        self._sharing = self._fallback if self._fallback is not None and self._fallback._memory is not None else None


def _seconds(argument: str, value: Any) -> float | None:
    if value is None:
        return None
    seconds = _duration(argument, value)
    if not seconds:
        raise ValueError(f"'{argument}' must be greater than 0, not {text(value)}; None is no limit")
    return seconds


@public
@hinting(__init__=_how_to_make, by=BY_KEY)
class Guard(_Calls):
    """Calls a shaky service through a fallback, a deadline, retries, a circuit breaker, a rate limit, a concurrency limit and a time limit.

    Each is left out where it is None. They are always applied in this order, from the outside in:

    * `fallback`, a `Fallback`: what is returned instead of an error.
    * `total`, in seconds: the deadline of the call. No wait lasts longer. A coroutine is cancelled then, with TimeoutError; a call in a
      thread is not interrupted, and `remaining` is there to be passed on as its timeout.
    * `retry`, a `Retry`: further attempts. Each attempt goes through all of the following, and nothing is held between attempts.
    * `breaker`, a `CircuitBreaker` or `KeyedBreaker`. It is checked before a token is taken, and again after a wait.
    * `rate`, a limiter, set of limiters or keyed limiter: an attempt takes 1 in its wait queue, and gets it back if it is not made. When an
      attempt fails with a `retry_after`, or a response with the header Retry-After, the limiter is paused for as long, at most 600
      seconds. An `AdaptiveRate` is given itself, not in a set, which would not tell it how calls end.
    * `concurrency`, a `Semaphore`, `KeyedSemaphore` or `AdaptiveConcurrency`: a permit is held while an attempt runs, and
      waited for in the wait queue.
    * `attempt_timeout`, in seconds, for coroutine functions: an attempt that takes longer is cancelled and fails with TimeoutError.

    `clock` is that of `total` and `attempt_timeout`. Each layer has a clock of its own: a test gives the same one to all of them, or makes
    them inside `with ManualClock():`.

    The refusals of these layers, `Refused`, and cancellation count neither as failures nor as successes for the breaker. A coroutine that
    `total` has cancelled has failed, for the breaker and an adaptive limit, if it has had at least half of that time.

    With keyed layers, `guard.key(k)` is the guard of one key, and `@guard.by(key=...)` takes the key from the call. Layers that are not
    keyed are shared by all keys.

    One guard may be used by any number of threads and tasks at once. Fairness is that of the layers: those that wait are served in the
    order in which they came. A call that is cancelled holds nothing.

    Raises TypeError, ValueError or OverflowError for an invalid argument.
    """

    def __init__(
        self,
        *,
        fallback: Fallback | None = None,
        total: _Seconds | None = None,
        retry: Retry | None = None,
        breaker: CircuitBreaker | KeyedBreaker | None = None,
        rate: RateLimiter | KeyedLimiter | None = None,
        concurrency: Semaphore | KeyedSemaphore | AdaptiveConcurrency | None = None,
        attempt_timeout: _Seconds | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None:
        check_instance("fallback", fallback, _KINDS["fallback"], "a Fallback", _instead)
        self._fallback = fallback
        self._total = _seconds("total", total)
        check_instance("retry", retry, _KINDS["retry"], "a Retry", _instead)
        self._retry = retry
        check_instance("breaker", breaker, _KINDS["breaker"], "a CircuitBreaker or KeyedBreaker", _instead)
        check_instance("rate", rate, _KINDS["rate"], "a limiter, a set of limiters or a keyed limiter", _instead)
        _check_rate(rate)
        check_instance("concurrency", concurrency, _KINDS["concurrency"], "a Semaphore, KeyedSemaphore or AdaptiveConcurrency", _instead)
        self._attempt_timeout = _seconds("attempt_timeout", attempt_timeout)
        if self._total is not None and self._attempt_timeout is not None and self._attempt_timeout > self._total:
            raise ValueError(f"'attempt_timeout' must be at most 'total', {self._total:g}, not {self._attempt_timeout:g}")
        self._clock = _clock(clock)
        self._name: str | None = check_name(name)
        self._counts = _Counts()
        keyed = (KeyedBreaker, KeyedLimiter, KeyedSemaphore)
        self._needs_key: bool = any(isinstance(layer, keyed) for layer in (breaker, rate, concurrency))
        if self._needs_key:
            self._breaker, self._rate, self._concurrency = breaker, rate, concurrency
        else:
            self._use(breaker, rate, concurrency)

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""
        return self._name

    @property
    def remaining(self) -> float | None:
        """The seconds until the deadline of the call that this thread or task is in; None if there is none. Fits a `timeout`."""
        return patience_left()

    def key(self, key: Any, /) -> GuardKey:
        """Return the guard of one key: keyed layers are those of the key, the others are shared by all keys.

        Raises TypeError if no layer is keyed, or for a key of an unsupported type.
        """
        if not self._needs_key:
            raise TypeError(f"no layer of {self!r} is keyed, so it is the same for all keys: call it directly")
        return GuardKey(self, key)

    def by(self, *, key: Callable[..., Any]) -> Callable[[_F], _F]:
        """Decorate a def or an async def, so that each call goes through the guard of a key that depends on the call.

        Use `@guard.by(key=lambda url: urlsplit(url).hostname)`: `key` is called with the arguments of the call. A call also raises what
        `key` raises. Raises TypeError if no layer is keyed.
        """
        key_of = key_function(key, "guard")
        if not self._needs_key:
            raise TypeError(f"no layer of {self!r} is keyed, so it is the same for all keys: decorate with it directly")

        def decorate(function: Any) -> Any:
            self._check_function(function)
            return over_calls(_ByKey(self, key_of), function)

        return decorate

    def statistics(self) -> GuardStatistics:
        """Return a snapshot of what became of the calls, of all keys together. The layers have their own."""
        from sluicegate._statistics import GuardStatistics

        counts = self._counts
        return GuardStatistics(
            name=self._name,
            successes=counts.successes.value,
            degraded=counts.degraded.value,
            refused=counts.refused.value,
            failures=counts.failures.value,
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object: it has calls on their way")

    def __repr__(self) -> str:
        label = "" if self._name is None else f" {self._name!r}"
        layers = {
            "fallback": self._fallback,
            "total": self._total,
            "retry": self._retry,
            "breaker": self._breaker,
            "rate": self._rate,
            "concurrency": self._concurrency,
            "attempt_timeout": self._attempt_timeout,
        }
        there = "".join(f" {name}={layer!r}" for name, layer in layers.items() if layer is not None and layer is not ABSENT)
        return f"<sluicegate.{type(self).__name__}{label} at {id(self):#x}{there}>"


@public
class GuardKey(_Calls):
    """The guard of one key, as `Guard.key` returns it. It is light: make one when you need it."""

    def __init__(self, guard: Guard, key: Any, /) -> None:
        check_made(guard, (Guard,), "GuardKey", "key(k) of a Guard")
        self._guard, self._scope = guard, key
        self._fallback, self._total, self._retry = guard._fallback, guard._total, guard._retry
        self._attempt_timeout, self._clock, self._counts = guard._attempt_timeout, guard._clock, guard._counts
        breaker = guard._breaker.key(key) if isinstance(guard._breaker, KeyedBreaker) else guard._breaker
        rate = guard._rate.key(key) if isinstance(guard._rate, KeyedLimiter) else guard._rate
        concurrency = guard._concurrency.key(key) if isinstance(guard._concurrency, KeyedSemaphore) else guard._concurrency
        self._use(breaker, rate, concurrency)

    @property
    def name(self) -> str | None:
        """The name of the guard."""
        return self._guard.name

    @property
    def remaining(self) -> float | None:
        """The seconds until the deadline of the call that this thread or task is in; None if there is none. Fits a `timeout`."""
        return patience_left()

    def statistics(self) -> GuardStatistics:
        """Return a snapshot of what became of the calls of the guard, of all keys together."""
        return self._guard.statistics()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object: it has calls on their way")

    def __repr__(self) -> str:
        return f"<sluicegate.GuardKey {self._scope!r} of {self._guard!r}>"


class _ByKey:
    """What `over_calls` needs: each call goes to the guard of its key."""

    def __init__(self, guard: Guard, key: Callable[..., Any]) -> None:
        self._guard, self._key = guard, key

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._guard.key(self._key(*args, **kwargs)).call(function, *args, **kwargs)

    async def call_async(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await self._guard.key(self._key(*args, **kwargs)).call_async(function, *args, **kwargs)

    def __repr__(self) -> str:
        return repr(self._guard)


def check_guard(guard: object) -> Guard | GuardKey:
    """Refuse what is no guard, or one that needs a key for each call."""
    if not isinstance(guard, (Guard, GuardKey)):
        layer = _layer_of(guard)
        more = "" if layer is None else f"; write Guard({layer}=...)"
        raise TypeError(f"'guard' must be a Guard, the guard of one key, or None, not {text(guard)}{more}")
    if guard._needs_key:
        raise guard._no_key()
    return guard


def call_of(given: object) -> Callable[..., Any]:
    """Return `guard.call` of what is given as `guard=`, or say why it cannot be called in threads."""
    guard = check_guard(given)
    if guard._attempt_timeout is not None:
        raise TypeError(f"'guard' must have no 'attempt_timeout', because a thread cannot be stopped, not {guard!r}")
    return guard.call
