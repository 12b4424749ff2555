"""`Batcher` and the end of the interpreter, forks, and a storm in which every call has exactly one outcome."""

from __future__ import annotations

import asyncio
import collections
import os
import random
import threading

import pytest
from helpers import FORKING, ROUNDS, LoopThread, run_script, spawn

from sluicegate import Batcher, Overloaded

pytestmark = pytest.mark.thread_unsafe(reason="starts interpreters, forks, and is a storm of threads already")

COMMON = """
import asyncio, atexit, sys, threading, time
from sluicegate import Batcher, ShutDown

def until(predicate, seconds=30):
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.0005)
"""


# The end of the interpreter.


def test_exit_without_calls():
    assert run_script(COMMON + "b = Batcher(list)\nb2 = Batcher(list)\nb2.call(1)\nprint('end')", limit=30) == "end\n"


def test_exit_runs_what_is_pending():
    """As a ThreadPoolExecutor does: a batch that lingers goes at once."""
    out = run_script(
        COMMON
        + """
def handler(items):
    time.sleep(0.05)
    print(items)
    return items

b = Batcher(handler, max=3, linger=100)
futures = [b.submit(n) for n in range(5)]
futures[-1].add_done_callback(lambda future: print("done", future.result()))
atexit.register(lambda: b.submit(5))  # before the batcher is closed: last in, first out
print('end')
""",
        limit=30,
    )
    assert out.splitlines() == ["end", "[0, 1, 2]", "[3, 4, 5]", "done 4"]


def test_exit_with_a_thread_that_waits():
    """A thread that is no daemon gets its result; then the interpreter ends, and later calls get an error."""
    out = run_script(
        COMMON
        + """
class Late:
    def __del__(self):
        try:
            b.submit(1)
        except ShutDown:
            print("late")

b = Batcher(lambda items: time.sleep(0.1) or items, linger=0)
def late():
    try:
        b.call(2)
    except ShutDown as error:
        print(error)
atexit.unregister(__import__("sluicegate._batches")._batches._finish_all)
atexit.register(late)
atexit.register(__import__("sluicegate._batches")._batches._finish_all)
threading.Thread(target=lambda: print(b.call(1))).start()
print('end')
""",
        limit=30,
    )
    assert out.splitlines() == ["end", "1", "the batcher is closed"]


def test_exit_with_daemon_threads_that_wait():
    run_script(
        COMMON
        + """
b = Batcher(lambda items: items, max=4, linger=0.001, max_pending=4)
def forever():
    while True:
        b.call(1)
for _ in range(8):
    threading.Thread(target=forever, daemon=True).start()
until(lambda: b.statistics().succeeded > 100)
""",
        limit=30,
        quiet=False,  # the daemons get the error that it is closed
    )


@pytest.mark.parametrize("loop", ["running in a daemon thread", "stopped", "never started", "closed"])
def test_exit_with_a_coroutine_handler(loop):
    """On a loop that still runs the calls run, else they fail."""
    out = run_script(
        COMMON
        + f"""
kind = {loop!r}
async def handler(items):
    await asyncio.sleep(0.05)
    return items

loop = asyncio.new_event_loop()
b = Batcher(handler, loop=loop, linger=0)
if kind in ("running in a daemon thread", "stopped"):
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    assert b.call(1) == 1
    if kind == "stopped":
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
future = b.submit(2)
future.add_done_callback(lambda future: print(future.exception() or future.result()))
print("end")
if kind == "closed":
    loop.close()
""",
        limit=30,
        quiet=loop == "closed",
    )
    expected = "2" if loop.startswith("running") else "the event loop on which handler() runs has ended"
    assert out.splitlines() == ["end", expected]


def test_exit_after_asyncio_run():
    """With a module's batcher, as most programs will have it: nothing is said."""
    for start in ("", "async "):
        source = f"""
@Batcher.of(linger=0.001)
{start}def handler(items):
    return items

async def main():
    print(sum(await asyncio.gather(*(handler.submit_async(n) for n in range(100)))))

asyncio.run(main())
"""
        assert run_script(COMMON + source, limit=30) == "4950\n"


