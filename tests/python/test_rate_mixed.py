"""One limiter, threads and tasks of several loops in one line; and everything else that can be done with it at the same time."""

from __future__ import annotations

import asyncio
import inspect
import random
import threading
import time
import unittest.mock
from functools import partial

import pytest
from helpers import LOOP_KINDS, PATIENCE, LoopThread, collect, on_loops, run_on, settle, spawn, wait_until
from rates import BUCKETS, KINDS, NANOSECOND, figures, in_line, one_key, one_per_second, quiet_loop, turn, used_up

from sluicegate import KeyedTokenBucket, LeakyBucket, RateLimited, RateLimits, SlidingWindow, TokenBucket
from sluicegate.testing import ManualClock

kinds_of_loop = pytest.mark.parametrize("loop_kind", LOOP_KINDS)
kinds = pytest.mark.parametrize("kind", KINDS)
buckets = pytest.mark.parametrize("make", list(BUCKETS.values()), ids=list(BUCKETS))


def submit(clock, loop, coroutine):
    """A task on a running loop of another thread, once it is in the wait queue."""
    before = clock.waiters
    future = loop.submit(coroutine)
    clock.wait_for_waiters(before + 1)
    return future


# ------------------------------------------------------------------------------------------------------------- one line


@kinds_of_loop
@kinds
def test_threads_and_tasks_of_two_loops_in_one_line(kind, loop_kind):
    """They go in the order they came, whatever they are."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        waiters = []
        for number in range(9):
            if number % 3 == 0:
                waiters += in_line(clock, limiter.acquire)
            else:
                waiters.append(submit(clock, (one, two)[number % 3 - 1], limiter.acquire_async()))
        for number, waiter in enumerate(waiters):
            clock.advance(1 - NANOSECOND)
            assert figures(limiter).waiters == 9 - number
            clock.advance(NANOSECOND)
            assert waiter.result(PATIENCE) is True
            assert not any(other.done() for other in waiters[number + 1 :])
    assert figures(limiter).waited_seconds == sum(range(10))


@kinds_of_loop
@kinds
def test_a_leap_serves_threads_and_tasks(kind, loop_kind):
    """All who were due on the way, on all loops and threads."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        waiters = []
        for _ in range(3):
            waiters += in_line(clock, limiter.acquire)
            waiters += [submit(clock, loop, limiter.acquire_async()) for loop in (one, two)]
        clock.advance(9)
        for waiter in waiters:
            assert waiter.result(PATIENCE) is True
    assert figures(limiter).waited_seconds == sum(range(10))


@kinds_of_loop
def test_weights_across_the_border(loop_kind):
    """A task for 50 between threads that ask for 1 in a loop, and a thread for 50 between such tasks."""
    clock = ManualClock()
    bucket = TokenBucket(10, burst=50, clock=clock)
    bucket.debit(50)
    stop = threading.Event()

    def small():
        while not stop.is_set():
            bucket.acquire(1)

    async def small_async():
        while not stop.is_set():
            await bucket.acquire_async(1)

    with LoopThread(loop_kind) as loop:
        threads = in_line(clock, small, small)
        tasks = [submit(clock, loop, small_async()) for _ in range(2)]
        large_task = submit(clock, loop, bucket.acquire_async(50))
        (large_thread,) = in_line(clock, (bucket.acquire, 50))
        for _ in range(4):
            admitted = figures(bucket).admitted
            clock.advance(0.1)
            wait_until(lambda: figures(bucket).admitted > admitted)  # noqa: B023
        wait_until(lambda: figures(bucket).waiters == 6)
        clock.advance(5)
        assert large_task.result(PATIENCE) is True
        assert not large_thread.done()
        clock.advance(5)
        assert large_thread.result() is True
        stop.set()
        clock.advance(1)
        for waiter in [*threads, *tasks]:
            waiter.result(PATIENCE)
    assert figures(bucket).waiters == 0


