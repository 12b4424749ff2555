"""What a key costs: bytes of memory a key, at 100 000 keys or, with SLUICEGATE_KEYED_KEYS=1000000, at a million."""

from __future__ import annotations

import os
import sys

import pytest
from helpers import run_script

KEYS = int(os.environ.get("SLUICEGATE_KEYED_KEYS", "100000"))
MOST = 100 if KEYS >= 1_000_000 else 200


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("keys", ["f'user-{number}'", "number", "('tenant', number)", "uuid.UUID(int=number << 64 | number)"])
def test_bytes_a_key(keys):
    """All in debt, so that none may be forgotten; the keys themselves are not kept."""
    out = run_script(
        f"""
import gc, resource, uuid
from pathlib import Path
from sluicegate import KeyedTokenBucket

def memory():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

def fill(keyed, count):
    for number in range(count):
        assert keyed.try_acquire({keys})

count = {KEYS}
fill(KeyedTokenBucket(1e-6, burst=10, max_keys=1000), 1000)  # whatever is made once
before = memory()
keyed = KeyedTokenBucket(1e-6, burst=10, max_keys=count)
fill(keyed, count)
after = memory()
assert len(keyed) == count
print((after - before) / count)
assert not keyed.try_acquire({keys.replace("number", "5")}, 9.5)
""",
        limit=240,
    )
    each = float(out)
    print(f"{KEYS} keys {keys}: {each:.1f} bytes a key")
    assert 8 < each <= MOST


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
@pytest.mark.timeout(300)
def test_keys_that_come_and_go_do_not_grow():
    """Ten times as many keys as there is room for, each full again when the next ones come: memory stays as it was."""
    out = run_script(
        f"""
import gc, resource
from pathlib import Path
from sluicegate import KeyedTokenBucket
from sluicegate.testing import ManualClock

def memory():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

count = {KEYS // 10}
clock = ManualClock()
keyed = KeyedTokenBucket(1, burst=1, max_keys=count, clock=clock)

def wave(number):
    for key in range(count):
        assert keyed.try_acquire((number, key))
    clock.advance(1)

wave(0)
wave(1)
before = memory()
for number in range(2, 22):
    wave(number)
print((memory() - before) / count)
assert len(keyed) <= count
seen = keyed.statistics()
assert seen.forgotten == 22 * count - seen.keys, seen
""",
        limit=240,
    )
    assert float(out) < 50
