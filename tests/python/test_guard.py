"""`Guard`: the order of its layers, what each of them sees of a call, and that nothing is held or taken for a call that is not made."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import gc
import itertools
import pickle
import sys
import threading
import weakref

import pytest
from helpers import eventually, on_loops, spawn, wait_until

from sluicegate import (
    AdaptiveConcurrency,
    AdaptiveRate,
    Backoff,
    BoundedExecutor,
    CircuitBreaker,
    CircuitOpen,
    Fallback,
    Guard,
    KeyedBreaker,
    KeyedSemaphore,
    KeyedTokenBucket,
    Overloaded,
    Pipeline,
    RateLimited,
    RateLimits,
    Refused,
    Retry,
    RetryBudget,
    Semaphore,
    Stale,
    TokenBucket,
)
from sluicegate.testing import ManualClock

AT_ONCE = Backoff(0, 0)


def retry(attempts=3, on=OSError, **arguments):
    return Retry(attempts, on=on, backoff=AT_ONCE, budget=RetryBudget(reserve=1000), **arguments)


class Failing:
    def __init__(self, times, error=OSError):
        self.times, self.calls, self.error = times, 0, error
        self.lock = threading.Lock()  # the workers of an executor may call it at the same time

    def __call__(self, *args):
        with self.lock:
            self.calls = call = self.calls + 1
        if call <= self.times:
            raise self.error(f"failure {call}")
        return args

    async def run(self, *args):
        await asyncio.sleep(0)
        return self(*args)


class Busy(Exception):
    retry_after = 5.0


def told(guard):
    seen = guard.statistics()
    return seen.successes, seen.degraded, seen.refused, seen.failures


# --- order ---------------------------------------------------------------------------------------------------------


def spied(cls, log, label):
    class Spied(cls):
        def permit(self, *args, **kwargs):
            log.append(label)
            return super().permit(*args, **kwargs)

        def try_acquire(self, *args, **kwargs):
            log.append(label)
            return super().try_acquire(*args, **kwargs)

    return Spied


@on_loops
async def test_g1_each_attempt_goes_through_each_layer():
    """resilience G1: 3 attempts take 3 tokens, and are 3 results of the breaker and 3 permits of the limit."""
    for is_async in (False, True):
        log = []
        breaker = CircuitBreaker()
        rate = spied(TokenBucket, log, "rate")(0.001, burst=10)
        limit = spied(Semaphore, log, "concurrency")(5)
        guard = Guard(retry=retry(), breaker=breaker, rate=rate, concurrency=limit)
        call = Failing(2)
        if is_async:
            assert await guard.call_async(call.run, "x") == ("x",)
        else:
            assert guard.call(call, "x") == ("x",)
        assert log == ["rate", "concurrency"] * 3
        assert 7 <= rate.tokens < 7.5
        seen = breaker.statistics()
        assert (seen.calls, seen.failures, seen.successes) == (3, 2, 1)
        assert (limit.statistics().acquired, limit.value) == (3, 5)
        assert told(guard) == (1, 0, 0, 0)


def test_g1_an_open_breaker_takes_no_token_and_no_permit():
    breaker, rate, limit = CircuitBreaker(), TokenBucket(0.001, burst=10), Semaphore(5)
    guard = Guard(breaker=breaker, rate=rate, concurrency=limit)
    breaker.force_open(60)
    with pytest.raises(CircuitOpen):
        guard.call(Failing(0))
    assert rate.statistics().admitted == 0
    assert limit.statistics().acquired == 0
    assert breaker.statistics().refused == 1
    assert told(guard) == (0, 0, 1, 0)


def test_a_breaker_that_opens_during_the_wait_gives_the_token_back():
    clock = ManualClock()
    breaker, rate, limit = CircuitBreaker(clock=clock), TokenBucket(1, burst=10, clock=clock), Semaphore(1, clock=clock)
    guard = Guard(breaker=breaker, rate=rate, concurrency=limit, clock=clock)
    assert limit.acquire()
    call = Failing(0)
    worker = spawn(guard.call, call)
    wait_until(lambda: limit.statistics().waiters == 1)
    assert rate.tokens == 9
    breaker.force_open(60)
    limit.release()
    assert isinstance(worker.exception(), CircuitOpen)
    assert (call.calls, rate.tokens, limit.value) == (0, 10, 1)


def test_no_probe_stands_in_a_wait_queue():
    """One that waits for the limit holds none of the half-open breaker's permits."""
    clock = ManualClock()
    breaker = CircuitBreaker(run=1, min_calls=1, probes=1, open_for=5, clock=clock)
    limit = Semaphore(1, clock=clock)
    guard = Guard(breaker=breaker, concurrency=limit)
    with pytest.raises(OSError, match="failure 1"):
        guard.call(Failing(1))
    assert breaker.state == "open"
    clock.advance(5)
    limit.acquire()
    worker = spawn(guard.call, Failing(0))
    wait_until(lambda: limit.statistics().waiters == 1)
    with breaker.permit():
        pass  # the probe
    assert breaker.state == "closed"
    limit.release()
    assert worker.result() == ()


def test_refusals_of_our_own_are_neither_failures_nor_successes():
    clock = ManualClock()
    breaker = CircuitBreaker(clock=clock)
    inner = TokenBucket(1, burst=1, clock=clock)
    guard = Guard(breaker=breaker)
    assert guard.call(inner.acquire, timeout=0)
    with pytest.raises(RateLimited):
        guard.call(inner.acquire, timeout=0)
    seen = breaker.statistics()
    assert (seen.successes, seen.failures, seen.ignored) == (1, 0, 1)


