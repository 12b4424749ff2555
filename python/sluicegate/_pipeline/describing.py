"""A description in words, or as a graph in the language of Mermaid or Graphviz."""

from __future__ import annotations

from sluicegate._core import CoalescingQueue
from sluicegate._pipeline.building import build_graph

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sluicegate._pipeline.graph import Edge, Graph, Node
    from sluicegate._pipeline.sources import Source
    from sluicegate._pipeline.steps import Step

__all__ = ["describe"]


def describe(source: Source, steps: tuple[Step, ...], name: str | None, format: str) -> str:
    """Return the description in one of the formats."""
    made = build_graph(source, steps)
    if format == "text":
        lines = [f"pipeline {name!r}" if name is not None else "pipeline", *map(_line, made.nodes)]
        if made.results is not None:
            lines.append("  results")
        total = _total(made)
        lines.append(f"at most {total} item{'s' if total > 1 else ''} on the way")
        return "\n".join(lines)
    links = [(end, edge.consumer, _room(edge)) for edge in made.edges for end in edge.producers]
    if format == "mermaid":
        shapes = {"source": '(["{}"])', "sink": '(["{}"])'}
        lines = [
            f"    n{node.index}" + shapes.get(node.kind, '["{}"]').format(f"{_escaped(node.name, _MERMAID)}<br>{_workers(node)}")
            for node in made.nodes
        ]
        lines += [f'    n{end.index} -->|"{room}"| {"results" if to is None else f"n{to.index}"}' for end, to, room in links]
        return "\n".join(["flowchart LR", *lines])
    if format == "dot":
        lines = [f'    n{node.index} [label="{_escaped(node.name, _DOT)}\\n{_workers(node)}"];' for node in made.nodes]
        lines += [f'    n{end.index} -> {"results" if to is None else f"n{to.index}"} [label="{room}"];' for end, to, room in links]
        return "\n".join(["digraph {", "    rankdir=LR;", "    node [shape=box];", *lines, "}"])
    raise ValueError(f"'format' must be 'text', 'mermaid' or 'dot', got {format!r}")


def _total(made: Graph) -> int:
    """Return how many items may be on the way. A source that acquires no permits waits with an item in each of its threads."""
    in_hand = sum(node.workers for node in made.nodes if node.kind == "source" and node.admission is None)
    return in_hand + sum(edge.capacity or 0 for edge in made.edges)


def _room(edge: Edge) -> str:
    """Return in words how much an edge may hold."""
    if edge.shares_next_permits:
        return "as the next stage has room"
    policy = "one of each key" if isinstance(edge.queue, CoalescingQueue) else edge.queue.overflow
    return f"at most {edge.capacity}" + ("" if policy == "block" else f" ({policy})")


def _workers(node: Node) -> str:
    if node.in_caller:
        return "in the caller"
    kind = "task" if node.is_async else "thread"
    return f"{node.workers} {kind}{'s' if node.workers > 1 else ''}" + (", in order" if node.ordered and node.workers > 1 else "")


def _line(node: Node) -> str:
    rooms: list[Any] = [f"{_room(edge)} to {_name(edge)}" for edge in (*node.out_edges, *node.sample_edges)]
    return f"  {node.name}: {_workers(node)}" + (f"; {', '.join(rooms)}" if rooms else "")


def _name(edge: Edge) -> str:
    return "results" if edge.consumer is None else edge.consumer.name


#: What stands for characters that mean something to Mermaid (it reads `<genexpr>` as a tag, which shows nothing) and to Graphviz.
_MERMAID = {'"': "#quot;", "<": "#lt;", ">": "#gt;", "#": "#35;", "`": "#96;", "\n": "<br>"}
_DOT = {'"': '\\"', "\\": "\\\\", "\n": "\\n"}


def _escaped(text: str, replaced: dict[str, str]) -> str:
    return "".join(replaced.get(each, each) for each in text)
