"""`BoundedExecutor`: a thread pool with a bound on pending jobs."""

from __future__ import annotations

import functools
import itertools
import os
import weakref
from concurrent.futures import Executor
from contextvars import copy_context

from sluicegate._aio import needed_loop
from sluicegate._arguments import check_made, check_name, count
from sluicegate._classes import public
from sluicegate._core import _refuse_coroutine_function
from sluicegate._executor_map import CallEach, map_jobs
from sluicegate._futures import JobFuture
from sluicegate._running import PLENTY, refuse_pickle
from sluicegate._user_queue import UserQueuePool, check_options
from sluicegate._worker_pool import WorkerPool

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator, Iterable
    from concurrent.futures import Future
    from datetime import timedelta
    from types import TracebackType
    from typing import Any, NoReturn, ParamSpec, TypeAlias, TypeVar

    from typing_extensions import Self

    from sluicegate._guard import Guard, GuardKey
    from sluicegate._statistics import ExecutorStatistics
    from sluicegate._worker_pool import Overflow

    _P = ParamSpec("_P")
    _T = TypeVar("_T")
    _Seconds: TypeAlias = float | timedelta

__all__ = ["BoundedExecutor", "Submitting"]

_OVERFLOW = ("block", "reject", "caller_runs")
_numbers = itertools.count()


@public
class BoundedExecutor(Executor):
    """A `concurrent.futures.Executor` of threads that has a bound on pending jobs.

    At most `max_workers` jobs run at the same time, and at most `max_pending` more wait. Either `max_pending` or `queue`
    has to be given. What happens to a further one is `overflow`:

    - "block" (the default): `submit` waits for room;
    - "reject": `submit` raises Overloaded;
    - "caller_runs": `submit` runs the job itself, which holds up the caller for as long.

    Workers are started as they are needed; `max_workers` is by default as for `ThreadPoolExecutor`. `initializer(*initargs)` is called at
    the start of each.

    With `guard`, a `Guard` or the guard of one key, each job is called through it, in its worker: it waits there for tokens, permits and
    further attempts.

    `queue` is a queue for the jobs instead of `max_pending` and `overflow`, which are the queue's then. It belongs to the executor from
    then on: `shutdown` shuts it down. A job that it drops fails with Overloaded.

    Each job runs in a copy of the context (see `contextvars`) in which it was submitted. At the end of a `with` or `async with` block, and
    at the end of the program, all accepted jobs are run first.

    Fairness: callers that wait for room are served in order of arrival, threads and tasks in one wait queue; jobs begin in the order in
    which they were accepted.

    Raises ValueError, TypeError or OverflowError for invalid arguments.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        max_pending: int | None = None,
        overflow: Overflow | None = None,
        queue: Any = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        guard: Guard | GuardKey | None = None,
        name: str | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = min(32, (getattr(os, "process_cpu_count", os.cpu_count)() or 1) + 4)
        workers = count("max_workers", max_workers, 1, too_small="max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a callable, not {initializer!r}")
        if initializer is not None:
            _refuse_coroutine_function("initializer", initializer)
        self._guard: Callable[..., Any] | None = None if guard is None else _call_of(guard)
        prefix = thread_name_prefix or f"BoundedExecutor-{next(_numbers)}"
        rest = (prefix, initializer, initargs, check_name(name))
        if queue is not None:
            if max_pending is not None or overflow is not None:
                given = "max_pending" if max_pending is not None else "overflow"
                raise ValueError(
                    f"{given!r} cannot be given with 'queue': the queue says how many jobs may wait, and what happens to the others"
                )
            self._pool: WorkerPool = UserQueuePool(workers, queue, *rest)
        else:
            if max_pending is None:
                raise TypeError("BoundedExecutor() needs 'max_pending', the number of jobs that may wait, or 'queue'")
            pending = count("max_pending", max_pending, 0)
            if pending + workers > PLENTY:
                raise OverflowError(f"'max_pending' and 'max_workers' must not be over {PLENTY} together, got {pending + workers}")
            overflow = "block" if overflow is None else overflow
            if overflow not in _OVERFLOW:
                raise ValueError(f"'overflow' must be 'block', 'reject' or 'caller_runs', got {overflow!r}")
            self._pool = WorkerPool(workers, pending, overflow, None, *rest)
        weakref.finalize(self, self._pool.abandon).atexit = False

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr`, messages and statistics."""
        return self._pool.name

    # As the standard library's has them, and programs look at them.

    @property
    def _max_workers(self) -> int:
        return self._pool.workers

    @property
    def _threads(self) -> set[Any]:
        return self._pool.threads

    @property
    def _broken(self) -> str | bool:
        return self._pool.broken or False

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Let a worker call `fn(*args, **kwargs)`, and return its future. If the executor is full, see `overflow`.

        A worker of this executor never waits here: if the executor is full, the job runs at once in that worker (or is refused,
        with "reject"). If 50 jobs run inside one another there, each submitted by the one around it, a further one is refused. A
        caller of "caller_runs" can be refused for the same reason. On the thread of an event loop use `submit_async`; this call warns if
        it has to wait there.

        A job that is cancelled before it began gives its place to the next at once.

        Raises Overloaded if the job was refused, RuntimeError if the executor has been shut down.

        Fairness: callers that wait for room are served in order of arrival, threads and tasks in one wait queue. If the wait is interrupted
        by an exception from a signal handler, nothing has been submitted.
        """
        pool = self._pool
        if self._guard is not None:
            fn, args = _through(self._guard, fn, args)
        return pool.submit(JobFuture((fn, args, kwargs, copy_context()), pool.on_cancel))

    async def submit_async(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Let a worker call `fn(*args, **kwargs)`, from a coroutine, and return a future that can be awaited.

        If the executor is full, wait for room, also with "caller_runs"; the wait for the result is that for the future. Cancelling the
        future cancels the job if it has not begun.

        Raises Overloaded and RuntimeError as `submit`.

        Fairness: as `submit`. If the call is cancelled, nothing has been submitted.
        """
        needed_loop("submit_async() of a BoundedExecutor needs")
        import asyncio

        pool = self._pool
        if self._guard is not None:
            fn, args = _through(self._guard, fn, args)
        job = JobFuture((fn, args, kwargs, copy_context()), pool.on_cancel)
        return asyncio.wrap_future(await pool.submit_async(job))

    def submitting(self, *, key: Any = None, priority: Any = 0, ttl: Any = None) -> Submitting:
        """Return a handle that submits jobs with a key, a priority and a time to live, as far as the executor's `queue` has them.

        Lower priorities are more urgent. `ttl` is in seconds, or a `timedelta`: a job that has not begun by then is not run. It fails with
        Overloaded when a worker comes to it, or when another job needs its place.

        Raises TypeError if the queue does not take what was given.
        """
        return Submitting(self, check_options(self._pool, key, priority, ttl))

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: _Seconds | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Generator[_T, None, None]:
        """Return an iterator over `fn(*items)` for the items of the iterables, in their order, as `map` does.

        Without `buffersize` this call submits all items, each as `submit` does. With it, it submits that many, and each result that is
        taken lets one more be submitted, so the iterables may be endless: at most `buffersize` items have been taken whose results have
        not been returned yet. `chunksize` is the number of items that make one job; more than 1 pays if the calls are very short.

        If a call raises, its exception is raised in its place, and the remaining jobs are cancelled; so they are when the iterator is
        closed, also before its first result. (One that is dropped before its first result cancels nothing, as in the standard library:
        `pool.map(f, items)` alone runs all jobs.)

        Raises TimeoutError if a result is not there `timeout` seconds after this call; ValueError or TypeError for invalid arguments.
        """
        return map_jobs(self.submit, fn, iterables, timeout, chunksize, buffersize)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more jobs. Those that were accepted are run, or cancelled with `cancel_futures=True`.

        With `wait=True` the call returns when the workers have left. Callers that wait in `submit` get a RuntimeError.
        """
        pool = self._pool
        pool.close()
        if cancel_futures:
            pool.drain(_cancel)
        if wait:
            pool.join()

    async def __aenter__(self) -> Self:
        needed_loop("`async with` of a BoundedExecutor needs")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.shutdown(wait=False)
        await self._pool.alive.join_async()

    def statistics(self) -> ExecutorStatistics:
        """Return a snapshot of the executor's jobs, workers and counters."""
        from sluicegate._statistics import ExecutorStatistics

        return self._pool.statistics(ExecutorStatistics)

    def __repr__(self) -> str:
        pool = self._pool
        name = f" {pool.name!r}" if pool.name is not None else ""
        state = ", broken" if pool.broken else ", shut down" if pool.closed else ""
        workers = f"{len(pool.idents)} of {pool.workers} workers"
        return f"<sluicegate.BoundedExecutor{name}: {pool.pending()} of {pool.bound()} pending, {workers}{state}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickle(self)


