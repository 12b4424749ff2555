"""`KeyedTokenBucket`: a bucket for each key, in bounded memory that never forgets a debt."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import uuid
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from ipaddress import IPv4Address, IPv6Address

import pytest
from helpers import LOOP_KINDS, PATIENCE, LoopThread, on_loops, run_script, settle, spawn
from rates import NANOSECOND, cancelled, in_line, tasks_in_line

from sluicegate import Guard, KeyedSlidingWindow, KeyedTokenBucket, RateLimited, RateLimits, TokenBucket, TokenBucketKey
from sluicegate.testing import ManualClock


def refused_key(keyed, key, n=1):
    """`try_acquire` of a new key where no room is left: refused, whatever the way."""
    try:
        return keyed.try_acquire(key, n) is False
    except RateLimited as refused:
        assert refused.retry_after > 0
        return True


# ------------------------------------------------------------------------------------------------------ a bucket per key


@on_loops
async def test_the_whole_is_no_context_manager():
    users = KeyedTokenBucket(1, burst=1, max_keys=10)
    with pytest.raises(TypeError, match=r"a KeyedTokenBucket is not a context manager: write `with limiter\.permit\(key\):`"), users:
        pass
    with pytest.raises(TypeError, match=r"write `with limiter\.permit\(key\):`"):
        async with users:
            pass
    assert users.statistics().keys == 0


def test_keys_do_not_share():
    """Each key has the whole burst."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(2, burst=3, max_keys=100, clock=clock, name="keyed")
    assert (keyed.rate, keyed.burst, keyed.period, keyed.max_keys, keyed.name) == (2.0, 3.0, 1.0, 100, "keyed")
    for key in range(10):
        assert keyed.try_acquire(key, 3)
        assert not keyed.try_acquire(key)
    clock.advance(0.5)
    for key in range(10):
        assert keyed.try_acquire(key)
        assert not keyed.try_acquire(key)
    assert len(keyed) == 10
    seen = keyed.statistics()
    assert (seen.admitted, seen.refused, seen.keys, seen.max_keys, seen.waiters) == (20, 20, 10, 100, 0)


