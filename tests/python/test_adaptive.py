"""Adaptive limits: who is admitted, what the end of a call says, the line, the decorator, arguments, and a simulated server."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import warnings
import weakref
from concurrent.futures import CancelledError
from datetime import timedelta

import pytest
from helpers import collect, run_on, settle, spawn, wait_until

from sluicegate import AdaptiveConcurrency, AdaptiveLifo, CircuitOpen, CoDel, ConcurrencyPermit, Overloaded, Refused
from sluicegate.testing import ManualClock


def make(**options):
    clock = ManualClock()
    options.setdefault("target", 0.1)
    return AdaptiveConcurrency(clock=clock, **options), clock


def counts(limiter, *names):
    seen = limiter.statistics()
    return tuple(getattr(seen, name) for name in names)


def held(limiter, number):
    permits = [limiter.permit() for _ in range(number)]
    for permit in permits:
        permit.acquire()
    return permits


def done(permits):
    for permit in permits:
        permit.ignore()  # if no result has been reported


# ----------------------------------------------------------------------------------------------------------------- the limit


def test_it_grows_when_it_is_reached_and_calls_are_fast():
    limiter, clock = make(initial=20)
    permits = held(limiter, 20)
    clock.advance(0.05)
    for number, permit in enumerate(permits, 1):
        permit.success()
        assert limiter.limit == (20 if number < 10 else 21)
    assert counts(limiter, "calls", "successes", "slow", "increases", "peak_in_flight") == (20, 20, 0, 1, 20)


@pytest.mark.parametrize("how", ["slow", "dropped"])
def test_it_falls_when_more_than_a_tenth_are_bad(how):
    limiter, clock = make(initial=20)
    permits = held(limiter, 20)
    for permit in permits[:8]:
        permit.success()
    clock.advance(0.2)
    for permit in permits[8:10]:
        permit.success() if how == "slow" else permit.failure()
    assert limiter.limit == 18
    assert counts(limiter, "slow", "dropped", "decreases") == ((2, 0, 1) if how == "slow" else (0, 2, 1))
    done(permits)


def test_it_does_not_drift_when_it_is_idle():
    limiter, _ = make(initial=20)
    for _ in range(100):
        with limiter.permit():
            pass
    assert limiter.limit == 20


def test_the_square_root_as_step():
    limiter, _ = make(initial=100, step="sqrt")
    permits = held(limiter, 100)
    for permit in permits[:50]:
        permit.success()
    assert limiter.limit == 105
    done(permits)


def test_set_limits_with_calls_in_flight():
    limiter, _ = make(initial=200, max_waiting=1)
    permits = held(limiter, 200)
    limiter.set_limits(1, 50)
    assert (limiter.limit, limiter.in_flight) == (50, 200)
    for permit in permits[:150]:
        permit.ignore()
        assert not limiter.permit().try_acquire()
    permits[150].ignore()
    permits += held(limiter, 1)
    limiter.set_limits(min=60, max=70)
    assert counts(limiter, "limit", "min", "max") == (60, 60, 70)
    done(permits)


@pytest.mark.thread_unsafe(reason="looks at the whole log")
def test_a_target_that_cannot_be_met_is_told_once_a_minute(caplog):
    limiter, clock = make(initial=1, name="db")
    with caplog.at_level(logging.WARNING, logger="sluicegate"):
        for _ in range(300):
            with limiter.permit():
                clock.advance(0.25)
    told = [record.getMessage() for record in caplog.records]
    assert told[:1] * 2 == told  # in 75 seconds
    assert told[0] == ("AdaptiveConcurrency 'db' cannot meet its target of 0.1 seconds: the median is 0.25 seconds at the lowest limit, 1")


def test_against_a_server_of_ten_workers():
    """Twice as many clients as it can serve: the limit settles, and the median with it."""
    limiter, clock = make()

    async def client(workers, took):
        while clock.now() < end:
            try:
                async with limiter.permit():
                    began = clock.now()
                    async with workers:
                        await asleep(0.05)
                    took.append(clock.now() - began)
            except Overloaded:
                await asleep(0.01)

    waking = []

    async def asleep(seconds):
        event = asyncio.Event()
        waking.append((clock.now() + seconds, len(waking), event))
        waking.sort(key=lambda each: each[:2])
        await event.wait()

    async def main():
        took = []
        workers = asyncio.Semaphore(10)
        clients = [asyncio.ensure_future(client(workers, took)) for _ in range(50)]
        while any(not each.done() for each in clients):
            await settle()
            if waking:
                at, _, event = waking.pop(0)
                clock.advance(max(0.0, at - clock.now()))
                event.set()
        return took

    end = clock.now() + 10
    took = sorted(run_on("asyncio", main()))
    assert len(took) >= 0.95 * 200 * 10
    assert took[len(took) // 2] <= 0.105
    assert 12 <= limiter.limit <= 24


# ------------------------------------------------------------------------------------------------------ how a block ends


def leave_with(error, limiter):
    with pytest.raises(type(error)):
        with limiter.permit():
            raise error


NEUTRAL = [ValueError(), KeyboardInterrupt(), GeneratorExit(), CancelledError(), asyncio.CancelledError(), Overloaded(), CircuitOpen()]


@pytest.mark.parametrize("error", NEUTRAL, ids=lambda error: type(error).__qualname__ + type(error).__module__)
def test_what_says_nothing_gives_its_slot_back(error):
    limiter, _ = make(initial=2)
    for _ in range(5):
        leave_with(error, limiter)
    assert counts(limiter, "limit", "in_flight", "ignored", "successes", "dropped") == (2, 0, 5, 0, 0)


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(), asyncio.TimeoutError()])
def test_timeouts_and_lost_connections_are_drops(error):
    limiter, _ = make()
    leave_with(error, limiter)
    assert counts(limiter, "dropped", "ignored") == (1, 0)


def test_what_counts_as_dropped_is_the_users_to_say():
    class Busy(Exception):
        retry_after = 7

    limiter, _ = make(initial=1, dropped=Busy)
    leave_with(Busy(), limiter)
    leave_with(TimeoutError(), limiter)
    assert counts(limiter, "dropped", "ignored") == (1, 1)
    with limiter.permit(), pytest.raises(Overloaded) as refused:
        limiter.permit().acquire()
    assert refused.value.retry_after == 7.0
    for told in (1e9, 10**400):  # a server that asks for more than ten minutes is mistaken, or lies
        Busy.retry_after = told
        limiter, _ = make(initial=1, dropped=Busy)
        leave_with(Busy(), limiter)
        with limiter.permit(), pytest.raises(Overloaded) as refused:
            limiter.permit().acquire()
        assert refused.value.retry_after == 600.0
    limiter, _ = make(dropped=lambda error: "busy" in str(error))
    leave_with(RuntimeError("busy"), limiter)
    leave_with(RuntimeError("other"), limiter)
    assert counts(limiter, "dropped", "ignored") == (1, 1)


def test_a_predicate_that_raises_gives_the_slot_back():
    limiter, _ = make(dropped=lambda error: 1 / 0)
    with pytest.raises(ZeroDivisionError), limiter.permit():
        raise RuntimeError
    assert counts(limiter, "in_flight", "ignored") == (0, 1)


def test_a_result_is_told_once():
    limiter, _ = make()
    with limiter.permit() as permit:
        permit.failure(TimeoutError())
        assert limiter.in_flight == 0
        permit.success()
    permit.ignore()
    assert counts(limiter, "successes", "dropped", "ignored", "in_flight") == (0, 1, 0, 0)
    with permit:  # again
        pass
    assert counts(limiter, "successes", "calls") == (1, 2)


def test_a_permit_that_is_not_admitted():
    permit = make()[0].permit()
    for tell in (permit.success, permit.failure, permit.ignore):
        with pytest.raises(RuntimeError, match="has not been admitted"):
            tell()


def test_a_permit_is_held_once():
    limiter, _ = make()
    with limiter.permit() as permit:
        for again in (permit.acquire, permit.try_acquire, permit.__enter__):
            with pytest.raises(RuntimeError, match="held already"):
                again()
        assert limiter.in_flight == 1
    assert limiter.in_flight == 0


@pytest.mark.thread_unsafe(reason="looks at all warnings")
def test_a_dropped_permit_gives_its_slot_back_with_a_warning():
    limiter, _ = make(initial=1)
    permits = held(limiter, 1)
    with pytest.warns(ResourceWarning, match="and does not count"):
        permits.clear()
    assert counts(limiter, "in_flight", "ignored") == (0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limiter.permit()  # one that was never admitted


# -------------------------------------------------------------------------------------------------------------- the line


def test_without_a_line_a_call_is_refused():
    limiter, _ = make(initial=1, name="api")
    with limiter.permit():
        assert not limiter.permit().try_acquire()
        for entry in (limiter.permit().acquire, limiter.permit(timeout=5).__enter__, limiter.permit(timeout=0).acquire):
            with pytest.raises(Overloaded) as refused:
                entry()
            error = refused.value
            assert (error.reason, error.name, error.retry_after) == ("full", "api", 1.0)
            room = "AdaptiveConcurrency 'api' has no room for another call"
            assert str(error) == f"{room}, and no wait queue: 'max_waiting' is 0; its limit is 1 now"
    assert issubclass(Overloaded, Refused)
    assert counts(limiter, "refused", "expired") == (4, 0)


def test_threads_and_tasks_wait_in_one_line():
    limiter, _ = make(initial=1, max=1, max_waiting=10)
    order = []

    def call(name):
        with limiter.permit():
            order.append(name)

    async def call_async(name):
        async with limiter.permit():
            order.append(name)

    async def main():
        (first,) = held(limiter, 1)
        threads, tasks = [], []
        for number in range(3):
            threads.append(spawn(call, f"thread {number}"))
            while counts(limiter, "waiters") != (2 * number + 1,):
                await asyncio.sleep(0)
            tasks.append(asyncio.ensure_future(call_async(f"task {number}")))
            await settle()
        first.ignore()
        await asyncio.gather(*tasks)
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0)

    run_on("asyncio", main())
    assert order == ["thread 0", "task 0", "thread 1", "task 1", "thread 2", "task 2"]


def test_a_time_that_is_over():
    limiter, clock = make(initial=1, max_waiting=10)
    (first,) = held(limiter, 1)

    def enter():
        with pytest.raises(Overloaded) as refused:
            limiter.permit(timeout=timedelta(seconds=5)).acquire()
        return refused.value

    thread = spawn(enter)
    clock.wait_for_waiters(1)
    clock.advance(5)
    error = thread.result()
    assert error.reason == "expired"
    assert "had no room for the call within 5.0 seconds" in str(error)
    assert counts(limiter, "expired", "refused", "waiters") == (1, 0, 0)
    first.success()


def test_the_timeout_of_an_entry_is_its_own():
    limiter, _ = make(initial=1, max_waiting=10)
    (first,) = held(limiter, 1)
    permit = limiter.permit()
    with pytest.raises(Overloaded):
        permit.acquire(timeout=0)
    with pytest.raises(Overloaded):
        run_on("asyncio", permit.acquire_async(timeout=0))
    first.ignore()
    assert run_on("asyncio", permit.acquire_async()) is True
    permit.ignore()


def test_a_cancelled_waiter_leaves_the_line():
    limiter, _ = make(initial=1, max_waiting=10)

    async def main():
        (first,) = held(limiter, 1)
        tasks = [asyncio.ensure_future(limiter.permit().acquire_async()) for _ in range(2)]
        await settle()
        assert counts(limiter, "waiters") == (2,)
        tasks[0].cancel()
        first.ignore()
        assert await tasks[1] is True
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        return tasks

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        run_on("asyncio", main())
        gc.collect()
    assert counts(limiter, "in_flight", "waiters") == (0, 0)


def test_codel_gives_up_who_has_waited_too_long():
    limiter, clock = make(initial=1, max_waiting=100, shed=CoDel(target=0.01, interval=0.1), name="api")

    async def call():
        try:
            async with limiter.permit() as permit:
                clock.advance(0.05)
                permit.ignore()
                return "served"
        except Overloaded as error:
            assert str(error) == "AdaptiveConcurrency 'api' gave the call up, because it had waited too long: its limit is 1 now"
            return error.reason

    async def main():
        (first,) = held(limiter, 1)
        calls = [asyncio.ensure_future(call()) for _ in range(20)]
        await settle()
        first.ignore()
        return await asyncio.gather(*calls)

    ends = run_on("asyncio", main())
    assert ends[0] == "served" and ends.count("served") + ends.count("shed") == 20
    assert counts(limiter, "shed", "waiters", "in_flight") == (ends.count("shed"), 0, 0)
    assert ends.count("shed") >= 4


def test_less_urgent_calls_leave_slots_free():
    limiter, _ = make(initial=20)
    permits = []
    for level, free in ((4, 2), (3, 2), (2, 1), (1, 1), (0, 0)):
        while (permit := limiter.permit(priority=level)).try_acquire():
            permits.append(permit)
        assert 20 - limiter.in_flight == free
    done(permits)


# ----------------------------------------------------------------------------------------------------------- decorators


def test_functions_of_every_kind():
    limiter, _ = make(initial=1)

    @limiter
    def function(x):
        assert limiter.in_flight == 1
        return x

    @limiter(priority=1, timeout=1)
    async def coroutine(x):
        await asyncio.sleep(0)
        assert limiter.in_flight == 1
        return x

    @limiter
    def generator(x):
        yield limiter.in_flight
        yield x

    @limiter
    async def asynchronous(x):
        yield limiter.in_flight
        yield x

    async def listed():
        return [item async for item in asynchronous(5)]

    assert function(5) == 5
    assert run_on("asyncio", coroutine(5)) == 5
    assert list(generator(5)) == [1, 5]
    assert run_on("asyncio", listed()) == [1, 5]
    assert counts(limiter, "successes", "in_flight") == (4, 0)
    assert function.__name__ == "function" and inspect.iscoroutinefunction(coroutine)


def test_a_coroutine_function_waits_in_line_without_blocking_its_loop():
    limiter, _ = make(initial=1, max_waiting=10)
    inside = []

    @limiter
    async def call():
        inside.append(limiter.in_flight)
        await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*[call() for _ in range(5)])

    run_on("asyncio", main())
    assert inside[0] == 1 and len(inside) == 5


def test_a_result_that_is_a_failure():
    limiter, _ = make()
    call = limiter(failed=lambda result: result == 429)(lambda result: result)
    assert (call(200), call(429)) == (200, 429)
    assert counts(limiter, "successes", "dropped") == (1, 1)


@pytest.mark.parametrize("given", [5, int, "f"])
def test_only_functions_are_decorated(given):
    with pytest.raises(TypeError, match="can decorate only a function"):
        make()[0](given)
    with pytest.raises(TypeError, match="'failed' must be a function"):
        make()[0](failed=given if given is not int else 5)


def test_it_is_no_context_manager():
    limiter, _ = make()
    with pytest.raises(TypeError, match=r"write `with limiter.permit\(\):`"):
        with limiter:
            pass

    async def enter():
        async with limiter:
            pass

    with pytest.raises(TypeError, match=r"write `with limiter.permit\(\):`"):
        run_on("asyncio", enter())


# ------------------------------------------------------------------------------------------------------------- arguments

BAD = [
    ({}, TypeError, "target"),
    ({"target": 0}, ValueError, "'target' must be at least a nanosecond"),
    ({"target": -1}, ValueError, "'target'"),
    ({"target": float("nan")}, ValueError, "'target'"),
    ({"target": "1"}, TypeError, "'target'"),
    ({"target": True}, TypeError, "'target'"),
    ({"target": 1e300}, OverflowError, "'target'"),
    ({"initial": 0}, ValueError, "'initial' must be at least 1"),
    ({"initial": 201}, ValueError, "'initial' must be between 1 and 200, not 201"),
    ({"initial": 1.5}, TypeError, "'initial'"),
    ({"min": 0}, ValueError, "'min' must be at least 1"),
    ({"min": 10, "max": 9}, ValueError, "'max' must be at least 'min', which is 10, not 9"),
    ({"max": 10**10}, OverflowError, "'max' is 10000000000, and the maximum is 1000000000"),
    ({"min": True}, TypeError, "'min'"),
    ({"decrease": 1}, ValueError, "'decrease' must be less than 1, got 1"),
    ({"decrease": 0}, ValueError, "'decrease' must be greater than 0"),
    ({"decrease": "x"}, TypeError, "'decrease'"),
    ({"bad_fraction": 1.0}, ValueError, "'bad_fraction' must be less than 1"),
    ({"bad_fraction": -0.1}, ValueError, "'bad_fraction'"),
    ({"min_samples": 0}, ValueError, "'min_samples'"),
    ({"step": "two"}, ValueError, "'step' must be \"one\" or \"sqrt\", not 'two'"),
    ({"step": 1}, TypeError, "'step'"),
    ({"max_waiting": -1}, ValueError, "'max_waiting' must be at least 0"),
    ({"max_waiting": None}, TypeError, "'max_waiting'"),
    ({"shed": CoDel()}, ValueError, "'shed' needs a wait queue: give 'max_waiting' too"),
    ({"shed": AdaptiveLifo(), "max_waiting": 1}, TypeError, "'shed' must be a CoDel or None"),
    ({"dropped": 5}, TypeError, "'dropped'"),
    ({"dropped": KeyboardInterrupt}, TypeError, "'dropped' must be Exception or a subclass of it"),
    ({"clock": 5}, TypeError, "clock"),
    ({"name": 5}, TypeError, "'name'"),
    ({"other": 5}, TypeError, "other"),
]


@pytest.mark.parametrize(("options", "kind", "text"), BAD, ids=lambda value: str(value)[:40] if isinstance(value, dict) else "")
def test_bad_arguments(options, kind, text):
    given = options if not options or "target" in options else {"target": 1, **options}
    with pytest.raises(kind) as raised:
        AdaptiveConcurrency(**given)
    assert text in str(raised.value)


def test_bad_arguments_of_methods():
    limiter, _ = make(initial=5)
    for arguments, kind in (((0, 5), ValueError), ((5, 4), ValueError), ((1, "x"), TypeError), ((1, 10**12), OverflowError)):
        with pytest.raises(kind):
            limiter.set_limits(*arguments)
    for options, kind in (({"priority": -1}, ValueError), ({"priority": 5}, ValueError), ({"priority": 1.0}, TypeError)):
        with pytest.raises(kind, match="'priority'"):
            limiter.permit(**options)
    for timeout, kind in ((-1, ValueError), ("x", TypeError), (float("nan"), ValueError), (1e300, OverflowError)):
        with pytest.raises(kind, match="'timeout'"):
            limiter.permit(timeout=timeout)
        with pytest.raises(kind, match="'timeout'"):
            limiter.permit().acquire(timeout=timeout)
    permit = limiter.permit()
    with permit:
        with pytest.raises(ValueError, match="'retry_after'"):
            permit.failure(retry_after=-1)
        assert limiter.in_flight == 1, "nothing half done"
    assert counts(limiter, "limit", "min", "max") == (5, 1, 200)


def test_defaults_follow_the_bounds():
    assert AdaptiveConcurrency(target=None).limit == 20
    assert AdaptiveConcurrency(target=1, max=5).limit == 5
    assert AdaptiveConcurrency(target=timedelta(seconds=1), min=300).limit == 300


def test_repr():
    limiter, _ = make(initial=3, name="db")
    assert repr(limiter).startswith("<sluicegate.AdaptiveConcurrency 'db' at 0x")
    assert repr(limiter).endswith(" limit=3 (1..200) in_flight=0 waiters=0>")
    with limiter.permit() as permit:
        assert repr(permit).startswith("<sluicegate.ConcurrencyPermit held of <sluicegate.AdaptiveConcurrency 'db'")
    assert "not held" in repr(permit) and type(permit) is ConcurrencyPermit


# --------------------------------------------------------------------------------------------------------- the collector


def test_cycles_are_collected():
    class Own(AdaptiveConcurrency):
        pass

    def of_a_call():
        limiter = Own(target=1)
        limiter.held = limiter.permit()
        limiter.held.acquire()
        return weakref.ref(limiter)

    def of_a_predicate():
        limiter = Own(target=1, dropped=lambda error: limiter)
        return weakref.ref(limiter)

    for tie in (of_a_call, of_a_predicate):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            reference = tie()
            collect()
            assert reference() is None


def test_waiting_tasks_are_collected_with_their_limiter():
    async def main():
        limiter, _ = make(initial=1, max_waiting=5)
        permit = limiter.permit()
        permit.acquire()
        coroutine = limiter.permit().acquire_async()
        coroutine.send(None)
        permit.ignore()
        coroutine.close()
        return weakref.ref(limiter)

    reference = run_on("asyncio", main())
    collect()
    assert reference() is None


# -------------------------------------------------------------------------------------------------------------- in storms


def test_many_threads_lose_no_count():
    """Eight threads with every outcome, while the bounds change: each call has one outcome, and no slot is lost."""
    limiter = AdaptiveConcurrency(target=10, initial=4, max=16, max_waiting=100)
    over = []
    calls = 300

    def work(number):
        for turn in range(calls):
            with limiter.permit() as permit:
                if limiter.in_flight > 16:
                    over.append(limiter.in_flight)
                if (turn + number) % 3 == 0:
                    permit.failure()
                elif (turn + number) % 3 == 1:
                    permit.ignore()
            if turn % 50 == 0:
                limiter.set_limits(1 + number % 3, 8 + number % 8)

    threads = [spawn(work, number) for number in range(8)]
    for thread in threads:
        thread.result()
    wait_until(lambda: limiter.in_flight == 0)
    seen = limiter.statistics()
    assert not over
    assert (seen.calls, seen.waiters) == (8 * calls, 0)
    assert (seen.dropped, seen.ignored, seen.successes) == (8 * calls // 3,) * 3
