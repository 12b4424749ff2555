"""`select` from threads: what happens, what does not, how it ends, who is served; and what comes to it from outside."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import weakref
from datetime import timedelta

import pytest
from helpers import FORKING, collect, run_script, spawn, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate import (
    AckChannel,
    BoundedSemaphore,
    Broadcast,
    CoalescingQueue,
    CreditChannel,
    Full,
    KeyedSemaphore,
    KeyedTokenBucket,
    Latest,
    LeakyBucket,
    LifoQueue,
    PriorityQueue,
    Queue,
    RateLimited,
    RateLimits,
    Ready,
    Selectable,
    Semaphore,
    ShutDown,
    SimpleQueue,
    SlidingWindow,
    TokenBucket,
    select,
)
from sluicegate.testing import ManualClock


def getters(queue):
    return queue.statistics().waiting_getters


class Hooked(Queue):
    """A queue whose items a subclass keeps: every operation goes through the baton."""

    def _init(self, maxsize):
        self.items = []

    def _qsize(self):
        return len(self.items)

    def _put(self, item):
        self.items.append(item)

    def _get(self):
        return self.items.pop(0)


class Compared:
    """Its order is Python's to say, so a heap of them needs the baton."""

    def __init__(self, rank):
        self.rank = rank

    def __lt__(self, other):
        return self.rank < other.rank


# ------------------------------------------------------------------------------------------------------- what happens


def test_exactly_one_happens_and_the_others_are_untouched():
    full, empty, items, permits = Queue(1), Queue(), Queue(), Semaphore(0)
    full.put("old")
    items.put("item")
    assert select(full.putting("new"), empty.getting(), items.getting(), permits.acquiring()) == Ready(2, "item")
    assert (full.get_nowait(), full.qsize(), empty.qsize(), items.qsize()) == ("old", 0, 0, 0)
    assert permits.statistics().acquired == 0


def test_each_kind_of_operation_gives_what_its_method_gives():
    channel, deliveries = CreditChannel(4), AckChannel(4)
    channel.sender.send(1)
    deliveries.sender.send(2)
    latest = Latest("first")
    simple, lifo = SimpleQueue(), LifoQueue()
    lifo.put(5)
    assert select(channel.receiver.receiving()).value == 1
    delivery = select(deliveries.receiver.receiving()).value
    assert delivery.value == 2
    delivery.ack()
    assert select(channel.sender.sending(3)).value is None
    assert channel.receiver.receive_nowait() == 3
    assert select(latest.changing(0)).value == ("first", 1)
    assert select(simple.putting(4)).value is None
    assert select(simple.getting()).value == 4
    assert select(lifo.getting()).value == 5


@pytest.mark.parametrize(
    "taker",
    [
        lambda clock: TokenBucket(1, burst=5, clock=clock),
        lambda clock: SlidingWindow(5, 1, clock=clock),
        lambda clock: LeakyBucket(1, capacity=3, clock=clock),
        lambda clock: KeyedTokenBucket(1, burst=5, max_keys=8, clock=clock).key("a"),
        lambda clock: RateLimits(one=TokenBucket(1, burst=5, clock=clock), two=TokenBucket(1, burst=5, clock=clock)),
        lambda clock: Semaphore(1, clock=clock),
        lambda clock: BoundedSemaphore(1, clock=clock),
        lambda clock: KeyedSemaphore(1, max_keys=2, clock=clock).key("a"),
    ],
)
def test_limiters_and_semaphores(taker):
    limiter = taker(ManualClock())
    empty = Queue(clock=ManualClock())
    assert select(limiter.acquiring()) == (0, True)
    while limiter.try_acquire():
        pass
    assert select(limiter.acquiring(1), default="none") == (-1, "none")
    with pytest.raises(ValueError, match="same clock"):
        select(limiter.acquiring(), empty.getting(), default=None)


def test_amounts_of_a_set():
    limits = RateLimits(requests=TokenBucket(1, burst=2), tokens=TokenBucket(1, burst=100))
    operation = limits.acquiring(requests=1, tokens=40)
    assert select(operation) == select(operation) == (0, True)
    assert select(operation, default=None).index == -1
    with pytest.raises(TypeError, match="acquiring"):
        limits.acquiring(requests=1)
    with pytest.raises(ValueError, match="200"):
        limits.acquiring(requests=1, tokens=200)


