"""A time may be a timedelta and a count an integer of any type; what was given is refused by name and value otherwise."""

from datetime import timedelta

import pytest

from sluicegate import (
    AckChannel,
    CreditChannel,
    Empty,
    Full,
    KeyedSemaphore,
    KeyedTokenBucket,
    LeakyBucket,
    Queue,
    RateLimited,
    RateLimits,
    Semaphore,
    SlidingWindow,
    TokenBucket,
)
from sluicegate.testing import ManualClock


class Number:
    """As NumPy's integers are: no int, but an index."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value

    def __repr__(self):
        return f"Number({self.value})"

    def __lt__(self, other):
        return self.value < other

    def __gt__(self, other):
        return self.value > other


SHORT = timedelta(milliseconds=1)


def test_times_of_queues():
    """Timeouts, lingering, joining."""
    q = Queue(1)
    for call in (lambda: q.get(timeout=SHORT), lambda: q.get_many(2, timeout=SHORT, linger=SHORT)):
        with pytest.raises(Empty, match=r"timeout=0\.001"):
            call()
    with pytest.raises(Empty, match="without waiting"):
        q.get(timeout=timedelta())
    q.put(1)
    for call in (lambda: q.put(2, timeout=SHORT), lambda: q.put_many([2, 3], timeout=SHORT)):
        with pytest.raises(Full):
            call()
    with pytest.raises(TimeoutError):
        q.join(timeout=SHORT)


def test_times_of_limiters():
    """Periods, pauses, waits."""
    clock = ManualClock(timedelta(seconds=1))
    assert clock.now() == 1.0
    bucket = TokenBucket(60, burst=1, period=timedelta(minutes=1), clock=clock)
    assert (bucket.period, bucket.try_acquire(), bucket.retry_after()) == (60.0, True, 1.0)
    window = SlidingWindow(1, timedelta(hours=1), clock=clock)
    assert window.period == 3600.0
    assert LeakyBucket(1, capacity=1, period=timedelta(seconds=2)).period == 2.0
    assert KeyedTokenBucket(1, burst=1, max_keys=5, period=timedelta(days=1)).period == 86400.0
    with pytest.raises(RateLimited):
        bucket.acquire(timeout=timedelta(seconds=0.5))
    with pytest.raises(RateLimited):
        bucket.reserve(max_wait=timedelta(seconds=0.5))
    bucket.pause_for(timedelta(seconds=10))
    assert bucket.retry_after() == 10.0
    clock.advance(timedelta(seconds=10))
    assert bucket.acquire(timeout=timedelta(seconds=0.5))
    limits = RateLimits(one=window)
    limits.pause_for(timedelta(seconds=5))
    with pytest.raises(RateLimited):
        limits.acquire(timeout=timedelta(seconds=1))


def test_times_of_semaphores_and_channels():
    """Timeouts and times to live."""
    assert not Semaphore(0).acquire(timeout=SHORT)
    channel = CreditChannel(1)
    channel.sender.send(1)
    with pytest.raises(Full):
        channel.sender.send(2, timeout=SHORT)
    acked = AckChannel(1, ack_wait=timedelta(minutes=1))
    with pytest.raises(Empty):
        acked.receiver.receive(timeout=SHORT)
    leased = CreditChannel(0, buffer=Number(5))
    assert leased.receiver.credit.lease(1, timedelta(seconds=1))


def test_counts_of_other_types():
    """Bounds, numbers of items, tokens, permits, windows, weights."""
    one, two, five = Number(1), Number(2), Number(5)
    q = Queue()
    q.put_many([1, 2, 3])
    assert q.get_many(two) == [1, 2]
    with q.producers(one):
        pass
    bucket = TokenBucket(five, burst=five)
    assert bucket.try_acquire(two) and bucket.tokens < 3.5 and bucket.burst == 5.0
    bucket.refund(two)
    bucket.debit(one)
    bucket.reserve(one).cancel()
    assert LeakyBucket(five, capacity=two).capacity == 2
    assert SlidingWindow(five, 1).limit == 5.0
    keyed = KeyedTokenBucket(1, burst=two, max_keys=five)
    assert keyed.key("a").try_acquire(two)
    semaphore = Semaphore(5)
    assert semaphore.try_acquire(two) and semaphore.statistics().value == 3
    assert KeyedSemaphore(1, max_keys=five).try_acquire("a")
    channel = CreditChannel(five, weigh=lambda item: Number(item))
    channel.sender.send(3)
    assert channel.receiver.statistics().outstanding == 3
    by_hand = CreditChannel(0, buffer=Number(5))
    by_hand.receiver.credit.request(two)
    assert by_hand.receiver.statistics().credit == 2


@pytest.mark.parametrize("bad", [-SHORT, timedelta.max, True, "soon", None])
def test_times_that_are_none(bad):
    """Refused by name and value, with nothing changed."""
    bucket = TokenBucket(1, burst=1)
    with pytest.raises((ValueError, TypeError, OverflowError), match="'seconds'") as told:
        bucket.pause_for(bad)
    assert repr(bad) in str(told.value) or str(bad) in str(told.value)
    assert bucket.retry_after() == 0


@pytest.mark.parametrize("bad", [Number(0), Number(-1), True, 1.5, "1", timedelta(1)])
def test_counts_that_are_none(bad):
    """The same for counts: a timedelta is none."""
    q = Queue()
    q.put(1)
    with pytest.raises((ValueError, TypeError), match="'max'"):
        q.get_many(bad)
    assert q.qsize() == 1
