"""The order of results, where several workers of a stage work side by side.

Items are numbered as they are taken. The worker with the lowest number is at the *head* and puts its results as they come. The other
workers leave their results here, and these are put when it is their turn. A worker of `flat_map`, whose results may be any number, waits
for its turn instead.
"""

from __future__ import annotations

from sluicegate._core import Semaphore
from sluicegate._exceptions import ShutDown
from sluicegate._running import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sluicegate._pipeline.graph import Edge, Node, RunInterface

__all__ = ["Order", "Refusal", "discard", "put", "put_singly"]


class Refusal(Exception):
    """An edge with a policy has not taken an item: it is shut down or full, or a function of `conflate` has raised."""

    def __init__(self, item: Any, error: BaseException, accepted: int) -> None:
        super().__init__()
        self.item = item
        self.error = error
        self.accepted = accepted


class Order:
    """The order of the results of one stage."""

    def __init__(self, run: RunInterface, node: Node) -> None:
        self.run = run
        self.node = node
        self.edge: Edge = node.out_edge
        self.lock = Lock()  # held while results are put into a queue that has no bound
        self.next = 0
        #: By number: the number after them, the results, and whether nothing comes after them.
        self.early: dict[int, tuple[int, list[Any], bool]] = {}
        self.waiting: dict[int, Semaphore] = {}
        #: Nothing comes any more: a call has failed.
        self.has_ended = False

    def wait(self, number: int) -> None:
        """Wait until this number is at the head, or there is no head any more."""
        gate = self._gate(number)
        if gate is not None:
            gate.acquire()

    async def wait_async(self, number: int) -> None:
        """As `wait`, in a task."""
        gate = self._gate(number)
        if gate is not None:
            await gate.acquire_async()

    def _gate(self, number: int) -> Semaphore | None:
        with self.lock:
            if self.next == number or self.has_ended:
                return None
            gate = self.waiting[number] = Semaphore(0)
            return gate

    def advance(self, after: int, *, is_last: bool) -> None:
        """The head is done: the next number is `after`."""
        with self.lock:
            self.next = after
            self.has_ended = self.has_ended or is_last
            gate = self._flush()
        self._then(gate)

    def deliver(self, number: int, after: int, results: list[Any], *, is_last: bool) -> None:
        """Put the results when it is their turn. With `is_last` nothing comes after them."""
        with self.lock:
            if self.next != number and not self.has_ended:
                self.early[number] = (after, results, is_last)
                return
            self._put(after, results, is_last)
            gate = self._flush()
        self._then(gate)

    def _flush(self) -> Semaphore | None:
        """Put the results whose turn has come. Return the gate of the worker that is at the head now, if it waits."""
        while not self.has_ended and (entry := self.early.pop(self.next, None)) is not None:
            self._put(*entry)
        return self.waiting.pop(self.next, None)

    def _then(self, gate: Semaphore | None) -> None:
        if gate is not None:
            gate.release()
        if self.has_ended:
            self.end()

    def _put(self, after: int, results: list[Any], is_last: bool) -> None:
        if self.has_ended:
            discard(self.run, self.node, self.edge, results)
        else:
            put(self.run, self.node, self.edge, results)
            self.next = after
        self.has_ended = self.has_ended or is_last

    def end(self) -> None:
        """Nothing is put after the head: a worker that has results discards them."""
        with self.lock:
            self.has_ended = True
            early, self.early = self.early, {}
            waiting, self.waiting = self.waiting, {}
        for gate in waiting.values():
            gate.release()
        for _, results, _ in early.values():
            discard(self.run, self.node, self.edge, results)


def put(run: RunInterface, node: Node, edge: Edge, results: list[Any]) -> int:
    """Put results of a node into an edge behind it, and discard what it does not take. Return how many it took."""
    try:
        accepted = edge.queue.put_many(results) if edge.policy is None else put_singly(edge, results)
    except Refusal as refusal:
        accepted = refusal.accepted
        discard(run, node, edge, results[accepted:])
        if not edge.is_end(refusal.error):
            run.refused(node, edge, refusal.item, refusal.error)
    except ShutDown as error:
        accepted = getattr(error, "accepted", 0)
        discard(run, node, edge, results[accepted:])
    return accepted


def put_singly(edge: Edge, results: Iterable[Any]) -> int:
    """Put results into an edge with a policy, one at a time, so that it is known which one it refuses. Raises Refusal."""
    accepted = 0
    for result in results:
        try:
            edge.queue.put(result)
        except BaseException as error:  # noqa: BLE001 - it is for the caller of the run
            raise Refusal(result, error, accepted) from None
        accepted += 1
    return accepted


def discard(run: RunInterface, node: Node, edge: Edge, results: list[Any]) -> None:
    """Give up results that were to go into an edge, and their permits."""
    if results:
        run.discard(results, node)
        edge.release(len(results))
