"""Circuit breakers: when they open, whom they let through, what counts. All on a clock that is set by hand."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
import warnings
import weakref
from datetime import timedelta

import pytest
from helpers import collect, is_gone, on_loops, run_on, spawn

from sluicegate import CircuitBreaker, CircuitOpen, RateLimited, Refused
from sluicegate.testing import ManualClock


class Service:
    """A breaker on a clock of its own, and calls through it that end as they are told."""

    def __init__(self, **options):
        self.clock = ManualClock()
        self.changes = []
        self.breaker = CircuitBreaker(clock=self.clock, on_change=lambda *change: self.changes.append(change), **options)

    def at(self, seconds):
        self.clock.advance(round(seconds - self.clock.now(), 9))

    def call(self, error=None):
        try:
            with self.breaker.permit():
                if error is not None:
                    raise error
        except BaseException as raised:
            if raised is not error:
                raise

    def fail(self, times=1):
        for _ in range(times):
            self.call(OSError("no answer"))

    @property
    def state(self):
        return self.breaker.state

    @property
    def seen(self):
        return self.breaker.statistics()

    def opened(self):
        """Open, by the rate, at this moment."""
        self.fail(20)
        assert self.state == "open"
        return self


def test_a_window_of_results():
    """B1: by the tenth result half have failed; nine of at least ten are not enough."""
    service = Service(calls=10, min_calls=10)
    for number in range(10):
        assert service.state == "closed"
        service.call(OSError() if number % 2 else None)
    assert service.state == "open"
    service = Service(calls=10)
    service.fail(9)
    assert service.state == "closed"


def test_a_window_of_time():
    """B2: the twentieth failure at 9.5 s opens it until 14.5 s; one failure every 0.6 s opens it at 10.2 s."""
    service = Service()
    for number in range(19):
        service.at(number * 0.5)
        service.fail()
    assert service.state == "closed"
    service.at(9.5)
    service.fail()
    assert (service.state, service.breaker.retry_after) == ("open", 5.0)
    service.at(14.499)
    assert service.state == "open"
    service.at(14.5)
    assert (service.state, service.breaker.retry_after) == ("half_open", 0.0)
    assert service.changes == [("closed", "open", "20 of the last 20 calls failed")]

    for options, opens_at in (({}, 10.2), ({"run": None}, None)):
        service = Service(**options)
        number = 0
        while service.state == "closed" and number < 100:
            service.at(number * 0.6)
            service.fail()
            number += 1
        assert (round(service.clock.now(), 9) if service.changes else None) == opens_at


def test_recovery_with_tasks_and_threads():
    """B3: at the moment of recovery 50 tasks and 20 threads come at once, and exactly three of them are let through."""
    service = Service().opened()
    service.at(4.999)
    with pytest.raises(CircuitOpen) as refused:
        service.call()
    assert refused.value.retry_after == 0.001
    service.at(5.0)
    permits, refusals, end = [], [], threading.Event()
    together = threading.Barrier(21)

    def in_a_thread():
        together.wait()
        try:
            with service.breaker.permit() as permit:
                permits.append(permit)
                end.wait()
        except CircuitOpen as error:
            refusals.append(error)

    async def task():
        try:
            async with service.breaker.permit() as permit:
                permits.append(permit)
                while not end.is_set():
                    await asyncio.sleep(0)
        except CircuitOpen as error:
            refusals.append(error)

    async def main():
        tasks = [asyncio.create_task(task()) for _ in range(50)]
        await asyncio.to_thread(together.wait)
        while len(permits) + len(refusals) < 70:
            await asyncio.sleep(0)
        end.set()
        await asyncio.gather(*tasks)

    threads = [spawn(in_a_thread) for _ in range(20)]
    run_on("asyncio", main())
    for thread in threads:
        thread.result()
    assert (len(permits), len(refusals)) == (3, 67)
    assert {error.retry_after for error in refusals} == {5.0}
    assert service.state == "closed"
    assert [change[:2] for change in service.changes] == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


@on_loops
async def test_cancelled_calls_are_neutral():
    """B4: a hundred cancelled calls change nothing, and a cancelled probe gives its place back."""
    service = Service(calls=3)

    async def hang():
        async with service.breaker.permit():
            await asyncio.Event().wait()

    async def cancelled(n):
        tasks = [asyncio.create_task(hang()) for _ in range(n)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    await cancelled(100)
    assert (service.state, service.seen.ignored) == ("closed", 100)
    service.fail(2)
    await cancelled(1)
    assert service.state == "closed"
    service.fail()
    assert service.state == "open"

    service.at(5.0)
    probes = [asyncio.create_task(hang()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not service.breaker.permit().try_acquire()
    probes[0].cancel()
    await asyncio.gather(probes[0], return_exceptions=True)
    permit = service.breaker.permit()
    assert permit.try_acquire()
    assert not service.breaker.permit().try_acquire()
    permit.ignore()
    await asyncio.gather(*(task for task in probes if task.cancel()), return_exceptions=True)
    assert service.state == "half_open"


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(),
        GeneratorExit(),
        asyncio.CancelledError(),
        concurrent.futures.CancelledError(),
        Refused(),
        RateLimited(),
        CircuitOpen(),
    ],
    ids=lambda error: type(error).__module__ + "." + type(error).__name__,
)
def test_what_says_nothing_about_the_service(error):
    """Interrupts, cancellations and our own refusals never count."""
    service = Service(calls=1)
    service.call(error)
    assert (service.state, service.seen.ignored, service.seen.failures) == ("closed", 1, 0)


def test_stragglers():
    """B5: results of calls that began before the breaker opened change nothing, however and whenever they end."""
    service = Service()
    early = [service.breaker.permit() for _ in range(4)]
    for permit in early:
        permit.acquire()
    service.opened()
    early[0].success()
    early[1].failure(retry_after=500)
    assert (service.state, service.breaker.retry_after) == ("open", 5.0)
    service.at(5.0)
    with service.breaker.permit():
        early[2].success()
        early[3].failure()
    assert service.state == "half_open"
    assert (service.seen.stale, service.seen.failures, service.seen.successes) == (4, 20, 1)


def test_probes_that_never_return():
    """B6: their places are free again after `probe_timeout`, and their results are dead."""
    service = Service().opened()
    service.at(5.0)
    hung = [service.breaker.permit() for _ in range(3)]
    assert all(permit.try_acquire() for permit in hung)
    service.at(34.999)
    with pytest.raises(CircuitOpen) as refused:
        service.call()
    assert (refused.value.retry_after, refused.value.state) == (0.001, "half_open")
    assert "half-open, and its probes are on their way" in str(refused.value)
    service.at(35.0)
    service.call()
    service.at(36.0)
    hung[0].success()
    hung[1].failure()
    assert (service.state, service.seen.stale) == ("half_open", 2)
    service.call()
    service.call()
    assert service.state == "closed"
    hung[2].ignore()


def test_open_times_grow():
    """B7: 5, 10, 20, 40, 60 and 60 seconds; or what the failure that opens it asks for."""
    service = Service().opened()
    times = []
    for _ in range(6):
        times.append(service.breaker.retry_after)
        service.clock.advance(service.breaker.retry_after)
        service.fail()
    assert times == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]

    def limited(retry_after):
        error = OSError()
        error.retry_after = retry_after
        return error

    asked = [(30, 30.0), (30.5, 30.5), (1.0, 5.0), (1e6, 600.0), ("30", 30.0), ("soon", 5.0), (True, 5.0), (float("nan"), 5.0), (-1, 5.0)]
    for retry_after, lasts in asked:
        service = Service(calls=1)
        service.call(limited(retry_after))
        assert service.breaker.retry_after == lasts, retry_after
    for tell in (lambda permit: permit.failure(retry_after=timedelta(seconds=30)), lambda permit: permit.failure(limited(30.0))):
        service = Service(calls=1)
        with service.breaker.permit() as permit:
            tell(permit)
        assert service.breaker.retry_after == 30.0


def test_slow_calls():
    """B8: sixteen of twenty calls that took exactly `slow_after` open it, and fifteen do not; a slow probe opens it again."""
    for slow in (15, 16):
        service = Service(slow_after=0.5, window=100)
        for number in range(20):
            with service.breaker.permit():
                service.clock.advance(0.5 if number < slow else 0.499999999)
        assert (service.state, service.seen.slow) == ("open" if slow == 16 else "closed", slow)
    service.clock.advance(5)
    with service.breaker.permit():
        service.clock.advance(0.5)
    assert service.changes[-1] == ("half_open", "open", "a probe was slow")
    assert service.breaker.retry_after == 10.0


def test_which_exceptions_are_failures():
    """`failure` and `ignore`: classes, or functions. Whatever is neither is an answer of the service."""

    def counts(error, **options):
        service = Service(**options)
        service.call(error)
        seen = service.seen
        return next(what for what in ("failures", "successes", "ignored") if getattr(seen, what))

    assert counts(ValueError()) == "failures"
    assert counts(ValueError(), failure=OSError) == "successes"
    assert counts(ConnectionError(), failure=(OSError, TimeoutError)) == "failures"
    assert counts(ValueError(), ignore=(ValueError,)) == "ignored"
    assert counts(ConnectionError(), failure=OSError, ignore=ConnectionError) == "ignored"
    assert counts(OSError(5), failure=lambda error: error.args[0] > 4) == "failures"
    assert counts(OSError(4), failure=lambda error: error.args[0] > 4) == "successes"
    assert counts(OSError(4), ignore=lambda error: error.args[0] == 4) == "ignored"
    # Nobody is asked about what never counts.
    assert counts(KeyboardInterrupt(), failure=lambda error: 1 / 0) == "ignored"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no groups of exceptions")
def test_groups_of_exceptions_are_what_their_members_come_to():
    """As a TaskGroup raises them: of refusals and cancellations they say nothing, and one failure is enough."""

    def counts(error, **options):
        service = Service(calls=1, **options)
        service.call(error)
        return next(what for what in ("failures", "successes", "ignored") if getattr(service.seen, what)), service.breaker.retry_after

    limited = OSError()
    limited.retry_after = 30.0
    inner = ExceptionGroup("inner", [RateLimited(), limited])  # noqa: F821
    for error, options, expected in (
        (ExceptionGroup("all", [RateLimited(), CircuitOpen()]), {}, ("ignored", 0.0)),  # noqa: F821
        (ExceptionGroup("all", [RateLimited(), inner]), {}, ("failures", 30.0)),  # noqa: F821
        (ExceptionGroup("all", [ValueError(), inner]), {"failure": KeyError}, ("successes", 0.0)),  # noqa: F821
        (ExceptionGroup("all", [ValueError(), inner]), {"ignore": (ValueError, OSError)}, ("ignored", 0.0)),  # noqa: F821
        (inner, {"failure": lambda error: error.retry_after > 1}, ("failures", 30.0)),
        (inner, {"failure": ExceptionGroup}, ("failures", 5.0)),  # noqa: F821
        (inner, {"ignore": ExceptionGroup}, ("ignored", 0.0)),  # noqa: F821
        (BaseExceptionGroup("all", [KeyboardInterrupt(), asyncio.CancelledError()]), {}, ("ignored", 0.0)),  # noqa: F821
    ):
        assert counts(error, **options) == expected, (error, options)


def test_a_mistake_in_a_predicate():
    """It is raised, with the call's own exception as its context, and the call does not count."""
    service = Service(failure=lambda error: 1 / 0)
    with pytest.raises(ZeroDivisionError) as raised:
        service.fail()
    assert isinstance(raised.value.__context__, OSError)
    assert (service.seen.ignored, service.seen.failures) == (1, 0)


