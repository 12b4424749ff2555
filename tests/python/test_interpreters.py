"""One interpreter of a process has the package, the main one."""

from __future__ import annotations

import importlib
import textwrap

import pytest
from helpers import run_script

# The ways to run code in another interpreter of the process: the module that knows it, and what runs `code`.
WAYS = {
    # What C programs make: it shares the GIL. On every Python.
    "c-api": ("_testcapi", "assert _testcapi.run_in_subinterp(code) == 0"),
    # The same, since 3.13.
    "legacy": (
        "_interpreters",
        """
        other = _interpreters.create("legacy")
        assert _interpreters.exec(other, code) is None
        _interpreters.destroy(other)
        """,
    ),
    # With a GIL of its own: here it is the interpreter that refuses.
    "isolated": (
        "_interpreters",
        """
        other = _interpreters.create("isolated")
        assert _interpreters.exec(other, code) is None
        _interpreters.destroy(other)
        """,
    ),
    # The public one, since 3.14.
    "concurrent": (
        "concurrent.interpreters",
        """
        other = concurrent.interpreters.create()
        other.exec(code)
        other.close()
        """,
    ),
}

REFUSED = """
code = '''
for again in range(2):
    try:
        import sluicegate
    except ImportError:
        pass
    else:
        raise AssertionError("imported")
'''
"""

WORKS = """
import queue

def works():
    import sluicegate

    class Own(sluicegate.Queue):
        pass

    for q in (sluicegate.Queue(2), sluicegate.PriorityQueue(2), Own(2)):
        assert isinstance(q, queue.Queue)
        q.put(1)
        q.put_many([2])
        try:
            q.put_nowait(3)
        except queue.Full as error:
            assert type(error) is sluicegate.Full
        assert q.get() == 1 and q.get(timeout=1) == 2
    assert sluicegate.TokenBucket(1, burst=1).try_acquire()
    channel = sluicegate.CreditChannel(4)
    channel.sender.send(1)
    assert channel.receiver.receive() == 1
"""


def script(way, *, before):
    module, source = WAYS[way]
    try:
        importlib.import_module(module)
    except ImportError:
        pytest.skip(f"there is no {module} here")
    inside = f"import {module}\n{REFUSED}\n{textwrap.dedent(source)}\n"
    return WORKS + ("works()\n" if before else "") + inside * 2 + "import gc\ngc.collect()\nworks()\nprint('end')\n"


@pytest.mark.parametrize("before", [True, False], ids=["imported-before", "imported-after"])
@pytest.mark.parametrize("way", WAYS)
def test_a_subinterpreter_is_refused(way, before):
    """And the main interpreter works on, whichever of the two came first."""
    assert run_script(script(way, before=before)) == "end\n"
