#!/usr/bin/env python3
"""Writes the guide's page of statistics from the package's own tables. `--check` only says whether the page is up to date."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from sluicegate import _statistics

PAGE = Path(__file__).resolve().parent.parent / "docs/guide/statistics.md"

HEAD = """\
# Statistics

<!-- Written by `make stubs` from python/sluicegate/_statistics.py: edit that file. -->

Queues, `Latest`, broadcasts and their subscribers, limiters, semaphores, circuit breakers, adaptive limits, retry budgets, channels and
their two ends, `Batcher`, `BoundedExecutor`, the middlewares of `sluicegate.http` and a run of a `Pipeline` have a method `statistics()`,
which returns a snapshot as a frozen dataclass. All numbers of a snapshot are of the same moment, with two exceptions: those of a
`Batcher`, a middleware or a pipeline are read one after another while calls go on, and the keys of a keyed object in groups, one group
after another. A *gauge* goes up and down; a *counter* only grows, so that the difference between two snapshots is what happened in between.

The tables below are also available to a program, for exporting: `dataclasses.fields(sluicegate.QueueStatistics)` yields the fields,
and each field's `metadata` has the keys `kind`, `unit` and `doc`.
"""


def page() -> str:
    parts = [HEAD]
    for name in _statistics.__all__:
        cls = getattr(_statistics, name)
        parts.append(f"\n## `{name}`\n\n{cls.__doc__.split(chr(10))[0]}\n\n| field | kind | unit | meaning |\n|---|---|---|---|\n")
        for field in dataclasses.fields(cls):
            about = field.metadata
            parts.append(f"| `{field.name}` | {about['kind']} | {about['unit']} | {about['doc']} |\n")
    return "".join(parts)


def main() -> int:
    wanted = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"docs/guide/{PAGE.name} is not what python/sluicegate/_statistics.py says: run 'make stubs'")
    return 1


if __name__ == "__main__":
    sys.exit(main())
