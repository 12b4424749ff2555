"""Draws docs/guide/img/full.svg: what each overflow policy does with the same burst, item by item.

`make docs` runs it; `python docs/plots/full.py FILE` draws to FILE. The run is one of the queues themselves, in steps: a producer with an
item for each step, a consumer that takes one every third step, and room for four. The picture is the same every time, byte for byte, with
the same matplotlib.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from sluicegate import Full, PriorityQueue, Queue, Sample

ITEMS = 18
ROOM = 4
SERVICE = 3
"""Steps between two items that are taken."""

BLUE, RED, GREY = "#0072b2", "#d55e00", "#bbbbbb"


@dataclass
class Fate:
    """What became of one item."""

    ready: int
    """When the producer had it."""
    put: int | None = None
    gone: int | None = None
    how: str = ""


@dataclass
class Run:
    """One policy, from the first item to the last."""

    fates: list[Fate] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)


def run(policy: Any) -> Run:
    """Put a burst into a queue with this policy, and take what is there."""
    seen, now = Run(), 0
    ranked = policy == "drop_lowest"

    def dropped(item: Any, _reason: str) -> None:
        seen.fates[item[1]].gone, seen.fates[item[1]].how = now, "dropped"

    q: Queue[tuple[int, int]] = (PriorityQueue if ranked else Queue)(ROOM, overflow=policy, on_drop=dropped)
    dice = random.Random(5)  # noqa: S311 - a simulation, the same every time
    seen.ranks = [dice.randrange(9) for _ in range(ITEMS)]
    number = 0
    while number < ITEMS or not q.empty():
        if now % SERVICE == SERVICE - 1 and not q.empty():
            _, taken = q.get_nowait()
            seen.fates[taken].gone, seen.fates[taken].how = now, "taken"
        if number < ITEMS:
            if len(seen.fates) == number:
                seen.fates.append(Fate(now))
            fate = seen.fates[number]
            try:
                q.put_nowait((seen.ranks[number] if ranked else 0, number) if ranked else (0, number))
                fate.put = now if fate.how != "dropped" else None
                number += 1
            except Full:
                if policy == "reject":
                    fate.gone, fate.how = now, "refused"
                    number += 1  # the producer has something better to do than to wait
        now += 1
    return seen


def runs() -> dict[str, Run]:
    """All policies."""
    policies = ["block", "reject", "drop_oldest", "drop_newest", "drop_lowest", Sample(3)]
    return {repr(policy): run(policy) for policy in policies}


def panel(axes: Any, name: str, seen: Run) -> None:
    """Draw a line for each item, from when it was there to when it was gone."""
    for taken, color, marker in ((True, BLUE, "o"), (False, RED, "x")):
        rows = [(number, fate) for number, fate in enumerate(seen.fates) if (fate.how == "taken") == taken]
        ends = [fate.ready if fate.gone is None else fate.gone for _, fate in rows]
        puts = [end if fate.put is None else fate.put for (_, fate), end in zip(rows, ends, strict=True)]
        numbers = [number for number, _ in rows]
        axes.hlines(numbers, puts, ends, color=color, linewidth=1)
        axes.plot(ends, numbers, marker, color=color, markersize=4)
        waits = [(number, fate.ready, put) for (number, fate), put in zip(rows, puts, strict=True) if put > fate.ready]
        if waits:
            axes.hlines(*zip(*waits, strict=True), color=GREY, linewidth=1, linestyle=":")
    if name == "'drop_lowest'":
        for number, fate in enumerate(seen.fates):
            axes.annotate(str(seen.ranks[number]), (fate.ready - 0.8, number), fontsize=6, ha="right", va="center", color="#666666")
    count = sum(fate.how == "taken" for fate in seen.fates)
    axes.set_title(f"{name}: {count} of {ITEMS} taken", fontsize=9)
    axes.set(xlim=(-3, 57), ylim=(ITEMS - 0.2, -1.2), yticks=[])
    axes.tick_params(labelsize=7)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def draw(seen: Mapping[str, Run], file: Path) -> None:
    """Draw a panel for each policy."""
    with mpl.rc_context({"svg.hashsalt": "sluicegate", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(8, 6), layout="constrained")
        grid = figure.subplots(2, 3, sharex=True)
        for axes, (name, each) in zip(grid.flat, seen.items(), strict=True):
            panel(axes, name, each)
        for axes in grid[1]:
            axes.set_xlabel("steps", fontsize=8)
        for axes in grid[:, 0]:
            axes.set_ylabel("items, in the order in which they came", fontsize=8)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def main() -> None:
    """Draw to the file that is named, or where the guide looks for it."""
    here = Path(__file__).resolve().parents[1] / "guide" / "img" / "full.svg"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    draw(runs(), file)
    print(file)


if __name__ == "__main__":
    main()
