"""What becomes of items that find a queue full: the policies, `offer`, `on_drop`, and that every item is accounted for."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import queue as stdlib
import random
import sys
import threading
import weakref

import pytest
from helpers import PATIENCE, settle, spawn, wait_until

import sluicegate
from sluicegate import Full, LifoQueue, Offered, PriorityQueue, Queue, Sample, ShutDown


class Log(list):
    """What `on_drop` was told."""

    def __call__(self, item, reason):
        self.append((item, reason))


def full(kind=Queue, overflow="block", items=(1, 2, 3), **settings):
    log = Log()
    q = kind(len(items), overflow=overflow, on_drop=log, **settings)
    q.put_many(list(items))
    return q, log


# --- the policies, one by one -------------------------------------------------------------------------------------


def test_block_is_the_default():
    q = Queue(1)
    assert q.overflow == "block"
    assert q.on_drop is None
    q.put(1)
    with pytest.raises(Full):
        q.put(2, timeout=0)
    assert q.statistics().rejected == 0


def test_drop_oldest_makes_room():
    q, log = full(overflow="drop_oldest")
    q.put(4)
    q.put_nowait(5)
    assert log == [(1, "oldest"), (2, "oldest")]
    assert q.get_many(9) == [3, 4, 5]
    assert q.statistics().dropped_oldest == 2


def test_drop_oldest_takes_the_bottom_of_a_stack():
    q, log = full(LifoQueue, "drop_oldest")
    q.put(4)
    assert log == [(1, "oldest")]
    assert q.get_many(9) == [4, 3, 2]


def test_drop_newest_drops_what_comes():
    q, log = full(overflow="drop_newest")
    q.put(4)
    q.put(5, timeout=10)
    assert log == [(4, "newest"), (5, "newest")]
    assert q.get_many(9) == [1, 2, 3]
    assert q.statistics().dropped_newest == 2
    assert q.statistics().puts == 3


@pytest.mark.parametrize("put", ["put", "put_nowait", "timeout", "put_many", "iterator", "async", "many_async"])
def test_reject_refuses_at_once(put):
    q, log = full(overflow="reject")
    calls = {
        "put": lambda: q.put(4),
        "put_nowait": lambda: q.put_nowait(4),
        "timeout": lambda: q.put(4, timeout=60),
        "put_many": lambda: q.put_many([4]),
        "iterator": lambda: q.put_many(iter([4])),
        "async": lambda: asyncio.run(q.put_async(4, timeout=60)),
        "many_async": lambda: asyncio.run(q.put_many_async([4])),
    }
    with pytest.raises(Full, match="holds 3 of 3 items"):
        calls[put]()
    assert log == []
    assert q.statistics().rejected == 1
    assert q.get_many(9) == [1, 2, 3]


def test_drop_lowest_drops_the_least_urgent_item():
    q, log = full(PriorityQueue, "drop_lowest", (5, 1, 9))
    q.put(3)
    assert log == [(9, "lowest")]
    q.put(7)  # less urgent than all of them
    q.put(5)  # no more urgent than the least urgent one
    assert log[1:] == [(7, "lowest"), (5, "lowest")]
    assert q.get_many(9) == [1, 3, 5]
    assert q.statistics().dropped_lowest == 3
    assert q.statistics().puts == 4


def test_sample_puts_one_in_n():
    q, log = full(overflow=Sample(3))
    q.put_many(range(10, 17))
    assert log == [(10, "sampled"), (11, "sampled"), (1, "sampled"), (13, "sampled"), (14, "sampled"), (2, "sampled"), (16, "sampled")]
    assert q.get_many(9) == [3, 12, 15]


def test_sample_in_a_heap_displaces_the_least_urgent():
    q, log = full(PriorityQueue, Sample(2), (5, 1, 9))
    q.put(2)
    q.put(3)
    assert log == [(2, "sampled"), (9, "sampled")]
    assert q.get_many(9) == [1, 3, 5]


@pytest.mark.parametrize("items", [lambda: [4, 5, 6, 7], lambda: iter([4, 5, 6, 7])], ids=["list", "iterator"])
@pytest.mark.parametrize("kind", [Queue, LifoQueue])
def test_a_policy_that_drops_consumes_the_whole_iterable(kind, items):
    q, log = full(kind, "drop_oldest")
    assert q.put_many(items()) == 4
    assert [item for item, _ in log] == [1, 2, 3, 4]
    assert sorted(q.get_many(9)) == [5, 6, 7]


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "drop_lowest", Sample(1)])
@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue", "CoalescingQueue", "Hooked"])
def test_an_iterator_drops_nothing_while_there_is_room(kind, overflow):
    """The place that is reserved for an item while the iterator is asked for it is no item yet."""
    log, settings = Log(), {"key": lambda item: item} if kind == "CoalescingQueue" else {}
    make = Hooked if kind == "Hooked" else getattr(sluicegate, kind)
    try:
        q = make(3, overflow=overflow, on_drop=log, **settings)
    except (TypeError, ValueError):
        pytest.skip("these do not go together")
    assert q.put_many(iter([1, 2, 3])) == 3
    assert log == []
    assert sorted(q.get_many(9)) == [1, 2, 3]


def test_reject_takes_of_a_batch_what_fits():
    q = Queue(3, overflow="reject")
    with pytest.raises(Full) as caught:
        q.put_many([1, 2, 3, 4, 5])
    assert caught.value.accepted == 3
    assert q.qsize() == 3
    rest = iter([4, 5])
    with pytest.raises(Full) as caught:
        q.put_many(rest)
    assert caught.value.accepted == 0
    assert list(rest) == [4, 5], "the iterator stands at the first item that was not put"


def test_put_async_drops_without_a_turn_of_the_loop():
    async def main():
        q, log = full(overflow="drop_oldest")
        await q.put_async(4)
        await q.put_many_async([5, 6])
        return log, q.get_many(9)

    assert asyncio.run(main()) == ([(1, "oldest"), (2, "oldest"), (3, "oldest")], [4, 5, 6])


# --- offer --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["block", "reject"])
def test_offer_refuses_without_waiting(overflow):
    q, log = full(overflow=overflow)
    offered = q.offer(4)
    assert not offered
    assert (offered.accepted, offered.displaced, offered.reason) == (False, (), "full")
    assert log == []
    assert q.get() == 1
    assert q.offer(4)
    assert q.get_many(9) == [2, 3, 4]


def test_offer_says_what_was_displaced():
    q, log = full(overflow="drop_oldest")
    offered = q.offer(4)
    assert offered
    assert (offered.displaced, offered.reason) == ((1,), "oldest")
    assert log == [(1, "oldest")]
    assert repr(offered) == "Offered(accepted=True, displaced=(1,), reason='oldest')"
    q, _ = full(overflow="drop_newest")
    offered = q.offer(4)
    assert (offered.accepted, offered.displaced, offered.reason) == (False, (), "newest")


def test_offer_into_a_heap_and_into_hooks():
    q, _ = full(PriorityQueue, "drop_lowest", (5, 1, 9))
    assert q.offer(2).displaced == (9,)
    assert q.offer(8).reason == "lowest"
    q, _ = full(Hooked, "drop_oldest")
    assert q.offer(4).displaced == (1,)
    q, _ = full(Hooked, "reject")
    assert q.offer(4).reason == "full"


def test_offer_to_a_queue_that_has_been_shut_down():
    q = Queue(1)
    q.shutdown()
    with pytest.raises(ShutDown, match="offer"):
        q.offer(1)


def test_offered_is_generic_and_not_made_by_hand():
    assert Offered[int]
    with pytest.raises(TypeError):
        Offered()


# --- subclasses with hooks ----------------------------------------------------------------------------------------


class Hooked(Queue):
    def _init(self, maxsize):
        self.items = []

    def _qsize(self):
        return len(self.items)

    def _put(self, item):
        self.items.append(item)

    def _get(self):
        return self.items.pop(0)


@pytest.mark.parametrize(
    ("overflow", "dropped", "left"),
    [("drop_oldest", [(1, "oldest")], [2, 3, 4]), ("drop_newest", [(4, "newest")], [1, 2, 3])],
)
def test_hooks_are_used_to_make_room(overflow, dropped, left):
    q, log = full(Hooked, overflow)
    q.put(4)
    assert log == dropped
    assert q.items == left
    assert q.unfinished_tasks == 3


@pytest.mark.parametrize("overflow", ["drop_lowest", Sample(2)])
def test_what_hooks_cannot_do_is_a_type_error(overflow):
    with pytest.raises(TypeError, match="_put or _get"):
        Hooked(2, overflow=overflow)


def test_a_hook_that_fails_while_room_is_made():
    class Failing(Hooked):
        def _get(self):
            raise OSError("disk")

    q, log = full(Failing, "drop_oldest")
    with pytest.raises(OSError, match="disk"):
        q.put(4)
    assert log == []
    assert q.items == [1, 2, 3]
    assert q.unfinished_tasks == 3
    assert q.statistics().dropped_oldest == 0


def test_a_comparison_that_fails_while_the_least_urgent_is_sought():
    q, log = full(PriorityQueue, "drop_lowest", (5, 1, 9))
    with pytest.raises(TypeError):
        q.put("x")
    assert log == []
    assert q.get_many(9) == [1, 5, 9]


class Unmeasurable(Hooked):
    def _qsize(self):
        if getattr(self, "broken", False):
            raise OSError("disk")
        return super()._qsize()


def raising(old, new):
    raise OSError("disk")


@pytest.mark.parametrize("kind", ["coalescing", "hooks"])
def test_what_fails_while_an_iterators_item_comes_in_leaves_no_place_taken(kind):
    """The place that was reserved for the item is free again: nothing is dropped for want of it, and the end of the queue is seen."""
    if kind == "coalescing":
        q = sluicegate.CoalescingQueue(2, key=lambda item: item, merge=raising, overflow="drop_oldest")
        q.put(1)
    else:
        q = Unmeasurable(2, overflow="drop_newest")
        q.put(1)
        q.broken = True
    with pytest.raises(OSError, match="disk"):
        q.put_many(iter([1]))
    q.broken = False
    q.put(2)
    assert q.get_many(9) == [1, 2]
    q.shutdown()
    with pytest.raises(ShutDown):
        q.get(timeout=5)


# --- bad input ----------------------------------------------------------------------------------------------------


class OtherPut(PriorityQueue):
    """The next item is still the most urgent one."""

    def _put(self, item):
        super()._put(item)


@pytest.mark.parametrize(
    ("kind", "maxsize", "overflow", "error", "message"),
    [
        (Queue, 0, "drop_oldest", ValueError, "without a bound"),
        (Queue, -1, "drop_newest", ValueError, "without a bound"),
        (Queue, 0, Sample(2), ValueError, "without a bound"),
        (Queue, 2, "drop_lowest", ValueError, "only a PriorityQueue"),
        (LifoQueue, 2, "drop_lowest", ValueError, "only a PriorityQueue"),
        (PriorityQueue, 2, "drop_oldest", ValueError, "does not know which item is the oldest"),
        (OtherPut, 2, "drop_oldest", ValueError, "does not know which item is the oldest"),
        (Queue, 2, "drop", ValueError, "'overflow' must be .* not 'drop'"),
        (Queue, 2, 3, TypeError, "'overflow' must be .* not 3"),
        (Queue, 2, True, TypeError, "'overflow' must be .* not True"),
    ],
)
def test_a_policy_that_cannot_be(kind, maxsize, overflow, error, message):
    with pytest.raises(error, match=message):
        kind(maxsize, overflow=overflow)
    q = kind(maxsize)
    with pytest.raises(error, match=message):
        q.overflow = overflow
    assert q.overflow == "block"


class StampedHeap(PriorityQueue):
    def _put(self, item):
        super()._put((item, "stamp"))


class StampedStack(LifoQueue):
    def _put(self, item):
        super()._put((item, "stamp"))


class StampedFifo(Queue):
    def _put(self, item):
        super()._put((item, "stamp"))


class OldestFirst(StampedHeap):
    def _get(self):
        return self.queue.pop(0)


@pytest.mark.parametrize(("kind", "message"), [(StampedHeap, "which item is the oldest"), (StampedStack, "takes the newest item")])
def test_a_subclass_without_a_get_of_its_own_does_not_take_the_oldest(kind, message):
    with pytest.raises(ValueError, match=message):
        kind(2, overflow="drop_oldest")
    q = kind(2)
    with pytest.raises(ValueError, match=message):
        q.overflow = "drop_oldest"
    q.overflow = "drop_newest"


@pytest.mark.parametrize("kind", [StampedFifo, OldestFirst])
def test_a_subclass_whose_get_takes_the_oldest_may_drop_it(kind):
    q = kind(2, overflow="drop_oldest")
    q.put_many([1, 2, 3])
    assert [q.get()[0], q.get()[0]] == [2, 3]


@pytest.mark.parametrize(("overflow", "count"), [("block", 0), ("reject", 3)])
def test_rejected_counts_calls_that_the_policy_has_refused(overflow, count):
    q, _ = full(overflow=overflow)
    for refused in (lambda: q.put_nowait(4), lambda: q.put_many([4, 5], False)):
        with pytest.raises(Full):
            refused()
    assert not q.offer(4)
    assert q.statistics().rejected == count


@pytest.mark.parametrize("overflow", ["block", "reject"])
def test_a_queue_without_a_bound_never_overflows(overflow):
    q = Queue(0, overflow=overflow)
    q.put_many(range(1000))
    assert q.qsize() == 1000


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)])
def test_bad_samples(n, error):
    with pytest.raises(error, match="'n'"):
        Sample(n)


def test_samples_are_values():
    assert Sample(3) == Sample(3) != Sample(4)
    assert len({Sample(3), Sample(3)}) == 1
    assert (repr(Sample(3)), Sample(3).n) == ("Sample(3)", 3)
    assert Queue(1, overflow=Sample(3)).overflow == Sample(3)


@pytest.mark.parametrize("on_drop", [3, "print"])
def test_on_drop_is_to_be_callable(on_drop):
    with pytest.raises(TypeError, match="'on_drop' must be callable"):
        Queue(1, on_drop=on_drop)


def test_on_drop_is_no_coroutine_function():
    async def function(item, reason): ...

    class Object:
        async def __call__(self, item, reason): ...

    for on_drop in (function, Object()):
        with pytest.raises(TypeError, match="coroutine function"):
            Queue(1, on_drop=on_drop)


# --- on_drop ------------------------------------------------------------------------------------------------------


@pytest.mark.thread_unsafe(reason="replaces sys.unraisablehook")
def test_what_on_drop_raises_is_nobodys_to_catch(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(unraisable.exc_value))

    def on_drop(item, reason):
        raise OSError(item)

    q = Queue(1, overflow="drop_oldest", on_drop=on_drop)
    q.put(1)
    q.put(2)
    assert [str(error) for error in seen] == ["1"]
    assert q.get() == 2


def test_on_drop_runs_outside_every_lock_and_may_use_the_queue():
    seen = []

    def on_drop(item, reason):
        seen.append((item, reason, q.qsize(), q.statistics().dropped_oldest))
        if item == 1:
            q.put(10)  # drops another: counted, and not told to the one who is being told

    q = Queue(2, overflow="drop_oldest", on_drop=on_drop)
    q.put_many([1, 2])
    q.put(3)
    assert seen == [(1, "oldest", 2, 1)]
    assert q.get_many(9) == [3, 10]
    assert q.statistics().dropped_oldest == 2
    q.put_many([4, 5, 6])
    assert [item for item, *_ in seen] == [1, 4], "the next drop is told again"


def test_on_drop_of_one_queue_may_fill_another():
    outer = Log()
    second = Queue(1, overflow="drop_oldest", on_drop=outer)
    first = Queue(1, overflow="drop_oldest", on_drop=lambda item, reason: second.put(item))
    first.put_many([1, 2, 3])
    assert outer == [(1, "oldest")]
    assert second.get() == 2


def test_on_drop_runs_in_the_thread_that_caused_the_drop():
    seen = []
    q = Queue(1, overflow="drop_oldest", on_drop=lambda item, reason: seen.append(threading.get_ident()))
    q.put(1)
    worker = spawn(lambda: (q.put(2), threading.get_ident())[1])
    assert seen == [worker.result()] or worker.result() in seen


def test_what_is_dropped_without_on_drop_is_let_go():
    class Item:
        pass

    q = Queue(1, overflow="drop_oldest")
    first = Item()
    gone = weakref.ref(first)
    q.put(first)
    del first
    q.put(Item())
    gc.collect()
    assert gone() is None


def test_a_destructor_of_a_dropped_item_may_use_the_queue():
    class Item:
        def __del__(self):
            sizes.append(q.qsize())

    sizes = []
    q = Queue(1, overflow="drop_oldest")
    q.put(Item())
    q.put(Item())
    gc.collect()
    assert sizes == [1]
    q.clear()


def test_clear_and_a_kill_are_no_drops():
    q, log = full(overflow="drop_oldest")
    q.clear()
    q.put(1)
    q.shutdown(immediate=True)
    assert log == []


def test_a_queue_that_is_kept_alive_by_its_own_on_drop_is_collected():
    def make():
        q = Queue(1, overflow="drop_oldest", on_drop=lambda item, reason: q.qsize())
        return weakref.ref(q)

    gone = make()
    gc.collect()
    assert gone() is None


# --- unfinished work ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "overflow"),
    [(Queue, "drop_oldest"), (Queue, "drop_newest"), (LifoQueue, "drop_oldest"), (PriorityQueue, "drop_lowest"), (Hooked, "drop_oldest")],
)
def test_what_is_dropped_counts_as_done(kind, overflow):
    q, _ = full(kind, overflow)
    q.put_many([7, 0, 8, 1])
    assert q.unfinished_tasks == q.qsize() == 3
    for _ in range(3):
        q.get()
        q.task_done()
    q.join(timeout=10)
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()


def test_a_joiner_does_not_wake_while_an_item_takes_the_place_of_another():
    q, _ = full(overflow="drop_oldest", items=(1,))
    joiner = spawn(q.join)
    wait_until(lambda: q.statistics().waiting_joiners == 1)
    for number in range(200):
        q.put(number)
    assert not joiner.done()
    q.get()
    q.task_done()
    joiner.result()


# --- changes at run time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overflow", "outcome"), [("drop_oldest", [2, 3, 4]), ("drop_newest", [1, 2, 3]), ("reject", Full), (Sample(1), [2, 3, 4])]
)
@pytest.mark.parametrize("kind", [Queue, Hooked])
def test_whoever_waits_for_room_meets_the_new_policy(kind, overflow, outcome):
    if kind is Hooked and isinstance(overflow, Sample):
        pytest.skip("hooks and samples do not go together")
    q, _ = full(kind)
    putter = spawn(q.put, 4)
    wait_until(lambda: q.statistics().waiting_putters == 1)
    q.overflow = overflow
    if outcome is Full:
        assert isinstance(putter.exception(), Full)
    else:
        putter.result()
        assert q.get_many(9) == outcome


def test_tasks_and_batches_that_wait_meet_the_new_policy():
    async def main():
        q, log = full()
        putters = [asyncio.create_task(q.put_async(4)), asyncio.create_task(q.put_many_async(iter([5, 6])))]
        await settle()
        assert q.statistics().waiting_putters == 2
        q.overflow = "drop_oldest"
        await asyncio.gather(*putters)
        return [item for item, _ in log], q.get_many(9)

    assert asyncio.run(main()) == ([1, 2, 3], [4, 5, 6])


def test_a_policy_that_blocks_again_lets_putters_wait():
    q, _ = full(overflow="drop_newest")
    q.overflow = "block"
    putter = spawn(q.put, 4)
    wait_until(lambda: q.statistics().waiting_putters == 1)
    assert q.get() == 1
    putter.result()


def test_a_smaller_bound_drops_nothing_by_itself():
    q, log = full(overflow="drop_oldest")
    q.maxsize = 1
    assert (q.qsize(), log) == (3, [])
    q.put(4)
    assert (q.qsize(), log) == (3, [(1, "oldest")]), "one for one: a put does not shrink the queue"


# --- views, the lent queue, the standard library ------------------------------------------------------------------


def test_views_obey_the_policy():
    q, log = full(overflow="drop_oldest")
    q.sync_q.put(4)
    asyncio.run(q.async_q.put(5))
    q.async_q.put_nowait(6)
    assert [item for item, _ in log] == [1, 2, 3]
    assert q.get_many(9) == [4, 5, 6]


def test_the_owner_of_the_mutex_meets_the_policy_too():
    for kind, overflow in ((Queue, "drop_oldest"), (Hooked, "drop_oldest"), (PriorityQueue, "drop_lowest")):
        q, log = full(kind, overflow)
        with q.mutex:
            q.put_nowait(0)
            q.put_many([0])
            assert q.offer(0)
        assert len(log) == 3
        assert q.qsize() == 3


def test_others_wait_for_the_mutex_and_then_meet_the_policy():
    q, log = full(overflow="drop_oldest")
    with q.mutex:
        putters = [spawn(q.put, 4), spawn(q.put_nowait, 5)]
        wait_until(lambda: q.statistics().waiting_putters == 1)
        assert log == []
    for putter in putters:
        putter.result()
    assert [item for item, _ in log] == [1, 2]


@pytest.mark.parametrize(("overflow", "left", "dropped"), [("drop_oldest", [1], [0]), ("drop_newest", [0], [1]), (Sample(1), [1], [0])])
def test_an_iterators_item_that_comes_while_another_has_the_mutex_meets_the_policy(overflow, left, dropped):
    log = Log()
    q = Queue(1, overflow=overflow, on_drop=log)
    q.put(0)
    taken = threading.Event()

    def hold():
        with q.mutex:
            taken.set()
            wait_until(lambda: q.statistics().waiting_putters == 1)

    def items():
        holders.append(spawn(hold))
        assert taken.wait(PATIENCE)
        yield 1

    holders = []
    assert q.put_many(items()) == 1
    holders[0].result()
    assert list(q.queue) == left
    assert [item for item, _ in log] == dropped
    assert q.unfinished_tasks == 1


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", Sample(2), "reject"])
def test_an_iterator_does_not_wait_behind_a_putter_whom_others_have_overtaken(overflow):
    """A task that has missed its turn twice shuts the door; then the policy becomes one under which nobody waits."""

    async def main():
        q = Queue(1)
        q.put(0)
        first = asyncio.create_task(q.put_async(1))
        await settle()
        for _ in range(2):
            q.get_nowait()
            q.put_nowait(0)
            await settle()
        q.overflow = overflow  # wakes the task, but this one has the loop
        thread = spawn(q.put_many, iter([7, 8]))
        error = thread.exception()
        await asyncio.wait([first])
        first.exception()
        return error

    error = asyncio.run(main())
    assert isinstance(error, Full) if overflow == "reject" else error is None


class Notifying(Hooked):
    def _put(self, item):
        assert self.mutex.locked()
        super()._put(item)
        self.not_empty.notify()


def test_a_hook_may_notify_as_the_owner_of_the_mutex():
    q = Notifying()
    q.put(1)
    assert (q.qsize(), q.unfinished_tasks, q.mutex.locked()) == (1, 1, False)


def test_a_kill_from_inside_a_comparison_is_refused_before_anything_has_happened():
    class Item:
        def __lt__(self, other):
            with pytest.raises(RuntimeError, match="from inside the same queue"):
                q.shutdown(immediate=True)
            return False

    q = PriorityQueue()
    q.put(Item())
    q.put(Item())
    assert (q.is_shutdown, q.qsize()) == (False, 2)


def test_a_queue_that_drops_is_still_the_standard_librarys():
    assert isinstance(Queue(1, overflow="drop_oldest"), stdlib.Queue)
    assert (
        str(inspect.signature(Queue)) == "(maxsize=0, *, overflow='block', on_drop=None, weigh=None, max_weight=None, shed=None, "
        "track_latency=False, high=None, low=None, name=None, clock=None)"
    )


def test_the_queue_that_people_write_by_hand():
    """The seed's bounded buffer that keeps the newest: three lines here."""
    recent = Queue(maxsize=100, overflow="drop_oldest")
    for number in range(1000):
        recent.put(number)
    assert recent.get_many(1000) == list(range(900, 1000))


