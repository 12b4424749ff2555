"""Limits for an ASGI application: how often a client may ask, and how many requests are worked on at once.

Only HTTP requests are limited; websockets and lifespan events go through as they are. A response is passed on message by message, with no
more and no fewer than the application sends.

`RateLimitMiddleware` never waits. In a `ConcurrencyLimitMiddleware` requests wait for its limiter, first come, first served, for
a short time. It does not look at the sizes of bodies, and it does not stop a handler that takes too long.
"""

from __future__ import annotations

from asyncio import get_running_loop

from sluicegate._core import _duration
from sluicegate._exceptions import Refused
from sluicegate.http._admission import Middleware, RateLimiting, check_app
from sluicegate.http._concurrency import Held, LoopLag, Slots
from sluicegate.http._problems import Refusal, problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping
    from datetime import timedelta
    from typing import Any, TypeAlias

    from sluicegate.http._concurrency import _Permits

    _Scope: TypeAlias = MutableMapping[str, Any]
    _Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
    _Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    _App: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

__all__ = ["ConcurrencyLimitMiddleware", "RateLimitMiddleware"]


class RateLimitMiddleware(RateLimiting["_App"]):
    """Limits how often clients may ask an ASGI application; a request above the limit is answered with 429.

    `app` is the application. `limiter` is the limit of each request that no route is for: a keyed limiter, such as a `KeyedTokenBucket` or
    a `KeyedSlidingWindow`, whose keys are the clients, or any other limiter, which all clients share. It can be None if there are routes.
    `routes` are `Route` objects: the first one that fits a request decides, and its limit takes the place of `limiter`.

    `key` is a function of the ASGI scope that returns the key of the client, or None for a request that is not limited. By default it is
    the client's address as `client_address` finds it, with `trusted` and `v6_prefix`. `cost` is what a request takes of its limit, a number
    or a function of the scope. `overflow` is a limiter that the requests of new clients share while all keys of a keyed limiter are in use;
    by default it admits as much as one key.

    Each response gets the fields RateLimit-Policy and RateLimit, unless `headers` is false; the names in them are those of the limiters. A
    refusal has a Retry-After as well, of one second to 31 days, and a body of the type application/problem+json. `on_refused` is a function
    of the scope and the `Refusal` that returns another ASGI application to answer the request, such as a response of Starlette's.

    Raises TypeError or ValueError for an invalid argument, such as the name of a limiter that cannot be in a header.
    """

    _protocol = "ASGI"

    def _answer_to_refused(self, scope: _Scope, refusal: Refusal, /) -> _App:
        return _problem(scope, refusal)

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Handle a request: the interface of an ASGI application."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        answer = self._rules.answer(scope["method"], scope["path"], scope)
        if answer is None:
            return await self.app(scope, receive, send)
        if answer.refusal is not None:
            return await self._answer_of(scope, answer.refusal)(scope, receive, send)
        if not answer.fields:
            return await self.app(scope, receive, send)
        fields = _raw(answer.fields)

        def send_with_fields(message: MutableMapping[str, Any]) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *fields]}
            return send(message)

        return await self.app(scope, receive, send_with_fields)


