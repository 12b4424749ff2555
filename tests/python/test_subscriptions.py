"""Subscriptions: their end can be waited for, the exit waits for it, and a subscriber that could not start leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading

import pytest
from helpers import run_script, spawn, wait_until

from sluicegate import AckChannel, ChannelCancelled, CreditChannel

CLASSES = [CreditChannel, AckChannel]
kinds = pytest.mark.parametrize("cls", CLASSES)


def unwrap(received):
    if hasattr(received, "ack"):
        received.ack()
        return received.value
    return received


@kinds
def test_join(cls):
    """It returns when the last function has: `on_complete` and what it does is over by then."""
    channel, seen = cls(), []
    subscription = channel.receiver.subscribe(lambda item: seen.append(unwrap(item)), on_complete=lambda: seen.append("end"))
    with pytest.raises(TimeoutError, match=r"has not finished within 0\.01 seconds"):
        subscription.join(0.01)
    channel.sender.send_many(range(100))
    channel.sender.complete()
    assert subscription.join(10) is None
    assert subscription.join() is None  # as often as anybody likes
    assert seen == [*range(100), "end"]


@kinds
@pytest.mark.parametrize("how", ["failed", "cancelled", "raised"])
def test_join_after_another_end(cls, how):
    channel, seen = cls(), []
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        subscription = channel.receiver.subscribe(lambda item: 1 / unwrap(item), on_error=lambda error: seen.append(str(error)))
        {
            "failed": lambda: channel.sender.fail(OSError("disk")),
            "cancelled": subscription.cancel,
            "raised": lambda: channel.sender.send(0),
        }[how]()
        subscription.join(10)
    finally:
        sys.unraisablehook = hook
    assert seen == (["disk"] if how == "failed" else [])


def test_many_join_at_once():
    channel = CreditChannel()
    subscription = channel.receiver.subscribe(print)
    workers = [spawn(subscription.join) for _ in range(4)]
    wait_until(lambda: subscription._finished.statistics().unfinished_tasks == 1)
    channel.sender.complete()
    for worker in workers:
        worker.result()


@pytest.mark.parametrize("where", ["thread", "loop"])
def test_a_subscriber_does_not_wait_for_itself(where):
    errors = []

    def on_next(_):
        with pytest.raises(RuntimeError, match="cannot wait for itself") as caught:
            subscription.join()
        errors.append(caught.value)

    def subscribe():
        nonlocal subscription
        channel = CreditChannel()
        subscription = channel.receiver.subscribe(on_next)
        channel.sender.send(1)
        channel.sender.complete()

    async def main():
        subscribe()
        await subscription

    subscription = None
    if where == "loop":
        asyncio.run(main())
    else:
        subscribe()
        subscription.join(10)
    assert len(errors) == 1


@kinds
def test_await(cls):
    """From the subscriber's own loop and from another one; cancelling the wait ends no subscription."""
    seen = []

    async def main():
        channel = cls()
        subscription = channel.receiver.subscribe(lambda item: seen.append(unwrap(item)))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(subscription, 0.01)
        elsewhere = spawn(lambda: asyncio.run(wait_for(subscription)))
        await channel.sender.send_many_async(range(100))
        channel.sender.complete()
        await subscription
        await asyncio.to_thread(elsewhere.result)

    async def wait_for(subscription):
        await subscription

    asyncio.run(main())
    assert seen == list(range(100))


@pytest.mark.parametrize("when", ["before it ran", "while it waits", "with its loop"])
def test_the_task_goes_without_a_word(when):
    """Cancelled before its first step, cancelled while it waits, or dropped with a closed loop: its waiters get an error."""
    channel = CreditChannel()

    async def main():
        nonlocal subscription
        subscription = channel.receiver.subscribe(print)
        if when == "before it ran":
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        elif when == "while it waits":
            await asyncio.sleep(0)

    subscription = None
    if when == "with its loop":
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        loop.run_until_complete(main())
        loop.close()
        channel = None
        gc.collect()
        subscription.cancel()
        gc.collect()
    else:
        asyncio.run(main())
    subscription.join(10)


@pytest.mark.thread_unsafe(reason="replaces threading.Thread.start")
def test_no_thread_leaves_the_receiver_free(monkeypatch):
    """No function has been called, and somebody else may subscribe."""

    def start(_):
        raise RuntimeError("can't start new thread")

    channel, calls = CreditChannel(), []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            channel.receiver.subscribe(calls.append, on_subscribe=calls.append)
    assert calls == [] and not channel.receiver.ended
    subscription = channel.receiver.subscribe(calls.append)
    channel.sender.send(1)
    channel.sender.complete()
    subscription.join(10)
    assert calls == [1]


def test_no_task_leaves_the_receiver_free():
    async def main():
        channel, seen = CreditChannel(), []
        loop = asyncio.get_running_loop()

        def refuse(*_, **__):
            raise RuntimeError("no more tasks")

        loop.set_task_factory(refuse)
        try:
            with pytest.raises(RuntimeError, match="no more tasks"):
                channel.receiver.subscribe(seen.append)
        finally:
            loop.set_task_factory(None)
        subscription = channel.receiver.subscribe(seen.append)
        channel.sender.send_nowait(1)
        channel.sender.complete()
        await subscription
        assert seen == [1]

    asyncio.run(main())


def test_interrupted_in_on_subscribe():
    """A KeyboardInterrupt there is the caller's; the thread that was waiting for it ends."""
    channel = CreditChannel()

    def on_subscribe(_):
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        channel.receiver.subscribe(print, on_subscribe=on_subscribe)
    wait_until(lambda: threading.active_count() <= before)
    with pytest.raises(ChannelCancelled):
        channel.sender.send(1)


EXIT = """
import sys, threading, time
from sluicegate import AckChannel, CreditChannel
channel = {cls}(window=1000)
def on_next(item):
    time.sleep(0.001)
    getattr(item, "ack", lambda: None)()
    handled.append(item)
handled = []
import atexit
atexit.register(lambda: print(len(handled), ended))
ended = []
"""


@kinds
def test_the_exit_waits_for_what_was_sent(cls):
    """A program whose sender has completed ends after the subscriber has handled everything."""
    script = EXIT.format(cls=cls.__name__) + (
        "channel.receiver.subscribe(on_next, on_complete=lambda: ended.append('end'))\n"
        "channel.sender.send_many(range(100))\nchannel.sender.complete()\n"
    )
    assert run_script(script, limit=30) == "100 ['end']\n"


def test_the_exit_does_not_wait_for_ever():
    """Not for a sender that has not completed, nor for deliveries that somebody keeps."""
    script = """
from sluicegate import AckChannel, CreditChannel
one, two, kept = CreditChannel(), AckChannel(), []
one.receiver.subscribe(lambda _: None)
one.sender.send(1)
two.receiver.subscribe(kept.append)
two.sender.send(1)
two.sender.complete()
print("end")
"""
    assert run_script(script, limit=30) == "end\n"
