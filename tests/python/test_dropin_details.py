"""The 25 details that a replacement for `queue.Queue` gets wrong, one section of tests for each.

Wherever it can be, the standard library is the oracle: the same steps are taken on its class and on ours, and what each step gave
(its value, or the type and text of its exception) must be the same. `Empty`, `Full` and `ShutDown` are compared by name: ours say
more. What the standard library gets wrong, or lacks on older Pythons (`shutdown`), is tested on ours alone.
"""

from __future__ import annotations

import asyncio
import collections
import copy
import gc
import heapq
import inspect
import itertools
import math
import os
import pickle
import queue
import signal
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest import mock

import pytest
from dropin import KINDS, STDLIB_SHUTS_DOWN, compare, outcome
from helpers import on_loops, run_script, wait_until

import sluicegate
from sluicegate.testing import ManualClock


def short(value: Any) -> str:
    """How a parameter is called in the name of its test."""
    text = repr(value)
    return text if len(text) < 40 else f"{text[:10]}..."


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ours(kind: str) -> Any:
    return getattr(sluicegate, kind)


# --- 1. maxsize may be anything that compares with an int -------------------------------------------------

MAXSIZES = [
    *(0, 1, 2, -1, True, False, 10**30, -(10**30)),
    *(0.5, 1.3, 2.0, -0.5, -0.0, math.inf, -math.inf, math.nan),
    *(Fraction(3, 2), Decimal("1.5"), None, "2", [], 1j),
]


@pytest.mark.parametrize("maxsize", MAXSIZES, ids=short)
def test_01_any_maxsize_behaves_as_the_stdlibs(kind: str, maxsize: Any) -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls(maxsize)
        seen: list[Any] = [q.maxsize is maxsize, outcome(q.full)]
        for item in range(4):
            seen += [outcome(q.put_nowait, item), outcome(q.full), q.qsize()]
        seen += [outcome(q.get_nowait), outcome(q.full), outcome(q.put, 9, timeout=0), outcome(q.put, 9, timeout=-1)]
        return seen

    compare(kind, steps)


def test_01_maxsize_none_makes_a_queue_that_cannot_be_put_to(ours: Any) -> None:
    q = ours(None)
    with pytest.raises(TypeError):
        q.put(1)
    assert q.qsize() == 0
    assert q.unfinished_tasks == 0


def test_01_maxsize_is_positional_or_keyword(kind: str) -> None:
    compare(kind, lambda cls: [cls(3).maxsize, cls(maxsize=3).maxsize, cls().maxsize])


# --- 2. maxsize is a plain attribute, read at every put ---------------------------------------------------


@pytest.mark.parametrize("maxsize", MAXSIZES, ids=short)
def test_02_maxsize_assigned_later_counts_at_the_next_put(kind: str, maxsize: Any) -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls(2)
        q.put(1)
        seen: list[Any] = [outcome(setattr, q, "maxsize", maxsize), q.maxsize is maxsize, outcome(q.full)]
        for item in range(3):
            seen += [outcome(q.put_nowait, item), q.qsize()]
        return seen

    compare(kind, steps)


def test_02_shrinking_keeps_what_is_buffered(kind: str) -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls(3)
        for item in (1, 2, 3):
            q.put(item)
        q.maxsize = 1
        seen = [q.qsize(), q.full(), outcome(q.put_nowait, 4)]
        seen += [q.get(), q.get(), q.full(), outcome(q.put_nowait, 4), q.get(), outcome(q.put_nowait, 4)]
        return seen

    compare(kind, steps)


def test_02_growth_wakes_putters(ours: Any, threads: Any) -> None:
    # The standard library leaves them asleep.
    q = ours(1)
    q.put(0)
    putters = [threads(q.put, item) for item in (1, 2)]
    wait_until(lambda: q.statistics().waiting_putters == 2)
    q.maxsize = 3
    for putter in putters:
        putter.result()
    assert sorted(q.get() for _ in range(3)) == [0, 1, 2]


def test_02_maxsize_zero_lets_every_putter_in(ours: Any, threads: Any) -> None:
    q = ours(1)
    q.put(0)
    putters = [threads(q.put, item, True, 25.0) for item in range(1, 5)]
    wait_until(lambda: q.statistics().waiting_putters == 4)
    q.maxsize = 0
    for putter in putters:
        putter.result()
    assert q.qsize() == 5


# --- 3. a timeout is checked only if it would be looked at; shutdown, then block, then timeout ------------

BLOCKS = [True, False, 1, 0, "yes", "", None]
TIMEOUTS: list[Any] = [None, 0, 0.0, -0.0, 0.001, Fraction(1, 1000), False, -1, -0.5, -math.inf]
ODD_TIMEOUTS: list[Any] = ["1", [], 1j, math.inf, 1e20, 10**400, -(10**400)]


def fill(cls: Any, state: str) -> Any:
    q = cls(0 if state == "unbounded" else 1)
    if state in ("unbounded", "full"):
        q.put(0)
    return q


def waits_for_ever(operation: str, state: str, block: Any, timeout: Any) -> bool:
    waits = state == ("full" if operation == "put" else "empty")
    return waits and bool(block) and timeout is None


@pytest.mark.parametrize("timeout", TIMEOUTS + ODD_TIMEOUTS, ids=short)
@pytest.mark.parametrize("state", ["empty", "full", "unbounded"])
@pytest.mark.parametrize("operation", ["put", "get"])
def test_03_timeouts_are_checked_when_the_stdlib_checks_them(kind: str, operation: str, state: str, timeout: Any) -> None:
    def steps(cls: Any) -> list[Any]:
        seen: list[Any] = []
        for block in BLOCKS:
            if waits_for_ever(operation, state, block, timeout):
                continue
            q = fill(cls, state)
            item = ("item",) if operation == "put" and kind != "PriorityQueue" else (1,) if operation == "put" else ()
            seen.append((block, outcome(getattr(q, operation), *item, block, timeout), q.qsize(), q.unfinished_tasks))
        return seen

    compare(kind, steps)


@pytest.mark.parametrize("timeout", TIMEOUTS + ODD_TIMEOUTS, ids=short)
def test_03_shutdown_comes_before_block_and_timeout(ours: Any, timeout: Any) -> None:
    for state in ("empty", "full", "unbounded"):
        for block in BLOCKS:
            q = fill(ours, state)
            q.shutdown()
            assert outcome(q.put, 1, block, timeout) == "ShutDown!"
            if state == "empty":
                assert outcome(q.get, block, timeout) == "ShutDown!"


