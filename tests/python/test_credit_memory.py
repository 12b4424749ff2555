"""Without memory a channel raises `MemoryError`: nothing is lost or half done, and the process goes on."""

from __future__ import annotations

import sys

import pytest
from helpers import run_script

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS limits what is asked for")

SCRIPT = """
    import itertools, resource, sys
    from sluicegate import AckChannel, CreditChannel

    def limit(extra):
        pages = int(open("/proc/self/statm").read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + extra, resource.RLIM_INFINITY))

    def unlimited():
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def send_nowait(sender):
        while True:
            sender.send_nowait(item)

    def send(sender):
        while True:
            sender.send(item, timeout=5)

    def send_many(sender):
        while True:
            sender.send_many(items)

    def send_from_an_iterator(sender):
        sender.send_many(itertools.repeat(item))

    def permit(sender):
        with sender.permit(2**30) as permit:
            while True:
                permit.send(item)

    how, kind, weighed = sys.argv[1:]
    item, items = "item", ["item"] * 1000
    options = {"weigh": len} if weighed == "weighed" else {}
    channel = globals()[kind](2**40, **options)
    channel.sender.send(item)
    print(channel.statistics().state)
    limit(40_000_000)
    try:
        globals()[how](channel.sender)
    except MemoryError as error:
        accepted = getattr(error, "accepted", 0)
    unlimited()
    seen = channel.statistics()
    assert seen.sent > 500_000, seen
    assert seen.sent == seen.buffered, seen
    weight = 4 if options else 1
    assert seen.outstanding == seen.sent * weight and seen.credit == 2**40 - seen.outstanding, seen
    if how == "send_from_an_iterator":
        assert accepted == seen.sent - 1, (accepted, seen)
    if how == "send_many":
        assert accepted == (seen.sent - 1) % 1000, (accepted, seen)
    channel.sender.send(item)
    channel.sender.complete()
    if kind == "CreditChannel":
        print(sum(1 for _ in channel.receiver) - seen.sent)
    else:
        channel.receiver.cancel()
        print(channel.statistics().discarded - seen.sent)
"""


@pytest.mark.parametrize("weighed", ["weighed", "plain"])
@pytest.mark.parametrize("kind", ["CreditChannel", "AckChannel"])
@pytest.mark.parametrize("how", ["send_nowait", "send", "send_many", "send_from_an_iterator", "permit"])
def test_sending_until_there_is_no_memory(how, kind, weighed):
    """What was sent before is there, credit adds up, and with memory it goes on."""
    assert run_script(SCRIPT, how, kind, weighed).split() == ["open", "1"]


def test_a_batch_that_is_too_long():
    """The batch is not begun."""
    script = (
        SCRIPT.split("how, kind", 1)[0]
        + """
    channel = CreditChannel(2**40, weigh=lambda item: 1)
    items = ["item"] * 4_000_000
    print(channel.statistics().state)
    for extra in (20_000_000, 50_000_000):
        limit(extra)
        try:
            channel.sender.send_many(items)
        except MemoryError as error:
            unlimited()
            print(channel.statistics().sent)
        unlimited()
    print(channel.sender.send_many(items))
    """
    )
    assert run_script(script).split() == ["open", "0", "0", "4000000"]


def test_control_messages():
    script = (
        SCRIPT.split("how, kind", 1)[0]
        + """
    channel = CreditChannel(8, control_capacity=2**40)
    print(channel.statistics().state)
    limit(20_000_000)
    try:
        for n in itertools.count():
            channel.sender.send_control("message")
    except MemoryError:
        unlimited()
    heard = []
    channel.receiver.credit.on_control = heard.append
    channel.sender.send(1)
    print(channel.receiver.receive(), len(heard) - n)
    """
    )
    assert run_script(script).split() == ["open", "1", "0"]


