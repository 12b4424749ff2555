"""A run: its workers, and how it ends.

*Completion* moves from the sources to the sink: when the last worker of a node has left, the edges behind the node are shut down, and
the workers of the next node leave when these edges are empty. *An error* in a node stops the sources and kills all edges before the
node, so that the workers there leave; items that have passed the node are finished. *A kill* kills all edges. A killed edge is a queue
that has been shut down and emptied; the items that were in it are discarded, and `on_discard` is told.

The run does not refer to its handle (`PipelineRun`), which can be collected while it runs.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import weakref
from contextvars import copy_context

from sluicegate._closing import Cancellations
from sluicegate._core import Queue, Receiver
from sluicegate._exceptions import Empty, Killed, ShutDown
from sluicegate._mistakes import Mistake
from sluicegate._pipeline.building import batch_limit, in_hand, list_size
from sluicegate._pipeline.errors import apply_policy
from sluicegate._pipeline.keys import Keys
from sluicegate._pipeline.launching import is_running, launch
from sluicegate._pipeline.order import Order
from sluicegate._pipeline.tallies import Tally
from sluicegate._pipeline.workers import Worker
from sluicegate._running import CLOCK, PLENTY, Lock, add_item_note, add_note, call_at_exit, not_an_end, short_repr

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from typing import Any

    from sluicegate._pipeline.graph import Edge, Graph, Node
    from sluicegate._pipeline.tallies import Marks

__all__ = ["Run"]

#: Arguments of `map`, and what a token stands for.
_NOTHING, _LAST = (None,), (-1,)
_ONE: Any = {None: 1}

#: How long a source that blocks is waited for, in seconds: it may never yield another item.
_PATIENCE = 0.5


class Run:
    """A run of a pipeline: what its workers share."""

    def __init__(self, graph: Graph, name: str | None, on_discard: Callable[[Any, str], object] | None) -> None:
        self.graph = graph
        self.name = name
        self.on_discard = on_discard
        self.lock = Lock()  # reentrant, because a signal handler may stop the run
        #: It has an unfinished task for each worker that is there, and for each thread that is killing the run.
        self.alive: Queue[None] = Queue(clock=CLOCK)
        self.workers: list[Worker] = []
        #: The sources take no further item.
        self.is_stopping = False
        self.killed: BaseException | None = None
        #: It was killed because its user has closed it, or let go of it.
        self.is_closed = False
        #: The threads that are in `on_discard`.
        self.discarding: set[int] = set()
        self.errors: list[BaseException] = []
        #: Somebody knows how it has ended: see `PipelineRun._told`.
        self.was_told = False
        #: Whether the first Ctrl-C that reaches a sink in the caller drains, and that Ctrl-C.
        self.drains_on_interrupt = False
        self.interrupt: KeyboardInterrupt | None = None
        #: The thread that was interrupted in a sink in the caller.
        self.interrupted_in: threading.Thread | None = None
        self.discarded = 0
        self.loop: Any = None
        self.loop_thread: threading.Thread | None = None
        self.cancellations = Cancellations()
        self.stopper: threading.Thread | None = None
        self.context = copy_context()
        self.is_over = False
        self.started = self.ended = time.monotonic()
        #: It is shut down at the end: whoever watches waits here.
        self.watching: Queue[None] = Queue(clock=CLOCK)
        self.records: list[Any] = []
        #: Of earlier snapshots, and of workers that the run does not keep any more: see `tallies`.
        self.marks: Marks | None = None
        self.retired: dict[Node, Tally] = {}
        for edge in self.graph.edges:
            if edge.dropped is not None:
                edge.dropped.tell = functools.partial(_drop, weakref.ref(self), edge.producers[0])
        for node in self.graph.nodes:
            if node.ordered and node.kind in ("map", "flat"):
                node.order = Order(self, node)
            if node.kind == "keyed":
                node.keys = Keys(node.options)

    # --- the beginning -----------------------------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Start everything: tasks on the loop, or on one of our own."""
        self.loop = loop
        _live.add(self)
        callers = [Worker(self, node) for node in self.graph.nodes if node.in_caller]
        workers = [Worker(self, node) for node in self.graph.nodes if not node.in_caller for _ in range(node.workers)]
        try:
            for worker in (*callers, *workers):  # all are there before the first can leave
                self.add(worker)
            for worker in reversed(workers):  # whoever takes is there first
                launch(self, worker)
        except BaseException as error:
            self.kill(error)
            self.take_back([*callers, *workers])
            raise

    def add(self, worker: Worker) -> None:
        """Add a worker that is about to begin. If a signal handler raises here, `worker_left` undoes what has been done."""
        self.take_token(worker.tokens)
        with self.lock:
            worker.is_counted = True
            worker.node.alive += 1
            self.workers.append(worker)

    def take_token(self, tokens: list[None]) -> None:
        """Let the end of the run wait, until `give_token` is called with this list."""
        tokens.extend(map(self.alive.put, _NOTHING))  # in one call into C, so that no signal handler comes between the two
        self.alive.get_nowait()  # it is the unfinished task that counts

    def give_token(self, tokens: list[None]) -> None:
        """Let the end of the run not wait any longer for the owner of this list, if it does."""
        with contextlib.suppress(IndexError):
            self.alive._tasks_done(*map(_ONE.get, map(tokens.pop, _LAST)))

    def worker_left(self, worker: Worker) -> None:
        """Let a worker leave. With the last one of a node its output ends, and with the last one of all the run.

        The worker of a sink in the caller leaves in the caller's thread, where a signal handler may raise at any point. Then all is done
        again, or whoever waits for the end of the run would wait for ever.
        """
        try:
            self.leave(worker)
        except BaseException:
            self.leave(worker)
            raise

    def leave(self, worker: Worker) -> None:
        """Do what `worker_left` says, as far as it has not been done."""
        node = worker.node
        with self.lock:
            if worker.has_left and not worker.tokens:
                return
            worker.ended = time.monotonic() if worker.ended is None else worker.ended
            worker.has_left = True
            if worker.is_counted:
                worker.is_counted = False
                node.alive -= 1
            is_last = not node.alive
            if is_last:
                node.ended = worker.ended
                for edge in (*node.out_edges, *node.sample_edges):
                    if not edge.is_open:
                        edge.shut_down()
                # Whoever still puts something there (a source that was left behind) is refused.
            is_over = not any(each.alive for each in self.graph.nodes)
        if is_last and node.in_edge is not None and not node.in_edge.is_killed:
            if node.in_edge.is_open:  # it has not ended: the task in the caller was cancelled
                self.stop()  # before the permits are released, which would let the sources run ahead
            self.kill_edges([node.in_edge])  # nobody takes from it; if it has ended, there is nothing in it
        if is_over:
            self.finish()
        self.give_token(worker.tokens)

    def finish(self) -> None:
        """End the run: all workers have left."""
        for edge in self.graph.edges:
            if edge.dropped is not None:
                edge.dropped.tell_replaced()  # if a signal handler has interrupted whoever put
            if edge is not self.graph.results or edge.is_killed:
                self.drain(edge)
        self.ended = time.monotonic()
        self.is_over = True
        self.watching.shutdown()
        if self.loop_thread is not None and self.loop is not None:
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self.loop.stop)

    def join(self) -> None:
        """Wait for the threads of workers that have left, except for the current one."""
        threads = [worker.thread for worker in self.workers if not worker.is_left_behind]
        for thread in [self.stopper, *threads, self.loop_thread]:
            if thread is not None and thread is not threading.current_thread():
                thread.join()

    # --- the ends ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Take no further item from the sources."""
        with self.lock:
            if self.is_stopping:
                return
            self.is_stopping = True
            sources = [worker for worker in self.workers if worker.node.kind == "source" and not worker.has_left]
        if self.loop is not None:
            tasks = [worker for worker in sources if worker.node.is_async]
            with contextlib.suppress(RuntimeError):  # closed
                self.loop.call_soon_threadsafe(_cancel_takers, tasks)
        # A thread that has not begun yet takes nothing: it looks at `is_stopping` first.
        blocked = [worker for worker in sources if worker.thread is not None and worker.thread.is_alive()]
        if blocked:
            stopper = threading.Thread(target=self.abandon, args=(blocked,), name="pipeline stop", daemon=True)
            with contextlib.suppress(RuntimeError):  # the interpreter is about to exit
                stopper.start()
                self.stopper = stopper

    def abandon(self, sources: list[Worker]) -> None:
        """Leave behind the sources that block."""
        due = time.monotonic() + _PATIENCE
        for worker in sources:
            worker.thread.join(max(0.0, due - time.monotonic()))
        for worker in sources:
            if worker.thread is not None and worker.thread.is_alive() and worker.since is not None:
                worker.is_left_behind = True
                self.worker_left(worker)

    def kill(self, error: BaseException, *, is_urgent: bool = False) -> None:
        """End everything at once. The run is waited for until `on_discard` has been told of everything.

        If it `is_urgent`, tasks that have been cancelled before are cancelled again, and those that close an iterator too.
        """
        if is_urgent:
            self.cancellations.insist()
        tokens: list[None] = []
        try:
            self.take_token(tokens)
            with self.lock:
                if self.killed is None:
                    self.killed = error
            self.stop()
            self.kill_edges(self.graph.edges, self.graph.nodes)
        finally:
            if tokens:
                self.alive.task_done()

    @property
    def is_unfinished(self) -> bool:
        """Whether it has more to do, and nobody has said that it need not. One with results may be left early, as any iterator."""
        return self.graph.results is None and self.killed is None and not self.is_over

    def warn_unfinished(self, what: str, source: object = None) -> None:
        """Warn that the run ends early, and that it was the program's to wait for it."""
        import warnings

        name = "a pipeline" if self.name is None else f"pipeline {self.name!r}"
        message = f"a run of {name} {what}, and gives up what is on the way: wait() for it, or use it in a `with` block"
        warnings.warn(message, ResourceWarning, source=source, stacklevel=3)

    def lost_error(self) -> BaseException | None:
        """The error that nobody has waited for. Who iterates over results may leave early, and wants no more of them."""
        is_lost = self.graph.results is None and self.killed is None and not self.was_told
        return self.errors[0] if is_lost and self.errors else None

    def warn_of_error(self, error: BaseException) -> None:
        """Warn of an error that nobody has waited for."""
        import warnings

        self.was_told = True
        name = "a pipeline" if self.name is None else f"pipeline {self.name!r}"
        message = f"a run of {name} ended with {short_repr(error)}, and nobody has waited for it: wait() would have raised that"
        warnings.warn(message, RuntimeWarning, stacklevel=3)

    def give_up(self, reason: str) -> None:
        """End the run because nobody wants its results, or, if it is over, discard those that have not been taken."""
        if not self.is_over:
            self.is_closed = self.killed is None
            self.kill(Killed(reason))
        elif self.graph.results is not None and self.graph.results.queue.qsize():
            self.kill_edges([self.graph.results])

    def fail(self, node: Node, error: BaseException) -> None:
        """End a stage with an error, and with it the stages before it and the sources, at once. The stages behind it go on."""
        with self.lock:
            self.errors.append(not_an_end(error, f"a function of stage {node.name!r}"))
        self.stop()
        before = upstream_nodes(node)
        edges = [each.in_edge for each in before if each.in_edge is not None]
        before.remove(node)
        self.kill_edges(edges, before)

    def failed(self, node: Node, number: int, item: Any, error: BaseException) -> bool:
        """Deal with the error of a call. Return whether its worker goes on with the next item."""
        if isinstance(error, KeyboardInterrupt) and node.in_caller:
            self.interrupted_in = threading.current_thread()
            if self.drains_on_interrupt and self.interrupt is None:
                self.interrupt = error
                self.discard([item], node)
                self.stop()
                return True
        if isinstance(error, Mistake):  # the program's, and not an item that fails
            error = error.taken()
        else:
            stopping = apply_policy(node, item, not_an_end(error, f"a call in stage {node.name!r}"))
            if stopping is None:
                return True
            error = stopping
        where = f"pipeline {self.name!r}, stage {node.name!r}" if self.name is not None else f"pipeline, stage {node.name!r}"
        add_item_note(error, where, number, item)
        self.fail(node, error)
        return False

    def refused(self, node: Node, edge: Edge, item: Any, error: BaseException) -> None:
        """End a node because the queue behind it has refused an item, or because a function of that queue has raised."""
        error = not_an_end(error, f"a function of {edge.policy!r}")
        where = f"pipeline {self.name!r}, stage {edge.policy!r}" if self.name is not None else f"pipeline, stage {edge.policy!r}"
        add_note(error, f"in {where}, behind {node.name!r}: {short_repr(item)}")
        self.fail(node, error)

    def source_failed(self, node: Node, error: BaseException) -> None:
        """End a source that has raised. The items that came before the error are finished."""
        error = not_an_end(error, "the source of a pipeline")
        where = f"pipeline {self.name!r}" if self.name is not None else "pipeline"
        add_note(error, f"in {where}: the source {node.name!r}")
        self.fail(node, error)

    def interrupted(self, worker: Worker) -> None:
        """Discard what a worker in the caller has taken, after it was interrupted between two calls.

        The permits of these items may be lost. Nobody needs them any more, because the sources take no further item.
        """
        self.interrupted_in = threading.current_thread()
        self.stop()
        self.discard(worker.left_in_hand(), worker.node)
        worker.hand.clear()
        _release_all(worker.node.in_edge)

    def resize(self, node: Node, workers: int) -> None:
        """Let a stage have this number of workers from now on."""
        made: list[Worker] = []
        before = node.workers
        try:
            with self.lock:
                if not node.alive or self.is_over:
                    return
                self.forget_retired()
                before = node.workers
                self.set_workers(node, workers)
                live = [worker for worker in self.workers if worker.node is node and not worker.has_left]
                for worker in live:
                    worker.is_surplus = False
                    worker.batch_size = 1
                for worker in live[workers:]:
                    worker.is_surplus = True
                made += [Worker(self, node) for _ in range(workers - len(live))]
                for worker in made:
                    self.add(worker)
            for worker in made:
                launch(self, worker)
        except BaseException:  # a thread cannot be started, or it is a signal handler's
            self.take_back(made)
            if workers != before:
                self.resize(node, before)
            raise

    def set_workers(self, node: Node, workers: int) -> None:
        """Set the number of workers of a node, and what depends on it; all or nothing. Call it with the lock held."""
        edge = node.in_edge if node.holds_input_permits else node.out_edge
        before, size, most = node.workers, list_size(edge), node.max_batch
        capacity, permits, admission = edge.capacity, edge.permits, node.admission if node.limits_itself else None
        sizes = [(semaphore, semaphore.size) for semaphore in (permits, admission) if semaphore is not None]
        more = workers - before
        try:
            node.workers = workers
            if capacity is not None:
                edge.capacity = capacity + more * size
            if admission is not None:
                admission.resize(admission.size + more)
            if permits is not None:
                permits.resize(permits.size + more * size)
                if node.kind not in ("keyed", "flat"):
                    node.max_batch = batch_limit(permits, workers * size)
            elif edge.is_bounded and node.kind != "keyed":
                node.max_batch = in_hand(node) // workers
        except BaseException:  # a signal handler's
            node.workers, node.max_batch, edge.capacity = before, most, capacity
            for semaphore, was in sizes:
                semaphore.resize(was)
            raise
        finally:
            if edge.is_killed:  # meanwhile, and nobody must wait for a permit any more
                _release_all(edge)

    def take_back(self, workers: list[Worker]) -> None:
        """Let those of the workers leave that have no thread or task."""
        for worker in workers:
            if worker.thread is None and worker.task is None:
                self.worker_left(worker)

    def forget_retired(self) -> None:
        """Keep only the figures of workers that are gone, because a run may be resized any number of times. Call it with the lock held."""
        gone = [worker for worker in self.workers if worker.is_gone]
        for worker in gone:
            self.retired.setdefault(worker.node, Tally()).add(worker)
        if gone:
            self.workers = [worker for worker in self.workers if worker not in gone]  # others may be iterating over the old list

    def is_inside(self, task: Any = None) -> bool:
        """Return whether the end of the run has to wait for this thread or task: it is in a call of a stage, or in `on_discard`."""
        me = threading.get_ident()
        if me in self.discarding:
            return True
        if any(worker.task is task and not worker.has_left for worker in self.workers if worker.task is not None):
            return True
        if self.loop_thread is not None and self.loop_thread.ident == me and not self.is_over:
            return True
        return any(worker.thread is not None and worker.thread.ident == me and not worker.has_left for worker in self.workers)

    def needs_loop_of_this_thread(self) -> bool:
        """Return whether tasks of the run need the event loop that is running in this thread."""
        if self.loop is None or self.is_over or not any(node.is_async and node.alive and not node.in_caller for node in self.graph.nodes):
            return False
        return is_running(self.loop)

    def kill_edges(self, edges: Sequence[Edge], nodes: Sequence[Node] = ()) -> None:
        """Shut edges down, let the workers of these nodes begin no further call, and discard what is in the edges.

        Discarding comes last, because `on_discard` may take its time.
        """
        for edge in edges:
            edge.is_killed = True
            edge.shut_down()
        for edge in edges:
            _release_all(edge)
        self.stop_calls(nodes)
        for edge in edges:
            if edge.calls is None or not edge.calls.running:  # `finish` does it after a call of `merge`, which would be waited for here
                self.drain(edge)

    def drain(self, edge: Edge) -> None:
        """Discard the items in an edge."""
        while True:
            try:
                items = edge.queue.get_many(1000, block=False)
            except (Empty, ShutDown):
                return
            self.discard(items, edge.producers[0] if edge.consumer is None else edge.consumer)
            if edge.shares_next_permits and edge.consumer is not None:  # which goes on, and a source may wait for a permit
                edge.consumer.out_edge.release(len(items))

    def stop_calls(self, nodes: Sequence[Node]) -> None:
        """Let the workers of these nodes begin no further call."""
        workers = [worker for worker in self.workers if not worker.has_left and worker.node in nodes]
        for worker in workers:
            worker.stop_calls()
        for node in nodes:
            if node.order is not None:
                node.order.end()
        self.cancel([worker for worker in workers if worker.node.is_async])

    def cancel(self, workers: list[Worker]) -> None:
        """Cancel tasks."""
        if not workers or self.loop is None:
            return
        for worker in workers:
            worker.is_cancelled = True
            if (caller := worker.caller) is not None:
                with contextlib.suppress(RuntimeError):
                    caller.get_loop().call_soon_threadsafe(worker.cut_short)
        with contextlib.suppress(RuntimeError):  # closed
            self.loop.call_soon_threadsafe(_cancel, workers)

    def discard(self, items: Sequence[Any], node: Node) -> None:
        """Count items that will not be finished, and call `on_discard` with them."""
        if not items or node.items_are_copies:
            return
        with self.lock:
            self.discarded += len(items)
        if self.on_discard is None:
            return
        me = threading.get_ident()
        is_first = me not in self.discarding
        self.discarding.add(me)
        try:
            for item in items:
                try:
                    self.on_discard(item, node.name)
                except BaseException as error:  # noqa: BLE001 - the others have a right to be told
                    Receiver._report(error, self.on_discard)
        finally:
            if is_first:
                self.discarding.discard(me)

    def loop_died(self) -> None:
        """End the run because the caller's loop is gone, and the tasks with it."""
        self.kill(RuntimeError("the event loop of this pipeline has ended"))
        for worker in list(self.workers):
            if worker.node.is_async and not worker.has_left:
                if worker.task is not None and worker.task is not True:
                    _close(worker.task)
                self.worker_left(worker)

    def forget(self) -> None:
        """End the run in the child of a fork, where its threads and tasks do not exist."""
        self.lock = Lock()
        self.errors = [RuntimeError("this process was forked while its parent was running a pipeline")]
        self.is_stopping = self.is_over = True
        self.alive = Queue(clock=CLOCK)
        for edge in self.graph.edges:
            edge.is_killed = True
            edge.shut_down(immediate=True)
            _release_all(edge)

    # --- the outcome -------------------------------------------------------------------------------------------------

    def outcome(self) -> BaseException | None:
        """Return the exception that the caller raises when the run is over, or None."""
        with self.lock:
            errors = list(self.errors)
            first = self.interrupt or (errors[0] if errors else self.killed)
        if first is not None and first is self.killed and not isinstance(first, Exception):
            # It was raised where somebody was interrupted or cancelled; others are told that the run was killed.
            first = Killed(f"the pipeline was killed by {type(first).__name__}")
            first.__cause__ = self.killed
        for other in errors[1:10]:
            add_note(errors[0], f"also raised: {short_repr(other)}{''.join(f', {note}' for note in getattr(other, '__notes__', ())[:1])}")
        self.errors = errors[:1]
        return first

    def unfinished_work(self) -> str:
        """Return in words which stages have not ended, and what they work on."""
        now, found = time.monotonic(), []
        for node in self.graph.nodes:
            workers = [worker for worker in self.workers if worker.node is node and not worker.has_left]
            busy = [worker for worker in workers if worker.since is not None]
            if not workers:
                continue
            what = "source" if node.kind == "source" else "stage"
            if busy:
                oldest = min(busy, key=lambda worker: worker.since or now)
                items = list(oldest.items)
                if oldest.position or len(items) == 1:
                    about = f" on {short_repr(items[max(0, oldest.position - 1)])}"
                else:
                    about = f" on one of {len(items)} items, from {short_repr(items[0])} on" if items else ""
                found.append(f"{what} {node.name!r} has been busy{about} for {now - (oldest.since or now):.1f} s")
            elif not found or node.kind != "source":
                found.append(f"{what} {node.name!r} waits")
        for edge in self.graph.edges:
            for since, item in () if edge.calls is None else list(edge.calls.running.values()):
                found.append(f"stage {edge.policy!r} has been busy on {short_repr(item)} for {now - since:.1f} s")
        busy_ones = [text for text in found if "busy" in text]
        return "; ".join(busy_ones or found) or "items are being discarded"


