"""How a `ShippingHandler` ends with the interpreter, in forked children, and when signals interrupt it: in interpreters of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import FORKING, run_script

SHIPPING = """
import logging, threading
from sluicegate.logging import ShippingHandler
logger = logging.getLogger()
logger.setLevel(logging.DEBUG)
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def test_what_waits_is_shipped_when_the_interpreter_exits():
    """The target is stuck until the main thread has ended."""
    told = run_script(
        SHIPPING
        + """
def target(record):
    threading.main_thread().join()
    print(record.getMessage(), flush=True)

logger.addHandler(ShippingHandler(target, maxsize=3))
for n in range(100):
    logger.info("%d", n)
"""
    ).splitlines()
    shipped = [int(each) for each in told if each.isdecimal()]
    reported = [int(each.split()[0]) for each in told if "dropped: the queue was full" in each]
    assert shipped[:3] == [0, 1, 2]
    assert len(shipped) + sum(reported) == 100
    assert len(shipped) + len(reported) == len(told)


def test_a_target_that_hangs_holds_the_exit_up_for_so_long_and_no_longer():
    told = run_script(
        SHIPPING
        + """
import sys, time, atexit
logging.raiseExceptions = False
logger.addHandler(ShippingHandler(lambda record: threading.Event().wait(), flush_timeout=0.2))
for n in range(10):
    logger.info("%d", n)
print("at the end", flush=True)
"""
    )
    assert told == "at the end\n"


def test_records_of_other_exit_functions():
    """Those that run before logging's are shipped, with a thread or without; those that run after it are counted."""
    told = run_script(
        """
import atexit

@atexit.register
def very_late():
    logger.info("after logging has ended")
    print(handler.statistics().closed, flush=True)
"""
        + SHIPPING
        + """
handler = ShippingHandler(lambda record: print(record.getMessage(), flush=True))
logger.addHandler(handler)
atexit.register(logger.info, "at exit, the first record of all")
"""
    )
    assert told == "at exit, the first record of all\n1\n"


def test_daemon_threads_that_log_until_the_end():
    run_script(
        SHIPPING
        + """
logger.addHandler(ShippingHandler(lambda record: None, maxsize=10))
begun = threading.Barrier(5)

def log():
    logger.info("first")
    begun.wait()
    while True:
        logger.info("on and on")

for _ in range(4):
    threading.Thread(target=log, daemon=True).start()
begun.wait()
"""
    )


@needs_fork
def test_a_forked_child_has_a_thread_and_an_empty_queue_of_its_own():
    told = run_script(
        FORKING
        + SHIPPING
        + """
stopped, leave = threading.Event(), threading.Event()
here = os.getpid()

def target(record):
    if os.getpid() == here:
        stopped.set()
        assert leave.wait(20)
    kept.append((os.getpid(), record.getMessage()))

kept = []
handler = ShippingHandler(target, maxsize=2)
logger.addHandler(handler)
logger.info("in hand")
assert stopped.wait(20)
for n in range(5):
    logger.info("%d", n)
assert handler.dropped == 3

def child():
    kept.clear()
    told = handler.statistics()
    assert (told.waiting, told.dropped, told.shipped) == (0, 0, 0), told
    logger.info("in the child")
    handler.flush()
    assert kept == [(os.getpid(), "in the child")], kept

    def grandchild():
        kept.clear()
        logger.info("in the grandchild")
        handler.close()
        assert kept == [(os.getpid(), "in the grandchild")], kept

    check(in_child(grandchild))
    logger.info("again")
    handler.flush()
    assert handler.statistics().shipped == 2

check(in_child(child))
leave.set()
handler.flush()
print([message for _, message in kept])
"""
    )
    assert told == "['in hand', '0', '1', '3 records were dropped: the queue was full']\n"


@needs_fork
def test_forks_while_other_threads_log():
    """Whatever a thread is in the middle of: the child can log, flush and close."""
    run_script(
        FORKING
        + SHIPPING
        + """
kept, here = [], os.getpid()

def target(record):
    if os.getpid() != here:  # the parent's are too many to keep, and to free in each child
        kept.append(record)

handlers = [ShippingHandler(target, maxsize=5, overflow=policy, report_every=0) for policy in ("drop_oldest", "drop_lowest")]
for handler in handlers:
    logger.addHandler(handler)
over = threading.Event()

def log():
    while not over.is_set():
        logger.info("on and on")

loggers = [threading.Thread(target=log) for _ in range(3)]
for thread in loggers:
    thread.start()

def child():
    logger.info("in the child")
    for handler in handlers:
        handler.flush()
        handler.close()
    assert [record.getMessage() for record in kept] == ["in the child"] * 2, kept

for _ in range(30):
    check(in_child(child))
over.set()
for thread in loggers:
    thread.join()
"""
    )


@needs_fork
def test_a_target_that_forks():
    """The child is on the thread that ships; it does not ship its parent's records a second time."""
    told = run_script(
        FORKING
        + SHIPPING
        + """
def target(record):
    if record.getMessage() == "fork":
        go.wait()
        pids.append(os.fork())
        if pids[-1] == 0:
            return
    print(record.getMessage(), flush=True)

go, pids = threading.Event(), []
logger.addHandler(ShippingHandler(target, overflow="drop_lowest"))
for text in ("fork", "a", "b"):
    logger.info(text)
go.set()
logger.handlers[0].flush()
check(*pids)
"""
    )
    assert told == "fork\na\nb\n"


@needs_fork
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_of_multiprocessing_ships_before_it_ends(method: str, tmp_path: Path) -> None:
    """It leaves by `os._exit`, without logging's exit function."""
    (tmp_path / "child.py").write_text(
        """
import logging, threading
from sluicegate.logging import ShippingHandler

def target(record):
    threading.Event().wait(0.05)  # slower than the child
    print(record.getMessage(), flush=True)

logger = logging.getLogger()
handler = ShippingHandler(target)
logger.addHandler(handler)

def child():
    for n in range(3):
        logger.warning("%d", n)
""",
        "utf-8",
    )
    told = run_script(
        """
import multiprocessing
sys.path.insert(0, sys.argv[2])
import child

if __name__ == "__main__":
    process = multiprocessing.get_context(sys.argv[1]).Process(target=child.child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
""",
        method,
        tmp_path,
    )
    assert told == "0\n1\n2\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals are POSIX's here")
@pytest.mark.parametrize("policy", ["drop_newest", "drop_lowest", "reject"])
def test_a_signal_handler_logs_and_flushes_in_the_middle_of_logging(policy: str) -> None:
    """Wherever its thread is, the flush comes to an end: it has all the time in the world."""
    told = run_script(
        SHIPPING
        + """
import signal
kept = []
handler = ShippingHandler(kept.append, 50, sys.argv[1], flush_timeout=None, report_every=float("inf"))
logger.addHandler(handler)
signals = 0

def on_signal(number, frame):
    global signals
    signals += 1
    logger.warning("from the signal handler")
    handler.flush()
    signal.setitimer(signal.ITIMER_REAL, 0.0003)

signal.signal(signal.SIGALRM, on_signal)
signal.setitimer(signal.ITIMER_REAL, 0.0003)
logged = 0
while signals < 500:
    logger.info("plain")
    logged += 1
signal.setitimer(signal.ITIMER_REAL, 0)
handler.close()
told = handler.statistics()
assert told.shipped + told.dropped == logged + signals, (told, logged, signals)
assert (told.failed, told.closed, told.waiting) == (0, 0, 0), told
assert len(kept) == told.shipped + told.reports
print("done")
""",
        policy,
    )
    assert told == "done\n"
