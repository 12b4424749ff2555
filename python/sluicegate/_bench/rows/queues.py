"""The rows about queues: ours, the standard library's, janus, culsans and aiologic.

The peers are used the way that is fastest for them: culsans' own methods and not its proxies, for example.
"""

from __future__ import annotations

import asyncio
import queue
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import sluicegate
from sluicegate._bench import harness
from sluicegate._bench.harness import Face, Make
from sluicegate._bench.model import (
    OURS,
    Contender,
    Faster,
    Nanoseconds,
    Row,
    Run,
    ShareOf,
    Switches,
    many_cores,
    one_core,
    with_gil,
    without_gil,
)

BOUND = 1024
BATCH = 100
HEAP = [random.Random(1).randrange(1 << 30) for _ in range(256)]

# Most goals are set for the ordinary build; where the other one has a goal of its own, the row says so.
ORDINARY = (with_gil,)
FREE_THREADED = (without_gil,)

STDLIB = "queue.Queue"
SIMPLE = "queue.SimpleQueue"
ASYNCIO = "asyncio.Queue"
EMPTY = "two empty coroutines"


# Faces: how each contender's object puts and gets.


def sync(make: Callable[[], Any]) -> Make:
    """Threads, by the names that `queue` gave the methods."""

    def face() -> Face:
        q = make()
        return Face(q.put, q.get, q.qsize)

    return face


def ours(maxsize: int = BOUND) -> Make:
    """Our queue, from threads."""
    return sync(partial(sluicegate.Queue, maxsize))


def stdlib(maxsize: int = BOUND) -> Make:
    """The standard library's queue."""
    return sync(partial(queue.Queue, maxsize))


def ours_in_batches() -> Face:
    """Our queue, a batch at a time."""
    q: sluicegate.Queue[Any] = sluicegate.Queue(BOUND)
    return Face(q.put_many, q.get_many, q.qsize)


def stdlib_in_batches() -> Face:
    """The standard library's queue, which takes a batch item by item."""
    q: queue.Queue[Any] = queue.Queue(BOUND)
    put, get = q.put, q.get

    def put_many(items: list[Any]) -> None:
        for item in items:
            put(item)

    def get_many(n: int) -> list[Any]:
        return [get() for _ in range(n)]

    return Face(put_many, get_many, q.qsize)


def ours_async() -> Face:
    """Our queue, from a loop."""
    q: sluicegate.Queue[Any] = sluicegate.Queue(BOUND)
    return Face(q.put_async, q.get_async, q.qsize)


def ours_async_face() -> Face:
    """Our queue, with asyncio's own names."""
    q: sluicegate.Queue[Any] = sluicegate.Queue(BOUND)
    return Face(q.async_q.put, q.async_q.get, q.qsize)


def ours_thread_to_loop() -> Face:
    """Our queue, put by a thread and got on a loop."""
    q: sluicegate.Queue[Any] = sluicegate.Queue(BOUND)
    return Face(q.put, q.get_async, q.qsize)


def ours_thread_to_loop_iterated() -> tuple[Face, Any]:
    """Our queue, put by a thread and iterated on a loop."""
    q: sluicegate.Queue[Any] = sluicegate.Queue(BOUND)
    return Face(q.put, q.get_async, q.qsize), q


def ours_loop_to_thread() -> Face:
    """Our queue, put on a loop and got by a thread."""
    q: sluicegate.Queue[Any] = sluicegate.Queue(BOUND)
    return Face(q.put_async, q.get, q.qsize)


def empty_coroutines() -> Face:
    """The least that two awaited coroutine functions can cost."""

    async def put(item: object) -> None:
        pass

    async def get() -> None:
        pass

    return Face(put, get, lambda: 0)


def janus_queue(put: str, get: str) -> Make:
    """A janus queue; `put` and `get` name the proxy each operation goes through."""

    def face() -> Face:
        import janus

        q: janus.Queue[Any] = janus.Queue(BOUND)
        return Face(getattr(q, put).put, getattr(q, get).get, q.sync_q.qsize, q.close)

    return face


def culsans_queue(put: str, get: str) -> Make:
    """A culsans queue."""

    def face() -> Face:
        import culsans

        q: culsans.Queue[Any] = culsans.Queue(BOUND)
        return Face(getattr(q, put), getattr(q, get), q.qsize)

    return face


def aiologic_queue(put: str, get: str) -> Make:
    """An aiologic queue."""

    def face() -> Face:
        import aiologic

        q: aiologic.Queue[Any] = aiologic.Queue(BOUND)
        return Face(getattr(q, put), getattr(q, get), lambda: len(q))

    return face


def peers(work: Callable[[Make], Run], *, put: str, get: str) -> tuple[Contender, ...]:
    """The three queues for threads and asyncio; `put` and `get` say from which side: 'sync' or 'async'."""
    green = {"sync": "green", "async": "async"}
    return (
        Contender("janus", work(janus_queue(f"{put}_q", f"{get}_q")), "janus"),
        Contender("culsans", work(culsans_queue(f"{put}_put", f"{get}_get")), "culsans"),
        Contender("aiologic", work(aiologic_queue(f"{green[put]}_put", f"{green[get]}_get")), "aiologic"),
    )


# Work that takes more than one argument, bound for the tables below.


