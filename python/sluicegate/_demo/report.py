"""What the demo shows: progress while it runs, and the report at the end."""

from __future__ import annotations

from typing import Any

from .._screen import Column, Progress, Screen
from .model import BATCH, Config, Figures, Outcome, Sample, Watcher


def watcher(progress: Progress | None) -> Watcher | None:
    """Return what shows each sample as progress."""
    if progress is None:
        return None

    def watch(sample: Sample) -> None:
        progress.update(sample.files, f"{sample.lines:,} lines counted; {sample.state}")

    return watch


def plots(screen: Screen, outcome: Outcome) -> None:
    """Draw over time how much was held."""
    from .._plot import plot

    seconds = [sample.seconds for sample in outcome.samples]
    if len(seconds) < 2:
        screen.say("The run was too short to plot how much its stages held.")
        return
    for at, figures in enumerate(outcome.figures):
        if figures.bound is not None and at < len(outcome.samples[0].held):
            values = [sample.held[at] for sample in outcome.samples]
            title = f"{figures.name}: held over time (s), bound {figures.bound}"
            screen.show(plot(seconds, values, title=title, bound=figures.bound, width=min(screen.width, 100)))


def show(screen: Screen, config: Config, outcome: Outcome, peak_memory: int | None) -> None:
    """Print what was held and where the time went, the result, and the run in three lines."""
    piped = config.queue == "sluicegate"
    names = ("bound", "most held", "busy", "starved", "blocked")
    columns = [Column("stage" if piped else "queue"), *(Column(name, right=True) for name in names)]
    rows = [(each.name, _number(each.bound), _number(each.peak), *map(_time, _times(each))) for each in _all(outcome)]
    screen.say()
    screen.table(columns, rows, title="The stages" if piped else "The queues")
    if piped:
        screen.say(
            f"  an item is a batch of up to {min(BATCH, config.maxsize)} lines; times are summed over the threads and tasks of a stage"
        )
        if outcome.bottleneck is not None:
            screen.say(f"  the bottleneck is {outcome.bottleneck!r}: stages before it are blocked by it, stages behind it are starved")
    else:
        screen.say("  as sampled; queue.Queue keeps no statistics")
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
        "slow": config.slow,
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
            "bottleneck": outcome.bottleneck,
            "stages": [
                {
                    "name": each.name,
                    "bound": each.bound,
                    "peak": each.peak,
                    "busy_seconds": each.busy_seconds,
                    "starved_seconds": each.starved_seconds,
                    "blocked_seconds": each.blocked_seconds,
                }
                for each in _all(outcome)
            ],
            "samples": [[sample.seconds, *sample.held] for sample in outcome.samples],
        },
    }


def _all(outcome: Outcome) -> tuple[Figures, ...]:
    return outcome.figures if outcome.channels is None else (outcome.channels, *outcome.figures)


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _times(figures: Figures) -> tuple[float | None, float | None, float | None]:
    return figures.busy_seconds, figures.starved_seconds, figures.blocked_seconds


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


def _summary(config: Config, outcome: Outcome, peak_memory: int | None) -> str:
    memory = "not known on this platform" if peak_memory is None else f"{peak_memory / 2**20:.1f} MiB"
    damaged = f" ({outcome.damaged} with bytes that had to be replaced)" if outcome.damaged else ""
    rate = outcome.lines / outcome.seconds if outcome.seconds else 0.0
    reader = "sluicegate.io" if config.source == "sluicegate" else "Python"
    way = "on a sluicegate Pipeline" if config.queue == "sluicegate" else "by hand on stdlib queues"
    return (
        f"{outcome.files:,} files{damaged}, {outcome.lines:,} lines, {outcome.names.total():,} identifiers, "
        f"{len(outcome.names):,} distinct\n"
        f"{outcome.seconds:.2f} s {way}, files read by {reader}, {rate:,.0f} lines/s, "
        f"{config.readers} readers, {config.workers} workers; peak memory {memory}\n"
        f"every line read was counted, and nothing ever held more than its bound"
    )
