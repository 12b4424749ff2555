"""`heed`: a limiter follows what the headers of a response say."""

from __future__ import annotations

from math import inf

from sluicegate._core import RateLimiter, RateLimits
from sluicegate._retry_after import LONGEST_PAUSE
from sluicegate.http._limits import read_limits, read_retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from sluicegate.http._limits import Headers

__all__ = ["REFUSALS", "heed"]

#: The responses by which a server refuses: 403 is GitHub's, if it says when to come back.
REFUSALS = frozenset({403, 429, 503})


def heed(
    limiter: RateLimiter,
    headers: Headers,
    *,
    status: int | None = None,
    now: float | datetime | None = None,
) -> None:
    """Lower a limiter to what the headers of a response say, so that what shares it asks no more than the server has left.

    If the server says that less remains than the limiter would admit, the limiter is debited with the difference. If nothing remains, it is
    paused until the limit is reset; and if the `status` is 429, 503 or 403, for as long as `read_retry_after` says. No pause is longer than
    600 seconds. The limiter's rate is not changed, so it never admits more than it would have by itself.

    Of a `RateLimits`, each limiter heeds what the server says of its name, or of the unit of that name, such as "tokens"; the pause is for
    all of them. Any other limiter heeds the limits in requests.

    Raises TypeError for headers or a status of another type, and for a `limiter` that is not one.
    """
    if not isinstance(limiter, RateLimiter):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
        raise TypeError(f"'limiter' must be a limiter, and of a keyed limiter that of one key, not {limiter!r}")
    if status is not None and (isinstance(status, bool) or not isinstance(status, int)):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
        raise TypeError(f"'status' must be an int or None, not {status!r}")
    leaves: Any = limiter.limits if isinstance(limiter, RateLimits) else {"requests": limiter}
    for limit in read_limits(headers, now=now):
        leaf: Any = leaves.get(limit.name) if isinstance(limiter, RateLimits) else None
        if leaf is None:
            leaf = leaves.get(limit.unit)
        if limit.remaining is None or not isinstance(leaf, RateLimiter):
            continue
        more: float = leaf.tokens - limit.remaining
        if 0 < more < inf:  # an UnlimitedRate cannot be lowered
            leaf.debit(more)
        if limit.remaining < 1 and limit.reset_after is not None:
            leaf.pause_for(min(limit.reset_after, LONGEST_PAUSE))
    if status in REFUSALS:
        retry_after = read_retry_after(headers, status=status, now=now)
        if retry_after is not None:
            limiter.pause_for(min(retry_after, LONGEST_PAUSE))
