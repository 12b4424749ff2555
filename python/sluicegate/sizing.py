"""How large a queue should be, and how many workers should take from it.

Textbook formulas, and advice from what a queue has measured. Rates are items a second, and times are seconds, as a number or a
`timedelta`. `service` is always the rate of *one* worker. Each function returns a frozen object with its arguments and its
figures; `sentences()` says them in plain English, and `str()` in one paragraph.

The models named M/M/... (Kendall's notation) suppose that items arrive at random, independently of each other (a Poisson process),
and that service times are random too (exponentially distributed). Real traffic is often burstier, so read their results as the least
that is needed. Their source, if no other is named, is Kleinrock, *Queueing Systems*, volume 1 (1975), chapter 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, Protocol

from sluicegate import _figures as say
from sluicegate._figures import Number
from sluicegate._statistics import QueueStatistics

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = [
    "MM1K",
    "MMC",
    "Advice",
    "BurstBuffer",
    "DeadlineBound",
    "LittlesLaw",
    "LossBound",
    "burst_buffer",
    "deadline_bound",
    "from_statistics",
    "littles_law",
    "loss_bound",
    "mm1k",
    "mmc",
    "workers_needed",
]

_MOST_WORKERS = 1_000_000
_MOST_ITEMS = 2.0**62


class _Result:
    """Figures that can be said."""

    __slots__ = ()

    def sentences(self) -> tuple[str, ...]:
        """Return what the figures mean, a sentence each."""
        raise NotImplementedError

    def __str__(self) -> str:
        return " ".join(self.sentences())


def _workers(n: int) -> str:
    return say.say_many(n, "worker")


def _items(count: float) -> int:
    """A number of items, rounded up, but not because of a rounding error."""
    if count > _MOST_ITEMS:
        raise OverflowError(f"the result is too large: {count:.3g} items")
    return math.ceil(count - 1e-9 * max(1.0, count))


# Little's law.


@dataclass(frozen=True, slots=True)
class LittlesLaw(_Result):
    """What `littles_law` returns.

    Attributes:
        length: The mean number of items inside.
        arrival: Items a second that go in, and so come out.
        wait: The mean time that an item is inside, in seconds.
    """

    length: float
    arrival: float
    wait: float

    def sentences(self) -> tuple[str, ...]:
        """Return what the figures mean, a sentence each."""
        time, inside = say.say_seconds(self.wait), say.say_number(self.length)
        return (f"With {say.say_rate(self.arrival)} going in, each inside for {time} on average, {inside} are inside on average.",)


def littles_law(*, length: Number | None = None, arrival: Number | None = None, wait: Number | timedelta | None = None) -> LittlesLaw:
    """Return the third of `length`, `arrival` and `wait` from two: length = arrival * wait.

    It holds for whatever things go into and come out of, however they arrive and are served, in the long run. With
    `wait` the time in the queue, `length` is the number that wait; with the service included, that of items waiting and served.

    Source: J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research 9 (1961).

    Args:
        length: The mean number of items inside.
        arrival: Items a second.
        wait: The mean time that an item is inside, in seconds.

    Raises:
        TypeError: Not exactly two are given, or one is not a number.
        ValueError: One is not positive and finite.
    """
    given = {"length": length, "arrival": arrival, "wait": wait}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) != 1:
        raise TypeError(f"give two of 'length', 'arrival' and 'wait': {3 - len(missing)} were given")
    if wait is None:
        many, rate = say.positive("length", length), say.positive("arrival", arrival)
        return LittlesLaw(many, rate, many / rate)
    time = say.seconds("wait", wait)
    if length is None:
        rate = say.positive("arrival", arrival)
        return LittlesLaw(rate * time, rate, time)
    many = say.positive("length", length)
    return LittlesLaw(many, many / time, time)


# A burst.


@dataclass(frozen=True, slots=True)
class BurstBuffer(_Result):
    """What `burst_buffer` returns.

    Attributes:
        arrival: Items a second during the burst.
        service: Items a second that one worker serves.
        burst: How long the burst lasts, in seconds.
        workers: How many workers there are.
        normal: Items a second that arrive afterwards.
        room: Items that are waiting when the burst ends, and for which the queue needs room. If it is 0, no buffer is needed; a queue
            must then have a `maxsize` of 1, because 0 is no bound.
        spread: The standard deviation of that number if arrivals and service times are random; 0 if no backlog builds up.
        wait: How long the last of those items waits, in seconds.
        drain: How long it takes until they are gone, in seconds; `inf` if it never ends.
    """

    arrival: float
    service: float
    burst: float
    workers: int
    normal: float
    room: int
    spread: float
    wait: float
    drain: float

    def sentences(self) -> tuple[str, ...]:
        """Return what the figures mean, a sentence each."""
        served, arrive = say.say_rate(self.service * self.workers), say.say_arriving(self.arrival)
        if not self.room:
            serve = "serves" if self.workers == 1 else "serve"
            return (
                f"{_workers(self.workers)} {serve} {served}, and {arrive}: no backlog builds up.",
                "Only chance makes items wait: `mm1k` and `mmc` say how long.",
            )
        lines = [
            (f"In a burst of {say.say_seconds(self.burst)}, {arrive}, and {served} can be served: the queue needs room for {self.room:,}."),
            f"The last of them waits {say.say_seconds(self.wait)}.",
        ]
        if self.spread >= 1:
            lines.append(f"If arrivals are random, make that {self.room + math.ceil(3 * self.spread):,}: three standard deviations more.")
        after = f"With {say.say_rate(self.normal)} afterwards" if self.normal else "With nothing arriving afterwards"
        if math.isinf(self.drain):
            lines.append(f"{after}, the backlog never goes away: the next burst finds the queue full.")
        else:
            lines.append(f"{after}, it takes {say.say_seconds(self.drain)} until the queue is empty.")
        return tuple(lines)


def burst_buffer(arrival: Number, service: Number, burst: Number | timedelta, *, workers: int = 1, normal: Number = 0) -> BurstBuffer:
    """Return the room that a queue needs to take in a burst, and how long it takes to be empty again.

    Both are fluid approximations: `room` is (arrival - workers * service) * burst, and it flows off at
    workers * service - normal items a second. If arrivals and services are Poisson processes, the
    number that is really waiting differs from `room`, with the standard deviation sqrt((arrival + workers * service) * burst).

    Source: Newell, *Applications of Queueing Theory* (1982), chapter 2 (cumulative arrivals and departures).

    Args:
        arrival: Items a second during the burst.
        service: Items a second that one worker serves.
        burst: How long the burst lasts, in seconds.
        workers: How many workers there are, a million at most.
        normal: Items a second that arrive afterwards, while the backlog flows off.

    Raises:
        TypeError: An argument is not a number.
        ValueError: An argument is not positive and finite (`normal` may be 0).
        OverflowError: The room is more than 2**62.
    """
    rate, each, time = say.positive("arrival", arrival), say.positive("service", service), say.seconds("burst", burst)
    workers, after = say.whole("workers", workers, most=_MOST_WORKERS), say.not_negative("normal", normal)
    capacity = each * workers
    backlog = max(0.0, rate - capacity) * time
    room = _items(backlog)
    spread = math.sqrt((rate + capacity) * time) if room else 0.0
    drain = 0.0
    if room:
        drain = backlog / (capacity - after) if capacity > after else math.inf
    return BurstBuffer(rate, each, time, workers, after, room, spread, backlog / capacity, drain)


# One worker and a bound.


@dataclass(frozen=True, slots=True)
class MM1K(_Result):
    """What `mm1k` returns.

    Attributes:
        arrival: Items a second that arrive, those that are refused included.
        service: Items a second that the worker can serve.
        k: Items that fit: the `maxsize` of the queue, and one more that is being served.
        loss: The part of all arrivals that is refused, because `k` items are inside.
        throughput: Items a second that are served.
        utilisation: The part of its time that the worker works.
        length: The mean number of items inside, the one that is being served included.
        waiting: The mean number of items that wait.
        wait: The mean time from an admitted item's arrival to the beginning of its service, in seconds.
        sojourn: The mean time from an admitted item's arrival to the end of its service, in seconds.
    """

    arrival: float
    service: float
    k: int
    loss: float
    throughput: float
    utilisation: float
    length: float
    waiting: float
    wait: float
    sojourn: float

    def sentences(self) -> tuple[str, ...]:
        """Return what the figures mean, a sentence each."""
        lost = f"{say.say_share(self.loss)} of them are refused" if self.loss else "none of them is refused"
        return (
            f"With {say.say_rate(self.arrival)} arriving at random, and room for {self.k - 1:,} that wait, {lost}.",
            f"The worker is busy {say.say_share(self.utilisation)} of the time, and {say.say_number(self.throughput)} a second are served.",
            f"{say.say_number(self.waiting)} items wait on average, each for {say.say_seconds(self.wait)}.",
        )


def mm1k(arrival: Number, service: Number, k: int) -> MM1K:
    """Return the figures of a bounded queue with one worker, which refuses what arrives while it is full: M/M/1/K.

    `k` counts the item that is being served, so a queue of `maxsize` m with one worker has k = m + 1. The result is
    accurate for any load, near and at 1 too, and for any `k`.

    Source: Kleinrock, *Queueing Systems* 1 (1975), section 3.6.

    Args:
        arrival: Items a second, refused ones included.
        service: Items a second that the worker can serve.
        k: Items that fit, at least 1.

    Raises:
        TypeError: An argument is not a number, or `k` is not an integer.
        ValueError: A rate is not positive and finite, or `k` less than 1.
    """
    rate, each = say.positive("arrival", arrival), say.positive("service", service)
    places = say.whole("k", k, most=int(_MOST_ITEMS))
    log = _log_ratio(rate, each)
    loss = _last_state(log, places)
    # Of what arrives and of what could be served, that in which nothing cancels out.
    throughput = rate * (1 - loss) if log <= 0 else each * (1 - _last_state(-log, places))
    busy = min(1.0, throughput / each)
    # While the worker is busy, those that wait behind it are themselves distributed as in M/M/1/(k - 1).
    waiting = _mean_state(log, places - 1)
    wait = waiting / each
    return MM1K(rate, each, places, loss, throughput, busy, busy * (1 + waiting), busy * waiting, wait, wait + 1 / each)


def _log_ratio(rate: float, each: float) -> float:
    """The logarithm of the load, to full precision near a load of 1."""
    off = (rate - each) / each
    return math.log1p(off) if abs(off) < 0.5 else math.log(rate) - math.log(each)


def _last_state(log: float, k: int) -> float:
    """How likely the last of the states 0 to k is, if each is exp(log) times as likely as the one before it."""
    if log == 0:
        return 1 / (k + 1)
    if log > 0:
        return math.expm1(-log) / math.expm1(-(k + 1) * log)
    return math.exp(k * log) * math.expm1(log) / math.expm1((k + 1) * log)


def _mean_state(log: float, k: int) -> float:
    """The mean of those states.

    For a log < 0 it is 1 / (exp(-log) - 1) - n / (exp(-n log) - 1), with n = k + 1. Near 0 both terms are large and their difference
    is not: there it is written with the Langevin function, which is coth(x) - 1 / x.
    """
    if log > 0:
        return k - _mean_state(-log, k)
    n = k + 1
    if n * log > -1:
        return (k + n * _langevin(n * log / 2) - _langevin(log / 2)) / 2
    return _odds(log) - n * _odds(n * log)


def _odds(log: float) -> float:
    """1 / (exp(-log) - 1) for a log < 0, where exp(-log) may be too large for a float."""
    return -math.exp(log) / math.expm1(log)


def _langevin(x: float) -> float:
    if abs(x) > 0.1:
        return 1 / math.tanh(x) - 1 / x
    square = x * x
    return x * (1 / 3 - square * (1 / 45 - square * (2 / 945 - square * (1 / 4725 - square * 2 / 93555))))


# Several workers.


@dataclass(frozen=True, slots=True)
class MMC(_Result):
    """What `mmc` and `workers_needed` return.

    Attributes:
        arrival: Items a second.
        service: Items a second that one worker can serve.
        workers: How many workers there are.
        utilisation: The part of its time that each worker works; 1.0 if more arrives than can be served.
        waits: How likely an item is to wait at all.
        waiting: The mean number of items that wait; `inf` if more arrives than can be served.
        wait: The mean time that an item waits, in seconds, those that do not wait included; `inf` likewise.
        sojourn: The mean time from an item's arrival to the end of its service, in seconds; `inf` likewise.
    """

    arrival: float
    service: float
    workers: int
    utilisation: float
    waits: float
    waiting: float
    wait: float
    sojourn: float

    def wait_percentile(self, percent: Number) -> float:
        """Return the time, in seconds, that `percent` per cent of all items do not exceed; `inf` if more arrives than can be served.

        Raises:
            TypeError: `percent` is not a number.
            ValueError: `percent` is not from 1 to 100 (write 99 for 99 %).
        """
        return _wait_percentile(say.percentage("percent", percent), self.waits, self.workers * self.service - self.arrival)

    def sentences(self) -> tuple[str, ...]:
        """Return what the figures mean, a sentence each."""
        rate, served = say.say_rate(self.arrival), say.say_rate(self.service * self.workers)
        if math.isinf(self.wait):
            return (
                (
                    f"{_workers(self.workers)} can serve {served}, and {say.say_arriving(self.arrival)}: the queue grows without end, "
                    "or refuses items, whatever its size."
                ),
            )
        each = "it is" if self.workers == 1 else "each is"
        return (
            f"{_workers(self.workers)} can serve {served}.",
            f"With {rate} arriving {each} busy {say.say_share(self.utilisation)} of the time.",
            (
                f"{say.say_share(self.waits)} of all items wait: on average {say.say_seconds(self.wait)}, "
                f"and 99 % of them no longer than {say.say_seconds(self.wait_percentile(99))}."
            ),
            f"{say.say_number(self.waiting)} items wait on average.",
        )


def _wait_percentile(percent: float, waits: float, spare: float) -> float:
    if spare <= 0:
        return math.inf
    above = 1 - percent / 100
    return math.log(waits / above) / spare if waits > above else 0.0


def mmc(arrival: Number, service: Number, c: int) -> MMC:
    """Return the figures of an unbounded queue with `c` workers: M/M/c, or Erlang's C formula.

    If as much arrives as can be served, or more, no queue is long enough: the waits are `inf`.

    Source: A. K. Erlang (1917); Kleinrock, *Queueing Systems* 1 (1975), section 3.5. Erlang's B is computed by its recursion
    and C from it, so that no factorial overflows.

    Args:
        arrival: Items a second.
        service: Items a second that one worker can serve.
        c: How many workers there are, a million at most.

    Raises:
        TypeError: An argument is not a number, or `c` is not an integer.
        ValueError: A rate is not positive and finite, or `c` out of its range.
    """
    rate, each = say.positive("arrival", arrival), say.positive("service", service)
    workers = say.whole("c", c, most=_MOST_WORKERS)
    return _mmc(rate, each, workers, _erlang_b(rate / each, workers))


def _erlang_b(load: float, workers: int) -> float:
    """How likely all workers are busy if nothing may wait."""
    blocked = 1.0
    for n in range(1, workers + 1):
        blocked = _one_more(blocked, load, n)
    return blocked


def _one_more(blocked: float, load: float, n: int) -> float:
    """Erlang's B for n workers, from that for n - 1."""
    return load * blocked / (n + load * blocked)


