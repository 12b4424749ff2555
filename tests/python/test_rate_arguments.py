"""Bad input is refused at the door: by name and value, and nothing has changed."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import re
import uuid
import weakref
from functools import partial
from ipaddress import ip_address

import pytest
from helpers import on_loops, step
from rates import KINDS, in_line, one_per_second, used_up

import sluicegate
from sluicegate import KeyedTokenBucket, LeakyBucket, RateLimits, Reservation, SlidingWindow, TokenBucket
from sluicegate.testing import ManualClock

NAN, INF = float("nan"), float("inf")
TYPES = {"bool": True, "False": False, "str": "1", "bytes": b"1", "complex": 1j, "list": [1], "object": object(), "none": None}
VALUES = {"nan": NAN, "inf": INF, "-inf": -INF, "-1": -1, "-0.5": -0.5, "-1e-300": -1e-300, "-10**400": -(10**400)}
LARGE = {"10**400": 10**400, "1e300": 1e300}
TOO_LARGE = (OverflowError, ValueError)


def bad(zero, none=False, large=TOO_LARGE):
    """What a number must not be, `(label, value, error)`. `large`: what numbers beyond all reason raise; None: they are right."""
    table = [(label, value, TypeError) for label, value in TYPES.items() if not (none and label == "none")]
    table += [(label, value, ValueError if label != "-10**400" else TOO_LARGE) for label, value in VALUES.items()]
    if large:
        table += [(label, value, large) for label, value in LARGE.items()]
    if not zero:
        table += [("0", 0, ValueError), ("0.0", 0.0, ValueError), ("-0.0", -0.0, ValueError)]
    return table


AMOUNT = bad(zero=True)
POSITIVE = bad(zero=False)
# A time beyond all reason may be one that never comes; an integer that is no float is too large for anything.
TIME = [(label, value, TOO_LARGE if label == "inf" else error) for label, value, error in bad(zero=True)]
TIMEOUT = [case for case in TIME if case[0] not in ("none", "1e300")]
COUNT = [(label, value, error) for label, value, error in bad(zero=True, large=None) if not isinstance(value, float)]
COUNT += [("1.5", 1.5, TypeError), ("1.0", 1.0, TypeError), ("nan", NAN, TypeError), ("10**30", 10**30, TOO_LARGE)]
COUNT_POSITIVE = [*COUNT, ("0", 0, ValueError)]


def make(kind):
    """A limiter with something in it, and clocks that stand still."""
    clock = ManualClock(start=100)
    if kind == "TokenBucket":
        limiter = TokenBucket(2, burst=10, clock=clock)
    elif kind == "LeakyBucket":
        return LeakyBucket(2, capacity=10, clock=clock)
    elif kind == "SlidingWindow":
        limiter = SlidingWindow(10, 5, clock=clock)
    elif kind == "TokenBucketKey":
        limiter = KeyedTokenBucket(2, burst=10, max_keys=5, clock=clock).key("key")
    else:
        limiter = RateLimits(one=TokenBucket(2, burst=10, clock=clock), other=SlidingWindow(10, 5, clock=clock))
    assert limiter.try_acquire(3)
    return limiter


def state(limiter):
    """All that a refused call must leave as it was."""
    names = ("rate", "burst", "period", "capacity", "limit", "max_keys", "tokens")
    found = {name: getattr(limiter, name) for name in names if hasattr(limiter, name)}
    if isinstance(limiter, KeyedTokenBucket):
        found["len"] = len(limiter)
    else:
        found["retry_after"] = limiter.retry_after(1)
    seen = limiter.statistics()
    found["statistics"] = (seen.admitted, seen.waiters, seen.waited)
    return found


def refused(call, argument, error, limiter=None):
    before = state(limiter) if limiter is not None else None
    with pytest.raises(error) as told:
        call()
    assert f"'{argument}'" in str(told.value), f"{told.value!r} does not name {argument!r}"
    if limiter is not None:
        assert state(limiter) == before
    return told.value


def parameters(entries):
    """`(id, *case)` as parametrize wants them."""
    return [pytest.param(*case, id=label) for label, *case in entries]


def run(coroutine):
    """A coroutine that must not wait, on a loop."""

    async def main():
        done, value = step(coroutine)
        if not done:  # once in 128 operations on a thread, whichever tests they belong to, the loop has a turn first
            done, value = step(coroutine)
        assert done
        return value

    return asyncio.run(main())


# ------------------------------------------------------------------------------------------------------- constructors

CONSTRUCTORS = {
    "TokenBucket rate": ("rate", POSITIVE, lambda value: TokenBucket(value, burst=1)),
    "TokenBucket burst": ("burst", POSITIVE, lambda value: TokenBucket(1, burst=value)),
    "TokenBucket period": ("period", POSITIVE, lambda value: TokenBucket(1, burst=1, period=value)),
    "TokenBucket initial": ("initial", bad(zero=True, none=True), lambda value: TokenBucket(1, burst=1, initial=value)),
    "LeakyBucket rate": ("rate", POSITIVE, lambda value: LeakyBucket(value, capacity=1)),
    "LeakyBucket capacity": ("capacity", COUNT, lambda value: LeakyBucket(1, capacity=value)),
    "LeakyBucket period": ("period", POSITIVE, lambda value: LeakyBucket(1, capacity=1, period=value)),
    "SlidingWindow limit": ("limit", POSITIVE, lambda value: SlidingWindow(value, 1)),
    "SlidingWindow period": ("period", POSITIVE, lambda value: SlidingWindow(1, value)),
    "KeyedTokenBucket rate": ("rate", POSITIVE, lambda value: KeyedTokenBucket(value, burst=1, max_keys=1)),
    "KeyedTokenBucket burst": ("burst", POSITIVE, lambda value: KeyedTokenBucket(1, burst=value, max_keys=1)),
    "KeyedTokenBucket period": ("period", POSITIVE, lambda value: KeyedTokenBucket(1, burst=1, period=value, max_keys=1)),
    "KeyedTokenBucket max_keys": ("max_keys", COUNT_POSITIVE, lambda value: KeyedTokenBucket(1, burst=1, max_keys=value)),
}


@pytest.mark.parametrize(
    ("argument", "value", "error", "call"),
    parameters(
        (f"{name}={label}", argument, value, error, call)
        for name, (argument, table, call) in CONSTRUCTORS.items()
        for label, value, error in table
    ),
)
def test_constructors(argument, value, error, call):
    """Every number of every constructor."""
    told = refused(lambda: call(value), argument, error)
    if isinstance(value, (float, str)):
        assert repr(value) in str(told)


EVERY = {
    "TokenBucket": lambda **options: TokenBucket(1, burst=1, **options),
    "LeakyBucket": lambda **options: LeakyBucket(1, capacity=1, **options),
    "SlidingWindow": lambda **options: SlidingWindow(1, 1, **options),
    "KeyedTokenBucket": lambda **options: KeyedTokenBucket(1, burst=1, max_keys=1, **options),
}


@pytest.mark.parametrize("kind", list(EVERY))
@pytest.mark.parametrize("clock", [1.0, object(), "clock", int, True])
def test_clocks(kind, clock):
    """`clock` is a `sluicegate.Clock` or None."""
    refused(lambda: EVERY[kind](clock=clock), "clock", TypeError)
    assert EVERY[kind](clock=None).try_acquire(*([] if kind != "KeyedTokenBucket" else ["k"]))


@pytest.mark.parametrize("kind", list(EVERY))
@pytest.mark.parametrize("name", [1, b"name", True, ["name"]])
def test_names(kind, name):
    """`name` is a str or None."""
    refused(lambda: EVERY[kind](name=name), "name", TypeError)
    assert EVERY[kind](name=None).name is None
    assert EVERY[kind](name="mine").name == "mine"


def test_the_name_of_a_set():
    """A set has a name too."""
    refused(lambda: RateLimits(name=1, one=TokenBucket(1, burst=1)), "name", TypeError)
    assert RateLimits(name="both", one=TokenBucket(1, burst=1)).name == "both"
    assert RateLimits(one=TokenBucket(1, burst=1)).name is None


def test_what_must_be_given():
    """No hidden burst, no unbounded number of keys; and some arguments only by name."""
    for call in (
        TokenBucket,
        lambda: TokenBucket(1),
        lambda: TokenBucket(1, 1),
        lambda: TokenBucket(1, 1, 1.0),
        lambda: TokenBucket(1, 1, burst=1),
        lambda: TokenBucket(1, burst=1, brust=2),
        lambda: TokenBucket(1, rate=1, burst=1),
        LeakyBucket,
        lambda: LeakyBucket(1),
        lambda: LeakyBucket(1, 1),
        lambda: LeakyBucket(1, 1, 1.0),
        SlidingWindow,
        lambda: SlidingWindow(1),
        lambda: SlidingWindow(1, 1, None),
        lambda: KeyedTokenBucket(1, burst=1),
        lambda: KeyedTokenBucket(1, 1, max_keys=1),
        lambda: KeyedTokenBucket(1, 1, 5),
    ):
        with pytest.raises(TypeError):
            call()
    assert TokenBucket(rate=1, burst=2).burst == 2.0
    assert LeakyBucket(rate=1, capacity=2).capacity == 2
    assert SlidingWindow(limit=1, period=2).period == 2.0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: TokenBucket(100, 60), ["TokenBucket(100, burst=60)", "period=60"]),
        (lambda: TokenBucket(100, 60, 5), ["TokenBucket(100, burst=60)"]),
        (lambda: TokenBucket(rate=1), ["'burst'"]),
        (lambda: TokenBucket(burst=1), ["'rate'"]),
        (lambda: TokenBucket(rate=1, capacity=2), ["'capacity'", "'burst'"]),
        (lambda: TokenBucket(max_rate=1, burst=2), ["'max_rate'", "'rate'"]),
        (lambda: TokenBucket(1, burst=2, time_period=3), ["'time_period'", "'period'"]),
        (lambda: TokenBucket(1, burst=2, colour=3), ["'colour'"]),
        (lambda: LeakyBucket(2, 5), ["LeakyBucket(2, capacity=5)", "period=5"]),
        (lambda: LeakyBucket(2, burst=5), ["'burst'", "'capacity'"]),
        (lambda: SlidingWindow(rate=100, period=60), ["'rate'", "'limit'"]),
        (lambda: SlidingWindow(100, 60, 5), ["2 positional", "3 were given"]),
        (lambda: SlidingWindow(100), ["'period'"]),
        (lambda: KeyedTokenBucket(5, 20, max_keys=9), ["KeyedTokenBucket(5, burst=20)"]),
        (lambda: KeyedTokenBucket(5, burst=20), ["'max_keys'"]),
        (lambda: TokenBucket(1, burst=2).set_rate(10, 5), ["set_rate(10, burst=5)"]),
        (lambda: TokenBucket(1, burst=2).set_rate(10, capacity=5), ["'capacity'", "'burst'"]),
        (lambda: LeakyBucket(1, capacity=2).set_rate(10, 5), ["set_rate(10, capacity=5)"]),
        (lambda: KeyedTokenBucket(1, burst=2, max_keys=1).set_rate(10, 5), ["set_rate(10, burst=5)"]),
        (lambda: KeyedTokenBucket(1, burst=2, max_keys=1).key("k").set_rate(10, 5), ["set_rate(10, burst=5)"]),
    ],
)
def test_a_wrong_argument_is_told_what_to_write(call, words):
    with pytest.raises(TypeError) as refused:
        call()
    for word in words:
        assert word in str(refused.value)


def test_what_cannot_be_made():
    """The base class, handles and reservations come from elsewhere."""
    for kind in (sluicegate.RateLimiter, sluicegate.TokenBucketKey, Reservation):
        with pytest.raises(TypeError):
            kind()


# ------------------------------------------------------------------------------------------------------------ methods

# What each takes, and how it is called with it.
AMOUNTS = {
    "try_acquire": lambda limiter, n: limiter.try_acquire(n),
    "acquire": lambda limiter, n: limiter.acquire(n),
    "acquire at once": lambda limiter, n: limiter.acquire(n, timeout=0),
    "acquire_async": lambda limiter, n: run(limiter.acquire_async(n)),
    "acquire_async with timeout": lambda limiter, n: run(limiter.acquire_async(n, timeout=5)),
    "reserve": lambda limiter, n: limiter.reserve(n),
    "retry_after": lambda limiter, n: limiter.retry_after(n),
    "refund": lambda limiter, n: limiter.refund(n),
    "debit": lambda limiter, n: limiter.debit(n),
    "decorator": lambda limiter, n: limiter(n=n)(print),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", list(AMOUNTS))
@pytest.mark.parametrize(("value", "error"), parameters(AMOUNT))
def test_amounts(kind, method, value, error):
    """`n` of every method of every limiter."""
    if (kind, method, value) == ("RateLimits", "decorator", None):
        pytest.skip("None: the amounts come by name, or are 1")
    limiter = make(kind)
    refused(lambda: AMOUNTS[method](limiter, value), "n", error, limiter)


TIMES = {
    "acquire": ("timeout", lambda limiter, value: limiter.acquire(timeout=value)),
    "acquire 0": ("timeout", lambda limiter, value: limiter.acquire(0, timeout=value)),
    "acquire_async": ("timeout", lambda limiter, value: run(limiter.acquire_async(timeout=value))),
    "reserve": ("max_wait", lambda limiter, value: limiter.reserve(max_wait=value)),
    "decorator": ("timeout", lambda limiter, value: limiter(timeout=value)(print)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", list(TIMES))
@pytest.mark.parametrize(("value", "error"), parameters(TIMEOUT))
def test_timeouts(kind, method, value, error):
    """`timeout` and `max_wait`, although nobody would have to wait."""
    limiter = make(kind)
    argument, call = TIMES[method]
    refused(lambda: call(limiter, value), argument, error, limiter)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("value", "error"), parameters([case for case in TIME if case[0] not in ("str", "bytes")]))
def test_pauses(kind, value, error):
    """`pause_for` wants seconds, or a Retry-After."""
    limiter = make(kind)
    refused(lambda: limiter.pause_for(value), "seconds", error, limiter)
    limiter.pause_for(0)
    assert limiter.retry_after(0) == 0


SETTERS = {
    "TokenBucket rate": ("rate", POSITIVE, lambda limiter, value: limiter.set_rate(value)),
    "TokenBucket burst": ("burst", bad(zero=False, none=True), lambda limiter, value: limiter.set_rate(1, burst=value)),
    "TokenBucketKey rate": ("rate", POSITIVE, lambda limiter, value: limiter.set_rate(value)),
    "TokenBucketKey burst": ("burst", bad(zero=False, none=True), lambda limiter, value: limiter.set_rate(1, burst=value)),
    "LeakyBucket rate": ("rate", POSITIVE, lambda limiter, value: limiter.set_rate(value)),
    "LeakyBucket capacity": (
        "capacity",
        [case for case in COUNT if case[0] != "none"],
        lambda limiter, value: limiter.set_rate(1, capacity=value),
    ),
    "SlidingWindow limit": ("limit", POSITIVE, lambda limiter, value: limiter.set_limit(value)),
    "SlidingWindow period": ("period", bad(zero=False, none=True), lambda limiter, value: limiter.set_limit(1, value)),
}


@pytest.mark.parametrize(
    ("kind", "argument", "value", "error", "call"),
    parameters(
        (f"{name}={label}", name.split()[0], argument, value, error, call)
        for name, (argument, table, call) in SETTERS.items()
        for label, value, error in table
    ),
)
def test_setters(kind, argument, value, error, call):
    """Refused, and the good half of the call has not been done either."""
    limiter = make(kind)
    refused(lambda: call(limiter, value), argument, error, limiter)


@pytest.mark.parametrize(("value", "error"), parameters(POSITIVE))
def test_the_rate_of_all_keys(value, error):
    """`KeyedTokenBucket.set_rate`, for all and for one."""
    keyed = KeyedTokenBucket(2, burst=10, max_keys=3, clock=ManualClock())
    refused(lambda: keyed.set_rate(value), "rate", error, keyed)
    refused(lambda: keyed.set_rate(value, key="k"), "rate", error, keyed)
    if value is not None:
        refused(lambda: keyed.set_rate(1, burst=value), "burst", error, keyed)
        refused(lambda: keyed.set_rate(1, burst=value, key="k"), "burst", error, keyed)


@pytest.mark.parametrize(("value", "error"), parameters(AMOUNT))
def test_amounts_of_a_key(value, error):
    """`KeyedTokenBucket.try_acquire(key, n)`: refused before the key is remembered."""
    keyed = KeyedTokenBucket(2, burst=10, max_keys=3, clock=ManualClock())
    refused(lambda: keyed.try_acquire("k", value), "n", error, keyed)
    assert len(keyed) == 0


@pytest.mark.parametrize(("value", "error"), parameters(AMOUNT))
@pytest.mark.parametrize("kind", KINDS)
def test_settling(kind, value, error):
    """`settle` refuses, and may be called again."""
    limiter = make(kind)
    reservation = limiter.reserve(1)
    if kind == "RateLimits":
        refused(lambda: reservation.settle(one=value, other=1), "one", error, limiter)
        reservation.settle(one=0, other=0)
    else:
        refused(lambda: reservation.settle(value), "actual", error, limiter)
        reservation.settle(0)


@pytest.mark.parametrize(("value", "error"), parameters(TIMEOUT))
@pytest.mark.parametrize("kind", KINDS)
def test_timeouts_of_reservations(kind, value, error):
    """`wait` and `wait_async`, although the reservation is ready."""
    limiter = make(kind)
    reservation = limiter.reserve()
    refused(lambda: reservation.wait(value), "timeout", error, limiter)
    refused(lambda: run(reservation.wait_async(timeout=value)), "timeout", error, limiter)
    assert reservation.wait() is True


@pytest.mark.parametrize("kind", KINDS)
def test_calls_that_are_no_calls(kind):
    """Too many arguments, unknown ones, `timeout` and `max_wait` not by name."""
    limiter = make(kind)
    before = state(limiter)
    for call in (
        lambda: limiter.try_acquire(1, 2),
        lambda: limiter.acquire(1, 2),
        lambda: limiter.acquire(1, time_out=2),
        lambda: limiter.reserve(1, 2),
        lambda: limiter.reserve(1, timeout=1),
        lambda: limiter.acquire_async(1, 2).send(None),
        lambda: limiter.pause_for(),
        lambda: limiter.retry_after(1, 2),
        lambda: limiter("no function"),
        lambda: limiter(1),
        lambda: limiter(print, n=1, tiemout=2),
    ):
        with pytest.raises(TypeError):
            call()
    assert state(limiter) == before


@pytest.mark.parametrize("kind", ["TokenBucket", "TokenBucketKey", "SlidingWindow", "RateLimits"])
@pytest.mark.parametrize("method", [method for method in AMOUNTS if method not in ("refund", "debit")])
def test_more_than_can_ever_pass(kind, method):
    """More than the burst, or the limit: at once, because it would wait for ever. Exactly the burst is right."""
    limiter = make(kind)
    for n in (10.001, 11, 10**9):
        before = state(limiter)
        with pytest.raises(ValueError, match="10(\\.0)?\\b"):
            AMOUNTS[method](limiter, n)
        assert state(limiter) == before
    assert limiter.retry_after(10) > 0


def test_a_shaper_takes_any_amount():
    """Nothing is too large for one that only spaces."""
    clock = ManualClock()
    bucket = LeakyBucket(2, capacity=10, clock=clock)
    assert bucket.try_acquire(1000)
    assert bucket.retry_after() == 500


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["try_acquire", "acquire at once", "acquire_async"])
def test_less_than_can_be_counted(kind, method):
    """A positive amount that would count as nothing is refused: a billion of them would be free."""
    limiter = make(kind)
    refused(lambda: AMOUNTS[method](limiter, 1e-10), "n", ValueError, limiter)
    assert AMOUNTS[method](limiter, 1e-9) is True


@pytest.mark.parametrize("kind", KINDS)
def test_nothing(kind):
    """0 admits at once and changes nothing, also where nobody else could go."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    limiter.pause_for(5)
    seen = limiter.tokens
    for zero in (0, 0.0, -0.0):
        assert limiter.try_acquire(zero) is True
        assert limiter.acquire(zero) is True
        assert limiter.acquire(zero, timeout=0) is True
        assert run(limiter.acquire_async(zero)) is True
        assert limiter.retry_after(zero) == 0.0
    assert limiter.tokens == seen
    assert clock.waiters == 0


