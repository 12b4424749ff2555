"""Threads and tasks of several loops on one channel, and what comes from outside: signals, forks, exits, the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import threading
import warnings
import weakref

import pytest
from channels import (
    KINDS,
    cancelled,
    holds,
    in_line,
    make,
    manual,
    no_waiters,
    result,
    submit,
    take,
    take_all,
    tasks_in_line,
    value,
    waiting,
)
from helpers import (
    FORKING,
    LOOP_KINDS,
    PATIENCE,
    LoopThread,
    collect,
    eventually,
    finish,
    new_loop,
    on_loops,
    pass_through_async,
    run_script,
    settle,
    spawn,
    step,
    wait_until,
)

from sluicegate import BlockingInEventLoopWarning, ChannelCancelled, ChannelClosed, ChannelFailed, Empty, Full
from sluicegate.testing import ManualClock

kinds = pytest.mark.parametrize("kind", list(KINDS))
kinds_of_loop = pytest.mark.parametrize("loop_kind", LOOP_KINDS)
signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

apart = pytest.mark.thread_unsafe(reason="starts interpreters, whose main threads are signalled")
collects = pytest.mark.thread_unsafe(reason="counts what one collection of the whole process finds")


def quiet_loop(kind):
    """A loop that does not log that a pending task was destroyed: where tests use it, that is what they do."""
    loop = new_loop(kind)
    loop.set_exception_handler(lambda loop, context: None)
    return loop


def turn(loop, turns=5):
    """Runs a loop that stands still for a few turns."""
    loop.run_until_complete(settle(turns))


# ----------------------------------------------------------------------------------------------------------- one channel


@kinds_of_loop
@kinds
def test_threads_and_tasks_of_two_loops(kind, loop_kind):
    """4 senders and 4 receivers of every sort through a narrow window: each item once, those of each sender in order."""
    channel = make(kind, 3)
    senders = [channel.sender, *(channel.sender.clone() for _ in range(3))]
    got = [[] for _ in range(4)]

    def send(number):
        with senders[number] as sender:
            for item in range(200):
                sender.send((number, item))

    async def send_async(number):
        async with senders[number] as sender:
            for item in range(200):
                await sender.send_async((number, item))

    def receive(number):
        for received in channel.receiver:
            got[number].append(value(received))

    async def receive_async(number):
        async for received in channel.receiver:
            got[number].append(value(received))

    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        waiters = [spawn(send, 0), spawn(send, 1), one.submit(send_async(2)), two.submit(send_async(3))]
        waiters += [spawn(receive, 0), spawn(receive, 1), one.submit(receive_async(2)), two.submit(receive_async(3))]
        for waiter in waiters:
            result(waiter)
    everything = sorted(item for mine in got for item in mine)
    assert everything == sorted((number, item) for number in range(4) for item in range(200))
    for mine in got:
        for number in range(4):
            items = [item for sender, item in mine if sender == number]
            assert items == sorted(items)
    seen = holds(channel)
    assert (seen.state, seen.sent, seen.received) == ("completed", 800, 800)
    assert seen.peak_outstanding <= 3
    assert no_waiters(channel)


@kinds_of_loop
@kinds
def test_senders_go_in_the_order_they_came(kind, loop_kind):
    """Threads and tasks of two loops in one line."""
    channel = make(kind, 1)
    channel.sender.send("first")
    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        waiters = []
        for number in range(9):
            if number % 3 == 0:
                waiters += in_line(channel, (channel.sender.send, number))
            else:
                waiters.append(submit(channel, (one, two)[number % 3 - 1], channel.sender.send_async(number)))
        assert take(channel) == "first"
        for number, waiter in enumerate(waiters):
            result(waiter)
            assert not any(other.done() for other in waiters[number + 1 :])
            assert take(channel) == number
    assert no_waiters(channel)


@kinds_of_loop
@kinds
def test_receivers_go_in_the_order_they_came(kind, loop_kind):
    channel = make(kind, 3)
    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        waiters = []
        for number in range(9):
            if number % 3 == 0:
                waiters += in_line(channel, lambda: value(channel.receiver.receive()))
            else:

                async def receive():
                    return value(await channel.receiver.receive_async())

                waiters.append(submit(channel, (one, two)[number % 3 - 1], receive()))
        for number, waiter in enumerate(waiters):
            channel.sender.send(number)
            assert result(waiter) == number
    assert no_waiters(channel)


@kinds_of_loop
@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
@kinds
def test_an_end_reaches_everybody(kind, end, loop_kind):
    """Whatever waits, on whatever: after a terminal state nobody does."""
    channel, other = make(kind, 1), make(kind, 1)
    other.sender.send("full")
    second = other.sender.clone()
    error = ValueError()
    with LoopThread("asyncio") as one, LoopThread(loop_kind) as two:
        receivers = in_line(channel, lambda: channel.receiver.receive(), lambda: channel.receiver.receive_many(5))
        receivers.append(submit(channel, one, channel.receiver.receive_async()))
        receivers.append(submit(channel, two, channel.receiver.receive_many_async(5)))
        senders = in_line(
            other,
            (second.send, 1),
            (second.send_many, range(5)),
            (second.send_many, iter(range(5))),
            second.wait_ready,
            lambda: second.permit().__enter__(),
        )
        for loop in (one, two):
            senders.append(submit(other, loop, second.send_async(1)))
            senders.append(submit(other, loop, second.send_many_async(iter(range(5)))))
            senders.append(submit(other, loop, second.wait_ready_async()))
            senders.append(submit(other, loop, second.permit().__aenter__()))
        if end == "complete":
            channel.sender.complete()
            other.sender.complete()
            second.complete()
        elif end == "fail":
            channel.sender.fail(error)
            other.sender.fail(error)
        else:
            channel.receiver.cancel()
            other.receiver.cancel()
        kinds_of_error = {
            "complete": (ChannelClosed, ChannelClosed),
            "fail": (ValueError, ChannelFailed),
            "cancel": (ChannelCancelled, ChannelCancelled),
        }[end]
        for waiter in receivers:
            assert isinstance(waiter.exception(PATIENCE), kinds_of_error[0])
        for waiter in senders:
            assert isinstance(waiter.exception(PATIENCE), kinds_of_error[1])
    assert no_waiters(channel) and no_waiters(other)
    second.complete()


@kinds_of_loop
@kinds
def test_subscribers_and_threads(kind, loop_kind):
    """A chain of subscribers: a thread's sends into a channel that a loop's task receives from."""
    first, second = make(kind, 4), make(kind, 2)
    first.receiver.credit.defer_to(second.sender)
    got, over = [], threading.Event()

    def forward(received):
        second.sender.send(value(received))

    first.receiver.subscribe(forward, on_complete=second.sender.complete)

    async def subscribe():
        second.receiver.subscribe(lambda received: got.append(value(received)), on_complete=over.set)

    with LoopThread(loop_kind) as loop:
        loop.run(subscribe())
        with first.sender as sender:
            sender.send_many(range(500))
        assert over.wait(PATIENCE)
    assert got == list(range(500))


# -------------------------------------------------------------------------------------------------------------- cancels

# What waits on a full channel, and what it would have done.
SENDS = {
    "send_async": lambda channel: channel.sender.send_async("late"),
    "send_async with timeout": lambda channel: channel.sender.send_async("late", timeout=1000),
    "send_many_async": lambda channel: channel.sender.send_many_async(["late"]),
    "send_many_async of an iterator": lambda channel: channel.sender.send_many_async(iter(["late"])),
    "permit": lambda channel: pass_through_async(channel.sender.permit()),
    "wait_ready_async": lambda channel: channel.sender.wait_ready_async(),
}
RECEIVES = {
    "receive_async": lambda channel: channel.receiver.receive_async(),
    "receive_async with timeout": lambda channel: channel.receiver.receive_async(timeout=1000),
    "receive_many_async": lambda channel: channel.receiver.receive_many_async(3),
    "async for": lambda channel: channel.receiver.__aiter__().__anext__(),
}
WAITS = {**SENDS, **RECEIVES}


def ready_to_wait(kind, name, **options):
    channel = make(kind, 1, **options)
    if name in SENDS:
        channel.sender.send("first")
    return channel


def release(channel, name):
    """One may go."""
    if name in SENDS:
        assert take(channel) == "first"
    else:
        channel.sender.send("item")


def untouched(channel, name):
    """Nothing was sent, nothing received, and no credit is gone."""
    assert no_waiters(channel)
    assert take_all(channel) == ([] if name in SENDS else ["item"])
    seen = holds(channel)
    assert (seen.sent, seen.permits, seen.unacked) == (1, 0, 0)
    assert channel.sender.credit == 1


@pytest.mark.parametrize("name", list(WAITS))
@kinds
@on_loops
async def test_cancelled_while_waiting(kind, name):
    """It leaves the line at once and takes nothing with it."""
    channel = ready_to_wait(kind, name)
    (task,) = await tasks_in_line(WAITS[name](channel))
    await cancelled(task)
    assert no_waiters(channel)
    release(channel, name)
    untouched(channel, name)


@pytest.mark.parametrize("name", list(WAITS))
@kinds
@on_loops
async def test_cancelled_after_it_was_woken(kind, name):
    """What it was woken for goes to the next, a thread or a task."""
    for next_one in ("task", "thread", "nobody"):
        channel = ready_to_wait(kind, name)
        (task,) = await tasks_in_line(WAITS[name](channel))
        if next_one == "task":
            (following,) = await tasks_in_line(WAITS[name](channel))
        elif next_one == "thread" and name in SENDS:
            following = await asyncio.to_thread(lambda: in_line(channel, (channel.sender.send, "next"))[0])  # noqa: B023
        elif next_one == "thread":
            following = await asyncio.to_thread(lambda: in_line(channel, lambda: channel.receiver.receive())[0])  # noqa: B023
        release(channel, name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        if next_one == "nobody":
            untouched(channel, name)
            continue
        await eventually(following.done)
        outcome = following.result()
        assert no_waiters(channel)
        if name in RECEIVES:
            assert [value(one) for one in (outcome if isinstance(outcome, list) else [outcome])] == ["item"]
        elif next_one == "thread" or name.startswith("send"):
            assert take_all(channel) in (["late"], ["next"])
        del outcome, following
        wait_until(lambda: channel.statistics().permits == 0)  # noqa: B023  # the permit of one that was let go
        assert holds(channel).permits == 0
        channel.sender.complete()


@pytest.mark.parametrize("name", list(WAITS))
@kinds
@on_loops
async def test_a_coroutine_stepped_by_hand(kind, name):
    """Closed, dropped, thrown into: it leaves the line."""
    for way in ("close", "drop", "throw"):
        channel = ready_to_wait(kind, name)
        coroutine = WAITS[name](channel)
        assert step(coroutine) == (False, None)
        assert waiting(channel) == 1
        if way == "close":
            coroutine.close()
        elif way == "throw":
            with pytest.raises(KeyError):
                coroutine.throw(KeyError())
        del coroutine
        assert no_waiters(channel)
        release(channel, name)
        untouched(channel, name)


@pytest.mark.parametrize("name", [name for name in WAITS if "timeout" not in name])
@kinds
@on_loops
async def test_cancels_at_random(kind, name):
    """A race of cancels against what lets them go: nothing lost, nothing twice."""
    dice = random.Random(name)
    channel = make(kind, 2)
    loop = asyncio.get_running_loop()
    done = []
    taken = []

    async def other_side():
        for number in range(150):
            if name in RECEIVES:
                await channel.sender.send_async(number)
            else:
                taken.append(value(await channel.receiver.receive_async()))
            if dice.random() < 0.3:
                await asyncio.sleep(0)

    async def attempt(number):
        if name == "permit":
            async with channel.sender.permit() as permit:
                permit.send(number)
                done.append(number)
        elif name == "wait_ready_async":
            await channel.sender.wait_ready_async()
            channel.sender.send_nowait(number)
            done.append(number)
        elif name == "send_async":
            await channel.sender.send_async(number)
            done.append(number)
        elif name in SENDS:
            await channel.sender.send_many_async(iter([number]) if "iterator" in name else [number])
            done.append(number)
        elif name == "receive_many_async":
            done.extend(value(one) for one in await channel.receiver.receive_many_async(3))
        elif name == "async for":
            done.append(value(await channel.receiver.__aiter__().__anext__()))
        else:
            done.append(value(await channel.receiver.receive_async()))

    other = asyncio.ensure_future(other_side())
    number = 0
    while not other.done():
        task = asyncio.ensure_future(attempt(number))
        number += 1
        if dice.random() < 0.5:
            loop.call_soon(task.cancel)
        else:
            loop.call_later(dice.random() * 0.0005, task.cancel)
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled() or task.exception() is None or isinstance(task.exception(), Full), task
    await other
    rest = take_all(channel)
    if name in RECEIVES:
        assert done + rest == list(range(150))
    else:
        # One cancelled right after it was sent is not in `done`; all that are there came in order.
        assert set(done) <= set(taken + rest)
        assert taken + rest == sorted(set(taken + rest))
    assert no_waiters(channel)
    assert holds(channel).permits == 0
    assert channel.sender.credit == 2


# -------------------------------------------------------------------------------------------------- loops that come and go


@pytest.mark.parametrize("name", [name for name in WAITS if "timeout" not in name])
@kinds_of_loop
@kinds
def test_a_loop_closed_with_waiters(kind, name, loop_kind):
    """What they would have had goes to the next."""
    channel = ready_to_wait(kind, name)
    loop = quiet_loop(loop_kind)
    task = loop.create_task(WAITS[name](channel))
    turn(loop)
    assert waiting(channel) == 1
    (worker,) = in_line(channel, (channel.sender.send, "next") if name in SENDS else lambda: value(channel.receiver.receive()))
    loop.close()
    release(channel, name)
    assert worker.result() == (None if name in SENDS else "item")
    assert take_all(channel) == (["next"] if name in SENDS else [])
    del task, loop
    collect()
    assert no_waiters(channel)
    assert holds(channel).permits == 0
    channel.sender.complete()


@pytest.mark.parametrize("name", [name for name in WAITS if "timeout" not in name])
@kinds_of_loop
@kinds
def test_a_loop_closed_with_a_wake_up_under_way(kind, name, loop_kind):
    """It was woken from another thread, and never heard of it."""
    channel = ready_to_wait(kind, name)
    loop = quiet_loop(loop_kind)
    task = loop.create_task(WAITS[name](channel))
    turn(loop)
    spawn(release, channel, name).result()
    loop.close()
    del task, loop
    collect()
    assert no_waiters(channel)
    untouched(channel, name)


@kinds_of_loop
@kinds
def test_a_loop_that_is_stopped(kind, loop_kind):
    """Its turn goes to the next; when it runs again it gets what comes then."""
    channel = make(kind, 1)
    loop = quiet_loop(loop_kind)

    async def receive():
        return value(await channel.receiver.receive_async())

    task = loop.create_task(receive())
    turn(loop)
    (worker,) = in_line(channel, lambda: value(channel.receiver.receive()))
    channel.sender.send("a")
    assert worker.result() == "a"
    channel.sender.send("b")
    assert loop.run_until_complete(task) == "b"
    finish(loop)


@kinds_of_loop
@kinds
def test_a_subscriber_on_a_loop_that_is_closed(kind, loop_kind):
    """Nobody will receive any more: the sender hears of it and does not wait for ever; no handler is called."""
    channel, events = make(kind, 1), []
    sender = channel.sender
    loop = quiet_loop(loop_kind)

    async def subscribe(channel):
        channel.receiver.subscribe(events.append, on_error=events.append, on_complete=lambda: events.append("complete"))

    loop.run_until_complete(subscribe(channel))
    turn(loop)
    assert channel.statistics().waiting_receivers == 1
    loop.close()
    del channel, loop
    collect()
    worker = spawn(sender.send_many, range(3))
    wait_until(lambda: collect() or worker.done())
    assert isinstance(worker.exception(), ChannelCancelled)
    assert events == []


# ------------------------------------------------------------------------------------------------------- polite on loops


def enter(channel):
    with channel.sender.permit():
        pass


BLOCKING = {
    "send": ("send_async", lambda channel: channel.sender.send("late")),
    "send_many": ("send_many_async", lambda channel: channel.sender.send_many(["late"])),
    "wait_ready": ("wait_ready_async", lambda channel: channel.sender.wait_ready()),
    "permit": ("async with permit", enter),
    "receive": ("receive_async", lambda channel: channel.receiver.receive()),
    "receive_many": ("receive_many_async", lambda channel: channel.receiver.receive_many(2)),
    "for": ("receive_async", lambda channel: next(channel.receiver)),
}


@pytest.mark.thread_unsafe(reason="warnings are the process's")
@pytest.mark.parametrize("name", list(BLOCKING))
@kinds
@on_loops
async def test_blocking_in_an_event_loop_warns(kind, name):
    """Only if it has to wait, once, at the caller's line; it names what to use instead. As an error it changes nothing."""
    sends = name in ("send", "send_many", "wait_ready", "permit")
    twin, block = BLOCKING[name]
    channel = make(kind, 1)
    if sends:
        channel.sender.send("first")

    def release_it():
        wait_until(lambda: waiting(channel) == 1)
        release(channel, "send_async" if sends else "receive_async")

    with warnings.catch_warnings():
        warnings.simplefilter("error", BlockingInEventLoopWarning)
        with pytest.raises(BlockingInEventLoopWarning):
            block(channel)
    assert no_waiters(channel)
    assert channel.sender.credit == (0 if sends else 1)
    releasing = spawn(release_it)
    with pytest.warns(BlockingInEventLoopWarning, match=twin) as told:
        block(channel)
    releasing.result()
    assert [one.filename for one in told] == [__file__]
    if not sends:
        channel = make(kind, 1)
        channel.sender.send("there")
        block(channel)  # without a word


