"""The futures of executors and batchers: a `concurrent.futures.Future` whose lock and lists are created only when they are needed.

Half of the time that a thread pool of the standard library spends on a short job goes into the future: each has a condition with a lock
from the start, and acquires it a dozen times. Here a future begins as an object with one attribute, its task, and two atomic operations on
its `__dict__` determine its fate:

* The thread that pops `_task` owns the job: a worker, which runs it, or a caller that cancels it. (In a batcher, the thread that sets
  `_claimed`.)
* The thread that sets `_gate` first decides how the job ends. A worker sets the outcome: then nobody waits, and nobody has to be woken. A
  caller that wants to wait sets a condition: from then on everything is done under it, as in the standard library.

`concurrent.futures.wait`, `as_completed` and `asyncio.wrap_future` read `_condition`, `_state`, `_waiters` and `_done_callbacks`. The
property `_condition` creates all of them when it is first read.
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import TimeoutError as TimedOut  # not the built-in class before 3.11
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, LOGGER, PENDING, RUNNING

from sluicegate._arguments import patience

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from datetime import timedelta
    from typing import Any, TypeAlias

    #: What is to be called, with what, and in which context.
    Task: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Context]

__all__ = ["JobFuture"]

_CANCELLED = (CANCELLED, CANCELLED_AND_NOTIFIED)
_DONE = (CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED)


class JobFuture(Future):  # type: ignore[type-arg]
    """The future of a job. `_on_cancel` is called once, without arguments, if the job is cancelled before it began."""

    # The standard library sets these attributes in `__init__`.
    _state = PENDING
    _result = None
    _exception = None

    def __init__(self, task: Task, on_cancel: Callable[[JobFuture], None]) -> None:
        self._task = task
        self._on_cancel = on_cancel

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        state = vars(self)
        gate = state.get("_gate")
        if gate is None:
            state.setdefault("_waiters", [])
            state.setdefault("_done_callbacks", [])
            gate = state.setdefault("_gate", threading.Condition())
        if type(gate) is not tuple:
            return gate
        # The job has ended without a condition: nobody is woken through this one, and the state does not change any more.
        self._show(gate)
        state.setdefault("_waiters", [])
        state.setdefault("_done_callbacks", [])
        return state.setdefault("_late", threading.Condition())

    def _show(self, outcome: tuple[Any, BaseException | None]) -> None:
        self._result, self._exception = outcome
        self._state = FINISHED

    def _claim(self) -> Task | None:
        """Take the task. Only the first caller gets it."""
        return vars(self).pop("_task", None)

    def _run(self, finished: Callable[[], object]) -> None:
        """Run the job, unless it has been cancelled. `finished` is called when it is over, before any other thread can see that."""
        task = vars(self).pop("_task", None)
        if task is None:
            return
        self._state = RUNNING
        call, args, kwargs, context = task
        del task
        try:
            result = context.run(call, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - it is the job's, and goes to whoever asks for the result
            del call, args, kwargs, context
            finished()
            self._settle((None, error))
            self = None  # noqa: PLW0642 - the error's traceback refers to this frame
        else:
            del call, args, kwargs, context  # a thread that sees the result may expect these objects to be gone
            finished()
            self._settle((result, None))

    def _settle(self, outcome: tuple[Any, BaseException | None]) -> bool:
        """Set the result or the error. Return False if the job has ended already.

        If an exception from a signal handler has interrupted it, the next call completes what this one has begun.
        """
        gate = vars(self).setdefault("_gate", outcome)
        if gate is outcome:
            self._show(outcome)
            return True
        if type(gate) is tuple:
            self._show(gate)
            return False
        with gate:
            if self._state in _DONE:
                gate.notify_all()
                return False
            self._show(outcome)
            for waiter in self._waiters:
                (waiter.add_result if outcome[1] is None else waiter.add_exception)(self)
            gate.notify_all()
        self._invoke_callbacks()
        return True

    def _invoke_callbacks(self) -> None:
        for callback in vars(self).get("_done_callbacks", ()):
            try:
                callback(self)
            except Exception:  # noqa: BLE001 - whoever added it is not here
                LOGGER.exception("exception calling callback for %r", self)

    def cancel(self) -> bool:
        """Cancel the job if it has not begun, and return whether it is cancelled. Its place is free at once."""
        condition = self._condition
        with condition:
            if self._state in _CANCELLED:
                return True
            if self._state != PENDING or self._claim() is None:
                return False
            self._state = CANCELLED_AND_NOTIFIED  # no worker has to be notified first
            self._on_cancel(self)
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            condition.notify_all()
        self._invoke_callbacks()
        return True

    def cancelled(self) -> bool:
        """Return True if the job was cancelled before it began."""
        return self._state in _CANCELLED

    def running(self) -> bool:
        """Return True if the job is running."""
        return self._state == RUNNING

    def done(self) -> bool:
        """Return True if the job was cancelled or has finished."""
        return self._state in _DONE

    def result(self, timeout: float | timedelta | None = None) -> Any:
        """Return what the job returned, or raise what it raised, waiting until it has finished.

        Raises TimeoutError after `timeout` seconds, CancelledError if the job was cancelled.
        """
        if self._state != FINISHED:
            self._wait(timeout)
        if self._exception is None:
            return self._result
        try:
            raise self._exception
        finally:
            self = None  # noqa: PLW0642 - as in `_run`

    def exception(self, timeout: float | timedelta | None = None) -> BaseException | None:
        """Return what the job raised, or None, waiting until it has finished. Raises as `result` does."""
        if self._state != FINISHED:
            self._wait(timeout)
        return self._exception

    def _wait(self, timeout: float | timedelta | None) -> None:
        condition = self._condition
        with condition:
            if self._state not in _DONE:
                condition.wait(patience("timeout", timeout))
            state = self._state
        if state in _CANCELLED:
            raise CancelledError
        if state != FINISHED:
            raise TimedOut

    def set_result(self, result: Any) -> None:
        """Set the result. Raises InvalidStateError if the future is done."""
        if not self._settle((result, None)):
            raise InvalidStateError(f"{self._state}: {self!r}")

    def set_exception(self, exception: BaseException | None) -> None:
        """Set the exception. Raises InvalidStateError if the future is done."""
        if not self._settle((None, exception)):
            raise InvalidStateError(f"{self._state}: {self!r}")

    def set_running_or_notify_cancel(self) -> bool:
        """Claim the job, as an executor does. Return False if it was cancelled."""
        if self._claim() is None:
            if self._state in _CANCELLED:
                return False
            raise InvalidStateError(f"{self._state}: {self!r}")
        self._state = RUNNING
        return True
