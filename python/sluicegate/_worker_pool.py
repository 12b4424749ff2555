"""The threads of an executor, the queue of its jobs, and the places in the queue.

A job holds a permit of the semaphore `places` from `submit` until it has run or been cancelled. There are `max_pending` permits more than
workers. So the bound counts waiting and running jobs, a cancelled job gives its place back at once, and threads and tasks alike wait for a
place in the wait queue of the semaphore. The jobs themselves are in a queue without a bound; or in a queue that the user passed, which has
a bound of its own, so that `places` only counts.

A worker takes one job at a time. Taking several would save the 50 ns of a `get`, but would let jobs wait behind a slow one.

A worker refers to its pool, not to the executor. So the executor can be collected while jobs run, which shuts the queue down.
"""

from __future__ import annotations

import functools
import os
import threading
import time
import weakref
from concurrent.futures._base import LOGGER
from concurrent.futures.thread import BrokenThreadPool

from sluicegate._core import Queue, Semaphore
from sluicegate._exceptions import Empty, Overloaded, ShutDown
from sluicegate._running import CLOCK, PLENTY, Lock, Start, call_at_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeAlias

    from sluicegate._futures import JobFuture

    Overflow: TypeAlias = Literal["block", "reject", "caller_runs"]

__all__ = ["WorkerPool"]

#: What `warn_blocking` names if one of these blocks an event loop.
AWAITABLE = {"admit": ("submit", "submit_async"), "join": ("shutdown", "async with BoundedExecutor")}

#: What `map` passes to a semaphore.
_ONE: Any = (1,)
_NOTHING: Any = (None,)

#: How many jobs run inside one another in a thread, each submitted by the one around it to a full executor. More would end in a
#: RecursionError at an arbitrary line: at this depth each of them may have 15 frames of its own.
_DEEPEST = 50


class _Depth(threading.local):
    """How many jobs run inside one another in this thread, those of all executors together."""

    value = 0


_depth = _Depth()


