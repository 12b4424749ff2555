"""Cancellation: wholly or not at all, at every step, and a wake-up given to somebody who left goes to the next."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import sys

import pytest
from helpers import LOOP_KINDS, PATIENCE, ROUNDS, LoopThread, eventually, on_loops, run_on, settle, spawn, step

from sluicegate import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown
from sluicegate.testing import ManualClock


async def waiting(*coroutines):
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    await settle()
    assert not any(task.done() for task in tasks)
    return tasks


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as info:
        await task
    assert task.cancelled()
    return info.value


def no_waiters(queue):
    seen = queue.statistics()
    return (seen.waiting_getters, seen.waiting_putters, seen.waiting_joiners) == (0, 0, 0)


def make(name, queue):
    """One operation which has to wait: getters on an empty queue, the others on a full one."""
    return {
        "get": lambda: queue.get_async(),
        "get timeout": lambda: queue.get_async(timeout=100),
        "get_many": lambda: queue.get_many_async(3),
        "iterate": lambda: anext(aiter(queue)),
        "put": lambda: queue.put_async("new"),
        "put timeout": lambda: queue.put_async("new", timeout=100),
        "put_many": lambda: queue.put_many_async(["new"]),
        "join": lambda: queue.join_async(),
    }[name]()


GETTERS = ["get", "get timeout", "get_many", "iterate"]
PUTTERS = ["put", "put timeout", "put_many"]


def queue_for(name, kind=Queue):
    queue = kind(1)
    if name not in GETTERS:
        queue.put_nowait("old")
    return queue


async def operate(name, queue):
    return await make(name, queue)


# ------------------------------------------------------------------------------------------------- before any wake-up


@pytest.mark.parametrize("name", [*GETTERS, *PUTTERS, "join"])
@on_loops
async def test_cancelled_before_the_first_step(name):
    """A task cancelled before it ran has done nothing."""
    queue = queue_for(name)
    before = queue.statistics()
    task = asyncio.create_task(operate(name, queue))
    await cancelled(task)
    assert queue.statistics() == before
    assert no_waiters(queue)


@pytest.mark.parametrize("name", [*GETTERS, *PUTTERS, "join"])
@on_loops
async def test_cancelled_while_waiting(name):
    """A waiter that is cancelled leaves the line at once and takes nothing with it."""
    queue = queue_for(name)
    (task,) = await waiting(operate(name, queue))
    await cancelled(task)
    assert no_waiters(queue)
    if name in GETTERS:
        queue.put_nowait("item")
        assert queue.get_nowait() == "item"
    else:
        assert queue.get_nowait() == "old"
        assert queue.empty()
    assert queue.statistics().puts == 1


@pytest.mark.parametrize("name", [*GETTERS, *PUTTERS, "join"])
@on_loops
async def test_closing_a_waiting_coroutine(name):
    """`coroutine.close()` (GeneratorExit) leaves the line as a cancel does."""
    queue = queue_for(name)

    coroutine = operate(name, queue)
    assert step(coroutine) == (False, None)
    assert not no_waiters(queue)
    coroutine.close()
    assert no_waiters(queue)
    assert queue.statistics().size == (0 if name in GETTERS else 1)


@pytest.mark.parametrize("name", [*GETTERS, *PUTTERS, "join"])
@on_loops
async def test_dropping_a_waiting_coroutine(name):
    """A coroutine nobody holds any more leaves the line, too."""
    queue = queue_for(name)

    coroutine = operate(name, queue)
    assert step(coroutine) == (False, None)
    del coroutine
    gc.collect()
    assert no_waiters(queue)


@pytest.mark.parametrize("name", [*GETTERS, *PUTTERS, "join"])
@on_loops
async def test_throwing_into_a_waiting_coroutine(name):
    """Any exception thrown in passes through, and nothing is taken."""
    queue = queue_for(name)

    coroutine = operate(name, queue)
    assert step(coroutine) == (False, None)
    with pytest.raises(LookupError, match="thrown"):
        coroutine.throw(LookupError("thrown"))
    assert no_waiters(queue)


@pytest.mark.parametrize("how", ["close", "throw"])
@on_loops
async def test_a_task_whose_coroutine_somebody_else_has_ended_can_be_cancelled(how):
    """It finds its coroutine gone, as with `asyncio.Queue`; it used to sleep on, and `asyncio.run` never returned."""
    queue = Queue()
    coroutine = queue.get_async()
    (task,) = await waiting(coroutine)
    if how == "close":
        coroutine.close()
    else:
        with pytest.raises(LookupError, match="thrown"):
            coroutine.throw(LookupError("thrown"))
    task.cancel()
    await settle()
    assert task.done()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await task
    assert no_waiters(queue)


@on_loops
async def test_a_coroutine_with_two_tasks():
    """The second gets an error when it resumes the coroutine that the first one sleeps in, and neither is left asleep."""
    queue = Queue()
    coroutine = queue.get_async()
    (first,) = await waiting(coroutine)
    second = asyncio.create_task(coroutine)
    await settle()
    assert first.done()
    assert second.done()
    with pytest.raises(RuntimeError, match="awaited by a task"):
        await second
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await first
    assert no_waiters(queue)


# ----------------------------------------------------------------------------------------------- after the wake-up


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
@pytest.mark.parametrize("name", GETTERS)
@on_loops
async def test_a_getter_cancelled_after_the_grant_passes_it_on(name, kind):
    """The item stays in the buffer, and the next waiter is woken."""
    queue = queue_for(name, kind)
    first, second = await waiting(operate(name, queue), queue.get_async())
    queue.put_nowait("item")
    await cancelled(first)
    assert await second == "item"
    assert queue.statistics().gets == 1


@pytest.mark.parametrize("name", GETTERS)
@on_loops
async def test_a_getter_cancelled_after_the_grant_leaves_the_item(name):
    """With nobody behind, the item is simply there."""
    queue = queue_for(name)
    (task,) = await waiting(operate(name, queue))
    queue.put_nowait("item")
    assert queue.qsize() == 1
    await cancelled(task)
    assert queue.get_nowait() == "item"
    assert queue.statistics().gets == 1


@pytest.mark.parametrize("name", PUTTERS)
@on_loops
async def test_a_putter_cancelled_after_the_grant_passes_it_on(name):
    """The room goes to the next putter; the cancelled one's item never enters."""
    queue = queue_for(name)
    first, second = await waiting(operate(name, queue), queue.put_async("second"))
    assert queue.get_nowait() == "old"
    await cancelled(first)
    await second
    assert queue.get_nowait() == "second"
    assert queue.empty()
    assert queue.statistics().puts == 2


