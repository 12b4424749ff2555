"""How pipelines end: completion, errors, stop, kill, cancellation, Ctrl-C, a dead loop. Nothing is left, every item is accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import itertools
import math
import os
import random
import re
import signal
import sys
import threading
import time
import weakref
from collections import Counter

import pytest
from helpers import FORKING, PATIENCE, eventually, is_gone, run_on, run_script, spawn, wait_until

from sluicegate import Killed, Pipeline, PipelineRun, Queue, Semaphore, ShutDown, TokenBucket, produce
from sluicegate._pipeline import launching, running, workers
from sluicegate._pipeline.building import build_graph
from sluicegate.testing import ManualClock

#: How many random ends are tried: SLUICEGATE_PIPELINE_KILLS=1000 for the whole of it.
KILLS = int(os.environ.get("SLUICEGATE_PIPELINE_KILLS", "30"))


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("pipeline")]


def nothing_is_left(before=()):
    """Check that no thread of a pipeline is left, except those that were there before."""
    wait_until(lambda: not [thread for thread in threads() if thread not in before], 5)


class Account:
    """Knows of every item whether it is in the source, on the way, finished, or discarded with notice."""

    def __init__(self, n=None):
        self.numbers = itertools.count() if n is None else iter(range(n))
        self.taken = set()
        self.finished = []
        self.discarded = []
        self.dropped = []
        self.copies = 1
        self.replaces = False  # what `conflate` replaces is discarded, whatever the end
        self.largest = self.most = 0
        self.taking = threading.Lock()

    def __iter__(self):
        return self

    def __next__(self):
        with self.taking:  # the threads of `produce` share it
            number = next(self.numbers)
        self.take(number)
        return number

    def take(self, number):
        """Note that an item leaves its source."""
        self.taken.add(number)
        self.most = max(self.most, len(self.taken) - len(self.finished) - len(self.discarded) - len(self.dropped))

    def others(self, n):
        """Yield the items of a further source, for `merge`."""
        for number in range(10**6, 10**6 + n) if n is not None else itertools.count(10**6):
            self.take(number)
            yield number

    async def stream(self):
        for number in self:
            yield number
            if random.random() < 0.1:
                await asyncio.sleep(0)

    def discard(self, item, stage):
        assert isinstance(stage, str)
        self.discarded.extend(flat(item))

    def check(self, *, lost=0, unclear=0):
        """Check that every item that was taken is finished or was discarded, once for each copy.

        `lost` may be what an error was about, and `unclear` how far a call has got that was interrupted: it may have finished its item.
        """
        # A source that was held up for half a second by the machine is left behind, and discards its item when it comes.
        with contextlib.suppress(AssertionError):
            wait_until(lambda: len(self.taken - {*self.finished, *self.discarded, *self.dropped}) <= lost, 5)
        ends = Counter(self.finished + self.discarded + self.dropped)
        assert sum(n > self.copies for n in ends.values()) <= unclear, "an item has too many ends"
        assert set(ends) <= self.taken
        missing = self.taken - set(ends)
        assert len(missing) <= lost, sorted(missing)[:20]


def flat(item):
    """Return the numbers in an item, whatever the stages have made of it."""
    if isinstance(item, (list, tuple)):
        return [number for each in item for number in flat(each)]
    return [int(item)]


OTHER_KINDS = ["merge", "sample", "flat", "drop", "throttle", "async flat", "buffer", "lossy branch", "on_error", "in the stage before"]


def build(chance, account, n=None, fail_at=None, in_caller=False):
    """Return a pipeline of five stages of any kinds."""

    def maybe(x):
        if fail_at is not None and int(x) == fail_at:
            raise ZeroDivisionError(x)
        if chance.random() < 0.02:
            time.sleep(0.0005)
        return x

    async def maybe_async(x):
        if chance.random() < 0.2:
            await asyncio.sleep(0.0002)
        return maybe(x)

    async def one_async(x):
        yield await maybe_async(x)

    sources = (lambda: account, account.stream, lambda: produce(lambda: account, threads=2), lambda: iter(account))
    pipeline = Pipeline(chance.choice(sources)())
    lists = False  # what items are
    if fail_at is not None:
        pipeline = pipeline.map(chance.choice([maybe, maybe_async]), workers=chance.choice([1, 3]))
    kinds = chance.sample(
        ["map", "map", "async", "async", "in line", "lists", "lists", "keyed", "conflate", "newest", "broadcast", "two branches"], 3
    )
    for at, kind in enumerate([*kinds, *chance.sample(OTHER_KINDS, 2)]):
        workers, ordered, buffer = chance.choice([1, 1, 2, 3]), chance.random() < 0.5, chance.choice([0, 1, 5, 32])
        options = {"workers": workers, "ordered": ordered, "buffer": buffer, "name": f"stage {at}"}
        if kind == "in line":
            pipeline = pipeline.filter(lambda _: True).tap(str)
        elif kind == "lists":
            pipeline = (
                pipeline.unbatch(buffer=max(1, buffer)) if lists else pipeline.batch(3, linger=chance.choice([None, 0.001]), buffer=buffer)
            )
            lists = not lists
        elif kind == "broadcast":
            pipeline = pipeline.broadcast(lambda branch: branch, buffer=max(1, buffer))
        elif kind == "two branches":
            pipeline = pipeline.broadcast(
                lambda branch: branch.map(same), lambda branch: branch.map(same, workers=2), buffer=max(1, buffer)
            )
            account.copies *= 2
        elif kind == "sample":
            pipeline = pipeline.sample(str, buffer=1)
        elif kind == "drop":
            pipeline = pipeline.buffer(max(1, buffer), overflow="drop_oldest", on_drop=lambda item, why: account.dropped.extend(flat(item)))
        elif kind == "buffer":
            pipeline = pipeline.buffer(max(1, buffer))
        elif kind == "lossy branch":
            overflow = chance.choice(["drop_oldest", "drop_newest"])
            pipeline = pipeline.broadcast(lambda branch: branch.map(same), overflow=overflow, buffer=max(1, buffer))
            account.replaces = True
        elif kind == "on_error":
            pipeline = pipeline.on_error(chance.choice(["stop", raise_again]))
        elif kind == "in the stage before":
            pipeline = pipeline.map(chance.choice([same, async_same]), workers=chance.choice([0, 1]), buffer=0)
        elif kind == "throttle":
            pipeline = pipeline.throttle(TokenBucket(10**6, burst=10**3))
        elif lists:
            pipeline = pipeline.map(list, **options)
        elif kind == "map":
            pipeline = pipeline.map(maybe, **options)
        elif kind == "async":
            pipeline = pipeline.map(maybe_async, **options)
        elif kind == "keyed":
            f = chance.choice([maybe, maybe_async])
            pipeline = pipeline.keyed_map(f, key=lambda x: x % 3, workers=workers, buffer=buffer, name=f"stage {at}")
        elif kind == "conflate":
            pipeline = pipeline.conflate(key=lambda x: x % 7, merge=together, buffer=max(1, buffer)).map(flat)
            lists = True
        elif kind == "newest":
            pipeline = pipeline.conflate(key=lambda x: x % 7, buffer=max(1, buffer))
            account.replaces = True
        elif kind == "merge":
            pipeline = pipeline.merge(Pipeline(account.others(n)).map(same))
        else:
            f = one_async if kind == "async flat" else lambda x: [x]
            pipeline = pipeline.flat_map(f, **(options | {"buffer": max(1, buffer)}))

    def finish(item):
        numbers = flat(item)
        account.largest = max(account.largest, len(numbers))
        account.finished.extend(numbers)

    async def finish_async(item):
        finish(item)

    sink = chance.choice([finish, finish_async]) if not in_caller else finish
    workers = 1 if in_caller else chance.choice([1, 1, 2])
    return pipeline.for_each(sink, in_caller=in_caller, workers=workers, buffer=chance.choice([0, 3]))


def same(x):
    return x


async def async_same(x):
    return x


def raise_again(item, error):
    raise error


def together(old, new):
    """Merge two items for `conflate`, into a list that grows."""
    if not isinstance(old, list):
        return [old, new]
    old.append(new)
    return old


def stated(pipeline):
    """Return how many items may be on the way, by what the stages state. What `conflate` makes of many counts as one; so does a list."""
    kinds = {step.kind for step in pipeline._steps}
    if "conflate" in kinds:
        return math.inf
    total = sum(edge.capacity or 0 for edge in build_graph(pipeline._source, pipeline._steps).edges)
    return total * 3 if "batch" in kinds else total


def storm(run, chance):
    """Resize whatever can be resized, again and again, until the run is over."""
    names = [f"stage {at}" for at in range(5) if sum(node.name == f"stage {at}" for node in run._run.graph.nodes) == 1]
    while names and not run.is_over:
        run.resize(chance.choice(names), chance.randint(1, 6))
        time.sleep(0.0002)


def nobody_waits():
    """Check that no thread or task waits in the queues and semaphores of runs that are over."""
    for run in list(running._live):
        if run.is_over:
            for edge in run.graph.edges:
                seen = edge.queue.statistics()
                assert not seen.waiting_getters
                assert not seen.waiting_putters
                assert edge.permits is None or not edge.permits.statistics().waiters


def main_thread_waits():
    """Whether the main thread is in a call that `wait` of a run makes."""
    frame = sys._current_frames()[threading.main_thread().ident].f_back
    while frame is not None and frame.f_code is not PipelineRun.wait.__code__:
        frame = frame.f_back
    return frame is not None


def one_end(seed):
    """Run a random pipeline, end it in a random way at a random point, and account for everything."""
    chance = random.Random(seed)
    how = chance.choice(["error", "stop", "kill", "break", "complete", "cancel", "source", "dead loop", "Ctrl-C", "Ctrl-C, drain"])
    before = threads()
    n = chance.choice([0, 1, 50, 300]) if how in ("complete", "source") else None
    account = Account(n)
    some = chance.choice([0, 1, 10, 200])
    is_resized = False
    in_caller = chance.random() < 0.3
    pipeline = build(chance, account, n, fail_at=some if how == "error" else None, in_caller=in_caller)
    discard = account.discard

    def reached():
        return len(account.finished) >= some or len(account.taken) >= 3 * some + 10

    if how == "source":
        account.numbers = itertools.chain(range(some), broken())
    if how == "complete":
        pipeline.run(on_discard=discard)
        assert account.dropped or account.replaces or set(account.finished) == account.taken
        assert account.replaces or not account.discarded
        account.check()
    elif how == "error":
        with pytest.raises(ZeroDivisionError) as failed:
            pipeline.run(on_discard=discard)
        # Two threads of one source may put their items in another order.
        assert any(re.search(rf"item \d+, {some}\b", note) for note in failed.value.__notes__)
        account.check(lost=1)
    elif how == "source":
        with pytest.raises(OSError, match="the source"):
            pipeline.run(on_discard=discard)
        account.check()
        assert account.replaces or not account.discarded
    elif how in ("stop", "kill", "Ctrl-C", "Ctrl-C, drain"):
        raised = {"kill": pytest.raises(Killed, match="enough"), "stop": contextlib.nullcontext()}.get(
            how, pytest.raises(KeyboardInterrupt)
        )
        interrupt = "drain" if how == "Ctrl-C, drain" else "kill"
        helpers = []
        with raised, pipeline.start(on_discard=discard, interrupt=interrupt) as run:

            def end():
                wait_until(reached)
                if how == "stop":
                    run.stop()
                elif how == "kill":
                    run.kill("enough")
                else:  # in `wait`: before it the block would end by an exception, or even `start` of this thread
                    wait_until(main_thread_waits)
                    signal.raise_signal(signal.SIGINT)

            if chance.random() < 0.3:
                is_resized = True
                helpers.append(spawn(storm, run, random.Random(seed)))
            helpers.append(spawn(end))
            run.wait(PATIENCE)
        for helper in helpers:
            helper.result()
        # It may come in a call of the sink, if that is in the caller.
        unclear = max(3, account.largest) if in_caller and how.startswith("Ctrl-C") else 0
        account.check(lost=unclear, unclear=unclear)
        if how in ("stop", "Ctrl-C, drain"):
            assert account.replaces or len(account.discarded) <= unclear
    elif how == "break":
        with pytest.raises(KeyError), pipeline.start(on_discard=discard):
            time.sleep(chance.choice([0, 0.001, 0.01]))
            raise KeyError
        account.check()
    elif how == "cancel":

        async def main():
            others = asyncio.all_tasks()
            task = asyncio.ensure_future(pipeline.run_async(on_discard=discard))
            await asyncio.sleep(chance.choice([0, 0.001, 0.01]))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert asyncio.all_tasks() == others

        run_on("asyncio", main())
        account.check(lost=1)  # the caller's own item, if the sink is in the caller
    else:
        loop = asyncio.new_event_loop()
        run = loop.run_until_complete(started(pipeline, discard))
        loop.run_until_complete(asyncio.sleep(chance.choice([0, 0.001, 0.01])))
        loop._ready.clear()
        loop.close()
        del loop
        gc.collect()
        run.close()
        account.check()
        del run
        gc.collect()
    assert is_resized or account.copies > 1 or account.most <= stated(pipeline), (account.most, stated(pipeline))
    nothing_is_left(before)
    if how == "dead loop":
        gc.collect()  # the tasks that the loop has left
    nobody_waits()


async def started(pipeline, discard):
    return pipeline.start_async(on_discard=discard)


def broken():
    raise OSError("the source")
    yield


@pytest.mark.thread_unsafe(reason="it counts the threads of the process")
def test_random_ends():
    base = random.randrange(10**9) if KILLS > 100 else 1000
    for seed in range(base, base + KILLS):
        try:
            one_end(seed)
        except BaseException:
            print("seed", seed)
            raise


# --- errors --------------------------------------------------------------------------------------------------------


def test_an_error_names_stage_and_item():
    got = []
    with pytest.raises(ValueError, match="invalid literal") as failed:
        for number in Pipeline(["1", "2", "x", "4"], name="mill").map(str.strip, name="clean").map(int, workers=3):
            got.append(number)  # noqa: PERF402 - what came before the error
    assert got == [1, 2][: len(got)]  # the other workers may not have got so far
    assert failed.value.__notes__ == ["in pipeline 'mill', stage 'int': item 2, 'x'"]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_stops_the_source_at_once(workers):
    taken = []

    def count():
        for number in itertools.count():
            taken.append(number)
            yield number

    discarded = []
    with pytest.raises(ZeroDivisionError):
        Pipeline(count()).map(lambda x: 1 // (x - 40), workers=workers, buffer=4).map(str, buffer=2).for_each(len, buffer=0).run(
            on_discard=lambda item, stage: discarded.append(item)
        )
    assert len(taken) <= 41 + 2 * workers + 4 + 1
    assert len(discarded) <= workers + 4


@pytest.mark.parametrize("kind", ["generator", "async generator", "list", "plain"])
def test_nothing_comes_after_an_error_in_order(kind):
    """An item that waits for its turn behind the one that fails does not get it."""
    waiting = []

    def rows(x):
        wait_until(lambda: len(waiting) >= 3)
        yield from (x, x)
        yield 1 // (x - 3)

    def begin(x):
        waiting.append(x)
        return rows(x)

    async def rows_later(x):
        yield x
        yield x
        while len(waiting) < 3:
            await asyncio.sleep(0.001)
        yield 1 // (x - 3)

    async def begin_later(x):
        waiting.append(x)
        return rows_later(x)

    def plain(x):
        waiting.append(x)
        wait_until(lambda: len(waiting) >= 3)
        return 1 // (x - 3)

    pipeline = Pipeline(range(3, 9))
    if kind == "plain":
        pipeline = pipeline.map(plain, workers=3)
    else:
        f = {"generator": begin, "async generator": begin_later, "list": lambda x: list(begin(x))}[kind]
        pipeline = pipeline.flat_map(f, workers=3)
    got = []
    with pytest.raises(ZeroDivisionError):
        for item in pipeline:
            got.append(item)  # noqa: PERF402 - what came before the error
    assert got == ([3, 3] if "generator" in kind else [])


def test_what_is_behind_an_error_is_finished():
    """Items that have passed the stage that fails are finished, also by a slow sink."""
    seen = []

    def slow(x):
        time.sleep(0.0005)
        seen.append(x)

    with pytest.raises(ZeroDivisionError):
        Pipeline(range(100)).map(lambda x: x // (x != 30), buffer=50).for_each(slow, buffer=50).run()
    assert seen == list(range(30))


def test_other_errors_are_notes():
    gate = threading.Barrier(3)

    def fail(x):
        gate.wait(PATIENCE)
        raise ValueError(x)

    with pytest.raises(ValueError, match=r"0|1|2") as failed:
        Pipeline(range(3)).map(fail, workers=3).run()
    notes = failed.value.__notes__
    assert len(notes) == 3
    assert sum(note.startswith("also raised: ValueError(") and "stage 'fail': item" in note for note in notes) == 2


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
def test_an_error_that_is_an_end(error):
    """A StopIteration of a call comes out as a RuntimeError. By itself it would end the iteration in silence."""

    def fail(x):
        if x == 3:
            raise error
        return x

    async def fail_async(x):
        if x == 3:
            raise StopAsyncIteration  # a coroutine cannot raise the other
        return x

    for pipeline in (
        Pipeline(range(5)).map(fail),
        Pipeline(range(5)).map(fail, workers=2),
        Pipeline(range(5)).map(str, workers=0).map(int, workers=0).map(fail, workers=0),
        Pipeline(range(5)).flat_map(lambda x: [fail(x)]),
        Pipeline(range(5)).for_each(fail),
        Pipeline(range(5)).map(fail_async),
    ):
        with pytest.raises(RuntimeError, match="raised Stop") as failed:
            pipeline.run()
        assert "item 3" in failed.value.__notes__[0]


def test_the_own_shutdown_of_a_call_is_an_error():
    q = Queue()
    q.shutdown()
    with pytest.raises(ShutDown) as failed:
        Pipeline(range(3)).map(q.put).run()
    assert "item 0, 0" in failed.value.__notes__[0]
    assert not isinstance(failed.value, Killed)


# --- stop and kill -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["map", "fused", "flat", "keyed", "ordered", "async", "async flat"])
@pytest.mark.parametrize("is_handled", [True, False])
def test_the_own_shutdown_of_a_call_while_the_run_is_killed(kind, is_handled):
    go, begun, discarded, told = threading.Event(), threading.Event(), [], []

    def f(x):
        begun.set()
        go.wait(PATIENCE)
        raise ShutDown("the own one")

    async def g(x):
        try:
            begun.set()
            await asyncio.sleep(PATIENCE)
        finally:
            f(x)

    async def rows(x):
        yield await g(x)

    pipeline = {
        "map": lambda p: p.map(f),
        "fused": lambda p: p.map(int).filter(f),
        "flat": lambda p: p.flat_map(f),
        "keyed": lambda p: p.keyed_map(f, key=int, workers=2),
        "ordered": lambda p: p.map(f, workers=3),
        "async": lambda p: p.map(g),
        "async flat": lambda p: p.flat_map(rows),
    }[kind](Pipeline([7]))
    if is_handled:
        pipeline = pipeline.on_error(lambda item, error: told.append((item, str(error))))
    run = pipeline.for_each(str).start(on_discard=lambda item, stage: discarded.append(item))
    assert begun.wait(PATIENCE)
    run.kill("enough")
    go.set()
    error = hear(run.wait)
    if kind.startswith("async"):  # cancelled, so its item is discarded, whatever it raises meanwhile
        assert discarded == [7]
        assert isinstance(error, Killed)
    elif is_handled:
        assert told == [(7, "the own one")]
        assert isinstance(error, Killed)
    else:
        assert str(error) == "the own one"


@pytest.mark.parametrize("f", [str, async_same])
def test_a_key_that_hangs_is_named(f):
    gate, begun = threading.Event(), threading.Event()

    def key(x):
        begun.set()
        return gate.wait(PATIENCE)

    with Pipeline(["the item"]).keyed_map(f, key=key, workers=2, name="by key").for_each(str).start() as run:
        assert begun.wait(PATIENCE)
        with pytest.raises(TimeoutError, match="stage 'by key' has been busy on 'the item'"):
            run.stop(timeout=0.05)
        gate.set()
        run.wait()


@pytest.mark.parametrize("function", ["key", "merge", "on_drop"])
@pytest.mark.parametrize("kind", ["source", "map", "async map", "batch"])
def test_a_function_of_conflate_or_buffer_that_hangs_is_named(function, kind):
    gate, begun = threading.Event(), threading.Event()

    def hang(*items):
        begun.set()
        return gate.wait(PATIENCE) and 1

    stages = {"source": [], "map": [("map", same)], "async map": [("map", async_same)], "batch": [("batch", 1)]}[kind]
    pipeline = Pipeline(itertools.repeat(7, 3))
    for method, argument in stages:
        pipeline = getattr(pipeline, method)(argument)
    if function == "on_drop":
        pipeline = pipeline.buffer(1, overflow="drop_oldest", on_drop=hang, name="newest")
    else:
        options = {"key": hang} if function == "key" else {"key": lambda _: 1, "merge": hang}
        pipeline = pipeline.conflate(**options, name="newest")
    held = threading.Event()
    with pipeline.for_each(lambda _: held.wait(PATIENCE), buffer=0).start() as run:
        assert begun.wait(PATIENCE)
        with pytest.raises(TimeoutError, match=r"stage 'newest' has been busy on \[?7"):
            run.stop(timeout=0.05)
        killing = threading.Thread(target=run.kill, args=["does not wait for it"])
        killing.start()
        killing.join(PATIENCE / 4)
        assert not killing.is_alive()
        gate.set()
        held.set()
        with contextlib.suppress(Killed):
            run.wait(PATIENCE)
    nothing_is_left()


def test_a_reason_is_a_string():
    with Pipeline(itertools.count()).map(str).start() as run, pytest.raises(TypeError, match="'reason' must be a str, got 3"):
        run.kill(3)


def test_a_stage_that_hangs_is_named():
    hanging, gate = threading.Event(), threading.Event()

    def hang(x):
        hanging.set()
        gate.wait(PATIENCE)

    with Pipeline(itertools.count(), name="mill").map(str).for_each(hang).start() as run:
        assert hanging.wait(PATIENCE)
        with pytest.raises(TimeoutError, match=r"pipeline 'mill': not ended after 0.02 s: stage 'hang' has been busy on '0' for \d+\.\d s"):
            run.stop(timeout=0.02)
        gate.set()


@pytest.mark.parametrize("end", ["results", "in caller"])
@pytest.mark.parametrize("method", ["stop", "wait"])
def test_a_timeout_holds_for_every_kind_of_end(end, method):
    """The timeout holds whether the caller waits for results or for items of its own sink. Afterwards it may wait again."""
    hanging, gate, got = threading.Event(), threading.Event(), []

    def hang(x):
        hanging.set()
        gate.wait(PATIENCE)
        return x

    pipeline = Pipeline([0]).map(hang)
    if end == "in caller":
        pipeline = pipeline.for_each(got.append, in_caller=True)
    with pipeline.start(on_discard=lambda item, stage: got.append(item)) as run:
        assert hanging.wait(PATIENCE)
        with pytest.raises(TimeoutError, match="not ended after 0.02 s: stage 'hang' has been busy on 0"):
            getattr(run, method)(timeout=0.02)
        assert not run.is_over
        assert got == []
        gate.set()
        run.wait(PATIENCE)
        assert run.is_over
    assert got == [0]


@pytest.mark.parametrize("end", ["results", "sink", "in caller"])
def test_async_a_timeout_loses_nothing_in_silence(end):
    """The run goes on after a timeout. If that has cancelled a sink in the caller, the next wait does not look like a success."""
    finished, discarded = [], []

    async def main():
        gate = asyncio.Event()

        async def hang(x):
            await gate.wait()
            return x

        pipeline = Pipeline([0, 1]).map(hang)
        if end != "results":
            pipeline = pipeline.for_each(finished.append, in_caller=end == "in caller")
        async with pipeline.start_async(on_discard=lambda item, stage: discarded.append(item)) as run:
            with pytest.raises(TimeoutError, match=r"not ended after 0.02 s"):
                await run.wait_async(0.02)
            gate.set()
            if end == "in caller":
                with pytest.raises(TimeoutError, match=r"not ended after 0.02 s"):
                    await run.wait_async()
            else:
                await run.wait_async()

    run_on("asyncio", main())
    assert finished == ([0, 1] if end == "sink" else [])
    assert sorted(discarded) == ([] if end == "sink" else [0, 1])


UNCOUNTED = pytest.mark.skipif(sys.version_info < (3, 11), reason="before 3.11 a task does not know how often it was cancelled")


@pytest.mark.parametrize("how", ["kill", "kill elsewhere", "aclose", pytest.param("kill and cancel", marks=UNCOUNTED)])
def test_async_a_kill_cancels_the_call_of_a_sink_in_the_caller(how):
    """The caller's task is cancelled for that, and hears nothing of it but what the run raises."""
    ends, discarded = [], []

    async def hang(x):
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            await asyncio.sleep(0)
            ends.append(x)

    async def main():
        me = asyncio.current_task()
        pipeline = Pipeline(range(5)).for_each(hang, in_caller=True, buffer=0)
        run = pipeline.start_async(on_discard=lambda item, stage: discarded.append(item))

        async def end():
            await eventually(lambda: run.statistics().stages[-1].taken)
            if how == "kill elsewhere":
                await asyncio.to_thread(run.kill)
            elif how == "aclose":
                await run.aclose()
            else:
                run.kill()
            if how == "kill and cancel":
                me.cancel()

        helper = asyncio.ensure_future(end())
        raised = asyncio.CancelledError if how == "kill and cancel" else Killed
        with pytest.raises(raised):
            await run.wait_async()
        await helper
        assert run.is_over
        if how != "kill and cancel" and hasattr(me, "cancelling"):
            assert not me.cancelling()
        await asyncio.sleep(0)

    run_on("asyncio", main())
    assert ends == discarded == [0]


