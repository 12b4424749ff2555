"""The cases of Go's golang.org/x/time/rate, as data, driven by a manual clock. One unit of time is 0.1 s.

A manual clock does not go back. Where a step's time is earlier than the clock (one case), the delay is compared in place of the moment.
Two rules differ, both by agreement: more than the burst is a ValueError here and plainly refused there; and there is no rate of zero.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from helpers import on_loops, settle, spawn
from rates import cancelled

from sluicegate import KeyedTokenBucket, RateLimited, RateLimits, TokenBucket
from sluicegate.testing import ManualClock

VECTORS = json.loads((Path(__file__).parent / "vectors" / "x_time_rate.json").read_text(encoding="utf-8"))
ALLOW = {name: case for name, case in VECTORS["allow"].items() if not name.startswith("_")}
RESERVE = {name: case for name, case in VECTORS["reserve"].items() if not name.startswith("_")}
UNIT = 0.1


class Plain:
    """A token bucket, as the steps see it."""

    def __init__(self, rate, burst, clock):
        self.limiter = self.bucket = TokenBucket(rate, burst=burst, clock=clock)

    def allow(self, n):
        return self.limiter.try_acquire(n)

    def tokens(self):
        return self.bucket.tokens


class Keyed(Plain):
    """One key of many."""

    def __init__(self, rate, burst, clock):
        self.limiter = self.bucket = KeyedTokenBucket(rate, burst=burst, max_keys=3, clock=clock).key("one")


class KeyedDirectly(Plain):
    """One key of many, without its handle."""

    def __init__(self, rate, burst, clock):
        self.keyed = KeyedTokenBucket(rate, burst=burst, max_keys=3, clock=clock)
        self.limiter = self.bucket = self.keyed.key("one")

    def allow(self, n):
        return self.keyed.try_acquire("one", n)


class AtOnce(Plain):
    """`acquire` that does not wait, in place of `try_acquire`."""

    def allow(self, n):
        try:
            return self.limiter.acquire(n, timeout=0)
        except RateLimited as refused:
            assert refused.retry_after > 0
            return False


class Several(Plain):
    """A set of one."""

    def __init__(self, rate, burst, clock):
        super().__init__(rate, burst, clock)
        self.limiter = RateLimits(one=self.bucket)


WAYS = [Plain, Keyed, KeyedDirectly, AtOnce, Several]


def allowed(way, n):
    """What the row says, where more than the burst is refused."""
    try:
        return way.allow(n)
    except ValueError:
        assert n > way.bucket.burst
        return False


def test_the_vectors_are_all_there():
    """Nothing is skipped by a slip."""
    assert len(ALLOW) == 2
    assert len(RESERVE) == 12
    assert sum(len(case["rows"]) for case in ALLOW.values()) == 22
    assert sum(len(steps) for _, _, steps in RESERVE.values()) == 54


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", list(ALLOW))
def test_allow(name, way):
    """Rows `[t, tokens before, n, ok]`."""
    case = ALLOW[name]
    clock = ManualClock()
    way = way(case["rate"], case["burst"], clock)
    now = 0
    for row in case["rows"]:
        at, before, n, ok = row
        clock.advance((at - now) * UNIT)
        now = at
        assert way.tokens() == before, row
        assert allowed(way, n) == bool(ok), row
        assert way.tokens() == before - (n if ok else 0), row


class Steps:
    """Runs the steps of a case."""

    def __init__(self, way, rate, burst):
        self.clock = ManualClock()
        self.way = way(rate, burst, self.clock)
        self.rate = rate
        self.now = 0
        self.made = []

    def reach(self, at):
        if at > self.now:
            self.clock.advance((at - self.now) * UNIT)
            self.now = at

    def reserve(self, at, n, act_at, ok, max_wait=None):
        self.reach(at)
        before = self.way.tokens()
        limit = None if max_wait is None else max_wait * UNIT
        if n > self.way.bucket.burst:
            assert not ok
            with pytest.raises(ValueError):
                self.way.limiter.reserve(n, max_wait=limit)
            self.made.append(None)
            assert self.way.tokens() == before
        elif ok:
            reservation = self.way.limiter.reserve(n, max_wait=limit)
            self.made.append(reservation)
            assert reservation.delay == pytest.approx((act_at - at) * UNIT, abs=1e-12)
            assert reservation.ready_at == pytest.approx(self.now * UNIT + (act_at - at) * UNIT, abs=1e-12)
            if at == self.now:
                assert round(reservation.ready_at * 10**9) == act_at * 10**8
        else:
            with pytest.raises(RateLimited) as refused:
                self.way.limiter.reserve(n, max_wait=limit)
            assert refused.value.retry_after == pytest.approx((act_at - at) * UNIT if act_at else 2 * UNIT, abs=1e-12)
            self.made.append(None)
            assert self.way.tokens() == before

    def reserve_max(self, at, n, act_at, ok, max_wait):
        self.reserve(at, n, act_at, ok, max_wait)

    def allow(self, at, tokens, n, ok):
        self.reach(at)
        assert self.way.tokens() == tokens
        assert allowed(self.way, n) == bool(ok)

    def cancel(self, index, at):
        self.reach(at)
        reservation = self.made[index]
        if reservation is not None:
            before = self.way.tokens()
            given_back = reservation.cancel()
            if isinstance(given_back, dict):
                given_back = given_back.get("one", 0.0)
            assert self.way.tokens() == pytest.approx(before + given_back)

    def set_limit(self, at, rate):
        self.reach(at)
        self.rate = rate
        self.way.bucket.set_rate(rate)

    def set_burst(self, at, burst):
        self.reach(at)
        self.way.bucket.set_rate(self.rate, burst=burst)


@pytest.mark.parametrize("way", [Plain, Keyed, Several])
@pytest.mark.parametrize("name", list(RESERVE))
def test_reserve(name, way):
    """Steps of reserving, cancelling, and changing rate and burst in between."""
    rate, burst, steps = RESERVE[name]
    run = Steps(way, rate, burst)
    for op, *args in steps:
        getattr(run, op)(*args)


def test_simultaneous():
    """1 a second, burst 5, fifteen threads at one moment: five."""
    bucket = TokenBucket(1, burst=5, clock=ManualClock())
    workers = [spawn(bucket.try_acquire) for _ in range(15)]
    assert sum(worker.result() for worker in workers) == 5


def test_tiny_limit():
    """1e-10 a second: one at once, and then not for a long while."""
    clock = ManualClock()
    bucket = TokenBucket(1e-10, burst=1, clock=clock)
    assert bucket.try_acquire()
    assert not bucket.try_acquire()
    clock.advance(9e9)
    assert not bucket.try_acquire()
    clock.advance(1.1e9)
    assert bucket.try_acquire()
    assert not bucket.try_acquire()


def test_no_truncation():
    """A rate that is no decimal fraction."""
    bucket = TokenBucket(0.7692307692307693, burst=1, clock=ManualClock())
    assert bucket.try_acquire()


def test_waits():
    """At 10 a second with burst 3: none of 4, 2 at once, 3 after two units."""
    clock = ManualClock()
    bucket = TokenBucket(10, burst=3, clock=clock)
    with pytest.raises(ValueError):
        bucket.acquire(4)
    assert bucket.acquire(2) is True
    waiter = spawn(bucket.acquire, 3)
    clock.wait_for_waiters(1)
    clock.advance(0.199999999)
    assert bucket.statistics().waiters == 1
    clock.advance(1e-9)
    assert waiter.result() is True


@on_loops
async def test_wait_cancelled():
    """2 at once; 3 cancelled after one unit; then 2 at once, because nothing was taken in between."""
    clock = ManualClock()
    bucket = TokenBucket(10, burst=3, clock=clock)
    await bucket.acquire_async(2)
    task = asyncio.create_task(bucket.acquire_async(3))
    await settle()
    await clock.advance_async(UNIT)
    assert not task.done()
    await cancelled(task)
    assert bucket.tokens == 2.0
    assert await bucket.acquire_async(2, timeout=0)


def test_wait_longer_than_the_timeout():
    """Refused at once."""
    clock = ManualClock()
    bucket = TokenBucket(10, burst=3, clock=clock)
    bucket.acquire(2)
    with pytest.raises(RateLimited) as refused:
        bucket.acquire(3, timeout=UNIT)
    assert refused.value.retry_after == pytest.approx(0.2)
    assert clock.waiters == 0
    assert bucket.tokens == 1.0
