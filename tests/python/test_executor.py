"""What BoundedExecutor promises beyond ThreadPoolExecutor: a bound, what happens at it, and that nothing of it leaks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import copy
import gc
import itertools
import pickle
import random
import re
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Generator
from datetime import timedelta

import pytest
from helpers import PATIENCE, eventually, is_gone, on_loops, run_script, spawn, wait_until

import sluicegate
from sluicegate import (
    AdaptiveLifo,
    BlockingInEventLoopWarning,
    BoundedExecutor,
    CoalescingQueue,
    CoDel,
    FairQueue,
    Overloaded,
    PriorityQueue,
    Queue,
    Semaphore,
)
from sluicegate._running import PLENTY
from sluicegate._user_queue import QueuedJob
from sluicegate.testing import ManualClock


class Held:
    """A pool of one worker, which is busy until the block is left."""

    def __init__(self, max_pending=1, **kwargs):
        self.pool = BoundedExecutor(1, max_pending=max_pending, **kwargs)
        self.gate = threading.Event()

    def __enter__(self):
        began = threading.Event()
        self.first = self.pool.submit(lambda: began.set() or self.gate.wait(PATIENCE))
        assert began.wait(PATIENCE)
        return self.pool

    def __exit__(self, *exc):
        self.gate.set()
        self.pool.shutdown()

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, *exc):
        self.gate.set()
        await self.pool.__aexit__(None, None, None)


# --- at the bound --------------------------------------------------------------------------------------------------


def test_block_waits_for_room():
    held = Held(max_pending=1)
    with held as pool:
        second = pool.submit(int, 2)
        waiting = spawn(pool.submit, int, 3)
        wait_until(lambda: pool.statistics().waiters == 1)
        assert not waiting.done()
        held.gate.set()
        assert waiting.result().result(PATIENCE) == 3
        assert second.result() == 2
    assert pool.statistics().waited_seconds > 0


def test_no_pending_at_all():
    """With `max_pending=0` a job is accepted if a worker is free."""
    with BoundedExecutor(2, max_pending=0, overflow="reject") as pool:
        for _ in range(500):
            a, b = pool.submit(int, 1), pool.submit(int, 2)
            assert (a.result(), b.result()) == (1, 2)


def test_a_result_that_is_seen_has_left_room():
    with BoundedExecutor(1, max_pending=0, overflow="reject") as pool:
        for i in range(2000):
            assert pool.submit(int, i).result() == i
    assert len(pool._threads) == 1


def test_reject():
    held = Held(max_pending=2, overflow="reject", name="mill")
    with held as pool:
        accepted = [pool.submit(int, i) for i in range(2)]
        with pytest.raises(Overloaded, match=r"submit to the executor 'mill': 2 jobs are pending beside 1 that run") as refused:
            pool.submit(int)
        assert refused.value.reason == "full"
        assert refused.value.name == "mill"
        assert 0 < refused.value.retry_after <= 60
        assert isinstance(refused.value, sluicegate.Refused)
        seen = pool.statistics()
        assert (seen.pending, seen.running, seen.refused, seen.submitted) == (2, 1, 1, 3)
    assert [f.result() for f in accepted] == [0, 1]


def test_the_hint_follows_what_was_seen():
    with Held(max_pending=0, overflow="reject") as pool:
        workers = pool._pool
        with pytest.raises(Overloaded) as refused:
            pool.submit(int)
        assert refused.value.retry_after == 1.0  # nothing is known
        workers.measured = (time.monotonic() - 10, workers.completed() - 100)
        with pytest.raises(Overloaded) as refused:
            pool.submit(int)
        assert 0.09 < refused.value.retry_after < 0.2  # 100 jobs in 10 s


def test_caller_runs():
    with Held(max_pending=0, overflow="caller_runs") as pool:
        future = pool.submit(threading.get_ident)
        assert future.done()
        assert future.result() == threading.get_ident()
        failed = pool.submit(int, "x")
        assert isinstance(failed.exception(), ValueError)
        assert not failed.cancel()
        seen = pool.statistics()
        assert (seen.caller_ran, seen.submitted, seen.completed) == (2, 3, 2)


def test_caller_runs_does_not_change_the_callers_context():
    variable = contextvars.ContextVar("variable", default="outside")
    with Held(max_pending=0, overflow="caller_runs") as pool:
        assert pool.submit(lambda: (variable.set("inside"), variable.get())[1]).result() == "inside"
        assert variable.get() == "outside"


def test_caller_runs_lets_an_interrupt_through():
    with Held(max_pending=0, overflow="caller_runs") as pool:

        def interrupted():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pool.submit(interrupted)
        with pytest.raises(SystemExit):
            pool.submit(exit).result()  # the job's own, as in a worker


@pytest.mark.parametrize("overflow", ["block", "caller_runs"])
def test_a_worker_that_finds_it_full_runs_the_job_itself(overflow):
    """If it waited for room, it would wait for itself."""
    with BoundedExecutor(1, max_pending=0, overflow=overflow) as pool:

        def nested(depth):
            return 0 if depth == 0 else 1 + pool.submit(nested, depth - 1).result()

        assert pool.submit(nested, 30).result(PATIENCE) == 30
        assert pool.statistics().caller_ran == 30


def test_a_worker_that_finds_it_full_is_refused_where_everybody_is():
    with BoundedExecutor(1, max_pending=0, overflow="reject") as pool:
        with pytest.raises(Overloaded):
            pool.submit(lambda: pool.submit(int)).result(PATIENCE)


def test_a_worker_of_another_pool_waits():
    with Held(max_pending=0) as full, BoundedExecutor(1, max_pending=0) as other:
        future = other.submit(full.submit, int, 5)
        wait_until(lambda: full.statistics().waiters == 1)
        assert not future.done()
        full._pool.places.release()  # as if there were one more
        assert future.result(PATIENCE)


def test_a_tree_of_jobs_in_a_full_pool():
    """Each job submits two more, in a pool that is always full, and none waits for ever."""
    done = []
    with BoundedExecutor(3, max_pending=2) as pool:

        def grow(depth):
            done.append(depth)
            if depth:
                pool.submit(grow, depth - 1)
                pool.submit(grow, depth - 1)

        pool.submit(grow, 9)
        wait_until(lambda: len(done) == 2**10 - 1)


@pytest.mark.parametrize("kind", ["block", "caller_runs", "queue"])
def test_a_chain_of_jobs_in_a_full_pool(kind):
    """Each job submits the next one and does not wait for it. At some depth it is refused, before there is a RecursionError."""
    begun, refusals = [], []
    options = {"queue": Queue(1)} if kind == "queue" else {"max_pending": 1, "overflow": kind}
    with BoundedExecutor(1, name="chain", **options) as pool:

        def job(number):
            begun.append(number)
            try:
                pool.submit(job, number + 1)
            except Overloaded as error:
                refusals.append(error)

        def fill_and_begin():
            pool.submit(int)
            job(0)

        pool.submit(fill_and_begin).result(PATIENCE)
        assert begun == list(range(51))
        (refused,) = refusals
        assert refused.reason == "full"
        assert re.search("executor 'chain': it is full, and 50 jobs already run inside one another in this thread", str(refused))
        seen = pool.statistics()
        assert (seen.refused, seen.caller_ran) == (1, 50)
        begun.clear()
        pool.submit(fill_and_begin).result(PATIENCE)
        assert begun == list(range(51))  # nothing is left of it in the thread


def test_never_more_than_the_bound():
    """Many threads submit, and at every job the running and pending ones together are within the bound."""
    workers, pending = 3, 5
    lock, now, most = threading.Lock(), [0], [0]

    def job():
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0)
        with lock:
            now[0] -= 1

    with BoundedExecutor(workers, max_pending=pending) as pool:
        seen = []

        def feed():
            for _ in range(400):
                pool.submit(job)
                seen.append(pool._pool.places.statistics().held)

        for thread in [spawn(feed) for _ in range(4)]:
            thread.result()
    assert most[0] <= workers
    assert max(seen) <= workers + pending


def test_waiters_are_served_in_order():
    held = Held(max_pending=0)
    with held as pool:
        order = []
        for i in range(5):
            spawn(lambda i=i: pool.submit(order.append, i))
            wait_until(lambda: pool.statistics().waiters == i + 1)  # noqa: B023
        held.gate.set()
        wait_until(lambda: len(order) == 5)
        assert order == list(range(5))


# --- cancelled -------------------------------------------------------------------------------------------------------


def test_a_cancelled_job_gives_its_place_back():
    with Held(max_pending=1, overflow="reject") as pool:
        for _ in range(100):
            future = pool.submit(int)
            with pytest.raises(Overloaded):
                pool.submit(int)
            assert future.cancel()
            assert future.cancel()
            assert future.cancelled()
            with pytest.raises(concurrent.futures.CancelledError):
                future.result(0)
        seen = pool.statistics()
        assert (seen.cancelled, seen.pending, seen.running) == (100, 0, 1)


def test_a_cancelled_job_lets_a_waiter_in():
    held = Held(max_pending=1)
    with held as pool:
        future = pool.submit(int)
        waiting = spawn(pool.submit, int, 7)
        wait_until(lambda: pool.statistics().waiters == 1)
        future.cancel()
        assert not waiting.result().done()


def test_cancelled_jobs_do_not_pile_up():
    with Held(max_pending=10) as pool:
        kept = [pool.submit(int, i) for i in range(5)]
        references = []
        for _ in range(5000):
            thing = threading.Event()
            references.append(weakref.ref(thing))
            pool.submit(thing.wait).cancel()
            del thing
        assert pool._pool.queue.qsize() <= 100
        assert all(map(is_gone, references[::500]))  # their arguments least of all
        assert pool.statistics().pending == 5
    assert [f.result() for f in kept] == list(range(5))
    assert pool.statistics().completed == 6


def test_cancel_and_run_race():
    """Each job is run or cancelled, never both, and each place is given back once."""
    with BoundedExecutor(2, max_pending=50) as pool:
        ran = []
        futures = []

        def cancel_some():
            for _ in range(3000):
                if futures:
                    futures[random.randrange(len(futures))].cancel()

        thread = spawn(cancel_some)
        for i in range(3000):
            futures.append(pool.submit(ran.append, i))
        thread.result()
        concurrent.futures.wait(futures, PATIENCE)
        cancelled = {i for i, f in enumerate(futures) if f.cancelled()}
        assert sorted([*ran, *cancelled]) == list(range(3000))
        wait_until(lambda: pool.statistics().completed == len(ran))
        seen = pool.statistics()
        assert (seen.completed, seen.cancelled, seen.pending) == (len(ran), len(cancelled), 0)
        assert pool._pool.places.value == 52


def test_wait_and_as_completed():
    """The standard library's functions read a future's insides. They must see every one, whichever way it ends."""
    chance = random.Random(3)
    with BoundedExecutor(4, max_pending=1000) as pool:
        for _ in range(150):

            def job(i):
                time.sleep(chance.choice([0, 0, 0, 0.0002]))
                return 1 // (i % 7)

            futures = [pool.submit(job, i) for i in range(20)]
            chance.choice(futures).cancel()
            overlapping = spawn(concurrent.futures.wait, futures[::2], PATIENCE)
            if chance.random() < 0.5:
                done, pending = concurrent.futures.wait(futures, PATIENCE, chance.choice(["ALL_COMPLETED", "FIRST_COMPLETED"]))
                assert done
                assert len(done) + len(pending) == 20
            assert {*concurrent.futures.as_completed(futures, PATIENCE)} == {*futures}
            assert not overlapping.result().not_done


def test_a_future_does_not_take_what_it_does_not_need():
    with BoundedExecutor(1, max_pending=10) as pool:
        future = pool.submit(int)
        wait_until(future.done)
        assert future.result() == 0
        assert "_late" not in vars(future)
        assert not isinstance(vars(future)["_gate"], threading.Condition)
        seen = []
        future.add_done_callback(seen.append)
        assert seen == [future]
        assert future.exception() is None
        assert "finished" in repr(future)
        with pytest.raises(concurrent.futures.InvalidStateError):
            future.set_result(1)
        with pytest.raises(concurrent.futures.InvalidStateError):
            future.set_exception(ValueError())
        assert future.result() == 0


def test_results_wait_with_a_timeout():
    with Held(max_pending=1) as pool:
        future = pool.submit(int)
        for wait in (future.result, future.exception):
            with pytest.raises(concurrent.futures.TimeoutError):
                wait(0.001)
        assert not future.running()
        assert not future.done()


def test_callbacks_that_raise(caplog):
    with BoundedExecutor(1, max_pending=10) as pool:
        gate = threading.Event()
        future = pool.submit(gate.wait)
        called = []
        future.add_done_callback(lambda _: 1 // 0)
        future.add_done_callback(called.append)
        gate.set()
        assert future.result(PATIENCE)
        assert pool.submit(int, 4).result(PATIENCE) == 4
        assert called == [future]
    assert "exception calling callback" in caplog.text


def test_a_callback_that_ends_the_world_ends_no_worker(caplog):
    with BoundedExecutor(1, max_pending=10) as pool:
        gate = threading.Event()
        future = pool.submit(gate.wait)

        def leave(_):
            raise SystemExit

        future.add_done_callback(leave)
        gate.set()
        assert pool.submit(int, 4).result(PATIENCE) == 4
    assert "Exception in worker" in caplog.text


def test_errors_leave_no_cycles():
    gc.collect()
    gc.disable()
    try:
        with BoundedExecutor(1, max_pending=10) as pool:

            class Thing:
                pass

            def job(thing):
                raise ValueError(thing)

            thing = Thing()
            reference = weakref.ref(thing)
            future = pool.submit(job, thing)
            assert isinstance(future.exception(), ValueError)
            with pytest.raises(ValueError):
                future.result()
            del thing, future
            pool.submit(int).result()
            wait_until(lambda: is_gone(reference))
    finally:
        gc.enable()


# --- asyncio ---------------------------------------------------------------------------------------------------------


@on_loops
async def test_submit_async():
    async with BoundedExecutor(2, max_pending=2) as pool:
        futures = [await pool.submit_async(pow, 2, i) for i in range(50)]
        assert await asyncio.gather(*futures) == [2**i for i in range(50)]
        assert isinstance(futures[0], asyncio.Future)
        with pytest.raises(ValueError):
            await (await pool.submit_async(int, "x"))


def test_under_trio_the_error_says_what_is_needed():
    """The error comes before anything is submitted."""
    trio = pytest.importorskip("trio")

    async def main():
        with pytest.raises(RuntimeError, match=r"^submit_async\(\) of a BoundedExecutor needs a running asyncio event loop .* trio's"):
            await pool.submit_async(int)
        with pytest.raises(RuntimeError, match=r"^submit_async\(\) of a BoundedExecutor needs a running asyncio event loop .* trio's"):
            await pool.submitting().submit_async(int)
        with pytest.raises(RuntimeError, match="^`async with` of a BoundedExecutor needs a running asyncio event loop .* trio's"):
            async with pool:
                raise AssertionError

    with BoundedExecutor(1, max_pending=1) as pool:
        trio.run(main)
        assert pool.statistics().submitted == 0


@on_loops
async def test_submit_async_waits_on_the_loop():
    held = Held(max_pending=0)
    async with held as pool:
        task = asyncio.ensure_future(pool.submit_async(int, 3))
        await eventually(lambda: pool.statistics().waiters == 1)
        thread = spawn(pool.submit, int, 4)
        await eventually(lambda: pool.statistics().waiters == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: pool.statistics().waiters == 1)
        assert pool.statistics().submitted == 1
        held.gate.set()
        await eventually(thread.done)
        assert (await asyncio.wrap_future(thread.result())) == 4


@on_loops
async def test_cancelling_what_submit_async_gave_gives_the_place_back():
    async with Held(max_pending=1, overflow="reject") as pool:
        future = await pool.submit_async(int)
        with pytest.raises(Overloaded):
            await pool.submit_async(int)
        future.cancel()
        await eventually(lambda: pool.statistics().cancelled == 1)
        await pool.submit_async(int)


@on_loops
async def test_submit_async_never_runs_a_job_on_the_loop():
    held = Held(max_pending=0, overflow="caller_runs")
    async with held as pool:
        task = asyncio.ensure_future(pool.submit_async(threading.get_ident))
        await eventually(lambda: pool.statistics().waiters == 1)
        held.gate.set()
        assert await (await task) != threading.get_ident()


def test_a_loop_in_a_worker():
    """A coroutine in a worker of the same, full pool does not wait for it."""
    with BoundedExecutor(1, max_pending=0) as pool:

        async def inside():
            return await (await pool.submit_async(int, 5))

        assert pool.submit(lambda: asyncio.run(inside())).result(PATIENCE) == 5


@on_loops
async def test_submit_on_a_loop_warns():
    held = Held(max_pending=0)
    async with held as pool:
        threading.Timer(0.05, held.gate.set).start()
        with pytest.warns(BlockingInEventLoopWarning, match=r"submit\(\) is about .* use `await submit_async\(\)`") as told:
            pool.submit(int)
        assert len(told) == 1
        assert told[0].filename == __file__
    async with BoundedExecutor(1, max_pending=1) as pool:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pool.submit(int)  # there is room
            pool.shutdown(wait=False)


@on_loops
async def test_async_with():
    async with BoundedExecutor(2, max_pending=10) as pool:
        future = await pool.submit_async(int, 3)
    assert future.done() or await future == 3
    with pytest.raises(RuntimeError, match="after shutdown"):
        await pool.submit_async(int)


@on_loops
async def test_threads_and_tasks():
    total = []
    async with BoundedExecutor(2, max_pending=3) as pool:

        async def task(k):
            for i in range(60):
                await (await pool.submit_async(total.append, (k, i)))

        def thread(k):
            for i in range(60):
                pool.submit(total.append, (k, i)).result(PATIENCE)

        threads = [spawn(thread, k) for k in range(3)]
        await asyncio.gather(*(task(k) for k in range(3, 6)))
        await eventually(lambda: all(t.done() for t in threads))
        [t.result() for t in threads]
    assert sorted(total) == [(k, i) for k in range(6) for i in range(60)]


# --- context, ends ---------------------------------------------------------------------------------------------------


def test_context_variables():
    variable = contextvars.ContextVar("variable", default=0)
    with BoundedExecutor(2, max_pending=100) as pool:
        futures = []
        for i in range(50):
            variable.set(i)
            futures.append(pool.submit(lambda: (variable.get(), variable.set(-1))[0]))
        assert [f.result() for f in futures] == list(range(50))
        variable.set(99)
        assert list(pool.map(lambda _: variable.get(), range(3))) == [99] * 3


def test_shutdown_wakes_those_who_wait():
    """Those who wait for room are woken even if the job that takes it goes on running."""
    held = Held(max_pending=0)
    with held as pool:
        waiting = [spawn(pool.submit, int) for _ in range(3)]
        wait_until(lambda: pool.statistics().waiters == 3)
        pool.shutdown(wait=False)
        for each in waiting:
            assert isinstance(each.exception(), RuntimeError)
        seen = pool.statistics()
        assert (seen.submitted, seen.is_shutdown, seen.waiters) == (1, True, 0)


def test_shutdown_cancels_what_is_pending():
    held = Held(max_pending=3)
    with held as pool:
        futures = [pool.submit(int) for _ in range(3)]
        pool.shutdown(wait=False, cancel_futures=True)
        assert all(f.cancelled() for f in futures)
    assert pool.statistics().cancelled == 3


def test_shutdown_by_a_worker():
    pool = BoundedExecutor(2, max_pending=3)
    assert pool.submit(pool.shutdown).result(PATIENCE) is None
    pool.shutdown()
    pool.shutdown()


def test_a_pool_that_is_dropped_lets_its_threads_go():
    before = set(threading.enumerate())
    futures = []
    for _ in range(20):
        pool = BoundedExecutor(2, max_pending=10)
        futures += [pool.submit(int, 5) for _ in range(3)]
    del pool
    gc.collect()
    assert [f.result(PATIENCE) for f in futures] == [5] * 60
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_a_pool_that_is_shut_down_goes_without_the_collector():
    pool = BoundedExecutor(2, max_pending=10)
    future = pool.submit(int)
    pool.shutdown()
    reference = weakref.ref(pool._pool)
    gc.disable()
    try:
        del pool
        assert is_gone(reference)
        assert future.result() == 0
        assert not future.cancel()
    finally:
        gc.enable()


def test_a_failing_initializer():
    started, go_on = threading.Event(), threading.Event()

    def initializer():
        started.set()
        go_on.wait(PATIENCE)
        raise ValueError("no")

    pool = BoundedExecutor(1, max_pending=1, initializer=initializer)
    futures = [pool.submit(int) for _ in range(2)]
    waiting = spawn(pool.submit, int)
    assert started.wait(PATIENCE)
    wait_until(lambda: pool.statistics().waiters == 1)
    go_on.set()
    for future in futures:
        assert isinstance(future.exception(PATIENCE), concurrent.futures.BrokenExecutor)
    assert isinstance(waiting.exception(), concurrent.futures.BrokenExecutor)
    with pytest.raises(concurrent.futures.BrokenExecutor):
        pool.submit(int)
    assert pool.statistics().dropped == 2
    assert "broken" in repr(pool)
    pool.shutdown()


def test_an_initializer():
    local = threading.local()
    with BoundedExecutor(2, max_pending=5, initializer=lambda x: setattr(local, "x", x), initargs=(7,)) as pool:
        assert {pool.submit(lambda: local.x).result() for _ in range(20)} == {7}


def test_threads_are_started_as_they_are_needed():
    with BoundedExecutor(8, max_pending=100, thread_name_prefix="mill") as pool:
        assert not pool._threads
        gate = threading.Event()
        for n in range(1, 9):
            pool.submit(gate.wait)
            assert len(pool._threads) == n
        for _ in range(20):
            pool.submit(int)
        assert len(pool._threads) == 8
        assert {t.name for t in pool._threads} == {f"mill_{i}" for i in range(8)}
        gate.set()


def test_what_it_is():
    with BoundedExecutor(3, max_pending=5, name="mill") as pool:
        assert isinstance(pool, concurrent.futures.Executor)
        assert isinstance(pool.submit(int), concurrent.futures.Future)
        assert pool.name == "mill"
        assert weakref.ref(pool)() is pool
        wait_until(lambda: pool.statistics().completed == 1)
        assert repr(pool) == "<sluicegate.BoundedExecutor 'mill': 0 of 5 pending, 1 of 3 workers>"
        for refuse in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot pickle or copy 'BoundedExecutor' object"):
                refuse(pool)
        assert type(pool).__module__ == "sluicegate"
    assert repr(pool).endswith(", shut down>")


# Where CPython's executors have a sentence for an argument, ours begins with it: a program, or CPython's suite, may look for it.
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "needs 'max_pending'"),
        ({"max_pending": -1}, ValueError, "'max_pending' must be at least 0, not -1"),
        ({"max_pending": True}, TypeError, "'max_pending' must be an int of at least 0, not True"),
        ({"max_pending": 1.5}, TypeError, "'max_pending' must be an int of at least 0, not 1.5"),
        ({"max_pending": 2**70}, OverflowError, "must not be over"),
        ({"max_pending": 1, "max_workers": 0}, ValueError, "^max_workers must be greater than 0, not 0$"),
        ({"max_pending": 1, "max_workers": -1}, ValueError, "^max_workers must be greater than 0, not -1$"),
        ({"max_pending": 1, "max_workers": "2"}, TypeError, "max_workers"),
        ({"max_pending": 1, "max_workers": True}, TypeError, "max_workers"),
        ({"max_pending": 1, "overflow": "drop"}, ValueError, "'overflow' must be 'block', 'reject' or 'caller_runs', got 'drop'"),
        ({"max_pending": 1, "initializer": 3}, TypeError, "^initializer must be a callable, not 3$"),
        ({"max_pending": 1, "name": 3}, TypeError, "'name' must be a str or None, not 3"),
        ({"max_pending": 1, "queue": Queue(3)}, ValueError, "'max_pending' cannot be given with 'queue'"),
        ({"overflow": "block", "queue": Queue(3)}, ValueError, "'overflow' cannot be given with 'queue'"),
        ({"queue": 3}, TypeError, "'queue' must be a queue of sluicegate with a method put"),
    ],
)
def test_bad_arguments(arguments, error, message):
    before = threading.active_count()
    with pytest.raises(error, match=message):
        BoundedExecutor(**arguments)
    assert threading.active_count() == before


# --- map -------------------------------------------------------------------------------------------------------------


def test_map_is_as_maps():
    with BoundedExecutor(3, max_pending=4) as pool:
        for chunksize, buffersize in itertools.product((1, 2, 3, 100), (None, 1, 2, 5, 100)):
            options = {"chunksize": chunksize, "buffersize": buffersize}
            assert list(pool.map(str, range(20), **options)) == list(map(str, range(20)))
            assert list(pool.map(pow, [2, 3, 4], [5, 6], **options)) == [2**5, 3**6]
            assert list(pool.map(str, [], **options)) == []


@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("buffersize", [1, 3, 10])
def test_map_is_lazy_and_bounded(chunksize, buffersize):
    """`buffersize` works as in 3.14 on every Python: never more items are taken than it allows beyond the results that were returned."""
    handed, most = [0], [0]

    def endless():
        for i in itertools.count():
            most[0] = max(most[0], i + 1 - handed[0])
            yield i

    with BoundedExecutor(2, max_pending=100) as pool:
        results = pool.map(str, endless(), chunksize=chunksize, buffersize=buffersize)
        assert most[0] == min(buffersize // min(chunksize, buffersize) * min(chunksize, buffersize), buffersize)
        for i in range(200):
            assert next(results) == str(i)
            handed[0] += 1
        results.close()
    # The place of a result is taken before it is handed out: of a whole chunk's, when its first one is.
    assert most[0] <= buffersize + min(chunksize, buffersize)


def test_map_on_a_full_pool():
    with BoundedExecutor(1, max_pending=0) as pool:
        assert list(pool.map(str, range(100))) == list(map(str, range(100)))


def test_map_from_a_worker():
    with BoundedExecutor(1, max_pending=0) as pool:
        assert pool.submit(lambda: sum(pool.map(int, range(100), buffersize=10))).result(PATIENCE) == 4950


@pytest.mark.parametrize("wrong", [3, None, 0.5])
def test_map_of_what_is_no_iterable(wrong):
    with BoundedExecutor(1, max_pending=4) as pool:
        with pytest.raises(TypeError, match="the number of workers is an argument of the executor"):
            pool.map(str, wrong)
        with pytest.raises(TypeError, match="its own"):
            pool.map(str, [1], Unready())


class Unready:
    def __iter__(self):
        raise TypeError("its own")


def test_map_cancels_the_rest():
    held = Held(max_pending=10)
    with held as pool:
        results = pool.map(str, range(5))
        with pytest.raises(StopIteration):
            pool.submit(int).cancel()
            results.close()
            next(results)
        results = pool.map(str, range(4), timeout=0)
        with pytest.raises(concurrent.futures.TimeoutError):
            next(results)
        assert pool.statistics().cancelled == 1 + 5 + 4


@pytest.mark.parametrize("options", [{}, {"chunksize": 2}, {"buffersize": 4}, {"chunksize": 2, "buffersize": 4}])
def test_map_closed_before_its_first_result_cancels_all(options):
    with Held(max_pending=10) as pool:
        taken = iter(range(100))
        results = pool.map(str, itertools.islice(taken, 8), **options)
        results.close()
        results.close()
        assert pool.statistics().pending == 0
        assert pool.statistics().cancelled == (4 if options else 8) // (2 if len(options) == 2 else 1)
        assert list(results) == []
        assert next(taken) == (4 if "buffersize" in options else 8)
        results = pool.map(str, range(8), **options)
        with pytest.raises(LookupError):
            results.throw(LookupError("instead of a result"))
        assert pool.statistics().pending == 0


def test_map_that_nobody_looks_at_runs_all_jobs():
    """What `map` returns may be dropped without closing it, as in the standard library."""
    done = []
    with BoundedExecutor(1, max_pending=10) as pool:
        pool.map(done.append, range(8))
        gc.collect()
    assert done == list(range(8))


def test_map_returns_a_generator():
    with BoundedExecutor(1, max_pending=10) as pool:
        results = pool.map(str, range(3))
        assert isinstance(results, Generator)
        assert iter(results) is results
        assert results.send(None) == "0"
        assert next(results) == "1"
        with pytest.raises(LookupError):
            results.throw(LookupError())
        assert list(results) == []
        with pytest.raises(TypeError, match="cannot pickle or copy"):
            copy.copy(results)


@pytest.mark.skipif(sys.platform == "win32" or sys.version_info < (3, 11), reason="there the interpreter runs handlers at other points")
@pytest.mark.parametrize("step", ["map(results.send, [None])", "map(next, [results])"])
def test_map_a_result_that_was_taken_is_not_lost_to_ctrl_c(step):
    """The signal comes in C code, after the last line of the generator, so the interpreter runs the handler where it next can."""
    run_script(
        f"""
        import ctypes, signal
        from itertools import chain
        from sluicegate import BoundedExecutor
        interrupt = ctypes.CDLL(None)["raise"]
        with BoundedExecutor(1, max_pending=2) as pool:
            items = filter(None, chain([1, 2], map(interrupt, [signal.SIGINT])))
            results = pool.map(str, items, buffersize=1)
            assert next(results) == "1"
            taken = []
            try:
                taken.extend({step})
            except KeyboardInterrupt:
                taken += results
            else:
                raise AssertionError
            assert taken == ["2"], taken
        """
    )


def test_map_errors_have_their_place():
    with BoundedExecutor(2, max_pending=10) as pool:

        def items():
            yield from range(4)
            raise LookupError("source")

        for options in ({"buffersize": 2}, {"buffersize": 2, "chunksize": 2}):
            results = pool.map(str, items(), **options)
            assert [next(results) for _ in range(2)] == ["0", "1"]
        results = pool.map(str, items(), buffersize=2)
        assert [next(results) for _ in range(4)] == ["0", "1", "2", "3"]
        with pytest.raises(LookupError, match="source"):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
        for chunksize in (1, 3):
            results = pool.map(lambda x: 10 // x, [2, 1, 0, 5], chunksize=chunksize)
            assert [next(results), next(results)] == [5, 10]
            with pytest.raises(ZeroDivisionError):
                next(results)
            assert list(results) == []
        with pytest.raises(LookupError):
            pool.map(str, items())


def test_map_refused():
    """A map that does not fit into a pool that refuses jobs is refused, and leaves nothing behind."""
    with Held(max_pending=2, overflow="reject") as pool:
        with pytest.raises(Overloaded):
            pool.map(str, range(5))
        assert pool.statistics().pending == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"buffersize": 0}, ValueError, "^buffersize must be None or > 0, not 0$"),
        ({"buffersize": 2.0}, TypeError, r"^buffersize must be an integer or None, not 2\.0 \(float\)$"),
        ({"buffersize": True}, TypeError, r"^buffersize must be an integer or None, not True \(bool\)$"),
        ({"buffersize": 2**70}, ValueError, "'buffersize' must be at most"),
        ({"chunksize": 2**70}, ValueError, "'chunksize' must be at most"),
        ({"chunksize": 0}, ValueError, "^chunksize must be >= 1, not 0$"),
        ({"chunksize": 1.5}, TypeError, "'chunksize' must be an int of at least 1"),
    ],
)
def test_map_bad_arguments(arguments, error, message):
    with BoundedExecutor(1, max_pending=1) as pool:
        taken = iter(range(10))
        with pytest.raises(error, match=message):
            pool.map(str, taken, **arguments)
        assert next(taken) == 0


def test_map_keeps_the_pool_only_while_it_submits():
    results = BoundedExecutor(2, max_pending=5).map(str, range(50), buffersize=4)
    assert list(results) == list(map(str, range(50)))


# --- a queue of the user's -------------------------------------------------------------------------------------------


def test_a_queue_of_ones_own():
    q = Queue(2, name="jobs")
    with BoundedExecutor(2, queue=q) as pool:
        assert [f.result(PATIENCE) for f in [pool.submit(int, i) for i in range(200)]] == list(range(200))
        assert list(pool.map(str, range(50), buffersize=5)) == list(map(str, range(50)))
        assert pool.statistics().max_pending is None
        assert "of 2 pending" in repr(pool)
    assert q.is_shutdown


def test_the_queue_says_what_happens_when_it_is_full():
    class Impatient(Queue):
        def put(self, item, block=True, timeout=None):
            super().put(item, block, timeout=0.01)

    q = Impatient(1)
    gate = threading.Event()
    with BoundedExecutor(1, queue=q) as pool:
        pool.submit(gate.wait)
        wait_until(q.empty)
        future = pool.submit(int)
        with pytest.raises(Overloaded, match="its queue is full") as refused:
            pool.submit(int)
        assert refused.value.reason == "full"
        assert isinstance(refused.value.__cause__, sluicegate.Full)
        assert future.cancel()  # its place is the queue's, and free at once
        assert q.empty()
        pool.submit(int)
        seen = pool.statistics()
        assert (seen.refused, seen.cancelled, seen.submitted) == (1, 1, 3)
        gate.set()


@on_loops
async def test_a_queue_of_ones_own_on_a_loop():
    q = Queue(1)
    gate = threading.Event()
    async with BoundedExecutor(1, queue=q) as pool:
        await pool.submit_async(gate.wait)
        await eventually(q.empty)
        first = await pool.submit_async(int, 1)
        task = asyncio.ensure_future(pool.submit_async(int, 2))
        await eventually(lambda: q.statistics().waiting_putters == 1)
        first.cancel()
        second = await task
        task = asyncio.ensure_future(pool.submit_async(int, 3))
        await eventually(lambda: q.statistics().waiting_putters == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        threading.Timer(0.05, gate.set).start()
        with pytest.warns(BlockingInEventLoopWarning, match=r"submit\(\) is about .*`await submit_async\(\)`"):
            pool.submit(int)
        assert await second == 2
        seen = pool.statistics()
        assert seen.cancelled == 1


def test_a_job_whose_making_was_interrupted_is_dropped_quietly():
    """A signal handler may raise before a job has its attributes. Its `__del__` must not raise then, because that would be reported."""
    with BoundedExecutor(1, queue=Queue(1)) as pool:
        queued_job = QueuedJob.__new__(QueuedJob)
        queued_job.pool = pool._pool
        del queued_job
        assert pool.submit(int).result(PATIENCE) == 0


def test_what_the_queue_drops_fails():
    q = Queue(10)
    gate = threading.Event()
    with BoundedExecutor(1, queue=q, name="mill") as pool:
        pool.submit(gate.wait)
        wait_until(q.empty)
        futures = [pool.submit(int) for _ in range(3)]
        q.clear()
        for future in futures:
            with pytest.raises(Overloaded, match="a job of the executor 'mill' was not run: its queue has dropped it") as refused:
                future.result(PATIENCE)
            assert refused.value.reason == "shed"
        last = pool.submit(int)
        q.shutdown(immediate=True)
        assert isinstance(last.exception(PATIENCE), Overloaded)
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(int)
        assert pool.statistics().dropped == 4
        gate.set()


@pytest.mark.parametrize("rule", [CoDel(target=0.01, interval=0.1), AdaptiveLifo(target=0.01, interval=0.1)], ids=["CoDel", "AdaptiveLifo"])
def test_what_a_rule_sheds_is_told_to_the_submitter(rule):
    """Jobs wait in the queue until they are too old for its rule. Each has run, or has failed with the reason."""
    clock = ManualClock()
    q = Queue(100, shed=rule, clock=clock)
    gate = threading.Semaphore(0)
    with BoundedExecutor(1, queue=q) as pool:
        futures = [pool.submit(gate.acquire) for _ in range(30)]
        ended = completed = 0
        while ended < len(futures):
            clock.advance(0.06)
            gate.release()
            completed += 1
            # The job that ran has ended, unless none did: then those that were left were all too old.
            wait_until(
                lambda completed=completed: (
                    (seen := pool.statistics()).completed == completed or seen.completed + seen.dropped == len(futures)
                )
            )
            seen = pool.statistics()
            ended = seen.completed + seen.dropped
    shed = [error for future in futures if (error := future.exception()) is not None]
    assert len(shed) == q.statistics().dropped_shed == pool.statistics().dropped > 0
    assert {(type(error), error.reason) for error in shed} == {(Overloaded, "shed")}
    assert futures[0].exception() is None


@pytest.mark.parametrize("overflow", ["reject", "drop_oldest", "drop_newest"])
def test_overflow_is_the_queues(overflow):
    dropped = []
    q = Queue(2, overflow=overflow, on_drop=lambda ticket, why: dropped.append((ticket.future, why)))
    gate = threading.Event()
    with BoundedExecutor(1, queue=q) as pool:
        pool.submit(gate.wait)
        wait_until(q.empty)
        if overflow == "reject":
            futures = [pool.submit(int, i) for i in range(2)]
            with pytest.raises(Overloaded) as refused:
                pool.submit(int)
            assert refused.value.reason == "full"
            assert pool.statistics().refused == 1
            expected = [True, True]
        else:
            futures = [pool.submit(int, i) for i in range(3)]
            expected = [False, True, True] if overflow == "drop_oldest" else [True, True, False]
            assert len(dropped) == 1
            assert dropped[0][0] in futures
            dropped.clear()
        gate.set()
        assert [future.exception(PATIENCE) is None for future in futures] == expected
        assert all(future.exception().reason == "shed" for future in futures if future.exception())
    seen = pool.statistics()
    assert (seen.submitted, seen.completed, seen.dropped) == (1 + len(expected), 1 + sum(expected), len(expected) - sum(expected))


def test_a_worker_that_finds_its_queue_full_where_everybody_is_refused():
    with BoundedExecutor(1, queue=Queue(1, overflow="reject")) as pool:

        def job():
            pool.submit(int)
            pool.submit(int)

        with pytest.raises(Overloaded):
            pool.submit(job).result(PATIENCE)


def test_a_worker_that_finds_its_queue_full():
    with BoundedExecutor(1, queue=Queue(1)) as pool:

        def nested(depth):
            if depth:
                pool.submit(int)
                return 1 + pool.submit(nested, depth - 1).result()
            return 0

        assert pool.submit(nested, 20).result(PATIENCE) == 20


def test_priorities():
    q = PriorityQueue()
    gate = threading.Event()
    ran = []
    with BoundedExecutor(1, queue=q) as pool:
        pool.submit(gate.wait)
        wait_until(q.empty)
        urgent, idle = pool.submitting(priority=-1), pool.submitting(priority=5)
        for i in range(3):
            idle.submit(ran.append, f"idle {i}")
            pool.submit(ran.append, f"plain {i}")
            urgent.submit(ran.append, f"urgent {i}")
        gate.set()
    assert ran == [f"{kind} {i}" for kind in ("urgent", "plain", "idle") for i in range(3)]
    assert repr(urgent).startswith("<sluicegate.Submitting to <sluicegate.BoundedExecutor")


def test_a_worker_that_finds_its_queue_full_and_shut():
    """The job that it would have run itself is refused, and counted once."""
    q = Queue(1)
    go_on = threading.Event()
    pool = BoundedExecutor(1, queue=q)

    def job():
        go_on.wait(PATIENCE)
        pool._pool.closed = True  # by somebody else, between the refusal of the queue and what follows from it
        try:
            pool.submit(int)
        finally:
            pool._pool.closed = False

    future = pool.submit(job)
    wait_until(q.empty)
    waiting = pool.submit(int)
    go_on.set()
    with pytest.raises(RuntimeError, match="after shutdown"):
        future.result(PATIENCE)
    assert waiting.result(PATIENCE) == 0
    pool.shutdown()
    del future  # and with it the error, whose traceback has the job
    gc.collect()
    seen = pool.statistics()
    assert (seen.submitted, seen.completed, seen.dropped) == (2, 2, 0)


class Tenants(Queue):
    """A queue that takes the arguments of FairQueue and a time to live, and remembers them."""

    seen = []

    def put(self, item, block=True, timeout=None, *, key=None, ttl=None):
        self.seen.append((key, ttl))
        super().put(item, block, timeout)

    def put_nowait(self, item, *, key=None, ttl=None):
        self.put(item, False, key=key, ttl=ttl)

    async def put_async(self, item, timeout=None, *, key=None, ttl=None):
        self.seen.append((key, ttl))
        await super().put_async(item, timeout)


def test_options_go_to_the_queue():
    q = Tenants()
    q.seen.clear()
    with BoundedExecutor(2, queue=q) as pool:
        handle = pool.submitting(key="a", ttl=3)
        assert handle.submit(lambda **kwargs: kwargs, key=1, ttl=2).result(PATIENCE) == {"key": 1, "ttl": 2}
        assert list(handle.map(str, range(3), buffersize=2)) == ["0", "1", "2"]
        assert asyncio.run(submitted(handle)) == 5
        pool.submit(int).result(PATIENCE)
        assert q.seen == [("a", 3)] * 5 + [(None, None)]
        with pytest.raises(TypeError, match="got 'priority', which the executor's queue, a Tenants, does not take"):
            pool.submitting(priority=3)


def test_a_job_runner_for_tenants():
    """A FairQueue as the queue of a pool: shares, a tenant's own wait queue and bound, cancellation, and what the queue drops."""
    q = FairQueue(100, per_key=3, weights={"gold": 2}, within="priority", aging=60)
    order, gate = [], threading.Event()
    with BoundedExecutor(1, queue=q) as pool:
        gold, free = pool.submitting(key="gold"), pool.submitting(key="free")
        gold.submit(gate.wait)
        wait_until(q.empty)
        futures = [free.submit(order.append, f"free {number}") for number in range(3)]
        futures += [gold.submit(order.append, f"gold {number}") for number in range(2)]
        futures.append(pool.submitting(key="gold", priority=-1).submit(order.append, "gold, urgent"))
        blocked = spawn(free.submit, order.append, "free 3")
        wait_until(lambda: q.statistics().waiting_putters == 1)  # in its own line: nobody else waits
        other = pool.submitting(key="other").submit(order.append, "other")
        assert futures[1].cancel()
        futures.append(blocked.result(PATIENCE))
        with pytest.raises(TypeError, match=r"needs a key: pass 'key' \(in an executor, to submitting\(\)\), or make the queue with key="):
            pool.submit(int)
        gate.set()
        done = [future for future in [*futures, other] if future is not futures[1]]
        for future in done:
            future.result(PATIENCE)
    assert order[:2] == ["gold, urgent", "free 0"] or order[:2] == ["free 0", "gold, urgent"]
    assert sorted(order) == ["free 0", "free 2", "free 3", "gold 0", "gold 1", "gold, urgent", "other"]
    seen = pool.statistics()
    assert (seen.completed, seen.cancelled) == (8, 1)

    q = FairQueue(2, overflow="drop_newest", key=lambda ticket: "anybody")
    gate.clear()
    with BoundedExecutor(1, queue=q) as pool:
        pool.submit(gate.wait)
        wait_until(q.empty)
        flood = [pool.submitting(key="flood").submit(int) for _ in range(2)]
        quiet = pool.submit(int, 5)
        with pytest.raises(Overloaded, match="its queue has dropped it") as refused:
            flood[1].result(PATIENCE)
        assert refused.value.reason == "shed"
        gate.set()
        assert (flood[0].result(PATIENCE), quiet.result(PATIENCE)) == (0, 5)


