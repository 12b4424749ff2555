"""The rate limiters among threads: one strict line, and the schedule alone decides when each goes."""

from __future__ import annotations

import random
import threading
import time

import pytest
from helpers import PATIENCE, spawn, wait_until
from rates import BUCKETS, KINDS, NANOSECOND, advance_ns, figures, in_line, ns, one_key, one_per_second, used_up

from sluicegate import Clock, KeyedTokenBucket, LeakyBucket, RateLimited, RateLimits, SlidingWindow, TokenBucket
from sluicegate.testing import ManualClock

kinds = pytest.mark.parametrize("kind", KINDS)
buckets = pytest.mark.parametrize("make", list(BUCKETS.values()), ids=list(BUCKETS))


def done(workers):
    return [worker.done() for worker in workers]


# ------------------------------------------------------------------------------------------------------- at once or not


@kinds
def test_what_fits_goes_at_once(kind):
    """No waiting, no waiter; the next one is told when."""
    clock = ManualClock()
    limiter = one_per_second(kind, clock)
    assert limiter.retry_after() == 0.0
    assert limiter.acquire() is True
    assert limiter.try_acquire() is False
    assert limiter.retry_after() == 1.0
    clock.advance(0.25)
    assert limiter.retry_after() == 0.75
    assert clock.waiters == 0
    clock.advance(0.75)
    assert limiter.try_acquire() is True


@kinds
def test_a_wait_ends_on_time(kind):
    """After a second, and not a nanosecond earlier."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    (waiter,) = in_line(clock, limiter.acquire)
    clock.advance(1 - NANOSECOND)
    assert figures(limiter).waiters == 1
    assert not waiter.done()
    clock.advance(NANOSECOND)
    assert waiter.result() is True
    seen = figures(limiter)
    assert (seen.waited, seen.waited_seconds, seen.waiters) == (1, 1.0, 0)
    assert clock.waiters == 0


@kinds
def test_a_longer_wait_than_the_timeout_is_refused_at_once(kind):
    """Nothing is taken, nobody waits, and the exception tells when it could be."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    before = limiter.tokens
    for timeout in (0, 0.5, 1 - NANOSECOND):
        with pytest.raises(RateLimited) as refused:
            limiter.acquire(timeout=timeout)
        assert refused.value.retry_after == 1.0
    assert limiter.tokens == before
    assert figures(limiter).waiters == clock.waiters == 0
    assert figures(limiter).refused == 3
    clock.advance(refused.value.retry_after)
    assert limiter.acquire(timeout=0) is True


@kinds
def test_a_wait_as_long_as_the_timeout(kind):
    """Is no longer than the timeout."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    waiter = spawn(limiter.acquire, timeout=1)
    clock.wait_for_waiters(1)
    clock.advance(1)
    assert waiter.result() is True
    assert limiter.retry_after() == 1.0


@kinds
def test_those_in_line_count_for_the_timeout(kind):
    """Behind three others it would be the fourth second."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    workers = in_line(clock, *[limiter.acquire] * 3)
    assert limiter.retry_after() == 4.0
    with pytest.raises(RateLimited) as refused:
        limiter.acquire(timeout=3.5)
    assert refused.value.retry_after == 4.0
    last = spawn(limiter.acquire, timeout=4)
    clock.wait_for_waiters(4)
    clock.advance(4)
    assert [worker.result() for worker in [*workers, last]] == [True] * 4


