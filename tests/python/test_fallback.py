"""`Fallback` and `Stale`: which answer is given instead of which error, and that calls of a key share one that is on its way."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import copy
import functools
import itertools
import os
import pickle
import sys
import threading
import time
import weakref
from datetime import timedelta

import pytest
from helpers import FORKING, collect, eventually, is_gone, on_loops, run_script, spawn, wait_until

from sluicegate import CircuitOpen, Fallback, Guard, KeyedBreaker, RateLimited, Refused, Stale, TokenBucket, _fallback, _stale
from sluicegate.testing import ManualClock

LIMIT = TokenBucket(0.001, burst=1)
LIMIT.acquire()


def refused(*_args):
    LIMIT.acquire(timeout=0)


async def refused_async(*_args):
    await asyncio.sleep(0)
    refused()


def failing(*_args):
    raise OSError("down")


def told(fallback):
    seen = fallback.statistics()
    return seen.successes, seen.values, seen.stale, seen.raised


# --- the value -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, False, 7, [], "later"])
def test_a_value_for_a_refusal(value):
    fallback = Fallback(value)
    assert fallback.call(refused) is value
    assert fallback.call(lambda x, *, y: (x, y), 1, y=2) == (1, 2)
    assert told(fallback) == (1, 1, 0, 0)


def test_a_function_of_the_error():
    fallback = Fallback(lambda error: f"in {type(error).__name__}", on=(OSError, Refused))
    assert fallback.call(failing) == "in OSError"
    assert fallback.call(refused) == "in RateLimited"


def test_other_errors_are_raised_as_they_are():
    fallback = Fallback("later")
    with pytest.raises(OSError, match="down") as caught:
        fallback.call(failing)
    assert caught.value.__context__ is None
    assert told(fallback) == (0, 0, 0, 1)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interruption_is_never_replaced(interruption):
    def call():
        raise interruption

    fallback = Fallback("later", on=Exception, stale=Stale(60))
    with pytest.raises(interruption):
        fallback.call(call)
    assert told(fallback) == (0, 0, 0, 0)


def test_on_may_be_a_function():
    fallback = Fallback("later", on=lambda error: "down" in str(error))
    assert fallback.call(failing) == "later"
    with pytest.raises(ZeroDivisionError):
        fallback.call(lambda: 1 // 0)


def test_what_the_function_raises_is_raised():
    def value(error):
        raise ValueError("nor this") from error

    with pytest.raises(ValueError, match="nor this"):
        Fallback(value).call(refused)


@on_loops
async def test_from_a_coroutine():
    async def value(error):
        await asyncio.sleep(0)
        return type(error)

    assert await Fallback(value).call_async(refused_async) is RateLimited
    assert await Fallback(lambda error: asyncio.ensure_future(value(error))).call_async(refused_async) is RateLimited
    assert await Fallback(7).call_async(refused_async) == 7
    assert await Fallback(7).call_async(asyncio.sleep, 0, "own") == "own"


def test_a_coroutine_function_needs_call_async():
    async def value(_error):
        raise AssertionError

    with pytest.raises(TypeError, match="call_async"):
        Fallback(7).call(refused_async)
    with pytest.raises(TypeError, match="call_async"):
        Fallback(value).call(refused)


@on_loops
async def test_a_mistake_of_the_program_is_not_replaced():
    fallback = Fallback(7, on=Exception)
    for hidden in (refused_async, functools.partial(refused_async), lambda: refused_async()):
        with pytest.raises(TypeError, match="is a coroutine function: use `await fallback.call_async"):
            fallback.call(hidden)
    with pytest.raises(TypeError, match=r"has returned 'int', which cannot be awaited: use `fallback.call\("):
        await fallback.call_async(int)
    assert told(fallback) == (0, 0, 0, 0)


@on_loops
async def test_a_cancellation_is_never_replaced():
    fallback = Fallback("later", on=Exception, stale=Stale(60))
    task = asyncio.create_task(fallback.call_async(asyncio.sleep, 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told(fallback) == (0, 0, 0, 0)


@on_loops
async def test_the_decorator():
    @Fallback(7)
    def function(x):
        """Doc."""
        return refused() if x else x

    @Fallback(8)
    async def coroutine(x):
        return await refused_async() if x else x

    assert (function(0), function(1), function.__doc__) == (0, 7, "Doc.")
    assert (await coroutine(0), await coroutine(1)) == (0, 8)
    with pytest.raises(TypeError, match="generator function"):

        @Fallback(9)
        def generator():
            yield


# --- the last good result ------------------------------------------------------------------------------------------


class Service:
    """Answers with the argument and the number of the call, while it is up."""

    def __init__(self):
        self.is_up = True
        self.calls = 0

    def ask(self, *args):
        self.calls += 1
        if not self.is_up:
            raise OSError("down")
        return (*args, self.calls)

    async def ask_async(self, *args):
        await asyncio.sleep(0)
        return self.ask(*args)


def test_the_last_good_result_until_it_is_too_old():
    clock, service = ManualClock(), Service()
    fallback = Fallback(on=OSError, stale=Stale(60), clock=clock)
    assert fallback.call(service.ask, "a") == ("a", 1)
    assert fallback.call(service.ask, "b") == ("b", 2)
    clock.advance(1)
    assert fallback.call(service.ask, "a") == ("a", 3)
    service.is_up = False
    clock.advance(58.999)
    assert fallback.call(service.ask, "b") == ("b", 2)
    clock.advance(0.001)
    with pytest.raises(OSError, match="down"):
        fallback.call(service.ask, "b")
    assert fallback.call(service.ask, "a") == ("a", 3)
    with pytest.raises(OSError, match="down"):
        fallback.call(service.ask, "never seen")
    assert told(fallback) == (3, 0, 2, 2)
    assert fallback.statistics().remembered == 1


def test_a_value_behind_the_last_good_result():
    service = Service()
    fallback = Fallback("nothing", on=OSError, stale=Stale(60))
    assert fallback.call(service.ask, "a") == ("a", 1)
    service.is_up = False
    assert fallback.call(service.ask, "a") == ("a", 1)
    assert fallback.call(service.ask, "b") == "nothing"
    assert told(fallback) == (1, 1, 1, 0)


def test_the_oldest_results_are_forgotten():
    service = Service()
    fallback = Fallback("forgotten", on=OSError, stale=Stale(60, 3))
    for key in (*range(10), 7):  # 7 is new again
        fallback.call(service.ask, key)
    fallback.call(service.ask, 10)
    service.is_up = False
    assert [fallback.call(service.ask, key) != "forgotten" for key in range(11)] == [False] * 7 + [True, False, True, True]
    assert fallback.statistics().remembered == 3


def test_a_key_of_the_arguments():
    service = Service()
    fallback = Fallback(on=OSError, stale=Stale(60, key=lambda url, headers: url))
    fallback.call(lambda url, headers: service.ask(url), "a", {"unhashable": 1})
    service.is_up = False
    assert fallback.call(lambda url, headers: service.ask(url), "a", {}) == ("a", 1)
    with pytest.raises(TypeError, match="hashable.*give Stale a `key`"):
        Fallback(on=OSError, stale=Stale(60)).call(service.ask, [])


def test_two_functions_do_not_share_results():
    one, two = Service(), Service()
    fallback = Fallback("none", on=OSError, stale=Stale(60))
    fallback.call(one.ask, "a")
    one.is_up = two.is_up = False
    assert fallback.call(two.ask, "a") == "none"


def test_threads_share_a_call_that_is_on_its_way():
    gate, calls = threading.Event(), []

    def slow(key):
        calls.append(key)
        gate.wait(30)
        return object()

    fallback = Fallback(stale=Stale(60))
    workers = [spawn(fallback.call, slow, "a") for _ in range(5)]
    wait_until(lambda: calls and sum(f().outcome.statistics().waiting_readers for f in fallback._memory.flights.values()) == 4)
    gate.set()
    assert len({id(worker.result()) for worker in workers}) == 1
    assert calls == ["a"]
    assert fallback._memory.flights == {}
    assert told(fallback) == (5, 0, 0, 0)


@on_loops
async def test_tasks_share_a_call_that_is_on_its_way_and_its_error():
    gate, calls = asyncio.Event(), []

    async def slow():
        calls.append(1)
        await gate.wait()
        raise OSError("down")

    fallback = Fallback(lambda error: error, on=OSError, stale=Stale(60))
    tasks = [asyncio.create_task(fallback.call_async(slow)) for _ in range(5)]
    await eventually(lambda: len(calls) == 1)
    gate.set()
    errors = await asyncio.gather(*tasks)
    assert calls == [1]
    assert [str(error) for error in errors] == ["down"] * 5
    assert len(set(map(id, errors))) == 5  # each has a traceback of its own


@on_loops
async def test_when_the_one_on_its_way_is_cancelled_another_makes_the_call():
    gate, calls = asyncio.Event(), []

    async def slow():
        calls.append(1)
        await gate.wait()
        return len(calls)

    fallback = Fallback(stale=Stale(60))
    tasks = [asyncio.create_task(fallback.call_async(slow)) for _ in range(4)]
    await eventually(lambda: calls == [1])
    tasks[0].cancel()
    await eventually(lambda: calls == [1, 1])
    gate.set()
    assert await asyncio.gather(*tasks[1:]) == [2, 2, 2]
    assert tasks[0].cancelled()


@on_loops
async def test_a_call_inside_a_call_does_not_wait_for_itself():
    @Fallback(stale=Stale(60, key=lambda n: "same"))
    def countdown(n):
        return 0 if n == 0 else countdown(n - 1)

    fallback = Fallback(stale=Stale(60, key=lambda n: "same"))

    @fallback
    async def countdown_async(n):
        return 0 if n == 0 else await asyncio.create_task(countdown_async(n - 1))

    assert await asyncio.to_thread(countdown, 5) == 0
    assert await countdown_async(5) == 0
    assert fallback._memory.flights == {}


@on_loops
async def test_tasks_whose_calls_wait_for_each_other_in_a_circle():
    fallback = Fallback(stale=Stale(60, key=lambda keys, _: keys[0]))
    calls = []

    async def call(keys, tasks):
        calls.append(keys)
        await asyncio.sleep(0)  # so that all are on their way before one calls another
        if len(keys) > 1:  # as a gather does: it waits for tasks
            await asyncio.gather(*(asyncio.create_task(fallback.call_async(call, keys[1:], tasks)) for _ in range(tasks)))
        return keys

    circle = ["abc", "bca", "cab"]
    for tasks in (1, 2):
        assert await asyncio.gather(*(fallback.call_async(call, keys, tasks) for keys in circle)) == circle
        # Beside the three only what would have closed the circle was called.
        assert 4 <= len(calls) <= 3 + 3 * tasks
        calls.clear()


def test_threads_whose_calls_wait_for_each_other_in_a_circle():
    first, second = (Fallback(stale=Stale(60, key=lambda key, _: key)) for _ in range(2))
    for _ in range(200):
        barrier = threading.Barrier(2)

        def call(key, then, barrier=barrier):
            if then is not None:
                barrier.wait(10)
                then()
            return key

        a = spawn(lambda: first.call(call, "a", lambda: second.call(call, "b", None)))
        b = spawn(lambda: second.call(call, "b", lambda: first.call(call, "a", None)))
        assert (a.result(), b.result()) == ("a", "b")
    assert first._memory.flights == second._memory.flights == {}


def test_a_wait_that_is_no_circle_stays_one():
    """Of two calls one waits for the other, inside a third: it is not made twice."""
    fallback = Fallback(stale=Stale(60, key=lambda key, _: key))
    may_end, calls = threading.Event(), []

    def call(key, then):
        calls.append(key)
        then()
        return key

    slow = spawn(lambda: fallback.call(call, "slow", may_end.wait))
    wait_until(lambda: calls == ["slow"])
    outer = spawn(lambda: fallback.call(call, "outer", lambda: fallback.call(call, "slow", None)))
    wait_until(lambda: calls == ["slow", "outer"])
    may_end.set()
    assert (slow.result(), outer.result(), calls) == ("slow", "outer", ["slow", "outer"])


@on_loops
async def test_a_blocking_call_on_a_loop_does_not_wait_for_a_task_of_it():
    gate = asyncio.Event()

    async def slow(key):
        await gate.wait()

    fallback = Fallback(stale=Stale(60, key=lambda key: key))
    task = asyncio.create_task(fallback.call_async(slow, "a"))
    await asyncio.sleep(0)
    assert fallback.call(str, "a") == "a"
    gate.set()
    assert await task is None


@on_loops
async def test_a_task_that_outlives_a_call_shares_its_own_calls():
    """It was started inside a call of the key, and is not inside any more."""
    calls = []
    outlived = asyncio.Event()
    tasks = []

    @Fallback(stale=Stale(60))
    async def look():
        calls.append(1)
        if not tasks:
            tasks.append(asyncio.ensure_future(later()))
        await asyncio.sleep(0)

    async def later():
        await outlived.wait()
        await asyncio.gather(*(look() for _ in range(5)))

    await look()
    outlived.set()
    await tasks[0]
    assert len(calls) == 2


def test_an_interrupt_anywhere_leaves_no_call_on_its_way():
    """A key whose call was interrupted, on whatever line, can be called again."""
    for step in itertools.count(1):
        fallback = Fallback(stale=Stale(60))
        lines = itertools.count(1)

        def trace(frame, event, _arg, step=step, lines=lines):
            if frame.f_code.co_filename not in (_fallback.__file__, _stale.__file__) or frame.f_code.co_name == "__del__":
                return None
            if event == "line" and next(lines) == step:
                raise KeyboardInterrupt
            return trace

        def is_interrupted(fallback=fallback, trace=trace):
            sys.settrace(trace)
            try:
                fallback.call(len, "a")
            except KeyboardInterrupt:
                return True
            finally:
                sys.settrace(None)
            return False

        # In a thread of its own, which a trace function may leave with an exception that is being handled for ever.
        interrupted = spawn(is_interrupted).result()
        assert spawn(fallback.call, len, "a").result(10) == 1, step
        if not interrupted:
            break
    assert step > 20


def test_who_waits_for_another_call_does_so_by_the_clock():
    clock = ManualClock()
    guard = Guard(fallback=Fallback(stale=Stale(60), clock=clock), total=5, clock=clock)
    begun, go_on, errors = threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        assert go_on.wait(10)

    def waits():
        try:
            guard.call(slow)
        except TimeoutError as error:
            errors.append(error)

    first = spawn(guard.call, slow)
    assert begun.wait(10)
    second = spawn(waits)
    wait_until(lambda: clock.waiters == 1)
    clock.advance(5)
    second.join(10)
    assert len(errors) == 1
    go_on.set()
    first.join(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_the_child_of_a_fork_does_not_wait_for_a_call_of_the_parent():
    script = """
