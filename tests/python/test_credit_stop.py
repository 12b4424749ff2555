"""A receiver that stops for good while deliveries are out; lanes; what is given up, and why; `retry`, `extend` and `on_settled`."""

from __future__ import annotations

import asyncio
import threading
import weakref

import pytest
from channels import KINDS, NAN, NANOSECOND, holds, in_line, tasks_in_line, waiting
from helpers import collect, settle, spawn, wait_until

from sluicegate import AckChannel, ChannelCancelled, CreditChannel, Empty, Full, StaleDelivery
from sluicegate.testing import ManualClock


class Boom(Exception):
    pass


def give(*items, window=20, **options):
    """A channel with these items in it."""
    channel = AckChannel(window, **options)
    channel.sender.send_many(items)
    return channel


def receive(channel):
    return channel.receiver.receive_nowait()


def kept(discarded=None, told=None):
    """`on_discard` and `on_settled` that record their arguments."""
    options = {}
    if discarded is not None:
        options["on_discard"] = lambda *args: discarded.append(args)
    if told is not None:
        options["on_settled"] = lambda *args: told.append(args)
    return options


def stopping(channel, *args, **options):
    """A thread that waits in `stop`."""
    worker = spawn(lambda: channel.receiver.stop(*args, **options))
    wait_until(lambda: channel.statistics().state == "stopping")
    return worker


# ----------------------------------------------------------------------------------------------------------------- all of it


def test_a_stop_waits_for_what_is_out():
    """Work in progress counts; what is buffered does not, and is given up at once."""
    discarded = []
    channel = give(*"abcdef", **kept(discarded))
    out = [receive(channel) for _ in range(3)]
    worker = stopping(channel)
    wait_until(lambda: discarded == [(item, "cancelled", None) for item in "def"])  # reported outside the channel's section
    seen = channel.statistics()
    assert (seen.state, seen.buffered, seen.unacked, seen.outstanding, seen.credit) == ("stopping", 0, 3, 3, 0)
    assert "stopping" in repr(channel)
    assert channel.receiver.ended
    for call in (lambda: channel.sender.send_nowait("g"), lambda: receive(channel)):
        with pytest.raises(ChannelCancelled):
            call()
    out[1].ack()
    out[0].ack()
    assert worker.is_alive()
    assert channel.receiver.settled_through == 2
    out[2].ack()
    assert worker.result() == 3
    seen = channel.statistics()
    assert (seen.state, seen.unacked, seen.outstanding, seen.discarded) == ("cancelled", 0, 0, 3)


def test_nothing_is_settled_by_being_given_up():
    """One that is in front, and comes back while the receiver stops, holds the number where it is."""
    discarded = []
    channel = give(*"abc", **kept(discarded))
    first, second, third = (receive(channel) for _ in range(3))
    worker = stopping(channel)
    third.ack()
    first.nack()
    second.ack()
    assert worker.result() == 0
    assert discarded == [("a", "cancelled", None)]
    assert channel.receiver.settled_through == 0


def test_poison_and_rejected_items_are_settled_while_it_stops():
    discarded = []
    channel = give(*"abc", max_deliver=1, **kept(discarded))
    first, second, third = (receive(channel) for _ in range(3))
    worker = stopping(channel)
    error = Boom()
    first.nack(error=error)
    second.nack(requeue=False)
    third.ack()
    assert worker.result() == 3
    assert discarded == [("a", "poison", error), ("b", "rejected", None)]


def test_a_stop_with_a_timeout():
    """Afterwards the number is final: settling later raises an error and does not count."""
    clock = ManualClock()
    channel = give(*"abc", clock=clock)
    first, second = receive(channel), receive(channel)
    first.ack()
    worker = spawn(lambda: channel.receiver.stop(5))
    clock.wait_for_waiters(1)
    clock.advance(5 - NANOSECOND)
    assert worker.is_alive()
    clock.advance(NANOSECOND)
    assert worker.result() == 1
    for settle_late in (second.ack, second.nack, second.ack, lambda: second.extend(1)):
        with pytest.raises(StaleDelivery):
            settle_late()
    seen = channel.statistics()
    assert (seen.state, seen.unacked, seen.outstanding, seen.stale) == ("cancelled", 0, 0, 1)
    assert channel.receiver.settled_through == 1


