# pyright: basic
"""The rules of credit channels, one by one: those of Reactive Streams 1.0.4 and its TCK (`test_rule_*`); those of other protocols are in
`test_credit_rules_beyond`. The id of the rule is in the test's name; docs/guide/credit-rules.md is the table of them.

Whatever a receiver is told can be told to it in four ways (`WAYS`): it takes items on a thread or on a loop, or has them handed to it on
either. That nothing more comes is never found out by waiting for it: the channel is at rest (the sender waits for credit, the receiver for
items, and nothing is between them), or the receiver is told of the end, and the thread or task that would tell it anything has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import re
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
from channels import items_into
from credit_rules import INF, MAX, PULL, PUSH, Consumer, Stop, consuming, counted, feed, feeding, manual, pushes, waits, ways
from helpers import PATIENCE, STORM_ITEMS, LoopThread, collect, eventually, finish, on_loops, run_script, settle, spawn, wait_until

import sluicegate
from sluicegate import (
    ChannelCancelled,
    ChannelClosed,
    ChannelFailed,
    CreditChannel,
    Delivery,
)

LOCK = threading.Lock()


def ended_channel(how, channel=None):
    """A channel that has come to its end."""
    channel = manual() if channel is None else channel
    if how == "completed":
        channel.sender.complete()
    elif how == "failed":
        channel.sender.fail(Stop("the end"))
    else:
        channel.receiver.cancel()
    assert channel.statistics().state == how
    return channel


# ------------------------------------------------------------------------------------------ Reactive Streams 1: the sender's side


@ways
def test_rule_1_1_demand_0_1_1_2(way):
    """Nothing comes before the first grant; after each, exactly that many."""
    channel, total = manual(), 0
    with feeding(channel, range(100)), consuming(way, channel) as consumer:
        for n in (0, 1, 1, 2):
            if n:
                assert consumer.request(n) is True
            total += n
            assert consumer.rest() == list(range(total))
            assert channel.statistics().granted == total
        assert consumer.ends == []


@pytest.mark.thread_unsafe(reason="a storm of threads already")
@pytest.mark.parametrize("seed", range(3))
def test_rule_1_1_never_more_than_granted(seed):
    """Threads and tasks at both ends, random demand: at no observed instant has more been sent, or delivered, than granted."""
    channel = manual(buffer=7)
    sender, receiver = channel.sender, channel.receiver
    total = max(800, STORM_ITEMS // 100)
    asked, delivered = [0], [0]

    def took(n):
        with LOCK:
            delivered[0] += n
            assert delivered[0] <= asked[0]
        seen = channel.statistics()
        assert seen.sent_weight + seen.permits + seen.voided <= seen.granted
        assert seen.received <= seen.sent <= asked[0]
        assert seen.outstanding <= seen.peak_outstanding <= 7

    def grant(salt):
        chance = random.Random(f"{seed} {salt}")
        left = total // 2
        while left:
            n = min(left, chance.choice((1, 1, 2, 5, 20)))
            left -= n
            with LOCK:
                asked[0] += n
            assert receiver.credit.request(n) is True

    def take(salt):
        chance = random.Random(f"{seed} {salt}")
        with contextlib.suppress(ChannelClosed):
            while True:
                took(len(receiver.receive_many(chance.randint(1, 4))))

    async def take_async():
        async for _ in receiver:
            took(1)

    async def send_async(own):
        with own:
            for n in range(total // 8):
                await own.send_async(n)

    def send(own):
        with own:
            own.send_many(range(total // 8))

    ends = [sender.clone() for _ in range(8)]
    sender.complete()
    with LoopThread() as running:
        work = [spawn(send, own) for own in ends[:4]] + [running.submit(send_async(own)) for own in ends[4:]]
        work += [spawn(take, 1), spawn(take, 2), running.submit(take_async()), running.submit(take_async())]
        work += [spawn(grant, salt) for salt in (1, 2)]
        for one in work:
            one.result(PATIENCE)
    assert delivered[0] == total // 8 * 8 == channel.statistics().received
    assert channel.statistics().granted == asked[0]


@ways
def test_rule_1_2_less_than_asked_for(way):
    """10 are asked for and there are 3: three items, then the end, and no error."""
    channel = manual()
    with feeding(channel, range(3)), consuming(way, channel) as consumer:
        consumer.request(10)
        assert consumer.over() == ["complete"]
        assert consumer.items == [0, 1, 2]


@pytest.mark.thread_unsafe(reason="a storm of threads already")
@pushes
def test_rule_1_3_signals_do_not_overlap(way):
    """One handler at a time, however many threads ask for more."""
    channel = manual(buffer=50)
    inside, most, total = [0], [0], 2000

    def enter(_consumer, _item):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        for _ in range(20):
            pass
        inside[0] -= 1

    with feeding(channel, range(total)), consuming(way, channel, enter) as consumer:
        askers = [spawn(lambda: [consumer.request(1) for _ in range(total // 8)]) for _ in range(8)]
        for asker in askers:
            asker.result()
        assert consumer.over() == ["complete"]
    assert consumer.items == list(range(total))
    assert most[0] == 1
    assert len(consumer.told_by) == 1  # one thread, or task, for all signals


@ways
@pytest.mark.parametrize("kind", [Stop, ChannelClosed, asyncio.CancelledError], ids=lambda kind: kind.__name__)
def test_rule_1_4_exactly_the_error_even_with_no_grant(way, kind):
    """A source that raises: the receiver gets just that error, once, though it has asked for nothing. Whatever error it is."""
    if way in PULL and kind is asyncio.CancelledError:
        pytest.skip("raised in whoever iterates, as any error: there it is a cancellation")
    channel, error = manual(), kind("the source")
    with feeding(channel, (), error), consuming(way, channel) as consumer:
        assert consumer.over() == [error]
        assert consumer.ends[0] is error
        assert consumer.items == []
    assert channel.statistics().granted == 0


@ways
@pytest.mark.parametrize("demand", [3, 10, INF])
def test_rule_1_5_the_end_once_after_the_last_item(way, demand):
    channel = manual()
    with feeding(channel, range(3)), consuming(way, channel) as consumer:
        consumer.request(demand)
        assert consumer.over() == ["complete"]
        assert consumer.items == [0, 1, 2]


@ways
def test_rule_1_5_empty_source_ends_with_no_grant(way):
    channel = manual()
    with feeding(channel, ()), consuming(way, channel) as consumer:
        assert consumer.over() == ["complete"]
        assert consumer.items == []
    assert channel.statistics().granted == 0


@ways
@pytest.mark.parametrize("error", [None, Stop("the end")], ids=["complete", "error"])
def test_rule_1_6_the_end_is_a_cancellation(way, error):
    """After it the subscription counts as cancelled, grants do nothing, and nobody is left in a line."""
    channel = manual()
    with feeding(channel, (), error), consuming(way, channel) as consumer:
        consumer.over()
        assert consumer.receiver.ended
        if way in PUSH:
            assert consumer.subscription.cancelled
            assert consumer.subscription.request(3) is False
        before = channel.statistics()
        assert consumer.request(3) is False
        assert consumer.receiver.credit.request_up_to(3) is False
        assert consumer.receiver.credit.lease(3, 1.0) is False
        assert consumer.receiver.credit.drain() == 0
        consumer.cancel()
        assert channel.statistics() == before
        assert waits(channel) == 0


@ways
def test_rule_1_7_nothing_after_complete(way):
    channel = manual()
    with feeding(channel, range(3)), consuming(way, channel) as consumer:
        consumer.request(5)
        consumer.over()
        assert consumer.request(10) is False
        assert consumer.over() == ["complete"]
        assert consumer.items == [0, 1, 2]
    with pytest.raises(ChannelClosed):
        channel.sender.send(4)
    with pytest.raises(ChannelClosed):
        channel.receiver.receive_nowait()  # still that, and so for good
    channel.sender.complete()
    channel.sender.fail(Stop("too late"))
    assert channel.statistics().state == "completed"


@ways
def test_rule_1_7_nothing_after_an_error(way):
    """A second error is not passed on: the caller that reports it keeps it."""
    channel, error = manual(), Stop("first")
    other = channel.sender.clone()
    with feeding(channel, range(2), error), consuming(way, channel) as consumer:
        consumer.request(5)
        consumer.over()
        other.fail(Stop("second"))
        other.complete()
        assert consumer.request(10) is False
        assert consumer.over() == [error]
        assert consumer.items == [0, 1]
    with pytest.raises(Stop, match="first"):
        channel.receiver.receive_nowait()
    with pytest.raises(ChannelFailed) as failed:
        channel.sender.clone()
    assert failed.value.__cause__ is error


@ways
@pytest.mark.parametrize("inside", [True, False], ids=["by itself", "from elsewhere"])
def test_rule_1_8_items_stop_after_cancel(way, inside):
    """Of an endless source no more than was asked for arrives. Cancelled by the receiver itself, nothing more at all."""
    channel = manual(buffer=4)
    cancelled_at = threading.Event()

    def on_item(consumer, item):
        if item == 4:
            if inside:
                consumer.cancel()
            cancelled_at.set()

    with feeding(channel, iter(int, 1)) as source, consuming(way, channel, lambda c, _: on_item(c, len(c.items) - 1)) as consumer:
        consumer.request(20)
        assert cancelled_at.wait(PATIENCE)
        consumer.cancel()
        assert isinstance(source.exception(), ChannelCancelled)
    wait_until(lambda: waits(channel) == 0)
    assert 5 <= len(consumer.items) <= (5 if inside else 20)
    assert consumer.ends == []
    seen = channel.statistics()
    assert seen.sent == seen.received + seen.discarded <= 20


@pushes
def test_rule_1_9_the_subscription_comes_first(way):
    """Though there are items and an end already when the subscriber comes."""
    channel, log = CreditChannel(8), []
    channel.sender.send_many(range(3))
    channel.sender.complete()

    def on_subscribe(subscription):
        log.append((subscription, list(consumers[0].items), list(consumers[0].ends)) if consumers else (subscription, [], []))

    consumers = []
    with consuming(way, channel, on_subscribe=on_subscribe) as consumer:
        consumers.append(consumer)
        consumer.over()
        assert log == [(consumer.subscription, [], [])]
        assert consumer.items == [0, 1, 2]


def test_rule_1_9_none_is_no_subscriber():
    """TypeError for the caller, and nothing has happened: not even the one subscription is used up."""
    channel = CreditChannel(8)
    before = channel.statistics()
    wrong: list[dict[str, Any]] = [{"on_next": None}, {"on_next": 3}]
    wrong += [{"on_next": print, name: 0} for name in ("on_error", "on_complete", "on_subscribe")]
    for arguments in wrong:
        with pytest.raises(TypeError, match="on_"):
            channel.receiver.subscribe(**arguments)
    assert channel.statistics() == before
    with consuming("subscribe on a thread", channel) as consumer:
        channel.sender.send("x")
        channel.sender.complete()
        consumer.over()
        assert consumer.items == ["x"]


@pushes
@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
def test_rule_1_9_subscribing_to_an_ended_channel(way, how):
    """The subscription, then the end, and no exception out of `subscribe`."""
    channel, log = ended_channel(how), []
    with consuming(way, channel, on_subscribe=lambda subscription: log.append(subscription.cancelled)) as consumer:
        assert log == [True]
        if how == "cancelled":
            wait_until(lambda: waits(channel) == 0)
        else:
            consumer.over()
            assert [str(end) for end in consumer.ends] == (["complete"] if how == "completed" else ["the end"])
    assert consumer.ends if how != "cancelled" else not consumer.ends
    assert consumer.items == []


def test_rule_1_10_subscribed_once_only():
    """The same receiver again: refused. The same handlers on another receiver: a subscription of its own, with its own demand."""
    one, other, items = manual(), manual(), []
    first = one.receiver.subscribe(items.append)
    with pytest.raises(RuntimeError, match=r"2\.12"):
        one.receiver.subscribe(items.append)
    second = other.receiver.subscribe(items.append)
    assert first is not second
    first.request(3)
    second.request(1)
    assert (one.sender.credit, other.sender.credit) == (3, 1)
    first.cancel()
    assert first.cancelled
    assert not second.cancelled
    second.cancel()


# ---------------------------------------------------------------------------------------- Reactive Streams 2: the receiver's side


@ways
def test_rule_2_1_a_window_gives_grants_by_itself(way):
    """Else nothing would flow; and with `window=0` nothing does."""
    channel = CreditChannel(4)
    with feeding(channel, range(100)), consuming(way, channel) as consumer:
        assert consumer.over() == ["complete"]
        assert consumer.items == list(range(100))
        assert channel.statistics().granted >= 100
        assert channel.statistics().peak_outstanding <= 4
    nothing = manual()
    with feeding(nothing, range(100)), consuming(way, nothing) as consumer:
        assert consumer.rest() == []
        assert nothing.sender.credit == 0


@pushes
@pytest.mark.parametrize("error", [None, Stop("the end")], ids=["on_complete", "on_error"])
def test_rule_2_3_nothing_is_asked_for_at_the_end(way, error):
    """While and after the last handler runs, the library calls nothing on the subscription; a handler that does changes nothing."""
    channel, log = manual(), []

    def ended(*_args):
        log.append(channel.statistics())
        assert consumer.subscription.request(5) is False
        consumer.subscription.cancel()
        log.append(channel.statistics())

    class Ending(Consumer):
        def subscribe(self, on_subscribe=None):
            self.subscription = self.receiver.subscribe(self.take, on_error=self.last, on_complete=self.last)
            return self.subscription

        def last(self, *args):
            ended(*args)
            self.end(args[0] if args else "complete")

    consumer = Ending(channel)
    with contextlib.ExitStack() as stack:
        if way == "subscribe on a thread":
            consumer.subscribe()
        else:
            stack.enter_context(LoopThread()).run(consumer.subscribe_async())
        with feeding(channel, range(2), error):
            consumer.request(2)
            consumer.over()
            log.append(channel.statistics())
    assert log[0] == log[1] == log[2]
    assert log[0].state == ("completed" if error is None else "failed")
    assert log[0].granted == 2


@pushes
def test_rule_2_5_a_second_subscription_is_ended_at_once(way):
    """It never begins: none of its handlers is called, and the first goes on."""
    channel, called = CreditChannel(4), []

    def second(*args):
        called.append(args)

    with consuming(way, channel) as consumer:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                channel.receiver.subscribe(second, on_error=second, on_complete=second, on_subscribe=second)
        feed(channel.sender, range(3))
        assert consumer.over() == ["complete"]
        assert consumer.items == [0, 1, 2]
    assert called == []


@pytest.mark.parametrize("leave", ["with, break", "with, raise", "let go"])
def test_rule_2_6_leaving_cancels_on_a_thread(leave):
    """Leaving the block, or dropping the receiver, cancels: the sender that waits gets the error."""
    channel = CreditChannel(2)
    sender, receiver = channel.sender, channel.receiver
    del channel
    source = spawn(feed, sender, range(100))

    def read(receiver):
        if leave == "let go":
            return next(iter(receiver))
        with contextlib.suppress(Stop), receiver:
            for item in receiver:
                if leave == "with, raise":
                    raise Stop
                return item
        return None

    assert read(receiver) in (0, None)
    del receiver
    collect()
    assert isinstance(source.exception(), ChannelCancelled)
    assert sender.statistics().state == "cancelled"


@pytest.mark.parametrize("leave", ["break", "raise", "cancelled"])
@on_loops
async def test_rule_2_6_leaving_cancels_on_a_loop(leave):
    """A sender on the same loop gets the error within one turn."""
    channel = CreditChannel(2)
    sender, receiver = channel.sender, channel.receiver
    sending = asyncio.create_task(sender.send_many_async(range(100)))
    left = []

    async def read():
        try:
            async with receiver:
                async for item in receiver:
                    if item == 1 and leave == "break":
                        break
                    if item == 1 and leave == "raise":
                        raise Stop
                    if item == 1:
                        await asyncio.Event().wait()
        finally:
            left.append(sender.statistics().state)

    reading = asyncio.create_task(read())
    if leave == "cancelled":
        await eventually(lambda: channel.statistics().received == 2)
        reading.cancel()
    await asyncio.wait([reading])
    await settle(1)
    assert left == ["cancelled"]
    assert sending.done()
    assert isinstance(sending.exception(), ChannelCancelled)
    if leave == "raise":
        assert isinstance(reading.exception(), Stop)


@pytest.mark.thread_unsafe(reason="a storm of threads already")
def test_rule_2_7_grants_from_everywhere_add_up():
    """Eight threads and four tasks ask at once: the sum is exact. Then they ask and cancel at once: nothing raises."""
    channel = manual(buffer=10**9)
    credit = channel.receiver.credit
    each, amounts = 300, [random.Random(seed).randint(1, 9) for seed in range(12)]

    def ask(n):
        return [credit.request(n) for _ in range(each)]

    async def ask_async(n):
        answers = []
        for _ in range(each):
            answers.append(credit.request(n))
            await asyncio.sleep(0)
        return answers

    with LoopThread() as running:
        work: list[Any] = [spawn(ask, n) for n in amounts[:8]] + [running.submit(ask_async(n)) for n in amounts[8:]]
        assert all(all(one.result(PATIENCE)) for one in work)
        assert channel.statistics().granted == channel.sender.credit == each * sum(amounts)

        work = [spawn(ask, n) for n in amounts[:8]] + [running.submit(ask_async(n)) for n in amounts[8:]]
        work += [spawn(channel.receiver.cancel) for _ in range(4)]
        for one in work:
            one.result(PATIENCE)
    seen = channel.statistics()
    assert seen.credit == 0
    assert seen.granted == seen.voided  # all that was ever granted has been taken back
    assert credit.request(1) is False


@ways
def test_rule_2_8_items_in_flight_go_to_on_discard(way):
    """What was sent and not received at the cancellation is tolerated, and reported; the receiver sees nothing of it."""
    discarded, go_on, first = [], threading.Event(), threading.Event()
    channel = CreditChannel(8, on_discard=items_into(discarded))

    def on_item(consumer, _item):
        if len(consumer.items) == 1:
            first.set()
            assert go_on.wait(PATIENCE)

    with consuming(way, channel, on_item) as consumer:
        channel.sender.send(0)
        assert first.wait(PATIENCE)  # it is busy with the first
        channel.sender.send_many(range(1, 6))
        consumer.cancel()
        assert discarded == [1, 2, 3, 4, 5]
        go_on.set()
    wait_until(lambda: waits(channel) == 0)
    assert consumer.items == [0]
    assert consumer.ends == []
    assert channel.statistics().discarded == 5
    with pytest.raises(ChannelCancelled):
        channel.sender.send(6)


@ways
@pytest.mark.parametrize("demand", [0, 4], ids=["without request", "with request"])
@pytest.mark.parametrize("error", [None, Stop("the end")], ids=["2.9", "2.10"])
def test_rule_2_9_2_10_the_end_needs_no_demand(way, demand, error):
    """Nor does demand that is left over stand in its way."""
    channel = manual()
    with feeding(channel, (), error), consuming(way, channel) as consumer:
        if demand:
            consumer.request(demand)
        assert consumer.over() == ["complete" if error is None else error]


def test_rule_2_12_one_subscription_per_receiver():
    """A second start raises, also after the first has ended, and from any thread or loop: exactly one of many gets it."""
    channel = CreditChannel(4)
    with LoopThread() as running:
        consumer = Consumer(channel)
        racing = [spawn(consumer.subscribe) for _ in range(4)] + [running.submit(consumer.subscribe_async()) for _ in range(4)]
        errors = [one.exception(PATIENCE) for one in racing]
        assert [type(error) for error in errors if error is not None] == [RuntimeError] * 7
        feed(channel.sender, range(3))
        assert consumer.over() == ["complete"]
        assert consumer.items == [0, 1, 2]
    with pytest.raises(RuntimeError, match=r"2\.12"):
        channel.receiver.subscribe(print)


@pytest.mark.thread_unsafe(reason="sys.unraisablehook belongs to the process")
@pushes
@pytest.mark.parametrize("which", ["on_subscribe", "on_next", "on_complete", "on_error"])
def test_rule_2_13_a_handler_that_raises(way, which, monkeypatch):
    """It cancels the subscription and is reported, once; the sender learns that the receiver has gone, and no more."""
    reports, channel, calls = [], CreditChannel(4), []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_value))
    error = ValueError("a handler")

    def raising(*args):
        calls.append(args)
        raise error

    handlers = {"on_next": lambda _: None, which: raising}

    async def subscribe_async():
        return channel.receiver.subscribe(**handlers)

    with contextlib.ExitStack() as stack:
        if way == "subscribe on a thread":
            subscription = channel.receiver.subscribe(**handlers)
        else:
            subscription = stack.enter_context(LoopThread()).run(subscribe_async())
        with contextlib.suppress(ChannelCancelled), channel.sender as sender:  # that is all a sender may learn
            sender.send_many(range(3))
            if which == "on_error":
                sender.fail(Stop("the end"))
        wait_until(lambda: reports)
        wait_until(lambda: subscription.cancelled)
    assert reports == [error]
    assert len(calls) == 1
    if which in ("on_subscribe", "on_next"):
        assert channel.statistics().state == "cancelled"
    reports.clear()  # they refer to what is to be let go


@pytest.mark.thread_unsafe(reason="sys.unraisablehook belongs to the process")
@pushes
def test_rule_2_13_nothing_of_it_reaches_the_sender(way, monkeypatch):
    """A sender that waits for credit learns that the receiver has gone, but not why."""
    reported = threading.Event()
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reported.set())
    channel, go_on = CreditChannel(1), threading.Event()

    def on_item(_consumer, _item):
        assert go_on.wait(PATIENCE)
        raise ValueError("a handler")

    with consuming(way, channel, on_item):
        channel.sender.send(1)
        wait_until(lambda: channel.statistics().received == 1)
        channel.sender.send(2)
        waiting = spawn(channel.sender.send, 3)
        wait_until(lambda: channel.statistics().waiting_senders == 1)
        go_on.set()
        told = waiting.exception()
        assert reported.wait(PATIENCE)
    assert isinstance(told, ChannelCancelled)
    assert (told.__cause__, told.__context__) == (None, None)
    assert channel.statistics().discarded == 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_rule_2_13_what_stops_a_program_goes_on(kind):
    """It cancels, and is raised where the handler runs: here in `subscribe`, else in a thread, which it ends, or in a loop."""
    channel = CreditChannel(4)

    def raising(_):
        raise kind

    with pytest.raises(kind):
        channel.receiver.subscribe(print, on_subscribe=raising)
    assert channel.statistics().state == "cancelled"

    async def on_a_loop(channel):
        channel.receiver.subscribe(raising)
        channel.sender.send("x")
        await asyncio.Event().wait()

    channel, loop = CreditChannel(4), asyncio.new_event_loop()
    with pytest.raises(kind):
        loop.run_until_complete(on_a_loop(channel))
    finish(loop)
    assert channel.statistics().state == "cancelled"


def test_rule_2_13_the_default_hook_prints_it():
    """With nothing installed the traceback is on standard error, and the handler that raised is named."""
    told = run_script(
        """
        import contextlib, io, threading
        from sluicegate import CreditChannel

        def handler_that_raises(item):
            raise ValueError(f"cannot take {item}")

        channel, text = CreditChannel(4), io.StringIO()
        with contextlib.redirect_stderr(text):
            channel.receiver.subscribe(handler_that_raises)
            channel.sender.send("this")
            for thread in threading.enumerate():
                if thread.name == "sluicegate-subscriber":
                    thread.join()
        print(text.getvalue())
        """
    )
    assert "handler_that_raises" in told
    assert "ValueError: cannot take this" in told
    assert "During handling" not in told


# ------------------------------------------------------------------------------------------- Reactive Streams 3: the subscription


def test_rule_3_1_no_grant_from_a_stranger():
    """Demand needs the receiver, or its subscription: neither the sender nor the channel has it, and none can be made."""
    channel = manual()
    for stranger in (channel, channel.sender, channel.sender.permit()):
        assert not [name for name in dir(stranger) if "request" in name or "lease" in name]
    for part in (sluicegate.Receiver, sluicegate.Sender, sluicegate.Credit, sluicegate.Permit, Delivery):
        with pytest.raises(TypeError):
            part()


@pushes
def test_rule_3_2_grants_inside_handlers(way):
    """In `on_subscribe` and in `on_next`: both count."""
    channel = manual()
    with (
        feeding(channel, range(10)),
        consuming(way, channel, lambda consumer, _: consumer.request(1), on_subscribe=lambda own: own.request(1)) as consumer,
    ):
        assert consumer.over() == ["complete"]
        assert consumer.items == list(range(10))


@pushes
def test_rule_3_3_no_recursion(way):
    """A grant inside `on_next` does not call `on_next`: one at a time, at one depth of the stack, a million times."""
    total = STORM_ITEMS // 4
    grants = -(-(10**6) // total)
    channel = manual(buffer=INF)
    channel.receiver.credit.request(total)
    channel.sender.send_many(range(total))
    channel.sender.complete()
    inside, depths, seen = [0], set(), [0]

    def on_next(_item):
        assert inside[0] == 0
        inside[0] += 1
        for _ in range(grants):
            channel.receiver.credit.request(1)
        inside[0] -= 1
        seen[0] += 1
        if seen[0] in (1, total // 2, total):
            depths.add(depth())

    def depth():
        frame, levels = sys._getframe(), 0
        while frame is not None:
            frame, levels = frame.f_back, levels + 1
        return levels

    consumer = Consumer(channel)
    consumer.take = on_next
    with contextlib.ExitStack() as stack:
        if way == "subscribe on a thread":
            consumer.subscribe()
        else:
            stack.enter_context(LoopThread()).run(consumer.subscribe_async())
        assert consumer.over() == ["complete"]
    assert seen[0] == total
    assert len(depths) == 1


@on_loops
async def test_rule_3_4_a_grant_wakes_whom_it_is_for():
    """Ten thousand tasks wait. Three grants: three of them run, and once each; the others are not touched."""
    channel, crowd, steps = manual(buffer=10**6), 10_000, [0]
    tasks = [asyncio.ensure_future(counted(channel.sender.send_async(n), steps)) for n in range(crowd)]
    await settle(2)
    assert (steps[0], channel.statistics().waiting_senders) == (crowd, crowd)
    for n in (1, 3, 20):
        steps[0] = 0
        before = channel.statistics().sent
        assert channel.receiver.credit.request(n) is True
        await settle(3)
        assert steps[0] == n
        assert channel.statistics().sent == before + n
    assert channel.receiver.receive_many(100) == list(range(24))
    assert channel.statistics().waiting_senders == crowd - 24
    channel.receiver.cancel()
    await asyncio.wait(tasks)
    assert all(isinstance(task.exception(), ChannelCancelled) for task in tasks[24:])


def test_rule_3_4_a_grant_wakes_whom_it_is_for_on_threads():
    channel = manual(buffer=10**6)
    workers = [spawn(channel.sender.send, n) for n in range(30)]
    wait_until(lambda: channel.statistics().waiting_senders == 30)
    channel.receiver.credit.request(3)
    wait_until(lambda: channel.statistics().waiting_senders == 27)
    wait_until(lambda: sum(worker.done() for worker in workers) == 3)
    assert channel.statistics().sent == 3
    channel.receiver.cancel()
    assert sum(isinstance(worker.exception(), ChannelCancelled) for worker in workers) == 27


def test_rule_3_5_cancel_is_bounded_and_idempotent():
    """With a full buffer and a full line: each item is discarded once, each waiter is woken once; a second time nothing is done."""
    discarded, size = [], 10_000
    channel = CreditChannel(size, on_discard=items_into(discarded))
    channel.sender.send_many(range(size))
    workers = [spawn(channel.sender.send, n) for n in range(20)]
    wait_until(lambda: channel.statistics().waiting_senders == 20)
    other = spawn(channel.receiver.cancel)  # from any thread
    other.result()
    assert discarded == list(range(size))
    assert all(isinstance(worker.exception(), ChannelCancelled) for worker in workers)
    before = channel.statistics()
    channel.receiver.cancel()
    assert len(discarded) == size
    assert channel.statistics() == before


def test_rule_3_5_cancel_wakes_before_it_reports():
    """A sender that waits gets the error though `on_discard` takes its time."""
    reporting, told = threading.Event(), threading.Event()

    def on_discard(_item, _reason, _error):
        reporting.set()
        assert told.wait(PATIENCE)

    channel = CreditChannel(1, on_discard=on_discard)
    channel.sender.send("x")
    waiting = spawn(channel.sender.send, "y")
    wait_until(lambda: channel.statistics().waiting_senders == 1)
    cancelling = spawn(channel.receiver.cancel)
    assert reporting.wait(PATIENCE)
    assert isinstance(waiting.exception(), ChannelCancelled)
    told.set()
    cancelling.result()


def test_rule_3_5_cancel_from_del():
    """An object in a garbage cycle, collected in whatever thread: its `__del__` cancels."""
    channel = CreditChannel(1)
    channel.sender.send("x")
    waiting = spawn(channel.sender.send, "y")
    wait_until(lambda: channel.statistics().waiting_senders == 1)

    class Owner:
        def __init__(self, receiver):
            self.receiver = receiver
            self.me = self

        def __del__(self):
            self.receiver.cancel()
            self.receiver.cancel()

    owner = Owner(channel.receiver)
    del owner
    collect()
    assert isinstance(waiting.exception(), ChannelCancelled)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_rule_3_5_cancel_from_a_signal_handler():
    """It interrupts the receiver that waits in the same thread, which finds the end."""
    told = run_script(
        """
        import os, signal, threading, time
        from sluicegate import ChannelCancelled, CreditChannel

        channel = CreditChannel(4)
        signal.signal(signal.SIGUSR1, lambda *_: channel.receiver.cancel())

        def shoot():
            while not channel.statistics().waiting_receivers:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGUSR1)

        threading.Thread(target=shoot).start()
        try:
            channel.receiver.receive()
        except ChannelCancelled:
            print("cancelled", channel.statistics().waiting_receivers)
        """
    )
    assert told == "cancelled 0\n"


@ways
def test_rule_3_6_grants_after_cancel_do_nothing(way):
    channel = manual()
    with feeding(channel, range(100)), consuming(way, channel) as consumer:
        consumer.request(2)
        assert consumer.rest() == [0, 1]
        consumer.cancel()
        before = channel.statistics()
        assert [consumer.request(1) for _ in range(3)] == [False] * 3
        assert channel.statistics().granted == before.granted
        assert channel.sender.credit == 0
    wait_until(lambda: waits(channel) == 0)
    assert consumer.items == [0, 1]
    assert consumer.ends == []


def test_rule_3_7_cancel_three_times():
    """Is the same as once."""
    discarded = []
    channel = manual(on_discard=items_into(discarded))
    channel.receiver.credit.request(5)
    channel.sender.send_many("abc")
    channel.receiver.cancel()
    once = channel.statistics()
    channel.receiver.cancel()
    channel.receiver.cancel()
    assert channel.statistics() == once
    assert discarded == ["a", "b", "c"]


@ways
def test_rule_3_8_grants_add_up(way):
    channel = manual()
    with feeding(channel, range(100)), consuming(way, channel) as consumer:
        consumer.request(2)
        consumer.request(3)
        assert consumer.rest() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("call", ["request", "request_up_to", "lease"])
def test_rule_3_9_zero(call):
    """ValueError for the caller, naming the rule; the channel is unchanged."""
    channel = manual()
    channel.receiver.credit.request(1)
    before = channel.statistics()
    arguments = (0, 1.0) if call == "lease" else (0,)
    with pytest.raises(ValueError, match=r"3\.9"):
        getattr(channel.receiver.credit, call)(*arguments)
    assert channel.statistics() == before
    channel.sender.send("x")
    assert channel.receiver.receive() == "x"


@pytest.mark.parametrize("call", ["request", "request_up_to", "lease"])
def test_rule_3_9_negative(call):
    """Likewise, and what is no int is a TypeError; more than can be counted is no end."""
    channel = manual()
    before = channel.statistics()

    def ask(n):
        return getattr(channel.receiver.credit, call)(*((n, 1.0) if call == "lease" else (n,)))

    for n in (-1, -7, -MAX, -(2**80)):
        with pytest.raises(ValueError, match=r"demand is positive.*3\.9"):
            ask(n)
    for nothing in (True, False, 1.5, 2.0, "3", None, float("nan"), -INF, [1], 1j):
        with pytest.raises(TypeError):
            ask(nothing)
    assert channel.statistics() == before
    assert ask(2**64) is True
    assert ask(2**70) is (call != "request_up_to")  # there is nothing above no end
    assert channel.statistics().granted == INF


@pushes
def test_rule_3_9_inside_on_next(way):
    """It raises in the handler, whose the mistake is: what that deals with has not happened, the rest is 2.13."""
    channel, caught = manual(), []

    def on_item(consumer, _item):
        try:
            consumer.request(0)
        except ValueError as error:
            caught.append(error)

    with feeding(channel, range(100)), consuming(way, channel, on_item) as consumer:
        consumer.request(3)
        assert consumer.rest() == [0, 1, 2]
        assert len(caught) == 3


@pushes
@pytest.mark.parametrize("last", ["complete", "error"])
def test_rule_3_10_3_11_signals_while_a_lock_is_held(way, last):
    """The caller of `request` may hold a lock that the handlers take: no signal runs inside `request`."""
    channel, lock, error = manual(), threading.Lock(), None if last == "complete" else Stop("the end")

    def on_item(_consumer, _item):
        with lock:
            pass

    with feeding(channel, range(50), error), consuming(way, channel, on_item) as consumer:
        for _ in range(50):
            with lock:
                consumer.request(1)
        with lock:
            consumer.request(10)
        consumer.over()
        assert consumer.items == list(range(50))


@ways
def test_rule_3_12_cancel_with_demand_left(way):
    """10 and 5 are asked for, one is taken: no more than 15 in all, and then silence."""
    channel = manual(buffer=50)

    with feeding(channel, iter(int, 1)) as source, consuming(way, channel, lambda one, _: one.cancel()) as consumer:
        channel.receiver.credit.request(10)
        channel.receiver.credit.request(5)
        assert isinstance(source.exception(), ChannelCancelled)
    wait_until(lambda: waits(channel) == 0)
    assert len(consumer.items) == 1
    seen = channel.statistics()
    assert seen.sent <= 15
    assert seen.received == 1
    assert seen.sent == seen.received + seen.discarded


@pytest.mark.thread_unsafe(reason="counts what one collection of the whole process finds")
@pushes
def test_rule_3_13_references_are_dropped(way):
    """After a cancellation neither the receiver nor a handler, nor an item, is kept alive by the sender's side."""

    class Item:
        pass

    class Handler:
        def __call__(self, item):
            pass

    channel = manual()
    sender, receiver = channel.sender, channel.receiver
    del channel
    handler, item = Handler(), Item()
    receiver.credit.request(5)
    dead = [weakref.ref(one) for one in (receiver, handler, item)]

    async def subscribe_async(receiver, handler):
        return receiver.subscribe(handler)

    with contextlib.ExitStack() as stack:
        if way == "subscribe on a thread":
            subscription = receiver.subscribe(handler)
        else:
            running = stack.enter_context(LoopThread())
            subscription = running.run(subscribe_async(receiver, handler))
        sender.send(item)
        wait_until(lambda: sender.statistics().waiting_receivers == 1)
        subscription.cancel()
        del receiver, handler, item, subscription

        def gone():
            gc.collect()
            return all(one() is None for one in dead)

        wait_until(gone)
    with pytest.raises(ChannelCancelled):
        sender.send(1)


