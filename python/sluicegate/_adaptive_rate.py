"""`AdaptiveRate`: a token bucket whose rate follows what the server can sustain.

The bucket admits. The rate is decided by the core (`CubicRate`), to which the end of each call is reported. No lock is held from one to the
other, so after each change the bucket is given the decided rate until both are the same.
"""

from __future__ import annotations

import functools

from sluicegate._arguments import check_made, text
from sluicegate._classes import public
from sluicegate._core import CubicRate, RatePermit, TokenBucket, _clock, _duration
from sluicegate._decorators import guarded
from sluicegate._exceptions import Refused
from sluicegate._hints import hinting, of_adaptive_rate
from sluicegate._leaves import attribute_of, condition, leaves, longer
from sluicegate._retries import Counter
from sluicegate._retry_after import LONGEST_PAUSE, retry_after_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from types import TracebackType
    from typing import Any, TypeAlias, TypeVar, overload

    from typing_extensions import Self

    from sluicegate._core import Clock
    from sluicegate._statistics import AdaptiveRateStatistics

    _F = TypeVar("_F", bound=Callable[..., Any])
    _Seconds: TypeAlias = float | timedelta

__all__ = ["AdaptiveRate", "AdaptiveRatePermit"]

#: CUBIC's constant, in calls a second per second cubed.
_SCALE = 0.4
#: A smaller change of the rate is not worth a wake-up of all waiters.
_LEAST_CHANGE = 0.005


