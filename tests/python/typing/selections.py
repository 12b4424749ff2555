"""What a type checker sees of selections. Checked by `make check-types` and never run."""

from typing_extensions import assert_type

from sluicegate import (
    AckChannel,
    CoalescingQueue,
    CreditChannel,
    Delivery,
    KeyedSemaphore,
    Latest,
    PriorityQueue,
    Queue,
    RateLimits,
    Ready,
    Selectable,
    Semaphore,
    SimpleQueue,
    TokenBucket,
    select,
    select_async,
)


def operations(
    numbers: Queue[int],
    simple: SimpleQueue[bytes],
    channel: CreditChannel[str],
    deliveries: AckChannel[str],
    latest: Latest[float],
) -> None:
    assert_type(numbers.getting(), Selectable[int])
    assert_type(numbers.putting(1), Selectable[None])
    numbers.putting("1")  # type: ignore[arg-type]
    assert_type(simple.getting(), Selectable[bytes])
    assert_type(channel.receiver.receiving(), Selectable[str])
    assert_type(channel.sender.sending("x"), Selectable[None])
    assert_type(deliveries.receiver.receiving(), Selectable[Delivery[str]])
    assert_type(latest.changing(3), Selectable[tuple[float, int]])
    assert_type(PriorityQueue[int]().getting(), Selectable[int])
    assert_type(CoalescingQueue[int](key=str).getting(), Selectable[int])
    wide: list[Selectable[int | str]] = [numbers.getting(), channel.receiver.receiving()]
    assert_type(select(*wide), Ready[int | str])


def threads(numbers: Queue[int], words: Queue[str], permits: Semaphore, bucket: TokenBucket, limits: RateLimits) -> None:
    assert_type(select(numbers.getting()), Ready[int])
    ready = select(numbers.getting(), words.getting(), timeout=1)
    assert_type(ready, Ready[int | str])
    index, value = ready
    assert_type(index, int)
    assert_type(value, int | str)
    assert_type(ready.index, int)
    assert_type(ready.value, int | str)
    assert_type(select(words.getting(), default=None), Ready[str | None])
    acquired: bool = select(permits.acquiring(2), bucket.acquiring(0.5), limits.acquiring(requests=1)).value
    assert acquired
    KeyedSemaphore(1, max_keys=5).key("a").acquiring()
    select(numbers)  # type: ignore[call-overload]
    select(numbers.getting(), timeout=1, default=2)  # type: ignore[call-overload]


async def tasks(numbers: Queue[int], words: Queue[str]) -> None:
    assert_type(await select_async(numbers.getting(), words.getting()), Ready[int | str])
    assert_type(await select_async(numbers.getting(), default="none"), Ready[int | str])