@pytest.mark.skipif(not STDLIB_SHUTS_DOWN, reason="the standard library's queues have no shutdown before 3.13")
@pytest.mark.parametrize("timeout", TIMEOUTS + ODD_TIMEOUTS, ids=short)
def test_03_a_timeout_after_shutdown_is_checked_as_before(kind: str, timeout: Any) -> None:
    def steps(cls: Any) -> list[Any]:
        seen = []
        for block in BLOCKS:
            q = fill(cls, "full")
            q.shutdown()
            seen.append((block, outcome(q.get, block, timeout), q.qsize(), outcome(q.get, block, timeout)))
        return seen

    compare(kind, steps)


# The C one knows no Fraction, and finds some negative numbers too large before it finds them negative.
SIMPLE_TIMEOUTS = [t for t in TIMEOUTS + ODD_TIMEOUTS if t not in (Fraction(1, 1000), -math.inf, -(10**400))]


@pytest.mark.parametrize("timeout", [*SIMPLE_TIMEOUTS, math.nan], ids=short)
def test_03_simple_queue_checks_timeouts_as_the_c_one_does(timeout: Any) -> None:
    def steps(cls: Any) -> list[Any]:
        seen: list[Any] = []
        for block in BLOCKS:
            for items in (0, 1):
                if waits_for_ever("get", "full" if items else "empty", block, timeout):
                    continue
                q = cls()
                if items:
                    q.put("item")
                # The texts come from C, and differ between Pythons.
                seen.append((block, str(outcome(q.get, block, timeout)).split(":")[0], q.qsize()))
        return seen

    compare("SimpleQueue", steps)


@pytest.mark.parametrize("timeout", [*TIMEOUTS, *ODD_TIMEOUTS, math.nan], ids=short)
def test_03_simple_queue_put_ignores_block_and_timeout(timeout: Any) -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls()
        seen = [outcome(q.put, "a", block, timeout) for block in BLOCKS]
        return [*seen, outcome(q.put, "b", timeout=timeout), outcome(q.put, block=0, item="c"), q.qsize()]

    compare("SimpleQueue", steps)


def test_03_block_is_asked_for_its_truth_only_when_it_is_looked_at(kind: str) -> None:
    class Unsure:
        def __bool__(self) -> bool:
            raise ZeroDivisionError("asked")

    def steps(cls: Any) -> list[Any]:
        unbounded, bounded, empty = cls(), cls(1), cls()
        bounded.put(1)
        return [
            outcome(unbounded.put, 1, Unsure()),  # never looked at
            outcome(bounded.put, 2, Unsure()),
            outcome(bounded.get, Unsure()),
            outcome(empty.get, Unsure()),
            bounded.qsize(),
        ]

    compare(kind, steps)


# --- 4. odd timeouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [math.inf, 1e20])
def test_04_a_timeout_too_long_for_the_clock_is_an_overflow_only_if_it_must_wait(kind: str, timeout: float) -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls(1)
        seen = [outcome(q.put, 1, timeout=timeout), outcome(q.put, 2, timeout=timeout), q.qsize()]
        return [*seen, outcome(q.get, timeout=timeout), outcome(q.get, timeout=timeout), q.unfinished_tasks]

    assert compare(kind, steps) == [None, "OverflowError!", 1, 1, "OverflowError!", 1]


def test_04_nan_is_refused(ours: Any) -> None:
    # queue.Queue.get(timeout=nan) spins at 100 % CPU for ever.
    q = ours(1)
    with pytest.raises(ValueError, match="timeout"):
        q.get(timeout=math.nan)
    q.put(1)
    with pytest.raises(ValueError, match="timeout"):
        q.put(2, timeout=math.nan)
    assert q.qsize() == 1
    assert q.unfinished_tasks == 1


@pytest.mark.parametrize("timeout", ["1", [], 1j, object()], ids=lambda value: type(value).__name__)
def test_04_a_timeout_of_the_wrong_type_is_a_type_error(ours: Any, timeout: Any) -> None:
    q = ours(1)
    with pytest.raises(TypeError):
        q.get(timeout=timeout)
    q.put(1)
    with pytest.raises(TypeError):
        q.put(2, timeout=timeout)
    assert q.qsize() == 1


# --- 5. the exceptions are the standard library's ---------------------------------------------------------


def test_05_each_exception_is_both_modules(ours: Any) -> None:
    assert issubclass(sluicegate.Empty, (queue.Empty,))
    assert issubclass(sluicegate.Empty, (asyncio.QueueEmpty,))
    assert issubclass(sluicegate.Full, (queue.Full,))
    assert issubclass(sluicegate.Full, (asyncio.QueueFull,))
    assert issubclass(sluicegate.ShutDown, Exception)
    if STDLIB_SHUTS_DOWN:
        assert issubclass(sluicegate.ShutDown, (queue.ShutDown,))
        assert issubclass(sluicegate.ShutDown, (asyncio.QueueShutDown,))
    for one, other in itertools.permutations((sluicegate.Empty, sluicegate.Full, sluicegate.ShutDown), 2):
        assert not issubclass(one, other)
    assert not any(issubclass(e, OSError) for e in (sluicegate.Empty, sluicegate.Full, sluicegate.ShutDown))


@pytest.mark.parametrize("module", [queue, sluicegate])
def test_05_empty_and_full_are_caught_by_either_name(ours: Any, module: Any) -> None:
    q = ours(1)
    for get in (q.get_nowait, lambda: q.get(False), lambda: q.get(timeout=0)):
        with pytest.raises(module.Empty):
            get()
        with pytest.raises(asyncio.QueueEmpty):
            get()
    q.put(1)
    for put in (q.put_nowait, lambda item: q.put(item, False), lambda item: q.put(item, timeout=0)):
        with pytest.raises(module.Full):
            put(2)
        with pytest.raises(asyncio.QueueFull):
            put(2)


def test_05_simple_queues_empty_is_the_same() -> None:
    for get in (sluicegate.SimpleQueue().get_nowait, lambda: sluicegate.SimpleQueue().get(timeout=0)):
        with pytest.raises(queue.Empty):
            get()
        with pytest.raises(asyncio.QueueEmpty):
            get()


def test_05_the_exceptions_can_be_pickled() -> None:
    # They cross processes as results of pools.
    for exception in (sluicegate.Empty, sluicegate.Full, sluicegate.ShutDown):
        again = pickle.loads(pickle.dumps(exception("why")))
        assert type(again) is exception
        assert again.args == ("why",)


# --- 6. attributes people poke at -------------------------------------------------------------------------


def test_06_queue_shows_what_is_buffered_in_the_stdlibs_container(kind: str) -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls()
        seen: list[Any] = []
        for item in (5, 3, 8, 1, 4, 1, 9):
            q.put(item)
            seen.append((q.queue.__class__, list(q.queue), q.queue[0], q.queue[-1], len(q.queue)))
        while not q.empty():
            q.get()
            seen.append(list(q.queue))
        return seen

    compare(kind, steps)