class ConcurrencyLimitMiddleware(Middleware):
    """Limits how many requests an ASGI application works on at once; a request that would have to wait too long is answered with 503.

    `app` is the application. `limiter` is a `Semaphore`, an `AdaptiveConcurrency`, or another object whose `permit()` is a context
    manager that `async with` enters and that can be left by `__exit__`.
    Each request holds a permit from its beginning until the last byte of its response has been sent, or until the application has ended, as
    it does when the client has left. What the application does after the last byte, such as background tasks, holds no permit.

    A request waits at most `max_wait` seconds for its permit, in the wait queue of the limiter, and is refused if it has none then, or if
    the limiter refuses it; a limiter whose permits take no timeout decides by itself. A request is also refused while the event loop is
    late: by more than `max_lag` seconds, twice in a row. That is what happens when handlers compute, and a queue that no limiter sees
    grows in the loop. With None it is not looked at.

    `priority` is a function of the ASGI scope that returns a request's priority, for a limiter whose permits have one. Requests for the
    paths in `exempt` are not limited, such as "/health"; the patterns are those of `Route`. A refusal has a Retry-After of one second to
    31 days, and a body of the type application/problem+json. `on_refused` is a function of the scope and the `Refusal` that returns another
    ASGI application to answer the request.

    The end of each request is reported to a permit that has `success`, `failure` and `ignore`: a response in one piece is a success,
    429, 503 and 504 are failures; other errors, responses in several pieces and requests whose client has left are ignored.

    Raises TypeError, ValueError or OverflowError for an invalid argument.
    """

    _protocol = "ASGI"

    def __init__(
        self,
        app: _App,
        limiter: _Permits,
        *,
        max_wait: float | timedelta = 0.1,
        max_lag: float | timedelta | None = 0.5,
        priority: Callable[[Any], int] | None = None,
        exempt: Iterable[str] = (),
        on_refused: Callable[[Any, Refusal], _App] | None = None,
        name: str | None = None,
    ) -> None:
        check_app(app, on_refused, self._protocol)
        self.app: _App = app
        self._slots: Slots = Slots(limiter, max_wait, priority, exempt, name, "__aenter__")
        self._counts = self._slots.counts
        self._lag: LoopLag | None = None if max_lag is None else LoopLag()
        self._max_lag: float = 0.0 if max_lag is None else _duration("max_lag", max_lag)
        self._on_refused: Callable[[Any, Refusal], _App] = _problem if on_refused is None else on_refused

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Handle a request: the interface of an ASGI application."""
        if scope["type"] != "http" or self._slots.is_exempt(scope["method"], scope["path"]):
            return await self.app(scope, receive, send)
        loop = None
        refusal = None
        permit: Any = None
        if self._lag is not None:
            loop = get_running_loop()
            if self._lag.enter(loop) > self._max_lag:
                refusal = self._slots.refusal()
        try:
            if refusal is None:
                permit = self._slots.permit(scope)
                try:
                    await permit.__aenter__()
                except Refused as error:
                    refusal = self._slots.refusal(error)
            if refusal is not None:
                return await self._answer_of(scope, refusal)(scope, receive, send)
            self._slots.counts.admitted.add()
            held = Held(permit)
            try:
                await self.app(scope, receive, _watching(held, send))
            except BaseException as error:
                held.abandon(error)
                raise
            held.abandon()
        finally:
            if self._lag is not None and loop is not None:
                self._lag.leave(loop)


def _watching(held: Held, send: _Send) -> _Send:
    """Return `send`, which ends the permit after the last message of the response."""
    has_trailers = False

    def sending(message: MutableMapping[str, Any]) -> Awaitable[None]:
        nonlocal has_trailers
        kind = message["type"]
        if kind == "http.response.body":
            held.pieces += 1
            is_last = not message.get("more_body") and not has_trailers
        elif kind == "http.response.start":
            held.status, has_trailers = message["status"], bool(message.get("trailers"))
            is_last = False
        elif kind == "http.response.pathsend":
            is_last = not has_trailers
        else:
            is_last = kind == "http.response.trailers" and not message.get("more_trailers")
        return _last(held, send, message) if is_last else send(message)

    return sending


async def _last(held: Held, send: _Send, message: MutableMapping[str, Any]) -> None:
    await send(message)
    held.complete()


def _raw(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _problem(_scope: _Scope, refusal: Refusal) -> _App:
    """Return an application that answers with a problem (RFC 9457)."""
    headers, body = problem(refusal)
    raw = _raw(headers)

    async def answer(scope: _Scope, _receive: _Receive, send: _Send) -> None:
        await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return answer
