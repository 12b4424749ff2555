"""A signal handler that raises in the middle of `Thread.start`: nothing hangs later, and no worker is one too many."""

from __future__ import annotations

import gc
import threading

import pytest
from helpers import wait_until

from sluicegate import Batcher, BoundedExecutor, Pipeline, map_bounded, prefetch

_start = threading.Thread.start


class Interruption:
    """The first start of a thread of ours raises KeyboardInterrupt: before the thread runs, or after."""

    def __init__(self, monkeypatch, when):
        self.when, self.started, self.is_over = when, [], False
        interruption = self

        def start(thread):
            if interruption.is_over:
                interruption.started.append(thread)
                return _start(thread)
            interruption.is_over = True
            if interruption.when == "after":
                interruption.started.append(thread)
                _start(thread)
            raise KeyboardInterrupt

        monkeypatch.setattr(threading.Thread, "start", start)

    def leave(self, count):
        """No more than these threads go on. (One whose start was given up before its first line ends by itself, and another is started.)"""
        assert len(self.started) <= 2
        wait_until(lambda: sum(thread.is_alive() for thread in self.started) <= count)


@pytest.fixture(params=["before", "after"])
def interruption(request, monkeypatch):
    return Interruption(monkeypatch, request.param)


pytestmark = pytest.mark.thread_unsafe(reason="it patches Thread.start")


def test_executor(interruption):
    pool = BoundedExecutor(1, max_pending=9)
    with pytest.raises(KeyboardInterrupt):
        pool.submit(int, 1)
    assert [pool.submit(int, n).result(20) for n in range(3)] == [0, 1, 2]
    interruption.leave(1)
    pool.shutdown(wait=True)
    interruption.leave(0)


def test_batcher(interruption):
    with Batcher(lambda items: [n + 1 for n in items], max=1) as batcher:
        with pytest.raises(KeyboardInterrupt):
            batcher.call(1)
        assert [batcher.call(n) for n in range(3)] == [1, 2, 3]
        interruption.leave(1)
    interruption.leave(0)


def test_map_bounded(interruption):
    results = map_bounded(int, ["1", "2", "3"], workers=1)
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert list(results) in ([1, 2, 3], [])
    interruption.leave(0)


def test_prefetch(interruption):
    items = prefetch(iter(range(3)), 1)
    with pytest.raises(KeyboardInterrupt):
        next(items)
    assert list(items) == [0, 1, 2]
    interruption.leave(0)


@pytest.mark.parametrize("is_async", [False, True])
def test_pipeline(interruption, is_async):
    async def same(item):
        return item

    # The last stage is started first, and a coroutine function needs a thread for its event loop.
    pipeline = Pipeline(range(3)).map(same if is_async else int)
    with pytest.raises(KeyboardInterrupt):
        pipeline.start()
    interruption.leave(0)
    gc.collect()  # what has not been closed would be told
    assert list(pipeline) == [0, 1, 2]
