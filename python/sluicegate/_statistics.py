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
    """A snapshot of a queue."""

    name: str | None = field(metadata=_label("The name given at creation."))
    size: int = field(metadata=_gauge("Items in the queue.", "items"))
    maxsize: int = field(metadata=_gauge("The largest number of items in the queue; zero or less for no bound.", "items"))
    puts: int = field(metadata=_counter("Items put.", "items"))
    gets: int = field(metadata=_counter("Items taken; items removed by `clear` or an immediate shutdown are not counted.", "items"))
    unfinished_tasks: int = field(metadata=_gauge("Items put for which `task_done` has not been called.", "items"))
    peak_size: int = field(metadata=_gauge("The largest number of items the queue has held.", "items"))
    waiting_putters: int = field(metadata=_gauge("Threads and tasks waiting for room.", "operations"))
    waiting_getters: int = field(metadata=_gauge("Threads and tasks waiting for an item.", "operations"))
    waiting_joiners: int = field(metadata=_gauge("Threads and tasks waiting in `join`.", "operations"))
    put_blocked_seconds: float = field(metadata=_counter("Total time that puts have waited for room, current waiters included.", "seconds"))
    get_blocked_seconds: float = field(
        metadata=_counter("Total time that gets have waited for items, current waiters included.", "seconds")
    )
    full_for: float = field(metadata=_gauge("Time since a producer first found the queue full; 0 if it is not full now.", "seconds"))
    is_shutdown: bool = field(metadata=_gauge("Whether the queue has been shut down."))


@public
@_documented
@dataclass(frozen=True, slots=True)
class RateStatistics:
    """A snapshot of a rate limiter."""

    name: str | None = field(metadata=_label("The name given at creation."))
    admitted: int = field(metadata=_counter("Calls that were admitted, reservations included.", "calls"))
    refused: int = field(metadata=_counter("Calls that were refused.", "calls"))
    waited: int = field(metadata=_counter("Admitted calls that had to wait.", "calls"))
    waited_seconds: float = field(metadata=_counter("Total time spent waiting, current waiters included.", "seconds"))
    waiters: int = field(metadata=_gauge("Threads and tasks waiting.", "operations"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class KeyedRateStatistics:
    """A snapshot of a keyed token bucket: all keys together."""

    name: str | None = field(metadata=_label("The name given at creation."))
    admitted: int = field(metadata=_counter("Calls that were admitted, reservations included.", "calls"))
    refused: int = field(metadata=_counter("Calls that were refused.", "calls"))
    waited: int = field(metadata=_counter("Admitted calls that had to wait.", "calls"))
    waited_seconds: float = field(metadata=_counter("Total time spent waiting, current waiters included.", "seconds"))
    waiters: int = field(metadata=_gauge("Threads and tasks waiting, for any key.", "operations"))
    keys: int = field(metadata=_gauge("Keys that are remembered.", "keys"))
    max_keys: int = field(metadata=_gauge("The largest number of keys that are remembered.", "keys"))
    forgotten: int = field(metadata=_counter("Full buckets forgotten because room was needed.", "keys"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """A snapshot of a channel. Amounts are in items, or in units of weight on a channel with `weigh`."""

    name: str | None = field(metadata=_label("The name given at creation."))
    state: str = field(metadata=_label("`open`, `completing`, `completed`, `failed` or `cancelled`."))
    window: int = field(metadata=_gauge("The window; at 0 only what is requested can be sent.", "items"))
    credit: float = field(metadata=_gauge("The credit that senders have; `inf` if it is unlimited.", "items"))
    granted: float = field(
        metadata=_counter(
            "Credit granted so far; `inf` if it is unlimited or at least 2**63 - 1, in which case `credit` can still be finite.", "items"
        )
    )
    owed: int = field(metadata=_gauge("Credit for consumed or requested items that has not been granted yet.", "items"))
    sent_weight: int = field(metadata=_counter("The total weight sent.", "items"))
    voided: int = field(metadata=_counter("Credit that was granted and taken back unused.", "items"))
    permits: int = field(metadata=_gauge("Credit held by permits, for items that do not exist yet.", "items"))
    outstanding: int = field(metadata=_gauge("The amount sent and not yet received (on an AckChannel: not yet settled).", "items"))
    peak_outstanding: int = field(metadata=_gauge("The largest amount that has been outstanding.", "items"))
    sent: int = field(metadata=_counter("The number of items sent.", "items"))
    received: int = field(metadata=_counter("Items passed to receivers, redeliveries included.", "items"))
    discarded: int = field(metadata=_counter("Items discarded.", "items"))
    redelivered: int = field(metadata=_counter("Deliveries that were requeued.", "deliveries"))
    stale: int = field(metadata=_counter("Deliveries that were settled too late.", "deliveries"))
    buffered: int = field(metadata=_gauge("Items in the buffer.", "items"))
    unacked: int = field(metadata=_gauge("Deliveries that receivers have not settled yet.", "items"))
    waiting_senders: int = field(metadata=_gauge("Threads and tasks waiting for credit.", "operations"))
    waiting_receivers: int = field(metadata=_gauge("Threads and tasks waiting for an item.", "operations"))
    send_blocked_seconds: float = field(metadata=_counter("Total time that senders have waited, current waiters included.", "seconds"))
    receive_blocked_seconds: float = field(metadata=_counter("Total time that receivers have waited, current waiters included.", "seconds"))
    starved_for: float = field(metadata=_counter("Time during which at least one sender was waiting for credit.", "seconds"))
    grants_held: bool = field(
        metadata=_gauge("Whether grants are held back: the channel is paused, or defers to a sender that has no credit.")
    )


@public
@_documented
@dataclass(frozen=True, slots=True)
class SemaphoreStatistics:
    """A snapshot of a semaphore."""

    name: str | None = field(metadata=_label("The name given at creation."))
    size: int = field(metadata=_gauge("The total number of permits, held or free.", "permits"))
    held: int = field(metadata=_gauge("Permits held.", "permits"))
    value: int = field(metadata=_gauge("Free permits, not counting those on their way to a waiter.", "permits"))
    peak_held: int = field(metadata=_gauge("The largest number of permits held at once.", "permits"))
    acquired: int = field(metadata=_counter("Requests granted; a request for several permits counts once.", "requests"))
    waiters: int = field(metadata=_gauge("Threads and tasks waiting.", "operations"))
    waited_seconds: float = field(metadata=_counter("Total time that requests have waited, current waiters included.", "seconds"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class KeyedSemaphoreStatistics:
    """A snapshot of a keyed semaphore: all keys together."""

    name: str | None = field(metadata=_label("The name given at creation."))
    keys: int = field(metadata=_gauge("Keys whose permits are held or on their way to a waiter.", "keys"))
    waiting_keys: int = field(metadata=_gauge("Keys that wait until another key is idle.", "keys"))
    held: int = field(metadata=_gauge("Permits held, all keys together.", "permits"))
    acquired: int = field(metadata=_counter("Requests granted; a request for several permits counts once.", "requests"))
    waiters: int = field(metadata=_gauge("Threads and tasks waiting.", "operations"))
    waited_seconds: float = field(metadata=_counter("Total time that requests have waited, current waiters included.", "seconds"))
