"""Decorators of functions of every kind: `def`, `async def`, and generators of both kinds; partials and callable objects too.

`before` runs something before the body of a function, `around` holds a permit while it runs, and `over_calls` lets an object make the
call. A `def` that returns a coroutine, as an ordinary decorator around an `async def` does, is refused by all of them when it is called: it
has only made the coroutine by then.
"""

from __future__ import annotations

import functools
from types import CoroutineType

from sluicegate._core import _refuse_coroutine_function
from sluicegate._functions import code_of, is_coroutine, is_coroutine_function, is_generator
from sluicegate._mistakes import is_a_generator, refuse_coroutine, say_decorated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "around",
    "before",
    "decorate",
    "guarded",
    "over_calls",
]


def decorate(function: Any, wrap: Callable[[Any], Any], refusal: Callable[[object], str]) -> Any:
    """Wrap `function`; without one, return the decorator. What is no function is refused with that text."""

    def decorated(function: Any) -> Any:
        if not callable(function) or isinstance(function, type):
            raise TypeError(refusal(function))
        return wrap(function)

    return decorated if function is None else decorated(function)


def over_calls(layer: Any, function: Any, run: Callable[[Any, Any, Any], Any] | None = None) -> Any:
    """Return `function` called by `layer.call`, or by `layer.call_async` if it is a coroutine function.

    `run(function, args, kwargs)` does what `layer.call` does, and costs less.
    """
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"{layer!r} can decorate only a function, not {function!r}")
    if is_generator(function):
        raise TypeError(is_a_generator(function))
    if is_coroutine_function(function):
        call_async = layer.call_async

        @functools.wraps(function)
        async def called_coroutine(*args: Any, **kwargs: Any) -> Any:
            return await call_async(function, *args, **kwargs)

        return called_coroutine
    if run is not None:

        @functools.wraps(function)
        def called_by_run(*args: Any, **kwargs: Any) -> Any:
            try:
                return run(function, args, kwargs)
            except TypeError as error:
                say_decorated(error, function)
                raise

        return called_by_run
    call = layer.call

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(function, *args, **kwargs)
        except TypeError as error:
            say_decorated(error, function)
            raise

    return called


class _Acquired:
    """`async with`: something is awaited on entry, and nothing happens on exit."""

    def __init__(self, awaitable: Any) -> None:
        self._awaitable: Any = awaitable

    async def __aenter__(self) -> None:
        await self._awaitable

    async def __aexit__(self, *_exc: object) -> None:
        return None


def _relaying(function: Callable[..., Any], scope: Callable[..., Any]) -> Callable[..., Any]:
    """Return an asynchronous generator function as `function`, whose iteration is inside `async with scope(...)`."""

    @functools.wraps(function)
    async def relaying(*args: Any, **kwargs: Any) -> Any:
        async with scope(*args, **kwargs):
            generator = function(*args, **kwargs)
            try:
                sent = None
                item = await anext(generator)
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - it goes on into the generator
                        item = await generator.athrow(error)
                    else:
                        item = await generator.asend(sent)
            except StopAsyncIteration:
                return
            finally:
                await generator.aclose()

    return relaying


def before(function: Callable[..., Any], acquire: Callable[..., Any], acquire_async: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` with `acquire` or `acquire_async` called before its body runs: of a generator when iteration begins.

    Both are called with the arguments of each call.
    """
    import inspect

    code = code_of(function)
    if inspect.isasyncgenfunction(code):
        return _relaying(function, lambda *args, **kwargs: _Acquired(acquire_async(*args, **kwargs)))

    if is_coroutine(code):

        @functools.wraps(function)
        async def limited_coroutine(*args: Any, **kwargs: Any) -> Any:
            await acquire_async(*args, **kwargs)
            return await function(*args, **kwargs)

        return limited_coroutine

    if inspect.isgeneratorfunction(code):

        @functools.wraps(function)
        def limited_generator(*args: Any, **kwargs: Any) -> Any:
            acquire(*args, **kwargs)
            return (yield from function(*args, **kwargs))

        return limited_generator

    @functools.wraps(function)
    def limited(*args: Any, **kwargs: Any) -> Any:
        acquire(*args, **kwargs)
        result = function(*args, **kwargs)
        if type(result) is CoroutineType:
            refuse_coroutine(function, result)
        return result

    return limited


def _nothing() -> None:
    return None


def around(
    function: Callable[..., Any],
    permit: Callable[..., Any],
    key: Callable[..., Any] | None = None,
    tell: Callable[[Any, Any], None] | None = None,
    *,
    waits: bool = False,
) -> Callable[..., Any]:
    """Return `function` run inside `with permit()`: of a generator the whole iteration. Entering it may wait only if `waits` is true.

    With `key` it is `with permit(key(...))`, of the arguments of each call. `tell(held, result)` is called with what the function returns.
    """
    import inspect

    code = code_of(function)
    if inspect.isasyncgenfunction(code):
        return _relaying(function, lambda *args, **kwargs: permit() if key is None else permit(key(*args, **kwargs)))

    if is_coroutine(code) and waits:

        @functools.wraps(function)
        async def admitted_coroutine(*args: Any, **kwargs: Any) -> Any:
            async with permit() if key is None else permit(key(*args, **kwargs)) as held:
                result = await function(*args, **kwargs)
                if tell is not None:
                    tell(held, result)
                return result

        return admitted_coroutine

    if is_coroutine(code):

        @functools.wraps(function)
        async def guarded_coroutine(*args: Any, **kwargs: Any) -> Any:
            with permit() if key is None else permit(key(*args, **kwargs)) as held:
                result = await function(*args, **kwargs)
                if tell is not None:
                    tell(held, result)
                return result

        return guarded_coroutine

    if inspect.isgeneratorfunction(code):

        @functools.wraps(function)
        def guarded_generator(*args: Any, **kwargs: Any) -> Any:
            with permit() if key is None else permit(key(*args, **kwargs)):
                return (yield from function(*args, **kwargs))

        return guarded_generator

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with permit() if key is None else permit(key(*args, **kwargs)) as held:
            result = function(*args, **kwargs)
            if type(result) is CoroutineType:
                getattr(held, "ignore", _nothing)()  # a semaphore's permit has no results
                refuse_coroutine(function, result)
            if tell is not None:
                tell(held, result)
            return result

    return guarded


def guarded(
    function: Any,
    owner: object,
    permit: Callable[..., Any],
    *,
    failed: Callable[[Any], object] | None = None,
    key: Callable[..., Any] | None = None,
    waits: bool = False,
) -> Any:
    """Decorate `function` for `owner`: each call holds a `permit`, which is told of a failure if `failed(result)` says so."""
    if failed is not None and not callable(failed):
        raise TypeError(f"'failed' must be a function of the result or None, not {failed!r}")
    if failed is not None:
        _refuse_coroutine_function("failed", failed)

    def tell(held: Any, result: Any) -> None:
        try:
            has_failed = failed is not None and failed(result)
        except BaseException:
            held.ignore()  # the mistake is not the service's
            raise
        if has_failed:
            held.failure()

    def wrap(function: Any) -> Any:
        if failed is not None and is_generator(function):
            raise TypeError(f"'failed' is for functions that return a result, and {function!r} returns a generator")
        return around(function, permit, key, None if failed is None else tell, waits=waits)

    return decorate(function, wrap, lambda given: f"{owner!r} can decorate only a function, not {given!r}")
