"""Which async iterators are closed by whoever iterates over them: one rule for `amap_bounded`, `aprefetch` and pipelines.

And what they cancel is cancelled once, so that it can clean up.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest
from helpers import PATIENCE, on_loops

from sluicegate import Pipeline, amap_bounded, aprefetch


class Stream:
    """An async iterator that is its own iterable, and can be closed."""

    def __init__(self, n):
        self.numbers = iter(range(n)) if n is not None else itertools.count()
        self.closed = 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0)
        for number in self.numbers:
            return number
        raise StopAsyncIteration

    async def aclose(self):
        await asyncio.sleep(0)
        self.closed += 1


class Streams:
    """An async iterable that makes such an iterator each time."""

    def __init__(self, n):
        self.n = n
        self.made = []

    def __aiter__(self):
        self.made.append(Stream(self.n))
        return self.made[-1]

    @property
    def closed(self):
        (stream,) = self.made
        return stream.closed


class Generators:
    """An async iterable whose `__aiter__` is an async generator function."""

    def __init__(self, n):
        self.stream = Stream(n)
        self.closed = 0

    async def __aiter__(self):
        try:
            async for number in self.stream:
                yield number
        finally:
            await asyncio.sleep(0)
            self.closed += 1


async def same(x):
    await asyncio.sleep(0)
    return x


async def by_map(items, most):
    async with amap_bounded(same, items, workers=2) as results:
        return await first(results, most)


async def by_prefetch(items, most):
    async with aprefetch(items, 2) as results:
        return await first(results, most)


async def by_pipeline(items, most):
    async with Pipeline(items).map(same).start_async() as run:
        return await first(run, most)


async def by_flat_map_async(items, most):
    async def given(_):
        return items

    async with Pipeline([0]).flat_map(given).start_async() as run:
        return await first(run, most)


async def first(results, most):
    seen = []
    async for result in results:
        seen.append(result)
        if len(seen) == most:
            break
    return seen


@on_loops
@pytest.mark.parametrize("n", [5, None], ids=["to the end", "left early"])
@pytest.mark.parametrize("kind", [Stream, Streams, Generators])
@pytest.mark.parametrize("read", [by_map, by_prefetch, by_pipeline, by_flat_map_async])
async def test_what_is_closed(read, kind, n):
    items = kind(n)
    assert await read(items, None if n else 5) == list(range(5))
    is_theirs = kind is Stream and read is not by_flat_map_async  # which returns what was made for it
    assert items.closed == (0 if is_theirs else 1)


@on_loops
async def test_what_has_an_owner_goes_on():
    async with contextlib.aclosing(Stream(None)) as stream:
        seen = [await read(stream, 3) for read in (by_map, by_prefetch, by_pipeline)]
        assert all(numbers == sorted(numbers) for numbers in seen)
        assert seen[0] < seen[1] < seen[2]
        assert not stream.closed
    assert stream.closed == 1


class Cleaned:
    """A coroutine function whose calls await something when they are cancelled."""

    def __init__(self):
        self.begun = self.cleaned = 0

    async def __call__(self, x):
        self.begun += 1
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            await asyncio.sleep(0.02)
            self.cleaned += 1

    async def generator(self):
        yield 0
        await self(0)


@on_loops
@pytest.mark.parametrize("end", ["kill and close", "cancel", "error"])
async def test_what_a_call_of_a_pipeline_does_when_it_is_cancelled_is_not_interrupted(end):
    call = Cleaned()

    async def fail(x):
        while call.begun < 3:
            await asyncio.sleep(0)
        raise LookupError

    before = asyncio.all_tasks()
    pipeline = Pipeline(range(3)).map(call.__call__, workers=3)
    if end == "error":
        with pytest.raises(LookupError):
            await pipeline.merge(Pipeline([0])).map(fail).run_async()
    elif end == "cancel":
        task = asyncio.ensure_future(pipeline.run_async())
        while call.begun < 3:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    else:
        async with pipeline.start_async() as run:
            while call.begun < 3:
                await asyncio.sleep(0)
            run.kill()
            await asyncio.sleep(0)
            run.kill()
    assert call.cleaned == 3
    assert asyncio.all_tasks() == before


@on_loops
@pytest.mark.parametrize("ordered", [False, True])
async def test_what_a_call_of_amap_does_when_it_is_cancelled_is_not_interrupted(ordered):
    call = Cleaned()

    async def f(x):
        if x == 0:
            while call.begun < 3:
                await asyncio.sleep(0)
            raise LookupError
        await call(x)

    with pytest.raises(LookupError):
        async with amap_bounded(f, range(4), workers=4, ordered=ordered) as results:
            await results.__anext__()
    assert call.cleaned == 3


@on_loops
async def test_what_an_iterable_of_aprefetch_does_when_it_is_cancelled_is_not_interrupted():
    call = Cleaned()
    async with aprefetch(call.generator(), 2) as results:
        assert await results.__anext__() == 0
        while not call.begun:
            await asyncio.sleep(0)
        leaving = asyncio.ensure_future(results.aclose())
        for _ in range(5):  # until it is in its `finally` block
            await asyncio.sleep(0)
        await results.aclose()
        await leaving
    assert call.cleaned == 1


@on_loops
@pytest.mark.parametrize("what", ["aprefetch", "pipeline"])
async def test_closing_an_iterator_is_not_interrupted_by_an_early_end(what):
    begun = asyncio.Event()

    class Slow(Streams):
        def __aiter__(self):
            stream = super().__aiter__()
            close = stream.aclose

            async def aclose():
                begun.set()
                await asyncio.sleep(0.02)
                await close()

            stream.aclose = aclose
            return stream

    items = Slow(2)
    async with aprefetch(items, 3) if what == "aprefetch" else Pipeline(items).map(same).start_async() as results:
        assert await results.__anext__() == 0
        await asyncio.wait_for(begun.wait(), PATIENCE)
        assert not items.closed
    assert items.closed == 1


@on_loops
@pytest.mark.parametrize("read", [by_map, by_prefetch])
async def test_a_pipeline_that_is_read_has_ended(read):
    ended = []
    source = (ended.append(number) or number for number in itertools.count())
    assert await read(Pipeline(source).map(same), 3) == [0, 1, 2]
    count = len(ended)
    await asyncio.sleep(0.01)
    assert len(ended) == count


@on_loops
@pytest.mark.parametrize("before", ["nothing", "kill"])
async def test_a_source_whose_closing_hangs_ends_when_the_run_is_cancelled(before):
    class Hanging(Streams):
        def __aiter__(self):
            made = super().__aiter__()
            made.aclose = asyncio.Event().wait
            return made

    async def run_it():
        async with Pipeline(Hanging(3)).for_each(lambda item: None).start_async() as run:
            if before == "kill":
                run.kill()
            await run.wait_async()

    task = asyncio.ensure_future(run_it())
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task], timeout=PATIENCE)
    assert task.done()


@on_loops
@pytest.mark.parametrize("how", ["break", "kill"])
async def test_a_call_that_hangs_when_it_is_cancelled_ends_when_the_end_of_the_block_is_cancelled(how):
    hangs = asyncio.Event()

    async def call(x):
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            hangs.set()
            await asyncio.Event().wait()

    async def run_it():
        async with Pipeline([1]).map(call).start_async() as run:
            await asyncio.sleep(0.01)
            if how == "kill":
                run.kill()

    before = asyncio.all_tasks()
    task = asyncio.ensure_future(run_it())
    await asyncio.wait_for(hangs.wait(), PATIENCE)
    await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task], timeout=PATIENCE)
    assert task.cancelled()
    for _ in range(10):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@on_loops
async def test_a_block_that_is_left_at_once_closes_what_was_made_for_it():
    streams = Streams(3)
    async with aprefetch(streams, 2):
        pass
    assert streams.closed == 1
    generator = Generators(3)
    async with aprefetch(generator, 2) as items:
        assert await items.__anext__() == 0
    assert generator.closed == 1
    stream = Stream(3)
    async with aprefetch(stream, 2):
        pass
    assert stream.closed == 0


@on_loops
async def test_an_aclose_that_is_no_coroutine_function():
    class Plain(Streams):
        def __aiter__(self):
            made = super().__aiter__()
            made.aclose = lambda: None
            return made

    async with aprefetch(Plain(3), 2) as items:
        assert [item async for item in items] == [0, 1, 2]