def test_a_permit_outside_a_block():
    """`acquire`, `try_acquire`, and the result, which is reported once."""
    service = Service()
    permit = service.breaker.permit()
    for tell in (permit.success, permit.failure, permit.ignore, lambda: permit.__exit__(None, None, None)):
        with pytest.raises(RuntimeError, match="has not been admitted"):
            tell()
    assert permit.acquire() is True
    for enter in (permit.acquire, permit.try_acquire, permit.__enter__):
        with pytest.raises(RuntimeError, match="held already"):
            enter()
    permit.success()
    permit.failure()
    permit.ignore()
    permit.success()
    with permit as again:
        assert again is permit
        permit.failure()
    assert (service.seen.calls, service.seen.successes, service.seen.failures, service.seen.ignored) == (2, 1, 1, 0)
    service.breaker.force_open()
    assert permit.try_acquire() is False
    with pytest.raises(CircuitOpen):
        permit.acquire()


def test_a_permit_that_is_dropped():
    """It does not count, gives its place back, and is warned of."""
    service = Service().opened()
    service.at(5.0)
    permits = [service.breaker.permit() for _ in range(3)]
    assert all(permit.try_acquire() for permit in permits)
    with pytest.warns(ResourceWarning, match="dropped while it was held, and does not count: <sluicegate.CircuitPermit held of"):
        permits.pop(0)
    assert (service.seen.ignored, service.seen.stale) == (1, 0)
    service.call()
    for permit in permits:
        permit.success()
    assert service.state == "closed"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del permits, permit
        service.breaker.permit()