@pytest.mark.parametrize(("ttl", "error"), [("x", TypeError), (True, TypeError), (-1, ValueError), (float("nan"), ValueError)])
def test_a_time_to_live_that_is_none(ttl, error):
    """An invalid time to live is refused when the handle is made, and nothing is kept."""
    with BoundedExecutor(1, queue=Tenants()) as pool:
        with pytest.raises(error, match="'ttl'"):
            pool.submitting(ttl=ttl)
        assert pool._pool.places.statistics().held == 0


async def submitted(handle):
    return await (await handle.submit_async(int, 5))


def test_what_expires_in_the_queue():
    q = Tenants()
    gate = threading.Event()
    with BoundedExecutor(1, queue=q) as pool:
        pool.submit(gate.wait)
        wait_until(q.empty)
        future = pool.submitting(ttl=timedelta(seconds=0)).submit(int)
        q.clear()
        with pytest.raises(Overloaded, match="it has waited too long") as refused:
            future.result(PATIENCE)
        assert refused.value.reason == "expired"
        gate.set()


@pytest.mark.parametrize("how", ["expired", "dropped", "cleared", "ended"])
def test_a_job_that_is_dropped_while_its_submitter_waits_for_it(how):
    """The future fails at once. On the free-threaded build the job is not destroyed before its submitter runs again."""
    gate, clock = threading.Event(), ManualClock()
    q = FairQueue(1, key=lambda job: "anybody", overflow="drop_oldest", clock=clock)
    with BoundedExecutor(1, queue=q) as pool:
        pool.submit(gate.wait)
        wait_until(q.empty)
        futures = []

        def submit():
            futures.append(pool.submitting(ttl=1).submit(int))
            with pytest.raises(Overloaded):
                futures[0].result(PATIENCE)

        submitter = spawn(submit)
        wait_until(lambda: futures and futures[0]._condition._waiters)
        if how == "expired":
            clock.advance(1)
        elif how == "dropped":
            pool.submit(int)
        elif how == "cleared":
            q.clear()
        elif how == "ended":
            q.shutdown(immediate=True)
        gate.set()
        submitter.result()


