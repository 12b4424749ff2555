"""`Stale`, and what a `Fallback` with it remembers: the last good results, and the calls that are on their way.

The outcome of a call that is on its way is a `Latest` that is set once; further calls with its key wait for it. All tables are plain dicts
whose single operations are atomic on every build, so no lock is held while a key of the program's is hashed or compared.

Which call of a key is made is decided by `setdefault`, of the table or, where a call that died has left its entry there, of that entry:

| the entry of the key                   | a call of that key                                                       |
|----------------------------------------|--------------------------------------------------------------------------|
| none                                   | puts its own there, and is made                                          |
| of a call that is alive                | waits for its outcome                                                    |
| of one that is dead, and not closed    | makes itself its successor, and the entry its own; or goes on with the successor that there is |
| of one that is dead, and closed        | begins again, because it has been taken out; or, if it is still there, as above |

A call that ends closes its entry, unless it has a successor, and then takes it out. So whoever has found an entry, and is late, neither
replaces another one nor begins a call beside another.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import weakref

from sluicegate._arguments import count
from sluicegate._classes import public
from sluicegate._core import _duration, _refuse_coroutine_function
from sluicegate._latest import Latest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from datetime import timedelta
    from typing import Any, TypeAlias

    from sluicegate._core import Clock

    _Seconds: TypeAlias = float | timedelta

__all__ = ["NOTHING", "Flight", "Memory", "Stale"]


class _Nothing:
    def __repr__(self) -> str:
        return "<no value>"


NOTHING: Any = _Nothing()

#: The keys for which this thread or task has a call on its way: a call inside must not wait for itself.
_own_flights: contextvars.ContextVar[tuple[Any, ...]] = contextvars.ContextVar("sluicegate.flights", default=())


@public
class Stale:
    """How long, and for how many keys, a `Fallback` remembers the last good result.

    A result is given instead of an error until it is `max_age` seconds old. At most `max_entries` keys are remembered; those whose result
    is oldest are forgotten first. The key of a call is `key(*args, **kwargs)`, or without `key` the function with its arguments, which
    must be hashable.

    This is `stale-if-error` of RFC 5861. While a call of a key is on its way, further calls of that key wait for its outcome and share
    it, so only calls that may be shared should have one. A call that would wait for itself, because it is made inside a call of the same
    key or of one that waits for it in turn, is made instead. A thread counts as inside a call if it has the call's context, as
    `asyncio.to_thread` gives it; work for an executor needs `contextvars.copy_context().run`. Without that, a call of the same key in a
    thread for which the outer one waits is a deadlock, which only a deadline ends, such as the `total` of a `Guard`.

    Fairness: the calls that wait for an outcome get it together. One that is cancelled while it waits does not disturb the call itself; if
    the call is cancelled, one of those that wait is made in its place.

    Raises TypeError, ValueError or OverflowError for an invalid argument.
    """

    __slots__ = ("_key", "_max_age", "_max_entries")

    def __init__(self, max_age: _Seconds, max_entries: int = 1024, *, key: Callable[..., Hashable] | None = None) -> None:
        self._max_age: float = _duration("max_age", max_age)
        self._max_entries: int = count("max_entries", max_entries, 1)
        if key is not None and not callable(key):
            raise TypeError(f"'key' must be a function of the call's arguments or None, not {key!r}")
        if key is not None:
            _refuse_coroutine_function("key", key)
        self._key: Callable[..., Hashable] | None = key

    @property
    def max_age(self) -> float:
        """The age at which a result is not given any more, in seconds."""
        return self._max_age

    @property
    def max_entries(self) -> int:
        """The largest number of keys that are remembered."""
        return self._max_entries

    def __repr__(self) -> str:
        key = "" if self._key is None else f", key={self._key!r}"
        return f"sluicegate.Stale({self._max_age!r}, {self._max_entries}{key})"


class _Result:
    """The last good result of a key, and when it came."""

    __slots__ = ("at", "value")

    def __init__(self, at: float, value: Any) -> None:
        self.at = at
        self.value = value


class Memory:
    """The last good results of a `Fallback`, and the calls that are on their way."""

    def __init__(self, stale: Stale, clock: Clock) -> None:
        self.stale = stale
        self.clock = clock
        self.results: dict[Hashable, _Result] = {}
        #: The same by age, with their keys. It may have some that have been replaced meanwhile.
        self.ages: dict[_Result, Hashable] = {}
        self.flights: dict[Hashable, _Entry] = {}

    def key_of(self, scope: Hashable, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        make = self.stale._key
        if make is not None:
            key: Hashable = make(*args, **kwargs)
        else:  # the types too: 1 and True are equal, and may be answered differently
            names = tuple(sorted(kwargs))
            values = (*args, *(kwargs[name] for name in names))
            key = function, names, values, tuple(map(type, values))
        try:
            hash(key)
        except TypeError as error:
            raise TypeError(f"the arguments of a call whose result is remembered must be hashable ({error}); give Stale a `key`") from None
        return scope, key

    def keep(self, key: Hashable, value: Any) -> None:
        result = _Result(self.clock.now(), value)
        replaced = self.results.get(key)
        self.ages[result] = key
        self.results[key] = result  # there is no moment without one
        if replaced is not None:
            self.ages.pop(replaced, None)
        while len(self.results) > self.stale.max_entries:
            # Another thread may do the same at this moment.
            with contextlib.suppress(RuntimeError):
                oldest = next(iter(self.ages), None)
                if oldest is None:
                    return
                key = self.ages.get(oldest)
                self.forget(key, oldest)

    def forget(self, key: Hashable, result: _Result) -> None:
        """Forget a result, and not one that has replaced it."""
        self.ages.pop(result, None)
        if self.results.get(key) is result:
            newer = self.results.pop(key, result)
            if newer is not result:  # which came between the two lines
                self.results.setdefault(key, newer)

    def last(self, key: Hashable) -> Any:
        """Return the last result of the key, if it is not too old."""
        while (found := self.results.get(key)) is not None:
            if self.clock.now() - found.at < self.stale.max_age:
                return found.value
            self.forget(key, found)
        return NOTHING


#: What follows an entry that is closed.
_CLOSED: Any = _Nothing()


class _Entry:
    """What the table has of a call that is on its way. It does not keep it alive."""

    __slots__ = ("_flight", "after")

    def __init__(self, flight: Flight) -> None:
        self._flight = weakref.ref(flight)
        #: What comes after the call, each set once: "next" is its successor, or that the entry is closed; "left" the successor of one that
        #: was closed, and interrupted before it was taken out of the table.
        self.after: dict[str, Any] = {}

    def __call__(self) -> Flight | None:
        return self._flight()


class Flight:
    """A call of a key that is on its way, or the wait for another call of that key: `with Flight(...) as flight: flight.begin_or_join()`.

    The tables have weak references to it. So a call that was interrupted where it could not tidy up (Ctrl-C in `__exit__`) ends with its
    frame, and no call waits for it any longer.
    """

    def __init__(self, memory: Memory, key: Hashable) -> None:
        self.memory = memory
        self.key = key
        self.process = os.getpid()
        self.outcome: Latest[tuple[Any, Exception | None] | None] = Latest(clock=memory.clock)
        self.entry: _Entry = _Entry(self)
        self.result: tuple[Any, Exception | None] | None = None
        self.token: contextvars.Token[Any] | None = None
        #: A task that was started in it lives on, and its own calls are not inside any more.
        self.over = False
        #: The waits inside it for somebody else's call, each of which keeps it from its end.
        self.waits: set[weakref.ref[Flight]] = set()
        #: The call that this one waits for.
        self.first: weakref.ref[Flight] | None = None

    def begin_or_join(self, alone: bool = False) -> Latest[tuple[Any, Exception | None] | None] | None:
        """Return None if the call is to be made, as it is in any case with `alone`, or the outcome to wait for."""
        around = [own for reference in _own_flights.get() if (own := reference()) is not None and not own.over]
        first = self._first(around)
        if first is not None and not alone and not self._closes_a_circle(first, around):
            return first.outcome
        # What an interrupted call has left there is dropped.
        self.token = _own_flights.set((*map(weakref.ref, around), weakref.ref(self)))
        return None

    def _closes_a_circle(self, first: Flight, around: list[Flight]) -> bool:
        """Note that the calls around this one wait for `first`, and say whether that waits for one of them.

        The wait is noted before the check, so at least one of two threads that close a circle from both sides at once sees it.
        """
        self.first = weakref.ref(first)
        for own in around:
            own.waits.add(weakref.ref(self, own.waits.discard))
        seen: set[int] = set()
        todo = [first] if around else []
        while todo:
            flight = todo.pop()
            if flight in around:
                return True
            if id(flight) not in seen:
                seen.add(id(flight))
                todo += flight._waits_for()
        return False

    def _waits_for(self) -> list[Flight]:
        """Return the calls for which something inside this one waits."""
        firsts = [wait.first for reference in self.waits.copy() if (wait := reference()) is not None]
        return [flight for first in firsts if first is not None and (flight := first()) is not None]

    def _first(self, around: list[Flight]) -> Flight | None:
        """Return the call with this key that is on its way, unless it is this one or one of those around it."""
        if any(own.memory is self.memory and own.key == self.key for own in around):
            return None
        mine, flights = self.entry, self.memory.flights
        entry = flights.setdefault(self.key, mine)
        while entry is not mine:
            first = entry()
            # In the child of a fork its thread does not exist, so it would never have an outcome.
            if first is not None and first.process == self.process:
                return first
            following = entry.after.setdefault("next", mine)
            if following is _CLOSED:
                if flights.get(self.key) is not entry:
                    entry = flights.setdefault(self.key, mine)
                    continue
                following = entry.after.setdefault("left", mine)
            if following is mine:
                flights[self.key] = mine
            entry = following
        return None

    def __enter__(self) -> Flight:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self.over, self.first = True, None
        if self.token is not None:
            with contextlib.suppress(ValueError):  # a coroutine that the collector closes may end in another context
                _own_flights.reset(self.token)
        flights = self.memory.flights
        # In the child of a fork others take it for dead: there it has a successor, or leaves its entry to one.
        is_mine = self.process == os.getpid() and flights.get(self.key) is self.entry
        if is_mine and self.entry.after.setdefault("next", _CLOSED) is _CLOSED:
            flights.pop(self.key, None)
        # One that was cancelled or interrupted has no outcome: another of those who wait makes the call.
        self.outcome.set((None, error) if isinstance(error, Exception) else self.result)

    def __del__(self) -> None:
        outcome = getattr(self, "outcome", None)  # which is not there if it was interrupted as it was made
        if outcome is not None and outcome.version == 0:
            outcome.set(None)

    def succeeded(self, result: Any) -> Any:
        """Remember the result, share it with the calls that wait, and return it."""
        self.memory.keep(self.key, result)
        self.result = (result, None)
        return result
