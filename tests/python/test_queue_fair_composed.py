"""A `FairQueue` with what it is composed of: times to live, weights, `CoDel` for each key, waiting times. The core's property test
(`props_fair_composed.rs`) compares all of it with a model; here it is what a user sees."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import threading
import weakref
from datetime import timedelta

import pytest
from fair_storm import FairStorm
from helpers import FORKING, PATIENCE, collect, eventually, on_loops, run_script, spawn, wait_until

from sluicegate import AdaptiveLifo, BoundedExecutor, CoDel, Empty, FairQueue, Full, Overloaded, Queue
from sluicegate.testing import ManualClock


class Log(list):
    """What `on_drop` was told."""

    def __call__(self, item, reason):
        self.append((item, reason))


def made(maxsize=0, **settings):
    clock, log = ManualClock(), Log()
    return FairQueue(maxsize, on_drop=log, clock=clock, **settings), clock, log


def first(item):
    return item[0]


# ----------------------------------------------------------------------------------------------------------- arguments


def test_where_a_rule_cannot_be():
    """Newest first is no fair share; and a rule about waiting times needs items in order of arrival."""
    with pytest.raises(
        ValueError, match=r"'shed' cannot be AdaptiveLifo\(.*in a FairQueue each key gets its share.*the key that puts most"
    ):
        FairQueue(shed=AdaptiveLifo())
    with pytest.raises(ValueError, match=r"'shed' cannot be CoDel\(.*order of arrival"):
        FairQueue(shed=CoDel(), within="priority")
    with pytest.raises(TypeError, match="'shed' must be"):
        FairQueue(shed=3)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"weigh": len}, ValueError, "'weigh' needs a bound"),
        ({"max_weight": 3}, ValueError, "'max_weight' needs 'weigh'"),
        ({"weigh": 3, "max_weight": 3}, TypeError, "'weigh' must be callable"),
        ({"weigh": len, "max_weight": 0}, ValueError, "'max_weight'"),
    ],
)
def test_arguments(options, error, text):
    """As of a `Queue`."""
    with pytest.raises(error, match=text):
        FairQueue(**options)


def test_times_to_live_that_are_none():
    """Refused by every way of putting, with nothing put."""
    q = FairQueue()
    for put in (q.put, q.put_nowait, q.offer, lambda item, **rest: asyncio.run(q.put_async(item, **rest))):
        for ttl, error in ((0, ValueError), (-1, ValueError), (float("inf"), ValueError), ("1", TypeError), (True, TypeError)):
            with pytest.raises(error, match="ttl"):
                put(1, key="a", ttl=ttl)
        put(1, key="a", ttl=None)
    assert q.qsize() == 4


def test_a_weight_is_asked_of_the_item_itself():
    """Not of what stands for it inside."""
    q = FairQueue(weigh=len, max_weight=9, key=first)
    q.put("aaa")
    q.put_many(["bb", "c"])
    assert q.offer("d")
    asyncio.run(q.put_async("ee"))
    assert (q.statistics().weight, q.statistics().max_weight) == (9, 9)
    with pytest.raises(ValueError, match="can never be put"):
        q.put("x" * 10)
    q.remove("aaa")
    assert q.statistics().weight == 6
    q.clear()
    assert q.statistics().weight == 0


# ------------------------------------------------------------------------------------------------------------- lateness


def test_an_item_whose_time_has_passed_is_never_delivered():
    """By whatever way it was put; it takes no turn of its key, and counts as done."""
    q, clock, log = made()
    q.put("a1", key="a", ttl=1)
    q.put_nowait("a2", key="a", ttl=timedelta(seconds=1))
    q.put("a3", key="a")
    asyncio.run(q.put_async("b1", key="b", ttl=1))
    q.offer("b2", key="b", ttl=2)
    q.put("c1", key="c", ttl=1e9)
    clock.advance(1)
    assert q.qsize() == 6
    assert q.statistics().oldest_seconds == 1
    assert q.get_many(9) == ["a3", "b2", "c1"]
    assert log == [("a1", "expired"), ("a2", "expired"), ("b1", "expired")]
    assert (q.unfinished_tasks, q.statistics().dropped_expired) == (3, 3)
    q.put("d1", key="d", ttl=1)
    clock.advance(1)
    with pytest.raises(Empty):
        q.get_nowait()


def test_expired_items_go_first_when_there_is_no_room():
    """Of whatever key, and before the policy is asked."""
    q, clock, log = made(4, per_key=2, overflow="drop_oldest", key=first)
    q.put("a1", ttl=3)
    q.put("a2", ttl=1)
    q.put("b1", ttl=2)
    q.put("c1")
    clock.advance(2)
    q.put("d1")
    assert log == [("a2", "expired"), ("b1", "expired")]
    q.put("a3")
    q.put("a4")  # at the bound of its own key, where nothing has expired
    assert log[2:] == [("a1", "oldest")]
    assert sorted(q.get_many(9)) == ["a3", "a4", "c1", "d1"]


@on_loops
async def test_time_passes_while_a_putter_waits():
    """In the line of its key: `Full`, and no report."""
    log = Log()
    q = FairQueue(1, on_drop=log)
    q.put(0, key="x")
    with pytest.raises(Full, match="ttl has passed"):
        await q.put_async(1, key="a", ttl=0.001)
    waiting = asyncio.ensure_future(q.put_async(2, key="a", ttl=PATIENCE))
    await eventually(lambda: q.statistics().waiting_putters == 1)
    assert [await q.get_async(), await q.get_async()] == [0, 2]
    await waiting
    assert log == []


def test_priorities_and_times_to_live():
    """The ones that are late are found wherever they stand."""
    q, clock, log = made(3, within="priority", aging=1000)
    q.put("low", key="a", priority=2, ttl=1)
    q.put("high", key="a")
    q.put("middle", key="a", priority=1, ttl=1)
    clock.advance(1)
    q.put("new", key="a", priority=3)
    assert sorted(log) == [("low", "expired"), ("middle", "expired")]
    assert q.get_many(3) == ["high", "new"]


def test_waiting_times_are_recorded():
    """Of what is delivered."""
    q, clock, _ = made(track_latency=True)
    q.put(1, key="a")
    q.put(2, key="b", ttl=1)
    clock.advance(2)
    q.put(3, key="c")
    assert q.get_many(3) == [1, 3]
    latency = q.statistics().latency
    assert (latency.count, latency.max, latency.mean) == (2, 2.0, 1.0)


def test_jobs_with_a_time_to_live():
    """An executor passes it on."""
    started, gate = threading.Event(), threading.Event()
    with BoundedExecutor(1, queue=FairQueue(100)) as pool:
        held = pool.submitting(key="a").submit(lambda: started.set() or gate.wait(PATIENCE))
        assert started.wait(PATIENCE)
        late = pool.submitting(key="b", ttl=0.001).submit(int)
        kept = pool.submitting(key="b", ttl=PATIENCE).submit(int)
        threading.Event().wait(0.002)
        gate.set()
        wait_until(late.done)  # noticed when the job is collected: without a GIL that is when this thread runs
        with pytest.raises(Overloaded):
            late.result(0)
        assert (held.result(PATIENCE), kept.result(PATIENCE)) == (True, 0)


# ---------------------------------------------------------------------------------------------------------------- CoDel


@pytest.mark.parametrize("seed", range(4))
def test_each_key_has_the_rule_to_itself(seed):
    """What is delivered and shed of each key, and when, is what a `Queue` of its own would, asked at the same times (RFC 8290, section
    4.2). A key whose last item has left begins anew."""
    dice = random.Random(seed)
    rule = CoDel(target=0.005, interval=dice.choice([0.02, 0.1]))
    q, clock, log = made(shed=rule)
    alone, logs = {}, {key: Log() for key in "abc"}
    for number in range(4000):
        for key, rate in (("a", 1.2), ("b", 0.4), ("c", 0.1)):
            for _ in range(int(rate + dice.random())):
                if key not in alone or not alone[key].qsize():
                    alone[key] = Queue(shed=rule, on_drop=logs[key], clock=clock)
                alone[key].put((key, number))
                q.put((key, number), key=key)
        clock.advance(dice.choice([0.001, 0.002]))
        if q.qsize():
            before = len(log)
            item = q.get_nowait()
            assert item == alone[item[0]].get_nowait()
            assert all(lost[0] == item[0] for lost, _ in log[before:])
    for key in "abc":
        assert [drop for drop in log if drop[0][0] == key] == logs[key]
    assert len(logs["a"]) > 100
    assert q.statistics().dropped_shed == len(log)
    assert all(reason == "shed" for _, reason in log)


def test_a_flood_is_shed_and_a_quiet_key_is_not():
    """The point of a state for each key."""
    q, clock, log = made(shed=CoDel())
    quiet = 0
    for number in range(3000):
        q.put(("flood", number), key="flood")
        if number % 10 == 0:
            q.put(("quiet", number), key="quiet")
        clock.advance(0.001)
        if number % 2:
            quiet += q.get()[0] == "quiet"
    assert len(log) > 10
    assert {item[0] for item, _ in log} == {"flood"}
    assert quiet >= 299


def test_keys_once_seen_cost_nothing():
    """Neither their notes, nor the state of their rule, nor when their items would have expired."""
    q, clock, _ = made(shed=CoDel(), track_latency=True)
    before = sys.getsizeof(q)
    q.put("stays", key="stays", ttl=10)
    for number in range(30_000):
        q.put(number, key=number, ttl=5 + number % 7)
        if number % 3:
            q.get()
            q.get_nowait() if number % 2 else q.put(0, key=number, ttl=9)
        clock.advance(0.0001)
    while q.qsize() > 1:
        q.get()
    assert sys.getsizeof(q) - before < 100_000  # the memory for some keys is kept


# --------------------------------------------------------------------------------------------------------------- weight


def test_shares_are_by_weight():
    """Of what comes out: a key with items of ten times the weight has a tenth of the items."""
    q = FairQueue(weigh=len, max_weight=4000, weights={"b": 2}, key=first)
    q.put_many(["a" * 10] * 100)
    q.put_many(["b"] * 2000)
    taken = {"a": 0, "b": 0}
    while q.key_size("a") and q.key_size("b"):
        item = q.get()
        taken[item[0]] += len(item)
        assert abs(taken["a"] - taken["b"] / 2) <= 10.5
    assert sum(taken.values()) > 2900


def test_putters_are_admitted_by_weight():
    """Two of each key always wait. The queue holds little, so that what comes out is what has come in."""

    async def main():
        q = FairQueue(weigh=len, max_weight=20, key=first)

        async def putter(item):
            while True:
                await q.put_async(item)

        tasks = [asyncio.create_task(putter(item)) for item in ("a" * 10, "a" * 10, "b", "b")]
        taken = {"a": 0, "b": 0}
        for _ in range(1100):
            item = await q.get_async(PATIENCE)
            taken[item[0]] += len(item)
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return taken

    taken = asyncio.run(main())
    assert abs(taken["a"] - taken["b"]) <= 60


def test_a_heavy_item_is_not_kept_out_by_light_ones():
    """However many keys they have: no more of them pass it than weigh as much as it does. Then all wait behind it, until it is in."""
    q = FairQueue(weigh=len, max_weight=10, key=first)
    q.put("a" * 6)
    heavy = spawn(q.put, "b" * 8)
    wait_until(lambda: q.statistics().waiting_putters == 1)
    for light in "cdef":
        q.put(light, timeout=PATIENCE)
    for light in "ghi":
        assert q.get() in "cdef"
        q.put(light, timeout=PATIENCE)
    assert q.get() in "cdef"
    light = spawn(q.put, "j")
    wait_until(lambda: q.statistics().waiting_putters == 2)
    with pytest.raises(Full):
        q.put("k", timeout=0.001)
    q.put_nowait("l")  # it never waits
    assert sorted(q.get_many(5)) == ["a" * 6, "g", "h", "i", "l"]
    heavy.result()
    light.result()
    assert q.get_many(2) == ["j", "b" * 8]


def test_a_key_at_its_own_bound_keeps_nobody_out():
    """However heavy its waiting items are."""
    q = FairQueue(per_key=1, weigh=len, max_weight=10, key=first)
    q.put("a")
    waiting = spawn(q.put, "a" * 10)
    wait_until(lambda: q.statistics().waiting_putters == 1)
    q.put("b" * 9, timeout=0)
    assert q.get_many(2) == ["a", "b" * 9]
    waiting.result()
    assert q.get() == "a" * 10


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_as_many_give_way_as_are_needed(policy):
    """Of the key whose items weigh most, not of that with most items."""
    q, _, log = made(weigh=len, max_weight=20, overflow=policy, key=first)
    q.put_many(["a" * 6, "a" * 5, *(f"b{number}" for number in range(4))])
    assert q.offer("c" * 6).displaced == (("a" * 6,) if policy == "drop_oldest" else ("a" * 5,))
    assert log[0][1] == policy[5:]
    assert not q.offer("c" * 20) or policy == "drop_oldest"
    assert q.statistics().weight <= 20


def test_nothing_gives_way_in_vain():
    """Where what is reserved would still be in the way, the new item goes itself."""
    q, _, log = made(
        10, weigh=len, max_weight=10, reserved={"vip": 2}, overflow="drop_oldest", key=lambda item: "vip" if item[0] == "v" else item
    )
    q.put_many(["vvv", "vvv", "a", "b"])
    offered = q.offer("c" * 5)
    assert (bool(offered), offered.displaced) == (False, ())
    assert q.offer("c" * 4).displaced == ("a", "b")
    assert [item for item, _ in log] == ["c" * 5, "a", "b"]


def test_a_new_bound_on_weight_is_told_to_all_who_wait():
    """An item that has become too heavy keeps nobody out."""
    q = FairQueue(weigh=len, max_weight=10, key=first, weights={"b": 10})  # the heavy item is next
    q.put("a" * 6)
    heavy = spawn(q.put, "b" * 8)
    wait_until(lambda: q.statistics().waiting_putters == 1)
    light = spawn(q.put, "c")
    wait_until(lambda: q.statistics().waiting_putters == 2)
    q.max_weight = 7
    with pytest.raises(ValueError, match="can never be put"):
        heavy.result()
    light.result()
    assert q.statistics().weight == 7


def test_watermarks_know_the_weight():
    """As of a `Queue`."""
    q = FairQueue(weigh=len, max_weight=10, high=0.8, low=0.5, key=first)
    q.put("a" * 7)
    assert not q.pressure.high
    q.put("b")
    assert q.pressure.high
    assert q.get() == "b"
    assert q.pressure.high
    q.get()
    assert not q.pressure.high


def test_put_many_waits_for_room_by_weight():
    """Each item in the line of its key, and in order. (Those of one key come out in that order too.)"""
    q = FairQueue(weigh=len, max_weight=5, key=first)
    waiting = spawn(q.put_many, ["aaa", "aaa", "bbbb", "a"])
    wait_until(lambda: q.statistics().waiting_putters == 1)
    out = []
    while len(out) < 4:
        out += q.get_many(4, timeout=PATIENCE)
    assert waiting.result() == 4
    assert out == ["aaa", "aaa", "a", "bbbb"]
    q.put("xxxxx")
    with pytest.raises(Full) as caught:
        q.put_many(["y"], block=False)
    assert caught.value.accepted == 0


# ------------------------------------------------------------------------------------------------------------- the rest


def test_the_mutex_and_changes_by_hand():
    """What comes in by hand weighs what it weighs, and never expires; what is taken by hand may be late."""
    q, clock, log = made(weigh=len, max_weight=10, key=first)
    q.put("a", ttl=1)
    with q.mutex:
        q._put("bb")
        q.put_nowait("ccc", ttl=1)
        assert (q._qsize(), q.statistics().weight) == (3, 6)
    waiting = spawn(q.put, "d" * 9)
    wait_until(lambda: q.statistics().waiting_putters == 1)
    with q.mutex:
        clock.advance(1)  # under the mutex, or the putter drops what has expired
        assert q._get() == "a"
        assert q.statistics().weight == 5
    assert q.get() == "bb"
    assert q.get(timeout=PATIENCE) == "d" * 9, "the getter meets what has expired, and makes room"
    waiting.result()
    assert log == [("ccc", "expired")]


def test_what_is_inside_is_seen_by_the_collector():
    """Items with notes live as long as they are held, and no longer."""

    class Thing:
        pass

    q = FairQueue(track_latency=True)
    thing = Thing()
    thing.queue = q
    q.put(thing, key="a", ttl=1000)
    reference = weakref.ref(thing)
    del thing
    gc.collect()
    assert q.peek() is reference()
    del q
    collect()
    assert reference() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_notes_survive_a_fork():
    """The child has them too."""
    run_script(
        FORKING
        + """