def test_ready_is_a_tuple_with_names():
    ready = Ready(2, "x")
    assert repr(ready) == "Ready(index=2, value='x')"
    index, value = ready
    assert (ready.index, ready.value, index, value) == (2, "x", 2, "x")
    match ready:
        case Ready(2, value):
            assert value == "x"
        case _:
            pytest.fail("it does not match")
    assert not hasattr(ready, "__dict__")
    assert Ready[int] is not None


def test_an_operation_can_be_selected_any_number_of_times():
    queue = Queue()
    put = queue.putting("x")
    assert [select(put).index for _ in range(3)] == [0, 0, 0]
    assert queue.get_many(5) == ["x"] * 3
    assert repr(put).startswith("<putting of <sluicegate.Queue")
    assert Selectable[int] is not None
    with pytest.raises(TypeError):
        Selectable()


def test_the_same_object_twice():
    """Getting from and putting into one queue; two getters in one line."""
    queue = Queue(1)
    assert select(queue.getting(), queue.putting(1)) == (1, None)
    assert select(queue.putting(2), queue.getting()) == (1, 1)
    waiter = spawn(select, queue.getting(), queue.getting())
    wait_until(lambda: getters(queue) == 2)
    queue.put(3)
    assert waiter.result().value == 3
    assert getters(queue) == 0


# ------------------------------------------------------------------------------------------------------------ waiting


def test_it_waits_for_whichever_comes_first_and_leaves_every_line():
    queues, permits, latest, channel = [Queue(), Queue()], Semaphore(0), Latest(), CreditChannel(4)
    bucket = TokenBucket(0.001, burst=1)
    bucket.acquire()
    events = {
        0: lambda: queues[0].put(7),
        2: permits.release,
        3: lambda: latest.set("news"),
        4: lambda: channel.sender.send("item"),
        5: lambda: bucket.refund(1),
    }
    for index, event in events.items():
        version = latest.version
        waiter = spawn(
            select,
            queues[0].getting(),
            queues[1].getting(),
            permits.acquiring(),
            latest.changing(version),
            channel.receiver.receiving(),
            bucket.acquiring(),
        )
        wait_until(lambda: getters(queues[0]) and getters(queues[1]) and permits.statistics().waiters and bucket.statistics().waiters)
        event()
        assert waiter.result().index == index
        assert [getters(queue) for queue in queues] == [0, 0]
        assert permits.statistics().waiters == bucket.statistics().waiters == latest.statistics().waiting_readers == 0


def test_a_turn_that_it_does_not_use_goes_to_the_next():
    """Two queues wake it at once; the getter behind it in the line of the other one gets that item."""
    first, second = Queue(), Queue()
    waiter = spawn(select, first.getting(), second.getting())
    wait_until(lambda: getters(first) == getters(second) == 1)
    behind = [spawn(queue.get) for queue in (first, second)]
    wait_until(lambda: getters(first) == getters(second) == 2)
    first.put(1)
    second.put(2)
    chosen = waiter.result()
    assert behind[1 - chosen.index].result() == 2 - chosen.index
    (first, second)[chosen.index].put("for the other")
    assert behind[chosen.index].result() == "for the other"


def test_a_grant_of_a_semaphore_that_is_not_used_goes_to_the_next():
    permits, queue = Semaphore(2), Queue()
    permits.acquire(n=2)
    waiter = spawn(select, permits.acquiring(2), queue.getting())
    wait_until(lambda: permits.statistics().waiters == 1)
    behind = spawn(permits.acquire)
    wait_until(lambda: permits.statistics().waiters == 2)
    permits.release()  # not enough for the selection, which is first, and nobody overtakes it
    assert not behind.done()
    queue.put("item")
    assert waiter.result() == (1, "item")
    assert behind.result() is True
    assert permits.value == 0