def test_ints_and_floats_are_the_same():
    """2 and 2.0; and what comes back is a float."""
    bucket = TokenBucket(2, burst=4.0, period=1, clock=ManualClock())
    assert [type(value) for value in (bucket.rate, bucket.burst, bucket.period, bucket.tokens)] == [float] * 4
    assert bucket.try_acquire(2) and bucket.try_acquire(2.0)
    assert bucket.tokens == 0.0
    assert type(bucket.retry_after()) is float


@pytest.mark.parametrize("rate", [1e-9, 1e-3, 0.1 + 0.2, 1 / 3, 1e6, 1e9])
@pytest.mark.parametrize("burst", [0.3, 1, 2.5, 10**6])
def test_extreme_rates(rate, burst):
    """From one in thirty years to a billion a second."""
    clock = ManualClock()
    bucket = TokenBucket(rate, burst=burst, clock=clock)
    assert (bucket.rate, bucket.burst) == (rate, burst)
    assert bucket.try_acquire(burst)
    assert bucket.tokens == 0.0
    n = min(burst, 1)
    assert not bucket.try_acquire(n)
    assert bucket.retry_after(n) == pytest.approx(n / rate, rel=1e-9, abs=1.1e-9)
    clock.advance(bucket.retry_after(n))
    assert bucket.try_acquire(n)


