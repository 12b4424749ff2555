"""`Broadcast` and its subscribers, from threads and tasks: who gets what, what a slow one misses, how it ends, what comes from outside."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import threading
import weakref

import pytest
from helpers import FORKING, LOOP_KINDS, LoopThread, collect, is_gone, on_loops, run_script, settle, spawn, step, wait_until

from sluicegate import BlockingInEventLoopWarning, Broadcast, Empty, Full, Queue, ShutDown, Subscriber, select, select_async
from sluicegate.testing import ManualClock

POLICIES = ["drop_oldest", "drop_newest", "block", "disconnect"]


def getters(subscriber):
    return subscriber.statistics().waiting_getters


def publishers(broadcast):
    return broadcast.statistics().waiting_publishers


def everything(subscriber):
    return subscriber.get_many(1000, block=False) if not subscriber.empty() else []


# ------------------------------------------------------------------------------------------------------------ who gets what


def test_every_subscriber_gets_every_item_in_order():
    broadcast = Broadcast()
    assert broadcast.publish("before anybody came") == 0
    one, two = broadcast.subscribe(10), broadcast.subscribe(5, overflow="block")
    for number in range(5):
        assert broadcast.publish(number) == 2
    assert [one.get() for _ in range(5)] == two.get_many(10) == list(range(5))
    with pytest.raises(Empty, match="no item"):
        one.get_nowait()
    with pytest.raises(Empty, match="timeout=0.001"):
        two.get(timeout=0.001)
    with pytest.raises(Empty):
        two.get(block=False, timeout="not looked at")


def test_batches():
    broadcast = Broadcast(name="prices")
    mine = broadcast.subscribe(5)
    assert (mine.name, mine.full()) == ("prices", False)
    for number in range(6):
        broadcast.publish(number)
    assert mine.full()
    broadcast.shutdown()
    assert list(mine.batches(2)) == [[1, 2], [3, 4], [5]]
    assert not mine.full()

    async def rest(subscriber):
        return [batch async for batch in subscriber.batches(3)]

    other = Broadcast()
    theirs = other.subscribe(9)
    for number in range(4):
        other.publish(number)
    other.fail(OSError("gone"))
    batches = theirs.batches(3)
    assert next(batches) == [0, 1, 2]
    assert next(batches) == [3]
    with pytest.raises(OSError, match="gone"):
        next(batches)
    with pytest.raises(OSError, match="gone"):
        asyncio.run(rest(theirs))
    for bad, error in ((0, ValueError), ("2", TypeError), (1 << 70, ValueError)):
        with pytest.raises(error, match="'max'"):
            mine.batches(bad)


def test_peek():
    """What `get` would return next, which stays; and what it would raise."""
    broadcast = Broadcast(name="prices")
    mine, theirs = broadcast.subscribe(2), broadcast.subscribe(9)
    with pytest.raises(Empty, match="peek: the subscriber of the broadcast 'prices' has no item"):
        mine.peek()
    items = [object() for _ in range(3)]
    for item in items:
        broadcast.publish(item)
    assert mine.peek() is mine.peek() is mine.get() is items[1]
    assert theirs.peek() is items[0]
    assert (mine.statistics().gets, mine.missed, theirs.statistics().size) == (1, 1, 3)
    broadcast.shutdown()
    assert mine.peek() is mine.get() is items[2]
    with pytest.raises(ShutDown):
        mine.peek()
    theirs.close()
    with pytest.raises(ShutDown, match="closed"):
        theirs.peek()


def test_peek_keeps_nothing_alive():
    class Item:
        pass

    broadcast = Broadcast()
    subscribers = [broadcast.subscribe(3), broadcast.subscribe(3)]
    item = Item()
    gone = weakref.ref(item)
    broadcast.publish(item)
    assert all(subscriber.peek() is item for subscriber in subscribers)
    del item
    assert gone() is not None
    for subscriber in subscribers:
        subscriber.get()
    collect()
    assert is_gone(gone)


def test_is_shutdown():
    """No further items come, though some may wait."""
    broadcast = Broadcast()
    mine, closed, slow = broadcast.subscribe(5), broadcast.subscribe(5), broadcast.subscribe(1, overflow="disconnect")
    assert not any(subscriber.is_shutdown for subscriber in (mine, closed, slow))
    closed.close()
    broadcast.publish(1)
    broadcast.publish(2)
    assert (mine.is_shutdown, closed.is_shutdown, slow.is_shutdown) == (False, True, True)
    broadcast.shutdown()
    assert mine.is_shutdown
    assert (mine.get_many(9), slow.peek()) == ([1, 2], 1)


@pytest.mark.parametrize(
    ("names", "instead"),
    [
        ("put put_async put_nowait put_many put_many_async offer putting", r"use subscriber\.broadcast\.publish\(item\)"),
        ("task_done unfinished_tasks join join_async working", "is not counted"),
        ("shutdown fail", r"close\(\) ends this subscription"),
        ("clear", "takes"),
    ],
)
def test_what_queues_have_and_subscribers_do_not(names, instead):
    subscriber = Broadcast().subscribe(3)
    for name in names.split():
        assert hasattr(Queue, name)
        assert not hasattr(subscriber, name)
        assert not hasattr(type(subscriber), name)
        with pytest.raises(AttributeError, match=f"a Subscriber has no '{name}', as queues have: .*{instead}"):
            getattr(subscriber, name)


def test_one_object_is_stored_once():
    """However many subscribers there are; it is let go of when the last one has taken it."""

    class Item:
        pass

    broadcast, item = Broadcast(), Item()
    subscribers = [broadcast.subscribe(3) for _ in range(10)]
    references = sys.getrefcount(item)
    broadcast.publish(item)
    assert broadcast.statistics().size == 1
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        assert sys.getrefcount(item) == references + 1
    gone = weakref.ref(item)
    for subscriber in subscribers:
        assert gone() is not None
        assert subscriber.get() is item
    del item
    gc.collect()
    assert gone() is None
    assert broadcast.statistics().size == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_a_subscriber_that_is_full(policy):
    broadcast = Broadcast(name="news")
    slow, other = broadcast.subscribe(2, overflow=policy), broadcast.subscribe(10)
    assert (slow.maxsize, slow.overflow, slow.broadcast) == (2, policy, broadcast)
    refused = 0
    for number in range(5):
        try:
            broadcast.publish_nowait(number)
        except Full as full:
            refused += 1
            assert "publish without waiting: a subscriber of the broadcast 'news'" in str(full)
    assert refused == (3 if policy == "block" else 0)
    assert everything(other) == list(range(5 - refused))
    kept = [3, 4] if policy == "drop_oldest" else [0, 1]
    assert [slow.get_nowait() for _ in kept] == kept
    dropped = {"block": 0, "disconnect": 1}.get(policy, 3)
    assert slow.statistics().dropped == broadcast.statistics().dropped == dropped
    with pytest.raises(ShutDown if policy == "disconnect" else Empty) as raised:
        slow.get_nowait()
    if policy == "disconnect":
        assert "has been disconnected, because it was full (maxsize=2)" in str(raised.value)
        assert broadcast.publish(5) == 1
        with pytest.raises(ShutDown, match="disconnected"):
            list(slow)
        assert broadcast.statistics().disconnected == 1


def test_a_lagging_subscriber_knows_how_much_it_has_missed():
    """And where: `missed` grows with the item that comes after the gap."""
    broadcast = Broadcast()
    oldest, newest = broadcast.subscribe(2), broadcast.subscribe(2, overflow="drop_newest")
    for number in range(5):
        broadcast.publish(number)
    assert (oldest.missed, newest.missed) == (0, 0)
    assert (oldest.get(), oldest.missed, oldest.get(), oldest.missed) == (3, 3, 4, 3)
    assert (newest.get(), newest.missed) == (0, 0)
    broadcast.publish(5)
    assert (newest.get(), newest.missed, newest.get(), newest.missed) == (1, 0, 5, 3)
    assert newest.statistics().dropped == newest.statistics().missed == 3


def test_a_slow_subscriber_takes_bounded_memory():
    """Its items stay, and those that others have taken go, whatever the policy."""
    broadcast = Broadcast()
    slow = [broadcast.subscribe(4, overflow=policy) for policy in ("drop_oldest", "drop_newest", "disconnect")]
    quick = broadcast.subscribe(4, overflow="block")
    for number in range(20_000):
        broadcast.publish(number)
        assert quick.get() == number
    assert broadcast.statistics().peak_size <= 9
    assert [everything(subscriber) for subscriber in slow] == [[19996, 19997, 19998, 19999], [0, 1, 2, 3], [0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda broadcast: broadcast.subscribe(0), ValueError),
        (lambda broadcast: broadcast.subscribe(True), TypeError),
        (lambda broadcast: broadcast.subscribe("1"), TypeError),
        (lambda broadcast: broadcast.subscribe(1, overflow="reject"), ValueError),
        (lambda broadcast: broadcast.subscribe(1, overflow=1), TypeError),
        (lambda broadcast: broadcast.publish(1, timeout=-1), ValueError),
        (lambda broadcast: broadcast.publish(1, timeout="1"), TypeError),
        (lambda broadcast: broadcast.subscribe(1).get(timeout=float("nan")), ValueError),
        (lambda broadcast: broadcast.subscribe(1).get_many(0), ValueError),
        (lambda broadcast: 1 in broadcast.subscribe(1), TypeError),
        (lambda broadcast: broadcast.shutdown(error="no exception"), TypeError),
        (lambda broadcast: broadcast.fail(None), TypeError),
        (lambda broadcast: Broadcast(name=1), TypeError),
        (lambda broadcast: Broadcast(clock=1), TypeError),
        (lambda broadcast: Subscriber(), TypeError),
    ],
)
def test_bad_arguments(call, error):
    broadcast = Broadcast()
    with pytest.raises(error):
        call(broadcast)
    assert broadcast.statistics().published == 0
    assert not broadcast.is_shutdown


# ------------------------------------------------------------------------------------------------------------------ waiting


def test_publishers_wait_for_subscribers_that_block_and_for_no_others():
    broadcast = Broadcast()
    blocking, lossy = broadcast.subscribe(1, overflow="block"), broadcast.subscribe(1)
    broadcast.publish(0)
    waiting = []
    for number in (1, 2):
        waiting.append(spawn(broadcast.publish, number))
        wait_until(lambda number=number: publishers(broadcast) == number)
    with pytest.raises(Full, match="timeout=0.001"):
        broadcast.publish("too late", timeout=0.001)
    assert lossy.qsize() == 1
    assert [blocking.get() for _ in range(3)] == [0, 1, 2]
    assert [publisher.result() for publisher in waiting] == [2, 2]
    assert lossy.get() == 2
    # One that closes, or is dropped, is waited for no longer.
    for end in (Subscriber.close, lambda _: None):
        blocking = broadcast.subscribe(1, overflow="block")
        broadcast.publish("fills it")
        publisher = spawn(broadcast.publish, "waits")
        wait_until(lambda: publishers(broadcast) == 1)
        end(blocking)
        del blocking
        gc.collect()
        assert publisher.result() == 1


def test_threads_and_tasks_wait_for_items():
    broadcast = Broadcast()
    subscribers = [broadcast.subscribe(4) for _ in range(3)]
    with LoopThread() as loop:
        threads = [spawn(subscriber.get) for subscriber in subscribers]
        tasks = [loop.submit(subscriber.get_async()) for subscriber in subscribers]
        wait_until(lambda: all(getters(subscriber) == 2 for subscriber in subscribers))
        broadcast.publish(1)
        broadcast.publish(2)
        for thread, task in zip(threads, tasks, strict=True):
            assert {thread.result(), task.result(30)} == {1, 2}


@on_loops
async def test_coroutines():
    broadcast = Broadcast()
    subscriber = broadcast.subscribe(2, overflow="block")
    assert step(broadcast.publish_async(1)) == (True, 1)
    assert step(broadcast.publish_async(2, timeout=5)) == (True, 1)
    assert step(subscriber.get_async()) == (True, 1)
    assert step(subscriber.get_many_async(5)) == (True, [2])
    task = asyncio.ensure_future(subscriber.get_async())
    behind = asyncio.ensure_future(subscriber.get_many_async(3))
    await settle()
    broadcast.publish(3)
    task.cancel()  # it has been woken, and has not come
    assert await behind == [3]
    broadcast.publish(4)
    broadcast.publish(5)
    publisher = asyncio.ensure_future(broadcast.publish_async(6))
    behind = asyncio.ensure_future(broadcast.publish_async(7))
    await settle()
    publisher.cancel()
    await settle()
    assert (await subscriber.get_async(), await behind, await subscriber.get_many_async(5)) == (4, 1, [5, 7])
    with pytest.raises(Empty):
        await subscriber.get_async(timeout=0.001)
    async with broadcast.subscribe(3) as mine:
        broadcast.publish(8)
        broadcast.shutdown()
        assert [item async for item in mine] == [8]
    assert mine.is_closed
    with pytest.raises(ShutDown):
        await broadcast.publish_async(9)


@on_loops
async def test_after_128_operations_in_a_row_the_others_run():
    broadcast = Broadcast()
    subscriber, turns = broadcast.subscribe(300), []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    for number in range(129):
        await broadcast.publish_async(number)
    assert turns == [1]
    asyncio.get_running_loop().call_soon(turns.append, 2)
    for _ in range(129):
        await subscriber.get_async()
    assert turns == [1, 2]


def test_a_blocking_call_warns_on_a_loop():
    broadcast = Broadcast()
    subscriber = broadcast.subscribe(1, overflow="block")

    async def main():
        with pytest.warns(BlockingInEventLoopWarning, match="get_async"), pytest.raises(Empty):
            subscriber.get(timeout=0.001)
        broadcast.publish(1)
        with pytest.warns(BlockingInEventLoopWarning, match="publish_async"), pytest.raises(Full):
            broadcast.publish(2, timeout=0.001)

    asyncio.run(main())


def test_in_selections():
    broadcast, other = Broadcast(), Queue()
    subscriber = broadcast.subscribe(1, overflow="block")
    assert select(subscriber.getting(), other.getting(), default=None).index == -1
    assert select(broadcast.publishing("x"), other.getting()) == (0, 1)
    assert select(other.getting(), subscriber.getting()) == (1, "x")
    waiter = spawn(select, other.getting(), subscriber.getting())
    wait_until(lambda: getters(subscriber) == 1)
    broadcast.publish("y")
    assert waiter.result() == (1, "y")
    broadcast.publish("z")
    waiter = spawn(select, broadcast.publishing("no room"), other.getting())
    wait_until(lambda: publishers(broadcast) == 1)
    broadcast.shutdown()
    assert isinstance(waiter.exception(), ShutDown)
    assert asyncio.run(select_async(subscriber.getting())) == (0, "z")


def test_its_clock():
    clock = ManualClock()
    subscriber = Broadcast(clock=clock).subscribe(1)
    waiter = spawn(subscriber.get, timeout=5)
    clock.wait_for_waiters(1)
    clock.advance(5)
    assert isinstance(waiter.exception(), Empty)
    assert subscriber.statistics().get_blocked_seconds == 5


# ---------------------------------------------------------------------------------------------------------------- how it ends


def test_shutdown():
    broadcast = Broadcast()
    subscriber = broadcast.subscribe(3)
    broadcast.publish(1)
    broadcast.shutdown()
    broadcast.shutdown(error=ValueError("too late"))
    assert list(subscriber) == [1]
    for call in (subscriber.get, subscriber.get_nowait, lambda: subscriber.get_many(2), lambda: broadcast.publish(2)):
        with pytest.raises(ShutDown, match="the broadcast has been shut down"):
            call()
    with pytest.raises(ShutDown, match="subscribe"):
        broadcast.subscribe(1)
    assert "shut down" in repr(broadcast)


def test_a_failure():
    broadcast, error = Broadcast(), LookupError("feed lost")
    subscriber = broadcast.subscribe(3)
    broadcast.publish(1)
    broadcast.fail(error)
    assert next(subscriber) == 1
    with pytest.raises(LookupError, match="feed lost"):
        next(subscriber)
    with pytest.raises(ShutDown) as ended:
        subscriber.get()
    assert ended.value.__cause__ is error


def test_an_immediate_shutdown():
    broadcast = Broadcast()
    subscriber = broadcast.subscribe(3)
    broadcast.publish(1)
    broadcast.shutdown(immediate=True)
    with pytest.raises(ShutDown):
        list(subscriber)
    assert broadcast.statistics().size == 0


def test_the_end_wakes_everybody():
    broadcast = Broadcast()
    full, empty = broadcast.subscribe(1, overflow="block"), broadcast.subscribe(1)
    broadcast.publish(1)
    empty.get()
    waiting = [spawn(empty.get), spawn(broadcast.publish, 2)]
    wait_until(lambda: getters(empty) == publishers(broadcast) == 1)
    broadcast.shutdown()
    assert all(isinstance(each.exception(), ShutDown) for each in waiting)
    assert full.get() == 1


def test_close():
    broadcast = Broadcast()
    with broadcast.subscribe(3) as subscriber:
        broadcast.publish(1)
        waiter = spawn(lambda: [subscriber.get(), subscriber.get()])
        wait_until(lambda: getters(subscriber) == 1)
    assert isinstance(waiter.exception(), ShutDown)
    assert "closed" in str(waiter.exception())
    subscriber.close()
    assert (list(subscriber), subscriber.qsize(), broadcast.publish(2)) == ([], 0, 0)
    assert " closed of " in repr(subscriber)


# --------------------------------------------------------------------------------------------------------------------- storms


@pytest.mark.parametrize("kind", LOOP_KINDS)
def test_a_storm(kind):
    """Two publishers, and subscribers of every policy in threads and tasks that time out and are cancelled: each sees an increasing
    sequence, and what it did not get it has counted as missed."""
    count = 3000
    broadcast = Broadcast()
    subscribers = [broadcast.subscribe(8, overflow=policy) for policy in ("block", "drop_oldest", "drop_newest") * 2]
    lock, numbers = threading.Lock(), iter(range(count))

    def publish():
        while True:
            with lock:  # so that the order is that of the numbers
                number = next(numbers, None)
                if number is None:
                    return
                broadcast.publish(number)

    def get(subscriber):
        dice, mine = random.Random(1), []
        while True:
            try:
                item = subscriber.get(timeout=dice.choice([None, 0.0001]))
            except Empty:
                continue
            except ShutDown:
                return mine
            mine.append((item, subscriber.missed))

    async def get_async(subscriber):
        dice, mine = random.Random(2), []
        while True:
            task = asyncio.ensure_future(subscriber.get_async(timeout=dice.choice([None, 0.0001])))
            if dice.random() < 0.2:
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                mine.append((await task, subscriber.missed))
            except (Empty, asyncio.CancelledError):
                continue
            except ShutDown:
                return mine

    with LoopThread(kind) as loop:
        threads = [spawn(get, subscriber) for subscriber in subscribers[:3]]
        tasks = [loop.submit(get_async(subscriber)) for subscriber in subscribers[3:]]
        for publisher in [spawn(publish) for _ in range(2)]:
            publisher.result()
        broadcast.shutdown()
        seen = [thread.result() for thread in threads] + [task.result(30) for task in tasks]
    for subscriber, mine in zip(subscribers, seen, strict=True):
        # The item after n that were taken and m that were missed is number n + m.
        assert [item for item, _ in mine] == [taken + missed for taken, (_, missed) in enumerate(mine)]
        assert len(mine) + subscriber.statistics().dropped == count
        if subscriber.overflow == "block":
            assert len(mine) == count
    assert broadcast.statistics().size == 0


# --------------------------------------------------------------------------------------------------------- what comes from outside


def test_a_cycle_is_collected():
    """Through an item, through a subscriber in it, and through a task that waits."""

    class Item:
        pass

    async def main():
        item, broadcast = Item(), Broadcast()
        item.subscriber = broadcast.subscribe(3)
        item.waiting = broadcast.subscribe(3)
        item.task = item.waiting.get_async()
        broadcast.publish(item)
        assert item.waiting.get() is item
        assert step(item.task) == (False, None)
        return weakref.ref(item), weakref.ref(broadcast)

    references = asyncio.run(main())
    collect()
    assert [reference() for reference in references] == [None, None]


def test_a_long_chain_is_dropped():
    """A broadcast whose item is a broadcast whose item is a broadcast."""
    broadcast = None
    for _ in range(20_000):
        outer = Broadcast()
        subscriber = outer.subscribe(1)
        outer.publish((broadcast, subscriber))
        broadcast = outer
    del outer, subscriber, broadcast
    collect()


def test_a_finaliser_may_use_it():
    """What an item does when it is dropped, in the middle of publishing, taking and closing."""
    broadcast, seen = Broadcast(), []
    subscriber = broadcast.subscribe(1)

    class Item:
        def __del__(self):
            seen.append((broadcast.publish("from __del__"), subscriber.qsize(), broadcast.statistics().size))

    broadcast.publish(Item())
    broadcast.publish(Item())  # drops the first, which replaces the second, which replaces what that has published
    gc.collect()
    assert len(seen) == 2
    assert subscriber.get() == "from __del__"
    broadcast.publish(Item())
    subscriber.close()
    gc.collect()
    assert len(seen) == 3


COMMON = (
    FORKING
    + """
