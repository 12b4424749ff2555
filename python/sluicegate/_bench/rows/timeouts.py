"""The rows about timeouts that are not needed: what it costs to name one."""

from __future__ import annotations

import queue
from functools import partial

from ..loops import limiters as limiter_loops
from ..loops.queues import AWAITED, AWAITED_IN_WAIT_FOR, AWAITED_WITH_TIMEOUT, WITH_TIMEOUT, turns
from ..model import OURS, Contender, Row
from ..peers.limiters import AMPLE, NEEDS, THROTTLED, ours_async, ours_waiting, throttled_async, throttled_window
from ..peers.queues import ASYNCIO, BOUND, SIMPLE, STDLIB, asyncios, culsans, janus, named, ours, stdlib

WITHOUT = "sluicegate without"

with_timeout = partial(turns, statement=WITH_TIMEOUT)
asking = partial(limiter_loops.one_thread, statement="ask(timeout=1.0)")
asking_async = partial(limiter_loops.one_loop, statement="await ask(timeout=1.0)")
ours_awaited = ours("put_async", "get_async")

ROWS = (
    Row(
        "put-get-timeout",
        f"put(timeout=1) + get(timeout=1), no need to wait, one thread, maxsize {BOUND}",
        (
            Contender(OURS, with_timeout(ours())),
            Contender(WITHOUT, turns(ours()), peer=False),
            Contender(STDLIB, with_timeout(stdlib())),
            Contender(SIMPLE, with_timeout(named(queue.SimpleQueue))),
            Contender("janus", with_timeout(janus("sync_q.put", "sync_q.get")), "janus"),
            Contender("culsans", with_timeout(culsans("sync_put", "sync_get")), "culsans"),
        ),
        least=1_000,
    ),
    Row(
        "async-timeout",
        f"await put(timeout=1) + await get(timeout=1), no need to wait, one loop, maxsize {BOUND}",
        (
            Contender(OURS, turns(ours_awaited, AWAITED_WITH_TIMEOUT)),
            Contender(WITHOUT, turns(ours_awaited, AWAITED), peer=False),
            Contender(f"{ASYNCIO}, wait_for", turns(asyncios(), AWAITED_IN_WAIT_FOR)),
            Contender(f"{ASYNCIO} without", turns(asyncios(), AWAITED), peer=False),
        ),
        least=1_000,
    ),
    Row(
        "acquire-timeout",
        "acquire(timeout=1), no need to wait, one thread",
        (
            Contender(OURS, asking(ours_waiting)),
            Contender(WITHOUT, limiter_loops.one_thread(ours_waiting), peer=False),
            Contender(THROTTLED, asking(partial(throttled_window, AMPLE)), NEEDS[THROTTLED]),
        ),
        least=1_000,
    ),
    Row(
        "acquire-async-timeout",
        "await acquire_async(timeout=1), no need to wait, one loop",
        (
            Contender(OURS, asking_async(ours_async)),
            Contender(WITHOUT, limiter_loops.one_loop(ours_async), peer=False),
            Contender(THROTTLED, asking_async(throttled_async), NEEDS[THROTTLED]),
        ),
        least=1_000,
    ),
)
