"""What types a user of circuit breakers gets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Literal

from typing_extensions import assert_type

from sluicegate import (
    BreakerKey,
    BreakerStatistics,
    CircuitBreaker,
    CircuitOpen,
    CircuitPermit,
    KeyedBreaker,
    KeyedBreakerStatistics,
)

State = Literal["closed", "open", "half_open", "forced_open", "disabled"]


def listener(old: State, new: State, why: str) -> None: ...


def keyed_listener(key: Any, old: str, new: str, why: str) -> None: ...


breaker = CircuitBreaker(
    failure=(OSError, TimeoutError), ignore=lambda error: bool(error.args), on_change=listener, open_for=timedelta(seconds=1)
)
hosts = KeyedBreaker(max_keys=10, failure=OSError, on_change=keyed_listener)


@breaker
def plain(n: int) -> str:
    return str(n)


@breaker(failed=lambda result: result == "")
async def awaited(n: int) -> str:
    return str(n)


def key_of(n: int) -> int:
    return n


@hosts.by(key=key_of)
async def generated(n: int) -> AsyncIterator[int]:
    yield n


async def calls() -> None:
    assert_type(plain(1), str)
    assert_type(await awaited(1), str)
    async for item in generated(1):
        assert_type(item, int)
    with breaker.permit() as permit:
        assert_type(permit, CircuitPermit)
        permit.failure(OSError(), retry_after=timedelta(seconds=1))
    async with hosts.permit("host") as permit:
        assert_type(permit.try_acquire(), bool)
    assert_type(breaker.state, State)
    assert_type(breaker.retry_after, float)
    assert_type(breaker.statistics(), BreakerStatistics)
    assert_type(hosts.key("host"), BreakerKey)
    assert_type(hosts.key("host").state, State)
    assert_type(hosts.state("host"), State)
    assert_type(hosts.statistics(), KeyedBreakerStatistics)
    try:
        plain(1)
    except CircuitOpen as error:
        assert_type(error.retry_after, float)
        assert_type(error.state, str)