def _mmc(rate: float, each: float, workers: int, blocked: float) -> MMC:
    spare = workers * each - rate
    if spare <= 0:
        return MMC(rate, each, workers, 1.0, 1.0, math.inf, math.inf, math.inf)
    busy = rate / (workers * each)
    waits = blocked / (1 - busy * (1 - blocked))
    wait = waits / spare
    return MMC(rate, each, workers, busy, waits, rate * wait, wait, wait + 1 / each)


def workers_needed(arrival: Number, service: Number, *, target_wait: Number | timedelta, percentile: Number | None = None) -> MMC:
    """Return the figures for as few workers as keep the wait below a target, by `mmc`; how many that is, is its `workers`.

    Source: as for `mmc`.

    Args:
        arrival: Items a second.
        service: Items a second that one worker can serve.
        target_wait: How long items may wait before their service begins, in seconds.
        percentile: How many per cent of the items must not wait longer; if it is None, the mean must not be longer.

    Raises:
        TypeError: An argument is not a number.
        ValueError: An argument is not positive and finite, `percentile` is not from 1 to 100 (write 99 for 99 %), or a million workers
            are not enough.
    """
    rate, each, target = say.positive("arrival", arrival), say.positive("service", service), say.seconds("target_wait", target_wait)
    percent = None if percentile is None else say.percentage("percentile", percentile)
    load = rate / each
    if load >= _MOST_WORKERS:
        raise ValueError(f"'arrival' is {load:.3g} times 'service': more than a million workers would be needed")
    blocked = 1.0
    for workers in range(1, _MOST_WORKERS + 1):
        blocked = _one_more(blocked, load, workers)
        if workers > load:
            figures = _mmc(rate, each, workers, blocked)
            wait = figures.wait if percent is None else _wait_percentile(percent, figures.waits, workers * each - rate)
            if wait <= target:
                return figures
    raise ValueError(f"'target_wait' is too short: a million workers are not enough for {target_wait!r}")


