"""Event loops that come, go, stop and die with waiters on them; and what the queues do to a loop that lives."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import itertools
import sys
import threading
import warnings

import pytest
from helpers import (
    LOOP_KINDS,
    PATIENCE,
    ROUNDS,
    LoopThread,
    Worker,
    collect,
    finish,
    new_loop,
    on_loops,
    run_on,
    settle,
    spawn,
    step,
    wait_until,
)

from sluicegate import BlockingInEventLoopWarning, Empty, Full, PriorityQueue, Queue, ShutDown
from sluicegate.testing import ManualClock

kinds_of_loop = pytest.mark.parametrize("loop_kind", LOOP_KINDS)


@pytest.fixture
def clock():
    return ManualClock()


def quiet(loop):
    """A loop which does not log that a pending task was destroyed: here that is what the test does."""
    loop.set_exception_handler(lambda loop, context: None)
    return loop


def turn(loop, turns=5):
    """Runs a stopped loop for a few turns."""
    loop.run_until_complete(settle(turns))


# ------------------------------------------------------------------------------------------------------ dying loops


@kinds_of_loop
def test_a_loop_closed_while_a_getter_waits(loop_kind, clock):
    """Its waiter is skipped: the item goes to the next waiter."""
    queue = Queue(clock=clock)
    loop = quiet(new_loop(loop_kind))
    task = loop.create_task(queue.get_async())
    turn(loop)
    loop.close()
    behind = spawn(queue.get)
    clock.wait_for_waiters(2)
    queue.put("item")
    assert behind.result() == "item"
    queue.put("more")
    assert queue.get(timeout=0) == "more"
    del task, loop
    collect()
    assert queue.statistics().waiting_getters == 0


@kinds_of_loop
def test_a_loop_closed_while_a_getter_waits_alone(loop_kind):
    """Without another waiter, the item stays for the next arrival."""
    queue = Queue()
    loop = quiet(new_loop(loop_kind))
    task = loop.create_task(queue.get_async())
    turn(loop)
    loop.close()
    queue.put("item")
    assert queue.qsize() == 1
    assert queue.get() == "item"
    queue.shutdown()
    del task


@kinds_of_loop
def test_a_loop_closed_while_a_putter_waits(loop_kind, clock):
    """The same on the producers' side; the dead task's item never enters."""
    queue = Queue(1, clock=clock)
    queue.put("old")
    loop = quiet(new_loop(loop_kind))
    task = loop.create_task(queue.put_async("never"))
    turn(loop)
    loop.close()
    behind = spawn(queue.put, "behind")
    clock.wait_for_waiters(2)
    assert queue.get() == "old"
    behind.result()
    assert queue.get() == "behind"
    assert queue.empty()
    del task


@kinds_of_loop
def test_several_closed_loops_in_one_line(loop_kind, clock):
    """Five dead loops in a row, then a live one and a thread: both are served."""
    queue = Queue(clock=clock)
    dead = []
    for _ in range(5):
        loop = quiet(new_loop(loop_kind))
        dead.append((loop, loop.create_task(queue.get_async())))
        turn(loop)
        loop.close()
    with LoopThread(loop_kind) as alive:
        future = alive.submit(queue.get_async())
        clock.wait_for_waiters(6)
        thread = spawn(queue.get)
        clock.wait_for_waiters(7)
        queue.put_many(["first", "second"])
        assert {future.result(PATIENCE), thread.result()} == {"first", "second"}
    del dead


@kinds_of_loop
def test_a_wake_up_undelivered_when_the_loop_is_closed(loop_kind, clock):
    """Granted to a stopped loop, then the loop is closed: the wake-up is passed on."""
    queue = Queue(clock=clock)
    loop = quiet(new_loop(loop_kind))
    task = loop.create_task(queue.get_async())
    turn(loop)
    queue.put("item")
    behind = spawn(queue.get_many, 5)
    loop.close()
    assert behind.result() == ["item"]
    del task


@kinds_of_loop
def test_a_wake_up_undelivered_with_a_thread_already_waiting(loop_kind, clock):
    """The same with the thread in the wait queue before the put."""
    queue = Queue(clock=clock)
    loop = quiet(new_loop(loop_kind))
    task = loop.create_task(queue.get_async())
    turn(loop)
    behind = spawn(queue.get)
    clock.wait_for_waiters(2)
    spawn(queue.put, "item").result()
    loop.close()
    assert behind.result() == "item"
    del task


@kinds_of_loop
def test_a_stopped_loop_does_not_sit_on_an_item(loop_kind, clock):
    """Granted to a loop which has stopped and is not closed: those behind do not sleep beside the item."""
    queue = Queue(clock=clock)
    loop = quiet(new_loop(loop_kind))
    task = loop.create_task(queue.get_async())
    turn(loop)
    behind = spawn(queue.get)
    clock.wait_for_waiters(2)
    queue.put("item")
    assert behind.result() == "item"
    # The stopped loop's task has its turn when the loop runs again.
    queue.put("later")
    assert loop.run_until_complete(task) == "later"
    loop.close()


@kinds_of_loop
def test_a_loop_dropped_with_a_wake_up_undelivered(loop_kind, clock):
    """A loop nobody holds any more, neither closed nor run again."""
    queue = Queue(clock=clock)
    loop = quiet(new_loop(loop_kind))
    task = loop.create_task(queue.get_async())
    turn(loop)
    behind = spawn(queue.get)
    clock.wait_for_waiters(2)
    queue.put("item")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del loop, task
        collect()
    assert behind.result() == "item"


@kinds_of_loop
def test_a_loop_stopped_between_the_wake_up_and_its_use(loop_kind, clock):
    """Woken directly on its own loop, which stops before the task runs and is closed: passed on."""
    queue = Queue(clock=clock)
    loop = quiet(new_loop(loop_kind))
    task = loop.create_task(queue.get_async())
    turn(loop)
    behind = spawn(queue.get)
    clock.wait_for_waiters(2)

    async def wake_and_stop():
        queue.put_nowait("item")
        loop.stop()

    waker = loop.create_task(wake_and_stop())
    loop.run_forever()
    assert waker.done()
    if not task.done():
        loop.close()
        del task
        collect()
        assert behind.result() == "item"
    else:  # a loop which runs what is ready before it stops
        assert task.result() == "item"
        queue.put("for the thread")
        assert behind.result() == "for the thread"
        loop.close()


@kinds_of_loop
def test_a_loop_thread_that_dies(loop_kind, clock):
    """The thread of a loop ends without a word; the line goes on without it."""
    queue = Queue(clock=clock)
    dying = LoopThread(loop_kind)
    quiet(dying.loop)
    dying.submit(queue.get_async())
    clock.wait_for_waiters(1)
    dying.stop()
    behind = spawn(queue.get)
    clock.wait_for_waiters(2)
    queue.put("item")
    dying.loop.close()
    assert behind.result() == "item"


@kinds_of_loop
def test_closing_loops_raced_against_puts(loop_kind):
    """Loops closed while another thread wakes their getters, many times: every item is found, nothing is raised."""
    queue = Queue()
    total = 300
    go = Queue()

    def produce():
        for number in range(total):
            go.get(timeout=PATIENCE)
            queue.put(number)

    producer = spawn(produce)
    got = []
    for number in range(total):
        loop = quiet(new_loop(loop_kind))
        task = loop.create_task(queue.get_async())
        turn(loop, 2)
        go.put(number)
        if number % 3 == 0:
            turn(loop, 2)
        loop.close()
        if task.done():
            got.append(task.result())
        del task, loop
    producer.result()
    collect()
    while queue.qsize():
        got.append(queue.get_nowait())
    assert sorted(got) == list(range(total))
    assert queue.statistics().waiting_getters == 0


@kinds_of_loop
def test_shutdown_with_dead_loops_in_line(loop_kind, clock):
    """A shutdown reaches the living past the dead."""
    queue = Queue(clock=clock)
    loop = quiet(new_loop(loop_kind))
    task = loop.create_task(queue.get_async())
    turn(loop)
    loop.close()
    behind = spawn(queue.get)
    clock.wait_for_waiters(2)
    queue.shutdown()
    assert isinstance(behind.exception(), ShutDown)
    del task


@kinds_of_loop
def test_timeouts_of_dead_loops(loop_kind, clock):
    """Deadlines of waiters on a closed loop fire into nothing."""
    queue = Queue(clock=clock)
    loop = quiet(new_loop(loop_kind))
    task = loop.create_task(queue.get_async(timeout=1))
    turn(loop)
    loop.close()
    behind = spawn(queue.get, timeout=2)
    clock.wait_for_waiters(2)
    clock.advance(1.5)
    queue.put("item")
    assert behind.result() == "item"
    del task


class HeldLoop(asyncio.SelectorEventLoop):
    """Holds the threads that it is given in the middle of `call_soon_threadsafe`, where a thread may lose the GIL."""

    def __init__(self):
        super().__init__()
        self.hold, self.held, self.go_on = False, threading.Event(), threading.Event()

    def call_soon_threadsafe(self, callback, *arguments, context=None):
        self._check_closed()
        if self.hold and isinstance(threading.current_thread(), Worker):
            self.held.set()
            assert self.go_on.wait(PATIENCE)
        handle = self._call_soon(callback, arguments, context)
        self._write_to_self()
        return handle


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "stopped"])
def test_a_loop_that_ends_while_it_is_being_rung(closed, clock):
    """One thread is in the middle of telling the loop, another relies on that; then the loop ends. Both turns are passed on."""
    first, second = Queue(clock=clock), Queue(clock=clock)
    running = LoopThread(loop=quiet(HeldLoop()))
    loop = running.loop
    for queue in (first, second):
        running.submit(queue.get_async())
    clock.wait_for_waiters(2)
    behind = [spawn(queue.get) for queue in (first, second)]
    clock.wait_for_waiters(4)
    loop.hold = True
    ringing = spawn(first.put, "one")
    assert loop.held.wait(PATIENCE)
    second.put("two")  # the loop runs and is being rung: nothing more to do
    loop.call_soon_threadsafe(loop.stop)
    running.thread.join(PATIENCE)
    if closed:
        loop.close()
    loop.go_on.set()
    ringing.result()
    assert [thread.result() for thread in behind] == ["one", "two"]
    loop.close()


@pytest.mark.thread_unsafe(reason="changes the interpreter's switch interval")
@kinds_of_loop
def test_loops_that_end_under_several_putters(loop_kind):
    """Tasks of one loop wait in several queues, each before a thread; the loop ends while threads put. No item lies beside a sleeper."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(ROUNDS // 4):
            queues = [Queue() for _ in range(6)]
            running = LoopThread(loop=quiet(new_loop(loop_kind)))
            for queue in queues:
                running.submit(queue.get_async())
            wait_until(lambda queues=queues: all(queue.statistics().waiting_getters == 1 for queue in queues))
            behind = [spawn(queue.get) for queue in queues]
            wait_until(lambda queues=queues: all(queue.statistics().waiting_getters == 2 for queue in queues))

            def put_all(queues):
                for queue in queues:
                    queue.put(1)

            putters = [spawn(put_all, queues[:3]), spawn(put_all, queues[3:])]
            running.stop()
            if number % 2:
                running.loop.close()
            for putter in putters:
                putter.result()
            running.loop.close()
            for queue, thread in zip(queues, behind, strict=True):
                wait_until(lambda queue=queue: queue.qsize() == 0)
                if not thread.done():  # the task was faster
                    queue.put(2)
                thread.result()
    finally:
        sys.setswitchinterval(interval)


