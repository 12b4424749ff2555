# pyright: basic
"""The rules of credit channels, one by one: those of Reactive Streams 1.0.4 and its TCK (`test_rule_*`), and beyond them some of AMQP's,
RabbitMQ's, HTTP/2's, JetStream's and RSocket's. The id of the rule is in the test's name; docs/guide/credit-rules.md is the table of them.

Whatever a receiver is told can be told to it in four ways (`WAYS`): it takes items on a thread or on a loop, or has them handed to it on
either. That nothing more comes is never found out by waiting for it: the channel is at rest (the sender waits for credit, the receiver for
items, and nothing is between them), or the receiver is told of the end, and the thread or task that would tell it anything has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import random
import re
import signal
import sys
import threading
import types
import weakref
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE, STORM_ITEMS, LoopThread, collect, eventually, finish, on_loops, run_script, settle, spawn, wait_until

import sluicegate
from sluicegate import (
    AckChannel,
    ChannelCancelled,
    ChannelClosed,
    ChannelError,
    ChannelFailed,
    CreditChannel,
    Delivery,
    Empty,
    Full,
    StaleDelivery,
)
from sluicegate.testing import ManualClock

MAX = 2**63 - 1
INF = float("inf")

PULL = ["for", "async for"]
PUSH = ["subscribe on a thread", "subscribe on a loop"]
WAYS = PULL + PUSH
ways = pytest.mark.parametrize("way", WAYS)
pushes = pytest.mark.parametrize("way", PUSH)
LOCK = threading.Lock()


class Stop(Exception):
    """What senders fail with here."""


# ------------------------------------------------------------------------------------------------------------ the two ends


class Consumer:
    """A receiver that takes all it is given: the items, and how that ended."""

    def __init__(self, channel, on_item=None):
        self.channel = channel
        self.receiver = channel.receiver
        self.on_item = on_item
        self.items = []
        self.ends = []  # "complete", or an error: one is right
        self.told_by = set()  # threads, or tasks
        self.worker: Any = None
        self.subscription: Any = None

    def request(self, n):
        return self.receiver.credit.request(n)

    def cancel(self):
        self.receiver.cancel()

    def _note(self):
        try:
            self.told_by.add(asyncio.current_task() or threading.current_thread())
        except RuntimeError:
            self.told_by.add(threading.current_thread())

    def take(self, item, /):
        self._note()
        self.items.append(item)
        if self.on_item is not None:
            self.on_item(self, item)

    def end(self, how):
        self._note()
        self.ends.append(how)

    def pull(self):
        try:
            for item in self.receiver:
                self.take(item)
            self.end("complete")
        except ChannelCancelled:
            pass  # it is the receiver that has gone
        except Exception as error:
            self.end(error)

    async def pull_async(self):
        try:
            async for item in self.receiver:
                self.take(item)
            self.end("complete")
        except ChannelCancelled:
            pass
        except Exception as error:
            self.end(error)

    def subscribe(self, on_subscribe=None):
        self.subscription = self.receiver.subscribe(
            self.take, on_error=self.end, on_complete=lambda: self.end("complete"), on_subscribe=on_subscribe
        )
        return self.subscription

    async def subscribe_async(self, on_subscribe=None):
        return self.subscribe(on_subscribe)

    def over(self):
        """Waits for the end, and until nobody is left who could say more."""
        wait_until(lambda: self.ends)
        for one in self.told_by:
            if isinstance(one, threading.Thread):
                if one is not self.worker:
                    one.join(PATIENCE)
            else:
                wait_until(one.done)
        if self.worker is not None:
            self.worker.result()
        return self.ends

    def rest(self):
        """Waits until nothing can happen: the sender waits for credit, the receiver for items, and there is neither."""
        wait_until(lambda: at_rest(self.channel))
        return self.items


def at_rest(channel):
    seen = channel.statistics()
    return seen.waiting_senders > 0 and seen.credit == 0 and seen.waiting_receivers > 0 and seen.buffered == 0


@contextlib.contextmanager
def consuming(way, channel, on_item=None, on_subscribe=None):
    """A consumer at work, until the end of the block."""
    consumer = Consumer(channel, on_item)
    with contextlib.ExitStack() as stack:
        stack.callback(consumer.cancel)
        if way == "for":
            consumer.worker = spawn(consumer.pull)
        elif way == "subscribe on a thread":
            consumer.subscribe(on_subscribe)
        else:
            running = stack.enter_context(LoopThread())
            stack.callback(lambda: running.run(settle()))
            if way == "async for":
                running.submit(consumer.pull_async())
            else:
                running.run(consumer.subscribe_async(on_subscribe))
        stack.callback(consumer.cancel)
        yield consumer
    if consumer.worker is not None:
        consumer.worker.result()


def feed(sender, items, error=None):
    """A finite source: all of it, then the end, or the error."""
    with sender:
        sender.send_many(items)
        if error is not None:
            raise error


@contextlib.contextmanager
def feeding(channel, items, error=None):
    """A source on a thread; that the receiver goes before it has ended is all right, and so is its own error."""
    worker = spawn(feed, channel.sender, items, error)
    try:
        yield worker
    finally:
        channel.receiver.cancel()
        ended = worker.exception()
        assert ended is None or ended is error or isinstance(ended, ChannelCancelled)


def manual(buffer: float = 16, **options: Any) -> CreditChannel[Any]:
    """A channel on which nothing flows but what is asked for."""
    return CreditChannel(0, buffer=buffer, **options)


def itself(weight: Any) -> Any:
    return weight


def waits(channel):
    seen = channel.statistics()
    return seen.waiting_senders + seen.waiting_receivers


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


def counted(coroutine, steps):
    """The coroutine; how often it runs is added up in `steps`."""

    @types.coroutine
    def run():
        value = None
        while True:
            steps[0] += 1
            try:
                awaited = coroutine.send(value)
            except StopIteration as stop:
                return stop.value
            value = yield awaited

    return run()


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
    """A second error goes nowhere: whoever reports it has it."""
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
    """Whoever leaves the block, or lets the receiver go, has cancelled: the sender that waits is told."""
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
    """A sender on the same loop is told within one turn."""
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
    channel = CreditChannel(8, on_discard=discarded.append)

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
    """One that waits for credit is told that the receiver has gone: not why."""
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
    """It cancels, and is raised in whoever runs the handler: here `subscribe`, else a thread, which it ends, or a loop."""
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
    """With a full buffer and a full line: each item is discarded once, each waiter told once; a second time nothing is done."""
    discarded, size = [], 10_000
    channel = CreditChannel(size, on_discard=discarded.append)
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
    """A sender that waits is told though `on_discard` takes its time."""
    reporting, told = threading.Event(), threading.Event()

    def on_discard(_item):
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
    channel = manual(on_discard=discarded.append)
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
    """ValueError for whoever asks, naming the rule; the channel is as it was."""
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
    """Whoever asks for more may hold a lock that the handlers take: no signal runs inside `request`."""
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
    """It leaves its block, so the source is told, though it had more."""
    above, below = CreditChannel(1), CreditChannel(4)
    source = spawn(feed, above.sender, range(100))

    def stage():
        with below.sender as sender, above.receiver as receiver:
            sender.send(receiver.receive())

    spawn(stage).result()
    assert isinstance(source.exception(), ChannelCancelled)
    assert list(below.receiver) == [0]


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
    channel = AckChannel(4, ack_wait=10, max_deliver=3, clock=clock, on_discard=poison.append)
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
    """Whoever settles when the item has come back meanwhile is told, counted, and changes nothing."""
    clock = ManualClock()
    channel = AckChannel(4, ack_wait=10, clock=clock)
    channel.sender.send("x")
    first = channel.receiver.receive()
    clock.advance(10)
    second = channel.receiver.receive()
    with pytest.raises(StaleDelivery):
        first.ack()
    first.nack()  # a second time does nothing
    assert channel.statistics().stale == 1
    assert channel.statistics().unacked == 1
    second.ack()
    second.ack()
    assert channel.statistics().stale == 1
    assert channel.statistics().redelivered == 1
    assert channel.receiver.settled_through == 1


@pytest.mark.parametrize("how", ["nack", "let go", "raise", "nack without requeue"])
def test_J2_what_is_nacked_comes_back_at_the_head(how):
    channel, given_up = AckChannel(4, max_deliver=2, on_discard=(discarded := []).append), how == "nack without requeue"
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
    """Others settle them, after the sender has completed: the subscriber waits for that, and then is told of the end, not of an error."""
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
    """Whoever receives, and has not settled what it received, is told so at the end; another, though its thread came later, waits."""
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
    """As much as it says, and in time; whoever is left waits on."""
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
    channel, total = kind(16, on_discard=discarded.append), max(200, STORM_ITEMS // 400)
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


# ---------------------------------------------------------------------------------------------------------------------- the table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "credit-rules.md"
RULE = re.compile(r"test_(?:rule_|[A-Z]\d)\w*")


@pytest.mark.skipif(not PAGE.exists(), reason="the docs are not there where a wheel is tested")
def test_the_table_of_rules_is_whole():
    """Every test that the page names is here, and every test of a rule is on the page."""
    here = {name for name in globals() if RULE.fullmatch(name)}
    there = set(RULE.findall(PAGE.read_text("utf-8")))
    assert there - here == set()
    assert here - there == set()
