"""What the stages of a run had passed on at earlier snapshots."""

from __future__ import annotations

from collections import deque

__all__ = ["Marks"]

#: Rates "at this moment" are those of at least so many seconds, if there is a snapshot that is so old.
_WINDOW = 1.0


class Marks:
    """What the stages had passed on at earlier snapshots, for rates of late. Nothing is measured between snapshots."""

    def __init__(self, started: float, stages: int) -> None:
        self.marks: deque[tuple[float, list[int]]] = deque([(started, [0] * stages)])

    def latency(self, now: float, passed: list[int], held: list[int]) -> float:
        """How long an item is on the way, by Little's law: what each stage holds, divided by what it has passed on a second of late."""
        marks = self.marks
        while len(marks) > 1 and now - marks[1][0] >= _WINDOW:
            marks.popleft()
        then, before = marks[0]
        if now - marks[-1][0] >= _WINDOW / 8:
            marks.append((now, passed))
        # A stage that has passed on nothing may do so now, so this is the least that it can be.
        return (now - then) * sum(each / max(1, end - start) for each, end, start in zip(held, passed, before, strict=True))