@pytest.mark.parametrize("state", ["open", "completing", "completed", "failed", "cancelled", "window, completed", "window, cancelled"])
def test_rule_3_15_3_16_cancel_and_grants_never_raise(state):
    """A grant that is valid, and a cancellation, in any state, any number of times."""
    window = state.startswith("window, ")
    state = state.removeprefix("window, ")
    channel = CreditChannel(4) if window else manual()
    credit = channel.receiver.credit
    if state == "completing":
        credit.request(1)
        channel.sender.send("x")
        channel.sender.complete()
    elif state != "open":
        ended_channel(state, channel)
    assert channel.statistics().state == state
    took = state == "open"
    for _ in range(2):
        assert credit.request(1) is took
        assert credit.request(MAX) is took
        assert credit.lease(1, 1.0) is took
        credit.request_up_to(MAX)
        credit.pause()
        credit.resume()
        credit.drain()
        credit.defer_to(None)
    if not took and state != "completing":
        assert credit.request(0) is False  # not even what is not valid
    for _ in range(3):
        channel.receiver.cancel()
        assert credit.request(1) is False
    with channel.receiver:
        pass


@ways
def test_rule_3_17_the_most_that_can_be_asked_for(way):
    channel = manual()
    with feeding(channel, range(3)), consuming(way, channel) as consumer:
        assert consumer.request(MAX) is True
        assert consumer.over() == ["complete"]
        assert consumer.items == [0, 1, 2]
    assert channel.statistics().sent == 3


