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
    "AdaptiveRateStatistics",
    "BatcherStatistics",
    "BreakerStatistics",
    "BroadcastStatistics",
    "ChannelStatistics",
    "ConcurrencyStatistics",
    "ExecutorStatistics",
    "FallbackStatistics",
    "GuardStatistics",
    "KeyedBreakerStatistics",
    "KeyedRateStatistics",
    "KeyedSemaphoreStatistics",
    "Latency",
    "LatestStatistics",
    "MiddlewareStatistics",
    "PipelineStatistics",
    "QueueStatistics",
    "RateStatistics",
    "RetryBudgetStatistics",
    "RetryStatistics",
    "SemaphoreStatistics",
    "StageStatistics",
    "SubscriberStatistics",
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
class Latency:
    """How long something took, in seconds, over all times recorded. All are 0 if there are none.

    A percentile is never below the exact one, and above it by less than 6.25 % (or 64 ns).
    """

    count: int = field(metadata=_counter("Times recorded.", "items"))
    mean: float = field(metadata=_gauge("Their mean.", "seconds"))
    p50: float = field(metadata=_gauge("Their median.", "seconds"))
    p90: float = field(metadata=_gauge("Nine of ten were no longer.", "seconds"))
    p99: float = field(metadata=_gauge("99 of 100 were no longer.", "seconds"))
    p999: float = field(metadata=_gauge("999 of 1000 were no longer.", "seconds"))
    max: float = field(metadata=_gauge("The longest of them.", "seconds"))


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
    merged: int = field(metadata=_counter("Items put that were merged into one with the same key; 0 except in a CoalescingQueue.", "items"))
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
    rejected: int = field(
        metadata=_counter(
            'Calls that the policy "reject" has refused; a `put_many` counts once. '
            'With "block" it stays 0: refused `put_nowait` and `offer`, and timeouts, are not counted.',
            "operations",
        )
    )
    dropped_oldest: int = field(metadata=_counter("Items dropped to make room for newer ones.", "items"))
    dropped_newest: int = field(metadata=_counter("Items dropped because they found the queue full.", "items"))
    dropped_lowest: int = field(metadata=_counter("Items dropped because they were the least urgent.", "items"))
    dropped_sampled: int = field(metadata=_counter("Items dropped by `Sample`.", "items"))
    dropped_expired: int = field(metadata=_counter("Items dropped because their `ttl` had passed.", "items"))
    dropped_shed: int = field(metadata=_counter("Items dropped because they had waited too long in an overloaded queue.", "items"))
    weight: int | None = field(
        default=None, metadata=_gauge("What the items in the queue weigh together; None without `weigh`.", "units of weight")
    )
    max_weight: int | None = field(default=None, metadata=_gauge("How much they may; None without `weigh`.", "units of weight"))
    oldest_seconds: float | None = field(
        default=None,
        metadata=_gauge(
            "How long the item has waited that came first; None if the queue is empty or does not note when items come.", "seconds"
        ),
    )
    latency: Latency | None = field(
        default=None, metadata=_gauge("How long items have waited, as a `Latency`; None without `track_latency`.")
    )
    level: float = field(
        default=0.0,
        metadata=_gauge("How full the queue is, from 0 to 1: by number or by weight, whichever is fuller; 0 if it has no bound.", "ratio"),
    )
    is_high: bool = field(
        default=False, metadata=_gauge("Whether it has been filled to its high mark, and not emptied to the low one since.")
    )
    high_crossings: int = field(default=0, metadata=_counter("How often it has been filled to the high mark.", "crossings"))
    low_crossings: int = field(default=0, metadata=_counter("How often it has been emptied to the low mark after that.", "crossings"))
    high_seconds: float = field(default=0.0, metadata=_counter("Total time that it has been high, that of now included.", "seconds"))
    waiting_low: int = field(default=0, metadata=_gauge("Threads and tasks waiting in `pressure.wait_low`.", "operations"))
    low_blocked_seconds: float = field(
        default=0.0, metadata=_counter("Total time that they have waited for the low mark, current waiters included.", "seconds")
    )


