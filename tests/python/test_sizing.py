"""`sluicegate.sizing` against simulations, against exact sums and against textbook values; bad input; advice from a real queue.

The simulations are event by event, in virtual time and with a seed: nothing sleeps, and each run is the same.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
import random
import re
import threading
from collections import deque
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from helpers import Worker
from hypothesis import given
from hypothesis import strategies as st

from sluicegate import Queue, QueueStatistics, Sample, SimpleQueue, _figures, sizing
from sluicegate.testing import ManualClock

# Simulations.


@dataclasses.dataclass
class Seen:
    """What a simulation has seen: waits of those that were served, and counts."""

    waits: list[float]
    arrived: int
    refused: int
    seconds: float
    busy_seconds: float


def simulate(arrival: float, service: float, workers: int, places: float, *, items: int, seed: int) -> Seen:
    """First come, first served, with `places` for those that wait: the arrivals one after another, and when each worker is free."""
    rng = random.Random(seed)
    free = [0.0] * workers
    starts: deque[float] = deque()  # of those that wait now
    seen = Seen([], items, 0, 0.0, 0.0)
    now = 0.0
    for _ in range(items):
        now += rng.expovariate(arrival)
        while starts and starts[0] <= now:
            starts.popleft()
        if free[0] > now and len(starts) >= places:
            seen.refused += 1
            continue
        start = max(now, free[0])
        if start > now:
            starts.append(start)
        takes = rng.expovariate(service)
        heapq.heapreplace(free, start + takes)
        seen.waits.append(start - now)
        seen.busy_seconds += takes
    seen.seconds = now
    return seen


def interval(values: list[float], batches: int = 40) -> tuple[float, float]:
    """Mean and the half width of its 99.9 % confidence interval, by batch means, since waits depend on each other."""
    size = len(values) // batches
    means = [math.fsum(values[i * size : (i + 1) * size]) / size for i in range(batches)]
    mean = math.fsum(means) / batches
    deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in means) / (batches - 1))
    return mean, 3.56 * deviation / math.sqrt(batches)  # Student's t, 39 degrees of freedom


def test_a_simulation_can_disagree() -> None:
    """The interval is narrow enough to tell a load of 0.8 from one of 0.85."""
    seen = simulate(800, 1000, 1, math.inf, items=200_000, seed=1)
    mean, half = interval(seen.waits)
    assert abs(mean - sizing.mmc(800, 1000, 1).wait) <= half
    assert abs(mean - sizing.mmc(850, 1000, 1).wait) > half


@pytest.mark.parametrize(("arrival", "k"), [(500, 3), (900, 11), (1000, 6), (1000, 1), (1500, 21), (3000, 2)])
def test_mm1k_beside_a_simulation(arrival: int, k: int) -> None:
    found = sizing.mm1k(arrival, 1000, k)
    seen = simulate(arrival, 1000, 1, k - 1, items=120_000, seed=arrival + k)
    mean, half = interval(seen.waits)
    assert abs(mean - found.wait) <= half + 1e-12
    # Refusals come in clusters: three times as wide as if they were independent.
    assert abs(seen.refused / seen.arrived - found.loss) <= 10 * math.sqrt(found.loss * (1 - found.loss) / seen.arrived)
    assert seen.busy_seconds / seen.seconds == pytest.approx(found.utilisation, rel=0.02)
    assert len(seen.waits) / seen.seconds == pytest.approx(found.throughput, rel=0.02)


@pytest.mark.parametrize(("arrival", "workers"), [(700, 1), (1600, 2), (2400, 3), (6500, 8), (15_000, 20)])
def test_mmc_beside_a_simulation(arrival: int, workers: int) -> None:
    found = sizing.mmc(arrival, 1000, workers)
    seen = simulate(arrival, 1000, workers, math.inf, items=200_000, seed=workers)
    mean, half = interval(seen.waits)
    assert abs(mean - found.wait) <= half
    waited, half = interval([float(wait > 0) for wait in seen.waits])
    assert abs(waited - found.waits) <= half
    for percent in (90, 99):
        beyond, half = interval([float(wait > found.wait_percentile(percent)) for wait in seen.waits])
        assert abs(beyond - (1 - percent / 100)) <= half
    # Little's law: the time average of the number that wait.
    assert math.fsum(seen.waits) / seen.seconds == pytest.approx(found.waiting, rel=0.2)


@pytest.mark.parametrize(("arrival", "workers", "loss"), [(900, 1, 0.05), (2700, 3, 0.02), (2000, 4, 0.001)])
def test_loss_bound_beside_a_simulation(arrival: int, workers: int, loss: float) -> None:
    found = sizing.loss_bound(arrival, 1000, loss, workers=workers)
    assert found.maxsize is not None
    assert found.loss <= loss
    seen = simulate(arrival, 1000, workers, found.maxsize, items=200_000, seed=workers)
    assert abs(seen.refused / seen.arrived - found.loss) <= 10 * math.sqrt(found.loss / seen.arrived)
    smaller = simulate(arrival, 1000, workers, max(1, found.maxsize // 2), items=200_000, seed=workers)
    assert smaller.refused / smaller.arrived > 1.5 * loss


@pytest.mark.parametrize(
    ("service", "deadline", "workers", "percentile"), [(500, 0.1, 1, 99), (500, 0.1, 4, 99), (500, 0.02, 1, 90), (10, 1, 3, 95)]
)
def test_deadline_bound_beside_a_simulation(service: int, deadline: float, workers: int, percentile: int) -> None:
    """The item that takes the last place is late as often as was allowed, and with a tenth more places more often."""
    places = sizing.deadline_bound(service, deadline, workers=workers, percentile=percentile).maxsize
    assert places is not None
    rng = random.Random(7)

    def late(n: int, rounds: int = 4000) -> float:
        """All workers are busy and `n` wait: how often is the last of them late?"""
        times = (rng.gammavariate(n, 1 / (service * workers)) + rng.expovariate(service) for _ in range(rounds))
        return sum(time > deadline for time in times) / rounds

    allowed = 1 - percentile / 100
    error = 4 * math.sqrt(allowed * percentile / 100 / 4000)
    assert late(places) <= allowed + error
    assert late(places + max(3, places // 5)) > allowed + error


def test_deadline_bound_with_equal_service_times_is_exact() -> None:
    """Each round of departures takes one service time, and the last item's own service is one more."""
    for workers in (1, 3):
        found = sizing.deadline_bound(500, 0.1, workers=workers).maxsize_even
        assert found == 49 * workers
        for places, in_time in ((found, True), (found + 1, False)):
            rounds = math.ceil(places / workers) + 1
            assert (rounds * Fraction(1, 500) <= Fraction(1, 10)) is in_time


