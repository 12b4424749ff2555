"""Counts what ran of CPython's own suites (stdlib_queue), and says so at the end of the run.

With pytest-xdist the tests run in several processes: each hands in what it has counted, and the one that reports adds up.
"""

from __future__ import annotations

import platform
from collections import Counter
from typing import Any

import pytest

# What is counted: the files, by the suite they borrow.
SUITES = {
    "test_cpython_queue.py": "test.test_queue",
    "test_cpython_asyncio.py": "test.test_asyncio.test_queues",
    "test_cpython_futures.py": "test.test_concurrent_futures, thread pools",
    "test_cpython_semaphores.py": "test.lock_tests, semaphores",
    "test_cpython_asyncio_semaphores.py": "test.test_asyncio.test_locks, semaphores",
}

COUNTS = pytest.StashKey[dict[str, Counter[str]]]()


@pytest.fixture
def borrowed(request: pytest.FixtureRequest) -> tuple[int, Counter[str]]:
    """How many borrowed tests of this file the run selected, and what became of them so far."""
    selected = sum(item.path == request.path and getattr(item, "cls", None) is not None for item in request.session.items)
    return selected, request.config.stash[COUNTS][request.path.name]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = {}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if item.path.name not in SUITES:
        return report
    counts = item.config.stash[COUNTS].setdefault(item.path.name, Counter())
    if getattr(item, "cls", None) is not None and (report.when == "call" or not report.passed):
        counts[report.outcome] += 1
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a process of pytest-xdist's
        session.config.workeroutput["borrowed"] = {file: dict(counts) for file, counts in session.config.stash[COUNTS].items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for file, counts in getattr(node, "workeroutput", {}).get("borrowed", {}).items():
        node.config.stash[COUNTS].setdefault(file, Counter()).update(counts)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    counts = config.stash[COUNTS]
    if not counts:
        return
    terminalreporter.section(f"CPython {platform.python_version()}'s own suites, against sluicegate's classes")
    for file, suite in SUITES.items():
        if file in counts:
            of = counts[file]
            line = f"{suite}: {of['passed']} passed, {of['skipped']} skipped, {of['failed']} failed"
            terminalreporter.line(line, red=bool(of["failed"]), green=bool(of["passed"] and not of["failed"]))
