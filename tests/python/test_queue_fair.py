"""`FairQueue`: who comes out, who has room, who waits, who gives way. What it has from `Queue` is tested there, by one more kind."""

from __future__ import annotations

import asyncio
import gc
import queue as stdlib_queue
import random
import sys
import weakref

import pytest
from fair_storm import FairStorm
from helpers import PATIENCE, collect, eventually, on_loops, spawn, wait_until

from sluicegate import Empty, FairQueue, Full, Sample, ShutDown, select
from sluicegate.testing import ManualClock


def first(item):
    return item[0]


def drain(q):
    return [q.get_nowait() for _ in range(q.qsize())]


# ----------------------------------------------------------------------------------------------------------------- keys


def test_it_is_a_queue():
    """For the key that is asked about."""
    q = FairQueue(3)
    assert isinstance(q, stdlib_queue.Queue)
    assert (q.maxsize, q.per_key, q.weights, q.overflow) == (3, None, {}, "block")
    assert repr(q).startswith("<sluicegate.FairQueue at ")


def test_an_item_needs_a_key():
    """From one or the other; the key that is given counts."""
    q = FairQueue()
    for put in (q.put, q.put_nowait, q.offer, lambda item: q.put_many([item])):
        with pytest.raises(TypeError, match="key"):
            put("item")
    assert q.qsize() == 0
    calls = []
    q = FairQueue(key=lambda item: calls.append(item) or item[0])
    q.put("a1")
    q.put("b1", key="a")
    q.put_many(["a2", "c1"])
    assert calls == ["a1", "a2", "c1"]
    assert [q.key_size(key) for key in "abc"] == [3, 0, 1]


@on_loops
async def test_the_key_function_is_called_once():
    """Also where the item has to wait."""
    calls = []
    q = FairQueue(1, key=lambda item: calls.append(item) or "k")
    await q.put_async(1)
    waiting = asyncio.ensure_future(q.put_async(2))
    batch = asyncio.ensure_future(q.put_many_async([3, 4]))
    await eventually(lambda: q.statistics().waiting_putters == 2)
    assert [await q.get_async() for _ in range(4)] == [1, 2, 3, 4]
    await asyncio.gather(waiting, batch)
    assert calls == [1, 2, 3, 4]


@pytest.mark.parametrize("key", [1.5, None, ["a"], True, object()])
def test_keys_of_other_kinds(key):
    """Refused at the door."""
    q = FairQueue(key=lambda item: item)
    with pytest.raises(TypeError, match="'key' must be"):
        q.put(key)
    with pytest.raises(TypeError, match="'key' must be"):
        q.set_weight(key, 2)
    assert q.qsize() == 0


def test_a_key_function_that_raises():
    """Nothing has been put."""
    q = FairQueue(key=lambda item: 1 // item)
    for put in (q.put, q.put_nowait, q.offer, lambda item: q.put_many([1, item])):
        with pytest.raises(ZeroDivisionError):
            put(0)
    assert q.qsize() == 0


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"key": 1}, TypeError, "'key' must be callable"),
        ({"weights": 1}, TypeError, "'weights' must be a mapping"),
        ({"weights": {"a": "x"}}, TypeError, "weight of 'a'"),
        ({"weights": {"a": True}}, TypeError, "weight of 'a'"),
        ({"weights": {"a": 0}}, ValueError, "greater than 0, not 0"),
        ({"weights": {"a": -1}}, ValueError, "greater than 0, not -1"),
        ({"weights": {"a": float("nan")}}, ValueError, "nan"),
        ({"weights": {"a": 5e-324}}, ValueError, "the weight of 'a' is too small: 5e-324; the minimum is 1e-100"),
        ({"weights": {"a": float("inf")}}, ValueError, "inf"),
        ({"weights": {1.5: 1}}, TypeError, "'key' must be"),
        ({"per_key": 0}, ValueError, "'per_key'"),
        ({"per_key": 1.5}, TypeError, "'per_key'"),
        ({"reserved": {"a": 0}}, ValueError, "reserved"),
        ({"reserved": {"a": 10}}, ValueError, "keeps 10 places"),
        ({"reserved": {"a": 10**30, "b": 1}}, ValueError, f"keeps {10**30 + 1} places"),
        ({"reserved": 3}, TypeError, "'reserved' must be a mapping"),
        ({"within": "lifo"}, ValueError, "'lifo'"),
        ({"within": 1}, TypeError, "'within'"),
        ({"aging": 1}, ValueError, "within='priority'"),
        ({"within": "priority", "aging": -1}, ValueError, "'aging'"),
        ({"overflow": "drop_lowest"}, ValueError, "least urgent"),
        ({"overflow": "drop_oldest", "within": "priority"}, ValueError, "oldest"),
        ({"overflow": "shred"}, ValueError, "'shred'"),
    ],
)
def test_arguments(options, error, text):
    """Refused, with the name and the value."""
    with pytest.raises(error, match=text):
        FairQueue(10, **options)


