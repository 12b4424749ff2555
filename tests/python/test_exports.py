"""The public surface: names, docstrings, signatures; and the stub, which says the same as the binary."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import queue as stdlib_queue
import re
import threading
from pathlib import Path

import pytest

import sluicegate
import sluicegate.http
import sluicegate.io
import sluicegate.logging
import sluicegate.sizing
import sluicegate.testing

NAMES = {
    "AckChannel",
    "AdaptiveConcurrency",
    "Backoff",
    "AdaptiveLifo",
    "AdaptiveRate",
    "AdaptiveRatePermit",
    "AdaptiveRateStatistics",
    "Batcher",
    "BatcherStatistics",
    "AsyncBoundedMap",
    "AsyncPrefetch",
    "BlockingInEventLoopWarning",
    "BoundedExecutor",
    "BoundedMap",
    "BoundedSemaphore",
    "BreakerKey",
    "BreakerStatistics",
    "Broadcast",
    "BroadcastStatistics",
    "Channel",
    "ChannelCancelled",
    "ChannelClosed",
    "ChannelError",
    "ChannelFailed",
    "ChannelStatistics",
    "CircuitBreaker",
    "CircuitOpen",
    "CircuitPermit",
    "Clock",
    "CoDel",
    "CoalescingQueue",
    "Consumers",
    "ConcurrencyPermit",
    "ConcurrencyStatistics",
    "Credit",
    "CreditChannel",
    "DeadLetter",
    "Delivery",
    "Empty",
    "ExecutorStatistics",
    "FairQueue",
    "Fallback",
    "FallbackStatistics",
    "Full",
    "Guard",
    "GuardKey",
    "GuardStatistics",
    "KeyedBreaker",
    "KeyedBreakerStatistics",
    "Stale",
    "TokenBucketKey",
    "KeyedLeakyBucket",
    "KeyedLimiter",
    "KeyedRateStatistics",
    "KeyedSemaphore",
    "KeyedSemaphoreStatistics",
    "Latency",
    "KeyedSlidingWindow",
    "KeyedTokenBucket",
    "Killed",
    "Latest",
    "LatestStatistics",
    "LatestTicks",
    "LeakyBucket",
    "LeakyBucketKey",
    "LifoQueue",
    "MiddlewareStatistics",
    "Offered",
    "Overloaded",
    "Permit",
    "Pipeline",
    "PipelineRun",
    "PipelineStatistics",
    "Prefetch",
    "Pressure",
    "PressureListener",
    "PriorityQueue",
    "Produce",
    "Producers",
    "Queue",
    "QueueStatistics",
    "RateLimited",
    "RateLimiter",
    "RateLimits",
    "RatePermit",
    "RateStatistics",
    "Ready",
    "Receiver",
    "Refused",
    "Reservation",
    "Retry",
    "RetryAttempt",
    "RetryBudget",
    "RetryBudgetStatistics",
    "RetryStatistics",
    "Sample",
    "Selectable",
    "Semaphore",
    "SemaphoreKey",
    "SemaphorePermit",
    "SemaphoreStatistics",
    "Sender",
    "ShutDown",
    "SimpleQueue",
    "SlidingWindow",
    "SlidingWindowKey",
    "StageStatistics",
    "StaleDelivery",
    "Submitting",
    "Subscriber",
    "SubscriberStatistics",
    "Subscription",
    "TokenBucket",
    "UnlimitedRate",
    "ZeroRate",
    "__version__",
    "amap_bounded",
    "aprefetch",
    "map_bounded",
    "prefetch",
    "produce",
    "select",
    "select_async",
}
PUBLIC = [(sluicegate, name) for name in sorted(NAMES - {"__version__"})] + [
    (sluicegate.testing, "ManualClock"),
    *((sluicegate.http, name) for name in sluicegate.http.__all__),
    *((sluicegate.io, name) for name in sluicegate.io.__all__),
    *((sluicegate.logging, name) for name in sluicegate.logging.__all__),
    *((sluicegate.sizing, name) for name in sluicegate.sizing.__all__),
]

QUEUE = {
    "put": "(item, block=True, timeout=None)",
    "get": "(block=True, timeout=None)",
    "put_nowait": "(item)",
    "get_nowait": "()",
    "batches": "(max, *, linger=0.0)",
    "qsize": "()",
    "empty": "()",
    "full": "()",
    "task_done": "()",
    "join": "(timeout=None)",
    "shutdown": "(immediate=False, *, error=None)",
    "fail": "(error)",
    "getting": "()",
    "putting": "(item)",
    "put_many": "(items, block=True, timeout=None)",
    "get_many": "(max, block=True, timeout=None, *, linger=0.0)",
    "clear": "()",
    "peek": "()",
    "statistics": "()",
    "producers": "(n=1)",
    "consumers": "(n=1)",
    "put_async": "(item, timeout=None)",
    "get_async": "(timeout=None)",
    "join_async": "(timeout=None)",
    "put_many_async": "(items, *, timeout=None)",
    "get_many_async": "(max, *, timeout=None, linger=0.0)",
    "working": "()",
}
SIMPLE = {
    name: QUEUE[name]
    for name in (
        "put",
        "get",
        "put_nowait",
        "get_nowait",
        "qsize",
        "empty",
        "getting",
        "putting",
        "put_many",
        "get_many",
        "batches",
        "clear",
        "peek",
        "statistics",
        "put_async",
        "get_async",
        "put_many_async",
        "get_many_async",
    )
}
QUEUE |= {
    "put": "(item, block=True, timeout=None, *, ttl=None)",
    "put_nowait": "(item, *, ttl=None)",
    "put_async": "(item, timeout=None, ttl=None)",
    "offer": "(item, *, ttl=None)",
    "batches": "(max, *, max_weight=None, linger=0.0)",
    "get_many": "(max, block=True, timeout=None, *, linger=0.0, max_weight=None)",
    "get_many_async": "(max, *, timeout=None, linger=0.0, max_weight=None)",
}
CLASSES = [sluicegate.Queue, sluicegate.LifoQueue, sluicegate.PriorityQueue]

LIMITER = {
    "try_acquire": "(n=1)",
    "acquiring": "(n=1)",
    "acquire": "(n=1, *, timeout=None)",
    "acquire_async": "(n=1, *, timeout=None)",
    "permit": "(n=1, *, timeout=None)",
    "reserve": "(n=1, *, max_wait=None)",
    "refund": "(n)",
    "debit": "(n)",
    "retry_after": "(n=1)",
    "pause_for": "(seconds)",
    "statistics": "()",
    "__call__": "(function=None, /, *, n=1, timeout=None)",
    "by": "(*, cost=1, timeout=None)",
}
SEVERAL = {
    "try_acquire": "(n=1, **amounts)",
    "acquiring": "(n=1, **amounts)",
    "acquire": "(n=1, *, timeout=None, **amounts)",
    "acquire_async": "(n=1, *, timeout=None, **amounts)",
    "reserve": "(n=1, *, max_wait=None, **amounts)",
    "permit": "(n=1, *, timeout=None, **amounts)",
    "refund": "(n=1, **amounts)",
    "debit": "(n=1, **amounts)",
    "retry_after": "(n=1, **amounts)",
    "pause_for": "(seconds)",
    "statistics": "()",
    "__call__": "(function=None, /, *, n=None, timeout=None, **amounts)",
    "by": "(*, cost=1, timeout=None)",
}
# What can be left out and has no value that says so is shown as `...`.
KEYED = {
    "key": "(key)",
    "try_acquire": "(key, n=1)",
    "acquire": "(key, n=1, *, timeout=None)",
    "acquire_async": "(key, n=1, *, timeout=None)",
    "retry_after": "(key, n=1)",
    "pause_for": "(key, seconds)",
    "permit": "(key, n=1, *, timeout=None)",
    "by": "(*, key, cost=1, timeout=None)",
    "forget": "(key)",
    "statistics": "()",
}
RESERVATION = {
    "wait": "(timeout=None)",
    "wait_async": "(timeout=None)",
    "settle": "(actual=Ellipsis, /, **actual_by_name)",
    "cancel": "()",
}
RATES = {
    "TokenBucket": LIMITER | {"set_rate": "(rate, *, burst=None)"},
    "LeakyBucket": LIMITER | {"set_rate": "(rate, *, capacity=None)"},
    "SlidingWindow": LIMITER | {"set_limit": "(limit, period=None)"},
    "TokenBucketKey": LIMITER | {"set_rate": "(rate, *, burst=None)"},
    "RateLimits": SEVERAL,
    "UnlimitedRate": LIMITER,
    "ZeroRate": LIMITER,
    "KeyedTokenBucket": KEYED | {"set_rate": "(rate, *, burst=None, key=Ellipsis)"},
    "KeyedLeakyBucket": KEYED | {"set_rate": "(rate, *, capacity=None, key=Ellipsis)"},
    "KeyedSlidingWindow": KEYED | {"set_limit": "(limit, period=None, *, key=Ellipsis)"},
    "LeakyBucketKey": LIMITER | {"set_rate": "(rate, *, capacity=None)"},
    "SlidingWindowKey": LIMITER | {"set_limit": "(limit, period=None)"},
    "Reservation": RESERVATION,
    "RatePermit": {"settle": "(actual=Ellipsis, /, **actual_by_name)", "refund": "()"},
}
PROPERTIES = {
    "TokenBucket": {"name", "tokens", "rate", "burst", "period"},
    "LeakyBucket": {"name", "tokens", "rate", "capacity", "period"},
    "SlidingWindow": {"name", "tokens", "limit", "period"},
    "TokenBucketKey": {"name", "tokens", "rate", "burst", "period", "key"},
    "RateLimits": {"name", "tokens", "limits"},
    "KeyedTokenBucket": {"name", "rate", "burst", "period", "max_keys"},
    "UnlimitedRate": {"name", "tokens"},
    "ZeroRate": {"name", "tokens"},
    "KeyedLeakyBucket": {"name", "rate", "capacity", "period", "max_keys"},
    "KeyedSlidingWindow": {"name", "limit", "period", "max_keys"},
    "LeakyBucketKey": {"name", "tokens", "rate", "capacity", "period", "key"},
    "SlidingWindowKey": {"name", "tokens", "limit", "period", "key"},
    "Reservation": {"n", "delay", "ready_at"},
    "RatePermit": {"n"},
}
CREDITS = {
    "Channel": {"statistics": "()"},
    "Sender": {
        "send": "(item, timeout=None)",
        "send_nowait": "(item)",
        "send_async": "(item, timeout=None)",
        "sending": "(item)",
        "send_many": "(items, *, timeout=None)",
        "send_many_async": "(items, *, timeout=None)",
        "permit": "(n=1, *, timeout=None)",
        "wait_ready": "(n=1, *, timeout=None)",
        "wait_ready_async": "(n=1, *, timeout=None)",
        "complete": "()",
        "fail": "(error)",
        "send_control": "(message)",
        "clone": "()",
        "statistics": "()",
    },
    "Permit": {"send": "(item)"},
    "Receiver": {
        "receive": "(timeout=None)",
        "receive_nowait": "()",
        "receive_async": "(timeout=None)",
        "receiving": "()",
        "receive_many": "(max, *, timeout=None)",
        "receive_many_async": "(max, *, timeout=None)",
        "stop": "(timeout=None, *, lanes=None)",
        "stop_async": "(timeout=None, *, lanes=None)",
        "subscribe": "(on_next, *, on_error=None, on_complete=None, on_subscribe=None)",
        "cancel": "()",
        "statistics": "()",
    },
    "Credit": {
        "request": "(n)",
        "request_up_to": "(sequence)",
        "lease": "(n, ttl)",
        "drain": "()",
        "pause": "()",
        "resume": "()",
        "defer_to": "(sender)",
    },
    "Delivery": {"ack": "()", "nack": "(requeue=True, delay=None, *, error=None)", "extend": "(seconds)"},
    "Subscription": {"request": "(n)", "cancel": "()"},
}
SEMAPHORE = {
    "acquire": "(blocking=True, timeout=None, n=1)",
    "acquire_async": "(n=1, *, timeout=None)",
    "try_acquire": "(n=1)",
    "acquiring": "(n=1)",
    "release": "(n=1)",
    "permit": "(n=1, *, timeout=None)",
    "locked": "()",
    "resize": "(value)",
    "statistics": "()",
}
SEMAPHORES = {"Semaphore": SEMAPHORE, "BoundedSemaphore": SEMAPHORE}
KEYED_SEMAPHORE = {
    "key": "(key)",
    "acquire": "(key, blocking=True, timeout=None, n=1)",
    "acquire_async": "(key, n=1, *, timeout=None)",
    "try_acquire": "(key, n=1)",
    "release": "(key, n=1)",
    "permit": "(key, n=1, *, timeout=None)",
    "by": "(*, key, n=1, timeout=None)",
    "statistics": "()",
}
BREAKER = {
    "permit": "()",
    "force_open": "(for_=None)",
    "disable": "()",
    "reset": "()",
    "statistics": "()",
}
KEYED_BREAKER = {
    "key": "(key)",
    "permit": "(key)",
    "state": "(key)",
    "retry_after": "(key)",
    "force_open": "(key, for_=None)",
    "disable": "(key)",
    "reset": "(key)",
    "by": "(*, key, failed=None)",
    "statistics": "()",
}
ADAPTIVE_CONCURRENCY = {
    "permit": "(*, priority=0, timeout=None)",
    "set_limits": "(min, max)",
    "statistics": "()",
}

CONCURRENCY_PERMIT = {
    "acquire": "(*, timeout=None)",
    "acquire_async": "(*, timeout=Ellipsis)",
    "try_acquire": "()",
    "success": "()",
    "failure": "(error=None, *, retry_after=None)",
    "ignore": "()",
}

CIRCUIT_PERMIT = {
    "acquire": "()",
    "try_acquire": "()",
    "success": "()",
    "failure": "(error=None, *, retry_after=None)",
    "ignore": "()",
}
BROADCAST = {
    "publish": "(item, timeout=None)",
    "publish_nowait": "(item)",
    "publish_async": "(item, timeout=None)",
    "publishing": "(item)",
    "subscribe": "(maxsize, *, overflow='drop_oldest')",
    "shutdown": "(immediate=False, *, error=None)",
    "fail": "(error)",
    "statistics": "()",
}
SUBSCRIBER = {
    "peek": "()",
    "get": "(block=True, timeout=None)",
    "get_nowait": "()",
    "get_async": "(timeout=None)",
    "get_many": "(max, block=True, timeout=None)",
    "get_many_async": "(max, *, timeout=None)",
    "getting": "()",
    "qsize": "()",
    "empty": "()",
    "full": "()",
    "batches": "(max)",
    "close": "()",
    "statistics": "()",
}
LATEST = {
    "set": "(value)",
    "get": "(timeout=None)",
    "get_nowait": "()",
    "get_async": "(timeout=None)",
    "peek": "()",
    "changed": "(since=None, *, timeout=None)",
    "changed_async": "(since=None, *, timeout=None)",
    "changing": "(since=None)",
    "every": "(seconds)",
    "shutdown": "(immediate=False, *, error=None)",
    "fail": "(error)",
    "statistics": "()",
}


def made(kind):
    """A limiter of this kind, or what one returns."""
    bucket, keyed = sluicegate.TokenBucket(1, burst=1), sluicegate.KeyedTokenBucket(1, burst=1, max_keys=1)
    return {
        "TokenBucket": bucket,
        "LeakyBucket": sluicegate.LeakyBucket(1, capacity=1),
        "SlidingWindow": sluicegate.SlidingWindow(1, 1),
        "TokenBucketKey": keyed.key("key"),
        "RateLimits": sluicegate.RateLimits(bucket=bucket),
        "KeyedTokenBucket": keyed,
        "UnlimitedRate": sluicegate.UnlimitedRate(),
        "ZeroRate": sluicegate.ZeroRate(),
        "KeyedLeakyBucket": sluicegate.KeyedLeakyBucket(1, capacity=1, max_keys=1),
        "KeyedSlidingWindow": sluicegate.KeyedSlidingWindow(1, 1, max_keys=1),
        "LeakyBucketKey": sluicegate.KeyedLeakyBucket(1, capacity=1, max_keys=1).key("key"),
        "SlidingWindowKey": sluicegate.KeyedSlidingWindow(1, 1, max_keys=1).key("key"),
        "Reservation": bucket.reserve(),
        "RatePermit": bucket.permit(),
    }[kind]


def plain(signature):
    """The signature without `self` and annotations."""
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty) for name, parameter in signature.parameters.items() if name != "self"
    ]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)).replace("(/)", "()")


def test_all_is_exact():
    """`__all__` names what is public, and nothing else; each name is there."""
    assert set(sluicegate.__all__) == NAMES
    assert len(sluicegate.__all__) == len(NAMES)
    for name in sluicegate.__all__:
        assert hasattr(sluicegate, name)
    assert sluicegate.testing.__all__ == ["ManualClock"]


def test_nothing_else_looks_public():
    """No stray import without an underscore, but the package's own modules."""
    stray = {name for name in vars(sluicegate) if not name.startswith("_")} - NAMES - {"annotations"}
    modules = {name for name in stray if inspect.ismodule(getattr(sluicegate, name))}
    assert stray - modules == set()
    assert modules <= {"http", "io", "testing", "janus", "logging", "sizing"}


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_every_public_object_is_documented_and_at_home(module, name):
    """Docstring and `__module__` of each public object and of each public member."""
    thing = getattr(module, name)
    assert inspect.getdoc(thing)
    assert thing.__doc__, "an inherited docstring is not its own"
    assert thing.__module__ == module.__name__
    assert thing.__name__ == thing.__qualname__ == name
    if inspect.isroutine(thing) or issubclass(thing, BaseException):
        return
    for member_name, member in vars(thing).items():
        if member_name.startswith("_") or inspect.ismemberdescriptor(member):  # a dataclass field has comments in its place
            continue
        assert inspect.getdoc(member), f"{name}.{member_name} has no docstring"


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [(kind, name, expected) for kind in CLASSES for name, expected in QUEUE.items()]
    + [(sluicegate.SimpleQueue, name, expected) for name, expected in SIMPLE.items()],
)
def test_signatures(kind, name, expected):
    """`inspect.signature` works on class and object and tells the agreed parameters."""
    assert plain(inspect.signature(getattr(kind, name))) == expected
    assert plain(inspect.signature(getattr(kind(), name))) == expected
    assert getattr(kind, name).__name__ == name


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, methods in RATES.items() for name in methods])
def test_signatures_of_rate_limits(kind, name):
    """The same of the limiters."""
    thing, static, expected = made(kind), getattr(sluicegate, kind), RATES[kind][name]
    assert type(thing) is static
    assert plain(inspect.signature(getattr(static, name))) == expected
    assert plain(inspect.signature(getattr(thing, name))) == expected
    assert getattr(static, name).__name__ == name


