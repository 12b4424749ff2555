"""`batches` and `get_many` with `max_weight`: lists that end before the item that would make them too heavy."""

import asyncio
import random

import pytest
from helpers import OneKey, on_loops, settle, spawn, wait_until

from sluicegate import AdaptiveLifo, CoalescingQueue, CoDel, Empty, FairQueue, Full, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue
from sluicegate.testing import ManualClock

FULL = 1000


KINDS = [Queue, LifoQueue, PriorityQueue, OneKey]


def made(kind=Queue, items=(), maxsize=0, **settings):
    """A queue of strings that weigh their lengths."""
    queue = kind(maxsize, weigh=len, max_weight=FULL, **settings)
    queue.put_many(list(items))
    return queue


async def lists(batches):
    """With `async for`."""
    return [batch async for batch in batches]


WAYS = {"for": list, "async for": lambda batches: asyncio.run(lists(batches))}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def gather(request):
    """Either way of iterating."""
    return request.param


def expected(items, most, max_weight):
    """What a plain loop over the items makes of them."""
    batches = [[]]
    for item in items:
        batch = batches[-1]
        if batch and (len(batch) == most or sum(map(len, batch)) + len(item) > max_weight):
            batches.append(batch := [])
        batch.append(item)
    return [batch for batch in batches if batch]


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_ends_before_the_item_that_is_too_heavy(kind, gather):
    """An item that is heavier alone has a list of its own, without even an item that weighs nothing."""
    items = ["aa", "bbb", "c", "dddddddd", "", "e", "ffff", "g", "hhhhhh"]
    queue = made(kind, items if kind is not LifoQueue else items[::-1])
    queue.shutdown()
    batches = queue.batches(3, max_weight=5)
    assert gather(batches) == expected(items if kind is not PriorityQueue else sorted(items), 3, 5)
    assert gather(batches) == []
    assert queue.statistics().weight == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_get_many_leaves_is_still_there(kind):
    """It is next, and has not been taken and put back."""
    queue = made(kind, ["aa", "aa", "aa"])
    assert queue.get_many(9, max_weight=5) == ["aa", "aa"]
    assert (queue.qsize(), queue.statistics().gets, queue.statistics().puts, queue.peek()) == (1, 2, 3, "aa")
    assert asyncio.run(queue.get_many_async(9, max_weight=1)) == ["aa"]
    with pytest.raises(Empty):
        queue.get_many(9, block=False, max_weight=5)
    with pytest.raises(Empty):
        queue.get_many(9, timeout=0.001, max_weight=5)
    with queue.mutex:
        queue.put("bbb")
        queue.put("bbb")
        assert queue.get_many(9, max_weight=5) == ["bbb"]
    assert queue.get_many(9, max_weight=1 << 80) == ["bbb"]


@pytest.mark.parametrize("kind", KINDS)
def test_any_items_in_any_order(kind):
    """Against a plain loop."""
    rng = random.Random(11)
    for _ in range(100):
        items = ["x" * rng.randrange(8) for _ in range(rng.randrange(30))]
        most, max_weight = rng.randrange(1, 7), rng.randrange(1, 12)
        queue = made(kind, items)
        queue.shutdown()
        ordered = {LifoQueue: items[::-1], PriorityQueue: sorted(items)}.get(kind, items)
        assert list(queue.batches(most, max_weight=max_weight)) == expected(ordered, most, max_weight)


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_expired_weighs_nothing(kind):
    """It neither ends a list nor is in one, and is reported once."""
    lost = []
    clock = ManualClock()
    queue = made(kind, clock=clock, on_drop=lambda *told: lost.append(told))
    for item, ttl in [("aa", None), ("bbbbbbbb", 1), ("cc", None), ("d", 1), ("eee", None), ("f", 1)]:
        queue.put(item, ttl=ttl)
    clock.advance(2)
    queue.shutdown()
    batches = [["aa", "cc"], ["eee"]] if kind is not LifoQueue else [["eee", "cc"], ["aa"]]
    assert list(queue.batches(9, max_weight=5)) == batches
    assert sorted(lost) == [("bbbbbbbb", "expired"), ("d", "expired"), ("f", "expired")]
    assert queue.statistics().weight == 0


