"""Nothing is lost on the way out: what is dropped while `on_drop` runs, or displaced by a comparison that fails, or interrupted."""

from __future__ import annotations

import sys
import threading
import time

import pytest
from helpers import spawn, wait_until

from sluicegate import AdaptiveLifo, CreditChannel, Empty, FairQueue, Full, LifoQueue, PriorityQueue, Queue
from sluicegate.testing import ManualClock


class Meddler(list):
    """An `on_drop` that does something with the queue when it is told of `at`; what it was told, and how deep its calls were nested."""

    def __init__(self, at, act):
        self.at, self.act = at, act
        self.depth = self.deepest = 0

    def __call__(self, item, reason):
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        self.append((item, reason))
        if item == self.at:
            self.act()
        self.depth -= 1


class Odd(int):
    """An int whose comparisons run Python, and raise what `script` says for them."""

    script = ()

    def __lt__(self, other):
        for error in self.script:
            raise error
        return int(self) < int(other)


def failing(error, after=0):
    """A script: so many comparisons go well, then each raises."""

    def script():
        nonlocal after
        after -= 1
        if after < 0:
            yield error

    return Script(script)


class Script:
    def __init__(self, script):
        self.script = script

    def __iter__(self):
        return self.script()


def odd_ints():
    """A class of its own for each test, because the script is the class's."""
    return type("Odd", (Odd,), {})


# --- what is dropped while `on_drop` runs -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_what_expires_while_on_drop_runs_is_reported_next(kind):
    """An `on_drop` that takes an item finds others whose time has passed: they were put by somebody who is to know."""

    def act():
        clock.advance(5)
        with pytest.raises(Empty):
            q.get_nowait()
        assert [item for item, _ in told] == [0], "one after the other"

    clock, told = ManualClock(), Meddler(0, act)
    q = kind(9, on_drop=told, clock=clock)
    for item in (3, 2, 1, 0) if kind is LifoQueue else (0, 1, 2, 3):
        q.put(item, ttl=4 if item else 1)
    clock.advance(1)
    assert q.get() == 1
    assert told[0] == (0, "expired")
    assert sorted(told[1:]) == [(2, "expired"), (3, "expired")]
    assert q.statistics().dropped_expired == 3
    assert told.deepest == 1


def test_what_is_shed_while_on_drop_runs_is_reported_next():
    def act():
        clock.advance(50)
        with pytest.raises(Empty):
            q.get_nowait()

    clock, told = ManualClock(), Meddler(0, act)
    q = Queue(9, shed=AdaptiveLifo(0.5, 10.0), on_drop=told, clock=clock)
    q.put(0, ttl=1)
    q.put(1)
    q.put(2)
    clock.advance(1)
    assert q.get() == 1
    assert told == [(0, "expired"), (2, "shed")]


def test_what_on_drop_displaces_is_counted_and_what_expires_is_reported():
    def act():
        q.put(9)  # the oldest goes for it, which is 1
        clock.advance(5)
        assert q.get_nowait() == 3

    clock, told = ManualClock(), Meddler(0, act)
    q = Queue(3, overflow="drop_oldest", on_drop=told, clock=clock)
    q.put_many([0, 1])
    q.put(2, ttl=4)
    q.put(3)
    assert told == [(0, "oldest"), (2, "expired")]
    assert q.statistics().dropped_oldest == 2
    assert q.get_many(9) == [9]


@pytest.mark.thread_unsafe(reason="one thread waits for the mutex of the other's queue")
def test_what_comes_late_into_a_full_queue_is_reported_by_whoever_gives_the_mutex_back():
    """Another thread's item, which came into its reserved place while `on_drop` held the mutex: the put of that thread has returned."""
    taken, locked = threading.Event(), threading.Event()

    def items():
        taken.set()
        assert locked.wait(30)
        yield "late"

    def act():
        putter.append(spawn(q.put_many, items()))
        assert taken.wait(30)
        with q.mutex:
            locked.set()
            wait_until(lambda: q.statistics().waiting_putters == 1)

    putter = []
    told = Meddler(0, act)
    q = Queue(1, overflow="drop_newest", on_drop=told)
    q.put(1)
    q.put(0)
    assert putter[0].result() == 1
    assert told == [(0, "newest"), ("late", "newest")]
    assert q.get() == 1


@pytest.mark.thread_unsafe(reason="a put starts a thread, which it waits for")
@pytest.mark.parametrize("put", ["put_nowait", "offer", "put_many"])
def test_on_drop_of_a_put_that_is_refused_may_wait_for_others(put):
    """A waiter that came while the refused put was at work has its turn before `on_drop` is called, which may wait for it."""
    odd = odd_ints()
    started, got = [], []

    def start():
        if not started:
            begun = threading.Event()
            started.append(spawn(lambda: (begun.set(), q.get())[1]))
            assert begun.wait(30)
            time.sleep(0.02)  # it is in the wait queue by now: if not, this tests nothing
        yield from ()

    def on_drop(item, reason):
        got.append((item, reason, started[0].result(10)))

    clock = ManualClock()
    q = PriorityQueue(on_drop=on_drop, clock=clock)
    for item in range(5):
        q.put(odd(item), ttl=None if item else 1)
    q.maxsize = 2
    clock.advance(1)
    odd.script = Script(start)
    if put == "offer":
        assert not q.offer(odd(9))
    else:
        with pytest.raises(Full):
            q.put_nowait(odd(9)) if put == "put_nowait" else q.put_many([odd(9)], timeout=0)
    odd.script = ()
    assert got == [(0, "expired", 1)]
    assert q.get_many(9) == [2, 3, 4]