@pytest.mark.parametrize("what", ["send", "receive", "async for"])
@kinds
@on_loops
async def test_the_loops_turn(kind, what):
    """128 operations in a row without suspending, then the loop has its turn; and not at each."""
    channel = make(kind, 1000)
    if what != "send":
        channel.sender.send_many(range(1000))
        channel.sender.complete()
    ran_at, count, over = [], 0, False

    def tick():
        ran_at.append(count)
        if not over:
            asyncio.get_running_loop().call_soon(tick)

    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(tick)
    if what == "async for":
        async for received in channel.receiver:
            value(received)
            count += 1
    else:
        for _ in range(1000):
            if what == "send":
                await channel.sender.send_async("x")
            else:
                value(await channel.receiver.receive_async())
            count += 1
    over = True
    await settle()
    gaps = [after - before for before, after in zip([0, *ran_at], [*ran_at, 1000], strict=True)]
    assert max(gaps) <= 129, gaps
    assert 7 <= len([gap for gap in gaps if gap]) <= 20, gaps


@kinds
@on_loops
async def test_a_consumer_does_not_own_the_loop(kind):
    """A thread keeps the channel full: other tasks run all the same."""
    channel = make(kind, 256)
    stop = False

    def produce():
        try:
            while not stop:
                channel.sender.send("x")
        except ChannelCancelled:
            pass

    async def consume():
        async for received in channel.receiver:
            value(received)

    worker = spawn(produce)
    task = asyncio.create_task(consume())
    for _ in range(50):
        await asyncio.sleep(0)
    stop = True
    await cancelled(task)
    channel.receiver.cancel()
    await asyncio.to_thread(worker.result)