def test_forced_and_disabled():
    """Until it is reset, or for a time."""
    service = Service(name="db")
    service.breaker.force_open()
    service.breaker.force_open()
    service.at(1e6)
    with pytest.raises(CircuitOpen, match=r"circuit breaker 'db' is forced_open; retry after 5\.000 seconds") as refused:
        service.call()
    assert (refused.value.name, refused.value.state, refused.value.retry_after) == ("db", "forced_open", 5.0)
    service.breaker.reset()
    service.breaker.disable()
    service.fail(100)
    assert (service.state, service.seen.failures) == ("disabled", 100)
    service.breaker.reset()
    assert (service.state, service.seen.window_calls) == ("closed", 0)
    service.breaker.force_open(timedelta(seconds=2))
    assert service.breaker.retry_after == 2.0
    service.clock.advance(2)
    for _ in range(3):
        service.call()
    assert [change[1:] for change in service.changes] == [
        ("forced_open", "force_open() was called"),
        ("closed", "reset() was called"),
        ("disabled", "disable() was called"),
        ("closed", "reset() was called"),
        ("forced_open", "force_open() was called"),
        ("half_open", "it was open for 2.0 seconds"),
        ("closed", "3 probes succeeded"),
    ]


def test_metrics_only():
    """It changes its state as usual, and refuses nothing."""
    service = Service(metrics_only=True).opened()
    service.fail(5)
    service.at(5.0)
    for _ in range(3):
        service.call()
    assert [change[1] for change in service.changes] == ["open", "half_open", "closed"]
    assert (service.seen.refused, service.seen.calls, service.seen.failures, service.seen.successes) == (5, 28, 25, 3)