@kinds_of_loop
@kinds
def test_two_loops_share_a_limiter_on_the_system_clock(kind, loop_kind):
    """Without an error, and within the law."""
    started = time.monotonic()
    limiter = {
        "TokenBucket": lambda: TokenBucket(500, burst=1),
        "LeakyBucket": lambda: LeakyBucket(500, capacity=100),
        "SlidingWindow": lambda: SlidingWindow(1, 0.002),
        "TokenBucketKey": lambda: one_key(KeyedTokenBucket(500, burst=1, max_keys=1)),
        "RateLimits": lambda: RateLimits(a=TokenBucket(500, burst=1), b=SlidingWindow(1, 0.002)),
    }[kind]()

    async def go(count):
        for _ in range(count):
            await limiter.acquire_async()

    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        futures = [loop.submit(go(10)) for loop in (one, two) for _ in range(3)]
        workers = [spawn(lambda: [limiter.acquire() for _ in range(10)]) for _ in range(2)]
        for future in futures:
            future.result(PATIENCE)
        for worker in workers:
            worker.result()
    assert figures(limiter).admitted == 80
    assert time.monotonic() - started >= 79 * 0.002 - 1e-6


@kinds_of_loop
def test_a_limiter_outlives_loops(loop_kind):
    """Five loops one after the other, a thread all the while."""
    bucket = TokenBucket(1000, burst=1)
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            bucket.acquire()

    worker = spawn(ask)
    for _ in range(5):
        run_on(loop_kind, bucket.acquire_async())
    stop.set()
    worker.result()


@kinds_of_loop
@buckets
def test_set_rate_reaches_threads_and_loops(make, loop_kind):
    """One change of rate, and waits of every sort are shortened."""
    clock = ManualClock()
    bucket = make(1e-3, 1, clock)
    bucket.acquire()
    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        waiters = [submit(clock, one, bucket.acquire_async()), *in_line(clock, bucket.acquire)]
        waiters += [submit(clock, two, bucket.acquire_async())]
        bucket.set_rate(1)
        clock.advance(3)
        for waiter in waiters:
            assert waiter.result(PATIENCE) is True


@kinds_of_loop
def test_set_rate_and_refund_reach_everybody_on_the_system_clock(loop_kind):
    """The waiter that keeps time for the wait queue, thread or task, is woken."""
    for change in (lambda bucket: bucket.set_rate(1000), lambda bucket: bucket.refund(3)):
        for order in (1, -1):
            bucket = TokenBucket(1e-3, burst=3)
            bucket.debit(3)
            with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
                calls = [partial(spawn, bucket.acquire)]
                calls += [lambda loop=loop, bucket=bucket: loop.submit(bucket.acquire_async()) for loop in (one, two)]
                waiters = []
                for call in calls[::order]:
                    waiters.append(call())
                    wait_until(lambda: figures(bucket).waiters == len(waiters))  # noqa: B023
                change(bucket)
                for waiter in waiters:
                    assert waiter.result(PATIENCE) is True


# --------------------------------------------------------------------------- whichever waiter is first, the next goes on time


class Behind:
    """A waiter behind the first one, which is served."""

    def __init__(self, what, clock, limiter, loop_kind):
        self.loop = None
        before = clock.waiters
        if what == "thread":
            self.waiter = spawn(limiter.acquire)
        else:
            self.loop = LoopThread(loop_kind)
            self.waiter = self.loop.submit(limiter.acquire_async())
        clock.wait_for_waiters(before + 1)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        if self.loop is not None:
            self.loop.__exit__(*exc_info)

    def served(self):
        return self.waiter.result(PATIENCE) is True

    def waits(self):
        return not self.waiter.done()


behinds = pytest.mark.parametrize("behind", ["thread", "task"])


@kinds_of_loop
@behinds
@kinds
def test_behind_a_thread(kind, behind, loop_kind):
    """The head is a thread: it goes at 1 s, the next at 2 s."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    (head,) = in_line(clock, limiter.acquire)
    with Behind(behind, clock, limiter, loop_kind) as following:
        clock.advance(2 - NANOSECOND)
        assert head.result() is True
        assert following.waits()
        clock.advance(NANOSECOND)
        assert following.served()


@kinds_of_loop
@behinds
@kinds
def test_behind_a_task_of_a_closed_loop(kind, behind, loop_kind):
    """The head never comes to take: what it would have taken goes to the next at once."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    loop = quiet_loop(loop_kind)
    task = loop.create_task(limiter.acquire_async())
    turn(loop)
    with Behind(behind, clock, limiter, loop_kind) as following:
        loop.close()
        assert following.waits()
        clock.advance(1)
        assert following.served()
    assert figures(limiter).admitted == 2
    clock.advance(1)
    assert limiter.try_acquire()
    del task, loop
    collect()
    assert figures(limiter).waiters == 0