def test_the_handle_is_the_key():
    """However many handles: one bucket a key; and a handle alone remembers nothing."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=5, max_keys=10, clock=clock)
    one, same, other = keyed.key("a"), keyed.key("a"), keyed.key("b")
    assert isinstance(one, TokenBucketKey)
    assert (one.key, one.rate, one.burst, one.period) == ("a", 1.0, 5.0, 1.0)
    assert len(keyed) == 0
    assert one.try_acquire(2)
    assert same.tokens == 3.0
    assert other.tokens == 5.0
    assert not keyed.try_acquire("a", 4)
    one.refund(1)
    assert keyed.try_acquire("a", 4)
    same.debit(3)
    assert one.retry_after() == 4.0
    assert len(keyed) == 1
    del one, same
    assert keyed.key("a").tokens == -3.0


DISTINCT = [
    1,
    "1",
    b"1",
    (1,),
    ((1,),),
    ("1",),
    (b"1",),
    (1, 1),
    ((1, 1),),
    ((1,), 1),
    (1, (1,)),
    11,
    "11",
    b"11",
    -1,
    0,
    "",
    b"",
    (),
    ((),),
    ((), ()),
    ("ab", "c"),
    ("a", "bc"),
    ("abc",),
    ("a", "b", "c"),
    "abc",
    b"abc",
    ("a", b"bc"),
    "\0",
    "\0\0",
    b"\0",
    ("", ""),
    ("\0",),
    2**64,
    2**64 + 1,
    2**128,
    -(2**64),
    256,
    b"\x01\x00",
    "ä",
    "ä".encode(),
    "ä".encode("latin-1"),
    "a\u0308",
    uuid.UUID(int=1),
    str(uuid.UUID(int=1)),
    uuid.UUID(int=1).bytes,
    uuid.UUID(int=2**64),
    IPv4Address("0.0.0.1"),
    IPv4Address("1.0.0.0"),
    "0.0.0.1",
    IPv4Address("0.0.0.1").packed,
    IPv6Address("::1"),
    IPv6Address("::ffff:0.0.0.1"),
    IPv6Address("fe80::1"),
    IPv6Address("fe80::1%eth0"),
    IPv6Address("fe80::1%eth1"),
    ("user", 7, IPv4Address("10.0.0.1")),
    ("user", 7, "10.0.0.1"),
    ("user", "7", IPv4Address("10.0.0.1")),
]


def test_different_keys_are_different():
    """Type, value and nesting all count."""
    keyed = KeyedTokenBucket(1e-9, burst=1, max_keys=1000, clock=ManualClock())
    for number, key in enumerate(DISTINCT):
        assert keyed.try_acquire(key), key
        assert len(keyed) == number + 1
    for key in DISTINCT:
        assert not keyed.try_acquire(key)
        assert not keyed.key(key).try_acquire()


def test_equal_keys_are_the_same():
    """Whatever object it is, and by whichever way it came about."""
    keyed = KeyedTokenBucket(1e-9, burst=1, max_keys=1000, clock=ManualClock())

    class Text(str):
        __slots__ = ()

    class Number(int):
        pass

    pairs = [
        ("user 1", f"user {len('1')}"),
        (b"user", bytes(bytearray(b"user"))),
        (10**30, int("1" + "0" * 30)),
        (uuid.UUID(int=5), uuid.UUID(str(uuid.UUID(int=5)))),
        (IPv4Address("10.0.0.1"), IPv4Address(0x0A000001)),
        (IPv6Address("::1"), IPv6Address(1)),
        (("a", (1,)), tuple(iter(("a", tuple(iter((1,))))))),
        ("sub", Text("sub")),
        (77, Number(77)),
    ]
    for one, other in pairs:
        assert keyed.try_acquire(one), one
        assert not keyed.try_acquire(other), other
    assert len(keyed) == len(pairs)


def test_text_that_is_no_text():
    """A lone surrogate is a key like any other."""
    keyed = KeyedTokenBucket(1, burst=1, max_keys=10, clock=ManualClock())
    assert keyed.try_acquire("\ud800")
    assert keyed.try_acquire("\udc00")
    assert not keyed.try_acquire("\ud800")
    assert keyed.try_acquire("?")


def test_a_tuple_that_is_very_deep():
    """A key nested beyond all reason works or is refused; it does not bring the interpreter down."""
    keyed = KeyedTokenBucket(1, burst=1, max_keys=10, clock=ManualClock())
    key = ()
    for _ in range(100000):
        key = (key,)
    try:
        assert keyed.try_acquire(key)
    except (RecursionError, ValueError, TypeError):
        assert len(keyed) == 0
    while key:
        key = key[0]


def test_subclasses_with_code_of_their_own():
    """A key whose `__eq__` and `__hash__` run Python is never asked by them."""

    class Lying(str):
        __slots__ = ()

        def __eq__(self, other):
            raise AssertionError

        def __hash__(self):
            raise AssertionError

    keyed = KeyedTokenBucket(1, burst=1, max_keys=10, clock=ManualClock())
    try:
        assert keyed.try_acquire(Lying("key"))
    except TypeError:
        return
    assert not keyed.try_acquire(Lying("key"))


# ------------------------------------------------------------------------------------------------------------- waiting


def test_a_waiter_on_one_key_never_delays_another():
    """One line a key."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=1, max_keys=100, clock=clock)
    a, b = keyed.key("a"), keyed.key("b")
    a.debit(5)
    (waiter,) = in_line(clock, a.acquire)
    assert not a.try_acquire()
    for _ in range(2):
        assert b.acquire(timeout=0) is True
        (waiting,) = in_line(clock, b.acquire)
        clock.advance(1 - NANOSECOND)
        assert keyed.statistics().waiters == 2
        clock.advance(NANOSECOND)
        waiting.result()
        assert not waiter.done()
        clock.advance(1)
    clock.advance(1)
    waiter.result()
    assert keyed.try_acquire("c")
    seen = keyed.statistics()
    assert (seen.waited, seen.waiters) == (3, 0)


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
def test_threads_and_tasks_of_many_keys(loop_kind):
    """Each key goes by its own schedule."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=1, max_keys=100, clock=clock)
    with LoopThread(loop_kind) as loop:
        waiters = {}
        for key in range(10):
            bucket = keyed.key(key)
            bucket.debit(1 + key)
            if key % 2:
                waiters[key] = in_line(clock, bucket.acquire)[0]
            else:
                waiters[key] = loop.submit(bucket.acquire_async())
                clock.wait_for_waiters(key + 1)
        for key in range(10):
            clock.advance(1 - NANOSECOND)
            assert keyed.statistics().waiters == 10 - key
            clock.advance(NANOSECOND)
            assert waiters[key].result(PATIENCE) is True
    assert keyed.statistics().waited_seconds == sum(range(1, 11))


@on_loops
async def test_cancelled_on_one_key():
    """The next of that key goes earlier; other keys notice nothing."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=1, max_keys=100, clock=clock)
    keyed.key("a").debit(1)
    keyed.key("b").debit(1)
    first, second, other = await tasks_in_line(*(keyed.key(key).acquire_async() for key in "aab"))
    await cancelled(first)
    await clock.advance_async(1)
    await settle()
    assert second.done() and other.done()


