"""The storm of credit_storm.py, for a short while: nothing lost, nothing twice, never above the window, nobody left."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("credit_storm.py")
SECONDS = float(os.environ.get("SLUICEGATE_CREDIT_STORM_SECONDS", "3"))


@pytest.mark.thread_unsafe(reason="a storm of threads already; several at once only take longer")
@pytest.mark.timeout(120 + SECONDS)
def test_storm():
    """A chain of 4 channels with deferred grants; random grants, cancels, acks, nacks, failures from threads and tasks."""
    seed = random.SystemRandom().randrange(10**9)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(PROGRAM), "--seconds", str(SECONDS), "--seed", str(seed)],
        capture_output=True,
        text=True,
        timeout=SECONDS + 100,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
