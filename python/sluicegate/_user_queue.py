"""An executor's pool with a queue that the user passed.

The queue must have `put`, `put_nowait`, `put_async`, `get`, `get_many(n, block=False)`, `qsize` and `shutdown`. A job's key, priority
and time to live are passed to `put` by name, if it accepts them. (If it does not accept a priority, the queued jobs are ordered by it.)
Optional attributes: `overflow` (unless it is "block", a full queue refuses a job that a worker submits, instead of the job running in
place), `maxsize` (for messages), and `remove`, of the queue or of its `queue`, which removes a cancelled job. The queue decides how many
jobs it holds, in which order, and what happens when it is full. A queue of sluicegate tells the pool of every `QueuedJob` that it drops.
For other queues: only the queue, and the worker that runs the job, refer to a `QueuedJob`, so the pool notices that it was dropped when it
is destroyed. (On the free-threaded build that is when the thread that submitted it runs next, and this thread may wait for the result.)
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
import weakref
from collections import deque

from sluicegate._core import CoalescingQueue, PriorityQueue, Queue, _duration
from sluicegate._exceptions import Full, Overloaded, ShutDown
from sluicegate._worker_pool import _ONE, WorkerPool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sluicegate._core import Semaphore
    from sluicegate._futures import JobFuture

__all__ = ["UserQueuePool", "check_options"]

#: What `warn_blocking` names if one of these blocks an event loop.
AWAITABLE = {"submit": ("submit", "submit_async")}

#: The number of jobs that `deque.remove` has removed, by what it returns.
_REMOVED: Any = {None: 1}

_NEEDED = ("put", "put_nowait", "put_async", "get", "get_many", "qsize", "shutdown")


class QueuedJob:
    """A job in the user's queue."""

    __slots__ = ("__weakref__", "expires", "job", "places", "pool", "rank")

    def __init__(self, pool: UserQueuePool, job: JobFuture, rank: tuple[Any, int], expires: float | None) -> None:
        self.pool = pool
        self.places = pool.places
        self.rank = rank
        self.expires = expires
        self.job = job  # the last one: see `__del__`

    def __lt__(self, other: QueuedJob) -> bool:
        return self.rank < other.rank

    def _run(self, finished: Callable[[], object]) -> None:
        if self.places is self.pool.places:  # in the child of a fork, the jobs belong to the parent
            if self.pool.lost:
                self.pool.fail_lost()
            self.job._run(finished)

    @property
    def future(self) -> JobFuture:
        """Return the future of the job, for an `on_drop` function of the queue."""
        return self.job

    def cancelled(self) -> bool:
        """Return whether the job was cancelled."""
        return self.job.cancelled()

    def cancel(self) -> bool:
        """Cancel the job."""
        return self.job.cancel()

    def __del__(self) -> None:
        job = getattr(self, "job", None)  # which is not there if a signal handler raised as it was made
        if job is not None and "_task" in vars(job) and not sys.is_finalizing():
            self.pool.dropped_by_queue(self)


