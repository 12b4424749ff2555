"""What both ways to run the demo share: what to run, what came out, and what a file's reader does."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

from sluicegate import CreditChannel

from . import sources

BATCH = 256
"""How many lines a worker takes at a time, at most."""

WINDOW = 256 * 1024
"""How many bytes of a file may be on their way to its reader."""

SAMPLE_EVERY = 0.05
"""Seconds between two looks at what the stages hold."""


class DemoError(Exception):
    """The demo broke one of its own promises."""


@dataclass(frozen=True)
class Config:
    """What to run."""

    files: Sequence[Path]
    queue: str = "sluicegate"
    readers: int = 2
    workers: int = 2
    maxsize: int = 512
    source: str = "sluicegate"
    slow: float = 0.0

    @property
    def results_maxsize(self) -> int:
        """How many counts may wait: each stands for up to `BATCH` lines, so there can be fewer of them."""
        return max(1, self.maxsize // 16)


@dataclass(frozen=True)
class Sample:
    """How much was held at a moment by what `Outcome.figures` names, in the same order, and how far the run had come."""

    seconds: float
    held: tuple[int, ...]
    files: int
    lines: int
    state: str


@dataclass(frozen=True)
class Figures:
    """What there is to say after the run about a stage or a queue: its bound, if it has one, and the most that it was seen to hold.

    The times are summed over the workers, and None where nobody keeps them.
    """

    name: str
    bound: int | None
    peak: int
    busy_seconds: float | None = None
    starved_seconds: float | None = None
    blocked_seconds: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished run: the result, which does not depend on the queue or on luck, and the figures, which do."""

    files: int
    damaged: int
    lines: int
    names: Counter[str]
    seconds: float
    samples: list[Sample]
    figures: tuple[Figures, ...]
    channels: Figures | None
    bottleneck: str | None

    def top(self, n: int = 10) -> list[tuple[str, int]]:
        """Return the n most frequent identifiers, ties in alphabetical order."""
        return sorted(self.names.items(), key=lambda pair: (-pair[1], pair[0]))[:n]


Watcher: TypeAlias = Callable[[Sample], None]


@dataclass
class Totals:
    """What the last stage has added up so far."""

    lines: int = 0
    names: Counter[str] = field(default_factory=Counter[str])

    def add(self, part: sources.Count) -> None:
        """Add the count of one batch."""
        self.lines += part.lines
        self.names.update(part.names)


@dataclass
class Tally:
    """What the readers have done so far."""

    files: int = 0
    lines: int = 0
    damaged: int = 0
    peak_bytes: int = 0
    send_blocked_seconds: float = 0.0
    receive_blocked_seconds: float = 0.0

    def channels(self) -> Figures:
        """Return what there is to say about the channels of all files, having checked that none was ever above its window."""
        if self.peak_bytes > WINDOW:
            raise DemoError(f"{self.peak_bytes} bytes of a file were on their way, the window is {WINDOW}")
        return Figures("bytes of a file", WINDOW, self.peak_bytes, None, self.receive_blocked_seconds, self.send_blocked_seconds)


class OnTheWay:
    """Counts the batches of lines that were read and not yet added up, at each of them."""

    def __init__(self) -> None:
        self.now = self.peak = 0
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Count one more."""
        with self._lock:
            self.now += 1
            self.peak = max(self.peak, self.now)

    def leave(self) -> None:
        """Count one less."""
        with self._lock:
            self.now -= 1


class Reader:
    """Reads files and cuts them into pieces, for any number of threads at once."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tally = Tally()
        self._lock = threading.Lock()

    def pieces(self, file: Path) -> list[str]:
        """Return the pieces of a file."""
        tally = Tally(files=1)
        fetch = partial(_fetch, tally=tally) if self.source == "sluicegate" else Path.read_bytes
        source = sources.read_source(file, fetch)
        pieces = sources.cut(source.text)
        with self._lock:
            total = self.tally
            total.files += 1
            total.lines += source.text.count("\n")
            total.damaged += source.damaged
            total.peak_bytes = max(total.peak_bytes, tally.peak_bytes)
            total.send_blocked_seconds += tally.send_blocked_seconds
            total.receive_blocked_seconds += tally.receive_blocked_seconds
        return pieces


def _fetch(path: Path, tally: Tally) -> bytes:
    """Return what is in a file; an error of the file comes out of its channel."""
    from sluicegate.io import read_chunks  # an extension built without it can still run the old way

    channel = CreditChannel[bytes](WINDOW, weigh=len, name=path.name)
    with channel.receiver as receiver:
        read_chunks(path, channel.sender)
        found = b"".join(receiver)
    seen = channel.statistics()
    tally.peak_bytes = int(seen.peak_outstanding)
    tally.send_blocked_seconds = seen.send_blocked_seconds
    tally.receive_blocked_seconds = seen.receive_blocked_seconds
    return found


def check(
    config: Config,
    reader: Reader,
    totals: Totals,
    seconds: float,
    samples: list[Sample],
    figures: Sequence[Figures],
    bottleneck: str | None,
) -> Outcome:
    """Check the promises, and sum up."""
    tally = reader.tally
    if tally.lines != totals.lines:
        raise DemoError(f"{tally.lines} lines read, but {totals.lines} counted")
    for each in figures:
        if each.bound is not None and each.peak > each.bound:
            raise DemoError(f"{each.name!r} held {each.peak} items, its bound is {each.bound}")
    return Outcome(
        files=tally.files,
        damaged=tally.damaged,
        lines=tally.lines,
        names=totals.names,
        seconds=seconds,
        samples=samples,
        figures=tuple(figures),
        channels=tally.channels() if config.source == "sluicegate" else None,
        bottleneck=bottleneck,
    )
