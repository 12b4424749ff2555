"""`Batcher`: calls from threads and coroutines, run together by a handler that takes a list.

This is what users see; the queue, the workers and the outcomes are in `_batches`.
"""

from __future__ import annotations

import contextvars
import inspect
import sys
from types import FunctionType, GenericAlias

from sluicegate._aio import running_loop
from sluicegate._arguments import check_name, count, text
from sluicegate._batcher_config import BatcherConfig
from sluicegate._batches import OVERFLOW, BatchRunner, closed, inside, name_of
from sluicegate._classes import public
from sluicegate._core import WAIT, _clock, _duration
from sluicegate._exceptions import Empty, Full, ShutDown
from sluicegate._functions import is_async_generator, is_coroutine_function
from sluicegate._outcomes import AwaitedCall, Failure, SubmittedCall, WaitingCall

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable
    from concurrent.futures import Future
    from datetime import timedelta
    from types import TracebackType
    from typing import Any, Generic, NoReturn, Protocol, TypeAlias, TypeVar, overload

    from typing_extensions import Self

    from sluicegate._core import Clock
    from sluicegate._statistics import BatcherStatistics

    _T = TypeVar("_T")
    _R = TypeVar("_R")
    _Seconds: TypeAlias = float | timedelta

    class _Method(Protocol[_T, _R]):
        """A batcher that was made of a method: its instances have one each."""

        @overload
        def __get__(self, instance: None, owner: type, /) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type | None = None, /) -> Batcher[_T, _R]: ...

    class _Decorator(Protocol):
        @overload
        def __call__(self, handler: Callable[[list[_T]], Awaitable[Iterable[_R | Exception]]], /) -> Batcher[_T, _R]: ...
        @overload
        def __call__(self, handler: Callable[[list[_T]], Iterable[_R | Exception]], /) -> Batcher[_T, _R]: ...
        @overload
        def __call__(self, handler: Callable[[Any, list[_T]], Awaitable[Iterable[_R | Exception]]], /) -> _Method[_T, _R]: ...
        @overload
        def __call__(self, handler: Callable[[Any, list[_T]], Iterable[_R | Exception]], /) -> _Method[_T, _R]: ...

else:
    _T = _R = None
    Generic = {(None, None): object}

__all__ = ["Batcher"]

#: What `warn_blocking` names if one of these blocks an event loop.
AWAITABLE = {
    "submit": ("submit", "submit_async"),
    "call": ("call", "submit_async"),
    "drain": ("drain", "drain_async"),
    "close": ("close", "close_async"),
    "__exit__": ("with", "async with Batcher"),
}