def test_burst_buffer_beside_a_simulation() -> None:
    """The backlog at the end of a random burst: `room` in the mean, `spread` around it, and hardly ever three of them above."""
    found = sizing.burst_buffer(1000, 300, 2, workers=2)
    rng = random.Random(3)
    backlogs = []
    for _ in range(1000):
        arrived = int(rng.gauss(2000, math.sqrt(2000)) + 0.5)  # a Poisson number, near enough
        served = int(rng.gauss(1200, math.sqrt(1200)) + 0.5)
        backlogs.append(arrived - served)
    mean = sum(backlogs) / len(backlogs)
    assert found.room == 800
    assert mean == pytest.approx(found.room, abs=4 * found.spread / math.sqrt(1000))
    assert math.sqrt(sum((each - mean) ** 2 for each in backlogs) / 999) == pytest.approx(found.spread, rel=0.1)
    assert sum(each > found.room + 3 * found.spread for each in backlogs) < 10


@pytest.mark.parametrize(
    ("arrival", "service", "burst", "workers", "normal"), [(1000, 500, 2, 1, 0), (1000, 100, 1.5, 4, 300), (50, 7, 10, 2, 13)]
)
def test_burst_buffer_beside_a_second_by_second_account(arrival: float, service: float, burst: float, workers: int, normal: float) -> None:
    found = sizing.burst_buffer(arrival, service, burst, workers=workers, normal=normal)
    backlog = peak = now = drained = 0.0
    step = 1e-3
    while now < burst + found.drain + 1:
        comes = arrival if now < burst - step / 2 else normal
        backlog = max(0.0, backlog + (comes - service * workers) * step)
        peak = max(peak, backlog)
        now += step
        if backlog:
            drained = now
    assert found.room == pytest.approx(peak, abs=1.5)
    assert drained == pytest.approx(burst + found.drain, abs=0.1)
    assert found.wait == pytest.approx(peak / (service * workers), rel=0.01)


# Exact values.


def exact_mm1k(arrival: int, service: int, k: int) -> tuple[Fraction, Fraction, Fraction]:
    """Loss, mean number inside and mean wait, by adding up the states in whole numbers."""
    load = Fraction(arrival, service)
    states = [load**n for n in range(k + 1)]
    whole = sum(states)
    loss = states[-1] / whole
    inside = sum(n * state for n, state in enumerate(states)) / whole
    waiting = sum((n - 1) * state for n, state in enumerate(states) if n) / whole
    return loss, inside, waiting / (arrival * (1 - loss))


@given(arrival=st.integers(1, 10**6), service=st.integers(1, 10**6), k=st.integers(1, 60))
def test_mm1k_is_exact(arrival: int, service: int, k: int) -> None:
    loss, inside, wait = exact_mm1k(arrival, service, k)
    found = sizing.mm1k(arrival, service, k)
    assert found.loss == pytest.approx(float(loss), rel=1e-9)
    assert found.length == pytest.approx(float(inside), rel=1e-9)
    assert found.wait == pytest.approx(float(wait), rel=1e-9)
    assert found.sojourn == pytest.approx(float(wait) + 1 / service, rel=1e-9)


