"""`q.mutex` and its conditions: several steps as one, as programs written for `queue.Queue` make them."""

from __future__ import annotations

import asyncio
import gc
import heapq
import os
import queue
import sys
import threading
import time
import weakref
from datetime import timedelta
from pathlib import Path

import pytest
from helpers import FORKING, LoopThread, run_script, spawn, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown
from sluicegate.testing import ManualClock


class Hooked(Queue):
    """On the slow path."""

    def _put(self, item):
        super()._put(item)


KINDS = [Queue, LifoQueue, PriorityQueue, Hooked]
every_kind = pytest.mark.parametrize("kind", KINDS)


def holding(q, entered, leave):
    """What a thread does that holds the mutex from `entered` to `leave`."""
    with q.mutex:
        entered.set()
        assert leave.wait(30)


class Held:
    """`with Held(q):` another thread holds the mutex of `q` in the block."""

    def __init__(self, q):
        self.q = q

    def __enter__(self):
        self.entered, self.leave = threading.Event(), threading.Event()
        self.thread = spawn(holding, self.q, self.entered, self.leave)
        assert self.entered.wait(30)

    def __exit__(self, *_):
        self.leave.set()
        self.thread.result()


# What other threads do, and whether they have to be able to wait in the lines of the queue.
OTHERS = {
    "put": lambda q: q.put(9),
    "put timeout": lambda q: q.put(9, timeout=30),
    "put_nowait": lambda q: q.put_nowait(9),
    "put_many": lambda q: q.put_many([8, 9]),
    "put_many from an iterator": lambda q: q.put_many(iter([8, 9])),
    "put_many at once": lambda q: q.put_many([8, 9], block=False),
    "get": lambda q: q.get(),
    "get_nowait": lambda q: q.get_nowait(),
    "get_many": lambda q: q.get_many(1),
    "get_many at once": lambda q: q.get_many(5, block=False),
    "clear": lambda q: q.clear(),
    "shutdown": lambda q: q.shutdown(),
    "shutdown at once": lambda q: q.shutdown(immediate=True),
    "fail": lambda q: q.fail(ValueError()),
    "task_done": lambda q: q.task_done(),
    "queue.append": lambda q: q.queue.append(9),
    "mutex": lambda q: q.mutex.__enter__() and q.mutex.__exit__(None, None, None),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@every_kind
def test_the_block_is_one_step_for_everybody_else(kind, other):
    """Whatever others do waits until the mutex is released, and is then done."""
    if kind is Hooked and other is OTHERS["queue.append"]:
        pytest.skip("there `queue` is the storage of the subclass, as in the standard library")
    q = kind()
    q.put_many([1, 2, 3])
    with q.mutex:
        others = [spawn(other, q) for _ in range(2)]
        seen = [q.qsize(), q.unfinished_tasks, q.is_shutdown, sorted(q.queue)]
        for worker in others:
            worker.join(0.02)
            assert not worker.done()
        assert [q.qsize(), q.unfinished_tasks, q.is_shutdown, sorted(q.queue)] == seen
        got = q.get_nowait()
        q.put_nowait(got)
    for worker in others:
        assert worker.exception() is None or isinstance(worker.exception(), Empty)


@every_kind
def test_what_its_owner_may_do(kind):
    q = kind(2)
    with q.mutex:
        q._put(1)
        assert (q._qsize(), q.qsize(), list(q.queue), q.empty(), q.full()) == (1, 1, [1], False, False)
        q.put_nowait(2)
        assert q.full()
        with pytest.raises(Full):
            q.put_nowait(3)
        assert {q._get(), q.get()} == {1, 2}
        with pytest.raises(Empty):
            q.get_nowait()
        with pytest.raises(IndexError):
            q._get()
        assert q.put_many([1, 2]) == 2
        assert sorted(q.get_many(5)) == [1, 2]
        assert q.put_many(iter([5, 6])) == 2
        assert q.clear() == 2
        assert q.statistics().size == 0
        assert q.unfinished_tasks == 3
        q.unfinished_tasks = 1
        q.task_done()
        q.join()
        q.shutdown()
        with pytest.raises(ShutDown):
            q.put_nowait(1)
        with pytest.raises(ShutDown):
            q.get_nowait()
    assert not q.mutex.locked()


@every_kind
def test_what_would_have_to_wait_raises(kind):
    """Nobody else could end that wait."""
    q = kind(1)
    with q.mutex:
        for call in (q.get, lambda: q.get(timeout=5), lambda: q.get_many(2), lambda: next(iter(q))):
            with pytest.raises(RuntimeError, match="would have to wait"):
                call()
        q.put(1)
        for call in (lambda: q.put(2), lambda: q.put(2, timeout=5), lambda: q.put_many([2]), lambda: q.put_many(iter([2])), q.join):
            with pytest.raises(RuntimeError, match="would have to wait"):
                call()
    now = q.statistics()
    assert (now.size, now.waiting_getters, now.waiting_putters, now.waiting_joiners) == (1, 0, 0, 0)
    assert q.get() == 1
    q.task_done()


@every_kind
def test_a_put_many_that_would_have_to_wait_tells_how_far_it_came(kind):
    q = kind(2)
    with q.mutex, pytest.raises(RuntimeError) as raised:
        q.put_many([1, 2, 3])
    assert raised.value.accepted == 2
    source = iter([1, 2, 3])
    q.clear()
    with q.mutex, pytest.raises(RuntimeError) as raised:
        q.put_many(source)
    assert raised.value.accepted == 2
    assert list(source) == [3]


@every_kind
def test_it_is_a_reentrant_lock(kind):
    q = kind()
    mutex = q.mutex
    assert mutex.acquire()
    assert mutex.acquire(blocking=False)
    with q.not_empty, q.mutex:
        assert mutex.locked()
    mutex.release()
    assert mutex.locked()
    assert spawn(lambda: q.mutex.acquire(blocking=False)).result() is False
    assert spawn(lambda: q.mutex.acquire(timeout=0.01)).result() is False
    assert isinstance(spawn(mutex.release).exception(), RuntimeError)
    mutex.release()
    assert not mutex.locked()
    with pytest.raises(RuntimeError, match="does not hold"):
        mutex.release()
    assert spawn(lambda: q.mutex.acquire(blocking=False)).result() is True


def test_arguments_of_acquire():
    mutex = Queue().mutex
    theirs = threading.Lock()
    for arguments in ({"blocking": False, "timeout": 1}, {"timeout": -2}, {"timeout": float("nan")}):
        with pytest.raises(ValueError):
            mutex.acquire(**arguments)
        if arguments != {"timeout": float("nan")} and arguments["timeout"] == arguments["timeout"]:
            with pytest.raises(ValueError):
                theirs.acquire(**arguments)
    with pytest.raises(OverflowError):
        mutex.acquire(timeout=1e20)
    assert mutex.acquire(timeout=0)
    assert mutex == mutex
    mutex.release()


@every_kind
def test_those_who_wait_for_it_get_it_in_order(kind):
    q, order = kind(), []

    def enter(number):
        with q.mutex:
            order.append(number)

    with q.mutex:
        workers = []
        for number in range(5):
            workers.append(spawn(enter, number))
            wait_until(lambda: waiting_for(q) == len(workers))
    for worker in workers:
        worker.result()
    assert order == list(range(5))


def waiting_for(q):
    """How many threads are in `enter`, and sleep whenever one looks. (The wait queue of the mutex has no statistics.)"""
    inside = [ident for ident, frame in sys._current_frames().items() if frame.f_code.co_name == "enter" and frame.f_locals.get("q") is q]
    stats = [Path(f"/proc/self/task/{each.native_id}/stat") for each in threading.enumerate() if each.ident in inside]
    for _ in range(20):  # one that is only about to wait runs, or is ready to
        time.sleep(0.001)
        stats = [stat for stat in stats if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "S"]
    return len(stats)


@every_kind
def test_waiters_go_in_order_once_it_is_released(kind):
    """What came while it was lent stands in the ordinary line."""
    q, got = kind(), []
    with q.mutex:
        workers = []
        for number in range(4):
            workers.append(spawn(lambda number=number: got.append((number, q.get()))))
            wait_until(lambda: q.statistics().waiting_getters == len(workers))
        for item in range(4):
            q.put_nowait(item)
            assert not got
    for worker in workers:
        worker.result()
    assert sorted(item for _, item in got) == [0, 1, 2, 3]
    assert sorted(number for number, _ in got) == [0, 1, 2, 3]
    assert q.statistics().waiting_getters == 0


@every_kind
def test_a_timeout_counts_while_it_is_lent(kind):
    q = kind()
    q.put(1)
    with q.mutex:
        assert isinstance(spawn(q.get, timeout=0.02).exception(), Empty)
        assert isinstance(spawn(q.put, 1, timeout=0.02).exception(), Full)
    assert q.qsize() == 1


@every_kind
def test_changes_by_hand(kind):
    """As in the standard library: no bound, no unfinished task; putters are let go when the mutex is released."""
    q = kind(2)
    q.put_many([1, 2])
    putter = spawn(q.put, 3)
    wait_until(lambda: q.statistics().waiting_putters == 1)
    with q.mutex:
        q.queue.clear()
        assert not putter.done()
        assert (q.qsize(), q.unfinished_tasks) == (0, 2)
    putter.result()
    with q.mutex:
        q.queue.append(4)
        q.queue.append(5)
        assert q.qsize() == 3
        assert q.unfinished_tasks == 3
    assert q.full()
    with pytest.raises(Full):
        q.put_nowait(6)
    assert sorted(q.get_many(5)) == [3, 4, 5]


def test_purge_by_the_standard_librarys_idiom():
    """`with q.mutex: q.queue.clear(); q.all_tasks_done.notify_all(); q.unfinished_tasks = 0`"""
    q = Queue()
    q.put_many(range(5))
    joiner = spawn(q.join)
    wait_until(lambda: q.statistics().waiting_joiners == 1)
    with q.mutex:
        q.queue.clear()
        q.all_tasks_done.notify_all()
        q.unfinished_tasks = 0
    joiner.result()
    assert q.empty()
    assert q.unfinished_tasks == 0


def test_a_heap_wants_a_real_list():
    q = PriorityQueue()
    with q.mutex, pytest.raises(TypeError):
        heapq.heappush(q.queue, 1)
    with q.mutex:
        q._put(2)
        q._put(1)
        assert (q._get(), q._get()) == (1, 2)


@every_kind
def test_hooks_by_hand_need_the_mutex(kind):
    q = kind()
    if kind is not Hooked:
        for call in (lambda: q._put(1), q._get):
            with pytest.raises(RuntimeError, match="mutex"):
                call()


def test_a_subclass_that_takes_it_in_put():
    """watchdog's queue, which leaves out an event that equals the last one."""

    class SkipRepeats(Queue):
        def _init(self, maxsize):
            super()._init(maxsize)
            self.last = None

        def put(self, item, block=True, timeout=None):
            with self.mutex:
                if item == self.last:
                    return
            super().put(item, block, timeout)

        def _put(self, item):
            with self.mutex:
                super()._put(item)
                self.last = item

        def _get(self):
            item = super()._get()
            if item is self.last:
                self.last = None
            return item

    q = SkipRepeats()
    for item in (1, 1, 2, 2, 2, 1):
        q.put(item)
    assert [q.get() for _ in range(3)] == [1, 2, 1]
    assert q.empty()


@every_kind
def test_a_new_bound_and_the_looks_see_what_is_lent(kind):
    q = kind(1)
    q.put(1)
    putter = spawn(q.put, 2)
    wait_until(lambda: q.statistics().waiting_putters == 1)
    with q.mutex:
        q.maxsize = 5
        assert (q.maxsize, q.statistics().maxsize, q.full(), q.qsize()) == (5, 5, False, 1)
        assert spawn(lambda: q.qsize() if kind is not Hooked else 1).result() == 1
        assert not putter.done()
    putter.result()
    assert q.qsize() == 2


def test_a_getter_of_a_shut_queue_waits_for_what_the_owner_does():
    q = Queue()
    q.shutdown()
    with q.mutex:
        getter = spawn(q.get)
        wait_until(lambda: q.statistics().waiting_getters == 1)
        q.queue.append("late")
    assert getter.result() == "late"


@every_kind
def test_an_item_whose_place_was_certain_comes_in_afterwards(kind):
    """An iterator is asked for an item only when its place is certain; the mutex may be lent meanwhile."""
    q = kind(3)
    go, asked = threading.Event(), threading.Event()

    def source():
        yield 1
        asked.set()
        assert go.wait(30)
        yield 2

    putter = spawn(q.put_many, source())
    assert asked.wait(30)
    with q.mutex:
        go.set()
        putter.join(0.02)
        assert q.qsize() == 1
        assert sorted(q.queue) == [1]
        q.put_nowait(0)
        with pytest.raises(Full):
            q.put_nowait(9)  # the place is promised
    wait_until(lambda: q.qsize() == 3)
    assert sorted(q.get_many(5)) == [0, 1, 2]
    assert putter.result() == 2
    assert q.unfinished_tasks == 3


# Tasks.


@every_kind
def test_two_tasks_of_one_loop_are_not_both_the_owner(kind):
    async def main():
        q = kind()

        async def other():
            for call in (lambda: q.put_nowait(1), q.get_nowait, q.mutex.acquire, q.clear):
                with pytest.raises(RuntimeError, match="forever"):
                    call()
            assert q.mutex.acquire(blocking=False) is False
            with pytest.raises(RuntimeError, match="does not hold"):
                q.mutex.release()

        with q.mutex:
            await asyncio.create_task(other())
            assert q.qsize() == 0
        q.put_nowait(1)

    asyncio.run(main())


@every_kind
def test_tasks_wait_in_the_ordinary_line_and_do_not_stop_their_loop(kind):
    q = kind(1)
    with LoopThread() as loop:
        with Held(q):
            put = loop.submit(q.put_async(1))
            wait_until(lambda: q.statistics().waiting_putters == 1)
            assert loop.submit(asyncio.sleep(0, "alive")).result(30) == "alive"
            get = loop.submit(q.get_async())
            many = loop.submit(q.get_many_async(2, timeout=0.01))
            assert isinstance(many.exception(30), Empty)
            cancelled = loop.submit(q.put_async(2))
            wait_until(lambda: q.statistics().waiting_putters == 2)
            cancelled.cancel()
            wait_until(lambda: q.statistics().waiting_putters == 1)
        assert get.result(30) == 1
        put.result(30)


def test_the_owner_may_await_what_need_not_wait():
    async def main():
        q = Queue(1)
        with q.mutex:
            await q.put_async(1)
            with pytest.raises(RuntimeError, match="would have to wait"):
                await q.put_async(2)
            assert await q.get_async() == 1
            with pytest.raises(RuntimeError, match="would have to wait"):
                await q.get_async()
        assert q.statistics().waiting_getters == q.statistics().waiting_putters == 0

    asyncio.run(main())


# Conditions.


@every_kind
def test_a_condition_is_notified_by_the_queue_itself(kind):
    q, seen = kind(2), []

    def watch(condition, name):
        with condition:
            assert condition.wait()
            seen.append((name, q.qsize()))

    workers = [spawn(watch, q.not_empty, "not_empty")]
    wait_until(lambda: q.statistics().waiting_getters == 1)
    q.put(1)
    workers[0].result()
    workers.append(spawn(watch, q.not_full, "not_full"))
    wait_until(lambda: q.statistics().waiting_putters == 1)
    assert q.get() == 1
    workers[1].result()
    workers.append(spawn(watch, q.all_tasks_done, "all_tasks_done"))
    wait_until(lambda: q.statistics().waiting_joiners == 1)
    q.task_done()
    workers[2].result()
    assert seen == [("not_empty", 1), ("not_full", 0), ("all_tasks_done", 0)]


@every_kind
def test_one_put_notifies_one_of_those_who_wait_longest_first(kind):
    q, woken = kind(), []

    def watch(number):
        with q.not_empty:
            q.not_empty.wait()
            woken.append(number)

    workers = []
    for number in range(3):
        workers.append(spawn(watch, number))
        wait_until(lambda: q.statistics().waiting_getters == len(workers))
    for number in range(3):
        q.put(number)
        wait_until(lambda number=number: len(woken) == number + 1)
        assert q.statistics().waiting_getters == 2 - number
    assert woken == [0, 1, 2]
    for worker in workers:
        worker.result()


@every_kind
def test_a_watcher_keeps_no_getter_from_its_item(kind):
    """It takes nothing and stands behind everybody, also behind those who come later."""
    q = kind()

    def watch():
        with q.not_empty:
            return q.not_empty.wait()

    watcher = spawn(watch)
    wait_until(lambda: q.statistics().waiting_getters == 1)
    getter = spawn(q.get)
    wait_until(lambda: q.statistics().waiting_getters == 2)
    q.put(1)
    assert getter.result() == 1
    assert watcher.result() is True


def test_notify_wakes_so_many():
    q, woken = Queue(), []

    def watch(number):
        with q.not_full:
            q.not_full.wait()
            woken.append(number)

    workers = []
    for number in range(5):
        workers.append(spawn(watch, number))
        wait_until(lambda: q.statistics().waiting_putters == len(workers))
    with q.not_full:
        q.not_full.notify(2)
        assert woken == []  # they have to wait for the mutex
    wait_until(lambda: len(woken) == 2)
    assert q.statistics().waiting_putters == 3
    with q.mutex:
        q.not_full.notify_all()
    for worker in workers:
        worker.result()
    assert sorted(woken) == [0, 1, 2, 3, 4]


def test_a_condition_wants_the_mutex():
    q = Queue()
    assert q.not_full is q.not_full  # programs replace its methods
    q.not_full.wait = q.not_full.wait
    for condition in (q.not_empty, q.not_full, q.all_tasks_done):
        for call in (condition.wait, condition.notify, condition.notify_all, lambda condition=condition: condition.wait_for(int)):
            with pytest.raises(RuntimeError, match="un-acquired"):
                call()


def test_a_wait_gives_the_mutex_back_altogether():
    q = Queue()

    def watch():
        with q.mutex, q.mutex, q.not_empty:
            assert q.not_empty.wait()
            assert q.mutex.locked()
        return q.mutex.locked()

    watcher = spawn(watch)
    wait_until(lambda: q.statistics().waiting_getters == 1)
    assert not q.mutex.locked()
    q.put(1)
    assert watcher.result() is False


def test_wait_for_and_timeouts():
    q = Queue()
    with q.not_empty:
        assert q.not_empty.wait(0.001) is False
        assert q.not_empty.wait_for(q.qsize, timeout=0.001) == 0
    getter = spawn(lambda: q.not_empty.__enter__() and (q.not_empty.wait_for(lambda: q.qsize() >= 3), q.not_empty.release()))
    for item in range(3):
        wait_until(lambda: q.statistics().waiting_getters == 1)
        q.put(item)
    assert getter.result()[0] is True


def test_time_is_the_queues_own():
    clock = ManualClock()
    q = Queue(clock=clock)

    def watch():
        with q.not_empty:
            return q.not_empty.wait(5)

    watcher = spawn(watch)
    clock.wait_for_waiters(1)
    clock.advance(5)
    assert watcher.result() is False


def test_a_shutdown_wakes_all_who_watch():
    q = Queue(1)
    workers = [spawn(lambda c=c: c.__enter__() and (c.wait(), c.release())) for c in (q.not_empty, q.not_empty, q.not_full)]
    wait_until(lambda: q.statistics().waiting_getters == 2 and q.statistics().waiting_putters == 1)
    q.shutdown()
    for worker in workers:
        assert worker.result()[0] is True


def test_a_condition_of_threading_shares_it():
    q = Queue()
    condition = threading.Condition(q.mutex)

    def watch():
        with condition, q.mutex:
            condition.wait(30)
            return q.mutex.locked()

    watcher = spawn(watch)
    wait_until(lambda: condition._waiters)
    with condition:
        condition.notify()
    assert watcher.result() is True
    assert not q.mutex.locked()


# Signals, forks, the end.


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(
    "wait",
    ["q.mutex.acquire()", "q.put_nowait(1)", "q.get_nowait()", "q.put(1)", "q.clear()", "q.task_done()", "q.mutex.acquire(timeout=60)"],
)
@pytest.mark.parametrize("kind", ["Queue", "PriorityQueue"])
def test_ctrl_c_while_another_holds_it(kind, wait):
    run_script(f"""
import os, signal, threading, time
from sluicegate import *
q = {kind}()
q.put(0)
entered, leave = threading.Event(), threading.Event()
def hold():
    with q.mutex:
        entered.set()
        leave.wait()
thread = threading.Thread(target=hold)
thread.start()
entered.wait()
try:
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()  # on a busy machine it may come before `start` returns
    {wait}
except KeyboardInterrupt:
    pass
else:
    raise SystemExit("it returned")
finally:
    leave.set()
    thread.join()
assert q.qsize() == 1 and not q.mutex.locked()
assert q.get() == 0
""")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_in_a_wait_holds_the_mutex_and_passes_the_notification_on():
    """The standard library loses the notification, and fails with "release unlocked lock"."""
    run_script("""
import os, signal, threading, time
from sluicegate import *
q = Queue()
others = []
def watch():
    with q.not_empty:
        others.append(q.not_empty.wait())
def handler(*_):
    q.put(1)        # notifies the wait that this handler interrupts
    raise ZeroDivisionError
signal.signal(signal.SIGUSR1, handler)
def interrupt():
    while q.statistics().waiting_getters < 2:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGUSR1)
thread = threading.Thread(target=watch)
def start_second():
    while q.statistics().waiting_getters < 1:
        time.sleep(0.001)
    thread.start()
    interrupt()
starter = threading.Thread(target=start_second)
starter.start()
with q.not_empty:
    try:
        q.not_empty.wait()
    except ZeroDivisionError:
        assert q.mutex.locked()
    else:
        raise SystemExit("it returned")
starter.join()
thread.join(30)
assert others == [True], others
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue", "Hooked"])
def test_a_fork_while_another_thread_holds_it(kind):
    """In the child it is free, and what was in the queue is there; the thread that forked keeps its own."""
    run_script(
        FORKING
        + f"""
import os, threading
from sluicegate import *
class Hooked(Queue):
    def _put(self, item): super()._put(item)
q, own = {kind}(5), {kind}(5)
q.put_many([1, 2])
own.put_many([1, 2])
entered, leave = threading.Event(), threading.Event()
def hold():
    with q.mutex:
        q.put_nowait(3)
        entered.set()
        leave.wait()
threading.Thread(target=hold, daemon=True).start()
entered.wait()

def child():
    assert not q.mutex.locked()
    assert q.qsize() == 3 and q.maxsize == 5
    assert sorted(q.get_many(5)) == [1, 2, 3]
    q.put(1)
    assert q.get() == 1
    with q.mutex:
        pass
    assert own.mutex.locked()
    assert {{own.get_nowait(), own.get_nowait()}} == {{1, 2}}
    own.mutex.release()
    own.put(3)

own.mutex.acquire()
check(in_child(child))
own.mutex.release()
leave.set()
"""
    )


def test_a_queue_whose_mutex_was_never_released_is_collected():
    class Item:
        pass

    def leave():
        q, item = Queue(), Item()
        item.queue = q
        q.put(item)
        q.mutex.acquire()
        q.put_nowait(item)
        return weakref.ref(q), weakref.ref(item)

    refs = leave()
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


@pytest.mark.parametrize("kind", ["Queue", "PriorityQueue"])
def test_the_program_ends_while_threads_hold_it_and_wait_for_it(kind):
    run_script(f"""
import threading, time
from sluicegate import *
q = {kind}()
q.put(1)
entered = threading.Event()
def hold():
    with q.mutex:
        entered.set()
        time.sleep(3600)
def start(function):
    threading.Thread(target=function, daemon=True).start()
start(hold)
entered.wait()
for function in (q.mutex.acquire, q.get, q.get_nowait, lambda: q.put_nowait(2), q.clear):
    start(function)
with {kind}().not_empty as _:
    pass
time.sleep(0.05)
""")


# A plain model.

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put", "get", "append", "clear", "pop", "done", "_put", "_get", "maxsize"]), st.integers(0, 3)), max_size=30
)


def apply(q, operation, number):
    """What came of it, on a queue whose mutex is held, or the standard library's, whose is not."""
    try:
        match operation:
            case "put":
                return q.put(number, block=False)
            case "get":
                return q.get(block=False)
            case "append":
                return q.queue.append(number)
            case "clear":
                return q.queue.clear()
            case "pop":
                return q.queue.pop()
            case "done":
                return q.task_done()
            case "_put":
                return q._put(number)
            case "_get":
                return q._get()
            case "maxsize":
                q.maxsize = number
    except (queue.Full, queue.Empty, IndexError, ValueError) as error:
        return next(kind for kind in (queue.Full, queue.Empty, IndexError, ValueError) if isinstance(error, kind))


@settings(deadline=None)
@given(sizes=st.integers(0, 3), steps=st.lists(st.tuples(st.booleans(), OPERATIONS), max_size=6))
@pytest.mark.parametrize("name", ["Queue", "LifoQueue", "PriorityQueue"])
def test_blocks_beside_the_standard_librarys_queue(name, sizes, steps):
    """Whatever is done, in blocks and outside of them, comes out as with `queue`'s class."""
    ours, theirs = globals()[name](sizes), getattr(queue, name)(sizes)
    for locked, operations in steps:
        if locked:
            ours.mutex.acquire()
        for operation, number in operations:
            if not locked and operation in ("_put", "_get"):
                continue
            if name == "PriorityQueue" and operation in ("append", "pop"):
                continue  # what follows on a list that is no heap is not agreed
            assert apply(ours, operation, number) == apply(theirs, operation, number)
            assert list(ours.queue) == list(theirs.queue)
            assert (ours.qsize(), ours.full(), ours.unfinished_tasks) == (theirs.qsize(), theirs.full(), theirs.unfinished_tasks)
        if locked:
            ours.mutex.release()


@pytest.mark.parametrize("kind", KINDS)
def test_a_storm_in_which_everybody_takes_it(kind):
    """Nothing is lost, and a block is one step: the sum of a pair of counters that only blocks change is the same whenever it is read."""
    q, rounds = kind(8), 300
    q.put_many([0, 0])
    bad = []

    def transfer():
        for _ in range(rounds):
            with q.mutex:
                first, second = q.get(), q.get()
                if q.qsize():
                    bad.append(list(q.queue))
                q.put(first + 1)
                q.put(second - 1)

    def look():
        for _ in range(rounds):
            with q.mutex:
                if sum(q.queue) or q.qsize() != 2:
                    bad.append(list(q.queue))

    workers = [spawn(work) for work in (transfer, transfer, look, look)]
    for worker in workers:
        worker.result()
    assert not bad
    assert q.qsize() == 2
    assert sum(q.queue) == 0
    assert q.statistics().waiting_getters == 0


@pytest.mark.thread_unsafe(reason="a storm of threads already")
@pytest.mark.parametrize("kind", KINDS)
def test_a_storm_of_streams_beside_blocks(kind):
    """Items that pass while others take the mutex all the time: each comes out once."""
    q, count = kind(4), 100
    done = threading.Event()

    def disturb():
        taken = 0
        while not done.is_set():
            with q.mutex:
                taken += 1
                size = q.qsize()
                if size:
                    item = q.get_nowait()
                    q.put_nowait(item)
                assert q.qsize() == size
        return taken

    async def put_some(first):
        for number in range(first, first + count):
            await q.put_async(number)

    def put_others(first):
        for number in range(first, first + count):
            while True:
                try:
                    q.put_nowait(number)
                    break
                except Full:
                    threading.Event().wait(0.0001)

    disturbers = [spawn(disturb) for _ in range(2)]
    producers = [
        spawn(asyncio.run, put_some(0)),
        spawn(put_others, count),
        spawn(q.put_many, range(2 * count, 3 * count)),
        spawn(q.put_many, iter(range(3 * count, 4 * count))),
    ]
    consumers = [spawn(lambda: [q.get(timeout=30) for _ in range(count)]) for _ in range(4)]
    got = [item for consumer in consumers for item in consumer.result()]
    done.set()
    for worker in producers + disturbers:
        worker.result()
    assert sorted(got) == list(range(4 * count))
    assert q.qsize() == 0


def test_times_of_the_mutex_and_its_conditions():
    """A timedelta is a time here too; a negative wait is over at once, as in `threading.Condition`."""
    queue = Queue()
    assert queue.mutex.acquire(timeout=timedelta(seconds=5))
    try:
        for timeout in (-1, -0.5, 0, timedelta(seconds=-1)):
            assert queue.not_empty.wait(timeout) is False
        with pytest.raises(TypeError, match="'timeout' must be a number of seconds"):
            queue.not_empty.wait("x")
        assert queue.mutex._is_owned()
    finally:
        queue.mutex.release()
    for timeout in ("x", None):
        with pytest.raises(TypeError, match="must be real number"):
            queue.mutex.acquire(timeout=timeout)
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        queue.mutex.acquire(timeout=timedelta(seconds=-2))


# --- what is dropped ----------------------------------------------------------------------------------------------


class Log(list):
    """An `on_drop` that looks whether another thread could have the mutex."""

    def __call__(self, item, reason):
        self.append((item, reason, spawn(self.can_have, self.q).result()))

    @staticmethod
    def can_have(q):
        if taken := q.mutex.acquire(blocking=False):
            q.mutex.release()
        return taken


@pytest.mark.parametrize(
    "kind, policy", [(Queue, "drop_oldest"), (LifoQueue, "drop_oldest"), (Hooked, "drop_oldest"), (PriorityQueue, "drop_lowest")]
)
def test_what_the_owner_drops_is_reported_when_the_mutex_is_free(kind, policy):
    log = Log()
    q = log.q = kind(2, overflow=policy, on_drop=log)
    first, second = (4, 3) if kind is PriorityQueue else (1, 2)
    q.put(first)
    q.put(second)
    reason = policy.removeprefix("drop_")
    with q.mutex:
        q.put_nowait(0)
        with q.mutex:
            assert q.offer(0).displaced == (second,)
        assert log == []
        assert getattr(q.statistics(), f"dropped_{reason}") == 2
    assert log == [(first, reason, True), (second, reason, True)]
    with q.mutex:
        q.put_nowait(0)
        assert len(log) == 2
        assert not q.all_tasks_done.wait(0.001)
        assert len(log) == 3  # a wait at a condition gives the mutex back
    q.shutdown()


def test_an_on_drop_that_drops_under_the_mutex_comes_to_an_end():
    dropped = []

    def on_drop(item, reason):
        dropped.append(item)
        with q.mutex:
            q.put_nowait(item + 100)

    q = Queue(1, overflow="drop_oldest", on_drop=on_drop)
    q.put(1)
    q.put(2)
    assert dropped == [1]  # what it drops itself is counted
    with q.mutex:
        q.put_nowait(3)
        q.put_nowait(4)
    assert dropped == [1, 101, 3]
    assert q.statistics().dropped_oldest == 6


def test_what_waits_to_be_reported_is_seen_by_the_collector():
    class Item:
        pass

    q = Queue(1, overflow="drop_oldest", on_drop=print)
    item = Item()
    item.q, seen = q, weakref.ref(item)
    assert q.mutex.acquire()
    q.put_nowait(item)
    q.put_nowait(None)
    del item, q
    gc.collect()
    assert seen() is None