def test_async_a_timeout_names_the_sink_in_the_caller():
    async def hang(x):
        await asyncio.sleep(PATIENCE)

    async def main():
        async with Pipeline(range(5)).for_each(hang, in_caller=True).start_async() as run:
            await run.wait_async(0.05)

    with pytest.raises(TimeoutError, match=r"stage 'hang' has been busy on 0 for 0\.\d s"):
        run_on("asyncio", main())


def test_one_thread_alone_calls_the_sink_in_the_caller():
    calling, gate, callers = threading.Event(), threading.Event(), []

    def sink(x):
        callers.append(threading.get_ident())
        calling.set()
        gate.wait(PATIENCE)

    with Pipeline(range(10)).for_each(sink, in_caller=True).start() as run:
        waiting = spawn(run.wait)
        assert calling.wait(PATIENCE)
        with pytest.raises(TimeoutError, match="busy on 0"):
            run.wait(timeout=0.02)
        gate.set()
        waiting.result()
    assert len(callers) == 10
    assert threading.get_ident() not in callers


@pytest.mark.thread_unsafe(reason="it counts the threads of the process")
def test_a_source_that_hangs_is_left_behind():
    asked, gate, discarded = threading.Event(), threading.Event(), []

    def one_and_then_none():
        yield 1
        asked.set()
        gate.wait(PATIENCE)
        yield 2

    with Pipeline(one_and_then_none()).map(str).start() as run:
        assert next(run) == "1"
        assert asked.wait(PATIENCE)
        run._run.on_discard = lambda item, stage: discarded.append(item)
        run.stop()
        assert list(run) == []
    gate.set()
    wait_until(lambda: discarded == [2])
    nothing_is_left()