@pytest.mark.parametrize("off", [0, 1, -1, 10, -1000, 10**6, -(10**7), 3 * 10**8])
@pytest.mark.parametrize("k", [1, 2, 7, 100, 400])
def test_mm1k_is_exact_near_a_load_of_one(off: int, k: int) -> None:
    """Where the textbook's formula divides nothing by nothing."""
    service = 10**12
    loss, inside, wait = exact_mm1k(service + off, service, k)
    found = sizing.mm1k(service + off, service, k)
    assert found.loss == pytest.approx(float(loss), rel=1e-10)
    assert found.length == pytest.approx(float(inside), rel=1e-10)
    assert found.wait == pytest.approx(float(wait), rel=1e-10)


def test_mm1k_with_very_many_places() -> None:
    """As M/M/1 below a load of 1, half full at it, and full above it."""
    huge = 10**18
    below, at, above = (sizing.mm1k(rate, 1000, huge) for rate in (900, 1000, 1100))
    assert (below.loss, below.length) == (0.0, pytest.approx(9))
    assert (at.loss, at.length) == (pytest.approx(1e-18), pytest.approx(5e17))
    assert above.loss == pytest.approx(1 - 1000 / 1100)
    assert above.length == pytest.approx(1e18)
    assert above.utilisation == 1.0
    for each in (below, at, above):
        assert all(math.isfinite(value) for value in dataclasses.asdict(each).values())


@pytest.mark.parametrize(("arrival", "service"), [(1e-300, 1e300), (1e300, 1e-300), (5e-324, 1), (1, 1e308), (1.7e308, 1e308)])
def test_at_the_ends_of_floats(arrival: float, service: float) -> None:
    found = sizing.mm1k(arrival, service, 10)
    assert 0 <= found.loss <= 1
    assert 0 <= found.utilisation <= 1
    assert 0 <= found.waiting <= found.length <= 10
    for workers in (1, 3):
        several = sizing.mmc(arrival, service, workers)
        assert 0 <= several.waits <= 1
        assert several.wait >= 0
        lossy = sizing.loss_bound(arrival, service, 0.5, workers=workers)
        assert 0 <= lossy.loss <= 1


def exact_erlang_c(load: Fraction, c: int) -> Fraction:
    """The definition, in whole numbers."""
    last = load**c / math.factorial(c) * c / (c - load)
    return last / (sum(load**n / math.factorial(n) for n in range(c)) + last)


@given(c=st.integers(1, 40), share=st.integers(1, 999))
def test_mmc_is_exact(c: int, share: int) -> None:
    load = Fraction(share * c, 1000)
    found = sizing.mmc(share * c, 1000, c)
    assert found.waits == pytest.approx(float(exact_erlang_c(load, c)), rel=1e-9)
    assert found.wait == pytest.approx(float(exact_erlang_c(load, c) / (c * 1000 - share * c)), rel=1e-9)


def test_textbook_values() -> None:
    """Erlang's own example sizes: 2 workers, load 1: a third waits; the M/M/1 formulas; tables of Erlang C (10 agents, 8 erlang: 0.409)."""
    assert sizing.mmc(1, 1, 2).waits == pytest.approx(1 / 3)
    one = sizing.mmc(0.5, 1, 1)
    assert (one.waits, one.wait, one.sojourn, one.waiting) == pytest.approx((0.5, 1.0, 2.0, 0.5))
    assert one.wait_percentile(50) == 0
    assert one.wait_percentile(75) == pytest.approx(math.log(2) / 0.5)
    assert sizing.mmc(8, 1, 10).waits == pytest.approx(0.409, abs=5e-4)
    large = sizing.mmc(999_000, 1, 1_000_000)
    assert 0 < large.waits < 1
    assert large.utilisation == pytest.approx(0.999)


@given(arrival=st.floats(1, 2000), service=st.floats(1, 2000), loss=st.floats(1e-9, 0.99), workers=st.integers(1, 30))
def test_loss_bound_is_the_smallest(arrival: float, service: float, loss: float, workers: int) -> None:
    """By the recursion, place after place."""
    found = sizing.loss_bound(arrival, service, loss, workers=workers)
    blocked = 1.0
    for n in range(1, workers + 1):
        blocked = arrival / service * blocked / (n + arrival / service * blocked)
    load = arrival / service / workers
    place = 0
    while place == 0 or blocked > loss * (1 + 1e-9):
        blocked = load * blocked / (1 + load * blocked)
        place += 1
        if place == 3000:
            assert found.maxsize is None or found.maxsize >= 2900
            return
    assert found.maxsize is not None
    assert abs(found.maxsize - place) <= 1  # rounding may decide at the edge
    if found.maxsize == place:
        assert found.loss == pytest.approx(blocked, rel=1e-6)
    if workers == 1:
        assert found.loss == pytest.approx(sizing.mm1k(arrival, service, found.maxsize + 1).loss, rel=1e-6)


