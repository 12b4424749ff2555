"""The limiters beside plain models in exact fractions, over random schedules.

Two questions are asked of every schedule.

The law: take the moments at which something was let go (a call's own time, a reservation's `ready_at`). In no window between two of them
is more let go than `burst + rate * window`; what was refunded meanwhile is counted back. No rounding is forgiven.

Maximality: what the model allows is allowed. Amounts are counted in billionths of a token, so where the rate does not bring in whole
billionths each nanosecond, every event may cost one of them (`slack`), and where it does, nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
from fractions import Fraction

import pytest
from helpers import PATIENCE, finish, new_loop, settle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rates import advance_ns, ceil_ns, figures, ns, one_key

from sluicegate import KeyedSlidingWindow, KeyedTokenBucket, LeakyBucket, RateLimited, RateLimits, SlidingWindow, TokenBucket
from sluicegate.testing import ManualClock

# How many schedules each test tries: more with SLUICEGATE_MODEL_EXAMPLES=5000.
EXAMPLES = int(os.environ.get("SLUICEGATE_MODEL_EXAMPLES", "150"))
quick = settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
slower = settings(quick, max_examples=EXAMPLES // 2)

BILLIONTH = Fraction(1, 10**9)
LAST = 8 * 10**18  # a schedule ends where the clock's nanoseconds do

RATES = [(rate, 1.0) for rate in (1, 3, 7, 10, 2000, 0.1, 0.25, 1 / 3, 0.1 + 0.2, 1e-9, 1e9, 1e-3, 0.7692307692307693)]
RATES += [(50, 60.0), (100, 3600), (0.5, 3600), (5, 0.1), (1, 1 / 3), (1, 7)]
rates = st.sampled_from(RATES)
bursts = st.one_of(st.integers(1, 20), st.sampled_from([1, 2, 5, 50, 0.3, 0.5, 2.5, 1.001, 3.14, 1000]))


def decimal(low, high):
    """A number with up to three digits behind the point."""
    return st.integers(math.ceil(low * 1000), int(high * 1000)).map(lambda number: number / 1000)


def meant(number):
    """What is meant by a number of a rate: the decimal that is written for it, so that 0.1 a second is one in ten seconds."""
    return Fraction(repr(number))


def exact(amount):
    """What is meant by a float that stands for a decimal: billionths of a token."""
    return Fraction(round(Fraction(amount) * 10**9), 10**9)


def amounts(burst):
    most = math.floor(burst)
    return st.one_of(
        st.integers(0, max(1, most)).map(float),
        st.integers(0, max(1, most)),
        decimal(0, burst),
        st.sampled_from([burst, burst, 1, 0.001, min(burst, 0.1 + 0.2)]),
    )


def too_much(n, burst):
    return exact(n) > exact(burst)


class Time:
    """A manual clock, and the same time in whole nanoseconds."""

    def __init__(self):
        self.clock = ManualClock()
        self.now = 0

    def advance(self, nanoseconds):
        nanoseconds = min(nanoseconds, LAST - self.now)
        advance_ns(self.clock, nanoseconds)
        self.now += nanoseconds

    @property
    def seconds(self):
        return Fraction(self.now, 10**9)


class Law:
    """What was let go, and what more it may have been."""

    def __init__(self, rate, burst):
        self.pieces = [(0, rate, burst)]  # from then on
        self.grants = {}  # number -> [moment, amount]
        self.refunds = []
        self.numbers = itertools.count()
        self.exact = True

    def grant(self, at, amount):
        number = next(self.numbers)
        self.grants[number] = [at, amount]
        return number

    def came_in(self, start, end):
        """What the rate brought in between two moments."""
        total = Fraction(0)
        ends = [piece[0] for piece in self.pieces[1:]] + [None]
        for (begin, rate, _), stop in zip(self.pieces, ends, strict=True):
            left, right = max(start, begin), end if stop is None else min(end, stop)
            if right > left:
                total += rate * Fraction(right - left, 10**9)
        return total

    def burst_at(self, moment):
        """The largest burst in force at that moment (several, where it was changed there)."""
        ends = [piece[0] for piece in self.pieces[1:]] + [None]
        return max(
            burst for (begin, _, burst), stop in zip(self.pieces, ends, strict=True) if begin <= moment and (stop is None or stop >= moment)
        )

    def check(self):
        if not self.exact:
            return
        grants = sorted(self.grants.values())
        for first in range(len(grants)):
            start = grants[first][0]
            if first and grants[first - 1][0] == start:
                continue
            total = Fraction(0)
            for end, amount in grants[first:]:
                total += amount
                back = sum(refund for moment, refund in self.refunds if start <= moment <= end)
                most = self.burst_at(start) + self.came_in(start, end) + back
                assert total <= most, f"{float(total)} of at most {float(most)} let go from {start} to {end} ns: {grants}"


# ------------------------------------------------------------------------------------------------------- token bucket


class Bucket:
    """The model: a level that rises with the rate up to the burst."""

    def __init__(self, rate, period, burst):
        self.rate, self.burst = meant(rate) / meant(period), exact(burst)
        self.period = meant(period)
        self.level, self.at = self.burst, Fraction(0)
        self.events = 0
        self.paused = Fraction(0)
        self.exactly = self.rate.denominator == 1  # each nanosecond brings in whole billionths: nothing is ever rounded

    @property
    def slack(self):
        return Fraction(0) if self.exactly else (self.events + 2) * BILLIONTH

    def look(self, now):
        if now > self.at:
            self.level = min(self.burst, self.level + self.rate * (now - self.at))
            self.at = now
        return self.level

    def take(self, n, now):
        self.look(now)
        self.level -= n
        self.events += 1

    def book(self, n, now, ready):
        """To be taken at `ready`, when the level is what it is then, and no more than the burst; as a level of now."""
        comes = self.rate * (ready - now)
        self.level = min(self.burst, self.look(now) + comes) - n - comes
        self.events += 1

    def give(self, n, now):
        self.look(now)
        self.level = min(self.burst, self.level + n)
        self.events += 1

    def set(self, rate, burst, now):
        self.look(now)
        self.rate = meant(rate) / self.period
        self.exactly = self.exactly and self.rate.denominator == 1
        if burst is not None:
            self.burst = exact(burst)
        self.level = min(self.level, self.burst)
        self.events += 1

    def wait(self, n, now):
        """Seconds until `n` can go."""
        lacking = n - self.look(now)
        return max(Fraction(0), lacking / self.rate, self.paused - now)


MAKE = {
    "TokenBucket": lambda rate, burst, period, clock: TokenBucket(rate, burst=burst, period=period, clock=clock),
    "TokenBucketKey": lambda rate, burst, period, clock: one_key(
        KeyedTokenBucket(rate, burst=burst, period=period, max_keys=2, clock=clock), ("k", 1)
    ),
}


class BucketRun:
    """One schedule on a bucket, its model and the law.

    What is booked is taken from the level of the moment for which it is booked. What the tokens are between a pause and a booking that it
    put off is for the law alone to say: there the level is not compared any more.
    """

    def __init__(self, kind, pace, burst):
        rate, period = pace
        self.time = Time()
        self.bucket = MAKE[kind](rate, burst, period, self.time.clock)
        self.model = Bucket(rate, period, burst)
        self.law = Law(self.model.rate, self.model.burst)
        self.made = []
        self.compared = True
        self.rounded = False
        self.changed = False

    def pending(self):
        return [made for made in self.made if made["ready"] > self.time.now and not made["cancelled"]]

    def check_tokens(self):
        if not self.compared:
            return
        level, slack = self.model.look(self.time.seconds), self.model.slack
        found = exact(self.bucket.tokens)
        allowed = slack + BILLIONTH + abs(level) * Fraction(1, 2**50)
        assert abs(found - level) <= allowed, (float(found), float(level), float(slack))
        assert found <= self.model.burst

    def admitted(self, n, said):
        """Compares one answer with the model's, and takes note."""
        model, now = self.model, self.time.seconds
        level = model.look(now)
        if n > 0 and self.compared:
            if now < model.paused or level < n:
                assert not said, f"admitted {float(n)} of {float(level)}"
            elif level - model.slack >= n:
                assert said, f"refused {float(n)} of {float(level)}"
        if n == 0:
            assert said
        if said and n > 0:
            for made in self.made:
                made["last"] = False
            assert now >= model.paused
            model.take(n, now)
            return self.law.grant(self.time.now, n)
        return None

    def permit(self, n):
        """A grant that is told later what it came to."""
        if too_much(n, self.model.burst) or not n:
            return
        permit = self.bucket.permit(n, timeout=0)
        try:
            with permit:
                said = True
        except RateLimited:
            said = False
        number = self.admitted(exact(n), said)
        if said:
            self.made.append({"it": permit, "n": exact(n), "ready": self.time.now, "grant": number, "permit": True})
            self.made[-1].update(cancelled=False, settled=False, late=False, last=True)

    def take(self, n, way):
        if too_much(n, self.model.burst):
            with pytest.raises(ValueError):
                (self.bucket.acquire if way else self.bucket.try_acquire)(n)
            return
        if way:
            expected = self.bucket.retry_after(n)
            try:
                said = self.bucket.acquire(n, timeout=0)
            except RateLimited as refused:
                said = False
                assert refused.retry_after == expected > 0 or expected > 1e10  # longer than the clock can count
            else:
                assert expected == 0
        else:
            said = self.bucket.try_acquire(n)
        assert said is True or said is False
        self.admitted(exact(n), said)

    def due(self, n):
        """A caller that comes exactly at `retry_after` is admitted; one that comes a nanosecond earlier is not."""
        if too_much(n, self.model.burst):
            return
        wait = self.bucket.retry_after(n)
        assert wait >= 0
        if math.isinf(wait):  # longer than the clock can count
            if self.compared:
                assert self.time.seconds + self.model.wait(exact(n), self.time.seconds) > Fraction(LAST, 10**9)
            return
        if self.time.now + ns(wait) > LAST:
            return
        if self.compared:
            expected = ceil_ns(self.model.wait(exact(n), self.time.seconds)) if n else 0
            later = ceil_ns(self.model.slack / self.model.rate) + 1 + expected // 2**50
            sooner = ceil_ns(BILLIONTH / self.model.rate) if self.rounded else 0
            assert expected <= ns(wait) + expected // 2**50 + sooner, (wait, expected)
            assert ns(wait) <= expected + later, (wait, expected)
        if 0 < ns(wait) < 2**52:
            self.time.advance(ns(wait) - 1)
            assert not self.bucket.try_acquire(n)
            assert self.bucket.retry_after(n) > 0
            self.time.advance(1)
        else:  # a float of so many seconds does not hold a nanosecond
            self.time.advance(ns(wait))
        assert self.bucket.retry_after(n) == 0
        assert self.bucket.try_acquire(n) is True
        if n:
            for made in self.made:
                made["last"] = False
            self.model.take(exact(n), self.time.seconds)
            self.law.grant(self.time.now, exact(n))

    def reserve(self, n, patience):
        if too_much(n, self.model.burst):
            with pytest.raises(ValueError):
                self.bucket.reserve(n)
            return
        if self.model.paused > self.time.seconds:
            self.compared = False
        now, expected = self.time.now, self.model.wait(exact(n), self.time.seconds) if n else Fraction(0)
        if now + expected * 10**9 > LAST:
            return
        max_wait = None if patience is None else min(float(expected) * patience, 9e9)
        try:
            reservation = self.bucket.reserve(n, max_wait=max_wait)
        except RateLimited as refused:
            assert max_wait is not None
            assert ns(refused.retry_after) > ns(max_wait)
            return
        ready = self.ready_at(reservation)
        if max_wait is not None:
            assert ns(reservation.delay) <= ceil_ns(Fraction(max_wait))
        assert ready >= now
        if self.compared:
            later = ceil_ns(self.model.slack / self.model.rate) + 1 + now // 2**50
            sooner = ceil_ns(BILLIONTH / self.model.rate) if self.rounded else 1
            assert ceil_ns(expected) <= ready - now + now // 2**50 + sooner
            assert ready - now <= ceil_ns(expected) + later
        if n:
            self.model.book(exact(n), self.time.seconds, Fraction(ready, 10**9))
        number = self.law.grant(ready, exact(n))
        self.made.append({"it": reservation, "n": exact(n), "ready": ready, "grant": number})
        self.made[-1].update(cancelled=False, settled=False, late=False, last=True)
        for other in self.made[:-1]:
            other["last"] = False

    def ready_at(self, reservation):
        if ns(reservation.ready_at) > 2**52:  # a float of so many seconds does not hold a nanosecond
            self.law.exact = False
            return self.time.now + ns(reservation.delay)
        return ns(reservation.ready_at)

    def settle(self, index, part):
        made = self.made[index % len(self.made)] if self.made else None
        if made is None or made["late"]:
            return
        if made["settled"] or made["cancelled"]:
            with pytest.raises(RuntimeError):
                made["it"].settle(1)
            return
        actual = float(made["n"]) * part
        actual = round(actual, 3)
        made["it"].settle(actual)
        made["settled"] = True
        difference = made["n"] - exact(actual)
        if difference < 0:
            self.model.take(-difference, self.time.seconds)
            for other in self.made:
                other["last"] = False
        else:
            self.given_back(difference, all_of_it=False)
            self.law.grants[made["grant"]][1] -= difference  # long after its moment, too: what it came to counts there

    def given_back(self, n, *, all_of_it):
        """Books in the model what comes back. Of a refund that is all of it, if nothing is booked ahead; else, and of what is settled, as
        much as the law allows, which the tokens tell and the law must bear out."""
        for made in self.made:
            made["last"] = False
        before = self.model.look(self.time.seconds)
        if (self.pending() or not all_of_it) and self.compared:
            given = exact(self.bucket.tokens) - before
            assert -self.model.slack - BILLIONTH <= given <= n + self.model.slack + BILLIONTH
            self.rounded = True  # the tokens tell it to a billionth
            if n - given > self.model.slack + BILLIONTH:
                given = max(given, Fraction(0))
                self.model.give(given, self.time.seconds)
                return given + BILLIONTH  # at most
        self.model.give(n, self.time.seconds)
        return n

    def cancel(self, index):
        made = self.made[index % len(self.made)] if self.made else None
        if made is None or made["settled"] or "permit" in made:
            return
        before = self.model.look(self.time.seconds)
        given_back = exact(made["it"].cancel())
        assert 0 <= given_back <= made["n"]
        if made["cancelled"]:
            assert given_back == 0
            return
        if self.time.now > made["ready"]:
            assert given_back == 0
            made["late"] = True
        else:
            # Promises of another law are not held against this one: behind them less may come back.
            if made["last"] and self.time.now < made["ready"] and not self.changed:
                assert given_back == made["n"]
            made["cancelled"] = True
            if self.time.now < made["ready"] or given_back:
                del self.law.grants[made["grant"]]
        if self.compared and given_back:
            after = min(self.model.burst, before + given_back)
            self.model.give(after - before, self.time.seconds)

    def refund(self, n):
        self.bucket.refund(n)
        self.law.refunds.append((self.time.now, self.given_back(exact(n), all_of_it=True)))

    def debit(self, n):
        self.bucket.debit(n)
        self.model.take(exact(n), self.time.seconds)
        for made in self.made:  # a debit is booked, too: what was booked before it need not come back
            made["last"] = False

    def set_rate(self, rate, burst, only_when_free):
        if only_when_free and self.pending():
            return
        self.changed = self.changed or bool(self.pending())
        if burst is None:
            self.bucket.set_rate(rate)
        else:
            self.bucket.set_rate(rate, burst=burst)
        self.model.set(rate, burst, self.time.seconds)
        self.law.pieces.append((self.time.now, self.model.rate, self.model.burst))
        assert self.bucket.rate == rate
        assert exact(self.bucket.burst) == self.model.burst

    def pause(self, share):
        if self.pending():
            self.compared = False
        seconds = float(share / self.model.rate)
        if ns(seconds) > 2**52:
            return
        self.bucket.pause_for(seconds)
        self.model.paused = max(self.model.paused, self.time.seconds + Fraction(ns(seconds), 10**9))

    def advance(self, share):
        """By so many tokens' time."""
        self.time.advance(int(share / self.model.rate * 10**9))

    def tick(self, nanoseconds):
        self.time.advance(nanoseconds)


