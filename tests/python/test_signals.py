"""Signals: Ctrl-C in every blocking call, handlers that return, handlers that use the queue themselves.

Each test is a script in an interpreter of its own, whose main thread it is. A signal that arrives after an operation
has committed belongs to the caller, as with any C function: the scripts tell the two apart by `statistics()`.
"""

from __future__ import annotations

import ctypes
import sys
import threading

import pytest
from helpers import LOOP_KINDS, ROUNDS, run_script, wait_until

import sluicegate

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

COMMON = """
import _thread, asyncio, os, random, signal, threading, time
from sluicegate import *
from sluicegate.testing import ManualClock

def until(predicate, seconds=30):
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.0002)

def waiters(queue):
    seen = queue.statistics()
    return seen.waiting_getters + seen.waiting_putters + getattr(seen, "waiting_joiners", 0)

class OneKey(FairQueue):
    def __init__(self, maxsize=0): super().__init__(maxsize, key=lambda item: 0)

# With everything that a queue can be composed of, and so much of it that nothing is ever dropped.
def parts(maxsize):
    return dict(weigh=lambda item: 1, max_weight=maxsize or 1 << 30, shed=CoDel(3600, 3600), track_latency=True, high=0.8, low=0.5)

class Composed(Queue):
    def __init__(self, maxsize=0): super().__init__(maxsize, **parts(maxsize))

class OneKeyComposed(FairQueue):
    def __init__(self, maxsize=0): super().__init__(maxsize, key=lambda item: 0, **parts(maxsize))

class Hooked(Queue):
    def _init(self, maxsize): self.held = []
    def _qsize(self): return len(self.held)
    def _put(self, item): self.held.append(item)
    def _get(self):
        item = self.held[0]  # of a `pop` that ctrl-C interrupts on its way back the item would be lost: here, not in the queue
        del self.held[0]
        return item

main_thread = threading.main_thread().ident

def start(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread
"""

# Each makes a queue on which the call has to wait.
CALLS = {
    "get": ("Queue(1)", "queue.get()"),
    "get timeout": ("Queue(1)", "queue.get(timeout=60)"),
    "put": ("full(Queue(1))", "queue.put(1)"),
    "put timeout": ("full(Queue(1))", "queue.put(1, timeout=60)"),
    "get_many": ("Queue(1)", "queue.get_many(5)"),
    "get_many linger": ("full(Queue(2))", "queue.get_many(5, linger=60)"),
    "put_many": ("full(Queue(1))", "queue.put_many([1, 2])"),
    "join": ("full(Queue(1))", "queue.join()"),
    "join timeout": ("full(Queue(1))", "queue.join(timeout=60)"),
    "iteration": ("Queue(1)", "[item for item in queue]"),
    "LifoQueue.get": ("LifoQueue(1)", "queue.get()"),
    "PriorityQueue.get": ("PriorityQueue(1)", "queue.get()"),
    "PriorityQueue.put": ("full(PriorityQueue(1))", "queue.put(1)"),
    "SimpleQueue.get": ("SimpleQueue()", "queue.get()"),
    "hooked get": ("Hooked(1)", "queue.get()"),
    "hooked put": ("full(Hooked(1))", "queue.put(1)"),
    "composed get": ("OneKeyComposed(1)", "queue.get()"),
    "composed get_many linger": ("full(OneKeyComposed(2))", "queue.get_many(5, linger=60)"),
    "composed put": ("full(OneKeyComposed(1))", "queue.put(1)"),
    "composed put ttl": ("full(OneKeyComposed(1))", "queue.put(1, ttl=60)"),
    "composed put_many": ("full(OneKeyComposed(1))", "queue.put_many([1, 2])"),
    "not_empty.wait": ("Queue(1)", "queue.not_empty.__enter__(); queue.not_empty.wait()"),
    "not_full.wait": ("full(Queue(1))", "queue.not_full.__enter__(); queue.not_full.wait()"),
    "all_tasks_done.wait": ("full(Queue(1))", "queue.mutex.acquire(); queue.all_tasks_done.wait()"),
}

HOWS = ["to the process", "to the main thread", "interrupt_main", "to another thread"]

# Who takes the signal has to do with how a thread waits, not with what for. These stand for all: a wait in the core, one in a batch,
# one for hooks, and one of a condition.
REPRESENTATIVES = ["get", "put_many", "hooked get", "not_empty.wait"]