@on_loops
async def test_a_joiner_cancelled_after_the_grant():
    """Every other joiner still returns."""
    queue = Queue()
    queue.put_nowait(1)
    first, second = await waiting(queue.join_async(), queue.join_async())
    queue.task_done()
    await cancelled(first)
    await second


@pytest.mark.parametrize("name", GETTERS)
@on_loops
async def test_a_getter_closed_after_the_grant_passes_it_on(name):
    """GeneratorExit after the wake-up passes it on as a cancel does."""
    queue = queue_for(name)

    coroutine = operate(name, queue)
    assert step(coroutine) == (False, None)
    (behind,) = await waiting(queue.get_async())
    queue.put_nowait("item")
    coroutine.close()
    assert await behind == "item"


@on_loops
async def test_a_grant_from_another_thread_then_cancelled():
    """The same when the wake-up comes through the loop's mailbox."""
    queue = Queue()
    first, second = await waiting(queue.get_async(), queue.get_async())
    spawn(queue.put, "item").result()
    await cancelled(first)
    assert await second == "item"


@on_loops
async def test_a_grant_passed_on_to_a_thread():
    """A cancelled task's wake-up reaches a thread that stands behind it."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    (task,) = await waiting(queue.get_async())
    thread = spawn(queue.get)
    await clock.wait_for_waiters_async(2)
    queue.put_nowait("item")
    await cancelled(task)
    assert thread.result() == "item"


@on_loops
async def test_a_whole_line_cancelled_with_grants():
    """Ten of eleven woken or waiting getters are cancelled: the last one has the item."""
    queue = Queue()
    tasks = await waiting(*(queue.get_async() for _ in range(11)))
    queue.put_nowait("item")
    for task in tasks[:10]:
        task.cancel()
    assert await tasks[10] == "item"
    assert all(task.cancelled() for task in tasks[:10])


@on_loops
async def test_cancel_and_shutdown_together():
    """A waiter cancelled after a shutdown's wake-up ends by one of the two, and is gone."""
    queue = Queue()
    first, second = await waiting(queue.get_async(), queue.get_async())
    queue.shutdown()
    first.cancel()
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(outcomes[0], (asyncio.CancelledError, ShutDown))
    assert isinstance(outcomes[1], ShutDown)
    assert no_waiters(queue)


