"""Pipelines: a source, stages of threads and tasks, and a sink, with a bound on the unfinished items and a clean end.

| module | |
|---|---|
| `description`, `steps`, `sources` | what the user writes: immutable and lazy |
| `graph`, `building` | nodes and edges made of it, functions fused, permits counted |
| `callbacks` | the queues of `buffer` and `conflate`, and the functions that they call |
| `running` | a run, and its ends: completion, errors, `stop`, `kill` |
| `launching` | how its threads and tasks are started |
| `workers`, `routing`, `sourcing` | what the threads do |
| `errors` | what becomes of items whose calls raise |
| `tasks` | what the tasks do |
| `permits`, `putting`, `order`, `keys` | what both do to take items and to put results |
| `measuring`, `tallies`, `describing`, `pictures` | statistics, descriptions, tables and plots |
| `handle` | `PipelineRun`, as the user has it |

The threads and tasks wait only in the package's queues and semaphores.
"""

from __future__ import annotations

from sluicegate._pipeline.description import Pipeline
from sluicegate._pipeline.errors import DeadLetter
from sluicegate._pipeline.handle import PipelineRun
from sluicegate._pipeline.sources import Produce, produce

__all__ = ["DeadLetter", "Pipeline", "PipelineRun", "Produce", "produce"]
