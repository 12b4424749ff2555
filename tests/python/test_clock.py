"""`sluicegate.Clock` and `sluicegate.testing.ManualClock`: time is injected, to the nanosecond."""

from __future__ import annotations

import asyncio
import contextvars
import time

import pytest
from helpers import PATIENCE, LoopThread, on_loops, settle, spawn, wait_until

import sluicegate
from sluicegate import BlockingInEventLoopWarning, Empty, Full, Queue
from sluicegate.testing import ManualClock


def test_system_clock_is_monotonic():
    """`Clock()` reads the system's monotonic clock."""
    clock = sluicegate.Clock()
    before = time.monotonic()
    read = clock.now()
    after = time.monotonic()
    assert isinstance(read, float)
    # Its zero need not be `time.monotonic`'s; its pace must be.
    again = clock.now()
    later = time.monotonic()
    assert again >= read
    assert again - read <= later - before + 1e-6
    assert after >= before


def test_clock_is_sealed():
    """`Clock` is sealed: a clock the core does not know could not wake its waiters."""
    with pytest.raises(TypeError):
        type("Mine", (sluicegate.Clock,), {})


def test_manual_clock_is_a_clock():
    """A `ManualClock` passes wherever a `Clock` is asked for."""
    assert isinstance(ManualClock(), sluicegate.Clock)


def test_starts_and_stands_still():
    """`ManualClock` starts where it is told and moves only when told."""
    assert ManualClock().now() == 0.0
    clock = ManualClock(start=12.5)
    assert clock.now() == 12.5
    assert clock.now() == 12.5
    clock.advance(2)
    assert clock.now() == 14.5
    clock.advance(0)
    assert clock.now() == 14.5


def test_advance_is_nanosecond_exact():
    """A tenth of a second ten times is one second, not 0.9999999999999999."""
    clock = ManualClock()
    for _ in range(10):
        clock.advance(0.1)
    assert clock.now() == 1.0
    for _ in range(1000):
        clock.advance(1e-9)
    assert clock.now() == 1.000001


@pytest.mark.parametrize("bad", [-1, -1e-9, float("nan"), float("inf"), float("-inf")])
def test_advance_refuses_bad_seconds(bad):
    """A bad `seconds` is refused by name and value, and the clock does not move."""
    clock = ManualClock(start=3.0)
    with pytest.raises((ValueError, OverflowError), match="seconds") as info:
        clock.advance(bad)
    assert "1" in str(info.value) or repr(bad) in str(info.value)
    assert clock.now() == 3.0


@pytest.mark.parametrize("bad", ["1", None, object(), True])
def test_advance_refuses_wrong_types(bad):
    """`advance` wants a number; a bool is not one."""
    clock = ManualClock()
    with pytest.raises(TypeError, match="seconds"):
        clock.advance(bad)
    assert clock.now() == 0.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "0", None, True])
def test_start_is_checked(bad):
    """A bad `start` is refused by name."""
    with pytest.raises((TypeError, ValueError, OverflowError), match="start"):
        ManualClock(start=bad)


@pytest.mark.parametrize("bad", [object(), time.monotonic, 1.0, "clock"])
def test_queue_refuses_what_is_no_clock(bad):
    """`clock=` takes a `sluicegate.Clock` and nothing else."""
    with pytest.raises(TypeError, match="clock"):
        Queue(clock=bad)


def test_a_timeout_fires_exactly_when_due():
    """A wait of 5 s is over after 5 s, and not a nanosecond earlier."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    getter = spawn(queue.get, timeout=5)
    clock.wait_for_waiters(1)
    clock.advance(4.999999999)
    assert clock.waiters == 1
    clock.advance(1e-9)
    with pytest.raises(Empty):
        getter.result()
    assert clock.waiters == 0


def test_a_put_timeout_fires_exactly_when_due():
    """The same on the producers' side."""
    clock = ManualClock()
    queue = Queue(1, clock=clock)
    queue.put("first")
    putter = spawn(queue.put, "second", timeout=0.25)
    clock.wait_for_waiters(1)
    clock.advance(0.249999999)
    assert clock.waiters == 1
    clock.advance(1e-9)
    with pytest.raises(Full):
        putter.result()
    assert queue.get_nowait() == "first"
    assert queue.empty()


