"""Credit channels, single-handed: the expert's hand on credit, deferral, and subscribing."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import sys
import threading
import weakref

import pytest
from channels import (
    INF,
    NANOSECOND,
    holds,
    in_line,
    kinds,
    make,
    manual,
    no_waiters,
    refused,
    take,
    take_all,
    value,
)
from helpers import collect, eventually, on_loops, settle, wait_until

import sluicegate
from sluicegate import (
    ChannelCancelled,
    ChannelClosed,
    Full,
)
from sluicegate.testing import ManualClock

# --------------------------------------------------------------------------------------------------- credit by hand


@kinds
def test_request(kind):
    """Nothing flows before it; it adds up; more than can be counted is no end."""
    channel = manual(kind, 100)
    credit = channel.receiver.credit
    with pytest.raises(Full):
        channel.sender.send_nowait(1)
    assert credit.request(2) is True
    assert credit.request(1) is True
    assert channel.sender.send_many([1, 2, 3]) == 3
    with pytest.raises(Full):
        channel.sender.send_nowait(4)
    assert take_all(channel) == [1, 2, 3]  # which gives nothing back
    with pytest.raises(Full):
        channel.sender.send_nowait(4)
    assert channel.statistics().granted == 3
    for n in (2**63 - 1, 2**70, INF):
        assert credit.request(n) is True
        assert channel.statistics().granted == INF
    assert credit.request(5) is True
    assert channel.sender.send_many(range(100)) == 100
    with pytest.raises(Full):  # the bound is hard
        channel.sender.send_nowait("x")
    assert channel.statistics().outstanding == 100


@kinds
def test_request_up_to(kind):
    """Said any number of times; a number that has been reached changes nothing."""
    channel = manual(kind)
    credit = channel.receiver.credit
    assert credit.request_up_to(3) is True
    assert credit.request_up_to(3) is False
    assert credit.request_up_to(2) is False
    channel.sender.send_many([1, 2])
    take_all(channel)
    assert credit.request_up_to(3) is False
    assert credit.request_up_to(5) is True
    assert channel.sender.credit == 3
    assert credit.request(1)
    assert credit.request_up_to(6) is False
    assert credit.request_up_to(INF) is True
    assert channel.statistics().granted == INF
    assert credit.request_up_to(INF) is False


@kinds
def test_drain(kind):
    """Takes back what is not used; what is buffered stays."""
    channel = manual(kind)
    credit = channel.receiver.credit
    assert credit.drain() == 0
    credit.request(5)
    channel.sender.send_many([1, 2])
    assert credit.drain() == 3
    assert credit.drain() == 0
    seen = channel.statistics()
    assert (seen.credit, seen.voided, seen.buffered, seen.granted, seen.grants_held) == (0, 3, 2, 5, False)
    credit.request(1)
    channel.sender.send(3)
    assert take_all(channel) == [1, 2, 3]
    credit.request(INF)
    assert credit.drain() == INF
    assert channel.sender.credit == 0


@kinds
def test_drain_of_a_window(kind):
    """It is paused by it, and `resume` gives the window back."""
    channel = make(kind, 5)
    channel.sender.send(1)
    assert channel.receiver.credit.drain() == 4
    assert channel.sender.credit == 0
    assert channel.statistics().grants_held
    take(channel)
    assert channel.sender.credit == 0
    (worker,) = in_line(channel, (channel.sender.send, 2))
    channel.receiver.credit.resume()
    worker.result()
    assert holds(channel).credit == 4


@kinds
def test_pause_and_resume(kind):
    """No more is given, what was given may be used, what is buffered is received."""
    channel = make(kind, 4)
    credit = channel.receiver.credit
    channel.sender.send(1)
    credit.pause()
    credit.pause()
    assert channel.statistics().grants_held
    channel.sender.send_many([2, 3, 4])
    assert take_all(channel) == [1, 2, 3, 4]
    assert channel.sender.credit == 0
    assert holds(channel).owed == 4
    (worker,) = in_line(channel, (channel.sender.send, 5))
    assert channel.statistics().waiting_senders == 1
    credit.resume()
    credit.resume()
    worker.result()
    assert not channel.statistics().grants_held
    assert take(channel) == 5
    assert holds(channel).credit == 4
    asked = manual(kind)
    asked.receiver.credit.pause()
    assert asked.receiver.credit.request(3) is True
    assert (asked.sender.credit, asked.statistics().owed) == (0, 3)
    assert asked.receiver.credit.request_up_to(3) is False
    asked.receiver.credit.resume()
    assert asked.sender.credit == 3


@kinds
def test_lease(kind):
    """For that long, to the nanosecond; the last one counts; void is not used again."""
    clock = ManualClock()
    channel = manual(kind, clock=clock)
    credit = channel.receiver.credit
    assert credit.lease(5, 10) is True
    channel.sender.send_many([1, 2])
    clock.advance(10 - NANOSECOND)
    assert channel.sender.credit == 3
    clock.advance(NANOSECOND)
    assert channel.sender.credit == 0
    with pytest.raises(Full):
        channel.sender.send_nowait(3)
    assert channel.statistics().voided == 3
    credit.lease(5, 10)
    credit.lease(2, 20)  # instead of that
    assert channel.sender.credit == 2
    clock.advance(15)
    assert channel.sender.credit == 2
    credit.request(4)  # lasts
    clock.advance(5)
    assert channel.sender.credit == 4
    credit.pause()
    assert credit.lease(1, 1) is False
    credit.resume()
    assert credit.lease(1, 0) is True
    assert channel.sender.credit == 4
    assert take_all(channel) == [1, 2]


@kinds
@pytest.mark.parametrize("much", [INF, 2**63 - 2, 2**70])
def test_a_lease_of_any_size_ends(kind, much):
    """Beside what was asked for, before it or after, too."""
    clock = ManualClock()
    channel = manual(kind, clock=clock)
    credit = channel.receiver.credit
    credit.request(2)
    credit.lease(much, 5)
    credit.request(3)
    channel.sender.send(1)
    assert channel.sender.credit > 2**62
    clock.advance(5)
    assert channel.sender.credit == 5
    credit.request(2**63 - 7)
    credit.lease(1, 0)
    assert channel.sender.credit == 2**63 - 2


@kinds
def test_a_lease_that_ends_while_a_permit_is_out(kind):
    """The permit may be used; what comes back is void."""
    clock = ManualClock()
    channel = manual(kind, clock=clock)
    channel.receiver.credit.lease(4, 10)
    with channel.sender.permit(3) as permit:
        clock.advance(10)
        permit.send("x")
        assert permit.left == 2
    seen = channel.statistics()
    assert (seen.credit, seen.voided, seen.permits, seen.sent) == (0, 3, 0, 1)


@kinds
def test_a_permit_is_not_charged_for_the_lease_of_another(kind):
    """What was asked for comes back, though another's lease has run out meanwhile."""
    clock = ManualClock()
    channel = manual(kind, clock=clock)
    sender, credit = channel.sender, channel.receiver.credit
    credit.lease(1, 1)
    with sender.permit() as leased:
        clock.advance(1)
        credit.request(1)
        with sender.permit(timeout=0):
            pass
        leased.send("x")
    seen = holds(channel)
    assert (sender.credit, seen.voided, seen.permits, seen.sent) == (1, 0, 0, 1)


