"""Draws docs/guide/img/adaptive.svg: the limit finds the number of workers of a server, and follows when half of them are lost.

`make docs` runs it; `python docs/plots/adaptive.py FILE` draws to FILE. The picture is the same every time, byte for byte,
with the same matplotlib.
"""

from __future__ import annotations

import heapq
import random
import sys
from collections import deque
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from sluicegate import AdaptiveConcurrency, ConcurrencyPermit
from sluicegate.testing import ManualClock

TARGET = 0.1
OFFERED = 400.0
SECONDS = 60.0
#: From when on the server has how many workers; each can serve 20 calls a second.
WORKERS = {0.0: 10, 20.0: 5, 40.0: 10}
LIMIT, FIXED = "#0072b2", "#d55e00"


class Seen(NamedTuple):
    """What is drawn: when a call ended, how long it took, and the limit at that moment."""

    at: float
    took: float
    limit: int


def run(target: float | None, limits: tuple[int, int]) -> list[Seen]:
    """A server with workers and a queue, offered more than it can do. What the limiter does not admit is refused."""
    chance = random.Random(7)  # noqa: S311 - drawn the same every time
    clock = ManualClock()
    start = clock.now()
    limiter = AdaptiveConcurrency(target=target, min=limits[0], max=limits[1], clock=clock)
    queue: deque[tuple[float, ConcurrencyPermit]] = deque()
    events: list[tuple[float, int, tuple[float, ConcurrencyPermit] | None]] = [(0.0, 0, None)]
    seen: list[Seen] = []
    busy = number = 0
    while events:
        at, _, call = heapq.heappop(events)
        if at >= SECONDS and call is None:
            continue
        clock.advance(max(0.0, start + at - clock.now()))
        number += 1
        if call is None:
            heapq.heappush(events, (at + chance.expovariate(OFFERED), number, None))
            permit = limiter.permit()
            if permit.try_acquire():
                queue.append((at, permit))
        else:
            busy -= 1
            call[1].success()
            seen.append(Seen(at, at - call[0], limiter.limit))
        workers = [of for since, of in WORKERS.items() if since <= at][-1]
        while queue and busy < workers:
            busy += 1
            number += 1
            heapq.heappush(events, (at + chance.uniform(0.045, 0.055), number, queue.popleft()))
    return seen


def medians(seen: list[Seen]) -> tuple[list[float], list[float]]:
    """The median of each half second."""
    buckets: dict[int, list[float]] = {}
    for each in seen:
        buckets.setdefault(int(each.at * 2), []).append(each.took)
    times = sorted(buckets)
    return [time / 2 for time in times], [sorted(buckets[time])[len(buckets[time]) // 2] for time in times]


def draw(adaptive: list[Seen], fixed: list[Seen], file: Path) -> None:
    """The limit above, the median of the durations below."""
    with mpl.rc_context({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7, 5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        thinned = adaptive[::20]
        above.plot([each.at for each in thinned], [each.limit for each in thinned], color=LIMIT, label="limit", drawstyle="steps-post")
        edges = [*WORKERS, SECONDS]
        above.step(edges, [*WORKERS.values(), WORKERS[40.0]], where="post", color="black", linewidth=1, label="workers of the server")
        above.set_ylabel("calls")
        above.set_ylim(0, 30)
        above.legend(loc="upper right", frameon=False, ncols=2)
        for seen, color, label in ((adaptive, LIMIT, "AdaptiveConcurrency"), (fixed, FIXED, "a fixed limit of 60")):
            below.plot(*medians(seen), color=color, label=label)
        below.axhline(TARGET, color="black", linewidth=1, linestyle=":", label="target")
        below.set_ylabel("median duration, seconds")
        below.set_xlabel("seconds; 400 calls a second are offered, 200 or 100 can be served")
        below.set_xlim(0, SECONDS)
        below.set_ylim(0, 0.8)
        below.legend(loc="upper right", frameon=False, ncols=3)
        figure.savefig(file, format="svg", metadata={"Date": None})


def main() -> None:
    """Draw to the file that is named, or where the guide looks for it."""
    here = Path(__file__).resolve().parents[1] / "guide" / "img" / "adaptive.svg"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    draw(run(TARGET, (1, 200)), run(None, (60, 60)), file)
    print(file)


if __name__ == "__main__":
    main()