@kinds
def test_try_acquire_never_overtakes(kind):
    """While somebody waits, it is False."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    first, second = in_line(clock, limiter.acquire, limiter.acquire)
    for _ in range(10):
        assert limiter.try_acquire() is False
    clock.advance(1)
    first.result()
    assert limiter.try_acquire() is False
    clock.advance(1)
    second.result()
    assert limiter.try_acquire() is False
    clock.advance(1)
    assert limiter.try_acquire() is True


def test_a_small_one_does_not_overtake_a_large_one():
    """There are tokens for it, but it comes after the one that waits for more."""
    clock = ManualClock()
    bucket = TokenBucket(1, burst=10, clock=clock)
    bucket.acquire(5)
    large, small = in_line(clock, (bucket.acquire, 10), (bucket.acquire, 1))
    assert bucket.try_acquire(1) is False
    assert bucket.retry_after(1) == 7.0
    with pytest.raises(RateLimited) as refused:
        bucket.acquire(1, timeout=6)
    assert refused.value.retry_after == 7.0
    clock.advance(5)
    large.result()
    assert not small.done()
    clock.advance(1)
    small.result()


# --------------------------------------------------------------------------------------------------------- the line


@kinds
def test_strictly_in_order(kind):
    """Each second one, in the order they came."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    workers = in_line(clock, *[limiter.acquire] * 6)
    for turn, worker in enumerate(workers):
        clock.advance(1 - NANOSECOND)
        assert figures(limiter).waiters == 6 - turn
        clock.advance(NANOSECOND)
        worker.result()
        assert not any(done(workers[turn + 1 :]))
    assert figures(limiter).waited_seconds == 1 + 2 + 3 + 4 + 5 + 6


@kinds
def test_a_clock_that_leaps(kind):
    """All that were due on the way have gone, each at its own time; what is left of the time is there too."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    workers = in_line(clock, *[limiter.acquire] * 5)
    clock.advance(4.5)
    for worker in workers[:4]:
        worker.result()
    assert not workers[4].done()
    wait_until(lambda: figures(limiter).waiters == 1)
    assert figures(limiter).waited == 4
    # 1 + 2 + 3 + 4, and the one who still waits.
    assert figures(limiter).waited_seconds == 10 + 4.5
    clock.advance(0.5)
    workers[4].result()
    assert limiter.retry_after() == 1.0


@kinds
def test_late_wake_ups_do_not_shift_the_schedule(kind):
    """The clock leaps ten seconds beyond: the next waiter was due after its own seconds, not after the leap."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    workers = in_line(clock, *[limiter.acquire] * 3)
    clock.advance(13)
    for worker in workers:
        worker.result()
    assert figures(limiter).waited_seconds == 6
    assert limiter.try_acquire() is True


@buckets
def test_weights(make):
    """Each waits for its own amount, in order."""
    clock = ManualClock()
    bucket = make(10, 50, clock)
    bucket.debit(50)
    weights = [1, 50, 2.5, 10, 0.5]
    workers = in_line(clock, *[(bucket.acquire, n) for n in weights])
    for turn, (n, worker) in enumerate(zip(weights, workers, strict=True)):
        clock.advance(n / 10 - NANOSECOND)
        assert figures(bucket).waiters == len(weights) - turn
        clock.advance(NANOSECOND)
        worker.result()
        assert not any(done(workers[turn + 1 :]))
    assert bucket.tokens == 0.0


@buckets
def test_a_large_one_among_small_ones(make):
    """A waiter for 50 is served when its turn has come, although others ask for 1 in a loop."""
    clock = ManualClock()
    bucket = make(10, 50, clock)
    bucket.debit(50)
    stop = threading.Event()
    counts = [0] * 4

    def ask_in_a_loop(number):
        while not stop.is_set():
            bucket.acquire(1)
            counts[number] += 1

    small = [spawn(ask_in_a_loop, number) for number in range(4)]
    clock.wait_for_waiters(4)
    large = in_line(clock, (bucket.acquire, 50))[0]
    for turn in range(1, 5):  # those that were there before it
        clock.advance(0.1)
        wait_until(lambda: sum(counts) == turn)  # noqa: B023
        clock.wait_for_waiters(5)
    assert sum(counts) == 4
    clock.advance(5 - NANOSECOND)
    assert not large.done()
    assert sum(counts) == 4
    assert not bucket.try_acquire(1)
    clock.advance(NANOSECOND)
    assert large.result() is True
    assert sum(counts) == 4
    stop.set()
    clock.advance(1)
    for worker in small:
        worker.result()


