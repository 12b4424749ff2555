"""Credit channels, single-handed: arguments, ends, batches, permits, control, the expert's hand on credit."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import dataclasses
import gc
import inspect
import itertools
import math
import pickle
import sys
import threading
import warnings
import weakref

import pytest
from channels import INF, KINDS, NAN, NANOSECOND, cancelled, holds, in_line, make, manual, no_waiters, take, take_all, tasks_in_line, value
from helpers import collect, eventually, on_loops, settle, spawn, step, wait_until

import sluicegate
from sluicegate import (
    AckChannel,
    ChannelCancelled,
    ChannelClosed,
    ChannelFailed,
    CreditChannel,
    Empty,
    Full,
    Permit,
    Receiver,
    Sender,
)
from sluicegate.testing import ManualClock

kinds = pytest.mark.parametrize("kind", list(KINDS))

TYPES = {"bool": True, "False": False, "str": "1", "bytes": b"1", "complex": 1j, "list": [1], "object": object()}


def table(types=(), values=(), overflow=(), none=True):
    """`(label, value, error)`."""
    cases = [(label, bad, TypeError) for label, bad in TYPES.items()]
    if none:
        cases.append(("None", None, TypeError))
    cases += [(repr(bad), bad, TypeError) for bad in types]
    cases += [(repr(bad)[:8], bad, ValueError) for bad in values]
    return cases + [(f"{bad:.0e}" if bad < 1e300 else "10**400", bad, OverflowError) for bad in overflow]


HUGE = [2**63 - 1, 2**70, 10**400]
WHOLE = table(values=[NAN, INF, -INF, -1, -0.5, 1.5, -(2**70)], overflow=HUGE)  # a whole number, 0 is one
AMOUNT = WHOLE + [("0", 0, ValueError), ("0.0", 0.0, ValueError)]
COUNT = table(types=[1.0, NAN, INF], values=[0, -1, -(2**70)])
DEMAND = table(types=[1.0, NAN, -INF], values=[0, -1, -(2**70)])
SECONDS = table(values=[NAN, INF, -INF, -1, -0.5, -1e-300], overflow=[1e30, 10**400])
TIMEOUT = [case for case in SECONDS if case[0] != "None"]


def parameters(entries):
    """`(id, *case)` as parametrize wants them."""
    return [pytest.param(*case, id=label) for label, *case in entries]


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


def stirred(kind, **options):
    """A channel with something in every counter, on a clock that stands still."""
    channel = make(kind, 10, clock=ManualClock(start=5), **options)
    channel.sender.send_many(range(4))
    value(channel.receiver.receive())
    channel.sender.permit(2).__enter__()  # let go at once
    return channel


# -------------------------------------------------------------------------------------------------------- constructors

CONSTRUCTORS = {
    "window": ([*WHOLE], lambda kind, bad: kind(bad, buffer=5)),
    "threshold": (
        [*table(values=[NAN, INF, 0, 0.0, -0.5, 1.5, 2], overflow=[10**400])],
        lambda kind, bad: kind(threshold=bad),
    ),
    "buffer": ([case for case in AMOUNT if case[0] not in ("inf", "None")], lambda kind, bad: kind(0, buffer=bad)),
    "weigh": ([("1", 1, TypeError), ("str", "len", TypeError), ("False", False, TypeError)], lambda kind, bad: kind(weigh=bad)),
    "control_capacity": (COUNT, lambda kind, bad: kind(control_capacity=bad)),
    "on_discard": ([("1", 1, TypeError), ("list", [], TypeError), ("False", False, TypeError)], lambda kind, bad: kind(on_discard=bad)),
    "clock": ([("1.0", 1.0, TypeError), ("class", ManualClock, TypeError), ("True", True, TypeError)], lambda kind, bad: kind(clock=bad)),
    "name": ([("1", 1, TypeError), ("bytes", b"name", TypeError), ("True", True, TypeError)], lambda kind, bad: kind(name=bad)),
}


@kinds
@pytest.mark.parametrize(
    ("argument", "bad", "error", "call"),
    parameters((f"{name}={label}", name, bad, error, call) for name, (cases, call) in CONSTRUCTORS.items() for label, bad, error in cases),
)
def test_constructors(kind, argument, bad, error, call):
    """Every argument of every constructor."""
    refused(lambda: call(KINDS[kind], bad), f"'{argument}'", error)


@pytest.mark.parametrize(("bad", "error"), parameters([case for case in SECONDS if case[0] != "None"] + [("0", 0, ValueError)]))
def test_ack_wait(bad, error):
    refused(lambda: AckChannel(ack_wait=bad), "'ack_wait'", error)


@pytest.mark.parametrize(("bad", "error"), parameters(COUNT))
def test_max_deliver(bad, error):
    refused(lambda: AckChannel(max_deliver=bad), "'max_deliver'", error)


@kinds
def test_what_goes_together(kind):
    """`buffer` belongs to window=0 and has to be given there; most is by name only; no misspelt names."""
    cls = KINDS[kind]
    refused(lambda: cls(0), "'buffer'", TypeError)
    refused(lambda: cls(0, buffer=None), "'buffer'", TypeError)
    refused(lambda: cls(5, buffer=5), "'buffer'", TypeError)
    refused(lambda: cls(5, buffer=INF), "'buffer'", TypeError)
    for call in (lambda: cls(5, 0.5), lambda: cls(windwo=5), lambda: cls(5, window=5), lambda: cls(ack_wait=1, max_delivery=2)):
        with pytest.raises(TypeError):
            call()
    if cls is CreditChannel:
        with pytest.raises(TypeError):
            cls(ack_wait=1)
    assert cls().statistics().window == cls(window=256).statistics().window == 256
    assert cls(5.0, buffer=None).statistics().credit == 5
    assert cls(1, threshold=1).statistics().credit == 1
    assert cls(0, buffer=INF).statistics().credit == 0
    assert cls(2**63 - 2).sender.credit == 2**63 - 2


def test_what_cannot_be_made():
    """The base class and the parts come from a channel."""
    for kind in (sluicegate.Channel, Sender, Receiver, Permit, sluicegate.Credit, sluicegate.Delivery):
        with pytest.raises(TypeError):
            kind()


# ------------------------------------------------------------------------------------------------------------- methods

AMOUNTS = {
    "permit": lambda channel, n: channel.sender.permit(n),
    "wait_ready": lambda channel, n: channel.sender.wait_ready(n),
    "wait_ready at once": lambda channel, n: channel.sender.wait_ready(n, timeout=0),
    "wait_ready_async": lambda channel, n: run(channel.sender.wait_ready_async(n)),
}


@kinds
@pytest.mark.parametrize("method", list(AMOUNTS))
@pytest.mark.parametrize(("bad", "error"), parameters(AMOUNT))
def test_amounts(kind, method, bad, error):
    """`n` of what takes an amount of credit."""
    channel = stirred(kind)
    refused(lambda: AMOUNTS[method](channel, bad), "'n'", error, channel)


COUNTS = {
    "receive_many": lambda channel, n: channel.receiver.receive_many(n),
    "receive_many_async": lambda channel, n: run(channel.receiver.receive_many_async(n)),
}


@kinds
@pytest.mark.parametrize("method", list(COUNTS))
@pytest.mark.parametrize(("bad", "error"), parameters(COUNT))
def test_max(kind, method, bad, error):
    """`max` of receive_many."""
    channel = stirred(kind)
    refused(lambda: COUNTS[method](channel, bad), "'max'", error, channel)


TIMEOUTS = {
    "send": lambda channel, timeout: channel.sender.send("x", timeout),
    "send by name": lambda channel, timeout: channel.sender.send("x", timeout=timeout),
    "send_async": lambda channel, timeout: run(channel.sender.send_async("x", timeout)),
    "send_many": lambda channel, timeout: channel.sender.send_many(["x"], timeout=timeout),
    "send_many of none": lambda channel, timeout: channel.sender.send_many([], timeout=timeout),
    "send_many_async": lambda channel, timeout: run(channel.sender.send_many_async(iter("x"), timeout=timeout)),
    "permit": lambda channel, timeout: channel.sender.permit(timeout=timeout),
    "wait_ready": lambda channel, timeout: channel.sender.wait_ready(timeout=timeout),
    "wait_ready_async": lambda channel, timeout: run(channel.sender.wait_ready_async(timeout=timeout)),
    "receive": lambda channel, timeout: channel.receiver.receive(timeout),
    "receive_async": lambda channel, timeout: run(channel.receiver.receive_async(timeout)),
    "receive_many": lambda channel, timeout: channel.receiver.receive_many(1, timeout=timeout),
    "receive_many_async": lambda channel, timeout: run(channel.receiver.receive_many_async(1, timeout=timeout)),
}


@kinds
@pytest.mark.parametrize("method", list(TIMEOUTS))
@pytest.mark.parametrize(("bad", "error"), parameters(TIMEOUT))
def test_timeouts(kind, method, bad, error):
    """`timeout`, although nobody would have to wait."""
    channel = stirred(kind)
    refused(lambda: TIMEOUTS[method](channel, bad), "'timeout'", error, channel)


DEMANDS = {
    "request": ("n", lambda credit, n: credit.request(n)),
    "request_up_to": ("sequence", lambda credit, n: credit.request_up_to(n)),
    "lease": ("n", lambda credit, n: credit.lease(n, 5)),
}


@kinds
@pytest.mark.parametrize("method", list(DEMANDS))
@pytest.mark.parametrize(("bad", "error"), parameters(DEMAND))
def test_demands(kind, method, bad, error):
    """What is asked for by hand; after the end nothing is refused (rule 3.6)."""
    channel = manual(kind, 5, clock=ManualClock())
    channel.receiver.credit.request(2)
    argument, call = DEMANDS[method]
    refused(lambda: call(channel.receiver.credit, bad), f"'{argument}'", error, channel)
    channel.receiver.cancel()
    assert call(channel.receiver.credit, bad) is False


@kinds
@pytest.mark.parametrize(("bad", "error"), parameters(SECONDS))
def test_the_time_of_a_lease(kind, bad, error):
    channel = manual(kind, 5, clock=ManualClock())
    refused(lambda: channel.receiver.credit.lease(1, bad), "'ttl'", error, channel)


@kinds
def test_demand_belongs_to_window_0(kind):
    """With a window credit comes by itself; at the end nothing raises."""
    channel = make(kind)
    credit = channel.receiver.credit
    for call in (lambda: credit.request(1), lambda: credit.request_up_to(1), lambda: credit.lease(1, 1)):
        refused(call, "window=0", RuntimeError, channel)
    channel.receiver.cancel()
    assert not (credit.request(1) or credit.request_up_to(1) or credit.lease(1, 1))


@kinds
def test_other_arguments(kind):
    """What is no exception, no sender, no handler, no iterable."""
    channel = stirred(kind)
    sender, receiver = channel.sender, channel.receiver
    for bad in (None, "error", 1, ValueError):
        refused(lambda bad=bad: sender.fail(bad), "'error'", TypeError, channel)
    for bad in (1, "sender", channel, receiver, False):
        refused(lambda bad=bad: receiver.credit.defer_to(bad), "'sender'", TypeError, channel)
    for bad in (1, "handler", False):
        refused(lambda bad=bad: setattr(receiver.credit, "on_control", bad), "'on_control'", TypeError, channel)
        refused(lambda bad=bad: receiver.subscribe(bad), "'on_next'", TypeError, channel)
        for name in ("on_error", "on_complete", "on_subscribe"):
            refused(lambda bad=bad, name=name: receiver.subscribe(print, **{name: bad}), f"'{name}'", TypeError, channel)
    refused(lambda: receiver.subscribe(None), "'on_next'", TypeError, channel)
    with pytest.raises(AttributeError):
        del receiver.credit.on_control
    for bad in (1, None, object()):
        refused(lambda bad=bad: sender.send_many(bad), "", TypeError, channel)
    for call in (sender.send, sender.send_nowait, sender.send_many, sender.fail, sender.send_control, receiver.receive_many):
        refused(call, "", TypeError, channel)
    for call in (
        lambda: sender.send(1, 2, 3),
        lambda: sender.send(1, tiemout=1),
        lambda: sender.send_nowait(1, 2),
        lambda: receiver.receive(1, 2),
        lambda: receiver.receive_nowait(1),
        lambda: sender.send_many([], 1),
        lambda: sender.permit(1, 2),
        lambda: sender.wait_ready(1, 2),
        lambda: receiver.subscribe(print, print),
    ):
        refused(call, "", TypeError, channel)
    assert receiver.subscribe(print)  # none of the above counted as a subscriber
    receiver.cancel()


BAD_WEIGHTS = {
    "nan": (lambda item: NAN, ValueError),
    "inf": (lambda item: INF, ValueError),
    "-1": (lambda item: -1, ValueError),
    "-0.5": (lambda item: -0.5, ValueError),
    "1.5": (lambda item: 1.5, ValueError),
    "2**70": (lambda item: 2**70, OverflowError),
    "10**400": (lambda item: 10**400, OverflowError),
    "str": (lambda item: "1", TypeError),
    "None": (lambda item: None, TypeError),
    "True": (lambda item: True, TypeError),
    "raises": (lambda item: 1 / 0, ZeroDivisionError),
    "too heavy": (lambda item: 11, ValueError),
    "wants two arguments": (lambda item, more: 1, TypeError),
}
WEIGHERS = {
    "send": lambda channel: channel.sender.send("bad"),
    "send with timeout": lambda channel: channel.sender.send("bad", timeout=1),
    "send_nowait": lambda channel: channel.sender.send_nowait("bad"),
    "send_async": lambda channel: run(channel.sender.send_async("bad")),
    "send_many": lambda channel: channel.sender.send_many(["bad"]),
    "send_many of an iterator": lambda channel: channel.sender.send_many(iter(["bad"])),
    "send_many_async": lambda channel: run(channel.sender.send_many_async(iter(["bad"]))),
}


@kinds
@pytest.mark.parametrize("method", list(WEIGHERS))
@pytest.mark.parametrize("weight", list(BAD_WEIGHTS))
def test_bad_weights(kind, method, weight):
    """Nothing is sent, no credit is taken; the next is sent as if nothing had been."""
    weigh, error = BAD_WEIGHTS[weight]
    channel = make(kind, 10, weigh=lambda item: weigh(item) if item == "bad" else 3, clock=ManualClock())
    channel.sender.send("good")
    names = {"raises": "division", "too heavy": "11", "wants two arguments": "more"}.get(weight, "the weight of an item")
    told = refused(lambda: WEIGHERS[method](channel), names, error, channel)
    if method in ("send_many of an iterator", "send_many_async"):
        assert told.accepted == 0
    assert channel.sender.credit == 7
    channel.sender.send_many(["one", "two"])
    assert holds(channel).outstanding == 9
    assert take_all(channel) == ["good", "one", "two"]


@kinds
def test_bad_weights_in_a_batch(kind):
    """What came before is in, and said; what comes after is not asked for."""
    channel = make(kind, 10, weigh=lambda item: item)
    for bad, error in ((11, ValueError), (-1, ValueError), ("2", TypeError)):
        numbers = iter([1, 2, bad, 3])
        with pytest.raises(error) as told:
            channel.sender.send_many(numbers)
        assert told.value.accepted == 2
        assert list(numbers) == [3]
        assert take_all(channel) == [1, 2]
        assert holds(channel).credit == 10
    with pytest.raises(ValueError, match="11") as told:
        channel.sender.send_many([1, 2, 11, 3])
    assert told.value.accepted == 2
    assert take_all(channel) == [1, 2]


@kinds
def test_weights(kind):
    """What an item weighs is asked once, and weighs on the whole way; a float that is whole will do."""
    asked = []
    channel = make(kind, 10, weigh=lambda item: asked.append(item) or float(item))
    channel.sender.send(4)
    channel.sender.send_many([3, 2])
    assert channel.sender.credit == 1
    with pytest.raises(Full):
        channel.sender.send_nowait(2)
    channel.sender.send_nowait(1)
    assert asked == [4, 3, 2, 2, 1]
    seen = holds(channel)
    assert (seen.sent, seen.sent_weight, seen.outstanding, seen.buffered) == (4, 10, 10, 4)
    assert take(channel) == 4
    assert holds(channel).outstanding == 6


@kinds
def test_weight_0_takes_a_slot(kind):
    """No credit, but there are only as many slots as the window is wide: by every way of sending."""
    channel = make(kind, 3, weigh=lambda item: 0)
    for _ in range(3):
        channel.sender.send_nowait("x")
    assert channel.sender.credit == 3
    with pytest.raises(Full):
        channel.sender.send_nowait("x")
    with pytest.raises(Full):
        channel.sender.send("x", timeout=0)
    with pytest.raises(Full) as told:
        channel.sender.send_many(["x", "x"], timeout=0)
    assert told.value.accepted == 0
    assert take(channel) == "x"
    assert channel.sender.send_many(["x"]) == 1
    assert channel.statistics().buffered == 3


@kinds
def test_weight_0_out_of_an_iterator(kind):
    """An endless iterator of items without weight does not fill the memory."""
    channel = make(kind, 3, weigh=lambda item: 0)
    numbers = itertools.islice(itertools.count(), 100)
    with pytest.raises(Full) as told:
        channel.sender.send_many(numbers, timeout=0)
    assert told.value.accepted == 3
    assert told.value.pending == 3
    assert next(numbers) == 4
    assert channel.statistics().buffered == 3


@kinds
def test_weight_0_with_a_permit(kind):
    """A permit for 1 is no permit for a thousand items without weight."""
    channel = make(kind, 3, weigh=lambda item: 0)
    with channel.sender.permit(1) as permit:
        for number in range(3):
            permit.send(number)
        with pytest.raises((Full, ValueError)):
            permit.send(3)
    assert channel.statistics().buffered == 3


# ------------------------------------------------------------------------------------------------- everyday, no waiting


@kinds
def test_everyday(kind):
    """In order, as much as the window is wide, and again as it is received."""
    channel = make(kind, 3)
    for number in range(3):
        channel.sender.send(number)
    with pytest.raises(Full) as told:
        channel.sender.send_nowait(3)
    assert isinstance(told.value, Exception) and "send without waiting" in str(told.value)
    assert take(channel) == 0
    assert take(channel) == 1
    channel.sender.send_nowait(3)
    assert [take(channel) for _ in range(2)] == [2, 3]
    with pytest.raises(Empty, match="receive without waiting"):
        channel.receiver.receive_nowait()
    assert holds(channel).sent == 4


@kinds
def test_any_object_is_an_item(kind):
    """None, exceptions, the channel's own parts."""
    channel = make(kind, 10)
    things = [None, ValueError("x"), channel.sender, channel.receiver, NotImplemented, ..., []]
    channel.sender.send_many(things)
    assert all(one is other for one, other in zip(take_all(channel), things, strict=True))


