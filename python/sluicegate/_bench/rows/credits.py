"""The rows about credit channels: what the accounting costs beside our own queue of the same bound, and what a window is worth."""

from __future__ import annotations

from functools import partial
from typing import Any

import sluicegate
from sluicegate._bench import harness
from sluicegate._bench.harness import Face, Make
from sluicegate._bench.model import OURS, Contender, Nanoseconds, Row, with_gil

WINDOW = 256
BATCH = 100
QUEUE = "sluicegate.Queue"
WINDOWS = (1, 4, 16, 64, 1024, 4096)


def channel(window: int = WINDOW) -> Make:
    """A channel, from threads."""

    def face() -> Face:
        made: sluicegate.CreditChannel[Any] = sluicegate.CreditChannel(window)
        sender, receiver = made.sender, made.receiver
        return Face(sender.send, receiver.receive, lambda: made.statistics().buffered, sender.complete)

    return face


def acknowledged() -> Face:
    """A channel whose deliveries are acked one by one."""
    made: sluicegate.AckChannel[Any] = sluicegate.AckChannel(WINDOW)
    sender, receiver = made.sender, made.receiver

    def receive() -> None:
        receiver.receive().ack()

    return Face(sender.send, receive, lambda: made.statistics().buffered, sender.complete)


def channel_in_batches() -> Face:
    """A channel, a batch at a time."""
    made: sluicegate.CreditChannel[Any] = sluicegate.CreditChannel(1024)
    sender, receiver = made.sender, made.receiver
    return Face(sender.send_many, receiver.receive_many, lambda: made.statistics().buffered, sender.complete)


def channel_async() -> Face:
    """A channel, from a loop."""
    made: sluicegate.CreditChannel[Any] = sluicegate.CreditChannel(WINDOW)
    sender, receiver = made.sender, made.receiver
    return Face(sender.send_async, receiver.receive_async, lambda: made.statistics().buffered, sender.complete)


def queue(bound: int = WINDOW) -> Make:
    """Our queue, from threads."""

    def face() -> Face:
        q: sluicegate.Queue[Any] = sluicegate.Queue(bound)
        return Face(q.put, q.get, q.qsize)

    return face


def queue_in_batches() -> Face:
    """Our queue, a batch at a time."""
    q: sluicegate.Queue[Any] = sluicegate.Queue(1024)
    return Face(q.put_many, q.get_many, q.qsize)


def queue_async() -> Face:
    """Our queue, from a loop."""
    q: sluicegate.Queue[Any] = sluicegate.Queue(WINDOW)
    return Face(q.put_async, q.get_async, q.qsize)


one_to_one = partial(harness.threads, producers=1, consumers=1)
four_to_four = partial(harness.threads, producers=4, consumers=4)
in_batches = partial(harness.put_get_batches, size=BATCH)

ROWS = (
    Row(
        "credit",
        f"send + receive, one thread, window {WINDOW}",
        (
            Contender(OURS, harness.put_get(channel())),
            Contender(QUEUE, harness.put_get(queue())),
            Contender("sluicegate.AckChannel", harness.put_get(acknowledged)),
        ),
        least=1_000,
    ),
    Row(
        "credit-batches",
        f"send_many + receive_many of {BATCH}, one thread, per item",
        (Contender(OURS, in_batches(channel_in_batches)), Contender(QUEUE, in_batches(queue_in_batches))),
        goals=(Nanoseconds(10, (with_gil,)),),
        step=BATCH,
        least=10_000,
    ),
    Row(
        "credit-async",
        f"await send + await receive, one loop, window {WINDOW}",
        (Contender(OURS, harness.on_one_loop(channel_async)), Contender(QUEUE, harness.on_one_loop(queue_async))),
        least=1_000,
    ),
    Row(
        "credit-threads-4-4",
        f"4 -> 4 threads, window {WINDOW}",
        (Contender(OURS, four_to_four(channel())), Contender(QUEUE, four_to_four(queue()))),
        step=4,
        least=20_000,
        contended=True,
    ),
    Row(
        "credit-windows",
        f"1 -> 1 threads, window {WINDOW}, and other windows",
        (
            Contender(OURS, one_to_one(channel())),
            Contender(QUEUE, one_to_one(queue())),
            *(Contender(f"window {window}", one_to_one(channel(window))) for window in WINDOWS),
        ),
        least=20_000,
        contended=True,
    ),
)
