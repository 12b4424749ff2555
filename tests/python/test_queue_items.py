"""`q.queue` is the queue itself, with the methods of a deque or a list."""

import copy
import heapq
import queue as stdlib_queue
import threading
from collections import deque
from collections.abc import MutableSequence

import pytest
from helpers import PATIENCE, spawn, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate import Empty, LifoQueue, PriorityQueue, Queue
from sluicegate.testing import ManualClock

KINDS = {"Queue": deque, "LifoQueue": list, "PriorityQueue": list}
OURS = {"Queue": Queue, "LifoQueue": LifoQueue, "PriorityQueue": PriorityQueue}

number = st.integers(-3, 3)
index = st.integers(-4, 4)
EITHER = [
    st.tuples(st.just(name), *arguments)
    for name, arguments in {
        "append": [number],
        "extend": [st.lists(number, max_size=3)],
        "insert": [index, number],
        "remove": [number],
        "count": [number],
        "index": [number],
        "pop": [],
        "clear": [],
        "reverse": [],
        "copy": [],
        "__len__": [],
        "__contains__": [number],
        "__getitem__": [index],
        "__setitem__": [index, number],
        "__delitem__": [index],
        "__repr__": [],
    }.items()
]
FIFO = [st.tuples(st.just(name), *([number] if name == "appendleft" else [])) for name in ("appendleft", "popleft", "rotate")]
LIST = [st.tuples(st.just("sort")), st.tuples(st.just("__getitem__"), st.just(slice(0, 2)))]


def outcome(thing, name, *arguments):
    """What a call comes to."""
    try:
        function = getattr(thing, name) if not name.startswith("__") else getattr(type(thing), name)
        result = function(*arguments) if not name.startswith("__") else function(thing, *arguments)
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        return type(error)
    return list(result) if isinstance(result, deque) else result


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_does_what_the_standard_librarys_does(kind):
    """The same calls on both; afterwards the queues hold the same, and give it back in the same order."""
    extra = FIFO if kind == "Queue" else LIST

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.one_of(*EITHER, *extra), max_size=12))
    def check(calls):
        theirs, ours = getattr(stdlib_queue, kind)(3), OURS[kind](3)
        for each in (theirs, ours):
            each.put(1)
            each.put(2)
        view = ours.queue
        for name, *arguments in calls:
            assert outcome(view, name, *arguments) == outcome(theirs.queue, name, *arguments), name
            assert list(view) == list(theirs.queue)
            assert (ours.qsize(), ours.full(), ours.unfinished_tasks) == (theirs.qsize(), theirs.full(), theirs.unfinished_tasks)
        assert [ours.get_nowait() for _ in range(ours.qsize())] == [theirs.get_nowait() for _ in range(theirs.qsize())]
        with pytest.raises(Empty):
            ours.get_nowait()

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_it_passes_for_the_standard_librarys(kind):
    """`isinstance`, comparisons, copies, iteration, `+` and `+=`."""
    ours = OURS[kind]()
    view = ours.queue
    ours.put_many([1, 2, 3])
    assert isinstance(view, KINDS[kind]) and isinstance(view, MutableSequence)
    assert view == KINDS[kind]([1, 2, 3]) and KINDS[kind]([1, 2, 3]) == view and view != KINDS[kind]()
    assert view < KINDS[kind]([2]) and bool(view)
    assert list(reversed(view)) == [3, 2, 1]
    copied = copy.copy(view)
    view += [4]
    assert (type(copied), list(copied), list(view), ours.qsize()) == (KINDS[kind], [1, 2, 3], [1, 2, 3, 4], 4)
    assert view + KINDS[kind]([5]) == KINDS[kind]([1, 2, 3, 4, 5])
    ours.queue = KINDS[kind]([7])
    assert (list(view), ours.get()) == ([7], 7)
    assert not view
    with pytest.raises(TypeError):
        hash(view)
    with pytest.raises(AttributeError):
        view.no_such_method()


