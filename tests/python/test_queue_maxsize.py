"""`maxsize` and the bound that is kept are one thing, and a put asks about the bound that there is when it is tried."""

from __future__ import annotations

import threading

import pytest
from helpers import spawn

from sluicegate import Full, Queue
from sluicegate.testing import ManualClock


def bound_kept(queue):
    """How many items the queue really takes."""
    count = 0
    while count < 10:
        try:
            queue.put_nowait(count)
        except Full:
            break
        count += 1
    return count


class Bound(int):
    """A `maxsize` that does something when it is displaced."""

    def __new__(cls, value, then):
        self = super().__new__(cls, value)
        self.then = then
        return self

    def __del__(self):
        self.then()


def test_an_assignment_in_the_middle_of_another():
    """What displacing the old `maxsize` assigns comes wholly after the assignment that displaced it."""
    queue = Queue()
    queue.maxsize = Bound(2, lambda: setattr(queue, "maxsize", 1))
    queue.maxsize = 3
    assert queue.maxsize == 1
    assert bound_kept(queue) == 1


@pytest.mark.thread_unsafe(reason="starts threads of its own, many times")
def test_two_assignments_at_once():
    """Whichever of two threads comes last, the attribute and the bound are both its."""
    queue = Queue(5)
    start, end = threading.Barrier(3), threading.Barrier(3)
    rounds = 1000

    def assign(value):
        for _ in range(rounds):
            start.wait()
            queue.maxsize = value
            end.wait()

    threads = [spawn(assign, value) for value in (1, 3)]
    torn = 0
    for _ in range(rounds):
        start.wait()
        end.wait()
        torn += bound_kept(queue) != queue.maxsize
        queue.clear()
    for thread in threads:
        thread.result()
    assert torn == 0


def test_a_queue_made_anew_is_never_without_its_bound():
    """`__init__` of a queue that is in use empties it and bounds it in one step."""
    queue = Queue()
    taken = []
    queue.maxsize = Bound(5, lambda: taken.append(bound_kept(queue)))
    queue.__init__(1)
    assert taken == [1]
    assert queue.qsize() == 1


class Bounding(Queue):
    """Its `_qsize`, called in the middle of a put, assigns `maxsize`."""

    bound = None

    def _init(self, maxsize):
        self.held = []

    def _qsize(self):
        if self.bound is not None:
            self.maxsize, self.bound = self.bound, None
        return len(self.held)

    def _put(self, item):
        self.held.append(item)

    def _get(self):
        return self.held.pop(0)


@pytest.mark.parametrize(
    "put",
    [
        pytest.param(lambda queue: queue.put_nowait(2), id="put_nowait"),
        pytest.param(lambda queue: queue.put(2, False), id="block=False"),
        pytest.param(lambda queue: queue.put(2, timeout=0), id="timeout=0"),
    ],
)
def test_a_bound_that_is_set_during_a_put_counts(put):
    """A put that may not wait does not wait because there was no bound when it was called."""
    queue = Bounding()
    queue.put(1)
    queue.bound = 1
    assert isinstance(spawn(put, queue).exception(), Full)
    assert queue.held == [1]


def test_a_put_with_a_timeout_keeps_it_when_a_bound_is_set_during_it():
    """The time runs from when the put begins to wait."""
    clock = ManualClock()
    queue = Bounding(clock=clock)
    queue.put(1)
    queue.bound = 1
    putter = spawn(queue.put, 2, timeout=5)
    clock.wait_for_waiters(1)
    clock.advance(5)
    assert isinstance(putter.exception(), Full)


def test_a_bound_that_cannot_be_compared_is_reported_whenever_it_is_set():
    """A `maxsize` that is no number raises what comparing it raises, also when it is assigned in the middle of a put."""
    queue = Bounding()
    queue.put(1)
    queue.bound = "many"
    assert isinstance(spawn(queue.put, 2).exception(), TypeError)
