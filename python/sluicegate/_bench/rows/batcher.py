"""The rows about the batcher: what it adds to a call when the batches are full. The handler does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

from sluicegate import Batcher
from sluicegate._bench.harness import Stopwatch, run_loop
from sluicegate._bench.model import OURS, Contender, Row, Run, Sample

MAX = 32
"""Items in a batch, and tasks that call at the same time."""


def same(items: list[Any]) -> list[Any]:
    """The handler, which does nothing, because its work is not measured."""
    return items


async def same_async(items: list[Any]) -> list[Any]:
    """The same for an event loop."""
    return items


def submitted(n: int) -> Sample:
    """One thread submits, and then takes all results."""
    with Batcher(same, max=MAX, max_pending=n) as batcher:
        batcher.call(0)  # this starts the worker
        submit = batcher.submit
        with Stopwatch() as watch:
            futures = [submit(0) for _ in repeat(None, n)]
            for future in futures:
                future.result()
        assert batcher.statistics().batches <= n // MAX * 2 + 2
        return watch.sample(n)


def pooled(n: int) -> Sample:
    """Without batches: one call of a thread pool for each item."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(same, [0]).result()
        with Stopwatch() as watch:
            futures = [pool.submit(same, [0]) for _ in repeat(None, n)]
            for future in futures:
                future.result()
        return watch.sample(n)


def awaited(handler: Callable[[list[Any]], Any]) -> Run:
    """As many tasks as a batch has items; each calls again when it has its result."""

    async def work(n: int) -> Sample:
        async with Batcher(handler, max=MAX) as batcher:
            await batcher.submit_async(0)
            submit = batcher.submit_async

            async def caller() -> None:
                for _ in repeat(None, n // MAX):
                    await submit(0)

            with Stopwatch() as watch:
                await asyncio.gather(*(caller() for _ in range(MAX)))
            return watch.sample(n)

    return lambda n: run_loop(work(n))


def by_hand(n: int) -> Sample:
    """The least that calls of a coroutine handler can cost: a future each, and a task that takes a list of them."""

    async def work() -> Sample:
        loop = asyncio.get_running_loop()
        calls: list[asyncio.Future[Any]] = []

        async def worker() -> None:
            while True:
                await asyncio.sleep(0)
                batch = calls[:MAX]
                del calls[:MAX]
                for future, result in zip(batch, await same_async(list(batch)), strict=True):
                    future.set_result(result)

        async def caller() -> None:
            for _ in repeat(None, n // MAX):
                future = loop.create_future()
                calls.append(future)
                await future

        running = asyncio.ensure_future(worker())
        with Stopwatch() as watch:
            await asyncio.gather(*(caller() for _ in range(MAX)))
        running.cancel()
        return watch.sample(n)

    return run_loop(work())


ROWS = (
    Row(
        "batcher",
        f"submit an item and take its result, full batches of {MAX}, one thread",
        (Contender(OURS, submitted), Contender("ThreadPoolExecutor, item by item", pooled)),
        step=MAX,
        least=MAX * 100,
    ),
    Row(
        "batcher-async",
        f"await submit_async, {MAX} tasks, coroutine handler, full batches",
        (
            Contender(OURS, awaited(same_async)),
            Contender("sluicegate, handler in a thread", awaited(same), peer=False),
            Contender("a list of futures by hand", by_hand, peer=False),
        ),
        step=MAX,
        least=MAX * 100,
    ),
)
