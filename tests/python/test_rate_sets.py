"""`RateLimits`: several limits taken at once or not at all, in one line."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest
from helpers import LOOP_KINDS, PATIENCE, LoopThread, on_loops, settle, spawn, wait_until
from rates import NANOSECOND, cancelled, in_line, tasks_in_line

from sluicegate import KeyedTokenBucket, LeakyBucket, RateLimited, RateLimits, Semaphore, SlidingWindow, TokenBucket
from sluicegate.testing import ManualClock


class Api:
    """A model API's limits: requests and tokens."""

    def __init__(self, requests=(1, 5), tokens=(100, 1000)):
        self.clock = ManualClock()
        self.requests = TokenBucket(requests[0], burst=requests[1], clock=self.clock)
        self.tokens = TokenBucket(tokens[0], burst=tokens[1], clock=self.clock)
        self.both = RateLimits(requests=self.requests, tokens=self.tokens)

    def left(self):
        assert self.both.tokens == {"requests": self.requests.tokens, "tokens": self.tokens.tokens}
        return self.requests.tokens, self.tokens.tokens


# ------------------------------------------------------------------------------------------------------ all or none


def test_amounts_by_name_and_of_each():
    """By name, or n of each."""
    api = Api()
    assert api.both.acquire(requests=1, tokens=400) is True
    assert api.left() == (4.0, 600.0)
    assert api.both.acquire(2) is True
    assert api.both.acquire() is True
    assert api.left() == (1.0, 597.0)
    assert api.both.try_acquire(requests=0, tokens=97) is True
    assert api.both.try_acquire(requests=1.0, tokens=0.5) is True
    assert api.left() == (0.0, 499.5)


def test_all_or_none():
    """Where one limit refuses, nothing is taken of the others."""
    api = Api()
    api.both.acquire(requests=1, tokens=1000)
    for _ in range(3):
        assert api.both.try_acquire(requests=1, tokens=1) is False
        with pytest.raises(RateLimited):
            api.both.acquire(requests=1, tokens=50, timeout=0.4)
        with pytest.raises(RateLimited):
            api.both.reserve(requests=1, tokens=50, max_wait=0.4)
    assert api.left() == (4.0, 0.0)
    assert api.both.statistics().refused == 9
    assert api.clock.waiters == 0


def test_retry_after_is_the_longest():
    """Of all the limits; and exactly then it goes."""
    api = Api()
    api.both.acquire(requests=5, tokens=1000)
    assert api.both.retry_after(requests=1, tokens=50) == 1.0
    assert api.both.retry_after(requests=1, tokens=200) == 2.0
    assert api.both.retry_after(requests=3, tokens=200) == 3.0
    assert api.both.retry_after(requests=0, tokens=0) == 0.0
    assert api.both.retry_after(1) == 1.0
    with pytest.raises(RateLimited) as refused:
        api.both.acquire(requests=3, tokens=200, timeout=2.5)
    assert refused.value.retry_after == 3.0
    api.clock.advance(3 - NANOSECOND)
    assert not api.both.try_acquire(requests=3, tokens=200)
    api.clock.advance(NANOSECOND)
    assert api.both.try_acquire(requests=3, tokens=200)
    assert api.left() == (0.0, 100.0)


def test_both_are_taken_at_one_moment():
    """A waiter takes of all limits when the last of them allows it."""
    api = Api()
    api.both.acquire(requests=1, tokens=1000)
    (waiter,) = in_line(api.clock, lambda: api.both.acquire(requests=4, tokens=500))
    api.clock.advance(5 - NANOSECOND)
    assert api.both.statistics().waiters == 1
    api.clock.advance(NANOSECOND)
    waiter.result()
    # Requests were full again long before.
    assert api.left() == (1.0, 0.0)