# Bounds: for a deadline, and for a loss.


@dataclass(frozen=True, slots=True)
class DeadlineBound(_Result):
    """What `deadline_bound` returns.

    Attributes:
        service: Items a second that one worker serves.
        deadline: When an item must be done, in seconds from its arrival.
        workers: How many workers there are.
        percentile: How many per cent of the items that take the last place must be in time.
        maxsize: The most items that may wait, if service times are random; None if no item may. (0 is no bound for a queue.)
        maxsize_even: The same if all service times are equal, and all items must be in time.
    """

    service: float
    deadline: float
    workers: int
    percentile: float
    maxsize: int | None
    maxsize_even: int | None

    def sentences(self) -> tuple[str, ...]:
        """Return what the figures mean, a sentence each."""
        served, deadline = say.say_rate(self.service * self.workers), say.say_seconds(self.deadline)
        if self.maxsize_even is None:
            why = f"one item takes {say.say_seconds(1 / self.service)}"
            return (f"Nothing may wait: {why}, so what finds all workers busy cannot count on being done within {deadline}.",)
        even = f"If every item takes exactly {say.say_seconds(1 / self.service)}, {self.maxsize_even:,} may wait."
        if self.maxsize is None:
            return (
                f"If service times are random, nothing may wait that must be done within {deadline} in {self.percentile:g} % of cases.",
                even,
            )
        return (
            (
                f"With {say.say_many(self.maxsize, 'item')} waiting, and {served} served, the last one is done within {deadline} "
                f"in {self.percentile:g} % of cases: a queue with more room only makes items late."
            ),
            even,
        )