# --- comparisons that fail ---------------------------------------------------------------------------------------------


def filled(odd, count=8, **settings):
    q = PriorityQueue(**settings)
    q.put_many([odd(item * 3 % count) for item in range(count)])
    return q


@pytest.mark.parametrize("refused", [False, True])
def test_what_expired_for_an_offer_that_fails_is_reported(refused):
    odd = odd_ints()
    clock, log = ManualClock(), []
    q = PriorityQueue(2, overflow="drop_lowest", on_drop=lambda *told: log.append(told), clock=clock)
    q.put(odd(0), ttl=1)
    q.put(odd(1))
    clock.advance(1)
    odd.script = failing(OSError("disk"))
    if refused:
        q.maxsize = 1
    with pytest.raises(OSError, match="disk"):
        q.offer(odd(2))
    assert log == [(0, "expired")]
    odd.script = ()
    assert q.get() == 1


@pytest.mark.parametrize("after", range(12))
def test_a_batch_loses_nothing_by_a_comparison_that_fails(after):
    """The items that have come out are returned, and the one that could not is still the next."""
    odd = odd_ints()
    q = filled(odd)
    odd.script = failing(OSError("disk"), after)
    try:
        batch = q.get_many(8)
    except OSError:
        batch = []
    odd.script = ()
    assert batch + q.get_many(8) == list(range(8)), "in order: nothing had changed"
    assert q.statistics().gets == 8
    assert q.unfinished_tasks == 8


@pytest.mark.parametrize("after", range(3))
def test_an_interrupted_get_has_taken_nothing(after):
    """As Ctrl-C raises in a comparison. The standard library loses the item."""
    odd = odd_ints()
    q = filled(odd)
    before = list(q.queue)
    odd.script = failing(KeyboardInterrupt(), after)
    for get in q.get, q.get_nowait, lambda: q.get_many(3) if after == 0 else q.get():
        odd.script = failing(KeyboardInterrupt(), after)
        with pytest.raises(KeyboardInterrupt):
            get()
        odd.script = ()
        assert list(q.queue) == before
    assert q.get_many(9) == list(range(8))


@pytest.mark.parametrize("after", range(3))
@pytest.mark.parametrize("ttl", [None, 60.0])
def test_an_interrupted_put_has_put_nothing(after, ttl):
    odd = odd_ints()
    q = PriorityQueue(weigh=lambda item: 1, max_weight=9) if ttl else PriorityQueue()
    q.put_many([odd(item) for item in range(1, 9)])
    before = list(q.queue)
    odd.script = failing(KeyboardInterrupt(), after)
    with pytest.raises(KeyboardInterrupt):
        q.put(odd(0), ttl=ttl)
    odd.script = ()
    assert list(q.queue) == before
    assert q.unfinished_tasks == 8
    if ttl:
        assert q.statistics().weight == 8
    q.put_nowait(odd(0), ttl=ttl)
    assert q.get_many(9) == list(range(9))


@pytest.mark.parametrize("is_composed", [False, True])
@pytest.mark.parametrize("after", [0, 5, 9])
def test_an_interrupted_batch_has_taken_nothing(after, is_composed):
    """Whatever has come out goes back to its place, what has expired too."""
    odd = odd_ints()
    clock, log = ManualClock(), []
    q = PriorityQueue(on_drop=lambda *told: log.append(told), clock=clock, track_latency=is_composed)
    for item in range(8):
        q.put(odd(item * 3 % 8), ttl=1 if is_composed and item < 3 else None)  # 0, 3 and 6
    clock.advance(1)
    before = list(q.queue)
    odd.script = failing(KeyboardInterrupt(), after)
    with pytest.raises(KeyboardInterrupt):
        q.get_many(8)
    odd.script = ()
    assert list(q.queue) == before
    assert q.statistics().gets == 0
    assert log == []
    rest = [1, 2, 4, 5, 7] if is_composed else list(range(8))
    assert q.get_many(9) == rest
    assert [item for item, _ in log] == sorted(set(range(8)) - set(rest))
    if is_composed:
        assert q.statistics().latency.count == 5


@pytest.mark.thread_unsafe(reason="the interrupt is for the main thread")
def test_a_batch_of_a_subclass_that_is_interrupted_says_so():
    """What `_get` has handed out belongs to the caller; the interrupt is raised right after the call."""

    class Interrupted(Queue):
        def _get(self):
            if len(self.queue) == 2:
                raise KeyboardInterrupt
            return super()._get()

    q = Interrupted()
    q.put_many(range(5))
    with pytest.raises(KeyboardInterrupt):
        q.get_many(5)
        for _ in range(1000):
            pass
    assert q.statistics().gets == 3
    assert q.qsize() == 2


