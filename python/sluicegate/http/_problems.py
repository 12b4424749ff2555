"""The refusal of a request, and the answer to it: a problem (RFC 9457)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Refusal", "problem"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was refused: `status`, after how many seconds a new one is worthwhile, and the headers that tell the client.

    `retry_after` is infinite for a request that costs more than its limit ever admits; its status is 413, and it has no Retry-After.
    `limit` is the name of the limiter, or None if it has none.
    """

    status: int
    retry_after: float
    limit: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


_TITLES = {413: "Content Too Large", 429: "Too Many Requests", 503: "Service Unavailable"}
_TYPES = {
    413: "about:blank",
    429: "https://iana.org/assignments/http-problem-types#quota-exceeded",
    503: "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
}


@lru_cache(maxsize=256)
def _body(status: int, limit: str | None) -> bytes:
    fields: dict[str, Any] = {"type": _TYPES[status], "title": _TITLES[status], "status": status}
    if status == 413:
        fields["detail"] = f"The request costs more than the limit {limit or 'default'!r} ever admits."
    if status == 429:
        fields["violated-policies"] = [limit or "default"]
    return json.dumps(fields).encode()


def problem(refusal: Refusal) -> tuple[list[tuple[str, str]], bytes]:
    """Return the headers and the body (RFC 9457) of the answer to a request that is refused."""
    body = _body(refusal.status, refusal.limit)
    return [*refusal.headers.items(), ("Content-Type", "application/problem+json"), ("Content-Length", str(len(body)))], body