@pytest.mark.parametrize(("rate", "burst"), [(1e15, 1), (1e6, 1e15), (1e9, 1e12)])
def test_very_large_buckets_are_coarser(rate, burst):
    """They work, and whole tokens stay whole."""
    clock = ManualClock()
    bucket = TokenBucket(rate, burst=burst, clock=clock)
    assert bucket.try_acquire(burst - 1 if burst > 1 else 1)
    assert bucket.tokens == (1.0 if burst > 1 else 0.0)


# --------------------------------------------------------------------------------------------------------------- sets


def limits(**more):
    clock = ManualClock()
    return RateLimits(requests=TokenBucket(1, burst=5, clock=clock), tokens=TokenBucket(100, burst=1000, clock=clock), **more)


CALLS_BY_NAME = {
    "try_acquire": lambda both, amounts: both.try_acquire(**amounts),
    "acquire": lambda both, amounts: both.acquire(timeout=0, **amounts),
    "acquire_async": lambda both, amounts: run(both.acquire_async(timeout=0, **amounts)),
    "reserve": lambda both, amounts: both.reserve(max_wait=0, **amounts),
    "retry_after": lambda both, amounts: both.retry_after(**amounts),
    "decorator": lambda both, amounts: both(**amounts)(print),
}


@pytest.mark.parametrize("method", list(CALLS_BY_NAME))
def test_every_limit_must_be_named(method):
    """The TypeError lists those that are missing and those that are unknown."""
    both = limits()
    for amounts, told in (
        ({"requests": 1}, ["tokens"]),
        ({"tokens": 1}, ["requests"]),
        ({"requests": 1, "tokens": 1, "images": 1}, ["images"]),
        ({"request": 1, "token": 1}, ["requests", "tokens", "request", "token"]),
    ):
        before = both.tokens
        with pytest.raises(TypeError) as error:
            CALLS_BY_NAME[method](both, amounts)
        for name in told:
            assert f"'{name}'" in str(error.value)
        assert both.tokens == before