def test_waiting_on_the_system_clock():
    """Real time: threads and keys."""
    keyed = KeyedTokenBucket(200, burst=1, max_keys=10)
    workers = [spawn(keyed.key(number % 3).acquire) for number in range(15)]
    for worker in workers:
        worker.result()
    assert keyed.statistics().admitted == 15


# ------------------------------------------------------------------------------------------------------ bounded memory


def test_full_buckets_are_forgotten():
    """A full bucket is the same as none: keys come and go, and there are never more than `max_keys`."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=1, max_keys=10, clock=clock)
    for turn in range(50):
        for number in range(10):
            assert keyed.try_acquire((turn, number))
        assert len(keyed) == 10
        clock.advance(1)
    seen = keyed.statistics()
    assert seen.keys == len(keyed) <= 10
    assert seen.forgotten == 500 - seen.keys
    assert seen.refused == 0


def test_a_debt_is_never_forgotten():
    """Whatever comes after it: no key gets more than its law allows."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=2, max_keys=20, clock=clock)
    dice = random.Random(3)
    admitted = {}
    now = 0.0
    full = 0
    for _ in range(5000):
        key = dice.randrange(60)
        try:
            said = keyed.try_acquire(key)
        except RateLimited as refused:
            said = False
            full += 1
            assert refused.retry_after > 0
        if said:
            admitted.setdefault(key, []).append(now)
        if dice.random() < 0.1:
            step = dice.choice([0.25, 0.5, 1])
            clock.advance(step)
            now += step
        assert len(keyed) <= 20
    for times in admitted.values():
        for first, start in enumerate(times):
            for last in range(first, len(times)):
                assert last - first + 1 <= 2 + times[last] - start
    assert max(map(len, admitted.values())) > 5
    assert full >= 0


def test_a_newcomer_is_told_when_the_first_of_many_keys_can_be_forgotten():
    """However many shards the keys are in, and although what most of them say is out of date."""
    clock = ManualClock()
    for _ in range(20):  # the keys are hashed anew each time
        keyed = KeyedTokenBucket(1, burst=10, max_keys=40, clock=clock)
        for key in range(40):
            assert keyed.try_acquire(key)
        with pytest.raises(RateLimited):
            keyed.try_acquire("newcomer")
        for key in range(39):
            assert keyed.try_acquire(key, 5)
        with pytest.raises(RateLimited) as refused:
            keyed.try_acquire("newcomer")
        assert refused.value.retry_after == pytest.approx(1)


