"""What the middlewares for ASGI and WSGI have in common: the limit of a request, its admission, and its refusal.

Nothing waits here, and a request looks at one limit only. When all keys of a keyed limiter are in use, because somebody floods it with new
ones, the requests of new keys share one limit of their own: so a flood takes no memory, cannot make room for itself, and does not lock a
newcomer out for good.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sluicegate._arguments import check_callable, check_name, check_several
from sluicegate._core import (
    KeyedLeakyBucket,
    KeyedLimiter,
    KeyedSlidingWindow,
    KeyedTokenBucket,
    LeakyBucket,
    LeakyBucketKey,
    RateLimiter,
    RateLimits,
    Semaphore,
    SlidingWindow,
    SlidingWindowKey,
    TokenBucket,
    TokenBucketKey,
    _refuse_coroutine_function,
)
from sluicegate._exceptions import RateLimited
from sluicegate._functions import is_coroutine_function
from sluicegate._rates import members_of
from sluicegate._retries import Counter
from sluicegate.http._addresses import address_reader
from sluicegate.http._fields import LARGEST, serialize_string
from sluicegate.http._limits import whole_wait
from sluicegate.http._paths import Paths
from sluicegate.http._problems import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from sluicegate._statistics import MiddlewareStatistics
    from sluicegate.http._addresses import Network

__all__ = ["Answer", "Counts", "Middleware", "RateLimiting", "Route", "check_app"]

_App = TypeVar("_App")


@dataclass(frozen=True, slots=True)
class Route:
    """The limit of the requests for some paths: `RateLimitMiddleware(app, routes=[Route("/login", limiter, methods=["POST"])])`.

    `path` is a whole path. `{name}` in it stands for one segment or a part of one, at least one character long, and `*` at its end for
    anything: "/users/{id}/posts", "/files/{name}.{extension}", "/api/*". It is compared with the path that the server gives to the
    application, without the query, in a time that grows with the length of that path and no faster. `methods` are HTTP methods, all of them
    by default; GET includes HEAD. `limiter` is a limiter that all clients share, or a keyed limiter, or None for requests that are not
    limited.

    `key` is a function of the ASGI scope or the WSGI environ that returns the key of a keyed limiter, or None for a request that is not
    limited; the middleware's by default. `cost` is what a request takes, a number or a function of the scope or environ; a request whose
    cost the limiter can never admit is answered with 413. `overflow` is what requests of new keys share when all keys of a keyed limiter
    are in use; by default they share as much as one key has.
    """

    path: str
    limiter: RateLimiter | KeyedLimiter | None
    methods: Iterable[str] | None = None
    key: Callable[[Any], Hashable] | None = None
    cost: float | Callable[[Any], float] = 1
    overflow: RateLimiter | None = None


class Answer:
    """What a rule says of one request: the fields for its response, and the refusal, if it is one."""

    __slots__ = ("fields", "refusal")

    def __init__(self, fields: list[tuple[str, str]], refusal: Refusal | None) -> None:
        self.fields: list[tuple[str, str]] = fields
        self.refusal: Refusal | None = refusal


class Counts:
    """What became of the requests of one middleware."""

    def __init__(self, name: str | None) -> None:
        self.name: str | None = check_name(name)
        self.admitted, self.refused, self.late, self.overflowed, self.not_limited = (Counter() for _ in range(5))

    def statistics(self) -> MiddlewareStatistics:
        """Return a snapshot. The counters are read one after another while requests go on."""
        from sluicegate._statistics import MiddlewareStatistics

        return MiddlewareStatistics(
            name=self.name,
            admitted=self.admitted.value,
            refused=self.refused.value,
            late=self.late.value,
            overflowed=self.overflowed.value,
            not_limited=self.not_limited.value,
        )

    def label(self) -> str:
        """Return the name for a `repr`."""
        return "" if self.name is None else f" {self.name!r}"


class Middleware:
    """What all middlewares have: an application, and counts of what became of its requests."""

    app: Any
    _counts: Counts
    #: ASGI or WSGI.
    _protocol: str
    _on_refused: Callable[[Any, Refusal], Any]

    def _answer_of(self, request: Any, refusal: Refusal) -> Any:
        """Return the application that answers a request that is refused."""
        answer = self._on_refused(request, refusal)
        if not callable(answer):
            an = "an ASGI" if self._protocol == "ASGI" else "a WSGI"
            raise TypeError(f"'on_refused' must return {an} application, not {answer!r}")
        return answer

    def statistics(self) -> MiddlewareStatistics:
        """Return a snapshot of what became of the requests. The limiters have their own."""
        return self._counts.statistics()

    def __repr__(self) -> str:
        kind = type(self)
        return f"<{kind.__module__}.{kind.__qualname__}{self._counts.label()} at {id(self):#x} of {self.app!r}>"


class _Policy:
    """How one limiter is stated in the two fields. The text that changes only with the limiter's settings is kept."""

    __slots__ = ("_last", "_name", "_read", "_text")

    def __init__(self, name: str | None, kind: type) -> None:
        self._name: str = serialize_string(name or "default")
        self._read: Callable[[Any], tuple[float, float]] | None = next(
            (read for kinds, read in _SETTINGS.items() if issubclass(kind, kinds)), None
        )
        self._last: tuple[float, float] | None = None
        self._text: str = ""

    def members(self, limiter: Any, is_refused: bool) -> tuple[str, str] | None:
        """Return the members of RateLimit-Policy and RateLimit, or None for a limiter that has no quota."""
        if self._read is None:
            return None
        settings = self._read(limiter)
        if settings != self._last:
            quota, window = settings
            self._text = f"{self._name};q={int(quota)};w={max(1, math.ceil(min(window, LARGEST)))}"
            self._last = settings
        left = limiter.tokens
        # While the limiter is paused, what it has does not count; a request that has just been admitted shows that it is not.
        if left >= 1 and not (is_refused and limiter.retry_after(1) > 0):
            return self._text, f"{self._name};r={int(left)}"
        return self._text, f"{self._name};r=0;t={whole_wait(limiter.retry_after(1))}"


