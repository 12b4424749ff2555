"""CPython's own tests of `threading`'s semaphores, as the running interpreter ships them, against sluicegate's.

Nothing of that suite is copied: its cases are subclassed, with our class where they keep the one they test (`semtype`).
"""

from __future__ import annotations

import importlib
import importlib.util
import unittest
from collections import Counter

import pytest

import sluicegate

try:
    shipped = importlib.util.find_spec("test.lock_tests") is not None
except ModuleNotFoundError:
    shipped = False
if not shipped:
    pytest.skip("this interpreter ships no test.lock_tests", allow_module_level=True)

pytestmark = pytest.mark.thread_unsafe(reason="starts dozens of threads itself")

suite = importlib.import_module("test.lock_tests")

# The fewest tests a suite of a supported interpreter has had (3.10), of both classes: fewer were not found, not shortened.
AT_LEAST = 22


class SemaphoreTests(suite.SemaphoreTests):
    semtype = staticmethod(sluicegate.Semaphore)


class BoundedSemaphoreTests(suite.BoundedSemaphoreTests):
    semtype = staticmethod(sluicegate.BoundedSemaphore)


def test_the_suite_is_here() -> None:
    loader = unittest.defaultTestLoader
    assert sum(len(loader.getTestCaseNames(case)) for case in (SemaphoreTests, BoundedSemaphoreTests)) >= AT_LEAST


def test_the_suite_ran(borrowed: tuple[int, Counter[str]]) -> None:
    selected, counts = borrowed
    if not selected:
        pytest.skip("this run selected none of the suite's tests")
    assert counts["passed"] > 0, f"none of {selected} tests of CPython's own suite passed: {dict(counts)}"
    assert counts["skipped"] == 0, f"the suite needs no skips: {dict(counts)}"
