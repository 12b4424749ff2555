"""The garbage collector sees every item and every waiter: cycles are collected, and nothing alive is finalised."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref

import pytest
from helpers import PATIENCE, STORM_ITEMS, OneKey, collect, new_loop, on_loops, settle, spawn, step

from sluicegate import Empty, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue
from sluicegate.testing import ManualClock

ALL = [Queue, LifoQueue, PriorityQueue, OneKey, SimpleQueue]
every = pytest.mark.parametrize("kind", ALL)


class Box:
    """A thing to refer to, and to be referred to; ordered, so that it fits every queue."""

    def __init__(self, key=0):
        self.key = key

    def __lt__(self, other):
        return self.key < other.key


# ------------------------------------------------------------------------------------------------------------ cycles


@every
def test_a_cycle_through_a_queued_item(kind):
    """An item that refers to its queue: both are collected."""
    queue = kind()
    boxes = [Box(key) for key in range(3)]
    for box in boxes:
        box.queue = queue
        queue.put(box)
    references = [weakref.ref(queue), *map(weakref.ref, boxes)]
    del queue, box, boxes
    assert any(reference() is not None for reference in references)
    collect()
    assert [reference() for reference in references] == [None] * 4


@every
def test_a_queue_held_by_its_own_item(kind):
    """A queue inside itself, directly and in a list."""
    queue = kind()
    queue.put((0, [queue]))
    if kind is not PriorityQueue:
        queue.put(queue)
    reference = weakref.ref(queue)
    del queue
    collect()
    assert reference() is None


@every
def test_the_collector_sees_the_items(kind):
    """`gc.get_referents` names each buffered item exactly once."""
    queue = kind()
    boxes = [Box(key) for key in range(20)]
    queue.put_many(boxes)
    seen = [thing for thing in gc.get_referents(queue) if isinstance(thing, Box)]
    assert sorted(map(id, seen)) == sorted(map(id, boxes))
    queue.get()
    assert sum(isinstance(thing, Box) for thing in gc.get_referents(queue)) == 19
    assert gc.is_tracked(queue)


@every
def test_no_reference_is_kept_of_what_was_taken(kind):
    """After get, clear and a refused put the queue holds nothing of the item."""
    queue = kind()
    for take in (queue.get, queue.get_nowait, lambda: queue.get_many(1), queue.clear):
        box = Box()
        reference = weakref.ref(box)
        queue.put(box)
        del box
        take()
        assert reference() is None


def test_no_reference_is_kept_of_what_was_refused():
    """The queue forgets an item it did not take, in every way of not taking it."""
    clock = ManualClock()
    queue = Queue(1, clock=clock)
    queue.put(0)
    references = []

    def refused(call, error):
        box = Box()
        references.append(weakref.ref(box))
        with pytest.raises(error):
            call(box)

    refused(queue.put_nowait, Exception)
    refused(lambda box: queue.put_many([box], block=False), Exception)

    def wait():
        refused(lambda box: queue.put(box, timeout=1), Exception)

    waiting = spawn(wait)
    clock.wait_for_waiters(1)
    clock.advance(1)
    waiting.result()
    queue.shutdown()
    refused(queue.put, ShutDown)
    collect()
    assert [reference() for reference in references] == [None] * 4


@on_loops
async def test_a_cycle_through_a_waiting_task():
    """A queue known only to tasks that wait on it is collected with them."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)  # "Task was destroyed but it is pending"
    queues = [Queue(), Queue(1), Queue()]
    queues[1].put(0)
    queues[2].put(0)
    tasks = [
        asyncio.create_task(coroutine)
        for coroutine in (queues[0].get_async(), queues[0].get_async(timeout=10000), queues[1].put_async(1), queues[2].join_async())
    ]
    await settle()
    assert not any(task.done() for task in tasks)
    references = [weakref.ref(queue) for queue in queues]
    references += [weakref.ref(task) for task in (tasks[0], tasks[2], tasks[3])]
    tasks[1].cancel()  # a deadline on the system's clock is held by the loop, rightly
    await settle()
    del queues, tasks
    collect()
    await settle()
    collect()
    assert [reference() for reference in references] == [None] * len(references)


