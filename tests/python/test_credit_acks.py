"""Deliveries: credit goes back when they are settled, and what is not settled comes back."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading

import pytest
from channels import INF, NAN, NANOSECOND, cancelled, holds, in_line, items_into, no_waiters, tasks_in_line
from helpers import collect, eventually, on_loops, settle, spawn, wait_until

from sluicegate import AckChannel, ChannelCancelled, ChannelClosed, ChannelError, ChannelFailed, Delivery, Empty, Full, StaleDelivery
from sluicegate.testing import ManualClock


def sums(channel, firsts, acked):
    """What was sent is acked, discarded, buffered or out; and what was handed out is that, first times and redeliveries."""
    seen = channel.statistics()
    assert seen.sent == acked + seen.discarded + seen.buffered + seen.unacked, seen
    assert seen.received >= firsts
    return holds(channel)


def give(*items, window=10, **options):
    """A channel with these items in it."""
    channel = AckChannel(window, **options)
    channel.sender.send_many(items)
    return channel


def receive(channel):
    return channel.receiver.receive_nowait()


# ------------------------------------------------------------------------------------------------------------ settling


def test_a_delivery():
    """The item, how often, its number; and what it looks like."""
    channel = give("a", "b", None)
    first, second, third = (receive(channel) for _ in range(3))
    assert [delivery.value for delivery in (first, second, third)] == ["a", "b", None]
    assert [delivery.attempt for delivery in (first, second, third)] == [1, 1, 1]
    assert [delivery.sequence for delivery in (first, second, third)] == [0, 1, 2]
    assert isinstance(first, Delivery)
    assert repr(first) == "<sluicegate.Delivery 'a' sequence=0 attempt=1>"
    first.ack()
    assert repr(first) == "<sluicegate.Delivery 'a' sequence=0 attempt=1 settled>"
    assert first.value == "a"
    for name in ("value", "attempt", "sequence"):
        with pytest.raises(AttributeError):
            setattr(first, name, 1)
    second.ack()
    third.ack()
    assert sums(channel, 3, 3).credit == 10


def test_credit_goes_back_when_it_is_settled():
    """Not when it is received: the window bounds what is being worked on."""
    channel = give(1, 2, 3, window=3)
    deliveries = [receive(channel) for _ in range(3)]
    with pytest.raises(Full):
        channel.sender.send_nowait(4)
    seen = holds(channel)
    assert (seen.unacked, seen.buffered, seen.outstanding, seen.credit) == (3, 0, 3, 0)
    (worker,) = in_line(channel, (channel.sender.send, 4))
    deliveries[1].ack()
    worker.result()
    deliveries[0].nack(requeue=False)
    deliveries[2].ack()
    assert channel.sender.credit == 2
    receive(channel).ack()
    assert sums(channel, 4, 3).discarded == 1


def test_acking_twice():
    """A second time does nothing, whatever it says."""
    channel = give(1, 2)
    one, two = receive(channel), receive(channel)
    one.ack()
    one.ack()
    one.nack()
    two.nack(requeue=False)
    two.ack()
    two.nack()
    seen = sums(channel, 2, 1)
    assert (seen.buffered, seen.unacked, seen.redelivered, seen.discarded, seen.stale) == (0, 0, 0, 1, 0)


def test_nack_brings_it_back_at_the_head():
    """In the order in which they were sent, each with one attempt more; credit stays taken."""
    channel = give(*"abcde", window=5)
    deliveries = [receive(channel) for _ in range(3)]
    deliveries[2].nack()
    deliveries[0].nack(True)
    assert channel.sender.credit == 0
    seen = sums(channel, 3, 0)
    assert (seen.buffered, seen.unacked, seen.redelivered) == (4, 1, 2)
    again = [receive(channel) for _ in range(4)]
    assert [(delivery.value, delivery.attempt, delivery.sequence) for delivery in again] == [
        ("a", 2, 0),
        ("c", 2, 2),
        ("d", 1, 3),
        ("e", 1, 4),
    ]
    for delivery in [*again, deliveries[1]]:
        delivery.ack()
    assert sums(channel, 5, 5).received == 7


def test_nack_wakes_a_receiver():
    """A thread that waits gets what has come back."""
    channel = give("a")
    delivery = receive(channel)
    (worker,) = in_line(channel, lambda: channel.receiver.receive())
    delivery.nack()
    again = worker.result()
    assert (again.value, again.attempt) == ("a", 2)
    again.ack()


@pytest.mark.parametrize(
    "call",
    [
        lambda delivery: delivery.nack(requeue=1),
        lambda delivery: delivery.nack(requeue=None),
        lambda delivery: delivery.nack("yes"),
        lambda delivery: delivery.nack(True, True),
        lambda delivery: delivery.nack(delay="1"),
        lambda delivery: delivery.nack(delay=1j),
        lambda delivery: delivery.nack(delay=NAN),
        lambda delivery: delivery.nack(delay=INF),
        lambda delivery: delivery.nack(delay=-1),
        lambda delivery: delivery.nack(delay=1e30),
        lambda delivery: delivery.nack(delay=10**400),
        lambda delivery: delivery.nack(requeue=False, delay=-1),
        lambda delivery: delivery.nack(True, 1.0, 1),
        lambda delivery: delivery.ack(1),
    ],
)
def test_bad_arguments(call):
    """Refused, and the delivery is as it was."""
    channel = give("a")
    delivery = receive(channel)
    before = channel.statistics()
    with pytest.raises((TypeError, ValueError, OverflowError)):
        call(delivery)
    assert channel.statistics() == before
    delivery.ack()
    assert channel.statistics().unacked == 0


def test_the_argument_is_named():
    channel = give("a")
    delivery = receive(channel)
    for bad, error in ((-1, ValueError), (NAN, ValueError), ("1", TypeError), (True, TypeError), (10**400, OverflowError)):
        with pytest.raises(error, match="'delay'"):
            delivery.nack(delay=bad)
    with pytest.raises(TypeError, match=r"^'requeue' must be a bool, not 1 \(int\)"):
        delivery.nack(requeue=1)
    delivery.ack()


# ------------------------------------------------------------------------------------------------- attempts and discards


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_max_deliver(attempts):
    """So often and no more; then `on_discard` gets it, and its credit goes back."""
    given_up = []
    channel = give("poison", window=1, max_deliver=attempts, on_discard=items_into(given_up))
    for attempt in range(1, attempts + 1):
        assert given_up == []
        assert channel.sender.credit == 0
        delivery = receive(channel)
        assert (delivery.value, delivery.attempt) == ("poison", attempt)
        delivery.nack()
    assert given_up == ["poison"]
    assert channel.sender.credit == 1
    with pytest.raises(Empty):
        receive(channel)
    seen = sums(channel, 1, 0)
    assert (seen.received, seen.redelivered, seen.discarded) == (attempts, attempts - 1, 1)
    assert channel.receiver.settled_through == 1


def test_max_deliver_by_default():
    given_up = []
    channel = give("poison", on_discard=items_into(given_up))
    for _ in range(5):
        receive(channel).nack()
    assert given_up == ["poison"]


def test_on_discard_uses_its_channel():
    """It is called outside everything: it sends, receives, and cancels."""
    log = []

    def on_discard(item, _reason, _error):
        log.append(item)
        if item == "send":
            channel.sender.send("sent")
            log.append(receive(channel).value)  # let go: comes back
        elif item == "cancel":
            channel.receiver.cancel()
            with pytest.raises(ChannelCancelled):
                channel.sender.send("x")

    channel = give("send", window=5, on_discard=on_discard)
    receive(channel).nack(requeue=False)
    assert log == ["send", "sent"]
    receive(channel).ack()
    channel.sender.send_many(["cancel", "rest"])
    receive(channel).nack(requeue=False)
    assert log == ["send", "sent", "cancel", "rest"]


@pytest.mark.thread_unsafe(reason="sys.unraisablehook is the process's")
def test_on_discard_that_raises_while_nacking():
    """The nack is done all the same."""
    told = []

    def on_discard(item, _reason, _error):
        raise KeyError(item)

    channel = give("a", on_discard=on_discard)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", told.append)
        receive(channel).nack(requeue=False)
    assert [type(one.exc_value) for one in told] == [KeyError]
    assert holds(channel).discarded == 1


# --------------------------------------------------------------------------------------------------------------- delay


def test_delay():
    """To the nanosecond; meanwhile others are received, and its credit stays taken."""
    clock = ManualClock()
    channel = give("a", "b", window=3, clock=clock)
    receive(channel).nack(delay=5)
    other = receive(channel)
    assert other.value == "b"
    with pytest.raises(Empty):
        receive(channel)
    seen = sums(channel, 2, 0)
    assert (seen.buffered, seen.unacked, seen.outstanding) == (1, 1, 2)
    clock.advance(5 - NANOSECOND)
    with pytest.raises(Empty):
        receive(channel)
    clock.advance(NANOSECOND)
    again = receive(channel)
    assert (again.value, again.attempt) == ("a", 2)
    again.ack()
    other.ack()
    sums(channel, 2, 2)


def test_delays_in_the_order_of_their_times():
    """What comes back earlier is there earlier; those that are there, in the order in which they were sent."""
    clock = ManualClock()
    channel = give(*"abc", clock=clock)
    deliveries = [receive(channel) for _ in range(3)]
    for delivery, delay in zip(deliveries, (3, 1, 2), strict=True):
        delivery.nack(delay=delay)
    clock.advance(1)
    assert receive(channel).value == "b"  # let go: back at once
    clock.advance(5)
    again = [receive(channel) for _ in range(3)]
    assert [delivery.value for delivery in again] == ["a", "b", "c"]
    for delivery in again:
        delivery.ack()


def test_a_delay_wakes_who_waits():
    """A thread that waits is there when it comes back, and one that gives up before is not."""
    clock = ManualClock()
    channel = give("a", clock=clock)
    receive(channel).nack(delay=5)
    late, early = in_line(channel, lambda: channel.receiver.receive(), lambda: channel.receiver.receive(timeout=4))
    clock.wait_for_waiters(2)
    clock.advance(4)
    assert isinstance(early.exception(), Empty)
    assert not late.done()
    clock.advance(1)
    delivery = late.result()
    assert (delivery.value, delivery.attempt) == ("a", 2)
    delivery.ack()


def test_a_delay_that_begins_while_somebody_waits():
    """Who waits already hears of the new time."""
    clock = ManualClock()
    channel = give("a", "b", clock=clock)
    one, two = receive(channel), receive(channel)
    (worker,) = in_line(channel, lambda: channel.receiver.receive())
    one.nack(delay=10)
    two.nack(delay=3)
    clock.advance(3)
    delivery = worker.result()
    assert delivery.value == "b"
    delivery.ack()
    (worker,) = in_line(channel, lambda: channel.receiver.receive())
    clock.advance(7)
    worker.result().ack()
    sums(channel, 2, 2)


@on_loops
async def test_a_delay_wakes_a_task():
    clock = ManualClock()
    channel = give("a", clock=clock)
    receive(channel).nack(delay=5)
    tasks = await tasks_in_line(channel.receiver.receive_async(), channel.receiver.receive_many_async(3))
    await clock.advance_async(5)
    await eventually(tasks[0].done)
    delivery = tasks[0].result()
    assert delivery.value == "a"
    delivery.nack(delay=1)
    await clock.advance_async(1)
    await eventually(tasks[1].done)
    (again,) = tasks[1].result()
    assert again.attempt == 3
    again.ack()
    assert no_waiters(channel)


@on_loops
async def test_a_delay_on_the_system_clock():
    """A thread and a task, in real time."""
    channel = give("a")
    receive(channel).nack(delay=0.01)
    delivery = await channel.receiver.receive_async()
    delivery.nack(delay=0.01)
    again = await asyncio.to_thread(channel.receiver.receive)
    assert again.attempt == 3
    again.ack()


# ------------------------------------------------------------------------------------------------------------ ack_wait


def test_ack_wait():
    """What is not settled by then is delivered again, and settling the old delivery raises an error."""
    clock = ManualClock()
    channel = give("a", "b", ack_wait=5, clock=clock)
    late, on_time = receive(channel), receive(channel)
    clock.advance(5 - NANOSECOND)
    with pytest.raises(Empty):
        receive(channel)
    on_time.ack()
    clock.advance(NANOSECOND)
    again = receive(channel)
    assert (again.value, again.attempt, again.sequence) == ("a", 2, 0)
    with pytest.raises(StaleDelivery, match="not settled in time"):
        late.ack()
    for settle_again in (late.ack, late.nack):  # it does not turn into a success
        with pytest.raises(StaleDelivery, match="not settled in time"):
            settle_again()
    assert channel.statistics().unacked == 1
    again.ack()
    seen = sums(channel, 2, 2)
    assert (seen.redelivered, seen.stale) == (1, 1)


def test_stale_nack():
    """Nothing has changed: the delivery still belongs to the thread that has it now."""
    clock = ManualClock()
    channel = give("a", ack_wait=5, clock=clock)
    late = receive(channel)
    clock.advance(5)
    again = receive(channel)
    with pytest.raises(StaleDelivery):
        late.nack(requeue=False)
    assert channel.statistics().discarded == 0
    again.ack()
    assert sums(channel, 1, 1).stale == 1


def test_stale_although_nobody_has_received_it_again():
    """Late is late."""
    clock = ManualClock()
    channel = give("a", ack_wait=5, clock=clock)
    late = receive(channel)
    clock.advance(5)
    with pytest.raises(StaleDelivery):
        late.ack()
    again = receive(channel)
    assert again.attempt == 2
    again.ack()


def test_ack_wait_gives_up_at_max_deliver():
    """Expiry only settles then."""
    given_up = []
    clock = ManualClock()
    channel = give("a", window=1, ack_wait=5, max_deliver=2, on_discard=items_into(given_up), clock=clock)
    first = receive(channel)
    clock.advance(5)
    second = receive(channel)
    assert channel.sender.credit == 0
    clock.advance(5)
    with pytest.raises(Empty):
        receive(channel)
    assert given_up == ["a"]
    assert channel.sender.credit == 1
    for delivery in (first, second):
        with pytest.raises(StaleDelivery):
            delivery.ack()
    assert sums(channel, 1, 0).stale == 2


def test_a_receiver_that_waits_gets_what_expires():
    """It is woken at that time, though it came before the delivery was made."""
    clock = ManualClock()
    channel = AckChannel(5, ack_wait=5, clock=clock)
    first, second = in_line(channel, *[lambda: channel.receiver.receive()] * 2)
    channel.sender.send("a")
    held = first.result()
    clock.advance(5 - NANOSECOND)
    assert not second.done()
    clock.advance(NANOSECOND)
    again = second.result()
    assert (again.value, again.attempt) == ("a", 2)
    again.ack()
    with pytest.raises(StaleDelivery):
        held.ack()


def test_a_receiver_discards_what_expires_for_the_last_time():
    """And a sender that waits for the credit goes."""
    clock = ManualClock()
    given_up = []
    channel = give("a", window=1, ack_wait=5, max_deliver=1, on_discard=items_into(given_up), clock=clock)
    held = receive(channel)
    sender, receiver = in_line(channel, (channel.sender.send, "b"), lambda: channel.receiver.receive())
    clock.advance(5)
    sender.result()
    delivery = receiver.result()
    assert (delivery.value, given_up) == ("b", ["a"])
    delivery.ack()
    del held


def test_a_sender_that_waits_for_what_expires():
    """The same although nobody receives meanwhile: the time is the channel's, not the receiver's."""
    clock = ManualClock()
    given_up = []
    channel = give("a", window=1, ack_wait=5, max_deliver=1, on_discard=items_into(given_up), clock=clock)
    held = receive(channel)
    (sender,) = in_line(channel, (channel.sender.send, "b"))
    clock.advance(5)
    sender.result()
    assert given_up == ["a"]
    assert receive(channel).value == "b"
    del held


@on_loops
async def test_a_task_gets_what_expires():
    clock = ManualClock()
    channel = give("a", ack_wait=5, clock=clock)
    held = await channel.receiver.receive_async()
    (task,) = await tasks_in_line(channel.receiver.receive_async())
    await clock.advance_async(5)
    await eventually(task.done)
    task.result().ack()
    with pytest.raises(StaleDelivery):
        held.ack()


def test_an_ack_cancels_the_time():
    """Nobody is woken for what has been settled."""
    clock = ManualClock()
    channel = give("a", "b", ack_wait=5, clock=clock)
    receive(channel).ack()
    clock.advance(3)
    later = receive(channel)
    clock.advance(4)
    assert channel.statistics().redelivered == 0
    later.ack()
    clock.advance(10)
    assert sums(channel, 2, 2).redelivered == 0


# ----------------------------------------------------------------------------------------------------- context manager


def test_with():
    """Acked at the end, nacked by an exception, which goes on."""
    channel = give("a")
    with pytest.raises(KeyError):
        with receive(channel) as delivery:
            assert delivery.value == "a"
            raise KeyError
    assert channel.statistics().redelivered == 1
    with receive(channel) as delivery:
        assert delivery.attempt == 2
    assert sums(channel, 1, 1).unacked == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_what_only_stops_the_caller_does_not_count(error):
    """It comes back, as often as that may be, with the attempts it had."""
    given_up = []
    channel = give("a", max_deliver=1, on_discard=items_into(given_up))
    for _ in range(10):
        with pytest.raises(error):
            with receive(channel) as delivery:
                assert delivery.attempt == 1
                raise error
    with receive(channel) as delivery:
        assert delivery.attempt == 1
    assert given_up == []
    assert sums(channel, 1, 1).redelivered == 10


def test_an_exception_counts():
    given_up = []
    channel = give("a", max_deliver=2, on_discard=items_into(given_up))
    for attempt in (1, 2):
        with pytest.raises(ZeroDivisionError):
            with receive(channel) as delivery:
                assert delivery.attempt == attempt
                raise ZeroDivisionError
    assert given_up == ["a"]


def test_with_after_it_was_settled():
    """Settled inside: the end of the block does nothing more."""
    channel = give("a", "b")
    with receive(channel) as delivery:
        delivery.nack(requeue=False)
    with pytest.raises(KeyError):
        with receive(channel) as delivery:
            delivery.ack()
            raise KeyError
    seen = sums(channel, 2, 1)
    assert (seen.discarded, seen.redelivered, seen.unacked) == (1, 0, 0)


def test_with_too_late():
    """A body that took too long gets an error; one that raises anyway keeps its own."""
    clock = ManualClock()
    channel = give("a", ack_wait=5, clock=clock)
    with pytest.raises(StaleDelivery):
        with receive(channel):
            clock.advance(5)
    with pytest.raises(KeyError) as told:
        with receive(channel):
            clock.advance(5)
            raise KeyError
    assert told.value.__context__ is None
    assert channel.statistics().stale == 2
    receive(channel).ack()


@on_loops
async def test_async_with():
    """The same, and a cancelled task gives its item back uncounted."""
    channel = give("a", max_deliver=1)

    async def work():
        async with await channel.receiver.receive_async() as delivery:
            assert delivery.attempt == 1
            await asyncio.sleep(3600)

    for _ in range(3):
        task = asyncio.create_task(work())
        await settle()
        assert channel.statistics().unacked == 1
        await cancelled(task)
        assert channel.statistics().buffered == 1
    async with await channel.receiver.receive_async() as delivery:
        assert (delivery.value, delivery.attempt) == ("a", 1)
    sums(channel, 1, 1)


# ----------------------------------------------------------------------------------------------------------- let go


def test_a_delivery_let_go():
    """It comes back, as after nack(): the attempt counts."""
    given_up = []
    channel = give("a", max_deliver=3, on_discard=items_into(given_up))
    for attempt in (1, 2, 3):
        delivery = receive(channel)
        assert delivery.attempt == attempt
        del delivery
    collect()
    assert given_up == ["a"]
    assert sums(channel, 1, 0).redelivered == 2


def test_a_delivery_let_go_wakes_a_receiver():
    """A thread that waits gets it."""
    channel = give("a")
    delivery = receive(channel)
    (worker,) = in_line(channel, lambda: channel.receiver.receive())
    del delivery
    collect()
    again = worker.result()
    assert again.attempt == 2
    again.ack()


def test_deliveries_in_a_cycle():
    """One that is in a cycle of garbage comes back when that is collected; the item itself lives."""
    channel = give("a")

    class Box:
        pass

    box = Box()
    box.me, box.delivery = box, receive(channel)
    del box
    collect()
    again = receive(channel)
    assert (again.value, again.attempt) == ("a", 2)
    again.ack()


def test_a_delivery_outlives_its_channel():
    """Its ends have gone: settling it does nothing, and never raises."""
    channel = give("a", "b", "c")
    deliveries = [receive(channel) for _ in range(3)]
    del channel
    collect()
    deliveries[0].ack()
    deliveries[1].nack()
    assert deliveries[2].value == "c"
    del deliveries
    gc.collect()


def test_iteration_without_settling():
    """Each comes back, up to `max_deliver` times; the loop that still holds the last one when it asks for more is told."""
    given_up, seen = [], []
    channel = give("a", "b", max_deliver=2, on_discard=items_into(given_up))
    channel.sender.complete()
    with pytest.raises(ChannelError, match="not settled"):
        for delivery in channel.receiver:
            seen.append((delivery.value, delivery.attempt))
    del delivery
    assert sorted(seen) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert sorted(given_up) == ["a", "b"]
    assert channel.statistics().state == "completed"


# ----------------------------------------------------------------------------------------------------- settled_through


def test_settled_through():
    """The number below which all is settled."""
    channel = give(*"abcde")
    receiver = channel.receiver
    assert receiver.settled_through == 0
    deliveries = [receive(channel) for _ in range(4)]
    assert receiver.settled_through == 0
    deliveries[1].ack()
    deliveries[2].ack()
    assert receiver.settled_through == 0
    deliveries[0].ack()
    assert receiver.settled_through == 3
    deliveries[3].nack()
    assert receiver.settled_through == 3
    again = receive(channel)
    assert again.sequence == 3
    again.nack(requeue=False)
    assert receiver.settled_through == 4
    last = receive(channel)
    assert receiver.settled_through == 4
    last.ack()
    assert receiver.settled_through == 5
    channel.sender.send("f")
    assert receiver.settled_through == 5


def test_settled_through_and_delays():
    """What comes back later is not settled."""
    clock = ManualClock()
    channel = give(*"abc", clock=clock)
    deliveries = [receive(channel) for _ in range(3)]
    deliveries[1].nack(delay=5)
    deliveries[0].ack()
    deliveries[2].ack()
    assert channel.receiver.settled_through == 1
    clock.advance(5)
    assert channel.receiver.settled_through == 1
    receive(channel).ack()
    assert channel.receiver.settled_through == 3


def test_settled_through_at_the_end():
    """It says how far it had come, whatever is thrown away then."""
    channel = give(*"abcd")
    deliveries = [receive(channel) for _ in range(3)]
    deliveries[0].ack()
    deliveries[2].ack()
    channel.receiver.cancel()
    deliveries[1].ack()
    assert channel.receiver.settled_through == 1


# ----------------------------------------------------------------------------------------------------------------- ends


def test_complete_waits_for_the_unsettled():
    """The end is there when all is settled; a receiver of another thread waits for that, and gets what comes back."""
    channel = give("a", "b")
    mine = [receive(channel) for _ in range(2)]
    channel.sender.complete()
    assert channel.statistics().state == "completing"
    assert not channel.receiver.ended
    one, two = in_line(channel, *[lambda: channel.receiver.receive()] * 2)
    mine[0].nack()
    again = one.result()
    assert again.attempt == 2
    mine[1].ack()
    assert not two.done()
    again.ack()
    assert isinstance(two.exception(), ChannelClosed)
    assert channel.receiver.ended
    assert channel.statistics().state == "completed"


def test_fail_waits_for_the_unsettled():
    """What was sent before the error may still come back; then the error."""
    channel = give("a")
    mine = receive(channel)
    error = ValueError("broken")
    channel.sender.fail(error)
    one, two = in_line(channel, *[lambda: channel.receiver.receive()] * 2)
    mine.nack()
    one.result().ack()
    assert two.exception() is error
    assert channel.statistics().state == "failed"


SELF_WAITS = {
    "receive": lambda receiver: receiver.receive(),
    "receive with timeout": lambda receiver: receiver.receive(timeout=1000),
    "receive_many": lambda receiver: receiver.receive_many(5),
    "for": lambda receiver: next(iter(receiver)),
}


@pytest.mark.parametrize("call", list(SELF_WAITS))
@pytest.mark.parametrize("how", ["before", "while it waits"])
def test_a_thread_does_not_wait_for_itself(call, how):
    """It has the only deliveries that are not settled, and nothing else comes: ChannelError, not for ever."""
    channel = give("a", "b", clock=ManualClock())
    clones = channel.sender.clone()

    def work():
        deliveries = [channel.receiver.receive(), channel.receiver.receive()]
        entered.set()
        if how == "before":
            completed.wait(20)
        try:
            SELF_WAITS[call](channel.receiver)
        except ChannelError as error:
            assert type(error) is ChannelError
            assert "not settled" in str(error)
            deliveries[0].nack()
        deliveries[0] = channel.receiver.receive()
        for delivery in deliveries:
            delivery.ack()
        with pytest.raises(ChannelClosed):
            channel.receiver.receive()

    entered, completed = threading.Event(), threading.Event()
    worker = spawn(work)
    assert entered.wait(20)
    if how == "while it waits":
        wait_until(lambda: channel.statistics().waiting_receivers == 1)
    channel.sender.complete()
    clones.complete()
    completed.set()
    worker.result()
    assert sums(channel, 2, 2).state == "completed"


def test_a_thread_that_has_not_all_of_them_waits():
    """Another has one too: it may come back."""
    channel = give("a", "b")
    mine = receive(channel)
    others = spawn(lambda: channel.receiver.receive()).result()
    channel.sender.complete()
    with pytest.raises(Empty):
        channel.receiver.receive(timeout=0)
    worker = spawn(others.nack)
    again = channel.receiver.receive()
    worker.result()
    assert again.attempt == 2
    again.ack()
    with pytest.raises(ChannelError):
        channel.receiver.receive()
    mine.ack()


def test_it_becomes_the_only_one_while_it_waits():
    """The other has settled: now it would wait for itself, and gets an error."""
    channel = give("a", "b")
    others = receive(channel)
    entered = threading.Event()

    def work():
        delivery = channel.receiver.receive()
        entered.set()
        try:
            channel.receiver.receive()
        finally:
            delivery.ack()

    worker = spawn(work)
    assert entered.wait(20)
    channel.sender.complete()
    wait_until(lambda: channel.statistics().waiting_receivers == 1)
    others.ack()
    error = worker.exception()
    assert type(error) is ChannelError
    assert channel.receiver.ended


def test_a_second_receiver_waits_for_the_first():
    """One that has none itself waits, and hears of the end."""
    channel = give("a")
    mine = receive(channel)
    channel.sender.complete()
    (worker,) = in_line(channel, lambda: channel.receiver.receive())
    mine.ack()
    assert isinstance(worker.exception(), ChannelClosed)


@on_loops
async def test_a_task_does_not_wait_for_itself():
    """Two tasks of one thread are two."""
    channel = give("a", "b")
    gate = asyncio.Event()

    async def work():
        delivery = await channel.receiver.receive_async()
        await gate.wait()
        try:
            return await channel.receiver.receive_async()
        finally:
            delivery.ack()

    one, two = asyncio.create_task(work()), asyncio.create_task(work())
    await settle()
    assert channel.statistics().unacked == 2
    channel.sender.complete()
    with pytest.raises(Empty):  # this task has none: for it there may be something yet
        await channel.receiver.receive_async(timeout=0)
    gate.set()
    await eventually(lambda: channel.statistics().waiting_receivers == 2)
    await cancelled(two)  # which acks
    outcome = (await asyncio.gather(one, return_exceptions=True))[0]
    assert type(outcome) is ChannelError
    assert channel.statistics().state == "completed"


def test_a_delay_is_no_wait_for_itself():
    """What comes back by itself is waited for."""
    clock = ManualClock()
    channel = give("a", "b", clock=clock)

    def work():
        one, two = channel.receiver.receive(), channel.receiver.receive()
        two.nack(delay=5)
        again = channel.receiver.receive()
        assert again.value == "b"
        again.ack()
        one.ack()

    channel.sender.complete()
    worker = spawn(work)
    clock.wait_for_waiters(1)
    clock.advance(5)
    worker.result()


def test_cancel_with_deliveries_out():
    """They belong to the threads that have them, and end with the rest: settling does nothing, and they are not discarded."""
    given_up = []
    clock = ManualClock()
    channel = give(*"abcdef", on_discard=items_into(given_up), ack_wait=50, clock=clock)
    deliveries = [receive(channel) for _ in range(4)]
    deliveries[2].nack()
    deliveries[3].nack(delay=5)
    channel.receiver.cancel()
    assert given_up == ["c", "d", "e", "f"]
    clock.advance(100)
    deliveries[0].ack()
    deliveries[1].nack()
    seen = channel.statistics()
    assert (seen.state, seen.unacked, seen.buffered, seen.outstanding, seen.stale, seen.discarded) == ("cancelled", 0, 0, 0, 0, 4)
    with pytest.raises(ChannelCancelled):
        channel.receiver.receive()
    assert given_up == ["c", "d", "e", "f"]


def test_complete_with_a_discard():
    """A sender waits for credit while the last delivery is given up: it gets the error of the end that it caused itself."""
    channel = give("a", window=1)
    clone = channel.sender.clone()
    mine = receive(channel)
    (worker,) = in_line(channel, (clone.send, "b"))
    channel.sender.fail(KeyError())
    assert isinstance(worker.exception(), ChannelFailed)
    mine.nack(requeue=False)
    with pytest.raises(KeyError):
        receive(channel)


# -------------------------------------------------------------------------------------------------------- many at once


def test_receive_many_gives_deliveries():
    """Each to be settled for itself."""
    channel = give(*range(5))
    deliveries = channel.receiver.receive_many(3)
    assert [delivery.value for delivery in deliveries] == [0, 1, 2]
    assert [delivery.attempt for delivery in deliveries] == [1, 1, 1]
    deliveries[1].nack()
    again = channel.receiver.receive_many(10)
    assert [delivery.value for delivery in again] == [1, 3, 4]
    for delivery in [*deliveries, *again]:
        delivery.ack()
    sums(channel, 5, 5)


def test_weights_of_deliveries():
    """What comes back weighs what it did; what is settled gives that back."""
    channel = AckChannel(10, weigh=len)
    channel.sender.send_many(["four", "three", "a"])
    first, second = receive(channel), receive(channel)
    first.nack()
    assert holds(channel).outstanding == 10
    second.ack()
    seen = holds(channel)
    assert (seen.outstanding, seen.credit + seen.owed) == (5, 5)
    again = receive(channel)
    assert again.value == "four"
    again.nack(requeue=False)
    assert holds(channel).outstanding == 1
    receive(channel).ack()
    assert holds(channel).credit == 10


LOOKS = {
    "credit": lambda channel: channel.sender.credit == 2,
    "statistics": lambda channel: channel.statistics().credit == 2,
    "drain": lambda channel: channel.receiver.credit.drain() == 2,
    "pause": lambda channel: channel.receiver.credit.pause() or channel.statistics().credit == 2,
    "send": lambda channel: channel.sender.send_nowait("c") or channel.statistics().peak_outstanding == 2,
    "complete": lambda channel: channel.sender.complete() or channel.receiver.ended,
    "fail": lambda channel: channel.sender.fail(ValueError()) or channel.receiver.ended,
    "settled_through": lambda channel: channel.receiver.settled_through == 2,
    "defer_to": lambda channel: AckChannel(1).receiver.credit.defer_to(channel.sender) or channel.sender.credit == 2,
}


@pytest.mark.parametrize("look", LOOKS)
def test_what_is_due_shows_at_the_first_look(look):
    """Nobody waits, so nobody sees to it before."""
    given_up, clock = [], ManualClock()
    channel = give("a", "b", window=2, ack_wait=1, max_deliver=1, on_discard=items_into(given_up), clock=clock)
    out = channel.receiver.receive_many(2)
    clock.advance(1)
    assert given_up == []
    assert LOOKS[look](channel)
    assert sorted(given_up) == ["a", "b"]
    for delivery in out:
        with pytest.raises(StaleDelivery):
            delivery.ack()
    channel.receiver.cancel()


def test_the_peak_of_what_was_there_at_once():
    """A permit's items, too."""
    clock = ManualClock()
    channel = give("a", window=3, ack_wait=1, max_deliver=1, clock=clock)
    with channel.sender.permit() as permit:
        for send in (channel.sender.send, lambda item: channel.sender.send_many([item]), permit.send):
            out = receive(channel)
            clock.advance(1)
            send("b")
            assert channel.statistics().peak_outstanding == 1
            with pytest.raises(StaleDelivery):
                out.ack()
    channel.receiver.cancel()


