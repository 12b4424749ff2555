"""The demo's pipeline: files are read without the GIL, threads cut them, threads parse, a coroutine adds up.

    sluicegate.io --> bytes --> reader threads --> lines --> worker threads --> results --> asyncio
                  (channel)                     (queue)                       (queue)

The queues and the channels (one for each file) are bounded, so memory stays flat however slow the next stage is. The ends need no flag
and no sentinel: a channel ends where its file does;
when the last reader leaves `lines.producers(...)`, the workers' `get_many` drains the queue and then raises
`ShutDown`; when the last worker leaves `results.producers(...)`, the `async for` ends. The other way round, a stage
whose consumers have left gets `ShutDown` from its `put`, so no thread is left waiting for somebody who is gone.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

from sluicegate import CreditChannel, Queue, ShutDown

from . import sources
from .stdlib_queue import StdlibQueue

BATCH = 256
"""How many lines a worker takes at a time, at most."""

WINDOW = 256 * 1024
"""How many bytes of a file may be on their way to its reader."""

SAMPLE_EVERY = 0.02
"""Seconds between two looks at the depth of the queues."""

JOIN_TIMEOUT = 30.0
"""Seconds a stage may take to end once its queues have ended."""

Lines: TypeAlias = "Queue[str] | StdlibQueue[str]"
Results: TypeAlias = "Queue[sources.Count] | StdlibQueue[sources.Count]"


class PipelineError(Exception):
    """The pipeline broke one of its own promises."""


@dataclass(frozen=True)
class Config:
    """What to run."""

    files: Sequence[Path]
    queue: str = "sluicegate"
    readers: int = 2
    workers: int = 2
    maxsize: int = 512
    source: str = "sluicegate"

    @property
    def results_maxsize(self) -> int:
        """The bound of the second queue: its items stand for up to `BATCH` lines each, so it can be smaller."""
        return max(1, self.maxsize // 16)


@dataclass
class Tally:
    """What one reader has done so far; written by its own thread only."""

    files: int = 0
    lines: int = 0
    damaged: int = 0
    peak_bytes: int = 0
    send_blocked_seconds: float = 0.0
    receive_blocked_seconds: float = 0.0


@dataclass
class Totals:
    """What the last stage has added up so far."""

    lines: int = 0
    names: Counter[str] = field(default_factory=Counter[str])

    def add(self, part: sources.Count) -> None:
        """Add the count of one batch."""
        self.lines += part.lines
        self.names.update(part.names)


@dataclass(frozen=True)
class Sample:
    """The depth of both queues at a moment, and how far the run has come."""

    seconds: float
    lines_depth: int
    results_depth: int
    files: int
    lines: int


@dataclass(frozen=True)
class QueueFigures:
    """What there is to say about a queue after the run; the blocked times are None where nobody keeps them."""

    name: str
    maxsize: int
    peak: int
    put_blocked_seconds: float | None
    get_blocked_seconds: float | None


@dataclass(frozen=True)
class Outcome:
    """A finished run: the result, which does not depend on the queue or on luck, and the figures, which do."""

    files: int
    damaged: int
    lines: int
    names: Counter[str]
    seconds: float
    samples: list[Sample]
    queues: tuple[QueueFigures, QueueFigures]
    channels: QueueFigures | None

    def top(self, n: int = 10) -> list[tuple[str, int]]:
        """Return the n most frequent identifiers, ties in alphabetical order."""
        return sorted(self.names.items(), key=lambda pair: (-pair[1], pair[0]))[:n]


Watcher: TypeAlias = Callable[[Sample], None]


def run(config: Config, watch: Watcher | None = None) -> Outcome:
    """Run the pipeline to its end, or to its first error; `watch` is called with each sample, on a thread of its own."""
    return _Run(config, watch or (lambda sample: None)).run()


class _Run:
    """One run: its queues, its threads, and what they have done."""

    def __init__(self, config: Config, watch: Watcher) -> None:
        self.config = config
        self.watch = watch
        make = Queue if config.queue == "sluicegate" else StdlibQueue
        self.lines: Lines = make(config.maxsize, name="lines")
        self.results: Results = make(config.results_maxsize, name="results")
        self.tallies = [Tally() for _ in range(config.readers)]
        self.totals = Totals()
        self.samples: list[Sample] = []
        self.failures: list[BaseException] = []
        self.ended = threading.Event()
        self.started = time.perf_counter()

    def run(self) -> Outcome:
        threads = self.start()
        try:
            asyncio.run(self.aggregate())
        except ShutDown:
            pass  # a stage before this one failed: its error is among the failures
        finally:
            self.stop()
            self.ended.set()
            self.join(threads)
        if self.failures:
            raise self.failures[0]
        return self.outcome(time.perf_counter() - self.started)

    # The three stages.

    def read(self, files: Sequence[Path], tally: Tally) -> None:
        """Put the lines of some files."""
        fetch = partial(self.fetch, tally=tally) if self.config.source == "sluicegate" else Path.read_bytes
        for file in files:
            source = sources.read_source(file, fetch)
            self.lines.put_many(sources.cut(source.text))
            tally.files += 1
            tally.lines += source.text.count("\n")
            tally.damaged += source.damaged

    def fetch(self, path: Path, tally: Tally) -> bytes:
        """Return what is in a file; an error of the file comes out of its channel."""
        from sluicegate.io import read_chunks  # an extension built without it can still run the old way

        channel = CreditChannel[bytes](WINDOW, weigh=len, name=path.name)
        with channel.receiver as receiver:
            read_chunks(path, channel.sender)
            found = b"".join(receiver)
        seen = channel.statistics()
        tally.peak_bytes = max(tally.peak_bytes, int(seen.peak_outstanding))
        tally.send_blocked_seconds += seen.send_blocked_seconds
        tally.receive_blocked_seconds += seen.receive_blocked_seconds
        return found

    def parse(self) -> None:
        """Turn batches of lines into counts."""
        for batch in batches(self.lines, BATCH):
            self.results.put(sources.count(batch))

    async def aggregate(self) -> None:
        """Add the counts up."""
        with self.results.consumers(1):
            async for part in self.results:
                self.totals.add(part)

    # Their threads.

    def start(self) -> list[threading.Thread]:
        """Start the readers, the workers and the sampler."""
        readers, workers = self.config.readers, self.config.workers
        reading = self.lines.producers(readers)
        parsing = self.lines.consumers(workers)
        counting = self.results.producers(workers)

        def reader(number: int) -> None:
            with reading:
                self.read(self.config.files[number::readers], self.tallies[number])

        def worker() -> None:
            with parsing, counting:
                self.parse()

        stages = [(f"reader-{n}", partial(reader, n)) for n in range(readers)]
        stages += [(f"worker-{n}", worker) for n in range(workers)]
        stages.append(("sampler", self.sample))
        threads = [threading.Thread(target=self.guard, args=(stage,), name=name, daemon=True) for name, stage in stages]
        for thread in threads:
            thread.start()
        return threads

    def guard(self, stage: Callable[[], None]) -> None:
        """Run a stage; its error is kept for the end, and ends the others at once."""
        try:
            stage()
        except ShutDown:
            pass  # another stage has ended the stream
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised again at the end
            self.failures.append(error)
            self.stop()

    def stop(self) -> None:
        """Wake every stage that still waits."""
        self.lines.shutdown(immediate=True)
        self.results.shutdown(immediate=True)

    def join(self, threads: list[threading.Thread]) -> None:
        """Wait for the threads of a stream that has ended."""
        for thread in threads:
            thread.join(JOIN_TIMEOUT)
        alive = [thread.name for thread in threads if thread.is_alive()]
        if alive:
            raise PipelineError(f"still running {JOIN_TIMEOUT:g} s after the end: {', '.join(alive)}")

    # What there is to see.

    def sample(self) -> None:
        """Look at the depth of the queues until the end.

        Not on the event loop: that has its turn when `results` is empty, and would see it so each time.
        """
        while True:
            sample = Sample(
                seconds=time.perf_counter() - self.started,
                lines_depth=self.lines.qsize(),
                results_depth=self.results.qsize(),
                files=sum(tally.files for tally in self.tallies),
                lines=self.totals.lines,
            )
            self.samples.append(sample)
            self.watch(sample)
            if self.ended.wait(SAMPLE_EVERY):
                return

    def outcome(self, seconds: float) -> Outcome:
        """Check the promises, and sum up."""
        read = sum(tally.lines for tally in self.tallies)
        if read != self.totals.lines:
            raise PipelineError(f"{read} lines read, but {self.totals.lines} counted")
        seen_lines = max((sample.lines_depth for sample in self.samples), default=0)
        seen_results = max((sample.results_depth for sample in self.samples), default=0)
        return Outcome(
            files=sum(tally.files for tally in self.tallies),
            damaged=sum(tally.damaged for tally in self.tallies),
            lines=read,
            names=self.totals.names,
            seconds=seconds,
            samples=self.samples,
            queues=(
                figures(self.lines, "lines", self.config.maxsize, seen_lines),
                figures(self.results, "results", self.config.results_maxsize, seen_results),
            ),
            channels=self.channels() if self.config.source == "sluicegate" else None,
        )

    def channels(self) -> QueueFigures:
        """Return what there is to say about the channels of all files, having checked that none was ever above its window."""
        tallies = self.tallies
        peak = max(tally.peak_bytes for tally in tallies)
        if peak > WINDOW:
            raise PipelineError(f"{peak} bytes of a file were on their way, the window is {WINDOW}")
        blocked = sum(tally.send_blocked_seconds for tally in tallies), sum(tally.receive_blocked_seconds for tally in tallies)
        return QueueFigures("bytes of a file", WINDOW, peak, *blocked)


def batches(queue: Lines, size: int) -> Iterator[list[str]]:
    """Yield what a queue holds, up to `size` items at a time, until it has ended and is empty."""
    while True:
        try:
            batch = queue.get_many(size)
        except ShutDown as end:
            if end.__cause__ is not None:
                raise
            return
        yield batch


def figures(queue: Lines | Results, name: str, maxsize: int, seen: int) -> QueueFigures:
    """Return a queue's figures, having checked that it was never above its bound."""
    peak, put_blocked, get_blocked = seen, None, None
    if isinstance(queue, Queue):
        statistics = queue.statistics()
        peak = max(seen, statistics.peak_size)
        put_blocked, get_blocked = statistics.put_blocked_seconds, statistics.get_blocked_seconds
    if peak > maxsize:
        raise PipelineError(f"the queue {name!r} held {peak} items, its bound is {maxsize}")
    return QueueFigures(name, maxsize, peak, put_blocked, get_blocked)
