"""Helpers that executors and iterators over threads share: notes on errors, starts of threads, and the end of the program."""

from __future__ import annotations

import atexit
import reprlib
import sys
import threading
from _thread import RLock

from sluicegate._core import Clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

__all__ = ["CLOCK", "PLENTY", "Lock", "Start", "add_item_note", "add_note", "call_at_exit", "not_an_end", "refuse_pickle", "short_repr"]

#: What takes no clock waits in real time, also where a test has made a `ManualClock` the default of what the program makes.
CLOCK = Clock()

#: A number of permits, or items, that is never reached: half of what a semaphore can hold.
PLENTY = 2**62

_short = reprlib.Repr()
_short.maxother = _short.maxstring = 200


class Lock(RLock):  # type: ignore[misc]  # typeshed calls it final, which it is not
    """A reentrant lock whose `with` statement an exception of a signal handler cannot leave locked for ever.

    Since 3.14 the interpreter runs signal handlers between the return of a lock's `__enter__`, if that is a function in C, and the
    beginning of the block. Ctrl-C there left the lock locked, and every other thread waiting for it.
    """

    if sys.version_info >= (3, 14):

        def __enter__(self) -> bool:
            held: list[bool] = []
            try:
                held.extend(map(self.acquire, (True,)))  # notes in the same call into C that the lock is held
            except BaseException:
                if held:
                    self.release()
                raise
            return True  # a return from Python code runs no handler


class Start:
    """The start of a thread, which a signal handler that raises can interrupt before or after the thread begins to run.

    `run` is the thread's target. A caller that gets an exception from `Thread.start` calls `give_up`, which returns whether the thread will
    never run. That is decided once, by the first action of the thread or by `give_up`, so the caller does not have to wait.
    """

    __slots__ = ("_decided",)

    def __init__(self) -> None:
        self._decided = threading.Lock()

    def run(self, function: Callable[..., object], *args: Any) -> None:
        """Run the function, unless the start has been given up."""
        if self._decided.acquire(blocking=False):
            function(*args)

    def give_up(self) -> bool:
        """Return True if the thread does not run, and never will."""
        return self._decided.acquire(blocking=False)


def short_repr(item: Any) -> str:
    """Return the representation of any object, cut to a length that fits a message."""
    try:
        return _short.repr(item)
    except Exception:  # noqa: BLE001 - a repr of somebody else's
        return f"<{type(item).__name__} whose repr raises>"


def add_item_note(error: BaseException, where: str, number: int, item: Any) -> None:
    """Add a note to the error that names the item."""
    add_note(error, f"in {where}: item {number}, {short_repr(item)}")


def add_note(error: BaseException, note: str) -> None:
    """Call `error.add_note`; on 3.10 set `__notes__`, which only some tracebacks show."""
    try:
        add = getattr(error, "add_note", None)
        if add is not None:
            add(note)
        else:
            error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001, S110 - an error that takes no notes goes without
        pass


def not_an_end(error: BaseException, what: str) -> BaseException:
    """Return the error to raise for `error`: itself, unless it would be taken for the end of an iteration."""
    if not isinstance(error, (StopIteration, StopAsyncIteration)):
        return error
    other = RuntimeError(f"{what} raised {type(error).__name__}")
    other.__cause__ = error
    return other


def call_at_exit(function: Callable[[], None]) -> bool:
    """Call the function when the program ends, before its non-daemon threads are joined. Return False if it will be called after that."""
    register = getattr(threading, "_register_atexit", None)
    (register or atexit.register)(function)
    return register is not None


def refuse_pickle(self: object) -> NoReturn:
    """An implementation of `__reduce__` that refuses."""
    raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object: it has threads or tasks")