@kinds_of_loop
@behinds
@kinds
def test_behind_a_task_of_a_loop_closed_after_the_grant(kind, behind, loop_kind):
    """Granted, but its loop is closed before it hears of it."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    loop = quiet_loop(loop_kind)
    task = loop.create_task(limiter.acquire_async())
    turn(loop)
    with Behind(behind, clock, limiter, loop_kind) as following:
        clock.advance(1)
        loop.close()
        del task, loop
        collect()
        clock.advance(1)
        assert following.served()
    collect()
    wait_until(lambda: figures(limiter).waiters == 0)


@kinds_of_loop
@behinds
@kinds
def test_behind_several_tasks_of_closed_loops(kind, behind, loop_kind):
    """A row of dead ones, and nobody of them costs the next anything."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    dead = []
    for _ in range(4):
        loop = quiet_loop(loop_kind)
        dead.append((loop, loop.create_task(limiter.acquire_async())))
        turn(loop)
        loop.close()
    with Behind(behind, clock, limiter, loop_kind) as following:
        clock.advance(1)
        assert following.served()
    del dead


@kinds_of_loop
@behinds
@kinds
def test_behind_a_task_of_a_stopped_loop(kind, behind, loop_kind):
    """The head has its own when the loop runs again; the next goes by the schedule."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    loop = quiet_loop(loop_kind)
    task = loop.create_task(limiter.acquire_async())
    turn(loop)
    with Behind(behind, clock, limiter, loop_kind) as following:
        clock.advance(2)
        assert following.served()
    assert loop.run_until_complete(task) is True
    loop.close()
    assert not limiter.try_acquire()


@kinds_of_loop
@behinds
@kinds
def test_behind_a_task_of_a_stuck_loop(kind, behind, loop_kind):
    """The head's loop is inside a long callback, and stays there until the next has been served."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    standing, go_on = threading.Event(), threading.Event()

    def stand_still():
        standing.set()
        go_on.wait(PATIENCE)

    with LoopThread(loop_kind) as stuck:
        head = submit(clock, stuck, limiter.acquire_async())
        stuck.loop.call_soon_threadsafe(stand_still)
        assert standing.wait(PATIENCE)
        with Behind(behind, clock, limiter, loop_kind) as following:
            clock.advance(2 - NANOSECOND)
            assert following.waits()
            clock.advance(NANOSECOND)
            assert following.served()
        assert not head.done()
        go_on.set()
        assert head.result(PATIENCE) is True
    assert figures(limiter).waited_seconds == 3.0


@kinds_of_loop
@behinds
def test_behind_a_task_of_a_stuck_loop_on_the_system_clock(behind, loop_kind):
    """The same in real time: the callback returns only when the next has been served."""
    bucket = TokenBucket(20, burst=1)
    bucket.acquire()
    standing, go_on = threading.Event(), threading.Event()

    def stand_still():
        standing.set()
        while not go_on.is_set():
            time.sleep(0.01)

    with LoopThread(loop_kind) as stuck, LoopThread("asyncio") as other:
        head = stuck.submit(bucket.acquire_async())
        wait_until(lambda: figures(bucket).waiters == 1 or head.done())
        bucket.debit(2)
        stuck.loop.call_soon_threadsafe(stand_still)
        assert standing.wait(PATIENCE)
        following = spawn(bucket.acquire) if behind == "thread" else other.submit(bucket.acquire_async())
        try:
            assert following.result(PATIENCE) is True
        finally:
            go_on.set()
        assert head.result(PATIENCE) is True


@kinds_of_loop
@behinds
def test_behind_a_stuck_loop_that_came_in_between(behind, loop_kind):
    """Waiters: a thread, a task of a loop that gets stuck, another one. Real time; the thread is first, leaves, and the time is kept."""
    bucket = TokenBucket(20, burst=1)
    bucket.debit(2)
    standing, go_on = threading.Event(), threading.Event()

    def stand_still():
        standing.set()
        go_on.wait(PATIENCE)

    with LoopThread(loop_kind) as stuck, LoopThread("asyncio") as other:
        first = spawn(bucket.acquire)
        wait_until(lambda: figures(bucket).waiters == 1 or first.done())
        head = stuck.submit(bucket.acquire_async())
        wait_until(lambda: figures(bucket).waiters == 2 or first.done())
        stuck.loop.call_soon_threadsafe(stand_still)
        assert standing.wait(PATIENCE)
        following = spawn(bucket.acquire) if behind == "thread" else other.submit(bucket.acquire_async())
        assert first.result() is True
        assert following.result(PATIENCE) is True
        go_on.set()
        assert head.result(PATIENCE) is True