@pytest.mark.parametrize("options", [{"key": "a"}, {"priority": 1}, {"ttl": 1.0}])
def test_options_without_a_queue(options):
    with BoundedExecutor(1, max_pending=1) as pool:
        with pytest.raises(TypeError, match=f"got '{next(iter(options))}', which the executor's queue, a Queue, does not take"):
            pool.submitting(**options)
        assert pool.submitting().submit(int, 4).result(PATIENCE) == 4


# --- the ends of the process -----------------------------------------------------------------------------------------


def test_exit_runs_what_was_accepted():
    out = run_script(
        """
        import sys, time
        from sluicegate import BoundedExecutor
        pool = BoundedExecutor(2, max_pending=100)
        for i in range(10):
            pool.submit(lambda i=i: (time.sleep(0.01), sys.stdout.write(f"{i}\\n")))
        """
    )
    assert sorted(map(int, out.split())) == list(range(10))


def test_exit_with_somebody_waiting():
    out = run_script(
        """
        import threading, time
        from sluicegate import BoundedExecutor
        pool = BoundedExecutor(1, max_pending=0)
        gate = threading.Event()
        pool.submit(gate.wait)
        def late():
            try:
                pool.submit(print, "never")
            except RuntimeError as error:
                print(error)
            gate.set()  # the program ends with the last job
        threading.Thread(target=late, daemon=True).start()
        while not pool.statistics().waiters:
            time.sleep(0.001)
        """
    )
    assert out == "cannot schedule new futures after interpreter shutdown\n"


