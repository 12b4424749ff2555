"""map_bounded and amap_bounded: the bound, the order, the ends."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import itertools
import pickle
import random
import sys
import threading
import time
import weakref

import pytest
from helpers import FORKING, PATIENCE, eventually, is_gone, on_loops, run_on, run_script, settle, spawn, wait_until

from sluicegate import BlockingInEventLoopWarning, BoundedExecutor, Queue, _mapping, amap_bounded, map_bounded, prefetch
from sluicegate.testing import ManualClock


async def same(x):
    return x


async def with_a_pause(x):
    await asyncio.sleep(0)
    return x


def threads_of_maps():
    return [t for t in threading.enumerate() if t.name.startswith("map_bounded")]


class Source:
    """An iterable that counts, at every item, how many were taken of it, and how far that is ahead of what was handed out."""

    def __init__(self, n=None, error=None):
        self.numbers = itertools.count() if n is None else iter(range(n))
        self.error = error
        self.taken = self.handed = self.most = 0
        self.inside = False

    def __iter__(self):
        return self

    def __next__(self):
        assert not self.inside, "two threads are in the source"
        self.inside = True
        try:
            number = next(self.numbers)
        except StopIteration:
            if self.error is not None:
                raise self.error from None
            raise
        finally:
            self.inside = False
        self.taken += 1
        self.most = max(self.most, self.taken - self.handed)
        return number

    def __aiter__(self):
        return AsyncSource(self)


class AsyncSource:
    def __init__(self, source):
        self.source = source

    def __aiter__(self):
        return self

    async def __anext__(self):
        assert not self.source.inside
        if random.random() < 0.3:
            self.source.inside = True
            try:
                await asyncio.sleep(0)
            finally:
                self.source.inside = False
        try:
            return next(self.source)
        except StopIteration:
            raise StopAsyncIteration from None


# --- threads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("workers", "buffer"), [(1, 0), (1, 5), (3, 0), (4, 2), (8, 100)])
def test_all_and_in_order(workers, buffer, ordered):
    source = Source(300)
    got = []
    with map_bounded(str, source, workers=workers, buffer=buffer, ordered=ordered) as results:
        for result in results:
            got.append(result)
            source.handed += 1
        assert list(results) == []
    assert (got if ordered else sorted(got, key=int)) == list(map(str, range(300)))
    # One has been handed out and is not counted yet by this loop.
    assert source.most <= workers + buffer + 1
    assert not threads_of_maps()


@pytest.mark.parametrize("ordered", [True, False])
def test_never_more_than_workers_and_buffer(ordered):
    """Without a consumer, exactly as many items are taken, and as many calls run at once, as was stated."""
    source, running, most, lock = Source(), [0], [0], threading.Lock()

    def f(x):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.001)
        with lock:
            running[0] -= 1
        return x

    with map_bounded(f, source, workers=3, buffer=4, ordered=ordered) as results:
        for handed in range(1, 20):
            next(results)
            wait_until(lambda: source.taken == handed + 7)  # noqa: B023
        time.sleep(0.02)
        assert source.taken == 19 + 7
    assert most[0] == 3


class Delayed:
    """A semaphore for the turn to take items. Whoever has taken the item with a certain number is held up until something has happened."""

    def __init__(self, work, number, happened):
        self.turn, self.work, self.number, self.happened = work.turn, work, number, happened
        self.acquire, self.resize = self.turn.acquire, self.turn.resize

    def release(self):
        is_it = self.work.taken == self.number + 1 and self.work.source is not None
        self.turn.release()
        if is_it:
            wait_until(self.happened)


def test_the_last_item_is_not_lost():
    """Another worker finds the end of the source after the item was taken and before the call for it."""
    with map_bounded(str, range(5), workers=2, buffer=5) as results:
        work = results._work
        work.turn = Delayed(work, 4, lambda: work.source is None)
        assert list(results) == list("01234")


def test_what_is_before_an_error_is_not_lost():
    """The call for the next item fails after the item was taken and before the call for it."""

    def f(i):
        if i == 4:
            raise ValueError(i)
        return i

    got = []
    with pytest.raises(ValueError), map_bounded(f, range(9), workers=2, buffer=9) as results:
        work = results._work
        work.turn = Delayed(work, 3, lambda: work.source is None)
        for result in results:
            got.append(result)  # noqa: PERF402 - what came before the error
    assert got == [0, 1, 2, 3]


def test_order_under_random_times():
    chance = random.Random(1)
    times = [chance.choice([0, 0, 0.001, 0.003]) for _ in range(200)]

    def f(i):
        time.sleep(times[i])
        return i

    with map_bounded(f, range(200), workers=6, buffer=10) as results:
        assert list(results) == list(range(200))


def test_a_result_does_not_wait_for_the_next_item():
    """The result of an item is there although the source yields nothing more for a long time."""
    q = Queue()
    q.put(1)
    with map_bounded(str, q, workers=4, buffer=10) as results:
        assert next(results) == "1"
        q.put(2)
        assert next(results) == "2"
        q.shutdown()
        assert list(results) == []


def test_unordered_gives_what_is_ready():
    gate = threading.Event()
    with map_bounded(lambda i: gate.wait(PATIENCE) if i == 0 else i, range(5), workers=2, ordered=False) as results:
        assert [next(results) for _ in range(4)] == [1, 2, 3, 4]
        gate.set()
        assert next(results) is True


def test_nothing_is_started_before_it_is_wanted():
    source = Source()
    results = map_bounded(str, source, workers=3)
    assert source.taken == 0
    assert not threads_of_maps()
    results.close()
    assert list(results) == []
    assert source.taken == 0


def test_few_items_few_threads():
    seen = []
    with map_bounded(lambda _: seen.append(len(threads_of_maps())), range(2), workers=50) as results:
        list(results)
    assert max(seen) <= 4


@pytest.mark.parametrize("ordered", [True, False])
def test_the_first_error_stops_the_source(ordered):
    source = Source()

    def f(i):
        if i == 40:
            raise ValueError(i)
        return i

    got = []
    with pytest.raises(ValueError) as failed, map_bounded(f, source, workers=3, buffer=2, ordered=ordered) as results:
        for result in results:
            got.append(result)  # noqa: PERF402 - what came before the error
    assert failed.value.__notes__ == ["in map_bounded: item 40, 40"]
    if ordered:  # or the other workers may go on as long as the one that fails is held up before it can say so
        assert got == list(range(40))
        assert source.taken <= 40 + 3 + 2
    assert not threads_of_maps()
    taken = source.taken
    assert list(results) == []
    assert source.taken == taken


def test_of_several_errors_the_first_in_order():
    gate = threading.Event()

    def f(i):
        if i == 1:
            gate.set()
            raise LookupError(i)
        gate.wait(PATIENCE)
        raise ValueError(i)

    with map_bounded(f, range(10), workers=2) as results, pytest.raises(ValueError, match="0"):
        next(results)


@pytest.mark.parametrize("ordered", [True, False])
def test_an_error_of_the_source_comes_after_the_results(ordered):
    source = Source(20, LookupError("source"))
    got = []
    with (
        pytest.raises(LookupError) as failed,
        map_bounded(lambda i: (time.sleep(0.001), i)[1], source, workers=4, ordered=ordered) as results,
    ):
        for result in results:
            got.append(result)  # noqa: PERF402 - what came before the error
    assert sorted(got) == list(range(20))
    assert not hasattr(failed.value, "__notes__")


def test_notes():
    class Unspeakable:
        def __repr__(self):
            raise RuntimeError

    def f(item):
        raise ValueError(item)

    for item, text in (("x" * 5000, "'xxx"), (Unspeakable(), "<Unspeakable instance at"), (10**5000, ("<int", "1000"))):
        with map_bounded(f, [item], workers=1) as results, pytest.raises(ValueError) as failed:
            next(results)
        (note,) = failed.value.__notes__
        assert note.removeprefix("in map_bounded: item 0, ").startswith(text)
        assert len(note) < 400

    class Stubborn(Exception):
        __slots__ = ()

        def add_note(self, note):
            raise TypeError

        def __setattr__(self, name, value):
            if name == "__notes__":
                raise AttributeError(name)
            super().__setattr__(name, value)

    def g(_item):
        raise Stubborn

    with map_bounded(g, [1], workers=1) as results, pytest.raises(Stubborn):
        next(results)


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
def test_an_error_that_would_look_like_the_end(error):
    def f(_):
        raise error(3)

    with map_bounded(f, range(3), workers=2) as results:
        with pytest.raises(RuntimeError, match=f"map_bounded: a call or the iterable raised {error.__name__}") as failed:
            next(results)
    assert isinstance(failed.value.__cause__, error)


def test_leaving_early_stops_everything():
    source, begun, ended = Source(), [], []

    def f(i):
        begun.append(i)
        time.sleep(0.002)
        ended.append(i)
        return i

    with map_bounded(f, source, workers=4, buffer=3) as results:
        for result in results:
            if result == 5:
                break
    # Nothing runs, and nothing is taken, from here on.
    taken = source.taken
    assert sorted(begun) == sorted(ended)
    assert len(begun) <= taken <= 6 + 4 + 3
    assert not threads_of_maps()
    time.sleep(0.01)
    assert (source.taken, len(begun)) == (taken, len(ended))


def test_dropping_it_stops_it():
    source = Source()
    results = map_bounded(str, source, workers=3)
    next(results)
    del results
    gc.collect()
    wait_until(lambda: not threads_of_maps())


def test_a_source_that_is_blocked_does_not_hold_anybody_up():
    q = Queue()
    q.put(1)
    with map_bounded(str, q, workers=3) as results:
        assert next(results) == "1"
    assert threads_of_maps()  # the block has been left, and the source still blocks
    q.put(2)  # is taken, and dropped
    wait_until(lambda: not threads_of_maps())
    q.put(3)
    assert q.get() == 3


def test_workers_that_find_no_source_do_not_hide_the_one_that_is_blocked_in_it():
    q = Queue()
    q.put_many([1, 2, 3])
    results = map_bounded(str, q, workers=3)
    assert [next(results) for _ in range(3)] == ["1", "2", "3"]
    work = results._work
    wait_until(lambda: len(work.takers) == 1 and work.turn.statistics().waiters == len(work.threads) - 1)
    blocked = set(work.takers)
    work.end()  # lets the others in
    wait_until(lambda: work.running == 1)
    assert work.takers == blocked
    q.shutdown()
    results.close()


def test_closed_by_one_of_its_own_calls():
    def f(i):
        if i == 3:
            results.close()
        return i

    results = map_bounded(f, itertools.count(), workers=2)
    got = list(results)
    assert got == [0, 1, 2][: len(got)]  # what was there and not handed out before the end goes with it
    wait_until(lambda: not threads_of_maps())


def test_it_goes_on_after_billions_of_items():
    results = map_bounded(str, range(10), workers=2)
    results._work.taken = results._next = 2**40
    assert list(results) == list("0123456789")


def test_one_thread_at_a_time():
    gate, inside = threading.Event(), threading.Event()
    with map_bounded(lambda _: (inside.set(), gate.wait(PATIENCE)), range(2), workers=1) as results:
        thread = spawn(next, results)
        assert inside.wait(PATIENCE)
        with pytest.raises(ValueError, match="another thread is taking a result"):
            next(results)
        gate.set()
        thread.result()


def test_contexts():
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(1)
    seen = []

    def items():
        for _ in range(20):
            seen.append(variable.get())
            yield variable.get()

    def f(_):
        value = variable.get()
        variable.set(2)
        return value

    results = map_bounded(f, items(), workers=3)
    variable.set(3)
    assert list(results) == [1] * 20
    assert seen == [1] * 20


def test_results_are_not_kept():
    class Thing:
        pass

    with map_bounded(lambda _: Thing(), range(20), workers=2) as results:
        for thing in results:
            reference = weakref.ref(thing)
            del thing
            wait_until(lambda: is_gone(reference))  # noqa: B023


def test_what_it_is():
    results = map_bounded(str, range(10), workers=2)
    assert repr(results) == "<sluicegate.BoundedMap: 0 items taken, 0 results handed out>"
    assert iter(results) is results
    list(results)
    assert repr(results) == "<sluicegate.BoundedMap: ended>"
    with pytest.raises(TypeError, match="cannot pickle or copy 'BoundedMap' object"):
        pickle.dumps(results)
    assert type(results).__module__ == "sluicegate"


BAD = [
    ({"f": 3}, TypeError, "'f' must be a callable, not 3"),
    ({"items": 3}, TypeError, "not iterable"),
    ({"workers": 0}, ValueError, "'workers' must be at least 1, not 0"),
    ({"workers": -1}, ValueError, "'workers' must be at least 1, not -1"),
    ({"workers": True}, TypeError, "'workers' must be an int of at least 1, not True"),
    ({"workers": 1.5}, TypeError, "'workers' must be an int of at least 1, not 1.5"),
    ({"workers": None}, TypeError, "'workers' must be an int of at least 1, not None"),
    ({"buffer": -1}, ValueError, "'buffer' must be at least 0, not -1"),
    ({"buffer": "1"}, TypeError, "'buffer' must be an int of at least 0, not '1'"),
    ({"buffer": 2**70}, OverflowError, "must not be over"),
    ({"ordered": "no"}, TypeError, "^'ordered' must be True or False, got 'no'$"),
    ({"ordered": 0}, TypeError, "^'ordered' must be True or False, got 0$"),
]


@pytest.mark.parametrize("function", [map_bounded, amap_bounded])
@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_arguments(function, arguments, error, message):
    good = {"f": str, "items": [], "workers": 1}
    with pytest.raises(error, match=message):
        function(**{**good, **arguments})


def test_async_iterable_in_threads():
    with pytest.raises(TypeError, match=r"map_bounded\(\) takes an iterable, and .* is an async iterable: use amap_bounded\(\)"):
        map_bounded(str, amap_bounded(str, [], workers=1), workers=1)


@on_loops
async def test_on_a_loop_it_warns():
    with pytest.warns(BlockingInEventLoopWarning, match=r"map_bounded\(\) is .* use `async for ... in amap_bounded\(\)`") as told:
        next(map_bounded(lambda _: wait_until(lambda: len(told) > 0), range(1), workers=1))
    assert told[0].filename == __file__


def test_a_storm_of_early_ends():
    """Hundreds of rounds end in random ways. No thread is left, and nothing is taken after the end."""
    chance = random.Random(7)
    before = threading.active_count()
    for number in range(300):
        how = chance.choice(["all", "break", "error", "source", "drop", "close"])
        n = chance.randrange(1, 60)
        at = chance.randrange(n)
        workers, buffer, ordered = chance.randrange(1, 6), chance.randrange(4), chance.random() < 0.5
        source = Source(n, LookupError("source") if how == "source" else None)
        naps = chance.random() < 0.3

        def f(i):
            if naps:  # noqa: B023
                time.sleep(0.0001)
            if how == "error" and i == at:  # noqa: B023
                raise ValueError(i)
            return i

        got = []
        try:
            with map_bounded(f, source, workers=workers, buffer=buffer, ordered=ordered) as results:
                for result in results:
                    got.append(result)
                    source.handed += 1
                    if how == "break" and len(got) > at:
                        break
                    if how == "close" and len(got) > at:
                        results.close()
        except ValueError as error:
            assert how == "error"
            assert error.args == (at,)
        except LookupError:
            assert how == "source"
        else:
            assert how not in ("error", "source")
        assert source.most <= workers + buffer + 1
        taken = source.taken
        if ordered:
            assert got == list(range(len(got))), number
        if how in ("all", "source"):
            assert sorted(got) == list(range(n))
        if how == "error" and ordered:
            assert len(got) == at
        if how in ("break", "close"):
            assert len(got) == at + 1
        if how == "drop":
            results = map_bounded(f, range(10), workers=2)
            next(results)
            del results
        assert source.taken == taken
        results = None
    wait_until(lambda: threading.active_count() <= before, 5)


def test_exit_with_everything_open():
    """At exit, calls that are running are finished, and no other is begun. A source that is blocked does not hold up the exit."""
    out = run_script(
        """
        import sys, time, threading
        from sluicegate import Queue, map_bounded
        began = threading.Event()
        def f(i):
            began.set()
            time.sleep(0.2)
            sys.stdout.write(f"{i}\\n")
        results = map_bounded(f, range(100), workers=1)
        threading.Thread(target=next, args=(results,), daemon=True).start()
        blocked = map_bounded(str, Queue(), workers=1)
        threading.Thread(target=next, args=(blocked,), daemon=True).start()
        began.wait()
        """
    )
    assert out == "0\n"


def test_interrupting_next():
    run_script(
        """
        import signal, threading
        from sluicegate import map_bounded
        gate = threading.Event()
        with map_bounded(lambda i: gate.wait() and i, range(4), workers=2) as results:
            waits = False
            while not waits:
                try:
                    threading.Timer(0.1, signal.raise_signal, (signal.SIGINT,)).start()
                    waits = True  # on a busy machine the signal may come before
                    next(results)
                except KeyboardInterrupt:
                    pass
            gate.set()
            assert list(results) == [0, 1, 2, 3]
        """
    )


#: `next` does the same for each item: a first one, some more and a last one. The time grows with the square.
ITEMS_AT_LINES = 8


@pytest.mark.skipif(sys.gettrace() is not None, reason="it sets a trace function")
@pytest.mark.parametrize("ordered", [True, False])
def test_ctrl_c_at_every_line_of_next(ordered):
    """The iteration goes on afterwards. Only the result that was about to be handed out may be lost, and none comes twice."""
    at = 0
    while (results := spawn(interrupted_at_line, at, ordered).result()) is not None:
        assert len(results) == len(set(results)) >= ITEMS_AT_LINES - 1, (at, results)
        assert not ordered or results == sorted(results)
        at += 1
    assert at > 50


def interrupted_at_line(at, ordered):
    """Return the results of the items if Ctrl-C comes at this line of those that are run, or None if there is no such line.

    It is run in a thread of its own, because a trace function may leave a thread with an exception that is being handled for ever.
    """
    results, lines = [], itertools.count()

    def trace(frame, event, argument):
        if frame.f_code.co_filename != _mapping.__file__ or frame.f_code.co_name not in {"__next__", "_take", "next_outcome", "<genexpr>"}:
            return None
        if event == "line" and next(lines) == at:
            raise KeyboardInterrupt
        return trace

    with map_bounded(lambda x: x, range(ITEMS_AT_LINES), workers=1, ordered=ordered) as iterator:
        while True:
            sys.settrace(trace)
            try:
                results.append(next(iterator))
            except StopIteration:
                break
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(None)
    return results if next(lines) > at else None


def test_fork():
    run_script(
        FORKING
        + """
