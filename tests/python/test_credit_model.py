"""Credit channels beside a plain model, over random sequences of operations. One thread, and nothing waits: what would have to is refused.

The model counts in units of weight:

| granted G | credit given, ever               | permits P   | taken before the item exists                  |
| sent S    | taken in, ever                   | owed        | consumed, or asked for, and not granted yet   |
| voided V  | given, and taken back unused     | available   | G - S - V - P                                 |
| settled K | received, or settled, for good   | outstanding | S - K                                         |

What may be sent is min(available, bound - outstanding - P). Where demand has no end, G is not counted.

| phase                        | event                                         | next                                     |
| open                         | the last sender completes                     | completing                               |
| completing                   | nothing is buffered or out, no permit is held | completed                                |
| open                         | a sender fails                                | failed, once nothing is buffered or out  |
| all but completed and failed | the receiver cancels, or stops                | cancelled                                |

Each lane has a count of its own; without lanes there is one, None. (A stop that waits needs others: tests/props_credits.rs has it.)
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
from collections import deque

from channels import KINDS, holds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate import AckChannel, ChannelCancelled, ChannelClosed, ChannelError, ChannelFailed, Empty, Full, StaleDelivery
from sluicegate.testing import ManualClock

# How many sequences are tried: more with SLUICEGATE_MODEL_EXAMPLES=5000.
EXAMPLES = int(os.environ.get("SLUICEGATE_MODEL_EXAMPLES", "300"))
quick = settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])

INF = math.inf
MAX = 2**63 - 1  # and above: no end
NOBODY_WAITS = ["waiting_senders", "waiting_receivers", "send_blocked_seconds", "receive_blocked_seconds", "starved_for"]


class Stop(Exception):
    """What senders fail with here."""


def amount(n):
    return INF if n >= MAX else n


# ---------------------------------------------------------------------------------------------------------------- the model


@dataclasses.dataclass(eq=False)
class Parcel:
    """An item, until it is settled."""

    value: object
    weight: int
    lane: object = None
    sequence: int | None = None  # in the order in which they were received first
    place: int = 0  # the same, in its lane
    attempts: int = 0
    delivery: Delivery | None = None  # the one that is out
    expires: float = INF
    back_at: int = 0  # to be had again from then on


@dataclasses.dataclass(eq=False)
class Delivery:
    """One handing-out of a parcel."""

    parcel: Parcel
    settled: bool = False
    stale: bool = False
    attempt: int = 0


@dataclasses.dataclass
class Lane:
    """How many of it have been received, and which have been settled."""

    received: int = 0
    settled: set = dataclasses.field(default_factory=set)

    def through(self):
        return next(n for n in itertools.count() if n not in self.settled)


@dataclasses.dataclass(eq=False)
class Lease:
    until: int
    left: int


@dataclasses.dataclass
class Permit:
    left: int
    leased: int  # of that; it is used first
    lease: Lease | None


class Model:
    def __init__(self, kind, weighs, *, window, threshold, control_capacity, buffer=INF, ack_wait=None, max_deliver=1, **options):
        self.retry, self.lane_of = options.get("retry"), options.get("lane") or (lambda item: None)
        self.lanes, self.told, self.was_stopped = {}, {}, False
        self.acks, self.ack_wait, self.max_deliver = kind is AckChannel, ack_wait, max_deliver
        self.weighs = weighs
        self.window, self.step = window, max(1, math.ceil(window * threshold))
        self.bound = window or min(buffer, MAX)
        self.control_capacity = control_capacity
        self.now = 0
        self.phase = "open"
        self.granted = window
        self.sent = self.voided = self.permitted = self.settled = self.owed = self.peak = 0
        self.endless = False
        self.leased = None
        self.paused = False
        self.buffer = deque()  # never received
        self.parcels = []  # received before, and not settled
        self.sequence = 0
        self.open = [True]  # for each sender: has it still to end?
        self.failure = None
        self.permits, self.deliveries = [], []
        self.controls, self.listens = [], False
        self.items_sent = self.received = self.redelivered = self.stale = 0
        self.discarded, self.heard, self.not_taken = [], [], []

    # What follows from the counters.

    def available(self):
        return MAX if self.endless else self.granted - self.sent - self.voided - self.permitted

    def outstanding(self):
        return self.sent - self.settled

    def sendable(self):
        return min(self.available(), self.bound - self.outstanding() - self.permitted)

    def credit(self):
        return INF if self.endless and self.bound == MAX else self.sendable()

    def fits(self, weight):
        """An item without weight needs a slot."""
        return weight <= self.sendable() if weight else len(self.buffer) + len(self.parcels) < self.bound

    def unacked(self):
        return [parcel for parcel in self.parcels if parcel.delivery]

    def back(self):
        """Those that have come back, to be received again."""
        return [parcel for parcel in self.parcels if not parcel.delivery and parcel.back_at <= self.now]

    def buffered(self):
        return len(self.buffer) + len(self.parcels) - len(self.unacked())

    def state(self):
        if self.phase in ("open", "cancelled"):
            return self.phase
        if self.buffer or self.parcels or (self.phase == "completing" and self.permitted):
            return "completing"
        return "failed" if self.phase == "failed" else "completed"

    def ended(self):
        return self.state() in ("completed", "failed", "cancelled")

    def settled_through(self):
        if not self.acks:
            return self.received
        return sum(lane.through() for lane in self.lanes.values())

    def settled_lanes(self):
        return {name: lane.through() for name, lane in self.lanes.items() if name is not None and lane.through()}

    # What happens by itself, when somebody looks.

    def catch_up(self):
        if self.leased and self.leased.until <= self.now:
            self.end_lease()
        for parcel in self.unacked():
            if parcel.expires <= self.now:
                self.come_back(parcel)
        if not self.window or self.owed >= self.step or not (self.buffer or self.back()):
            self.grant()

    def grant(self):
        if not self.paused:
            self.granted, self.owed = self.granted + self.owed, 0
            self.limit()

    def limit(self):
        """What lasts may have no end; a lease takes what room there is below that."""
        left = self.leased.left if self.leased else 0
        excess = self.available() - (MAX - 1)
        if excess > left:
            self.end_lease(void=False)
            self.endless = True
        elif excess > 0:
            self.leased.left -= excess
            self.granted -= excess

    def end_lease(self, void=True):
        lease, self.leased = self.leased, None
        if lease:
            self.voided += lease.left if void else 0

    def count_again(self):
        """What was granted without an end is now what of it has been used."""
        if self.endless:
            self.endless, self.granted = False, self.sent + self.voided + self.permitted

    def consumed(self, weight):
        self.settled += weight
        self.owed += weight if self.window else 0

    def come_back(self, parcel, delay=0, error=None):
        if parcel.attempts >= self.max_deliver:
            self.give_up(parcel, "poison", error)
        else:
            self.redelivered += 1
            parcel.delivery, parcel.expires, parcel.back_at = None, INF, self.now + delay

    def give_up(self, parcel, reason, error=None):
        parcel.delivery = None
        self.parcels.remove(parcel)
        self.consumed(parcel.weight)
        self.discarded.append((parcel.value, reason, error))
        if reason != "cancelled":
            self.count(parcel)

    def count(self, parcel):
        lane = self.lanes[parcel.lane]
        before = lane.through()
        lane.settled.add(parcel.place)
        if lane.through() > before:
            self.told[parcel.lane] = lane.through()

    def delay(self, attempt):
        if attempt >= self.max_deliver or self.retry is None:
            return 0
        return self.retry(attempt) if callable(self.retry) else self.retry

    # The sender.

    def check_sender(self, which):
        if self.phase == "cancelled":
            raise ChannelCancelled
        if self.phase == "failed":
            raise ChannelFailed
        if not self.open[which]:
            raise ChannelClosed

    def check_credit(self, weight):
        if weight > self.bound:
            raise ValueError
        if not self.fits(weight):
            raise Full

    def take(self, n):
        """Leased credit goes first. How much of it that was."""
        leased = min(n, self.leased.left) if self.leased else 0
        if leased:
            self.leased.left -= leased
        return leased

    def put(self, item, weight):
        self.sent += weight
        self.items_sent += 1
        self.buffer.append(Parcel(item, weight, self.lane_of(item)))
        self.lanes.setdefault(self.lane_of(item), Lane())
        self.peak = max(self.peak, self.outstanding())

    def weight(self, item):
        return item[1] if self.weighs else 1

    def send(self, which, item, _timeout=None):
        self.check_sender(which)
        self.check_credit(self.weight(item))
        self.take(self.weight(item))
        self.put(item, self.weight(item))

    def send_many(self, which, items, lazily):
        """`lazily`: out of an iterator, an item is taken only once there is credit for one."""
        accepted, pending = 0, None
        self.not_taken = list(items) if lazily else []
        try:
            for item in items:
                self.check_sender(which)
                if lazily:
                    self.permit(which, 1)
                    pending = self.not_taken.pop(0)
                    if self.weight(item) != 1:
                        self.leave_permit(-1)
                        self.permit(which, self.weight(item))
                    self.send_permitted(-1, item)
                    self.leave_permit(-1)
                else:
                    self.send(which, item)
                accepted, pending = accepted + 1, None
        except (ChannelError, Full, ValueError) as error:
            error.accepted, error.pending = accepted, pending
            raise
        return accepted

    def wait_ready(self, which, n):
        self.check_sender(which)
        self.check_credit(n)
        return True

    def permit(self, which, n):
        self.wait_ready(which, n)
        self.permits.append(Permit(n, self.take(n), self.leased))
        self.permitted += n

    def send_permitted(self, index, item):
        weight = self.weight(item)
        permit = self.permits[index]
        if weight > permit.left:
            raise ValueError
        if self.phase == "cancelled":
            raise ChannelCancelled
        if self.phase == "failed":
            raise ChannelFailed
        if self.ended():
            raise ChannelClosed
        if not weight and not self.fits(0):
            raise Full
        permit.left -= weight
        permit.leased = max(0, permit.leased - weight)
        self.permitted -= weight
        self.put(item, weight)
        return permit.left

    def leave_permit(self, index):
        permit = self.permits.pop(index)
        if self.phase == "cancelled":
            return
        self.permitted -= permit.left
        if self.endless:
            return
        if self.leased and self.leased is permit.lease:
            self.leased.left += permit.leased
        else:
            self.voided += permit.leased
        self.limit()

    def complete(self, which):
        self.open[which] = False
        if self.phase == "open" and not any(self.open):
            self.phase = "completing"

    def fail(self, which, error):
        if self.open[which] and self.phase == "open":
            self.phase, self.failure = "failed", error
        self.open[which] = False

    def clone(self, which):
        if not self.open[which]:
            self.check_sender(which)
        self.open.append(True)

    def send_control(self, which, message):
        self.check_sender(which)
        if len(self.controls) >= self.control_capacity:
            raise Full
        self.controls.append(message)

    # The receiver.

    def listen(self, listens):
        self.listens = listens

    def receive(self, _timeout=None):
        if self.listens:
            self.heard += self.controls
            self.controls = []
        if back := self.back():
            return self.hand_out(min(back, key=lambda parcel: parcel.sequence))
        if not self.buffer:
            raise self.why_nothing()
        parcel = self.buffer.popleft()
        if self.acks:
            parcel.sequence, self.sequence = self.sequence, self.sequence + 1
            lane = self.lanes[parcel.lane]
            parcel.place, lane.received = lane.received, lane.received + 1
            self.parcels.append(parcel)
            return self.hand_out(parcel)
        self.received += 1
        self.consumed(parcel.weight)
        return parcel.value

    def why_nothing(self):
        if self.ended():
            return {"completed": ChannelClosed(), "failed": self.failure, "cancelled": ChannelCancelled()}[self.state()]
        is_over = self.phase == "failed" or (self.phase == "completing" and not self.permitted)
        # All that is left is the caller's own: it would wait for itself.
        return ChannelError() if is_over and not self.buffered() else Empty()

    def hand_out(self, parcel):
        self.received += 1
        parcel.attempts += 1
        parcel.delivery = Delivery(parcel, attempt=parcel.attempts)
        parcel.expires = self.now + self.ack_wait if self.ack_wait else INF
        self.deliveries.append(parcel.delivery)
        return parcel.value, parcel.lane, parcel.place, parcel.attempts

    def receive_many(self, most):
        items = [self.receive()]
        with contextlib.suppress(Empty, ChannelError, Stop):
            while len(items) < most:
                items.append(self.receive())
        return items

    def settle(self, index, how, delay=None, error=None):
        delivery = self.deliveries[index]
        parcel = delivery.parcel
        if delivery.stale and how in ("ack", "nack", "discard"):
            raise StaleDelivery
        if delivery.settled or (self.phase == "cancelled" and not self.was_stopped):
            return
        delivery.settled = True
        if parcel.delivery is not delivery:
            self.stale, delivery.stale = self.stale + 1, True
            if how in ("ack", "nack", "discard"):
                raise StaleDelivery
        elif how == "ack":
            self.parcels.remove(parcel)
            self.consumed(parcel.weight)
            self.count(parcel)
        elif how == "discard":
            self.give_up(parcel, "rejected")
        elif how == "stopped":
            parcel.attempts -= 1
            self.come_back(parcel, error=error)
        else:
            delay = delay if how == "nack" and delay is not None else self.delay(parcel.attempts)
            self.come_back(parcel, delay, error if how == "raised" else None)

    def extend(self, index, seconds):
        delivery = self.deliveries[index]
        if delivery.stale:
            raise StaleDelivery
        if delivery.settled or (self.phase == "cancelled" and not self.was_stopped):
            return
        if delivery.parcel.delivery is not delivery:
            raise StaleDelivery
        delivery.parcel.expires = max(delivery.parcel.expires, self.now + seconds)

    def drop(self, index):
        self.settle(index, "drop")
        del self.deliveries[index]

    def cancel(self):
        if self.ended():
            return
        self.phase = "cancelled"
        self.count_again()
        self.permitted = self.owed = 0
        self.voided, self.settled, self.leased = self.granted - self.sent, self.sent, None
        for parcel in [*self.parcels, *self.buffer]:
            if not parcel.delivery:
                self.discarded.append((parcel.value, "cancelled", None))
            parcel.delivery = None
        self.parcels, self.buffer, self.controls = [], deque(), []

    def stop(self, lanes):
        """Without waiting for what is out."""
        if lanes is None:
            self.was_stopped |= self.acks and not self.ended()
            self.cancel()
            return self.settled_through()
        if self.lane_of(0) is None:
            raise TypeError
        through = {name: self.lanes[name].through() if name in self.lanes else 0 for name in lanes}
        if self.phase == "cancelled":
            return through
        for parcel in [parcel for parcel in self.parcels if parcel.lane in lanes]:
            if parcel.delivery:
                self.parcels.remove(parcel)
                self.consumed(parcel.weight)
                parcel.delivery = None
            else:
                self.give_up(parcel, "cancelled")
        for parcel in [parcel for parcel in self.buffer if parcel.lane in lanes]:
            self.buffer.remove(parcel)
            self.parcels.append(parcel)
            self.give_up(parcel, "cancelled")
        self.lanes.update({name: Lane() for name in lanes if name in self.lanes})
        return through

    def turn(self, seconds):
        self.now += seconds

    # Looks.

    def sender_credit(self, which):
        if self.phase != "open" or not self.open[which]:
            return 0
        return self.credit()

    # The receiver's hand on the credit.

    def may_ask(self, n):
        if self.ended():
            return False
        if self.window:
            raise RuntimeError
        if n < 1:
            raise ValueError
        return self.phase == "open"

    def request(self, n):
        taken = self.may_ask(n)
        self.owed = min(self.owed + n, MAX) if taken else self.owed
        return taken

    def request_up_to(self, sequence):
        ever = MAX if self.endless else min(self.granted + self.owed, MAX)
        more = min(sequence, MAX) - ever
        taken = self.may_ask(sequence) and more > 0
        self.owed += more if taken else 0
        return taken

    def lease(self, n, ttl):
        if not self.may_ask(n) or self.paused:
            return False
        self.end_lease()
        if not self.endless:
            n = min(n, MAX)
            self.granted += n
            self.leased = Lease(self.now + ttl, n)
            self.limit()
        return True

    def drain(self):
        if self.phase != "open":
            return 0
        self.end_lease(void=False)
        unused = self.available()
        self.count_again()
        self.voided += self.available()
        if self.window:
            self.owed += unused
            self.paused = True
        return amount(unused)

    def pause(self):
        self.paused |= not self.ended()

    def resume(self):
        if not self.ended():
            self.paused = False
            self.grant()

    # What can be seen.

    def statistics(self):
        return {
            "name": None,
            "state": self.state(),
            "window": self.window,
            "credit": 0 if self.phase == "cancelled" else self.credit(),
            "granted": INF if self.endless else amount(self.granted),
            "owed": self.owed,
            "sent_weight": self.sent,
            "voided": min(self.voided, MAX),
            "permits": self.permitted,
            "outstanding": self.outstanding(),
            "peak_outstanding": self.peak,
            "sent": self.items_sent,
            "received": self.received,
            "discarded": len(self.discarded),
            "redelivered": self.redelivered,
            "stale": self.stale,
            "buffered": self.buffered(),
            "unacked": len(self.unacked()),
            "grants_held": self.paused,
            **dict.fromkeys(NOBODY_WAITS, 0),
        }

    def seen(self):
        # In which order several are given up at once nobody says.
        notes = sorted(self.discarded, key=repr), self.heard, self.not_taken, len(self.deliveries), self.told, self.settled_lanes()
        credit = [self.sender_credit(which) for which in range(len(self.open))]
        return self.statistics(), credit, self.ended(), self.settled_through(), *notes


# -------------------------------------------------------------------------------------------------------------- the channel


class Real:
    """A channel, with the model's operations."""

    def __init__(self, kind, weighs, **options):
        self.discarded, self.heard, self.not_taken, self.told = [], [], [], {}
        self.clock = ManualClock()
        if kind is AckChannel:
            told = self.told
            options["on_settled"] = told.__setitem__ if options["lane"] else lambda through: told.__setitem__(None, through)
        discarded = self.discarded
        weigh = (lambda item: item[1]) if weighs else None
        self.channel = kind(**options, weigh=weigh, on_discard=lambda *given_up: discarded.append(given_up), clock=self.clock)
        self.senders = [self.channel.sender]
        self.receiver, self.credit = self.channel.receiver, self.channel.receiver.credit
        self.permits, self.deliveries = [], []
        for name in ("request", "request_up_to", "lease", "drain", "pause", "resume"):
            setattr(self, name, getattr(self.credit, name))
        self.cancel = self.receiver.cancel

    def send(self, which, item, timeout):
        return self.senders[which].send(item, timeout=0) if timeout else self.senders[which].send_nowait(item)

    def send_many(self, which, items, lazily):
        left = iter(items)
        try:
            return self.senders[which].send_many(left if lazily else items, timeout=0)
        finally:
            self.not_taken = list(left) if lazily else []

    def wait_ready(self, which, n):
        return self.senders[which].wait_ready(n, timeout=0)

    def permit(self, which, n):
        self.permits.append(self.senders[which].permit(n, timeout=0).__enter__())

    def send_permitted(self, index, item):
        self.permits[index].send(item)
        return self.permits[index].left

    def leave_permit(self, index):
        self.permits.pop(index).__exit__(None, None, None)

    def complete(self, which):
        self.senders[which].complete()

    def fail(self, which, error):
        self.senders[which].fail(error)

    def clone(self, which):
        self.senders.append(self.senders[which].clone())

    def send_control(self, which, message):
        self.senders[which].send_control(message)

    def listen(self, listens):
        self.credit.on_control = self.heard.append if listens else None

    def note(self, received):
        if not isinstance(self.channel, AckChannel):
            return received
        self.deliveries.append(received)
        return received.value, received.lane, received.sequence, received.attempt

    def receive(self, timeout):
        return self.note(self.receiver.receive(timeout=0) if timeout else self.receiver.receive_nowait())

    def receive_many(self, most):
        return [self.note(one) for one in self.receiver.receive_many(most, timeout=0)]

    def settle(self, index, how, delay, error):
        delivery = self.deliveries[index]
        if how == "ack":
            delivery.ack()
        elif how == "stopped":  # in a `with` block
            delivery.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        elif how == "raised":
            delivery.__exit__(Stop, error, None)
        else:
            delivery.nack(requeue=how == "nack", delay=delay)

    def extend(self, index, seconds):
        self.deliveries[index].extend(seconds)

    def stop(self, lanes):
        return self.receiver.stop(timeout=0, lanes=lanes)

    def drop(self, index):
        del self.deliveries[index]

    def turn(self, seconds):
        self.clock.advance(seconds)

    def sender_credit(self, which):
        return self.senders[which].credit

    def ended(self):
        return self.receiver.ended

    def settled_through(self):
        return self.receiver.settled_through

    def statistics(self):
        return dataclasses.asdict(holds(self.channel))

    def seen(self):
        statistics = self.statistics()
        told = sorted(self.discarded, key=repr), self.heard, self.not_taken, len(self.deliveries), self.told
        notes = *told, {lane: through for lane, through in self.receiver.settled_lanes.items() if through}
        return statistics, [sender.credit for sender in self.senders], self.ended(), self.settled_through(), *notes