@pytest.mark.parametrize("kind", RATES)
def test_rate_limits_have_no_more(kind):
    """The methods and properties of a limiter are the agreed ones; all properties are read-only."""
    thing = made(kind)
    public = {name for name in dir(thing) if not name.startswith("_")}
    assert public == {name for name in RATES[kind] if not name.startswith("_")} | PROPERTIES[kind]
    for name in PROPERTIES[kind]:
        before = getattr(thing, name)
        with pytest.raises(AttributeError):
            setattr(thing, name, before)


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_semaphores(kind):
    """The methods and properties of a semaphore are the agreed ones; its properties are read-only."""
    semaphore = getattr(sluicegate, kind)()
    public = {name for name in dir(semaphore) if not name.startswith("_")}
    properties = {"name", "size", "value", "async_semaphore"}
    assert public == set(SEMAPHORES[kind]) | properties
    for name, expected in SEMAPHORES[kind].items():
        assert plain(inspect.signature(getattr(semaphore, name))) == expected
    for name in properties:
        with pytest.raises(AttributeError):
            setattr(semaphore, name, getattr(semaphore, name))
    kind_of, theirs = type(semaphore), getattr(threading, kind)
    for name in ("acquire", "release"):
        assert set(inspect.signature(getattr(theirs, name)).parameters) <= set(inspect.signature(getattr(kind_of, name)).parameters)