def test_no_context_manager():
    """The breaker itself cannot tell one call from another, and says what to write."""
    breaker = CircuitBreaker()
    with pytest.raises(TypeError, match=r"write `with breaker\.permit\(\):`"), breaker:
        pass

    async def awaited():
        async with breaker:
            pass

    with pytest.raises(TypeError, match=r"write `with breaker\.permit\(\):`"):
        run_on("asyncio", awaited())


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"failure_rate": 0}, ValueError, "'failure_rate' must be greater than 0 and at most 1, got 0"),
        ({"failure_rate": 50}, ValueError, "at most 1, got 50: for 50 percent write 0.5"),
        ({"slow_rate": float("nan")}, ValueError, "'slow_rate' must be finite"),
        ({"failure_rate": True}, TypeError, "'failure_rate' must be an int or float, not True"),
        ({"window": 0}, ValueError, "'window' must be at least a nanosecond, got 0"),
        ({"window": -1}, ValueError, "'window' must be a finite number of seconds and not negative"),
        ({"open_for": "5"}, TypeError, "'open_for' must be a number of seconds"),
        ({"open_for": 1e300}, OverflowError, "'open_for' is 1e\\+300 seconds"),
        ({"open_for": 10, "open_for_max": 9}, ValueError, "'open_for_max' must be at least 'open_for', which is 10, not 9"),
        ({"open_for_max": 1}, ValueError, "'open_for_max' must be at least 'open_for', which is 5.0, not 1"),
        ({"probe_timeout": None}, TypeError, "'probe_timeout' must be a number of seconds"),
        ({"slow_after": 0}, ValueError, "'slow_after' must be at least a nanosecond"),
        ({"slow_rate": 0.5}, ValueError, "'slow_rate' needs 'slow_after': give the seconds from which a call is slow"),
        ({"metrics_only": "yes"}, TypeError, "'metrics_only' must be True or False, got 'yes'"),
        ({"metrics_only": 1}, TypeError, "'metrics_only' must be True or False, got 1"),
        ({"min_calls": 0}, ValueError, "'min_calls' must be at least 1, not 0"),
        ({"min_calls": 1.0}, TypeError, "'min_calls' must be an int"),
        ({"run": 0}, ValueError, "'run' must be at least 1"),
        ({"probes": True}, TypeError, "'probes' must be an int"),
        ({"calls": 0}, ValueError, "'calls' must be at least 1"),
        ({"calls": 10**7}, OverflowError, "'calls' is 10000000, and the maximum is 1000000"),
        ({"calls": 10, "min_calls": 11}, ValueError, "'min_calls' must be at most 'calls', which is 10, not 11"),
        ({"failure": BaseException}, TypeError, "'failure' must be Exception or a subclass of it"),
        ({"failure": (OSError, asyncio.CancelledError)}, TypeError, "say nothing about a service"),
        ({"failure": ()}, ValueError, r"'failure' must name at least one exception, not \(\)"),
        ({"failure": "OSError"}, TypeError, "'failure' must be an exception class, a tuple of them or a function"),
        ({"failure": int}, TypeError, "'failure' must be an exception class"),
        ({"ignore": None}, TypeError, "'ignore' must be an exception class"),
        ({"on_change": 1}, TypeError, "'on_change' must be a function or None, not 1"),
        ({"clock": 1}, TypeError, "'clock' must be a sluicegate.Clock"),
        ({"name": 1}, TypeError, "'name' must be a str or None"),
        ({"treshold": 1}, TypeError, r"CircuitBreaker\(\) got an unexpected keyword argument 'treshold'$"),
        ({"on": OSError}, TypeError, r"CircuitBreaker\(\) got an unexpected keyword argument 'on'; did you mean 'failure'\?"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, dict) else "",
)
def test_invalid_arguments(options, error, said):
    """Refused when the breaker is made, with the argument and the value."""
    with pytest.raises(error, match=said):
        CircuitBreaker(**options)


