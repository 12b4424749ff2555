"""Under gevent's and eventlet's patches a wait stops the hub: it is said once, with what to do instead."""

from __future__ import annotations

import pytest
from helpers import run_script

SIMULATED = """
import sys, threading, time, types, warnings
for name, question in (("gevent.monkey", "is_module_patched"), ("eventlet.patcher", "is_monkey_patched")):
    if name.startswith(LIBRARY):
        sys.modules[name] = module = types.ModuleType(name)
        setattr(module, question, lambda what: what == "thread" and PATCHED)
"""

COMMON = """
from sluicegate import *
q, limit = Queue(1), TokenBucket(1, burst=1)

def wait(call):
    try:
        call()
    except Empty:
        pass

with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    q.put_nowait(1)
    q.get()                       # need not wait
    assert not told
    for _ in range(3):
        wait(lambda: q.get(timeout=0.001))
messages = [str(each.message) for each in told if issubclass(each.category, BlockingInEventLoopWarning)]
"""


@pytest.mark.parametrize(("library", "pool"), [("gevent", "threadpool.apply"), ("eventlet", "tpool.execute")])
def test_a_wait_under_the_patches_is_told_once(library, pool):
    run_script(
        f"LIBRARY, PATCHED = {library!r}, True"
        + SIMULATED
        + COMMON
        + f"""
assert len(messages) == 1, messages
assert {library!r} in messages[0] and {pool!r} in messages[0] and messages[0].startswith("get()"), messages
assert told[0].filename == "<string>", told[0].filename
"""
    )


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_nothing_is_told_where_threads_are_not_patched(library):
    run_script(f"LIBRARY, PATCHED = {library!r}, False" + SIMULATED + COMMON + "assert not messages, messages")


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_with_the_library_itself(library):
    pytest.importorskip(library)
    patch = {"gevent": "import gevent.monkey; gevent.monkey.patch_all(); import gevent; gevent.sleep(0)"}.get(
        library, "import eventlet; eventlet.monkey_patch(); eventlet.sleep(0)"
    )
    quiet = "import warnings\nwith warnings.catch_warnings(): warnings.simplefilter('ignore'); "  # eventlet says that it is deprecated
    run_script(quiet + patch + "\n" + COMMON + "assert len(messages) == 1 and " + repr(library) + " in messages[0], messages")
