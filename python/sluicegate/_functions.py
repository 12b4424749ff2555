"""What calling a function gives: a result, something to await, or a generator. Partials and callable objects are looked through."""

from __future__ import annotations

import functools
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["code_of", "is_async_generator", "is_coroutine", "is_coroutine_function", "is_generator"]


def code_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """What runs when `function` is called: of a partial what it calls, of an object its `__call__`."""
    import inspect

    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.iscoroutinefunction(function) or _is_marked(function):
        return function
    return type(function).__call__


def _is_marked(function: Any) -> bool:
    """Cython marks its coroutine functions with asyncio's own marker; `inspect` does not know them."""
    marker = getattr(sys.modules.get("asyncio.coroutines"), "_is_coroutine", None)
    return marker is not None and getattr(function, "_is_coroutine", None) is marker


def is_coroutine(code: Callable[..., Any]) -> bool:
    import inspect

    return inspect.iscoroutinefunction(code) or _is_marked(code)


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Say whether a call returns something to await."""
    return is_coroutine(code_of(function))


def is_async_generator(function: Callable[..., Any]) -> bool:
    """Say whether a call returns an asynchronous generator."""
    import inspect

    return inspect.isasyncgenfunction(code_of(function))


def is_generator(function: Callable[..., Any]) -> bool:
    """Say whether a call returns a generator, of either kind."""
    import inspect

    code = code_of(function)
    return inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code)
