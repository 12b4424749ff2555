"""What comes from outside: signals, forks, the end of the interpreter, the garbage collector.

Signals, forks and exits are scripts in an interpreter of their own, whose main thread they are.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import weakref

import pytest
from helpers import FORKING, LOOP_KINDS, PATIENCE, ROUNDS, collect, eventually, on_loops, run_script, settle, spawn, step
from rates import KINDS, ONE_PER_PERIOD, figures, in_line, one_per_second, quiet_loop, turn, used_up

from sluicegate import KeyedTokenBucket, RateLimited, RateLimits, SlidingWindow, TokenBucket
from sluicegate.testing import ManualClock

kinds = pytest.mark.parametrize("kind", KINDS)
signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

COMMON = (
    FORKING
    + """
import _thread, asyncio, atexit, os, random, signal, sys, threading, time, traceback, warnings
from sluicegate import *
from sluicegate.testing import ManualClock

def until(predicate, seconds=30):
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.0005)

def start(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread

def waiters(limiter):
    return limiter.statistics().waiters

def make(kind, clock=None, period=1):
    \"\"\"One goes at once and then one each period, of a second.\"\"\"
    if kind == "TokenBucket":
        return TokenBucket(1, burst=1, period=period, clock=clock)
    if kind == "LeakyBucket":
        return LeakyBucket(1, capacity=1000, period=period, clock=clock)
    if kind == "SlidingWindow":
        return SlidingWindow(1, period, clock=clock)
    if kind == "TokenBucketKey":
        return KeyedTokenBucket(1, burst=1, max_keys=5, period=period, clock=clock).key("key")
    return RateLimits(one=TokenBucket(1, burst=1, period=period, clock=clock), other=SlidingWindow(1, period, clock=clock))

main_thread = threading.main_thread().ident
"""
)


# ------------------------------------------------------------------------------------------------------------- signals

BLOCKING = {
    "acquire": "limiter.acquire()",
    "acquire timeout": "limiter.acquire(timeout=2000)",
    "with": "limiter.__enter__()",
    "reservation": "limiter.reserve().wait()",
    "with permit": "limiter.permit().__enter__()",
    "decorated": "limiter(lambda: None)()",
}


@signals
@pytest.mark.parametrize("how", ["to the process", "interrupt_main", "to another thread"])
@pytest.mark.parametrize("call", list(BLOCKING))
@kinds
def test_ctrl_c_within_a_slice(kind, call, how):
    """Ctrl-C ends every blocking call within 100 ms (median of 5) on any thread: nothing is taken, and no waiter is left."""
    if kind not in ("TokenBucket", "RateLimits") and (how, call) != ("to the process", "acquire"):
        pytest.skip("one way of waiting: two limiters stand for all")
    run_script(
        COMMON
        + f"""
def send():
    how = {how!r}
    if how == "to the process":
        os.kill(os.getpid(), signal.SIGINT)
    elif how == "to another thread":
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    else:
        _thread.interrupt_main()

def interrupt():
    clock.wait_for_waiters(1)
    time.sleep(random.random() * 0.05)
    sent.append(time.monotonic())
    send()

late = []
for turn in range(5):
    clock = ManualClock()
    limiter, sent = make({kind!r}, clock), []
    limiter.pause_for(1000)
    limiter.acquire(0)
    before = limiter.tokens
    thread = start(interrupt)
    try:
        {BLOCKING[call]}
    except KeyboardInterrupt:
        late.append(time.monotonic() - sent[0])
    else:
        raise SystemExit("it returned")
    thread.join()
    assert waiters(limiter) == clock.waiters == 0
    if {call!r} != "reservation":
        assert limiter.retry_after() == 1000.0, limiter.retry_after()
        clock.advance(1000)
        assert limiter.try_acquire()
        assert not limiter.try_acquire()
late.sort()
assert late[2] < 0.1, late
assert late[-1] < 5, late
"""
    )


@signals
@kinds
def test_the_next_goes_earlier(kind):
    """The main thread is the head and is interrupted: the thread behind it has its place."""
    run_script(
        COMMON
        + f"""
clock = ManualClock()
limiter = make({kind!r}, clock)
limiter.acquire()
served = []

def behind():
    clock.wait_for_waiters(1)
    start(interrupt)
    limiter.acquire()
    served.append(clock.now())

def interrupt():
    clock.wait_for_waiters(2)
    signal.pthread_kill(main_thread, signal.SIGINT)

thread = start(behind)
try:
    limiter.acquire()
except KeyboardInterrupt:
    pass
else:
    raise SystemExit("it returned")
assert waiters(limiter) == 1
clock.advance(1)
thread.join(20)
assert served == [1.0]
"""
    )


@signals
@kinds
def test_handlers_that_return_let_the_wait_go_on(kind):
    """After a handler the wait goes on with the time that is left (PEP 475), and is granted when it would have been."""
    run_script(
        COMMON
        + f"""
clock = ManualClock()
limiter = make({kind!r}, clock)
limiter.acquire()
limiter.pause_for(10)
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
        until(lambda: handled == turn)
        assert clock.waiters == 1
    clock.advance(0.999999999)
    assert clock.waiters == 1
    clock.advance(0.000000001)

thread = start(drive)
assert limiter.acquire(timeout=10) is True
thread.join()
assert handled == 10
assert clock.now() == 10.0
assert not limiter.try_acquire()
"""
    )


@signals
@kinds
def test_a_handler_that_raises_something_else(kind):
    """Any exception of a handler ends the wait as it is, and nothing is taken."""
    run_script(
        COMMON
        + f"""
class Alarm(Exception):
    pass

def handler(number, frame):
    raise Alarm

signal.signal(signal.SIGALRM, handler)
clock = ManualClock()
limiter = make({kind!r}, clock)
limiter.acquire()
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    limiter.acquire()
except Alarm:
    pass
else:
    raise SystemExit("it returned")
assert waiters(limiter) == 0
clock.advance(1)
assert limiter.try_acquire()
"""
    )


@signals
@kinds
def test_a_handler_that_acquires_on_the_same_limiter(kind):
    """A handler inside a wait comes to the end of the line, waits there, and both are served; one more is refused as it should be."""
    run_script(
        COMMON
        + f"""
clock = ManualClock()
limiter = make({kind!r}, clock)
limiter.acquire()
log = []

def handler(number, frame):
    log.append(limiter.try_acquire())
    try:
        limiter.acquire(timeout=1)
    except RateLimited as refused:
        log.append(refused.retry_after)
    limiter.acquire()
    log.append("handler")

signal.signal(signal.SIGUSR1, handler)

def drive():
    clock.wait_for_waiters(1)
    signal.pthread_kill(main_thread, signal.SIGUSR1)
    clock.wait_for_waiters(2)
    clock.advance(1)   # the outer wait is granted; it is told when the handler returns
    clock.advance(1)   # the handler's

thread = start(drive)
limiter.acquire()
log.append("main")
thread.join()
assert log == [False, 2.0, "handler", "main"], log
assert limiter.statistics().waited_seconds == 3.0 or {kind!r} == "TokenBucketKey"
assert not limiter.try_acquire()
clock.advance(1)
assert limiter.try_acquire()
"""
    )


@signals
@pytest.mark.parametrize("kind", ["TokenBucket", "RateLimits"])
def test_ctrl_c_raced_against_the_grant(kind):
    """Ctrl-C against the clock, main waiting, a thread behind it: each token goes to exactly one, none is lost."""
    run_script(
        COMMON
        + f"""
rounds, seed = {ROUNDS}, 5
dice = random.Random(seed)

def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass

def behind():
    limiter.acquire()
    second.append(1)

def trouble():
    clock.wait_for_waiters(1)
    threads.append(start(behind))
    clock.wait_for_waiters(2)
    gap = dice.choice([0, 0, 1e-6, 1e-5, 1e-4, 1e-3])
    if dice.random() < 0.5:
        clock.advance(1)
        spin(gap)
        signal.pthread_kill(main_thread, signal.SIGINT)
    else:
        signal.pthread_kill(main_thread, signal.SIGINT)
        spin(gap)
        clock.advance(1)

outcomes = dict(returned=0, interrupted=0, after_commit=0)
for number in range(rounds):
    clock = ManualClock()
    limiter, second, threads = make({kind!r}, clock), [], []
    limiter.acquire()
    first = thread = None
    try:
        thread = start(trouble)
        first = limiter.acquire()
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        pass
    thread.join()
    # One token has come in, and it went to one of the two.
    until(lambda: limiter.statistics().admitted == 2)
    if waiters(limiter) == 0:
        until(lambda: second)
        assert first is None, number
        outcomes["interrupted"] += 1
    else:
        # Committed to the main thread before the signal, whether the value came back or not.
        outcomes["returned" if first else "after_commit"] += 1
        assert not second
        clock.advance(1)
        until(lambda: second)
        assert limiter.statistics().admitted == 3
    clock.advance(1)
    threads[0].join(20)
    assert waiters(limiter) == clock.waiters == 0
    assert limiter.try_acquire()
    assert not limiter.try_acquire()
print(outcomes)
assert outcomes["interrupted"] > 0, outcomes
""",
        limit=60 + ROUNDS * 0.3,
    )


@signals
def test_ctrl_c_in_asyncio_run():
    """Ctrl-C while tasks wait: they are cancelled and have taken nothing."""
    run_script(
        COMMON
        + """
bucket = TokenBucket(1e-3, burst=5)
bucket.acquire(5)

def interrupt():
    until(lambda: waiters(bucket) == 3)
    os.kill(os.getpid(), signal.SIGINT)

async def main():
    await asyncio.gather(*(bucket.acquire_async() for _ in range(3)))

start(interrupt)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
else:
    raise SystemExit("it returned")
assert waiters(bucket) == 0
bucket.refund(3)
assert bucket.try_acquire(3)
"""
    )


# ---------------------------------------------------------------------------------------------------------------- fork


@forks
@kinds
def test_fork_with_waiters(kind):
    """Threads and tasks wait: the child has the limiter as it was, without waiters, and may use it in every way."""
    run_script(
        COMMON
        + f"""
limiter = make({kind!r}, period=1000)
limiter.acquire()   # and nobody goes while we look, unless something is given back
loop = asyncio.new_event_loop()
start(loop.run_forever)
threads = [start(limiter.acquire) for _ in range(3)]
until(lambda: waiters(limiter) == 3)
future = asyncio.run_coroutine_threadsafe(limiter.acquire_async(), loop)
until(lambda: waiters(limiter) == 4)

def child():
    assert waiters(limiter) == 0
    assert not limiter.try_acquire()
    # Those of the parent are not waited for.
    assert 0 < limiter.retry_after() <= 1000.0
    try:
        limiter.acquire(timeout=0)
    except RateLimited as refused:
        assert 0 < refused.retry_after <= 1000.0
    else:
        raise AssertionError
    got = []
    thread = start(lambda: got.append(limiter.acquire()))
    until(lambda: waiters(limiter) == 1)
    limiter.refund(1)
    thread.join(10)
    assert got == [True]
    limiter.refund(1)
    assert asyncio.run(limiter.acquire_async()) is True
    limiter.refund(1)
    assert limiter.reserve().wait() is True
    assert not limiter.try_acquire()
    assert waiters(limiter) == 0

check(in_child(child), in_child(child))
assert waiters(limiter) == 4
for left in (3, 2, 1, 0):
    limiter.refund(1)
    until(lambda: waiters(limiter) == left)
for thread in threads:
    thread.join(20)
    assert not thread.is_alive()
assert future.result(20) is True
loop.call_soon_threadsafe(loop.stop)
"""
    )


@forks
def test_fork_in_the_middle_of_operations():
    """Forks while threads and a loop acquire as fast as they can: every child finds a usable limiter."""
    run_script(
        COMMON
        + f"""
buckets = [TokenBucket(1e6, burst=5), LeakyBucket(1e6, capacity=100), SlidingWindow(100, 1e-4)]
keyed = KeyedTokenBucket(1e6, burst=5, max_keys=50)
limits = RateLimits(one=TokenBucket(1e6, burst=10), other=SlidingWindow(100, 1e-4))
everything = [*buckets, keyed.key("a"), limits]
stop = False

def work(seed):
    dice = random.Random(seed)
    while not stop:
        limiter = dice.choice(everything)
        try:
            dice.choice([limiter.try_acquire, limiter.acquire, limiter.reserve])()
            keyed.try_acquire(dice.randrange(40))
        except RateLimited:
            pass

def on_a_loop():
    async def main():
        while not stop:
            for limiter in everything:
                await limiter.acquire_async()
    asyncio.run(main())

threads = [start(work, seed) for seed in range(3)] + [start(on_a_loop)]

def child():
    for limiter in everything:
        assert waiters(limiter) == 0
        for _ in range(20):
            limiter.acquire(timeout=5)
    for key in range(40):
        keyed.key(key).acquire(timeout=5)
    for number in range(200):
        keyed.try_acquire(number % 50)

for _ in range({max(20, ROUNDS // 5)}):
    check(in_child(child))
stop = True
for thread in threads:
    thread.join(20)
    assert not thread.is_alive()
""",
        limit=120,
    )


@forks
def test_fork_inside_a_signal_handler():
    """A handler forks inside a wait: the wait goes on in both."""
    run_script(
        COMMON
        + """
bucket = TokenBucket(1e-3, burst=2)
bucket.acquire(2)
children = []

def handler(number, frame):
    pid = os.fork()
    if pid:
        children.append(pid)
    else:
        signal.alarm(20)
        start(late)

def late():
    time.sleep(0.05)
    bucket.refund(1)

signal.signal(signal.SIGUSR1, handler)
parent = os.getpid()

def drive():
    until(lambda: waiters(bucket) == 2)
    os.kill(parent, signal.SIGUSR1)
    until(lambda: children)
    bucket.refund(2)

behind = start(bucket.acquire)
until(lambda: waiters(bucket) == 1)
start(drive)
assert bucket.acquire() is True
if os.getpid() != parent:
    os._exit(0 if waiters(bucket) == 0 else 1)
behind.join(10)
assert not behind.is_alive()
check(*children)
"""
    )


# ------------------------------------------------------------------------------------------------- the interpreter ends


def ends(source):
    """The script reaches its last line, leaves with 0 and writes nothing on stderr."""
    assert run_script(COMMON + source + "\nprint('end')\n", limit=30).endswith("end\n")


@kinds
def test_exit_with_daemon_threads_blocked(kind):
    """Blocked in every call that waits, one of them keeping time for all."""
    ends(
        f"""
limiter = make({kind!r})
limiter.acquire()
limiter.pause_for(1000)
reservation = limiter.reserve()
for function in (limiter.acquire, limiter.acquire, lambda: limiter.acquire(timeout=100000), limiter.__enter__):
    start(function)
start(reservation.wait)
until(lambda: waiters(limiter) >= 4)
time.sleep(0.01)
"""
    )


@kinds
def test_exit_with_daemon_threads_at_full_speed(kind):
    """Granted all the time while the interpreter goes."""
    ends(
        f"""
limiter = {{
    "TokenBucket": lambda: TokenBucket(1e5, burst=2),
    "LeakyBucket": lambda: LeakyBucket(1e5, capacity=100),
    "SlidingWindow": lambda: SlidingWindow(10, 1e-4),
    "TokenBucketKey": lambda: KeyedTokenBucket(1e5, burst=2, max_keys=5).key("key"),
    "RateLimits": lambda: RateLimits(a=TokenBucket(1e5, burst=2)),
}}[{kind!r}]()
count = 0

def work():
    global count
    while True:
        limiter.acquire()
        count += 1

for _ in range(4):
    start(work)
until(lambda: count > 500)
"""
    )


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
@kinds
def test_exit_with_a_pending_acquire_async(kind, loop_kind):
    """On a loop left as it is, on one that runs in a daemon thread, and in `asyncio.run`."""
    ends(
        f"""
import logging
logging.disable()  # asyncio says that a pending task was destroyed; that is not ours
warnings.simplefilter("ignore", ResourceWarning)

def new_loop():
    if {loop_kind!r} == "uvloop":
        import uvloop
        return uvloop.new_event_loop()
    return asyncio.new_event_loop()

limiter = make({kind!r})
limiter.acquire()
limiter.pause_for(1000)
left = new_loop()
tasks = [left.create_task(limiter.acquire_async()), left.create_task(limiter.reserve().wait_async())]
left.run_until_complete(asyncio.sleep(0.01))
running = new_loop()
start(running.run_forever)
asyncio.run_coroutine_threadsafe(limiter.acquire_async(), running)
until(lambda: waiters(limiter) >= 2)

async def main():
    global task
    task = asyncio.create_task(limiter.acquire_async())
    await asyncio.sleep(0)

asyncio.run(main())
assert task.cancelled()
"""
    )


def test_exit_with_limiters_everywhere():
    """In module globals, builtins, as decorators, in `atexit` and `__del__`."""
    ends(
        """
import builtins
bucket = TokenBucket(1e6, burst=5, name="global")
builtins.sluicegate_limits = RateLimits(one=bucket, other=SlidingWindow(5, 1e-3))
keyed = KeyedTokenBucket(1, burst=1, max_keys=5)
key = keyed.key("k")

@bucket
def work(): pass

@key
async def work_async(): pass

class Late:
    def __del__(self):
        try:
            bucket.try_acquire(); bucket.refund(1); keyed.try_acquire("late"); bucket.acquire(timeout=0.01); bucket.reserve().cancel()
        except BaseException:
            pass

late = Late()
sys.modules["a module which goes last"] = Late()
atexit.register(bucket.acquire)
atexit.register(bucket.refund, 1)
reservation = bucket.reserve(2)
bucket.debit(10**6)
thread = start(bucket.acquire)
until(lambda: waiters(bucket) == 1)
"""
    )


# ----------------------------------------------------------------------------------------------------- garbage collector


class Holder:
    pass


@kinds
def test_a_cycle_through_a_decorated_function(kind):
    """A limiter that decorates what refers to it: collected."""
    limiter = one_per_second(kind)

    class Client:
        @limiter
        def call(self):
            return self.limiter

    client = Client()
    client.limiter, client.method = limiter, client.call
    Client.call.client = client
    assert client.call() is limiter
    references = [weakref.ref(limiter), weakref.ref(client), weakref.ref(Client)]
    del limiter, client, Client
    collect()
    assert [reference() for reference in references] == [None] * 3


def test_a_set_and_its_members():
    """A set keeps its members; members do not keep the set."""
    clock = ManualClock()
    bucket, window = TokenBucket(1, burst=1, clock=clock), SlidingWindow(1, 1, clock=clock)
    limits = RateLimits(bucket=bucket, window=window)
    references = [weakref.ref(limits), weakref.ref(window)]
    assert limits.try_acquire()
    del window
    collect()
    assert references[1]() is not None
    del limits
    collect()
    assert [reference() for reference in references] == [None, None]
    clock.advance(1)
    assert bucket.try_acquire()


def test_a_handle_keeps_its_keys():
    """A handle keeps the keyed bucket; a reservation keeps its limiter."""
    keyed = KeyedTokenBucket(1, burst=1, max_keys=5)
    reference = weakref.ref(keyed)
    bucket = keyed.key("k")
    del keyed
    collect()
    assert reference() is not None
    reservation = bucket.reserve()
    del bucket
    collect()
    assert reservation.delay == 0.0
    del reservation
    collect()
    assert reference() is None


@pytest.mark.parametrize("manual", [True, False])
@kinds
@on_loops
async def test_tasks_known_only_to_their_limiter(kind, manual):
    """A limiter known only to tasks that wait for it, and the tasks only to it: its time will come, so they stay, and are served."""
    clock = ManualClock() if manual else None
    limiter = ONE_PER_PERIOD[kind](1 if manual else 0.125, clock=clock)
    assert limiter.try_acquire()
    if not manual:
        limiter.pause_for(0.02)
    done = []

    def wait_for(limiter):
        for number in range(2):
            task = asyncio.ensure_future(limiter.acquire_async(timeout=None if number else 1000))
            task.add_done_callback(lambda task: done.append(task.result()))

    wait_for(limiter)
    await settle()
    assert figures(limiter).waiters == 2
    reference = weakref.ref(limiter)
    del limiter
    collect()
    await settle()
    if manual:
        clock.advance(2)
    await eventually(lambda: done == [True, True])
    await settle()
    collect()
    assert reference() is None


@kinds
@on_loops
async def test_a_cycle_through_a_waiting_coroutine(kind):
    """The same without a task: a coroutine stepped by hand."""
    limiter = used_up(kind, ManualClock())
    holder = Holder()
    holder.coroutine = limiter.acquire_async()
    holder.me = holder
    assert step(holder.coroutine) == (False, None)
    references = [weakref.ref(limiter), weakref.ref(holder)]
    del limiter, holder
    collect()
    assert [reference() for reference in references] == [None, None]


@kinds
def test_a_limiter_with_a_blocked_thread_stays(kind):
    """A thread that waits keeps its limiter, and is served."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    reference = weakref.ref(limiter)
    (waiter,) = in_line(clock, limiter.acquire)
    del limiter
    collect()
    assert reference() is not None
    clock.advance(1)
    assert waiter.result() is True
    del waiter
    collect()
    assert reference() is None


@kinds
def test_the_clock_keeps_no_limiter(kind):
    """A clock with deadlines past and reservations pending holds no limiter."""
    clock = ManualClock()
    limiter = used_up(kind, clock)
    (waiter,) = in_line(clock, limiter.acquire)
    clock.advance(1)
    waiter.result()
    reservation = limiter.reserve()
    reference = weakref.ref(limiter)
    del limiter, waiter, reservation
    collect()
    assert reference() is None


@pytest.mark.parametrize("loop_kind", LOOP_KINDS)
@pytest.mark.parametrize("manual", [True, False])
def test_loops_are_not_kept(loop_kind, manual):
    """A loop whose tasks have waited is collected once it is closed; so is one closed while they wait, when their time has come."""
    clock = ManualClock() if manual else None
    bucket = TokenBucket(100, burst=1, clock=clock)
    for served in (True,) if manual else (True, False):  # a manual clock keeps those who wait on it
        bucket.debit(1)
        loop = quiet_loop(loop_kind)
        task = loop.create_task(bucket.acquire_async())
        turn(loop)
        if served:
            if manual:
                clock.advance(1)
            assert loop.run_until_complete(task) is True
        loop.close()
        references = [weakref.ref(task), weakref.ref(loop)]
        del loop, task
        if not served:
            assert bucket.acquire(timeout=PATIENCE)
        collect()
        assert [reference() for reference in references] == [None, None]
    assert figures(bucket).waiters == 0


def test_gc_storm():
    """Collections in a loop while threads and tasks wait, with cycles through decorated functions and reservations."""
    bucket = TokenBucket(20000, burst=5)
    stop = threading.Event()
    made = []

    class Cyclic:
        def __init__(self):
            self.me = self
            self.reservation = bucket.reserve()
            self.call = bucket(self.method)

        def method(self):
            return self

        def __del__(self):
            made.append(bucket.tokens)
            bucket.try_acquire()
            try:
                bucket.acquire(timeout=0)
            except RateLimited:
                pass

    def ask():
        count = 0
        while not stop.is_set():
            assert bucket.acquire(timeout=PATIENCE)
            assert Cyclic().me
            count += 1
        return count

    async def main():
        async def go():
            for _ in range(20):
                await bucket.acquire_async()

        await asyncio.gather(*(go() for _ in range(10)))

    workers = [spawn(ask) for _ in range(2)]
    for _ in range(20):
        gc.collect()
    asyncio.run(asyncio.wait_for(main(), PATIENCE * 2))
    stop.set()
    assert all(worker.result() > 0 for worker in workers)
    collect()
    assert made


def test_from_weakref_callbacks_and_finalisers():
    """Everything that does not wait may be called from anywhere, also from inside the same limiter's own calls."""
    clock = ManualClock()
    bucket = TokenBucket(1, burst=10, clock=clock)
    keyed = KeyedTokenBucket(1, burst=10, max_keys=5, clock=clock)
    called = []

    class Late:
        def __del__(self):
            called.append(bucket.try_acquire())
            bucket.refund(0.5)
            bucket.debit(0.5)
            keyed.try_acquire("k")
            bucket.set_rate(1, burst=10)
            figures(bucket)

    thing = Late()
    reference = weakref.ref(thing, lambda _: called.append(bucket.reserve().cancel()))
    del thing
    collect()
    assert called in ([True, 1.0], [1.0, True])
    assert reference() is None
    assert bucket.tokens == 9.0
