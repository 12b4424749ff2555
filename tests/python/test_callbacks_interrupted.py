"""A signal handler that raises while a callback of the user's runs: the callback is the one that it ends, every other call is made, and the
exception is raised as soon as the operation can end; and what a callback itself raises."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import sys

import pytest

from sluicegate import CircuitBreaker, CreditChannel, FairQueue, LifoQueue, PriorityQueue, Queue, Sample
from sluicegate.testing import ManualClock

pytestmark = pytest.mark.thread_unsafe(reason="signal handlers run on the main thread alone")


class Stop(BaseException):
    """What the signal handler raises."""


@pytest.fixture(autouse=True)
def _handler():
    def stop(number, frame):
        raise Stop

    before = signal.signal(signal.SIGUSR1, stop)
    yield
    signal.signal(signal.SIGUSR1, before)


class Log(list):
    """A callback that a signal interrupts in some of its calls."""

    def __init__(self, *at):
        self.at = at

    def __call__(self, *args):
        self.append(args[0] if args else None)
        if len(self) in self.at:
            signal.raise_signal(signal.SIGUSR1)


class Hooked(Queue):
    def _put(self, item):
        super()._put(item)


KINDS = [
    pytest.param(lambda log: Queue(2, overflow="drop_oldest", on_drop=log), id="oldest"),
    pytest.param(lambda log: LifoQueue(2, overflow="drop_newest", on_drop=log), id="newest"),
    pytest.param(lambda log: PriorityQueue(2, overflow="drop_lowest", on_drop=log), id="heap"),
    pytest.param(lambda log: Queue(2, overflow=Sample(2), on_drop=log), id="sample"),
    pytest.param(lambda log: Hooked(2, overflow="drop_oldest", on_drop=log), id="hooks"),
    pytest.param(lambda log: Queue(2, overflow="drop_oldest", on_drop=log, weigh=lambda item: 1, max_weight=2), id="weight"),
    pytest.param(lambda log: FairQueue(2, overflow="drop_oldest", on_drop=log, key=lambda item: item % 3), id="fair"),
]


@pytest.mark.parametrize("iterable", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize("make", KINDS)
def test_a_batch_ends_at_the_interrupt(make, iterable):
    """Each item is delivered, reported or not accepted; without the interrupt all of them would have been."""
    log = Log(6)
    q = make(log)
    items = range(10_000)
    with pytest.raises(Stop) as caught:
        q.put_many(iterable(list(items)))
    accepted = caught.value.accepted
    assert sorted([*log, *q.get_many(10)]) == list(range(accepted))
    assert len(log) == sum(getattr(q.statistics(), f"dropped_{why}") for why in ("oldest", "newest", "lowest", "sampled"))
    # Where all of a batch is put in one step, that has happened when the first drop is reported.
    assert accepted in (8, 10_000)
    assert accepted == 8 or iterable is list


@pytest.mark.parametrize("iterable", [list, iter], ids=["list", "iterator"])
def test_a_batch_of_a_task_ends_at_the_interrupt(iterable):
    log = Log(6)
    q = Queue(2, overflow="drop_oldest", on_drop=log)

    async def main():
        with pytest.raises(Stop) as caught:
            await q.put_many_async(iterable([*range(100)]))
        return caught.value.accepted

    assert asyncio.run(main()) == 8
    assert log == [*range(6)]


def test_a_put_has_happened():
    log = Log(1)
    q = Queue(1, overflow="drop_oldest", on_drop=log)
    q.put("old")
    with pytest.raises(Stop):
        q.put("new")
    assert (log, q.get()) == (["old"], "new")


@pytest.mark.parametrize(
    "get", [lambda q: q.get(), lambda q: q.get_many(10), lambda q: q.get_nowait()], ids=["get", "get_many", "get_nowait"]
)
def test_every_expired_item_is_reported(get, monkeypatch):
    """The second of two exceptions goes to `sys.unraisablehook`, as it is not known which of them matters more."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(unraisable.exc_type))
    clock = ManualClock()
    log = Log(1, 7)
    q = Queue(clock=clock, on_drop=log)
    for n in range(50):
        q.put(n, ttl=1)
    q.put("live")
    clock.advance(2)
    with pytest.raises(Stop):
        get(q)
    assert log == [*range(50)]
    assert seen == [Stop]


