"""What a row of the table is: contenders that do the same work, and what was measured of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TypeAlias

OURS = "sluicegate"
"""The contender that all ratios are about."""


@dataclass(frozen=True)
class Sample:
    """One round of one contender, with the context switches of all its threads, None where the system does not count them."""

    seconds: float
    items: int
    voluntary: int | None
    involuntary: int | None

    @property
    def nanoseconds(self) -> float:
        """The time an item took."""
        return self.seconds / self.items * 1e9


Run: TypeAlias = Callable[[int], Sample]
"""Does the work for so many items, and measures it."""


@dataclass(frozen=True)
class Contender:
    """Somebody who can do a row's work; `needs` is the package without which it cannot.

    A `peer` is somebody else's. The others are ours in another use, or the least that the work can cost.
    """

    name: str
    run: Run
    needs: str | None = None
    peer: bool = True


@dataclass(frozen=True)
class Row:
    """A piece of work, and who does it; the first contender is ours.

    The number of items is a multiple of `step`, and at least `least`: enough that what is measured is the flow and
    not the start. `gain` begins the sentence that a user reads at the end, with `{rate}` for our items a second.
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


@dataclass(frozen=True)
class Result:
    """A row that was run; `left_out` says why some contenders have no figures."""

    row: Row
    figures: tuple[Figures, ...]
    left_out: Mapping[str, str]

    def ratio(self, peer: Figures) -> float:
        """Return how many times longer the peer takes: the ratio of the medians."""
        return peer.median / self.figures[0].median

    def ratio_spread(self, peer: Figures) -> tuple[float, float]:
        """Return the lowest and the highest ratio of any one round."""
        pairs = zip(self.figures[0].nanoseconds, peer.nanoseconds, strict=True)
        ratios = [theirs / ours for ours, theirs in pairs]
        return min(ratios), max(ratios)
