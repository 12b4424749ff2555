"""The steps of a description, and the checks of their arguments."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from sluicegate._arguments import count, time_limit
from sluicegate._core import Queue
from sluicegate._functions import is_async_generator, is_coroutine_function, is_generator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    _F = TypeVar("_F", bound=Callable[..., Any])

__all__ = [
    "BUFFER",
    "METHODS",
    "MOST",
    "Step",
    "check_buffer",
    "check_callable",
    "check_generator",
    "check_overflow",
    "check_results",
    "check_timeout",
    "is_async",
    "name_of",
    "options_by_name",
]

#: The methods that make a step, where they are not called as its kind.
METHODS = {"flat": "flat_map", "keyed": "keyed_map", "sink": "for_each"}

#: How many results of a stage may wait for the next one, unless it is stated.
BUFFER = 32

#: The largest buffer and number of workers.
MOST = 2**31


@dataclass(frozen=True)
class Step:
    """One step of a pipeline, as it was described."""

    kind: str
    name: str
    function: Callable[..., Any] | None = None
    is_async: bool = False
    workers: int = 1
    ordered: bool = True
    buffer: int = BUFFER
    timeout: float | None = None
    #: Whatever else the kind of step has.
    options: Any = None


def is_async(f: Any) -> bool:
    """Return whether `f` is an `async def`: its result is awaited, or (of an async generator) iterated over, on an event loop."""
    return is_coroutine_function(f) or is_async_generator(f)


def name_of(f: Any) -> str:
    """Return the name of a function, for the name of its stage."""
    while hasattr(f, "func") and not hasattr(f, "__name__"):  # a partial
        f = f.func
    return getattr(f, "__name__", None) or type(f).__name__


def options_by_name(method: _F) -> _F:
    """Let a method that takes a function, and all else by name, say so of a second argument, which is a number of workers to most users."""

    @functools.wraps(method)
    def checked(self: Any, *args: Any, **options: Any) -> Any:
        if len(args) > 1:
            name, second = method.__name__, args[1]
            hint = f": write {name}(..., workers={second!r})" if isinstance(second, int) and not isinstance(second, bool) else ""
            raise TypeError(f"{name}() takes the function by position and all else by name, not {second!r}{hint}")
        return method(self, *args, **options)

    result: Any = checked
    return result


def check_callable(what: str, name: str, f: Any) -> None:
    """Raise TypeError if `f` cannot be called."""
    if not callable(f):
        hint = ": to put the items there, give its method put" if name == "sink" and callable(getattr(f, "put", None)) else ""
        raise TypeError(f"{what}(): '{name}' must be a callable, not {f!r}{hint}")


def check_generator(what: str, kind: str, f: Any) -> None:
    """Refuse a generator function where nobody would iterate over what it returns, so that none of its code would run.

    A `map` may pass generators on, those of the plain kind.
    """
    if kind == "flat" or not is_generator(f) or (kind in ("map", "keyed") and not is_async_generator(f)):
        return
    hint = ": use flat_map()" if kind in ("map", "keyed") else ""
    raise TypeError(f"{what}() calls its function and does not iterate over what it returns, and {f!r} is a generator function{hint}")


def check_buffer(buffer: Any, least: int = 0) -> int:
    """Return the size of a buffer as an int. Raises ValueError or TypeError if it is none."""
    return count("buffer", buffer, least, MOST)


def check_overflow(n: int, overflow: Any, on_drop: Any) -> None:
    """Raise what a queue raises for a policy that it does not have."""
    if overflow != "block":
        Queue(n, overflow=overflow, on_drop=on_drop)


def check_results(has_results: bool) -> None:
    """Refuse to iterate over what has no results."""
    if not has_results:
        raise TypeError("a pipeline that ends in for_each has no results to iterate over: use its run(), or wait() of a run")


def check_timeout(timeout: Any, f: Any) -> float | None:
    """Return the number of seconds that a call may take. A thread cannot be stopped, so only coroutine functions can have a timeout."""
    if timeout is None:
        return None
    if not is_async(f):
        raise ValueError(f"'timeout' is for coroutine functions, and {name_of(f)!r} is not one: a call in a thread cannot be stopped")
    if is_async_generator(f):
        raise ValueError(
            f"'timeout' is for coroutine functions, and {name_of(f)!r} is an async generator function: limit its waits inside it"
        )
    seconds = time_limit("timeout", timeout)
    if not seconds:
        raise ValueError(f"'timeout' must be more than zero, not {timeout!r}")
    return seconds
