"""The workers and sources of a run that are tasks of an event loop.

They work as those in threads do. A worker takes several items at once only if its node has no other; otherwise it takes one, so that
the calls run side by side. All tasks of a run are on one loop. They are cancelled when their results are not wanted any more.
"""

from __future__ import annotations

import asyncio
import functools
import time

from sluicegate._closing import Closing, aclose_of
from sluicegate._exceptions import ChannelClosed, ChannelError, ShutDown
from sluicegate._mistakes import check_result
from sluicegate._pipeline.permits import acquire_some_async
from sluicegate._pipeline.putting import Refusal
from sluicegate._pipeline.routing import give_back
from sluicegate._pipeline.workers import NOTHING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from sluicegate._pipeline.graph import Edge, Operation
    from sluicegate._pipeline.workers import Worker

__all__ = ["read_async", "work_async", "work_in_caller"]


# --- operations -------------------------------------------------------------------------------------------------------


async def call(operation: Operation, item: Any) -> Any:
    """Call a function with an item, and await what it returns if it is a coroutine function."""
    _, f, is_async, timeout = operation
    if not is_async:
        return check_result(f, f(item))
    return await (f(item) if timeout is None else _in_time(f(item), timeout))


async def _in_time(awaitable: Awaitable[Any], timeout: float) -> Any:
    begun = time.monotonic()
    try:
        return await asyncio.wait_for(awaitable, timeout)
    except asyncio.TimeoutError as error:
        if time.monotonic() - begun < timeout * 0.99:
            raise  # its own
        raise TimeoutError(f"the call took longer than {timeout:g} s and was cancelled") from error


async def apply(worker: Worker, operations: Sequence[Operation], item: Any, emit: Callable[[Any], Awaitable[object]]) -> None:
    """Apply operations to an item, and emit the results."""
    for at, operation in enumerate(operations):
        if operation.kind == "map":
            item = await call(operation, item)
        elif operation.kind == "filter":
            if not await call(operation, item):
                return
        elif operation.kind == "tap":
            await call(operation, item)
        elif operation.kind == "begin":
            item = await _begin(operation, item)
        else:
            await expand(worker, await _begin(operation, item), operations[at + 1 :], emit)
            return
    await emit(item)


async def _begin(operation: Operation, item: Any) -> Any:
    """Call the function of a `flat_map`, and return the iterable. An async generator function returns its generator at once."""
    from inspect import isasyncgen

    if not operation.is_async:
        return operation.function(item)
    made = operation.function(item)
    if isasyncgen(made):
        return made
    return await (made if operation.timeout is None else _in_time(made, operation.timeout))


async def expand(worker: Worker, items: Any, operations: Sequence[Operation], emit: Callable[[Any], Awaitable[object]]) -> None:
    """Apply operations to each item of an iterable."""
    if hasattr(items, "__aiter__"):
        iterator, cancellations = items.__aiter__(), worker.run.cancellations
        # What the function has returned was made for us, so that it is closed too.
        close = None if iterator is items else aclose_of(items, iterator)
        async with Closing(getattr(items, "aclose", None), cancellations), Closing(close, cancellations):
            async for each in iterator:
                await _apply_to_element(worker, operations, each, emit)
    else:
        worker.inner = inner = iter(items)
        for each in inner:
            await _apply_to_element(worker, operations, each, emit)
        worker.inner = None


class _Reported(Exception):
    """A call has raised, and the run knows about it."""


async def _apply_to_element(worker: Worker, operations: Sequence[Operation], each: Any, emit: Callable[[Any], Awaitable[object]]) -> None:
    """Apply operations to one of the items that `flat_map` has made. If they raise and `on_error` skips it, the next one follows."""
    worker.element = each
    try:
        await apply(worker, operations, each, emit)
    except BaseException as error:
        if worker.is_cancelled or isinstance(error, (Refusal, GeneratorExit)) or worker.node.out_edge.is_end(error):
            raise
        if not worker.skips(worker.number, each, error):
            raise _Reported from error
    finally:
        worker.element = NOTHING