@pytest.mark.parametrize(
    "ask",
    [
        lambda keyed: keyed.try_acquire("new"),
        lambda keyed: keyed.acquire("new", timeout=0),
        lambda keyed: keyed.permit("new", timeout=0).__enter__(),
        lambda keyed: keyed.key("new").reserve(max_wait=0),
        lambda keyed: keyed.key("new").acquire(timeout=0),
    ],
    ids=["try_acquire", "acquire", "permit", "reserve", "key"],
)
def test_a_new_key_while_another_is_booked(ask):
    """It is told when the first key will be free, as things stand: of one in debt, and of a booked one after its bookings."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=5, max_keys=2, clock=clock)

    def told():
        with pytest.raises(RateLimited) as refused:
            ask(keyed)
        return refused.value.retry_after

    assert keyed.try_acquire("a", 3)
    bookings = [keyed.key("b").reserve(5) for _ in range(3)]  # at 0, 5 and 10
    assert told() == 3.0
    keyed.set_rate(1, key="a")  # which keeps "a" for good
    assert told() == 15.0
    clock.advance(14)
    assert told() == 1.0
    clock.advance(6)
    assert told() == 1.0, "it owes nothing, but its booking is held"
    del bookings
    assert keyed.try_acquire("new")


def test_a_new_key_where_all_are_in_debt():
    """Refused, and told when the first of them may be forgotten; which then holds."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=5, max_keys=2, clock=clock)
    assert keyed.try_acquire("a", 3)
    assert keyed.try_acquire("b", 5)
    assert refused_key(keyed, "c")
    with pytest.raises(RateLimited) as refused:
        keyed.key("c").acquire(timeout=0)
    assert refused.value.retry_after == 3.0
    with pytest.raises(RateLimited) as refused:
        keyed.key("c").reserve(max_wait=0)
    assert refused.value.retry_after == 3.0
    assert len(keyed) == 2
    # The old ones go on as ever.
    assert keyed.try_acquire("a", 2)
    assert not keyed.try_acquire("b")
    with pytest.raises(RateLimited) as refused:
        keyed.key("c").acquire(timeout=0)
    assert refused.value.retry_after == 5.0
    clock.advance(5 - NANOSECOND)
    assert refused_key(keyed, "c")
    clock.advance(NANOSECOND)
    assert keyed.key("c").acquire(timeout=0) is True
    assert len(keyed) == 2
    assert keyed.statistics().forgotten == 1


def test_keys_that_are_waited_for_or_paused_are_kept():
    """They are needed although nothing is owed."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=5, max_keys=2, clock=clock)
    keyed.key("paused").pause_for(100)
    keyed.key("waited").debit(1)
    (waiter,) = in_line(clock, (keyed.key("waited").acquire, 5))
    assert refused_key(keyed, "new")
    clock.advance(1)
    waiter.result()
    assert refused_key(keyed, "new")
    clock.advance(5)
    assert keyed.try_acquire("new")
    assert refused_key(keyed, "another")
    assert not keyed.try_acquire("paused")
    clock.advance(94)
    assert keyed.try_acquire("another")
    assert keyed.try_acquire("paused")


def test_a_zone_is_a_part_of_its_address():
    """Wherever it stands in a tuple, it does not flow together with what follows."""
    keyed = KeyedTokenBucket(1, burst=1, max_keys=10, clock=ManualClock())
    one, two = IPv6Address("fe80::1%w"), IPv6Address("fe80::2%z")
    assert keyed.try_acquire(((one, IPv6Address("fe80::2")), "z"))
    assert keyed.try_acquire(((IPv6Address("fe80::1"), "w"), two))
    assert len(keyed) == 2


def test_the_first_uuid_ever_while_another_is_looked_up():
    """What runs in the middle of the first use of a kind of key (a signal handler, an import hook) may use that kind too."""
    script = """
        import builtins, ipaddress, uuid
        from sluicegate import KeyedTokenBucket

        keyed = KeyedTokenBucket(1, burst=100, max_keys=10)
        keys, inside = [uuid.UUID(int=1), ipaddress.ip_address("::1")], []
        plain = builtins.__import__

        def hooked(name, *args, **kwargs):
            if not inside:
                inside.append(name)
                for key in keys:
                    keyed.try_acquire(key)
                inside.clear()
            return plain(name, *args, **kwargs)

        builtins.__import__ = hooked
        for key in keys:
            assert keyed.try_acquire(key)
        builtins.__import__ = plain
        print(len(keyed))
    """
    assert run_script(script, limit=20.0) == "2\n"


def test_debts_through_handles_and_reservations_count():
    """Reserved, debited: all of it is remembered."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=5, max_keys=3, clock=clock)
    reservation = keyed.key("reserved").reserve(5)
    keyed.key("debited").debit(20)
    keyed.key("acquired").acquire(2)
    assert refused_key(keyed, "new")
    clock.advance(2)
    assert keyed.try_acquire("new", 5)
    assert keyed.key("debited").tokens == -13.0
    assert refused_key(keyed, "next")
    reservation.settle(0)
    del reservation  # it keeps its key
    assert keyed.try_acquire("next", 5)
    assert len(keyed) == 3