def test_other_mistakes():
    """Of calls."""
    q = FairQueue()
    with pytest.raises(ValueError, match="within='priority'"):
        q.put(1, key="a", priority=1)
    q.put(1, key="a", priority=0)
    with pytest.raises(ValueError, match="'weight' must be finite"):
        q.set_weight("a", 0)
    with pytest.raises(TypeError, match="'weight' must be a number"):
        q.set_weight("a", "1")
    with pytest.raises(ValueError, match="'per_key'"):
        q.per_key = -1
    with pytest.raises(ValueError, match="without a bound"):
        q.overflow = "drop_oldest"
    with pytest.raises(RuntimeError, match="called again"):
        q.__init__()
    with pytest.raises(TypeError, match="each has a key"):
        q.queue.append(2)
    assert list(q.queue) == [1]
    p = FairQueue(within="priority")
    for priority, error in ((float("nan"), ValueError), (float("inf"), ValueError), ("x", TypeError), (True, TypeError)):
        with pytest.raises(error, match="'priority'"):
            p.put(1, key="a", priority=priority)
    assert p.qsize() == 0
    with pytest.raises(ValueError, match="oldest"):
        p.overflow = "drop_oldest"

    class Own(FairQueue):
        def _put(self, item): ...

    with pytest.raises(TypeError, match="cannot override"):
        Own()


# ---------------------------------------------------------------------------------------------------------------- order


def test_three_to_one():
    """Weights 3 and 1, both always there: in every window of 100, and after the weights have changed."""
    q = FairQueue(weights={"gold": 3})
    for number in range(600):
        q.put(("gold", number), key="gold")
        q.put(("free", number), key="free")
    out = [q.get() for _ in range(600)]
    counts = [sum(key == "gold" for key, _ in out[start : start + 100]) for start in range(500)]
    assert set(counts) <= {74, 75, 76}
    assert [number for key, number in out if key == "gold"] == list(range(450))
    q.set_weight("gold", 1)
    q.set_weight("free", 4)
    assert q.weights == {"gold": 1, "free": 4}
    out = [q.get() for _ in range(100)]
    assert abs(sum(key == "free" for key, _ in out) - 80) <= 1


def test_a_key_function_and_no_key_are_the_same():
    """Whichever way the key comes."""
    one, other = FairQueue(key=first), FairQueue()
    items = [(random.Random(7).choice("abc"), number) for number in range(50)]
    for item in items:
        one.put(item)
        other.put(item, key=item[0])
    assert one.peek() == other.peek()
    assert drain(one) == other.get_many(100)


def test_priorities_age():
    """A step of priority is worth `aging` seconds; equal ones come in order."""
    clock = ManualClock()
    q = FairQueue(within="priority", aging=10, clock=clock)
    q.put("low", key="a", priority=2)
    q.put("middle", key="a", priority=1)
    q.put("another", key="a", priority=1)
    clock.advance(9)
    q.put("urgent", key="a")
    clock.advance(2)  # 11 s after the beginning: one that comes now no longer passes what is one step less urgent
    q.put("late", key="a")
    clock.advance(10)
    q.put("very late", key="a")
    q.put("most urgent", key="a", priority=-3.5)
    assert drain(q) == ["most urgent", "urgent", "middle", "another", "late", "low", "very late"]


def test_priorities_starve_nobody():
    """Urgent items come twice as fast as they are served, for ever: one that is less urgent by `n` steps is passed by those that come
    within `n * aging` seconds after it, and by no other."""
    for steps in (1, 3):
        clock = ManualClock()
        q = FairQueue(within="priority", aging=10, clock=clock)
        q.put("low", key="a", priority=steps)
        served = []
        while "low" not in served:
            clock.advance(0.5)
            q.put(clock.now(), key="a")
            clock.advance(0.5)
            q.put(clock.now(), key="a")
            served.append(q.get())
        assert served == [*(number / 2 for number in range(1, 20 * steps)), "low"]


