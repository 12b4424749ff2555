"""What the clients for httpx, aiohttp and requests have in common: which responses are failures, and which requests may be sent again.

A layer around a call, a `Guard` or a `Retry`, knows errors, and a failure of HTTP is a response. So a response that refuses or fails goes
through the layers as an `ErrorResponse`, and what comes out at the end is the response again, as the client library's users expect it.

A request may be sent again if its method is idempotent (RFC 9110, 9.2.2), if it has an idempotency key, or if it is certain that the server
has done nothing: it was never sent, or the server has refused it. Otherwise its error says so, with `repeatable`, and a `Retry` obeys.
"""

from __future__ import annotations

from asyncio import CancelledError
from datetime import timedelta
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

from sluicegate._adaptive_rate import AdaptiveRate
from sluicegate._core import KeyedLimiter, RateLimiter, RateLimits, _refuse_coroutine_function
from sluicegate._fallback import Fallback
from sluicegate._rates import members_of
from sluicegate.http._heed import REFUSALS, heed
from sluicegate.http._limits import read_retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

__all__ = ["SMALL", "STATUSES", "Caller", "Calls", "ErrorResponse", "TooManyRequests", "Wire"]

_T = TypeVar("_T")

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
#: The responses that are failures, if nothing else is said.
STATUSES = (429, 500, 502, 503, 504)
#: Bodies of failures up to this size, as they are sent, are read at once, so that the connection is free while the next attempt waits.
SMALL = 65_536


class Caller(Protocol):
    """What a request is sent through: a `Guard`, a `Retry`, or anything else with these two."""

    def call(self, function: Callable[[], _T], /) -> _T:
        """Return `function()`."""
        ...

    async def call_async(self, function: Callable[[], Awaitable[_T]], /) -> _T:
        """Return `await function()`."""
        ...


class ErrorResponse(Exception):
    """A response by which a server refuses or fails, as the layers around a request see it: name it in the `on` of a `Retry`.

    `response` is the client library's response, `status` its status code, and `retry_after` the seconds after which the server wants to be
    asked again, or None. `repeatable` says whether the request may be sent again: a `Retry` makes no further attempt if it is false.
    """

    def __init__(self, response: Any, status: int, retry_after: float | None, repeatable: bool) -> None:
        super().__init__(f"the server answered with status {status}")
        self.response: Any = response
        self.status: int = status
        self.retry_after: float | None = retry_after
        self.repeatable: bool = repeatable

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.response, self.status, self.retry_after, self.repeatable), self.__dict__


class TooManyRequests(ErrorResponse):
    """The response 429: the server is well, and the client asks too much. Name it in the `ignore` of a `CircuitBreaker`."""


class _Seen(NamedTuple):
    """What a limiter needs to know of a response. httpx has no `elapsed` before the response has been read."""

    headers: Any
    status: int
    elapsed: timedelta


class Wire(NamedTuple):
    """What is to be known of a client library's requests, responses and errors."""

    #: Of a request: its method, its headers, and whether its body can be sent again.
    request_facts: Callable[[Any], tuple[str, Any, bool]]
    #: Of a response: its status and its headers.
    response_facts: Callable[[Any], tuple[int, Any]]
    #: Whether an error means that nothing was sent.
    was_not_sent: Callable[[Exception], bool]