def deadline_bound(service: Number, deadline: Number | timedelta, *, workers: int = 1, percentile: Number = 99) -> DeadlineBound:
    """Return how many items may wait so that even the one that takes the last place is *done* within `deadline` seconds.

    The time that it takes is that of as many departures as there are places, and of its own service: with exponential service
    times a sum of them, which is gamma distributed with one worker, and nearly so with several. Its percentile is that of Wilson and
    Hilferty's approximation, which is within 1 %.

    Source: Wilson and Hilferty, "The distribution of chi-square", PNAS 17 (1931).

    Args:
        service: Items a second that one worker serves.
        deadline: Seconds from arrival to the end of the service.
        workers: How many workers there are.
        percentile: How many per cent of the items that take the last place must be in time.

    Raises:
        TypeError: An argument is not a number.
        ValueError: An argument is not positive and finite, or `percentile` is not from 1 to 100 (write 99 for 99 %).
        OverflowError: More than 2**62 items may wait.
    """
    each, time = say.positive("service", service), say.seconds("deadline", deadline)
    workers, percent = say.whole("workers", workers, most=_MOST_WORKERS), say.percentage("percentile", percentile)
    z = NormalDist().inv_cdf(percent / 100)
    # Rounds of equal services that the deadline has time for, the last of them the item's own.
    rounds = math.floor(min(each * time, _MOST_ITEMS) * (1 + 1e-12)) - 1
    even = _items(rounds * workers) if rounds > 0 else None
    return DeadlineBound(each, time, workers, percent, _largest(time, each, workers, z) or None, even)