@kinds
def test_a_lease_wakes_who_waits(kind):
    """And those who come too late wait for the next."""
    clock = ManualClock()
    channel = manual(kind, clock=clock)
    first, second = in_line(channel, (channel.sender.send, 1), (channel.sender.send, 2))
    channel.receiver.credit.lease(1, 5)
    first.result()
    assert not second.done()
    clock.advance(100)
    channel.receiver.credit.lease(1, 5)
    second.result()
    assert take_all(channel) == [1, 2]


@kinds
def test_after_the_end_nothing_raises(kind):
    """Rules 3.6 and 3.7: all of it does nothing."""
    for end in (
        lambda channel: channel.sender.complete(),
        lambda channel: channel.sender.fail(ValueError()),
        lambda channel: channel.receiver.cancel(),
    ):
        channel = manual(kind)
        end(channel)
        credit = channel.receiver.credit
        assert credit.request(1) is False
        assert credit.request_up_to(5) is False
        assert credit.lease(1, 1) is False
        assert credit.drain() == 0
        credit.pause()
        assert not channel.statistics().grants_held
        credit.resume()
        down = make(kind, 1)
        down.sender.send(1)
        credit.defer_to(down.sender)
        credit.defer_to(None)
        credit.defer_to(channel.sender)
        assert not channel.statistics().grants_held
        channel.receiver.cancel()
        assert channel.sender.credit == 0
        held = make(kind, 1)
        held.receiver.credit.pause()
        end(held)
        held.receiver.credit.resume()
        assert held.statistics().grants_held


