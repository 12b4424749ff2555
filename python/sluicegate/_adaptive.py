"""What the adaptive limits have in Python: the decorator, the awaitable methods, and the warning."""

from __future__ import annotations

import functools

from sluicegate._aio import PermitMethods, drive
from sluicegate._core import AdaptiveConcurrency, ConcurrencyPermit
from sluicegate._decorators import guarded
from sluicegate._methods import copy_methods, refuse_with, set_methods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["AdaptiveConcurrency", "ConcurrencyPermit"]


def _warn_unmet(label: str, target: float, median: float, limit: int) -> None:  # pyright: ignore[reportUnusedFunction]  # by the binary
    """Write one line into the log. `logging` is imported here, because it takes longer than the package."""
    import logging

    logging.getLogger("sluicegate").warning(
        "AdaptiveConcurrency%s cannot meet its target of %.3g seconds: the median is %.3g seconds at the lowest limit, %d",
        label,
        target,
        median,
        limit,
    )


class _LimiterMethods:
    def __call__(
        self: Any,
        function: Any = None,
        /,
        *,
        failed: Callable[[Any], object] | None = None,
        priority: int = 0,
        timeout: Any = None,
    ) -> Any:
        """Decorate a function so that each call holds a permit.

        Use `@limiter`, or `@limiter(failed=lambda response: response.status_code == 429)`: `failed` is called with what
        the function returns, and says whether the service could not serve the call. `priority` and `timeout` are those
        of `permit`. The function can be a def, an async def, or a generator function of either kind; a generator's call
        begins with the iteration and ends with it. A call waits as `permit` does, and raises Overloaded if it is refused;
        unless the limiter has `max_waiting`, it is refused at once, whatever `timeout` says.
        """
        self.permit(priority=priority, timeout=timeout)  # refuses invalid arguments now
        permit = functools.partial(self.permit, priority=priority, timeout=timeout)
        return guarded(function, self, permit, failed=failed, waits=True)


def _no_manager(limiter: Any) -> str:
    return (
        f"an {type(limiter).__name__} is not a context manager, because it must tell one call from another: write `with limiter.permit():`"
    )


class _PermitMethods:
    async def acquire_async(self: Any, *, timeout: Any = ...) -> bool:
        """Begin the call, waiting for a slot in the wait queue, from a coroutine, and return True.

        Works as `acquire`. If it is cancelled, nothing has been acquired, and later waiters move up.
        """
        if timeout is ...:
            await self.__aenter__()
        else:
            await drive(self._async_acquire(timeout))
        return True


refuse_with(AdaptiveConcurrency, _no_manager)
set_methods(_LimiterMethods, AdaptiveConcurrency)
copy_methods(PermitMethods, ConcurrencyPermit)
set_methods(_PermitMethods, ConcurrencyPermit)