@pytest.mark.parametrize(
    ("call", "how"), [(call, HOWS[0]) for call in CALLS] + [(call, how) for call in REPRESENTATIVES for how in HOWS[1:]]
)
def test_ctrl_c_within_100_ms(call, how):
    """Ctrl-C ends every blocking call within 100 ms (median of 9), whichever thread takes the signal, and leaves no waiter."""
    make, wait = CALLS[call]
    run_script(
        COMMON
        + f"""
def full(queue):
    queue.put_nowait(0)
    return queue

def send():
    how = {how!r}
    if how == "to the process":
        os.kill(os.getpid(), signal.SIGINT)
    elif how == "to the main thread":
        signal.pthread_kill(main_thread, signal.SIGINT)
    elif how == "to another thread":
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    else:
        _thread.interrupt_main()

def interrupt():
    until(lambda: waiters(queue) == 1)
    time.sleep(random.random() * 0.05)
    sent.append(time.monotonic())
    send()

late = []
for turn in range(9):
    queue, sent = {make}, []
    size = queue.qsize()
    thread = start(interrupt)
    try:
        {wait}
    except KeyboardInterrupt:
        late.append(time.monotonic() - sent[0])
    else:
        raise SystemExit("it returned")
    thread.join()
    assert queue.qsize() == size
    assert waiters(queue) == 0
late.sort()
assert late[4] < 0.1, late
assert late[-1] < 5, late
"""
    )


def test_put_many_interrupted_tells_what_was_accepted():
    """`KeyboardInterrupt.accepted` counts what went in; the iterator stands at the first item not put."""
    run_script(
        COMMON
        + """
queue, source = Queue(10), iter(range(100))

def interrupt():
    until(lambda: waiters(queue) == 1)
    assert queue.get() == 0
    until(lambda: waiters(queue) == 1 and queue.qsize() == 10)
    signal.pthread_kill(main_thread, signal.SIGINT)

thread = start(interrupt)
try:
    queue.put_many(source)
except KeyboardInterrupt as error:
    assert error.accepted == 11, error.accepted
else:
    raise SystemExit("it returned")
assert next(source) == 11
assert queue.get_many(99) == list(range(1, 11))
assert waiters(queue) == 0
"""
    )


def test_get_many_interrupted_while_lingering_takes_nothing():
    """What a lingering batch waited beside is still there after Ctrl-C."""
    run_script(
        COMMON
        + """
queue = Queue()
queue.put_many([1, 2])

def interrupt():
    until(lambda: waiters(queue) == 1)
    signal.pthread_kill(main_thread, signal.SIGINT)

start(interrupt)
try:
    queue.get_many(5, linger=100)
except KeyboardInterrupt:
    pass
else:
    raise SystemExit("it returned")
assert queue.get_many(9) == [1, 2]
assert queue.statistics().gets == 2
"""
    )


def test_handlers_that_return_let_the_wait_go_on_with_the_time_left():
    """After a handler the wait goes on, and its deadline stays where it was (PEP 475)."""
    run_script(
        COMMON
        + """
clock = ManualClock()
queue = Queue(1, clock=clock)
handled = 0

def handler(number, frame):
    global handled
    handled += 1

signal.signal(signal.SIGUSR1, handler)

def drive():
    clock.wait_for_waiters(1)
    for turn in range(1, 11):
        clock.advance(0.9)
        signal.pthread_kill(main_thread, signal.SIGUSR1)
        until(lambda: handled == turn + base)
        assert clock.waiters == 1
    clock.advance(0.999999999)
    assert clock.waiters == 1
    clock.advance(0.000000001)

for wait, refused in (
    (lambda: queue.get(timeout=10), Empty),
    (lambda: queue.put(1, timeout=10), Full),
    (lambda: queue.join(timeout=10), TimeoutError),
    (lambda: queue.put_many([1], timeout=10), Full),
):
    base = handled
    thread = start(drive)
    try:
        wait()
    except refused:
        pass
    else:
        raise SystemExit("it returned")
    thread.join()
    assert handled == base + 10
    if not queue.qsize():
        queue.put(0)
"""
    )


