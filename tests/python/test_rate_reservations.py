"""Reservations: booked now, ready later; waited for, settled, cancelled."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from helpers import LOOP_KINDS, PATIENCE, LoopThread, on_loops, settle, spawn
from rates import BUCKETS, KINDS, NANOSECOND, cancelled, figures, in_line, one_key, one_per_second, tasks_in_line, used_up

from sluicegate import KeyedTokenBucket, LeakyBucket, RateLimited, RateLimits, Reservation, SlidingWindow, TokenBucket
from sluicegate.testing import ManualClock

kinds = pytest.mark.parametrize("kind", KINDS)
buckets = pytest.mark.parametrize("make", list(BUCKETS.values()), ids=list(BUCKETS))


def given_back(answer):
    """What `cancel` returned, of a set too."""
    return sum(answer.values()) if isinstance(answer, dict) else answer


# ---------------------------------------------------------------------------------------------------------- booking


@kinds
def test_ready_at_once_or_later(kind):
    """`delay` shrinks with the time, `ready_at` stands."""
    clock = ManualClock(start=10)
    limiter = one_per_second(kind, clock)
    now, later, last = (limiter.reserve() for _ in range(3))
    assert isinstance(now, Reservation)
    assert [reservation.delay for reservation in (now, later, last)] == [0.0, 1.0, 2.0]
    assert [reservation.ready_at for reservation in (now, later, last)] == [10.0, 11.0, 12.0]
    clock.advance(1.5)
    assert [reservation.delay for reservation in (now, later, last)] == [0.0, 0.0, 0.5]
    assert [reservation.ready_at for reservation in (now, later, last)] == [10.0, 11.0, 12.0]
    assert limiter.retry_after() == 1.5
    assert clock.waiters == 0


@buckets
def test_what_was_booked(make):
    """`n`, and the tokens are taken at once: into debt, if need be."""
    clock = ManualClock()
    bucket = make(1, 10, clock)
    first = bucket.reserve(7.5)
    assert (first.n, first.delay) == (7.5, 0.0)
    second = bucket.reserve(5)
    assert (second.n, second.delay) == (5.0, 2.5)
    assert bucket.tokens == -2.5
    assert bucket.retry_after(1) == 3.5
    assert not bucket.try_acquire(1)


@kinds
def test_max_wait(kind):
    """Beyond it nothing is booked; exactly as long is right."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    before = limiter.tokens
    for max_wait in (0, 0.5, 1 - NANOSECOND):
        with pytest.raises(RateLimited) as refused:
            limiter.reserve(max_wait=max_wait)
        assert refused.value.retry_after == 1.0
    assert limiter.tokens == before
    assert limiter.reserve(max_wait=1).delay == 1.0
    with pytest.raises(RateLimited):
        limiter.reserve(max_wait=1)
    assert limiter.reserve(max_wait=None).delay == 2.0
    clock.advance(3)
    assert limiter.reserve(max_wait=0).delay == 0.0


@kinds
def test_reserve_nothing(kind):
    """Ready at once, and changes nothing."""
    limiter = used_up(kind, ManualClock())
    reservation = limiter.reserve(0)
    assert reservation.delay == 0.0
    assert reservation.wait(timeout=0) is True
    assert not any(reservation.cancel().values()) if kind == "RateLimits" else reservation.cancel() == 0
    assert limiter.retry_after() == 1.0


@kinds
def test_a_reservation_behind_waiters(kind):
    """Booked while others wait, it comes after them."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    first, second = in_line(clock, limiter.acquire, limiter.acquire)
    reservation = limiter.reserve()
    assert reservation.delay == 3.0
    assert limiter.retry_after() == 4.0
    clock.advance(1)
    assert first.result() is True
    clock.advance(1)
    assert second.result() is True
    assert reservation.delay == 1.0
    clock.advance(1)
    assert reservation.wait(timeout=0) is True
    assert not limiter.try_acquire()


@kinds
def test_a_waiter_behind_reservations(kind):
    """It comes after what is booked."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    reservations = [limiter.reserve() for _ in range(2)]
    (waiter,) = in_line(clock, limiter.acquire)
    clock.advance(3 - NANOSECOND)
    assert figures(limiter).waiters == 1
    clock.advance(NANOSECOND)
    assert waiter.result() is True
    assert [reservation.delay for reservation in reservations] == [0.0, 0.0]