# ------------------------------------------------------------------------------------------------------------ deferred


@kinds
def test_defer_to(kind):
    """While the sender downstream is starved, nothing is granted; what collects goes out in one step."""
    up, down = make(kind, 4), make(kind, 2)
    up.receiver.credit.defer_to(down.sender)
    assert not up.statistics().grants_held
    for number in range(4):
        up.sender.send(number)
    for _ in range(2):
        down.sender.send(take(up))
    assert up.statistics().grants_held  # the sender downstream has no credit
    assert up.sender.credit == 2  # given before
    up.sender.send_many([4, 5])
    assert [take(up) for _ in range(4)] == [2, 3, 4, 5]
    assert (up.sender.credit, up.statistics().owed) == (0, 4)
    (worker,) = in_line(up, (up.sender.send, 6))
    assert take(down) == 0
    worker.result()  # the step of 1 has given credit back
    assert not up.statistics().grants_held
    holds(up)
    holds(down)


@kinds
def test_a_chain_stops_at_its_source(kind):
    """Three channels: when the last receiver stops, so does the first sender; and everything flows again when it goes on."""
    chain = [make(kind, 4) for _ in range(3)]
    for up, down in itertools.pairwise(chain):
        up.receiver.credit.defer_to(down.sender)
    sent = 0
    for _ in range(100):
        moved = False
        try:
            chain[0].sender.send_nowait(sent)
            sent, moved = sent + 1, True
        except Full:
            pass
        for up, down in itertools.pairwise(chain):
            if down.sender.credit and up.statistics().buffered:
                down.sender.send_nowait(take(up))
                moved = True
        if not moved:
            break
    assert sent <= 12  # what the windows hold
    assert chain[0].sender.credit == 0 and chain[1].statistics().grants_held
    got = []
    while len(got) < sent:
        got += take_all(chain[2])
        for up, down in itertools.pairwise(chain):
            while down.sender.credit and up.statistics().buffered:
                down.sender.send_nowait(take(up))
    assert got == list(range(sent))
    assert [channel.sender.credit for channel in chain] == [4, 4, 4]
    assert not any(holds(channel).grants_held for channel in chain)


@kinds
def test_cycles_of_defer_to(kind):
    """Refused, directly and around several; a deferral that has ended is none."""
    one, two, three = (make(kind) for _ in range(3))
    refused(lambda: one.receiver.credit.defer_to(one.sender), "cycle", ValueError, one)
    one.receiver.credit.defer_to(two.sender)
    clone = three.sender.clone()
    two.receiver.credit.defer_to(clone)
    clone.complete()
    for downstream in (one, two):
        refused(
            lambda downstream=downstream: three.receiver.credit.defer_to(downstream.sender),
            "cycle|wait for each other"[:5],
            ValueError,
            three,
        )
    two.receiver.credit.defer_to(None)
    three.receiver.credit.defer_to(one.sender)
    three.receiver.credit.defer_to(one.sender)
    for channel in (one, two, three):
        channel.sender.complete()
        channel.receiver.credit.defer_to(None)


