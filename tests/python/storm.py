"""The storm: threads and tasks of two loops put and get through one small queue while they are cancelled, time out and
are interrupted at random. Every item is counted.

A program of its own, since its main thread is one of the eight and takes real signals:

    python tests/python/storm.py [ITEMS [SEED [CLASS]]]

The main thread consumes. A signal handler raises in it at random; an item that `get` had committed when the handler
raised belongs to the caller, who lost it: such items are counted by the queue's own `gets`. All others arrive once.
"""

from __future__ import annotations

import asyncio
import faulthandler
import itertools
import random
import resource
import signal
import sys
import threading
import time

import sluicegate
from sluicegate import Empty, Full, ShutDown

THREADS = 4  # that put, and as many that get, the main thread among them
TASKS = 50  # on each of two loops that put, and as many that get
BOUND = 16


class HandlerError(Exception):
    """Raised by the signal handler."""


class Storm:
    def __init__(self, items, seed, kind):
        self.items = items
        self.seed = seed
        self.queue = getattr(sluicegate, kind)(BOUND, name="storm")
        self.numbers = iter(range(items))
        self.numbers_lock = threading.Lock()
        self.seen = []  # a bytearray for each thread that receives: nobody shares a counter
        self.events = {"cancelled": 0, "timed out": 0, "interrupted": 0, "refused": 0}
        self.errors = []
        self.finished = threading.Event()
        self.armed = False  # the handler raises only between two lines of `consume_in_main`

    def take(self, count):
        """The next numbers to put."""
        with self.numbers_lock:
            return list(itertools.islice(self.numbers, count))

    def receiver(self):
        seen = bytearray(self.items)
        self.seen.append(seen)
        return seen

    # Producers. An iterator stands at the first item not put, whatever ended `put_many`: so it is simply tried again.

    def produce(self, number):
        dice = random.Random(f"{self.seed} producer {number}")
        while batch := self.take(dice.choice([1, 1, 1, 2, 5, 20])):
            source, done = iter(batch), 0
            while done < len(batch):
                way = dice.randrange(4)
                try:
                    if way == 0:
                        done += self.queue.put_many(source, timeout=dice.choice([None, 0, 0.0001, 0.002]))
                    elif way == 1:
                        done += self.queue.put_many(source, block=False)
                    else:
                        self.queue.put(batch[done], timeout=None if way == 2 else dice.choice([0.0001, 0.001]))
                        next(source)
                        done += 1
                except Full as error:
                    self.events["timed out"] += 1
                    done += getattr(error, "accepted", 0)

    async def produce_async(self, number):
        dice = random.Random(f"{self.seed} task {number}")
        while batch := self.take(dice.choice([1, 1, 1, 3])):
            source, done = iter(batch), 0
            while done < len(batch):
                way = dice.randrange(3)
                timeout = dice.choice([None, None, 0.0001, 0.002])
                task = asyncio.ensure_future(
                    self.queue.put_many_async(source, timeout=timeout) if way == 0 else self.queue.put_async(batch[done], timeout=timeout)
                )
                self.trouble(dice, task)
                try:
                    put = await task
                    if way == 0:
                        done += put
                    else:
                        next(source)
                        done += 1
                except Full as error:
                    self.events["timed out"] += 1
                    done += getattr(error, "accepted", 0)
                except asyncio.CancelledError:
                    self.events["cancelled"] += 1
                    if way == 0:  # where the iterator stands tells how many went in
                        rest = list(source)
                        done = len(batch) - len(rest)
                        source = iter(rest)

    def trouble(self, dice, task):
        """Cancels a task at random, now, a little later, or when its loop next comes round."""
        loop = asyncio.get_running_loop()
        luck = dice.random()
        if luck < 0.1:
            task.cancel()
        elif luck < 0.25:
            loop.call_soon(task.cancel)
        elif luck < 0.3:
            loop.call_later(dice.random() * 0.002, task.cancel)

    # Consumers.

    def consume(self, number):
        dice = random.Random(f"{self.seed} consumer {number}")
        seen = self.receiver()
        while True:
            try:
                way = dice.randrange(4)
                if way == 0:
                    got = self.queue.get_many(dice.choice([1, 4, 40]), timeout=dice.choice([None, 0.001]))
                elif way == 1:
                    got = self.queue.get_many(8, timeout=0.01, linger=dice.choice([0, 0.0005]))
                elif way == 2:
                    got = [self.queue.get(timeout=dice.choice([0, 0.0001, 0.001]))]
                else:
                    got = [self.queue.get()]
            except Empty:
                self.events["timed out"] += 1
                continue
            except ShutDown:
                return
            for item in got:
                seen[item] += 1

    async def consume_async(self, number, seen):
        dice = random.Random(f"{self.seed} taker {number}")
        while True:
            timeout = dice.choice([None, None, 0.0001, 0.002])
            batch = dice.random() < 0.3
            task = asyncio.ensure_future(
                self.queue.get_many_async(5, timeout=timeout, linger=dice.choice([0, 0, 0.0005]))
                if batch
                else self.queue.get_async(timeout=timeout)
            )
            self.trouble(dice, task)
            try:
                got = await task
            except Empty:
                self.events["timed out"] += 1
                continue
            except asyncio.CancelledError:
                self.events["cancelled"] += 1
                continue
            except ShutDown:
                return
            for item in got if batch else [got]:
                seen[item] += 1

    def consume_in_main(self):
        """As `consume`, while a signal handler raises at random; how many items this caller may itself have lost."""
        seen = self.receiver()
        lost = 0
        while True:
            item = None
            try:
                try:
                    self.armed = True
                    item = self.queue.get()
                    self.armed = False
                except ShutDown:
                    self.armed = False
                    return lost
            except HandlerError:
                self.events["interrupted"] += 1
                if item is None:
                    lost += 1
            if item is not None:
                seen[item] += 1

    # The rest.

    def guard(self, function, *arguments):
        """A thread whose error ends the storm."""

        def run():
            try:
                function(*arguments)
            except BaseException as error:
                self.errors.append(error)
                self.queue.shutdown()
                raise

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def loop(self, number, kind, producing):
        async def main():
            seen = self.receiver()
            takers = [asyncio.create_task(self.consume_async((number, i), seen)) for i in range(TASKS)]
            await asyncio.gather(*(self.produce_async((number, i)) for i in range(TASKS)))
            producing.release()
            await asyncio.gather(*takers)

        if kind == "uvloop":
            import uvloop

            loop = uvloop.new_event_loop()
        else:
            loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()

    def interrupter(self):
        dice = random.Random(f"{self.seed} signals")
        main = threading.main_thread().ident
        while not self.finished.wait(dice.random() * 0.004):
            signal.pthread_kill(main, signal.SIGUSR1)

    def watcher(self, marks):
        """Peak memory at a quarter of the items, and the depth."""
        while not self.finished.wait(0.005):
            seen = self.queue.statistics()
            if seen.size > BOUND:
                self.errors.append(AssertionError(f"{seen.size} items in a queue of {BOUND}"))
            if seen.gets > self.items // 4 and not marks:
                marks.append(peak_memory())

    def run(self, kinds):
        def interrupt(number, frame):
            if self.armed:
                self.armed = False
                raise HandlerError

        signal.signal(signal.SIGUSR1, interrupt)
        producing, marks = threading.Semaphore(0), []
        producers = [self.guard(self.produce, number) for number in range(THREADS)]
        loops = [self.guard(self.loop, number, kind, producing) for number, kind in enumerate(kinds)]
        consumers = [self.guard(self.consume, number) for number in range(THREADS - 1)]
        helpers = [self.guard(self.watcher, marks), self.guard(self.interrupter)]

        def finish():
            for producer in producers:
                producer.join()
            for _ in loops:
                producing.acquire()
            self.queue.shutdown()

        finishing = self.guard(finish)
        lost = self.consume_in_main()
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        self.finished.set()
        for thread in [finishing, *consumers, *loops, *helpers]:
            thread.join()
        return lost, marks

    def check(self, lost, marks):
        assert not self.errors, self.errors
        times = bytearray(self.items)
        for seen in self.seen:
            for item, count in enumerate(seen):
                if count:
                    times[item] += count
        twice = [item for item, count in enumerate(times) if count > 1]
        assert not twice, f"arrived more than once: {twice[:10]}"
        missing = [item for item, count in enumerate(times) if count == 0]
        seen = self.queue.statistics()
        assert seen.puts == self.items, f"{seen.puts} puts of {self.items} items"
        assert seen.gets == self.items, f"{seen.gets} gets of {self.items} items"
        assert seen.size == 0
        assert seen.peak_size <= BOUND
        assert (seen.waiting_getters, seen.waiting_putters) == (0, 0)
        assert len(missing) <= lost, f"{len(missing)} items missing, {lost} may be the interrupted caller's"
        growth = peak_memory() - marks[0] if marks else 0
        assert growth < 16 << 20, f"peak memory grew by {growth >> 20} MiB after a quarter of the items"
        return len(missing), growth


def peak_memory():
    """In bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main():
    arguments = sys.argv[1:]
    items = int(arguments[0]) if arguments else 1_000_000
    seed = int(arguments[1]) if len(arguments) > 1 else random.SystemRandom().randrange(10**9)
    kind = arguments[2] if len(arguments) > 2 else "Queue"
    try:
        import uvloop  # noqa: F401

        kinds = ("asyncio", "uvloop")
    except ImportError:
        kinds = ("asyncio", "asyncio")
    print(f"storm: {items} items through a {kind}({BOUND}), seed {seed}, loops {kinds}", flush=True)
    storm = Storm(items, seed, kind)
    started = time.monotonic()
    lost, marks = storm.run(kinds)
    seconds = time.monotonic() - started
    missing, growth = storm.check(lost, marks)
    print(
        f"storm: {seconds:.1f} s, {storm.events}, {missing} committed to an interrupted caller, "
        f"peak memory {peak_memory() >> 20} MiB (+{growth >> 10} KiB after the first quarter)"
    )


if __name__ == "__main__":
    faulthandler.enable()
    main()
