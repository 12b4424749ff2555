"""The rows about credit channels: what the accounting costs beside our own queue of the same bound, and what a window is worth."""

from __future__ import annotations

from functools import partial
from typing import Any

import sluicegate

from ..harness import ITEM, Face, Make
from ..loops import queues as loops
from ..loops.queues import AWAITED, turns
from ..model import OURS, Contender, Row
from ..peers.queues import ours

WINDOW = 256
BATCH = 100
QUEUE = "sluicegate.Queue"
WINDOWS = (1, 4, 16, 64, 1024, 4096)


def channel(send: str = "send", receive: str = "receive", *, window: int = WINDOW) -> Make:
    """A channel, by the names of the methods of its ends."""

    def face() -> Face:
        made: sluicegate.CreditChannel[Any] = sluicegate.CreditChannel(window)
        sender, receiver = made.sender, made.receiver
        return Face(getattr(sender, send), getattr(receiver, receive), lambda: made.statistics().buffered, sender.complete)

    return face


def acknowledged() -> Face:
    """A channel whose deliveries are acked one by one."""
    made: sluicegate.AckChannel[Any] = sluicegate.AckChannel(WINDOW)
    sender, receiver = made.sender, made.receiver

    def receive() -> None:
        receiver.receive().ack()

    return Face(sender.send, receive, lambda: made.statistics().buffered, sender.complete)


queue = partial(ours, maxsize=WINDOW)
one_to_one = partial(loops.threads, producers=1, consumers=1)
four_to_four = partial(loops.threads, producers=4, consumers=4)
in_batches = partial(turns, statement=f"put(item); get({BATCH})", items=BATCH, item=[ITEM] * BATCH)
awaited = partial(turns, statement=AWAITED)

ROWS = (
    Row(
        "credit",
        f"send + receive, one thread, window {WINDOW}",
        (
            Contender(OURS, turns(channel())),
            Contender(QUEUE, turns(queue()), peer=False),
            Contender("sluicegate.AckChannel", turns(acknowledged), peer=False),
        ),
        least=1_000,
    ),
    Row(
        "credit-batches",
        f"send_many + receive_many of {BATCH}, one thread, per item",
        (
            Contender(OURS, in_batches(channel("send_many", "receive_many", window=1024))),
            Contender(QUEUE, in_batches(ours("put_many", "get_many", maxsize=1024)), peer=False),
        ),
        step=BATCH,
        least=10_000,
    ),
    Row(
        "credit-async",
        f"await send + await receive, one loop, window {WINDOW}",
        (
            Contender(OURS, awaited(channel("send_async", "receive_async"))),
            Contender(QUEUE, awaited(queue("put_async", "get_async")), peer=False),
        ),
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
            *(Contender(f"window {window}", one_to_one(channel(window=window)), peer=False) for window in WINDOWS),
        ),
        least=20_000,
        contended=True,
    ),
)