def test_a_key_given_back_needs_no_room():
    """A refund that fills the bucket frees its place."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=1, max_keys=1, clock=clock)
    assert keyed.try_acquire("a")
    assert refused_key(keyed, "b")
    keyed.key("a").refund(1)
    assert keyed.try_acquire("b")
    assert refused_key(keyed, "a")
    keyed.key("b").refund(5)
    assert keyed.try_acquire("a")


def test_refusals_remember_nothing():
    """Asking, peeking and refused amounts take no room."""
    keyed = KeyedTokenBucket(1, burst=1, max_keys=1, clock=ManualClock())
    for number in range(5):
        bucket = keyed.key(number)
        assert bucket.tokens == 1.0
        assert bucket.retry_after() == 0.0
        assert keyed.try_acquire(number, 0)
        bucket.refund(1)
        bucket.statistics()
        with pytest.raises(ValueError):
            keyed.try_acquire(number, 2)
    del bucket  # it was asked for statistics, and counts as long as it is there
    assert len(keyed) == 0


def test_many_keys():
    """Ten thousand at once, each with its own state."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=10, max_keys=10000, clock=clock)
    for number in range(10000):
        assert keyed.try_acquire(number, 1 + number % 10)
    assert len(keyed) == 10000
    assert refused_key(keyed, "one more")
    for number in range(0, 10000, 7):
        assert keyed.key(number).tokens == 9 - number % 10
    clock.advance(10)
    assert keyed.try_acquire("one more")
    assert all(keyed.try_acquire(("again", number), 1) for number in range(9999))
    assert len(keyed) == 10000


# ------------------------------------------------------------------------------------------------------ rates of keys


def test_the_rate_of_all_keys():
    """For all that have none of their own, those in debt as well; tokens and debts are kept."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=4, max_keys=10, clock=clock)
    keyed.try_acquire("a", 4)
    keyed.try_acquire("b", 1)
    clock.advance(1)
    keyed.set_rate(2)
    assert (keyed.rate, keyed.burst) == (2.0, 4.0)
    assert keyed.key("a").tokens == 1.0
    clock.advance(1)
    assert keyed.key("a").tokens == 3.0
    keyed.set_rate(2, burst=10)
    clock.advance(100)
    assert keyed.try_acquire("a", 10)
    assert keyed.try_acquire("new", 10)
    keyed.set_rate(1, burst=2)
    with pytest.raises(ValueError):
        keyed.try_acquire("a", 3)
    clock.advance(100)
    assert keyed.key("a").tokens == 2.0


def test_the_rate_of_all_keys_reaches_those_who_wait():
    """A wait that has begun is shortened."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(0.1, burst=1, max_keys=10, clock=clock)
    for key in "ab":
        keyed.key(key).debit(1)
    waiters = in_line(clock, keyed.key("a").acquire, keyed.key("b").acquire)
    clock.advance(5)
    keyed.set_rate(1)
    clock.advance(0.5 - NANOSECOND)
    assert keyed.statistics().waiters == 2
    clock.advance(NANOSECOND)
    for waiter in waiters:
        waiter.result()


