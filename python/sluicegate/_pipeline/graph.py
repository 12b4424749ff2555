"""What a run consists of: nodes and the edges between them. `building` makes them, and says how they are bounded."""

from __future__ import annotations

from typing import NamedTuple

from sluicegate._core import Semaphore
from sluicegate._exceptions import ShutDown
from sluicegate._running import CLOCK, Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections import deque
    from collections.abc import Callable, Sequence
    from contextvars import Context
    from typing import Any, Protocol

    from sluicegate._closing import Cancellations
    from sluicegate._pipeline.callbacks import Calls, Dropped

    class RunInterface(Protocol):
        """The part of a run that its workers use. The run needs them, so they cannot name its class."""

        is_stopping: bool
        cancellations: Cancellations
        context: Context
        loop: Any
        loop_thread: threading.Thread | None

        def discard(self, items: Sequence[Any], node: Node) -> None: ...
        def failed(self, node: Node, number: int, item: Any, error: BaseException) -> bool: ...
        def fail(self, node: Node, error: BaseException) -> None: ...
        def refused(self, node: Node, edge: Edge, item: Any, error: BaseException) -> None: ...
        def source_failed(self, node: Node, error: BaseException) -> None: ...
        def worker_left(self, worker: Any) -> None: ...


__all__ = ["Edge", "Graph", "Node", "Operation"]


class Operation(NamedTuple):
    """A function that is called with an item: `kind` is map, filter, tap or flat."""

    kind: str
    function: Callable[..., Any]
    is_async: bool
    timeout: float | None


class Edge:
    """The buffer between nodes: a queue, and the permits that bound it."""

    def __init__(
        self, producers: list[Node], queue: Any, is_bounded: bool, shares_next_permits: bool, extra_buffer: int, policy: str | None = None
    ) -> None:
        self.producers = producers
        #: The name of the step whose queue it is (`buffer` with a policy, or `conflate`), which may refuse an item or call a function.
        self.policy = policy
        #: The items that this queue drops, if the user has not said what is called with them. Set where there is a policy.
        self.dropped: Dropped | None = None
        #: The calls of the functions of `conflate` and `buffer` that are running. Set where there is a policy.
        self.calls: Calls | None = None
        #: The cause of each ShutDown that this queue raises.
        self.end = ShutDown("the stage behind has ended")
        self.queue = queue
        #: The queue itself has the bound, and there are no permits.
        self.is_bounded = is_bounded
        #: The number of permits that `buffer` steps add.
        self.extra_buffer = extra_buffer
        #: One permit is held for each item here, unless the queue has the bound.
        self.permits: Semaphore | None = None
        #: There are no permits here either: the source acquires those of the edge behind the next node.
        self.shares_next_permits = shares_next_permits
        #: Behind `batch`, where a list holds as many permits as it had items when it was put: the numbers, in the order of the lists.
        self.list_sizes: deque[int] | None = None
        #: The largest number of items here; None if there is no bound.
        self.capacity: int | None = None
        self.consumer: Node | None = None
        #: It has been killed: items that are still in it, or were taken from it and not worked on, are discarded.
        self.is_killed = False

    @property
    def is_open(self) -> bool:
        """Whether a worker that puts here has not left."""
        return any(producer.alive for producer in self.producers)

    def shut_down(self, *, immediate: bool = False) -> None:
        """Shut the queue down, so that nothing more can be put into it."""
        self.queue.shutdown(immediate, error=self.end)

    def is_end(self, error: BaseException) -> bool:
        """Return whether the error says that this edge was shut down. A function of the user may raise a ShutDown of its own."""
        return isinstance(error, ShutDown) and error.__cause__ is self.end

    def weight(self, items: list[Any]) -> int:
        """Return the number of permits that these items hold. Call it once for them, in the worker that has taken them."""
        sizes = self.list_sizes
        return len(items) if sizes is None else sum(sizes.popleft() for _ in items)

    def release(self, weight: int) -> None:
        """Release permits of items that have left the edge or will never come."""
        if self.permits is not None and weight:
            self.permits.release(weight)


class Node:
    """A source, a stage or a sink, with its workers."""

    def __init__(self, kind: str, name: str, workers: int = 1, buffer: int = 0) -> None:
        self.kind = kind
        self.name = name
        self.index = 0
        self.source: Any = None
        self.operations: list[Operation] = []
        self.is_async = False
        self.workers = workers
        self.buffer = buffer
        self.ordered = False
        self.in_caller = False
        #: Its items are copies of items that are also elsewhere, so `on_discard` is not called with them.
        self.items_are_copies = False
        self.options: Any = None
        #: What happens to an item whose call raises: "stop", "skip", a callable or a `DeadLetters`; None if nothing was said.
        self.policy: Any = None
        self.in_edge: Any = None
        self.out_edges: list[Edge] = []
        #: The edges to the sinks of `sample`, into which an operation of this node puts.
        self.sample_edges: list[Edge] = []
        #: The permits to acquire before an item is taken, or None.
        self.admission: Any = None
        #: Taken items keep their permits of the edge before until they are finished; otherwise these are given back at once.
        self.holds_input_permits = True
        #: Between two bounded queues, where no edge has permits: those to acquire are its own.
        self.limits_itself = False
        self.max_batch = 1
        #: While it runs: the order of results, a lock for taking and numbering items, and the number of the next item.
        self.order: Any = None
        self.keys: Any = None
        self.take_lock = Semaphore(1, clock=CLOCK)
        self.lock = Lock()
        self.next_number = 0
        #: Workers that have not left.
        self.alive = 0
        #: When the last one left.
        self.ended: float | None = None

    @property
    def is_worker(self) -> bool:
        """Whether it calls functions, so that other functions may be fused into it."""
        return self.kind in ("map", "flat", "keyed")

    @property
    def out_edge(self) -> Any:
        """The only edge behind it, if there is one."""
        return self.out_edges[0] if self.out_edges else None

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r}>"


class Graph:
    """The nodes and edges of a run."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        #: The edge from which the results are taken, if the pipeline has results.
        self.results: Edge | None = None