def _largest(deadline: float, each: float, workers: int, z: float) -> int:
    """The largest number of waiting items of which the last is in time."""
    low, high = 0, 1
    while _finish(high, each, workers, z) <= deadline:
        low, high = high, 2 * high
        if high > _MOST_ITEMS:
            raise OverflowError("the result is too large: more than 2**62 items")
    while high - low > 1:
        middle = (low + high) // 2
        if _finish(middle, each, workers, z) <= deadline:
            low = middle
        else:
            high = middle
    return low


def _finish(places: int, each: float, workers: int, z: float) -> float:
    """A percentile of the time until the last of `places` waiting items is done."""
    departure, own = 1 / (each * workers), 1 / each
    mean = places * departure + own
    shape = mean * mean / (places * departure * departure + own * own)
    return mean * (1 - 1 / (9 * shape) + z / (3 * math.sqrt(shape))) ** 3


@dataclass(frozen=True, slots=True)
class LossBound(_Result):
    """What `loss_bound` returns.

    Attributes:
        arrival: Items a second, refused ones included.
        service: Items a second that one worker serves.
        target: The part of all arrivals that may be refused.
        workers: How many workers there are.
        maxsize: The least number of items that must be able to wait; None if no number is enough.
        loss: The part of all arrivals that is refused then; without end, if `maxsize` is None.
    """

    arrival: float
    service: float
    target: float
    workers: int
    maxsize: int | None
    loss: float

    def sentences(self) -> tuple[str, ...]:
        """Return what the figures mean, a sentence each."""
        rate, served = say.say_rate(self.arrival), say.say_rate(self.service * self.workers)
        if self.maxsize is None:
            return (
                (
                    f"No queue is large enough: {say.say_arriving(self.arrival)}, and {served} can be served, "
                    f"so {say.say_share(self.loss)} must be refused whatever its size."
                ),
            )
        places = say.say_many(self.maxsize, "item")
        return (
            (
                f"With room for {places}, {say.say_share(self.loss)} of {rate} is refused, if they arrive at random "
                f"and {_workers(self.workers)} can serve {served}."
            ),
        )


