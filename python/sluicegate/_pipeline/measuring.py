"""The statistics of a run.

Of each item only the time of its call is measured. How long the workers waited is known from the queues and semaphores in which they wait:
*starved* is the time in `get` of the queue before the stage; *blocked* is the time in `acquire` of the permits behind it, or in `put` of a
bounded queue; the rest is *busy*. A stage behind a source acquires no permits, because the source does that for it, so the time for which
the source waits for them counts as the stage's as well, for each of its workers. A worker of `flat_map` that waits for its turn does what
the worker at the head does: it is as busy, or as blocked.
"""

from __future__ import annotations

import math
import time

from sluicegate._pipeline.steps import METHODS
from sluicegate._pipeline.tallies import Marks, Tally
from sluicegate._statistics import PipelineStatistics, StageStatistics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sluicegate._pipeline.graph import Edge, Node
    from sluicegate._pipeline.running import Run
    from sluicegate._pipeline.workers import Worker

__all__ = ["statistics"]


def statistics(run: Run) -> PipelineStatistics:
    """Return a snapshot of a run."""
    now = run.ended if run.is_over else time.monotonic()
    elapsed = max(1e-9, now - run.started)
    with run.lock:  # a worker is here or there
        workers = list(run.workers)
        tallies = [Tally() for _ in run.graph.nodes]
        for node, retired in run.retired.items():
            tallies[node.index].add(retired)
    for worker in workers:
        tallies[worker.node.index].add(worker)
    parts = [_part(node, run, elapsed) for node in run.graph.nodes]
    stages = tuple(_stage(*each, workers, elapsed) for each in zip(run.graph.nodes, tallies, parts, strict=True))
    # `batch` holds items, and passes on lists of them.
    passed = [stage.taken if node.kind == "batch" else stage.passed for node, stage in zip(run.graph.nodes, stages, strict=True)]
    with run.lock:
        if run.marks is None:
            run.marks = Marks(run.started, len(stages))
        latency = run.marks.latency(now, passed, [stage.in_flight for stage in stages])
    # Of the time of the run: a source that has ended at once was busy all of its own time, and held up nobody.
    busy = [stage.busy * part for stage, part in zip(stages, parts, strict=True)]
    busiest = stages[busy.index(max(busy))]
    return PipelineStatistics(
        name=run.name,
        elapsed_seconds=elapsed,
        stages=stages,
        in_flight=sum(stage.in_flight for stage in stages),
        discarded=run.discarded,
        latency_seconds=latency,
        bottleneck=busiest.name if busiest.busy else None,
        is_over=run.is_over,
    )


def _part(node: Node, run: Run, elapsed: float) -> float:
    """Return for which part of the run the stage has existed."""
    return 1.0 if node.ended is None else min(1.0, max(0.0, node.ended - run.started) / elapsed)


def _stage(node: Node, tally: Tally, part: float, workers: list[Worker], elapsed: float) -> StageStatistics:
    total = tally.seconds
    starved, blocked = _waits(node, total, total / max(1e-9, part * elapsed), workers)
    starved = min(starved, total)
    blocked = min(blocked, total - starved)
    busy = total - starved - blocked
    held, capacity = _held(node, workers)
    in_edge = node.in_edge
    return StageStatistics(
        name=node.name,
        kind=METHODS.get(node.kind, node.kind),
        workers=node.alive,
        taken=tally.taken,
        passed=tally.made,
        failed=tally.failed,
        dropped=sum(_dropped(edge) for edge in node.out_edges if edge.producers[0] is node and edge.policy is not None),
        in_flight=held,
        capacity=capacity,
        waiting=0 if in_edge is None else in_edge.queue.qsize(),
        busy_seconds=busy,
        starved_seconds=starved,
        blocked_seconds=blocked,
        busy=busy / total if total > 0 else 0.0,
        rate=tally.made / elapsed,
        p50_seconds=_quantile(tally.times, 0.5),
        p99_seconds=_quantile(tally.times, 0.99),
    )


def _waits(node: Node, total: float, side_by_side: float, workers: list[Worker]) -> tuple[float, float]:
    """Return how long its workers have waited for items, and how long for room.

    `total` is the time of all of them, and `side_by_side` how many there were on average.
    """
    in_edge, out_edges = node.in_edge, node.out_edges
    starved = blocked = 0.0
    if in_edge is not None:
        starved = in_edge.queue.statistics().get_blocked_seconds + node.take_lock.statistics().waited_seconds
    if node.admission is not None:
        blocked = node.admission.statistics().waited_seconds
    for edge in out_edges:
        if edge.is_bounded:
            blocked += edge.queue.statistics().put_blocked_seconds
    if node.order is not None and blocked:
        worked = total - starved
        blocked *= worked / max(1e-9, worked - node.order.waited())
    if in_edge is not None and in_edge.shares_next_permits and out_edges[0].permits is not None:
        # While its sources waited for room behind this node, none of its workers had an item for that reason.
        times = [worker.seconds for worker in workers if worker.node in in_edge.producers]
        sources = sum(times) / max([1e-9, *times])
        waited = out_edges[0].permits.statistics().waited_seconds / max(1.0, sources)
        for_room = min(starved, waited * side_by_side)
        starved, blocked = starved - for_room, blocked + for_room
    return starved, blocked


def _dropped(edge: Edge) -> int:
    """Return how many items the policy of an edge has dropped, replaced or merged."""
    seen = edge.queue.statistics()
    return seen.dropped_oldest + seen.dropped_newest + seen.dropped_sampled + seen.merged


def _held(node: Node, workers: list[Worker]) -> tuple[int, int | None]:
    """Return how many items it holds, and how many it may hold."""
    held, capacity = 0, None
    for edge in node.out_edges:
        if edge.producers[0] is not node:
            continue
        if edge.capacity is not None:
            capacity = (capacity or 0) + edge.capacity
        if edge.is_killed:
            continue
        if edge.permits is not None:
            size = edge.permits.size
            reserved = sum(each.reserved for each in workers if each.node.admission is edge.permits or edge in each.node.out_edges)
            held += max(0, size - edge.permits.value - reserved)
        elif edge.is_bounded:
            held += edge.queue.qsize()
    return held, capacity


def _quantile(times: dict[int, int], part: float) -> float:
    left = part * sum(times.values())
    for each in sorted(times):
        left -= times[each]
        if left <= 0:
            exponent, step = divmod(each, 8)
            return math.ldexp(0.5 + (step + 0.5) / 16, exponent)
    return 0.0
