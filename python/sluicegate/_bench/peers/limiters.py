"""The limiters of the rows: ours, the one people write by hand, and four packages, each as cheap as it sensibly gets.

None of them ever runs out in the rows where it admits (AMPLE a day), and the others are at their limit from the first
call on (one a day). Storage is memory everywhere, and none leaves a thread behind.

* pyrate-limiter: the log of its default bucket, which is a quarter cheaper than its GCRA while it admits; the log of a
  million keys would be one of a million lists, so there it is GCRA.
* limits: the fixed window, cheaper than its moving window and its sliding counter. On a free-threaded build its storage
  may fail where threads share it (each starts the same timer), and is then left out.
* throttled-py: the fixed window too.
* aiolimiter has one algorithm, and asyncio only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import sluicegate

from ..loops.limiters import Ask, LimiterFace
from ..model import OURS

AMPLE = 10**8
DAY = 86_400

HANDWRITTEN = "hand-written bucket"
AIOLIMITER = "aiolimiter"
PYRATE = "pyrate-limiter"
LIMITS = "limits"
THROTTLED = "throttled-py"

NEEDS = {AIOLIMITER: "aiolimiter", PYRATE: "pyrate_limiter", LIMITS: "limits", THROTTLED: "throttled"}
"""The package without which a contender cannot work, by the name it is imported by."""


class Bucket:
    """The token bucket that people write by hand: a lock, a clock, a few lines of code."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._then = time.monotonic()
        self._lock = threading.Lock()

    def allow(self, n: float = 1) -> bool:
        """Take `n` tokens if they are there."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._then) * self._rate)
            self._then = now
            if self._tokens < n:
                return False
            self._tokens -= n
            return True


def emptied(limiter: LimiterFace) -> LimiterFace:
    """Use up a limiter's only token."""
    limiter.ask()
    return limiter


# One limiter, from threads. Each has a burst of its own; the refill of a day does not matter while it is measured.


def ours(burst: int) -> LimiterFace:
    """Our token bucket."""
    return LimiterFace(sluicegate.TokenBucket(burst, burst=burst, period=DAY).try_acquire)


def handwritten(burst: int) -> LimiterFace:
    """The one above."""
    return LimiterFace(Bucket(burst / DAY, burst).allow)


def pyrate(burst: int) -> LimiterFace:
    """A pyrate-limiter with its default bucket."""
    from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate, SingleBucketFactory

    bucket = InMemoryBucket([Rate(burst, Duration.DAY)])
    limiter = Limiter(SingleBucketFactory(bucket, schedule_leak=False))
    if burst == AMPLE:
        return LimiterFace(limiter.try_acquire)  # `blocking=False` would also refuse whenever another thread is inside
    return LimiterFace(partial(limiter.try_acquire, blocking=False))


def limits_window(burst: int) -> LimiterFace:
    """A fixed window of limits."""
    from limits import RateLimitItemPerDay
    from limits.storage import MemoryStorage
    from limits.strategies import FixedWindowRateLimiter

    return LimiterFace(partial(FixedWindowRateLimiter(MemoryStorage()).hit, RateLimitItemPerDay(burst)))


def throttled_window(burst: int) -> LimiterFace:
    """A fixed window of throttled-py."""
    from throttled import MemoryStore, RateLimiterType, Throttled, rate_limiter

    quota = rate_limiter.per_day(burst)
    limiter = Throttled(key="bench", using=RateLimiterType.FIXED_WINDOW.value, quota=quota, store=MemoryStore())
    return LimiterFace(limiter.limit, is_not_limited)


def is_not_limited(result: Any) -> bool:
    """Read the answer of throttled-py."""
    return not result.limited


SYNC: dict[str, Callable[[int], LimiterFace]] = {
    OURS: ours,
    HANDWRITTEN: handwritten,
    PYRATE: pyrate,
    LIMITS: limits_window,
    THROTTLED: throttled_window,
}
"""Those that threads can use."""


def ours_waiting() -> LimiterFace:
    """Our token bucket, asked by a call that would wait."""
    return LimiterFace(sluicegate.TokenBucket(AMPLE, burst=AMPLE, period=DAY).acquire)


# One limiter, awaited.


