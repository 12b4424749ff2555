"""Figures as `sluicegate.sizing` takes them, checked, and as it says them, in words. ASCII alone, for any terminal."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import SupportsFloat, SupportsIndex

from sluicegate._arguments import count

Number = SupportsFloat | SupportsIndex

_UNITS = (("day", 86400.0, 2.0), ("h", 3600.0, 2.0), ("min", 60.0, 2.0), ("s", 1.0, 1.0), ("ms", 1e-3, 1.0), ("microseconds", 1e-6, 1.0))
"""A unit, its seconds, and from how many of it on a time is said in it."""

_PERIODS = (("a second", 1.0), ("a minute", 60.0), ("an hour", 3600.0), ("a day", 86400.0))


def number(name: str, value: object) -> float:
    """Return a finite float, or say what is wrong with it."""
    if isinstance(value, bool) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise TypeError(f"'{name}' must be an int or float, not {value!r} ({type(value).__name__})")
    try:
        found = float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise OverflowError(f"'{name}' is too large: {str(value)[:20]}...") from None
    if not math.isfinite(found):
        raise ValueError(f"'{name}' must be finite, got {value!r}")
    return found


def positive(name: str, value: object) -> float:
    """Return a positive float."""
    found = number(name, value)
    if found <= 0:
        raise ValueError(f"'{name}' must be positive, got {value!r}")
    return found


def not_negative(name: str, value: object) -> float:
    """Return a float of at least 0."""
    found = number(name, value)
    if found < 0:
        raise ValueError(f"'{name}' must not be negative, got {value!r}")
    return found


def seconds(name: str, value: object) -> float:
    """Return a positive time in seconds."""
    return positive(name, value.total_seconds() if isinstance(value, timedelta) else value)


def whole(name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """Return an int of at least `least`."""
    return count(name, value, least, most)


def percentage(name: str, value: object) -> float:
    """Return a percentage from 1 to 100, 100 excluded. Less is taken for a fraction, which nobody means as a percentage."""
    found = number(name, value)
    if not 0 < found < 100:
        raise ValueError(f"'{name}' must be between 0 and 100, got {value!r}")
    if found < 1:
        raise ValueError(f"'{name}' is in per cent, got {value!r}: write {100 * found:g} for {100 * found:g} %")
    return found


def say_number(value: float) -> str:
    """Say a number to three digits: `1,234` or `0.123`."""
    if math.isinf(value):
        return "infinitely many"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def say_seconds(value: float) -> str:
    """Say a time in the unit that suits it."""
    if math.isinf(value):
        return "for ever"
    for unit, size, least in _UNITS:
        if value >= least * size * 0.9995:
            return f"{say_number(value / size)} {unit}{'s' * (unit == 'day')}"
    return f"{value * 1e9:.3g} ns" if value else "0 s"


def say_share(value: float) -> str:
    """Say a part of a whole in percent; what is not quite nothing or all is not rounded to it."""
    if 0 < value < 1e-6:
        return "less than 0.0001 %"
    if 0.9995 <= value < 1:
        return "more than 99.9 %"
    return f"{100 * value:.3g} %"


def say_rate(value: float) -> str:
    """Say how many items a second, or a minute, an hour or a day where that is a number."""
    unit, size = next(((unit, size) for unit, size in _PERIODS if value * size >= 0.9995), _PERIODS[-1])
    return f"{say_many(value * size, 'item')} {unit}"


def say_arriving(value: float) -> str:
    """Say how many items a second arrive."""
    rate = say_rate(value)
    return f"{rate} {'arrives' if rate.startswith('1 item ') else 'arrive'}"


def say_many(n: float, what: str) -> str:
    """Say a number of things."""
    return f"{say_number(n)} {what}{'' if 0.9995 <= n < 1.005 else 's'}"
