"""The rows about the fair queue: a put and a get with many keys that all have items, beside a plain queue that holds as many."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import sluicegate

from ..harness import ITEM, Stopwatch
from ..model import OURS, Contender, Row, Run, Sample

PLAIN = "sluicegate.Queue"


def fair(keys: int) -> Run:
    """One thread puts an item with each key in turn, and gets one; every key has an item all the time."""
    names = [f"tenant {number}" for number in range(keys)]

    def run(n: int) -> Sample:
        queue: sluicegate.FairQueue[Any] = sluicegate.FairQueue(2 * keys)
        for name in names:
            queue.put(ITEM, key=name)
        put, get = queue.put, queue.get
        with Stopwatch() as watch:
            for name in islice(cycle(names), n):
                put(ITEM, key=name)
                get()
        return watch.sample(n)

    return run


def plain(items: int) -> Run:
    """The same without keys."""
    make: Callable[[int], Any] = sluicegate.Queue

    def run(n: int) -> Sample:
        queue = make(2 * items)
        queue.put_many([ITEM] * items)
        put, get, names = queue.put, queue.get, range(items)
        with Stopwatch() as watch:
            for _ in islice(cycle(names), n):
                put(ITEM)
                get()
        return watch.sample(n)

    return run


ROWS = tuple(
    Row(
        name,
        f"put + get, one thread, FairQueue with {keys:,} keys that have items".replace(",", " "),
        (Contender(OURS, fair(keys)), Contender(PLAIN, plain(keys), peer=False)),
        least=1_000,
    )
    for name, keys in (("fair-1", 1), ("fair-1000", 1_000), ("fair-100000", 100_000))
)