def test_every_iterator_sees_the_kill():
    with Pipeline(itertools.count()).map(str).start() as run:
        next(run)
        run.kill("enough")
        with pytest.raises(Killed, match="enough"):
            while True:
                next(run)
        run.kill("once more")
        with pytest.raises(StopIteration):
            next(run)


def hear(call, *args):
    """Call a function that waits for a run. Return what it raises, or None for a plain end."""
    try:
        call(*args)
    except BaseException as error:
        return error
    return None


def exhaust(run):
    for _ in run:
        pass


@pytest.mark.skipif(sys.gettrace() is not None, reason="it sets a trace function")
@pytest.mark.parametrize(
    "make", [lambda p: p.map(int, buffer=1), lambda p: p.batch(1, buffer=1), lambda p: p.flat_map(lambda x: [x], buffer=1)]
)
def test_ctrl_c_at_every_line_of_next(make):
    """No result is lost or comes twice, and each permit is released once."""
    at = 0
    while spawn(interrupted_in_next, at, make).result():
        at += 1
    assert at > 25


def interrupted_in_next(at, make):
    """Return whether there is such a line: see `test_mapping`."""
    results, discarded, lines = [], [], itertools.count()

    def trace(frame, event, argument):
        if frame.f_code.co_name != "__next__" or "sluicegate" not in frame.f_code.co_filename:
            return None
        if event == "line" and next(lines) == at:
            raise KeyboardInterrupt
        return trace

    with make(Pipeline(range(10))).start(on_discard=lambda item, stage: discarded.append(item)) as run:
        permits = run._run.graph.results.permits
        size = 0 if permits is None else permits.size
        while len(results) < 10:
            sys.settrace(trace)
            try:
                results += flat(next(run))
            except KeyboardInterrupt:
                if at % 3 == 2:
                    break
            finally:
                sys.settrace(None)
        if len(results) == 10 and permits is not None:
            wait_until(lambda: run.is_over)
            assert permits.value == size
    assert sorted(results + flat(discarded)) == list(range(len(results) + len(discarded)))
    assert results == list(range(len(results)))
    assert len(results) == 10 or at % 3 == 2
    return next(lines) > at


