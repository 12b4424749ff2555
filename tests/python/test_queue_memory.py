"""Without memory a queue raises `MemoryError`: nothing is lost or half done, and the process goes on."""

from __future__ import annotations

import sys

import pytest
from helpers import run_script

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS limits what is asked for")

#: A list comes from Python's own allocator. On the free-threaded build that is mimalloc, which reserves address space that the limit
#: does not see, unless it is told not to. Of this size a list is a mapping of its own everywhere.
LISTS_ARE_LIMITED = {"MIMALLOC_ARENA_RESERVE": "0"}
MANY = 2_500_000

LIMITS = """
    import asyncio, gc, itertools, resource, sys, threading
    from sluicegate import AckChannel, CoalescingQueue, CreditChannel, FairQueue, LifoQueue, PriorityQueue, Queue, SimpleQueue

    def limit(extra):
        pages = int(open("/proc/self/statm").read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + extra, resource.RLIM_INFINITY))

    def unlimited():
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def exhaust():
        kept = []
        limit(0)
        for size in 1 << 20, 1 << 16, 1 << 12, 1 << 10, 600, 64:
            try:
                while True:
                    kept.append(bytearray(size))
            except MemoryError:
                pass
        return kept
"""

FILL = (
    LIMITS
    + """
    def put(q):
        while True:
            q.put(item())

    def put_nowait(q):
        while True:
            q.put_nowait(item())

    def put_many(q):
        while True:
            q.put_many([item() for _ in range(1000)])

    def put_from_an_iterator(q):
        q.put_many(item() for _ in itertools.count())

    def offer(q):
        while True:
            q.offer(item())

    def under_the_mutex(q):
        with q.mutex:
            put_nowait(q)

    def put_async(q):
        async def main():
            while True:
                await q.put_async(item())
        asyncio.run(main())

    how, kind = sys.argv[1:]
    numbers = itertools.count(11)
    item = lambda: next(numbers)
    if kind == "CoalescingQueue":
        q = CoalescingQueue(key=lambda n: n)
    elif kind.startswith("FairQueue"):
        q = FairQueue(key=lambda n: n % 7, within=kind.partition(" ")[2])
    else:
        q = globals()[kind]()
    for n in range(10):
        q.put(n)
    asyncio.run(q.put_async(10))
    gc.disable()  # a collection asks for memory too, and says so if there is none
    limit(12_000_000)
    try:
        globals()[how](q)
    except MemoryError as error:
        accepted = getattr(error, "accepted", None)
        said = str(error)
    unlimited()
    seen = q.statistics()
    assert seen.puts == seen.size == seen.unfinished_tasks > 20_000, seen
    if how == "put_from_an_iterator":
        assert accepted == seen.puts - 11, (accepted, seen)
    if how == "put_many":
        assert accepted == (seen.puts - 11) % 1000, (accepted, seen)
    q.put(-1)
    print(sum(1 for _ in iter(lambda: q.get() if q.qsize() else None, None)) - seen.size)
"""
)


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        *(("put", kind) for kind in ("Queue", "LifoQueue", "SimpleQueue", "PriorityQueue", "CoalescingQueue")),
        *(("put", f"FairQueue {within}") for within in ("fifo", "priority")),
        *(("put_many", kind) for kind in ("Queue", "CoalescingQueue")),
        *(("put_from_an_iterator", kind) for kind in ("Queue", "PriorityQueue")),
    ],
)
def test_putting_until_there_is_no_memory(how, kind):
    """What was put before is there, the counts add up, and with memory it goes on."""
    assert run_script(FILL, how, kind).split() == ["1"]


@pytest.mark.parametrize("how", ["put_nowait", "offer", "put_async", "under_the_mutex"])
def test_other_ways_to_put(how):
    assert run_script(FILL, how, "Queue").split() == ["1"]


