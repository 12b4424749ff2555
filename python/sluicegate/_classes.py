"""The classes that are written in Python and used by the binary: one of each in a process, however often the package is imported."""

from __future__ import annotations

from sluicegate._core import CLASSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    _T = TypeVar("_T")

__all__ = ["add_bases", "public"]


def public(cls: type[_T]) -> type[_T]:
    """Put the class into the package's namespace; return the one of an earlier import instead, if there was one.

    The binary outlives a module that is taken out of `sys.modules`, and goes on raising and returning what it was given first.
    """
    cls.__module__ = "sluicegate"
    kept = CLASSES.setdefault(cls.__name__, cls)
    add_bases(kept, *cls.__bases__)
    return kept


def add_bases(cls: type, *bases: type) -> None:
    """Make the class a subclass of each of these too. If other threads do the same at this moment, the outcome is the same."""
    missing = [base for base in bases if not issubclass(cls, base)]
    if missing:
        cls.__bases__ = tuple(dict.fromkeys((*cls.__bases__, *missing)))
