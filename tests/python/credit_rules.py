# pyright: basic
"""What the tests of the rules of credit channels share: the four ways to receive, and channels at rest."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import types
from typing import Any

import pytest
from helpers import PATIENCE, LoopThread, settle, spawn, wait_until

from sluicegate import (
    ChannelCancelled,
    CreditChannel,
)

MAX = 2**63 - 1
INF = float("inf")
PULL = ["for", "async for"]
PUSH = ["subscribe on a thread", "subscribe on a loop"]
WAYS = PULL + PUSH
ways = pytest.mark.parametrize("way", WAYS)
pushes = pytest.mark.parametrize("way", PUSH)


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


def waits(channel):
    seen = channel.statistics()
    return seen.waiting_senders + seen.waiting_receivers


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