@on_loops
async def test_a_mistake_of_the_program_is_no_result_of_the_service():
    async def fetch():
        return 1

    breaker, rate = CircuitBreaker(), TokenBucket(1, burst=10, clock=ManualClock())
    concurrency = AdaptiveConcurrency(target=1.0)
    guard = Guard(fallback=Fallback(7, on=Exception), retry=retry(on=Exception), breaker=breaker, rate=rate, concurrency=concurrency)
    text = "is a coroutine function: use `await guard.call_async"
    with pytest.raises(TypeError, match=text):
        guard.call(fetch)
    assert (breaker.statistics().calls, rate.tokens, concurrency.statistics().calls) == (0, 10.0, 0)  # no layer has seen it
    for hidden in (functools.partial(fetch), lambda: fetch()):  # which shows only when it is called
        with pytest.raises(TypeError, match=text):
            guard.call(hidden)
    with pytest.raises(TypeError, match="has returned 'int', which cannot be awaited"):
        await guard.call_async(int)
    seen = breaker.statistics()
    assert (seen.successes, seen.failures, seen.ignored) == (0, 0, 3)
    seen = concurrency.statistics()
    assert (seen.successes, seen.dropped, seen.ignored, seen.in_flight) == (0, 0, 3, 0)
    assert told(guard) == (0, 0, 0, 0)
    assert guard.statistics().failures == 0
    assert await guard.call_async(lambda: fetch()) == 1  # it returns something to await
    assert guard.call(lambda: 1) == 1


def test_nothing_is_held_between_attempts():
    clock = ManualClock()
    limit = Semaphore(1, clock=clock)
    waiting = Retry(2, on=OSError, backoff=Backoff(10, 10, jitter="none"), clock=clock)
    guard = Guard(retry=waiting, concurrency=limit)
    worker = spawn(guard.call, Failing(1))
    clock.wait_for_waiters(1, timeout=30)
    assert limit.value == 1
    clock.advance(10)
    assert worker.result() == ()


@on_loops
async def test_an_adaptive_limit_measures_attempts():
    """resilience G1: each attempt is a sample; what the breaker refuses is none."""
    clock = ManualClock()
    limit, breaker = AdaptiveConcurrency(target=1, dropped=OSError, clock=clock), CircuitBreaker(clock=clock)
    guard = Guard(retry=retry(), breaker=breaker, concurrency=limit)
    assert guard.call(Failing(2)) == ()
    assert await guard.call_async(Failing(2).run) == ()
    breaker.force_open(60)
    with pytest.raises(CircuitOpen):
        guard.call(Failing(0))
    seen = limit.statistics()
    assert (seen.calls, seen.successes, seen.dropped, seen.in_flight) == (6, 2, 4, 0)


@on_loops
async def test_a_call_that_is_retried_is_no_slow_call():
    """Vector's `retried-request-rtt`: 20 requests of 0.1 s, of which the third fails five times; the back-off is not its duration."""
    clock = ManualClock()
    limit = AdaptiveConcurrency(target=0.3, initial=1, max=1, dropped=OSError, clock=clock)
    again = Retry(6, on=OSError, backoff=Backoff(1, 10, jitter="none"), clock=clock)
    guard = Guard(retry=again, concurrency=limit)
    failing, took = Failing(5), []

    async def request(number):
        clock.advance(0.1)
        return failing() if number == 2 else ()

    for number in range(20):
        begun = clock.now()
        task = asyncio.create_task(guard.call_async(request, number))
        await clock.advance_async(0)
        while not task.done():
            await clock.advance_async(0.5)
        assert await task == ()
        took.append(clock.now() - begun)
    assert max(took) > 20
    seen = limit.statistics()
    # No call took longer than the target: neither those that failed, nor the one that succeeded in the end.
    assert (seen.successes, seen.dropped, seen.slow, limit.limit) == (20, 5, 0, 1)


# --- attempts that the binding makes -------------------------------------------------------------------------------


def layers_of(native):
    """The same layers; those of a subclass, which may have methods of its own, leave the attempts to Python."""

    def of(cls):
        return cls if native else type(cls.__name__, (cls,), {})

    return (of(CircuitBreaker), of(TokenBucket), of(AdaptiveConcurrency), of(Semaphore))


class Odd(BaseException):
    pass


def ends():
    """How a call may end: what it does, and what its guard raises."""

    def unready():
        raise ConnectionError("away")

    def mistaken():
        raise ValueError("mistaken")

    def refused():
        raise Refused("by another guard")

    def busy():
        raise Busy("busy")

    def interrupted():
        raise KeyboardInterrupt

    def odd():
        raise Odd

    async def coroutine():
        raise AssertionError("it never runs")

    def generator():
        yield

    return {
        "returns": (lambda: 5, None),
        "a failure": (unready, ConnectionError),
        "a mistake": (mistaken, ValueError),
        "a refusal inside": (refused, Refused),
        "asks for a pause": (busy, Busy),
        "interrupted": (interrupted, KeyboardInterrupt),
        "no exception": (odd, Odd),
        "a hidden coroutine function": (functools.partial(coroutine), TypeError),
        "a hidden generator function": (functools.partial(generator), TypeError),
    }


