"""Our own goals: runs the rows that have one, judges each, and prints what was not met (`make bench-goals`).

    python benches/python/goals.py [--quick] [--only NAME] [--json FILE] [--strict]

A goal is a figure and no test: some differ between the GIL and the free-threaded build, or between one core and
several, and a loaded machine misses them. Only with `--strict` is a missed goal an exit status.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sluicegate._bench import select
from sluicegate._bench.environment import Environment
from sluicegate._bench.measure import FULL, QUICK, run_row
from sluicegate._bench.model import OURS, Figures, Result
from sluicegate._bench.report import as_json, preamble
from sluicegate._bench.rows import find_rows

# --- kinds of goal -------------------------------------------------------------------------------------------------

Condition = Callable[[Environment], bool]


def one_core(environment: Environment) -> bool:
    """Where threads take turns, as under `taskset -c 0`."""
    return environment.cores == 1


def many_cores(environment: Environment) -> bool:
    """Where threads run at the same time."""
    return environment.cores > 1


def with_gil(environment: Environment) -> bool:
    """On the ordinary build."""
    return environment.gil


def without_gil(environment: Environment) -> bool:
    """On the free-threaded build."""
    return not environment.gil


def since_3_13(environment: Environment) -> bool:
    """Where the interpreter's own calls have become cheaper."""
    return sys.version_info >= (3, 13)


def before_3_13(environment: Environment) -> bool:
    return not since_3_13(environment)


@dataclass(frozen=True)
class Verdict:
    """A goal and what came out."""

    goal: str
    measured: float
    met: bool

    def __str__(self) -> str:
        return f"{self.goal}: {self.measured:.3g}, {'met' if self.met else 'NOT MET'}"


class Goal(Protocol):
    """Something a row should reach, where all of `when` hold."""

    @property
    def when(self) -> tuple[Condition, ...]: ...

    def judge(self, figures: Mapping[str, Figures]) -> Verdict | None:
        """Return the verdict; None if what it needs was not measured."""
        ...


@dataclass(frozen=True)
class Faster:
    """So many times faster than a peer."""

    than: str
    times: float
    when: tuple[Condition, ...] = ()

    def judge(self, figures: Mapping[str, Figures]) -> Verdict | None:
        if self.than not in figures:
            return None
        measured = figures[self.than].median / figures[OURS].median
        return Verdict(f"{self.than} takes >= {self.times:g} times as long", measured, measured >= self.times)


@dataclass(frozen=True)
class ShareOf:
    """At most this share of a peer's time."""

    peer: str
    share: float
    when: tuple[Condition, ...] = ()

    def judge(self, figures: Mapping[str, Figures]) -> Verdict | None:
        if self.peer not in figures:
            return None
        measured = figures[OURS].median / figures[self.peer].median
        return Verdict(f"<= {self.share:g} of the time of {self.peer}", measured, measured <= self.share)


@dataclass(frozen=True)
class Nanoseconds:
    """At most so many nanoseconds an item."""

    at_most: float
    when: tuple[Condition, ...] = ()

    def judge(self, figures: Mapping[str, Figures]) -> Verdict | None:
        measured = figures[OURS].median
        return Verdict(f"<= {self.at_most:g} ns an item", measured, measured <= self.at_most)


@dataclass(frozen=True)
class Added:
    """At most so many nanoseconds an item more than another contender."""

    to: str
    at_most: float
    when: tuple[Condition, ...] = ()

    def judge(self, figures: Mapping[str, Figures]) -> Verdict | None:
        if self.to not in figures:
            return None
        measured = figures[OURS].median - figures[self.to].median
        return Verdict(f"<= {self.at_most:g} ns an item more than {self.to}", measured, measured <= self.at_most)


@dataclass(frozen=True)
class Switches:
    """At most so many voluntary context switches an item, to one decimal: threads wait for the GIL now and then, too."""

    at_most: float
    when: tuple[Condition, ...] = ()

    def judge(self, figures: Mapping[str, Figures]) -> Verdict | None:
        measured = figures[OURS].voluntary_per_item
        if measured is None:
            return None
        return Verdict(f"<= {self.at_most:g} voluntary switches an item", measured, round(measured, 1) <= self.at_most)


@dataclass(frozen=True)
class Processors:
    """At least so many processors are kept busy."""

    at_least: float
    when: tuple[Condition, ...] = ()

    def judge(self, figures: Mapping[str, Figures]) -> Verdict | None:
        measured = figures[OURS].processors
        if measured is None:
            return None
        return Verdict(f">= {self.at_least:g} processors busy", measured, measured >= self.at_least)


# --- the goals, by row ---------------------------------------------------------------------------------------------

STDLIB = "queue.Queue"
SIMPLE = "queue.SimpleQueue"
POOL = "ThreadPoolExecutor"
AS_C_DOES = (ShareOf(SIMPLE, 0.75, (with_gil, before_3_13)), ShareOf(SIMPLE, 0.85, (with_gil, since_3_13)))
BY_HAND = (Faster("hand-written bucket", 12, (with_gil,)), Faster("hand-written bucket", 8, (without_gil,)))
PACKAGES = (Faster("pyrate-limiter", 120), Faster("limits", 50))

MIDDLEWARE = (Added("the application", 15_000),)
NO_DEARER_WHEN_LONG = (ShareOf("line of 10", 1.25),)
TIMEOUT_ALMOST_FREE = (ShareOf("sluicegate without", 1.5),)

