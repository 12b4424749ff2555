"""What types a user's type checker sees: checked by pyright, never run."""

import asyncio
import queue

from typing_extensions import assert_type

import sluicegate
from sluicegate import Clock, LifoQueue, Offered, PressureListener, PriorityQueue, Queue, QueueStatistics, Sample, SimpleQueue
from sluicegate.testing import ManualClock


def threads(q: Queue[int]) -> None:
    assert_type(q.put(1), None)
    assert_type(q.get(), int)
    assert_type(q.get(timeout=1), int)
    assert_type(q.get_nowait(), int)
    assert_type(q.peek(), int)
    assert_type(q.put_many([1, 2]), int)
    assert_type(q.get_many(10, linger=0.5), list[int])
    assert_type(q.statistics(), QueueStatistics)
    assert_type(list(q), list[int])
    assert_type(q.offer(1), Offered[int])
    assert_type(q.offer(1).displaced, tuple[int, ...])
    q.overflow = "drop_oldest"
    q.overflow = Sample(3)
    q.overflow = "drop"  # pyright: ignore[reportAttributeAccessIssue]
    q.max_weight = 3
    assert_type(q.pressure.level, float)
    with q.pressure.drive(lambda: None, lambda: None) as listener:
        assert_type(listener, PressureListener)
    q.pressure.on_change(lambda high: assert_type(high, bool))
    q.pressure.on_change(tasks)  # pyright: ignore[reportArgumentType]
    q.pressure.high = True  # pyright: ignore[reportAttributeAccessIssue]
    Queue(10, high="0.8")  # pyright: ignore[reportArgumentType]
    with q.producers(2) as same:
        assert_type(same.get(), int)
    with q.consumers():
        pass
    with q.working() as items:
        assert_type(list(items), list[int])


async def tasks(q: Queue[int]) -> None:
    assert_type(await q.pressure.wait_low_async(1), None)
    assert_type(await q.put_async(1), None)
    assert_type(await q.get_async(timeout=1), int)
    assert_type(await q.get_many_async(10), list[int])
    assert_type(await q.put_many_async(iter([1])), int)
    assert_type(asyncio.create_task(q.get_async()), asyncio.Task[int])
    assert_type([item async for item in q], list[int])
    assert_type(await q.async_q.get(), int)
    assert_type(q.sync_q.get(timeout=1), int)
    async with q.producers(1):
        pass
    async with q.working() as items:
        assert_type([item async for item in items], list[int])


def refused(q: Queue[int]) -> None:
    q.put("text")  # pyright: ignore[reportArgumentType]
    q.nothing()  # pyright: ignore[reportAttributeAccessIssue]
    print("text" in q)  # pyright: ignore[reportOperatorIssue]
    LifoQueue[int]("3")  # pyright: ignore[reportArgumentType]

    class OwnClock(Clock):  # pyright: ignore[reportGeneralTypeIssues]
        pass

    print(OwnClock())


def drop_in(q: Queue[int]) -> None:
    theirs: queue.Queue[int] = q
    assert_type(theirs.get(), int)
    q.maxsize = 10
    assert_type(q.not_full.wait(1), bool)
    with q.mutex:
        q.not_full.notify()
    assert_type(q.mutex.acquire(timeout=1), bool)
    assert_type(q.statistics().maxsize, int)


class Newest(Queue[int]):
    def __init__(self, maxsize: int, kept: list[int]) -> None:
        super().__init__(maxsize, name="newest")
        self.queue = kept

    def _put(self, item: int) -> None:
        self.queue.append(item)

    def _get(self) -> int:
        return self.queue.pop()


def subclass() -> None:
    with Newest(3, []).producers() as same:
        assert_type(same, Newest)


def family() -> None:
    plain: Queue[str] = LifoQueue(maxsize=3, name="stack")
    heap: Queue[tuple[int, str]] = PriorityQueue()
    simple = SimpleQueue[bytes]()
    assert_type(plain.get(), str)
    assert_type(heap.get(), tuple[int, str])
    assert_type(simple.get(), bytes)
    clock: Clock = ManualClock()
    Queue[int](clock=clock)


def errors(q: Queue[int]) -> None:
    try:
        q.put_many([1])
    except sluicegate.Full as refusal:
        standard: queue.Full = refusal
        also: asyncio.QueueFull = refusal
        print(standard, also)
        assert_type(refusal.accepted, int)


def standard_library() -> None:
    """Where the standard library's class is asked for, ours will do."""
    fifo: queue.Queue[int] = Queue()
    lifo: queue.LifoQueue[int] = LifoQueue()
    heap: queue.PriorityQueue[int] = PriorityQueue()
    assert_type(fifo.get() + lifo.get() + heap.get(), int)
