"""Adaptive rates: the simulated server of the specification, what a response says, how a block ends, arguments."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import heapq
import sys
import threading
from datetime import timedelta

import pytest
from helpers import run_on, settle, spawn

from sluicegate import AdaptiveRate, AdaptiveRatePermit, CircuitOpen, RateLimited, TokenBucket
from sluicegate.testing import ManualClock


class Throttled(Exception):
    def __init__(self, retry_after=None):
        super().__init__("429")
        self.code = 429
        if retry_after is not None:
            self.retry_after = retry_after


class Response:
    def __init__(self, status=200, elapsed=None, **headers):
        self.status_code = status
        self.headers = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        if elapsed is not None:
            self.elapsed = timedelta(seconds=elapsed)


def make(rate=100, **options):
    clock = ManualClock()
    clock.advance(1000)
    return AdaptiveRate(rate, burst=options.pop("burst", 10), clock=clock, **options), clock


def counts(limiter, *names):
    seen = limiter.statistics()
    return tuple(getattr(seen, name) for name in names)


# ------------------------------------------------------------------------------------------------- against a server


def simulated(clients, seconds, limits, configured=200, trip=0.05, burst=10):
    """Backlogged clients of one server: a token bucket of 10 with a rate from each time on. Each second: (accepted, refused)."""
    clock = ManualClock()
    server = TokenBucket(limits[0.0], burst=10, clock=clock)
    start = clock.now()
    rates = [AdaptiveRate(configured, burst=burst, clock=clock) for _ in range(clients)]
    events = [(0.0, number, "send", number, None) for number in range(clients)]
    events += [(at, -1, "limit", 0, limit) for at, limit in limits.items()]
    heapq.heapify(events)
    seen = [[0, 0] for _ in range(seconds)]
    order = clients
    while events:
        at, _, kind, who, about = heapq.heappop(events)
        if at >= seconds and kind != "end":
            continue
        clock.advance(max(0.0, start + at - clock.now()))
        order += 1
        if kind == "limit":
            server.set_rate(about)
        elif kind == "send":
            permit = rates[who].permit()
            wait = rates[who].retry_after()
            if wait > 0:
                heapq.heappush(events, (at + wait + 1e-6, order, "send", who, None))
                continue
            permit.__enter__()
            accepted = server.try_acquire()
            seen[int(at)][not accepted] += 1
            heapq.heappush(events, (at + trip, order, "end", who, (permit, accepted)))
            heapq.heappush(events, (at, order, "send", who, None))
        else:
            permit, accepted = about
            permit.success() if accepted else permit.failure()
            permit.__exit__(None, None, None)
    return seen


def figures(seen):
    accepted, refused = (sum(each[index] for each in seen) for index in (0, 1))
    return accepted / len(seen), refused / (accepted + refused)


def test_one_client():
    accepted, share = figures(simulated(1, 60, {0.0: 50}))
    assert accepted >= 49
    assert share <= 0.02


def test_five_clients():
    accepted, share = figures(simulated(5, 120, {0.0: 50}))
    assert accepted >= 48
    assert share <= 0.08


def test_the_server_slows_down():
    accepted, share = figures(simulated(1, 90, {0.0: 50, 30.0: 20})[30:])
    assert accepted >= 19
    assert share <= 0.05


def test_a_retry_after_is_obeyed():
    limiter, clock = make()
    with pytest.raises(Throttled), limiter.permit():
        raise Throttled(5)
    clock.advance(4.999)
    assert not limiter.try_acquire()
    clock.advance(0.001)
    assert limiter.try_acquire()


# ------------------------------------------------------------------------------------------------------- the rate


def test_it_is_cut_once_for_the_calls_that_were_under_way():
    limiter, clock = make()
    permits = [limiter.permit() for _ in range(5)]
    for permit in permits:
        permit.__enter__()
    clock.advance(0.1)
    for permit in permits:
        permit.failure()
    assert limiter.rate == pytest.approx(70)
    assert counts(limiter, "throttled", "cuts", "successes") == (5, 1, 0)
    for permit in permits:
        permit.__exit__(None, None, None)
    assert counts(limiter, "throttled", "successes") == (5, 0)


def test_it_comes_back_and_is_never_faster_than_configured():
    limiter, clock = make(20)
    with limiter.permit() as permit:
        permit.failure()
    rates = [limiter.rate]
    for _ in range(400):
        clock.advance(0.05)
        with limiter.permit():
            pass
        rates.append(limiter.rate)
    assert rates == sorted(rates) and rates[0] < 15 and rates[-1] == 20 == limiter.max_rate
    limiter.set_rate(10)
    assert (limiter.rate, limiter.max_rate) == (10, 10)


def test_after_a_silence_the_rate_is_what_was_configured():
    limiter, clock = make()
    with limiter.permit() as permit:
        permit.failure()
    assert limiter.rate < 100
    clock.advance(1000)
    with limiter.permit():
        pass
    assert limiter.rate == 100


def test_it_never_falls_below_min_rate():
    limiter, clock = make(10, min_rate=2)
    for _ in range(50):
        clock.advance(10)
        with limiter.permit() as permit:
            permit.failure()
    assert limiter.rate == 2


# -------------------------------------------------------------------------------------------------- how a block ends


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), asyncio.CancelledError(), CircuitOpen(), RateLimited("", None, 5.0)])
def test_what_says_nothing(error):
    limiter, _ = make()
    with pytest.raises(type(error)), limiter.permit():
        raise error
    assert counts(limiter, "ignored", "throttled", "rate") == (1, 0, 100)


def test_which_exceptions_are_refusals():
    class Status(Exception):
        def __init__(self, status):
            self.response = Response(status)

    limiter, _ = make()
    for error in (Throttled(), Status(429), Status(500)):
        with pytest.raises(type(error)), limiter.permit():
            raise error
    assert counts(limiter, "throttled", "ignored") == (2, 1)
    for throttled in (KeyError, (KeyError, OSError), lambda error: isinstance(error, KeyError)):
        limiter, _ = make(throttled=throttled)
        for error in (KeyError(), Throttled()):
            with pytest.raises(type(error)), limiter.permit():
                raise error
        assert counts(limiter, "throttled", "ignored") == (1, 1)


def test_a_function_that_raises():
    limiter, _ = make(throttled=lambda error: 1 / 0)
    with pytest.raises(ZeroDivisionError), limiter.permit():
        raise KeyError
    assert counts(limiter, "ignored") == (1,)


def test_a_result_is_told_once_and_only_of_a_call():
    limiter, _ = make()
    permit = limiter.permit()
    for tell in (permit.success, permit.failure, permit.ignore, permit.refund, lambda: permit.heed(Response())):
        with pytest.raises(RuntimeError, match="has not been entered"):
            tell()
    with permit:
        permit.success()
        permit.failure(retry_after=9)
    assert counts(limiter, "successes", "throttled", "rate") == (1, 0, 100)
    with permit:
        assert permit.refund() == 1
    assert counts(limiter, "successes", "ignored") == (1, 1)


def test_a_coroutine_waits_in_line():
    limiter, clock = make(1, burst=1)

    async def call():
        async with limiter.permit(timeout=5):
            return clock.now()

    async def main():
        start = clock.now()
        tasks = [asyncio.ensure_future(call()) for _ in range(3)]
        await settle()
        for _ in range(2):
            clock.advance(1)
            await settle()
        return [round(each - start, 3) for each in await asyncio.gather(*tasks)]

    assert run_on("asyncio", main()) == [0, 1, 2]
    with pytest.raises(RateLimited), limiter.permit(timeout=0):
        pass


# ---------------------------------------------------------------------------------------------------------- responses


def test_heed():
    limiter, clock = make()
    limiter.heed(Response(RateLimit_Limit=100, X_RateLimit_Limit=100, X_RateLimit_Remaining=4, X_RateLimit_Reset=30))
    assert limiter.tokens == 4 and limiter.rate == 100
    limiter.heed(Response(429, elapsed=0.5, Retry_After=7))
    assert limiter.rate == pytest.approx(70) and not limiter.try_acquire()
    limiter.heed(Response(429, elapsed=0.5))
    assert limiter.rate == pytest.approx(70), "it began before the cut"
    clock.advance(6.9)
    assert not limiter.try_acquire()
    clock.advance(0.2)
    assert limiter.try_acquire()
    with pytest.raises(TypeError, match="'response' must have headers"):
        limiter.heed(5)


def test_heed_in_a_block():
    limiter, _ = make()
    with limiter.permit() as call:
        call.heed(Response(429, Retry_After=1))
    with pytest.raises(RateLimited), limiter.permit(timeout=0):
        pass
    assert counts(limiter, "throttled", "successes", "cuts") == (1, 0, 1)
    limiter, _ = make()
    with limiter.permit() as call:
        call.heed(Response(200))
    assert counts(limiter, "throttled", "successes") == (0, 1)


def test_a_permit_settles_what_was_used():
    """As the permit of a `TokenBucket`; the end of the block reports the call all the same."""
    limiter, _ = make(burst=10)
    with limiter.permit(4) as call:
        assert call.n == 4
        call.settle(1)
    assert limiter.try_acquire(9)
    assert not limiter.try_acquire(1)
    assert counts(limiter, "successes", "ignored") == (1, 0)
    with pytest.raises(RuntimeError, match="settled"):
        call.settle(1)


def test_a_permit_is_made_by_permit_alone():
    with pytest.raises(TypeError, match=r"an? AdaptiveRatePermit is made by AdaptiveRate\.permit\(\), not from 2"):
        AdaptiveRatePermit(make()[0], 2)


# ----------------------------------------------------------------------------------------------------- decorators, arguments


def test_a_decorated_function_reports_what_it_returns():
    limiter, _ = make()

    @limiter(failed=lambda result: result == 429)
    def call(status):
        return status

    @limiter
    async def call_async(status):
        return status

    assert (call(200), call(429), run_on("asyncio", call_async(200))) == (200, 429, 200)
    assert counts(limiter, "successes", "throttled") == (2, 1)
    with pytest.raises(TypeError, match="can decorate only a function"):
        limiter(5)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"rate": 0}, ValueError, "'rate'"),
        ({"rate": "x"}, TypeError, "'rate'"),
        ({"burst": 0}, ValueError, "'burst'"),
        ({"min_rate": 0}, ValueError, "'min_rate' must be greater than 0 and at most the rate, which is 10, not 0"),
        ({"min_rate": 11}, ValueError, "'min_rate'"),
        ({"min_rate": 1e-30}, ValueError, "'min_rate' is too small: 1e-30 per second"),
        ({"min_rate": float("nan")}, ValueError, "'min_rate'"),
        ({"min_rate": "1"}, TypeError, "'min_rate'"),
        ({"decrease": 1}, ValueError, "'decrease' must be greater than 0 and less than 1, not 1"),
        ({"decrease": True}, TypeError, "'decrease'"),
        ({"throttled": 5}, TypeError, "'throttled'"),
        ({"throttled": KeyboardInterrupt}, TypeError, "'throttled'"),
        ({"throttled": ()}, ValueError, "'throttled'"),
        ({"clock": 5}, TypeError, "clock"),
        ({"name": 5}, TypeError, "'name'"),
    ],
    ids=str,
)
def test_bad_arguments(options, kind, text):
    with pytest.raises(kind) as raised:
        AdaptiveRate(**{"rate": 10, "burst": 5, **options})
    assert text in str(raised.value)


def test_bad_arguments_of_methods():
    limiter, _ = make()
    with pytest.raises(ValueError, match="'timeout'"):
        limiter.permit(timeout=-1)
    with pytest.raises(ValueError, match="'rate'"):
        limiter.set_rate(-1)
    with limiter.permit() as permit, pytest.raises(ValueError, match="'retry_after'"):
        permit.failure(retry_after=-1)
    assert counts(limiter, "successes", "rate", "max_rate") == (1, 100, 100)


def test_what_it_is():
    limiter, _ = make(name="api")
    assert isinstance(limiter, TokenBucket)
    assert repr(limiter).startswith("<sluicegate.AdaptiveRate 'api' at 0x")
    permit = limiter.permit()
    assert type(permit) is AdaptiveRatePermit and "AdaptiveRate 'api'" in repr(permit)
    for thing in (limiter, permit):
        with pytest.raises(TypeError):
            copy.copy(thing)


def test_threads_lose_no_count():
    limiter = AdaptiveRate(1e6, burst=1e6, min_rate=1e5)

    def work(number):
        for turn in range(200):
            with limiter.permit() as permit:
                if (turn + number) % 4 == 0:
                    permit.failure()
                elif (turn + number) % 4 == 1:
                    permit.ignore()

    threads = [spawn(work, number) for number in range(8)]
    for thread in threads:
        thread.result()
    assert counts(limiter, "admitted", "successes", "throttled", "ignored") == (1600, 800, 400, 400)
    assert limiter.rate == limiter.statistics().rate


def test_two_settings_at_once_do_not_mix():
    """One thread configures the limiter between two steps of another one."""
    limiter = AdaptiveRate(5, burst=5)
    law, halted, go_on = limiter._law, threading.Event(), threading.Event()

    class Halting:
        def configure(self, rate):
            if rate == 1 and not halted.is_set():
                halted.set()
                assert go_on.wait(10)
            law.configure(rate)

        def __getattr__(self, name):
            return getattr(law, name)

    limiter._law = Halting()
    slow = spawn(lambda: limiter.set_rate(1, burst=1))
    assert halted.wait(10)
    limiter.set_rate(3, burst=3)
    go_on.set()
    slow.result()
    assert (limiter.rate, limiter.burst, limiter.max_rate) == (3, 3, 3)


@pytest.mark.parametrize(("rate", "least"), [(0.1, 0.05), (0.8, 0.4), (1, 0.5), (100, 0.5)])
def test_the_default_of_min_rate_fits_every_rate(rate, least):
    limiter, clock = make(rate, burst=1000)
    for _ in range(60):
        with pytest.raises(Throttled), limiter.permit():
            raise Throttled
        clock.advance(0.001)
    assert limiter.rate == least


def test_a_group_is_a_refusal_if_a_member_is():
    """With the longest time that one asks for; cancellations and our own refusals say nothing."""
    if sys.version_info < (3, 11):
        pytest.skip("no groups before 3.11")
    group = ExceptionGroup  # noqa: F821
    for throttled in (None, Throttled, (OSError, Throttled), lambda error: isinstance(error, Throttled)):
        limiter, clock = make(throttled=throttled)
        for error in (
            group("some", [ValueError(), group("inner", [Throttled(2), Throttled(5), RateLimited()])]),
            group("own", [RateLimited(), CircuitOpen()]),
            group("cancelled", [concurrent.futures.CancelledError()]),
        ):
            with pytest.raises(group), limiter.permit():
                raise error
            assert limiter.retry_after() == (5 if error.message == "some" else 0)
            clock.advance(5)
        assert counts(limiter, "throttled", "ignored") == (1, 2)
