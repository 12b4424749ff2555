"""Limits in HTTP: reading them from the headers of a response, stating one's own, and the address of a client.

The middlewares for servers are in `sluicegate.http.asgi` and `sluicegate.http.wsgi`; what a client uses is in `sluicegate.http.httpx`,
`sluicegate.http.aiohttp` and `sluicegate.http.requests`. Nothing here needs a package beyond the standard library before it is imported.
"""

from __future__ import annotations

from sluicegate._retry_after import parse_retry_after
from sluicegate.http._addresses import client_address
from sluicegate.http._admission import Route
from sluicegate.http._calls import ErrorResponse, TooManyRequests
from sluicegate.http._heed import heed
from sluicegate.http._limits import Limit, limit_headers, read_limits, read_retry_after
from sluicegate.http._problems import Refusal

__all__ = [
    "ErrorResponse",
    "Limit",
    "Refusal",
    "Route",
    "TooManyRequests",
    "client_address",
    "heed",
    "limit_headers",
    "parse_retry_after",
    "read_limits",
    "read_retry_after",
]

for _each in ErrorResponse, Limit, Refusal, Route, TooManyRequests:
    _each.__module__ = __name__
for _each in client_address, heed, limit_headers, parse_retry_after, read_limits, read_retry_after:
    _each.__module__ = __name__
del _each