@on_loops
async def test_cancel_during_the_turn_for_the_loop():
    """An operation cancelled while it gives the loop its turn has taken nothing."""
    queue = Queue()
    queue.put_many(range(300))
    for _ in range(300):
        task = asyncio.create_task(queue.get_async())
        await asyncio.sleep(0)
        if not task.done():
            await cancelled(task)
            break
        assert task.result() == 299 - queue.qsize()
    # Tasks of one operation each have the loop's turn between them; one task with many operations has not.
    left = queue.qsize()

    async def busy():
        while True:
            await queue.get_async()

    task = asyncio.create_task(busy())
    await asyncio.sleep(0)
    await cancelled(task)
    seen = queue.statistics()
    assert seen.size == 300 - seen.gets
    assert seen.size <= left
    assert sorted(queue.get_many(300) if seen.size else []) == list(range(300 - seen.size, 300))


# ------------------------------------------------------------------------------------------------------------ batches


@on_loops
async def test_a_cancelled_batch_tells_what_was_accepted():
    """`CancelledError.accepted` counts what went in; the iterator stands at the first item not put."""
    queue = Queue(2)
    source = iter(range(10))
    seen = []

    async def produce():
        try:
            await queue.put_many_async(source)
        except asyncio.CancelledError as error:
            seen.append(error.accepted)
            raise

    (task,) = await waiting(produce())
    assert queue.get_nowait() == 0
    await settle()
    await cancelled(task)
    assert seen == [3]
    assert next(source) == 3
    assert queue.get_many(9) == [1, 2]


@on_loops
async def test_a_batch_cancelled_after_the_grant():
    """Room granted to a batch that is cancelled goes to the next putter; the iterator has not moved."""
    queue = Queue(1)
    source = iter(range(10))
    seen = []

    async def produce():
        try:
            await queue.put_many_async(source)
        except asyncio.CancelledError as error:
            seen.append(error.accepted)
            raise

    first, second = await waiting(produce(), queue.put_async("second"))
    assert queue.get_nowait() == 0
    await cancelled(first)
    assert seen == [1]
    await second
    assert queue.get_nowait() == "second"
    assert next(source) == 1


@on_loops
async def test_a_lingering_getter_cancelled_has_taken_nothing():
    """The items for which it waited stay, in order, and go to the next waiter."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    queue.put_many([1, 2])
    first, second = await waiting(queue.get_many_async(5, linger=10), queue.get_many_async(2))
    queue.put_nowait(3)
    await cancelled(first)
    assert await second == [1, 2]
    assert queue.get_nowait() == 3
    assert clock.waiters == 0


@on_loops
async def test_a_lingering_getter_cancelled_when_due():
    """Cancelled after its time has come but before it ran: nothing taken."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    queue.put_many([1, 2])
    (task,) = await waiting(queue.get_many_async(5, linger=10))
    clock.advance(10)
    task.cancel()
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    if isinstance(outcome, asyncio.CancelledError):
        assert queue.get_many(9) == [1, 2]
    else:
        assert outcome == [1, 2]
        assert queue.empty()
    assert clock.waiters == 0


# ------------------------------------------------------------------------------------------------ timeouts of asyncio


@on_loops
async def test_wait_for_is_safe():
    """`asyncio.wait_for` around an operation that times out: the next item is not lost."""
    queue = Queue()
    for number in range(20):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(queue.get_async(), 0.001)
        queue.put_nowait(number)
        assert queue.get_nowait() == number
    assert no_waiters(queue)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is new in 3.11")