@pytest.mark.parametrize("how", ["kill", "error", "close", "collected elsewhere"])
@pytest.mark.parametrize("waits", ["wait", "iterate"])
def test_everybody_hears_of_the_end(how, waits):
    gate = threading.Event()

    def stage(x):
        gate.wait(PATIENCE if how == "error" else 0.001)
        return 1 // 0 if how == "error" else x

    pipeline = Pipeline(itertools.count()).map(stage)
    run = (pipeline.for_each(str) if waits == "wait" else pipeline).start()
    listeners = [spawn(hear, *((run.wait,) if waits == "wait" else (exhaust, run))) for _ in range(3)]
    time.sleep(0.02)
    if how == "kill":
        run.kill("enough")
    elif how == "close":
        run.close()
    else:
        gate.set()
        run.kill("enough")
    heard = [listener.result() for listener in listeners]
    expected = ZeroDivisionError if how == "error" else Killed
    assert [type(error) for error in heard] == [expected] * 3
    later = [hear(run.wait), hear(run.wait)]
    # Whoever has closed it knows.
    assert [type(error) for error in later] == [type(None) if how == "close" else expected] * 2


def test_async_everybody_hears_of_the_end():
    async def slow(x):
        await asyncio.sleep(0.001)
        return x

    async def exhaust(run):
        async for _ in run:
            pass

    async def hear(awaitable):
        try:
            await awaitable
        except BaseException as error:
            return type(error)
        return None

    async def main(how, waits):
        pipeline = Pipeline(itertools.count()).map(slow)
        run = (pipeline.for_each(str) if waits == "wait" else pipeline).start_async()
        tasks = [asyncio.ensure_future(hear(run.wait_async() if waits == "wait" else exhaust(run))) for _ in range(3)]
        await asyncio.sleep(0.02)
        if how == "kill":
            run.kill("enough")
        elif how == "close":
            await run.aclose()
        else:
            tasks[0].cancel()  # which kills the run, and the others have not been cancelled
        heard = await asyncio.gather(*tasks)
        first = asyncio.CancelledError if how == "cancel" else Killed
        assert heard == [first, Killed, Killed]
        assert await hear(run.wait_async()) is (None if how == "close" else Killed)

    for waits in ("wait", "iterate"):
        for how in ("kill", "close"):
            run_on("asyncio", main(how, waits))
    run_on("asyncio", main("cancel", "wait"))


