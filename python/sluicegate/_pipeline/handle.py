"""`PipelineRun`: the user's handle of a pipeline that runs."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import weakref
from collections import deque
from itertools import repeat
from types import GenericAlias

from sluicegate._aio import needed_loop
from sluicegate._arguments import check_flag, count, text, time_limit
from sluicegate._classes import public
from sluicegate._core import _duration, _refuse_coroutine_function
from sluicegate._exceptions import Empty, Killed, ShutDown
from sluicegate._pipeline.building import build_graph
from sluicegate._pipeline.running import Run
from sluicegate._pipeline.steps import MOST, check_results
from sluicegate._pipeline.workers import Worker, work
from sluicegate._running import refuse_pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import os
    from collections.abc import Generator
    from datetime import timedelta
    from types import TracebackType
    from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

    from typing_extensions import Self

    from sluicegate._pipeline.graph import Edge, Graph
    from sluicegate._statistics import PipelineStatistics

    _T_co = TypeVar("_T_co", covariant=True)
    _Seconds: TypeAlias = float | timedelta
else:
    _T_co, Generic = None, {None: object}

__all__ = ["PipelineRun"]

#: What `warn_blocking` names if one of these blocks an event loop.
AWAITABLE = {
    "__next__": ("Pipeline", "async for ... in Pipeline"),
    "wait": ("wait", "wait_async"),
    "stop": ("stop", "wait_async"),
    "close": ("close", "aclose"),
}

_OWN_CALL = "{!r} cannot be waited for in one of its own calls; kill(), and stop() without a timeout, can be called there"

_DAY = 86400.0

#: Records closer together than this, in seconds, would only measure themselves.
SHORTEST = 0.001


class _StoppedOn:
    """What `stop_on` returns. The block is a generator's, so that the handler is put back even if an exception keeps it from beginning."""

    def __init__(self, block: contextlib.AbstractContextManager[None]) -> None:
        self._block: contextlib.AbstractContextManager[None] = block
        self._entered = False

    def __enter__(self) -> None:
        self._entered = True
        self._block.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool | None:
        return self._block.__exit__(kind, error, traceback)

    def __del__(self) -> None:
        if not self._entered and not sys.is_finalizing():
            import warnings

            warnings.warn("stop_on() has had no effect: write `with run.stop_on(...):`", RuntimeWarning, source=self, stacklevel=2)


