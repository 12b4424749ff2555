# pyright: basic
"""The rules of credit channels beyond Reactive Streams, one by one: some of AMQP's, RabbitMQ's, HTTP/2's, JetStream's and RSocket's, and
our own. The id of the rule is in the test's name; see `test_credit_rules`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import sys
from typing import Any

import pytest
from channels import items_into
from credit_rules import INF, MAX, WAYS, Stop, consuming, counted, feed, feeding, manual, pushes, waits, ways
from helpers import PATIENCE, STORM_ITEMS, LoopThread, collect, on_loops, run_script, settle, spawn, wait_until

from sluicegate import (
    AckChannel,
    ChannelCancelled,
    ChannelClosed,
    ChannelError,
    CreditChannel,
    Delivery,
    Empty,
    Full,
    StaleDelivery,
)
from sluicegate.testing import ManualClock


def itself(weight: Any) -> Any:
    return weight


# --------------------------------------------------------------------------------------------------------------------- AMQP


def test_A1_drain_of_an_idle_sender():
    """Returns at once, and the credit is gone."""
    channel = manual()
    channel.receiver.credit.request(7)
    assert channel.receiver.credit.drain() == 7
    assert channel.sender.credit == 0
    assert channel.receiver.credit.drain() == 0
    with pytest.raises(Full):
        channel.sender.send_nowait("x")
    seen = channel.statistics()
    assert (seen.granted, seen.voided) == (7, 7)
    channel.receiver.credit.request(MAX)
    assert channel.receiver.credit.drain() == INF
    assert channel.sender.credit == 0
    channel.receiver.credit.request(1)
    channel.sender.send_nowait("x")
    assert channel.receiver.receive() == "x"


def test_A2_a_grant_that_crosses_an_item():
    """The receiver has counted 20 and grants 6 more, in absolute numbers; meanwhile 21 have been sent: 20 + 6 - 21 = 5."""
    channel = manual(buffer=100)
    channel.receiver.credit.request(21)
    channel.sender.send_many(range(21))
    received = len(channel.receiver.receive_many(20))
    assert channel.receiver.credit.request_up_to(received + 6) is True
    assert channel.sender.credit == 5


def test_A3_stop_and_go_on():
    """All credit is taken back: the sender stands still. More is given: it goes on, and nothing is lost."""
    channel, items = manual(buffer=100), []
    credit = channel.receiver.credit
    credit.request(5)
    with feeding(channel, range(20)):
        items += [channel.receiver.receive() for _ in range(5)]
        wait_until(lambda: channel.statistics().waiting_senders == 1)
        credit.request(2)
        wait_until(lambda: channel.statistics().sent == 7)
        assert credit.drain() == 0
        items += channel.receiver.receive_many(100)
        wait_until(lambda: channel.statistics().waiting_senders == 1)
        assert channel.sender.credit == 0
        credit.request(INF)
        items += channel.receiver
    assert items == list(range(20))


def test_A3_stop_and_go_on_with_a_window():
    """A window that is drained is paused: items are received and no credit comes, until `resume` gives the window back."""
    channel = CreditChannel(4)
    channel.sender.send_many("ab")
    assert channel.receiver.credit.drain() == 2
    assert channel.statistics().grants_held
    assert channel.sender.credit == 0
    assert channel.receiver.receive_many(10) == ["a", "b"]
    assert channel.sender.credit == 0
    waiting = spawn(channel.sender.send, "c")
    wait_until(lambda: channel.statistics().waiting_senders == 1)
    assert channel.sender.credit == 0
    channel.receiver.credit.resume()
    waiting.result()
    assert channel.receiver.receive() == "c"
    assert channel.sender.credit == 4


def test_A3_pause_keeps_what_is_buffered():
    channel = CreditChannel(4)
    channel.sender.send_many("abc")
    channel.receiver.credit.pause()
    assert channel.receiver.receive_many(10) == ["a", "b", "c"]
    assert channel.sender.credit == 1  # what had been given may be used
    channel.sender.send("d")
    with pytest.raises(Full):
        channel.sender.send_nowait("e")
    channel.receiver.credit.resume()
    assert channel.sender.credit == 3
    assert channel.receiver.receive() == "d"


def test_A4_a_grant_said_twice():
    """`request_up_to` again, or with an old number, changes nothing; together with `request` it counts all that was granted."""
    channel = manual(buffer=100)
    credit = channel.receiver.credit
    assert credit.request_up_to(5) is True
    before = channel.statistics()
    assert [credit.request_up_to(n) for n in (5, 5, 3, 1)] == [False] * 4
    assert channel.statistics() == before
    channel.sender.send_many(range(5))
    assert credit.request_up_to(5) is False
    assert channel.sender.credit == 0
    assert credit.request_up_to(6) is True
    assert channel.sender.credit == 1
    credit.request(4)
    assert credit.request_up_to(10) is False
    assert channel.sender.credit == 5


# ------------------------------------------------------------------------------------------------------------------ RabbitMQ


def test_C1_400_200():
    """The sender stops at exactly 400 with none received; credit is given once per 200 that are."""
    channel = CreditChannel(400, threshold=0.5)
    for n in range(400):
        channel.sender.send_nowait(n)
    with pytest.raises(Full):
        channel.sender.send_nowait(400)
    grants = []
    for n in range(2000):
        assert channel.receiver.receive() == n
        seen = channel.statistics()
        assert seen.outstanding <= seen.peak_outstanding == 400
        if not grants or seen.granted != grants[-1][1]:
            grants.append((n + 1, seen.granted))
            while channel.sender.credit:
                channel.sender.send_nowait(channel.statistics().sent)
    assert grants[:3] == [(1, 400), (200, 600), (400, 800)]
    assert [at for at, _ in grants[1:]] == list(range(200, 2001, 200))


@on_loops
async def test_C1_two_wake_ups_per_window():
    """A sender that always has more runs once per half window, as long as the receiver is never out of items."""
    channel, steps = CreditChannel(400, threshold=0.5), [0]

    async def send_all():
        for n in range(4000):
            await channel.sender.send_async(n)
        channel.sender.complete()

    sending = asyncio.ensure_future(counted(send_all(), steps))
    await settle()
    items = []
    while not sending.done() or channel.statistics().buffered:
        items.append(channel.receiver.receive_nowait())
        await settle(2)
    assert items == list(range(4000))
    # 18 half windows to come after the first two, and the turns it gives the loop by itself every 128 operations.
    assert steps[0] <= 1 + 18 + 4000 // 128 + 1


def test_C2_a_stage_that_is_blocked_grants_nothing():
    """While the sender below is starved no grant goes up; then all of it does, in one step."""
    above, below = CreditChannel(8), CreditChannel(2)
    above.receiver.credit.defer_to(below.sender)
    below.sender.send_many("ab")
    above.sender.send_many(range(8))
    granted = above.statistics().granted
    for n in range(8):
        assert above.receiver.receive() == n
        assert above.statistics().granted == granted
    assert above.statistics().grants_held
    assert above.statistics().owed == 8
    assert above.sender.credit == 0
    below.receiver.receive()
    assert above.sender.credit == 8
    seen = above.statistics()
    assert (seen.granted, seen.owed, seen.grants_held) == (granted + 8, 0, False)


@on_loops
async def test_C2_one_wake_up_for_what_was_deferred():
    """The sender above, who waits, runs once for all of it."""
    above, below, steps = CreditChannel(8), CreditChannel(2), [0]
    above.receiver.credit.defer_to(below.sender)
    below.sender.send_many("ab")
    above.sender.send_many(range(8))
    sending = asyncio.ensure_future(counted(above.sender.send_many_async(range(8, 16)), steps))
    await settle()
    steps[0] = 0
    assert above.receiver.receive_many(8) == list(range(8))
    await settle()
    assert (steps[0], sending.done()) == (0, False)
    assert below.receiver.receive() == "a"
    await settle()
    assert (steps[0], sending.result()) == (1, 8)


def test_C2_a_chain_stops_at_its_source():
    """Three channels, nobody receives from the last: no more than the windows is taken from the source."""
    chain = [CreditChannel(3) for _ in range(3)]
    for one, following in itertools.pairwise(chain):
        one.receiver.credit.defer_to(following.sender)
    with pytest.raises(ValueError, match="cycle"):
        chain[2].receiver.credit.defer_to(chain[0].sender)

    def stage(one, following):
        with following.sender as sender, one.receiver as receiver:
            for item in receiver:
                sender.send(item)

    stages = [spawn(stage, one, following) for one, following in itertools.pairwise(chain)]
    source = spawn(feed, chain[0].sender, range(50))
    wait_until(lambda: all(one.statistics().waiting_senders == 1 for one in chain))
    assert chain[0].statistics().sent <= 3 + 3 + 3 + 2  # the windows, and one in the hands of each stage
    assert list(chain[2].receiver) == list(range(50))
    for one in [*stages, source]:
        one.result()


@pytest.mark.parametrize("how", ["cancels", "let go", "leaves"])
def test_C3_a_peer_that_goes_frees_the_sender(how):
    """Whatever it waits for, on a thread or a loop."""
    channel = CreditChannel(1)
    sender, receiver = channel.sender, channel.receiver
    del channel
    sender.send("x")

    def with_permit():
        with sender.permit():
            pass

    async def with_permit_async():
        async with sender.permit():
            pass

    with LoopThread() as running:
        waiting = [
            spawn(sender.send, 1),
            spawn(sender.send_many, [1, 2]),
            spawn(with_permit),
            spawn(sender.wait_ready),
            running.submit(sender.send_async(1)),
            running.submit(sender.send_many_async([1, 2])),
            running.submit(with_permit_async()),
            running.submit(sender.wait_ready_async()),
        ]
        wait_until(lambda: sender.statistics().waiting_senders == len(waiting))
        if how == "cancels":
            receiver.cancel()
        elif how == "leaves":
            with receiver:
                pass
        del receiver
        collect()
        assert [type(one.exception(PATIENCE)) for one in waiting] == [ChannelCancelled] * len(waiting)
    assert sender.statistics().waiting_senders == 0


# --------------------------------------------------------------------------------------------------------------------- HTTP/2


@ways
def test_H1_control_messages_need_no_credit(way):
    """With no credit at all they arrive, before any item, up to the capacity of their lane."""
    channel, messages = manual(control_capacity=3), []
    for n in range(3):
        channel.sender.send_control(n)
    with pytest.raises(Full):
        channel.sender.send_control("too many")
    channel.receiver.credit.on_control = messages.append
    with consuming(way, channel) as consumer:
        wait_until(lambda: messages == [0, 1, 2])
        channel.sender.send_control("while it waits")
        wait_until(lambda: messages[3:] == ["while it waits"])
        assert channel.sender.credit == 0
        channel.receiver.credit.request(1)
        channel.sender.send("x")
        wait_until(lambda: consumer.items == ["x"])
    seen = channel.statistics()
    assert (seen.sent, seen.sent_weight) == (1, 1)


def test_H1_control_overtakes_items():
    """The window is full, a sender waits: the message comes before everything that was sent."""
    channel, log = CreditChannel(2), []
    channel.receiver.credit.on_control = log.append
    channel.sender.send_many("ab")
    channel.sender.send_control("!")
    log += channel.receiver.receive_many(2)
    assert log == ["!", "a", "b"]


def test_H1_a_cycle_of_full_windows_passes_control():
    """Two that send to each other and do not receive: no item can go, and yet a message does."""
    there, back, messages = CreditChannel(1), CreditChannel(1), []
    for one in (there, back):
        one.receiver.credit.on_control = messages.append
        one.sender.send("x")
        with pytest.raises(Full):
            one.sender.send_nowait("y")
        one.sender.send_control("let go")
        assert one.receiver.receive() == "x"
    assert messages == ["let go", "let go"]


@pytest.mark.parametrize("kind", [CreditChannel, AckChannel])
def test_H3_an_item_heavier_than_the_window(kind):
    """Is refused at once, though nothing is in the way: it could never go. One that just fits goes."""
    channel = kind(10, weigh=len)
    for send in (channel.sender.send, channel.sender.send_nowait, lambda item: channel.sender.send_many([item])):
        with pytest.raises(ValueError, match="10"):
            send(b"x" * 11)
    with LoopThread() as running, pytest.raises(ValueError, match="10"):
        running.run(channel.sender.send_async(b"x" * 11))
    with pytest.raises(ValueError, match="10"):
        channel.sender.wait_ready(11)
    with pytest.raises(ValueError, match="10"), channel.sender.permit(11):
        pass
    assert channel.statistics().sent == 0
    assert channel.sender.credit == 10
    channel.sender.send(b"x" * 10)
    assert channel.statistics().outstanding == 10


def test_H3_a_heavy_item_that_waits_moves():
    """A window of 100, 40 consumed, an item of 80 waits: all that is consumed is given back, whatever the threshold says."""
    channel = CreditChannel(100, weigh=int, threshold=1.0)
    channel.sender.send_many([40, 20])
    waiting = spawn(channel.sender.send, 80)
    wait_until(lambda: channel.statistics().waiting_senders == 1)
    assert channel.receiver.receive() == 40
    assert channel.statistics().sent == 2
    assert channel.receiver.receive() == 20
    waiting.result()
    assert channel.statistics().peak_outstanding <= 100


def test_H3_the_bound_is_in_units_of_weight():
    """No mixture of weights gets beyond it; bad weights are refused before anything has happened."""
    channel: CreditChannel[Any] = CreditChannel(50, weigh=itself)
    for weight in (-1, 1.5, float("nan"), INF, -INF, 2**70):
        with pytest.raises((ValueError, OverflowError)):
            channel.sender.send(weight)
    for weight in ("1", None, True):
        with pytest.raises(TypeError):
            channel.sender.send(weight)
    assert channel.statistics().sent == 0
    chance, inside = random.Random(1), 0
    for _ in range(500):
        weight = chance.choice((0, 1, 7, 20, 50))
        try:
            channel.sender.send_nowait(weight)
            inside += weight
        except Full:
            inside -= channel.receiver.receive()
        assert channel.statistics().outstanding == inside <= 50


def test_H3_no_weight_takes_a_slot():
    """Items of weight 0 need no credit, but there are no more of them than the window says."""
    channel = CreditChannel(3, weigh=itself)
    for _ in range(3):
        channel.sender.send_nowait(0)
    with pytest.raises(Full):
        channel.sender.send_nowait(0)
    assert channel.sender.credit == 3
    assert channel.receiver.receive() == 0
    channel.sender.send_nowait(0)


# ------------------------------------------------------------------------------------------------------------------ JetStream


@pytest.mark.parametrize("way", [*WAYS, "receive", "receive_many"])
def test_J1_five_out_the_sixth_after_an_ack(way):
    """A window of five: five deliveries are out; one ack, and exactly one more is."""
    channel, out = AckChannel(5), []

    def more():
        if way in WAYS:
            return consumer.rest()
        wait_until(lambda: channel.statistics().waiting_senders == 1)
        while channel.statistics().buffered:
            out.extend([channel.receiver.receive()] if way == "receive" else channel.receiver.receive_many(100))
            wait_until(lambda: channel.statistics().waiting_senders == 1)
        with pytest.raises(Empty):
            channel.receiver.receive_nowait()
        return out

    receiving: Any = consuming(way, channel) if way in WAYS else contextlib.nullcontext()
    with feeding(channel, range(50)), receiving as consumer:
        for n in range(20):
            deliveries = more()
            assert [delivery.value for delivery in deliveries] == list(range(5 + n))
            assert channel.statistics().unacked == 5
            deliveries[n].ack()
            wait_until(lambda n=n: channel.statistics().sent == 6 + n)
    assert channel.statistics().peak_outstanding == 5


@ways
def test_J2_what_is_not_acked_comes_back(way):
    """After `ack_wait`, with one attempt more, at the head; after `max_deliver` attempts it is given up, and settled."""
    clock, poison = ManualClock(), []
    channel = AckChannel(4, ack_wait=10, max_deliver=3, clock=clock, on_discard=items_into(poison))
    with consuming(way, channel) as consumer:
        channel.sender.send("slow")
        wait_until(lambda: len(consumer.items) == 1)
        for attempt in (2, 3):
            wait_until(lambda: channel.statistics().waiting_receivers == 1)
            clock.advance(9.5)
            assert channel.statistics().unacked == 1
            clock.advance(0.5)
            wait_until(lambda attempt=attempt: len(consumer.items) == attempt)
        assert [(delivery.value, delivery.attempt, delivery.sequence) for delivery in consumer.items] == [
            ("slow", 1, 0),
            ("slow", 2, 0),
            ("slow", 3, 0),
        ]
        assert poison == []
        assert channel.receiver.settled_through == 0
        wait_until(lambda: channel.statistics().waiting_receivers == 1)
        clock.advance(10)
        wait_until(lambda: poison == ["slow"])
        seen = channel.statistics()
        assert (seen.redelivered, seen.discarded, seen.unacked, seen.outstanding) == (2, 1, 0, 0)
        assert channel.receiver.settled_through == 1
        assert channel.sender.credit == 4


def test_J2_a_late_ack_is_refused():
    """Settling a delivery whose item has been delivered again raises an error, is counted, and changes nothing."""
    clock = ManualClock()
    channel = AckChannel(4, ack_wait=10, clock=clock)
    channel.sender.send("x")
    first = channel.receiver.receive()
    clock.advance(10)
    second = channel.receiver.receive()
    with pytest.raises(StaleDelivery):
        first.ack()
    with pytest.raises(StaleDelivery):
        first.nack()  # it is no more of a success the second time
    assert channel.statistics().stale == 1
    assert channel.statistics().unacked == 1
    second.ack()
    second.ack()
    assert channel.statistics().stale == 1
    assert channel.statistics().redelivered == 1
    assert channel.receiver.settled_through == 1


@pytest.mark.parametrize("how", ["nack", "let go", "raise", "nack without requeue"])
def test_J2_what_is_nacked_comes_back_at_the_head(how):
    channel, given_up = AckChannel(4, max_deliver=2, on_discard=items_into(discarded := [])), how == "nack without requeue"
    channel.sender.send_many("abc")
    delivery = channel.receiver.receive()
    if how == "raise":
        with contextlib.suppress(Stop), delivery:
            raise Stop
    elif how != "let go":
        delivery.nack(requeue=not given_up)
    del delivery
    collect()
    again = channel.receiver.receive()
    assert (again.value, again.attempt) == (("b", 1) if given_up else ("a", 2))
    again.nack()
    assert discarded == ["a"]
    last = channel.receiver.receive()
    assert (last.value, last.attempt) == (("b", 2) if given_up else ("b", 1))


@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt])
def test_J2_being_stopped_is_no_attempt(error):
    channel = AckChannel(4, max_deliver=1)
    channel.sender.send("x")
    for _ in range(5):
        with contextlib.suppress(error), channel.receiver.receive() as delivery:
            assert delivery.attempt == 1
            raise error
    with channel.receiver.receive():
        pass
    assert channel.receiver.settled_through == 1


@pushes
@pytest.mark.parametrize("outcome", ["ack", "nack"])
def test_J2_deliveries_handed_on_by_a_subscriber(way, outcome):
    """Others settle them, after the sender has completed: the subscriber waits for that, and then gets the end, and not an error."""
    channel, handed_on = AckChannel(4), []
    with consuming(way, channel, lambda _, delivery: handed_on.append(delivery)) as consumer:
        channel.sender.send_many(range(3))
        channel.sender.complete()
        wait_until(lambda: len(handed_on) == 3)
        wait_until(lambda: channel.statistics().waiting_receivers == 1)
        for delivery in handed_on[:3]:
            delivery.ack() if outcome == "ack" else delivery.nack()
        if outcome == "nack":
            wait_until(lambda: len(handed_on) == 6)
            assert sorted(delivery.value for delivery in handed_on[3:]) == [0, 1, 2]
            for delivery in handed_on[3:]:
                delivery.ack()
        assert consumer.over() == ["complete"]


def test_J2_nobody_waits_for_itself():
    """A receiver that has not settled what it received gets an error at the end; another one waits, though its thread came later."""
    channel, held = AckChannel(4), []
    channel.sender.send_many("ab")
    for _ in range(2):
        spawn(lambda: held.append(channel.receiver.receive())).result()
    channel.sender.complete()
    for _ in range(5):  # each thread may well be at the address of one that has gone
        assert isinstance(spawn(channel.receiver.receive, 0.0).exception(), Empty)
    held.pop(0).nack()
    held.pop(0).nack()
    mine = [channel.receiver.receive() for _ in range(2)]
    with pytest.raises(ChannelError, match="itself"):
        channel.receiver.receive()
    for delivery in mine:
        delivery.ack()
    with pytest.raises(ChannelClosed):
        channel.receiver.receive()


def test_J2_a_delay_before_it_comes_back():
    clock = ManualClock()
    channel = AckChannel(4, clock=clock)
    with channel.sender as sender:
        sender.send_many("ab")
    channel.receiver.receive().nack(delay=5)
    held = channel.receiver.receive()
    assert held.value == "b"
    waiting: Any = spawn(channel.receiver.receive)
    wait_until(lambda: channel.statistics().waiting_receivers == 1)
    clock.advance(4.5)
    assert channel.statistics().buffered == 1
    clock.advance(0.5)
    assert waiting.result().value == "a"


# ---------------------------------------------------------------------------------------------------------------------- RSocket


def test_L1_a_lease_runs_out():
    """What is not used by then is void."""
    clock = ManualClock()
    channel = manual(buffer=100, clock=clock)
    assert channel.receiver.credit.lease(5, 10) is True
    channel.sender.send_many("ab")
    clock.advance(9.5)
    assert channel.sender.credit == 3
    clock.advance(0.5)
    assert channel.sender.credit == 0
    with pytest.raises(Full):
        channel.sender.send_nowait("c")
    seen = channel.statistics()
    assert (seen.granted, seen.sent, seen.voided) == (5, 2, 3)


def test_L1_a_new_lease_replaces():
    """It is not added to the old one; credit that was asked for is, and it stays."""
    clock = ManualClock()
    channel = manual(buffer=100, clock=clock)
    credit = channel.receiver.credit
    credit.lease(5, 10)
    credit.lease(3, 20)
    assert channel.sender.credit == 3
    credit.request(2)
    assert channel.sender.credit == 5
    clock.advance(10)
    assert channel.sender.credit == 5  # the first would have ended here
    clock.advance(10)
    assert channel.sender.credit == 2


@pytest.mark.parametrize("kind", ["thread", "task"])
def test_L1_a_sender_that_waits_uses_a_lease(kind):
    """As much as it says, and in time; the other senders go on waiting."""
    clock = ManualClock()
    channel = manual(buffer=100, clock=clock)
    with LoopThread() as running:
        send = (lambda: spawn(channel.sender.send, 1)) if kind == "thread" else (lambda: running.submit(channel.sender.send_async(1)))
        waiting = [send() for _ in range(5)]
        wait_until(lambda: channel.statistics().waiting_senders == 5)
        channel.receiver.credit.lease(2, 1)
        wait_until(lambda: channel.statistics().waiting_senders == 3)
        clock.advance(1)
        assert channel.statistics().sent == 2
        channel.receiver.credit.lease(3, 1)
        for one in waiting:
            one.result(PATIENCE)
    assert channel.statistics().voided == 0


def test_L1_no_lease_while_grants_are_held():
    """Its time would run while nobody may use it: it is not taken, and says so."""
    channel = manual(buffer=100, clock=ManualClock())
    credit = channel.receiver.credit
    credit.pause()
    assert credit.lease(5, 10) is False
    assert credit.request(2) is True
    assert channel.sender.credit == 0
    credit.resume()
    assert channel.sender.credit == 2


# ---------------------------------------------------------------------------------------------------------------------- sluicegate


def ways_to_send(channel):
    """Each operation that may wait for one unit of credit, as a coroutine function."""
    sender = channel.sender

    async def permit():
        async with sender.permit() as permit:
            await asyncio.Event().wait()  # holds it until it is cancelled
            permit.send("never")

    return {
        "send": lambda: sender.send_async("x"),
        "send_many": lambda: sender.send_many_async(["x", "y", "z"]),
        "send_many, an iterator": lambda: sender.send_many_async(iter(["x", "y", "z"])),
        "permit": permit,
        "wait_ready": lambda: sender.wait_ready_async(1),
    }


@pytest.mark.parametrize("operation", ["send", "send_many", "send_many, an iterator", "permit", "wait_ready"])
@pytest.mark.parametrize("turns", range(4))
@on_loops
async def test_P1_a_cancelled_task_gives_its_credit_back(operation, turns):
    """Cancelled while it waits, when it has been woken, a turn later, and so on: what it had not used is there for the next."""
    channel = manual(buffer=100)
    task = asyncio.ensure_future(ways_to_send(channel)[operation]())
    await settle(2)
    following = asyncio.ensure_future(channel.sender.send_async("next"))
    await settle(2)
    assert channel.statistics().waiting_senders == 2
    if turns:
        channel.receiver.credit.request(1)
    for _ in range(turns - 1):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await settle()
    sent = channel.statistics().sent - following.done()
    assert sent in ((0,) if operation in ("permit", "wait_ready") else (0, 1))
    if turns == 0:
        assert sent == 0
        channel.receiver.credit.request(1)
    if sent:  # it had happened before
        assert not following.done()
        channel.receiver.credit.request(1)
    await asyncio.wait_for(following, PATIENCE)
    seen = channel.statistics()
    assert (seen.credit, seen.permits, seen.waiting_senders) == (0, 0, 0)
    assert seen.granted == seen.sent == 1 + sent


@on_loops
async def test_P1_a_cancelled_batch_says_how_far_it_came():
    """`accepted` of the cancellation: what was sent is sent, the rest is not, and no credit is kept."""
    channel = manual(buffer=100)
    channel.receiver.credit.request(3)
    for items in (range(10), iter(range(10))):
        sent = channel.statistics().sent
        caught = []

        async def send(items=items, caught=caught):
            try:
                await channel.sender.send_many_async(items)
            except asyncio.CancelledError as error:
                caught.append(getattr(error, "accepted", None))
                raise

        task = asyncio.ensure_future(send())
        await settle()
        task.cancel()
        await asyncio.wait([task])
        assert caught == [channel.statistics().sent - sent] == [3]
        assert channel.sender.credit == 0
        channel.receiver.credit.request(3)
    assert channel.sender.credit == 3


@pytest.mark.parametrize("operation", ["send", "send_many", "permit", "wait_ready"])
def test_P2_a_thread_whose_time_is_over_gives_its_credit_back(operation):
    """Nothing is sent, nothing is held: a grant that comes later is there as a whole."""
    clock = ManualClock()
    channel = manual(buffer=100, clock=clock)
    sender = channel.sender

    def permit():
        with sender.permit(timeout=5):
            pytest.fail("there was no credit")

    waiting = spawn(
        {
            "send": lambda: sender.send("x", timeout=5),
            "send_many": lambda: sender.send_many(["x", "y"], timeout=5),
            "permit": permit,
            "wait_ready": lambda: sender.wait_ready(timeout=5),
        }[operation]
    )
    wait_until(lambda: channel.statistics().waiting_senders == 1)
    clock.advance(5)
    assert isinstance(waiting.exception(), Full)
    seen = channel.statistics()
    assert (seen.waiting_senders, seen.sent, seen.permits) == (0, 0, 0)
    channel.receiver.credit.request(2)
    assert sender.credit == 2


@pytest.mark.thread_unsafe(reason="a storm of threads already")
def test_P2_a_time_that_ends_as_credit_comes():
    """Again and again both at once: it was sent, or the credit is still there."""
    for _ in range(200):
        clock = ManualClock()
        channel = manual(buffer=100, clock=clock)
        waiting = spawn(channel.sender.send, "x", 5)
        wait_until(lambda channel=channel: channel.statistics().waiting_senders == 1)
        racing = [spawn(clock.advance, 5), spawn(channel.receiver.credit.request, 1)]
        error = waiting.exception()
        for one in racing:
            one.result()
        assert error is None or isinstance(error, Full)
        seen = channel.statistics()
        assert (seen.sent, seen.credit) == ((1, 0) if error is None else (0, 1))


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_P2_a_thread_that_is_interrupted_gives_its_credit_back():
    """By an exception from a signal handler."""
    told = run_script(
        f"""
        import os, signal, threading, time
        from sluicegate import CreditChannel

        channel = CreditChannel(0, buffer=10)
        class Interrupted(Exception): pass
        def handler(*_): raise Interrupted
        signal.signal({int(signal.SIGTERM)}, handler)

        def shoot():
            while not channel.statistics().waiting_senders:
                time.sleep(0.001)
            os.kill(os.getpid(), {int(signal.SIGTERM)})

        permit = channel.sender.permit(1)
        for call in (lambda: channel.sender.send("x"), lambda: channel.sender.send_many("xy"), permit.__enter__):
            threading.Thread(target=shoot).start()
            try:
                call()
            except Interrupted:
                seen = channel.statistics()
                print(seen.waiting_senders, seen.sent, seen.permits)
        channel.receiver.credit.request(2)
        print(channel.sender.credit)
        channel.sender.complete()
        """
    )
    assert told == "0 0 0\n" * 3 + "2\n"


@pytest.mark.thread_unsafe(reason="a storm of threads already")
@pytest.mark.parametrize("ending", ["complete", "cancel"])
@pytest.mark.parametrize("kind", [CreditChannel, AckChannel])
def test_P3_four_threads_and_four_tasks(kind, ending):
    """Items are conserved: what was sent has been received, is buffered, or was discarded; and nothing twice."""
    discarded, taken = [], []
    channel, total = kind(16, on_discard=items_into(discarded)), max(200, STORM_ITEMS // 400)
    sent, chance = [], random.Random(7)

    def settled(item):
        if isinstance(item, Delivery):
            if random.random() < 0.2:
                item.nack()
                return
            item.ack()
            item = item.value
        taken.append(item)

    def check():
        seen = channel.statistics()
        if seen.state != "cancelled":
            assert seen.sent + seen.redelivered == seen.received + seen.buffered
        elif kind is CreditChannel:
            assert seen.sent == seen.received + seen.buffered + seen.discarded
        assert seen.outstanding <= 16
        assert seen.credit + seen.permits + seen.outstanding + seen.owed <= 16

    def send(own, number):
        with own, contextlib.suppress(ChannelCancelled):
            for n in range(total):
                own.send((number, n))
                sent.append((number, n))

    async def send_async(own, number):
        with own, contextlib.suppress(ChannelCancelled):
            for n in range(total):
                if n % 10 == 3:
                    async with own.permit(2) as permit:
                        permit.send((number, n))
                else:
                    await own.send_async((number, n))
                sent.append((number, n))

    def receive():
        with contextlib.suppress(ChannelClosed, ChannelCancelled):
            while True:
                settled(channel.receiver.receive())
                check()

    async def receive_async():
        with contextlib.suppress(ChannelClosed, ChannelCancelled):
            while True:
                settled(await channel.receiver.receive_async())

    ends = [channel.sender.clone() for _ in range(4)]
    channel.sender.complete()
    with LoopThread() as running:
        work = [spawn(send, ends[n], n) for n in (0, 1)] + [running.submit(send_async(ends[n], n)) for n in (2, 3)]
        work += [spawn(receive), spawn(receive), running.submit(receive_async()), running.submit(receive_async())]
        if ending == "cancel":
            at = chance.randint(total, 2 * total)
            wait_until(lambda: channel.statistics().sent >= at)
            channel.receiver.cancel()
        for one in work:
            one.result(PATIENCE)
    seen = channel.statistics()
    assert waits(channel) == 0
    assert seen.buffered == seen.unacked == seen.outstanding == seen.permits == 0
    everything = taken + discarded
    assert len(set(everything)) == len(everything)
    if ending == "complete":
        assert sorted(everything) == sorted(sent)
        assert len(sent) == 4 * total
    elif kind is CreditChannel:
        assert seen.sent == seen.received + seen.discarded == len(everything)