@kinds
def test_statistics_while_they_wait(kind):
    """Waits that go on are counted as far as they have come."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    workers = in_line(clock, limiter.acquire, limiter.acquire)
    clock.advance(0.5)
    seen = figures(limiter)
    assert (seen.admitted, seen.waited, seen.waiters, seen.waited_seconds) == (1, 0, 2, 1.0)
    clock.advance(1.5)
    for worker in workers:
        worker.result()
    seen = figures(limiter)
    assert (seen.admitted, seen.refused, seen.waited, seen.waiters, seen.waited_seconds) == (3, 0, 2, 0, 3.0)


# ------------------------------------------------------------------------------------------------ the rate is changed


@buckets
def test_set_rate_shortens_a_wait(make):
    """Half of the token is there; the other half comes eight times as fast."""
    clock = ManualClock()
    bucket = make(0.125, 1, clock)
    bucket.acquire()
    first, second = in_line(clock, bucket.acquire, bucket.acquire)
    clock.advance(4)
    bucket.set_rate(1)
    assert bucket.rate == 1.0
    clock.advance(0.5 - NANOSECOND)
    assert figures(bucket).waiters == 2
    clock.advance(NANOSECOND)
    first.result()
    clock.advance(1)
    second.result()
    assert figures(bucket).waited_seconds == 4.5 + 5.5


@buckets
def test_set_rate_lengthens_a_wait(make):
    """Half of the token is there; the other half takes eight times as long."""
    clock = ManualClock()
    bucket = make(1, 1, clock)
    bucket.acquire()
    first, second = in_line(clock, bucket.acquire, bucket.acquire)
    clock.advance(0.5)
    bucket.set_rate(0.125)
    clock.advance(0.5)
    assert figures(bucket).waiters == 2
    clock.advance(3.5 - NANOSECOND)
    assert figures(bucket).waiters == 2
    clock.advance(NANOSECOND)
    first.result()
    clock.advance(8 - NANOSECOND)
    assert figures(bucket).waiters == 1
    clock.advance(NANOSECOND)
    second.result()


@buckets
def test_set_rate_that_lets_somebody_go_at_once(make):
    """What came in at the old rate is kept, and at the new one the wait is over."""
    clock = ManualClock()
    bucket = make(1e-9, 1, clock)
    bucket.acquire()
    (waiter,) = in_line(clock, bucket.acquire)
    bucket.set_rate(1e9)
    clock.advance(NANOSECOND)
    assert waiter.result() is True


@buckets
def test_a_waiter_that_no_longer_fits(make):
    """It gets a ValueError; those behind it go on waiting, and go earlier."""
    clock = ManualClock()
    bucket = make(1, 10, clock)
    bucket.acquire(10)
    small, large, last = in_line(clock, (bucket.acquire, 1), (bucket.acquire, 10), (bucket.acquire, 2))
    bucket.set_rate(1, burst=5)
    error = large.exception()
    assert isinstance(error, ValueError)
    assert "10" in str(error) and "5" in str(error)
    clock.advance(1)
    small.result()
    clock.advance(2)
    last.result()
    assert bucket.burst == 5.0
    assert figures(bucket).waiters == 0


@buckets
def test_a_larger_burst(make):
    """The tokens stay as they are; there is room for more."""
    clock = ManualClock()
    bucket = make(1, 2, clock)
    bucket.acquire(1)
    bucket.set_rate(1, burst=10)
    assert bucket.tokens == 1.0
    (waiter,) = in_line(clock, (bucket.acquire, 10))
    clock.advance(9)
    waiter.result()
    bucket.set_rate(1, burst=3)
    clock.advance(100)
    assert bucket.tokens == 3.0
    bucket.set_rate(2, burst=1)
    assert bucket.tokens == 1.0


@buckets
def test_a_timeout_that_a_change_of_rate_outlasts(make):
    """A wait that has grown beyond its timeout is refused, at the timeout at the latest, and nothing is taken."""
    clock = ManualClock()
    bucket = make(1, 1, clock)
    bucket.acquire()
    waiter = spawn(bucket.acquire, timeout=2)
    clock.wait_for_waiters(1)
    clock.advance(0.5)
    bucket.set_rate(0.1)
    clock.advance(1.5)
    error = waiter.exception()
    assert isinstance(error, RateLimited)
    assert error.retry_after > 0
    assert bucket.tokens == pytest.approx(0.5 + 0.15)
    assert figures(bucket).waiters == clock.waiters == 0


def test_the_period_of_a_rate():
    """`set_rate` counts in the bucket's own period."""
    clock = ManualClock()
    bucket = TokenBucket(60, burst=1, period=60, clock=clock)
    bucket.acquire()
    assert bucket.retry_after() == 1.0
    bucket.set_rate(6)
    assert (bucket.rate, bucket.period) == (6.0, 60.0)
    assert bucket.retry_after() == pytest.approx(10.0, abs=1.1e-9)


