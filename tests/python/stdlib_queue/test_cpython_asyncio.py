"""CPython's own tests of asyncio's queues, as the running interpreter ships them, against `sluicegate.Queue(...).async_q`.

Nothing of that suite is copied. It names `asyncio.Queue` and its kin directly, so it is loaded a second time, as a module that
nobody else sees, and the name `asyncio` in that module alone is a stand-in: our classes and exceptions, and for the rest asyncio.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import types
import unittest
from collections import Counter
from typing import Any

import pytest

import sluicegate

try:
    spec = importlib.util.find_spec("test.test_asyncio.test_queues")
except ModuleNotFoundError:
    spec = None
if spec is None or spec.loader is None:
    pytest.skip("this interpreter ships no test.test_asyncio.test_queues", allow_module_level=True)

pytestmark = pytest.mark.thread_unsafe(reason="sets the process's event loop policy")

# The fewest tests a suite of a supported interpreter has had (3.11): see test_cpython_queue.py.
AT_LEAST = 44

# Tests that look at private attributes of asyncio.Queue, which are lists of futures there and are not in a view of ours. What they
# are after is tested through the public interface in test_views.py.
PRIVATE = {
    "QueueGetTests.test_get_with_putters": "appends a future of its own to q._putters",
    "QueueGetTests.test_cancelled_getters_not_being_held_in_self_getters": "counts the futures in q._getters",
    "QueuePutTests.test_cancelled_puts_not_being_held_in_self_putters": "counts the futures in q._putters",
}
if sys.version_info < (3, 11):
    PRIVATE["QueueGetTests.test_why_are_getters_waiting"] = "calls q._get_loop()"
    PRIVATE["QueuePutTests.test_why_are_putters_waiting"] = "calls q._get_loop()"


def viewed(kind: type[sluicegate.Queue[Any]]) -> type:
    """A class to stand for asyncio's of the same name: calling it makes one of our queues and gives its `async_q`."""
    view = type(kind().async_q)

    def make(cls: type, maxsize: Any = 0) -> Any:
        return kind(maxsize).async_q

    return type(kind.__name__, (view,), {"__slots__": (), "__new__": make})


class Asyncio(types.ModuleType):
    """asyncio, with our queues in it."""

    Queue = viewed(sluicegate.Queue)
    LifoQueue = viewed(sluicegate.LifoQueue)
    PriorityQueue = viewed(sluicegate.PriorityQueue)
    QueueEmpty = sluicegate.Empty
    QueueFull = sluicegate.Full
    QueueShutDown = sluicegate.ShutDown

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


def load_the_suite() -> types.ModuleType:
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # not in sys.modules: whoever imports the suite gets the real one
    module.asyncio = Asyncio("asyncio")
    return module


def cases_of_the_suite() -> dict[str, type[unittest.TestCase]]:
    cases = {}
    for name, case in vars(load_the_suite()).items():
        if not isinstance(case, type) or not issubclass(case, unittest.TestCase):
            continue
        attributes: dict[str, Any] = {"__module__": __name__}
        kind = getattr(case, "q_class", None)
        if kind is not None:
            attributes["q_class"] = getattr(Asyncio, kind.__name__)
        for test in unittest.defaultTestLoader.getTestCaseNames(case):
            reason = PRIVATE.get(f"{name}.{test}")
            if reason is not None:
                attributes[test] = unittest.skip(reason)(getattr(case, test))
        cases[name] = type(name, (case,), attributes)
    return cases


cases = cases_of_the_suite()
globals().update(cases)


def test_the_suite_is_here() -> None:
    loader = unittest.defaultTestLoader
    found = {f"{name}.{test}" for name, case in cases.items() for test in loader.getTestCaseNames(case)}
    assert len(found) >= AT_LEAST
    assert found >= set(PRIVATE), "the table of skipped tests names some that are not there"


def test_the_suite_ran(borrowed: tuple[int, Counter[str]]) -> None:
    selected, counts = borrowed
    if not selected:
        pytest.skip("this run selected none of the suite's tests")
    assert counts["passed"] > 0, f"none of {selected} tests of CPython's own suite passed: {dict(counts)}"
    assert counts["skipped"] <= len(PRIVATE), f"more skips than the table explains: {dict(counts)}"