def test_keyed_semaphores():
    """The same of a keyed one; a key's semaphore has what every semaphore has."""
    keyed = sluicegate.KeyedSemaphore(1, max_keys=1)
    assert {name for name in dir(keyed) if not name.startswith("_")} == set(KEYED_SEMAPHORE) | {"name", "size", "max_keys"}
    for name, expected in KEYED_SEMAPHORE.items():
        assert plain(inspect.signature(getattr(keyed, name))) == expected
    assert type(keyed.key("key")).__mro__[:-1] == (sluicegate.SemaphoreKey, sluicegate.Semaphore)


def test_breakers():
    """The methods and properties of breakers and of their permits are the agreed ones; the properties are read-only."""
    breaker, keyed = sluicegate.CircuitBreaker(), sluicegate.KeyedBreaker(max_keys=1)
    for thing, methods, properties in (
        (breaker, BREAKER, {"name", "state", "retry_after"}),
        (keyed, KEYED_BREAKER, {"name", "max_keys"}),
        (breaker.permit(), CIRCUIT_PERMIT, set()),
    ):
        assert {name for name in dir(thing) if not name.startswith("_")} == set(methods) | properties
        for name, expected in methods.items():
            assert plain(inspect.signature(getattr(thing, name))) == expected
        for name in properties:
            with pytest.raises(AttributeError):
                setattr(thing, name, getattr(thing, name))
    assert type(keyed.key("key")).__mro__[:-1] == (sluicegate.BreakerKey, sluicegate.CircuitBreaker)


