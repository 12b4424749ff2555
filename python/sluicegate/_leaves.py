"""What an exception stands for: itself, or the members of a group. One rule for all that looks at the error of a call.

A breaker and an `AdaptiveConcurrency` apply it in the binding (`failures.rs`), from which `leaves` comes. The members of a group are looked
at one by one, those of groups in it too; the class of the group counts where classes are given, and a function is called with the members
alone. Cancellations, that of a `concurrent.futures.Future` among them, say nothing.

| object                                                     | a group is meant if                                         |
|------------------------------------------------------------|-------------------------------------------------------------|
| `CircuitBreaker`, `AdaptiveConcurrency`, `AdaptiveRate`    | one of its members is: one failure of the service is enough |
| `Retry`, `Fallback`                                        | all of its members are: otherwise an error would be hidden  |
"""

from __future__ import annotations

import sys

from sluicegate._arguments import text
from sluicegate._core import _leaves as leaves
from sluicegate._core import _refuse_coroutine_function
from sluicegate._retry_after import retry_after_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["answer_of", "are_named", "attribute_of", "condition", "leaves", "longer", "longest_retry_after"]


def attribute_of(error: object, name: str, default: Any = None) -> Any:
    """Return an attribute of an error. It is somebody else's: what cannot be read is absent."""
    try:
        return getattr(error, name, default)
    except Exception:  # noqa: BLE001 - a property's
        return default


def longer(one: float | None, other: float | None) -> float | None:
    """Return the longer of two times, each of which may be unknown."""
    return other if one is None or (other is not None and other > one) else one


def longest_retry_after(error: BaseException) -> float | None:
    """Return the longest time for which the exception or a member of the group asks; None if none does."""
    longest = retry_after_of(error)
    for leaf in leaves(error):
        if leaf is not error:
            longest = longer(longest, retry_after_of(leaf))
    return longest


def are_named(
    error: Exception, types: tuple[type[Exception], ...] | None, answer: Callable[[Exception], tuple[bool, float | None]]
) -> tuple[bool, float | None]:
    """Return whether the exception, or each member of the group, is named by the types or the answer, and the seconds it asks for."""
    members = leaves(error)
    if types is not None:
        named = isinstance(error, types) or all(isinstance(member, types) for member in members)
        return bool(members) and named, None
    seconds: float | None = None
    for member in members:
        named, asked = answer(member)
        if not named:
            return False, None
        seconds = longer(seconds, asked)
    return bool(members), seconds


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)


def condition(name: str, value: Any) -> tuple[tuple[type[Exception], ...] | None, Any]:
    """Return the types, of which there is one at least, or the predicate. The other one is None."""
    if isinstance(value, (type, tuple)):
        kinds = value if isinstance(value, tuple) else (value,)
        for kind in kinds:
            if not _is_error(kind):
                raise TypeError(f"'{name}' must be subclasses of Exception or a function of the error, not {text(kind)}")
        if not kinds:
            raise ValueError(f"'{name}' must name at least one exception, not ()")
        return kinds, None
    if not callable(value):
        raise TypeError(f"'{name}' must be an exception type, a tuple of them or a function of the error, not {text(value)}")
    _refuse_coroutine_function(name, value)
    return None, value


def answer_of(predicate: Any, error: Exception) -> tuple[bool, float | None]:
    """Return whether the function wants the error to be retried, and after how many seconds at the earliest."""
    answer = predicate(error)
    if answer is None or isinstance(answer, bool):
        return bool(answer), None
    if not isinstance(answer, (int, float)) or not answer >= 0:
        raise TypeError(f"'on' must return a bool, or a number of seconds of at least 0, not {answer!r}")
    return True, float(min(answer, sys.float_info.max) if isinstance(answer, int) else answer)  # an int may be larger than any float