def test_strictly_in_order():
    """One line: a small one behind a large one waits, although there is enough for it."""
    api = Api()
    api.both.acquire(requests=1, tokens=1000)
    large, small, last = in_line(
        api.clock,
        lambda: api.both.acquire(requests=1, tokens=900),
        lambda: api.both.acquire(requests=1, tokens=10),
        lambda: api.both.acquire(requests=1, tokens=10),
    )
    api.clock.advance(8)
    assert api.both.statistics().waiters == 3
    assert not api.both.try_acquire(requests=1, tokens=1)
    api.clock.advance(1)
    large.result()
    assert api.both.statistics().waiters == 2
    api.clock.advance(0.1)
    small.result()
    api.clock.advance(0.1)
    last.result()
    assert api.both.statistics().waited_seconds == pytest.approx(9 + 9.1 + 9.2)


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
def test_threads_and_tasks_in_one_line(loop_kind):
    """In the order they came."""
    api = Api(requests=(1, 1))
    api.both.acquire()
    with LoopThread(loop_kind) as loop:
        waiters = in_line(api.clock, api.both.acquire)
        waiters.append(loop.submit(api.both.acquire_async(requests=1, tokens=50)))
        api.clock.wait_for_waiters(2)
        waiters += in_line(api.clock, api.both.acquire)
        for number, waiter in enumerate(waiters):
            assert not any(other.done() for other in waiters[number:])
            api.clock.advance(1)
            assert waiter.result(PATIENCE) is True


@on_loops
async def test_a_cancelled_waiter_gives_all_back():
    """Before it was granted, and after."""
    api = Api(requests=(1, 1))
    await api.both.acquire_async()
    first, second, third = await tasks_in_line(*(api.both.acquire_async(requests=1, tokens=100) for _ in range(3)))
    await api.clock.advance_async(0.5)
    await cancelled(first)
    await api.clock.advance_async(0.5)
    await settle()
    assert second.done() and not third.done()
    await cancelled(third)
    assert api.left() == (0.0, 900.0)
    (last,) = await tasks_in_line(api.both.acquire_async(requests=1, tokens=100))
    api.clock.advance(1)
    last.cancel()
    outcome = (await asyncio.gather(last, return_exceptions=True))[0]
    await settle()
    assert api.left() == ((1.0, 1000.0) if isinstance(outcome, asyncio.CancelledError) else (0.0, 900.0))
    assert api.both.statistics().waiters == api.clock.waiters == 0


@on_loops
async def test_a_storm_of_cancels_loses_nothing():
    """Half of the waiters are cancelled at random: what went and what is left is what came in, of each limit."""
    dice = random.Random(11)
    clock = ManualClock()
    members = {"a": TokenBucket(8, burst=10**6, clock=clock), "b": TokenBucket(4, burst=10**6, clock=clock)}
    both = RateLimits(**members)
    both.debit(10**6)
    went = {"a": 0, "b": 0}
    milliseconds = 0

    async def go(a, b):
        await both.acquire_async(a=a, b=b)
        went["a"] += a
        went["b"] += b

    tasks = []
    for _ in range(400):
        tasks.append(asyncio.create_task(go(dice.choice([0, 1, 2, 0.25]), dice.choice([0, 1, 0.5]))))
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
    assert both.statistics().waiters == clock.waiters == 0
    for name, rate in (("a", 8), ("b", 4)):
        assert went[name] > 0
        assert round((went[name] + members[name].tokens) * 10**6) == milliseconds * rate * 1000


# ------------------------------------------------------------------------------------------- members, alone and shared


def test_a_member_used_beside_the_set():
    """What is taken of it directly is taken of the set."""
    api = Api()
    assert api.tokens.try_acquire(990)
    assert not api.both.try_acquire(requests=1, tokens=11)
    assert api.both.try_acquire(requests=1, tokens=10)
    assert not api.tokens.try_acquire(1)
    assert api.requests.try_acquire(4)
    assert not api.both.try_acquire(requests=1, tokens=0)


def test_a_member_does_not_overtake_the_set():
    """While the set waits for the member, a request to the member itself comes after it."""
    api = Api()
    api.both.acquire(requests=1, tokens=500)
    (waiter,) = in_line(api.clock, lambda: api.both.acquire(requests=1, tokens=1000))
    for _ in range(5):
        assert not api.tokens.try_acquire(1)
    (direct,) = in_line(api.clock, (api.tokens.acquire, 100))
    api.clock.advance(5)
    waiter.result()
    assert not direct.done()
    api.clock.advance(1)
    direct.result()
    assert api.left() == (5.0, 0.0)


def test_the_set_does_not_overtake_a_member():
    """Nor the other way round."""
    api = Api()
    api.tokens.acquire(1000)
    (direct,) = in_line(api.clock, (api.tokens.acquire, 500))
    assert not api.both.try_acquire(requests=1, tokens=1)
    (waiter,) = in_line(api.clock, lambda: api.both.acquire(requests=1, tokens=100))
    api.clock.advance(5 - NANOSECOND)
    assert not direct.done()
    api.clock.advance(NANOSECOND)
    direct.result()
    assert not waiter.done()
    api.clock.advance(1)
    waiter.result()


