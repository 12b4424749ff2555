"""What happens to items whose calls raise."""

from __future__ import annotations

from typing import Any, NamedTuple

from sluicegate._classes import public
from sluicegate._running import add_note, not_an_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sluicegate._pipeline.graph import Node

__all__ = ["DeadLetter", "DeadLetters", "apply_policy"]


@public
class DeadLetter(NamedTuple):
    """An item that a stage of a `Pipeline` could not work on: what `on_error(dead_letter=q)` puts into the queue."""

    item: Any
    error: Exception
    stage: str


class DeadLetters:
    """The policy that puts such items into a queue."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue


def apply_policy(node: Node, item: Any, error: BaseException) -> BaseException | None:
    """Do what the node's policy says. Return None if the worker goes on, and otherwise the error with which the pipeline stops."""
    policy = node.policy
    if policy is None or policy == "stop" or not isinstance(error, Exception):
        return error
    if policy == "skip":
        return None
    try:
        if isinstance(policy, DeadLetters):
            policy.queue.put_nowait(DeadLetter(item, error, node.name))
        else:
            policy(item, error)
    except BaseException as raised:  # noqa: BLE001 - it is for the caller of the run
        if raised is error:
            return error
        what = "dead_letter" if isinstance(policy, DeadLetters) else "on_error"
        raised = not_an_end(raised, f"{what} of stage {node.name!r}")
        add_note(raised, f"in {what}, for an item whose call raised {type(error).__name__}: {error}")
        return raised
    return None