class UserQueuePool(WorkerPool):
    """A pool with the user's queue. The semaphore `places` has as many permits as are requested: it only counts."""

    def __init__(self, workers: int, queue: Any, *rest: Any) -> None:
        missing = [name for name in _NEEDED if not callable(getattr(queue, name, None))]
        if missing:
            raise TypeError(f"'queue' must be a queue of sluicegate with a method {missing[0]}(), got {queue!r}")
        if isinstance(queue, CoalescingQueue):
            raise TypeError(f"'queue' must keep every job apart, and a CoalescingQueue merges what has the same key; got {queue!r}")
        self.numbers = itertools.count()
        super().__init__(workers, None, "block", queue, *rest)
        if isinstance(queue, Queue):
            self.given._listen(_dropped)

    def start_over(self) -> None:
        """As `WorkerPool.start_over`."""
        super().start_over()
        #: The jobs that the queue has dropped, until each has its outcome, and what was the future's task: see `fail_lost`.
        self.lost: deque[tuple[QueuedJob, list[Any]]] = deque()

    def submit(self, job: JobFuture, **options: Any) -> JobFuture:
        """Put a job into the queue, with the options that its `put` accepts."""
        held = False
        try:
            [held] = map(self.try_place, _ONE)
            queued_job = self.queued_job(job, options)
            if self.growing:
                self.grow()
            if self.is_own_thread():
                self.queue.put_nowait(queued_job, **options)
            else:
                self.queue.put(queued_job, **options)
            if self.lost:
                self.fail_lost()
            return job
        except BaseException as error:  # noqa: BLE001 - raised again, or dealt with
            return self.not_put(job, held, error)

    async def submit_async(self, job: JobFuture, **options: Any) -> JobFuture:
        """As `submit`, from a coroutine."""
        held = False
        try:
            [held] = map(self.try_place, _ONE)
            queued_job = self.queued_job(job, options)
            if self.growing:
                self.grow()
            if self.is_own_thread():
                self.queue.put_nowait(queued_job, **options)
            else:
                await self.queue.put_async(queued_job, **options)
            if self.lost:
                self.fail_lost()
            return job
        except BaseException as error:  # noqa: BLE001 - raised again, or dealt with
            return self.not_put(job, held, error)

    def queued_job(self, job: JobFuture, options: dict[str, Any]) -> QueuedJob:
        """Return the object to put into the queue. If `put` does not accept a priority, the `QueuedJob` is ordered by it."""
        ttl = options.get("ttl")
        priority = options.pop("_priority", 0)
        queued_job = QueuedJob(self, job, (priority, next(self.numbers)), None if ttl is None else time.monotonic() + ttl)
        job._queued = weakref.ref(queued_job)  # type: ignore[attr-defined]
        return queued_job

    def not_put(self, job: JobFuture, held: bool, error: BaseException) -> JobFuture:
        """Handle a job that the queue has refused: run it here if a worker of this pool submitted it, otherwise raise the reason."""
        if isinstance(error, Full) and self.is_own_thread() and getattr(self.queue, "overflow", "block") == "block":
            self.withdraw()
            self.run_here(job)
            return job
        if isinstance(error, Full):
            with self.lock:
                self.refused += 1
            text = "submit to the executor{0}: its queue is full; retry after {1:.3g} s"
            refusal = Overloaded(text, self.name, 1.0, "full")
            refusal.__cause__ = error
            error = refusal
        try:
            return super().not_put(job, held, error)
        finally:
            if not isinstance(error, (Overloaded, ShutDown)):  # it was interrupted, perhaps after it was put
                self.take_out(job)
            self.fail_lost()
            self.fail_lost()

    def cancel(self, places: Semaphore, job: JobFuture) -> None:
        """Give back the place of a cancelled job. The place is in the user's queue, so the `QueuedJob` is removed from it."""
        if places is not self.places:
            return  # as in `WorkerPool.cancel`
        places.release()
        with self.lock:
            self.cancelled += 1
        self.take_out(job)

    def take_out(self, job: JobFuture) -> None:
        """Remove the `QueuedJob` of a job from the queue, if it is there."""
        reference = getattr(job, "_queued", None)
        queued_job = reference and reference()
        remove = getattr(self.queue, "remove", None) or getattr(getattr(self.queue, "queue", None), "remove", None)
        if queued_job is not None and remove is not None:
            with contextlib.suppress(ValueError):  # a worker has taken it, and will find the job cancelled
                remove(queued_job)

    def fail(self, job: Any) -> None:
        """Fail a job that will not run."""
        super().fail(job.job)

    def dropped_by_queue(self, queued_job: QueuedJob) -> None:
        """Handle a job that the queue has dropped before it ran."""
        if queued_job.places is self.places:  # in the child of a fork, the job belongs to the parent
            self.lost.append((queued_job, []))
            self.fail_lost()

    def fail_lost(self) -> None:
        """Fail the jobs that the queue has dropped.

        A signal handler that raises can end this at any point, so a job stays in `lost` until it has its outcome, and whoever comes next
        continues: callers that submit, workers, and `shutdown`. Two of them may fail the same job, which has an effect once. The one that
        removes it gives back its place.
        """
        lost = self.lost
        while lost:
            try:
                entry = lost[0]
            except IndexError:  # another thread was faster
                return
            queued_job, tasks = entry
            with self.lock:
                if not tasks:  # takes the task, or None, and keeps it in the same step
                    tasks += map(vars(queued_job.job).pop, ("_task",), (None,))
            is_ours = tasks[0] is not None
            if is_ours:
                is_late = queued_job.expires is not None and time.monotonic() >= queued_job.expires
                why, reason = ("it has waited too long", "expired") if is_late else ("its queue has dropped it", "shed")
                text = f"a job of the executor{{0}} was not run: {why}; retry after {{1:.3g}} s"
                queued_job.job._settle((None, Overloaded(text, self.name, 1.0, reason)))
            with contextlib.suppress(ValueError):  # another thread was faster
                if is_ours:
                    self.places.release(*map(_REMOVED.get, map(lost.remove, (entry,))))  # no signal handler runs in between
                    with self.lock:
                        self.dropped += 1
                else:
                    lost.remove(entry)

    def join(self) -> None:
        """As `WorkerPool.join`."""
        super().join()
        self.fail_lost()

    def bound(self) -> object:
        """Return the queue's bound, for `repr`."""
        return getattr(self.queue, "maxsize", None) or "any number"


def _dropped(item: object) -> None:
    """Called by a queue with each item that it drops."""
    if isinstance(item, QueuedJob):
        item.pool.dropped_by_queue(item)


def check_options(pool: WorkerPool, key: Any, priority: Any, ttl: Any) -> dict[str, Any]:
    """Return the keyword arguments for `put`, with a time to live in seconds. Raises TypeError for others."""
    import inspect

    given = {"key": key, "priority": None if priority == 0 else priority, "ttl": ttl}
    options = {name: value for name, value in given.items() if value is not None}
    if not options:
        return {}
    taken = inspect.signature(pool.queue.put).parameters if isinstance(pool, UserQueuePool) else {}
    for name in list(options):
        if name in taken:
            if name == "ttl":
                options[name] = _duration(name, ttl)
            continue
        if name == "priority" and isinstance(pool.queue, PriorityQueue):
            options["_priority"] = options.pop("priority")
            continue
        raise TypeError(f"submitting() got {name!r}, which the executor's queue, a {type(pool.queue).__name__}, does not take in put()")
    return options
