"""A storm on one bucket: 8 threads and 200 tasks on 2 loops ask for more than its rate, half of the waiters give up at random.

Never more than the law allows may be let go, and nearly all of it should be. The time is measured from outside: it begins before the
limiter is made, and each one notes when it came back, which is later than when it was let go. All askers are up before the time begins:
how long a machine takes to start threads is not what is measured here.

    python tests/python/rate_storm.py [--seconds 3] [--rate 2000] [--burst 1 2000] [--kind TokenBucket] [--seed N]
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import itertools
import math
import random
import threading
import time

from sluicegate import KeyedTokenBucket, LeakyBucket, RateLimited, RateLimits, SlidingWindow, TokenBucket

THREADS = 8
LOOPS = 2
TASKS = 100  # on each loop
PATIENCE = 60.0

KINDS = {
    "TokenBucket": lambda rate, burst: TokenBucket(rate, burst=burst),
    "TokenBucketKey": lambda rate, burst: KeyedTokenBucket(rate, burst=burst, max_keys=3),
    "RateLimits": lambda rate, burst: RateLimits(one=TokenBucket(rate, burst=burst), other=TokenBucket(rate * 10, burst=burst * 10)),
    "LeakyBucket": lambda rate, burst: LeakyBucket(rate, capacity=10**6),  # its burst is 1
    "SlidingWindow": lambda rate, burst: SlidingWindow(burst, burst / rate),
}


class RateStorm:
    def __init__(self, kind, rate, burst, seconds, seed):
        self.kind, self.rate, self.seconds, self.seed = kind, rate, seconds, seed
        self.burst = 1 if kind == "LeakyBucket" else burst
        self.went = []  # each asker's moments: nobody shares a list
        self.gave_up = []
        self.errors = []
        self.ready = threading.Barrier(THREADS + LOOPS, self.begin, PATIENCE)

    def begin(self):
        """All askers are up: one of them makes the limiter."""
        self.started = time.monotonic()
        self.limiter = KINDS[self.kind](self.rate, self.burst)
        self.counts = self.limiter  # whose statistics tell of everything
        if isinstance(self.limiter, KeyedTokenBucket):
            self.limiter = self.limiter.key("storm")

    def law(self, elapsed):
        """How many may have gone so long after the limiter was made."""
        if self.kind == "SlidingWindow":
            return self.burst * (1 + math.floor(self.rate * elapsed / self.burst))
        return self.burst + self.rate * elapsed

    def over(self):
        return time.monotonic() >= self.started + self.seconds

    def ask(self, number):
        """A thread: it waits, or has no patience and comes again."""
        dice = random.Random(f"{self.seed} thread {number}")
        went, gave_up = [], 0
        try:
            self.ready.wait()
            while not self.over():
                if dice.random() < 0.5:
                    assert self.limiter.acquire()
                    went.append(time.monotonic())
                    continue
                try:
                    assert self.limiter.acquire(timeout=dice.random() * 0.05)
                    went.append(time.monotonic())
                except RateLimited as refused:
                    gave_up += 1
                    time.sleep(min(refused.retry_after * dice.random(), 0.005))
        except BaseException as error:
            self.errors.append(error)
        self.went.append(went)
        self.gave_up.append(gave_up)

    async def ask_async(self, number):
        """A task: half of its waits are cancelled, now, at the next turn of the loop, or some time later."""
        dice = random.Random(f"{self.seed} task {number}")
        loop = asyncio.get_running_loop()
        went, gave_up = [], 0
        while not self.over():
            if dice.random() < 0.5:
                assert await self.limiter.acquire_async()
                went.append(time.monotonic())
                continue
            task = asyncio.ensure_future(self.limiter.acquire_async())
            way = dice.randrange(3)
            if way == 0:
                loop.call_soon(task.cancel)
            else:
                loop.call_later(dice.random() * (0.005 if way == 1 else 0.2), task.cancel)
            try:
                assert await task
                went.append(time.monotonic())
            except asyncio.CancelledError:
                gave_up += 1
        self.went.append(went)
        self.gave_up.append(gave_up)

    def loop(self, number, kind):
        async def main():
            await asyncio.gather(*(self.ask_async((number, task)) for task in range(TASKS)))

        try:
            if kind == "uvloop":
                import uvloop

                loop = uvloop.new_event_loop()
            else:
                loop = asyncio.new_event_loop()
            try:
                self.ready.wait()
                loop.run_until_complete(main())
            finally:
                loop.close()
        except BaseException as error:
            self.errors.append(error)

    def run(self, loops):
        threads = [threading.Thread(target=self.ask, args=(number,), daemon=True) for number in range(THREADS)]
        threads += [threading.Thread(target=self.loop, args=(number, kind), daemon=True) for number, kind in enumerate(loops)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.seconds + PATIENCE)
            assert not thread.is_alive(), f"a thread is still blocked: {self.limiter.statistics()}"

    def check(self):
        """What went, and the share that was used of what could have gone at most while there was somebody to ask for it."""
        assert not self.errors, self.errors
        moments = sorted(moment - self.started for moment in itertools.chain(*self.went))
        for number, moment in enumerate(moments, 1):
            assert number <= self.law(moment), f"{number} let go in {moment:.6f} s where {self.law(moment):.1f} are the most"
        seen = self.counts.statistics()
        assert seen.waiters == 0, seen
        assert seen.admitted == len(moments), f"{seen.admitted} admitted, {len(moments)} came back"
        in_time = sum(moment < self.seconds for moment in moments)
        return moments, in_time, math.floor(self.law(math.nextafter(self.seconds, 0)))


def kinds_of_loops():
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return ("asyncio",) * LOOPS
    return ("asyncio", "uvloop")


def storm(kind, rate, burst, seconds, seed):
    """One storm; its line of figures, and the share of the rate that was used."""
    one = RateStorm(kind, rate, burst, seconds, seed)
    one.run(kinds_of_loops())
    moments, in_time, most = one.check()
    used = in_time / most
    return (
        f"{kind} {rate}/s burst {one.burst}: {in_time} of at most {most} let go in {seconds} s, {used:.2%} used; "
        f"{len(moments)} by the end, {moments[-1]:.3f} s; {sum(one.gave_up)} gave up; seed {seed}"
    ), used


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--burst", type=float, nargs="*", default=[1, 2000])
    parser.add_argument("--kind", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    options = parser.parse_args()
    for kind in options.kind:
        for burst in options.burst:
            print(storm(kind, options.rate, burst, options.seconds, options.seed)[0], flush=True)


if __name__ == "__main__":
    faulthandler.enable()
    main()