def test_loss_bound_that_does_not_exist() -> None:
    found = sizing.loss_bound(1000, 300, 0.05, workers=3)
    assert found.maxsize is None
    assert found.loss == pytest.approx(0.1)
    assert "No queue is large enough" in str(found)
    assert sizing.loss_bound(1000, 300, 0.1001, workers=3).maxsize is not None
    assert sizing.loss_bound(1, 1000, 1e-12).maxsize == 3  # a load of a thousandth: a thousandth for each place, and for the worker


@given(arrival=st.floats(0.1, 500), service=st.floats(0.5, 50), target=st.floats(1e-4, 10), percentile=st.sampled_from([None, 50, 99]))
def test_workers_needed_are_the_fewest(arrival: float, service: float, target: float, percentile: int | None) -> None:
    def wait(workers: int) -> float:
        found = sizing.mmc(arrival, service, workers)
        return found.wait if percentile is None else found.wait_percentile(percentile)

    found = sizing.workers_needed(arrival, service, target_wait=target, percentile=percentile)
    assert found == sizing.mmc(arrival, service, found.workers)
    assert wait(found.workers) <= target
    assert found.workers == 1 or wait(found.workers - 1) > target


def test_littles_law() -> None:
    assert sizing.littles_law(arrival=1000, wait=0.05).length == 50
    assert sizing.littles_law(length=50, wait=timedelta(milliseconds=50)).arrival == 1000
    assert sizing.littles_law(length=50, arrival=1000).wait == 0.05
    for given_ in ({}, {"length": 1}, {"length": 1, "arrival": 1, "wait": 1}):
        with pytest.raises(TypeError, match="give two of 'length', 'arrival' and 'wait'"):
            sizing.littles_law(**given_)


def test_little_holds_for_the_other_models() -> None:
    bounded, several = sizing.mm1k(900, 1000, 20), sizing.mmc(2500, 1000, 3)
    assert sizing.littles_law(arrival=bounded.throughput, wait=bounded.sojourn).length == pytest.approx(bounded.length)
    assert sizing.littles_law(arrival=bounded.throughput, wait=bounded.wait).length == pytest.approx(bounded.waiting)
    assert sizing.littles_law(arrival=2500, wait=several.wait).length == pytest.approx(several.waiting)


def test_more_than_can_be_served() -> None:
    found = sizing.mmc(1000, 500, 2)
    assert (found.utilisation, found.waits) == (1.0, 1.0)
    assert found.wait == found.waiting == found.sojourn == found.wait_percentile(50) == math.inf
    assert "whatever its size" in str(found)
    never = sizing.burst_buffer(1000, 500, 2, normal=500)
    assert never.drain == math.inf
    assert "never goes away" in str(never)


def test_times_may_be_timedeltas() -> None:
    two = timedelta(seconds=2)
    assert sizing.burst_buffer(1000, 500, two) == sizing.burst_buffer(1000, 500, 2)
    assert sizing.deadline_bound(500, two) == sizing.deadline_bound(500, 2)
    assert sizing.workers_needed(900, 500, target_wait=two) == sizing.workers_needed(900, 500, target_wait=2)


def test_rounding_errors_make_no_room() -> None:
    """1.1 - 1.0 is a little more than 0.1."""
    assert sizing.burst_buffer(1.1, 1.0, 10).room == 1
    assert sizing.burst_buffer(0.3, 0.1, 10).room == 2
    assert sizing.burst_buffer(1.15, 1.0, 10).room == 2
    assert sizing.deadline_bound(10, 0.3).maxsize_even == 2  # 0.3 * 10 is less than 3


# Bad input.

