"""Credit channels, single-handed: everyday use, timeouts, ends, iteration, and what there is to see."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import gc
import inspect
import math
import pickle
import sys
import threading
import warnings
import weakref

import pytest
from channels import (
    INF,
    KINDS,
    NANOSECOND,
    holds,
    in_line,
    items_into,
    kinds,
    make,
    manual,
    no_waiters,
    run,
    take,
    take_all,
    tasks_in_line,
    value,
)
from helpers import collect, on_loops, pass_through, pass_through_async, spawn

import sluicegate
from sluicegate import (
    AckChannel,
    ChannelCancelled,
    ChannelClosed,
    ChannelFailed,
    CreditChannel,
    Empty,
    Full,
    Permit,
    Receiver,
    Sender,
)
from sluicegate.testing import ManualClock

# ------------------------------------------------------------------------------------------------- everyday, no waiting


@kinds
def test_everyday(kind):
    """In order, as much as the window is wide, and again as it is received."""
    channel = make(kind, 3)
    for number in range(3):
        channel.sender.send(number)
    with pytest.raises(Full) as told:
        channel.sender.send_nowait(3)
    assert isinstance(told.value, Exception) and "send without waiting" in str(told.value)
    assert take(channel) == 0
    assert take(channel) == 1
    channel.sender.send_nowait(3)
    assert [take(channel) for _ in range(2)] == [2, 3]
    with pytest.raises(Empty, match="receive without waiting"):
        channel.receiver.receive_nowait()
    assert holds(channel).sent == 4


@kinds
def test_any_object_is_an_item(kind):
    """None, exceptions, the channel's own parts."""
    channel = make(kind, 10)
    things = [None, ValueError("x"), channel.sender, channel.receiver, NotImplemented, ..., []]
    channel.sender.send_many(things)
    assert all(one is other for one, other in zip(take_all(channel), things, strict=True))


@kinds
def test_credit_comes_in_steps(kind):
    """Half the window by default; what `threshold` says; all of it when nothing is left in the buffer."""
    for window, threshold, expected in ((8, None, [0, 0, 0, 4, 4, 4, 4, 8]), (8, 0.25, [0, 2, 2, 4, 4, 6, 6, 8]), (4, 1, [0, 0, 0, 4])):
        options = {} if threshold is None else {"threshold": threshold}
        channel = make(kind, window, **options)
        channel.sender.send_many(range(window))
        credit = []
        for _ in range(window):
            take(channel)
            credit.append(channel.statistics().credit)
            holds(channel)
        assert credit == expected


@kinds
def test_a_sender_that_parks_gets_all_that_was_consumed(kind):
    """Whatever the threshold: all that was consumed before, and all there is when the buffer has run empty."""
    channel = make(kind, 100, threshold=1, weigh=lambda item: item, clock=ManualClock())
    channel.sender.send_many([40, 30, 30])
    assert take(channel) == 40
    assert channel.statistics().credit == 0
    (worker,) = in_line(channel, (channel.sender.send, 60))
    assert holds(channel).owed == 0
    assert take(channel) == 30
    assert not worker.done()  # it is not woken for every single item
    assert take(channel) == 30
    assert worker.result() is None
    holds(channel)


@kinds
def test_credit_property(kind):
    """What one who comes now may send; inf where there is no end to it; 0 at the end."""
    channel = make(kind, 5)
    assert channel.sender.credit == 5
    channel.sender.send(1)
    assert channel.sender.credit == 4
    channel.sender.complete()
    assert channel.sender.credit == 0
    asked = manual(kind, 10)
    assert asked.sender.credit == 0
    asked.receiver.credit.request(3)
    assert asked.sender.credit == 3
    asked.receiver.credit.request(100)
    assert asked.sender.credit == 10  # the buffer
    asked.receiver.credit.request(INF)
    assert asked.sender.credit == 10
    free = manual(kind)
    free.receiver.credit.request(math.inf)
    assert free.sender.credit == INF
    assert free.statistics().granted == free.statistics().credit == INF