GOALS: dict[str, tuple[Goal, ...]] = {
    "put-get": (Faster(STDLIB, 40, (with_gil,)), *AS_C_DOES),
    "simple": AS_C_DOES,
    "threads-1-1": (Faster(STDLIB, 20, (with_gil, many_cores)), Faster(STDLIB, 10, (with_gil, one_core))),
    "threads-4-4": (Faster(STDLIB, 16, (with_gil,)), Faster(STDLIB, 9, (without_gil,))),
    "hand-off": (
        Faster(STDLIB, 5, (with_gil, one_core)),
        Switches(2, (many_cores,)),
        Nanoseconds(5_000, (without_gil, many_cores)),
        Nanoseconds(6_600, (without_gil, one_core)),
    ),
    "batches": (Nanoseconds(5, (with_gil,)), Nanoseconds(15, (without_gil,)), Faster(STDLIB, 200, (with_gil,))),
    "batcher": (Nanoseconds(3_000, (with_gil,)),),
    "latest-set": (Nanoseconds(60, (with_gil,)),),
    "broadcast": (ShareOf("a put into each queue", 1),),
    "put-get-ttl": (ShareOf("sluicegate.Queue", 1.5),),
    "drop-oldest": (ShareOf("sluicegate.Queue", 2),),
    "fair-1000": (ShareOf("sluicegate.Queue", 6),),
    "fair-1000000": (ShareOf("1 000 keys", 2),),
    "async": (Faster("asyncio.Queue", 3, (with_gil,)), ShareOf("two empty coroutines", 1.5, (with_gil,))),
    "thread-to-loop": (Faster("janus", 40, (with_gil,)), Faster("culsans", 15, (with_gil,))),
    "try-acquire": BY_HAND + PACKAGES,
    "try-acquire-denied": BY_HAND + PACKAGES,
    "try-acquire-threads": BY_HAND,
    "try-acquire-denied-threads": BY_HAND,
    "breaker": (Faster("pybreaker", 4), Faster("circuitbreaker", 1.5), Faster("aiobreaker", 3)),
    "breaker-permit": (Nanoseconds(250),),
    "breaker-denied": (Nanoseconds(120),),
    "retry": (Nanoseconds(300), Faster("tenacity", 10)),
    "guard": (Added("the call alone", 1500),),
    "asgi-rate": MIDDLEWARE,
    "asgi-concurrency": MIDDLEWARE,
    "wsgi-rate": MIDDLEWARE,
    "wsgi-concurrency": MIDDLEWARE,
    "adaptive-permit": (Nanoseconds(300),),
    "credit-batches": (Nanoseconds(10, (with_gil,)),),
    "crowd-get": NO_DEARER_WHEN_LONG,
    "crowd-acquire": NO_DEARER_WHEN_LONG,
    "crowd-send": NO_DEARER_WHEN_LONG,
    "put-get-timeout": TIMEOUT_ALMOST_FREE,
    "async-timeout": TIMEOUT_ALMOST_FREE,
    "acquire-timeout": TIMEOUT_ALMOST_FREE,
    "acquire-async-timeout": TIMEOUT_ALMOST_FREE,
    "lines": (Faster("a loop, sluicegate.Queue", 5),),
    "executor-map": (Faster(POOL, 2),),
    "executor-submit": (Faster(POOL, 1.3),),
    "executor-one": (Faster(POOL, 1),),
    "amap-bounded": (Faster("aiostream", 5),),
    "prefetch": (Nanoseconds(1_000),),
    "pipeline": (Faster("queue.Queue by hand", 8, (with_gil,)),),
    "pipeline-default": (Faster("queue.Queue by hand", 1.5, (with_gil,)),),
    "pipeline-cpu": (
        Processors(1.8, (without_gil, many_cores)),
        ShareOf("two threads of one's own", 1.15, (without_gil, many_cores)),
    ),
}


def judge(result: Result, environment: Environment) -> list[Verdict]:
    """Return the verdicts of a row's goals, those for other machines left out."""
    figures = {each.name: each for each in result.figures}
    goals = [goal for goal in GOALS.get(result.row.name, ()) if all(holds(environment) for holds in goal.when)]
    return [verdict for goal in goals if (verdict := goal.judge(figures)) is not None]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run the rows that have goals, and judge them.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a look, not a measurement")
    parser.add_argument("--only", action="append", metavar="NAME", help="rows to run, by name or pattern; repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every sample, and the verdicts")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a goal is not met")
    arguments = parser.parse_args(argv)
    environment = Environment.look()
    settings = QUICK if arguments.quick else FULL
    print(preamble(environment, settings))
    results, verdicts = [], []
    for row in select([row for row in find_rows() if row.name in GOALS], arguments.only):
        results.append(run_row(row, settings))
        for verdict in judge(results[-1], environment):
            verdicts.append((row.name, verdict))
            print(f"{row.name}: {verdict}", flush=True)
    met = sum(verdict.met for _, verdict in verdicts)
    print(f"{met} of {len(verdicts)} goals met")
    if arguments.json:
        figures = as_json(environment, settings, results)
        figures["goals"] = [{"row": row, "goal": each.goal, "measured": each.measured, "met": each.met} for row, each in verdicts]
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return int(arguments.strict and met < len(verdicts))


if __name__ == "__main__":
    sys.exit(main())
