#!/usr/bin/env python3
"""The list of supported Pythons stands in pyproject.toml, as classifiers; whatever else names a Python says the same.

The Makefile reads the list. Workflows, README and settings of tools spell it out for their readers, and are compared here. The
workflows' actions are pinned by commit, with the release in a comment: a tag can be moved to other code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
#: The free-threaded builds that are supported: from here on.
FREE_THREADED_SINCE = (3, 14)


def read(name: str) -> str:
    return (TOP / name).read_text(encoding="utf-8")


def supported() -> list[str]:
    versions = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', read("pyproject.toml"))
    free_threaded = [f"{version}t" for version in versions if tuple(map(int, version.split("."))) >= FREE_THREADED_SINCE]
    return versions + free_threaded


def in_workflows(versions: list[str]) -> Iterator[str]:
    for file in sorted((TOP / ".github/workflows").glob("*.yml")):
        text = file.read_text(encoding="utf-8")
        named = set(re.findall(r"(?<![\d.])3\.\d+t?(?![\d.])", re.sub(r"#.*", "", text)))
        if named != set(versions):
            yield f"{file.name}: names {sorted(named)}, not {versions}"
        for wheels in re.findall(r"^ *INTERPRETERS: (.*)$", text, re.MULTILINE):
            if wheels.split() != [f"python{version}" for version in versions]:
                yield f"{file.name}: INTERPRETERS are {wheels}"
        for action in re.findall(r"uses: (.*)", text):
            if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*", action):
                yield f"{file.name}: {action} is not pinned as `@COMMIT # vRELEASE`"


def elsewhere(versions: list[str]) -> Iterator[str]:
    ordinary = [version for version in versions if not version.endswith("t")]
    oldest, newest = ordinary[0], ordinary[-1]
    said = {
        r"Python (?:>= )?(3\.\d+)(?= or newer|(?: with its venv module)|, Rust)": oldest,
        r"CPython (3\.\d+ to 3\.\d+)": f"{oldest} to {newest}",
        r'(?:requires-python = ">=|pythonVersion = "|python_version = ")(3\.\d+)"': oldest,
        r'target-version = "py(\d+)"': oldest.replace(".", ""),
    }
    for name in ("README.md", "CONTRIBUTING.md", "Makefile", ".ci/run", "pyproject.toml"):
        for pattern, expected in said.items():
            yield from (f"{name}: {found[0]!r}" for found in re.finditer(pattern, read(name)) if found[1] != expected)


def main() -> int:
    versions = supported()
    wrong = [*in_workflows(versions), *elsewhere(versions)]
    if wrong:
        print(f"pyproject.toml's classifiers say {' '.join(versions)}, but", *wrong, sep="\n  ")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