@kinds
def test_nobody_who_comes_is_before_who_waits(kind):
    """Strictly first come first served, by weight: a light one does not pass a heavy one."""
    channel = make(kind, 10, weigh=lambda item: item)
    channel.sender.send(5)
    (heavy,) = in_line(channel, (channel.sender.send, 8))
    assert channel.sender.credit == 0
    with pytest.raises(Full):
        channel.sender.send_nowait(1)
    with pytest.raises(Full):
        channel.sender.wait_ready(timeout=0)
    (light,) = in_line(channel, (channel.sender.send, 1))
    take(channel)
    heavy.result()
    light.result()
    assert sorted(take_all(channel)) == [1, 8]
    assert no_waiters(channel)


# ------------------------------------------------------------------------------------------------------------ timeouts

SENDS = {
    "send": lambda channel: channel.sender.send("late", timeout=2),
    "send_many": lambda channel: channel.sender.send_many(["late"], timeout=2),
    "send_many of an iterator": lambda channel: channel.sender.send_many(iter(["late"]), timeout=2),
    "wait_ready": lambda channel: channel.sender.wait_ready(timeout=2),
    "permit": lambda channel: pass_through(channel.sender.permit(timeout=2)),
}


SENDS_ASYNC = {
    "send_async": lambda channel: channel.sender.send_async("late", timeout=2),
    "send_many_async": lambda channel: channel.sender.send_many_async(["late"], timeout=2),
    "send_many_async of an iterator": lambda channel: channel.sender.send_many_async(iter(["late"]), timeout=2),
    "wait_ready_async": lambda channel: channel.sender.wait_ready_async(timeout=2),
    "permit": lambda channel: pass_through_async(channel.sender.permit(timeout=2)),
}
RECEIVES = {
    "receive": lambda channel: channel.receiver.receive(timeout=2),
    "receive_many": lambda channel: channel.receiver.receive_many(5, timeout=2),
}
RECEIVES_ASYNC = {
    "receive_async": lambda channel: channel.receiver.receive_async(timeout=2),
    "receive_many_async": lambda channel: channel.receiver.receive_many_async(5, timeout=2),
}


@kinds
@pytest.mark.parametrize("method", [*SENDS, *RECEIVES])
def test_a_timeout_to_the_nanosecond(kind, method):
    """Full or Empty at that moment and not before; what was waited is in the statistics."""
    clock = ManualClock()
    channel = make(kind, 1, clock=clock)
    if method in SENDS:
        channel.sender.send("first")
    call = {**SENDS, **RECEIVES}[method]
    worker = spawn(call, channel)
    clock.wait_for_waiters(1)
    clock.advance(2 - NANOSECOND)
    assert not no_waiters(channel)
    clock.advance(NANOSECOND)
    assert isinstance(worker.exception(), Full if method in SENDS else Empty)
    assert no_waiters(channel) and clock.waiters == 0
    seen = holds(channel)
    if method in SENDS:
        assert (seen.send_blocked_seconds, seen.starved_for, seen.receive_blocked_seconds) == (2, 2, 0)
        assert take_all(channel) == ["first"]
    else:
        assert (seen.send_blocked_seconds, seen.starved_for, seen.receive_blocked_seconds) == (0, 0, 2)
    # And now it goes.
    if method in RECEIVES:
        channel.sender.send("late")
    before = channel.statistics().sent
    call(channel)
    assert channel.statistics().sent - before == ("send" in method)


@kinds
@pytest.mark.parametrize("method", [*SENDS_ASYNC, *RECEIVES_ASYNC])
@on_loops
async def test_a_timeout_of_a_task(kind, method):
    """The same for tasks."""
    clock = ManualClock()
    channel = make(kind, 1, clock=clock)
    if method in SENDS_ASYNC:
        channel.sender.send("first")
    call = {**SENDS_ASYNC, **RECEIVES_ASYNC}[method]
    (task,) = await tasks_in_line(call(channel))
    await clock.advance_async(2 - NANOSECOND)
    assert not task.done() and not no_waiters(channel)
    await clock.advance_async(NANOSECOND)
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], Full if method in SENDS_ASYNC else Empty)
    assert no_waiters(channel) and clock.waiters == 0
    holds(channel)
    if method in SENDS_ASYNC:
        assert take_all(channel) == ["first"]
    else:
        channel.sender.send("late")
    await call(channel)
    holds(channel)
    channel.sender.complete()


