"""What the demo shows: progress while it runs, and the report at the end."""

from __future__ import annotations

from types import TracebackType
from typing import Any, final

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .pipeline import Config, Outcome, QueueFigures, Sample
from .plot import plot


@final
class LiveProgress:
    """A progress bar over the files, with the depth of both queues beside it; a context manager."""

    def __init__(self, config: Config, console: Console, *, enabled: bool) -> None:
        self._config = config
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            auto_refresh=False,
            disable=not (enabled and console.is_terminal),
        )
        self._task = self._progress.add_task("files read", total=len(config.files), state="")
        self._next_refresh = 0.0

    def __enter__(self) -> LiveProgress:
        """Start to show."""
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        """Take the progress off the screen."""
        self._progress.stop()

    def update(self, sample: Sample) -> None:
        """Show a sample, ten times a second at most."""
        if sample.seconds < self._next_refresh:
            return
        self._next_refresh = sample.seconds + 0.1
        state = (
            f"{sample.lines:,} lines counted · lines {sample.lines_depth}/{self._config.maxsize}"
            f" · results {sample.results_depth}/{self._config.results_maxsize}"
        )
        self._progress.update(self._task, completed=sample.files, state=state)
        self._progress.refresh()


def render(config: Config, outcome: Outcome, peak_memory: int | None, *, width: int) -> RenderableType:
    """Return the whole report."""
    return Group(
        _plots(outcome, width),
        "The queues",
        _queues(outcome),
        "The 10 most frequent identifiers",
        _result(outcome),
        _summary(config, outcome, peak_memory),
    )


def as_json(config: Config, outcome: Outcome, peak_memory: int | None) -> dict[str, Any]:
    """Return the run as JSON: `result` is the same for every queue, the rest is not."""
    return {
        "queue": config.queue,
        "source": config.source,
        "readers": config.readers,
        "workers": config.workers,
        "result": {
            "files": outcome.files,
            "lines": outcome.lines,
            "damaged_files": outcome.damaged,
            "identifiers": outcome.names.total(),
            "distinct_identifiers": len(outcome.names),
            "top": [list(pair) for pair in outcome.top()],
        },
        "run": {
            "seconds": outcome.seconds,
            "peak_memory_bytes": peak_memory,
            "queues": [
                {
                    "name": queue.name,
                    "maxsize": queue.maxsize,
                    "peak": queue.peak,
                    "put_blocked_seconds": queue.put_blocked_seconds,
                    "get_blocked_seconds": queue.get_blocked_seconds,
                }
                for queue in _all(outcome)
            ],
            "samples": [[sample.seconds, sample.lines_depth, sample.results_depth] for sample in outcome.samples],
        },
    }


def _plots(outcome: Outcome, width: int) -> RenderableType:
    seconds = [sample.seconds for sample in outcome.samples]
    lines, results = outcome.queues
    pictures = (
        (lines, [sample.lines_depth for sample in outcome.samples], "cyan"),
        (results, [sample.results_depth for sample in outcome.samples], "magenta"),
    )
    if len(seconds) < 2:
        return Text("The run was too short to plot the depth of its queues.\n")
    return Group(
        *(
            Text(
                plot(
                    seconds,
                    values,
                    title=f"{queue.name}: depth over time (s), bound {queue.maxsize}",
                    bound=queue.maxsize,
                    width=min(width, 100),
                ),
                style=style,
                no_wrap=True,
            )
            for queue, values, style in pictures
        )
    )


def _result(outcome: Outcome) -> Table:
    table = Table(box=SIMPLE)
    table.add_column("identifier")
    table.add_column("times", justify="right")
    for name, times in outcome.top():
        table.add_row(Text(name), f"{times:,}")
    return table


def _queues(outcome: Outcome) -> Group:
    table = Table(box=SIMPLE)
    for column in ("queue", "bound", "peak depth", "blocked in put", "blocked in get"):
        table.add_column(column, justify="left" if column == "queue" else "right")
    for queue in _all(outcome):
        table.add_row(queue.name, f"{queue.maxsize:,}", f"{queue.peak:,}", *_blocked(queue))
    if outcome.queues[0].put_blocked_seconds is None:
        note = "peak depth as sampled; queue.Queue keeps no statistics"
    else:
        note = "blocked: summed over the threads and tasks of that side"
    return Group(table, f"  {note}\n")


def _all(outcome: Outcome) -> tuple[QueueFigures, ...]:
    return outcome.queues if outcome.channels is None else (outcome.channels, *outcome.queues)


def _blocked(queue: QueueFigures) -> tuple[str, str]:
    def show(seconds: float | None) -> str:
        return "not kept" if seconds is None else f"{seconds:.2f} s"

    return show(queue.put_blocked_seconds), show(queue.get_blocked_seconds)


def _summary(config: Config, outcome: Outcome, peak_memory: int | None) -> Text:
    memory = "not known on this platform" if peak_memory is None else f"{peak_memory / 2**20:.1f} MiB"
    damaged = f" ({outcome.damaged} with bytes that had to be replaced)" if outcome.damaged else ""
    rate = outcome.lines / outcome.seconds if outcome.seconds else 0.0
    reader = "sluicegate.io" if config.source == "sluicegate" else "Python"
    return Text(
        f"{outcome.files:,} files{damaged}, {outcome.lines:,} lines, {outcome.names.total():,} identifiers, "
        f"{len(outcome.names):,} distinct\n"
        f"{outcome.seconds:.2f} s on {config.queue} queues, files read by {reader}, {rate:,.0f} lines/s, "
        f"{config.readers} readers, {config.workers} workers; peak memory {memory}\n"
        f"every line read was counted, and no queue was ever above its bound"
    )
