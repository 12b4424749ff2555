"""What types a user's type checker sees: checked by pyright, never run."""

import asyncio
from collections.abc import AsyncIterator, Generator
from concurrent.futures import Executor, Future

from typing_extensions import assert_type

from sluicegate import (
    AsyncBoundedMap,
    AsyncPrefetch,
    BoundedExecutor,
    BoundedMap,
    ExecutorStatistics,
    Prefetch,
    PriorityQueue,
    Queue,
    Submitting,
    amap_bounded,
    aprefetch,
    map_bounded,
    prefetch,
)


def text(number: int) -> str:
    return str(number)


async def text_async(number: int) -> str:
    return str(number)


async def numbers() -> AsyncIterator[int]:
    yield 1


def executor() -> None:
    with BoundedExecutor(4, max_pending=10, overflow="reject", name="mill") as pool:
        assert_type(pool, BoundedExecutor)
        assert_type(pool.submit(text, 1), Future[str])
        assert_type(pool.submit(text, number=1).result(), str)
        assert_type(pool.map(text, [1, 2]), Generator[str, None, None])
        assert_type(pool.map(text, [1, 2], buffersize=3), Generator[str, None, None])
        assert_type(pool.statistics(), ExecutorStatistics)
        assert_type(pool.statistics().pending, int)
        assert_type(pool.statistics().max_pending, int | None)
        assert_type(pool.name, str | None)
        assert_type(pool.submitting(priority=3), Submitting)
        assert_type(pool.submitting().submit(text, 1), Future[str])
        pool.submit(text, "1")  # pyright: ignore[reportArgumentType]
        pool.submit(text)  # pyright: ignore[reportCallIssue]
    anybodys: Executor = BoundedExecutor(queue=PriorityQueue[int](3))
    anybodys.shutdown()
    BoundedExecutor(max_pending=3, overflow="drop")  # pyright: ignore[reportArgumentType]


async def executor_async() -> None:
    async with BoundedExecutor(max_pending=10) as pool:
        assert_type(await pool.submit_async(text, 1), asyncio.Future[str])
        assert_type(await (await pool.submit_async(text, 1)), str)
        assert_type(await (await pool.submitting().submit_async(text, 1)), str)
        await pool.submit_async(text, "1")  # pyright: ignore[reportArgumentType]


def maps() -> None:
    with map_bounded(text, [1, 2], workers=2, buffer=3, ordered=False) as results:
        assert_type(results, BoundedMap[str])
        for result in results:
            assert_type(result, str)
    assert_type(map_bounded(lambda n: n * 2.0, range(3), workers=1), BoundedMap[float])
    map_bounded(text, ["1"], workers=1)  # pyright: ignore[reportArgumentType]
    map_bounded(text, [1])  # pyright: ignore[reportCallIssue]


async def maps_async(queue: Queue[int]) -> None:
    async with amap_bounded(text_async, numbers(), workers=2) as results:
        assert_type(results, AsyncBoundedMap[str])
        async for result in results:
            assert_type(result, str)
    assert_type(amap_bounded(text_async, queue, workers=1), AsyncBoundedMap[str])
    assert_type(amap_bounded(text_async, [1], workers=1), AsyncBoundedMap[str])
    amap_bounded(text, [1], workers=1)  # pyright: ignore[reportArgumentType]
    amap_bounded(text_async, ["1"], workers=1)  # pyright: ignore[reportArgumentType]


def ahead() -> None:
    with prefetch([1, 2], 3) as items:
        assert_type(items, Prefetch[int])
        for item in items:
            assert_type(item, int)
    prefetch(numbers(), 3)  # pyright: ignore[reportArgumentType]
    prefetch([1], "3")  # pyright: ignore[reportArgumentType]


async def ahead_async() -> None:
    async with aprefetch(numbers(), 3) as items:
        assert_type(items, AsyncPrefetch[int])
        async for item in items:
            assert_type(item, int)
    assert_type(aprefetch([1, 2], 3), AsyncPrefetch[int])
