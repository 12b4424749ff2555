#!/usr/bin/env python3
"""published.py ADDRESS TAG: prepares the sources for a package index, in place.

There a README is read away from its repository. So its links become absolute, to this address at this tag, and the package says where its
repository is. Both are known only where a release is made: of a clone nobody can tell where it will be published.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: A link or a picture: its target, unless that is absolute or in the same page.
RELATIVE = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s]+)(?=\))")


def absolute(text: str, address: str, tag: str) -> str:
    """The page with every relative link made absolute."""

    def target(match: re.Match[str]) -> str:
        path = match.group(1)
        kind = "tree" if path.endswith("/") else "blob"
        return f"{address}/{kind}/{tag}/{path.rstrip('/')}"

    return RELATIVE.sub(target, text)


def with_urls(text: str, address: str, tag: str) -> str:
    """pyproject.toml with the project's addresses."""
    pages = {
        "Repository": address,
        "Documentation": f"{address}/tree/{tag}/docs/guide",
        "Changelog": f"{address}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }
    table = "".join(f'{name} = "{page}"\n' for name, page in pages.items())
    before = "\n[project.optional-dependencies]\n"
    if text.count(before) != 1 or "[project.urls]" in text:
        raise ValueError("pyproject.toml is not as it was expected")
    return text.replace(before, f"\n[project.urls]\n{table}{before}")


def main() -> None:
    address, tag = sys.argv[1].rstrip("/"), sys.argv[2]
    for name, change in (("README.md", absolute), ("pyproject.toml", with_urls)):
        page = ROOT / name
        page.write_text(change(page.read_text(encoding="utf-8"), address, tag), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