indexes = st.integers(0, 5)
shares = st.one_of(st.integers(0, 3).map(Fraction), st.fractions(0, 3, max_denominator=1000), st.sampled_from([Fraction(0), Fraction(20)]))
parts = st.sampled_from([0, 0.5, 1, 1.5, 0.1])


def bucket_steps(burst, promises):
    n = amounts(burst)
    more = st.one_of(n, amounts(burst * 1.5))
    steps = [
        st.tuples(st.just("take"), more, st.booleans()),
        st.tuples(st.just("take"), n, st.booleans()),
        st.tuples(st.just("due"), n),
        st.tuples(st.just("refund"), n),
        st.tuples(st.just("debit"), more),
        st.tuples(st.just("advance"), shares),
        st.tuples(st.just("advance"), shares),
        st.tuples(st.just("tick"), st.sampled_from([0, 1, 1, 2, 999, 10**6])),
    ]
    if promises:
        steps += [
            st.tuples(st.just("reserve"), n, st.sampled_from([None, None, 0, 0.5, 1, 2])),
            st.tuples(st.just("reserve"), n, st.none()),
            st.tuples(st.just("permit"), n),
            st.tuples(st.just("settle"), indexes, parts),
            st.tuples(st.just("cancel"), indexes),
            st.tuples(st.just("cancel"), indexes),
        ]
    return steps


