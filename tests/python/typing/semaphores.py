"""What types a user's type checker sees: checked by pyright, never run."""

from typing_extensions import assert_type

from sluicegate import (
    BoundedSemaphore,
    KeyedSemaphore,
    KeyedSemaphoreStatistics,
    Overloaded,
    RateLimited,
    Refused,
    Semaphore,
    SemaphoreKey,
    SemaphorePermit,
    SemaphoreStatistics,
)
from sluicegate.testing import ManualClock


def threads(s: Semaphore) -> None:
    assert_type(s.acquire(), bool)
    assert_type(s.acquire(False), bool)
    assert_type(s.acquire(timeout=1, n=2), bool)
    assert_type(s.try_acquire(2), bool)
    assert_type(s.release(), None)
    assert_type(s.value, int)
    assert_type(s.size, int)
    assert_type(s.name, str | None)
    assert_type(s.locked(), bool)
    assert_type(s.resize(3), None)
    assert_type(s.statistics(), SemaphoreStatistics)
    assert_type(s.statistics().waited_seconds, float)
    with s as went:
        assert_type(went, bool)
    with s.permit(2, timeout=0.5) as permit:
        assert_type(permit, SemaphorePermit)
    s.resize("3")  # pyright: ignore[reportArgumentType]
    s.acquire(n=1.5)  # pyright: ignore[reportArgumentType]
    s.size = 3  # pyright: ignore[reportAttributeAccessIssue]


async def tasks(s: BoundedSemaphore) -> None:
    assert_type(await s.acquire_async(2, timeout=1), bool)
    async with s as went:
        assert_type(went, bool)
    async with s.permit() as permit:
        assert_type(permit, SemaphorePermit)
    view = s.async_semaphore
    assert_type(await view.acquire(), bool)
    assert_type(view.locked(), bool)
    assert_type(view.release(), None)
    async with view as nothing:
        assert_type(nothing, None)


async def keyed(hosts: KeyedSemaphore) -> None:
    assert_type(hosts.acquire("host", timeout=1), bool)
    assert_type(await hosts.acquire_async(("host", 80), 2), bool)
    assert_type(hosts.try_acquire(b"host"), bool)
    assert_type(hosts.release(7), None)
    assert_type(hosts.permit("host"), SemaphorePermit)
    assert_type(hosts.key("host"), SemaphoreKey)
    assert_type(hosts.key("host").acquire(), bool)
    assert_type(hosts.statistics(), KeyedSemaphoreStatistics)
    hosts.acquire(1.5)  # pyright: ignore[reportArgumentType]
    KeyedSemaphore(1)  # pyright: ignore[reportCallIssue]


def made() -> None:
    assert_type(Semaphore(3, clock=ManualClock(), name="pool"), Semaphore)
    try:
        pass
    except Overloaded as error:
        assert_type(error.reason, str)
        assert_type(error.name, str | None)
    except RateLimited as error:
        assert_type(error.retry_after, float)
    except Refused as error:
        assert_type(error.retry_after, float)
