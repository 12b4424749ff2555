"""`Latest` from coroutines, on loops of every kind, and beside threads."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from helpers import (
    LOOP_KINDS,
    PATIENCE,
    LoopThread,
    collect,
    eventually,
    finish,
    new_loop,
    on_loops,
    run_on,
    settle,
    spawn,
    step,
    wait_until,
)

from sluicegate import BlockingInEventLoopWarning, Empty, Latest, ShutDown
from sluicegate.testing import ManualClock


def waiting(latest):
    return latest.statistics().waiting_readers


async def seen_by(values):
    return [value async for value in values]


# --------------------------------------------------------------------------------------------------------------- waiting


@on_loops
async def test_what_is_there_needs_no_turn():
    """A value that is there, or a newer one, is had without suspending."""
    latest = Latest(3)
    assert step(latest.get_async()) == (True, 3)
    assert step(latest.get_async(timeout=5)) == (True, 3)
    assert step(latest.changed_async(0)) == (True, (3, 1))


@on_loops
async def test_after_128_operations_in_a_row_the_others_run():
    """An iteration that is always ahead of its loop does not starve it."""
    latest = Latest(0)
    turns = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    for _ in range(129):
        await latest.get_async()
    assert turns == [1]
    asyncio.get_running_loop().call_soon(turns.append, 2)
    version = 0
    for number in range(129):
        latest.set(number)
        _, version = await latest.changed_async(version)
    assert turns == [1, 2]


@on_loops
async def test_the_first_value_ends_the_wait_for_it():
    """Of all who wait, set from a task and from a thread."""
    for way in (Latest.set, lambda latest, value: spawn(latest.set, value).result()):
        latest = Latest()
        tasks = [asyncio.ensure_future(wait) for wait in (latest.get_async(), latest.get_async(), latest.changed_async(0))]
        await eventually(lambda: waiting(latest) == 3)  # noqa: B023
        way(latest, 7)
        assert await asyncio.gather(*tasks) == [7, 7, (7, 1)]


@on_loops
async def test_changed_waits_for_a_newer_version():
    """Than that which the caller has, or than that which there is at its first step."""
    latest = Latest("a")
    tasks = [asyncio.ensure_future(latest.changed_async(since)) for since in (1, None, 2)]
    await eventually(lambda: waiting(latest) == 3)
    latest.set("b")
    assert await tasks[0] == await tasks[1] == ("b", 2)
    await settle()
    assert not tasks[2].done()
    latest.set("c")
    assert await tasks[2] == ("c", 3)


@on_loops
async def test_timeouts():
    """At their time, by the object's clock, and no waiter is left in the wait queue."""
    clock = ManualClock()
    latest = Latest(clock=clock)
    tasks = [asyncio.ensure_future(wait) for wait in (latest.get_async(5), latest.changed_async(timeout=5))]
    await eventually(lambda: clock.waiters == 2)
    await clock.advance_async(4.999999999)
    assert not any(task.done() for task in tasks)
    await clock.advance_async(0.000000001)
    for task in tasks:
        with pytest.raises(Empty, match="has not been set yet|newer than version 0"):
            await task
    assert (waiting(latest), clock.waiters) == (0, 0)


@pytest.mark.parametrize("bad", [-1, float("nan"), "1", True])
@on_loops
async def test_bad_arguments(bad):
    """As in threads."""
    for latest in (Latest(), Latest(1)):
        for wait in (latest.get_async(bad), latest.changed_async(0, timeout=bad), latest.changed_async(bad)):
            with pytest.raises((ValueError, TypeError), match="timeout|since"):
                await wait
        assert waiting(latest) == 0


@on_loops
async def test_a_cancelled_reader_leaves_no_trace():
    """It takes nothing, and what was set meanwhile is there for its next call."""
    latest = Latest("a")
    for let_it_be_woken in (False, True):
        version = latest.version
        tasks = [asyncio.ensure_future(latest.changed_async(version)) for _ in range(3)]
        await eventually(lambda: waiting(latest) == 3)
        if let_it_be_woken:
            latest.set("b")
        tasks[1].cancel("enough")
        if not let_it_be_woken:
            latest.set("b")
        assert await tasks[0] == await tasks[2] == ("b", version + 1)
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        assert waiting(latest) == 0
        assert await latest.changed_async(version) == ("b", version + 1)