def at_the_limit(left, call):
    """Calls with so many frames left before the recursion limit."""

    def down(frames):
        return call() if frames <= 0 else down(frames - 1)

    def room(frames=0):  # tried out: what of C's own depth counts differs between Pythons, and who called us is not all Python
        try:
            return room(frames + 1)
        except RecursionError:
            return frames

    return down(room() - left)


@pytest.mark.parametrize("on_the_loop", [True, False], ids=["loop", "thread"])
@kinds_of_loop
def test_a_wake_up_at_the_recursion_limit(loop_kind, on_the_loop):
    """With no frames left to tell the loop, a put is done or not done, and a waiter that is woken comes."""

    async def main():
        done = 0
        for left in range(12):
            queue = Queue()
            getter = asyncio.create_task(queue.get_async())
            await settle()

            def put(queue=queue, left=left):
                try:
                    at_the_limit(left, lambda: queue.put_nowait(left))
                except RecursionError:
                    return False
                return True

            if put() if on_the_loop else await asyncio.to_thread(put):
                assert await asyncio.wait_for(getter, PATIENCE) == left
                done += 1
            else:
                assert queue.qsize() == 0
                assert queue.statistics().waiting_getters == 1
                await queue.put_async("late")
                assert await getter == "late"
        return done

    assert run_on(loop_kind, main()) > 0


