"""The workers that are threads.

A worker takes up to `max_batch` items, applies the operations of its node to them, one item after the other, and puts the results. The
operations are iterators in C over the list of the taken items (`map(f, items)`), and `put_many` steps them, so each result is in the
queue as soon as it has been made. The number of items taken at once follows the time that the last calls took: it is one if they were
slow.

*Order.* The workers of an ordered node take items one worker at a time, and number them. The worker with the lowest number puts its
results as they come; the others keep theirs until it is their turn (see `order`).

*Kill.* The iterators step through a copy of the list. `Worker.stop_calls` empties the copy, from any thread, so that no further call
begins. The worker still has its own list, and discards the items whose calls have not begun.
"""

from __future__ import annotations

import functools
import math
import sys
import time
from operator import length_hint

from sluicegate._exceptions import Empty, ShutDown
from sluicegate._mistakes import check_result
from sluicegate._pipeline.permits import acquire_some
from sluicegate._pipeline.putting import Refusal, discard, put, put_into
from sluicegate._running import not_an_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from sluicegate._pipeline.graph import Node, Operation, RunInterface

__all__ = ["LONG", "NOTHING", "Worker", "work"]

#: In the place of an item.
NOTHING: Any = object()

#: What is taken at once should not take much longer than this, in seconds.
LONG = 0.0005


