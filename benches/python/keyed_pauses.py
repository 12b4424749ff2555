"""How long single calls take while a table of keys grows, and when it is full: the median, the slowest in ten thousand, the slowest.

    python benches/python/keyed_pauses.py [--keys 5000000] [--strict]

Time is what the thread spends on a processor, kernel included, so that other programs do not count. What the kernel does meanwhile for
others still does: so there are several rounds, and of each number the least is shown, because what is ours comes each time. The first row
is the noise: calls for keys that are there already. The drop of the whole table is no call, and has no goal.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import sys
import time
from array import array
from collections.abc import Callable, Iterable
from typing import Any

from sluicegate import KeyedTokenBucket, RateLimited
from sluicegate.testing import ManualClock

GOAL = 1_000_000
"""Nanoseconds that no call may take."""


def times(calls: Callable[[Any], object], keys: Iterable[Any], taken: array[int]) -> array[int]:
    """The nanoseconds of each call, in `taken`, whose memory is there already."""
    clock = time.thread_time_ns
    for index, key in enumerate(keys):
        begin = clock()
        calls(key)
        taken[index] = clock() - begin
    return taken


def refused(keyed: KeyedTokenBucket) -> Callable[[Any], object]:
    def call(key: Any) -> None:
        try:
            keyed.try_acquire(key)
        except RateLimited:
            return
        raise AssertionError("there was room")

    return call


def rows(keys: int, full: int, newcomers: int) -> Iterable[tuple[str, array[int]]]:
    """Each row, and how long its calls took."""
    taken = array("Q", bytes(8 * keys))
    keyed = KeyedTokenBucket(1e-6, burst=10, max_keys=keys)
    times(keyed.try_acquire, range(1000), taken)  # whatever is made once
    grown = times(keyed.try_acquire, range(1000, keys), taken[:-1000])
    yield f"a key that is known, of {keys:,}", times(keyed.try_acquire, range(keys), taken)
    yield f"a new key, from 1,000 to {keys:,}", grown
    del grown
    clock = time.thread_time_ns
    begin = clock()
    del keyed
    yield "the drop of the table", array("Q", [clock() - begin])

    manual = ManualClock()
    keyed = KeyedTokenBucket(1, burst=2, max_keys=full, clock=manual)
    for key in range(full):
        keyed.try_acquire(key)
    few = taken[:newcomers]
    yield f"a newcomer, all of {full:,} keys in use", times(refused(keyed), range(-newcomers, 0), few)
    for key in range(full):
        keyed.try_acquire(key)  # again, so that what is known about them is of no use
    manual.advance(1)
    yield "the same, when all have been used again", times(refused(keyed), range(-newcomers, 0), few)
    manual.advance(1)
    yield "a newcomer in the place of another", times(keyed.try_acquire, range(-newcomers, 0), few)
    bookings = [keyed.key(-key).reserve() for key in range(1, 101)]
    fresh = itertools.count(full)
    with contextlib.suppress(RateLimited):
        while True:
            keyed.try_acquire(next(fresh))
    yield "a newcomer, a hundred keys booked", times(refused(keyed), itertools.islice(fresh, newcomers), few)
    assert len(bookings) == 100


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure the slowest calls of a limiter with very many keys.")
    parser.add_argument("--keys", type=int, default=5_000_000, help="default: %(default)s")
    parser.add_argument("--full", type=int, default=1_000_000, help="keys of a full table; default: %(default)s")
    parser.add_argument("--newcomers", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a call takes longer than the goal")
    arguments = parser.parse_args(argv)
    gc.disable()
    found: dict[str, list[list[int]]] = {}
    for _ in range(arguments.rounds):
        for row, taken in rows(arguments.keys, arguments.full, arguments.newcomers):
            ordered = sorted(taken)
            quantiles = [ordered[int((len(ordered) - 1) * share)] for share in (0.5, 0.9999, 1)]
            found.setdefault(row, []).append(quantiles)
    missed = False
    print(f"{'microseconds, least of ' + str(arguments.rounds):45} {'median':>10} {'99.99 %':>10} {'slowest':>10}")
    for row, rounds in found.items():
        least = [min(each) for each in zip(*rounds, strict=True)]
        is_call = "drop" not in row
        missed |= is_call and least[-1] > GOAL
        shown = " ".join(f"{each / 1000:10,.1f}" for each in least)
        print(f"{row:45} {shown}{'  (goal: 1,000)' if is_call else ''}")
    return missed and arguments.strict


if __name__ == "__main__":
    sys.exit(main())
