"""The rows about refusals: the answer of somebody who must not wait, and has nothing."""

from __future__ import annotations

import asyncio
import queue
from functools import partial

import sluicegate

from ..loops import limiters as limiter_loops
from ..loops import queues as loops
from ..loops.limiters import LimiterFace
from ..model import OURS, Contender, Row
from ..peers.limiters import DAY, HANDWRITTEN, emptied, handwritten
from ..peers.queues import ASYNCIO, SIMPLE, STDLIB, culsans_queue, janus_queue, without_waiting

get_refused = partial(loops.get_refused, error=queue.Empty)
put_refused = partial(loops.put_refused, error=queue.Full)


def ours() -> LimiterFace:
    """A token bucket whose only token of the day is gone."""
    bucket = sluicegate.TokenBucket(1, 1, period=DAY)
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
            Contender(OURS, get_refused(without_waiting(partial(sluicegate.Queue, 1)))),
            Contender(STDLIB, get_refused(without_waiting(partial(queue.Queue, 1)))),
            Contender(SIMPLE, get_refused(without_waiting(queue.SimpleQueue))),
            Contender(ASYNCIO, loops.get_refused(without_waiting(partial(asyncio.Queue, 1)), asyncio.QueueEmpty)),
            Contender("janus", get_refused(janus_queue("sync_q.put_nowait", "sync_q.get_nowait", 1)), "janus"),
            Contender("culsans", get_refused(culsans_queue("put_nowait", "get_nowait", 1)), "culsans"),
        ),
        least=1_000,
    ),
    Row(
        "put-refused",
        "put_nowait on a full queue, one thread, the exception caught",
        (
            Contender(OURS, put_refused(without_waiting(partial(sluicegate.Queue, 1)))),
            Contender(STDLIB, put_refused(without_waiting(partial(queue.Queue, 1)))),
            Contender(ASYNCIO, loops.put_refused(without_waiting(partial(asyncio.Queue, 1)), asyncio.QueueFull)),
            Contender("janus", put_refused(janus_queue("sync_q.put_nowait", "sync_q.get_nowait", 1)), "janus"),
            Contender("culsans", put_refused(culsans_queue("put_nowait", "get_nowait", 1)), "culsans"),
        ),
        least=1_000,
    ),
    Row(
        "acquire-refused",
        "acquire(timeout=0), refused, one thread, the exception caught",
        (
            Contender(OURS, limiter_loops.one_thread_refused(ours, sluicegate.RateLimited)),
            Contender(HANDWRITTEN, limiter_loops.one_thread_refused(by_hand, TimeoutError)),
        ),
        least=1_000,
    ),
)