def test_a_limiter_serves_in_order_and_loses_no_grant():
    clock = ManualClock()
    bucket, queue = TokenBucket(1, burst=2, clock=clock), Queue(clock=clock)
    bucket.acquire(2)
    waiter = spawn(select, bucket.acquiring(2), queue.getting())
    clock.wait_for_waiters(1)
    behind = spawn(bucket.acquire)
    clock.wait_for_waiters(2)
    clock.advance(1)  # one token, and the first waiter wants two
    queue.put("item")
    assert waiter.result() == (1, "item")
    assert behind.result() is True
    assert bucket.try_acquire() is False
    waiter = spawn(select, bucket.acquiring(2), queue.getting())
    clock.wait_for_waiters(1)
    clock.advance(2)
    assert waiter.result() == (0, True)


def test_a_timeout_is_the_selections_own():
    """A limiter that cannot serve in time is no reason to give up before the others have had their time."""
    clock = ManualClock()
    bucket, queue = TokenBucket(1, burst=1, clock=clock), Queue(clock=clock)
    bucket.acquire()
    waiter = spawn(select, bucket.acquiring(), queue.getting(), timeout=0.5)
    clock.wait_for_waiters(1)
    clock.advance(0.4)
    assert not waiter.done()
    clock.advance(0.1)
    assert isinstance(waiter.exception(), TimeoutError)
    assert "with timeout=0.5: none of its 2 operations was ready" in str(waiter.exception())
    assert bucket.statistics().waiters == getters(queue) == clock.waiters == 0
    clock.advance(0.5)
    assert bucket.try_acquire()


def test_at_once_or_not_at_all():
    queue, permits = Queue(), Semaphore(0)
    for nothing in (None, "x", False):
        assert select(queue.getting(), permits.acquiring(), default=nothing) == (-1, nothing)
    with pytest.raises(TimeoutError, match="without waiting: its one operation"):
        select(queue.getting(), timeout=0)
    queue.put(1)
    assert select(queue.getting(), default=None) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "how", "error"),
    [
        ((), {}, ValueError),
        (("not one",), {}, TypeError),
        ((Queue(),), {}, TypeError),
        ((Queue().getting(),), {"timeout": -1}, ValueError),
        ((Queue().getting(),), {"timeout": float("nan")}, ValueError),
        ((Queue().getting(),), {"timeout": True}, TypeError),
        ((Queue().getting(),), {"timeout": 1e30}, OverflowError),
        ((Queue().getting(),), {"timeout": 1, "default": 2}, TypeError),
        ((Queue().getting(),), {"other": 1}, TypeError),
    ],
)
def test_bad_arguments(arguments, how, error):
    with pytest.raises(error):
        select(*arguments, **how)


@pytest.mark.parametrize("sequence", [list, tuple])
def test_a_sequence_of_operations_is_told_how_to_be_given(sequence):
    queue = Queue()
    queue.put("kept")
    with pytest.raises(TypeError, match=r"write `\*` before the sequence"):
        select(sequence([queue.getting()]))
    with pytest.raises(TypeError) as caught:
        select(queue)
    assert "sequence" not in str(caught.value)
    for timeout in 1, 0.5:
        with pytest.raises(TypeError, match="give the timeout by name"):
            select(queue.getting(), timeout)
    assert queue.get_nowait() == "kept"


def test_bad_arguments_of_the_operations():
    for make, error in [
        (lambda: Semaphore(1).acquiring(0), ValueError),
        (lambda: Semaphore(1).acquiring("1"), TypeError),
        (lambda: TokenBucket(1, burst=2).acquiring(3), ValueError),
        (lambda: TokenBucket(1, burst=2).acquiring(-1), ValueError),
        (lambda: Latest().changing(-1), ValueError),
        (lambda: Latest().changing("1"), TypeError),
    ]:
        with pytest.raises(error):
            make()
    with pytest.raises(ValueError, match="more than the total"):
        select(Semaphore(1).acquiring(2))
    assert select(TokenBucket(1, burst=2).acquiring(0)) == (0, True)
    assert select(Queue().getting(), LifoQueue(1).putting(1), timeout=timedelta(days=1)) == (1, None)


# ---------------------------------------------------------------------------------------------------------- how it ends


