"""The storm of storm.py: nothing lost, nothing twice, whatever is cancelled, times out or is interrupted."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import STORM_ITEMS

PROGRAM = Path(__file__).with_name("storm.py")


def storm(items, seed, kind):
    limit = 60 + items / 2000
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(PROGRAM), str(items), str(seed), kind],
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
    assert "interrupted caller" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.timeout(120 + STORM_ITEMS // 1000)
def test_storm():
    """8 threads and 200 tasks on 2 loops through a queue of 16: every item exactly once, counts equal, memory flat."""
    storm(STORM_ITEMS, random.SystemRandom().randrange(10**9), "Queue")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("kind", ["LifoQueue", "PriorityQueue"])
def test_storm_of_the_other_orders(kind):
    """The same through a stack and a heap, smaller."""
    storm(max(5000, STORM_ITEMS // 10), random.SystemRandom().randrange(10**9), kind)