def test_a_stop_that_does_not_wait():
    channel = give(*"ab")
    delivery = receive(channel)
    assert channel.receiver.stop(timeout=0) == 0
    with pytest.raises(StaleDelivery):
        delivery.ack()


def test_settling_after_a_cancel_is_still_of_no_effect():
    channel = give(*"ab")
    delivery = receive(channel)
    channel.receiver.cancel()
    delivery.ack()
    delivery.extend(5)
    assert channel.receiver.settled_through == 0
    assert channel.receiver.stop() == 0


def test_ack_wait_ends_a_stop():
    """What is not settled in time is out no more, and comes back to nobody."""
    clock, discarded = ManualClock(), []
    channel = give(*"ab", ack_wait=5, clock=clock, **kept(discarded))
    delivery = receive(channel)
    worker = spawn(lambda: channel.receiver.stop())
    clock.wait_for_waiters(1)
    clock.advance(5)
    assert worker.result() == 0
    assert discarded == [("b", "cancelled", None), ("a", "cancelled", None)]
    with pytest.raises(StaleDelivery):
        delivery.ack()


def test_a_stop_tells_those_who_wait():
    """Senders and receivers, at once; a deferral ends."""
    channel, up = give(*"a", window=1), CreditChannel(1)
    up.receiver.credit.defer_to(channel.sender)
    delivery = receive(channel)
    (sender,) = in_line(channel, lambda: channel.sender.send("b"))
    (receiver,) = in_line(channel, lambda: channel.receiver.receive())
    worker = stopping(channel)
    for waiter in (sender, receiver):
        with pytest.raises(ChannelCancelled):
            waiter.result()
    assert not up.statistics().grants_held
    delivery.ack()
    assert worker.result() == 1


def test_several_stop_at_once():
    """All of them wait for the same, and the first whose time is over ends it for all."""
    clock = ManualClock()
    channel = give(*"ab", clock=clock)
    out = [receive(channel), receive(channel)]
    workers = [spawn(lambda: channel.receiver.stop()) for _ in range(2)]
    clock.wait_for_waiters(2)
    out[0].ack()
    assert channel.receiver.stop(timeout=0) == 1
    assert [worker.result() for worker in workers] == [1, 1]
    with pytest.raises(StaleDelivery):
        out[1].ack()
    assert channel.receiver.stop() == 1


def test_a_cancel_ends_a_stop():
    channel = give(*"ab")
    delivery = receive(channel)
    worker = stopping(channel)
    channel.receiver.cancel()
    assert worker.result() == 0
    assert channel.statistics().state == "cancelled"
    del delivery
    collect()
    assert channel.statistics().unacked == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_with_nothing_out(kind):
    """Returns at once; on a channel without deliveries it is always so."""
    discarded = []
    channel = KINDS[kind](8, **kept(discarded))
    channel.sender.send_many("abc")
    if kind == "CreditChannel":
        channel.receiver.receive()
        assert channel.receiver.stop() == 1
    else:
        receive(channel).ack()
        assert channel.receiver.stop() == 1
    assert discarded == [("b", "cancelled", None), ("c", "cancelled", None)]
    assert channel.statistics().state == "cancelled"
    assert channel.receiver.stop() == 1


def test_a_stop_of_a_channel_that_is_complete():
    """While deliveries are out it waits for them; once it has ended there is nothing to stop."""
    channel = give(*"ab")
    out = [receive(channel), receive(channel)]
    channel.sender.complete()
    worker = stopping(channel)
    for delivery in out:
        delivery.ack()
    assert worker.result() == 2
    channel = give()
    channel.sender.complete()
    assert channel.receiver.stop() == 0
    assert channel.statistics().state == "completed"


