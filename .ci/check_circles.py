#!/usr/bin/env python3
"""No import circle: prints the files that need each other, in Rust's crates and in the Python package, and fails if there are any.

Nor does anything in the binding point up, or one primitive to another: see the map in CONTRIBUTING.md.

A file needs what its paths name (`crate::a::b`, `super::c`, `child::d`; `import`, `from ... import`), tests apart. What a `mod.rs` only
passes on (`pub use child::Name`) it does not need; whoever names it there needs the child as well. A Python import inside a function
counts: it hides a circle from the interpreter, not from the reader.
"""

import ast
import re
import sys
from pathlib import Path

Graph = dict[Path, set[Path]]
Module = tuple[str, ...]

# What the folders of the binding may use beside themselves; `lib.rs` puts all of them together.
OF_ALL = {"rt"}
MORE = {"io": {"credits"}, "guard": {"adaptive", "breaker", "rate", "semaphore"}}

PASSED_ON = re.compile(r"\bpub(?:\([^)]*\))? use ([^;]*);")


class Crate:
    """The modules of a crate: their files, their text without comments and tests, and what each of them passes on."""

    def __init__(self, root: Path) -> None:
        self.files: dict[Module, Path] = {}
        for file in sorted(root.rglob("*.rs")):
            parts = file.relative_to(root).with_suffix("").parts
            self.files[parts[:-1] if parts[-1] in {"mod", "lib"} else parts] = file
        self.texts = {module: self._text(file) for module, file in self.files.items()}
        self.passed_on: dict[Module, dict[str, list[str]]] = {}
        for module, text in self.texts.items():
            uses = [path for use in PASSED_ON.findall(text) for path in branches(use)]
            self.passed_on[module] = {path[-1]: path for path in uses}

    @staticmethod
    def _text(file: Path) -> str:
        text = re.sub(r"//[^\n]*", "", file.read_text(encoding="utf-8"))
        return re.split(r"#\[cfg\((?:all\()?test\b", text, maxsplit=1)[0]

    def children_of(self, module: Module) -> set[str]:
        """The names of the modules in it."""
        return {key[-1] for key in self.files if key and key[:-1] == module}

    def needed(self, module: Module, path: list[str]) -> set[Path]:
        """The files that a path in this module names: where it leads, and whose name it is if a file on the way only passes it on."""
        head, *rest = path
        if head == "crate":
            base: Module = ()
        elif head == "super":
            base = module[:-1]
            while rest and rest[0] == "super":
                base, rest = base[:-1], rest[1:]
        else:
            base, rest = module, path
        found = max((n for n in range(len(rest) + 1) if base + tuple(rest[:n]) in self.files), default=0)
        target = base + tuple(rest[:found])
        further = self.passed_on[target].get(rest[found]) if found < len(rest) else None
        starts = {"crate", "super", *self.children_of(target)}
        owner = self.needed(target, further) if further and further[0] in starts and target != module else set()
        return {self.files[target]} | owner


def rust(root: Path) -> Graph:
    crate = Crate(root)
    graph: Graph = {}
    for module, whole in crate.texts.items():
        rest_of_it = PASSED_ON.sub("", whole)
        # Only passed on, or used here as well?
        text = PASSED_ON.sub(lambda use, rest=rest_of_it: use[0] if used(use[1], rest) else "", whole)
        text = re.sub(r"\bpub\([^)]*\)", "", text)  # visibility is not a dependency
        needs = {file for path in paths(text, crate.children_of(module)) for file in crate.needed(module, path)}
        graph[crate.files[module]] = needs - {crate.files[module]}
    return graph


def used(group: str, text: str) -> bool:
    return any(re.search(rf"\b{path[-1]}\b", text) for path in branches(group))


def paths(text: str, children: set[str]) -> list[list[str]]:
    """Every path that starts at `crate`, `super` or a child module, groups in braces spelled out."""
    found = []
    heads = "|".join(sorted({"crate", "super", *children}))
    for match in re.finditer(rf"(?<![\w:])({heads})((?:::\w+)+)?(::\{{)?", text):
        if match[2] is None and match[3] is None:
            continue
        path = [match[1], *(match[2] or "").split("::")[1:]]
        if match[3] is None:
            found.append(path)
            continue
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found += [path + branch for branch in branches(text[match.end() : end - 1])]
    return found


def branches(group: str) -> list[list[str]]:
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(group + ","):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(group[start:index].strip())
            start = index + 1
    found = []
    for part in filter(None, parts):
        name, brace, inner = part.partition("::{")
        path = re.sub(r"\s+as\s+\w+$", "", name).split("::")
        found += [path + rest for rest in branches(inner[:-1])] if brace else [path]
    return found


def python(root: Path) -> Graph:
    modules = {}
    for file in sorted([*root.rglob("*.py"), *root.rglob("*.pyi")]):
        parts = (root.name, *file.relative_to(root).with_suffix("").parts)
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    graph: Graph = {}
    for name, file in modules.items():
        needs = set()
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                up = package.split(".")[: len(package.split(".")) - max(node.level - 1, 0)] if node.level else []
                base = ".".join([*up, *([node.module] if node.module else [])])
                names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base for alias in node.names]
            else:
                continue
            needs |= {modules[each] for each in names if each in modules}
        # A stub describes what a binary module gives; it runs nothing, so it needs nothing.
        graph[file] = needs - {file} if file.suffix == ".py" else set()
    return graph


def circles(graph: Graph) -> list[list[Path]]:
    """The strongly connected components of more than one file (Tarjan)."""
    index: dict[Path, int] = {}
    low: dict[Path, int] = {}
    stack: list[Path] = []
    found = []

    def visit(node: Path) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def beyond(binding: Graph, root: Path) -> list[tuple[Path, Path]]:
    """Which file of the binding needs one that its folder may not use."""
    found = []
    for file, needs in binding.items():
        folder = file.relative_to(root).parts[0]
        if folder != "lib.rs":
            allowed = {folder, *OF_ALL, *MORE.get(folder, set())}
            found += [(file, each) for each in sorted(needs) if each.relative_to(root).parts[0] not in allowed]
    return found


def main() -> int:
    top = Path(__file__).resolve().parent.parent
    bad = False
    binding = rust(top / "src/py")
    for file, needed in beyond(binding, top / "src/py"):
        bad = True
        print(f"{file.relative_to(top)} needs {needed.relative_to(top)}, which its folder may not use")
    for graph in (rust(top / "src/core"), binding, python(top / "python/sluicegate")):
        for circle in circles(graph):
            bad = True
            print("import circle:")
            for file in circle:
                others = ", ".join(str(each.relative_to(file.parent.parent)) for each in sorted(graph[file] & set(circle)))
                print(f"  {file.relative_to(top)} needs {others}")
    return bad


if __name__ == "__main__":
    sys.exit(main())