# --------------------------------------------------------------------------------------- refunds, debts, pauses


@buckets
def test_a_refund_lets_the_head_go(make):
    """What is given back goes to the waiters, in order."""
    clock = ManualClock()
    bucket = make(1e-6, 10, clock)
    bucket.acquire(10)
    first, second = in_line(clock, (bucket.acquire, 4), (bucket.acquire, 4))
    bucket.refund(3)
    assert figures(bucket).waiters == 2
    assert not bucket.try_acquire(1)
    bucket.refund(2)
    first.result()
    assert figures(bucket).waiters == 1
    bucket.refund(3)
    second.result()
    assert bucket.tokens == 0.0


@buckets
def test_a_refund_never_fills_above_the_burst(make):
    """Not even a very large one."""
    bucket = make(1, 10, ManualClock())
    bucket.refund(5)
    assert bucket.tokens == 10.0
    bucket.acquire(4)
    bucket.refund(100)
    assert bucket.tokens == 10.0


@buckets
def test_a_debt_is_waited_off(make):
    """`debit` asks nobody; later callers wait."""
    clock = ManualClock()
    bucket = make(1, 10, clock)
    bucket.debit(25)
    assert bucket.tokens == -15.0
    assert bucket.retry_after(1) == 16.0
    assert not bucket.try_acquire(1)
    (waiter,) = in_line(clock, (bucket.acquire, 1))
    bucket.debit(4)
    clock.advance(16)
    assert figures(bucket).waiters == 1
    clock.advance(4)
    waiter.result()
    assert bucket.tokens == 0.0


def test_initial():
    """What is there at first; the burst unless it is said."""
    clock = ManualClock()
    assert TokenBucket(1, burst=5, clock=clock).tokens == 5.0
    assert TokenBucket(1, burst=5, initial=None, clock=clock).tokens == 5.0
    assert TokenBucket(1, burst=5, initial=0, clock=clock).tokens == 0.0
    bucket = TokenBucket(1, burst=5, initial=2.5, clock=clock)
    assert bucket.try_acquire(2.5)
    assert not bucket.try_acquire(0.5)
    clock.advance(100)
    assert bucket.tokens == 5.0


@kinds
def test_a_pause(kind):
    """Nobody is admitted before it has passed; a shorter one does not shorten it."""
    clock = ManualClock()
    limiter = one_per_second(kind, clock)
    limiter.pause_for(5)
    assert limiter.try_acquire() is False
    assert limiter.retry_after() == 5.0
    with pytest.raises(RateLimited) as refused:
        limiter.acquire(timeout=4)
    assert refused.value.retry_after == 5.0
    limiter.pause_for(1)
    assert limiter.retry_after() == 5.0
    clock.advance(5 - NANOSECOND)
    assert limiter.try_acquire() is False
    clock.advance(NANOSECOND)
    assert limiter.try_acquire() is True
    assert limiter.retry_after() == 1.0