def test_interrupting_submit():
    """After Ctrl-C in a submit that waits, nothing has been submitted, and no place is lost."""
    run_script(
        """
        import signal, threading, time
        from sluicegate import BoundedExecutor
        pool = BoundedExecutor(1, max_pending=0)
        gate, began = threading.Event(), threading.Event()
        pool.submit(lambda: (began.set(), gate.wait()))
        began.wait()

        def interrupt():
            while not pool.statistics().waiters:
                time.sleep(0.001)
            signal.raise_signal(signal.SIGINT)

        for _ in range(5):
            threading.Thread(target=interrupt).start()
            try:
                pool.submit(print, "never")
            except KeyboardInterrupt:
                pass
            else:
                raise AssertionError
        assert pool.statistics().waiters == 0
        gate.set()
        for i in range(100):
            assert pool.submit(int, i).result() == i
        """
    )


def test_submit_in_a_signal_handler():
    run_script(
        """
        import signal, threading
        from sluicegate import BoundedExecutor
        pool = BoundedExecutor(4, max_pending=100_000)
        futures = []
        signal.signal(signal.SIGALRM, lambda *_: futures.append(pool.submit(int, 1)))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
        for i in range(20_000):
            future = pool.submit(int, i)
            if i % 3 == 0:
                future.cancel()
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert len(pool._threads) <= 4
        assert futures
        assert all(f.result(30) == 1 for f in futures)
        pool.shutdown()
        assert pool.statistics().pending == pool.statistics().running == 0
        """
    )