@kinds
def test_timeout_0_does_not_wait(kind):
    """Not even on a clock: nobody is seen to wait."""
    clock = ManualClock()
    channel = make(kind, 1, clock=clock)
    with pytest.raises(Empty):
        channel.receiver.receive(timeout=0)
    channel.sender.send(1, timeout=0)
    for call in (
        lambda: channel.sender.send(2, timeout=0),
        lambda: channel.sender.send_many([2], timeout=0.0),
        lambda: channel.sender.wait_ready(timeout=0),
        lambda: channel.sender.permit(timeout=0).__enter__(),
    ):
        with pytest.raises(Full):
            call()
    seen = holds(channel)
    assert seen.send_blocked_seconds == seen.receive_blocked_seconds == seen.starved_for == 0
    assert seen.waiting_senders == 0


# ---------------------------------------------------------------------------------------------------------------- ends


@kinds
def test_complete(kind):
    """What is buffered is received, and then the end; nothing more is sent."""
    channel = make(kind)
    channel.sender.send_many([1, 2])
    channel.sender.complete()
    channel.sender.complete()
    assert channel.statistics().state == "completing"
    for call in (
        lambda: channel.sender.send(3),
        lambda: channel.sender.send_nowait(3),
        lambda: channel.sender.send_many([3]),
        lambda: channel.sender.send_many(iter([3])),
        lambda: channel.sender.send_many([]),
        lambda: channel.sender.permit(),
        lambda: channel.sender.wait_ready(),
        lambda: channel.sender.send_control("x"),
        lambda: channel.sender.clone(),
        lambda: run(channel.sender.send_async(3)),
        lambda: run(channel.sender.send_many_async([3])),
        lambda: run(channel.sender.wait_ready_async()),
    ):
        with pytest.raises(ChannelClosed):
            call()
    assert not channel.receiver.ended
    assert take(channel) == 1
    assert take(channel) == 2
    assert channel.receiver.ended
    for call in (
        channel.receiver.receive,
        channel.receiver.receive_nowait,
        lambda: channel.receiver.receive(timeout=1),
        lambda: channel.receiver.receive_many(5),
        lambda: run(channel.receiver.receive_async()),
        lambda: run(channel.receiver.receive_many_async(2)),
    ):
        with pytest.raises(ChannelClosed):
            call()
    assert list(channel.receiver) == []
    assert holds(channel).state == "completed"
    channel.sender.fail(ValueError())  # it has ended: nothing happens
    channel.receiver.cancel()
    assert channel.statistics().state == "completed"


@kinds
def test_fail(kind):
    """What is buffered is received, and then exactly the error; other senders get the reason."""
    channel = make(kind)
    other = channel.sender.clone()
    error = ValueError("broken")
    channel.sender.send_many([1, 2])
    channel.sender.fail(error)
    channel.sender.fail(KeyError("second"))
    channel.sender.complete()
    for sender in (other, channel.sender):
        for call in (
            lambda sender=sender: sender.send(3),
            lambda sender=sender: sender.send_nowait(3),
            lambda sender=sender: sender.send_control(3),
            lambda sender=sender: sender.send_many([3]),
        ):
            with pytest.raises(ChannelFailed) as told:
                call()
            assert told.value.__cause__ is error
    other.fail(KeyError("third"))
    assert [take(channel), take(channel)] == [1, 2]
    for call in (
        channel.receiver.receive,
        channel.receiver.receive_nowait,
        lambda: channel.receiver.receive_many(3),
        lambda: list(channel.receiver),
        lambda: run(channel.receiver.receive_async()),
    ):
        with pytest.raises(ValueError) as told:
            call()
        assert told.value is error
    assert channel.statistics().state == "failed"
    assert channel.receiver.ended


@kinds
def test_the_traceback_of_an_error_does_not_grow(kind):
    """However often it is raised: it is the sender's, and where it is raised is added to that."""
    channel = make(kind)
    try:
        raise ValueError("broken")
    except ValueError as error:
        channel.sender.fail(error)
    lengths = []
    for _ in range(50):
        with pytest.raises(ValueError) as told:
            channel.receiver.receive()
        length, traceback = 0, told.value.__traceback__
        while traceback is not None:
            length, traceback = length + 1, traceback.tb_next
        lengths.append(length)
    assert len(set(lengths)) == 1, lengths


