"""What the queues give threads beyond the standard library's interface."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import pickle
import queue as stdlib_queue
import threading
import weakref

import pytest
from helpers import PATIENCE, collect, spawn, wait_until

import sluicegate
from sluicegate import Empty, Full, LifoQueue, PriorityQueue, Queue, QueueStatistics, ShutDown, SimpleQueue
from sluicegate.testing import ManualClock

BOUNDED = [Queue, LifoQueue, PriorityQueue]
ALL = [*BOUNDED, SimpleQueue]
ORDER = {Queue: list, LifoQueue: lambda items: list(reversed(items)), PriorityQueue: sorted, SimpleQueue: list}


class Hooked(Queue):
    """A subclass with its own hooks: the slow path must keep every promise too."""

    def _init(self, maxsize):
        self.held = []

    def _qsize(self):
        return len(self.held)

    def _put(self, item):
        self.held.append(item)

    def _get(self):
        return self.held.pop(0)


ORDER[Hooked] = list
every = pytest.mark.parametrize("kind", ALL)
bounded = pytest.mark.parametrize("kind", BOUNDED)
bounded_and_hooked = pytest.mark.parametrize("kind", [*BOUNDED, Hooked])


@pytest.fixture
def clock():
    return ManualClock()


# ---------------------------------------------------------------------------------------------------- put_many


@pytest.mark.parametrize("kind", [*ALL, Hooked])
def test_put_many_puts_all_and_says_how_many(kind):
    """`put_many` takes any iterable, keeps its order and returns the count."""
    queue = kind()
    assert queue.put_many([3, 1]) == 2
    assert queue.put_many(iter((2,))) == 1
    assert queue.put_many(range(4, 6)) == 2
    assert queue.put_many(()) == 0
    expected = ORDER[kind]([3, 1, 2, 4, 5])
    assert [queue.get_nowait() for _ in range(5)] == expected
    assert queue.empty()


def test_put_many_keeps_identity_and_takes_none():
    """Items are the very objects, `None` among them."""
    things = [None, object(), None, float("nan")]
    queue = Queue()
    queue.put_many(things)
    assert all(a is b for a, b in zip(queue.get_many(9), things, strict=True))


@bounded_and_hooked
def test_put_many_counts_unfinished_tasks(kind):
    """Each item of a batch is a task to be done."""
    queue = kind()
    queue.put_many([1, 2, 3])
    assert queue.unfinished_tasks == 3
    for _ in range(3):
        queue.get()
        queue.task_done()
    queue.join(timeout=0)


def test_a_batch_that_fits_is_seen_whole(clock):
    """`put_many` is atomic if it fits: a waiting batch getter finds all of it, not its first item."""
    queue = Queue(10, clock=clock)
    getter = spawn(queue.get_many, 10)
    clock.wait_for_waiters(1)
    queue.put_many(range(10))
    assert getter.result() == list(range(10))


def test_batches_of_many_threads_stay_in_one_piece():
    """Atomic against other producers: batches of 4 threads never mix."""
    queue = Queue()
    batches, size = 200, 25

    def produce(producer):
        for batch in range(batches):
            queue.put_many([(producer, batch)] * size)

    for worker in [spawn(produce, producer) for producer in range(4)]:
        worker.result()
    items = queue.get_many(4 * batches * size)
    assert len(items) == 4 * batches * size
    for start in range(0, len(items), size):
        assert len(set(items[start : start + size])) == 1
    assert len(set(items)) == 4 * batches


@bounded_and_hooked
def test_put_many_refused_stands_at_the_first_item_not_put(kind):
    """An iterator stands at the first item not put, and `Full.accepted` counts those before it."""
    queue = kind(5)
    queue.put(-1)
    source = iter(range(10))
    with pytest.raises(Full) as info:
        queue.put_many(source, block=False)
    assert info.value.accepted == 4
    assert next(source) == 4
    assert queue.qsize() == 5
    assert sorted(queue.get_many(9)) == [-1, 0, 1, 2, 3]


def test_put_many_refused_on_a_full_queue_takes_nothing():
    """Nothing is taken from the iterator of a batch of which nothing fits."""
    queue = Queue(1)
    queue.put("full")
    source = iter(range(3))
    with pytest.raises(Full) as info:
        queue.put_many(source, False)
    assert info.value.accepted == 0
    assert list(source) == [0, 1, 2]
    assert queue.put_many([], block=False) == 0


def test_put_many_of_a_list_refused_puts_what_fits():
    """A list that does not fit enters as far as it fits, and the refusal says how far."""
    queue = Queue(3)
    with pytest.raises(Full) as info:
        queue.put_many(list("abcde"), block=False)
    assert info.value.accepted == 3
    assert queue.get_many(9) == ["a", "b", "c"]


@bounded_and_hooked
def test_put_many_longer_than_the_queue_enters_in_chunks(kind):
    """A batch larger than `maxsize` flows through as room appears, in order."""
    queue = kind(3)
    putter = spawn(queue.put_many, iter(range(20)))
    received = []
    while len(received) < 20:
        received.append(queue.get(timeout=PATIENCE))
        assert queue.qsize() <= 3
    assert putter.result() == 20
    assert sorted(received) == list(range(20))
    if kind in (Queue, Hooked):
        assert received == list(range(20))


def test_put_many_timeout_is_one_deadline_for_the_whole_batch(clock):
    """The deadline is computed once, progress does not re-arm it; `.accepted` counts what went in."""
    queue = Queue(2, clock=clock)
    source = iter(range(10))
    putter = spawn(queue.put_many, source, timeout=10)
    clock.wait_for_waiters(1)
    clock.advance(6)
    assert queue.get() == 0
    wait_until(lambda: queue.qsize() == 2)
    clock.wait_for_waiters(1)
    clock.advance(3.999999999)
    assert clock.waiters == 1
    clock.advance(1e-9)
    error = putter.exception()
    assert isinstance(error, Full)
    assert error.accepted == 3
    assert next(source) == 3
    assert queue.get_many(9) == [1, 2]


def test_put_many_timeout_zero_is_nowait():
    """`timeout=0` refuses at once."""
    queue = Queue(1)
    with pytest.raises(Full) as info:
        queue.put_many("ab", timeout=0)
    assert info.value.accepted == 1


@bounded_and_hooked
def test_put_many_ended_by_shutdown(kind, clock):
    """`ShutDown.accepted` counts what went in before; the iterator stands at the rest."""
    queue = kind(2, clock=clock)
    source = iter(range(10))
    putter = spawn(queue.put_many, source)
    clock.wait_for_waiters(1)
    queue.shutdown()
    error = putter.exception()
    assert isinstance(error, ShutDown)
    assert error.accepted == 2
    assert list(source) == list(range(2, 10))
    assert sorted(queue.get_many(9)) == [0, 1]


def test_put_many_on_a_queue_shut_down_takes_nothing():
    """After shutdown nothing is taken from the iterator."""
    queue = Queue()
    queue.shutdown()
    source = iter("ab")
    with pytest.raises(ShutDown) as info:
        queue.put_many(source)
    assert info.value.accepted == 0
    assert next(source) == "a"


@pytest.mark.parametrize("kind", [*ALL, Hooked])
def test_put_many_from_an_iterable_that_raises(kind):
    """The iterable's error passes through; items already taken from it are in the queue, none is lost."""

    def source():
        yield 1
        yield 2
        raise LookupError("no more")

    queue = kind()
    with pytest.raises(LookupError, match="no more"):
        queue.put_many(source())
    assert sorted(queue.get_many(9)) == [1, 2]
    assert queue.statistics().puts == 2