@kinds
def test_credit_comes_in_steps(kind):
    """Half the window by default; what `threshold` says; all of it when nothing is left in the buffer."""
    for window, threshold, expected in ((8, None, [0, 0, 0, 4, 4, 4, 4, 8]), (8, 0.25, [0, 2, 2, 4, 4, 6, 6, 8]), (4, 1, [0, 0, 0, 4])):
        options = {} if threshold is None else {"threshold": threshold}
        channel = make(kind, window, **options)
        channel.sender.send_many(range(window))
        credit = []
        for _ in range(window):
            take(channel)
            credit.append(channel.statistics().credit)
            holds(channel)
        assert credit == expected


@kinds
def test_a_sender_that_parks_gets_all_that_was_consumed(kind):
    """Whatever the threshold: all that was consumed before, and all there is when the buffer has run empty."""
    channel = make(kind, 100, threshold=1, weigh=lambda item: item, clock=ManualClock())
    channel.sender.send_many([40, 30, 30])
    assert take(channel) == 40
    assert channel.statistics().credit == 0
    (worker,) = in_line(channel, (channel.sender.send, 60))
    assert holds(channel).owed == 0
    assert take(channel) == 30
    assert not worker.done()  # it is not woken for every single item
    assert take(channel) == 30
    assert worker.result() is None
    holds(channel)


@kinds
def test_credit_property(kind):
    """What one who comes now may send; inf where there is no end to it; 0 at the end."""
    channel = make(kind, 5)
    assert channel.sender.credit == 5
    channel.sender.send(1)
    assert channel.sender.credit == 4
    channel.sender.complete()
    assert channel.sender.credit == 0
    asked = manual(kind, 10)
    assert asked.sender.credit == 0
    asked.receiver.credit.request(3)
    assert asked.sender.credit == 3
    asked.receiver.credit.request(100)
    assert asked.sender.credit == 10  # the buffer
    asked.receiver.credit.request(INF)
    assert asked.sender.credit == 10
    free = manual(kind)
    free.receiver.credit.request(math.inf)
    assert free.sender.credit == INF
    assert free.statistics().granted == free.statistics().credit == INF


