"""CPython's own tests of asyncio's semaphores, as the running interpreter ships them, against `Semaphore(...).async_semaphore`.

Nothing of that suite is copied. It names `asyncio.Semaphore` directly, so it is loaded a second time, as a module that nobody else sees,
and the name `asyncio` in that module alone is a stand-in: our semaphores, and for the rest asyncio. Of its cases the semaphores' are run.
"""

from __future__ import annotations

import asyncio
import importlib.util
import types
import unittest
from collections import Counter
from typing import Any

import pytest

import sluicegate
from sluicegate._semaphores import AsyncSemaphoreView

try:
    spec = importlib.util.find_spec("test.test_asyncio.test_locks")
except ModuleNotFoundError:
    spec = None
if spec is None or spec.loader is None:
    pytest.skip("this interpreter ships no test.test_asyncio.test_locks", allow_module_level=True)

pytestmark = pytest.mark.thread_unsafe(reason="sets the process's event loop policy")

# The fewest tests a suite of a supported interpreter has had (3.10).
AT_LEAST = 14

# Tests that look at private attributes which a view of ours has not. What they are after is tested through the public interface in
# test_semaphore_asyncio.py.
PRIVATE = {
    "test_repr": "appends mocks to sem._waiters",
    "test_acquire_fifo_order_4": "counts in sem._value the permits that are not promised yet, between two wake-ups",
}


def viewed(kind: type[sluicegate.Semaphore]) -> type:
    """A class to stand for asyncio's of the same name: calling it makes one of our semaphores and gives its `async_semaphore`."""

    def make(cls: type, value: Any = 1) -> Any:
        view = object.__new__(cls)
        AsyncSemaphoreView.__init__(view, kind(value))
        return view

    def waiters(self: Any) -> list[None]:
        """The suite asks how long the line is, and nothing else of those in it."""
        return [None] * self._semaphore.statistics().waiters

    members = {"__new__": make, "__init__": lambda self, value=1: None, "_waiters": property(waiters)}
    return type(kind.__name__, (AsyncSemaphoreView,), members)


class Asyncio(types.ModuleType):
    """asyncio, with our semaphores in it."""

    Semaphore = viewed(sluicegate.Semaphore)
    BoundedSemaphore = viewed(sluicegate.BoundedSemaphore)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


def case_of_the_suite() -> type[unittest.TestCase]:
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # not in sys.modules: whoever imports the suite gets the real one
    module.asyncio = Asyncio("asyncio")
    case = module.SemaphoreTests
    attributes: dict[str, Any] = {"__module__": __name__}
    for test in unittest.defaultTestLoader.getTestCaseNames(case):
        if test in PRIVATE:
            attributes[test] = unittest.skip(PRIVATE[test])(getattr(case, test))
    return type("SemaphoreTests", (case,), attributes)


SemaphoreTests = case_of_the_suite()


def test_the_suite_is_here() -> None:
    assert len(unittest.defaultTestLoader.getTestCaseNames(SemaphoreTests)) >= AT_LEAST


def test_the_suite_ran(borrowed: tuple[int, Counter[str]]) -> None:
    selected, counts = borrowed
    if not selected:
        pytest.skip("this run selected none of the suite's tests")
    assert counts["passed"] > 0, f"none of {selected} tests of CPython's own suite passed: {dict(counts)}"
    assert counts["skipped"] <= len(PRIVATE), f"more skips than the table explains: {dict(counts)}"
