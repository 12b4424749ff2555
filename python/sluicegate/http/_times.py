"""When a limit is reset, in all the ways in which servers say it: seconds, moments, durations, dates.

What a number means is told from its size: seconds since the epoch, or milliseconds, if it is so large that it cannot be a wait.
What cannot be read is unknown (None), never zero: zero would be an invitation.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from sluicegate._retry_after import parse_retry_after

__all__ = ["parse_reset"]

#: Longer than anything that is a moment.
_LONGEST = 128
_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]*)?", re.ASCII)
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?)(ns|us|\u00b5s|\u03bcs|ms|h|m|s)", re.ASCII)
_DURATION = re.compile(f"(?:{_PART.pattern})+", re.ASCII)  # Go's `Duration.String()`
_UNITS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?\s*([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
# JavaScript's `Date.toString()`: Thu Nov 26 2026 21:18:38 GMT+0100 (Central European Standard Time)
_JAVASCRIPT = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2} \d\d \d{4} \d\d:\d\d:\d\d) GMT([+-]\d{4})(?: \([^()]*\))?", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: Numbers from here on are moments: in seconds since 2001, or in milliseconds since 1973.
_SECONDS, _MILLISECONDS = 1e9, 1e11


def parse_reset(text: str, now: float) -> float | None:
    """Return the seconds from `now` (since the epoch) to the moment that `text` tells, at least 0.0, or None if it cannot be read."""
    text = text.strip(" \t")
    if not text or len(text) > _LONGEST:
        return None
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number >= _SECONDS:
            number = (number / 1000 if number >= _MILLISECONDS else number) - now
        return max(0.0, number)
    if _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        return round(seconds, 9)
    moment = _iso(text)
    if moment is None:
        moment = _javascript(text)
    if moment is None:
        return parse_retry_after(text, now=now)  # the date of RFC 9110
    return max(0.0, moment - now)


def _iso(text: str) -> float | None:
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    date, time, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{time}").replace(tzinfo=_zone(zone))
        return moment.timestamp() + (float(f"0.{fraction}") if fraction else 0.0)
    except (ValueError, OverflowError):
        return None


def _javascript(text: str) -> float | None:
    found = _JAVASCRIPT.fullmatch(text)
    if found is None:
        return None
    month, day, year, time = found[1].split(" ")
    try:  # not `strptime`: its names of months are those of the locale
        moment = datetime.fromisoformat(f"{year}-{_MONTHS.index(month) + 1:02}-{day}T{time}")
        return moment.replace(tzinfo=_zone(found[2])).timestamp()
    except (ValueError, OverflowError):
        return None


def _zone(text: str | None) -> timezone:
    if text is None or text in "Zz":
        return timezone.utc
    sign, digits = text[0], text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if sign == "-" else offset)