def test_nothing_is_left_at_all():
    """With the last bytes gone: whatever an operation says, it neither aborts nor hangs, and what it accepted is there."""
    script = (
        LIMITS
        + """
    kinds = Queue, LifoQueue, PriorityQueue, CoalescingQueue
    queues = [kind(key=lambda n: n, merge=max) if kind is CoalescingQueue else kind() for kind in kinds]
    for q in queues:
        q.put(0)
        q.put_many([1, 2])
        q.get()
        q.get_many(1)
    many = list(range(100_000, 130_000))
    counts = dict.fromkeys(kinds, 0)
    got = dict.fromkeys(kinds, 0)
    refused = 0
    numbers = list(range(1000, 3000))
    kept = exhaust()
    for q in queues:
        for number in numbers:
            try:
                q.put(number)
                counts[type(q)] += 1
            except MemoryError:
                refused += 1
        try:
            q.put_many(many)
        except MemoryError as error:
            refused += 1
            counts[type(q)] += getattr(error, "accepted", 0)
        try:
            q.put(1000)  # merged, where items have keys
            if type(q) is not CoalescingQueue:
                counts[type(q)] += 1
        except MemoryError:
            pass
        try:
            q.get_nowait()
            got[type(q)] += 1
        except MemoryError:
            refused += 1
    unlimited()
    del kept
    assert refused >= len(queues), refused
    for q in queues:
        assert q.qsize() == 1 + counts[type(q)] - got[type(q)], (q, counts, got)
        assert q.put_many(many) == len(many)
        while q.qsize():
            q.get(timeout=5)
    print("survived")
    """
    )
    assert run_script(script).split() == ["survived"]


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue", "CreditChannel", "AckChannel"])
def test_a_list_of_items_for_which_there_is_no_memory(kind):
    """Nothing is taken: all of it comes with the next call."""
    script = (
        LIMITS
        + """
    kind, count = globals()[sys.argv[1]], int(sys.argv[2])
    if kind in (CreditChannel, AckChannel):
        channel = kind(count + 1)  # an iterator is asked for the next item when there is credit for it
        channel.sender.send_many(itertools.repeat(0, count))
        get_many = channel.receiver.receive_many
        left = lambda: channel.statistics().buffered
    else:
        q = kind()
        q.put_many(itertools.repeat(0, count))
        get_many, left = q.get_many, q.qsize
    first = get_many(10)
    gc.disable()
    taken = 0
    for extra in (2_000_000, 5_000_000):
        limit(extra)
        try:
            taken += len(get_many(count))
        except MemoryError:
            pass
        unlimited()
    if kind is not AckChannel:  # which hands out what there is memory for; unsettled it comes back
        assert taken == 0, taken
    print(left() - (count - 10))
    """
    )
    assert run_script(script, kind, MANY, environment=LISTS_ARE_LIMITED).split() == ["0"]


def test_a_copy_of_the_items_for_which_there_is_no_memory():
    script = (
        LIMITS
        + """
    q = Queue()
    q.put_many(itertools.repeat(0, int(sys.argv[1])))
    iter(q.queue), q.queue[0]
    limit(4_000_000)
    try:
        list(q.queue)
    except MemoryError:
        unlimited()
        print(q.qsize())
    """
    )
    assert run_script(script, MANY, environment=LISTS_ARE_LIMITED).split() == [str(MANY)]


@pytest.mark.parametrize("make", ["FairQueue(key=str)", "CoalescingQueue(key=str)"])
def test_a_batch_with_keys_for_which_there_is_no_memory(make):
    script = (
        LIMITS
        + """
    q = eval(sys.argv[1])
    items = list(range(int(sys.argv[2])))
    there = q.put_many(items[:10])
    refused = 0
    gc.disable()
    for extra in range(0, 4_000_000, 500_000):
        limit(extra)
        try:
            q.put_many(items)
        except MemoryError as error:
            refused += 1
            there += getattr(error, "accepted", 0)
        unlimited()
        assert type(q) is CoalescingQueue or q.qsize() == there, (q, there)
    print(refused)
    """
    )
    assert run_script(script, make, MANY // 10, environment=LISTS_ARE_LIMITED).split() == ["8"]


def test_a_change_by_hand_for_which_there_is_no_memory():
    """It copies the items, their weights and what else is known of them: whichever of these finds no memory, nothing has changed."""
    script = (
        LIMITS
        + """
    q = Queue(weigh=lambda item: 2, max_weight=10**9)
    count = int(sys.argv[1])
    q.put_many(range(count))
    refused = done = 0
    gc.disable()
    for extra in range(0, 400 * count, 20 * count):
        limit(extra)
        try:
            q.queue.remove(count - 1 - done)
            done += 1
        except MemoryError:
            refused += 1
        unlimited()
        seen = q.statistics()
        assert (seen.size, seen.weight) == (count - done, 2 * (count - done)), seen
    assert refused > 3 and done > 3, (refused, done)
    assert q.get_many(count) == list(range(count - done))
    print("survived")
    """
    )
    assert run_script(script, MANY // 25, environment=LISTS_ARE_LIMITED).split() == ["survived"]


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "FairQueue fifo", "FairQueue priority"])
def test_notes_for_which_there_is_no_memory(kind):
    """With the first time to live each item gets a note: without memory for them it is refused, and nothing has changed."""
    script = (
        LIMITS
        + """
    kind, _, within = sys.argv[1].partition(" ")
    q = FairQueue(key=lambda n: n % 7, within=within) if within else globals()[kind]()
    q.put_many(range(200_000))
    q.get(), q.put(200_000), q.put_many([])
    gc.disable()
    limit(2_000_000)
    refused = []
    for put in q.put, q.put_nowait, q.offer:
        try:
            put(-1, ttl=60)
        except MemoryError:
            refused.append(q.qsize())
    unlimited()
    q.put(-1, ttl=60)
    left = q.get_many(300_000)
    print(*refused, len(left), len(set(left)), -1 in left)
    """
    )
    assert run_script(script, kind).split() == [*["200000"] * 3, "200001", "200001", "True"]


