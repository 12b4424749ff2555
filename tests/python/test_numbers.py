"""A time may be a timedelta and a count an integer of any type; what was given is refused by name and value otherwise."""

import asyncio
import concurrent.futures
import threading
from datetime import timedelta

import pytest
from helpers import on_loops

from sluicegate import (
    AckChannel,
    Batcher,
    BoundedExecutor,
    CreditChannel,
    Empty,
    Full,
    KeyedSemaphore,
    KeyedTokenBucket,
    LeakyBucket,
    Pipeline,
    Queue,
    RateLimited,
    RateLimits,
    Semaphore,
    SlidingWindow,
    TokenBucket,
    amap_bounded,
    aprefetch,
    map_bounded,
    prefetch,
    sizing,
)
from sluicegate.io import pump
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


def test_times_of_conditions():
    """Of `q.mutex`. A negative time is over at once, as in `threading`."""
    q = Queue()
    for condition in (q.not_empty, q.not_full, q.all_tasks_done):
        with condition:
            assert condition.wait(SHORT) is False
            assert condition.wait_for(lambda: 0, SHORT) == 0
            assert condition.wait_for(lambda: 0, -1) == 0
            assert condition.wait_for(lambda: 0, -SHORT) == 0
            with pytest.raises(TypeError, match="'timeout' must be a number of seconds"):
                condition.wait_for(lambda: 0, "1")


def test_times_of_executors():
    """Of `map`, and of the futures."""
    gate = threading.Event()
    timer = threading.Timer(20, gate.set)  # if it fails
    timer.start()
    with BoundedExecutor(1, max_pending=5) as pool:
        assert list(pool.map(str, range(3), timeout=timedelta(minutes=1))) == ["0", "1", "2"]
        future = pool.submit(gate.wait)
        for call in (
            lambda: list(pool.map(str, range(3), timeout=SHORT)),
            lambda: list(pool.map(str, range(3), timeout=-SHORT)),
            lambda: list(pool.submitting().map(str, range(3), timeout=SHORT)),
            lambda: future.result(SHORT),
            lambda: future.result(timeout=-1),
            lambda: future.exception(SHORT),
        ):
            with pytest.raises(concurrent.futures.TimeoutError):
                call()
        with pytest.raises(TypeError, match="'timeout' must be a number of seconds"):
            future.result("1")
        taken = iter(range(3))
        with pytest.raises(TypeError, match="'timeout' must be a number of seconds"):
            pool.map(str, taken, timeout="1")
        assert next(taken) == 0
        gate.set()
    timer.cancel()


def test_times_of_batchers():
    """Lingering, time to live, waiting, and the futures."""
    gate = threading.Event()
    timer = threading.Timer(20, gate.set)  # if it fails
    timer.start()
    batcher = Batcher(lambda items: [gate.wait() for _ in items], linger=timedelta(), ttl=timedelta(minutes=1))
    future = batcher.submit(1)
    for call in (
        lambda: future.result(SHORT),
        lambda: future.exception(SHORT),
        lambda: batcher.call(2, timeout=SHORT),
        lambda: batcher.drain(SHORT),
        lambda: batcher.close(SHORT),
    ):
        with pytest.raises((TimeoutError, concurrent.futures.TimeoutError)):  # two classes before 3.11
            call()
    gate.set()
    assert future.result(timedelta(minutes=1)) is True
    batcher.close()
    timer.cancel()


def test_times_of_subscriptions():
    channel = CreditChannel(1)
    subscription = channel.receiver.subscribe(str)
    with pytest.raises(TimeoutError):
        subscription.join(SHORT)
    subscription.cancel()


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


def doubled(items):
    return [2 * item for item in items]