def test_the_block_tells_its_own_thread():
    """The block raises the error in its own thread, also if another thread has got it already."""
    with pytest.raises(Killed, match="enough"), Pipeline(itertools.count()).for_each(str).start() as run:
        run.kill("enough")
        assert isinstance(spawn(hear, run.wait).result(), Killed)
    with Pipeline(itertools.count()).for_each(str).start() as run:
        run.kill("enough")
        with pytest.raises(Killed):
            run.wait()


@pytest.mark.parametrize("call", ["wait", "close", "stop", "with"])
@pytest.mark.parametrize("where", ["thread", "task", "on_discard", "sink in the caller"])
def test_a_run_does_not_wait_for_itself(call, where):
    runs, begun, told = [], threading.Event(), []

    def act():
        assert begun.wait(PATIENCE)
        (run,) = runs
        if call == "with":
            with run:
                pass
        else:
            {"wait": run.wait, "close": run.close, "stop": lambda: run.stop(timeout=PATIENCE)}[call]()

    def stage(x):
        if where == "thread" and x == 3:
            act()
        return x

    async def task(x):
        if where == "task" and x == 3:
            act()
        return x

    def sink(x):
        if where == "sink in the caller" and x == 3:
            told.append(hear(act))

    def discard(item, stage):
        told.append(hear(act))

    pipeline = Pipeline(range(10)).map(stage).map(task)
    pipeline = pipeline.for_each(sink, in_caller=True)
    run = pipeline.start(on_discard=discard if where == "on_discard" else None)
    runs.append(run)
    begun.set()
    if where == "on_discard":
        wait_until(lambda: run.statistics().stages[0].passed == 10)
        run.kill("enough")
    elif where in ("thread", "task"):
        with pytest.raises(RuntimeError, match="cannot be waited for in one of its own calls; kill"):
            run.wait(PATIENCE)
    elif call == "close":  # its caller is not waited for
        run.wait(PATIENCE)
        assert told == [None]
        return
    else:
        hear(run.wait, PATIENCE)
    if where not in ("thread", "task"):
        assert told
        assert {type(error) for error in told} == {RuntimeError}


def test_async_a_run_does_not_wait_for_itself():
    told = []

    async def main(call, in_caller):
        async def stage(x):
            if x == 3:
                try:
                    await {"wait": run.wait_async, "close": run.aclose}[call]()
                except RuntimeError as error:
                    told.append(error)
            return x

        pipeline = Pipeline(range(10))
        pipeline = pipeline.for_each(stage, in_caller=True) if in_caller else pipeline.map(stage).for_each(str)
        run = pipeline.start_async()
        await run.wait_async(PATIENCE)

    for call, in_caller in (("wait", False), ("close", False), ("wait", True)):
        run_on("asyncio", main(call, in_caller))
        assert re.search("one of its own calls", str(told.pop()))


def test_a_thread_does_not_wait_for_its_own_event_loop():
    async def same(x):
        await asyncio.sleep(0)
        return x

    async def main():
        run = Pipeline(itertools.count()).map(same).for_each(str).start_async()
        for wait in (run.wait, run.close, lambda: run.stop(timeout=PATIENCE)):
            with pytest.raises(RuntimeError, match=r"on the event loop of this thread.* use wait_async\(\)"):
                wait()
        run.stop()
        await run.wait_async()
        with pytest.raises(RuntimeError, match="event loop of this thread"), Pipeline(itertools.count()).map(same).start_async() as run:
            await anext(run)
        with pytest.raises(Killed):
            await run.wait_async()

    run_on("asyncio", main())


def test_one_task_alone_calls_the_sink_in_the_caller():
    async def main():
        inside, most, seen = 0, 0, []

        async def sink(x):
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.0005)
            inside -= 1
            seen.append(x)

        run = Pipeline(range(30)).map(same).for_each(sink, in_caller=True).start_async()
        await asyncio.gather(run.wait_async(), run.wait_async(), run.wait_async(PATIENCE))
        assert most == 1
        assert seen == list(range(30))

    run_on("asyncio", main())


def test_a_kill_of_what_is_over():
    run = Pipeline(range(3)).run()
    run.kill()
    run.stop()
    run.wait()
    assert run.is_over


def test_stop_in_a_stage():
    seen, runs = [], []

    def sink(x):
        seen.append(x)
        if x == 20:
            wait_until(lambda: runs)
            runs[0].stop()

    runs.append(Pipeline(itertools.count()).map(lambda x: x).for_each(sink).start())
    runs[0].wait(PATIENCE)
    assert seen == list(range(len(seen)))
    assert len(seen) >= 21


