"""The standard library's logging with our queues: QueueHandler, QueueListener, and logging.config's idea of a queue."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
import sys
import threading
from typing import Any

import pytest
from dropin import KINDS
from helpers import wait_until

import sluicegate

# Records compare by nothing, so a heap of them is no queue for a log.
FIFO = ["Queue", "SimpleQueue"]


class Keeping(logging.Handler):
    """Keeps the records it was given, and the threads that gave them."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []
        self.threads: set[int] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.threads.add(threading.get_ident())

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


def make_logger() -> logging.Logger:
    return logging.Logger("a test's", logging.DEBUG)  # noqa: LOG001 - in no hierarchy: a test shares it with nobody


@pytest.mark.parametrize("name", FIFO)
def test_handler_and_listener(name: str) -> None:
    logger = make_logger()
    q = getattr(sluicegate, name)()
    kept = Keeping()
    logger.addHandler(logging.handlers.QueueHandler(q))
    listener = logging.handlers.QueueListener(q, kept)
    listener.start()
    for n in range(100):
        logger.info("message %d", n)
    listener.stop()
    assert kept.messages == [f"message {n}" for n in range(100)]
    assert kept.threads != {threading.get_ident()}
    assert q.qsize() == 0
    if name == "Queue":
        q.join()  # the listener has said task_done for each of them
        assert q.unfinished_tasks == 0


@pytest.mark.parametrize("name", FIFO)
def test_a_listener_can_be_started_again(name: str) -> None:
    logger = make_logger()
    q = getattr(sluicegate, name)()
    kept = Keeping()
    logger.addHandler(logging.handlers.QueueHandler(q))
    listener = logging.handlers.QueueListener(q, kept)
    for n in range(3):
        listener.start()
        logger.warning("round %d", n)
        listener.stop()
    assert kept.messages == ["round 0", "round 1", "round 2"]


def test_many_threads_log_through_one_small_queue(threads: Any) -> None:
    logger = make_logger()
    q: sluicegate.Queue[Any] = sluicegate.Queue(8)
    kept = Keeping()

    class Blocking(logging.handlers.QueueHandler):
        def enqueue(self, record: logging.LogRecord) -> None:
            self.queue.put(record)

    logger.addHandler(Blocking(q))
    listener = logging.handlers.QueueListener(q, kept)
    listener.start()

    def log(who: int) -> None:
        for n in range(200):
            logger.info("%d.%d", who, n)

    workers = [threads(log, who) for who in range(4)]
    for worker in workers:
        worker.result()
    q.join()  # there must be room for the listener's sentinel, which it puts without waiting
    listener.stop()
    assert sorted(kept.messages) == sorted(f"{who}.{n}" for who in range(4) for n in range(200))
    for who in range(4):  # each thread's records in its own order
        own = [message for message in kept.messages if message.startswith(f"{who}.")]
        assert own == [f"{who}.{n}" for n in range(200)]


def test_a_full_queue_is_the_handlers_error() -> None:
    logger = make_logger()
    q: sluicegate.Queue[Any] = sluicegate.Queue(1)
    errors: list[Any] = []

    class Telling(logging.handlers.QueueHandler):
        def handleError(self, record: logging.LogRecord) -> None:
            errors.append(sys.exc_info()[0])

    logger.addHandler(Telling(q))
    logger.info("fits")
    logger.info("does not fit")
    assert errors == [sluicegate.Full]
    assert q.get_nowait().getMessage() == "fits"


def test_a_shut_down_queue_is_the_handlers_error() -> None:
    logger = make_logger()
    q: sluicegate.Queue[Any] = sluicegate.Queue()
    errors: list[Any] = []

    class Telling(logging.handlers.QueueHandler):
        def handleError(self, record: logging.LogRecord) -> None:
            errors.append(sys.exc_info()[0])

    logger.addHandler(Telling(q))
    q.shutdown()
    logger.info("too late")
    assert errors == [sluicegate.ShutDown]