@pytest.mark.parametrize("with_semaphore", [False, True], ids=["adaptive", "semaphore"])
@pytest.mark.parametrize("end", ends())
@on_loops
async def test_the_binding_and_python_make_the_same_attempt(end, with_semaphore):
    """And `call_async` does too, but for functions that only hide what they are."""
    call, kind = ends()[end]

    async def run():
        return call()

    seen = []
    for native, is_async in ((True, False), (False, False), *(() if kind is TypeError else ((True, True), (False, True)))):
        clock = ManualClock()
        breaker_of, bucket_of, adaptive_of, semaphore_of = layers_of(native)
        breaker, rate = breaker_of(clock=clock), bucket_of(1, burst=10, clock=clock)
        limit = semaphore_of(2, clock=clock) if with_semaphore else adaptive_of(target=1.0, initial=2, clock=clock)
        guard = Guard(breaker=breaker, rate=rate, concurrency=limit, clock=clock)
        try:
            raise LookupError("what the caller handles meanwhile")
        except LookupError as outer:
            try:
                answer = await guard.call_async(run) if is_async else guard.call(call)
            except BaseException as error:
                assert type(error) is kind
                assert error.__context__ is outer or type(error) is TypeError  # a TypeError has been in a Mistake
                answer = str(error).split(" object")[0].split(" function ")[0]
        tokens = (rate.tokens, rate.retry_after())
        seen.append((answer, tokens, breaker.statistics(), limit.statistics(), told(guard)))
    assert all(each == seen[0] for each in seen)
    breaker_seen, limit_seen = seen[0][2:4]
    assert breaker_seen.calls == 1
    assert limit_seen.value == 2 if with_semaphore else limit_seen.in_flight == 0


def test_an_error_is_being_handled_while_the_layers_judge_it():
    """As at the end of a `with` block: what they raise has it as context, and their callbacks can log it."""
    for native in (True, False):
        handled = []

        def judge(error, handled=handled):
            handled.append(sys.exc_info()[1] is error)
            raise Odd("of the judge")

        breaker_of, bucket_of, adaptive_of, _ = layers_of(native)
        breaker, limit = breaker_of(failure=judge), adaptive_of(target=1.0)
        guard = Guard(breaker=breaker, rate=bucket_of(0.001, burst=10), concurrency=limit)
        with pytest.raises(Odd) as raised:
            guard.call(Failing(1))
        assert handled == [True]
        assert isinstance(raised.value.__context__, OSError)
        assert (breaker.statistics().ignored, limit.statistics().in_flight) == (1, 0)


def test_a_change_of_state_is_told_while_the_error_is_handled():
    for native in (True, False):
        told_of = []

        def on_change(*_change, told_of=told_of):
            told_of.append(type(sys.exc_info()[1]))

        breaker = layers_of(native)[0](calls=1, min_calls=1, on_change=on_change)
        with pytest.raises(OSError, match="failure"):
            Guard(breaker=breaker).call(Failing(1))
        assert told_of == [OSError]


@pytest.mark.thread_unsafe(reason="patches a method")
def test_an_interrupt_before_the_layers_hear_of_an_error_leaves_nothing_held(monkeypatch):
    """Between the call and `_ended`'s first line a signal handler can raise: the permits are given back, and count nothing."""
    import sluicegate._attempts as attempts

    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(attempts.Attempts, "_ended", interrupted)
    breaker, limit = CircuitBreaker(), AdaptiveConcurrency(target=1.0)
    with pytest.raises(KeyboardInterrupt):
        Guard(breaker=breaker, concurrency=limit).call(Failing(1))
    assert (breaker.statistics().ignored, breaker.statistics().failures, limit.statistics().in_flight) == (1, 0, 0)


def test_a_refusal_of_the_limit_gives_the_token_back():
    for native in (True, False):
        _, bucket_of, adaptive_of, _ = layers_of(native)
        rate, limit = bucket_of(0.001, burst=10), adaptive_of(target=1.0, initial=1)
        guard = Guard(breaker=CircuitBreaker(), rate=rate, concurrency=limit)
        with limit.permit(), pytest.raises(Overloaded):
            guard.call(Failing(0))
        assert rate.tokens >= 9.9
        assert limit.statistics().refused == 1
        assert guard.call(Failing(0)) == ()


def test_a_key_and_a_deadline_take_the_same_way():
    clock = ManualClock()
    guard = Guard(
        total=5,
        retry=retry(clock=clock),
        breaker=KeyedBreaker(max_keys=10, clock=clock),
        rate=KeyedTokenBucket(1, burst=10, max_keys=10, clock=clock),
        concurrency=KeyedSemaphore(2, max_keys=10, clock=clock),
        clock=clock,
    )
    one = guard.key("a")
    assert one.call(lambda: guard.remaining) == 5
    assert one.call(Failing(2), 7) == (7,)
    assert one._breaker.statistics().failures == 2
    assert one._rate.tokens == 6
    assert one._concurrency.value == 2


def test_a_call_in_a_call_and_its_failure():
    """The function of an attempt may use the same guard."""
    breaker, limit = CircuitBreaker(), Semaphore(3)
    guard = Guard(breaker=breaker, concurrency=limit)
    seen = guard.call(lambda: (guard.call(lambda: limit.value), limit.value))
    assert (*seen, limit.value) == (1, 2, 3)
    with pytest.raises(OSError, match="failure"):
        guard.call(lambda: guard.call(Failing(1)))
    assert (breaker.statistics().failures, limit.value) == (2, 3)


