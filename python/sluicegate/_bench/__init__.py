"""`python -m sluicegate bench`: how fast this build is, against the peers, in one run.

Every row of the table runs its contenders in turn (A B A B ...) in the same process, with the same loop, and reports
medians, their spread and their ratio. `model` defines a row, `harness` has the clock and `loops` the loops, `peers` has
the contenders, `measure` runs a row, `environment` describes the machine, `report` prints the table, and `summary` the
conclusions. The rows themselves are in `rows`, one module for each kind of object; a new module there is found
automatically.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from .._screen import open_screen
from . import report, summary
from .environment import Environment
from .measure import FULL, QUICK, run_row
from .model import Row
from .plot import FORMATS, picture_file, plot
from .rows import find_rows

SUMMARY = "measure sluicegate against its peers, interleaved, and print the table of ratios"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a look, not a measurement")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each contender is run; many short rounds suit a busy machine")
    parser.add_argument("--only", action="append", metavar="NAME", help="rows to run, by name or pattern ('lifo', 'thread*'); repeatable")
    parser.add_argument(
        "--plot", type=picture_file, metavar="FILE", help=f"draw the ratios to FILE ({', '.join(FORMATS)}), with matplotlib"
    )
    parser.add_argument("--details", action="store_true", help="show the items of a round and the context switches, too")
    parser.add_argument("--list", action="store_true", help="list the rows and stop")


def extras(arguments: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Return the packages that are needed; the peers are not, the table says which of them it found."""
    return {"plot": ("matplotlib",)} if arguments.plot else {}


def main(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Run the rows that were asked for, print the table and what it comes to, and return it as JSON."""
    screen = open_screen(sys.stderr if arguments.json == "-" else sys.stdout)
    rows = select(find_rows(), arguments.only)
    if arguments.list:
        report.listing(screen, rows)
        return None
    environment = Environment.look()
    settings = QUICK if arguments.quick else FULL
    settings = replace(settings, rounds=max(1, arguments.rounds or settings.rounds))
    screen.say(report.preamble(environment, settings))
    if arguments.details:
        screen.say(report.SWITCHES)
    if warning := summary.warning(environment):
        screen.say(warning, bold=True)
    started = time.perf_counter()
    results = []
    for row in rows:
        screen.say()
        screen.flash(f"{row.name} ...")  # nothing that moves: a thread that draws would be measured too
        results.append(run_row(row, settings))
        report.table(screen, results[-1], details=arguments.details)
    screen.say()
    screen.say(summary.closing(environment, results, time.perf_counter() - started))
    if arguments.plot:
        plot(environment, results, arguments.plot)
    return report.as_json(environment, settings, results)


def select(rows: Sequence[Row], patterns: Sequence[str] | None) -> list[Row]:
    """Return the rows whose name matches one of the patterns; all of them where there is no pattern."""
    if not patterns:
        return list(rows)
    chosen = [row for row in rows if any(fnmatchcase(row.name, pattern) for pattern in patterns)]
    if not chosen:
        raise SystemExit(f"sluicegate bench: no row is called {' or '.join(patterns)}; --list names them")
    return chosen
