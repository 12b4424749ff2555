"""What types a user's type checker sees: checked by pyright, never run."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import timedelta

from typing_extensions import assert_type

from sluicegate import Batcher, BatcherStatistics
from sluicegate.testing import ManualClock


def lengths(items: list[str]) -> list[int]:
    return [len(item) for item in items]


def risky(items: Sequence[str]) -> Sequence[int | Exception]:
    return [len(item) or ValueError("empty") for item in items]


def generated(items: Iterable[str]) -> Iterable[int]:
    for item in items:
        yield len(item)


async def lengths_async(items: list[str]) -> list[int]:
    return lengths(items)


def made(loop: asyncio.AbstractEventLoop) -> None:
    assert_type(Batcher(lengths), Batcher[str, int])
    assert_type(Batcher(risky), Batcher[str, int])
    assert_type(Batcher(generated, max=8, linger=timedelta(milliseconds=2), clock=ManualClock()), Batcher[str, int])
    assert_type(Batcher(lengths_async, loop=loop), Batcher[str, int])
    annotated: Batcher[str, int] = Batcher(lengths, name="b", overflow="reject", ttl=1)
    print(annotated)
    Batcher(lengths, loop=loop)  # pyright: ignore[reportCallIssue, reportArgumentType]
    Batcher(len)  # pyright: ignore[reportArgumentType, reportCallIssue]
    Batcher(lengths, 32)  # pyright: ignore[reportCallIssue]


def called(batcher: Batcher[str, int]) -> None:
    assert_type(batcher.call("x"), int)
    assert_type(batcher.call("x", timeout=1), int)
    assert_type(batcher.submit("x"), Future[int])
    assert_type(batcher.drain(), None)
    assert_type(batcher.close(1), None)
    assert_type(batcher.name, str | None)
    assert_type(batcher.closed, bool)
    assert_type(batcher.statistics(), BatcherStatistics)
    assert_type(batcher.statistics().mean_batch_size, float)
    with batcher as same:
        assert_type(same, Batcher[str, int])
    batcher.call(1)  # pyright: ignore[reportArgumentType]
    batcher.submit("x", 1)  # pyright: ignore[reportCallIssue]


async def awaited(batcher: Batcher[str, int]) -> None:
    assert_type(await batcher.submit_async("x"), int)
    assert_type(await asyncio.wrap_future(batcher.submit("x")), int)
    assert_type(await batcher.drain_async(1), None)
    assert_type(await batcher.close_async(), None)
    async with batcher as same:
        assert_type(same, Batcher[str, int])


@Batcher.of(max=8)
def predict(items: list[bytes]) -> list[float]:
    return [float(len(item)) for item in items]


@Batcher.of(linger=0)
async def predict_async(items: list[bytes]) -> list[float | Exception]:
    return [float(len(item)) for item in items]


class Model:
    @Batcher.of(max=8)
    def predict(self, items: list[bytes]) -> list[float]:
        return [float(len(item)) for item in items]

    @Batcher.of(max=8)
    async def predict_async(self, items: list[bytes]) -> list[float | Exception]:
        return [float(len(item)) for item in items]


def decorated(model: Model) -> None:
    assert_type(predict, Batcher[bytes, float])
    assert_type(predict_async, Batcher[bytes, float])
    assert_type(predict.call(b"x"), float)
    assert_type(model.predict, Batcher[bytes, float])
    assert_type(model.predict_async, Batcher[bytes, float])
    assert_type(model.predict.call(b"x"), float)
    Model.predict.call(b"x")  # pyright: ignore[reportAttributeAccessIssue]


def passed_on(handler: Callable[[list[str]], list[int]]) -> Batcher[str, int]:
    return Batcher(handler)
