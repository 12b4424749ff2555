"""`Batcher` on event loops: coroutine handlers, callers on several loops, cancellation, and loops that end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import gc
import sys
import threading
import weakref

import pytest
from helpers import LOOP_KINDS, PATIENCE, LoopThread, collect, eventually, finish, new_loop, on_loops, run_on, settle, spawn, wait_until

from sluicegate import Batcher, BlockingInEventLoopWarning, Overloaded, ShutDown
from sluicegate.testing import ManualClock

loop_kinds = pytest.mark.parametrize("kind", LOOP_KINDS)


def doubled(items):
    return [item * 2 for item in items]


async def doubled_async(items):
    await asyncio.sleep(0)
    return [item * 2 for item in items]


class AsyncGate:
    """A coroutine handler that keeps its batches until it is told to run them. One loop."""

    def __init__(self):
        self.batches = []
        self.permits = asyncio.Semaphore(0)

    async def __call__(self, items):
        self.batches.append(list(items))
        await self.permits.acquire()
        return [item * 10 for item in items]

    def let(self, n=1):
        for _ in range(n):
            self.permits.release()

    async def wait_for(self, n):
        await eventually(lambda: len(self.batches) >= n)


@pytest.mark.parametrize("handler", [doubled, doubled_async])
@on_loops
async def test_tasks(handler):
    async with Batcher(handler, max=8, linger=0.001) as batcher:
        assert await batcher.submit_async(1) == 2
        results = await asyncio.gather(*(batcher.submit_async(n) for n in range(500)))
        assert results == [n * 2 for n in range(500)]
        assert await asyncio.wrap_future(batcher.submit(4)) == 8
    seen = batcher.statistics()
    assert (seen.submitted, seen.succeeded, seen.is_closed) == (502, 502, True)
    assert seen.mean_batch_size > 4
    with pytest.raises(ShutDown):
        await batcher.submit_async(1)


@pytest.mark.parametrize("handler", [doubled, doubled_async])
@loop_kinds
def test_threads_and_two_loops_on_one_object(handler, kind, threads):
    with LoopThread(kind) as one, LoopThread(kind) as two:
        batcher = Batcher(handler, max=16, linger=0.001, loop=one.loop if handler is doubled_async else None)

        async def many(base):
            return await asyncio.gather(*(batcher.submit_async(n) for n in range(base, base + 300)))

        tasks = [one.submit(many(0)), two.submit(many(1000))]
        workers = [threads(lambda base=base: [batcher.call(n) for n in range(base, base + 50)]) for base in (2000, 3000)]
        for base, each in zip((0, 1000), tasks, strict=True):
            assert each.result(PATIENCE) == [n * 2 for n in range(base, base + 300)]
        for base, each in zip((2000, 3000), workers, strict=True):
            assert each.result() == [n * 2 for n in range(base, base + 50)]
        batcher.close(PATIENCE)
        assert batcher.statistics().succeeded == 700


def test_what_is_a_coroutine_handler():
    class Object:
        async def __call__(self, items):
            return items

        async def method(self, items):
            return items

    handlers = [Object(), Object().method, functools.partial(doubled_async), functools.partial(Object())]

    async def main():
        for handler in handlers:
            async with Batcher(handler, linger=0) as batcher:
                assert await batcher.submit_async(0) == 0

    asyncio.run(main())


def test_a_coroutine_handler_without_a_loop():
    """A thread that comes before the first task is told so; after it, it is served."""
    batcher = Batcher(doubled_async, linger=0)
    for call in (lambda: batcher.call(1), lambda: batcher.submit(1)):
        with pytest.raises(RuntimeError, match=r"no event loop is known on which doubled_async\(\) could run: pass `loop=`"):
            call()
    assert batcher.statistics().submitted == 0

    async def main():
        assert await batcher.submit_async(1) == 2
        assert await asyncio.to_thread(batcher.call, 2) == 4

    asyncio.run(main())


@loop_kinds
def test_the_loop_that_is_given(kind):
    """Calls that come before it runs wait for it."""
    seen = []

    async def handler(items):
        seen.append(asyncio.get_running_loop())
        return items

    loop = new_loop(kind)
    batcher = Batcher(handler, loop=loop, linger=0)
    caller = spawn(batcher.call, 1)
    future = batcher.submit(2)

    async def elsewhere():
        return await batcher.submit_async(3)

    with LoopThread(kind, loop=loop):
        assert caller.result() == 1
        assert future.result(PATIENCE) == 2
        assert run_on(kind, elsewhere()) == 3
        assert set(seen) == {loop}
    with pytest.raises(RuntimeError, match=r"the event loop on which .*handler\(\) runs is closed"):
        batcher.submit(1)


@loop_kinds
def test_loops_that_come_and_go(kind):
    """A batcher that was made for no loop in particular serves the next one: a module's, in a test suite."""
    batcher = Batcher(doubled_async, linger=0.001)
    for n in range(3):
        assert run_on(kind, batcher.submit_async(n)) == 2 * n
        with pytest.raises(RuntimeError, match="no event loop is known"):
            batcher.submit(1)
    seen = batcher.statistics()
    assert (seen.submitted, seen.succeeded, seen.running) == (3, 3, 0)