class Worker:
    """A thread or a task of a node, and what it has done."""

    def __init__(self, run: RunInterface, node: Node) -> None:
        self.run = run
        self.node = node
        self.thread: Any = None
        self.task: Any = None
        #: How many items it takes at once.
        self.batch_size = 1
        #: What it works on, and the copy that its iterators step through.
        self.items: list[Any] = []
        self.pending: list[Any] = []
        #: The iterator over this copy, and, of a worker in the caller, the list that it has taken: see `take`.
        self.steps: Iterator[Any] | None = None
        self.hand: list[list[Any]] = []
        #: The caller's task, while a worker in the caller works there, and whether we have cancelled it.
        self.caller: asyncio.Task[Any] | None = None
        self.is_cut_short = False
        #: Of a worker in the caller: when the caller stops waiting for items, and whether it has.
        self.due: float | None = None
        self.is_late = False
        #: Since when it works on them, and how many of them it has begun (0 if nobody counts).
        self.since: float | None = None
        self.position = 0
        self.is_exhausted = False
        self.has_yielded = False
        self.inner: Any = None
        #: The number of the item that a task works on.
        self.number = 0
        #: What `flat_map` has made of the item and the next operations are applied to.
        self.element: Any = NOTHING
        #: There are more workers than `resize` has asked for: it leaves after its next item.
        self.is_surplus = False
        #: The run counts it: among the live workers of the node, and with a token among those whom the end of the run waits for.
        self.is_counted = False
        self.tokens: list[None] = []
        self.has_left = False
        self.is_left_behind = False
        self.calls_stopped = False
        #: The task of a source waits for an item, and can be cancelled without losing one.
        self.is_taking = False
        #: We have asked for the end of its task: any other cancellation is an error like others.
        self.is_cancelled = False
        #: Of an ordered node: its results are the next ones.
        self.is_at_head = True
        #: How many results its last items had.
        self.last_made = 0
        self.taken = self.made = self.failed = 0
        self.started: float | None = None
        self.ended: float | None = None
        #: Permits that it has acquired for items that it has not taken yet.
        self.reserved = 0
        #: How many calls took how long: see `bucket`.
        self.times: dict[int, int] = {}

    @property
    def seconds(self) -> float:
        """For how many seconds it has existed, or existed until it left."""
        if self.started is None:
            return 0.0
        return max(0.0, (time.monotonic() if self.ended is None else self.ended) - self.started)

    @property
    def is_gone(self) -> bool:
        """Whether it has left, and its thread or task has ended too, so that nothing of it changes any more."""
        if not self.has_left or (self.thread is not None and self.thread.is_alive()):
            return False
        return self.task is None or (self.task is not True and self.task.done())

    def take(self, most: int) -> list[Any]:
        """Take items, in the caller's thread, where a signal handler may raise between any two instructions.

        `extend` calls `get_many` and keeps its result without an instruction in between, so no item is lost from sight.

        Raises Empty, with `is_late`, if there is no item before `due`.
        """
        self.hand.clear()
        self.steps = None
        left = None if self.due is None else max(0.0, self.due - time.monotonic())
        try:
            self.hand.extend(map(functools.partial(self.node.in_edge.queue.get_many, timeout=left), (most,)))
        except Empty:
            self.is_late = True
            raise
        return self.hand[0]

    def left_in_hand(self) -> list[Any]:
        """Return the items that it has taken and not begun, after such an exception has ended it."""
        if not self.hand:
            return []
        return self.hand[0] if self.steps is None else list(self.steps)

    def checked(self, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return the function, checked for the first results of the worker: what hides a coroutine function does so for each item."""
        return f if self.made else functools.partial(_checked, f)

    def chained(self, items: Iterator[Any], operations: Sequence[Operation]) -> Iterator[Any]:
        """Return an iterator that makes the results of several operations, and counts the items."""
        chain: Any = self.each(items)
        for kind, function, _, _ in operations:
            f = function if kind == "flat" else self.checked(function)
            if kind == "map":
                chain = map(f, chain)
            elif kind == "filter":
                chain = filter(f, chain)
            elif kind == "tap":
                chain = map(functools.partial(_tap, f), chain)
            else:
                chain = self.expanded(f, chain)
        return chain

    def each(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield the items, and count them in `position`."""
        for item in items:
            self.position += 1
            self.has_yielded = False
            yield item
        self.is_exhausted = True

    def expanded(self, f: Callable[[Any], Any], items: Iterator[Any]) -> Iterator[Any]:
        """Yield what `flat_map` makes of the items.

        Meanwhile `has_yielded` says whether anything has come of the last item, and `inner` is what is left of it.
        """
        try:
            for item in items:
                self.inner = inner = iter(f(item))
                for result in inner:
                    self.has_yielded = True
                    self.element = result
                    yield result
                    self.element = NOTHING
        finally:
            if sys.exc_info()[0] is not GeneratorExit:
                self.inner = None

    def unused_results(self) -> list[Any]:
        """Return the results of the last item that exist and that nobody takes: the rest of a list, but nothing of a generator."""
        inner, self.inner = self.inner, None
        return list(inner) if hasattr(inner, "__length_hint__") else []

    def stop_calls(self) -> None:
        """Begin no further call. May be called from any thread."""
        self.calls_stopped = True
        self.pending.clear()

    def cancel(self) -> None:
        """Cancel its task. Call it on the thread of the loop. A task that closes an iterator ends by itself when that is done."""
        if self.task is not None and self.task is not True:
            self.run.cancellations.cancel(self.task)

    def cut_short(self) -> None:
        """Cancel the call that a worker in the caller makes in the caller's task, if there is one. Call it on the thread of that loop."""
        if self.caller is not None and self.since is not None and not self.is_cut_short:
            self.is_cut_short = True
            self.caller.cancel()

    # What threads and tasks do alike with the items that they have taken. The calls are made in `process` and in `tasks`.

    def begin_items(self, items: list[Any]) -> float:
        """Note the items that it works on from now on. Return the time."""
        self.items = items
        self.position = 0
        self.since = begun = time.monotonic()
        return begun

    def call_failed(self, items: list[Any], at: int, number: int, error: BaseException) -> bool:
        """Deal with the error of the call for `items[at]`. Return False if the worker has to leave and gives up the items after it.

        `number` is that of the first of the items.
        """
        if self.skips(number + at, items[at], error):
            return True
        self.discard_rest(items[at + 1 :])
        return False

    def skips(self, number: int, item: Any, error: BaseException) -> bool:
        """Deal with the error of a call. Return whether the worker goes on.

        The error is told with the item that the node has taken. Where `flat_map` has made several items of it and an operation behind
        `flat_map` raised, it is told with that one of them, as if the operation were a stage of its own.
        """
        self.failed += 1
        if self.element is not NOTHING:
            item, self.element = self.element, NOTHING
        forget_accepted(error)
        return self.run.failed(self.node, number, item, error)

    def discard_rest(self, items: list[Any]) -> None:
        """Discard items that it does not work on any more, and results of the last one that nobody takes."""
        self.run.discard([*self.unused_results(), *items], self.node)

    def end_items(self, made: int) -> None:
        """Note that it has finished the items, and how many results it has made."""
        self.items = []
        self.element = NOTHING
        self.since = None
        self.position = 0
        self.last_made = made
        self.made += made

    def process(
        self,
        items: list[Any],
        number: int,
        put_many: Callable[[Any], int] | None,
        operations: Sequence[Operation] | None = None,
        original_items: list[Any] | None = None,
        numbers: Sequence[int] | None = None,
    ) -> tuple[list[Any], bool]:
        """Work on the items, and put the results. Without `put_many` return them. The second value is False if the worker has to leave.

        `original_items` are the items to name in notes, where `items` are not those that the node has taken. `number` is that of the first
        item, or `numbers` are those of all.
        """
        node, run = self.node, self.run
        count = len(items)
        results: list[Any] = []
        made = failed = 0
        goes_on = True
        self.is_exhausted = False
        since = self.begin_items(items)
        if operations is None:
            operations = node.operations
        self.pending = pending = items.copy()
        if self.calls_stopped:  # whoever set it may not have seen this list
            pending.clear()
        self.steps = steps = iter(pending)
        is_counted = not self.is_single(operations)
        chain = self.chained(steps, operations) if is_counted else map(self.checked(operations[0].function), steps)
        while True:
            error: BaseException | None = None
            try:
                if put_many is None:
                    results.extend(chain)
                else:
                    made += put_many(chain)
            except BaseException as raised:  # noqa: BLE001 - it is for the caller of the run
                error = raised
                if put_many is not None:
                    made += getattr(raised, "accepted", 0)
            if put_many is None:
                made = len(results)
            if not is_counted:
                at = made + failed
                is_done = at == count or not pending
            else:
                at = self.position if self.is_exhausted else self.position - 1
                is_done = self.is_exhausted
            named = items if original_items is None else original_items
            if error is None and is_done:
                if at < count:
                    run.discard(named[at:], node)
                    goes_on = False
                break
            if error is None:  # a call has raised StopIteration, which ended the iterators
                error = not_an_end(StopIteration(), f"a call in stage {node.name!r}")
            elif isinstance(error, Refusal):
                at = self.position if is_counted else at + 1
                run.discard([error.item], node)
                self.discard_rest(named[at:])
                if not node.out_edge.is_end(error.error):
                    run.refused(node, node.out_edge, error.item, error.error)
                goes_on = False
                break
            elif put_many is not None and node.out_edge.is_end(error):
                # It is raised before the next result is made: what has been made is there.
                if is_counted and at < self.position and (node.kind != "flat" or self.has_yielded):
                    at = self.position
                self.discard_rest(named[at:])
                goes_on = False
                break
            if node.in_caller:  # a signal handler may have raised anywhere, and not in a call
                begun = count - length_hint(steps)
                if begun == (0 if is_counted else at) or at == count:
                    raise error
                if is_counted:
                    self.position, at = begun, begun - 1
                    chain = self.chained(steps, operations)  # the old one may have ended
            failed += 1
            goes_on = self.call_failed(named, at, number if numbers is None else numbers[at] - at, error)
            if not goes_on:
                break
            if node.kind == "flat" and self.inner is None:
                break  # its iterable has raised, and was the only one
        del chain
        self.pending = []
        self.end_items(made)
        self.record_time(time.monotonic() - since, count)
        return results, goes_on

    def record_time(self, took: float, count: int) -> None:
        """Note how long the items took, and take more items at once next time, or fewer.

        For the only worker of a node the time of one item counts, because no other worker could have had the rest of them. (With the time
        of all, it would take fewer whenever the machine is busy and its thread is held up.)
        """
        each = bucket(took / count)
        self.times[each] = self.times.get(each, 0) + count
        measure = took / count * 0.5 if self.node.workers == 1 else took
        if measure > 4 * LONG:
            self.batch_size = max(1, self.batch_size // 2)
        elif measure < LONG and count >= self.batch_size:
            self.batch_size = min(2 * self.batch_size, self.node.max_batch)

    def is_single(self, operations: Sequence[Operation]) -> bool:
        """Return whether there is one result for each item, so that items need not be counted. The results of a sink are ignored."""
        return len(operations) == 1 and (operations[0].kind == "map" or self.node.kind == "sink")


def _checked(f: Callable[[Any], Any], item: Any) -> Any:
    return check_result(f, f(item))


def _tap(f: Callable[[Any], object], item: Any) -> Any:
    f(item)
    return item


def forget_accepted(error: BaseException) -> None:
    """Remove the attribute that `put_many` has set on an error of the user."""
    getattr(error, "__dict__", {}).pop("accepted", None)


def bucket(seconds: float) -> int:
    """Return the number of the class of a time. There are eight classes for each power of two."""
    mantissa, exponent = math.frexp(max(seconds, 1e-9))
    return exponent * 8 + int((mantissa - 0.5) * 16)


def work(worker: Worker) -> None:
    """Run a worker that applies operations, until it leaves."""
    run, node = worker.run, worker.node
    in_edge, out_edge, admission, order = node.in_edge, node.out_edge, node.admission, node.order
    get_many = worker.take if node.in_caller else in_edge.queue.get_many
    put_many = None if out_edge is None else put_into(out_edge)
    permits = None if out_edge is None else out_edge.permits
    has_policy = out_edge is not None and out_edge.is_bounded and node.kind != "flat"
    goes_on = True
    while goes_on and not worker.is_surplus:
        asked = worker.batch_size
        if admission is not None:
            worker.reserved = asked = acquire_some(admission, asked)
        try:
            if order is not None:
                with node.take_lock:
                    items = get_many(asked)
                    number = node.next_number
                    node.next_number = number + len(items)
            else:
                items = get_many(asked)
                with node.lock:
                    number = node.next_number
                    node.next_number = number + len(items)
        except ShutDown:
            if admission is not None:
                admission.release(asked)
            return
        count, weight = len(items), in_edge.weight(items)
        worker.reserved = 0
        worker.taken += count
        if admission is not None and count < asked:
            admission.release(asked - count)
        if not node.holds_input_permits:
            in_edge.release(weight)
        if in_edge.is_killed:
            worker.hand.clear()
            run.discard(items, node)
            worker.last_made = 0
            if order is not None:
                order.deliver(number, number + count, [], is_last=True)
        elif has_policy:
            # An iterator in `put_many` would need a place before it is known whether anything comes.
            results, goes_on = worker.process(items, number, None)
            if order is not None:
                order.wait(number)  # results that are early have no places
            if order is not None and order.has_ended:
                discard(run, node, node.out_edge, results)
            else:  # without the lock of the order: a function of `conflate` may take its time
                put(run, node, node.out_edge, results)
                if order is not None:
                    order.advance(number + count, is_last=not goes_on)
            del results
        elif order is None or order.next == number:
            _, goes_on = worker.process(items, number, put_many)
            if order is not None:
                order.advance(number + count, is_last=not goes_on)
        elif node.kind == "flat":
            goes_on = _expand_in_turn(worker, items, number, put_many)
        else:
            results, goes_on = worker.process(items, number, None)
            order.deliver(number, number + count, results, is_last=not goes_on)
            del results
        if node.holds_input_permits:
            in_edge.release(weight)
        elif worker.last_made < count and permits is not None:
            permits.release(count - worker.last_made)
        del items


def _expand_in_turn(worker: Worker, items: list[Any], number: int, put_many: Any) -> bool:
    """Call the functions at once, and iterate over what they return when it is the turn of these items."""
    node = worker.node
    order = node.order
    after = number + len(items)
    flat = next(at for at, each in enumerate(node.operations) if each.kind == "flat")
    first = [*node.operations[:flat], node.operations[flat]._replace(kind="map")]
    then = [node.operations[flat]._replace(function=iter), *node.operations[flat + 1 :]]
    iterables, goes_on = worker.process(items, number, None, first)
    order.wait(number)
    if order.has_ended and order.next != number:
        if iterables:  # otherwise the call has failed, or was not made
            worker.run.discard(items, node)
        return False
    if iterables:
        _, again = worker.process(iterables, number, put_many, then, items)
        goes_on = goes_on and again
    order.advance(after, is_last=not goes_on)
    return goes_on
