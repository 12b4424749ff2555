"""The queues of the rows: ours, the standard library's, janus, culsans and aiologic, each as a `Face`.

The peers are used the way that is fastest for them: culsans' own methods and not its proxies, for example.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from functools import partial
from importlib import import_module
from operator import attrgetter
from typing import Any

import sluicegate

from ..harness import Face, Make, nothing
from ..model import Contender, Run

BOUND = 1024

STDLIB = "queue.Queue"
SIMPLE = "queue.SimpleQueue"
ASYNCIO = "asyncio.Queue"
EMPTY = "two empty coroutines"


def named(make: Callable[[], Any], put: str = "put", get: str = "get", *, size: str = "qsize", close: str = "") -> Make:
    """A `Face` of the object that `make` returns, by the names of its methods ("async_q.put")."""

    def face() -> Face:
        q = make()
        return Face(attrgetter(put)(q), attrgetter(get)(q), attrgetter(size)(q), getattr(q, close) if close else nothing, items=q)

    return face


def ours(put: str = "put", get: str = "get", *, maxsize: int = BOUND) -> Make:
    """Our queue."""
    return named(partial(sluicegate.Queue[Any], maxsize), put, get)


def stdlib(put: str = "put", get: str = "get", *, maxsize: int = BOUND) -> Make:
    """The standard library's queue."""
    return named(partial(queue.Queue[Any], maxsize), put, get)


def asyncios(put: str = "put", get: str = "get", *, maxsize: int = BOUND) -> Make:
    """Asyncio's queue."""
    return named(partial(asyncio.Queue[Any], maxsize), put, get)


def of_package(package: str, maxsize: int = BOUND) -> Callable[[], Any]:
    """Return a function that makes the queue of a package, which is imported at that moment."""
    return lambda: import_module(package).Queue(maxsize)


def janus(put: str, get: str, *, maxsize: int = BOUND) -> Make:
    """A janus queue, by its proxies: `sync_q.put`."""
    return named(of_package("janus", maxsize), put, get, size="sync_q.qsize", close="close")


def culsans(put: str, get: str, *, maxsize: int = BOUND) -> Make:
    """A culsans queue."""
    return named(of_package("culsans", maxsize), put, get)


def peers(work: Callable[[Make], Run], *, put: str, get: str) -> tuple[Contender, ...]:
    """The three queues for threads and asyncio; `put` and `get` say from which side: 'sync' or 'async'."""
    green = {"sync": "green", "async": "async"}
    return (
        Contender("janus", work(janus(f"{put}_q.put", f"{get}_q.get")), "janus"),
        Contender("culsans", work(culsans(f"{put}_put", f"{get}_get")), "culsans"),
        Contender("aiologic", work(named(of_package("aiologic"), f"{green[put]}_put", f"{green[get]}_get", size="__len__")), "aiologic"),
    )


def stdlib_in_batches() -> Face:
    """The standard library's queue, which takes a batch item by item."""
    q: queue.Queue[Any] = queue.Queue(BOUND)
    put, get = q.put, q.get

    def put_many(items: list[Any]) -> None:
        for item in items:
            put(item)

    def get_many(n: int) -> list[Any]:
        return [get() for _ in range(n)]

    return Face(put_many, get_many, q.qsize)


async def _put_nothing(item: object) -> None:
    pass


async def _get_nothing() -> None:
    pass


def empty_coroutines() -> Face:
    """The least that awaiting two coroutine functions can cost."""
    return Face(_put_nothing, _get_nothing, lambda: 0)