def test_handlers_run_while_a_wait_without_end_goes_on():
    """A wait without timeout runs handlers, too, and then gets its item."""
    run_script(
        COMMON
        + """
queue = Queue()
handled = 0

def handler(number, frame):
    global handled
    handled += 1

signal.signal(signal.SIGUSR1, handler)

def drive():
    for turn in range(1, 21):
        until(lambda: waiters(queue) == 1)
        signal.pthread_kill(main_thread, signal.SIGUSR1)
        until(lambda: handled == turn)
    queue.put("item")

start(drive)
assert queue.get() == "item"
assert handled == 20
"""
    )


def test_a_handler_that_raises_something_else():
    """Any exception of a handler ends the wait as it is, and nothing is taken."""
    run_script(
        COMMON
        + """
class Alarm(Exception):
    pass

def handler(number, frame):
    queue.put_nowait("from the handler")
    raise Alarm

signal.signal(signal.SIGALRM, handler)
queue = Queue()
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    queue.get()
except Alarm:
    pass
else:
    raise SystemExit("it returned")
assert waiters(queue) == 0
assert queue.get_nowait() == "from the handler"
"""
    )


def test_a_handler_that_waits_on_the_same_queue():
    """A `get` in a handler inside a `get`: two puts serve both, the wake-up of the outer one is not eaten."""
    run_script(
        COMMON
        + f"""
rounds = {ROUNDS}
got = []

def handler(number, frame):
    got.append(queue.get(timeout=60))

signal.signal(signal.SIGUSR1, handler)

def early():
    until(lambda: waiters(queue) == 1)
    signal.pthread_kill(main_thread, signal.SIGUSR1)
    until(lambda: waiters(queue) == 2)
    queue.put(1)
    queue.put(2)

def together():
    until(lambda: waiters(queue) == 1)
    queue.put(1)
    signal.pthread_kill(main_thread, signal.SIGUSR1)
    until(lambda: queue.statistics().gets == 1)
    queue.put(2)

for number in range(rounds):
    queue, got = Queue(), []
    thread = start(early if number % 2 else together)
    got.append(queue.get(timeout=60))
    until(lambda: len(got) == 2)
    assert sorted(got) == [1, 2], (number, got)
    thread.join()
    seen = queue.statistics()
    assert (seen.puts, seen.gets, seen.size, seen.waiting_getters) == (2, 2, 0, 0)
"""
    )


def test_a_handler_that_takes_the_item_of_the_wait_it_interrupts():
    """The outer wait, woken in vain, goes on waiting; the next item is its own."""
    run_script(
        COMMON
        + f"""
stolen = []

def handler(number, frame):
    try:
        stolen.append(queue.get_nowait())
    except Empty:
        pass
    handled.set()

signal.signal(signal.SIGUSR1, handler)

def drive():
    until(lambda: waiters(queue) == 1)
    queue.put("first")
    signal.pthread_kill(main_thread, signal.SIGUSR1)
    handled.wait()
    queue.put("second")

for number in range({ROUNDS}):
    handled = threading.Event()
    queue, stolen = Queue(), []
    thread = start(drive)
    got = [queue.get(timeout=60)]
    until(lambda: not thread.is_alive())  # `join` may not run handlers
    left = queue.get_many(9) if queue.qsize() else []
    assert sorted(got + stolen + left) == ["first", "second"], (number, got, stolen, left)
    assert waiters(queue) == 0
"""
    )