@kinds
def test_nobody_who_comes_is_before_who_waits(kind):
    """Strictly first come first served, by weight: a light one does not pass a heavy one."""
    channel = make(kind, 10, weigh=lambda item: item)
    channel.sender.send(5)
    (heavy,) = in_line(channel, (channel.sender.send, 8))
    assert channel.sender.credit == 0
    with pytest.raises(Full):
        channel.sender.send_nowait(1)
    with pytest.raises(Full):
        channel.sender.wait_ready(timeout=0)
    (light,) = in_line(channel, (channel.sender.send, 1))
    take(channel)
    heavy.result()
    light.result()
    assert sorted(take_all(channel)) == [1, 8]
    assert no_waiters(channel)


# ------------------------------------------------------------------------------------------------------------ timeouts

SENDS = {
    "send": lambda channel: channel.sender.send("late", timeout=2),
    "send_many": lambda channel: channel.sender.send_many(["late"], timeout=2),
    "send_many of an iterator": lambda channel: channel.sender.send_many(iter(["late"]), timeout=2),
    "wait_ready": lambda channel: channel.sender.wait_ready(timeout=2),
    "permit": lambda channel: channel.sender.permit(timeout=2).__enter__(),
}
SENDS_ASYNC = {
    "send_async": lambda channel: channel.sender.send_async("late", timeout=2),
    "send_many_async": lambda channel: channel.sender.send_many_async(["late"], timeout=2),
    "send_many_async of an iterator": lambda channel: channel.sender.send_many_async(iter(["late"]), timeout=2),
    "wait_ready_async": lambda channel: channel.sender.wait_ready_async(timeout=2),
    "permit": lambda channel: channel.sender.permit(timeout=2).__aenter__(),
}
RECEIVES = {
    "receive": lambda channel: channel.receiver.receive(timeout=2),
    "receive_many": lambda channel: channel.receiver.receive_many(5, timeout=2),
}
RECEIVES_ASYNC = {
    "receive_async": lambda channel: channel.receiver.receive_async(timeout=2),
    "receive_many_async": lambda channel: channel.receiver.receive_many_async(5, timeout=2),
}


@kinds
@pytest.mark.parametrize("method", [*SENDS, *RECEIVES])
def test_a_timeout_to_the_nanosecond(kind, method):
    """Full or Empty at that moment and not before; what was waited is in the statistics."""
    clock = ManualClock()
    channel = make(kind, 1, clock=clock)
    if method in SENDS:
        channel.sender.send("first")
    call = {**SENDS, **RECEIVES}[method]
    worker = spawn(call, channel)
    clock.wait_for_waiters(1)
    clock.advance(2 - NANOSECOND)
    assert not no_waiters(channel)
    clock.advance(NANOSECOND)
    assert isinstance(worker.exception(), Full if method in SENDS else Empty)
    assert no_waiters(channel) and clock.waiters == 0
    seen = holds(channel)
    if method in SENDS:
        assert (seen.send_blocked_seconds, seen.starved_for, seen.receive_blocked_seconds) == (2, 2, 0)
        assert take_all(channel) == ["first"]
    else:
        assert (seen.send_blocked_seconds, seen.starved_for, seen.receive_blocked_seconds) == (0, 0, 2)
    # And now it goes.
    if method in RECEIVES:
        channel.sender.send("late")
    before = channel.statistics().sent
    call(channel)
    assert channel.statistics().sent - before == ("send" in method)


@kinds
@pytest.mark.parametrize("method", [*SENDS_ASYNC, *RECEIVES_ASYNC])
@on_loops
async def test_a_timeout_of_a_task(kind, method):
    """The same for tasks."""
    clock = ManualClock()
    channel = make(kind, 1, clock=clock)
    if method in SENDS_ASYNC:
        channel.sender.send("first")
    call = {**SENDS_ASYNC, **RECEIVES_ASYNC}[method]
    (task,) = await tasks_in_line(call(channel))
    await clock.advance_async(2 - NANOSECOND)
    assert not task.done() and not no_waiters(channel)
    await clock.advance_async(NANOSECOND)
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], Full if method in SENDS_ASYNC else Empty)
    assert no_waiters(channel) and clock.waiters == 0
    holds(channel)
    if method in SENDS_ASYNC:
        assert take_all(channel) == ["first"]
    else:
        channel.sender.send("late")
    await call(channel)
    holds(channel)
    channel.sender.complete()


@kinds
def test_timeout_0_does_not_wait(kind):
    """Not even on a clock: nobody is seen to wait."""
    clock = ManualClock()
    channel = make(kind, 1, clock=clock)
    with pytest.raises(Empty):
        channel.receiver.receive(timeout=0)
    channel.sender.send(1, timeout=0)
    for call in (
        lambda: channel.sender.send(2, timeout=0),
        lambda: channel.sender.send_many([2], timeout=0.0),
        lambda: channel.sender.wait_ready(timeout=0),
        lambda: channel.sender.permit(timeout=0).__enter__(),
    ):
        with pytest.raises(Full):
            call()
    seen = holds(channel)
    assert seen.send_blocked_seconds == seen.receive_blocked_seconds == seen.starved_for == 0
    assert seen.waiting_senders == 0


# ---------------------------------------------------------------------------------------------------------------- ends


@kinds
def test_complete(kind):
    """What is buffered is received, and then the end; nothing more is sent."""
    channel = make(kind)
    channel.sender.send_many([1, 2])
    channel.sender.complete()
    channel.sender.complete()
    assert channel.statistics().state == "completing"
    for call in (
        lambda: channel.sender.send(3),
        lambda: channel.sender.send_nowait(3),
        lambda: channel.sender.send_many([3]),
        lambda: channel.sender.send_many(iter([3])),
        lambda: channel.sender.send_many([]),
        lambda: channel.sender.permit(),
        lambda: channel.sender.wait_ready(),
        lambda: channel.sender.send_control("x"),
        lambda: channel.sender.clone(),
        lambda: run(channel.sender.send_async(3)),
        lambda: run(channel.sender.send_many_async([3])),
        lambda: run(channel.sender.wait_ready_async()),
    ):
        with pytest.raises(ChannelClosed):
            call()
    assert not channel.receiver.ended
    assert take(channel) == 1
    assert take(channel) == 2
    assert channel.receiver.ended
    for call in (
        channel.receiver.receive,
        channel.receiver.receive_nowait,
        lambda: channel.receiver.receive(timeout=1),
        lambda: channel.receiver.receive_many(5),
        lambda: run(channel.receiver.receive_async()),
        lambda: run(channel.receiver.receive_many_async(2)),
    ):
        with pytest.raises(ChannelClosed):
            call()
    assert list(channel.receiver) == []
    assert holds(channel).state == "completed"
    channel.sender.fail(ValueError())  # it has ended: nothing happens
    channel.receiver.cancel()
    assert channel.statistics().state == "completed"


@kinds
def test_fail(kind):
    """What is buffered is received, and then exactly the error; others who send are told why."""
    channel = make(kind)
    other = channel.sender.clone()
    error = ValueError("broken")
    channel.sender.send_many([1, 2])
    channel.sender.fail(error)
    channel.sender.fail(KeyError("second"))
    channel.sender.complete()
    for sender in (other, channel.sender):
        for call in (
            lambda sender=sender: sender.send(3),
            lambda sender=sender: sender.send_nowait(3),
            lambda sender=sender: sender.send_control(3),
            lambda sender=sender: sender.send_many([3]),
        ):
            with pytest.raises(ChannelFailed) as told:
                call()
            assert told.value.__cause__ is error
    other.fail(KeyError("third"))
    assert [take(channel), take(channel)] == [1, 2]
    for call in (
        channel.receiver.receive,
        channel.receiver.receive_nowait,
        lambda: channel.receiver.receive_many(3),
        lambda: list(channel.receiver),
        lambda: run(channel.receiver.receive_async()),
    ):
        with pytest.raises(ValueError) as told:
            call()
        assert told.value is error
    assert channel.statistics().state == "failed"
    assert channel.receiver.ended


@kinds
def test_the_traceback_of_an_error_does_not_grow(kind):
    """However often it is raised: it is the sender's, and where it is raised is added to that."""
    channel = make(kind)
    try:
        raise ValueError("broken")
    except ValueError as error:
        channel.sender.fail(error)
    lengths = []
    for _ in range(50):
        with pytest.raises(ValueError) as told:
            channel.receiver.receive()
        length, traceback = 0, told.value.__traceback__
        while traceback is not None:
            length, traceback = length + 1, traceback.tb_next
        lengths.append(length)
    assert len(set(lengths)) == 1, lengths


@kinds
@pytest.mark.parametrize(
    "error", [ChannelClosed("not mine"), StopIteration(1), StopAsyncIteration(), GeneratorExit(), Empty(), ChannelCancelled()]
)
def test_an_error_that_looks_like_an_end(kind, error):
    """Whatever a sender fails with, iteration does not take it for completion."""
    channel = make(kind)
    channel.sender.send(1)
    channel.sender.fail(error)
    got = []
    with pytest.raises(BaseException) as told:
        for received in channel.receiver:
            got.append(value(received))
    assert got == [1]
    assert told.value is error or told.value.__cause__ is error
    assert not isinstance(told.value, StopIteration)

    async def iterate():
        async for _ in channel.receiver:
            raise AssertionError

    with pytest.raises(BaseException) as told:
        run(iterate())
    assert told.value is error or told.value.__cause__ is error