@pytest.mark.thread_unsafe(reason="the collector is off meanwhile")
def test_a_failed_call_keeps_no_cycle():
    class Kept(OSError):
        pass

    def call():
        raise Kept

    guard = Guard(breaker=CircuitBreaker(), rate=TokenBucket(1e6, burst=100), concurrency=Semaphore(2))
    gc.collect()
    gc.disable()
    try:
        try:
            guard.call(call)
        except Kept as error:
            alive = weakref.ref(error)
        wait_until(lambda: alive() is None)
    finally:
        gc.enable()


# --- deadline and time limits --------------------------------------------------------------------------------------


def test_no_wait_lasts_beyond_the_deadline():
    clock = ManualClock()
    rate = TokenBucket(1, burst=1, clock=clock)
    guard = Guard(total=3, rate=rate, retry=retry(on=(OSError, Refused)), clock=clock)
    assert guard.remaining is None
    assert guard.call(lambda: guard.remaining) == 3
    rate.debit(4)
    with pytest.raises(RateLimited) as caught:
        guard.call(lambda: None)
    assert caught.value.retry_after == 5
    assert guard.remaining is None

    limit = Semaphore(1, clock=clock)
    limit.acquire()
    worker = spawn(Guard(total=3, concurrency=limit, clock=clock).call, lambda: None)
    clock.wait_for_waiters(1, timeout=30)
    clock.advance(3)
    assert isinstance(worker.exception(), Overloaded)


def test_the_retries_end_at_the_deadline():
    clock = ManualClock()
    call = Failing(100)
    guard = Guard(total=25, retry=Retry(None, total=1000, on=OSError, backoff=Backoff(10, 10, jitter="none"), clock=clock), clock=clock)
    worker = spawn(guard.call, call)
    for number in (1, 2):
        wait_until(lambda: call.calls == number)  # noqa: B023
        clock.wait_for_waiters(1, timeout=30)
        clock.advance(10)
    error = worker.exception()
    assert "are left" in error.__notes__[0]
    assert call.calls == 3


def test_a_deadline_does_not_keep_the_guards_own_retries_back():
    """A Retry inside another leaves its retries to that one; inside a deadline it does not, unless a Retry is further out."""
    call = Failing(2)
    assert Guard(total=60, retry=retry()).call(call) == ()
    assert call.calls == 3
    call = Failing(100)
    with pytest.raises(OSError, match="failure 3"):
        retry().call(Guard(total=60, retry=retry()).call, call)
    assert call.calls == 3


@on_loops
async def test_total_cancels_a_coroutine():
    clock = ManualClock()
    breaker, limit = CircuitBreaker(clock=clock), Semaphore(1, clock=clock)
    guard = Guard(total=5, retry=retry(), breaker=breaker, concurrency=limit, clock=clock)
    task = asyncio.create_task(guard.call_async(asyncio.Event().wait))
    await eventually(lambda: limit.value == 0 and clock.waiters == 1)
    await clock.advance_async(5)
    with pytest.raises(TimeoutError, match="longer than 'total', which is 5 seconds"):
        await task
    assert limit.value == 1
    assert breaker.statistics().failures == 1
    assert told(guard) == (0, 0, 0, 1)


@on_loops
async def test_attempt_timeout_is_a_failure_that_may_be_retried():
    clock = ManualClock()
    breaker = CircuitBreaker(clock=clock)
    guard = Guard(total=100, retry=retry(2, on=TimeoutError), breaker=breaker, attempt_timeout=5, clock=clock)
    task = asyncio.create_task(guard.call_async(asyncio.Event().wait))
    for _ in range(2):
        await eventually(lambda: clock.waiters == 2)
        await clock.advance_async(5)
    with pytest.raises(TimeoutError) as caught:
        await task
    assert "after 2" in caught.value.__notes__[0]
    assert breaker.statistics().failures == 2


@on_loops
async def test_time_limits_on_the_real_clock():
    with pytest.raises(TimeoutError):
        await Guard(total=0.01).call_async(asyncio.sleep, 60)
    with pytest.raises(TimeoutError):
        await Guard(attempt_timeout=0.01).call_async(asyncio.sleep, 60)
    assert await Guard(total=60, attempt_timeout=30).call_async(asyncio.sleep, 0, "x") == "x"


