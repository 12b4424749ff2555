"""Functions that acquire as many permits as there are at the moment, and wait only for the first."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sluicegate._core import Semaphore

__all__ = ["acquire_more", "acquire_some", "acquire_some_async"]


def acquire_some(permits: Semaphore, most: int) -> int:
    """Acquire between 1 and `most` permits, as many as there are. Wait if there is none. Return how many."""
    if most > 1 and most <= permits.size and permits.try_acquire(most):
        return most
    permits.acquire()
    return 1 if most == 1 else 1 + acquire_more(permits, most - 1)


async def acquire_some_async(permits: Semaphore, most: int) -> int:
    """As `acquire_some`, in a task."""
    await permits.acquire_async()
    return 1 if most == 1 else 1 + acquire_more(permits, most - 1)


def acquire_more(permits: Semaphore, most: int) -> int:
    """Acquire up to `most` further permits without waiting. Return how many."""
    more = min(most, permits.value)
    return more if more > 0 and permits.try_acquire(more) else 0