fallback, begun, go_on = Fallback(stale=Stale(60)), threading.Event(), threading.Event()

def slow():
    begun.set()
    assert go_on.wait(10)
    return os.getpid()

thread = threading.Thread(target=fallback.call, args=(slow,))
thread.start()
assert begun.wait(10)

def child():
    go_on.set()
    assert fallback.call(slow) == os.getpid()

check(in_child(child))
go_on.set()
thread.join()
"""
    run_script(FORKING + "import threading\nfrom sluicegate import Fallback, Stale\n" + script)


class Halting(dict):
    """A table whose `setdefault` halts where the thread `name` has found an entry."""

    def __init__(self, name):
        self.name = name
        self.halted, self.go_on = threading.Event(), threading.Event()

    def setdefault(self, key, default):
        found = super().setdefault(key, default)
        if threading.current_thread().name == self.name:
            self.halted.set()
            assert self.go_on.wait(10)
        return found


def test_who_found_a_call_that_has_ended_begins_none_beside_another():
    """The first call ends while the second looks at it, and a third begins."""
    fallback = Fallback(stale=Stale(60))
    fallback._memory.flights = table = Halting("second")
    events = {name: (threading.Event(), threading.Event()) for name in ("first", "second", "third")}
    made = []

    def call(key):
        me = threading.current_thread().name
        made.append(me)
        begun, end = events[me]
        begun.set()
        assert end.wait(10)
        return me

    threads = {name: threading.Thread(target=fallback.call, args=(call, 1), name=name) for name in events}
    threads["first"].start()
    assert events["first"][0].wait(10)
    threads["second"].start()
    assert table.halted.wait(10)
    events["first"][1].set()
    threads["first"].join(10)
    threads["third"].start()
    assert events["third"][0].wait(10)
    table.go_on.set()
    wait_until(lambda: sum(entry().outcome.statistics().waiting_readers for entry in dict(table).values()) == 1)
    assert made == ["first", "third"]
    events["third"][1].set()
    for name in ("second", "third"):
        threads[name].join(10)
    assert made == ["first", "third"]
    assert dict(table) == {}


def test_a_newer_result_is_not_forgotten_for_an_old_one():
    """Another call succeeds between the two moments at which one that failed looks at an old result."""
    clock = ManualClock()
    fallback = Fallback(on=OSError, stale=Stale(60), clock=clock)
    memory = fallback._memory
    answers = iter(["old"])

    class Overtaken:
        def now(self):
            memory.clock = clock
            memory.keep(next(iter(memory.results)), "newer")
            return clock.now() + 60

    def ask():
        for answer in answers:
            return answer
        if clock.now() == 60:
            memory.clock = Overtaken()
        raise OSError("down")

    assert fallback.call(ask) == "old"
    clock.advance(60)
    assert fallback.call(ask) == "newer"
    clock.advance(1)
    assert fallback.call(ask) == "newer"
    assert fallback.statistics().remembered == 1


def test_a_storm_of_threads_and_keys():
    """Each answer is of its key; no two calls of a key at once; nothing stays on its way."""
    fallback = Fallback(on=OSError, stale=Stale(60, 5))
    failed = iter(range(10**9))
    running = [[] for _ in range(11)]
    at_once = []

    def ask(key):
        running[key].append(1)
        at_once.append(len(running[key]))
        if key % 2:
            time.sleep(0)
        running[key].pop()
        if next(failed) % 7 == 3:
            raise OSError("down")
        return key

    def work(seed):
        for n in range(300):
            key = (seed * 31 + n * 17) % 11
            try:
                assert fallback.call(ask, key) == key
            except OSError:
                pass

    for worker in [spawn(work, seed) for seed in range(4)]:
        worker.result()
    assert fallback._memory.flights == {}
    assert max(at_once) == 1
    assert fallback.statistics().remembered <= 5
    assert len(fallback._memory.ages) <= 5
    assert sum(told(fallback)) == 1200


# --- the rest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Fallback(), TypeError, "needs a value"),
        (lambda: Fallback(Stale(60)), TypeError, r"must be an answer .*, not sluicegate.Stale\(.*; write Fallback\(stale=Stale\(...\)\)$"),
        (lambda: Fallback(KeyedBreaker(max_keys=1)), TypeError, "'value' must be an answer .*, not <sluicegate.Keyed"),
        (lambda: Fallback(list), TypeError, "lambda error"),
        (lambda: Fallback(1, on=()), ValueError, "'on'"),
        (lambda: Fallback(1, on=KeyboardInterrupt), TypeError, "'on'"),
        (lambda: Fallback(1, on="x"), TypeError, "'on'"),
        (lambda: Fallback(1, stale=60), TypeError, "'stale'"),
        (lambda: Fallback(1, name=1), TypeError, "name"),
        (lambda: Fallback(1, clock=1), TypeError, "clock"),
        (lambda: Stale(-1), ValueError, "'max_age'"),
        (lambda: Stale(float("nan")), ValueError, "'max_age'"),
        (lambda: Stale("60"), TypeError, "'max_age'"),
        (lambda: Stale(60, 0), ValueError, "'max_entries'"),
        (lambda: Stale(60, True), TypeError, "'max_entries'"),
        (lambda: Stale(60, key=1), TypeError, "'key'"),
        (lambda: Fallback(1)(7), TypeError, "only a function"),
    ],
)
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_repr_pickle_and_copy():
    stale = Stale(timedelta(minutes=1), 7)
    assert (stale.max_age, stale.max_entries, repr(stale)) == (60.0, 7, "sluicegate.Stale(60.0, 7)")
    fallback = Fallback(1, stale=stale, name="prices")
    assert fallback.name == "prices"
    assert repr(fallback).startswith("<sluicegate.Fallback 'prices' at 0x")
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle or copy 'Fallback'"):
            take(fallback)


def test_a_cycle_through_a_result_is_collected():
    class Holder:
        pass

    holder = Holder()
    holder.fallback = Fallback(stale=Stale(60))
    holder.fallback.call(lambda held: held, holder)
    reference = weakref.ref(holder)
    del holder
    collect()
    assert is_gone(reference)


def test_a_group_is_answered_if_all_of_its_members_are():
    if sys.version_info < (3, 11):
        pytest.skip("no groups before 3.11")
    fallback = Fallback("instead")

    def fail(*members):
        raise ExceptionGroup("group", members)  # noqa: F821

    assert fallback.call(fail, CircuitOpen(), RateLimited()) == "instead"
    for members in ((CircuitOpen(), ValueError()), (concurrent.futures.CancelledError(),)):
        with pytest.raises(ExceptionGroup):  # noqa: F821
            fallback.call(fail, *members)


def test_the_cancellation_of_a_future_is_never_replaced():
    future = concurrent.futures.Future()
    future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        Fallback("instead", on=Exception).call(future.result)


@on_loops
async def test_what_is_called_is_a_function_that_runs():
    def generator():
        yield 1

    fallback = Fallback("instead", on=Exception)
    for function in (generator, functools.partial(generator)):
        with pytest.raises(TypeError, match="is a generator function"):
            fallback.call(function)
    for call in (fallback.call, fallback.call_async):
        with pytest.raises(TypeError, match="must be a function, not None"):
            await call(None)


def test_equal_arguments_of_different_types_have_results_of_their_own():
    fallback = Fallback(stale=Stale(60))
    assert [fallback.call(repr, value) for value in (1, True, 1.0)] == ["1", "True", "1.0"]
    down = itertools.count()

    def ask(value=0, *, key=0):
        if next(down) >= 3:
            raise OSError("down")
        return value, key

    fallback = Fallback(on=OSError, stale=Stale(60))
    asked = [{"key": 1}, {"key": True}, {"value": 1}]
    first = [repr(fallback.call(ask, **each)) for each in asked]
    assert [repr(fallback.call(ask, **each)) for each in asked] == first


@pytest.mark.parametrize("takes_context", [True, False])
def test_a_call_of_the_same_key_in_a_thread_for_which_the_outer_one_waits(takes_context):
    """With the context it is inside the outer call, and is made. Without it nobody can know that, and `total` ends its wait."""
    guard = Guard(total=30 if takes_context else 0.2, fallback=Fallback(on=ValueError, stale=Stale(60, key=lambda _: "the key")))
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        executor.submit(int).result()  # on a free-threaded build a thread has the context in which it was started

        def outer(_):
            inner = functools.partial(guard.call, lambda _: "inside", 1)
            return executor.submit(contextvars.copy_context().run if takes_context else lambda call: call(), inner).result(20)

        if takes_context:
            assert guard.call(outer, 1) == "inside"
        else:
            with pytest.raises(TimeoutError, match="a call with the same key is on its way"):
                guard.call(outer, 1)


@on_loops
async def test_a_remembered_result_that_could_be_awaited_is_what_it_is():
    class Cursor:
        def __await__(self):
            raise AssertionError("it was not asked for")

    cursor, answers = Cursor(), iter([True, False])

    async def ask():
        if not next(answers):
            raise OSError
        return cursor

    fallback = Fallback(lambda error: "another", stale=Stale(60), on=OSError)
    assert await fallback.call_async(ask) is cursor
    assert await fallback.call_async(ask) is cursor
    assert fallback.statistics().stale == 1
