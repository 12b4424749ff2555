"""How long to wait before the next attempt: pure arithmetic, which knows neither a clock nor an error.

The delays double, are cut off at a cap, and only then made random, so that clients that have reached the cap do not come back in step.
The kinds of jitter are those of Marc Brooker's "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).
"""

from __future__ import annotations

from sluicegate._classes import public
from sluicegate._core import _duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from typing import Literal, TypeAlias

    _Seconds: TypeAlias = float | timedelta
    Jitter: TypeAlias = Literal["full", "equal", "decorrelated", "none"]

__all__ = ["Backoff"]


def _full(ceiling: float, _base: float, _cap: float, _previous: float, share: float) -> float:
    return ceiling * share


def _equal(ceiling: float, _base: float, _cap: float, _previous: float, share: float) -> float:
    return ceiling * (0.5 + 0.5 * share)


def _decorrelated(_ceiling: float, base: float, cap: float, previous: float, share: float) -> float:
    # Cut off before the draw, as the others are: the blog's rule cuts off after it, and its clients are in step at the cap.
    return base + (max(base, min(cap, previous * 3)) - base) * share


def _none(ceiling: float, _base: float, _cap: float, _previous: float, _share: float) -> float:
    return ceiling


_JITTERS = {"full": _full, "equal": _equal, "decorrelated": _decorrelated, "none": _none}

#: Beyond this a doubled base is larger than any cap, or infinite.
_MOST_DOUBLINGS = 1000


@public
class Backoff:
    """Delays that double from `base` seconds up to `cap` seconds, made random by `jitter`.

    With `ceiling = min(cap, base * 2 ** n)` before retry `n`, counted from 0, and `U(a, b)` a random number between the two, the delay is

    - "full": `U(0, ceiling)`
    - "equal": `ceiling / 2 + U(0, ceiling / 2)`
    - "decorrelated": `U(base, min(cap, 3 * previous))`, where `previous` is the delay before (at first `base`)
    - "none": `ceiling`. All clients that failed at the same moment come back at the same moment.

    Raises ValueError, TypeError or OverflowError for an invalid argument.
    """

    __slots__ = ("__weakref__", "_base", "_cap", "_draw", "_jitter")

    def __init__(self, base: _Seconds = 0.1, cap: _Seconds = 20.0, *, jitter: Jitter = "full") -> None:
        self._base: float = _duration("base", base)
        self._cap: float = _duration("cap", cap)
        if self._base > self._cap:
            raise ValueError(f"'base', {self._base:g}, must be at most 'cap', {self._cap:g}")
        draw = next((draw for name, draw in _JITTERS.items() if name == jitter), None)
        if draw is None:
            raise ValueError(f"'jitter' must be one of {', '.join(map(repr, _JITTERS))}, not {jitter!r}")
        self._jitter: Jitter = jitter
        self._draw: Callable[[float, float, float, float, float], float] = draw

    @property
    def base(self) -> float:
        """The largest delay before the first retry, in seconds."""
        return self._base

    @property
    def cap(self) -> float:
        """The largest delay, in seconds."""
        return self._cap

    @property
    def jitter(self) -> Jitter:
        """How the delays are made random."""
        return self._jitter

    def delay(self, retry: int, previous: float, share: float) -> float:
        """Return the seconds before a retry, counted from 0. `previous` is the delay before it, `share` a random number in [0, 1)."""
        ceiling = min(self._cap, self._base * 2.0 ** min(retry, _MOST_DOUBLINGS))
        return self._draw(ceiling, self._base, self._cap, previous or self._base, share)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return (self._base, self._cap, self._jitter) == (other._base, other._cap, other._jitter)

    def __hash__(self) -> int:
        return hash((self._base, self._cap, self._jitter))

    def __repr__(self) -> str:
        return f"Backoff({self._base!r}, {self._cap!r}, jitter={self._jitter!r})"
