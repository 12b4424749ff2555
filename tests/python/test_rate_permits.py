"""Permits of limiters: admitted on entry, in the order of the wait queue, and settled when the true amount is known."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import threading
from functools import partial

import pytest
from helpers import LOOP_KINDS, PATIENCE, LoopThread, on_loops, settle, spawn
from rates import MORE, cancelled, in_line, tasks_in_line

from sluicegate import (
    KeyedSlidingWindow,
    KeyedTokenBucket,
    LeakyBucket,
    Overloaded,
    RateLimited,
    RateLimiter,
    RateLimits,
    RatePermit,
    Semaphore,
    SlidingWindow,
    TokenBucket,
    UnlimitedRate,
    ZeroRate,
)
from sluicegate.testing import ManualClock

kinds = pytest.mark.parametrize("kind", list(MORE))
GATED = "set with a semaphore"


def used_up(kind, clock):
    """One a second, and the one that could go at once has gone."""
    limiter = MORE[kind](1, clock=clock)
    with limiter.permit():
        pass
    return limiter


# ---------------------------------------------------------------------------------------------------------- entering


@kinds
def test_with(kind):
    """It waits on entry; an exception in the block gives nothing back."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    entered = []

    def enter():
        with limiter.permit() as permit:
            assert isinstance(permit, RatePermit)
            entered.append(clock.now())
            raise KeyError

    (worker,) = in_line(clock, enter)
    assert entered == []
    clock.advance(1)
    assert isinstance(worker.exception(), KeyError)
    assert entered == [1.0]
    assert limiter.retry_after() == 1.0


@kinds
@on_loops
async def test_async_with(kind):
    """`async with` too."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    entered = []

    async def enter():
        async with limiter.permit():
            entered.append(clock.now())
            raise KeyError

    (task,) = await tasks_in_line(enter())
    assert entered == []
    await clock.advance_async(1)
    with pytest.raises(KeyError):
        await task
    assert entered == [1.0]
    assert limiter.retry_after() == 1.0


@kinds
@on_loops
async def test_a_pause_holds_who_waits_on_entry(kind):
    """Two waiters, and a pause: none is admitted before it is over. (With reservations they went at their moments.)"""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    entered = []

    async def enter():
        async with limiter.permit():
            entered.append(clock.now())

    tasks = await tasks_in_line(enter(), enter())
    limiter.pause_for(300)
    await clock.advance_async(299)
    assert entered == []
    await clock.advance_async(1)
    await clock.advance_async(1)
    await asyncio.gather(*tasks)
    assert entered == [300.0, 301.0]


@kinds
def test_it_counts_as_waited(kind):
    clock = ManualClock()
    limiter = used_up(kind, clock)
    if kind != GATED:
        with limiter.permit(0):
            pass

    def enter():
        with limiter.permit():
            pass

    (worker,) = in_line(clock, enter)
    assert limiter.statistics().waiters == 1
    clock.advance(1)
    worker.result()
    if not kind.endswith("Key") and kind != "TokenBucketKey":
        now = limiter.statistics()
        assert (now.admitted, now.waited, now.waited_seconds, now.waiters) == (2, 1, 1.0, 0)


@kinds
@on_loops
async def test_a_timeout(kind):
    """It refuses at once what cannot go in time, and nothing has been taken."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    for timeout in (0, 0.5):
        with pytest.raises(RateLimited) as refused:
            with limiter.permit(timeout=timeout):
                pytest.fail("let in")
        assert refused.value.retry_after == 1.0
        with pytest.raises(RateLimited) as refused:
            async with limiter.permit(timeout=timeout):
                pytest.fail("let in")
        assert refused.value.retry_after == 1.0
    assert limiter.retry_after() == 1.0
    (task,) = await tasks_in_line(limiter.permit(timeout=1).__aenter__())
    await clock.advance_async(1)
    await task
    task.result().__exit__(None, None, None)


@kinds
@on_loops
async def test_cancelled_on_entry(kind):
    """Nothing has been taken, and who stands behind goes earlier."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    entered = []

    async def enter():
        async with limiter.permit():
            entered.append(clock.now())

    first, second = await tasks_in_line(enter(), enter())
    await cancelled(first)
    await clock.advance_async(1)
    await second
    assert entered == [1.0]
    assert clock.waiters == 0
    # Granted, and cancelled before it could come: the grant goes back.
    third, fourth = await tasks_in_line(enter(), enter())
    clock.advance(1)
    third.cancel()
    await settle()
    await asyncio.wait([third, fourth], timeout=PATIENCE)
    assert entered == [1.0, 2.0]


@kinds
def test_first_come_first_served(kind):
    """Permits and `acquire` stand in one line."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    order = []

    def enter(number):
        with limiter.permit():
            order.append(number)

    def acquire(number):
        if kind == GATED:
            return enter(number)
        limiter.acquire()
        order.append(number)
        return None

    workers = in_line(clock, (enter, 0), (acquire, 1), (enter, 2))
    for number, worker in enumerate(workers):
        clock.advance(1)
        worker.result()
        assert order == list(range(number + 1))