def loss_bound(arrival: Number, service: Number, loss: Number, *, workers: int = 1) -> LossBound:
    """Return the smallest `maxsize` with which no more than a part `loss` of all items finds the queue full: M/M/c/K.

    If more arrives than can be served, a part of it must be refused, whatever the size of the queue.

    Source: Erlang's B and the recursion that a place more obeys, B = load * B / (1 + load * B); Kleinrock, *Queueing
    Systems* 1 (1975), sections 3.6 and 3.8.

    Args:
        arrival: Items a second, refused ones included.
        service: Items a second that one worker serves.
        loss: The part of all items that may be refused, between 0 and 1.
        workers: How many workers there are, a million at most.

    Raises:
        TypeError: An argument is not a number.
        ValueError: A rate is not positive and finite, or `loss` is not between 0 and 1.
        OverflowError: The size is more than 2**62.
    """
    rate, each, target = say.positive("arrival", arrival), say.positive("service", service), say.positive("loss", loss)
    if target >= 1:
        raise ValueError(f"'loss' must be between 0 and 1, got {loss!r}")
    workers = say.whole("workers", workers, most=_MOST_WORKERS)
    # With x = 1 / B, a place more makes x into 1 + x / load.
    first, last = 1 / max(_erlang_b(rate / each, workers), 1e-300), 1 / target
    log = -_log_ratio(rate, each * workers)
    odds = math.expm1(min(log, 700.0))  # 1 / load - 1

    def after(places: int) -> float:
        """1 / B with so many places."""
        if log == 0:
            return first + places
        if places * log > 700:
            return math.inf
        return first * math.exp(places * log) + math.expm1(places * log) / odds

    if log < 0 and last >= -1 / odds:
        return LossBound(rate, each, target, workers, None, -odds)
    low, high = 0, 1
    while after(high) < last:
        low, high = high, 2 * high
        if high > _MOST_ITEMS:
            raise OverflowError("the result is too large: more than 2**62 items")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if after(middle) >= last else (middle, high)
    return LossBound(rate, each, target, workers, high, 1 / after(high))


# Advice from what was measured.


class _Latency(Protocol):
    """What statistics carry in `latency` if the queue measures how long items are in it, in seconds."""

    @property
    def count(self) -> int: ...
    @property
    def p99(self) -> float: ...


class _HasStatistics(Protocol):
    def statistics(self) -> QueueStatistics: ...