@kinds_of_loop
@behinds
@kinds
def test_behind_a_cancelled_task(kind, behind, loop_kind):
    """The next has its place."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    with LoopThread(loop_kind) as loop:
        head = submit(clock, loop, limiter.acquire_async())
        with Behind(behind, clock, limiter, loop_kind) as following:
            head.cancel()
            wait_until(lambda: figures(limiter).waiters == 1)
            clock.advance(1 - NANOSECOND)
            assert following.waits()
            clock.advance(NANOSECOND)
            assert following.served()


@kinds_of_loop
@behinds
@kinds
def test_behind_a_task_cancelled_on_a_stuck_loop_after_its_grant(kind, behind, loop_kind):
    """Granted at 1 s while its loop was stuck, cancelled before it ran: what it gives back goes to the next in the same second."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    standing, go_on = threading.Event(), threading.Event()
    tasks = []

    async def start():
        tasks.append(asyncio.ensure_future(limiter.acquire_async()))

    def stand_still():
        standing.set()
        go_on.wait(PATIENCE)
        tasks[0].cancel()

    with LoopThread(loop_kind) as stuck:
        stuck.run(start())
        clock.wait_for_waiters(1)
        stuck.loop.call_soon_threadsafe(stand_still)
        assert standing.wait(PATIENCE)
        with Behind(behind, clock, limiter, loop_kind) as following:
            clock.advance(1)
            go_on.set()
            wait_until(lambda: tasks[0].done())
            if tasks[0].cancelled():
                assert following.served()
            else:
                clock.advance(1)
                assert following.served()


@kinds_of_loop
def test_the_last_waiter_leaves_nothing_behind(loop_kind):
    """A head cancelled with nobody behind: the next caller has what it would have taken, and no timer is left."""
    clock = ManualClock()
    bucket = TokenBucket(1, burst=1, clock=clock)
    bucket.acquire()
    with LoopThread(loop_kind) as loop:
        head = submit(clock, loop, bucket.acquire_async())
        head.cancel()
        wait_until(lambda: clock.waiters == 0)
    clock.advance(1)
    assert bucket.try_acquire()
    assert figures(bucket).admitted == 2


# ------------------------------------------------------------------------------------------------- with, and decorators


@kinds
def test_with(kind):
    """`with limiter:` takes one on entry, and an exception in the body gives nothing back."""
    clock = ManualClock()
    limiter = one_per_second(kind, clock)
    with limiter:
        assert limiter.retry_after() == 1.0
    with pytest.raises(KeyError), limiter_that_waits(clock, limiter):
        raise KeyError
    assert limiter.retry_after() == 1.0
    assert figures(limiter).admitted == 2


class limiter_that_waits:  # noqa: N801
    """`with limiter:`, while a thread moves the clock once somebody waits."""

    def __init__(self, clock, limiter):
        self.clock, self.limiter = clock, limiter

    def __enter__(self):
        def release():
            self.clock.wait_for_waiters(1)
            self.clock.advance(1)

        self.releasing = spawn(release)
        self.limiter.__enter__()

    def __exit__(self, *exc_info):
        self.releasing.result()
        return self.limiter.__exit__(*exc_info)


@kinds
@on_loops
async def test_async_with(kind):
    """`async with limiter:` too."""
    clock = ManualClock()
    limiter = one_per_second(kind, clock)
    async with limiter:
        assert limiter.retry_after() == 1.0

    async def fail():
        async with limiter:
            raise KeyError

    task = asyncio.create_task(fail())
    await settle()
    assert not task.done()
    await clock.advance_async(1)
    with pytest.raises(KeyError):
        await task
    assert limiter.retry_after() == 1.0
    assert figures(limiter).admitted == 2


