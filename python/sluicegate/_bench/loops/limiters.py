"""The loops that ask a limiter: a contender is only a callable, and how to read its answer.

What a limiter answers is checked before the clock starts and after it has stopped, so that no row measures refusals
that were meant to be admissions.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from inspect import isawaitable
from itertools import cycle, islice, repeat
from typing import Any, TypeAlias

from ..harness import BenchError, Stopwatch, nothing, run_loop, run_threads
from ..model import Run, Sample


@dataclass(frozen=True)
class LimiterFace:
    """A limiter: what asks it for one, and how to read the answer."""

    ask: Callable[..., Any]
    admits: Callable[[Any], bool] = bool
    close: Callable[[], None] = nothing


MakeLimiter: TypeAlias = Callable[[], LimiterFace]

Ask: TypeAlias = Callable[[str], Any]
"""Asks a limiter with keys for one, by key."""


def one_thread(make: MakeLimiter, *, admits: bool) -> Run:
    """One thread asks."""

    def run(n: int) -> Sample:
        limiter = make()
        ask = limiter.ask
        check(limiter, ask(), admits)
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                ask()
        check(limiter, ask(), admits)
        limiter.close()
        return watch.sample(n)

    return run


def threads(make: MakeLimiter, crew: int, *, admits: bool) -> Run:
    """Threads ask the same limiter, each its share of the items."""

    def run(n: int) -> Sample:
        limiter = make()
        ask = limiter.ask
        check(limiter, ask(), admits)

        def work() -> None:
            mine, local_ask = n // crew, ask
            for _ in repeat(None, mine):
                local_ask()

        sample = run_threads([work] * crew, n)
        check(limiter, ask(), admits)
        limiter.close()
        return sample

    return run


def one_loop(make: MakeLimiter) -> Run:
    """One task asks and awaits the answer, which is yes."""

    async def work(n: int) -> Sample:
        limiter = make()
        ask = limiter.ask
        check(limiter, await ask(), True)
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                await ask()
        check(limiter, await ask(), True)
        limiter.close()
        return watch.sample(n)

    return lambda n: run_loop(work(n))


def one_thread_refused(make: MakeLimiter, error: type[Exception]) -> Run:
    """One thread asks with `timeout=0` and is refused by an exception, which is raised and caught."""

    def run(n: int) -> Sample:
        ask = make().ask
        refused = 0
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                try:
                    ask(timeout=0)
                except error:
                    refused += 1
        if refused != n:
            raise BenchError(f"{n - refused} of {n} were not refused")
        return watch.sample(n)

    return run


def one_thread_with_timeout(make: MakeLimiter) -> Run:
    """One thread asks with a timeout that is not needed."""

    def run(n: int) -> Sample:
        limiter = make()
        ask = limiter.ask
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                ask(timeout=1.0)
        check(limiter, ask(timeout=1.0), True)
        limiter.close()
        return watch.sample(n)

    return run


def one_loop_with_timeout(make: MakeLimiter) -> Run:
    """One task asks with a timeout that is not needed."""

    async def work(n: int) -> Sample:
        limiter = make()
        ask = limiter.ask
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                await ask(timeout=1.0)
        check(limiter, await ask(timeout=1.0), True)
        limiter.close()
        return watch.sample(n)

    return lambda n: run_loop(work(n))


def by_key(make: Callable[[int], Ask], keys: int) -> Run:
    """One thread asks for one key after the other, in an order without pattern; the limiter has seen all of them before."""
    names = [f"user-{number:08}" for number in range(keys)]
    random.Random(1).shuffle(names)

    def run(n: int) -> Sample:
        ask = make(keys)
        if not all(ask(name) for name in names):
            raise BenchError("it refuses where it should not")
        with Stopwatch() as watch:
            for name in islice(cycle(names), n):
                ask(name)
        if not ask(names[0]):
            raise BenchError("it refuses where it should not")
        return watch.sample(n)

    return run


def check(limiter: LimiterFace, answer: Any, expected: bool) -> None:
    """Complain about a limiter that does not do the work of its row."""
    if isawaitable(answer):
        raise BenchError("the answer was not awaited")
    if limiter.admits(answer) is not expected:
        raise BenchError(f"it {'refuses' if expected else 'admits'} where it should not")