# ------------------------------------------------------------------------------------------------------------- signals

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

def waiting(channel):
    seen = channel.statistics()
    return seen.waiting_senders + seen.waiting_receivers

def value(received):
    if isinstance(received, Delivery):
        received.ack()
        return received.value
    return received

def take(channel):
    return value(channel.receiver.receive_nowait())

def make(kind, *args, **kwargs):
    return {"CreditChannel": CreditChannel, "AckChannel": AckChannel}[kind](*args, **kwargs)

main_thread = threading.main_thread().ident
"""
)


@apart
@signals
@kinds
def test_ctrl_c_in_every_blocking_call(kind):
    """Within a slice (median of all), and nothing has happened: no item, no credit, no waiter is left or lost."""
    run_script(
        COMMON
        + f"""
CALLS = {{
    "send": lambda: full.sender.send("late"),
    "send timeout": lambda: full.sender.send("late", timeout=1000),
    "send_many": lambda: full.sender.send_many(["late", "later"]),
    "send_many of an iterator": lambda: full.sender.send_many(numbers),
    "wait_ready": full.sender.wait_ready if False else lambda: full.sender.wait_ready(),
    "permit": lambda: full.sender.permit(2).__enter__(),
    "receive": lambda: empty.receiver.receive(),
    "receive timeout": lambda: empty.receiver.receive(timeout=1000),
    "receive_many": lambda: empty.receiver.receive_many(5),
    "for": lambda: next(empty.receiver),
}}