def test_an_interrupt():
    """Ctrl-C in `call`: a call that is pending leaves the queue, and what it waited for is no more."""
    out = run_script(
        COMMON
        + """
import os, signal
gate = threading.Semaphore(0)
b = Batcher(lambda items: gate.acquire() and items, max=1, linger=0)
running = b.submit(0)
until(lambda: b.statistics().running == 1)

def interrupt():
    until(lambda: b.statistics().pending == 1)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    b.call(1)
except KeyboardInterrupt:
    seen = b.statistics()
    print(seen.pending, seen.running, seen.cancelled)
gate.release(2)
print(running.result(), b.call(2))
""",
        limit=30,
    )
    assert out == "0 1 1\n0 2\n"


# Forks.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork():
    """The child's batcher is empty and has workers of its own, whatever the parent's were doing."""
    run_script(
        FORKING
        + COMMON
        + """
gate = threading.Event()

def handler(items):
    if items != [os.getpid()]:
        gate.wait(20)
    return [item * 2 for item in items]

async def handler_async(items):
    return [item * 2 for item in items]

b = Batcher(handler, linger=0, max=1, max_pending=2)
unused, closed, on_loop = Batcher(list), Batcher(list), Batcher(handler_async, linger=0)
closed.call(1)
closed.close()
loop = asyncio.new_event_loop()
loop.run_until_complete(on_loop.submit_async(1))
futures = [b.submit(n) for n in range(3)]
waiting = threading.Thread(target=b.call, args=(3,))
waiting.start()
until(lambda: b.statistics().running == 1 and b.statistics().waiters == 1)

def child():
    for _ in range(3):
        assert b.call(os.getpid(), timeout=10) == 2 * os.getpid()
    seen = b.statistics()
    assert (seen.submitted, seen.succeeded, seen.pending, seen.running) == (3, 3, 0, 0), seen
    assert unused.call(1, timeout=10) == 1
    try:
        closed.call(1)
    except ShutDown:
        pass
    else:
        raise AssertionError("open again")
    assert asyncio.new_event_loop().run_until_complete(on_loop.submit_async(2, timeout=10)) == 4
    grandchild = in_child(lambda: b.call(os.getpid(), timeout=10))
    check(grandchild)
    b.close(10)

def child_that_only_waits():
    # The parent's calls are not the child's to wait for.
    seen = b.statistics()
    assert (seen.submitted, seen.pending, seen.running, seen.waiters) == (0, 0, 0, 0), seen
    assert "pending=0" in repr(b)
    b.drain(10)
    b.close(10)

pids = [in_child(child) for _ in range(2)] + [in_child(child_that_only_waits)]
check(*pids)
gate.set()
assert [future.result(20) for future in futures] == [0, 2, 4]
waiting.join(20)
loop.run_until_complete(on_loop.close_async())
loop.close()
""",
        limit=60,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_in_the_handler():
    """The child does not go on with the parent's batches."""
    assert (
        run_script(
            FORKING
            + COMMON
            + """

def handler(items):
    if items == ["fork"]:
        pid = os.fork()
        if pid:
            check(pid)
        else:
            signal.alarm(20)
    else:
        os.write(1, b"ran once\\n")
    return items

b = Batcher(handler, linger=0, max=1)
futures = [b.submit(item) for item in ("fork", "other")]
assert [future.result(20) for future in futures] == ["fork", "other"]
""",
            limit=60,
        )
        == "ran once\n"
    )


# A storm.


class Outcomes:
    """Counts what each caller got, and what the handler saw."""

    def __init__(self):
        self.counted = collections.Counter()
        self.lock = threading.Lock()
        self.seen = collections.Counter()

    def add(self, outcome):
        with self.lock:
            self.counted[outcome] += 1

    def results(self, items):
        """Some fail, some batches fail."""
        with self.lock:
            self.seen.update(items)
        if any(item % 97 == 0 for item in items):
            raise OSError("batch")
        return [KeyError(item) if item % 13 == 0 else item for item in items]


@pytest.mark.parametrize("overflow", ["block", "reject", "drop_oldest", "drop_newest"])
@pytest.mark.parametrize("where", ["threads", "a loop"])
def test_a_storm(where, overflow):
    """Threads, futures, tasks on two loops; cancelled, timed out, too old, refused: each call has one outcome, and no item runs twice."""
    outcomes = Outcomes()
    rounds = ROUNDS // 2

    def handler(items):
        return outcomes.results(items)

    async def handler_async(items):
        await asyncio.sleep(random.choice([0, 0.0005]))
        return outcomes.results(items)

    with LoopThread() as one, LoopThread() as two:
        is_async = where == "a loop"
        batcher = Batcher(
            handler_async if is_async else handler,
            max=8,
            linger=0.0005,
            max_pending=20,
            workers=2,
            overflow=overflow,
            ttl=0.02,
            loop=one.loop if is_async else None,
        )

        def expect(item, error):
            if error is None:
                return "result"
            if isinstance(error, KeyError):
                assert error.args == (item,)
                return "item"
            return {OSError: "batch", TimeoutError: "timeout", Overloaded: f"overloaded {getattr(error, 'reason', '')}"}[type(error)]

        def thread(base):
            chance = random.Random(base)
            for item in range(base, base + rounds):
                error = None
                try:
                    assert batcher.call(item, timeout=chance.choice([None, 0.001, 0.01, 0])) == item
                except Exception as raised:
                    error = raised
                outcomes.add(expect(item, error))

        def futures(base):
            chance = random.Random(base)
            for begin in range(base, base + rounds, 5):
                submitted = []
                for item in range(begin, begin + 5):
                    try:
                        submitted.append((item, batcher.submit(item)))
                    except Overloaded as error:
                        outcomes.add(expect(item, error))
                for item, future in submitted:
                    if chance.random() < 0.3 and future.cancel():
                        outcomes.add("cancelled")
                    else:
                        error = future.exception(30)
                        assert error is not None or future.result() == item
                        outcomes.add(expect(item, error))

        async def task(item, chance):
            error = None
            try:
                assert await batcher.submit_async(item, timeout=chance.choice([None, None, 0.005])) == item
            except Exception as raised:
                error = raised
            outcomes.add(expect(item, error))

        async def tasks(base):
            chance = random.Random(base)
            for begin in range(base, base + rounds, 10):
                made = [asyncio.ensure_future(task(item, chance)) for item in range(begin, begin + 10)]
                await asyncio.sleep(chance.choice([0, 0, 0.001]))
                for each in made:
                    if chance.random() < 0.3:
                        each.cancel()
                await asyncio.wait(made)
                for each in made:
                    if each.cancelled():
                        outcomes.add("cancelled")
                    else:
                        each.result()

        work = [spawn(thread, 100_000 * n) for n in (1, 2)] + [spawn(futures, 100_000 * n) for n in (3, 4)]
        work += [loop.submit(tasks(100_000 * n)) for n, loop in ((5, one), (6, two))]
        for each in work:
            each.result(100)
        batcher.drain(30)
        batcher.close(30)

    total = sum(outcomes.counted.values())
    assert total == 6 * rounds
    assert max(outcomes.seen.values()) == 1
    seen = batcher.statistics()
    assert (seen.pending, seen.running) == (0, 0)
    assert seen.submitted == seen.succeeded + seen.failed + seen.cancelled + seen.expired + seen.shed
    assert not seen.shed or overflow.startswith("drop")
    # Neither submitted nor refused are calls that were cancelled while they waited for room.
    assert total - outcomes.counted["cancelled"] <= seen.submitted + seen.refused <= total
    assert sum(outcomes.seen.values()) == seen.succeeded + seen.failed
    assert seen.mean_batch_size == pytest.approx(sum(outcomes.seen.values()) / seen.batches)
    assert outcomes.counted["result"] <= seen.succeeded
    for outcome in ("result", "item", "batch", "cancelled"):
        assert outcomes.counted[outcome], outcomes.counted