CALLS = {
    "arrival": [
        lambda x: sizing.littles_law(arrival=x, wait=1),
        lambda x: sizing.burst_buffer(x, 1, 1),
        lambda x: sizing.mm1k(x, 1, 1),
        lambda x: sizing.mmc(x, 1, 1),
        lambda x: sizing.workers_needed(x, 1, target_wait=1),
        lambda x: sizing.loss_bound(x, 1, 0.1),
    ],
    "service": [
        lambda x: sizing.burst_buffer(1, x, 1),
        lambda x: sizing.mm1k(1, x, 1),
        lambda x: sizing.mmc(1, x, 1),
        lambda x: sizing.workers_needed(1, x, target_wait=1),
        lambda x: sizing.loss_bound(1, x, 0.1),
        lambda x: sizing.deadline_bound(x, 1),
    ],
    "length": [lambda x: sizing.littles_law(length=x, wait=1), lambda x: sizing.littles_law(length=x, arrival=1)],
    "wait": [lambda x: sizing.littles_law(length=1, wait=x)],
    "burst": [lambda x: sizing.burst_buffer(1, 1, x)],
    "deadline": [lambda x: sizing.deadline_bound(1, x), lambda x: sizing.from_statistics(Queue(), deadline=x)],
    "seconds": [lambda x: sizing.from_statistics(Queue(), seconds=x)],
    "target_wait": [lambda x: sizing.workers_needed(1, 1, target_wait=x)],
    "loss": [lambda x: sizing.loss_bound(1, 1, x)],
    "percentile": [lambda x: sizing.deadline_bound(1, 1, percentile=x), lambda x: sizing.workers_needed(1, 1, target_wait=1, percentile=x)],
    "percent": [sizing.mmc(1, 2, 1).wait_percentile],
}
WHOLE = {
    "k": [lambda x: sizing.mm1k(1, 1, x)],
    "c": [lambda x: sizing.mmc(1, 1, x)],
    "workers": [
        lambda x: sizing.burst_buffer(1, 1, 1, workers=x),
        lambda x: sizing.deadline_bound(1, 1, workers=x),
        lambda x: sizing.loss_bound(1, 1, 0.1, workers=x),
        lambda x: sizing.from_statistics(Queue(), workers=x),
    ],
}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1, 0, 10**400, "1", True, None, [], 1j])
@pytest.mark.parametrize(("name", "call"), [(name, call) for name, calls in CALLS.items() for call in calls])
def test_bad_numbers_are_refused_by_name(name: str, call: object, bad: object) -> None:
    if bad is None and name in {"length", "arrival", "wait", "deadline", "seconds", "percentile"}:
        return  # means that it is not given
    kinds = (TypeError,) if isinstance(bad, (str, bool, list, complex, type(None))) else (ValueError, OverflowError)
    with pytest.raises(kinds, match=f"'{name}'") as caught:
        call(bad)
    if bad != 10**400:
        assert repr(bad) in str(caught.value)


@pytest.mark.parametrize("bad", [0, -1, 1.0, "1", True, [], 10**20])
@pytest.mark.parametrize(("name", "call"), [(name, call) for name, calls in WHOLE.items() for call in calls])
def test_bad_counts_are_refused_by_name(name: str, call: object, bad: object) -> None:
    kind = ValueError if type(bad) is int else TypeError
    with pytest.raises(kind, match=f"'{name}'"):
        call(bad)


def test_what_is_out_of_range() -> None:
    with pytest.raises(ValueError, match="'loss' must be between 0 and 1, got 1"):
        sizing.loss_bound(1, 1, 1)
    for percent in (100, 100.5):
        with pytest.raises(ValueError, match="'percentile' must be between 0 and 100"):
            sizing.deadline_bound(1, 1, percentile=percent)
    for percent, meant in ((0.99, "99"), (0.999, "99.9"), (0.5, "50")):
        for call in CALLS["percentile"] + CALLS["percent"]:
            with pytest.raises(ValueError, match=f"is in per cent, got {percent}: write {meant} for {meant} %$"):
                call(percent)
    assert sizing.deadline_bound(1, 10, percentile=1).percentile == 1
    with pytest.raises(ValueError, match="'normal' must not be negative, got -1"):
        sizing.burst_buffer(2, 1, 1, normal=-1)
    with pytest.raises(ValueError, match="more than a million workers"):
        sizing.workers_needed(1e9, 1, target_wait=1)
    with pytest.raises(ValueError, match="a million workers are not enough"):
        sizing.workers_needed(999_990, 1, target_wait=1e-9, percentile=99.9)
    for too_large in (
        lambda: sizing.burst_buffer(1e300, 1, 1),
        lambda: sizing.deadline_bound(1e300, 1),
        lambda: sizing.loss_bound(1, 1, 1e-300),
    ):
        with pytest.raises(OverflowError, match="too large"):
            too_large()


# Words.


def every_result() -> list[object]:
    return [
        sizing.littles_law(arrival=10, wait=1),
        sizing.burst_buffer(1000, 500, 2),
        sizing.burst_buffer(1000, 500, 2, normal=600),
        sizing.burst_buffer(100, 500, 2, workers=2),
        sizing.mm1k(900, 1000, 10),
        sizing.mm1k(1, 1000, 10**6),
        sizing.mmc(900, 1000, 1),
        sizing.mmc(900, 1000, 4),
        sizing.mmc(9000, 1000, 4),
        sizing.workers_needed(900, 1000, target_wait=0.001),
        sizing.deadline_bound(500, 0.1),
        sizing.deadline_bound(5, 0.1),
        sizing.deadline_bound(500, 0.0045),
        sizing.loss_bound(900, 1000, 0.01),
        sizing.loss_bound(2000, 1000, 0.01),
        sizing.from_statistics(Queue(3)),
    ]


