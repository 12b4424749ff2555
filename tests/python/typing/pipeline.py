"""What types a user's type checker sees of pipelines: checked by pyright (and mypy --strict), never run."""

from collections.abc import AsyncIterator, Iterator
from typing import TypeGuard

from typing_extensions import TypeIs, assert_type

from sluicegate import (
    CreditChannel,
    DeadLetter,
    Pipeline,
    PipelineRun,
    PipelineStatistics,
    Produce,
    Queue,
    StageStatistics,
    TokenBucket,
    produce,
)


async def text_async(number: int) -> str:
    return str(number)


async def numbers() -> AsyncIterator[int]:
    yield 1


async def digits(text: str) -> AsyncIterator[int]:
    yield int(text)


async def words(text: str) -> list[str]:
    return text.split()


def lines() -> Iterator[str]:
    yield ""


def is_text(value: str | None) -> TypeIs[str]:
    return value is not None


def is_given(value: str | None) -> TypeGuard[str]:
    return value is not None


def use_bytes(data: bytes) -> None: ...


def sources() -> None:
    assert_type(Pipeline([1, 2]), Pipeline[int])
    assert_type(Pipeline(iter("ab"), name="mill"), Pipeline[str])
    assert_type(Pipeline(numbers()), Pipeline[int])
    assert_type(Pipeline(Queue[bytes](3)), Pipeline[bytes])
    assert_type(Pipeline(CreditChannel[float](3).receiver), Pipeline[float])
    assert_type(Pipeline(CreditChannel[float](3)), Pipeline[float])
    assert_type(produce(lines, threads=2), Produce[str])
    assert_type(Pipeline(produce(lines)), Pipeline[str])
    Pipeline(3)  # pyright: ignore[reportArgumentType]


def stages(limiter: TokenBucket) -> None:
    numbers = Pipeline([1, 2, 3])
    assert_type(numbers.map(str), Pipeline[str])
    assert_type(numbers.map(lambda n: n * 2.0, workers=3, ordered=False, buffer=7), Pipeline[float])
    assert_type(numbers.map(text_async, workers=3, timeout=1.5), Pipeline[str])
    assert_type(numbers.map(str).map(len).map(float), Pipeline[float])
    assert_type(numbers.map(str).flat_map(str.split), Pipeline[str])
    assert_type(numbers.map(str).flat_map(words), Pipeline[str])
    assert_type(numbers.map(str).flat_map(digits), Pipeline[int])
    assert_type(numbers.map(str).flat_map(words, timeout=1), Pipeline[str])
    numbers.map(str).flat_map(digits, timeout=1)  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert_type(numbers.filter(lambda n: n > 1), Pipeline[int])
    assert_type(numbers.filter(text_async), Pipeline[int])
    assert_type(Pipeline(["1", None]).filter(is_text), Pipeline[str])
    assert_type(Pipeline(["1", None]).filter(is_given), Pipeline[str])
    assert_type(numbers.tap(print), Pipeline[int])
    assert_type(numbers.batch(100, linger=0.2), Pipeline[list[int]])
    assert_type(numbers.batch(100).unbatch(), Pipeline[int])
    assert_type(numbers.buffer(100, overflow="drop_oldest"), Pipeline[int])
    assert_type(numbers.throttle(limiter), Pipeline[int])
    assert_type(numbers.keyed_map(text_async, key=str, workers=3), Pipeline[str])
    assert_type(numbers.keyed_map(float, key=lambda n: n % 7, workers=3), Pipeline[float])
    assert_type(numbers.conflate(key=str, merge=max), Pipeline[int])
    numbers.conflate(key=float)  # pyright: ignore[reportArgumentType] - a key is a str, an int, a tuple of those, ...; a float is none
    assert_type(numbers.sample(print), Pipeline[int])
    assert_type(numbers.merge(numbers.map(str)), Pipeline[int | str])
    assert_type(numbers.broadcast(lambda p: p.map(str), lambda p: p.map(str).filter(bool)), Pipeline[str])
    assert_type(numbers.map(str).on_error("skip").on_error(dead_letter=Queue[DeadLetter](3)), Pipeline[str])
    numbers.on_error("later")  # pyright: ignore[reportArgumentType]
    numbers.on_error(dead_letter=Queue[int](3))  # pyright: ignore[reportArgumentType]
    numbers.merge([1])  # pyright: ignore[reportArgumentType]
    numbers.map(use_bytes)  # pyright: ignore[reportArgumentType, reportCallIssue]
    numbers.map(str).map(text_async)  # pyright: ignore[reportArgumentType, reportCallIssue]
    numbers.map(str, timeout=3)  # pyright: ignore[reportArgumentType, reportCallIssue]
    numbers.unbatch()  # pyright: ignore[reportAttributeAccessIssue]
    numbers.for_each(use_bytes)  # pyright: ignore[reportArgumentType]
    numbers.buffer(100, overflow="spill")  # pyright: ignore[reportArgumentType]


def runs() -> None:
    strings = Pipeline([1, 2]).map(str)
    for string in strings:
        assert_type(string, str)
    with strings.start() as run:
        assert_type(run, PipelineRun[str])
        assert_type(next(run), str)
        run.stop(timeout=3)
        run.resize("str", 4)
        with run.stop_on(15):
            pass
        run.kill("enough")
        assert_type(run.wait(), None)
    assert_type(strings.run(), PipelineRun[str])
    assert_type(run.statistics(), PipelineStatistics)
    assert_type(run.statistics().stages[0], StageStatistics)
    assert_type(strings.describe("dot"), str)


async def runs_async() -> None:
    strings = Pipeline([1, 2]).map(str)
    async for string in strings:
        assert_type(string, str)
    async with strings.start_async() as run:
        assert_type(await run.__anext__(), str)
    assert_type(await strings.run_async(), PipelineRun[str])
