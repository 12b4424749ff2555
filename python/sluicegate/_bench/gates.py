"""The loops that every limiter runs in: as in `harness`, a contender is only a callable.

What a limiter answers is checked before the clock starts and after it has stopped, so that no row measures refusals
that were meant to be admissions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import isawaitable
from itertools import repeat
from typing import Any, TypeAlias

from .harness import BenchError, Stopwatch, nothing, run_loop, run_threads
from .model import Run, Sample


@dataclass(frozen=True)
class Gate:
    """A limiter: what asks it for one, and how to read the answer."""

    ask: Callable[[], Any]
    admits: Callable[[Any], bool] = bool
    close: Callable[[], None] = nothing


MakeGate: TypeAlias = Callable[[], Gate]


def one_thread(make: MakeGate, *, admits: bool) -> Run:
    """One thread asks."""

    def run(n: int) -> Sample:
        gate = make()
        ask = gate.ask
        check(gate, ask(), admits)
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                ask()
        check(gate, ask(), admits)
        gate.close()
        return watch.sample(n)

    return run


def threads(make: MakeGate, crew: int, *, admits: bool) -> Run:
    """Threads ask the same limiter, each its share of the items."""

    def run(n: int) -> Sample:
        gate = make()
        ask = gate.ask
        check(gate, ask(), admits)

        def work() -> None:
            mine, local_ask = n // crew, ask
            for _ in repeat(None, mine):
                local_ask()

        sample = run_threads([work] * crew, n)
        check(gate, ask(), admits)
        gate.close()
        return sample

    return run


def one_loop(make: MakeGate) -> Run:
    """One task asks and awaits the answer, which is yes."""

    async def work(n: int) -> Sample:
        gate = make()
        ask = gate.ask
        check(gate, await ask(), True)
        with Stopwatch() as watch:
            for _ in repeat(None, n):
                await ask()
        check(gate, await ask(), True)
        gate.close()
        return watch.sample(n)

    return lambda n: run_loop(work(n))


def check(gate: Gate, answer: Any, expected: bool) -> None:
    """Complain about a limiter that does not do the work of its row."""
    if isawaitable(answer):
        raise BenchError("the answer was not awaited")
    if gate.admits(answer) is not expected:
        raise BenchError(f"it {'refuses' if expected else 'admits'} where it should not")