def test_adaptive_limits():
    """The methods and properties of adaptive limits and of their permits are the agreed ones; the properties are read-only."""
    limiter = sluicegate.AdaptiveConcurrency(target=1)
    for thing, methods, properties in (
        (limiter, ADAPTIVE_CONCURRENCY, {"name", "limit", "in_flight"}),
        (limiter.permit(), CONCURRENCY_PERMIT, set()),
    ):
        assert {name for name in dir(thing) if not name.startswith("_")} == set(methods) | properties
        for name, expected in methods.items():
            assert plain(inspect.signature(getattr(thing, name))) == expected
        for name in properties:
            with pytest.raises(AttributeError):
                setattr(thing, name, getattr(thing, name))


def test_latest():
    """The methods and properties of a latest value are the agreed ones; its properties are read-only."""
    latest = sluicegate.Latest(1)
    properties = {"name", "version", "is_shutdown"}
    assert {name for name in dir(latest) if not name.startswith("_")} == set(LATEST) | properties
    for name, expected in LATEST.items():
        assert plain(inspect.signature(getattr(latest, name))) == expected
    for name in properties:
        with pytest.raises(AttributeError):
            setattr(latest, name, getattr(latest, name))


def test_broadcast():
    """The same of a broadcast and of its subscribers."""
    broadcast = sluicegate.Broadcast()
    subscriber = broadcast.subscribe(1)
    for thing, methods, properties in (
        (broadcast, BROADCAST, {"name", "is_shutdown"}),
        (subscriber, SUBSCRIBER, {"broadcast", "name", "maxsize", "overflow", "missed", "is_closed", "is_shutdown"}),
    ):
        assert {name for name in dir(thing) if not name.startswith("_")} == set(methods) | properties
        for name, expected in methods.items():
            assert plain(inspect.signature(getattr(thing, name))) == expected
        for name in properties:
            with pytest.raises(AttributeError):
                setattr(thing, name, getattr(thing, name))