class WorkerPool:
    """The state that the executor and its workers share."""

    def __init__(
        self,
        workers: int,
        max_pending: int | None,
        overflow: Overflow,
        queue: Any,
        prefix: str,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        name: str | None,
    ) -> None:
        self.workers = workers
        self.max_pending = max_pending
        self.overflow = overflow
        self.prefix = prefix
        self.initializer = initializer
        self.initargs = initargs
        self.name = name
        self.given = queue
        self.start_over()
        _pools.add(self)

    def start_over(self) -> None:
        """Set everything up: at the beginning, and in the child of a fork, which has none of its parent's threads and jobs."""
        self.lock = Lock()  # reentrant, because a signal handler may submit too
        self.is_starting = False
        self.threads: set[threading.Thread] = set()
        self.idents: set[int] = set()
        self.growing = True
        self.closed = False
        self.broken: str | None = None
        self.queue: Any = Queue(clock=CLOCK) if self.given is None else self.given
        self.places = Semaphore(PLENTY if self.max_pending is None else self.max_pending + self.workers, clock=CLOCK)
        self.try_place = self.places.try_acquire
        #: What a job calls when it is cancelled.
        self.on_cancel = functools.partial(_cancelled, weakref.ref(self), self.places)
        #: An item for each live thread, so that `join` waits for them.
        self.alive: Queue[None] = Queue(clock=CLOCK)
        self.cancelled = self.withdrawn = self.stale = self.refused = self.caller_ran = self.dropped = 0
        self.measured = (time.monotonic(), 0)

    # --- the queue --------------------------------------------------------------------------------------------------

    def is_own_thread(self) -> bool:
        """Return whether this thread is a worker. A worker never waits for a place, because it might wait for itself."""
        return threading.get_ident() in self.idents

    def submit(self, job: JobFuture) -> JobFuture:
        """Get a place for the job and put it into the queue, or let the caller run it. Raises RuntimeError if the executor is shut down."""
        held = False
        try:
            [held] = map(self.try_place, _ONE)  # notes it without a step in Python, where a signal handler could raise
            if not held:
                held = self.admit(job)
            if held:
                if self.growing:
                    self.grow()
                self.queue.put(job)
            return job
        except BaseException as error:  # noqa: BLE001 - raised again
            return self.not_put(job, held, error)

    async def submit_async(self, job: JobFuture) -> JobFuture:
        """As `submit`, from a coroutine. A queue without a bound never waits."""
        held = False
        try:
            [held] = map(self.try_place, _ONE)
            if not held:
                held = await self.admit_async(job)
            if held:
                if self.growing:
                    self.grow()
                self.queue.put(job)
            return job
        except BaseException as error:  # noqa: BLE001 - raised again
            return self.not_put(job, held, error)

    def admit(self, job: JobFuture) -> bool:
        """Get a place for the job when none was free. Return False if the job has been run in the caller instead."""
        if self.overflow == "reject":
            raise self.overloaded()
        if self.overflow == "caller_runs" or self.is_own_thread():
            self.run_here(job)
            return False
        return [*map(self.places.acquire, _ONE)][0]  # noqa: RUF015 - `next` would let a signal handler raise between it and the return

    async def admit_async(self, job: JobFuture) -> bool:
        """As `admit`, from a coroutine. With `caller_runs` it waits instead, because the loop's thread must not run jobs."""
        if self.overflow == "reject":
            raise self.overloaded()
        if self.is_own_thread():
            self.run_here(job)
            return False
        return await self.places.acquire_async()

    def not_put(self, job: JobFuture, held: bool, error: BaseException) -> JobFuture:
        """Give back the place of a job that has none in the queue, or was interrupted there, and raise the reason.

        Whoever claims the job gives back its place. If that is a worker already, the job runs.
        """
        if held and job._claim() is not None:
            self.withdraw()
        if isinstance(error, ShutDown):
            raise self.refusal() from None
        raise error

    def run_here(self, job: JobFuture) -> None:
        """Run a job in the caller's thread. Raises Overloaded if too many jobs run inside one another there."""
        if self.closed:
            job._claim()
            raise self.refusal()
        if _depth.value >= _DEEPEST:
            job._claim()
            raise self.too_deep() from None
        depth = _depth.value
        try:
            _depth.value = depth + 1
            job._run(_nothing)
        finally:
            _depth.value = depth
        with self.lock:
            self.caller_ran += 1
        error = job._exception
        if isinstance(error, KeyboardInterrupt):  # it was meant for the caller
            raise error

    def withdraw(self) -> None:
        """Give back the place of a job that is not put into the queue after all."""
        self.places.release()
        with self.lock:
            self.withdrawn += 1

    def refusal(self) -> RuntimeError:
        """Return the exception for a job that comes after the shutdown."""
        if self.broken is not None:
            return BrokenThreadPool(self.broken)
        return RuntimeError(f"cannot schedule new futures after {'interpreter ' if _exiting else ''}shutdown")

    def overloaded(self) -> Overloaded:
        """Return the exception for a refused job. Its hint is the time that one job has recently taken."""
        with self.lock:
            self.refused += 1
            now, completed = time.monotonic(), self.completed()
            since, before = self.measured
            if now - since > 1.0:
                self.measured = (now, completed)
        each = (now - since) / (completed - before) if completed > before else 1.0
        text = f"submit to the executor{{0}}: {self.max_pending} jobs are pending beside {self.workers} that run; retry after {{1:.3g}} s"
        return Overloaded(text, self.name, min(max(each, 0.001), 60.0), "full")

    def too_deep(self) -> Overloaded:
        """Return the exception for a job that would run inside too many others."""
        with self.lock:
            self.refused += 1
        text = (
            "submit to the executor{0}: it is full, and {3} jobs already run inside one another in this thread, each submitted by the one"
            " around it; give the executor more room, or let a job return what is to be done next; retry after {1:.3g} s"
        )
        return Overloaded(text, self.name, 1.0, "full", _DEEPEST)

    def cancel(self, places: Semaphore, job: JobFuture) -> None:
        """Give back the place of a cancelled job. Cancelled jobs are removed from the queue when they make up half of it."""
        if places is not self.places:
            return  # this is the child of a fork, and the job belongs to the parent
        places.release()
        with self.lock:
            self.cancelled += 1
            self.stale += 1
            is_time = self.stale > 32 and 2 * self.stale > self.queue.qsize()
        if is_time:
            seen = self.queue._snapshot()
            live = [job for job in seen if not job.cancelled()]
            if self.queue._replace(seen, live):  # otherwise the queue has changed meanwhile, and the next cancellation tries again
                with self.lock:
                    self.stale = max(0, self.stale - (len(seen) - len(live)))

    def drain(self, end: Callable[[JobFuture], object]) -> None:
        """Take all jobs out of the queue, and end them."""
        while True:
            try:
                jobs = self.queue.get_many(1000, block=False)
            except (Empty, ShutDown):
                return
            for job in jobs:
                end(job)

    # --- the workers ------------------------------------------------------------------------------------------------

    def grow(self) -> None:
        """Start a worker if there are fewer workers than jobs."""
        if self.places.size - self.places.value <= len(self.threads):
            return
        with self.lock:
            if self.is_starting:  # this is a signal handler that has interrupted this method
                return
            try:
                self.is_starting = True  # before the workers are counted: a signal handler may start one until then
                self._start_worker()
            finally:
                self.is_starting = False
            self.growing = not self.closed and len(self.threads) < self.workers

    def _start_worker(self) -> None:
        """Start a worker, unless there are enough."""
        if self.closed or len(self.threads) >= self.workers:
            return
        if _exiting:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        start, name = Start(), f"{self.prefix}_{len(self.threads)}"
        thread = threading.Thread(target=start.run, args=(_work, self), name=name, daemon=not _joined_at_exit)
        counted: list[None] = []
        try:
            counted.extend(map(self.alive.put, _NOTHING))  # in one call into C, so that no signal handler comes between the two
            thread.start()
            self.threads.add(thread)
        except BaseException as error:
            if not start.give_up():  # a signal handler has raised, but the thread has been started
                self.threads.add(thread)
                raise
            if counted:
                self.alive.get_nowait()
                self.alive.task_done()
            if not self.threads or not isinstance(error, RuntimeError):
                raise
            # The existing workers have to be enough.

    def begin(self) -> bool:
        """Run the initializer in a new worker. Return False if it failed."""
        self.idents.add(threading.get_ident())
        if self.initializer is None:
            return True
        try:
            self.initializer(*self.initargs)
        except BaseException:  # noqa: BLE001 - as ThreadPoolExecutor
            LOGGER.critical("Exception in initializer:", exc_info=True)
            self.break_("A thread initializer failed, the thread pool is not usable anymore")
            return False
        return True

    def break_(self, why: str) -> None:
        """Fail all jobs, and refuse further ones."""
        self.broken = why
        self.close()
        self.drain(self.fail)

    def fail(self, job: JobFuture) -> None:
        """Fail a job that will not run."""
        if job._claim() is not None:
            self.places.release()
            with self.lock:
                self.dropped += 1
            job._settle((None, BrokenThreadPool(self.broken)))

    def close(self) -> None:
        """Accept no more jobs. Workers end when there are no jobs left."""
        with self.lock:
            self.closed = True
            self.growing = False
        self.queue.shutdown()
        self.places.resize(PLENTY)  # callers that wait for a place find the queue shut down

    def abandon(self) -> None:
        """As `close`, after the executor has been collected. Takes no lock, because that can happen at any point of the program."""
        self.closed = True
        self.growing = False
        self.queue.shutdown()
        self.places.resize(PLENTY)

    def join(self) -> None:
        """Wait until the workers have ended. A worker does not wait for itself."""
        if threading.get_ident() in self.idents:
            return
        self.alive.join()
        for thread in list(self.threads):
            thread.join()

    # --- statistics -------------------------------------------------------------------------------------------------

    def completed(self) -> int:
        """Return the number of jobs that have run."""
        now = self.places.statistics()
        return max(0, now.acquired - now.held - self.withdrawn - self.cancelled - self.dropped) + self.caller_ran

    def pending(self) -> int:
        """Return the number of pending jobs."""
        return max(0, self.queue.qsize() - self.stale)

    def bound(self) -> object:
        """Return the largest number of pending jobs, for `repr`."""
        return self.max_pending

    def statistics(self, make: Callable[..., Any]) -> Any:
        """Make a snapshot."""
        with self.lock:
            now = self.places.statistics()
            pending = min(self.pending(), now.held)
            return make(
                name=self.name,
                max_workers=self.workers,
                workers=len(self.idents),
                max_pending=self.max_pending,
                pending=pending,
                running=min(now.held - pending, len(self.idents)),
                submitted=now.acquired - self.withdrawn + self.caller_ran,
                completed=self.completed(),
                cancelled=self.cancelled,
                refused=self.refused,
                dropped=self.dropped,
                caller_ran=self.caller_ran,
                waiters=now.waiters,
                waited_seconds=now.waited_seconds,
                is_shutdown=self.closed,
            )


