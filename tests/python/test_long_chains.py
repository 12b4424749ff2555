"""A queue in a queue in a queue, and so on: dropping a long chain takes no more stack than dropping a short one."""

from __future__ import annotations

import pytest
from helpers import run_script

# On a stack of 512 KiB that leaves 26 bytes for each: less than the smallest frame.
LINKS = 20_000

# How a link is made, and how another object is put in.
KINDS = {
    "Queue": ("Queue()", "link.put(inner)"),
    "LifoQueue": ("LifoQueue()", "link.put(inner)"),
    "PriorityQueue": ("PriorityQueue()", "link.put(inner)"),
    "CoalescingQueue": ("CoalescingQueue(key=id)", "link.put(inner)"),
    "FairQueue": ("FairQueue()", "link.put(inner, key=0)"),
    "SimpleQueue": ("SimpleQueue()", "link.put(inner)"),
    "Latest": ("Latest()", "link.set(inner)"),
    "initial": ("Latest(inner)", "pass"),
    "CreditChannel": ("CreditChannel(1)", "link.sender.send(inner)"),
    "AckChannel": ("AckChannel(1)", "link.sender.send(inner)"),
    "control": ("CreditChannel(1)", "link.sender.send_control(inner)"),
}

# How the last reference goes.
WAYS = {
    "dropped": "del chain, mark",
    "in a cycle": "mark.chain = chain; del chain, mark; gc.collect()",
}

SCRIPT = """
    import gc
    import threading
    from sluicegate import *

    gc.disable()  # building it is not the point

    class Mark:
        ended = 0

        def __del__(self):
            Mark.ended += 1

    def run():
        mark = inner = Mark()
        for _ in range({links}):
            link = {make}
            {put}
            inner = link
        chain = link
        del inner, link
        {act}

    threading.stack_size(512 * 1024)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert Mark.ended == 1, Mark.ended
    print("survived")
"""


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_long_chain_goes_in_a_short_stack(kind, way):
    make, put = KINDS[kind]
    script = SCRIPT.format(links=LINKS, make=make, put=put, act=WAYS[way])
    assert run_script(script, limit=120).strip() == "survived"
