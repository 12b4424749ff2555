"""A set that refuses says which of its limits is the reason: the one that could admit its amount last."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import pickle
import threading
from typing import Any

import pytest
from rates import cancelled, tasks_in_line

from sluicegate import (
    KeyedSemaphore,
    KeyedTokenBucket,
    LeakyBucket,
    Overloaded,
    RateLimited,
    RateLimits,
    Semaphore,
    SlidingWindow,
    TokenBucket,
    UnlimitedRate,
    ZeroRate,
)
from sluicegate.testing import ManualClock


def the_limit(of: str, set_: str = "RateLimits") -> str:
    return f"^{set_} cannot admit the request in time because of its limit '{of}'; retry after "


def run(call: Any) -> Any:
    return asyncio.run(call)


CALLS = {
    "acquire, at once": lambda limits, **n: limits.acquire(timeout=0, **n),
    "acquire, the wait is known": lambda limits, **n: limits.acquire(timeout=0.25, **n),
    "acquire_async": lambda limits, **n: run(limits.acquire_async(timeout=0.25, **n)),
    "reserve": lambda limits, **n: limits.reserve(max_wait=0.25, **n),
    "permit": lambda limits, **n: limits.permit(timeout=0.25, **n).__enter__(),
    "permit, async": lambda limits, **n: run(limits.permit(timeout=0.25, **n).__aenter__()),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Own(RateLimits):
    """Refused by the general form."""


@every_call
@pytest.mark.parametrize("kind", [RateLimits, Own])
def test_the_limit_that_comes_last_is_named(clock: ManualClock, kind: Any, call: Any) -> None:
    limits = kind(
        requests=TokenBucket(1, burst=5, clock=clock),
        tokens=TokenBucket(100, burst=1000, clock=clock),
        minute=SlidingWindow(5, 60, clock=clock),
    )
    limits.acquire(requests=1, tokens=1000, minute=0)
    with pytest.raises(RateLimited, match=the_limit("tokens", kind.__name__)) as caught:
        call(limits, requests=1, tokens=200, minute=1)
    assert caught.value.retry_after == 2.0
    limits.acquire(requests=4, tokens=0, minute=5)
    with pytest.raises(RateLimited, match=the_limit("minute", kind.__name__)):
        call(limits, requests=1, tokens=200, minute=1)
    with pytest.raises(RateLimited, match=the_limit("requests", kind.__name__)):
        call(limits, requests=3, tokens=200, minute=0)
    with pytest.raises(RateLimited, match=the_limit("tokens", kind.__name__)):
        call(limits, requests=3, tokens=301, minute=0)


@every_call
def test_nested_and_named(clock: ManualClock, call: Any) -> None:
    inner = RateLimits(requests=UnlimitedRate(clock=clock), tokens=TokenBucket(1, burst=1, clock=clock))
    outer = RateLimits(calls=UnlimitedRate(clock=clock), api=inner, name="{both}")
    outer.acquire()
    with pytest.raises(RateLimited) as caught:
        call(outer, calls=1, api=1)
    text = "RateLimits '{both}' cannot admit the request in time because of its limit 'api.tokens'; retry after 1.000000 seconds"
    assert str(caught.value) == text
    assert caught.value.name == "{both}"
    for other in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert str(other) == text


@every_call
def test_the_handle_of_a_key_is_a_member_like_any_other(clock: ManualClock, call: Any) -> None:
    users = KeyedTokenBucket(1, burst=1, max_keys=10, clock=clock)
    limits = RateLimits(all=TokenBucket(10, burst=10, clock=clock), user=users.key("alice"))
    limits.acquire()
    with pytest.raises(RateLimited, match=the_limit("user")):
        call(limits, all=1, user=1)


@every_call
def test_a_limit_that_is_closed_or_pauses(clock: ManualClock, call: Any) -> None:
    limits = RateLimits(free=UnlimitedRate(clock=clock), off=ZeroRate(clock=clock))
    with pytest.raises(RateLimited, match=the_limit("off") + "inf"):
        call(limits, free=1, off=1)
    paused = UnlimitedRate(clock=clock)
    limits = RateLimits(bucket=TokenBucket(1, burst=1, clock=clock), paused=paused)
    limits.acquire(bucket=1, paused=0)
    paused.pause_for(30)
    with pytest.raises(RateLimited, match=the_limit("paused")):
        call(limits, bucket=1, paused=1)


def test_behind_others(clock: ManualClock) -> None:
    """After the waiters of the set the limits are as those will leave them."""

    async def main() -> None:
        limits = RateLimits(
            window=SlidingWindow(2, 60, clock=clock),
            bucket=TokenBucket(1, burst=10, clock=clock),
        )
        limits.acquire(window=2, bucket=0)
        waiting = await tasks_in_line(*(limits.acquire_async(window=1 - n, bucket=10 - 2 * n) for n in (0, 1)))
        with pytest.raises(RateLimited, match=the_limit("window")):
            limits.acquire(window=2, bucket=0, timeout=1)
        with pytest.raises(RateLimited, match=the_limit("bucket")):
            await limits.acquire_async(window=0, bucket=8, timeout=1)
        # One more fits into the window as soon as the waiters have been admitted.
        with pytest.raises(RateLimited, match="^RateLimits cannot admit the request in time, after those that are waiting; retry"):
            limits.reserve(window=1, bucket=0, max_wait=1)
        for task in reversed(waiting):
            await cancelled(task)

    asyncio.run(main())


def test_the_limit_of_a_waiter_whose_time_is_over(clock: ManualClock) -> None:
    """Its time is over later than was foreseen, because a pause began meanwhile."""

    async def main() -> None:
        slow, fast = TokenBucket(1, burst=1, clock=clock), TokenBucket(10, burst=10, clock=clock)
        limits = RateLimits(fast=fast, slow=slow)
        limits.acquire()
        waiter = asyncio.create_task(limits.acquire_async(timeout=2))
        await asyncio.sleep(0)
        slow.pause_for(30)
        await clock.advance_async(2)
        with pytest.raises(RateLimited, match=the_limit("slow")):
            await waiter

    asyncio.run(main())


SEMAPHORE_REFUSES = (
    r"^RateLimits 'api' cannot admit the request in time because of its limit '{}': the request \(n=1\) was not granted "
    r"within 0.25 seconds: {} had too few free permits$"
)


@pytest.mark.parametrize("way", ["thread", "asyncio"])
def test_a_semaphore(clock: ManualClock, way: str) -> None:
    at_once, hosts = Semaphore(1, clock=clock), KeyedSemaphore(1, max_keys=10, name="{hosts}", clock=clock)
    rate = LeakyBucket(1, capacity=10, clock=clock)
    limits = RateLimits(inner=RateLimits(at_once=at_once, rate=rate), host=hosts.key("a"), name="api")

    def enter() -> Any:
        permit = limits.permit(timeout=0.25)
        return permit.__enter__() if way == "thread" else asyncio.run(permit.__aenter__())

    cases = [
        (at_once, "inner.at_once", "Semaphore"),
        (hosts.key("a"), "host", r"key 'a' of KeyedSemaphore '\{hosts\}'"),
    ]
    for semaphore, limit, who in cases:
        with contextlib.ExitStack() as held, pytest.raises(Overloaded, match=SEMAPHORE_REFUSES.format(limit, who)) as caught:
            held.enter_context(semaphore)
            clock_over(clock, enter)
        assert caught.value.reason == "expired"
        assert (at_once.value, hosts.key("a").value) == (1, 1)
    rate.acquire()
    with pytest.raises(RateLimited, match=the_limit("inner.rate", "RateLimits 'api'")):
        enter()


def clock_over(clock: ManualClock, call: Any) -> None:
    """Calls it, and lets its time pass."""
    stop = threading.Thread(target=lambda: (clock.wait_for_waiters(1), clock.advance(0.25)))
    stop.start()
    try:
        call()
    finally:
        stop.join()