@on_loops
async def test_a_cycle_through_a_waiting_coroutine():
    """The same without a task: a coroutine stepped by hand, held by an attribute of a queued item's owner."""
    queue = Queue(1)
    box = Box()
    queue.put_nowait(box)
    box.coroutine = queue.put_async(box)
    assert step(box.coroutine) == (False, None)
    references = [weakref.ref(queue), weakref.ref(box)]
    del queue, box
    collect()
    assert [reference() for reference in references] == [None, None]


def test_a_cycle_through_a_subclass():
    """An instance with a `__dict__` which refers to itself."""

    class Mine(Queue):
        pass

    class Hooked(Queue):
        def _init(self, maxsize):
            self.held = []

        def _qsize(self):
            return len(self.held)

        def _put(self, item):
            self.held.append(item)

        def _get(self):
            return self.held.pop()

    for kind in (Mine, Hooked):
        queue = kind()
        queue.me = queue
        queue.put(queue)
        queue.method = queue.get
        reference = weakref.ref(queue)
        del queue
        collect()
        assert reference() is None
    classes = [weakref.ref(Mine), weakref.ref(Hooked)]
    del Mine, Hooked, kind
    collect()
    assert [reference() for reference in classes] == [None, None]


def test_a_cycle_through_iterators_and_ends():
    """Iterators, `producers`, `consumers` and the views, put on their own queue."""
    queue = Queue()
    for thing in (iter(queue), aiter(queue), queue.producers(2), queue.consumers(2), queue.async_q, queue.sync_q, queue.get):
        queue.put(thing)
    reference = weakref.ref(queue)
    del queue, thing
    collect()
    assert reference() is None


def test_a_cycle_through_a_producers_error():
    """The error of a producer refers to the frame that refers to the queue: collected."""

    def fail():
        queue = Queue()
        reference = weakref.ref(queue)
        try:
            with queue.producers(1):
                raise ValueError
        except ValueError:
            pass
        return reference

    reference = fail()
    collect()
    assert reference() is None


def test_a_queue_with_a_blocked_thread_stays():
    """A thread blocked in `get` keeps its queue alive, and is served."""
    queue = Queue()
    clock = ManualClock()
    queue = Queue(clock=clock)
    reference = weakref.ref(queue)
    getter = spawn(queue.get)
    clock.wait_for_waiters(1)
    del queue
    collect()
    assert reference() is not None
    reference().put("item")
    assert getter.result() == "item"