def test_a_subscriber_is_stopped():
    """It handles the one it has, and is called no more: not for an end either."""
    channel, seen, begun, go_on = AckChannel(8), [], threading.Event(), threading.Event()

    def on_next(delivery):
        begun.set()
        assert go_on.wait(20)
        seen.append(delivery.value)
        delivery.ack()

    ends = []
    subscription = channel.receiver.subscribe(on_next, on_error=ends.append, on_complete=lambda: ends.append("complete"))
    channel.sender.send_many("abc")
    assert begun.wait(20)
    worker = stopping(channel)
    go_on.set()
    assert worker.result() == 1
    subscription.join(20)
    assert (seen, ends) == (["a"], [])


def test_a_stop_from_a_coroutine():
    """It waits in the wait queue like any other waiter; if it is cancelled, the stop goes on, and can be waited for again."""

    async def main():
        channel = give(*"abc")
        out = [receive(channel), receive(channel)]
        (task,) = await tasks_in_line(channel.receiver.stop_async())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert channel.statistics().state == "stopping"
        out[0].ack()
        (task,) = await tasks_in_line(channel.receiver.stop_async())
        out[1].ack()
        assert await task == 2
        channel = give(*"abc", lane=str.upper)
        receive(channel)
        assert await channel.receiver.stop_async(0.001, lanes=["A"]) == {"A": 0}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"timeout": -1}, ValueError),
        ({"timeout": NAN}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"timeout": 10**400}, OverflowError),
        ({"lanes": [1]}, TypeError),
        ({"lanes": []}, TypeError),
    ],
)
def test_bad_arguments_of_stop(arguments, error):
    """Refused, and nothing has been stopped."""
    channel = give("a")
    with pytest.raises(error, match=next(iter(arguments))):
        channel.receiver.stop(**arguments)
    assert channel.statistics().state == "open"
    receive(channel).ack()


@pytest.mark.parametrize("lanes", ["ab", b"ab", 1, [[]], [object, {}]])
def test_bad_lanes(lanes):
    channel = give("a", lane=str)
    with pytest.raises(TypeError):
        channel.receiver.stop(lanes=lanes)
    receive(channel).ack()
    assert channel.receiver.settled_lanes == {"a": 1}


# --------------------------------------------------------------------------------------------------------------------- lanes


def partitioned(*items, **options):
    """Items are (lane, n)."""
    return give(*items, lane=lambda item: item[0], **options)


def test_lanes_are_counted_by_themselves():
    told = []
    channel = partitioned((1, "a"), (2, "b"), (1, "c"), (2, "d"), **kept(told=told))
    out = [receive(channel) for _ in range(4)]
    assert [(delivery.value, delivery.lane, delivery.sequence) for delivery in out] == [
        ((1, "a"), 1, 0),
        ((2, "b"), 2, 0),
        ((1, "c"), 1, 1),
        ((2, "d"), 2, 1),
    ]
    assert repr(out[2]) == "<sluicegate.Delivery (1, 'c') lane=1 sequence=1 attempt=1>"
    out[2].ack()
    assert told == []
    out[1].ack()
    out[0].ack()
    assert told == [(2, 1), (1, 2)]
    assert channel.receiver.settled_lanes == {1: 2, 2: 1}
    assert channel.receiver.settled_through == 3
    out[3].ack()
    assert told[2:] == [(2, 2)]


def test_without_lanes():
    channel = give("a")
    delivery = receive(channel)
    assert delivery.lane is None
    assert channel.receiver.settled_lanes == {}
    delivery.ack()


def test_a_lane_is_stopped():
    """The others go on meanwhile; of this one nothing more is handed out, whatever comes."""
    discarded, told = [], []
    channel = partitioned((1, "a"), (2, "b"), (1, "c"), (2, "d"), **kept(discarded, told))
    one, two = receive(channel), receive(channel)
    worker = spawn(lambda: channel.receiver.stop(lanes=[1]))
    wait_until(lambda: discarded == [((1, "c"), "cancelled", None)])
    channel.sender.send((1, "e"))
    channel.sender.send((2, "f"))
    others = [receive(channel), receive(channel)]
    assert [delivery.value for delivery in others] == [(2, "d"), (2, "f")]
    assert discarded[1:] == [((1, "e"), "cancelled", None)]
    assert channel.statistics().state == "open"
    two.ack()
    assert worker.is_alive()
    one.ack()
    assert worker.result() == {1: 1}
    assert (1, 1) in told
    assert holds(channel).outstanding == channel.statistics().buffered + channel.statistics().unacked