class Calls:
    """The arguments of a client, checked and made ready, and the way of a request through its guard."""

    def __init__(
        self,
        wire: Wire,
        guard: Caller,
        key: Callable[[Any], Any] | None,
        limiter: RateLimiter | KeyedLimiter | None,
        statuses: Collection[int],
        repeatable: Callable[[Any], bool] | None,
        *,
        is_async: bool = False,
    ) -> None:
        if not callable(getattr(guard, "call", None)) or not callable(getattr(guard, "call_async", None)) or isinstance(guard, type):
            raise TypeError(f"'guard' must be a Guard, a Retry or another object with call() and call_async(), not {guard!r}")
        for argument, function in (("key", key), ("repeatable", repeatable)):
            if function is not None and not callable(function):
                raise TypeError(f"'{argument}' must be a function of the request or None, not {function!r}")
            if function is not None:
                _refuse_coroutine_function(argument, function)
        if not is_async and getattr(guard, "_attempt_timeout", None) is not None:
            raise TypeError(f"'guard' must have no 'attempt_timeout', because a thread cannot be stopped, not {guard!r}")
        fallback = guard if isinstance(guard, Fallback) else getattr(guard, "_fallback", None)
        if isinstance(fallback, Fallback) and fallback._memory is not None:
            raise TypeError(
                f"'guard' must have no fallback with 'stale', because a response can be read only once, not {guard!r}: "
                "put one with 'stale' around your function that makes the request and reads the answer"
            )
        if limiter is not None and not isinstance(limiter, (RateLimiter, KeyedLimiter)):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
            raise TypeError(f"'limiter' must be a limiter or None, not {limiter!r}")
        if isinstance(limiter, RateLimits) and any(isinstance(member, AdaptiveRate) for member in members_of(limiter)):
            raise TypeError(
                f"'limiter' must have no AdaptiveRate in it, because a set does not tell it how calls end, not {limiter!r}: "
                "give the AdaptiveRate alone"
            )
        if isinstance(limiter, KeyedLimiter) and key is None:
            raise TypeError("'key' must be a function of the request if 'limiter' is a keyed limiter")
        needs_key = getattr(guard, "_needs_key", None)  # only a guard says it, and it has `key` in any case
        if needs_key and key is None:
            raise TypeError(f"'key' must be a function of the request, because {guard!r} has keyed layers")
        self._has_keys: bool = hasattr(guard, "key") if needs_key is None else bool(needs_key)
        if key is not None and not (isinstance(limiter, KeyedLimiter) or self._has_keys):
            raise TypeError(f"'key' must be None, because {guard!r} has no keys")
        self._wire: Wire = wire
        self._guard: Any = guard
        self._key: Callable[[Any], Any] | None = key
        self._limiter: Any = limiter
        self._is_guards: bool = limiter is not None and limiter is getattr(guard, "_rate", None)
        self._statuses: frozenset[int] = _checked(statuses)
        self._repeatable: Callable[[Any], bool] | None = repeatable

    def send(self, request: Any, send: Callable[[], Any], read: Callable[[Any], object], close: Callable[[Any], object]) -> Any:
        """Return a response of `send`, called through the guard.

        `read` reads a small body, so that the connection is free while the next attempt waits, and no more than `SMALL` bytes of any;
        `close` closes a response.
        """
        way = _Way(self, request)

        def attempt() -> Any:
            if (before := way.begin()) is not None:
                close(before)
            try:
                response = send()
                error = way.judge(response)
                if error is not None and self._is_small(response):
                    read(response)
            except Exception as broken:
                self._mark(broken, request)
                raise
            if error is not None:
                raise error
            return response

        result: Any = None
        try:
            result = self._guard_of(request).call(attempt)
        except ErrorResponse as error:
            result = way.answer_of(error)
        finally:
            if (left := way.left(result)) is not None:
                close(left)
        return _answer(result)

    async def send_async(
        self,
        request: Any,
        send: Callable[[], Awaitable[Any]],
        read: Callable[[Any], Awaitable[object]],
        close: Callable[[Any], Awaitable[object]],
    ) -> Any:
        """Return a response of `send`, awaited through the guard. The arguments are those of `send`."""
        way = _Way(self, request)

        async def attempt() -> Any:
            if (before := way.begin()) is not None:
                await close(before)
            try:
                response = await send()
                error = way.judge(response)
                if error is not None and self._is_small(response):
                    await read(response)
            except (Exception, CancelledError) as broken:  # a time limit cancels, and takes the mark over
                self._mark(broken, request)
                raise
            if error is not None:
                raise error
            return response

        result: Any = None
        try:
            result = await self._guard_of(request).call_async(attempt)
        except ErrorResponse as error:
            result = way.answer_of(error)
        finally:
            if (left := way.left(result)) is not None:
                await close(left)
        return _answer(result)

    def _guard_of(self, request: Any) -> Any:
        return self._guard.key(self._key(request)) if self._key is not None and self._has_keys else self._guard

    def _limiter_of(self, request: Any) -> Any:
        limiter = self._limiter
        return limiter.key(self._key(request)) if self._key is not None and isinstance(limiter, KeyedLimiter) else limiter

    def _error(self, request: Any, response: Any, elapsed: float) -> ErrorResponse | None:
        """Heed a response, and return the error that it is, or None."""
        status, fields = self._wire.response_facts(response)
        if self._limiter is not None:
            limiter = self._limiter_of(request)
            # An AdaptiveRate also cuts its rate. If it is the guard's own, it does so when the attempt ends with the error.
            if isinstance(limiter, AdaptiveRate) and not (self._is_guards and status in self._statuses):
                limiter.heed(_Seen(fields, status, timedelta(seconds=elapsed)))
            else:
                heed(limiter, fields, status=status)
        if status not in self._statuses:
            return None
        method, headers, replayable = self._wire.request_facts(request)
        retry_after = read_retry_after(fields, status=status)
        is_refusal = status == 429 or (status in REFUSALS and retry_after is not None)
        repeatable = replayable and (is_refusal or self._is_idempotent(request, method, headers))
        return (TooManyRequests if status == 429 else ErrorResponse)(response, status, retry_after, repeatable)

    def _mark(self, error: Any, request: Any) -> None:
        """Say on an error of the client library, or on a cancellation, whether the request may be sent again."""
        method, headers, replayable = self._wire.request_facts(request)
        if not (replayable and (self._wire.was_not_sent(error) or self._is_idempotent(request, method, headers))):
            error.repeatable = False

    def _is_small(self, response: Any) -> bool:
        """Say whether the body of a response is known to be short; beside a Transfer-Encoding the length means nothing (RFC 9112, 6.3)."""
        headers = self._wire.response_facts(response)[1]
        length = headers.get("content-length", "")
        is_short = length.isascii() and length.isdigit() and len(length) < 8 and int(length) <= SMALL
        return is_short and headers.get("transfer-encoding") is None

    def _is_idempotent(self, request: Any, method: str, headers: Any) -> bool:
        return (
            method.upper() in _IDEMPOTENT
            or "idempotency-key" in headers
            or (self._repeatable is not None and self._is_said_to_be_repeatable(request, self._repeatable))
        )

    @staticmethod
    def _is_said_to_be_repeatable(request: Any, repeatable: Callable[[Any], object]) -> bool:
        try:
            said = repeatable(request)
            if not isinstance(said, bool):  # a coroutine, or a text such as "no", would count as true
                raise TypeError(f"'repeatable' must return True or False, not {said!r}")
        except Exception as mistake:
            unsure: Any = mistake
            unsure.repeatable = False  # nobody has said that the request may be sent again
            raise
        return said


