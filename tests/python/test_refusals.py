"""What a refusal costs others, and what it tells: it keeps the GIL, and its text is made when somebody reads it."""

import copy
import pickle
import sys
import threading
from functools import partial
from random import Random

import pytest
from helpers import run_script, spawn, wait_until

from sluicegate import (
    AckChannel,
    CircuitBreaker,
    CircuitOpen,
    CreditChannel,
    Empty,
    FairQueue,
    Full,
    KeyedLeakyBucket,
    KeyedSemaphore,
    KeyedSlidingWindow,
    KeyedTokenBucket,
    LeakyBucket,
    LifoQueue,
    Overloaded,
    PriorityQueue,
    Queue,
    RateLimited,
    RateLimits,
    Refused,
    Semaphore,
    SimpleQueue,
    SlidingWindow,
    TokenBucket,
    ZeroRate,
)
from sluicegate.testing import ManualClock

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

#: Calls that are refused, by name: an expression that makes the call. The objects are in `OBJECTS`.
OBJECTS = """
import logging
from sluicegate import *

logging.getLogger("sluicegate").addHandler(logging.NullHandler())  # a breaker that is opened writes a line

empty, full, heap, stack, simple = Queue(1), Queue(1), PriorityQueue(1), LifoQueue(1), SimpleQueue()
full.put(1)
class Hooked(Queue):
    def _put(self, item):
        super()._put(item)
hooked = Hooked(1)
hooked.put(1)
bucket, window, limits = TokenBucket(1e-9, burst=1), SlidingWindow(1, 1e9), RateLimits(one=TokenBucket(1e-9, burst=1))
hourly, leaky, shut = TokenBucket(1, burst=1, period=3600), LeakyBucket(1, capacity=1, period=3600), ZeroRate()
class Subclass(TokenBucket): ...
named, limited = Subclass(1e-9, burst=1), TokenBucket(1e-9, burst=1, name="api")
by_key = KeyedTokenBucket(1e-9, burst=1, max_keys=10).key("a")
keyed_bucket, keyed_leaky = KeyedTokenBucket(1e-9, burst=1, max_keys=1), KeyedLeakyBucket(1e-9, capacity=3, max_keys=10)
keyed_window, several = KeyedSlidingWindow(1, 1e9, max_keys=10), RateLimits(one=TokenBucket(1e-9, burst=1), two=SlidingWindow(1, 1e9))
for keyed_limiter in (keyed_bucket, keyed_leaky, keyed_window):
    keyed_limiter.acquire("a")
several.acquire()
heap.put(1)
bare_heap, merging, fair = PriorityQueue(), CoalescingQueue(1, key=str), FairQueue(1)
fair.put(1, key="a")
empty_named, fair_named = Queue(1, name="jobs"), FairQueue(5, per_key=1, name="tenants")
fair_named.put(1, key="a")
merged, weighed = CoalescingQueue(1, key=str), Queue(weigh=len, max_weight=1)
merged.put(1)
weighed.put("x")
latest, broadcast = Latest(), Broadcast()
subscriber, blocking = broadcast.subscribe(1), Broadcast()
kept = blocking.subscribe(1, overflow="block")
blocking.publish(1)
for limiter in (bucket, window, hourly, leaky, named, limited, by_key):
    limiter.acquire()
limits.acquire(one=1)
semaphore, keyed = Semaphore(0), KeyedSemaphore(1, max_keys=10)
breaker, breakers, adaptive = CircuitBreaker(), KeyedBreaker(max_keys=10), AdaptiveConcurrency(target=1, initial=1, max=1)
breaker.force_open()
breakers.force_open("a")
call = adaptive.permit()
call.acquire()
keyed.acquire("a")
unread, unsent = CreditChannel(1), CreditChannel(1)
unread.sender.send(1)
acked, to_ack = AckChannel(1), AckChannel(1)
sender, receiver = unread.sender, unsent.receiver
to_send = unsent.sender
acked_sender, acked_receiver = acked.sender, to_ack.receiver
to_ack_sender = to_ack.sender
acked_sender.send(1)
"""
REFUSED = {
    "get_nowait": "empty.get_nowait()",
    "get_nowait, heap": "bare_heap.get_nowait()",
    "get, heap, timeout=0": "bare_heap.get(timeout=0)",
    "get_nowait, merging": "merging.get_nowait()",
    "get_nowait, stack": "stack.get_nowait()",
    "get_nowait, simple": "simple.get_nowait()",
    "get, block=False": "empty.get(block=False)",
    "get, timeout=0": "empty.get(timeout=0)",
    "get_many, timeout=0": "empty.get_many(3, timeout=0)",
    "peek": "empty.peek()",
    "put_nowait": "full.put_nowait(2)",
    "put_nowait, heap": "heap.put_nowait(2)",
    "put_nowait, fair": "fair.put_nowait(2, key='a')",
    "put_nowait, fair, named": "fair_named.put_nowait(2, key='a')",
    "get_nowait, named": "empty_named.get_nowait()",
    "put_nowait, hooks": "hooked.put_nowait(2)",
    "put, timeout=0": "full.put(2, timeout=0)",
    "put_many, timeout=0": "full.put_many([2, 3], timeout=0)",
    "put_nowait, merging, put": "merged.put_nowait(2)",
    "put_nowait, weight": "weighed.put_nowait('y')",
    "get, latest": "latest.get(timeout=0)",
    "get_nowait, latest": "latest.get_nowait()",
    "peek, latest": "latest.peek()",
    "changed, latest": "latest.changed(3, timeout=0)",
    "get_nowait, subscriber": "subscriber.get_nowait()",
    "get, subscriber": "subscriber.get(timeout=0)",
    "publish_nowait": "blocking.publish_nowait(2)",
    "acquire, bucket": "bucket.acquire(timeout=0)",
    "acquire, bucket, n": "bucket.acquire(1, timeout=0.0)",
    "acquire, named bucket, n": "limited.acquire(n=1.0, timeout=0.0)",
    "acquire, bucket, fast path": "hourly.acquire(timeout=0)",
    "acquire, leaky bucket": "leaky.acquire(timeout=0)",
    "acquire, window": "window.acquire(timeout=0)",
    "acquire, zero rate": "shut.acquire(timeout=0)",
    "acquire, subclass": "named.acquire(timeout=0)",
    "acquire, key": "by_key.acquire(timeout=0)",
    "acquire, bucket, timeout": "bucket.acquire(timeout=5)",
    "acquire, window, timeout": "window.acquire(timeout=5)",
    "acquire, leaky bucket, timeout": "leaky.acquire(2, timeout=5)",
    "acquire, key, timeout": "by_key.acquire(timeout=5)",
    "acquire, set": "limits.acquire(one=1, timeout=0)",
    "acquire, set, timeout": "several.acquire(timeout=5)",
    "acquire, set by name": "several.acquire(one=1, two=1, timeout=0)",
    "acquire, keyed bucket": "keyed_bucket.acquire('a', timeout=0)",
    "acquire, keyed leaky bucket": "keyed_leaky.acquire('a', 1, timeout=5)",
    "acquire, keyed window": "keyed_window.acquire('a', timeout=0)",
    "acquire, no place for a key": "keyed_bucket.acquire('b', timeout=0)",
    "try_acquire, no place for a key": "keyed_bucket.try_acquire('b')",
    "acquire, zero rate, timeout": "shut.acquire(timeout=5)",
    "reserve": "bucket.reserve(max_wait=0)",
    "reserve, window": "window.reserve(max_wait=0)",
    "reserve, key": "by_key.reserve(max_wait=0)",
    "reserve, set": "several.reserve(max_wait=0)",
    "permit, bucket": "bucket.permit(timeout=0).__enter__()",
    "permit, window": "window.permit(timeout=0).__enter__()",
    "permit, subclass": "named.permit(timeout=0).__enter__()",
    "permit, keyed bucket": "keyed_bucket.permit('a', timeout=0).__enter__()",
    "permit, keyed window": "keyed_window.permit('a', timeout=0).__enter__()",
    "permit, keyed leaky bucket": "keyed_leaky.permit('a', timeout=0).__enter__()",
    "permit, no place for a key": "keyed_bucket.permit('b', timeout=0).__enter__()",
    "permit, set": "several.permit(timeout=0).__enter__()",
    "permit, set by name": "several.permit(one=1, two=1, timeout=0).__enter__()",
    "permit, breaker": "breaker.permit().__enter__()",
    "permit, keyed breaker": "breakers.permit('a').__enter__()",
    "permit, adaptive": "adaptive.permit().__enter__()",
    "permit, semaphore": "semaphore.permit(timeout=0).__enter__()",
    "permit, keyed semaphore": "keyed.permit('a', timeout=0).__enter__()",
    "send_nowait": "sender.send_nowait(1)",
    "send, timeout=0": "sender.send(1, timeout=0)",
    "send_many, timeout=0": "sender.send_many([1, 2], timeout=0)",
    "receive_nowait": "receiver.receive_nowait()",
    "receive, timeout=0": "receiver.receive(timeout=0)",
    "receive_many, timeout=0": "receiver.receive_many(2, timeout=0)",
    "send_nowait, AckChannel": "acked_sender.send_nowait(1)",
    "receive_nowait, AckChannel": "acked_receiver.receive_nowait()",
}


