"""`working`: workers that put into the queue that they take from."""

import asyncio
import gc
import threading

import pytest
from helpers import spawn, wait_until

from sluicegate import Full, LifoQueue, PriorityQueue, Queue
from sluicegate.testing import ManualClock


class Hooked(Queue):
    """On the slow path."""

    def _put(self, item):
        super()._put(item)


KINDS = [Queue, LifoQueue, PriorityQueue, Hooked]
every_kind = pytest.mark.parametrize("kind", KINDS)


def crawl(queue, found):
    with queue.working() as items:
        for depth in items:
            found.append(depth)
            if depth:
                queue.put_many([depth - 1] * 2)


@every_kind
def test_workers_that_feed_themselves_end_by_themselves(kind):
    """When nothing is queued and nobody works; all of them, and the queue is shut down."""
    queue, found = kind(), []
    queue.put(6)
    workers = [spawn(crawl, queue, found) for _ in range(4)]
    for worker in workers:
        worker.result()
    assert len(found) == 2**7 - 1
    assert queue.is_shutdown
    assert queue.unfinished_tasks == 0


def test_tasks_that_feed_themselves():
    async def work(queue, found):
        async with queue.working() as items:
            async for depth in items:
                found.append(depth)
                await asyncio.sleep(0)
                for _ in range(2 if depth else 0):
                    await queue.put_async(depth - 1)

    async def main():
        queue, found = Queue(), []
        queue.put(5)
        await asyncio.gather(*(work(queue, found) for _ in range(3)), asyncio.to_thread(crawl, queue, found))
        return found

    assert len(asyncio.run(main())) == 2**6 - 1


def test_an_item_is_done_when_the_next_is_asked_for():
    queue = Queue()
    queue.put_many("ab")
    with queue.working() as items:
        assert next(items) == "a"
        assert queue.unfinished_tasks == 2
        assert next(items) == "b"
        assert queue.unfinished_tasks == 1
        assert list(items) == []
        assert queue.unfinished_tasks == 0
    assert queue.is_shutdown


def test_an_item_is_done_when_the_worker_fails():
    """The others go on to the end."""
    queue = Queue()
    queue.put_many("ab")
    with queue.working() as others:
        with pytest.raises(KeyError), queue.working() as items:
            raise KeyError(next(items))
        assert queue.unfinished_tasks == 1
        assert list(others) == ["b"]


def test_it_does_not_end_before_the_first_item():
    clock = ManualClock()
    queue, found = Queue(clock=clock), []
    worker = spawn(crawl, queue, found)
    clock.wait_for_waiters(1)
    assert not queue.is_shutdown
    queue.put(0)
    worker.result()
    assert found == [0]


def test_it_does_not_end_while_a_producer_is_open():
    """The worker waits for more as long as a producer may put."""
    clock = ManualClock()
    queue, found = Queue(clock=clock), []
    with queue.producers() as target:
        target.put(0)
        worker = spawn(crawl, queue, found)
        clock.wait_for_waiters(1)
        assert queue.unfinished_tasks == 0
        target.put(1)
        clock.wait_for_waiters(1)
    worker.result()
    assert sorted(found) == [0, 0, 0, 1]


def test_the_last_producer_leaves_the_end_to_the_workers():
    """They may still put."""
    queue = Queue()
    with queue.working() as items:
        with queue.producers():
            queue.put(1)
        assert next(items) == 1
        assert not queue.is_shutdown
        queue.put(2)
        assert list(items) == [2]
    assert queue.is_shutdown


def test_the_last_worker_shuts_the_queue_down_for_the_producers():
    """Those who left it to the workers rely on that."""
    queue = Queue()
    with pytest.raises(KeyError), queue.working() as items:
        with queue.producers():
            queue.put_many([1, 2])
        raise KeyError(next(items))
    assert queue.is_shutdown
    assert list(queue) == [2]


def test_a_failed_producer_ends_the_work():
    queue = Queue()
    with pytest.raises(OSError), queue.working() as items:
        with pytest.raises(OSError), queue.producers():
            queue.put(1)
            raise OSError
        assert next(items) == 1
        next(items)


def test_ends_that_can_never_complete_are_not_waited_for():
    queue = Queue()
    queue.put(0)
    end = queue.producers(2)
    del end
    gc.collect()
    found = []
    spawn(crawl, queue, found).result()
    assert found == [0]


def test_clear_and_done_by_hand_end_the_work():
    """Whatever brings the unfinished work to nothing."""
    for finish in (Queue.clear, lambda queue: (queue.get(), queue.task_done())):
        clock = ManualClock()
        queue = Queue(clock=clock)
        queue.put(0)
        with queue.working() as items:
            finish(queue)
            assert list(items) == []


def test_working_is_a_context_manager():
    queue = Queue()
    queue.put(1)
    items = queue.working()
    with pytest.raises(RuntimeError, match="context manager"):
        next(items)
    with items, pytest.raises(RuntimeError, match="one worker at a time"):
        items.__enter__()
    with pytest.raises(RuntimeError, match="context manager"):
        next(items)
    assert queue.qsize() == 1


def test_others_are_not_affected():
    """Without workers a queue does not end by itself."""
    queue = Queue()
    queue.put(1)
    queue.get()
    queue.task_done()
    assert not queue.is_shutdown


@every_kind
def test_workers_that_all_wait_for_room_are_told(kind):
    """Nobody would ever take an item. The last one is told, and the others when it has left."""
    queue = kind(2)
    queue.put_many([1, 1])

    def work():
        with queue.working() as items:
            for _ in items:
                queue.put_many([1, 1])

    workers = [spawn(work) for _ in range(3)]
    for worker in workers:
        error = worker.exception()
        assert isinstance(error, RuntimeError), error
        assert "without a bound" in str(error)
    assert queue.statistics().waiting_putters == 0


def test_tasks_that_all_wait_for_room_are_told():
    async def work(queue):
        async with queue.working() as items:
            async for _ in items:
                await queue.put_async(1)
                await queue.put_async(1)

    async def main():
        queue = Queue(2)
        queue.put_many([1, 1])
        return await asyncio.gather(work(queue), work(queue), asyncio.to_thread(asyncio.run, work(queue)), return_exceptions=True)

    assert [type(error) for error in asyncio.run(main())] == [RuntimeError] * 3


@every_kind
def test_a_worker_may_wait_for_room_while_another_takes_items(kind):
    queue = kind(1)
    queue.put(1)
    waiting = []

    def feed():
        with queue.working() as items:
            for _ in items:
                queue.put(0)
                waiting.append(True)
                queue.put(0)  # waits: the other worker has not begun to look
                return

    def take():
        with queue.working() as items:
            entered.set()
            assert release.wait(30)
            return sum(1 for _ in items)

    entered, release = threading.Event(), threading.Event()
    taker = spawn(take)
    assert entered.wait(30)
    feeder = spawn(feed)
    wait_until(lambda: queue.statistics().waiting_putters == 1)
    release.set()
    feeder.result()
    assert taker.result() == 2


def test_a_put_with_a_timeout_is_not_stuck():
    queue = Queue(1)
    queue.put(1)
    with queue.working() as items:
        for _ in items:
            queue.put(1)
            with pytest.raises(Full):
                queue.put(1, timeout=0.01)
            break
    assert queue.qsize() == 1


def test_it_shows_its_queue():
    """Not only an address."""
    q = Queue(3)
    assert repr(q.working()) == f"<working on {q!r}>"
