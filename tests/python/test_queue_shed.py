"""Rules that drop what has waited too long: `CoDel` against RFC 8289's algorithm, `AdaptiveLifo`, and twice as much as can be served."""

from __future__ import annotations

import itertools
import math
import pickle
import random
from collections import deque
from datetime import timedelta

import pytest

from sluicegate import AdaptiveLifo, CoalescingQueue, CoDel, Empty, LifoQueue, PriorityQueue, Queue
from sluicegate.testing import ManualClock

MS = 1_000_000


class Log(list):
    """What `on_drop` was told."""

    def __call__(self, item, reason):
        self.append((item, reason))


class Rfc8289:
    """The pseudocode of RFC 8289, section 5, word for word, with times in nanoseconds and a largest packet of one item."""

    def __init__(self, target, interval):
        self.TARGET, self.INTERVAL = target, interval
        self.first_above_time = self.drop_next = self.count = self.lastcount = 0
        self.dropping = False
        self.queue = deque()
        self.drops = []

    def enqueue(self, item, now):
        self.queue.append((item, now))

    def control_law(self, t, count):
        return t + int(self.INTERVAL / math.sqrt(count))

    def dodequeue(self, now):
        if not self.queue:
            self.first_above_time = 0
            return None, False
        item, tstamp = self.queue.popleft()
        ok_to_drop = False
        sojourn_time = now - tstamp
        if sojourn_time < self.TARGET or len(self.queue) < 1:
            self.first_above_time = 0
        elif self.first_above_time == 0:
            self.first_above_time = now + self.INTERVAL
        elif now >= self.first_above_time:
            ok_to_drop = True
        return item, ok_to_drop

    def drop(self, item, now):
        self.drops.append((now, item))

    def dequeue(self, now):
        item, ok_to_drop = self.dodequeue(now)
        if self.dropping:
            if not ok_to_drop:
                self.dropping = False
            while now >= self.drop_next and self.dropping:
                self.drop(item, now)
                self.count += 1
                item, ok_to_drop = self.dodequeue(now)
                if not ok_to_drop:
                    self.dropping = False
                else:
                    self.drop_next = self.control_law(self.drop_next, self.count)
        elif ok_to_drop:
            self.drop(item, now)
            item, ok_to_drop = self.dodequeue(now)
            self.dropping = True
            delta = self.count - self.lastcount
            self.count = 1
            if delta > 1 and now - self.drop_next < 16 * self.INTERVAL:
                self.count = delta
            self.drop_next = self.control_law(now, self.count)
            self.lastcount = self.count
        return item


