"""Keyed semaphores: permits for each key, of which only those in use exist; a new key waits for a place."""

from __future__ import annotations

import asyncio
import copy
import gc
import uuid
import weakref
from ipaddress import ip_address

import pytest
from helpers import PATIENCE, collect, eventually, new_loop, on_loops, settle, spawn, wait_until

from sluicegate import KeyedSemaphore, Overloaded, Semaphore
from sluicegate.testing import ManualClock


def counts(hosts):
    seen = hosts.statistics()
    return seen.keys, seen.waiting_keys, seen.held, seen.waiters


def in_line(hosts, *calls):
    """A thread for each call, which join the wait queue one after the other."""
    workers = []
    for call in calls:
        before = hosts.statistics().waiters
        workers.append(spawn(call))
        wait_until(lambda before=before: hosts.statistics().waiters == before + 1)
    return workers


def test_each_key_has_its_own_permits():
    """And a key that is idle is not remembered."""
    hosts = KeyedSemaphore(2, max_keys=10, name="hosts")
    assert hosts.acquire("a", n=2) is True
    assert hosts.try_acquire("a") is False
    assert hosts.acquire("a", False) is False
    assert hosts.acquire("a", timeout=0) is False
    assert hosts.try_acquire("b") is True
    assert counts(hosts) == (2, 0, 3, 0)
    hosts.release("a", 2)
    hosts.release("b")
    assert counts(hosts) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="too many times: 'n' is 1, and 0 are held: .*'hosts' key='a'"):
        hosts.release("a")
    with pytest.raises(ValueError, match="'n' is 3, more than the total of 2 permits"):
        hosts.try_acquire("a", 3)
    assert (hosts.size, hosts.max_keys, hosts.name) == (2, 10, "hosts")


@on_loops
async def test_the_whole_is_no_context_manager():
    hosts = KeyedSemaphore(2, max_keys=10)
    with pytest.raises(TypeError, match=r"a KeyedSemaphore is not a context manager: write `with semaphore\.permit\(key\):`"), hosts:
        pass
    with pytest.raises(TypeError, match=r"write `with semaphore\.permit\(key\):`"):
        async with hosts:
            pass
    assert counts(hosts) == (0, 0, 0, 0)


def test_a_handle_is_a_semaphore():
    """Everything that a semaphore has, and no permits of its own: two handles of a key are the same semaphore."""
    hosts = KeyedSemaphore(2, max_keys=10, name="hosts")
    handle = hosts.key("a")
    assert isinstance(handle, Semaphore)
    with handle:
        assert (handle.value, hosts.key("a").value, hosts.key("b").value) == (1, 1, 2)
        with hosts.permit("a"), pytest.raises(Overloaded) as caught, hosts.permit("a", timeout=0):
            pass
        assert caught.value.name == "hosts"
        assert handle.statistics().held == 1
        assert repr(handle) == f"<sluicegate.SemaphoreKey 'hosts' key='a' at {id(handle):#x} held=1 waiters=0: value=1/2>"
    assert (handle.size, handle.name, handle.statistics().acquired) == (2, "hosts", 0)
    with pytest.raises(TypeError, match="all keys have the same number of permits"):
        handle.resize(3)
    assert repr(hosts) == f"<sluicegate.KeyedSemaphore 'hosts' at {id(hosts):#x} size=2 max_keys=10 keys=0 waiters=0>"

    async def main():
        async with handle.async_semaphore:
            assert handle.value == 1

    asyncio.run(main())


def test_a_key_is_known_by_its_value():
    """Keys of every kind; what is equal as a key is the same key, and 1 is not "1"."""
    hosts = KeyedSemaphore(1, max_keys=100)
    keys = ["1", b"1", 1, uuid.UUID(int=1), ip_address("127.0.0.1"), ip_address("::1"), ("1", 1), ("1", "1"), 2**100, "é"]
    assert all(hosts.try_acquire(key) for key in keys)
    assert not any(hosts.try_acquire(key) for key in (*keys, "é"))
    assert counts(hosts)[0] == len(keys)
    for bad in (True, 1.5, None, [1], ("a", [1])):
        for call in (hosts.key, hosts.acquire, hosts.try_acquire, hosts.release, hosts.permit):
            with pytest.raises(TypeError, match="'key' must be"):
                call(bad)


