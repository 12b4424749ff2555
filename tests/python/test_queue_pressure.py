"""Watermarks: when a queue is high and when low again, who waits for that, who is told, and that a socket is stopped by it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import random
import signal
import socket
import sys
import threading
import time
import weakref

import pytest
from helpers import PATIENCE, LoopThread, collect, on_loops, settle, spawn, wait_until

from sluicegate import CoalescingQueue, FairQueue, Full, LifoQueue, Pressure, PriorityQueue, Queue, ShutDown
from sluicegate.testing import ManualClock


class Hooked(Queue):
    """Keeps its items itself."""

    def _init(self, maxsize):
        self.queue = []

    def _qsize(self):
        return len(self.queue)

    def _put(self, item):
        self.queue.append(item)

    def _get(self):
        return self.queue.pop()


def fair(*args, **kwargs):
    return FairQueue(*args, key=lambda item: item % 3, **kwargs)


def coalescing(*args, **kwargs):
    return CoalescingQueue(*args, key=lambda item: item, **kwargs)


KINDS = [Queue, LifoQueue, PriorityQueue, coalescing, fair, Hooked]
every = pytest.mark.parametrize("kind", KINDS)


def counts(q):
    seen = q.statistics()
    return seen.high_crossings, seen.low_crossings


# --- the marks ----------------------------------------------------------------------------------------------------


@every
def test_it_is_high_from_the_one_mark_to_the_other(kind):
    q = kind(10, high=0.8, low=0.5)
    heard = []
    q.pressure.on_change(lambda high: heard.append((high, q.qsize())))
    for round_ in range(3):
        for number in range(10):
            q.put(round_ * 10 + number)
        assert q.pressure.high
        assert q.pressure.level == 1.0
        q.get_many(10)
        assert not q.pressure.high
    assert heard[0] == (True, 8)
    assert [high for high, _ in heard] == [True, False] * 3
    assert counts(q) == (3, 3)


def test_between_the_marks_it_never_flaps():
    q = Queue(10, high=8, low=5)
    heard = []
    q.pressure.on_change(heard.append)
    q.put_many(range(7))
    for number in range(1000):
        q.put(number)
        q.get()
    assert heard == [True]
    q.get_many(2)
    assert heard == [True, False]
    for number in range(1000):
        q.put(number)
        q.get()
    assert heard == [True, False]


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "reject"])
@pytest.mark.parametrize("ttl", [None, 10])
def test_an_item_in_the_place_of_another_crosses_nothing(policy, ttl):
    q = Queue(4, overflow=policy, high=4, low=3)
    heard = []
    q.pressure.on_change(heard.append)
    for number in range(20):
        with contextlib.suppress(Full):
            q.put(number, ttl=ttl)
    assert heard == [True]
    assert counts(q) == (1, 0)


def test_a_heap_that_drops_crosses_nothing():
    q = PriorityQueue(4, overflow="drop_lowest", high=4, low=3)
    for number in range(20, 0, -1):
        q.put(number)
    assert counts(q) == (1, 0)


def test_a_batch_is_one_step():
    q = Queue(10, high=8, low=2)
    heard = []
    q.pressure.on_change(lambda high: heard.append((high, q.qsize())))
    q.put_many(list(range(10)))
    q.get_many(10)
    assert heard == [(True, 10), (False, 0)]


by_weight = pytest.mark.parametrize("kind", [Queue, functools.partial(FairQueue, key=lambda item: "all")], ids=["Queue", "FairQueue"])


@by_weight
def test_weight_counts_as_well(kind):
    q = kind(weigh=len, max_weight=100, high=0.8, low=0.5)
    q.put(b"x" * 79)
    assert (q.pressure.high, q.pressure.level) == (False, 0.79)
    q.put(b"x")
    assert q.pressure.high
    q.get()
    assert not q.pressure.high


def test_a_number_is_one_of_units_of_weight_where_these_alone_are_bounded():
    q = Queue(weigh=len, max_weight=100, high=60, low=10)
    q.put(b"x" * 60)
    assert q.pressure.high


def test_of_two_bounds_the_fuller_one_counts():
    q = Queue(10, weigh=len, max_weight=100, high=0.8, low=0.5)
    q.put(b"x" * 80)
    assert (q.pressure.high, q.pressure.level) == (True, 0.8)
    q.put_many([b""] * 7)
    q.get()
    assert q.pressure.high, "seven of ten are too many for the low mark"
    q.get_many(2)
    assert not q.pressure.high


def test_a_number_needs_no_bound():
    q = Queue(high=1000, low=10)
    q.put_many(range(1000))
    assert (q.pressure.high, q.pressure.level) == (True, 0.0)


def test_low_is_half_of_high_if_it_is_not_given():
    q = Queue(100, high=0.6)
    q.put_many(range(60))
    q.get_many(29)
    assert q.pressure.high
    q.get()
    assert not q.pressure.high


def test_a_queue_of_one():
    q = Queue(1, high=0.8, low=0.5)
    q.put(1)
    assert q.pressure.high
    q.get()
    assert not q.pressure.high


def test_another_bound_may_cross():
    q = Queue(10, high=0.8, low=0.5)
    heard = []
    q.pressure.on_change(heard.append)
    q.put_many(range(6))
    q.maxsize = 7
    assert heard == [True]
    q.maxsize = 12
    assert heard == [True, False]
    q.maxsize = 6
    q.maxsize = 0
    assert (q.pressure.level, q.pressure.high) == (0.0, False)
    assert heard == [True, False, True, False]


@every
def test_clear_and_a_kill_make_it_low(kind):
    q = kind(4, high=1.0, low=0.5)
    heard = []
    q.pressure.on_change(heard.append)
    q.put_many(range(4))
    q.clear()
    assert heard == [True, False]
    q.put_many(range(4))
    q.shutdown(immediate=True)
    assert heard == [True, False, True, False]


def test_what_expires_makes_it_low():
    clock = ManualClock()
    q = Queue(4, high=1.0, low=0.5, clock=clock)
    for number in range(4):
        q.put(number, ttl=1)
    clock.advance(2)
    assert q.pressure.high, "nobody has looked"
    with pytest.raises(ShutDown):
        q.shutdown()
        q.get()
    assert not q.pressure.high


def test_the_owner_of_the_mutex_crosses_when_it_gives_it_back():
    q = Queue(4, high=4, low=0)
    heard = []
    q.pressure.on_change(heard.append)
    with q.mutex:
        q.queue.extend(range(4))
        assert heard == []
        q.queue.clear()
    assert heard == []
    with q.mutex:
        q.queue.extend(range(4))
    assert heard == [True]
    q.queue.clear()
    assert heard == [True, False]


def test_the_time_that_it_is_high_is_counted():
    clock = ManualClock()
    q = Queue(2, high=2, low=0, clock=clock)
    clock.advance(5)
    q.put_many([1, 2])
    clock.advance(3)
    seen = q.statistics()
    assert (seen.level, seen.is_high, seen.high_seconds) == (1.0, True, 3.0)
    q.get_many(2)
    clock.advance(7)
    seen = q.statistics()
    assert (seen.level, seen.is_high, seen.high_seconds) == (0.0, False, 3.0)


def test_made_anew_it_is_low_and_listeners_are_gone():
    q = Queue(2, high=2, low=0)
    heard = []
    q.pressure.drive(lambda: heard.append("pause"), lambda: heard.append("resume"))
    waiting = spawn(lambda: (q.put_many([1, 2]), q.pressure.wait_low()))
    wait_until(lambda: q.statistics().size == 2)
    q.__init__(2, high=1, low=0)
    waiting.result()
    assert heard == ["pause", "resume"]
    q.put(1)
    assert heard == ["pause", "resume"]
    assert q.pressure.high


def test_random_operations_against_a_model():
    dice = random.Random(7)
    for _ in range(30):
        bound, high = dice.randint(1, 20), dice.random() * 0.9 + 0.1
        low = high * dice.uniform(0.05, 0.95)
        q = dice.choice(KINDS[:3])(bound, high=high, low=low)
        heard, is_high = [], False
        q.pressure.on_change(heard.append)
        expected = []
        for _ in range(200):
            with contextlib.suppress(Full):
                match_ = dice.random()
                if match_ < 0.5:
                    q.put_nowait(dice.random())
                elif match_ < 0.9 and not q.empty():
                    q.get_nowait()
                elif match_ < 0.95:
                    q.put_many([dice.random() for _ in range(dice.randint(0, 5))], block=False)
                elif match_ < 0.97:
                    q.clear()
                else:
                    q.maxsize = bound = dice.randint(1, 20)
            level = q.qsize() / bound
            if (level <= low) if is_high else (level >= high):
                is_high = not is_high
                expected.append(is_high)
            assert q.pressure.high == is_high
            assert heard == expected


# --- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"high": 0.8}, ValueError, "a share of the bound, because the queue has none"),
        ({"maxsize": 10, "high": 1.5}, ValueError, r"'high' as a float is a share, above 0.0 and at most 1.0, not 1.5"),
        ({"maxsize": 10, "high": 0.0}, ValueError, "'high' as a float"),
        ({"maxsize": 10, "high": float("nan")}, ValueError, "'high' as a float"),
        ({"maxsize": 10, "high": 0.5, "low": 0.5}, ValueError, "'low' must be less than 'high'"),
        ({"maxsize": 10, "high": 5, "low": 5}, ValueError, "'low' must be less than 'high'"),
        ({"maxsize": 10, "high": 5, "low": 0.1}, ValueError, "of one kind"),
        ({"maxsize": 10, "high": 0.5, "low": 1}, ValueError, "of one kind"),
        ({"maxsize": 10, "high": 11}, ValueError, "'maxsize' is 10"),
        ({"maxsize": 10, "high": 0}, ValueError, "at least 1"),
        ({"maxsize": 10, "high": 5, "low": -1}, ValueError, "at least 0"),
        ({"maxsize": 10, "low": 0.5}, ValueError, "'low' needs 'high'"),
        ({"maxsize": 10, "high": True}, TypeError, "must be a float"),
        ({"maxsize": 10, "high": "0.8"}, TypeError, "must be a float"),
        ({"maxsize": 10, "high": 5, "weigh": len, "max_weight": 100}, ValueError, "both are bounded"),
        ({"high": 101, "weigh": len, "max_weight": 100}, ValueError, "'max_weight' is 100"),
    ],
)
def test_marks_that_cannot_be(settings, error, message):
    with pytest.raises(error, match=message):
        Queue(**settings)


def test_without_marks_there_is_a_level_and_nothing_else():
    q = Queue(4)
    q.put(1)
    assert (q.pressure.level, q.pressure.high) == (0.25, False)
    for call in (
        lambda: q.pressure.on_change(print),
        lambda: q.pressure.drive(print, print),
        q.pressure.wait_low,
        lambda: asyncio.run(q.pressure.wait_low_async()),
    ):
        with pytest.raises(RuntimeError, match="no watermarks"):
            call()
    assert counts(q) == (0, 0)


def test_callbacks_are_ordinary_functions():
    async def later(_high):
        pass

    q = Queue(4, high=4, low=0)
    for bad in (later, None, 5):
        with pytest.raises(TypeError, match="'callback' must be"):
            q.pressure.on_change(bad)
        with pytest.raises(TypeError, match="'resume' must be"):
            q.pressure.drive(print, bad)


def test_its_repr_says_where_it_is():
    q = Queue(4, high=4, low=0)
    assert repr(q.pressure).startswith("<pressure 0.00 (low) of <")
    assert isinstance(q.pressure, Pressure)


# --- listeners ----------------------------------------------------------------------------------------------------


def test_a_listener_may_use_the_queue():
    """It puts, gets and changes the bound, in the thread that crosses; what it causes is told when it has returned."""
    q = Queue(4, high=4, low=1)
    heard, depth = [], []

    def changed(high):
        assert not depth
        depth.append(1)
        heard.append((high, threading.get_ident()))
        if len(heard) == 1:
            q.get_many(3)
        elif len(heard) == 2:
            q.maxsize = 8
            q.put_many(range(6))
        depth.pop()

    q.pressure.on_change(changed)
    q.put_many(range(4))
    assert heard == [(high, threading.get_ident()) for high in (True, False, True)]
    assert q.qsize() == 7


def test_what_a_listener_raises_goes_to_the_unraisable_hook(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append((what.exc_value, what.object)))
    q = Queue(1, high=1, low=0)
    heard, error = [], ValueError("listener")

    def bad(_high):
        raise error

    q.pressure.on_change(bad)
    q.pressure.on_change(heard.append)
    q.put(1)
    assert (told, heard) == ([(error, bad)], [True])
    with pytest.raises(Full):
        q.put_nowait(2)


def test_a_driver_is_paused_and_resumed_in_turn():
    q = Queue(4, high=4, low=1)
    done = []
    listener = q.pressure.drive(lambda: done.append("pause"), lambda: done.append("resume"))
    assert done == []
    q.put_many(range(4))
    q.get_many(3)
    q.put_many(range(3))
    assert done == ["pause", "resume", "pause"]
    listener.close()
    listener.close()
    assert listener.is_closed
    assert done == ["pause", "resume", "pause", "resume"], "a source is not left stopped"
    q.get_many(4)
    assert len(done) == 4


def test_a_driver_of_a_queue_that_is_high_pauses_at_once():
    q = Queue(1, high=1, low=0)
    q.put(1)
    done = []
    with q.pressure.drive(lambda: done.append("pause"), lambda: done.append("resume")):
        assert done == ["pause"]
    assert done == ["pause", "resume"]


def test_closing_from_inside_the_call():
    q = Queue(1, high=1, low=0)
    done = []

    def pause():
        done.append("pause")
        listener.close()
        assert done == ["pause"]

    listener = q.pressure.drive(pause, lambda: done.append("resume"))
    q.put(1)
    assert done == ["pause", "resume"]
    heard = []
    other = q.pressure.on_change(lambda high: (heard.append(high), other.close()))
    q.get()
    q.put(1)
    assert heard == [False]


def test_two_threads_tell_a_listener_in_order():
    """The one that comes while another is in the middle of a call leaves its crossing to that one."""
    q = Queue(1, high=1, low=0)
    inside, go_on, heard = threading.Event(), threading.Event(), []

    def changed(high):
        heard.append((high, threading.current_thread()))
        if high:
            inside.set()
            assert go_on.wait(PATIENCE)

    q.pressure.on_change(changed)
    putter = spawn(q.put, 1)
    assert inside.wait(PATIENCE)
    assert q.get() == 1, "it does not wait for the listener"
    assert heard == [(True, putter)]
    go_on.set()
    putter.result()
    assert heard == [(True, putter), (False, putter)]


def test_closing_while_another_thread_pauses():
    """The source is resumed after it has been paused, not before."""
    q = Queue(1, high=1, low=0)
    inside, go_on, done = threading.Event(), threading.Event(), []

    def pause():
        inside.set()
        assert go_on.wait(PATIENCE)
        done.append("pause")

    listener = q.pressure.drive(pause, lambda: done.append("resume"))
    putter = spawn(q.put, 1)
    assert inside.wait(PATIENCE)
    listener.close()
    go_on.set()
    putter.result()
    assert done == ["pause", "resume"]


# --- waiting for the low mark -------------------------------------------------------------------------------------


def test_waiting_threads_go_on_at_the_low_mark():
    q = Queue(4, high=4, low=1)
    q.pressure.wait_low(0)
    q.put_many(range(4))
    with pytest.raises(TimeoutError, match=r"wait_low.*100 %"):
        q.pressure.wait_low(0)
    workers = [spawn(q.pressure.wait_low, PATIENCE) for _ in range(3)]
    wait_until(lambda: q.statistics().waiting_low == 3)
    q.get_many(2)
    assert q.statistics().waiting_low == 3, "two are too many"
    q.get()
    assert q.statistics().waiting_low == 0
    for worker in workers:
        worker.result()


def test_a_timeout_on_the_queues_clock():
    clock = ManualClock()
    q = Queue(1, high=1, low=0, clock=clock)
    q.put(1)
    worker = spawn(q.pressure.wait_low, 5)
    clock.wait_for_waiters(1)
    clock.advance(5)
    assert isinstance(worker.exception(), TimeoutError)
    assert q.statistics().low_blocked_seconds == 5.0


def test_the_time_of_waits_is_counted():
    clock = ManualClock()
    q = Queue(1, high=1, low=0, clock=clock)
    q.put(1)
    workers = [spawn(q.pressure.wait_low) for _ in range(2)]
    wait_until(lambda: q.statistics().waiting_low == 2)
    clock.advance(3)
    q.get()
    for worker in workers:
        worker.result()
    clock.advance(10)
    assert q.statistics().low_blocked_seconds == 6.0


@on_loops
async def test_waiting_tasks_go_on_at_the_low_mark():
    q = Queue(2, high=2, low=0)
    await q.pressure.wait_low_async()
    await q.put_many_async([1, 2])
    tasks = [asyncio.ensure_future(q.pressure.wait_low_async()) for _ in range(3)]
    await settle()
    assert q.statistics().waiting_low == 3
    tasks[1].cancel()
    await q.get_async()
    await settle()
    assert not tasks[0].done()
    await q.get_async()
    await asyncio.gather(tasks[0], tasks[2])
    assert tasks[1].cancelled()
    q.put_many([1, 2])
    with pytest.raises(TimeoutError):
        await q.pressure.wait_low_async(0)


def test_a_shutdown_lets_them_go():
    q = Queue(2, high=2, low=0)
    q.put_many([1, 2])
    worker = spawn(q.pressure.wait_low)
    wait_until(lambda: q.statistics().waiting_low)
    q.shutdown()
    assert isinstance(worker.exception(), ShutDown)
    with pytest.raises(ShutDown):
        q.pressure.wait_low(0)
    q.get_many(2)
    q.pressure.wait_low(0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
@pytest.mark.thread_unsafe(reason="signals")
def test_an_interrupt_ends_the_wait_and_a_callback():
    q = Queue(1, high=1, low=0)
    q.put(1)
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            q.pressure.wait_low()
        q.get()
        q.pressure.wait_low(0)

        def slow(high):
            if high:
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                threading.Event().wait(PATIENCE)

        q.pressure.on_change(slow)
        with pytest.raises(KeyboardInterrupt):
            q.put(2)
            for _ in range(100):
                pass
        assert q.get() == 2, "the put has happened"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


# --- what it is not to keep ---------------------------------------------------------------------------------------


class Box:
    """A thing to be referred to."""


def test_a_queue_that_is_kept_alive_by_its_own_listener_is_collected():
    q = Queue(1, high=1, low=0)
    box = Box()
    box.queue = q
    q.pressure.on_change(lambda _high, box=box: box)
    q.pressure.drive(lambda box=box: box, lambda: None)
    q.pressure._watch(lambda box=box: box)
    references = [weakref.ref(q), weakref.ref(box)]
    del q, box
    collect()
    assert [reference() for reference in references] == [None, None]


def test_a_queue_and_its_listener_are_no_cycle():
    gc.disable()
    try:
        q = Queue(1, high=1, low=0)
        listener = q.pressure.on_change(print)
        reference = weakref.ref(q)
        del q
        assert reference() is None
        assert not listener.is_closed
    finally:
        gc.enable()


def test_closed_listeners_are_let_go():
    q = Queue(1, high=1, low=0)
    references = []
    for _ in range(100):
        box = Box()
        with q.pressure.on_change(lambda _high, box=box: box):
            references.append(weakref.ref(box))
        del box
    gc.collect()
    assert not any(reference() for reference in references)


def test_a_task_that_waits_for_ever_is_collected_with_its_queue():
    async def main():
        q = Queue(1, high=1, low=0)
        q.put(1)
        task = asyncio.ensure_future(q.pressure.wait_low_async())
        await settle()
        return weakref.ref(q), weakref.ref(task)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # that a task has been destroyed
    references = loop.run_until_complete(main())
    loop.close()
    del loop
    collect()
    assert [reference() for reference in references] == [None, None]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.thread_unsafe(reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_while_another_thread_is_in_a_listener():
    """In the child that thread is not there, and the listener is told what comes."""
    q = Queue(1, high=1, low=0)
    inside, go_on, heard = threading.Event(), threading.Event(), []

    def changed(high):
        heard.append(high)
        if len(heard) == 1:
            inside.set()
            go_on.wait(PATIENCE)

    q.pressure.on_change(changed)
    putter = spawn(q.put, 1)
    assert inside.wait(PATIENCE)
    waiting = spawn(q.pressure.wait_low)
    wait_until(lambda: q.statistics().waiting_low)
    pid = os.fork()
    if pid == 0:
        ok = False
        try:
            ok = q.statistics().waiting_low == 0
            q.get()
            q.pressure.wait_low(0)
            ok = ok and heard == [True, False]
        finally:
            os._exit(0 if ok else 1)
    go_on.set()
    putter.result()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert q.get() == 1
    waiting.result()
    assert heard == [True, False]


# --- a storm ------------------------------------------------------------------------------------------------------


def test_a_storm_of_threads_and_tasks():
    """Every crossing is told once and in order, drivers end as the queue does, and nobody who waits sleeps on."""
    q = Queue(16, high=12, low=4)
    heard, driven, lock = [], [], threading.Lock()
    q.pressure.on_change(heard.append)
    q.pressure.drive(lambda: driven.append("pause"), lambda: driven.append("resume"))
    left = [3000]

    def produce(seed):
        dice = random.Random(seed)
        while True:
            with lock:
                if left[0] == 0:
                    return
                left[0] -= 1
            if q.pressure.high and dice.random() < 0.5:
                with contextlib.suppress(TimeoutError):
                    q.pressure.wait_low(None if dice.random() < 0.5 else 0.001)
            q.put(dice.random())

    async def consume():
        async def one():
            with contextlib.suppress(ShutDown):
                while True:
                    await q.get_async()
                    if random.random() < 0.05:
                        await asyncio.sleep(0)

        async def impatient():
            with contextlib.suppress(ShutDown):
                while not q.is_shutdown:
                    with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                        await asyncio.wait_for(q.pressure.wait_low_async(), 0.001)
                    await asyncio.sleep(0)

        await asyncio.gather(one(), one(), impatient())

    def bounds():
        for number in range(50):
            q.maxsize = 16 + number % 3
            time.sleep(0.0005)

    consumer, changer = spawn(asyncio.run, consume()), spawn(bounds)
    for worker in [spawn(produce, seed) for seed in range(4)]:
        worker.result()
    changer.result()
    q.shutdown()
    consumer.result()
    seen = q.statistics()
    assert heard == [True, False] * (len(heard) // 2)
    assert seen.high_crossings == seen.low_crossings == len(heard) // 2
    assert driven == ["pause", "resume"] * (len(driven) // 2)
    assert (seen.puts, seen.gets) == (3000, 3000)


# --- a transport of an event loop ---------------------------------------------------------------------------------


class Received(asyncio.Protocol):
    """Puts what it receives into a queue, and is paused by it."""

    def __init__(self, q):
        self.q, self.reads, self.lost = q, [], asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.driven = self.q.pressure.drive_transport(transport)

    def data_received(self, data):
        self.reads.append(len(data))
        self.q.put_nowait(data)

    def connection_lost(self, error):
        self.driven.close()
        self.lost.set_result(error)


READ = 1 << 18  # as much as asyncio reads at once


@on_loops
async def test_a_client_that_writes_for_ever_is_stopped_by_tcp():
    """A handler that is slow: what lies in the queue is never more than the high mark and one read."""
    high = 1 << 20
    q = Queue(weigh=len, max_weight=high + READ, high=high, low=high // 2)
    loop = asyncio.get_running_loop()
    protocols = []

    def connected():
        protocols.append(Received(q))
        return protocols[-1]

    server = await loop.create_server(connected, "127.0.0.1", 0)
    sent, stop = [0], threading.Event()

    def write_for_ever():
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.settimeout(0.05)
            chunk = b"x" * 65536
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    sent[0] += client.send(chunk)

    writer = spawn(write_for_ever)
    taken = 0
    for _ in range(4):
        while not q.pressure.high:
            await asyncio.sleep(0.001)
        # Nothing more comes, and the sender is stopped: what it has sent lies in the queue and in the system's buffers.
        before = -1
        while before != sent[0]:
            before = sent[0]
            await asyncio.sleep(0.02)
        assert q.statistics().weight < high + READ
        assert q.pressure.high
        low = q.statistics().low_crossings
        while q.statistics().low_crossings == low:  # it may be high again at once
            # From another thread, as a handler that is a worker of a pool would.
            taken += len(await loop.run_in_executor(None, q.get))
    assert taken >= 4 * (high // 2 - READ)
    stop.set()
    writer.result()
    while not protocols[0].lost.done() or not q.empty():
        with contextlib.suppress(asyncio.TimeoutError):
            taken += len(await asyncio.wait_for(q.get_async(), 0.05))
    assert taken == sent[0] == sum(protocols[0].reads), "nothing is lost"
    server.close()
    await server.wait_closed()


class Transport:
    """Counts what is asked of it, and by whom."""

    def __init__(self):
        self.calls, self.closing = [], False

    def is_closing(self):
        return self.closing

    def pause_reading(self):
        self.calls.append(("pause", threading.get_ident()))

    def resume_reading(self):
        self.calls.append(("resume", threading.get_ident()))


@on_loops
async def test_a_transport_is_driven_on_its_own_loop():
    q, transport = Queue(1, high=1, low=0), Transport()
    here = threading.get_ident()
    listener = q.pressure.drive_transport(transport)
    q.put(1)
    assert transport.calls == [("pause", here)], "before the put has returned"
    assert await asyncio.get_running_loop().run_in_executor(None, q.get) == 1
    await settle()
    assert transport.calls == [("pause", here), ("resume", here)]
    await asyncio.get_running_loop().run_in_executor(None, q.put, 2)
    await settle()
    listener.close()
    assert [what for what, _ in transport.calls] == ["pause", "resume", "pause", "resume"]
    assert {who for _, who in transport.calls} == {here}
    q.get()
    assert len(transport.calls) == 4


@on_loops
async def test_a_call_that_comes_late_does_what_is_right_then():
    q, transport = Queue(1, high=1, low=0), Transport()
    q.pressure.drive_transport(transport)
    q.put(1)
    worker = spawn(q.get)
    worker.result()  # the loop has not run since
    q.put(2)
    await settle()
    assert [what for what, _ in transport.calls] == ["pause"]


@on_loops
async def test_a_transport_that_closes_is_left_alone():
    q, transport = Queue(1, high=1, low=0), Transport()
    listener = q.pressure.drive_transport(transport)
    transport.closing = True
    q.put(1)
    assert transport.calls == []
    assert listener.is_closed


def test_a_loop_that_has_been_closed_is_left_alone():
    q, transport = Queue(1, high=1, low=0), Transport()
    with pytest.raises(RuntimeError, match="needs the event loop"):
        q.pressure.drive_transport(transport)
    loop = asyncio.new_event_loop()
    listener = q.pressure.drive_transport(transport, loop=loop)
    loop.close()
    q.put(1)
    assert transport.calls == []
    assert listener.is_closed


@on_loops
async def test_what_is_no_transport_is_refused_at_once():
    """At the first crossing it would be too late to tell anybody."""
    queue = Queue(2, high=2, low=0)
    for wrong in 5, None, asyncio.Queue():
        with pytest.raises(TypeError, match="'transport' must be a transport that can be read from"):
            queue.pressure.drive_transport(wrong)
    with pytest.raises(TypeError, match="'loop' must be an event loop or None, not 5"):
        queue.pressure.drive_transport(None, loop=5)


def test_a_loop_on_another_thread():
    q, transport = Queue(1, high=1, low=0), Transport()
    with LoopThread() as thread:
        q.pressure.drive_transport(transport, loop=thread.loop)
        q.put(1)
        wait_until(lambda: [what for what, _ in transport.calls] == ["pause"])


# --- node's streams -----------------------------------------------------------------------------------------------


@on_loops
async def test_write_and_drain():
    """The recipe of the guide."""
    q = Queue(8, high=6, low=2)

    def write(item):
        if not q.offer(item):
            raise Full
        return not q.pressure.high

    async def produce():
        for number in range(100):
            if not write(number):
                await q.pressure.wait_low_async()
        q.shutdown()

    producer = asyncio.ensure_future(produce())
    assert [item async for item in q] == list(range(100))
    await producer
    assert q.statistics().peak_size == 6


# --- a bound on weight that changes -------------------------------------------------------------------------------


def test_full_means_by_weight_too():
    q = Queue(weigh=len, max_weight=4)
    q.put(b"123")
    assert not q.full()
    q.put(b"4")
    assert q.full()
    assert q.sync_q.full()
    assert q.async_q.full()
    q.get()
    assert not q.full()
    assert Queue(1, weigh=len, max_weight=4).full() is False


@by_weight
def test_max_weight_can_be_assigned(kind):
    q = kind(weigh=len, max_weight=4)
    assert q.max_weight == 4
    q.put(b"1234")
    worker = spawn(q.put, b"56")
    wait_until(lambda: q.statistics().waiting_putters == 1)
    q.max_weight = 6
    worker.result()
    assert q.statistics().max_weight == 6
    q.max_weight = 2
    assert q.full()
    assert (q.get(), q.get()) == (b"1234", b"56")
    with pytest.raises(ValueError, match="weighs 3 can never be put: 'max_weight' is 2"):
        q.put(b"123")


@pytest.mark.parametrize(
    "kind", [Queue, PriorityQueue, functools.partial(FairQueue, key=bytes)], ids=["Queue", "PriorityQueue", "FairQueue"]
)
def test_who_waits_with_an_item_that_has_become_too_heavy_is_told(kind):
    q = kind(weigh=len, max_weight=4)
    q.put(b"1234")
    calls = [lambda: q.put(b"567"), lambda: q.put_many([b"567"]), lambda: q.put_many(iter([b"567"])), lambda: q.put(b"8")]
    workers = []
    for call in calls:
        workers.append(spawn(call))
        wait_until(lambda: q.statistics().waiting_putters == len(workers))
    q.max_weight = 2
    for worker in workers[:3]:
        assert "can never be put" in str(worker.exception())
    q.get()
    workers[3].result()
    assert q.get() == b"8"


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), ("2", TypeError), (None, TypeError)])
def test_a_bound_that_cannot_be(value, error):
    q = Queue(weigh=len, max_weight=4)
    with pytest.raises(error):
        q.max_weight = value
    assert q.max_weight == 4


def test_a_bound_on_weight_needs_weights():
    q = Queue(4)
    assert q.max_weight is None
    with pytest.raises(ValueError, match="made with 'weigh'"):
        q.max_weight = 3


def test_a_bound_on_weight_that_changes_may_cross():
    q = Queue(weigh=len, max_weight=10, high=0.8, low=0.5)
    heard = []
    q.pressure.on_change(heard.append)
    q.put(b"123456")
    q.max_weight = 6
    q.max_weight = 100
    assert heard == [True, False]


def test_a_bound_below_a_mark_that_is_a_number():
    """The constructor refuses it; assigned later, the bound is the mark. Such a queue was full, and never high."""
    q = Queue(100, high=80, low=50)
    told = []
    q.pressure.on_change(told.append)
    q.maxsize = 40
    q.put_many(range(40))
    assert q.full() and q.pressure.high
    q.get()
    assert not q.pressure.high
    q.put(1)
    q.maxsize = 100
    assert not q.pressure.high, "40 is below the low mark of 50"
    q.put_many(range(39))
    assert told == [True, False, True, False]
    q.put(1)
    assert told[-1] and len(told) == 5


def test_a_bound_on_weight_below_a_mark():
    q = Queue(weigh=len, max_weight=100, high=80, low=50)
    q.max_weight = 40
    q.put("x" * 40)
    assert q.full() and q.pressure.high
    q.get()
    assert not q.pressure.high
