"""What the command says: the formulas of `sluicegate.sizing`, put together for one question."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .. import _figures as say
from .. import sizing

DEFAULT_LOSS = 0.001
"""What may be refused, if nothing else says how large the queue must be."""

POINTS = 160
"""Of a curve."""

FULLEST = 0.95
"""Up to which utilisation waits are drawn: at 1 they are infinite."""


@dataclass(frozen=True)
class Question:
    """What was asked, in items a second and seconds."""

    arrival: float
    service: float
    workers: int = 1
    burst: float | None = None
    normal: float = 0.0
    deadline: float | None = None
    loss: float | None = None


@dataclass(frozen=True)
class Curve:
    """What can be drawn."""

    title: str
    x: list[float]
    y: list[float]


@dataclass
class Answer:
    """What was found. `maxsize` is None if no size is right."""

    paragraphs: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    maxsize: int | None = None
    curve: Curve | None = None

    def add(self, name: str, result: Any) -> None:
        """Say a result, and keep its figures."""
        self.paragraphs.append(str(result))
        self.figures[name] = dataclasses.asdict(result)


def answer(question: Question) -> Answer:
    """Return the answer.

    Raises ValueError for what does not fit together.
    """
    if question.normal and question.burst is None:
        raise ValueError("--normal says what arrives after a burst: give --burst too")
    found = Answer()
    if question.burst is not None:
        _size_for_burst(question, question.burst, found)
    else:
        _size_for_load(question, found)
    return found


def _size_for_burst(question: Question, burst: float, found: Answer) -> None:
    """A burst, after which the queue drains."""
    workers, arrival = question.workers, question.arrival
    buffer = sizing.burst_buffer(arrival, question.service, burst, workers=workers, normal=question.normal)
    found.add("burst", buffer)
    if not buffer.room:
        found.paragraphs = [buffer.sentences()[0]]
        _size_for_load(dataclasses.replace(question, arrival=max(arrival, question.normal)), found)
        return
    found.curve = _backlog(buffer)

    def room(workers: int) -> int:
        admitted = arrival * (1 - (question.loss or 0.0))
        needed = sizing.burst_buffer(admitted, question.service, burst, workers=workers, normal=question.normal)
        return needed.room + math.ceil(3 * needed.spread)

    needed = room(workers)
    found.maxsize = needed or None  # a maxsize of 0 is no bound
    if question.loss is not None:
        then = f"{needed:,} are enough, random arrivals included" if needed else "the rest can be served as it comes"
        found.paragraphs.append(f"If {say.say_share(question.loss)} of the burst may be refused, {then}.")
    if question.deadline is not None:
        _fit_deadline(question, question.deadline, "burst", room, found)


def _size_for_load(question: Question, found: Answer) -> None:
    """A steady stream, to be served without end."""
    arrival, service, workers = question.arrival, question.service, question.workers
    steady = sizing.mmc(arrival, service, workers)
    found.add("steady", steady)
    if math.isinf(steady.wait):
        _count_workers(question, found)
        return
    found.curve = _waits(service, workers)
    loss = question.loss
    if loss is None and question.deadline is None:
        loss = DEFAULT_LOSS
    if loss is not None:
        bound = sizing.loss_bound(arrival, service, loss, workers=workers)
        found.add("loss", bound)
        found.maxsize = bound.maxsize
    if question.deadline is not None:
        needed: Callable[[int], int] | None = None
        if loss is not None:
            needed = _room_for_loss(arrival, service, loss)
        _fit_deadline(question, question.deadline, "loss", needed, found)


def _room_for_loss(arrival: float, service: float, loss: float) -> Callable[[int], int]:
    def room(workers: int) -> int:
        found = sizing.loss_bound(arrival, service, loss, workers=workers).maxsize
        assert found is not None, "asked only for pools that keep up"  # noqa: S101 -- tells the type checker
        return found

    return room


def _count_workers(question: Question, found: Answer) -> None:
    """More arrives than can be served."""
    enough = math.floor(question.arrival / question.service) + 1
    wait = own = 1 / question.service
    if question.deadline is not None:
        if question.deadline <= own:
            found.paragraphs.append(
                f"{enough:,} workers can keep up, but as one item takes {say.say_seconds(own)}, no number of them can be sure "
                f"of a deadline of {say.say_seconds(question.deadline)}."
            )
            return
        wait = question.deadline - own
    good = sizing.workers_needed(question.arrival, question.service, target_wait=wait, percentile=99)
    found.figures["workers_needed"] = good.workers
    then = ", and then" if good.workers == enough else f"; with {good.workers:,},"
    found.paragraphs.append(
        f"{enough:,} workers can keep up{then} 99 % of the items wait no longer than {say.say_seconds(wait)}. "
        "A larger queue is full a little later, and makes everything in it late."
    )
    if question.deadline is not None:
        _fit_deadline(question, question.deadline, "", None, found)
        if found.maxsize is not None:
            workers = say.say_many(question.workers, "worker")
            found.paragraphs.append(f"With {workers}, bound the queue at {found.maxsize:,} and refuse the rest.")


def _fit_deadline(question: Question, deadline: float, what: str, needed: Callable[[int], int] | None, found: Answer) -> None:
    """A deadline, which bounds the queue from above."""
    bound = sizing.deadline_bound(question.service, deadline, workers=question.workers)
    found.add("deadline", bound)
    found.maxsize = bound.maxsize
    if needed is None:
        return
    room = needed(question.workers)
    if room <= (bound.maxsize or 0):
        found.maxsize = room or None
        return
    most = f"more than {bound.maxsize:,}" if bound.maxsize is not None else "any"
    text = f"The {what} and the deadline do not go together: the {what} needs room for {room:,}, and with {most} waiting items are late."
    workers = _fewest_workers(question, deadline, needed)
    if workers is not None:
        found.figures["workers_needed"] = workers
        room = needed(workers)
        text += f" {workers:,} workers can do both" + (f", with a maxsize of {room:,}." if room else ": they keep up with the burst.")
    if bound.maxsize is not None:
        text += f" With {say.say_many(question.workers, 'worker')}, bound the queue at {bound.maxsize:,} and refuse the rest."
    found.paragraphs.append(text)


def _fewest_workers(question: Question, deadline: float, needed: Callable[[int], int]) -> int | None:
    """The fewest workers with which what is needed is no more than what the deadline allows."""

    def fits(workers: int) -> bool:
        room = needed(workers)
        return room <= (sizing.deadline_bound(question.service, deadline, workers=workers).maxsize or 0)

    low, high = question.workers, 2 * question.workers
    while not fits(high):
        low, high = high, 2 * high
        if high > 1_000_000:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _backlog(buffer: sizing.BurstBuffer) -> Curve:
    """Items waiting during the burst and after it."""
    grows, flows = buffer.arrival - buffer.service * buffer.workers, buffer.service * buffer.workers - buffer.normal
    length = buffer.burst + min(buffer.drain, 2 * buffer.burst)
    x = sorted({buffer.burst, *(length * i / POINTS for i in range(POINTS + 1))})  # with the peak among them
    y = [min(grows * t, max(0.0, grows * buffer.burst - flows * (t - buffer.burst))) for t in x]
    return Curve("items waiting, by seconds since the burst began", x, y)


def _waits(service: float, workers: int) -> Curve:
    """Mean waits for less and for more than there is now."""
    x = [service * workers * FULLEST * (i + 1) / POINTS for i in range(POINTS)]
    return Curve("mean wait (ms), by items a second", x, [1000 * sizing.mmc(rate, service, workers).wait for rate in x])
