"""Queues that bound what their items weigh together."""

from __future__ import annotations

import asyncio
import random

import pytest
from helpers import collect, is_gone, spawn, wait_until

from sluicegate import CoalescingQueue, Full, LifoQueue, PriorityQueue, Queue, Sample, ShutDown


class Log(list):
    """What `on_drop` was told."""

    def __call__(self, item, reason):
        self.append((item, reason))


def made(max_weight=10, kind=Queue, maxsize=0, weigh=len, **settings):
    log = Log()
    return kind(maxsize, weigh=weigh, max_weight=max_weight, on_drop=log, **settings), log


KINDS = [Queue, LifoQueue, PriorityQueue]


@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_is_bounded(kind):
    q, _ = made(kind=kind)
    q.put("aaaa")
    q.put("bbbbbb")
    with pytest.raises(Full):
        q.put_nowait("c")
    q.put_nowait("")  # weighs nothing
    seen = q.statistics()
    assert (seen.weight, seen.max_weight, seen.size) == (10, 10, 3)
    q.get_many(9)
    assert q.statistics().weight == 0
    assert Queue().statistics().weight is None


@pytest.mark.parametrize("kind", KINDS)
def test_both_bounds_hold(kind):
    q, _ = made(10, kind, 2)
    q.put("a")
    q.put("b")
    with pytest.raises(Full):
        q.put("c", timeout=0)
    q.get()
    with pytest.raises(Full):
        q.put("x" * 10, timeout=0)
    q.put("x" * 9)


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_never_fit_is_refused_at_the_door(kind):
    q, log = made(kind=kind, maxsize=5, overflow="drop_newest")
    q.put("a")
    for put in (q.put, q.put_nowait, q.offer, lambda item: q.put_many([item]), lambda item: asyncio.run(q.put_async(item))):
        with pytest.raises(ValueError, match="weighs 11 can never be put: 'max_weight' is 10"):
            put("x" * 11)
    assert (q.qsize(), log) == (1, [])


@pytest.mark.parametrize(
    ("weight", "error"), [(-1, ValueError), (1.0, TypeError), ("1", TypeError), (True, TypeError), (None, TypeError), (1 << 70, ValueError)]
)
def test_bad_weights(weight, error):
    q, _ = made(weigh=lambda item: weight)
    with pytest.raises(error, match="weigh"):
        q.put(1)
    assert q.qsize() == 0


def test_weigh_runs_once_and_may_use_the_queue():
    calls = []

    def weigh(item):
        calls.append(item)
        assert q.qsize() == 0 or item
        return 1

    q, _ = made(2, weigh=weigh)
    q.put(1)
    q.put(2)
    putter = spawn(q.put, 3)
    wait_until(lambda: q.statistics().waiting_putters == 1)
    q.get()
    putter.result()
    q.put_many([], timeout=0)
    assert calls == [1, 2, 3]
    with pytest.raises(OSError, match="disk"):
        made(weigh=lambda item: (_ for _ in ()).throw(OSError("disk")))[0].put(1)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"weigh": len}, ValueError),
        ({"max_weight": 5}, ValueError),
        ({"weigh": 3, "max_weight": 5}, TypeError),
        ({"weigh": len, "max_weight": 0}, ValueError),
        ({"weigh": len, "max_weight": 1.5}, TypeError),
    ],
)
def test_bad_settings(settings, error):
    with pytest.raises(error, match="weight|weigh"):
        Queue(**settings)


def test_what_does_not_go_together():
    class Hooked(Queue):
        def _put(self, item):
            self.queue.append(item)

    with pytest.raises(TypeError, match="'weigh' is not available in a class that overrides"):
        Hooked(weigh=len, max_weight=1)
    with pytest.raises(TypeError):
        CoalescingQueue(key=len, weigh=len, max_weight=1)
    for overflow in ("drop_lowest", Sample(2)):
        with pytest.raises(ValueError, match="several"):
            PriorityQueue(5, weigh=len, max_weight=1, overflow=overflow)


# --- policies -----------------------------------------------------------------------------------------------------


def test_drop_oldest_displaces_as_many_as_are_needed_and_no_more():
    q, log = made(overflow="drop_oldest")
    q.put_many(["aaa", "bbb", "ccc", "d"])
    offered = q.offer("eeeee")
    assert offered.displaced == ("aaa", "bbb")
    assert log == [("aaa", "oldest"), ("bbb", "oldest")]
    assert q.get_many(9) == ["ccc", "d", "eeeee"]
    q.join(timeout=0) if q.unfinished_tasks == 0 else [q.task_done() for _ in range(3)]
    assert q.statistics().dropped_oldest == 2