def test_06_queue_can_be_changed_by_hand(kind: str) -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls()
        q.put(1)
        items = q.queue
        q.put(2)
        seen = [len(items), list(items)]
        items.clear()
        seen += [q.qsize(), q.unfinished_tasks, outcome(q.get_nowait)]
        items.append(3)
        return [*seen, q.get_nowait(), q.unfinished_tasks]

    compare(kind, steps)


def test_06_unfinished_tasks_is_counted_and_may_be_assigned(kind: str) -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls()
        for item in range(3):
            q.put(item)
        seen = [q.unfinished_tasks]
        q.get()
        q.task_done()
        seen.append(q.unfinished_tasks)
        q.unfinished_tasks = 1
        seen += [outcome(q.task_done), q.unfinished_tasks, outcome(q.join), outcome(q.task_done)]
        q.unfinished_tasks = 0
        seen += [outcome(q.join), q.qsize(), q.get(), q.unfinished_tasks, outcome(q.task_done)]
        return seen

    compare(kind, steps)


def test_06_unfinished_tasks_set_to_zero_lets_joiners_go(ours: Any, threads: Any) -> None:
    q = ours()
    q.put(1)
    joiner = threads(q.join)
    wait_until(lambda: q.statistics().waiting_joiners == 1)
    q.unfinished_tasks = 0
    joiner.result()


@pytest.mark.parametrize("immediate", [1, "yes", [0], 0, None, ""])
def test_06_immediate_is_anything_that_is_true(ours: Any, immediate: Any) -> None:
    q = ours()
    q.put("x")
    q.shutdown(immediate)
    assert q.qsize() == (0 if immediate else 1)


def test_06_is_shutdown(ours: Any) -> None:
    q = ours()
    assert q.is_shutdown is False
    q.shutdown()
    assert q.is_shutdown is True


def test_06_the_dummy_connections_idiom_works(ours: Any, threads: Any) -> None:
    # multiprocessing.dummy.connection.Connection.poll, word for word.
    q = ours()

    def poll(timeout: float) -> bool:
        if q.qsize() > 0:
            return True
        if timeout <= 0.0:
            return False
        with q.not_empty:
            q.not_empty.wait(timeout)
        return q.qsize() > 0

    assert poll(0.0) is False
    assert poll(0.01) is False
    waiting = threads(poll, 25.0)
    wait_until(lambda: q.statistics().waiting_getters == 1)
    q.put("item")
    assert waiting.result() is True
    assert q.get_nowait() == "item"


def test_06_not_empty_waits_and_takes_nothing(ours: Any, threads: Any) -> None:
    q = ours()
    with q.not_empty as condition:
        assert not q.not_empty.wait(0.001)
        assert condition
    waiting = threads(lambda: q.not_empty.__enter__() and (q.not_empty.wait(), q.not_empty.__exit__(None, None, None))[0])
    wait_until(lambda: q.statistics().waiting_getters == 1)
    q.put(1)
    assert waiting.result() is True
    assert q.qsize() == 1
    with q.not_empty:
        assert not q.not_empty.wait(0), "it waits for the next put, as a condition does"


def test_06_not_full_waits_and_puts_nothing(ours: Any, threads: Any) -> None:
    q = ours(1)
    q.put(1)
    with q.not_full:
        assert not q.not_full.wait(0.001)
    waiting = threads(lambda: q.not_full.__enter__() and (q.not_full.wait(), q.not_full.__exit__(None, None, None))[0])
    wait_until(lambda: q.statistics().waiting_putters == 1)
    q.get()
    assert waiting.result() is True
    assert q.qsize() == 0


