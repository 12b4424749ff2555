"""The data of a row of the table: contenders that do the same work, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TypeAlias

OURS = "sluicegate"
"""The contender that all ratios are about."""


@dataclass(frozen=True)
class Sample:
    """One round of one contender, with what all its threads had of processors and context switches; None if it was not counted."""

    seconds: float
    items: int
    voluntary: int | None
    involuntary: int | None
    cpu_seconds: float | None = None

    @property
    def nanoseconds(self) -> float:
        """The time per item."""
        return self.seconds / self.items * 1e9


Run: TypeAlias = Callable[[int], Sample]
"""Does the work for a number of items, and measures it."""


@dataclass(frozen=True)
class Contender:
    """An implementation of a row's work; `needs` is the package that it requires.

    A `peer` is another project's implementation. The others are ours in another use, or the least that the work can cost.
    """

    name: str
    run: Run
    needs: str | None = None
    peer: bool = True


@dataclass(frozen=True)
class Row:
    """A piece of work and its contenders, of which the first is ours.

    The number of items is a multiple of `step`, and at least `least`, so that the throughput is measured and not the
    start. `gain` begins a sentence of the summary, with `{rate}` for the number of our items per second.
    """

    name: str
    title: str
    contenders: tuple[Contender, ...]
    step: int = 1
    least: int = 1
    contended: bool = False
    gain: str = ""


@dataclass(frozen=True)
class Figures:
    """The figures of all rounds of one contender."""

    name: str
    samples: tuple[Sample, ...]

    @property
    def nanoseconds(self) -> list[float]:
        """The time per item in each round."""
        return [sample.nanoseconds for sample in self.samples]

    @property
    def median(self) -> float:
        """The median time per item, in nanoseconds."""
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
        """The median number of voluntary context switches per item."""
        counted = [sample.voluntary / sample.items for sample in self.samples if sample.voluntary is not None]
        return median(counted) if counted else None

    @property
    def processors(self) -> float | None:
        """The median number of processors that it kept busy."""
        counted = [sample.cpu_seconds / sample.seconds for sample in self.samples if sample.cpu_seconds is not None]
        return median(counted) if counted else None


@dataclass(frozen=True)
class Result:
    """The result of a row; `left_out` says why some contenders have no figures."""

    row: Row
    figures: tuple[Figures, ...]
    left_out: Mapping[str, str]

    def ratio(self, peer: Figures) -> float:
        """Return the ratio of the medians: how many times longer the peer takes."""
        return peer.median / self.figures[0].median

    def ratio_spread(self, peer: Figures) -> tuple[float, float]:
        """Return the lowest and the highest ratio of the individual rounds."""
        pairs = zip(self.figures[0].nanoseconds, peer.nanoseconds, strict=True)
        ratios = [theirs / ours for ours, theirs in pairs]
        return min(ratios), max(ratios)
