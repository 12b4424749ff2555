"""Pipeline: the stages, the order, the bound."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
import os
import random
import re
import socket
import sys
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from helpers import PATIENCE, on_loops, run_script, spawn, wait_until

import sluicegate
from sluicegate import (
    AckChannel,
    BlockingInEventLoopWarning,
    CreditChannel,
    Full,
    KeyedTokenBucket,
    Killed,
    Pipeline,
    Queue,
    Sample,
    Semaphore,
    TokenBucket,
    produce,
)
from sluicegate.testing import ManualClock


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


async def numbers(n):
    for number in range(n):
        yield number


# --- stages --------------------------------------------------------------------------------------------------------


def test_stages_of_threads():
    pipeline = Pipeline(range(10)).map(str).filter(lambda s: s != "3").tap(len).map(int, workers=0).map(lambda n: n + 1)
    assert list(pipeline) == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert list(pipeline) == [1, 2, 3, 5, 6, 7, 8, 9, 10]  # once more: it is only a description


def test_stages_of_both_kinds():
    threads = set()

    def where(x):
        threads.add(threading.current_thread())
        return x

    async def where_async(x):
        threads.add(threading.current_thread())
        return await double(x)

    seen = []
    Pipeline(range(100)).map(where).map(where_async, workers=5).map(where_async).tap(where).for_each(seen.append).run()
    assert seen == list(range(0, 400, 4))
    assert len(threads) == 2  # a thread and the loop's; `tap` is in line
    assert threading.current_thread() not in threads


@on_loops
async def test_coroutines_run_on_the_callers_loop():
    here = threading.current_thread()

    async def check(x):
        assert threading.current_thread() is here
        return await double(x)

    def elsewhere(x):
        assert threading.current_thread() is not here
        return x

    seen = []
    pipeline = Pipeline(numbers(50)).map(check, workers=3).map(elsewhere).filter(check)
    await pipeline.for_each(seen.append).run_async()
    assert seen == list(range(2, 100, 2))
    assert [x async for x in Pipeline(range(5)).map(check)] == [0, 2, 4, 6, 8]


def test_flat_map():
    assert list(Pipeline(range(4)).flat_map(range)) == [0, 0, 1, 0, 1, 2]
    assert list(Pipeline(range(4)).flat_map(range, workers=3).map(str, workers=0)) == list("001012")

    async def listed(n):
        return [n] * n

    assert list(Pipeline(range(4)).flat_map(listed, workers=2)) == [1, 2, 2, 3, 3, 3]
    assert list(Pipeline(range(4)).flat_map(numbers, workers=3)) == [0, 0, 1, 0, 1, 2]
    assert sorted(Pipeline(range(4)).flat_map(numbers, workers=3, ordered=False)) == [0, 0, 0, 1, 1, 2]


def test_flat_map_of_the_endless():
    made = []

    def endless(x):
        for number in itertools.count():
            made.append(number)
            yield number

    with Pipeline([1]).flat_map(endless, buffer=3).start() as run:
        for taken in range(1, 30):
            next(run)
            assert len(made) <= taken + 3 + 1
    assert len(made) <= 29 + 4


def test_batch_and_unbatch():
    assert list(Pipeline(range(7)).batch(3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(Pipeline(range(7)).batch(3).unbatch()) == list(range(7))
    assert list(Pipeline(iter([])).batch(3)) == []
    assert list(Pipeline(range(100)).map(str).batch(30).map(len)) == [30, 30, 30, 10]


def test_a_batch_that_lingers():
    q = Queue()
    q.put_many([1, 2])
    with Pipeline(q).batch(10, linger=0.001).start() as run:
        assert next(run) in ([1], [1, 2])
        q.put(3)
        while next(run) != [3]:
            pass
        q.shutdown()
        assert list(run) == []


def test_a_batch_is_larger_than_the_buffers_before():
    assert [len(each) for each in Pipeline(range(1000)).map(str, buffer=2).batch(400)] == [400, 400, 200]


def test_buffer_with_a_policy():
    gate = threading.Event()
    dropped, seen = [], []
    pipeline = Pipeline(range(100)).buffer(5, overflow="drop_oldest", on_drop=lambda item, why: dropped.append(item))

    def slow(x):
        gate.wait(PATIENCE)
        seen.append(x)

    with pipeline.for_each(slow).start() as run:
        wait_until(lambda: len(dropped) >= 94)
        gate.set()
        run.wait()
    assert sorted(seen + dropped) == list(range(100))
    assert seen[-5:] == list(range(95, 100))

    gate.clear()
    with pytest.raises(Full):
        with Pipeline(range(100)).map(str).buffer(5, overflow="reject").for_each(slow).start() as run:
            wait_until(lambda: run._run.errors)
            gate.set()
            run.wait()


def test_buffer_lets_more_wait():
    taken = []
    with Pipeline(iter(lambda: taken.append(1), 1)).buffer(7).map(str, buffer=2).start() as run:
        wait_until(lambda: len(taken) == 7 + 2 + 1)
        next(run)
        wait_until(lambda: len(taken) == 11)


def test_throttle():
    clock = ManualClock()
    limiter = TokenBucket(1, burst=2, clock=clock)
    seen = []
    with Pipeline(range(4)).throttle(limiter).for_each(seen.append).start() as run:
        wait_until(lambda: len(seen) == 2)
        for n in (3, 4):
            clock.wait_for_waiters(1)
            clock.advance(1)
            wait_until(lambda: len(seen) == n)  # noqa: B023
        run.wait()


def test_a_throttled_run_can_be_killed():
    limiter = TokenBucket(0.0001, burst=1)
    with pytest.raises(Killed), Pipeline(range(4)).throttle(limiter).start() as run:
        next(run)
        run.kill()
        next(run)


def test_for_each_in_the_caller():
    me, threads = threading.current_thread(), set()
    Pipeline(range(10)).map(str).for_each(lambda _: threads.add(threading.current_thread()), in_caller=True).run()
    assert threads == {me}


@on_loops
async def test_for_each_in_the_caller_async():
    me, tasks = asyncio.current_task(), set()
    await Pipeline(range(10)).map(str).for_each(lambda _: tasks.add(asyncio.current_task()), in_caller=True).run_async()
    assert len(tasks) == 1
    assert tasks == {me}


@pytest.mark.parametrize("how", ["run", "start"])
def test_a_coroutine_function_has_no_task_to_be_called_in(how):
    seen = []

    async def sink(x):
        seen.append(x)

    pipeline = Pipeline(range(3)).map(str).for_each(sink, in_caller=True)
    call = {"run": pipeline.run, "start": pipeline.start}[how]
    with pytest.raises(TypeError, match=r"in the thread that waits, and .*sink.* is a coroutine function: run it with run_async\(\)"):
        call()
    assert asyncio.run(pipeline.run_async()).statistics().stages[-1].passed == 3
    assert seen == ["0", "1", "2"]


@on_loops
async def test_a_thread_cannot_call_a_coroutine_function_in_a_task():
    seen, discarded = [], []

    async def sink(x):
        seen.append(x)

    pipeline = Pipeline(range(3)).for_each(sink, in_caller=True)
    async with pipeline.start_async() as run:
        for wait in (run.wait, lambda: run.stop(timeout=5)):
            with pytest.raises(TypeError, match=r"await wait_async\(\)"):
                await asyncio.to_thread(wait)
    assert seen == [0, 1, 2]
    with pytest.raises(TypeError, match="wait_async"), pipeline.start_async(on_discard=lambda item, stage: discarded.append(item)) as run:
        pass
    assert run.is_over
    assert discarded == [0, 1, 2] or not discarded  # as far as it was read


# --- sources -------------------------------------------------------------------------------------------------------


def test_sources():
    q, channel = Queue(), CreditChannel(100)
    q.put_many(range(10))
    q.shutdown()
    channel.sender.send_many(range(10))
    channel.sender.complete()
    receiver = CreditChannel(100)
    receiver.sender.send_many(range(10))
    receiver.sender.complete()
    kinds = [list(range(10)), tuple(range(10)), dict.fromkeys(range(10)), iter(range(10)), (x for x in range(10)), numbers(10), q, channel]
    for source in [*kinds, receiver.receiver, produce(lambda: range(10))]:
        assert list(Pipeline(source).map(str)) == list("0123456789"), source
    assert sorted(Pipeline(produce(lambda: iter(range(10)), threads=3))) == sorted(3 * list(range(10)))


def test_a_source_that_is_a_queue_keeps_what_is_not_taken():
    q = Queue()
    q.put_many(range(1000))
    with Pipeline(q).map(str, buffer=4).start() as run:
        first = [next(run) for _ in range(10)]
        run.stop()
        rest = list(run)
    assert list(map(int, first + rest)) == list(range(len(first + rest)))
    assert q.qsize() == 1000 - len(first + rest)
    assert not q.is_shutdown


def test_deliveries_that_are_settled_by_the_sink():
    """At its end the source waits for deliveries that it has received itself and that other tasks settle."""
    for _ in range(20):
        inbox = AckChannel(window=10)
        inbox.sender.send_many(range(8))
        inbox.sender.complete()
        Pipeline(inbox).map(lambda each: each, workers=3, buffer=0).for_each(lambda each: each.ack(), buffer=0).run()
        assert inbox.receiver.settled_through == 8


@pytest.mark.parametrize("kind", ["file", "socket"])
def test_a_source_that_is_read_by_io(tmp_path, kind):
    """A pipeline reads a file or a socket through the channel of its lines."""
    io = pytest.importorskip("sluicegate.io", reason="this extension is built without it")
    text = b"".join(b"%d\n" % number for number in range(5000))
    channel = CreditChannel(64)
    if kind == "file":
        tmp_path.joinpath("numbers").write_bytes(text)
        io.read_lines(tmp_path / "numbers", channel.sender)
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            io.read_lines(server.getsockname(), channel.sender)
            there, _ = server.accept()
        spawn(lambda: (there.sendall(text), there.close()))
    assert list(Pipeline(channel).map(int, workers=2)) == list(range(5000))
    assert channel.statistics().peak_outstanding <= 64

    channel = CreditChannel(64)
    io.read_lines(tmp_path / "nothing", channel.sender)
    with pytest.raises(FileNotFoundError) as failed:
        Pipeline(channel).map(int).run()
    assert failed.value.__notes__ == ["in pipeline: the source 'Receiver'"]


def test_errors_of_sources():
    q = Queue()
    q.put(1)
    q.fail(OSError("of the queue"))
    channel = CreditChannel(10)
    channel.sender.send(1)
    channel.sender.fail(OSError("of the channel"))

    def some():
        yield 1
        raise OSError("of the generator")

    async def some_async():
        yield 1
        raise OSError("of the async generator")

    for source in (q, channel, some(), some_async(), produce(some)):
        got = []
        with pytest.raises(OSError, match="of the") as failed:
            for item in Pipeline(source, name="p").map(str):
                got.append(item)  # noqa: PERF402 - what came before the error
        assert got == ["1"]
        assert "in pipeline 'p': the source" in failed.value.__notes__[0]


# --- order ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_order_under_random_times(kind):
    chance = random.Random(1)
    times = [chance.choice([0, 0, 0, 0.001, 0.003]) for _ in range(200)]

    def pause(x):
        time.sleep(times[x])
        return x

    async def pause_async(x):
        await asyncio.sleep(times[x])
        return x

    f = pause if kind == "threads" else pause_async
    pipeline = Pipeline(range(200)).map(f, workers=4, buffer=3).map(f, workers=1).map(f, workers=6).filter(lambda x: x % 3)
    assert list(pipeline) == [x for x in range(200) if x % 3]
    unordered = list(Pipeline(range(200)).map(f, workers=6, ordered=False))
    assert sorted(unordered) == list(range(200))


def test_unordered_passes_by_what_is_slow():
    gate = threading.Event()
    with Pipeline(range(5)).map(lambda i: gate.wait(PATIENCE) if i == 0 else i, workers=2, ordered=False).start() as run:
        assert [next(run) for _ in range(4)] == [1, 2, 3, 4]
        gate.set()
        assert next(run) is True


def test_a_result_does_not_wait_for_the_next_item():
    q = Queue()
    q.put(1)
    with Pipeline(iter(q)).map(str).map(str).filter(bool).start() as run:
        assert next(run) == "1"
        q.put(2)
        assert next(run) == "2"
        q.shutdown()
        assert list(run) == []


# --- the bound -----------------------------------------------------------------------------------------------------


class Counted:
    """An iterable that counts, at every item, how many were taken and are not finished."""

    def __init__(self):
        self.lock = threading.Lock()
        self.taken = self.finished = self.most = 0

    def __iter__(self):
        return self

    def __next__(self):
        with self.lock:
            self.taken += 1
            self.most = max(self.most, self.taken - self.finished)
            return self.taken

    def finish(self, item):
        with self.lock:
            self.finished += len(item) if isinstance(item, list) else 1


@pytest.mark.parametrize(("workers", "buffer"), [(1, 1), (3, 2), (2, 100)])
@pytest.mark.parametrize("ordered", [True, False])
def test_never_more_than_buffers_and_workers(workers, buffer, ordered):
    """The bound holds at every item with an endless source, a slow sink and five stages of mixed kinds."""
    counted, runs = Counted(), []
    options = {"workers": workers, "buffer": buffer, "ordered": ordered}

    def sink(item):
        if counted.finished % 16 == 0:
            time.sleep(0.0002)
        counted.finish(item)
        if counted.finished >= 2000:
            wait_until(lambda: runs)
            runs[0].stop()

    pipeline = Pipeline(iter(counted)).map(lambda x: x, **options).map(double, **options).flat_map(lambda x: [x], **options)
    pipeline = pipeline.tap(str).map(lambda x: x, **options).batch(4, buffer=1).for_each(sink, buffer=0)
    runs.append(pipeline.start())
    runs[0].wait(PATIENCE)
    assert counted.finished == counted.taken
    stated = 4 * (workers + buffer) + 4 * 2 + 4  # a list that the sink works on counts as its items
    assert counted.most <= stated


def test_the_bound_is_reached():
    """Without a consumer, exactly as many items are taken as the stages state."""
    counted = Counted()
    with Pipeline(iter(counted)).map(str, workers=2, buffer=3).map(str, buffer=4).start() as run:
        for handed in range(1, 20):
            next(run)
            wait_until(lambda: counted.taken == handed + 5 + 5)  # noqa: B023
        time.sleep(0.01)
        assert counted.taken == 19 + 10


async def one_async(x):
    yield x


#: Stages, and how many items they and a sink of one worker without a buffer hold, by what they state.
STATED = {
    "map": (lambda p: p.map(str, workers=2, buffer=3), 5 + 1),
    "map of tasks": (lambda p: p.map(double, workers=2, buffer=3), 5 + 1),
    "map in the stage before": (lambda p: p.map(str, buffer=3).map(str, workers=0).filter(bool), 4 + 1),
    "flat_map": (lambda p: p.flat_map(lambda x: [x], workers=2, buffer=3), 5 + 1),
    "flat_map of tasks": (lambda p: p.flat_map(one_async, workers=2, buffer=3).flat_map(one_async, buffer=1), 5 + 2 + 1),
    "keyed_map": (lambda p: p.keyed_map(str, key=id, workers=2, buffer=3), 5 + 1),
    "batch": (lambda p: p.batch(4, buffer=1), 4 * 2 + 4),
    "unbatch": (lambda p: p.batch(4, buffer=1).unbatch(buffer=2), 4 * 2 + 4 + 2 + 1),
    "throttle": (lambda p: p.throttle(TokenBucket(10**6, burst=10**6)), 1 + 1),
    "buffer": (lambda p: p.map(str, buffer=2).buffer(5).buffer(3), 3 + 5 + 3 + 1),
    "conflate": (lambda p: p.map(str, buffer=2).conflate(key=str, buffer=5), 3 + 5 + 1),
    # Of these the source has one item in its hand, because it acquires no permits.
    "conflate at once": (lambda p: p.conflate(key=str, buffer=5), 1 + 5 + 1),
    "conflate of several sources": (lambda p: p.merge(Pipeline([-1])).conflate(key=str, merge=max, buffer=5), 2 + 5 + 1),
    "one branch": (lambda p: p.broadcast(lambda b: b, buffer=20), 1 + 20 + 1 + 1),
    "one branch of a stage": (lambda p: p.map(str, buffer=2).broadcast(lambda b: b.map(str, buffer=1), buffer=4), 3 + 5 + 2 + 1),
    "two branches": (lambda p: p.broadcast(lambda b: b, lambda b: b.filter(lambda _: False), buffer=20), 1 + 2 * 20 + 2 + 1),
    "sample": (lambda p: p.map(str, buffer=1).sample(str), 2 + 1),
    "merge": (lambda p: p.map(str, buffer=1).merge(Pipeline([-1]).map(str, buffer=1)), 2 + 2 + 1),
    "on_error": (lambda p: p.on_error("skip"), 1),
}


@pytest.mark.parametrize("stage", STATED)
@pytest.mark.parametrize("kind", ["iterator", "list", "queue", "channel"])
def test_before_a_sink_that_hangs_no_more_is_taken_than_the_stages_state(stage, kind):
    add, stated = STATED[stage]
    gate = threading.Event()
    items = list(range(1000))
    if kind == "queue":
        source = Queue()
        source.put_many(items)
    elif kind == "channel":
        source = CreditChannel(1000)
        source.sender.send_many(items)
    else:
        source = iter(items) if kind == "iterator" else items
    pipeline = add(Pipeline(source)).for_each(lambda _: gate.wait(PATIENCE), buffer=0)
    with pytest.raises(Killed), pipeline.start() as run:
        try:
            seen = [0]

            def rests():
                time.sleep(0.001)
                seen.append(sum(each.taken for each in run.statistics().stages if each.kind == "source"))
                return len(seen) > 20 and seen[-1] == seen[-20] > 0

            wait_until(rests)
            taken = seen[-1]
            assert taken <= stated
            assert taken <= int(re.search(r"at most (\d+) items? on the way", pipeline.describe()).group(1))
            run.kill()
        finally:
            gate.set()


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource.getrusage")
@pytest.mark.thread_unsafe(reason="it starts an interpreter and measures its memory")
def test_many_items_in_flat_memory():
    """The peak memory of a process does not grow after its first 100,000 items. `SLUICEGATE_PIPELINE_ITEMS=1000000` tries a million.

    A buffer without a bound would hold thousands of items of 1,000 bytes, and a leak of eight bytes an item would reach 2 MB.
    """
    run_script(
        """
        import resource, sys
        from sluicegate import Pipeline

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

        def run(items):
            pipeline = Pipeline(range(items)).map(lambda _: bytes(1000), buffer=64).map(len, buffer=64).batch(10).unbatch()
            pipeline.filter(lambda n: n != 1000).for_each(print).run()

        run(100_000)
        before = peak()
        run(int(sys.argv[1]))
        assert peak() - before < 2_000_000, (before, peak())
        """,
        os.environ.get("SLUICEGATE_PIPELINE_ITEMS", "300000"),
    )


# --- context, arguments, description -------------------------------------------------------------------------------


def test_context_variables():
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(7)

    async def get_async(_):
        return variable.get()

    assert list(Pipeline([1]).map(lambda _: variable.get())) == [7]
    assert list(Pipeline([1]).map(get_async)) == [7]


def test_a_run_that_blocks_a_loop_warns():
    async def main():
        with pytest.warns(BlockingInEventLoopWarning, match="wait_async") as told:
            Pipeline([1]).for_each(lambda _: wait_until(lambda: len(told) > 0)).start().wait()

    asyncio.run(main())


def test_timeout_of_a_coroutine():
    async def slow(x):
        await asyncio.sleep(PATIENCE if x == 2 else 0)
        return x

    got = []
    with pytest.raises(TimeoutError, match=r"longer than 0\.01 s") as failed:
        for item in Pipeline(range(5)).map(slow, timeout=0.01):
            got.append(item)  # noqa: PERF402 - what came before the error
    assert got == [0, 1]
    assert failed.value.__notes__ == ["in pipeline, stage 'slow': item 2, 2"]


async def hang_at_two(x):
    await asyncio.sleep(PATIENCE if x == 2 else 0)
    return [x]


@pytest.mark.parametrize(
    "stage",
    [
        lambda p: p.map(hang_at_two, timeout=0.01),
        lambda p: p.map(hang_at_two, workers=3, timeout=timedelta(milliseconds=10)),
        lambda p: p.map(hang_at_two, workers=0, timeout=0.01),
        lambda p: p.keyed_map(hang_at_two, key=str, workers=2, timeout=0.01),
        lambda p: p.flat_map(hang_at_two, timeout=0.01),
        lambda p: p.flat_map(hang_at_two, workers=3, timeout=0.01),
        lambda p: p.for_each(hang_at_two, timeout=0.01),
        lambda p: p.for_each(hang_at_two, in_caller=True, timeout=0.01),
    ],
    ids=["map", "several workers", "in the stage before", "keyed_map", "flat_map", "flat_map in turn", "for_each", "in the caller"],
)
def test_timeout_in_every_stage_that_takes_it(stage):
    async def same(x):
        return x

    letters = Queue()
    asyncio.run(stage(Pipeline(range(5)).map(same)).on_error(dead_letter=letters).run_async())
    letter = letters.get_nowait()
    assert letter.item == 2
    assert isinstance(letter.error, TimeoutError)
    assert not letters.qsize()


def test_a_pipeline_is_immutable():
    first = Pipeline(range(3), name="mill")
    second = first.map(str)
    assert first is not second
    assert list(first) == [0, 1, 2]
    with pytest.raises(AttributeError, match="immutable"):
        first.name = "other"
    with pytest.raises(AttributeError, match="immutable"):
        del first._steps
    assert repr(second) == "<sluicegate.Pipeline 'mill': range -> str>"
    with pytest.raises(TypeError, match="pickle"):
        __import__("pickle").dumps(first)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda p: Pipeline(3), TypeError, r"Pipeline\(\): 'source' must be an iterable, .*, not 3$"),
        (lambda p: Pipeline(double), TypeError, r"'source' must be an iterable, .*: pass what it returns, or produce\(...\) of it$"),
        (lambda p: Pipeline([], name=3), TypeError, "'name' must be"),
        (lambda p: p.map(3), TypeError, r"map\(\): 'f' must be a callable, not 3"),
        (lambda p: p.for_each(3), TypeError, r"for_each\(\): 'sink' must be a callable, not 3$"),
        (lambda p: p.for_each(Queue()), TypeError, r"'sink' must be a callable, not <.*>: to put the items there, give its method put$"),
        (lambda p: p.on_error(ValueError), TypeError, "not the exception class ValueError: for errors of some types, let"),
        (lambda p: p.map(3, guard=sluicegate.Guard()), TypeError, r"map\(\): 'f' must be a callable, not 3"),
        (lambda p: p.map(str, workers=-1), ValueError, "'workers' must be at least 0"),
        (lambda p: p.for_each(str, in_caller="no"), TypeError, "'in_caller' must be True or False, got 'no'"),
        (lambda p: p.run(progress="no"), TypeError, "'progress' must be True or False, got 'no'"),
        (lambda p: p.map(str, ordered="no"), TypeError, "'ordered' must be True or False, got 'no'"),
        (lambda p: p.map(str, workers=True), TypeError, "'workers' must be an int"),
        (lambda p: p.map(str, buffer=-1), ValueError, "'buffer' must be at least 0"),
        (lambda p: p.map(str, timeout=3), ValueError, "'timeout' is for coroutine functions"),
        (lambda p: p.map(double, timeout=0), ValueError, "'timeout' must be more than zero"),
        (lambda p: p.flat_map(one_async, timeout=3), ValueError, "'one_async' is an async generator function: limit its waits inside"),
        (lambda p: p.flat_map(iter, buffer=0), ValueError, "'buffer' must be at least 1"),
        (lambda p: p.flat_map(iter, workers=0), ValueError, "'workers' must be at least 1"),
        (lambda p: p.batch(0), ValueError, "'n' must be at least 1"),
        (lambda p: p.batch(1, linger=float("nan")), ValueError, "linger"),
        (lambda p: p.batch(1, linger=timedelta(days=-1)), ValueError, r"'linger' .*timedelta\(days=-1\)"),
        (lambda p: p.batch(1, linger=-1), ValueError, "'linger' must be .* not negative, got -1"),
        (lambda p: p.conflate(key=3), TypeError, r"conflate\(\): 'key' must be a callable, not 3"),
        (lambda p: p.conflate(key=str, merge=3), TypeError, r"conflate\(\): 'merge' must be a callable, not 3"),
        (lambda p: p.on_error(), TypeError, r"on_error\(\) takes an 'action' .* or a 'dead_letter'$"),
        (lambda p: p.on_error("skip", dead_letter=3), TypeError, "takes an 'action' .* or a 'dead_letter', not both 'skip' and 3"),
        (lambda p: p.on_error("x"), ValueError, r"on_error\(\): 'action' must be 'stop', 'skip' or a callable, not 'x'$"),
        (lambda p: p.on_error(Queue()), ValueError, r"a callable, not <.*>: for a queue, write on_error\(dead_letter=...\)$"),
        (lambda p: p.run(record=5e-324), ValueError, "'record' must be at least 0.001 seconds, not 5e-324"),
        (lambda p: p.buffer(0), ValueError, "'n' must be at least 1"),
        (lambda p: p.buffer(1, overflow="spill"), ValueError, "overflow"),
        (lambda p: p.buffer(1, on_drop=print), ValueError, "'on_drop'"),
        (
            lambda p: p.throttle(3),
            TypeError,
            r"throttle\(\): 'limiter' must be a limiter, not 3: for 10 items a second, write throttle\(TokenBucket\(10, burst=1\)\)$",
        ),
        (
            lambda p: p.throttle(Semaphore(3)),
            TypeError,
            r"throttle\(\): 'limiter' must be a limiter, not <sluicegate.Semaphore .*>, whose permits",
        ),
        (lambda p: p.throttle(KeyedTokenBucket(1, burst=1, max_keys=1)), TypeError, r"use that of one key, `limiter.key\(k\)`$"),
        (lambda p: p.for_each(print, in_caller=True, workers=2), ValueError, "'workers' must be 1"),
        (lambda p: p.run(on_discard=3), TypeError, "'on_discard'"),
        (lambda p: p.run(interrupt="later"), ValueError, "'interrupt'"),
        (lambda p: p.start_async(), RuntimeError, "need a running asyncio event loop"),
        (lambda p: produce(3), TypeError, r"produce\(\): 'fn' must be a callable, not 3"),
        (lambda p: produce(double), TypeError, "coroutine function"),
        (lambda p: produce(list, threads=0), ValueError, "'threads' must be at least 1"),
        (lambda p: list(p.for_each(print)), TypeError, r"has no results to iterate over: use its run\(\), or wait\(\) of a run$"),
        (lambda p: p.for_each(print).map(str), ValueError, "<sluicegate.Pipeline: list -> print> ends in for_each, which has no results"),
        (lambda p: p.for_each(print).on_error("skip").for_each(print), ValueError, "no stage can follow"),
        (lambda p: p.broadcast(lambda q: q.for_each(print)).batch(2), ValueError, "no stage can follow"),
    ],
)
def test_wrong_calls(call, error, text):
    with pytest.raises(error, match=text):
        call(Pipeline([]))


@pytest.mark.parametrize(
    "call",
    [
        lambda f: Pipeline([]).on_error(f),
        lambda f: Pipeline([]).on_error(dead_letter=SimpleNamespace(put_nowait=f)),
        lambda f: Pipeline([]).keyed_map(int, key=f, workers=1),
        lambda f: Pipeline([]).conflate(key=f),
        lambda f: Pipeline([]).conflate(key=int, merge=f),
        lambda f: Pipeline([]).buffer(1, overflow="drop_oldest", on_drop=f),
        lambda f: Pipeline([]).run(on_discard=f),
    ],
)
def test_a_coroutine_function_that_nobody_awaits(call):
    async def f(*args):
        pass

    for each in (f, functools.partial(f, 1)):
        with pytest.raises(TypeError, match="must be an ordinary function, not the coroutine function"):
            call(each)


def plain_rows(x):
    yield x


async def rows_later(x):
    yield x


@pytest.mark.parametrize("stage", ["filter", "tap", "sample", "for_each", "map", "keyed_map"])
@pytest.mark.parametrize("f", [plain_rows, functools.partial(plain_rows), rows_later])
def test_a_generator_function_that_nobody_iterates_over(f, stage):
    """It is refused: none of its code would run, and the run would look like a success."""
    add = getattr(Pipeline([1]), stage)
    options = {"key": str, "workers": 1} if stage == "keyed_map" else {}
    if "map" in stage and f is not rows_later:
        assert [list(rows) for rows in add(f, **options)] == [[1]]  # which are passed on
    else:
        with pytest.raises(TypeError, match=rf"^{stage}\(\) calls its function and does not iterate .* is a generator function"):
            add(f, **options)


@pytest.mark.parametrize("stage", ["map", "filter", "tap", "sample", "for_each", "keyed_map", "behind a coroutine"])
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_plain_function_that_returns_a_coroutine(stage, policy):
    """Nothing of it would run, and everything would look like success: it is the program's mistake, and no item that fails."""
    begun = []

    async def store(item):
        begun.append(item)

    def hidden(item):
        return store(item)

    described = Pipeline([1, 2, 3], name="p")
    if stage == "behind a coroutine":
        described = described.map(double).map(hidden, workers=0)
    else:
        described = getattr(described, stage)(hidden, **({"key": str, "workers": 1} if stage == "keyed_map" else {}))
    described = described.on_error(policy)
    with pytest.raises(
        TypeError, match="hidden at .* has returned a coroutine, which nobody awaits: pass the `async def` itself"
    ) as caught:
        described.run()
    assert caught.value.__notes__[0].startswith("in pipeline 'p', stage ")
    assert not begun