@pytest.mark.parametrize("bad", [1, None, object()])
def test_put_many_wants_an_iterable(bad):
    """What is not iterable is refused with nothing changed."""
    queue = Queue()
    with pytest.raises(TypeError):
        queue.put_many(bad)
    assert queue.qsize() == 0


def test_put_many_wakes_a_getter_per_item(clock):
    """A batch of three wakes three getters, not one."""
    queue = Queue(clock=clock)
    getters = [spawn(queue.get) for _ in range(3)]
    clock.wait_for_waiters(3)
    queue.put_many("abc")
    assert sorted(getter.result() for getter in getters) == ["a", "b", "c"]


def test_put_many_waits_behind_earlier_putters(clock):
    """A batch stands in the same line as single puts."""
    queue = Queue(1, clock=clock)
    queue.put(0)
    first = spawn(queue.put, 1)
    clock.wait_for_waiters(1)
    batch = spawn(queue.put_many, [2, 3])
    clock.wait_for_waiters(2)
    last = spawn(queue.put, 4)
    clock.wait_for_waiters(3)
    received = [queue.get(timeout=PATIENCE) for _ in range(5)]
    for worker in (first, batch, last):
        worker.result()
    assert received[:2] == [0, 1]
    assert received.index(2) < received.index(3)
    assert sorted(received) == [0, 1, 2, 3, 4]


# ---------------------------------------------------------------------------------------------------- get_many


@pytest.mark.parametrize("kind", [*ALL, Hooked])
def test_get_many_takes_what_is_there_up_to_max(kind):
    """Without `linger` it returns 1..max items at once, in the queue's order."""
    queue = kind()
    queue.put_many([3, 1, 2])
    expected = ORDER[kind]([3, 1, 2])
    assert queue.get_many(2) == expected[:2]
    assert queue.get_many(5) == expected[2:]
    with pytest.raises(Empty):
        queue.get_many(5, block=False)
    with pytest.raises(Empty):
        queue.get_many(5, timeout=0)


def test_get_many_returns_a_list_and_does_no_task():
    """A list, always; `task_done` stays the caller's."""
    queue = Queue()
    queue.put_many("ab")
    batch = queue.get_many(1)
    assert type(batch) is list
    assert queue.unfinished_tasks == 2


def test_get_many_waits_for_the_first(clock):
    """With nothing there it waits, and returns with the first."""
    queue = Queue(clock=clock)
    getter = spawn(queue.get_many, 10)
    clock.wait_for_waiters(1)
    queue.put("one")
    assert getter.result() == ["one"]


def test_get_many_times_out_empty(clock):
    """`Empty` if none came in time."""
    queue = Queue(clock=clock)
    getter = spawn(queue.get_many, 10, timeout=3)
    clock.wait_for_waiters(1)
    clock.advance(3)
    assert isinstance(getter.exception(), Empty)


@bounded_and_hooked
def test_lingering_takes_nothing_until_it_commits(kind, clock):
    """While it lingers the items stay in the queue, seen by everybody."""
    queue = kind(clock=clock)
    queue.put_many([1, 2])
    getter = spawn(queue.get_many, 5, linger=10)
    clock.wait_for_waiters(1)
    assert queue.qsize() == 2
    assert queue.statistics().gets == 0
    queue.put(3)
    assert queue.qsize() == 3
    clock.advance(9.999999999)
    assert clock.waiters == 1
    assert queue.qsize() == 3
    clock.advance(1e-9)
    assert sorted(getter.result()) == [1, 2, 3]
    assert queue.qsize() == 0


def test_lingering_ends_when_max_are_there(clock):
    """It commits as soon as `max` are there, without any time passing."""
    queue = Queue(clock=clock)
    queue.put("a")
    getter = spawn(queue.get_many, 3, linger=10)
    clock.wait_for_waiters(1)
    queue.put_many("bcd")
    assert getter.result() == ["a", "b", "c"]
    assert queue.get_nowait() == "d"
    assert clock.now() == 0.0


