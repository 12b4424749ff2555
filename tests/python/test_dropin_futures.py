"""The standard library's pools with our queues in the place of theirs: thread pools, `multiprocessing.pool`, `sched`."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.thread
import multiprocessing.pool
import queue
import sched
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from helpers import collect, run_script, wait_until

import sluicegate

# What the standard library's modules see when they look for `queue`.
OURS = types.ModuleType("queue")
for name in ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "Empty", "Full", "ShutDown"):
    setattr(OURS, name, getattr(sluicegate, name))

Executor = Callable[..., concurrent.futures.ThreadPoolExecutor]

pytestmark = pytest.mark.thread_unsafe(reason="swaps a module's name")


@pytest.fixture(params=["SimpleQueue", "Queue"])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Executor:
    """Makes thread pools that work through a queue of ours."""
    cls = getattr(sluicegate, request.param)
    swapped = types.ModuleType("queue")
    swapped.SimpleQueue, swapped.Empty = cls, queue.Empty
    monkeypatch.setattr(concurrent.futures.thread, "queue", swapped)

    def make(*args: Any, **kwargs: Any) -> concurrent.futures.ThreadPoolExecutor:
        pool = concurrent.futures.ThreadPoolExecutor(*args, **kwargs)
        assert type(pool._work_queue) is cls
        return pool

    return make


def test_submit_and_map(executor: Executor) -> None:
    with executor(4) as pool:
        futures = [pool.submit(pow, 2, n) for n in range(200)]
        assert [future.result(30) for future in futures] == [2**n for n in range(200)]
        assert list(pool.map(lambda a, b: a * b, range(100), range(100), timeout=30)) == [n * n for n in range(100)]


def test_an_exception_is_the_futures(executor: Executor) -> None:
    with executor(1) as pool:
        future = pool.submit(lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            future.result(30)


def test_as_completed_and_wait(executor: Executor) -> None:
    go = threading.Event()
    with executor(2) as pool:
        slow, fast = pool.submit(go.wait, 30), pool.submit(lambda: "fast")
        done, pending = concurrent.futures.wait([slow, fast], 30, concurrent.futures.FIRST_COMPLETED)
        assert (done, pending) == ({fast}, {slow})
        go.set()
        assert {future.result() for future in concurrent.futures.as_completed([slow, fast], 30)} == {True, "fast"}


def test_shutdown_cancels_what_has_not_begun(executor: Executor) -> None:
    go, begun = threading.Event(), threading.Event()

    def first() -> str:
        begun.set()
        go.wait(30)
        return "ran"

    pool = executor(1)
    running = pool.submit(first)
    waiting = [pool.submit(lambda: "never") for _ in range(5)]
    assert begun.wait(30)
    pool.shutdown(wait=False, cancel_futures=True)
    go.set()
    pool.shutdown()
    assert running.result(30) == "ran"
    assert all(future.cancelled() for future in waiting)


def test_an_initializer_that_fails_breaks_the_pool(executor: Executor, caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()

    def initialize() -> None:
        go.wait(30)
        raise ZeroDivisionError

    pool = executor(1, initializer=initialize)
    futures = [pool.submit(int) for _ in range(3)]
    go.set()
    for future in futures:
        with pytest.raises(concurrent.futures.BrokenExecutor):
            future.result(30)
    pool.shutdown()


def test_workers_end_when_the_pool_is_dropped(executor: Executor) -> None:
    pool = executor(3)
    pool.submit(int).result(30)
    workers, gone = list(pool._threads), weakref.ref(pool)
    del pool
    collect()
    assert gone() is None
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive()


def test_a_pool_that_nobody_shuts_down_does_not_keep_the_interpreter() -> None:
    told = run_script(
        """
        import concurrent.futures, concurrent.futures.thread, queue, types, sluicegate
        swapped = types.ModuleType("queue")
        swapped.SimpleQueue, swapped.Empty = sluicegate.SimpleQueue, queue.Empty
        concurrent.futures.thread.queue = swapped
        pool = concurrent.futures.ThreadPoolExecutor(4)
        print(sum(pool.map(int, range(50))))
        """
    )
    assert told == "1225\n"


# --- multiprocessing.pool.ThreadPool, which is built of SimpleQueues -----------------------------------------------


@pytest.fixture
def thread_pool(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], multiprocessing.pool.ThreadPool]:
    monkeypatch.setattr(multiprocessing.pool, "queue", OURS)

    def make(workers: int) -> multiprocessing.pool.ThreadPool:
        pool = multiprocessing.pool.ThreadPool(workers)
        assert type(pool._taskqueue) is sluicegate.SimpleQueue
        return pool

    return make


def test_a_thread_pool(thread_pool: Any) -> None:
    with thread_pool(3) as pool:
        assert pool.map(str, range(100)) == [str(n) for n in range(100)]
        assert pool.apply(divmod, (7, 2)) == (3, 1)
        assert sorted(pool.imap_unordered(abs, range(-50, 0), chunksize=7)) == list(range(1, 51))
        assert pool.starmap_async(pow, [(2, n) for n in range(10)]).get(30) == [2**n for n in range(10)]
        with pytest.raises(ZeroDivisionError):
            pool.apply_async(divmod, (1, 0)).get(30)
        pool.close()
        pool.join()


def test_a_thread_pool_that_is_ended_at_once(thread_pool: Any) -> None:
    go = threading.Event()
    pool = thread_pool(2)
    pool.map_async(lambda n: go.wait(30), range(20), chunksize=1)
    go.set()
    pool.terminate()
    pool.join()


# --- sched -----------------------------------------------------------------------------------------------------------


def test_a_scheduler_that_reports_through_a_queue(threads: Any) -> None:
    # CPython's test of sched does so, with queue.Queue.
    now, ticks = 0, sluicegate.Queue(1)
    seen: sluicegate.Queue[Any] = sluicegate.Queue()

    def time() -> int:
        return now

    def sleep(seconds: float) -> None:
        nonlocal now
        if seconds:
            now = max(now, ticks.get(timeout=30))

    scheduler = sched.scheduler(time, sleep)
    for at in (3, 1, 2):
        scheduler.enter(at, 1, seen.put, (at,))
    running = threads(scheduler.run)
    for tick in (1, 2, 3):
        ticks.put(tick, timeout=30)
        assert seen.get(timeout=30) == tick
    running.result()
    assert seen.empty()
    wait_until(lambda: not running.is_alive())
