"""What the limiters have in Python: the awaitable methods, `with`, and the decorator."""

from __future__ import annotations

import functools
import sys

from sluicegate._aio import drive
from sluicegate._core import (
    WAIT,
    KeyedBucket,
    KeyedTokenBucket,
    LeakyBucket,
    RateLimiter,
    RateLimits,
    Reservation,
    SlidingWindow,
    TokenBucket,
)
from sluicegate._methods import copy_methods, set_methods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: The default of `RateLimits.acquire_async`, to be told apart from a 1 that was given.
_ONE: float = type("_One", (int,), {})(1)

__all__ = [
    "KeyedBucket",
    "KeyedTokenBucket",
    "LeakyBucket",
    "RateLimiter",
    "RateLimits",
    "Reservation",
    "SlidingWindow",
    "TokenBucket",
]


def _code_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """What runs when `function` is called: of a partial what it calls, of an object its `__call__`."""
    import inspect

    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.iscoroutinefunction(function) or _is_marked(function):
        return function
    return type(function).__call__


def _is_marked(function: Any) -> bool:
    """Cython marks its coroutine functions with asyncio's own marker; `inspect` does not know them."""
    marker = getattr(sys.modules.get("asyncio.coroutines"), "_is_coroutine", None)
    return marker is not None and getattr(function, "_is_coroutine", None) is marker


def _limited(function: Callable[..., Any], acquire: Callable[[], Any], acquire_async: Callable[[], Any]) -> Callable[..., Any]:
    """`function`, with tokens taken before its body runs: of a generator when iteration begins."""
    import inspect

    code = _code_of(function)
    if inspect.isasyncgenfunction(code):

        @functools.wraps(function)
        async def limited_async_generator(*args: Any, **kwargs: Any) -> Any:
            await acquire_async()
            generator = function(*args, **kwargs)
            try:
                sent = None
                item = await anext(generator)
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - it goes on into the generator
                        item = await generator.athrow(error)
                    else:
                        item = await generator.asend(sent)
            except StopAsyncIteration:
                return
            finally:
                await generator.aclose()

        return limited_async_generator

    if inspect.iscoroutinefunction(code) or _is_marked(code):

        @functools.wraps(function)
        async def limited_coroutine(*args: Any, **kwargs: Any) -> Any:
            await acquire_async()
            return await function(*args, **kwargs)

        return limited_coroutine

    if inspect.isgeneratorfunction(code):

        @functools.wraps(function)
        def limited_generator(*args: Any, **kwargs: Any) -> Any:
            acquire()
            return (yield from function(*args, **kwargs))

        return limited_generator

    @functools.wraps(function)
    def limited(*args: Any, **kwargs: Any) -> Any:
        acquire()
        return function(*args, **kwargs)

    return limited


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


def _decorate(function: Any, acquire: Callable[[], Any], acquire_async: Callable[[], Any], limiter: object) -> Any:
    def decorate(function: Any) -> Any:
        if not callable(function) or isinstance(function, type):
            raise TypeError(f"{limiter!r} can decorate only a function, not {function!r}; acquire(n) takes an amount")
        return _limited(function, acquire, acquire_async)

    return decorate if function is None else decorate(function)


class _LimiterMethods:
    async def acquire_async(self: Any, n: float = 1, *, timeout: float | None = None) -> bool:
        """Take `n` tokens, waiting until they are available, from a coroutine.

        Works as `acquire`. If the tokens are available, the coroutine does not suspend, except that after 128
        operations in a row other tasks of the loop get to run. If it is cancelled, nothing has been taken, and later
        waiters are admitted earlier.
        """
        # A timeout that is valid at first sight (nan is not) matters only to those who wait.
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

        def acquire() -> bool:
            return self.acquire(n, timeout=timeout)

        def acquire_async() -> Any:
            return self.acquire_async(n, timeout=timeout)

        return _decorate(function, acquire, acquire_async, self)


class _SeveralMethods:
    async def acquire_async(self: Any, n: float = _ONE, /, *, timeout: float | None = None, **amounts: float) -> bool:
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

        def acquire() -> bool:
            return self.acquire(*position, timeout=timeout, **amounts)

        def acquire_async() -> Any:
            return self.acquire_async(*position, timeout=timeout, **amounts)

        return _decorate(function, acquire, acquire_async, self)


def _pause_seconds(value: Any) -> Any:
    """What `pause_for` is given, in seconds: a Retry-After as it comes is seconds or an HTTP date (RFC 9110, 10.2.3)."""
    if not isinstance(value, (str, bytes)):
        return value
    text = (value.decode("latin-1") if isinstance(value, bytes) else value).strip()
    if text.isascii() and text.isdigit():
        return int(text)
    from datetime import datetime, timezone
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):  # 3.10 raises a TypeError for what is no date
        raise ValueError(f"'seconds' must be a number of seconds or an HTTP date, not {value!r}") from None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - datetime.now(timezone.utc)).total_seconds())


_pause_limiter, _pause_set = RateLimiter.pause_for, RateLimits.pause_for


class _LimiterPause:
    def pause_for(self: Any, seconds: Any) -> None:
        """Admit no request for `seconds`, such as a server's Retry-After. Tokens are still refilled during the pause.

        A string is taken for the value of a Retry-After header: seconds, or an HTTP date, of which the time from now on
        by the system's clock counts. A date in the past is no pause. A shorter pause does not shorten a longer one.
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


class _KeyedMethods:
    def acquire(self: Any, key: Any, n: float = 1, *, timeout: float | None = None) -> bool:
        """Take `n` tokens from the key's bucket, waiting until they are available. Works as `TokenBucket.acquire`."""
        return self.key(key).acquire(n, timeout=timeout)

    async def acquire_async(self: Any, key: Any, n: float = 1, *, timeout: float | None = None) -> bool:
        """Take `n` tokens from the key's bucket, waiting until they are available, from a coroutine.

        Works as `TokenBucket.acquire_async`.
        """
        return await self.key(key).acquire_async(n, timeout=timeout)

    def retry_after(self: Any, key: Any, n: float = 1) -> float:
        """Return the seconds until `n` tokens can be taken from the key's bucket. Works as `TokenBucket.retry_after`."""
        return self.key(key).retry_after(n)

    def pause_for(self: Any, key: Any, seconds: Any) -> None:
        """Admit no request of the key for `seconds`. Works as `TokenBucket.pause_for`."""
        self.key(key).pause_for(seconds)


class _ReservationMethods:
    async def wait_async(self: Any, timeout: float | None = None) -> bool:
        """Wait until the reservation is ready, from a coroutine.

        Works as `wait`. If it is cancelled, the booking is unchanged.
        """
        return await drive(self._async_wait(timeout))

    async def __aenter__(self: Any) -> Any:
        self._check_open()
        try:
            await self.wait_async()
            self._check_open()  # somebody else may have cancelled it meanwhile
        except BaseException:
            self.cancel()  # the body will not run
            raise
        return self

    async def __aexit__(self: Any, *_exc: object) -> None:
        return None


for _class in (RateLimiter, RateLimits):
    copy_methods(_ContextMethods, _class)
set_methods(_LimiterMethods, RateLimiter)
set_methods(_SeveralMethods, RateLimits)
set_methods(_LimiterPause, RateLimiter)
set_methods(_SetPause, RateLimits)
set_methods(_KeyedMethods, KeyedTokenBucket)
set_methods(_ReservationMethods, Reservation)
del _class
