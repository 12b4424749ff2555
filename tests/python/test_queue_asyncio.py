"""The queues awaited on one event loop, asyncio's and uvloop's."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from helpers import on_loops, settle, step

import sluicegate
from sluicegate import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue
from sluicegate.testing import ManualClock

ALL = [Queue, LifoQueue, PriorityQueue, SimpleQueue]
ORDER = {Queue: list, LifoQueue: lambda items: list(reversed(items)), PriorityQueue: sorted, SimpleQueue: list}
every = pytest.mark.parametrize("kind", ALL)


class Hooked(Queue):
    def _init(self, maxsize):
        self.held = []

    def _qsize(self):
        return len(self.held)

    def _put(self, item):
        self.held.append(item)

    def _get(self):
        return self.held.pop(0)


ORDER[Hooked] = list


async def waiting(*coroutines):
    """Tasks which have run up to their first wait."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    await settle()
    assert not any(task.done() for task in tasks)
    return tasks


# --------------------------------------------------------------------------------------------------- the family


@every
def test_async_methods_are_coroutine_functions(kind):
    """`*_async` are native coroutine functions, on the class and on the object."""
    names = ["put_async", "get_async", "put_many_async", "get_many_async"]
    if kind is not SimpleQueue:
        names.append("join_async")
    for name in names:
        assert inspect.iscoroutinefunction(getattr(kind, name)), name
        assert inspect.iscoroutinefunction(getattr(kind(), name)), name


@pytest.mark.parametrize("kind", [*ALL, Hooked])
@on_loops
async def test_what_is_ready_does_not_suspend(kind):
    """With room and items there, no operation gives up the loop."""
    queue = kind()
    assert step(queue.put_async(2)) == (True, None)
    assert step(queue.put_many_async([1, 3])) == (True, 2)
    expected = ORDER[kind]([2, 1, 3])
    assert step(queue.get_async()) == (True, expected[0])
    assert step(queue.get_many_async(9)) == (True, expected[1:])
    if kind is not SimpleQueue:
        for _ in range(3):
            queue.task_done()
        assert step(queue.join_async()) == (True, None)


@pytest.mark.parametrize("kind", [*ALL, Hooked])
@on_loops
async def test_a_getter_waits_for_an_item(kind):
    """`get_async` on an empty queue waits for a put, from any side."""
    queue = kind()
    first, second = await waiting(queue.get_async(), queue.get_async())
    queue.put_nowait("a")
    await queue.put_async("b")
    assert sorted([await first, await second]) == ["a", "b"]


@pytest.mark.parametrize("kind", [*ALL[:3], Hooked])
@on_loops
async def test_a_putter_waits_for_room(kind):
    """`put_async` on a full queue waits for a get."""
    queue = kind(1)
    await queue.put_async("a")
    (putter,) = await waiting(queue.put_async("b"))
    assert queue.get_nowait() == "a"
    await putter
    assert await queue.get_async() == "b"


@on_loops
async def test_producer_and_consumer_through_a_small_queue():
    """A thousand items through a queue of one, in order."""
    queue = Queue(1)

    async def produce():
        for i in range(1000):
            await queue.put_async(i)
        queue.shutdown()

    producer = asyncio.create_task(produce())
    assert [item async for item in queue] == list(range(1000))
    await producer
    seen = queue.statistics()
    assert (seen.puts, seen.gets, seen.peak_size) == (1000, 1000, 1)


@on_loops
async def test_many_tasks_share_a_queue():
    """Forty producers and forty consumers, each item once."""
    queue = Queue(3)

    async def produce(number):
        for i in range(50):
            await queue.put_async((number, i))

    async def consume():
        return [item async for item in queue]

    consumers = [asyncio.create_task(consume()) for _ in range(40)]
    await asyncio.gather(*(produce(number) for number in range(40)))
    queue.shutdown()
    parts = await asyncio.gather(*consumers)
    assert sorted(sum(parts, [])) == [(number, i) for number in range(40) for i in range(50)]