@pytest.mark.skipif(not HAS_GIL, reason="there is no GIL to give up")
def test_a_refusal_keeps_the_gil():
    """Another thread that is ready to run does not run, however often a call is refused."""
    calls = ",\n".join(f"    {name!r}: lambda: {call}" for name, call in REFUSED.items())
    run_script(
        OBJECTS
        + f"""
import os, threading, time

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:1]))  # whoever gives up the GIL gives it to the other thread

def refused(call):
    try:
        call()
    except Exception:
        return
    raise AssertionError("not refused")

def keeps_the_gil(call):
    gate, ran = threading.Lock(), []

    def other():
        with gate:
            ran.append(True)

    refused(call)  # what is made at the first refusal is made now
    gate.acquire()
    thread = threading.Thread(target=other)
    thread.start()
    time.sleep(0.02)
    sys.setswitchinterval(1000)
    gate.release()  # the thread is ready from now on, and waits for the GIL
    until = time.perf_counter() + 0.02
    while time.perf_counter() < until:
        pass
    assert not ran
    for _ in range(100):
        refused(call)
    kept = not ran
    sys.setswitchinterval(0.005)
    thread.join()
    assert ran
    return kept

calls = {{
{calls}
}}
gave_up = [name for name, call in calls.items() if not keeps_the_gil(call)]
assert not gave_up, gave_up
"""
    )


