"""Storms on BoundedExecutor: random pools, jobs, cancellations and ends. Every job is accounted for, and nothing is left behind."""

from __future__ import annotations

import asyncio
import concurrent.futures
import random
import threading
import time

import pytest
from helpers import PATIENCE, ROUNDS, run_on, spawn, wait_until

from sluicegate import BoundedExecutor, Overloaded, PriorityQueue, Queue

FEEDERS = 3
JOBS = 30


class Round:
    """A round has one pool, some threads and tasks that submit jobs to it, and an end."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.lock = threading.Lock()
        self.ran: list[tuple[int, int]] = []
        self.accepted: dict[tuple[int, int], concurrent.futures.Future[int]] = {}
        self.refused = self.shut = 0
        self.running: set[threading.Thread] = set()
        self.most = 0
        self.workers = chance.randrange(1, 4)
        self.pending = chance.randrange(5)
        self.overflow = chance.choice(["block", "reject", "caller_runs"])
        self.with_queue = chance.random() < 0.3
        if self.with_queue:
            self.pool = BoundedExecutor(self.workers, queue=chance.choice([Queue, PriorityQueue])(chance.randrange(1, 5)))
        else:
            self.pool = BoundedExecutor(self.workers, max_pending=self.pending, overflow=self.overflow)
        self.nap = chance.choice([0, 0, 0.0001])
        self.is_nested = chance.random() < 0.3
        self.ends_early = chance.choice([None, None, "shutdown", "cancel"])

    def job(self, name: tuple[int, int]) -> int:
        me = threading.current_thread()
        # Not one that runs in the caller, nor one that a worker runs within another.
        counts = me in self.pool._threads and me not in self.running
        with self.lock:
            self.ran.append(name)
            if counts:
                self.running.add(me)
            self.most = max(self.most, len(self.running))
        try:
            if self.nap:
                time.sleep(self.nap)
            if self.is_nested and name[1] % 7 == 0 and name[0] < 100:
                self.offer((name[0] + 100, name[1]))
            if name[1] % 5 == 0:
                raise ValueError(name)
            return name[1]
        finally:
            if counts:
                with self.lock:
                    self.running.discard(me)

    def offer(self, name: tuple[int, int]) -> None:
        try:
            self.accepted[name] = self.pool.submit(self.job, name)
        except Overloaded:
            with self.lock:
                self.refused += 1
        except RuntimeError as error:
            assert "after shutdown" in str(error)
            with self.lock:
                self.shut += 1

    def feed(self, k: int, seed: int) -> None:
        chance = random.Random(seed)
        for i in range(JOBS):
            self.offer((k, i))
            if self.accepted and chance.random() < 0.2:
                chance.choice(list(self.accepted.values())).cancel()

    async def feed_async(self, k: int, seed: int) -> None:
        chance = random.Random(seed)
        waiting = set()
        for i in range(JOBS):
            task = asyncio.ensure_future(self.offer_async((k, i)))
            if chance.random() < 0.1:
                await asyncio.sleep(0)
                task.cancel()
            waiting.add(task)
            if chance.random() < 0.5:
                await asyncio.wait(waiting)
        await asyncio.wait(waiting)

    async def offer_async(self, name: tuple[int, int]) -> None:
        try:
            future = await self.pool.submit_async(self.job, name)
        except Overloaded:
            with self.lock:
                self.refused += 1
        except RuntimeError as error:
            assert "after shutdown" in str(error)
            with self.lock:
                self.shut += 1
        else:
            try:
                assert await future == name[1]
            except (ValueError, asyncio.CancelledError):
                pass

    def run(self) -> None:
        seeds = [self.chance.random() for _ in range(FEEDERS + 1)]
        threads = [spawn(self.feed, k, seeds[k]) for k in range(FEEDERS)]
        threads.append(spawn(run_on, "asyncio", self.feed_async(FEEDERS, seeds[FEEDERS])))
        if self.ends_early is not None:
            time.sleep(self.chance.random() * 0.003)
            self.pool.shutdown(wait=self.chance.random() < 0.5, cancel_futures=self.ends_early == "cancel")
        for thread in threads:
            thread.result()
        self.pool.shutdown()
        self.check()

    def check(self) -> None:
        cancelled = 0
        for name, future in self.accepted.items():
            assert future.done(), name
            if future.cancelled():
                cancelled += 1
                assert name not in self.ran
            else:
                assert name in self.ran
                error = future.exception(0)
                assert (error is None) == (name[1] % 5 != 0)
        assert len(set(self.ran)) == len(self.ran), "a job ran twice"
        assert self.most <= self.workers
        seen = self.pool.statistics()
        assert (seen.pending, seen.running, seen.waiters, seen.workers, seen.dropped) == (0, 0, 0, 0, 0)
        assert seen.completed == len(self.ran)
        assert seen.submitted == seen.completed + seen.cancelled
        assert seen.cancelled >= cancelled
        assert seen.refused == self.refused
        if self.overflow != "reject" and not self.with_queue:
            assert self.refused == 0
        if self.ends_early is None and not self.is_nested:
            assert self.shut == 0
        assert self.pool._pool.places.statistics().held == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_storm(seed):
    before = threading.active_count()
    chance = random.Random(seed)
    for _ in range(ROUNDS // 3):
        Round(chance).run()
    wait_until(lambda: threading.active_count() <= before, 5)


def test_a_storm_of_maps():
    """Maps with and without `buffersize` are left at every point, in one pool, and each place is given back once."""
    chance = random.Random(9)
    with BoundedExecutor(3, max_pending=6) as pool:
        for _ in range(ROUNDS * 2):
            n, how = chance.randrange(1, 40), chance.choice(["all", "close", "error", "drop", "source"])
            at = chance.randrange(n)
            options = {"buffersize": chance.choice([None, 1, 3, 10]), "chunksize": chance.choice([1, 1, 4])}

            def f(i):
                if how == "error" and i == at:  # noqa: B023
                    raise ValueError(i)
                return i

            def items():
                yield from range(n)  # noqa: B023
                if how == "source":  # noqa: B023
                    raise LookupError

            got = []
            try:
                results = pool.map(f, items(), **options)
                for result in results:
                    got.append(result)
                    if how == "close" and len(got) > at:
                        results.close()
                        break
                    if how == "drop" and len(got) > at:
                        break
            except ValueError as error:
                assert (how, error.args) == ("error", (at,))
                assert len(got) == at
            except LookupError:
                assert how == "source"
                assert len(got) == (n if options["buffersize"] is not None else 0)
            else:
                assert len(got) == (n if how == "all" else at + 1)
            assert got == list(range(len(got)))
            results = None
        wait_until(lambda: pool.statistics().pending == pool.statistics().running == 0)
        assert pool._pool.places.value == 9


def test_one_pool_for_everything():
    """Threads and event loops use one pool for a while. Its queue does not grow, and no place is lost."""
    with BoundedExecutor(2, max_pending=8) as pool:

        def thread(seed):
            chance = random.Random(seed)
            for i in range(1500):
                future = pool.submit(int, i)
                if chance.random() < 0.5:
                    future.cancel()
                elif chance.random() < 0.1:
                    assert future.result(PATIENCE) == i
                assert pool._pool.queue.qsize() < 200

        async def tasks(seed):
            chance = random.Random(seed)
            for i in range(700):
                future = await pool.submit_async(int, i)
                if chance.random() < 0.5:
                    future.cancel()
                else:
                    assert await future == i

        workers = [spawn(thread, seed) for seed in range(3)] + [spawn(run_on, kind, tasks(7)) for kind in ("asyncio", "asyncio")]
        for worker in workers:
            worker.result(PATIENCE * 2)
        wait_until(lambda: pool.statistics().pending == pool.statistics().running == 0)
        assert pool._pool.places.value == 10
        assert pool._pool.queue.qsize() < 100