def test_a_slow_rate_for_when_slow_calls_count():
    """A program that passes on its own settings says by None that they do not."""
    assert CircuitBreaker(slow_rate=0.5, slow_after=1).state == CircuitBreaker(slow_rate=0.5, slow_after=None).state == "closed"


def test_invalid_arguments_of_methods():
    """Refused with nothing changed."""
    service = Service()
    with pytest.raises(ValueError, match="'for_' must be at least a nanosecond"):
        service.breaker.force_open(0)
    with pytest.raises(TypeError):
        CircuitBreaker(0.5)
    with service.breaker.permit() as permit, pytest.raises(ValueError, match="'retry_after' must be a finite number"):
        permit.failure(retry_after=-1)
    assert (service.state, service.seen.successes, service.changes) == ("closed", 1, [])


def test_larger_open_times_need_no_second_argument():
    """`open_for` alone may be longer than the default of `open_for_max`, and `calls` smaller than that of `min_calls`."""
    service = Service(calls=1, open_for=120)
    service.fail()
    assert service.breaker.retry_after == 120.0


@pytest.mark.thread_unsafe(reason="reads the log of the whole process")
def test_one_line_in_the_log_for_each_change(caplog):
    """The logger is `sluicegate`; opening is a warning."""
    caplog.set_level("INFO", "sluicegate")
    service = Service(calls=1, probes=1, name="db")
    service.fail()
    service.at(5.0)
    service.call()
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("sluicegate", "WARNING", "circuit breaker 'db': closed -> open: 1 of the last 1 calls failed (for 5.0 seconds)"),
        ("sluicegate", "INFO", "circuit breaker 'db': open -> half_open: it was open for 5.0 seconds"),
        ("sluicegate", "INFO", "circuit breaker 'db': half_open -> closed: the probe succeeded"),
    ]