def simulated_waits(rates, seconds, seed):
    """One server, an item a second; Poisson arrivals. How long each item of a key waited."""
    dice, q, waits = random.Random(seed), FairQueue(per_key=50, overflow="drop_newest"), {key: [] for key in rates}
    arrivals = []
    for key, rate in rates.items():
        now = dice.expovariate(rate)
        while now < seconds:
            arrivals.append((now, key))
            now += dice.expovariate(rate)
    arrivals.sort(reverse=True)
    for now in range(seconds):
        while arrivals and arrivals[-1][0] <= now:
            came, key = arrivals.pop()
            q.offer((came, key), key=key)
        if not q.empty():
            came, key = q.get_nowait()
            waits[key].append(now - came)
    return waits


def p99(values):
    return sorted(values)[int(len(values) * 0.99)]


def test_a_flood_costs_another_key_nothing():
    """A key that floods at a hundred times another's rate: the other's 99th percentile is within 1.5 of its fair share's, which is a server
    of its own, half as fast."""
    flood = simulated_waits({"quiet": 0.25, "other": 25.0}, 20_000, 1)
    dice, now, free, fair = random.Random(1), 0.0, 0.0, []
    for _ in range(5000):
        now += dice.expovariate(0.25)
        start = max(now, free)
        fair.append(start - now)
        free = start + 2
    assert len(flood["quiet"]) > 4000
    assert p99(flood["quiet"]) <= 1.5 * p99(fair)
    assert p99(flood["other"]) > 10 * p99(fair)


# ----------------------------------------------------------------------------------------------------------------- room


def test_each_key_has_a_bound_and_a_line():
    """A putter at its key's bound is in nobody else's way."""
    q = FairQueue(10, per_key=2, key=first)
    q.put_many(["a1", "a2"])
    with pytest.raises(Full, match="2 of 10"):
        q.put_nowait("a3")
    flood = [spawn(q.put, f"a{number}") for number in (3, 4)]
    wait_until(lambda: q.statistics().waiting_putters == 2)
    q.put("b1", timeout=0)
    q.put("b2")
    assert q.statistics().waiting_putters == 2
    with pytest.raises(Full):
        q.put("b3", timeout=0.001)
    assert [q.get() for _ in range(6)].count("b1") == 1
    for putter in flood:
        putter.result()
    q.per_key = 1
    assert q.per_key == 1
    q.put("c1")
    waiting = spawn(q.put, "c2")
    wait_until(lambda: q.statistics().waiting_putters == 1)
    q.per_key = None
    waiting.result()
    assert q.key_size("c") == 2


def test_room_is_reserved():
    """For a named key, at any time; what it uses beyond that is common."""
    q = FairQueue(5, reserved={"vip": 2}, key=first)
    for number in range(3):
        q.put_nowait(("a", number))
    with pytest.raises(Full):
        q.put_nowait(("b", 0))
    waiting = spawn(q.put, ("b", 1))
    wait_until(lambda: q.statistics().waiting_putters == 1)
    q.put_nowait(("vip", 0))
    q.put(("vip", 1))
    with pytest.raises(Full):
        q.put_nowait(("vip", 2))
    assert q.full()
    more = spawn(q.put, ("vip", 3))
    wait_until(lambda: q.statistics().waiting_putters == 2)
    taken = [q.get(timeout=PATIENCE) for _ in range(7)]
    more.result()
    waiting.result()
    assert sorted(taken) == [("a", 0), ("a", 1), ("a", 2), ("b", 1), ("vip", 0), ("vip", 1), ("vip", 3)]


def test_room_goes_to_the_keys_in_turn():
    """A flood of putters before the one of another key: that one is second, not last."""
    q = FairQueue(1, key=first)
    q.put(("x", 0))
    flood = []
    for number in range(5):
        flood.append(spawn(q.put, ("a", number)))
        wait_until(lambda: q.statistics().waiting_putters == len(flood))
    other = spawn(q.put, ("b", 0))
    wait_until(lambda: q.statistics().waiting_putters == 6)
    out = [q.get(timeout=PATIENCE) for _ in range(7)]
    assert out.index(("b", 0)) <= 2
    assert [item for item in out if item[0] == "a"] == [("a", number) for number in range(5)]
    for putter in [*flood, other]:
        putter.result()