def test_an_ended_object_is_an_event():
    """It raises its own ending, and says which it was; nothing has happened to the others."""
    for end, member, error in [
        (lambda q, c, n: q.shutdown(), 0, ShutDown),
        (lambda q, c, n: q.fail(LookupError("of the producer")), 0, ShutDown),
        (lambda q, c, n: c.sender.fail(LookupError("of the sender")), 1, LookupError),
        (lambda q, c, n: n.shutdown(), 2, ShutDown),
    ]:
        for waits in (True, False):
            queue, channel, news, other = Queue(), CreditChannel(4), Latest(), Queue()
            if not waits:
                end(queue, channel, news)
            waiter = spawn(select, queue.getting(), channel.receiver.receiving(), news.changing(), other.getting())
            if waits:
                wait_until(lambda other=other: getters(other) == 1)
                end(queue, channel, news)
            assert isinstance(waiter.exception(), error)
            assert waiter.exception().select_index == member
            assert getters(other) == 0


def test_what_is_left_comes_before_the_end():
    queue = Queue()
    queue.put(1)
    queue.shutdown()
    assert select(queue.getting()) == (0, 1)
    with pytest.raises(ShutDown):
        select(queue.getting(), default=None)


def test_a_refusal_is_an_event_too():
    """Where the method itself would not wait, `select` does not either."""
    full = Queue(1, overflow="reject")
    full.put(1)
    with pytest.raises(Full) as refused:
        select(Queue().getting(), full.putting(2))
    assert refused.value.select_index == 1
    leaky = LeakyBucket(1, capacity=1, clock=ManualClock())
    while leaky.try_acquire():
        pass
    waiter = spawn(leaky.acquire)
    wait_until(lambda: leaky.statistics().waiters == 1)
    with pytest.raises(RateLimited):
        select(leaky.acquiring())
    leaky.refund(5)
    waiter.result()


def test_policies_that_drop():
    full = Queue(1, overflow="drop_oldest")
    full.put("old")
    assert select(full.putting("new")) == (0, None)
    assert full.get_nowait() == "new"


# -------------------------------------------------------------------------------------------------- queues with a baton


@pytest.mark.parametrize("make", [lambda: Hooked(2), lambda: PriorityQueue(2)], ids=["hooks", "heap"])
def test_queues_with_a_baton(make):
    queue, other = make(), Queue()
    item = Compared(1)
    assert select(other.getting(), queue.putting(item)) == (1, None)
    assert select(other.getting(), queue.getting()) == (1, item)
    waiter = spawn(select, other.getting(), queue.getting())
    wait_until(lambda: getters(queue) == 1)
    queue.put(item)
    assert waiter.result() == (1, item)
    queue.put_many([Compared(2), Compared(3)])
    waiter = spawn(select, queue.putting(item), other.getting())
    wait_until(lambda: queue.statistics().waiting_putters == 1)
    queue.get()
    assert waiter.result() == (0, None)
    assert getters(other) == 0


def test_a_queue_that_merges():
    queue = CoalescingQueue(1, key=lambda item: item[0], merge=lambda old, new: (old[0], old[1] + new[1]))
    queue.put(("a", 1))
    assert select(queue.putting(("a", 2))) == (0, None)
    waiter = spawn(select, queue.putting(("b", 1)), Queue().getting())
    wait_until(lambda: queue.statistics().waiting_putters == 1)
    assert queue.get() == ("a", 3)
    assert waiter.result() == (0, None)
    assert select(queue.getting()) == (0, ("b", 1))


def test_the_mutex_of_a_queue():
    """Another thread's block delays the selection; its owner's own is refused where it would have to wait."""
    queue, other = Queue(), Queue()
    with queue.mutex:
        waiter = spawn(select, queue.getting(), other.getting())
        wait_until(lambda: getters(other) == 1)
        queue.queue.append("by hand")
    assert waiter.result() == (0, "by hand")
    with queue.mutex:
        assert select(queue.putting(1)) == (0, None)
        assert select(queue.getting()) == (0, 1)
        with pytest.raises(RuntimeError, match="mutex"):
            select(queue.getting())
    assert getters(queue) == getters(other) == 0


