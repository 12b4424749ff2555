"""`Retry` and `Backoff`: when there is another attempt, when it comes, and what is raised when there is none."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import copy
import functools
import gc
import inspect
import itertools
import math
import pickle
import random
import sys
import threading
import time
import weakref
from datetime import timedelta
from http.client import HTTPMessage
from types import SimpleNamespace

import pytest
from helpers import collect, on_loops, run_script, spawn

from sluicegate import AdaptiveRate, Backoff, BlockingInEventLoopWarning, CircuitOpen, RateLimited, Retry, RetryBudget, TokenBucket
from sluicegate.testing import ManualClock

AT_ONCE = Backoff(0, 0)
PLENTY = functools.partial(RetryBudget, reserve=1e6)


class Failing:
    """Fails the first `times` times."""

    def __init__(self, times=math.inf, error=OSError):
        self.times = times
        self.calls = 0
        self.error = error

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error(f"failure {self.calls}")
        return args, kwargs

    async def run(self, *args, **kwargs):
        await asyncio.sleep(0)
        return self(*args, **kwargs)

    async def run_now(self):
        return self()


class Refusing(Exception):
    def __init__(self, retry_after):
        super().__init__(retry_after)
        self.retry_after = retry_after


def notes(error):
    return getattr(error, "__notes__", [])


async def stepped(clock, call, step=0.25):
    """Awaits the call, and moves the clock on in small steps until it has ended: on one loop nobody is behind the clock."""
    task = asyncio.ensure_future(call)
    await clock.advance_async(0)
    while not task.done():
        await clock.advance_async(step)
    return await task


# ------------------------------------------------------------------------------------------------------------- forms


def test_each_form_retries():
    """A loop, a call, a decorator: the third attempt succeeds."""
    retry = Retry(3, on=OSError, backoff=AT_ONCE)
    loop, called, decorated = Failing(2), Failing(2), Failing(2)
    numbers = []
    for attempt in retry:
        with attempt:
            numbers.append((attempt.number, attempt.remaining))
            result = loop(1)
    assert numbers == [(1, None), (2, None), (3, None)]
    assert result == ((1,), {})
    assert retry.call(called, 1, on=2) == ((1,), {"on": 2})

    @retry
    def wrapped(n):
        """Its own."""
        return decorated(n)

    assert wrapped(5) == ((5,), {})
    assert (wrapped.__name__, wrapped.__doc__) == ("wrapped", "Its own.")
    seen = retry.statistics()
    assert (seen.first_successes, seen.later_successes, seen.retries, seen.exhausted) == (0, 3, 6, 0)
    retry.call(int)
    assert retry.statistics().first_successes == 1


@on_loops
async def test_each_form_retries_asyncio():
    """The same, awaited."""
    retry = Retry(3, on=OSError, backoff=AT_ONCE)
    one, two, called, decorated = Failing(2), Failing(2), Failing(2), Failing(2)
    async for attempt in retry:
        with attempt:
            await one.run()
    async for attempt in retry:
        async with attempt:
            await two.run()
    assert await retry.call_async(called.run, 1, on=2) == ((1,), {"on": 2})

    @retry
    async def wrapped(n):
        return await decorated.run(n)

    assert inspect.iscoroutinefunction(wrapped)
    assert await wrapped(5) == ((5,), {})
    assert [each.calls for each in (one, two, called, decorated)] == [3] * 4
    assert retry.statistics().later_successes == 4


def test_return_and_break_end_the_call():
    """Leaving the block without an error is a success."""
    retry = Retry(on=OSError, budget=PLENTY())

    def returns():
        for attempt in retry:
            with attempt:
                return 5
        return None

    assert returns() == 5
    for attempt in retry:
        with attempt:
            break
    assert retry.statistics().first_successes == 2


def test_mistakes_of_use():
    """A generator cannot be retried; nor can a coroutine by a thread, nor what is no function; an attempt is one block."""
    retry = Retry(on=OSError)

    def generator():
        yield

    async def agenerator():
        yield

    async def coroutine(): ...

    for function in (generator, agenerator, functools.partial(generator)):
        with pytest.raises(TypeError, match="generator function"):
            retry(function)
    for what in (None, 5, int):
        with pytest.raises(TypeError, match="can decorate only a function"):
            retry(what)
    with pytest.raises(TypeError, match="call_async"):
        retry.call(coroutine)
    with pytest.raises(RuntimeError, match="attempt 1 was not used"):
        for _ in retry:
            pass
    attempts = iter(retry)
    attempt = next(attempts)
    with attempt, pytest.raises(RuntimeError, match="has been entered already"):
        attempt.__enter__()
    with pytest.raises(RuntimeError, match="has not been entered, or has ended"):
        attempt.__exit__(None, None, None)
    with pytest.raises(TypeError, match="for attempt in retry"):
        type(attempt)()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"attempts": 0}, ValueError, "'attempts' must be at least 1, not 0"),
        ({"attempts": True}, TypeError, "'attempts' must be an int"),
        ({"attempts": None}, ValueError, "only with 'total'"),
        ({"on": ()}, ValueError, "'on' must name at least one"),
        ({"on": BaseException}, TypeError, "'on' must be subclasses of Exception.*BaseException"),
        ({"on": (OSError, 5)}, TypeError, "'on' must be subclasses of Exception.*5"),
        ({"on": "OSError"}, TypeError, "'on' must be an exception type.*'OSError'"),
        ({"backoff": 1.0}, TypeError, "'backoff' must be a Backoff or None, not 1.0"),
        ({"backoff": SimpleNamespace(delay=len)}, TypeError, "another object needs its `base` and `delay`"),
        ({"random": 0}, TypeError, "'random' must have a method random"),
        ({"total": -1}, ValueError, "'total'.*-1"),
        ({"total": math.nan}, ValueError, "'total'.*nan"),
        ({"retry_after_max": "60"}, TypeError, "'retry_after_max'.*'60'"),
        ({"budget": 0.1}, TypeError, "'budget' must be a RetryBudget or None, not 0.1"),
        ({"nested": 1}, TypeError, "'nested' must be a bool, not 1"),
        ({"random": 7}, TypeError, "'random' must have a method random.*7"),
        ({"clock": 7}, TypeError, "'clock' must be"),
        ({"name": 7}, TypeError, "'name'"),
    ],
)
def test_arguments(arguments, error, text):
    """Refused with the name and the value."""
    with pytest.raises(error, match=text):
        Retry(**{"on": OSError, **arguments})


def test_on_has_no_default():
    with pytest.raises(TypeError, match="'on'"):
        Retry()


@pytest.mark.parametrize(
    ("arguments", "error"), [((-1,), ValueError), ((math.inf,), ValueError), ((1, "2"), TypeError), ((True,), TypeError)]
)
def test_arguments_of_backoff(arguments, error):
    with pytest.raises(error, match=r"'(base|cap)'"):
        Backoff(*arguments)
    for jitter in ("some", None, 5):
        with pytest.raises(ValueError, match=f"'jitter' must be one of .*not {jitter!r}"):
            Backoff(jitter=jitter)
    with pytest.raises(ValueError, match="^'base', 60, must be at most 'cap', 20$"):
        Backoff(60)  # for a longer wait the cap has to be raised as well
    assert Backoff(20).base == 20


def test_as_objects():
    """Repr, equality, weak references, collection, no copies."""
    budget = RetryBudget()
    retry = Retry(on=OSError, budget=budget, name="stock")
    assert "Retry 'stock'" in repr(retry)
    assert (retry.name, retry.budget, retry.backoff) == ("stock", budget, Backoff())
    assert Retry(on=OSError).budget is not Retry(on=OSError).budget
    assert repr(Backoff(1, 2)) == "Backoff(1.0, 2.0, jitter='full')"
    assert Backoff(timedelta(seconds=1)) == Backoff(1.0) != Backoff(2.0)
    assert len({Backoff(), Backoff(), Backoff(jitter="equal")}) == 2
    for act in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot pickle or copy 'Retry'"):
            act(retry)

    class Cycle:
        def on(self, _error):
            return False

    cycle = Cycle()
    cycle.retry = Retry(on=cycle.on)
    for attempt in cycle.retry:
        with attempt:
            cycle.attempt = attempt
    reference = weakref.ref(cycle.retry)
    del cycle, attempt
    collect()
    assert reference() is None


# ------------------------------------------------------------------------------------------------------------- what is retried


def test_the_error_is_the_callers_own():
    """No wrapper: the last attempt's, with a note, and without the earlier ones as its context."""
    failing = Failing()
    with pytest.raises(OSError, match="failure 3") as caught:
        Retry(3, on=OSError, backoff=AT_ONCE, name="stock").call(failing)
    assert notes(caught.value) == ["sluicegate.Retry 'stock': no more attempts after 3, because 'attempts' is 3"]
    assert caught.value.__context__ is None


