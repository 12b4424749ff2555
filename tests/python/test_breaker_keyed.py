"""`KeyedBreaker`: a breaker for each key, in bounded memory."""

from __future__ import annotations

import gc
import ipaddress
import uuid
import weakref

import pytest
from helpers import collect, is_gone, spawn

from sluicegate import CircuitOpen, KeyedBreaker, Overloaded
from sluicegate.testing import ManualClock


def fail(permit, times=1):
    for _ in range(times):
        permit.acquire()
        permit.failure()


def succeed(permit):
    with permit:
        pass


def test_each_key_has_its_own():
    """Handles and methods are the same; the listener and the messages name the key."""
    changes = []
    hosts = KeyedBreaker(max_keys=100, calls=1, name="hosts", on_change=lambda *change: changes.append(change))
    fail(hosts.permit("a"))
    key = hosts.key("a")
    assert (key.state, hosts.state("a"), hosts.state("b"), key.key, key.name) == ("open", "open", "closed", "a", "hosts")
    assert 0 < hosts.retry_after("a") <= 5.0
    with pytest.raises(CircuitOpen, match="circuit breaker 'hosts' of key 'a' is open; retry after") as refused:
        succeed(key.permit())
    assert (refused.value.name, refused.value.state) == ("hosts", "open")
    hosts.reset("a")
    hosts.disable(("b", 1))
    hosts.force_open(b"c", for_=2)
    assert [hosts.state(key) for key in ("a", ("b", 1), b"c")] == ["closed", "disabled", "forced_open"]
    assert changes[0] == ("a", "closed", "open", "1 of the last 1 calls failed")
    assert [change[0] for change in changes] == ["a", "a", ("b", 1), b"c"]
    address, number = ipaddress.ip_address("::1"), uuid.UUID(int=1)
    fail(hosts.permit(address))
    fail(hosts.permit(number))
    assert hosts.state(address) == hosts.state(number) == "open"
    assert len(hosts) == 5
    assert repr(key).startswith("<sluicegate.BreakerKey 'hosts' key='a' at 0x")
    assert repr(hosts).endswith(" keys=5 open=3 max_keys=100>")
    seen = hosts.statistics()
    assert (seen.calls, seen.failures, seen.refused, seen.opened, seen.keys, seen.open) == (3, 3, 1, 3, 5, 3)
    assert key.statistics().failures == 1


def test_idle_keys_make_room_and_open_ones_stay():
    """A thousand healthy hosts pass through a table of four; the failing one is not forgotten."""
    clock = ManualClock()
    hosts = KeyedBreaker(max_keys=4, calls=2, clock=clock)
    fail(hosts.permit("bad"), 2)
    for number in range(1000):
        succeed(hosts.permit(number))
    seen = hosts.statistics()
    assert (seen.untracked, hosts.state("bad")) == (0, "open")
    assert len(hosts) <= 4 and seen.forgotten >= 990
    assert (seen.calls, seen.successes) == (1002, 1000)


def test_a_full_table_lets_newcomers_through():
    """Calls for them are not tracked; they are when there is room again."""
    clock = ManualClock()
    hosts = KeyedBreaker(max_keys=2, calls=1, clock=clock, name="hosts")
    for key in "ab":
        fail(hosts.permit(key))
    fail(hosts.permit("c"), 10)
    assert (hosts.statistics().untracked, hosts.state("c")) == (10, "closed")
    for refused in (hosts.key("c").disable, hosts.key("c").force_open):
        with pytest.raises(Overloaded, match="all 2 keys of KeyedBreaker 'hosts' are in use") as error:
            refused()
        assert (error.value.retry_after, error.value.reason, error.value.name) == (10.0, "full", "hosts")
    hosts.reset("a")
    fail(hosts.permit("c"))
    assert hosts.state("c") == "open"
    clock.advance(1000)
    fail(hosts.permit("d"))
    assert (hosts.state("d"), len(hosts)) == ("open", 2)


def test_invalid_arguments():
    """The breaker's own, `max_keys`, and keys."""
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'max_keys'"):
        KeyedBreaker()
    with pytest.raises(ValueError, match="'max_keys' must be at least 1, not 0"):
        KeyedBreaker(max_keys=0)
    with pytest.raises(ValueError, match="'window' must be at least a nanosecond"):
        KeyedBreaker(max_keys=1, window=0)
    with pytest.raises(TypeError, match=r"KeyedBreaker\(\) got an unexpected keyword argument 'windows'"):
        KeyedBreaker(max_keys=1, windows=1)
    hosts = KeyedBreaker(max_keys=1)
    for key in (1.5, None, ["a"]):
        with pytest.raises(TypeError, match="'key' must be a str, bytes, int"):
            hosts.permit(key)
    with pytest.raises(TypeError, match=r"write `with breaker\.permit\(key\):`"), hosts:
        pass
    assert bool(hosts) and not len(hosts)


def test_cycles_are_collected():
    """Through the listener, a key, and a handle."""

    class Client:
        def __init__(self):
            self.hosts = KeyedBreaker(max_keys=1, on_change=self.changed)
            self.handle = self.hosts.key("a")
            self.permit = self.handle.permit()

        def changed(self, key, old, new, why):
            """Is held."""

    client = Client()
    references = [weakref.ref(each) for each in (client, client.hosts, client.handle, client.permit)]
    del client
    collect()
    assert all(is_gone(reference) for reference in references)


def test_threads_lose_no_count():
    """Eight threads on a dozen keys with room for eight: whatever is forgotten, each call has an outcome."""
    rounds, threads = 1_000, 8
    hosts = KeyedBreaker(max_keys=8, min_calls=20, open_for=1e-6, open_for_max=1e-6)

    def work(number):
        for turn in range(rounds):
            permit = hosts.permit((turn * 7 + number) % 12)
            if permit.try_acquire():
                permit.success() if turn % 2 else permit.failure()

    for worker in [spawn(work, number) for number in range(threads)]:
        worker.result()
    gc.collect()
    seen = hosts.statistics()
    assert seen.calls + seen.refused == rounds * threads
    assert seen.calls == seen.successes + seen.failures + seen.stale
    assert len(hosts) <= 8
