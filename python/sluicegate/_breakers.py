"""What the circuit breakers have in Python: the decorators, `async with`, and the line in the log."""

from __future__ import annotations

from sluicegate._arguments import key_function
from sluicegate._core import BreakerKey, CircuitBreaker, CircuitPermit, KeyedBreaker
from sluicegate._decorators import guarded
from sluicegate._hints import BY_KEY, hinting
from sluicegate._methods import refuse_to_decorate, refuse_with, set_methods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

__all__ = ["BreakerKey", "CircuitBreaker", "CircuitPermit", "KeyedBreaker"]


def _log_change(  # pyright: ignore[reportUnusedFunction]  # called by the binary
    label: str, old: str, new: str, why: str, open_for: float | None, is_open: bool
) -> None:
    """Write the one line of a change into the log. `logging` is imported here, because it takes longer than the package."""
    import logging

    level = logging.WARNING if is_open else logging.INFO
    lasts = "" if open_for is None else f" (for {open_for:.1f} seconds)"
    logging.getLogger("sluicegate").log(level, "circuit breaker%s: %s -> %s: %s%s", label, old, new, why, lasts)


class _BreakerMethods:
    def __call__(self: Any, function: Any = None, /, *, failed: Callable[[Any], object] | None = None) -> Any:
        """Decorate a function so that each call goes through the breaker.

        Use `@breaker`, or `@breaker(failed=lambda response: response.status_code >= 500)`: `failed` is called with what
        the function returns, and says whether that is a failure. The function can be a def, an async def, or a generator
        function of either kind; a generator's call begins with the iteration and ends with it. A call raises
        CircuitOpen if the breaker does not let it through.
        """
        return guarded(function, self, self.permit, failed=failed)


def _no_manager(breaker: Any) -> str:
    call = "breaker.permit(key)" if isinstance(breaker, KeyedBreaker) else "breaker.permit()"
    return f"a {type(breaker).__name__} is not a context manager, because it must tell one call from another: write `with {call}:`"


class _PermitMethods:
    async def __aenter__(self: Any) -> Any:
        return self.__enter__()

    async def __aexit__(
        self: Any, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, exc_value, traceback)


@hinting(by=BY_KEY)
class _KeyedMethods:
    def state(self: Any, key: Any) -> str:
        """Return the state in which the next call with the key finds its breaker. Works as `CircuitBreaker.state`."""
        return self.key(key).state

    def retry_after(self: Any, key: Any) -> float:
        """Return the seconds until a call with the key may be let through. Works as `CircuitBreaker.retry_after`."""
        return self.key(key).retry_after

    def force_open(self: Any, key: Any, for_: Any = None) -> None:
        """Refuse every call with the key from now on. Works as `CircuitBreaker.force_open`."""
        self.key(key).force_open(for_)

    def disable(self: Any, key: Any) -> None:
        """Let every call with the key through from now on, and only count. Works as `CircuitBreaker.disable`."""
        self.key(key).disable()

    def reset(self: Any, key: Any) -> None:
        """Close the breaker of the key, as if it were new. Works as `CircuitBreaker.reset`."""
        self.key(key).reset()

    def by(self: Any, *, key: Any, failed: Callable[[Any], object] | None = None) -> Any:
        """Decorate a function so that each call goes through the breaker of a key that depends on the call.

        Use `@per_host.by(key=lambda url: urlsplit(url).hostname)`: `key` is called with the arguments of the call.
        Otherwise works as the decorator of a `CircuitBreaker`; a call also raises what `key` raises.
        """
        return guarded(None, self, self.permit, failed=failed, key=key_function(key, "breaker"))


def _no_decorator(_breaker: object) -> str:
    return "a KeyedBreaker decorates a function with a key: write `@breakers.by(key=...)`, or `@breakers.key(k)` for one key"


for _class in (CircuitBreaker, KeyedBreaker):
    refuse_with(_class, _no_manager)
set_methods(_BreakerMethods, CircuitBreaker)
set_methods(_PermitMethods, CircuitPermit)
set_methods(_KeyedMethods, KeyedBreaker)
refuse_to_decorate(KeyedBreaker, _no_decorator)
del _class