# -------------------------------------------------------------------------------------------------------- time


@on_loops
async def test_timeouts():
    """`timeout=` raises `Empty`, `Full` and `TimeoutError`, when due and not before."""
    clock = ManualClock()
    empty, full = Queue(clock=clock), Queue(1, clock=clock)
    full.put_nowait(0)
    tasks = await waiting(
        empty.get_async(timeout=5),
        empty.get_many_async(3, timeout=5),
        full.put_async(1, timeout=5),
        full.put_many_async([1, 2], timeout=5),
        full.join_async(timeout=5),
    )
    await clock.advance_async(4.999999999)
    assert not any(task.done() for task in tasks)
    await clock.advance_async(1e-9)
    assert all(task.done() for task in tasks)
    assert [type(task.exception()) for task in tasks] == [Empty, Empty, Full, Full, TimeoutError]
    assert tasks[3].exception().accepted == 0
    assert clock.waiters == 0
    seen = full.statistics()
    assert (seen.waiting_putters, seen.waiting_joiners, seen.put_blocked_seconds) == (0, 0, 10.0)
    assert empty.statistics().get_blocked_seconds == 10.0


@on_loops
async def test_timeout_zero_refuses_at_once():
    """`timeout=0` asks without waiting."""
    queue = Queue(1)
    with pytest.raises(Empty):
        await queue.get_async(timeout=0)
    with pytest.raises(Empty):
        await queue.get_many_async(2, timeout=0)
    await queue.put_async(1, timeout=0)
    with pytest.raises(Full):
        await queue.put_async(2, timeout=0)
    with pytest.raises(TimeoutError):
        await queue.join_async(timeout=0)
    assert await queue.get_async(timeout=0) == 1


BAD_TIMEOUTS = [
    (-1, ValueError),
    (float("nan"), ValueError),
    (float("inf"), (ValueError, OverflowError)),
    (1e20, (ValueError, OverflowError)),
    ("1", TypeError),
]


@pytest.mark.parametrize(("bad", "error"), BAD_TIMEOUTS)
@on_loops
async def test_bad_timeouts_are_refused_at_the_door(bad, error):
    """Refused by name and value even where nothing would have to be waited for; nothing changed."""
    queue = Queue(9)
    queue.put_nowait(0)
    source = iter([1])
    for coroutine in (
        queue.get_async(timeout=bad),
        queue.get_many_async(1, timeout=bad),
        queue.put_async(1, timeout=bad),
        queue.put_many_async(source, timeout=bad),
        Queue().join_async(timeout=bad),
    ):
        with pytest.raises(error, match="timeout") as info:
            await coroutine
        if not isinstance(bad, str):
            assert repr(bad) in str(info.value) or str(bad) in str(info.value)
    assert queue.qsize() == 1
    assert list(source) == [1]


@pytest.mark.parametrize("bad", [0, -1, True, 1.5, "1", None])
@on_loops
async def test_bad_max_and_linger_are_refused(bad):
    """`max` and `linger` of the awaited batch."""
    queue = Queue()
    queue.put_nowait(0)
    with pytest.raises((ValueError, TypeError), match=r"\bmax\b") as info:
        await queue.get_many_async(bad)
    assert repr(bad) in str(info.value)
    for wrong in (-1, float("nan"), float("inf"), "1"):
        with pytest.raises((ValueError, TypeError, OverflowError), match="linger"):
            await queue.get_many_async(1, linger=wrong)
    assert queue.qsize() == 1


# ------------------------------------------------------------------------------------------------------ batches


@on_loops
async def test_put_many_in_chunks():
    """A batch larger than the queue flows through as room appears."""
    queue = Queue(3)
    putter = asyncio.create_task(queue.put_many_async(iter(range(20))))
    received = []
    while len(received) < 20:
        received.append(await queue.get_async())
        assert queue.qsize() <= 3
    assert received == list(range(20))
    assert await putter == 20