class DeafLoop(asyncio.SelectorEventLoop):
    """Cannot be told anything for a while, though it runs."""

    def __init__(self):
        super().__init__()
        self.deaf, self.refused = False, threading.Semaphore(0)

    def call_soon_threadsafe(self, *arguments, **options):
        if self.deaf:
            self.refused.release()
            raise OSError("not now")
        return super().call_soon_threadsafe(*arguments, **options)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the loop's own error, told once, in the putter's thread
def test_a_loop_that_cannot_be_told_is_told_later(clock):
    """Every attempt to tell a living loop fails for a while: the waiter is woken when that is over, and not forgotten."""
    queue = Queue(clock=clock)
    with LoopThread(loop=DeafLoop()) as running:
        getter = running.submit(queue.get_async())
        clock.wait_for_waiters(1)
        running.run(settle())  # the task is asleep: it has to be told
        running.loop.deaf = True
        putter = spawn(queue.put, "item")
        for _ in range(20):  # more often than the putter alone tries
            assert running.loop.refused.acquire(timeout=PATIENCE)
        running.loop.deaf = False
        assert getter.result(PATIENCE) == "item"
        putter.result()


# -------------------------------------------------------------------------------------------------- what a wake costs


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts what comes over the wall."""

    def __init__(self):
        super().__init__()
        self.crossings = 0

    def call_soon_threadsafe(self, *arguments, **options):
        self.crossings += 1
        return super().call_soon_threadsafe(*arguments, **options)


def test_wake_ups_from_threads_are_coalesced(clock):
    """A hundred wake-ups for a loop that is busy need one `call_soon_threadsafe`."""
    queue = Queue(clock=clock)
    loop = CountingLoop()
    standing, go_on = threading.Event(), threading.Event()

    def stand_still():
        standing.set()
        go_on.wait(PATIENCE)

    with LoopThread(loop=loop) as running:
        futures = [running.submit(queue.get_async()) for _ in range(100)]
        clock.wait_for_waiters(100)
        loop.call_soon_threadsafe(stand_still)
        assert standing.wait(PATIENCE)
        before = loop.crossings
        for number in range(100):
            queue.put(number)
        assert loop.crossings - before == 1
        go_on.set()
        assert [future.result(PATIENCE) for future in futures] == list(range(100))
        last = running.submit(queue.get_async())
        clock.wait_for_waiters(1)
        running.run(settle())  # until it sleeps: a task that is woken while it tries need not be told
        before = loop.crossings
        queue.put("again")
        assert last.result(PATIENCE) == "again"
        assert loop.crossings - before == 1


def test_coalescing_is_per_loop_not_per_queue(clock):
    """Wake-ups of several queues for one loop share its mailbox; each loop has its own."""
    queues = [Queue(clock=clock) for _ in range(5)]
    loops = [CountingLoop(), CountingLoop()]
    go_on = threading.Event()
    with LoopThread(loop=loops[0]) as one, LoopThread(loop=loops[1]) as two:
        futures = [running.submit(queue.get_async()) for queue in queues for running in (one, two)]
        clock.wait_for_waiters(10)
        standing = []
        for loop in loops:
            standing.append(threading.Event())
            loop.call_soon_threadsafe(lambda event=standing[-1]: (event.set(), go_on.wait(PATIENCE)))
        for event in standing:
            assert event.wait(PATIENCE)
        before = [loop.crossings for loop in loops]
        for queue in queues:
            queue.put_many([1, 2])
        assert [loop.crossings - count for loop, count in zip(loops, before, strict=True)] == [1, 1]
        go_on.set()
        assert sorted(future.result(PATIENCE) for future in futures) == [1] * 5 + [2] * 5


def test_a_wake_up_on_the_own_loop_is_direct():
    """From a task of the same loop no wall is crossed, however many are woken."""
    loop = CountingLoop()
    queue = Queue(1)

    async def consume():
        return [item async for item in queue]

    async def main():
        consumer = asyncio.create_task(consume())
        before = loop.crossings
        for number in range(500):
            await queue.put_async(number)
        queue.shutdown()
        assert await consumer == list(range(500))
        return loop.crossings - before

    try:
        assert loop.run_until_complete(main()) == 0
    finally:
        finish(loop)


@on_loops
async def test_a_wake_up_from_a_plain_callback():
    """A put in a `call_soon` or `call_later` callback, where no task is current, wakes a getter."""
    queue = Queue()
    loop = asyncio.get_running_loop()
    for schedule in (loop.call_soon, lambda *call: loop.call_later(0.001, *call), loop.call_soon_threadsafe):
        getter = asyncio.create_task(queue.get_async())
        await settle()
        schedule(queue.put_nowait, "from a callback")
        assert await asyncio.wait_for(getter, PATIENCE) == "from a callback"


@on_loops
async def test_a_wake_up_from_an_executor():
    """`run_in_executor` and `to_thread` work with the blocking calls, without a warning."""
    queue = Queue(1)
    getter = asyncio.create_task(queue.get_async())
    await asyncio.to_thread(queue.put, 1)
    assert await getter == 1
    blocked = asyncio.create_task(asyncio.to_thread(queue.get))
    await settle()
    await queue.put_async(2)
    assert await blocked == 2


WHERE = contextvars.ContextVar("where", default="nowhere")


@pytest.mark.parametrize("way", ["task", "thread", "timer"])
@on_loops
async def test_a_woken_task_runs_in_its_own_context(way):
    """Whichever thread wakes a task, and in whatever context: the task goes on in its own context, and changes only that."""
    queue = Queue()

    async def get():
        WHERE.set("the task")
        with contextlib.suppress(Empty):
            await queue.get_async(timeout=0.01 if way == "timer" else None)
        seen = WHERE.get()
        WHERE.set("later")
        return seen

    getter = asyncio.create_task(get())
    await settle()
    if way == "task":
        queue.put(1)
    elif way == "thread":
        await asyncio.to_thread(queue.put, 1)
    assert await getter == "the task"
    assert WHERE.get() == "nowhere"


@on_loops
async def test_a_cancellation_keeps_its_message():
    """`task.cancel("why")` arrives as asyncio's own would, and leaves no waiter."""
    queue = Queue()
    getter = asyncio.create_task(queue.get_async())
    await settle()
    getter.cancel("why")
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await getter
    if sys.version_info >= (3, 11):
        assert cancelled.value.args == ("why",)
    assert queue.statistics().waiting_getters == 0


