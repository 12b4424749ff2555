"""`LeakyBucket`, which spaces evenly and bounds its line, and `SlidingWindow`, which is exact in any window."""

from __future__ import annotations

import random

import pytest
from helpers import on_loops, settle, spawn
from rates import NANOSECOND, advance_ns, cancelled, in_line, ns, tasks_in_line

from sluicegate import LeakyBucket, RateLimited, SlidingWindow
from sluicegate.testing import ManualClock

# ------------------------------------------------------------------------------------------------------- leaky bucket


def test_even_spacing():
    """However long it has been idle, what comes together goes one by one."""
    clock = ManualClock()
    bucket = LeakyBucket(10, capacity=100, clock=clock)
    assert (bucket.rate, bucket.capacity, bucket.period) == (10.0, 100, 1.0)
    for idle in (0, 5, 1000):
        clock.advance(idle)
        assert bucket.try_acquire()
        assert not bucket.try_acquire()
        clock.advance(0.1 - NANOSECOND)
        assert not bucket.try_acquire()
        clock.advance(NANOSECOND)
        assert bucket.try_acquire()
        clock.advance(0.1)


def test_weights_space_what_follows():
    """One of n goes as soon as it may; the next n / rate later."""
    clock = ManualClock()
    bucket = LeakyBucket(2, capacity=100, clock=clock)
    weights = [3, 1, 0.5, 10]
    reservations = [bucket.reserve(n) for n in weights]
    assert [reservation.ready_at for reservation in reservations] == [0.0, 1.5, 2.0, 2.25]
    assert bucket.retry_after(7) == 7.25


def test_waiters_are_spaced():
    """Threads that wait are admitted one by one."""
    clock = ManualClock()
    bucket = LeakyBucket(2, capacity=100, clock=clock)
    assert bucket.acquire(2)
    first, second = in_line(clock, (bucket.acquire, 4), (bucket.acquire, 1))
    clock.advance(1 - NANOSECOND)
    assert bucket.statistics().waiters == 2
    clock.advance(NANOSECOND)
    first.result()
    clock.advance(2 - NANOSECOND)
    assert bucket.statistics().waiters == 1
    clock.advance(NANOSECOND)
    second.result()


def test_the_line_is_bounded():
    """At most `capacity` waiters; the next one is refused at once, and may wait when there is room."""
    clock = ManualClock()
    bucket = LeakyBucket(1, capacity=2, clock=clock)
    assert bucket.acquire()
    workers = in_line(clock, bucket.acquire, bucket.acquire)
    for call in (bucket.acquire, bucket.reserve, lambda: bucket.acquire(timeout=1000)):
        with pytest.raises(RateLimited) as refused:
            call()
        assert refused.value.retry_after > 0
    assert bucket.statistics().waiters == 2
    assert bucket.statistics().refused == 3
    assert not bucket.try_acquire()
    clock.advance(1)
    workers[0].result()
    (late,) = in_line(clock, bucket.acquire)
    with pytest.raises(RateLimited):
        bucket.acquire()
    clock.advance(2)
    workers[1].result()
    late.result()
    assert bucket.statistics().admitted == 4


@on_loops
async def test_the_line_is_bounded_for_tasks():
    """Tasks as well; one that is cancelled makes room."""
    clock = ManualClock()
    bucket = LeakyBucket(1, capacity=2, clock=clock)
    assert await bucket.acquire_async()
    first, second = await tasks_in_line(bucket.acquire_async(), bucket.acquire_async())
    with pytest.raises(RateLimited):
        await bucket.acquire_async()
    await cancelled(first)
    (third,) = await tasks_in_line(bucket.acquire_async())
    await clock.advance_async(2)
    await settle()
    assert second.done() and third.done()


def test_reservations_stand_in_the_line_too():
    """As long as their time has not come."""
    clock = ManualClock()
    bucket = LeakyBucket(1, capacity=3, clock=clock)
    ready = bucket.reserve()
    assert ready.delay == 0.0
    reservations = [bucket.reserve() for _ in range(3)]
    assert [reservation.delay for reservation in reservations] == [1.0, 2.0, 3.0]
    with pytest.raises(RateLimited):
        bucket.reserve()
    with pytest.raises(RateLimited):
        bucket.acquire()
    clock.advance(1)
    assert bucket.reserve().delay == 3.0
    assert reservations[2].cancel() == 0.0  # one is booked behind it
    last = bucket.reserve()
    assert last.delay == 4.0
    assert last.cancel() == 1.0
    assert bucket.reserve().delay == 4.0


