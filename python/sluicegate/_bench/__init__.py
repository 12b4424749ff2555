"""`python -m sluicegate bench`: how fast this build is, against the peers, in one run.

Every row of the table runs its contenders in turn (A B A B ...) in the same process, with the same loop, and reports
medians, their spread and their ratio. `model` says what rows and goals are, `harness` holds the clock and the loops,
`measure` runs a row, `environment` describes the machine, `report` prints. The rows themselves are in `rows`, one
module for each kind of object: a new module there is found by itself.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from .model import Row

SUMMARY = "measure sluicegate against its peers, interleaved, and print the table of ratios"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a look, not a measurement")
    parser.add_argument("--only", action="append", metavar="NAME", help="rows to run, by name or pattern ('lifo', 'thread*'); repeatable")
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios to FILE (.png, .svg), with matplotlib")
    parser.add_argument("--list", action="store_true", help="list the rows and stop")


def extras(arguments: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Return the packages that are needed; the peers are not, the table says which of them it found."""
    return {"bench": ("rich",)} | ({"plot": ("matplotlib",)} if arguments.plot else {})


def main(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Run the rows that were asked for, print the table, and return it as JSON."""
    from rich.console import Console

    from . import report
    from .environment import Environment
    from .measure import FULL, QUICK, run_row
    from .rows import find_rows

    console = Console(stderr=arguments.json == "-", highlight=False)
    rows = select(find_rows(), arguments.only)
    if arguments.list:
        console.print(report.listing(rows))
        return None
    environment = Environment.look()
    settings = QUICK if arguments.quick else FULL
    console.print(report.preamble(environment, settings))
    started = time.perf_counter()
    results = []
    for row in rows:
        if console.is_terminal:  # nothing that moves: a thread that draws would be measured too
            console.print(f"{row.name} ...", end="\r")
        results.append(run_row(row, settings, environment))
        console.print(report.table(results[-1]))
    console.print(report.closing(results, time.perf_counter() - started))
    if arguments.plot:
        from .plot import plot

        plot(results, arguments.plot)
    return report.as_json(environment, settings, results)


def select(rows: Sequence[Row], patterns: Sequence[str] | None) -> list[Row]:
    """Return the rows whose name matches one of the patterns; all of them where there is no pattern."""
    if not patterns:
        return list(rows)
    chosen = [row for row in rows if any(fnmatchcase(row.name, pattern) for pattern in patterns)]
    if not chosen:
        raise SystemExit(f"sluicegate bench: no row is called {' or '.join(patterns)}; --list names them")
    return chosen
