#!/usr/bin/env python3
"""Writes LICENSES-THIRD-PARTY.txt, which goes into every wheel: the licences of the crates that are linked in, on any platform.

`--check` only says whether the file is up to date. Of several licences that a crate offers, MIT is taken.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
FILE = TOP / "LICENSES-THIRD-PARTY.txt"
HEAD = """\
The extension module sluicegate._core contains code of the following crates, and of the Rust standard library (MIT OR Apache-2.0,
https://www.rust-lang.org/policies/licenses). Where a crate may be used under one of several licences, this is the one that is used.
"""


def linked() -> list[dict[str, Any]]:
    """The packages that the extension is linked with: what it needs at run time, and what that needs."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    needs = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
    found: set[str] = set()
    left = [package for package in metadata["workspace_members"] if packages[package]["name"] == "sluicegate-py"]
    while left:
        package = left.pop()
        if package in found or any("proc-macro" in target["kind"] for target in packages[package]["targets"]):
            continue
        found.add(package)
        left += [need["pkg"] for need in needs[package] if any(at_run_time(kind) for kind in need["dep_kinds"])]
    others = found - set(metadata["workspace_members"])
    return sorted((packages[package] for package in others), key=lambda package: (package["name"], package["version"]))


def at_run_time(kind: dict[str, Any]) -> bool:
    """Not only to build or to test."""
    return kind["kind"] is None and "cfg(loom)" not in (kind["target"] or "")


def texts(package: dict[str, Any]) -> list[str]:
    """The licence that is used, and what the package says about code of others in it."""
    folder = Path(package["manifest_path"]).parent
    files = [file for file in sorted(folder.iterdir()) if re.match(r"licen[cs]e|copying|notice", file.name, re.IGNORECASE)]
    if "MIT" in package["license"]:
        files = [file for file in files if re.fullmatch(r"licen[cs]e(-mit|-third-party)?(\.\w+)?", file.name, re.IGNORECASE)]
    if not files:
        raise SystemExit(f"{package['name']} {package['version']}: no licence text for {package['license']}")
    return [file.read_text(encoding="utf-8").strip().replace("\r\n", "\n") for file in files]


def everything() -> str:
    users: dict[str, list[str]] = {}
    for package in linked():
        for text in texts(package):
            users.setdefault(text, []).append(f"{package['name']} {package['version']} ({package['license']})")
    rule = "=" * 100
    return HEAD + "".join(f"\n{rule}\n" + "\n".join(names) + f"\n{rule}\n\n{text}\n" for text, names in users.items())


def main() -> int:
    new = everything()
    if "--check" not in sys.argv[1:]:
        FILE.write_text(new, encoding="utf-8")
        return 0
    if FILE.is_file() and FILE.read_text(encoding="utf-8") == new:
        return 0
    print(f"{FILE.name} does not say what Cargo.lock does (make licences)")
    return 1


if __name__ == "__main__":
    sys.exit(main())