@public
@_documented
@dataclass(frozen=True, slots=True)
class LatestStatistics:
    """A snapshot of a latest value."""

    name: str | None = field(metadata=_label("The name given at creation."))
    version: int = field(metadata=_counter("The version of the value; 0 before the first value.", "values"))
    sets: int = field(metadata=_counter("Values set; the initial value is not counted.", "values"))
    replaced: int = field(metadata=_counter("Values that were replaced before anybody had read them.", "values"))
    waiting_readers: int = field(metadata=_gauge("Threads and tasks waiting for a value, or for a tick of `every`.", "operations"))
    read_blocked_seconds: float = field(
        metadata=_counter("Total time that readers have waited for values, current waiters included; waits for a tick are not.", "seconds")
    )
    is_shutdown: bool = field(metadata=_gauge("Whether it has been shut down."))


@public
@_documented
@dataclass(frozen=True, slots=True)
class BroadcastStatistics:
    """A snapshot of a broadcast."""

    name: str | None = field(metadata=_label("The name given at creation."))
    size: int = field(metadata=_gauge("Items that some subscriber has yet to take; each counts once.", "items"))
    peak_size: int = field(metadata=_gauge("The largest number of such items.", "items"))
    published: int = field(metadata=_counter("Items published, those without any subscriber included.", "items"))
    subscribers: int = field(metadata=_gauge("Subscribers that get what is published.", "subscribers"))
    disconnected: int = field(metadata=_counter('Subscribers that were disconnected because they were full ("disconnect").', "subscribers"))
    dropped: int = field(metadata=_counter("Items dropped because a subscriber was full, summed over all subscribers.", "items"))
    waiting_publishers: int = field(metadata=_gauge('Threads and tasks waiting for a subscriber with overflow="block".', "operations"))
    publish_blocked_seconds: float = field(
        metadata=_counter("Total time that publishers have waited for subscribers, current waiters included.", "seconds")
    )
    is_shutdown: bool = field(metadata=_gauge("Whether it has been shut down."))