# --- every item is accounted for ----------------------------------------------------------------------------------


@pytest.mark.thread_unsafe(reason="a storm of threads already")
@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
def test_a_storm_under_changing_policies(kind):
    """Threads and tasks put, offer, get, give up and are cancelled while the policy changes: each item arrives, is reported, is refused to
    its putter, or is still inside; never two of these, and never none."""
    log = Log()
    q = getattr(sluicegate, kind)(8, on_drop=log)
    policies = ["block", "reject", "drop_newest", Sample(2), "drop_lowest" if kind == "PriorityQueue" else "drop_oldest"]
    numbers, lock = itertools.count(), threading.Lock()
    stop = threading.Event()
    received, refused = [], []

    def number():
        with lock:
            return next(numbers)

    def put(seed):
        dice, mine = random.Random(seed), []
        while not stop.is_set():
            item = number()
            how = dice.randrange(4)
            try:
                if how == 0:
                    q.put(item, timeout=dice.choice([0, 0.001]))
                elif how == 1:
                    q.put_nowait(item)
                elif how == 2:
                    offered = q.offer(item)
                    if offered.reason == "full":
                        mine.append(item)
                else:
                    q.put(item, ttl=dice.choice([None, 0.0005, 10]))
            except Full:
                mine.append(item)
        return mine

    async def put_tasks(seed):
        dice, mine = random.Random(seed), []

        async def one():
            item = number()
            try:
                await q.put_async(item)
            except (Full, asyncio.CancelledError):
                mine.append(item)

        while not stop.is_set():
            tasks = [asyncio.create_task(one()) for _ in range(8)]
            await asyncio.sleep(0)
            for task in tasks:
                if dice.random() < 0.3:
                    task.cancel()
            await asyncio.wait(tasks)
        return mine

    def get():
        mine = []
        while True:
            try:
                mine.append(q.get())
            except ShutDown:
                return mine
            q.task_done()

    putters = [spawn(put, seed) for seed in range(3)] + [spawn(lambda: asyncio.run(put_tasks(9)))]
    getters = [spawn(get) for _ in range(2)]
    dice = random.Random(5)
    for _ in range(150):
        q.overflow = dice.choice(policies)
        threading.Event().wait(0.002)
    stop.set()
    for putter in putters:
        refused += putter.result()
    q.join(timeout=30)
    q.shutdown()
    for getter in getters:
        received += getter.result()
    reported = [item for item, _ in log]
    assert sorted([*received, *reported, *refused]) == list(range(next(numbers)))
    seen = q.statistics()
    assert (seen.size, seen.unfinished_tasks) == (0, 0)
    counted = seen.dropped_oldest + seen.dropped_newest + seen.dropped_lowest + seen.dropped_sampled + seen.dropped_expired
    assert counted == len(reported)
