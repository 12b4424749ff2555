"""What types a user of `sluicegate.http` gets."""

from __future__ import annotations

import ipaddress
from collections.abc import MutableMapping
from datetime import datetime, timedelta
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import aiohttp
import httpx
import requests
from typing_extensions import assert_type

from sluicegate import Guard, KeyedTokenBucket, Retry, Semaphore, TokenBucket
from sluicegate.http import (
    ErrorResponse,
    Limit,
    Refusal,
    Route,
    asgi,
    client_address,
    heed,
    limit_headers,
    read_limits,
    read_retry_after,
    wsgi,
)
from sluicegate.http.aiohttp import GuardMiddleware
from sluicegate.http.httpx import AsyncGuardTransport, GuardTransport
from sluicegate.http.requests import GuardAdapter


def headers(mapping: dict[str, str], raw: list[tuple[bytes, bytes]], scope: dict[str, Any], now: datetime) -> None:
    assert_type(read_limits(mapping), list[Limit])
    assert_type(read_limits(raw, now=now), list[Limit])
    assert_type(read_retry_after(mapping, status=429, now=1.5), float | None)
    assert_type(limit_headers([Limit(quota=5), Limit("b", remaining=1.5)], timedelta(seconds=1)), dict[str, str])
    assert_type(client_address(scope, ["10.0.0.0/8", ipaddress.ip_network("::1")], 48), str)
    assert_type(Limit().remaining, float | None)
    Limit().remaining = 5  # pyright: ignore[reportAttributeAccessIssue]  # it is frozen


async def application(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None: ...


def wsgi_application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    return []


def middlewares() -> None:
    keyed = KeyedTokenBucket(1, burst=2, max_keys=3)
    limited = asgi.RateLimitMiddleware(
        application, keyed, routes=[Route("/a", TokenBucket(1, burst=1), methods=["GET"], cost=2), Route("/b", None)], trusted=["::1"]
    )
    asgi.ConcurrencyLimitMiddleware(limited, Semaphore(1), max_wait=timedelta(seconds=1), max_lag=None, exempt=["/health"])
    wsgi.ConcurrencyLimitMiddleware(wsgi.RateLimitMiddleware(wsgi_application, keyed, key=lambda environ: environ["USER"]), Semaphore(1))
    asgi.ConcurrencyLimitMiddleware(application, 5)  # pyright: ignore[reportArgumentType]
    asgi.RateLimitMiddleware(wsgi_application)  # pyright: ignore[reportArgumentType]


def refused(scope: Any, refusal: Refusal) -> Any:
    assert_type(refusal.retry_after, float)
    assert_type(refusal.limit, str | None)


def clients(guard: Guard, limiter: TokenBucket, keyed: KeyedTokenBucket) -> None:
    with httpx.Client(transport=GuardTransport(guard, key=lambda request: request.url.host, limiter=keyed)) as client:
        client.get("http://example.org/")
    httpx.AsyncClient(transport=AsyncGuardTransport(Retry(on=ErrorResponse), limiter=limiter, statuses={429}))
    aiohttp.ClientSession(middlewares=[GuardMiddleware(guard, repeatable=lambda request: request.method == "POST")])
    requests.Session().mount("https://", GuardAdapter(guard, pool_maxsize=5))
    GuardTransport(5)  # pyright: ignore[reportArgumentType]
    heed(limiter, {"RateLimit": '"a";r=1'}, status=429)
    heed(keyed, {})  # pyright: ignore[reportArgumentType]


def failed(error: ErrorResponse) -> None:
    assert_type(error.retry_after, float | None)
    assert_type(error.repeatable, bool)