@pytest.mark.parametrize("result", every_result(), ids=lambda result: type(result).__name__)
def test_results_are_frozen_and_say_what_they_are(result) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(result, dataclasses.fields(result)[0].name, 7)
    assert not hasattr(result, "__dict__")
    assert eval(repr(result), {**vars(sizing), "inf": math.inf}) == result
    assert hash(result) == hash(dataclasses.replace(result))
    sentences = result.sentences()
    assert isinstance(sentences, tuple)
    assert str(result) == " ".join(sentences)
    for sentence in sentences:
        assert sentence.isascii()
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert sentence.endswith(".")
        assert "  " not in sentence
        assert " 1 items" not in sentence
        assert " 1 workers" not in sentence


def test_sentences() -> None:
    assert str(sizing.burst_buffer(1000, 500, 2, normal=300)) == (
        "In a burst of 2 s, 1,000 items a second arrive, and 500 items a second can be served: the queue needs room for 1,000. "
        "The last of them waits 2 s. If arrivals are random, make that 1,165: three standard deviations more. "
        "With 300 items a second afterwards, it takes 5 s until the queue is empty."
    )
    assert str(sizing.mmc(1000, 500, 3)) == (
        "3 workers can serve 1,500 items a second. With 1,000 items a second arriving each is busy 66.7 % of the time. "
        "44.4 % of all items wait: on average 889 microseconds, and 99 % of them no longer than 7.59 ms. 0.889 items wait on average."
    )
    assert str(sizing.littles_law(arrival=1 / 60, wait=7200)) == (
        "With 1 item a minute going in, each inside for 2 h on average, 120 are inside on average."
    )


@pytest.mark.parametrize(
    ("say", "value", "said"),
    [
        (_figures.say_seconds, 0.0, "0 s"),
        (_figures.say_seconds, 3e-8, "30 ns"),
        (_figures.say_seconds, 2.5e-5, "25 microseconds"),
        (_figures.say_seconds, 0.0999, "99.9 ms"),
        (_figures.say_seconds, 0.99999, "1 s"),
        (_figures.say_seconds, 90, "90 s"),
        (_figures.say_seconds, 125, "2.08 min"),
        (_figures.say_seconds, 3 * 86400, "3 days"),
        (_figures.say_number, 1234567.8, "1,234,568"),
        (_figures.say_number, 0.0012345, "0.00123"),
        (_figures.say_rate, 1.0, "1 item a second"),
        (_figures.say_rate, 0.5, "30 items a minute"),
        (_figures.say_rate, 2 / 86400, "2 items a day"),
        (_figures.say_rate, 1e-9, "8.64e-05 items a day"),
        (_figures.say_share, 0.5, "50 %"),
        (_figures.say_share, 1.0, "100 %"),
        (_figures.say_share, 0.99999, "more than 99.9 %"),
        (_figures.say_share, 1e-9, "less than 0.0001 %"),
        (_figures.say_share, 0.0, "0 %"),
    ],
)
def test_words_for_figures(say, value: float, said: str) -> None:
    assert say(value) == said