@on_loops
async def test_a_blocking_call_on_the_loops_thread_warns():
    """And names what to use."""
    latest = Latest(1)
    ticks = latest.every(1000)
    next(ticks)
    for call, instead in (
        (lambda: Latest().get(timeout=0.001), "await get_async"),
        (lambda: latest.changed(timeout=0.001), "await changed_async"),
    ):
        with pytest.warns(BlockingInEventLoopWarning, match=instead), pytest.raises(Empty):
            call()


# ------------------------------------------------------------------------------------------------------------- iteration


@on_loops
async def test_iteration_skips_what_was_replaced():
    """It begins with the value that there is, and ends with the last."""
    latest = Latest(0)
    task = asyncio.ensure_future(seen_by(latest))
    await eventually(lambda: waiting(latest) == 1)
    for number in range(1, 4):
        latest.set(number)
    await settle()
    latest.set(4)
    latest.shutdown()
    assert await task == [0, 3, 4]


@on_loops
async def test_an_iteration_that_is_cancelled_in_between_goes_on():
    """`anext` with a timeout of its own misses nothing."""
    latest = Latest(0)
    values = latest.__aiter__()
    assert await values.__anext__() == 0
    for number in range(1, 20):
        task = asyncio.ensure_future(values.__anext__())
        await eventually(lambda: waiting(latest) == 1)
        latest.set(number)
        task.cancel()
        try:
            assert await task == number
        except asyncio.CancelledError:
            assert await values.__anext__() == number


@on_loops
async def test_every_gives_the_newest_at_each_tick():
    """The first at once, then one a period, whether or not it has changed; missed ticks are left out; the end brings the last."""
    clock = ManualClock()
    latest = Latest(clock=clock)
    seen = []

    async def sample():
        async for value in latest.every(10):
            seen.append((clock.now(), value))

    task = asyncio.ensure_future(sample())
    await eventually(lambda: waiting(latest) == 1)
    await clock.advance_async(3)
    latest.set("a")
    await eventually(lambda: len(seen) == 1 and clock.waiters == 1)
    latest.set("b")
    latest.set("c")
    await clock.advance_async(6.999999999)
    assert len(seen) == 1
    await clock.advance_async(0.000000001)
    await clock.advance_async(10)
    await clock.advance_async(25)  # two and a half
    await clock.advance_async(5)
    latest.set("d")
    await settle()
    latest.shutdown()
    await task
    assert seen == [(3.0, "a"), (10.0, "c"), (20.0, "c"), (45.0, "c"), (50.0, "c"), (50.0, "d")]
    assert clock.waiters == 0