def test_a_lane_begins_anew():
    """It counts from 0 again, and what was out when it was given up has nothing to do with that."""
    told = []
    channel = partitioned((1, "a"), (1, "b"), (2, "c"), **kept(told=told))
    old = receive(channel)
    assert channel.receiver.stop(timeout=0, lanes=[1, 3]) == {1: 0, 3: 0}
    channel.sender.send_many([(1, "x"), (1, "y")])
    other, new, next_one = (receive(channel) for _ in range(3))
    assert [(delivery.value, delivery.sequence) for delivery in (other, new, next_one)] == [((2, "c"), 0), ((1, "x"), 0), ((1, "y"), 1)]
    with pytest.raises(StaleDelivery):
        old.ack()
    assert told == []
    new.ack()
    assert told == [(1, 1)]
    assert channel.receiver.stop(timeout=0, lanes={1}) == {1: 1}
    other.ack()
    with pytest.raises(StaleDelivery):
        next_one.nack()


def test_what_comes_back_of_a_lane_that_stops():
    discarded = []
    channel = partitioned((1, "a"), (1, "b"), (2, "c"), (1, "d"), **kept(discarded))
    one, two, three = (receive(channel) for _ in range(3))
    worker = spawn(lambda: channel.receiver.stop(lanes=[1]))
    wait_until(lambda: discarded)
    one.nack()
    three.nack()
    two.ack()
    assert worker.result() == {1: 0}
    assert discarded == [((1, "d"), "cancelled", None), ((1, "a"), "cancelled", None)]
    assert receive(channel).value == (2, "c")


def test_credit_of_a_lane_that_is_stopped():
    """A sender that waits for credit gets that of the items that are given up."""
    channel = partitioned((1, "a"), (1, "b"), window=2)
    (sender,) = in_line(channel, lambda: channel.sender.send((2, "c")))
    assert channel.receiver.stop(lanes=[1]) == {1: 0}
    sender.result()
    assert receive(channel).value == (2, "c")


def test_a_receiver_is_not_given_what_has_been_stopped():
    """One that waits goes on waiting, for another lane."""
    channel = partitioned((1, "a"))
    delivery = receive(channel)
    (worker,) = in_line(channel, lambda: channel.receiver.receive())
    stopper = spawn(lambda: channel.receiver.stop(lanes=[1]))
    channel.sender.send((2, "b"))
    assert worker.result().value == (2, "b")
    delivery.ack()
    assert stopper.result() == {1: 1}


def test_lanes_go_with_everything_that_sends():
    """One by one, in batches, out of iterators, with permits, from coroutines."""

    async def send(channel):
        await channel.sender.send_async((5, 0))
        await channel.sender.send_many_async([(6, 0)])

    channel = partitioned((1, 0))
    channel.sender.send_nowait((2, 0))
    channel.sender.send_many(iter([(3, 0)]))
    with channel.sender.permit(1) as permit:
        permit.send((4, 0))
    asyncio.run(send(channel))
    assert [(delivery.value, delivery.lane) for delivery in channel.receiver.receive_many(10)] == [((n, 0), n) for n in range(1, 7)]


@pytest.mark.parametrize("bad", [lambda item: [], lambda item: 1 / 0])
def test_a_lane_that_cannot_be_told(bad):
    """The item is not sent; of a batch nothing is, and the error says so."""
    channel = AckChannel(8, lane=bad)
    with pytest.raises((TypeError, ZeroDivisionError)):
        channel.sender.send("a")
    with pytest.raises((TypeError, ZeroDivisionError)) as caught:
        channel.sender.send_many(["a", "b"])
    assert caught.value.accepted == 0
    with pytest.raises((TypeError, ZeroDivisionError)) as caught:
        channel.sender.send_many(iter(["a", "b"]))
    assert caught.value.accepted == 0
    assert holds(channel).sent == 0