def test_a_pipeline_without_results_is_not_iterated_over():
    """Nothing is started for it, and its run goes on."""
    seen = []
    described = Pipeline([1, 2, 3]).for_each(seen.append)
    with pytest.raises(TypeError, match="no results"):
        iter(described)
    with pytest.raises(TypeError, match="no results"):
        aiter(described)
    with pytest.raises(TypeError, match="no results"):
        iter(Pipeline([1, 2, 3]).for_each(double, in_caller=True))
    assert not seen
    with described.start() as run, pytest.raises(TypeError, match="no results"):
        next(run)
    assert seen == [1, 2, 3]


def test_sampled_buffer():
    assert list(Pipeline(range(5)).buffer(10, overflow=Sample(2))) == [0, 1, 2, 3, 4]


def test_names():
    for name in ("Pipeline", "PipelineRun", "Produce", "produce", "Killed"):
        assert name in sluicegate.__all__
        assert getattr(sluicegate, name).__module__ == "sluicegate"
    assert repr(produce(list, threads=2)) == "<sluicegate.Produce: list() in 2 threads>"


def test_many_runs_at_once():
    pipeline = Pipeline(range(200)).map(str, workers=2).map(int)
    workers = [spawn(lambda: list(pipeline)) for _ in range(5)]
    for worker in workers:
        assert worker.result() == list(range(200))


