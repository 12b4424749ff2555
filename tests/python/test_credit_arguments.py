"""Credit channels, single-handed: what their constructors and methods say to wrong arguments."""

from __future__ import annotations

import itertools

import pytest
from channels import (
    INF,
    KINDS,
    NAN,
    holds,
    kinds,
    make,
    manual,
    refused,
    run,
    take,
    take_all,
    value,
)
from helpers import pass_through

import sluicegate
from sluicegate import (
    AckChannel,
    CreditChannel,
    Full,
    Permit,
    Receiver,
    Sender,
)
from sluicegate.testing import ManualClock

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


def stirred(kind, **options):
    """A channel with something in every counter, on a clock that stands still."""
    channel = make(kind, 10, clock=ManualClock(start=5), **options)
    channel.sender.send_many(range(4))
    value(channel.receiver.receive())
    pass_through(channel.sender.permit(2))
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
    # Of a list all is weighed before any of it is sent.
    for bad, error in ((-1, ValueError), ("2", TypeError), (None, TypeError), (2**63, OverflowError)):
        with pytest.raises(error) as told:
            channel.sender.send_many([1, 2, bad, 3])
        assert told.value.accepted == 0
        assert take_all(channel) == []


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