def test_fork():
    """The child has the pool, without the parent's jobs and threads; the parent's jobs are run once."""
    from helpers import FORKING

    run_script(
        FORKING
        + """
import threading
from sluicegate import BoundedExecutor, Queue

for make in (lambda: BoundedExecutor(2, max_pending=10), lambda: BoundedExecutor(2, queue=Queue(10))):
    pool = make()
    gate, ran = threading.Event(), []
    for i in range(2):
        pool.submit(gate.wait)
    futures = [pool.submit(ran.append, i) for i in range(5)]

    def child():
        assert futures[-1].cancel()  # here, not in the parent
        assert pool.statistics().cancelled == 0
        assert pool._pool.places.statistics().held == 0
        assert [pool.submit(int, i).result(10) for i in range(20)] == list(range(20))
        assert not ran
        with pool:
            pass
        assert pool.statistics().completed == 20

    pid = in_child(child)
    check(pid)
    gate.set()
    for future in futures:
        future.result(10)
    assert sorted(ran) == list(range(5)), ran
    pool.shutdown()
"""
    )


def test_fork_of_a_pool_that_is_shut_down():
    from helpers import FORKING

    run_script(
        FORKING
        + """
from sluicegate import BoundedExecutor
pool = BoundedExecutor(1, max_pending=3)
pool.shutdown()
def child():
    try:
        pool.submit(int)
    except RuntimeError as error:
        assert "after shutdown" in str(error)
    else:
        raise AssertionError
check(in_child(child))
"""
    )