@kinds
def test_a_pause_while_they_wait(kind):
    """Waits already begun are lengthened, and then go on as ever: one a second."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    first, second = in_line(clock, limiter.acquire, limiter.acquire)
    clock.advance(0.5)
    limiter.pause_for(3)
    clock.advance(3 - NANOSECOND)
    assert figures(limiter).waiters == 2
    clock.advance(NANOSECOND)
    first.result()
    clock.advance(1 - NANOSECOND)
    assert figures(limiter).waiters == 1
    clock.advance(NANOSECOND)
    second.result()


@buckets
def test_tokens_accrue_during_a_pause(make):
    """After it, as many may go as have come in meanwhile."""
    clock = ManualClock()
    bucket = make(1, 10, clock)
    bucket.acquire(10)
    workers = in_line(clock, *[(bucket.acquire, 1)] * 4)
    bucket.pause_for(3)
    clock.advance(3 - NANOSECOND)
    assert figures(bucket).waiters == 4
    clock.advance(NANOSECOND)
    for worker in workers[:3]:
        worker.result()
    assert figures(bucket).waiters == 1
    clock.advance(1)
    workers[3].result()
    assert bucket.tokens == 0.0


@buckets
def test_a_reservation_through_a_pause(make):
    """It stays booked at the end of the pause, and with what has come in by then no more than the burst goes."""
    clock = ManualClock()
    bucket = make(1, 10, clock)
    bucket.pause_for(100)
    reservation = bucket.reserve(10)
    assert reservation.delay == 100.0
    clock.advance(100)
    assert reservation.delay == 0.0
    assert not bucket.try_acquire(1)
    clock.advance(1)
    assert bucket.try_acquire(1)


# ------------------------------------------------------------------------------------------------------- contention


@kinds
def test_contention_at_fixed_instants(kind):
    """Many threads at one moment, again and again: each time exactly as many as the law allows. (x/time/rate exceeds its
    limit under contention: a caller reads the time, loses the processor, and what came in since then is credited twice.)"""
    clock = ManualClock()
    limiter = one_per_second(kind, clock)
    threads, rounds = 8, 20
    barrier = threading.Barrier(threads + 1, timeout=PATIENCE)

    def ask():
        won = []
        for _ in range(rounds):
            barrier.wait()
            won.append(sum(limiter.try_acquire() for _ in range(20)))
            barrier.wait()
        return won

    workers = [spawn(ask) for _ in range(threads)]
    expected = []
    dice = random.Random(7)
    spare = 1.0
    for _ in range(rounds):
        barrier.wait()
        barrier.wait()
        expected.append(1 if spare >= 1 else 0)
        spare = 0.0 if spare >= 1 else spare
        step = dice.choice([0, 0.5, 1, 1, 3])
        clock.advance(step)
        spare = min(1.0, spare + step)
    won = [sum(row) for row in zip(*(worker.result() for worker in workers), strict=True)]
    assert won == expected


@buckets
def test_contention_for_a_burst(make):
    """Eight threads empty a bucket of a thousand: exactly a thousand, whatever they take at a time."""
    clock = ManualClock()
    bucket = make(1e-9, 1000, clock)
    barrier = threading.Barrier(8, timeout=PATIENCE)

    def empty(n):
        barrier.wait()
        taken = 0
        while bucket.try_acquire(n):
            taken += n
        return taken

    workers = [spawn(empty, n) for n in (1, 1, 2, 1, 5, 1, 2, 1)]
    taken = sum(worker.result() for worker in workers)
    taken += sum(bucket.try_acquire(1) for _ in range(10))
    assert taken == 1000
    assert bucket.tokens == 0.0


@buckets
def test_contention_while_the_clock_moves(make):
    """Threads ask as fast as they can while another moves the clock: what they got and what is left is what came in, exactly."""
    clock = ManualClock()
    bucket = make(1000, 10**6, clock)
    bucket.debit(10**6)
    stop = threading.Event()

    def ask(n):
        taken = 0
        while not stop.is_set():
            taken += n * bucket.try_acquire(n)
        return taken

    workers = [spawn(ask, n) for n in (1, 1, 2.5, 1, 7, 1, 1, 0.5)]
    dice = random.Random(71360)
    moved = 0
    for turn in range(500):
        step = dice.choice([0, 1, 999, 10**5, 10**6, 3 * 10**6])
        advance_ns(clock, step)
        moved += step
        if turn % 20 == 0:
            time.sleep(0.0001)  # the others' turn, too
    wait_until(lambda: bucket.tokens < 10)
    stop.set()
    taken = sum(worker.result() for worker in workers)
    assert taken > 0
    came_in = moved * 1000 / 10**9
    assert round((taken + bucket.tokens) * 10**6) == round(came_in * 10**6)


def test_contention_on_a_window_while_the_clock_moves():
    """The same on a window: when the clock has stood still for a moment, there were at most `limit` in any period."""
    clock = ManualClock()
    window = SlidingWindow(50, 1, clock=clock)
    stop = threading.Event()

    def ask():
        times = []
        while not stop.is_set():
            before = ns(clock.now())
            if window.try_acquire():
                times.append((before, ns(clock.now())))
        return times

    workers = [spawn(ask) for _ in range(4)]
    for turn in range(500):
        clock.advance(0.01)
        if turn % 10 == 0:
            time.sleep(0.0001)  # the others' turn, too
    stop.set()
    times = [time for worker in workers for time in worker.result()]
    # Each was let go between two readings: those that certainly fall into one window.
    for start, _ in times:
        assert sum(start <= before and after < start + 10**9 for before, after in times) <= 50
    assert len(times) <= 50 * 6


@kinds
def test_contention_of_waiters(kind):
    """Threads that wait, come again and wait, while the clock moves: one a second and not one more, and nobody is forgotten."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    each, threads = 5, 6

    def ask():
        for _ in range(each):
            limiter.acquire()

    workers = [spawn(ask) for _ in range(threads)]
    for turn in range(1, each * threads + 1):
        clock.wait_for_waiters(1)
        clock.advance(1)
        wait_until(lambda: figures(limiter).admitted == 1 + turn or figures(limiter).waiters == 0)  # noqa: B023
    for _ in range(each * threads):  # where the clock moved while nothing waited
        if all(done(workers)):
            break
        clock.advance(1)
        wait_until(lambda: all(done(workers)) or clock.waiters > 0)
    for worker in workers:
        worker.result()
    assert figures(limiter).admitted == 1 + each * threads
    assert clock.now() >= each * threads