@on_loops
async def test_two_sets_share_a_member():
    """Each line goes in its own order; among them no token is lost, none is made, and nobody waits longer than all of them need."""
    clock = ManualClock()
    shared = TokenBucket(10, burst=10, clock=clock)
    one = RateLimits(own=TokenBucket(1000, burst=1000, clock=clock), shared=shared)
    two = RateLimits(shared=shared, mine=SlidingWindow(1000, 1, clock=clock))
    shared.debit(10)
    went = []

    async def go(label, amount, waiting):
        await waiting
        went.append((label, amount))

    tasks = await tasks_in_line(
        go("one", 10, one.acquire_async(own=1, shared=10)),
        go("two", 1, two.acquire_async(mine=1, shared=1)),
        go("one", 2, one.acquire_async(own=1, shared=2)),
        go("alone", 3, shared.acquire_async(3)),
        go("two", 4, two.acquire_async(mine=1, shared=4)),
    )
    assert not shared.try_acquire(1)
    for tenth in range(1, 21):
        await clock.advance_async(0.1)
        await settle(20)
        assert sum(amount for _, amount in went) <= tenth
        if tenth == 10:
            assert went == [("one", 10)]
    await asyncio.gather(*tasks)
    for label, amounts in (("one", [10, 2]), ("two", [1, 4]), ("alone", [3])):
        assert [amount for name, amount in went if name == label] == amounts
    assert shared.tokens == 0.0


def test_sets_that_name_their_members_the_other_way_round():
    """Two sets over the same two buckets in opposite order, from many threads: no deadlock, and nothing is lost."""
    clock = ManualClock()
    x, y = TokenBucket(1000, burst=10**6, clock=clock), TokenBucket(1000, burst=10**6, clock=clock)
    one, two = RateLimits(x=x, y=y), RateLimits(y=y, x=x)
    for bucket in (x, y):
        bucket.debit(10**6)
    stop = threading.Event()

    def ask(limits, amounts):
        taken = 0
        while not stop.is_set():
            taken += limits.try_acquire(**amounts)
        return taken * amounts["x"], taken * amounts["y"]

    workers = [
        spawn(ask, limits, amounts) for limits, amounts in ((one, {"x": 1, "y": 2}), (two, {"x": 2, "y": 1}), (one, {"x": 1, "y": 1})) * 2
    ]
    for _ in range(1000):
        clock.advance(0.001)
    stop.set()
    taken = [worker.result() for worker in workers]
    assert sum(amount for amount, _ in taken) + x.tokens == 1000
    assert sum(amount for _, amount in taken) + y.tokens == 1000


def test_waiters_of_sets_that_cross():
    """The same with threads that wait, on the system's clock, members and sets at once: everybody is served."""
    x, y = TokenBucket(2000, burst=5), LeakyBucket(2000, capacity=1000)
    one, two = RateLimits(x=x, y=y), RateLimits(y=y, x=x)
    calls = [one.acquire, two.acquire, x.acquire, y.acquire, lambda: one.acquire(x=2, y=1), lambda: two.acquire(x=0, y=1)]

    def ask(call):
        for _ in range(20):
            call()

    workers = [spawn(ask, call) for call in calls]
    for worker in workers:
        worker.result(PATIENCE * 2)
    for limiter in (one, two, x, y):
        assert limiter.statistics().waiters == 0