@st.composite
def schedules(draw, promises, pauses, changes):
    kind = draw(st.sampled_from(list(MAKE)))
    pace, burst = draw(rates), draw(bursts)
    steps = bucket_steps(burst, promises)
    if pauses:
        steps.append(st.tuples(st.just("pause"), shares))
    if changes:
        rate = st.sampled_from([pace[0], pace[0] * 2, pace[0] / 4])
        steps.append(st.tuples(st.just("set_rate"), rate, st.one_of(st.none(), bursts), st.just(changes == "when free")))
    return kind, pace, burst, draw(st.lists(st.one_of(steps), max_size=40))


def play(schedule):
    kind, pace, burst, steps = schedule
    run = BucketRun(kind, pace, burst)
    for name, *args in steps:
        getattr(run, name)(*args)
        run.check_tokens()
    return run


@quick
@given(schedules(promises=False, pauses=True, changes="any time"))
def test_bucket_is_the_model(schedule):
    """Calls that take, refunds, debits, pauses, changes of rate: each answer is the model's, and the law holds."""
    play(schedule).law.check()


@quick
@given(schedules(promises=True, pauses=False, changes="any time"))
def test_bucket_with_reservations_is_the_model(schedule):
    """Reservations, settled and cancelled, and changes of rate while they are pending: their times and the tokens are the model's."""
    play(schedule)


@quick
@given(schedules(promises=True, pauses=True, changes="when free"))
def test_the_law_of_the_bucket(schedule):
    """Everything at once, rates changed while nothing is booked ahead (a promise keeps its time): never above the law."""
    play(schedule).law.check()


@quick
@given(schedules(promises=True, pauses=True, changes="any time"))
def test_no_schedule_breaks_the_bucket(schedule):
    """After any schedule at all, once everything has been waited off, there is the burst again, and no more."""
    run = play(schedule)
    rest = max([run.time.now, ns(run.model.paused), *(made["ready"] for made in run.made)]) - run.time.now
    # What is owed at most: all that was ever taken.
    owed = max(burst for _, _, burst in run.law.pieces) * 2 * (len(schedule[3]) + 1)
    owed += sum(exact(step[1]) for step in schedule[3] if step[0] == "debit")  # may be more than a burst
    rest += ceil_ns(Fraction(owed) / run.model.rate)
    if run.time.now + rest > LAST:
        return
    run.time.advance(rest)
    assert run.bucket.tokens == float(run.model.burst)
    burst = run.bucket.burst
    assert run.bucket.try_acquire(burst)
    assert not run.bucket.try_acquire(min(burst, 0.001))


@slower
@given(rates, st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.integers(1, 50))
def test_nothing_drifts(pace, shares, turns):
    """However finely the time is cut, what has come in over all of it is the rate's, less one rounding a call at most."""
    rate, period = pace
    exact_rate = meant(rate) / meant(period)
    time = Time()
    burst = 10**6
    bucket = TokenBucket(rate, burst=burst, period=period, initial=0, clock=time.clock)
    for _ in range(turns):
        for share in shares:
            time.advance(int(Fraction(share, 1000) / exact_rate * 10**9))
            bucket.try_acquire(burst)
            _ = bucket.tokens
    expected = exact_rate * time.seconds
    found = Fraction(bucket.tokens)
    assert found <= expected * (1 + Fraction(1, 2**52)) + BILLIONTH / 2
    assert found >= expected * (1 - Fraction(1, 2**50)) - 2 * BILLIONTH * (1 if rate < 1e6 else 1000)


@pytest.mark.parametrize("rate", [0.1, 3, 1 / 3, 0.1 + 0.2, 54, 1e-3])
def test_days_of_small_steps(rate):
    """Ten days, a call every second: as many as the rate allows, and not one less."""
    clock = ManualClock()
    bucket = TokenBucket(rate, burst=max(2, rate), clock=clock, initial=0)
    admitted, days = 0, 10
    n = max(rate, 1)
    for _ in range(days * 86400):
        clock.advance(1)
        admitted += bucket.try_acquire(n)
    expected = meant(rate) * days * 86400 / exact(n)
    assert admitted <= expected
    assert admitted >= math.floor(expected) - (0 if expected.denominator == 1 else 1)


