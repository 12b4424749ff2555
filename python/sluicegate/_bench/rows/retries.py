"""The rows about calls that succeed: through a `Retry`, beside two packages, and through a `Guard` of five layers, which has no peer.

What is called does nothing, and each of the packages is used as a decorator, as its users do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias

import sluicegate

from ..harness import Stopwatch, loop_of, nothing
from ..model import OURS, Contender, Row, Run, Sample

Call: TypeAlias = Callable[[], Any]

BY_CALL = "sluicegate, call"
TENACITY = "tenacity"
STAMINA = "stamina"
ALONE = "the call alone"
#: More than is ever taken.
PLENTY = 1e9


def package(name: str) -> Any:
    """Import a peer. Its types are not checked."""
    return import_module(name)


def ours() -> Call:
    """Our retries, as a decorator."""
    return sluicegate.Retry(3, on=OSError)(nothing)


def by_call() -> Call:
    """Our retries, asked to make a call."""
    return partial(sluicegate.Retry(3, on=OSError).call, nothing)


def tenacity() -> Call:
    """The retries of tenacity."""
    found = package(TENACITY)
    return found.retry(stop=found.stop_after_attempt(3), retry=found.retry_if_exception_type(OSError))(nothing)


def stamina() -> Call:
    """The retries of stamina."""
    return package(STAMINA).retry(on=OSError, attempts=3)(nothing)


def guard() -> Call:
    """A guard of all layers but the two time limits."""
    layers = sluicegate.Guard(
        fallback=sluicegate.Fallback(None),
        retry=sluicegate.Retry(3, on=OSError),
        breaker=sluicegate.CircuitBreaker(),
        rate=sluicegate.TokenBucket(PLENTY, burst=PLENTY),
        concurrency=sluicegate.AdaptiveConcurrency(target=1.0),
    )
    return partial(layers.call, nothing)


def turns(make: Callable[[], Call]) -> Run:
    """One thread calls."""
    loop = loop_of("call()", "call")

    def run(n: int) -> Sample:
        call = make()
        with Stopwatch() as watch:
            loop(n, call)
        return watch.sample(n)

    return run


ROWS = (
    Row(
        "retry",
        "a call that succeeds, through retries, one thread",
        (
            Contender(OURS, turns(ours)),
            Contender(BY_CALL, turns(by_call), peer=False),
            Contender(TENACITY, turns(tenacity), TENACITY),
            Contender(STAMINA, turns(stamina), STAMINA),
        ),
        least=1_000,
    ),
    Row(
        "guard",
        "a call that five layers let through, one thread",
        (Contender(OURS, turns(guard)), Contender(ALONE, turns(lambda: nothing), peer=False)),
        least=1_000,
    ),
)