def test_on():
    """Types, a tuple, a predicate; what it does not name is raised at once, as it is."""
    for on in (OSError, (KeyError, OSError), lambda error: isinstance(error, OSError)):
        failing, other = Failing(1), Failing(error=ValueError)
        retry = Retry(on=on, backoff=AT_ONCE)
        retry.call(failing)
        with pytest.raises(ValueError, match="failure 1") as caught:
            retry.call(other)
        assert notes(caught.value) == []
        assert (failing.calls, other.calls, retry.statistics().not_retried) == (2, 1, 1)
    with pytest.raises(TypeError, match="'on' must return a bool, or a number of seconds .* not 'yes'"):
        Retry(on=lambda error: "yes").call(Failing())
    with pytest.raises(TypeError, match="'on' must return"):
        Retry(on=lambda error: math.nan).call(Failing())
    with pytest.raises(OSError, match="failure 1"):
        Retry(on=lambda error: None).call(Failing())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_what_is_no_exception_is_never_retried(error):
    """Nor shown to the predicate, nor counted."""
    retry = Retry(on=lambda error: True, backoff=AT_ONCE)
    failing = Failing(error=error)
    with pytest.raises(error):
        retry.call(failing)
    with pytest.raises(error):
        for attempt in retry:
            with attempt:
                failing()
    seen = retry.statistics()
    assert (failing.calls, seen.retries, seen.exhausted, seen.not_retried) == (2, 0, 0, 0)


