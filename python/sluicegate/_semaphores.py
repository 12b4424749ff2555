"""What the semaphores have in Python: the awaitable methods, `async with`, and the asyncio view."""

from __future__ import annotations

from sluicegate._aio import drive
from sluicegate._core import WAIT, BoundedSemaphore, KeyedSemaphore, Semaphore, SemaphoreKey, SemaphorePermit
from sluicegate._methods import set_methods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["AsyncSemaphoreView", "BoundedSemaphore", "KeyedSemaphore", "Semaphore", "SemaphoreKey", "SemaphorePermit"]


class AsyncSemaphoreView:
    """A semaphore with exactly the interface of :class:`asyncio.Semaphore`.

    Unlike ``asyncio.Semaphore`` it is safe from any thread and from any number of event loops, because the semaphore behind it is. A view
    owns nothing: two views of one semaphore are equal, and a view keeps its semaphore alive.
    """

    def __init__(self, semaphore: Semaphore) -> None:
        self._semaphore = semaphore

    @property
    def _value(self) -> int:
        # asyncio.Semaphore has no public name for it, so this one is what its users read.
        return self._semaphore.value

    def locked(self) -> bool:
        """Return True if a permit cannot be acquired at once."""
        return self._semaphore.locked()

    async def acquire(self) -> bool:
        """Acquire a permit, waiting for it in line, and return True."""
        return await self._semaphore.acquire_async()

    def release(self) -> None:
        """Give a permit back. If the semaphore is bounded and none is held: ``ValueError``."""
        self._semaphore.release()

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *_exc: object) -> None:
        self.release()

    def __eq__(self, other: object) -> bool:
        return other._semaphore is self._semaphore if isinstance(other, AsyncSemaphoreView) else NotImplemented

    def __hash__(self) -> int:
        return hash((AsyncSemaphoreView, id(self._semaphore)))

    def __reduce__(self) -> Any:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object: it is a view of a semaphore, which has waiters")

    def __repr__(self) -> str:
        # asyncio.Semaphore's own wording, for whoever reads it in a log or a debugger.
        now = self._semaphore.statistics()
        state = "locked" if now.value == 0 or now.waiters else f"unlocked, value:{now.value}"
        waiters = f", waiters:{now.waiters}" if now.waiters else ""
        return f"<{type(self._semaphore).__name__}.async_semaphore object at {id(self):#x} [{state}{waiters}]>"


class _SemaphoreMethods:
    async def acquire_async(self: Any, n: int = 1, *, timeout: float | None = None) -> bool:
        """Acquire `n` permits, waiting for them in line, from a coroutine, and return True.

        With `timeout` it waits for at most that many seconds, and returns False if they could not be had. Does not
        suspend when they are free, except that after 128 operations in a row the loop gets a turn.

        Raises ValueError if `n` is more than one and more than there are in all; ValueError, TypeError or OverflowError
        for a bad argument.

        Fairness: strictly in the order of arrival, threads and tasks in one line. Cancelled, it has acquired nothing,
        and those behind it go earlier.
        """
        if self._try_acquire(n, timeout) is not WAIT:
            return True
        return await drive(self._async_acquire(n, timeout))

    async def __aenter__(self: Any) -> bool:
        """Acquire one permit, waiting for it in line, from a coroutine."""
        return await self.acquire_async()

    async def __aexit__(self: Any, *_exc: object) -> None:
        """Release one permit."""
        self.release()

    @property
    def async_semaphore(self: Any) -> AsyncSemaphoreView:
        """The same semaphore with exactly `asyncio.Semaphore`'s interface."""
        return AsyncSemaphoreView(self)


class _PermitMethods:
    async def __aenter__(self: Any) -> Any:
        await drive(self._async_acquire())
        return self

    async def __aexit__(self: Any, *_exc: object) -> None:
        self.__exit__()


class _KeyedMethods:
    def acquire(self: Any, key: Any, blocking: bool = True, timeout: float | None = None, n: int = 1) -> bool:
        """Acquire `n` permits of the key, waiting for them in line, and return True. As `Semaphore.acquire`."""
        return self.key(key).acquire(blocking, timeout, n)

    async def acquire_async(self: Any, key: Any, n: int = 1, *, timeout: float | None = None) -> bool:
        """Acquire `n` permits of the key, waiting for them in line, from a coroutine. As `Semaphore.acquire_async`."""
        return await self.key(key).acquire_async(n, timeout=timeout)

    def try_acquire(self: Any, key: Any, n: int = 1) -> bool:
        """Acquire `n` permits of the key if they are free and nobody waits. As `Semaphore.try_acquire`."""
        return self.key(key).try_acquire(n)

    def release(self: Any, key: Any, n: int = 1) -> None:
        """Give `n` permits of the key back. Raises ValueError if fewer are held. As `Semaphore.release`."""
        self.key(key).release(n)

    def permit(self: Any, key: Any, n: int = 1, *, timeout: float | None = None) -> SemaphorePermit:
        """Return a context manager that holds `n` permits of the key while its block runs. As `Semaphore.permit`."""
        return self.key(key).permit(n, timeout=timeout)


set_methods(_SemaphoreMethods, Semaphore)
Semaphore.__enter__ = Semaphore.acquire  # as the standard library's
set_methods(_KeyedMethods, KeyedSemaphore)
set_methods(_PermitMethods, SemaphorePermit)
