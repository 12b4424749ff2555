"""The rows about crowded wait queues: the cost of being served and waiting again among thousands of waiters, and among few.

If both cost the same, the length of a wait queue does not matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

import sluicegate

from ..harness import ITEM
from ..loops import queues as loops
from ..loops.crowds import Crowded, MakeCrowded, tasks
from ..model import OURS, Contender, Row
from ..peers.limiters import AMPLE, DAY
from ..peers.queues import ASYNCIO, STDLIB, of_package, ours, stdlib

MANY = 10_000
FEW = 10
WINDOW = 256
THREADS = 250
"""With ten thousand threads the operating system would be measured."""


def getters(make: Callable[[], Any], wait: str, serve: str) -> MakeCrowded:
    """Tasks that wait for an item of an empty queue; `wait` and `serve` are the names of its methods."""

    def crowded() -> Crowded:
        q = make()
        return Crowded(attrgetter(wait)(q), partial(attrgetter(serve)(q), ITEM))

    return crowded


def acquirers() -> Crowded:
    """Tasks that wait for a token of a bucket that is refilled once a day: tokens are given back to it."""
    bucket = sluicegate.TokenBucket(1, burst=AMPLE, period=DAY)
    bucket.try_acquire(AMPLE)
    return Crowded(bucket.acquire_async, partial(bucket.refund, 1))


def senders() -> Crowded:
    """Tasks that wait for credit, which is granted again with each item that is received, not in steps."""
    channel: sluicegate.CreditChannel[Any] = sluicegate.CreditChannel(WINDOW, threshold=1 / WINDOW)
    for _ in range(WINDOW):
        channel.sender.send_nowait(ITEM)
    return Crowded(partial(channel.sender.send_async, ITEM), channel.receiver.receive_nowait)


def lines(make: MakeCrowded) -> tuple[Contender, ...]:
    """Ours, in a long wait queue and in a short one."""
    return Contender(OURS, tasks(make, MANY)), Contender(f"line of {FEW}", tasks(make, FEW), peer=False)


ROWS = (
    Row(
        "crowd-get",
        f"{MANY:,} tasks waiting to get, one served and in line again, one loop",
        (
            *lines(getters(sluicegate.Queue, "get_async", "put_nowait")),
            Contender(ASYNCIO, tasks(getters(asyncio.Queue, "get", "put_nowait"), MANY)),
            Contender("culsans", tasks(getters(of_package("culsans", 0), "async_get", "put_nowait"), MANY), "culsans"),
            Contender("janus", tasks(getters(of_package("janus", 0), "async_q.get", "async_q.put_nowait"), MANY), "janus"),
        ),
        step=5,
        least=10_000,
    ),
    Row(
        "crowd-acquire",
        f"{MANY:,} tasks waiting for a token, one served and in line again, one loop",
        lines(acquirers),
        step=5,
        least=10_000,
    ),
    Row(
        "crowd-send",
        f"{MANY:,} tasks waiting for credit, one served and in line again, one loop",
        lines(senders),
        step=5,
        least=10_000,
    ),
    Row(
        "crowd-threads",
        f"1 -> {THREADS} threads, maxsize 1",
        (
            Contender(OURS, loops.threads(ours(maxsize=1), 1, THREADS)),
            Contender(f"{FEW} threads", loops.threads(ours(maxsize=1), 1, FEW), peer=False),
            Contender(STDLIB, loops.threads(stdlib(maxsize=1), 1, THREADS)),
            Contender(f"{STDLIB}, {FEW} threads", loops.threads(stdlib(maxsize=1), 1, FEW), peer=False),
        ),
        step=THREADS,
        least=2_000,
        contended=True,
    ),
)