@kinds
@pytest.mark.parametrize(
    "error", [ChannelClosed("not mine"), StopIteration(1), StopAsyncIteration(), GeneratorExit(), Empty(), ChannelCancelled()]
)
def test_an_error_that_looks_like_an_end(kind, error):
    """Whatever a sender fails with, iteration does not take it for completion."""
    channel = make(kind)
    channel.sender.send(1)
    channel.sender.fail(error)
    got = []
    with pytest.raises(BaseException) as told:
        for received in channel.receiver:
            got.append(value(received))
    assert got == [1]
    assert told.value is error or told.value.__cause__ is error
    assert not isinstance(told.value, StopIteration)

    async def iterate():
        async for _ in channel.receiver:
            raise AssertionError

    with pytest.raises(BaseException) as told:
        run(iterate())
    assert told.value is error or told.value.__cause__ is error


@kinds
def test_cancel(kind):
    """Nothing more: senders get an error, and what is buffered is discarded in order; closing again does nothing."""
    discarded = []
    channel = make(kind, on_discard=items_into(discarded))
    channel.sender.send_many([1, 2, 3])
    if kind == "AckChannel":
        kept = channel.receiver.receive()
        assert kept.value == 1
    else:
        assert channel.receiver.receive() == 1
    channel.receiver.cancel()
    channel.receiver.cancel()
    assert discarded == [2, 3]
    for call in (
        lambda: channel.sender.send(4),
        lambda: channel.sender.send_nowait(4),
        lambda: channel.sender.send_many([4]),
        lambda: channel.sender.wait_ready(),
        lambda: channel.sender.permit().__enter__(),
        lambda: channel.sender.send_control(4),
        channel.receiver.receive,
        channel.receiver.receive_nowait,
        lambda: channel.receiver.receive_many(3),
        lambda: list(channel.receiver),
    ):
        with pytest.raises(ChannelCancelled):
            call()
    channel.sender.complete()
    seen = channel.statistics()
    assert (seen.state, seen.discarded, seen.buffered, seen.outstanding, seen.credit, seen.unacked) == ("cancelled", 2, 0, 0, 0, 0)
    assert channel.receiver.ended


@kinds
def test_clones(kind):
    """The channel is complete when all have; each ends for itself; a clone of a clone too."""
    channel = make(kind, 10)
    second = channel.sender.clone()
    third = second.clone()
    assert isinstance(third, Sender) and third is not second
    channel.sender.complete()
    with pytest.raises(ChannelClosed):
        channel.sender.send(0)
    second.send(1)
    second.complete()
    second.complete()
    assert channel.statistics().state == "open"
    third.send(2)
    with third:
        third.send(3)
    assert channel.statistics().state == "completing"
    assert [value(received) for received in channel.receiver] == [1, 2, 3]
    assert channel.statistics().state == "completed"


@kinds
def test_with_on_both_ends(kind):
    """`with sender:` completes, `with receiver:` cancels."""
    channel = make(kind)
    with channel.receiver as receiver:
        with channel.sender as sender:
            assert sender is channel.sender and receiver is channel.receiver
            sender.send(1)
        assert channel.statistics().state == "completing"
        assert take(channel) == 1
    assert channel.statistics().state == "completed"  # it had ended
    other = make(kind)
    with other.receiver:
        pass
    assert other.statistics().state == "cancelled"
    with other.sender:  # completes what has gone: nothing to say
        pass


@kinds
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(1), asyncio.CancelledError()])
def test_an_exception_that_leaves_the_senders_body(kind, error):
    """It is the receivers' then, after what was sent; and goes on here."""
    channel = make(kind)

    def body():
        with channel.sender as sender:
            sender.send(1)
            raise error

    with pytest.raises(type(error)) as told:
        body()
    assert told.value is error
    assert take(channel) == 1
    with pytest.raises(type(error)) as told:
        channel.receiver.receive()
    assert told.value is error