def test_06_join_with_a_timeout_by_the_old_recipe(ours: Any, threads: Any) -> None:
    q = ours()
    q.put(1)

    def join_with_timeout(timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        with q.all_tasks_done:
            while q.unfinished_tasks:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                q.all_tasks_done.wait(remaining)
        return True

    assert join_with_timeout(0.01) is False
    joiner = threads(join_with_timeout, 25.0)
    wait_until(lambda: q.statistics().waiting_joiners == 1)
    q.get()
    q.task_done()
    assert joiner.result() is True


def test_06_attributes_of_ones_own(ours: Any) -> None:
    # queue.Queue's instances have a __dict__; SimpleQueue's have none.
    q = ours()
    q.label = "mine"
    assert q.label == "mine"
    with mock.patch.object(q, "get", return_value="mocked"):
        assert q.get() == "mocked"
    q.put(1)
    assert q.get() == 1


# --- 7. subclass hooks ------------------------------------------------------------------------------------


def drive(cls: Any) -> list[Any]:
    q = cls(3)
    seen: list[Any] = []
    for item in (5, 3, 5, 1, 4):
        seen += [outcome(q.put_nowait, item), q.qsize(), q.full(), q.unfinished_tasks]
    for _ in range(5):
        seen += [outcome(q.get_nowait), q.qsize(), q.empty(), outcome(q.task_done)]
    return seen


def test_07_a_queue_of_unique_items(kind: str) -> None:
    def define(base: Any) -> Any:
        class Unique(base):
            def _init(self, maxsize: int) -> None:
                self.queue = set()

            def _put(self, item: Any) -> None:
                self.queue.add(item)

            def _get(self) -> Any:
                return self.queue.pop()

            def _qsize(self) -> int:
                return len(self.queue)

        return Unique

    compare(kind, drive, define)


def test_07_a_default_qsize_counts_whatever_queue_is() -> None:
    def define(base: Any) -> Any:
        class Ordered(base):
            def _init(self, maxsize: int) -> None:
                self.queue = collections.OrderedDict()

            def _put(self, item: Any) -> None:
                self.queue[item] = None

            def _get(self) -> Any:
                return self.queue.popitem(last=False)[0]

        return Ordered

    compare("Queue", drive, define)


def test_07_one_hook_that_reaches_into_queue() -> None:
    def lifo(base: Any) -> Any:
        class Stack(base):
            def _get(self) -> Any:
                return self.queue.pop()

        return Stack

    def urgent(base: Any) -> Any:
        class Urgent(base):
            def _put(self, item: Any) -> None:
                if item == 1:
                    self.queue.appendleft(item)
                else:
                    self.queue.append(item)

        return Urgent

    def by_hand(base: Any) -> Any:
        class Heap(base):
            def _init(self, maxsize: int) -> None:
                self.queue = []

            def _put(self, item: Any) -> None:
                heapq.heappush(self.queue, -item)

            def _get(self) -> Any:
                return -heapq.heappop(self.queue)

        return Heap

    for define in (lifo, urgent, by_hand):
        compare("Queue", drive, define)


def test_07_a_stable_priority_queue() -> None:
    def define(base: Any) -> Any:
        class Stable(base):
            def _init(self, maxsize: int) -> None:
                super()._init(maxsize)
                self.counter = itertools.count()

            def _put(self, item: Any) -> None:
                priority, payload = item
                super()._put((priority, next(self.counter), payload))

            def _get(self) -> Any:
                priority, _, payload = super()._get()
                return priority, payload

        return Stable

    def steps(cls: Any) -> list[Any]:
        q = cls()
        for n, priority in enumerate((2, 1, 2, 1, 0)):
            q.put((priority, {"n": n}))  # dicts do not compare
        return [list(q.queue)] + [q.get() for _ in range(5)] + [q.qsize()]

    compare("PriorityQueue", steps, define)


def test_07_hooks_by_way_of_super(kind: str) -> None:
    def define(base: Any) -> Any:
        class Counting(base):
            def _init(self, maxsize: int) -> None:
                self.calls = ["init", maxsize, self.maxsize]
                super()._init(maxsize)

            def _qsize(self) -> int:
                return super()._qsize()

            def _put(self, item: Any) -> None:
                self.calls.append(("put", item))
                base._put(self, item)

            def _get(self) -> Any:
                self.calls.append("get")
                return super()._get()

        return Counting

    def steps(cls: Any) -> list[Any]:
        q = cls(2)
        seen = [outcome(q.put, item, timeout=0) for item in (2, 1, 3)] + [outcome(q.get, timeout=0) for _ in range(3)]
        return [*seen, q.calls]

    compare(kind, steps, define)


def test_07_a_queue_that_weighs(kind: str) -> None:
    def define(base: Any) -> Any:
        class Weighing(base):
            def _init(self, maxsize: int) -> None:
                super()._init(maxsize)
                self.weight = 0

            def _qsize(self) -> int:
                return self.weight

            def _put(self, item: Any) -> None:
                super()._put(item)
                self.weight += len(item)

            def _get(self) -> Any:
                item = super()._get()
                self.weight -= len(item)
                return item

        return Weighing

    def steps(cls: Any) -> list[Any]:
        q = cls(5)
        seen = [(outcome(q.put_nowait, item), q.qsize(), q.full()) for item in ("aaaa", "bb", "c")]
        return seen + [(outcome(q.get_nowait), q.qsize(), q.empty()) for _ in range(3)]

    compare(kind, steps, define)


@pytest.mark.parametrize("hook", ["_put", "_get", "_qsize", "_init"])
def test_07_a_hook_that_fails_leaves_what_the_stdlib_leaves(kind: str, hook: str) -> None:
    def define(base: Any) -> Any:
        def failing(self: Any, *args: Any) -> Any:
            if cls.fail:
                raise ZeroDivisionError(hook)
            return getattr(base, hook)(self, *args)

        cls = type(base.__name__, (base,), {"fail": False, hook: failing})
        return cls

    def steps(cls: Any) -> list[Any]:
        q = cls(3)
        q.put(2)
        cls.fail = True
        seen = [outcome(cls, 1) if hook == "_init" else None]
        seen += [outcome(q.put, 1), outcome(q.put_nowait, 1), outcome(q.put, 1, timeout=0.05), outcome(q.qsize)]
        seen += [outcome(q.get), outcome(q.get_nowait), outcome(q.full), outcome(q.empty)]
        if hook == "_qsize":  # otherwise what is left depends on how far each went, and is compared below
            seen.append(outcome(q.get, False))
        cls.fail = False
        seen += [q.qsize(), q.unfinished_tasks]
        return seen + [outcome(q.put_nowait, item) for item in (7, 8, 9)] + [outcome(q.get_nowait) for _ in range(4)]

    compare(kind, steps, define)


def test_07_a_failing_hook_lets_go_of_the_queue(ours: Any, threads: Any) -> None:
    class Failing(ours):
        fail = True

        def _put(self, item: Any) -> None:
            if self.fail:
                raise ZeroDivisionError
            super()._put(item)

    q = Failing()
    with pytest.raises(ZeroDivisionError):
        q.put(1)
    assert q.unfinished_tasks == 0
    q.fail = False
    threads(q.put, 2).result()
    assert q.get(timeout=0) == 2


def test_07_one_thread_at_a_time_is_in_a_hook(ours: Any, threads: Any) -> None:
    class Guarded(ours):
        def _init(self, maxsize: int) -> None:
            self.inside = 0
            self.overlaps = 0
            super()._init(maxsize)

        def _enter(self) -> None:
            self.inside += 1
            if self.inside > 1:
                self.overlaps += 1
            time.sleep(0)  # an invitation to the other threads
            self.inside -= 1

        def _put(self, item: Any) -> None:
            self._enter()
            super()._put(item)

        def _get(self) -> Any:
            self._enter()
            return super()._get()

    q = Guarded(2)
    putters = [threads(lambda: [q.put(n) for n in range(200)]) for _ in range(3)]
    getters = [threads(lambda: [q.get() for _ in range(200)]) for _ in range(3)]
    for putter in putters:
        putter.result()
    got = sorted(item for getter in getters for item in getter.result())
    assert got == sorted(list(range(200)) * 3)
    assert q.overlaps == 0


def test_07_a_subclass_with_an_init_of_its_own(kind: str) -> None:
    def define(base: Any) -> Any:
        class Named(base):
            def __init__(self, title: str, *args: Any, color: str = "red", **kwargs: Any) -> None:
                self.title = title
                super().__init__(*args, **kwargs)
                self.color = color

        return Named

    def steps(cls: Any) -> list[Any]:
        q = cls("T", 1, color="blue")
        r = cls("U", maxsize=2)
        return [q.title, q.color, q.maxsize, outcome(q.put_nowait, 1), outcome(q.put_nowait, 1), r.maxsize, r.color]

    compare(kind, steps, define)


# --- 8. shutdown ------------------------------------------------------------------------------------------


def shutdown_steps(cls: Any) -> list[Any]:
    seen: list[Any] = []
    for first, second in itertools.product(([], [False], [True]), repeat=2):
        for items, taken, maxsize in itertools.product((0, 1, 2), (0, 1), (0, 2)):
            q = cls(maxsize)
            for item in range(items):
                q.put(item)
            for _ in range(min(taken, items)):
                q.get()
            for immediate in first + second:
                seen.append(outcome(q.shutdown, immediate))
            seen += [q.is_shutdown, q.qsize(), q.empty(), q.full(), q.unfinished_tasks]
            seen += [outcome(q.put, 5, timeout=0), outcome(q.put_nowait, 5), outcome(q.get, timeout=0)]
            seen += [outcome(q.get_nowait), outcome(q.get_nowait), q.qsize(), q.unfinished_tasks]
            seen += [outcome(q.task_done) for _ in range(4)] + [outcome(q.join)]
    return seen


@pytest.mark.skipif(not STDLIB_SHUTS_DOWN, reason="the standard library's queues have no shutdown before 3.13")
def test_08_shutdown_is_the_stdlibs(kind: str) -> None:
    compare(kind, shutdown_steps)


def test_08_a_graceful_shutdown_lets_what_is_buffered_be_taken(ours: Any) -> None:
    q = ours(2)
    q.put(1)
    q.put(2)
    q.shutdown()
    assert outcome(q.put, 3) == "ShutDown!"  # full, and yet not Full
    assert outcome(q.put_nowait, 3) == "ShutDown!"
    assert sorted([q.get(), q.get_nowait()]) == [1, 2]
    assert outcome(q.get) == "ShutDown!"
    assert outcome(q.get_nowait) == "ShutDown!"  # empty, and yet not Empty
    assert q.unfinished_tasks == 2
    q.task_done()
    q.task_done()
    q.join()


def test_08_an_immediate_shutdown_drops_what_is_buffered_and_counts_it_as_done(ours: Any) -> None:
    q = ours()
    for item in (1, 2, 3):
        q.put(item)
    q.get()
    q.shutdown(immediate=True)
    assert (q.qsize(), q.unfinished_tasks) == (0, 1)
    assert outcome(q.get_nowait) == "ShutDown!"
    q.task_done()  # still legal for what was taken
    q.join()
    assert outcome(q.task_done) == "ValueError: task_done() called too many times"


def test_08_unfinished_is_clipped_at_zero(ours: Any) -> None:
    q = ours()
    q.put(1)
    q.put(2)
    q.task_done()  # says so of an item nobody took
    q.shutdown(immediate=True)
    assert q.unfinished_tasks == 0
    q.join()


def test_08_shutdown_may_be_repeated_and_made_immediate(ours: Any) -> None:
    q = ours()
    q.put(1)
    q.shutdown()
    q.shutdown(False)
    assert q.qsize() == 1
    q.shutdown(True)
    assert q.qsize() == 0
    q.shutdown(immediate=False)
    assert q.is_shutdown


@pytest.mark.parametrize("immediate", [False, True])
def test_08_everybody_who_waits_is_woken(ours: Any, threads: Any, immediate: bool) -> None:
    q = ours(1)
    getters = [threads(outcome, q.get, True, timeout) for timeout in (None, 25.0)]
    wait_until(lambda: q.statistics().waiting_getters == 2)
    q.shutdown(immediate)
    assert [getter.result() for getter in getters] == ["ShutDown!"] * 2

    q = ours(1)
    q.put(0)
    putters = [threads(outcome, q.put, 1, True, timeout) for timeout in (None, 25.0)]
    joiner = threads(q.join)
    wait_until(lambda: q.statistics().waiting_putters == 2 and q.statistics().waiting_joiners == 1)
    q.shutdown(immediate)
    assert [putter.result() for putter in putters] == ["ShutDown!"] * 2
    if not immediate:
        assert joiner.is_alive()
        q.get()
        q.task_done()
    joiner.result()


def test_08_an_immediate_shutdown_drains_by_the_hook(ours: Any) -> None:
    class Watched(ours):
        drained: list[Any]

        def _get(self) -> Any:
            item = super()._get()
            self.drained.append(item)
            return item

    q = Watched()
    q.drained = []
    for item in (1, 2, 3):
        q.put(item)
    q.shutdown(immediate=True)
    assert sorted(q.drained) == [1, 2, 3]


# --- 9. task_done and join --------------------------------------------------------------------------------


def test_09_task_done_too_often(kind: str) -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls()
        seen = [outcome(q.task_done), q.unfinished_tasks]
        q.put(1)
        return [*seen, outcome(q.task_done), outcome(q.task_done), q.unfinished_tasks, q.qsize()]

    assert compare(kind, steps)[0] == "ValueError: task_done() called too many times"


def test_09_every_joiner_goes_when_nothing_is_unfinished(ours: Any, threads: Any) -> None:
    q = ours()
    q.put(1)
    q.put(2)
    joiners = [threads(q.join) for _ in range(3)]
    wait_until(lambda: q.statistics().waiting_joiners == 3)
    q.task_done()
    assert all(joiner.is_alive() for joiner in joiners)
    q.task_done()
    for joiner in joiners:
        joiner.result()


def test_09_join_with_a_timeout(ours: Any) -> None:
    q = ours()
    q.join(timeout=0)
    q.put(1)
    with pytest.raises(TimeoutError):
        q.join(timeout=0.001)
    q.task_done()
    q.join(timeout=0.001)


# --- 10. a put wakes a getter, for each item one ----------------------------------------------------------


def test_10_no_getter_sleeps_beside_an_item(ours: Any, threads: Any) -> None:
    q = ours()
    for _ in range(20):
        getters = [threads(q.get) for _ in range(4)]
        wait_until(lambda: q.statistics().waiting_getters == 4)
        for item in range(4):
            q.put(item)
        assert sorted(getter.result() for getter in getters) == [0, 1, 2, 3]


def test_10_no_putter_sleeps_beside_room(ours: Any, threads: Any) -> None:
    q = ours(1)
    q.put(-1)
    putters = [threads(q.put, item) for item in range(4)]
    wait_until(lambda: q.statistics().waiting_putters == 4)
    assert sorted(q.get() for _ in range(5)) == [-1, 0, 1, 2, 3]
    for putter in putters:
        putter.result()


# --- 11. a wake-up given to somebody who has left goes to the next ----------------------------------------


@on_loops
async def test_11_a_cancelled_getter_passes_the_item_on(ours: Any) -> None:
    q = ours()
    first, second = (asyncio.ensure_future(q.get_async()) for _ in range(2))
    await asyncio.sleep(0)
    q.put("item")  # wakes the first
    first.cancel()
    assert await second == "item"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert q.qsize() == 0


@on_loops
async def test_11_a_cancelled_getters_wakeup_reaches_a_thread(ours: Any, threads: Any) -> None:
    q = ours()
    task = asyncio.ensure_future(q.get_async())
    await asyncio.sleep(0)
    thread = threads(q.get)
    wait_until(lambda: q.statistics().waiting_getters == 2)
    q.put("item")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert thread.result() == "item"


@on_loops
async def test_11_a_cancelled_putter_passes_the_room_on(ours: Any) -> None:
    q = ours(1)
    q.put(0)
    first, second = (asyncio.ensure_future(q.put_async(item)) for item in (1, 2))
    await asyncio.sleep(0)
    assert q.get_nowait() == 0
    first.cancel()
    await second
    assert [q.get_nowait(), outcome(q.get_nowait)] == [2, "Empty!"]
    assert q.unfinished_tasks == 2


# --- 12. asyncio ------------------------------------------------------------------------------------------


def test_12_made_outside_a_loop_used_on_several(ours: Any, loop_factory: Any) -> None:
    q = ours()

    async def put_and_get(item: int) -> int:
        getter = asyncio.ensure_future(q.get_async())
        await asyncio.sleep(0)
        await q.put_async(item)
        return await getter

    for item in (1, 2):
        loop = loop_factory()
        assert loop.run_until_complete(put_and_get(item)) == item
        loop.close()


def test_12_a_getter_on_a_closed_loop_is_skipped(ours: Any, loop_factory: Any, threads: Any) -> None:
    q = ours()
    loop = loop_factory()

    async def start() -> Any:
        task = asyncio.ensure_future(q.get_async())
        await asyncio.sleep(0)
        return task

    task = loop.run_until_complete(start())
    thread = threads(q.get)
    wait_until(lambda: q.statistics().waiting_getters == 2)
    loop.close()
    q.put("item")  # the first waiter cannot come any more
    assert thread.result() == "item"
    task._log_destroy_pending = False  # as it should be: nobody can finish it


# --- 13. Ctrl-C -------------------------------------------------------------------------------------------


def alarm_after(seconds: float, handler: Callable[[int, Any], Any]) -> Any:
    """Run the handler once, in the main thread, some time into the block."""

    class Alarm:
        def __enter__(self) -> None:
            self.before = signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, seconds)

        def __exit__(self, *error: object) -> None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self.before)

    return Alarm()