@pytest.mark.parametrize("by_handle", [True, False])
def test_a_rate_of_its_own(by_handle):
    """For one key; the others keep theirs, and a change for all leaves it alone."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=1, max_keys=10, clock=clock)

    def set_rate(rate, **burst):
        if by_handle:
            keyed.key("special").set_rate(rate, **burst)
        else:
            keyed.set_rate(rate, **burst, key="special")

    set_rate(10, burst=5)
    special = keyed.key("special")
    assert (special.rate, special.burst) == (10.0, 5.0)
    assert (keyed.rate, keyed.burst) == (1.0, 1.0)
    assert keyed.key("other").burst == 1.0
    clock.advance(10)
    assert special.try_acquire(5)
    assert not special.try_acquire(1)
    clock.advance(0.1)
    assert special.try_acquire(1)
    with pytest.raises(ValueError):
        keyed.try_acquire("other", 2)
    keyed.set_rate(2, burst=3)
    assert (special.rate, special.burst) == (10.0, 5.0)
    set_rate(20)
    assert (special.rate, special.burst) == (20.0, 5.0)


def test_a_rate_of_its_own_is_kept_until_forget():
    """It counts as one of `max_keys`, full or not."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=1, max_keys=1, clock=clock)
    keyed.set_rate(10, burst=5, key="special")
    clock.advance(1000)
    assert len(keyed) == 1
    assert refused_key(keyed, "other")
    assert keyed.key("special").rate == 10.0
    assert keyed.forget("special") is True
    assert keyed.forget("special") is False
    assert keyed.forget("never seen") is False
    assert keyed.key("special").rate == 1.0
    assert keyed.try_acquire("other")


def test_forget_keeps_the_debt():
    """It drops the rate only."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=2, max_keys=5, clock=clock)
    keyed.set_rate(10, burst=5, key="special")
    keyed.key("special").debit(20)
    tokens = keyed.key("special").tokens
    assert keyed.forget("special") is True
    after = keyed.key("special").tokens
    assert after <= tokens
    assert after < 0
    assert not keyed.try_acquire("special")
    clock.advance(-after)
    assert not keyed.try_acquire("special")
    clock.advance(1)
    assert keyed.try_acquire("special")
    assert keyed.forget("debt without a rate") is False


def test_a_key_called_none_is_not_all_keys():
    """`set_rate(rate, key=None)` is a mistake, not "for all"."""
    keyed = KeyedTokenBucket(1, burst=1, max_keys=5)
    with pytest.raises(TypeError, match="'key'"):
        keyed.set_rate(2, key=None)
    assert keyed.rate == 1.0


# ------------------------------------------------------------------------------------------------ handles are limiters


@on_loops
async def test_a_handle_has_the_whole_interface():
    """Context manager, decorator, reservations, member of a set."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=10, max_keys=5, clock=clock)
    bucket = keyed.key("k")

    @bucket(n=2)
    def work():
        return "done"

    @keyed.key("k")
    async def work_async():
        return "done"

    with bucket:
        pass
    async with keyed.key("k"):
        pass
    assert work() == "done"
    assert await work_async() == "done"
    assert bucket.tokens == 5.0
    with bucket.permit(1) as permit:
        permit.settle(1)
    limits = RateLimits(user=bucket, everybody=TokenBucket(1, burst=100, clock=clock))
    assert limits.try_acquire(user=4, everybody=50)
    assert bucket.tokens == 0.0
    assert limits.retry_after(1) == 1.0
    (task,) = await tasks_in_line(limits.acquire_async(user=2, everybody=1))
    assert not keyed.try_acquire("k")
    assert keyed.try_acquire("other")
    await clock.advance_async(2)
    await settle()
    assert task.done()


def test_a_limit_per_key_and_one_for_all():
    """All or none, over a key and a bucket shared by all keys."""
    clock = ManualClock()
    keyed, everybody = KeyedTokenBucket(1, burst=2, max_keys=100, clock=clock), TokenBucket(1, burst=5, clock=clock)
    went = 0
    for key in range(5):
        limits = RateLimits(key=keyed.key(key), everybody=everybody)
        went += limits.try_acquire() + limits.try_acquire() + limits.try_acquire()
    assert went == 5
    assert everybody.tokens == 0.0
    assert keyed.key(4).tokens == 2.0