def test_lingering_ends_when_the_buffer_is_full(clock):
    """It commits when the buffer is full: waiting on would wait for nothing."""
    queue = Queue(3, clock=clock)
    getter = spawn(queue.get_many, 10, linger=10)
    clock.wait_for_waiters(1)
    queue.put_many([1, 2])
    assert clock.waiters == 1
    queue.put(3)
    assert getter.result() == [1, 2, 3]


def test_lingering_on_a_full_queue_does_not_wait():
    """A full queue is served at once, so that a waiting putter goes on."""
    queue = Queue(2)
    queue.put_many([1, 2])
    putter = spawn(queue.put, 3)
    wait_until(lambda: queue.statistics().waiting_putters == 1)
    assert queue.get_many(10, linger=1000) == [1, 2]
    putter.result()
    assert queue.get() == 3


def test_lingering_ends_when_the_bound_shrinks_to_what_is_there(clock):
    """A smaller `maxsize` may make the buffer full: the lingering getter commits."""
    queue = Queue(10, clock=clock)
    queue.put_many([1, 2])
    getter = spawn(queue.get_many, 5, linger=10)
    clock.wait_for_waiters(1)
    queue.maxsize = 2
    assert getter.result() == [1, 2]


def test_lingering_ends_at_shutdown(clock):
    """Shutdown commits what is there; with nothing there it is `ShutDown`."""
    queue = Queue(clock=clock)
    queue.put("a")
    getter = spawn(queue.get_many, 5, linger=10)
    clock.wait_for_waiters(1)
    queue.shutdown()
    assert getter.result() == ["a"]
    with pytest.raises(ShutDown):
        queue.get_many(5, linger=10)


def test_lingering_ends_at_an_immediate_shutdown(clock):
    """An immediate shutdown takes the items away under the lingering getter."""
    queue = Queue(clock=clock)
    queue.put("a")
    getter = spawn(queue.get_many, 5, linger=10)
    clock.wait_for_waiters(1)
    queue.shutdown(immediate=True)
    assert isinstance(getter.exception(), ShutDown)


def test_lingering_on_a_queue_shut_down_does_not_wait():
    """After shutdown nothing can come: what is there is returned at once."""
    queue = Queue()
    queue.put("a")
    queue.shutdown()
    assert queue.get_many(5, linger=1000) == ["a"]


def test_lingering_is_cut_by_the_timeout(clock):
    """When time is up with something there, that is returned: `Empty` is for nothing."""
    queue = Queue(clock=clock)
    queue.put("a")
    getter = spawn(queue.get_many, 5, timeout=2, linger=10)
    clock.wait_for_waiters(1)
    clock.advance(2)
    assert getter.result() == ["a"]


def test_lingering_keeps_its_place_in_line(clock):
    """Getters that come later wait behind a lingering one, beside the items it will take."""
    queue = Queue(clock=clock)
    queue.put(1)
    first = spawn(queue.get_many, 5, linger=10)
    clock.wait_for_waiters(1)
    second = spawn(queue.get)
    clock.wait_for_waiters(2)
    queue.put(2)
    assert queue.qsize() == 2
    assert clock.waiters == 2
    clock.advance(10)
    assert first.result() == [1, 2]
    assert clock.waiters == 1
    queue.put(3)
    assert second.result() == 3


def test_what_a_lingering_getter_leaves_goes_to_the_next(clock):
    """A commit at `max` leaves the rest to those behind: nobody sleeps beside an item."""
    queue = Queue(clock=clock)
    first = spawn(queue.get_many, 2, linger=10)
    clock.wait_for_waiters(1)
    second = spawn(queue.get_many, 2)
    clock.wait_for_waiters(2)
    third = spawn(queue.get)
    clock.wait_for_waiters(3)
    queue.put_many(range(5))
    # Which items a thread gets is decided as it runs; that all of them run, without another put, is not.
    parts = [first.result(), second.result(), [third.result()]]
    assert len(parts[0]) == 2
    left = queue.get_many(9) if queue.qsize() else []
    assert sorted(sum(parts, left)) == [0, 1, 2, 3, 4]


def test_a_lingering_getter_that_times_out_empty_passes_nothing(clock):
    """Clearing under a lingering getter: at its deadline it finds nothing and says so."""
    queue = Queue(clock=clock)
    queue.put("a")
    getter = spawn(queue.get_many, 5, timeout=5, linger=2)
    clock.wait_for_waiters(1)
    assert queue.clear() == 1
    clock.advance(5)
    assert isinstance(getter.exception(), Empty)


def test_get_many_lets_as_many_putters_in(clock):
    """A batch taken wakes a putter for each place it leaves."""
    queue = Queue(3, clock=clock)
    queue.put_many([0, 1, 2])
    putters = [spawn(queue.put, 3 + i) for i in range(3)]
    clock.wait_for_waiters(3)
    assert queue.get_many(3) == [0, 1, 2]
    for putter in putters:
        putter.result()
    assert sorted(queue.get_many(3)) == [3, 4, 5]


# ------------------------------------------------------------------------------------------------ clear and peek


@bounded_and_hooked
def test_clear_empties_counts_and_wakes(kind, clock):
    """`clear` removes what is buffered, says how many, lowers the unfinished count and wakes putters and joiners."""
    queue = kind(2, clock=clock)
    queue.put_many([1, 2])
    putters = [spawn(queue.put, 3), spawn(queue.put, 4)]
    clock.wait_for_waiters(2)
    assert queue.clear() == 2
    for putter in putters:
        putter.result()
    assert queue.unfinished_tasks == 2
    joiner = spawn(queue.join)
    clock.wait_for_waiters(1)
    assert queue.clear() == 2
    joiner.result()
    assert queue.clear() == 0
    assert queue.unfinished_tasks == 0


def test_clear_leaves_taken_items_unfinished():
    """Items taken before are still owed a `task_done`."""
    queue = Queue()
    queue.put_many([1, 2, 3])
    queue.get()
    queue.clear()
    assert queue.unfinished_tasks == 1
    queue.task_done()
    queue.join(timeout=0)


