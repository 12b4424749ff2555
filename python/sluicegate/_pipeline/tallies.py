"""What is kept of a run for its statistics: the figures of workers that are gone, and of earlier snapshots."""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Marks", "Tally"]

#: Rates "at this moment" are those of at least so many seconds, if there is a snapshot that is so old.
_WINDOW = 1.0


class Tally:
    """What the workers of a stage have done together."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.taken = self.made = self.failed = 0
        #: How many calls took how long: see `workers.bucket`.
        self.times: dict[int, int] = {}

    def add(self, worker: Any) -> None:
        """Add what a worker has done, or the workers of another tally."""
        self.seconds += worker.seconds
        self.taken += worker.taken
        self.made += worker.made
        self.failed += worker.failed
        for bucket, count in list(worker.times.items()):
            self.times[bucket] = self.times.get(bucket, 0) + count


class Marks:
    """How many items the stages had passed on at earlier snapshots, for rates of late. Nothing is measured between snapshots."""

    def __init__(self, started: float, stages: int) -> None:
        self.marks: deque[tuple[float, list[int]]] = deque([(started, [0] * stages)])

    def latency(self, now: float, passed: list[int], held: list[int]) -> float:
        """Return how long an item is on the way, by Little's law: the items that each stage holds, divided by its rate of late."""
        marks = self.marks
        while len(marks) > 1 and now - marks[1][0] >= _WINDOW:
            marks.popleft()
        then, before = marks[0]
        if now - marks[-1][0] >= _WINDOW / 8:
            marks.append((now, passed))
        # A stage that has passed on nothing may do so now, so this is the least that it can be.
        return (now - then) * sum(each / max(1, end - start) for each, end, start in zip(held, passed, before, strict=True))
