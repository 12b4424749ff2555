"""The queues of the rows: ours, the standard library's, janus, culsans and aiologic, each as a `Face`.

The peers are used the way that is fastest for them: culsans' own methods and not its proxies, for example.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

import sluicegate

from ..harness import Face, Make
from ..model import Contender, Run

BOUND = 1024

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


def without_waiting(make: Callable[[], Any]) -> Make:
    """Threads and tasks, with what never waits."""

    def face() -> Face:
        q = make()
        return Face(q.put_nowait, q.get_nowait, q.qsize)

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


def janus_queue(put: str, get: str, maxsize: int = BOUND) -> Make:
    """A janus queue; `put` and `get` name each operation, proxy first."""

    def face() -> Face:
        import janus

        q: janus.Queue[Any] = janus.Queue(maxsize)
        return Face(attrgetter(put)(q), attrgetter(get)(q), q.sync_q.qsize, q.close)

    return face


def culsans_queue(put: str, get: str, maxsize: int = BOUND) -> Make:
    """A culsans queue."""

    def face() -> Face:
        import culsans

        q: culsans.Queue[Any] = culsans.Queue(maxsize)
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
        Contender("janus", work(janus_queue(f"{put}_q.put", f"{get}_q.get")), "janus"),
        Contender("culsans", work(culsans_queue(f"{put}_put", f"{get}_get")), "culsans"),
        Contender("aiologic", work(aiologic_queue(f"{green[put]}_put", f"{green[get]}_get")), "aiologic"),
    )