@pytest.mark.parametrize("how", ["block", "async block", "collected"])
def test_results_that_were_not_taken_are_discarded_when_the_run_is_over(how):
    discarded = []

    def discard(item, stage):
        discarded.append((item, stage))

    pipeline = Pipeline(range(5)).map(str)
    if how == "async block":

        async def main():
            async with pipeline.start_async(on_discard=discard) as run:
                assert await anext(run) == "0"
                await asyncio.to_thread(wait_until, lambda: run.is_over)

        run_on("asyncio", main())
    else:
        run = pipeline.start(on_discard=discard)
        assert next(run) == "0"
        wait_until(lambda: run.is_over)
        assert not discarded
        if how == "block":
            with run:
                pass
        else:
            del run
            gc.collect()
    assert discarded == [(str(number), "str") for number in range(1, 5)]


def test_iterating_over_a_run_whose_results_were_discarded():
    """What is left does not look like all of it."""
    run = Pipeline(range(10)).map(str).run()
    with pytest.raises(RuntimeError, match=r"discarded by run\(\) or wait\(\): iterate over the pipeline, or over start\(\)$"):
        list(run)
    assert list(run) == []

    async def main():
        run = await Pipeline(range(10)).map(str).run_async()
        with pytest.raises(RuntimeError, match=r"were discarded by run\(\)"):
            await anext(run)
        return [item async for item in run]

    assert run_on("asyncio", main()) == []
    with Pipeline(range(3)).map(str).start() as run:
        assert [*run, *run] == list("012")
        run.wait()
        assert list(run) == []  # nothing was discarded
    assert list(Pipeline([]).map(str).run()) == []


@pytest.mark.parametrize("how", ["run", "wait", "run_async"])
def test_results_of_a_run_that_is_only_waited_for_are_discarded(how):
    discarded = []

    def discard(item, stage):
        discarded.append((item, stage))

    pipeline = Pipeline(range(100)).map(str, buffer=2)
    if how == "run":
        run = pipeline.run(on_discard=discard)
    elif how == "run_async":
        run = asyncio.run(pipeline.run_async(on_discard=discard))
    else:
        with pipeline.start(on_discard=discard) as run:
            assert next(run) == "0"
            run.wait()
    assert discarded == [(str(number), "str") for number in range(how == "wait", 100)]
    assert run.statistics().discarded == len(discarded)


@pytest.mark.parametrize("kind", ["map", "fused", "flat", "for_each"])
def test_a_kill_while_an_error_is_dealt_with(kind):
    """A worker whose calls are stopped while it deals with an error still discards the items that it has taken."""
    taken, finished, discarded, runs = [], [], [], []

    def fail(x):
        if x == 500:
            raise ZeroDivisionError
        return x

    def kill(item, error):
        runs[0].kill("enough")
        raise error

    def count():
        wait_until(lambda: runs)
        for number in itertools.count():
            taken.append(number)
            yield number

    pipeline = Pipeline(count())
    if kind == "map":
        pipeline = pipeline.map(fail, buffer=256)
    elif kind == "fused":
        pipeline = pipeline.map(fail, buffer=256).filter(lambda _: True)
    elif kind == "flat":
        pipeline = pipeline.flat_map(lambda x: [fail(x)], buffer=256)
    pipeline = pipeline.for_each(lambda x: finished.append(fail(x)), buffer=256).on_error(kill)
    runs.append(pipeline.start(on_discard=lambda item, stage: discarded.append(item)))
    with pytest.raises(ZeroDivisionError):
        runs[0].wait(PATIENCE)
    assert sorted([*finished, 500, *discarded]) == taken
    assert runs[0].statistics().discarded == len(discarded)


def test_the_end_is_after_the_last_discard():
    """`wait` returns after the last call of `on_discard`, also if another thread has killed the run and is still making these calls."""
    told, hangs, tells, gate = [], threading.Event(), threading.Event(), threading.Event()

    def hang(x):
        if x == 10:
            hangs.set()
            tells.wait(PATIENCE)
        return x

    def discard(item, stage):
        if threading.current_thread() is killer:
            told.append(item)
            tells.set()
            gate.wait(PATIENCE)

    run = Pipeline(range(20)).map(hang).start(on_discard=discard)
    killer = threading.Thread(target=run.kill, args=["enough"])
    assert hangs.wait(PATIENCE)
    killer.start()
    assert tells.wait(PATIENCE)
    with pytest.raises(TimeoutError, match="items are being discarded"):
        run.wait(0.5)
    gate.set()
    with pytest.raises(Killed):
        run.wait()
    assert told


