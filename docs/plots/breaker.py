"""Draws docs/guide/img/breaker.svg: the calls that reach a service during an outage, with a circuit breaker and without.

`make docs` runs it; `python docs/plots/breaker.py FILE` draws to FILE. A simulation with the breaker itself, on a clock that is set: the
picture is the same every time, byte for byte, with the same matplotlib.
"""

from __future__ import annotations

import heapq
import logging
import random
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from sluicegate import CircuitBreaker
from sluicegate.testing import ManualClock

OFFERED = 50.0
SECONDS = 80.0
OUTAGE = (15.0, 45.0)
"""While it lasts, each call takes TIMEOUT seconds and fails."""
WELL, TIMEOUT = 0.05, 2.0
WITH, WITHOUT = "#0072b2", "#d55e00"


def run(guarded: bool) -> tuple[list[float], list[tuple[float, int]], list[tuple[float, str]]]:
    """Return when calls began at the service, how many were waiting for it from when on, and the changes of the breaker."""
    chance = random.Random(3)  # noqa: S311 - drawn the same every time
    clock = ManualClock()
    start = clock.now()
    changes: list[tuple[float, str]] = []

    def on_change(_old: str, new: str, _why: str) -> None:
        changes.append((clock.now() - start, new))

    breaker = CircuitBreaker(clock=clock, on_change=on_change)
    if not guarded:
        breaker.disable()
    events: list[tuple[float, int, Any]] = [(0.0, 0, None)]
    began: list[float] = []
    busy: list[tuple[float, int]] = [(0.0, 0)]
    number = 0
    while events:
        at, _, call = heapq.heappop(events)
        if at >= SECONDS:
            continue
        clock.advance(max(0.0, start + at - clock.now()))
        number += 1
        if call is not None:
            permit, fails = call
            permit.failure() if fails else permit.success()
            busy.append((at, busy[-1][1] - 1))
            continue
        heapq.heappush(events, (at + chance.expovariate(OFFERED), number, None))
        permit = breaker.permit()
        if permit.try_acquire():
            fails = OUTAGE[0] <= at < OUTAGE[1]
            number += 1
            heapq.heappush(events, (at + (TIMEOUT if fails else WELL), number, (permit, fails)))
            began.append(at)
            busy.append((at, busy[-1][1] + 1))
    return began, busy, changes


def each_second(began: list[float]) -> list[int]:
    """Return how many calls began in each second."""
    return [sum(second <= at < second + 1 for at in began) for second in range(int(SECONDS))]


def most(busy: list[tuple[float, int]]) -> list[int]:
    """Return the largest number of calls on their way in each half second."""
    found = [0] * int(2 * SECONDS)
    for at, count in busy:
        found[int(2 * at)] = max(found[int(2 * at)], count)
    return found


def draw(file: Path) -> None:
    """The calls that reach the service above, and the callers that are held up below."""
    with mpl.rc_context({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7, 5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        for axes in (above, below):
            axes.axvspan(*OUTAGE, color="#eeeeee")
        for guarded, color, label in ((False, WITHOUT, "without a breaker"), (True, WITH, "CircuitBreaker()")):
            began, busy, changes = run(guarded)
            above.plot(range(int(SECONDS)), each_second(began), color=color, label=label, drawstyle="steps-post")
            below.plot([half / 2 for half in range(int(2 * SECONDS))], most(busy), color=color, label=label, drawstyle="steps-post")
            for at, state in changes:
                if guarded and state == "half_open":
                    above.axvline(at, color="black", linewidth=1, linestyle=":")
        above.set_ylabel("calls a second\nthat reach the service")
        above.set_ylim(0, 90)
        above.legend(loc="upper right", frameon=False, ncols=2)
        below.set_ylabel("callers that wait for it")
        below.set_xlabel("seconds; grey: each call takes two seconds and fails; dotted: three probes are let through")
        below.set_xlim(0, SECONDS)
        below.set_ylim(0, 150)
        figure.savefig(file, format="svg", metadata={"Date": None})


def main() -> None:
    """Draw to the file that is named, or where the guide looks for it."""
    logging.getLogger("sluicegate").disabled = True
    here = Path(__file__).resolve().parents[1] / "guide" / "img" / "breaker.svg"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    draw(file)
    print(file)


if __name__ == "__main__":
    main()
