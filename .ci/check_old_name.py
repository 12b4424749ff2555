#!/usr/bin/env python3
"""The name that the project had before stands nowhere but in the line of CHANGELOG.md that says so (and from which it is read here)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def main() -> int:
    top = Path(__file__).resolve().parent.parent
    said = re.search(r"Its old name was `(\w+)`", (top / "CHANGELOG.md").read_text(encoding="utf-8"))
    if said is None:
        print("CHANGELOG.md no longer says what the old name was")
        return 1
    name = said[1]
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=top, capture_output=True, text=True, check=True
    )
    found = [f"{file}: its name" for file in files.stdout.splitlines() if name in file.casefold()]
    for file in map(Path, files.stdout.splitlines()):
        text = (top / file).read_bytes().decode(errors="replace") if (top / file).is_file() else ""
        lines = enumerate(text.splitlines(), 1)
        found += [
            f"{file}:{at}: {line.strip()}"
            for at, line in lines
            if name in line.casefold() and not (file.name == "CHANGELOG.md" and said[0] in line)
        ]
    if found:
        print("the old name is back:", *found, sep="\n  ")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