@kinds
def test_decorated_function(kind):
    """One is taken at each call, before the body; what goes in and comes out is the function's own."""
    clock = ManualClock()
    limiter = one_per_second(kind, clock)
    seen = []

    @limiter
    def work(a, b=2, *args, c: int = 3, **more) -> str:
        """What it does."""
        seen.append(limiter.retry_after())
        return f"{a} {b} {args} {c} {more}"

    assert work.__name__ == "work"
    assert work.__doc__ == "What it does."
    assert work.__module__ == __name__
    assert work.__qualname__.endswith("work")
    assert "c: 'int' = 3" in str(inspect.signature(work)) or "c: int = 3" in str(inspect.signature(work))
    assert inspect.unwrap(work) is work.__wrapped__ is not work
    assert not inspect.iscoroutinefunction(work)
    assert seen == []
    assert work(1, c=4, d=5) == "1 2 () 4 {'d': 5}"
    assert seen == [1.0]
    waiting = spawn(work, 7)
    clock.wait_for_waiters(1)
    assert seen == [1.0]
    clock.advance(1)
    assert waiting.result() == "7 2 () 3 {}"


@kinds
@on_loops
async def test_decorated_coroutine_function(kind):
    """It is one still; one is taken when it is awaited."""
    clock = ManualClock()
    limiter = one_per_second(kind, clock)

    @limiter
    async def work(value):
        """What it does."""
        return value

    assert inspect.iscoroutinefunction(work)
    assert (work.__name__, work.__doc__) == ("work", "What it does.")
    coroutine = work("a")
    assert limiter.retry_after() == 0.0
    assert await coroutine == "a"
    assert limiter.retry_after() == 1.0
    task = asyncio.create_task(work("b"))
    await settle()
    assert not task.done()
    await clock.advance_async(1)
    assert await task == "b"


@kinds
def test_decorated_generator_function(kind):
    """One is taken when the iteration begins, not when the generator is made, and not at each item."""
    clock = ManualClock()
    limiter = one_per_second(kind, clock)
    ended = []

    @limiter
    def numbers(count):
        """What it yields."""
        try:
            for number in range(count):
                got = yield number
                if got is not None:
                    ended.append(got)
        except KeyError:
            ended.append("thrown")
        finally:
            ended.append("closed")
        return "returned"

    assert inspect.isgeneratorfunction(numbers)
    assert (numbers.__name__, numbers.__doc__) == ("numbers", "What it yields.")
    generator = numbers(3)
    assert limiter.retry_after() == 0.0
    assert next(generator) == 0
    assert limiter.retry_after() == 1.0
    assert generator.send("sent") == 1
    assert list(generator) == [2]
    assert ended == ["sent", "closed"]
    assert limiter.retry_after() == 1.0
    clock.advance(1)
    generator = numbers(3)
    next(generator)
    with pytest.raises(StopIteration, match="returned"):
        generator.throw(KeyError)
    assert ended[2:] == ["thrown", "closed"]
    clock.advance(1)
    generator = numbers(3)
    next(generator)
    generator.close()
    assert ended[4:] == ["closed"]
    assert figures(limiter).admitted == 3
    never = numbers(3)
    never.close()
    assert figures(limiter).admitted == 3
    waiting = spawn(list, numbers(2))
    clock.wait_for_waiters(1)
    clock.advance(1)
    assert waiting.result() == [0, 1]


@kinds
@on_loops
async def test_decorated_async_generator_function(kind):
    """The same with `async for`."""
    clock = ManualClock()
    limiter = one_per_second(kind, clock)
    ended = []

    @limiter
    async def numbers(count):
        """What it yields."""
        try:
            for number in range(count):
                got = yield number
                if got is not None:
                    ended.append(got)
        except KeyError:
            ended.append("thrown")
        finally:
            ended.append("closed")

    assert inspect.isasyncgenfunction(numbers)
    assert (numbers.__name__, numbers.__doc__) == ("numbers", "What it yields.")
    generator = numbers(3)
    assert limiter.retry_after() == 0.0
    assert await generator.__anext__() == 0
    assert limiter.retry_after() == 1.0
    assert await generator.asend("sent") == 1
    assert [number async for number in generator] == [2]
    assert ended == ["sent", "closed"]
    clock.advance(1)
    generator = numbers(3)
    await generator.__anext__()
    await generator.aclose()
    assert ended[2:] == ["closed"]
    clock.advance(1)
    generator = numbers(3)
    await generator.__anext__()
    with pytest.raises(StopAsyncIteration):
        await generator.athrow(KeyError())
    assert ended[3:] == ["thrown", "closed"]

    async def all_of_it():
        return [number async for number in numbers(2)]

    task = asyncio.create_task(all_of_it())
    await settle()
    assert not task.done()
    await clock.advance_async(1)
    assert await task == [0, 1]