# ------------------------------------------------------------------------------------------- promise 10: the loop's turn


@kinds_of_loop
def test_a_callback_runs_within_128_items(loop_kind):
    """With a thread keeping the queue full, a `call_soon` callback runs within 128 items of an `async for`."""
    queue = Queue(5000)
    stop = threading.Event()

    def produce():
        while not stop.is_set():
            try:
                queue.put_many(range(1000), timeout=0.05)
            except (Full, ShutDown):
                pass

    async def main():
        loop = asyncio.get_running_loop()
        worst, since, pending = 0, 0, False

        def callback():
            nonlocal pending
            pending = False

        taken = 0
        async for _ in queue:
            taken += 1
            if pending:
                since += 1
                worst = max(worst, since)
            else:
                since, pending = 0, True
                loop.call_soon(callback)
            if queue.qsize() < 200:
                with contextlib.suppress(Full):  # the thread may have been here just now
                    queue.put_many(range(1000), timeout=0)  # it alone does not keep up on a slow machine
            if taken == 20000:
                return worst
        raise AssertionError("the queue ended")

    producer = spawn(produce)
    try:
        worst = run_on(loop_kind, main())
    finally:
        stop.set()
        queue.shutdown(immediate=True)
        producer.result()
    assert 0 < worst <= 128


