"""The storm of a `FairQueue`: threads and tasks of two loops put with many keys, give up, are cancelled, and get, while bounds, weights and
the policy change. Each item is delivered, reported with a reason, refused to its putter, or inside; never two of these.

What the queue is composed of beside that is for the caller to say, and so are the times to live.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading

from helpers import PATIENCE, STORM_ITEMS, LoopThread, spawn

from sluicegate import FairQueue, Full, Sample, ShutDown

KEYS = "aaaabcdefgh"
EACH = max(150, STORM_ITEMS // 1000)  # the items of a thread; a task has a quarter
REASONS = ("oldest", "newest", "sampled", "expired", "shed")


class FairStorm:
    """An item is its key, the number of its producer, and its number there."""

    def __init__(self, *, ttls=(None,), **settings):
        self.queue = FairQueue(8, per_key=4, key=lambda item: item[0], reserved={"a": 1}, on_drop=self.drop, **settings)
        self.ttls = ttls
        self.dropped, self.got, self.put = [], [[], []], []  # got by each consumer
        self.ended = threading.Event()

    def drop(self, item, reason):
        self.dropped.append((item, reason))

    def produce(self, seed):
        dice = random.Random(seed)
        for number in range(EACH):
            item, how, ttl = (dice.choice(KEYS), seed, number), dice.randrange(5), dice.choice(self.ttls)
            try:
                if how == 0:
                    self.queue.put_many([item], timeout=0.001)
                elif how == 1:
                    if self.queue.offer(item, ttl=ttl).reason == "full":
                        continue
                else:
                    self.queue.put(item, timeout=dice.choice([None, 0, 0.0005]), ttl=ttl)
            except Full:
                continue
            self.put.append(item)

    async def produce_async(self, seed):
        dice, loop = random.Random(seed), asyncio.get_running_loop()
        for number in range(EACH // 4):
            item, timeout = (dice.choice(KEYS), seed, number), dice.choice([None, 0, 0.0005])
            task = asyncio.ensure_future(self.queue.put_async(item, timeout=timeout, ttl=dice.choice(self.ttls)))
            if dice.random() < 0.3:
                loop.call_later(dice.random() * 0.001, task.cancel)
            try:
                await task
            except (Full, asyncio.CancelledError):
                continue
            self.put.append(item)

    async def produce_many(self, first_seed):
        await asyncio.gather(*(self.produce_async(first_seed + number) for number in range(10)))

    def change(self):
        q, dice = self.queue, random.Random(0)
        while not self.ended.wait(0.0005):
            q.overflow = dice.choice(["block", "block", "reject", "drop_oldest", "drop_newest", Sample(2)])
            q.per_key = dice.choice([1, 2, 4, None])
            q.maxsize = dice.choice([4, 8, 16])
            q.set_weight(dice.choice("abcdefgh"), dice.choice([0.5, 1, 3]))
        q.overflow = "block"

    def consume(self, got):
        while True:
            try:
                items = self.queue.get_many(3)
            except ShutDown:
                return
            got.extend(items)
            for _ in items:
                self.queue.task_done()

    def run(self, loop_kind):
        """Run the storm to its end, and return the statistics of the queue, which have been compared with what was seen."""
        with LoopThread(loop_kind) as one, LoopThread(loop_kind) as other:
            consumers = [spawn(self.consume, got) for got in self.got]
            changing = spawn(self.change)
            producers = [spawn(self.produce, seed) for seed in range(3)]
            runs = [one.submit(self.produce_many(100)), other.submit(self.produce_many(200))]
            for run in [*producers, *runs]:
                run.result(PATIENCE * 2)
            self.ended.set()
            changing.result()
            self.queue.join(timeout=PATIENCE)
            self.queue.shutdown()
            for consumer in consumers:
                consumer.result()
        return self.check()

    def check(self):
        seen = self.queue.statistics()
        assert (seen.size, seen.unfinished_tasks, seen.waiting_putters, seen.waiting_getters) == (0, 0, 0, 0)
        # A put that a policy has dropped has returned, and one that was cancelled after it was in may have been got.
        arrived = [*itertools.chain(*self.got), *(item for item, _ in self.dropped)]
        assert len(arrived) == len(set(arrived))
        assert set(self.put) <= set(arrived)
        assert seen.gets == sum(map(len, self.got))
        reasons = {reason: sum(why == reason for _, why in self.dropped) for reason in REASONS}
        assert {reason: getattr(seen, f"dropped_{reason}") for reason in REASONS} == reasons
        # The items of a key leave in the order in which they were put, so a consumer gets those of a putter in that order.
        for got in self.got:
            last = {}
            for key, seed, number in got:
                assert number > last.get((key, seed), -1)
                last[key, seed] = number
        return seen