@kinds
@on_loops
async def test_async_with(kind):
    """The same for coroutines."""
    channel = make(kind)
    error = ValueError("x")
    with pytest.raises(ValueError):
        async with channel.receiver as receiver, channel.sender as sender:
            assert sender is channel.sender and receiver is channel.receiver
            await sender.send_async(1)
            raise error
    assert channel.statistics().state == "cancelled"
    other = make(kind)
    async with other.sender:
        await other.sender.send_async(1)
    assert [value(received) async for received in other.receiver] == [1]
    failing = make(kind)
    with pytest.raises(ValueError):
        async with failing.sender:
            raise error
    with pytest.raises(ValueError) as told:
        async for _ in failing.receiver:
            pass
    assert told.value is error


@pytest.mark.thread_unsafe(reason="warnings are the process's")
@kinds
def test_a_sender_let_go(kind):
    """Unfinished: a ResourceWarning, and the channel fails, after what was sent."""
    channel = make(kind)
    channel.sender.send(1)
    receiver, clone = channel.receiver, channel.sender.clone()
    reference = weakref.ref(channel.sender)
    with pytest.warns(ResourceWarning, match="with sender"):
        del channel
    assert reference() is None
    with pytest.raises(ChannelFailed):
        clone.send(2)
    assert value(receiver.receive()) == 1
    with pytest.raises(ChannelFailed, match="garbage-collected"):
        receiver.receive()
    clone.complete()