@kinds
def test_defer_to_ends(kind):
    """None ends it, another replaces it, and so does the end of the channel downstream."""
    up, down, other = make(kind, 1), make(kind, 1), make(kind, 1)
    credit = up.receiver.credit
    for release in (
        lambda: credit.defer_to(None),
        lambda: credit.defer_to(other.sender),
        down.receiver.cancel,
    ):
        credit.defer_to(down.sender)
        if down.sender.credit:
            down.sender.send("full")
        up.sender.send(1)
        assert take(up) == 1
        assert up.sender.credit == 0
        (worker,) = in_line(up, (up.sender.send, 2))
        release()
        worker.result()
        assert take(up) == 2
    with pytest.raises(ChannelCancelled):
        take_all(down)


@kinds
def test_deferrals_that_ended_are_forgotten(kind):
    """A channel that many others have deferred to in its life does not keep them."""
    down = make(kind)

    class Hook:
        def __call__(self, item, reason, error):
            pass

    def use():
        hook = Hook()
        up = make(kind, on_discard=hook)
        up.receiver.credit.defer_to(down.sender)
        up.receiver.credit.defer_to(down.sender)
        up.sender.complete()
        up.receiver.credit.defer_to(None)
        return weakref.ref(hook)

    references = [use() for _ in range(5)]
    collect()
    assert [reference() for reference in references] == [None] * 5

    def let_go():
        hook = Hook()
        up = make(kind, on_discard=hook)
        up.receiver.credit.defer_to(down.sender)
        up.sender.complete()
        return weakref.ref(hook)

    references = [let_go() for _ in range(5)]
    down.sender.send_many([1, 2, 3])
    take_all(down)
    collect()
    assert [reference() for reference in references] == [None] * 5


# ---------------------------------------------------------------------------------------------------------- subscribing


class Log:
    """A subscriber that writes down what it is told, and on which thread."""

    def __init__(self):
        self.events = []
        self.over = threading.Event()
        self.threads = set()

    def __call__(self, received):
        self.threads.add(threading.get_ident())
        self.events.append(value(received))

    def complete(self):
        self.events.append("complete")
        self.over.set()

    def error(self, error):
        self.events.append(error)
        self.over.set()

    def subscribe(self, receiver, **handlers):
        return receiver.subscribe(self, on_complete=self.complete, on_error=self.error, **handlers)


@kinds
def test_subscribe(kind):
    """On a thread of its own: items in order, one at a time, then the end."""
    channel, log, held = make(kind, 4), Log(), []
    subscription = log.subscribe(channel.receiver, on_subscribe=held.append)
    assert held == [subscription]
    assert isinstance(subscription, sluicegate.Subscription)
    assert not subscription.cancelled
    with channel.sender as sender:
        sender.send_many(range(100))
    assert log.over.wait(20)
    assert log.events == [*range(100), "complete"]
    assert len(log.threads) == 1 and threading.get_ident() not in log.threads
    assert subscription.cancelled
    assert "Subscription" in repr(subscription)
    with pytest.raises(RuntimeError, match="subscriber already"):
        channel.receiver.subscribe(print)


@kinds
def test_a_subscriber_is_told_of_an_error(kind):
    """After what was sent before it; whatever it is."""
    for error in (ValueError("x"), ChannelClosed("x"), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration()):
        channel, log = make(kind, 4), Log()
        channel.sender.send_many([1, 2])
        channel.sender.fail(error)
        log.subscribe(channel.receiver)
        assert log.over.wait(20)
        assert log.events == [1, 2, error]


@kinds
def test_a_subscription_that_is_cancelled(kind):
    """From a handler, or from outside: nothing more is reported, not even an end."""
    channel, log = make(kind, 4), Log()
    held = []
    subscription = channel.receiver.subscribe(
        lambda received: (log(received), held[0].cancel()), on_complete=log.complete, on_error=log.error, on_subscribe=held.append
    )
    with pytest.raises(ChannelCancelled):
        channel.sender.send_many(itertools.count())
    assert subscription.cancelled
    wait_until(lambda: no_waiters(channel))
    assert log.events == [0]
    subscription.cancel()
    other, log = make(kind, 4), Log()
    subscription = log.subscribe(other.receiver)
    wait_until(lambda: other.statistics().waiting_receivers == 1)
    subscription.cancel()
    wait_until(lambda: no_waiters(other))
    other.sender.complete()
    assert log.events == []