@public
@hinting(__init__=of_adaptive_rate)
class AdaptiveRate(TokenBucket):
    """A token bucket whose rate follows what the server can sustain: it is cut when the server refuses, and comes back by itself.

    It begins with `rate` calls a second, and is never faster. When a call that began since the last cut is refused by the server, the rate
    becomes `decrease` times the lesser of the rate and what was measured, but at least `min_rate` (by default 0.5, or half of a `rate` that
    is less than 1); while calls succeed it returns, slowly where it was cut and faster beyond (CUBIC). Refusals of calls that began before
    the cut do not cut again. When nobody has called for long, the rate is `rate` again.

    `permit()` returns a context manager for one call: entering it waits for a token, in order, and how the block ends decides the result
    of the call. The limiter also decorates functions. `throttled` says which exceptions are refusals of the server: a class, a tuple of
    classes, or a function; by default those with the status 429, and those with a `retry_after` or a response with a Retry-After. Such a
    time pauses the limiter, for at most 600 seconds. Other exceptions, cancellation and this package's own refusals say nothing.

    All else is a `TokenBucket`; what is taken by `acquire`, `try_acquire` or `reserve` does not count. Waiters are served strictly first
    come, first served.

    Algorithm: CUBIC (RFC 9438), as the AWS SDKs carried it over to rates of requests.

    Raises ValueError, TypeError or OverflowError for invalid arguments.
    """

    def __init__(
        self,
        rate: float,
        *,
        burst: float,
        min_rate: float | None = None,
        decrease: float = 0.7,
        throttled: type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], object] | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(rate, burst=burst, clock=clock, name=name)
        least = min(0.5, rate / 2) if min_rate is None else _number("min_rate", min_rate)
        if not 0 < least <= rate:
            raise ValueError(f"'min_rate' must be greater than 0 and at most the rate, which is {rate}, not {text(min_rate)}")
        try:
            TokenBucket(least, burst=burst)  # which this one may become
        except ValueError:
            raise ValueError(f"'min_rate' is too small: {text(min_rate)} per second") from None
        factor = _number("decrease", decrease)
        if not 0 < factor < 1:
            raise ValueError(f"'decrease' must be greater than 0 and less than 1, not {text(decrease)}")
        types, predicate = (None, None) if throttled is None else condition("throttled", throttled)
        self._throttled: Any = types or predicate
        self._now = _clock(clock).now
        self._law = CubicRate(least, float(rate), factor, _SCALE, self._now())
        #: The arguments of the last `set_rate`.
        self._configured: tuple[float, float | None] = (float(rate), burst)
        self._successes, self._throttles, self._ignored = Counter(), Counter(), Counter()

    @property
    def max_rate(self) -> float:
        """The configured rate, in calls a second. `rate` is the rate now."""
        return self._law.seen()[1]

    def set_rate(self, rate: float, *, burst: float | None = None) -> None:
        """Configure another rate, and if given another burst. A rate that has been cut stays cut. Works as `TokenBucket.set_rate`."""
        super().set_rate(rate, burst=burst)  # which refuses what is invalid
        self._configured = (float(rate), burst)
        # It is done in steps. Another thread that does the same may be between two of them, and then both go on with what came last.
        while True:
            latest = self._configured
            super().set_rate(latest[0], burst=latest[1])
            self._law.configure(latest[0])
            self._follow(0.0)
            if self._configured is latest:
                return

    def permit(self, n: float = 1, *, timeout: _Seconds | None = None) -> AdaptiveRatePermit:  # type: ignore[override]
        """Return a permit for one call: a context manager (`with`, `async with`).

        Entering it waits for `n` tokens in order, at most `timeout` seconds, or raises RateLimited. How the block ends decides the result
        of the call: see the class, and `AdaptiveRatePermit.success`, `failure` and `ignore`. The tokens are used, however the call ends,
        unless `refund` gives them back. A wait that is cancelled or interrupted takes none.

        Raises ValueError, TypeError or OverflowError for an invalid argument.
        """
        return AdaptiveRatePermit(self, super().permit(n, timeout=timeout))

    def heed(self, response: Any) -> None:
        """Lower the limiter to what a response says, and cut the rate if its status is 429. It is never raised above what was configured.

        `response` has `headers`, and `status_code` or `status`, as those of httpx, requests and aiohttp have. If the server says that less
        remains than the limiter would admit, that is debited; if nothing remains, or a Retry-After comes with 429 or 503, the limiter is
        paused (see `sluicegate.http.heed`). The call counts as begun `response.elapsed` ago, or else a second ago. In a block, write
        `call.heed(response)`, which knows when the call began.

        Raises TypeError for anything else.
        """
        try:
            elapsed: Any = getattr(response, "elapsed", None)
        except RuntimeError:  # httpx's, before the response has been read
            elapsed = None
        lasted = elapsed.total_seconds() if hasattr(elapsed, "total_seconds") else 1.0
        if self._obey(response) == 429:
            self._throttle(self._now() - lasted)

    def statistics(self) -> AdaptiveRateStatistics:  # type: ignore[override]
        """Return a snapshot of the limiter's rate, its counters, and what became of the calls."""
        from sluicegate._statistics import AdaptiveRateStatistics

        seen = super().statistics()
        rate, max_rate, cuts, _ = self._law.seen()
        return AdaptiveRateStatistics(
            name=seen.name,
            rate=rate,
            max_rate=max_rate,
            admitted=seen.admitted,
            refused=seen.refused,
            waited=seen.waited,
            waited_seconds=seen.waited_seconds,
            waiters=seen.waiters,
            successes=self._successes.value,
            throttled=self._throttles.value,
            ignored=self._ignored.value,
            cuts=cuts,
        )

    if TYPE_CHECKING:

        @overload
        def __call__(
            self,
            function: _F,
            /,
            *,
            n: float = 1,
            timeout: _Seconds | None = None,
            failed: Callable[[Any], object] | None = None,
        ) -> _F: ...
        @overload
        def __call__(
            self,
            function: None = None,
            /,
            *,
            n: float = 1,
            timeout: _Seconds | None = None,
            failed: Callable[[Any], object] | None = None,
        ) -> Callable[[_F], _F]: ...

    def __call__(
        self,
        function: Any = None,
        /,
        *,
        n: float = 1,
        timeout: _Seconds | None = None,
        failed: Callable[[Any], object] | None = None,
    ) -> Any:
        """Decorate a function so that each call takes `n` tokens first, and its end is reported.

        Use `@rate`, or `@rate(failed=lambda response: response.status_code == 429)`: `failed` is called with what the function returns, and
        says whether the server has refused the call. The function can be a def, an async def, or a generator function of either kind. A
        call raises RateLimited if the tokens cannot be had within `timeout` seconds.
        """
        self.permit(n, timeout=timeout)  # refuses invalid arguments now
        return guarded(function, self, functools.partial(self.permit, n, timeout=timeout), failed=failed, waits=True)

    def _obey(self, response: Any) -> int | None:
        """Heed the headers. Return the status."""
        from sluicegate.http._heed import heed

        status = getattr(response, "status_code", None)
        if status is None:
            status = getattr(response, "status", None)
        headers = getattr(response, "headers", None)
        if headers is None:
            raise TypeError(f"'response' must have headers, and {text(response)} has none")
        heed(self, headers, status=status)
        return status

    def _succeed(self) -> None:
        self._successes.add()
        self._law.succeeded(self._now())
        self._follow(_LEAST_CHANGE)

    def _throttle(self, began: float, retry_after: float | None = None) -> None:
        self._throttles.add()
        if retry_after is not None and retry_after > 0:
            self.pause_for(min(retry_after, LONGEST_PAUSE))
        self._law.throttled(began, self._now())
        self._follow(0.0)

    def _follow(self, tolerance: float) -> None:
        while True:
            rate, max_rate, _, _ = self._law.seen()
            now = self.rate
            if rate == now or (abs(rate - now) <= tolerance * now and rate != max_rate):
                return
            super().set_rate(rate)

    def _asked_by(self, error: BaseException) -> tuple[bool, float | None]:
        """Whether the server has refused, and for how long."""
        members = [leaf for leaf in leaves(error) if not isinstance(leaf, Refused)]
        refused = bool(members) and isinstance(self._throttled, tuple) and isinstance(error, self._throttled)
        longest: float | None = None
        for member in members:
            asked = retry_after_of(member)
            if self._is_refusal(member, asked):
                refused, longest = True, longer(longest, asked)
        return refused, longest

    def _is_refusal(self, error: Exception, asked: float | None) -> bool:
        if isinstance(self._throttled, tuple):
            return isinstance(error, self._throttled)
        if self._throttled is not None:
            return bool(self._throttled(error))
        response = attribute_of(error, "response")
        statuses = (attribute_of(each, name) for each in (error, response) for name in ("status_code", "status", "code"))
        return asked is not None or 429 in statuses