# ------------------------------------------------------------------------------------------------------------- delays


def test_r4_jitter_survives_the_cap():
    """1000 delays at the 21st attempt with a cap of 10 are spread over all of it."""
    chance = random.Random(1)
    delays = [Backoff(0.1, 10).delay(20, 10.0, chance.random()) for _ in range(1000)]
    assert min(delays) < 0.1
    assert 9.9 < max(delays) <= 10
    assert abs(sum(delays) / 1000 - 5) <= 0.3


def test_the_kinds_of_jitter():
    """Bounds and growth, and no overflow."""
    ceilings = [Backoff(1, 20, jitter="none").delay(n, 0, 0.5) for n in range(7)]
    assert ceilings == [1, 2, 4, 8, 16, 20, 20]
    assert [Backoff(1, 20).delay(n, 0, 0.5) for n in range(3)] == [0.5, 1, 2]
    equal = Backoff(1, 20, jitter="equal")
    assert [equal.delay(2, 0, share) for share in (0.0, 0.5)] == [2, 3]
    decorrelated = Backoff(1, 20, jitter="decorrelated")
    assert [decorrelated.delay(0, 0, share) for share in (0.0, 0.5)] == [1, 2]
    assert [decorrelated.delay(3, previous, 0.5) for previous in (4, 19)] == [6.5, 10.5]
    for jitter in ("full", "equal", "decorrelated", "none"):
        assert 0 <= Backoff(0.1, 10, jitter=jitter).delay(10**6, 10, 0.999) <= 10


def test_waits_on_the_clock():
    """Thread and task wait exactly as long as the draw says."""
    clock = ManualClock()
    moments = []

    def fails():
        moments.append(clock.now())
        raise OSError

    retry = Retry(4, on=OSError, backoff=Backoff(1, 2, jitter="none"), clock=clock)
    worker = spawn(retry.call, fails)
    for wait in (1.0, 2.0, 2.0):
        clock.wait_for_waiters(1)
        assert retry.statistics().waiters == 1
        clock.advance(wait - 1e-6)
        assert clock.waiters == 1
        attempts = len(moments)
        clock.advance(1e-6)
        while len(moments) == attempts and not worker.done():
            time.sleep(0)
    assert isinstance(worker.exception(), OSError)
    assert moments == pytest.approx([0, 1, 3, 5])
    assert retry.statistics().waited_seconds == pytest.approx(5)


@on_loops
async def test_waits_on_the_clock_asyncio():
    """A thousand tasks, seeded: each comes back in time, and the loop is not held up."""
    clock = ManualClock()
    retry = Retry(2, on=OSError, backoff=Backoff(1, 1), clock=clock, random=random.Random(3), budget=PLENTY())
    tasks = [asyncio.create_task(retry.call_async(Failing(1).run)) for _ in range(200)]
    done = []
    while clock.waiters < 200:
        await asyncio.sleep(0)
    for _ in range(10):
        await clock.advance_async(0.1)
        done.append(sum(task.done() for task in tasks))
    assert done[-1] == 200
    assert all(10 <= later - earlier <= 35 for earlier, later in itertools.pairwise(done))
    await asyncio.gather(*tasks)


@on_loops
async def test_cancelled_while_it_waits():
    """No further attempt, and no waiter is left in the wait queue."""
    clock = ManualClock()
    failing = Failing()
    retry = Retry(on=OSError, backoff=Backoff(1, 1), clock=clock)

    async def loop():
        async for attempt in retry:
            async with attempt:
                await failing.run()

    for coroutine in (retry.call_async(failing.run), loop()):
        task = asyncio.create_task(coroutine)
        while not clock.waiters:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (clock.waiters, retry.statistics().waiters) == (0, 0)
    await clock.advance_async(10)
    assert failing.calls == 2


@pytest.mark.thread_unsafe(reason="starts an interpreter, four times for nothing")
def test_ctrl_c_while_it_waits():
    """It ends the call; so does it in each form."""
    run_script(
        """
        import os, signal, threading
        from sluicegate import Backoff, Retry
        from sluicegate.testing import ManualClock

        clock = ManualClock()
        retry = Retry(on=OSError, backoff=Backoff(1, 1), clock=clock)
        calls = 0

        def fails():
            global calls
            calls += 1
            raise OSError

        def loop():
            for attempt in retry:
                with attempt:
                    fails()

        def interrupt():
            clock.wait_for_waiters(1)
            os.kill(os.getpid(), signal.SIGINT)

        for form in (loop, lambda: retry.call(fails)):
            thread = threading.Thread(target=interrupt)
            thread.start()
            try:
                form()
            except KeyboardInterrupt as error:
                assert error.__context__ is None
            else:
                raise SystemExit("it returned")
            thread.join()
        assert (calls, clock.waiters, retry.statistics().waiters) == (2, 0, 0)
        """
    )


