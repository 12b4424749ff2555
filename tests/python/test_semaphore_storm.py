"""The storm of semaphore_storm.py: never more held than there are, and all permits come back."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("semaphore_storm.py")
SECONDS = float(os.environ.get("SLUICEGATE_SEMAPHORE_STORM_SECONDS", "2"))


@pytest.mark.timeout(150 + SECONDS)
def test_storm():
    """6 threads and 80 tasks on two loops, weights, timeouts, cancellations and sizes that change."""
    seed = random.SystemRandom().randrange(10**9)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(PROGRAM), "--seconds", str(SECONDS), "--seed", str(seed)],
        capture_output=True,
        text=True,
        timeout=SECONDS + 120,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