def test_counts_of_what_is_written_in_python():
    """Workers, buffers, places, chunks and batches: any integer, also where two of them are added."""
    one, two, five = Number(1), Number(2), Number(5)
    with map_bounded(str, range(9), workers=two, buffer=five) as results:
        assert "".join(results) == "012345678"
    with prefetch(range(9), two) as items:
        assert list(items) == list(range(9))
    with BoundedExecutor(two, max_pending=five) as pool:
        assert pool.statistics().max_workers == 2
        assert "of 5 pending" in repr(pool)
        assert "".join(pool.map(str, range(9), chunksize=two, buffersize=five)) == "012345678"
    with Batcher(doubled, max=two, max_pending=five, workers=one) as batcher:
        assert batcher.call(3) == 6
        assert "max_pending=5 max=2" in repr(batcher)
    assert sizing.mm1k(1, 2, five) == sizing.mm1k(1, 2, 5)


@on_loops
async def test_counts_of_what_is_written_in_python_for_tasks():
    async def text(item):
        return str(item)

    async with amap_bounded(text, range(5), workers=Number(2), buffer=Number(1)) as results:
        assert [result async for result in results] == list("01234")
    async with aprefetch(range(5), Number(2)) as items:
        assert [item async for item in items] == list(range(5))
    reader = asyncio.StreamReader()
    reader.feed_data(b"12345")
    reader.feed_eof()
    channel = CreditChannel(5)
    await pump(reader, channel.sender, chunk_size=Number(2))
    assert list(channel.receiver) == [b"12", b"34", b"5"]


@pytest.mark.parametrize("bad", [Number(-1), True, 1.5, "1", timedelta(1)])
def test_counts_that_are_none_for_what_is_written_in_python(bad):
    """All are refused in one way, that of `Semaphore`, except that the executor begins with CPython's sentence where there is one."""
    cpythons = {
        ("max_workers", ValueError): "max_workers must be greater than 0",
        ("buffersize", ValueError): "buffersize must be None or > 0",
        ("buffersize", TypeError): "buffersize must be an integer or None",
        ("chunksize", ValueError): "chunksize must be >= 1",
    }
    with pytest.raises((ValueError, TypeError)) as told:
        Semaphore(1).acquire(n=bad)
    reason, _, value = str(told.value).partition("'n'")[2].partition(", not ")
    for name, call in {
        "workers": lambda: map_bounded(str, (), workers=bad),
        "n": lambda: prefetch((), bad),
        "max_workers": lambda: BoundedExecutor(bad, max_pending=1),
        "buffersize": lambda: pool.map(str, (), buffersize=bad),
        "chunksize": lambda: pool.map(str, (), chunksize=bad),
        "max": lambda: Batcher(doubled, max=bad),
        "k": lambda: sizing.mm1k(1, 2, bad),
    }.items():
        with BoundedExecutor(1, max_pending=1) as pool, pytest.raises(told.type) as refused:
            call()
        assert str(refused.value) == cpythons.get((name, told.type), f"'{name}'{reason}") + f", not {value}"


@pytest.mark.parametrize(
    "call",
    [
        lambda n: CreditChannel(n),
        lambda n: TokenBucket(1, burst=n),
        lambda n: AckChannel(1, ack_wait=n),
        lambda n: ManualClock().advance(n),
        lambda n: Queue(1).put_many([1], timeout=n),
        lambda n: Pipeline([]).batch(n),
    ],
)
def test_a_long_number_is_not_written_out(call):
    """Its beginning and the number of its digits are."""
    with pytest.raises((OverflowError, ValueError), match=r"10000000000000000000\.\.\. \(401 digits\)") as refused:
        call(10**400)
    assert len(str(refused.value)) < 150


def test_the_sign_of_a_long_number():
    with pytest.raises(ValueError, match=r"-98765432109876543210\.\.\. \(50 digits\)"):
        Pipeline([]).batch(-int("9876543210" * 5))
    with pytest.raises((OverflowError, ValueError), match=r"-98765432109876543210\.\.\. \(50 digits\)"):
        ManualClock().advance(-int("9876543210" * 5))
