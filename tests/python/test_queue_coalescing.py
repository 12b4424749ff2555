"""`CoalescingQueue`: at most one item a key. A put merges or enters, also where the queue is full; the rest is a queue's."""

from __future__ import annotations

import asyncio
import gc
import queue as stdlib_queue
import random
import sys
import threading
import uuid
import weakref

import pytest
from helpers import (
    FORKING,
    LOOP_KINDS,
    PATIENCE,
    ROUNDS,
    STORM_ITEMS,
    LoopThread,
    collect,
    eventually,
    on_loops,
    run_script,
    spawn,
    wait_until,
)

from sluicegate import CoalescingQueue, Empty, Full, Queue, ShutDown
from sluicegate.testing import ManualClock


def first(item):
    return item[0]


def summed(old, new):
    return (old[0], old[1] + new[1])


def made(maxsize=0, **options):
    return CoalescingQueue(maxsize, key=first, **options)


# --------------------------------------------------------------------------------------------------------------- merging


def test_the_newer_replaces_the_older_in_its_place():
    """Without `merge`; the order is that of first arrival."""
    q = made()
    for item in [("a", 1), ("b", 1), ("a", 2), ("c", 1), ("b", 2)]:
        q.put(item)
    assert q.qsize() == 3
    assert q.peek() == ("a", 2)
    assert list(q.queue) == [("a", 2), ("b", 2), ("c", 1)]
    assert [q.get() for _ in range(3)] == [("a", 2), ("b", 2), ("c", 1)]
    q.put(("b", 3))
    q.put(("a", 3))
    assert q.get_many(5) == [("b", 3), ("a", 3)]


def test_merge_says_what_becomes_of_two():
    """It gets the older and the newer, and may change the older in place."""
    q = made(merge=summed)
    for item in [("a", 1), ("b", 10), ("a", 2), ("a", 3)]:
        q.put(item)
    assert q.get_many(5) == [("a", 6), ("b", 10)]

    def add(old, new):
        old.extend(new)
        return old

    q = CoalescingQueue(key=lambda _: "all", merge=add)
    for number in range(5):
        q.put([number])
    assert q.get() == [0, 1, 2, 3, 4]


def test_a_full_queue_takes_what_can_be_merged():
    """Each put of the family; a new key waits for room as ever."""
    q = made(2, merge=summed)
    q.put_many([("a", 1), ("b", 1)])
    assert q.full()
    q.put(("a", 1))
    q.put(("a", 1), timeout=5)
    q.put(("a", 1), block=False)
    q.put_nowait(("a", 1))
    assert q.put_many([("a", 1), ("b", 1), ("a", 1)], block=False) == 3
    assert q.put_many(iter([]), block=False) == 0
    with pytest.raises(Full):
        q.put_nowait(("c", 1))
    with pytest.raises(Full) as refused:
        q.put_many([("b", 1), ("c", 1), ("a", 100)], block=False)
    assert refused.value.accepted == 1, "in order: what comes after the one that does not fit does not go before it"
    assert q.get_many(5) == [("a", 7), ("b", 3)]


def test_a_batch_is_merged_within_itself():
    """A list, a tuple, an iterator."""
    items = [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("c", 1)]
    for source in (items, tuple(items), iter(items), (item for item in items)):
        q = made(4, merge=summed)  # there is room to ask an iterator for its end
        assert q.put_many(source) == 5
        assert (q.get_many(9), q.unfinished_tasks) == ([("a", 3), ("b", 3), ("c", 1)], 3)


def test_the_key_is_asked_for_once_an_item():
    """However long a put waits, and also when it does not go."""
    asked = []

    def key(item):
        asked.append(item)
        return item

    q = CoalescingQueue(1, key=key)
    q.put(1)
    putter = spawn(q.put, 2)
    wait_until(lambda: q.statistics().waiting_putters == 1)
    with pytest.raises(Full):
        q.put_many([3, 1], block=False)
    assert q.get() == 1
    putter.result()
    assert q.get() == 2
    assert q.put_many(iter([4])) == 1
    assert asked == [1, 2, 3, 1, 4]


