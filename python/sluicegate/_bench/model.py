"""What a row of the table is: contenders that do the same work, and the goals DESIGN.md sets for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Protocol, TypeAlias

from .environment import Environment

OURS = "sluicegate"
"""The contender that all goals and ratios are about."""


@dataclass(frozen=True)
class Sample:
    """One round of one contender, with the context switches of all its threads, None where the system does not count them.

    `key_bytes` is by how much the process grew for each key that it holds, in the rows that are about keys.
    """

    seconds: float
    items: int
    voluntary: int | None
    involuntary: int | None
    key_bytes: float | None = None

    @property
    def nanoseconds(self) -> float:
        """The time an item took."""
        return self.seconds / self.items * 1e9


Run: TypeAlias = Callable[[int], Sample]
"""Does the work for so many items, and measures it."""


@dataclass(frozen=True)
class Contender:
    """Somebody who can do a row's work; `needs` is the package without which it cannot."""

    name: str
    run: Run
    needs: str | None = None


@dataclass(frozen=True)
class Row:
    """A piece of work, who does it, and what is expected of us.

    The number of items is a multiple of `step`, and at least `least`: enough that what is measured is the flow and
    not the start; where `fixed` says so it is just that. `rounds` is the most that the row is run, where a round takes
    long. The first contender is ours.
    """

    name: str
    title: str
    contenders: tuple[Contender, ...]
    goals: tuple[Goal, ...] = ()
    step: int = 1
    least: int = 1
    contended: bool = False
    fixed: bool = False
    rounds: int | None = None


@dataclass(frozen=True)
class Figures:
    """All rounds of one contender."""

    name: str
    samples: tuple[Sample, ...]

    @property
    def nanoseconds(self) -> list[float]:
        """The time of an item in each round."""
        return [sample.nanoseconds for sample in self.samples]

    @property
    def median(self) -> float:
        """The median time of an item, in nanoseconds."""
        return median(self.nanoseconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile."""
        if len(self.samples) < 2:
            return self.median, self.median
        low, _, high = quantiles(self.nanoseconds, n=4, method="inclusive")
        return low, high

    @property
    def voluntary_per_item(self) -> float | None:
        """The median number of voluntary context switches for an item."""
        counted = [sample.voluntary / sample.items for sample in self.samples if sample.voluntary is not None]
        return median(counted) if counted else None

    @property
    def key_bytes(self) -> float | None:
        """The median number of bytes that a key takes."""
        weighed = [sample.key_bytes for sample in self.samples if sample.key_bytes is not None]
        return median(weighed) if weighed else None


@dataclass(frozen=True)
class Verdict:
    """A goal and what came out."""

    goal: str
    measured: float
    met: bool


@dataclass(frozen=True)
class Result:
    """A row that was run; `left_out` says why some contenders have no figures."""

    row: Row
    figures: tuple[Figures, ...]
    left_out: Mapping[str, str]
    verdicts: tuple[Verdict, ...]

    def ratio(self, peer: Figures) -> float:
        """Return how many times longer the peer takes: the ratio of the medians."""
        return peer.median / self.figures[0].median

    def ratio_spread(self, peer: Figures) -> tuple[float, float]:
        """Return the lowest and the highest ratio of any one round."""
        pairs = zip(self.figures[0].nanoseconds, peer.nanoseconds, strict=True)
        ratios = [theirs / ours for ours, theirs in pairs]
        return min(ratios), max(ratios)


class Goal(Protocol):
    """Something a row should reach, on some machines."""

    def judge(self, figures: Mapping[str, Figures], environment: Environment) -> Verdict | None:
        """Return the verdict; None if the goal is not for this machine, or its peer is missing."""
        ...


Condition: TypeAlias = Callable[[Environment], bool]


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


def applies(conditions: tuple[Condition, ...], environment: Environment) -> bool:
    """Return whether all conditions hold."""
    return all(holds(environment) for holds in conditions)


@dataclass(frozen=True)
class Faster:
    """So many times faster than a peer."""

    than: str
    times: float
    when: tuple[Condition, ...] = ()

    def judge(self, figures: Mapping[str, Figures], environment: Environment) -> Verdict | None:
        """Compare the medians."""
        if self.than not in figures or not applies(self.when, environment):
            return None
        measured = figures[self.than].median / figures[OURS].median
        return Verdict(f"{self.than} takes >= {self.times:g} times as long", measured, measured >= self.times)


@dataclass(frozen=True)
class ShareOf:
    """At most this share of a peer's time."""

    peer: str
    share: float
    when: tuple[Condition, ...] = ()

    def judge(self, figures: Mapping[str, Figures], environment: Environment) -> Verdict | None:
        """Compare the medians."""
        if self.peer not in figures or not applies(self.when, environment):
            return None
        measured = figures[OURS].median / figures[self.peer].median
        return Verdict(f"<= {self.share:g} of the time of {self.peer}", measured, measured <= self.share)


@dataclass(frozen=True)
class Nanoseconds:
    """At most so many nanoseconds an item."""

    at_most: float
    when: tuple[Condition, ...] = ()

    def judge(self, figures: Mapping[str, Figures], environment: Environment) -> Verdict | None:
        """Look at our own median."""
        if not applies(self.when, environment):
            return None
        measured = figures[OURS].median
        return Verdict(f"<= {self.at_most:g} ns an item", measured, measured <= self.at_most)


@dataclass(frozen=True)
class Switches:
    """At most so many voluntary context switches an item, to one decimal: threads wait for the GIL now and then, too."""

    at_most: float
    when: tuple[Condition, ...] = ()

    def judge(self, figures: Mapping[str, Figures], environment: Environment) -> Verdict | None:
        """Look at our own median."""
        measured = figures[OURS].voluntary_per_item
        if measured is None or not applies(self.when, environment):
            return None
        return Verdict(f"<= {self.at_most:g} voluntary switches an item", measured, round(measured, 1) <= self.at_most)


@dataclass(frozen=True)
class KeyBytes:
    """At most so many bytes a key."""

    at_most: float
    when: tuple[Condition, ...] = ()

    def judge(self, figures: Mapping[str, Figures], environment: Environment) -> Verdict | None:
        """Look at our own median."""
        measured = figures[OURS].key_bytes
        if measured is None or not applies(self.when, environment):
            return None
        return Verdict(f"<= {self.at_most:g} bytes a key", measured, measured <= self.at_most)
