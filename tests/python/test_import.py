"""What `import sluicegate` imports, and what a second import finds.

Each script runs in an interpreter of its own; none is timed.
"""

from __future__ import annotations

import pytest
from helpers import FORKING, run_script

# What takes long to import and what a threaded program does not need.
SLOW = {"asyncio", "dataclasses", "inspect", "socket", "ssl", "concurrent.futures", "logging", "importlib.metadata", "re", "typing"}

# The queues' errors, and asyncio's names for them.
CAUGHT = """
def caught(module):
    import sluicegate
    prefix = "Queue" if module.__name__ == "asyncio" else ""
    q = sluicegate.Queue(1)
    for kind, call in (("Empty", q.get_nowait), ("Full", lambda: q.put_nowait(1) or q.put_nowait(1)), ("ShutDown", q.get)):
        theirs, ours = getattr(module, prefix + kind, None), getattr(sluicegate, kind)
        if theirs is None:  # before 3.13
            continue
        if kind == "ShutDown":
            q.shutdown(immediate=True)
        try:
            call()
        except theirs as error:
            assert type(error) is ours
            assert issubclass(ours, theirs)
        else:
            raise AssertionError("nothing was raised")
"""


def test_modules():
    """Few modules, and none of the slow ones."""
    imported = run_script(
        """
        import sys
        before = set(sys.modules)
        import sluicegate
        print(*sorted(set(sys.modules) - before))
        """
    ).split()
    assert not SLOW & set(imported)
    assert len(imported) <= 43, imported


def test_what_is_imported_later_finds_the_classes_of_the_binary_whole():
    """Their methods in Python come with other modules: a module that makes such objects has imported those."""
    run_script(
        FORKING
        + """
import importlib
import sluicegate

later = {*sluicegate._LATER.values(), *(f"sluicegate.{name}" for name in sluicegate._SUBMODULES)}
later.remove("sluicegate._guard")  # it only asks what it is given

def child(name):
    module = importlib.import_module(name)
    named = [value for value in vars(module).values() if isinstance(value, type) and value in vars(sluicegate._core).values()]
    before = {kind: set(dir(kind)) for kind in named}
    for each in sluicegate.__all__:
        if hasattr(sluicegate._core, each):
            getattr(sluicegate, each)
    assert {kind: set(dir(kind)) for kind in named} == before, name

assert len(later) > 20
for name in sorted(later):
    check(in_child(lambda: child(name)))
"""
    )


def test_a_threaded_program_stays_without_asyncio():
    """Whatever threads do: waiting, refusals, limiters, subscriptions."""
    out = run_script(
        """
        import sys, threading
        from sluicegate import CreditChannel, Empty, Queue, ShutDown, TokenBucket

        q = Queue(1, name="q")
        thread = threading.Thread(target=q.put, args=(1,))
        taker = threading.Thread(target=q.get)
        taker.start(), thread.start(), taker.join(), thread.join()
        for refused in (q.get_nowait, lambda: q.get(timeout=0.01)):
            try:
                refused()
            except Empty:
                pass
        q.shutdown()
        try:
            q.put(1)
        except ShutDown:
            pass
        limit = TokenBucket(1000, burst=1)
        limit.acquire(), limit.acquire()
        channel = CreditChannel(4)
        seen = threading.Event()
        channel.receiver.subscribe(lambda item: seen.set())
        channel.sender.send(1)
        assert seen.wait(30)
        repr(q), repr(limit), repr(channel)
        print("asyncio" in sys.modules)
        """
    )
    assert out == "False\n"


@pytest.mark.parametrize("first", ["import asyncio, sluicegate", "import sluicegate, asyncio", "import sluicegate, asyncio.queues"])
def test_either_except_catches(first):
    """`queue`'s and `asyncio`'s, whichever is imported first."""
    assert run_script(f"{first}\nimport asyncio, queue\n{CAUGHT}\ncaught(queue), caught(asyncio)\nprint('end')") == "end\n"


def test_either_except_catches_where_the_package_was_imported_in_a_thread():
    """While the main thread imports asyncio."""
    source = """
import threading
for_both = threading.Barrier(2)
def importer():
    for_both.wait()
    import sluicegate
thread = threading.Thread(target=importer)
thread.start()
for_both.wait()
import asyncio, queue
thread.join()
caught(queue), caught(asyncio)
print("end")
"""
    assert run_script(CAUGHT + source) == "end\n"


def test_what_was_raised_before_asyncio_came_is_caught_after():
    """An error's classes are those of its type at the moment of `except`."""
    source = """
import sluicegate
try:
    try:
        sluicegate.Queue().get_nowait()
    except sluicegate.Empty as error:
        import asyncio
        raise
except asyncio.QueueEmpty:
    print("end")
"""
    assert run_script(source) == "end\n"


def test_asyncio_imported_past_the_finder():
    """By a finder which stands before ours, and by one which took ours away: the error itself looks."""
    source = """
import sys
import sluicegate
sys.meta_path[:] = [finder for finder in sys.meta_path if getattr(finder, "__module__", "") != "sluicegate._asyncio_bases"]
import asyncio, queue
caught(queue), caught(asyncio)
print("end")
"""
    assert run_script(CAUGHT + source) == "end\n"