# ------------------------------------------------------------------------------------------------ on the system's clock


@kinds
def test_on_the_system_clock(kind):
    """Threads alone, real time: all are served, and not too early."""
    make = {
        "TokenBucket": lambda: TokenBucket(200, burst=1),
        "LeakyBucket": lambda: LeakyBucket(200, capacity=100),
        "SlidingWindow": lambda: SlidingWindow(1, 0.005),
        "TokenBucketKey": lambda: one_key(KeyedTokenBucket(200, burst=1, max_keys=1)),
        "RateLimits": lambda: RateLimits(a=TokenBucket(200, burst=1), b=SlidingWindow(1, 0.005)),
    }[kind]
    started = time.monotonic()
    limiter = make()
    workers = [spawn(limiter.acquire) for _ in range(21)]
    for worker in workers:
        worker.result()
    assert time.monotonic() - started >= 0.1 - 1e-6
    assert figures(limiter).admitted == 21
    assert figures(limiter).waiters == 0


def test_the_head_leaves_and_the_next_keeps_time():
    """On the system's clock, the first of the line is refused (its wait has grown beyond its timeout): the next is served on time."""
    bucket = TokenBucket(20, burst=1)
    bucket.acquire()
    head = spawn(bucket.acquire, timeout=0.06)
    wait_until(lambda: figures(bucket).waiters == 1 or head.done())
    behind = spawn(bucket.acquire)
    bucket.pause_for(0.2)
    error = head.exception()
    assert error is None or isinstance(error, RateLimited)
    assert behind.result() is True
    assert figures(bucket).waiters == 0


