"""The rate limiters among the tasks of one loop, asyncio's and uvloop's."""

from __future__ import annotations

import asyncio
import random
import sys
import warnings

import pytest
from helpers import PATIENCE, eventually, on_loops, settle, spawn, step
from rates import BUCKETS, KINDS, NANOSECOND, cancelled, figures, one_key, one_per_second, tasks_in_line, used_up

from sluicegate import (
    BlockingInEventLoopWarning,
    Clock,
    KeyedTokenBucket,
    LeakyBucket,
    RateLimited,
    RateLimits,
    SlidingWindow,
    TokenBucket,
)
from sluicegate.testing import ManualClock

kinds = pytest.mark.parametrize("kind", KINDS)
buckets = pytest.mark.parametrize("make", list(BUCKETS.values()), ids=list(BUCKETS))


async def move(clock, seconds):
    """Moves the clock and lets everything that follows happen."""
    await clock.advance_async(seconds)
    await settle()


# ------------------------------------------------------------------------------------------------------------- the line


@kinds
@on_loops
async def test_what_fits_does_not_suspend(kind):
    """With a token there, the loop is not given up."""
    limiter = one_per_second(kind, ManualClock())
    assert step(limiter.acquire_async()) == (True, True)
    assert limiter.retry_after() == 1.0


@kinds
@on_loops
async def test_a_wait_ends_on_time(kind):
    """After a second, and not a nanosecond earlier."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    (task,) = await tasks_in_line(limiter.acquire_async())
    await move(clock, 1 - NANOSECOND)
    assert not task.done()
    await move(clock, NANOSECOND)
    assert task.result() is True
    assert figures(limiter).waited_seconds == 1.0
    assert clock.waiters == 0


@kinds
@on_loops
async def test_strictly_in_order(kind):
    """Each second one; a leap of the clock lets go all that were due on the way."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    went = []

    async def go(number):
        await limiter.acquire_async()
        went.append(number)

    tasks = await tasks_in_line(*(go(number) for number in range(10)))
    for number in range(5):
        await move(clock, 1)
        assert went == list(range(number + 1))
    await move(clock, 3.5)
    await eventually(lambda: len(went) == 8)
    assert went == list(range(8))
    await move(clock, 1.5)
    await asyncio.gather(*tasks)
    assert went == list(range(10))
    assert figures(limiter).waited_seconds == sum(range(11))


@kinds
@on_loops
async def test_a_longer_wait_than_the_timeout_is_refused_at_once(kind):
    """Without a turn of the loop, nothing taken."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    before = limiter.tokens
    with pytest.raises(RateLimited) as refused:
        await limiter.acquire_async(timeout=1 - NANOSECOND)
    assert refused.value.retry_after == 1.0
    assert limiter.tokens == before
    (task,) = await tasks_in_line(limiter.acquire_async(timeout=1))
    with pytest.raises(RateLimited) as refused:
        await limiter.acquire_async(timeout=1.5)
    assert refused.value.retry_after == 2.0
    await move(clock, 1)
    assert task.result() is True


@buckets
@on_loops
async def test_a_large_one_among_small_ones(make):
    """A task that waits for 50 is served when its turn has come, although others ask for 1 in a loop."""
    clock = ManualClock()
    bucket = make(10, 50, clock)
    bucket.debit(50)
    count = 0

    async def ask_in_a_loop():
        nonlocal count
        while True:
            await bucket.acquire_async()
            count += 1

    small = await tasks_in_line(*(ask_in_a_loop() for _ in range(20)))
    (large,) = await tasks_in_line(bucket.acquire_async(50))
    for _ in range(20):
        await move(clock, 0.1)
    assert count == 20
    await move(clock, 5 - NANOSECOND)
    assert not large.done()
    assert count == 20
    await move(clock, NANOSECOND)
    assert large.done()
    for _ in range(10):
        await move(clock, 0.1)
    assert count == 30
    for task in small:
        await cancelled(task)
    assert bucket.tokens == 0.0


@buckets
@on_loops
async def test_many_small_ones_and_tries_beside_a_large_one(make):
    """Nor does `try_acquire` in a loop get anything while it waits."""
    clock = ManualClock()
    bucket = make(100, 50, clock)
    bucket.debit(50)
    (large,) = await tasks_in_line(bucket.acquire_async(50))
    for _ in range(49):
        await move(clock, 0.01)
        assert not bucket.try_acquire(1)
        with pytest.raises(RateLimited):
            await bucket.acquire_async(1, timeout=0)
    await move(clock, 0.01)
    assert large.done()


# ---------------------------------------------------------------------------------------------------------- cancelling


@kinds
@on_loops
async def test_a_cancelled_head_lets_the_next_go_earlier(kind):
    """It gives everything back: the next has its place."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    first, second, third = await tasks_in_line(*(limiter.acquire_async() for _ in range(3)))
    await move(clock, 0.5)
    await cancelled(first)
    assert figures(limiter).waiters == 2
    await move(clock, 0.5)
    assert second.result() is True
    assert not third.done()
    await move(clock, 1)
    assert third.result() is True
    assert figures(limiter).admitted == 3


