"""The summary of the figures in sentences: what was gained, which peers are faster, and how quiet the machine was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from .environment import Environment
from .model import Figures, Result

QUIET_LOAD = 0.25
"""A machine counts as quiet if its load per core, before the bench begins, is below this."""

BUSY_LOAD = 0.75
"""A machine counts as busy if its load per core is at least this."""

QUIET_SPREAD = 0.1
"""The largest interquartile range of the rounds on a quiet machine, as a share of the median."""

BUSY_SPREAD = 0.3
"""From this interquartile range on the machine counts as busy, whatever its load."""

EVEN = 1.02
"""Two contenders whose times differ by at most this ratio are called equally fast."""


@dataclass(frozen=True)
class Machine:
    """How reliable the figures are: the load when the bench began, and the spread of the rounds."""

    load_per_core: float | None
    spread: float
    verdict: str

    @classmethod
    def judge(cls, environment: Environment, results: Sequence[Result] = ()) -> Machine:
        """Judge by the load, and by the spread if anything has been measured."""
        load = None if environment.load is None else environment.load / environment.cores_of_machine
        spread = median([spread_of(figures) for result in results for figures in result.figures] or [0.0])
        if spread >= BUSY_SPREAD or (load is not None and load >= BUSY_LOAD):
            verdict = "busy"
        elif spread >= QUIET_SPREAD or (load is not None and load >= QUIET_LOAD):
            verdict = "not quite quiet"
        else:
            verdict = "quiet"
        return cls(load, spread, verdict)

    @property
    def advice(self) -> str:
        """The consequence of the verdict for the user."""
        return {
            "quiet": "These figures can be compared.",
            "not quite quiet": "Ratios below 1.2 say little here.",
            "busy": "Read the ratios as orders of magnitude, and run the bench again when nothing else runs.",
        }[self.verdict]

    def as_json(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)


def warning(environment: Environment) -> str:
    """Return a warning to print before the first round; empty if the machine is quiet."""
    machine = Machine.judge(environment)
    if machine.verdict == "quiet":
        return ""
    return f"The machine is {machine.verdict}: load {environment.load:.2f} on {environment.cores_of_machine} cores. {machine.advice}"


def closing(environment: Environment, results: Sequence[Result], seconds: float) -> str:
    """Return the sentences for the end of the bench."""
    gains = [f"  {sentence}" for result in results if (sentence := gain(result))]
    lines = ["What a program gets on this machine:", *gains] if gains else []
    lines += [*comparisons(results), machine_in_words(environment, results), f"The bench took {seconds:.0f} s."]
    return "\n".join(lines)


def gain(result: Result) -> str:
    """Return the meaning of a row for a program, compared with the first peer and the fastest; empty without a peer or a `gain`."""
    peers = peers_of(result)
    if not peers or not result.row.gain:
        return ""
    fastest = min(peers, key=lambda peer: peer.median)
    sentence = f"{result.row.gain.format(rate=rate(result.figures[0]))}, {times(result.ratio(peers[0]))} {peers[0].name}"
    if fastest is peers[0]:
        return f"{sentence}."
    return f"{sentence} and {times(result.ratio(fastest))} {fastest.name}, the fastest other here."


def comparisons(results: Sequence[Result]) -> Iterator[str]:
    """Yield how often we were faster, and the names of the rows in which we were not."""
    ratios = {f"{result.row.name} {peer.name}": result.ratio(peer) for result in results for peer in peers_of(result)}
    if not ratios:
        return
    faster = sum(ratio > EVEN for ratio in ratios.values())
    yield f"sluicegate was faster in {faster} of {len(ratios)} comparisons with others."
    even = [name for name, ratio in ratios.items() if 1 / EVEN <= ratio <= EVEN]
    if even:
        yield f"Equally fast: {', '.join(even)}."
    slower = [f"{name} (takes {ratio:.2g} of our time)" for name, ratio in ratios.items() if ratio < 1 / EVEN]
    if slower:
        yield f"Faster than sluicegate: {', '.join(slower)}."


def machine_in_words(environment: Environment, results: Sequence[Result]) -> str:
    """Return the verdict on the machine, its reasons, and its consequence."""
    machine = Machine.judge(environment, results)
    load = "" if environment.load is None else f"load {environment.load:.2f} on {environment.cores_of_machine} cores at the start, "
    rounds = f"the middle half of the rounds within {machine.spread:.0%} of the median"
    return f"The machine was {machine.verdict}: {load}{rounds}. {machine.advice}"


def peers_of(result: Result) -> list[Figures]:
    """Return the figures of the peers."""
    names = {contender.name for contender in result.row.contenders[1:] if contender.peer}
    return [figures for figures in result.figures if figures.name in names]


def spread_of(figures: Figures) -> float:
    """Return the interquartile range of the rounds, as a share of the median."""
    low, high = figures.quartiles
    return (high - low) / figures.median


def times(ratio: float) -> str:
    """Return how many times as many items a contender handles that takes `ratio` times as long."""
    return f"{ratio:,.0f} times as many as" if ratio >= 10 else f"{ratio:.2g} times as many as"


def rate(figures: Figures) -> str:
    """Return the number of items per second, in words."""
    each_second = 1e9 / figures.median
    if each_second >= 1e6:
        return f"{each_second / 1e6:.3g} million"
    return f"{float(f'{each_second:.3g}'):,.0f}"