@public
class PipelineRun(Generic[_T_co]):
    """A pipeline that runs, as returned by `Pipeline.start`: a context manager (`with`, `async with`), and an iterator over the results.

    Runs are made by `Pipeline.start` and the other methods that start a pipeline, not by calling this class.
    """

    __slots__ = ("__weakref__", "_caller", "_interrupt", "_is_async", "_loop_steps", "_run", "_steps", "_timer", "_told", "_were_discarded")

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def __init__(
        self, source: Any, steps: tuple[Any, ...], name: str | None, on_discard: Any, interrupt: Any, record: Any, *, is_async: bool
    ) -> None:
        if on_discard is not None and not callable(on_discard):
            raise TypeError(f"'on_discard' must be a callable or None, got {on_discard!r}")
        if on_discard is not None:
            _refuse_coroutine_function("on_discard", on_discard)
        if interrupt not in ("kill", "drain"):
            raise ValueError(f"'interrupt' must be 'kill' or 'drain', got {interrupt!r}")
        every = None if record is None else _duration("record", record)
        if every is not None and every < SHORTEST:
            raise ValueError(f"'record' must be at least {SHORTEST} seconds, not {record!r}")
        self._interrupt = interrupt
        self._is_async = is_async
        #: The threads and tasks that know how the run has ended: it has been raised there, or they have closed the run.
        self._told: weakref.WeakSet[Any] = weakref.WeakSet()
        #: The thread or task that calls a sink in the caller.
        self._caller: Any = None
        #: Results have been discarded by `wait`, so that an iteration does not have all of them.
        self._were_discarded = False
        self._timer: weakref.ref[asyncio.TimerHandle] | None = None
        loop = None
        if is_async:
            loop = needed_loop("run_async(), start_async() and `async for` of a Pipeline need")
        graph = build_graph(source, steps)
        if loop is None:
            _refuse_coroutine_sink(graph, "run it with run_async() or start_async()")
        self._run: Run = Run(graph, name, on_discard)
        results = graph.results
        #: Each step takes a result and gives its permits back, by functions in C; see `__next__`. Those of a run on an event loop stand in
        #: another place, because the thread of that loop must not take them.
        self._steps: Any = None
        self._loop_steps: Any = None
        if results is not None:
            release: Any = bool if results.permits is None else results.permits.release
            sizes: Any = repeat(1) if results.list_sizes is None else map(deque.popleft, repeat(results.list_sizes))
            takes: Any = zip(map(results.queue.get, repeat(True)), map(release, sizes))  # noqa: B905
            if is_async:
                self._loop_steps = takes
            else:
                self._steps = takes
        self._run.drains_on_interrupt = interrupt == "drain"
        if loop is not None:
            self._timer = _Watch(self._run, loop).timer
        if every is not None:
            from sluicegate._pipeline.pictures import record_every

            record_every(self._run, every)
        try:
            self._run.start(loop)
        except BaseException:  # a signal handler's, or a thread cannot be started: the run has been killed
            if loop is None:
                self._leave()
            raise

    @property
    def name(self) -> str | None:
        """The name of the pipeline."""
        return self._run.name

    @property
    def is_over(self) -> bool:
        """Whether all threads and tasks have left."""
        return self._run.is_over

    def statistics(self) -> PipelineStatistics:
        """Return a snapshot of what each stage has done, where its time went, and which stage is the bottleneck."""
        from sluicegate._pipeline.measuring import statistics

        return statistics(self._run)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw into a file (PNG, SVG, PDF) where the time of each stage went, and, if the run was recorded, how much it held over time.

        Raises ImportError if matplotlib is not installed (`pip install 'sluicegate[plot]'`).
        """
        from sluicegate._pipeline.pictures import plot

        plot(self._run, path)

    # --- the results -------------------------------------------------------------------------------------------------

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _T_co:
        steps = self._steps or self._other_steps()
        try:
            # Once a step has taken the item no call returns before this method does, so a signal handler that raises cannot lose the item,
            # nor its permit.
            for item, _ in steps: return item  # noqa: E701  # fmt: skip
        except ShutDown:
            self._check_thread()
            self._join(None)
            self._raise(once=True)
            self._check_discarded()
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T_co:
        edge = self._results()
        try:
            item = await edge.queue.get_async()
        except ShutDown:
            self._check_task()
            await self._run.alive.join_async()
            self._raise(once=True)
            self._check_discarded()
            raise StopAsyncIteration from None
        edge.release(edge.weight([item]))
        return item

    def _other_steps(self) -> Any:
        self._results()
        self._check_thread()
        return self._loop_steps

    def _check_discarded(self) -> None:
        """Tell who iterates, once, that the results are not all there."""
        if self._were_discarded:
            self._were_discarded = False
            raise RuntimeError(
                f"results of {self!r} were discarded by run() or wait(): iterate over the pipeline, or over start()"
            ) from None

    def _results(self) -> Any:
        check_results(self._run.graph.results is not None)
        return self._run.graph.results

    # --- the end -----------------------------------------------------------------------------------------------------

    def wait(self, timeout: _Seconds | None = None) -> None:
        """Wait until the pipeline has ended. Results that nobody has taken are discarded, and `on_discard` is called with them.

        A sink in the caller is called by the first thread that waits. The timeout does not interrupt a call of it that is running.

        Raises the first exception of a stage or of the source, in every thread and task that waits; Killed after `kill`, and in others than
        the one that has closed the run or was interrupted; TimeoutError after `timeout` seconds, with the stages that have not ended. The
        run then goes on, and can be waited for again. RuntimeError in a stage, in `on_discard`, or on the event loop that the run needs;
        ValueError or TypeError for an invalid timeout.
        """
        limit = time_limit("timeout", timeout)
        self._check_thread()
        try:
            self._finish(limit)
        except KeyboardInterrupt as interrupt:
            self._interrupted(interrupt, limit)
            raise
        self._raise()

    def _interrupted(self, interrupt: BaseException, limit: float | None) -> None:
        """Drain or kill, as the user has said; kill if another Ctrl-C comes meanwhile."""
        run = self._run
        if self._interrupt == "drain" and not run.is_over and interrupt not in run.errors:
            run.stop()
            with contextlib.suppress(BaseException):
                self._finish(limit)
        if not run.is_over:
            run.kill(interrupt, is_urgent=True)
            self._leave()
        self._tell(_current())

    async def wait_async(self, timeout: _Seconds | None = None) -> None:
        """As `wait`, from a coroutine. If it is cancelled, the run is killed, and has ended when CancelledError leaves this call.

        A sink in the caller runs in this task, so the timeout cancels it, and kills the run with the same TimeoutError.
        """
        limit = time_limit("timeout", timeout)
        needed_loop("wait_async() of a PipelineRun needs")
        self._check_task()
        try:
            if limit is None:
                await self._finish_async()
            else:
                import asyncio

                # A sink in the caller does not work on anything any more when it has been cancelled: the timer comes before that.
                late: list[TimeoutError] = []
                timer = asyncio.get_running_loop().call_later(limit, lambda: late.append(self._late(limit)))
                try:
                    await asyncio.wait_for(self._finish_async(), limit)
                except asyncio.TimeoutError:
                    error = late[0] if late else self._late(limit)
                    if self._caller is None and any(node.in_caller for node in self._run.graph.nodes):
                        self._run.kill(error)  # the sink has been cancelled, so the items before it cannot be finished
                    raise error from None
                finally:
                    timer.cancel()
        except TimeoutError:
            raise
        except BaseException as error:
            import asyncio

            self._run.kill(error, is_urgent=isinstance(error, asyncio.CancelledError))
            if not isinstance(error, GeneratorExit):  # the loop is gone, and nothing can be awaited
                await self.aclose()
            raise
        self._raise()

    def stop(self, timeout: _Seconds | None = None) -> None:
        """Take no more items from the source, and finish those that have been taken.

        With `timeout` wait for that; otherwise return at once. A source that blocks for half a second longer is left behind: if it still
        yields an item, that is discarded.

        Raises TimeoutError if it has not ended `timeout` seconds later: it names the stages that have not, and what they work on. For an
        invalid timeout, raises ValueError or TypeError, and stops nothing.
        """
        limit = time_limit("timeout", timeout)
        if limit is not None:
            self._check_thread()
        self._run.stop()
        if limit is not None:
            self._finish(limit)

    def kill(self, reason: str = "the pipeline was killed") -> None:
        """End at once: no further call begins, coroutine functions are cancelled, and unfinished items are discarded.

        Calls that are running in threads cannot be stopped. Waiting for the run, or iterating over it, raises Killed with this reason.
        It can be called from anywhere, any number of times.

        Raises TypeError if the reason is no string.
        """
        if not isinstance(reason, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"'reason' must be a str, got {reason!r}")
        if not self._run.is_over:
            self._run.kill(Killed(reason))

    def resize(self, stage: str, workers: int) -> None:
        """Let a stage have `workers` workers from now on, while it runs.

        The stage is given by its name. Its buffer stays as it is. A worker that is one too many leaves after its next item.

        Raises ValueError if there is no such stage, or more than one, or if it has no number of workers; ValueError or TypeError for an
        invalid number; what `threading.Thread.start` raises if a thread cannot be started. The stage then has as many workers as before.
        """
        workers = count("workers", workers, 1, MOST)
        nodes = self._run.graph.nodes
        found = [node for node in nodes if node.name == stage] or [node for node in nodes if stage in node.name.split(" + ")]
        if len(found) != 1:
            names = ", ".join(repr(node.name) for node in nodes)
            raise ValueError(f"{'no stage' if not found else 'more than one stage'} is called {stage!r}; there are {names}")
        node = found[0]
        if node.kind not in ("map", "flat", "keyed", "sink") or node.in_caller:
            raise ValueError(f"stage {stage!r} has one worker, and cannot be resized")
        self._run.resize(node, workers)

    def stop_on(self, signum: int, *, kill: bool = False) -> contextlib.AbstractContextManager[None]:
        """Return a context manager: while its block runs, the signal stops the pipeline (or kills it) instead of the program.

        For a service that is ended by SIGTERM: `with pipeline.start() as run, run.stop_on(signal.SIGTERM): run.wait()`. The previous
        handler is put back at the end. Without `with` it has no effect, and gives a RuntimeWarning when it is garbage-collected.

        Raises TypeError if `signum` is no signal; at the beginning of the block, ValueError outside of the main thread or for an invalid
        number.
        """
        if not isinstance(signum, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"'signum' must be a signal, such as signal.SIGTERM, not {text(signum)}")
        return _StoppedOn(self._stopping(signum, check_flag("kill", kill)))

    @contextlib.contextmanager
    def _stopping(self, signum: int, kill: bool) -> Generator[None]:
        import signal

        def end(number: int, frame: object) -> None:
            if kill:
                self.kill(f"signal {number}")
            else:
                self._run.stop()

        before = signal.getsignal(signum)
        try:
            signal.signal(signum, end)  # here, because a handler can raise right after it
            yield
        finally:
            signal.signal(signum, before)

    def close(self) -> None:
        """End at once, as leaving the block early does, and wait until all threads have left.

        If the wait is interrupted by an exception from a signal handler, coroutine functions that have been cancelled are cancelled again.
        Others that wait for the run, or iterate over it, get Killed. Raises RuntimeError in a stage and in `on_discard`.
        """
        self._check_thread(is_closing=True)
        self._tell(_current())
        self._run.give_up("the run was closed")
        self._leave()

    async def aclose(self) -> None:
        """As `close`, from a coroutine. If it is cancelled, coroutine functions that have been cancelled are cancelled again."""
        self._check_task(is_closing=True)
        self._tell(_current())
        self._run.give_up("the run was closed")
        self._end_workers_in_caller()
        try:
            await self._run.alive.join_async()
        except BaseException as error:  # it is cancelled, and perhaps because what is waited for hangs
            self._run.kill(error, is_urgent=True)
            raise
        self._cancel_timer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._run.graph.results is None and _current() not in self._told:
            if error is None:
                try:
                    self.wait()
                finally:
                    self.close()  # if there is nothing that could be waited for
                return
            if isinstance(error, KeyboardInterrupt):  # it came just before or after `wait`
                self._interrupted(error, None)
        try:
            self.close()
        except RuntimeError:  # it cannot be waited for here
            self._run.give_up("the block was left")
            raise

    async def __aenter__(self) -> Self:
        needed_loop("`async with` of a PipelineRun needs")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if isinstance(error, GeneratorExit):  # as in `wait_async`
            self._run.give_up("the block was left")
        elif error is None and self._run.graph.results is None and _current() not in self._told:
            await self.wait_async()
        else:
            await self.aclose()

    # --- what these do -----------------------------------------------------------------------------------------------

    def _check_thread(self, *, is_closing: bool = False) -> None:
        """Refuse to wait in a thread where the wait could not end."""
        run = self._run
        if run.is_inside() or (self._caller is threading.current_thread() and not is_closing):
            raise RuntimeError(_OWN_CALL.format(self))
        if run.needs_loop_of_this_thread():
            raise RuntimeError(
                f"{self!r} runs on the event loop of this thread, so it must not be waited for here:"
                " use wait_async(), aclose() or `async for`"
            )
        if not is_closing:
            _refuse_coroutine_sink(run.graph, "await wait_async()")

    def _check_task(self, *, is_closing: bool = False) -> None:
        """Refuse to wait in a task where the wait could not end."""
        me = _current()
        if self._run.is_inside(me) or (self._caller is me and not is_closing):
            raise RuntimeError(_OWN_CALL.format(self))

    def _finish(self, limit: float | None) -> None:
        """Call the sinks that run in the caller, and wait for the end."""
        run, me = self._run, threading.current_thread()
        due = None if limit is None else time.monotonic() + limit
        with run.lock:
            is_caller = self._caller in (None, me)  # otherwise another thread waits already, and calls the sink
            if is_caller:
                self._caller = me
        if is_caller:
            try:
                for worker in self._workers_in_caller():
                    self._work_in_caller(worker, due)
            finally:
                self._caller = None
        results = run.graph.results
        if results is not None:
            with contextlib.suppress(ShutDown, Empty):
                while True:
                    self._discard(results, results.queue.get_many(64, timeout=_left(due)))
        try:
            self._join(_left(due))
        except TimeoutError:
            raise self._late(limit or 0.0) from None

    def _work_in_caller(self, worker: Worker, due: float | None) -> None:
        """Call a sink in the caller until there are no more items, or it is late."""
        run = self._run
        worker.started = worker.started or time.monotonic()
        worker.due, worker.is_late = due, False
        try:
            work(worker)
        except BaseException as error:
            if worker.is_late:
                return
            run.interrupted(worker)
            if not isinstance(error, KeyboardInterrupt) or self._interrupt == "kill":
                run.fail(worker.node, error)
                run.worker_left(worker)
            raise
        run.worker_left(worker)

    def _join(self, limit: float | None) -> None:
        self._run.alive.join(limit)
        self._run.join()

    def _late(self, limit: float) -> TimeoutError:
        name = f" {self._run.name!r}" if self._run.name is not None else ""
        return TimeoutError(f"pipeline{name}: not ended after {limit:g} s: {self._run.unfinished_work()}")

    async def _finish_async(self) -> None:
        from sluicegate._pipeline.tasks import work_in_caller

        run = self._run
        with run.lock:
            is_caller = self._caller is None  # otherwise another task, or a thread, waits already, and calls the sink
            if is_caller:
                self._caller = _current()
        try:
            for worker in self._workers_in_caller() if is_caller else ():
                try:
                    await work_in_caller(worker)
                finally:
                    run.worker_left(worker)
        finally:
            if is_caller:
                self._caller = None
        results = run.graph.results
        if results is not None:
            with contextlib.suppress(ShutDown):
                while True:
                    self._discard(results, await results.queue.get_many_async(64))
        await run.alive.join_async()
        self._cancel_timer()

    def _discard(self, results: Edge, items: list[Any]) -> None:
        """Discard results that nobody takes."""
        self._were_discarded = True
        self._run.discard(items, results.producers[0])
        results.release(results.weight(items))

    def _workers_in_caller(self) -> list[Worker]:
        return [worker for worker in self._run.workers if worker.node.in_caller and not worker.has_left]

    def _end_workers_in_caller(self) -> None:
        for worker in self._workers_in_caller():
            self._run.worker_left(worker)

    def _leave(self) -> None:
        self._end_workers_in_caller()
        try:
            self._run.alive.join()
            self._run.join()
        except BaseException as error:  # as in `aclose`
            self._run.kill(error, is_urgent=True)
            raise
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        reference, self._timer = self._timer, None
        timer = None if reference is None else reference()
        if timer is not None:
            timer.cancel()

    def _tell(self, who: Any) -> None:
        self._told.add(who)
        self._run.was_told = True

    def _raise(self, *, once: bool = False) -> None:
        """Raise the exception of the run in each thread and task that asks: in one that iterates, `once`.

        After that the iterator is exhausted. The thread that has closed the run is not told that it was killed.
        """
        self._cancel_timer()
        me = _current()
        error = None if me in self._told and (once or self._run.is_closed) else self._run.outcome()
        self._tell(me)
        if error is None:
            return
        try:
            if isinstance(error, KeyboardInterrupt) and self._run.interrupted_in not in (None, threading.current_thread()):
                raise Killed("the pipeline was interrupted") from error
            raise error
        finally:
            del error

    def __del__(self, _is_finalizing: Any = sys.is_finalizing) -> None:
        run = getattr(self, "_run", None)
        if run is not None and not _is_finalizing():  # at exit every run has been killed already, and modules may be empty
            is_unfinished, lost = run.is_unfinished, run.lost_error()
            run.give_up("the run was garbage-collected")
            self._end_workers_in_caller()
            if is_unfinished:
                run.warn_unfinished("was garbage-collected before its end", self)
            if lost is not None:
                run.warn_of_error(lost)

    def __repr__(self) -> str:
        run = self._run
        name = f" {run.name!r}" if run.name is not None else ""
        state = "over" if run.is_over else "killed" if run.killed is not None else "stopping" if run.is_stopping else "running"
        return f"<sluicegate.PipelineRun{name}: {state}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickle(self)


def _current() -> Any:
    """Return the current task, or outside of tasks the current thread."""
    asyncio = sys.modules.get("asyncio")
    task = None if asyncio is None or asyncio._get_running_loop() is None else asyncio.current_task()
    return threading.current_thread() if task is None else task


def _refuse_coroutine_sink(graph: Graph, instead: str) -> None:
    """Raise TypeError if a sink in the caller is a coroutine function, which a thread that waits cannot call."""
    for node in graph.nodes:
        if node.in_caller and node.is_async:
            f = node.operations[-1].function
            raise TypeError(
                f"for_each(in_caller=True) calls its sink in the thread that waits, and {f!r} is a coroutine function: {instead}"
            )


def _left(due: float | None) -> float | None:
    return None if due is None else max(0.0, due - time.monotonic())


class _Watch:
    """The callback of a timer of an event loop, which drops it when it is closed or collected: so the end of the loop is noticed."""

    def __init__(self, run: Run, loop: asyncio.AbstractEventLoop) -> None:
        self.run = weakref.ref(run)
        self.timer = weakref.ref(loop.call_later(100 * _DAY, self))  # the loop alone keeps it

    def __call__(self) -> None:
        pass

    def __del__(self) -> None:
        run = self.run()
        if run is not None and not run.is_over:
            run.loop_died()
