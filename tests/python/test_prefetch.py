"""prefetch and aprefetch: how far ahead, errors in their place, and the ends."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import pickle
import random
import sys
import threading
import time
import weakref

import pytest
from helpers import FORKING, PATIENCE, eventually, is_gone, on_loops, run_on, run_script, settle, spawn, wait_until

from sluicegate import BlockingInEventLoopWarning, Queue, ShutDown, aprefetch, prefetch


@pytest.mark.skipif(sys.gettrace() is not None, reason="it sets a trace function")
def test_ctrl_c_at_every_line_of_next():
    """No item is lost, and none comes twice."""
    at = 0
    while spawn(interrupted_at_line, at).result():
        at += 1
    assert at > 10


def interrupted_at_line(at):
    """Return whether there is such a line: see `test_mapping`."""
    results, lines = [], itertools.count()

    def trace(frame, event, argument):
        if frame.f_code.co_name != "__next__" or "sluicegate" not in frame.f_code.co_filename:
            return None
        if event == "line" and next(lines) == at:
            raise KeyboardInterrupt
        return trace

    with prefetch(range(10), 2) as items:
        while len(results) < 10:
            sys.settrace(trace)
            try:
                results.append(next(items))
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(None)
    assert results == list(range(10))
    return next(lines) > at


def readers():
    return [t for t in threading.enumerate() if t.name == "prefetch"]


def tasks_left():
    return [task for task in asyncio.all_tasks() if "_Task.read" in repr(task)]


class Source:
    """An iterable that counts, at every item, how far it is ahead of what was handed out."""

    def __init__(self, n=None):
        self.numbers = itertools.count() if n is None else iter(range(n))
        self.taken = self.handed = self.most = 0

    def __iter__(self):
        return self

    def __next__(self):
        number = next(self.numbers)
        self.taken += 1
        self.most = max(self.most, self.taken - self.handed)
        return number

    async def in_tasks(self):
        for number in self:
            if random.random() < 0.3:
                await asyncio.sleep(0)
            yield number


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_all_in_order(n):
    source = Source(2000)
    with prefetch(source, n) as items:
        for number, item in enumerate(items):
            assert item == number
            source.handed += 1
        assert list(items) == []
    assert source.handed == 2000
    # One has been handed out and is not counted yet by this loop.
    assert source.most <= n + 1
    assert not readers()


def test_exactly_so_far():
    source = Source()
    with prefetch(source, 5) as items:
        for handed in range(20):
            wait_until(lambda: source.taken == handed + 5)  # noqa: B023
            time.sleep(0.001)
            assert source.taken == handed + 5
            next(items)


def test_it_reads_from_the_entry_on():
    source = Source()
    items = prefetch(source, 3)
    assert not readers()
    assert source.taken == 0
    with items:
        wait_until(lambda: source.taken == 3)


def test_without_a_block():
    assert list(prefetch(range(100), 4)) == list(range(100))
    items = prefetch(itertools.count(), 4)
    assert next(items) == 0
    del items
    gc.collect()
    wait_until(lambda: not readers())


def failing(error, n=10):
    yield from range(n)
    raise error


@pytest.mark.parametrize(
    "error", [LookupError("source"), KeyboardInterrupt("source"), ShutDown("source"), asyncio.CancelledError("source")]
)
def test_errors_have_their_place(error):
    got = []
    with prefetch(failing(error), 3) as items:
        with pytest.raises(type(error), match="source") as failed:
            for item in items:
                got.append(item)  # noqa: PERF402 - what came before the error
        assert failed.value is error
        assert got == list(range(10))
        assert list(items) == []
    assert "accepted" not in vars(error)
    assert any(entry.name == "failing" for entry in failed.traceback)


def test_an_error_that_would_look_like_the_end():
    class Source:
        def __iter__(self):
            return self

        def __next__(self):
            raise StopAsyncIteration

    with prefetch(Source(), 3) as items, pytest.raises(RuntimeError, match="the iterable of prefetch raised StopAsyncIteration"):
        next(items)


def test_leaving_early():
    source = Source()
    with prefetch(source, 4) as items:
        for item in items:
            if item == 10:
                break
    assert not readers()
    taken = source.taken
    assert taken <= 11 + 4 + 1
    time.sleep(0.005)
    assert source.taken == taken
    assert list(items) == []


def test_a_source_that_is_blocked_does_not_hold_anybody_up():
    q = Queue()
    q.put(1)
    with prefetch(q, 3) as items:
        assert next(items) == 1
    assert readers()  # the block has been left, and the source still blocks
    q.put(2)  # is taken, and dropped
    wait_until(lambda: not readers())
    q.put(3)
    assert q.get() == 3


def test_nothing_is_kept():
    class Thing:
        pass

    with prefetch((Thing() for _ in range(50)), 5) as items:
        for thing in items:
            reference = weakref.ref(thing)
            del thing
            wait_until(lambda: is_gone(reference))  # noqa: B023


def test_context():
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(1)
    items = prefetch((variable.get() for _ in range(3)), 2)
    variable.set(2)
    assert list(items) == [1, 1, 1]


@pytest.mark.parametrize("function", [prefetch, aprefetch])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([], 0), ValueError, "'n' must be at least 1, not 0"),
        (([], True), TypeError, "'n' must be an int of at least 1, not True"),
        (([], 1.5), TypeError, "not 1.5"),
        (([], None), TypeError, "not None"),
        ((3, 1), TypeError, "not iterable"),
    ],
)
def test_bad_arguments(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(*arguments)


def test_async_iterable_in_a_thread():
    with pytest.raises(TypeError, match=r"prefetch\(\) takes an iterable, and .* is an async iterable: use aprefetch\(\)"):
        prefetch(aprefetch([], 1), 1)


def test_what_it_is():
    items = prefetch(range(10), 2)
    assert iter(items) is items
    assert repr(items) == "<sluicegate.Prefetch: 0 items read ahead>"
    items.close()
    assert repr(items) == "<sluicegate.Prefetch: ended>"
    assert list(items) == []
    with pytest.raises(TypeError, match="cannot pickle or copy 'Prefetch' object"):
        pickle.dumps(items)


@on_loops
async def test_on_a_loop_it_warns():
    gate = threading.Event()
    items = prefetch((gate.wait(PATIENCE) for _ in range(1)), 1)
    threading.Timer(0.05, gate.set).start()
    with pytest.warns(BlockingInEventLoopWarning, match=r"prefetch\(\) is .* use `async for ... in aprefetch\(\)`") as told:
        assert next(items)
    assert told[0].filename == __file__
    items.close()


def test_a_storm_of_early_ends():
    chance = random.Random(5)
    before = threading.active_count()
    for _ in range(400):
        n, ahead, how = chance.randrange(1, 50), chance.randrange(1, 10), chance.choice(["all", "break", "error", "drop"])
        at = chance.randrange(n)
        source = failing(LookupError(), n) if how == "error" else iter(range(n))
        got = []
        try:
            items = prefetch(source, ahead)
            for item in items if how == "drop" else items.__enter__():
                got.append(item)
                if how in ("break", "drop") and len(got) > at:
                    break
            if how != "drop":
                items.close()
        except LookupError:
            assert how == "error"
        items = None
        assert got == list(range(at + 1 if how in ("break", "drop") else n))
    wait_until(lambda: threading.active_count() <= before, 5)


def test_exit_with_everything_open():
    run_script(
        """
        import itertools
        from sluicegate import Queue, prefetch
        one, two = prefetch(itertools.count(), 5), prefetch(Queue(), 3)
        one.__enter__(), two.__enter__()
        next(one)
        """
    )


def test_interrupting_next():
    run_script(
        """
        import signal, threading
        from sluicegate import prefetch
        gate = threading.Event()
        with prefetch((gate.wait() and i for i in range(4)), 2) as items:
            waits = False
            while not waits:
                try:
                    threading.Timer(0.1, signal.raise_signal, (signal.SIGINT,)).start()
                    waits = True  # on a busy machine the signal may come before
                    next(items)
                except KeyboardInterrupt:
                    pass
            gate.set()
            assert list(items) == [0, 1, 2, 3]
        """
    )


def test_fork():
    run_script(
        FORKING
        + """
