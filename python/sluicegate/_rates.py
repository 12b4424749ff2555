"""What the limiters have in Python: the awaitable methods, `with`, and the decorator."""

from __future__ import annotations

from sluicegate._aio import drive
from sluicegate._arguments import key_function
from sluicegate._core import (
    WAIT,
    KeyedLeakyBucket,
    KeyedLimiter,
    KeyedSlidingWindow,
    KeyedTokenBucket,
    LeakyBucket,
    LeakyBucketKey,
    RateLimiter,
    RateLimits,
    RatePermit,
    Reservation,
    SlidingWindow,
    SlidingWindowKey,
    TokenBucket,
    TokenBucketKey,
    UnlimitedRate,
    ZeroRate,
    _refuse_coroutine_function,
)
from sluicegate._decorators import before, decorate
from sluicegate._exceptions import Overloaded
from sluicegate._hints import BY_COST, BY_KEY, hinting
from sluicegate._methods import copy_methods, refuse_to_decorate, refuse_with, set_methods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

#: The default of `RateLimits.acquire_async`, to be told apart from a 1 that was given.
_ONE: float = type("_One", (int,), {})(1)

__all__ = [
    "KeyedLeakyBucket",
    "KeyedLimiter",
    "KeyedSlidingWindow",
    "KeyedTokenBucket",
    "LeakyBucket",
    "LeakyBucketKey",
    "RateLimiter",
    "RateLimits",
    "RatePermit",
    "Reservation",
    "SlidingWindow",
    "SlidingWindowKey",
    "TokenBucket",
    "TokenBucketKey",
    "UnlimitedRate",
    "ZeroRate",
    "members_of",
]


class _ContextMethods:
    """`with` and `async with`: one token is taken on entry, nothing is given back."""

    def __enter__(self: Any) -> Any:
        self.acquire()
        return self

    def __exit__(self: Any, *_exc: object) -> None:
        return None

    async def __aenter__(self: Any) -> Any:
        await self.acquire_async()
        return self

    async def __aexit__(self: Any, *_exc: object) -> None:
        return None


def _decorate(function: Any, acquire: Callable[..., Any], acquire_async: Callable[..., Any], limiter: object) -> Any:
    return decorate(
        function,
        lambda function: before(function, acquire, acquire_async),
        lambda given: f"{limiter!r} can decorate only a function, not {given!r}; acquire(n) takes an amount",
    )


@hinting(by=BY_COST)
class _LimiterMethods:
    async def acquire_async(self: Any, n: float = 1, *, timeout: float | None = None) -> bool:
        """Take `n` tokens, waiting until they are available, from a coroutine.

        Works as `acquire`. If the tokens are available, the coroutine does not suspend, except that after 128
        operations in a row other tasks of the loop get to run. If it is cancelled, nothing has been taken, and later
        waiters are admitted earlier.
        """
        # A timeout that is valid at first sight (nan is not) matters only if the call has to wait.
        plainly = (
            timeout is None
            or (timeout.__class__ is float and 0.0 <= timeout <= 1e9)
            or (timeout.__class__ is int and 0 <= timeout <= 10**9)
        )
        if plainly and self._try_acquire(n) is not WAIT:
            return True
        return await drive(self._async_acquire(n, timeout))

    def __call__(self: Any, function: Any = None, /, *, n: float = 1, timeout: float | None = None) -> Any:
        """Decorate a function so that each call first takes `n` tokens.

        Use `@bucket` or `@bucket(n=2, timeout=1)`. The function can be a def, an async def, or a generator function of
        either kind; a generator takes its tokens when iteration begins. A call raises what `acquire` raises.
        """
        self._check(n, timeout)

        def acquire(*_args: Any, **_kwargs: Any) -> bool:
            return self.acquire(n, timeout=timeout)

        def acquire_async(*_args: Any, **_kwargs: Any) -> Any:
            return self.acquire_async(n, timeout=timeout)

        return _decorate(function, acquire, acquire_async, self)

    def by(self: Any, *, cost: Any = 1, timeout: float | None = None) -> Any:
        """Decorate a function so that each call first takes an amount that depends on the call.

        Use `@bucket.by(cost=lambda request: len(request))`: `cost` is called with the arguments of the call, before
        anything is taken, and returns the amount. It can also be a number. Otherwise works as the plain decorator; a
        call raises what `cost` and `acquire` raise.
        """
        try:
            self._check(1 if callable(cost) else cost, timeout)
        except (TypeError, ValueError, OverflowError) as error:
            _say_cost(error)
            raise
        costs = _of_call(cost)

        def acquire(*args: Any, **kwargs: Any) -> bool:
            cost = costs(*args, **kwargs)
            try:
                return self.acquire(cost, timeout=timeout)
            except (TypeError, ValueError, OverflowError) as error:
                _say_cost(error)
                raise

        async def acquire_async(*args: Any, **kwargs: Any) -> Any:
            cost = costs(*args, **kwargs)
            try:
                return await self.acquire_async(cost, timeout=timeout)
            except (TypeError, ValueError, OverflowError) as error:
                _say_cost(error)
                raise

        return _decorate(None, acquire, acquire_async, self)