main_thread_only = pytest.mark.thread_unsafe(reason="signals go to the main thread")
needs_alarm = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers on this system")


@main_thread_only
@needs_alarm
@pytest.mark.parametrize("call", ["get", "get with timeout", "put", "join"])
def test_13_a_signal_handler_that_raises_ends_the_wait(ours: Any, call: str) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    q = ours(1)
    if call in ("put", "join"):
        q.put(0)
    calls = {
        "get": q.get,
        "get with timeout": lambda: q.get(timeout=25.0),
        "put": lambda: q.put(1),
        "join": q.join,
    }
    before = q.qsize(), q.unfinished_tasks
    with pytest.raises(KeyboardInterrupt), alarm_after(0.05, interrupt):
        calls[call]()
    assert (q.qsize(), q.unfinished_tasks) == before
    assert q.statistics().waiting_getters == q.statistics().waiting_putters == 0


@main_thread_only
@needs_alarm
def test_13_a_signal_handler_that_returns_lets_the_wait_go_on(ours: Any) -> None:
    q = ours()
    with alarm_after(0.05, lambda *args: q.put("from the handler")):
        assert q.get(timeout=25.0) == "from the handler"
    seen: list[int] = []
    with alarm_after(0.02, lambda number, frame: seen.append(number)):
        assert outcome(q.get, timeout=0.2) == "Empty!"
    assert seen == [signal.SIGALRM]