def one_to_one(make: Make) -> Run:
    """One thread puts, one gets."""
    return harness.threads(make, 1, 1)


def four_to_four(make: Make) -> Run:
    """Four threads put, four get."""
    return harness.threads(make, 4, 4)


def in_batches(make: Make) -> Run:
    """One thread, a hundred items at a time."""
    return harness.put_get_batches(make, BATCH)


def one_to_one_in_batches(make: Make) -> Run:
    """One thread puts batches, one gets them."""
    return harness.threads_in_batches(make, BATCH)


def through_a_heap(make: Make) -> Run:
    """One thread puts and gets a number, over a heap of others."""
    return harness.put_get(make, item=lambda: HEAP[0], fill=HEAP)


ROWS = (
    Row(
        "put-get",
        f"put + get, one thread, maxsize {BOUND}",
        (
            Contender(OURS, harness.put_get(ours())),
            Contender(STDLIB, harness.put_get(stdlib())),
            Contender(SIMPLE, harness.put_get(sync(queue.SimpleQueue))),
            *peers(harness.put_get, put="sync", get="sync"),
        ),
        goals=(Faster(STDLIB, 40, ORDINARY), ShareOf(SIMPLE, 0.75, ORDINARY)),
        least=1_000,
    ),
    Row(
        "simple",
        "put + get, one thread, SimpleQueue",
        (
            Contender(OURS, harness.put_get(sync(sluicegate.SimpleQueue))),
            Contender(SIMPLE, harness.put_get(sync(queue.SimpleQueue))),
        ),
        goals=(ShareOf(SIMPLE, 0.75, ORDINARY),),
        least=1_000,
    ),
    Row(
        "lifo",
        f"put + get, one thread, LifoQueue, maxsize {BOUND}",
        (
            Contender(OURS, harness.put_get(sync(partial(sluicegate.LifoQueue, BOUND)))),
            Contender("queue.LifoQueue", harness.put_get(sync(partial(queue.LifoQueue, BOUND)))),
        ),
        least=1_000,
    ),
    Row(
        "priority",
        f"put + get of an int, one thread, PriorityQueue over {len(HEAP)} others",
        (
            Contender(OURS, through_a_heap(sync(partial(sluicegate.PriorityQueue, BOUND)))),
            Contender("queue.PriorityQueue", through_a_heap(sync(partial(queue.PriorityQueue, BOUND)))),
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
        goals=(Faster(STDLIB, 20, (with_gil, many_cores)), Faster(STDLIB, 10, (with_gil, one_core))),
        least=20_000,
        contended=True,
    ),
    Row(
        "threads-4-4",
        f"4 -> 4 threads, maxsize {BOUND}",
        (
            Contender(OURS, four_to_four(ours())),
            Contender(STDLIB, four_to_four(stdlib())),
            *peers(four_to_four, put="sync", get="sync"),
        ),
        goals=(Faster(STDLIB, 16, ORDINARY), Faster(STDLIB, 9, FREE_THREADED)),
        step=4,
        least=20_000,
        contended=True,
    ),
    Row(
        "hand-off",
        "1 -> 1 threads, maxsize 1",
        (Contender(OURS, one_to_one(ours(1))), Contender(STDLIB, one_to_one(stdlib(1)))),
        goals=(Faster(STDLIB, 5, (with_gil, one_core)), Switches(2, (many_cores,))),
        least=2_000,
        contended=True,
    ),
    Row(
        "batches",
        f"put_many + get_many of {BATCH}, one thread, per item",
        (Contender(OURS, in_batches(ours_in_batches)), Contender(STDLIB, in_batches(stdlib_in_batches))),
        goals=(Nanoseconds(5, ORDINARY), Nanoseconds(15, FREE_THREADED), Faster(STDLIB, 200, ORDINARY)),
        step=BATCH,
        least=10_000,
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
            Contender(OURS, harness.on_one_loop(ours_async)),
            Contender("sluicegate async_q", harness.on_one_loop(ours_async_face)),
            Contender(ASYNCIO, harness.on_one_loop(sync(partial(asyncio.Queue, BOUND)))),
            Contender(EMPTY, harness.on_one_loop(empty_coroutines)),
            *peers(harness.on_one_loop, put="async", get="async"),
        ),
        goals=(Faster(ASYNCIO, 3, ORDINARY), ShareOf(EMPTY, 1.5, ORDINARY)),
        least=1_000,
    ),
    Row(
        "thread-to-loop",
        f"thread -> asyncio, maxsize {BOUND}",
        (
            Contender(OURS, harness.thread_to_loop(ours_thread_to_loop)),
            Contender("sluicegate async for", harness.thread_to_loop_iterated(ours_thread_to_loop_iterated)),
            *peers(harness.thread_to_loop, put="sync", get="async"),
        ),
        goals=(Faster("janus", 40, ORDINARY), Faster("culsans", 15, ORDINARY)),
        least=20_000,
        contended=True,
    ),
    Row(
        "loop-to-thread",
        f"asyncio -> thread, maxsize {BOUND}",
        (
            Contender(OURS, harness.loop_to_thread(ours_loop_to_thread)),
            *peers(harness.loop_to_thread, put="async", get="sync"),
        ),
        least=20_000,
        contended=True,
    ),
)