def test_on_discard_may_raise(monkeypatch):
    told = []
    monkeypatch.setattr("sys.unraisablehook", told.append)
    with Pipeline(range(50)).map(str).start(on_discard=lambda item, stage: 1 // 0) as run:
        next(run)
        wait_until(lambda: run._run.graph.results.queue.qsize() > 5)
    assert told
    assert all(each.exc_type is ZeroDivisionError for each in told)


@pytest.mark.thread_unsafe(reason="it counts the threads of the process")
def test_collected_runs_end():
    run = Pipeline(itertools.count()).map(str).start()
    next(run)
    state = weakref.ref(run._run)
    del run
    nothing_is_left()
    gc.collect()
    wait_until(lambda: is_gone(state))


@pytest.mark.parametrize("how", ["next", "list"])
def test_the_thread_of_the_loop_is_not_blocked(how):
    """Where coroutines of the run have to run: `next` would have waited for ever. Another thread may iterate."""

    async def same(x):
        await asyncio.sleep(0)
        return x

    async def main():
        run = Pipeline(range(50)).map(same, buffer=2).start_async()
        call = {"next": lambda: next(run), "list": lambda: list(run)}[how]
        with pytest.raises(
            RuntimeError, match=r"runs on the event loop of this thread, .*: use wait_async\(\), aclose\(\) or `async for`$"
        ):
            call()
        if how == "next":
            assert await asyncio.to_thread(list, run) == list(range(50))
        await run.aclose()

    run_on("asyncio", main())


@pytest.mark.thread_unsafe(reason="it counts the threads of the process")
def test_a_run_that_nobody_keeps_says_that_it_was_not_finished():
    """`pipeline.start()` as a statement looks as if it would run in the background."""
    discarded = []
    described = Pipeline(itertools.count(), name="p").map(str).for_each(len)

    def start():
        described.start(on_discard=lambda item, stage: discarded.append(item))
        gc.collect()

    with pytest.warns(ResourceWarning, match=r"^a run of pipeline 'p' was garbage-collected before its end, .*: wait\(\) for it"):
        start()
    nothing_is_left()

    run = described.start()
    run.kill()  # said, so no warning
    del run
    gc.collect()
    nothing_is_left()


@pytest.mark.thread_unsafe(reason="it counts the threads of the process")
@pytest.mark.parametrize("how", ["nobody", "stop", "wait", "with", "close", "results"])
def test_an_error_that_nobody_waits_for(how):
    """As a task of asyncio whose exception was never retrieved: only its collection can tell."""
    described = Pipeline(["1", "x"], name="p").map(int)
    if how != "results":
        described = described.for_each(abs)

    def use():
        run = described.start()
        wait_until(lambda: run._run.errors)
        if how == "stop":
            run.stop(PATIENCE)  # raises nothing
        elif how in ("wait", "with"):
            with pytest.raises(ValueError, match="invalid literal"), run if how == "with" else contextlib.nullcontext():
                run.wait()
        elif how == "close":
            run.close()
        if how != "results":
            wait_until(lambda: run.is_over)

    def collected():
        use()
        gc.collect()

    if how in ("nobody", "stop"):
        with pytest.warns(
            RuntimeWarning, match=r"^a run of pipeline 'p' ended with ValueError\(.*'x'.*, and nobody has waited for it: wait\(\)"
        ):
            collected()
    else:
        collected()  # a warning is an error
    nothing_is_left()


@pytest.mark.thread_unsafe(reason="it counts the threads of the process")
def test_leaving_a_loop_early():
    for item in Pipeline(itertools.count()).map(str):
        if item == "20":
            break
    gc.collect()
    nothing_is_left()


@pytest.mark.parametrize("end", ["for_each", "in the caller", "results"])
def test_a_run_waits_in_real_time(end):
    """Also where a test has made another clock the default."""
    gate = threading.Event()
    with ManualClock() as clock:
        described = Pipeline(range(9)).map(lambda _: gate.wait(PATIENCE), workers=2, buffer=0).batch(3)
        if end != "results":
            described = described.for_each(len, in_caller=end != "for_each")
        run = described.start()
        try:
            with pytest.raises(TimeoutError, match="not ended after 0.01 s"):
                spawn(lambda: run.wait(0.01)).result()
            assert clock.waiters == 0
        finally:
            gate.set()
        run.close()

        def slow():
            yield 1
            gate.wait(0.2)
            yield 2

        gate.clear()
        assert list(Pipeline(slow()).batch(2, linger=0.001)) == [[1], [2]]


def test_wait_with_a_timeout():
    gate = threading.Event()
    with Pipeline(range(3)).for_each(lambda _: gate.wait(PATIENCE)).start() as run:
        with pytest.raises(TimeoutError, match="not ended after 0.01 s"):
            run.wait(0.01)
        gate.set()
        run.wait()


@pytest.mark.parametrize(
    ("timeout", "error", "text"),
    [
        (-1, ValueError, "^'timeout' must be a finite number of seconds and not negative, got -1$"),
        (float("nan"), ValueError, "^'timeout' must be a finite number of seconds and not negative, got nan$"),
        (True, TypeError, r"^'timeout' must be a number of seconds \(int, float or timedelta\), not True \(bool\)$"),
        ("1", TypeError, r"^'timeout' must be a number of seconds \(int, float or timedelta\), not '1' \(str\)$"),
    ],
)
def test_a_timeout_that_is_none(timeout, error, text):
    """An invalid timeout is refused before anything is stopped."""
    with Pipeline(itertools.count()).map(str).start() as run:
        for call in (run.wait, run.stop):
            with pytest.raises(error, match=text):
                call(timeout)

        async def main():
            await run.wait_async(timeout)

        with pytest.raises(error, match=text):
            asyncio.run(main())
        assert "running" in repr(run)

    async def called(x):
        return x

    with pytest.raises(error, match=text):
        Pipeline([]).map(called, timeout=timeout)


def test_wait_async_with_a_timeout():
    async def main():
        gate = asyncio.Event()
        async with Pipeline(range(3)).map(str).for_each(waits(gate)).start_async() as run:
            with pytest.raises(TimeoutError, match="not ended after 0.01 s"):
                await run.wait_async(0.01)
            gate.set()
            await run.wait_async()

    run_on("asyncio", main())


def waits(gate):
    async def wait(_):
        await gate.wait()

    return wait


def test_a_source_does_not_run_ahead_when_its_sink_is_cancelled():
    """The sink in the caller leaves first, and nobody takes the items behind the source any more."""

    async def end_soon():
        account = Account()

        async def sink(item):
            await asyncio.sleep(0)
            account.finished.append(item)

        pipeline = Pipeline(account).map(same).map(same).for_each(sink, in_caller=True)
        task = asyncio.ensure_future(pipeline.run_async(on_discard=account.discard))
        await eventually(lambda: len(account.finished) > 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert account.most <= stated(pipeline) == 99
        account.check()

    for _ in range(20):
        run_on("asyncio", end_soon())


def test_the_tasks_of_a_dead_loop_wait_for_nothing():
    """They leave the wait queue that they are in and discard their items, although the run still exists."""
    taken, discarded, limit = [], [], Semaphore(0)

    def count():
        for number in itertools.count():
            taken.append(number)
            yield number

    async def hold(x):
        await limit.acquire_async()

    async def start():
        run = Pipeline(count()).map(hold, workers=3).for_each(str).start_async(on_discard=lambda item, stage: discarded.append(item))
        await eventually(lambda: limit.statistics().waiters == 3)
        return run

    loop = asyncio.new_event_loop()
    run = loop.run_until_complete(start())
    loop.close()
    del loop
    gc.collect()
    run.close()
    assert limit.statistics().waiters == 0
    assert sorted(discarded) == taken


def test_a_task_of_a_dead_loop_that_awaits_in_its_end(monkeypatch):
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda what: told.append(str(what.exc_value)))

    async def hold(x):
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            await asyncio.sleep(0)

    async def start():
        run = Pipeline(range(1)).map(hold).for_each(str).start_async()
        await eventually(lambda: run.statistics().stages[1].taken)
        return run

    loop = asyncio.new_event_loop()
    run = loop.run_until_complete(start())
    loop.close()
    del loop
    gc.collect()
    run.close()
    assert told == ["coroutine ignored GeneratorExit"]


@pytest.mark.parametrize("how", ["run_async", "block"])
def test_a_task_of_a_dead_loop_that_waits_for_the_run(how, monkeypatch):
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda what: told.append(str(what.exc_value)))
    begun, gate = threading.Event(), threading.Event()
    pipeline = Pipeline(itertools.count()).map(lambda x: (begun.set(), gate.wait(PATIENCE))).for_each(str)

    async def wait():
        if how == "run_async":
            await pipeline.run_async()
        async with pipeline.start_async():
            await asyncio.sleep(PATIENCE)

    before = threading.active_count()
    loop = asyncio.new_event_loop()
    task = loop.create_task(wait())
    loop.run_until_complete(eventually(begun.is_set))
    loop.close()
    task._log_destroy_pending = False
    del task, loop
    gc.collect()
    gate.set()
    wait_until(lambda: threading.active_count() == before)
    assert not told


# --- signals, fork, exit -------------------------------------------------------------------------------------------


SIGNALS = """
import itertools, os, signal, sys, threading, time
from sluicegate import Pipeline, PipelineRun
seen, discarded, taken = [], [], []

def count():
    for number in itertools.count():
        taken.append(number)
        yield number

def starts():
    frame = sys._current_frames()[threading.main_thread().ident].f_back
    while frame is not None and frame.f_code is not PipelineRun.wait.__code__:
        frame = frame.f_back
    return frame is None

def sink(x):
    time.sleep(0.0002 if len(seen) < 50 else 0.02)  # so that not all is finished before the main thread hears of it
    seen.append(x)
    if len(seen) == 50:
        while starts():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
try:
    Pipeline(count()).map(lambda x: x).for_each(sink).run(
        interrupt=sys.argv[1], on_discard=lambda item, stage: discarded.append(item))
except KeyboardInterrupt:
    print("interrupted", sys.argv[1])
assert sorted(seen + discarded) == taken, (seen, discarded, taken)
assert bool(discarded) == (sys.argv[1] == "kill"), discarded
assert threading.active_count() == 1, threading.enumerate()
"""


@pytest.mark.thread_unsafe(reason="starts an interpreter")
@pytest.mark.parametrize("how", ["kill", "drain"])
def test_ctrl_c(how):
    assert run_script(SIGNALS, how) == f"interrupted {how}\n"