def _of_bucket(bucket: TokenBucket | TokenBucketKey) -> tuple[float, float]:
    burst = bucket.burst
    return burst, burst * bucket.period / bucket.rate


def _of_leaky_bucket(bucket: LeakyBucket | LeakyBucketKey) -> tuple[float, float]:
    # In whole numbers: so many in one second or more, or one in so many seconds.
    distance = bucket.period / bucket.rate
    return (1, distance) if distance > 1 else (1 / distance, 1)


def _of_window(window: SlidingWindow | SlidingWindowKey) -> tuple[float, float]:
    return window.limit, window.period


_SETTINGS: dict[tuple[type, ...], Callable[[Any], tuple[float, float]]] = {
    (TokenBucket, TokenBucketKey, KeyedTokenBucket): _of_bucket,
    (LeakyBucket, LeakyBucketKey, KeyedLeakyBucket): _of_leaky_bucket,
    (SlidingWindow, SlidingWindowKey, KeyedSlidingWindow): _of_window,
}


def _overflow_of(limiter: KeyedLimiter) -> RateLimiter:
    """Return a limiter that admits as much as one key of the limiter."""
    if isinstance(limiter, KeyedTokenBucket):
        return TokenBucket(limiter.rate, burst=limiter.burst, period=limiter.period, name=limiter.name)
    if isinstance(limiter, KeyedLeakyBucket):
        return LeakyBucket(limiter.rate, capacity=limiter.capacity, period=limiter.period, name=limiter.name)
    if isinstance(limiter, KeyedSlidingWindow):
        return SlidingWindow(limiter.limit, limiter.period, name=limiter.name)
    raise TypeError(f"'overflow' must be given for a {type(limiter).__name__}")


def _check_cost(limiter: Any, cost: float) -> None:
    """Refuse a cost that the limiter can never admit: each request would be an error of the server."""
    try:
        if isinstance(limiter, KeyedLimiter):
            limiter.retry_after("", cost)
        else:
            limiter.retry_after(cost)
    except ValueError as error:
        raise ValueError(f"'cost' cannot be {cost!r}: {error}") from None


