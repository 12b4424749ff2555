"""Semaphores among coroutines: acquire_async, permits, cancellation, and the view with `asyncio.Semaphore`'s interface."""

from __future__ import annotations

import asyncio
import inspect
import re
import warnings

import pytest
from helpers import LoopThread, eventually, new_loop, on_loops, settle, spawn, step, wait_until

from sluicegate import BlockingInEventLoopWarning, BoundedSemaphore, Overloaded, Semaphore
from sluicegate.testing import ManualClock


async def tasks_in_line(semaphore, *coroutines):
    """Tasks that wait, in this order."""
    tasks = []
    for coroutine in coroutines:
        before = semaphore.statistics().waiters
        tasks.append(asyncio.create_task(coroutine))
        await eventually(lambda before=before: semaphore.statistics().waiters == before + 1)
    return tasks


@on_loops
async def test_acquire_async():
    """Without suspending if it can, else in the wait queue; weights too."""
    semaphore = Semaphore(3)
    assert step(semaphore.acquire_async(2)) == (True, True)
    assert await semaphore.acquire_async(timeout=1.0) is True
    (waiter,) = await tasks_in_line(semaphore, semaphore.acquire_async(n=2))
    semaphore.release()
    await settle()
    assert not waiter.done()
    semaphore.release()
    assert await waiter is True
    assert inspect.iscoroutinefunction(semaphore.acquire_async)


@on_loops
async def test_a_timeout_is_false():
    """As in a thread; a permit raises. Nothing is taken, and those behind go on."""
    clock = ManualClock()
    semaphore = Semaphore(2, clock=clock, name="db")
    await semaphore.acquire_async(2)
    assert await semaphore.acquire_async(timeout=0) is False

    async def enter():
        async with semaphore.permit(2, timeout=2):
            raise AssertionError

    first, second, third = await tasks_in_line(semaphore, enter(), semaphore.acquire_async(timeout=3), semaphore.acquire_async())
    await clock.advance_async(2)
    with pytest.raises(Overloaded, match="within 2 seconds") as caught:
        await first
    assert (caught.value.reason, caught.value.name) == ("expired", "db")
    await clock.advance_async(1)
    assert await second is False
    semaphore.release(1)
    assert await third is True
    assert semaphore.statistics().waiters == clock.waiters == 0