@pytest.mark.thread_unsafe(reason="warnings are caught for the whole process")
@on_loops
async def test_a_thread_of_a_loop_is_warned():
    """A wait that would block an event loop names the awaitable form."""
    retry = Retry(2, on=OSError, backoff=Backoff(0.001, 0.001))
    with pytest.warns(BlockingInEventLoopWarning, match="call_async"):
        retry.call(Failing(1))
    failing = Failing(1)

    def loop():
        for attempt in retry:
            with attempt:
                failing()

    with pytest.warns(BlockingInEventLoopWarning, match=r"^for attempt in retry: is about to .*; use `async for attempt in retry:`$"):
        loop()


# ------------------------------------------------------------------------------------------------------------- deadline, server, budget


@on_loops
async def test_the_deadline():
    """No wait lasts until then; the attempt knows what is left."""
    clock = ManualClock()
    retry = Retry(None, on=OSError, total=3, backoff=Backoff(1, 1, jitter="none"), clock=clock)
    left = []

    async def call():
        async for attempt in retry:
            with attempt:
                left.append(attempt.remaining)
                raise OSError

    with pytest.raises(OSError) as caught:
        await stepped(clock, call())
    assert left == [3, 2, 1]
    assert notes(caught.value) == ["sluicegate.Retry: no more attempts after 3, because the next one would be in 1 seconds, and 1 are left"]
    assert retry.statistics().too_late == 1
    assert clock.now() == 2.0


@on_loops
async def test_r5_retry_after():
    """Never sooner than the server says; what is too long is raised at once, as it came."""
    clock = ManualClock()
    retry = Retry(on=Refusing, clock=clock, random=random.Random(5))
    with pytest.raises(Refusing) as caught:
        retry.call(Failing(error=lambda _: Refusing(120.0)))
    assert (caught.value.retry_after, clock.now()) == (120.0, 0.0)
    assert "the server wants 120 seconds, and 'retry_after_max' is 60" in notes(caught.value)[0]
    for told in (math.inf, 60.1, "61"):
        with pytest.raises(Refusing):
            retry.call(Failing(error=lambda _, told=told: Refusing(told)))
    assert retry.statistics().too_late == 4
    waits = []
    for _ in range(12):
        begun = clock.now()
        await stepped(clock, retry.call_async(Failing(1, error=lambda _: Refusing(30)).run))
        waits.append(clock.now() - begun)
    assert 30 <= min(waits) < 31
    assert 32 < max(waits) <= 33.25


def test_an_error_with_attributes_that_cannot_be_read_is_raised_as_it_is():
    """They are somebody else's. What goes wrong with them must not take the place of the error of the call."""

    class Nasty(Exception):
        __notes__ = None

        @property
        def repeatable(self):
            raise RuntimeError

    failing = Failing(9, error=lambda _: Nasty())
    with pytest.raises(Nasty):
        Retry(on=Nasty, backoff=AT_ONCE).call(failing)
    assert failing.calls == 3


class Unreadable(Exception):
    """Each attribute that it has not raises."""

    def __getattr__(self, name):
        raise RuntimeError(name)


class Listing(Exception):
    """It has the attribute of a group, and is none."""

    exceptions = ("refused", "timed out")


@pytest.mark.parametrize("kind", [Unreadable, Listing])
def test_no_attribute_of_an_error_takes_its_place(kind):
    def raised_by(call):
        try:
            call(lambda: failing())
        except Exception as error:
            return type(error)  # pytest would read the attributes of the error itself

    def in_a_permit(function):
        with AdaptiveRate(100, burst=5).permit():
            function()

    retry, inner = Retry(on=kind, backoff=AT_ONCE), Retry(on=kind, backoff=AT_ONCE, nested=True)
    for call, calls in (retry.call, 3), (functools.partial(retry.call, inner.call), 9), (in_a_permit, 1):
        failing = Failing(99, error=lambda _: kind())
        assert raised_by(call) is kind
        assert failing.calls == calls


def test_a_random_that_is_false_is_used():
    class Source(random.Random):
        draws = 0

        def __len__(self):
            return 0

        def random(self):
            self.draws += 1
            return 0.0

    source = Source()
    Retry(on=OSError, random=source).call(Failing(1))
    assert source.draws == 1


def test_a_number_of_seconds_that_no_float_can_hold():
    """It is too long, as an infinite one is, and no error that takes the place of the call's."""
    retry = Retry(on=lambda error: 10**400, backoff=AT_ONCE)
    with pytest.raises(OSError) as raised:
        retry.call(Failing(1))
    assert retry.statistics().too_late == 1
    assert "'retry_after_max' is 60" in notes(raised.value)[-1]


OLD = "Sun, 06 Nov 1994 08:49:37 GMT"


