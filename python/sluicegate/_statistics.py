"""Snapshots of what an object has seen."""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate._classes import public

__all__ = ["ChannelStatistics", "KeyedRateStatistics", "QueueStatistics", "RateStatistics"]


@public
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


@public
@dataclass(frozen=True, slots=True)
class RateStatistics:
    """What a rate limiter has seen, at one moment."""

    name: str | None
    #: Calls that were let through, reservations included.
    admitted: int
    #: Calls that were sent away.
    refused: int
    #: Those among the admitted that had to wait in line.
    waited: int
    #: Seconds spent waiting in line, summed over all waits, those still going on too.
    waited_seconds: float
    #: Operations that wait now: threads and tasks.
    waiters: int


@public
@dataclass(frozen=True, slots=True)
class KeyedRateStatistics:
    """What the buckets of all keys have seen, at one moment."""

    name: str | None
    #: Calls that were let through, reservations included.
    admitted: int
    #: Calls that were sent away.
    refused: int
    #: Those among the admitted that had to wait in line.
    waited: int
    #: Seconds spent waiting in line, summed over all waits, those still going on too.
    waited_seconds: float
    #: Operations that wait now, for any key: threads and tasks.
    waiters: int
    #: Keys remembered now, and the most that are.
    keys: int
    max_keys: int
    #: Full buckets that were forgotten because room was needed.
    forgotten: int


@public
@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What a credit channel has seen, at one moment. Amounts are in items, or in units of weight where it weighs them."""

    name: str | None
    #: `open`, `completing`, `completed`, `failed` or `cancelled`.
    state: str
    #: 0: nothing flows but what is asked for.
    window: int
    #: May be sent now; `inf` where there is no end to it.
    credit: float
    #: Granted so far, in all; `inf` where there is no end to it, and from 2**63 - 1 on, though `credit` may have one.
    granted: float
    #: Consumed, or asked for, and not granted yet.
    owed: int
    #: Sent so far.
    sent_weight: int
    #: Granted and taken back unused.
    voided: int
    #: Taken as permits, for items that do not exist yet.
    permits: int
    #: Sent and not received, or not settled, and the most that was.
    outstanding: int
    peak_outstanding: int
    #: Items sent, handed to receivers (redeliveries too), and given up.
    sent: int
    received: int
    discarded: int
    #: Times that a delivery came back, and times that one was settled too late.
    redelivered: int
    stale: int
    #: Items in the buffer, and with receivers who have not settled them.
    buffered: int
    unacked: int
    #: Operations that wait now: threads and tasks.
    waiting_senders: int
    waiting_receivers: int
    #: Seconds spent waiting, summed over all waits, those still going on too.
    send_blocked_seconds: float
    receive_blocked_seconds: float
    #: Seconds during which a sender stood in line for credit.
    starved_for: float
    #: Grants are held back: it is paused, or deferred to a channel whose sender is starved.
    grants_held: bool