def refusals():
    """One exception of each kind, as the package raises them."""
    calls = {
        "empty": lambda: Queue(2, name="jobs").get_nowait(),
        "empty, no bound": lambda: SimpleQueue().get_nowait(),
        "full": lambda: full.put(2, timeout=0.001),
        "limiter": lambda: bucket.acquire(timeout=0),
        "limiter, wait known": lambda: bucket.acquire(timeout=0.001),
        "window": lambda: window.acquire(timeout=0),
        "zero": lambda: ZeroRate(name="none").acquire(2.5, timeout=0),
        "set": lambda: limits.acquire(one=1, timeout=0),
        "semaphore": lambda: Semaphore(0, name="db").permit(timeout=0).__enter__(),
        "semaphore, n": lambda: pair.permit(2, timeout=0.001).__enter__(),
        "key": lambda: hosts.permit("a", timeout=0).__enter__(),
        "key, by its handle": lambda: hosts.key("a").permit(timeout=0).__enter__(),
        "credit": lambda: channel.sender.send_nowait(1),
        "item": lambda: lines.receiver.receive_nowait(),
    }
    full, bucket, limits = Queue(1, name="{braces}"), TokenBucket(1, burst=1, name="api"), RateLimits(one=SlidingWindow(1, 60))
    full.put(1)
    window = SlidingWindow(1, 60, name="minute")
    bucket.acquire()
    window.acquire()
    pair, hosts = Semaphore(2, name="db"), KeyedSemaphore(1, max_keys=1, name="hosts")
    pair.acquire()
    hosts.acquire("a")
    limits.acquire(one=1)
    channel, lines = CreditChannel(1), CreditChannel(3, name="lines")
    kept = channel.sender, lines.sender
    kept[0].send(1)
    for name, call in calls.items():
        with pytest.raises((Empty, Full, Refused)) as caught:
            call()
        yield name, caught.value


def test_copies_say_the_same():
    """A refusal can be pickled, copied, and made again from its arguments."""
    for name, error in refusals():
        for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), type(error)(*error.args)):
            assert str(other) == str(error), name
            assert repr(other) == repr(error), name
            assert vars(other) == vars(error), name
            for attribute in ("name", "retry_after", "reason"):
                assert getattr(other, attribute, None) == getattr(error, attribute, None), name


@pytest.mark.parametrize("name", REFUSED)
def test_every_refusal_can_be_copied(name, refused_objects):
    """Whatever refuses, and whatever was asked: pickled, copied, and made again from its arguments, it is the same and says the same."""
    with pytest.raises((Empty, Full, Refused)) as caught:
        eval(REFUSED[name], refused_objects)
    error = caught.value
    text = str(error)
    assert text and "{" not in text and text in repr(error) and repr(error).startswith(type(error).__name__ + "(")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        check_copy(pickle.loads(pickle.dumps(error, protocol)), error)
    for other in (copy.copy(error), copy.deepcopy(error), type(error)(*error.args)):
        check_copy(other, error)


def check_copy(other, error):
    assert type(other) is type(error) and other is not error
    assert (other.args, str(other), repr(other), vars(other)) == (error.args, str(error), repr(error), vars(error))
    for attribute in ("name", "retry_after", "reason", "state", "accepted"):
        assert getattr(other, attribute, None) == getattr(error, attribute, None), attribute


@pytest.fixture(scope="module")
def refused_objects():
    names = {}
    exec(OBJECTS, names)
    yield names
    names["call"].ignore()  # a permit that is held


def test_texts():
    """A refusal says what was asked, of which object, and what that object has."""
    texts = {name: str(error) for name, error in refusals()}
    assert texts["empty"] == "get without waiting: the queue 'jobs' holds 0 of 2 items"
    assert texts["empty, no bound"] == "get without waiting: the queue holds 0 items and has no bound"
    assert texts["full"] == "put with timeout=0.001: the queue '{braces}' holds 1 of 1 items"
    assert texts["limiter"].startswith("TokenBucket 'api' cannot admit the request (n=1) in time; retry after 0.")
    assert texts["limiter, wait known"].startswith("TokenBucket 'api' cannot admit the request (n=1) in time; retry after 0.")
    assert texts["window"].startswith("SlidingWindow 'minute' cannot admit the request (n=1) in time; retry after 59.")
    assert texts["zero"] == "ZeroRate 'none' cannot admit the request (n=2.5) in time; retry after inf seconds"
    assert texts["item"].startswith("receive without waiting: the channel 'lines' has 3 credit left, 0 items buffered")
    assert texts["set"].startswith("RateLimits cannot admit the request in time because of its limit 'one'; retry after 59.")
    assert texts["semaphore"] == "the request (n=1) was not granted without waiting: Semaphore 'db' had too few free permits"
    assert texts["semaphore, n"] == "the request (n=2) was not granted within 0.001 seconds: Semaphore 'db' had too few free permits"
    free = "the request (n=1) was not granted without waiting: key 'a' of KeyedSemaphore 'hosts' had too few free permits"
    assert texts["key"] == texts["key, by its handle"] == free
    assert "send without waiting: the channel has 0 credit left, 1 items buffered" in texts["credit"]


def test_a_subclass_has_the_name_that_it_defines():
    """What a subclass has as `name` is what its refusals tell, whenever it has been defined."""

    class Shouting(TokenBucket):
        @property
        def name(self):
            return "SHOUTED"

    class Plain(TokenBucket): ...

    shouting, plain = Shouting(1, burst=1, name="quiet"), Plain(1, burst=1, name="quiet")
    for bucket in (shouting, plain):
        bucket.acquire()
    for bucket, name in ((shouting, "SHOUTED"), (plain, "quiet")):
        for error in (
            raised(RateLimited, partial(bucket.acquire, timeout=0)),
            raised(RateLimited, bucket.permit(timeout=0).__enter__),
        ):
            assert error.name == name
            assert str(error).startswith(f"{type(bucket).__name__} {name!r} cannot admit")
    Plain.name = "later"
    assert raised(RateLimited, lambda: plain.acquire(timeout=0)).name == "later"
    del Plain.name
    assert raised(RateLimited, lambda: plain.acquire(timeout=0)).name == "quiet"


