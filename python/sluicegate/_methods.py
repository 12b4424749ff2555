"""Methods written in Python for classes made in Rust."""

from __future__ import annotations

import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

__all__ = ["copy_methods", "refuse_to_decorate", "refuse_with", "refuses_calls", "set_methods"]

_PLUMBING = {"__module__", "__qualname__", "__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__"}


def set_methods(methods: type, target: type) -> None:
    """Set what `methods` and its bases define on `target`, under its name."""
    for source in reversed(methods.__mro__[:-1]):
        for name, member in vars(source).items():
            if name in _PLUMBING:
                continue
            function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
            if hasattr(function, "__qualname__"):
                function.__qualname__ = f"{target.__name__}.{name}"
                function.__module__ = "sluicegate"
            setattr(target, name, member)


def copy_methods(methods: type, target: type) -> None:
    """As `set_methods`, but with copies of the functions, because two classes share the source."""
    copies: dict[str, Any] = {}
    for name, member in vars(methods).items():
        if isinstance(member, types.FunctionType):
            copy = types.FunctionType(member.__code__, member.__globals__, name, member.__defaults__, member.__closure__)
            copy.__kwdefaults__ = member.__kwdefaults__
            copy.__doc__ = member.__doc__
            copy.__annotations__ = dict(member.__annotations__)
            copies[name] = copy
    set_methods(type("_Copies", (), copies), target)


def refuse_with(target: type, message: Callable[[Any], str]) -> None:
    """Let `with` and `async with` of a `target` raise a TypeError with the text of `message(object)`, which says what to write instead.

    Without these methods Python's own error would only say that one of them is missing.
    """

    def refuse(self: object, *_exc: object) -> NoReturn:
        raise TypeError(message(self))

    for name in ("__enter__", "__exit__", "__aenter__", "__aexit__"):
        setattr(target, name, refuse)


def refuse_to_decorate(target: type, message: Callable[[Any], str]) -> None:
    """Let a `target` that is called, as a decorator is, raise a TypeError with the text of `message(object)`.

    The stub leaves `__call__` out, so that type checkers find the mistake too. `_refuses` says to what takes functions that this is none.
    """

    def refuse(self: object, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError(message(self))

    refuse.__dict__["_refuses"] = True
    target.__call__ = refuse


def refuses_calls(value: Any) -> bool:
    """Return whether the value can be called only to be told what to write instead."""
    return getattr(getattr(type(value), "__call__", None), "_refuses", False) is True  # noqa: B004 - not whether there is one, but which
