"""The rows about circuit breakers: a call through a closed one, and the refusal of an open one, beside four packages.

Each is asked in its own way: ours and circuitbreaker as a decorator, pybreaker and aiobreaker by `call`, purgatory, whose
breakers are context managers, with a breaker that is kept. What is called does nothing. The permit of an adaptive limit, which has
no peer, is measured beside that of a breaker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from importlib import import_module
from operator import methodcaller
from typing import Any, TypeAlias

import sluicegate

from ..harness import REFUSED, Stopwatch, loop_of, nothing, run_loop
from ..loops.limiters import LimiterFace, one_thread
from ..model import OURS, Contender, Row, Run, Sample

Call: TypeAlias = Callable[[], Any]

DAY = 86_400
BLOCK = "sluicegate, with"
PYBREAKER = "pybreaker"
CIRCUITBREAKER = "circuitbreaker"
AIOBREAKER = "aiobreaker"
PURGATORY = "purgatory"


def package(name: str) -> Any:
    """Import a peer. Its types are not checked."""
    return import_module(name)


class Outage(Exception):
    """The exception of a service that is down."""


def fail() -> None:
    """Be down."""
    raise Outage


async def nothing_async() -> None:
    """Do nothing, from a coroutine."""


def broken(call: Callable[[Callable[[], None]], Any]) -> None:
    """Open a breaker that opens at the first failure."""
    with suppress(Exception):  # some raise an error of their own
        call(fail)


def ours() -> Call:
    """Our breaker, as a decorator."""
    return sluicegate.CircuitBreaker()(nothing)


def our_permits() -> Call:
    """A function that makes permits of our breaker."""
    return sluicegate.CircuitBreaker().permit


def adaptive_permits() -> Call:
    """What makes permits of an adaptive limit."""
    return sluicegate.AdaptiveConcurrency(target=1.0).permit


def our_open_breaker() -> sluicegate.CircuitBreaker:
    """Our breaker, open. Its log messages are kept out of the bench's output."""
    breaker = sluicegate.CircuitBreaker()
    logger = logging.getLogger("sluicegate")
    was_disabled, logger.disabled = logger.disabled, True
    breaker.force_open()
    logger.disabled = was_disabled
    return breaker


def ours_open() -> Call:
    """Our breaker, open, as a decorator."""
    return our_open_breaker()(nothing)


def our_denied_permits() -> LimiterFace:
    """What makes permits of our breaker, which is open: `try_acquire` refuses without an exception."""
    return LimiterFace(our_open_breaker().permit, methodcaller("try_acquire"))


def pybreaker(*, is_open: bool = False) -> Call:
    """A breaker of pybreaker."""
    breaker = package(PYBREAKER).CircuitBreaker(fail_max=1, reset_timeout=DAY)
    if is_open:
        broken(breaker.call)
    return partial(breaker.call, nothing)


def circuitbreaker(*, is_open: bool = False) -> Call:
    """A breaker of circuitbreaker."""
    breaker = package(CIRCUITBREAKER).CircuitBreaker(failure_threshold=1, recovery_timeout=DAY)
    if is_open:
        broken(breaker.call)
    return breaker.decorate(nothing)


def aiobreaker(*, is_open: bool = False) -> Call:
    """A breaker of aiobreaker."""
    breaker = package(AIOBREAKER).CircuitBreaker(fail_max=1, timeout_duration=timedelta(days=1))
    if is_open:
        broken(breaker.call)
    return partial(breaker.call, nothing)


def purgatory(*, is_open: bool = False) -> Call:
    """A breaker of purgatory."""
    factory = package(PURGATORY).SyncCircuitBreakerFactory(default_threshold=1, default_ttl=DAY)
    breaker = factory.get_breaker("bench")

    def call(function: Callable[[], None] = nothing) -> None:
        with breaker:
            function()

    if is_open:
        broken(call)
    return call