# A loop that ends.


@loop_kinds
def test_a_loop_that_is_closed_before_the_workers_have_begun(kind):
    """Nothing warns of their coroutines."""
    loop = new_loop(kind)
    batcher = Batcher(doubled_async, loop=loop)
    future = batcher.submit(0)
    loop.call_soon(loop.stop)
    loop.run_forever()  # the turn in which the tasks are made
    assert len(asyncio.all_tasks(loop)) == 1
    loop.close()
    with pytest.raises(RuntimeError, match="the event loop on which"):
        future.result(PATIENCE)
    del batcher
    collect()


def test_nothing_is_said_of_the_workers_of_a_closed_loop():
    """asyncio reports tasks that are destroyed while they wait; these are the batcher's own, and their callers have been told."""
    told = []
    loop = new_loop()
    loop.set_exception_handler(lambda _loop, context: told.append(context["message"]))
    batcher = Batcher(doubled_async, loop=loop, linger=0)
    future = batcher.submit(1)
    assert loop.run_until_complete(asyncio.wrap_future(future, loop=loop)) == 2
    task = weakref.ref(next(iter(batcher._runner.tasks)))
    loop.close()
    del batcher, future
    collect()
    assert task() is None
    assert told == []


@loop_kinds
@pytest.mark.parametrize("how", ["cancelled", "closed"])
@pytest.mark.parametrize("when", ["lingering", "running", "not started"])
def test_a_loop_that_ends_fails_what_is_pending(kind, how, when):
    """Its tasks are cancelled, as asyncio.run does, or it is closed with them."""
    clock = ManualClock()
    started = threading.Event()

    async def handler(items):
        started.set()
        await asyncio.Event().wait()

    loop = new_loop(kind)
    loop.set_exception_handler(lambda *_: None)
    batcher = Batcher(handler, loop=loop, linger=60 if when == "lingering" else 0, max=2, max_pending=2, clock=clock)
    if when != "not started":
        thread = LoopThread(kind, loop=loop)
    futures = [batcher.submit(0)]
    if when == "running":
        assert started.wait(PATIENCE)
        futures += [batcher.submit(n) for n in (1, 2)]
        waiting = spawn(batcher.call, 3)
        wait_until(lambda: batcher.statistics().waiters == 1)
    if when == "lingering":
        clock.wait_for_waiters(1)
    caller = spawn(batcher.call, 4) if when == "not started" else None
    if caller:
        wait_until(lambda: batcher.statistics().pending == 2)
    if when != "not started":
        thread.stop()
        del thread
    if how == "cancelled":
        finish(loop)
    else:
        loop.close()
    cancelled = futures[0] if (how, when) == ("cancelled", "running") else None
    for future in futures:
        error = future.exception(PATIENCE)
        assert type(error) is RuntimeError
        assert ("ended with CancelledError" if future is cancelled else "the event loop on which") in str(error)
    if when == "running":
        with pytest.raises(RuntimeError, match="the event loop on which"):
            waiting.result()
    if caller:
        with pytest.raises(RuntimeError, match="the event loop on which"):
            caller.result()
    seen = batcher.statistics()
    assert (seen.pending, seen.running, seen.failed) == (0, 0, seen.submitted)


def test_asyncio_run_ends_with_a_call_in_another_thread():
    """The thread gets an error, and the next loop is served."""

    async def handler(items):
        if items == ["stay"]:
            await asyncio.Event().wait()
        return items

    batcher = Batcher(handler, linger=0)

    async def main():
        await batcher.submit_async(0)
        caller = spawn(batcher.call, "stay")
        await eventually(lambda: batcher.statistics().running == 1)
        return caller

    with pytest.raises(RuntimeError, match="handler.* ended with CancelledError"):
        asyncio.run(main()).result()
    assert asyncio.run(batcher.submit_async(1)) == 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before 3.11 a task does not know whether it was cancelled")