from sluicegate import prefetch
items = prefetch(range(100), 3)
assert next(items) == 0
def child():
    try:
        list(items)
    except RuntimeError as error:
        assert "was forked" in str(error), error
    else:
        raise AssertionError
    assert list(prefetch(range(10), 2)) == list(range(10))
check(in_child(child))
assert list(items) == list(range(1, 100))
"""
    )


# --- asyncio -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["thread", "task"])
@pytest.mark.parametrize("n", [1, 7, 500])
def test_async_all_in_order(n, kind):
    async def main():
        source = Source(500)
        async with aprefetch(source if kind == "thread" else source.in_tasks(), n) as items:
            number = 0
            async for item in items:
                assert item == number
                number += 1
                source.handed += 1
            assert [x async for x in items] == []
        assert source.handed == 500
        assert source.most <= n + 1
        assert not tasks_left()
        await eventually(lambda: not readers())

    run_on("asyncio", main())


@on_loops
async def test_async_errors_have_their_place():
    async def failing_async(error):
        for number in range(10):
            yield number
        raise error

    for error in (LookupError("source"), ShutDown("source")):
        for source in (failing(error), failing_async(error)):
            got = []
            async with aprefetch(source, 3) as items:
                with pytest.raises(type(error)) as failed:
                    async for item in items:
                        got.append(item)
                assert failed.value is error
                assert got == list(range(10))
                assert [x async for x in items] == []


@on_loops
async def test_async_leaving_early():
    for kind in ("thread", "task"):
        source = Source()
        async with aprefetch(source if kind == "thread" else source.in_tasks(), 4) as items:
            async for item in items:
                if item == 10:
                    break
        assert not tasks_left()
        await eventually(lambda: not readers())
        taken = source.taken
        assert taken <= 11 + 4 + 1
        await settle()
        assert source.taken == taken


@on_loops
@pytest.mark.parametrize("end", ["break", "cancel", "all", "source"])
async def test_async_a_generator_is_closed(end):
    closed = []

    async def numbers():
        try:
            for number in range(20):
                await asyncio.sleep(0)
                if end == "source" and number == 10:
                    raise LookupError
                yield number
        finally:
            await asyncio.sleep(0)  # the end is waited for
            closed.append(True)

    async def use():
        async with aprefetch(source, 3) as items:
            async for item in items:
                if end == "break" and item == 5:
                    break
                if end == "cancel" and item == 5:
                    asyncio.current_task().cancel()
        assert closed

    source = numbers()
    task = asyncio.ensure_future(use())
    await asyncio.wait([task])
    assert closed == [True]
    assert task.cancelled() if end == "cancel" else (type(task.exception()) is (LookupError if end == "source" else type(None)))
    assert not tasks_left()


@on_loops
async def test_async_what_a_generator_raises_when_it_is_closed():
    async def numbers():
        try:
            for number in itertools.count():
                yield number
        finally:
            raise LookupError("at the end")

    async def more():
        while True:
            try:
                yield 1
            except GeneratorExit:
                return
            except BaseException:
                pass

    with pytest.raises(LookupError, match="at the end"):
        async with aprefetch(numbers(), 2) as items:
            await items.__anext__()
    async with aprefetch(more(), 2) as items:
        await items.__anext__()


@on_loops
async def test_async_a_cancelled_reader_is_no_end():
    async def source():
        yield 1
        await asyncio.sleep(PATIENCE)

    async with aprefetch(source(), 4) as items:
        assert await items.__anext__() == 1
        await settle()
        for task in tasks_left():
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await items.__anext__()


@on_loops
async def test_async_dropping_it_stops_it():
    source = Source()
    items = aprefetch(source.in_tasks(), 3)
    await items.__anext__()
    del items
    gc.collect()
    await eventually(lambda: not tasks_left())


@on_loops
async def test_async_the_consumer_is_cancelled():
    async def consume():
        async with aprefetch(Queue(), 3) as items:
            async for _ in items:
                pass

    task = asyncio.ensure_future(consume())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not tasks_left()


@on_loops
async def test_async_the_loop_is_free():
    """A source that blocks its thread does not block the event loop."""
    gate = threading.Event()
    async with aprefetch((gate.wait(PATIENCE) for _ in range(2)), 1) as items:
        asyncio.get_running_loop().call_later(0.01, gate.set)
        assert [x async for x in items] == [True, True]
    assert "ended" in repr(items)


@pytest.mark.thread_unsafe(reason="it patches Thread.start")
def test_threads_that_ask_for_the_first_item_at_once_start_one_reader(monkeypatch):
    start, begun, started = threading.Thread.start, threading.Event(), []

    def slow(thread):
        if thread.name == "prefetch":
            started.append(thread)
            begun.set()
            time.sleep(0.1)  # the other one comes meanwhile
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", slow)
    results = prefetch(range(2), 1)
    first = spawn(next, results)
    assert begun.wait(20)
    assert sorted([next(results), first.result()]) == [0, 1]
    assert len(started) == 1
    results.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_async_under_trio_the_error_says_what_is_needed(is_async):
    trio = pytest.importorskip("trio")
    taken = []

    def numbers():
        for number in range(5):
            taken.append(number)
            yield number

    async def numbers_async():
        for number in numbers():
            yield number

    async def main():
        async with aprefetch(numbers_async() if is_async else numbers(), 2):
            raise AssertionError

    with pytest.raises(RuntimeError, match=r"^aprefetch\(\) needs a running asyncio event loop .* trio's is not one"):
        trio.run(main)
    assert not taken