def test_a_key_that_is_refused_needs_no_limiter():
    """Entering a permit of a key raises what the key's limiter would raise, whether there is one or not."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=2, max_keys=2, clock=clock, name="users")
    keyed.acquire("a", 2)
    light = raised(RateLimited, lambda: keyed.permit("a", timeout=0.5).__enter__())
    handle = keyed.key("a")
    handle.refund(0)  # makes its limiter
    assert light.retry_after == 1.0 and light.name == "users" and len(keyed) == 1
    assert raised(RateLimited, lambda: keyed.permit("a", timeout=0.5).__enter__()).retry_after == 1.0
    assert raised(RateLimited, lambda: keyed.permit("a", 2, timeout=1.5).__enter__()).retry_after == 2.0
    assert keyed.statistics().refused == 3
    keyed.acquire("b")
    full = raised(RateLimited, lambda: keyed.permit("c", timeout=0).__enter__())
    assert str(full).startswith("all 2 keys of KeyedTokenBucket 'users' are in use") and full.retry_after == 1.0
    with pytest.raises(ValueError, match="'n' is 3.0, which can never be admitted"):
        keyed.permit("a", 3, timeout=0).__enter__()
    clock.advance(1)
    with keyed.permit("c", timeout=0) as permit:  # "b" is forgotten
        permit.settle(0)
    assert len(keyed) == 2 and permit.n == 1.0


def test_what_a_refusal_tells():
    """The name of the object that refused, and when to try again."""
    told = dict(refusals())
    limiter, semaphore = told["limiter"], told["semaphore"]
    assert isinstance(limiter, RateLimited) and limiter.name == "api" and 0 < limiter.retry_after <= 1
    assert isinstance(semaphore, Overloaded)
    assert (semaphore.name, semaphore.retry_after, semaphore.reason) == ("db", 1.0, "full")


@pytest.mark.parametrize("kind", [Empty, Full, RateLimited, CircuitOpen, Overloaded])
@pytest.mark.parametrize("args", [(), ("text",), ("{}", None, 3), ("{x}", None, 3), (1, 2, 3), ("a", "b")])
def test_arguments_of_somebody_elses_making(kind, args):
    """A program may raise these exceptions itself, with any arguments, and read what they tell."""
    error = kind(*args)
    assert str(error) == ("" if not args else "text" if args == ("text",) else "" if args == ("{}", None, 3) else str(args))
    assert error.args == args
    if isinstance(error, Refused):
        assert isinstance(error.retry_after, float)


def of_queue(queue):
    """What a queue of one place raises when it is empty, and when it is full."""
    errors = []
    for call in (queue.get_nowait, lambda: queue.put_nowait(2)):
        with pytest.raises((Empty, Full)) as caught:
            call()
        errors.append(caught.value)
        queue.put_nowait(1) if queue.empty() else queue.get_nowait()
    return errors


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_the_next_refusal_has_the_same_arguments(kind):
    """Refusals that say the same share their arguments. What has changed meanwhile is told."""
    queue = kind(1, name="jobs")
    first, second = of_queue(queue), of_queue(queue)
    assert [error.args is other.args for error, other in zip(first, second, strict=True)] == [True, True]
    assert [error is other for error, other in zip(first, second, strict=True)] == [False, False]
    queue.maxsize = 2
    queue.put_many([1, 2])
    assert str(of_queue_when_full(queue)) == "put without waiting: the queue 'jobs' holds 2 of 2 items"
    queue.maxsize = 1
    assert str(of_queue_when_full(queue)) == "put without waiting: the queue 'jobs' holds 2 of 1 items"
    queue.__init__(1, name="renamed")
    assert str(of_queue(queue)[0]) == "get without waiting: the queue 'renamed' holds 0 of 1 items"
    queue.maxsize = 0
    with pytest.raises(Empty, match="the queue 'renamed' holds 0 items and has no bound"):
        queue.get_nowait()


def raised(kind, call):
    with pytest.raises(kind) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("kind", [Queue, PriorityQueue])
def test_refusals_of_a_batch(kind):
    """They name the method, and share their arguments with each other alone."""
    queue = kind(1, name="jobs")
    empty = [raised(Empty, lambda: queue.get_many(2, timeout=0)) for _ in range(2)]
    queue.put(1)
    full = [raised(Full, lambda: queue.put_many([2, 3], timeout=0)) for _ in range(2)]
    assert str(empty[0]) == "get_many without waiting: the queue 'jobs' holds 0 of 1 items"
    assert str(full[0]) == "put_many without waiting: the queue 'jobs' holds 1 of 1 items"
    assert empty[0].args is empty[1].args and full[0].args is full[1].args
    assert [error.accepted for error in full] == [0, 0]
    assert str(raised(Full, lambda: queue.put_nowait(2))) == "put without waiting: the queue 'jobs' holds 1 of 1 items"


def test_refusals_of_a_fair_queue():
    """Each key that has no room is refused, with shared arguments, and counted for nobody."""
    queue = FairQueue(3, per_key=1, name="tenants")
    queue.put(1, key="a")
    first, second = (raised(Full, lambda: queue.put_nowait(2, key="a")) for _ in range(2))
    assert str(first) == "put without waiting: the queue 'tenants' holds 1 of 3 items, at most 1 of each key"
    assert first.args is second.args and first is not second
    queue.put_nowait(2, key="b")
    assert str(raised(Full, lambda: queue.put(3, timeout=0, key="b"))).endswith("holds 2 of 3 items, at most 1 of each key")
    assert [queue.get_nowait(), queue.get_nowait()] == [1, 2]


def test_a_full_queue_names_the_bound_that_counts():
    """Of weight, of items of a key, and places that are kept for others: the number of items alone would not explain a refusal."""
    weighed = Queue(5, weigh=len, max_weight=10, name="bodies")
    weighed.put("x" * 8)
    told = "the queue 'bodies' holds 1 of 5 items, which weigh 8 of 10, and the item weighs 3"
    assert str(raised(Full, lambda: weighed.put_nowait("abc"))) == f"put without waiting: {told}"
    assert str(raised(Full, lambda: weighed.put("abc", timeout=0.001))) == f"put with timeout=0.001: {told}"
    assert str(raised(Full, lambda: weighed.put_many(["abc"], timeout=0))) == f"put_many without waiting: {told}"
    assert str(raised(Full, lambda: weighed.put_many(iter(["abc"]), timeout=0))) == f"put_many without waiting: {told}"
    assert str(raised(Full, lambda: weighed.put_nowait("abcd"))).endswith("which weigh 8 of 10, and the item weighs 4")
    weighed.max_weight = 9
    assert str(raised(Full, lambda: weighed.put_nowait("abc"))).endswith("which weigh 8 of 9, and the item weighs 3")
    heap = PriorityQueue(weigh=len, max_weight=10, overflow="reject")
    heap.put("x" * 8)
    assert "the queue holds 1 items, which weigh 8 of 10" in str(raised(Full, lambda: heap.put("abc")))
    assert str(raised(Empty, Queue(5, weigh=len, max_weight=10).get_nowait)) == "get without waiting: the queue holds 0 of 5 items"
    kept = FairQueue(3, reserved={"a": 2})
    kept.put(1, key="b")
    full = raised(Full, lambda: kept.put_nowait(2, key="b"))
    assert str(full) == "put without waiting: the queue holds 1 of 3 items, and 2 places are reserved"
    bounded = FairQueue(per_key=1)
    bounded.put(1, key="a")
    assert str(raised(Full, lambda: bounded.put_nowait(2, key="a"))).endswith("holds 1 items, at most 1 of each key")
    bounded.per_key = 2
    bounded.put(2, key="a")
    assert str(raised(Full, lambda: bounded.put_nowait(3, key="a"))).endswith("holds 2 items, at most 2 of each key")


def test_a_channel_without_credit_names_the_weight():
    """What was asked for, where it is more than one."""
    channel = CreditChannel(10, weigh=len)
    channel.sender.send("x" * 8)
    told = ": the channel has 2 credit left, 1 items buffered, 0 unacknowledged, and a bound of 10"
    assert str(raised(Full, lambda: channel.sender.send_nowait("abc"))) == f"send without waiting (n=3){told}"
    assert str(raised(Full, lambda: channel.sender.send_many(["abc"], timeout=0))) == f"send_many without waiting (n=3){told}"
    assert str(raised(Full, lambda: channel.sender.permit(4, timeout=0).__enter__())).startswith("permit without waiting (n=4)")


def test_a_refusal_of_a_heap_that_is_being_compared():
    """Whoever comes from a comparison is told so; another thread waits for the end of it, and gets the item."""
    queue, started, go_on, got = PriorityQueue(), threading.Event(), threading.Event(), []

    class Slow(int):
        def __lt__(self, other):
            if not started.is_set():
                got.append(raised(RuntimeError, queue.get_nowait))
                started.set()
                go_on.wait(20)
            return int(self) < int(other)

    def put():
        queue.put_many([Slow(2), Slow(1)])

    putter = spawn(put)
    assert started.wait(20)
    getter = spawn(lambda: got.append(queue.get_nowait()))
    go_on.set()
    for thread in (putter, getter):
        thread.join(20)
    assert "from inside the same queue" in str(got[0])
    assert got[1:] == [1]


@pytest.mark.parametrize("make", [CreditChannel, AckChannel])
def test_the_next_refusal_of_a_channel_has_the_same_arguments(make):
    """The same for a send and a receive."""
    channel = make(2, name="lines")
    sender, receiver = channel.sender, channel.receiver
    receives = [raised(Empty, receiver.receive_nowait), raised(Empty, lambda: receiver.receive(timeout=0))]
    sender.send_many([1, 2])
    sends = [raised(Full, lambda: sender.send_nowait(3)), raised(Full, lambda: sender.send(3, timeout=0))]
    assert sends[0].args is sends[1].args and sends[0] is not sends[1]
    assert str(sends[0]) == str(sends[1])
    assert str(sends[0]).startswith("send without waiting: the channel 'lines' has 0 credit left, 2 items buffered, 0 unacknowledged")
    assert receives[0].args is receives[1].args and receives[0] is not receives[1]
    assert str(receives[0]) == str(receives[1])
    held = receiver.receive()
    if make is AckChannel:
        assert "has 0 credit left, 1 items buffered, 1 unacknowledged" in str(raised(Full, lambda: sender.send_nowait(3)))
        held.ack()
    kept = receiver.receive()
    told = str(raised(Empty, receiver.receive_nowait))
    assert kept is not None
    assert f"has {2 if make is CreditChannel else 1} credit left, 0 items buffered, {0 if make is CreditChannel else 1} unack" in told
    with pytest.raises(Full, match="send with timeout=0.001: "):
        while True:
            sender.send(3, timeout=0.001)


def test_a_lease_that_ends_is_told():
    """Leased credit ends by itself, between two refusals."""
    clock = ManualClock()
    channel = CreditChannel(window=0, buffer=10, clock=clock)
    channel.receiver.credit.lease(5, 10)
    receive, sender = channel.receiver.receive_nowait, channel.sender
    assert "has 5 credit left" in str(raised(Empty, receive))
    assert "has 5 credit left" in str(raised(Empty, receive))
    clock.advance(11)
    assert "has 0 credit left" in str(raised(Empty, receive))
    assert "has 0 credit left" in str(raised(Full, lambda: sender.send_nowait(1)))


@pytest.mark.parametrize(
    ("make", "after"),
    [
        (lambda clock: TokenBucket(1, burst=4, clock=clock), [3.0, 2.5, 1.5]),
        (lambda clock: TokenBucket(1e-9, burst=4, clock=clock), [3e9, 3e9 - 0.5, 3e9 - 1.5]),
        (lambda clock: LeakyBucket(1, capacity=4, clock=clock), [4.0, 3.5, 2.5]),
        (lambda clock: SlidingWindow(4, 8, clock=clock), [8.0, 7.5, 6.5]),
        (lambda clock: ZeroRate(clock=clock), [float("inf")] * 3),
    ],
)
def test_retry_after_is_told_anew(make, after):
    """Each refusal says how long it is from then on, and is counted; a caller who comes exactly then is admitted."""
    clock = ManualClock()
    limiter = make(clock)
    if not isinstance(limiter, ZeroRate):
        limiter.acquire(4)
    told = []
    for pause in (0.5, 1, 0):
        error = raised(RateLimited, lambda: limiter.acquire(3, timeout=0))
        assert error.retry_after == limiter.retry_after(3)
        told.append(error.retry_after)
        clock.advance(pause)
    assert told == after
    assert limiter.statistics().refused == 3
    if told[-1] < 100:
        clock.advance(told[-1])
        assert limiter.acquire(3, timeout=0) is True
        assert limiter.statistics().admitted == 2


def test_waiters_and_pauses_are_told():
    """Off the fast path: who comes now goes after those who wait, and after a pause."""
    clock = ManualClock()
    bucket = TokenBucket(1, burst=2, clock=clock)
    bucket.acquire(2)
    thread = threading.Thread(target=bucket.acquire, args=(2,))
    thread.start()
    wait_until(lambda: bucket.statistics().waiters == 1)
    assert raised(RateLimited, lambda: bucket.acquire(timeout=0)).retry_after == 3.0
    clock.advance(2)
    thread.join()
    bucket.pause_for(7)
    assert raised(RateLimited, lambda: bucket.acquire(timeout=0)).retry_after == 7.0
    with pytest.raises(ValueError, match="'n' is 3.0, which can never be admitted"):
        bucket.acquire(3, timeout=0)
    assert bucket.statistics().refused == 2


def test_a_subclass_says_its_name_itself():
    """The exception has what `limiter.name` is."""

    class Mine(TokenBucket):
        name = "mine"

    limiter = Mine(1e-3, burst=1, name="given")
    limiter.acquire()
    error = raised(RateLimited, lambda: limiter.acquire(timeout=0))
    assert error.name == "mine"
    assert str(error).startswith("Mine 'mine' cannot admit the request (n=1) in time")


WRONG = [((1, 2), {}), ((1, 2), {"timeout": 1}), ((1,), {"n": 1}), ((), {"time_out": 1}), ((1, 2), {"n": 1}), ((1, 2), {"time_out": 1})]


@pytest.mark.parametrize(("args", "kwargs"), WRONG)
def test_wrong_arguments(args, kwargs):
    """`timeout` is keyword-only: the interpreter's own texts."""

    class RateLimiter:
        def acquire(self, n=1, *, timeout=None): ...

    like = raised(TypeError, lambda: RateLimiter().acquire(*args, **kwargs))
    expected, _, _guess = str(like).removeprefix("test_wrong_arguments.<locals>.").partition(". Did you mean")  # 3.13 guesses
    assert str(raised(TypeError, lambda: TokenBucket(1, burst=1).acquire(*args, **kwargs))) == expected


