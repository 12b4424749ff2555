"""The rows about queues: ours, the standard library's, janus, culsans and aiologic. How each is used: `peers.queues`."""

from __future__ import annotations

import asyncio
import queue
import random
from functools import partial

import sluicegate

from ..harness import Make
from ..loops import queues as loops
from ..model import OURS, Contender, Row, Run
from ..peers.queues import (
    ASYNCIO,
    BOUND,
    EMPTY,
    SIMPLE,
    STDLIB,
    empty_coroutines,
    ours,
    ours_async,
    ours_async_face,
    ours_in_batches,
    ours_loop_to_thread,
    ours_thread_to_loop,
    ours_thread_to_loop_iterated,
    peers,
    stdlib,
    stdlib_in_batches,
    sync,
)

BATCH = 100
HEAP = [random.Random(1).randrange(1 << 30) for _ in range(256)]


# Work that takes more than one argument, bound for the tables below.


def one_to_one(make: Make) -> Run:
    """One thread puts, one gets."""
    return loops.threads(make, 1, 1)


def four_to_four(make: Make) -> Run:
    """Four threads put, four get."""
    return loops.threads(make, 4, 4)


def in_batches(make: Make) -> Run:
    """One thread, a hundred items at a time."""
    return loops.put_get_batches(make, BATCH)


def one_to_one_in_batches(make: Make) -> Run:
    """One thread puts batches, one gets them."""
    return loops.threads_in_batches(make, BATCH)


def through_a_heap(make: Make) -> Run:
    """One thread puts and gets a number, over a heap of others."""
    return loops.put_get(make, item=lambda: HEAP[0], fill=HEAP)


ROWS = (
    Row(
        "put-get",
        f"put + get, one thread, maxsize {BOUND}",
        (
            Contender(OURS, loops.put_get(ours())),
            Contender(STDLIB, loops.put_get(stdlib())),
            Contender(SIMPLE, loops.put_get(sync(queue.SimpleQueue))),
            *peers(loops.put_get, put="sync", get="sync"),
        ),
        least=1_000,
        gain="In one thread, sluicegate.Queue took and gave back {rate} items a second",
    ),
    Row(
        "simple",
        "put + get, one thread, SimpleQueue",
        (
            Contender(OURS, loops.put_get(sync(sluicegate.SimpleQueue))),
            Contender(SIMPLE, loops.put_get(sync(queue.SimpleQueue))),
        ),
        least=1_000,
    ),
    Row(
        "lifo",
        f"put + get, one thread, LifoQueue, maxsize {BOUND}",
        (
            Contender(OURS, loops.put_get(sync(partial(sluicegate.LifoQueue, BOUND)))),
            Contender("queue.LifoQueue", loops.put_get(sync(partial(queue.LifoQueue, BOUND)))),
            Contender("sluicegate.Queue", loops.put_get(ours()), peer=False),
        ),
        least=1_000,
    ),
    Row(
        "priority",
        f"put + get of an int, one thread, PriorityQueue over {len(HEAP)} others",
        (
            Contender(OURS, through_a_heap(sync(partial(sluicegate.PriorityQueue, BOUND)))),
            Contender("queue.PriorityQueue", through_a_heap(sync(partial(queue.PriorityQueue, BOUND)))),
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
        (Contender(OURS, one_to_one(ours(1))), Contender(STDLIB, one_to_one(stdlib(1)))),
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
            Contender(OURS, loops.on_one_loop(ours_async)),
            Contender("sluicegate async_q", loops.on_one_loop(ours_async_face), peer=False),
            Contender(ASYNCIO, loops.on_one_loop(sync(partial(asyncio.Queue, BOUND)))),
            Contender(EMPTY, loops.on_one_loop(empty_coroutines), peer=False),
            *peers(loops.on_one_loop, put="async", get="async"),
        ),
        least=1_000,
        gain="On one event loop, sluicegate.Queue moved {rate} awaited items a second",
    ),
    Row(
        "thread-to-loop",
        f"thread -> asyncio, maxsize {BOUND}",
        (
            Contender(OURS, loops.thread_to_loop(ours_thread_to_loop)),
            Contender("sluicegate async for", loops.thread_to_loop_iterated(ours_thread_to_loop_iterated), peer=False),
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
            Contender(OURS, loops.loop_to_thread(ours_loop_to_thread)),
            *peers(loops.loop_to_thread, put="async", get="sync"),
        ),
        least=20_000,
        contended=True,
        gain="From an event loop to a thread, sluicegate.Queue moved {rate} items a second",
    ),
)