@pytest.mark.parametrize("n", [0.1, 0.2, 0.3, 0.7, 1.1, 2.5, 0.001])
def test_decimal_amounts_add_up(n):
    """As many pieces of a decimal amount fit as its digits say, whatever floats make of them."""
    pieces = 10
    bucket = TokenBucket(1e-9, burst=n * pieces, clock=ManualClock())
    for _ in range(pieces):
        assert bucket.try_acquire(n)
    assert bucket.tokens == 0.0
    assert not bucket.try_acquire(0.001)
    for _ in range(pieces):
        bucket.refund(n)
    assert bucket.try_acquire(n * pieces)


def test_a_third_and_a_third_and_a_third():
    """0.1 + 0.2 fits into 0.3."""
    bucket = TokenBucket(1, burst=0.3, clock=ManualClock())
    assert bucket.try_acquire(0.1 + 0.2)
    assert bucket.tokens == 0.0


# ----------------------------------------------------------------------------------------------------- sliding window


class WindowRun:
    """One schedule on a sliding window beside its log."""

    def __init__(self, limit, period, keyed):
        self.time = Time()
        self.limit, self.period = exact(limit), ns(period)
        if keyed:
            self.window = KeyedSlidingWindow(limit, period, max_keys=1, clock=self.time.clock).key("k")
        else:
            self.window = SlidingWindow(limit, period, clock=self.time.clock)
        self.keyed = keyed
        self.log = {}  # number -> [moment, amount]
        self.refunds = []
        self.numbers = itertools.count()
        self.made = []
        self.compared = True

    def used(self, moment):
        return sum((n for at, n in self.log.values() if at <= moment < at + self.period), Fraction(0))

    def pending(self):
        return any(at > self.time.now for at, _ in self.log.values())

    def note(self, at, n):
        number = next(self.numbers)
        self.log[number] = [at, n]
        if self.keyed and len({moment for moment, _ in self.log.values() if moment + self.period > self.time.now}) > 16:
            self.compared = False  # of a key not every moment is remembered; the law holds all the same
        return number

    def first(self, n):
        """The first moment from now on at which `n` fit."""
        moments = [self.time.now] + sorted(at + self.period for at, _ in self.log.values())
        return next(moment for moment in moments if moment >= self.time.now and self.used(moment) + n <= self.limit)

    def take(self, n, way):
        if exact(n) > self.limit:
            with pytest.raises(ValueError):
                self.window.try_acquire(n)
            return False
        if way:
            expected = self.window.retry_after(n)
            try:
                said = self.window.acquire(n, timeout=0)
            except RateLimited as refused:
                said = False
                assert refused.retry_after == expected > 0
        else:
            said = self.window.try_acquire(n)
        fits = self.used(self.time.now) + exact(n) <= self.limit
        if n == 0:
            assert said
        elif self.compared and not self.pending():
            assert said == fits, (float(self.used(self.time.now)), n, said)
        elif said and self.compared:
            assert fits
        if said and n:
            self.note(self.time.now, exact(n))
        return said

    def permit(self, n):
        """A grant that is told later what it came to."""
        if exact(n) > self.limit or n == 0:
            return
        permit = self.window.permit(n, timeout=0)
        fits = self.used(self.time.now) + exact(n) <= self.limit
        try:
            with permit:
                number = self.note(self.time.now, exact(n))
        except RateLimited:
            assert not fits or not self.compared or self.pending()
            return
        assert fits or not self.compared
        self.made.append({"it": permit, "n": exact(n), "ready": self.time.now, "number": number, "last": True, "permit": True})
        self.made[-1].update(cancelled=False, settled=False, late=False)

    def due(self, n):
        if exact(n) > self.limit or n == 0:
            return
        wait = ns(self.window.retry_after(n))
        if self.compared and not self.pending():
            assert self.time.now + wait == self.first(exact(n))
        if wait:
            self.time.advance(wait - 1)
            assert not self.window.try_acquire(n)
            self.time.advance(1)
        assert self.window.retry_after(n) == 0
        assert self.take(n, False) is True

    def reserve(self, n, patience):
        if exact(n) > self.limit or n == 0:
            return
        max_wait = None if patience is None else patience * self.period / 10**9
        try:
            reservation = self.window.reserve(n, max_wait=max_wait)
        except RateLimited as refused:
            assert max_wait is not None and refused.retry_after > max_wait
            return
        ready = ns(reservation.ready_at)
        assert ready >= self.time.now
        assert ns(reservation.delay) == ready - self.time.now
        if self.compared and not self.pending():
            assert ready == self.first(exact(n))
        number = self.note(ready, exact(n))
        for made in self.made:
            made["last"] = False
        self.made.append({"it": reservation, "n": exact(n), "ready": ready, "number": number, "last": True})
        self.made[-1].update(cancelled=False, settled=False, late=False)

    def settle(self, index, part):
        made = self.made[index % len(self.made)] if self.made else None
        if made is None or made["settled"] or made["cancelled"] or made["late"]:
            return
        actual = round(float(made["n"]) * part, 3)
        made["it"].settle(actual)
        made["settled"] = True
        for other in self.made:
            other["last"] = False
        if exact(actual) > made["n"]:
            self.compared = False  # owed from now on
        elif actual:
            self.log[made["number"]][1] = exact(actual)
        else:
            del self.log[made["number"]]

    def cancel(self, index):
        made = self.made[index % len(self.made)] if self.made else None
        if made is None or made["settled"] or "permit" in made:
            return
        given_back = exact(made["it"].cancel())
        assert 0 <= given_back <= made["n"]
        if made["cancelled"] or self.time.now > made["ready"]:
            assert given_back == 0
            made["late"] = True
            return
        if made["last"] and self.time.now < made["ready"]:
            assert given_back == made["n"]
        made["cancelled"] = True
        if self.time.now < made["ready"] or given_back:
            if given_back < made["n"]:
                self.compared = False  # the rest is neither let go nor there again
            del self.log[made["number"]]

    def refund(self, n):
        self.window.refund(n)
        self.refunds.append((self.time.now, exact(n)))
        self.compared = False  # of which it is taken back, only the law says

    def debit(self, n):
        self.window.debit(n)
        self.compared = False

    def set_limit(self, limit, share):
        if self.pending() or self.made or len(self.refunds):
            return
        period = share * self.period / 10**9
        self.law()
        self.window.set_limit(limit, period)
        assert self.window.limit == limit
        self.limit, self.period = exact(limit), ns(self.window.period)
        if self.log:
            self.compared = False
        self.log.clear()  # windows across the change have two limits

    def advance(self, share):
        self.time.advance(int(share * self.period))

    def tick(self, nanoseconds):
        self.time.advance(nanoseconds)

    def law(self):
        entries = sorted(self.log.values())
        for start, _ in entries:
            inside = [entry for entry in entries if start <= entry[0] < start + self.period]
            total = sum((n for _, n in inside), Fraction(0))
            back = sum((n for at, n in self.refunds if start <= at < start + self.period), Fraction(0))
            assert total <= self.limit + back, (start, inside)


