"""Snapshots of what an object has seen.

Each class is the table of what is measured: a field's metadata, as `dataclasses.fields` returns it, says its `kind` (a label, or a gauge,
which goes up and down, or a counter, which only grows), its `unit` and its `doc`. The class's docstring is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from sluicegate._classes import public

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    _T = TypeVar("_T")

__all__ = [
    "ChannelStatistics",
    "KeyedRateStatistics",
    "KeyedSemaphoreStatistics",
    "QueueStatistics",
    "RateStatistics",
    "SemaphoreStatistics",
]


def _label(doc: str) -> dict[str, str]:
    return {"kind": "label", "unit": "", "doc": doc}


def _gauge(doc: str, unit: str = "") -> dict[str, str]:
    return {"kind": "gauge", "unit": unit, "doc": doc}


def _counter(doc: str, unit: str) -> dict[str, str]:
    return {"kind": "counter", "unit": unit, "doc": doc}


def _documented(cls: type[_T]) -> type[_T]:
    """Let `help()` show the fields."""
    lines = [f"    {each.name}: {each.metadata['doc']}" for each in fields(cls)]  # type: ignore[arg-type]
    cls.__doc__ = "\n".join([cls.__doc__ or "", "", "Attributes:", *lines])
    return cls


@public
@_documented
@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """What a queue has seen, at one moment."""

    name: str | None = field(metadata=_label("The name that the object was given."))
    size: int = field(metadata=_gauge("Items in the queue.", "items"))
    maxsize: int = field(metadata=_gauge("The bound on the number of items; zero or less for none.", "items"))
    puts: int = field(metadata=_counter("Items put so far.", "items"))
    gets: int = field(metadata=_counter("Items got so far. What `clear` and an immediate shutdown removed is not among them.", "items"))
    unfinished_tasks: int = field(metadata=_gauge("Items put for which `task_done` has not been called.", "items"))
    peak_size: int = field(metadata=_gauge("The most items that the queue has held.", "items"))
    waiting_putters: int = field(metadata=_gauge("Threads and tasks that wait for room now.", "operations"))
    waiting_getters: int = field(metadata=_gauge("Threads and tasks that wait for an item now.", "operations"))
    waiting_joiners: int = field(metadata=_gauge("Threads and tasks that wait in `join` now.", "operations"))
    put_blocked_seconds: float = field(
        metadata=_counter("Time that puts have waited for room, summed over all of them, those that still wait too.", "seconds")
    )
    get_blocked_seconds: float = field(
        metadata=_counter("Time that gets have waited for items, summed over all of them, those that still wait too.", "seconds")
    )
    full_for: float = field(metadata=_gauge("Time since a producer first found the queue full, while it still is; else 0.", "seconds"))
    is_shutdown: bool = field(metadata=_gauge("Whether the queue has been shut down."))


@public
@_documented
@dataclass(frozen=True, slots=True)
class RateStatistics:
    """What a rate limiter has seen, at one moment."""

    name: str | None = field(metadata=_label("The name that the object was given."))
    admitted: int = field(metadata=_counter("Calls that were let through, reservations included.", "calls"))
    refused: int = field(metadata=_counter("Calls that were refused.", "calls"))
    waited: int = field(metadata=_counter("Those among the admitted calls that had to wait in line.", "calls"))
    waited_seconds: float = field(
        metadata=_counter("Time spent waiting in line, summed over all waits, those still going on too.", "seconds")
    )
    waiters: int = field(metadata=_gauge("Threads and tasks that wait now.", "operations"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class KeyedRateStatistics:
    """What the buckets of all keys have seen, at one moment."""

    name: str | None = field(metadata=_label("The name that the object was given."))
    admitted: int = field(metadata=_counter("Calls that were let through, reservations included.", "calls"))
    refused: int = field(metadata=_counter("Calls that were refused.", "calls"))
    waited: int = field(metadata=_counter("Those among the admitted calls that had to wait in line.", "calls"))
    waited_seconds: float = field(
        metadata=_counter("Time spent waiting in line, summed over all waits, those still going on too.", "seconds")
    )
    waiters: int = field(metadata=_gauge("Threads and tasks that wait now, for any key.", "operations"))
    keys: int = field(metadata=_gauge("Keys that are remembered now.", "keys"))
    max_keys: int = field(metadata=_gauge("The most keys that are remembered.", "keys"))
    forgotten: int = field(metadata=_counter("Full buckets that were forgotten because room was needed.", "keys"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What a credit channel has seen, at one moment. Amounts are in items, or in units of weight where it weighs them."""

    name: str | None = field(metadata=_label("The name that the object was given."))
    state: str = field(metadata=_label("`open`, `completing`, `completed`, `failed` or `cancelled`."))
    window: int = field(metadata=_gauge("The window; at 0 nothing flows but what is asked for.", "items"))
    credit: float = field(metadata=_gauge("What may be sent now; `inf` where there is no end to it.", "items"))
    granted: float = field(
        metadata=_counter(
            "What has been granted so far; `inf` where there is no end to it, and from 2**63 - 1 on, though `credit` may have one.", "items"
        )
    )
    owed: int = field(metadata=_gauge("What has been consumed or asked for, and not been granted yet.", "items"))
    sent_weight: int = field(metadata=_counter("What has been sent so far.", "items"))
    voided: int = field(metadata=_counter("What was granted and taken back unused.", "items"))
    permits: int = field(metadata=_gauge("What has been taken as permits, for items that do not exist yet.", "items"))
    outstanding: int = field(metadata=_gauge("What has been sent, and not been received or not been settled.", "items"))
    peak_outstanding: int = field(metadata=_gauge("The most that was outstanding.", "items"))
    sent: int = field(metadata=_counter("Items sent so far, whatever they weigh.", "items"))
    received: int = field(metadata=_counter("Items handed to receivers so far, redeliveries too.", "items"))
    discarded: int = field(metadata=_counter("Items given up.", "items"))
    redelivered: int = field(metadata=_counter("Deliveries that came back.", "deliveries"))
    stale: int = field(metadata=_counter("Deliveries that were settled too late.", "deliveries"))
    buffered: int = field(metadata=_gauge("Items in the buffer.", "items"))
    unacked: int = field(metadata=_gauge("Items with receivers who have not settled them.", "items"))
    waiting_senders: int = field(metadata=_gauge("Threads and tasks that wait for credit now.", "operations"))
    waiting_receivers: int = field(metadata=_gauge("Threads and tasks that wait for an item now.", "operations"))
    send_blocked_seconds: float = field(
        metadata=_counter("Time that senders have waited, summed over all waits, those still going on too.", "seconds")
    )
    receive_blocked_seconds: float = field(
        metadata=_counter("Time that receivers have waited, summed over all waits, those still going on too.", "seconds")
    )
    starved_for: float = field(metadata=_counter("Time during which a sender stood in line for credit.", "seconds"))
    grants_held: bool = field(
        metadata=_gauge("Whether grants are held back: the channel is paused, or deferred to one whose sender is starved.")
    )


