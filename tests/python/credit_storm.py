"""A storm on a chain of 4 credit channels: threads and tasks on 2 loops pass items on, with deferred grants, and give up, settle, fail,
cancel and grant at random, round after round.

At every quiet point what was sent was received, given up, or is still there; in no observation is more outstanding than the window
allows, or was granted; and after the end of a round nobody waits anywhere.

    python tests/python/credit_storm.py [--seconds 5] [--seed N]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import itertools
import random
import threading
import time
import warnings

from channels import items_into

from sluicegate import AckChannel, ChannelClosed, ChannelError, CreditChannel, Delivery, Empty, Full, StaleDelivery

PATIENCE = 60.0
TERMINAL = ("completed", "failed", "cancelled")


class Boom(Exception):
    """What senders fail with."""


class Over(Exception):
    """This worker has nothing more to do."""


class Link:
    """A channel of the chain, and what has happened to it, written down by those who did it (`append` needs no lock)."""

    def __init__(self, channel, discarded):
        self.channel, self.discarded = channel, discarded
        self.bound = channel.statistics().window
        self.sent, self.received, self.acked, self.firsts = [], [], [], set()

    def observe(self):
        """What holds at any moment."""
        seen = self.channel.statistics()
        assert seen.outstanding <= self.bound, seen
        assert seen.peak_outstanding <= self.bound, seen
        assert seen.sent_weight + seen.voided + seen.permits <= seen.granted, seen
        assert seen.outstanding + seen.permits <= self.bound or seen.state == "cancelled", seen
        assert seen.credit >= 0
        assert seen.owed >= 0
        return seen

    def check(self):
        """What holds when nobody is in the middle of anything."""
        seen = self.observe()
        assert seen.sent == len(self.sent), (seen, len(self.sent))
        assert seen.discarded == len(self.discarded), (seen, len(self.discarded))
        if isinstance(self.channel, AckChannel):
            assert seen.received >= len(self.firsts)
            if seen.state != "cancelled":
                assert seen.sent == len(self.acked) + seen.discarded + seen.buffered + seen.unacked, (seen, len(self.acked))
        else:
            assert seen.received == len(self.received), (seen, len(self.received))
            assert seen.sent == seen.received + seen.discarded + seen.buffered, seen
        for things in (self.sent, self.received, self.acked, self.discarded):
            assert len(things) == len(set(things)), "something came twice"
        assert set(self.received) | set(self.acked) | set(self.discarded) <= set(self.sent)
        assert not set(self.discarded) & (set(self.received) | set(self.acked)), "given up, and received"
        return seen

    def take(self, received, dice):
        """The item, if it is settled so that it may be passed on."""
        if not isinstance(received, Delivery):
            self.received.append(received)
            return received
        self.firsts.add(received.sequence)
        item, way = received.value, dice.random()
        try:
            if way < 0.06:
                received.nack()
            elif way < 0.1:
                received.nack(delay=dice.random() * 0.003)
            elif way < 0.12:
                received.nack(requeue=False)
            elif way < 0.15:
                with contextlib.suppress(KeyError):
                    with received:
                        raise KeyError
            elif way < 0.18:
                with contextlib.suppress(KeyboardInterrupt):
                    with received:
                        raise KeyboardInterrupt
            elif way < 0.21:
                pass  # let go
            else:
                received.ack()
                if self.channel.statistics().state == "cancelled":
                    return None  # whether it came before nobody knows
                self.acked.append(item)
                return item
        except StaleDelivery:
            pass
        return None


def make(dice):
    """4 links: with a window, with deliveries that expire, by hand, with deliveries."""

    def link(kind, window, **options):
        discarded = []
        one = Link(kind(window, on_discard=items_into(discarded), **options), discarded)
        one.bound = one.bound or options["buffer"]
        return one

    chain = [
        link(CreditChannel, dice.choice([1, 3, 16, 64]), threshold=dice.choice([0.1, 0.5, 1])),
        link(AckChannel, dice.choice([2, 5, 32]), ack_wait=dice.choice([None, 0.02]), max_deliver=3),
        link(CreditChannel, 0, buffer=dice.choice([2, 8, 40])),
        link(AckChannel, dice.choice([1, 4, 16]), max_deliver=4),
    ]
    for up, down in itertools.pairwise(chain):
        if dice.random() < 0.8:
            up.channel.receiver.credit.defer_to(down.channel.sender)
    return chain


class Round:
    """One chain from its beginning to its end."""

    def __init__(self, seed, number, loops):
        self.dice = random.Random(f"{seed} {number}")
        self.name = f"seed {seed}, round {number}"
        self.loops = loops
        self.chain = make(self.dice)
        self.numbers = itertools.count()
        self.errors = []
        self.closed = False  # the gate
        self.stop = False
        self.parked = set()
        self.workers = {}
        self.waits = []

    # ------------------------------------------------------------------------------------------------------- workers

    def patience(self, dice):
        return dice.choice([0, 0.0005, 0.002, 0.005])

    def gate(self, name):
        while self.closed:
            self.parked.add(name)
            time.sleep(0.0005)
        self.parked.discard(name)

    async def gate_async(self, name):
        while self.closed:
            self.parked.add(name)
            await asyncio.sleep(0.0005)
        self.parked.discard(name)

    def send(self, link, sender, item, dice):
        """True if it was sent. Each by one of several ways."""
        way = dice.random()
        if way < 0.5:
            sender.send(item, timeout=self.patience(dice))
        elif way < 0.6:
            sender.send_nowait(item)
        elif way < 0.8:
            with sender.permit(dice.choice([1, 1, min(2, link.bound)]), timeout=self.patience(dice)) as permit:
                if dice.random() < 0.1:
                    return False
                permit.send(item)
        elif way < 0.9:
            sender.send_many(iter([item]), timeout=self.patience(dice))
        else:
            sender.wait_ready(timeout=self.patience(dice))
            return False
        link.sent.append(item)
        return True

    async def send_async(self, link, sender, item, dice):
        way = dice.random()
        if way < 0.5:
            await self.given_up(sender.send_async(item), dice)
        elif way < 0.6:
            await sender.send_async(item, timeout=self.patience(dice))
        elif way < 0.8:
            async with sender.permit(timeout=self.patience(dice)) as permit:
                if dice.random() < 0.1:
                    return False
                permit.send(item)
        elif way < 0.9:
            await self.given_up(sender.send_many_async([item]), dice)
        else:
            await self.given_up(sender.wait_ready_async(), dice)
            return False
        link.sent.append(item)
        return True

    async def given_up(self, coroutine, dice):
        """Awaits it, and cancels it at some moment if it has not gone by then."""
        task, loop = asyncio.ensure_future(coroutine), asyncio.get_running_loop()
        timer = loop.call_later(dice.choice([0, 0.0005, 0.003]), task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            raise Full from None
        finally:
            timer.cancel()

    def pass_on(self, name, up, down, sender):
        """A thread: from one channel to the next, or from nowhere, or to nowhere."""
        dice = random.Random(f"{self.name} {name}")
        item, held = None, False
        try:
            while True:
                self.gate(name)
                if not held:
                    if up is None:
                        if self.stop:
                            raise Over
                        item, held = next(self.numbers), True
                    else:
                        with contextlib.suppress(Empty):
                            if dice.random() < 0.2:
                                received = up.channel.receiver.receive_many(1, timeout=self.patience(dice))[0]
                            else:
                                received = up.channel.receiver.receive(timeout=self.patience(dice))
                            item = up.take(received, dice)
                            held = item is not None
                            del received
                if held and down is None:
                    held = False
                if held:
                    with contextlib.suppress(Full):
                        held = not self.send(down, sender, item, dice)
        except (Over, ChannelError, Boom) as error:
            self.end(up, down, sender, error)
        except BaseException as error:
            self.errors.append((name, error))
            self.end(up, down, sender, error)

    async def pass_on_async(self, name, up, down, sender):
        """A task, the same."""
        dice = random.Random(f"{self.name} {name}")
        item, held = None, False
        try:
            while True:
                await self.gate_async(name)
                if not held:
                    if up is None:
                        if self.stop:
                            raise Over
                        item, held = next(self.numbers), True
                    else:
                        with contextlib.suppress(Empty, Full):
                            if dice.random() < 0.5:
                                received = await self.given_up(up.channel.receiver.receive_async(), dice)
                            else:
                                received = await up.channel.receiver.receive_async(timeout=self.patience(dice))
                            item = up.take(received, dice)
                            held = item is not None
                            del received
                if held and down is None:
                    held = False
                if held:
                    with contextlib.suppress(Full):
                        held = not await self.send_async(down, sender, item, dice)
        except (Over, ChannelError, Boom) as error:
            self.end(up, down, sender, error)
        except BaseException as error:
            self.errors.append((name, error))
            self.end(up, down, sender, error)

    def end(self, up, down, sender, error):
        """Both ways: the end goes down, a cancellation up."""
        if sender is not None:
            if isinstance(error, (Over, ChannelClosed)):
                sender.complete()
            else:
                sender.fail(error)
        if up is not None and not isinstance(error, (ChannelClosed, Boom)):
            up.channel.receiver.cancel()

    # --------------------------------------------------------------------------------------------------------- a round

    def begin(self):
        hops = [(None, self.chain[0]), *itertools.pairwise(self.chain), (self.chain[-1], None)]
        for hop, (up, down) in enumerate(hops):
            for number in range(4):
                sender = down.channel.sender.clone() if down is not None else None
                name = f"hop {hop} worker {number}"
                if number < 2:
                    thread = threading.Thread(target=self.pass_on, args=(name, up, down, sender), daemon=True)
                    thread.start()
                    self.workers[name] = thread.is_alive
                    self.waits.append(thread.join)
                else:
                    future = asyncio.run_coroutine_threadsafe(self.pass_on_async(name, up, down, sender), self.loops[number % 2])
                    self.workers[name] = lambda future=future: not future.done()
                    self.waits.append(future.result)

    def meddle(self, link, dice):
        """One thing that an expert may do."""
        credit, way = link.channel.receiver.credit, dice.random()
        by_hand = link.channel.statistics().window == 0
        if way < 0.15:
            credit.pause()
            time.sleep(dice.random() * 0.001)
            credit.resume()
        elif way < 0.2:
            credit.drain()
            credit.resume()
        elif by_hand and way < 0.3:
            credit.lease(dice.randrange(1, 10), dice.random() * 0.005)
        elif by_hand and way < 0.4:
            credit.request_up_to(link.channel.statistics().sent + dice.randrange(1, 20))
        elif way < 0.5:
            with contextlib.suppress(Full, ChannelError):
                link.channel.sender.clone().complete()
        self.chain[2].channel.receiver.credit.request(dice.randrange(1, 20))

    def quiet(self):
        """Everybody has come to the gate, or has left: the sums hold."""
        self.closed = True
        end = time.monotonic() + PATIENCE
        while not all(name in self.parked or not alive() for name, alive in self.workers.items()):
            assert time.monotonic() < end, f"{self.name}: somebody does not come to the gate: {self.state()}"
            time.sleep(0.0005)
        for link in self.chain:
            link.check()
        self.closed = False

    def state(self):
        return "\n".join(str(link.channel.statistics()) for link in self.chain)

    def run(self, seconds):
        dice = self.dice
        self.begin()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.errors:
            for _ in range(20):
                link = dice.choice(self.chain)
                link.observe()
                self.meddle(link, dice)
            time.sleep(0.002)
            self.quiet()
        how = dice.choice(["complete", "complete", "fail", "cancel", "cancel the last"])
        if how == "fail":
            dice.choice(self.chain).channel.sender.fail(Boom())
        elif how.startswith("cancel"):
            link = self.chain[-1] if how != "cancel" else dice.choice(self.chain)
            link.channel.receiver.cancel()
        self.stop = True
        for link in self.chain:
            link.channel.sender.complete()
        end = time.monotonic() + PATIENCE
        while any(alive() for alive in self.workers.values()):
            assert time.monotonic() < end, f"{self.name}, {how}: somebody is still there: {self.state()}"
            for link in self.chain:
                link.observe()
            self.chain[2].channel.receiver.credit.request(10)
            time.sleep(0.0005)
        for wait in self.waits:
            wait(PATIENCE)
        assert not self.errors, (self.name, self.errors)
        for link in self.chain:
            seen = link.check()
            assert seen.state in TERMINAL, (self.name, how, seen)
            assert (seen.waiting_senders, seen.waiting_receivers, seen.unacked) == (0, 0, 0), (self.name, how, seen)
            assert seen.buffered == 0, (self.name, how, seen)
            assert seen.permits == 0, (self.name, how, seen)
        return how, len(self.chain[0].sent), len(self.chain[-1].acked)


def kinds_of_loops():
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return ("asyncio", "asyncio")
    return ("asyncio", "uvloop")


def start_loop(kind):
    if kind == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    return loop, thread


def storm(seconds, seed, each=0.25):
    """Rounds until the time is over; what happened, by the way in which they ended."""
    started = [start_loop(kind) for kind in kinds_of_loops()]
    loops = [loop for loop, _ in started]
    ends, items, rounds, began = {}, 0, 0, time.monotonic()
    while rounds == 0 or time.monotonic() < began + seconds:
        how, sent, _ = Round(seed, rounds, loops).run(each)
        ends[how] = ends.get(how, 0) + 1
        items += sent
        rounds += 1
    for loop, thread in started:
        left = asyncio.run_coroutine_threadsafe(others(), loop).result(PATIENCE)
        assert not left, left
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
    return f"{rounds} rounds, {items} items sent, ended by {ends}; seed {seed}"


async def others():
    return asyncio.all_tasks() - {asyncio.current_task()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    options = parser.parse_args()
    warnings.simplefilter("error")
    print(storm(options.seconds, options.seed), flush=True)


if __name__ == "__main__":
    faulthandler.enable()
    main()
