"""What types a user's type checker sees of the rate limits: checked by pyright, never run."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID, uuid4

from typing_extensions import assert_type

import sluicegate
from sluicegate import (
    Clock,
    KeyedLeakyBucket,
    KeyedLimiter,
    KeyedRateStatistics,
    KeyedSlidingWindow,
    KeyedTokenBucket,
    LeakyBucket,
    LeakyBucketKey,
    RateLimited,
    RateLimiter,
    RateLimits,
    RatePermit,
    RateStatistics,
    Reservation,
    Semaphore,
    SlidingWindow,
    SlidingWindowKey,
    TokenBucket,
    TokenBucketKey,
    UnlimitedRate,
    ZeroRate,
)
from sluicegate.testing import ManualClock


def threads(limiter: RateLimiter) -> None:
    assert_type(limiter.try_acquire(), bool)
    assert_type(limiter.try_acquire(n=0.5), bool)
    assert_type(limiter.acquire(2, timeout=1), Literal[True])
    assert_type(limiter.refund(1), None)
    assert_type(limiter.debit(1.5), None)
    assert_type(limiter.tokens, float)
    assert_type(limiter.retry_after(3), float)
    assert_type(limiter.pause_for(30), None)
    assert_type(limiter.name, str | None)
    assert_type(limiter.statistics(), RateStatistics)
    assert_type(limiter.statistics().waited_seconds, float)
    with limiter as same:
        assert_type(same, RateLimiter)
    with limiter.acquire(2):  # pyright: ignore[reportGeneralTypeIssues]  # `permit` is the context manager
        pass


async def tasks(limiter: RateLimiter, limits: RateLimits) -> None:
    assert_type(await limiter.acquire_async(), Literal[True])
    assert_type(await limiter.acquire_async(2.5, timeout=None), Literal[True])
    assert_type(await limits.acquire_async(2, timeout=1), Literal[True])
    assert_type(await limits.acquire_async(requests=1, tokens=500), Literal[True])
    job: asyncio.Task[bool] = asyncio.create_task(limiter.acquire_async())
    print(await job)
    async with limiter, limits as same:
        assert_type(same, RateLimits)


def family(clock: ManualClock) -> None:
    bucket = TokenBucket(10, burst=2.5, period=60, initial=0, clock=clock, name="bucket")
    assert_type((bucket.rate, bucket.burst, bucket.period), tuple[float, float, float])
    assert_type(bucket.set_rate(5), None)
    assert_type(bucket.set_rate(5, burst=3), None)
    shaper = LeakyBucket(rate=10, capacity=3, period=1, clock=None, name=None)
    assert_type((shaper.rate, shaper.capacity, shaper.period), tuple[float, int, float])
    assert_type(shaper.set_rate(5, capacity=10), None)
    window = SlidingWindow(100, 60, clock=Clock())
    assert_type((window.limit, window.period), tuple[float, float])
    assert_type(window.set_limit(50, period=30), None)
    each: list[RateLimiter] = [bucket, shaper, window, KeyedTokenBucket(1, burst=1, max_keys=1).key("k")]
    print(each)
    with bucket as same:
        assert_type(same, TokenBucket)


def several(bucket: TokenBucket, window: SlidingWindow) -> None:
    limits = RateLimits(name="quota", requests=bucket, tokens=window)
    assert_type(limits.limits, MappingProxyType[str, RateLimiter | Semaphore])
    assert_type(limits.acquire(), Literal[True])
    assert_type(limits.acquire(2, timeout=0.5), Literal[True])
    assert_type(limits.acquire(requests=1, tokens=500.5, timeout=1), Literal[True])
    assert_type(limits.try_acquire(requests=1, tokens=500), bool)
    assert_type(limits.retry_after(2), float)
    assert_type(limits.refund(tokens=20), None)
    assert_type(limits.debit(tokens=20), None)
    assert_type(limits.tokens, dict[str, Any])
    assert_type(limits.pause_for(1.5), None)
    assert_type(limits.name, str | None)
    assert_type(limits.statistics(), RateStatistics)


def keyed(users: KeyedTokenBucket) -> None:
    assert_type(users.try_acquire("user"), bool)
    assert_type(users.try_acquire(b"user", 2), bool)
    assert_type(users.try_acquire(7, n=0.5), bool)
    assert_type(users.try_acquire(uuid4()), bool)
    assert_type(users.try_acquire(ip_address("::1")), bool)
    assert_type(users.try_acquire(("route", (7, ip_address("127.0.0.1")), UUID(int=0))), bool)
    assert_type(users.set_rate(5), None)
    assert_type(users.set_rate(5, burst=10, key=("route", 7)), None)
    assert_type(users.forget("user"), bool)
    assert_type((users.rate, users.burst, users.period, users.max_keys), tuple[float, float, float, int])
    assert_type(len(users), int)
    assert_type(users.statistics(), KeyedRateStatistics)
    assert_type(users.statistics().forgotten, int)
    one = users.key(("route", 7))
    assert_type(one, TokenBucketKey)
    assert_type(one.acquire(timeout=1), Literal[True])
    assert_type((one.rate, one.burst, one.period), tuple[float, float, float])
    assert_type(one.set_rate(1, burst=None), None)
    print(users.key(one.key))


def booked(limiter: RateLimiter, limits: RateLimits) -> None:
    one = limiter.reserve(3, max_wait=1)
    assert_type(one.n, float)
    assert_type(one.delay, float)
    assert_type(one.ready_at, float)
    assert_type(one.wait(timeout=1), Literal[True])
    assert_type(one.settle(2), None)
    assert_type(one.settle(actual=2), None)
    assert_type(one.cancel(), float)
    with limiter.reserve():  # pyright: ignore[reportGeneralTypeIssues]
        pass
    by_name = limits.reserve(requests=1, tokens=500, max_wait=1)
    assert_type(by_name.n, dict[str, Any])
    assert_type(by_name.settle(tokens=20), None)
    assert_type(by_name.settle(), None)
    assert_type(by_name.cancel(), dict[str, Any])
    each: list[Reservation] = [one, by_name]
    assert_type(each[0].n, float | dict[str, float])
    assert_type(each[0].cancel(), float | dict[str, float])


async def awaited(reservation: Reservation, limits: RateLimits) -> None:
    assert_type(await reservation.wait_async(timeout=1), Literal[True])
    async with limits.permit(2, timeout=1) as same:
        assert_type(same.n, dict[str, Any])
        assert_type(same.settle(requests=1, model={"tokens": 20}), None)
        assert_type(same.refund(), dict[str, Any])


def permits(limiter: RateLimiter, users: KeyedTokenBucket, slots: Semaphore) -> None:
    with limiter.permit(2) as permit:
        assert_type(permit.n, float)
        assert_type(permit.settle(1), None)
        assert_type(permit.refund(), float)
    with users.permit("user", 2, timeout=1) as permit:
        permit.settle(actual=1)
    limits = RateLimits(slots=slots, inner=RateLimits(requests=limiter))
    with limits.permit(slots=1, inner={"requests": 2}) as several:
        several.settle(inner=1)
    each: list[RatePermit] = [permit, several]
    print(each)


def more_keys(windows: KeyedSlidingWindow, shapers: KeyedLeakyBucket) -> None:
    assert_type(windows.key("user"), SlidingWindowKey)
    assert_type(windows.set_limit(5, 60, key="user"), None)
    assert_type((windows.limit, windows.period), tuple[float, float])
    assert_type(shapers.key("user"), LeakyBucketKey)
    assert_type(shapers.set_rate(5, capacity=3), None)
    assert_type((shapers.rate, shapers.capacity), tuple[float, int])
    each: list[KeyedLimiter] = [windows, shapers, KeyedTokenBucket(1, burst=1, max_keys=1)]
    assert_type(each[0].try_acquire("user"), bool)
    settings: list[RateLimiter] = [UnlimitedRate(), ZeroRate(name="off")]
    print(settings)


def by_call(bucket: TokenBucket, limits: RateLimits, users: KeyedTokenBucket) -> None:
    @bucket.by(cost=len)
    def send(text: str) -> int:
        return len(text)

    def costs(text: str) -> dict[str, float]:
        return {"requests": 1, "tokens": len(text)}

    @limits.by(cost=costs, timeout=1)
    async def ask(text: str) -> str:
        return text

    @users.by(key=str.lower, cost=2)
    def serve(user: str) -> bytes:
        return user.encode()

    assert_type(send("a"), int)
    assert_type(asyncio.run(ask("a")), str)
    assert_type(serve("a"), bytes)


def decorated(bucket: TokenBucket, limits: RateLimits, users: KeyedTokenBucket) -> None:
    """A decorated function has the type that it had."""

    @bucket
    def plain(a: int, *, b: str = "") -> list[int]:
        return [a]

    @bucket(n=2, timeout=1)
    async def coroutine(a: int) -> str:
        return str(a)

    @limits
    def generator(a: int) -> Iterator[int]:
        yield a

    @limits(requests=1, tokens=500, timeout=1)
    async def async_generator(a: int) -> AsyncIterator[int]:
        yield a

    @users.key("user")(n=0.5)
    @limits(n=2)
    def twice(a: int) -> int:
        return a

    class Client:
        @bucket
        def get(self, url: str) -> bytes:
            return url.encode()

    assert_type(plain(1, b=""), list[int])
    assert_type(asyncio.run(coroutine(1)), str)
    assert_type(list(generator(1)), list[int])
    assert_type(async_generator(1), AsyncIterator[int])
    assert_type(twice(1), int)
    assert_type(Client().get("url"), bytes)
    function: Callable[[int], int] = bucket()(twice)
    print(function)
    plain("1")  # pyright: ignore[reportArgumentType]


class Named(TokenBucket):
    """A subclass, and what it gives back."""

    def who(self) -> str:
        return self.name or ""


class Host(TokenBucket):
    """A subclass with an `__init__` of its own."""

    def __init__(self, host: str) -> None:
        super().__init__(10, burst=5, name=host)
        self.host = host


def subclass() -> None:
    assert_type(Host("example.org").host, str)
    with Named(10, burst=5, name="mine") as same:
        assert_type(same, Named)


def refused(limiter: RateLimiter, limits: RateLimits, users: KeyedTokenBucket) -> None:
    limiter.acquire("1")  # pyright: ignore[reportArgumentType]
    limiter.acquire(1, 2)  # pyright: ignore[reportCallIssue]
    limits.acquire(1, 2)  # pyright: ignore[reportCallIssue]
    limits.acquire(tokens="500")  # pyright: ignore[reportArgumentType]
    limits.limits["tokens"] = limiter  # pyright: ignore[reportIndexIssue]
    limiter.reserve().settle(tokens=20)  # pyright: ignore[reportCallIssue]
    limits.reserve().settle(20)  # pyright: ignore[reportCallIssue]
    users.try_acquire(1.5)  # pyright: ignore[reportArgumentType]
    users.try_acquire(None)  # pyright: ignore[reportArgumentType]
    users.try_acquire(("route", [7]))  # pyright: ignore[reportArgumentType]
    limiter(3)  # pyright: ignore[reportCallIssue, reportArgumentType]
    TokenBucket(10)  # pyright: ignore[reportCallIssue]
    TokenBucket(10, burst=5).rate = 3  # pyright: ignore[reportAttributeAccessIssue]
    LeakyBucket(10, capacity=0.5)  # pyright: ignore[reportArgumentType]
    KeyedTokenBucket(10, burst=5)  # pyright: ignore[reportCallIssue]
    RateLimits(users=users)  # pyright: ignore[reportArgumentType]

    class Handle(TokenBucketKey):  # pyright: ignore[reportGeneralTypeIssues]
        pass

    print(Handle)


def errors(limiter: RateLimiter) -> None:
    try:
        limiter.acquire(timeout=0)
    except sluicegate.RateLimited as refusal:
        assert_type(refusal, RateLimited)
        assert_type(refusal.retry_after, float)
