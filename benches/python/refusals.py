#!/usr/bin/env python3
"""What each kind of refusal costs, in units of what `_queue.SimpleQueue` takes for its own `Empty` in the same run.

    refusals.py [--strict] [--busy] [REGEX ...]

A call that is given a `timeout` is compared with `SimpleQueue.get(timeout=0)`, any other with `SimpleQueue.get_nowait()`. The two are
measured in turn, and the median of the ratios is shown, the largest first. (With `--busy`, for a machine on which other programs run, it is
the ratio of the least times of both, in CPU time of the thread.) The goal is 1.5; the calls in `BEYOND` have a reason to take longer, which
is shown where they do. With `--strict` the exit status is the number of the other calls that miss the goal.

The last line but one shows what C takes for as much as the refusal of a permit is: to make, enter and drop an object, and to refuse a call.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from _thread import allocate_lock
from pathlib import Path
from queue import Empty as StdlibEmpty
from queue import SimpleQueue as CSimpleQueue
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/python"))

from test_refusals import OBJECTS, REFUSED

GOAL = 1.5
CALLS, ROUNDS = 2_000, 15

#: Calls that do more than to be refused, by a part of their names.
BEYOND = {
    "hooks": "asks `_qsize`, which a subclass may define, and takes and gives back the baton",
    "weight": "calls the program's `weigh`",
    "merging, put": "calls the program's `key`, and hashes what it returns",
    "permit": "makes an object, and enters it: two calls, see the last line but one",
}

LOOP = """
def loop(clock):
    begin = clock()
    for _ in range({calls}):
        try:
            {call}
        except {error}:
            pass
    return clock() - begin
"""


def loop(call: str, error: str, names: dict[str, Any]) -> Any:
    """A function that makes the call again and again, and returns the seconds."""
    made = dict(names)
    exec(LOOP.format(calls=CALLS, call=call, error=error), made)
    return made["loop"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure what refusals cost, in units of what C's SimpleQueue takes for its own.")
    parser.add_argument("patterns", nargs="*", metavar="REGEX", help="the kinds of refusals, by name")
    parser.add_argument("--strict", action="store_true", help="exit with the number of goals that are missed")
    parser.add_argument("--busy", action="store_true", help="other programs run: compare the least times of this thread")
    arguments = parser.parse_args(argv)
    names: dict[str, Any] = {}
    exec(OBJECTS, names)
    patterns = arguments.patterns or [""]
    wanted = {name: call for name, call in REFUSED.items() if any(re.search(pattern, name) for pattern in patterns)}
    stdlib = {"simple": CSimpleQueue(), "Empty": StdlibEmpty}
    references = {waits: loop(f"simple.{'get(timeout=0)' if waits else 'get_nowait()'}", "Empty", stdlib) for waits in (False, True)}
    loops = {name: loop(call, "Exception", names) for name, call in wanted.items()}
    entered = loop("lock().__enter__(); simple.get(timeout=0)", "Empty", {**stdlib, "lock": allocate_lock})
    clock = time.thread_time if arguments.busy else time.perf_counter
    timed = {name: any(word in call for word in ("timeout", "max_wait")) for name, call in wanted.items()}
    taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in loops}
    of_two: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS * (4 if arguments.busy else 1)):
        of_two[0].append(entered(clock))
        of_two[1].append(references[True](clock))
        for name, one in loops.items():
            taken[name][1].append(references[timed[name]](clock))
            taken[name][0].append(one(clock))

    def ratio(ours: list[float], theirs: list[float]) -> float:
        if arguments.busy:
            return min(ours) / min(theirs)
        return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))

    names["call"].ignore()  # a permit that is held
    ratios = {name: ratio(*found) for name, found in taken.items()}
    missed = 0
    for name, found in sorted(ratios.items(), key=lambda item: -item[1]):
        reason = next((reason for part, reason in BEYOND.items() if part in name), "")
        missed += found > GOAL and not reason
        verdict = "" if found <= GOAL else f"  {reason or 'NOT MET'}"
        print(f"refused: {wanted[name]:60} <= {GOAL} of the time of C's: {found:.2f}{verdict}")
    print(f"C's lock made and entered, and SimpleQueue.get(timeout=0): {ratio(*of_two):.2f}")
    within = sum(found <= GOAL for found in ratios.values())
    print(f"{within} of {len(ratios)} kinds of refusals within {GOAL}, {missed} beyond it without a reason")
    return min(missed, 100) if arguments.strict else 0


if __name__ == "__main__":
    sys.exit(main())
