"""`Attempts`: the attempts of a `Guard` in a thread, each through its breaker, its rate and its concurrency limit.

The binding makes those that no layer lets wait (`_LayerAttempts`, which says what it leaves to this class). The order of the steps is that
of `_make_in_steps`, there as well.
"""

from __future__ import annotations

import math

from sluicegate._core import _is_plain_rate, _LayerAttempts, _raise_again
from sluicegate._exceptions import Refused
from sluicegate._leaves import longest_retry_after
from sluicegate._mistakes import NOT_RUN, sync_result
from sluicegate._retries import patience_left
from sluicegate._retry_after import LONGEST_PAUSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from typing_extensions import Self

__all__ = ["ABSENT", "Attempts", "failed", "is_plain"]


class _Absent:
    """A layer that is not there: it admits everything."""

    def _refuse(self) -> None:
        return None

    def permit(self, *, timeout: float | None = None) -> Self:
        return self

    def _try_acquire(self) -> bool:
        return True

    def refund(self, n: float = 1) -> None:
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        return None


ABSENT: Any = _Absent()


class _Held:
    """The end of a block for a permit that is held already, or for none."""

    __slots__ = ("_permit",)

    def __init__(self, permit: Any) -> None:
        self._permit = permit

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        if self._permit is not None:
            self._permit.__exit__(*exc)


def is_plain(rate: object) -> bool:
    """Say whether an attempt takes one of it, and that is all.

    A set may hold semaphores as well, whose permits are held until the attempt ends; the end of the attempt is reported to an adaptive
    rate; and a subclass may have a `permit` of its own.
    """
    return rate is None or _is_plain_rate(rate)


def failed(rate: Any, error: BaseException, called: bool, refund: Callable[[], object]) -> None:
    """Take the error of an attempt, which has made the call or not. `refund` gives back what it has taken of the rate."""
    if not called:
        refund()
    elif rate is not ABSENT and isinstance(error, Exception) and not isinstance(error, Refused):
        asked = longest_retry_after(error)
        if asked is not None and asked < math.inf:
            rate.pause_for(min(asked, LONGEST_PAUSE))  # the others would be refused too


def _there(layer: Any) -> Any:
    return None if layer is ABSENT else layer


class Attempts(_LayerAttempts):
    """The attempts through these layers, each of which may be absent: `_make(function, args, kwargs)` makes one."""

    def __init__(self, breaker: Any, rate: Any, concurrency: Any) -> None:
        self._breaker, self._rate, self._concurrency = breaker, rate, concurrency
        self._prepare(_there(breaker), _there(rate), _there(concurrency))

    def _make_in_steps(self, function: Any, args: Any, kwargs: Any) -> Any:
        self._breaker._refuse()  # an open breaker refuses and counts that; another one gives no probe away
        return self._waiting(function, args, kwargs)

    def _waiting(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Make an attempt that the breaker has not refused, once it has what it needs of the rate."""
        with self._rate.permit(timeout=patience_left()) as taken:
            return self._inside(function, args, kwargs, taken.refund)

    def _inside(self, function: Any, args: Any, kwargs: Any, refund: Callable[[], object] | None = None) -> Any:
        """Make the rest of an attempt. `refund` gives back what it has taken of the rate, which is 1 by default."""
        called = False
        try:
            timeout = patience_left()
            # A `timeout` of None would cost more than a call without it.
            slot = self._concurrency.permit() if timeout is None else self._concurrency.permit(timeout=timeout)
            with slot, self._breaker.permit():
                called = True
                result = function(*args, **kwargs) if kwargs else function(*args)  # `**` of an empty dict would make another one
                return self._checked(function, result) if type(result) in NOT_RUN else result
        except BaseException as error:
            failed(self._rate, error, called, self._refund_one if refund is None else refund)
            raise

    def _refund_one(self) -> None:
        self._rate.refund(1)

    def _checked(self, function: Any, result: Any) -> Any:
        return sync_result(function, result, "guard")

    def _ended(self, error: BaseException, called: bool, slot: Any, call: Any) -> NoReturn:
        """End an attempt of the binding's that has raised: its permits, the innermost first, then the rate. Raise the error."""
        try:
            with _Held(slot), _Held(call):
                try:
                    _raise_again(error)
                finally:
                    del error  # it refers to this frame
        except BaseException as raised:
            failed(self._rate, raised, called, self._refund_one)
            raise
