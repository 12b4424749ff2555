"""The demo by hand, on `queue.Queue`, for the comparison: the same threads and the same coroutine, joined by two queues.

The files are read, counted and added up by the functions that the demo on `Pipeline` uses. What is here is the rest: threads, ends, errors.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sluicegate import ShutDown

from . import sources
from .model import BATCH, SAMPLE_EVERY, Config, DemoError, Figures, Outcome, Reader, Sample, Totals, Watcher, check
from .stdlib_queue import StdlibQueue

JOIN_TIMEOUT = 30.0
"""Seconds a stage may take to end once its queues have ended."""


def run(config: Config, watch: Watcher | None = None) -> Outcome:
    """Run it to its end, or to its first error; `watch` is called with each sample, on a thread of its own."""
    return _Run(config, watch or (lambda sample: None)).run()


class _Run:
    """One run: its queues, its threads, and what they have done."""

    def __init__(self, config: Config, watch: Watcher) -> None:
        self.config = config
        self.watch = watch
        self.lines: StdlibQueue[str] = StdlibQueue(config.maxsize, name="lines")
        self.results: StdlibQueue[sources.Count] = StdlibQueue(config.results_maxsize, name="results")
        self.reader = Reader(config.source)
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
        seconds = time.perf_counter() - self.started
        peaks = [max((sample.held[at] for sample in self.samples), default=0) for at in range(2)]
        bounds = (("lines", self.config.maxsize), ("results", self.config.results_maxsize))
        figures = [Figures(name, bound, peak) for (name, bound), peak in zip(bounds, peaks, strict=True)]
        return check(self.config, self.reader, self.totals, seconds, self.samples, figures, None)

    # The three stages.

    def read(self, files: Sequence[Path]) -> None:
        """Put the lines of some files."""
        for file in files:
            self.lines.put_many(self.reader.pieces(file))

    def parse(self) -> None:
        """Turn batches of lines into counts."""
        while True:
            try:
                batch = self.lines.get_many(BATCH)
            except ShutDown as end:
                if end.__cause__ is not None:
                    raise
                return
            self.results.put(sources.count(batch))

    async def aggregate(self) -> None:
        """Add the counts up."""
        with self.results.consumers(1):
            async for part in self.results:
                self.totals.add(part)
                if self.config.slow:
                    await asyncio.sleep(self.config.slow)

    # Their threads.

    def start(self) -> list[threading.Thread]:
        """Start the readers, the workers and the sampler."""
        readers, workers = self.config.readers, self.config.workers
        reading = self.lines.producers(readers)
        parsing = self.lines.consumers(workers)
        counting = self.results.producers(workers)

        def reader(number: int) -> None:
            with reading:
                self.read(self.config.files[number::readers])

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
            raise DemoError(f"still running {JOIN_TIMEOUT:g} s after the end: {', '.join(alive)}")

    def sample(self) -> None:
        """Look at the depth of the queues until the end.

        Not on the event loop: that has its turn when `results` is empty, and would see it so each time.
        """
        while True:
            held = self.lines.qsize(), self.results.qsize()
            state = f"lines {held[0]}/{self.config.maxsize}, results {held[1]}/{self.config.results_maxsize}"
            sample = Sample(time.perf_counter() - self.started, held, self.reader.tally.files, self.totals.lines, state)
            self.samples.append(sample)
            self.watch(sample)
            if self.ended.wait(SAMPLE_EVERY):
                return