PRESSURE = {
    "on_change": "(callback)",
    "drive": "(pause, resume)",
    "drive_transport": "(transport, *, loop=None)",
    "wait_low": "(timeout=None)",
    "wait_low_async": "(timeout=None)",
}


def test_pressure():
    """The same of the pressure of a queue and of its listeners."""
    pressure = sluicegate.Queue(1, high=1, low=0).pressure
    for thing, methods, properties in (
        (pressure, PRESSURE, {"level", "high"}),
        (pressure.on_change(print), {"close": "()"}, {"is_closed"}),
    ):
        assert {name for name in dir(thing) if not name.startswith("_")} == set(methods) | properties
        for name, expected in methods.items():
            assert plain(inspect.signature(getattr(thing, name))) == expected
        for name in properties:
            with pytest.raises(AttributeError):
                setattr(thing, name, getattr(thing, name))


EXECUTOR = {
    "submit": "(fn, /, *args, **kwargs)",
    "submit_async": "(fn, /, *args, **kwargs)",
    "map": "(fn, *iterables, timeout=None, chunksize=1, buffersize=None)",
    "submitting": "(*, key=None, priority=0, ttl=None)",
    "shutdown": "(wait=True, *, cancel_futures=False)",
    "statistics": "()",
}


def test_executors():
    """The same of an executor and of its handle, and of the functions beside it."""
    with sluicegate.BoundedExecutor(1, max_pending=1) as pool:
        handle = pool.submitting()
    for thing, names, properties in ((pool, set(EXECUTOR), {"name"}), (handle, {"submit", "submit_async", "map"}, set())):
        assert {name for name in dir(thing) if not name.startswith("_")} == names | properties
        for name in names:
            assert plain(inspect.signature(getattr(thing, name))) == EXECUTOR[name]
    for name in ("map_bounded", "amap_bounded"):
        assert plain(inspect.signature(getattr(sluicegate, name))) == "(f, items, *, workers, buffer=0, ordered=True)"
    for name in ("prefetch", "aprefetch"):
        assert plain(inspect.signature(getattr(sluicegate, name))) == "(iterable, n)"