@st.composite
def window_schedules(draw):
    limit = draw(bursts)
    period = draw(st.sampled_from([1, 60, 0.1, 1 / 3, 3600, 1e-9, 1e-6, 86400]))
    n = amounts(limit)
    part = st.one_of(st.fractions(0, 2, max_denominator=100), st.sampled_from([Fraction(0), Fraction(1)]))
    step = st.one_of(
        st.tuples(st.just("take"), st.one_of(n, amounts(limit * 1.5)), st.booleans()),
        st.tuples(st.just("take"), n, st.booleans()),
        st.tuples(st.just("due"), n),
        st.tuples(st.just("permit"), n),
        st.tuples(st.just("reserve"), n, st.sampled_from([None, None, 0, 0.5, 1])),
        st.tuples(st.just("settle"), indexes, parts),
        st.tuples(st.just("cancel"), indexes),
        st.tuples(st.just("advance"), part),
        st.tuples(st.just("advance"), part),
        st.tuples(st.just("tick"), st.sampled_from([0, 1, 1, 999])),
    )
    rare = st.one_of(
        st.tuples(st.just("refund"), n),
        st.tuples(st.just("debit"), n),
        st.tuples(st.just("set_limit"), st.integers(1, 10), st.sampled_from([1, 2])),
    )
    steps = st.lists(step, max_size=40) if draw(st.booleans()) else st.lists(st.one_of(step, step, step, rare), max_size=40)
    return limit, period, draw(st.booleans()), draw(steps)


@quick
@given(window_schedules())
def test_sliding_window_is_the_model(schedule):
    """In no half-open window more than the limit; what fits is let go. A key's window too."""
    limit, period, keyed, steps = schedule
    run = WindowRun(limit, period, keyed)
    for name, *args in steps:
        getattr(run, name)(*args)
        if run.compared and not run.pending():
            left = run.limit - run.used(run.time.now)
            assert abs(Fraction(run.window.tokens) - left) <= BILLIONTH
    run.law()


# ------------------------------------------------------------------------------------------------------- leaky bucket


class LeakyRun:
    """One schedule on a shaper beside the moment at which the next may go."""

    def __init__(self, pace, capacity):
        rate, period = pace
        self.time = Time()
        self.rate, self.capacity = meant(rate) / meant(period), capacity
        self.bucket = LeakyBucket(rate, capacity=capacity, period=period, clock=self.time.clock)
        self.free = Fraction(0)  # from when on the next may go
        self.events = 0
        self.grants = {}
        self.numbers = itertools.count()
        self.made = []

    @property
    def late(self):
        """By how much rounding may put a moment off."""
        return ceil_ns((self.events + 2) * BILLIONTH / self.rate) + 2

    def line(self):
        return sum(made["ready"] > self.time.now and not made["cancelled"] for made in self.made)

    def note(self, at, n):
        number = next(self.numbers)
        self.grants[number] = (at, n)
        self.free = max(self.free, Fraction(at, 10**9)) + n / self.rate
        self.events += 1
        return number

    def take(self, n, way):
        now, free = self.time.now, ceil_ns(self.free)
        if way:
            try:
                said = self.bucket.acquire(n, timeout=0)
            except RateLimited as refused:
                said = False
                assert refused.retry_after > 0
        else:
            said = self.bucket.try_acquire(n)
        if n == 0:
            assert said
            return
        if now < free:
            assert not said
        elif now >= free + self.late:
            assert said
        if said:
            self.note(now, exact(n))

    def due(self, n):
        if n == 0:
            return
        wait = ns(self.bucket.retry_after(n))
        if self.time.now + wait > 2**52:
            return
        expected = max(0, ceil_ns(self.free) - self.time.now)
        assert expected <= wait <= expected + self.late
        if wait:
            self.time.advance(wait - 1)
            assert not self.bucket.try_acquire(n)
            self.time.advance(1)
        assert self.bucket.try_acquire(n)
        self.note(self.time.now, exact(n))

    def reserve(self, n):
        if n == 0:
            return
        line = self.line()
        free_now = self.time.now >= ceil_ns(self.free) + self.late
        if self.free * 10**9 > 2**52:
            return
        try:
            reservation = self.bucket.reserve(n)
        except RateLimited as refused:
            assert line >= self.capacity
            assert refused.retry_after > 0
            return
        ready = ns(reservation.ready_at)
        if ready > self.time.now:
            assert line < self.capacity
        if free_now:
            assert ready == self.time.now
        assert max(self.time.now, ceil_ns(self.free)) <= ready <= max(self.time.now, ceil_ns(self.free)) + self.late
        number = self.note(ready, exact(n))
        for made in self.made:
            made["last"] = False
        self.made.append({"it": reservation, "n": exact(n), "ready": ready, "number": number, "last": True})
        self.made[-1].update(cancelled=False, settled=False, late=False)

    def settle(self, index, part):
        made = self.made[index % len(self.made)] if self.made else None
        if made is None or made["settled"] or made["cancelled"] or made["late"]:
            return
        actual = round(float(made["n"]) * part, 3)
        made["it"].settle(actual)
        made["settled"] = True
        for other in self.made:
            other["last"] = False
        if exact(actual) > made["n"]:
            self.free = max(self.free, self.time.seconds) + (exact(actual) - made["n"]) / self.rate
            self.events += 1
            return
        at = made["ready"]
        made["cancelled"] = not actual and self.time.now < at  # nothing of it is left that could wait
        del self.grants[made["number"]]
        if actual:
            self.grants[made["number"]] = (at, exact(actual))
        # What follows may rely on it, so not all of it need come back. How much did is told, and the law must bear it out.
        free = Fraction(self.time.now + ns(self.bucket.retry_after(1)), 10**9)
        least = self.free - (made["n"] - exact(actual)) / self.rate
        assert ceil_ns(least) <= max(ceil_ns(free), self.time.now)
        assert ceil_ns(free) <= max(ceil_ns(self.free) + self.late, self.time.now)
        self.free = min(self.free, free)
        self.events += 1

    def cancel(self, index):
        made = self.made[index % len(self.made)] if self.made else None
        if made is None or made["settled"]:
            return
        given_back = exact(made["it"].cancel())
        assert 0 <= given_back <= made["n"]
        if made["cancelled"] or self.time.now > made["ready"]:
            assert given_back == 0
            made["late"] = True
            return
        if made["last"] and self.time.now < made["ready"]:
            assert given_back == made["n"]
        made["cancelled"] = True
        if self.time.now < made["ready"] or given_back:
            del self.grants[made["number"]]
            self.free -= given_back / self.rate

    def advance(self, share):
        self.time.advance(int(share / self.rate * 10**9))

    def tick(self, nanoseconds):
        self.time.advance(nanoseconds)

    def law(self):
        ordered = sorted(self.grants.values())
        for (at, n), (following, _) in itertools.pairwise(ordered):
            assert Fraction(following - at, 10**9) >= n / self.rate, ordered


@st.composite
def leaky_schedules(draw):
    n = st.one_of(st.integers(0, 5), decimal(0, 5), st.just(1))
    step = st.one_of(
        st.tuples(st.just("take"), n, st.booleans()),
        st.tuples(st.just("due"), n),
        st.tuples(st.just("reserve"), n),
        st.tuples(st.just("reserve"), n),
        st.tuples(st.just("settle"), indexes, parts),
        st.tuples(st.just("cancel"), indexes),
        st.tuples(st.just("advance"), shares),
        st.tuples(st.just("advance"), shares),
        st.tuples(st.just("tick"), st.sampled_from([0, 1, 1, 999])),
    )
    slow = draw(st.sampled_from([pace for pace in RATES if pace[0] != 1e-9]))
    return slow, draw(st.integers(0, 4)), draw(st.lists(step, max_size=40))


