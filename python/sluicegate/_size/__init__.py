"""`python -m sluicegate size`: how large a queue should be, and how many workers it needs, in sentences.

`units` reads rates and durations, `answer` puts the formulas of `sluicegate.sizing` together.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from importlib.util import find_spec
from typing import Any

from .._screen import Screen, open_screen
from . import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .answer import Curve

SUMMARY = "say how large a queue should be, and how many workers it needs, from rates, bursts and deadlines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--arrival", type=units.rate, required=True, metavar="RATE", help="items that arrive, such as 1000/s or 60/min")
    parser.add_argument("--service", type=units.rate, required=True, metavar="RATE", help="items that one worker serves, such as 500/s")
    parser.add_argument("--workers", type=_workers, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--burst", type=units.duration, metavar="TIME", help="how long they arrive at that rate, such as 2s; default: always"
    )
    parser.add_argument(
        "--normal", type=units.rate, default=0.0, metavar="RATE", help="items that arrive after the burst (with --burst); default: none"
    )
    parser.add_argument("--deadline", type=units.duration, metavar="TIME", help="when an item must be done, such as 100ms")
    parser.add_argument(
        "--loss",
        type=units.share,
        metavar="SHARE",
        help="the part of the items that may be refused; default: 0.1%%, where there is neither a deadline nor a backlog",
    )


def extras(arguments: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Return the packages that are needed: none. With plotext there is a plot."""
    return {}


def main(arguments: argparse.Namespace) -> dict[str, Any]:
    """Print the answer, and return it as JSON."""
    from .answer import Question, answer

    screen = open_screen(sys.stderr if arguments.json == "-" else sys.stdout)
    question = Question(**{each.name: getattr(arguments, each.name) for each in dataclasses.fields(Question)})
    try:
        found = answer(question)
    except (ValueError, OverflowError) as error:
        print(f"sluicegate size: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    for paragraph in found.paragraphs:
        screen.say(paragraph)
    if found.curve is not None:
        _draw(screen, found.curve)
    if found.maxsize is not None:
        screen.say(f"So: Queue(maxsize={found.maxsize})", bold=True)
    asked = dataclasses.asdict(question)
    return {"question": asked, "maxsize": found.maxsize, "sentences": found.paragraphs, "figures": _without_infinity(found.figures)}


def _draw(screen: Screen, curve: Curve) -> None:
    if find_spec("plotext") is None:
        screen.say("To see a plot: pip install 'sluicegate[demo]'")
    elif screen.draws:
        from .._plot import plot

        highest = max(curve.y)
        bound = round(highest) if highest >= 100 else highest
        screen.show(plot(curve.x, curve.y, title=curve.title, bound=bound, width=min(screen.width, 80)))


def _without_infinity(value: Any) -> Any:
    """JSON has no infinity: null instead."""
    if isinstance(value, dict):
        return {name: _without_infinity(each) for name, each in value.items()}
    return None if isinstance(value, float) and math.isinf(value) else value


def _workers(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError(f"must be from 1 to 1000000, not {number}")
    return number
