"""The rows about timeouts that are not needed: what it costs to name one."""

from __future__ import annotations

import asyncio
import queue
from functools import partial

from ..harness import Make
from ..loops import limiters as limiter_loops
from ..loops import queues as loops
from ..model import OURS, Contender, Row
from ..peers import limiters
from ..peers.queues import ASYNCIO, BOUND, SIMPLE, STDLIB, culsans_queue, janus_queue, ours, ours_async, stdlib, sync

WITHOUT = "sluicegate without"
IN_WAIT_FOR = "asyncio.Queue, wait_for"

asyncio_queue: Make = sync(partial(asyncio.Queue, BOUND))

ROWS = (
    Row(
        "put-get-timeout",
        f"put(timeout=1) + get(timeout=1), no need to wait, one thread, maxsize {BOUND}",
        (
            Contender(OURS, loops.put_get_with_timeout(ours())),
            Contender(WITHOUT, loops.put_get(ours()), peer=False),
            Contender(STDLIB, loops.put_get_with_timeout(stdlib())),
            Contender(SIMPLE, loops.put_get_with_timeout(sync(queue.SimpleQueue))),
            Contender("janus", loops.put_get_with_timeout(janus_queue("sync_q.put", "sync_q.get")), "janus"),
            Contender("culsans", loops.put_get_with_timeout(culsans_queue("sync_put", "sync_get")), "culsans"),
        ),
        least=1_000,
    ),
    Row(
        "async-timeout",
        f"await put(timeout=1) + await get(timeout=1), no need to wait, one loop, maxsize {BOUND}",
        (
            Contender(OURS, loops.on_one_loop_with_timeout(ours_async)),
            Contender(WITHOUT, loops.on_one_loop(ours_async), peer=False),
            Contender(IN_WAIT_FOR, loops.on_one_loop_in_wait_for(asyncio_queue)),
            Contender(f"{ASYNCIO} without", loops.on_one_loop(asyncio_queue), peer=False),
        ),
        least=1_000,
    ),
    Row(
        "acquire-timeout",
        "acquire(timeout=1), no need to wait, one thread",
        (
            Contender(OURS, limiter_loops.one_thread_with_timeout(limiters.ours_waiting)),
            Contender(WITHOUT, limiter_loops.one_thread(limiters.ours_waiting, admits=True), peer=False),
            Contender(
                limiters.THROTTLED,
                limiter_loops.one_thread_with_timeout(partial(limiters.throttled_window, limiters.AMPLE)),
                limiters.NEEDS[limiters.THROTTLED],
            ),
        ),
        least=1_000,
    ),
    Row(
        "acquire-async-timeout",
        "await acquire_async(timeout=1), no need to wait, one loop",
        (
            Contender(OURS, limiter_loops.one_loop_with_timeout(limiters.ours_async)),
            Contender(WITHOUT, limiter_loops.one_loop(limiters.ours_async), peer=False),
            Contender(
                limiters.THROTTLED, limiter_loops.one_loop_with_timeout(limiters.throttled_async), limiters.NEEDS[limiters.THROTTLED]
            ),
        ),
        least=1_000,
    ),
)
