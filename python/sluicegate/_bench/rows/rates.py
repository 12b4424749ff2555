"""The rows about rate limits: ours, the bucket people write by hand, and four packages. How each is set up: `limiters`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sluicegate._bench import gates, limiters
from sluicegate._bench.gates import Gate
from sluicegate._bench.keyed import HANDWRITTEN, KEYS, LIMITS, PYRATE, THROTTLED, in_a_child
from sluicegate._bench.limiters import AMPLE, emptied
from sluicegate._bench.model import OURS, Contender, Faster, KeyBytes, Row, Run, with_gil, without_gil

AIOLIMITER = "aiolimiter"
EMPTY = "empty coroutine"
CREW = 4

# The package without which a contender cannot work, by the name it is imported by.
NEEDS = {PYRATE: "pyrate_limiter", LIMITS: "limits", THROTTLED: "throttled"}

SYNC: dict[str, Callable[[int], Gate]] = {
    OURS: limiters.ours,
    HANDWRITTEN: limiters.handwritten,
    PYRATE: limiters.pyrate,
    LIMITS: limiters.limits_window,
    THROTTLED: limiters.throttled_window,
}


def make(limiter: Callable[[int], Gate], *, admits: bool) -> Gate:
    """A limiter that always has one more, or one that never has."""
    return limiter(AMPLE) if admits else emptied(limiter(1))


def contenders(work: Callable[..., Run], *, admits: bool) -> tuple[Contender, ...]:
    """All that threads can use."""
    return tuple(
        Contender(name, work(partial(make, limiter, admits=admits), admits=admits), NEEDS.get(name)) for name, limiter in SYNC.items()
    )


def four_threads(make: gates.MakeGate, *, admits: bool) -> Run:
    """Four threads ask the same limiter."""
    return gates.threads(make, CREW, admits=admits)


FASTER_THAN_BY_HAND = (Faster(HANDWRITTEN, 12, (with_gil,)), Faster(HANDWRITTEN, 8, (without_gil,)))
FASTER_THAN_PACKAGES = (Faster(PYRATE, 120), Faster(LIMITS, 50))

ROWS = (
    Row(
        "try-acquire",
        "try_acquire, admitted, one thread",
        contenders(gates.one_thread, admits=True),
        goals=FASTER_THAN_BY_HAND + FASTER_THAN_PACKAGES,
        least=1_000,
    ),
    Row(
        "try-acquire-denied",
        "try_acquire, denied, one thread",
        contenders(gates.one_thread, admits=False),
        goals=FASTER_THAN_BY_HAND + FASTER_THAN_PACKAGES,
        least=1_000,
    ),
    Row(
        "try-acquire-threads",
        f"try_acquire, admitted, {CREW} threads on one limiter",
        contenders(four_threads, admits=True),
        goals=FASTER_THAN_BY_HAND,
        step=CREW,
        least=20_000,
        contended=True,
    ),
    Row(
        "try-acquire-denied-threads",
        f"try_acquire, denied, {CREW} threads on one limiter",
        contenders(four_threads, admits=False),
        goals=FASTER_THAN_BY_HAND,
        step=CREW,
        least=20_000,
        contended=True,
    ),
    Row(
        "acquire-async",
        "await acquire_async, nobody waits, one loop",
        (
            Contender(OURS, gates.one_loop(limiters.ours_async)),
            Contender(EMPTY, gates.one_loop(limiters.empty_coroutine)),
            Contender(AIOLIMITER, gates.one_loop(limiters.aiolimiter_bucket), "aiolimiter"),
            Contender(PYRATE, gates.one_loop(limiters.pyrate_async), NEEDS[PYRATE]),
            Contender(THROTTLED, gates.one_loop(limiters.throttled_async), NEEDS[THROTTLED]),
        ),
        least=1_000,
    ),
    Row(
        "keyed",
        "try_acquire by key, one thread, over a million keys (--quick: 100,000)",
        tuple(Contender(name, in_a_child(name), NEEDS.get(name)) for name in (OURS, HANDWRITTEN, PYRATE, LIMITS, THROTTLED)),
        goals=(KeyBytes(100),),
        least=1_000_000 // KEYS,
        fixed=True,
        rounds=3,
    ),
)
