"""What a key costs: bytes a key and nanoseconds an ask, of every limiter that knows keys, over a million of them.

    python benches/python/keyed_memory.py [--asks 10000]

Each round is an interpreter of its own, so that its memory can be told from the others': the child asks a limiter for
each of its keys (KEYS for each ask that is timed) once, which makes it remember them all, and looks by how much the
process has grown; then it asks for some of them again, and looks at the clock. The keys are made on the way, as a
server takes them out of its requests: a limiter that keeps them pays for them. With all packages installed this takes
minutes, most of them to fill theirs.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from sluicegate._bench.harness import BenchError, Stopwatch
from sluicegate._bench.loops.limiters import Ask
from sluicegate._bench.model import OURS
from sluicegate._bench.peers.limiters import KEYED, NEEDS
from sluicegate._demo.memory import peak_bytes

KEYS = 10
"""How many keys there are for each one that is timed: to fill a limiter takes some contenders a quarter of a minute."""

BURST = 10
"""How many a key has a day."""

GOAL = 100
"""Bytes that a key of ours may take."""

LIMIT = 600.0
"""Seconds after which a round counts as hung."""


@dataclass(frozen=True)
class Weighed:
    """A round; the bytes are None where the system does not tell."""

    bytes_per_key: float | None
    nanoseconds: float


def in_a_child(contender: str, asks: int) -> Weighed:
    """Run a round in an interpreter of its own."""
    command = [sys.executable, __file__, "--round", contender, "--asks", str(asks)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if child.returncode:
        raise BenchError((child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1])
    return Weighed(**json.loads(child.stdout))


def measure(make: Callable[[int], Ask], asks: int) -> Weighed:
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
    return Weighed(grown, watch.sample(asks).nanoseconds)


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


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Weigh a key of every limiter that knows keys.")
    parser.add_argument(
        "--asks", type=int, default=100_000, help=f"asks that are timed, of {KEYS} times as many keys; default: %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--round", metavar="WHO", help="one round of one contender, as JSON: what the children do")
    arguments = parser.parse_args(argv)
    if arguments.round:
        gc.disable()  # while it is filled, too: that is not timed, and nothing is to be collected
        print(json.dumps(asdict(measure(partial(KEYED[arguments.round], burst=BURST), arguments.asks))))
        return 0
    print(f"{arguments.asks * KEYS:,} keys, medians of {arguments.rounds} rounds")
    for contender in KEYED:
        if contender in NEEDS and find_spec(NEEDS[contender]) is None:
            print(f"{contender:20} not installed")
            continue
        rounds = [in_a_child(contender, arguments.asks) for _ in range(arguments.rounds)]
        weights = [each.bytes_per_key for each in rounds if each.bytes_per_key is not None]
        weight = f"{median(weights):6,.0f} bytes a key" if weights else "bytes not known"
        goal = f" (goal: at most {GOAL})" if contender == OURS else ""
        print(f"{contender:20} {weight}, {median(each.nanoseconds for each in rounds):8,.0f} ns an ask{goal}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
