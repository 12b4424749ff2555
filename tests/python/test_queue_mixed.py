"""One queue, threads and several event loops at once."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from helpers import LOOP_KINDS, PATIENCE, LoopThread, spawn, wait_until

from sluicegate import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue
from sluicegate.testing import ManualClock

kinds_of_loop = pytest.mark.parametrize("loop_kind", LOOP_KINDS)
ALL = [Queue, LifoQueue, PriorityQueue, SimpleQueue]


async def gather_all(queue):
    return [item async for item in queue]


@kinds_of_loop
def test_thread_to_coroutine(loop_kind):
    """A thread puts, a coroutine gets, in order, through a small queue."""
    queue = Queue(4)

    def produce():
        with queue.producers(1):
            for i in range(5000):
                queue.put(i)

    with LoopThread(loop_kind) as loop:
        consumer = loop.submit(gather_all(queue))
        producer = spawn(produce)
        assert consumer.result(PATIENCE) == list(range(5000))
        producer.result()


@kinds_of_loop
def test_coroutine_to_thread(loop_kind):
    """A coroutine puts, a thread gets, in order, through a small queue."""
    queue = Queue(4)

    async def produce():
        async with queue.producers(1):
            for i in range(5000):
                await queue.put_async(i)

    consumer = spawn(list, iter(queue))
    with LoopThread(loop_kind) as loop:
        loop.run(produce())
        assert consumer.result() == list(range(5000))


@kinds_of_loop
def test_loop_to_loop(loop_kind):
    """Two loops in two threads, one of each kind, both ways at once."""
    there, back = Queue(4), Queue(4)

    async def ask():
        answers = []
        for i in range(1000):
            await there.put_async(i)
            answers.append(await back.get_async())
        there.shutdown()
        return answers

    async def answer():
        async for item in there:
            await back.put_async(-item)

    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        answering = two.submit(answer())
        assert one.run(ask()) == [-i for i in range(1000)]
        answering.result(PATIENCE)


@kinds_of_loop
def test_a_producer_thread_that_raises_ends_the_coroutine(loop_kind):
    """The screen of the README: a failing thread ends the consumer with its error, after draining."""
    queue = Queue(1000)
    error = OSError("cannot read on")

    def produce():
        with queue.producers(1):
            for i in range(100):
                queue.put(i)
            raise error

    async def consume():
        received = []
        try:
            async for item in queue:
                received.append(item)
        except OSError as end:
            return received, end
        return received, None

    with LoopThread(loop_kind) as loop:
        consumer = loop.submit(consume())
        producer = spawn(produce)
        assert consumer.result(PATIENCE) == (list(range(100)), error)
        assert producer.exception() is error


@kinds_of_loop
@pytest.mark.parametrize("kind", ALL)
def test_everybody_at_once(kind, loop_kind):
    """Threads and tasks of two loops produce and consume together: each item once."""
    queue = kind() if kind is SimpleQueue else kind(5)
    each, sides = 300, 4
    total = each * sides * 3
    end = (99, 0)

    def produce(number):
        for i in range(each):
            queue.put((number, i))

    async def produce_async(number):
        for i in range(each):
            await queue.put_async((number, i))

    def consume():
        received = []
        while (item := queue.get(timeout=PATIENCE)) != end:
            received.append(item)
        return received

    async def consume_async():
        received = []
        while (item := await queue.get_async(timeout=PATIENCE)) != end:
            received.append(item)
        return received

    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        threads = [spawn(consume) for _ in range(2)]
        tasks = [loop.submit(consume_async()) for loop in (one, two) for _ in range(2)]
        numbers = itertools.count()
        producers = [spawn(produce, next(numbers)) for _ in range(sides)]
        futures = [loop.submit(produce_async(next(numbers))) for loop in (one, two) for _ in range(sides)]
        for producer in producers:
            producer.result()
        for future in futures:
            future.result(PATIENCE)
        wait_until(lambda: queue.qsize() == 0)
        for _ in range(6):
            queue.put(end)
        parts = [worker.result() for worker in threads] + [task.result(PATIENCE) for task in tasks]
    assert sorted(itertools.chain(*parts)) == [(number, i) for number in range(3 * sides) for i in range(each)]
    seen = queue.statistics()
    assert (seen.puts, seen.gets, seen.size) == (total + 6, total + 6, 0)
    assert (seen.waiting_getters, seen.waiting_putters) == (0, 0)
    if kind is not SimpleQueue:
        assert seen.peak_size <= 5


@kinds_of_loop
def test_shutdown_reaches_threads_and_loops(loop_kind):
    """One shutdown wakes the waiters of all threads and loops."""
    clock = ManualClock()
    empty, full = Queue(clock=clock), Queue(1, clock=clock)
    full.put(0)
    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        threads = [spawn(empty.get), spawn(full.put, 1)]
        futures = [loop.submit(coroutine) for loop in (one, two) for coroutine in (empty.get_async(), full.put_async(2))]
        clock.wait_for_waiters(6)
        empty.shutdown()
        full.shutdown()
        for worker in threads:
            assert isinstance(worker.exception(), ShutDown)
        for future in futures:
            assert isinstance(future.exception(PATIENCE), ShutDown)


@kinds_of_loop
def test_join_across_threads_and_loops(loop_kind):
    """`task_done` in a thread frees joiners on loops, and the other way round."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    queue.put_many([1, 2])
    with LoopThread(loop_kind) as loop:
        thread, future = spawn(queue.join), loop.submit(queue.join_async())
        clock.wait_for_waiters(2)
        queue.task_done()

        async def finish_last():
            queue.task_done()

        loop.run(finish_last())
        thread.result()
        future.result(PATIENCE)