def test_arguments():
    """Refused by name and value."""
    for value, error in ((0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError), (2**63, OverflowError)):
        with pytest.raises(error, match="'value'"):
            KeyedSemaphore(value, max_keys=1)
    for most, error in ((0, ValueError), (None, TypeError), (True, TypeError)):
        with pytest.raises(error, match="'max_keys'"):
            KeyedSemaphore(1, max_keys=most)
    with pytest.raises(TypeError):
        KeyedSemaphore(1)
    with pytest.raises(TypeError, match=r"takes 1 positional argument but 2 were given; write max_keys=10$"):
        KeyedSemaphore(2, 10)
    for args, kwargs in (((2, "ten"), {}), ((2, 10), {"max_keys": 10})):
        with pytest.raises(TypeError, match=r"takes 1 positional argument but 2 were given$"):
            KeyedSemaphore(*args, **kwargs)
    with pytest.raises(TypeError, match="cannot copy"):
        copy.copy(KeyedSemaphore(1, max_keys=1))


def test_waiters_of_a_key_stand_in_its_line():
    """In the order they came; those of another key are not held up."""
    hosts = KeyedSemaphore(1, max_keys=10)
    hosts.acquire("a")
    order = []

    def take(name):
        hosts.acquire("a")
        order.append(name)
        hosts.release("a")

    waiters = in_line(hosts, *(lambda n=n: take(n) for n in range(3)))
    assert hosts.acquire("b") is True
    assert hosts.key("a").locked()
    hosts.release("a")
    for waiter in waiters:
        waiter.result()
    assert order == [0, 1, 2]
    assert counts(hosts) == (1, 0, 1, 0)


def test_when_all_keys_are_held_a_new_one_waits_for_a_place():
    """Keys get places in the order of their first waiters; a key that is waited for keeps its place."""
    hosts = KeyedSemaphore(1, max_keys=2)
    hosts.acquire("a")
    hosts.acquire("b")
    assert hosts.try_acquire("c") is False
    c, c_too, d = in_line(hosts, *(lambda key=key: hosts.acquire(key) for key in ("c", "c", "d")))
    assert counts(hosts) == (2, 2, 2, 3)
    hosts.release("a")
    assert c.result() is True
    hosts.release("c")
    assert c_too.result() is True
    assert not d.done()
    hosts.release("b")
    assert d.result() is True
    assert counts(hosts) == (2, 0, 2, 0)


def test_a_new_key_can_give_up():
    """A timeout in the line for a place: the key is gone, and the next one gets the place."""
    clock = ManualClock()
    hosts = KeyedSemaphore(1, max_keys=1, clock=clock)
    hosts.acquire("a")
    b = spawn(hosts.acquire, "b", timeout=1)
    clock.wait_for_waiters(1)
    c = spawn(hosts.acquire, "c")
    clock.wait_for_waiters(2)
    clock.advance(1)
    assert b.result() is False
    assert counts(hosts) == (1, 1, 1, 1)
    hosts.release("a")
    assert c.result() is True


@on_loops
async def test_coroutines():
    """acquire_async and permits; cancelled at any moment, nothing is lost."""
    hosts = KeyedSemaphore(1, max_keys=1)
    assert await hosts.acquire_async("a") is True
    assert await hosts.acquire_async("a", timeout=0) is False

    async def work(key):
        async with hosts.permit(key):
            await asyncio.sleep(0)

    for turns in range(6):
        tasks = []
        for number, key in enumerate(("b", "b", "c", "a"), 1):
            tasks.append(asyncio.create_task(work(key)))
            await eventually(lambda number=number: hosts.statistics().waiters == number)
        hosts.release("a")
        await settle(turns)
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not tasks[1].cancelled()
        assert not tasks[3].cancelled()
        assert counts(hosts) == (0, 0, 0, 0)
        assert await hosts.acquire_async("a") is True