# --- 14. reentrancy ---------------------------------------------------------------------------------------


class Talker:
    """Puts on the queue when it is finalised."""

    def __init__(self, q: Any, says: Any) -> None:
        self.q = q
        self.says = says

    def __del__(self) -> None:
        self.q.put(self.says)


@pytest.mark.parametrize("name", ["Queue", "LifoQueue", "SimpleQueue"])
def test_14_items_that_put_when_they_are_dropped(name: str) -> None:
    q = getattr(sluicegate, name)()
    for n in range(3):
        q.put(Talker(q, n))
    assert q.clear() == 3
    assert sorted(q.get_nowait() for _ in range(3)) == [0, 1, 2]
    assert q.empty()


@pytest.mark.parametrize("name", ["Queue", "LifoQueue"])
def test_14_items_that_put_when_a_shutdown_drops_them(name: str) -> None:
    q = getattr(sluicegate, name)()
    refused: list[Any] = []

    class Refused(Talker):
        def __del__(self) -> None:
            refused.append(outcome(self.q.put, self.says))

    q.put(Refused(q, 1))
    q.put(Refused(q, 2))
    q.shutdown(immediate=True)
    gc.collect()
    assert refused == ["ShutDown!"] * 2
    assert q.qsize() == 0


@main_thread_only
@needs_alarm
def test_14_puts_from_a_signal_handler_at_any_moment(ours: Any) -> None:
    q = ours()
    puts = itertools.count()
    before = signal.signal(signal.SIGALRM, lambda *args: q.put(next(puts)))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        sent = 0
        got = 0
        while next(puts) < 400:
            q.put(-1)
            sent += 1
            q.get()
            got += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    stats = q.statistics()
    assert stats.gets == got
    assert q.qsize() == stats.puts - got


# --- 15. garbage collection -------------------------------------------------------------------------------


@pytest.mark.thread_unsafe(reason="collects for the whole process")
@pytest.mark.parametrize("name", [*KINDS, "SimpleQueue"])
def test_15_a_cycle_through_an_item_is_collected(name: str) -> None:
    class Node:
        def __init__(self) -> None:
            self.me = self

    q = getattr(sluicegate, name)()
    node = Node()
    node.q = q
    q.put(node)
    gone = weakref.ref(node), weakref.ref(q)
    del node, q
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


@pytest.mark.parametrize("name", [*KINDS, "SimpleQueue"])
def test_15_a_queue_lets_go_of_an_item_as_soon_as_it_is_taken(name: str) -> None:
    class Item:
        def __lt__(self, other: Any) -> bool:
            return False

    q = getattr(sluicegate, name)()
    for _ in range(20):
        q.put(Item())
    for _ in range(20):
        ref = weakref.ref(q.get())
        assert ref() is None


@pytest.mark.parametrize("name", [*KINDS, "SimpleQueue"])
def test_15_generic_and_weakly_referenceable(name: str) -> None:
    cls = getattr(sluicegate, name)
    alias = cls[int]
    assert alias.__origin__ is cls
    assert alias.__args__ == (int,)
    assert isinstance(alias, types.GenericAlias)
    assert type(alias()) is cls
    q = cls()
    assert weakref.ref(q)() is q


# --- 16. who asks what kind of queue it is: test_dropin_types.py, test_dropin_logging.py, test_dropin_futures.py


def test_16_a_queue_is_a_queue(kind: str) -> None:
    q = getattr(sluicegate, kind)()
    assert isinstance(q, queue.Queue)
    assert isinstance(q, getattr(queue, kind))


# --- 17. put_nowait calls put, get_nowait calls get; arguments have names ---------------------------------


def test_17_put_nowait_and_get_nowait_go_through_an_overridden_put_and_get(kind: str) -> None:
    def define(base: Any) -> Any:
        class Tracing(base):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.calls: list[Any] = []

            def put(self, *args: Any, **kwargs: Any) -> Any:
                self.calls.append(("put", args, kwargs))
                return super().put(*args, **kwargs)

            def get(self, *args: Any, **kwargs: Any) -> Any:
                self.calls.append(("get", args, kwargs))
                return super().get(*args, **kwargs)

        return Tracing

    def steps(cls: Any) -> list[Any]:
        q = cls(1)
        seen = [outcome(q.put_nowait, 1), outcome(q.put_nowait, 2), outcome(q.get_nowait), outcome(q.get_nowait)]
        return [*seen, q.calls]

    found = compare(kind, steps, define)
    assert found[-1] == [
        ("put", (1,), {"block": False}),
        ("put", (2,), {"block": False}),
        ("get", (), {"block": False}),
        ("get", (), {"block": False}),
    ]


