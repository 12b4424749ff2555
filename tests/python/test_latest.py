"""`Latest` from threads: values, versions, waiting, iteration, ticks and the end. Time is a `ManualClock`'s."""

from __future__ import annotations

import copy
import functools
import pickle
import queue as stdlib_queue
import threading
from datetime import timedelta

import pytest
from helpers import PATIENCE, spawn, wait_until

from sluicegate import Clock, Empty, Latest, LatestTicks, ShutDown
from sluicegate.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


# ----------------------------------------------------------------------------------------------------- values, versions


def test_with_an_initial_value():
    """It is there at once, and its version is 1."""
    latest = Latest("first")
    assert (latest.get(), latest.version) == ("first", 1)
    assert latest.set("second") is None
    assert (latest.get(), latest.get_nowait(), latest.peek(), latest.version) == ("second", "second", "second", 2)


@pytest.mark.parametrize("value", [None, ..., False])
def test_any_value_is_one(value):
    """Also those that others take for none."""
    latest = Latest(value)
    assert (latest.version, latest.get(), latest.changed(0)) == (1, value, (value, 1))
    assert Latest(initial=value).get() is value


def test_without_an_initial_value():
    """There is none until it is set, and version 0 says so."""
    latest = Latest(name="price")
    assert latest.version == 0
    for call in (latest.get_nowait, latest.peek, lambda: latest.get(timeout=0), lambda: latest.get(timeout=0.001)):
        with pytest.raises(Empty, match="latest value 'price' has not been set yet"):
            call()
    latest.set(1)
    assert (latest.get(), latest.version) == (1, 1)


def test_equal_values_are_new_versions():
    """Nothing is compared."""
    latest = Latest(1)
    latest.set(1)
    assert latest.changed(1) == (1, 2)


def test_the_refusal_is_the_standard_librarys():
    """`except queue.Empty` catches it, and the text says what was asked and what there is."""
    latest = Latest(1, name="price")
    latest.set(2)
    with pytest.raises(stdlib_queue.Empty) as refused:
        latest.changed(2, timeout=0.001)
    assert str(refused.value) == (
        "changed with timeout=0.001: there is no value newer than version 2: the latest value 'price' has version 2"
    )


def test_statistics():
    """Sets, values that nobody had read, the version; peeking is no reading."""
    latest = Latest(0, name="price")
    latest.set(1)
    latest.get()
    latest.set(2)
    latest.peek()
    latest.set(3)
    seen = latest.statistics()
    assert (seen.name, seen.version, seen.sets, seen.replaced, seen.waiting_readers) == ("price", 4, 3, 2, 0)
    assert not seen.is_shutdown
    assert not latest.is_shutdown


def test_the_time_of_waits_is_counted(clock):
    """For values, and not for ticks."""
    latest = Latest(clock=clock)
    reader = spawn(latest.get)
    clock.wait_for_waiters(1)
    clock.advance(3)
    assert latest.statistics().read_blocked_seconds == 3.0
    latest.set(1)
    reader.result()
    ticks = latest.every(10)
    next(ticks)
    ticker = spawn(next, ticks)
    clock.wait_for_waiters(1)
    clock.advance(10)
    ticker.result()
    assert latest.statistics().read_blocked_seconds == 3.0


def test_repr():
    """What it is, how far it is, who waits, and not the value."""
    latest = Latest(name="price")
    assert repr(latest).startswith("<sluicegate.Latest 'price' at 0x")
    assert repr(latest).endswith(" version=0>")
    reader = spawn(latest.get)
    wait_until(lambda: latest.statistics().waiting_readers == 1)
    assert repr(latest).endswith(" version=0 waiting_readers=1>")
    latest.set("secret")
    reader.result()
    latest.shutdown()
    assert repr(latest).endswith(" version=1 shut down>")
    assert "<every 2 seconds: <sluicegate.Latest" in repr(latest.every(2))


def test_it_is_an_object_of_its_kind():
    """Generic, weakly referenced (see the tests of the collector), never copied."""
    latest = Latest(1)
    assert Latest[int].__origin__ is Latest
    for thing in (latest, latest.every(1)):
        for refuse in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="shared by reference"):
                refuse(thing)
    with pytest.raises(TypeError):
        1 in latest  # noqa: B015  # it would wait for values

    class Mine(Latest[int]):
        pass

    assert isinstance(Mine(3).every(1), LatestTicks)
    assert Mine(3).get() == 3


