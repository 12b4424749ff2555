"""The rows about HTTP requests: what a middleware adds to an application that does next to nothing, called in this process.

There is no server and no socket. Each contender answers the same request from one client, and what calls it does what a server does with
the answer. No request is refused: a run in which one was is no measurement.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

import sluicegate
from sluicegate.http import asgi, wsgi

from ..harness import BenchError, Stopwatch, loop_of, run_loop
from ..model import OURS, Contender, Row, Run, Sample

App: TypeAlias = Callable[..., Any]
Limit: TypeAlias = Callable[[App], Any]

BARE = "the application"
"""The contender without a middleware, which goals subtract."""

#: More requests in a second than are ever made.
PLENTY = 1e8

SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/users/7",
    "raw_path": b"/users/7",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"example.org"), (b"user-agent", b"bench"), (b"accept", b"*/*")],
    "client": ("203.0.113.9", 50000),
    "server": ("192.0.2.1", 80),
}
ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/users/7",
    "QUERY_STRING": "",
    "REMOTE_ADDR": "203.0.113.9",
    "HTTP_HOST": "example.org",
    "HTTP_USER_AGENT": "bench",
    "HTTP_ACCEPT": "*/*",
}

SERVE = """
body = call(ENVIRON, start_response)
for piece in body:
    pass
close = getattr(body, "close", None)
if close is not None:
    close()
"""
"""What a WSGI server does with each answer."""


async def hello(scope: Any, receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Answer a request by ASGI."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain"), (b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def hello_wsgi(environ: Any, start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer a request by WSGI."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


async def receive() -> dict[str, Any]:
    """Return the whole of a request's body, which is empty."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: dict[str, Any]) -> None:
    """Take a message of an answer."""


def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    """Take the beginning of an answer."""


def clients() -> sluicegate.KeyedTokenBucket:
    """A limit of each client."""
    return sluicegate.KeyedTokenBucket(PLENTY, burst=PLENTY, max_keys=1_000, name="clients")


def places() -> sluicegate.Semaphore:
    """A limit of the requests at once."""
    return sluicegate.Semaphore(50)


def asgi_rate(app: App) -> Any:
    """A rate limit, by ASGI."""
    return asgi.RateLimitMiddleware(app, clients())


def asgi_concurrency(app: App) -> Any:
    """A limit of concurrency, by ASGI."""
    return asgi.ConcurrencyLimitMiddleware(app, places())


def wsgi_rate(app: App) -> Any:
    """A rate limit, by WSGI."""
    return wsgi.RateLimitMiddleware(app, clients())


def wsgi_concurrency(app: App) -> Any:
    """A limit of concurrency, by WSGI."""
    return wsgi.ConcurrencyLimitMiddleware(app, places())


def check(call: Any, requests: int) -> None:
    """Check that a middleware has admitted as many requests, that is, all of them."""
    if not hasattr(call, "statistics"):
        return  # the application itself
    admitted = call.statistics().admitted
    if admitted != requests:
        raise BenchError(f"{admitted} of {requests} requests were admitted")


def awaited(limit: Limit | None) -> Run:
    """One task makes requests, one after another."""
    loop = loop_of("await call(SCOPE, receive, send)", "call", "SCOPE", "receive", "send")

    async def work(n: int) -> Sample:
        call = hello if limit is None else limit(hello)
        with Stopwatch() as watch:
            await loop(n, call, SCOPE, receive, send)
        check(call, n)
        return watch.sample(n)

    return lambda n: run_loop(work(n))


def called(limit: Limit | None) -> Run:
    """One thread makes requests, one after another."""
    loop = loop_of(SERVE, "call", "ENVIRON", "start_response")

    def run(n: int) -> Sample:
        call = hello_wsgi if limit is None else limit(hello_wsgi)
        with Stopwatch() as watch:
            loop(n, call, ENVIRON, start_response)
        check(call, n)
        return watch.sample(n)

    return run


def row(name: str, what: str, run: Callable[[Limit | None], Run], limit: Limit) -> Row:
    """A row about a middleware."""
    return Row(name, f"a request through {what}", (Contender(OURS, run(limit)), Contender(BARE, run(None), peer=False)), least=1_000)


ROWS = (
    row("asgi-rate", "asgi.RateLimitMiddleware, a limit of each client, one loop", awaited, asgi_rate),
    row("asgi-concurrency", "asgi.ConcurrencyLimitMiddleware with a Semaphore, one loop", awaited, asgi_concurrency),
    row("wsgi-rate", "wsgi.RateLimitMiddleware, a limit of each client, one thread", called, wsgi_rate),
    row("wsgi-concurrency", "wsgi.ConcurrencyLimitMiddleware with a Semaphore, one thread", called, wsgi_concurrency),
)