def test_manual_credit_of_deliveries():
    """Settling gives nothing back: what is asked for is asked for. But the buffer bounds what is out, too."""
    channel = AckChannel(0, buffer=2)
    channel.receiver.credit.request(3)
    assert channel.sender.credit == 2
    channel.sender.send_many(["a", "b"])
    one, two = receive(channel), receive(channel)
    assert channel.sender.credit == 0  # they are still out
    one.ack()
    assert channel.sender.credit == 1
    two.ack()
    assert channel.sender.credit == 1
    channel.sender.send("c")
    receive(channel).ack()
    assert channel.sender.credit == 0


def test_threads_work_and_fail():
    """4 threads settle at random what 2 send: each item is acked once, or given up after its attempts."""
    channel = AckChannel(8, max_deliver=3, on_discard=lambda item, _reason, _error: given_up.append(item))
    given_up, acked = [], []
    first_counts = {}
    lock = threading.Lock()

    def send(sender, start):
        with sender:
            for number in range(start, 500, 2):
                sender.send(number)

    def work(number):
        dice = random.Random(number)
        for delivery in channel.receiver:
            with lock:
                first_counts[delivery.value] = first_counts.get(delivery.value, 0) + (delivery.attempt == 1)
            way = dice.randrange(8)
            if way == 0:
                delivery.nack()
            elif way == 1:
                delivery.nack(requeue=False)
            elif way == 2:
                del delivery
            elif way == 3:
                with pytest.raises(KeyError):
                    with delivery:
                        raise KeyError
            elif way == 4:
                with pytest.raises(KeyboardInterrupt):
                    with delivery:
                        raise KeyboardInterrupt
            else:
                acked.append(delivery.value)
                delivery.ack()

    workers = [spawn(work, number) for number in range(4)]
    workers += [spawn(send, sender, start) for start, sender in enumerate((channel.sender, channel.sender.clone()))]
    for worker in workers:
        worker.result()
    assert sorted(acked + given_up) == list(range(500))
    assert len(first_counts) == 500
    seen = sums(channel, 500, len(acked))
    assert (seen.state, seen.discarded, seen.unacked, seen.buffered) == ("completed", len(given_up), 0, 0)
    assert seen.received == 500 + seen.redelivered
    assert seen.peak_outstanding <= 8


# ------------------------------------------------------------------------------------------------------------ who has it


@on_loops
async def test_a_new_task_is_not_taken_for_one_that_has_gone():
    """A task that ended with a delivery is not the one that waits for it now, though it may lie at the same address."""

    async def take(channel, taken):
        taken.append(await channel.receiver.receive_async())

    for _ in range(20):
        channel, taken = give("item"), []
        task = asyncio.create_task(take(channel, taken))
        await task
        channel.sender.complete()
        following = [take(channel, taken) for _ in range(3)]  # before the place is free
        del task
        await asyncio.sleep(0)  # the loop has let go of it too
        tasks = [asyncio.create_task(coroutine) for coroutine in following]
        await settle()
        assert not any(task.done() for task in tasks), tasks
        taken.pop().ack()
        for task in tasks:
            with pytest.raises(ChannelClosed):
                await task
        del tasks, following