def test_pending_is_the_item_itself():
    channel = AckChannel(3, lane=lambda item: 0, weigh=lambda item: item)
    with pytest.raises(Full) as caught:
        channel.sender.send_many(iter([1, 3]), timeout=0)
    assert (caught.value.accepted, caught.value.pending) == (1, 3)


# ------------------------------------------------------------------------------------------------------------- discards, retry


@pytest.mark.parametrize("kind", KINDS)
def test_why_items_are_discarded(kind):
    discarded = []
    channel = KINDS[kind](8, **kept(discarded))
    channel.sender.send_many("ab")
    channel.receiver.cancel()
    assert discarded == [("a", "cancelled", None), ("b", "cancelled", None)]


def test_the_error_of_a_poisonous_item():
    """The last one; without a block there is none."""
    clock, discarded = ManualClock(), []
    channel = give(*"abc", max_deliver=2, ack_wait=5, clock=clock, **kept(discarded))
    errors = [Boom(1), Boom(2)]
    for error in errors:
        with pytest.raises(Boom), receive(channel):
            raise error
    receive(channel).nack(requeue=False, error=errors[0])
    for _ in range(2):
        late = receive(channel)
        clock.advance(5)
    assert channel.statistics().buffered == 0
    assert discarded == [("a", "poison", errors[1]), ("b", "rejected", errors[0]), ("c", "poison", None)]
    del late


@pytest.mark.parametrize("bad", ["no", 1, Boom])
def test_a_bad_error(bad):
    channel = give("a")
    delivery = receive(channel)
    with pytest.raises(TypeError, match=r"^'error' must be an exception or None"):
        delivery.nack(error=bad)
    delivery.ack()


@pytest.mark.parametrize("retry", [3, 3.0, lambda attempt: 3])
def test_retry(retry):
    """How long it stays away; an explicit delay comes first."""
    clock = ManualClock()
    channel = give("a", retry=retry, max_deliver=9, clock=clock)

    def stays_away(seconds):
        clock.advance(seconds - NANOSECOND)
        with pytest.raises(Empty):
            receive(channel)
        clock.advance(NANOSECOND)
        return receive(channel)

    receive(channel).nack()
    delivery = stays_away(3)
    with pytest.raises(Boom), delivery:
        raise Boom
    delivery = stays_away(3)
    del delivery
    collect()
    delivery = stays_away(3)
    delivery.nack(delay=1)
    delivery = stays_away(1)
    delivery.nack(delay=0)
    receive(channel).ack()
    assert channel.statistics().redelivered == 5


def test_retry_by_the_number_of_the_attempt():
    """Asked once for each failure, and not for the last: that one does not come back."""
    clock, asked = ManualClock(), []

    def retry(attempt):
        asked.append(attempt)
        return 10**attempt

    channel = give("a", retry=retry, max_deliver=3, clock=clock)
    for attempt in (1, 2):
        receive(channel).nack()
        clock.advance(10**attempt)
    receive(channel).nack()
    assert asked == [1, 2]
    assert channel.statistics().discarded == 1


def test_what_was_nobodys_fault_comes_back_at_once():
    """A cancellation does not wait for `retry`, nor what has outlasted `ack_wait`."""
    clock = ManualClock()
    channel = give("a", retry=50, ack_wait=5, clock=clock)
    with pytest.raises(KeyboardInterrupt), receive(channel):
        raise KeyboardInterrupt
    late = receive(channel)
    clock.advance(5)
    receive(channel).ack()
    del late


@pytest.mark.parametrize(
    ("bad", "error"), [(-1, ValueError), (NAN, ValueError), ("1", TypeError), (True, TypeError), (10**400, OverflowError)]
)
def test_a_bad_retry(bad, error):
    with pytest.raises(error, match="retry"):
        AckChannel(retry=bad)
    channel = give("a", retry=lambda attempt: bad)
    delivery = receive(channel)
    with pytest.raises(error, match="retry"):
        delivery.nack()
    assert channel.statistics().unacked == 1
    delivery.nack(delay=0)
    receive(channel).ack()