@pytest.mark.parametrize("kind", ["TokenBucket", "RateLimits"])
def test_signatures_of_decorators(kind):
    """A limiter is callable, and shows how."""
    assert plain(inspect.signature(made(kind))) == RATES[kind]["__call__"]


@pytest.mark.parametrize("kind", CLASSES)
def test_signatures_are_the_stdlibs(kind):
    """What the standard library has too is called the same way; what it does not have is keyword-only."""
    theirs = getattr(stdlib_queue, kind.__name__)
    for name in ("put", "get", "put_nowait", "get_nowait", "qsize", "empty", "full", "task_done"):
        ours = plain(inspect.signature(getattr(kind, name))).replace(", *, ttl=None", "")
        assert ours == plain(inspect.signature(getattr(theirs, name)))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            kind,
            (
                "(maxsize=0, *, overflow='block', on_drop=None, weigh=None, max_weight=None, shed=None, "
                "track_latency=False, high=None, low=None, name=None, clock=None)"
            ),
        )
        for kind in CLASSES
    ]
    + [
        (
            sluicegate.FairQueue,
            (
                "(maxsize=0, *, key=None, weights=None, per_key=None, reserved=None, within='fifo', aging=1.0, overflow='block',"
                " on_drop=None, weigh=None, max_weight=None, shed=None, track_latency=False, high=None, low=None, name=None, clock=None)"
            ),
        ),
        (sluicegate.SimpleQueue, "(*, name=None, clock=None)"),
        (sluicegate.Clock, "()"),
        (sluicegate.testing.ManualClock, "(start=0.0)"),
        (sluicegate.TokenBucket, "(rate, *, burst, period=1.0, initial=None, clock=None, name=None)"),
        (sluicegate.LeakyBucket, "(rate, *, capacity, period=1.0, clock=None, name=None)"),
        (sluicegate.SlidingWindow, "(limit, period, *, clock=None, name=None)"),
        (sluicegate.RateLimits, "(*, name=None, **limits)"),
        (
            sluicegate.CoalescingQueue,
            "(maxsize=0, *, key, merge=None, overflow='block', on_drop=None, high=None, low=None, name=None, clock=None)",
        ),
        (sluicegate.Broadcast, "(*, clock=None, name=None)"),
        (sluicegate.Latest, "(initial=Ellipsis, *, clock=None, name=None)"),
        (sluicegate.Semaphore, "(value=1, *, clock=None, name=None)"),
        (sluicegate.BoundedSemaphore, "(value=1, *, clock=None, name=None)"),
        (sluicegate.KeyedSemaphore, "(value, *, max_keys, clock=None, name=None)"),
        (sluicegate.KeyedTokenBucket, "(rate, *, burst, max_keys, period=1.0, clock=None, name=None)"),
        (sluicegate.KeyedLeakyBucket, "(rate, *, capacity, max_keys, period=1.0, clock=None, name=None)"),
        (sluicegate.KeyedSlidingWindow, "(limit, period, *, max_keys, clock=None, name=None)"),
        (
            sluicegate.CircuitBreaker,
            (
                "(*, failure_rate=0.5, window=10.0, min_calls=20, run=5, slow_after=None, slow_rate=0.8,"
                " open_for=5.0, open_for_max=60.0, probes=3,"
                " probe_timeout=30.0, failure=Ellipsis, ignore=(), on_change=None, calls=None, metrics_only=False, clock=None, name=None)"
            ),
        ),
        (
            sluicegate.KeyedBreaker,
            (
                "(*, max_keys, failure_rate=0.5, window=10.0, min_calls=20, run=5, slow_after=None, slow_rate=0.8,"
                " open_for=5.0, open_for_max=60.0, probes=3,"
                " probe_timeout=30.0, failure=Ellipsis, ignore=(), on_change=None, calls=None, metrics_only=False, clock=None, name=None)"
            ),
        ),
        (
            sluicegate.AdaptiveConcurrency,
            (
                "(*, target, initial=20, min=1, max=200, decrease=0.9, bad_fraction=0.1, min_samples=1, step='one',"
                " max_waiting=0, shed=None, dropped=Ellipsis, clock=None, name=None)"
            ),
        ),
        (sluicegate.RetryBudget, "(ratio=0.1, *, reserve=10, per_second=0.1, clock=None, name=None)"),
        (sluicegate.UnlimitedRate, "(*, clock=None, name=None)"),
        (sluicegate.ZeroRate, "(*, clock=None, name=None)"),
        (
            sluicegate.CreditChannel,
            "(window=256, *, threshold=0.5, buffer=None, weigh=None, control_capacity=8, on_discard=None, clock=None, name=None)",
        ),
        (
            sluicegate.AckChannel,
            (
                "(window=256, *, threshold=0.5, buffer=None, ack_wait=None, max_deliver=5, retry=None, lane=None, weigh=None,"
                " control_capacity=8, on_discard=None, on_settled=None, clock=None, name=None)"
            ),
        ),
    ],
)
def test_constructors(kind, expected):
    """`inspect.signature` of the classes."""
    assert plain(inspect.signature(kind)) == expected


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, methods in CREDITS.items() for name in methods])
def test_signatures_of_channels(kind, name):
    """The same of what channels are made of."""
    assert plain(inspect.signature(getattr(getattr(sluicegate, kind), name))) == CREDITS[kind][name]


