"""The rows about `select`: the next item of whichever of three queues has one, beside what people write where there is no select."""

from __future__ import annotations

import asyncio
import queue
from itertools import cycle, islice, repeat
from typing import Any

import sluicegate
from sluicegate._bench.harness import Stopwatch
from sluicegate._bench.model import OURS, Contender, Row, Sample

QUEUES = 3


def selecting(n: int) -> Sample:
    """Put an item into one of the queues, and select it."""
    queues: list[sluicegate.Queue[Any]] = [sluicegate.Queue() for _ in range(QUEUES)]
    members = [each.getting() for each in queues]
    with Stopwatch() as watch:
        for each in islice(cycle(queues), n):
            each.put(None)
            sluicegate.select(*members)
    return watch.sample(n)


def without(n: int) -> Sample:
    """The same with `get`, by a caller that knows in which queue the item is."""
    queues: list[sluicegate.Queue[Any]] = [sluicegate.Queue() for _ in range(QUEUES)]
    with Stopwatch() as watch:
        for each in islice(cycle(queues), n):
            each.put(None)
            each.get()
    return watch.sample(n)


def polling(n: int) -> Sample:
    """Ask one queue after the other whether it has an item; to wait for one, this would have to be repeated."""
    queues: list[queue.Queue[Any]] = [queue.Queue() for _ in range(QUEUES)]
    with Stopwatch() as watch:
        for each in islice(cycle(queues), n):
            each.put(None)
            for one in queues:
                try:
                    one.get_nowait()
                except queue.Empty:
                    continue
                break
    return watch.sample(n)


async def _selecting_async(n: int) -> Sample:
    queues: list[sluicegate.Queue[Any]] = [sluicegate.Queue() for _ in range(QUEUES)]
    members = [each.getting() for each in queues]
    with Stopwatch() as watch:
        for each in islice(cycle(queues), n):
            await each.put_async(None)
            await sluicegate.select_async(*members)
    return watch.sample(n)


async def _waiting_for_tasks(n: int) -> Sample:
    queues: list[asyncio.Queue[Any]] = [asyncio.Queue() for _ in range(QUEUES)]
    with Stopwatch() as watch:
        for each in islice(cycle(queues), n):
            await each.put(None)
            tasks = [asyncio.ensure_future(one.get()) for one in queues]
            _, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
    return watch.sample(n)


def selecting_async(n: int) -> Sample:
    """The same on an event loop."""
    return asyncio.run(_selecting_async(n))


def waiting_for_tasks(n: int) -> Sample:
    """A task for each queue, and `asyncio.wait`. A task that is cancelled too late loses an item."""
    return asyncio.run(_waiting_for_tasks(n))


def default(n: int) -> Sample:
    """Select where nothing is ready, with a default."""
    queues: list[sluicegate.Queue[Any]] = [sluicegate.Queue() for _ in range(QUEUES)]
    members = [each.getting() for each in queues]
    with Stopwatch() as watch:
        for _ in repeat(None, n):
            sluicegate.select(*members, default=None)
    return watch.sample(n)


def refused(n: int) -> Sample:
    """Be refused by each of the queues."""
    queues: list[queue.Queue[Any]] = [queue.Queue() for _ in range(QUEUES)]
    with Stopwatch() as watch:
        for _ in repeat(None, n):
            for one in queues:
                try:
                    one.get_nowait()
                except queue.Empty:
                    continue
    return watch.sample(n)


ROWS = (
    Row(
        "select",
        f"put into one of {QUEUES} queues and select over all of them, one thread",
        (
            Contender(OURS, selecting),
            Contender("sluicegate, get without select", without, peer=False),
            Contender("by hand (get_nowait in turn)", polling),
        ),
        least=1_000,
    ),
    Row(
        "select-async",
        f"put into one of {QUEUES} queues and await select_async over all of them, one loop",
        (Contender(OURS, selecting_async), Contender("by hand (a task each, asyncio.wait)", waiting_for_tasks)),
        least=1_000,
    ),
    Row(
        "select-default",
        f"select over {QUEUES} empty queues with a default, one thread",
        (Contender(OURS, default), Contender("by hand (get_nowait in turn)", refused)),
        least=1_000,
    ),
)
