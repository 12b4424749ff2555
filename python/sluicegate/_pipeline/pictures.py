"""How a run is shown: a live table (rich), and a plot (matplotlib). Both are extras."""

from __future__ import annotations

import contextlib
import threading

from sluicegate._exceptions import Empty, ShutDown
from sluicegate._pipeline.measuring import statistics
from sluicegate._stage_table import cells, columns, title

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


#: The number of characters in a line that all columns need.
_WIDE = 120


def table(seen: PipelineStatistics, width: int = _WIDE) -> Any:
    """Return a table of rich, for a terminal with this many characters in a line."""
    from rich import box
    from rich.table import Table
    from rich.text import Text  # in a str, `[x]` is a style

    made = Table(
        title=Text(title(seen)),
        caption=Text(f"bottleneck: {seen.bottleneck}") if seen.bottleneck else None,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    names = columns(seen, is_narrow=width < _WIDE)
    for name in names:
        made.add_column(name, justify="left" if name == "stage" else "right", no_wrap=True)
    for stage in seen.stages:
        row = cells(stage)
        made.add_row(*(Text(row[name]) for name in names), style={"blocked": "red", "starved": "dim"}.get(state(stage), ""))
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


def _literal(name: str) -> str:
    """Return a name as matplotlib shows it: `$` is not the beginning of a formula, and a legend leaves out what begins with `_`."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def plot(run: Run, path: str | os.PathLike[str]) -> None:
    """Draw where the time of each stage went, and, if the run was recorded, how much it held over time."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install 'sluicegate[plot]'") from error
    seen, records = statistics(run), list(run.records)
    figure = Figure(figsize=(9, 1.5 + 0.4 * len(seen.stages) + (3 if records else 0)), layout="constrained")
    axes: Any = figure.subplots(2 if records else 1, 1, squeeze=False)
    names = [_literal(stage.name) for stage in seen.stages]
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
    whole = seen.name or "pipeline"
    time.set_title(_literal(f"{whole}: the bottleneck is {seen.bottleneck}" if seen.bottleneck else whole))
    time.legend(loc="best")
    if records:
        records.append(seen)  # so that one record is a line too
        depth = axes[1][0]
        for at, name in enumerate(names):
            depth.plot([each.elapsed_seconds for each in records], [each.stages[at].in_flight for each in records], label=name)
        depth.set_xlabel("seconds")
        depth.set_ylabel("items held")
        depth.legend(loc="best")
    figure.savefig(path)
