"""A program replaces `wait` of a queue's condition: `put`, `get` and `join` call it where they would wait, as in the standard library.

(`queue.Queue` runs the same tests. The tests of watchdog 7.1 do so to learn when a producer waits.)
"""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest
from helpers import spawn, wait_until

import sluicegate
from sluicegate import Full, Queue
from sluicegate.testing import ManualClock


class Hooked(Queue[Any]):
    """Its items are kept in Python."""

    def _put(self, item: Any) -> None:
        super()._put(item)

    def _get(self) -> Any:
        return super()._get()


QUEUES = {
    "theirs": queue.Queue,
    "ours": Queue,
    "hooked": Hooked,
    "lifo": sluicegate.LifoQueue,
    "priority": sluicegate.PriorityQueue,
}


@pytest.fixture(params=QUEUES.values(), ids=QUEUES)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


class Recorder:
    """Takes the place of a condition's `wait`, which it calls."""

    def __init__(self, condition: Any) -> None:
        self.original = condition.wait
        self.timeouts: list[Any] = []
        self.waiting = threading.Event()
        condition.wait = self

    def __call__(self, *args: Any) -> Any:
        self.timeouts.append(args)
        self.waiting.set()
        return self.original(*args)


def test_put_calls_it(kind: Any) -> None:
    q = kind(1)
    q.put(1)
    wait = Recorder(q.not_full)
    putter = spawn(lambda: q.put(2, timeout=30))
    assert wait.waiting.wait(10)
    assert q.qsize() == 1
    assert q.get() == 1
    putter.result()
    assert q.get() == 2
    assert q.unfinished_tasks == 2
    (timeout,) = wait.timeouts[0]
    assert 0 < timeout <= 30


def test_get_calls_it(kind: Any) -> None:
    q = kind()
    wait = Recorder(q.not_empty)
    getter = spawn(q.get)
    assert wait.waiting.wait(10)
    q.put("item")
    assert getter.result() == "item"
    assert wait.timeouts[0] == ()


def test_join_calls_it(kind: Any) -> None:
    q = kind()
    q.put(1)
    wait = Recorder(q.all_tasks_done)
    joiner = spawn(q.join)
    assert wait.waiting.wait(10)
    q.get()
    q.task_done()
    joiner.result()
    assert wait.timeouts[0] == ()


def test_what_need_not_wait_does_not_call_it(kind: Any) -> None:
    q = kind(1)
    waits = [Recorder(condition) for condition in (q.not_full, q.not_empty, q.all_tasks_done)]
    q.join()
    q.put(1)
    with pytest.raises(queue.Full):
        q.put(2, block=False)
    with pytest.raises(queue.Full):
        q.put_nowait(2)
    assert q.get() == 1
    with pytest.raises(queue.Empty):
        q.get_nowait()
    with pytest.raises(ValueError, match="timeout"):
        q.get(timeout=-1)
    assert [wait.timeouts for wait in waits] == [[], [], []]


def test_a_wait_that_comes_back_too_early_is_called_again(kind: Any) -> None:
    q = kind(1)
    q.put(1)
    calls = []

    def wait(timeout: float | None = None) -> bool:
        calls.append(timeout)
        if len(calls) == 3:
            assert q.mutex.locked()
            q.maxsize = 2  # the mutex is held
        return True

    q.not_full.wait = wait
    q.put(2)
    assert calls == [None] * 3
    assert sorted([q.get(), q.get()]) == [1, 2]


def test_the_time_is_over_where_it_does_not_wait(kind: Any) -> None:
    q = kind(1)
    q.put(1)
    q.not_full.wait = lambda timeout=None: None
    with pytest.raises(queue.Full):
        q.put(2, timeout=0.01)
    q.not_empty.wait = lambda timeout=None: None
    assert q.get() == 1
    with pytest.raises(queue.Empty):
        q.get(timeout=0.01)
    assert not q.mutex.locked()


def test_what_it_raises_comes_out_of_the_operation(kind: Any) -> None:
    q = kind(1)
    q.put(1)

    def wait(timeout: float | None = None) -> bool:
        raise RuntimeError("enough")

    q.not_full.wait = wait
    with pytest.raises(RuntimeError, match="enough"):
        q.put(2)
    assert not q.mutex.locked()
    assert q.qsize() == 1
    assert q.get() == 1