# --- workers ----------------------------------------------------------------------------------------------------------


async def work_async(worker: Worker) -> None:
    """Run a worker until it leaves."""
    run, node = worker.run, worker.node
    in_edge, out_edge, admission, order = node.in_edge, node.out_edge, node.admission, node.order
    permits = None if out_edge is None else out_edge.permits
    goes_on = True
    while goes_on and not worker.is_surplus:
        asked = worker.batch_size if node.workers == 1 and node.keys is None else 1
        if admission is not None:
            worker.reserved = asked = await acquire_some_async(admission, asked)
        try:
            items = await in_edge.queue.get_many_async(asked)
        except ShutDown:
            if admission is not None:
                admission.release(asked)
            return
        count, number = len(items), node.next_number
        weight = in_edge.weight(items) if node.keys is None or not node.holds_input_permits else 0
        node.next_number = number + count
        worker.reserved = 0
        worker.taken += count
        if admission is not None and count < asked:
            admission.release(asked - count)
        if not node.holds_input_permits:
            in_edge.release(weight)
        if node.keys is not None and not in_edge.is_killed:
            goes_on = await _process_by_key(worker, items[0], number)
            continue
        if in_edge.is_killed:
            run.discard(items, node)
            worker.last_made = 0
            if order is not None:
                order.deliver(number, number + count, [], is_last=True)
        else:
            goes_on = await _process(worker, items, number)
        if node.holds_input_permits:
            in_edge.release(weight)
        elif worker.last_made < count and permits is not None:
            permits.release(count - worker.last_made)
        del items


async def work_in_caller(worker: Worker) -> None:
    """Run the worker of a sink in the caller, in the caller's task, until it leaves.

    A cancellation of this task is meant for the run, and goes on. One of ours, because the run has been killed, ends here.
    """
    task: Any = asyncio.current_task()
    before = task.cancelling() if hasattr(task, "cancelling") else 0  # from Python 3.11 on
    worker.is_cancelled = True
    worker.caller = task
    error: BaseException | None = None
    try:
        await work_async(worker)
    except BaseException as raised:  # noqa: BLE001 - raised again, if it is not ours
        error = raised
    worker.caller = None
    is_ours = worker.is_cut_short and (not hasattr(task, "uncancel") or task.uncancel() <= before)
    try:
        if error is not None and not (is_ours and isinstance(error, asyncio.CancelledError)):
            raise error
    finally:
        error = None


async def _process_by_key(worker: Worker, item: Any, number: int) -> bool:
    """Work on an item, and then on those with the same key that have come meanwhile."""
    run, node = worker.run, worker.node
    keys = node.keys
    goes_on = True
    try:
        worker.begin_items([item])  # so that a key that hangs is named
        key = keys.of(item)
        is_ours = keys.enter(key, number, item)
        worker.items, worker.since = [], None
        if not is_ours:
            return True
    except BaseException as error:  # noqa: BLE001 - it is for the caller of the run
        worker.items, worker.since = [], None
        goes_on = run.failed(node, number, item, error)
        give_back(node, item)
        return goes_on
    entry: tuple[int, Any] | None = (number, item)
    try:
        while entry is not None:
            number, item = entry
            worker.last_made = 0
            try:
                if goes_on:
                    goes_on = await _process(worker, [item], number)
                else:
                    run.discard([item], node)
            finally:
                if node.holds_input_permits or not worker.last_made:
                    give_back(node, item)
            entry = keys.next(key)
    except BaseException:
        while (entry := keys.next(key)) is not None:
            run.discard([entry[1]], node)
        raise
    return goes_on


