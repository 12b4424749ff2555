"""`python -m sluicegate demo`: the main job on real input.

It counts the identifiers in all Python files under a directory, with threads that read, threads that parse and a
coroutine that adds up, in a `Pipeline`; the files themselves come through `sluicegate.io` and credit channels. `pipeline`
is the program, and `by_hand` the same program without it, on `queue.Queue` (which `stdlib_queue` dresses); `model` is
what the two share, `sources` knows Python files, `report` shows what happened.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .._screen import open_screen

SUMMARY = "count the identifiers in a tree of Python files, in a pipeline of threads and a coroutine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("path", nargs="?", type=_existing, metavar="PATH", help="default: Python's own standard library")
    parser.add_argument(
        "--queue",
        choices=("sluicegate", "stdlib"),
        default="sluicegate",
        help="stdlib: the same by hand, on queue.Queue; default: %(default)s",
    )
    parser.add_argument(
        "--source",
        choices=("sluicegate", "python"),
        help="what reads the files: sluicegate.io, into a credit channel for each, or Python; default: as the queues",
    )
    parser.add_argument("--readers", type=_positive, default=2, metavar="N", help="default: %(default)s threads")
    parser.add_argument("--workers", type=_positive, default=2, metavar="N", help="default: %(default)s threads")
    parser.add_argument(
        "--maxsize", type=_positive, default=512, metavar="N", help="lines that may wait to be counted; default: %(default)s"
    )
    parser.add_argument(
        "--slow",
        type=_seconds,
        nargs="?",
        const=0.005,
        default=0.0,
        metavar="SECONDS",
        help="let the last stage rest after each batch (%(const)s s if no time is given): it holds up all others, and nothing piles up",
    )
    parser.add_argument("--no-progress", action="store_true", help="show nothing while it runs")


def extras(arguments: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Return the packages that are needed: none. With plotext the report has plots, with rich a terminal has colours."""
    return {}


def main(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the demo, print its report, and return it as JSON."""
    from . import by_hand, memory, pipeline, report, sources
    from .model import Config

    screen = open_screen(sys.stderr if arguments.json == "-" else sys.stdout)
    path: Path = arguments.path or sources.standard_library()
    config = Config(
        sources.find_files(path),
        arguments.queue,
        arguments.readers,
        arguments.workers,
        arguments.maxsize,
        arguments.source or ("sluicegate" if arguments.queue == "sluicegate" else "python"),
        arguments.slow,
    )
    screen.show(f"{len(config.files):,} Python files under {path}")
    with nullcontext() if arguments.no_progress else screen.progress("files read", len(config.files)) as progress:
        run = pipeline.run if config.queue == "sluicegate" else by_hand.run
        outcome = run(config, report.watcher(progress))
    peak_memory = memory.peak_bytes()
    if find_spec("plotext") is None:
        screen.say("To see how much the stages held over time: pip install 'sluicegate[demo]'")
    elif screen.draws:
        report.plots(screen, outcome)
    report.show(screen, config, outcome, peak_memory)
    return report.as_json(config, outcome, peak_memory)


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"no such file or directory: {text}")
    return path


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"must be from 0 to 60 seconds, not {text}")
    return seconds
