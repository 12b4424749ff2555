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


LIMITED = """
import resource
from sluicegate import KeyedSemaphore, KeyedSlidingWindow, KeyedTokenBucket, RateLimits, SlidingWindow, TokenBucket
from sluicegate.testing import ManualClock

clock = ManualClock()
make = {
    "keys": lambda: (keyed := KeyedTokenBucket(1, burst=2, max_keys=10**8, clock=clock), keyed.try_acquire),
    "windows of keys": lambda: (keyed := KeyedSlidingWindow(2, 1e9, max_keys=10**8, clock=clock), keyed.try_acquire),
    "window": lambda: (window := SlidingWindow(1e9, 1e9, clock=clock), lambda n: clock.advance(1e-9) or window.acquire(1, timeout=0)),
    "bookings": lambda: (bucket := RateLimits(a=TokenBucket(1, burst=2, clock=clock), b=SlidingWindow(2, 1, clock=clock)),
                         lambda n: bucket.reserve(1)),
    "bookings of one": lambda: (bucket := TokenBucket(1, burst=2, clock=clock), bucket.pause_for(9) or (lambda n: bucket.reserve())),
    "bookings of a window": lambda: (window := SlidingWindow(2, 1, clock=clock), lambda n: window.reserve(1)),
    "keys of a semaphore": lambda: (keyed := KeyedSemaphore(1, max_keys=10**8), lambda n: keyed.acquire(n, blocking=False)),
}
limiter, call = make[WHICH]()
for number in range(100):
    call(number)
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (48 << 20), -1))
kept = []
try:
    for number in range(100, 10**8):
        call(number)
except MemoryError as error:
    said = str(error)
else:
    said = ""
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
def admitted():
    seen = limiter.statistics()
    return seen.acquired if WHICH == "keys of a semaphore" else seen.admitted

seen = admitted()
assert "there is no memory" in said, said
assert seen == number, (seen, number)
call(number)  # nothing has changed: with memory it goes on
assert admitted() == number + 1
clock.advance(10**8)  # the moments of all bookings come
assert admitted() == number + 1
print("survived")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on address space")
@pytest.mark.parametrize(
    "which",
    ["keys", "windows of keys", "window", "bookings", "bookings of one", "bookings of a window", "keys of a semaphore"],
)
def test_no_memory(which):
    """What grows with its use raises MemoryError when there is no memory, and nothing has changed; the process goes on."""
    assert "survived" in run_script(f"WHICH = {which!r}\n" + LIMITED)