def ours_async() -> LimiterFace:
    """Our token bucket, awaited."""
    return LimiterFace(sluicegate.TokenBucket(AMPLE, burst=AMPLE, period=DAY).acquire_async)


def empty_coroutine() -> LimiterFace:
    """The least that awaiting a coroutine function can cost."""

    async def acquire() -> bool:
        return True

    return LimiterFace(acquire)


def aiolimiter_bucket() -> LimiterFace:
    """An aiolimiter, whose `acquire` returns None."""
    from aiolimiter import AsyncLimiter

    return LimiterFace(AsyncLimiter(AMPLE, DAY).acquire, lambda answer: answer is None)


def pyrate_async() -> LimiterFace:
    """A pyrate-limiter, awaited."""
    from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate, SingleBucketFactory

    bucket = InMemoryBucket([Rate(AMPLE, Duration.DAY)])
    return LimiterFace(Limiter(SingleBucketFactory(bucket, schedule_leak=False)).try_acquire_async)


def throttled_async() -> LimiterFace:
    """A fixed window of throttled-py, awaited."""
    from throttled import RateLimiterType, rate_limiter
    from throttled.asyncio import MemoryStore, Throttled

    quota = rate_limiter.per_day(AMPLE)
    limiter = Throttled(key="bench", using=RateLimiterType.FIXED_WINDOW.value, quota=quota, store=MemoryStore())
    return LimiterFace(limiter.limit, is_not_limited)


# A limit for each key. What is returned asks for one, by key; each key has `burst` a day.


def ours_keyed(keys: int, burst: int) -> Ask:
    """Our keyed bucket."""
    return sluicegate.KeyedTokenBucket(burst, burst=burst, period=DAY, max_keys=keys).try_acquire


def handwritten_keyed(keys: int, burst: int) -> Ask:
    """A dict of the buckets above."""
    buckets: dict[str, Bucket] = {}
    lock = threading.Lock()

    def allow(key: str) -> bool:
        bucket = buckets.get(key)
        if bucket is None:
            with lock:
                bucket = buckets.setdefault(key, Bucket(burst / DAY, burst))
        return bucket.allow()

    return allow


def pyrate_keyed(keys: int, burst: int) -> Ask:
    """A dict of pyrate-limiter's buckets: its factories are there to be written by the user."""
    from pyrate_limiter import BucketFactory, Duration, Limiter, MonotonicClock, Rate, RateItem, StateBucket

    rates = [Rate(burst, Duration.DAY)]
    clock = MonotonicClock()

    class Factory(BucketFactory):
        def __init__(self) -> None:
            self.buckets: dict[str, StateBucket] = {}

        def wrap_item(self, name: str, weight: int = 1) -> RateItem:
            return RateItem(name, clock.now(), weight)

        def get(self, item: RateItem) -> StateBucket:
            bucket = self.buckets.get(item.name)
            if bucket is None:
                bucket = self.buckets[item.name] = StateBucket(rates, clock=clock)
            return bucket

    return Limiter(Factory()).try_acquire


def limits_keyed(keys: int, burst: int) -> Ask:
    """A fixed window of limits, which knows keys."""
    from limits import RateLimitItemPerDay
    from limits.storage import MemoryStorage
    from limits.strategies import FixedWindowRateLimiter

    return partial(FixedWindowRateLimiter(MemoryStorage()).hit, RateLimitItemPerDay(burst))


def throttled_keyed(keys: int, burst: int) -> Ask:
    """A fixed window of throttled-py, which knows keys, in a store made large enough to forget none."""
    from throttled import MemoryStore, RateLimiterType, Throttled, rate_limiter

    store = MemoryStore(options={"MAX_SIZE": keys})
    quota = rate_limiter.per_day(burst)
    limit = Throttled(using=RateLimiterType.FIXED_WINDOW.value, quota=quota, store=store).limit

    def ask(key: str) -> bool:
        return not limit(key).limited

    return ask


KEYED: dict[str, Callable[[int, int], Ask]] = {
    OURS: ours_keyed,
    HANDWRITTEN: handwritten_keyed,
    PYRATE: pyrate_keyed,
    LIMITS: limits_keyed,
    THROTTLED: throttled_keyed,
}
"""Those that know keys."""