@pytest.mark.parametrize(
    "kind",
    [
        "RateLimiter",
        "KeyedLimiter",
        "TokenBucketKey",
        "LeakyBucketKey",
        "SlidingWindowKey",
        "Reservation",
        "RatePermit",
        "Channel",
        "Sender",
        "Receiver",
        "Permit",
        "Delivery",
        "SemaphorePermit",
        "SemaphoreKey",
        "CircuitPermit",
        "BreakerKey",
        "ConcurrencyPermit",
        "LatestTicks",
        "Pressure",
        "PressureListener",
    ],
)
def test_what_others_make(kind):
    """These are made by limiters and channels, and by nobody else."""
    with pytest.raises(TypeError, match=kind):
        getattr(sluicegate, kind)()


def test_simple_queue_has_no_more():
    """`SimpleQueue` has neither bound nor tasks nor end."""
    for name in ("maxsize", "full", "join", "task_done", "shutdown", "join_async", "producers", "consumers"):
        assert not hasattr(sluicegate.SimpleQueue, name)


@pytest.mark.parametrize("name", [name for name in QUEUE if name.endswith("_async")])
def test_async_methods(name):
    """`*_async` are coroutine functions whose names and home are right."""
    method = getattr(sluicegate.Queue, name)
    assert inspect.iscoroutinefunction(method)
    assert asyncio.iscoroutinefunction(method) if not hasattr(inspect, "markcoroutinefunction") else True
    assert method.__module__ == "sluicegate"
    assert method.__qualname__ == f"Queue.{name}"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("RateLimiter", "acquire_async"),
        ("RateLimits", "acquire_async"),
        ("RatePermit", "__aenter__"),
        ("Sender", "send_async"),
        ("Sender", "send_many_async"),
        ("Sender", "wait_ready_async"),
        ("Receiver", "receive_async"),
        ("Receiver", "receive_many_async"),
        ("Receiver", "stop_async"),
        ("Semaphore", "acquire_async"),
        ("SemaphorePermit", "__aenter__"),
    ],
)
def test_async_methods_of_the_others(kind, name):
    """The same of limiters and channels; `async with` has its own for each class."""
    for each in (name, "__aenter__", "__aexit__"):
        method = getattr(getattr(sluicegate, kind), each)
        assert inspect.iscoroutinefunction(method)
        assert method.__module__ == "sluicegate"
        assert method.__qualname__ == f"{kind}.{each}"