def test_an_item_too_large_to_be_written(tmp_path):
    """The transfer ends with the error."""
    script = (
        SCRIPT.split("how, kind", 1)[0]
        + """
    from sluicegate.io import write_from
    channel = CreditChannel(8)
    writing = write_from(channel.receiver, sys.argv[1])
    channel.sender.send(b"small")
    large = bytes(100_000_000)
    print(channel.statistics().state)
    while writing.items < 1:
        pass
    limit(60_000_000)
    channel.sender.send(large)
    print(type(writing.exception(20)).__name__)
    """
    )
    assert run_script(script, tmp_path / "target").split() == ["open", "MemoryError"]


DELIVERIES = (
    SCRIPT.split("how, kind", 1)[0]
    + """
    from sluicegate.testing import ManualClock

    def nothing_left():
        # What Python needs to call something is given back in the end.
        hoard, spare = [None] * 1_000_000, [bytes(1000) for _ in range(500)]
        limit(0)
        n = 0
        for size in (1 << 20, 1 << 16, 1 << 12, 1 << 10):
            try:
                while True:
                    hoard[n] = bytes(size)
                    n += 1
            except MemoryError:
                pass
        del spare
        return hoard

    count = 50_000
    clock = ManualClock()
    channel = AckChannel(count, max_deliver=int(sys.argv[2]), ack_wait=10, clock=clock)
    channel.sender.send_many(range(count))
    held = channel.receiver.receive_many(count)
    held = held[::7] + [delivery for place, delivery in enumerate(held) if place % 7]
    print(len(held), channel.statistics().unacked)

    def ack():
        for delivery in held:
            delivery.ack()

    def nack():
        for delivery in held:
            delivery.nack()

    def nack_later():
        for delivery in held:
            delivery.nack(delay=1)

    def drop():
        held.clear()

    def extend():
        for delivery in held:
            delivery.extend(20)

    def expire():
        clock.advance(10)

    hoard = nothing_left()
    globals()[sys.argv[1]]()
    seen = channel.statistics()
    unlimited()
    hoard = None
    print(seen.buffered, seen.unacked, seen.redelivered, channel.receiver.settled_through, seen.discarded)
    """
)


@pytest.mark.parametrize(
    ("how", "seen"),
    [
        ("ack", "0 0 0 50000 0"),
        ("nack", "50000 0 50000 0 0"),
        ("nack_later", "50000 0 50000 0 0"),
        ("drop", "50000 0 50000 0 0"),
        ("extend", "0 50000 0 0 0"),
        ("expire", "50000 0 50000 0 0"),
    ],
)
def test_settling_takes_no_memory(how, seen):
    """Nobody could be told that there is none: what settling takes is there before the item is handed out."""
    assert run_script(DELIVERIES, how, 5).split("\n") == ["50000 50000", seen, ""]


def test_what_has_expired_for_the_last_time_waits_for_memory():
    """The list of what is given up is as long as that; until there is memory for it, everything stays as it is."""
    script = (
        DELIVERIES
        + """
    assert seen.discarded < count, "there was memory"
    assert seen.unacked == count - seen.discarded
    clock.advance(1)
    print(channel.statistics().discarded, channel.receiver.settled_through)
    """
    )
    assert run_script(script, "expire", 1).split()[-2:] == ["50000", "50000"]


def test_a_delivery_for_which_there_is_no_memory():
    """It stays in the channel."""
    script = (
        SCRIPT.split("how, kind", 1)[0]
        + """
    channel = AckChannel(2**40)
    channel.sender.send_many(range(4_000_000))
    print(channel.statistics().state)
    limit(100_000_000)
    held = [None] * 4_000_000
    n = 0
    try:
        while True:
            held[n] = channel.receiver.receive()
            n += 1
    except MemoryError:
        seen = channel.statistics()
        unlimited()
    assert seen.received in (n, n + 1), (seen, n)  # Python may have had no memory for the object
    assert seen.buffered + seen.unacked == 4_000_000, seen
    assert seen.unacked == n, (seen, n)
    held.clear()
    print(channel.receiver.receive().value)
    """
    )
    assert run_script(script).split() == ["open", "0"]