@kinds
@on_loops
async def test_a_cancelled_one_in_the_middle(kind):
    """Those behind it go earlier, those before it as they would."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    tasks = await tasks_in_line(*(limiter.acquire_async() for _ in range(4)))
    await cancelled(tasks[1])
    assert limiter.retry_after() == 4.0
    for task in (tasks[0], tasks[2], tasks[3]):
        assert not task.done()
        await move(clock, 1)
        assert task.result() is True


@buckets
@on_loops
async def test_a_cancelled_large_head_lets_several_go_at_once(make):
    """What had come in for it is there for those behind it, in the same moment."""
    clock = ManualClock()
    bucket = make(1, 10, clock)
    bucket.debit(10)
    large, *small = await tasks_in_line(bucket.acquire_async(10), *(bucket.acquire_async(2) for _ in range(5)))
    await move(clock, 7)
    assert not any(task.done() for task in small)
    await cancelled(large)
    await settle(30)
    assert [task.done() for task in small] == [True, True, True, False, False]
    assert bucket.tokens == 1.0
    await move(clock, 1)
    assert small[3].done()
    await cancelled(small[4])
    assert bucket.tokens == 0.0


@kinds
@on_loops
async def test_cancelled_after_it_was_granted(kind):
    """Its time has come but it has not run: it is cancelled, and has taken nothing."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    first, second = await tasks_in_line(limiter.acquire_async(), limiter.acquire_async())
    clock.advance(1)  # nothing of this loop runs in between
    first.cancel()
    outcome = (await asyncio.gather(first, return_exceptions=True))[0]
    await settle(30)
    if isinstance(outcome, asyncio.CancelledError):
        assert second.done(), "what the cancelled one was given is lost"
        assert figures(limiter).admitted == 2
    else:
        assert outcome is True
        assert not second.done()
        await cancelled(second)