def test_where_a_retry_after_is_found():
    """In our own refusals, in attributes of all kinds, in the headers of a response; what is unreadable is absent."""

    class Response:
        def __init__(self, **headers):
            self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def with_headers(headers):
        response = Response()
        response.headers = headers
        return response

    class WithResponse(Exception):
        def __init__(self, response):
            self.response = response

    class Nasty(Exception):
        @property
        def retry_after(self):
            raise RuntimeError

    bucket = TokenBucket(1, burst=1, clock=ManualClock())
    bucket.try_acquire()
    with pytest.raises(RateLimited) as refused:
        bucket.acquire(timeout=0)
    cases = [
        (refused.value, 1.0),
        (CircuitOpen("text", None, 7.5, "open"), 7.5),
        (Refusing(timedelta(seconds=9)), 9.0),
        (Refusing("9"), 9.0),
        (WithResponse(Response(retry_after="11")), 11.0),
        (WithResponse(Response(Retry_After="11")), 11.0),
        (WithResponse(Response(RETRY_AFTER="11")), 11.0),
        (WithResponse(Response(X_RateLimit_Retry_After="11")), 11.0),
        (WithResponse(with_headers([(b"Retry-After", b"11")])), 11.0),
        (WithResponse(with_headers([(b"Retry-After", b"11"), ("retry-after", "7")])), 11.0),
        (WithResponse(with_headers([("Retry-After", "7"), (b"retry-after", b"Sun, 06 Nov 1994 08:51:17 GMT"), ("date", OLD)])), 100.0),
        (WithResponse(with_headers(HTTPMessage())), None),
        # The server's clock is decades behind: what counts is how far its two dates are apart.
        (WithResponse(Response(Date=OLD, Retry_After="Sun, 06 Nov 1994 08:51:17 GMT")), 100.0),
        (WithResponse(with_headers({"DATE": OLD.encode(), "retry-after": b"Sun, 06 Nov 1994 08:51:17 GMT"})), 100.0),
        (WithResponse(Response(Date="yesterday", Retry_After="Sun, 06 Nov 1994 08:51:17 GMT")), 0.0),
        (WithResponse(Response(retry_after_ms="1500", retry_after="2")), 1.5),
        (WithResponse(Response(retry_after="soon")), None),
        # A proxy has added its own: as a list, or as a header of its own.
        (WithResponse(Response(retry_after="11, 30")), 30.0),
        (WithResponse(Response(retry_after_ms="1500, 500")), 1.5),
        (WithResponse(with_headers([("Retry-After", "30"), ("retry-after", "soon"), (b"Retry-After", b"11")])), 30.0),
        (WithResponse(with_headers([("Date", OLD), ("Retry-After", "11"), ("Retry-After", "Sun, 06 Nov 1994 08:51:17 GMT")])), 100.0),
        (WithResponse(None), None),
        (Refusing(10**400), sys.float_info.max),
        (Refusing(-(10**400)), None),
        (Refusing(-1), None),
        (Refusing(math.nan), None),
        (Refusing(True), None),
        (Nasty(), None),
        (OSError(), None),
    ]
    for error, expected in cases:
        asked = Retry(on=Exception, retry_after_max=0.5, backoff=AT_ONCE, attempts=2)

        def fails(error=error):
            raise error

        with pytest.raises(type(error)):
            asked.call(fails)
        wanted = f"the server wants {expected:.6g} seconds" if expected else "because 'attempts' is 2"
        assert wanted in notes(error)[-1]


@on_loops
async def test_seconds_of_a_predicate():
    """They have to pass first, whatever the backoff says."""
    clock = ManualClock()
    retry = Retry(on=lambda error: 5, backoff=AT_ONCE, clock=clock)
    await stepped(clock, retry.call_async(Failing(1).run))
    assert 5 <= clock.now() <= 5.75
    with pytest.raises(OSError, match="failure 1"):
        Retry(on=lambda error: 61).call(Failing())


def test_a_budget_is_shared():
    """A retry costs a token, a success at the first attempt adds a tenth; the error says that there was none."""
    budget = RetryBudget(reserve=2, per_second=0)
    one, two = (Retry(on=OSError, budget=budget, backoff=AT_ONCE) for _ in range(2))
    with pytest.raises(OSError, match="failure 3"):
        one.call(Failing())
    failing = Failing()
    with pytest.raises(OSError, match="failure 1") as caught:
        two.call(failing)
    assert "the budget for retries is empty ('budget' can be a larger one)" in notes(caught.value)[0]
    assert two.statistics().over_budget == 1
    for _ in range(10):
        one.call(int)
    assert budget.tokens == pytest.approx(1)
    two.call(Failing(1))
    assert budget.tokens == 0  # a later success adds nothing


# ------------------------------------------------------------------------------------------------------------- nesting


def layers(nested, depth=3):
    failing = Failing()
    call = failing
    for _ in range(depth):
        retry = Retry(3, on=OSError, backoff=AT_ONCE, budget=PLENTY(), nested=nested)
        call = functools.partial(retry.call, call)
    with pytest.raises(OSError, match="failure"):
        call()
    return failing.calls


def test_r6_nested_retries_do_not_multiply():
    """Three in three in three are three, unless it is said otherwise."""
    assert layers(nested=False) == 3
    assert layers(nested=True) == 27