def test_fork_in_a_worker():
    from helpers import FORKING

    run_script(
        FORKING
        + """
from sluicegate import BoundedExecutor
pool = BoundedExecutor(1, max_pending=3)
def job():
    check(in_child(lambda: pool.submit(int, 3).result(10)))
    return 5
assert pool.submit(job).result(30) == 5
pool.shutdown()
"""
    )


def test_the_most_that_may_be_pending():
    """The bound is half of what a semaphore can hold, so that it can be lifted at any time."""
    with BoundedExecutor(2, max_pending=PLENTY - 2) as pool:
        assert pool._pool.places.size == PLENTY
        assert pool.submit(int, "3").result(PATIENCE) == 3
    with pytest.raises(OverflowError, match=f"must not be over {PLENTY} together, got {PLENTY + 1}"):
        BoundedExecutor(2, max_pending=PLENTY - 1)
    assert Semaphore(2 * PLENTY - 1).size == 2 * PLENTY - 1
    with pytest.raises(OverflowError):
        Semaphore(2 * PLENTY)


def test_a_queue_that_merges_jobs_is_refused():
    """One of two jobs with one key would be lost."""
    with pytest.raises(TypeError, match="a CoalescingQueue merges what has the same key"):
        BoundedExecutor(1, queue=CoalescingQueue(10, key=lambda job: 1))
