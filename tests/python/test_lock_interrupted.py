"""A signal handler that raises at a `with` statement of a lock of ours: the lock is not left locked."""

from __future__ import annotations

import signal
import threading

import pytest

from sluicegate import BoundedExecutor, Pipeline, map_bounded
from sluicegate._running import Lock

pytestmark = [
    pytest.mark.thread_unsafe(reason="signals are for the main thread"),
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no setitimer"),
]

INTERRUPTS = 300


@pytest.fixture
def alarm():
    """A function that lets a handler raise soon."""

    def interrupt(_signal, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.0002)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def is_free(lock):
    """Whether another thread can have the lock."""
    got = []
    thread = threading.Thread(target=lambda: got.append(lock.acquire(blocking=False) and lock.release()))
    thread.start()
    thread.join()
    return got == [None]


def test_an_interrupt_leaves_no_lock_locked(alarm):
    lock = Lock()
    for _ in range(INTERRUPTS):
        with pytest.raises(KeyboardInterrupt):
            alarm()
            while True:
                with lock, lock:
                    pass
        assert is_free(lock)


def test_the_locks_are_of_that_kind():
    """Those that a main thread may hold when Ctrl-C comes."""
    with BoundedExecutor(1, max_pending=1) as pool, map_bounded(str, [1], workers=1) as results:
        run = Pipeline([1]).map(str, workers=2).run()
        node = run._run.graph.nodes[1]
        for each in (pool._pool, results._work, run._run, node, node.order):
            assert type(each.lock) is Lock