@pytest.mark.thread_unsafe(reason="sys.unraisablehook is the process's")
def test_a_retry_that_raises_where_nobody_is_told(monkeypatch):
    """At the end of a block that raised the block's error goes on; the item comes back at once."""
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda hook: told.append(hook.exc_type))
    channel = give("a", retry=lambda attempt: 1 / 0)
    with pytest.raises(Boom), receive(channel):
        raise Boom
    delivery = receive(channel)
    del delivery
    collect()
    receive(channel).ack()
    assert told == [ZeroDivisionError, ZeroDivisionError]


def test_extend():
    """It ends later, and never sooner; as often as one likes."""
    clock = ManualClock()
    channel = give("a", ack_wait=5, clock=clock)
    delivery = receive(channel)
    clock.advance(4)
    delivery.extend(10)
    delivery.extend(1)
    clock.advance(10 - NANOSECOND)
    with pytest.raises(Empty):
        receive(channel)
    delivery.extend(1)
    clock.advance(1 - NANOSECOND)
    with pytest.raises(Empty):
        receive(channel)
    clock.advance(NANOSECOND)
    again = receive(channel)
    assert (again.value, again.attempt) == ("a", 2)
    with pytest.raises(StaleDelivery):
        delivery.extend(5)
    again.ack()
    again.extend(5)


def test_extend_while_a_receiver_waits():
    """It gets the item when the time that was asked for is over."""
    clock = ManualClock()
    channel = give("a", ack_wait=5, clock=clock)
    delivery = receive(channel)
    (worker,) = in_line(channel, lambda: channel.receiver.receive())
    delivery.extend(9)
    clock.advance(5)
    assert waiting(channel) == 1
    clock.advance(4)
    assert worker.result().attempt == 2


def test_extend_without_ack_wait():
    clock = ManualClock()
    channel = give("a", clock=clock)
    delivery = receive(channel)
    delivery.extend(1)
    clock.advance(5)
    assert channel.statistics().unacked == 1
    delivery.ack()


@pytest.mark.parametrize(
    ("bad", "error"), [(-1, ValueError), (NAN, ValueError), ("1", TypeError), (None, TypeError), (10**400, OverflowError)]
)
def test_extend_with_bad_seconds(bad, error):
    channel = give("a", ack_wait=5)
    delivery = receive(channel)
    with pytest.raises(error, match="'seconds'"):
        delivery.extend(bad)
    delivery.ack()


# ------------------------------------------------------------------------------------------------------------------ on_settled


def test_on_settled():
    """When the number has grown; poison and rejected items count, those that come back do not."""
    told = []
    channel = give(*"abcd", max_deliver=2, **kept(told=told))
    a, b, c, d = (receive(channel) for _ in range(4))
    b.ack()
    a.nack()
    assert told == []
    receive(channel).nack()
    assert told == [(2,)]
    d.nack(requeue=False)
    c.ack()
    assert told == [(2,), (4,)]


def test_on_settled_is_told_of_what_ends_by_itself():
    clock, told = ManualClock(), []
    channel = give("a", max_deliver=1, ack_wait=5, clock=clock, **kept(told=told))
    late = receive(channel)
    clock.advance(5)
    assert channel.receiver.settled_through == 1
    assert told == [(1,)]
    del late


def test_on_settled_may_settle():
    """From inside it: told in the next call, never within this one."""
    depth, told = [0], []

    def on_settled(through):
        depth[0] += 1
        assert depth[0] == 1
        told.append(through)
        if out:
            out.pop(0).ack()
            if out:
                out.pop(0).ack()
        depth[0] -= 1

    channel = give(*range(5), on_settled=on_settled)
    out = [receive(channel) for _ in range(5)]
    out.pop(0).ack()
    assert told == [1, 3, 5]