@kinds
def test_a_promise_stands_although_those_before_it_leave(kind):
    """Waiters before it are cancelled: its time does not change, and never does anybody else's come too early for the law."""
    clock = ManualClock()
    limiter = used_up(kind, clock)

    async def scene():
        tasks = await tasks_in_line(*(limiter.acquire_async() for _ in range(2)))
        reservation = limiter.reserve()
        for task in tasks:
            await cancelled(task)
        return reservation

    reservation = asyncio.run(scene())
    assert reservation.ready_at == 3.0
    admitted = []
    for half in range(1, 13):
        clock.advance(0.5)
        if limiter.try_acquire():
            admitted.append(half / 2)
    times = sorted([0.0, *admitted, 3.0])
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times)), times


@buckets
def test_promises_stand_when_the_rate_changes(make):
    """`ready_at` does not move; what is booked afterwards follows the new rate."""
    clock = ManualClock()
    bucket = make(1, 1, clock)
    bucket.acquire()
    promise = bucket.reserve()
    bucket.set_rate(0.1)
    assert promise.ready_at == 1.0
    assert bucket.reserve().ready_at == 20.0
    bucket.pause_for(50)
    assert promise.ready_at == 1.0
    clock.advance(1)
    assert promise.wait(timeout=0) is True


# ---------------------------------------------------------------------------------------------------------- waiting


@kinds
def test_wait(kind):
    """A thread waits until its reservation is ready."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    reservation = limiter.reserve()
    (waiter,) = in_line(clock, reservation.wait)
    clock.advance(1 - NANOSECOND)
    assert not waiter.done()
    assert clock.waiters == 1
    clock.advance(NANOSECOND)
    assert waiter.result() is True
    assert reservation.wait() is True
    assert reservation.wait(timeout=0) is True
    assert clock.waiters == 0


@kinds
@on_loops
async def test_wait_async(kind):
    """A task does."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    reservation = limiter.reserve()
    (task,) = await tasks_in_line(reservation.wait_async())
    await clock.advance_async(1 - NANOSECOND)
    assert not task.done()
    await clock.advance_async(NANOSECOND)
    await settle()
    assert task.result() is True
    assert await reservation.wait_async(timeout=0) is True
    assert clock.waiters == 0


@kinds
def test_a_wait_that_is_too_long(kind):
    """Refused at once; the booking stays."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    reservation = limiter.reserve()
    with pytest.raises(RateLimited) as refused:
        reservation.wait(timeout=0.5)
    assert refused.value.retry_after == 1.0
    with pytest.raises(RateLimited):
        reservation.wait(0)
    assert limiter.retry_after() == 2.0
    clock.advance(0.5)
    waiter = spawn(reservation.wait, 0.5)
    clock.wait_for_waiters(1)
    clock.advance(0.5)
    assert waiter.result() is True


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
@kinds
def test_several_wait_for_one_reservation(kind, loop_kind):
    """Threads and tasks may wait for the same one: it is only a time."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    reservation = limiter.reserve()
    with LoopThread(loop_kind) as loop:
        workers = [spawn(reservation.wait) for _ in range(2)]
        futures = [loop.submit(reservation.wait_async()) for _ in range(2)]
        clock.wait_for_waiters(4)
        clock.advance(1)
        assert [waiter.result(PATIENCE) for waiter in [*workers, *futures]] == [True] * 4


@kinds
@on_loops
async def test_a_reservation_is_no_context_manager(kind):
    """Entering with it would go ahead in the middle of a pause: the error says what to write instead, and the booking stands."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    reservation = limiter.reserve()
    with pytest.raises(TypeError, match=r"not a context manager: write `with limiter\.permit\(n\):`"):
        with reservation:
            pytest.fail("let in")
    with pytest.raises(TypeError, match=r"limiter\.permit\(n\)"):
        async with reservation:
            pytest.fail("let in")
    assert reservation.delay == 1.0
    assert limiter.retry_after() == 2.0


@kinds
@on_loops
async def test_cancelled_while_it_waits(kind):
    """A task cancelled in `wait_async` keeps its booking."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    reservation = limiter.reserve()
    (task,) = await tasks_in_line(reservation.wait_async())
    await cancelled(task)
    assert limiter.retry_after() == 2.0
    assert clock.waiters == 0
    await clock.advance_async(1)
    assert await reservation.wait_async(timeout=0)


@on_loops
async def test_on_the_system_clock():
    """Real time, from a task and from a thread."""
    bucket = TokenBucket(100, burst=1)
    reservations = [bucket.reserve() for _ in range(6)]
    worker = spawn(reservations[5].wait)
    assert await reservations[3].wait_async() is True
    assert reservations[3].delay == 0.0
    await asyncio.to_thread(worker.result)
    assert [reservation.delay for reservation in reservations] == [0.0] * 6