@pytest.mark.parametrize("method", list(CALLS_BY_NAME))
@pytest.mark.parametrize(("value", "error"), parameters(AMOUNT))
def test_amounts_by_name(method, value, error):
    """A bad amount is told by the limit's name."""
    both = limits()
    before = both.tokens
    with pytest.raises(error, match="'tokens'"):
        CALLS_BY_NAME[method](both, {"requests": 1, "tokens": value})
    assert both.tokens == before


@pytest.mark.parametrize("method", list(CALLS_BY_NAME))
def test_more_than_a_limit_of_the_set_lets_pass(method):
    """Told by name, and nothing is taken of the other."""
    both = limits()
    with pytest.raises(ValueError, match="'tokens'"):
        CALLS_BY_NAME[method](both, {"requests": 1, "tokens": 1001})
    assert both.tokens == {"requests": 5.0, "tokens": 1000.0}


@pytest.mark.parametrize("method", ["refund", "debit"])
def test_some_limits_may_be_named(method):
    """To give back or take of some of the limits is right; of an unknown one, or a bad amount, is not."""
    both = limits()
    both.debit(requests=2, tokens=500)
    before = both.tokens
    call = getattr(both, method)
    with pytest.raises(TypeError, match="'images'"):
        call(requests=1, images=1)
    assert both.tokens == before
    for _, value, error in AMOUNT:
        with pytest.raises(error, match="'tokens'"):
            call(requests=1, tokens=value)
        assert both.tokens == before
    call(tokens=100)
    assert both.tokens == {"requests": 3.0, "tokens": 600.0 if method == "refund" else 400.0}


