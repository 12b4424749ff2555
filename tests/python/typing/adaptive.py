"""What types a user of adaptive limits gets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

from typing_extensions import assert_type

from sluicegate import (
    AdaptiveConcurrency,
    AdaptiveRate,
    AdaptiveRatePermit,
    AdaptiveRateStatistics,
    CoDel,
    ConcurrencyPermit,
    ConcurrencyStatistics,
    Overloaded,
)

limiter = AdaptiveConcurrency(target=timedelta(seconds=1), step="sqrt", max_waiting=10, shed=CoDel(), dropped=(OSError, TimeoutError))


@limiter
def plain(n: int) -> str:
    return str(n)


@limiter(priority=2, timeout=1.5, failed=lambda result: result == "")
async def awaited(n: int) -> str:
    return str(n)


@limiter
async def generated(n: int) -> AsyncIterator[int]:
    yield n


async def calls() -> None:
    assert_type(plain(1), str)
    assert_type(await awaited(1), str)
    async for item in generated(1):
        assert_type(item, int)
    with limiter.permit(priority=1) as permit:
        assert_type(permit, ConcurrencyPermit)
        permit.failure(OSError(), retry_after=timedelta(seconds=1))
    async with limiter.permit(timeout=1) as permit:
        permit.success()
    assert_type(permit.try_acquire(), bool)
    await permit.acquire_async(timeout=None)
    assert_type(limiter.limit, int)
    assert_type(limiter.in_flight, int)
    limiter.set_limits(1, 10)
    assert_type(limiter.statistics(), ConcurrencyStatistics)
    try:
        plain(1)
    except Overloaded as error:
        assert_type(error.reason, str)


rate = AdaptiveRate(100, burst=10, throttled=(OSError, TimeoutError))


@rate
def paced(n: int) -> str:
    return str(n)


@rate(n=2, timeout=1, failed=lambda result: result == "")
async def paced_async(n: int) -> str:
    return str(n)


async def requests() -> None:
    assert_type(paced(1), str)
    assert_type(await paced_async(1), str)
    with rate.permit() as call:
        assert_type(call, AdaptiveRatePermit)
        call.failure(OSError(), retry_after=timedelta(seconds=1))
    async with rate.permit(2, timeout=1) as call:
        call.success()
    assert_type(rate.rate, float)
    assert_type(rate.max_rate, float)
    assert_type(rate.statistics(), AdaptiveRateStatistics)