@buckets
def test_decorators_with_arguments(make):
    """`@bucket(n=2, timeout=1)`, on all four sorts of function."""
    clock = ManualClock()
    bucket = make(1, 2, clock)

    @bucket(n=2, timeout=1)
    def plain():
        return "plain"

    @bucket(n=2, timeout=1)
    def generator():
        yield "generator"

    @bucket(n=2, timeout=1)
    async def coroutine():
        return "coroutine"

    @bucket(n=2, timeout=1)
    async def async_generator():
        yield "async generator"

    async def first():
        generator = async_generator()
        try:
            return await generator.__anext__()
        finally:
            await generator.aclose()

    assert inspect.isgeneratorfunction(generator)
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isasyncgenfunction(async_generator)
    for call, expected in (
        (plain, "plain"),
        (lambda: next(generator()), "generator"),
        (lambda: asyncio.run(coroutine()), "coroutine"),
        (lambda: asyncio.run(first()), "async generator"),
    ):
        assert call() == expected
        assert bucket.tokens == 0.0
        with pytest.raises(RateLimited) as refused:
            call()
        assert refused.value.retry_after == 2.0
        clock.advance(2)
    assert bucket.tokens == 2.0


def test_decorator_with_one_argument_or_none():
    """`@bucket()`, `@bucket(n=2)`, `@bucket(timeout=0)`."""
    bucket = TokenBucket(1, burst=10, clock=ManualClock())

    @bucket()
    def one():
        return 1

    @bucket(n=2.5)
    def more():
        return 2

    @bucket(timeout=0)
    def at_once():
        return 3

    assert (one(), more(), at_once()) == (1, 2, 3)
    assert bucket.tokens == 5.5


@kinds
def test_decorated_methods(kind):
    """Methods, static methods, class methods."""
    clock = ManualClock()
    limiter = one_per_second(kind, clock)

    class Client:
        @limiter
        def fetch(self, what):
            return self, what

        @staticmethod
        @limiter
        def static(what):
            return what

        @classmethod
        @limiter
        def of_class(cls, what):
            return cls, what

        @limiter
        async def fetch_async(self, what):
            return self, what

    client = Client()
    for call in (
        lambda: client.fetch(1) == (client, 1),
        lambda: Client.static(2) == 2,
        lambda: client.of_class(3) == (Client, 3),
        lambda: asyncio.run(client.fetch_async(4)) == (client, 4),
    ):
        assert call()
        assert not limiter.try_acquire()
        clock.advance(1)
    assert figures(limiter).admitted == 4


def test_decorated_by_two():
    """Several limiters around one function, each takes its own."""
    clock = ManualClock()
    per_second, per_minute = TokenBucket(1, burst=1, clock=clock), SlidingWindow(3, 60, clock=clock)

    @per_second(timeout=0)
    @per_minute(timeout=0)
    def work():
        return True

    for _ in range(3):
        assert work()
        clock.advance(1)
    with pytest.raises(RateLimited) as refused:
        work()
    assert refused.value.retry_after == 57.0


def test_a_decorated_function_that_raises_has_taken_its_token():
    """Nothing is given back."""
    bucket = TokenBucket(1, burst=2, clock=ManualClock())

    @bucket
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert bucket.tokens == 1.0


def test_callables_that_are_no_functions():
    """A partial, a builtin, an object that is called."""
    bucket = TokenBucket(1, burst=3, clock=ManualClock())

    class Callable:
        def __call__(self, value):
            return value * 2

    assert bucket(partial(int, base=2))("101") == 5
    assert bucket(len)("four") == 4
    assert bucket(Callable())(4) == 8
    assert bucket.tokens == 0.0


# ----------------------------------------------------------------------------------------------------- everything at once