def test_ctrl_c_in_a_hook_that_runs_after_the_item_was_taken():
    """The item is returned, and the interrupt comes right after that: neither is lost."""
    run_script(
        COMMON
        + """
class Interrupted(Hooked):
    gets = 0
    def _get(self):
        self.gets += 1
        return super()._get()
    def _qsize(self):
        if self.gets == 1:
            self.gets += 1
            signal.raise_signal(signal.SIGINT)
        return super()._qsize()

queue, got = Interrupted(), []
queue.put(1)
queue.put(2)
try:
    got.append(queue.get())
    until(lambda: False, seconds=5)
except KeyboardInterrupt:
    pass
left = queue.get()
assert (got, left) in (([1], 2), ([], 2)), (got, left)
assert queue.statistics().gets == 2 and queue.qsize() == 0
"""
    )


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "PriorityQueue", "OneKey", "Composed", "OneKeyComposed", "Hooked"])
def test_ctrl_c_raced_against_put(kind):
    """Ctrl-C against `put`, main blocked in `get`, a second getter behind: no item lost that had not been returned,
    nobody asleep beside an item."""
    out = run_script(
        COMMON
        + f"""
rounds, seed = {ROUNDS}, 20240
dice = random.Random(seed)
print("seed", seed)

def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass

def second_getter():
    second.append(queue.get(timeout=30))

def trouble():
    until(lambda: waiters(queue) == 1)
    behind.append(start(second_getter))
    until(lambda: waiters(queue) == 2)
    gap = dice.choice([0, 0, 1e-6, 1e-5, 1e-4, 1e-3])
    if dice.random() < 0.5:
        queue.put(1)
        spin(gap)
        signal.pthread_kill(main_thread, signal.SIGINT)
    else:
        signal.pthread_kill(main_thread, signal.SIGINT)
        spin(gap)
        queue.put(1)

outcomes = dict(returned=0, interrupted=0, after_commit=0)
for number in range(rounds):
    queue, second, behind = {kind}(), [], []
    first = None
    thread = None
    try:
        thread = start(trouble)
        first = queue.get()
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        pass
    thread.join()
    # Somebody has the item: whoever waits is woken, no item lies beside a sleeper.
    until(lambda: queue.statistics().gets == 1)
    assert queue.qsize() == 0
    queue.put(2)
    behind[0].join(30)
    assert second, "the second getter sleeps beside an item"
    left = [queue.get_nowait()] if queue.qsize() else []
    found = ([first] if first is not None else []) + second + left
    gets = queue.statistics().gets
    if first is not None:
        outcomes["returned"] += 1
        assert sorted(found) == [1, 2], (number, found)
    elif sorted(found) == [1, 2]:
        outcomes["interrupted"] += 1
        assert gets == 2
    else:
        # The signal came after the commit: our own counter shows the item as returned to the main thread.
        outcomes["after_commit"] += 1
        assert found == [2] and gets == 2, (number, found, gets)
    assert waiters(queue) == 0
print(outcomes)
assert outcomes["interrupted"] > 0, outcomes
""",
        limit=30 + ROUNDS * 0.3,
    )
    print(out)


def test_ctrl_c_raced_against_get():
    """The same for producers: main blocked in `put`, a second putter behind, Ctrl-C against `get`."""
    run_script(
        COMMON
        + f"""
dice = random.Random(20241)

def second_putter():
    queue.put("second", timeout=30)

def trouble():
    until(lambda: waiters(queue) == 1)
    behind.append(start(second_putter))
    until(lambda: waiters(queue) == 2)
    if dice.random() < 0.5:
        taken.append(queue.get())
        signal.pthread_kill(main_thread, signal.SIGINT)
    else:
        signal.pthread_kill(main_thread, signal.SIGINT)
        taken.append(queue.get())

for number in range({ROUNDS}):
    queue, behind, taken = Queue(1), [], []
    queue.put("old")
    thread = None
    try:
        thread = start(trouble)
        queue.put("first")
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        pass
    thread.join()
    # The room that was made is used by one of the two.
    until(lambda: queue.statistics().puts == 2)
    taken.append(queue.get())
    if taken[1] == "first":
        taken.append(queue.get(timeout=30))
    behind[0].join(30)
    assert not behind[0].is_alive(), "the second putter sleeps beside room"
    assert taken in (["old", "first", "second"], ["old", "second"]), (number, taken)
    seen = queue.statistics()
    assert (seen.puts, seen.gets, seen.size, seen.waiting_putters) == (len(taken), len(taken), 0, 0)
""",
        limit=30 + ROUNDS * 0.3,
    )