@kinds
def test_cancel(kind):
    """Nothing more: senders are told, what is buffered is discarded in order; any number of times."""
    discarded = []
    channel = make(kind, on_discard=discarded.append)
    channel.sender.send_many([1, 2, 3])
    if kind == "AckChannel":
        kept = channel.receiver.receive()
        assert kept.value == 1
    else:
        assert channel.receiver.receive() == 1
    channel.receiver.cancel()
    channel.receiver.cancel()
    assert discarded == [2, 3]
    for call in (
        lambda: channel.sender.send(4),
        lambda: channel.sender.send_nowait(4),
        lambda: channel.sender.send_many([4]),
        lambda: channel.sender.wait_ready(),
        lambda: channel.sender.permit().__enter__(),
        lambda: channel.sender.send_control(4),
        channel.receiver.receive,
        channel.receiver.receive_nowait,
        lambda: channel.receiver.receive_many(3),
        lambda: list(channel.receiver),
    ):
        with pytest.raises(ChannelCancelled):
            call()
    channel.sender.complete()
    seen = channel.statistics()
    assert (seen.state, seen.discarded, seen.buffered, seen.outstanding, seen.credit, seen.unacked) == ("cancelled", 2, 0, 0, 0, 0)
    assert channel.receiver.ended


@kinds
def test_clones(kind):
    """The channel is complete when all have; each ends for itself; a clone of a clone too."""
    channel = make(kind, 10)
    second = channel.sender.clone()
    third = second.clone()
    assert isinstance(third, Sender) and third is not second
    channel.sender.complete()
    with pytest.raises(ChannelClosed):
        channel.sender.send(0)
    second.send(1)
    second.complete()
    second.complete()
    assert channel.statistics().state == "open"
    third.send(2)
    with third:
        third.send(3)
    assert channel.statistics().state == "completing"
    assert [value(received) for received in channel.receiver] == [1, 2, 3]
    assert channel.statistics().state == "completed"


@kinds
def test_with_on_both_ends(kind):
    """`with sender:` completes, `with receiver:` cancels."""
    channel = make(kind)
    with channel.receiver as receiver:
        with channel.sender as sender:
            assert sender is channel.sender and receiver is channel.receiver
            sender.send(1)
        assert channel.statistics().state == "completing"
        assert take(channel) == 1
    assert channel.statistics().state == "completed"  # it had ended
    other = make(kind)
    with other.receiver:
        pass
    assert other.statistics().state == "cancelled"
    with other.sender:  # completes what has gone: nothing to say
        pass


@kinds
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(1), asyncio.CancelledError()])
def test_an_exception_that_leaves_the_senders_body(kind, error):
    """It is the receivers' then, after what was sent; and goes on here."""
    channel = make(kind)

    def body():
        with channel.sender as sender:
            sender.send(1)
            raise error

    with pytest.raises(type(error)) as told:
        body()
    assert told.value is error
    assert take(channel) == 1
    with pytest.raises(type(error)) as told:
        channel.receiver.receive()
    assert told.value is error


@kinds
@on_loops
async def test_async_with(kind):
    """The same for coroutines."""
    channel = make(kind)
    error = ValueError("x")
    with pytest.raises(ValueError):
        async with channel.receiver as receiver, channel.sender as sender:
            assert sender is channel.sender and receiver is channel.receiver
            await sender.send_async(1)
            raise error
    assert channel.statistics().state == "cancelled"
    other = make(kind)
    async with other.sender:
        await other.sender.send_async(1)
    assert [value(received) async for received in other.receiver] == [1]
    failing = make(kind)
    with pytest.raises(ValueError):
        async with failing.sender:
            raise error
    with pytest.raises(ValueError) as told:
        async for _ in failing.receiver:
            pass
    assert told.value is error


@pytest.mark.thread_unsafe(reason="warnings are the process's")
@kinds
def test_a_sender_let_go(kind):
    """Unfinished: a ResourceWarning, and the channel fails, after what was sent."""
    channel = make(kind)
    channel.sender.send(1)
    receiver, clone = channel.receiver, channel.sender.clone()
    reference = weakref.ref(channel.sender)
    with pytest.warns(ResourceWarning, match="with sender"):
        del channel
    assert reference() is None
    with pytest.raises(ChannelFailed):
        clone.send(2)
    assert value(receiver.receive()) == 1
    with pytest.raises(ChannelFailed, match="garbage-collected"):
        receiver.receive()
    clone.complete()