@on_loops
async def test_a_batch_that_fits_is_seen_whole():
    """A waiting batch getter finds the whole batch."""
    queue = Queue(10)
    (getter,) = await waiting(queue.get_many_async(10))
    assert await queue.put_many_async(range(10)) == 10
    assert await getter == list(range(10))


@on_loops
async def test_put_many_refusals_tell_what_was_accepted():
    """`Full` and `ShutDown` carry `.accepted`, and the iterator stands at the first item not put."""
    clock = ManualClock()
    queue = Queue(2, clock=clock)
    source = iter(range(10))
    (putter,) = await waiting(queue.put_many_async(source, timeout=3))
    assert await queue.get_async() == 0
    await settle()
    await clock.advance_async(3)
    with pytest.raises(Full) as info:
        await putter
    assert info.value.accepted == 3
    assert next(source) == 3
    (putter,) = await waiting(queue.put_many_async(source))
    queue.shutdown()
    with pytest.raises(ShutDown) as info:
        await putter
    assert info.value.accepted == 0
    assert next(source) == 4
    assert await queue.get_many_async(9) == [1, 2]
    with pytest.raises(ShutDown) as info:
        await queue.put_many_async(source)
    assert info.value.accepted == 0
    assert next(source) == 5


@on_loops
async def test_put_many_from_an_iterable_that_raises():
    """The iterable's error passes through; what was taken from it is in the queue."""

    def source():
        yield 1
        raise LookupError

    queue = Queue()
    with pytest.raises(LookupError):
        await queue.put_many_async(source())
    assert queue.get_nowait() == 1


@on_loops
async def test_lingering():
    """A lingering `get_many_async` takes nothing until max, time, a full buffer or the shutdown."""
    clock = ManualClock()
    queue = Queue(4, clock=clock)
    queue.put_nowait(1)
    (getter,) = await waiting(queue.get_many_async(3, linger=10))
    assert queue.qsize() == 1
    queue.put_nowait(2)
    await settle()
    assert queue.qsize() == 2
    queue.put_nowait(3)
    assert await getter == [1, 2, 3]

    queue.put_nowait(1)
    (getter,) = await waiting(queue.get_many_async(3, linger=10))
    await clock.advance_async(9.999999999)
    assert not getter.done()
    await clock.advance_async(1e-9)
    assert await getter == [1]

    (getter,) = await waiting(queue.get_many_async(9, linger=10))
    queue.put_many([1, 2, 3])
    await settle()
    assert not getter.done()
    queue.put_nowait(4)
    assert await getter == [1, 2, 3, 4]

    queue.put_nowait(1)
    (getter,) = await waiting(queue.get_many_async(9, linger=10))
    queue.shutdown()
    assert await getter == [1]