@on_loops
async def test_a_handler_whose_own_work_is_cancelled():
    """It is an error like others: the worker goes on, and no caller takes it for a cancellation of its own."""

    async def handler(items):
        if items[0] == "bad":
            inner = asyncio.ensure_future(asyncio.sleep(60))
            asyncio.get_running_loop().call_soon(inner.cancel)
            await inner
        return items

    async with Batcher(handler, linger=0) as batcher:
        with pytest.raises(RuntimeError, match="ended with CancelledError"):
            await batcher.submit_async("bad")
        assert await batcher.submit_async("good") == "good"


@on_loops
async def test_errors():
    async def handler(items):
        await asyncio.sleep(0)
        if items == [0]:
            return []
        if items == [1]:
            return [KeyError(1)]
        raise OSError("disk")

    async with Batcher(handler, linger=0) as batcher:
        with pytest.raises(ValueError, match="returned 0 for 1 items"):
            await batcher.submit_async(0)
        with pytest.raises(KeyError):
            await batcher.submit_async(1)
        with pytest.raises(OSError, match="disk"):
            await batcher.submit_async(2)
    assert batcher.statistics().failed == 3


@on_loops
async def test_an_error_of_many_tasks_is_one_for_each():
    async def handler(items):
        raise OSError("disk")

    async with Batcher(handler, max=5, linger=60) as batcher:
        errors = await asyncio.gather(*(batcher.submit_async(n) for n in range(5)), return_exceptions=True)
    assert [str(error) for error in errors] == ["disk"] * 5
    assert len({id(error) for error in errors}) == 5
    tracebacks = [error.__traceback__ for error in errors]
    assert {traceback.tb_frame.f_code.co_name for traceback in tracebacks} == {"submit_async"}


@on_loops
async def test_cancelled_tasks_leave_the_batch():
    gate = AsyncGate()
    async with Batcher(gate, max=3, linger=0) as batcher:
        tasks = [asyncio.ensure_future(batcher.submit_async(0))]
        await gate.wait_for(1)
        tasks += [asyncio.ensure_future(batcher.submit_async(n)) for n in range(1, 6)]
        await settle()
        tasks[0].cancel()
        tasks[2].cancel()
        await settle()
        gate.let(3)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError, int, asyncio.CancelledError, int, int, int]
    assert gate.batches == [[0], [1, 3, 4], [5]]
    seen = batcher.statistics()
    assert (seen.cancelled, seen.succeeded) == (1, 5)  # the item of the first had run


@on_loops
async def test_timeouts():
    clock, gate = ManualClock(), AsyncGate()
    async with Batcher(gate, max=1, linger=0, max_pending=1, clock=clock) as batcher:
        tasks = [asyncio.ensure_future(batcher.submit_async(0, timeout=5))]
        await gate.wait_for(1)
        tasks += [asyncio.ensure_future(batcher.submit_async(1, timeout=6))]
        await settle()
        tasks += [asyncio.ensure_future(batcher.submit_async(2, timeout=5))]
        await settle()
        await clock.advance_async(5)
        results = await asyncio.gather(tasks[0], tasks[2], return_exceptions=True)
        assert [type(result) for result in results] == [TimeoutError, Overloaded]
        assert results[1].reason == "expired"
        assert not tasks[1].done()
        await clock.advance_async(1)
        with pytest.raises(TimeoutError, match="no result within 6 seconds"):
            await tasks[1]
        with pytest.raises(ValueError, match="'timeout'"):
            await batcher.submit_async(1, timeout=-1)
        gate.let(3)
    assert gate.batches == [[0]]
    seen = batcher.statistics()
    assert (seen.submitted, seen.succeeded, seen.cancelled, seen.refused) == (2, 1, 1, 1)


