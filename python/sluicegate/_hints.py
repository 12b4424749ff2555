"""What to write instead of a call with arguments that are not taken, for what is written in Python."""

from __future__ import annotations

import functools

from sluicegate._arguments import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias, TypeVar

    _T = TypeVar("_T")
    _Hint: TypeAlias = str | Callable[[tuple[Any, ...], dict[str, Any]], str]

__all__ = ["BY_COST", "BY_KEY", "HOW_TO_CALL", "hinting", "of_adaptive_rate", "of_fallback", "of_retry"]

#: Those of the methods `by`, and of what decorates with its `__call__`.
BY_KEY = "write `.by(key=...)`, with a function of the call's arguments"
BY_COST = "write `.by(cost=...)`, with an amount or a function of the call's arguments"
HOW_TO_CALL = "to decorate a function, write it after `@`, without parentheses; to call one, write `.call(f, ...)`"


def hinting(**hints: _Hint) -> Callable[[type[_T]], type[_T]]:
    """Decorate a class, so that the TypeError for arguments that a method of it does not take says what to write.

    That is the hint by the method's name, or what `hint(args, kwargs)` returns, which may be "". It comes after Python's own words, as in
    the binding's messages.
    """

    def decorate(cls: type[_T]) -> type[_T]:
        for name, hint in hints.items():
            setattr(cls, name, _hinting(vars(cls)[name], hint))
        return cls

    return decorate


def _hinting(function: Any, hint: _Hint) -> Any:
    @functools.wraps(function)
    def method(self: object, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(self, *args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:  # the body has begun
                raise
            said = str(error).removeprefix(f"{function.__qualname__}()")
        name = function.__name__
        label = type(self).__name__ if name == "__init__" else f"{type(self).__name__}.{name}"
        more = hint if isinstance(hint, str) else hint(args, kwargs)
        raise TypeError(f"{label}(){said}{more and '; '}{more}")

    return method


def _shown(value: Any) -> str:
    """Return an argument as a program has it: a class by its name, and so those in a tuple."""
    if isinstance(value, type):
        return value.__name__
    if type(value) is tuple and value:
        return f"({', '.join(map(_shown, value))}{',' * (len(value) == 1)})"
    return text(value)


def of_retry(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    if len(args) > 1:
        return f"if {_shown(args[1])} is what to repeat, write Retry({_shown(args[0])}, on={_shown(args[1])})"
    if "on" in kwargs:
        return ""
    first = args[0] if args else None
    if isinstance(first, (type, tuple)):
        return f"if {_shown(first)} is what to repeat, write Retry(on={_shown(first)})"
    if callable(first):
        return "to decorate a function, write `@Retry(on=...)`, with the errors to repeat"
    return "say which errors to repeat, as in Retry(3, on=OSError)"


def of_fallback(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    if len(args) > 1:
        return f"if {_shown(args[1])} is what to answer, write Fallback({_shown(args[0])}, on={_shown(args[1])})"
    return f"write Fallback({_shown(kwargs['value'])})" if "value" in kwargs else ""


def of_adaptive_rate(args: tuple[Any, ...], _kwargs: object) -> str:
    return f"if {_shown(args[1])} is the burst, write AdaptiveRate({_shown(args[0])}, burst={_shown(args[1])})" if len(args) > 1 else ""
