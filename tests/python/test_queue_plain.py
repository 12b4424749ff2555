"""A `PriorityQueue` of items that the interpreter compares itself, of others, and of both: always what `heapq` makes of them."""

from __future__ import annotations

import heapq
import random
import sys

import pytest

from sluicegate import Empty, PriorityQueue


class Reversed:
    """An item that is compared by Python code."""

    def __init__(self, number):
        self.number = number

    def __lt__(self, other):
        return self.number > other.number


class Number(int):
    """Not exactly an integer."""


KINDS = {
    "integers": lambda pick: pick.randrange(-5, 5),
    "large integers": lambda pick: pick.randrange(-(2**200), 2**200),
    "floats": lambda pick: pick.choice([0.0, -0.0, 1.5, float("inf"), float("nan"), pick.random()]),
    "strings": lambda pick: pick.choice(["", "a", "ab", "é", "\U0001f6b0", "a\0b"]),
    "numbers of both kinds": lambda pick: pick.choice([pick.randrange(5), pick.random() * 5]),
    "tuples": lambda pick: (pick.randrange(3), pick.choice("abc")),
    "tuples of different lengths": lambda pick: (1,) * pick.randrange(4),
    "tuples with something at their end": lambda pick: (pick.randrange(9), Reversed(pick.randrange(9))),
    "tuples of tuples": lambda pick: ((pick.randrange(3),), pick.randrange(3)),
    "items with a comparison": lambda pick: Reversed(pick.randrange(9)),
    "a subclass": lambda pick: Number(pick.randrange(9)),
    "a subclass among integers": lambda pick: pick.choice([Number, int])(pick.randrange(9)),
    "booleans among integers": lambda pick: pick.choice([True, False, 0, 1, 2]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_arrangement_is_that_of_heapq(kind):
    pick, q, heap = random.Random(kind), PriorityQueue(), []
    for _ in range(2000):
        if pick.random() < 0.6:
            item = KINDS[kind](pick)
            q.put(item)
            heapq.heappush(heap, item)
        elif heap:
            assert q.get_nowait() is heapq.heappop(heap)
        else:
            with pytest.raises(Empty):
                q.get_nowait()
        assert q.qsize() == len(heap)
    assert [id(item) for item in list(q.queue)] == [id(item) for item in heap]
    seen = q.statistics()
    assert seen.puts - seen.gets == seen.size == len(heap)


@pytest.mark.parametrize("pair", [(1, "a"), ((1, "a"), (1, 2)), ((1, None), (1, object())), (1.5, "a"), (None, None)])
def test_items_that_do_not_compare(pair):
    """The error is Python's own, and what is in the queue then is what `heapq` leaves."""
    q, heap = PriorityQueue(), []
    for put in (lambda item: q.put(item), lambda item: heapq.heappush(heap, item)):
        put(pair[0])
        with pytest.raises(TypeError, match="not supported between instances"):
            put(pair[1])
    assert list(q.queue) == heap
    assert q.qsize() == len(heap)


def test_identical_elements_are_equal():
    """As in a comparison of tuples: a NaN is equal to itself there."""
    nan = float("nan")
    q = PriorityQueue()
    for item in (nan, 2), (nan, 1), (nan, 3):
        q.put(item)
    assert [q.get()[1] for _ in range(3)] == [1, 2, 3]


def test_a_comparison_near_the_limit_of_recursion_does_not_fail():
    q = PriorityQueue()

    def dive(depth):
        if depth:
            dive(depth - 1)
        else:
            q.put(2)
            q.put(1)
            assert (q.get(), q.get()) == (1, 2)

    limit = sys.getrecursionlimit()
    reached = 0
    for depth in range(limit - 200, limit):
        try:
            dive(depth)
        except RecursionError:
            break
        reached += 1
    assert reached
    assert q.qsize() == 0


def test_references_are_counted():
    item = 2**70 + random.randrange(2**60)
    before = sys.getrefcount(item)
    q = PriorityQueue(2)
    for _ in range(100):
        q.put(item)
        q.put(1)
        assert not q.full() or q.offer(item).accepted is False
        assert q.get() == 1
        assert q.get() is item
    assert sys.getrefcount(item) == before