@quick
@given(leaky_schedules())
def test_leaky_bucket_is_the_model(schedule):
    """What follows comes `n / rate` after one of `n`, never closer, and no later than it must; the line is bounded."""
    pace, capacity, steps = schedule
    run = LeakyRun(pace, capacity)
    for name, *args in steps:
        getattr(run, name)(*args)
    run.law()


# -------------------------------------------------------------------------------------------------------- sets of two


class SetRun:
    """One schedule on two sets that share a bucket: each member's law holds."""

    def __init__(self, paces, sizes):
        self.time = Time()
        self.members, self.laws = {}, {}
        for name, (rate, period), burst in zip("abc", paces, sizes, strict=True):
            self.members[name] = TokenBucket(rate, burst=burst, period=period, clock=self.time.clock)
            self.laws[name] = Law(meant(rate) / meant(period), exact(burst))
        self.sets = [
            ("ab", RateLimits(a=self.members["a"], b=self.members["b"])),
            ("cb", RateLimits(c=self.members["c"], b=self.members["b"])),
        ]
        self.rate = max(law.pieces[0][1] for law in self.laws.values())
        self.made = []

    def amounts(self, names, parts):
        return {name: round(self.members[name].burst * part, 3) for name, part in zip(names, parts, strict=True)}

    def grant(self, at, amounts):
        return {name: self.laws[name].grant(at, exact(n)) for name, n in amounts.items() if n}

    def take(self, which, parts):
        names, limits = self.sets[which]
        amounts = self.amounts(names, parts)
        before = {name: member.tokens for name, member in self.members.items()}
        wait = limits.retry_after(**amounts)
        said = limits.try_acquire(**amounts)
        assert said == (wait == 0)
        if said:
            self.grant(self.time.now, amounts)
        else:
            assert {name: member.tokens for name, member in self.members.items()} == before

    def alone(self, name, part):
        member = self.members[name]
        n = round(member.burst * part, 3)
        if member.try_acquire(n):
            self.grant(self.time.now, {name: n})

    def due(self, which, parts):
        names, limits = self.sets[which]
        amounts = self.amounts(names, parts)
        wait = ns(limits.retry_after(**amounts))
        if self.time.now + wait > 2**52:
            return
        if wait:
            self.time.advance(wait - 1)
            assert not limits.try_acquire(**amounts)
            self.time.advance(1)
        assert limits.try_acquire(**amounts)
        self.grant(self.time.now, amounts)

    def reserve(self, which, parts):
        names, limits = self.sets[which]
        amounts = self.amounts(names, parts)
        reservation = limits.reserve(**amounts)
        ready = ns(reservation.ready_at) if reservation.ready_at < 2**52 / 10**9 else self.time.now + ns(reservation.delay)
        self.made.append({"it": reservation, "ready": ready, "grants": self.grant(ready, amounts), "ended": False})

    def settle(self, index, shares):
        made = self.made[index % len(self.made)] if self.made else None
        if made is None or made["ended"]:
            return
        booked = made["it"].n
        actual = {name: round(n * share, 3) for (name, n), share in zip(booked.items(), shares, strict=True)}
        made["it"].settle(**actual)
        made["ended"] = True
        for name, number in made["grants"].items():
            self.laws[name].grants[number][1] = min(exact(actual[name]), exact(booked[name]))

    def cancel(self, index):
        made = self.made[index % len(self.made)] if self.made else None
        if made is None or made["ended"]:
            return
        made["ended"] = True
        given_back = made["it"].cancel()
        if self.time.now > made["ready"]:
            assert not any(given_back.values())
        elif self.time.now < made["ready"] or any(given_back.values()):
            for name, number in made["grants"].items():
                del self.laws[name].grants[number]

    def advance(self, share):
        self.time.advance(min(int(share / self.rate * 10**9), 10**15))

    def tick(self, nanoseconds):
        self.time.advance(nanoseconds)


@st.composite
def set_schedules(draw):
    quickly = st.sampled_from([pace for pace in RATES if 0.05 < pace[0] / pace[1] < 10**4])
    part = st.sampled_from([0, 0.1, 0.5, 1, 1 / 3])
    which, parts = st.integers(0, 1), st.tuples(part, part)
    step = st.one_of(
        st.tuples(st.just("take"), which, parts),
        st.tuples(st.just("take"), which, parts),
        st.tuples(st.just("alone"), st.sampled_from("abc"), part),
        st.tuples(st.just("due"), which, parts),
        st.tuples(st.just("reserve"), which, parts),
        st.tuples(st.just("settle"), indexes, st.tuples(st.sampled_from([0, 0.5, 1]), st.sampled_from([0, 0.5, 1]))),
        st.tuples(st.just("cancel"), indexes),
        st.tuples(st.just("advance"), shares),
        st.tuples(st.just("advance"), shares),
        st.tuples(st.just("tick"), st.sampled_from([0, 1, 999])),
    )
    sizes = st.sampled_from([1, 2, 5, 10, 2.5])
    return draw(st.tuples(quickly, quickly, quickly)), draw(st.tuples(sizes, sizes, sizes)), draw(st.lists(step, max_size=30))


@quick
@given(set_schedules())
def test_the_law_of_every_member_of_a_set(schedule):
    """Two sets with a member in common, and the members used alone: all or none, and each member's law."""
    paces, sizes, steps = schedule
    run = SetRun(paces, sizes)
    for name, *args in steps:
        getattr(run, name)(*args)
    for law in run.laws.values():
        law.check()


# ---------------------------------------------------------------------------------------------------- waiters in the queue


class Line:
    """The model of tasks that wait: the first goes as soon as it can, the next from there on."""

    def __init__(self, bucket):
        self.bucket = bucket
        self.now = Fraction(0)
        self.line = []  # [number, n, came at]
        self.went = []
        self.waited = Fraction(0)
        self.had_to_wait = 0
        self.came_back = Fraction(0)  # by refunds, and from those who left

    def run_to(self, then):
        """Grants the waiters that are due up to that moment, each at its own."""
        while self.line:
            number, n, came = self.line[0]
            wait = self.bucket.wait(n, self.now)
            moment = Fraction(ceil_ns(self.now + wait), 10**9)
            if moment > then:
                break
            self.line.pop(0)
            self.now = moment
            self.bucket.take(n, moment)
            self.went.append(number)
            self.waited += moment - came
            self.had_to_wait += 1
        self.now = then

    def arrive(self, number, n):
        """True if it goes at once."""
        if n == 0 or (not self.line and self.bucket.wait(n, self.now) == 0):
            self.bucket.take(n, self.now)
            self.went.append(number)
            return True
        self.line.append([number, n, self.now])
        return False

    def known_wait(self, n):
        """What one that comes now with `n` has to wait, if nothing changes."""
        level, at, paused = self.bucket.look(self.now), self.now, self.bucket.paused
        for amount in [*(entry[1] for entry in self.line), n]:
            moment = max(at, paused, at + max(Fraction(0), (amount - level) / self.bucket.rate))
            moment = Fraction(ceil_ns(moment), 10**9)
            level = min(self.bucket.burst, level + self.bucket.rate * (moment - at)) - amount
            at = moment
        return at - self.now

    def leave(self, number):
        self.came_back += sum(n for other, n, _ in self.line if other == number)
        self.line = [entry for entry in self.line if entry[0] != number]