@dataclass(frozen=True, slots=True)
class Advice(_Result):
    """What `from_statistics` returns.

    Attributes:
        bottleneck: Which side is slower. `"consumers"`: puts wait for room, or items are lost. `"producers"`: gets wait for items.
            `"bursts"`: each waits for the other in turn, or items are lost though the workers are idle for more than a fifth of the
            time, so more room would help. `"neither"`: nobody has waited, and nothing was lost.
        maxsize: The queue's bound; 0 or less for none.
        peak_size: The most items that it has held.
        suggested_maxsize: A better bound; None if there is no reason to change it, or too little is known.
        puts: Items put.
        mean_put_wait: How long a put has waited for room on average, in seconds.
        p99: How long 99 % of the items were in the queue at most, in seconds; None, because queues do not measure that.
        throughput: Items taken a second; None if `seconds` is not known.
        utilisation: The part of the workers' time in which they did not wait for items; None if `seconds` or `workers` is not known.
        service: Items a second that one worker takes while it does not wait; None likewise.
        workers: How many workers there are; None if that is not known.
        deadline: When an item should be done, in seconds; None if there is no deadline.
        lost: Items refused or dropped because the queue was full. Refused ones count only with `overflow="reject"`.
        late: Items dropped because they had waited too long: their `ttl` had passed, or they were shed.
        gets: Items taken.
        max_weight: The bound on what the items weigh together; None if there is none.
    """

    bottleneck: Literal["consumers", "producers", "neither", "bursts"]
    maxsize: int
    peak_size: int
    suggested_maxsize: int | None
    puts: int
    mean_put_wait: float
    p99: float | None
    throughput: float | None
    utilisation: float | None
    service: float | None
    workers: int | None
    deadline: float | None
    lost: int = 0
    late: int = 0
    gets: int = 0
    max_weight: int | None = None

    def sentences(self) -> tuple[str, ...]:
        """Return what the figures mean, a sentence each."""
        if not self.puts and not self.lost and not self.late:
            return ("Nothing has been put into the queue, so there is nothing to go by.",)
        return (*self._what_was_seen(), *self._what_it_means(), *self._what_to_do())

    def _what_was_seen(self) -> list[str]:
        if self.maxsize > 0:
            most = f"of the {self.maxsize:,} that fit"
        elif self.max_weight is not None:
            most = f"and is bounded by weight, at {self.max_weight:,}"
        else:
            most = "and has no bound"
        lines = [f"The queue has held {self.peak_size:,} {most}."]
        if self.utilisation is not None and self.throughput is not None and self.workers is not None:
            are = "was" if self.workers == 1 else "were"
            lines.append(
                f"{_workers(self.workers)} took {say.say_rate(self.throughput)} "
                f"and {are} busy {say.say_share(self.utilisation)} of the time."
            )
        elif self.throughput is not None:
            lines.append(f"Taken: {say.say_rate(self.throughput)}.")
        lines += self._what_was_lost()
        if self.p99 is not None:
            lines.append(f"99 % of the items were in it for {say.say_seconds(self.p99)} at most.")
        return lines

    def _what_was_lost(self) -> list[str]:
        lines = []
        for count, why in (
            (self.lost, "refused or dropped because it was full"),
            (self.late, "dropped because of waiting too long"),
        ):
            if count:
                share = say.say_share(count / (self.gets + self.lost + self.late))
                was = "was" if count == 1 else "were"
                lines.append(f"{say.say_many(count, 'item')} {was} {why}: {share} of all that were taken or lost.")
        return lines

    def _what_it_means(self) -> list[str]:
        if self.bottleneck == "consumers" and (self.lost or self.late):
            more = "More room would only make items older; more or faster workers help."
            return [f"The consumers are the bottleneck: they do not keep up, and what they cannot take is lost. {more}"]
        if self.bottleneck == "consumers":
            return [
                (
                    f"The consumers are the bottleneck: a put has waited {say.say_seconds(self.mean_put_wait)} for room on average. "
                    "More room would only make items older; more or faster workers help."
                )
            ]
        if self.bottleneck == "bursts" and self.lost:
            return ["Items are lost in bursts, and at other times the consumers wait for items: more room evens that out."]
        if self.bottleneck == "bursts":
            return ["Producers and consumers have waited for each other in turn: more room evens that out."]
        if self.bottleneck == "producers":
            return ["The producers are the bottleneck: consumers wait for items, and puts hardly ever for room. More room changes nothing."]
        if self._has_been_full():
            return [
                "Nobody has waited yet.",
                'The queue has been full, though, and a put that does not wait is refused then: only overflow="reject" counts those.',
            ]
        return ["Nobody has waited yet."]

    def _has_been_full(self) -> bool:
        return 0 < self.maxsize <= self.peak_size

    def _what_to_do(self) -> list[str]:
        late = self.deadline is not None and self.p99 is not None and self.p99 > self.deadline
        lines = []
        if late:
            lines.append("Items are late before anybody takes them.")
        if self.deadline is not None and self.service is None and self.p99 is None:
            told = self.throughput is not None and self.workers is not None
            why = "until items have been taken" if told else "without `seconds` and `workers`"
            lines.append(f"No bound can be given for a deadline of {say.say_seconds(self.deadline)} {why}.")
        elif self.suggested_maxsize is None and self.deadline is None and self.bottleneck == "neither" and self._has_been_full():
            lines.append("Too little is known to say whether its size is right.")
        elif self.suggested_maxsize is None:
            lines += ["Too little is known for a bound that keeps the deadline." if late else "There is no reason to change its size."]
        elif self.deadline is not None:
            lines.append(f"For a deadline of {say.say_seconds(self.deadline)}, make maxsize {self.suggested_maxsize:,}.")
        else:
            lines.append(f"A maxsize of {self.suggested_maxsize:,} would do.")
        return lines