BAD_TIMES = [
    (-1, ValueError),
    (float("nan"), ValueError),
    (float("inf"), ValueError),
    (1e300, OverflowError),
    (True, TypeError),
    ("1", TypeError),
]


@pytest.mark.parametrize(("bad", "error"), BAD_TIMES)
def test_bad_times(bad, error):
    """Refused at the door, by name, whether or not there is something to wait for."""
    for latest in (Latest(), Latest(1)):
        for call in (functools.partial(latest.get, timeout=bad), functools.partial(latest.changed, 0, timeout=bad)):
            with pytest.raises(error, match="timeout"):
                call()
        with pytest.raises(error, match="seconds"):
            latest.every(bad)
        assert latest.statistics().waiting_readers == 0


@pytest.mark.parametrize(("bad", "error"), [(-1, ValueError), (1.0, TypeError), (True, TypeError), ("1", TypeError)])
def test_bad_versions(bad, error):
    """The same of `since`."""
    with pytest.raises(error, match="since"):
        Latest(1).changed(bad)


def test_other_bad_arguments():
    """Of the constructor, of `every`, of the end."""
    for wrong in ({"clock": 3}, {"name": 3}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            Latest(**wrong)
    with pytest.raises(TypeError):
        Latest(1, 2)
    for period in (0, 1e-10):
        with pytest.raises(ValueError, match="'seconds' must be at least a nanosecond"):
            Latest(1).every(period)
    latest = Latest(1)
    for call in (lambda: latest.fail(None), lambda: latest.fail("x"), lambda: latest.shutdown(error=3)):
        with pytest.raises(TypeError, match="'error' must be an exception"):
            call()
    assert not latest.is_shutdown
    for call in (latest.set, lambda: latest.set(1, 2), lambda: latest.set(item=1), lambda: latest.get(1, 2)):
        with pytest.raises(TypeError):
            call()
    assert latest.version == 1


def test_times_may_be_timedeltas_and_versions_large():
    """As everywhere."""
    latest = Latest(1, clock=Clock())
    assert latest.get(timedelta(seconds=1)) == 1
    for since in (5, 2**64 - 1, 2**70):
        with pytest.raises(Empty):
            latest.changed(since, timeout=timedelta(milliseconds=1))
    assert next(latest.every(timedelta(seconds=1))) == 1


# --------------------------------------------------------------------------------------------------------------- waiting


@pytest.mark.parametrize("wait", [lambda latest: latest.get(), lambda latest: latest.changed(0)[0], lambda latest: next(iter(latest))])
def test_the_first_value_ends_the_wait_for_it(wait):
    """Of all who wait."""
    latest = Latest()
    readers = [spawn(wait, latest) for _ in range(3)]
    wait_until(lambda: latest.statistics().waiting_readers == 3)
    latest.set(7)
    assert [reader.result() for reader in readers] == [7, 7, 7]


def test_changed_waits_for_a_newer_version():
    """Than that which the caller has, or than that which there is."""
    latest = Latest("a")
    assert latest.changed(0) == ("a", 1)
    readers = [spawn(latest.changed, since) for since in (1, None, 2)]
    wait_until(lambda: latest.statistics().waiting_readers == 3)
    latest.set("b")
    assert readers[0].result() == readers[1].result() == ("b", 2)
    assert not readers[2].done()
    latest.set("c")
    assert readers[2].result() == ("c", 3)


def test_timeouts(clock):
    """At their time, to the nanosecond, and no waiter is left in the wait queue."""
    latest = Latest(clock=clock)
    readers = [spawn(latest.get, 5), spawn(latest.changed, timeout=5)]
    clock.wait_for_waiters(2)
    clock.advance(4.999999999)
    assert not any(reader.done() for reader in readers)
    clock.advance(0.000000001)
    for reader in readers:
        assert isinstance(reader.exception(), Empty)
    assert (latest.statistics().waiting_readers, clock.waiters) == (0, 0)


def test_many_readers_that_give_up(clock):
    """All at once, and no waiter is left in the wait queue."""
    latest = Latest(clock=clock)
    readers = [spawn(latest.get, 1) for _ in range(200)]
    clock.wait_for_waiters(200)
    clock.advance(1)
    assert all(isinstance(reader.exception(), Empty) for reader in readers)
    assert latest.statistics().waiting_readers == 0


def test_iteration_skips_what_was_replaced():
    """It begins with the value that there is, and each value given is newer than the one before."""
    latest = Latest(0)
    values = iter(latest)
    assert next(values) == 0
    for number in (1, 2, 3):
        latest.set(number)
    assert next(values) == 3
    latest.set(4)
    latest.shutdown()
    assert list(values) == [4]
    assert list(values) == []
    assert list(latest) == [4], "to a new iterator it is news"


def test_a_value_that_sets_the_next_one_when_it_goes():
    """What is displaced is dropped outside: its finaliser may use the object."""
    latest = Latest()

    class Value:
        def __init__(self, left):
            self.left = left

        def __del__(self):
            seen.append(latest.version)
            if self.left:
                latest.set(Value(self.left - 1))

    seen = []
    latest.set(Value(2))
    for version in (2, 4, 6):
        latest.set("last")
        assert seen[-1] == version, "the value is there before the one that it replaces goes"
    assert (len(seen), latest.version, latest.get()) == (3, 6, "last")


def test_a_use_inside_the_text_of_its_own_error():
    """Python code that it runs itself may use it."""
    latest = Latest(1)

    class Odd(Exception):
        def __repr__(self):
            latest.peek()
            return f"odd {latest.version}"

    latest.fail(Odd())
    with pytest.raises(ShutDown, match="odd 1"):
        latest.set(2)


# ----------------------------------------------------------------------------------------------------------------- ticks


def test_every_gives_the_newest_at_each_tick(clock):
    """The first at once, then one a period, whether or not it has changed."""
    latest = Latest(0, clock=clock)
    ticks = latest.every(10)
    assert next(ticks) == 0
    for expected, number in ((2, [1, 2]), (2, []), (3, [3])):
        ticker = spawn(next, ticks)
        clock.wait_for_waiters(1)
        for each in number:
            latest.set(each)
        clock.advance(9.999999999)
        assert not ticker.done()
        clock.advance(0.000000001)
        assert ticker.result() == expected


def test_every_waits_for_the_first_value(clock):
    """And gives it as soon as it is there; the ticks count from the first request."""
    latest = Latest(clock=clock)
    ticks = latest.every(10)
    ticker = spawn(next, ticks)
    wait_until(lambda: latest.statistics().waiting_readers == 1)
    clock.advance(13)
    assert not ticker.done()
    latest.set("first")
    assert ticker.result() == "first"
    ticker = spawn(next, ticks)
    clock.wait_for_waiters(1)
    clock.advance(7)
    assert ticker.result() == "first"


def test_a_slow_reader_of_ticks_gets_no_burst(clock):
    """What it was too late for is left out."""
    latest = Latest(0, clock=clock)
    ticks = latest.every(10)
    assert next(ticks) == 0
    clock.advance(35)
    latest.set(1)
    assert next(ticks) == 1
    ticker = spawn(next, ticks)
    clock.wait_for_waiters(1)
    clock.advance(5)
    assert ticker.result() == 1


def test_the_end_of_ticks(clock):
    """The last value, if it has not been given, at once; then the end."""
    latest = Latest(0, clock=clock)
    ticks, idle = latest.every(10), latest.every(10)
    assert (next(ticks), next(idle)) == (0, 0)
    ticker = spawn(list, ticks)
    clock.wait_for_waiters(1)
    latest.shutdown()
    assert ticker.result() == []
    assert list(idle) == []
    latest = Latest(0, clock=clock)
    ticks = latest.every(10)
    assert next(ticks) == 0
    latest.set(1)
    latest.shutdown()
    assert list(ticks) == [1]
    assert list(latest.every(10)) == [1]


def test_sets_do_not_wake_those_who_wait_for_a_tick(clock):
    """They sleep until their time."""
    latest = Latest(0, clock=clock)
    ticks = latest.every(10)
    next(ticks)
    ticker = spawn(next, ticks)
    clock.wait_for_waiters(1)
    waits = clock.waiters
    for number in range(1000):
        latest.set(number)
    assert (clock.waiters, ticker.done()) == (waits, False)
    clock.advance(10)
    assert ticker.result() == 999


# --------------------------------------------------------------------------------------------------------------- the end


def test_after_a_shutdown():
    """`set` and `get` raise, `peek` shows, `changed` gives what is news."""
    latest = Latest(1, name="price")
    latest.shutdown()
    latest.shutdown()
    assert latest.is_shutdown
    for call in (lambda: latest.set(2), latest.get, latest.get_nowait, lambda: latest.changed(1), latest.changed):
        with pytest.raises(ShutDown, match="the latest value 'price' has been shut down"):
            call()
    assert (latest.peek(), latest.changed(0), latest.version) == (1, (1, 1), 1)


def test_an_end_before_any_value():
    """There is nothing to give."""
    latest = Latest()
    latest.shutdown()
    assert list(latest) == list(latest.every(1)) == []
    for call in (latest.get, latest.peek, lambda: latest.changed(0)):
        with pytest.raises(ShutDown):
            call()


def test_the_end_wakes_everybody(clock):
    """Whatever they wait for."""
    latest = Latest(clock=clock)
    with_value = Latest(1, clock=clock)
    ticks = with_value.every(10)
    next(ticks)
    readers = [spawn(latest.get), spawn(latest.changed, 3), spawn(latest.changed), spawn(with_value.changed, 7)]
    iterations = [spawn(list, latest), spawn(list, latest.every(1)), spawn(list, ticks)]
    wait_until(lambda: latest.statistics().waiting_readers == 5 and with_value.statistics().waiting_readers == 2)
    latest.shutdown()
    with_value.shutdown()
    assert all(isinstance(reader.exception(), ShutDown) for reader in readers)
    assert [iteration.result() for iteration in iterations] == [[], [], []]


def test_an_error():
    """Iterations raise it at their end, with the traceback it had; the others raise ShutDown with it as the cause."""
    latest = Latest(1)
    try:
        raise LookupError("feed lost")
    except LookupError as raised:
        error = raised
    depth = len(list(frames(error)))
    latest.fail(error)
    latest.fail(ValueError("too late"))
    for make in (lambda: iter(latest), lambda: latest.every(1)):
        for _ in range(2):
            values = make()
            assert next(values) == 1
            with pytest.raises(LookupError) as failed:
                next(values)
            assert failed.value is error
        assert len(list(frames(error))) <= depth + 3, "it does not grow"
    for call in (latest.get, lambda: latest.set(2), lambda: latest.changed(1)):
        with pytest.raises(ShutDown, match="feed lost") as ended:
            call()
        assert ended.value.__cause__ is error
    assert latest.peek() == 1


def frames(error):
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


@pytest.mark.parametrize("error", [StopIteration(), StopAsyncIteration(), Empty(), ShutDown(), KeyboardInterrupt()])
def test_errors_that_look_like_an_end(error):
    """Come as ShutDown, with the cause."""
    latest = Latest(1)
    latest.fail(error)
    for values in (iter(latest), latest.every(1)):
        assert next(values) == 1
        with pytest.raises(ShutDown) as ended:
            next(values)
        assert ended.value.__cause__ is error


def test_an_immediate_end():
    """The value is removed, and iteration does not look like success."""
    latest = Latest(1)
    values = iter(latest)
    latest.shutdown(immediate=True)
    for call in (lambda: next(values), lambda: next(latest.every(1)), latest.peek, latest.get, lambda: latest.changed(0)):
        with pytest.raises(ShutDown):
            call()
    assert latest.version == 1


def test_an_immediate_end_may_follow():
    """And the first error stays the error."""
    latest, error = Latest(1), LookupError("feed lost")
    latest.fail(error)
    latest.shutdown(immediate=True, error=ValueError())
    with pytest.raises(ShutDown) as ended:
        next(iter(latest))
    assert ended.value.__cause__ is error


# -------------------------------------------------------------------------------------------------- several at a time


@pytest.mark.parametrize("writers", [1, 3])
def test_writers_and_readers(writers):
    """Versions grow for each reader, all readers see the same value under one version, and nobody misses the last one."""
    latest, each = Latest(), 3000
    started = threading.Barrier(writers + 3, timeout=PATIENCE)

    def write(writer):
        started.wait()
        for number in range(each):
            latest.set((writer, number))

    def read():
        started.wait()
        seen, version = {}, 0
        while True:
            try:
                value, newer = latest.changed(version)
            except ShutDown:
                return seen
            assert newer > version
            seen[newer], version = value, newer

    def follow():
        started.wait()
        return list(latest)

    threads = [spawn(write, writer) for writer in range(writers)]
    readers = [spawn(read) for _ in range(2)]
    follower = spawn(follow)
    for thread in threads:
        thread.result()
    latest.shutdown()
    one, other = (reader.result() for reader in readers)
    assert latest.version == writers * each
    assert one[latest.version] == other[latest.version] == follower.result()[-1] == latest.peek()
    assert all(one[version] == other[version] for version in one.keys() & other.keys())
    for seen in (list(one.values()), follower.result()):
        for writer in range(writers):
            numbers = [number for who, number in seen if who == writer]
            assert numbers == sorted(set(numbers)), "a writer's values come in its order, each once"