@st.composite
def line_schedules(draw):
    burst = draw(st.sampled_from([1, 2, 5, 20]))
    n = st.one_of(st.integers(1, burst), st.integers(1, burst * 4).map(lambda quarter: quarter / 4))
    n = st.one_of(n, st.just(0), st.just(burst))
    step = st.one_of(
        st.tuples(st.just("arrive"), n, st.none()),
        st.tuples(st.just("arrive"), n, st.none()),
        st.tuples(st.just("arrive"), n, st.sampled_from([0, 0.5, 1, 2, 10])),
        st.tuples(st.just("cancel"), indexes),
        st.tuples(st.just("attempt"), n),
        st.tuples(st.just("advance"), st.sampled_from([0, 1, 10, 250, 500, 1000, 2500, 30000])),
        st.tuples(st.just("advance"), st.sampled_from([1, 500, 1000])),
        st.tuples(st.just("refund"), n),
    )
    lengthening = st.one_of(
        st.tuples(st.just("debit"), n),
        st.tuples(st.just("pause"), st.sampled_from([0.5, 1, 3])),
        st.tuples(st.just("set_rate"), st.sampled_from([1, 2, 4, 10, 0.5])),
    )
    rate = draw(st.sampled_from([1, 2, 4, 10, 0.5]))
    kind = draw(st.sampled_from(["TokenBucket", "TokenBucketKey", "RateLimits"]))
    longer = draw(st.booleans())
    steps = draw(st.lists(st.one_of(step, step, lengthening) if longer else step, max_size=40))
    if longer:  # with a timeout, what happens when a wait grows beyond it has a test of its own
        steps = [("arrive", args[0], None) if name == "arrive" else (name, *args) for name, *args in steps]
    return kind, rate, burst, steps


async def stand_in_line(schedule):
    kind, rate, burst, steps = schedule
    time = Time()
    model = Bucket(rate, 1.0, burst)
    line = Line(model)
    if kind == "RateLimits":
        bucket = TokenBucket(rate, burst=burst, clock=time.clock)
        limiter = RateLimits(one=bucket)
    else:
        limiter = bucket = MAKE[kind](rate, burst, 1.0, time.clock)
    went, tasks, deadlines = [], {}, []
    left = changed = False
    numbers = itertools.count()

    async def call(number, n, timeout):
        assert await limiter.acquire_async(n, timeout=timeout) is True
        went.append(number)

    async def see():
        for _ in range(20):
            await settle(4)
            if len(went) == len(line.went):
                break
        if any(last_seen < deadline <= time.now for deadline in deadlines):
            # Several became due in one jump, and one of them by its deadline as well: it may be woken before its neighbours.
            assert sorted(went) == sorted(line.went), (went, line.went)
            went[:] = line.went
        assert went == line.went, (went, line.went)
        assert figures(limiter).waiters == len(line.line)
        if not line.line:
            assert exact(bucket.tokens) == model.look(time.seconds)

    for name, *args in steps:
        last_seen = time.now
        if name == "arrive":
            n, timeout = args
            number = next(numbers)
            if timeout:
                deadlines.append(time.now + ns(timeout))
            wait = line.known_wait(exact(n)) if n else Fraction(0)
            tasks[number] = asyncio.create_task(call(number, n, timeout))
            await settle(4)
            if timeout is not None and wait > timeout:
                with pytest.raises(RateLimited) as told:
                    await tasks[number]
                # A caller that does not wait gets a moment that may be too late by what came back meanwhile (`retry_after_at_most`).
                latest = wait if timeout else wait + line.came_back / model.rate
                assert ns(wait) <= ns(told.value.retry_after) <= ns(latest)
                left = True
            else:
                assert line.arrive(number, exact(n)) == tasks[number].done()
        elif name == "cancel":
            number = args[0] + max(0, len(tasks) - 6)
            if number in tasks and not tasks[number].done():
                tasks[number].cancel()
                await settle(4)
                assert tasks[number].cancelled()
                left = True
                line.leave(number)
                line.run_to(time.seconds)
        elif name == "attempt":
            n = args[0]
            fits = n == 0 or (not line.line and model.wait(exact(n), time.seconds) == 0)
            assert ns(limiter.retry_after(n)) == (ns(line.known_wait(exact(n))) if n else 0)
            assert limiter.try_acquire(n) == fits
            if fits:
                model.take(exact(n), time.seconds)
        elif name == "advance":
            time.advance(args[0] * 10**6)
            line.run_to(time.seconds)
        elif name == "refund":
            limiter.refund(args[0])
            line.came_back += exact(args[0])
            model.give(exact(args[0]), time.seconds)
            line.run_to(time.seconds)
        elif name == "debit":
            limiter.debit(args[0])
            model.take(exact(args[0]), time.seconds)
        elif name == "pause":
            limiter.pause_for(args[0])
            model.paused = max(model.paused, time.seconds + Fraction(args[0]))
        elif name == "set_rate" and not changed:  # a second change would bring in fractions of a nanosecond
            changed = True
            bucket.set_rate(args[0])
            model.set(args[0], None, time.seconds)
        await see()
    seen = figures(limiter)
    assert seen.waited == line.had_to_wait
    if not left:
        still = sum((time.seconds - came for _, _, came in line.line), Fraction(0))
        assert seen.waited_seconds == pytest.approx(float(line.waited + still), rel=1e-9, abs=1e-9)
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert figures(limiter).waiters == 0
    assert time.clock.waiters == 0


@slower
@given(line_schedules())
def test_waiting_tasks_are_the_model(schedule):
    """Tasks that wait: each goes when the model's does, whatever is cancelled, refunded, debited, paused or changed meanwhile."""
    loop = new_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(stand_in_line(schedule), PATIENCE * 2))
    finally:
        finish(loop)


# --------------------------------------------------------------------------------- waiters and reservations, all at once

EIGHTH = 125_000_000  # at 8 a second, whole amounts, everything happens at whole eighths of a second


def bucket_law(grants, refunds, most):
    """In no window more than the burst and what came in, what was refunded in it counted back."""
    law = Law(Fraction(8), Fraction(most))
    law.refunds = refunds
    for at, n in grants:
        law.grant(at, n)
    law.check()


def window_law(grants, refunds, most):
    """In no half-open second more than the limit, what was refunded in it counted back."""
    for start, _ in grants:
        inside = sum(n for at, n in grants if start <= at < start + 10**9)
        back = sum(n for at, n in refunds if start <= at < start + 10**9)
        assert inside <= most + back, (start, grants)


def spacing_law(grants, refunds, most):
    """What follows one of n comes n eighths later."""
    ordered = sorted(grants)
    for (at, n), (following, _) in itertools.pairwise(ordered):
        back = sum(refund for moment, refund in refunds if at <= moment <= following)
        assert following - at >= (n - back) * EIGHTH, ordered


EVERYTHING = {
    "TokenBucket": (lambda most, clock: TokenBucket(8, burst=most, clock=clock), [bucket_law]),
    "TokenBucketKey": (lambda most, clock: one_key(KeyedTokenBucket(8, burst=most, max_keys=2, clock=clock)), [bucket_law]),
    "SlidingWindow": (lambda most, clock: SlidingWindow(most, 1, clock=clock), [window_law]),
    "LeakyBucket": (lambda most, clock: LeakyBucket(8, capacity=10000, clock=clock), [spacing_law]),
    "RateLimits": (
        lambda most, clock: RateLimits(bucket=TokenBucket(8, burst=most, clock=clock), window=SlidingWindow(most, 1, clock=clock)),
        [bucket_law, window_law],
    ),
}


