"""The order of results, where several workers of a stage work side by side.

Items are numbered as they are taken. The worker with the lowest number is at the *head* and puts its results as they come. The other
workers leave their results here, and these are put when it is their turn. A worker of `flat_map`, whose results may be any number, waits
for its turn instead.
"""

from __future__ import annotations

import time

from sluicegate._core import Semaphore
from sluicegate._pipeline.putting import discard, put
from sluicegate._running import CLOCK, Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sluicegate._pipeline.graph import Edge, Node, RunInterface

__all__ = ["Order"]


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
        #: For how long those that wait no longer have waited for their turns, and since when the others do.
        self.waited_before = 0.0
        self.since: dict[int, float] = {}
        #: Nothing more is put: a call has failed, or the run was killed.
        self.has_ended = False

    def wait(self, number: int) -> None:
        """Wait until this number is at the head, or the order has ended."""
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
            gate = self.waiting[number] = Semaphore(0, clock=CLOCK)
            self.since[number] = time.monotonic()
            return gate

    def waited(self) -> float:
        """Return for how many seconds workers have waited for their turns, those that still do included."""
        with self.lock:
            now = time.monotonic()
            return self.waited_before + sum(now - since for since in self.since.values())

    def _waits_no_longer(self, number: int) -> None:
        since = self.since.pop(number, None)
        if since is not None:
            self.waited_before += time.monotonic() - since

    def advance(self, after: int, *, is_last: bool) -> None:
        """Let the number `after` be at the head: what was there is finished. With `is_last` nothing comes after it."""
        with self.lock:
            self._finished(after, is_last)
            gate = self._flush() if self.early or self.waiting else None
        if gate is not None or self.has_ended:
            self._then(gate)

    def deliver(self, number: int, after: int, results: list[Any], *, is_last: bool) -> None:
        """Put the results now, or leave them here until it is their turn. With `is_last` nothing comes after them."""
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
        self._waits_no_longer(self.next)
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
        self._finished(after, is_last)

    def _finished(self, after: int, is_last: bool) -> None:
        self.has_ended = self.has_ended or is_last
        self.next = -1 if self.has_ended else after  # at the end nobody is the next one

    def end(self) -> None:
        """Let nothing be put after the head. Results that are left here are discarded, and so are those of workers that have any."""
        with self.lock:
            self.has_ended = True
            early, self.early = self.early, {}
            waiting, self.waiting = self.waiting, {}
            for number in waiting:
                self._waits_no_longer(number)
        for gate in waiting.values():
            gate.release()
        for _, results, _ in early.values():
            discard(self.run, self.node, self.edge, results)
