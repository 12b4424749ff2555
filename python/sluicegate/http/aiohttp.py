"""A client middleware for aiohttp: each request goes through a `Guard`, a `Retry`, or another object with `call_async`.

It stands where aiohttp sends a request: inside redirects, so each hop is a call of its own. It waits for nothing by itself.
"""

from __future__ import annotations

import aiohttp

from sluicegate.http._calls import STATUSES, Calls, Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from typing import Any

    from sluicegate import KeyedLimiter, RateLimiter
    from sluicegate.http._calls import Caller

__all__ = ["GuardMiddleware"]


def _request_facts(request: aiohttp.ClientRequest) -> tuple[str, Any, bool]:
    return request.method, request.headers, not request.body or isinstance(request.body, aiohttp.BytesPayload)


def _response_facts(response: aiohttp.ClientResponse) -> tuple[int, Any]:
    return response.status, response.headers


def _was_not_sent(error: Exception) -> bool:
    return isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL))


_WIRE = Wire(_request_facts, _response_facts, _was_not_sent)


class GuardMiddleware:
    """A middleware for `aiohttp.ClientSession` that sends each request through a guard.

    Write `aiohttp.ClientSession(middlewares=[GuardMiddleware(guard)])`.

    `guard` is a `Guard`, a `Retry`, or another object with `call_async`. `key` is a function of the request that returns the key of
    `guard.key`, for a guard with keyed layers, such as `lambda request: request.url.host`. `limiter` is lowered to what each response says:
    see `heed`.

    Which responses are errors for the guard, and which requests are sent again, is as in `sluicegate.http.httpx.GuardTransport`. A request
    that is cancelled holds nothing.

    Raises TypeError or ValueError for an invalid argument.
    """

    def __init__(
        self,
        guard: Caller,
        *,
        key: Callable[[aiohttp.ClientRequest], Any] | None = None,
        limiter: RateLimiter | KeyedLimiter | None = None,
        statuses: Collection[int] = STATUSES,
        repeatable: Callable[[aiohttp.ClientRequest], bool] | None = None,
    ) -> None:
        self._calls: Calls = Calls(_WIRE, guard, key, limiter, statuses, repeatable, is_async=True)

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
    ) -> aiohttp.ClientResponse:
        """Send a request: the interface of a middleware."""
        return await self._calls.send_async(request, lambda: handler(request), _read, _close)


async def _read(response: aiohttp.ClientResponse) -> None:
    """Read the body; the response keeps it. The library reads it decoded, and then a short one can be of any length: that is left alone."""
    if "content-encoding" not in response.headers:
        await response.read()


async def _close(response: aiohttp.ClientResponse) -> None:
    response.close()