@on_loops
async def test_a_cancelled_putter_passes_its_turn_on():
    """Within its line, and to others."""
    q = FairQueue(1)
    await q.put_async(0, key="x")
    tasks = [asyncio.ensure_future(q.put_async(number, key=key)) for number, key in ((1, "a"), (2, "a"), (3, "b"))]
    await eventually(lambda: q.statistics().waiting_putters == 3)
    assert q.get_nowait() == 0
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    out = [await q.get_async(timeout=PATIENCE) for _ in range(2)]
    assert sorted(out) == [2, 3]
    await asyncio.gather(*tasks[1:])
    assert q.statistics().waiting_putters == 0


def test_put_many():
    """At once what fits; then each item waits where its key says. `accepted` tells how many."""
    q = FairQueue(10, per_key=2, key=first)
    with pytest.raises(Full) as caught:
        q.put_many(iter(["a1", "b1", "a2", "a3", "b2"]), block=False)
    assert caught.value.accepted == 3
    assert q.put_many(("c1",), key="d") == 1
    assert q.key_size("d") == 1
    waiting = spawn(q.put_many, ["b2", "a3", "a4", "b3"])
    wait_until(lambda: q.statistics().waiting_putters == 1)
    out = [q.get(timeout=PATIENCE) for _ in range(8)]
    waiting.result()
    assert sorted(out) == ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "c1"]
    assert q.put_many([]) == 0


@pytest.mark.parametrize("take", ["get", "get_nowait", "get_many"])
def test_room_of_a_key_whose_item_did_not_wait(take):
    """An item that goes in at once leaves its room to the putters of its key, as one that had to wait does."""
    q = FairQueue(100, per_key=1)
    for key in range(50):
        q.put(("first", key), key=key)
    putters = {key: spawn(q.put, ("second", key), key=key) for key in (7, 23)}
    wait_until(lambda: q.statistics().waiting_putters == 2)
    out = []
    while q.qsize() > 0:
        out += q.get_many(3) if take == "get_many" else [getattr(q, take)()]
        for key, putter in putters.items():
            if ("first", key) in out:
                putter.result()
            else:
                assert q.key_size(key) == 1
    assert sorted(out) == sorted([("first", key) for key in range(50)] + [("second", key) for key in (7, 23)])


def test_a_ttl_after_items_without_one():
    """Items that went in at once keep their keys when the queue begins to keep notes, also for the putters that wait then."""
    clock, dropped = ManualClock(), []
    q = FairQueue(4, per_key=2, clock=clock, on_drop=lambda item, reason: dropped.append((item, reason)))
    q.put("a1", key="a")
    q.put("b1", key="b")
    q.put("a2", key="a", ttl=5)
    assert [q.key_size(key) for key in "ab"] == [2, 1]
    waiting = spawn(q.put, "a3", key="a")
    wait_until(lambda: q.statistics().waiting_putters == 1)
    assert q.get() == "a1"
    waiting.result()
    clock.advance(6)
    assert [q.get_nowait() for _ in range(2)] == ["b1", "a3"]
    assert dropped == [("a2", "expired")]
    assert q.qsize() == 0


@pytest.mark.parametrize("end", ["shutdown", "immediate", "fail"])
def test_every_line_ends_with_the_queue(end):
    """All who wait are woken."""
    q = FairQueue(10, per_key=1)
    q.put(0, key="a")
    q.put(0, key="b")
    putters = [spawn(q.put, 1, key=key) for key in "aabb"]
    wait_until(lambda: q.statistics().waiting_putters == 4)
    if end == "fail":
        q.fail(ZeroDivisionError())
    else:
        q.shutdown(immediate=end == "immediate")
    for putter in putters:
        with pytest.raises(ShutDown):
            putter.result()
    assert q.qsize() == (0 if end == "immediate" else 2)
    with pytest.raises(ShutDown):
        q.put(1, key="c")


# --------------------------------------------------------------------------------------------------------------- gives way


@pytest.mark.parametrize(
    ("policy", "dropped", "left"),
    [
        ("drop_oldest", [("a", 0), ("a", 1)], [("a", 2), ("a", 3), ("b", 0), ("b", 1)]),
        ("drop_newest", [("a", 3), ("a", 2)], [("a", 0), ("a", 1), ("b", 0), ("b", 1)]),
    ],
)
def test_the_key_that_holds_most_gives_way(policy, dropped, left):
    """Its oldest or its newest item; the new one if that is its own."""
    log = []
    q = FairQueue(4, key=first, overflow=policy, on_drop=lambda item, reason: log.append((item, reason)))
    q.put_many([("a", number) for number in range(4)])
    q.put(("b", 0))
    offered = q.offer(("b", 1))
    reason = policy[5:]
    assert (bool(offered), offered.displaced, offered.reason) == (True, (dropped[1],), reason)
    assert log == [(item, reason) for item in dropped]
    assert sorted(drain(q)) == left
    for _ in range(4):
        q.task_done()
    q.join(timeout=0)