@kinds
@on_loops
async def test_a_wait_is_never_too_short(kind):
    """Loops count milliseconds and wake a little early; who returns from `wait_async` or `wait` is ready."""
    limiter = {
        "TokenBucket": lambda: TokenBucket(3000, burst=1),
        "LeakyBucket": lambda: LeakyBucket(3000, capacity=100),
        "SlidingWindow": lambda: SlidingWindow(1, 1 / 3000),
        "TokenBucketKey": lambda: KeyedTokenBucket(3000, burst=1, max_keys=1).key(1),
        "RateLimits": lambda: RateLimits(one=TokenBucket(3000, burst=1), other=SlidingWindow(1, 1 / 3000)),
    }[kind]()
    for _ in range(30):
        reservations = [limiter.reserve() for _ in range(3)]
        assert await reservations[2].wait_async() is True
        assert [reservation.delay for reservation in reservations] == [0.0] * 3
        async with limiter.permit():
            pass
        last = limiter.reserve()
        assert await asyncio.to_thread(last.wait)
        assert last.delay == 0.0


@kinds
def test_a_reservation_outlives_its_limiter(kind):
    """It keeps what it needs."""
    clock = ManualClock()
    reservation = used_up(kind, clock).reserve()
    (waiter,) = in_line(clock, reservation.wait)
    clock.advance(1)
    assert waiter.result() is True


# ---------------------------------------------------------------------------------------------------------- settling


@buckets
def test_settle(make):
    """The true cost is known afterwards: the difference is given back, or taken."""
    clock = ManualClock()
    bucket = make(1, 10, clock)
    less, more, equal = bucket.reserve(4), bucket.reserve(2), bucket.reserve(1)
    assert bucket.tokens == 3.0
    less.settle(1.5)
    assert bucket.tokens == 5.5
    more.settle(20)
    assert bucket.tokens == -12.5
    equal.settle(1)
    assert bucket.tokens == -12.5
    nothing = bucket.reserve(2)
    nothing.settle(0)
    assert bucket.tokens == -12.5


@kinds
def test_settle_once(kind):
    """The second time is a mistake; after a cancellation it is one too."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    reservation, other = limiter.reserve(), limiter.reserve()
    amounts = {"bucket": 1, "window": 1} if kind == "RateLimits" else {"actual": 1}
    reservation.settle(**amounts)
    with pytest.raises(RuntimeError):
        reservation.settle(**amounts)
    other.cancel()
    with pytest.raises(RuntimeError):
        other.settle(**amounts)
    assert limiter.retry_after() == 2.0


@pytest.mark.parametrize(
    "make",
    [
        lambda clock: SlidingWindow(100, 60, clock=clock),
        lambda clock: TokenBucket(1, burst=100, clock=clock),
        lambda clock: one_key(KeyedTokenBucket(1, burst=100, max_keys=10, clock=clock)),
    ],
    ids=["SlidingWindow", "TokenBucket", "TokenBucketKey"],
)
def test_settling_gives_back_nothing_that_has_come_in_again(make):
    """An hour later the limit is full without it, and is taken: what was not used then is not there once more."""
    clock = ManualClock()
    limiter = make(clock)
    old = limiter.reserve(100)
    clock.advance(3600)
    assert limiter.try_acquire(100)
    old.settle(0)
    assert limiter.tokens == 0
    assert not limiter.try_acquire(1)


def test_settling_in_a_set_gives_back_nothing_that_has_come_in_again():
    """In each member by itself."""
    clock = ManualClock()
    window, bucket = SlidingWindow(5, 60, clock=clock), TokenBucket(1, burst=10, clock=clock)
    both = RateLimits(window=window, bucket=bucket)
    old = both.reserve(5)
    clock.advance(8)  # the bucket is full again, the window is not
    assert bucket.try_acquire(10)
    old.settle(window=0, bucket=0)
    assert both.tokens == {"window": 5.0, "bucket": 0.0}
    old = both.reserve(5)
    clock.advance(66)
    assert both.try_acquire(5)
    old.settle(window=0, bucket=0)
    assert both.tokens == {"window": 0.0, "bucket": 5.0}


def test_settling_a_leaky_bucket_whose_next_has_gone():
    """The next went when the first had been paid for: it is of no use to anybody later."""
    clock = ManualClock()
    bucket = LeakyBucket(1, capacity=10, clock=clock)
    first, second = bucket.reserve(4), bucket.reserve(4)
    clock.advance(4)
    first.settle(0)
    assert bucket.retry_after() == 4.0
    clock.advance(1)
    second.settle(2)
    assert bucket.retry_after() == 1.0


@buckets
def test_settling_late_in_a_bucket_that_has_never_been_full(make):
    """As if it had been the true amount from the beginning: nothing of it has been lost by standing still."""
    clock = ManualClock()
    bucket = make(1, 10, clock)
    bucket.debit(5)
    guess = bucket.reserve(5)
    for _ in range(20):
        clock.advance(1)
        bucket.debit(1)
    guess.settle(1)
    assert bucket.tokens == 4.0


@buckets
def test_settling_lets_the_head_go(make):
    """What is given back goes to the waiter."""
    clock = ManualClock()
    bucket = make(1e-6, 10, clock)
    reservation = bucket.reserve(10)
    first, second = in_line(clock, (bucket.acquire, 3), (bucket.acquire, 7))
    reservation.settle(6)
    first.result()
    assert figures(bucket).waiters == 1
    bucket.refund(6)
    second.result()
    assert bucket.tokens == pytest.approx(0.0, abs=1e-6)


@buckets
def test_settling_never_fills_above_the_burst(make):
    """As a refund does not."""
    clock = ManualClock()
    bucket = make(1, 10, clock)
    reservation = bucket.reserve(10)
    clock.advance(9)
    reservation.settle(0)
    assert bucket.tokens == 10.0


# ---------------------------------------------------------------------------------------------------------- cancelling


@kinds
def test_cancel_the_last(kind):
    """All of it comes back; the second time nothing does."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    before = limiter.retry_after()
    reservation = limiter.reserve()
    assert limiter.retry_after() == 2.0
    answer = reservation.cancel()
    assert answer == ({"bucket": 1.0, "window": 1.0} if kind == "RateLimits" else 1.0)
    assert limiter.retry_after() == before
    assert given_back(reservation.cancel()) == 0.0
    assert limiter.retry_after() == before


