"""Makes the nodes and edges of a run from the description of a pipeline.

A node has workers; an edge is the queue between nodes. What a node may hold is kept in one of two ways:

- **permits**: the edge behind a node has a semaphore with as many permits as the node has workers and buffer. A worker acquires one
  permit for each item before it takes the item, and the item's permit in the edge before is given back; the consumer of the result gives
  back the new one. So the queue itself needs no bound, a worker never waits with a result in its hand, and items can be taken and
  put many at a time.
- **a bounded queue**: for a node that makes many items of one (`flat_map`), and for `buffer` with a policy. An item that its worker works
  on keeps its permit in the edge before, where the workers of such a node are counted.

A source acquires the permits of the stage behind it, so that reading ahead has no bound of its own. (If that stage has no permits, or
other nodes put into the same edge, the edge between them has permits.)

Functions that have no workers (`filter`, `tap`, `map(workers=0)`) are fused: they become operations of the node before. At the beginning,
or where `on_error` has decided about the errors of the node before, they become operations of the node after. If neither calls functions,
they get a node with one worker, and no buffer.
"""

from __future__ import annotations

import functools
from collections import deque
from contextlib import suppress
from dataclasses import replace

from sluicegate._core import Queue, Semaphore
from sluicegate._exceptions import ShutDown
from sluicegate._pipeline.callbacks import Calls, Dropped, make_queue
from sluicegate._pipeline.graph import Edge, Graph, Node, Operation
from sluicegate._running import CLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sluicegate._pipeline.sources import Source
    from sluicegate._pipeline.steps import Step

__all__ = ["batch_limit", "build_graph", "in_hand", "list_size"]

#: The largest number of items taken at once. What is done once for a batch costs as much as some 40 trivial items.
_MAX_BATCH = 256

#: The same for `keyed_map`.
_MAX_KEYS = 16