@on_loops
async def test_nesting_follows_the_context():
    """Into tasks and other threads, as far as the attempt lasts; the deadline too."""
    clock = ManualClock()
    outer = Retry(2, on=OSError, backoff=AT_ONCE, total=8, clock=clock, budget=PLENTY())
    inner = Retry(3, on=OSError, backoff=AT_ONCE, budget=PLENTY())
    own = Retry(3, on=OSError, backoff=AT_ONCE, nested=True, total=100, budget=PLENTY())
    failing, in_thread, later = Failing(), Failing(), Failing()
    left = []
    go = asyncio.Event()

    async def background():
        await go.wait()
        await inner.call_async(later.run)

    tasks = []

    async def attempt():
        tasks.append(asyncio.create_task(background()))
        async for each in own:
            async with each:
                left.append(each.remaining)
        clock.advance(1)
        with pytest.raises(OSError, match="failure"):
            await asyncio.to_thread(inner.call, in_thread)
        await asyncio.gather(inner.call_async(failing.run))

    with pytest.raises(OSError, match="failure 2") as caught:
        await outer.call_async(attempt)
    assert (failing.calls, in_thread.calls) == (2, 2)
    assert left == [8.0, 7.0]
    assert "inside an attempt of another Retry" in notes(caught.value)[0]
    assert inner.statistics().nested == 4
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert later.calls == 6  # two tasks that outlived their attempts: three each


def test_a_call_after_another_in_one_attempt_is_nested_too():
    outer, inner = (Retry(2, on=OSError, backoff=AT_ONCE) for _ in range(2))
    failing = Failing()

    def attempt():
        inner.call(int)
        inner.call(failing)

    with pytest.raises(OSError, match="failure 2"):
        outer.call(attempt)
    assert failing.calls == 2
    assert inner.statistics().first_successes == 2


def test_a_context_copied_in_a_first_attempt():
    """It is inside the call as long as the attempt lasts, in another thread too. Afterwards, and in the next call, it is not."""
    outer, inner = (Retry(2, on=OSError, backoff=AT_ONCE, budget=PLENTY()) for _ in range(2))
    copies = []

    def calls_in(context):
        failing = Failing()
        with pytest.raises(OSError, match="failure"):
            spawn(lambda: context.run(inner.call, failing)).result()
        return failing.calls

    def attempt():
        copies.append(contextvars.copy_context())
        return calls_in(copies[-1])

    assert outer.call(attempt) == 1
    assert calls_in(copies[0]) == 2
    assert outer.call(lambda: (calls_in(copies[0]), attempt())) == (2, 1)
    assert [calls_in(each) for each in (*copies, contextvars.copy_context())] == [2, 2, 2]


def test_a_call_leaves_no_error_behind():
    """What was repeated inside an attempt is not kept when the call is over, whether it has succeeded or not."""
    outer, inner = Retry(2, on=KeyError), Retry(2, on=OSError, backoff=AT_ONCE, budget=PLENTY())
    seen = []

    class Failed(OSError):
        pass

    def fail():
        error = Failed()
        seen.append(weakref.ref(error))
        raise error

    def attempt(swallow):
        try:
            inner.call(fail)
        except Failed:
            if not swallow:
                raise

    def run():
        outer.call(attempt, True)
        with pytest.raises(Failed):
            outer.call(attempt, False)

    contextvars.copy_context().run(run)
    run()
    gc.collect()
    assert [each() for each in seen] == [None] * 8


def test_a_generator_may_be_closed_elsewhere():
    """The block of an attempt is left in another context than it was entered in."""
    retry = Retry(on=OSError)

    def generator():
        for attempt in retry:
            with attempt:
                yield attempt.number

    items = generator()
    assert contextvars.copy_context().run(next, items) == 1
    items.close()
    assert retry.statistics().first_successes == 0


# ------------------------------------------------------------------------------------------------------------- threads


def test_threads_lose_no_count():
    """Eight threads with calls of each outcome."""
    retry = Retry(2, on=OSError, backoff=AT_ONCE, budget=PLENTY())
    start = threading.Barrier(8)

    def work():
        start.wait()
        for _ in range(300):
            retry.call(int)
            retry.call(Failing(1))
            with pytest.raises(OSError, match="failure 2"):
                retry.call(Failing())

    for worker in [spawn(work) for _ in range(8)]:
        worker.result()
    seen = retry.statistics()
    assert (seen.first_successes, seen.later_successes, seen.exhausted, seen.retries) == (2400, 2400, 2400, 4800)
    assert retry.budget.statistics().deposits == 2400


def test_an_error_that_says_that_its_call_must_not_be_repeated():
    """Whatever 'on' says; true, or anything else, is no such thing."""

    class Failed(Exception):
        def __init__(self, repeatable):
            self.repeatable = repeatable

    calls = []

    def fail(repeatable):
        calls.append(repeatable)
        raise Failed(repeatable)

    retry = Retry(2, on=Exception, backoff=Backoff(0.001, 0.001))
    for repeatable, times in ((False, 1), (True, 2), (None, 2)):
        calls.clear()
        with pytest.raises(Failed) as caught:
            retry.call(fail, repeatable)
        assert len(calls) == times
        if sys.version_info >= (3, 11):
            assert ("must not be repeated" in "".join(caught.value.__notes__)) is (times == 1)
    assert retry.statistics().not_retried == 1


