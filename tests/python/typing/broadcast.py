"""What a type checker sees of a broadcast. Checked by `make check-types` and never run."""

from typing_extensions import assert_type

from sluicegate import Broadcast, BroadcastStatistics, Queue, Ready, Selectable, Subscriber, SubscriberStatistics, select


def threads(prices: Broadcast[float], words: Queue[str]) -> None:
    mine = prices.subscribe(100, overflow="block")
    assert_type(mine, Subscriber[float])
    assert_type(prices.publish(1.5), int)
    assert_type(prices.publish_nowait(1), int)
    prices.publish("1.5")  # type: ignore[arg-type]
    prices.subscribe(1, overflow="reject")  # type: ignore[arg-type]
    assert_type(mine.get(), float)
    assert_type(mine.get_nowait(), float)
    assert_type(mine.get_many(10), list[float])
    assert_type(mine.getting(), Selectable[float])
    assert_type(prices.publishing(1.5), Selectable[int])
    assert_type(select(mine.getting(), words.getting()), Ready[float | str])
    assert_type(mine.missed, int)
    assert_type(mine.broadcast, Broadcast[float])
    assert_type(prices.statistics(), BroadcastStatistics)
    assert_type(mine.statistics(), SubscriberStatistics)
    with mine as same:
        assert_type(same, Subscriber[float])
    assert_type(list(mine), list[float])
    prices.fail(ValueError())


async def tasks(prices: Broadcast[float]) -> None:
    assert_type(await prices.publish_async(1.5, timeout=1), int)
    async with prices.subscribe(10) as mine:
        assert_type(await mine.get_async(), float)
        assert_type(await mine.get_many_async(10), list[float])
        assert_type([price async for price in mine], list[float])
