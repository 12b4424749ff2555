#!/usr/bin/env python3
"""Copies the docstrings of the built extension into its stub, where editors find them. `--check` only says whether they are those.

Names, signatures and types in the stub are written by hand; stubtest compares them with the binary.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import sluicegate
from sluicegate import _core, io, testing

STUB = Path(__file__).resolve().parent.parent / "python/sluicegate/_core.pyi"
# What puts methods on the classes of the first: the next two, and the modules from which the package imports a name when it is asked for.
MODULES = (_core, io, testing, *(getattr(sluicegate, name) for name in sluicegate.__all__))
Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def documented(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Documented]]:
    """What may have a docstring, with its qualified name; of overloads the first, which has it for all."""
    seen: set[str] = set()
    for node in body:
        if isinstance(node, Documented):
            name = f"{prefix}{node.name}"
            if name not in seen and not any(ast.unparse(each).endswith((".setter", ".deleter")) for each in node.decorator_list):
                seen.add(name)
                yield name, node
            if isinstance(node, ast.ClassDef):
                yield from documented(node.body, f"{name}.")


def docstring(name: str) -> str | None:
    """The binary's: of classes and what is public in them, and of the special methods that are written in Python."""
    thing = _core
    for part in name.split("."):
        thing = vars(thing).get(part)
        if thing is None:
            return None
    last = name.rpartition(".")[2]
    if last.startswith("_") and not (last.endswith("__") and isinstance(thing, types.FunctionType)):
        return None
    return inspect.cleandoc(thing.__doc__) if thing.__doc__ else None


def lines_of(text: str, indent: int) -> list[str]:
    text = text.replace("\\", "\\\\").replace('"""', r"\"\"\"")
    first, *rest = text.splitlines()
    pad = " " * indent
    if not rest:
        return [f'{pad}"""{first}"""']
    return [f'{pad}"""{first}', *(f"{pad}{line}".rstrip() for line in rest), f'{pad}"""']


def changed(source: str) -> str:
    """The stub with every docstring replaced, from the last to the first so that line numbers stay true."""
    lines = source.splitlines()
    for name, node in sorted(documented(ast.parse(source).body), key=lambda each: -each[1].lineno):
        new, body = docstring(name), node.body[0]
        if new == ast.get_docstring(node):
            continue
        text = lines_of(new, node.col_offset + 4) if new else []
        start, end = body.lineno - 1, body.end_lineno or body.lineno
        if ast.get_docstring(node):
            lines[start:end] = text if text or len(node.body) > 1 else [" " * body.col_offset + "..."]
        elif isinstance(body, ast.Expr) and isinstance(body.value, ast.Constant) and body.value.value is ...:
            lines[start:end] = [lines[start][: body.col_offset].rstrip(), *text]
        else:
            lines[start:start] = text
    return "\n".join(lines) + "\n"


def main() -> int:
    source = STUB.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        stale = [name for name, node in documented(ast.parse(source).body) if ast.get_docstring(node) != docstring(name)]
        if stale:
            print(f"{STUB.name} is stale (make stubs):", *stale, sep="\n  ")
        return bool(stale)
    STUB.write_text(changed(source), encoding="utf-8")
    return subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", STUB], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
