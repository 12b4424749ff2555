"""What a refusal costs others, and what it tells: it keeps the GIL, and its text is made when somebody reads it."""

import copy
import pickle
import sys

import pytest
from helpers import run_script

from sluicegate import (
    CreditChannel,
    Empty,
    Full,
    LifoQueue,
    Overloaded,
    Queue,
    RateLimited,
    RateLimits,
    Refused,
    Semaphore,
    SimpleQueue,
    SlidingWindow,
    TokenBucket,
)

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

#: Calls that are refused, by name: an expression that makes the call. The objects are in `OBJECTS`.
OBJECTS = """
from sluicegate import *

empty, full, heap, stack, simple = Queue(1), Queue(1), PriorityQueue(1), LifoQueue(1), SimpleQueue()
full.put(1)
class Hooked(Queue):
    def _put(self, item):
        super()._put(item)
hooked = Hooked(1)
hooked.put(1)
bucket, window, limits = TokenBucket(1e-9, burst=1), SlidingWindow(1, 1e9), RateLimits(one=TokenBucket(1e-9, burst=1))
for limiter in (bucket, window):
    limiter.acquire()
limits.acquire(one=1)
semaphore, keyed = Semaphore(0), KeyedSemaphore(1, max_keys=10)
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
    "get_nowait, heap": "heap.get_nowait()",
    "get_nowait, stack": "stack.get_nowait()",
    "get_nowait, simple": "simple.get_nowait()",
    "get, block=False": "empty.get(block=False)",
    "get, timeout=0": "empty.get(timeout=0)",
    "get_many, timeout=0": "empty.get_many(3, timeout=0)",
    "peek": "empty.peek()",
    "put_nowait": "full.put_nowait(2)",
    "put_nowait, hooks": "hooked.put_nowait(2)",
    "put, timeout=0": "full.put(2, timeout=0)",
    "put_many, timeout=0": "full.put_many([2, 3], timeout=0)",
    "acquire, bucket": "bucket.acquire(timeout=0)",
    "acquire, window": "window.acquire(timeout=0)",
    "acquire, set": "limits.acquire(one=1, timeout=0)",
    "reserve": "bucket.reserve(max_wait=0)",
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
@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_a_refusal_keeps_the_gil(call):
    """Another thread that is ready to run does not run, however often a call is refused."""
    run_script(
        OBJECTS
        + f"""
import os, threading, time

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:1]))  # whoever gives up the GIL gives it to the other thread

gate, ran = threading.Lock(), []

def other():
    with gate:
        ran.append(True)

def refused():
    try:
        {call}
    except Exception:
        return
    raise AssertionError("not refused")

refused()  # what is made at the first refusal is made now
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
    refused()
assert not ran, "the call gave up the GIL"
sys.setswitchinterval(0.005)
thread.join()
assert ran
"""
    )


def refusals():
    """One exception of each kind, as the package raises them."""
    calls = {
        "empty": lambda: Queue(2, name="jobs").get_nowait(),
        "empty, no bound": lambda: SimpleQueue().get_nowait(),
        "full": lambda: full.put(2, timeout=0.001),
        "limiter": lambda: bucket.acquire(timeout=0),
        "set": lambda: limits.acquire(one=1, timeout=0),
        "semaphore": lambda: Semaphore(0, name="db").permit(timeout=0).__enter__(),
        "credit": lambda: channel.sender.send_nowait(1),
    }
    full, bucket, limits = Queue(1, name="{braces}"), TokenBucket(1, burst=1, name="api"), RateLimits(one=SlidingWindow(1, 60))
    full.put(1)
    bucket.acquire()
    limits.acquire(one=1)
    channel = CreditChannel(1)
    channel.sender.send(1)
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


def test_texts():
    """A refusal says what was asked, of which object, and what that object has."""
    texts = {name: str(error) for name, error in refusals()}
    assert texts["empty"] == "get without waiting: the queue 'jobs' holds 0 of 2 items"
    assert texts["empty, no bound"] == "get without waiting: the queue holds 0 items and has no bound"
    assert texts["full"] == "put with timeout=0.001: the queue '{braces}' holds 1 of 1 items"
    assert texts["limiter"].startswith("TokenBucket 'api' cannot admit the request (n=1) in time; retry after 0.")
    assert texts["set"].startswith("RateLimits cannot admit the request in time; retry after 59.")
    assert texts["semaphore"].startswith("the request (n=1) was not granted without waiting: <sluicegate.Semaphore 'db' at")
    assert "send without waiting: the channel has 0 credit left, 1 items buffered" in texts["credit"]


def test_what_a_refusal_tells():
    """The name of the object that refused, and when to try again."""
    told = dict(refusals())
    limiter, semaphore = told["limiter"], told["semaphore"]
    assert isinstance(limiter, RateLimited) and limiter.name == "api" and 0 < limiter.retry_after <= 1
    assert isinstance(semaphore, Overloaded)
    assert (semaphore.name, semaphore.retry_after, semaphore.reason) == ("db", 1.0, "full")


@pytest.mark.parametrize("kind", [Empty, Full, RateLimited, Overloaded])
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


@pytest.mark.parametrize("kind", [Queue, LifoQueue])
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