def test_the_wait_of_a_reservation():
    """A coroutine function as the others, of a class that is not a context manager."""
    method = sluicegate.Reservation.wait_async
    assert inspect.iscoroutinefunction(method)
    assert (method.__module__, method.__qualname__) == ("sluicegate", "Reservation.wait_async")


def test_inheritance():
    """`LifoQueue` and `PriorityQueue` are `Queue`s; `SimpleQueue` is not. Limiters and sets of them are `RateLimiter`s."""
    assert issubclass(sluicegate.LifoQueue, sluicegate.Queue)
    assert issubclass(sluicegate.PriorityQueue, sluicegate.Queue)
    assert not issubclass(sluicegate.SimpleQueue, sluicegate.Queue)
    assert issubclass(sluicegate.testing.ManualClock, sluicegate.Clock)
    for kind in ("TokenBucket", "LeakyBucket", "SlidingWindow", "TokenBucketKey", "LeakyBucketKey", "SlidingWindowKey", "RateLimits"):
        assert getattr(sluicegate, kind).__mro__[1:] == (sluicegate.RateLimiter, object)
    for kind in ("KeyedTokenBucket", "KeyedLeakyBucket", "KeyedSlidingWindow"):
        assert getattr(sluicegate, kind).__mro__[1:] == (sluicegate.KeyedLimiter, object)
    for kind in ("RateLimiter", "KeyedLimiter", "Reservation", "RatePermit"):
        assert getattr(sluicegate, kind).__mro__[1:] == (object,)
    for kind in ("CreditChannel", "AckChannel"):
        assert getattr(sluicegate, kind).__mro__[1:] == (sluicegate.Channel, object)
    assert sluicegate.BoundedSemaphore.__mro__[1:] == (sluicegate.Semaphore, object)
    for kind in ("RateLimited", "CircuitOpen", "Overloaded"):
        assert getattr(sluicegate, kind).__mro__[1:3] == (sluicegate.Refused, Exception)
    for kind in ("ChannelClosed", "ChannelCancelled", "ChannelFailed", "StaleDelivery"):
        assert getattr(sluicegate, kind).__mro__[1:3] == (sluicegate.ChannelError, Exception)
    for final in (sluicegate.TokenBucketKey, sluicegate.Reservation, sluicegate.Sender, sluicegate.Receiver, sluicegate.Delivery):
        with pytest.raises(TypeError, match="base type"):
            type("Subclass", (final,), {})
    assert not issubclass(sluicegate.RateLimited, (sluicegate.Empty, sluicegate.Full, TimeoutError))


def test_the_package_is_typed():
    """`py.typed` and the stub are installed beside the module."""
    here = Path(sluicegate.__file__).parent
    assert (here / "py.typed").is_file()
    assert (here / "_core.pyi").is_file()


def test_version_is_the_distributions():
    """`__version__` is the version of what is installed."""
    metadata = importlib.import_module("importlib.metadata")
    assert sluicegate.__version__ == metadata.version("sluicegate")


@pytest.mark.parametrize(
    ("name", "args", "how"),
    [
        ("Prefetch", (range(3),), "prefetch(iterable, n)"),
        ("AsyncPrefetch", (range(3),), "aprefetch(iterable, n)"),
        ("BoundedMap", (range(3), True), "map_bounded(f, items, workers=n)"),
        ("AsyncBoundedMap", (range(3),), "amap_bounded(f, items, workers=n)"),
        ("Submitting", (None, {}), "submitting() of a BoundedExecutor"),
        ("GuardKey", (None, "key"), "key(k) of a Guard"),
        ("RetryAttempt", (), "iterating over a Retry"),
    ],
)
def test_a_class_that_a_function_makes_objects_of_says_so(name, args, how):
    with pytest.raises(TypeError, match=re.escape(how)):
        getattr(sluicegate, name)(*args)