from sluicegate import CoDel, FairQueue
from sluicegate.testing import ManualClock

clock = ManualClock()
q = FairQueue(clock=clock, shed=CoDel(), weigh=len, max_weight=10)
q.put("a", key=1, ttl=1)
q.put("bb", key=2)

def child():
    clock.advance(2)
    assert q.get() == "bb"
    assert (q.statistics().weight, q.statistics().dropped_expired) == (0, 1)

check(in_child(child))
assert q.get_many(2) == ["a", "bb"]
""",
        quiet=False,  # a newer Python warns of forking a process with threads
    )


@pytest.mark.thread_unsafe(reason="a storm of threads already")
@pytest.mark.parametrize("weighs", [False, True])
def test_a_storm(weighs):
    """The same storm as in `test_queue_fair`, of items with times to live, with a bound on weight or with a rule that sheds."""
    settings = {"weigh": lambda item: item[2] % 4, "max_weight": 12} if weighs else {"shed": CoDel(0.0005, 0.002)}
    storm = FairStorm(ttls=(None, 0.0003, 0.002, 10), track_latency=True, **settings)
    late = ("a", -1, 0)
    storm.put.append(late)
    storm.queue.offer(late, ttl=1e-9)  # that one is late for certain
    seen = storm.run("asyncio")
    assert seen.latency.count == seen.gets
    assert seen.weight in (None, 0)
    assert (late, "expired") in storm.dropped
