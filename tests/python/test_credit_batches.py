"""Credit channels, single-handed: batches, permits, `wait_ready` and the control lane."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading

import pytest
from channels import (
    INF,
    cancelled,
    holds,
    in_line,
    kinds,
    make,
    manual,
    no_waiters,
    refused,
    run,
    take,
    take_all,
    tasks_in_line,
    value,
)
from helpers import eventually, on_loops, settle, spawn, wait_until

from sluicegate import (
    ChannelCancelled,
    ChannelClosed,
    ChannelFailed,
    Empty,
    Full,
)

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


@pytest.mark.thread_unsafe(reason="warnings are the process's")
@kinds
def test_a_dropped_permit(kind):
    """Dropped while it is held: its credit goes to the next waiter, with a ResourceWarning."""
    channel = make(kind, 3)
    permit = channel.sender.permit(3)
    permit.__enter__()
    permit.send(0)
    assert channel.sender.credit == 0
    (worker,) = in_line(channel, (channel.sender.send, 1))
    permits = [permit]
    del permit
    with pytest.warns(ResourceWarning, match="dropped while it was held, and has been released: <sluicegate.Permit n=3 left=2>"):
        permits.clear()
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
    """It gets the end when the last permit is dropped."""
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