class _Rule:
    """One limiter, and how requests come under it."""

    def __init__(self, limiter: Any, key: Any, cost: Any, overflow: Any, has_fields: bool, counts: Counts) -> None:
        if not isinstance(limiter, (RateLimiter, KeyedLimiter)):
            raise TypeError(f"'limiter' must be a limiter or a keyed limiter, not {limiter!r}")
        if not callable(cost) and (isinstance(cost, bool) or not isinstance(cost, (int, float))):
            raise TypeError(f"'cost' must be a number or a function of the request, not {cost!r}")
        if not callable(key):
            raise TypeError(f"'key' must be a function of the request, not {key!r}")
        if overflow is not None and not isinstance(overflow, RateLimiter):
            raise TypeError(f"'overflow' must be a limiter or None, not {overflow!r}")
        for argument, function in (("key", key), ("cost", cost)):
            if callable(function):
                _refuse_coroutine_function(argument, function)
        for argument, each in (("limiter", limiter), ("overflow", overflow)):
            _refuse_semaphore(argument, each)
        self._limiter: Any = limiter
        self._key: Callable[[Any], Any] = key
        self._cost: Any = cost
        self._of: Callable[[Any], Any] | None = cost if callable(cost) else None
        self._overflow: Any = None
        self._name: str | None = limiter.name
        self._has_fields: bool = has_fields
        self._counts: Counts = counts
        if not callable(cost):
            _check_cost(limiter, cost)
        if isinstance(limiter, KeyedLimiter):
            self._overflow = _overflow_of(limiter) if overflow is None else overflow
            if not callable(cost):
                _check_cost(self._overflow, cost)
            self._policies: list[tuple[_Policy, Any]] = [(_Policy(limiter.name, type(limiter)), None)]
            self._spare: list[tuple[_Policy, Any]] = _policies(self._overflow)
        else:
            self._policies = _policies(limiter)

    def answer(self, request: Any) -> Answer | None:
        """Admit or refuse it; None if it is not limited."""
        cost = self._cost if self._of is None else self._of(request)
        key = None if self._overflow is None else self._key(request)
        if key is None and self._overflow is not None:
            return None
        try:
            return self._answer(key, cost)
        except TypeError:
            if self._of is not None and not isinstance(cost, (int, float)):
                raise TypeError(f"'cost' must return a number, not {cost!r}") from None
            raise
        except (ValueError, OverflowError):
            if not 0 <= cost < math.inf:  # that is no cost, and a mistake of the program
                raise
            return self._too_large(key)

    def _answer(self, key: Any, cost: float) -> Answer:
        if self._overflow is None:
            if self._limiter.try_acquire(cost):
                return Answer(self._own_fields(None) if self._has_fields else [], None)
            return self._refused(self._limiter.retry_after(cost), None, self._policies)
        try:
            admitted = self._limiter.try_acquire(key, cost)
        except RateLimited as full:  # the key is new, and all keys are in use
            return self._to_overflow(cost, full.retry_after)
        if admitted:
            return Answer(self._own_fields(self._limiter.key(key)) if self._has_fields else [], None)
        handle = self._limiter.key(key)
        return self._refused(handle.retry_after(cost), handle, self._policies)

    def _to_overflow(self, cost: float, until_free: float) -> Answer:
        """Let the request share with those of other new keys. One that is refused may get a key of its own before they have enough."""
        self._counts.overflowed.add()
        try:
            if self._overflow.try_acquire(cost):
                return Answer(self._fields(self._spare, None, False) if self._has_fields else [], None)
            retry_after = min(until_free, self._overflow.retry_after(cost))
        except (ValueError, OverflowError):  # it costs more than they ever have together
            retry_after = until_free
        return self._refused(retry_after, None, self._spare)

    def _refused(self, retry_after: float, handle: Any, policies: list[tuple[_Policy, Any]]) -> Answer:
        fields = self._fields(policies, handle, True) if self._has_fields else []
        headers = {**dict(fields), "Retry-After": str(whole_wait(retry_after)), "Cache-Control": "no-store"}
        return Answer(fields, Refusal(429, retry_after, self._name, headers))

    def _too_large(self, key: Any) -> Answer:
        """Refuse a request that costs more than the limit ever admits: there is no time at which it is worthwhile."""
        handle = None if key is None else self._limiter.key(key)
        fields = self._fields(self._policies, handle, True) if self._has_fields else []
        return Answer(fields, Refusal(413, math.inf, self._name, {**dict(fields), "Cache-Control": "no-store"}))

    def _own_fields(self, handle: Any) -> list[tuple[str, str]]:
        return self._fields(self._policies, handle, False)

    def _fields(self, policies: list[tuple[_Policy, Any]], handle: Any, is_refused: bool) -> list[tuple[str, str]]:
        if len(policies) == 1:
            policy, limiter = policies[0]
            pair = policy.members(limiter if handle is None else handle, is_refused)
            return [] if pair is None else [("RateLimit-Policy", pair[0]), ("RateLimit", pair[1])]
        members = [pair for policy, limiter in policies if (pair := policy.members(limiter, is_refused)) is not None]
        if not members:
            return []
        return [("RateLimit-Policy", ", ".join(member[0] for member in members)), ("RateLimit", ", ".join(member[1] for member in members))]


def _policies(limiter: Any) -> list[tuple[_Policy, Any]]:
    """Return a policy for the limiter, or for each one of a set."""
    if isinstance(limiter, RateLimits):
        return [(_Policy(name, type(leaf)), leaf) for name, leaf in limiter.limits.items() if isinstance(leaf, RateLimiter)]
    return [(_Policy(limiter.name, type(limiter)), limiter)]


