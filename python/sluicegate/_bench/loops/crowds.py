"""The loop with a wait queue of tasks that never gets shorter: a task that is served waits again, at the end of the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeAlias

from ..harness import Stopwatch, run_loop
from ..model import Run, Sample

BURST = 5
"""The number of tasks that are served before the event loop runs, fewer than the shortest wait queue holds."""


@dataclass(frozen=True)
class Crowded:
    """An object that tasks wait for again and again, and a function that serves the waiter at its head."""

    wait: Callable[[], Any]
    serve: Callable[[], Any]


MakeCrowded: TypeAlias = Callable[[], Crowded]


def tasks(make: MakeCrowded, length: int) -> Run:
    """`length` tasks wait. An item is one task that is served, runs on the loop, and waits again."""

    async def work(n: int) -> Sample:
        crowded = make()
        serve = crowded.serve
        left = n
        all_served = asyncio.Event()

        async def come_again() -> None:
            nonlocal left
            wait = crowded.wait
            while True:
                await wait()
                left -= 1
                if not left:
                    all_served.set()

        crowd = [asyncio.create_task(come_again()) for _ in range(length)]
        await asyncio.sleep(0)  # now all of them wait
        with Stopwatch() as watch:
            for start in range(0, n, BURST):
                for _ in repeat(None, min(BURST, n - start)):
                    serve()
                await asyncio.sleep(0)
            await all_served.wait()
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        return watch.sample(n)

    return lambda n: run_loop(work(n))
