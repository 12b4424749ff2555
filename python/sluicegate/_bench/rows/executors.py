"""The rows about work in threads and tasks: the executor, the bounded maps, reading ahead.

The functions do nothing: what is measured is what a job or an item costs beside its work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import sluicegate
from sluicegate._bench.harness import BenchError, Stopwatch, run_loop
from sluicegate._bench.model import OURS, Contender, Row, Run, Sample

WORKERS = 4
PENDING = 1024
TASKS = 10
STDLIB = "ThreadPoolExecutor"

Pool = Callable[[], Executor]
Job = Callable[[Executor, int], int]


def same(item: int) -> int:
    """Do nothing."""
    return item


async def same_async(item: int, *_others: int) -> int:
    """Do nothing."""
    return item


def bounded() -> Executor:
    """Make ours."""
    return sluicegate.BoundedExecutor(WORKERS, max_pending=PENDING)


def threads() -> Executor:
    """Make the standard library's, which is not bounded."""
    return ThreadPoolExecutor(WORKERS)


def mapped(pool: Executor, n: int) -> int:
    """Map all items, and take the results."""
    return sum(1 for _ in pool.map(same, range(n)))


def submitted(pool: Executor, n: int) -> int:
    """Submit all, and then take the results."""
    submit = pool.submit
    futures = [submit(same, item) for item in range(n)]
    return sum(future.result() < n for future in futures)


def one_at_a_time(pool: Executor, n: int) -> int:
    """Submit one, and take its result."""
    submit = pool.submit
    return sum(submit(same, item).result() < n for item in range(n))


def through(make: Pool, job: Job) -> Run:
    """Run the job in a pool whose threads have been started."""

    def run(n: int) -> Sample:
        with make() as pool:
            for future in [pool.submit(same, item) for item in range(WORKERS * 8)]:
                future.result()
            with Stopwatch() as watch:
                done = job(pool, n)
        if done != n:
            raise BenchError(f"{n - done} results missing")
        return watch.sample(n)

    return run


def pools(job: Job) -> tuple[Contender, ...]:
    """Compare ours with the standard library's."""
    return Contender(OURS, through(bounded, job)), Contender(STDLIB, through(threads, job))


def mapped_by_tasks(make: Callable[[int], Any]) -> Run:
    """Await a function for each item, in order."""

    async def work(n: int) -> Sample:
        with Stopwatch() as watch:
            async with make(n) as results:
                done = 0
                async for _ in results:
                    done += 1
        if done != n:
            raise BenchError(f"{n - done} results missing")
        return watch.sample(n)

    return lambda n: run_loop(work(n))


def ours_by_tasks(n: int) -> Any:
    """`amap_bounded` over a range."""
    return sluicegate.amap_bounded(same_async, range(n), workers=TASKS)


def aiostreams(n: int) -> Any:
    """Make aiostream's ordered map."""
    from aiostream import stream

    return stream.map(stream.iterate(_numbers(n)), same_async, task_limit=TASKS).stream()


async def _numbers(n: int) -> AsyncIterator[int]:
    for number in range(n):
        yield number


def one_after_another(n: int) -> Any:
    """Await in a loop: the least that it can cost."""

    class Block:
        async def __aenter__(self) -> AsyncIterator[int]:
            return self.results()

        async def __aexit__(self, *_exc: object) -> None:
            pass

        async def results(self) -> AsyncIterator[int]:
            for number in range(n):
                yield await same_async(number)

    return Block()


def with_threads(make: Callable[[int], Any]) -> Run:
    """Take all results of a map over a range."""

    def run(n: int) -> Sample:
        with Stopwatch() as watch, make(n) as results:
            done = sum(1 for _ in results)
        if done != n:
            raise BenchError(f"{n - done} results missing")
        return watch.sample(n)

    return run


class _Pool:
    """`ThreadPoolExecutor.map`, as a block."""

    def __init__(self, n: int) -> None:
        self.pool = ThreadPoolExecutor(WORKERS)
        self.n = n

    def __enter__(self) -> Iterator[int]:
        return self.pool.map(same, range(self.n))

    def __exit__(self, *_exc: object) -> None:
        self.pool.shutdown()


def generated(n: int) -> Iterator[int]:
    """Yield `n` numbers."""
    yield from range(n)


class _Plain:
    """A generator, as a block."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __enter__(self) -> Iterator[int]:
        return generated(self.n)

    def __exit__(self, *_exc: object) -> None:
        pass


ROWS = (
    Row("executor-map", f"map a trivial function over items, {WORKERS} threads", pools(mapped), least=2_000, contended=True),
    Row("executor-submit", f"submit all, then take the results, {WORKERS} threads", pools(submitted), least=2_000, contended=True),
    Row("executor-one", "submit one and wait for it, again and again", pools(one_at_a_time), least=500, contended=True),
    Row(
        "map-bounded",
        f"map_bounded, {WORKERS} threads, buffer {PENDING}",
        (
            Contender(OURS, with_threads(lambda n: sluicegate.map_bounded(same, range(n), workers=WORKERS, buffer=PENDING))),
            Contender(f"{STDLIB}.map", with_threads(_Pool)),
        ),
        least=2_000,
        contended=True,
    ),
    Row(
        "amap-bounded",
        f"amap_bounded in order, {TASKS} at a time",
        (
            Contender(OURS, mapped_by_tasks(ours_by_tasks)),
            Contender("aiostream", mapped_by_tasks(aiostreams), needs="aiostream"),
            Contender("a loop that awaits", mapped_by_tasks(one_after_another), peer=False),
        ),
        least=1_000,
    ),
    Row(
        "prefetch",
        f"prefetch(generator, {PENDING})",
        (
            Contender(OURS, with_threads(lambda n: sluicegate.prefetch(generated(n), PENDING))),
            Contender("the generator", with_threads(_Plain), peer=False),
        ),
        least=2_000,
        contended=True,
    ),
)