@kinds
@on_loops
async def test_cancelled_alone_after_it_was_granted(kind):
    """The same with nobody behind: the next caller has it."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    (task,) = await tasks_in_line(limiter.acquire_async())
    clock.advance(1)
    task.cancel()
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    await settle()
    assert limiter.try_acquire() == isinstance(outcome, asyncio.CancelledError)
    assert clock.waiters == 0


@kinds
@on_loops
async def test_wait_for_is_safe(kind):
    """`asyncio.wait_for` around a wait that is too long: nothing is taken, nobody is left."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    for _ in range(5):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(limiter.acquire_async(), 0.001)
    assert figures(limiter).waiters == clock.waiters == 0
    assert limiter.retry_after() == 1.0
    await move(clock, 1)
    assert await asyncio.wait_for(limiter.acquire_async(), PATIENCE) is True


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is new in 3.11")
@kinds
@on_loops
async def test_asyncio_timeout_is_safe(kind):
    """`asyncio.timeout` around a wait that is too long, on the system's clock and on one that stands still."""
    for clock in (None, ManualClock()):
        limiter = used_up(kind, clock)
        limiter.pause_for(1000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await limiter.acquire_async()
        assert figures(limiter).waiters == 0


@kinds
@on_loops
async def test_a_coroutine_closed_by_hand(kind):
    """`close()` on a coroutine that waits is a cancellation too."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    coroutine = limiter.acquire_async()
    assert step(coroutine) == (False, None)
    assert figures(limiter).waiters == 1
    coroutine.close()
    assert figures(limiter).waiters == clock.waiters == 0
    clock.advance(1)
    assert limiter.try_acquire()


@pytest.mark.parametrize("seed", range(4))
@kinds
@on_loops
async def test_a_storm_of_cancels(kind, seed):
    """Half of the waiters are cancelled at random, some of them after they were granted: no token is lost, none is made."""
    dice = random.Random(seed)
    clock = ManualClock()
    limiter = used_up(kind, clock)
    went, seconds = 0, 0

    async def go():
        nonlocal went
        await limiter.acquire_async()
        went += 1

    tasks = []
    for _ in range(300):
        tasks.append(asyncio.create_task(go()))
        if dice.random() < 0.5:
            dice.choice(tasks[-5:]).cancel()
        if dice.random() < 0.5:
            await settle(dice.randrange(3))
        if dice.random() < 0.3 and figures(limiter).waiters:
            # A waiter is in the wait queue, so what is refilled is used; it may be cancelled the moment after.
            clock.advance(1)
            seconds += 1
            if dice.random() < 0.3:
                dice.choice(tasks[-5:]).cancel()
            if dice.random() < 0.5:
                await settle(12)
    await settle(50)
    left = figures(limiter).waiters
    # At most one token can be spare, where everybody had left: a bucket of one holds no more.
    assert went <= seconds
    clock.advance(left)
    await settle(50)
    await eventually(lambda: figures(limiter).waiters == 0)
    await settle(50)
    seen = figures(limiter)
    assert seen.admitted == went + 1
    assert sum(task.done() and not task.cancelled() for task in tasks) == went
    assert all(task.done() for task in tasks)
    await move(clock, 1)
    assert limiter.try_acquire()
    assert not limiter.try_acquire()


@pytest.mark.parametrize("seed", range(4))
@buckets
@on_loops
async def test_a_storm_of_cancels_loses_no_token(make, seed):
    """The same with amounts and a burst that is never reached: what went and what is left is what came in, to the billionth."""
    dice = random.Random(seed)
    clock = ManualClock()
    bucket = make(8, 10**6, clock)
    bucket.debit(10**6)
    went, milliseconds = 0, 0

    async def go(n):
        nonlocal went
        await bucket.acquire_async(n)
        went += n

    tasks = []
    for _ in range(300):
        tasks.append(asyncio.create_task(go(dice.choice([1, 1, 2, 0.25, 10]))))
        if dice.random() < 0.5:
            dice.choice(tasks[-10:]).cancel()
        if dice.random() < 0.5:
            await settle(dice.randrange(3))
        if dice.random() < 0.3:
            step = dice.choice([1, 125, 1000, 3000])
            clock.advance(step / 1000)
            milliseconds += step
            if dice.random() < 0.5:
                for task in tasks[-20:]:
                    if dice.random() < 0.3:
                        task.cancel()
    await settle(50)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert figures(bucket).waiters == clock.waiters == 0
    assert went > 0
    assert round((went + bucket.tokens) * 10**6) == milliseconds * 8000


# --------------------------------------------------------------------------------------------------- changes of the rate


@buckets
@on_loops
async def test_set_rate_shortens_and_lengthens_a_wait(make):
    """A wait that has begun follows the rate."""
    clock = ManualClock()
    bucket = make(0.125, 1, clock)
    bucket.acquire()
    first, second = await tasks_in_line(bucket.acquire_async(), bucket.acquire_async())
    await move(clock, 4)
    bucket.set_rate(1)
    await move(clock, 0.5 - NANOSECOND)
    assert not first.done()
    await move(clock, NANOSECOND)
    assert first.done()
    assert not second.done()
    await move(clock, 0.5)
    bucket.set_rate(1 / 64)
    await move(clock, 31.5)
    assert not second.done()
    await move(clock, 0.5)
    assert second.done()


@on_loops
async def test_set_rate_shortens_a_wait_on_the_system_clock():
    """The loop's timer for the head is set anew."""
    bucket = TokenBucket(1e-3, burst=1)
    bucket.acquire()
    tasks = await tasks_in_line(bucket.acquire_async(), bucket.acquire_async())
    bucket.set_rate(1000)
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)


