"""What the tests of the rate limiters share: one of each kind, waiters that join the wait queue one by one, loops that die."""

from __future__ import annotations

import asyncio
import math
import weakref
from fractions import Fraction

from helpers import new_loop, settle, spawn

from sluicegate import (
    KeyedLeakyBucket,
    KeyedSlidingWindow,
    KeyedTokenBucket,
    LeakyBucket,
    RateLimits,
    Semaphore,
    SlidingWindow,
    TokenBucket,
    TokenBucketKey,
)

NANOSECOND = 1e-9

# What a key alone has seen is not kept when nobody waits for it: those tests that count look at all keys, of which there is one.
_all_keys = weakref.WeakKeyDictionary()


def one_key(keyed, key="key"):
    """The handle of a key, all of whose statistics are the keyed bucket's."""
    bucket = keyed.key(key)
    _all_keys[bucket] = keyed
    return bucket


def figures(limiter):
    """Its statistics."""
    if isinstance(limiter, TokenBucketKey):
        return _all_keys[limiter].statistics()
    return limiter.statistics()


# Each makes a limiter that lets one go at once and from then on one in so many seconds, to the nanosecond.
ONE_PER_PERIOD = {
    "TokenBucket": lambda period, **options: TokenBucket(1 / period, burst=1, **options),
    "LeakyBucket": lambda period, **options: LeakyBucket(1 / period, capacity=10000, **options),
    "SlidingWindow": lambda period, **options: SlidingWindow(1, period, **options),
    "TokenBucketKey": lambda period, **options: one_key(KeyedTokenBucket(1 / period, burst=1, max_keys=10, **options)),
    "RateLimits": lambda period, clock=None, **options: RateLimits(
        bucket=TokenBucket(1 / period, burst=1, clock=clock), window=SlidingWindow(1, period, clock=clock), **options
    ),
}
KINDS = list(ONE_PER_PERIOD)

# The same, of the limiters that do most of what they do as one of those.
MORE = ONE_PER_PERIOD | {
    "SlidingWindowKey": lambda period, **options: KeyedSlidingWindow(1, period, max_keys=10, **options).key("key"),
    "LeakyBucketKey": lambda period, **options: KeyedLeakyBucket(1 / period, capacity=10000, max_keys=10, **options).key("key"),
    "set in a set": lambda period, clock=None, **options: RateLimits(
        inner=RateLimits(bucket=TokenBucket(1 / period, burst=1, clock=clock), leaky=LeakyBucket(1 / period, capacity=1, clock=clock)),
        window=SlidingWindow(1, period, clock=clock),
        **options,
    ),
    "set with a semaphore": lambda period, clock=None, **options: RateLimits(
        slots=Semaphore(100), bucket=TokenBucket(1 / period, burst=1, clock=clock), **options
    ),
}

# Each makes a limiter with a burst of its own that takes amounts, the same figures for all: (rate, burst, clock).
BUCKETS = {
    "TokenBucket": lambda rate, burst, clock: TokenBucket(rate, burst=burst, clock=clock),
    "TokenBucketKey": lambda rate, burst, clock: one_key(KeyedTokenBucket(rate, burst=burst, max_keys=1, clock=clock), b"key"),
}


def one_per_second(kind, clock=None, **options):
    return ONE_PER_PERIOD[kind](1, clock=clock, **options)


def used_up(kind, clock=None, **options):
    """As `one_per_second`, and the one that could go at once has gone."""
    limiter = one_per_second(kind, clock, **options)
    assert limiter.try_acquire()
    return limiter


def in_line(clock, *calls):
    """A thread for each call, `(function, *args)`, which join the wait queue one after the other."""
    workers = []
    for call in calls:
        before = clock.waiters
        function, *args = call if isinstance(call, tuple) else (call,)
        workers.append(spawn(function, *args))
        clock.wait_for_waiters(before + 1)
    return workers


async def tasks_in_line(*coroutines):
    """Tasks that have run up to their first wait, in this order."""
    tasks = []
    for coroutine in coroutines:
        tasks.append(asyncio.create_task(coroutine))
        await settle(3)
    assert not any(task.done() for task in tasks), [task for task in tasks if task.done()]
    return tasks


async def cancelled(task):
    """Cancels and sees it through."""
    task.cancel()
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    assert isinstance(outcome, asyncio.CancelledError), outcome


def quiet_loop(kind):
    """A loop that does not log that a pending task was destroyed: where tests use it, that is what they do."""
    loop = new_loop(kind)
    loop.set_exception_handler(lambda loop, context: None)
    return loop


def turn(loop, turns=5):
    """Runs a loop that stands still for a few turns."""
    loop.run_until_complete(settle(turns))


def advance_ns(clock, nanoseconds):
    """Moves a manual clock by whole nanoseconds, however many: no float is asked to hold more than it can."""
    seconds, rest = divmod(nanoseconds, 10**9)
    if seconds:
        clock.advance(seconds)
    clock.advance(rest / 10**9)


def ns(seconds):
    """A float of seconds, as nanoseconds, to the nearest."""
    return round(Fraction(seconds) * 10**9)


def ceil_ns(seconds):
    """An exact fraction of seconds, as whole nanoseconds, rounded up."""
    return math.ceil(seconds * 10**9)