@pytest.mark.thread_unsafe(reason="warnings are the process's")
@kinds
def test_senders_let_go_without_a_word(kind):
    """Completed, failed, or the receiver had gone; or nobody ever took the ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for end in (
            lambda channel: channel.sender.complete(),
            lambda channel: channel.sender.fail(ValueError()),
            lambda channel: channel.receiver.cancel(),
        ):
            channel = make(kind)
            receiver = channel.receiver
            end(channel)
            del channel
            assert receiver is not None
        make(kind)
        channel = make(kind)
        channel.sender.send(1)
        del channel


@kinds
def test_a_receiver_let_go(kind):
    """Nobody is there to receive: as cancel."""
    discarded = []
    channel = make(kind, on_discard=discarded.append)
    sender = channel.sender
    sender.send_many([1, 2, 3])
    (worker,) = in_line(channel, (sender.send, 4))
    del channel
    assert isinstance(worker.exception(), ChannelCancelled)
    assert discarded == [1, 2, 3]
    with pytest.raises(ChannelCancelled):
        sender.send(5)


@kinds
def test_on_discard_that_raises(kind):
    """It goes to sys.unraisablehook, and the others are discarded all the same."""
    told, seen = [], []

    def on_discard(item):
        seen.append(item)
        raise KeyError(item)

    channel = make(kind, on_discard=on_discard)
    channel.sender.send_many([1, 2, 3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", told.append)
        channel.receiver.cancel()
    assert seen == [1, 2, 3]
    assert [type(one.exc_value) for one in told] == [KeyError] * 3
    assert told[0].object is on_discard


test_on_discard_that_raises = pytest.mark.thread_unsafe(reason="sys.unraisablehook is the process's")(test_on_discard_that_raises)


@kinds
def test_cancel_wakes_first(kind):
    """Then it discards: by the time `on_discard` runs, those who waited have been told."""
    woken = threading.Event()
    answers = []
    channel = make(kind, 1, on_discard=lambda item: answers.append(woken.wait(20)))
    channel.sender.send(1)

    def send():
        try:
            channel.sender.send(2)
        except ChannelCancelled:
            woken.set()

    (worker,) = in_line(channel, send)
    channel.receiver.cancel()
    worker.result()
    assert answers == [True]


# ----------------------------------------------------------------------------------------------------------- iteration


@kinds
def test_iteration(kind):
    """`for` waits, ends with the channel, and can go on where it was left."""
    channel = make(kind, 2)
    assert iter(channel.receiver) is channel.receiver

    def produce():
        with channel.sender as sender:
            for number in range(10):
                sender.send(number)

    worker = spawn(produce)
    got = [value(next(channel.receiver))]
    for received in channel.receiver:
        got.append(value(received))
        if len(got) == 5:
            break
    got += [value(received) for received in channel.receiver]
    worker.result()
    assert got == list(range(10))
    with pytest.raises(StopIteration):
        next(channel.receiver)


@kinds
@on_loops
async def test_async_iteration(kind):
    """`async for`, the same."""
    channel = make(kind, 2)

    async def produce():
        async with channel.sender as sender:
            for number in range(300):
                await sender.send_async(number)

    task = asyncio.create_task(produce())
    got = [value(await anext(aiter(channel.receiver)))]
    got += [value(received) async for received in channel.receiver]
    await task
    assert got == list(range(300))
    with pytest.raises(StopAsyncIteration):
        await anext(aiter(channel.receiver))


# ------------------------------------------------------------------------------------------------------------- batches


@kinds
def test_send_many(kind):
    """Lists, tuples, sets, ranges, iterators, generators, strings."""
    channel = make(kind, 100)
    for items in ([1, 2], (3,), range(4, 6), iter([6, 7]), (number for number in (8, 9)), {10}, "ab", {"key": 1}, [], iter([]), ()):
        channel.sender.send_many(items)
    assert take_all(channel) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, "a", "b", "key"]


@kinds
def test_send_many_counts(kind):
    channel = make(kind, 100)
    counts = [channel.sender.send_many(items) for items in ([1, 2], iter([3]), (number for number in range(5)), [], iter(()), range(50))]
    assert counts == [2, 1, 5, 0, 0, 50]
    assert run(channel.sender.send_many_async(iter("abc"))) == 3
    assert holds(channel).sent == 61


@kinds
def test_send_many_of_more_than_there_is_credit_for(kind):
    """What fits is in; `accepted` says how much; an iterator stands at the first that is not."""
    channel = make(kind, 3)
    with pytest.raises(Full) as told:
        channel.sender.send_many(range(10), timeout=0)
    assert told.value.accepted == 3
    assert take_all(channel) == [0, 1, 2]
    asked = []

    def generate():
        for number in range(10):
            asked.append(number)
            yield number

    numbers = generate()
    with pytest.raises(Full) as told:
        channel.sender.send_many(numbers, timeout=0)
    assert told.value.accepted == 3
    assert not hasattr(told.value, "pending")
    assert asked == [0, 1, 2]
    assert next(numbers) == 3
    assert take_all(channel) == [0, 1, 2]
    holds(channel)


@kinds
def test_send_many_of_a_sender_that_has_ended(kind):
    """It has sent nothing, and says so."""
    channel = make(kind)
    with channel.sender.clone():
        channel.sender.complete()
        with pytest.raises(ChannelClosed) as told:
            channel.sender.send_many(iter([1]))
        assert told.value.accepted == 0
        with pytest.raises(ChannelClosed) as told:
            run(channel.sender.send_many_async([1, 2]))
        assert told.value.accepted == 0


@kinds
def test_a_sender_that_has_ended_has_no_credit(kind):
    """Though its clone has."""
    channel = make(kind)
    with channel.sender.clone() as other:
        channel.sender.complete()
        assert (channel.sender.credit, other.credit) == (0, 3)


@kinds
def test_credit_without_an_end_in_statistics(kind):
    """As the sender sees it, and after something has been sent, too."""
    channel = manual(kind)
    channel.receiver.credit.request(INF)
    for seen in (channel.statistics().credit, channel.sender.send_nowait(1) or channel.statistics().credit, channel.sender.credit):
        assert seen == INF
    assert " credit=inf" in repr(channel)
    bounded = manual(kind, 2)
    bounded.receiver.credit.request(INF)
    bounded.sender.send(1)
    assert (bounded.sender.credit, bounded.statistics().credit) == (1, 1)


@kinds
def test_send_many_knows_an_end_without_credit(kind):
    """Exactly as many as fit: it does not wait for credit to see that there is no more."""
    channel = make(kind, 3)
    assert channel.sender.send_many(iter([1, 2, 3])) == 3
    assert channel.sender.send_many(iter([])) == 0
    assert channel.sender.send_many([]) == 0
    assert take_all(channel) == [1, 2, 3]
    assert channel.sender.send_many(range(3)) == 3


@kinds
def test_send_many_pending(kind):
    """An item that turned out too heavy for what is left is in the error."""
    channel = make(kind, 10, weigh=len)
    words = iter(["four", "five", "three", "more"])
    with pytest.raises(Full) as told:
        channel.sender.send_many(words, timeout=0)
    assert (told.value.accepted, told.value.pending) == (2, "three")
    assert list(words) == ["more"]
    assert holds(channel).permits == 0
    assert take_all(channel) == ["four", "five"]
    with pytest.raises(Full) as told:
        channel.sender.send_many(["seven77", "four"], timeout=0)
    assert told.value.accepted == 1
    assert not hasattr(told.value, "pending")


@kinds
def test_an_iterator_that_raises(kind):
    """Its error goes on, with what was sent before; no credit is lost."""
    channel = make(kind, 5)

    def generate():
        yield 1
        yield 2
        raise KeyError("x")

    with pytest.raises(KeyError) as told:
        channel.sender.send_many(generate())
    assert told.value.accepted == 2
    assert take_all(channel) == [1, 2]
    assert holds(channel).credit == 5


@kinds
def test_send_many_as_credit_comes(kind):
    """A long iterator through a narrow window, each item once and in order; the end of the channel stops it at the right item."""
    channel = make(kind, 2)
    numbers = itertools.count()
    worker = spawn(channel.sender.send_many, numbers)
    got = [value(channel.receiver.receive(timeout=20)) for _ in range(100)]
    assert got == list(range(100))
    wait_until(lambda: channel.statistics().waiting_senders == 1)
    buffered = channel.statistics().buffered
    channel.receiver.cancel()
    error = worker.exception()
    assert isinstance(error, ChannelCancelled)
    assert error.accepted == 100 + buffered
    assert next(numbers) == error.accepted


@kinds
@on_loops
async def test_cancelling_a_batch_without_end(kind):
    """`accepted` of the CancelledError; the iterator stands at the first that was not sent."""
    channel = make(kind, 5)
    numbers = itertools.count()
    told = []

    async def send():
        try:
            await channel.sender.send_many_async(numbers)
        except asyncio.CancelledError as error:
            told.append(error.accepted)
            raise

    (task,) = await tasks_in_line(send())
    await cancelled(task)
    assert told == [5]
    assert next(numbers) == 5
    assert no_waiters(channel)
    assert holds(channel).permits == 0
    assert take_all(channel) == list(range(5))


@kinds
def test_receive_many(kind):
    """1 to `max`, in order; does not wait for more than one."""
    channel = make(kind, 10)
    channel.sender.send_many(range(7))
    assert [value(received) for received in channel.receiver.receive_many(3)] == [0, 1, 2]
    assert [value(received) for received in channel.receiver.receive_many(2**70)] == [3, 4, 5, 6]
    with pytest.raises(Empty):
        channel.receiver.receive_many(1, timeout=0)
    (worker,) = in_line(channel, lambda: [value(received) for received in channel.receiver.receive_many(5)])
    channel.sender.send("x")
    assert worker.result() == ["x"]
    channel.sender.send_many([1, 2])
    channel.sender.complete()
    assert [value(received) for received in run(channel.receiver.receive_many_async(5))] == [1, 2]
    with pytest.raises(ChannelClosed):
        channel.receiver.receive_many(5)
    holds(channel)


# ------------------------------------------------------------------------------------------------------------- permits


@kinds
def test_a_permit(kind):
    """Credit before the items exist; what is not used goes back."""
    channel = make(kind, 5)
    permit = channel.sender.permit(3)
    assert (permit.left, channel.sender.credit) == (0, 5)  # taken on entry
    with permit as held:
        assert held is permit
        assert (permit.left, channel.sender.credit, channel.statistics().permits) == (3, 2, 3)
        permit.send("a")
        assert permit.left == 2
        holds(channel)
    assert (permit.left, channel.sender.credit, channel.statistics().permits) == (0, 4, 0)
    assert take_all(channel) == ["a"]
    with permit:  # again
        assert permit.left == 3
    with channel.sender.permit() as one:
        one.send("b")
        with pytest.raises(ValueError):
            one.send("c")
    assert take_all(channel) == ["b"]
    assert holds(channel).credit == 5


@kinds
def test_a_permit_not_held(kind):
    """Outside `with`, and twice at once."""
    channel = make(kind, 5)
    permit = channel.sender.permit(2)
    with pytest.raises(RuntimeError, match="not held"):
        permit.send(1)
    with permit:
        with pytest.raises(RuntimeError, match="held already"):
            permit.__enter__()
        with pytest.raises(RuntimeError, match="held already"):
            run(permit.__aenter__())
        assert permit.left == 2
    with pytest.raises(RuntimeError, match="not held"):
        permit.send(1)
    permit.__exit__(None, None, None)
    assert holds(channel).credit == 5


@kinds
def test_an_exception_in_a_permits_body(kind):
    """What is left goes back, what was sent is sent."""
    channel = make(kind, 5)
    with pytest.raises(KeyError):
        with channel.sender.permit(4) as permit:
            permit.send(1)
            raise KeyError
    assert holds(channel).credit == 4
    assert take_all(channel) == [1]


@kinds
def test_a_dropped_permit(kind):
    """Let go while held: its credit goes to the next in line."""
    channel = make(kind, 3)
    permit = channel.sender.permit(3)
    permit.__enter__()
    assert channel.sender.credit == 0
    (worker,) = in_line(channel, (channel.sender.send, 1))
    del permit
    collect()
    worker.result()
    assert holds(channel).permits == 0


@kinds
def test_permits_of_weight(kind):
    """An item that is heavier than what is left is refused, and nothing has changed."""
    channel = make(kind, 10, weigh=lambda item: item)
    with pytest.raises(ValueError, match="11"):
        channel.sender.permit(11).__enter__()
    with channel.sender.permit(6) as permit:
        permit.send(4)
        refused(lambda: permit.send(3), "2 left", ValueError, channel)
        refused(lambda: permit.send(-1), "the weight of an item", ValueError, channel)
        assert permit.left == 2
        permit.send(2)
    assert holds(channel).credit == 4


@kinds
def test_waiting_for_a_permit(kind):
    """In the one line, by weight."""
    channel = make(kind, 4)
    channel.sender.send_many([1, 2])
    got = []

    def use():
        with channel.sender.permit(4) as permit:
            got.append(permit.left)
            for number in range(4):
                permit.send(number)

    first, second = in_line(channel, use, (channel.sender.send, "after"))
    assert take(channel) == 1
    assert got == []
    assert take(channel) == 2
    first.result()
    assert [take(channel) for _ in range(4)] == [0, 1, 2, 3]
    second.result()
    assert take(channel) == "after"


@kinds
@on_loops
async def test_permits_of_tasks(kind):
    """`async with`: waits, is cancelled, and gives back."""
    channel = make(kind, 2)

    async def use(permit):
        async with permit as held:
            assert held is permit
            permit.send("x")
            await asyncio.sleep(3600)

    (one,) = [asyncio.create_task(use(channel.sender.permit(2)))]
    await settle()
    assert (channel.statistics().permits, channel.sender.credit) == (1, 0)
    two, three = await tasks_in_line(use(channel.sender.permit(1)), use(channel.sender.permit(1)))
    await cancelled(two)
    await cancelled(one)
    await settle()
    assert channel.statistics().permits == 0  # the third has used what it had
    assert channel.statistics().buffered == 2
    await cancelled(three)
    assert take_all(channel) == ["x", "x"]
    assert no_waiters(channel)
    assert holds(channel).credit == 2


@kinds
def test_permits_and_the_end(kind):
    """A channel that was completed takes what a permit still has, and ends when that has been returned; one that failed or was cancelled
    does not."""
    channel = make(kind, 5)
    with channel.sender.permit(2) as permit:
        channel.sender.complete()
        permit.send("last")
        assert take(channel) == "last"
        with pytest.raises(Empty):
            channel.receiver.receive_nowait()
        assert not channel.receiver.ended
    assert channel.receiver.ended
    for end, error in (
        (lambda channel: channel.sender.fail(ValueError()), ChannelFailed),
        (lambda channel: channel.receiver.cancel(), ChannelCancelled),
    ):
        channel = make(kind, 5)
        with channel.sender.permit(2) as permit:
            end(channel)
            with pytest.raises(error):
                permit.send(1)
        assert channel.statistics().permits == 0


@kinds
def test_a_receiver_that_waits_while_a_permit_is_out(kind):
    """It is told of the end when the last permit goes."""
    channel = make(kind, 5)
    with channel.sender.permit(2):
        channel.sender.complete()
        (worker,) = in_line(channel, lambda: channel.receiver.receive())
    assert isinstance(worker.exception(), ChannelClosed)


# ---------------------------------------------------------------------------------------------------------- wait_ready


@kinds
def test_wait_ready(kind):
    """True as soon as `n` could be sent; takes nothing; never can be: ValueError."""
    channel = make(kind, 3)
    assert channel.sender.wait_ready() is True
    assert channel.sender.wait_ready(3) is True
    assert run(channel.sender.wait_ready_async(3)) is True
    refused(lambda: channel.sender.wait_ready(4), "4", ValueError, channel)
    channel.sender.send_many([1, 2])
    (worker,) = in_line(channel, (channel.sender.wait_ready, 3))
    take(channel)
    assert not worker.done()
    take(channel)
    assert worker.result() is True
    assert channel.sender.credit == 3
    channel.sender.send_many([1, 2, 3])
    one, two = in_line(channel, channel.sender.wait_ready, channel.sender.wait_ready)
    take(channel)
    take(channel)
    assert one.result() and two.result()  # nobody took it
    channel.sender.send_many([4, 5])
    (worker,) = in_line(channel, channel.sender.wait_ready)
    channel.sender.clone().fail(KeyError())
    assert isinstance(worker.exception(), ChannelFailed)


# -------------------------------------------------------------------------------------------------------- control lane


@kinds
def test_control_overtakes(kind):
    """It needs no credit, comes before every item, in order, on the thread that receives."""
    channel = make(kind, 2)
    log = []
    channel.receiver.credit.on_control = lambda message: log.append((message, threading.get_ident()))
    channel.sender.send_many([1, 2])
    for message in ("a", "b", "c"):
        channel.sender.send_control(message)
    assert channel.sender.credit == 0
    assert log == []
    assert take(channel) == 1
    assert log == [(message, threading.get_ident()) for message in ("a", "b", "c")]
    channel.sender.send_control("d")
    assert [value(received) for received in channel.receiver.receive_many(5)] == [2]
    assert log[-1][0] == "d"
    assert holds(channel).sent == 2  # no items


@kinds
def test_the_control_lane_is_bounded(kind):
    """Full when the receiver does not take them; `control_capacity` says how many; without a handler they stay."""
    for capacity in (None, 2):
        channel = make(kind, 2, **({} if capacity is None else {"control_capacity": capacity}))
        for number in range(capacity or 8):
            channel.sender.send_control(number)
        with pytest.raises(Full, match="control"):
            channel.sender.send_control("more")
        channel.sender.send("x")
        assert take(channel) == "x"
        with pytest.raises(Full):
            channel.sender.send_control("more")
        log = []
        channel.receiver.credit.on_control = log.append
        assert channel.receiver.credit.on_control == log.append
        with pytest.raises(Empty):
            channel.receiver.receive_nowait()
        assert log == list(range(capacity or 8))
        channel.receiver.credit.on_control = None
        assert channel.receiver.credit.on_control is None
        channel.sender.send_control("later")
        with pytest.raises(Empty):
            channel.receiver.receive_nowait()
        channel.receiver.credit.on_control = log.append
        with pytest.raises(Empty):
            channel.receiver.receive_nowait()
        assert log[-1] == "later"


@kinds
def test_control_reaches_who_waits(kind):
    """A receiver in the middle of its wait handles it and waits on; one that gets a handler later too."""
    channel = make(kind)
    handled = threading.Event()
    idents = []
    channel.sender.send_control("before")
    (worker,) = in_line(channel, lambda: (threading.get_ident(), value(channel.receiver.receive())))

    def on_control(message):
        idents.append((message, threading.get_ident()))
        handled.set()

    channel.receiver.credit.on_control = on_control
    assert handled.wait(20)
    handled.clear()
    channel.sender.send_control("meanwhile")
    assert handled.wait(20)
    assert not worker.done()
    channel.sender.send("x")
    ident, got = worker.result()
    assert got == "x"
    assert idents == [("before", ident), ("meanwhile", ident)]


@kinds
@on_loops
async def test_control_reaches_a_task_that_waits(kind):
    """On its loop."""
    channel = make(kind)
    log = []
    channel.receiver.credit.on_control = lambda message: log.append((message, threading.get_ident()))
    (task,) = await tasks_in_line(channel.receiver.receive_async())
    await asyncio.to_thread(channel.sender.send_control, "from a thread")
    await eventually(lambda: log)
    channel.sender.send_control("from here")
    await settle()
    assert log == [("from a thread", threading.get_ident()), ("from here", threading.get_ident())]
    channel.sender.send("x")
    assert value(await task) == "x"


@pytest.mark.thread_unsafe(reason="sys.unraisablehook is the process's")
@kinds
def test_a_control_handler_that_raises(kind):
    """It goes to sys.unraisablehook; the others are handled, and the item is received."""
    told, log = [], []

    def on_control(message):
        log.append(message)
        if message == 1:
            raise KeyError(message)

    channel = make(kind)
    channel.receiver.credit.on_control = on_control
    for number in range(3):
        channel.sender.send_control(number)
    channel.sender.send("x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", told.append)
        assert take(channel) == "x"
    assert log == [0, 1, 2]
    assert [type(one.exc_value) for one in told] == [KeyError]


@kinds
def test_a_control_handler_that_uses_its_channel(kind):
    """It sends, receives, asks, and even waits for an item in the middle of the wait that it interrupts."""
    channel = make(kind, 5)
    log = []

    def on_control(message):
        if message == "receive":
            log.append(("handler", value(channel.receiver.receive(timeout=20))))
        elif message == "nowait":
            log.append(("handler", take(channel)))
        else:
            channel.sender.send(message)

    channel.receiver.credit.on_control = on_control
    channel.sender.send_control("send this")
    assert take(channel) == "send this"
    channel.sender.send_many([1, 2])
    channel.sender.send_control("nowait")
    assert take(channel) == 2
    assert log == [("handler", 1)]
    (worker,) = in_line(channel, lambda: value(channel.receiver.receive()))
    channel.sender.send_control("receive")
    wait_until(lambda: channel.statistics().waiting_receivers == 2)
    channel.sender.send("for the handler")
    wait_until(lambda: len(log) == 2)
    assert log[1] == ("handler", "for the handler")
    channel.sender.send("for the call")
    assert worker.result() == "for the call"
    assert no_waiters(channel)


@kinds
def test_control_in_a_cycle_of_full_windows(kind):
    """Two full channels, each of whose receivers sends on the other: control still passes."""
    one, other = make(kind, 1), make(kind, 1)
    one.sender.send(1)
    other.sender.send(1)
    log = []
    for channel, opposite in ((one, other), (other, one)):
        channel.receiver.credit.on_control = lambda message, opposite=opposite: (log.append(message), opposite.sender.send_control("back"))
        with pytest.raises(Full):
            opposite.sender.send_nowait(2)
    one.sender.send_control("there")
    take(one)
    take(other)
    assert log[:2] == ["there", "back"]
    one.receiver.credit.on_control = other.receiver.credit.on_control = None


# --------------------------------------------------------------------------------------------------- credit by hand


@kinds
def test_request(kind):
    """Nothing flows before it; it adds up; more than can be counted is no end."""
    channel = manual(kind, 100)
    credit = channel.receiver.credit
    with pytest.raises(Full):
        channel.sender.send_nowait(1)
    assert credit.request(2) is True
    assert credit.request(1) is True
    assert channel.sender.send_many([1, 2, 3]) == 3
    with pytest.raises(Full):
        channel.sender.send_nowait(4)
    assert take_all(channel) == [1, 2, 3]  # which gives nothing back
    with pytest.raises(Full):
        channel.sender.send_nowait(4)
    assert channel.statistics().granted == 3
    for n in (2**63 - 1, 2**70, INF):
        assert credit.request(n) is True
        assert channel.statistics().granted == INF
    assert credit.request(5) is True
    assert channel.sender.send_many(range(100)) == 100
    with pytest.raises(Full):  # the bound is hard
        channel.sender.send_nowait("x")
    assert channel.statistics().outstanding == 100


@kinds
def test_request_up_to(kind):
    """Said any number of times; a number that has been reached changes nothing."""
    channel = manual(kind)
    credit = channel.receiver.credit
    assert credit.request_up_to(3) is True
    assert credit.request_up_to(3) is False
    assert credit.request_up_to(2) is False
    channel.sender.send_many([1, 2])
    take_all(channel)
    assert credit.request_up_to(3) is False
    assert credit.request_up_to(5) is True
    assert channel.sender.credit == 3
    assert credit.request(1)
    assert credit.request_up_to(6) is False
    assert credit.request_up_to(INF) is True
    assert channel.statistics().granted == INF
    assert credit.request_up_to(INF) is False


@kinds
def test_drain(kind):
    """Takes back what is not used; what is buffered stays."""
    channel = manual(kind)
    credit = channel.receiver.credit
    assert credit.drain() == 0
    credit.request(5)
    channel.sender.send_many([1, 2])
    assert credit.drain() == 3
    assert credit.drain() == 0
    seen = channel.statistics()
    assert (seen.credit, seen.voided, seen.buffered, seen.granted, seen.grants_held) == (0, 3, 2, 5, False)
    credit.request(1)
    channel.sender.send(3)
    assert take_all(channel) == [1, 2, 3]
    credit.request(INF)
    assert credit.drain() == INF
    assert channel.sender.credit == 0


@kinds
def test_drain_of_a_window(kind):
    """It is paused by it, and `resume` gives the window back."""
    channel = make(kind, 5)
    channel.sender.send(1)
    assert channel.receiver.credit.drain() == 4
    assert channel.sender.credit == 0
    assert channel.statistics().grants_held
    take(channel)
    assert channel.sender.credit == 0
    (worker,) = in_line(channel, (channel.sender.send, 2))
    channel.receiver.credit.resume()
    worker.result()
    assert holds(channel).credit == 4


@kinds
def test_pause_and_resume(kind):
    """No more is given, what was given may be used, what is buffered is received."""
    channel = make(kind, 4)
    credit = channel.receiver.credit
    channel.sender.send(1)
    credit.pause()
    credit.pause()
    assert channel.statistics().grants_held
    channel.sender.send_many([2, 3, 4])
    assert take_all(channel) == [1, 2, 3, 4]
    assert channel.sender.credit == 0
    assert holds(channel).owed == 4
    (worker,) = in_line(channel, (channel.sender.send, 5))
    assert channel.statistics().waiting_senders == 1
    credit.resume()
    credit.resume()
    worker.result()
    assert not channel.statistics().grants_held
    assert take(channel) == 5
    assert holds(channel).credit == 4
    asked = manual(kind)
    asked.receiver.credit.pause()
    assert asked.receiver.credit.request(3) is True
    assert (asked.sender.credit, asked.statistics().owed) == (0, 3)
    assert asked.receiver.credit.request_up_to(3) is False
    asked.receiver.credit.resume()
    assert asked.sender.credit == 3


@kinds
def test_lease(kind):
    """For that long, to the nanosecond; the last one counts; void is not used again."""
    clock = ManualClock()
    channel = manual(kind, clock=clock)
    credit = channel.receiver.credit
    assert credit.lease(5, 10) is True
    channel.sender.send_many([1, 2])
    clock.advance(10 - NANOSECOND)
    assert channel.sender.credit == 3
    clock.advance(NANOSECOND)
    assert channel.sender.credit == 0
    with pytest.raises(Full):
        channel.sender.send_nowait(3)
    assert channel.statistics().voided == 3
    credit.lease(5, 10)
    credit.lease(2, 20)  # instead of that
    assert channel.sender.credit == 2
    clock.advance(15)
    assert channel.sender.credit == 2
    credit.request(4)  # lasts
    clock.advance(5)
    assert channel.sender.credit == 4
    credit.pause()
    assert credit.lease(1, 1) is False
    credit.resume()
    assert credit.lease(1, 0) is True
    assert channel.sender.credit == 4
    assert take_all(channel) == [1, 2]


@kinds
@pytest.mark.parametrize("much", [INF, 2**63 - 2, 2**70])
def test_a_lease_of_any_size_ends(kind, much):
    """Beside what was asked for, before it or after, too."""
    clock = ManualClock()
    channel = manual(kind, clock=clock)
    credit = channel.receiver.credit
    credit.request(2)
    credit.lease(much, 5)
    credit.request(3)
    channel.sender.send(1)
    assert channel.sender.credit > 2**62
    clock.advance(5)
    assert channel.sender.credit == 5
    credit.request(2**63 - 7)
    credit.lease(1, 0)
    assert channel.sender.credit == 2**63 - 2


@kinds
def test_a_lease_that_ends_while_a_permit_is_out(kind):
    """The permit may be used; what comes back is void."""
    clock = ManualClock()
    channel = manual(kind, clock=clock)
    channel.receiver.credit.lease(4, 10)
    with channel.sender.permit(3) as permit:
        clock.advance(10)
        permit.send("x")
        assert permit.left == 2
    seen = channel.statistics()
    assert (seen.credit, seen.voided, seen.permits, seen.sent) == (0, 3, 0, 1)


@kinds
def test_a_permit_is_not_charged_for_the_lease_of_another(kind):
    """What was asked for comes back, though another's lease has run out meanwhile."""
    clock = ManualClock()
    channel = manual(kind, clock=clock)
    sender, credit = channel.sender, channel.receiver.credit
    credit.lease(1, 1)
    with sender.permit() as leased:
        clock.advance(1)
        credit.request(1)
        with sender.permit(timeout=0):
            pass
        leased.send("x")
    seen = holds(channel)
    assert (sender.credit, seen.voided, seen.permits, seen.sent) == (1, 0, 0, 1)