@pytest.mark.thread_unsafe(reason="warnings are the process's")
@kinds
def test_senders_let_go_without_a_word(kind):
    """Completed, failed, or the receiver had gone; or nobody ever took the ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for end in (
            lambda channel: channel.sender.complete(),
            lambda channel: channel.sender.fail(ValueError()),
            lambda channel: channel.receiver.cancel(),
        ):
            channel = make(kind)
            receiver = channel.receiver
            end(channel)
            del channel
            assert receiver is not None
        make(kind)
        channel = make(kind)
        channel.sender.send(1)
        del channel


@kinds
def test_a_receiver_let_go(kind):
    """Nobody is there to receive: as cancel."""
    discarded = []
    channel = make(kind, on_discard=items_into(discarded))
    sender = channel.sender
    sender.send_many([1, 2, 3])
    (worker,) = in_line(channel, (sender.send, 4))
    del channel
    assert isinstance(worker.exception(), ChannelCancelled)
    assert discarded == [1, 2, 3]
    with pytest.raises(ChannelCancelled):
        sender.send(5)


@kinds
def test_on_discard_that_raises(kind):
    """It goes to sys.unraisablehook, and the others are discarded all the same."""
    told, seen = [], []

    def on_discard(item, _reason, _error):
        seen.append(item)
        raise KeyError(item)

    channel = make(kind, on_discard=on_discard)
    channel.sender.send_many([1, 2, 3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", told.append)
        channel.receiver.cancel()
    assert seen == [1, 2, 3]
    assert [type(one.exc_value) for one in told] == [KeyError] * 3
    assert told[0].object is on_discard


test_on_discard_that_raises = pytest.mark.thread_unsafe(reason="sys.unraisablehook is the process's")(test_on_discard_that_raises)


@kinds
def test_cancel_wakes_first(kind):
    """Then it discards: by the time `on_discard` runs, the waiters have been woken."""
    woken = threading.Event()
    answers = []
    channel = make(kind, 1, on_discard=lambda *_: answers.append(woken.wait(20)))
    channel.sender.send(1)

    def send():
        try:
            channel.sender.send(2)
        except ChannelCancelled:
            woken.set()

    (worker,) = in_line(channel, send)
    channel.receiver.cancel()
    worker.result()
    assert answers == [True]


# ----------------------------------------------------------------------------------------------------------- iteration


@kinds
def test_iteration(kind):
    """`for` waits, ends with the channel, and can go on where it was left."""
    channel = make(kind, 2)
    assert iter(channel.receiver) is channel.receiver

    def produce():
        with channel.sender as sender:
            for number in range(10):
                sender.send(number)

    worker = spawn(produce)
    got = [value(next(channel.receiver))]
    for received in channel.receiver:
        got.append(value(received))
        if len(got) == 5:
            break
    got += [value(received) for received in channel.receiver]
    worker.result()
    assert got == list(range(10))
    with pytest.raises(StopIteration):
        next(channel.receiver)


@kinds
@on_loops
async def test_async_iteration(kind):
    """`async for`, the same."""
    channel = make(kind, 2)

    async def produce():
        async with channel.sender as sender:
            for number in range(300):
                await sender.send_async(number)

    task = asyncio.create_task(produce())
    got = [value(await anext(aiter(channel.receiver)))]
    got += [value(received) async for received in channel.receiver]
    await task
    assert got == list(range(300))
    with pytest.raises(StopAsyncIteration):
        await anext(aiter(channel.receiver))


# --------------------------------------------------------------------------------------------------- looking at things

COUNTERS = ["owed", "sent_weight", "voided", "permits", "outstanding", "peak_outstanding", "sent", "received", "discarded"]


COUNTERS += ["redelivered", "stale", "buffered", "unacked", "waiting_senders", "waiting_receivers"]


@kinds
def test_names_and_repr(kind):
    channel = make(kind, 5, name="pipe")
    assert channel.name == "pipe"
    assert channel.statistics().name == channel.sender.statistics().name == channel.receiver.statistics().name == "pipe"
    assert make(kind, name=None).name is None
    channel.sender.send_many([1, 2])
    unacked = " unacked=0" if kind == "AckChannel" else ""
    for each, name in (channel, kind), (channel.sender, "Sender"), (channel.receiver, "Receiver"):
        assert repr(each) == f"<sluicegate.{name} 'pipe' at {id(each):#x} buffered=2{unacked} window=5 credit=3>"
    assert "Credit" in repr(channel.receiver.credit)
    with channel.sender.permit(2) as permit:
        assert repr(permit) == "<sluicegate.Permit n=2 left=2>"
    assert repr(permit) == "<sluicegate.Permit n=2 not held>"
    with pytest.raises(Full, match="'pipe'"):
        channel.sender.send_many(range(10), timeout=0)
    channel.sender.complete()
    assert "completing" in repr(channel)
    take_all(channel)
    assert "completed" in repr(channel)
    free = manual(kind)
    free.receiver.credit.request(INF)
    assert "credit=inf" in repr(free) and "window" not in repr(free)
    free.receiver.cancel()
    assert "cancelled" in repr(free)
    failed = make(kind)
    failed.sender.fail(ValueError())
    assert "failed" in repr(failed)

    class Mine(KINDS[kind]):
        pass

    assert "Mine" in repr(Mine(5))


@kinds
def test_statistics(kind):
    """Every field; a snapshot; the same from every part."""
    clock = ManualClock()
    channel = make(kind, 4, clock=clock, name="n")
    empty = channel.statistics()
    assert dataclasses.asdict(empty) == {
        "name": "n",
        "state": "open",
        "window": 4,
        "credit": 4,
        "granted": 4,
        **dict.fromkeys(
            COUNTERS,
            0,
        ),
        **dict.fromkeys(["send_blocked_seconds", "receive_blocked_seconds", "starved_for"], 0.0),
        "grants_held": False,
    }
    channel.sender.send_many([1, 2, 3, 4])
    received = channel.receiver.receive()
    (worker,) = in_line(channel, (channel.sender.send, 5)) if kind == "AckChannel" else (None,)
    clock.advance(3)
    seen = channel.statistics()
    assert empty.sent == 0
    assert seen == channel.sender.statistics() == channel.receiver.statistics()
    if kind == "AckChannel":
        assert (seen.outstanding, seen.unacked, seen.buffered, seen.received) == (4, 1, 3, 1)
        assert (seen.waiting_senders, seen.send_blocked_seconds, seen.starved_for) == (1, 3, 3)
        received.ack()
        take(channel)
        worker.result()
    else:
        assert (seen.outstanding, seen.unacked, seen.buffered, seen.received) == (3, 0, 3, 1)
        assert seen.owed == 1
    assert channel.statistics().peak_outstanding == 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen.sent = 5
    assert isinstance(seen.credit, int)


@kinds
def test_settled_through_without_deliveries(kind):
    """How many have been received; with deliveries: settled."""
    channel = make(kind)
    assert channel.receiver.settled_through == 0
    channel.sender.send_many([1, 2])
    take(channel)
    assert channel.receiver.settled_through == 1
    take(channel)
    assert channel.receiver.settled_through == 2


@kinds
def test_no_copies(kind):
    """Neither pickled nor copied: they are shared by reference."""
    channel = make(kind)
    channel.sender.send(1)
    things = [channel, channel.sender, channel.receiver, channel.sender.permit(), channel.receiver.credit]
    received = channel.receiver.receive()
    if kind == "AckChannel":
        things.append(received)
        received.ack()
    for thing in things:
        for call in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                call(thing)


def test_generic_aliases():
    for cls in (sluicegate.Channel, CreditChannel, AckChannel, Sender, Receiver, sluicegate.Delivery):
        alias = cls[int]
        assert alias.__origin__ is cls and alias.__args__ == (int,)
    channel = CreditChannel[int](5)
    assert isinstance(channel, CreditChannel) and channel.sender.credit == 5


@kinds
def test_weak_references(kind):
    channel = make(kind)
    channel.sender.send(1)
    received = channel.receiver.receive()
    things = [channel, channel.sender, channel.receiver, channel.sender.permit()]
    if kind == "AckChannel":
        things.append(received)
        received.ack()
    references = [weakref.ref(thing) for thing in things]
    assert [reference() for reference in references] == things
    del things, received, channel
    collect()
    assert [reference() for reference in references] == [None] * len(references)


@kinds
def test_signatures(kind):
    """What an editor shows; the constructor's defaults are the documented ones."""
    signature = inspect.signature(KINDS[kind])
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
    expected = {"window": 256, "threshold": 0.5, "buffer": None, "weigh": None, "control_capacity": 8}
    expected.update(dict.fromkeys(["on_discard", "clock", "name"]))
    if kind == "AckChannel":
        expected.update(ack_wait=None, max_deliver=5, retry=None, lane=None, on_settled=None)
    assert defaults == expected
    for part in (KINDS[kind], Sender, Receiver, Permit, sluicegate.Credit, sluicegate.Delivery, sluicegate.Subscription):
        assert part.__doc__
        for name, method in inspect.getmembers(part, callable):
            if not name.startswith("_"):
                assert method.__doc__, f"{part.__name__}.{name}"
                inspect.signature(method)