@on_loops
async def test_set_rate_from_a_thread():
    """The same from another thread."""
    bucket = TokenBucket(1e-3, burst=1)
    bucket.acquire()
    tasks = await tasks_in_line(bucket.acquire_async(), bucket.acquire_async())
    spawn(bucket.set_rate, 1000).result()
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)


@buckets
@on_loops
async def test_a_waiter_that_no_longer_fits(make):
    """It gets a ValueError; those behind it go earlier."""
    clock = ManualClock()
    bucket = make(1, 10, clock)
    bucket.debit(10)
    large, small = await tasks_in_line(bucket.acquire_async(8), bucket.acquire_async(2))
    bucket.set_rate(1, burst=5)
    await settle()
    with pytest.raises(ValueError):
        await large
    await move(clock, 2)
    assert small.done()


@kinds
@on_loops
async def test_a_pause_while_they_wait(kind):
    """Nobody goes before it has passed, then one a second."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    first, second = await tasks_in_line(limiter.acquire_async(), limiter.acquire_async())
    limiter.pause_for(10)
    await move(clock, 10 - NANOSECOND)
    assert not first.done()
    await move(clock, NANOSECOND)
    assert first.done()
    assert not second.done()
    await move(clock, 1)
    assert second.done()


@buckets
@on_loops
async def test_a_refund_lets_the_head_go(make):
    """From the same loop, and from a thread."""
    clock = ManualClock()
    bucket = make(1e-6, 4, clock)
    bucket.debit(4)
    first, second = await tasks_in_line(bucket.acquire_async(2), bucket.acquire_async(2))
    bucket.refund(2)
    await asyncio.wait_for(first, PATIENCE)
    spawn(bucket.refund, 2).result()
    await asyncio.wait_for(second, PATIENCE)


# -------------------------------------------------------------------------------------------------- the loop's own life


@kinds
@on_loops
async def test_on_the_system_clock(kind):
    """Real time: waits of a fraction of a millisecond to a few, each served, and never too early."""
    clock = Clock()
    for rate in (3000, 300):
        started = clock.now()
        limiter = {
            "TokenBucket": lambda rate=rate: TokenBucket(rate, burst=1),
            "LeakyBucket": lambda rate=rate: LeakyBucket(rate, capacity=100),
            "SlidingWindow": lambda rate=rate: SlidingWindow(1, 1 / rate),
            "TokenBucketKey": lambda rate=rate: one_key(KeyedTokenBucket(rate, burst=1, max_keys=1)),
            "RateLimits": lambda rate=rate: RateLimits(one=TokenBucket(rate, burst=1), other=SlidingWindow(1, 1 / rate)),
        }[kind]()
        times = []

        async def go(limiter=limiter, times=times):
            await limiter.acquire_async()
            times.append(clock.now())

        await asyncio.gather(*(go() for _ in range(15)))
        for _ in range(15):
            await go()
        # A billionth of a second is the rounding of the floats.
        assert all(time - started >= number / rate - 1e-8 for number, time in enumerate(times))
        assert figures(limiter).admitted == 30


@on_loops
async def test_the_loops_turn():
    """After 128 operations in a row the loop gets a turn, and not at each."""
    bucket = TokenBucket(1, burst=10000, clock=ManualClock())
    suspended = 0
    for _ in range(1000):
        coroutine = bucket.acquire_async()
        returned, _ = step(coroutine)
        if not returned:
            suspended += 1
            coroutine.close()
    assert 5 <= suspended <= 9
    assert bucket.tokens == 9000 + suspended


@on_loops
async def test_a_busy_task_does_not_starve_the_loop():
    """A task that always gets its token lets a callback run."""
    bucket = TokenBucket(1e9, burst=10**6)
    turned = asyncio.Event()
    asyncio.get_running_loop().call_soon(turned.set)
    done = 0
    while not turned.is_set():
        await bucket.acquire_async()
        done += 1
        assert done <= 129
    assert done > 1


@kinds
@on_loops
async def test_blocking_in_an_event_loop_warns(kind):
    """A blocking call that has to wait on a loop's thread warns, at the caller's line, and names its async twin."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    for twin, block in (
        ("acquire_async", limiter.acquire),
        ("acquire_async", lambda: limiter.acquire(timeout=5)),
        ("wait_async", lambda: limiter.reserve().wait()),
    ):
        before = clock.waiters

        def release(before=before):
            clock.wait_for_waiters(before + 1)
            clock.advance(1)

        releasing = spawn(release)
        with pytest.warns(BlockingInEventLoopWarning, match=twin) as told:
            assert block() is True
        releasing.result()
        assert len(told) == 1
        assert told[0].filename == __file__


