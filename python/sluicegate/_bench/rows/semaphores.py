"""The rows about semaphores: acquire and release, beside the standard library's two."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from itertools import repeat
from typing import Any

import sluicegate
from sluicegate._bench.harness import Stopwatch, run_loop
from sluicegate._bench.model import OURS, Contender, Row, Run, Sample


def by_hand(make: Callable[[], Any]) -> Run:
    """One thread acquires and releases."""

    def run(n: int) -> Sample:
        semaphore = make()
        acquire, release = semaphore.acquire, semaphore.release
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                acquire()
                release()
        return watch.sample(n)

    return run


def awaited(make: Callable[[], Any], acquire_name: str) -> Run:
    """One task acquires and releases."""

    async def work(n: int) -> Sample:
        semaphore = make()
        acquire, release = getattr(semaphore, acquire_name), semaphore.release
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                await acquire()
                release()
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
