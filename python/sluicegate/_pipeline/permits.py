"""Permits, acquired several at a time: as many as there are, so that nobody waits for more than one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sluicegate._core import Semaphore

__all__ = ["acquire_more", "acquire_some", "acquire_some_async"]


def acquire_some(permits: Semaphore, most: int) -> int:
    """Acquire 1 to `most` permits: what there is, but at least one."""
    if most > 1 and most <= permits.size and permits.try_acquire(most):
        return most
    permits.acquire()
    return 1 if most == 1 else 1 + acquire_more(permits, most - 1)


async def acquire_some_async(permits: Semaphore, most: int) -> int:
    """Acquire 1 to `most` permits: what there is, but at least one."""
    await permits.acquire_async()
    return 1 if most == 1 else 1 + acquire_more(permits, most - 1)


def acquire_more(permits: Semaphore, most: int) -> int:
    """Acquire up to `most` further permits without waiting. Return how many."""
    more = min(most, permits.value)
    return more if more > 0 and permits.try_acquire(more) else 0