@public
class Submitting:
    """Submits jobs to an executor in one way, as returned by `BoundedExecutor.submitting`."""

    __slots__ = ("__weakref__", "_executor", "_options")

    def __init__(self, executor: BoundedExecutor, options: dict[str, Any]) -> None:
        check_made(executor, (BoundedExecutor,), "Submitting", "submitting() of a BoundedExecutor")
        self._executor = executor
        self._options = options

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Let a worker call `fn(*args, **kwargs)`, and return its future. Works as `BoundedExecutor.submit`."""
        pool, guard = self._executor._pool, self._executor._guard
        if guard is not None:
            fn, args = _through(guard, fn, args)
        return pool.submit(JobFuture((fn, args, kwargs, copy_context()), pool.on_cancel), **self._options)

    async def submit_async(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Let a worker call `fn(*args, **kwargs)`, from a coroutine. Works as `BoundedExecutor.submit_async`."""
        needed_loop("submit_async() of a BoundedExecutor needs")
        import asyncio

        pool, guard = self._executor._pool, self._executor._guard
        if guard is not None:
            fn, args = _through(guard, fn, args)
        job = JobFuture((fn, args, kwargs, copy_context()), pool.on_cancel)
        return asyncio.wrap_future(await pool.submit_async(job, **self._options))

    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: _Seconds | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Generator[_T, None, None]:
        """Return an iterator over `fn(*items)` for the items of the iterables. Works as `BoundedExecutor.map`."""
        return map_jobs(self.submit, fn, iterables, timeout, chunksize, buffersize)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        return f"<sluicegate.Submitting to {self._executor!r}{': ' if options else ''}{options}>"


def _cancel(job: Any) -> None:
    job.cancel()


def _call_of(guard: Guard | GuardKey) -> Callable[..., Any]:
    from sluicegate._guard import call_of

    return call_of(guard)


def _through(guard: Callable[..., Any], fn: Any, args: Any) -> tuple[Any, Any]:
    """What a worker calls, and with what: each item of a chunk is a call of its own."""
    if isinstance(fn, CallEach):
        return CallEach(functools.partial(guard, fn.fn)), args
    return guard, (fn, *args)