@kinds
def test_a_lease_wakes_who_waits(kind):
    """And those who come too late wait for the next."""
    clock = ManualClock()
    channel = manual(kind, clock=clock)
    first, second = in_line(channel, (channel.sender.send, 1), (channel.sender.send, 2))
    channel.receiver.credit.lease(1, 5)
    first.result()
    assert not second.done()
    clock.advance(100)
    channel.receiver.credit.lease(1, 5)
    second.result()
    assert take_all(channel) == [1, 2]


@kinds
def test_after_the_end_nothing_raises(kind):
    """Rules 3.6 and 3.7: all of it does nothing."""
    for end in (
        lambda channel: channel.sender.complete(),
        lambda channel: channel.sender.fail(ValueError()),
        lambda channel: channel.receiver.cancel(),
    ):
        channel = manual(kind)
        end(channel)
        credit = channel.receiver.credit
        assert credit.request(1) is False
        assert credit.request_up_to(5) is False
        assert credit.lease(1, 1) is False
        assert credit.drain() == 0
        credit.pause()
        assert not channel.statistics().grants_held
        credit.resume()
        down = make(kind, 1)
        down.sender.send(1)
        credit.defer_to(down.sender)
        credit.defer_to(None)
        credit.defer_to(channel.sender)
        assert not channel.statistics().grants_held
        channel.receiver.cancel()
        assert channel.sender.credit == 0
        held = make(kind, 1)
        held.receiver.credit.pause()
        end(held)
        held.receiver.credit.resume()
        assert held.statistics().grants_held


