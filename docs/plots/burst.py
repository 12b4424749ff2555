"""Draws docs/guide/img/burst.svg: what three limiters of ten a second let through, from a run on a clock set by hand.

`make docs` runs it; `python docs/plots/burst.py FILE` draws to FILE. The picture is the same every time, byte for byte,
with the same matplotlib.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from sluicegate import LeakyBucket, RateLimiter, SlidingWindow, TokenBucket
from sluicegate.testing import ManualClock

STEP = 0.01
SECONDS = 4.0
IDLE = (1.8, 2.8)
"""While nobody asks."""

STYLES = {
    "TokenBucket(10, burst=10)": ("#0072b2", "-"),
    "SlidingWindow(10, 1.0)": ("#d55e00", "-"),
    "LeakyBucket(10, capacity=0)": ("#009e73", "-"),
}


def run() -> dict[str, list[tuple[float, int]]]:
    """Ask each limiter as often as it admits, every STEP; return when its count changed, and to what."""
    clock = ManualClock()
    limiters: Mapping[str, RateLimiter] = {
        "TokenBucket(10, burst=10)": TokenBucket(10, burst=10, clock=clock),
        "SlidingWindow(10, 1.0)": SlidingWindow(10, 1.0, clock=clock),
        "LeakyBucket(10, capacity=0)": LeakyBucket(10, capacity=0, clock=clock),
    }
    counts = dict.fromkeys(limiters, 0)
    curves: dict[str, list[tuple[float, int]]] = {name: [(0.0, 0)] for name in limiters}
    for _ in range(round(SECONDS / STEP) + 1):
        now = clock.now()
        for name, limiter in limiters.items():
            before = counts[name]
            while not IDLE[0] <= now < IDLE[1] and limiter.try_acquire():
                counts[name] += 1
            if counts[name] != before:
                curves[name].append((now, counts[name]))
        clock.advance(STEP)
    return {name: [*curve, (SECONDS, counts[name])] for name, curve in curves.items()}


def draw(curves: Mapping[str, list[tuple[float, int]]], file: Path) -> None:
    """Draw the counts as steps."""
    with mpl.rc_context({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(*IDLE, color="#eeeeee", linewidth=0)
        axes.text(sum(IDLE) / 2, 1, "nobody asks", ha="center", color="#666666")
        for name, curve in curves.items():
            color, style = STYLES[name]
            times, counts = zip(*curve, strict=True)
            axes.step(times, counts, style, where="post", color=color, linewidth=1.8, label=name)
        axes.plot([0, SECONDS], [10, 10 + 10 * SECONDS], ":", color="#444444", linewidth=1, label="10 + 10 a second")
        axes.set(xlim=(-0.05, SECONDS), ylim=(0, 52), xlabel="seconds", ylabel="admitted so far")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.legend(loc="upper left")
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def main() -> None:
    """Draw to the file that is named, or where the guide looks for it."""
    here = Path(__file__).resolve().parents[1] / "guide" / "img" / "burst.svg"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    draw(run(), file)
    print(file)


if __name__ == "__main__":
    main()
