"""An adapter for requests: each request goes through a `Guard`, a `Retry`, or another object with `call`.

It stands where requests sends a request: inside redirects, so each hop is a call of its own. It waits for nothing by itself.
"""

from __future__ import annotations

import io

import requests
import requests.adapters
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError

from sluicegate.http._calls import SMALL, STATUSES, Calls, Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any, NoReturn

    from sluicegate import KeyedLimiter, RateLimiter
    from sluicegate.http._calls import Caller

__all__ = ["GuardAdapter"]


def _request_facts(request: requests.PreparedRequest) -> tuple[str, Any, bool]:
    return request.method or "GET", request.headers, request.body is None or isinstance(request.body, (bytes, str))


def _response_facts(response: requests.Response) -> tuple[int, Any]:
    return response.status_code, response.headers


def _was_not_sent(error: Exception) -> bool:
    """Say whether nothing was sent: the library has one class for no connection and for a broken one."""
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.InvalidURL)):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", cause), NewConnectionError)


_WIRE = Wire(_request_facts, _response_facts, _was_not_sent)


class GuardAdapter(requests.adapters.HTTPAdapter):
    """An adapter for `requests.Session` that sends each request through a guard: `session.mount("https://", GuardAdapter(guard))`.

    `guard` is a `Guard`, a `Retry`, or another object with `call`. `key` is a function of the prepared request that returns the key of
    `guard.key`, for a guard with keyed layers, such as `lambda request: urlsplit(request.url).hostname`. `limiter` is lowered to what each
    response says: see `heed`. `options` are those of an `HTTPAdapter`.

    Which responses are errors for the guard, and which requests are sent again, is as in `sluicegate.http.httpx.GuardTransport`.

    Raises TypeError or ValueError for an invalid argument.
    """

    def __init__(
        self,
        guard: Caller,
        *,
        key: Callable[[requests.PreparedRequest], Any] | None = None,
        limiter: RateLimiter | KeyedLimiter | None = None,
        statuses: Collection[int] = STATUSES,
        repeatable: Callable[[requests.PreparedRequest], bool] | None = None,
        **options: Any,
    ) -> None:
        self._calls: Calls = Calls(_WIRE, guard, key, limiter, statuses, repeatable)
        super().__init__(**options)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object: its guard is not to be pickled")

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send a request: the interface of an adapter."""
        send = super().send
        return self._calls.send(request, lambda: send(request, *args, **options), _read, requests.Response.close)


def _read(response: requests.Response) -> None:
    """Read the body as it came, which frees the connection: it is decoded by whoever gets the response."""
    raw: Any = response.raw
    body = b""
    try:
        while len(body) < SMALL and (piece := raw.read(SMALL - len(body), decode_content=False)):
            body += piece
    except ProtocolError as error:  # as requests translates them
        raise requests.exceptions.ChunkedEncodingError(error, response=response) from error
    except HTTPError as error:
        raise requests.ConnectionError(error, response=response) from error
    response.raw = HTTPResponse(
        io.BytesIO(body),
        raw.headers,
        raw.status,
        raw.version,
        raw.reason,
        preload_content=False,
        original_response=raw._original_response,  # of which the session takes the cookies
        enforce_content_length=False,  # that has been seen to
    )