@pytest.mark.parametrize("end", ["assigned", "deleted"])
def test_its_own_wait_can_come_back(end: str) -> None:
    q = Queue(1)
    q.put(1)
    wait = Recorder(q.not_full)
    if end == "assigned":
        q.not_full.wait = wait.original
    else:
        del q.not_full.wait
    putter = spawn(lambda: q.put(2))
    wait_until(lambda: q.statistics().waiting_putters == 1)
    assert not wait.timeouts
    assert [q.get(), q.get()] == [1, 2]
    putter.result()


def test_the_queues_clock_counts() -> None:
    clock = ManualClock()
    q = Queue(1, clock=clock)
    q.put(1)
    timeouts = []

    def wait(timeout: float) -> None:
        timeouts.append(timeout)
        clock.advance(2)

    q.not_full.wait = wait
    with pytest.raises(Full):
        q.put(2, timeout=5)
    assert timeouts == [5, 3, 1]


def test_an_item_that_expires_meanwhile_is_not_put() -> None:
    clock = ManualClock()
    q = Queue(1, clock=clock)
    q.put(1)
    timeouts = []

    def wait(timeout: float) -> None:
        timeouts.append(timeout)
        clock.advance(2)

    q.not_full.wait = wait
    with pytest.raises(Full):
        q.put(2, ttl=3)
    assert timeouts[:2] == [3, 1]
    assert q.get() == 1


def test_the_holder_of_the_mutex_is_told_that_it_would_wait() -> None:
    q = Queue(1)
    q.put(1)
    wait = Recorder(q.not_full)
    with q.mutex, pytest.raises(RuntimeError, match="would have to wait"):
        q.put(2)
    assert not wait.timeouts


def test_a_shutdown_ends_it(kind: Any) -> None:
    if not hasattr(kind, "shutdown"):
        pytest.skip("no shutdown before 3.13")
    q = kind(1)
    q.put(1)
    wait = Recorder(q.not_full)

    def put() -> str:
        try:
            q.put(2)
        except Exception as error:
            return type(error).__name__
        return "put"

    putter = spawn(put)
    assert wait.waiting.wait(10)
    q.shutdown()
    assert putter.result() == "ShutDown"


def cleared(q: Any) -> None:
    q.clear()


def changed_maxsize(q: Any) -> None:
    q.maxsize = 2


def changed_policy(q: Any) -> None:
    q.overflow = "drop_newest"


@pytest.mark.parametrize("change", [cleared, changed_maxsize, changed_policy], ids=["clear", "maxsize", "overflow"])
@pytest.mark.parametrize("name", [name for name in QUEUES if name != "theirs"])
def test_room_that_no_get_has_made_ends_it(name: str, change: Any) -> None:
    q: Any = QUEUES[name](1)
    q.put(1)
    wait = Recorder(q.not_full)
    putter = spawn(lambda: q.put(2))
    assert wait.waiting.wait(10)
    with q.mutex:
        pass  # the putter has given it back: it waits to be notified
    change(q)
    putter.result()
    assert len(wait.timeouts) == 1


def test_a_larger_max_weight_ends_it() -> None:
    q = Queue[str](0, weigh=len, max_weight=3)
    q.put("one")
    wait = Recorder(q.not_full)
    putter = spawn(lambda: q.put("two"))
    assert wait.waiting.wait(10)
    with q.mutex:
        pass
    q.max_weight = 6
    putter.result()
    assert q.qsize() == 2


def test_clear_notifies_a_waiter_for_each_place() -> None:
    q = Queue[int](3)
    q.put_many([1, 2, 3])
    woken: list[bool] = []
    entered = threading.Semaphore(0)

    def wait() -> None:
        with q.mutex:
            entered.release()
            woken.append(q.not_full.wait(30))

    waiters = [spawn(wait) for _ in range(3)]
    for _ in waiters:
        assert entered.acquire(timeout=10)
    with q.mutex:
        pass  # all of them have given it back
    q.clear()
    for waiter in waiters:
        waiter.result()
    assert woken == [True] * 3