def test_clear_clips_the_unfinished_count():
    """A count somebody lowered by hand is clipped at zero, as at the stdlib's shutdown."""
    queue = Queue()
    queue.put_many([1, 2, 3])
    queue.unfinished_tasks = 1
    assert queue.clear() == 3
    assert queue.unfinished_tasks == 0


def test_clear_after_shutdown():
    """A queue shut down can be cleared; then getters are refused."""
    queue = Queue()
    queue.put_many([1, 2])
    queue.shutdown()
    assert queue.clear() == 2
    with pytest.raises(ShutDown):
        queue.get()


def test_simple_queue_clears():
    """`SimpleQueue.clear` too."""
    queue = SimpleQueue()
    queue.put_many("abc")
    assert queue.clear() == 3
    assert queue.empty()


@pytest.mark.parametrize("kind", ALL)
def test_peek_shows_the_next_item_and_keeps_it(kind):
    """`peek` is what the next `get` will return."""
    queue = kind()
    with pytest.raises(Empty):
        queue.peek()
    queue.put_many([2, 1, 3])
    for _ in range(3):
        shown = queue.peek()
        assert queue.peek() is shown
        assert queue.get() is shown
    assert queue.statistics().gets == 3


@bounded
def test_peek_after_shutdown(kind):
    """Items may be peeked at until drained, then it is `ShutDown`."""
    queue = kind()
    queue.put(1)
    queue.shutdown()
    assert queue.peek() == 1
    queue.get()
    with pytest.raises(ShutDown):
        queue.peek()


# --------------------------------------------------------------------------------------------------------- join


def test_join_times_out(clock):
    """`join(timeout=)` raises `TimeoutError` when tasks are left, and returns when they are done."""
    queue = Queue(clock=clock)
    queue.join(timeout=0)
    queue.put(1)
    with pytest.raises(TimeoutError):
        queue.join(timeout=0)
    joiner = spawn(queue.join, timeout=5)
    clock.wait_for_waiters(1)
    clock.advance(5)
    assert isinstance(joiner.exception(), TimeoutError)
    joiner = spawn(queue.join, 5)
    clock.wait_for_waiters(1)
    queue.task_done()
    joiner.result()


def test_every_joiner_is_woken(clock):
    """The last `task_done` wakes all joiners, and one more is an error."""
    queue = Queue(clock=clock)
    queue.put_many([1, 2])
    joiners = [spawn(queue.join) for _ in range(4)]
    clock.wait_for_waiters(4)
    queue.task_done()
    assert clock.waiters == 4
    queue.task_done()
    for joiner in joiners:
        joiner.result()
    with pytest.raises(ValueError, match="called too many times"):
        queue.task_done()


def test_assigning_unfinished_tasks_wakes_joiners(clock):
    """`q.unfinished_tasks = 0`, which people write, lets joiners go."""
    queue = Queue(clock=clock)
    queue.put(1)
    joiner = spawn(queue.join)
    clock.wait_for_waiters(1)
    queue.unfinished_tasks = 0
    joiner.result()


# ---------------------------------------------------------------------------------------------------- iteration


@bounded_and_hooked
def test_iteration_ends_at_shutdown_when_drained(kind):
    """`for item in q` yields what is there and ends after shutdown; it never calls `task_done`."""
    queue = kind()
    queue.put_many([3, 1, 2])
    queue.shutdown()
    assert list(queue) == ORDER[kind]([3, 1, 2])
    assert list(queue) == []
    assert queue.unfinished_tasks == 3


def test_iteration_waits(clock):
    """The loop waits for items and for the end."""
    queue = Queue(clock=clock)
    consumer = spawn(list, iter(queue))
    clock.wait_for_waiters(1)
    queue.put("a")
    clock.wait_for_waiters(1)
    queue.put("b")
    queue.shutdown()
    assert consumer.result() == ["a", "b"]


def test_an_iterator_is_fresh_and_no_membership():
    """`iter(q)` is a new iterator each time, and `x in q`, which would eat items, is refused."""
    queue = Queue()
    queue.put_many([1, 2])
    first, second = iter(queue), iter(queue)
    assert first is not second
    assert first is not queue
    assert iter(first) is first
    assert (next(first), next(second)) == (1, 2)
    queue.put(3)
    with pytest.raises(TypeError):
        3 in queue  # noqa: B015
    assert queue.qsize() == 1
    assert not hasattr(queue, "__len__")
    assert queue


def test_an_iterator_that_ended_stays_ended():
    """`StopIteration` is final, as the iterator protocol demands."""
    queue = Queue()
    queue.shutdown()
    iterator = iter(queue)
    assert list(iterator) == []
    with pytest.raises(StopIteration):
        next(iterator)


def test_several_threads_iterate_one_queue():
    """Four loops share the items, each item once."""
    queue = Queue(8)
    consumers = [spawn(list, iter(queue)) for _ in range(4)]
    queue.put_many(range(1000))
    queue.shutdown()
    assert sorted(itertools.chain(*(consumer.result() for consumer in consumers))) == list(range(1000))


# ------------------------------------------------------------------------------------- producers and consumers


def test_the_last_producer_leaving_shuts_down():
    """`producers(n)`: the n-th to leave shuts the queue down, none before."""
    queue = Queue()
    producing = queue.producers(3)
    for left in range(3):
        assert not queue.is_shutdown
        with producing as entered:
            assert entered is queue
            entered.put(left)
    assert queue.is_shutdown
    assert list(queue) == [0, 1, 2]


def test_producers_share_one_manager_across_threads():
    """Three threads inside at once; the shutdown comes after the last of them."""
    queue = Queue(4)
    producing = queue.producers(3)
    together = threading.Barrier(3)

    def produce(base):
        with producing:
            together.wait(PATIENCE)
            for i in range(100):
                queue.put(base + i)

    workers = [spawn(produce, base) for base in (0, 100, 200)]
    assert sorted(queue) == list(range(300))
    for worker in workers:
        worker.result()