@st.composite
def crowds(draw):
    most = draw(st.sampled_from([1, 2, 5, 8, 20]))
    n = st.one_of(st.integers(1, most), st.just(1), st.just(most))
    steps = [
        st.tuples(st.just("arrive"), n),
        st.tuples(st.just("arrive"), n),
        st.tuples(st.just("leave"), indexes),
        st.tuples(st.just("attempt"), n),
        st.tuples(st.just("reserve"), n),
        st.tuples(st.just("cancel"), indexes),
        st.tuples(st.just("advance"), st.integers(1, 8)),
        st.tuples(st.just("advance"), st.integers(1, 2)),
    ]
    if draw(st.booleans()):
        steps += [st.tuples(st.just("refund"), n), st.tuples(st.just("settle"), indexes, n)]
    if draw(st.booleans()):
        steps += [st.tuples(st.just("debit"), n), st.tuples(st.just("pause"), st.integers(1, 10))]
    return draw(st.sampled_from(list(EVERYTHING))), most, draw(st.lists(st.one_of(steps), max_size=40))


async def crowd(schedule):
    kind, most, steps = schedule
    time = Time()
    make, laws = EVERYTHING[kind]
    limiter = make(most, time.clock)
    grants, refunds, tasks, booked = [], [], [], []

    async def call(n):
        await limiter.acquire_async(n)
        grants.append((time.now, n))

    async def see():
        for _ in range(3):
            await settle(5)

    def one(answer):
        return min(answer.values(), default=0) if isinstance(answer, dict) else answer

    for name, argument, *more in steps:
        if name == "arrive":
            tasks.append(asyncio.create_task(call(argument)))
        elif name == "leave" and tasks:
            tasks[-1 - argument % len(tasks)].cancel()
        elif name == "attempt":
            if limiter.try_acquire(argument):
                grants.append((time.now, argument))
        elif name == "reserve":
            reservation = limiter.reserve(argument)
            booked.append([reservation, ns(reservation.ready_at), argument, False])
            assert booked[-1][1] % EIGHTH == 0
        elif name == "cancel" and booked:
            made = booked[-1 - argument % len(booked)]
            if made[3]:  # settled, or cancelled when it was too late
                continue
            made[3] = True
            given_back = one(made[0].cancel())
            if time.now > made[1]:
                assert given_back == 0
            elif time.now < made[1] or given_back:
                booked.remove(made)
        elif name == "settle" and booked:
            made = booked[-1 - argument % len(booked)]
            actual = min(more[0], made[2])
            if not made[3]:
                made[3] = True
                made[0].settle(**({"bucket": actual, "window": actual} if kind == "RateLimits" else {"actual": actual}))
                if time.now < made[1]:
                    made[2] = actual
                else:
                    refunds.append((time.now, made[2] - actual))
        elif name == "refund":
            limiter.refund(argument)
            refunds.append((time.now, argument))
        elif name == "debit":
            limiter.debit(argument)
        elif name == "pause":
            limiter.pause_for(argument / 8)
        elif name == "advance":
            for _ in range(argument):
                await see()
                time.advance(EIGHTH)
                await see()
        await see()
    # Nobody waits for ever: all that is owed comes in, one eighth after the other.
    for _ in range(20 * 8 * len(steps) + 100):
        if all(task.done() for task in tasks):
            break
        time.advance(EIGHTH)
        await see()
    assert all(task.done() for task in tasks), limiter.statistics()
    assert limiter.statistics().waiters == time.clock.waiters == 0
    grants += [(ready, n) for _, ready, n, _ in booked]
    for law in laws:
        law(grants, refunds, most)


@slower
@given(crowds())
def test_the_law_of_a_crowd(schedule):
    """Tasks that wait, reservations among them, tries, cancels of both, refunds, debts, pauses: the law holds, and none waits for ever."""
    loop = new_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(crowd(schedule), PATIENCE * 2))
    finally:
        finish(loop)


# -------------------------------------------------------------------------------------------------------------- many keys


@st.composite
def key_schedules(draw):
    burst = draw(st.sampled_from([1, 2, 5]))
    n = st.integers(1, burst)
    key = st.integers(0, 5)
    step = st.one_of(
        st.tuples(st.just("take"), key, n),
        st.tuples(st.just("take"), key, n),
        st.tuples(st.just("take"), key, st.just(burst)),
        st.tuples(st.just("handle"), key, n),
        st.tuples(st.just("refund"), key, n),
        st.tuples(st.just("debit"), key, n),
        st.tuples(st.just("rate"), key, st.sampled_from([1, 2, 4])),
        st.tuples(st.just("forget"), key, st.none()),
        st.tuples(st.just("all"), st.sampled_from([1, 2, 4]), st.none()),
        st.tuples(st.just("look"), key, n),
        st.tuples(st.just("advance"), st.sampled_from([0, 125, 500, 1000, 5000]), st.none()),
        st.tuples(st.just("advance"), st.sampled_from([125, 1000]), st.none()),
    )
    return burst, draw(st.integers(1, 4)), draw(st.lists(step, max_size=60))


@quick
@given(key_schedules())
def test_many_keys_are_models(schedule):
    """Each key is a bucket; one that is full is none; a new one is refused only when all places are needed, and told for how long."""
    burst, max_keys, steps = schedule
    time = Time()
    keyed = KeyedTokenBucket(1, burst=burst, max_keys=max_keys, clock=time.clock)
    models = {key: Bucket(1, 1, burst) for key in range(6)}
    own = set()
    rate = 1

    def needed():
        return [key for key, model in models.items() if key in own or model.look(time.seconds) < model.burst]

    def has_room(key):
        return key in needed() or len(needed()) < max_keys

    def refused(call):
        """A call that needs a place where there is none."""
        with pytest.raises(RateLimited) as told:
            call()
        waits = [models[other].wait(models[other].burst, time.seconds) for other in needed() if other not in own]
        if waits:
            assert ns(told.value.retry_after) == ceil_ns(min(waits))
        assert told.value.retry_after > 0

    for name, which, n in steps:
        now = time.seconds
        if name in ("take", "handle"):
            fits = models[which].look(now) >= n

            def call(which=which, n=n, name=name):
                return keyed.try_acquire(which, n) if name == "take" else keyed.key(which).try_acquire(n)

            if has_room(which):
                assert call() == fits
                if fits:
                    models[which].take(n, now)
            else:
                refused(call)
        elif name == "refund":
            keyed.key(which).refund(n)
            models[which].give(n, now)
        elif name == "debit":
            if has_room(which):
                keyed.key(which).debit(n)
                models[which].take(n, now)
        elif name == "rate":
            if has_room(which):
                keyed.set_rate(n, key=which)
                models[which].set(n, None, now)
                own.add(which)
        elif name == "forget":
            assert keyed.forget(which) == (which in own)
            if which in own:
                own.discard(which)
                models[which].set(rate, None, now)
        elif name == "all":
            rate = which
            keyed.set_rate(rate)
            for key, model in models.items():
                if key not in own:
                    model.set(rate, None, now)
        elif name == "look":
            bucket = keyed.key(which)
            assert exact(bucket.tokens) == models[which].look(now)
            if has_room(which):
                assert ns(bucket.retry_after(n)) == ceil_ns(models[which].wait(n, now))
            assert bucket.rate == models[which].rate
        else:
            time.advance(which * 10**6)
        assert len(needed()) <= len(keyed) or not needed()
        assert len(keyed) <= max_keys