def test_a_worker_that_waits_for_room_or_for_something_else_is_not_stuck():
    queue, other = Queue(1), Queue()

    def work():
        with queue.working() as items:
            for _ in items:
                queue.put("back")
                return select(queue.putting("no room"), other.getting())
        return None

    queue.put("first")
    waiter = spawn(work)
    wait_until(lambda: getters(other) == 1)
    other.put("go on")
    assert waiter.result() == (1, "go on")


# --------------------------------------------------------------------------------------------------------------- storms


def test_four_threads_over_three_queues():
    """Nothing lost, nothing twice; some of the selections wait, some time out."""
    count, queues = 6000, [Queue(8), PriorityQueue(8), Hooked(8)]
    taken, lock = [], threading.Lock()

    def consume(number):
        dice, mine = random.Random(number), []
        while True:
            order = dice.sample(range(3), 3)
            try:
                mine.append(select(*(queues[index].getting() for index in order), timeout=dice.choice([None, None, 0.0005])).value)
            except TimeoutError:
                pass
            except ShutDown:
                break
        for queue in queues:
            mine += list(queue)
        with lock:
            taken.extend(mine)

    def produce(number):
        dice = random.Random(-number)
        left = list(range(number, count, 4))
        while left:
            order = dice.sample(range(3), 3)
            try:
                select(*(queues[index].putting(left[-1]) for index in order), timeout=dice.choice([None, 0.0005]))
            except TimeoutError:
                continue
            left.pop()

    consumers = [spawn(consume, number) for number in range(4)]
    producers = [spawn(produce, number) for number in range(4)]
    for producer in producers:
        producer.result()
    for queue in queues:
        queue.shutdown()
    for consumer in consumers:
        consumer.result()
    assert sorted(taken) == list(range(count))
    assert sum(queue.statistics().gets for queue in queues) == count


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "get", "both", "grow"]), st.integers(0, 2), st.integers(0, 2)), max_size=30))
def test_against_a_model(steps):
    """One thread: a selection happens if and only if one of its operations could, and changes what that one changes."""
    bounds = [1, 2, 3]
    queues, model = [Queue(bound) for bound in bounds], [[], [], []]
    for number, (what, one, two) in enumerate(steps):
        puts, gets = what in ("put", "both"), what in ("get", "both")
        if what == "grow":
            queues[one].maxsize = bounds[one] = bounds[one] + 1
            continue
        members = [queues[one].putting(number)] * puts + [queues[two].getting()] * gets
        possible = [len(model[one]) < bounds[one]] * puts + [bool(model[two])] * gets
        index, value = select(*members, default="nothing")
        assert (index == -1) == (not any(possible))
        if index == -1:
            assert value == "nothing"
        elif puts and index == 0:
            assert possible[0]
            model[one].append(number)
        else:
            assert value == model[two].pop(0)
        assert [list(queue.queue) for queue in queues] == model


def test_fair_among_those_that_are_ready():
    queues = [Queue() for _ in range(4)]
    for queue in queues[:3]:
        queue.put_many(range(2000))
    operations = [queue.getting() for queue in queues]
    counts = [0] * 4
    for _ in range(1500):
        counts[select(*operations).index] += 1
    # Each count is binomial around 500 with a deviation of 18; eight of those is never seen.
    assert counts[3] == 0
    assert all(350 < count < 650 for count in counts[:3]), counts


# --------------------------------------------------------------------------------------------- what comes from outside


def test_a_cycle_through_a_selection_is_collected():
    class Node:
        pass

    node, queue = Node(), Queue()
    node.operation = queue.putting(node)
    queue.put(node.operation)
    gone = weakref.ref(node)
    del node, queue
    collect()
    assert gone() is None


def test_a_finaliser_may_select():
    """Also while the collector runs in the middle of another selection."""
    queue, got = Queue(), []

    class Item:
        def __del__(self):
            got.append(select(queue.putting("from __del__"), queue.getting(), default=None))

    queue.put(Item())
    assert select(queue.getting()).index == 0
    gc.collect()
    assert len(got) == 1


