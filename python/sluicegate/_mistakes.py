"""A coroutine function where a plain one is called, or the other way round: told apart from a failure of what was called.

The layers around a call take an error for an answer of the service: they count it, try again or return something else. So such a mistake of
the program's passes them as a `Mistake`, which is no `Exception` and therefore neither a failure nor a success, as a cancellation is. The
outermost method, which the program has called, raises the `TypeError` in it.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CodeType, CoroutineType, GeneratorType

from sluicegate._functions import is_generator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = [
    "CO_GENERATORS",
    "NOT_PLAIN",
    "NOT_RUN",
    "Mistake",
    "awaitable_result",
    "can_be_awaited",
    "check_callable_now",
    "check_result",
    "check_sync",
    "is_a_generator",
    "needs_call",
    "needs_call_async",
    "not_run",
    "refuse_coroutine",
    "refuse_function",
    "say_decorated",
    "sync_result",
]

#: `inspect.CO_COROUTINE`; the module is not imported for it.
CO_COROUTINE = 0x80
#: `CO_GENERATOR` and `CO_ASYNC_GENERATOR`.
CO_GENERATORS = 0x20 | 0x200
#: The functions that do nothing when they are called.
NOT_PLAIN = CO_COROUTINE | CO_GENERATORS

#: What such a function returns.
NOT_RUN = frozenset((CoroutineType, GeneratorType, AsyncGeneratorType))


_IS_COROUTINE_FUNCTION = " is a coroutine function: use `await "


class Mistake(BaseException):
    """It has the `TypeError` that the program gets."""

    def __init__(self, text: str) -> None:
        self._error: TypeError | None = TypeError(text)

    def taken(self) -> TypeError:
        """Return it, once: this object becomes its context, and must not refer back to it."""
        error: Any = self._error
        self._error = None
        return error


def needs_call_async(function: object, what: str) -> str:
    """Return what to say of a coroutine function that is given to `call`."""
    return f"{function!r}{_IS_COROUTINE_FUNCTION}{what}.call_async(...)`"


def needs_call(function: object, result: object, what: str) -> str:
    """Return what to say of a plain function that is given to `call_async`."""
    return f"{function!r} has returned {type(result).__name__!r}, which cannot be awaited: use `{what}.call(...)`"


def check_sync(function: Any, what: str) -> None:
    """Refuse a coroutine function with a TypeError before anything is done for the call."""
    code = getattr(function, "__code__", None)
    if type(code) is not CodeType or code.co_flags & NOT_PLAIN:
        refuse_function(function, what)


def refuse_function(function: Any, what: str) -> None:
    """Refuse with a TypeError what cannot be called, and a function that does nothing when it is called."""
    check_callable_now(function)
    code = getattr(function, "__code__", None)  # which a proxy makes up, as all attributes
    flags = code.co_flags if type(code) is CodeType else 0
    if flags & CO_COROUTINE:
        raise TypeError(needs_call_async(function, what))
    if flags & CO_GENERATORS:
        raise TypeError(is_a_generator(function))


def check_callable_now(function: object) -> None:
    """Refuse what cannot be called, before the layers take that for a failure of the service."""
    if not callable(function):
        raise TypeError(f"what is called must be a function, not {function!r}")


def is_a_generator(function: object) -> str:
    """Return what to say of a generator function where a call is protected."""
    return f"{function!r} is a generator function, and what it has yielded cannot be taken back: decorate what its body calls"


def not_run(function: Any, result: Any, what: str) -> str | None:
    """Return what to say of a result that is in `NOT_RUN`, or None: a plain function may return a generator."""
    if type(result) is CoroutineType:
        result.close()
        return needs_call_async(function, what)
    return is_a_generator(function) if is_generator(function) else None


def sync_result(function: object, result: Any, what: str) -> Any:
    """Return the result of a call, unless nothing has run: the coroutine function was hidden in a partial, say, or a lambda."""
    if type(result) in NOT_RUN and (text := not_run(function, result, what)) is not None:
        raise Mistake(text)
    return result


def refuse_coroutine(function: object, coroutine: CoroutineType[Any, Any, Any]) -> NoReturn:
    """Refuse a coroutine that a decorated `def` has returned."""
    coroutine.close()
    raise TypeError(_has_returned_coroutine(function))


def _has_returned_coroutine(function: object) -> str:
    return (
        f"{function!r} is no coroutine function, and has returned a coroutine, which runs only later: decorate the `async def` itself, or"
        " make what wraps it an `async def` too"
    )


def say_decorated(error: TypeError, function: object) -> None:
    """Have the error of a decorated `def` that has returned a coroutine say so: whoever calls it has no `call_async`."""
    said = error.args[0] if error.args else None
    # The `repr` of a callable object is its own, and is asked for only if ours is the error.
    if isinstance(said, str) and _IS_COROUTINE_FUNCTION in said and said.startswith(f"{function!r}{_IS_COROUTINE_FUNCTION}"):
        error.args = (_has_returned_coroutine(function),)


def check_result(function: object, result: Any) -> Any:
    """Return the result of a plain function that is called for an item, unless it is a coroutine, which nobody would await."""
    if type(result) is CoroutineType:
        result.close()
        raise Mistake(
            f"{function!r} is no coroutine function, and has returned a coroutine, which nobody awaits: pass the `async def` itself, or"
            " make what wraps it an `async def` too"
        )
    return result


def can_be_awaited(result: object) -> bool:
    """Say whether a result is something to await."""
    if type(result) is CoroutineType:
        return True
    from inspect import isawaitable

    return isawaitable(result)


def awaitable_result(function: object, result: Any, what: str) -> Any:
    """Return the result of a call, if it can be awaited."""
    if not can_be_awaited(result):
        raise Mistake(needs_call(function, result, what))
    return result