def test_producers_default_to_one():
    """`producers()` is one producer."""
    queue = Queue()
    with queue.producers():
        queue.put(1)
    assert queue.is_shutdown


def test_a_producers_error_reaches_the_consumer_after_draining():
    """A producer that raises ends the consumer with that error as the cause, once it has all items."""
    queue = Queue()
    error = ValueError("half the file is missing")
    with pytest.raises(ValueError, match="half the file"), queue.producers(1):
        queue.put_many([1, 2])
        raise error
    received = []
    with pytest.raises(ValueError, match="half the file") as info:
        for item in queue:
            received.append(item)  # noqa: PERF402
    assert received == [1, 2]
    assert info.value is error
    for refused in (queue.get, queue.get_nowait, queue.peek, functools.partial(queue.put, 3), lambda: queue.get_many(2)):
        with pytest.raises(ShutDown) as info:
            refused()
        assert info.value.__cause__ is error


def test_without_an_error_there_is_no_cause():
    """A clean end has no `__cause__`."""
    queue = Queue()
    with queue.producers(1):
        pass
    with pytest.raises(ShutDown) as info:
        queue.get()
    assert info.value.__cause__ is None


def test_the_first_error_is_the_cause():
    """Of several failing producers the first one's error is told."""
    queue = Queue()
    producing = queue.producers(3)
    errors = [KeyError(1), KeyError(2)]
    for error in errors:
        with pytest.raises(KeyError), producing:
            raise error
    with producing:
        pass
    with pytest.raises(ShutDown) as info:
        queue.get()
    assert info.value.__cause__ is errors[0]


def test_three_of_four_producers_crash():
    """The fourth one's items all arrive, and so do those the others had put."""
    queue = Queue(8)
    producing = queue.producers(4)
    crashed = threading.Barrier(4)

    def produce(number):
        with producing:
            if number < 3:
                queue.put((number, 0))
                crashed.wait(PATIENCE)
                raise RuntimeError(f"producer {number}")
            crashed.wait(PATIENCE)
            for i in range(2000):
                queue.put((number, i))

    workers = [spawn(produce, number) for number in range(4)]
    received = []
    with pytest.raises(RuntimeError, match="producer [012]"):
        for item in queue:
            received.append(item)  # noqa: PERF402
    assert sorted(received) == [(0, 0), (1, 0), (2, 0), *((3, i) for i in range(2000))]
    for worker in workers[:3]:
        assert isinstance(worker.exception(), RuntimeError)
    workers[3].result()


def test_an_error_wakes_consumers_that_wait(clock):
    """Consumers already waiting get the error, too."""
    queue = Queue(clock=clock)
    getters = [spawn(queue.get) for _ in range(3)]
    clock.wait_for_waiters(3)
    error = OSError("disk gone")
    with pytest.raises(OSError, match="disk gone"), queue.producers(1):
        raise error
    for getter in getters:
        got = getter.exception()
        assert isinstance(got, ShutDown)
        assert got.__cause__ is error


def test_each_refusal_is_an_exception_of_its_own(clock):
    """Two refused getters do not share one exception object, whose traceback would grow."""
    queue = Queue(clock=clock)
    with pytest.raises(OSError), queue.producers(1):
        raise OSError
    caught = []
    for _ in range(2):
        with pytest.raises(ShutDown) as info:
            queue.get()
        caught.append(info.value)
    assert caught[0] is not caught[1]


def test_the_last_consumer_leaving_wakes_putters(clock):
    """`consumers(n)`: when the last leaves, the queue is shut down at once: no putter waits for ever."""
    queue = Queue(1, clock=clock)
    queue.put(0)
    putters = [spawn(queue.put, i) for i in range(3)]
    clock.wait_for_waiters(3)
    consuming = queue.consumers(2)
    with consuming as entered:
        assert entered is queue
    assert not queue.is_shutdown
    assert clock.waiters == 3
    with pytest.raises(KeyError), consuming:
        raise KeyError
    assert queue.is_shutdown
    for putter in putters:
        assert isinstance(putter.exception(), ShutDown)
    with pytest.raises(ShutDown):
        queue.put(1)
    assert queue.qsize() == 0


def test_the_last_consumer_leaving_lets_joiners_go(clock):
    """What nobody will take any more is no longer waited for."""
    queue = Queue(clock=clock)
    queue.put_many([1, 2])
    joiner = spawn(queue.join)
    clock.wait_for_waiters(1)
    with queue.consumers(1):
        queue.get()
        queue.task_done()
    joiner.result()


@pytest.mark.parametrize("ends", ["producers", "consumers"])
@pytest.mark.parametrize(("bad", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError), ("2", TypeError)])
def test_producers_and_consumers_check_n(ends, bad, error):
    """A wrong `n` is refused by name and value."""
    queue = Queue()
    with pytest.raises(error, match=r"\bn\b") as info:
        getattr(queue, ends)(bad)
    assert repr(bad) in str(info.value)
    assert not queue.is_shutdown


# --------------------------------------------------------------------------------------------------- statistics


def test_statistics_of_a_new_queue(clock):
    """All fields of a queue that nobody has used."""
    assert Queue(3, name="jobs", clock=clock).statistics() == QueueStatistics(
        name="jobs",
        size=0,
        maxsize=3,
        puts=0,
        gets=0,
        merged=0,
        unfinished_tasks=0,
        peak_size=0,
        waiting_putters=0,
        waiting_getters=0,
        waiting_joiners=0,
        put_blocked_seconds=0.0,
        get_blocked_seconds=0.0,
        full_for=0.0,
        is_shutdown=False,
        rejected=0,
        dropped_oldest=0,
        dropped_newest=0,
        dropped_lowest=0,
        dropped_sampled=0,
        dropped_expired=0,
        dropped_shed=0,
    )