@on_loops
async def test_a_cancellation_stays_one():
    guard = Guard(total=60, attempt_timeout=60)
    task = asyncio.create_task(guard.call_async(asyncio.sleep, 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told(guard) == (0, 0, 0, 0)


# --- what a server says ------------------------------------------------------------------------------------------------


@on_loops
async def test_a_retry_after_holds_the_others():
    for is_async in (False, True):
        clock = ManualClock()
        rate = TokenBucket(100, burst=100, clock=clock)
        guard = Guard(rate=rate, clock=clock)
        call = Failing(1, Busy)
        with pytest.raises(Busy):
            if is_async:
                await guard.call_async(call.run)
            else:
                guard.call(call)
        assert rate.retry_after() == 5


@pytest.mark.parametrize("told", [601, 1e12, 10**400])
def test_no_server_stops_the_others_for_good(told):
    clock = ManualClock()
    rate = TokenBucket(1, burst=5, clock=clock)

    def call():
        error = OSError("busy")
        error.retry_after = told
        raise error

    with pytest.raises(OSError, match="busy"):
        Guard(rate=rate).call(call)
    assert rate.retry_after() == 600


def test_the_refusal_of_an_inner_limit_does_not():
    clock = ManualClock()
    inner, rate = TokenBucket(1, burst=1, clock=clock), TokenBucket(1, burst=5, clock=clock)
    inner.acquire()
    with pytest.raises(RateLimited):
        Guard(rate=rate).call(inner.acquire, timeout=0)
    assert rate.retry_after() == 0


# --- fallback ------------------------------------------------------------------------------------------------------


@on_loops
async def test_a_degraded_answer_is_counted():
    guard = Guard(fallback=Fallback(7, on=OSError), retry=retry(2))
    assert guard.call(Failing(2)) == 7
    assert guard.call(Failing(1)) == ()
    assert await guard.call_async(Failing(2).run) == 7
    with pytest.raises(ZeroDivisionError):
        guard.call(Failing(9, ZeroDivisionError))
    assert told(guard) == (1, 2, 0, 1)


# --- keys ----------------------------------------------------------------------------------------------------------


def keyed():
    return Guard(
        breaker=KeyedBreaker(run=1, min_calls=1, max_keys=10),
        rate=KeyedTokenBucket(0.001, burst=2, max_keys=10),
        concurrency=KeyedSemaphore(1, max_keys=10),
    )


@on_loops
async def test_a_guard_of_a_key():
    guard = keyed()
    with pytest.raises(OSError, match="failure 1"):
        guard.key("a").call(Failing(1))
    with pytest.raises(CircuitOpen):
        guard.key("a").call(Failing(0))
    assert await guard.key("b").call_async(Failing(0).run) == ()
    assert told(guard) == (1, 0, 1, 1)
    assert repr(guard.key("a")).startswith("<sluicegate.GuardKey 'a' of <sluicegate.Guard at")


@on_loops
async def test_keys_share_no_results():
    """What one key's call has returned is no answer for another one, neither later nor while it is on its way."""
    tenant = contextvars.ContextVar("tenant")
    guard = Guard(concurrency=KeyedSemaphore(2, max_keys=10), fallback=Fallback(on=OSError, stale=Stale(60, key=lambda: "profile")))

    async def profile():
        await asyncio.sleep(0)
        return tenant.get()

    async def of(name):
        tenant.set(name)
        return await guard.key(name).call_async(profile)

    assert await asyncio.gather(of("a"), of("b")) == ["a", "b"]
    for name in "a", "b":
        assert guard.key(name).call(Failing(1)) == name
    with pytest.raises(OSError, match="failure 1"):
        guard.key("c").call(Failing(1))


@on_loops
async def test_the_key_of_a_call():
    guard = keyed()

    @guard.by(key=lambda url: url)
    def fetch(url):
        if url == "bad":
            raise OSError("down")
        return url

    @guard.by(key=lambda url: url)
    async def fetch_async(url):
        return fetch.__wrapped__(url)

    with pytest.raises(OSError, match="down"):
        fetch("bad")
    with pytest.raises(CircuitOpen):
        await fetch_async("bad")
    assert (fetch("good"), await fetch_async("good")) == ("good", "good")


def test_a_shared_layer_beside_a_keyed_one():
    limit = Semaphore(3)
    guard = Guard(rate=KeyedTokenBucket(0.001, burst=1, max_keys=10), concurrency=limit)
    assert [guard.key(key).call(lambda: limit.value) for key in "abc"] == [2, 2, 2]


@on_loops
async def test_a_keyed_layer_needs_a_key():
    guard = keyed()
    for call in (lambda: guard.call(print), lambda: guard(print)):
        with pytest.raises(TypeError, match=r"guard\.key\(k\)"):
            call()
    with pytest.raises(TypeError, match=r"guard\.key\(k\)"):
        await guard.call_async(asyncio.sleep, 0)
    plain = Guard(rate=TokenBucket(1, burst=1))
    for call in (lambda: plain.key("a"), lambda: plain.by(key=str)):
        with pytest.raises(TypeError, match="no layer"):
            call()


def test_sets_and_nested_guards():
    limits = RateLimits(requests=TokenBucket(1, burst=5), at_once=Semaphore(1))
    outer = Guard(rate=limits, retry=retry())
    inner = Guard(retry=retry())
    call = Failing(2)
    assert outer.call(inner.call, call) == ()
    assert call.calls == 3


# --- executors ---------------------------------------------------------------------------------------------------------


def test_an_executor_calls_its_jobs_through_a_guard():
    guard = Guard(fallback=Fallback("none", on=OSError), retry=retry(2))
    with BoundedExecutor(2, max_pending=10, guard=guard) as executor:
        assert executor.submit(Failing(1), "x").result(30) == ("x",)
        assert executor.submitting().submit(Failing(2)).result(30) == "none"
        assert list(executor.map(Failing(1), "abc")) == [("a",), ("b",), ("c",)]
        chunks = Failing(1)
        assert list(executor.map(chunks, "abcd", chunksize=2)) == [("a",), ("b",), ("c",), ("d",)]
        assert chunks.calls == 5  # each item is a call, and not the chunk
    assert told(guard) == (8, 1, 0, 0)


@on_loops
async def test_an_executor_calls_its_jobs_through_a_guard_asyncio():
    guard = Guard(retry=retry(2))
    async with BoundedExecutor(2, max_pending=10, guard=guard) as executor:
        assert await (await executor.submit_async(Failing(1), "x")) == ("x",)
        assert await (await executor.submitting().submit_async(Failing(1), "y")) == ("y",)
    assert told(guard) == (2, 0, 0, 0)


@pytest.mark.parametrize(
    ("guard", "text"),
    [
        (retry(), "'guard' must be a Guard"),
        (Guard(rate=KeyedTokenBucket(1, burst=1, max_keys=1)), r"guard\.key\(k\)"),
        (Guard(attempt_timeout=1), "'attempt_timeout'"),
    ],
    ids=["no guard", "keyed", "attempt_timeout"],
)
def test_guards_that_an_executor_cannot_use(guard, text):
    with pytest.raises(TypeError, match=text):
        BoundedExecutor(1, max_pending=1, guard=guard)


# --- pipelines ---------------------------------------------------------------------------------------------------------


@on_loops
async def test_a_stage_calls_through_a_guard():
    """Retries keep the order: an item that is tried again stays where it is."""
    failed = set()

    def flaky(n):
        if n % 3 == 0 and n not in failed:
            failed.add(n)
            raise OSError(n)
        return n

    async def flaky_async(n):
        await asyncio.sleep(0)
        return flaky(n + 100) - 100

    guard = Guard(retry=retry(2), name="stage")
    stages = Pipeline(range(20)).map(flaky, workers=3, guard=guard).map(flaky_async, workers=3, guard=guard, name="again")
    assert [n async for n in stages] == list(range(20))
    assert len(failed) == 13
    assert told(guard) == (40, 0, 0, 0)
    assert "flaky" in stages.describe()


def test_guards_that_a_stage_cannot_use():
    with pytest.raises(TypeError, match="'guard' must be a Guard"):
        Pipeline([1]).map(str, guard=retry())
    with pytest.raises(TypeError, match="'attempt_timeout'"):
        Pipeline([1]).map(str, guard=Guard(attempt_timeout=1))
    with pytest.raises(TypeError, match=r"guard\.key\(k\)"):
        Pipeline([1]).map(str, guard=keyed())


# --- decorator, arguments, repr ------------------------------------------------------------------------------------


@on_loops
async def test_the_decorator():
    guard = Guard(retry=retry())
    failing, failing_async = Failing(1), Failing(1)

    @guard
    def function(*args):
        """Doc."""
        return failing(*args)

    @guard
    async def coroutine(*args):
        return await failing_async.run(*args)

    assert (function(1), function.__doc__) == ((1,), "Doc.")
    assert await coroutine(2) == (2,)
    with pytest.raises(TypeError, match="call_async"):
        guard.call(failing.run)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"fallback": 7}, TypeError, "'fallback' must be a Fallback"),
        ({"retry": 3}, TypeError, "'retry' must be a Retry"),
        ({"breaker": Semaphore()}, TypeError, "'breaker' must be"),
        ({"rate": Semaphore()}, TypeError, "'rate' must be"),
        ({"concurrency": TokenBucket(1, burst=1)}, TypeError, "'concurrency' must be"),
        ({"total": -1}, ValueError, "'total'"),
        ({"total": float("nan")}, ValueError, "'total'"),
        ({"attempt_timeout": "1"}, TypeError, "'attempt_timeout'"),
        ({"total": 1, "attempt_timeout": 2}, ValueError, "'attempt_timeout' must be at most 'total'"),
        ({"name": 7}, TypeError, "name"),
        ({"clock": 7}, TypeError, "clock"),
    ],
)
def test_bad_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        Guard(**arguments)