KEYS = ["a", b"a", 1, 2**80, uuid.UUID(int=1), ("a", 1), ("a", (1, b"x"))]


def test_keys_of_every_kind():
    """Those of the keyed limiters; no two kinds look alike."""
    q = CoalescingQueue(key=lambda item: item[0])
    for number in (1, 2):
        for key in KEYS:
            q.put((key, number))
    assert q.get_many(99) == [(key, 2) for key in KEYS]


@pytest.mark.parametrize("bad", [None, 1.5, [1], True, object(), ("a", None)])
def test_other_keys_are_refused(bad):
    """By type, with nothing changed."""
    q = CoalescingQueue(key=lambda item: bad if item == "bad" else item)
    q.put("good")
    for put in (lambda: q.put("bad"), lambda: q.put_many(["x", "bad"]), lambda: q.put_many(iter(["bad"]))):
        with pytest.raises(TypeError):
            put()
    assert (q.get_many(9), q.unfinished_tasks) == (["good"], 1)


def test_a_key_function_that_fails():
    """Its error is the put's."""
    q = made()
    for put in (lambda: q.put(3), lambda: q.put_nowait(3), lambda: q.put_many([("a", 1), 3]), lambda: q.put_many(iter([3]))):
        with pytest.raises(TypeError, match="not subscriptable"):
            put()
    assert (q.qsize(), q.unfinished_tasks) == (0, 0)


def test_a_merge_that_fails():
    """Its error is the put's, and the older item stays as it was."""

    def fail(old, new):
        raise LookupError(new)

    q = made(1, merge=fail)
    q.put(("a", 1))
    with pytest.raises(LookupError):
        q.put(("a", 2))
    with pytest.raises(LookupError) as failed:
        q.put_many([("a", 3)])
    assert failed.value.accepted == 0
    assert (q.unfinished_tasks, q.statistics().merged) == (1, 0)
    assert q.get_many(9) == [("a", 1)]
    q.put(("b", 1))
    assert q.get() == ("b", 1)


def test_bad_arguments():
    """Of the constructor; subclasses keep no items of their own."""
    with pytest.raises(TypeError):
        CoalescingQueue()
    with pytest.raises(TypeError, match="'key' must be callable"):
        CoalescingQueue(key=3)
    with pytest.raises(TypeError, match="'merge' must be callable"):
        made(merge=3)
    with pytest.raises(TypeError):
        CoalescingQueue(1, first)

    class Hooked(CoalescingQueue):
        def _put(self, item): ...

    with pytest.raises(TypeError, match="cannot override"):
        Hooked(key=first)

    class Late(CoalescingQueue):
        def __init__(self): ...

    with pytest.raises(RuntimeError, match="has not been called"):
        Late().put(1)
    q = made()
    with pytest.raises(RuntimeError, match="cannot be changed"):
        q.__init__(key=first)


def test_it_is_a_queue():
    """For `isinstance`, for subclasses, for what shows items; they cannot be changed by hand."""

    class Mine(CoalescingQueue[tuple[str, int]]):
        pass

    for q in (made(2, name="updates"), Mine(2, key=first, name="updates")):
        assert isinstance(q, stdlib_queue.Queue)
        assert isinstance(q, Queue)
        assert isinstance(q, CoalescingQueue)
        q.put(("a", 1))
        assert "CoalescingQueue 'updates'" in repr(q) or "Mine 'updates'" in repr(q)
        assert len(q.queue) == 1
        with pytest.raises(TypeError, match="by hand"):
            q.queue.append(("b", 1))
        with pytest.raises(TypeError, match="by hand"):
            q.queue = []
        assert q.clear() == 1
        assert q.unfinished_tasks == 0


# --------------------------------------------------------------------------------------------------- counts, join, ends


def test_what_was_merged_counts_as_done():
    """So `join` and `task_done` are about what comes out."""
    q = made(2)
    for number in range(10):
        q.put(("a", number))
        q.put(("b", number))
    seen = q.statistics()
    assert (seen.puts, seen.merged, seen.unfinished_tasks, seen.size, seen.peak_size) == (20, 18, 2, 2, 2)
    joiner = spawn(q.join)
    for _ in range(2):
        q.get()
        assert not joiner.done()
        q.task_done()
    joiner.result()
    with pytest.raises(ValueError, match="too many"):
        q.task_done()


