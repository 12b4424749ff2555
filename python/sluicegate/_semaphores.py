"""What the semaphores have in Python: the awaitable methods, `async with`, and the asyncio view."""

from __future__ import annotations

from sluicegate._aio import PermitMethods, drive
from sluicegate._arguments import key_function
from sluicegate._core import (
    WAIT,
    BoundedSemaphore,
    KeyedSemaphore,
    Semaphore,
    SemaphoreKey,
    SemaphorePermit,
)
from sluicegate._decorators import around, decorate
from sluicegate._hints import BY_KEY, hinting
from sluicegate._methods import copy_methods, refuse_to_decorate, refuse_with, set_methods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["AsyncSemaphoreView", "BoundedSemaphore", "KeyedSemaphore", "Semaphore", "SemaphoreKey", "SemaphorePermit"]


class AsyncSemaphoreView:
    """A semaphore with exactly the interface of :class:`asyncio.Semaphore`.

    Unlike ``asyncio.Semaphore`` it can be used from any thread and from any number of event loops. Two views of one semaphore are equal,
    and a view keeps its semaphore alive.
    """

    def __init__(self, semaphore: Semaphore) -> None:
        self._semaphore = semaphore

    @property
    def _value(self) -> int:
        # asyncio.Semaphore has no public name for it, so this one is what its users read.
        return self._semaphore.value

    def locked(self) -> bool:
        """Return True if a permit cannot be acquired immediately."""
        return self._semaphore.locked()

    async def acquire(self) -> bool:
        """Acquire a permit, waiting until it is free, and return True."""
        return await self._semaphore.acquire_async()

    def release(self) -> None:
        """Release a permit. Raises ``ValueError`` if the semaphore is bounded and no permit is held."""
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
        # asyncio.Semaphore's own wording, which people know from logs and debuggers.
        now = self._semaphore.statistics()
        state = "locked" if now.value == 0 or now.waiters else f"unlocked, value:{now.value}"
        waiters = f", waiters:{now.waiters}" if now.waiters else ""
        return f"<{type(self._semaphore).__name__}.async_semaphore object at {id(self):#x} [{state}{waiters}]>"


class _SemaphoreMethods:
    async def acquire_async(self: Any, n: int = 1, *, timeout: float | None = None) -> bool:
        """Acquire `n` permits, waiting until they are free, from a coroutine, and return True.

        Return False if they did not become free within `timeout` seconds. If the permits are free, the coroutine does
        not suspend, except that after 128 operations in a row other tasks of the loop get to run.

        Raises ValueError if `n` is more than one and more than the total number of permits; ValueError, TypeError or
        OverflowError for an invalid argument.

        Fairness: strictly first come, first served; threads and tasks share one wait queue. If it is cancelled, nothing
        has been acquired, and later waiters move up.
        """
        if self._try_acquire(n, timeout) is not WAIT:
            return True
        return await drive(self._async_acquire(n, timeout))

    async def __aenter__(self: Any) -> bool:
        """Acquire a permit, waiting until it is free, from a coroutine."""
        return await self.acquire_async()

    async def __aexit__(self: Any, *_exc: object) -> None:
        """Release a permit."""
        self.release()

    @property
    def async_semaphore(self: Any) -> AsyncSemaphoreView:
        """This semaphore with exactly the interface of `asyncio.Semaphore`."""
        return AsyncSemaphoreView(self)


@hinting(by=BY_KEY)
class _KeyedMethods:
    async def acquire_async(self: Any, key: Any, n: int = 1, *, timeout: float | None = None) -> bool:
        """Acquire `n` permits of the key, waiting until free, from a coroutine. Works as `Semaphore.acquire_async`."""
        return await self.key(key).acquire_async(n, timeout=timeout)

    def by(self: Any, *, key: Any, n: int = 1, timeout: float | None = None) -> Any:
        """Decorate a function so that each call holds `n` permits of a key that depends on the call.

        Use `@per_host.by(key=lambda url: urlsplit(url).hostname)`: `key` is called with the arguments of the call. A
        `def`, an `async def` and both kinds of generators can be decorated; a generator holds the permits until its
        iteration ends. A call waits in the wait queue of the key, at most `timeout` seconds; it also raises what `key`
        raises, and what entering a `permit` raises.
        """
        key_of = key_function(key, "semaphore")
        _ANY.permit(n, timeout=timeout)  # checks them

        def permit(of: Any) -> SemaphorePermit:
            return self.permit(of, n, timeout=timeout)

        def wrap(function: Any) -> Any:
            return around(function, permit, key_of, waits=True)

        return decorate(None, wrap, lambda given: f"{self!r} can decorate only a function, not {given!r}")


#: It checks the arguments of permits.
_ANY = Semaphore()


def _no_decorator(_semaphore: object) -> str:
    return "a KeyedSemaphore decorates a function with a key: write `@semaphore.by(key=...)`"


def _no_manager(_semaphore: object) -> str:
    return "a KeyedSemaphore is not a context manager: write `with semaphore.permit(key):`, or `with semaphore.key(k):`"


set_methods(_SemaphoreMethods, Semaphore)
Semaphore.__enter__ = Semaphore.acquire  # as the standard library's
set_methods(_KeyedMethods, KeyedSemaphore)
refuse_with(KeyedSemaphore, _no_manager)
refuse_to_decorate(KeyedSemaphore, _no_decorator)
copy_methods(PermitMethods, SemaphorePermit)