@kinds
def test_the_default_clock(kind):
    """`with clock:` is the clock of what is made inside."""
    clock = ManualClock()
    with clock:
        channel = make(kind, 1)
    channel.sender.send(1)
    worker = spawn(channel.sender.send, 2, timeout=1)
    clock.wait_for_waiters(1)
    clock.advance(1)
    assert isinstance(worker.exception(), Full)


@kinds
def test_ends_outlive_their_channel(kind):
    """The channel itself need not be kept."""
    channel = make(kind)
    reference = weakref.ref(channel)
    sender, receiver = channel.sender, channel.receiver
    del channel
    gc.collect()
    assert reference() is None
    with sender:
        sender.send(1)
    assert [value(received) for received in receiver] == [1]


@kinds
def test_a_subclass_with_an_init_of_its_own(kind):
    """Its arguments are its own business; the channel is made by `super().__init__`, once."""

    class Named(KINDS[kind]):
        def __init__(self, url, *, places):
            with pytest.raises(RuntimeError, match="not been initialized"):
                self.sender  # noqa: B018
            assert repr(self).endswith(" not initialized>")
            super().__init__(places, name=url)
            self.url = url

    channel = Named("here", places=2)
    assert (channel.url, channel.name, channel.statistics().window) == ("here", "here", 2)
    channel.sender.send_many([1, 2])
    assert take_all(channel) == [1, 2]
    with pytest.raises(RuntimeError, match="already"):
        KINDS[kind].__init__(channel, 3)
    assert channel.statistics().window == 2

    class Plain(KINDS[kind]):
        pass

    assert Plain(3, name="plain").statistics().window == 3
    with pytest.raises(TypeError, match="places"):
        Plain(places=3)


@kinds
def test_a_subclass_whose_init_forgets_the_channel(kind):
    """It is told so, whatever it does, and goes without a sound."""

    class Forgetful(KINDS[kind]):
        def __init__(self):
            pass

    channel = Forgetful()
    for use in (lambda: channel.sender, lambda: channel.receiver, lambda: channel.name, channel.statistics):
        with pytest.raises(RuntimeError, match=r"super\(\).__init__\(\)"):
            use()