def test_statistics_are_frozen_slotted_and_a_snapshot():
    """A snapshot does not change, neither by itself nor by hand."""
    queue = Queue()
    before = queue.statistics()
    queue.put(1)
    assert before.size == 0
    assert queue.statistics().size == 1
    assert dataclasses.is_dataclass(before)
    assert not hasattr(before, "__dict__")
    with pytest.raises((AttributeError, TypeError)):
        before.size = 5
    assert [field.name for field in dataclasses.fields(QueueStatistics)] == list(QueueStatistics.__slots__)


@bounded_and_hooked
def test_statistics_count_puts_gets_and_the_peak(kind):
    """`puts`, `gets`, `size`, `peak_size`, `unfinished_tasks` by every way in and out."""
    queue = kind(5)
    queue.put(1)
    queue.put_nowait(2)
    queue.put_many([3, 4, 5])
    with pytest.raises(Full):
        queue.put_nowait(6)
    queue.get()
    queue.get_nowait()
    queue.get_many(2)
    queue.task_done()
    seen = queue.statistics()
    assert (seen.puts, seen.gets, seen.size, seen.peak_size, seen.unfinished_tasks) == (5, 4, 1, 5, 4)
    queue.get()
    with pytest.raises(Empty):
        queue.get_nowait()
    seen = queue.statistics()
    assert (seen.puts, seen.gets, seen.size, seen.peak_size) == (5, 5, 0, 5)


def test_statistics_of_a_simple_queue():
    """`SimpleQueue` counts, too."""
    queue = SimpleQueue()
    queue.put_many("abc")
    queue.get()
    seen = queue.statistics()
    assert (seen.puts, seen.gets, seen.size, seen.peak_size) == (3, 1, 2, 3)


def test_statistics_count_waiters(clock):
    """`waiting_putters`, `waiting_getters`, `waiting_joiners`."""
    full = Queue(1, clock=clock)
    full.put(0)
    putters = [spawn(full.put, 1), spawn(full.put_many, [2, 3])]
    joiner = spawn(full.join)
    clock.wait_for_waiters(3)
    seen = full.statistics()
    assert (seen.waiting_putters, seen.waiting_getters, seen.waiting_joiners) == (2, 0, 1)
    assert sorted(full.get(timeout=PATIENCE) for _ in range(4)) == [0, 1, 2, 3]
    for _ in range(4):
        full.task_done()
    for worker in [*putters, joiner]:
        worker.result()
    getters = [spawn(full.get), spawn(full.get_many, 3)]
    clock.wait_for_waiters(2)
    seen = full.statistics()
    assert (seen.waiting_putters, seen.waiting_getters, seen.waiting_joiners) == (0, 2, 0)
    full.shutdown()
    for getter in getters:
        assert isinstance(getter.exception(), ShutDown)
    seen = full.statistics()
    assert (seen.waiting_getters, seen.is_shutdown) == (0, True)


def test_statistics_sum_the_time_blocked(clock):
    """`put_blocked_seconds` and `get_blocked_seconds` sum the waits, successful or not."""
    queue = Queue(1, clock=clock)
    getter = spawn(queue.get)
    clock.wait_for_waiters(1)
    clock.advance(2)
    queue.put(1)
    getter.result()
    assert queue.statistics().get_blocked_seconds == 2.0
    getter = spawn(queue.get, timeout=3)
    clock.wait_for_waiters(1)
    clock.advance(3)
    assert isinstance(getter.exception(), Empty)
    assert queue.statistics().get_blocked_seconds == 5.0
    assert queue.statistics().put_blocked_seconds == 0.0
    queue.put(1)
    putters = [spawn(queue.put, 2), spawn(queue.put, 3)]
    clock.wait_for_waiters(2)
    clock.advance(4)
    assert queue.clear() == 1
    wait_until(lambda: any(putter.done() for putter in putters))
    clock.advance(1)
    assert queue.clear() == 1
    for putter in putters:
        putter.result()
    assert queue.statistics().put_blocked_seconds == 9.0


def test_full_for_runs_from_the_first_producer_refused(clock):
    """`full_for`: since a producer first found it full; 0.0 once there is room."""
    queue = Queue(2, clock=clock)
    queue.put_many([1, 2])
    with pytest.raises(Full):
        queue.put_nowait(3)
    clock.advance(2)
    with pytest.raises(Full):
        queue.put_nowait(3)
    assert queue.statistics().full_for == 2.0
    clock.advance(1.5)
    assert queue.statistics().full_for == 3.5
    queue.get()
    assert queue.statistics().full_for == 0.0
    clock.advance(1)
    assert queue.statistics().full_for == 0.0


def test_full_for_with_a_putter_waiting(clock):
    """A producer that waits has found it full."""
    queue = Queue(1, clock=clock)
    queue.put(1)
    putter = spawn(queue.put, 2)
    clock.wait_for_waiters(1)
    clock.advance(7)
    assert queue.statistics().full_for == 7.0
    queue.shutdown()
    assert isinstance(putter.exception(), ShutDown)


# ------------------------------------------------------------------------------------------------------ maxsize


@bounded_and_hooked
def test_growing_maxsize_wakes_putters(kind, clock):
    """A larger `maxsize` lets exactly as many putters in as there is new room."""
    queue = kind(1, clock=clock)
    queue.put(0)
    putters = [spawn(queue.put, i) for i in (1, 2, 3, 4)]
    clock.wait_for_waiters(4)
    queue.maxsize = 3
    wait_until(lambda: queue.qsize() == 3)
    assert sum(putter.done() for putter in putters) <= 2
    assert queue.statistics().waiting_putters == 2
    queue.maxsize = 0
    for putter in putters:
        putter.result()
    assert sorted(queue.get_many(9)) == [0, 1, 2, 3, 4]
    assert queue.maxsize == 0