from sluicegate import map_bounded
results = map_bounded(str, range(100), workers=2, buffer=3)
assert next(results) == "0"
def child():
    try:
        for _ in range(20):
            next(results)
    except RuntimeError as error:
        assert "was forked" in str(error), error
    else:
        raise AssertionError
    assert list(map_bounded(str, range(10), workers=2)) == list(map(str, range(10)))
check(in_child(child))
assert list(results) == [str(i) for i in range(1, 100)]
"""
    )


# --- tasks ---------------------------------------------------------------------------------------------------------


def other_tasks():
    return asyncio.all_tasks() - {asyncio.current_task()}


def workers_left():
    return [task for task in other_tasks() if "_work" in repr(task)]


@pytest.mark.parametrize("f", [same, with_a_pause])
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("workers", "buffer"), [(1, 0), (1, 5), (3, 0), (8, 100)])
def test_async_all_and_in_order(f, is_async, ordered, workers, buffer):
    async def main():
        source = Source(200)
        got = []
        async with amap_bounded(f, source if is_async else plain(source), workers=workers, buffer=buffer, ordered=ordered) as results:
            async for result in results:
                got.append(result)
                source.handed += 1
            assert [x async for x in results] == []
        assert (got if ordered else sorted(got)) == list(range(200))
        assert source.most <= workers + buffer + 1
        assert not workers_left()

    run_on("asyncio", main())


def plain(source):
    """Return an iterable without its async side."""
    yield from source


@on_loops
async def test_async_never_more_than_workers_and_buffer():
    source, running, most = Source(), 0, 0

    async def f(x):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await settle(5)
        running -= 1
        return x

    async with amap_bounded(f, source, workers=3, buffer=4) as results:
        for handed in range(1, 20):
            await results.__anext__()
            await eventually(lambda: source.taken == handed + 7)  # noqa: B023
        await settle(50)
        assert source.taken == 19 + 7
    assert most == 3


@on_loops
async def test_async_a_queue_is_awaited():
    q = Queue()
    q.put(1)
    async with amap_bounded(same, q, workers=4) as results:
        assert await results.__anext__() == 1
        task = asyncio.ensure_future(results.__anext__())
        await settle()
        assert not task.done()
        q.put(2)
        assert await task == 2


@pytest.mark.parametrize("ordered", [True, False])
def test_async_the_first_error_stops_and_cancels(ordered):
    async def main():
        source, cancelled, finished = Source(), [], []
        all_begun, raised = asyncio.Event(), asyncio.Event()

        async def f(i):
            if i == 9:
                all_begun.set()
            if i == 5:
                await all_begun.wait()
                raised.set()
                raise ValueError(i)
            try:
                if ordered and i < 5:
                    await raised.wait()
                    await settle()
                else:
                    await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                cancelled.append(i)
                raise
            finished.append(i)
            return i

        got = []
        with pytest.raises(ValueError) as failed:
            async with amap_bounded(f, source, workers=10, ordered=ordered) as results:
                async for result in results:
                    got.append(result)
        assert failed.value.__notes__ == ["in amap_bounded: item 5, 5"]
        assert not workers_left()
        assert source.taken == 10
        # In order, what is before it still comes; without an order everything is cancelled.
        assert got == (list(range(5)) if ordered else [])
        assert sorted(cancelled) == ([6, 7, 8, 9] if ordered else [0, 1, 2, 3, 4, 6, 7, 8, 9])
        assert [x async for x in results] == []

    run_on("asyncio", main())


@on_loops
async def test_async_an_error_of_the_source_comes_after_the_results():
    for ordered in (True, False):
        for source in (Source(20, LookupError("source")).__aiter__(), iter(generator_that_fails())):
            got = []
            with pytest.raises(LookupError):
                async with amap_bounded(with_a_pause, source, workers=4, ordered=ordered) as results:
                    async for result in results:
                        got.append(result)
            assert sorted(got) == list(range(20))


def generator_that_fails():
    yield from range(20)
    raise LookupError("source")


@on_loops
async def test_async_a_call_that_is_cancelled_by_others_is_an_error():
    async def f(i):
        if i == 3:
            raise asyncio.CancelledError
        return i

    results = amap_bounded(f, range(4), workers=2)
    assert [await results.__anext__() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(asyncio.CancelledError):
        await results.__anext__()


@on_loops
async def test_async_tasks_cancelled_by_others_are_no_end():
    """A cancellation of a worker by somebody else is not taken for the end of the source."""

    async def f(i):
        await asyncio.sleep(PATIENCE)

    results = amap_bounded(f, range(4), workers=2)
    waiting = asyncio.ensure_future(results.__anext__())
    await settle()
    for task in workers_left():
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(waiting), PATIENCE)
    await results.aclose()


@on_loops
async def test_async_leaving_early():
    source, ended = Source(), []

    async def f(i):
        try:
            await asyncio.sleep(0 if i < 6 else PATIENCE)
        finally:
            ended.append(i)
        return i

    async with amap_bounded(f, source, workers=4, buffer=3) as results:
        async for result in results:
            if result == 5:
                break
    assert len(ended) <= source.taken <= 6 + 4 + 3
    assert not workers_left()


@on_loops
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("end", ["break", "error", "cancel", "all", "source"])
async def test_async_a_generator_is_closed(end, ordered):
    closed = []

    async def numbers():
        try:
            for number in range(20):
                await asyncio.sleep(0)
                if end == "source" and number == 10:
                    raise LookupError
                yield number
        finally:
            await asyncio.sleep(0)  # the end is waited for
            closed.append(asyncio.current_task())

    async def f(i):
        if end == "error" and i == 7:
            raise LookupError
        return i

    async def use():
        async with amap_bounded(f, source, workers=3, buffer=2, ordered=ordered) as results:
            async for result in results:
                if end == "break" and result == 5:
                    break
                if end == "cancel" and result == 5:
                    asyncio.current_task().cancel()
        assert closed

    source = numbers()
    task = asyncio.ensure_future(use())
    await asyncio.wait([task])
    assert len(closed) == 1
    assert task.cancelled() if end == "cancel" else (type(task.exception()) is (LookupError if end in ("error", "source") else type(None)))
    assert not workers_left()


@on_loops
async def test_async_what_a_generator_raises_when_it_is_closed():
    async def numbers():
        try:
            for number in itertools.count():
                yield number
        finally:
            raise LookupError("at the end")

    async def f(i):
        if i == 5:
            raise ValueError("of a call")
        return i

    with pytest.raises(LookupError, match="at the end"):
        async with amap_bounded(same, numbers(), workers=2) as results:
            await results.__anext__()
    with pytest.raises(ValueError, match="of a call") as failed:
        async with amap_bounded(f, numbers(), workers=2) as results:
            async for _ in results:
                pass
    assert "also raised: LookupError('at the end')" in failed.value.__notes__


@on_loops
async def test_async_what_has_an_owner_is_not_closed():
    async with amap_bounded(same, range(100), workers=2) as numbers:
        async with amap_bounded(with_a_pause, numbers, workers=2) as results:
            await results.__anext__()
        assert [number async for number in numbers][-1] == 99


@on_loops
async def test_async_dropping_it_stops_it():
    results = amap_bounded(with_a_pause, itertools.count(), workers=3)
    await results.__anext__()
    del results
    gc.collect()
    await eventually(lambda: not workers_left())


@on_loops
async def test_async_the_consumer_is_cancelled():
    async def f(i):
        await asyncio.sleep(PATIENCE)

    async def consume():
        async with amap_bounded(f, itertools.count(), workers=3) as results:
            async for _ in results:
                pass

    task = asyncio.ensure_future(consume())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not workers_left()


@on_loops
async def test_async_closed_by_one_of_its_own_calls():
    async def f(i):
        if i == 3:
            await results.aclose()
        return i

    results = amap_bounded(f, itertools.count(), workers=2)
    async for _ in results:
        pass
    await eventually(lambda: not workers_left())


@on_loops
async def test_async_contexts_and_tasks():
    """Each call has its own context, and runs in a real task, so that timeouts and task groups work."""
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(1)

    async def f(_):
        value = variable.get()
        variable.set(2)
        await asyncio.sleep(0)
        assert variable.get() == 2
        assert asyncio.current_task() is not None
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.sleep(PATIENCE), 0.001)
        if sys.version_info >= (3, 11):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await asyncio.sleep(PATIENCE)
            async with asyncio.TaskGroup() as group:
                child = group.create_task(same(variable.get()))
            assert child.result() == 2
        return value

    results = amap_bounded(f, range(20), workers=3)
    variable.set(3)
    assert [x async for x in results] == [1] * 20
    assert variable.get() == 3


@on_loops
async def test_async_futures_will_do():
    loop = asyncio.get_running_loop()

    def f(i):
        future = loop.create_future()
        loop.call_soon(future.set_result, i)
        return future

    assert [x async for x in amap_bounded(f, range(20), workers=3)] == list(range(20))
    with pytest.raises(TypeError, match="await"):
        await amap_bounded(str, [1], workers=1).__anext__()


@on_loops
async def test_async_an_error_that_would_look_like_the_end():
    async def f(_):
        raise StopAsyncIteration(3)

    with pytest.raises(RuntimeError, match="StopAsyncIteration"):
        await amap_bounded(f, range(3), workers=2).__anext__()

    class Source:
        def __iter__(self):
            return self

        def __next__(self):
            raise StopAsyncIteration

    with pytest.raises(RuntimeError, match="the iterable raised StopAsyncIteration"):
        await amap_bounded(same, Source(), workers=2).__anext__()

    async def g(_):
        raise StopIteration(3)

    with pytest.raises(RuntimeError, match="StopIteration"):
        await amap_bounded(g, range(3), workers=2).__anext__()


@on_loops
async def test_async_one_task_at_a_time():
    results = amap_bounded(with_a_pause, range(3), workers=1)
    task = asyncio.ensure_future(results.__anext__())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task is taking a result"):
        await results.__anext__()
    assert await task == 0
    await results.aclose()
    assert "ended" in repr(results)


@on_loops
async def test_async_does_not_starve_the_loop():
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    async with amap_bounded(same, range(20_000), workers=1, buffer=100_000) as results:
        async for _ in results:
            pass
    assert turns > 100
    counting.cancel()


def test_async_a_storm_of_early_ends():
    chance = random.Random(11)

    async def one(number):
        how = chance.choice(["all", "break", "error", "source", "cancel"])
        n = chance.randrange(1, 60)
        at = chance.randrange(n)
        workers, buffer, ordered = chance.randrange(1, 6), chance.randrange(4), chance.random() < 0.5
        source = Source(n, LookupError("source") if how == "source" else None)
        got = []

        async def f(i):
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            if how == "error" and i == at:
                raise ValueError(i)
            return i

        async def consume():
            async with amap_bounded(
                f, source if chance.random() < 0.5 else plain(source), workers=workers, buffer=buffer, ordered=ordered
            ) as results:
                async for result in results:
                    got.append(result)
                    source.handed += 1
                    if how == "break" and len(got) > at:
                        break
                    if how == "cancel" and len(got) > at:
                        asyncio.current_task().cancel()

        try:
            await consume() if how != "cancel" else await asyncio.ensure_future(consume())
        except ValueError as error:
            assert how == "error"
            assert error.args == (at,)
        except LookupError:
            assert how == "source"
        except asyncio.CancelledError:
            assert how == "cancel"
        else:
            assert how not in ("error", "source")
        assert source.most <= workers + buffer + 1
        if ordered:
            assert got == list(range(len(got))), number
        if how in ("all", "source"):
            assert sorted(got) == list(range(n))
        if how == "error" and ordered:
            assert len(got) == at
        await settle(3)
        assert not workers_left(), how

    async def main():
        for number in range(400):
            await one(number)

    run_on("asyncio", main(), PATIENCE * 3)


def test_what_takes_no_clock_waits_in_real_time():
    """Also where a test has made another clock the default: none of its threads are waiters of that clock."""
    gate = threading.Event()

    def endless():
        yield 1
        gate.wait(PATIENCE)

    with ManualClock() as clock:
        with (
            BoundedExecutor(2, max_pending=2) as pool,
            map_bounded(str, endless(), workers=2) as mapped,
            prefetch(itertools.repeat(1), 1) as ahead,
        ):
            assert [pool.submit(int).result(PATIENCE), next(mapped), next(ahead)] == [0, "1", 1]
            wait_until(lambda: pool.statistics().running == 0)
            time.sleep(0.01)  # they wait now
            assert clock.waiters == 0
            gate.set()


def test_coroutine_functions_and_plain_ones():
    """The error of each function names the other one."""

    async def later(item):
        return item

    for f in (later, functools.partial(later)):
        with pytest.raises(TypeError, match=r"is a coroutine function: use amap_bounded\(\)$"):
            map_bounded(f, [1], workers=1)

    with pytest.raises(TypeError, match="has returned a coroutine, which nobody awaits: pass the `async def` itself"):
        list(map_bounded(lambda item: later(item), [1], workers=1))  # which hides it

    async def gathered(f):
        async with amap_bounded(f, [1], workers=1) as results:
            return [result async for result in results]

    with pytest.raises(TypeError, match=r"returned str: for a plain function use map_bounded\(\)"):
        asyncio.run(gathered(str))
    assert asyncio.run(gathered(lambda item: later(item))) == [1]  # a plain function that returns an awaitable will do


def test_async_under_trio_the_error_says_what_is_needed():
    trio = pytest.importorskip("trio")
    taken = iter(range(5))

    async def main():
        async with amap_bounded(same, taken, workers=2) as results:
            with pytest.raises(RuntimeError, match=r"^amap_bounded\(\) needs a running asyncio event loop .* trio's is not one"):
                await results.__anext__()

    trio.run(main)
    assert next(taken) == 0