def _refuse_semaphore(argument: str, limiter: Any) -> None:
    """Refuse a set with a semaphore, which admits by permits only: each request would be an error of the server."""
    if isinstance(limiter, RateLimits) and any(isinstance(member, Semaphore) for member in members_of(limiter)):
        raise TypeError(
            f"'{argument}' must have no Semaphore in it, because it admits by permits only, not {limiter!r}: "
            "give the semaphore to a ConcurrencyLimitMiddleware"
        )


def check_app(app: object, on_refused: object, protocol: str) -> None:
    """Refuse what is no application of the protocol, ASGI or WSGI, and what cannot answer in its place."""
    if not callable(app):
        raise TypeError(f"'app' must be an application, not {app!r}")
    if _is_of_other_kind(app, protocol):
        an, other = ("an", "WSGI") if protocol == "ASGI" else ("a", "ASGI")
        raise TypeError(
            f"'app' must be {an} {protocol} application, and {app!r} is one of {other}: "
            f"import the middleware from sluicegate.http.{other.lower()}"
        )
    check_callable("on_refused", on_refused, "a function of the request and the refusal")
    if on_refused is not None:
        _refuse_coroutine_function("on_refused", on_refused)


def _is_of_other_kind(app: Any, protocol: str) -> bool:
    """Say whether an application is certainly of the other protocol: ASGI takes three arguments and is awaited, WSGI takes two."""
    if protocol == "WSGI":
        return is_coroutine_function(app)
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):  # nothing is known of it
        return False
    return _takes(signature, 2) and not _takes(signature, 3)


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


class Rules:
    """The arguments of a `RateLimitMiddleware`, checked and made ready."""

    def __init__(
        self,
        limiter: RateLimiter | KeyedLimiter | None,
        routes: Iterable[Route],
        key: Callable[[Any], Hashable] | None,
        cost: float | Callable[[Any], float],
        overflow: RateLimiter | None,
        trusted: Iterable[str | Network],
        v6_prefix: int,
        headers: bool,
        name: str | None,
    ) -> None:
        self.counts: Counts = Counts(name)
        address = address_reader(trusted, v6_prefix)
        if key is None:
            key = address
        self._default: _Rule | None = None if limiter is None else _Rule(limiter, key, cost, overflow, headers, self.counts)
        found: list[tuple[str, Iterable[str] | None, _Rule | None]] = []
        check_several("routes", routes, "Route objects")
        for route in routes:
            if not isinstance(route, Route):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
                raise TypeError(f"'routes' must be Route objects, not {route!r}")
            rule = None
            if route.limiter is not None:
                route_key = key if route.key is None else route.key
                rule = _Rule(route.limiter, route_key, route.cost, route.overflow, headers, self.counts)
            found.append((route.path, route.methods, rule))
        if limiter is None and not any(rule for _, _, rule in found):
            raise ValueError("'limiter' can be None only if there is a route with a limiter")
        self._paths: Paths[_Rule | None] = Paths("routes", found)

    def answer(self, method: str, path: str, request: Any) -> Answer | None:
        """Admit or refuse a request; None if it is not limited."""
        rule = self._paths.find(method, path, self._default)
        answer = None if rule is None else rule.answer(request)
        if answer is None:
            self.counts.not_limited.add()
        elif answer.refusal is None:
            self.counts.admitted.add()
        else:
            self.counts.refused.add()
        return answer


class RateLimiting(Middleware, Generic[_App]):
    """What both `RateLimitMiddleware` have in common: their arguments, and what these are made ready for."""

    def __init__(
        self,
        app: _App,
        limiter: RateLimiter | KeyedLimiter | None = None,
        *,
        routes: Iterable[Route] = (),
        key: Callable[[Any], Hashable] | None = None,
        cost: float | Callable[[Any], float] = 1,
        overflow: RateLimiter | None = None,
        trusted: Iterable[str | Network] = (),
        v6_prefix: int = 64,
        headers: bool = True,
        on_refused: Callable[[Any, Refusal], _App] | None = None,
        name: str | None = None,
    ) -> None:
        check_app(app, on_refused, self._protocol)
        self.app: _App = app
        self._rules: Rules = Rules(limiter, routes, key, cost, overflow, trusted, v6_prefix, headers, name)
        self._counts = self._rules.counts
        self._on_refused: Callable[[Any, Refusal], _App] = self._answer_to_refused if on_refused is None else on_refused

    def _answer_to_refused(self, request: Any, refusal: Refusal, /) -> _App:
        """Return the application that answers a refused request, unless `on_refused` is given."""
        raise NotImplementedError
