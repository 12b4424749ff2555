"""The loops that put and get: for queues, and for whatever else hands on items."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

from ..harness import ITEM, BenchError, Face, Make, Stopwatch, beside_a_thread, finish, run_loop, run_threads
from ..model import Run, Sample

# One thread.


def put_get(make: Make, item: Callable[[], Any] = lambda: ITEM, fill: Sequence[Any] = ()) -> Run:
    """One thread puts an item and gets one, over a queue that already holds `fill`."""

    def run(n: int) -> Sample:
        face = make()
        put, get, thing = face.put, face.get, item()
        for each in fill:
            put(each)
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                put(thing)
                get()
        for _ in fill:
            get()
        finish(face)
        return watch.sample(n)

    return run


def put_get_batches(make: Make, size: int) -> Run:
    """One thread puts a batch and gets a batch."""

    def run(n: int) -> Sample:
        face = make()
        put, get, batch = face.put, face.get, [ITEM] * size
        with Stopwatch() as watch:
            for _ in repeat(None, n // size):
                put(batch)
                get(size)
        finish(face)
        return watch.sample(n)

    return run


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


def on_one_loop(make: Make) -> Run:
    """One task awaits a put and awaits a get."""

    async def work(n: int) -> Sample:
        face = make()
        put, get, thing = face.put, face.get, ITEM
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                await put(thing)
                await get()
        finish(face)
        return watch.sample(n)

    return lambda n: run_loop(work(n))


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


def thread_to_loop_iterated(make: Callable[[], tuple[Face, Any]]) -> Run:
    """A thread puts, a task iterates."""

    async def work(n: int) -> Sample:
        face, source = make()
        put = face.put

        def produce() -> None:
            local_put, thing = put, ITEM
            for _ in repeat(None, n):
                local_put(thing)

        async def consume() -> None:
            left = n
            async for _ in source:
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


# Refusals: what is measured includes the exception, raised and caught.


def put_refused(make: Make, error: type[Exception]) -> Run:
    """One thread puts where there is no room."""

    def run(n: int) -> Sample:
        face = make()
        put, thing = face.put, ITEM
        put(thing)  # the queues of this row have room for one
        refused = 0
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                try:
                    put(thing)
                except error:
                    refused += 1
        face.get()
        check_refused(refused, n)
        finish(face)
        return watch.sample(n)

    return run


def get_refused(make: Make, error: type[Exception]) -> Run:
    """One thread gets where there is nothing."""

    def run(n: int) -> Sample:
        face = make()
        get = face.get
        refused = 0
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                try:
                    get()
                except error:
                    refused += 1
        check_refused(refused, n)
        finish(face)
        return watch.sample(n)

    return run


def check_refused(refused: int, n: int) -> None:
    """Complain about a contender that let something through."""
    if refused != n:
        raise BenchError(f"{n - refused} of {n} were not refused")


# Limits of time that are not needed.


def put_get_with_timeout(make: Make) -> Run:
    """One thread puts and gets, each with a timeout."""

    def run(n: int) -> Sample:
        face = make()
        put, get, thing = face.put, face.get, ITEM
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                put(thing, timeout=1.0)
                get(timeout=1.0)
        finish(face)
        return watch.sample(n)

    return run


def on_one_loop_with_timeout(make: Make) -> Run:
    """One task awaits a put and awaits a get, each with a timeout."""

    async def work(n: int) -> Sample:
        face = make()
        put, get, thing = face.put, face.get, ITEM
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                await put(thing, timeout=1.0)
                await get(timeout=1.0)
        finish(face)
        return watch.sample(n)

    return lambda n: run_loop(work(n))


def on_one_loop_in_wait_for(make: Make) -> Run:
    """The same for those whose methods take no timeout: each in `asyncio.wait_for`."""

    async def work(n: int) -> Sample:
        face = make()
        put, get, thing = face.put, face.get, ITEM
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                await asyncio.wait_for(put(thing), 1.0)
                await asyncio.wait_for(get(), 1.0)
        finish(face)
        return watch.sample(n)

    return lambda n: run_loop(work(n))