@pytest.mark.parametrize("name", [*KINDS, "SimpleQueue"])
def test_17_every_way_to_pass_the_arguments(name: str) -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls()
        seen = [
            outcome(q.put, 1),
            outcome(q.put, item=2),
            outcome(q.put, 3, True),
            outcome(q.put, 4, False, None),
            outcome(q.put, 5, True, timeout=1),
            outcome(q.put, timeout=0, block=True, item=6),
            outcome(q.put_nowait, 7),
            outcome(q.put_nowait, item=8),
            outcome(q.get),
            outcome(q.get, True),
            outcome(q.get, False),
            outcome(q.get, True, 1),
            outcome(q.get, True, timeout=1),
            outcome(q.get, block=True, timeout=1.0),
            outcome(q.get, timeout=0),
            outcome(q.get_nowait),
            outcome(q.get_nowait),
            q.qsize(),
        ]
        return seen

    compare(name, steps)


WRONG_CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("put", (), {}),
    ("put", (), {"block": True}),
    ("put", (1, True, None, 4), {}),
    ("put", (1,), {"item": 1}),
    ("put", (1, True), {"block": True}),
    ("put", (1,), {"wait": True}),
    ("get", (1, 2, 3), {}),
    ("get", (True,), {"block": True}),
    ("get", (), {"wait": True}),
    ("put_nowait", (), {}),
    ("put_nowait", (1, 2), {}),
    ("put_nowait", (1,), {"block": False}),
    ("get_nowait", (1,), {}),
    ("get_nowait", (), {"block": False}),
    ("qsize", (1,), {}),
    ("empty", (1,), {}),
]


@pytest.mark.parametrize("name", [*KINDS, "SimpleQueue"])
@pytest.mark.parametrize("method, args, kwargs", WRONG_CALLS)
def test_17_wrong_calls_are_type_errors(name: str, method: str, args: Any, kwargs: Any) -> None:
    for module in (queue, sluicegate):
        if module is queue and (name, method) == ("SimpleQueue", "get_nowait"):
            continue  # 3.11's takes keywords, and ignores them
        q = getattr(module, name)()
        with pytest.raises(TypeError) as caught:
            getattr(q, method)(*args, **kwargs)
        assert method in str(caught.value)
        assert q.qsize() == 0


@pytest.mark.parametrize("method, args, kwargs", [call for call in WRONG_CALLS if call[0] in ("put", "get", "put_nowait", "get_nowait")])
def test_17_wrong_calls_get_the_stdlibs_text(kind: str, method: str, args: Any, kwargs: Any) -> None:
    compare(kind, lambda cls: [outcome(getattr(cls(), method), *args, **kwargs)])


# --- 18. a queue is true, and has no length ---------------------------------------------------------------


@pytest.mark.parametrize("name", [*KINDS, "SimpleQueue"])
def test_18_always_true(name: str) -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls()
        seen = [bool(q), hasattr(q, "__len__"), q == q, q == cls(), hash(q) == hash(q)]
        q.put(1)
        return [*seen, bool(q)]

    assert compare(name, steps) == [True, False, True, False, True, True]


@pytest.mark.parametrize("name", [*KINDS, "SimpleQueue"])
def test_18_in_does_not_eat_items(name: str) -> None:
    q = getattr(sluicegate, name)()
    q.put(1)
    with pytest.raises(TypeError):
        1 in q  # noqa: B015
    assert q.qsize() == 1


# --- 19. no pickle, no copy; any object is an item --------------------------------------------------------


@pytest.mark.parametrize("name", [*KINDS, "SimpleQueue"])
def test_19_neither_pickled_nor_copied(name: str) -> None:
    cls = getattr(sluicegate, name)
    for q in (cls(), type("Mine", (cls,), {})()):
        for refuse in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=type(q).__name__):
                refuse(q)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError):
                pickle.dumps(q, protocol)


@pytest.mark.parametrize("name", ["Queue", "LifoQueue", "SimpleQueue"])
def test_19_any_object_is_an_item_and_stays_itself(name: str) -> None:
    class Nothing:
        __hash__ = None

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

        def __bool__(self) -> bool:
            raise ZeroDivisionError

        def __reduce__(self) -> Any:
            raise ZeroDivisionError

    for item in (None, False, 0, "", (), [], Nothing(), NotImplemented, ..., queue.Empty, sluicegate.Empty(), type, lambda: 0):
        q = getattr(sluicegate, name)()
        q.put(item)
        assert q.get() is item
        q.put_nowait(item)
        assert q.get_nowait() is item


