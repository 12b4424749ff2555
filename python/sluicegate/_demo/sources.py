"""What the demo reads: Python files, cut into pieces, and the identifiers in them.

A *piece* is a line, or the run of lines that a multi-line string holds together. No piece begins or ends inside a
token, so pieces can be tokenised in any order, by any worker, alone or joined: the result is the same.
"""

from __future__ import annotations

import io
import os
import re
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path

# What `count` joins pieces with. No token holds one, so that a quote that is never closed (in a file that Python would
# refuse) reaches no further than its piece.
_SEAM = "\0"

# One string literal without its prefix; a backslash protects the next character, a newline included.
_STRING = r"""
    '''[^'\\\0]*(?:(?:\\.|'(?!''))[^'\\\0]*)*'''
  | \"""[^"\\\0]*(?:(?:\\.|"(?!""))[^"\\\0]*)*\"""
  | '[^'\\\n\0]*(?:\\.[^'\\\n\0]*)*'
  | "[^"\\\n\0]*(?:\\.[^"\\\n\0]*)*"
"""

# Code, comments and whole strings up to the end of a line. A quote that opens nothing is skipped. Every character matches
# one alternative only where it stands: the pattern never backtracks.
_PIECE = re.compile(rf"(?: [^\n'\"\#]+ | \#[^\n]* | {_STRING} | ['\"] )* \n", re.VERBOSE | re.DOTALL)

# The group is set for names alone; strings (with their prefix), comments and numbers match without it.
_TOKEN = re.compile(
    rf"""([^\W\d]\w*)\b(?!['"]) | \#[^\n]* | [bBfFrRtTuU]{{0,2}}(?:{_STRING}) | \d\w*\.?\w*(?:(?<=[eE])[+-]\d\w*)?""",
    re.VERBOSE | re.DOTALL,
)

_SKIPPED_DIRECTORIES = frozenset({"site-packages", "dist-packages", "__pycache__"})


@dataclass(frozen=True)
class Source:
    """The text of a file, ending in a newline unless it is empty, and whether bytes of it had to be replaced."""

    text: str
    damaged: bool


@dataclass(frozen=True)
class Count:
    """What one batch of pieces held."""

    lines: int
    names: dict[str, int]


def standard_library() -> Path:
    """Return the directory of the running Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def find_files(path: Path) -> list[Path]:
    """Return the .py files under `path` (or `path` itself, if it is a file) in an order that never changes."""
    if path.is_file():
        return [path]
    found: list[Path] = []
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = sorted(set(subfolders) - _SKIPPED_DIRECTORIES)
        files = (Path(folder, name) for name in sorted(names) if name.endswith(".py"))
        found.extend(file for file in files if file.is_file())
    return found


def read_source(path: Path, fetch: Callable[[Path], bytes] = Path.read_bytes) -> Source:
    """Read a file as Python would; what cannot be decoded, and NULs, are replaced, not refused."""
    found = fetch(path)
    data = found.replace(_SEAM.encode(), b"?")
    damaged = data != found
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        text = data.decode("utf-8", errors="replace")
        damaged = True
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace(_SEAM, "?")
    if text and not text.endswith("\n"):
        text += "\n"
    return Source(text, damaged)


def cut(text: str) -> list[str]:
    """Cut a source text into pieces; joined, they are the text again."""
    return _PIECE.findall(text)


def count(pieces: list[str]) -> Count:
    """Count the lines and the identifiers (names that are not keywords) of a batch of pieces."""
    text = _SEAM.join(pieces)
    found = Counter(_TOKEN.findall(text))
    names = {name: times for name, times in found.items() if name and not iskeyword(name)}
    return Count(text.count("\n"), names)