@on_loops
async def test_a_cancelled_tick_is_given_to_the_next_call():
    """Nothing has been given with it."""
    clock = ManualClock()
    latest = Latest(1, clock=clock)
    ticks = latest.every(10)
    assert await ticks.__anext__() == 1
    task = asyncio.ensure_future(ticks.__anext__())
    await eventually(lambda: clock.waiters == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (waiting(latest), clock.waiters) == (0, 0)
    await clock.advance_async(10)
    assert step(ticks.__anext__()) == (True, 1)


@on_loops
async def test_ticks_by_the_real_clock():
    """Each comes, in order, and none before its time."""
    latest = Latest(0)
    loop, times = asyncio.get_running_loop(), []
    async for value in latest.every(0.005):
        times.append(loop.time())
        if value == 5:
            break
        latest.set(value + 1)
    assert len(times) == 6
    assert times[-1] - times[0] >= 5 * 0.005 - 0.004, "the first tick may be late, and the others not early"


@on_loops
async def test_an_error_ends_iterations_with_itself():
    """What iterates raises it; `get_async` and `changed_async` raise ShutDown."""
    latest, error = Latest(1), LookupError("feed lost")
    tasks = [asyncio.ensure_future(seen_by(latest)), asyncio.ensure_future(seen_by(latest.every(1000)))]
    await eventually(lambda: waiting(latest) == 2)
    latest.fail(error)
    for task in tasks:
        with pytest.raises(LookupError) as failed:
            await task
        assert failed.value is error
    for wait in (latest.get_async(), latest.changed_async(1)):
        with pytest.raises(ShutDown) as ended:
            await wait
        assert ended.value.__cause__ is error


@on_loops
async def test_an_immediate_end_is_no_success():
    """The iterations raise ShutDown."""
    latest = Latest(1)
    tasks = [asyncio.ensure_future(seen_by(latest)), asyncio.ensure_future(seen_by(latest.every(1000)))]
    await eventually(lambda: waiting(latest) == 2)
    latest.shutdown(immediate=True)
    for task in tasks:
        with pytest.raises(ShutDown):
            await task


# ----------------------------------------------------------------------------------------------------- loops and threads


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
def test_readers_on_several_loops_and_threads(loop_kind):
    """One set tells them all, from wherever it comes; all end with the same value."""
    latest = Latest()
    with LoopThread(loop_kind) as one, LoopThread(loop_kind) as other:
        tasks = [loop.submit(seen_by(latest)) for loop in (one, other) for _ in range(5)]
        threads = [spawn(list, latest) for _ in range(3)]
        wait_until(lambda: waiting(latest) == 13)
        for number in range(500):
            latest.set(number)
        latest.shutdown()
        seen = [each.result(PATIENCE) for each in (*tasks, *threads)]
    assert all(numbers[-1] == 499 and numbers == sorted(set(numbers)) for numbers in seen)


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
def test_a_loop_that_ends_with_readers_in_line(loop_kind):
    """Nobody else notices."""
    latest = Latest()
    loop = new_loop(loop_kind)
    task = loop.create_task(latest.get_async())
    loop.run_until_complete(settle())
    reader = spawn(latest.get)
    wait_until(lambda: waiting(latest) == 2)
    latest.set(1)  # with the wake-up undelivered
    assert reader.result() == 1
    finish(loop)
    assert task.done()
    assert waiting(latest) == 0
    assert run_on(loop_kind, latest.get_async()) == 1


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
def test_a_storm_of_cancellations(loop_kind):
    """Readers that time out, are cancelled before and after they are woken, and read on: each sees versions grow up to the last, and every
    value that was set goes exactly once."""
    latest, last = Latest(), 4000
    gone = []

    class Value:
        def __init__(self, number):
            self.number = number

        def __del__(self):
            gone.append(self.number)

    async def read(number):
        dice, version, reads = random.Random(number), 0, 0
        loop = asyncio.get_running_loop()
        while True:
            since, timeout = version, dice.choice([None, None, 0, 0.0005])
            task = asyncio.ensure_future(latest.changed_async(since, timeout=timeout))
            luck = dice.random()
            if luck < 0.2:
                loop.call_soon(task.cancel)
            elif luck < 0.4:
                loop.call_later(dice.random() * 0.001, task.cancel)
            try:
                value, version = await task
            except (Empty, asyncio.CancelledError):
                continue
            except ShutDown:
                return version, reads
            assert version > since
            assert value.number == version
            reads += 1

    async def sample():
        versions = [value.number async for value in latest.every(0.001)]
        assert versions == sorted(versions)
        return versions[-1], len(versions)

    def write():
        for number in range(1, last + 1):
            latest.set(Value(number))
            if number % 10 == 0:
                time.sleep(0)  # gives the GIL away, so that readers come in between
        latest.shutdown()

    async def main(first):
        return await asyncio.gather(*(read(first + each) for each in range(20)), sample())

    with LoopThread(loop_kind) as one, LoopThread(loop_kind) as other:
        runs = [one.submit(main(0)), other.submit(main(100))]
        spawn(write).result()
        ends = [end for run in runs for end in run.result(PATIENCE * 2)]
    assert [version for version, _ in ends] == [last] * len(ends)
    assert waiting(latest) == 0
    seen = latest.statistics()
    assert (seen.version, seen.sets) == (last, last)
    assert seen.replaced <= last - 1
    del runs, ends
    collect()  # a cancelled task may be in a cycle with its error
    assert sorted(gone) == list(range(1, last)), "all but the last, each once"
    assert latest.peek().number == last
