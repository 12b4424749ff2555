"""The paths of routes: what belongs to a request's method and path.

A route is found by one regular expression, whatever the number of routes, in time that grows with the length of a request's path and no
faster: the path is chosen by whoever asks.
"""

from __future__ import annotations

import re
from typing import Generic, TypeVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Paths"]

_T = TypeVar("_T")

#: The patterns of frameworks, `<id>` and `:id`, and what is not in the path of a request: they would fit none, which then had no limit.
_NOT_A_PATH = re.compile(r"[<>?#]|/:")


class Paths(Generic[_T]):
    """Finds what belongs to a method and a path; the first pattern that fits decides."""

    def __init__(self, argument: str, patterns: Iterable[tuple[str, Iterable[str] | None, _T]]) -> None:
        parts: list[str] = []
        self._values: dict[int, _T] = {}
        groups = 0
        for path, methods, value in patterns:
            if not isinstance(path, str) or not path.startswith(("/", "*")):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
                raise ValueError(f"'{argument}' must have paths that begin with '/', not {path!r}")
            self._values[groups + 1] = value
            pattern, inner = _pattern(argument, path, groups + 2)
            parts.append(f"({_methods(argument, methods)} {pattern})")
            groups += 1 + inner
        self._match: Callable[[str], re.Match[str] | None] | None = (
            re.compile("|".join(parts), re.DOTALL | re.ASCII).fullmatch if parts else None
        )

    def find(self, method: str, path: str, otherwise: _T) -> _T:
        """Return what belongs to the first pattern that fits."""
        if self._match is None:
            return otherwise
        found = self._match(f"{method.upper()} {path}")  # as frameworks read it, whatever the client has written
        # The group of a whole pattern is the last one to be closed.
        return otherwise if found is None or found.lastindex is None else self._values[found.lastindex]


def _methods(argument: str, methods: Iterable[str] | None) -> str:
    if methods is None:
        return "[^ ]+"
    names = [methods] if isinstance(methods, str) else list(methods)
    if not names or not all(isinstance(name, str) and re.fullmatch(r"[A-Za-z-]+", name) for name in names):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
        raise ValueError(f"'{argument}' must have methods such as 'POST', not {methods!r}")
    names = [name.upper() for name in names]
    return f"(?:{'|'.join([*names, 'HEAD'] if 'GET' in names else names)})"


def _pattern(argument: str, path: str, group: int) -> tuple[str, int]:
    """Return the regular expression for a path, whose groups are numbered from `group` on, and how many it has.

    It fits or fails in linear time. A name with another one behind it in the same segment ends where the text between them comes first: if
    the rest does not fit there, it fits nowhere, because a name takes any text. That place is found in a lookahead, into which a search
    never goes back. (Python 3.10 has no atomic groups.) Other names end at one place only.
    """
    whole, has_rest = (path[:-1], True) if path.endswith("*") else (path, False)
    pieces = re.split(r"\{[A-Za-z_][A-Za-z0-9_]*\}", whole)
    if any(letter in piece for piece in pieces for letter in "{}*"):
        raise ValueError(f"'{argument}' must have paths with whole names in braces, and '*' at the end only, not {path!r}")
    if (found := _NOT_A_PATH.search(whole)) is not None:
        raise ValueError(
            f"'{argument}' must have paths without {found[0].lstrip('/')!r}, not {path!r}: write `{{id}}` for a segment of any text"
        )
    parts = [re.escape(pieces[0])]
    inner = 0
    for piece in pieces[1:]:
        text = f"[^/]+{re.escape(piece)}"
        if len(parts) < len(pieces) - 1 and "/" not in piece:
            text = f"(?=(?P<_{group + inner}>[^/]+?{re.escape(piece)}))(?P=_{group + inner})"
            inner += 1
        parts.append(text)
    return "".join(parts) + (".*" if has_rest else ""), inner
