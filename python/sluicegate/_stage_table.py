"""What a table of a pipeline's stages has in it: that of `str` of the statistics, and that of the live view.

`seen` is a `PipelineStatistics` and `stage` a `StageStatistics`. Their file needs this one, so they are not named in the types.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["as_text", "cells", "columns", "title"]

#: The columns, in their order. Those that begin with a space are left out where the terminal is narrow.
_COLUMNS = ("stage", " workers", " in", "out", "failed", "dropped", "held", "rate", "busy", "starved", "blocked", " p50", " p99")


def title(seen: Any) -> str:
    """Return the line above the table."""
    name = f"pipeline {seen.name}" if seen.name is not None else "pipeline"
    discarded = f", {seen.discarded:,} discarded" if seen.discarded else ""
    on_the_way = f"{seen.in_flight:,} on the way, {seen.latency_seconds:.3g} s from end to end"
    return f"{name}: {seen.elapsed_seconds:.1f} s, {on_the_way}{discarded}"


def columns(seen: Any, *, is_narrow: bool = False) -> list[str]:
    """Return the names of the columns. That of dropped items is there if there are any."""
    has_dropped = any(stage.dropped for stage in seen.stages)
    shown = (each for each in _COLUMNS if not (is_narrow and each.startswith(" ")))
    return [each.strip() for each in shown if each != "dropped" or has_dropped]


def cells(stage: Any) -> dict[str, str]:
    """Return what is in the columns for a stage."""
    total = stage.busy_seconds + stage.starved_seconds + stage.blocked_seconds or 1.0
    return {
        "stage": stage.name,
        "workers": str(stage.workers),
        "in": f"{stage.taken:,}",
        "out": f"{stage.passed:,}",
        "failed": f"{stage.failed:,}",
        "dropped": f"{stage.dropped:,}",
        "held": f"{stage.in_flight:,}" + (f"/{stage.capacity:,}" if stage.capacity is not None else ""),
        "rate": f"{stage.rate:,.0f}/s",
        "busy": f"{stage.busy:.0%}",
        "starved": f"{stage.starved_seconds / total:.0%}",
        "blocked": f"{stage.blocked_seconds / total:.0%}",
        "p50": f"{stage.p50_seconds * 1e3:.3g} ms",
        "p99": f"{stage.p99_seconds * 1e3:.3g} ms",
    }


def as_text(seen: Any) -> str:
    """Return the table as lines of plain text."""
    names = columns(seen)
    rows = [dict(zip(names, names, strict=True)), *map(cells, seen.stages)]
    widths = {name: max(len(row[name]) for row in rows) for name in names}
    lines = [[row[name].ljust(widths[name]) if name == "stage" else row[name].rjust(widths[name]) for name in names] for row in rows]
    bottleneck = f"; the bottleneck is {seen.bottleneck}" if seen.bottleneck is not None else ""
    return "\n".join([title(seen) + bottleneck, *("  " + "  ".join(line) for line in lines)])
