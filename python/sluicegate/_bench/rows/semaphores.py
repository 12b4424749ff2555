"""The rows about semaphores: acquire and release, beside the standard library's two."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import sluicegate
from sluicegate._bench.harness import Stopwatch, loop_of, run_loop
from sluicegate._bench.model import OURS, Contender, Row, Run, Sample


def by_hand(make: Callable[[], Any]) -> Run:
    """One thread acquires and releases."""
    loop = loop_of("acquire(); release()", "acquire", "release")

    def run(n: int) -> Sample:
        semaphore = make()
        with Stopwatch() as watch:
            loop(n, semaphore.acquire, semaphore.release)
        return watch.sample(n)

    return run


def awaited(make: Callable[[], Any], acquire_name: str) -> Run:
    """One task acquires and releases."""
    loop = loop_of("await acquire(); release()", "acquire", "release")

    async def work(n: int) -> Sample:
        semaphore = make()
        with Stopwatch() as watch:
            await loop(n, getattr(semaphore, acquire_name), semaphore.release)
        return watch.sample(n)

    return lambda n: run_loop(work(n))


ROWS = (
    Row(
        "semaphore",
        "acquire and release a semaphore, one thread",
        (Contender(OURS, by_hand(sluicegate.Semaphore)), Contender("threading.Semaphore", by_hand(threading.Semaphore))),
        least=1_000,
    ),
    Row(
        "semaphore-async",
        "await acquire, and release a semaphore, one loop",
        (
            Contender(OURS, awaited(sluicegate.Semaphore, "acquire_async")),
            Contender("asyncio.Semaphore", awaited(asyncio.Semaphore, "acquire")),
        ),
        least=1_000,
    ),
)
