"""`select`: what it returns, and its awaitable twin."""

from __future__ import annotations

from sluicegate._aio import drive
from sluicegate._classes import public
from sluicegate._core import Selectable, _async_select, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta
    from typing import Any, Generic, NamedTuple, TypeVar, overload

    _T = TypeVar("_T")
    _T_co = TypeVar("_T_co", covariant=True)
    _D = TypeVar("_D")

    class Ready(NamedTuple, Generic[_T_co]):
        """What `select` returns: which operation happened, and what came of it."""

        index: int  # pyright: ignore[reportIncompatibleMethodOverride]  # as in any named tuple
        """The position of the operation among the arguments of `select`; -1 for the default."""
        value: _T_co
        """What the operation's own method would have returned."""

else:
    from collections import namedtuple
    from types import GenericAlias

    Ready = public(namedtuple("Ready", ("index", "value")))  # noqa: PYI024  # `typing` is not imported at run time
    Ready.__class_getitem__ = classmethod(GenericAlias)
    Ready.__doc__ = "What `select` returns: which operation happened, and what came of it."
    Ready.index.__doc__ = "The position of the operation among the arguments of `select`; -1 for the default."
    Ready.value.__doc__ = "What the operation's own method would have returned."


__all__ = ["Ready", "Selectable", "select", "select_async"]

if TYPE_CHECKING:

    @overload
    async def select_async(*members: Selectable[_T], timeout: float | timedelta | None = None) -> Ready[_T]: ...
    @overload
    async def select_async(*members: Selectable[_T], default: _D) -> Ready[_T | _D]: ...


async def select_async(*members: Selectable[Any], timeout: float | timedelta | None = None, default: Any = ...) -> Ready[Any]:
    """Wait until one of several operations can happen, do exactly that one, and return `Ready(index, value)`, from a coroutine.

    Works as `select`, with the same arguments. If something can happen at once the coroutine does not suspend, except that
    after 128 operations in a row other tasks of the loop get to run. If it is cancelled, nothing has happened.
    """
    return await drive(_async_select(*members, timeout=timeout, default=default))


select.__module__ = select_async.__module__ = "sluicegate"
