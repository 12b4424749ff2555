"""Runs a row: chooses the number of items and of rounds, and the order."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from .model import Contender, Figures, Result, Row, Sample


@dataclass(frozen=True)
class Settings:
    """How long to measure. `least` below 1 reduces the minimum number of items of a row, and the significance of its figures."""

    rounds: int
    seconds: float
    least: float = 1.0

    def as_json(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)


FULL = Settings(rounds=7, seconds=0.25)
QUICK = Settings(rounds=3, seconds=0.02, least=0.1)


def run_row(row: Row, settings: Settings) -> Result:
    """Run the contenders in turn: A B C, A B C, ... so that a machine that gets busier slows all of them.

    A peer that is not installed or that fails is left out, with a message. If ours fails, the bench fails.
    """
    trial = _Trial(row, settings)
    for contender in row.contenders:
        trial.calibrate(contender)
    for _ in range(settings.rounds):
        for contender in row.contenders:
            trial.measure(contender)
    return trial.result()


class _Trial:
    """A row while it is being run."""

    def __init__(self, row: Row, settings: Settings) -> None:
        self.row = row
        self.settings = settings
        self.items: dict[str, int] = {}
        self.samples: dict[str, list[Sample]] = {contender.name: [] for contender in row.contenders}
        self.left_out = {contender.name: "not installed" for contender in row.contenders if not is_installed(contender)}

    def calibrate(self, contender: Contender) -> None:
        """Find the number of items that takes about the desired time. This also warms up."""
        if contender.name in self.left_out:
            return
        with self.leaving_out(contender):
            least = round_up(int(self.row.least * self.settings.least), self.row.step)
            items = least
            while (sample := contender.run(items)).seconds < self.settings.seconds / 4:
                items *= 4
            wanted = int(items * self.settings.seconds / sample.seconds)
            self.items[contender.name] = max(least, round_up(wanted, self.row.step))

    def measure(self, contender: Contender) -> None:
        """Run one round of a contender."""
        if contender.name in self.left_out:
            return
        with self.leaving_out(contender):
            self.samples[contender.name].append(contender.run(self.items[contender.name]))

    @contextmanager
    def leaving_out(self, contender: Contender) -> Generator[None]:
        """Drop a peer that fails."""
        try:
            yield
        except Exception as error:
            if contender is self.row.contenders[0]:
                raise
            cause = error.__cause__ or error
            self.left_out[contender.name] = f"failed: {type(cause).__name__}: {cause}"

    def result(self) -> Result:
        """Return the figures."""
        figures = tuple(Figures(name, tuple(samples)) for name, samples in self.samples.items() if name not in self.left_out)
        return Result(self.row, figures, self.left_out)


def is_installed(contender: Contender) -> bool:
    """Return whether the package that a contender needs is installed."""
    return contender.needs is None or find_spec(contender.needs) is not None


def round_up(items: int, step: int) -> int:
    """Return the smallest positive multiple of `step` that is not below `items`."""
    return max(1, -(-items // step)) * step