def test_attempt_timeout_is_for_coroutine_functions():
    guard = Guard(attempt_timeout=1)
    for call in (lambda: guard.call(print), lambda: guard(print), lambda: Guard(attempt_timeout=1)(lambda: None)):
        with pytest.raises(TypeError, match="a thread.* cannot be stopped"):
            call()


def test_repr_pickle_and_copy():
    guard = Guard(total=1, rate=TokenBucket(1, burst=1), name="prices")
    assert repr(guard).startswith("<sluicegate.Guard 'prices' at 0x")
    assert " total=1.0 rate=<sluicegate.TokenBucket" in repr(guard)
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle or copy 'Guard'"):
            take(guard)


def test_a_storm_leaks_nothing():
    """Threads and all layers: every permit is back, and every call is counted."""
    rate, limit, breaker = TokenBucket(1e6, burst=100), Semaphore(2), CircuitBreaker(run=10**6, failure_rate=1.0)
    guard = Guard(fallback=Fallback(None, on=OSError), total=60, retry=retry(2), breaker=breaker, rate=rate, concurrency=limit)
    ran = threading.Semaphore(0)

    def call(n):
        ran.release()
        if n % 3 == 0:
            raise OSError
        if n % 7 == 0:
            raise KeyError(n)
        return n

    def work(seed):
        for n in range(seed, seed + 200):
            try:
                guard.call(call, n)
            except KeyError:
                pass

    for worker in [spawn(work, seed * 200) for seed in range(4)]:
        worker.result()
    assert limit.value == 2
    assert sum(told(guard)) == 800
    seen = breaker.statistics()
    assert seen.calls == seen.successes + seen.failures + seen.ignored + seen.stale


