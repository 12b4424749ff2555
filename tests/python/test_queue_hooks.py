"""Subclasses whose hooks keep fewer items than are put."""

import sys

import pytest
from helpers import spawn

from sluicegate import LifoQueue, PriorityQueue, Queue, SimpleQueue
from sluicegate.testing import ManualClock


class Newest(Queue):
    """The guide's recipe: keeps the newest item only."""

    def _init(self, maxsize):
        self.items = []

    def _qsize(self):
        return len(self.items)

    def _put(self, item):
        for _ in self.items:
            self.task_done()
        self.items[:] = [item]

    def _get(self):
        return self.items.pop()


class Unique(Queue):
    """Keeps each item once, as watchdog's queue of events does."""

    def _init(self, maxsize):
        self.items = {}

    def _qsize(self):
        return len(self.items)

    def _put(self, item):
        self.items.setdefault(item)

    def _get(self):
        item = next(iter(self.items))
        del self.items[item]
        return item


@pytest.mark.parametrize("kind", [Newest, Unique])
@pytest.mark.parametrize("put", [lambda q, item: q.put(item), lambda q, item: q.put_nowait(item), lambda q, item: q.put_many([item] * 3)])
def test_size_and_peak_are_what_the_hooks_keep(kind, put):
    queue = kind()
    for _ in range(3):
        put(queue, "item")
    seen = queue.statistics()
    assert (seen.size, seen.peak_size) == (1, 1)
    assert "size=1 " in repr(queue)


def test_join_with_items_that_are_replaced():
    """It returns when the last item is done, and not while one takes another's place."""
    clock = ManualClock()
    queue = Newest(clock=clock)
    queue.put(1)
    joining = spawn(queue.join)
    clock.wait_for_waiters(1)
    for item in range(2, 5):
        queue.put(item)
        assert queue.unfinished_tasks == 1
    assert clock.waiters == 1, "it has not been woken"
    assert queue.get() == 4
    queue.task_done()
    joining.result()
    queue.join(timeout=0)


def test_join_does_not_return_in_the_middle_of_a_put():
    """The count is zero for a moment, on the thread that puts; nobody else sees that."""
    queue = Newest()
    told = []

    class Asking(Newest):
        def _put(self, item):
            super()._put(item)
            if self.unfinished_tasks == 0 and told == ["put"]:
                told.append(spawn(self.join, 0).exception())

    queue = Asking()
    queue.put(1)
    told.append("put")
    queue.put(2)
    assert isinstance(told[1], TimeoutError)
    assert queue.unfinished_tasks == 1


def test_what_is_done_while_another_thread_puts_is_noticed():
    """`join` waits for the end of the put, and then returns if there is nothing."""

    class Doing(Queue):
        def _put(self, item):
            if item == "discarded":
                spawn(self.task_done).result()
                return
            super()._put(item)

    queue = Doing()
    queue.put(1)
    queue.get()
    joining = spawn(queue.join)
    queue.put("discarded")
    assert queue.unfinished_tasks == 1
    queue.task_done()
    joining.result()


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue, SimpleQueue])
def test_getsizeof_counts_the_buffer(kind):
    """Eight bytes for each item, at least; and no item is asked."""
    queue = kind()
    before = sys.getsizeof(queue)
    for item in range(10_000):
        queue.put(item)
    full = sys.getsizeof(queue)
    assert full >= before + 80_000
    for _ in range(10_000):
        queue.get()
    assert sys.getsizeof(queue) <= full