def test_a_callback_in_a_callback_is_not_cut_short():
    """The exception is raised when the outermost has ended."""
    inner, done = Log(1), []
    second = Queue(1, overflow="drop_oldest", on_drop=inner)

    def pass_on(item, reason):
        second.put(item)
        second.put(item)
        done.append(item)

    first = Queue(1, overflow="drop_oldest", on_drop=pass_on)
    first.put(1)
    with pytest.raises(Stop):
        first.put(2)
    assert (inner, done) == ([1], [1])


def test_marks_of_pressure():
    log = Log(1)
    later = []
    q = Queue(10, high=2, low=1)
    q.pressure.on_change(log)
    q.pressure.on_change(later.append)
    with pytest.raises(Stop):
        q.put_many([1, 2, 3])
    assert (log, later, q.qsize()) == ([True], [True], 3)


def test_discarded_items_of_a_channel():
    log = Log(1)
    channel = CreditChannel(8, on_discard=log)
    for n in range(5):
        channel.sender.send(n)
    with pytest.raises(Stop):
        channel.receiver.cancel()
    assert log == [*range(5)]


def test_a_breakers_listener():
    log = Log(1)
    breaker = CircuitBreaker(on_change=log)
    with pytest.raises(Stop):
        breaker.force_open()
    assert (log, breaker.state) == (["closed"], "forced_open")


def cancelled():
    future = concurrent.futures.Future()
    future.cancel()
    return future.result()


def cancelled_task():
    raise asyncio.CancelledError


def closed():
    raise GeneratorExit


@pytest.mark.parametrize("fail", [cancelled, cancelled_task, closed])
def test_a_cancellation_in_a_callback_concerns_the_callback(monkeypatch, fail):
    """It would cancel the task that puts, which nobody has cancelled."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(type(unraisable.exc_value)))
    log = []

    def on_drop(item, reason):
        log.append(item)
        fail()

    async def main():
        q = Queue(1, overflow="drop_oldest", on_drop=on_drop)
        assert await q.put_many_async([1, 2, 3, 4]) == 4

    asyncio.run(main())
    assert log == [1, 2, 3]
    assert len(seen) == 3


# --- long batches of tasks ----------------------------------------------------------------------------------------


def unbounded(items):
    return Queue().put_many_async(iter(items))


def dropping(items):
    return Queue(2, overflow="drop_oldest").put_many_async(iter(items), timeout=1e-6)


def dropping_from_a_list(items):
    return Queue(2, overflow="drop_newest").put_many_async([*items])


async def credited(items):
    channel = CreditChannel(len(items))
    return await channel.sender.send_many_async(iter(items))


@pytest.mark.parametrize("put_many_async", [unbounded, dropping, dropping_from_a_list, credited])
def test_a_long_batch_lets_the_loop_run(put_many_async):
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main():
        beside = asyncio.create_task(others())
        await asyncio.sleep(0)
        before = turns
        assert await put_many_async(range(10_000)) == 10_000
        assert turns - before >= 10_000 // 128 - 1
        beside.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("items", [list, iter], ids=["list", "iterator"])
def test_a_worker_that_lets_the_loop_run_does_not_wait_for_room(items):
    """It is no deadlock of workers that feed their own queue."""

    q = Queue(1, overflow="drop_oldest")
    q.put("first")

    async def work():
        with q.working() as taken:
            async for item in taken:
                if item != "first":
                    return item
                assert await q.put_many_async(items([*range(1000)])) == 1000
        return None

    assert asyncio.run(work()) == 999
