"""How a run is shown: a live table (rich), and a plot (matplotlib). Both are extras."""

from __future__ import annotations

import contextlib
import itertools
import threading

from sluicegate._exceptions import Empty, ShutDown
from sluicegate._pipeline.measuring import statistics

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Generator
    from typing import Any

    from sluicegate._pipeline.running import Run
    from sluicegate._statistics import PipelineStatistics, StageStatistics

__all__ = ["plot", "progress", "record_every"]

_BUSY, _BLOCKED, _STARVED = "#2a78b8", "#d1495b", "#c9c9c9"


#: So many records are kept of a run, more than a plot has points for. Then every other one is dropped, and the interval doubled.
_MOST = 2000


def record_every(run: Run, seconds: float) -> None:
    """Record the statistics of a run at this interval, until it has ended."""

    def watch() -> None:
        interval = seconds
        while True:
            try:
                run.watching.get(timeout=interval)
            except Empty:
                run.records.append(statistics(run))
                if len(run.records) >= _MOST:
                    run.records = run.records[1::2]
                    interval *= 2
            except ShutDown:
                return

    threading.Thread(target=watch, name="pipeline record", daemon=True).start()


def state(stage: StageStatistics) -> str:
    """Return what its workers mostly do, in one word."""
    shares = {"busy": stage.busy_seconds, "blocked": stage.blocked_seconds, "starved": stage.starved_seconds}
    return max(shares, key=shares.__getitem__) if any(shares.values()) else ""


#: The columns of the table, in their order. Those that begin with a space are left out where the terminal is narrow.
_COLUMNS = ("stage", " workers", " in", "out", "failed", "held", "rate", "busy", "starved", "blocked", " p50", " p99")

#: The number of characters in a line that all columns need.
_WIDE = 120


def table(seen: PipelineStatistics, width: int = _WIDE) -> Any:
    """Return a table of rich, for a terminal with this many characters in a line."""
    from rich import box
    from rich.table import Table

    title = f"pipeline {seen.name}" if seen.name is not None else "pipeline"
    made = Table(
        title=f"{title}: {seen.elapsed_seconds:.1f} s, {seen.in_flight:,} on the way, {seen.latency_seconds:.3g} s from end to end",
        caption=f"bottleneck: {seen.bottleneck}" if seen.bottleneck else None,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    shown = [not column.startswith(" ") or width >= _WIDE for column in _COLUMNS]
    for column in itertools.compress(_COLUMNS, shown):
        made.add_column(column.strip(), justify="left" if column == "stage" else "right", no_wrap=True)
    for stage in seen.stages:
        total = stage.busy_seconds + stage.starved_seconds + stage.blocked_seconds or 1.0
        starved, blocked = stage.starved_seconds / total, stage.blocked_seconds / total
        held = f"{stage.in_flight:,}" + (f"/{stage.capacity:,}" if stage.capacity is not None else "")
        cells = (
            stage.name,
            str(stage.workers),
            f"{stage.taken:,}",
            f"{stage.passed:,}",
            f"{stage.failed:,}",
            held,
            f"{stage.rate:,.0f}/s",
            f"{stage.busy:.0%}",
            f"{starved:.0%}",
            f"{blocked:.0%}",
            f"{stage.p50_seconds * 1e3:.3g} ms",
            f"{stage.p99_seconds * 1e3:.3g} ms",
        )
        made.add_row(
            *itertools.compress(cells, shown),
            style={"blocked": "red", "starved": "dim"}.get(state(stage), ""),
        )
    return made


@contextlib.contextmanager
def progress(run: Run) -> Generator[None]:
    """Show a table on the terminal, drawn again and again until the block is left. Into a file only the last one is written."""
    try:
        from rich import get_console
        from rich.live import Live
    except ImportError as error:
        raise ImportError("progress needs rich: pip install 'sluicegate[progress]'") from error
    console = get_console()
    try:
        with Live(console=console, get_renderable=lambda: table(statistics(run), console.width), refresh_per_second=4):
            yield
    finally:
        if not console.is_terminal:  # where rich does not end the last line
            console.print()


def plot(run: Run, path: str | os.PathLike[str]) -> None:
    """Draw where the time of each stage went, and, if the run was recorded, how much it held over time."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install 'sluicegate[plot]'") from error
    seen, records = statistics(run), list(run.records)
    figure = Figure(figsize=(9, 1.5 + 0.4 * len(seen.stages) + (3 if records else 0)), layout="constrained")
    axes: Any = figure.subplots(2 if records else 1, 1, squeeze=False)
    names = [stage.name for stage in seen.stages]
    left = [0.0] * len(names)
    shares = (
        ("busy", [stage.busy_seconds for stage in seen.stages], _BUSY),
        ("blocked downstream", [stage.blocked_seconds for stage in seen.stages], _BLOCKED),
        ("starved upstream", [stage.starved_seconds for stage in seen.stages], _STARVED),
    )
    time = axes[0][0]
    for label, values, colour in shares:
        time.barh(range(len(names)), values, left=left, color=colour, label=label)
        left = [before + value for before, value in zip(left, values, strict=True)]
    time.set_yticks(range(len(names)), names)
    time.invert_yaxis()
    time.set_xlabel("seconds, summed over the workers")
    time.set_title(f"{seen.name or 'pipeline'}: the bottleneck is {seen.bottleneck}" if seen.bottleneck else seen.name or "pipeline")
    time.legend(loc="best")
    if records:
        depth = axes[1][0]
        for at, name in enumerate(names):
            depth.plot([each.elapsed_seconds for each in records], [each.stages[at].in_flight for each in records], label=name)
        depth.set_xlabel("seconds")
        depth.set_ylabel("items held")
        depth.legend(loc="best")
    figure.savefig(path)