def of_queue_when_full(queue):
    with pytest.raises(Full) as caught:
        queue.put_nowait(3)
    return caught.value


def test_a_maxsize_that_cannot_be_compared_is_told():
    """A get is refused because the queue is empty, a put with the error of the comparison, the second time too."""
    queue = Queue("ten")
    for _ in range(2):
        with pytest.raises(Empty):
            queue.get_nowait()
        with pytest.raises(TypeError):
            queue.put_nowait(1)


def test_a_program_may_give_an_exception_a_constructor():
    """What that returns need not be an exception: then the interpreter says so, and does not crash."""
    run_script(
        """
        from sluicegate import Empty, Queue
        for made in 5, RuntimeError("told"):
            Empty.__new__ = staticmethod(lambda cls, *args, made=made: made)
            try:
                Queue().get_nowait()
            except (TypeError, RuntimeError):
                continue
            raise AssertionError(made)
        """
    )


def test_what_was_being_handled_is_the_context():
    """As with every exception: a refusal in an `except` block keeps what is handled there."""
    first = {}
    for _ in range(2):  # the second one is raised with the first one's arguments
        for name, error in refusals():
            first.setdefault(name, error)
        try:
            raise KeyError("handled")
        except KeyError as handled:
            for name, error in refusals():
                assert error.__context__ is handled, name
                assert first[name].__context__ is None, name


