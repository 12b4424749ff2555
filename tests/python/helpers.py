"""What the behaviour tests share: threads that report, loops of both kinds, coroutines stepped by hand, scripts run apart.

Nothing here measures time. `PATIENCE` is only the point at which something that should have happened is called a hang.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from sluicegate import FairQueue

try:
    import uvloop
except ImportError:  # an extra; the tests which need it say "skipped"
    uvloop = None

# One knob scales every storm: 200 000 items by default, the sizes with SLUICEGATE_STORM_ITEMS=1000000.
STORM_ITEMS = int(os.environ.get("SLUICEGATE_STORM_ITEMS", "200000"))
ROUNDS = max(20, STORM_ITEMS // 1000)

# Larger storms may take longer before they count as hung.
PATIENCE = 30.0 * max(1.0, STORM_ITEMS / 200_000)

LOOP_KINDS = [
    "asyncio",
    pytest.param("uvloop", marks=pytest.mark.skipif(uvloop is None, reason="uvloop is not installed")),
]


class Worker(threading.Thread):
    """A daemon thread which keeps what its function returned or raised."""

    def __init__(self, function, *args, **kwargs):
        super().__init__(daemon=True)
        self._call = functools.partial(function, *args, **kwargs)
        self._value = None
        self._error = None

    def run(self):
        try:
            self._value = self._call()
        except BaseException as error:  # the point of the class: hand it to the test
            self._error = error

    def done(self):
        return not self.is_alive()

    def exception(self, timeout=PATIENCE):
        self.join(timeout)
        assert not self.is_alive(), "the thread is still blocked"
        return self._error

    def result(self, timeout=PATIENCE):
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._value


def spawn(function, *args, **kwargs):
    """Starts a `Worker`."""
    worker = Worker(function, *args, **kwargs)
    worker.start()
    return worker


def wait_until(predicate, timeout=PATIENCE):
    """Returns once `predicate()` holds; for facts no event tells of."""
    end = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < end, f"never came true: {inspect.getsource(predicate).strip()}"
        time.sleep(0.0005)


async def eventually(predicate, timeout=PATIENCE):
    """`wait_until` for a coroutine."""
    end = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < end, f"never came true: {inspect.getsource(predicate).strip()}"
        await asyncio.sleep(0.0005)


async def settle(turns=10):
    """Gives the loop a few turns, so that what is ready has run."""
    for _ in range(turns):
        await asyncio.sleep(0)


def step(coroutine):
    """Steps a coroutine by hand, once: `(True, value)` if it returned, `(False, None)` if it waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return True, stop.value
    return False, None


def new_loop(kind="asyncio"):
    return uvloop.new_event_loop() if kind == "uvloop" else asyncio.new_event_loop()


def finish(loop):
    """Cancels what is left on a loop which does not run, and closes it."""
    try:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def run_on(kind, coroutine, timeout=PATIENCE * 2):
    """`asyncio.run` on a loop of that kind, with the patience of a test."""
    loop = new_loop(kind)
    try:
        return loop.run_until_complete(asyncio.wait_for(coroutine, timeout))
    finally:
        finish(loop)


def on_loops(test):
    """Runs an `async def` test on a fresh loop of every kind."""

    def call(loop_kind, **arguments):
        run_on(loop_kind, test(**arguments))

    call.__name__ = test.__name__
    call.__doc__ = test.__doc__
    call.__module__ = test.__module__
    call.pytestmark = list(getattr(test, "pytestmark", []))
    signature = inspect.signature(test)
    loop_kind = inspect.Parameter("loop_kind", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    call.__signature__ = signature.replace(parameters=[loop_kind, *signature.parameters.values()])
    return pytest.mark.parametrize("loop_kind", LOOP_KINDS)(call)


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self, kind="asyncio", loop=None):
        self.loop = loop if loop is not None else new_loop(kind)
        self.thread = threading.Thread(target=self._main, daemon=True)
        self.thread.start()

    def _main(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def submit(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine, timeout=PATIENCE):
        return self.submit(coroutine).result(timeout)

    def stop(self):
        """Stops the loop and leaves it as it stands, with its tasks pending."""
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(PATIENCE)
            assert not self.thread.is_alive(), "the loop does not stop"

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.stop()
        if not self.loop.is_closed():
            finish(self.loop)


_collecting = threading.Lock()


class OneKey(FairQueue):
    """A `FairQueue` to be used as a plain queue: all items have one key, so they come out in the order in which they came."""

    def __init__(self, maxsize=0, **options):
        super().__init__(maxsize, key=lambda item: 0, **options)


def collect():
    """Collects garbage until what the garbage referred to is gone too (a collection during another one does nothing)."""
    for _ in range(3):
        with _collecting:
            gc.collect()


def is_gone(reference):
    """Whether the object behind a weak reference is. Without the GIL a thread's objects that others drop go at a collection only."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        gc.collect()
    return reference() is None


PREAMBLE = """
import faulthandler, sys
faulthandler.dump_traceback_later({limit}, exit=True)
"""


#: For scripts that fork. A process with threads is not to do so, says Python since 3.12; that it works all the same is what they test.
FORKING = """
import os, signal, sys, traceback, warnings

warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork", DeprecationWarning)

def in_child(function):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(20)
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid

def check(*pids):
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status
"""


def run_script(source, *arguments, limit=2 * PATIENCE, quiet=True, environment=None):
    """Runs a script in an interpreter of its own; what it prints, once it has left with 0 (a hang dumps all threads).

    With `quiet`, anything on its standard error is a failure too. `environment` is added to that of this process.
    """
    script = PREAMBLE.format(limit=limit) + textwrap.dedent(source)
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=limit + 30,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    told = f"exit status {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    assert done.returncode == 0, told
    if quiet:
        assert done.stderr == "", told
    return done.stdout


def pass_through(permit):
    """The shortest block of a permit."""
    with permit:
        pass


async def pass_through_async(permit):
    """The same, awaited."""
    async with permit:
        pass


def call_traced(trace, call):
    """Call `call` with a trace function that may raise KeyboardInterrupt, which ends the call.

    In a generator, which has the exception that is being handled to itself: a trace function may leave one there for ever. Without the
    collector, so that what is interrupted is not the end of an earlier object.
    """

    def traced():
        sys.settrace(trace)
        try:
            call()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        yield

    gc.disable()
    try:
        next(traced())
    finally:
        gc.enable()