def both(target=5 * MS, interval=100 * MS):
    clock, log = ManualClock(start=1000.0), Log()
    rule = CoDel(timedelta(microseconds=target // 1000), interval / 1e9)
    return Queue(shed=rule, on_drop=log, clock=clock), clock, log, Rfc8289(target, interval)


def test_a_standing_queue_is_dropped_from_at_the_times_of_the_rfc():
    """Twice as much comes as is taken, for ten seconds: every drop, and its time, is the RFC's."""
    q, clock, log, rfc = both()
    now, times = 1_000_000_000_000, []
    for number in range(5000):
        for half in (0, 1):
            q.put((number, half))
            rfc.enqueue((number, half), now)
        clock.advance(0.002)
        now += 2 * MS
        before = len(log)
        assert q.get() == rfc.dequeue(now)
        times += [(now, item) for item, _ in log[before:]]
    assert times == rfc.drops
    assert len(times) > 500
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(times)]
    assert gaps[0] == 100 * MS
    assert 70 * MS <= gaps[1] <= 73 * MS
    assert q.statistics().dropped_shed == len(times)
    assert all(reason == "shed" for _, reason in log)


@pytest.mark.parametrize("seed", range(8))
def test_any_history_is_that_of_the_rfc(seed):
    """Bursts, pauses and idle times: among them a second episode soon after the first, which takes up its rate."""
    dice = random.Random(seed)
    q, clock, log, rfc = both(dice.choice([1, 5, 20]) * MS, dice.choice([20, 100]) * MS)
    now, item, times, resumed = 1_000_000_000_000, 0, [], 0
    for _ in range(4000):
        for _ in range(dice.choice([0, 0, 1, 1, 2, 3] if dice.random() < 0.97 else [40])):
            q.put(item)
            rfc.enqueue(item, now)
            item += 1
        step = dice.choice([1, 2, 3, 7]) * MS // dice.choice([1, 2])
        clock.advance(step / 1e9)
        now += step
        before, dropping = len(log), rfc.dropping
        expected = rfc.dequeue(now)
        resumed += rfc.dropping and not dropping and rfc.count > 1
        if expected is None:
            with pytest.raises(Empty):
                q.get_nowait()
        else:
            assert q.get_nowait() == expected
        times += [(now, item) for item, _ in log[before:]]
    assert times == rfc.drops
    assert q.unfinished_tasks == 0 or q.unfinished_tasks + len(times) <= item


def test_the_last_item_is_never_dropped():
    q, clock, log, _ = both()
    for _ in range(50):
        q.put(1)
        clock.advance(1)
        assert q.get() == 1
    assert log == []


# --- adaptive LIFO ------------------------------------------------------------------------------------------------


def test_newest_first_while_the_queue_stands():
    clock, log = ManualClock(), Log()
    q = Queue(shed=AdaptiveLifo(), on_drop=log, clock=clock)
    for number in range(3):
        q.put(number)
    assert q.get() == 0, "in order at first"
    clock.advance(0.05)
    q.put(3)
    clock.advance(0.0505)  # not empty for 100.5 ms: the queue stands, and the first items have waited too long
    q.put(4)
    q.put(5)
    assert q.get() == 5
    assert log == [(1, "shed"), (2, "shed")]
    assert q.get() == 4
    assert q.get() == 3, "its patience is that of its arrival"
    q.put(6)
    q.put(7)
    assert q.get() == 6, "it was empty a moment ago"


def test_patience_is_short_while_the_queue_stands():
    clock, log = ManualClock(), Log()
    q = Queue(shed=AdaptiveLifo(target=0.01, interval=0.2), on_drop=log, clock=clock)
    q.put("old")
    clock.advance(0.15)
    q.put("later")
    clock.advance(0.051)
    q.put("late")
    clock.advance(0.01)
    q.put("new", ttl=0.005)
    assert q.get() == "new"
    assert q.get() == "later"
    assert log == [("old", "shed"), ("late", "shed")]


# --- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [CoDel, AdaptiveLifo])
def test_rules_are_values(rule):
    assert rule() == rule(0.005, interval=0.1) != rule(0.006)
    assert hash(rule()) == hash(rule(0.005))
    assert repr(rule()) == f"{rule.__name__}(target=0.005, interval=0.1)"
    assert (rule(timedelta(seconds=1), 1).target, rule().interval) == (1.0, 0.1)
    assert pickle.loads(pickle.dumps(rule(0.01))) == rule(0.01)
    for bad, error in ((0, ValueError), (-1, ValueError), (math.nan, ValueError), ("1", TypeError)):
        with pytest.raises(error, match="target"):
            rule(bad)
    with pytest.raises(ValueError, match=r"'target' must not be greater than 'interval': 0\.1 is greater than 0\.005"):
        rule(0.1, 0.005)  # swapped


def test_where_a_rule_cannot_be():
    for kind in (LifoQueue, PriorityQueue):
        with pytest.raises(ValueError, match=r"'shed' cannot be CoDel\(.*order of arrival"):
            kind(shed=CoDel())
    with pytest.raises(TypeError, match="'shed' must be a CoDel or an AdaptiveLifo, not 3"):
        Queue(shed=3)
    with pytest.raises(TypeError):
        CoalescingQueue(key=len, shed=CoDel())

    class Hooked(Queue):
        def _put(self, item):
            self.queue.append(item)

    with pytest.raises(TypeError, match="'shed' is not available"):
        Hooked(shed=CoDel())


# --- twice as much as can be served -------------------------------------------------------------------------------

DEADLINE, SERVICE, SECONDS = 0.1, 0.001, 10


def goodput(make, *, ttl=None, reacts=False, senders=40, more=0.2, load=2.0, service=SERVICE, seed=1):
    """The share of the server's time that went into answers that came in time. One server, Poisson arrivals, `seconds` of virtual time.

    With `reacts`, each of 40 senders halves its rate when an item of its is dropped, and sends a little faster with every item.
    """
    dice = random.Random(seed)
    clock = ManualClock()
    shed, good = [], 0
    q = make(clock, lambda item, reason: shed.append(item))
    rate, now, busy_until = load / service, 0.0, 0.0
    rates = [rate / senders] * senders
    arrivals = sorted((dice.expovariate(rates[sender]), sender) for sender in range(senders))

    def move(to):
        clock.advance(max(0.0, to - clock.now()))

    import heapq

    heapq.heapify(arrivals)
    while True:
        at, sender = arrivals[0]
        if at > SECONDS:
            break
        while busy_until <= at:
            move(busy_until)
            try:
                sent, _ = q.get_nowait()
            except Empty:
                busy_until = at
                break
            busy_until += service
            good += busy_until - sent <= DEADLINE
        move(at)
        if busy_until < at:
            busy_until = at
        q.offer((at, sender), ttl=ttl)
        if reacts:
            for _, lost in shed:
                rates[lost] = max(rates[lost] / 2, 1.0)
            rates[sender] = min(rates[sender] + more, rate / senders)
            shed.clear()
        heapq.heapreplace(arrivals, (at + dice.expovariate(rates[sender]), sender))
        now = at
    return good * service / now


def long(**settings):
    return lambda clock, on_drop: Queue(int(SECONDS / SERVICE), clock=clock, on_drop=on_drop, **settings)


def test_a_plain_queue_with_much_room_serves_nobody_in_time():
    assert goodput(long()) < 0.10


def test_a_short_queue_serves_nearly_all_in_time():
    def short(clock, on_drop):
        return Queue(int(0.09 / SERVICE), overflow="drop_newest", clock=clock, on_drop=on_drop)

    assert goodput(short) > 0.90


def test_a_ttl_serves_nearly_all_in_time():
    assert goodput(long(), ttl=DEADLINE - SERVICE) > 0.90


def test_adaptive_lifo_serves_nearly_all_in_time():
    assert goodput(long(shed=AdaptiveLifo())) > 0.90


def test_codel_fails_where_senders_do_not_react():
    """The rate of its drops grows with the square root of time only. (The slower the service, the sooner that is enough.)"""
    assert 0.35 < goodput(long(shed=CoDel()), service=0.02) < 0.60
    assert goodput(long(shed=CoDel())) < 0.10


def test_codel_works_where_senders_react():
    assert goodput(long(), reacts=True, senders=8, more=2.0) < 0.10
    assert goodput(long(shed=CoDel()), reacts=True, senders=8, more=2.0) > 0.70


def test_adaptive_lifo_with_its_times_swapped():
    with pytest.raises(ValueError, match="'target' must not be greater than 'interval': 1.0 is greater than 0.1"):
        AdaptiveLifo(1, 0.1)
    with pytest.raises(ValueError, match=r"0\.2 is greater than 0\.1"):
        AdaptiveLifo(0.2)
    assert AdaptiveLifo(0.1, 0.1).target == 0.1


def test_peek_shows_the_oldest_while_the_newest_leaves_first():
    """What the docstring says."""
    clock = ManualClock()
    q = Queue(shed=AdaptiveLifo(1, 1.5), clock=clock)
    for n in range(4):
        q.put(n)
        clock.advance(0.7 if n < 3 else 0)
    assert (q.peek(), q.get()) == (0, 3)