def test_the_end():
    """What is there can be taken, and nothing comes in any more, merged or not."""
    q = made()
    q.put(("a", 1))
    q.fail(LookupError("feed lost"))
    for put in (
        lambda: q.put(("a", 2)),
        lambda: q.put_nowait(("b", 1)),
        lambda: q.put_many([("a", 3)]),
        lambda: q.put_many(iter([("a", 3)])),
    ):
        with pytest.raises(ShutDown):
            put()
    items = iter(q)
    assert next(items) == ("a", 1)
    with pytest.raises(LookupError):
        next(items)


def test_an_immediate_end():
    """What is there is gone, and done with."""
    q = made(1)
    q.put(("a", 1))
    putter = spawn(q.put, ("b", 1))
    wait_until(lambda: q.statistics().waiting_putters == 1)
    q.shutdown(immediate=True)
    assert isinstance(putter.exception(), ShutDown)
    assert (q.qsize(), q.unfinished_tasks) == (0, 0)


def test_a_million_keys_that_are_gone_cost_nothing():
    """Its memory is that of what waits."""
    q = CoalescingQueue(key=lambda item: item)
    empty = sys.getsizeof(q)
    for number in range(50_000):
        q.put(number)
        q.get()
    assert sys.getsizeof(q) < empty + 50_000
    q.put_many(range(50_000))
    assert sys.getsizeof(q) > empty + 50_000 * 16
    while q.qsize():
        q.get_many(1000)
    assert sys.getsizeof(q) < empty + 100_000


# --------------------------------------------------------------------------------------------------------------- waiting


def test_who_waits_for_room_is_merged_when_the_key_comes():
    """Three wait; the first enters, and the others, with the same key, need no room any more."""
    q = made(1, merge=summed)
    q.put(("a", 1))
    putters = []
    for number in (1, 2, 3):
        putters.append(spawn(q.put, ("b", number)))
        wait_until(lambda: q.statistics().waiting_putters == len(putters))
    other = spawn(q.put, ("c", 1))
    wait_until(lambda: q.statistics().waiting_putters == 4)
    assert q.get() == ("a", 1)
    for putter in putters:
        putter.result()
    assert not other.done()
    assert q.get() == ("b", 6)
    other.result()
    assert (q.get(), q.statistics().waiting_putters) == (("c", 1), 0)


@on_loops
async def test_the_same_of_tasks():
    """With timeouts and a cancellation among them."""
    clock = ManualClock()
    q = made(1, merge=summed, clock=clock)
    await q.put_async(("a", 1))
    await q.put_async(("a", 1), timeout=5)
    tasks = [asyncio.ensure_future(q.put_async(("b", number), timeout=number)) for number in (10, 20, 30)]
    await eventually(lambda: q.statistics().waiting_putters == 3)
    tasks[1].cancel()
    await clock.advance_async(10)
    with pytest.raises(Full):
        await tasks[0]
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    late = asyncio.ensure_future(q.put_many_async([("b", 1), ("b", 1)]))
    await eventually(lambda: q.statistics().waiting_putters == 2)
    assert await q.get_async() == ("a", 2)
    await tasks[2]
    assert await late == 2
    assert await q.get_async() == ("b", 32)
    assert (q.statistics().waiting_putters, clock.waiters) == (0, 0)


def test_lingering_and_iterators_wait_as_ever():
    """`get_many(linger=)` waits for keys, and an iterator is asked only once there is room."""
    clock = ManualClock()
    q = made(3, clock=clock)
    getter = spawn(q.get_many, 2, linger=10)
    clock.wait_for_waiters(1)
    q.put(("a", 1))
    q.put(("a", 2))
    clock.advance(5)
    assert not getter.done()
    q.put(("b", 1))
    assert getter.result() == [("a", 2), ("b", 1)]
    q = made(1)
    source = iter([("a", 1), ("a", 2), ("b", 1)])
    with pytest.raises(Full) as refused:
        q.put_many(source, timeout=0)
    assert refused.value.accepted == 1
    assert next(source) == ("a", 2), "whose key nobody knew before it was taken"