def test_shrinking_maxsize_keeps_the_items():
    """A smaller `maxsize` keeps what is there and refuses until there is room."""
    queue = Queue(4)
    queue.put_many(range(4))
    queue.maxsize = 2
    assert queue.full()
    queue.get_many(2)
    with pytest.raises(Full):
        queue.put_nowait(9)
    queue.get()
    queue.put_nowait(9)
    assert queue.get_many(9) == [3, 9]


def test_growing_maxsize_lets_a_waiting_batch_on(clock):
    """`put_many` that waits goes on, too."""
    queue = Queue(1, clock=clock)
    putter = spawn(queue.put_many, range(5))
    clock.wait_for_waiters(1)
    queue.maxsize = 5
    assert putter.result() == 5
    assert queue.get_many(9) == [0, 1, 2, 3, 4]


# ----------------------------------------------------------------------------------------------------- shutdown


def test_shutdown_wakes_everybody(clock):
    """Shutdown wakes getters and putters of every kind, and is idempotent."""
    empty, full = Queue(clock=clock), Queue(1, clock=clock)
    full.put(0)
    waiting = [
        spawn(empty.get),
        spawn(empty.get, timeout=100),
        spawn(empty.get_many, 3, linger=5),
        spawn(next, iter(empty), None),
        spawn(full.put, 1),
        spawn(full.put, 1, timeout=100),
        spawn(full.put_many, [1, 2]),
    ]
    clock.wait_for_waiters(len(waiting))
    for _ in range(2):
        empty.shutdown()
        full.shutdown()
    for number, worker in enumerate(waiting):
        if number == 3:
            assert worker.result() is None
        else:
            assert isinstance(worker.exception(), ShutDown)
    assert clock.waiters == 0
    assert full.get() == 0


def test_an_immediate_shutdown_drains_and_lets_joiners_go(clock):
    """`shutdown(immediate=True)` drops what is buffered and lowers the count."""
    queue = Queue(clock=clock)
    queue.put_many([1, 2])
    joiner = spawn(queue.join)
    clock.wait_for_waiters(1)
    queue.shutdown(immediate=True)
    joiner.result()
    assert queue.qsize() == 0
    with pytest.raises(ShutDown):
        queue.get_nowait()


# -------------------------------------------------------------------------------------- names, repr, and the rest


@pytest.mark.parametrize("kind", ALL)
def test_names(kind):
    """`name=` is kept, shown and optional."""
    assert kind().name is None
    queue = kind(name="jobs")
    assert queue.name == "jobs"
    assert queue.statistics().name == "jobs"
    assert "jobs" in repr(queue)
    with pytest.raises(TypeError, match="name"):
        kind(name=3)


@pytest.mark.parametrize("kind", ALL)
def test_repr_is_honest(kind):
    """The repr says the class, how many items there are and how many there may be, but not the items."""
    queue = kind(7531) if kind is not SimpleQueue else kind()
    queue.put_many(["secret"] * 46)
    shown = repr(queue)
    assert kind.__name__ in shown
    assert "46" in shown
    assert "secret" not in shown
    if kind is not SimpleQueue:
        assert "7531" in shown
        assert "shut" not in shown
        queue.shutdown()
        assert "shut" in repr(queue)


def test_repr_names_a_subclass():
    """A subclass is shown under its own name."""
    assert "Hooked" in repr(Hooked())


@pytest.mark.parametrize("kind", ALL)
def test_weakrefs(kind):
    """Queues can be weakly referenced, and die."""
    queue = kind()
    reference = weakref.ref(queue)
    assert reference() is queue
    del queue
    collect()
    assert reference() is None


@pytest.mark.parametrize("kind", ALL)
def test_generic(kind):
    """`Queue[int]` is an alias that makes queues."""
    alias = kind[int]
    assert alias.__origin__ is kind
    assert alias.__args__ == (int,)
    assert type(alias()) is kind


@pytest.mark.parametrize("kind", [*ALL, Hooked])
@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_no_pickle_no_copy(kind, way):
    """Pickle and copy are refused with the class's name."""
    with pytest.raises(TypeError, match=kind.__name__):
        way(kind())


def test_exceptions_are_both_libraries():
    """One `except` of either library catches ours."""
    import asyncio

    assert issubclass(Empty, stdlib_queue.Empty)
    assert issubclass(Empty, asyncio.QueueEmpty)
    assert issubclass(Full, stdlib_queue.Full)
    assert issubclass(Full, asyncio.QueueFull)
    if hasattr(stdlib_queue, "ShutDown"):
        assert issubclass(ShutDown, stdlib_queue.ShutDown)
        assert issubclass(ShutDown, asyncio.QueueShutDown)
    assert issubclass(ShutDown, Exception)


def test_refusals_say_what_was_asked_and_what_holds():
    """Messages tell the operation, its timeout and how full the queue is."""
    clock = ManualClock()
    queue = Queue(4321, name="jobs", clock=clock)
    with pytest.raises(Empty, match="get.*0 of 4321"):
        queue.get_nowait()
    waiting = spawn(queue.get, timeout=7.5)
    clock.wait_for_waiters(1)
    clock.advance(7.5)
    with pytest.raises(Empty, match="get.*7.5.*0 of 4321"):
        waiting.result()
    queue.put_many(range(4321))
    with pytest.raises(Full, match="put.*4321 of 4321"):
        queue.put_nowait(1)
    queue.shutdown(immediate=True)
    with pytest.raises(ShutDown, match="get.*shut"):
        queue.get()


# ---------------------------------------------------------------------------------------------------- bad input

NAN, INF = float("nan"), float("inf")
BAD_TIMEOUTS = [
    (-1, ValueError),
    (-1e-9, ValueError),
    (NAN, ValueError),
    (INF, (ValueError, OverflowError)),
    (-INF, ValueError),
    (1e20, (ValueError, OverflowError)),
    ("1", TypeError),
    ([], TypeError),
]


def full_queue():
    queue = Queue(1)
    queue.put(0)
    return queue


