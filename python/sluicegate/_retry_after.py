"""When a server wants to be asked again: the header Retry-After (RFC 9110, 10.2.3), and what an exception says of it.

A value that cannot be read counts as absent: it comes from somebody else's server, and is no mistake of the program's.
"""

from __future__ import annotations

import math
import re
import sys

from sluicegate._core import LONGEST_RETRY_AFTER as LONGEST_PAUSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any

__all__ = ["LONGEST_PAUSE", "parse_retry_after", "retry_after_of", "sent_at", "told_retry_after"]

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+", re.ASCII)
#: A member of a list. A date has a comma of its own, after the day of the week.
_MEMBER = re.compile(r"(?:[ \t]*(?i:mon|tue|wed|thu|fri|sat|sun)[A-Za-z]{0,6},)?[^,]+", re.ASCII)
#: A longer value is not read: a date or a number is shorter, and so is a list of a few of them.
_LONGEST = 256


def parse_retry_after(value: object, *, now: float | datetime | None = None) -> float | None:
    """Return the seconds that the value of a Retry-After header asks for, or None if there is none or it cannot be read.

    The value is a number of seconds, also with a fraction, as some servers send it, or an HTTP date, in any of its three forms; a date in
    the past is 0.0. Where a proxy has added a header of its own, and the value is a list, the longest time counts. `now` is the time that a
    date is compared with, such as the response's own Date: seconds since the epoch, or a `datetime` with a time zone; the system's clock by
    default.

    Raises TypeError for a `now` that is not a time.
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        seconds = _as_float(value)
        return seconds if 0 <= seconds < math.inf else None
    if not isinstance(value, (str, bytes)) or len(value) > _LONGEST:
        return None
    text = (value.decode("latin-1") if isinstance(value, bytes) else value).strip(" \t")
    told = [_seconds(each.strip(" \t"), now) for each in _MEMBER.findall(text)]
    return max((seconds for seconds in told if seconds is not None), default=None)


def _seconds(text: str, now: float | datetime | None) -> float | None:
    if _NUMBER.fullmatch(text):
        seconds = _as_float(text)
        return seconds if seconds < math.inf else None
    moment = _epoch(text)
    return None if moment is None else max(0.0, moment - _now(now))


def _parse_milliseconds(value: object) -> float | None:
    """Return the seconds that the value of a retry-after-ms header asks for, or None if it is no number. A date is none here."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if isinstance(text, str) and ":" in text:
        return None
    milliseconds = parse_retry_after(text)
    return None if milliseconds is None else milliseconds / 1000


def _as_float(value: float | str) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _epoch(text: str) -> float | None:
    # Only what has letters and a time of day: the parser of the standard library makes a date of much else.
    if ":" not in text or not text[:1].isalpha():
        return None
    from datetime import timezone
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=timezone.utc)
        return date.timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):  # 3.10 raises a TypeError for what is no date
        return None


def _now(now: float | datetime | None) -> float:
    if now is None:
        import time

        return time.time()
    stamp = getattr(now, "timestamp", None)
    if stamp is not None and getattr(now, "tzinfo", None) is not None:
        return stamp()
    # (No int is converted: it could be larger than any float.)
    if isinstance(now, bool) or not isinstance(now, (int, float)) or not -sys.float_info.max <= now <= sys.float_info.max:
        raise TypeError(f"'now' must be seconds since the epoch or a datetime with a time zone, not {now!r}")
    return float(now)


def sent_at(get: Callable[[str], object]) -> float | None:
    """Return when a response was sent by its own Date, in seconds since the epoch, or None if it does not say so.

    A date in the same response is compared with it, so that it does not matter whether the two clocks agree.
    """
    date = get("date")
    text = date.decode("latin-1") if isinstance(date, bytes) else date
    return parse_retry_after(text, now=0.0) if isinstance(text, str) and ":" in text else None


def told_retry_after(get: Callable[[str], object], *, now: float | datetime | None = None) -> float | None:
    """Return the seconds for which the headers of a response ask, of which `get` returns one by its name in lower case, or None.

    A date is compared with `now`, which is by default the response's own Date, or the system's clock if there is none.
    """
    told = _parse_milliseconds(get("retry-after-ms"))
    if told is not None:
        return told
    for name in ("retry-after", "x-ratelimit-retry-after"):
        value = get(name)
        if value is not None:
            told = parse_retry_after(value, now=sent_at(get) if now is None else now)
            if told is not None:
                return told
    return None


_TOLD = frozenset({"date", "retry-after", "retry-after-ms", "x-ratelimit-retry-after"})


def _getter(headers: Any) -> Callable[[str], object]:
    """Return a function that returns the value of a header of those above: a plain dict has the names as they were sent.

    Those that were sent more than once are joined to a list, as RFC 9110, section 5.2, allows.
    """
    found: dict[str, object] = {}
    for name, value in headers.items() if hasattr(headers, "items") else headers:
        told = (name.decode("latin-1") if isinstance(name, bytes) else name).lower()
        if told in _TOLD:
            sent = value.decode("latin-1") if isinstance(value, bytes) else value
            before = found.get(told)
            if before is None:
                found[told] = sent
            elif isinstance(before, str) and told != "date" and len(before) <= _LONGEST:  # longer is not read, and joining it takes time
                found[told] = f"{before}, {sent}"
    return found.get


def retry_after_of(error: BaseException) -> float | None:
    """Return the seconds for which an exception asks, by its `retry_after` or its response's headers; infinity is an answer too."""
    try:
        told = getattr(error, "retry_after", None)
        if told is not None:
            if hasattr(told, "total_seconds"):
                told = told.total_seconds()
            if isinstance(told, int):  # which may be larger than any float
                told = min(told, sys.float_info.max)
            return math.inf if told == math.inf else parse_retry_after(told)
        headers = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
        return None if headers is None else told_retry_after(_getter(headers))
    except Exception:  # noqa: BLE001 - somebody else's attributes: what cannot be read is absent
        return None
