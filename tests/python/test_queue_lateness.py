"""Items that come too late: `ttl`, what is reported of them, and what the queue says about waiting times."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import weakref
from datetime import timedelta

import pytest
from helpers import FORKING, PATIENCE, collect, is_gone, run_script, settle, spawn, wait_until

import sluicegate
from sluicegate import CoalescingQueue, Empty, FairQueue, Full, LifoQueue, PriorityQueue, Queue, Sample, ShutDown, SimpleQueue, select
from sluicegate.testing import ManualClock

KINDS = [Queue, LifoQueue, PriorityQueue]


class Log(list):
    """What `on_drop` was told."""

    def __call__(self, item, reason):
        self.append((item, reason))


def made(kind=Queue, maxsize=0, **settings):
    clock, log = ManualClock(), Log()
    return kind(maxsize, on_drop=log, clock=clock, **settings), clock, log


# --- ttl ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_whose_time_has_passed_is_never_delivered(kind):
    q, clock, log = made(kind)
    q.put(1, ttl=2)
    q.put(2)
    q.put(3, ttl=1)
    clock.advance(0.999999999)
    q.put(4, ttl=1)
    clock.advance(0.000000001)
    assert sorted(q.get_many(9)) == [1, 2, 4]
    assert log == [(3, "expired")]


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_expired_is_reported_once_and_counts_as_done(kind):
    q, clock, log = made(kind)
    for item in range(3):
        q.put(item, ttl=1)
    clock.advance(1)
    assert q.qsize() == 3, "expiry is lazy"
    with pytest.raises(Empty):
        q.get_nowait()
    assert sorted(log) == [(0, "expired"), (1, "expired"), (2, "expired")]
    q.join(timeout=0)
    seen = q.statistics()
    assert (seen.dropped_expired, seen.gets, seen.puts, seen.unfinished_tasks) == (3, 0, 3, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("put", ["put", "put_nowait", "offer", "put_async", "put_many", "iterator"])
def test_when_full_expired_items_go_first(kind, put):
    q, clock, log = made(kind, 3)
    q.put(1)
    q.put(2, ttl=1)  # in the middle
    q.put(3)
    clock.advance(1)
    calls = {
        "put": lambda: q.put(4, timeout=0),
        "put_nowait": lambda: q.put_nowait(4),
        "offer": lambda: q.offer(4),
        "put_async": lambda: asyncio.run(q.put_async(4, timeout=0)),
        "put_many": lambda: q.put_many([4], timeout=0),
        "iterator": lambda: q.put_many(iter([4]), timeout=0),
    }
    answer = calls[put]()
    assert log == [(2, "expired")]
    assert sorted(q.get_many(9)) == [1, 3, 4]
    if put == "offer":
        assert (answer.accepted, answer.displaced, answer.reason) == (True, (2,), "expired")


@pytest.mark.parametrize(
    ("kind", "overflow"), [(Queue, "drop_oldest"), (LifoQueue, "drop_oldest"), (PriorityQueue, "drop_lowest"), (Queue, Sample(1))]
)
def test_the_policy_decides_when_nothing_has_expired(kind, overflow):
    q, clock, log = made(kind, 2, overflow=overflow)
    q.put(1, ttl=2)
    q.put(9, ttl=1)
    q.put(5)
    assert log == [(9, "lowest") if kind is PriorityQueue else (1, "sampled" if overflow == Sample(1) else "oldest")]
    clock.advance(5)
    q.put(6)
    assert log[1][1] == "expired"
    assert sorted(q.get_many(9)) == [5, 6]


def test_expired_items_are_found_wherever_they_are_in_a_heap():
    dice = random.Random(3)
    q, clock, log = made(PriorityQueue, 50)
    items = list(range(50))
    dice.shuffle(items)
    doomed = set(dice.sample(items, 20))
    for item in items:
        q.put(item, ttl=1 if item in doomed else None)
    clock.advance(1)
    q.put(50)
    assert {item for item, _ in log} == doomed
    assert q.qsize() == 31
    assert q.get_many(99) == sorted(set(range(51)) - doomed), "still a heap"


def test_a_comparison_that_fails_while_expired_items_go_loses_nothing():
    class Odd(int):
        def __lt__(self, other):
            if armed:
                raise OSError("disk")
            return int(self) < int(other)

    armed = False
    q, clock, log = made(PriorityQueue, 8)
    for item in range(8):
        q.put(Odd(item), ttl=1 if item < 3 else None)
    clock.advance(1)
    armed = True
    with pytest.raises(OSError, match="disk"):
        q.put(Odd(9))
    armed = False
    rest = q.get_many(99)
    assert sorted([*rest, *(item for item, _ in log)]) == list(range(8))
    assert q.statistics().unfinished_tasks == len(rest)


# --- a putter that waits until an item expires --------------------------------------------------------------------


WAYS_TO_PUT = [
    lambda q: q.put("waits"),
    lambda q: q.put("waits", timeout=2),
    lambda q: q.put("waits", ttl=2),
    lambda q: q.put_many(["waits"]),
    lambda q: q.put_many(iter(["waits"])),
    lambda q: select(q.putting("waits")),
    lambda q: asyncio.run(q.put_async("waits")),
    lambda q: asyncio.run(q.put_many_async(iter(["waits"]), timeout=2)),
]


@pytest.mark.parametrize("put", WAYS_TO_PUT, ids=["put", "timeout", "ttl", "batch", "iterator", "select", "task", "tasks-batch"])
@pytest.mark.parametrize("kind", [*KINDS, FairQueue])
def test_a_putter_that_waits_gets_the_place_of_an_item_that_expires(kind, put):
    keyed = {"key": lambda item: "all"} if kind is FairQueue else {}
    q, clock, log = made(kind, 1, **keyed)
    q.put("late", ttl=1)
    waiting = spawn(put, q)
    clock.wait_for_waiters(1)
    clock.advance(0.999)
    clock.wait_for_waiters(1)
    assert (log, waiting.is_alive()) == ([], True)
    clock.advance(0.001)
    waiting.join(PATIENCE)
    assert q.get_nowait() == "waits"
    assert log == [("late", "expired")]


def test_its_own_time_ends_with_that_of_the_item():
    """The place is free at the moment at which it stops waiting: it has it."""
    q, clock, log = made(Queue, 1)
    q.put("late", ttl=1)
    waiting = spawn(q.put, "waits", timeout=1)
    clock.wait_for_waiters(1)
    clock.advance(1)
    waiting.join(PATIENCE)
    assert (q.get_nowait(), log) == ("waits", [("late", "expired")])


@pytest.mark.parametrize("kind", [*KINDS, FairQueue])
def test_an_item_that_expires_earlier_comes_while_they_wait(kind):
    keyed = {"key": lambda item: "all"} if kind is FairQueue else {}
    q, clock, log = made(kind, 1, **keyed)
    q.put(0, ttl=100)
    first = spawn(q.put, 1, ttl=5)
    clock.wait_for_waiters(1)
    second = spawn(q.put, 2)
    clock.wait_for_waiters(2)
    assert q.get() == 0
    first.join(PATIENCE)
    clock.wait_for_waiters(1)
    clock.advance(5)
    second.join(PATIENCE)
    assert (q.get_nowait(), log) == (2, [(1, "expired")])


def test_a_putter_that_came_while_the_mutex_was_locked():
    q = FairQueue(1, key=lambda item: item)
    q.put("late", ttl=0.2)
    with q.mutex:
        waiting = spawn(q.put, "waits")
        wait_until(lambda: q.statistics().waiting_putters == 1)
    waiting.join(PATIENCE)
    assert q.get_nowait() == "waits"


def test_where_the_wait_of_the_condition_has_been_replaced():
    q = Queue(1)
    wait = q.not_full.wait
    q.not_full.wait = lambda *args: wait(*args)
    q.put("late", ttl=0.2)
    waiting = spawn(q.put, "waits")
    waiting.join(PATIENCE)
    assert q.get_nowait() == "waits"


def test_with_a_clock_of_the_system():
    q = Queue(1)
    q.put("late", ttl=0.05)
    q.put("waits")
    assert q.get_nowait() == "waits"


# --- a ttl that passes during the wait ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_put_whose_time_passes_while_it_waits_is_refused_and_not_reported(kind):
    q, clock, log = made(kind, 1)
    q.put(0)
    putter = spawn(q.put, 1, ttl=5)
    clock.wait_for_waiters(1)
    clock.advance(5)
    with pytest.raises(Full, match="ttl has passed"):
        putter.result()
    assert log == []
    assert q.statistics().waiting_putters == 0


def test_the_wait_for_room_counts():
    q, clock, log = made(Queue, 1)
    q.put(0)
    putter = spawn(q.put, 1, ttl=5)
    clock.wait_for_waiters(1)
    clock.advance(3)
    assert q.get() == 0
    putter.result()
    clock.advance(1.5)
    assert q.peek() == 1
    clock.advance(0.5)
    with pytest.raises(Empty):
        q.get(block=False)
    assert log == [(1, "expired")]


def test_a_shorter_timeout_ends_the_wait_first():
    q, clock, _ = made(Queue, 1)
    q.put(0)
    putter = spawn(q.put, 1, timeout=2, ttl=5)
    clock.wait_for_waiters(1)
    clock.advance(2)
    with pytest.raises(Full, match="timeout=2"):
        putter.result()


def test_from_a_coroutine():
    async def main():
        q, clock, log = made(Queue, 1)
        await q.put_async(0, ttl=1)
        waiting = asyncio.create_task(q.put_async(1, ttl=3))
        await settle()
        await clock.advance_async(2)
        assert await q.get_async(timeout=5) == 1
        assert log == [(0, "expired")]
        with pytest.raises(Full):
            await q.put_async(2)
            await q.put_async(3, timeout=0, ttl=9)
        await waiting

    asyncio.run(main())


def test_a_getter_sleeps_on_beside_an_expired_item():
    q, clock, log = made()
    q.put(1, ttl=1)
    clock.advance(1)
    getter = spawn(q.get)
    wait_until(lambda: log == [(1, "expired")])
    q.put(2, ttl=1)
    assert getter.result() == 2


def test_a_queue_that_is_shut_down_is_drained_when_the_rest_has_expired():
    q, clock, log = made()
    q.put(1, ttl=1)
    q.shutdown()
    clock.advance(1)
    with pytest.raises(ShutDown):
        q.get()
    assert log == [(1, "expired")]
    assert list(q) == []


def test_a_joiner_is_released_by_what_expires():
    q, clock, _ = made()
    q.put(1, ttl=1)
    joiner = spawn(q.join, timeout=20)
    wait_until(lambda: q.statistics().waiting_joiners == 1)
    clock.advance(1)
    with pytest.raises(Empty):
        q.get(timeout=0)
    joiner.result()


@pytest.mark.parametrize(
    ("ttl", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("1", TypeError),
        (True, TypeError),
        (1e300, OverflowError),
    ],
)
def test_bad_times_to_live(ttl, error):
    q = Queue()
    for put in (q.put, q.put_nowait, q.offer, lambda item, ttl: asyncio.run(q.put_async(item, ttl=ttl))):
        with pytest.raises(error, match="ttl"):
            put(1, ttl=ttl)
    assert q.qsize() == 0


def test_a_timedelta_will_do():
    q, clock, _ = made()
    q.put(1, ttl=timedelta(seconds=1))
    clock.advance(0.9)
    assert q.get() == 1


class Hooked(Queue):
    def _init(self, maxsize):
        self.items = []

    def _qsize(self):
        return len(self.items)

    def _put(self, item):
        self.items.append(item)

    def _get(self):
        return self.items.pop(0)


def test_where_items_cannot_have_notes():
    with pytest.raises(TypeError, match="overrides"):
        Hooked(track_latency=True)
    for q in (Hooked(), CoalescingQueue(key=int)):
        with pytest.raises(TypeError, match="'ttl' is not available"):
            q.put(1, ttl=1)
        with pytest.raises(TypeError, match="'ttl' is not available"):
            q.offer(1, ttl=1)
        assert q.qsize() == 0
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        SimpleQueue().put(1, ttl=1)


def test_a_subclass_with_its_own_put_is_told():
    class Own(Queue):
        def put(self, item, block=True, timeout=None, *, ttl=None):
            self.seen = (block, ttl)
            super().put(item, block, timeout, ttl=ttl)

    q = Own()
    q.put_nowait(1, ttl=5)
    assert q.seen == (False, 5)


# --- the queue as it was ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Queue, LifoQueue])
def test_the_live_view_and_the_mutex(kind):
    q, clock, log = made(kind, 4)
    q.put(1)
    q.put(2, ttl=1)
    q.queue.append(3)
    del q.queue[0]
    assert list(q.queue) == [2, 3]
    clock.advance(1)
    with q.mutex:
        q._put(4)
        q.put_nowait(5)
        assert q.get_nowait() == (5 if kind is LifoQueue else 3)
    q.put_many(iter([6]))
    assert sorted(q.get_many(9)) == ([3, 4, 6] if kind is LifoQueue else [4, 5, 6])
    assert log == [(2, "expired")]


@pytest.mark.parametrize("kind", KINDS)
def test_cleared_and_made_anew(kind):
    q, clock, log = made(kind, 2)
    q.put(1, ttl=1)
    assert q.clear() == 1
    q.put(2, ttl=1)
    q.put(3)
    q.__init__(2, on_drop=log, clock=clock)
    clock.advance(5)
    q.put(4)
    assert (q.get(), log) == (4, [])
    q.put(5, ttl=1)
    q.shutdown(immediate=True)
    clock.advance(5)
    assert log == []


def test_putters_and_getters_wait_in_line():
    """A queue that keeps notes waits as the plain one: first come, first served."""
    q, clock, _ = made(Queue, 1)
    q.put(0, ttl=100)
    putters = []
    for item in (1, 2, 3):
        putters.append(spawn(q.put, item, ttl=100))
        clock.wait_for_waiters(item)
    assert [q.get(timeout=20) for _ in range(4)] == [0, 1, 2, 3]
    for putter in putters:
        putter.result()


def test_on_drop_of_an_expired_item_may_use_the_queue():
    q, clock, _ = made()
    seen = []
    q.__init__(clock=clock, on_drop=lambda item, reason: (seen.append((item, reason)), q.put(item + 10)))
    q.put(1, ttl=1)
    clock.advance(1)
    with pytest.raises(Empty):
        q.get(block=False)
    assert q.get() == 11
    assert seen == [(1, "expired")]


def test_what_on_drop_raises_does_not_take_the_item_with_it(monkeypatch):
    caught = []
    monkeypatch.setattr("sys.unraisablehook", caught.append)
    clock = ManualClock()

    def on_drop(item, reason):
        raise OSError("disk")

    q = Queue(clock=clock, on_drop=on_drop)
    q.put(1, ttl=1)
    q.put(2)
    clock.advance(1)
    assert q.get() == 2
    assert "disk" in str(caught[0].exc_value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_queue_of_such_items_is_collected(kind):
    class Item:
        def __lt__(self, other):
            return id(self) < id(other)

    q, item = kind(), Item()
    item.queue = q
    q.put(item, ttl=1000)
    q.put(Item())
    gone = weakref.ref(item)
    del q, item
    collect()
    assert is_gone(gone)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork():
    run_script(
        FORKING
        + """