def test_19_a_subclass_may_say_how_it_is_pickled(kind: str) -> None:
    def define(base: Any) -> Any:
        class Saved(base):
            def __reduce__(self) -> Any:
                return str, (f"{self.maxsize}: {list(self.queue)}",)

        return Saved

    def steps(cls: Any) -> list[Any]:
        q = cls(3)
        q.put(1)
        return [pickle.loads(pickle.dumps(q, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]

    assert compare(kind, steps, define)[0] == "3: [1]"


# --- 20. repr ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*KINDS, "SimpleQueue"])
def test_20_repr_names_the_class_and_does_not_ask_the_items(name: str) -> None:
    class Shy:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    cls = getattr(sluicegate, name)
    for named, q in (name, cls()), ("Louder", type("Louder", (cls,), {})()):
        q.put(Shy())
        assert named in repr(q)


# --- 21. time: one deadline, on the monotonic clock -------------------------------------------------------


def test_21_a_wakeup_that_comes_to_nothing_does_not_start_the_timeout_again(ours: Any, threads: Any) -> None:

    clock = ManualClock()
    q = ours(clock=clock)
    waiting = threads(outcome, q.get, True, 10.0)
    for _ in range(3):
        clock.wait_for_waiters(1)
        clock.advance(3.0)
        q.put("stolen")
        taken = outcome(q.get_nowait)  # an arrival may overtake a woken waiter
        if taken != "stolen":
            assert waiting.result() == "stolen"
            return
    clock.wait_for_waiters(1)
    clock.advance(1.0)
    assert waiting.result() == "Empty!"


# --- 22. fork ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_22_a_child_has_a_usable_queue_without_waiters() -> None:
    done = run_script(
        """
        import os, threading, time, warnings, sluicegate
        warnings.simplefilter("ignore")
        q = sluicegate.Queue(2)
        thread = threading.Thread(target=q.get, daemon=True)
        thread.start()
        while not q.statistics().waiting_getters:
            time.sleep(0.001)
        child = os.fork()
        if not child:
            assert q.qsize() == 0
            q.put("child's")
            assert q.get(timeout=10) == "child's"
            assert q.statistics().waiting_getters == 0
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        q.put("parent's")
        thread.join(10)
        assert not thread.is_alive()
        print("fine")
        """
    )
    assert done == "fine\n"


# --- 23. interpreter exit ---------------------------------------------------------------------------------


def test_23_an_interpreter_ends_with_daemon_threads_inside() -> None:
    done = run_script(
        """
        import threading, time, sluicegate
        empty, full = sluicegate.Queue(), sluicegate.Queue(1)
        full.put(1)
        calls = [empty.get, lambda: empty.get(timeout=100), lambda: full.put(2), full.join, sluicegate.SimpleQueue().get]
        for call in calls:
            threading.Thread(target=call, daemon=True).start()
        while empty.statistics().waiting_getters < 2 or not full.statistics().waiting_putters:
            time.sleep(0.001)
        print("fine")
        """
    )
    assert done == "fine\n"


# --- 24. counts never tear --------------------------------------------------------------------------------


def test_24_counts_are_right_at_every_moment(ours: Any, threads: Any) -> None:
    q = ours(4)
    stop = threading.Event()
    wrong: list[Any] = []

    def watch() -> None:
        while not stop.is_set():
            size, unfinished = q.qsize(), q.unfinished_tasks
            if not 0 <= size <= 4 or unfinished < 0:
                wrong.append((size, unfinished))

    watchers = [threads(watch) for _ in range(2)]
    putters = [threads(lambda: [q.put(n) for n in range(500)]) for _ in range(2)]
    getters = [threads(lambda: [(q.get(), q.task_done()) for _ in range(500)]) for _ in range(2)]
    for worker in (*putters, *getters):
        worker.result()
    stop.set()
    for watcher in watchers:
        watcher.result()
    assert wrong == []
    assert (q.qsize(), q.unfinished_tasks) == (0, 0)


# --- 25. PriorityQueue has heapq's order ------------------------------------------------------------------


class Choosy:
    """Compares by `<` alone, and sometimes fails to."""

    fails = False

    def __init__(self, key: int) -> None:
        self.key = key

    def __lt__(self, other: Any) -> bool:
        if Choosy.fails:
            raise ZeroDivisionError("no comparing now")
        return self.key < other.key

    def __repr__(self) -> str:
        return f"Choosy({self.key})"


def heap_after(q: Any) -> list[str]:
    return [repr(item) for item in q.queue]


def test_25_exactly_heapqs_order(ours: Any) -> None:
    def steps(cls: Any) -> list[Any]:
        seen: list[Any] = []
        for size in range(8):
            for order in itertools.islice(itertools.permutations(range(size)), 0, None, 7):
                q = cls()
                for key in order:
                    q.put((key // 2, f"{key}"))  # many equal priorities
                    seen.append(list(q.queue))
                while not q.empty():
                    seen += [q.get(), list(q.queue)]
        return seen

    compare("PriorityQueue", steps)


def test_25_equal_priorities_compare_the_rest(ours: Any) -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls()
        seen = [outcome(q.put, (1, {"a": 1})), outcome(q.put, (1, {"b": 2})), q.qsize(), q.unfinished_tasks]
        seen += [outcome(q.get), outcome(q.get), outcome(q.get_nowait)]
        return seen

    found = compare("PriorityQueue", steps)
    assert found[1] == "TypeError: '<' not supported between instances of 'dict' and 'dict'"


@pytest.mark.thread_unsafe(reason="the items share a switch")
@pytest.mark.parametrize("size", range(1, 9))
def test_25_a_comparison_that_fails_leaves_what_the_stdlib_leaves(size: int) -> None:
    def steps(cls: Any) -> list[Any]:
        seen: list[Any] = []
        for maxsize in (0, size + 1):
            Choosy.fails = False
            q = cls(maxsize)
            for key in range(size):
                q.put(Choosy((key * 5) % size))
            Choosy.fails = True
            # The item of a failing put is in the heap, and not counted.
            seen += [outcome(q.put_nowait, Choosy(-1)), q.qsize(), q.unfinished_tasks, heap_after(q)]
            seen += [repr(outcome(q.get_nowait)), q.qsize(), q.unfinished_tasks, heap_after(q)]
            Choosy.fails = False
            while not q.empty():
                seen += [repr(q.get()), heap_after(q)]
        return seen

    compare("PriorityQueue", steps)


def test_25_items_that_do_not_compare() -> None:
    def steps(cls: Any) -> list[Any]:
        q = cls()
        seen: list[Any] = []
        for item in (3, "a", 1, None, 2.5, "b", [1], 0):
            seen += [outcome(q.put_nowait, item), q.qsize(), q.unfinished_tasks, list(q.queue)]
        for _ in range(9):
            seen += [outcome(q.get_nowait), q.qsize(), list(q.queue)]
        return seen

    compare("PriorityQueue", steps)


def test_25_only_less_than_is_used() -> None:
    class OnlyLess:
        def __init__(self, key: int) -> None:
            self.key = key

        def __lt__(self, other: Any) -> bool:
            return self.key < other.key

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

        __hash__ = None
        __gt__ = __le__ = __ge__ = __eq__

    q: Any = sluicegate.PriorityQueue()
    for key in (3, 1, 2):
        q.put(OnlyLess(key))
    assert [q.get().key for _ in range(3)] == [1, 2, 3]


def test_25_subclass_instances_and_numbers_of_all_kinds() -> None:
    class MyInt(int):
        def __lt__(self, other: Any) -> bool:
            return not super().__lt__(other)

    def steps(cls: Any) -> list[Any]:
        seen: list[Any] = []
        for items in (
            [True, 0, 2.5, -1, Fraction(1, 3), Decimal(2)],
            [MyInt(n) for n in (3, 1, 2)],
            [math.nan, 1.0, math.nan, 0.0, 2.0],
            ["b", "a", "ä", ""],
            [(1, "b"), (1, "a"), (0, "z")],
            [b"b", b"a", bytearray(b"aa")],
            [10**30, -(10**30), 2**63, 2**64, 1.5],
        ):
            q = cls()
            for item in items:
                q.put(item)
                seen.append([repr(one) for one in q.queue])
            while not q.empty():
                seen.append(repr(q.get()))
        return seen

    compare("PriorityQueue", steps)


def test_the_25_points_are_all_here() -> None:
    named = {int(name[5:7]) for name in globals() if name.startswith("test_") and name[5:7].isdigit()}
    assert named == set(range(1, 26))
    assert inspect.getdoc(sys.modules[__name__])