# ------------------------------------------------------------------------------------------------------------ deferred


@kinds
def test_defer_to(kind):
    """While the sender downstream is starved, nothing is granted; what collects goes out in one step."""
    up, down = make(kind, 4), make(kind, 2)
    up.receiver.credit.defer_to(down.sender)
    assert not up.statistics().grants_held
    for number in range(4):
        up.sender.send(number)
    for _ in range(2):
        down.sender.send(take(up))
    assert up.statistics().grants_held  # the sender downstream has no credit
    assert up.sender.credit == 2  # given before
    up.sender.send_many([4, 5])
    assert [take(up) for _ in range(4)] == [2, 3, 4, 5]
    assert (up.sender.credit, up.statistics().owed) == (0, 4)
    (worker,) = in_line(up, (up.sender.send, 6))
    assert take(down) == 0
    worker.result()  # the step of 1 has given credit back
    assert not up.statistics().grants_held
    holds(up)
    holds(down)


@kinds
def test_a_chain_stops_at_its_source(kind):
    """Three channels: when the last receiver stops, so does the first sender; and everything flows again when it goes on."""
    chain = [make(kind, 4) for _ in range(3)]
    for up, down in itertools.pairwise(chain):
        up.receiver.credit.defer_to(down.sender)
    sent = 0
    for _ in range(100):
        moved = False
        try:
            chain[0].sender.send_nowait(sent)
            sent, moved = sent + 1, True
        except Full:
            pass
        for up, down in itertools.pairwise(chain):
            if down.sender.credit and up.statistics().buffered:
                down.sender.send_nowait(take(up))
                moved = True
        if not moved:
            break
    assert sent <= 12  # what the windows hold
    assert chain[0].sender.credit == 0 and chain[1].statistics().grants_held
    got = []
    while len(got) < sent:
        got += take_all(chain[2])
        for up, down in itertools.pairwise(chain):
            while down.sender.credit and up.statistics().buffered:
                down.sender.send_nowait(take(up))
    assert got == list(range(sent))
    assert [channel.sender.credit for channel in chain] == [4, 4, 4]
    assert not any(holds(channel).grants_held for channel in chain)


@kinds
def test_cycles_of_defer_to(kind):
    """Refused, directly and around several; a deferral that has ended is none."""
    one, two, three = (make(kind) for _ in range(3))
    refused(lambda: one.receiver.credit.defer_to(one.sender), "cycle", ValueError, one)
    one.receiver.credit.defer_to(two.sender)
    clone = three.sender.clone()
    two.receiver.credit.defer_to(clone)
    clone.complete()
    for downstream in (one, two):
        refused(
            lambda downstream=downstream: three.receiver.credit.defer_to(downstream.sender),
            "cycle|wait for each other"[:5],
            ValueError,
            three,
        )
    two.receiver.credit.defer_to(None)
    three.receiver.credit.defer_to(one.sender)
    three.receiver.credit.defer_to(one.sender)
    for channel in (one, two, three):
        channel.sender.complete()
        channel.receiver.credit.defer_to(None)


@kinds
def test_defer_to_ends(kind):
    """None ends it, another replaces it, and so does the end of the channel downstream."""
    up, down, other = make(kind, 1), make(kind, 1), make(kind, 1)
    credit = up.receiver.credit
    for release in (
        lambda: credit.defer_to(None),
        lambda: credit.defer_to(other.sender),
        down.receiver.cancel,
    ):
        credit.defer_to(down.sender)
        if down.sender.credit:
            down.sender.send("full")
        up.sender.send(1)
        assert take(up) == 1
        assert up.sender.credit == 0
        (worker,) = in_line(up, (up.sender.send, 2))
        release()
        worker.result()
        assert take(up) == 2
    with pytest.raises(ChannelCancelled):
        take_all(down)


@kinds
def test_deferrals_that_ended_are_forgotten(kind):
    """A channel that many others have deferred to in its life does not keep them."""
    down = make(kind)

    class Hook:
        def __call__(self, item):
            pass

    def use():
        hook = Hook()
        up = make(kind, on_discard=hook)
        up.receiver.credit.defer_to(down.sender)
        up.receiver.credit.defer_to(down.sender)
        up.sender.complete()
        up.receiver.credit.defer_to(None)
        return weakref.ref(hook)

    references = [use() for _ in range(5)]
    collect()
    assert [reference() for reference in references] == [None] * 5

    def let_go():
        hook = Hook()
        up = make(kind, on_discard=hook)
        up.receiver.credit.defer_to(down.sender)
        up.sender.complete()
        return weakref.ref(hook)

    references = [let_go() for _ in range(5)]
    down.sender.send_many([1, 2, 3])
    take_all(down)
    collect()
    assert [reference() for reference in references] == [None] * 5


# ---------------------------------------------------------------------------------------------------------- subscribing


class Log:
    """A subscriber that writes down what it is told, and on which thread."""

    def __init__(self):
        self.events = []
        self.over = threading.Event()
        self.threads = set()

    def __call__(self, received):
        self.threads.add(threading.get_ident())
        self.events.append(value(received))

    def complete(self):
        self.events.append("complete")
        self.over.set()

    def error(self, error):
        self.events.append(error)
        self.over.set()

    def subscribe(self, receiver, **handlers):
        return receiver.subscribe(self, on_complete=self.complete, on_error=self.error, **handlers)


@kinds
def test_subscribe(kind):
    """On a thread of its own: items in order, one at a time, then the end."""
    channel, log, held = make(kind, 4), Log(), []
    subscription = log.subscribe(channel.receiver, on_subscribe=held.append)
    assert held == [subscription]
    assert isinstance(subscription, sluicegate.Subscription)
    assert not subscription.cancelled
    with channel.sender as sender:
        sender.send_many(range(100))
    assert log.over.wait(20)
    assert log.events == [*range(100), "complete"]
    assert len(log.threads) == 1 and threading.get_ident() not in log.threads
    assert subscription.cancelled
    assert "Subscription" in repr(subscription)
    with pytest.raises(RuntimeError, match="subscriber already"):
        channel.receiver.subscribe(print)


@kinds
def test_a_subscriber_is_told_of_an_error(kind):
    """After what was sent before it; whatever it is."""
    for error in (ValueError("x"), ChannelClosed("x"), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration()):
        channel, log = make(kind, 4), Log()
        channel.sender.send_many([1, 2])
        channel.sender.fail(error)
        log.subscribe(channel.receiver)
        assert log.over.wait(20)
        assert log.events == [1, 2, error]


@kinds
def test_a_subscription_that_is_cancelled(kind):
    """From a handler, or from outside: nothing more is told, not even an end."""
    channel, log = make(kind, 4), Log()
    held = []
    subscription = channel.receiver.subscribe(
        lambda received: (log(received), held[0].cancel()), on_complete=log.complete, on_error=log.error, on_subscribe=held.append
    )
    with pytest.raises(ChannelCancelled):
        channel.sender.send_many(itertools.count())
    assert subscription.cancelled
    wait_until(lambda: no_waiters(channel))
    assert log.events == [0]
    subscription.cancel()
    other, log = make(kind, 4), Log()
    subscription = log.subscribe(other.receiver)
    wait_until(lambda: other.statistics().waiting_receivers == 1)
    subscription.cancel()
    wait_until(lambda: no_waiters(other))
    other.sender.complete()
    assert log.events == []


