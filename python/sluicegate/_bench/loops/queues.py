"""The loops that put and get: for queues, and for whatever else hands on items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any

from ..harness import ITEM, REFUSED, Face, Make, Stopwatch, beside_a_thread, finish, loop_of, run_loop, run_threads
from ..model import Run, Sample

PUT_GET = "put(item); get()"
AWAITED = "await put(item); await get()"
WITH_TIMEOUT = "put(item, timeout=1.0); get(timeout=1.0)"
AWAITED_WITH_TIMEOUT = "await put(item, timeout=1.0); await get(timeout=1.0)"
AWAITED_IN_WAIT_FOR = "await wait_for(put(item), 1.0); await wait_for(get(), 1.0)"
PUT_REFUSED = REFUSED.format(call="put(item)")
GET_REFUSED = REFUSED.format(call="get()")


# One thread, or one task.


def turns(make: Make, statement: str = PUT_GET, *, items: int = 1, **names: Any) -> Run:
    """Run a statement repeatedly. It can use `put`, `get`, `item` and `names`, and moves `items` items each time."""
    loop = loop_of(statement, "put", "get", "item", *(names.keys() - {"item"}))

    def known(face: Face) -> dict[str, Any]:
        return {"put": face.put, "get": face.get, "item": face.item} | names

    async def awaited(n: int) -> Sample:
        face = make()
        with Stopwatch() as watch:
            await loop(n // items, **known(face))
        finish(face)
        return watch.sample(n)

    def called(n: int) -> Sample:
        face = make()
        with Stopwatch() as watch:
            loop(n // items, **known(face))
        finish(face)
        return watch.sample(n)

    return (lambda n: run_loop(awaited(n))) if "await " in statement else called


def holding(make: Make, items: Sequence[Any]) -> Make:
    """The same object with some items in it, the first of which is the item that is put."""

    def face() -> Face:
        made = make()
        for item in items:
            made.put(item)
        return replace(made, item=items[0], holds=len(items))

    return face


# Several threads.


def threads(make: Make, producers: int, consumers: int) -> Run:
    """Threads put, other threads get, item by item."""

    def run(n: int) -> Sample:
        face = make()
        put, get = face.put, face.get

        def produce() -> None:
            mine, local_put, thing = n // producers, put, ITEM
            for _ in repeat(None, mine):
                local_put(thing)

        def consume() -> None:
            mine, local_get = n // consumers, get
            for _ in repeat(None, mine):
                local_get()

        sample = run_threads([produce] * producers + [consume] * consumers, n)
        finish(face)
        return sample

    return run


def threads_in_batches(make: Make, size: int) -> Run:
    """One thread puts batches, another one gets them."""

    def run(n: int) -> Sample:
        face = make()
        put, get = face.put, face.get

        def produce() -> None:
            local_put, batch = put, [ITEM] * size
            for _ in repeat(None, n // size):
                local_put(batch)

        def consume() -> None:
            local_get, left = get, n
            while left:
                left -= len(local_get(size))

        sample = run_threads([produce, consume], n)
        finish(face)
        return sample

    return run


# Event loops.


def thread_to_loop(make: Make) -> Run:
    """A thread puts, a task gets."""

    async def work(n: int) -> Sample:
        face = make()
        put, get = face.put, face.get

        def produce() -> None:
            local_put, thing = put, ITEM
            for _ in repeat(None, n):
                local_put(thing)

        async def consume() -> None:
            local_get = get
            for _ in repeat(None, n):
                await local_get()

        return await beside_a_thread(produce, consume, face, n)

    return lambda n: run_loop(work(n))


def thread_to_loop_iterated(make: Make) -> Run:
    """A thread puts, a task iterates."""

    async def work(n: int) -> Sample:
        face = make()
        put = face.put

        def produce() -> None:
            local_put, thing = put, ITEM
            for _ in repeat(None, n):
                local_put(thing)

        async def consume() -> None:
            left = n
            async for _ in face.items:
                left -= 1
                if not left:
                    break

        return await beside_a_thread(produce, consume, face, n)

    return lambda n: run_loop(work(n))


def loop_to_thread(make: Make) -> Run:
    """A task puts, a thread gets."""

    async def work(n: int) -> Sample:
        face = make()
        put, get = face.put, face.get

        def consume() -> None:
            local_get = get
            for _ in repeat(None, n):
                local_get()

        async def produce() -> None:
            local_put, thing = put, ITEM
            for _ in repeat(None, n):
                await local_put(thing)

        return await beside_a_thread(consume, produce, face, n)

    return lambda n: run_loop(work(n))