class _Way:
    """A request on its way through the guard: its last attempt, and the response of it, which is closed unless it is the answer."""

    __slots__ = ("_began", "_calls", "_last", "_request")

    def __init__(self, calls: Calls, request: Any) -> None:
        self._calls: Calls = calls
        self._request: Any = request
        self._began: float = 0.0
        self._last: Any = None

    def begin(self) -> Any:
        """Begin an attempt, and return the response of the one before, which is to be closed; None if there is none."""
        last, self._last = self._last, None
        self._began = monotonic()
        return last

    def judge(self, response: Any) -> ErrorResponse | None:
        """Return the error that a response is, or None. It is closed in the end, also if a function of the program's raises here."""
        self._last = response
        error = self._calls._error(self._request, response, monotonic() - self._began)
        if error is None:
            self._last = None
        return error

    def answer_of(self, error: ErrorResponse) -> Any:
        """Return the response of the last attempt, if the error that has come through the guard is of it; otherwise raise the error."""
        if self._last is None or error.response is not self._last:
            raise error
        return self._last

    def left(self, result: Any) -> Any:
        """Return the response that is to be closed because it is not the result; None if there is none."""
        return None if result is self._last else self._last


def _answer(result: Any) -> Any:
    if result is None:
        raise TypeError("the guard has returned None for a request: its fallback must return a response of the client library")
    return result


def _checked(statuses: Any) -> frozenset[int]:
    try:
        found = frozenset(statuses)
    except TypeError:
        raise TypeError(f"'statuses' must be several status codes, not {statuses!r}") from None
    for status in found:
        if type(status) is not int or not 400 <= status <= 599:
            raise ValueError(f"'statuses' must be status codes of 400 to 599, not {status!r}")
    return found