@kinds
def test_cancel_too_late(kind):
    """Its time has passed: it is used, whether somebody waited or not."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    reservation = limiter.reserve()
    clock.advance(1.5)
    assert given_back(reservation.cancel()) == 0.0
    assert limiter.retry_after() == 0.5


@kinds
def test_cancel_the_first_of_two(kind):
    """The one behind keeps its promise, so that nothing can be given back."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    first, second = limiter.reserve(), limiter.reserve()
    first.cancel()
    assert second.ready_at == 2.0
    times = [0.0, 2.0]
    for half in range(1, 9):
        clock.advance(0.5)
        if limiter.try_acquire():
            times.append(half / 2)
    times.sort()
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times)), times


@buckets
def test_cancelling_lets_the_head_go_earlier(make):
    """The next waiter gets what is given back."""
    clock = ManualClock()
    bucket = make(1, 5, clock)
    bucket.acquire(5)
    reservation = bucket.reserve(5)
    (waiter,) = in_line(clock, (bucket.acquire, 1))
    clock.advance(2)
    assert reservation.cancel() == 5.0
    waiter.result()
    assert bucket.tokens == 1.0


@buckets
def test_a_wait_on_a_cancelled_reservation(make):
    """A caller that waits for a reservation which another one cancels is not left waiting, and is not admitted."""
    clock = ManualClock()
    bucket = make(1, 5, clock)
    bucket.acquire(5)
    reservation = bucket.reserve(5)
    (waiter,) = in_line(clock, reservation.wait)
    reservation.cancel()
    clock.advance(5)
    with pytest.raises(RuntimeError, match="cancelled"):
        waiter.result()
    assert bucket.tokens == 5.0
    for call in (reservation.wait, lambda: asyncio.run(reservation.wait_async())):
        with pytest.raises(RuntimeError, match="cancelled"):
            call()
    assert bucket.try_acquire(5)


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
def test_reserved_on_one_loop_waited_for_elsewhere(loop_kind):
    """A reservation goes from a task to a thread, which settles it."""
    clock = ManualClock()
    bucket = TokenBucket(10, burst=5, clock=clock)

    async def book():
        await bucket.acquire_async(5)
        return bucket.reserve(5)

    def use(reservation):
        reservation.wait()
        reservation.settle(2)

    with LoopThread(loop_kind) as loop:
        reservation = loop.run(book())
    (worker,) = in_line(clock, (use, reservation))
    clock.advance(0.5)
    worker.result()
    assert bucket.tokens == 3.0


def test_settle_late_after_a_refund():
    """What is refunded before the moment of a booking counts there: it does not come back a second time with what is settled."""
    clock = ManualClock()
    bucket = TokenBucket(1, burst=3, clock=clock)
    bucket.acquire()
    early = bucket.reserve(1.5)
    later = bucket.reserve(2)
    assert later.delay == 1.5
    bucket.refund(1)
    clock.advance(2)
    early.settle(0)
    # With nothing booked by `early` the bucket would have been full from the refund until the moment of `later`.
    assert bucket.tokens == 1.5
