"""A consumer of a log with partitions, as of Kafka: messages are worked on side by side, offsets are committed in order.

An offset says "everything before this is done". So it must not be committed for a message whose predecessor is still being worked
on, or the predecessor is lost when the program dies. An `AckChannel` with a lane for each partition knows how far each is settled
without a gap, and says so in `on_settled`. Messages of one partition with the same key are worked on in order (`keyed_map`).

The program "dies" in the middle, begins again at the committed offsets, and in the end every message has been handled.

    python examples/log_consumer.py
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from sluicegate import AckChannel, ChannelCancelled, Delivery, Pipeline


class Died(Exception):
    """The program was killed, as it were."""


class Message(NamedTuple):
    """A message of the log."""

    partition: int
    offset: int
    key: str


class Log:
    """Partitions with messages, and the offsets that were committed."""

    def __init__(self, partitions: int, messages: int) -> None:
        self.partitions = [[Message(p, offset, f"key {offset % 7}") for offset in range(messages)] for p in range(partitions)]
        self.committed = dict.fromkeys(range(partitions), 0)

    def poll(self) -> Iterator[Message]:
        """Yield what comes after the committed offsets, of all partitions in turn."""
        begin = dict(self.committed)
        for step in range(max(map(len, self.partitions))):
            for p, messages in enumerate(self.partitions):
                if begin[p] + step < len(messages):
                    yield messages[begin[p] + step]


def consume(log: Log, handled: dict[Message, int], die_after: int | None) -> None:
    """Consume the log; with `die_after`, end in the middle as a process would that was killed."""
    begin = dict(log.committed)

    def commit(partition: int, through: int) -> None:
        log.committed[partition] = begin[partition] + through

    inbox: AckChannel[Message] = AckChannel(window=100, lane=lambda message: message.partition, on_settled=commit)

    def handle(delivery: Delivery[Message]) -> Delivery[Message]:
        time.sleep(random.random() * 0.001)  # noqa: S311 - not for secrets
        handled[delivery.value] += 1
        return delivery

    settled = 0

    def settle(delivery: Delivery[Message]) -> None:  # one worker, so the count needs no lock
        nonlocal settled
        delivery.ack()
        settled += 1
        if die_after is not None and settled >= die_after:
            raise Died

    def key(delivery: Delivery[Message]) -> tuple[int, str]:
        return delivery.value.partition, delivery.value.key

    def poll() -> None:
        # In a program of yours this loop polls the client of the log; `send` waits when the window is used up.
        with suppress(ChannelCancelled), inbox.sender as sender:
            for message in log.poll():
                sender.send(message)

    with inbox.receiver:  # left by an exception, it cancels the channel, which ends `poll`
        threading.Thread(target=poll).start()
        Pipeline(inbox.receiver, name="log").keyed_map(handle, key=key, workers=8, buffer=40).for_each(settle).run()


def main() -> None:
    """Consume a log, die, and consume the rest."""
    parser = argparse.ArgumentParser(description="A consumer of a log that commits offsets in order.")
    parser.add_argument("--messages", type=int, default=200, metavar="N", help="in each of 3 partitions; default: %(default)s")
    messages: int = parser.parse_args().messages
    log = Log(3, messages)
    handled: dict[Message, int] = defaultdict(int)
    try:
        consume(log, handled, die_after=messages)
    except Died:
        print(f"died with offsets {sorted(log.committed.values())} committed, {len(handled)} messages handled")
    for p, offset in log.committed.items():
        assert all(handled[message] for message in log.partitions[p][:offset]), "committed what was not handled"  # noqa: S101
    consume(log, handled, die_after=None)
    again = sum(times > 1 for times in handled.values())
    print(f"committed {sorted(log.committed.values())}; {len(handled)} messages handled, {again} of them twice, none lost")


if __name__ == "__main__":
    main()