@pytest.mark.thread_unsafe(reason="replaces what all runs call")
def test_an_interrupt_while_it_starts(monkeypatch):
    """The run has ended when `run` raises, as it has when Ctrl-C comes later."""
    begun, left = threading.Event(), []

    def stage(x):
        begun.set()
        time.sleep(0.05)
        left.append(x)

    def launch(run, worker):
        launching.launch(run, worker)
        if worker.node.kind == "source":  # the last that is launched
            assert begun.wait(PATIENCE)
            raise KeyboardInterrupt

    monkeypatch.setattr(running, "launch", launch)
    with pytest.raises(KeyboardInterrupt):
        Pipeline(itertools.count()).map(stage).for_each(str).run()
    assert left
    nothing_is_left()


IN_CALLER = """
import itertools, signal, sys, threading
from sluicegate import Pipeline
seen, discarded, taken = [], [], []

def count():
    for number in itertools.count():
        taken.append(number)
        yield number

def sink(x):
    if x in (50, 55) and sys.argv[1] != "once" or x == 50:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError
    seen.append(x)
try:
    Pipeline(count()).map(lambda x: x).for_each(sink, in_caller=True).run(
        interrupt="kill" if sys.argv[1] == "kill" else "drain", on_discard=lambda item, stage: discarded.append(item))
except KeyboardInterrupt:
    print("interrupted", sys.argv[1])
assert sorted(seen + discarded + [50] * (sys.argv[1] == "kill") + [55] * (sys.argv[1] == "twice")) == taken, (seen, discarded, taken)
assert (discarded == [50]) == (sys.argv[1] == "once"), discarded
assert threading.active_count() == 1, threading.enumerate()
"""


@pytest.mark.thread_unsafe(reason="starts an interpreter")
@pytest.mark.parametrize("how", ["kill", "once", "twice"])
def test_ctrl_c_in_a_sink_in_the_caller(how):
    """The call that Ctrl-C interrupts is not repeated."""
    assert run_script(IN_CALLER, how) == f"interrupted {how}\n"


@pytest.mark.thread_unsafe(reason="starts an interpreter")
@pytest.mark.parametrize("before", ["", "run.kill()", "run.close()"])
def test_ctrl_c_ends_a_coroutine_that_hangs_when_it_is_cancelled(before):
    """Ctrl-C cancels the coroutine, also if it has been cancelled before. A second Ctrl-C cancels it again."""
    run_script(
        f"""
        import asyncio, signal, threading
        from sluicegate import Pipeline
        interrupt = lambda: threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
        begun = threading.Event()

        async def call(x):
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                interrupt()
                await asyncio.sleep(60)

        try:
            with Pipeline([1]).map(call).for_each(print).start() as run:
                begun.wait()
                {before or "interrupt()"}
                run.wait()
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError
        assert run.is_over
        """
    )


#: A worker does the same for each item: a first one, some more and a last one. The time grows with the square.
ITEMS_AT_LINES = 10


@pytest.mark.skipif(sys.gettrace() is not None, reason="it sets a trace function")
@pytest.mark.parametrize("interrupt", ["kill", "drain"])
@pytest.mark.parametrize("is_fused", [False, True])
def test_ctrl_c_at_every_line_of_a_worker_in_the_caller(interrupt, is_fused):
    """Every item is finished or discarded with notice, except for one whose call may have been interrupted."""
    ended = 0
    while ends := spawn(interrupted_at_line, ended, interrupt, is_fused).result():
        assert len(set(ends)) >= ITEMS_AT_LINES - 1, (ended, ends)
        assert len(ends) <= len(set(ends)) + 1, (ended, ends)
        ended += 1
    assert ended > 100


def interrupted_at_line(at, interrupt, is_fused):
    """Return what became of the items if Ctrl-C comes at this line of those that are run, or None if there is no such line.

    It is run in a thread of its own, because a trace function may leave a thread with an exception that is being handled for ever.
    """
    ends, lines = [], itertools.count()
    # A signal handler never runs between the body of a `with` and its end, where a trace function is called.
    locking = {number for number, line in enumerate(inspect.getsource(workers).splitlines(), 1) if line.strip().startswith("with ")}

    def trace(frame, event, argument):
        if frame.f_code.co_filename != workers.__file__:
            return None
        if event == "line" and frame.f_lineno not in locking and next(lines) == at:
            raise KeyboardInterrupt
        return trace

    pipeline = Pipeline(range(ITEMS_AT_LINES))
    if is_fused:
        pipeline = pipeline.filter(lambda _: True)
    run = pipeline.for_each(ends.append, in_caller=True).start(on_discard=lambda item, stage: ends.append(item), interrupt=interrupt)
    wait_until(lambda: run.statistics().stages[0].passed == ITEMS_AT_LINES)
    try:
        sys.settrace(trace)
        run.wait(PATIENCE)
    except KeyboardInterrupt:
        assert run.is_over
        return ends
    finally:
        sys.settrace(None)
    return None


@pytest.mark.thread_unsafe(reason="starts an interpreter")
def test_exit_while_one_runs():
    """The program ends although iterators have not been closed and a daemon thread is in a source."""
    run_script(
        """
        import itertools, threading
        from sluicegate import Pipeline, Queue
        run = Pipeline(itertools.count()).map(str, workers=2).start()
        next(run)
        async def up(x):
            return x
        other = Pipeline(iter(Queue())).map(up).start()
        """
    )


@pytest.mark.thread_unsafe(reason="starts an interpreter")
def test_exit_before_the_end_says_so():
    told = run_script(
        """
        import atexit, itertools, warnings
        from sluicegate import Pipeline
        told = []
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, kind, *rest: told.append((kind, str(message)))
        run = Pipeline(itertools.count(), name="p").map(str).for_each(len).start()
        over = Pipeline(range(3)).for_each(str).run()
        failed = Pipeline(["x"], name="q").for_each(int).start()
        failed.stop(5)
        killed = Pipeline(itertools.count()).for_each(str).start()
        killed.kill()

        def check():
            (kind, text), (failure, why) = told
            assert (kind, failure) == (ResourceWarning, RuntimeWarning), told
            assert text.startswith("a run of pipeline 'p' has not ended when the program does"), text
            assert why.startswith("a run of pipeline 'q' ended with ValueError("), why
            print("told")

        atexit.register(check)
        """
    )
    assert told == "told\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.thread_unsafe(reason="starts an interpreter")
def test_fork():
    run_script(
        FORKING
        + """
import itertools
from sluicegate import Pipeline
run = Pipeline(itertools.count()).map(str).start()
assert next(run) == "0"

def child():
    try:
        for _ in range(10000):
            next(run)
    except RuntimeError as error:
        assert "forked" in str(error)
    else:
        raise AssertionError
    assert list(Pipeline(range(5)).map(str)) == list("01234")
check(in_child(child))
assert int(next(run)) >= 1
run.close()
""",
        quiet=False,
    )


def test_a_sample_that_fails_wakes_a_source_that_waits_for_room(monkeypatch):
    """What is in the buffer before the sampled stage is discarded, and has held the room behind that stage."""
    failed = threading.Event()

    def work_after_the_failure(worker):
        if worker.node.sample_edges:
            assert failed.wait(PATIENCE)
        workers.work(worker)

    monkeypatch.setattr(launching, "work", work_after_the_failure)
    with Pipeline(itertools.count()).merge(Pipeline(itertools.count())).sample(print).start() as run:
        nodes = run._run.graph.nodes
        sources = [node for node in nodes if node.kind == "source"]
        wait_until(lambda: sources[0].admission.statistics().waiters == 2)
        run._run.fail(next(node for node in nodes if node.kind == "sink"), ValueError("not on the way of the others"))
        failed.set()
        with pytest.raises(ValueError, match="not on the way"):
            spawn(list, run).result()