@pytest.mark.parametrize("after", range(8))
def test_the_least_urgent_stays_if_a_comparison_fails(after):
    odd = odd_ints()
    log = []
    q = filled(odd, maxsize=8, overflow="drop_lowest", on_drop=lambda *told: log.append(told))
    before = list(q.queue)
    odd.script = failing(OSError("disk"), after)
    try:
        q.put(odd(-1))
    except OSError:
        assert list(q.queue) == before
        assert log == []
        assert q.statistics().dropped_lowest == 0
        assert q.unfinished_tasks == 8
    else:
        assert log == [(7, "lowest")]
    odd.script = ()


# --- the mutex inside a comparison or a hook ---------------------------------------------------------------------------


class Hooked(Queue):
    inside = None

    def _put(self, item):
        if self.inside:
            self.inside()
        super()._put(item)


@pytest.mark.thread_unsafe(reason="a get starts a thread, which it waits for")
@pytest.mark.parametrize("kind", ["comparison", "hook"])
def test_the_mutex_taken_inside_does_not_let_others_in(kind):
    """The thread that compares, or runs a hook, is the only one at work until that has ended, whatever it does with the mutex."""
    odd = odd_ints()
    others, seen = [], []

    def inside():
        if not others:
            with q.mutex:
                q.qsize()
            others.append(spawn(q.get))
            time.sleep(0.02)  # the other thread comes in, if it can
            seen.append(others[0].done())
        yield from ()

    if kind == "hook":
        q = Hooked()
        q.put(1)
        q.inside = lambda: list(inside())
        q.put(2)
        assert others[0].result() == 1
        assert q.get() == 2
    else:
        q = filled(odd)
        odd.script = Script(inside)
        assert q.get() == 0
        assert others[0].result() == 1
        odd.script = ()
        assert q.get_many(9) == list(range(2, 8))
    assert seen == [False]


@pytest.mark.parametrize("timeout", [None, 5])
def test_nobody_can_notify_whoever_waits_inside_a_comparison(timeout):
    odd = odd_ints()
    q = filled(odd)
    told = []

    def wait():
        if not told:
            with q.mutex:
                try:
                    q.not_empty.wait(timeout)
                except RuntimeError as error:
                    told.append(str(error))
        yield from ()

    odd.script = Script(wait)
    assert q.get() == 0
    assert "from inside the same queue" in told[0]
    with q.mutex:
        assert q.get_nowait() == 1
    assert not q.mutex.locked()


# --- an interrupt is the program's -------------------------------------------------------------------------------------


def put_into_a_full_queue(callback):
    q = Queue(1, overflow="drop_oldest", on_drop=lambda item, reason: callback())
    q.put(1)
    q.put(2)
    for _ in range(1000):
        pass


def cancel_a_channel(callback):
    channel = CreditChannel(4, on_discard=lambda item, reason, error: callback())
    channel.sender.send(1)
    channel.receiver.cancel()
    for _ in range(1000):
        pass


@pytest.mark.thread_unsafe(reason="the interrupt is for the main thread")
@pytest.mark.parametrize("cause", [put_into_a_full_queue, cancel_a_channel])
def test_an_interrupt_in_a_callback_is_not_swallowed(monkeypatch, cause):
    """Ctrl-C while `on_drop` or `on_discard` runs: no exception of that function, which would go to `sys.unraisablehook`."""
    unraised = []
    monkeypatch.setattr(sys, "unraisablehook", unraised.append)

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cause(interrupted)
    assert unraised == []


# --- full, with the mutex in hand --------------------------------------------------------------------------------------


def heavy(kind):
    q = kind(weigh=lambda item: item, max_weight=4)
    q.put(4)
    return q


def one_a_key():
    q = FairQueue(key=lambda item: 0, per_key=1)
    q.put(1)
    return q


@pytest.mark.parametrize(
    "made", [lambda: heavy(Queue), lambda: heavy(LifoQueue), lambda: heavy(PriorityQueue), one_a_key], ids=["fifo", "lifo", "heap", "fair"]
)
def test_a_put_that_does_not_wait_is_refused_as_full_by_whoever_holds_the_mutex(made):
    """Also where the bound is not a number of items, and the queue has none."""
    q = made()
    with q.mutex:
        for put in (
            lambda: q.put_nowait(1),
            lambda: q.put(1, block=False),
            lambda: q.put(1, False, 5),
            lambda: q.put(1, timeout=0),
            lambda: q.put_many([1], timeout=0),
        ):
            with pytest.raises(Full):
                put()
        for put in lambda: q.put(1), lambda: q.put(1, timeout=5), lambda: q.put_many([1]):
            with pytest.raises(RuntimeError, match="while its mutex is held"):
                put()
        assert not q.offer(1)
    assert q.qsize() == 1
    assert q.statistics().waiting_putters == 0