@pytest.mark.parametrize("make", [Queue, SimpleQueue, lambda: TokenBucket(1, burst=1), CreditChannel, lambda: Semaphore(1)])
def test_a_subclass_may_say_how_it_is_pickled(make):
    """Only the class itself refuses."""
    base = type(make())

    class Saved(base):
        def __reduce__(self):
            return str, ("saved",)

    made = Saved(1, burst=1) if base is TokenBucket else Saved()
    assert [pickle.loads(pickle.dumps(made, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)] == ["saved"] * 6
    with pytest.raises(TypeError):
        pickle.dumps(make())


def of_channel(channel):
    """What a channel with a window of one raises when it is empty, and when it has no credit."""
    with pytest.raises(Empty) as empty:
        channel.receiver.receive_nowait()
    channel.sender.send(1)
    with pytest.raises(Full) as full:
        channel.sender.send_nowait(2)
    channel.receiver.receive()
    return empty.value, full.value


def test_a_channels_next_refusal_has_the_same_arguments():
    """As a queue's: nothing but the exception is made, unless something has changed."""
    channel = CreditChannel(1, name="jobs")
    first, second = of_channel(channel), of_channel(channel)
    assert [error.args is other.args for error, other in zip(first, second, strict=True)] == [True, True]
    assert [error is other for error, other in zip(first, second, strict=True)] == [False, False]
    text = "without waiting: the channel 'jobs' has {} credit left, {} items buffered, 0 unacknowledged, and a bound of 1"
    assert [str(error) for error in second] == ["receive " + text.format(1, 0), "send " + text.format(0, 1)]
    pulled = CreditChannel(0, buffer=5)
    for buffered in range(3):
        for _ in range(2):
            with pytest.raises(Full, match=f"has 0 credit left, {buffered} items buffered"):
                pulled.sender.send_nowait(1)
        pulled.receiver.credit.request(1)
        pulled.sender.send_nowait(1)


def late(make):
    """A limiter of which one token has been taken, its clock, and the time after which another one could be had."""
    clock = ManualClock()
    limiter = make(clock)
    limiter.acquire()
    return limiter, clock, limiter.retry_after()


@pytest.mark.parametrize(
    "make",
    [
        lambda clock: TokenBucket(1, burst=1, period=8, clock=clock),
        lambda clock: SlidingWindow(1, 8, clock=clock),
        lambda clock: KeyedTokenBucket(1, burst=1, period=8, max_keys=5, clock=clock).key("k"),
        lambda clock: KeyedSlidingWindow(1, 8, max_keys=5, clock=clock).key("k"),
        lambda clock: type("Own", (TokenBucket,), {})(1, burst=1, period=8, clock=clock),
    ],
)
def test_a_wait_that_is_known_to_be_too_long(make):
    """It is refused at once, counted once, and says when it could have been; one that is not too long waits, and is admitted."""
    limiter, clock, after = late(make)
    assert after == 8
    for timeout in (0, 1, 7.5, 8 - 2**-20):
        before = limiter.statistics().refused
        with pytest.raises(RateLimited) as refused:
            limiter.acquire(timeout=timeout)
        assert refused.value.retry_after == after
        assert "(n=1) in time; retry after 8.000000 seconds" in str(refused.value)
        assert limiter.statistics().refused == before + 1
        assert limiter.statistics().waiters == 0
    waiting = spawn(lambda: limiter.acquire(timeout=8))
    clock.wait_for_waiters(1)
    with pytest.raises(RateLimited) as refused:
        limiter.acquire(timeout=8)  # behind the other
    assert refused.value.retry_after == 16
    clock.advance(8)
    assert waiting.result() is True
    with pytest.raises(ValueError, match="can never be admitted"):
        limiter.acquire(3, timeout=5)
    limiter.pause_for(30)
    with pytest.raises(RateLimited) as refused:
        limiter.acquire(timeout=20)
    assert refused.value.retry_after == 30


def keyed_of(kind, clock):
    if kind is KeyedSlidingWindow:
        return kind(4, 8, max_keys=4, clock=clock)
    if kind is KeyedTokenBucket:
        return kind(1, burst=4, max_keys=4, clock=clock)
    return kind(1, capacity=4, max_keys=4, clock=clock)


@pytest.mark.parametrize("kind", [KeyedTokenBucket, KeyedLeakyBucket, KeyedSlidingWindow])
def test_a_key_refuses_as_its_limiter_does(kind):
    """`acquire(key, ...)` does and counts what the limiter of that key would have done, whatever is kept of the key."""
    random, clocks = Random(7), (ManualClock(), ManualClock())
    direct, by_handle = (keyed_of(kind, clock) for clock in clocks)
    kept = []
    for step in range(600):
        key, n, timeout = random.choice("abcd"), random.choice([1, 1, 2, 0.5, 0]), random.choice([0, 0, 0.5, 1])
        told = []
        for limiter, acquire in ((direct, direct.acquire), (by_handle, lambda key, n, **more: by_handle.key(key).acquire(n, **more))):
            if timeout and limiter.retry_after(key, n) <= timeout:
                told.append("waits")
                continue
            try:
                told.append(acquire(key, n, timeout=timeout))
            except RateLimited as error:
                told.append(round(error.retry_after, 6))
        assert told[0] == told[1], step
        if step % 50 == 49:
            kept = [] if kept else [limiter.key("a") for limiter in (direct, by_handle)]
            for handle in kept:
                handle.pause_for(0.25)
        pause = random.choice([0, 0.1, 0.3])
        for clock in clocks:
            clock.advance(pause)
    seen = [limiter.statistics() for limiter in (direct, by_handle)]
    assert (seen[0].admitted, seen[0].refused) == (seen[1].admitted, seen[1].refused)
    assert seen[0].refused > 20


def test_a_key_refuses_under_the_name_of_its_keyed_limiter():
    """The error names the object that was called."""
    limiter = KeyedTokenBucket(1, burst=1, max_keys=1, name="users", clock=ManualClock())
    assert limiter.acquire("a") is True
    error = raised(RateLimited, lambda: limiter.acquire("a", timeout=0))
    assert str(error) == "KeyedTokenBucket 'users' cannot admit the request (n=1) in time; retry after 1.000000 seconds"
    assert error.name == "users" and error.retry_after == 1.0
    error = raised(RateLimited, lambda: limiter.acquire("b", timeout=0))
    assert str(error).startswith("all 1 keys of KeyedTokenBucket 'users' are in use, and none can be forgotten for a new key; retry")
    assert 0 < error.retry_after <= 1.0

    class Mine(KeyedTokenBucket):
        def key(self, key):
            return super().key(key.lower())

    mine = Mine(1, burst=1, max_keys=10, clock=ManualClock())
    assert mine.acquire("A") is True
    with pytest.raises(RateLimited):
        mine.acquire("a", timeout=0)
    for wrong in (
        lambda: limiter.acquire(),
        lambda: limiter.acquire("a", 1, 2),
        lambda: limiter.acquire(1.5),
        lambda: limiter.acquire("a", "x"),
    ):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="'n' is 2.0, which can never be admitted"):
        limiter.acquire("a", 2, timeout=0)