@pytest.mark.thread_unsafe(reason="replaces sys.unraisablehook")
def test_on_change_is_outside_every_lock(monkeypatch):
    """It may use the breaker, and what it raises reaches nobody's call."""
    seen, unraisable = [], []
    monkeypatch.setattr("sys.unraisablehook", lambda found: unraisable.append(found.exc_value))

    def on_change(old, new, why):
        seen.append((old, new, breaker.state, breaker.statistics().opened))
        if new == "open":
            breaker.reset()
            with breaker.permit():
                pass
            raise LookupError

    breaker = CircuitBreaker(calls=1, on_change=on_change)
    with pytest.raises(OSError), breaker.permit():
        raise OSError
    assert seen == [("closed", "open", "open", 1), ("open", "closed", "closed", 1)]
    assert [type(error) for error in unraisable] == [LookupError]
    assert (breaker.state, breaker.statistics().successes) == ("closed", 1)


def test_threads_lose_no_count():
    """Eight threads at full speed: each call has exactly one outcome, and a breaker that opens and closes all the while stays exact."""
    rounds, threads = 2_000, 8
    clock = ManualClock()
    steady = CircuitBreaker(clock=clock, min_calls=10**9, run=None)
    changes = []
    flapping = CircuitBreaker(
        clock=clock, calls=5, probes=2, open_for=0.001, open_for_max=0.001, on_change=lambda *c: changes.append(c[:2])
    )
    refused = []

    def work(number):
        mine = 0
        for turn in range(rounds):
            with steady.permit() as permit:
                if turn % 3 == 0:
                    permit.failure()
                elif turn % 3 == 1:
                    permit.ignore()
            call = flapping.permit()
            if not call.try_acquire():
                mine += 1
                clock.advance(0.0005)
            elif (turn + number) % 2:
                call.success()
            else:
                call.failure()
        refused.append(mine)

    for worker in [spawn(work, number) for number in range(threads)]:
        worker.result()
    seen = steady.statistics()
    each = [threads * len(range(first, rounds, 3)) for first in range(3)]
    assert (seen.calls, seen.failures, seen.ignored, seen.successes) == (threads * rounds, *each)
    seen = flapping.statistics()
    assert seen.calls + seen.refused == threads * rounds
    assert seen.refused == sum(refused)
    assert seen.calls == seen.successes + seen.failures + seen.stale
    assert seen.opened == sum(new == "open" for _, new in changes) > 1


def test_a_cycle_through_the_breaker_is_collected():
    """Through `on_change`, and through a permit that is held."""

    class Client:
        def __init__(self):
            self.breaker = CircuitBreaker(on_change=self.changed, failure=self.failed)
            self.permit = self.breaker.permit()

        def changed(self, old, new, why):
            """Is held."""

        def failed(self, error):
            """Is held too."""

    client = Client()
    references = [weakref.ref(each) for each in (client, client.breaker, client.permit)]
    del client
    collect()
    assert all(is_gone(reference) for reference in references)


def test_the_collector_may_drop_a_held_permit_anywhere():
    """In the middle of the breaker's own work too."""
    service = Service(min_calls=10**6)

    class Cycle:
        """Holds itself, and a permit."""

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(300):
            cycle = Cycle()
            cycle.itself, cycle.permit = cycle, service.breaker.permit()
            cycle.permit.acquire()
            del cycle
            service.fail()
        collect()
    assert (service.seen.ignored, service.seen.failures) == (300, 300)


def test_repr_and_copies():
    """The state in words; no copies of what is shared."""
    import copy
    import pickle

    service = Service(name="db")
    service.call()
    service.fail()
    assert repr(service.breaker).endswith(" state=closed failure_rate=0.500 of 2 calls>")
    assert repr(service.breaker).startswith("<sluicegate.CircuitBreaker 'db' at 0x")
    assert "not held of <sluicegate.CircuitBreaker 'db'" in repr(service.breaker.permit())
    for thing in (service.breaker, service.breaker.permit()):
        for refuse in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot"):
                refuse(thing)
