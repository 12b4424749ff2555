"""CPython's own tests of `queue`, as the running interpreter ships them, against sluicegate's classes.

Nothing of that suite is copied. Its classes run the same mixins against two modules, one of which they keep in the class
attribute `queue`; here each of them is subclassed with our classes in that place. So a newer interpreter's newer tests run too.
"""

from __future__ import annotations

import importlib
import importlib.util
import types
import unittest
from collections import Counter

import pytest

import sluicegate

try:
    shipped = importlib.util.find_spec("test.test_queue") is not None
except ModuleNotFoundError:
    shipped = False
if not shipped:
    pytest.skip("this interpreter ships no test.test_queue", allow_module_level=True)

pytestmark = pytest.mark.thread_unsafe(reason="starts dozens of threads itself")

# Importing the suite imports `queue` afresh, twice, and puts the original back: ours is loaded before.
suite = importlib.import_module("test.test_queue")

# The fewest tests a suite of a supported interpreter has had (3.10): a suite that shrank below it was not found, not shortened.
AT_LEAST = 28

ours = types.ModuleType("queue", "What the suite takes for the module `queue`.")
for name in ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "Empty", "Full", "ShutDown"):
    setattr(ours, name, getattr(sluicegate, name))


def cases_of_the_suite() -> dict[str, type[unittest.TestCase]]:
    """Each case that the suite runs against the C-accelerated module, with our classes for that module."""
    return {
        name.removeprefix("C"): type(name.removeprefix("C"), (case,), {"queue": ours, "__module__": __name__})
        for name, case in vars(suite).items()
        if isinstance(case, type) and issubclass(case, unittest.TestCase) and getattr(case, "queue", None) is suite.c_queue
    }


@pytest.fixture(autouse=True)
def room_for_fifty_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    # Since 3.14 the suite runs its three tests of 50 threads only where it is told of 5 GB, at a guess of 100 MB a thread.
    support = importlib.import_module("test.support")
    monkeypatch.setattr(support, "real_max_memuse", 8 * 2**30)
    monkeypatch.setattr(support, "verbose", 0)  # nor does it print, or watch


cases = cases_of_the_suite()
globals().update(cases)


def test_the_suite_is_here() -> None:
    assert {"QueueTest", "LifoQueueTest", "PriorityQueueTest", "FailingQueueTest", "SimpleQueueTest"} <= set(cases)
    loader = unittest.defaultTestLoader
    assert sum(len(loader.getTestCaseNames(case)) for case in cases.values()) >= AT_LEAST


def test_the_suite_ran(borrowed: tuple[int, Counter[str]]) -> None:
    selected, counts = borrowed
    if not selected:
        pytest.skip("this run selected none of the suite's tests")
    assert counts["passed"] > 0, f"none of {selected} tests of CPython's own suite passed: {dict(counts)}"
    assert counts["skipped"] == 0, f"the suite needs no skips: {dict(counts)}"
