"""The engine of a `Batcher`: a queue of calls, the workers that form batches of them, and the outcome of each call.

A `BatchRunner` has one queue and its workers: threads for a `def` handler, tasks on one event loop for an `async def` handler. They start
with the first call. When that loop has ended, and in the child of a fork, the runner is over, and its batcher makes another one.

* Each call has exactly one outcome. A worker, `purge` or `fail_pending` takes it out of the queue, claims it, which fails if its caller has
  left, and sets its outcome. Then the call counts as done, for `drain`.
* A waiting worker (`_batch_workers`) refers to the queue, not to the runner. A call refers to the runner, so a runner with calls stays
  alive. An event loop refers to it weakly.
* All waiting is done by queues: `get_many` for a batch, `put` for room, `join` for the end, and a `SimpleQueue` for each caller, or a
  future of its loop.
* Counters are semaphores that are never acquired: `release` counts in one step, from any thread, a signal handler or `__del__`.

Fairness: calls are taken in the order in which they got their place in the queue; callers wait for a place in its wait queue.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import functools
import inspect
import itertools
import os
import sys
import threading
import weakref
from collections import deque

from sluicegate._aio import drive, running_loop
from sluicegate._batch_workers import Worker, work, work_async
from sluicegate._batcher_config import BatcherConfig
from sluicegate._core import WAIT, ManualClock, Queue, Semaphore
from sluicegate._exceptions import Empty, Full, Overloaded, ShutDown
from sluicegate._outcomes import Outbox, SubmittedCall, checked, copied, is_handlers_own, raisable, run
from sluicegate._running import Start

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from typing import Any

    from sluicegate._outcomes import Call, Outcome, WaitingCall

__all__ = ["OVERFLOW", "BatchRunner", "closed", "inside", "loop_ended", "name_of"]

#: What may happen to a call that finds no room: the queue's policies for which age alone decides.
OVERFLOW = ("block", "reject", "drop_oldest", "drop_newest")

#: The mark of the runner whose task runs here, or has created the task that does.
inside: contextvars.ContextVar[object] = contextvars.ContextVar("sluicegate.inside_batcher", default=None)

_DAY = 24 * 3600.0
_NANOSECONDS = 1_000_000_000

#: Arguments of `map`.
_ONCE, _NOTHING = (1,), (None,)

#: The number of calls that `deque.remove` has removed, by what it returns.
_ONE: Any = {None: 1}


class BatchRunner:
    """One queue, its workers, and the event loop of the workers, if they are tasks."""

    def __init__(self, config: BatcherConfig, before: int = 0) -> None:
        self.config = config
        self.clock = config.clock
        self.now = config.clock.now
        #: What the queue has dropped. Failing a call runs its callbacks, which may submit: not while the queue reports.
        self.dropped: deque[Call] = deque()
        self.queue: Queue[Call] = Queue(
            config.max_pending,
            overflow=config.overflow,  # type: ignore[arg-type] # one of OVERFLOW
            name=config.name,
            clock=config.clock,
        )
        #: What `purge` and `fail_pending` have taken out of the queue. A call stays here until it has its outcome.
        self.leaving: deque[Call] = deque()
        #: What the calls fail with that are pending at the end.
        self.end: BaseException | None = None
        if config.drops:
            self.queue._listen(self.dropped.append)  # a function in C: no signal handler can run before the call is kept
        self.try_put = self.queue._try_put
        #: Calls that earlier runners have taken, and in the child of a fork: those that the child will hear no more of are left out.
        self.before = before
        self.at_fork: int | None = None
        self.is_ready = False
        self.is_over = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.workers: list[Worker] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.current_task: Callable[[], asyncio.Task[Any] | None] = _no_task
        #: In the context of its tasks, and of those that they create. Looking at that is cheaper than asking for the current task.
        self.mark = object()
        #: Whether a call may be put without further ado.
        self.is_plain = config.ttl is None and not config.drops
        #: Whether the clock runs in real time, as the timeouts of a future do.
        self.is_real_time = not isinstance(config.clock, ManualClock)
        #: Whether a wait without a timeout has to go by the clock, too.
        self.is_timed = config.ttl is not None or not self.is_real_time
        #: One permit for each worker that has not started.
        self.unstarted = Semaphore(config.workers)
        #: Holds an item for each worker that has started and not ended.
        self.working: Queue[None] = Queue()
        #: The threads that are workers.
        self.threads: list[threading.Thread] = []
        self.idents: set[int] = set()
        #: Calls in the queue whose callers have left; a few more than there are, at times, until the next purge.
        self.departures = Semaphore(0)
        _runners.add(self)

    # Starting.

    def start(self) -> None:
        """Start the workers, unless another thread does. Raises RuntimeError if there is no loop for a coroutine handler."""
        if self.config.is_async:
            self.start_on_loop()
        else:
            while self.start_thread():
                pass
        self.is_ready = not self.is_over

    def start_thread(self) -> bool:
        """Start a worker, and return whether there was one to start.

        A signal handler can raise at any point. So what has been done is noted in the same call into C, and undone.
        """
        config, start, started = self.config, Start(), False
        thread: threading.Thread | None = None
        worker = Worker(config.context.copy())
        counted: list[None] = []
        try:
            [started] = map(self.unstarted.try_acquire, _ONCE)
            if not started:
                return False
            what = (self.queue, self.working, self.idents, worker, config.max, config.linger, config.clock)
            name = f"sluicegate-batcher-{config.name or name_of(config.handler)}"
            thread = threading.Thread(target=start.run, args=(work, *what), name=name, daemon=True)
            self.workers.append(worker)
            counted.extend(map(self.working.put_nowait, _NOTHING))
            thread.start()
            self.threads.append(thread)
        except BaseException:
            if not start.give_up():  # a signal handler has raised, but the thread has been started
                if thread is not None and thread not in self.threads:
                    self.threads.append(thread)
            elif started:
                if counted:
                    self.working.task_done()
                if worker in self.workers:
                    self.workers.remove(worker)
                self.unstarted.release()
                self.is_ready = False  # another caller may have set it meanwhile
            raise
        return True

    def start_on_loop(self) -> None:
        running = running_loop()
        loop = self.config.loop or self.loop or running
        if loop is None:
            raise RuntimeError(
                f"no event loop is known on which {name_of(self.config.handler)}() could run: pass `loop=` to the Batcher, or let a task"
                " await submit_async() first"
            )
        loop = vars(self).setdefault("bound", loop)  # if two loops arrive at once, one of them is bound
        if loop.is_closed():
            raise RuntimeError(f"the event loop on which {name_of(self.config.handler)}() runs is closed")
        import asyncio  # asyncio has been imported, because there is a loop

        self.loop, self.current_task = loop, asyncio.current_task
        held = False
        try:
            [held] = map(self.unstarted.try_acquire, (self.config.workers,))
            if not held:
                return
            host = _LoopHandle(self, loop)
            if loop is running:
                host()
            else:
                loop.call_soon_threadsafe(host)
        except BaseException:  # a signal handler's, or the loop has been closed; a second handle would start no further tasks
            if held:
                self.unstarted.release(self.config.workers)
                self.is_ready = False
            raise

    def start_tasks(self, host: _LoopHandle) -> None:
        assert self.loop is not None  # noqa: S101 - the host's loop
        ended = functools.partial(_task_ended, weakref.ref(self), weakref.ref(host))
        for _ in range(self.config.workers):
            worker = Worker(self.config.context.copy())
            self.working.put_nowait(None)
            worker.context.run(inside.set, self.mark)
            working = work_async(self.queue, self.working, worker, self.config.max, self.config.linger, self.clock)
            task = worker.context.run(self.loop.create_task, working)
            self.workers.append(worker)
            self.tasks.add(task)
            task.add_done_callback(ended)

    # Arrival of calls.

    def put(self, call: Call, timeout: float | None) -> None:
        """Put a call into the queue. Raises Overloaded, or ShutDown if the batcher is closed."""
        config, queue = self.config, self.queue
        if config.ttl is not None:
            timeout = self.within_ttl(timeout)
        if self.loop is not None:
            self.check_loop()
        try:
            if queue.full() and timeout != 0 and config.overflow == "block":
                self.check_not_own("submit", "submit_async")
            queue.put(call, True, timeout)
        except (Full, ShutDown) as error:
            raise self.refusal(error, timeout) from None
        finally:
            if self.dropped:
                self.fail_dropped()

    async def put_async(self, call: Call, timeout: float | None) -> None:
        """As `put`, from a coroutine, where `_try_put` is not enough. Raises what the queue raises."""
        queue = self.queue
        if self.config.ttl is not None:
            timeout = self.within_ttl(timeout)
        try:
            if queue._try_put(call, timeout, None) is WAIT:
                if queue.full() and timeout != 0 and self.config.overflow == "block":
                    self.check_not_own("submit_async", "submit_async")
                await drive(queue._async_put(call, timeout))
        finally:
            if self.dropped:
                self.fail_dropped()

    def fail_dropped(self) -> None:
        """Fail the calls that were dropped for want of room.

        A signal handler that raises can end this at any point, so a call stays in `dropped` until it has its outcome, and whoever comes
        next continues: the threads and tasks that submit, the workers, `drain` and `close`. Two of them may fail the same call, which has
        an effect once. The one that removes it counts it.
        """
        dropped = self.dropped
        while dropped:
            try:
                call = dropped[0]
            except IndexError:  # another thread was faster
                return
            call.claim()
            if is_shed := not (
                call.has_left or call.has_expired
            ):  # a claim that was interrupted, or made by another thread here, is as good
                text = "the batcher{0} was full, with {3} calls pending, and this one was dropped; retry after {1:.3g} s"
                outbox = Outbox()
                call.fail(Overloaded(text, self.config.name, self.retry_after(), "shed", self.config.max_pending), outbox)
                outbox.send()
            counter = self.config.shed if is_shed else self.departed(call)
            with contextlib.suppress(ValueError):  # another thread was faster
                # Remove it and count it without a return to Python code in between, where a signal handler could run.
                counter.release(*map(_ONE.get, map(dropped.remove, (call,))))

    def refusal(self, error: Full | ShutDown, timeout: float | None) -> BaseException:
        """Return the exception for a caller whose call the queue has refused."""
        return self.no_room(timeout) if isinstance(error, Full) else self.ending()

    def within_ttl(self, timeout: float | None) -> float | None:
        """Return how long a call may wait for room, after making room if waiting calls have expired: the first is the oldest."""
        queue, ttl = self.queue, self.config.ttl
        if queue.full():
            with contextlib.suppress(Empty, ShutDown):
                if self.is_late(queue.peek(), self.clock.now()):
                    self.purge()
        return ttl if timeout is None or (ttl is not None and ttl < timeout) else timeout

    def check_loop(self) -> None:
        """Check whether the loop has been closed. Its `_LoopHandle` reports that too, but not with every implementation of loops."""
        if self.loop is not None and not self.is_over and self.loop.is_closed():
            self.end_with(loop_ended(self.config))

    def time_left(self, call: Call, limit: float) -> float:
        """Return the rest of a timeout that began when the call arrived."""
        return max(0.0, limit - (self.clock.now() - call.arrived))

    def outcome(self, call: WaitingCall, limit: float | None) -> Outcome:
        """Wait for the outcome of a call, `limit` seconds since its arrival at most. Raises Empty if there is none by then."""
        due = self.due_in(call)
        if due is not None and (limit is None or due < self.time_left(call, limit)):
            with contextlib.suppress(Empty):
                return call.outcome.get(True, due)
            if call.expire():
                raise self.overdue()
        return call.outcome.get(True, None if limit is None else self.time_left(call, limit))

    async def outcome_async(self, call: WaitingCall, limit: float | None) -> Outcome:
        """As `outcome`, from a coroutine."""
        due = self.due_in(call)
        if due is not None and (limit is None or due < self.time_left(call, limit)):
            with contextlib.suppress(Empty):
                return await call.outcome.get_async(due)
            if call.expire():
                raise self.overdue()
        return await call.outcome.get_async(None if limit is None else self.time_left(call, limit))

    def due_in(self, call: Call) -> float | None:
        """Return the seconds, 0 at least, until the call expires; None if there is no `ttl`.

        Whoever waits for the call sees to it then: workers that are all busy expire nothing.
        """
        return None if self.config.ttl is None else self.time_left(call, self.config.ttl)

    def check_not_own(self, blocking: str, awaitable: str) -> None:
        """Raise RuntimeError if the caller is one of the workers, which would wait for itself."""
        if not self.config.is_async:
            if threading.get_ident() in self.idents:
                raise RuntimeError(f"{blocking}() was called by the Batcher's own handler, which would wait for itself")
            return
        if (running := running_loop()) is None or running is not self.loop:
            return
        if blocking != awaitable:
            raise RuntimeError(f"{blocking}() would block the event loop on which the handler has to run; use `await {awaitable}()`")
        if self.current_task() in self.tasks:
            raise RuntimeError(f"{awaitable}() was awaited by the Batcher's own handler, which would wait for itself")

    def no_room(self, timeout: float | None) -> Overloaded:
        self.config.refused.release()
        reason = "full" if timeout == 0 or self.config.overflow != "block" else "expired"
        text = "the batcher{0} has no room, with {3} of {3} calls pending; retry after {1:.3g} s"
        return Overloaded(text, self.config.name, self.retry_after(), reason, self.config.max_pending)

    def ending(self) -> BaseException:
        """Return the exception for a call that came too late."""
        self.is_ready = self.is_ready and not self.is_over  # the thread that started the workers may have set it late
        return loop_ended(self.config) if self.is_over and not self.config.is_closed else closed(self.config)

    def retry_after(self) -> float:
        """Return the seconds until the calls that are pending now will have run, estimated from recent batches."""
        paces = [worker.pace for worker in self.workers if worker.pace is not None]
        if not paces:
            return Overloaded._retry_after
        batches = -(-self.queue.qsize() // self.config.max) or 1
        return batches * sum(paces) / len(paces) / self.config.workers

    # Departure of calls that no batch has taken.

    def left(self) -> None:
        """Record that a caller has left. The places of such calls are freed many at a time: each search looks at the whole queue."""
        self.departures.release()
        if self.departures.value > self.queue.qsize() // 64:
            self.purge()

    def is_late(self, call: Call, now: float) -> bool:
        """Return whether a call has expired for a batch that is formed now."""
        return self.config.ttl is not None and now - call.arrived > self.config.ttl

    def purge(self) -> None:
        """Remove the calls that would not reach the handler from the queue."""
        now = self.clock.now()
        if departures := self.departures.value:
            self.departures.try_acquire(departures)
        self.remove(lambda call: call.has_left or self.is_late(call, now))

    def remove(self, leaves: Callable[[Call], bool]) -> int:
        """Take the calls for which `leaves` returns true out of the queue, and give each its outcome. Return how many have failed.

        A signal handler that raises can end this at any point, so the calls are taken out and noted in one call into C, and whoever comes
        next continues: the end of this function, workers, `drain` and `close`.
        """
        queue: Any = self.queue  # what `q.queue` uses is not in the stub
        try:
            while gone := list(filter(leaves, seen := queue._snapshot())):
                kept = list(itertools.filterfalse(set(gone).__contains__, seen))
                # If the queue holds the same calls still, it gets those that are kept; else it is tried again.
                replaced = map(queue._replace, (seen,), (kept,))
                self.leaving.extend(itertools.chain.from_iterable(map({True: gone, False: ()}.__getitem__, replaced)))
        finally:
            failed = self.fail_leaving()
        return failed

    def fail_leaving(self) -> int:
        """Give the calls an outcome that have been taken out of the queue. Return how many have failed at the end of the runner."""
        leaving, config, now, failed = self.leaving, self.config, self.clock.now(), 0
        while leaving:
            try:
                call = leaving[0]
            except IndexError:  # another thread was faster
                break
            call.claim()  # one that was interrupted, or made by another thread here, is as good
            if call.has_left or call.has_expired:
                counter = self.settle_departed(call)
            else:
                at_end = self.end is not None and not self.is_late(call, now)
                counter = config.failed if at_end else config.expired
                outbox = Outbox()
                call.fail(copied(self.end) if at_end and self.end else self.overdue(), outbox)
                outbox.send()
            with contextlib.suppress(ValueError):  # another thread was faster
                # Remove it, count it, and report it to the queue as done, without a return to Python code in between.
                counted = map(_ONE.get, map(counter.release, map(_ONE.get, map(leaving.remove, (call,)))))
                done = list(map(self.queue._tasks_done, counted))
                failed += len(done) if counter is config.failed else 0
        return failed

    def expire(self, call: Call) -> None:
        """Fail a claimed call that has expired."""
        self.config.expired.release()
        outbox = Outbox()
        call.fail(self.overdue(), outbox)
        outbox.send()
        self.queue.task_done()

    def overdue(self) -> Overloaded:
        """Return the exception for a call that has expired."""
        text = "the call was in the batcher{0} for more than {3} seconds before a batch could take it; retry after {1:.3g} s"
        return Overloaded(text, self.config.name, self.retry_after(), "expired", self.config.ttl)

    def count_departed(self, call: Call) -> None:
        """Count a call that could not be claimed."""
        self.settle_departed(call).release()
        self.queue.task_done()

    def settle_departed(self, call: Call) -> Semaphore:
        """Note that a call has left the queue whose caller had left it, and return its counter."""
        if call.has_expired and isinstance(call, SubmittedCall) and not call.done():
            call.fail(self.overdue(), Outbox())  # its caller may have been interrupted before it did that
        self.departures.try_acquire()
        return self.departed(call)

    def departed(self, call: Call) -> Semaphore:
        """Return the counter of calls that have left like this one."""
        return self.config.expired if call.has_expired else self.config.cancelled

    # Batches.

    def admit(self, worker: Worker, calls: list[Call]) -> list[Any]:
        """Return the items of the calls of a batch. Gaps left by cancelled and expired calls are filled from the queue."""
        now, has_ttl = self.clock.now(), self.config.ttl is not None
        batch = worker.batch = []
        while True:
            enough = len(batch) + len(calls)
            for call in calls:
                if not call.claim():
                    self.count_departed(call)
                elif has_ttl and self.is_late(call, now):
                    self.expire(call)
                else:
                    batch.append(call)
            if len(batch) == enough:
                break
            try:
                calls = self.queue.get_many(self.config.max - len(batch), False)
            except (Empty, ShutDown):
                break
        items = [call.item for call in batch]
        for call in batch:
            call.item = None
        if items:
            self.config.batches.release()
            self.config.handled.release(len(items))
        return items

    def run(self, worker: Worker, calls: list[Call]) -> None:
        """Run a batch in this thread."""
        if self.dropped or self.leaving:
            self.fail_dropped()
            self.fail_leaving()
        items = self.admit(worker, calls)
        if not items:
            return
        begun, count = self.clock.now(), len(items)
        try:
            results = worker.context.run(run, self.config.handler, items, count)
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
            self.measure(worker, begun)
            self.fail_batch(worker, worker.batch, error)
        else:
            self.measure(worker, begun)
            self.deliver(worker, worker.batch, results)

    async def run_async(self, worker: Worker, calls: list[Call]) -> None:
        """Run a batch on this loop. An exception meant for the loop is raised after the callers have been notified."""
        if self.dropped or self.leaving:
            self.fail_dropped()
            self.fail_leaving()
        items = self.admit(worker, calls)
        if not items:
            return
        batch, begun, count = worker.batch, self.clock.now(), len(items)
        try:
            results = checked(await self.config.handler(items), count)
        except BaseException as error:
            self.measure(worker, begun)
            self.fail_batch(worker, batch, error)
            if not isinstance(error, Exception) and not is_handlers_own(error):
                raise
        else:
            self.measure(worker, begun)
            self.deliver(worker, batch, results)

    def measure(self, worker: Worker, begun: float) -> None:
        seconds = self.clock.now() - begun
        if nanoseconds := int(seconds * _NANOSECONDS):  # a manual clock may stand still
            self.config.busy.release(nanoseconds)
        worker.pace = seconds if worker.pace is None else worker.pace + (seconds - worker.pace) / 8

    def deliver(self, worker: Worker, batch: list[Call], results: Iterable[Any]) -> None:
        """Give each call its result. A result that is an exception is raised by its caller alone."""
        if worker.batch is not batch:
            return  # the runner has ended meanwhile and failed the calls
        worker.batch = []
        outbox = Outbox(self.loop)  # a task on it is here
        failures = sum(map(isinstance, results, itertools.repeat(BaseException)))
        if failures:
            self.config.failed.release(failures)
        if failures < len(batch):
            self.config.succeeded.release(len(batch) - failures)
        for call, result in zip(batch, results):  # noqa: B905 - their number has been compared
            if failures and isinstance(result, BaseException):
                call.fail(raisable(result), outbox)
            else:
                call.succeed(result, outbox)
        outbox.send()
        self.queue._tasks_done(len(batch))

    def fail_batch(self, worker: Worker, batch: list[Call], error: BaseException) -> None:
        """Fail all calls of a batch, each with its own copy of the exception."""
        if worker.batch is not batch:
            return
        worker.batch = []
        self.fail(batch, raisable(error))

    def fail(self, calls: list[Call], error: BaseException) -> None:
        if not calls:
            return
        errors = [error, *(copied(error) for _ in calls[1:])]  # before any caller raises the first, which changes its traceback
        outbox = Outbox()
        self.config.failed.release(len(calls))
        for call, each in zip(calls, errors):  # noqa: B905 - of one length
            call.fail(each, outbox)
        outbox.send()
        self.queue._tasks_done(len(calls))

    # The end of a runner.

    def fail_pending(self, error: BaseException) -> int:
        """Fail the calls that no batch has taken yet, and return their number."""
        self.fail_dropped()
        self.end = error
        return self.remove(lambda _call: True)

    def end_with(self, error: BaseException) -> None:
        """Fail all calls, because the workers have ended for good."""
        self.is_ready, self.is_over = False, True
        self.queue.shutdown()
        self.fail_pending(error)
        for worker in self.workers:
            self.fail_batch(worker, worker.batch, copied(error))
        _abandon(self.tasks)

    def forget(self) -> None:
        """Forget everything in the child of a fork: the workers, and the calls that they will run, belong to the parent."""
        self.at_fork = self.config.ended()
        self.is_ready, self.is_over = False, True

    def submitted(self) -> int:
        """Return the number of calls that this runner and the ones before it have accepted."""
        if self.at_fork is not None:
            return self.at_fork
        seen = self.queue.statistics()
        return self.before + seen.puts + seen.dropped_newest

    def is_running(self) -> bool:
        """Return whether it makes sense to wait: the tasks of a loop that does not run never end."""
        return not self.is_over and (not self.config.is_async or (self.loop is not None and self.loop.is_running()))

    def finish(self) -> None:
        """Run the pending calls at exit, or fail them if they would run on a loop that does not run any more."""
        self.config.is_closed = True
        self.queue.shutdown()
        if self.is_running():
            self.queue.join()
        elif not self.is_over:
            self.end_with(loop_ended(self.config))


def _no_task() -> None:
    return None


class _LoopHandle:
    """An object that an event loop holds: it starts the workers on the loop and keeps them. When the loop drops it, the loop has ended.

    It is called once, and afterwards is the callback of a timer, which a loop drops when it is closed or collected. A loop refers to its
    tasks only weakly: without the handle, the garbage collector would collect the waiting workers together with the batcher.
    """

    def __init__(self, runner: BatchRunner, loop: asyncio.AbstractEventLoop) -> None:
        self.runner = weakref.ref(runner)
        self.loop = weakref.ref(loop)
        self.tasks = runner.tasks
        self.timer: Callable[[], asyncio.TimerHandle | None] = lambda: None

    def __call__(self) -> None:
        runner, loop = self.runner(), self.loop()
        if loop is None or (not self.tasks and (runner is None or runner.is_over)):
            return
        self.timer = weakref.ref(loop.call_later(_DAY, self))
        if runner is not None and not self.tasks:
            runner.start_tasks(self)

    def __del__(self) -> None:
        if sys.is_finalizing():
            return
        runner = self.runner()
        if runner is not None and not runner.is_over:
            runner.end_with(loop_ended(runner.config))
        else:
            _abandon(self.tasks)


def _abandon(tasks: set[asyncio.Task[None]]) -> None:
    """Mark these tasks as abandoned, so that asyncio does not warn about them. Their callers have been notified."""
    for each in list(tasks):
        if not each.done():
            task: Any = each
            task._log_destroy_pending = False
            if inspect.getcoroutinestate(work := task.get_coro()) == inspect.CORO_CREATED:
                work.close()  # otherwise it warns that it was never awaited


def _task_ended(runner: weakref.ref[BatchRunner], host: weakref.ref[_LoopHandle], task: asyncio.Task[None]) -> None:
    owner, handle = runner(), host()
    if owner is not None:
        owner.tasks.discard(task)
        if not owner.is_over and (task.cancelled() or task.exception() is not None):
            owner.end_with(loop_ended(owner.config))
    if handle is not None:
        handle.tasks.discard(task)
        if not handle.tasks and (timer := handle.timer()) is not None:
            timer.cancel()


def name_of(handler: Any) -> str:
    """Return the name of a handler."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return getattr(handler, "__qualname__", None) or type(handler).__qualname__


def closed(config: BatcherConfig) -> ShutDown:
    """Return the exception for calls that came after `close`, and for those that `close` could not wait for."""
    return ShutDown(f"the batcher{'' if config.name is None else f' {config.name!r}'} is closed")


def loop_ended(config: BatcherConfig) -> RuntimeError:
    """Return the exception for calls whose event loop has ended."""
    return RuntimeError(f"the event loop on which {name_of(config.handler)}() runs has ended")


_runners: weakref.WeakSet[BatchRunner] = weakref.WeakSet()


def _forget_all() -> None:
    for runner in list(_runners):
        runner.forget()


def _finish_all() -> None:
    for runner in list(_runners):
        runner.finish()


atexit.register(_finish_all)  # runs after all threads that are not daemons have ended
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
