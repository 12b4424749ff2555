"""`q.batches(max, linger=)`: lists of items until the queue ends."""

import asyncio

import pytest
from helpers import on_loops, spawn

from sluicegate import LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue
from sluicegate.testing import ManualClock


async def lists(batches):
    """With `async for`."""
    return [batch async for batch in batches]


WAYS = {"for": list, "async for": lambda batches: asyncio.run(lists(batches))}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def gather(request):
    """Either way of iterating."""
    return request.param


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(Queue, [[3, 1, 2], [5, 4]]), (LifoQueue, [[4, 5, 2], [1, 3]]), (PriorityQueue, [[1, 2, 3], [4, 5]])],
)
def test_lists_in_the_queues_order(kind, expected, gather):
    """At most `max` items each, until the queue is drained; again, there is nothing."""
    queue = kind()
    queue.put_many([3, 1, 2, 5, 4])
    queue.shutdown()
    batches = queue.batches(3, linger=60)
    assert gather(batches) == expected
    assert gather(batches) == []


def test_an_error_comes_after_the_items(gather):
    """As it does from the iteration over single items."""
    queue = Queue()
    error = OSError("the disk is full")
    queue.put(1)
    queue.fail(error)
    batches = queue.batches(3)
    assert next(batches) == [1]
    with pytest.raises(OSError) as told:
        gather(batches)
    assert told.value is error


def test_a_kill(gather):
    """What was cut short does not look complete."""
    queue = Queue()
    queue.shutdown(immediate=True)
    with pytest.raises(ShutDown):
        gather(queue.batches(3))


def test_the_first_item_waits_for_more():
    """For `linger` seconds, or until the list is full."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    batches = queue.batches(2, linger=10)
    queue.put(1)
    taker = spawn(next, batches)
    clock.wait_for_waiters(1)
    clock.advance(9)
    assert not taker.done()
    clock.advance(1)
    assert taker.result() == [1]
    queue.put_many([2, 3, 4])
    assert next(batches) == [2, 3]


@on_loops
async def test_a_cancelled_wait_takes_nothing():
    """The item that lingers stays in the queue."""
    queue = SimpleQueue()
    task = asyncio.create_task(lists(queue.batches(2, linger=60)))
    await asyncio.sleep(0)
    queue.put(1)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert queue.get_nowait() == 1


@pytest.mark.parametrize(("arguments", "name"), [((0, 0), "max"), ((1.5, 0), "max"), ((1, -1), "linger"), ((1, "1"), "linger")])
def test_arguments_are_checked_at_once(arguments, name):
    """Not when the first list is asked for."""
    with pytest.raises((ValueError, TypeError), match=f"'{name}'"):
        Queue().batches(arguments[0], linger=arguments[1])


def test_it_shows_its_queue():
    """And the size of its batches."""
    q = Queue(3)
    assert repr(q.batches(2)) == f"<batches of up to 2 from {q!r}>"
    assert repr(q.batches(2, linger=0.5)) == f"<batches of up to 2 lingering for 0.5 seconds from {q!r}>"
