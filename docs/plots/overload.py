"""Draws docs/guide/img/overload.svg: how many answers are in time while twice as much comes as one server can do, by what the queue does.

`make docs` runs it; `python docs/plots/overload.py FILE` draws to FILE. The run is a simulation with the queues themselves: one server,
random arrivals (Poisson) from a fixed seed, a clock that is set. The picture is the same every time, byte for byte, with the same
matplotlib. The test suite holds the shares that are told in the guide (`tests/python/test_queue_shed.py`).
"""

from __future__ import annotations

import heapq
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from sluicegate import AdaptiveLifo, CoDel, Empty, Queue
from sluicegate.testing import ManualClock

SERVICE = 0.001
"""Seconds that an answer takes: 1000 can be given in a second."""

DEADLINE = 0.1
"""Seconds after which an answer is useless."""

SECONDS = 10
OVERLOAD = (2, 8)
"""While twice as much comes as can be done; before and after it is half."""

SENDERS = 8
STEP = 0.25
STYLES = {
    "first in, first out": ("#d55e00", "-", 4.0),
    "ttl of 99 ms": ("#0072b2", "-", 4.0),
    "AdaptiveLifo": ("#009e73", "-", 1.5),
    "CoDel": ("#f0c0dc", "-", 1.5),
    "CoDel, senders\nslow down": ("#cc79a7", "--", 1.5),
}

Report = Callable[[tuple[float, int], str], object]


def run(
    make: Callable[[ManualClock, Report], Queue[tuple[float, int]]], *, ttl: float | None = None, reacts: bool = False
) -> list[tuple[float, float]]:
    """Return for each quarter of a second how many answers were in time, per second.

    Senders that react halve their rate when an item of theirs is dropped, and send a little faster with every item, up to what they have
    to send.
    """
    dice = random.Random(1)  # noqa: S311 - a simulation, the same every time
    clock = ManualClock()
    lost: list[int] = []
    queue = make(clock, lambda item, _reason: lost.append(item[1]))
    shares = [1.0] * SENDERS
    answers = [0] * round(SECONDS / STEP)
    free = 0.0
    arrivals = [(dice.expovariate(1 / SERVICE), sender) for sender in range(SENDERS)]
    heapq.heapify(arrivals)
    while arrivals[0][0] < SECONDS:
        at, sender = arrivals[0]
        while free <= at:
            clock.advance(max(0.0, free - clock.now()))
            try:
                sent, _ = queue.get_nowait()
            except Empty:
                free = at
                break
            free += SERVICE
            if free - sent <= DEADLINE and free < SECONDS:
                answers[int(free / STEP)] += 1
        clock.advance(max(0.0, at - clock.now()))
        free = max(free, at)
        queue.offer((at, sender), ttl=ttl)
        if reacts:
            for each in lost:
                shares[each] /= 2
            shares[sender] = min(max(shares[sender], 0.01) + 0.004, 1.0)
            lost.clear()
        load = 2.0 if OVERLOAD[0] <= at < OVERLOAD[1] else 0.5
        heapq.heapreplace(arrivals, (at + dice.expovariate(load * shares[sender] / SERVICE / SENDERS), sender))
    return [((number + 0.5) * STEP, count / STEP) for number, count in enumerate(answers)]


def long(shed: CoDel | AdaptiveLifo | None = None) -> Callable[[ManualClock, Report], Queue[tuple[float, int]]]:
    """Make queues with room for more than the deadline lets anybody wait."""
    return lambda clock, on_drop: Queue(round(SECONDS / SERVICE), clock=clock, on_drop=on_drop, shed=shed)


def runs() -> dict[str, list[tuple[float, float]]]:
    """All of them, with the same arrivals as far as senders do not react."""
    return {
        "first in, first out": run(long()),
        "ttl of 99 ms": run(long(), ttl=DEADLINE - SERVICE),
        "AdaptiveLifo": run(long(AdaptiveLifo())),
        "CoDel": run(long(CoDel())),
        "CoDel, senders\nslow down": run(long(CoDel()), reacts=True),
    }


def draw(curves: Mapping[str, list[tuple[float, float]]], file: Path) -> None:
    """Draw a line for each queue."""
    with mpl.rc_context({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(*OVERLOAD, color="#eeeeee", linewidth=0)
        axes.text(sum(OVERLOAD) / 2, 1060, "twice as much comes as can be done", ha="center", color="#666666")
        for name, points in curves.items():
            color, line, width = STYLES[name]
            axes.plot(*zip(*points, strict=True), line, color=color, linewidth=width, label=name)
        axes.set(xlabel="seconds", ylabel="answers in time, per second", xlim=(0, SECONDS), ylim=(0, 1150))
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes.grid(color="#dddddd", linewidth=0.6)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def main() -> None:
    """Draw to the file that is named, or where the guide looks for it."""
    here = Path(__file__).resolve().parents[1] / "guide" / "img" / "overload.svg"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    draw(runs(), file)
    print(file)


if __name__ == "__main__":
    main()