def test_more_than_can_ever_be_admitted():
    clock = ManualClock()
    with pytest.raises(ValueError, match="can never be admitted"):
        with TokenBucket(1, burst=2, clock=clock).permit(3):
            pass
    limits = RateLimits(a=RateLimits(b=SlidingWindow(2, 1, clock=clock)), c=TokenBucket(1, burst=9, clock=clock))
    with pytest.raises(ValueError, match=r"'a\.b' is 3\.0, which can never be admitted"):
        with limits.permit(3):
            pass


@pytest.mark.parametrize("bad", [-1, math.nan, "1", True, None, math.inf])
def test_bad_amounts(bad):
    """They are refused before anything is entered."""
    bucket = TokenBucket(1, burst=2, clock=ManualClock())
    for call in (bucket.permit, lambda n: bucket.permit(timeout=n) if n is not None else bucket.permit(n)):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            call(bad)
    assert bucket.tokens == 2.0


def test_one_block_at_a_time():
    """A permit is entered by one block at a time, and may be entered again."""
    bucket = TokenBucket(1, burst=5, clock=ManualClock())
    permit = bucket.permit(2)
    with permit:
        with pytest.raises(RuntimeError, match="held already"):
            permit.__enter__()
        permit.settle(1)
    with permit:
        assert bucket.tokens == 2.0
        permit.settle(0)
    assert bucket.tokens == 4.0


# ---------------------------------------------------------------------------------------------------------- settling


@kinds
def test_settle_and_refund(kind):
    """In the block and after it: what was not used is there again, as if it had never been taken."""
    clock = ManualClock()
    limiter = MORE[kind](1, clock=clock)
    several = isinstance(limiter, RateLimits)
    for after in (False, True):
        with limiter.permit() as permit:
            assert limiter.retry_after() == 1.0
            if not after:
                returned = permit.refund()
        if after:
            returned = permit.refund()
        assert limiter.retry_after() == 0.0
        assert set(returned) == set(permit.n) if several else returned == 1.0, returned
        with pytest.raises(RuntimeError, match="settled already"):
            permit.refund()
        with pytest.raises(RuntimeError, match="settled already"):
            permit.settle(**dict.fromkeys(permit.n, 1) if several else {"actual": 1})
    unentered = limiter.permit()
    with pytest.raises(RuntimeError, match="has not been entered"):
        unentered.refund()


def test_settle_of_one():
    bucket = TokenBucket(1, burst=10, clock=ManualClock())
    with bucket.permit(5) as permit:
        assert (permit.n, bucket.tokens) == (5.0, 5.0)
        permit.settle(2)
        assert bucket.tokens == 8.0
    with bucket.permit(5) as permit:
        permit.settle(actual=12)  # it came to more: that is owed
    assert bucket.tokens == -4.0
    for wrong in [(), (1, 2)]:
        with pytest.raises(TypeError):
            permit.settle(*wrong)


def test_settle_of_several():
    """Those that are named; a set in the set by a mapping, or with one amount for all of it."""
    clock = ManualClock()
    limits = RateLimits(
        requests=TokenBucket(1, burst=10, clock=clock),
        model=RateLimits(tokens=TokenBucket(1, burst=1000, clock=clock), day=SlidingWindow(1000, 86400, clock=clock)),
    )
    with limits.permit(requests=1, model={"tokens": 800, "day": 700}) as permit:
        assert permit.n == {"requests": 1.0, "model": {"tokens": 800.0, "day": 700.0}}
        permit.settle(model={"tokens": 100})
    assert limits.tokens == {"requests": 9.0, "model": {"tokens": 900.0, "day": 300.0}}
    with limits.permit(requests=1, model=300) as permit:
        permit.settle(requests=3, model=0)
    assert limits.tokens == {"requests": 6.0, "model": {"tokens": 900.0, "day": 300.0}}
    with pytest.raises(TypeError, match="unknown limit 'modell'"):
        permit.settle(modell=1)
    with pytest.raises(TypeError, match="missing: 'day'"):
        limits.permit(requests=1, model={"tokens": 1})
    assert limits.tokens == {"requests": 6.0, "model": {"tokens": 900.0, "day": 300.0}}