def test_adaptive_layers_learn_from_the_attempts():
    """Each attempt is a sample of the limit and a result of the rate; a refusal of the breaker is neither."""
    clock = ManualClock()
    limit = AdaptiveConcurrency(target=1, clock=clock)
    rate, breaker = AdaptiveRate(100, burst=10, clock=clock), CircuitBreaker(clock=clock)
    guard = Guard(rate=rate, concurrency=limit, breaker=breaker, retry=retry(clock=clock))

    class Busy(ConnectionError):
        status_code = 429

    answers = [Busy(), Busy(), 5]

    def call():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert guard.call(call) == 5
    seen, told = limit.statistics(), rate.statistics()
    assert (seen.calls, seen.dropped, seen.successes, seen.in_flight) == (3, 2, 1, 0)
    assert (told.admitted, told.throttled, told.successes, told.ignored) == (3, 2, 1, 0)
    breaker.force_open()
    with pytest.raises(CircuitOpen):
        guard.call(call)
    assert (limit.statistics().calls, rate.statistics().admitted) == (3, 3)
    with limit.permit(), pytest.raises(Overloaded):
        breaker.reset()
        limit.set_limits(1, 1)
        Guard(concurrency=limit, rate=rate).call(call)
    told = rate.statistics()
    assert (told.throttled, told.ignored, limit.in_flight) == (2, 1, 0)


# --- interrupts ----------------------------------------------------------------------------------------------------


def in_a_loop(retry):
    def call(function):
        for attempt in retry:
            with attempt:
                return function()
        raise AssertionError

    return call


@pytest.mark.skipif(sys.getprofile() is not None, reason="it sets a profile function")
@pytest.mark.filterwarnings(
    "ignore:a permit was dropped while it was held:ResourceWarning"
)  # from 3.14 on a `with` can be interrupted there
@pytest.mark.parametrize(
    "call",
    [
        Retry(3, on=OSError).call,
        Retry(3, on=OSError, total=60).call,
        Retry(3, on=OSError)(lambda function: function()),
        in_a_loop(Retry(3, on=OSError)),
        in_a_loop(Retry(3, on=OSError, total=60)),
        Guard(total=60, concurrency=Semaphore(1)).call,
        Guard(total=60, retry=Retry(3, on=OSError), fallback=Fallback(stale=Stale(60))).call,
    ],
    ids=["call", "total", "decorator", "loop", "loop with total", "guard", "guard with all"],
)
def test_an_interrupt_anywhere_leaves_no_call_behind(call):
    """After Ctrl-C the thread is in no call: there is no deadline, and a `Retry` retries."""
    at = 0
    while interrupted_at(at, call):
        assert Guard().remaining is None, at
        calls = []
        again = retry(2)
        with pytest.raises(OSError, match="again"):
            again.call(failing, calls)
        assert len(calls) == 2, at
        at += 1
    assert at > 1  # in `call` of a Retry, whose first attempt is made by the binding, there are two places


def failing(calls):
    calls.append(1)
    raise OSError("again")


def interrupted_at(at, call):
    """Call it, and raise where a signal handler may: where a function begins, and behind a call of one in C. False if there are fewer."""
    places = itertools.count()

    def profile(frame, event, argument):
        # What is raised in a `__del__` is reported and goes no further.
        is_place = event in {"call", "c_return"} and frame.f_code.co_name != "__del__"
        if is_place and frame.f_globals.get("__name__", "").startswith("sluicegate.") and next(places) == at:
            sys.setprofile(None)
            raise KeyboardInterrupt

    try:
        sys.setprofile(profile)
        call(lambda: 1)
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


# --- what a layer sees of a call --------------------------------------------------------------------------------------


def test_a_guard_asks_its_breaker_without_taking_a_permit():
    """One that only measures counts each call once, and an open one each refusal once; a probe's place is free for the call."""
    for options, counted in (({"metrics_only": True}, (5, 3, 2, 3, 0)), ({}, (2, 0, 2, 3, 0))):
        breaker = CircuitBreaker(calls=2, clock=ManualClock(), **options)
        guard = Guard(breaker=breaker)
        for _ in range(2):
            with pytest.raises(OSError, match="failure"):
                guard.call(Failing(1))
        for _ in range(3):
            try:
                guard.call(int)
            except CircuitOpen:
                assert not options
        seen = breaker.statistics()
        assert (seen.calls, seen.successes, seen.failures, seen.refused, seen.ignored) == counted


@on_loops
async def test_the_first_call_after_the_open_time_is_the_probe():
    """The guard asks the breaker twice, and the first question takes no probe."""
    clock = ManualClock()
    breaker = CircuitBreaker(calls=1, probes=1, clock=clock)
    guard = Guard(breaker=breaker, clock=clock)
    for call in (guard.call, None):
        with pytest.raises(OSError, match="failure"):
            guard.call(Failing(1))
        clock.advance(breaker.retry_after)
        if call is not None:
            assert call(int) == 0
        else:
            assert await guard.call_async(asyncio.sleep, 0, "done") == "done"
    seen = breaker.statistics()
    assert (seen.calls, seen.ignored, seen.refused) == (4, 0, 0)


@on_loops
async def test_a_call_that_total_has_ended_is_a_failure():
    """A service that hangs opens the breaker, and lowers an adaptive limit. A cancellation by the caller does not."""
    clock = ManualClock()
    breaker = CircuitBreaker(min_calls=3, clock=clock)
    limit = AdaptiveConcurrency(target=1, initial=10, clock=clock)
    guard = Guard(total=1, breaker=breaker, concurrency=limit, clock=clock)

    async def hang():
        await asyncio.Event().wait()

    async def ended(waits=1):
        task = asyncio.create_task(guard.call_async(hang))
        await eventually(lambda: clock.waiters == 1)
        clock.advance(waits)
        if waits < 1:
            task.cancel()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    assert isinstance(await ended(0.75), asyncio.CancelledError)
    assert breaker.statistics().ignored == 1
    for _ in range(3):
        assert isinstance(await ended(), TimeoutError)
    seen = breaker.statistics()
    assert (seen.state, seen.failures, seen.ignored) == ("open", 3, 1)
    assert limit.statistics().dropped == 3
    assert limit.in_flight == 0


