"""A storm on one semaphore: threads and tasks on two loops take permits by weight, wait, give up and are cancelled, and it is resized.

Every permit is counted from outside. Never more may be held than there were permits at some moment since the oldest holder came, each
operation happens wholly or not at all, and in the end all permits are back and nobody is in line.

    python tests/python/semaphore_storm.py [--seconds 3] [--seed N]
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import random
import threading
import time

from sluicegate import BoundedSemaphore, Overloaded

THREADS = 6
LOOPS = 2
TASKS = 40  # on each loop
SIZES = (1, 3, 8)  # what it is resized to; the last is the most
PATIENCE = 60.0


class Storm:
    def __init__(self, seconds, seed):
        self.seconds, self.seed = seconds, seed
        self.semaphore = BoundedSemaphore(SIZES[-1], name="storm")
        self.lock = threading.Lock()
        self.inside = 0
        self.most = 0
        self.entered = 0
        self.gave_up = 0
        self.too_large = 0
        self.errors = []
        self.ends = time.monotonic() + seconds

    def over(self):
        return self.errors or time.monotonic() >= self.ends

    def enter(self, n):
        with self.lock:
            self.inside += n
            self.entered += 1
            self.most = max(self.most, self.inside)
            assert self.inside <= SIZES[-1], f"{self.inside} permits are held"

    def leave(self, n):
        with self.lock:
            self.inside -= n

    def missed(self, error=None):
        with self.lock:
            self.gave_up += 1
            self.too_large += isinstance(error, ValueError)

    def work(self, number):
        """A thread: by hand, or by a permit, with and without patience."""
        dice = random.Random(f"{self.seed} thread {number}")
        while not self.over():
            n = dice.choice([1, 1, 1, 2, 3])
            timeout = dice.choice([None, 0, 0.0005, 0.01])
            try:
                if dice.random() < 0.5:
                    with self.semaphore.permit(n, timeout=timeout):
                        self.enter(n)
                        time.sleep(dice.choice([0, 0, 0.0002]))
                        self.leave(n)
                elif self.semaphore.acquire(timeout=timeout, n=n):
                    self.enter(n)
                    self.leave(n)
                    self.semaphore.release(n)
                else:
                    self.missed()
            except (Overloaded, ValueError) as error:
                self.missed(error)

    async def work_async(self, number):
        """A task: some of its waits are cancelled, now, at the next turn of the loop, or later; inside the block too."""
        dice = random.Random(f"{self.seed} task {number}")
        loop = asyncio.get_running_loop()

        async def once(n, timeout):
            async with self.semaphore.permit(n, timeout=timeout):
                self.enter(n)
                try:
                    await asyncio.sleep(dice.choice([0, 0, 0.0005]))
                finally:
                    self.leave(n)

        while not self.over():
            n = dice.choice([1, 1, 1, 2, 3])
            task = asyncio.ensure_future(once(n, dice.choice([None, None, 0, 0.001])))
            luck = dice.random()
            if luck < 0.2:
                loop.call_soon(task.cancel)
            elif luck < 0.4:
                loop.call_later(dice.random() * 0.005, task.cancel)
            try:
                await task
            except (Overloaded, ValueError, asyncio.CancelledError) as error:
                self.missed(error)

    def resize(self):
        dice = random.Random(f"{self.seed} sizes")
        while not self.over():
            self.semaphore.resize(dice.choice(SIZES))
            time.sleep(dice.random() * 0.002)
        self.semaphore.resize(SIZES[-1])  # everybody fits again, and can end

    def loop(self, number, kind):
        async def main():
            await asyncio.gather(*(self.work_async((number, task)) for task in range(TASKS)))

        if kind == "uvloop":
            import uvloop

            loop = uvloop.new_event_loop()
        else:
            loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()

    def guard(self, function, *arguments):
        try:
            function(*arguments)
        except BaseException as error:
            self.errors.append(error)

    def run(self, kinds):
        calls = [(self.work, number) for number in range(THREADS)]
        calls += [(self.loop, number, kind) for number, kind in enumerate(kinds)] + [(self.resize,)]
        threads = [threading.Thread(target=self.guard, args=call, daemon=True) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.seconds + PATIENCE)
            assert not thread.is_alive(), f"a thread is still blocked: {self.semaphore!r}"

    def check(self):
        assert not self.errors, self.errors
        seen = self.semaphore.statistics()
        assert self.inside == 0
        assert (seen.size, seen.held, seen.value, seen.waiters) == (SIZES[-1], 0, SIZES[-1], 0), seen
        assert seen.peak_held <= SIZES[-1]
        assert seen.acquired >= self.entered, "each that went in had acquired"


def kinds_of_loops():
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return ("asyncio",) * LOOPS
    return ("asyncio", "uvloop")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    options = parser.parse_args()
    storm = Storm(options.seconds, options.seed)
    storm.run(kinds_of_loops())
    storm.check()
    print(
        f"storm: {storm.entered} went in, {storm.most} permits at the most, {storm.gave_up} gave up ({storm.too_large} too large);"
        f" seed {options.seed}"
    )


if __name__ == "__main__":
    faulthandler.enable()
    main()