def test_a_listener_respects_levels() -> None:
    logger = make_logger()
    q: sluicegate.Queue[Any] = sluicegate.Queue()
    everything, severe = Keeping(), Keeping(logging.ERROR)
    logger.addHandler(logging.handlers.QueueHandler(q))
    listener = logging.handlers.QueueListener(q, everything, severe, respect_handler_level=True)
    listener.start()
    logger.info("mild")
    logger.error("bad")
    listener.stop()
    assert everything.messages == ["mild", "bad"]
    assert severe.messages == ["bad"]


@pytest.mark.parametrize("name", FIFO)
def test_a_listener_stops_with_records_still_in_the_queue(name: str) -> None:
    logger = make_logger()
    q = getattr(sluicegate, name)()
    go = threading.Event()

    class Slow(Keeping):
        def emit(self, record: logging.LogRecord) -> None:
            go.wait(30)
            super().emit(record)

    kept = Slow()
    logger.addHandler(logging.handlers.QueueHandler(q))
    listener = logging.handlers.QueueListener(q, kept)
    listener.start()
    for n in range(10):
        logger.info("%d", n)
    go.set()
    listener.stop()  # its sentinel comes after what is queued
    assert kept.messages == [str(n) for n in range(10)]


def test_a_handler_behind_a_finaliser() -> None:
    logger = make_logger()
    # Production deadlocks came from a destructor that logs while the queue's lock is held.
    q: sluicegate.Queue[Any] = sluicegate.Queue()
    logger.addHandler(logging.handlers.QueueHandler(q))

    class Noisy:
        def __del__(self) -> None:
            logger.info("gone")

    q.put(Noisy())
    q.put(Noisy())
    assert q.clear() == 2
    assert [q.get_nowait().getMessage() for _ in range(2)] == ["gone", "gone"]


# --- logging.config -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(logging.config, "_is_queue_like_object"), reason="logging.config checks queues since 3.12")
@pytest.mark.parametrize("name", KINDS)
def test_logging_config_takes_it_for_a_queue(name: str) -> None:
    cls = getattr(sluicegate, name)
    for q in (cls(), type("Mine", (cls,), {})(), cls().sync_q):
        assert logging.config._is_queue_like_object(q)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="queue handlers can be configured since 3.12")
@pytest.mark.thread_unsafe(reason="configures the process's logging")
@pytest.mark.parametrize("how", ["factory", "reference", "object"])
def test_a_queue_handler_by_configuration(how: str) -> None:
    made = sluicegate.Queue(7)
    spelled: Any = {
        "factory": {"()": "sluicegate.Queue", "maxsize": 7},
        "reference": "sluicegate.Queue",
        "object": made,
    }[how]
    name = f"sluicegate.test.{how}"
    kept_name = f"kept.{how}"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "incremental": False,
            "handlers": {
                kept_name: {"()": Keeping},
                "queued": {
                    "class": "logging.handlers.QueueHandler",
                    "queue": spelled,
                    "listener": "logging.handlers.QueueListener",
                    "handlers": [kept_name],
                },
            },
            "loggers": {name: {"level": "DEBUG", "handlers": ["queued"], "propagate": False}},
        }
    )
    logger = logging.getLogger(name)
    (handler,) = logger.handlers
    assert isinstance(handler, logging.handlers.QueueHandler)
    try:
        assert type(handler.queue) is sluicegate.Queue
        assert handler.queue.maxsize == (0 if how == "reference" else 7)
        assert (handler.queue is made) == (how == "object")
        listener: Any = handler.listener
        (kept,) = listener.handlers
        listener.start()
        logger.info("configured")
        wait_until(lambda: kept.records)
        listener.stop()
        assert kept.messages == ["configured"]
    finally:
        logger.removeHandler(handler)
        handler.close()


def test_a_queue_handler_never_waits_where_the_newest_is_dropped():
    """QueueHandler calls put_nowait, which obeys the overflow policy: no Full reaches the logger's handleError."""
    dropped = []
    records = sluicegate.Queue(2, overflow="drop_newest", on_drop=lambda record, reason: dropped.append((record.getMessage(), reason)))
    logger = logging.getLogger("test.full")
    handler = logging.handlers.QueueHandler(records)
    handler.handleError = pytest.fail
    logger.addHandler(handler)
    for number in range(4):
        logger.warning("%d", number)
    assert [record.getMessage() for record in records.get_many(9)] == ["0", "1"]
    assert dropped == [("2", "newest"), ("3", "newest")]
