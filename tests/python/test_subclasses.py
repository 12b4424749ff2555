"""A subclass may have an `__init__` of its own, which says by `super().__init__(...)` what the object is made of."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

import sluicegate
from sluicegate import (
    AdaptiveConcurrency,
    Broadcast,
    CircuitBreaker,
    KeyedBreaker,
    KeyedSemaphore,
    Latest,
    RateLimits,
    RetryBudget,
    Semaphore,
    TokenBucket,
)
from sluicegate.testing import ManualClock

MADE_OF = {
    "KeyedTokenBucket": ((5,), {"burst": 2, "max_keys": 3}),
    "KeyedLeakyBucket": ((5,), {"capacity": 2, "max_keys": 3}),
    "KeyedSlidingWindow": ((2, 60), {"max_keys": 3}),
    "Semaphore": ((2,), {}),
    "BoundedSemaphore": ((2,), {}),
    "KeyedSemaphore": ((2,), {"max_keys": 3}),
    "Latest": (("first",), {}),
    "Broadcast": ((), {}),
    "RateLimits": ((), {}),
    "CircuitBreaker": ((), {"min_calls": 2, "failure_rate": 0.5}),
    "KeyedBreaker": ((), {"max_keys": 3}),
    "AdaptiveConcurrency": ((), {"target": 1, "initial": 2, "max": 5}),
    "RetryBudget": ((0.5,), {"reserve": 3}),
}
CALLS = {
    "Semaphore": [lambda s: s.try_acquire(), lambda s: s.acquire(), lambda s: s.permit(), lambda s: s.release(), lambda s: s.resize(3)],
    "KeyedSemaphore": [lambda s: s.key(1), lambda s: s.try_acquire("k"), lambda s: s.acquire("k"), lambda s: s.release("k")],
    "Latest": [
        lambda s: s.set(1),
        lambda s: s.get_nowait(),
        lambda s: s.get(timeout=0),
        lambda s: s.changed(timeout=0),
        lambda s: s.peek(),
    ],
    "Broadcast": [lambda s: s.publish(1), lambda s: s.publish_nowait(1), lambda s: s.subscribe(1)],
    "RateLimits": [
        *(
            lambda s, name=name: getattr(s, name)()
            for name in ("try_acquire", "acquire", "permit", "reserve", "refund", "debit", "retry_after")
        ),
        lambda s: s.pause_for(1),
    ],
    "CircuitBreaker": [lambda s, name=name: getattr(s, name)() for name in ("permit", "force_open", "disable", "reset")],
    "KeyedBreaker": [lambda s, name=name: getattr(s, name)("k") for name in ("key", "permit", "force_open", "state")],
    "AdaptiveConcurrency": [lambda s: s.permit(), lambda s: s.permit(priority=1), lambda s: s.set_limits(1, 2), lambda s: s(len)],
    "RetryBudget": [lambda s: s.try_acquire(), lambda s: s.deposit()],
    "Keyed": [
        *(lambda s, name=name: getattr(s, name)("k") for name in ("try_acquire", "acquire", "key", "forget", "retry_after", "permit")),
        lambda s: s.try_acquire(("tuple", 1)),
    ],
}
CALLS["BoundedSemaphore"] = CALLS["Semaphore"]


#: How the limit is changed.
CHANGES = {
    "KeyedTokenBucket": lambda s: s.set_rate(1),
    "KeyedLeakyBucket": lambda s: s.set_rate(1, key="k"),
    "KeyedSlidingWindow": lambda s: s.set_limit(1),
}


def calls(kind):
    changes = [CHANGES[kind]] if kind in CHANGES else []
    return [*CALLS.get(kind, CALLS["Keyed"]), *changes, lambda s: s.statistics()]


@pytest.mark.parametrize("kind", list(MADE_OF))
def test_an_init_of_its_own(kind):
    args, kwargs = MADE_OF[kind]
    base = getattr(sluicegate, kind)
    clock = ManualClock()
    own = {"clock": clock} if kind != "RateLimits" else {"a": TokenBucket(1, burst=2, clock=clock)}

    class Host(base):
        def __init__(self, host, *, port=80):
            self.host = (host, port)
            for call in calls(kind):
                with pytest.raises(RuntimeError, match=r"__init__\(\) has not been called: call super\(\).__init__\(\.\.\.\) first"):
                    call(self)
            assert "Host" in repr(self)
            super().__init__(*args, name=host, **own, **kwargs)

    host = Host("example.org", port=443)
    plain = base(*args, name="example.org", **own, **kwargs)
    assert host.host == ("example.org", 443)
    assert host.statistics() == plain.statistics()
    if hasattr(plain, "name"):
        assert host.name == "example.org"
    assert repr(host).split(" at 0x")[1].split(" ", 1)[1:] == repr(plain).split(" at 0x")[1].split(" ", 1)[1:]
    base.__init__(host, *args, **kwargs, **own)  # it is made already
    if kind == "Latest":
        host.set("second")
        assert (host.get(), host.version) == ("second", 2)
    elif kind == "Broadcast":
        subscriber = host.subscribe(1)
        assert (host.publish(1), subscriber.get()) == (1, 1)
    elif kind == "RateLimits":
        assert [host.try_acquire(), host.try_acquire(), host.try_acquire()] == [True, True, False]
        with pytest.raises(sluicegate.RateLimited) as refused:
            host.acquire(timeout=0)
        assert refused.value.name == "example.org"
        assert RateLimits(host=host, b=TokenBucket(1, burst=1, clock=clock)).limits["host"] is host
    elif kind.endswith("Breaker"):
        breaker = host if kind == "CircuitBreaker" else host.key("k")
        breaker.force_open()
        with pytest.raises(sluicegate.CircuitOpen) as refused, breaker.permit():
            pass
        assert refused.value.name == "example.org"
        assert host.statistics().refused == 1
    elif kind == "AdaptiveConcurrency":
        with host.permit(), host.permit(), pytest.raises(sluicegate.Overloaded) as refused, host.permit():
            pass
        assert refused.value.name == "example.org"
        host.set_limits(1, 2)
        assert (host.limit, host.statistics().successes, host.statistics().refused) == (2, 2, 1)
    elif kind == "RetryBudget":
        assert [host.try_acquire() for _ in range(4)] == [True, True, True, False]
        host.deposit()
        assert (host.tokens, host.ratio, host.statistics().refused) == (0.5, 0.5, 1)
    elif kind.endswith("Semaphore") and kind != "KeyedSemaphore":
        with host, host.permit(1):
            assert not host.try_acquire()
        assert asyncio.run(host.acquire_async()) is True
    else:
        taken = [host.try_acquire("key") for _ in range(4)]
        assert taken == [plain.try_acquire("key") for _ in range(4)]
        assert taken[0] and not taken[-1]
        assert host.key("key").statistics() == plain.key("key").statistics()


@pytest.mark.parametrize("kind", list(MADE_OF))
def test_one_that_never_calls_ours(kind):
    base = getattr(sluicegate, kind)

    class Silent(base):
        def __init__(self, *_args):
            pass

    silent = Silent(1, 2, 3)
    for call in calls(kind):
        with pytest.raises(RuntimeError, match="has not been called"):
            call(silent)
    assert "Silent" in repr(silent)


@pytest.mark.parametrize("kind", list(MADE_OF))
def test_others_are_as_before(kind):
    """Subclasses without an `__init__`, or with a `__new__`; and the classes themselves refuse what they refused."""
    args, kwargs = MADE_OF[kind]
    base = getattr(sluicegate, kind)
    if kind == "RateLimits":
        kwargs = {"a": TokenBucket(1, burst=2)}
    elif kind == "CircuitBreaker":
        kwargs = {**kwargs, "clock": ManualClock()}

    class Plain(base):
        pass

    class Own(base):
        def __new__(cls, _host):
            return super().__new__(cls, *args, **kwargs)

        def __init__(self, host):
            self.host = host

    class Child(Plain):
        def __init__(self, more):
            super().__init__(*args, **kwargs)
            self.more = more

    seen = base(*args, **kwargs).statistics()
    assert Plain(*args, **kwargs).statistics() == Own("h").statistics() == Child(1).statistics() == seen
    with pytest.raises(TypeError, match=rf"{kind}\(\) takes \d positional arguments? but \d (was|were) given"):
        base(*args, *(["more"] * 3), **kwargs)
    if kind != "RateLimits":
        with pytest.raises(TypeError, match=rf"{kind}\(\) got an unexpected keyword argument 'colour'"):
            base(*args, **kwargs, colour="red")


@pytest.mark.parametrize(("kind", "missing"), [("KeyedSemaphore", "value"), ("KeyedTokenBucket", "rate")])
def test_what_is_missing_is_named(kind, missing):
    with pytest.raises(TypeError, match=f"missing 1 required argument: '{missing}'"):
        getattr(sluicegate, kind)(max_keys=3)


def test_arguments_of_a_subclass_are_its_own():
    """What is said of a first argument by position is not said of one that is the subclass's."""

    class Service(AdaptiveConcurrency):
        def __init__(self, retries, *, colour):
            super().__init__(target=1)
            self.seen = (retries, colour)

    assert Service(3, colour="red").seen == (3, "red")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'retries'"):
        Service(colour="red")
    with pytest.raises(TypeError, match="write AdaptiveConcurrency\\(target=3\\)"):
        AdaptiveConcurrency(3)


@pytest.mark.parametrize(
    "base", [AdaptiveConcurrency, RetryBudget, Broadcast, CircuitBreaker, KeyedBreaker, KeyedSemaphore, Latest, Semaphore]
)
def test_a_cycle_through_one_that_is_not_made_is_collected(base):
    class Silent(base):
        def __init__(self):
            self.me = self

    silent = Silent()
    seen = weakref.ref(silent)
    del silent
    gc.collect()
    assert seen() is None