# ----------------------------------------------------------------------------------------------------------------- the test

# What the first argument of an operation is an index of.
AMONG = dict.fromkeys(["send", "send_many", "wait_ready", "permit", "complete", "fail", "clone", "send_control", "sender_credit"], "open")
AMONG |= {"send_permitted": "permits", "leave_permit": "permits", "settle": "deliveries", "drop": "deliveries", "extend": "deliveries"}


def outcome(side, name, args):
    """What came of an operation, in a form that can be compared."""
    try:
        return getattr(side, name)(*args)
    except Stop as error:
        return error  # exactly the one that the sender gave
    except (ChannelError, Full, Empty, ValueError, RuntimeError, TypeError) as error:
        return type(error), getattr(error, "accepted", None), getattr(error, "pending", None)


def third(item):
    """Lanes 0, 1 and 2. (The model asks with a 0 whether there are any.)"""
    return item[0] % 3 if item else 0


def triple(attempt):
    return 3 * attempt


@st.composite
def sequences(draw):
    kind, weighs = draw(st.sampled_from(list(KINDS.values()))), draw(st.booleans())
    window = draw(st.one_of(st.just(0), st.integers(1, 8)))
    options = {
        "window": window,
        "threshold": draw(st.sampled_from([0.01, 0.25, 0.5, 0.75, 1])),
        "control_capacity": draw(st.integers(1, 2)),
    }
    if not window:
        options["buffer"] = draw(st.one_of(st.integers(1, 8), st.just(INF)))
    if kind is AckChannel:
        options.update(ack_wait=draw(st.one_of(st.none(), st.integers(1, 4))), max_deliver=draw(st.integers(1, 3)))
        options.update(retry=draw(st.sampled_from([None, 1, triple])), lane=draw(st.sampled_from([None, third])))

    numbers = itertools.count()
    weights = st.one_of(st.integers(0, 3), st.integers(0, 9))
    items = weights.map(lambda weight: (next(numbers), weight))
    much = st.one_of(st.integers(-1, 5), st.integers(1, 5), st.sampled_from([INF, MAX - 1, MAX, 2**70]))
    index, seconds, yes = st.integers(-4, -1), st.integers(0, 3), st.booleans()

    operations = [  # how often, of all
        (12, "send", index, items, yes),
        (6, "send_many", index, st.lists(items, min_size=1, max_size=6), yes),
        (2, "wait_ready", index, st.integers(1, 9)),
        (3, "permit", index, st.integers(1, 4)),
        (3, "send_permitted", index, items),
        (2, "leave_permit", index),
        (2, "clone", index),
        (2, "send_control", index, items),
        (1, "complete", index),
        (12, "receive", yes),
        (5, "receive_many", st.integers(1, 4)),
        (1, "listen", yes),
        (6, "turn", st.integers(1, 3)),
        (1, "sender_credit", index),
        (1, "ended"),
        (1, "settled_through"),
        (1, "pause"),
        (4, "resume"),
        (1, "drain"),
        (1 if window else 9, "request", much),
        (1 if window else 4, "request_up_to", st.one_of(st.integers(1, 40), much)),
        (1 if window else 4, "lease", much, seconds),
        (1, "fail", index, st.builds(Stop)),
        (1, "cancel"),
    ]
    if kind is AckChannel:
        ways, delay = st.sampled_from(["ack", "nack", "nack", "discard", "stopped", "raised"]), st.one_of(st.none(), seconds)
        operations += [
            (20, "settle", index, ways, delay, st.builds(Stop)),
            (4, "drop", index),
            (6, "extend", index, seconds),
            (2, "stop", st.one_of(st.none(), st.lists(st.integers(0, 3), max_size=3, unique=True))),
        ]
    else:
        operations.append((1, "stop", st.none()))
    # By name first: what is nested in `one_of` would be flattened.
    arguments = {name: st.tuples(st.just(name), *rest) for _, name, *rest in operations}
    names = [name for share, name, *_ in operations for _ in range(share)]
    steps = st.sampled_from(names).flatmap(arguments.__getitem__)
    length = draw(st.integers(0, 60))  # else most sequences are short
    return kind, weighs, options, draw(st.lists(steps, min_size=length, max_size=60))


@quick
@given(sequences())
def test_the_channel_is_its_model(sequence):
    """Each result, each exception, and after each step everything that can be seen.

    But when time has passed nobody looks: the next step is the first to see what is due.
    """
    kind, weighs, options, steps = sequence
    real, model = Real(kind, weighs, **options), Model(kind, weighs, **options)
    for name, *args in [*steps, ("listen", True), ("receive", False)]:  # at last what is left in the lane
        if name in AMONG:
            among = getattr(model, AMONG[name])
            if not among:
                continue
            args[0] %= len(among)
        if name != "turn":
            model.catch_up()
        assert outcome(real, name, args) == outcome(model, name, args), (name, *args)
        if name == "turn":
            continue
        model.catch_up()
        assert real.seen() == model.seen(), (name, *args)
        assert model.outstanding() + model.permitted <= model.bound
    real.cancel()  # nobody is warned of senders that are let go, nor of permits
    while real.permits:
        real.leave_permit(0)