def test_the_clock_does_not_keep_its_queues():
    """A `ManualClock` with timeouts pending and past holds no queue."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    getter = spawn(queue.get, timeout=5)
    clock.wait_for_waiters(1)
    clock.advance(5)
    assert isinstance(getter.exception(), Empty)
    reference = weakref.ref(queue)
    del queue, getter
    collect()
    assert reference() is None


def test_loops_are_not_kept():
    """A loop whose tasks have waited is collected once it is closed: mailboxes hold it weakly."""
    queue = Queue()
    loop = new_loop()
    task = loop.create_task(queue.get_async())
    loop.run_until_complete(asyncio.sleep(0))
    spawn(queue.put, 1).result()
    assert loop.run_until_complete(task) == 1
    loop.close()
    reference = weakref.ref(loop)
    del loop, task
    collect()
    assert reference() is None
    queue.put(2)
    assert queue.get() == 2


# -------------------------------------------------------------------------------------------------------------- storms


class Ledger:
    """Who was made, who was finalised."""

    def __init__(self):
        self.lock = threading.Lock()
        self.made = 0
        self.finalised = 0

    def make(self):
        with self.lock:
            self.made += 1
            return self.made


class Cyclic:
    """In a cycle with itself, weakly referenced, and it tells when it is finalised."""

    __slots__ = ("__weakref__", "alive", "key", "ledger", "me", "watch")

    def __init__(self, ledger):
        self.ledger = ledger
        self.key = ledger.make()
        self.alive = True
        self.me = self
        self.watch = weakref.ref(self)

    def __lt__(self, other):
        return self.key < other.key

    def __del__(self):
        self.alive = False
        with self.ledger.lock:
            self.ledger.finalised += 1


@contextlib.contextmanager
def collecting():
    """A thread that collects again and again, and the number of its rounds.

    Between two rounds the others get a moment: where a collection stops every thread, rounds without a pause leave
    them next to nothing.
    """
    rounds = []
    stop = threading.Event()

    def collect_until_stopped():
        while not stop.wait(0.0002):
            gc.collect()
            rounds.append(None)

    collector = spawn(collect_until_stopped)
    try:
        yield rounds
    finally:
        stop.set()
        collector.result()


@every
@pytest.mark.parametrize("maxsize", [0, 3])
def test_gc_storm(kind, maxsize):
    """`gc.collect()` in a loop in one thread while others put and get cyclic objects: no live item is finalised, no
    dead one kept."""
    if kind is SimpleQueue and maxsize:
        pytest.skip("SimpleQueue has no bound")
    queue = kind() if kind is SimpleQueue else kind(maxsize)
    ledger = Ledger()
    each = max(300, min(STORM_ITEMS // 200, 5000))

    def produce():
        for number in range(each):
            if number % 10:
                queue.put(Cyclic(ledger), timeout=PATIENCE)
            else:
                queue.put_many([Cyclic(ledger)], timeout=PATIENCE)

    def consume():
        for number in range(each):
            item = queue.get(timeout=PATIENCE) if number % 10 else queue.get_many(1, timeout=PATIENCE)[0]
            assert item.alive, "an item was finalised while it was in the queue"
            assert item.watch() is item
            assert item.me is item

    waves = 0
    with collecting() as rounds:
        while len(rounds) < 10 or not waves:
            workers = [spawn(job) for _ in range(2) for job in (produce, consume)]
            for worker in workers:
                worker.result(PATIENCE * 2)
            waves += 1
    del workers, worker
    collect()
    assert ledger.made == 2 * each * waves
    assert ledger.finalised == ledger.made


def test_gc_storm_with_waiting_tasks():
    """The same through a loop: items wait in the hands of pending putters, too."""
    queue = Queue(1)
    ledger = Ledger()

    async def put(count):
        for _ in range(count):
            await queue.put_async(Cyclic(ledger))

    async def main():
        putters = [asyncio.create_task(put(20)) for _ in range(20)]
        for _ in range(400):
            item = await queue.get_async()
            assert item.alive
            assert item.watch() is item
        await asyncio.gather(*putters)

    waves = 0
    with collecting() as rounds:
        while len(rounds) < 10 or not waves:
            asyncio.run(asyncio.wait_for(main(), PATIENCE * 2))
            waves += 1
    collect()
    assert ledger.finalised == ledger.made == 400 * waves


def test_the_heap_is_seen_during_a_comparison():
    """A collection while the baton is held, by the owner and by others: no item is finalised."""
    ledger = Ledger()
    queue = PriorityQueue()

    class Collecting(Cyclic):
        __slots__ = ()
        rounds = 0

        def __lt__(self, other):
            Collecting.rounds += 1
            if Collecting.rounds % 31 == 0:
                gc.collect()
                spawn(gc.collect).result()
            assert self.alive
            assert other.alive
            return self.key < other.key

    for _ in range(100):
        queue.put(Collecting(ledger))
    for _ in range(100):
        item = queue.get()
        assert item.alive
        assert item.watch() is item
        del item
    assert Collecting.rounds > 70
    collect()
    assert ledger.finalised == ledger.made == 100


def test_items_taken_away_by_the_collector_are_not_taken_twice():
    """A queue in a cycle, cleared by the collector while its items' finalisers drain it: each item dies once."""
    died = []

    class Draining:
        def __init__(self, number, queue):
            self.number = number
            self.queue = queue

        def __del__(self):
            died.append(self.number)
            for _ in range(3):
                try:
                    self.queue.get_nowait()
                except Empty:
                    break

    queue = Queue()
    for number in range(50):
        queue.put(Draining(number, queue))
    del queue
    collect()
    assert sorted(died) == list(range(50))