@pytest.mark.parametrize("kind", KINDS)
def test_who_waits_is_woken(kind):
    """An item put by hand goes to a getter that waits; room made by hand lets a putter go; the bound is ignored."""
    clock = ManualClock()
    ours = OURS[kind](1, clock=clock)
    getter = spawn(ours.get)
    clock.wait_for_waiters(1)
    ours.queue.append(5)
    assert getter.result() == 5
    ours.put(1)
    putter = spawn(ours.put, 2)
    clock.wait_for_waiters(1)
    ours.queue.clear()
    putter.result()
    ours.queue.extend([3, 4])
    assert sorted(ours.queue) == [2, 3, 4]
    assert ours.full() and ours.unfinished_tasks == 2


def test_a_heaps_layout_is_heapqs():
    """As the standard library's: what is appended by hand is not sifted."""
    theirs, ours = stdlib_queue.PriorityQueue(), PriorityQueue()
    for n in (5, 3, 8, 1):
        theirs.put(n)
        ours.put(n)
    assert list(ours.queue) == theirs.queue
    ours.queue.append(0)
    theirs.queue.append(0)
    assert list(ours.queue) == theirs.queue
    assert [ours.get() for _ in range(5)] == [theirs.get() for _ in range(5)]
    heap = list(ours.queue)
    heapq.heapify(heap)
    ours.queue = heap


def test_a_pool_that_is_filled_through_the_view():
    """kombu fills its pool so: the length of `q.queue`, asked for once, has to grow."""
    pool = LifoQueue()
    items = pool.queue
    made = 0
    while len(items) < 5:
        pool.put_nowait(made)
        made += 1
    assert (made, pool.qsize()) == (5, 5)


def test_changes_from_many_threads_lose_nothing():
    """Each change is one step, beside puts and gets."""
    ours = Queue()
    view, together = ours.queue, threading.Barrier(4)

    def by_hand(base):
        together.wait(PATIENCE)
        for n in range(150):
            view.append(base + n)

    def as_usual():
        together.wait(PATIENCE)
        return [ours.get(timeout=PATIENCE) for _ in range(300)]

    workers = [spawn(by_hand, base) for base in (0, 1000, 2000)]
    taker = spawn(as_usual)
    for worker in workers:
        worker.result()
    assert sorted(taker.result() + list(view)) == sorted(base + n for base in (0, 1000, 2000) for n in range(150))


def test_a_comparison_that_uses_the_queue():
    """No lock is held while `remove` compares: the comparison may put, and then the change is tried again."""
    ours = Queue()
    puts = []

    class Item:
        def __eq__(self, other):
            if not puts:
                puts.append(1)
                ours.put("more")
            return self is other

        __hash__ = object.__hash__

    first, second = Item(), Item()
    ours.put_many([first, second])
    ours.queue.remove(second)
    assert list(ours.queue)[1:] == ["more"] and ours.get() is first


@pytest.mark.parametrize(("kind", "take", "order"), [(Queue, "popleft", [0, 1, 2]), (LifoQueue, "pop", [2, 1, 0])])
def test_the_next_item_is_taken_without_a_copy_of_the_others(kind, take, order):
    """A program that takes all items one by one takes time in proportion to their number (kombu's pools, when their limit goes)."""
    copies = []

    class Watched(kind):
        def _snapshot(self):
            copies.append(True)
            return super()._snapshot()

    queue = Watched(3)
    for number in range(3):
        queue.put(number)
    putter = spawn(queue.put, 3)
    wait_until(lambda: queue.statistics().waiting_putters == 1)
    with queue.mutex:
        taken = [getattr(queue.queue, take)() for _ in range(2)]
    putter.result()
    assert queue.qsize() == 2
    assert copies == []
    if kind is LifoQueue:
        assert queue.queue.pop() == 3
    taken.append(getattr(queue.queue, take)())
    assert (taken, copies) == (order, [])
    assert (queue.unfinished_tasks, queue.statistics().gets) == (4, 0)
    if kind is Queue:
        assert queue.queue.popleft() == 3
    with pytest.raises(IndexError):
        getattr(queue.queue, take)()