@on_loops
async def test_a_timeout_ends_an_endless_loop():
    """`asyncio.wait_for` and `asyncio.timeout` end an `async for` over a queue that never runs empty."""
    queue = Queue()
    queue.put_many(range(10))

    async def endless():
        async for item in queue:
            queue.put_nowait(item)

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(endless(), 0.05)
    if sys.version_info >= (3, 11):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await endless()
    assert queue.qsize() in (9, 10)
    assert queue.statistics().waiting_getters == 0


@on_loops
async def test_the_count_is_the_loops_not_the_queues():
    """Operations on several queues in a row count together: changing the queue does not starve the loop."""
    queues = [Queue(), Queue(), PriorityQueue()]
    for queue in queues:
        queue.put_many(range(200))
    turned = asyncio.Event()
    asyncio.get_running_loop().call_soon(turned.set)
    done = 0
    for queue in itertools.cycle(queues):
        await queue.get_async()
        done += 1
        if turned.is_set():
            break
        assert done <= 129
    assert done >= 2


@on_loops
async def test_loops_count_apart():
    """The turn is given about every 128 operations, not at each: a fast path stays one."""
    queue = Queue()
    queue.put_many(range(1000))
    suspended = 0
    for _ in range(1000):
        coroutine = queue.get_async()
        returned, _ = step(coroutine)
        if not returned:
            suspended += 1
            coroutine.close()
    assert 5 <= suspended <= 9