def test_asyncio_is_as_if_we_were_not_there():
    """Its loader, its spec, its source; looking for it does not import it."""
    source = """
import sys
import sluicegate
import importlib.util, inspect, pkgutil
spec = importlib.util.find_spec("asyncio.queues")
assert "asyncio.queues" in sys.modules or spec.loader.get_source("asyncio.queues")
import asyncio.queues
assert type(asyncio.queues.__loader__).__module__ == type(asyncio.locks.__loader__).__module__
assert asyncio.queues.__loader__ is asyncio.queues.__spec__.loader
assert inspect.getsource(asyncio.queues.QueueFull).startswith("class QueueFull")
assert pkgutil.get_data("asyncio.queues", "queues.py")
importlib.reload(asyncio.queues)
asyncio.QueueFull, asyncio.QueueEmpty = asyncio.queues.QueueFull, asyncio.queues.QueueEmpty
if hasattr(asyncio.queues, "QueueShutDown"):
    asyncio.QueueShutDown = asyncio.queues.QueueShutDown
caught(asyncio)
print("end")
"""
    assert run_script(CAUGHT + source) == "end\n"


@pytest.mark.parametrize("with_the_others", [False, True], ids=["alone", "with-asyncio-and-queue"])
def test_a_second_import_finds_the_same_classes(with_the_others):
    """What is raised and returned is what the module names, though the package was taken out of `sys.modules` and imported anew."""
    source = f"""
import sys
import sluicegate
q = sluicegate.Queue(1)
first = {{name: getattr(sluicegate, name) for name in sluicegate.__all__}}
try:
    q.get_nowait()  # the binding has its classes now
except sluicegate.Empty:
    pass
gone = ("sluicegate", "asyncio", "queue") if {with_the_others} else ("sluicegate",)
import asyncio, queue
for name in [name for name in sys.modules if name.partition(".")[0] in gone]:
    del sys.modules[name]
import sluicegate as again
assert again is not sluicegate
for name, thing in first.items():
    assert getattr(again, name) is thing or not isinstance(thing, type), name
sluicegate = again
import asyncio, queue
for other in (q, again.Queue(1)):
    assert type(other.statistics()) is again.QueueStatistics
    assert isinstance(other, queue.Queue)
class Own(again.Queue):
    pass
assert isinstance(Own(), queue.Queue)
caught(queue), caught(asyncio)
print("end")
"""
    assert run_script(CAUGHT + source) == "end\n"


def test_a_first_import_that_is_undone():
    """`mock.patch.dict(sys.modules)` around it, as tests do."""
    source = """
import sys
from unittest import mock
with mock.patch.dict(sys.modules):
    import sluicegate
    inside = sluicegate
import sluicegate
assert inside is not sluicegate
import asyncio, queue
caught(queue), caught(asyncio)
assert inside.Full is sluicegate.Full
print("end")
"""
    assert run_script(CAUGHT + source) == "end\n"


def test_submodules_and_statistics_are_there_without_their_imports():
    """Attributes which are imported when they are asked for."""
    source = """
import sluicegate
assert {"http", "io", "janus", "logging", "sizing", "testing", "QueueStatistics"} <= set(dir(sluicegate))
assert sluicegate.io.read_lines and sluicegate.janus.Queue and sluicegate.testing.ManualClock
assert sluicegate.QueueStatistics is type(sluicegate.Queue().statistics())
for name in ("ip", "QueueStatistic", "_statistic"):
    try:
        getattr(sluicegate, name)
    except AttributeError as error:
        assert name in str(error)
    else:
        raise AssertionError(name)
print("end")
"""
    assert run_script(source) == "end\n"


def test_star():
    """`from sluicegate import *` gives everything that is public."""
    assert run_script("from sluicegate import *\nprint(QueueStatistics.__name__, Queue.__name__)") == "QueueStatistics Queue\n"


def test_statistics_asked_for_in_the_middle_of_their_import():
    """By what Python runs there: a finder here, a signal handler elsewhere. It gets an error, and does not wait for itself."""
    source = """
import sys
import sluicegate
q = sluicegate.Queue()
seen = []
class Finder:
    def find_spec(name, path=None, target=None):
        if name == "dataclasses" and not seen:
            seen.append(name)
            try:
                q.statistics()
            except AttributeError as error:
                seen.append(error)
sys.meta_path.insert(0, Finder)
assert q.statistics().size == 0
assert len(seen) == 2, seen
print("end")
"""
    assert run_script(source, limit=20) == "end\n"


def test_import_where_the_queues_of_the_standard_library_are_written_in_c():
    """gevent puts such classes in their place: they cannot be bases of a class beside ours."""
    source = """
    import queue

    class InC(list):  # a list is laid out otherwise than our objects
        pass

    for name in ("Queue", "LifoQueue", "PriorityQueue"):
        setattr(queue, name, type(name, (InC,), {}))
    import sluicegate

    for name in ("Queue", "LifoQueue", "PriorityQueue"):
        ours, theirs = getattr(sluicegate, name), getattr(queue, name)
        made = ours(2)
        made.put(1)
        assert made.get() == 1
        assert isinstance(made, theirs) and isinstance(made, ours) and type(made) is ours
        assert type(made.__class__(3)) is ours

        class Own(ours):
            def __init__(self, more):
                super().__init__(1)
                self.more = more

        own = Own("more")
        own.put(1)
        assert (own.get(), own.more, own.maxsize) == (1, "more", 1)
    print("end")
    """
    assert run_script(source) == "end\n"