def test_what_a_set_is_made_of():
    """At least one limiter, each once, all on one clock."""
    clock = ManualClock()
    one, other = TokenBucket(1, burst=1, clock=clock), TokenBucket(1, burst=1, clock=clock)
    with pytest.raises((TypeError, ValueError)):
        RateLimits()
    with pytest.raises(ValueError):
        RateLimits(a=one, b=one)
    with pytest.raises(ValueError):
        RateLimits(a=one, b=TokenBucket(1, burst=1, clock=ManualClock()))
    with pytest.raises(ValueError):
        RateLimits(a=one, b=TokenBucket(1, burst=1))
    for wrong in (None, 1, "bucket", object(), KeyedTokenBucket(1, burst=1, max_keys=1, clock=clock), TokenBucket):
        with pytest.raises(TypeError, match="'b'"):
            RateLimits(a=one, b=wrong)
    with pytest.raises(TypeError):
        RateLimits(one, other)
    key = KeyedTokenBucket(1, burst=1, max_keys=1, clock=clock)
    with pytest.raises(ValueError):
        RateLimits(a=key.key("k"), b=key.key("k"))


@pytest.mark.parametrize("name", ["n", "timeout", "max_wait"])
def test_names_that_are_taken(name):
    """A limit cannot be called as an argument of the calls is."""
    with pytest.raises(ValueError, match=f"'{name}'"):
        RateLimits(**{name: TokenBucket(1, burst=1)})


