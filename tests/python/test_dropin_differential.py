"""Random sequences of operations that never wait, on the standard library's class and on ours: each step gives the same."""

from __future__ import annotations

import math
import queue
from typing import Any

from dropin import KINDS, STDLIB_SHUTS_DOWN, outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sluicegate

# The same objects go into both queues, so what comes out can be compared by identity.
plain_items = st.integers(-4, 4)
items = st.one_of(plain_items, st.tuples(st.integers(0, 2), st.sampled_from("abc")), st.none(), st.just("text"))
maxsizes = st.one_of(
    st.integers(-1, 4),
    st.sampled_from([0.5, 1.3, 2.0, math.inf, math.nan, True, False, None, "two"]),
)
# Blocking calls are in as long as they cannot wait for somebody who never comes.
flags = st.sampled_from([(False,), (0, None), (False, -1), (True, 0), (True, 0.0), (1, -1), (True, -0.5), (False, "x"), (True, "x")])

operations: list[st.SearchStrategy[Any]] = [
    st.tuples(st.just("put_nowait"), items),
    st.tuples(st.just("put_nowait"), plain_items),
    st.tuples(st.just("get_nowait")),
    st.tuples(st.just("put"), plain_items, flags),
    st.tuples(st.just("get"), flags),
    st.tuples(st.sampled_from(["qsize", "empty", "full", "task_done", "list", "read_unfinished", "read_maxsize"])),
    st.tuples(st.just("set_maxsize"), maxsizes),
    st.tuples(st.just("set_unfinished"), st.integers(0, 3)),
    st.tuples(st.just("join_if_done")),
]
if STDLIB_SHUTS_DOWN:
    operations += [
        st.tuples(st.just("read_shutdown")),
        st.tuples(st.just("shutdown"), st.booleans()),
    ]
sequences = st.lists(st.one_of(operations), max_size=60)


def take(q: Any, operation: tuple[Any, ...]) -> Any:
    name, *args = operation
    if name == "put":
        item, flags = args
        return outcome(q.put, item, *flags)
    if name == "get":
        return outcome(q.get, *args[0])
    if name == "list":
        return q.queue.__class__, list(q.queue)
    if name == "read_unfinished":
        return q.unfinished_tasks
    if name == "read_maxsize":
        return q.maxsize
    if name == "read_shutdown":
        return q.is_shutdown
    if name == "set_maxsize":
        return outcome(setattr, q, "maxsize", *args)
    if name == "set_unfinished":
        return outcome(setattr, q, "unfinished_tasks", *args)
    if name == "join_if_done":
        return q.join() if q.unfinished_tasks == 0 else "would wait"
    return outcome(getattr(q, name), *args)


def same(one: Any, other: Any) -> bool:
    return one is other or one == other


quick = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])


def check(theirs: Any, ours: Any, sequence: list[tuple[Any, ...]]) -> None:
    for at, operation in enumerate(sequence):
        expected, found = take(theirs, operation), take(ours, operation)
        if operation[0] == "shutdown" and expected is not None:
            # Its drain met items that do not compare, or a hook that failed, and stopped half way.
            assert ours.is_shutdown
            return
        assert same(found, expected), (at, operation)
        assert list(ours.queue) == list(theirs.queue), (at, operation)
        assert ours.unfinished_tasks == theirs.unfinished_tasks, (at, operation)


@quick
@given(st.sampled_from(KINDS), maxsizes, sequences)
def test_every_step_is_the_stdlibs(kind: str, maxsize: Any, sequence: list[tuple[Any, ...]]) -> None:
    check(getattr(queue, kind)(maxsize), getattr(sluicegate, kind)(maxsize), sequence)


@quick
@given(st.sampled_from(KINDS), maxsizes, sequences)
def test_every_step_of_a_subclass_with_hooks_is_the_stdlibs(kind: str, maxsize: Any, sequence: list[tuple[Any, ...]]) -> None:
    def make(base: Any) -> Any:
        class Hooked(base):
            def _put(self, item: Any) -> None:
                if item == 3:
                    raise ZeroDivisionError("three")
                super()._put(item)

            def _get(self) -> Any:
                item = super()._get()
                if item == -3:
                    raise ZeroDivisionError("minus three")
                return item

        return Hooked(maxsize)

    check(make(getattr(queue, kind)), make(getattr(sluicegate, kind)), sequence)


simple_operations = st.one_of(
    st.tuples(st.just("put_nowait"), items),
    st.tuples(st.just("put"), items, flags),
    st.tuples(st.just("get_nowait")),
    st.tuples(st.just("get"), st.sampled_from([(False,), (0, None), (False, -1), (True, 0), (True, 0.0), (1, -1)])),
    st.tuples(st.sampled_from(["qsize", "empty"])),
)


@quick
@given(st.lists(simple_operations, max_size=60))
def test_every_step_of_simple_queue_is_the_stdlibs(sequence: list[tuple[Any, ...]]) -> None:
    theirs: Any = queue.SimpleQueue()
    ours: Any = sluicegate.SimpleQueue()
    for at, operation in enumerate(sequence):
        assert same(take(ours, operation), take(theirs, operation)), (at, operation)