def _release_all(edge: Edge) -> None:
    """Release permits without number, so that nobody waits for one of a killed edge."""
    if edge.permits is not None:
        edge.permits.resize(PLENTY)
    if edge.consumer is not None and edge.consumer.limits_itself:
        edge.consumer.admission.resize(PLENTY)


def _drop(run: weakref.ref[Run], node: Node, item: Any) -> None:
    """Discard an item that a policy behind a node has dropped."""
    alive = run()
    if alive is not None:
        alive.discard([item], node)


def upstream_nodes(node: Node) -> list[Node]:
    """Return the node and all nodes whose items come to it."""
    found = [node]
    for each in found:
        if each.in_edge is not None:
            found += [one for one in each.in_edge.producers if one not in found]
    return found


def _cancel(workers: list[Worker]) -> None:
    for worker in workers:
        worker.cancel()


def _cancel_takers(workers: list[Worker]) -> None:
    """Cancel the tasks of sources, unless they have an item: these end when they have put it."""
    for worker in workers:
        if worker.is_taking and worker.task is not None and worker.task is not True:
            worker.is_cancelled = True
            worker.cancel()


def _close(task: asyncio.Task[None]) -> None:
    """Close the coroutine of a task whose loop is gone, so that it waits for nothing any more and discards the item that it has."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    coroutine: Any = task.get_coro()
    try:
        coroutine.close()
    except BaseException as error:  # noqa: BLE001 - the user's, who may also have awaited something in a `finally`
        Receiver._report(error, coroutine)


_live: weakref.WeakSet[Run] = weakref.WeakSet()


def _at_exit() -> None:
    """Let the calls that are running finish, and begin no other."""
    runs = [run for run in _live if not run.is_over]
    unfinished = [run for run in runs if run.is_unfinished]
    failed = [(run, error) for run in _live if (error := run.lost_error()) is not None]
    for run in runs:
        run.kill(Killed("the program ends"))
    for run in unfinished:
        run.warn_unfinished("has not ended when the program does")
    for run, error in failed:
        run.warn_of_error(error)
    for run in runs:
        for worker in run.workers:
            if worker.thread is not None and worker.node.kind != "source":
                worker.thread.join()


def _after_fork_in_child() -> None:
    for run in list(_live):  # the threads are the parent's
        if not run.is_over:
            run.forget()


call_at_exit(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
