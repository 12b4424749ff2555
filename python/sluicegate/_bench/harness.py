"""The clock, and the threads and the event loops that a contender runs in.

One rule: a contender is only a set of callables (a `Face`). The loops (in `loops`), the local names, the state of the
garbage collector and the clock are the same for all contenders, and nothing is subtracted from the measured time.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from textwrap import indent
from types import TracebackType
from typing import Any, TypeAlias, final

from .model import Sample

LIMIT = 120.0
"""Seconds after which a round counts as hung."""

ITEM = object()
"""The item that is put, unless the work needs another one."""


class BenchError(Exception):
    """A contender hung, lost an item, or raised an exception."""


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Face:
    """The two operations of a contender's object. `holds` is the number of items that it should hold at the end.

    `item` is the item that is put; `items` is the object that `async for` iterates over.
    """

    put: Callable[..., Any]
    get: Callable[..., Any]
    size: Callable[[], int]
    close: Callable[[], None] = nothing
    item: Any = ITEM
    items: Any = None
    holds: int = 0


Make: TypeAlias = Callable[[], Face]


REFUSED = """
try:
    {call}
except error:
    pass
else:
    raise BenchError("it was not refused")
"""
"""A statement that fails, with an exception that is raised and caught."""


def loop_of(statement: str, *names: str) -> Callable[..., Any]:
    """Compile a loop around a statement, as timeit does: nothing else is measured, and its names are local.

    The function takes the number of iterations and the values of the names. It is a coroutine function if the statement awaits.
    """
    return code_of(f"for _ in repeat(None, n):\n{indent(statement, ' ' * 4)}", *names)


def code_of(block: str, *names: str) -> Callable[..., Any]:
    """Compile a function of `n` and these names.

    Each contender has functions of its own, as each program has: the interpreter adapts the code of a function to what it calls, and code
    that called one contender after the other would be adapted to none.
    """
    head = "async def" if "await " in block or "async " in block else "def"
    source = f"{head} work(n, {', '.join(names)}):\n{indent(block, ' ' * 4)}\n"
    scope: dict[str, Any] = {"repeat": repeat, "wait_for": asyncio.wait_for, "BenchError": BenchError}
    exec(source, scope)  # noqa: S102 - the blocks are our own
    return scope["work"]


@final
class Stopwatch:
    """Measures time, processor time and context switches of a block, with the garbage collector off.

    A context manager; it can be driven by hand, too.
    """

    def __init__(self) -> None:
        self._gc_was_enabled = False
        self._seconds = self._cpu_seconds = 0.0
        self._before: tuple[int, int] | None = None
        self._after: tuple[int, int] | None = None

    def __enter__(self) -> Stopwatch:
        """Prepare, and start."""
        self.prepare()
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        """Stop."""
        self.stop()

    def prepare(self) -> None:
        """Collect garbage, and switch the garbage collector off."""
        self._gc_was_enabled = gc.isenabled()
        gc.collect()
        gc.disable()

    def start(self) -> None:
        """Read the clock."""
        self._before = context_switches()
        self._cpu_seconds = -time.process_time()
        self._seconds = -time.perf_counter()

    def stop(self) -> None:
        """Read the clock again, and restore the garbage collector's state."""
        self._seconds += time.perf_counter()
        self._cpu_seconds += time.process_time()
        self._after = context_switches()
        if self._gc_was_enabled:
            gc.enable()

    def sample(self, items: int) -> Sample:
        """Return the measurements."""
        if self._before is None or self._after is None:
            return Sample(self._seconds, items, None, None, self._cpu_seconds)
        voluntary, involuntary = (after - before for before, after in zip(self._before, self._after, strict=True))
        return Sample(self._seconds, items, voluntary, involuntary, self._cpu_seconds)


def context_switches(*, this_thread: bool = False) -> tuple[int, int] | None:
    """Return the voluntary and involuntary context switches so far, of the process or of one thread, if they are counted."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    who = getattr(resource, "RUSAGE_THREAD", None) if this_thread else resource.RUSAGE_SELF
    if who is None:  # only Linux counts context switches by thread
        return None
    usage = resource.getrusage(who)
    return usage.ru_nvcsw, usage.ru_nivcsw


def finish(face: Face) -> None:
    """Check that every item that was put has been got, and drop the object."""
    left = face.size() - face.holds
    face.close()
    if left:
        raise BenchError(f"{left} items left over")


def run_threads(jobs: Sequence[Callable[[], None]], items: int) -> Sample:
    """Start the jobs together, each in its own thread, and time them until the last has ended.

    Their context switches do not include those of starting and joining, if the system counts them by thread.
    """
    watch = Stopwatch()
    errors: list[BaseException] = []
    switches: list[tuple[int, int]] = []
    barrier = threading.Barrier(len(jobs), action=watch.start)

    def body(job: Callable[[], None]) -> None:
        try:
            barrier.wait(LIMIT)
            before = context_switches(this_thread=True)
            job()
            after = context_switches(this_thread=True)
            if before is not None and after is not None:
                switches.append((after[0] - before[0], after[1] - before[1]))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that joins
            errors.append(error)

    crew = [threading.Thread(target=body, args=(job,), daemon=True) for job in jobs]
    watch.prepare()
    for thread in crew:
        thread.start()
    deadline = time.monotonic() + LIMIT
    for thread in crew:
        thread.join(max(0.0, deadline - time.monotonic()))
    watch.stop()
    if errors:
        raise BenchError("a thread failed") from errors[0]
    if any(thread.is_alive() for thread in crew):
        raise BenchError(f"threads still running after {LIMIT:g} s")
    sample = watch.sample(items)
    if switches:
        voluntary, involuntary = (sum(counts) for counts in zip(*switches, strict=True))
        sample = replace(sample, voluntary=voluntary, involuntary=involuntary)
    return sample


async def beside_a_thread(job: Callable[[], None], task: Callable[[], Awaitable[None]], face: Face, items: int) -> Sample:
    """Time a task on this event loop and a job in a thread, from their start until both have ended."""
    errors: list[BaseException] = []

    def body() -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that joins
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    with Stopwatch() as watch:
        thread.start()
        await task()
        thread.join(LIMIT)
    if errors:
        raise BenchError("the thread failed") from errors[0]
    if thread.is_alive():
        raise BenchError(f"the thread still runs after {LIMIT:g} s")
    finish(face)
    return watch.sample(items)


def run_loop(work: Coroutine[Any, Any, Sample]) -> Sample:
    """Run a coroutine on a new asyncio event loop."""

    async def bounded() -> Sample:
        try:
            return await asyncio.wait_for(work, LIMIT)
        except asyncio.TimeoutError:  # not the built-in class before 3.11
            raise BenchError(f"the loop still runs after {LIMIT:g} s") from None

    return asyncio.run(bounded())
