"""A storm on one bucket: 8 threads and 200 tasks on 2 loops ask for more than its rate, half of the waiters give up at random.

Never more than `burst + rate * elapsed` may be let go, and nearly all of it should be. The time is measured from outside: from before the
bucket is made until after the last one was let go.

    python tests/python/rate_storm.py [--seconds 3] [--rate 2000] [--burst 1 2000] [--kind TokenBucket] [--seed N]
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import random
import threading
import time

from penstock import KeyedTokenBucket, LeakyBucket, RateLimited, RateLimits, SlidingWindow, TokenBucket

THREADS = 8
LOOPS = 2
TASKS = 100  # on each loop

KINDS = {
    "TokenBucket": TokenBucket,
    "KeyedBucket": lambda rate, burst: KeyedTokenBucket(rate, burst, max_keys=3),
    "RateLimits": lambda rate, burst: RateLimits(one=TokenBucket(rate, burst), other=TokenBucket(rate * 10, burst * 10)),
    "LeakyBucket": lambda rate, burst: LeakyBucket(rate, 10**6),  # its burst is 1
    "SlidingWindow": lambda rate, burst: SlidingWindow(burst, burst / rate),
}


class RateStorm:
    def __init__(self, kind, rate, burst, seconds, seed):
        self.kind, self.rate, self.seconds, self.seed = kind, rate, seconds, seed
        self.burst = 1 if kind == "LeakyBucket" else burst
        self.went = []  # one count for each asker: nobody shares a counter
        self.gave_up = []
        self.errors = []
        self.last = 0.0
        self.started = time.monotonic()
        self.limiter = KINDS[kind](rate, burst)
        self.counts = self.limiter  # whose statistics tell of everything
        if isinstance(self.limiter, KeyedTokenBucket):
            self.limiter = self.limiter.key("storm")

    def over(self):
        return time.monotonic() >= self.started + self.seconds

    def ask(self, number):
        """A thread: it waits, or has no patience and comes again."""
        dice = random.Random(f"{self.seed} thread {number}")
        went = gave_up = 0
        try:
            while not self.over():
                if dice.random() < 0.5:
                    went += self.limiter.acquire()
                    continue
                try:
                    went += self.limiter.acquire(timeout=dice.random() * 0.05)
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
        went = gave_up = 0
        while not self.over():
            if dice.random() < 0.5:
                went += await self.limiter.acquire_async()
                continue
            task = asyncio.ensure_future(self.limiter.acquire_async())
            way = dice.randrange(3)
            if way == 0:
                loop.call_soon(task.cancel)
            else:
                loop.call_later(dice.random() * (0.005 if way == 1 else 0.2), task.cancel)
            try:
                went += await task
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
            thread.join(self.seconds + 60)
            assert not thread.is_alive(), f"a thread is still blocked: {self.limiter.statistics()}"
        self.last = time.monotonic()

    def check(self):
        """What went, what could have gone at most, and the share of it that was used."""
        assert not self.errors, self.errors
        elapsed = self.last - self.started
        went, most = sum(self.went), self.burst + self.rate * elapsed
        seen = self.counts.statistics()
        assert went <= most, f"{went} let go in {elapsed:.3f} s where {most:.1f} are the most"
        assert seen.waiters == 0, seen
        assert seen.admitted == went, f"{seen.admitted} admitted, {went} came back"
        return went, most, went / most


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
    went, most, used = one.check()
    return (
        f"{kind} {rate}/s burst {one.burst}: {went} of at most {most:.1f} let go in {one.last - one.started:.3f} s, "
        f"{used:.2%} used; {sum(one.gave_up)} gave up; seed {seed}"
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
