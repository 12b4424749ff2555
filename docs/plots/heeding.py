"""Draws docs/guide/img/heeding.svg: a client that is told 429, with a fixed rate and with an `AdaptiveRate`.

`make docs` runs it; `python docs/plots/heeding.py FILE` draws to FILE. A simulation with the limiters themselves, on a clock that is set:
the picture is the same every time, byte for byte, with the same matplotlib.
"""

from __future__ import annotations

import heapq
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from sluicegate import AdaptiveRate, TokenBucket
from sluicegate.testing import ManualClock

CONFIGURED = 80.0
SECONDS = 60
#: What the server admits in a second, from when on; it has a burst of 10, and says nothing but 429.
SERVER = {0.0: 50.0, 30.0: 20.0}
TRIP = 0.05
ADAPTIVE, FIXED = "#0072b2", "#d55e00"


def run(adaptive: bool) -> tuple[list[int], list[int]]:
    """A client that always has more to send. Return the accepted and the refused requests of each second."""
    clock = ManualClock()
    start = clock.now()
    server = TokenBucket(SERVER[0.0], burst=10, clock=clock)
    rate: Any = (AdaptiveRate if adaptive else TokenBucket)(CONFIGURED, burst=10, clock=clock)
    events: list[tuple[float, int, Any]] = [(0.0, 0, "send"), *((at, -1, limit) for at, limit in SERVER.items())]
    heapq.heapify(events)
    accepted, refused = [0] * SECONDS, [0] * SECONDS
    number = 0
    while events:
        at, _, what = heapq.heappop(events)
        if at >= SECONDS:
            continue
        clock.advance(max(0.0, start + at - clock.now()))
        number += 1
        if isinstance(what, float):
            server.set_rate(what)
        elif what != "send":
            permit, is_accepted = what
            if adaptive:
                permit.success() if is_accepted else permit.failure()
            permit.__exit__(None, None, None)
        elif (wait := rate.retry_after()) > 0:
            heapq.heappush(events, (at + wait + 1e-6, number, "send"))
        else:
            permit = rate.permit()
            permit.__enter__()
            is_accepted = server.try_acquire()
            (accepted if is_accepted else refused)[int(at)] += 1
            heapq.heappush(events, (at + TRIP, number, (permit, is_accepted)))
            heapq.heappush(events, (at, number, "send"))
    return accepted, refused


def draw(file: Path) -> None:
    """What is accepted above, what is refused below."""
    with mpl.rc_context({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        above.step(
            [*SERVER, SECONDS], [*SERVER.values(), SERVER[30.0]], where="post", color="black", linewidth=1, label="what the server admits"
        )
        for adaptive, color, label in ((False, FIXED, "TokenBucket(80)"), (True, ADAPTIVE, "AdaptiveRate(80)")):
            accepted, refused = run(adaptive)
            above.plot(range(SECONDS), accepted, color=color, label=label, drawstyle="steps-post")
            below.plot(range(SECONDS), refused, color=color, label=label, drawstyle="steps-post")
        above.set_ylabel("answered a second")
        above.set_ylim(0, 90)
        above.legend(loc="upper right", frameon=False, ncols=3)
        below.set_ylabel("429s a second")
        below.set_xlabel("seconds; a client that is configured for 80 requests a second and always has more to send")
        below.set_xlim(0, SECONDS)
        below.set_ylim(0, 70)
        figure.savefig(file, format="svg", metadata={"Date": None})


def main() -> None:
    """Draw to the file that is named, or where the guide looks for it."""
    here = Path(__file__).resolve().parents[1] / "guide" / "img" / "heeding.svg"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    draw(file)
    print(file)


if __name__ == "__main__":
    main()