def test_a_key_at_its_own_bound_gives_way_to_itself():
    """The key that holds more items."""
    q = FairQueue(per_key=2, overflow="drop_oldest", key=first)
    q.put_many(["a1", "a2", "b1"])
    assert q.offer("a3").displaced == ("a1",)
    q.overflow = "drop_newest"
    assert not q.offer("a4")
    assert sorted(drain(q)) == ["a2", "a3", "b1"]


def test_reserved_places_do_not_give_way():
    """A key that uses nothing else keeps its items."""
    q = FairQueue(4, reserved={"vip": 3}, overflow="drop_oldest", key=first)
    q.put_many([("vip", number) for number in range(3)])
    q.put(("a", 0))
    assert q.offer(("b", 0)).displaced == (("a", 0),)
    assert not q.offer(("vip", 3)) or q.key_size("vip") <= 4


def test_the_least_urgent_gives_way():
    """Of the key that holds most, the new one included."""
    q = FairQueue(3, within="priority", aging=1000, overflow="drop_lowest", clock=ManualClock())
    for priority in (1, 3, 2):
        q.put(priority, key="a", priority=priority)
    assert q.offer(0, key="a").displaced == (3,)
    refused = q.offer(9, key="a", priority=9)
    assert (bool(refused), refused.displaced, refused.reason) == (False, (), "lowest")
    assert q.offer(9, key="b", priority=9).displaced == (2,)
    assert sorted(drain(q)) == [0, 1, 9]


def test_other_policies():
    """Sampling, and a refusal at once."""
    q = FairQueue(2, key=first, overflow=Sample(2))
    q.put_many(["a1", "a2"])
    assert [bool(q.offer(f"b{number}")) for number in range(4)] == [False, True, False, True]
    q.overflow = "reject"
    with pytest.raises(Full):
        q.put("c1")
    seen = q.statistics()
    assert (seen.rejected, seen.dropped_sampled, seen.size) == (1, 4, 2)


# -------------------------------------------------------------------------------------------------------------- the rest


def test_the_rest_of_a_queue():
    """Batches, iteration, the mutex, workers, views, select."""
    q = FairQueue(key=first)
    q.put_many(["a1", "b1", "a2"])
    with q.mutex:
        assert q._qsize() == 3
        assert q._get() == "a1"
        q._put("c1")
        q.put_nowait("c2")
    assert sorted(next(q.batches(2)) + [select(q.getting()).value]) == ["a2", "b1", "c1"]
    assert select(FairQueue().getting(), q.putting("d1", key="d"), default=None).index == 1
    q.sync_q.put("e1")
    asyncio.run(q.async_q.put("f1"))
    assert sorted(drain(q)) == ["c2", "d1", "e1", "f1"]
    q.unfinished_tasks = 0
    q.put("g1")
    with q.working() as items:
        assert list(items) == ["g1"]
    assert q.is_shutdown
    bounded = FairQueue(1, key=first)
    bounded.put("a1")
    assert select(bounded.putting("b1"), default="no").value == "no"
    with pytest.raises(Empty):
        FairQueue().get_nowait()
    with bounded.producers(1):
        pass
    assert list(bounded) == ["a1"]


def test_a_putter_waits_for_the_mutex():
    """Its key's line is a line like any other."""
    q = FairQueue(2, per_key=1)
    with q.mutex:
        putters = [spawn(q.put, key, key=key) for key in "ab"]
        wait_until(lambda: q.statistics().waiting_putters == 2)
        assert q.qsize() == 0
    for putter in putters:
        putter.result()
    assert sorted(drain(q)) == ["a", "b"]


def test_workers_that_all_wait_for_room_are_told():
    """Each at the bound of its own key."""
    q = FairQueue(per_key=1)
    q.put(0, key="a")
    q.put(0, key="b")
    with q.working() as items:
        assert next(iter(items)) == 0
        q.put(1, key="a", timeout=0)
        with pytest.raises(RuntimeError, match="every worker"):
            q.put(2, key="a")
        q.clear()


class Thing:
    """To refer to, and to be referred to."""