@kinds
@on_loops
async def test_with_in_an_event_loop_warns(kind):
    """So does `with` that has to wait."""
    clock = ManualClock()
    limiter = used_up(kind, clock)

    def release():
        clock.wait_for_waiters(1)
        clock.advance(1)

    releasing = spawn(release)
    with pytest.warns(BlockingInEventLoopWarning):
        with limiter:
            pass
    releasing.result()


@kinds
@on_loops
async def test_the_warning_as_an_error_changes_nothing(kind):
    """With the warning turned into an error nothing was taken, and no waiter is left."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    before = limiter.tokens
    with warnings.catch_warnings():
        warnings.simplefilter("error", BlockingInEventLoopWarning)
        with pytest.raises(BlockingInEventLoopWarning):
            limiter.acquire()
    assert limiter.tokens == before
    assert figures(limiter).waiters == clock.waiters == 0
    assert limiter.retry_after() == 1.0


@kinds
@on_loops
async def test_what_does_not_wait_does_not_warn(kind):
    """Blocking calls that need not wait are fine on a loop."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limiter = one_per_second(kind, ManualClock())
        assert limiter.acquire() is True
        assert not limiter.try_acquire()
        with pytest.raises(RateLimited):
            limiter.acquire(timeout=0.5)
        clock = ManualClock()
        ready = one_per_second(kind, clock).reserve()
        assert ready.wait() is True


@on_loops
async def test_to_thread():
    """`asyncio.to_thread` with the blocking call, without a warning."""
    clock = ManualClock()
    bucket = TokenBucket(1, burst=1, clock=clock)
    bucket.acquire()
    blocked = asyncio.create_task(asyncio.to_thread(bucket.acquire))
    await eventually(lambda: clock.waiters == 1)
    await move(clock, 1)
    assert await blocked is True


def test_under_trio_a_wait_is_a_runtime_error():
    """Under trio the error names what is supported."""
    trio = pytest.importorskip("trio")
    bucket = TokenBucket(1, burst=1, clock=ManualClock())
    bucket.acquire()

    async def main():
        with pytest.raises(RuntimeError, match="(?i)asyncio"):
            await bucket.acquire_async()

    trio.run(main)
    assert figures(bucket).waiters == 0


@on_loops
async def test_a_thousand_tasks():
    """A long line, served by one leap of the clock."""
    clock = ManualClock()
    bucket = TokenBucket(1000, burst=1, clock=clock)
    bucket.acquire()
    tasks = [asyncio.create_task(bucket.acquire_async()) for _ in range(1000)]
    await settle()
    assert figures(bucket).waiters == 1000
    clock.advance(1)
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
    assert figures(bucket).waited_seconds == pytest.approx(sum(range(1001)) / 1000)
    assert bucket.tokens == 0.0


@on_loops
async def test_grants_while_the_loop_was_busy():
    """A loop that computed for ten seconds of the clock: all who were due in that time have gone by their own schedule."""
    clock = ManualClock()
    bucket = TokenBucket(1, burst=2, clock=clock)
    bucket.debit(2)
    tasks = await tasks_in_line(*(bucket.acquire_async() for _ in range(12)))
    clock.advance(10)
    assert not bucket.try_acquire()
    await settle(30)
    assert figures(bucket).waited == 10
    assert sum(task.done() for task in tasks) == 10
    assert not bucket.try_acquire()
    await move(clock, 2)
    await asyncio.gather(*tasks)
    assert figures(bucket).waited_seconds == sum(range(13))