# --------------------------------------------------------------------------------------------------------- inside, around


def test_a_put_from_inside_merge():
    """Goes in behind, or is merged in turn; what would have to wait is told."""
    q = made(3)

    def merge(old, new):
        if new[1] == 2:
            q.put(("b", 10))
            q.put(("a", 3))
            with pytest.raises(RuntimeError, match="from inside the same queue"):
                q.get()
        return summed(old, new)

    q = made(3, merge=merge)
    q.put(("a", 1))
    q.put(("a", 2))
    assert q.statistics().merged == 2
    assert (q.unfinished_tasks, q.qsize()) == (2, 2)
    assert q.get_many(9) == [("a", 6), ("b", 10)]


def test_a_put_from_inside_merge_that_cannot_be_merged():
    """Its put has returned, so it is not lost: it takes the older one's place, and the error is told."""

    def merge(old, new):
        if new[1] == 2:
            q.put(("a", 3))
            return new
        raise LookupError("odd")

    q = made(merge=merge)
    q.put(("a", 1))
    with pytest.raises(LookupError):
        q.put(("a", 2))
    assert q.get_many(9) == [("a", 3)]
    assert q.unfinished_tasks == 1


def test_what_was_merged_away_is_dropped_when_nobody_is_inside():
    """A finaliser may use the queue, also to get."""
    seen = []

    class Item:
        def __init__(self, number):
            self.number = number

        def __del__(self):
            seen.append((self.number, q.qsize(), q.get(block=False).number if self.number == 1 else None))

    q = CoalescingQueue(key=lambda item: "key")
    q.put(Item(1))
    q.put(Item(2))
    assert seen == [(1, 1, 2), (2, 0, None)]
    assert q.unfinished_tasks == 1


def test_cycles_are_collected():
    """Through items, the key and merge functions."""

    class Box:
        def __init__(self, q):
            self.q = q

        def merge(self, old, new):
            return new

    q = CoalescingQueue(key=lambda item: "key")
    box = Box(q)
    q.put(box)
    holder = Box(None)
    holder.q = CoalescingQueue(key=lambda item: "key", merge=holder.merge)
    references = [weakref.ref(thing) for thing in (q, box, holder.q, holder)]
    del q, box, holder
    collect()
    assert [reference() for reference in references] == [None] * 4


