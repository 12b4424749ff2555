"""Transports for httpx: each request goes through a `Guard`, a `Retry`, or another object with `call` and `call_async`.

The transports stand where httpx sends a request: inside redirects and authentication, so each hop is a call of its own. They wait for
nothing by themselves.
"""

from __future__ import annotations

import httpx

from sluicegate.http._calls import SMALL, STATUSES, Calls, Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator
    from typing import Any, NoReturn

    from sluicegate import KeyedLimiter, RateLimiter
    from sluicegate.http._calls import Caller

__all__ = ["AsyncGuardTransport", "GuardTransport"]


def _request_facts(request: httpx.Request) -> tuple[str, Any, bool]:
    return request.method, request.headers, isinstance(request.stream, httpx.ByteStream)


def _response_facts(response: httpx.Response) -> tuple[int, Any]:
    return response.status_code, response.headers


def _was_not_sent(error: Exception) -> bool:
    return isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol))


_WIRE = Wire(_request_facts, _response_facts, _was_not_sent)


def _refuse_kind(transport: object, wanted: type, other: type, method: str) -> None:
    if isinstance(transport, other) and not isinstance(transport, wanted):
        raise TypeError(f"'transport' must be an httpx.{wanted.__name__}, not {transport!r}, which is for the other kind of client")
    if transport is not None and not callable(getattr(transport, method, None)):
        raise TypeError(f"'transport' must be an httpx.{wanted.__name__} or None, not {transport!r}")


class GuardTransport(httpx.BaseTransport):
    """A transport for `httpx.Client` that sends each request through a guard: `httpx.Client(transport=GuardTransport(guard))`.

    `guard` is a `Guard`, a `Retry`, or another object with `call`. `transport` is what sends requests, by default an `HTTPTransport`. `key`
    is a function of the request that returns the key of `guard.key`, for a guard with keyed layers, such as `lambda request:
    request.url.host`. `limiter` is lowered to what each response says: see `heed`.

    A response with one of the `statuses` is an error for the guard: an `ErrorResponse`, or `TooManyRequests` for 429. If the guard makes no
    further attempt, it is what the client gets. Errors of httpx and of the guard are raised as they are.

    A request is sent again only if that can do no harm: if its method is idempotent, if it has an Idempotency-Key, if `repeatable(request)`
    says so, or if the server has certainly done nothing (it was not reached, or it answered 429, or 503 with a Retry-After); and if its
    body is there to be sent again.

    Raises TypeError or ValueError for an invalid argument.
    """

    def __init__(
        self,
        guard: Caller,
        transport: httpx.BaseTransport | None = None,
        *,
        key: Callable[[httpx.Request], Any] | None = None,
        limiter: RateLimiter | KeyedLimiter | None = None,
        statuses: Collection[int] = STATUSES,
        repeatable: Callable[[httpx.Request], bool] | None = None,
    ) -> None:
        _refuse_kind(transport, httpx.BaseTransport, httpx.AsyncBaseTransport, "handle_request")
        self._calls: Calls = Calls(_WIRE, guard, key, limiter, statuses, repeatable)
        self._transport: httpx.BaseTransport = httpx.HTTPTransport() if transport is None else transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request: the interface of a transport."""
        return self._calls.send(request, lambda: self._transport.handle_request(request), _read, httpx.Response.close)

    def close(self) -> None:
        """Close the transport that sends requests."""
        self._transport.close()

    if not TYPE_CHECKING:  # what an AsyncClient calls

        async def __aenter__(self) -> NoReturn:
            raise TypeError("a GuardTransport is for httpx.Client: give an AsyncClient an AsyncGuardTransport")

        async def handle_async_request(self, request: httpx.Request) -> NoReturn:
            """Refuse a request of the other kind of client."""
            await self.__aenter__()


class AsyncGuardTransport(httpx.AsyncBaseTransport):
    """A transport for `httpx.AsyncClient` that sends each request through a guard.

    Write `httpx.AsyncClient(transport=AsyncGuardTransport(guard))`.

    The arguments are those of `GuardTransport`; the guard is used by its `call_async`. A request that is cancelled holds nothing.
    """

    def __init__(
        self,
        guard: Caller,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        key: Callable[[httpx.Request], Any] | None = None,
        limiter: RateLimiter | KeyedLimiter | None = None,
        statuses: Collection[int] = STATUSES,
        repeatable: Callable[[httpx.Request], bool] | None = None,
    ) -> None:
        _refuse_kind(transport, httpx.AsyncBaseTransport, httpx.BaseTransport, "handle_async_request")
        self._calls: Calls = Calls(_WIRE, guard, key, limiter, statuses, repeatable, is_async=True)
        self._transport: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport() if transport is None else transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request: the interface of a transport."""
        return await self._calls.send_async(
            request, lambda: self._transport.handle_async_request(request), _read_async, httpx.Response.aclose
        )

    async def aclose(self) -> None:
        """Close the transport that sends requests."""
        await self._transport.aclose()

    if not TYPE_CHECKING:  # what a Client calls

        def __enter__(self) -> NoReturn:
            raise TypeError("an AsyncGuardTransport is for httpx.AsyncClient: give a Client a GuardTransport")

        def handle_request(self, request: httpx.Request) -> NoReturn:
            """Refuse a request of the other kind of client."""
            self.__enter__()


class _Resumed(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body of which some pieces have been read: those, and the rest of the stream."""

    def __init__(self, pieces: list[bytes], rest: Any, stream: Any) -> None:
        self._pieces: list[bytes] = pieces
        self._rest: Any = rest
        self._stream: Any = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        yield from self._rest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        async for piece in self._rest:
            yield piece

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _read(response: httpx.Response) -> None:
    """Read the body as it came, which frees the connection. The response stays open, and decodes the body when it is read."""
    stream: Any = response.stream
    rest, pieces, size = iter(stream), list[bytes](), 0
    for piece in rest:
        pieces.append(piece)
        size += len(piece)
        if size > SMALL:  # whatever the transport says of it
            response.stream = _Resumed(pieces, rest, stream)
            return
    stream.close()
    response.stream = httpx.ByteStream(b"".join(pieces))


async def _read_async(response: httpx.Response) -> None:
    stream: Any = response.stream
    rest, pieces, size = aiter(stream), list[bytes](), 0
    async for piece in rest:
        pieces.append(piece)
        size += len(piece)
        if size > SMALL:
            response.stream = _Resumed(pieces, rest, stream)
            return
    await stream.aclose()
    response.stream = httpx.ByteStream(b"".join(pieces))
