"""The command line: `python -m sluicegate`, with its commands `demo`, `bench` and `size`.

A command is a package with SUMMARY, `add_arguments(parser)`, `extras(arguments)` (what it needs beyond sluicegate:
packages by the extra that brings them) and `main(arguments)`, which prints what it has to say and returns its
figures for `--json`, or None.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

from sluicegate import __version__, _bench, _demo, _size

COMMANDS = {"demo": _demo, "bench": _bench, "size": _size}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sluicegate",
        description="Flow control for threads and asyncio. Three programs come with the package:",
    )
    parser.add_argument("--version", action="version", version=f"sluicegate {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.SUMMARY, description=command.SUMMARY)
        command.add_arguments(subparser)
        subparser.add_argument(
            "--json",
            metavar="FILE",
            help="write the figures to FILE; '-' is the standard output, the report then goes to the standard error",
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the result is the exit status."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 0
    complaints = missing(COMMANDS[arguments.command].extras(arguments))
    if complaints:
        for complaint in complaints:
            print(f"sluicegate {arguments.command} {complaint}", file=sys.stderr)
        return 2
    try:
        return run(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"sluicegate {arguments.command}: {error}", file=sys.stderr)
        return 1


def missing(extras: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what to do about the packages that are not installed, a line for each extra."""
    absent = {extra: [name for name in names if find_spec(name) is None] for extra, names in extras.items()}
    return [f"needs {' and '.join(names)}: pip install 'sluicegate[{extra}]'" for extra, names in absent.items() if names]


def run(arguments: argparse.Namespace) -> int:
    """Run a command; the file for its figures is opened first, so that a long run is not lost to a bad name."""
    named = arguments.json not in {None, "-"}
    with Path(arguments.json).open("w", encoding="utf-8") if named else nullcontext(sys.stdout) as file:
        figures = COMMANDS[arguments.command].main(arguments)
        if arguments.json and figures is not None:
            json.dump(figures, file, indent=1)
            file.write("\n")
    return 0