# ------------------------------------------------------------------------------------------------------ who retries


def test_an_error_that_the_outer_one_would_not_retry_is_retried_by_the_inner_one():
    """Somebody retries: also inside an outer one that makes one attempt, or that names other errors."""
    for outer in (Retry(3, on=ValueError, backoff=AT_ONCE), Retry(1, on=OSError), Retry(3, on=lambda error: False, backoff=AT_ONCE)):
        for nested in (False, True):
            failing = Failing()
            inner = Retry(3, on=OSError, backoff=AT_ONCE, nested=nested, budget=PLENTY())
            with pytest.raises(OSError, match="failure 3") as caught:
                outer.call(inner.call, failing)
            assert failing.calls == 3
            assert "no more attempts after 3, because 'attempts' is 3" in notes(caught.value)[0]
            assert inner.statistics().nested == 0


@on_loops
async def test_what_the_inner_one_has_retried_the_outer_one_does_not():
    """Nor an error that was raised from it, whatever the outer one names; the next call is retried again."""
    failing = Failing()
    inner = Retry(3, on=OSError, backoff=AT_ONCE, budget=PLENTY())

    def translated():
        try:
            inner.call(failing)
        except OSError as error:
            raise ValueError("translated") from error

    async def translated_async():
        try:
            await inner.call_async(failing.run)
        except OSError:
            raise ValueError("translated") from None

    outer = Retry(3, on=ValueError, backoff=AT_ONCE, budget=PLENTY())
    with pytest.raises(ValueError, match="translated") as caught:
        outer.call(translated)
    assert failing.calls == 3
    assert "another Retry has repeated it" in notes(caught.value)[0]
    with pytest.raises(ValueError, match="translated"):
        await outer.call_async(translated_async)
    assert failing.calls == 6
    with pytest.raises(ValueError, match="translated"):
        for attempt in outer:
            with attempt:
                translated()
    assert failing.calls == 9
    assert outer.statistics().nested == 3

    other = Failing(error=ValueError)

    def handled():
        with pytest.raises(OSError, match="failure"):
            inner.call(failing)
        other()

    with pytest.raises(ValueError, match="failure 3"):
        outer.call(handled)
    assert other.calls == 3  # which has nothing to do with the one that was handled


def test_an_inner_retry_earns_its_own_retries():
    """A budget of its own gets a deposit for each success, a shared one a single deposit for both layers."""
    shared = RetryBudget(reserve=1000)
    for budget, deposits in ((RetryBudget(reserve=1000), 1), (shared, 0)):
        outer, inner = Retry(on=ValueError, budget=shared), Retry(on=OSError, budget=budget)
        before = shared.statistics().deposits
        outer.call(inner.call, int)
        assert shared.statistics().deposits == before + 1
        if budget is not shared:
            assert budget.statistics().deposits == deposits


# ---------------------------------------------------------------------------------------------------- generators


def test_a_generator_that_yields_inside_an_attempt_does_not_draw_its_consumer_into_it():
    """Neither the consumer's retries nor its deadline are those of the generator, whose own calls are inside."""
    own = Retry(3, on=OSError, total=60, backoff=AT_ONCE, budget=PLENTY())
    inner = Retry(3, on=OSError, backoff=AT_ONCE, budget=PLENTY())
    seen = []

    def rows():
        for attempt in own:
            with attempt:
                seen.append(remaining(inner))
                yield attempt.number
                seen.append(remaining(inner))

    for _ in rows():
        seen.append(remaining(inner))
        failing = Failing()
        with pytest.raises(OSError, match="failure 3"):
            inner.call(failing)
    assert [left is None for left in seen] == [False, True, False]
    assert remaining(inner) is None


def remaining(retry):
    for attempt in retry:
        with attempt:
            return attempt.remaining
    return None


def test_a_consumer_that_begins_an_attempt_stays_in_it():
    outer, inner = (Retry(3, on=OSError, backoff=AT_ONCE, budget=PLENTY()) for _ in range(2))
    failing = Failing()

    def rows():
        for attempt in Retry(on=OSError):
            with attempt:
                yield

    def consume():
        generator = rows()
        next(generator)
        for attempt in outer:
            with attempt:
                list(generator)  # ends its attempt inside ours
                inner.call(failing)

    with pytest.raises(OSError, match="failure 3"):
        consume()
    assert failing.calls == 3


@on_loops
async def test_an_async_generator_that_yields_inside_an_attempt():
    own = Retry(3, on=OSError, total=60, backoff=AT_ONCE, budget=PLENTY())
    inner = Retry(3, on=OSError, backoff=AT_ONCE, budget=PLENTY())
    left = []

    async def rows():
        async for attempt in own:
            async with attempt:
                await asyncio.sleep(0)
                left.append(remaining(inner))
                yield 1

    async for _ in rows():
        await asyncio.sleep(0)
        failing = Failing()
        with pytest.raises(OSError, match="failure 3"):
            await inner.call_async(failing.run)
        assert failing.calls == 3
        left.append(remaining(inner))
    assert [each is None for each in left] == [False, True]


