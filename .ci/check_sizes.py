#!/usr/bin/env python3
"""No file too long to be read at one sitting: fails for those with more than 500 lines of code.

A line of code is one with something on it beside comments and docstrings; Rust's test modules do not count.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from pathlib import Path

MOST = 500
NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def rust(text: str) -> int:
    # A test module ends with the first brace in the column where it began.
    text = re.sub(r"^( *)#\[cfg\((?:all\()?test\b.*\n(?: *#\[.*\n)* *(?:pub )?mod \w+ \{\n(?:.*\n)*?\1\}$", "", text, flags=re.MULTILINE)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith("//"))


def python(text: str) -> int:
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node, clean=False):
            docstring = node.body[0]
            docstrings.update(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


def main() -> int:
    top = Path(__file__).resolve().parent.parent
    count = {".rs": rust, ".py": python}  # not stubs: the binary is one module, and its stub declares and does nothing
    files = [file for folder in ("src", "python/sluicegate") for file in (top / folder).rglob("*") if file.suffix in count]
    sizes = {file: count[file.suffix](file.read_text(encoding="utf-8")) for file in files}
    long = sorted((size, file) for file, size in sizes.items() if size > MOST)
    for size, file in long:
        print(f"{file.relative_to(top)}: {size} lines of code, more than {MOST}")
    return bool(long)


if __name__ == "__main__":
    sys.exit(main())
