"""Ctrl-C wherever the interpreter could run a signal handler in the package: whatever is asked afterwards ends.

That is after a call of a function in C, where a function in Python begins, and where a loop begins again.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import gc
import itertools
import signal
import sys
import threading
from pathlib import Path

import pytest
from helpers import call_traced, wait_until

import sluicegate
from sluicegate import Batcher, BoundedExecutor, FairQueue, Fallback, Pipeline, Queue, Stale
from sluicegate._stale import _own_flights

pytestmark = [
    pytest.mark.skipif(sys.gettrace() is not None, reason="it sets a trace function"),
    pytest.mark.thread_unsafe(reason="it sets a trace function"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # of a `__del__` that was interrupted
]

_PACKAGE = str(Path(sluicegate.__file__).parent)
#: More than any of the calls here has.
_MOST = 2000


def interrupted(call, at):
    """Call `call` with KeyboardInterrupt at one of these points. Return whether there were so many."""
    points, frames_entered, last = itertools.count(), itertools.count(), {}
    names = {}

    def operation(code, offset):
        if code not in names:
            names[code] = {each.offset: each.opname for each in dis.get_instructions(code)}
        return names[code].get(offset, "")

    def trace(frame, event, argument):
        next(frames_entered)
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return trace_operation

    def trace_operation(frame, event, argument):
        if event == "return":
            last.pop(frame, None)
        elif event == "opcode":
            entered = int(repr(frames_entered)[6:-1])
            before, then = last.get(frame, ("", entered))
            last[frame] = operation(frame.f_code, frame.f_lasti), entered
            is_call = before.startswith("CALL") and "INTRINSIC" not in before and then == entered  # and not of a function in Python
            if (is_call or before.startswith(("RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE"))) and next(points) == at:
                raise KeyboardInterrupt
        return trace_operation

    call_traced(trace, call)
    last.clear()
    return next(points) > at


def everywhere(make, step=1):
    """Interrupt a call everywhere: `make` returns what to call, and what to call after that."""
    gc.collect()
    gc.freeze()  # so that to collect what is left of a call takes no time
    try:
        everywhere_(make, step)
    finally:
        gc.unfreeze()


def everywhere_(make, step):
    for at in range(0, _MOST, step):
        before = set(threading.enumerate())
        call, check = make()
        was_interrupted = interrupted(call, at)
        check()
        del call, check
        wait_until(functools.partial(_only, before))
        if not was_interrupted:
            if not at:
                pytest.skip("this interpreter tells the trace function of no operation there")
            return
    raise AssertionError("it has no end")


def _only(threads):
    """Whether there are no other threads. An object that is dropped ends its own, and may be in a cycle with what was raised."""
    if set(threading.enumerate()) <= threads:
        return True
    gc.collect()
    return False


def within(seconds, function, *args):
    """Call it in another thread, which must have an end."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)), daemon=True)
    thread.start()
    thread.join(seconds)
    assert results, f"{function} has no end"
    return results[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_batcher(workers):
    def make():
        batcher = Batcher(lambda items: [item + 1 for item in items], linger=0, workers=workers)

        def check():
            assert within(20, batcher.call, 1) == 2
            within(20, batcher.close)

        return lambda: batcher.call(0), check

    everywhere(make)


@pytest.mark.parametrize("queue", [lambda: {"max_pending": 1}, lambda: {"queue": FairQueue(1, key=lambda job: 0)}])
def test_executor(queue):
    def make():
        pool, futures = BoundedExecutor(2, **queue()), []

        def call():
            for n in range(3):
                futures.append(pool.submit(int, n))
            pool.shutdown()

        def check():
            within(20, pool.shutdown)
            for future in futures:
                within(20, future.exception)

        return call, check

    everywhere(make)


@pytest.mark.parametrize("in_caller", [False, True])
def test_pipeline(in_caller):
    def make():
        done = []
        pipeline = Pipeline(range(3)).map(int, workers=2).for_each(done.append, in_caller=in_caller)

        def check():
            assert len(set(done)) == len(done)

        return pipeline.run, check

    everywhere(make, 3)  # they are many


@pytest.mark.parametrize("method", ["kill", "close", "resize"])
def test_run(method):
    def make():
        run = Pipeline(itertools.count()).map(int, workers=2).for_each(lambda n: None).start()

        def call():
            if method == "resize":
                run.resize("int", 3)
                run.resize("int", 1)
            else:
                getattr(run, method)()

        return call, lambda: within(20, run.close)

    everywhere(make)


def test_a_resize_that_is_interrupted_changes_nothing_or_all():
    def make():
        run = Pipeline(itertools.count()).map(int, workers=2).for_each(lambda n: None).start()

        def figures():
            stage = run.statistics().stages[1]
            return stage.workers, stage.capacity

        before = figures()

        def check():
            wait_until(lambda: figures()[0] in (2, 4))
            after = figures()
            run.resize("int", 2)
            wait_until(lambda: figures() == before)
            assert after == before or after[0] == 4
            within(20, run.close)

        return lambda: run.resize("int", 4), check

    everywhere(make)


def test_stop_on_puts_the_handler_back(monkeypatch):
    set_handler, before = signal.signal, signal.getsignal(signal.SIGTERM)

    def interrupted_once(number, handler):
        monkeypatch.undo()
        set_handler(number, handler)
        raise KeyboardInterrupt

    with Pipeline(range(3)).for_each(lambda n: None).start() as run:
        monkeypatch.setattr(signal, "signal", interrupted_once)
        with pytest.raises(KeyboardInterrupt), run.stop_on(signal.SIGTERM):
            pass
    assert signal.getsignal(signal.SIGTERM) is before


def test_condition_of_a_queue():
    def make():
        queue = Queue()

        def call():
            with queue.not_empty:
                queue.not_empty.notify()

        return call, lambda: within(20, lambda: queue.put(1) or True)

    everywhere(make)


def test_working():
    def make():
        queue = Queue()
        queue.put_many([1, 2])

        def work():
            with queue.working() as items:
                for _ in items:
                    pass

        def check():
            with contextlib.suppress(sluicegate.ShutDown):
                queue.put(3)
            within(20, work)

        return work, check

    everywhere(make)


def test_fallback_with_memory():
    """Calls that were interrupted leave nothing that the next ones have to look at."""
    fallback = Fallback(stale=Stale(10.0))

    @fallback
    def call():
        return 1

    everywhere(lambda: (call, call))
    assert len(_own_flights.get()) <= 1
