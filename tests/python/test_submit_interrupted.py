"""Ctrl-C at every line of `submit`: every future gets its outcome afterwards, and no place in the queue is lost."""

from __future__ import annotations

import itertools
import sys
import threading

import pytest
from helpers import call_traced, spawn

from sluicegate import (
    Batcher,
    BoundedExecutor,
    Overloaded,
    Queue,
    _batcher,
    _batches,
    _executor,
    _futures,
    _outcomes,
    _user_queue,
    _worker_pool,
)

pytestmark = [
    pytest.mark.skipif(sys.gettrace() is not None, reason="it sets a trace function"),
    pytest.mark.thread_unsafe(reason="it sets a trace function"),
]


def interrupted(at, modules, call):
    """Call `call` with KeyboardInterrupt at this line of those of the modules that are run. Return whether there were so many."""
    files, lines = {module.__file__ for module in modules}, itertools.count()

    def trace(frame, event, argument):
        if frame.f_code.co_filename not in files:
            return None
        if event == "line" and next(lines) == at:
            raise KeyboardInterrupt
        return trace

    call_traced(trace, call)
    return next(lines) > at


# --- Batcher --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_batcher_that_drops(overflow, waits, monkeypatch):
    """A thread of its own for each: a trace function may leave it with an exception that is being handled for ever."""
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)  # from a callback of the queue, or of the future
    at = 0
    while spawn(drop_interrupted_at_line, at, overflow, waits).result():
        at += 1
    assert at > 20


def drop_interrupted_at_line(at, overflow, waits):
    gate = threading.Event()
    batcher = Batcher(lambda items: gate.wait(20) and items, max=1, max_pending=1, linger=0, overflow=overflow)
    futures = [batcher.submit(0)]
    while batcher.statistics().pending:
        pass
    futures.append(batcher.submit(1))
    if waits:
        assert futures[1]._condition  # as somebody has who waits for the result
    was_reached = interrupted(at, [_batcher, _batches, _outcomes, _futures], lambda: futures.append(batcher.submit(2)))
    gate.set()
    batcher.drain(timeout=20)
    assert all(future.done() for future in futures), at
    for future in futures[1:]:
        assert isinstance(future.exception(0), (Overloaded, type(None)))
    now = batcher.statistics()
    assert now.running == now.pending == 0, (at, now)
    assert now.submitted == now.succeeded + now.shed, (at, now)
    batcher.close()
    return was_reached


# --- BoundedExecutor ------------------------------------------------------------------------------------------------

_EXECUTORS = {
    "bound": lambda: BoundedExecutor(1, max_pending=3),
    "queue": lambda: BoundedExecutor(1, queue=Queue(3)),
    "handle": lambda: BoundedExecutor(1, max_pending=3),
}


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("kind", list(_EXECUTORS))
def test_executor(kind, is_full, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)  # from the finaliser of a job that has run
    at = 0
    while spawn(submit_interrupted_at_line, at, kind, is_full).result():
        at += 1
    assert at > 5


def submit_interrupted_at_line(at, kind, is_full):
    pool, gate, ran = _EXECUTORS[kind](), threading.Event(), []
    submit = pool.submitting().submit if kind == "handle" else pool.submit
    futures = [pool.submit(gate.wait, 20)]
    if is_full:
        while pool.statistics().pending:
            pass
        futures += [pool.submit(int) for _ in range(3)]
        futures[1].add_done_callback(lambda _: None)
        threading.Timer(0.01, gate.set).start()
    results = []
    was_reached = interrupted(at, [_executor, _worker_pool, _user_queue, _futures], lambda: results.append(submit(ran.append, 1)))
    gate.set()
    for future in futures + results:
        future.result(20)
    pool.submit(int).result(20)
    assert len(ran) == len(results) or (is_full and ran), at  # a worker was faster
    now = pool._pool.places.statistics()
    assert now.held == 0, (at, now)
    assert now.size - now.held == pool._pool.places.value, (at, now)
    pool.shutdown()
    now = pool.statistics()
    assert now.submitted == now.completed == len(futures + ran) + 1, (at, now)
    assert now.pending == 0
    return was_reached


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_executor_whose_queue_drops(overflow, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    at = 0
    while spawn(queue_drop_interrupted_at_line, at, overflow).result():
        at += 1
    assert at > 20


def queue_drop_interrupted_at_line(at, overflow):
    pool, gate = BoundedExecutor(1, queue=Queue(1, overflow=overflow)), threading.Event()
    futures = [pool.submit(gate.wait, 20)]
    while pool.statistics().pending:
        pass
    futures.append(pool.submit(int, 1))
    was_reached = interrupted(at, [_executor, _worker_pool, _user_queue, _futures], lambda: futures.append(pool.submit(int, 2)))
    gate.set()
    pool.shutdown()
    assert all(future.done() for future in futures), at
    assert all(isinstance(future.exception(0), (Overloaded, type(None))) for future in futures)
    assert pool._pool.places.statistics().held == 0, at
    return was_reached
