"""The rows about credit channels: what the accounting costs beside our own queue of the same bound, and what a window is worth."""

from __future__ import annotations

from functools import partial
from typing import Any

import sluicegate

from ..harness import Face, Make
from ..loops import queues as loops
from ..model import OURS, Contender, Row

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


one_to_one = partial(loops.threads, producers=1, consumers=1)
four_to_four = partial(loops.threads, producers=4, consumers=4)
in_batches = partial(loops.put_get_batches, size=BATCH)

ROWS = (
    Row(
        "credit",
        f"send + receive, one thread, window {WINDOW}",
        (
            Contender(OURS, loops.put_get(channel())),
            Contender(QUEUE, loops.put_get(queue()), peer=False),
            Contender("sluicegate.AckChannel", loops.put_get(acknowledged), peer=False),
        ),
        least=1_000,
    ),
    Row(
        "credit-batches",
        f"send_many + receive_many of {BATCH}, one thread, per item",
        (Contender(OURS, in_batches(channel_in_batches)), Contender(QUEUE, in_batches(queue_in_batches), peer=False)),
        step=BATCH,
        least=10_000,
    ),
    Row(
        "credit-async",
        f"await send + await receive, one loop, window {WINDOW}",
        (Contender(OURS, loops.on_one_loop(channel_async)), Contender(QUEUE, loops.on_one_loop(queue_async), peer=False)),
        least=1_000,
    ),
    Row(
        "credit-threads-4-4",
        f"4 -> 4 threads, window {WINDOW}",
        (Contender(OURS, four_to_four(channel())), Contender(QUEUE, four_to_four(queue()), peer=False)),
        step=4,
        least=20_000,
        contended=True,
    ),
    Row(
        "credit-windows",
        f"1 -> 1 threads, window {WINDOW}, and other windows",
        (
            Contender(OURS, one_to_one(channel())),
            Contender(QUEUE, one_to_one(queue()), peer=False),
            *(Contender(f"window {window}", one_to_one(channel(window)), peer=False) for window in WINDOWS),
        ),
        least=20_000,
        contended=True,
    ),
)
