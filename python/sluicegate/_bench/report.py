"""The table, on the screen and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table
from rich.text import Text

from .environment import Environment
from .measure import Settings
from .model import Figures, Result, Row, Verdict


def listing(rows: Sequence[Row]) -> Table:
    """Return the names of the rows."""
    table = Table(box=None, show_header=False)
    for row in rows:
        table.add_row(row.name, row.title)
    return table


def preamble(environment: Environment, settings: Settings) -> Text:
    """Return what to know before one reads the figures."""
    build = "GIL" if environment.gil else "free-threaded"
    if environment.gil and environment.free_threaded_build:
        build = "free-threaded build running with the GIL"
    load = "" if environment.load is None else f", load {environment.load:.2f}"
    peers = [f"{name} {version}" for name, version in environment.peers.items() if version is not None]
    absent = [name for name, version in environment.peers.items() if version is None]
    text = Text(
        f"sluicegate {environment.sluicegate} on {environment.python} ({build}), {environment.system} "
        f"{environment.machine}, {environment.cores} of {environment.cores_of_machine} cores{load}\n"
        f"peers: {', '.join(peers)}\n"
    )
    if absent:
        text.append(f"not installed: {', '.join(absent)} (pip install 'sluicegate[bench]')\n")
    return text.append(
        f"{settings.rounds} interleaved rounds of about {settings.seconds:g} s each, medians; every figure "
        f"includes the loop around it ({environment.loop_nanoseconds:.0f} ns a turn), ours and theirs"
    )


def table(result: Result) -> Group:
    """Return a row of the table with its goals; the columns are as wide for each, so that they line up."""
    made = Table(title=f"{result.row.name}: {result.row.title}", title_justify="left", title_style="bold", box=SIMPLE)
    made.add_column("who", width=20)
    made.add_column("ns/item", justify="right", width=8)
    made.add_column("min .. max", justify="right", width=18)
    made.add_column("vs ours", justify="right", width=8)
    made.add_column(last_column(result), justify="right", width=8)
    for number, figures in enumerate(result.figures):
        made.add_row(
            figures.name,
            show(figures.median),
            f"{show(min(figures.nanoseconds))} .. {show(max(figures.nanoseconds))}",
            f"{result.ratio(figures):.3g}x" if number else "",
            show_bytes(figures) if is_keyed(result) else switches(result.row, figures),
        )
    notes = [Text(f"  {result.row.rounds} rounds at most")] if result.row.rounds else []
    notes += [Text(f"  {name}: {reason}") for name, reason in result.left_out.items()]
    notes += [Text("  goal: ").append_text(show_verdict(verdict)) for verdict in result.verdicts]
    return Group("", made, *notes)


def closing(results: Sequence[Result], seconds: float) -> Text:
    """Return the sum of the goals."""
    verdicts = [(result.row, verdict) for result in results for verdict in result.verdicts]
    met = sum(verdict.met for _, verdict in verdicts)
    text = Text(f"\n{met} of {len(verdicts)} goals met; {seconds:.0f} s")
    for row, verdict in verdicts:
        if not verdict.met:
            text.append(f"\n{row.name}: ").append_text(show_verdict(verdict))
    return text


def as_json(environment: Environment, settings: Settings, results: Sequence[Result]) -> dict[str, Any]:
    """Return everything, down to the single samples."""
    return {
        "environment": environment.as_json(),
        "settings": settings.as_json(),
        "rows": [result_as_json(result) for result in results],
    }


def result_as_json(result: Result) -> dict[str, Any]:
    """Return a row; a ratio is how many times longer the peer takes."""
    return {
        "name": result.row.name,
        "title": result.row.title,
        "contended": result.row.contended,
        "left_out": dict(result.left_out),
        "goals": [{"goal": verdict.goal, "measured": verdict.measured, "met": verdict.met} for verdict in result.verdicts],
        "contenders": [
            {
                "name": figures.name,
                "median_ns": figures.median,
                "quartiles_ns": list(figures.quartiles),
                "range_ns": [min(figures.nanoseconds), max(figures.nanoseconds)],
                "ratio": result.ratio(figures),
                "ratio_range": list(result.ratio_spread(figures)),
                "voluntary_switches_per_1000": per_thousand(figures),
                "bytes_per_key": figures.key_bytes,
                "samples": [
                    {
                        "seconds": sample.seconds,
                        "items": sample.items,
                        "voluntary": sample.voluntary,
                        "involuntary": sample.involuntary,
                        "bytes_per_key": sample.key_bytes,
                    }
                    for sample in figures.samples
                ],
            }
            for figures in result.figures
        ],
    }


def show(nanoseconds: float) -> str:
    """Return a time with three digits that matter."""
    return f"{nanoseconds:,.0f}" if nanoseconds >= 100 else f"{nanoseconds:.3g}"


def is_keyed(result: Result) -> bool:
    """Return whether the row is about memory, too."""
    return any(figures.key_bytes is not None for figures in result.figures)


def last_column(result: Result) -> str:
    """Return what the last column says, if anything."""
    if is_keyed(result):
        return "bytes\n/key"
    return "switches\n/1000" if result.row.contended else ""


def show_bytes(figures: Figures) -> str:
    """Return the bytes of a key."""
    return "" if figures.key_bytes is None else f"{figures.key_bytes:,.0f}"


def switches(row: Row, figures: Figures) -> str:
    """Return the voluntary context switches of a contended row."""
    count = per_thousand(figures)
    return "" if count is None or not row.contended else f"{count:,.3g}" if count < 100 else f"{count:,.0f}"


def per_thousand(figures: Figures) -> float | None:
    """Return the voluntary context switches per 1000 items."""
    return None if figures.voluntary_per_item is None else figures.voluntary_per_item * 1000


def show_verdict(verdict: Verdict) -> Text:
    """Return a goal, what came out, and whether that is good enough."""
    text = Text(f"{verdict.goal}: {verdict.measured:.3g}, ")
    return text.append("met", "green") if verdict.met else text.append("not met", "bold red")
