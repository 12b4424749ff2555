"""The line of waiters: first come, first served, threads and tasks together; who may overtake, and how often.

No clock and no race here: a task that was woken does not run before the test lets the loop go on, so the test stands
between the wake-up and its use for as long as it likes.
"""

from __future__ import annotations

import asyncio
import gc

import pytest
from helpers import PATIENCE, LoopThread, on_loops, settle, spawn, step, wait_until

from sluicegate import Full, Queue
from sluicegate.testing import ManualClock


async def waiting(*coroutines):
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    await settle()
    assert not any(task.done() for task in tasks)
    return tasks


def close(coroutine):
    """Ends a coroutine that was stepped by hand."""
    coroutine.close()


# --------------------------------------------------------------------------------------------- first come, first served


def test_getters_are_served_in_order_of_arrival():
    """Threads that wait: the n-th item goes to the n-th waiter."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    getters = []
    for number in range(6):
        getters.append(spawn(queue.get))
        clock.wait_for_waiters(number + 1)
    for number, getter in enumerate(getters):
        queue.put(number)
        assert getter.result() == number


def test_putters_are_served_in_order_of_arrival():
    """Putters that wait: items enter in the order in which their putters came."""
    clock = ManualClock()
    queue = Queue(1, clock=clock)
    queue.put(0)
    putters = []
    for number in range(1, 6):
        putters.append(spawn(queue.put, number))
        clock.wait_for_waiters(number)
    for number in range(5):
        assert queue.get() == number
        putters[number].result()
    assert queue.get() == 5


def test_threads_and_tasks_stand_in_one_line():
    """A line of a thread, a task, a thread, a task of another loop: served in that order."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    with LoopThread() as one, LoopThread() as two:
        served = []

        def thread_getter(number):
            served.append((number, queue.get()))

        async def task_getter(number):
            served.append((number, await queue.get_async()))

        line = []
        for number, start in enumerate(
            [
                lambda n: spawn(thread_getter, n),
                lambda n: one.submit(task_getter(n)),
                lambda n: spawn(thread_getter, n),
                lambda n: two.submit(task_getter(n)),
                lambda n: one.submit(task_getter(n)),
                lambda n: spawn(thread_getter, n),
            ]
        ):
            line.append(start(number))
            clock.wait_for_waiters(number + 1)
        for number, waiter in enumerate(line):
            queue.put(number)
            waiter.result(PATIENCE)
        assert served == [(number, number) for number in range(6)]


@on_loops
async def test_tasks_are_served_in_order_of_arrival():
    """Many items at once: the tasks of one loop resume in the order of the line."""
    queue = Queue()
    served = []

    async def getter(number):
        served.append((number, await queue.get_async()))

    tasks = await waiting(*(getter(number) for number in range(20)))
    queue.put_many(range(20))
    await asyncio.gather(*tasks)
    assert served == [(number, number) for number in range(20)]


@on_loops
async def test_one_item_wakes_one_waiter():
    """A put wakes the head of the line and nobody else."""
    queue = Queue()
    ran = []

    async def getter(number):
        ran.append(await queue.get_async())

    tasks = await waiting(*(getter(number) for number in range(5)))
    queue.put_nowait("only")
    await settle()
    assert ran == ["only"]
    assert queue.statistics().waiting_getters == 4
    assert [task.done() for task in tasks] == [True, False, False, False, False]


@on_loops
async def test_a_waiter_that_left_loses_its_place_only():
    """Those behind a cancelled waiter move up, in order."""
    queue = Queue()
    tasks = await waiting(*(queue.get_async() for _ in range(4)))
    tasks[0].cancel()
    tasks[2].cancel()
    await settle()
    queue.put_many(["first", "second"])
    assert await tasks[1] == "first"
    assert await tasks[3] == "second"


# ------------------------------------------------------------------------------------------- overtaking, and the door


@on_loops
async def test_an_arrival_may_overtake_a_woken_getter():
    """The woken waiter that finds nothing keeps its place at the head."""
    queue = Queue()
    head, behind = await waiting(queue.get_async(), queue.get_async())
    queue.put_nowait(1)
    assert step(queue.get_async()) == (True, 1)
    await settle()
    assert not head.done()
    assert queue.statistics().waiting_getters == 2
    queue.put_nowait(2)
    await settle()
    assert await head == 2
    assert not behind.done()
    queue.put_nowait(3)
    assert await behind == 3


@on_loops
async def test_after_the_second_miss_the_door_is_shut():
    """At most overtaken twice, as the guarantees say: then it is served next, and arrivals go to the end of the line."""
    queue = Queue()
    (head,) = await waiting(queue.get_async())
    for stolen in (1, 2):
        queue.put_nowait(stolen)
        assert step(queue.get_async()) == (True, stolen)
        await settle()
        assert not head.done()
    queue.put_nowait(3)
    arrival = queue.get_async()
    assert step(arrival) == (False, None)
    assert queue.qsize() == 1
    assert await head == 3
    close(arrival)
    assert queue.statistics().waiting_getters == 0


@on_loops
async def test_the_door_opens_again_once_the_waiter_is_served():
    """Only the one who missed is protected: afterwards arrivals take what is there."""
    queue = Queue()
    (head,) = await waiting(queue.get_async())
    for stolen in (1, 2):
        queue.put_nowait(stolen)
        assert queue.get_nowait() == stolen
        await settle()
    queue.put_many([3, 4])
    arrival = asyncio.create_task(queue.get_async())
    assert await head == 3
    assert await arrival == 4
    queue.put_nowait(5)
    assert step(queue.get_async()) == (True, 5)