def test_ctrl_c_raced_against_the_last_task_done():
    """A second joiner still returns when the first one is interrupted."""
    run_script(
        COMMON
        + f"""
dice = random.Random(20242)

def trouble():
    until(lambda: waiters(queue) == 1)
    behind.append(start(queue.join))
    until(lambda: waiters(queue) == 2)
    if dice.random() < 0.5:
        queue.task_done()
        signal.pthread_kill(main_thread, signal.SIGINT)
    else:
        signal.pthread_kill(main_thread, signal.SIGINT)
        queue.task_done()

for number in range({max(20, ROUNDS // 4)}):
    queue, behind = Queue(), []
    queue.put(0)
    thread = None
    try:
        thread = start(trouble)
        queue.join()
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        pass
    thread.join()
    behind[0].join(30)
    assert not behind[0].is_alive()
    assert waiters(queue) == 0
"""
    )


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue", "OneKey", "Composed", "OneKeyComposed", "SimpleQueue", "Hooked"])
def test_put_from_a_signal_handler_3000_times(kind):
    """A handler that puts, 3000 times inside put and get: neither lost nor doubled, neither deadlock nor recursion."""
    run_script(
        COMMON
        + f"""
queue, numbers, handled = {kind}(), iter(range(3000)), []

def handler(number, frame):
    # A handler may interrupt a handler: each call has a number of its own.
    number = next(numbers, None)
    if number is not None:
        queue.put_nowait((1, number))
        handled.append(number)

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
put, got = 0, []
while len(handled) < 3000:
    for _ in range(20):
        queue.put((0, put))
        put += 1
        got.append(queue.get())
signal.setitimer(signal.ITIMER_REAL, 0)
while queue.qsize():
    got.append(queue.get_nowait())
assert sorted(got) == [(0, i) for i in range(put)] + [(1, i) for i in range(3000)]
seen = queue.statistics()
assert (seen.puts, seen.gets) == (put + 3000, put + 3000)
"""
    )


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "PriorityQueue", "OneKey", "Composed", "OneKeyComposed", "Hooked"])
def test_put_from_a_signal_handler_into_a_waiting_get(kind):
    """What a handler puts wakes the `get` it interrupted: nobody else puts here."""
    run_script(
        COMMON
        + f"""
queue, numbers = {kind}(), iter(range(100000))

def handler(number, frame):
    queue.put_nowait(next(numbers))

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
got = [queue.get(timeout=30) for _ in range(300)]
signal.setitimer(signal.ITIMER_REAL, 0)
assert len(set(got)) == 300
"""
    )


def test_put_and_get_from_a_signal_handler_on_a_bounded_queue():
    """A handler that puts and gets without waiting on a small queue between threads: every item once."""
    run_script(
        COMMON
        + """
queue, numbers = Queue(4), iter(range(100000))
handled, put, got = [], [], []

def handler(number, frame):
    number = next(numbers)
    handled.append(number)
    try:
        queue.put_nowait(("handler", number))
        put.append(("handler", number))
    except Full:
        pass
    try:
        got.append(queue.get_nowait())
    except Empty:
        pass

def consume():
    for item in queue:
        taken.append(item)

taken = []
consumer = start(consume)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
number = 0
while len(handled) < 1500:
    queue.put(("main", number), timeout=30)
    put.append(("main", number))
    number += 1
signal.setitimer(signal.ITIMER_REAL, 0)
queue.shutdown()
consumer.join(30)
assert sorted(got + taken) == sorted(put)
"""
    )


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
@pytest.mark.parametrize("when", ["idle", "busy"])
def test_put_from_a_signal_handler_wakes_a_loop(loop_kind, when):
    """A handler that puts while the loop sleeps in `select` (or runs) wakes the waiting getter at once."""
    run_script(
        COMMON
        + f"""
def new_loop():
    if {loop_kind!r} == "uvloop":
        import uvloop
        return uvloop.new_event_loop()
    return asyncio.new_event_loop()

queue = Queue()

def handler(number, frame):
    queue.put_nowait(time.monotonic())

signal.signal(signal.SIGALRM, handler)

async def main():
    late = []
    for _ in range(9):
        getter = asyncio.create_task(queue.get_async())
        await asyncio.sleep(0)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        while {when!r} == "busy" and not getter.done():
            await asyncio.sleep(0)
        sent = await asyncio.wait_for(getter, 20)
        late.append(time.monotonic() - sent)
    return late

loop = new_loop()
late = sorted(loop.run_until_complete(main()))
loop.close()
assert late[4] < 0.5, late
"""
    )