@on_loops
async def test_a_call_that_had_little_of_the_total_says_nothing():
    """It has waited for its token: that is no failure of the service."""
    clock = ManualClock()
    breaker, rate = CircuitBreaker(calls=1, clock=clock), TokenBucket(1, burst=1, initial=0, clock=clock)
    guard = Guard(total=1.5, breaker=breaker, rate=rate, clock=clock)

    async def hang():
        await asyncio.Event().wait()

    task = asyncio.create_task(guard.call_async(hang))
    await eventually(lambda: clock.waiters == 2)
    clock.advance(1)
    await eventually(lambda: breaker.statistics().calls == 1)
    clock.advance(0.5)
    with pytest.raises(TimeoutError):
        await task
    assert (breaker.state, breaker.statistics().ignored) == ("closed", 1)


@on_loops
async def test_a_refusal_of_a_later_attempt_does_not_hide_what_the_service_said():
    """The breaker opens, the limiter has no token in time: the error is the service's."""
    for layers in ({"breaker": CircuitBreaker(calls=1)}, {"rate": TokenBucket(0.1, burst=1), "total": 1}):
        guard = Guard(retry=retry(), **layers)
        with pytest.raises(OSError, match="failure 1") as caught:
            guard.call(Failing(3))
        assert "no more attempts after 1, because the next one was refused" in caught.value.__notes__[0]
        assert told(guard) == (0, 0, 0, 1)
        with pytest.raises(Refused):  # nothing was made of this one
            await guard.call_async(Failing(3).run)


def test_the_members_of_a_group_pause_the_limiter():
    if sys.version_info < (3, 11):
        pytest.skip("no groups before 3.11")
    bucket = TokenBucket(10, burst=10, clock=ManualClock())
    with pytest.raises(ExceptionGroup):  # noqa: F821
        Guard(rate=bucket).call(Failing(1, lambda text: ExceptionGroup(text, [OSError(), Busy()])))  # noqa: F821
    assert bucket.retry_after() == 5


def test_generator_functions_and_what_is_no_function():
    """They are refused before any layer sees them."""

    def generator():
        yield 1

    breaker = CircuitBreaker()
    guard = Guard(breaker=breaker, fallback=Fallback(0, on=Exception))
    for function in (generator, functools.partial(generator)):
        with pytest.raises(TypeError, match="is a generator function"):
            guard.call(function)
    with pytest.raises(TypeError, match="must be a function, not None"):
        guard.call(None)
    assert breaker.statistics().failures == 0
    assert told(guard) == (0, 0, 0, 0)


def test_trio_is_named():
    trio = pytest.importorskip("trio")
    calls = []

    async def call():
        calls.append(1)

    for guard in (Guard(total=3), Guard(attempt_timeout=3)):
        with pytest.raises(RuntimeError, match="trio"):
            trio.run(guard.call_async, call)
    assert calls == []


@pytest.mark.parametrize("total", [None, 5])
def test_the_guard_of_a_key_is_gone_when_nobody_has_it(total):
    """One is made for each call, so it must not need the collector."""
    guard = Guard(total=total, breaker=KeyedBreaker(max_keys=10), fallback=Fallback(None), retry=Retry(on=OSError))
    gc.collect()
    gc.disable()
    try:
        of_key = guard.key("a")
        assert of_key.call(int) == 0
        gone = weakref.ref(of_key)
        del of_key
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("of", [lambda rate: {}, lambda rate: {"breaker": OwnBreaker()}], ids=["binding", "in steps"])
def test_a_call_that_waits_for_its_token_is_not_refused(is_async, of):
    bucket = TokenBucket(20, burst=1)
    guard = Guard(rate=bucket, **of(bucket))

    async def three():
        for _ in range(3):
            await guard.call_async(asyncio.sleep, 0)

    if is_async:
        asyncio.run(three())
    else:
        for _ in range(3):
            guard.call(int)
    seen = bucket.statistics()
    assert (seen.admitted, seen.refused) == (3, 0)
    assert seen.waited >= 1  # 2, unless a machine is so busy that a call takes 50 ms


class OwnBreaker(CircuitBreaker):
    pass


def test_calls_that_need_not_wait_let_other_tasks_run():
    async def main():
        guard, turns = Guard(rate=TokenBucket(1e9, burst=1e9)), 0

        async def other():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        async def at_once():
            return 1

        task = asyncio.ensure_future(other())
        await asyncio.sleep(0)
        for _ in range(1000):
            await guard.call_async(at_once)
        task.cancel()
        return turns

    assert asyncio.run(main()) >= 5


class Costly(TokenBucket):
    """Each call takes two."""

    def permit(self, n=1, *, timeout=None):
        return super().permit(2 * n, timeout=timeout)


@pytest.mark.parametrize("is_async", [False, True])
def test_the_permit_of_a_subclass_of_a_limiter_is_asked_for(is_async):
    bucket = Costly(1, burst=10, clock=ManualClock())
    guard = Guard(rate=bucket)
    if is_async:
        asyncio.run(guard.call_async(asyncio.sleep, 0))
    else:
        guard.call(int)
    assert bucket.tokens == 8
