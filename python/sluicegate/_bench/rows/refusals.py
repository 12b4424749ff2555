"""The rows about refusals: the answer of somebody who must not wait, and has nothing."""

from __future__ import annotations

import asyncio
import queue
from typing import Any

import sluicegate

from ..harness import Make
from ..loops import limiters as limiter_loops
from ..loops.limiters import LimiterFace
from ..loops.queues import GET_REFUSED, PUT_REFUSED, holding, turns
from ..model import OURS, Contender, Row, Run
from ..peers.limiters import DAY, HANDWRITTEN, emptied, handwritten
from ..peers.queues import ASYNCIO, SIMPLE, STDLIB, asyncios, culsans, janus, named, ours, stdlib

NOWAIT = ("put_nowait", "get_nowait")
ONE: list[Any] = [object()]


def get_refused(make: Make, error: type[Exception] = queue.Empty) -> Run:
    """One thread gets where there is nothing."""
    return turns(make, GET_REFUSED, error=error)


def put_refused(make: Make, error: type[Exception] = queue.Full) -> Run:
    """One thread puts where there is no room."""
    return turns(holding(make, ONE), PUT_REFUSED, error=error)


def our_bucket() -> LimiterFace:
    """A token bucket whose only token of the day is gone."""
    bucket = sluicegate.TokenBucket(1, burst=1, period=DAY)
    bucket.try_acquire()
    return LimiterFace(bucket.acquire)


def by_hand() -> LimiterFace:
    """The bucket that people write by hand, and the exception they raise."""
    allow = emptied(handwritten(1)).ask

    def acquire(timeout: float) -> None:
        if not allow():
            raise TimeoutError

    return LimiterFace(acquire)


ROWS = (
    Row(
        "get-refused",
        "get_nowait on an empty queue, one thread, the exception caught",
        (
            Contender(OURS, get_refused(ours(*NOWAIT))),
            Contender(STDLIB, get_refused(stdlib(*NOWAIT))),
            Contender(SIMPLE, get_refused(named(queue.SimpleQueue, *NOWAIT))),
            Contender(ASYNCIO, get_refused(asyncios(*NOWAIT), asyncio.QueueEmpty)),
            Contender("janus", get_refused(janus("sync_q.put_nowait", "sync_q.get_nowait")), "janus"),
            Contender("culsans", get_refused(culsans(*NOWAIT)), "culsans"),
        ),
        least=1_000,
    ),
    Row(
        "put-refused",
        "put_nowait on a full queue, one thread, the exception caught",
        (
            Contender(OURS, put_refused(ours(*NOWAIT, maxsize=1))),
            Contender(STDLIB, put_refused(stdlib(*NOWAIT, maxsize=1))),
            Contender(ASYNCIO, put_refused(asyncios(*NOWAIT, maxsize=1), asyncio.QueueFull)),
            Contender("janus", put_refused(janus("sync_q.put_nowait", "sync_q.get_nowait", maxsize=1)), "janus"),
            Contender("culsans", put_refused(culsans(*NOWAIT, maxsize=1)), "culsans"),
        ),
        least=1_000,
    ),
    Row(
        "acquire-refused",
        "acquire(timeout=0), refused, one thread, the exception caught",
        (
            Contender(OURS, limiter_loops.refused(our_bucket, sluicegate.RateLimited)),
            Contender(HANDWRITTEN, limiter_loops.refused(by_hand, TimeoutError)),
        ),
        least=1_000,
    ),
)
