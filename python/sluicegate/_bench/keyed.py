"""The row of the many keys: each round in an interpreter of its own, so that its memory can be told from the others'.

`python -m sluicegate._bench.keyed CONTENDER ASKS` asks a limiter for each of its keys (KEYS for each of ASKS) once, which
makes it remember them all, and looks by how much the process has grown; then it asks for some of them again, and looks
at the clock. The keys are made on the way, as a server takes them out of its requests: a limiter that keeps them pays
for them.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from sluicegate._demo.memory import peak_bytes

from . import limiters
from .harness import BenchError, Stopwatch
from .limiters import Ask
from .model import OURS, Run, Sample

KEYS = 10
"""How many keys there are for each one that is timed: to fill a limiter takes some contenders a quarter of a minute."""

LIMIT = 600.0
"""Seconds after which a round counts as hung."""

HANDWRITTEN = "hand-written bucket"
PYRATE = "pyrate-limiter"
LIMITS = "limits"
THROTTLED = "throttled-py"

MAKERS: Mapping[str, Callable[[int], Ask]] = {
    OURS: limiters.ours_keyed,
    HANDWRITTEN: limiters.handwritten_keyed,
    PYRATE: limiters.pyrate_keyed,
    LIMITS: limiters.limits_keyed,
    THROTTLED: limiters.throttled_keyed,
}


def in_a_child(contender: str) -> Run:
    """Run a contender in an interpreter of its own; an item is a key that is asked for again."""

    def run(n: int) -> Sample:
        command = [sys.executable, "-m", __name__, contender, str(n)]
        child = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)  # noqa: S603 - our own
        if child.returncode:
            raise BenchError((child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1])
        return Sample(**json.loads(child.stdout))

    return run


def measure(make: Callable[[int], Ask], asks: int) -> Sample:
    """Fill a limiter, weigh it, and time it."""
    order = list(range(asks * KEYS))
    shuffle = random.Random(1).shuffle
    shuffle(order)
    before = resident_bytes()
    ask = make(len(order))
    for number in order:
        ask(name(number))
    after = resident_bytes()
    shuffle(order)
    again = [name(number) for number in order[:asks]]
    with Stopwatch() as watch:
        for each in again:
            ask(each)
    if not ask(again[0]):
        raise BenchError("it refuses where it should not")
    grown = None if before is None or after is None else (after - before) / len(order)
    return replace(watch.sample(asks), key_bytes=grown)


def name(number: int) -> str:
    """Make a key, as long as an IPv4 address or a customer's number."""
    return f"user-{number:08}"


def resident_bytes() -> int | None:
    """Return how much memory the process holds; where the system tells only the peak, that, which grows as this does."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        import resource

        return int(statm.read_text("ascii").split()[1]) * resource.getpagesize()
    return peak_bytes()


def main(contender: str, asks: str) -> None:
    """Run one round, and print it for `in_a_child`."""
    gc.disable()  # while it is filled, too: that is not timed, and nothing is to be collected
    print(json.dumps(asdict(measure(MAKERS[contender], int(asks)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