def test_the_limits_of_a_set():
    """A read-only mapping from name to limiter."""
    clock = ManualClock()
    one, other = TokenBucket(1, burst=1, clock=clock), SlidingWindow(1, 1, clock=clock)
    both = RateLimits(one=one, other=other)
    assert dict(both.limits) == {"one": one, "other": other}
    assert both.limits["one"] is one
    with pytest.raises(TypeError):
        both.limits["third"] = one


# ------------------------------------------------------------------------------------------------------------ the keys


@pytest.mark.parametrize(
    "key",
    [
        None,
        True,
        False,
        1.5,
        1j,
        [1],
        {1},
        {},
        object(),
        int,
        bytearray(b"1"),
        memoryview(b"1"),
        (1, None),
        ((1, [2]),),
        (True,),
        frozenset(),
    ],
    ids=lambda key: type(key).__name__,
)
def test_what_is_no_key(key):
    """TypeError that names the argument; nothing is remembered."""
    keyed = KeyedTokenBucket(1, burst=1, max_keys=3)
    for call in (
        lambda: keyed.key(key),
        lambda: keyed.try_acquire(key),
        lambda: keyed.set_rate(1, key=key),
        lambda: keyed.forget(key),
    ):
        refused(call, "key", TypeError)
    assert len(keyed) == 0


@pytest.mark.parametrize(
    "key",
    [
        "text",
        "",
        "ä\u4e2d\U0001f600",
        b"bytes",
        b"",
        0,
        -1,
        10**100,
        -(10**100),
        2**64,
        uuid.UUID(int=5),
        ip_address("10.0.0.1"),
        ip_address("::1"),
        (),
        ("a", 1, b"b"),
        (("a",), ("b", (uuid.UUID(int=1), ip_address("::1")))),
    ],
    ids=repr,
)
def test_what_is_a_key(key):
    """Every kind of key, directly and by its handle."""
    keyed = KeyedTokenBucket(1, burst=1, max_keys=3, clock=ManualClock())
    assert keyed.try_acquire(key)
    assert not keyed.key(key).try_acquire()
    assert not keyed.try_acquire(key)
    assert len(keyed) == 1
    assert keyed.key(key).key == key


# ------------------------------------------------------------------------------------------- all objects are like this