@pytest.mark.parametrize("kind", ["TokenBucket", "SlidingWindow", "SlidingWindowKey"])
def test_a_late_settlement_keeps_the_law(kind):
    """What has come in again since is not given back a second time. (A plain `refund` is.)"""
    clock = ManualClock()
    limiter = {
        "TokenBucket": lambda: TokenBucket(1, burst=100, clock=clock),
        "SlidingWindow": lambda: SlidingWindow(100, 100, clock=clock),
        "SlidingWindowKey": lambda: KeyedSlidingWindow(100, 100, max_keys=1, clock=clock).key(1),
    }[kind]()
    with limiter.permit(100) as permit:
        clock.advance(3600)
        assert limiter.try_acquire(100)
        assert permit.refund() == 0.0
        assert not limiter.try_acquire()
    with pytest.raises(RateLimited):
        limiter.permit(1, timeout=0).__enter__()


def test_a_settlement_admits_who_waits():
    """What is given back goes to the next waiter at once."""
    clock = ManualClock()
    bucket = TokenBucket(1, burst=10, clock=clock)
    with bucket.permit(10) as permit:
        (worker,) = in_line(clock, (bucket.acquire, 4))
        permit.settle(6)
        worker.result()
    assert bucket.tokens == 0.0


def drop(held):
    held.clear()
    gc.collect()


def test_dropped_in_the_block():
    """An entry without an exit: that is told, and what it took stays taken, or the limit would not hold. Settled, nothing is told."""
    bucket = TokenBucket(1, burst=10, clock=ManualClock(), name="uploads")
    held = [bucket.permit(4).__enter__()]
    with pytest.warns(ResourceWarning, match=r"a permit was dropped while it was held.*n=4\.0.*'uploads'"):
        drop(held)
    assert bucket.tokens == 6.0
    permit = bucket.permit(4)
    permit.__enter__().settle(3)
    del permit
    gc.collect()
    assert bucket.tokens == 3.0