@public
@_documented
@dataclass(frozen=True, slots=True)
class SubscriberStatistics:
    """A snapshot of a subscriber of a broadcast."""

    name: str | None = field(metadata=_label("The name of the broadcast."))
    size: int = field(metadata=_gauge("Items that wait for this subscriber.", "items"))
    maxsize: int = field(metadata=_gauge("The largest number of items that wait for it.", "items"))
    peak_size: int = field(metadata=_gauge("The largest number of items that have waited for it.", "items"))
    gets: int = field(metadata=_counter("Items taken.", "items"))
    dropped: int = field(metadata=_counter("Items dropped because the subscriber was full.", "items"))
    missed: int = field(metadata=_counter("Those among them that were published before the item it took last.", "items"))
    waiting_getters: int = field(metadata=_gauge("Threads and tasks waiting for an item.", "operations"))
    get_blocked_seconds: float = field(
        metadata=_counter("Total time that gets have waited for items, current waiters included.", "seconds")
    )
    is_disconnected: bool = field(metadata=_gauge('Whether it was disconnected because it was full ("disconnect").'))
    is_closed: bool = field(metadata=_gauge("Whether it has been closed."))


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
class AdaptiveRateStatistics:
    """A snapshot of an adaptive rate."""

    name: str | None = field(metadata=_label("The name given at creation."))
    rate: float = field(metadata=_gauge("The rate now.", "calls a second"))
    max_rate: float = field(metadata=_gauge("The configured rate.", "calls a second"))
    admitted: int = field(metadata=_counter("Calls that were admitted, reservations included.", "calls"))
    refused: int = field(metadata=_counter("Calls that were refused here.", "calls"))
    waited: int = field(metadata=_counter("Admitted calls that had to wait.", "calls"))
    waited_seconds: float = field(metadata=_counter("Total time spent waiting, current waiters included.", "seconds"))
    waiters: int = field(metadata=_gauge("Threads and tasks waiting.", "operations"))
    successes: int = field(metadata=_counter("Calls that the server has served.", "calls"))
    throttled: int = field(metadata=_counter("Calls that the server has refused.", "calls"))
    ignored: int = field(metadata=_counter("Calls that say nothing about the server.", "calls"))
    cuts: int = field(metadata=_counter("How often the rate was cut.", "times"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class KeyedRateStatistics:
    """A snapshot of a keyed limiter, all keys together."""

    name: str | None = field(metadata=_label("The name given at creation."))
    admitted: int = field(metadata=_counter("Calls that were admitted, reservations included.", "calls"))
    refused: int = field(metadata=_counter("Calls that were refused.", "calls"))
    waited: int = field(metadata=_counter("Admitted calls that had to wait.", "calls"))
    waited_seconds: float = field(metadata=_counter("Total time spent waiting, current waiters included.", "seconds"))
    waiters: int = field(metadata=_gauge("Threads and tasks waiting, for any key.", "operations"))
    keys: int = field(metadata=_gauge("Keys that are remembered.", "keys"))
    max_keys: int = field(metadata=_gauge("The largest number of keys that are remembered.", "keys"))
    forgotten: int = field(metadata=_counter("Keys that owed nothing and were forgotten to make room.", "keys"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """A snapshot of a channel. Amounts are in items, or in units of weight on a channel with `weigh`."""

    name: str | None = field(metadata=_label("The name given at creation."))
    state: str = field(metadata=_label("`open`, `completing`, `completed`, `failed`, `stopping` or `cancelled`."))
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


@public
@_documented
@dataclass(frozen=True, slots=True)
class BreakerStatistics:
    """A snapshot of a circuit breaker. Each call that was let through is on its way, or has one of the four outcomes."""

    name: str | None = field(metadata=_label("The name given at creation."))
    state: str = field(metadata=_label("`closed`, `open`, `half_open`, `forced_open` or `disabled`, as the next call finds it."))
    state_for: float = field(metadata=_gauge("Time since the state last changed.", "seconds"))
    calls: int = field(metadata=_counter("Calls that were let through.", "calls"))
    successes: int = field(metadata=_counter("Calls that succeeded.", "calls"))
    failures: int = field(metadata=_counter("Calls that failed.", "calls"))
    slow: int = field(metadata=_counter("Of the successes and failures, those that took `slow_after` seconds or more.", "calls"))
    ignored: int = field(
        metadata=_counter("Calls that say nothing about the service: cancelled, interrupted, or as `ignore` says.", "calls")
    )
    stale: int = field(metadata=_counter("Calls whose result came after the state had changed, or the probe had timed out.", "calls"))
    refused: int = field(metadata=_counter("Calls that were refused; with `metrics_only`, that would have been.", "calls"))
    opened: int = field(metadata=_counter("How often the breaker has opened by itself.", "times"))
    window_calls: int = field(metadata=_gauge("Results that count for the rates now; 0 unless the breaker is closed.", "calls"))
    failure_rate: float = field(metadata=_gauge("The share of those results that are failures, from 0 to 1.", "ratio"))
    slow_rate: float = field(metadata=_gauge("The share of those results that are of slow calls, from 0 to 1.", "ratio"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class ConcurrencyStatistics:
    """A snapshot of an adaptive limit. Each call that was admitted is in flight, or was served, dropped or ignored."""

    name: str | None = field(metadata=_label("The name given at creation."))
    limit: int = field(metadata=_gauge("How many calls may be in flight.", "calls"))
    min: int = field(metadata=_gauge("The lowest limit.", "calls"))
    max: int = field(metadata=_gauge("The highest limit.", "calls"))
    in_flight: int = field(metadata=_gauge("Calls in flight.", "calls"))
    peak_in_flight: int = field(metadata=_gauge("The most calls that were in flight at once.", "calls"))
    calls: int = field(metadata=_counter("Calls that were admitted.", "calls"))
    successes: int = field(metadata=_counter("Calls that were served.", "calls"))
    dropped: int = field(metadata=_counter("Calls that the service could not serve: they timed out, were reset or refused.", "calls"))
    ignored: int = field(metadata=_counter("Calls that say nothing about the service: cancelled, interrupted, other errors.", "calls"))
    slow: int = field(metadata=_counter("Of the successes, those that took longer than the target.", "calls"))
    refused: int = field(metadata=_counter("Calls that found neither a slot nor a place in the wait queue.", "calls"))
    expired: int = field(metadata=_counter("Calls that got no slot in time.", "calls"))
    shed: int = field(metadata=_counter("Calls that had waited too long when their turn came.", "calls"))
    increases: int = field(metadata=_counter("Decisions that raised the limit.", "times"))
    decreases: int = field(metadata=_counter("Decisions that lowered the limit.", "times"))
    waiters: int = field(metadata=_gauge("Calls that wait now.", "calls"))
    waited_seconds: float = field(metadata=_counter("Time that calls have waited, those that still wait included.", "seconds"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class KeyedBreakerStatistics:
    """A snapshot of a keyed circuit breaker, all keys together."""

    name: str | None = field(metadata=_label("The name given at creation."))
    keys: int = field(metadata=_gauge("Keys that are remembered.", "keys"))
    max_keys: int = field(metadata=_gauge("The largest number of keys that are remembered.", "keys"))
    open: int = field(metadata=_gauge("Keys whose breaker is open, half-open or forced open.", "keys"))
    calls: int = field(metadata=_counter("Calls that were let through.", "calls"))
    successes: int = field(metadata=_counter("Calls that succeeded.", "calls"))
    failures: int = field(metadata=_counter("Calls that failed.", "calls"))
    slow: int = field(metadata=_counter("Of the successes and failures, those that took `slow_after` seconds or more.", "calls"))
    ignored: int = field(
        metadata=_counter("Calls that say nothing about the service: cancelled, interrupted, or as `ignore` says.", "calls")
    )
    stale: int = field(metadata=_counter("Calls whose result came after the state had changed, or the probe had timed out.", "calls"))
    refused: int = field(metadata=_counter("Calls that were refused; with `metrics_only`, that would have been.", "calls"))
    opened: int = field(metadata=_counter("How often breakers have opened by themselves.", "times"))
    untracked: int = field(metadata=_counter("Calls that were let through because there was no room for their key.", "calls"))
    forgotten: int = field(metadata=_counter("Keys that were forgotten to make room.", "keys"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class RetryBudgetStatistics:
    """A snapshot of a budget of retries."""

    name: str | None = field(metadata=_label("The name given at creation."))
    tokens: float = field(metadata=_gauge("Retries that the budget has left.", "tokens"))
    reserve: float = field(metadata=_gauge("The largest number of tokens.", "tokens"))
    deposits: int = field(metadata=_counter("Calls that succeeded at their first attempt.", "calls"))
    acquired: int = field(metadata=_counter("Retries that were allowed.", "retries"))
    refused: int = field(metadata=_counter("Retries that were refused.", "retries"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class FallbackStatistics:
    """A snapshot of a `Fallback`. A call that was cancelled or interrupted is not counted."""

    name: str | None = field(metadata=_label("The name given at creation."))
    successes: int = field(metadata=_counter("Calls whose own result was returned.", "calls"))
    values: int = field(metadata=_counter("Calls that were answered with the value, or by the function of the error.", "calls"))
    stale: int = field(metadata=_counter("Calls that were answered with an earlier result.", "calls"))
    raised: int = field(metadata=_counter("Calls whose error was raised.", "calls"))
    remembered: int = field(metadata=_gauge("Keys whose last good result is remembered.", "keys"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class GuardStatistics:
    """A snapshot of a `Guard`. A call that was cancelled or interrupted is not counted."""

    name: str | None = field(metadata=_label("The name given at creation."))
    successes: int = field(metadata=_counter("Calls whose own result was returned.", "calls"))
    degraded: int = field(metadata=_counter("Calls that were answered by the fallback.", "calls"))
    refused: int = field(metadata=_counter("Calls that raised a refusal of one of the limits.", "calls"))
    failures: int = field(metadata=_counter("Calls that raised another error.", "calls"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class MiddlewareStatistics:
    """A snapshot of a middleware of `sluicegate.http`."""

    name: str | None = field(metadata=_label("The name given at creation."))
    admitted: int = field(metadata=_counter("Requests that were passed on under a limit.", "requests"))
    refused: int = field(metadata=_counter("Requests that a limiter refused.", "requests"))
    late: int = field(metadata=_counter("Requests that were refused because the event loop was late.", "requests"))
    overflowed: int = field(
        metadata=_counter(
            "Requests of new keys while all keys of a keyed limiter were in use; they are admitted or refused too.", "requests"
        )
    )
    not_limited: int = field(metadata=_counter("Requests that were passed on without a limit.", "requests"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class RetryStatistics:
    """A snapshot of a `Retry`. A call that was cancelled or interrupted is not counted."""

    name: str | None = field(metadata=_label("The name given at creation."))
    first_successes: int = field(metadata=_counter("Calls that succeeded at their first attempt.", "calls"))
    later_successes: int = field(metadata=_counter("Calls that succeeded at a later attempt.", "calls"))
    retries: int = field(metadata=_counter("Attempts that were decided on after an error.", "attempts"))
    exhausted: int = field(metadata=_counter("Calls that failed at their last attempt.", "calls"))
    too_late: int = field(
        metadata=_counter("Calls that failed because the next attempt would have come after the deadline or `retry_after_max`.", "calls")
    )
    over_budget: int = field(metadata=_counter("Calls that failed because the budget had no token.", "calls"))
    not_retried: int = field(metadata=_counter("Calls that failed with an error that is not to be retried.", "calls"))
    nested: int = field(metadata=_counter("Calls whose errors were left to an outer `Retry`.", "calls"))
    waiters: int = field(metadata=_gauge("Threads and tasks waiting for their next attempt.", "operations"))
    waited_seconds: float = field(metadata=_counter("Total time between attempts, current waiters included.", "seconds"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class BatcherStatistics:
    """A snapshot of a batcher. Each call that was submitted is pending, or running, or has one of the five outcomes."""

    name: str | None = field(metadata=_label("The name given at creation."))
    submitted: int = field(metadata=_counter("Calls that were accepted.", "calls"))
    pending: int = field(metadata=_gauge("Calls that wait for a batch.", "calls"))
    running: int = field(metadata=_gauge("Calls whose batch is running.", "calls"))
    succeeded: int = field(metadata=_counter("Calls that have got a result.", "calls"))
    failed: int = field(metadata=_counter("Calls that have got an exception, from the handler or because it could not run.", "calls"))
    cancelled: int = field(metadata=_counter("Calls that were cancelled or timed out before a batch took them.", "calls"))
    expired: int = field(metadata=_counter("Calls that were older than `ttl` when a batch would have taken them.", "calls"))
    shed: int = field(metadata=_counter("Calls that were dropped because there was no room, as `overflow` says.", "calls"))
    refused: int = field(metadata=_counter("Calls for which there was no room (in time); they are not among `submitted`.", "calls"))
    waiters: int = field(metadata=_gauge("Threads and tasks waiting for room.", "operations"))
    waited_seconds: float = field(metadata=_counter("Total time that calls have waited for room, current waiters included.", "seconds"))
    batches: int = field(metadata=_counter("Batches that were passed to the handler.", "batches"))
    mean_batch_size: float = field(metadata=_gauge("The mean number of items in a batch; 0 before the first.", "items"))
    handler_seconds: float = field(metadata=_counter("Total time that the handler has run, all workers together.", "seconds"))
    max_pending: int = field(metadata=_gauge("The largest number of calls that wait for a batch.", "calls"))
    is_closed: bool = field(metadata=_gauge("Whether the batcher has been closed."))


@public
@_documented
@dataclass(frozen=True, slots=True)
class ExecutorStatistics:
    """A snapshot of an executor."""

    name: str | None = field(metadata=_label("The name given at creation."))
    max_workers: int = field(metadata=_gauge("The largest number of workers.", "workers"))
    workers: int = field(metadata=_gauge("Workers that have been started and have not left.", "workers"))
    max_pending: int | None = field(
        metadata=_gauge("The largest number of jobs that can be pending; None if `queue` was given, which has its own.", "jobs")
    )
    pending: int = field(metadata=_gauge("Jobs that are waiting for a worker.", "jobs"))
    running: int = field(metadata=_gauge("Jobs that run in a worker.", "jobs"))
    submitted: int = field(metadata=_counter("Jobs that were accepted, those that ran in the caller included.", "jobs"))
    completed: int = field(metadata=_counter("Jobs that have returned or raised, those that ran in the caller included.", "jobs"))
    cancelled: int = field(metadata=_counter("Accepted jobs that were cancelled before they began.", "jobs"))
    refused: int = field(metadata=_counter("Calls that were refused with `Overloaded`.", "calls"))
    dropped: int = field(metadata=_counter("Accepted jobs that never ran: dropped by `queue`, or the initializer failed.", "jobs"))
    caller_ran: int = field(metadata=_counter("Jobs that ran in the caller, because there was no room.", "jobs"))
    waiters: int = field(metadata=_gauge("Threads and tasks waiting for room; those that wait in `queue` are not counted.", "operations"))
    waited_seconds: float = field(metadata=_counter("Total time spent waiting for room, current waiters included.", "seconds"))
    is_shutdown: bool = field(metadata=_gauge("Whether the executor has been shut down."))


@public
@_documented
@dataclass(frozen=True, slots=True)
class StageStatistics:
    """A snapshot of one stage of a pipeline that runs; a source and a sink count as stages."""

    name: str = field(metadata=_label("The name given to it, or that of its function."))
    kind: str = field(metadata=_label('"source", "map", "flat_map", "keyed_map", "batch", "broadcast" or "for_each".'))
    workers: int = field(metadata=_gauge("Threads or tasks that work for it.", "workers"))
    taken: int = field(metadata=_counter("Items taken.", "items"))
    passed: int = field(metadata=_counter("Results passed on; of a sink, items finished.", "items"))
    failed: int = field(metadata=_counter("Items whose call raised.", "items"))
    dropped: int = field(metadata=_counter("Results that a policy behind it has dropped, or `conflate` has replaced or merged.", "items"))
    in_flight: int = field(metadata=_gauge("Items that it holds: worked on, or waiting for the next stage.", "items"))
    capacity: int | None = field(metadata=_gauge("The largest number of items that it holds; None for no bound of its own.", "items"))
    waiting: int = field(metadata=_gauge("Items that wait to be taken.", "items"))
    busy_seconds: float = field(metadata=_counter("Time spent working on items, summed over the workers.", "seconds"))
    starved_seconds: float = field(metadata=_counter("Time spent waiting for items from upstream, summed over the workers.", "seconds"))
    blocked_seconds: float = field(metadata=_counter("Time spent waiting for room downstream, summed over the workers.", "seconds"))
    busy: float = field(metadata=_gauge("The part of the workers' time that was spent working on items, from 0 to 1.", "ratio"))
    rate: float = field(metadata=_gauge("Results a second, over the whole run.", "items/s"))
    p50_seconds: float = field(metadata=_gauge("The median time of a call, within a fifth; 0 before the first.", "seconds"))
    p99_seconds: float = field(metadata=_gauge("The 99th percentile of the time of a call, within a fifth; 0 before the first.", "seconds"))


@public
@_documented
@dataclass(frozen=True, slots=True)
class PipelineStatistics:
    """A snapshot of a pipeline that runs."""

    name: str | None = field(metadata=_label("The name given at creation."))
    elapsed_seconds: float = field(metadata=_gauge("Time since the beginning of the run, or what it took.", "seconds"))
    stages: tuple[StageStatistics, ...] = field(metadata=_label("The source, the stages and the sink."))
    in_flight: int = field(metadata=_gauge("Items that are on the way in all stages.", "items"))
    discarded: int = field(metadata=_counter("Items that were taken from the source and will not be finished.", "items"))
    latency_seconds: float = field(
        metadata=_gauge("How long an item is on the way from source to sink: what stages hold, divided by their rate of late.", "seconds")
    )
    bottleneck: str | None = field(metadata=_label("The stage whose workers are busy for the largest part of the time of the run."))
    is_over: bool = field(metadata=_gauge("Whether all threads and tasks have left."))

    def __str__(self) -> str:
        """Return a table with a line for each stage."""
        from sluicegate._stage_table import as_text

        return as_text(self)
