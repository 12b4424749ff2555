"""The rows about the fair queue: a put and a get with many keys that all have items, beside a plain queue that holds as many."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice, repeat
from typing import Any

import sluicegate

from ..harness import ITEM, Stopwatch
from ..model import OURS, Contender, Row, Run, Sample

PLAIN = "sluicegate.Queue"
THOUSAND = "1 000 keys"


def fair(keys: int) -> Run:
    """One thread puts an item with each key in turn, and gets one; every key has an item all the time."""

    def run(n: int) -> Sample:
        names = [f"tenant {number}" for number in range(keys)]
        queue: sluicegate.FairQueue[Any] = sluicegate.FairQueue(2 * keys)
        for name in names:
            queue.put(ITEM, key=name)
        put, get = queue.put, queue.get
        in_turn = chain.from_iterable(repeat(names))  # `cycle` would make a list of its own in the first round
        with Stopwatch() as watch:
            for name in islice(in_turn, n):
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
        put, get = queue.put, queue.get
        in_turn = chain.from_iterable(repeat(range(items)))
        with Stopwatch() as watch:
            for _ in islice(in_turn, n):
                put(ITEM)
                get()
        return watch.sample(n)

    return run


def row(name: str, keys: int, beside: Contender) -> Row:
    """A row with so many keys."""
    about = f"put + get, one thread, FairQueue with {keys:,} keys that have items".replace(",", " ")
    return Row(name, about, (Contender(OURS, fair(keys)), beside), least=1_000)


ROWS = (
    *(
        row(name, keys, Contender(PLAIN, plain(keys), peer=False))
        for name, keys in (("fair-1", 1), ("fair-1000", 1_000), ("fair-100000", 100_000))
    ),
    row("fair-1000000", 1_000_000, Contender(THOUSAND, fair(1_000), peer=False)),
)