@pytest.mark.parametrize("kind", KINDS)
def test_no_pickle_no_copy(kind):
    """A copy would be a second limit."""
    limiter = one_per_second(kind)
    for thing in (limiter, limiter.reserve()):
        for call in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                call(thing)


def test_no_pickle_of_many_keys():
    """Nor of many."""
    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            call(KeyedTokenBucket(1, burst=1, max_keys=1))


@pytest.mark.parametrize("kind", KINDS)
def test_weakly_referenced(kind):
    """A limiter may be referred to weakly, and goes when the last reference does."""
    limiter = one_per_second(kind)
    reference = weakref.ref(limiter)
    assert reference() is limiter
    del limiter
    assert reference() is None


@pytest.mark.parametrize("kind", KINDS)
def test_repr(kind):
    """The repr tells kind and name."""
    limiter = one_per_second(kind, name="mine") if kind != "TokenBucketKey" else one_per_second(kind)
    assert kind in repr(limiter)
    if kind != "TokenBucketKey":
        assert "mine" in repr(limiter)
        assert limiter.name == "mine"
    assert repr(limiter) == repr(limiter)


def test_reprs_tell_what_holds():
    """Rate, burst and tokens; limit and period; capacity; what a reservation waits for."""
    clock = ManualClock()
    bucket = TokenBucket(5, burst=10, clock=clock)
    bucket.try_acquire(4)
    for part in ("5", "10", "6"):
        assert part in repr(bucket)
    assert "7" in repr(SlidingWindow(7, 60)) and "60" in repr(SlidingWindow(7, 60))
    assert "33" in repr(LeakyBucket(2, capacity=33))
    assert "77" in repr(KeyedTokenBucket(1, burst=1, max_keys=77))
    assert "Reservation" in repr(bucket.reserve())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "RateLimits"])
def test_rate_limiter_is_the_base(kind):
    """`isinstance(limiter, RateLimiter)`."""
    assert isinstance(one_per_second(kind), sluicegate.RateLimiter)


@pytest.mark.parametrize("kind", KINDS)
def test_the_family(kind):
    """`acquire_async` is a coroutine function; the signatures are the agreed ones."""
    limiter = one_per_second(kind)
    assert inspect.iscoroutinefunction(limiter.acquire_async)
    assert inspect.iscoroutinefunction(limiter.__aenter__)
    assert inspect.iscoroutinefunction(limiter.reserve().wait_async)
    if kind != "RateLimits":
        for name, expected in {
            "try_acquire": "(n=1)",
            "acquire": "(n=1, *, timeout=None)",
            "reserve": "(n=1, *, max_wait=None)",
            "refund": "(n)",
            "debit": "(n)",
            "retry_after": "(n=1)",
            "pause_for": "(seconds)",
            "statistics": "()",
        }.items():
            signature = str(inspect.signature(getattr(limiter, name)))
            assert signature.split(" ->", maxsplit=1)[0].replace("(/)", "()").replace(": 'Any'", "") == expected


def test_statistics_are_frozen():
    """A snapshot: frozen, typed, with the limiter's name."""
    bucket = TokenBucket(1, burst=1, name="mine", clock=ManualClock())
    before = bucket.statistics()
    assert isinstance(before, sluicegate.RateStatistics)
    assert (before.name, before.admitted, before.refused, before.waited, before.waited_seconds, before.waiters) == ("mine", 0, 0, 0, 0.0, 0)
    bucket.try_acquire()
    bucket.try_acquire()
    after = bucket.statistics()
    assert (after.admitted, after.refused) == (1, 1)
    assert before.admitted == 0
    with pytest.raises(AttributeError):
        after.admitted = 5
    keyed = KeyedTokenBucket(1, burst=1, max_keys=7, name="keyed")
    keyed.try_acquire("a")
    keyed.try_acquire("a")
    seen = keyed.statistics()
    assert isinstance(seen, sluicegate.KeyedRateStatistics)
    assert (seen.name, seen.admitted, seen.refused, seen.waiters, seen.keys, seen.max_keys, seen.forgotten) == ("keyed", 1, 1, 0, 1, 7, 0)


def test_rate_limited():
    """An Exception with `retry_after`; not a TimeoutError, which is an OSError."""
    assert issubclass(sluicegate.RateLimited, Exception)
    assert not issubclass(sluicegate.RateLimited, OSError)
    bucket = TokenBucket(1, burst=1, clock=ManualClock())
    bucket.try_acquire()
    with pytest.raises(sluicegate.RateLimited) as told:
        bucket.acquire(timeout=0.25)
    assert told.value.retry_after == 1.0
    assert str(told.value)