# ------------------------------------------------------------------------------------------------------- refusals


@on_loops
async def test_a_refused_attempt_does_not_hide_the_callers_own_error():
    """It is raised as it is, with its own context, and a note of how many attempts were made and what refused the next."""
    cause = KeyError("cause")

    class Own(OSError):
        pass

    def refused_later(number=[0]):  # noqa: B006 - counts
        number[0] += 1
        if number[0] % 2 == 0:
            raise RateLimited("too many")
        error = Own("own")
        error.__context__ = cause
        raise error

    async def refused_later_async():
        refused_later()

    def loop(retry):
        for attempt in retry:
            with attempt:
                refused_later()

    async def loop_async(retry):
        async for attempt in retry:
            async with attempt:
                refused_later()

    for on, why in ((OSError, ""), ((OSError, RateLimited), ", and 'attempts' is 2")):
        calls = [
            lambda retry: retry.call(refused_later),
            lambda retry: retry.call_async(refused_later_async),
            loop,
            loop_async,
        ]
        for call in calls:
            retry = Retry(2, on=on, backoff=AT_ONCE, budget=PLENTY())
            with pytest.raises(Own) as caught:
                result = call(retry)
                if result is not None:
                    await result
            assert caught.value.__context__ is cause
            assert notes(caught.value) == [
                f"sluicegate.Retry: no more attempts after 1, because the next one was refused (RateLimited: too many){why}"
            ]


def test_a_refusal_of_the_first_attempt_is_raised():
    with pytest.raises(RateLimited) as caught:
        Retry(on=OSError).call(Failing(error=RateLimited))
    assert notes(caught.value) == []


# ------------------------------------------------------------------------------------- groups, cancellations, mistakes


def group(*members):
    if sys.version_info < (3, 11):
        pytest.skip("no groups before 3.11")
    return ExceptionGroup("group", members)  # noqa: F821


@pytest.mark.parametrize("on", [OSError, (OSError, KeyError), lambda error: isinstance(error, OSError)])
def test_a_group_is_retried_if_all_of_its_members_are(on):
    for members, attempts in (
        ([OSError()], 3),
        ([OSError(), group(OSError())], 3),
        ([OSError(), ValueError()], 1),
        ([concurrent.futures.CancelledError(), OSError()], 3),
        ([concurrent.futures.CancelledError()], 1),
    ):
        calls = []

        def failing(calls=calls, members=members):
            calls.append(1)
            raise group(*members)

        with pytest.raises(Exception, match="group"):
            Retry(3, on=on, backoff=AT_ONCE).call(failing)
        assert len(calls) == attempts


def test_the_members_of_a_group_say_when_to_come_back():
    with pytest.raises(Exception, match="group") as caught:
        Retry(3, on=Refusing).call(lambda: raises(group(Refusing(5), Refusing(120))))
    assert "wants 120 seconds" in notes(caught.value)[0]


def raises(error):
    raise error


def test_the_cancellation_of_a_future_is_no_error_to_retry():
    failing = Failing(error=concurrent.futures.CancelledError)
    with pytest.raises(concurrent.futures.CancelledError):
        Retry(3, on=Exception, backoff=AT_ONCE).call(failing)
    assert failing.calls == 1


@pytest.mark.parametrize("delay", [math.nan, 1e300, -1, "1", None])
def test_a_backoff_that_returns_no_delay_is_told_of_the_error(delay):
    class Odd:
        base = 0.0

        def delay(self, retry, previous, share):
            return delay

    with pytest.raises((ValueError, TypeError, OverflowError), match=r"backoff\.delay\(\)") as caught:
        Retry(3, on=OSError, backoff=Odd()).call(Failing())
    assert str(caught.value.__cause__) == "failure 1"


def test_generator_functions_and_what_is_no_function_are_refused():
    def generator():
        yield 1

    async def generator_async():
        yield 1

    retry = Retry(3, on=Exception, backoff=AT_ONCE)
    for function in (generator, generator_async, functools.partial(generator)):
        with pytest.raises(TypeError, match="is a generator function"):
            retry.call(function)
    with pytest.raises(TypeError, match="must be a function, not None"):
        retry.call(None)
    assert retry.statistics().retries == 0
    assert list(retry.call(lambda: (n for n in range(2)))) == [0, 1]  # a plain function may return one


def test_on_is_no_coroutine_function():
    async def on(error):
        return True

    with pytest.raises(TypeError, match="'on' must be an ordinary function, not the coroutine function"):
        Retry(on=on)


def test_trio_is_named_and_hides_no_error():
    trio = pytest.importorskip("trio")
    with pytest.raises(RuntimeError, match="trio") as caught:
        trio.run(Retry(on=OSError).call_async, Failing().run_now)
    assert str(caught.value.__cause__) == "failure 1"