import os, signal, sys, threading, time
from sluicegate import *

def until(predicate, seconds=30):
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.0005)

def start(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread

broadcast = Broadcast()
full, empty = broadcast.subscribe(1, overflow="block"), broadcast.subscribe(5)
broadcast.publish(0)
empty.get()
def waiting():
    return broadcast.statistics().waiting_publishers, empty.statistics().waiting_getters
"""
)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_signals():
    """Ctrl-C ends a wait, and those behind go on; other handlers run in the middle of it and use the same objects."""
    run_script(
        COMMON
        + """
for call in (empty.get, lambda: next(empty), lambda: broadcast.publish(1)):
    def interrupt():
        until(lambda: sum(waiting()) == 1)
        os.kill(os.getpid(), signal.SIGINT)
    start(interrupt)
    try:
        call()
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError
    assert waiting() == (0, 0)

seen = []
def handler(*_):
    mine = broadcast.subscribe(1)
    full.get()
    broadcast.publish("from a handler")  # `full` is full again
    seen.append((mine.get(timeout=20), empty.get(timeout=20)))
signal.signal(signal.SIGUSR1, handler)
def signals():
    for n in range(3):
        until(lambda: waiting() == (0, 1) and len(seen) == n)
        os.kill(os.getpid(), signal.SIGUSR1)
    until(lambda: waiting() == (0, 1) and len(seen) == 3)
    full.get()
    broadcast.publish("at last")
start(signals)
assert empty.get() == "at last"
assert seen == [("from a handler",) * 2] * 3
"""
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forks():
    """The child has the items and the subscribers, and none of the parent's waiters."""
    run_script(
        COMMON
        + """
start(broadcast.publish, 1)
start(empty.get)
until(lambda: waiting() == (1, 1))
def child():
    assert waiting() == (0, 0)
    assert full.get() == 0
    assert broadcast.publish("in the child") == 2
    assert full.get() == empty.get() == "in the child"
    full.close()
check(in_child(child))
assert full.get() == 0
assert full.get() == 1
until(lambda: waiting() == (0, 0))
"""
    )


def test_the_end_of_the_interpreter():
    """With daemon threads in the middle of everything it neither crashes nor hangs."""
    run_script(
        COMMON
        + """
class Loud:
    def __del__(self):
        try:
            broadcast.publish_nowait(1)
        except Full:
            pass
loud = Loud()
for n in range(3):
    start(empty.get_many, 1000)
    start(broadcast.publish, n)
turning = Broadcast()
def turn():
    while True:
        with turning.subscribe(2) as mine:
            turning.publish(Loud())
            mine.get()
start(turn)
until(lambda: turning.statistics().published > 10)
"""
    )