@on_loops
async def test_a_coroutine_never_awaited_takes_nothing():
    """Making the coroutine does nothing; only awaiting does."""
    bucket = TokenBucket(1, burst=1, clock=ManualClock())
    coroutine = bucket.acquire_async()
    assert bucket.tokens == 1.0
    coroutine.close()
    assert bucket.tokens == 1.0
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: TokenBucket(100, 60), "TokenBucket(100, burst=60)"),  # type: ignore[call-arg, misc]
        (lambda: TokenBucket(100, 60, 1.0), "TokenBucket(100, burst=60)"),  # type: ignore[call-arg, misc]
        (lambda: LeakyBucket(100, 60), "LeakyBucket(100, capacity=60)"),  # type: ignore[call-arg, misc]
        (lambda: KeyedTokenBucket(100, 60, max_keys=5), "KeyedTokenBucket(100, burst=60)"),  # type: ignore[call-arg, misc]
    ],
)
def test_a_burst_has_to_be_given_by_name(make, text):
    """`(100, 60)` reads as 100 in 60 seconds: the message says what it means here, and how else to write it."""
    with pytest.raises(TypeError, match=re.escape(text)):
        make()


@pytest.mark.parametrize("make", [TokenBucket, LeakyBucket, partial(KeyedTokenBucket, max_keys=5)])
def test_a_missing_burst(make):
    """There is no default, and None is not a number of tokens."""
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: '(burst|capacity)'"):
        make(5)
    bucket = TokenBucket(5, burst=5)
    with pytest.raises(TypeError):
        bucket.set_rate(5, 5)  # type: ignore[misc]
    assert (bucket.rate, bucket.burst) == (5, 5)


# ------------------------------------------------------------------------------------------ subclasses with an `__init__`

MADE_OF = {
    "TokenBucket": ((5,), {"burst": 3}, "burst"),
    "LeakyBucket": ((5,), {"capacity": 3}, "capacity"),
    "SlidingWindow": ((3, 60), {}, "limit"),
    "UnlimitedRate": ((), {}, "name"),
    "ZeroRate": ((), {}, "name"),
}


@pytest.mark.parametrize("kind", list(MADE_OF))
def test_a_subclass_may_have_an_init_of_its_own(kind):
    """It takes what it likes, and says by calling ours what the limiter is."""
    args, kwargs, attribute = MADE_OF[kind]
    base = getattr(sluicegate, kind)
    clock = ManualClock()

    class Host(base):
        def __init__(self, host, *, port=80):
            self.host = (host, port)
            with pytest.raises(RuntimeError, match=r"call super\(\).__init__\(\.\.\.\) first"):
                self.try_acquire()
            super().__init__(*args, clock=clock, name=host, **kwargs)

    host = Host("example.org", port=443)
    plain = base(*args, clock=clock, name="example.org", **kwargs)
    assert host.host == ("example.org", 443)
    assert (host.name, getattr(host, attribute), host.tokens) == (plain.name, getattr(plain, attribute), plain.tokens)
    assert [host.try_acquire() for _ in range(4)] == [plain.try_acquire() for _ in range(4)]
    assert repr(host).split(" at 0x")[0].endswith("Host 'example.org'")
    assert host.statistics() == plain.statistics()
    base.__init__(host, *args, name="other", **kwargs)  # it is made already
    assert host.name == "example.org"
    if kind != "ZeroRate":
        host.pause_for(1)
        (worker,) = in_line(clock, lambda: host.permit().__enter__())
        clock.advance(60)
        worker.result().__exit__()
        assert RateLimits(host=host).limits["host"] is host

    class Silent(base):
        def __init__(self, *_args):
            pass

    silent = Silent(1, 2)
    for call in (silent.try_acquire, silent.acquire, silent.reserve, silent.permit, silent.statistics, silent.retry_after):
        with pytest.raises(RuntimeError, match="has not been called"):
            call()
    for change in (getattr(silent, name) for name in ("set_rate", "set_limit") if hasattr(silent, name)):
        with pytest.raises(RuntimeError, match="has not been called"):
            change(1)
    assert "Silent" in repr(silent)
    with pytest.raises(TypeError):
        base("too", "many", "arguments", "of", "which", "none", "fits")
    with pytest.raises(TypeError):
        base(*args, **kwargs, colour="red")

    class Plain(base):
        pass

    assert Plain(*args, **kwargs).try_acquire() == base(*args, **kwargs).try_acquire()

    class Own(base):
        def __new__(cls, _host):
            return super().__new__(cls, *args, **kwargs)

        def __init__(self, host):
            self.host = host

    assert Own("h").try_acquire() == base(*args, **kwargs).try_acquire()


@pytest.mark.parametrize(("cost", "error"), [("bad", TypeError), (-1, ValueError), (7, ValueError), (10**400, OverflowError)])
def test_by_names_the_cost(cost, error):
    """The caller wrote `cost`, so that is what the error is about: when it is given, and when a call finds it."""
    bucket = TokenBucket(5, burst=5)

    def plain():
        pass

    async def coroutine():
        pass

    with pytest.raises(error, match="'cost' "):
        bucket.by(cost=cost)
    by = bucket.by(cost=lambda: cost)
    with pytest.raises(error, match="'cost' "):
        by(plain)()
    with pytest.raises(error, match="'cost' "):
        asyncio.run(by(coroutine)())
    assert bucket.tokens == 5