@pytest.mark.parametrize("kind", KINDS)
def test_only_expired_items(kind):
    """Nothing is there."""
    clock = ManualClock()
    queue = made(kind, clock=clock)
    queue.put("aa", ttl=1)
    queue.put("bb", ttl=1)
    clock.advance(2)
    with pytest.raises(Empty):
        queue.get_many(9, block=False, max_weight=3)
    queue.shutdown()
    assert list(queue.batches(9, max_weight=3)) == []


def standing(kind, shed):
    """A queue in which items have waited for long."""
    clock, lost, rng = ManualClock(), [], random.Random(8)
    queue = made(kind, clock=clock, shed=shed, on_drop=lambda item, reason: lost.append((item, reason)))
    for _ in range(200):
        queue.put("x" * rng.randrange(1, 6), ttl=rng.choice([None, None, 0.3]))
        clock.advance(0.002)
    return queue, clock, lost


@pytest.mark.parametrize("kind", [Queue, OneKey])
def test_codel_sheds_as_it_does_without(kind):
    """The same items are delivered and shed at the same times, whether they are taken in lists by weight or one by one."""
    one, clock, lost = standing(kind, CoDel())
    other, other_clock, other_lost = standing(kind, CoDel())
    delivered = 0
    while True:
        try:
            batch = one.get_many(4, block=False, max_weight=6)
        except Empty:
            break
        assert len(batch) == 1 or sum(map(len, batch)) <= 6
        assert [other.get_nowait() for _ in batch] == batch
        delivered += len(batch)
        clock.advance(0.01)
        other_clock.advance(0.01)
    with pytest.raises(Empty):
        other.get_nowait()
    assert lost == other_lost
    assert {reason for _, reason in lost} == {"shed", "expired"}
    assert delivered + len(lost) == 200


def test_adaptive_lifo_looks_at_the_item_that_leaves_next():
    """The newest, while the queue stands."""
    clock = ManualClock()
    queue = made(clock=clock, shed=AdaptiveLifo(target=0.5, interval=1.0))
    queue.put("old")
    clock.advance(0.9)
    queue.put("aaaaaaaa")
    clock.advance(0.05)
    queue.put("bb")
    clock.advance(0.1)
    assert queue.get_many(9, max_weight=5) == ["bb"]
    assert queue.get_many(9, max_weight=5) == ["aaaaaaaa"]


def test_keys_get_their_shares():
    """The lists cut the same sequence that single gets would return."""

    def filled():
        queue = FairQueue(key=lambda item: item[0], weigh=len, max_weight=FULL, weights={"a": 3})
        for n in range(20):
            queue.put("a" * (n % 4 + 1))
            queue.put("b" * (n % 3 + 1))
            queue.put("c" * (n % 5 + 1))
        return queue

    queue, single = filled(), filled()
    queue.shutdown()
    batches = list(queue.batches(5, max_weight=7))
    items = [single.get_nowait() for _ in range(60)]
    assert batches == expected(items, 5, 7)