@on_loops
async def test_lingering_keeps_its_place():
    """A getter that comes later waits behind the lingering one."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    queue.put_nowait(1)
    first, second = await waiting(queue.get_many_async(5, linger=10), queue.get_async())
    assert queue.qsize() == 1
    await clock.advance_async(10)
    assert await first == [1]
    assert not second.done()
    queue.put_nowait(2)
    assert await second == 2


# -------------------------------------------------------------------------------------- join, shutdown, iteration


@on_loops
async def test_join():
    """`join_async` waits for every `task_done`."""
    queue = Queue()
    await queue.join_async()
    queue.put_many([1, 2])
    first, second = await waiting(queue.join_async(), queue.join_async())
    queue.task_done()
    await settle()
    assert not first.done()
    queue.task_done()
    await asyncio.gather(first, second)


@on_loops
async def test_shutdown_wakes_every_task():
    """Getters and putters are woken with `ShutDown`; what is there is still served."""
    empty, full = Queue(), Queue(1)
    full.put_nowait("kept")
    tasks = await waiting(
        empty.get_async(), empty.get_async(), empty.get_many_async(2, linger=1), full.put_async(1), full.put_many_async([1, 2])
    )
    empty.shutdown()
    full.shutdown()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ShutDown] * 5
    assert await full.get_async() == "kept"
    for coroutine in (full.get_async(), full.put_async(1), full.get_many_async(1), full.put_many_async([1])):
        with pytest.raises(ShutDown):
            await coroutine


@on_loops
async def test_async_iteration():
    """`async for` ends at shutdown once drained, with fresh iterators and no `task_done`."""
    queue = Queue()
    queue.put_many([1, 2, 3])
    first, second = aiter(queue), aiter(queue)
    assert first is not second
    assert aiter(first) is first
    assert [await anext(first), await anext(second)] == [1, 2]
    queue.shutdown()
    assert [item async for item in queue] == [3]
    assert [item async for item in queue] == []
    assert queue.unfinished_tasks == 3
    with pytest.raises(StopAsyncIteration):
        await anext(first)


@on_loops
async def test_producers_and_consumers_as_async_managers():
    """`async with q.producers(n)` shared by tasks; the error arrives after the items."""
    queue = Queue(2)
    producing = queue.producers(2)
    error = ValueError("broken source")

    async def good():
        async with producing as entered:
            assert entered is queue
            for i in range(10):
                await queue.put_async(i)

    async def bad():
        async with producing:
            await queue.put_async(-1)
            raise error

    tasks = [asyncio.create_task(good()), asyncio.create_task(bad())]
    received = []
    with pytest.raises(ValueError, match="broken source") as info:
        async for item in queue:
            received.append(item)
    assert sorted(received) == list(range(-1, 10))
    assert info.value is error
    assert tasks[1].exception() is error
    await tasks[0]


@on_loops
async def test_the_last_consumer_leaving_wakes_putters():
    """When the last consumer has left, no producer waits for ever."""
    queue = Queue(1)
    queue.put_nowait(0)
    (putter,) = await waiting(queue.put_async(1))
    async with queue.consumers(1):
        pass
    with pytest.raises(ShutDown):
        await putter


@on_loops
async def test_growing_maxsize_and_clear_wake_putters():
    """Room that appears by `maxsize` or `clear` is filled."""
    queue = Queue(1)
    queue.put_nowait(0)
    tasks = await waiting(queue.put_async(1), queue.put_async(2), queue.put_async(3))
    queue.maxsize = 2
    await settle()
    assert [task.done() for task in tasks] == [True, False, False]
    assert queue.clear() == 2
    await asyncio.gather(*tasks)
    assert await queue.get_many_async(9) == [2, 3]


# ------------------------------------------------------------------------------------------------ the loop's turn


@pytest.mark.parametrize("operation", ["get", "put", "both", "get_many", "iterate"])
@on_loops
async def test_a_busy_task_gives_the_loop_a_turn(operation):
    """After 128 operations in a row without suspending, the next one lets the loop run a callback first."""
    queue = Queue()
    queue.put_many(range(1000))
    turn = asyncio.Event()
    asyncio.get_running_loop().call_soon(turn.set)
    done = 0

    async def busy():
        nonlocal done
        iterator = aiter(queue)
        while not turn.is_set():
            if operation in ("get", "both"):
                await queue.get_async()
            if operation in ("put", "both"):
                await queue.put_async(0)
            if operation == "get_many":
                await queue.get_many_async(1)
            if operation == "iterate":
                await anext(iterator)
            done += 2 if operation == "both" else 1

    await busy()
    assert done <= 130


@on_loops
async def test_the_turn_comes_before_the_object_is_touched():
    """While an operation gives the loop its turn it has taken nothing."""
    queue = Queue()
    queue.put_many(range(400))
    taken = 0
    while True:
        coroutine = queue.get_async()
        returned, _ = step(coroutine)
        if not returned:
            break
        taken += 1
        assert taken < 400
    assert queue.qsize() == 400 - taken
    assert queue.statistics().waiting_getters == 0
    coroutine.close()
    assert queue.qsize() == 400 - taken


@on_loops
async def test_waiting_counts_as_the_turn():
    """An operation that suspends starts the count anew: no extra turns for a polite task."""
    queue = Queue(1)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counter = asyncio.create_task(count())

    async def produce():
        for i in range(1000):
            await queue.put_async(i)

    producer = asyncio.create_task(produce())
    for _ in range(1000):
        await queue.get_async()
    await producer
    counter.cancel()
    assert turns < 3000


# ------------------------------------------------------------------------------------------------------- mistakes


def test_without_a_loop_a_wait_is_a_runtime_error():
    """Outside asyncio a `*_async` that must wait says so, and leaves no waiter behind."""
    queue = Queue(1)
    for make in (queue.get_async, lambda: queue.get_many_async(3)):
        coroutine = make()
        with pytest.raises(RuntimeError, match="(?i)asyncio|event loop"):
            coroutine.send(None)
    queue.put(0)
    for make in (lambda: queue.put_async(1), lambda: queue.put_many_async([1]), queue.join_async):
        coroutine = make()
        with pytest.raises(RuntimeError, match="(?i)asyncio|event loop"):
            coroutine.send(None)
    seen = queue.statistics()
    assert (seen.waiting_getters, seen.waiting_putters, seen.waiting_joiners, seen.size) == (0, 0, 0, 1)


def test_under_trio_a_wait_is_a_runtime_error():
    """Under trio the error names what is supported."""
    trio = pytest.importorskip("trio")
    queue = Queue()

    async def main():
        with pytest.raises(RuntimeError, match="(?i)asyncio"):
            await queue.get_async()

    trio.run(main)
    assert queue.statistics().waiting_getters == 0


@on_loops
async def test_a_coroutine_never_awaited_does_nothing():
    """Making the coroutine does nothing; only awaiting does."""
    queue = Queue()
    queue.put_nowait(1)
    coroutine = queue.get_async()
    assert queue.qsize() == 1
    coroutine.close()
    assert queue.get_nowait() == 1


# ------------------------------------------------------------------------------------------- a timeout that is not needed


#: Each awaitable call with a timeout which need not wait, and how its object gets ready for it.
UNHURRIED = {
    "put": (lambda queue, timeout: queue.put_async("item", timeout=timeout), lambda queue: None),
    "get": (lambda queue, timeout: queue.get_async(timeout=timeout), lambda queue: queue.put("item")),
}


async def have_a_turn(queue):
    """Suspends in an operation: for the next 128 it is not the loop's turn."""
    getter = asyncio.create_task(queue.get_async())
    await settle()
    queue.put("wakes it")
    await getter