@on_loops
async def test_advance_fires_in_time_order():
    """Whatever the order of arrival, deadlines fire by time; equal ones in order of arrival."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    fired = []

    async def wait(seconds, label):
        with pytest.raises(Empty):
            await queue.get_async(timeout=seconds)
        fired.append(label)

    tasks = [asyncio.create_task(wait(s, f"{s}/{i}")) for i, s in enumerate([3, 1, 2, 1, 3])]
    await settle()
    assert clock.waiters == 5
    await clock.advance_async(10)
    await asyncio.gather(*tasks)
    assert fired == ["1/1", "1/3", "2/2", "3/0", "3/4"]


@on_loops
async def test_advance_fires_only_what_is_due():
    """Those not yet due go on waiting."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    tasks = [asyncio.create_task(queue.get_async(timeout=seconds)) for seconds in (1, 2, 3)]
    await settle()
    await clock.advance_async(2)
    assert [task.done() for task in tasks] == [True, True, False]
    assert clock.waiters == 1
    queue.put_nowait("late")
    assert await tasks[2] == "late"
    for task in tasks[:2]:
        with pytest.raises(Empty):
            task.result()


@on_loops
async def test_advance_async_lets_the_loop_settle():
    """After `advance_async` a task which timed out has already handled it."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    handled = []

    async def consumer():
        try:
            await queue.get_async(timeout=1)
        except Empty:
            handled.append("empty")

    task = asyncio.create_task(consumer())
    await settle()
    await clock.advance_async(1)
    assert handled == ["empty"]
    await task


@on_loops
async def test_asyncio_timeout_stays_on_the_loop():
    """`asyncio.wait_for` keeps the loop's time: a manual clock moves only our own timeouts."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(queue.get_async(timeout=1000), 0.01)
    assert clock.waiters == 0
    assert queue.statistics().waiting_getters == 0


def test_waiters_counts_threads_and_tasks_with_and_without_timeout():
    """`waiters` counts each waiting operation, whatever it waits for and however."""
    clock = ManualClock()
    full = Queue(1, clock=clock)
    full.put(0)
    empty = Queue(clock=clock)
    assert clock.waiters == 0
    with LoopThread() as loop:
        threads = [spawn(empty.get), spawn(empty.get, timeout=9), spawn(full.put, 1), spawn(full.join)]
        futures = [loop.submit(empty.get_async()), loop.submit(full.put_async(2, timeout=9)), loop.submit(full.join_async())]
        clock.wait_for_waiters(7)
        assert clock.waiters == 7
        for _ in range(3):
            empty.put("x")
            full.get()
            full.task_done()
        assert [worker.result() for worker in threads] == ["x", "x", None, None]
        assert [future.result(PATIENCE) for future in futures] == ["x", None, None]
        assert clock.waiters == 0


def test_waiters_of_other_clocks_do_not_count():
    """A clock counts its own objects only."""
    clock, other = ManualClock(), ManualClock()
    queue = Queue(clock=other)
    getter = spawn(queue.get)
    other.wait_for_waiters(1)
    assert clock.waiters == 0
    queue.put(1)
    assert getter.result() == 1


def test_wait_for_waiters_times_out_in_real_time():
    """`wait_for_waiters` gives up after real seconds and says how many there were."""
    clock = ManualClock()
    with pytest.raises(TimeoutError) as info:
        clock.wait_for_waiters(2, timeout=0.02)
    assert "2" in str(info.value) and "0" in str(info.value)
    clock.wait_for_waiters(0, timeout=0.02)