@pytest.mark.parametrize("within", ["fifo", "priority"])
def test_keys_whose_items_have_all_expired_are_passed_over(within):
    """Whatever the next key has is weighed."""
    clock = ManualClock()
    queue = FairQueue(weigh=len, max_weight=FULL, clock=clock, within=within)
    for key in range(5):
        queue.put("xx", key=key, ttl=None if key in (0, 4) else 1)
        queue.put("xxxx", key=key, ttl=None if key == 4 else 1)
    clock.advance(2)
    assert queue.get_many(9, max_weight=3) == ["xx"]
    assert queue.get_many(9, max_weight=3) == ["xx"]
    assert queue.get_many(9, max_weight=3) == ["xxxx"]
    assert queue.empty()


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_lingers_until_it_is_heavy_enough(kind):
    """Not longer, because nothing more would go into it."""
    clock = ManualClock()
    queue = made(kind, clock=clock)
    batches = queue.batches(9, max_weight=5, linger=10)
    taker = spawn(next, batches)
    wait_until(lambda: queue.statistics().waiting_getters == 1)
    queue.put("aa")
    clock.wait_for_waiters(1)
    queue.put("bb")
    clock.advance(9)
    assert not taker.done()
    queue.put("c")
    assert sorted(taker.result()) == ["aa", "bb", "c"]
    queue.put("dddd")
    taker = spawn(next, batches)
    clock.wait_for_waiters(1)
    queue.put("zzzz")
    assert taker.result() == (["zzzz"] if kind is LifoQueue else ["dddd"])
    taker = spawn(next, batches)
    clock.wait_for_waiters(1)
    clock.advance(10)
    assert taker.result() == (["dddd"] if kind is LifoQueue else ["zzzz"])


@pytest.mark.parametrize("kind", KINDS)
@on_loops
async def test_tasks_linger_too(kind):
    """On either loop, beside a getter that waits behind."""
    queue = made(kind, clock=ManualClock())
    task = asyncio.create_task(queue.get_many_async(9, linger=60, max_weight=5))
    await settle()
    queue.put("aa")
    await settle()
    behind = asyncio.create_task(queue.get_async())
    await settle()
    assert not task.done()
    assert not behind.done()
    queue.put_many(["bb", "cc"])
    await settle()
    assert len(await task) == 2
    assert len(await behind) == 2


@on_loops
async def test_a_cancelled_list_takes_nothing():
    """What it lingered for goes to the next getter."""
    queue = made(clock=ManualClock())
    task = asyncio.create_task(lists(queue.batches(9, max_weight=50, linger=60)))
    await settle()
    queue.put("aa")
    queue.put("bb")
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert queue.get_many(9, max_weight=3) == ["aa"]
    assert queue.statistics().gets == 1