def test_a_set_refuses_with_its_own_moment():
    """What a refusal of a set tells is what `retry_after` says, whether or not anybody waits, and whatever is booked in its members."""
    random, clock = Random(3), ManualClock()
    bucket, window = TokenBucket(2, burst=6, clock=clock), SlidingWindow(5, 7, clock=clock)
    limits = RateLimits(bucket=bucket, window=window, leaky=LeakyBucket(3, capacity=9, clock=clock))
    refused = booked = 0
    for step in range(800):
        amounts = {"bucket": random.choice([0, 1, 2, 5]), "window": random.choice([0, 1, 3]), "leaky": random.choice([0, 1])}
        after = limits.retry_after(**amounts)
        timeout = random.choice([0, 0, min(after / 2, 4)])
        if after > timeout:
            assert limits.try_acquire(**amounts) is False
            error = raised(RateLimited, lambda amounts=amounts, timeout=timeout: limits.acquire(**amounts, timeout=timeout))
            assert error.retry_after == pytest.approx(after, abs=1e-8), step
            refused += 2
        elif after == 0:
            assert limits.acquire(**amounts, timeout=0) is True
        if step % 20 == 0:
            booking = random.choice([bucket, window]).reserve(random.choice([1, 3]))
            booked += 1
            if step % 40 == 0:
                booking.cancel()
        clock.advance(random.choice([0, 0.05, 0.3, 1.5]))
    assert booked == 40
    assert refused > 300
    assert limits.statistics().refused == refused


