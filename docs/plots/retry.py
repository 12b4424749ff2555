"""Draws docs/guide/img/retry.svg: when a hundred clients that failed together come back, with each kind of jitter.

`make docs` runs it; `python docs/plots/retry.py FILE` draws to FILE. The picture is the same every time, byte for byte,
with the same matplotlib.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Literal, TypeAlias

import matplotlib as mpl
from matplotlib.figure import Figure

from sluicegate import Backoff

Jitter: TypeAlias = Literal["none", "equal", "full", "decorrelated"]

CLIENTS = 100
ATTEMPTS = 9
BASE, CAP = 0.1, 2.0
SECONDS = 10.0
COLORS: dict[Jitter, str] = {
    "none": "#d55e00",
    "equal": "#0072b2",
    "full": "#009e73",
    "decorrelated": "#cc79a7",
}


def run() -> dict[Jitter, list[float]]:
    """Return the moments of all retries, by the kind of jitter; every attempt fails at once."""
    moments: dict[Jitter, list[float]] = {}
    for jitter in COLORS:
        chance = random.Random(7)  # noqa: S311 - drawn the same every time
        backoff = Backoff(BASE, CAP, jitter=jitter)
        moments[jitter] = []
        for _ in range(CLIENTS):
            now = previous = 0.0
            for retry in range(ATTEMPTS):
                previous = backoff.delay(retry, previous, chance.random())
                now += previous
                moments[jitter].append(now)
    return moments


def draw(moments: dict[Jitter, list[float]], file: Path) -> None:
    """Draw how many clients come in each fifth of a second."""
    with mpl.rc_context({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7, 5), layout="constrained")
        panels = figure.subplots(len(moments), 1, sharex=True, sharey=True)
        for axes, (jitter, of) in zip(panels, moments.items(), strict=True):
            axes.hist(of, bins=[n / 5 for n in range(round(SECONDS * 5) + 1)], histtype="stepfilled", color=COLORS[jitter])
            axes.text(0.99, 0.85, f'jitter="{jitter}"', ha="right", va="top", transform=axes.transAxes)
        panels[-1].set_xlabel("seconds after the failure")
        panels[0].set_xlim(0, SECONDS)
        figure.supylabel("retries of 100 clients in 0.2 s")
        figure.savefig(file, format="svg", metadata={"Date": None})


def main() -> None:
    """Draw to the file that is named, or where the guide looks for it."""
    here = Path(__file__).resolve().parents[1] / "guide" / "img" / "retry.svg"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    draw(run(), file)
    print(file)


if __name__ == "__main__":
    main()
