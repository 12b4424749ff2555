"""Draws docs/guide/img/pressure.svg: how full a queue is whose source is paused at the high mark and resumed at the low one.

`make docs` runs it; `python docs/plots/pressure.py FILE` draws to FILE. The run is one of the queue itself, in steps: a source in
bursts that knows only pause and resume, and a consumer whose speed changes. The picture is the same every time, byte for byte, with
the same matplotlib.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from sluicegate import Queue

STEPS = 600
ROOM, HIGH, LOW = 100, 0.8, 0.4


@dataclass
class Source:
    """Brings items, unless it is paused."""

    paused: bool = False
    pauses: list[tuple[int, bool]] = field(default_factory=list)
    now: int = 0

    def pause(self) -> None:
        """Stop."""
        self.paused = True
        self.pauses.append((self.now, True))

    def resume(self) -> None:
        """Go on."""
        self.paused = False
        self.pauses.append((self.now, False))


def run() -> tuple[list[int], list[tuple[int, bool]]]:
    """Return how many items there were after each step, and when the source was paused and resumed."""
    dice = random.Random(3)  # noqa: S311 - a simulation, the same every time
    q: Queue[int] = Queue(ROOM, high=HIGH, low=LOW)
    source, sizes = Source(), []
    q.pressure.drive(source.pause, source.resume)
    for step in range(STEPS):
        source.now = step
        if not source.paused and dice.random() < 0.7:
            q.put_many(range(dice.randint(1, 4)))
        slow = 150 <= step < 400
        if dice.random() < (0.5 if slow else 0.9) and not q.empty():
            q.get_many(dice.randint(1, 3))
        sizes.append(q.qsize())
    return sizes, source.pauses


def draw(sizes: list[int], pauses: list[tuple[int, bool]], file: Path) -> None:
    """Draw the size, the marks, and when the source stands still."""
    with mpl.rc_context({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7, 3.2), layout="constrained")
        axes = figure.subplots()
        ends = [*pauses, (STEPS, False)]
        for (begin, paused), (end, _) in pairwise(ends):
            if paused:
                axes.axvspan(begin, end, color="#eeeeee", linewidth=0)
        for mark, name in ((HIGH, "high"), (LOW, "low")):
            axes.axhline(mark * ROOM, color="#d55e00", linewidth=0.8, linestyle="--")
            axes.annotate(name, (STEPS + 4, mark * ROOM), va="center", color="#d55e00", annotation_clip=False)
        axes.step(range(STEPS), sizes, where="post", color="#0072b2", linewidth=1)
        axes.set(xlabel="steps (grey: the source is paused)", ylabel="items in the queue", xlim=(0, STEPS), ylim=(0, ROOM))
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def main() -> None:
    """Draw to the file that is named, or where the guide looks for it."""
    here = Path(__file__).resolve().parents[1] / "guide" / "img" / "pressure.svg"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    draw(*run(), file)
    print(file)


if __name__ == "__main__":
    main()
