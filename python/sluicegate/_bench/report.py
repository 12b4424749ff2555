"""The table, on the screen and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._screen import Column, Screen
from .environment import Environment
from .measure import Settings
from .model import Figures, Result, Row
from .summary import Machine, peers_of

SWITCHES = "switches/1000: how often a thread went to sleep, for 1000 items, all threads together; fewer is better"


def listing(screen: Screen, rows: Sequence[Row]) -> None:
    """Print the names of the rows."""
    screen.table([Column("row"), Column("what is measured")], [(row.name, row.title) for row in rows])


def preamble(environment: Environment, settings: Settings) -> str:
    """Return what a reader has to know about the figures."""
    peers = [f"{name} {version}" for name, version in environment.peers.items() if version is not None]
    absent = [name for name, version in environment.peers.items() if version is None]
    lines = [environment.in_words(), f"peers: {', '.join(peers)}"]
    if absent:
        lines.append(f"not installed: {', '.join(absent)} (pip install 'sluicegate[bench]')")
    lines.append(
        f"{settings.rounds} rounds of about {settings.seconds:g} s for each contender, in turn. ns/item is the median time of an item in "
        f"nanoseconds, less is better; it includes the loop around it ({environment.loop_nanoseconds:.0f} ns a turn), ours and theirs."
    )
    return "\n".join(lines)


def table(screen: Screen, result: Result, *, details: bool) -> None:
    """Print a row of the table, with the same column widths for each row."""
    columns = [
        Column("who", width=24),
        Column("ns/item", right=True, width=9),
        Column("lowest .. highest", right=True, width=19),
        Column("than sluicegate", right=True, width=15),
    ]
    rows = [
        [
            figures.name,
            show(figures.median),
            f"{show(min(figures.nanoseconds))} .. {show(max(figures.nanoseconds))}",
            compare(result.ratio(figures)) if number else "",
        ]
        for number, figures in enumerate(result.figures)
    ]
    if details:
        columns += [Column("items a round", right=True, width=13), Column("switches/1000", right=True, width=13)]
        for row, figures in zip(rows, result.figures, strict=True):
            row += [f"{figures.samples[0].items:,}", switches(result.row, figures)]
    screen.table(columns, rows, title=f"{result.row.name}: {result.row.title}")
    for name, reason in result.left_out.items():
        screen.say(f"  {name}: {reason}")


def as_json(environment: Environment, settings: Settings, results: Sequence[Result]) -> dict[str, Any]:
    """Return everything, including the individual samples."""
    return {
        "environment": environment.as_json(),
        "settings": settings.as_json(),
        "machine": Machine.judge(environment, results).as_json(),
        "rows": [result_as_json(result) for result in results],
    }


def result_as_json(result: Result) -> dict[str, Any]:
    """Return a row. A ratio says how many times as long as ours a contender takes."""
    peers = {figures.name for figures in peers_of(result)}
    return {
        "name": result.row.name,
        "title": result.row.title,
        "contended": result.row.contended,
        "left_out": dict(result.left_out),
        "contenders": [
            {
                "name": figures.name,
                "peer": figures.name in peers,
                "median_ns": figures.median,
                "quartiles_ns": list(figures.quartiles),
                "range_ns": [min(figures.nanoseconds), max(figures.nanoseconds)],
                "ratio": result.ratio(figures),
                "ratio_range": list(result.ratio_spread(figures)),
                "voluntary_switches_per_1000": per_thousand(figures),
                "processors": figures.processors,
                "samples": [
                    {
                        "seconds": sample.seconds,
                        "items": sample.items,
                        "voluntary": sample.voluntary,
                        "involuntary": sample.involuntary,
                        "cpu_seconds": sample.cpu_seconds,
                    }
                    for sample in figures.samples
                ],
            }
            for figures in result.figures
        ],
    }


def show(number: float) -> str:
    """Return a number with three significant digits."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def compare(ratio: float) -> str:
    """Describe a contender that takes `ratio` times as long as ours."""
    return f"{show(ratio)}x slower" if ratio >= 1 else f"{show(1 / ratio)}x faster"


def switches(row: Row, figures: Figures) -> str:
    """Return the voluntary context switches of a contended row."""
    count = per_thousand(figures)
    return "" if count is None or not row.contended else show(count)


def per_thousand(figures: Figures) -> float | None:
    """Return the voluntary context switches per 1000 items."""
    return None if figures.voluntary_per_item is None else figures.voluntary_per_item * 1000
