"""The loops that put and get: for queues, and for whatever else hands on items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..harness import ITEM, REFUSED, Face, Make, Stopwatch, beside_a_thread, code_of, finish, loop_of, run_loop, run_threads
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
    produce, consume = loop_of("put(item)", "put", "item"), loop_of("get()", "get")

    def run(n: int) -> Sample:
        face = make()
        putting = partial(produce, n // producers, face.put, ITEM)
        getting = partial(consume, n // consumers, face.get)
        sample = run_threads([putting] * producers + [getting] * consumers, n)
        finish(face)
        return sample

    return run


def threads_in_batches(make: Make, size: int) -> Run:
    """One thread puts batches, another one gets them."""
    produce = loop_of("put(batch)", "put", "batch")
    consume = code_of("while n:\n    n -= len(get(size))", "get", "size")

    def run(n: int) -> Sample:
        face = make()
        putting = partial(produce, n // size, face.put, [ITEM] * size)
        sample = run_threads([putting, partial(consume, n, face.get, size)], n)
        finish(face)
        return sample

    return run


# Event loops.


def thread_to_loop(make: Make) -> Run:
    """A thread puts, a task gets."""
    produce, consume = loop_of("put(item)", "put", "item"), loop_of("await get()", "get")

    async def work(n: int) -> Sample:
        face = make()
        return await beside_a_thread(partial(produce, n, face.put, ITEM), partial(consume, n, face.get), face, n)

    return lambda n: run_loop(work(n))


def thread_to_loop_iterated(make: Make) -> Run:
    """A thread puts, a task iterates."""
    produce = loop_of("put(item)", "put", "item")
    consume = code_of("async for _ in items:\n    n -= 1\n    if not n:\n        break", "items")

    async def work(n: int) -> Sample:
        face = make()
        return await beside_a_thread(partial(produce, n, face.put, ITEM), partial(consume, n, face.items), face, n)

    return lambda n: run_loop(work(n))


def loop_to_thread(make: Make) -> Run:
    """A task puts, a thread gets."""
    produce, consume = loop_of("await put(item)", "put", "item"), loop_of("get()", "get")

    async def work(n: int) -> Sample:
        face = make()
        return await beside_a_thread(partial(consume, n, face.get), partial(produce, n, face.put, ITEM), face, n)

    return lambda n: run_loop(work(n))