# --- other event loops -----------------------------------------------------------------------------------------------


async def _iterate():
    return [item async for item in Pipeline([1]).map(str)]


async def _wait(timeout=None):
    run = Pipeline([1]).map(str).for_each(str).start()
    try:
        await run.wait_async(timeout)
    finally:
        run.wait(PATIENCE)  # it has not ended by that


async def _block():
    async with Pipeline([1]).map(str).start():
        raise AssertionError


@pytest.mark.parametrize(
    "call",
    [lambda: Pipeline([1]).run_async(), lambda: Pipeline([1]).map(double).run_async(), _iterate, _wait, lambda: _wait(5), _block],
)
def test_under_trio_the_error_says_what_is_needed(call):
    trio = pytest.importorskip("trio")
    with pytest.raises(RuntimeError, match="need.? a running asyncio event loop .* trio's is not one"):
        trio.run(call)


@pytest.mark.parametrize("stage", ["map", "flat_map", "keyed_map", "for_each"])
def test_a_number_beside_the_function_is_told_its_name(stage):
    with pytest.raises(TypeError, match=rf"^{stage}\(\) takes the function by position.*: write {stage}\(..., workers=3\)$"):
        getattr(Pipeline([1]), stage)(str, 3)
    with pytest.raises(TypeError, match="all else by name, not 'four'$"):
        getattr(Pipeline([1]), stage)(str, "four")