def interrupt():
    until(lambda: waiting(full) + waiting(empty) == 1)
    time.sleep(random.random() * 0.05)
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

late = []
for name, call in CALLS.items():
    full, empty, sent = make({kind!r}, 2), make({kind!r}, 2), []
    full.sender.send_many([1, 2])
    numbers = iter(range(10))
    thread = start(interrupt)
    try:
        call()
    except KeyboardInterrupt as error:
        late.append(time.monotonic() - sent[0])
        if "many" in name and "send" in name:
            assert error.accepted == 0, name
    else:
        raise SystemExit(f"{{name}} returned")
    thread.join()
    assert waiting(full) == waiting(empty) == 0, name
    assert next(numbers) == 0
    assert [take(full), take(full)] == [1, 2]
    seen = full.statistics()
    assert (seen.sent, seen.permits, seen.credit) == (2, 0, 2), (name, seen)
    empty.sender.send("x")
    assert take(empty) == "x"
late.sort()
assert late[len(late) // 2] < 0.1, late
assert late[-1] < 5, late
"""
    )


@apart
@signals
@kinds
def test_ctrl_c_raced_against_what_it_waits_for(kind):
    """A receiver on the main thread against a thread that sends and one that waits behind it: each item goes to exactly one."""
    run_script(
        COMMON
        + f"""
dice = random.Random(5)
outcomes = dict(returned=0, interrupted=0)
for number in range(100):
    channel, behind, got = make({kind!r}, 5), [], []

    def wait_behind():
        behind.append(value(channel.receiver.receive()))

    def trouble():
        until(lambda: waiting(channel) == 1)
        thread = start(wait_behind)
        until(lambda: waiting(channel) == 2)
        calls = [lambda: channel.sender.send("a"), lambda: signal.pthread_kill(main_thread, signal.SIGINT)]
        dice.shuffle(calls)
        calls[0]()
        end = time.perf_counter() + dice.choice([0, 0, 1e-5, 1e-4, 1e-3])
        while time.perf_counter() < end:
            pass
        calls[1]()
        if not behind:
            channel.sender.send("b")
        thread.join(20)

    thread = received = None
    try:
        thread = start(trouble)
        received = channel.receiver.receive()
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        pass
    if received is not None:  # settled out here, where nothing comes between that and the list
        got.append(value(received))
        received = None
    thread.join(30)
    assert not thread.is_alive()
    rest = []
    while True:
        try:
            rest.append(take(channel))
        except Empty:
            break
    seen = channel.statistics()
    # A CreditChannel's item that was committed to the main thread right before the signal is its own.
    lost = seen.sent - len(behind) - len(got) - len(rest)
    assert 0 <= lost <= (1 if {kind!r} == "CreditChannel" else 0), (number, got, behind, rest, seen)
    assert seen.received == seen.sent + seen.redelivered
    assert waiting(channel) == 0 and seen.credit == 5
    outcomes["returned" if got else "interrupted"] += 1
assert outcomes["interrupted"] > 0, outcomes
"""
    )


@apart
@signals
@kinds
def test_a_handler_that_sends_and_receives(kind):
    """Inside a wait on the same channel: it does not stand behind the wait that it interrupts; the wait goes on."""
    run_script(
        COMMON
        + f"""
channel, log = make({kind!r}, 2), []

def handler(number, frame):
    log.append(("nowait", channel.sender.credit))
    channel.sender.send("x")
    log.append(value(channel.receiver.receive()))
    channel.sender.send_many(["y", "z"])
    log.append(value(channel.receiver.receive(timeout=5)))

signal.signal(signal.SIGUSR1, handler)

def drive():
    until(lambda: waiting(channel) == 1)
    signal.pthread_kill(main_thread, signal.SIGUSR1)

start(drive)
assert value(channel.receiver.receive()) == "z"
assert log == [("nowait", 2), "x", "y"], log

# A sender's wait, and a handler that makes room for it, or sends before it.
channel.sender.send_many([1, 2])
def handler(number, frame):
    log.append(take(channel))
    log.append(take(channel))
    channel.sender.send("handler's")
signal.signal(signal.SIGUSR1, handler)
start(drive)
channel.sender.send(3)
assert [take(channel), take(channel)] == ["handler's", 3]
assert waiting(channel) == 0
"""
    )


@apart
@signals
@kinds
def test_ctrl_c_in_asyncio_run(kind):
    """Tasks of every sort wait: they are cancelled, nothing is lost."""
    run_script(
        COMMON
        + f"""
full, empty = make({kind!r}, 1), make({kind!r}, 1)
full.sender.send("first")

def interrupt():
    until(lambda: waiting(full) + waiting(empty) == 6)
    os.kill(os.getpid(), signal.SIGINT)

async def beat():
    while True:  # a signal that comes just before the loop falls asleep does not wake it
        await asyncio.sleep(0.05)

async def main():
    await asyncio.gather(
        full.sender.send_async(1), full.sender.send_many_async([1, 2]), full.sender.wait_ready_async(), full.sender.permit().__aenter__(),
        empty.receiver.receive_async(), empty.receiver.receive_many_async(3), beat(),
    )

start(interrupt)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
else:
    raise SystemExit("it returned")
assert waiting(full) == waiting(empty) == 0
assert take(full) == "first"
assert full.statistics().credit == 1 and full.statistics().sent == 1
"""
    )


# ---------------------------------------------------------------------------------------------------------------- fork


@apart
@forks
@kinds
def test_fork_with_waiters(kind):
    """The child has the channel as it was, without waiters and permits of others, and may use it in every way."""
    run_script(
        COMMON
        + f"""
full, empty = make({kind!r}, 3), make({kind!r}, 3)
full.sender.send_many([1, 2])
permit = full.sender.permit(1)
permit.__enter__()
loop = asyncio.new_event_loop()
start(loop.run_forever)
threads = [start(full.sender.send, "parent's"), start(lambda: empty.receiver.receive())]
until(lambda: waiting(full) + waiting(empty) == 2)
futures = [asyncio.run_coroutine_threadsafe(one, loop) for one in (full.sender.send_async("parent's"), empty.receiver.receive_async())]
until(lambda: waiting(full) + waiting(empty) == 4)

def child():
    assert waiting(full) == waiting(empty) == 0
    assert full.statistics().permits == 0
    assert full.sender.credit == 1
    full.sender.send(3)
    try:
        permit.send("not mine")
    except (RuntimeError, Full):
        pass
    else:
        raise AssertionError
    try:
        full.sender.send(4, timeout=0.01)
    except Full:
        pass
    thread = start(full.sender.send, 4)
    until(lambda: waiting(full) == 1)
    assert [take(full) for _ in range(3)] == [1, 2, 3]
    thread.join(10)
    assert take(full) == 4
    with full.sender.permit(3) as mine:
        mine.send(5)
    assert full.statistics().credit == 2
    empty.sender.send("a")
    assert value(empty.receiver.receive()) == "a"

    async def main():
        await empty.sender.send_async("b")
        return value(await empty.receiver.receive_async())

    assert asyncio.run(main()) == "b"
    empty.sender.complete()
    assert list(empty.receiver) == []
    full.receiver.cancel()

check(in_child(child), in_child(child))
assert waiting(full) == waiting(empty) == 2 and full.statistics().permits == 1
empty.sender.send_many(["a", "b"])
permit.__exit__(None, None, None)
assert [take(full) for _ in range(2)] == [1, 2]
for thread in threads:
    thread.join(20)
    assert not thread.is_alive()
for future in futures:
    value(future.result(20))
assert full.statistics().sent == 4
loop.call_soon_threadsafe(loop.stop)
"""
    )


@apart
@forks
@kinds
def test_fork_in_the_middle_of_operations(kind):
    """Forks while threads and a loop send and receive as fast as they can: every child finds a usable channel."""
    run_script(
        COMMON
        + f"""
channel = make({kind!r}, 4)
stop = False

def send():
    while not stop:
        channel.sender.send("x")

def receive():
    for received in channel.receiver:
        value(received)

async def both():
    try:
        while True:
            await channel.sender.send_async("x")
            value(await channel.receiver.receive_async())
    except ChannelClosed:
        pass

threads = [start(send), start(receive)]
loop = start(lambda: asyncio.run(both()))

def child():
    assert waiting(channel) == 0
    while True:
        try:
            take(channel)
        except Empty:
            break
    # What was out with a thread of the parent stays out in the copy of an AckChannel.
    assert channel.statistics().buffered == 0
    if channel.sender.credit:
        channel.sender.send("mine", timeout=5)
        assert take(channel) == "mine"
    channel.receiver.cancel()

for _ in range(20):
    check(in_child(child))
stop = True
threads[0].join(20)
channel.sender.complete()
threads[1].join(20)
loop.join(20)
assert not any(thread.is_alive() for thread in [*threads, loop])
""",
        limit=120,
    )


# ------------------------------------------------------------------------------------------------- the interpreter ends


def ends(source):
    """The script reaches its last line, leaves with 0 and writes nothing on stderr."""
    assert run_script(COMMON + source + "\nprint('end')\n", limit=30).endswith("end\n")


@apart
@kinds
def test_exit_with_daemon_threads_blocked(kind):
    """In every call that waits; subscribers too; and at full speed."""
    ends(
        f"""
full, empty, busy = make({kind!r}, 1), make({kind!r}, 1), make({kind!r}, 4)
full.sender.send(1)
for function in (
    lambda: full.sender.send(2), lambda: full.sender.send_many(range(5)), lambda: full.sender.send_many(iter(range(5))),
    lambda: full.sender.wait_ready(), lambda: full.sender.permit().__enter__(),
    lambda: empty.receiver.receive(), lambda: empty.receiver.receive(timeout=1000), lambda: empty.receiver.receive_many(5),
    lambda: list(empty.receiver),
):
    start(function)
subscribed = make({kind!r}, 2)
subscribed.receiver.subscribe(print)
until(lambda: waiting(full) + waiting(empty) + waiting(subscribed) == 10)
count = 0

def send():
    while True:
        busy.sender.send("x")

def receive():
    global count
    for received in busy.receiver:
        value(received)
        count += 1

for function in (send, send, receive, receive):
    start(function)
until(lambda: count > 500)
"""
    )


@apart
@kinds_of_loop
@kinds
def test_exit_with_pending_tasks(kind, loop_kind):
    """On a loop left as it is, and on one that runs in a daemon thread; and channels in globals, with unsent and unsettled things."""
    ends(
        f"""
import builtins, logging
logging.disable()  # asyncio says that a pending task was destroyed; that is not ours
warnings.simplefilter("ignore", ResourceWarning)

def new_loop():
    if {loop_kind!r} == "uvloop":
        import uvloop
        return uvloop.new_event_loop()
    return asyncio.new_event_loop()

full, empty = make({kind!r}, 1), make({kind!r}, 1)
full.sender.send(1)
builtins.kept = full.receiver.receive_nowait() if {kind!r} == "AckChannel" else None
builtins.sender, builtins.permit = empty.sender, empty.sender.permit()
permit.__enter__()
left = new_loop()
tasks = [left.create_task(full.sender.send_async(3)), left.create_task(empty.receiver.receive_async())]
left.run_until_complete(asyncio.sleep(0.01))
running = new_loop()
start(running.run_forever)
asyncio.run_coroutine_threadsafe(full.sender.send_many_async(iter(range(5))), running)
until(lambda: waiting(full) + waiting(empty) == 3)

class Late:
    def __del__(self):
        try:
            full.sender.send_nowait(1)
        except BaseException:
            pass

late = Late()
atexit.register(empty.sender.complete)
"""
    )


# --------------------------------------------------------------------------------------------------- garbage collector


class Box:
    pass


@collects
@kinds
def test_cycles(kind):
    """Through a buffered item, the hooks, a control message, the error, a deferral: collected."""

    def cycle(how):
        box = Box()
        options = {}
        if how in ("weigh", "on_discard"):
            options[how] = lambda item, box=box: 1
        if how == "name":
            options["name"] = type("Name", (str,), {"box": box})("n")
        channel = make(kind, 5, **options)
        box.channel = channel
        if how == "item":
            channel.sender.send(box)
        elif how == "delivery":
            channel.sender.send("x")
            box.received = channel.receiver.receive()
        elif how == "item that is out":
            channel.sender.send(box)
            box.received = channel.receiver.receive()
        elif how == "control":
            channel.sender.send_control(box)
        elif how == "on_control":
            channel.receiver.credit.on_control = lambda message, box=box: None
        elif how == "error":
            error = ValueError()
            error.box = box
            channel.sender.fail(error)
        elif how == "defer_to":
            other = make(kind, 5)
            channel.receiver.credit.defer_to(other.sender)
            other.sender.send(box)
            other.receiver.credit.on_control = box.__setattr__
        elif how == "permit":
            box.permit = channel.sender.permit(2)
            box.permit.__enter__()
            channel.sender.send(box)
        elif how == "parts":
            box.parts = [channel.sender, channel.receiver, channel.receiver.credit, iter(channel.receiver), channel.sender.clone()]
            channel.sender.send(box)
        elif how == "coroutine":
            box.coroutine = channel.receiver.receive_async()
            channel.receiver.credit.on_control = box.__setattr__
        return [weakref.ref(box), weakref.ref(channel)]

    ways = "item, delivery, item that is out, control, on_control, error, weigh, on_discard, name, defer_to, permit, parts, coroutine"
    for how in ways.split(", "):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # coroutines never awaited, clones let go
            references = cycle(how)
            collect()
            assert [reference() for reference in references] == [None, None], how


@collects
@kinds
@on_loops
async def test_a_cycle_through_waiting_tasks(kind):
    """A channel known only to tasks that wait on it is collected with them."""
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # "Task was destroyed but it is pending"
    channel, full = make(kind, 1), make(kind, 1)
    full.sender.send(0)
    tasks = [asyncio.create_task(coroutine) for coroutine in (channel.receiver.receive_async(), full.sender.send_async(1))]
    await settle()
    references = [weakref.ref(thing) for thing in (channel, full, *tasks)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del channel, full, tasks
        collect()
        await settle()
        collect()
    # The sender had gone: the receiver got the end.
    assert [reference() for reference in references] == [None] * 4


@collects
@kinds
def test_the_collector_sees_the_items(kind):
    """Each once, wherever it is; and nothing is kept of what has been received, discarded or refused."""
    channel = make(kind, 20)
    boxes = [Box() for _ in range(8)]
    references = [weakref.ref(box) for box in boxes]
    channel.sender.send_many(boxes[:6])
    channel.sender.send_control(boxes[6])
    channel.sender.complete()
    with pytest.raises(ChannelClosed):
        channel.sender.send(boxes[7])
    received = channel.receiver.receive()
    body = next(thing for thing in gc.get_referents(channel.sender) if "Body" in type(thing).__name__)
    seen = [thing for thing in gc.get_referents(body) if isinstance(thing, Box)]
    assert len(seen) == len({id(thing) for thing in seen}) == (6 if kind == "CreditChannel" else 7)
    del seen, body
    value(received)
    del received, boxes
    assert references[0]() is None
    assert references[7]() is None
    take(channel)
    assert references[1]() is None
    channel.receiver.cancel()
    assert [reference() for reference in references] == [None] * 8


class Noisy:
    """An item that uses its channel when it goes."""

    def __init__(self, channel, log):
        self.channel, self.log = channel, log

    def __del__(self):
        for call in (
            lambda: self.channel.sender.send_nowait("from __del__"),
            self.channel.receiver.receive_nowait,
            self.channel.statistics,
        ):
            try:
                call()
            except (Full, Empty, ChannelCancelled, ChannelClosed):
                pass
        self.log.append(1)


@collects
@kinds
def test_items_that_use_their_channel_when_they_go(kind):
    """While it is received, discarded, refused, cancelled, cleared: nothing runs inside the channel, so nothing breaks."""
    log = []
    channel = make(kind, 3)
    for _ in range(2):
        channel.sender.send(Noisy(channel, log))
    received = channel.receiver.receive()
    if kind == "AckChannel":
        received.nack(requeue=False)
    del received
    assert log
    with pytest.raises(Full):
        while True:
            channel.sender.send_nowait(Noisy(channel, log))
    channel.sender.send_control(Noisy(channel, log))
    channel.receiver.credit.on_control = lambda message: None
    with pytest.raises(Full):
        channel.sender.send_many([Noisy(channel, log) for _ in range(5)], timeout=0)
    channel.receiver.cancel()
    assert channel.statistics().buffered == 0
    made = len(log)
    del channel
    collect()
    assert len(log) >= made


@collects
@kinds
def test_a_storm_of_collections(kind):
    """Threads send cycles with finalizers while another collects: nothing lost, nothing finalised while it is in the channel."""
    channel, alive, stop = make(kind, 16), set(), threading.Event()
    lock = threading.Lock()
    early = []

    class Cyclic:
        def __init__(self, number):
            self.me, self.number = self, number
            with lock:
                alive.add(number)

        def __del__(self):
            alive.discard(self.number)

    def send():
        with channel.sender as sender:
            for number in range(1500):
                sender.send(Cyclic(number))

    def sweep():
        while not stop.is_set():
            gc.collect(0)

    sweeper, sender = spawn(sweep), spawn(send)
    count = 0
    for received in channel.receiver:
        item = value(received)
        if item.number not in alive:
            early.append(item.number)
        count += 1
        del received, item
    sender.result()
    stop.set()
    sweeper.result()
    assert (count, early) == (1500, [])
    collect()
    assert alive == set()


@collects
@kinds
def test_manual_clocks_and_timeouts_do_not_keep_channels(kind):
    """A wait with a timeout that has ended leaves nothing behind."""
    clock = ManualClock()
    channel = manual(kind, 5, clock=clock)
    worker = spawn(lambda sender: sender.send("x", timeout=5), channel.sender)
    clock.wait_for_waiters(1)
    clock.advance(5)
    assert isinstance(worker.exception(), Full)
    del worker
    reference = weakref.ref(channel)
    del channel
    collect()
    assert reference() is None


@kinds
def test_tasks_that_are_granted_together_send_in_order(kind):
    """One step brings credit for all: the tasks of a loop send in the order of the wait queue."""

    async def main():
        channel = make(kind, 20)
        channel.sender.send_many(["before"] * 20)
        tasks = await tasks_in_line(*(channel.sender.send_async(number) for number in range(20)))
        assert [value(received) for received in channel.receiver.receive_many(20)] == ["before"] * 20
        await asyncio.gather(*tasks)
        assert take_all(channel) == list(range(20))

    asyncio.run(main())
