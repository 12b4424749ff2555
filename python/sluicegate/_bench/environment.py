"""The environment of a measurement: the Python, the machine, the peers."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
import time
from dataclasses import asdict, dataclass
from importlib import metadata
from itertools import repeat
from typing import Any

from sluicegate import __version__

PEERS = (
    "janus",
    "culsans",
    "aiologic",
    "aiolimiter",
    "limits",
    "pyrate-limiter",
    "throttled-py",
    "aiostream",
    "pybreaker",
    "circuitbreaker",
    "aiobreaker",
    "purgatory",
    "tenacity",
    "stamina",
)
"""The peers that are packages, by their names on PyPI; `queue` and `asyncio` come with Python."""


@dataclass(frozen=True)
class Environment:
    """Everything that is needed to compare a figure with another."""

    sluicegate: str
    python: str
    gil: bool
    free_threaded_build: bool
    system: str
    machine: str
    cores: int
    cores_of_machine: int
    load: float | None
    switch_interval: float
    loop_nanoseconds: float
    peers: dict[str, str | None]

    @classmethod
    def look(cls) -> Environment:
        """Describe this process."""
        return cls(
            sluicegate=__version__,
            python=f"{platform.python_implementation()} {platform.python_version()}",
            gil=gil_enabled(),
            free_threaded_build=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            system=platform.system(),
            machine=platform.machine(),
            cores=usable_cores(),
            cores_of_machine=os.cpu_count() or 1,
            load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            switch_interval=sys.getswitchinterval(),
            loop_nanoseconds=loop_nanoseconds(),
            peers=find_peers(),
        )

    def in_words(self, *, version: bool = True) -> str:
        """Return a line that describes the environment."""
        build = "GIL" if self.gil else "free-threaded"
        if self.gil and self.free_threaded_build:
            build = "free-threaded build running with the GIL"
        load = "" if self.load is None else f", load {self.load:.2f}"
        ours = f"sluicegate {self.sluicegate} on " if version else ""
        return f"{ours}{self.python} ({build}), {self.system} {self.machine}, {self.cores} of {self.cores_of_machine} cores{load}"

    def as_json(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)


def gil_enabled() -> bool:
    """Return whether only one thread at a time runs Python code."""
    is_enabled = getattr(sys, "_is_gil_enabled", None)
    return True if is_enabled is None else bool(is_enabled())


def usable_cores() -> int:
    """Return the number of cores that this process may use, which `taskset` can reduce."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_peers() -> dict[str, str | None]:
    """Return the version of each peer, None for a peer that is not installed."""
    return {"queue": "stdlib", "asyncio": "stdlib"} | {peer: version_of(peer) for peer in PEERS}


def version_of(package: str) -> str | None:
    """Return the version of a package, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def loop_nanoseconds(n: int = 200_000) -> float:
    """Return the cost of one iteration of the `for` loop around all measured work, which is part of every figure."""

    def turns() -> float:
        start = time.perf_counter()
        for _ in repeat(None, n):
            pass
        return (time.perf_counter() - start) / n * 1e9

    return min(turns() for _ in range(5))
