"""The rows about rate limits: ours, the bucket people write by hand, and four packages. How each is set up: `peers.limiters`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..loops import limiters as loops
from ..loops.limiters import Ask, LimiterFace, MakeLimiter
from ..model import OURS, Contender, Row, Run
from ..peers import limiters
from ..peers.limiters import AIOLIMITER, AMPLE, KEYED, NEEDS, PYRATE, SYNC, THROTTLED, emptied

EMPTY = "empty coroutine"
CREW = 4
KEYS = 10_000
A_KEYS_DAY = 10_000
"""More than a round takes of a key. One token is refilled in nine seconds, so no bucket becomes full and is forgotten meanwhile."""


def make(limiter: Callable[[int], LimiterFace], *, admits: bool) -> LimiterFace:
    """A limiter that always has one more, or one that never has."""
    return limiter(AMPLE) if admits else emptied(limiter(1))


def contenders(work: Callable[..., Run], *, admits: bool) -> tuple[Contender, ...]:
    """All that threads can use."""
    return tuple(
        Contender(name, work(partial(make, limiter, admits=admits), admits=admits), NEEDS.get(name)) for name, limiter in SYNC.items()
    )


def ample(limiter: Callable[[int, int], Ask]) -> Callable[[int], Ask]:
    """A limiter with keys, each of which has enough tokens for a round."""
    return lambda keys: limiter(keys, A_KEYS_DAY)


def four_threads(make: MakeLimiter, *, admits: bool) -> Run:
    """Four threads ask the same limiter."""
    return loops.threads(make, CREW, admits=admits)


ROWS = (
    Row(
        "try-acquire",
        "try_acquire, admitted, one thread",
        contenders(loops.one_thread, admits=True),
        least=1_000,
        gain="A token bucket gave {rate} answers a second",
    ),
    Row(
        "try-acquire-denied",
        "try_acquire, denied, one thread",
        contenders(loops.one_thread, admits=False),
        least=1_000,
    ),
    Row(
        "try-acquire-threads",
        f"try_acquire, admitted, {CREW} threads on one limiter",
        contenders(four_threads, admits=True),
        step=CREW,
        least=20_000,
        contended=True,
        gain="Asked by 4 threads, a token bucket gave {rate} answers a second",
    ),
    Row(
        "try-acquire-denied-threads",
        f"try_acquire, denied, {CREW} threads on one limiter",
        contenders(four_threads, admits=False),
        step=CREW,
        least=20_000,
        contended=True,
    ),
    Row(
        "acquire-async",
        "await acquire_async, nobody waits, one loop",
        (
            Contender(OURS, loops.one_loop(limiters.ours_async)),
            Contender(EMPTY, loops.one_loop(limiters.empty_coroutine), peer=False),
            Contender(AIOLIMITER, loops.one_loop(limiters.aiolimiter_bucket), NEEDS[AIOLIMITER]),
            Contender(PYRATE, loops.one_loop(limiters.pyrate_async), NEEDS[PYRATE]),
            Contender(THROTTLED, loops.one_loop(limiters.throttled_async), NEEDS[THROTTLED]),
        ),
        least=1_000,
    ),
    Row(
        "keyed",
        f"try_acquire by key, admitted, one thread, {KEYS:,} keys",
        tuple(Contender(name, loops.by_key(ample(limiter), KEYS), NEEDS.get(name)) for name, limiter in KEYED.items()),
        least=1_000,
        gain="A limiter of 10,000 keys gave {rate} answers a second",
    ),
)
