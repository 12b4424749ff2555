"""The workers of a run that are threads.

A worker takes up to `max_batch` items, applies the operations of its node to them, one item after the other, and puts the results. The
operations are iterators in C over the list of the taken items (`map(f, items)`), and `put_many` steps them, so each result is in the
queue as soon as it has been made. The number of items taken at once follows the time that the last calls took; it is one if they took
long.

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
from sluicegate._pipeline.order import Refusal, discard, put, put_singly
from sluicegate._running import not_an_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from sluicegate._core import Semaphore
    from sluicegate._pipeline.graph import Edge, Node, Operation, RunInterface

__all__ = ["NOTHING", "Worker", "acquire_more", "acquire_some", "forget_accepted", "work"]

#: In the place of an item.
NOTHING: Any = object()

#: What is taken at once should not take much longer than this, in seconds.
_LONG = 0.0005


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
        #: It is one too many, since `resize`.
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
        #: Its task has been cancelled, which is done once, or is closing an iterator: see `cancel`.
        self.was_cancelled = False
        self.is_closing = False
        self.is_urgent = False
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
        """How long it has been there."""
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
        """What it has taken and not begun, when such an exception has ended it."""
        if not self.hand:
            return []
        return self.hand[0] if self.steps is None else list(self.steps)

    def begin(self, items: Iterator[Any], operations: Sequence[Operation]) -> Iterator[Any]:
        """Return an iterator that makes the results."""
        if self.is_single(operations):
            return map(operations[0].function, items)
        chain: Any = self.each(items)
        for kind, f, _, _ in operations:
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
        """The items, counted."""
        for item in items:
            self.position += 1
            self.has_yielded = False
            yield item
        self.is_exhausted = True

    def expanded(self, f: Callable[[Any], Any], items: Iterator[Any]) -> Iterator[Any]:
        """What `flat_map` makes of items, so that it is known whether something came of the last one, and what there is of it yet."""
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
        """What the last item was expanded to and is not wanted: what is in a list, say. A generator has not made it yet."""
        inner, self.inner = self.inner, None
        return list(inner) if hasattr(inner, "__length_hint__") else []

    def stop_calls(self) -> None:
        """Begin no further call. From any thread."""
        self.calls_stopped = True
        self.pending.clear()

    def cancel(self) -> None:
        """Cancel its task, on the thread of the loop, and once: another cancellation would interrupt what it does because of the first.

        Nor is it cancelled while it closes an iterator, which may await something. It ends after that: nothing more is taken or put. But if
        the task that waits for the run is cancelled itself, that is passed on, whatever the worker is doing: it may never end by itself.
        """
        if self.task is not None and self.task is not True and not self.was_cancelled and (self.is_urgent or not self.is_closing):
            self.was_cancelled = True
            self.task.cancel()

    # What threads and tasks do alike with the items that they have taken. The calls are made in `process` and in `tasks`.

    def begin_items(self, items: list[Any]) -> float:
        """Note what it works on from now on. Return the time."""
        self.items = items
        self.position = 0
        self.since = begun = time.monotonic()
        return begun

    def call_failed(self, items: list[Any], at: int, number: int, error: BaseException) -> bool:
        """The call for an item has raised. False if the worker has to leave, and does not work on the items behind it.

        `number` is that of the first of the items.
        """
        if self.skips(number + at, items[at], error):
            return True
        self.give_up(items[at + 1 :])
        return False

    def skips(self, number: int, item: Any, error: BaseException) -> bool:
        """A call has raised. Whether that stops nothing but the call.

        What the error is about is the item that the node has taken; where `flat_map` has made several of it, and one of the operations
        behind raised, that one, as it would be if they were a stage of their own.
        """
        self.failed += 1
        if self.element is not NOTHING:
            item, self.element = self.element, NOTHING
        forget_accepted(error)
        return self.run.failed(self.node, number, item, error)

    def give_up(self, items: list[Any]) -> None:
        """Discard items that it does not work on any more, and results of the last one that nobody takes."""
        self.run.discard([*self.unused_results(), *items], self.node)

    def end_items(self, made: int) -> None:
        """Note that it has done with the items, and how many results there are."""
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
    ) -> tuple[list[Any], bool]:
        """Work on the items: put the results, or return them if there is no `put_many`. False if the worker has to leave.

        `original_items` are the items to name in notes, where `items` are not those that the node has taken.
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
        chain = self.begin(steps, operations)
        is_counted = not self.is_single(operations)
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
                self.give_up(named[at:])
                if not node.out_edge.is_end(error.error):
                    run.refused(node, node.out_edge, error.item, error.error)
                goes_on = False
                break
            elif put_many is not None and node.out_edge.is_end(error):
                # It is raised before the next result is made: what has been made is there.
                if is_counted and at < self.position and (node.kind != "flat" or self.has_yielded):
                    at = self.position
                self.give_up(named[at:])
                goes_on = False
                break
            if node.in_caller:  # a signal handler may have raised anywhere, and not in a call
                begun = count - length_hint(steps)
                if begun == (0 if is_counted else at) or at == count:
                    raise error
                if is_counted:
                    self.position, at = begun, begun - 1
                    chain = self.begin(steps, operations)  # the old one may have ended
            failed += 1
            goes_on = self.call_failed(named, at, number, error)
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
        """Note how long items took, and take more at once next time, or less.

        Nobody else could have had the items of an only worker: there the time of one counts. (The time of all would make it take less
        whenever the machine is busy and a thread is held up.)
        """
        each = bucket(took / count)
        self.times[each] = self.times.get(each, 0) + count
        measure = took / count * 0.5 if self.node.workers == 1 else took
        if measure > 4 * _LONG:
            self.batch_size = max(1, self.batch_size // 2)
        elif measure < _LONG and count >= self.batch_size:
            self.batch_size = min(2 * self.batch_size, self.node.max_batch)

    def is_single(self, operations: Sequence[Operation]) -> bool:
        """Whether there is one result for each item, so that they need not be counted: nobody looks at what a sink returns."""
        return len(operations) == 1 and (operations[0].kind == "map" or self.node.kind == "sink")


def _tap(f: Callable[[Any], object], item: Any) -> Any:
    f(item)
    return item


def forget_accepted(error: BaseException) -> None:
    """Take away what `put_many` has written on somebody else's error."""
    getattr(error, "__dict__", {}).pop("accepted", None)


def bucket(seconds: float) -> int:
    """The class of a time: eight of them to a power of two, rounded in the middle."""
    mantissa, exponent = math.frexp(max(seconds, 1e-9))
    return exponent * 8 + int((mantissa - 0.5) * 16)


def acquire_some(permits: Semaphore, most: int) -> int:
    """Acquire 1 to `most` permits: what there is, but at least one."""
    if most > 1 and most <= permits.size and permits.try_acquire(most):
        return most
    permits.acquire()
    return 1 if most == 1 else 1 + acquire_more(permits, most - 1)


def acquire_more(permits: Semaphore, most: int) -> int:
    """Acquire up to `most` further permits without waiting. Return how many."""
    more = min(most, permits.value)
    return more if more > 0 and permits.try_acquire(more) else 0


def work(worker: Worker) -> None:
    """The life of a worker that applies operations."""
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


def put_into(edge: Edge) -> Callable[[Any], int]:
    """What puts results into an edge, as they are made."""
    return edge.queue.put_many if edge.policy is None else functools.partial(put_singly, edge)


def _expand_in_turn(worker: Worker, items: list[Any], number: int, put_many: Any) -> bool:
    """Call the functions at once, and iterate over what they return when it is our turn."""
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