@hinting(by=BY_COST)
class _SeveralMethods:
    async def acquire_async(self: Any, n: float = _ONE, *, timeout: float | None = None, **amounts: float) -> bool:
        """Take `n` of each limit, or amounts by name, waiting until all are available, from a coroutine. All or none.

        Works as `acquire`. If it is cancelled, nothing has been taken.
        """
        position = () if n is _ONE else (n,)
        return await drive(self._async_acquire(timeout, *position, **amounts))

    def __call__(self: Any, function: Any = None, /, *, n: float | None = None, timeout: float | None = None, **amounts: float) -> Any:
        """Decorate a function so that each call first takes `n` of each limit, or amounts by name.

        Use `@limits`, `@limits(n=2, timeout=1)` or `@limits(requests=1, tokens=500)`. The function can be a def, an
        async def, or a generator function of either kind; a generator takes its amounts when iteration begins. A call
        raises what `acquire` raises.
        """
        position = () if n is None else (n,)
        self._check(timeout, *position, **amounts)

        def acquire(*_args: Any, **_kwargs: Any) -> bool:
            return self.acquire(*position, timeout=timeout, **amounts)

        def acquire_async(*_args: Any, **_kwargs: Any) -> Any:
            return self.acquire_async(*position, timeout=timeout, **amounts)

        return _decorate(function, acquire, acquire_async, self)

    def by(self: Any, *, cost: Any = 1, timeout: float | None = None) -> Any:
        """Decorate a function so that each call first takes amounts that depend on the call.

        Use `@limits.by(cost=lambda request: {"requests": 1, "tokens": len(request)})`: `cost` is called with the
        arguments of the call, before anything is taken, and returns amounts by name, or one amount for all limits. It
        can also be such a value itself. Otherwise works as the plain decorator; a call raises what `cost` and
        `acquire` raise.
        """
        if not callable(cost):
            position, amounts = _by_name(cost)
            self._check(timeout, *position, **amounts)
        costs = _of_call(cost)

        def acquire(*args: Any, **kwargs: Any) -> bool:
            position, amounts = _by_name(costs(*args, **kwargs))
            return self.acquire(*position, timeout=timeout, **amounts)

        def acquire_async(*args: Any, **kwargs: Any) -> Any:
            position, amounts = _by_name(costs(*args, **kwargs))
            return self.acquire_async(*position, timeout=timeout, **amounts)

        return _decorate(None, acquire, acquire_async, self)


def _say_cost(error: Exception) -> None:
    """Have the error name the argument that the caller knows."""
    if error.args and isinstance(error.args[0], str) and error.args[0].startswith("'n' "):
        error.args = ("'cost' " + error.args[0].removeprefix("'n' "), *error.args[1:])


def _of_call(value: Any) -> Callable[..., Any]:
    """What depends on a call: a function of its arguments, or the same for every call."""
    if callable(value):
        _refuse_coroutine_function("cost", value)
    return value if callable(value) else lambda *_args, **_kwargs: value


