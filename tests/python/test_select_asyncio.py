"""`select_async`: on loops of every kind, cancelled, timed out, beside threads, on loops that close."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import weakref

import pytest
from helpers import LOOP_KINDS, STORM_ITEMS, LoopThread, collect, eventually, new_loop, on_loops, settle, spawn, step, wait_until

from sluicegate import (
    BlockingInEventLoopWarning,
    CreditChannel,
    Latest,
    PriorityQueue,
    Queue,
    Semaphore,
    ShutDown,
    TokenBucket,
    select,
    select_async,
)
from sluicegate.testing import ManualClock


def getters(queue):
    return queue.statistics().waiting_getters


@on_loops
async def test_what_is_ready_needs_no_turn():
    queue = Queue()
    queue.put(1)
    assert step(select_async(Semaphore(0).acquiring(), queue.getting())) == (True, (1, 1))
    assert step(select_async(queue.getting(), default="nothing")) == (True, (-1, "nothing"))
    with pytest.raises(TimeoutError, match="select without waiting"):
        step(select_async(queue.getting(), timeout=0))
    # And no place in a line either.
    assert queue.statistics().get_blocked_seconds == 0


@on_loops
async def test_after_128_operations_in_a_row_the_others_run():
    queue, turns = Queue(), []
    queue.put_many(range(200))
    asyncio.get_running_loop().call_soon(turns.append, 1)
    for _ in range(129):
        await select_async(queue.getting())
    assert turns == [1]


@on_loops
async def test_it_waits_for_whichever_comes_first():
    queue, permits, latest, channel = Queue(), Semaphore(0), Latest(), CreditChannel(4)
    events = [lambda: queue.put(7), permits.release, lambda: latest.set("news"), lambda: channel.sender.send("item")]
    for index, event in enumerate(events):
        task = asyncio.ensure_future(
            select_async(queue.getting(), permits.acquiring(), latest.changing(latest.version), channel.receiver.receiving())
        )
        await settle()
        event()
        assert (await task).index == index
        assert getters(queue) == permits.statistics().waiters == latest.statistics().waiting_readers == 0


@on_loops
async def test_cancelled_it_leaves_every_line_and_passes_its_turns_on():
    queues = [Queue(), Queue()]
    first = asyncio.ensure_future(select_async(*(queue.getting() for queue in queues)))
    await settle()
    second = [asyncio.ensure_future(queue.get_async()) for queue in queues]
    await settle()
    for number, queue in enumerate(queues):
        queue.put(number)
    first.cancel()  # woken twice, and it has not come
    assert await asyncio.gather(*second) == [0, 1]
    with pytest.raises(asyncio.CancelledError):
        await first
    assert [getters(queue) for queue in queues] == [0, 0]


@on_loops
async def test_its_timeout():
    clock = ManualClock()
    bucket, queue = TokenBucket(1, burst=1, clock=clock), Queue(clock=clock)
    bucket.acquire()
    task = asyncio.ensure_future(select_async(bucket.acquiring(), queue.getting(), timeout=0.5))
    await settle()
    await clock.advance_async(0.5)
    with pytest.raises(TimeoutError):
        await task
    task = asyncio.ensure_future(select_async(bucket.acquiring(), queue.getting(), timeout=5))
    await settle()
    await clock.advance_async(0.5)
    assert await task == (0, True)
    assert clock.waiters == bucket.statistics().waiters == getters(queue) == 0


@on_loops
async def test_an_end_is_an_event():
    queue, other = Queue(), Queue()
    task = asyncio.ensure_future(select_async(other.getting(), queue.getting()))
    await settle()
    queue.shutdown()
    with pytest.raises(ShutDown) as ended:
        await task
    assert ended.value.select_index == 1
    assert getters(other) == 0


def test_the_blocking_one_warns_on_a_loop():
    """When it parks, and only then; nothing has happened if the warning is an error."""
    queue = Queue()

    async def main():
        queue.put(1)
        assert select(queue.getting()) == (0, 1)
        with pytest.warns(BlockingInEventLoopWarning, match="select_async"), pytest.raises(TimeoutError):
            select(queue.getting(), timeout=0.001)

    asyncio.run(main())
    assert getters(queue) == 0


@pytest.mark.parametrize("kind", LOOP_KINDS)
def test_a_loop_that_closes_passes_its_turn_on(kind):
    queues = [Queue(), Queue()]
    loop = new_loop(kind)
    task = loop.create_task(select_async(*(queue.getting() for queue in queues)))
    loop.run_until_complete(settle())
    behind = [spawn(queue.get) for queue in queues]
    wait_until(lambda: all(getters(queue) == 2 for queue in queues))
    for number, queue in enumerate(queues):
        queue.put(number)  # the task of the loop is woken, by both
    loop.close()
    del task, loop
    collect()
    assert [thread.result() for thread in behind] == [0, 1]


def test_a_cycle_through_a_task_that_selects_is_collected():
    class Node:
        pass

    async def main():
        node = Node()
        node.queues = [Queue(), PriorityQueue(), Semaphore(0)]
        one, two, permits = node.queues
        node.task = asyncio.ensure_future(select_async(one.getting(), two.getting(), permits.acquiring(), one.putting(node), default=node))
        await node.task
        node.coroutine = select_async(one.getting(), two.getting(), permits.acquiring())
        one.get()
        assert step(node.coroutine) == (False, None)
        return weakref.ref(node)

    gone = asyncio.run(main())
    collect()
    assert gone() is None


@pytest.mark.parametrize("kind", LOOP_KINDS)
def test_threads_and_tasks_over_three_queues(kind):
    """Four threads and fifty tasks, with cancellation: nothing lost, nothing twice."""
    count, queues = STORM_ITEMS // 10, [Queue(8), Queue(64), PriorityQueue(32)]
    numbers, taken, lock = iter(range(count)), [], threading.Lock()

    def put(number):
        while True:
            try:
                with lock:
                    item = next(numbers)
            except StopIteration:
                return
            select(*(queue.putting(item) for queue in queues))

    async def get(number, mine):
        dice = random.Random(number)
        members = [queue.getting() for queue in dice.sample(queues, 3)]
        while True:
            task = asyncio.ensure_future(select_async(*members, timeout=dice.choice([None, None, 0.0005])))
            if dice.random() < 0.2:
                asyncio.get_running_loop().call_soon(task.cancel)
                if dice.random() < 0.5:
                    await asyncio.sleep(0)
            try:
                mine.append((await task).value)
            except (asyncio.CancelledError, TimeoutError):
                continue
            except ShutDown:
                return

    async def main():
        lists = [[] for _ in range(50)]
        tasks = [asyncio.ensure_future(get(number, mine)) for number, mine in enumerate(lists)]
        threads = [spawn(put, number) for number in range(4)]
        await eventually(lambda: all(thread.done() for thread in threads))
        for thread in threads:
            thread.result()
        for queue in queues:
            queue.shutdown()
        await asyncio.gather(*tasks)
        for queue in queues:
            taken.extend(queue)
        taken.extend(item for mine in lists for item in mine)

    with LoopThread(kind) as loop:
        loop.run(main())
    gc.collect()
    assert sorted(taken) == list(range(count))
    assert sum(queue.statistics().gets for queue in queues) == count
