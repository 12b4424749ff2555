"""The process's peak memory, where the system tells it."""

from __future__ import annotations

import sys


def peak_bytes() -> int | None:
    """Return the largest resident size this process has had, or None where it is not known."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