@pytest.mark.thread_unsafe(reason="counts what one collection finds")
def test_the_collector():
    """A task in a key's line lives; handles keep their semaphore, and nothing else."""
    hosts = KeyedSemaphore(1, max_keys=1)
    hosts.acquire("a")
    loop = new_loop()
    task = loop.create_task(hosts.acquire_async("b"))
    loop.run_until_complete(settle())
    collect()
    hosts.release("a")
    assert loop.run_until_complete(task) is True
    loop.close()
    reference, handle = weakref.ref(hosts), hosts.key("b")
    del hosts, task, loop
    collect()
    assert reference() in gc.get_referents(handle)
    handle.release()
    del handle
    collect()
    assert reference() is None


def test_many_threads_over_few_places():
    """Never more inside than there are permits of a key, and no more keys than places; all come back."""
    hosts = KeyedSemaphore(2, max_keys=3)
    inside = [0] * 6
    most = []

    def work(number):
        for turn in range(100):
            key = (number + turn) % len(inside)
            with hosts.permit(key):
                inside[key] += 1
                most.append((hosts.statistics().keys, hosts.key(key).statistics().held))
                inside[key] -= 1

    workers = [spawn(work, number) for number in range(8)]
    for worker in workers:
        worker.result(PATIENCE * 4)
    assert max(keys for keys, _ in most) <= 3
    assert max(held for _, held in most) <= 2
    assert counts(hosts) == (0, 0, 0, 0)
    assert hosts.statistics().acquired == 800


def test_a_key_is_acquired_as_by_its_handle():
    """Whatever the arguments: what is taken and what is raised."""
    calls = [
        ((), {}),
        ((True,), {}),
        ((False,), {}),
        ((), {"blocking": False}),
        ((), {"timeout": 0}),
        ((), {"timeout": 0.0}),
        ((), {"timeout": -1}),
        ((True, 0.001), {}),
        ((False, 1), {}),
        ((1, None, 1), {"timeout": 2}),
        ((), {"n": 2, "timeout": 0}),
        ((), {"n": 3, "timeout": 0}),
        ((), {"n": 0, "timeout": 0}),
        ((), {"n": "one"}),
        ((), {"timeout": "long"}),
        ((), {"wrong": 1}),
    ]

    def outcome(call, *args, **kwargs):
        try:
            return call(*args, **kwargs)
        except (TypeError, ValueError) as error:
            return type(error)

    for held in (0, 1, 2):
        for args, kwargs in calls:
            by_key, by_handle = KeyedSemaphore(2, max_keys=1), KeyedSemaphore(2, max_keys=1)
            for semaphore in (by_key, by_handle):
                for _ in range(held):
                    assert semaphore.try_acquire("k") is True
            if held == 2 and (args, kwargs) in calls[:2]:
                continue  # it would wait
            told = outcome(by_key.acquire, "k", *args, **kwargs)
            assert told == outcome(by_handle.key("k").acquire, *args, **kwargs), (held, args, kwargs)
            assert outcome(by_key.try_acquire, "k") == outcome(by_handle.key("k").try_acquire)
            assert by_key.key("k").statistics().held == by_handle.key("k").statistics().held
            assert by_key.try_acquire("other") is (held == 0 and told is not True and by_key.statistics().held == 0)


def test_a_permit_of_a_key_needs_no_handle():
    """It holds the key's permits, says whose they are, and is refused, waits and is dropped as one of the handle's."""
    hosts = KeyedSemaphore(2, max_keys=1, name="hosts")
    permit = hosts.permit("a", 2)
    assert repr(permit) == f"<sluicegate.SemaphorePermit n=2 not held of key 'a' of {hosts!r}>"
    with permit as entered:
        assert entered is permit
        assert counts(hosts) == (1, 0, 2, 0)
        with pytest.raises(RuntimeError, match="held already"):
            permit.__enter__()
        for refused in (hosts.permit("a", timeout=0), hosts.permit("b", timeout=0)):
            with pytest.raises(Overloaded) as told:
                refused.__enter__()
            assert (told.value.reason, told.value.name, told.value.retry_after) == ("full", "hosts", 1.0)
        waiting = hosts.permit("a")
        (worker,) = in_line(hosts, waiting.__enter__)
    worker.result(PATIENCE)
    assert counts(hosts) == (1, 0, 1, 0)
    waiting.__exit__(None, None, None)
    assert counts(hosts) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="'n' is 3, more than the total of 2 permits: key 'a' of <sluicegate.KeyedSemaphore 'hosts'"):
        hosts.permit("a", 3).__enter__()
    dropped = [hosts.permit("a")]
    dropped[0].__enter__()
    with pytest.warns(ResourceWarning, match="held of key 'a' of"):
        dropped.clear()
    assert counts(hosts) == (0, 0, 0, 0)