def test_no_line_at_all():
    """Capacity 0: a request that would have to wait is refused."""
    clock = ManualClock()
    bucket = LeakyBucket(1, capacity=0, clock=clock)
    for _ in range(3):
        assert bucket.acquire()
        with pytest.raises(RateLimited) as refused:
            bucket.acquire()
        assert refused.value.retry_after == 1.0
        with pytest.raises(RateLimited):
            bucket.reserve()
        clock.advance(refused.value.retry_after)


def test_changing_a_shaper():
    """`set_rate` with and without a capacity; the waiters stay in the wait queue."""
    clock = ManualClock()
    bucket = LeakyBucket(1, capacity=5, clock=clock)
    bucket.acquire()
    workers = in_line(clock, *[bucket.acquire] * 3)
    bucket.set_rate(10)
    assert (bucket.rate, bucket.capacity) == (10.0, 5)
    bucket.set_rate(10, capacity=1)
    assert (bucket.rate, bucket.capacity) == (10.0, 1)
    with pytest.raises(RateLimited):
        bucket.acquire()
    for worker in workers:
        clock.advance(0.1)
        worker.result()
    (late,) = in_line(clock, bucket.acquire)
    bucket.set_rate(0.1, capacity=3)
    clock.advance(10)
    late.result()


def test_the_tokens_of_a_shaper():
    """As a bucket of one."""
    clock = ManualClock()
    bucket = LeakyBucket(2, capacity=5, clock=clock)
    assert bucket.tokens == 1.0
    bucket.try_acquire()
    assert bucket.tokens == 0.0
    clock.advance(0.25)
    assert bucket.tokens == 0.5
    clock.advance(5)
    assert bucket.tokens == 1.0
    bucket.debit(4)
    assert bucket.tokens == -3.0
    assert bucket.retry_after() == 2.0
    bucket.refund(2)
    assert bucket.tokens == -1.0
    bucket.refund(100)
    assert bucket.tokens == 1.0
    assert bucket.try_acquire()
    assert not bucket.try_acquire()


# ----------------------------------------------------------------------------------------------------- sliding window


def test_any_window():
    """Nine of ten at the end of one minute do not allow ten at the beginning of the next."""
    clock = ManualClock()
    window = SlidingWindow(10, 60, clock=clock)
    assert (window.limit, window.period, window.tokens) == (10.0, 60.0, 10.0)
    assert window.try_acquire(1)
    clock.advance(59)
    assert window.try_acquire(9)
    assert not window.try_acquire(1)
    assert window.tokens == 0.0
    clock.advance(1)
    assert window.tokens == 1.0
    assert window.try_acquire(1)
    assert not window.try_acquire(1)
    assert window.retry_after(1) == 59.0
    assert window.retry_after(10) == 60.0
    clock.advance(59)
    assert window.try_acquire(9)
    assert not window.try_acquire(1)


def test_half_open():
    """What came at t counts until just before t + period."""
    clock = ManualClock(start=5)
    window = SlidingWindow(1, 0.5, clock=clock)
    assert window.try_acquire()
    clock.advance(0.5 - NANOSECOND)
    assert not window.try_acquire()
    clock.advance(NANOSECOND)
    assert window.try_acquire()


def test_waiters_of_a_window():
    """Each goes as soon as enough has left the window."""
    clock = ManualClock()
    window = SlidingWindow(5, 10, clock=clock)
    assert window.acquire(2)
    clock.advance(1)
    assert window.acquire(3)
    small, large, last = in_line(clock, (window.acquire, 1), (window.acquire, 5), (window.acquire, 1))
    clock.advance(9)
    small.result()
    assert window.statistics().waiters == 2
    clock.advance(1)
    assert window.statistics().waiters == 2
    clock.advance(9 - NANOSECOND)
    assert window.statistics().waiters == 2
    clock.advance(NANOSECOND)
    large.result()
    assert window.statistics().waiters == 1
    clock.advance(10)
    last.result()


def test_a_leap_over_many_windows():
    """Waiters are admitted in their own windows, not all in the last."""
    clock = ManualClock()
    window = SlidingWindow(2, 10, clock=clock)
    window.acquire(2)
    workers = in_line(clock, *[window.acquire] * 6)
    clock.advance(30)
    for worker in workers:
        worker.result()
    assert window.statistics().waited_seconds == 2 * (10 + 20 + 30)
    assert window.tokens == 0.0