@kinds_of_loop
def test_timeouts_across_threads_and_loops(loop_kind):
    """One clock fires the timeouts of threads and of tasks on loops."""
    clock = ManualClock()
    empty, full = Queue(clock=clock), Queue(1, clock=clock)
    full.put(0)
    with LoopThread(loop_kind) as loop:
        threads = [spawn(empty.get, timeout=1), spawn(full.put, 1, timeout=1)]
        futures = [loop.submit(empty.get_async(timeout=1)), loop.submit(full.put_async(1, timeout=1))]
        clock.wait_for_waiters(4)
        clock.advance(1)
        assert [type(worker.exception()) for worker in threads] == [Empty, Full]
        assert [type(future.exception(PATIENCE)) for future in futures] == [Empty, Full]


@kinds_of_loop
def test_batches_between_threads_and_loops(loop_kind):
    """Batches in, batches out, across the border, in order."""
    queue = Queue(64)

    def produce():
        with queue.producers(1):
            assert queue.put_many(iter(range(20000))) == 20000

    async def consume():
        received = []
        while True:
            try:
                received.extend(await queue.get_many_async(50))
            except ShutDown:
                return received

    with LoopThread(loop_kind) as loop:
        consumer = loop.submit(consume())
        producer = spawn(produce)
        assert consumer.result(PATIENCE) == list(range(20000))
        producer.result()


@kinds_of_loop
def test_a_loop_per_phase(loop_kind):
    """A queue outlives loops: five loops one after the other, threads all the while."""
    queue, results = Queue(3), Queue()
    worker = spawn(lambda: [results.put(item * 2) for item in queue])

    async def phase(number):
        await queue.put_async(number)
        return await results.get_async()

    for number in range(5):
        with LoopThread(loop_kind) as loop:
            assert loop.run(phase(number)) == number * 2
    queue.shutdown()
    worker.result()


def test_asyncio_run_in_many_threads():
    """`asyncio.run` in eight threads at once, all on one queue."""
    queue = Queue(2)

    def produce(number):
        async def main():
            for i in range(100):
                await queue.put_async((number, i))

        asyncio.run(main())

    def consume():
        async def main():
            return [item async for item in queue]

        return asyncio.run(main())

    consumers = [spawn(consume) for _ in range(4)]
    for producer in [spawn(produce, number) for number in range(4)]:
        producer.result()
    queue.shutdown()
    parts = [consumer.result() for consumer in consumers]
    assert sorted(itertools.chain(*parts)) == [(number, i) for number in range(4) for i in range(100)]