@pytest.mark.parametrize(("bad", "error"), BAD_TIMEOUTS)
def test_put_refuses_bad_timeouts(bad, error):
    """`put(timeout=)` on a full queue: refused, nothing changed, never a wait without end."""
    queue = full_queue()
    with pytest.raises(error):
        queue.put(1, timeout=bad)
    assert queue.statistics().puts == 1
    assert queue.statistics().waiting_putters == 0


@pytest.mark.parametrize(("bad", "error"), BAD_TIMEOUTS)
@pytest.mark.parametrize("kind", ALL)
def test_get_refuses_bad_timeouts(kind, bad, error):
    """`get(timeout=)` on an empty queue: refused, nothing changed."""
    queue = kind()
    with pytest.raises(error):
        queue.get(timeout=bad)
    assert queue.statistics().waiting_getters == 0


@pytest.mark.parametrize("call", ["put_many", "get_many", "join"])
@pytest.mark.parametrize(("bad", "error"), BAD_TIMEOUTS)
def test_our_own_methods_refuse_bad_timeouts_at_the_door(call, bad, error):
    """Ours are refused even where no wait would be needed, naming argument and value; nothing is changed."""
    queue = Queue()
    queue.put(0)
    source = iter([1, 2])
    calls = {
        "put_many": lambda: queue.put_many(source, timeout=bad),
        "get_many": lambda: queue.get_many(1, timeout=bad),
        "join": lambda: Queue().join(timeout=bad),
    }
    with pytest.raises(error, match="timeout") as info:
        calls[call]()
    if not isinstance(bad, (str, list)):
        assert repr(bad) in str(info.value) or str(bad) in str(info.value)
    assert queue.qsize() == 1
    assert list(source) == [1, 2]


@pytest.mark.parametrize(("bad", "error"), [case for case in BAD_TIMEOUTS if case[0] != 1e20])
def test_linger_is_checked_at_the_door(bad, error):
    """`linger=` is refused by name and value; nothing is taken."""
    queue = Queue()
    queue.put(0)
    with pytest.raises(error, match="linger") as info:
        queue.get_many(1, linger=bad)
    if not isinstance(bad, (str, list)):
        assert repr(bad) in str(info.value) or str(bad) in str(info.value)
    assert queue.qsize() == 1


@pytest.mark.parametrize(
    ("bad", "error"),
    [(0, ValueError), (-1, ValueError), (True, TypeError), (False, TypeError), (1.0, TypeError), ("1", TypeError), (None, TypeError)],
)
def test_max_is_checked_at_the_door(bad, error):
    """`get_many(max)` is refused by name and value; nothing is taken."""
    queue = Queue()
    queue.put(0)
    with pytest.raises(error, match=r"\bmax\b") as info:
        queue.get_many(bad)
    assert repr(bad) in str(info.value)
    assert queue.qsize() == 1


def test_a_huge_max_is_no_promise_of_memory():
    """`max` may be any int: nothing is reserved for what is not there."""
    queue = Queue()
    queue.put(0)
    assert queue.get_many(2**62) == [0]
    queue.put(1)
    assert queue.get_many(2**200) == [1]


@pytest.mark.parametrize(
    "call",
    [
        lambda q: q.put(),
        lambda q: q.put(1, True, 1, 1),
        lambda q: q.put(1, nope=1),
        lambda q: q.get(1, 2, 3),
        lambda q: q.get(nope=1),
        lambda q: q.put(1, item=1),
        lambda q: q.get_many(),
        lambda q: q.put_many(),
    ],
)
def test_wrong_arguments_are_type_errors(call):
    """Missing, surplus, unknown and doubled arguments."""
    queue = Queue()
    queue.put(0)
    with pytest.raises(TypeError):
        call(queue)
    assert queue.qsize() == 1


def test_keywords_of_the_fast_methods():
    """`put(item=, block=, timeout=)` and `get(block=, timeout=)` by keyword, in any order."""
    queue = Queue(1)
    queue.put(timeout=None, item="a", block=True)
    with pytest.raises(Full):
        queue.put(block=False, item="b")
    assert queue.get(timeout=None, block=True) == "a"
    with pytest.raises(Empty):
        queue.get(block=False)
    queue.put_nowait(item="c")
    assert queue.get_nowait() == "c"


# ---------------------------------------------------------------------------------------------- many threads


@pytest.mark.parametrize("kind", [*ALL, Hooked])
@pytest.mark.parametrize("maxsize", [0, 1, 7])
def test_four_to_four_threads_each_item_once(kind, maxsize):
    """Producers and consumers through every class and bound: each item once, per-producer order kept by FIFOs."""
    if kind is SimpleQueue:
        if maxsize:
            pytest.skip("SimpleQueue has no bound")
        queue = kind()
    else:
        queue = kind(maxsize)
    each = 1500
    end = (9, 0)

    def produce(number):
        for i in range(each):
            queue.put((number, i))

    def consume():
        received = []
        while (item := queue.get(timeout=PATIENCE)) != end:
            received.append(item)
        return received

    consumers = [spawn(consume) for _ in range(4)]
    for producer in [spawn(produce, number) for number in range(4)]:
        producer.result()
    if kind is LifoQueue:
        wait_until(queue.empty)
    for _ in consumers:
        queue.put(end)
    parts = [consumer.result() for consumer in consumers]
    assert sorted(itertools.chain(*parts)) == [(number, i) for number in range(4) for i in range(each)]
    if kind in (Queue, SimpleQueue, Hooked):
        for part in parts:
            for number in range(4):
                mine = [i for n, i in part if n == number]
                assert mine == sorted(mine)
    seen = queue.statistics()
    assert (seen.puts, seen.gets, seen.size) == (4 * each + 4, 4 * each + 4, 0)
    if maxsize:
        assert seen.peak_size <= maxsize


def test_version():
    """`__version__` is a version."""
    assert sluicegate.__version__.split(".")[0].isdigit()
