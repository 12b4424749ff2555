"""Many waiters, keys or subscribers, and no large piece of memory: who waits is woken; what grows raises `MemoryError` and is as it was."""

from __future__ import annotations

import sys

import pytest
from helpers import run_script

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS limits what is asked for")

#: After `fragment()` the allocator has pieces of up to 1,500 bytes, and no larger ones.
SCRIPT = """
    import asyncio, ctypes, gc, resource, sys
    from sluicegate import (
        AckChannel, Broadcast, CreditChannel, FairQueue, KeyedTokenBucket, Latest, Queue, RateLimits, Semaphore, SlidingWindow,
        TokenBucket, select,
    )
    from sluicegate.testing import ManualClock

    MANY = 5_000
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

    def fragment():
        gc.collect()
        gc.disable()
        global pieces  # the list itself is a large piece, which may not be freed
        pieces = [libc.malloc(1500) for _ in range(10_000)]
        pages = int(open("/proc/self/statm").read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), resource.RLIM_INFINITY))
        size = 1 << 24
        while size > 1500:
            while libc.malloc(size):
                pass
            size //= 2
        while libc.malloc(1501):
            pass
        for n in range(0, len(pieces), 2):
            libc.free(pieces[n])

    def unlimited():
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""

WAKE = (
    SCRIPT
    + """
    def full(kind, **options):
        q = kind(maxsize=MANY, **options)
        q.put_many(range(MANY))
        return q

    def empty_channel():
        channel = CreditChannel(1)
        channel.sender.send(0)
        return channel

    subscribers = []

    def broadcast():
        made = Broadcast()
        subscribers.extend(made.subscribe(1) for _ in range(MANY))
        return made

    def unfinished():
        q = Queue()
        q.put(0)
        q.get()
        return q

    clock = ManualClock()
    cases = {
        "getters at a shutdown": (Queue, lambda q, n: q.get_async(), lambda q: q.shutdown(), "ShutDown"),
        "putters at clear": (lambda: full(Queue), lambda q, n: q.put_async(n), lambda q: q.clear(), "ok"),
        "putters with keys at clear": (
            lambda: full(FairQueue, key=int), lambda q, n: q.put_async(MANY + n), lambda q: q.clear(), "ok",
        ),
        "those who join": (unfinished, lambda q, n: q.join_async(), lambda q: q.task_done(), "ok"),
        "a semaphore": (lambda: Semaphore(0), lambda s, n: s.acquire_async(), lambda s: s.release(MANY), "ok"),
        "a smaller burst": (
            lambda: TokenBucket(1, burst=2, initial=0, clock=clock), lambda t, n: t.acquire_async(2),
            lambda t: t.set_rate(1, burst=1), "ValueError",
        ),
        "a smaller burst of a set's": (
            lambda: RateLimits(a=TokenBucket(1, burst=2, initial=0, clock=clock), b=TokenBucket(1, burst=2, clock=clock)),
            lambda s, n: s.acquire_async(2), lambda s: s.limits["a"].set_rate(1, burst=1), "ValueError",
        ),
        "senders": (empty_channel, lambda c, n: c.sender.send_async(n), lambda c: c.receiver.cancel(), "ChannelCancelled"),
        "subscribers": (broadcast, lambda b, n: subscribers[n].get_async(), lambda b: b.publish(1), "ok"),
        "readers": (Latest, lambda v, n: v.changed_async(), lambda v: v.set(1), "ok"),
    }

    async def main():
        make, wait, wake, outcome = cases[sys.argv[1]]
        one = make()
        tasks = [asyncio.create_task(wait(one, n)) for n in range(MANY)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        fragment()
        try:
            wake(one)
        finally:
            unlimited()
        done, _ = await asyncio.wait(tasks, timeout=20)
        seen = {type(task.exception()).__name__ if task.exception() else "ok" for task in done}
        assert len(done) == MANY and seen == {outcome}, (len(done), seen)
        print("survived")

    asyncio.run(main())
"""
)


@pytest.mark.parametrize(
    "who",
    [
        "getters at a shutdown",
        "putters at clear",
        "putters with keys at clear",
        "those who join",
        "a semaphore",
        "a smaller burst",
        "a smaller burst of a set's",
        "senders",
        "subscribers",
        "readers",
    ],
)
def test_many_are_woken_without_a_large_piece_of_memory(who):
    """Nobody could be told that there is none. The process aborted."""
    assert run_script(WAKE, who).split() == ["survived"]


GROW = (
    SCRIPT
    + """
    clock, kept = ManualClock(), [None] * 100_000

    def subscribers():
        broadcast = Broadcast()
        return lambda n: broadcast.subscribe(4), lambda n: broadcast.statistics().subscribers == n

    def limiters_of_keys():
        keyed = KeyedTokenBucket(1, burst=1, max_keys=10**6, clock=clock)
        return lambda n: keyed.pause_for(n, 100), lambda n: keyed.statistics().keys == n

    def weights_of_keys():
        q = FairQueue(key=int)

        def is_unchanged(n):
            q.put_many([n, -1] * 4)
            return len(q.weights) == n and q.get_many(4).count(n) == 2

        return lambda n: q.set_weight(n, 3), is_unchanged

    def workers():
        q = Queue()
        return lambda n: q.working().__enter__(), lambda n: True  # nothing says how many there are

    def a_long_key():
        keyed = KeyedTokenBucket(1, burst=1, max_keys=10**6, clock=clock)
        return lambda n: keyed.try_acquire(("key" * 100 * n, n)), lambda n: keyed.statistics().admitted == n

    def lanes_to_stop():
        channel = AckChannel(8, lane=lambda item: item)
        lanes = range(10_000)
        return lambda n: channel.receiver.stop(timeout=0, lanes=lanes[: 100 * n]), lambda n: True  # they have no items

    def operations_to_select_from():
        q = Queue()
        q.put(0)
        operations = [q.getting() for _ in range(2_000)]
        return lambda n: select(*operations[: 10 * n + 1], timeout=0) and q.put(0), lambda n: q.qsize() == 1

    grow, is_unchanged = globals()[sys.argv[1]]()
    for n in range(10):
        kept[n] = grow(n)
    fragment()
    try:
        for n in range(10, 100_000):
            kept[n] = grow(n)
    except MemoryError:
        unlimited()
    assert is_unchanged(n), n
    grow(n)  # with memory it goes on
    print("goes on")
"""
)


@pytest.mark.parametrize(
    "what",
    [
        "subscribers",
        "limiters_of_keys",
        "weights_of_keys",
        "workers",
        "a_long_key",
        "lanes_to_stop",
        "operations_to_select_from",
    ],
)
def test_what_grows_needs_memory_or_raises(what):
    """Nothing has changed then, and with memory it goes on. The process aborted."""
    assert run_script(GROW, what) == "goes on\n"


def test_a_question_for_which_there_is_no_memory():
    """It was answered that the amount could never be admitted."""
    script = (
        SCRIPT
        + """
    clock = ManualClock()
    window = SlidingWindow(MANY, 2 * MANY, clock=clock)
    for _ in range(MANY):
        assert window.try_acquire()
        clock.advance(1)

    async def main():
        tasks = [asyncio.create_task(window.acquire_async()) for _ in range(10)]
        for _ in range(5):
            await asyncio.sleep(0)
        fragment()
        try:
            window.retry_after()
        except MemoryError:
            unlimited()
            print(window.retry_after())
        for task in tasks:
            task.cancel()

    asyncio.run(main())
    """
    )
    assert run_script(script).split() == ["5010.0"]
