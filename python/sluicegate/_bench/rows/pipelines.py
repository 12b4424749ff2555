"""The rows about pipelines: three stages of threads, a source before them and a sink behind.

In two rows their functions do nothing, and the peer is what is written by hand otherwise: a thread for each stage, and a `queue.Queue` with
an end mark between them. In the third they calculate, which takes one core where threads share the GIL, and two where they do not. What a
second core is worth depends on the machine, so two threads that share the calculations, and nothing else, stand beside them.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import sluicegate
from sluicegate._bench.harness import BenchError, Stopwatch
from sluicegate._bench.model import OURS, Contender, Row, Run, Sample
from sluicegate._pipeline.steps import BUFFER

LARGE = 1024
BY_HAND = "queue.Queue by hand"
ONE_THREAD = "one thread"
TWO_THREADS = "two threads of one's own"

_END: Any = object()


def step(item: int) -> int:
    """Do almost nothing."""
    return item + 1


def calculate(item: int) -> int:
    """Keep a core busy, for about 0.1 ms."""
    for number in range(3000):
        item += number & 1
    return item - 1499


def described(buffer: int, *, fused: bool, function: Callable[[int], int] = step) -> Run:
    """Three stages of ours: each with a thread of its own, or fused into one."""

    def run(n: int) -> Sample:
        pipeline = sluicegate.Pipeline(range(n)).map(function, buffer=buffer)
        for _ in range(2):
            pipeline = pipeline.map(function, workers=0 if fused else 1, buffer=buffer)
        sums = _Sum()
        sink = pipeline.for_each(sums.add, in_caller=True, buffer=buffer)
        with Stopwatch() as watch:
            sink.run()
        sums.check(n)
        return watch.sample(n)

    return run


def by_hand(buffer: int) -> Run:
    """Three threads, a fourth for the source, and four queues."""

    def run(n: int) -> Sample:
        queues: list[queue.Queue[Any]] = [queue.Queue(buffer) for _ in range(4)]
        threads = [threading.Thread(target=_feed, args=(range(n), queues[0]))]
        threads += [threading.Thread(target=_pass_on, args=ends) for ends in pairwise(queues)]
        sums = _Sum()
        with Stopwatch() as watch:
            for thread in threads:
                thread.start()
            while (item := queues[-1].get()) is not _END:
                sums.add(item)
            for thread in threads:
                thread.join()
        sums.check(n)
        return watch.sample(n)

    return run


def in_one_thread(n: int) -> Sample:
    """The calculations of the three stages, one after the other."""
    sums = _Sum()
    with Stopwatch() as watch:
        _calculate_all(range(n), sums)
    sums.check(n)
    return watch.sample(n)


def in_two_threads(n: int) -> Sample:
    """Half of the items each, without anything between the threads."""
    sums = [_Sum(), _Sum()]
    threads = [threading.Thread(target=_calculate_all, args=(range(at, n, 2), sums[at])) for at in range(2)]
    with Stopwatch() as watch:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    both = _Sum()
    both.count, both.total = (sum(figures) for figures in zip(*((each.count, each.total) for each in sums), strict=True))
    both.check(n)
    return watch.sample(n)


def _calculate_all(items: Iterable[int], sums: _Sum) -> None:
    for item in items:
        sums.add(calculate(calculate(calculate(item))))


def _feed(items: Iterable[int], into: queue.Queue[Any]) -> None:
    for item in items:
        into.put(item)
    into.put(_END)


def _pass_on(before: queue.Queue[Any], behind: queue.Queue[Any]) -> None:
    while (item := before.get()) is not _END:
        behind.put(step(item))
    behind.put(_END)


class _Sum:
    """Sees that every item has come through."""

    def __init__(self) -> None:
        self.count = self.total = 0

    def add(self, item: int) -> None:
        self.count += 1
        self.total += item

    def check(self, n: int) -> None:
        if (self.count, self.total) != (n, n * (n - 1) // 2 + 3 * n):
            raise BenchError(f"{self.count} of {n} items came through, and their sum is {self.total}")


def _row(name: str, buffer: int) -> Row:
    contenders = (
        Contender(OURS, described(buffer, fused=False)),
        Contender(BY_HAND, by_hand(buffer)),
        Contender("fused into one stage", described(buffer, fused=True), peer=False),
    )
    return Row(name, f"pipeline of 3 stages, a thread each, buffer {buffer}", contenders, least=20_000, contended=True)


def _row_of_calculations() -> Row:
    contenders = (
        Contender(OURS, described(BUFFER, fused=False, function=calculate)),
        Contender(ONE_THREAD, in_one_thread, peer=False),
        Contender(TWO_THREADS, in_two_threads, peer=False),
    )
    return Row("pipeline-cpu", "pipeline of 3 stages that calculate, a thread each", contenders, least=1_000, contended=True)


ROWS = (_row("pipeline", LARGE), _row("pipeline-default", BUFFER), _row_of_calculations())
