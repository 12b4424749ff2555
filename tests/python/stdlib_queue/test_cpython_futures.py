"""CPython's own tests of `ThreadPoolExecutor`, as the running interpreter ships them, against `BoundedExecutor`.

Nothing of that suite is copied. Its modules are loaded a second time, as modules that nobody else sees, and the names of the executor in
those alone are ours: `futures` is a stand-in, and the scripts that they run in interpreters of their own begin with a few lines that do
the same. An interpreter can borrow the suite of a newer one: SLUICEGATE_CPYTHON_TESTS=/usr/lib/python3.14/test, which `make
check-oracles-newest` sets. Of that folder the tests alone are taken, and `test.support` is the interpreter's own.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import importlib.util
import inspect
import os
import sys
import types
import unittest
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import sluicegate

# What a newer suite asks of modules that are older; InterpreterPoolExecutor's own tests are not run here.
FOR_AN_OLDER_ONE = """
import concurrent.futures, test.support as support
if not hasattr(support, "Py_GIL_DISABLED"):
    support.Py_GIL_DISABLED = False
    support.requires_gil_enabled = lambda _reason: lambda test: test
    support.skip_if_sanitizer = lambda _reason=None, **_kinds: lambda test: test
    support.check_sanitizer = lambda **_kinds: False
if not hasattr(concurrent.futures, "InterpreterPoolExecutor"):
    concurrent.futures.InterpreterPoolExecutor = object
"""
path = os.environ.get("SLUICEGATE_CPYTHON_TESTS", "")
if path:
    importlib.import_module("test").__path__.append(path)
    exec(FOR_AN_OLDER_ONE)
    suite = Path(path, "test_concurrent_futures")
    borrowed_suite = importlib.util.spec_from_file_location(
        "test.test_concurrent_futures", suite / "__init__.py", submodule_search_locations=[str(suite)]
    )
    assert borrowed_suite is not None
    sys.modules[borrowed_suite.name] = importlib.util.module_from_spec(borrowed_suite)  # before the interpreter's own is found
try:
    shipped = importlib.util.find_spec("test.test_concurrent_futures")
except ModuleNotFoundError:
    shipped = None
if shipped is None:
    pytest.skip("this interpreter ships no test.test_concurrent_futures", allow_module_level=True)

pytestmark = pytest.mark.thread_unsafe(reason="starts threads itself, and forks")

# The fewest tests of thread pools that a supported interpreter has had (3.10).
AT_LEAST = 30

# What does not apply.
SKIPPED = {
    "ThreadPoolShutdownTest.test_thread_names_default": "the threads are named after BoundedExecutor",
}
if not hasattr(os, "process_cpu_count") and path:
    SKIPPED["ThreadPoolExecutorTest.test_default_workers"] = "a newer interpreter's test: calls os.process_cpu_count()"
    SKIPPED["ThreadPoolExecutorTest.test_process_fork_from_a_threadpool"] = "a newer interpreter's test: expects its warning of fork"

MODULES = (
    ("test_thread_pool", "test_shutdown", "test_init", "test_wait", "test_as_completed") if shipped.submodule_search_locations else ("",)
)


class ThreadPoolExecutor(sluicegate.BoundedExecutor):
    """Ours, made with ThreadPoolExecutor's arguments, and with a bound that these tests do not come near."""

    def __init__(self, max_workers=None, thread_name_prefix="", initializer=None, initargs=()):
        super().__init__(max_workers, max_pending=10_000, thread_name_prefix=thread_name_prefix, initializer=initializer, initargs=initargs)


IN_A_SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(sluicegate.__file__).parent.parent)!r})
import concurrent.futures, sluicegate, test
test.__path__[:] = {importlib.import_module("test").__path__!r}
class ThreadPoolExecutor(sluicegate.BoundedExecutor):
    def __init__(self, max_workers=None):
        super().__init__(max_workers, max_pending=10_000)
concurrent.futures.ThreadPoolExecutor = ThreadPoolExecutor
{FOR_AN_OLDER_ONE if path else ""}
"""


class Futures(types.ModuleType):
    """concurrent.futures, with our executor in it."""

    ThreadPoolExecutor = ThreadPoolExecutor

    def __getattr__(self, name: str) -> Any:
        return getattr(concurrent.futures, name)


def load(name: str) -> types.ModuleType:
    spec = importlib.util.find_spec(f"test.test_concurrent_futures.{name}".rstrip("."))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    known = sys.modules.get(spec.name)
    sys.modules[spec.name] = module  # while it is executed: it makes classes that look themselves up
    try:
        spec.loader.exec_module(module)
    finally:
        if known is None:
            del sys.modules[spec.name]
        else:
            sys.modules[spec.name] = known
    if hasattr(module, "assert_python_ok"):
        run = module.assert_python_ok
        module.assert_python_ok = lambda option, script, **kwargs: run(option, IN_A_SCRIPT + script, **kwargs)
    module.futures = Futures("futures")
    return module


def cases_of_the_suite() -> dict[str, type[unittest.TestCase]]:
    cases = {}
    for each in MODULES:
        for name, case in vars(load(each)).items():
            if not isinstance(case, type) or not issubclass(case, unittest.TestCase) or not name.startswith("ThreadPool"):
                continue
            attributes: dict[str, Any] = {"__module__": __name__, "executor_type": ThreadPoolExecutor}
            for test in unittest.defaultTestLoader.getTestCaseNames(case):
                reason = SKIPPED.get(f"{name}.{test}")
                if test == "test_cancel_futures_wait_false" and "gh-116682" not in inspect.getsource(getattr(case, test)):
                    reason = "as it was before gh-116682: wants the job to have begun before it is cancelled"
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
    assert path or found >= set(SKIPPED), "the table of skipped tests names some that are not there"


def test_the_suite_ran(borrowed: tuple[int, Counter[str]]) -> None:
    selected, counts = borrowed
    if not selected:
        pytest.skip("this run selected none of the suite's tests")
    assert counts["passed"] > 0, f"none of {selected} tests of CPython's own suite passed: {dict(counts)}"