@on_loops
async def test_what_is_refused():
    """The same arguments are bad as in a thread, and nothing has changed; they are looked at when permits are free, too."""
    semaphore = Semaphore(2)
    for bad, error in ((0, ValueError), (True, TypeError), (1.0, TypeError), (3, ValueError), (10**30, OverflowError)):
        with pytest.raises(error, match="'n'"):
            await semaphore.acquire_async(bad)
    for bad, error in ((-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("1", TypeError), (1e300, OverflowError)):
        with pytest.raises(error, match="'timeout'"):
            await semaphore.acquire_async(timeout=bad)
    assert semaphore.value == 2


@on_loops
async def test_async_with():
    """The semaphore itself, and a permit."""
    semaphore = Semaphore(2)
    async with semaphore as answer:
        assert answer is True
        assert semaphore.value == 1
    permit = semaphore.permit(2)
    async with permit as same:
        assert same is permit
        assert semaphore.value == 0
    with pytest.raises(KeyError):
        async with permit:
            raise KeyError
    assert (semaphore.value, semaphore.size) == (2, 2)


@on_loops
async def test_cancellation_takes_nothing_and_passes_the_wake_up_on():
    """Cancelled while it waits, and cancelled when it has been woken and has not come yet."""
    semaphore = Semaphore(1)
    await semaphore.acquire_async()
    first, second, third = await tasks_in_line(semaphore, *(semaphore.acquire_async() for _ in range(3)))
    first.cancel()
    await settle()
    semaphore.release()  # the second is woken
    second.cancel()
    assert await third is True
    assert first.cancelled()
    assert second.cancelled()
    assert (semaphore.value, semaphore.statistics().waiters, semaphore.size) == (0, 0, 1)


@on_loops
async def test_a_permit_cancelled_at_any_moment_is_not_lost():
    """Entered, waiting, woken: whatever the task was doing, the permit comes back."""
    semaphore = BoundedSemaphore(1)

    async def work():
        async with semaphore.permit():
            await asyncio.sleep(0)

    for turns in range(8):
        await semaphore.acquire_async()
        tasks = await tasks_in_line(semaphore, work(), work())
        semaphore.release()
        await settle(turns)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not tasks[1].cancelled()
        assert (semaphore.value, semaphore.statistics().waiters) == (1, 0)


@on_loops
async def test_a_waiting_coroutine_that_is_closed():
    """`close()` of a coroutine that nobody drives any more gives up its place."""
    semaphore = Semaphore(1)
    await semaphore.acquire_async()
    coroutine = semaphore.acquire_async()
    assert step(coroutine) == (False, None)
    (waiter,) = await tasks_in_line(semaphore, semaphore.acquire_async())
    semaphore.release()
    coroutine.close()
    assert await waiter is True


@on_loops
async def test_the_line_is_strict():
    """An arrival after a waiter has been woken joins the wait queue behind it, and does not overtake it."""
    semaphore = Semaphore(1)
    await semaphore.acquire_async()
    (waiter,) = await tasks_in_line(semaphore, semaphore.acquire_async())
    semaphore.release()
    assert semaphore.locked()
    assert semaphore.try_acquire() is False
    assert await semaphore.acquire_async(timeout=0) is False
    assert await waiter is True


@on_loops
async def test_the_loop_gets_its_turn():
    """After 128 operations in a row without suspending, others run."""
    semaphore = Semaphore(1)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    for _ in range(1000):
        await semaphore.acquire_async()
        semaphore.release()
    counter.cancel()
    assert turns >= 5


@on_loops
async def test_a_blocking_call_on_a_loop_warns():
    """It names its asynchronous twin, and only when it would wait."""
    semaphore = Semaphore(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert semaphore.acquire()
    with pytest.warns(BlockingInEventLoopWarning, match=r"await acquire_async\(\)"):
        assert not semaphore.acquire(timeout=0.01)
    permit = semaphore.permit(timeout=0.01)
    with pytest.warns(BlockingInEventLoopWarning, match="async with permit"), pytest.raises(Overloaded):
        permit.__enter__()


def test_without_a_loop():
    """Told, and nothing is taken."""
    semaphore = Semaphore(0)
    coroutine = semaphore.acquire_async()
    with pytest.raises(RuntimeError, match="need a running asyncio event loop"):
        step(coroutine)
    assert semaphore.statistics().waiters == 0


# ---------------------------------------------------------------------------------------------- threads and loops mixed


def test_threads_and_tasks_stand_in_one_line():
    """In the order in which they came, threads and tasks alike."""
    semaphore = Semaphore(1)
    semaphore.acquire()
    order = []

    def thread(name):
        semaphore.acquire()
        order.append(name)
        semaphore.release()

    async def task(name):
        async with semaphore:
            order.append(name)

    with LoopThread() as one, LoopThread() as other:
        waits = []
        for number, start in enumerate((lambda n: spawn(thread, n), lambda n: one.submit(task(n)), lambda n: other.submit(task(n))) * 3):
            waits.append(start(number))
            wait_until(lambda number=number: semaphore.statistics().waiters == number + 1)
        semaphore.release()
        for wait in waits:
            wait.result(30)
    assert order == list(range(9))


@pytest.mark.parametrize("end", ["close", "stop"])
def test_a_loop_that_ends_with_a_waiter_passes_its_turn_on(end):
    """Closed or stopped, with the wake-up undelivered: the next waiter gets the permit."""
    semaphore = Semaphore(1)
    semaphore.acquire()
    loop = new_loop()
    task = loop.create_task(semaphore.acquire_async())
    loop.run_until_complete(settle())
    waiter = spawn(semaphore.acquire)
    wait_until(lambda: semaphore.statistics().waiters == 2)
    if end == "close":
        task._log_destroy_pending = False
        loop.close()
    semaphore.release()
    assert waiter.result() is True
    if end == "stop":
        task.cancel()
        loop.run_until_complete(settle())
        loop.close()
    assert semaphore.statistics().held == 1


# ------------------------------------------------------------------------------------------------------------- the view


def test_the_view():
    """Equal views of the same semaphore, which they keep; no more than asyncio's interface, and its repr."""
    semaphore = Semaphore(2, name="db")
    view = semaphore.async_semaphore
    assert view == semaphore.async_semaphore
    assert hash(view) == hash(semaphore.async_semaphore)
    assert view != Semaphore(2).async_semaphore
    assert {name for name in dir(view) if not name.startswith("_")} == {"acquire", "locked", "release"}
    assert {name for name in dir(asyncio.Semaphore) if not name.startswith("_")} == {"acquire", "locked", "release"}
    assert re.fullmatch(r"<Semaphore\.async_semaphore object at 0x[0-9a-f]+ \[unlocked, value:2\]>", repr(view))
    semaphore.acquire(n=2)
    assert repr(view).endswith(" [locked]>")


@on_loops
async def test_the_views_interface():
    """As asyncio's: acquire is True, `async with` gives None, a bounded one refuses."""
    view = BoundedSemaphore(1).async_semaphore
    assert await view.acquire() is True
    assert view.locked()
    waiter = asyncio.create_task(view.acquire())
    await settle()
    assert repr(view).endswith(" [locked, waiters:1]>")
    view.release()
    assert await waiter is True
    view.release()
    with pytest.raises(ValueError, match="too many times"):
        view.release()
    async with view as nothing:
        assert nothing is None
        assert view._value == 0
    assert view._value == 1


@on_loops
async def test_tasks_run_in_the_order_of_their_turns():
    """Who comes when others have been woken, and there would be enough, runs after them (as in asyncio's)."""
    semaphore = Semaphore(0)
    order = []

    async def wait(name):
        await semaphore.acquire_async()
        order.append(name)

    (first,) = await tasks_in_line(semaphore, wait("first"))

    async def release_and_wait():
        semaphore.release(3)
        assert semaphore.value == 2, "one is on its way to the first"
        assert semaphore.locked(), "nor can it be had: the first has not come"
        await wait("second")

    await asyncio.gather(first, release_and_wait(), wait("third"))
    assert order == ["first", "second", "third"]
