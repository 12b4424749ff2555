"""The loop with a line of tasks that never gets shorter: whoever is served comes again, at the end of the line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeAlias

from ..harness import Stopwatch, run_loop
from ..model import Run, Sample

BURST = 5
"""How many are served before the loop has its turn: fewer than the shortest line holds."""


@dataclass(frozen=True)
class Crowded:
    """What the tasks wait for again and again, and what serves the one at the head of their line."""

    wait: Callable[[], Any]
    serve: Callable[[], Any]


MakeCrowded: TypeAlias = Callable[[], Crowded]


def tasks(make: MakeCrowded, length: int) -> Run:
    """So many tasks wait; an item is one of them served, back on the loop, and in the line again."""

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
