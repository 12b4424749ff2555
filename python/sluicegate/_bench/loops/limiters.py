"""The loops that ask a limiter: a contender is only a callable, and how to read its answer.

The answers of a limiter are checked before the clock starts and after it has stopped, so that no row measures refusals
instead of admissions.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from itertools import cycle, islice
from typing import Any, TypeAlias

from ..harness import REFUSED, BenchError, Stopwatch, code_of, loop_of, nothing, run_loop, run_threads
from ..model import Run, Sample


@dataclass(frozen=True)
class LimiterFace:
    """A limiter: the call that asks for one token, and how to read the answer."""

    ask: Callable[..., Any]
    admits: Callable[[Any], bool] = bool
    close: Callable[[], None] = nothing


MakeLimiter: TypeAlias = Callable[[], LimiterFace]

Ask: TypeAlias = Callable[[str], Any]
"""Asks a limiter with keys for one, by key."""


def one_thread(make: MakeLimiter, statement: str = "ask()", *, admits: bool = True) -> Run:
    """One thread asks."""
    loop = loop_of(statement, "ask")

    def run(n: int) -> Sample:
        limiter = make()
        ask = limiter.ask
        check(limiter, ask(), admits)
        with Stopwatch() as watch:
            loop(n, ask)
        check(limiter, ask(), admits)
        limiter.close()
        return watch.sample(n)

    return run


def refused(make: MakeLimiter, error: type[Exception]) -> Run:
    """One thread asks with `timeout=0` and is refused by an exception."""
    loop = loop_of(REFUSED.format(call="ask(timeout=0)"), "ask", "error")

    def run(n: int) -> Sample:
        limiter = make()
        with Stopwatch() as watch:
            loop(n, limiter.ask, error)
        limiter.close()
        return watch.sample(n)

    return run


def threads(make: MakeLimiter, crew: int, *, admits: bool) -> Run:
    """Threads ask the same limiter, each its share of the items."""
    loop = loop_of("ask()", "ask")

    def run(n: int) -> Sample:
        limiter = make()
        ask = limiter.ask
        check(limiter, ask(), admits)
        sample = run_threads([partial(loop, n // crew, ask)] * crew, n)
        check(limiter, ask(), admits)
        limiter.close()
        return sample

    return run


def one_loop(make: MakeLimiter, statement: str = "await ask()") -> Run:
    """One task asks and awaits the answer, which is yes."""
    loop = loop_of(statement, "ask")

    async def work(n: int) -> Sample:
        limiter = make()
        ask = limiter.ask
        check(limiter, await ask(), True)
        with Stopwatch() as watch:
            await loop(n, ask)
        check(limiter, await ask(), True)
        limiter.close()
        return watch.sample(n)

    return lambda n: run_loop(work(n))


def by_key(make: Callable[[int], Ask], keys: int) -> Run:
    """One thread asks for one key after the other, in an order without pattern; the limiter has seen all of them before."""
    names = [f"user-{number:08}" for number in range(keys)]
    random.Random(1).shuffle(names)
    loop = code_of("for name in islice(names, n):\n    ask(name)", "ask", "islice", "names")

    def run(n: int) -> Sample:
        ask = make(keys)
        if not all(ask(name) for name in names):
            raise BenchError("it refuses where it should not")
        with Stopwatch() as watch:
            loop(n, ask, islice, cycle(names))
        if not ask(names[0]):
            raise BenchError("it refuses where it should not")
        return watch.sample(n)

    return run


def check(limiter: LimiterFace, answer: Any, expected: bool) -> None:
    """Raise an error if the limiter does not do the work of its row."""
    if isawaitable(answer):
        raise BenchError("the answer was not awaited")
    if limiter.admits(answer) is not expected:
        raise BenchError(f"it {'refuses' if expected else 'admits'} where it should not")