def test_a_set_in_which_somebody_waits_refuses():
    """The next one comes after who waits."""
    clock = ManualClock()
    limits = RateLimits(bucket=TokenBucket(1, burst=2, clock=clock), window=SlidingWindow(2, 10, clock=clock))
    limits.acquire(2)
    waiter = spawn(lambda: limits.acquire(1))
    wait_until(lambda: limits.statistics().waiters == 1)
    error = raised(RateLimited, lambda: limits.acquire(2, timeout=0))
    assert error.retry_after == 20.0
    assert limits.try_acquire(bucket=0, window=1) is False
    clock.advance(10)
    waiter.join(20)
    with pytest.raises(TypeError, match="unknown limit 'other'"):
        limits.acquire(other=1, timeout=0)
    with pytest.raises(TypeError, match="missing: 'window'"):
        limits.acquire(bucket=1, timeout=0)
    with pytest.raises(TypeError, match="unknown limit 'timeout'"):
        limits.try_acquire(bucket=1, window=1, timeout=0)
    with pytest.raises(ValueError, match="can never be admitted"):
        limits.acquire(bucket=3, window=1, timeout=0)
    with pytest.raises(ValueError, match="'timeout' must be"):
        limits.acquire(timeout=-1)


def test_the_representation_shows_the_text():
    """And not the template; the arguments, which are pickled, are as they were."""
    refusals = []
    for refused in (
        lambda: TokenBucket(1, burst=1, initial=0, name="api").acquire(timeout=0),
        lambda: Semaphore(0).permit(timeout=0).__enter__(),
        lambda: Queue().get_nowait(),
        lambda: opened().permit().acquire(),
    ):
        with pytest.raises((Refused, Empty)) as caught:
            refused()
        refusals.append(caught.value)
    for error in refusals:
        for same in (error, pickle.loads(pickle.dumps(error)), type(error)(*error.args)):
            assert repr(same) == f"{type(error).__name__}({str(error)!r})"
            assert "{" not in repr(same)
    assert repr(RateLimited("mine")) == "RateLimited('mine')"
    assert repr(CircuitOpen("one", 2)) == "CircuitOpen('one', 2)"
    assert repr(Full()) == "Full()"


def opened():
    breaker = CircuitBreaker(name="service")
    breaker.force_open()
    return breaker


@pytest.mark.parametrize("kind", [Queue, PriorityQueue])
def test_a_refusal_by_the_policy(kind):
    """It is not for want of waiting, which the caller may have asked for."""
    queue = kind(1, overflow="reject", name="jobs")
    queue.put(1)
    told = "put refused by overflow='reject': the queue 'jobs' holds 1 of 1 items"
    full = [raised(Full, lambda: queue.put(2, timeout=5)), raised(Full, lambda: queue.put(2)), raised(Full, lambda: queue.put_many([2]))]
    assert {str(error) for error in full} == {told}
    assert full[0].args is full[1].args
    assert str(raised(Full, lambda: queue.put_many(iter([2, 3]), timeout=5))) == told
    queue.overflow = "block"
    assert str(raised(Full, lambda: queue.put_nowait(2))).startswith("put without waiting")
    fair = FairQueue(1, overflow="reject")
    fair.put(1, key="a")
    assert str(raised(Full, lambda: fair.put(2, key="b", timeout=5))).startswith("put refused by overflow='reject': the queue holds 1")