def test_a_thread_that_comes_while_the_leader_sleeps_long():
    """A refund reaches a head that sleeps for a thousand seconds, and those behind it."""
    bucket = TokenBucket(1e-3, burst=5)
    bucket.debit(5)
    workers = [spawn(bucket.acquire) for _ in range(5)]
    wait_until(lambda: figures(bucket).waiters == 5)
    bucket.refund(5)
    for worker in workers:
        worker.result()


def test_retry_after_on_the_system_clock():
    """A request that comes `retry_after` later, or a little after that, is admitted."""
    bucket = TokenBucket(100, burst=1)
    for _ in range(10):
        bucket.try_acquire()
        time.sleep(bucket.retry_after())
        assert bucket.try_acquire()


def test_two_clocks_of_the_same_time():
    """`ready_at` is on the clock that users can read."""
    bucket = TokenBucket(1, burst=1)
    bucket.acquire()
    before = Clock().now()
    reservation = bucket.reserve()
    after = Clock().now()
    assert before <= reservation.ready_at <= after + 1
    assert 0 <= reservation.delay <= 1
    manual = TokenBucket(1, burst=1, clock=ManualClock(start=50))
    manual.acquire()
    assert manual.reserve().ready_at == 51.0
    assert ns(manual.reserve().delay) == 2 * 10**9


# ------------------------------------------------------------------------------------------------- changed by two at once

CHANGED = {
    "TokenBucket": (
        lambda: TokenBucket(1, burst=1),
        lambda limiter, n: limiter.set_rate(n, burst=n),
        lambda limiter: (limiter.rate, limiter.burst),
    ),
    "SlidingWindow": (
        lambda: SlidingWindow(1, 1),
        lambda limiter, n: limiter.set_limit(n, n),
        lambda limiter: (limiter.period, limiter.limit),
    ),
    "TokenBucketKey": (
        lambda: one_key(KeyedTokenBucket(1, burst=1, max_keys=4)),
        lambda limiter, n: limiter.set_rate(n, burst=n),
        lambda limiter: (limiter.rate, limiter.burst),
    ),
}


@pytest.mark.parametrize(("make", "change", "read"), CHANGED.values(), ids=CHANGED)
def test_two_changes_at_once(make, change, read):
    """Whichever comes last: what is told of it is what holds, all of it of one change."""
    for _ in range(300):
        limiter, start = make(), threading.Barrier(2)

        def run(n, limiter=limiter, start=start):
            start.wait()
            change(limiter, n)

        for worker in [spawn(run, 2), spawn(run, 3)]:
            worker.result()
        one, other = read(limiter)
        assert one == other
        assert limiter.retry_after(other) >= 0
        with pytest.raises(ValueError, match="can never be admitted"):
            limiter.retry_after(other + 1)


def test_two_changes_of_all_keys_at_once():
    """Every key has the same, and what is told."""
    for _ in range(100):
        keyed, start = KeyedTokenBucket(1, burst=1, max_keys=1000), threading.Barrier(2)

        def run(n, keyed=keyed, start=start):
            start.wait()
            keyed.set_rate(n, burst=n)

        for worker in [spawn(run, 2), spawn(run, 3)]:
            worker.result()
        assert keyed.rate == keyed.burst
        for key in range(20):
            assert keyed.key(key).burst == keyed.burst
            assert keyed.key(key).tokens == keyed.burst