@kinds
def test_demand_of_a_subscriber(kind):
    """By hand: what it asks for in its handlers is not nested (rule 3.3)."""
    channel, log, depths, depth = manual(kind, 10), Log(), [], 0
    held = []

    def on_next(received):
        nonlocal depth
        depth += 1
        depths.append(depth)
        log(received)
        held[0].request(1)
        depth -= 1

    def on_subscribe(subscription):
        held.append(subscription)
        subscription.request(1)

    channel.receiver.subscribe(on_next, on_complete=log.complete, on_subscribe=on_subscribe)
    with channel.sender as sender:
        sender.send_many(range(50))
    assert log.over.wait(20)
    assert log.events == [*range(50), "complete"]
    assert set(depths) == {1}


@pytest.mark.thread_unsafe(reason="sys.unraisablehook is the process's")
@kinds
@pytest.mark.parametrize("where", ["on_next", "on_complete", "on_error", "on_subscribe"])
def test_a_subscriber_that_raises(kind, where):
    """That ends the subscription, and is told to sys.unraisablehook, never to the sender."""
    told = []
    channel = make(kind, 4)

    def bad(*_):
        raise KeyError(where)

    handlers = {"on_next": lambda received: value(received), where: bad}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", told.append)
        subscription = channel.receiver.subscribe(handlers.pop("on_next"), **handlers)
        if where == "on_error":
            channel.sender.fail(ValueError())
        elif where == "on_complete":
            channel.sender.complete()
        elif where == "on_next":
            channel.sender.send(1)
        wait_until(lambda: told)
    assert isinstance(told[0].exc_value, KeyError)
    wait_until(lambda: subscription.cancelled)
    if where in ("on_next", "on_subscribe"):
        with pytest.raises(ChannelCancelled):
            channel.sender.send(2)


@kinds
@on_loops
async def test_subscribe_on_a_loop(kind):
    """On the running loop: the same."""
    channel, log = make(kind, 4), Log()
    subscription = log.subscribe(channel.receiver)
    async with channel.sender as sender:
        for number in range(300):
            await sender.send_async(number)
    await eventually(log.over.is_set)
    assert log.events == [*range(300), "complete"]
    assert log.threads == {threading.get_ident()}
    assert subscription.cancelled
    failing, log = make(kind, 4), Log()
    log.subscribe(failing.receiver)
    error = ValueError()
    failing.sender.fail(error)
    await eventually(log.over.is_set)
    assert log.events == [error]
    stopped, log = make(kind, 4), Log()
    subscription = log.subscribe(stopped.receiver)
    await settle()
    subscription.cancel()
    await settle()
    assert log.events == []
    assert no_waiters(stopped)


NAME = contextvars.ContextVar("NAME", default="nobody")


@kinds
@pytest.mark.parametrize("where", ["thread", "loop"])
def test_the_context_of_a_subscriber(kind, where):
    """Its handlers run in the context of `subscribe`, a copy of it."""
    names = []

    def subscribe(channel):
        NAME.set("subscriber")
        channel.receiver.subscribe(
            lambda received: (value(received), names.append(NAME.get()), NAME.set("changed")),
            on_complete=lambda: names.append(NAME.get()),
        )

    async def main():
        channel = make(kind)
        context = contextvars.copy_context()
        context.run(subscribe, channel)
        assert NAME.get() == "nobody"
        channel.sender.send_many([1, 2])
        channel.sender.complete()
        await eventually(lambda: len(names) == 3)

    if where == "loop":
        asyncio.run(main())
    else:
        channel = make(kind)
        contextvars.copy_context().run(subscribe, channel)
        channel.sender.send_many([1, 2])
        channel.sender.complete()
        wait_until(lambda: len(names) == 3)
    assert names == ["subscriber", "changed", "changed"]


# --------------------------------------------------------------------------------------------------- looking at things

COUNTERS = ["owed", "sent_weight", "voided", "permits", "outstanding", "peak_outstanding", "sent", "received", "discarded"]
COUNTERS += ["redelivered", "stale", "buffered", "unacked", "waiting_senders", "waiting_receivers"]


@kinds
def test_names_and_repr(kind):
    channel = make(kind, 5, name="pipe")
    assert channel.name == "pipe"
    assert channel.statistics().name == channel.sender.statistics().name == channel.receiver.statistics().name == "pipe"
    assert make(kind, name=None).name is None
    channel.sender.send_many([1, 2])
    unacked = " unacked=0" if kind == "AckChannel" else ""
    for each, name in (channel, kind), (channel.sender, "Sender"), (channel.receiver, "Receiver"):
        assert repr(each) == f"<sluicegate.{name} 'pipe' at {id(each):#x} buffered=2{unacked} window=5 credit=3>"
    assert "Credit" in repr(channel.receiver.credit)
    with channel.sender.permit(2) as permit:
        assert repr(permit) == "<sluicegate.Permit n=2 left=2>"
    assert repr(permit) == "<sluicegate.Permit n=2 not held>"
    with pytest.raises(Full, match="'pipe'"):
        channel.sender.send_many(range(10), timeout=0)
    channel.sender.complete()
    assert "completing" in repr(channel)
    take_all(channel)
    assert "completed" in repr(channel)
    free = manual(kind)
    free.receiver.credit.request(INF)
    assert "credit=inf" in repr(free) and "window" not in repr(free)
    free.receiver.cancel()
    assert "cancelled" in repr(free)
    failed = make(kind)
    failed.sender.fail(ValueError())
    assert "failed" in repr(failed)

    class Mine(KINDS[kind]):
        pass

    assert "Mine" in repr(Mine(5))


@kinds
def test_statistics(kind):
    """Every field; a snapshot; the same from every part."""
    clock = ManualClock()
    channel = make(kind, 4, clock=clock, name="n")
    empty = channel.statistics()
    assert dataclasses.asdict(empty) == {
        "name": "n",
        "state": "open",
        "window": 4,
        "credit": 4,
        "granted": 4,
        **dict.fromkeys(
            COUNTERS,
            0,
        ),
        **dict.fromkeys(["send_blocked_seconds", "receive_blocked_seconds", "starved_for"], 0.0),
        "grants_held": False,
    }
    channel.sender.send_many([1, 2, 3, 4])
    received = channel.receiver.receive()
    (worker,) = in_line(channel, (channel.sender.send, 5)) if kind == "AckChannel" else (None,)
    clock.advance(3)
    seen = channel.statistics()
    assert empty.sent == 0
    assert seen == channel.sender.statistics() == channel.receiver.statistics()
    if kind == "AckChannel":
        assert (seen.outstanding, seen.unacked, seen.buffered, seen.received) == (4, 1, 3, 1)
        assert (seen.waiting_senders, seen.send_blocked_seconds, seen.starved_for) == (1, 3, 3)
        received.ack()
        take(channel)
        worker.result()
    else:
        assert (seen.outstanding, seen.unacked, seen.buffered, seen.received) == (3, 0, 3, 1)
        assert seen.owed == 1
    assert channel.statistics().peak_outstanding == 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen.sent = 5
    assert isinstance(seen.credit, int)


@kinds
def test_settled_through_without_deliveries(kind):
    """How many have been received; with deliveries: settled."""
    channel = make(kind)
    assert channel.receiver.settled_through == 0
    channel.sender.send_many([1, 2])
    take(channel)
    assert channel.receiver.settled_through == 1
    take(channel)
    assert channel.receiver.settled_through == 2


@kinds
def test_no_copies(kind):
    """Neither pickled nor copied: they are shared by reference."""
    channel = make(kind)
    channel.sender.send(1)
    things = [channel, channel.sender, channel.receiver, channel.sender.permit(), channel.receiver.credit]
    received = channel.receiver.receive()
    if kind == "AckChannel":
        things.append(received)
        received.ack()
    for thing in things:
        for call in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                call(thing)


def test_generic_aliases():
    for cls in (sluicegate.Channel, CreditChannel, AckChannel, Sender, Receiver, sluicegate.Delivery):
        alias = cls[int]
        assert alias.__origin__ is cls and alias.__args__ == (int,)
    channel = CreditChannel[int](5)
    assert isinstance(channel, CreditChannel) and channel.sender.credit == 5


@kinds
def test_weak_references(kind):
    channel = make(kind)
    channel.sender.send(1)
    received = channel.receiver.receive()
    things = [channel, channel.sender, channel.receiver, channel.sender.permit()]
    if kind == "AckChannel":
        things.append(received)
        received.ack()
    references = [weakref.ref(thing) for thing in things]
    assert [reference() for reference in references] == things
    del things, received, channel
    collect()
    assert [reference() for reference in references] == [None] * len(references)


@kinds
def test_signatures(kind):
    """What an editor shows; the constructor's defaults are the documented ones."""
    signature = inspect.signature(KINDS[kind])
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
    expected = {"window": 256, "threshold": 0.5, "buffer": None, "weigh": None, "control_capacity": 8}
    expected.update(dict.fromkeys(["on_discard", "clock", "name"]))
    if kind == "AckChannel":
        expected.update(ack_wait=None, max_deliver=5)
    assert defaults == expected
    for part in (KINDS[kind], Sender, Receiver, Permit, sluicegate.Credit, sluicegate.Delivery, sluicegate.Subscription):
        assert part.__doc__
        for name, method in inspect.getmembers(part, callable):
            if not name.startswith("_"):
                assert method.__doc__, f"{part.__name__}.{name}"
                inspect.signature(method)


@kinds
def test_the_default_clock(kind):
    """`with clock:` is the clock of what is made inside."""
    clock = ManualClock()
    with clock:
        channel = make(kind, 1)
    channel.sender.send(1)
    worker = spawn(channel.sender.send, 2, timeout=1)
    clock.wait_for_waiters(1)
    clock.advance(1)
    assert isinstance(worker.exception(), Full)


@kinds
def test_ends_outlive_their_channel(kind):
    """The channel itself need not be kept."""
    channel = make(kind)
    reference = weakref.ref(channel)
    sender, receiver = channel.sender, channel.receiver
    del channel
    gc.collect()
    assert reference() is None
    with sender:
        sender.send(1)
    assert [value(received) for received in receiver] == [1]
