"""Draws docs/guide/img/credit.svg: the counters of a credit channel over time, from a run on a clock set by hand.

`make docs` runs it; `python docs/plots/credit.py FILE` draws to FILE. The picture is the same every time, byte for byte,
with the same matplotlib.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from sluicegate import CreditChannel, Full
from sluicegate.testing import ManualClock

WINDOW = 40
STEP = 0.01
SECONDS = 4.0
SEND_EVERY = 0.01
RECEIVE_EVERY = 0.03
STUCK = (1.5, 2.5)
"""While the receiver does something else."""

STYLES = {"granted": ("#009e73", "--"), "sent": ("#0072b2", "-"), "received": ("#d55e00", "-")}


def run() -> dict[str, list[tuple[float, float]]]:
    """A sender that always has more, and a receiver a third as fast; return when each counter changed, and to what."""
    clock = ManualClock()
    channel: CreditChannel[int] = CreditChannel(WINDOW, clock=clock)
    curves: dict[str, list[tuple[float, float]]] = {name: [] for name in STYLES}
    for step in range(round(SECONDS / STEP) + 1):
        now = step * STEP
        with contextlib.suppress(Full):
            channel.sender.send_nowait(step)
        stuck = STUCK[0] <= now < STUCK[1]
        if not stuck and step % round(RECEIVE_EVERY / STEP) == 0 and channel.statistics().buffered:
            channel.receiver.receive_nowait()
        seen = channel.statistics()
        for name, curve in curves.items():
            count = getattr(seen, name)
            if not curve or curve[-1][1] != count:
                curve.append((now, count))
        clock.advance(STEP)
    channel.sender.complete()
    return {name: [*curve, (SECONDS, curve[-1][1])] for name, curve in curves.items()}


def draw(curves: dict[str, list[tuple[float, float]]], file: Path) -> None:
    """Draw the counters as steps, and what is between them."""
    with mpl.rc_context({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(*STUCK, color="#eeeeee", linewidth=0, zorder=0.5)
        axes.text(sum(STUCK) / 2, 4, "the receiver is busy", ha="center", color="#666666")
        for name, color in {"sent": "#dde9f2", "received": "white"}.items():
            times, counts = zip(*curves[name], strict=True)
            axes.fill_between(times, counts, step="post", color=color, linewidth=0, zorder=0.4)
        for name, curve in curves.items():
            color, style = STYLES[name]
            times, counts = zip(*curve, strict=True)
            axes.step(times, counts, style, where="post", color=color, linewidth=1.8, label=name)
        axes.set(xlim=(0, SECONDS), ylim=(0, None), xlabel="seconds", ylabel="items so far")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.legend(loc="upper left")
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def main() -> None:
    """Draw to the file that is named, or where the guide looks for it."""
    here = Path(__file__).resolve().parents[1] / "guide" / "img" / "credit.svg"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    draw(run(), file)
    print(file)


if __name__ == "__main__":
    main()
