"""The rows about what a queue is composed of, beside a plain queue: what each part costs where it is used."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import sluicegate

from ..harness import Face, Make
from ..loops.queues import turns
from ..model import OURS, Contender, Row, Run
from ..peers.queues import BOUND, named, ours

PLAIN = "sluicegate.Queue"


def made(maxsize: int = BOUND, **settings: Any) -> Make:
    """A queue with these settings."""
    return named(partial(sluicegate.Queue[Any], maxsize, **settings))


def one(_item: object) -> int:
    """Weigh an item."""
    return 1


def filled() -> Face:
    """A full queue that drops its oldest item."""
    face = made(overflow="drop_oldest")()
    face.items.put_many([face.item] * BOUND)
    return replace(face, holds=BOUND)


def row(name: str, about: str, run: Run) -> Row:
    """A row with the plain queue's put + get beside it."""
    return Row(name, about, (Contender(OURS, run), Contender(PLAIN, turns(ours()), peer=False)), least=1_000)


ROWS = (
    row("put-get-ttl", f"put(ttl=60) + get, one thread, maxsize {BOUND}", turns(made(), "put(item, ttl=60.0); get()")),
    row("put-get-ttl-short", f"put(ttl=0.5) + get, one thread, maxsize {BOUND}", turns(made(), "put(item, ttl=0.5); get()")),
    row("put-get-marks", f"put + get, one thread, maxsize {BOUND} with watermarks", turns(made(high=0.8, low=0.5))),
    row(
        "put-get-weight",
        f"put + get, one thread, maxsize {BOUND}, each weighed by a function of Python",
        turns(made(weigh=one, max_weight=BOUND)),
    ),
    row("put-get-codel", f"put + get, one thread, maxsize {BOUND}, shed=CoDel()", turns(made(shed=sluicegate.CoDel()))),
    row("put-get-latency", f"put + get, one thread, maxsize {BOUND}, track_latency", turns(made(track_latency=True))),
    row("drop-oldest", f"put into a full queue that drops its oldest item, maxsize {BOUND}", turns(filled, "put(item)")),
)
