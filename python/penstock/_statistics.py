"""Snapshots of what an object has seen."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["QueueStatistics"]


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """What a queue has seen, at one moment."""

    name: str | None
    #: Items in it.
    size: int
    #: Its bound; zero or less for none.
    maxsize: int
    #: Items put so far, and items got. What `clear` and an immediate shutdown removed is in neither.
    puts: int
    gets: int
    unfinished_tasks: int
    #: The most items it has held.
    peak_size: int
    #: Operations that wait in it now: threads and tasks.
    waiting_putters: int
    waiting_getters: int
    waiting_joiners: int
    #: Seconds that puts have waited for room and gets for items, summed over all of them, those that still wait too.
    put_blocked_seconds: float
    get_blocked_seconds: float
    #: Seconds since a producer first found it full, while it still is; else 0.
    full_for: float
    is_shutdown: bool


QueueStatistics.__module__ = "penstock"