async def _process(worker: Worker, items: list[Any], number: int) -> bool:
    run, node = worker.run, worker.node
    out_edge, order = node.out_edge, node.order
    worker.is_at_head = order is None or order.next == number
    results: list[Any] = []
    made, goes_on, has_emitted = 0, True, False

    async def emit(item: Any) -> None:
        nonlocal made, has_emitted
        has_emitted = True
        if not worker.is_at_head:
            results.append(item)
        elif out_edge is not None:
            try:
                if out_edge.is_bounded:
                    await out_edge.queue.put_async(item)
                else:
                    out_edge.queue.put_nowait(item)
            except BaseException as error:
                run.discard([item], node)
                if is_own(worker, out_edge, error):
                    raise
                raise Refusal(item, error, 0) from None
        made += 1

    operations = node.operations
    single = operations[0] if worker.is_single(operations) else None
    is_plain = single is not None and single.is_async and single.timeout is None
    begun = worker.begin_items(items)
    at = 0
    try:
        while at < len(items):
            worker.position = at + 1
            worker.number = number + at
            has_emitted = False
            try:
                if single is not None:
                    result = await (single.function(items[at]) if is_plain else call(single, items[at]))
                    if out_edge is None:
                        made += 1
                    else:
                        await emit(result)
                    del result
                elif order is not None and not worker.is_at_head and node.kind == "flat":
                    await _expand_in_turn(worker, items[at], number, emit)
                else:
                    await apply(worker, operations, items[at], emit)
            except BaseException as error:
                is_over = isinstance(error, Refusal) or (out_edge is not None and out_edge.is_end(error))
                # The caller's task is cancelled by others, so there an exception is that of the call.
                is_cancelled = worker.is_cancelled and not (node.in_caller and isinstance(error, Exception))
                if is_cancelled or is_over:
                    worker.discard_rest(items[at + has_emitted :])
                    if isinstance(error, Refusal):
                        run.refused(node, node.out_edge, error.item, error.error)
                    goes_on = False
                    if is_cancelled:
                        raise
                    break
                if isinstance(error, _Reported):
                    worker.discard_rest(items[at + 1 :])
                    goes_on = False
                else:
                    goes_on = worker.call_failed(items, at, number, error)
                if not goes_on:
                    break
            at += 1
            if worker.calls_stopped and at < len(items):
                run.discard(items[at:], node)
                goes_on = False
                break
        if results and out_edge is not None and out_edge.is_bounded:
            goes_on = await _put_in_turn(worker, results, number, emit) and goes_on
    finally:
        worker.end_items(made)
        if order is not None:
            after = number + len(items)
            if worker.is_at_head:
                order.advance(after, is_last=not goes_on)
            else:
                order.deliver(number, after, results, is_last=not goes_on)
    worker.record_time(time.monotonic() - begun, len(items))
    return goes_on


async def _put_in_turn(worker: Worker, results: list[Any], number: int, emit: Callable[[Any], Awaitable[object]]) -> bool:
    """Put results when it is their turn, into a queue where `put` may have to wait, so that no other worker can put them."""
    order, out_edge = worker.node.order, worker.node.out_edge
    left, results[:] = list(results), []
    try:
        await order.wait_async(number)
        if not order.has_ended or order.next == number:
            worker.is_at_head = True
            while left:
                await emit(left.pop(0))  # it discards what it cannot put
    except ShutDown:
        pass
    except BaseException as error:
        if worker.is_cancelled:
            raise
        if isinstance(error, Refusal):
            worker.run.refused(worker.node, out_edge, error.item, error.error)
        else:
            worker.run.fail(worker.node, error)
    finally:
        worker.run.discard(left, worker.node)
        if left and out_edge.permits is not None:
            out_edge.permits.release(len(left))
    return not left


async def _expand_in_turn(worker: Worker, item: Any, number: int, emit: Callable[[Any], Awaitable[object]]) -> None:
    """Call the function of a `flat_map` at once, and iterate over what it returns when it is the turn of the item."""
    order, operations = worker.node.order, worker.node.operations
    flat = next(at for at, each in enumerate(operations) if each.kind == "flat")
    iterables: list[Any] = []

    async def keep(iterable: Any) -> None:
        iterables.append(iterable)

    await apply(worker, [*operations[:flat], operations[flat]._replace(kind="begin")], item, keep)
    await order.wait_async(number)
    if order.has_ended and order.next != number:
        raise ShutDown from worker.node.out_edge.end
    worker.is_at_head = True
    for iterable in iterables:
        await expand(worker, iterable, operations[flat + 1 :], emit)


