"""Several runs of the bench side by side, a column each: every supported Python, or before and after a change.

    python benches/python/side_by_side.py [--markdown] [--lowest] FILE.json FILE.json ...

The files are those of `python -m sluicegate bench --json FILE`. A cell says what an item of ours takes, in
nanoseconds, and how many times as long the row's first peer takes in the same run: the second figure is the one that
can be compared between columns. (`make bench-pythons` makes the files, one for each interpreter, and calls this.)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any


def label(run: dict[str, Any]) -> str:
    """Return the head of a column."""
    environment = run["environment"]
    build = "" if environment["gil"] else "t"
    return f"{environment['python'].split()[-1]}{build}"


def cell(run: dict[str, Any], row: str, peer: str | None, time_of: Callable[[dict[str, Any]], float]) -> str:
    """Return our time in a row, and how many times as long the peer's is."""
    found = [each for each in run["rows"] if each["name"] == row]
    if not found:
        return "-"
    ours, *others = found[0]["contenders"]
    ratio = next((f" ({short(time_of(other) / time_of(ours))}x)" for other in others if other["name"] == peer), "")
    return f"{short(time_of(ours))}{ratio}"


def median(contender: dict[str, Any]) -> float:
    return contender["median_ns"]


def lowest(contender: dict[str, Any]) -> float:
    return contender["range_ns"][0]


def short(number: float) -> str:
    """Return a number with about three digits that matter."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def table(runs: list[dict[str, Any]], time_of: Callable[[dict[str, Any]], float]) -> list[list[str]]:
    """Return the cells, the head first."""
    rows = {row["name"]: first_peer(row) for run in runs for row in run["rows"]}
    head = ["row", "beside", *map(label, runs)]
    return [head, *([row, peer or "", *(cell(run, row, peer, time_of) for run in runs)] for row, peer in rows.items())]


def first_peer(row: dict[str, Any]) -> str | None:
    """Return the name of the first contender that is somebody else's."""
    return next((each["name"] for each in row["contenders"][1:] if each["peer"]), None)


def caption(runs: list[dict[str, Any]]) -> str:
    """Return when this was, where, and how far it can be trusted, column by column."""
    environment, settings = runs[0]["environment"], runs[0]["settings"]
    loads = ", ".join(
        f"{label(run)}: {run['machine']['verdict']} (load {run['environment']['load']:.1f}, rounds within {run['machine']['spread']:.0%})"
        for run in runs
    )
    where = f"{environment['system']} {environment['machine']}, {environment['cores']} cores"
    return (
        f"sluicegate {environment['sluicegate']}, {datetime.now().astimezone():%Y-%m-%d}, {where}, {settings['rounds']} rounds of "
        f"{settings['seconds']:g} s. Nanoseconds an item of ours; in brackets, how many times as long the peer takes in the same run. "
        f"The machine: {loads}."
    )


def as_text(cells: list[list[str]], *, markdown: bool) -> str:
    """Return the table, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [[each.ljust(w) if i < 2 else each.rjust(w) for i, (each, w) in enumerate(zip(row, widths, strict=True))] for row in cells]
    if not markdown:
        return "\n".join("  ".join(line).rstrip() for line in lines)
    rule = ["-" * w if i < 2 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Print several runs of the bench side by side.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.json")
    parser.add_argument("--lowest", action="store_true", help="the lowest round instead of the median: for a machine that was busy")
    parser.add_argument("--markdown", action="store_true", help="a table for a README")
    arguments = parser.parse_args(argv)
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in arguments.files]
    runs.sort(key=lambda run: ([int(part) for part in label(run).rstrip("t").split(".")[:2]], not run["environment"]["gil"]))
    cells = table(runs, lowest if arguments.lowest else median)
    which = "The lowest round of each" if arguments.lowest else "Medians"
    print(f"{caption(runs)} {which}.", as_text(cells, markdown=arguments.markdown), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