def test_on_settled_never_runs_twice_at_a_time():
    """While one call runs others settle on, without waiting, and it is that thread that tells the rest."""
    told, threads, inside, go_on = [], set(), threading.Event(), threading.Event()

    def on_settled(through):
        told.append(through)
        threads.add(threading.get_ident())
        if through == 1:
            inside.set()
            assert go_on.wait(20)

    channel = give(*range(9), on_settled=on_settled)
    out = [receive(channel) for _ in range(9)]
    worker = spawn(out[0].ack)
    assert inside.wait(20)
    for delivery in out[1:]:
        delivery.ack()
    assert told == [1]
    go_on.set()
    worker.result()
    assert told == [1, 9]
    assert len(threads) == 1


@pytest.mark.thread_unsafe(reason="sys.unraisablehook is the process's")
def test_on_settled_that_raises(monkeypatch):
    reported = []
    monkeypatch.setattr("sys.unraisablehook", lambda hook: reported.append(hook.exc_type))
    channel = give(*"ab", on_settled=lambda through: 1 / 0)
    out = [receive(channel), receive(channel)]
    for delivery in out:
        delivery.ack()
    assert reported == [ZeroDivisionError] * 2
    assert channel.receiver.settled_through == 2


def test_on_settled_storm():
    """Numbers only grow, in each lane, and end with the last."""
    told, lanes, per_lane = {}, 3, 400

    def on_settled(lane, through):
        before = told.get(lane, 0)
        assert before < through
        told[lane] = through

    channel = AckChannel(64, lane=lambda item: item % lanes, on_settled=on_settled)

    def work():
        for delivery in channel.receiver:
            if delivery.attempt == 1 and delivery.value % 7 == 0:
                delivery.nack()
            else:
                delivery.ack()

    workers = [spawn(work) for _ in range(4)]
    with channel.sender as sender:
        sender.send_many(range(lanes * per_lane))
    for worker in workers:
        worker.result()
    assert told == dict.fromkeys(range(lanes), per_lane) == channel.receiver.settled_lanes


def test_stop_storm():
    """Whatever the moment of the stop: what was handled is exactly what was counted, lane by lane."""
    for seed in range(12):
        handled, lock = {0: set(), 1: set()}, threading.Lock()
        channel = AckChannel(32, lane=lambda item: item % 2)
        begun = threading.Event()

        def produce(channel=channel, begun=begun):
            for n in range(10_000):
                if n == 50:
                    begun.set()
                try:
                    channel.sender.send(n)
                except ChannelCancelled:
                    return

        def work(channel=channel, handled=handled, lock=lock):
            try:
                for delivery in channel.receiver:
                    with lock:
                        handled[delivery.lane].add(delivery.sequence)
                    delivery.ack()
            except ChannelCancelled:
                pass

        threads = [spawn(produce), *(spawn(work) for _ in range(3))]
        assert begun.wait(20)
        if seed % 2:
            channel.receiver.stop()
            through = channel.receiver.settled_lanes
        else:
            through = channel.receiver.stop(lanes=[1])
            channel.receiver.stop()
            through |= {0: channel.receiver.settled_lanes[0]}
        for thread in threads:
            thread.result()
        for lane, numbers in handled.items():
            first = through[lane]
            assert set(range(first)) <= numbers
            if seed % 2:
                assert numbers == set(range(first))


def test_a_stop_drops_what_it_held():
    """Items, callbacks and names go with the channel, also in a cycle."""

    class Name:
        pass

    def use():
        name = Name()
        channel = AckChannel(4, lane=lambda item: name, on_settled=lambda *args: channel, retry=lambda n: channel and 0)
        channel.sender.send(1)
        delivery = channel.receiver.receive()
        delivery.extend(1)
        assert channel.receiver.stop(timeout=0, lanes=[name]) == {name: 0}
        channel.sender.complete()
        return weakref.ref(name)

    references = [use() for _ in range(3)]
    collect()
    assert [reference() for reference in references] == [None] * 3


def test_settle_from_a_loop_while_another_thread_stops():
    """The wake-up crosses over."""

    async def main():
        channel = give("a")
        delivery = receive(channel)
        worker = stopping(channel)
        await settle(3)
        delivery.ack()
        return worker

    assert asyncio.run(main()).result() == 1