def test_drop_oldest_takes_the_bottom_of_a_stack():
    q, log = made(kind=LifoQueue, overflow="drop_oldest")
    q.put_many(["aaa", "bbb", "ccc"])
    q.put("dddd")
    assert [item for item, _ in log] == ["aaa"]
    assert q.get_many(9) == ["dddd", "ccc", "bbb"]


def test_other_policies():
    q, log = made(overflow="drop_newest")
    q.put_many(["aaaaaaaa", "bbb", "cc"])
    assert log == [("bbb", "newest")]
    q.overflow = "reject"
    with pytest.raises(Full):
        q.put("d", timeout=60)
    q.overflow = Sample(2)
    q.put_many(["ee", "fff"])
    assert log[1:] == [("ee", "sampled"), ("aaaaaaaa", "sampled")]
    assert q.get_many(9) == ["cc", "fff"]


# --- waiting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Queue, PriorityQueue])
def test_a_light_item_does_not_pass_a_heavy_one_that_waits(kind):
    q, _ = made(kind=kind)
    q.put("a" * 6)
    heavy = spawn(q.put, "b" * 8)
    wait_until(lambda: q.statistics().waiting_putters == 1)
    light = spawn(q.put, "ccc")  # it would fit now, and does not fit beside the heavy one
    wait_until(lambda: q.statistics().waiting_putters == 2)
    assert q.get() == "a" * 6
    heavy.result()
    assert q.get() == "b" * 8
    light.result()
    assert q.get() == "ccc"


def test_several_light_ones_go_when_a_heavy_one_has_left():
    q, _ = made()
    q.put("a" * 10)
    putters = [spawn(q.put, letter * 3) for letter in "bcd"]
    wait_until(lambda: q.statistics().waiting_putters == 3)
    q.get()
    for putter in putters:
        putter.result()
    assert q.statistics().weight == 9


def test_tasks_wait_too():
    async def main():
        q, _ = made()
        await q.put_async("a" * 10)
        waiting = asyncio.create_task(q.put_many_async(["b" * 6, "c" * 6]))
        cancelled = asyncio.create_task(q.put_async("d"))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        assert await q.get_async() == "a" * 10
        assert await q.get_async(timeout=20) == "b" * 6
        assert await waiting == 2
        assert q.get_many(9) == ["c" * 6]

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("iterable", [list, iter])
def test_batches(kind, iterable):
    q, _ = made(kind=kind)
    with pytest.raises(Full) as caught:
        q.put_many(iterable(["aaaa", "bbbb", "cccc", "d"]), timeout=0)
    assert caught.value.accepted == 2
    assert q.statistics().weight == 8
    putter = spawn(q.put_many, iterable(["eeee", "ffff"]))
    wait_until(lambda: q.statistics().waiting_putters == 1)
    q.get_many(9)
    assert putter.result() == 2


# --- changes by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_live_view_keeps_the_weight(kind):
    q, _ = made(kind=kind)
    q.put_many(["aaa", "bb"])
    q.queue.append("cccc")
    assert q.statistics().weight == 9
    q.queue.remove("bb")
    assert q.statistics().weight == 7
    with q.mutex:
        q._put("dd")
        q._get()
    q.queue.clear()
    assert q.statistics().weight == 0
    q.put("x" * 10)
    assert q.clear() == 1
    assert q.statistics().weight == 0


def test_a_queue_that_is_kept_alive_by_its_own_weigh_is_collected():
    import weakref

    class Weigher:
        def __call__(self, item):
            return 1

    weigh = Weigher()
    weigh.queue = Queue(weigh=weigh, max_weight=5)
    gone = weakref.ref(weigh)
    del weigh
    collect()
    assert is_gone(gone)


@pytest.mark.parametrize("kind", KINDS)
def test_a_storm_never_exceeds_the_bound(kind):
    """Every item is taken once, and the sum is never above the bound."""
    q, _ = made(7, kind, weigh=lambda item: item[0])

    def put(seed):
        dice = random.Random(seed)
        for number in range(120):
            q.put((dice.randrange(8), seed, number))

    def get():
        mine = []
        while True:
            try:
                mine.append(q.get())
            except ShutDown:
                return mine
            assert q.statistics().weight <= 7

    putters, getters = [spawn(put, seed) for seed in range(3)], [spawn(get) for _ in range(2)]
    for putter in putters:
        putter.result()
    q.shutdown()
    received = [item for getter in getters for item in getter.result()]
    assert sorted((seed, number) for _, seed, number in received) == [(seed, number) for seed in range(3) for number in range(120)]
    assert q.statistics().weight == 0