@pytest.mark.parametrize("call", list(UNHURRIED))
@pytest.mark.parametrize("timeout", [None, 1, 0.5, 0, 0.0])
@on_loops
async def test_a_timeout_that_is_not_needed_costs_no_operation(call, timeout, monkeypatch):
    """What need not wait goes the short way, with a timeout too."""
    awaitable, prepare = UNHURRIED[call]
    queue = Queue()
    await have_a_turn(queue)
    prepare(queue)

    async def no(operation):
        raise AssertionError("the long way")

    monkeypatch.setattr(sluicegate._aio, "drive", no)
    await awaitable(queue, timeout)


@pytest.mark.parametrize("call", list(UNHURRIED))
@pytest.mark.parametrize(
    ("timeout", "error"),
    [(-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("1", TypeError), (True, TypeError), (1e12, OverflowError)],
)
@on_loops
async def test_a_bad_timeout_is_refused_where_there_is_no_wait(call, timeout, error):
    """At the door, with nothing changed."""
    awaitable, prepare = UNHURRIED[call]
    queue = Queue()
    await have_a_turn(queue)
    prepare(queue)
    before = queue.statistics()
    with pytest.raises(error, match="timeout"):
        await awaitable(queue, timeout)
    after = queue.statistics()
    assert (after.size, after.puts, after.gets) == (before.size, before.puts, before.gets)
