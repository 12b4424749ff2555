"""Threads that read a source, and put its items into the first edge.

Permits are acquired first: an item is taken only when there is a place for it. An iterable that may block is read item by item, and each
item is passed on before the next one is taken. `stop` lets a source end between two items; one that blocks for longer than half a second
is left behind (`Run.abandon`): if its item comes after all, it is discarded, with notice.
"""

from __future__ import annotations

import itertools
import time

from sluicegate._pipeline.permits import acquire_some
from sluicegate._pipeline.putting import put
from sluicegate._pipeline.sources import READY
from sluicegate._pipeline.workers import LONG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sluicegate._pipeline.graph import Edge
    from sluicegate._pipeline.workers import Worker

__all__ = ["read"]


def read(worker: Worker) -> None:
    """Read a source to its end, or until the run stops."""
    run, source, out_edge = worker.run, worker.node.source, worker.node.out_edge
    worker.since = time.monotonic()
    try:
        given = source.given() if source.kind == "produce" else source.given
        items = iter(given)
    except BaseException as error:  # noqa: BLE001 - it is for the caller of the run
        if not worker.has_left:
            run.source_failed(worker.node, error)
        return
    worker.since = None
    if source.kind == "ready" or type(given) in READY:
        _read_ready(worker, items, out_edge)
    else:
        _read_each(worker, items, out_edge)


def _read_ready(worker: Worker, items: Any, out_edge: Edge) -> None:
    run, node, admission = worker.run, worker.node, worker.node.admission
    batch_size = node.max_batch
    while True:
        asked = batch_size if admission is None else acquire_some(admission, batch_size)
        if run.is_stopping:
            batch: list[Any] = []
        else:
            try:
                batch = list(itertools.islice(items, asked))
            except BaseException as error:  # noqa: BLE001 - the dict has changed, say
                run.source_failed(node, error)
                batch = []
        if admission is not None and len(batch) < asked:
            admission.release(asked - len(batch))
        worker.taken += len(batch)
        accepted = put(run, node, out_edge, batch) if batch else 0
        worker.made += accepted
        if admission is not None and accepted < len(batch):  # another source may wait for these permits
            admission.release(len(batch) - accepted)
        if not batch or accepted < len(batch):
            return


def _read_each(worker: Worker, items: Any, out_edge: Edge) -> None:
    run, node, admission = worker.run, worker.node, worker.node.admission
    put_item, take = out_edge.queue.put, items.__next__
    # An only source keeps permits from nobody.
    batch_size = 1 if sum(end.workers for end in out_edge.producers) > 1 else node.max_batch
    asked, error = 0, None
    while True:
        asked = batch_size if admission is None else acquire_some(admission, batch_size)
        begun = time.monotonic()
        has_ended = False
        left = asked
        while left:
            worker.reserved = left
            worker.since = begun  # before it looks: `Run.stop` looks in the other order
            if run.is_stopping:
                has_ended = True
                break
            try:
                item = take()
            except StopIteration:
                has_ended = True
                break
            except BaseException as raised:  # noqa: BLE001 - it is for the caller of the run
                error, has_ended = raised, True
                break
            worker.since = None
            worker.taken += 1
            if worker.has_left:  # nobody has waited for it
                run.discard([item], node)
                return
            try:
                put_item(item)
            except BaseException as raised:  # noqa: BLE001 - it is for the caller of the run
                run.discard([item], node)
                if not out_edge.is_end(raised):
                    run.refused(node, out_edge, item, raised)
                has_ended = True
                break
            worker.made += 1
            left -= 1
            del item
        worker.since, worker.reserved = None, 0
        if admission is not None and left:
            admission.release(left)
        if has_ended:
            break
        if out_edge.producers == [node] and node.workers == 1:
            continue
        if batch_size < node.max_batch and time.monotonic() - begun < LONG:
            batch_size *= 2
        elif batch_size > 1 and time.monotonic() - begun > 4 * LONG:
            batch_size //= 2
    if error is not None and not worker.has_left:
        run.source_failed(node, error)
