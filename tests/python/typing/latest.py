"""What types a user's type checker sees: checked by pyright, never run."""

from typing_extensions import assert_type

from sluicegate import CoalescingQueue, Latest, LatestStatistics, LatestTicks
from sluicegate.testing import ManualClock


def threads(price: Latest[float]) -> None:
    assert_type(price.set(1.5), None)
    assert_type(price.get(), float)
    assert_type(price.get(timeout=1), float)
    assert_type(price.get_nowait(), float)
    assert_type(price.peek(), float)
    assert_type(price.version, int)
    assert_type(price.name, str | None)
    assert_type(price.changed(), tuple[float, int])
    value, version = price.changed(3, timeout=0.5)
    assert_type(value, float)
    assert_type(version, int)
    for each in price:
        assert_type(each, float)
    assert_type(price.every(1), LatestTicks[float])
    for each in price.every(0.5):
        assert_type(each, float)
    assert_type(price.statistics(), LatestStatistics)
    price.shutdown(error=ValueError())
    price.fail(ValueError())
    price.set("1.5")  # pyright: ignore[reportArgumentType]
    price.changed("3")  # pyright: ignore[reportArgumentType]
    price.fail(None)  # pyright: ignore[reportArgumentType]
    price.version = 3  # pyright: ignore[reportAttributeAccessIssue]


async def tasks(price: Latest[float]) -> None:
    assert_type(await price.get_async(timeout=1), float)
    assert_type(await price.changed_async(0), tuple[float, int])
    async for each in price:
        assert_type(each, float)
    async for each in price.every(0.5):
        assert_type(each, float)


def made() -> None:
    assert_type(Latest(1), Latest[int])
    assert_type(Latest("x", clock=ManualClock(), name="text"), Latest[str])
    later: Latest[int] = Latest()
    assert_type(later.get(), int)


def coalescing(updates: CoalescingQueue[tuple[str, int]]) -> None:
    updates.put(("a", 1))
    assert_type(updates.get(), tuple[str, int])
    assert_type(updates.statistics().merged, int)
    assert_type(CoalescingQueue(10, key=str), CoalescingQueue[object])
    _: CoalescingQueue[tuple[str, int]] = CoalescingQueue(key=lambda item: item[0], merge=lambda old, new: (old[0], old[1] + new[1]))
    CoalescingQueue(10)  # pyright: ignore[reportCallIssue]