def test_changing_a_window():
    """`set_limit` with and without a period; waiters follow, and one that no longer fits gets a ValueError."""
    clock = ManualClock()
    window = SlidingWindow(5, 10, clock=clock)
    window.acquire(5)
    large, small = in_line(clock, (window.acquire, 5), (window.acquire, 1))
    window.set_limit(3)
    assert (window.limit, window.period) == (3.0, 10.0)
    assert isinstance(large.exception(), ValueError)
    window.set_limit(3, 4)
    assert (window.limit, window.period) == (3.0, 4.0)
    clock.advance(4)
    small.result()
    assert window.tokens == 2.0
    window.set_limit(6)
    assert window.try_acquire(5)
    assert not window.try_acquire(1)


def test_a_larger_limit_lets_the_head_go():
    """At once, if there is room now."""
    clock = ManualClock()
    window = SlidingWindow(1, 10, clock=clock)
    window.acquire()
    first, second = in_line(clock, window.acquire, window.acquire)
    window.set_limit(2)
    first.result()
    assert window.statistics().waiters == 1
    window.set_limit(3)
    second.result()


def test_refunds_and_debts_of_a_window():
    """A refund makes room at once, never above the limit; a debt counts as if it had been let go."""
    clock = ManualClock()
    window = SlidingWindow(5, 10, clock=clock)
    window.refund(3)
    assert window.tokens == 5.0
    window.acquire(5)
    window.refund(2)
    assert window.tokens == 2.0
    assert window.try_acquire(2)
    window.debit(4)
    assert window.tokens == -4.0
    assert not window.try_acquire(1)
    clock.advance(10)
    assert window.tokens == 5.0
    window.acquire(1)
    window.refund(100)
    assert window.tokens == 5.0
    assert window.try_acquire(5)
    assert not window.try_acquire(1)


def test_a_refund_lets_a_waiter_of_a_window_go():
    """The head goes at once."""
    clock = ManualClock()
    window = SlidingWindow(5, 10, clock=clock)
    window.acquire(5)
    (waiter,) = in_line(clock, (window.acquire, 2))
    window.refund(1)
    assert window.statistics().waiters == 1
    window.refund(1)
    waiter.result()


def test_reservations_of_a_window():
    """Ready when there is room; cancelled, they make room; settled, the difference does."""
    clock = ManualClock()
    window = SlidingWindow(5, 10, clock=clock)
    window.acquire(3)
    clock.advance(4)
    now = window.reserve(2)
    later = window.reserve(3)
    last = window.reserve(2)
    assert [reservation.ready_at for reservation in (now, later, last)] == [4.0, 10.0, 14.0]
    assert last.cancel() == 2.0
    assert window.reserve(2).ready_at == 14.0
    clock.advance(20)
    used = window.reserve(5)
    assert window.tokens == 0.0
    used.settle(2)
    assert window.tokens == 3.0
    more = window.reserve(1)
    more.settle(10)
    assert window.tokens < 0


def test_a_quota_of_somebody_else():
    """Against a server that counts in a sliding window of its own, never refused in a thousand calls at random times."""
    dice = random.Random(5)
    clock = ManualClock()
    window = SlidingWindow(7, 3, clock=clock)
    server = []
    now = 0
    for _ in range(1000):
        wait = ns(window.retry_after())
        step = dice.choice([wait, wait, wait + dice.randrange(10**9), 0])
        advance_ns(clock, step)
        now += step
        if window.try_acquire():
            server = [at for at in server if at + 3 * 10**9 > now]
            assert len(server) < 7
            server.append(now)


def test_a_window_remembers_only_its_period():
    """A window with a long past is as quick as a new one: what has left it is forgotten."""
    clock = ManualClock()
    window = SlidingWindow(1000, 1, clock=clock)
    for _ in range(20):
        for _ in range(1000):
            assert window.try_acquire()
        assert not window.try_acquire()
        clock.advance(1)
    assert window.tokens == 1000.0


def test_a_thread_waits_for_a_window_on_the_system_clock():
    """Real time."""
    window = SlidingWindow(3, 0.02)
    workers = [spawn(window.acquire) for _ in range(9)]
    for worker in workers:
        worker.result()
    assert window.statistics().admitted == 9