@public
class Batcher(Generic[_T, _R]):
    """Collects single calls into batches for a handler that is cheaper on many items at once: a model, a bulk insert, an API.

    `handler` takes a list of 1 to `max` items and returns an iterable with one result for each, in their order. A `def` handler runs in
    `workers` threads of the batcher. An `async def` handler runs in as many tasks, on `loop`, or else on the loop of the first
    `submit_async`. `@Batcher.of(...)` makes a batcher of the function that it decorates.

    A batch starts when `max` items are there, or `linger` seconds after its first item came, or as soon as a worker is free if `linger` is
    0. It does not wait for more while somebody waits for room.

    A result that is an exception is raised in its caller alone. If the handler raises, or returns a wrong number of results, all callers
    of the batch get the exception, each a copy with the handler's traceback (the same object if its class cannot be copied). An exception
    that is not an `Exception`, such as CancelledError or SystemExit, reaches callers as the cause of a RuntimeError.

    At most `max_pending` calls wait for a batch, and so a batch never has more items than that, even if `max` is larger.

    What happens to further calls is `overflow`: with "block" they wait for room, with
    "reject" they raise Overloaded at once. With "drop_oldest" and "drop_newest" the oldest of the pending calls, or the new one, fails with
    Overloaded, whose `reason` is then "shed". With `ttl`, a call that has not been taken by a batch within that many seconds raises
    Overloaded at that moment and never reaches the handler. `retry_after` of these exceptions is an estimate from
    recent batches of when the pending calls will have run.

    The handler runs in the context (`contextvars`) in which the batcher was made, in a copy for each worker: callers' contexts differ, and
    a batch has many callers.

    Fairness: calls are batched in order of arrival; callers that wait for room are served in order of arrival, threads and tasks alike.

    Raises TypeError, ValueError or OverflowError for an invalid argument; ValueError if `linger` is not less than `ttl`.
    """

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    if TYPE_CHECKING:

        @overload
        def __init__(
            self,
            handler: Callable[[list[_T]], Awaitable[Iterable[_R | Exception]]],
            *,
            max: int = 32,
            linger: _Seconds = 0.005,
            max_pending: int = 1024,
            workers: int = 1,
            overflow: str = "block",
            ttl: _Seconds | None = None,
            loop: asyncio.AbstractEventLoop | None = None,
            clock: Clock | None = None,
            name: str | None = None,
        ) -> None: ...
        @overload
        def __init__(
            self,
            handler: Callable[[list[_T]], Iterable[_R | Exception]],
            *,
            max: int = 32,
            linger: _Seconds = 0.005,
            max_pending: int = 1024,
            workers: int = 1,
            overflow: str = "block",
            ttl: _Seconds | None = None,
            loop: None = None,
            clock: Clock | None = None,
            name: str | None = None,
        ) -> None: ...

    def __init__(
        self,
        handler: Callable[[list[Any]], Any],
        *,
        max: int = 32,
        linger: _Seconds = 0.005,
        max_pending: int = 1024,
        workers: int = 1,
        overflow: str = "block",
        ttl: _Seconds | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None:
        if not callable(handler) or isinstance(handler, Batcher):
            raise TypeError(f"'handler' must be a function that takes a list of items, got {handler!r}")
        if is_async_generator(handler):
            raise TypeError(f"'handler' must return the results of a batch at once: {name_of(handler)}() is an asynchronous generator")
        is_async = is_coroutine_function(handler)
        if loop is not None and not is_async:
            raise TypeError(f"'loop' is for an `async def` handler, and {name_of(handler)}() is not one")
        if overflow not in OVERFLOW:
            raise ValueError(f"'overflow' must be one of {', '.join(map(repr, OVERFLOW))}, got {overflow!r}")
        self._settings: dict[str, Any] = {
            "max": count("max", max, 1, sys.maxsize),
            "linger": _duration("linger", linger),
            "max_pending": count("max_pending", max_pending, 1, sys.maxsize),
            "workers": count("workers", workers, 1, sys.maxsize),
            "overflow": overflow,
            "ttl": None if ttl is None else _time_to_live(ttl),
            "loop": loop,
            "clock": _clock(clock),
            "name": check_name(name),
        }
        late, patience = self._settings["ttl"], self._settings["linger"]
        if late is not None and patience >= late:
            raise ValueError(
                f"'linger' must be less than 'ttl', or the calls of a batch that lingers expire: got {patience:g} and {late:g}"
            )
        self._config = BatcherConfig(handler, is_async=is_async, context=contextvars.copy_context(), **self._settings)
        self._runner = BatchRunner(self._config)
        self._is_decorator = False
        self._key: str | None = None
        self.__doc__ = inspect.getdoc(handler) or type(self).__doc__

    @classmethod
    def of(
        cls,
        handler: None = None,
        /,
        *,
        max: int = 32,
        linger: _Seconds = 0.005,
        max_pending: int = 1024,
        workers: int = 1,
        overflow: str = "block",
        ttl: _Seconds | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> _Decorator:
        """Return a decorator that makes a Batcher of a function: `@Batcher.of(max=32)`. The arguments are those of Batcher.

        If it decorates a method, each instance has a Batcher of its own, which is made when it is first asked for and kept in the
        instance's `__dict__`.

        Raises TypeError if the parentheses are missing.
        """
        if handler is not None:
            raise TypeError(f"write @Batcher.of() with parentheses, and arguments by name; got {handler!r}")
        settings: dict[str, Any] = {
            "max": max,
            "linger": linger,
            "max_pending": max_pending,
            "workers": workers,
            "overflow": overflow,
            "ttl": ttl,
            "loop": loop,
            "clock": clock,
            "name": name,
        }

        def decorate(handler: Any) -> Any:
            batcher = cls(handler, **settings)
            batcher._is_decorator = True
            return batcher

        return decorate

    # A method's.

    def __set_name__(self, owner: type, name: str) -> None:
        if self._is_decorator and isinstance(self.handler, FunctionType) and self._key is None:
            self._key = f"_{owner.__name__}_{name}_batcher"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None or self._key is None:
            return self
        try:
            kept = vars(instance)
        except TypeError:
            raise TypeError(f"{type(instance).__name__} has no __dict__ to keep the Batcher of its method in") from None
        batcher = kept.get(self._key)
        if batcher is None or getattr(batcher.handler, "__self__", None) is not instance:  # a copied object has its original's
            kept.pop(self._key, None)
            batcher = kept.setdefault(self._key, type(self)(self.handler.__get__(instance, owner), **self._settings))
        return batcher

    # Calls.

    if not TYPE_CHECKING:  # a type checker says so before it runs

        def __call__(self, *_args, **_kwargs):
            """Raise TypeError: a batcher is not called like its handler."""
            raise TypeError(
                f"a Batcher cannot be called: use call(item), or await submit_async(item) in a coroutine; "
                f"the plain function is its handler, {name_of(self.handler)}()"
            )

    def _start(self) -> BatchRunner:
        """Return a runner that takes calls. The first call comes this way, and those after a fork or the end of a loop."""
        if self._key is not None:
            raise TypeError(f"{name_of(self.handler)}() is a method: ask an instance for its Batcher")
        if self._config.is_closed:
            raise closed(self._config)
        runner = self._current()
        runner.start()
        if self._config.is_closed:
            runner.queue.shutdown()
        return runner

    def _current(self) -> BatchRunner:
        """Return the runner, or a new one if that is over: its loop has ended, or it is the parent's in the child of a fork."""
        runner = self._runner
        while runner.is_over:
            runner = self._runner = vars(runner).setdefault("successor", BatchRunner(self._config, runner.submitted()))
        return runner

    def submit(self, item: _T) -> Future[_R]:
        """Submit an item, and return a future of its result.

        If there is no room, wait for it (see `overflow`). Cancelling the future takes the item out, as long as no batch has taken it.

        If the call becomes older than `ttl`, the future fails with Overloaded: at that moment if `result` or `exception` waits, otherwise
        when the next batch is formed.

        Raises Overloaded if the call is rejected or has waited for room for `ttl` seconds, ShutDown if the batcher is closed, RuntimeError
        if a coroutine handler has no loop or the call would wait for itself.

        If an exception from a signal handler interrupts the call, nothing has been submitted.
        """
        runner = self._runner
        if not runner.is_ready:
            runner = self._start()
        call = SubmittedCall(item, runner)
        runner.put(call, None)
        return call

    def call(self, item: _T, *, timeout: _Seconds | None = None) -> _R:
        """Submit an item, wait for its result, and return it.

        With `timeout` the call takes at most that many seconds, waiting for room included. A call that is given up leaves the queue; if a
        batch has taken it, its result is dropped.

        Raises what the handler raised for the item or the batch; TimeoutError if there was no result in time; Overloaded if the call was
        rejected, found no room in time or was older than `ttl`; ShutDown if the batcher is closed; RuntimeError if a coroutine handler has
        no loop or the call would wait for itself; ValueError, TypeError or OverflowError for an invalid `timeout`.
        """
        runner = self._runner
        if not runner.is_ready:
            runner = self._start()
        limit = None if timeout is None else _duration("timeout", timeout)
        runner.check_not_own("call", "submit_async")
        call = WaitingCall(item, runner)
        del item
        runner.put(call, limit)
        try:
            result, error = runner.outcome(call, limit)
        except Empty:
            call.leave()
            raise _timed_out(timeout) from None
        except BaseException:
            call.leave()
            raise
        if error is None:
            return result
        try:
            raise error
        finally:
            del error, call  # or the exception's traceback would refer to the exception

    async def submit_async(self, item: _T, *, timeout: _Seconds | None = None) -> _R:
        """Submit an item, wait for its result, and return it, from a coroutine on any loop.

        Works as `call`. If it is cancelled, the item leaves the queue; if a batch has taken it, its result is dropped.
        """
        runner = self._runner
        if not runner.is_ready:
            runner = self._start()
        if (bound := runner.loop) is not None:
            if bound.is_closed():
                runner.check_loop()
            if inside.get() is runner.mark:
                runner.check_not_own("submit_async", "submit_async")
        if timeout is not None or runner.is_timed or (loop := running_loop()) is None:
            outcome = self._submit_by_clock(runner, item, timeout)
            del item
            return await outcome
        call = AwaitedCall(item, runner, loop)
        del item
        try:
            if not runner.is_plain or runner.try_put(call, None, None) is WAIT:
                await runner.put_async(call, None)
        except (Full, ShutDown) as error:
            raise runner.refusal(error, None) from None
        try:
            result = await call.future
        except BaseException:
            call.leave()
            raise
        if type(result) is not Failure:
            return result
        try:
            raise result.error
        finally:
            del call, result

    async def _submit_by_clock(self, runner: BatchRunner, item: _T, timeout: _Seconds | None) -> _R:
        """As `submit_async`, where the batcher's clock says how long to wait."""
        limit = None if timeout is None else _duration("timeout", timeout)
        call = WaitingCall(item, runner)
        del item
        try:
            if not runner.is_plain or runner.queue._try_put(call, limit, None) is WAIT:
                await runner.put_async(call, limit)
        except (Full, ShutDown) as error:
            raise runner.refusal(error, limit) from None
        try:
            outcome = await runner.outcome_async(call, limit)
        except Empty:
            call.leave()
            raise _timed_out(timeout) from None
        except BaseException:
            call.leave()
            raise
        result, error = outcome
        if error is None:
            return result
        try:
            raise error
        finally:
            del error, call, outcome

    # The end.

    def drain(self, timeout: _Seconds | None = None) -> None:
        """Wait until every call that has been submitted has its outcome.

        A batch that lingers is not hurried. Raises TimeoutError after `timeout` seconds, RuntimeError if the handler calls it or it would
        block the handler's loop; ValueError, TypeError or OverflowError for an invalid `timeout`.
        """
        runner = self._current()
        runner.check_not_own("drain", "drain_async")
        runner.check_loop()
        runner.fail_leaving()
        try:
            runner.queue.join(timeout)
        except TimeoutError:
            raise self._undrained("drain", timeout) from None
        runner.fail_dropped()

    async def drain_async(self, timeout: _Seconds | None = None) -> None:
        """Wait until every call that has been submitted has its outcome, from a coroutine. Works as `drain`."""
        runner = self._current()
        runner.check_not_own("drain_async", "drain_async")
        runner.check_loop()
        runner.fail_leaving()
        try:
            await runner.queue.join_async(timeout)
        except TimeoutError:
            raise self._undrained("drain_async", timeout) from None
        runner.fail_dropped()

    def close(self, timeout: _Seconds | None = None) -> None:
        """Take no more calls, wait until those that were submitted have their outcome, and end the workers.

        Leaving the block of `with batcher:` does the same without a timeout. A batch that lingers goes at once. After `timeout` seconds the
        calls that no batch has taken fail with ShutDown, and TimeoutError is raised; `close(0)` does not wait.
        Closing again has no effect. (An interpreter that exits runs what is pending, as a ThreadPoolExecutor does. What would run on a loop
        that does not run any more fails with RuntimeError then.)

        Raises RuntimeError if the handler calls it or it would block the handler's loop; ValueError, TypeError or OverflowError for an
        invalid `timeout`.
        """
        runner = self._closing("close", timeout)
        try:
            runner.queue.join(timeout)
        except TimeoutError:
            raise self._unclosed(runner, "close", timeout) from None
        runner.fail_dropped()
        if not self._config.is_async:  # tasks end on a loop that may not run
            runner.working.join()
            for thread in runner.threads:
                thread.join()  # it has nothing left to do

    async def close_async(self, timeout: _Seconds | None = None) -> None:
        """Take no more calls, and wait until those that were submitted have their outcome, from a coroutine. Works as `close`."""
        runner = self._closing("close_async", timeout)
        try:
            await runner.queue.join_async(timeout)
        except TimeoutError:
            raise self._unclosed(runner, "close_async", timeout) from None
        runner.fail_dropped()
        if runner.is_running():
            await runner.working.join_async()

    def _closing(self, method: str, timeout: _Seconds | None) -> BatchRunner:
        if timeout is not None:
            _duration("timeout", timeout)
        runner = self._current()
        runner.check_not_own(method, "close_async")
        self._config.is_closed = True
        runner.is_ready = False
        runner.queue.shutdown()
        runner.check_loop()
        runner.fail_leaving()
        return runner

    def _unclosed(self, runner: BatchRunner, method: str, timeout: _Seconds | None) -> TimeoutError:
        error = self._undrained(method, timeout)
        runner.fail_pending(closed(self._config))
        return error

    def _undrained(self, method: str, timeout: _Seconds | None) -> TimeoutError:
        now = self.statistics()
        return TimeoutError(f"{method}: {now.pending} calls are pending and {now.running} running after {timeout} seconds: {self!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.close_async()

    def __del__(self) -> None:
        runner = getattr(self, "_runner", None)
        if runner is None or runner.is_over:
            return
        runner.queue.shutdown()  # the workers end when they have run what there is
        if self._config.is_closed or sys.is_finalizing():
            return
        calls = runner.queue.qsize() + sum(len(worker.batch) for worker in runner.workers)
        if calls:
            import warnings

            message = f"a Batcher of {name_of(self.handler)}() was garbage-collected with {calls} calls that have no outcome; close() it"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)

    # Seeing it.

    @property
    def handler(self) -> Callable[[list[_T]], Any]:
        """The function that runs the batches."""
        return self._config.handler

    @property
    def name(self) -> str | None:
        """The name given at creation, for `repr` and statistics."""
        return self._config.name

    @property
    def closed(self) -> bool:
        """True once `close` has been called."""
        return self._config.is_closed

    def statistics(self) -> BatcherStatistics:
        """Return a snapshot of the calls, their outcomes and the batches.

        Its numbers are read one after another, while calls go on.
        """
        from sluicegate._statistics import BatcherStatistics

        config, runner = self._config, self._current()
        ended = config.succeeded.value, config.failed.value, config.cancelled.value, config.expired.value, config.shed.value
        queue = runner.queue.statistics()
        batches, handled = config.batches.value, config.handled.value
        submitted = runner.before + queue.puts + queue.dropped_newest
        return BatcherStatistics(
            name=config.name,
            submitted=submitted,
            pending=queue.size,
            running=max(0, submitted - queue.size - sum(ended)),
            succeeded=ended[0],
            failed=ended[1],
            cancelled=ended[2],
            expired=ended[3],
            shed=ended[4],
            refused=config.refused.value,
            waiters=queue.waiting_putters,
            waited_seconds=queue.put_blocked_seconds,
            batches=batches,
            mean_batch_size=handled / batches if batches else 0.0,
            handler_seconds=config.busy.value / 1e9,
            max_pending=config.max_pending,
            is_closed=config.is_closed,
        )

    def __repr__(self) -> str:
        config, queue = self._config, self._current().queue
        name = "" if config.name is None else f" {config.name!r}"
        state = " closed" if config.is_closed else ""
        return (
            f"<sluicegate.Batcher{name} at {id(self):#x} of {name_of(config.handler)}:{state} pending={queue.qsize()}"
            f" max_pending={config.max_pending} max={config.max} linger={config.linger:g}>"
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle or copy 'sluicegate.Batcher' object: it has callers that wait, and workers")


def _time_to_live(ttl: Any) -> float:
    seconds = _duration("ttl", ttl)
    if seconds == 0:  # no call would ever reach the handler
        raise ValueError(f"'ttl' must be greater than 0, got {text(ttl)}")
    return seconds


def _timed_out(timeout: Any) -> TimeoutError:
    return TimeoutError(f"there was no result within {timeout} seconds")