def test_the_collector_during_merge():
    """What the holder of the baton works on is not taken for garbage."""

    class Item:
        pass

    def merge(old, new):
        gc.collect()
        return old

    items = [Item() for _ in range(3)]
    references = [weakref.ref(item) for item in items]
    q = CoalescingQueue(key=lambda item: "one" if item in items[:1] + items[2:] else "two", merge=merge)
    q.put(items[0])
    q.put(items[1])
    q.put(items[2])
    del items[1]
    items[:] = []
    collect()
    assert q.get_many(9) == [references[0](), references[1]()]
    assert references[2]() is None


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
@pytest.mark.parametrize("merge", [None, summed])
def test_a_storm(loop_kind, merge):
    """Threads and tasks put, give up, are cancelled, and get. With sums nothing is lost and nothing counted twice; a cancelled or
    refused put has not happened; at most `maxsize` keys wait."""
    q = made(4, merge=merge)
    each = max(200, STORM_ITEMS // 400)
    put, got, lock = {}, [], threading.Lock()

    def note(key):
        with lock:
            put[key] = put.get(key, 0) + 1

    def produce(seed):
        dice = random.Random(seed)
        for _ in range(each):
            key = dice.choice("abcdefgh")
            try:
                q.put((key, 1), timeout=dice.choice([None, 0, 0.0005]))
            except Full:
                continue
            note(key)

    async def produce_async(seed):
        dice, loop = random.Random(seed), asyncio.get_running_loop()
        for _ in range(each // 4):
            key = dice.choice("abcdefgh")
            task = asyncio.ensure_future(q.put_async((key, 1), timeout=dice.choice([None, 0, 0.0005])))
            if dice.random() < 0.3:
                loop.call_later(dice.random() * 0.001, task.cancel)
            try:
                await task
            except (Full, asyncio.CancelledError):
                continue
            note(key)

    def consume():
        while True:
            try:
                items = q.get_many(3)
            except ShutDown:
                return
            assert len({key for key, _ in items}) == len(items) or merge is None
            with lock:
                got.extend(items)
            for _ in items:
                q.task_done()

    async def main(first_seed):
        await asyncio.gather(*(produce_async(first_seed + number) for number in range(10)))

    with LoopThread(loop_kind) as one, LoopThread(loop_kind) as other:
        consumers = [spawn(consume) for _ in range(2)]
        producers = [spawn(produce, seed) for seed in range(3)]
        runs = [one.submit(main(100)), other.submit(main(200))]
        for producer in producers:
            producer.result(PATIENCE * 2)
        for run in runs:
            run.result(PATIENCE * 2)
        q.join(timeout=PATIENCE)
        q.shutdown()
        for consumer in consumers:
            consumer.result()
    seen = q.statistics()
    assert (seen.size, seen.unfinished_tasks, seen.waiting_putters, seen.waiting_getters) == (0, 0, 0, 0)
    assert seen.puts == sum(put.values())
    assert seen.puts - seen.merged == seen.gets == len(got)
    assert seen.peak_size <= 4
    if merge:
        sums = {}
        for key, amount in got:
            sums[key] = sums.get(key, 0) + amount
        assert sums == put


SIGNALS = """
import os, signal, threading, time
from sluicegate import *

class Interrupted(Exception):
    pass

armed = False  # a signal raises in the block that expects it, and once

def handler(number, frame):
    global armed
    if armed:
        armed = False
        raise Interrupted

signal.signal(signal.SIGUSR1, handler)
main_thread = threading.main_thread().ident
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_signals_that_interrupt_puts():
    """An interrupted put has happened wholly or not at all: the sums say."""
    run_script(
        SIGNALS
        + f"""
q = CoalescingQueue(2, key=lambda item: item[0], merge=lambda old, new: (old[0], old[1] + new[1]))
ended = False

def shoot():
    while not turn:
        time.sleep(0.0003)
    while not ended:
        signal.pthread_kill(main_thread, signal.SIGUSR1)
        time.sleep(0.0003)

def drain():
    while not ended:
        try:
            total.extend(q.get_many(5, timeout=0.01))
        except Empty:
            pass

total, turn, interrupted = [], 0, 0
threads = [threading.Thread(target=shoot, daemon=True), threading.Thread(target=drain, daemon=True)]
for thread in threads:
    thread.start()
while True:
    try:
        armed = True
        while turn < {ROUNDS * 3} or interrupted < 20:
            turn += 1
            q.put((turn % 5, 1))
        armed = False
        break
    except Interrupted:
        interrupted += 1
ended = True
for thread in threads:
    thread.join()
try:
    total.extend(q.get_many(9, block=False))
except Empty:
    pass
seen = q.statistics()
assert sum(amount for _, amount in total) == seen.puts <= turn, (total, seen)
assert seen.puts - seen.merged == len(total) == seen.gets
"""
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_fork():
    """The child has what waits, and no waiters; both go on."""
    run_script(
        FORKING
        + """
import threading, time
from sluicegate import *

q = CoalescingQueue(1, key=lambda item: item[0])
q.put(("a", 1))
putter = threading.Thread(target=q.put, args=(("b", 1),), daemon=True)
putter.start()
while q.statistics().waiting_putters == 0:
    time.sleep(0.001)

def child():
    assert q.statistics().waiting_putters == 0
    q.put(("a", 2))
    assert q.get() == ("a", 2)
    q.put(("b", 3))
    assert q.get() == ("b", 3)

check(in_child(child), in_child(child))
assert q.get() == ("a", 1)
putter.join(20)
assert q.get() == ("b", 1)
"""
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_fork_while_another_thread_merges():
    """The child has all items, the older one of the two as well, and can go on; in the parent they are merged."""
    run_script(
        FORKING
        + """
import threading
from sluicegate import *

inside, go_on = threading.Event(), threading.Event()

def merge(old, new):
    if new[1] == 2:
        inside.set()
        assert go_on.wait(20)
    return (old[0], old[1] + new[1])

q = CoalescingQueue(key=lambda item: item[0], merge=merge)
q.put_many([("a", 1), ("b", 1)])
putter = threading.Thread(target=q.put, args=(("a", 2),))
putter.start()
assert inside.wait(20)

def child():
    q.put(("b", 3))
    q.put(("c", 1))
    assert q.get_many(9) == [("a", 1), ("b", 4), ("c", 1)]
    assert q.qsize() == 0

check(in_child(child))
go_on.set()
putter.join(20)
assert q.get_many(9) == [("a", 3), ("b", 1)]
"""
    )


def test_overflow_policies():
    """What can be merged never overflows; the oldest goes with its key; what is dropped is told as it was put."""
    for policy, left, expected in (
        ("drop_oldest", [("b", 1), ("c", 1)], [(("a", 2), "oldest")]),
        ("drop_newest", [("a", 2), ("b", 1)], [(("c", 1), "newest")]),
    ):
        for put in (
            lambda q, item: q.put(item),
            lambda q, item: q.put_many([item]),
            CoalescingQueue.offer,
        ):
            told = []
            q = made(2, overflow=policy, on_drop=lambda item, reason: told.append((item, reason)))  # noqa: B023
            for item in [("a", 1), ("b", 1), ("a", 2), ("c", 1)]:
                put(q, item)
            assert (told, q.unfinished_tasks) == (expected, 2)
            assert q.get_many(9) == left
    q = made(1, overflow="reject")
    assert q.offer(("a", 1)) and q.offer(("a", 2))
    assert q.offer(("b", 1)).reason == "full"
    with pytest.raises(Full):
        q.put(("b", 1))
    assert q.get_many(9) == [("a", 2)]
    q.overflow = "drop_oldest"
    q.put(("a", 1))
    assert q.offer(("b", 1)).displaced == (("a", 1),)
    with pytest.raises(ValueError, match="least urgent"):
        q.overflow = "drop_lowest"


def test_the_mutex():
    """Several steps in one; who waits for room is merged once it is given back."""
    q = made(1, merge=summed)
    q.put(("a", 1))
    putter = spawn(q.put, ("b", 2))
    wait_until(lambda: q.statistics().waiting_putters == 1)
    with q.mutex:
        q.put(("a", 1))
        assert q.get() == ("a", 2)
        q.put(("b", 1))
        q.put_nowait(("b", 1))
        with pytest.raises(Full):
            q.put_nowait(("c", 1))
        assert not putter.done()
    putter.result()
    assert q.get() == ("b", 4)
    assert (q.unfinished_tasks, q.statistics().merged) == (2, 3)


def test_exit_with_everybody_waiting():
    """Daemon threads that put, merge and get at the very end: the interpreter leaves, and says nothing."""
    told = run_script(
        """
import threading, time
from sluicegate import *

q = CoalescingQueue(1, key=lambda item: item, merge=lambda old, new: new)
full = CoalescingQueue(1, key=lambda item: item)
full.put(1)

def put():
    while True:
        for item in range(3):
            q.put(item)

for function in (put, put, lambda: [None for _ in q], lambda: full.put(2), CoalescingQueue(key=id).get):
    threading.Thread(target=function, daemon=True).start()
time.sleep(0.05)
print("end")
""",
        limit=30,
    )
    assert told == "end\n"


@on_loops
async def test_views():
    """The two interfaces of others, on the same queue."""
    q = made(1)
    await q.async_q.put(("a", 1))
    q.async_q.put_nowait(("a", 2))
    q.sync_q.put(("a", 3), timeout=1)
    with pytest.raises(asyncio.QueueFull):
        q.async_q.put_nowait(("b", 1))
    assert await q.async_q.get() == ("a", 3)
    with pytest.raises(Empty):
        q.sync_q.get_nowait()