@public
class AdaptiveRatePermit:
    """One call of an adaptive rate, as returned by `AdaptiveRate.permit`: a context manager (`with`, `async with`).

    Entering it waits for the tokens. The result is taken from how the block ends, unless `success`, `failure` or `ignore` has
    reported it before. It can be used again after its end.
    """

    __slots__ = ("__weakref__", "_began", "_is_reported", "_limiter", "_taken")

    def __init__(self, limiter: AdaptiveRate, taken: RatePermit) -> None:
        if type(taken) is not RatePermit:
            check_made(taken, (RatePermit,), "AdaptiveRatePermit", "AdaptiveRate.permit()")
        self._limiter: AdaptiveRate = limiter
        self._taken: Any = taken
        self._began: float | None = None
        self._is_reported = False

    def __enter__(self) -> Self:
        """Wait for the tokens."""
        self._taken.__enter__()
        self._begin()
        return self

    async def __aenter__(self) -> Self:
        """Wait for the tokens, from a coroutine."""
        await self._taken.__aenter__()
        self._begin()
        return self

    def _begin(self) -> None:
        self._began = self._limiter._now()
        self._is_reported = False

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> None:
        """Record the result, which is taken from how the block ends."""
        self._taken.__exit__(exc_type, exc_value, traceback)
        if self._is_reported:
            return
        if exc_value is None:
            self.success()
            return
        try:
            refused, asked = self._limiter._asked_by(exc_value)
        except BaseException:
            self.ignore()  # it was not found out what it says
            raise
        if refused:
            self._fail(asked)
        else:
            self.ignore()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Record the result, which is taken from how the block ends."""
        self.__exit__(exc_type, exc_value, traceback)

    def success(self) -> None:
        """Report that the call was served. Only the first report counts.

        Raises RuntimeError if the permit has not been entered.
        """
        if self._report() is not None:
            self._limiter._succeed()

    def failure(self, error: BaseException | None = None, *, retry_after: _Seconds | None = None) -> None:
        """Report that the server has refused the call: the rate is cut, if the call began since the last cut. Only the first report counts.

        `error` is the exception, if there was one. `retry_after` is what the server asked for, in seconds, or what the error says: the
        limiter is paused so long, at most 600 seconds.

        Raises RuntimeError if the permit has not been entered; ValueError, TypeError or OverflowError for an invalid `retry_after`.
        """
        asked = _duration("retry_after", retry_after) if retry_after is not None else None
        if asked is None and error is not None:
            asked = retry_after_of(error)
        self._fail(asked)

    def ignore(self) -> None:
        """Report that the call says nothing about the server. Only the first report counts.

        Raises RuntimeError if the permit has not been entered.
        """
        if self._report() is not None:
            self._limiter._ignored.add()

    def heed(self, response: Any) -> None:
        """Heed a response, as `AdaptiveRate.heed` does. A 429 is reported as a failure; otherwise the end of the block decides the result.

        Raises RuntimeError if the permit has not been entered, TypeError for what is no response.
        """
        if self._began is None:
            raise _not_entered()
        if self._limiter._obey(response) == 429:
            self._fail(None)

    @property
    def n(self) -> float:
        """The tokens taken on entry."""
        return self._taken.n

    def settle(self, actual: float) -> None:
        """Report how many tokens were actually used, in the block or after it. It says nothing about the server.

        The difference is given back, or debited even if that leaves a debt. Works as `RatePermit.settle`.

        Raises RuntimeError if the permit has not been entered, or has been settled; ValueError, TypeError or OverflowError for an invalid
        amount.
        """
        self._taken.settle(actual)

    def refund(self) -> float:
        """Give the tokens back, because the call was not made, and return how many. It says nothing about the server.

        Raises RuntimeError if the permit has not been entered.
        """
        self.ignore()
        return self._taken.refund()

    def _fail(self, asked: float | None) -> None:
        began = self._report()
        if began is not None:
            self._limiter._throttle(began, asked)

    def _report(self) -> float | None:
        """Return when the call began, or None if its result has been reported already."""
        if self._began is None:
            raise _not_entered()
        if self._is_reported:
            return None
        self._is_reported = True
        return self._began

    def __repr__(self) -> str:
        return f"<sluicegate.AdaptiveRatePermit of {self._limiter!r}>"

    def __reduce__(self) -> Any:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object: it is one call of a limiter")


def _not_entered() -> RuntimeError:
    return RuntimeError("the permit has not been entered: use it in a `with` block")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not hasattr(type(value), "__float__") or isinstance(value, (str, bytes)):
        raise TypeError(f"'{name}' must be an int or float, not {text(value)} ({type(value).__name__})")
    return float(value)
