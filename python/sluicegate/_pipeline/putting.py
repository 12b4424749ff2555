"""How the results of a node get into an edge behind it.

An edge with a policy may refuse a result, or call functions of the user. So there results are put one at a time, and it is known which one
was refused.
"""

from __future__ import annotations

import functools

from sluicegate._exceptions import ShutDown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from sluicegate._pipeline.graph import Edge, Node, RunInterface

__all__ = ["Refusal", "discard", "put", "put_into"]


class Refusal(Exception):
    """An edge with a policy has not taken an item: it is shut down or full, or a function of `conflate` has raised."""

    def __init__(self, item: Any, error: BaseException, accepted: int) -> None:
        super().__init__()
        self.item = item
        self.error = error
        self.accepted = accepted


def put(run: RunInterface, node: Node, edge: Edge, results: list[Any]) -> int:
    """Put results of a node into an edge behind it, and discard what it does not take. Return how many it took."""
    try:
        accepted = edge.queue.put_many(results) if edge.policy is None else _put_singly(edge, results)
    except Refusal as refusal:
        accepted = refusal.accepted
        discard(run, node, edge, results[accepted:])
        if not edge.is_end(refusal.error):
            run.refused(node, edge, refusal.item, refusal.error)
    except ShutDown as error:
        accepted = getattr(error, "accepted", 0)
        discard(run, node, edge, results[accepted:])
    return accepted


def _put_singly(edge: Edge, results: Iterable[Any]) -> int:
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
    """Discard results that were to go into an edge, and release their permits."""
    if results:
        run.discard(results, node)
        edge.release(len(results))


def put_into(edge: Edge) -> Callable[[Any], int]:
    """Return the function that puts the results of an iterator into an edge, as they are made."""
    return edge.queue.put_many if edge.policy is None else functools.partial(_put_singly, edge)