@on_loops
async def test_asyncio_timeout_is_safe():
    """`asyncio.timeout` around waiting operations."""
    queue = Queue(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await queue.get_async()
    queue.put_nowait("old")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await queue.put_async("new")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await queue.join_async()
    assert no_waiters(queue)
    assert queue.get_nowait() == "old"
    assert queue.empty()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is new in 3.11")
@on_loops
async def test_asyncio_timeout_that_is_already_over():
    """A deadline in the past: nothing taken although an item is there, or the item is returned."""
    queue = Queue()
    queue.put_nowait("item")
    taken = None
    try:
        async with asyncio.timeout(-1):
            await asyncio.sleep(0)
            taken = await queue.get_async()
    except TimeoutError:
        pass
    assert (taken, queue.qsize()) in [("item", 0), (None, 1)]


@on_loops
async def test_cancel_does_not_turn_into_our_timeout():
    """A cancel is a `CancelledError` even when the operation has a timeout of its own."""
    clock = ManualClock()
    queue = Queue(1, clock=clock)
    queue.put_nowait(0)
    getter, putter = await waiting(Queue(clock=clock).get_async(timeout=1), queue.put_async(1, timeout=1))
    for task in (getter, putter):
        await cancelled(task)
    assert clock.waiters == 0
    clock.advance(5)


# ------------------------------------------------------------------------------------------------------------- storms


@pytest.mark.parametrize("seed", range(5))
@on_loops
async def test_a_storm_of_cancels_counts_every_item(seed):
    """Tasks put and get while others cancel them at random: each item put is got once, or still there."""
    dice = random.Random(seed)
    queue = dice.choice([Queue, LifoQueue, PriorityQueue])(dice.choice([0, 1, 3]), name=f"seed {seed}")
    put, got = [], []
    numbers = itertools.count()

    async def produce():
        item = next(numbers)
        await queue.put_async(item)
        put.append(item)

    async def produce_many():
        items = [next(numbers) for _ in range(4)]
        source = iter(items)
        try:
            await queue.put_many_async(source)
        except asyncio.CancelledError as error:
            assert list(source) == items[error.accepted :]
            put.extend(items[: error.accepted])
            raise
        put.extend(items)

    async def consume():
        got.append(await queue.get_async())

    async def consume_many():
        got.extend(await queue.get_many_async(3))

    tasks = []
    for _ in range(ROUNDS * 10):
        job = dice.choice([produce, consume, produce, consume, produce_many, consume_many])
        tasks.append(asyncio.create_task(job()))
        if dice.random() < 0.5:
            dice.choice(tasks[-20:]).cancel()
        if dice.random() < 0.4:
            await asyncio.sleep(0)
        if dice.random() < 0.1:
            try:
                got.append(queue.get_nowait())
            except Empty:
                pass
    # Wake-ups go from one to the next, a turn each: wait until nothing moves any more.
    seen = None
    while seen != (seen := (queue.statistics().puts, queue.statistics().gets)):
        await settle(20)
    # Nobody sleeps beside an item or beside room.
    seen = queue.statistics()
    assert not (seen.waiting_getters and seen.size)
    assert not (seen.waiting_putters and (queue.maxsize == 0 or seen.size < queue.maxsize))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert no_waiters(queue)
    while not queue.empty():
        got.append(queue.get_nowait())
    assert sorted(got) == sorted(put)
    seen = queue.statistics()
    assert (seen.puts, seen.gets) == (len(put), len(got))


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
def test_a_storm_of_wait_for_against_a_thread(loop_kind):
    """`wait_for` with tiny timeouts against a putting thread: every item arrives once, in order."""
    queue = Queue(4)
    total = ROUNDS * 20
    dice = random.Random(1)

    def produce():
        for number in range(total):
            queue.put(number)
        queue.shutdown()

    async def consume():
        received = []
        while True:
            try:
                received.append(await asyncio.wait_for(queue.get_async(), dice.choice([0, 1e-6, 1e-4, 1e-3])))
            except asyncio.TimeoutError:
                pass
            except ShutDown:
                return received

    producer = spawn(produce)
    assert run_on(loop_kind, consume()) == list(range(total))
    producer.result()


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
def test_a_storm_of_cancels_from_threads(loop_kind):
    """Getters on a loop are cancelled while a thread wakes them: every item arrives once, in order."""
    queue = Queue(2)
    total = ROUNDS * 20
    dice = random.Random(2)

    def produce():
        for number in range(total):
            queue.put(number)
        queue.shutdown()

    async def consume():
        received = []
        while True:
            task = asyncio.create_task(queue.get_async())
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
            try:
                received.append(await task)
            except asyncio.CancelledError:
                pass
            except ShutDown:
                return received

    with LoopThread(loop_kind) as loop:
        producer = spawn(produce)
        assert loop.submit(consume()).result(PATIENCE * 2) == list(range(total))
        producer.result()


@on_loops
async def test_a_storm_of_putters_cancelled_against_a_thread():
    """Putters on a loop are cancelled while a thread makes room: exactly those that returned have put."""
    queue = Queue(1)
    total = ROUNDS * 10
    dice = random.Random(3)
    consumer = spawn(list, iter(queue))
    put = []
    for number in range(total):
        task = asyncio.create_task(queue.put_async(number))
        for _ in range(dice.randrange(4)):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            continue
        put.append(number)
    await eventually(queue.empty)
    queue.shutdown()
    assert consumer.result() == put
    with pytest.raises((Full, ShutDown)):
        queue.put_nowait(0)
