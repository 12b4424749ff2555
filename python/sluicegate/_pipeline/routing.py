"""The workers in threads that do more than apply operations: `batch`, `broadcast` and `keyed_map`."""

from __future__ import annotations

import time

from sluicegate._exceptions import Empty, ShutDown
from sluicegate._pipeline.permits import acquire_more, acquire_some
from sluicegate._pipeline.putting import discard, put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sluicegate._pipeline.graph import Node
    from sluicegate._pipeline.workers import Worker

__all__ = ["broadcast", "give_back", "work_by_key", "work_on_batches"]


def work_on_batches(worker: Worker) -> None:
    """Run the worker of a `batch`, which makes lists of items."""
    run, node = worker.run, worker.node
    in_edge, out_edge, admission = node.in_edge, node.out_edge, node.admission
    size, linger = node.options
    has_ended = False
    while not has_ended:
        collected: list[Any] = []
        due: float | None = None
        while len(collected) < size:
            asked, left = size - len(collected), None
            if due is not None and (left := due - time.monotonic()) <= 0:
                break
            if admission is not None:
                if not admission.acquire(timeout=left):
                    break
                worker.reserved = asked = 1 + acquire_more(admission, asked - 1)
            got: list[Any] = []
            try:
                got = in_edge.queue.get_many(asked, timeout=None if due is None else max(0.0, due - time.monotonic()))
            except Empty:
                pass
            except ShutDown:
                has_ended = True
            worker.reserved = 0
            if admission is not None and len(got) < asked:
                admission.release(asked - len(got))
            if not got:
                break
            if not node.holds_input_permits:
                in_edge.release(in_edge.weight(got))
            if linger is not None and due is None:
                due = time.monotonic() + linger
            worker.taken += len(got)
            collected += got
        if not collected:
            continue
        refusal: BaseException | None = out_edge.end
        if not in_edge.is_killed:
            try:
                if out_edge.list_sizes is not None:
                    out_edge.list_sizes.append(len(collected))
                out_edge.queue.put(collected)
                worker.made += 1
                refusal = None
            except BaseException as error:  # noqa: BLE001 - it is for the caller of the run
                refusal = error
        if refusal is not None:
            run.discard(collected, node)
            if refusal is not out_edge.end and not out_edge.is_end(refusal):
                run.refused(node, out_edge, collected, refusal)
            has_ended = has_ended or not in_edge.is_killed
            del refusal
        if node.holds_input_permits:
            in_edge.release(in_edge.weight(collected))


def broadcast(worker: Worker) -> None:
    """Run the worker of a `broadcast`, which passes each item to every branch."""
    run, node = worker.run, worker.node
    in_edge, out_edges = node.in_edge, node.out_edges
    # Before an only branch a source acquires these permits.
    limited = [edge.permits for edge in out_edges if edge.permits is not None and not in_edge.shares_next_permits]
    while True:
        asked = worker.batch_size
        if limited:
            asked = acquire_some(limited[0], asked)
            for permits in limited[1:]:
                permits.acquire(n=asked)
            worker.reserved = asked
        items: list[Any] = []
        try:
            items = in_edge.queue.get_many(asked)
        except ShutDown:
            return
        finally:
            worker.reserved = 0
            for permits in limited:
                if len(items) < asked:
                    permits.release(asked - len(items))
        worker.taken += len(items)
        if not node.holds_input_permits:
            in_edge.release(in_edge.weight(items))
        for edge in out_edges:
            if in_edge.is_killed:
                discard(run, node, edge, items)
            else:
                worker.made += put(run, node, edge, items)
        if node.holds_input_permits:
            in_edge.release(in_edge.weight(items))
        worker.batch_size = min(2 * worker.batch_size, node.max_batch)
        del items


def work_by_key(worker: Worker) -> None:
    """Run a worker of a `keyed_map` until it leaves.

    It takes items, and works on those whose keys nobody works on: there is one of each key among them. Then it works on what has been
    parked for these keys meanwhile.
    """
    run, node = worker.run, worker.node
    in_edge, out_edge, admission, keys = node.in_edge, node.out_edge, node.admission, node.keys
    put_many = None if out_edge.is_bounded else out_edge.queue.put_many
    goes_on, is_last = True, False
    while goes_on and not is_last and not worker.is_surplus:
        asked = worker.batch_size
        if admission is not None:
            worker.reserved = asked = acquire_some(admission, asked)
        try:
            with node.take_lock:  # until the keys are known
                items = in_edge.queue.get_many(asked)
                number = node.next_number
                node.next_number = number + len(items)
                worker.taken += len(items)
                worker.reserved = 0
                if admission is not None and len(items) < asked:
                    admission.release(asked - len(items))
                if not node.holds_input_permits:
                    in_edge.release(in_edge.weight(items))
                entries, is_last = _enter(worker, items, number)
        except ShutDown:
            if admission is not None:
                admission.release(asked)
            return
        while entries:
            mine, numbers, items = zip(*entries, strict=True)
            made = 0
            if goes_on and not worker.calls_stopped:
                results, goes_on = worker.process(list(items), 0, put_many, numbers=numbers)
                made = worker.last_made
                if results:
                    put(run, node, out_edge, results)
                del results
            else:
                run.discard(items, node)
            if node.holds_input_permits:
                for item in items:
                    give_back(node, item)
            elif made < len(items) and out_edge.permits is not None:
                out_edge.permits.release(len(items) - made)
            entries = [(key, *entry) for key in mine if (entry := keys.next(key)) is not None]
            del items


def _enter(worker: Worker, items: list[Any], number: int) -> tuple[list[tuple[Any, int, Any]], bool]:
    """Find the keys of items. Return those to work on, with keys and numbers, and whether they are the last because `key` has raised."""
    run, node = worker.run, worker.node
    keys = node.keys
    entries: list[tuple[Any, int, Any]] = []
    for at, item in enumerate(items):
        try:
            worker.begin_items([item])  # so that a key that hangs is named
            key = keys.of(item)
            if keys.enter(key, number + at, item):
                entries.append((key, number + at, item))
        except BaseException as error:  # noqa: BLE001 - it is for the caller of the run
            goes_on = run.failed(node, number + at, item, error)
            left = [] if goes_on else items[at + 1 :]
            run.discard(left, node)
            for each in (item, *left):
                give_back(node, each)  # a source may wait for it
            if not goes_on:
                return entries, True
        finally:
            worker.items, worker.since = [], None
    return entries, False


def give_back(node: Node, item: Any) -> None:
    """Release the permit of an item that is finished or of which nothing has come."""
    if node.holds_input_permits:
        node.in_edge.release(node.in_edge.weight([item]))
        if node.limits_itself:
            node.admission.release()
    elif node.out_edge.permits is not None:
        node.out_edge.permits.release()
