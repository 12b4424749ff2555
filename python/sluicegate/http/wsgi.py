"""Limits for a WSGI application: how often a client may ask, and how many requests are worked on at once.

The twins of those in `sluicegate.http.asgi`, with the same arguments; `key`, `cost`, `priority` and `on_refused` get the environ. A body
is passed on piece by piece. A body that is a `wsgi.file_wrapper` is too, so a server's faster way of sending a file is not used behind a
`ConcurrencyLimitMiddleware`, which has to see the end of it.
"""

from __future__ import annotations

from sluicegate._exceptions import Refused
from sluicegate.http._admission import Middleware, RateLimiting, check_app
from sluicegate.http._concurrency import Held, Slots
from sluicegate.http._problems import Refusal, problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import timedelta
    from typing import Any, TypeAlias
    from wsgiref.types import StartResponse, WSGIEnvironment

    from sluicegate.http._concurrency import _Permits

    _App: TypeAlias = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]

__all__ = ["ConcurrencyLimitMiddleware", "RateLimitMiddleware"]

_REASONS = {413: "413 Content Too Large", 429: "429 Too Many Requests", 503: "503 Service Unavailable"}


class RateLimitMiddleware(RateLimiting["_App"]):
    """Limits how often clients may ask a WSGI application; a request above the limit is answered with 429.

    `app` is the application. The other arguments are those of `sluicegate.http.asgi.RateLimitMiddleware`, with a request's environ in the
    place of its scope; the path of a request is SCRIPT_NAME and PATH_INFO together. `on_refused` returns another WSGI application to answer
    the request.

    Raises TypeError or ValueError for an invalid argument, such as the name of a limiter that cannot be in a header.
    """

    _protocol = "WSGI"

    def _answer_to_refused(self, environ: WSGIEnvironment, refusal: Refusal, /) -> _App:
        return _problem(environ, refusal)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle a request: the interface of a WSGI application."""
        answer = self._rules.answer(*_request(environ), environ)
        if answer is None:
            return self.app(environ, start_response)
        if answer.refusal is not None:
            return self._answer_of(environ, answer.refusal)(environ, start_response)
        fields = answer.fields

        def start_with_fields(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            return start_response(status, [*headers, *fields], *exc_info)

        return self.app(environ, start_with_fields if fields else start_response)


class ConcurrencyLimitMiddleware(Middleware):
    """Limits how many requests a WSGI application works on at once; a request that would have to wait too long is answered with 503.

    `app` is the application. The other arguments are those of `sluicegate.http.asgi.ConcurrencyLimitMiddleware`, with a request's environ
    in the place of its scope, and without `max_lag`; `permit()` may be any context manager. A request holds its permit until the server
    closes the body of its response, which it does after the last byte, and also when the client has left.

    Raises TypeError, ValueError or OverflowError for an invalid argument.
    """

    _protocol = "WSGI"

    def __init__(
        self,
        app: _App,
        limiter: _Permits,
        *,
        max_wait: float | timedelta = 0.1,
        priority: Callable[[Any], int] | None = None,
        exempt: Iterable[str] = (),
        on_refused: Callable[[Any, Refusal], _App] | None = None,
        name: str | None = None,
    ) -> None:
        check_app(app, on_refused, self._protocol)
        self.app: _App = app
        self._slots: Slots = Slots(limiter, max_wait, priority, exempt, name, "__enter__")
        self._counts = self._slots.counts
        self._on_refused: Callable[[Any, Refusal], _App] = _problem if on_refused is None else on_refused

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle a request: the interface of a WSGI application."""
        if self._slots.is_exempt(*_request(environ)):
            return self.app(environ, start_response)
        permit = self._slots.permit(environ)
        try:
            permit.__enter__()
        except Refused as error:
            refusal = self._slots.refusal(error)
        else:
            self._slots.counts.admitted.add()
            return self._within(Held(permit), environ, start_response)
        return self._answer_of(environ, refusal)(environ, start_response)

    def _within(self, held: Held, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def starting(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            held.status = int(status[:3])
            return start_response(status, headers, *exc_info)

        try:
            body = self.app(environ, starting)
            return _SizedBody(body, held) if hasattr(body, "__len__") else _Body(body, held)
        except BaseException as error:
            held.abandon(error)
            raise


class _Body:
    """A response's body, which ends its permit when it is closed."""

    def __init__(self, body: Iterable[bytes], held: Held) -> None:
        self._body: Iterable[bytes] = body
        self._held: Held = held
        #: Made when the first piece is asked for, as the server would: if that raises, the server closes the body.
        self._pieces: Iterator[bytes] | None = None
        self._is_whole: bool = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._pieces is None:
                self._pieces = iter(self._body)
            piece = next(self._pieces)
        except StopIteration:
            self._is_whole = True
            raise
        except BaseException as error:
            self._held.abandon(error)
            raise
        self._held.pieces += 1
        return piece

    def close(self) -> None:
        """Close the application's body, and give the permit back."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self._held.abandon(error)
            raise
        if self._is_whole:
            self._held.complete()
        else:
            self._held.abandon()


class _SizedBody(_Body):
    """A body of which the server can know the length, if it has one piece."""

    def __len__(self) -> int:
        return len(self._body)  # pyright: ignore[reportArgumentType]  # it is made only of a body that has a length

    def __next__(self) -> bytes:
        piece = super().__next__()
        # A server may stop at the length that it knows.
        self._is_whole = self._held.pieces == len(self)
        return piece


def _request(environ: WSGIEnvironment) -> tuple[str, str]:
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return environ["REQUEST_METHOD"], path.encode("latin-1", "replace").decode("utf-8", "replace") or "/"


def _problem(_environ: WSGIEnvironment, refusal: Refusal) -> _App:
    """Return an application that answers with a problem (RFC 9457)."""
    headers, body = problem(refusal)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(_REASONS[refusal.status], headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return answer
