"""Rates, durations and shares as people write them: `1000/s`, `1m30s`, `0.1%`."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

_NAMES = {
    1e-9: ("ns",),
    1e-6: ("us", "\N{MICRO SIGN}s", "\N{GREEK SMALL LETTER MU}s"),
    1e-3: ("ms",),
    1.0: ("s", "sec", "second", "seconds"),
    60.0: ("m", "min", "minute", "minutes"),
    3600.0: ("h", "hour", "hours"),
    86400.0: ("d", "day", "days"),
}
SECONDS = {name: size for size, names in _NAMES.items() for name in names}
MULTIPLES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}

_NUMBER = r"(?:\d[\d_,]*(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?"
_RATE = re.compile(rf"({_NUMBER})\s*([kKMG]?)\s*(?:/|\bper\b)\s*(.+)")
_PART = re.compile(rf"\s*({_NUMBER})\s*([^\W\d_]+)")
_SHARE = re.compile(rf"({_NUMBER})\s*(%?)")


def rate(text: str) -> float:
    """Return items a second."""
    found = _RATE.fullmatch(text.strip())
    per = None if found is None else SECONDS.get(found[3]) or _sum(found[3])
    if found is None or not per:
        raise ArgumentTypeError(f"{text!r} is not a rate: write it as 1000/s, 60/min, 3.5k/s or 100/10s")
    value = _number(found[1]) * MULTIPLES[found[2]] / per
    return _in_range(text, value, "rate", "1e15 a second")


def duration(text: str) -> float:
    """Return seconds."""
    value = _sum(text.strip())
    if value is None:
        raise ArgumentTypeError(f"{text!r} is not a duration: write it as 2s, 100ms or 1m30s")
    return _in_range(text, value, "duration", "1e15 seconds")


def share(text: str) -> float:
    """Return a part of a whole."""
    found = _SHARE.fullmatch(text.strip())
    if found is None:
        raise ArgumentTypeError(f"{text!r} is not a share: write it as 0.1% or 0.001")
    value = _number(found[1]) / (100 if found[2] else 1)
    if not 0 < value < 1:
        raise ArgumentTypeError(f"{text!r} must be more than nothing and less than all: write one tenth of a percent as 0.1% or 0.001")
    return value


def _sum(text: str) -> float | None:
    """Several parts, the largest unit first: 1h2m3.5s."""
    total, place, smallest = 0.0, 0, float("inf")
    while place < len(text):
        part = _PART.match(text, place)
        unit = None if part is None else SECONDS.get(part[2])
        if part is None or unit is None or unit >= smallest:
            return None
        total, place, smallest = total + _number(part[1]) * unit, part.end(), unit
    return total if place else None


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("_", ""))


def _in_range(text: str, value: float, what: str, most: str) -> float:
    if value <= 0:
        raise ArgumentTypeError(f"{text!r}: a {what} must be positive")
    if not 1e-15 <= value <= 1e15:
        raise ArgumentTypeError(f"{text!r}: a {what} must be between 1e-15 and {most}")
    return value