@pytest.mark.parametrize("how", ["get", "get_nowait", "get_many", "put", "offer", "get_async"])
@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue", "FairQueue fifo", "FairQueue priority"])
def test_expired_items_for_whose_reports_there_is_no_memory(kind, how):
    """They stay until there is memory, and each is reported once: what would have to give them up raises MemoryError."""
    script = (
        LIMITS
        + """
    from sluicegate import Empty
    from sluicegate.testing import ManualClock
    kind, _, within = sys.argv[1].partition(" ")
    count, clock, reported = 200_000, ManualClock(), 0

    def dropped(item, reason):
        global reported
        assert reason == "expired", reason
        reported += 1

    options = dict(maxsize=count, on_drop=dropped, clock=clock)
    q = FairQueue(key=lambda n: n % 7, within=within, **options) if within else globals()[kind](**options)
    for n in range(count):
        q.put(n, ttl=1 + n % 2)
    clock.advance(5)
    calls = dict(
        get=lambda: q.get(timeout=0),
        get_nowait=q.get_nowait,
        get_many=lambda: q.get_many(10, timeout=0),
        put=lambda: q.put(-1, timeout=0),
        offer=lambda: q.offer(-1),
        get_async=lambda: asyncio.run(q.get_async(timeout=0)),
    )
    call = calls[sys.argv[2]]
    gc.disable()
    asyncio.run(asyncio.sleep(0))
    limit(500_000)
    try:
        call()
        said = "nothing"
    except BaseException as error:
        unlimited()
        said = type(error).__name__
    unlimited()
    added = said == "nothing"  # a put that found memory for some of them has room
    assert added <= (sys.argv[2] in ("put", "offer")), said
    assert added or said == ("MemoryError" if q.qsize() else "Empty"), (q.qsize(), said)  # the memory of a buffer may be enough for all
    assert q.qsize() + reported == count + added, (q.qsize(), reported, said)
    if not added:
        q.put(-1)
    assert q.get_nowait() == -1
    try:
        q.get_nowait()
    except Empty:
        print(reported, q.statistics().dropped_expired, q.unfinished_tasks)
    """
    )
    assert run_script(script, kind, how).split() == ["200000", "200000", "1"]


def test_an_item_from_a_comparison_waits_for_memory():
    """It has been accepted, and is not in order yet: a get says so, and the items come in order when there is memory."""
    script = (
        LIMITS
        + """
    class Item(int):
        def __lt__(self, other):
            global done
            if not done:
                done = True
                q.put_many(inner)
            return int(self) < int(other)

    done = True
    inner = [Item(n) for n in range(2**18 + 1)]
    q = PriorityQueue()
    q.put(Item(-2))
    q.put_many([])
    done = False
    limit(28_200_000)  # enough for the inbox, not for the heap
    q.put(Item(-1))
    sized = q.qsize()
    try:
        q.get(timeout=5)
    except MemoryError:
        print("no memory")
    unlimited()
    assert q.qsize() == sized == len(inner) + 2, (q.qsize(), sized)
    print(*(int(q.get()) for _ in range(3)), *(int(item) for item in q.get_many(len(inner))[-2:]))
    """
    )
    assert run_script(script).split() == ["no", "memory", "-2", "-1", "0", str(2**18 - 1), str(2**18)]