def test_wait_for_waiters_wakes_when_they_come():
    """It returns as soon as enough of them wait."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    watcher = spawn(clock.wait_for_waiters, 3, timeout=PATIENCE)
    getters = [spawn(queue.get) for _ in range(3)]
    watcher.result()
    queue.put_many(range(3))
    assert sorted(getter.result() for getter in getters) == [0, 1, 2]


def test_with_clock_is_the_default_inside():
    """`with clock:` serves objects made inside, and only those."""
    clock = ManualClock()
    with clock:
        inside = Queue()
    outside = Queue()
    getter = spawn(inside.get, timeout=7)
    clock.wait_for_waiters(1)
    clock.advance(7)
    with pytest.raises(Empty):
        getter.result()
    other = spawn(outside.get)
    wait_until(lambda: outside.statistics().waiting_getters == 1)
    assert clock.waiters == 0
    outside.put(1)
    assert other.result() == 1


def test_with_clock_nests_and_an_argument_wins():
    """The innermost clock counts, and `clock=` beats it."""
    outer, inner, given = ManualClock(), ManualClock(), ManualClock()
    with outer:
        with inner:
            first = Queue(clock=given)
            second = Queue()
        third = Queue()
    workers = []
    for queue, clock in ((first, given), (second, inner), (third, outer)):
        workers.append(spawn(queue.get))
        clock.wait_for_waiters(1)
        assert [c.waiters for c in (given, inner, outer) if c is not clock].count(1) == len(workers) - 1
    for queue in (first, second, third):
        queue.put("done")
    assert [worker.result() for worker in workers] == ["done"] * 3


def test_with_clock_is_left_by_an_exception():
    """The default is taken back when the block raises."""
    clock = ManualClock()
    with pytest.raises(KeyError), clock:
        raise KeyError
    queue = Queue()
    getter = spawn(queue.get)
    wait_until(lambda: queue.statistics().waiting_getters == 1)
    assert clock.waiters == 0
    queue.put(0)
    getter.result()


def test_with_clock_keeps_to_its_context():
    """The default lives in a context variable: another context does not see it."""
    clock = ManualClock()
    elsewhere = contextvars.copy_context()
    with clock:
        queue = elsewhere.run(Queue)
    getter = spawn(queue.get)
    wait_until(lambda: queue.statistics().waiting_getters == 1)
    assert clock.waiters == 0
    queue.put(0)
    getter.result()


def test_a_wait_that_begins_to_linger_is_counted_throughout():
    """The thread has another deadline then. It is never seen not to wait."""
    for _ in range(200):
        clock = ManualClock()
        queue = Queue(3, clock=clock)
        getter = spawn(queue.get_many, 10, linger=10)
        clock.wait_for_waiters(1)
        queue.put_many([1, 2])
        assert [clock.waiters for _ in range(100)] == [1] * 100
        queue.put(3)
        assert getter.result() == [1, 2, 3]


def test_no_deadline_is_rearmed_by_a_miss():
    """The deadline is computed once: items taken by others do not lengthen a wait."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    getter = spawn(queue.get, timeout=10)
    clock.wait_for_waiters(1)
    for _ in range(9):
        clock.advance(1)
        assert clock.waiters == 1
    clock.advance(1)
    with pytest.raises(Empty):
        getter.result()