def test_statistics_of_a_handle():
    """Those of its own key."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=1, max_keys=5, clock=clock)
    bucket = keyed.key("k")
    bucket.acquire()
    (waiter,) = in_line(clock, bucket.acquire)
    assert bucket.statistics().waiters == 1
    assert keyed.key("other").statistics().waiters == 0
    assert keyed.statistics().waiters == 1
    clock.advance(1)
    waiter.result()
    assert keyed.statistics().waited == 1


@pytest.mark.parametrize("make", [lambda: KeyedTokenBucket(1, burst=9, max_keys=5), lambda: KeyedSlidingWindow(9, 60, max_keys=5)])
def test_what_all_keys_were_admitted_is_never_forgotten(make):
    """A key's own counters are, as soon as only its state is remembered."""
    keyed = make()
    handle = keyed.key("k")
    for _ in range(3):
        handle.acquire()
    assert handle.statistics().admitted == 3
    keyed.acquire("k")
    del handle
    assert keyed.key("k").statistics().admitted == 0
    assert keyed.statistics().admitted == 4


# ----------------------------------------------------------------------------------------------------------- contention


def test_contention_over_keys():
    """Eight threads on the same keys, each with a burst: exactly the burst of each is let go."""
    keyed = KeyedTokenBucket(1e-9, burst=10, max_keys=500, clock=ManualClock())
    barrier = threading.Barrier(8, timeout=PATIENCE)

    def ask(seed):
        keys = list(range(200)) * 4
        random.Random(seed).shuffle(keys)
        taken = dict.fromkeys(range(200), 0)
        barrier.wait()
        for key in keys:
            taken[key] += keyed.try_acquire(key)
        return taken

    workers = [spawn(ask, seed) for seed in range(8)]
    parts = [worker.result() for worker in workers]
    assert [sum(part[key] for part in parts) for key in range(200)] == [10] * 200
    seen = keyed.statistics()
    assert (seen.admitted, seen.refused, seen.keys) == (2000, 200 * 32 - 2000, 200)


def test_contention_for_room():
    """Threads bring new keys where there is room for few, while the clock moves: never more than `max_keys`, and no key beyond its law."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=1, max_keys=50, clock=clock)
    stop = threading.Event()

    def ask(seed):
        dice = random.Random(seed)
        taken = {}
        while not stop.is_set():
            key = dice.randrange(200)
            try:
                if keyed.try_acquire(key):
                    taken[key] = taken.get(key, 0) + 1
            except RateLimited:
                pass
            if len(keyed) > 50:
                raise AssertionError("too many keys")
        return taken

    workers = [spawn(ask, seed) for seed in range(4)]
    for _ in range(200):
        clock.advance(0.1)
    stop.set()
    parts = [worker.result() for worker in workers]
    for key in range(200):
        assert sum(part.get(key, 0) for part in parts) <= 1 + 20
    assert sum(sum(part.values()) for part in parts) == keyed.statistics().admitted


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
def test_two_loops_share_keys(loop_kind):
    """Tasks of two loops and threads, on the system's clock."""
    keyed = KeyedTokenBucket(500, burst=1, max_keys=3)

    async def go(key):
        for _ in range(10):
            await keyed.key(key).acquire_async()

    def go_in_thread(key):
        for _ in range(10):
            keyed.key(key).acquire()

    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        futures = [loop.submit(go(key)) for loop in (one, two) for key in range(3)]
        workers = [spawn(go_in_thread, key) for key in range(3)]
        for waiter in [*futures, *workers]:
            waiter.result(PATIENCE)
    assert keyed.statistics().admitted == 90


def test_keys_are_not_kept():
    """Only a hash is: the objects go."""
    keyed = KeyedTokenBucket(1, burst=1, max_keys=10, clock=ManualClock())
    key = ("a tuple", 10**50, b"bytes")
    before = sys.getrefcount(key)
    for _ in range(100):
        keyed.try_acquire(key)
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return  # counts are spread over threads
    assert sys.getrefcount(key) == before
    asyncio.run(asyncio.sleep(0))