@ways
def test_rule_3_17_adding_up_to_the_most(way):
    channel = manual(buffer=INF)
    credit = channel.receiver.credit
    credit.request(MAX // 2)
    credit.request(MAX // 2)
    assert channel.sender.credit == MAX - 1
    credit.request(1)
    assert channel.sender.credit == INF
    with feeding(channel, range(3)), consuming(way, channel) as consumer:
        assert consumer.over() == ["complete"]
        assert consumer.items == [0, 1, 2]
    assert channel.statistics().granted == INF


@pushes
def test_rule_3_17_above_the_most(way):
    """Far more than can be counted, from `on_next`: no error, nothing wraps, there is no end to it."""
    channel, grants = manual(), []

    def on_item(consumer, item):
        if item < 10:
            consumer.request(MAX - 1)
            grants.append(channel.statistics().granted)

    with feeding(channel, range(20)), consuming(way, channel, on_item) as consumer:
        consumer.request(1)
        assert consumer.over() == ["complete"]
        assert consumer.items == list(range(20))
    assert grants == [INF] * 10


# -------------------------------------------------------------------------------------------------- Reactive Streams 4: stages


@pytest.mark.parametrize("kind", ["thread", "task"])
@pytest.mark.parametrize("rule", ["1.1", "1.4", "1.5", "3.12"])
def test_rule_4_1_a_stage_has_two_sides(kind, rule):
    """A stage written by hand, which takes credit below before it receives above, keeps the rules on both."""
    above, below = CreditChannel(1), manual()
    taken = []

    def stage():
        with below.sender as sender, above.receiver as receiver:
            while True:
                with sender.permit() as permit:
                    try:
                        item = receiver.receive()
                    except ChannelClosed:
                        return
                    taken.append(item)
                    permit.send(item)

    async def stage_async():
        async with below.sender as sender, above.receiver as receiver:
            while True:
                async with sender.permit() as permit:
                    try:
                        item = await receiver.receive_async()
                    except ChannelClosed:
                        return
                    taken.append(item)
                    permit.send(item)

    error = Stop("above") if rule == "1.4" else None
    with LoopThread() as running:
        work = spawn(stage) if kind == "thread" else running.submit(stage_async())
        source = spawn(feed, above.sender, range(3 if rule in ("1.4", "1.5") else 100), error)
        credit, total = below.receiver.credit, 0
        if rule in ("1.4", "1.5"):
            credit.request(10)
            if error is None:
                assert list(below.receiver) == [0, 1, 2]
            else:
                assert [below.receiver.receive() for _ in range(3)] == [0, 1, 2]
                with pytest.raises(Stop) as raised:
                    below.receiver.receive()
                assert raised.value is error
            assert work.exception(PATIENCE) is source.exception() is error
            return
        for n in (0, 1, 1, 2):
            if n:
                credit.request(n)
            total += n
            wait_until(lambda: below.statistics().sent == total)  # noqa: B023 - at once
            wait_until(lambda: below.statistics().waiting_senders == above.statistics().waiting_senders == 1)
            assert taken == list(range(total))
        assert below.receiver.receive_many(100) == taken
        below.receiver.cancel()
        assert isinstance(work.exception(PATIENCE), ChannelCancelled)
        assert isinstance(source.exception(), ChannelCancelled)
        assert taken == list(range(total))


@pytest.mark.parametrize("recovers", [False, True], ids=["passes it on", "recovers"])
@pytest.mark.parametrize("kind", ["thread", "task"])
def test_rule_4_2_errors_go_on_at_once(kind, recovers):
    """A stage is a receiver and a sender: the error above reaches the receiver below as it is, or the stage cancels what is above."""
    above, below = CreditChannel(4), CreditChannel(4)
    error = Stop("above")

    def stage():
        with below.sender as sender, above.receiver as receiver:
            try:
                for item in receiver:
                    sender.send(item)
            except Stop:
                if not recovers:
                    raise
                sender.send("instead")

    async def stage_async():
        async with below.sender as sender, above.receiver as receiver:
            try:
                async for item in receiver:
                    await sender.send_async(item)
            except Stop:
                if not recovers:
                    raise
                await sender.send_async("instead")

    with LoopThread() as running:
        work = spawn(stage) if kind == "thread" else running.submit(stage_async())
        with contextlib.suppress(Stop):
            feed(above.sender, range(2), error)
        got = [below.receiver.receive(), below.receiver.receive()]
        if recovers:
            assert [*got, *below.receiver] == [0, 1, "instead"]
            assert work.exception(PATIENCE) is None
        else:
            with pytest.raises(Stop) as raised:
                below.receiver.receive()
            assert raised.value is error
            assert work.exception(PATIENCE) is error
        assert above.receiver.ended


def test_rule_4_2_a_stage_that_recovers_early_cancels_above():
    """It leaves its block, so the source gets the end, though it had more."""
    above, below = CreditChannel(1), CreditChannel(4)
    source = spawn(feed, above.sender, range(100))

    def stage():
        with below.sender as sender, above.receiver as receiver:
            sender.send(receiver.receive())

    spawn(stage).result()
    assert isinstance(source.exception(), ChannelCancelled)
    assert list(below.receiver) == [0]


# ---------------------------------------------------------------------------------------------------------------------- the table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "credit-rules.md"


RULE = re.compile(r"test_(?:rule_|[A-Z]\d)\w*")


@pytest.mark.skipif(not PAGE.exists(), reason="the docs are not there where a wheel is tested")
def test_the_table_of_rules_is_whole():
    """Every test that the page names exists, and every test of a rule is on the page."""
    sources = [file.read_text("utf-8") for file in Path(__file__).parent.glob("test_credit_rules*.py")]
    here = {name for source in sources for name in re.findall(r"^(?:async )?def (\w+)", source, re.MULTILINE) if RULE.fullmatch(name)}
    there = set(RULE.findall(PAGE.read_text("utf-8")))
    assert there - here == set()
    assert here - there == set()