def test_a_subclass_has_its_own_idea_of_a_key():
    """Whatever the method, it asks `key`."""

    class Hosts(KeyedSemaphore):
        def key(self, key):
            return super().key(key.lower())

    hosts = Hosts(1, max_keys=2)
    assert hosts.acquire("A")
    assert not hosts.try_acquire("a")
    hosts.release("a")
    with hosts.permit("A"):
        assert hosts.key("a").value == 0
        refused = hosts.permit("a", timeout=0)
        with pytest.raises(Overloaded, match="key 'a'"):
            refused.__enter__()
    assert counts(hosts) == (0, 0, 0, 0)


# --- decorator ---------------------------------------------------------------------------------------------------------


@on_loops
async def test_by_holds_a_permit_of_the_key_of_the_call():
    hosts = KeyedSemaphore(2, max_keys=10)

    @hosts.by(key=lambda host: host)
    def plain(host):
        return hosts.key(host).value, hosts.key("other").value

    @hosts.by(key=lambda host: host, n=2)
    async def coroutine(host):
        await asyncio.sleep(0)
        return hosts.key(host).value

    @hosts.by(key=lambda host: host)
    def generator(host):
        yield hosts.key(host).value
        yield hosts.key(host).value

    @hosts.by(key=lambda host: host)
    async def async_generator(host):
        yield hosts.key(host).value

    assert plain("a") == (1, 2)
    assert await coroutine("a") == 0
    assert list(generator("a")) == [1, 1]
    assert [value async for value in async_generator("a")] == [1]
    with pytest.raises(ZeroDivisionError):
        hosts.by(key=lambda host: host)(lambda host: 1 / 0)("a")
    assert counts(hosts) == (0, 0, 0, 0)


def test_by_waits_in_the_line_of_the_key():
    hosts = KeyedSemaphore(1, max_keys=10)
    call = hosts.by(key=lambda host: host)(lambda host: host)
    assert hosts.acquire("a")
    assert call("b") == "b"
    workers = in_line(hosts, lambda: call("a"))
    hosts.release("a")
    assert workers[0].result(PATIENCE) == "a"
    assert hosts.acquire("a")
    with pytest.raises(Overloaded):
        hosts.by(key=lambda host: host, timeout=0)(lambda host: host)("a")


def test_by_refuses_what_it_cannot_use():
    hosts = KeyedSemaphore(1, max_keys=10)

    async def asked(host):
        return host

    for wrong, error in (({"key": "a"}, TypeError), ({"key": asked}, TypeError), ({"key": str, "n": 0.5}, TypeError)):
        with pytest.raises(error):
            hosts.by(**wrong)
    with pytest.raises(ValueError, match="timeout"):
        hosts.by(key=str, timeout=-1)
    with pytest.raises(TypeError, match="can decorate only a function"):
        hosts.by(key=str)(5)

    @hosts.by(key=lambda host: host)
    def hidden(host):
        return asked(host)

    with pytest.raises(TypeError, match="has returned a coroutine"):
        hidden("a")
    assert counts(hosts) == (0, 0, 0, 0)


def test_a_key_function_that_forgets_to_return():
    """What is wrong is the function, not a key that somebody gave."""
    hosts = KeyedSemaphore(2, max_keys=10)
    call = hosts.by(key=lambda host: None)(lambda host: host)
    with pytest.raises(TypeError, match=r"'key' has returned None: <function .*<lambda> at .*> must return a key for each call"):
        call("a")