# ----------------------------------------------------------------------------------------- promise 11: mistakes are told


BLOCKING = {
    "get": ("get_async", lambda queue: queue.get()),
    "get timeout": ("get_async", lambda queue: queue.get(timeout=1000)),
    "get_many": ("get_many_async", lambda queue: queue.get_many(3)),
    "put": ("put_async", lambda queue: queue.put(1)),
    "put_many": ("put_many_async", lambda queue: queue.put_many([1])),
    "join": ("join_async", lambda queue: queue.join()),
}


def blocked_queue(call):
    queue = Queue(1)
    if not call.startswith("get"):
        queue.put_nowait(0)
    return queue


def release(queue, call):
    """Lets the blocked call go, from a thread, once it waits."""
    if call.startswith("get"):
        wait_until(lambda: queue.statistics().waiting_getters == 1)
        queue.put(1)
    elif call == "join":
        wait_until(lambda: queue.statistics().waiting_joiners == 1)
        queue.task_done()
    else:
        wait_until(lambda: queue.statistics().waiting_putters == 1)
        queue.get()


@pytest.mark.parametrize("call", list(BLOCKING))
@on_loops
async def test_blocking_in_an_event_loop_warns(call):
    """A blocking call that has to wait on a loop's thread warns, at the caller's line, and names its async twin."""
    twin, block = BLOCKING[call]
    queue = blocked_queue(call)
    releasing = spawn(release, queue, call)
    with pytest.warns(BlockingInEventLoopWarning, match=twin) as told:
        block(queue)
    releasing.result()
    assert len(told) == 1
    assert told[0].filename == __file__
    assert issubclass(BlockingInEventLoopWarning, RuntimeWarning)


@pytest.mark.parametrize("call", list(BLOCKING))
@on_loops
async def test_the_warning_as_an_error_changes_nothing(call):
    """With the warning turned into an error nothing was taken or put, and no waiter is left."""
    _, block = BLOCKING[call]
    queue = blocked_queue(call)
    before = queue.statistics()
    with warnings.catch_warnings():
        warnings.simplefilter("error", BlockingInEventLoopWarning)
        with pytest.raises(BlockingInEventLoopWarning):
            block(queue)
    after = queue.statistics()
    assert (after.size, after.puts, after.gets) == (before.size, before.puts, before.gets)
    assert (after.waiting_getters, after.waiting_putters, after.waiting_joiners) == (0, 0, 0)


@on_loops
async def test_what_does_not_wait_does_not_warn():
    """Blocking calls that need not wait are fine on a loop."""
    queue = Queue(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        queue.put(1)
        queue.put_many([2, 3])
        assert queue.get() == 1
        assert queue.get_many(2) == [2, 3]
        for _ in range(3):
            queue.task_done()
        queue.join()
        with pytest.raises(Full):
            queue.put_many([1, 2, 3, 4], block=False)
        queue.shutdown()
        assert list(queue) == [1, 2, 3]


def test_the_loops_thread_only():
    """A thread without a loop may block while another thread runs one."""
    queue = Queue()
    with LoopThread() as loop, warnings.catch_warnings():
        warnings.simplefilter("error")
        getter = spawn(queue.get)
        wait_until(lambda: queue.statistics().waiting_getters == 1)
        loop.run(queue.put_async(1))
        assert getter.result() == 1


def test_gc_of_a_loop_with_waiters_while_threads_put():
    """Loops dropped in a cycle with their tasks while a thread puts: nothing is lost."""
    for _ in range(30):
        queue = Queue()
        loop = quiet(new_loop())
        task = loop.create_task(queue.get_async())
        loop.keep = task
        turn(loop, 2)
        putter = spawn(queue.put, "item")
        loop.close()
        del loop, task
        gc.collect()
        putter.result()
        assert queue.get_nowait() == "item"
        collect()
        assert queue.statistics().waiting_getters == 0