@on_loops
async def test_block_and_reject():
    for overflow in ("block", "reject"):
        gate = AsyncGate()
        async with Batcher(gate, max=1, linger=0, max_pending=1, overflow=overflow) as batcher:
            tasks = [asyncio.ensure_future(batcher.submit_async(0))]
            await gate.wait_for(1)
            tasks += [asyncio.ensure_future(batcher.submit_async(n)) for n in (1, 2, 3)]
            await settle()
            assert batcher.statistics().waiters == (2 if overflow == "block" else 0)
            gate.let(10)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            if overflow == "block":
                assert results == [0, 10, 20, 30]
            else:
                assert results[:2] == [0, 10]
                assert [error.reason for error in results[2:]] == ["full", "full"]


@on_loops
async def test_ttl():
    clock, gate = ManualClock(), AsyncGate()
    async with Batcher(gate, max=2, linger=0, ttl=5, clock=clock) as batcher:
        tasks = [asyncio.ensure_future(batcher.submit_async(0))]
        await gate.wait_for(1)
        tasks += [asyncio.ensure_future(batcher.submit_async(1))]
        await settle()
        await clock.advance_async(5.1)
        tasks += [asyncio.ensure_future(batcher.submit_async(2))]
        await settle()
        gate.let(2)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [results[0], results[2], type(results[1]), results[1].reason] == [0, 20, Overloaded, "expired"]


@on_loops
async def test_a_task_hears_that_its_call_has_expired_while_the_handler_is_busy():
    clock, gate = ManualClock(), AsyncGate()
    async with Batcher(gate, max=1, linger=0, ttl=5, clock=clock) as batcher:
        first = asyncio.ensure_future(batcher.submit_async(0))
        await gate.wait_for(1)
        second = asyncio.ensure_future(batcher.submit_async(1, timeout=60))
        await settle()
        await clock.advance_async(5)
        with pytest.raises(Overloaded) as caught:
            await second
        assert caught.value.reason == "expired"
        assert not first.done()
        gate.let(1)
        assert await first == 0
    # By the clock of the machine, and without a timeout.
    gate = AsyncGate()
    async with Batcher(gate, max=1, linger=0, ttl=0.25) as batcher:
        first = asyncio.ensure_future(batcher.submit_async(0))
        await gate.wait_for(1)
        with pytest.raises(Overloaded):
            await batcher.submit_async(1)
        gate.let(1)
        assert await first == 0


@on_loops
async def test_drain_and_close():
    clock, gate = ManualClock(), AsyncGate()
    others = asyncio.all_tasks()
    batcher = Batcher(gate, linger=60, max=2, clock=clock)
    await batcher.drain_async()
    tasks = [asyncio.ensure_future(batcher.submit_async(n)) for n in range(3)]
    await gate.wait_for(1)
    draining = asyncio.ensure_future(batcher.drain_async(5))
    await settle()
    await clock.advance_async(5)
    with pytest.raises(TimeoutError, match="drain_async: 1 calls are pending and 2 running after 5 seconds"):
        await draining
    closing = asyncio.ensure_future(batcher.close_async())
    await settle()
    assert not closing.done()
    gate.let(2)
    await closing
    assert gate.batches == [[0, 1], [2]]  # it did not linger
    assert await asyncio.gather(*tasks) == [0, 10, 20]
    await eventually(lambda: asyncio.all_tasks() == others)


@on_loops
async def test_close_with_a_timeout():
    gate, clock = AsyncGate(), ManualClock()
    batcher = Batcher(gate, max=1, linger=0, clock=clock)
    tasks = [asyncio.ensure_future(batcher.submit_async(n)) for n in range(3)]
    await gate.wait_for(1)
    with pytest.raises(TimeoutError):
        await batcher.close_async(0)
    gate.let()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [results[0], *map(type, results[1:])] == [0, ShutDown, ShutDown]
    await batcher.close_async()


@pytest.mark.parametrize("method", ["submit_async", "drain_async", "close_async"])
def test_a_coroutine_handler_that_waits_for_itself(method):
    async def handler(items):
        await getattr(batcher, method)(*([1] if method == "submit_async" else []))
        return items

    batcher = Batcher(handler, linger=0)

    async def main():
        with pytest.raises(RuntimeError, match=rf"{method}\(\) was awaited by the Batcher's own handler"):
            await batcher.submit_async(1)
        assert not batcher.closed
        await batcher.close_async()

    asyncio.run(main())