def test_an_item_is_removed():
    """By identity, with its place, which is its key's; it counts as done."""
    for q in (FairQueue(per_key=3, key=first), FairQueue(per_key=3, key=first, within="priority")):
        items = [["a", 1], ["a", 2], ["a", 3], ["b", 1]]
        q.put_many(items)
        waiting = spawn(q.put, ["a", 4])
        wait_until(lambda q=q: q.statistics().waiting_putters == 1)
        with pytest.raises(ValueError, match="not in the queue"):
            q.remove(["a", 2])
        q.remove(items[1])
        waiting.result()
        q.remove(items[3])
        assert drain(q) == [["a", 1], ["a", 3], ["a", 4]]
        assert q.unfinished_tasks == 3


def test_cycles_are_collected():
    """Through an item, the key function, and an item that waits for room."""
    things = [Thing() for _ in range(3)]
    queues = [FairQueue(1, key=lambda item, kept=thing: "k") for thing in things]
    for thing, q in zip(things, queues, strict=True):
        thing.queue = q
        q.put(thing)
    loop = asyncio.new_event_loop()
    task = loop.create_task(queues[0].put_async(things[1]))
    task._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0))
    assert queues[0].statistics().waiting_putters == 1
    things[2].task = task
    references = [weakref.ref(thing) for thing in (*things, *queues)]
    loop.close()
    del things, queues, thing, q, task, loop
    collect()
    assert [reference() for reference in references] == [None] * 6


def test_items_live_as_long_as_they_are_held():
    """The collector finds them from all sides, inside and on their way, and takes nothing that is alive."""
    q = FairQueue(2, key=lambda item: "k")
    for _ in range(2):
        q.put([Thing()])
    waiting = spawn(q.put, [Thing()])
    wait_until(lambda: q.statistics().waiting_putters == 1)
    for _ in range(3):
        gc.collect()
    assert [type(q.get(timeout=PATIENCE)[0]) for _ in range(3)] == [Thing] * 3
    waiting.result()
    assert gc.collect() >= 0
    reference = weakref.ref(thing := Thing())
    q.put(thing)
    assert q.peek() is thing
    assert list(q.queue) == [thing]
    del thing
    q.clear()
    collect()
    assert reference() is None


def test_keys_once_seen_cost_nothing():
    """Neither items nor waiters are there any more."""
    q = FairQueue()
    before = sys.getsizeof(q)
    q.put("stays", key="stays")
    for number in range(100_000):
        q.put(number, key=number)
        q.get()
    assert sys.getsizeof(q) - before < 20_000


@pytest.mark.parametrize("loop_kind", ["asyncio"])
def test_a_storm(loop_kind):
    """Nothing expires and nothing is shed, so every drop is the policy's."""
    storm = FairStorm()
    seen = storm.run(loop_kind)
    assert seen.dropped_oldest + seen.dropped_newest + seen.dropped_sampled == len(storm.dropped)


def test_the_smallest_weight():
    """Its turns come, and those of the others between them are in proportion."""
    q = FairQueue(key=lambda item: item[0], weights={"a": 1e-100, "b": 1e-100})
    q.put_many(["a1", "a2", "b1", "b2", "c1", "c2"])
    assert [q.get() for _ in range(6)] == ["c1", "c2", "a1", "b1", "a2", "b2"]


def test_a_bound_that_reserved_places_fill_is_refused():
    """As by the constructor: with a `maxsize` no larger than what is reserved, every other key is locked out."""
    q = FairQueue(3, reserved={"h": 2})
    for wrong in (1, 2):
        with pytest.raises(ValueError, match=f"'reserved' keeps 2 places, and 'maxsize' has to be greater .*: {wrong}"):
            q.maxsize = wrong
        assert q.maxsize == 3
    q.maxsize = 0
    q.maxsize = 4
    q.put_nowait(1, key="a")
    plain = FairQueue(3)
    plain.maxsize = 1
    assert plain.maxsize == 1


def test_more_reserved_places_than_a_key_may_use_are_refused():
    told = "'reserved' keeps 3 places for a key, and 'per_key' lets it have 1 items only"
    with pytest.raises(ValueError, match=told):
        FairQueue(5, per_key=1, reserved={"g": 1, "h": 3})
    q = FairQueue(5, per_key=3, reserved={"h": 3})
    with pytest.raises(ValueError, match=told):
        q.per_key = 1
    assert q.per_key == 3
    q.per_key = None
