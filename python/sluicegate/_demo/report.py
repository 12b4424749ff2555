"""What the demo shows: progress while it runs, and the report at the end."""

from __future__ import annotations

from typing import Any

from .._screen import Column, Progress, Screen
from .pipeline import Config, Outcome, QueueFigures, Sample, Watcher


def watcher(config: Config, progress: Progress | None) -> Watcher | None:
    """Return what shows each sample as progress."""
    if progress is None:
        return None

    def watch(sample: Sample) -> None:
        progress.update(
            sample.files,
            f"{sample.lines:,} lines counted, lines {sample.lines_depth}/{config.maxsize}"
            f", results {sample.results_depth}/{config.results_maxsize}",
        )

    return watch


def plots(screen: Screen, outcome: Outcome) -> None:
    """Draw the depth of both queues over time."""
    from .plot import plot

    seconds = [sample.seconds for sample in outcome.samples]
    if len(seconds) < 2:
        screen.say("The run was too short to plot the depth of its queues.")
        return
    lines, results = outcome.queues
    depths = ((lines, [sample.lines_depth for sample in outcome.samples]), (results, [sample.results_depth for sample in outcome.samples]))
    for queue, values in depths:
        title = f"{queue.name}: depth over time (s), bound {queue.maxsize}"
        screen.show(plot(seconds, values, title=title, bound=queue.maxsize, width=min(screen.width, 100)))


def show(screen: Screen, config: Config, outcome: Outcome, peak_memory: int | None) -> None:
    """Print the queues, the result, and the run in three lines."""
    columns = [Column("queue"), *(Column(name, right=True) for name in ("bound", "peak depth", "blocked in put", "blocked in get"))]
    rows = [(queue.name, f"{queue.maxsize:,}", f"{queue.peak:,}", *_blocked(queue)) for queue in _all(outcome)]
    screen.say()
    screen.table(columns, rows, title="The queues")
    if outcome.queues[0].put_blocked_seconds is None:
        screen.say("  peak depth as sampled; queue.Queue keeps no statistics")
    else:
        screen.say("  blocked: summed over the threads and tasks of that side")
    screen.say()
    columns = [Column("identifier"), Column("times", right=True)]
    screen.table(columns, [(name, f"{times:,}") for name, times in outcome.top()], title="The 10 most frequent identifiers")
    screen.say()
    screen.say(_summary(config, outcome, peak_memory))


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


def _all(outcome: Outcome) -> tuple[QueueFigures, ...]:
    return outcome.queues if outcome.channels is None else (outcome.channels, *outcome.queues)


def _blocked(queue: QueueFigures) -> tuple[str, str]:
    def show(seconds: float | None) -> str:
        return "not kept" if seconds is None else f"{seconds:.2f} s"

    return show(queue.put_blocked_seconds), show(queue.get_blocked_seconds)


def _summary(config: Config, outcome: Outcome, peak_memory: int | None) -> str:
    memory = "not known on this platform" if peak_memory is None else f"{peak_memory / 2**20:.1f} MiB"
    damaged = f" ({outcome.damaged} with bytes that had to be replaced)" if outcome.damaged else ""
    rate = outcome.lines / outcome.seconds if outcome.seconds else 0.0
    reader = "sluicegate.io" if config.source == "sluicegate" else "Python"
    return (
        f"{outcome.files:,} files{damaged}, {outcome.lines:,} lines, {outcome.names.total():,} identifiers, "
        f"{len(outcome.names):,} distinct\n"
        f"{outcome.seconds:.2f} s on {config.queue} queues, files read by {reader}, {rate:,.0f} lines/s, "
        f"{config.readers} readers, {config.workers} workers; peak memory {memory}\n"
        f"every line read was counted, and no queue was ever above its bound"
    )
