"""The demo on `Pipeline`: threads read files and cut them into lines, threads count, a coroutine adds up.

    sluicegate.io --> bytes --> lines --> count --> add up
                  (channel)   (threads) (threads) (coroutine)

Each arrow has a bound, so the memory in use does not grow, however slow the next stage is. After the last file, after the first error and
after Ctrl-C all stages end, and none of the functions below does anything for that.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from sluicegate import Pipeline, PipelineRun, Queue, StageStatistics, produce

from . import sources
from .model import BATCH, SAMPLE_EVERY, Config, Figures, OnTheWay, Outcome, Reader, Sample, Totals, Watcher, check


def build(
    config: Config, read: Callable[[Path], list[str]], add: Callable[[sources.Count], object], on_the_way: OnTheWay
) -> Pipeline[NoReturn]:
    """Describe the program."""
    size = min(BATCH, config.maxsize)
    files: Queue[Path] = Queue()
    files.put_many(config.files)
    files.shutdown()

    def lines() -> Iterator[list[str]]:
        for file in files:
            pieces = read(file)
            for at in range(0, len(pieces), size):
                on_the_way.enter()
                yield pieces[at : at + size]

    return (
        Pipeline(produce(lines, threads=config.readers), name="demo")
        .buffer(config.maxsize // size + config.readers)  # a batch has its place from the moment when its reader begins with it
        .map(sources.count, workers=config.workers, ordered=False, buffer=config.results_maxsize)
        .for_each(add, buffer=0, name="add up")
    )


def run(config: Config, watch: Watcher | None = None) -> Outcome:
    """Run it to its end, or to its first error; `watch` is called with each sample, on a thread of its own."""
    reader, totals, on_the_way = Reader(config.source), Totals(), OnTheWay()

    async def add(part: sources.Count) -> None:
        totals.add(part)
        if config.slow:
            await asyncio.sleep(config.slow)
        on_the_way.leave()

    started = time.perf_counter()
    with build(config, reader.pieces, add, on_the_way).start() as running:
        with Sampler(running, reader, totals, watch or (lambda sample: None)) as sampler:
            running.wait()
    seconds = time.perf_counter() - started
    seen = running.statistics()
    figures = [figures_of(stage, sampler.peaks.get(stage.name, 0)) for stage in seen.stages]
    stated = sum(stage.capacity or 0 for stage in seen.stages)
    figures.append(Figures("all stages", stated, on_the_way.peak))
    return check(config, reader, totals, seconds, sampler.samples, figures, seen.bottleneck)


def figures_of(stage: StageStatistics, peak: int) -> Figures:
    """Return what there is to say about a stage."""
    return Figures(stage.name, stage.capacity, peak, stage.busy_seconds, stage.starved_seconds, stage.blocked_seconds)


def state_of(stage: StageStatistics) -> str:
    """Return what a stage holds, and what its workers have mostly done: they were busy, starved or blocked."""
    times = {"busy": stage.busy_seconds, "starved": stage.starved_seconds, "blocked": stage.blocked_seconds}
    held = "" if stage.capacity is None else f" {stage.in_flight}/{stage.capacity}"
    return f"{stage.name}{held} {max(times, key=times.__getitem__)}"


class Sampler:
    """Looks at a run from time to time, on a thread of its own. An error there ends the run, and is raised in its place."""

    def __init__(self, running: PipelineRun[NoReturn], reader: Reader, totals: Totals, watch: Watcher) -> None:
        self.running = running
        self.reader = reader
        self.totals = totals
        self.watch = watch
        self.samples: list[Sample] = []
        self.peaks: dict[str, int] = {}
        self.error: BaseException | None = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        """Begin to look."""
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        """Stop looking."""
        self.ended.set()
        self.thread.join()
        if self.error is not None:
            raise self.error

    def look(self) -> None:
        """Look until the end."""
        try:
            while True:
                self.sample()
                if self.ended.wait(SAMPLE_EVERY):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits for the run
            self.error = error
            self.running.kill("nobody watches it any more")

    def sample(self) -> None:
        """Look once."""
        seen = self.running.statistics()
        for stage in seen.stages:
            self.peaks[stage.name] = max(self.peaks.get(stage.name, 0), stage.in_flight)
        sample = Sample(
            seconds=seen.elapsed_seconds,
            held=tuple(stage.in_flight for stage in seen.stages),
            files=self.reader.tally.files,
            lines=self.totals.lines,
            state=", ".join(map(state_of, seen.stages)),
        )
        self.samples.append(sample)
        self.watch(sample)