def test_of_a_key():
    """With the key first; the key is remembered while its permit is there, and forgotten when nothing is owed."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=10, max_keys=5, clock=clock)
    with keyed.permit("alice", 4, timeout=1) as permit:
        assert keyed.key("alice").tokens == 6.0
        permit.settle(1)
    assert keyed.key("alice").tokens == 9.0
    with keyed.permit("bob") as permit:
        permit.refund()
    del permit
    assert len(keyed) == 1
    assert "TokenBucketKey key='alice'" in repr(keyed.permit("alice"))


def test_it_says_what_it_is():
    bucket = TokenBucket(1, burst=10, clock=ManualClock())
    permit = bucket.permit(4)
    assert repr(permit).startswith("<sluicegate.RatePermit n=4.0 not held of <sluicegate.TokenBucket at")
    with permit:
        assert " held of " in repr(permit)


# ------------------------------------------------------------------------------------------------- semaphores in a set


def gated(clock, slots=2, burst=10):
    semaphore, bucket = Semaphore(slots), TokenBucket(1, burst=burst, clock=clock)
    return semaphore, bucket, RateLimits(slots=semaphore, bucket=bucket)


def test_a_semaphore_is_held_while_the_block_runs():
    semaphore, bucket, limits = gated(ManualClock())
    with limits.permit():
        assert (semaphore.value, bucket.tokens) == (1, 9.0)
        with limits.permit(slots=1, bucket=3) as permit:
            assert (semaphore.value, bucket.tokens) == (0, 6.0)
            permit.settle(bucket=1)
            with pytest.raises(TypeError, match="unknown limit 'slots'"):
                permit.settle(slots=1)
        assert (semaphore.value, bucket.tokens) == (1, 8.0)
    assert (semaphore.value, bucket.tokens) == (2, 8.0)
    with pytest.raises(KeyError):
        with limits.permit():
            raise KeyError
    assert (semaphore.value, bucket.tokens) == (2, 7.0)


@on_loops
async def test_the_token_is_taken_last():
    """Who waits for the semaphore has taken nothing; and who waits for a token holds the semaphore."""
    clock = ManualClock()
    semaphore, bucket, limits = gated(clock, slots=1, burst=1)
    entered = []

    async def enter(number):
        async with limits.permit():
            entered.append((number, clock.now()))
            await asyncio.sleep(0)

    first = limits.permit()
    await first.__aenter__()
    clock.advance(1)
    (second,) = await tasks_in_line(enter(2))
    assert bucket.tokens == 1.0 and semaphore.statistics().waiters == 1
    first.__exit__(None, None, None)
    await second
    (third,) = await tasks_in_line(enter(3))
    assert (semaphore.value, bucket.statistics().waiters, limits.statistics().waiters) == (0, 0, 1)
    await clock.advance_async(1)
    await third
    assert entered == [(2, 1.0), (3, 2.0)]
    assert semaphore.value == 1


@on_loops
async def test_all_or_nothing():
    """Refused or cancelled while it waits for the token: the semaphore is free again."""
    clock = ManualClock()
    semaphore, bucket, limits = gated(clock, slots=1, burst=1)
    bucket.acquire()
    for timeout in (0, 0.5):
        with pytest.raises(RateLimited):
            with limits.permit(timeout=timeout):
                pytest.fail("let in")
        with pytest.raises(RateLimited):
            async with limits.permit(timeout=timeout):
                pytest.fail("let in")
        assert semaphore.value == 1
    (task,) = await tasks_in_line(limits.permit().__aenter__())
    assert semaphore.value == 0
    await cancelled(task)
    assert (semaphore.value, clock.waiters) == (1, 0)
    semaphore.acquire()
    for way in range(2):
        with pytest.raises(Overloaded):
            if way:
                with limits.permit(timeout=0):
                    pytest.fail("let in")
            else:
                async with limits.permit(timeout=0):
                    pytest.fail("let in")
    assert bucket.tokens == 0.0


def test_one_timeout_for_both():
    """What the semaphore has taken of the time is not there for the token."""
    clock = ManualClock()
    semaphore = Semaphore(1, clock=clock)
    bucket = TokenBucket(1, burst=1, clock=clock, initial=0)
    limits = RateLimits(slots=semaphore, bucket=bucket)
    semaphore.acquire()
    bucket.pause_for(4)
    (worker,) = in_line(clock, limits.permit(timeout=3).__enter__)
    clock.advance(2)
    semaphore.release()
    assert isinstance(worker.exception(), RateLimited)
    assert semaphore.value == 1
    (worker,) = in_line(clock, limits.permit(timeout=2).__enter__)
    clock.advance(2)
    worker.result().__exit__(None, None, None)


def test_such_a_set_admits_by_permit_only():
    _, bucket, limits = gated(ManualClock())
    calls = [limits.acquire, limits.try_acquire, limits.reserve, limits.__enter__, lambda: limits(len), lambda: limits.by(cost=1)(len)]
    for call in calls:
        with pytest.raises(TypeError, match=r"use `with limits\.permit\(\.\.\.\):`"):
            call()

    async def enter():
        async with limits:
            pytest.fail("let in")

    for coroutine in (limits.acquire_async(), enter()):
        with pytest.raises(TypeError, match=r"limits\.permit"):
            asyncio.run(coroutine)
    assert bucket.tokens == 10.0
    limits.refund(bucket=1)
    limits.debit(2)
    assert (limits.tokens, limits.retry_after(bucket=9), limits.retry_after()) == ({"bucket": 8.0}, 1.0, 0.0)
    assert set(limits.limits) == {"slots", "bucket"}
    with pytest.raises(ValueError, match="at least one limiter"):
        RateLimits(slots=Semaphore(1))
    with pytest.raises(TypeError, match="must be a sluicegate limiter or Semaphore"):
        RateLimits(slots=threading.Semaphore(1))
    with pytest.raises(ValueError, match="'n' must be at least 1"):
        limits.permit(slots=0, bucket=1)


def test_a_semaphore_in_a_set_in_a_set():
    clock = ManualClock()
    semaphore, _, inner = gated(clock)
    outer = RateLimits(inner=inner, window=SlidingWindow(9, 9, clock=clock))
    with outer.permit(inner={"slots": 2, "bucket": 3}, window=1):
        assert (semaphore.value, outer.tokens) == (0, {"inner": {"bucket": 7.0}, "window": 8.0})
    assert semaphore.value == 2
    with pytest.raises(TypeError, match=r"limits\.permit"):
        outer.acquire()


def test_dropped_while_it_holds_a_semaphore():
    semaphore, bucket, limits = gated(ManualClock())
    held = [limits.permit().__enter__()]
    with pytest.warns(ResourceWarning):
        drop(held)
    assert (semaphore.value, bucket.tokens) == (2, 9.0)


# ----------------------------------------------------------------------------------------------------- everything at once


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
@pytest.mark.parametrize("kind", ["bucket", "window", "key", "set", "gated"])
def test_a_storm_of_permits(kind, loop_kind):
    """Threads and tasks with permits that settle, refund, time out and are cancelled: everything that was not used is there in the end."""
    clock = ManualClock()
    semaphore = Semaphore(3)
    limiter = {
        "bucket": lambda: TokenBucket(1, burst=20, clock=clock),
        "window": lambda: SlidingWindow(20, 1000, clock=clock),
        "key": lambda: KeyedSlidingWindow(20, 1000, max_keys=2, clock=clock).key("k"),
        "set": lambda: RateLimits(a=TokenBucket(1, burst=20, clock=clock), b=SlidingWindow(20, 1000, clock=clock)),
        "gated": lambda: RateLimits(slots=semaphore, b=SlidingWindow(20, 1000, clock=clock)),
    }[kind]()
    used = []  # append is atomic

    def end(permit, dice):
        if dice.randrange(12) == 0:
            used.append(1)
            permit.settle(**(dict.fromkeys(permit.n, 1) if isinstance(permit.n, dict) else {"actual": 1}))
        elif dice.randrange(2):
            permit.refund()
        else:
            permit.settle(**(dict.fromkeys(permit.n, 0) if isinstance(permit.n, dict) else {"actual": 0}))

    def in_thread(seed):
        dice = random.Random(seed)
        for _ in range(20):
            try:
                with limiter.permit(1 if kind == "gated" else dice.randrange(1, 3), timeout=dice.choice([0, 900, None])) as permit:
                    end(permit, dice)
            except (RateLimited, Overloaded):
                pass

    async def in_task(seed):
        dice = random.Random(seed)

        async def once():
            async with limiter.permit(1 if kind == "gated" else dice.randrange(1, 3), timeout=dice.choice([0, 900, None])) as permit:
                end(permit, dice)

        for _ in range(20):
            task = asyncio.ensure_future(once())
            if dice.randrange(3) == 0:
                await asyncio.sleep(0)
                task.cancel()
            try:
                await task
            except (RateLimited, Overloaded, asyncio.CancelledError):
                pass

    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        workers = [spawn(in_thread, seed) for seed in range(2)]
        futures = [loop.submit(in_task(seed)) for seed, loop in enumerate([one, two] * 3)]
        for future in [*workers, *futures]:
            while not future.done():
                clock.advance(0.001)
    left = limiter.tokens
    for each in left.values() if isinstance(left, dict) else [left]:
        assert 20 - len(used) <= each <= 20 and (kind in ("bucket", "set") or each == 20 - len(used)), (each, len(used))
    assert (semaphore.value, limiter.statistics().waiters, clock.waiters) == (3, 0, 0)


def test_a_limiter_is_a_limiter():
    """What takes a limiter takes each of them."""
    clock = ManualClock()

    def learn(limit: RateLimiter) -> None:
        limit.pause_for("30")

    for make in [*MORE.values(), lambda _, **options: UnlimitedRate(**options)]:
        limiter = make(1, clock=clock)
        assert isinstance(limiter, RateLimiter)
        learn(limiter)
        with pytest.raises(RateLimited) as refused:
            limiter.permit(timeout=1).__enter__()
        assert refused.value.retry_after == 30.0
    assert isinstance(LeakyBucket(1, capacity=1), RateLimiter)


# ------------------------------------------------------------------------------------- amounts and keys that depend on the call


@on_loops
async def test_a_decorator_whose_cost_depends_on_the_call():
    clock = ManualClock()
    bucket = TokenBucket(1, burst=100, clock=clock)
    limits = RateLimits(requests=TokenBucket(1, burst=10, clock=clock), tokens=TokenBucket(1, burst=100, clock=clock))
    seen = []

    def cost(text, *, times=1):
        seen.append((text, times))
        return len(text) * times

    @bucket.by(cost=cost)
    def plain(text, *, times=1):
        return text * times

    @bucket.by(cost=cost, timeout=1)
    async def coroutine(text, *, times=1):
        return text * times

    @bucket.by(cost=cost)
    def generator(text):
        yield from text

    @limits.by(cost=lambda text: {"requests": 1, "tokens": len(text)})
    async def ask(text):
        return text

    @limits.by(cost=lambda text: len(text))
    def each(text):
        return text

    assert plain("abc", times=2) == "abcabc"
    assert await coroutine("abcd") == "abcd"
    lazy = generator("ab")
    assert bucket.tokens == 90.0  # a generator takes when iteration begins
    assert list(lazy) == ["a", "b"]
    assert bucket.tokens == 88.0
    assert seen == [("abc", 2), ("abcd", 1), ("ab", 1)]
    assert await ask("hello") == "hello"
    assert each("xy") == "xy"
    assert limits.tokens == {"requests": 7.0, "tokens": 93.0}
    assert (plain.__name__, coroutine.__name__) == ("plain", "coroutine")
    with pytest.raises(RateLimited):
        bucket.by(cost=lambda: 99, timeout=1)(lambda: pytest.fail("let in"))()
    with pytest.raises(ValueError, match="can never be admitted"):
        bucket.by(cost=101)
    with pytest.raises(TypeError, match="must be an int or float"):
        bucket.by(cost=lambda: "1")(lambda: pytest.fail("let in"))()
    with pytest.raises(TypeError, match="missing: 'tokens'"):
        limits.by(cost={"requests": 1})
    with pytest.raises(TypeError, match="can decorate only a function"):
        bucket.by(cost=1)(3)


@on_loops
async def test_a_decorator_whose_key_depends_on_the_call():
    clock = ManualClock()
    keyed = KeyedSlidingWindow(10, 60, max_keys=5, clock=clock)

    @keyed.by(key=lambda user, _amount=0: user)
    def look(user):
        return user

    @keyed.by(key=lambda user, _amount: user, cost=lambda _user, amount: amount, timeout=0)
    async def send(_user, amount):
        return amount

    assert look("alice") == "alice"
    assert await send("alice", 4) == 4
    assert await send("bob", 9) == 9
    assert (keyed.key("alice").tokens, keyed.key("bob").tokens) == (5.0, 1.0)
    with pytest.raises(RateLimited):
        await send("bob", 2)
    with pytest.raises(TypeError, match="'key' must be a function"):
        keyed.by(key="alice")
    with pytest.raises(TypeError):
        keyed.by(key=lambda: 1.5)(lambda: pytest.fail("let in"))()


# ---------------------------------------------------------------------------------------------------------- for settings


@on_loops
async def test_an_unlimited_rate():
    """Everything goes at once, is counted, and waits in a pause."""
    clock = ManualClock()
    limit = UnlimitedRate(clock=clock, name="off")
    assert [limit.try_acquire(n) for n in (1, 0.5, 10**11)] == [True] * 3
    assert limit.acquire(7, timeout=0) is True
    assert await limit.acquire_async() is True
    with limit.permit(5) as permit:
        permit.settle(50)
    assert limit.reserve(3).delay == 0.0
    assert (limit.tokens, limit.retry_after()) == (math.inf, 0.0)
    limit.refund(3)
    limit.debit(3)
    assert limit.statistics().admitted == 7
    limit.pause_for(2)
    assert not limit.try_acquire()
    (task,) = await tasks_in_line(limit.acquire_async())
    await clock.advance_async(2)
    assert await task is True
    limits = RateLimits(one=limit, other=TokenBucket(1, burst=1, clock=clock))
    assert limits.try_acquire()
    assert limits.retry_after() == 1.0
    assert "'off'" in repr(limit)


@on_loops
async def test_a_rate_of_zero():
    """Nothing ever goes, and nobody waits for ever."""
    clock = ManualClock()
    limit = ZeroRate(clock=clock, name="off")
    limits = RateLimits(one=limit, other=TokenBucket(1, burst=1, clock=clock))
    assert limit.try_acquire() is False and limits.try_acquire() is False
    assert (limit.tokens, limit.retry_after(), limits.retry_after()) == (0.0, math.inf, math.inf)
    for each in (limit, limits):
        calls = [each.acquire, partial(each.acquire, timeout=5), partial(each.acquire, timeout=0), each.reserve]
        calls += [each.permit().__enter__, each.__enter__, each(lambda: pytest.fail("let in"))]
        for call in calls:
            with pytest.raises(RateLimited) as refused:
                call()
            assert refused.value.retry_after == math.inf
        for coroutine in (each.acquire_async(), each.acquire_async(timeout=1), each.permit().__aenter__()):
            with pytest.raises(RateLimited):
                await coroutine
    assert limit.acquire(0) is True
    assert limits.tokens == {"one": 0.0, "other": 1.0}
    assert clock.waiters == 0
    with pytest.raises(RateLimited, match="ZeroRate 'off' cannot admit the request"):
        limit.acquire()
