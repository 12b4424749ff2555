"""Arguments of what is written in Python, taken and refused as the binding's are."""

from __future__ import annotations

import operator

from sluicegate._core import Semaphore, _duration, _refuse_coroutine_function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = [
    "check_callable",
    "check_flag",
    "check_instance",
    "check_name",
    "check_several",
    "count",
    "iterator_of",
    "key_function",
    "patience",
    "text",
    "time_limit",
]

#: An int with more digits is not written out in a message, but for its beginning.
_MOST_DIGITS, _SHOWN_DIGITS = 40, 20


def check_instance(name: str, value: Any, kinds: tuple[type, ...], what: str, hint: Callable[[str, Any], str] | None = None) -> None:
    """Raise TypeError unless the value is None or one of these. `hint(name, value)` returns what to write instead, or ""."""
    if value is not None and not isinstance(value, kinds):
        more = "" if hint is None else hint(name, value)
        raise TypeError(f"'{name}' must be {what} or None, not {text(value)}{more and '; '}{more}")


def check_made(value: Any, kinds: tuple[type, ...], cls: str, how: str) -> None:
    """Raise TypeError unless the value is what a function of the package passes to a class that it makes an object of."""
    if not isinstance(value, kinds):
        raise TypeError(f"a {cls} is made by {how}, not from {text(value)}")


def check_callable(name: str, value: Any, what: str) -> None:
    """Raise TypeError unless the value is None or can be called."""
    if value is not None and not callable(value):
        raise TypeError(f"'{name}' must be {what} or None, not {text(value)}")


def key_function(key: Any, of: str) -> Callable[..., Any]:
    """Return a function that gives the key of a call, or raises TypeError if that is None; `of` is what `key(k)` returns.

    Raises TypeError unless the value is a function that can do so.
    """
    if not callable(key):
        raise TypeError(f"'key' must be a function of the call's arguments, not {text(key)}; key(k) is the {of} of one key")
    _refuse_coroutine_function("key", key)

    def key_of(*args: Any, **kwargs: Any) -> Any:
        found = key(*args, **kwargs)
        if found is None:
            raise TypeError(f"'key' has returned None: {text(key)} must return a key for each call")
        return found

    return key_of


def check_flag(name: str, value: Any) -> bool:
    """Return the value, which must be a bool: a string such as "no" would count as true."""
    if not isinstance(value, bool):
        raise TypeError(f"'{name}' must be True or False, got {text(value)}")
    return value


def iterator_of(caller: str, iterable: Any, awaited: str) -> Iterator[Any]:
    """Return an iterator, or say which function takes an async iterable."""
    if hasattr(iterable, "__aiter__") and not hasattr(iterable, "__iter__"):
        raise TypeError(f"{caller}() takes an iterable, and {text(iterable)} is an async iterable: use {awaited}()")
    return iter(iterable)


def check_name(name: Any) -> str | None:
    """Return the name of an object that is written in Python. It is refused as every object of the binding refuses it."""
    return Semaphore(name=name).name


def check_several(name: str, value: Any, what: str) -> None:
    """Raise TypeError unless the value is an iterable, and more than one text."""
    if isinstance(value, (str, bytes)) or not hasattr(type(value), "__iter__"):
        shown = f"the {type(value).__name__} {value!r}" if isinstance(value, (str, bytes)) else text(value)
        raise TypeError(f"'{name}' must be several {what}, not {shown}")


def count(name: str, value: Any, least: int, most: int | None = None, *, not_an_int: str = "", too_small: str = "") -> int:
    """Return any integer that is one for `operator.index` as an int, or say what is wrong with it. `True` is none.

    Where the standard library has a sentence for it, `not_an_int` and `too_small` are its beginning.
    """
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        sentence = not_an_int or f"'{name}' must be an int of at least {least}"
        raise TypeError(f"{sentence}, not {text(value)} ({type(value).__name__})")
    number = operator.index(value)
    if number < least:
        sentence = too_small or f"'{name}' must be at least {least}"
        raise ValueError(f"{sentence}, not {text(number)}")
    if most is not None and number > most:
        raise ValueError(f"'{name}' must be at most {most}, not {text(number)}")
    return number


def time_limit(name: str, value: Any) -> float | None:
    """Return the seconds of a timeout of our own. None never ends; a negative one is refused, as by the methods of queues."""
    return None if value is None else _duration(name, value)


def patience(name: str, value: Any) -> float | None:
    """Return the seconds of a timeout that the standard library has too: a negative one is over at once, and None never."""
    if value is None:
        return None
    if hasattr(type(value), "total_seconds"):
        value = value.total_seconds()
    elif hasattr(type(value), "__float__"):
        value = float(value)
    return 0.0 if type(value) is float and value < 0 else _duration(name, value)


def text(value: Any) -> str:
    try:
        shown = repr(value)
    except Exception:  # noqa: BLE001 - a repr of somebody else's, or an int with too many digits
        return "<unprintable>"
    digits = len(shown.lstrip("-"))
    if type(value) is int and digits > _MOST_DIGITS:  # as the binding's messages do it
        return f"{shown[: len(shown) - digits + _SHOWN_DIGITS]}... ({digits} digits)"
    return shown