def test_other_members():
    """A shaper, a window and a key: each with its own law."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=3, max_keys=2, clock=clock)
    shaper, window = LeakyBucket(2, capacity=1, clock=clock), SlidingWindow(3, 10, clock=clock)
    limits = RateLimits(shaper=shaper, window=window, key=keyed.key("k"))
    assert limits.try_acquire()
    assert limits.retry_after() == 0.5
    (waiter,) = in_line(clock, limits.acquire)
    clock.advance(0.5)
    waiter.result()
    clock.advance(0.5)
    assert limits.try_acquire()
    assert limits.retry_after() == 9.0
    assert keyed.try_acquire("other", 3)
    clock.advance(9)
    assert limits.try_acquire()
    assert keyed.key("k").tokens == 2.0


# ------------------------------------------------------------------------------------------------------- reservations


def test_settling_with_the_true_cost():
    """A guess is booked; what was not used comes back."""
    api = Api()
    assert api.both.reserve(requests=1, tokens=800).delay == 0.0
    reservation = api.both.reserve(requests=1, tokens=200)
    assert reservation.n == {"requests": 1.0, "tokens": 200.0}
    assert api.left() == (3.0, 0.0)
    reservation.settle(requests=1, tokens=50)
    assert api.left() == (3.0, 150.0)
    with pytest.raises(RuntimeError):
        reservation.settle(requests=1, tokens=50)
    more = api.both.reserve(requests=1, tokens=100)
    more.settle(requests=2, tokens=400)
    assert api.left() == (1.0, -250.0)


def test_a_debit_of_all_or_of_none():
    """Where one member cannot count it, the others owe nothing."""
    api = Api()
    with pytest.raises(OverflowError):
        for _ in range(10):
            api.both.debit(tokens=10**9)
    left = api.both.tokens
    with pytest.raises(OverflowError):
        api.both.debit(requests=1, tokens=10**9)
    assert api.both.tokens == left


@on_loops
async def test_the_set_goes_earlier_when_somebody_leaves_a_members_line():
    """Who stands before it there, and gives up, holds it up no longer."""
    clock = ManualClock()
    bucket = TokenBucket(1, burst=10, initial=0, clock=clock)
    both = RateLimits(bucket=bucket, other=TokenBucket(1, burst=10, clock=clock))
    large = asyncio.create_task(bucket.acquire_async(10))
    await settle()
    small = asyncio.create_task(both.acquire_async())
    await settle()
    await cancelled(large)
    clock.advance(1)
    await settle(30)
    assert small.done()
    assert await small


def test_settling_wants_names():
    """Unknown ones are told."""
    api = Api()
    reservation = api.both.reserve(requests=1, tokens=200)
    with pytest.raises(TypeError, match="'token'"):
        reservation.settle(requests=1, token=1)
    assert api.left() == (4.0, 800.0)
    reservation.settle(requests=1, tokens=0)
    assert api.left() == (4.0, 1000.0)


def test_ready_when_the_last_of_them_is():
    """And each limit is taken at that moment: with what has come in meanwhile, no more than its burst goes."""
    api = Api()
    api.both.acquire(requests=1, tokens=1000)
    reservation = api.both.reserve(requests=5, tokens=1000)
    assert reservation.delay == 10.0
    api.clock.advance(10)
    assert reservation.wait(timeout=0)
    assert not api.requests.try_acquire(1)
    assert not api.tokens.try_acquire(1)
    api.clock.advance(1)
    assert api.requests.try_acquire(1)
    assert not api.requests.try_acquire(1)


def test_cancelling():
    """All of it comes back, of each limit; once."""
    api = Api()
    api.both.acquire(requests=5, tokens=1000)
    reservation = api.both.reserve(requests=2, tokens=100)
    assert reservation.cancel() == {"requests": 2.0, "tokens": 100.0}
    assert api.both.retry_after(requests=1, tokens=100) == 1.0
    again = reservation.cancel()
    assert not any(again.values())
    late = api.both.reserve(requests=1, tokens=1)
    api.clock.advance(3)
    assert not any(late.cancel().values())


def test_debts_and_refunds():
    """Of each, or of some."""
    api = Api()
    api.both.debit(2)
    assert api.left() == (3.0, 998.0)
    api.both.debit(requests=5)
    assert api.left() == (-2.0, 998.0)
    api.both.refund(1)
    assert api.left() == (-1.0, 999.0)
    api.both.refund(requests=1, tokens=500)
    assert api.left() == (0.0, 1000.0)


# ------------------------------------------------------------------------------------------------ changes while waiting


def test_a_refund_to_a_member_lets_the_head_of_the_set_go():
    """Directly to the member, or by the set."""
    for by_set in (False, True):
        api = Api(tokens=(1e-6, 1000))
        api.both.acquire(requests=1, tokens=1000)
        (waiter,) = in_line(api.clock, lambda api=api: api.both.acquire(requests=1, tokens=300))
        if by_set:
            api.both.refund(tokens=300)
        else:
            api.tokens.refund(300)
        waiter.result()


def test_the_rate_of_a_member_shortens_the_wait_of_the_set():
    """And lengthens it; and one that no longer fits gets a ValueError."""
    api = Api()
    api.both.acquire(requests=5, tokens=1000)
    first, second = in_line(api.clock, lambda: api.both.acquire(requests=1, tokens=1000), lambda: api.both.acquire(requests=1, tokens=100))
    api.tokens.set_rate(1000)
    api.clock.advance(1)
    first.result()
    api.tokens.set_rate(1)
    api.clock.advance(99)
    assert not second.done()
    api.clock.advance(1)
    second.result()
    (large,) = in_line(api.clock, lambda: api.both.acquire(requests=1, tokens=1000))
    api.tokens.set_rate(1, burst=500)
    assert isinstance(large.exception(), ValueError)
    assert api.both.statistics().waiters == 0
    # And nothing was taken for it: one request was the second's.
    assert api.left() == (4.0, 0.0)


@pytest.mark.parametrize("whole", [True, False])
def test_a_pause(whole):
    """Of the set, or of one member: nobody who needs it goes."""
    api = Api()
    (api.both if whole else api.tokens).pause_for(5)
    assert not api.both.try_acquire()
    assert api.both.retry_after() == 5.0
    (waiter,) = in_line(api.clock, api.both.acquire)
    api.clock.advance(5 - NANOSECOND)
    assert api.both.statistics().waiters == 1
    api.clock.advance(NANOSECOND)
    waiter.result()


def test_statistics():
    """The set counts its own calls."""
    api = Api()
    api.both.acquire()
    api.both.acquire(requests=4, tokens=1)
    api.both.try_acquire()
    (waiter,) = in_line(api.clock, api.both.acquire)
    api.clock.advance(0.25)
    seen = api.both.statistics()
    assert (seen.admitted, seen.refused, seen.waited, seen.waiters, seen.waited_seconds) == (2, 1, 0, 1, 0.25)
    api.clock.advance(0.75)
    waiter.result()
    seen = api.both.statistics()
    assert (seen.admitted, seen.refused, seen.waited, seen.waiters, seen.waited_seconds) == (3, 1, 1, 0, 1.0)


# ----------------------------------------------------------------------------------------------------- with, decorators


@on_loops
async def test_decorated_by_a_set():
    """`@limits`, `@limits(n=2)`, `@limits(requests=1, tokens=200)`, with a timeout."""
    api = Api()

    @api.both
    def plain():
        return "plain"

    @api.both(n=2)
    async def two():
        return "two"

    @api.both(requests=1, tokens=200, timeout=0.5)
    async def named():
        return "named"

    @api.both(requests=0, tokens=97)
    def generator():
        yield "generator"

    assert plain() == "plain"
    assert await two() == "two"
    assert await named() == "named"
    assert list(generator()) == ["generator"]
    assert api.left() == (1.0, 700.0)
    assert await named() == "named"
    with pytest.raises(RateLimited) as refused:
        await named()
    assert refused.value.retry_after == 1.0
    assert api.left() == (0.0, 500.0)


@on_loops
async def test_with_a_set():
    """One of each."""
    api = Api()
    with api.both:
        assert api.left() == (4.0, 999.0)
    async with api.both:
        assert api.left() == (3.0, 998.0)


def test_a_set_of_waiters_on_a_leaping_clock():
    """All that were due have gone, each at its own time."""
    api = Api(requests=(1, 1))
    api.both.acquire()
    workers = in_line(api.clock, *[api.both.acquire] * 4)
    api.clock.advance(3.5)
    for worker in workers[:3]:
        worker.result()
    wait_until(lambda: api.both.statistics().waiters == 1)
    assert api.both.statistics().waited_seconds == 1 + 2 + 3 + 3.5
    api.clock.advance(0.5)
    workers[3].result()


def test_the_same_semaphore_twice_is_refused():
    """A permit of such a set would wait for itself."""
    s = Semaphore(1)
    with pytest.raises(ValueError, match="'t' is a semaphore that the set has already"):
        RateLimits(a=TokenBucket(1, burst=1), s=s, t=s)
    inner = RateLimits(x=TokenBucket(1, burst=1), s=s)
    with pytest.raises(ValueError, match="has already"):
        RateLimits(a=inner, s=s)
    with pytest.raises(ValueError, match="has already"):
        RateLimits(s=s, a=inner)


def test_a_call_that_costs_nothing_takes_nothing():
    """No amount at all took one of each."""
    limits = RateLimits(a=TokenBucket(1, burst=5, clock=ManualClock()))
    costs = [{}, {"a": 2}, 1]

    @limits.by(cost=lambda: costs.pop(0))
    def call():
        return limits.limits["a"].tokens

    assert [call(), call(), call()] == [5.0, 3.0, 2.0]
