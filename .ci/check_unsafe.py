#!/usr/bin/env python3
"""`unsafe` is where CONTRIBUTING.md says that it is, and nowhere else.

The compiler denies it wherever a file does not allow it by name.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def main() -> int:
    top = Path(__file__).resolve().parent.parent
    rule = re.search(r"^- \*\*unsafe\*\*.*?(?=^- )", (top / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    listed = set(re.findall(r"`(src/[\w/.]+)`", rule[0] if rule else ""))
    allowing = re.compile(r"\b(?:allow|expect)\((?:[\w:]+, )*unsafe_code")
    files = {str(file.relative_to(top)) for file in (top / "src").rglob("*.rs") if allowing.search(file.read_text(encoding="utf-8"))}
    wrong = [f"{file} allows unsafe code, and CONTRIBUTING.md does not list it" for file in sorted(files - listed)]
    wrong += [f"{file} is listed in CONTRIBUTING.md, and allows no unsafe code" for file in sorted(listed - files)]
    if wrong:
        print(*wrong, sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