@on_loops
async def test_no_deadline_is_rearmed_by_a_miss_async():
    """The same when the waiter was woken in vain in between."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    getter = asyncio.create_task(queue.get_async(timeout=10))
    await settle()
    clock.advance(6)
    queue.put_nowait("stolen")
    assert queue.get_nowait() == "stolen"
    await settle()
    assert not getter.done()
    await clock.advance_async(3.999999999)
    assert not getter.done()
    await clock.advance_async(1e-9)
    with pytest.raises(Empty):
        await getter


def test_an_item_and_the_deadline_together():
    """When both come before the waiter runs, it has one of the two, and the item is never lost."""
    for _ in range(100):
        clock = ManualClock()
        queue = Queue(clock=clock)
        getter = spawn(queue.get, timeout=1)
        clock.wait_for_waiters(1)
        putter = spawn(queue.put, "item")
        clock.advance(1)
        putter.result()
        error = getter.exception()
        if error is None:
            assert getter.result() == "item"
            assert queue.qsize() == 0
        else:
            assert isinstance(error, Empty)
            assert queue.get_nowait() == "item"


def test_a_thread_that_was_woken_is_not_counted_for_its_next_wait():
    """Waiting for a waiter before each step is enough: a wait that is over is not taken for the one that follows it."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    gave_up = []

    def poll():
        for number in range(20):
            with pytest.raises(Empty):
                queue.get(timeout=2)
            gave_up.append((number, clock.now()))

    polling = spawn(poll)
    for _ in range(20):
        clock.wait_for_waiters(1)
        clock.advance(2)
    polling.result()
    assert gave_up == [(number, 2.0 * (number + 1)) for number in range(20)]


@on_loops
async def test_a_task_that_was_woken_is_not_counted_before_it_runs():
    """The same for tasks: at its deadline a wait is over."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    late, early = (asyncio.create_task(queue.get_async(timeout=seconds)) for seconds in (5, 2))
    await settle()
    assert clock.waiters == 2
    clock.advance(2)
    assert clock.waiters == 1
    await settle()
    assert early.done()
    assert clock.waiters == 1
    clock.advance(3)
    assert clock.waiters == 0
    await settle()
    assert late.done()
    for each in (early, late):
        with pytest.raises(Empty):
            await each


def test_the_attempts_of_a_retry_are_stepped_through():
    """Code that waits in one thread after another delay each time, such as a retry's, needs no more than the two rules of the guide."""
    clock = ManualClock()
    retry = sluicegate.Retry(3, on=OSError, backoff=sluicegate.Backoff(1, 5, jitter="none"), clock=clock)
    began = []

    def fail():
        began.append(clock.now())
        raise OSError

    calling = spawn(retry.call, fail)
    for delay in (1, 2):
        clock.wait_for_waiters(1)
        clock.advance(delay)
    with pytest.raises(OSError):
        calling.result()
    assert began == [0.0, 1.0, 3.0]


@on_loops
async def test_wait_for_waiters_async_lets_the_loop_come_to_its_waits():
    """A task that has not run yet, and a thread, have come to where they wait when it returns."""
    clock = ManualClock()
    queue = Queue(clock=clock)
    task = asyncio.create_task(queue.get_async(timeout=9))
    thread = spawn(Queue(clock=clock).get, timeout=9)
    await clock.wait_for_waiters_async(2)
    assert clock.waiters == 2
    await clock.advance_async(9)
    with pytest.raises(Empty):
        await task
    with pytest.raises(Empty):
        thread.result(PATIENCE)
    with pytest.raises(TimeoutError, match=r"0 of 1 operations are waiting on this clock after 0\.01 seconds"):
        await clock.wait_for_waiters_async(1, timeout=0.01)


@on_loops
async def test_wait_for_waiters_warns_on_a_loop():
    """It would keep the tasks of the loop from coming to where they wait. There is no warning if it need not wait."""
    clock = ManualClock()
    clock.wait_for_waiters(0)
    with (
        pytest.warns(BlockingInEventLoopWarning, match=r"wait_for_waiters\(\) is about to block .* `await wait_for") as told,
        pytest.raises(TimeoutError),
    ):
        clock.wait_for_waiters(1, timeout=0.01)
    assert told[0].filename == __file__


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (None, TypeError), ("1", TypeError)])
def test_wait_for_waiters_refuses_what_is_no_time(timeout, error):
    """As every timeout; a negative one would have had no end."""
    with pytest.raises(error, match="timeout"):
        ManualClock().wait_for_waiters(1, timeout)
