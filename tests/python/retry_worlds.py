"""Small worlds in which retries do harm or good, in virtual time and seeded: those of the published simulations.

The decisions and the delays are those of the real `Retry` and `Backoff`; only the sleep is an event of the simulation.
"""

from __future__ import annotations

import heapq
import random

from sluicegate import Backoff, Retry, RetryBudget
from sluicegate.testing import ManualClock

AT_ONCE = Backoff(0, 0)


class Failed(Exception):
    pass


def without_budget(clock=None):
    return RetryBudget(reserve=1e6, clock=clock)


def outage(budget, failing, calls=20_000, retries=3):
    """Load and success of a client whose attempts fail by that chance (Brooker, "Fixing retries with token buckets", 2022)."""
    chance = random.Random(7)
    attempts = 0
    retry = Retry(retries + 1, on=Failed, backoff=AT_ONCE, budget=budget)

    def attempt():
        nonlocal attempts
        attempts += 1
        if chance.random() < failing:
            raise Failed

    successes = 0
    for _ in range(calls):
        try:
            retry.call(attempt)
            successes += 1
        except Failed:
            pass
    return attempts / calls, successes / calls


def contention(clients, backoff, seed=1):
    """Writes and time until each of `clients` has written once, over optimistic locks (Brooker, AWS Architecture Blog, 2015).

    A client reads the version, then writes if it has not changed. Each of the four messages takes normal(10, 2).
    """
    chance = random.Random(seed)
    events, order = [], 0
    version, writes, done, now = 0, 0, 0, 0.0

    def at(moment, *what):
        nonlocal order
        order += 1
        heapq.heappush(events, (moment, order, *what))

    def message():
        return max(0.0, chance.gauss(10, 2))

    for client in range(clients):
        at(message(), "read", client, 0)
    tries, previous = [0] * clients, [0.0] * clients
    while done < clients:
        now, _, kind, client, seen = heapq.heappop(events)
        if kind == "read":
            at(now + message() + message(), "write", client, version)
            continue
        writes += 1
        if seen == version:
            version += 1
            done += 1
            now += message()
            continue
        delay = 0.0
        if backoff is not None:
            delay = previous[client] = backoff.delay(tries[client], previous[client], chance.random())
        tries[client] += 1
        at(now + message() + delay + message(), "read", client, 0)
    return writes, now


def collapse(budget, backoff=AT_ONCE, seconds=80, seed=1, spike=100, lasts=5):
    """Calls that succeed in each second, at 40 calls a second, with `spike` of them for a while (after Brooker's "simple_collapse").

    An attempt takes 1 s, and 0.01 s for each other one that the server is working on. The client gives up after 3 s, the server does not.
    With a spike of 80 this world recovers without a budget too (about 40 a second in the end), so it is 100.
    """
    chance = random.Random(seed)
    clock = ManualClock()
    retry = Retry(3, on=Failed, backoff=backoff, budget=budget(clock), random=chance, clock=clock)
    events, order, busy = [], 0, 0
    good = [0] * (seconds + 10)

    def at(moment, *what):
        nonlocal order
        order += 1
        heapq.heappush(events, (moment, order, *what))

    moment = 0.0
    while moment < seconds:
        moment += chance.expovariate(spike if 20 <= moment < 20 + lasts else 40)
        at(moment, "attempt", None)
    while events and events[0][0] < seconds:
        now, _, kind, call = heapq.heappop(events)
        clock.advance(max(0.0, now - clock.now()))
        if kind == "attempt":
            call = retry._begin() if call is None else call
            takes = 1 + 0.01 * busy
            busy += 1
            at(now + takes, "served", None)
            at(now + min(takes, 3.0), "late" if takes > 3 else "good", call)
        elif kind == "served":
            busy -= 1
        elif kind == "good":
            good[int(now)] += 1
            retry._succeeded(call)
        else:
            wait = retry._wait_after(call, Failed())
            if wait is not None:
                at(now + wait, "attempt", call)
    return good[:seconds]
