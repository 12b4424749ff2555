"""Draws docs/guide/img/quota.svg: clients of an API with a quota of tokens: one that only retries, and two that keep limits.

`make docs` runs it; `python docs/plots/quota.py FILE` draws to FILE. A simulation with the limiters themselves, on a clock that is set:
the picture is the same every time, byte for byte, with the same matplotlib.
"""

from __future__ import annotations

import heapq
import random
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from sluicegate import Backoff, RateLimits, SlidingWindow
from sluicegate.testing import ManualClock

SECONDS = 300
#: What the server admits in any minute. It counts the tokens that an answer has, and says nothing but 429.
REQUESTS, TOKENS = 500, 30_000
CALLERS = 16
#: A caller knows at most how many tokens an answer has; it has a third of them on average.
AT_MOST = 1000
#: How many tokens of an answer the model makes in a second.
SPEED = 100


class Client(Enum):
    """What a client does: its label and its color."""

    RETRIES = ("only retries", "#d55e00")
    KEEPS = ("limits, estimates kept", "#009e73")
    SETTLES = ("limits, settled afterwards", "#0072b2")


class Run:
    """Callers that always have another prompt, until the time is over."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.chance = random.Random(13)  # noqa: S311 - drawn the same every time
        self.clock = ManualClock()
        self.start = self.clock.now()
        self.server = self.limits_of(60)
        self.limits = self.limits_of(61)  # requests do not all take equally long to arrive
        self.backoff = Backoff(0.5, 20)
        self.events: list[tuple[float, int, Any]] = []
        self.idle = CALLERS
        self.answers: list[float] = []
        self.refusals: list[float] = []
        self.number = 0

    def limits_of(self, window: float) -> RateLimits:
        """Return the API's limits, kept in a window of so many seconds."""
        clock = self.clock
        return RateLimits(requests=SlidingWindow(REQUESTS, window, clock=clock), tokens=SlidingWindow(TOKENS, window, clock=clock))

    def at(self, moment: float, what: Any) -> None:
        """Have something happen at a moment."""
        self.number += 1
        heapq.heappush(self.events, (moment, self.number, what))

    def ask(self, now: float, failures: int, permit: Any) -> None:
        """Send a prompt. `permit` is what the client's own limits have admitted."""
        used = self.chance.randint(50, AT_MOST * 2 // 3)
        if self.server.try_acquire(requests=1, tokens=used):
            self.at(now + 0.5 + used / SPEED, ("answer", used, permit))
        else:
            self.refusals.append(now)
            self.at(now + self.backoff.delay(failures, 0.0, self.chance.random()), ("again", failures + 1, permit))

    def begin(self, now: float) -> None:
        """Let as many callers send a prompt as the client's own limits admit."""
        while self.idle:
            permit = None
            if self.client is not Client.RETRIES:
                wait = self.limits.retry_after(requests=1, tokens=AT_MOST)
                if wait > 0:
                    return self.at(now + wait + 1e-6, ("begin",))
                permit = self.limits.permit(requests=1, tokens=AT_MOST)
                permit.__enter__()
            self.idle -= 1
            self.ask(now, 0, permit)
        return None

    def run(self) -> Run:
        """Run it, and return it."""
        self.at(0.0, ("begin",))
        while self.events and self.events[0][0] < SECONDS:
            now, _, (what, *more) = heapq.heappop(self.events)
            self.clock.advance(max(0.0, self.start + now - self.clock.now()))
            if what == "again":
                self.ask(now, *more)
            elif what == "answer":
                used, permit = more
                self.answers.append(now)
                self.idle += 1
                if permit is not None:
                    if self.client is Client.SETTLES:
                        permit.settle(tokens=used)
                    permit.__exit__(None, None, None)
            if what != "again":
                self.begin(now)
        return self


def draw(file: Path) -> None:
    """What has been answered above, what has been refused below."""
    with mpl.rc_context({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        for client in Client:
            label, color = client.value
            seen = Run(client).run()
            print(f"{label}: {len(seen.answers)} answers, {len(seen.refusals)} 429s")
            for axes, times in ((above, seen.answers), (below, seen.refusals)):
                counts = [sum(time < second for time in times) for second in range(SECONDS + 1)]
                axes.plot(range(SECONDS + 1), counts, color=color, label=label)
        above.set_ylabel("answers in all")
        above.set_ylim(bottom=0)
        above.legend(loc="upper left", frameon=False)
        below.set_ylabel("429s in all")
        below.set_xlabel(f"seconds; {CALLERS} callers, {TOKENS:,} tokens in any minute")
        below.set_xlim(0, SECONDS)
        below.set_ylim(bottom=0)
        figure.savefig(file, format="svg", metadata={"Date": None})


def main() -> None:
    """Draw to the file that is named, or where the guide looks for it."""
    here = Path(__file__).resolve().parents[1] / "guide" / "img" / "quota.svg"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    draw(file)
    print(file)


if __name__ == "__main__":
    main()
