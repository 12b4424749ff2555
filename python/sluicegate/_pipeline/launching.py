"""How the workers of a run are started: in threads, and in tasks of the caller's event loop or of one in a thread of the run's own."""

from __future__ import annotations

import functools
import threading
import time

from sluicegate._pipeline.routing import broadcast, work_by_key, work_on_batches
from sluicegate._pipeline.sourcing import read
from sluicegate._pipeline.workers import work
from sluicegate._running import Start

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    from sluicegate._pipeline.graph import RunInterface
    from sluicegate._pipeline.workers import Worker

__all__ = ["is_running", "launch"]


def launch(run: RunInterface, worker: Worker) -> None:
    """Start the thread or the task of a worker."""
    node = worker.node
    if node.is_async:
        loop = run.loop or _start_loop(run)
        if run.loop_thread is None and is_running(loop):
            _start_task(run, worker)
        else:
            worker.task = True
            try:
                loop.call_soon_threadsafe(_start_task, run, worker)
            except BaseException:  # it is closed
                worker.task = None
                raise
        return
    start, in_context = Start(), run.context.copy().run
    name = f"pipeline {node.name}"
    thread = threading.Thread(target=start.run, args=(in_context, _run_worker, run, worker), name=name, daemon=True)
    worker.thread = thread
    try:
        thread.start()
    except BaseException:
        if start.give_up():  # else a signal handler has raised, and the thread runs all the same
            worker.thread = None
        raise


def _run_worker(run: RunInterface, worker: Worker) -> None:
    """Do what a worker in a thread does, and let it leave."""
    node = worker.node
    worker.started = time.monotonic()
    try:
        if node.kind == "source":
            read(worker)
        elif node.kind == "batch":
            work_on_batches(worker)
        elif node.kind == "broadcast":
            broadcast(worker)
        elif node.kind == "keyed":
            work_by_key(worker)
        else:
            work(worker)
    except BaseException as error:  # noqa: BLE001 - a mistake of ours, or MemoryError
        run.fail(node, error)
    finally:
        run.worker_left(worker)


def _start_task(run: RunInterface, worker: Worker) -> None:
    """Start the task of a worker, on the thread of the loop."""
    from sluicegate._pipeline.tasks import read_async, work_async

    worker.started = time.monotonic()
    coroutine = read_async(worker) if worker.node.kind == "source" else work_async(worker)
    try:
        task = worker.task = run.loop.create_task(coroutine)
    except BaseException as error:
        coroutine.close()
        worker.task = None
        run.fail(worker.node, error)
        run.worker_left(worker)
        raise
    task.add_done_callback(functools.partial(_task_left, run, worker))
    if worker.is_cancelled:
        worker.cancel()


def _task_left(run: RunInterface, worker: Worker, task: asyncio.Task[None]) -> None:
    """Let a worker leave whose task has ended. A cancellation that is not ours is an error like others."""
    import asyncio

    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is not None and not worker.is_cancelled:
        run.fail(worker.node, error)
    run.worker_left(worker)


def _start_loop(run: RunInterface) -> asyncio.AbstractEventLoop:
    """Start an event loop in a thread of its own."""
    import asyncio

    loop, start = asyncio.new_event_loop(), Start()
    thread = threading.Thread(target=start.run, args=(run.context.copy().run, _run_loop, loop), name="pipeline loop", daemon=True)
    run.loop, run.loop_thread = loop, thread
    try:
        thread.start()
    except BaseException:
        if start.give_up():
            run.loop = run.loop_thread = None
            loop.close()
        raise
    return loop


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether it is the event loop that is running in this thread."""
    import asyncio

    return asyncio._get_running_loop() is loop