@public
@_documented
@dataclass(frozen=True, slots=True)
class SemaphoreStatistics:
    """What a semaphore has seen, at one moment."""

    name: str | None = field(metadata=_label("The name that the object was given."))
    size: int = field(metadata=_gauge("Permits there are in all, held or free.", "permits"))
    held: int = field(metadata=_gauge("Permits that are held.", "permits"))
    value: int = field(metadata=_gauge("Permits that are free, and not on their way to a waiter.", "permits"))
    peak_held: int = field(metadata=_gauge("The most permits that were held at once.", "permits"))
    acquired: int = field(metadata=_counter("Requests that were granted, whatever their weight.", "requests"))
    waiters: int = field(metadata=_gauge("Threads and tasks that wait now.", "operations"))
    waited_seconds: float = field(
        metadata=_counter("Time that requests have waited, summed over all waits, those still going on too.", "seconds")
    )


@public
@_documented
@dataclass(frozen=True, slots=True)
class KeyedSemaphoreStatistics:
    """What a keyed semaphore has seen of all its keys, at one moment."""

    name: str | None = field(metadata=_label("The name that the object was given."))
    keys: int = field(metadata=_gauge("Keys of which permits are held, or on their way to a waiter.", "keys"))
    waiting_keys: int = field(metadata=_gauge("Keys that wait in line until another is idle.", "keys"))
    held: int = field(metadata=_gauge("Permits that are held, of all keys together.", "permits"))
    acquired: int = field(metadata=_counter("Requests that were granted, whatever their weight.", "requests"))
    waiters: int = field(metadata=_gauge("Threads and tasks that wait now.", "operations"))
    waited_seconds: float = field(
        metadata=_counter("Time that requests have waited, summed over all waits, those still going on too.", "seconds")
    )
