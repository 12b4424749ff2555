"""Draws docs/guide/img/fair.svg: how long the jobs of a quiet tenant wait beside one that floods, in a Queue and in a FairQueue.

`make docs` runs it; `python docs/plots/fair.py FILE` draws to FILE. The run is a simulation with the queues themselves: one
worker, a job a second, random arrivals from a fixed seed. The picture is the same every time, byte for byte, with the same matplotlib.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from sluicegate import FairQueue, Queue

SECONDS = 900
FLOOD = (300, 600)
"""While the other tenant brings more than can be done."""

QUIET = 0.2
BUSY = (0.4, 3.0)
STYLES = {"Queue(300)": ("#d55e00", "o"), "FairQueue(300)": ("#0072b2", ".")}


def run(put: Callable[[float, str], object], get: Callable[[], tuple[float, str] | None]) -> list[tuple[float, float]]:
    """Return when each job of the quiet tenant came, and how long it waited."""
    dice = random.Random(4)  # noqa: S311 - a simulation, the same every time
    arrivals: list[tuple[float, str]] = []
    for tenant in ("quiet", "busy"):
        now = 0.0
        while now < SECONDS:
            rate = QUIET if tenant == "quiet" else BUSY[FLOOD[0] <= now < FLOOD[1]]
            now += dice.expovariate(rate)
            arrivals.append((now, tenant))
    arrivals.sort(reverse=True)
    waits = []
    for second in range(SECONDS):
        while arrivals[-1][0] <= second:
            put(*arrivals.pop())
        if (job := get()) is not None and job[1] == "quiet":
            waits.append((job[0], second - job[0]))
    return waits


def runs() -> dict[str, list[tuple[float, float]]]:
    """Both queues, with the same arrivals."""
    plain: Queue[tuple[float, str]] = Queue(300, overflow="drop_newest")
    fair: FairQueue[tuple[float, str]] = FairQueue(300, overflow="drop_newest")
    return {
        "Queue(300)": run(lambda now, tenant: plain.put((now, tenant)), lambda: None if plain.empty() else plain.get()),
        "FairQueue(300)": run(lambda now, tenant: fair.put((now, tenant), key=tenant), lambda: None if fair.empty() else fair.get()),
    }


def draw(curves: Mapping[str, list[tuple[float, float]]], file: Path) -> None:
    """Draw a dot for each job."""
    with mpl.rc_context({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(*FLOOD, color="#eeeeee", linewidth=0)
        axes.text(sum(FLOOD) / 2, 330, "the other tenant floods", ha="center", color="#666666")
        for name, dots in curves.items():
            color, marker = STYLES[name]
            axes.plot(*zip(*dots, strict=True), marker, color=color, markersize=4, label=name)
        axes.set(xlabel="seconds", ylabel="wait of a quiet tenant's job, seconds", xlim=(0, SECONDS), ylim=(0, 360))
        axes.legend(frameon=False, loc="upper left")
        axes.grid(color="#dddddd", linewidth=0.6)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def main() -> None:
    """Draw to the file that is named, or where the guide looks for it."""
    here = Path(__file__).resolve().parents[1] / "guide" / "img" / "fair.svg"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    draw(runs(), file)
    print(file)


if __name__ == "__main__":
    main()
