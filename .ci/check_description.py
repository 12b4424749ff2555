#!/usr/bin/env python3
"""What sluicegate is stands in one sentence, pyproject.toml's description; README, package and crates say the same."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def read(name: str) -> str:
    return (TOP / name).read_text(encoding="utf-8")


def described(text: str) -> str | None:
    found = re.search(r'^description = "(.*)"$', text, re.MULTILINE)
    return found and found[1]


def elsewhere(sentence: str) -> Iterator[str]:
    if described(read("Cargo.toml")) != sentence:
        yield "Cargo.toml"
    for file in ("Cargo.toml", "src/py/Cargo.toml", "benches/core/Cargo.toml"):
        if "\ndescription.workspace = true\n" not in read(file):
            yield f"{file}: the description is not that of the workspace"
    if not " ".join(read("README.md").split()).startswith(f"# sluicegate {sentence}. "):
        yield "README.md: the first sentence"
    if not read("python/sluicegate/__init__.py").startswith(f'"""{sentence}.\n'):
        yield "python/sluicegate/__init__.py: the first line"


def main() -> int:
    sentence = described(read("pyproject.toml")) or ""
    wrong = list(elsewhere(sentence))
    if wrong:
        print(f"pyproject.toml says {sentence!r}, but not", *wrong, sep="\n  ")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