def from_statistics(
    source: QueueStatistics | _HasStatistics,
    *,
    earlier: QueueStatistics | None = None,
    seconds: Number | timedelta | None = None,
    workers: int | None = None,
    deadline: Number | timedelta | None = None,
) -> Advice:
    """Return advice from what a queue has measured.

    Which side waited for the other, and what was lost, is known from the counters alone. With `seconds` and `workers` the rate at which a
    worker really serves is known too: what it took, divided by the time in which it did not wait for items.

    Args:
        source: A queue, or its `statistics()`.
        earlier: An earlier snapshot of the same queue, to look at what happened since. (`peak_size` remains that of the
            queue's whole life.)
        seconds: How long it took: since `earlier`, or since the queue was made.
        workers: How many threads and tasks take items.
        deadline: When an item should be done, in seconds after it was put. A bound for it needs `seconds` and `workers` too.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A number is not positive and finite, or `earlier` is later.
    """
    now = _snapshot("source", source)
    before = None if earlier is None else _snapshot("earlier", earlier)
    period = None if seconds is None else say.seconds("seconds", seconds)
    workers = None if workers is None else say.whole("workers", workers, most=_MOST_WORKERS)
    limit = None if deadline is None else say.seconds("deadline", deadline)
    puts, gets, put_wait, get_wait = (
        getattr(now, name) - (0 if before is None else getattr(before, name))
        for name in ("puts", "gets", "put_blocked_seconds", "get_blocked_seconds")
    )
    lost, late = (
        sum(getattr(now, name) - (0 if before is None else getattr(before, name)) for name in names) for names in (_FOR_ROOM, _TOO_LATE)
    )
    if min(puts, gets, put_wait, get_wait, lost, late) < 0:
        raise ValueError("'earlier' must be an earlier snapshot of the same queue: a counter was larger then")
    throughput = utilisation = service = None
    if period is not None:
        throughput = gets / period
        if workers is not None:
            busy = max(0.0, workers * period - get_wait)
            utilisation = min(1.0, busy / (workers * period))
            service = gets / busy if busy and gets else None
    latency: _Latency | None = getattr(now, "latency", None)
    bottleneck: Literal["consumers", "producers", "neither", "bursts"]
    p99 = latency.p99 if latency is not None and latency.count else None
    if late or lost:
        # More room helps only if what does not fit could be taken later, while there is nothing else to take.
        bottleneck = "bursts" if not late and utilisation is not None and utilisation < 0.8 else "consumers"
    else:
        bottleneck = _bottleneck(put_wait, get_wait)
    suggested = _suggestion(now, bottleneck, limit, p99, service, workers) if puts else None
    mean = put_wait / puts if puts else 0.0
    known = (p99, throughput, utilisation, service, workers, limit)
    return Advice(bottleneck, now.maxsize, now.peak_size, suggested, puts, mean, *known, lost, late, gets, now.max_weight)


_FOR_ROOM = ("rejected", "dropped_oldest", "dropped_newest", "dropped_lowest", "dropped_sampled")
_TOO_LATE = ("dropped_expired", "dropped_shed")


def _snapshot(name: str, source: object) -> QueueStatistics:
    statistics = None if isinstance(source, type) else getattr(source, "statistics", None)
    found = statistics() if callable(statistics) else source
    if not isinstance(found, QueueStatistics):
        raise TypeError(f"'{name}' must be a queue or its statistics, not {type(source).__name__}")
    return found


def _bottleneck(put_wait: float, get_wait: float) -> Literal["consumers", "producers", "neither", "bursts"]:
    """The side that waits less is the slower one; each side at least a fifth of all waiting means that they take turns."""
    if put_wait + get_wait == 0:
        return "neither"
    share = put_wait / (put_wait + get_wait)
    return "consumers" if share > 0.8 else "producers" if share < 0.2 else "bursts"


def _suggestion(
    now: QueueStatistics, bottleneck: str, deadline: float | None, p99: float | None, service: float | None, workers: int | None
) -> int | None:
    """A better bound than the one there is."""
    if deadline is not None:
        if service is not None and workers is not None:
            within = deadline_bound(service, deadline, workers=workers).maxsize or 1
        elif p99 and now.peak_size:
            # The item that waited longest had at most the peak before it: so many leave in that time.
            within = max(1, int(now.peak_size * min(1.0, deadline / p99)))
        else:
            return None
        return within if now.maxsize <= 0 or within < now.maxsize else None
    if bottleneck == "bursts" and 0 < now.maxsize <= now.peak_size:
        return 2 * now.maxsize
    if now.maxsize <= 0 and now.max_weight is None and bottleneck != "consumers":
        return max(1, now.peak_size)
    return None
