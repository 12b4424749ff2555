"""What dramatiq's tests import from here in its repository; its source distribution comes without it."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest

skip_on_pypy = pytest.mark.skipif(sys.implementation.name == "pypy", reason="as in dramatiq's repository")


@contextlib.contextmanager
def worker(*args: Any, **kwargs: Any) -> Iterator[dramatiq.Worker]:
    """A worker that has started, and is stopped at the end of the block."""
    started = dramatiq.Worker(*args, **kwargs)
    started.start()
    with contextlib.ExitStack() as stack:
        stack.callback(started.stop)
        yield started