def test_put_from_a_handler_inside_an_async_operation():
    """A handler that puts on the queue its loop is working on, 1000 times: every item once."""
    run_script(
        COMMON
        + """
queue, numbers, handled = Queue(), iter(range(1000)), []

def handler(number, frame):
    number = next(numbers, None)
    if number is not None:
        queue.put_nowait(("handler", number))
        handled.append(number)

async def main():
    put, got = 0, []
    async def consume():
        async for item in queue:
            got.append(item)
    consumer = asyncio.create_task(consume())
    while len(handled) < 1000:
        await queue.put_async(("main", put))
        put += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    queue.shutdown()
    await consumer
    assert sorted(got) == sorted([("main", i) for i in range(put)] + [("handler", i) for i in range(1000)])

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
asyncio.run(main())
"""
    )


def test_ctrl_c_ends_asyncio_run_with_a_getter_waiting():
    """Ctrl-C in `asyncio.run` cancels a waiting `get_async` and leaves no waiter behind."""
    run_script(
        COMMON
        + """
queue = Queue()

def interrupt():
    until(lambda: waiters(queue) == 1)
    signal.pthread_kill(main_thread, signal.SIGINT)

start(interrupt)
try:
    asyncio.run(queue.get_async())
except KeyboardInterrupt:
    pass
else:
    raise SystemExit("it returned")
assert waiters(queue) == 0
queue.put(1)
assert queue.get_nowait() == 1
"""
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_ctrl_c_in_the_middle_of_a_wake_up(when):
    """Ctrl-C inside the loop's `call_soon_threadsafe`: the wake-up arrives, so do all later ones, and the Ctrl-C is
    seen right after the put."""
    run_script(
        COMMON
        + f"""
class InterruptedLoop(asyncio.SelectorEventLoop):
    interrupt = False

    def call_soon_threadsafe(self, *arguments, **options):
        interrupt, self.interrupt = self.interrupt, False
        if interrupt and {when!r} == "before":
            signal.raise_signal(signal.SIGINT)
        handle = super().call_soon_threadsafe(*arguments, **options)
        if interrupt and {when!r} == "after":
            signal.raise_signal(signal.SIGINT)
        return handle

loop = InterruptedLoop()
start(loop.run_forever)
queue = Queue()
for number in range(6):
    future = asyncio.run_coroutine_threadsafe(queue.get_async(), loop)
    until(lambda: waiters(queue) == 1)
    loop.interrupt = expected = number % 2 == 0
    interrupted = False
    try:
        queue.put(number)
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        interrupted = True
    assert interrupted == expected, number
    assert future.result(20) == number
assert queue.statistics().puts == 6
loop.call_soon_threadsafe(loop.stop)
"""
    )


def test_other_threads_are_not_interrupted():
    """Signals are the main thread's: a wait in another thread goes on, and its item is its own."""
    run_script(
        COMMON
        + """
queue, got = Queue(), []
thread = start(lambda: got.append(queue.get()))
until(lambda: waiters(queue) == 1)
for _ in range(20):
    try:
        signal.pthread_kill(thread.ident, signal.SIGINT)
        for _ in range(500):  # the main thread is not woken by it: it sees the signal between two naps
            time.sleep(0.01)
    except KeyboardInterrupt:
        pass
    else:
        raise SystemExit("the main thread did not see it")
    assert waiters(queue) == 1
queue.put("item")
thread.join(30)
assert got == ["item"]
"""
    )


@pytest.mark.skipif(not hasattr(ctypes, "pythonapi"), reason="no C API")
@pytest.mark.parametrize("take", ["queue", "channel"])
def test_an_exception_that_another_thread_sets(take):
    """`PyThreadState_SetAsyncExc` does not end a wait: it is raised when the call has returned, and what it took is lost with it."""

    class Kill(BaseException):
        pass

    queue, channel = sluicegate.Queue(), sluicegate.CreditChannel(8)
    get, put = (queue.get, queue.put) if take == "queue" else (channel.receiver.receive, channel.sender.send)
    left = queue.qsize if take == "queue" else lambda: channel.statistics().buffered
    waiting = (lambda: queue.statistics().waiting_getters) if take == "queue" else (lambda: channel.statistics().waiting_receivers)
    got, raised = [], threading.Event()

    def work():
        try:
            got.append(get())
        except Kill:
            raised.set()

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: waiting() == 1)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Kill)) == 1
    assert not raised.wait(0.15)
    assert waiting() == 1
    put("item")
    thread.join(20)
    assert raised.is_set()
    assert (got, left(), waiting()) == ([], 0, 0)