@on_loops
async def test_arrivals_at_a_shut_door_are_served_in_order():
    """Arrivals that had to join the wait queue are behind, in order of arrival."""
    queue = Queue()
    (head,) = await waiting(queue.get_async())
    for stolen in (1, 2):
        queue.put_nowait(stolen)
        assert queue.get_nowait() == stolen
        await settle()
    queue.put_many([3, 4, 5])
    served = []

    async def arrive(number):
        served.append((number, await queue.get_async()))

    arrivals = [asyncio.create_task(arrive(number)) for number in range(2)]
    assert await head == 3
    await asyncio.gather(*arrivals)
    assert served == [(0, 4), (1, 5)]


@on_loops
async def test_the_door_opens_when_the_waiter_leaves():
    """A protected waiter that is cancelled opens the door behind it: nobody sleeps beside an item."""
    queue = Queue()
    (head,) = await waiting(queue.get_async())
    for stolen in (1, 2):
        queue.put_nowait(stolen)
        assert queue.get_nowait() == stolen
        await settle()
    queue.put_nowait(3)
    arrival = asyncio.create_task(queue.get_async())
    head.cancel()
    await settle()
    assert await arrival == 3
    queue.put_nowait(4)
    assert step(queue.get_async()) == (True, 4)


@on_loops
async def test_nowait_is_never_refused_with_an_item_there():
    """`get_nowait` never waits, so the door cannot send it to the line: with an item there it is not `Empty`."""
    queue = Queue()
    (head,) = await waiting(queue.get_async())
    for stolen in range(5):
        queue.put_nowait(stolen)
        assert queue.qsize() == 1
        assert queue.get_nowait() == stolen
        await settle()
        assert not head.done()
    queue.put_nowait("at last")
    assert await head == "at last"


@on_loops
async def test_the_door_for_putters():
    """The same on the producers' side: after two misses a waiting putter is next."""
    queue = Queue(1)
    queue.put_nowait("old")
    (head,) = await waiting(queue.put_async("head"))
    for _ in range(2):
        queue.get_nowait()
        assert step(queue.put_async("overtaker")) == (True, None)
        await settle()
        assert not head.done()
    queue.get_nowait()
    arrival = queue.put_async("arrival")
    assert step(arrival) == (False, None)
    await head
    assert queue.get_nowait() == "head"
    close(arrival)
    assert queue.qsize() == 0
    queue.put_nowait("later")
    assert queue.get_nowait() == "later"


@on_loops
async def test_put_nowait_is_never_refused_with_room():
    """`put_nowait` is not `Full` while there is room, door or no door."""
    queue = Queue(1)
    queue.put_nowait(0)
    (head,) = await waiting(queue.put_async("head"))
    for number in range(1, 5):
        queue.get_nowait()
        queue.put_nowait(number)
        await settle()
        assert not head.done()
    with pytest.raises(Full):
        queue.put_nowait("no room")
    queue.get_nowait()
    await head


@on_loops
async def test_batches_respect_the_door():
    """An arriving `get_many_async` is an arrival like any other."""
    queue = Queue()
    (head,) = await waiting(queue.get_async())
    for stolen in (1, 2):
        queue.put_nowait(stolen)
        assert step(queue.get_many_async(5)) == (True, [stolen])
        await settle()
    queue.put_nowait(3)
    arrival = queue.get_many_async(5)
    assert step(arrival) == (False, None)
    assert await head == 3
    close(arrival)


def test_the_door_is_shut_for_threads_too():
    """A blocking `get` that arrives at a shut door waits its turn behind the task that missed."""
    clock = ManualClock()
    queue = Queue(clock=clock)

    async def miss_twice():
        head = asyncio.create_task(queue.get_async())
        await settle()
        for stolen in (1, 2):
            queue.put_nowait(stolen)
            assert queue.get_nowait() == stolen
            await settle()
        queue.put_nowait("for the head")
        # The loop stands still here, with the wake-up granted, until the thread has joined the line.
        arrival = spawn(queue.get)
        wait_until(lambda: clock.waiters == 2)
        assert queue.qsize() == 1
        return await head, arrival

    with LoopThread() as loop:
        item, arrival = loop.run(miss_twice())
    assert item == "for the head"
    queue.put("for the thread")
    assert arrival.result() == "for the thread"


# -------------------------------------------------------------------------------------------------- nobody sleeps


@on_loops
async def test_nobody_sleeps_beside_items():
    """More items than the woken waiters take: the rest of the line is woken, too."""
    queue = Queue()
    tasks = await waiting(*(queue.get_async() for _ in range(3)))
    queue.put_nowait(1)
    queue.put_nowait(2)
    assert queue.get_nowait() == 1
    queue.put_nowait(3)
    queue.put_nowait(4)
    assert [await task for task in tasks] == [2, 3, 4]


@on_loops
async def test_nobody_sleeps_beside_room():
    """The same for room: three places made at once let three putters in."""
    queue = Queue(3)
    queue.put_many([1, 2, 3])
    tasks = await waiting(*(queue.put_async(number) for number in (4, 5, 6)))
    assert queue.get_many(3) == [1, 2, 3]
    await asyncio.gather(*tasks)
    assert queue.get_many(3) == [4, 5, 6]


@on_loops
async def test_a_waiter_thrown_away_passes_its_wake_up_on():
    """A woken waiter whose coroutine is simply dropped leaves the item to the next waiter."""
    queue = Queue()
    dropped = queue.get_async()
    assert step(dropped) == (False, None)
    (behind,) = await waiting(queue.get_async())
    queue.put_nowait("item")
    del dropped
    gc.collect()
    assert await behind == "item"