def test_the_guide_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Output in `docs/guide/sizing.md`, but for where its lines are broken."""
    page = Path(__file__).resolve().parents[2] / "docs" / "guide" / "sizing.md"
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    space: dict[str, object] = {}
    printed = shown = ""
    for language, block in blocks:
        if language == "python":
            exec(block, space)
            printed += capsys.readouterr().out
        else:
            shown += block
    assert shown.count("\n") > 5
    assert printed.split() == shown.split()


# Advice.


def statistics(**changes: object) -> QueueStatistics:
    return dataclasses.replace(Queue(100).statistics(), **changes)


@dataclasses.dataclass(frozen=True)
class Summary:
    count: int
    p99: float
    mean: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class WithLatency(QueueStatistics):
    latency: Summary | None = None


def with_latency(latency: Summary | None, **changes: object) -> WithLatency:
    return WithLatency(**{**dataclasses.asdict(statistics(**changes)), "latency": latency})


def test_who_is_the_bottleneck() -> None:
    for put_wait, get_wait, bottleneck in (
        (0.0, 0.0, "neither"),
        (10.0, 0.0, "consumers"),
        (10.0, 2.0, "consumers"),
        (0.0, 10.0, "producers"),
        (1.0, 10.0, "producers"),
        (5.0, 5.0, "bursts"),
        (3.0, 10.0, "bursts"),
    ):
        found = sizing.from_statistics(statistics(puts=5, gets=5, put_blocked_seconds=put_wait, get_blocked_seconds=get_wait))
        assert found.bottleneck == bottleneck
        assert found.mean_put_wait == put_wait / 5


def test_what_a_worker_really_serves() -> None:
    """4 workers, 10 s, of which they waited 30 in all: 200 items in 10 worker seconds."""
    found = sizing.from_statistics(statistics(puts=200, gets=200, get_blocked_seconds=30.0), seconds=10, workers=4)
    assert (found.throughput, found.utilisation, found.service) == (20.0, 0.25, 20.0)
    assert "4 workers took 20 items a second and were busy 25 % of the time." in found.sentences()
    unknown = sizing.from_statistics(statistics(puts=200, gets=200), seconds=10)
    assert (unknown.throughput, unknown.utilisation, unknown.service) == (20.0, None, None)
    idle = sizing.from_statistics(statistics(puts=1, get_blocked_seconds=99.0), seconds=10, workers=4)
    assert (idle.utilisation, idle.service) == (0.0, None)


def test_what_happened_since() -> None:
    earlier = statistics(puts=1000, gets=990, put_blocked_seconds=100.0)
    later = statistics(puts=1300, gets=1290, put_blocked_seconds=100.0, get_blocked_seconds=6.0, peak_size=20)
    found = sizing.from_statistics(later, earlier=earlier, seconds=3, workers=4)
    assert (found.bottleneck, found.puts, found.throughput, found.utilisation) == ("producers", 300, 100.0, 0.5)
    with pytest.raises(ValueError, match="'earlier' must be an earlier snapshot"):
        sizing.from_statistics(earlier, earlier=later)


def test_a_deadline_with_a_known_service_rate() -> None:
    full = statistics(puts=5100, gets=5000, put_blocked_seconds=50.0, peak_size=100)
    found = sizing.from_statistics(full, seconds=10, workers=1, deadline=0.1)
    assert found.service == 500
    assert found.suggested_maxsize == sizing.deadline_bound(500, 0.1).maxsize == 33
    assert "For a deadline of 100 ms, make maxsize 33." in found.sentences()
    assert sizing.from_statistics(full, seconds=10, workers=1, deadline=10).suggested_maxsize is None  # there is time for more


def test_p99_and_not_the_mean() -> None:
    """The mean looks harmless."""
    seen = with_latency(Summary(count=1000, p99=2.0, mean=0.01), puts=1000, gets=1000, peak_size=100)
    found = sizing.from_statistics(seen, deadline=0.5)
    assert found.p99 == 2.0
    assert found.suggested_maxsize == 25
    assert "Items are late before anybody takes them." in found.sentences()
    assert "99 % of the items were in it for 2 s at most." in found.sentences()
    assert sizing.from_statistics(seen, deadline=3).suggested_maxsize is None
    for latency in (None, Summary(count=0, p99=0.0)):
        nothing = sizing.from_statistics(with_latency(latency, puts=1, peak_size=100), deadline=0.5)
        assert (nothing.p99, nothing.suggested_maxsize) == (None, None)


def test_bounds_that_would_do() -> None:
    bursts = {"puts": 9, "gets": 9, "put_blocked_seconds": 1.0, "get_blocked_seconds": 1.0}
    assert sizing.from_statistics(statistics(peak_size=100, **bursts)).suggested_maxsize == 200
    assert sizing.from_statistics(statistics(peak_size=50, **bursts)).suggested_maxsize is None
    assert sizing.from_statistics(statistics(peak_size=40, maxsize=0, puts=9, get_blocked_seconds=1.0)).suggested_maxsize == 40
    assert sizing.from_statistics(statistics(peak_size=100, puts=9, put_blocked_seconds=1.0)).suggested_maxsize is None


def test_what_was_lost_for_want_of_room() -> None:
    """1000 arrive and 100 are taken; nobody waits, and yet the queue is not as it should be."""
    for overflow in ("drop_newest", "drop_oldest", "reject", Sample(2)):
        q: Queue[int] = Queue(10, overflow=overflow)
        for i in range(1000):
            q.offer(i)
            if i % 10 == 9:
                q.get()
        found = sizing.from_statistics(q, seconds=10, workers=1)
        assert found.bottleneck == "consumers"
        assert found.lost == 1000 - 100 - q.qsize()
        assert found.gets == 100
        text = str(found)
        assert f"{found.lost} items were refused or dropped because it was full: " in text
        assert "% of all that were taken or lost." in text
        assert "The consumers are the bottleneck: they do not keep up" in text
        assert "Nobody has waited" not in text


def test_what_came_too_late() -> None:
    clock = ManualClock()
    q: Queue[int] = Queue(100, clock=clock)
    q.put(0, ttl=1)
    q.put(1)
    clock.advance(2)
    assert q.get() == 1
    found = sizing.from_statistics(q)
    assert (found.bottleneck, found.late, found.lost) == ("consumers", 1, 0)
    assert "1 item was dropped because of waiting too long: 50 % of all that were taken or lost." in found.sentences()
    shed = sizing.from_statistics(statistics(puts=9, gets=6, dropped_shed=3, get_blocked_seconds=9.0), seconds=10, workers=1)
    assert (shed.bottleneck, shed.late) == ("consumers", 3)


def test_what_is_lost_in_bursts() -> None:
    """The worker is idle for most of the time: with more room it could have served what was lost."""
    seen = statistics(maxsize=10, peak_size=10, puts=100, gets=100, dropped_newest=50, get_blocked_seconds=8.0)
    found = sizing.from_statistics(seen, seconds=10, workers=1)
    assert (found.bottleneck, found.suggested_maxsize) == ("bursts", 20)
    assert "Items are lost in bursts, and at other times the consumers wait for items: more room evens that out." in found.sentences()
    assert sizing.from_statistics(seen).bottleneck == "consumers"


def test_losses_since() -> None:
    earlier = statistics(puts=10, gets=10, rejected=5, dropped_expired=5)
    later = statistics(puts=10, gets=10, rejected=25, dropped_expired=5)
    found = sizing.from_statistics(later, earlier=earlier)
    assert (found.puts, found.lost, found.late) == (0, 20, 0)
    assert "20 items were refused" in str(found)
    with pytest.raises(ValueError, match="'earlier' must be an earlier snapshot"):
        sizing.from_statistics(earlier, earlier=later)


def test_a_bound_on_the_weight() -> None:
    q: Queue[str] = Queue(weigh=len, max_weight=100)
    q.put("x" * 100)
    found = sizing.from_statistics(q)
    assert (found.max_weight, found.suggested_maxsize) == (100, None)
    assert found.sentences()[0] == "The queue has held 1 and is bounded by weight, at 100."


def test_refusals_that_are_not_counted() -> None:
    q: Queue[int] = Queue(1)
    q.put(1)
    text = str(sizing.from_statistics(q))
    assert 'a put that does not wait is refused then: only overflow="reject" counts those.' in text
    assert "no reason" not in text
    roomy: Queue[int] = Queue(2)
    roomy.put(1)
    assert str(sizing.from_statistics(roomy)).endswith("Nobody has waited yet. There is no reason to change its size.")


def test_of_a_queue_that_was_used() -> None:
    """One putter, who waits for room for 3 seconds of a clock set by hand."""
    clock = ManualClock()
    q: Queue[int] = Queue(2, clock=clock)
    putter = Worker(lambda: [q.put(i) for i in range(3)])
    putter.start()
    clock.wait_for_waiters(1)
    clock.advance(3)
    assert q.get() == 0
    assert putter.exception() is None
    found = sizing.from_statistics(q, seconds=3, workers=1)
    assert found == sizing.from_statistics(q.statistics(), seconds=timedelta(seconds=3), workers=1)
    assert (found.bottleneck, found.peak_size, found.maxsize, found.puts) == ("consumers", 2, 2, 3)
    assert found.mean_put_wait == 1.0
    assert "The consumers are the bottleneck: a put has waited 1 s for room on average." in str(found)


def test_of_what() -> None:
    assert sizing.from_statistics(SimpleQueue()).puts == 0
    assert "Nothing has been put" in str(sizing.from_statistics(Queue()))
    for wrong in (None, 5, [], threading.Lock(), Queue):
        with pytest.raises(TypeError, match="'source' must be a queue or its statistics"):
            sizing.from_statistics(wrong)
    with pytest.raises(TypeError, match="'earlier' must be a queue or its statistics"):
        sizing.from_statistics(Queue(), earlier=5)


def test_one_item_arrives() -> None:
    """The verb goes with the number."""
    assert "can serve 1 item a second, and 1 item a second arrives: the queue grows" in str(sizing.mmc(1, 1, 1))
    assert "and 2 items a second arrive: the queue grows" in str(sizing.mmc(2, 1, 1))
    assert "serves 2 items a second, and 1 item a second arrives: no backlog" in str(sizing.burst_buffer(1, 2, 1))
    assert "In a burst of 10 s, 1 item a second arrives, and" in str(sizing.burst_buffer(1, 0.5, 10))
    assert "No queue is large enough: 1 item a minute arrives, and" in str(sizing.loss_bound(1 / 60, 0.5 / 60, 0.1))


def test_a_deadline_needs_a_rate() -> None:
    """Without one no bound follows from it, and the advice says what is missing."""
    q = Queue(5)
    q.put(1)
    for known in ({}, {"seconds": 1}, {"workers": 1}):
        text = str(sizing.from_statistics(q, deadline=2, **known))
        assert text.endswith("No bound can be given for a deadline of 2 s without `seconds` and `workers`.")
    text = str(sizing.from_statistics(q, deadline=2, seconds=1, workers=1))
    assert text.endswith("No bound can be given for a deadline of 2 s until items have been taken.")
    assert "No bound" not in str(sizing.from_statistics(q))