@kinds
def test_demand_of_a_subscriber(kind):
    """By hand: what it asks for in its handlers is not nested (rule 3.3)."""
    channel, log, depths, depth = manual(kind, 10), Log(), [], 0
    held = []

    def on_next(received):
        nonlocal depth
        depth += 1
        depths.append(depth)
        log(received)
        held[0].request(1)
        depth -= 1

    def on_subscribe(subscription):
        held.append(subscription)
        subscription.request(1)

    channel.receiver.subscribe(on_next, on_complete=log.complete, on_subscribe=on_subscribe)
    with channel.sender as sender:
        sender.send_many(range(50))
    assert log.over.wait(20)
    assert log.events == [*range(50), "complete"]
    assert set(depths) == {1}


@pytest.mark.thread_unsafe(reason="sys.unraisablehook is the process's")
@kinds
@pytest.mark.parametrize("where", ["on_next", "on_complete", "on_error", "on_subscribe"])
def test_a_subscriber_that_raises(kind, where):
    """That ends the subscription, and goes to sys.unraisablehook, never to the sender."""
    told = []
    channel = make(kind, 4)

    def bad(*_):
        raise KeyError(where)

    handlers = {"on_next": lambda received: value(received), where: bad}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", told.append)
        subscription = channel.receiver.subscribe(handlers.pop("on_next"), **handlers)
        if where == "on_error":
            channel.sender.fail(ValueError())
        elif where == "on_complete":
            channel.sender.complete()
        elif where == "on_next":
            channel.sender.send(1)
        wait_until(lambda: told)
    assert isinstance(told[0].exc_value, KeyError)
    wait_until(lambda: subscription.cancelled)
    if where in ("on_next", "on_subscribe"):
        with pytest.raises(ChannelCancelled):
            channel.sender.send(2)


@kinds
@on_loops
async def test_subscribe_on_a_loop(kind):
    """On the running loop: the same."""
    channel, log = make(kind, 4), Log()
    subscription = log.subscribe(channel.receiver)
    async with channel.sender as sender:
        for number in range(300):
            await sender.send_async(number)
    await eventually(log.over.is_set)
    assert log.events == [*range(300), "complete"]
    assert log.threads == {threading.get_ident()}
    assert subscription.cancelled
    failing, log = make(kind, 4), Log()
    log.subscribe(failing.receiver)
    error = ValueError()
    failing.sender.fail(error)
    await eventually(log.over.is_set)
    assert log.events == [error]
    stopped, log = make(kind, 4), Log()
    subscription = log.subscribe(stopped.receiver)
    await settle()
    subscription.cancel()
    await settle()
    assert log.events == []
    assert no_waiters(stopped)


NAME = contextvars.ContextVar("NAME", default="nobody")


@kinds
@pytest.mark.parametrize("where", ["thread", "loop"])
def test_the_context_of_a_subscriber(kind, where):
    """Its handlers run in the context of `subscribe`, a copy of it."""
    names = []

    def subscribe(channel):
        NAME.set("subscriber")
        channel.receiver.subscribe(
            lambda received: (value(received), names.append(NAME.get()), NAME.set("changed")),
            on_complete=lambda: names.append(NAME.get()),
        )

    async def main():
        channel = make(kind)
        context = contextvars.copy_context()
        context.run(subscribe, channel)
        assert NAME.get() == "nobody"
        channel.sender.send_many([1, 2])
        channel.sender.complete()
        await eventually(lambda: len(names) == 3)

    if where == "loop":
        asyncio.run(main())
    else:
        channel = make(kind)
        contextvars.copy_context().run(subscribe, channel)
        channel.sender.send_many([1, 2])
        channel.sender.complete()
        wait_until(lambda: len(names) == 3)
    assert names == ["subscriber", "changed", "changed"]
