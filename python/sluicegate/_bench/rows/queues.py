"""The rows about queues: ours, the standard library's, janus, culsans and aiologic. How each is used: `peers.queues`."""

from __future__ import annotations

import queue
import random
from functools import partial

import sluicegate

from ..harness import ITEM, Make
from ..loops import queues as loops
from ..loops.queues import AWAITED, holding, turns
from ..model import OURS, Contender, Row, Run
from ..peers.queues import (
    ASYNCIO,
    BOUND,
    EMPTY,
    SIMPLE,
    STDLIB,
    asyncios,
    empty_coroutines,
    named,
    ours,
    peers,
    stdlib,
    stdlib_in_batches,
)

BATCH = 100
HEAP = [random.Random(1).randrange(1 << 30) for _ in range(256)]

ours_in_batches = ours("put_many", "get_many")
one_to_one = partial(loops.threads, producers=1, consumers=1)
four_to_four = partial(loops.threads, producers=4, consumers=4)
in_batches = partial(turns, statement=f"put(item); get({BATCH})", items=BATCH, item=[ITEM] * BATCH)
one_to_one_in_batches = partial(loops.threads_in_batches, size=BATCH)
awaited = partial(turns, statement=AWAITED)


def through_a_heap(make: Make) -> Run:
    """One thread puts and gets a number, over a heap of others."""
    return turns(holding(make, HEAP))


ROWS = (
    Row(
        "put-get",
        f"put + get, one thread, maxsize {BOUND}",
        (
            Contender(OURS, turns(ours())),
            Contender(STDLIB, turns(stdlib())),
            Contender(SIMPLE, turns(named(queue.SimpleQueue))),
            *peers(turns, put="sync", get="sync"),
        ),
        least=1_000,
        gain="In one thread, sluicegate.Queue took and gave back {rate} items a second",
    ),
    Row(
        "simple",
        "put + get, one thread, SimpleQueue",
        (
            Contender(OURS, turns(named(sluicegate.SimpleQueue))),
            Contender(SIMPLE, turns(named(queue.SimpleQueue))),
        ),
        least=1_000,
    ),
    Row(
        "lifo",
        f"put + get, one thread, LifoQueue, maxsize {BOUND}",
        (
            Contender(OURS, turns(named(partial(sluicegate.LifoQueue, BOUND)))),
            Contender("queue.LifoQueue", turns(named(partial(queue.LifoQueue, BOUND)))),
            Contender("sluicegate.Queue", turns(ours()), peer=False),
        ),
        least=1_000,
    ),
    Row(
        "priority",
        f"put + get of an int, one thread, PriorityQueue over {len(HEAP)} others",
        (
            Contender(OURS, through_a_heap(named(partial(sluicegate.PriorityQueue, BOUND)))),
            Contender("queue.PriorityQueue", through_a_heap(named(partial(queue.PriorityQueue, BOUND)))),
            Contender("sluicegate.Queue", through_a_heap(ours()), peer=False),
        ),
        least=1_000,
    ),
    Row(
        "threads-1-1",
        f"1 -> 1 threads, maxsize {BOUND}",
        (
            Contender(OURS, one_to_one(ours())),
            Contender(STDLIB, one_to_one(stdlib())),
            *peers(one_to_one, put="sync", get="sync"),
        ),
        least=20_000,
        contended=True,
        gain="From one thread to another, sluicegate.Queue moved {rate} items a second",
    ),
    Row(
        "threads-4-4",
        f"4 -> 4 threads, maxsize {BOUND}",
        (
            Contender(OURS, four_to_four(ours())),
            Contender(STDLIB, four_to_four(stdlib())),
            *peers(four_to_four, put="sync", get="sync"),
        ),
        step=4,
        least=20_000,
        contended=True,
        gain="Between 4 and 4 threads, sluicegate.Queue moved {rate} items a second",
    ),
    Row(
        "hand-off",
        "1 -> 1 threads, maxsize 1",
        (Contender(OURS, one_to_one(ours(maxsize=1))), Contender(STDLIB, one_to_one(stdlib(maxsize=1)))),
        least=2_000,
        contended=True,
    ),
    Row(
        "batches",
        f"put_many + get_many of {BATCH}, one thread, per item",
        (Contender(OURS, in_batches(ours_in_batches)), Contender(STDLIB, in_batches(stdlib_in_batches))),
        step=BATCH,
        least=10_000,
        gain="In batches of 100, sluicegate.Queue took and gave back {rate} items a second",
    ),
    Row(
        "threads-batches",
        f"1 -> 1 threads in batches of {BATCH}, maxsize {BOUND}, per item",
        (
            Contender(OURS, one_to_one_in_batches(ours_in_batches)),
            Contender(STDLIB, one_to_one_in_batches(stdlib_in_batches)),
        ),
        step=BATCH,
        least=20_000,
        contended=True,
    ),
    Row(
        "async",
        f"await put + await get, one loop, maxsize {BOUND}",
        (
            Contender(OURS, awaited(ours("put_async", "get_async"))),
            Contender("sluicegate async_q", awaited(ours("async_q.put", "async_q.get")), peer=False),
            Contender(ASYNCIO, awaited(asyncios())),
            Contender(EMPTY, awaited(empty_coroutines), peer=False),
            *peers(awaited, put="async", get="async"),
        ),
        least=1_000,
        gain="On one event loop, sluicegate.Queue moved {rate} awaited items a second",
    ),
    Row(
        "thread-to-loop",
        f"thread -> asyncio, maxsize {BOUND}",
        (
            Contender(OURS, loops.thread_to_loop(ours("put", "get_async"))),
            Contender("sluicegate async for", loops.thread_to_loop_iterated(ours("put", "get_async")), peer=False),
            *peers(loops.thread_to_loop, put="sync", get="async"),
        ),
        least=20_000,
        contended=True,
        gain="From a thread to an event loop, sluicegate.Queue moved {rate} items a second",
    ),
    Row(
        "loop-to-thread",
        f"asyncio -> thread, maxsize {BOUND}",
        (
            Contender(OURS, loops.loop_to_thread(ours("put_async", "get"))),
            *peers(loops.loop_to_thread, put="async", get="sync"),
        ),
        least=20_000,
        contended=True,
        gain="From an event loop to a thread, sluicegate.Queue moved {rate} items a second",
    ),
)
