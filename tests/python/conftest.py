"""Fixtures of the whole suite, and what keeps a hang from being silent.

A hang is a failure. Two watchdogs, both set in pyproject.toml, and each catches what the other cannot:

* pytest-timeout prints the stacks of all threads and ends the run; it needs the GIL to do so.
* faulthandler's watchdog is a C thread. It also fires when the interpreter itself is stuck (the GIL held by
  somebody who waits).

What the tests share (helpers.py) never waits without a limit, and its limits are shorter than the watchdogs':
a test that uses it fails by itself, and the run goes on.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helpers
import pytest
from hypothesis import settings

pytest_plugins = ["borrowed"]

# A change is judged by what it changed: the same schedules each time. Asked for a number of them, the models try new ones.
settings.register_profile("same each time", derandomize=True)
if "SLUICEGATE_MODEL_EXAMPLES" not in os.environ:
    settings.load_profile("same each time")

# A shell's background jobs ignore ctrl-C, and so would every program that the tests start to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where a test must not run in several threads at once, by the file it is in (`--parallel-threads`, on the
# free-threaded build). The key is the beginning of the file's name, the value the reason that pytest prints.
# A single test says so itself: `@pytest.mark.thread_unsafe(reason=...)`.
ARGUMENTS = "arguments and what becomes of wrong ones: nothing is shared between threads"
FIGURES = "arithmetic in Python: nothing is shared between threads"
ONE_THREAD_ONLY = {
    "test_broadcast": "signals, forks, the end of interpreters, and what one collection of the process finds",
    "test_bench": "starts programs and measures them",
    "test_cli": "starts programs and reads what they print",
    "test_credit_model": "one thread and its model; several side by side only take longer",
    "test_demo": "starts programs and reads what they print",
    "test_credit_memory": "starts interpreters with little memory",
    "test_dropin_differential": "one thread and its model; several side by side only take longer",
    "test_docs": "runs the code blocks of the docs, which share one name space a page",
    "test_dropin_logging": "loggers and handlers belong to the process",
    "test_examples": "runs programs, and one of them is about time",
    "test_exit": "starts interpreters and watches them end",
    "test_executor": "counts threads, forks, and watches interpreters end",
    "test_exports": "names and signatures",
    "test_fork": "forks, which a process with other test threads must not",
    "test_gc": "counts what one collection of the whole process finds",
    "test_http": "arguments and headers, event loops and servers of its own: nothing is shared between threads",
    "test_import": "starts interpreters",
    "test_logging": "loggers and handlers belong to the process",
    "test_long_chains": "starts interpreters",
    "test_mapping": "counts threads, forks, and watches interpreters end",
    "test_numbers": ARGUMENTS,
    "test_prefetch": "counts threads, forks, and watches interpreters end",
    "test_rate_arguments": ARGUMENTS,
    "test_rate_interrupts": "signals, forks, the end of interpreters, and what one collection of the process finds",
    "test_rate_keyed_memory": "measures the memory of interpreters of its own",
    "test_rate_model": "one thread and its model; several side by side only take longer",
    "test_rate_storm": "a storm of threads already; several at once only take longer",
    "test_select": "signals, forks, the end of interpreters, and what one collection of the process finds",
    "test_retry_after": ARGUMENTS,
    "test_retry_figures": FIGURES,
    "test_refusals": "errors and their texts: nothing is shared between threads",
    "test_semaphore_interrupts": "signals, forks, the end of interpreters, and what one collection of the process finds",
    "test_semaphore_storm": "a storm of threads already; several at once only take longer",
    "test_signals": "signals go to the main thread, and the test would not be on it",
    "test_size_command": FIGURES,
    "test_sizing": FIGURES,
    "test_storm": "a storm of threads already; several at once only take longer",
}


# The same by what a test uses, itself or through a function of its module.
USES_ALONE = {
    "run_script": "runs a script in an interpreter of its own",
    "call_traced": "it sets a trace function",
    "settrace": "it sets a trace function",
}


def reason_to_be_alone(function: Any, looked_at: set[Any]) -> str | None:
    """Return why a test must not run in several threads at once, by what it uses."""
    looked_at.add(function)
    used = set(function.__code__.co_names).union(*(code.co_names for code in function.__code__.co_consts if inspect.iscode(code)))
    for name in sorted(used):
        if name in USES_ALONE:
            return USES_ALONE[name]
        other = inspect.unwrap(function.__globals__.get(name))
        if inspect.isfunction(other) and other.__module__ == function.__module__ and other not in looked_at:
            reason = reason_to_be_alone(other, looked_at)
            if reason is not None:
                return reason
    return None


# The files that take longest (10 s and more), longest first. They begin, so that at the end no process of `make test-python` is left alone
# with one of them.
LONGEST = (
    "test_signals",
    "test_rate_interrupts",
    "test_queue_memory",
    "test_credit_mixed",
    "test_bench",
    "test_http_clients",
    "test_pipeline_ends",
    "test_cpython_futures",
    "test_credit_memory",
    "test_gc",
    "test_pipeline_routes",
    "test_queue_mutex",
    "test_rate_mixed",
    "test_fork",
    "test_interrupted_anywhere",
    "test_mapping",
    "test_io",
    "test_loops",
    "test_examples",
    "test_queue_overflow",
    "test_long_chains",
    "test_exit",
    "test_executor_storm",
)


def place_in_line(item: pytest.Item) -> tuple[bool, int]:
    """Return when the file of this test has its turn."""
    name = item.path.stem
    # The models last: they leave the memory of a free-threaded interpreter in pieces, and each collection after them takes eight times as
    # long (145 s of 410 went into collections, and 57 since).
    return name.endswith("_model"), LONGEST.index(name) if name in LONGEST else len(LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three processes for two processors: the tests spend almost half of their time waiting."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return processors * 3 // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    assert all(Path(__file__).with_name(f"{name}.py").exists() or name.startswith("test_cpython") for name in LONGEST)
    items.sort(key=place_in_line)
    for item in items:
        if " at 0x" in item.name:  # the processes of pytest-xdist could not tell each other which test they mean
            raise pytest.UsageError(f"{item.nodeid}: a test's name must be the same each time, without an address")
        for beginning, reason in ONE_THREAD_ONLY.items():
            if item.path.name.startswith(beginning):
                item.add_marker(pytest.mark.thread_unsafe(reason=reason))
        function = inspect.unwrap(getattr(item, "function", None))
        if inspect.isfunction(function) and (reason := reason_to_be_alone(function, set())) is not None:
            item.add_marker(pytest.mark.thread_unsafe(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Iterator[None]:
    """No test leaves the thread with an exception that is being handled, which would be the context of all that is raised later."""
    result = yield
    assert sys.exc_info()[1] is None, sys.exc_info()
    return result


def pytest_configure() -> None:
    # A free-threaded interpreter looks at frozen objects too, so that each collection takes some 80 ms here (a fifth of the suite's time).
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        gc.set_threshold(20_000)


@pytest.fixture(autouse=True, scope="module")
def long_lived_objects_are_not_looked_at() -> None:
    """Hundreds of tests collect garbage: half of the suite's time would go into looking at pytest's own objects, of which none dies."""
    gc.collect()
    gc.freeze()


def pytest_report_header() -> str:
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    uvloop = "without" if helpers.uvloop is None else "with"
    return f"sluicegate: {sys.implementation.name}, GIL {'on' if gil else 'off'}, {uvloop} uvloop"


@pytest.fixture(params=helpers.LOOP_KINDS)
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes event loops, of asyncio and of uvloop in turn: a test with this fixture runs once on each."""
    return functools.partial(helpers.new_loop, request.param)


@pytest.fixture
def threads() -> Iterator[Callable[..., helpers.Worker]]:
    """`threads(function, *args)` starts a thread that ends with the test.

    What the test does not join is joined at its end, and an error nobody asked for is the test's error.
    """
    started: list[helpers.Worker] = []

    def start(function: Callable[..., Any], *args: Any, **kwargs: Any) -> helpers.Worker:
        worker = helpers.spawn(function, *args, **kwargs)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.result()