def _cancelled(pool: weakref.ref[WorkerPool], places: Semaphore, job: JobFuture) -> None:
    """Called by the future of a cancelled job, which does not keep its pool alive."""
    if (alive := pool()) is not None:
        alive.cancel(places, job)


def _nothing() -> None:
    pass


def _work(pool: WorkerPool) -> None:
    """The main function of a worker's thread."""
    get, finished, leave = pool.queue.get, pool.places.release, pool.alive.task_done
    try:
        is_working = pool.begin()
        while is_working:
            try:
                while True:
                    get()._run(finished)
            except ShutDown:
                is_working = False
            except BaseException:  # noqa: BLE001 - a callback's of a future, say: the worker goes on
                LOGGER.critical("Exception in worker", exc_info=True)
    finally:
        pool.idents.discard(threading.get_ident())
        leave()


# --- exit and fork ----------------------------------------------------------------------------------------------

_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()
_exiting = False


def _at_exit() -> None:
    """Let all jobs finish at exit, as concurrent.futures does."""
    global _exiting
    _exiting = True
    pools = list(_pools)
    for pool in pools:
        pool.close()
    for pool in pools:
        pool.join()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        before, was_closed = pool.queue, pool.closed
        pool.start_over()
        if was_closed:
            pool.close()
        if before is not pool.queue:
            before.shutdown(immediate=True)  # if a worker has forked, it must not continue as a worker in the child


_joined_at_exit = call_at_exit(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