def _by_name(amounts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Amounts as arguments: by name, or one for all."""
    from collections.abc import Mapping

    if not isinstance(amounts, Mapping):
        return (amounts,), {}
    # No amount at all is nothing of each; as a call without arguments it would be one of each.
    return ((), dict(amounts)) if amounts else ((0,), {})


def members_of(limits: RateLimits) -> Iterator[Any]:
    """Yield the members of a set, and of the sets in it."""
    for member in limits.limits.values():
        if isinstance(member, RateLimits):
            yield from members_of(member)
        else:
            yield member


class _Gates:
    """The semaphores of a set that are held while a block runs, and what is left of the time for the next."""

    #: Nothing is held yet. A list is made for what is: thousands may wait for the first of their semaphores.
    held: Any = ()

    def __init__(self, permit: Any) -> None:
        self.permit: Any = permit
        timeout, began = permit._timing()
        self.deadline = None if timeout is None else began + timeout

    def left(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - self.permit._timing()[1])

    def say_which(self, index: int, error: Overloaded) -> None:
        """Have the text of a semaphore's refusal name the set, and the semaphore as the set does."""
        if len(error.args) > 2 and isinstance(error.args[0], str):
            owner, limit = self.permit._gate(index)
            name = "" if owner.name is None else f" {owner.name!r}"
            head = f"{type(owner).__name__}{name} cannot admit the request in time because of its limit {limit!r}: "
            error.args = (head.replace("{", "{{").replace("}", "}}") + error.args[0], *error.args[1:])

    def close(self) -> None:
        while self.held:
            self.held.pop().__exit__(None, None, None)

    def __del__(self) -> None:
        self.close()


def _enter_gates(permit: Any) -> None:  # pyright: ignore[reportUnusedFunction]  # called by the binary
    gates = _Gates(permit)
    try:
        for semaphore, n, index in permit._gates:
            gate = semaphore.permit(n, timeout=gates.left())
            try:
                gate.__enter__()
            except Overloaded as error:
                gates.say_which(index, error)
                raise
            gates.held = [*gates.held, gate]
        permit._acquire_within(gates.left())
        gates.permit = None  # it keeps them
        permit._keep(gates)
    except BaseException:
        gates.close()
        raise


class _RatePermitMethods:
    async def __aenter__(self: Any) -> Any:
        needed = self._gates
        if needed is None:
            await drive(self._async_acquire())
            return self
        gates = _Gates(self)
        try:
            # As in `_enter_gates`. Not a coroutine of its own: each that waits is one more for the collector to look at.
            for semaphore, n, index in needed:
                gate = semaphore.permit(n, timeout=gates.left())
                try:
                    if gate._try_enter() is WAIT:
                        await drive(gate._async_acquire())
                except Overloaded as error:
                    gates.say_which(index, error)
                    raise
                gates.held = [*gates.held, gate]
            await drive(self._async_acquire_within(gates.left()))
            gates.permit = None
            self._keep(gates)
        except BaseException:
            gates.close()
            raise
        return self

    async def __aexit__(self: Any, *_exc: object) -> None:
        self.__exit__()


def _pause_seconds(value: Any) -> Any:
    """What `pause_for` is given, in seconds: a Retry-After as it comes is seconds or an HTTP date (RFC 9110, 10.2.3)."""
    if value is None:  # most often the header of a response that has none
        raise TypeError("'seconds' must be a number of seconds or what a Retry-After says, not None: without the header, do not pause")
    if not isinstance(value, (str, bytes)):
        return value
    from sluicegate._retry_after import parse_retry_after

    seconds = parse_retry_after(value)
    if seconds is None:
        raise ValueError(f"'seconds' must be a number of seconds or an HTTP date, not {value!r}")
    return seconds


_pause_limiter, _pause_set = RateLimiter.pause_for, RateLimits.pause_for


class _LimiterPause:
    def pause_for(self: Any, seconds: Any) -> None:
        """Admit no request for `seconds`, such as a server's Retry-After. Tokens are still refilled during the pause.

        A string is taken for the value of a Retry-After header: seconds, or an HTTP date, of which the time from now on
        by the system's clock counts. A date in the past pauses nothing. A shorter pause does not shorten a longer one.
        Existing reservations keep their moments.

        Raises ValueError, TypeError or OverflowError for invalid `seconds`.
        """
        _pause_limiter(self, _pause_seconds(seconds))


class _SetPause:
    def pause_for(self: Any, seconds: Any) -> None:
        """Admit no request to any of the limits for `seconds`, such as a server's Retry-After.

        Works as `TokenBucket.pause_for`. Raises ValueError, TypeError or OverflowError for invalid `seconds`.
        """
        _pause_set(self, _pause_seconds(seconds))


@hinting(by=BY_KEY)
class _KeyedMethods:
    async def acquire_async(self: Any, key: Any, n: float = 1, *, timeout: float | None = None) -> bool:
        """Take `n` tokens of the key, waiting until they are available, from a coroutine.

        Works as `TokenBucket.acquire_async`.
        """
        return await self.key(key).acquire_async(n, timeout=timeout)

    def retry_after(self: Any, key: Any, n: float = 1) -> float:
        """Return the seconds until `n` tokens of the key can be taken. Works as `TokenBucket.retry_after`."""
        return self.key(key).retry_after(n)

    def pause_for(self: Any, key: Any, seconds: Any) -> None:
        """Admit no request of the key for `seconds`. Works as `TokenBucket.pause_for`."""
        self.key(key).pause_for(seconds)

    def by(self: Any, *, key: Any, cost: Any = 1, timeout: float | None = None) -> Any:
        """Decorate a function so that each call first takes an amount of a key, both of which depend on the call.

        Use `@per_user.by(key=lambda request: request.user)`, or with `cost=lambda request: request.size`: both are
        called with the arguments of the call, before anything is taken. `cost` can also be a number. Otherwise works as
        the decorator of a `TokenBucket`; a call raises what `key`, `cost` and `acquire` raise.
        """
        key_of = key_function(key, "limiter")
        costs = _of_call(cost)

        def acquire(*args: Any, **kwargs: Any) -> bool:
            return self.acquire(key_of(*args, **kwargs), costs(*args, **kwargs), timeout=timeout)

        def acquire_async(*args: Any, **kwargs: Any) -> Any:
            return self.acquire_async(key_of(*args, **kwargs), costs(*args, **kwargs), timeout=timeout)

        return _decorate(None, acquire, acquire_async, self)


def _no_keyed_manager(limiter: object) -> str:
    return f"a {type(limiter).__name__} is not a context manager: write `with limiter.permit(key):`, or `with limiter.key(k):`"


def _no_decorator(limiter: object) -> str:
    return f"a {type(limiter).__name__} decorates a function with a key: write `@limiter.by(key=...)`, or `@limiter.key(k)` for one key"


def _no_manager(_reservation: object) -> str:
    return "a Reservation is not a context manager: write `with limiter.permit(n):`, which waits in the wait queue and obeys pauses"


class _ReservationMethods:
    async def wait_async(self: Any, timeout: float | None = None) -> bool:
        """Wait until the reservation is ready, from a coroutine.

        Works as `wait`. If it is cancelled, the booking is unchanged.
        """
        return await drive(self._async_wait(timeout))


for _class in (RateLimiter, RateLimits):
    copy_methods(_ContextMethods, _class)
set_methods(_LimiterMethods, RateLimiter)
set_methods(_SeveralMethods, RateLimits)
set_methods(_LimiterPause, RateLimiter)
set_methods(_SetPause, RateLimits)
set_methods(_KeyedMethods, KeyedLimiter)
set_methods(_RatePermitMethods, RatePermit)
set_methods(_ReservationMethods, Reservation)
refuse_with(Reservation, _no_manager)
refuse_with(KeyedLimiter, _no_keyed_manager)
refuse_to_decorate(KeyedLimiter, _no_decorator)
del _class
