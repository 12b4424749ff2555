"""The budget of retries: what adds to it, what takes from it, and what it does to the load in an outage."""

from __future__ import annotations

import copy
import pickle
import random
import weakref

import pytest
from helpers import is_gone, spawn

from sluicegate import RetryBudget
from sluicegate.testing import ManualClock


def test_tokens():
    """Ten successes pay for a retry, and ten tenths are one."""
    budget = RetryBudget(per_second=0)
    assert (budget.tokens, budget.ratio, budget.reserve, budget.per_second) == (10.0, 0.1, 10.0, 0.0)
    assert [budget.try_acquire() for _ in range(11)] == [True] * 10 + [False]
    for _ in range(9):
        budget.deposit()
    assert not budget.try_acquire()
    budget.deposit()
    assert budget.tokens == 1.0
    assert budget.try_acquire()
    for _ in range(200):
        budget.deposit()
    assert budget.tokens == 10.0
    seen = budget.statistics()
    assert (seen.tokens, seen.reserve, seen.deposits, seen.acquired, seen.refused) == (10.0, 10.0, 210, 11, 2)


def test_time_adds_too():
    """For clients of few calls: a tenth of a token a second, exactly, however often somebody looks."""
    clock = ManualClock()
    budget = RetryBudget(reserve=2, clock=clock)
    assert budget.try_acquire() and budget.try_acquire()
    for _ in range(99_999):
        clock.advance(1e-4)
        budget.tokens  # noqa: B018 - to look is the point
    assert not budget.try_acquire()
    clock.advance(1e-4)
    assert budget.try_acquire() and not budget.try_acquire()
    clock.advance(1e9)
    assert budget.tokens == 2.0


def outage(budget, failing, calls=20_000, retries=3):
    """Load and success of a client that makes up to three retries, of a service at which that share of the attempts fails."""
    chance = random.Random(7)
    attempts = successes = 0
    for _ in range(calls):
        for attempt in range(retries + 1):
            if attempt and budget is not None and not budget.try_acquire():
                break
            attempts += 1
            if chance.random() >= failing:
                successes += 1
                if attempt == 0 and budget is not None:
                    budget.deposit()
                break
    return attempts / calls, successes / calls


def test_the_load_in_an_outage():
    """Brooker's figures (2022): four times the load without a budget, and no more than it should be with one."""
    assert outage(None, 1.0) == (4.0, 0.0)
    load, success = outage(RetryBudget(per_second=0), 1.0)
    assert load <= 1 + 10 / 20_000 and success == 0.0
    load, success = outage(RetryBudget(per_second=0), 0.1)
    assert load <= 1.10 and success >= 0.98
    load, _ = outage(RetryBudget(per_second=0), 0.5)
    assert load <= 1.06


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"ratio": -0.1}, ValueError, "'ratio' must be finite and not negative"),
        ({"ratio": "0.1"}, TypeError, "'ratio' must be an int or float"),
        ({"ratio": 1e-12}, ValueError, "'ratio' is too small to be counted"),
        ({"ratio": 10}, ValueError, "'ratio' must be at most 1, got 10: for 10 percent write 0.1$"),
        ({"ratio": 1.5}, ValueError, "'ratio' must be at most 1, got 1.5$"),
        ({"reserve": 0.5}, ValueError, "'reserve' must be at least 1, or there is never a retry, got 0.5"),
        ({"reserve": 1e10}, OverflowError, "'reserve' is 10000000000.0, and the maximum is 1000000000"),
        ({"per_second": float("inf")}, ValueError, "'per_second' must be finite"),
        ({"per_second": None}, TypeError, "'per_second' must be an int or float"),
        ({"clock": 1}, TypeError, "'clock' must be a sluicegate.Clock"),
    ],
)
def test_invalid_arguments(arguments, error, said):
    """Refused when it is made."""
    with pytest.raises(error, match=said):
        RetryBudget(**arguments)


def test_threads_lose_no_token():
    """What eight threads took and what is left is what was there and what they added."""
    budget = RetryBudget(0.5, reserve=10_000, per_second=0)
    while budget.try_acquire():
        pass

    def work(number):
        taken = 0
        for _ in range(2_000):
            budget.deposit() if number % 2 else None
            taken += budget.try_acquire()
        return taken

    taken = sum(worker.result() for worker in [spawn(work, number) for number in range(8)])
    assert taken + budget.tokens == 0.5 * 4 * 2_000
    assert budget.statistics().acquired == taken + 10_000


def test_repr_and_references():
    """It shows what it holds; it is not copied, and can be referred to weakly."""
    budget = RetryBudget(name="api", per_second=0)
    budget.try_acquire()
    assert repr(budget).startswith("<sluicegate.RetryBudget 'api' at 0x")
    assert repr(budget).endswith(" tokens=9.000/10 ratio=0.1 per_second=0.0>")
    for refuse in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot"):
            refuse(budget)
    reference = weakref.ref(budget)
    del budget
    assert is_gone(reference)
