"""What the two `ConcurrencyLimitMiddleware` have in common: permits, what becomes of them, and the lag of an event loop.

A limiter is anything with `permit`. If its permits have `success`, `failure` and `ignore`, the end of each call is reported to them: a
response in one piece is a sample of how long the service takes, one in several pieces is not, because how long it lasts depends on the
client too.

The lag is measured by a timer that runs only while there are requests: how late it is is how long everything that is ready has to wait. The
loop counts as late when the timer has been late twice in a row, so a single pause refuses nobody. Such a timer cannot fire while the loop
is blocked; the requests that come meanwhile are not read either, and they are judged when the loop goes on.
"""

from __future__ import annotations

import inspect
from weakref import WeakKeyDictionary

from sluicegate._arguments import check_callable, check_several
from sluicegate._core import _duration, _refuse_coroutine_function
from sluicegate._exceptions import Overloaded, Refused
from sluicegate.http._admission import Counts
from sluicegate.http._limits import whole_wait
from sluicegate.http._paths import Paths
from sluicegate.http._problems import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable
    from datetime import timedelta
    from typing import Any, Protocol

    class _Permits(Protocol):
        """What the middlewares need of a limiter."""

        @property
        def permit(self) -> Callable[..., Any]: ...


__all__ = ["Held", "LoopLag", "Slots"]

#: Responses of an application that is overloaded itself.
_DROPPED = frozenset({429, 503, 504})


class Slots:
    """The arguments of a `ConcurrencyLimitMiddleware`, checked and made ready."""

    def __init__(
        self,
        limiter: _Permits,
        max_wait: float | timedelta,
        priority: Callable[[Any], int] | None,
        exempt: Iterable[str],
        name: str | None,
        enter: str,
    ) -> None:
        self.counts: Counts = Counts(name)
        permit = getattr(limiter, "permit", None)
        if not callable(permit) or isinstance(limiter, type):
            raise TypeError(f"'limiter' must be a Semaphore or another object with a method permit(), not {limiter!r}")
        check_several("exempt", exempt, "paths, such as ['/health']")
        parameters = inspect.signature(permit).parameters
        if "key" in parameters:
            raise TypeError(f"'limiter' must have a permit for all requests, and {limiter!r} has one for each key")
        takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
        if priority is not None and not ("priority" in parameters or takes_all):
            raise TypeError(f"'priority' must be None, because the permits of {limiter!r} have no priority")
        check_callable("priority", priority, "a function of the request")
        if priority is not None:
            _refuse_coroutine_function("priority", priority)
        patience = _duration("max_wait", max_wait)
        self._permit: Callable[..., Any] = permit
        self._priority: Callable[[Any], int] | None = priority
        self._options: dict[str, Any] = {"timeout": patience} if "timeout" in parameters or takes_all else {}
        self._exempt: Paths[bool] = Paths("exempt", ((path, None, True) for path in exempt))
        self._name: str | None = getattr(limiter, "name", None)
        self._needed: tuple[str, ...] = (enter, "__exit__")

    def is_exempt(self, method: str, path: str) -> bool:
        """Say whether a request is not limited."""
        if not self._exempt.find(method, path, False):
            return False
        self.counts.not_limited.add()
        return True

    def permit(self, request: Any) -> Any:
        """Return the permit for a request, to be entered."""
        if self._priority is None:
            permit = self._permit(**self._options)
        else:
            permit = self._permit(priority=self._priority(request), **self._options)
        if self._needed:  # the first one shows what they are like; one that cannot be left must not be entered
            for method in self._needed:
                if not hasattr(type(permit), method):
                    raise TypeError(f"'limiter' must have permits with {' and '.join(self._needed)}, not {permit!r}")
            self._needed = ()
        return permit

    def refusal(self, error: Refused | None = None) -> Refusal:
        """Return the refusal of a request: by the limiter's error, or because the loop is late."""
        (self.counts.late if error is None else self.counts.refused).add()
        retry_after = Overloaded().retry_after if error is None else error.retry_after
        headers = {"Retry-After": str(whole_wait(retry_after)), "Cache-Control": "no-store"}
        return Refusal(503, retry_after, self._name, headers)


class Held:
    """A permit that has been entered. The first call that ends it counts."""

    __slots__ = ("_permit", "pieces", "status")

    def __init__(self, permit: Any) -> None:
        self._permit: Any = permit
        self.status: int = 0
        self.pieces: int = 0

    def complete(self) -> None:
        """End it after the last byte of the response."""
        permit, self._permit = self._permit, None
        if permit is None:
            return
        if hasattr(permit, "success"):
            if self.status in _DROPPED:
                permit.failure()
            elif self.pieces > 1 or self.status >= 500:
                permit.ignore()
            else:
                permit.success()
        permit.__exit__(None, None, None)

    def abandon(self, error: BaseException | None = None) -> None:
        """End it where the response was not completed."""
        permit, self._permit = self._permit, None
        if permit is None:
            return
        if error is None and hasattr(permit, "ignore"):
            permit.ignore()
        permit.__exit__(None if error is None else type(error), error, None if error is None else error.__traceback__)


class _Beat:
    """The timer of one loop."""

    __slots__ = ("before", "busy", "due", "last", "runs")

    def __init__(self) -> None:
        self.busy: int = 0
        self.runs: bool = False
        self.due: float = 0.0
        self.last: float = 0.0
        self.before: float = 0.0


class LoopLag:
    """How late the event loops are on which there are requests."""

    def __init__(self, interval: float = 0.02) -> None:
        self._interval: float = interval
        self._beats: WeakKeyDictionary[Any, _Beat] = WeakKeyDictionary()

    def enter(self, loop: AbstractEventLoop) -> float:
        """Count a request, and return the seconds by which the loop is late: by which it was at least, the last two times."""
        beat = self._beats.get(loop)
        if beat is None:
            beat = self._beats[loop] = _Beat()
        beat.busy += 1
        if not beat.runs:
            beat.runs, beat.last, beat.before = True, 0.0, 0.0
            self._start(loop, beat)
        return min(beat.last, beat.before)

    def leave(self, loop: AbstractEventLoop) -> None:
        """Count the end of the request."""
        self._beats[loop].busy -= 1

    def _start(self, loop: AbstractEventLoop, beat: _Beat) -> None:
        beat.due = loop.time() + self._interval
        loop.call_at(beat.due, self._fire, loop, beat)

    def _fire(self, loop: AbstractEventLoop, beat: _Beat) -> None:
        beat.last, beat.before = max(0.0, loop.time() - beat.due), beat.last
        if beat.busy > 0:
            self._start(loop, beat)
        else:
            beat.runs = False
