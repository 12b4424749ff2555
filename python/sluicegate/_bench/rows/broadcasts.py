"""The row about broadcasts: one item to eight subscribers, beside a put into each of eight queues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import sluicegate

from ..harness import ITEM, BenchError, Stopwatch, loop_of
from ..model import OURS, Contender, Row, Run, Sample

SUBSCRIBERS = 8
BLOCK = 1_000
BY_HAND = "a put into each queue"


def sending(make: Callable[[], tuple[Any, list[Any]]], statement: str, names: tuple[str, ...]) -> Run:
    """One thread sends blocks of items. Between them, which is not measured, the subscribers' queues are emptied."""
    block = loop_of(statement, *names, "item")

    def run(n: int) -> Sample:
        send, subscribers = make()
        seconds = 0.0
        with Stopwatch() as watch:
            for begin in range(0, n, BLOCK):
                items = min(BLOCK, n - begin)
                seconds -= perf_counter()
                block(items, *send, ITEM)
                seconds += perf_counter()
                for subscriber in subscribers:
                    if len(subscriber.get_many(BLOCK)) != items:
                        raise BenchError("items are missing")
        return replace(watch.sample(n), seconds=seconds)

    return run


def ours() -> tuple[Any, list[Any]]:
    """A broadcast and its subscribers."""
    broadcast: sluicegate.Broadcast[Any] = sluicegate.Broadcast()
    return (broadcast.publish_nowait,), [broadcast.subscribe(2 * BLOCK) for _ in range(SUBSCRIBERS)]


def by_hand() -> tuple[Any, list[Any]]:
    """A queue for each subscriber."""
    queues: list[sluicegate.Queue[Any]] = [sluicegate.Queue(2 * BLOCK) for _ in range(SUBSCRIBERS)]
    return tuple(queue.put for queue in queues), queues


PUTS = tuple(f"put{number}" for number in range(SUBSCRIBERS))

ROWS = (
    Row(
        "broadcast",
        f"publish to {SUBSCRIBERS} subscribers, one thread",
        (
            Contender(OURS, sending(ours, "publish(item)", ("publish",))),
            Contender(BY_HAND, sending(by_hand, "; ".join(f"{put}(item)" for put in PUTS), PUTS), peer=False),
        ),
        least=BLOCK,
    ),
)