@pytest.mark.parametrize("per_day", [1, 7, 1000])
@pytest.mark.parametrize("by_key", [False, True])
def test_what_was_refunded_whole_is_there_whole(per_day, by_key):
    """At a rate at which a billionth of a token takes long: no rounding is left of what was given back."""
    for start in range(50):
        clock = ManualClock(start * 1.000000137)
        if by_key:
            limit = KeyedTokenBucket(per_day, burst=1, period=86_400, max_keys=2, clock=clock).key("key")
        else:
            limit = TokenBucket(per_day, burst=1, period=86_400, clock=clock)
        clock.advance(start * 0.7310001)
        for _ in range(3):
            assert limit.try_acquire(0.25)
            assert limit.try_acquire(0.75)
            assert limit.tokens == 0
            limit.refund(0.5)
            limit.refund(0.5)
            assert limit.tokens == 1
            limit.reserve(1, max_wait=0).settle(0)
            assert limit.try_acquire(1)
            limit.refund(1)


@on_loops
async def test_methods_with_the_key_first():
    """What a key's handle does, without the handle."""
    clock = ManualClock()
    keyed = KeyedTokenBucket(1, burst=2, max_keys=10, clock=clock)
    assert keyed.acquire("a", 2)
    assert keyed.retry_after("a") == 1.0
    assert keyed.retry_after("b") == 0.0
    with pytest.raises(RateLimited):
        keyed.acquire("a", timeout=0.5)
    waiting = asyncio.create_task(keyed.acquire_async("a", timeout=5))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await keyed.acquire_async("b")  # another key's line is its own
    await clock.advance_async(1.0)
    assert await waiting
    keyed.pause_for("b", 30)
    assert keyed.retry_after("b") == 30.0
    with pytest.raises(TypeError):
        keyed.acquire(object())


@pytest.mark.parametrize("make", [lambda one: one, lambda one: RateLimits(one=one)])
def test_a_retry_after_as_it_comes(make):
    """Seconds or an HTTP date in any of its three forms; a date that is over is no pause."""
    clock = ManualClock()
    limit = make(TokenBucket(1, burst=1, clock=clock))
    limit.pause_for(" 30 ")
    assert limit.retry_after() == 30.0
    limit.pause_for(b"40")
    limit.pause_for("39.5")
    assert limit.retry_after() == 40.0
    for over in ("Wed, 21 Oct 2015 07:28:00 GMT", "Wednesday, 21-Oct-15 07:28:00 GMT", "Wed Oct 21 07:28:00 2015"):
        limit.pause_for(over)
    assert limit.retry_after() == 40.0
    ahead = datetime.now(timezone.utc) + timedelta(hours=1)
    limit.pause_for(format_datetime(ahead, usegmt=True))
    assert 3590.0 < limit.retry_after() <= 3600.0
    for wrong in ("", "soon", "-5", "1e3", "nan", "21 Oct"):
        with pytest.raises(ValueError, match="HTTP date"):
            limit.pause_for(wrong)
    with pytest.raises(OverflowError):
        limit.pause_for("9" * 30)
    with pytest.raises(TypeError, match="not None: without the header, do not pause"):
        limit.pause_for(None)


@pytest.mark.parametrize(
    "take",
    [
        lambda table: table.try_acquire("b"),
        lambda table: table.acquire("b", timeout=1),
        lambda table: table.key("b").try_acquire(),
        lambda table: table.key("b").acquire(timeout=1),
        lambda table: table.key("b").permit(),
        lambda table: Guard(rate=table).key("b").call(int),
    ],
)
def test_a_full_table_counts_its_refusals_and_is_named(take):
    table = KeyedTokenBucket(0.001, burst=1, max_keys=1)
    assert table.try_acquire("a")
    with pytest.raises(RateLimited, match="all 1 keys of KeyedTokenBucket are in use"):
        take(table)
    assert table.statistics().refused == 1


def test_a_rate_of_its_own_for_a_key_without_room_names_the_table():
    table = KeyedTokenBucket(0.001, burst=1, max_keys=1)
    assert table.try_acquire("a")
    with pytest.raises(RateLimited, match="all 1 keys of KeyedTokenBucket are in use"):
        table.key("b").set_rate(1)