def test_its_waiting_counts_for_each_object():
    """In the statistics of each, whichever is chosen in the end."""
    clock = ManualClock()
    semaphore, queue, limiter = Semaphore(1, clock=clock), Queue(1, clock=clock), TokenBucket(0.001, burst=1, clock=clock)
    broadcast = Broadcast(clock=clock)
    subscriber = broadcast.subscribe(1, overflow="block")
    semaphore.acquire()
    limiter.acquire()
    queue.put(1)
    broadcast.publish(1)
    selecting = spawn(lambda: select(semaphore.acquiring(), limiter.acquiring(), broadcast.publishing(2), queue.putting(2)))
    clock.wait_for_waiters(1)

    def waited():
        return [
            semaphore.statistics().waited_seconds,
            limiter.statistics().waited_seconds,
            broadcast.statistics().publish_blocked_seconds,
            queue.statistics().put_blocked_seconds,
        ]

    clock.advance(5)
    assert waited() == [5] * 4
    assert queue.get() == 1
    assert selecting.result() == (3, None)
    clock.advance(5)
    assert waited() == [5] * 4
    assert subscriber.get() == 1


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

one, two = Queue(), Semaphore(0)
def waiting():
    return one.statistics().waiting_getters, two.statistics().waiters
"""
)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_signals():
    """Ctrl-C ends it and passes its turns on; other handlers run in the middle of it, and may wait for the same things."""
    run_script(
        COMMON
        + """
for turn in range(10):
    def interrupt():
        until(lambda: waiting() == (1, 1))
        threads = [start(one.get), start(two.acquire)]
        until(lambda: waiting() == (2, 2))
        os.kill(os.getpid(), signal.SIGINT)
        return threads
    thread = start(interrupt)
    try:
        select(one.getting(), two.acquiring())
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError
    until(lambda: waiting() == (1, 1))
    one.put(1)
    two.release()
    until(lambda: waiting() == (0, 0))
    assert one.qsize() == 0 and two.value == 0

seen = []
def handler(*_):
    # The wait that is interrupted stands before it in both lines, and must not be waited for.
    two.release()
    seen.append(two.acquire(timeout=20))
    one.put("item of the handler")
    seen.append(one.get(timeout=20))
signal.signal(signal.SIGUSR1, handler)
def signals():
    for n in range(5):
        until(lambda: waiting() == (1, 1) and len(seen) == 2 * n)
        os.kill(os.getpid(), signal.SIGUSR1)
    until(lambda: waiting() == (1, 1) and len(seen) == 10)
    one.put("at last")
start(signals)
assert select(one.getting(), two.acquiring(), timeout=60) == (0, "at last")
assert seen == [True, "item of the handler"] * 5
"""
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forks():
    """The child has the objects without the parent's waiters; a handler that forks in the middle of a selection goes on in both."""
    run_script(
        COMMON
        + """
start(select, one.getting(), two.acquiring())
until(lambda: waiting() == (1, 1))
def child():
    assert waiting() == (0, 0)
    one.put(1)
    assert select(one.getting(), two.acquiring()) == (0, 1)
check(in_child(child))
two.release()
until(lambda: waiting() == (0, 0))

pids = []
def handler(*_):
    pids.append(os.fork())
    if pids[-1] == 0:
        signal.alarm(20)
        start(lambda: (time.sleep(0.01), one.put("in the child")))
signal.signal(signal.SIGUSR1, handler)
def interrupt():
    until(lambda: waiting() == (1, 1))
    os.kill(os.getpid(), signal.SIGUSR1)
    until(lambda: pids)
    one.put("in the parent")
start(interrupt)
index, value = select(one.getting(), two.acquiring())
if pids[-1] == 0:
    os._exit(value != "in the child")
assert value == "in the parent"
check(*pids)
"""
    )


def test_the_end_of_the_interpreter():
    """With daemon threads in the middle of selections it neither crashes nor hangs."""
    run_script(
        COMMON
        + """
class Loud:
    def __del__(self):
        select(one.getting(), two.acquiring(), default=None)
loud = Loud()
for n in range(4):
    start(select, one.getting(), two.acquiring(), Latest().changing())
def turn():
    while True:
        select(one.putting(1), Queue(1).getting())
        select(one.getting(), Queue(1).putting(1), timeout=0.0001)
start(turn)
until(lambda: one.statistics().gets > 10)
"""
    )
