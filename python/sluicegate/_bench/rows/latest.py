"""The rows about the latest value: setting it while nobody waits, and telling a reader, beside a value behind a condition."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import sluicegate
from sluicegate._bench.harness import Stopwatch, loop_of
from sluicegate._bench.model import OURS, Contender, Row, Run, Sample


class _ByHand:
    """What people write by hand: a value, a version, and a condition."""

    def __init__(self) -> None:
        self._value: Any = None
        self._version = 0
        self._changed = threading.Condition()

    def set(self, value: Any) -> None:
        with self._changed:
            self._value = value
            self._version += 1
            self._changed.notify_all()

    def get(self) -> Any:
        with self._changed:
            return self._value


def setting(make: Callable[[], Any]) -> Run:
    """One thread sets a value; each replaces the one before."""
    loop = loop_of("set_value(value)", "set_value", "value")

    def run(n: int) -> Sample:
        latest = make()
        with Stopwatch() as watch:
            loop(n, latest.set, object())
        return watch.sample(n)

    return run


def getting(make: Callable[[], Any]) -> Run:
    """One thread reads the value."""
    loop = loop_of("get()", "get")

    def run(n: int) -> Sample:
        latest = make()
        latest.set(object())
        with Stopwatch() as watch:
            loop(n, latest.get)
        return watch.sample(n)

    return run


ROWS = (
    Row(
        "latest-set",
        "set the latest value, one thread, nobody waits",
        (Contender(OURS, setting(sluicegate.Latest)), Contender("by hand (Condition)", setting(_ByHand))),
        least=1_000,
    ),
    Row(
        "latest-get",
        "get the latest value, one thread",
        (Contender(OURS, getting(sluicegate.Latest)), Contender("by hand (Condition)", getting(_ByHand))),
        least=1_000,
    ),
)