from sluicegate import Empty, Queue
from sluicegate.testing import ManualClock

clock = ManualClock()
q = Queue(2, clock=clock)
q.put(1, ttl=1)
q.put(2)
clock.advance(1)
q.put(3, timeout=0)

def child():
    assert q.get_many(9) == [2, 3]
    q.put(4, ttl=1)
    clock.advance(1)
    try:
        q.get(timeout=0)
    except Empty:
        assert q.statistics().dropped_expired == 2
    else:
        raise AssertionError

check(in_child(child))
assert q.get_many(9) == [2, 3]
""",
        quiet=False,  # a newer Python warns of forking a process with threads
    )


def test_daemons_that_wait_with_a_ttl_do_not_keep_the_interpreter():
    run_script("""
        import threading, sluicegate
        q = sluicegate.Queue(1)
        q.put(0, ttl=1000)
        for _ in range(2):
            threading.Thread(target=q.put, args=(1,), kwargs={"ttl": 1000}, daemon=True).start()
        threading.Thread(target=sluicegate.Queue(track_latency=True).get, daemon=True).start()
    """)


# --- track_latency ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_how_long_items_have_waited(kind):
    q, clock, _ = made(kind, 100, track_latency=True)
    assert q.statistics().latency == sluicegate.Latency(0, 0, 0, 0, 0, 0, 0)
    assert q.statistics().oldest_seconds is None
    for item in range(100):
        q.put(item)
    for _ in range(100):
        clock.advance(0.01)
        q.get()
    seen = q.statistics().latency
    assert (seen.count, seen.max) == (100, 1.0)
    assert seen.mean == pytest.approx(0.505)
    for share, value in ((0.5, seen.p50), (0.9, seen.p90), (0.99, seen.p99)):
        assert share <= value <= share * 1.0625


def test_the_age_of_the_oldest_item():
    q, clock, _ = made(Queue, track_latency=True)
    q.put_many([1, 2])
    clock.advance(2)
    q.put(3)
    assert q.statistics().oldest_seconds == 2
    q.get_many(2)
    clock.advance(1)
    assert q.statistics().oldest_seconds == 1
    assert Queue().statistics().latency is None


def test_a_storm_of_late_items():
    """Every item is delivered, reported, refused or inside, and nobody who waits is forgotten."""
    log = Log()
    q = Queue(4, on_drop=log, track_latency=True)
    refused, received = [], []

    def put(seed):
        dice = random.Random(seed)
        for number in range(300):
            item = (seed, number)
            try:
                q.put(item, timeout=dice.choice([None, 0.0005]), ttl=dice.choice([0.0002, 0.002, 10]))
            except Full:
                refused.append(item)

    def get():
        while True:
            try:
                received.extend(q.get_many(3) if random.random() < 0.5 else [q.get()])
            except ShutDown:
                return

    putters, getters = [spawn(put, seed) for seed in range(3)], [spawn(get) for _ in range(2)]
    for putter in putters:
        putter.result()
    q.shutdown()
    for getter in getters:
        getter.result()
    everything = [*received, *refused, *(item for item, _ in log)]
    assert sorted(everything) == [(seed, number) for seed in range(3) for number in range(300)]
    assert q.statistics().latency.count == len(received)
    assert threading.active_count() < 50