class _GraphBuilder:
    def __init__(self) -> None:
        self.graph = Graph()
        #: The nodes whose results go to the next node.
        self.last_nodes: list[Node] = []
        #: Operations that have no workers, to be fused into the next node.
        self.pending: list[tuple[Operation, str]] = []
        #: The step that describes the queue of the next edge: `buffer` with a policy, or `conflate`.
        self.queue_step: Step | None = None
        self.extra_buffer = 0
        #: The index of the first node of the current branch.
        self.branch_start = 0

    # --- nodes -------------------------------------------------------------------------------------------------------

    def add(self, node: Node) -> Node:
        node.index = len(self.graph.nodes)
        self.graph.nodes.append(node)
        return node

    def begin(self, source: Source) -> None:
        node = self.add(Node("source", source.name, workers=source.threads))
        node.source = source
        node.is_async = source.is_async
        self.last_nodes = [node]

    def walk(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            getattr(self, f"_{step.kind}")(step)

    def _map(self, step: Step) -> None:
        if step.workers == 0:
            self._fuse(step)
        else:
            self._worker(step)

    def _filter(self, step: Step) -> None:
        self._fuse(step)

    _tap = _filter

    def _flat(self, step: Step) -> None:
        self._worker(step)

    def _fuse(self, step: Step) -> None:
        operation = Operation(step.kind, step.function, step.is_async, step.timeout)  # type: ignore[arg-type]
        before = self.last_nodes[0] if len(self.last_nodes) == 1 else None
        fits = before is not None and before.is_worker and self.queue_step is None and not self.pending and before.policy is None
        if fits and before is not None and (before.is_async or not step.is_async):
            before.operations.append(operation)
            before.name += f" + {step.name}"
        elif step.is_async:
            self._worker(step, workers=1)
        else:
            self.pending.append((operation, step.name))

    def _worker(self, step: Step, workers: int | None = None) -> None:
        kind = "map" if step.kind in ("filter", "tap") else step.kind
        node = Node(kind, step.name, step.workers if workers is None else workers, step.buffer)
        node.is_async = step.is_async
        node.ordered = step.ordered
        does = {"sink": "tap", "keyed": "map"}.get(kind, step.kind)
        operation = Operation(does, step.function, step.is_async, step.timeout)  # type: ignore[arg-type]
        node.operations = [*(each for each, _ in self.pending), operation]
        node.name = " + ".join([*(name for _, name in self.pending), step.name])
        node.options = step.options
        self.pending = []
        self.connect(node)
        self.last_nodes = [node]

    def _sink(self, step: Step) -> None:
        self._worker(step)
        self.last_nodes[0].in_caller = step.options
        self.last_nodes = []

    def flush(self) -> None:
        """Make a node for pending operations that have no other node to join."""
        if self.pending:
            node = Node("map", " + ".join(name for _, name in self.pending), 1, 0)
            node.ordered = True
            node.operations = [each for each, _ in self.pending]
            self.pending = []
            self.connect(node)
            self.last_nodes = [node]

    def _batch(self, step: Step) -> None:
        self.flush()
        node = Node("batch", step.name, 1, step.buffer)
        node.options = step.options
        self.connect(node)
        self.last_nodes = [node]

    def _buffer(self, step: Step) -> None:
        self.flush()
        if step.options[0] == "block":
            if self.queue_step is not None:
                self.add_relay()
            self.extra_buffer += step.buffer
        else:
            self.finish_edge()
            self.queue_step = step

    def add_relay(self) -> None:
        """Add a node that only passes items on, between two queues."""
        node = Node("map", "relay", 1, 0)
        node.ordered = True
        self.connect(node)
        self.last_nodes = [node]

    def finish_edge(self) -> None:
        """Make nodes for pending operations and for what was said about the next edge, before something else is said about it."""
        self.flush()
        if self.queue_step is not None or self.extra_buffer:
            self.add_relay()

    def finish_branch(self) -> None:
        """As `finish_edge`, where branches come together. A list counts as its items, so lists do not share an edge with other items."""
        self.finish_edge()
        if self.last_nodes[0].kind == "batch":
            self.add_relay()

    def _keyed(self, step: Step) -> None:
        self._worker(step)

    def _conflate(self, step: Step) -> None:
        self.finish_edge()
        self.queue_step = step

    def _sample(self, step: Step) -> None:
        host = self.last_nodes[0] if len(self.last_nodes) == 1 else None
        if host is None or not host.is_worker or self.queue_step is not None or self.extra_buffer or self.pending:
            self.flush()
            if len(self.last_nodes) != 1 or not self.last_nodes[0].is_worker or self.queue_step is not None or self.extra_buffer:
                self.add_relay()
            host = self.last_nodes[0]
        edge = Edge([host], Queue(step.buffer, overflow="drop_newest", clock=CLOCK), True, False, 0)
        host.operations.append(Operation("tap", functools.partial(_offer, edge.queue), False, None))
        host.sample_edges.append(edge)
        self.graph.edges.append(edge)
        node = self.add(Node("sink", step.name))
        node.is_async = step.is_async
        node.operations = [Operation("tap", step.function, step.is_async, None)]  # type: ignore[arg-type]
        node.items_are_copies = True
        node.in_edge, edge.consumer = edge, node

    def _merge(self, step: Step) -> None:
        self.finish_branch()
        last_nodes, self.last_nodes = self.last_nodes, []
        other: Any = step.options
        self.begin(other[0])
        self.walk(other[1])
        self.finish_branch()
        self.last_nodes = last_nodes + self.last_nodes

    def _broadcast(self, step: Step) -> None:
        self.flush()
        branches, overflow = step.options
        node = Node("broadcast", step.name, 1, step.buffer)
        self.connect(node)
        last_nodes: list[Node] = []
        branch_start = self.branch_start
        for steps in branches:
            self.last_nodes, self.branch_start = [node], len(self.graph.nodes)
            self.queue_step = None if overflow == "block" else replace(step, kind="buffer", options=(overflow, None))
            self.walk(steps)
            if self.last_nodes:
                self.finish_branch()
            if self.last_nodes == [node]:
                self.add_relay()
            last_nodes += self.last_nodes
        self.last_nodes, self.branch_start = last_nodes, branch_start

    def _on_error(self, step: Step) -> None:
        self.flush()
        for node in self.graph.nodes[self.branch_start :]:
            if node.policy is None:
                node.policy = step.options

    # --- edges -------------------------------------------------------------------------------------------------------

    def connect(self, node: Node) -> None:
        """Add a node, and the edge from the last nodes to it."""
        self.add(node)
        edge = self.edge()
        edge.consumer = node
        node.in_edge = edge

    def edge(self) -> Edge:
        """Make the edge behind the last nodes. The number of its permits is decided when the graph is complete."""
        last_nodes, queue_step, self.queue_step = self.last_nodes, self.queue_step, None
        is_source = all(node.kind == "source" for node in last_nodes)
        is_bounded = queue_step is not None or any(node.kind == "flat" for node in last_nodes)
        calls = dropped = None
        if queue_step is not None:
            calls, dropped = Calls(), Dropped()
            queue: Any = make_queue(queue_step, calls, dropped)
        elif is_bounded:
            queue = Queue(sum(max(1, node.buffer) for node in last_nodes) + self.extra_buffer, clock=CLOCK)
        else:
            queue = Queue(clock=CLOCK)
        shares = is_source and not is_bounded and not self.extra_buffer
        edge = Edge(last_nodes, queue, is_bounded, shares, self.extra_buffer, None if queue_step is None else queue_step.name)
        edge.calls, edge.dropped = calls, dropped
        if last_nodes[0].kind == "batch" and not is_bounded:
            edge.list_sizes = deque()
        self.extra_buffer = 0
        for node in last_nodes:
            node.out_edges.append(edge)
        self.graph.edges.append(edge)
        return edge

    def finish(self) -> Graph:
        self.flush()
        graph = self.graph
        if sum(node.in_caller for node in graph.nodes) > 1:
            raise ValueError("more than one for_each with in_caller=True: there is one caller")
        if self.last_nodes:
            graph.results = self.edge()
        for edge in reversed(graph.edges):  # those behind come first
            self._permits(edge)
        for node in graph.nodes:
            self._limits(node)
        return graph

    def _permits(self, edge: Edge) -> None:
        """Decide how many permits an edge has."""
        consumer = edge.consumer
        behind = consumer.out_edge if consumer is not None else None
        may_share = behind is not None and behind.permits is not None and not behind.shares_next_permits
        is_broadcast = consumer is not None and consumer.kind == "broadcast" and len(consumer.out_edges) > 1
        edge.shares_next_permits = edge.shares_next_permits and may_share and not is_broadcast
        if edge.is_bounded or edge.shares_next_permits:
            if edge.is_bounded and edge.queue.maxsize:
                edge.capacity = edge.queue.maxsize + (0 if may_share or consumer is None else in_hand(consumer))
            return
        capacity = edge.extra_buffer + sum(map(capacity_of, edge.producers))
        if consumer is not None and not may_share:
            # Items that the next node works on keep their permits here.
            at_once = consumer.options[0] if consumer.kind == "batch" else 1
            capacity += (consumer.workers * at_once + (consumer.buffer if consumer.kind == "sink" else 0)) * list_size(edge)
        if consumer is not None and is_broadcast and not capacity:
            capacity = consumer.buffer  # of a source alone
        edge.capacity = capacity = max(1, capacity)
        edge.permits = Semaphore(capacity, clock=CLOCK)

    def _limits(self, node: Node) -> None:
        """Decide which permits a node acquires, and how many items it takes at once."""
        out_edge, in_edge = node.out_edge, node.in_edge
        if in_edge is None:  # a source
            edge = out_edge
            if edge is not None and edge.shares_next_permits and edge.consumer is not None:
                edge = edge.consumer.out_edge
            node.admission = edge.permits if edge is not None else None
            producers = 1 if out_edge is None else sum(end.workers for end in out_edge.producers)
            # Where it acquires no permits it may wait with what it has taken, and that must not be more than an item.
            node.max_batch = 1 if node.admission is None else batch_limit(node.admission, producers)
            return
        if out_edge is not None and out_edge.permits is not None:
            node.holds_input_permits = False
            node.admission = None if in_edge.shares_next_permits else out_edge.permits
            node.max_batch = batch_limit(out_edge.permits, node.workers)
        if node.kind == "keyed":
            # A key whose calls take long holds up the others that a worker has taken with it.
            node.max_batch = 1 if node.holds_input_permits else min(node.max_batch, _MAX_KEYS)
            if in_edge.is_bounded and node.holds_input_permits:
                node.admission, node.limits_itself = Semaphore(in_hand(node), clock=CLOCK), True
        elif in_edge.is_bounded and node.holds_input_permits and node.kind != "batch":
            node.max_batch = in_hand(node) // node.workers
        elif node.holds_input_permits and node.kind != "flat":
            node.max_batch = batch_limit(in_edge.permits, node.workers * list_size(in_edge))


def capacity_of(node: Node) -> int:
    """Return how many items a node may hold, in its workers and behind it."""
    if node.kind == "source":
        return 0
    each = node.options[0] if node.kind == "batch" else 1
    return (node.buffer + node.workers) * each


def in_hand(node: Node) -> int:
    """Return how many items the workers of a node behind a bounded queue may hold, beside those in the queue."""
    if node.kind == "batch":
        return node.options[0]
    return node.workers + (node.buffer if node.kind in ("sink", "keyed") else 0)


def list_size(edge: Edge) -> int:
    """Return the largest number of permits that an item holds. Behind a `batch` an item is a list, and holds one for each of its items."""
    return 1 if edge.list_sizes is None else edge.producers[0].options[0]


def batch_limit(permits: Semaphore | None, workers: int) -> int:
    """Return how many items a worker may take at once: half of its share, so that the other workers find some."""
    return _MAX_BATCH if permits is None else max(1, min(_MAX_BATCH, permits.size // (2 * workers)))


def _offer(queue: Any, item: Any) -> None:
    """Put an item into the queue of a `sample`, which drops it if it is full."""
    with suppress(ShutDown):
        queue.put_nowait(item)


def build_graph(source: Source, steps: tuple[Step, ...]) -> Graph:
    """Make the nodes and edges of a run."""
    builder = _GraphBuilder()
    builder.begin(source)
    builder.walk(steps)
    return builder.finish()