PEERS: dict[str, Callable[..., Call]] = {
    PYBREAKER: pybreaker,
    CIRCUITBREAKER: circuitbreaker,
    AIOBREAKER: aiobreaker,
    PURGATORY: purgatory,
}


def ours_async() -> Call:
    """Our breaker, as a decorator of a coroutine function."""
    return sluicegate.CircuitBreaker()(nothing_async)


def circuitbreaker_async() -> Call:
    """A breaker of circuitbreaker, awaited."""
    return package(CIRCUITBREAKER).CircuitBreaker().decorate(nothing_async)


def aiobreaker_async() -> Call:
    """A breaker of aiobreaker, awaited."""
    return partial(package(AIOBREAKER).CircuitBreaker().call_async, nothing_async)


def purgatory_async() -> Call:
    """A breaker of purgatory, awaited: it is made by a coroutine."""
    factory = package(PURGATORY).AsyncCircuitBreakerFactory()
    kept: list[Any] = []

    async def call() -> None:
        if not kept:
            kept.append(await factory.get_breaker("bench"))
        async with kept[0]:
            await nothing_async()

    return call


def turns(make: Callable[[], Call], statement: str, **names: Any) -> Run:
    """One thread calls."""
    loop = loop_of(statement, "call", *names)

    def run(n: int) -> Sample:
        call = make()
        with Stopwatch() as watch:
            loop(n, call, *names.values())
        return watch.sample(n)

    return run


def awaited(make: Callable[[], Call]) -> Run:
    """One task calls."""
    loop = loop_of("await call()", "call")

    async def work(n: int) -> Sample:
        call = make()
        await call()
        with Stopwatch() as watch:
            await loop(n, call)
        return watch.sample(n)

    return lambda n: run_loop(work(n))


def closed(make: Callable[[], Call]) -> Run:
    """A call through a closed breaker."""
    return turns(make, "call()")


def refused(make: Callable[[], Call]) -> Run:
    """A call that an open breaker refuses."""
    return turns(make, REFUSED.format(call="call()"), error=Exception)


ROWS = (
    Row(
        "breaker",
        "a call through a closed breaker, one thread",
        (
            Contender(OURS, closed(ours)),
            *(Contender(name, closed(peer), name) for name, peer in PEERS.items()),
        ),
        least=1_000,
    ),
    Row(
        "breaker-permit",
        "a permit of a closed breaker, admitted and told its success, one thread",
        (
            Contender(OURS, turns(our_permits, "permit = call(); permit.acquire(); permit.success()")),
            Contender(BLOCK, turns(our_permits, "with call(): pass"), peer=False),
        ),
        least=1_000,
    ),
    Row(
        "adaptive-permit",
        "a permit of an adaptive limit, admitted and told its success, one thread",
        (
            Contender(OURS, turns(adaptive_permits, "permit = call(); permit.acquire(); permit.success()")),
            Contender(BLOCK, turns(adaptive_permits, "with call(): pass"), peer=False),
        ),
        least=1_000,
    ),
    Row(
        "breaker-refused",
        "a call that an open breaker refuses, one thread, the exception caught",
        (
            Contender(OURS, refused(ours_open)),
            *(Contender(name, refused(partial(peer, is_open=True)), name) for name, peer in PEERS.items()),
        ),
        least=1_000,
    ),
    Row(
        "breaker-denied",
        "a permit that an open breaker refuses, by try_acquire: a refusal before its exception, one thread",
        (Contender(OURS, one_thread(our_denied_permits, "ask().try_acquire()", admits=False)),),
        least=1_000,
    ),
    Row(
        "breaker-async",
        "await a call through a closed breaker, one loop",
        (
            Contender(OURS, awaited(ours_async)),
            Contender(CIRCUITBREAKER, awaited(circuitbreaker_async), CIRCUITBREAKER),
            Contender(AIOBREAKER, awaited(aiobreaker_async), AIOBREAKER),
            Contender(PURGATORY, awaited(purgatory_async), PURGATORY),
        ),
        least=1_000,
    ),
)
