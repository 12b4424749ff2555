"""What retries do to a service: the figures of published simulations, with the real `Retry` and `Backoff` in virtual time."""

from __future__ import annotations

import statistics

import pytest
from retry_worlds import collapse, contention, outage, without_budget

from sluicegate import Backoff, RetryBudget


def test_r1_load_in_an_outage():
    """Brooker 2022: up to three retries are four times the load when all fails; with a budget hardly any."""
    load, _ = outage(without_budget(), 1.0)
    assert load == pytest.approx(4.0, abs=0.01)
    load, _ = outage(RetryBudget(per_second=0), 1.0)
    assert load <= 1.0 + 10 / 20_000
    load, success = outage(RetryBudget(per_second=0), 0.1)
    assert success >= 0.98
    assert load <= 1.10


def test_r2_jitter_against_contention():
    """AWS 2015: with full jitter less than half of the calls of exponential backoff without jitter, and a tenth of the time."""
    plain, full = (
        [statistics.mean(of) for of in zip(*[contention(100, Backoff(5, 2000, jitter=jitter), seed) for seed in range(5)], strict=True)]
        for jitter in ("none", "full")
    )
    assert full[0] <= 0.5 * plain[0]
    assert full[1] <= 0.1 * plain[1]


def test_r3_an_overload_that_stays():
    """A spike of five seconds: without a budget the service never recovers, half a minute later; with one it does."""
    with_budget = [sum(collapse(lambda clock: RetryBudget(clock=clock), seed=seed)[60:80]) / 20 for seed in (1, 2)]
    without = [sum(collapse(without_budget, seed=seed)[60:80]) / 20 for seed in (1, 2)]
    assert min(with_budget) >= 39
    assert max(without) <= 20