@pytest.mark.parametrize("method", ["call", "drain", "close"])
def test_a_call_that_would_block_the_handlers_loop(method):
    """It could never end, so it raises."""
    batcher = Batcher(doubled_async, linger=0)

    async def main():
        await batcher.submit_async(1)
        with pytest.raises(RuntimeError, match=rf"{method}\(\) would block the event loop on which the handler has to run; use `await"):
            getattr(batcher, method)(*([1] if method == "call" else []))
        assert await batcher.submit_async(2) == 4

    asyncio.run(main())


def test_a_blocking_call_on_a_loop_warns():
    """Under the names that its caller knows, at its line."""
    gate = threading.Semaphore(0)

    def handler(items):
        assert gate.acquire(timeout=PATIENCE)
        return items

    batcher = Batcher(handler, linger=0, max=1, max_pending=1)

    def blocks(call, blocking, awaitable):
        """The handler goes on when the warning is there: only then does the call return."""
        with pytest.warns(BlockingInEventLoopWarning) as told:  # noqa: PT031 - the block is what blocks
            releaser = spawn(lambda: wait_until(lambda: len(told)) or gate.release())
            call()
            releaser.result()
        assert str(told[0].message).startswith(f"{blocking}() is about to block")
        assert f"`{awaitable}`" in str(told[0].message)
        assert told[0].filename == __file__

    async def main():
        blocks(lambda: batcher.call(1), "call", "await submit_async()")
        batcher.submit(1)
        await eventually(lambda: batcher.statistics().running == 1)
        batcher.submit(2)
        blocks(lambda: batcher.submit(3), "submit", "await submit_async()")
        gate.release()
        blocks(batcher.drain, "drain", "await drain_async()")
        batcher.submit(4)
        blocks(batcher.close, "close", "await close_async()")

    asyncio.run(main())


@on_loops
async def test_the_context_of_a_coroutine_handler():
    variable = contextvars.ContextVar("variable", default="default")

    async def handler(items):
        return [variable.get()] * len(items)

    def make():
        variable.set("the maker's")
        return Batcher(handler, linger=0)

    async with contextvars.copy_context().run(make) as batcher:
        variable.set("the caller's")
        assert await batcher.submit_async(0) == "the maker's"


@loop_kinds
def test_a_dropped_batcher_ends_its_tasks(kind):
    async def main():
        others = asyncio.all_tasks()
        batcher = Batcher(doubled_async, workers=2, linger=0)
        assert await batcher.submit_async(1) == 2
        assert len(asyncio.all_tasks()) == len(others) + 2
        reference = weakref.ref(batcher)
        del batcher
        await eventually(lambda: gc.collect() >= 0 and reference() is None)
        await eventually(lambda: asyncio.all_tasks() == others)

    run_on(kind, main())


class Model:
    @Batcher.of(linger=0)
    async def predict(self, items):
        return [(self, item) for item in items]


@on_loops
async def test_of_on_an_async_method():
    others = asyncio.all_tasks()
    one, two = Model(), Model()
    assert await one.predict.submit_async(1) == (one, 1)
    assert await two.predict.submit_async(1) == (two, 1)
    references = [weakref.ref(one), weakref.ref(two)]
    del one, two
    await eventually(lambda: gc.collect() >= 0 and not any(reference() for reference in references))
    await eventually(lambda: asyncio.all_tasks() == others)


@pytest.mark.thread_unsafe(reason="reads the log of the whole process")
@loop_kinds
def test_a_collected_batcher_ends_its_tasks_and_nobody_complains(kind, caplog):
    """A loop knows its tasks weakly, so that one collection finds them with the batcher, in the middle of their wait."""

    async def main():
        others = asyncio.all_tasks()
        model = Model()
        assert await model.predict.submit_async(1) == (model, 1)
        reference = weakref.ref(model)
        del model
        await eventually(lambda: gc.collect() >= 0 and reference() is None)
        await eventually(lambda: asyncio.all_tasks() == others)

    run_on(kind, main())
    assert caplog.messages == []


@on_loops
async def test_no_turn_is_taken_from_others():
    """Callers whose results are always there already still let the loop run."""
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.ensure_future(others())
    async with Batcher(doubled, linger=0) as batcher:
        for n in range(300):
            await batcher.submit_async(n)
    assert turns > 0
    other.cancel()
    await asyncio.wait([other])


def test_a_future_can_be_waited_for_with_others():
    with Batcher(doubled) as batcher:
        futures = [batcher.submit(n) for n in range(10)]
        assert sorted(future.result() for future in concurrent.futures.as_completed(futures, PATIENCE)) == [n * 2 for n in range(10)]