@kinds_of_loop
@kinds
def test_everything_at_once(kind, loop_kind):
    """Threads, two loops, `with`, `async with`, decorators, reservations, refusals, cancels, on one limiter: the law holds, and
    in the end it is as good as new."""
    started = time.monotonic()
    limiter = {
        "TokenBucket": lambda: TokenBucket(2000, burst=5),
        "LeakyBucket": lambda: LeakyBucket(2000, capacity=1000),
        "SlidingWindow": lambda: SlidingWindow(20, 0.01),
        "TokenBucketKey": lambda: one_key(KeyedTokenBucket(2000, burst=5, max_keys=4)),
        "RateLimits": lambda: RateLimits(a=TokenBucket(2000, burst=5), b=LeakyBucket(2000, capacity=1000)),
    }[kind]()
    burst = {"SlidingWindow": 20}.get(kind, 5)
    turns = 12
    went = []  # append is atomic
    calls = []

    @limiter
    def decorated():
        went.append(1)

    @limiter(n=1, timeout=PATIENCE)
    async def decorated_async():
        went.append(1)

    @limiter
    def decorated_generator():
        went.append(1)
        yield 1

    def in_thread(seed):
        dice = random.Random(seed)
        for _ in range(turns):
            way = dice.randrange(6)
            if way == 0:
                decorated()
            elif way == 1:
                with limiter:
                    went.append(1)
            elif way == 2:
                list(decorated_generator())
            elif way == 3:
                if limiter.try_acquire():
                    went.append(1)
            elif way == 4:
                with limiter.permit() as permit:
                    went.append(1)
                    permit.settle(**({"a": 1} if kind == "RateLimits" else {"actual": 1}))
            else:
                asked = time.monotonic()
                try:
                    limiter.acquire(timeout=0.001)
                    went.append(1)
                except RateLimited as refused:
                    # It counts from when the error was made, which on a busy machine may be after that moment.
                    assert time.monotonic() + refused.retry_after > asked + 0.001
                limiter.retry_after()
                assert isinstance(limiter.tokens, dict if kind == "RateLimits" else float)
            calls.append(1)

    async def in_task(seed):
        dice = random.Random(seed)
        for _ in range(turns):
            way = dice.randrange(5)
            if way == 0:
                await decorated_async()
            elif way == 1:
                async with limiter:
                    went.append(1)
            elif way == 2:
                async with limiter.permit():
                    went.append(1)
            elif way == 3:
                task = asyncio.ensure_future(limiter.acquire_async())
                asyncio.get_running_loop().call_later(dice.random() * 0.003, task.cancel)
                try:
                    await task
                    went.append(1)
                except asyncio.CancelledError:
                    pass
            else:
                try:
                    await asyncio.wait_for(limiter.acquire_async(), 0.002)
                    went.append(1)
                except (asyncio.TimeoutError, RateLimited):
                    pass
            calls.append(1)

    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        workers = [spawn(in_thread, seed) for seed in range(4)]
        futures = [loop.submit(in_task(seed)) for seed, loop in enumerate([one, two] * 6)]
        for worker in workers:
            worker.result(PATIENCE * 2)
        for future in futures:
            future.result(PATIENCE * 2)
    elapsed = time.monotonic() - started
    assert len(calls) == turns * 16
    assert len(went) <= burst + 2000 * elapsed
    assert figures(limiter).waiters == 0
    assert figures(limiter).admitted >= len(went) * 0.5
    time.sleep(limiter.retry_after())
    assert limiter.acquire(timeout=PATIENCE) is True


class Service:
    """An object that is called."""

    def __init__(self):
        self.calls = 0

    async def __call__(self, by=1):
        self.calls += by
        return self.calls


class Marked:
    """As a coroutine function of Cython: no code object, but asyncio's marker."""

    _is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]

    def __init__(self, function):
        self._function = function

    def __call__(self, *args):
        return self._function(*args)


@pytest.mark.parametrize(
    "make",
    [
        Service,
        lambda: partial(Service(), by=1),
        lambda: partial(partial(Service().__call__), 1),
        lambda: Marked(Service()),
        lambda: partial(Marked(Service())),
    ],
)
@on_loops
async def test_what_is_awaited_when_it_is_called(make):
    """The tokens are awaited too: the loop is not blocked."""
    clock = ManualClock()
    bucket = TokenBucket(1, burst=1, clock=clock)
    limited = bucket(make())
    assert await limited() == 1
    waiting = asyncio.create_task(limited())
    await asyncio.sleep(0)
    assert not waiting.done()
    await clock.advance_async(1.0)
    assert await waiting == 2


def test_a_mock_is_called():
    """It has every attribute, and is no coroutine function for that."""
    function = unittest.mock.MagicMock(return_value=5)
    assert TokenBucket(1, burst=1)(function)() == 5