# --- sources ----------------------------------------------------------------------------------------------------------


async def read_async(worker: Worker) -> None:
    """Read a source to its end."""
    run, node = worker.run, worker.node
    source = node.source
    try:
        if source.kind == "queue":
            await _read_many(worker, source.given.get_many_async, ShutDown)
            if source.given.is_shutdown:
                source.given._end_of_iteration()
        elif source.kind == "receiver":
            await _read_many(worker, functools.partial(_receive, worker), ChannelClosed)
        else:
            await _read_each(worker, source.given)
    except BaseException as error:
        if worker.is_cancelled:
            raise
        run.source_failed(node, error)


async def _receive(worker: Worker, most: int) -> list[Any]:
    """Receive from a channel.

    A receiver that waits while all deliveries are its own and unsettled gets a ChannelError, because it would wait for ever. Here the
    stages behind settle them, so another task does the waiting.
    """
    receive = worker.node.source.given.receive_many_async
    try:
        return await receive(most)
    except ChannelError as error:
        if type(error) is not ChannelError:
            raise
    other = asyncio.ensure_future(receive(most))
    try:
        return await other
    except asyncio.CancelledError:
        if other.done() and not other.cancelled() and other.exception() is None:
            worker.run.discard(other.result(), worker.node)
        raise


async def _read_many(worker: Worker, take: Callable[[int], Awaitable[list[Any]]], end: type[BaseException]) -> None:
    node, admission = worker.node, worker.node.admission
    while not worker.run.is_stopping:
        worker.is_taking = True
        asked = node.max_batch if admission is None else await acquire_some_async(admission, node.max_batch)
        worker.reserved = asked
        items: list[Any] = []
        try:
            items = await take(asked)
        except end:
            return
        finally:
            worker.is_taking = False
            worker.reserved = 0
            if admission is not None and len(items) < asked:
                admission.release(asked - len(items))
        worker.taken += len(items)
        await _put(worker, items)


async def _read_each(worker: Worker, given: Any) -> None:
    admission = worker.node.admission
    items = given.__aiter__()
    async with Closing(aclose_of(given, items), worker.run.cancellations):
        while not worker.run.is_stopping:
            worker.is_taking = True
            if admission is not None:
                await admission.acquire_async()
            worker.reserved = 1
            try:
                item = await items.__anext__()
            except BaseException as error:
                if admission is not None:
                    admission.release()
                if isinstance(error, StopAsyncIteration):
                    return
                raise
            finally:
                worker.is_taking = False
                worker.reserved = 0
            worker.taken += 1
            await _put(worker, [item])
            del item


async def _put(worker: Worker, items: list[Any]) -> None:
    out_edge = worker.node.out_edge
    put = 0
    try:
        if out_edge.policy is not None:
            for item in items:
                await out_edge.queue.put_async(item)
                put += 1
        else:
            put = await out_edge.queue.put_many_async(items) if out_edge.is_bounded else out_edge.queue.put_many(items)
    except BaseException as error:
        put = max(put, getattr(error, "accepted", 0))
        if not is_own(worker, out_edge, error):
            worker.run.refused(worker.node, out_edge, items[put], error)
        elif not out_edge.is_end(error):
            raise
    finally:
        worker.made += put
        if put < len(items):
            worker.run.discard(items[put:], worker.node)
            if worker.node.admission is not None:  # another source may wait for these permits
                worker.node.admission.release(len(items) - put)


def is_own(worker: Worker, edge: Edge, error: BaseException) -> bool:
    """Return whether a put has failed because of the run: the edge has ended, or the task was cancelled."""
    return edge.policy is None or worker.is_cancelled or isinstance(error, GeneratorExit) or edge.is_end(error)