def test_two_lists_that_linger_for_different_weights():
    """The one that came first is served first."""
    clock = ManualClock()
    queue = made(items=["a"], clock=clock)
    first = spawn(queue.get_many, 9, linger=10, max_weight=6)
    clock.wait_for_waiters(1)
    second = spawn(queue.get_many, 9, linger=10, max_weight=2)
    clock.wait_for_waiters(2)
    queue.put("bb")
    assert not first.done()
    queue.put("ccc")
    assert first.result() == ["a", "bb", "ccc"]
    queue.put("dd")
    assert second.result() == ["dd"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_putter_that_waits_for_room_ends_the_wait(kind):
    """By number or by weight."""
    for settings in ({"maxsize": 2}, {"max_weight": 4}):
        clock = ManualClock()
        queue = kind(**{"maxsize": 0, "weigh": len, "max_weight": 100, "clock": clock, **settings})
        queue.put("aa")
        taker = spawn(queue.get_many, 9, linger=10, max_weight=50)
        clock.wait_for_waiters(1)
        putter = spawn(queue.put_many, ["bb", "cc"])
        taken = taker.result()
        while len(taken) < 3:
            taken += queue.get_many(9, max_weight=50)
        putter.result()
        assert sorted(taken) == ["aa", "bb", "cc"]


def test_an_error_comes_after_the_items(gather):
    """As from the iteration over single items; and what was cut short does not look complete."""
    queue = made(items=["aa", "aa"])
    error = OSError("the disk is full")
    queue.fail(error)
    batches = queue.batches(9, max_weight=3)
    assert [next(batches), next(batches)] == [["aa"], ["aa"]]
    with pytest.raises(OSError) as told:
        gather(batches)
    assert told.value is error
    killed = made(items=["a"])
    killed.shutdown(immediate=True)
    with pytest.raises(ShutDown):
        gather(killed.batches(9, max_weight=3))


@pytest.mark.parametrize("make", [Queue, LifoQueue, PriorityQueue, FairQueue, lambda: CoalescingQueue(key=str)])
def test_a_queue_whose_items_have_no_weight(make):
    """It cannot tell how heavy a list is, and says so at once."""
    queue = make()
    for ask in (
        lambda: queue.batches(3, max_weight=5),
        lambda: queue.get_many(3, max_weight=5),
        lambda: asyncio.run(queue.get_many_async(3, max_weight=5)),
    ):
        with pytest.raises(ValueError, match="'max_weight' needs a queue that is made with 'weigh'"):
            ask()
    assert repr(queue.batches(3, max_weight=None)) == repr(queue.batches(3))


def test_a_simple_queue_has_no_such_argument():
    """Its items never have weights."""
    for method in (SimpleQueue().batches, SimpleQueue().get_many, SimpleQueue().get_many_async):
        with pytest.raises(TypeError, match="max_weight"):
            method(3, max_weight=5)


@pytest.mark.parametrize(("bad", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("1", TypeError), (True, TypeError)])
def test_bad_weights(bad, error):
    """At once, with nothing taken."""
    queue = made(items=["a"])
    for ask in (
        lambda: queue.batches(3, max_weight=bad),
        lambda: queue.get_many(3, max_weight=bad),
        lambda: asyncio.run(queue.get_many_async(3, max_weight=bad)),
    ):
        with pytest.raises(error, match="'max_weight' must be"):
            ask()
    assert queue.qsize() == 1


def test_it_shows_its_bounds():
    """In the order of the arguments."""
    queue = made()
    shown = f"<batches of up to 3 that weigh up to 5 lingering for 0.5 seconds from {queue!r}>"
    assert repr(queue.batches(3, max_weight=5, linger=0.5)) == shown


@pytest.mark.parametrize("kind", KINDS)
def test_a_storm_keeps_every_item_and_every_bound(kind):
    """Threads and tasks that linger, time out and are cancelled, with items that expire."""
    lost = []
    queue = kind(weigh=len, max_weight=60, on_drop=lambda item, reason: lost.append((item, reason)))
    putters, each = 3, 400

    def put(seed):
        rng, late = random.Random(seed), 0
        for _ in range(each):
            try:
                queue.put("x" * rng.randrange(1, 9), ttl=rng.choice([None, None, 0.001]))
            except Full:
                late += 1
        return late

    def take(seed):
        rng, taken = random.Random(seed), []
        while True:
            try:
                batch = queue.get_many(rng.randrange(1, 9), timeout=0.001, linger=rng.choice([0, 0.002]), max_weight=10)
            except Empty:
                continue
            except ShutDown:
                return taken
            assert len(batch) == 1 or sum(map(len, batch)) <= 10
            taken += batch

    async def take_async(taken):
        async for batch in queue.batches(5, max_weight=10, linger=0.001):
            assert len(batch) == 1 or sum(map(len, batch)) <= 10
            taken += batch

    async def interrupted():
        rng, taken = random.Random(7), []
        while not queue.is_shutdown or queue.qsize():
            task = asyncio.ensure_future(take_async(taken))
            await asyncio.wait([task], timeout=rng.random() * 0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not task.cancelled() and task.exception() is not None:
                raise task.exception()
        return taken

    takers = [spawn(take, 1), spawn(take, 2), spawn(asyncio.run, interrupted())]
    late = sum(putter.result() for putter in [spawn(put, seed) for seed in range(putters)])
    queue.shutdown()
    taken = [item for taker in takers for item in taker.result()]
    assert len(taken) + len(lost) + late == putters * each
    assert {reason for _, reason in lost} <= {"expired"}
    seen = queue.statistics()
    assert (seen.weight, seen.size, seen.gets, seen.dropped_expired) == (0, 0, len(taken), len(lost))


def test_what_is_too_heavy_for_the_queue_is_refused_as_before():
    """The bound of a list is another than the queue's."""
    queue = made(items=["a" * FULL])
    with pytest.raises(Full):
        queue.put("b", timeout=0)
    assert queue.get_many(9, max_weight=1) == ["a" * FULL]
