"""What the tests of the credit channels share: both kinds, what they hold, and waiters that join the wait queue one by one."""

from __future__ import annotations

import asyncio

import pytest
from helpers import PATIENCE, settle, spawn, step, wait_until

from sluicegate import AckChannel, ChannelClosed, CreditChannel, Delivery, Empty

KINDS = {"CreditChannel": CreditChannel, "AckChannel": AckChannel}
NANOSECOND = 1e-9
NAN, INF = float("nan"), float("inf")


def make(kind, window=3, **options):
    return KINDS[kind](window, **options)


def manual(kind, buffer=INF, **options):
    """One on which nothing flows but what is asked for."""
    return KINDS[kind](0, buffer=buffer, **options)


def value(received):
    """The item, settled if it has to be."""
    if isinstance(received, Delivery):
        received.ack()
        return received.value
    return received


def items_into(items):
    """An `on_discard` that keeps the items alone."""
    return lambda item, _reason, _error: items.append(item)


def take(channel):
    """The next item, without waiting."""
    return value(channel.receiver.receive_nowait())


def take_all(channel):
    """All that is there now."""
    taken = []
    while True:
        try:
            taken.append(take(channel))
        except (Empty, ChannelClosed):
            return taken


def holds(channel):
    """Checks the sums that hold whenever nothing is under way; the statistics."""
    seen = channel.statistics()
    assert seen.outstanding <= seen.peak_outstanding
    assert seen.sent_weight + seen.voided + seen.permits <= seen.granted
    if isinstance(channel, CreditChannel):
        assert seen.sent == seen.received + seen.discarded + seen.buffered, seen
        assert (seen.unacked, seen.redelivered) == (0, 0)
    if seen.window and seen.state != "cancelled":
        assert seen.credit + seen.permits + seen.outstanding + seen.owed == seen.window, seen
    return seen


def no_waiters(channel):
    seen = channel.statistics()
    return (seen.waiting_senders, seen.waiting_receivers) == (0, 0)


def waiting(channel):
    seen = channel.statistics()
    return seen.waiting_senders + seen.waiting_receivers


def in_line(channel, *calls):
    """A thread for each call, `(function, *args)`, which join the wait queue one after the other."""
    workers = []
    for call in calls:
        before = waiting(channel)
        function, *args = call if isinstance(call, tuple) else (call,)
        workers.append(spawn(function, *args))
        wait_until(lambda: waiting(channel) == before + 1)  # noqa: B023
    return workers


async def tasks_in_line(*coroutines):
    """Tasks that have run up to their first wait, in this order."""
    tasks = []
    for coroutine in coroutines:
        tasks.append(asyncio.create_task(coroutine))
        await settle(3)
    assert not any(task.done() for task in tasks), [task for task in tasks if task.done()]
    return tasks


async def cancelled(task):
    """Cancels and sees it through."""
    task.cancel()
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    assert isinstance(outcome, asyncio.CancelledError), outcome


def submit(channel, loop, coroutine):
    """A task on a running loop of another thread, once it is in the wait queue."""
    before = waiting(channel)
    future = loop.submit(coroutine)
    wait_until(lambda: waiting(channel) == before + 1)
    return future


def result(waiter):
    """Of a thread, or of a task on another thread's loop."""
    return waiter.result(PATIENCE)


kinds = pytest.mark.parametrize("kind", list(KINDS))


def run(coroutine):
    """A coroutine that must not wait, on a loop."""

    async def main():
        done, outcome = step(coroutine)
        assert done
        return outcome

    return asyncio.run(main())


def refused(call, names, error, *channels):
    """What it is refused with: it names the argument, and nothing has changed."""
    before = [channel.statistics() for channel in channels]
    with pytest.raises(error) as told:
        call()
    assert names in str(told.value), f"{told.value!r} does not name {names}"
    assert [channel.statistics() for channel in channels] == before
    return told.value
