"""`sluicegate.logging`: a handler that never waits, what it drops and says about it, and a listener that ends by `shutdown`.

How it ends with the interpreter, and in forked children: test_logging_ends.py.
"""

from __future__ import annotations

import itertools
import logging
import logging.config
import logging.handlers
import queue as stdlib_queue
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from helpers import PATIENCE, ROUNDS, spawn, wait_until

import sluicegate
from sluicegate import AdaptiveLifo, CoDel, Sample
from sluicegate.logging import QueueListener, ShippingHandler
from sluicegate.testing import ManualClock

POLICIES: list[Any] = ["drop_newest", "drop_oldest", "drop_lowest", "reject", Sample(3)]


class Gate:
    """A target that keeps messages, and stops at each record while it is shut."""

    def __init__(self, is_open: bool = True) -> None:
        self.messages: list[str] = []
        self.records: list[logging.LogRecord] = []
        self.threads: set[int] = set()
        self.stopped = threading.Event()
        self.open = threading.Event()
        if is_open:
            self.open.set()

    def __call__(self, record: logging.LogRecord) -> None:
        self.stopped.set()
        assert self.open.wait(PATIENCE)
        self.records.append(record)
        self.messages.append(record.getMessage())
        self.threads.add(threading.get_ident())


class Handlers:
    """Makes handlers with a logger each, and ends them."""

    def __init__(self) -> None:
        self.made: list[ShippingHandler] = []

    def __call__(self, target: Any, *args: Any, kind: type[ShippingHandler] = ShippingHandler, **kwargs: Any) -> Any:
        handler = kind(target, *args, **{"flush_timeout": PATIENCE, **kwargs})
        self.made.append(handler)
        logger = logging.Logger("a test's", logging.DEBUG)  # noqa: LOG001 - in no hierarchy: a test shares it with nobody
        logger.addHandler(handler)
        return handler, logger


@pytest.fixture
def shipping() -> Iterator[Handlers]:
    handlers = Handlers()
    yield handlers
    for handler in handlers.made:
        for target in handler._targets:
            if isinstance(target, Gate):
                target.open.set()
        handler.close()


def fill(gate: Gate, logger: logging.Logger, count: int) -> None:
    """Shuts the target in with one record, and logs so many others."""
    logger.info("in hand")
    assert gate.stopped.wait(PATIENCE)
    for n in range(count):
        logger.info("%d", n)


# --- shipping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", POLICIES, ids=str)
def test_records_arrive_in_order_on_one_other_thread(shipping: Handlers, overflow: Any) -> None:
    gate = Gate()
    handler, logger = shipping(gate, 1000, overflow)
    for n in range(500):
        logger.log((logging.DEBUG, logging.ERROR, logging.INFO)[n % 3], "message %d", n)
    handler.flush()
    assert gate.messages == [f"message {n}" for n in range(500)]
    assert len(gate.threads) == 1
    assert gate.threads != {threading.get_ident()}
    assert handler.dropped == 0
    told = handler.statistics()
    assert (told.shipped, told.failed, told.waiting, told.reports, told.maxsize) == (500, 0, 0, 0, 1000)


def test_a_record_is_formatted_where_it_is_logged(shipping: Handlers) -> None:
    gate = Gate(is_open=False)
    handler, logger = shipping(gate)
    told: list[int] = []
    changing = [1]

    class Telling:
        def __str__(self) -> str:
            told.append(threading.get_ident())
            return "told"

    try:
        raise ArithmeticError("the reason")
    except ArithmeticError:
        logger.exception("%s %s", changing, Telling(), stack_info=True)
    changing.append(2)
    gate.open.set()
    handler.flush()
    assert told == [threading.get_ident()]
    (record,) = gate.records
    text = record.getMessage()
    assert text.startswith("[1] told\nTraceback")
    assert "ArithmeticError: the reason" in text
    assert text.count("Stack (most recent call last)") == 1
    assert (record.args, record.exc_info, record.exc_text, record.stack_info) == (None, None, None, None)
    # A handler that formats it once more adds nothing.
    assert logging.Formatter().format(record) == text


def test_the_record_of_other_handlers_is_left_alone(shipping: Handlers) -> None:
    _, logger = shipping(Gate())
    seen: list[Any] = []

    class Looking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.msg, record.args))

    logger.addHandler(Looking())
    logger.info("number %d", 7)
    assert seen == [("number %d", (7,))]


def test_several_targets_and_their_levels(shipping: Handlers) -> None:
    gate = Gate()

    class Keeping(logging.Handler):
        def __init__(self, level: int) -> None:
            super().__init__(level)
            self.messages: list[str] = []
            self.flushes = 0

        def emit(self, record: logging.LogRecord) -> None:
            self.messages.append(self.format(record))

        def flush(self) -> None:
            self.flushes += 1

    everything, severe = Keeping(logging.NOTSET), Keeping(logging.ERROR)
    handler, logger = shipping([everything, severe, gate])
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.info("a")
    logger.error("b")
    handler.flush()
    assert everything.messages == gate.messages == ["INFO a", "ERROR b"]
    assert severe.messages == ["ERROR b"]
    assert everything.flushes == severe.flushes == 1


def test_filters_decide_first(shipping: Handlers) -> None:
    gate = Gate()
    handler, logger = shipping(gate)

    def unless_secret(record: logging.LogRecord) -> bool:
        return "secret" not in record.msg

    handler.addFilter(unless_secret)
    logger.info("secret")
    logger.info("known")
    handler.flush()
    assert gate.messages == ["known"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a filter may return a record since 3.12")
def test_a_filter_may_replace_the_record(shipping: Handlers) -> None:
    gate = Gate()
    handler, logger = shipping(gate)

    def replace(record: logging.LogRecord) -> logging.LogRecord:
        return logging.makeLogRecord({**record.__dict__, "msg": "replaced"})

    handler.addFilter(replace)
    logger.info("original")
    handler.flush()
    assert gate.messages == ["replaced"]


# --- dropping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overflow", "kept", "count"),
    [
        ("drop_newest", ["0", "1", "2"], "dropped_newest"),
        ("drop_oldest", ["7", "8", "9"], "dropped_oldest"),
        ("reject", ["0", "1", "2"], "rejected"),
        ("drop_lowest", ["0", "1", "2"], "dropped_lowest"),
        (Sample(1), ["7", "8", "9"], "dropped_sampled"),
    ],
    ids=str,
)
def test_what_each_policy_drops(shipping: Handlers, overflow: Any, kept: list[str], count: str) -> None:
    gate = Gate(is_open=False)
    handler, logger = shipping(gate, 3, overflow)
    fill(gate, logger, 10)
    told = handler.statistics()
    assert (getattr(told, count), told.dropped, handler.dropped, told.waiting) == (7, 7, 7, 3)
    gate.open.set()
    handler.flush()
    assert [each for each in gate.messages if "dropped" not in each] == ["in hand", *kept]
    assert "7 records were dropped: the queue was full" in gate.messages
    report = next(record for record in gate.records if "dropped" in record.getMessage())
    assert (report.levelno, report.name, report.dropped) == (logging.WARNING, "sluicegate.logging", 7)  # type: ignore[attr-defined]


def test_the_lowest_level_goes_first_and_the_order_stays(shipping: Handlers) -> None:
    gate = Gate(is_open=False)
    handler, logger = shipping(gate, 4, "drop_lowest")
    fill(gate, logger, 0)
    for level, text in [
        (logging.DEBUG, "d1"),
        (logging.ERROR, "e1"),
        (logging.INFO, "i1"),
        (logging.DEBUG, "d2"),
        (logging.INFO, "i2"),  # takes d2's place: the newest of the lowest
        (logging.DEBUG, "d3"),  # is the lowest itself
        (logging.CRITICAL, "c1"),  # d1's
        (logging.INFO, "i3"),  # is not above i1 and i2
        (logging.ERROR, "e2"),  # i2's
    ]:
        logger.log(level, text)
    assert handler.statistics().dropped_lowest == 5
    gate.open.set()
    handler.flush()
    assert gate.messages == ["in hand", "e1", "i1", "c1", "e2", "5 records were dropped: the queue was full"]


def test_reports_come_at_most_so_often(shipping: Handlers) -> None:
    clock = ManualClock()
    gate = Gate(is_open=False)
    _, logger = shipping(gate, 1, report_every=timedelta(minutes=1), clock=clock)

    def reports() -> list[str]:
        return [each for each in gate.messages if "dropped" in each]

    def lose_one() -> None:
        gate.open.clear()
        gate.stopped.clear()
        fill(gate, logger, 2)
        shipped = len(gate.messages) - len(reports())
        gate.open.set()
        wait_until(lambda: len(gate.messages) - len(reports()) == shipped + 2)

    lose_one()
    wait_until(lambda: len(reports()) == 1)  # the first at once
    lose_one()
    lose_one()
    clock.wait_for_waiters(1)  # the thread waits for a record, and for the minute to pass
    clock.advance(59.0)
    assert len(reports()) == 1
    clock.advance(1.0)  # without any record that would wake it
    wait_until(lambda: len(reports()) == 2)
    assert reports() == ["1 record was dropped: the queue was full", "2 records were dropped: the queue was full"]


def test_a_flush_reports_at_once(shipping: Handlers) -> None:
    gate = Gate(is_open=False)
    handler, logger = shipping(gate, 1, report_every=float("inf"), report_level=logging.ERROR)
    for _ in range(3):
        gate.open.clear()
        gate.stopped.clear()
        fill(gate, logger, 3)
        gate.open.set()
        handler.flush()
    told = [record for record in gate.records if "dropped" in record.getMessage()]
    assert [record.getMessage().split()[0] for record in told] == ["2", "2", "2"]
    assert {record.levelno for record in told} == {logging.ERROR}
    assert handler.statistics().reports == 3


@pytest.mark.parametrize("overflow", POLICIES, ids=str)
def test_eight_threads_and_every_record_is_counted(shipping: Handlers, overflow: Any) -> None:
    gate = Gate()
    handler, logger = shipping(gate, 16, overflow, report_every=0)
    rounds = ROUNDS * 5
    start = threading.Barrier(9)

    def log(who: int) -> None:
        start.wait(PATIENCE)
        for n in range(rounds):
            logger.log(logging.DEBUG if n % 2 else logging.INFO, "%d.%d", who, n)

    def flush() -> None:
        start.wait(PATIENCE)
        for _ in range(rounds // 20):
            handler.flush()

    workers = [*(spawn(log, who) for who in range(8)), spawn(flush)]
    for worker in workers:
        worker.result()
    handler.close()
    told = handler.statistics()
    assert (told.waiting, told.failed, told.closed, told.from_target) == (0, 0, 0, 0)
    assert told.shipped + told.dropped == 8 * rounds
    shipped = [each for each in gate.messages if "dropped" not in each]
    assert len(shipped) == len(set(shipped)) == told.shipped
    reported = [record.dropped for record in gate.records if "dropped" in record.getMessage()]  # type: ignore[attr-defined]
    assert (sum(reported), len(reported)) == (told.dropped, told.reports)
    for who in range(8):
        own = [int(each.split(".")[1]) for each in shipped if each.startswith(f"{who}.")]
        assert own == sorted(own)


# --- targets that misbehave ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ArithmeticError, SystemExit])
def test_what_a_target_raises_is_the_handlers_error(shipping: Handlers, error: Any) -> None:
    told: list[Any] = []

    class Telling(ShippingHandler):
        def handleError(self, record: logging.LogRecord) -> None:
            told.append((sys.exc_info()[0], record.getMessage()))

    gate = Gate()

    def raising(record: logging.LogRecord) -> None:
        if record.getMessage() == "bad":
            raise error

    handler, logger = shipping((raising, gate), kind=Telling)
    for text in ("good", "bad", "good again"):
        logger.info(text)
    handler.flush()
    assert told == [(error, "bad")]
    assert gate.messages == ["good", "bad", "good again"]
    assert (handler.statistics().shipped, handler.statistics().failed) == (2, 1)


def test_a_record_that_cannot_be_formatted(shipping: Handlers, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate()
    handler, logger = shipping(gate)
    logger.info("%d", "not a number")
    logger.info("%d", 1)
    handler.flush()
    assert gate.messages == ["1"]
    assert handler.statistics().failed == 1
    assert "--- Logging error ---" in capsys.readouterr().err


def test_a_handle_error_that_raises_does_not_end_the_thread(shipping: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    hooked: list[Any] = []

    def hook(args: threading.ExceptHookArgs) -> None:
        hooked.append(args.exc_type)

    monkeypatch.setattr(threading, "excepthook", hook)

    class Worse(ShippingHandler):
        def handleError(self, record: logging.LogRecord) -> None:
            raise LookupError

    gate = Gate()

    def raising(record: logging.LogRecord) -> None:
        raise ArithmeticError

    handler, logger = shipping((raising, gate), kind=Worse)
    logger.info("a")
    logger.info("b")
    handler.flush()
    assert gate.messages == ["a", "b"]
    assert hooked == [LookupError, LookupError]


def test_a_target_that_logs_to_the_same_logger(shipping: Handlers) -> None:
    seen: list[str] = []

    def echoing(record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        logger.info("about %s", record.getMessage())
        handler.flush()  # nor does it wait for itself

    handler, logger = shipping(echoing)
    logger.info("a")
    logger.info("b")
    handler.flush()
    handler.close()
    assert seen == ["a", "b"]
    told = handler.statistics()
    assert (told.shipped, told.from_target, told.dropped, told.reports) == (2, 2, 0, 0)


def test_logging_while_a_flush_waits(shipping: Handlers) -> None:
    """`logging.shutdown` flushes with the handler's lock held; others log meanwhile, and the target does."""
    gate = Gate(is_open=False)
    handler, logger = shipping(gate)
    fill(gate, logger, 1)

    def as_logging_does() -> None:
        handler.acquire()
        try:
            handler.flush()
        finally:
            handler.release()

    flushing = spawn(as_logging_does)
    wait_until(lambda: len(handler._shipper.asked) == 1)
    spawn(logger.info, "meanwhile").result()
    assert not flushing.done()
    gate.open.set()
    flushing.result()
    handler.flush()
    assert gate.messages == ["in hand", "0", "meanwhile"]


# --- flush and close ----------------------------------------------------------------------------------------------


def test_a_flush_gives_up_in_time_and_keeps_the_records(shipping: Handlers) -> None:
    clock = ManualClock()
    gate = Gate(is_open=False)
    handler, logger = shipping(gate, flush_timeout=5.0, clock=clock)
    fill(gate, logger, 2)
    flushing = spawn(handler.flush)
    clock.wait_for_waiters(1)
    clock.advance(4.9)
    assert not flushing.done()
    clock.advance(0.1)
    flushing.result()
    assert handler.statistics().waiting == 2
    gate.open.set()
    wait_until(lambda: gate.messages == ["in hand", "0", "1"])
    assert handler.dropped == 0


def test_a_flush_does_not_wait_for_what_comes_later(shipping: Handlers) -> None:
    """A target that has another thread log one record for each that it takes: the queue is never empty."""
    numbers = itertools.count(1)

    def feeding(_record: logging.LogRecord) -> None:
        if not over.is_set():
            spawn(logger.info, "more %d", next(numbers)).result()

    over = threading.Event()
    handler, logger = shipping(feeding)
    logger.info("first")
    handler.flush()
    assert not over.is_set()
    over.set()
    handler.flush()
    assert handler.statistics().waiting == 0


def test_close_ships_what_waits_and_ends_the_thread(shipping: Handlers) -> None:
    gate = Gate(is_open=False)
    handler, logger = shipping(gate, 3)
    fill(gate, logger, 5)
    closing = spawn(handler.close)
    wait_until(lambda: handler._shipper.queue.is_shutdown)
    gate.open.set()
    closing.result()
    assert gate.messages == ["in hand", "0", "1", "2", "2 records were dropped: the queue was full"]
    (ident,) = gate.threads
    wait_until(lambda: ident not in {thread.ident for thread in threading.enumerate()})
    logger.info("too late")
    handler.flush()
    handler.close()
    told = handler.statistics()
    assert (told.closed, told.dropped, told.shipped) == (1, 3, 4)
    assert len(gate.messages) == 5


def test_close_says_what_it_has_lost(shipping: Handlers, capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate(is_open=False)
    handler, logger = shipping(gate, flush_timeout=0)
    fill(gate, logger, 3)
    handler.flush()
    handler.close()
    handler.close()
    said = "3 log records were lost: the target of a ShippingHandler was too slow\n"
    assert capsys.readouterr().err == said
    told = handler.statistics()
    assert (told.closed, told.dropped, told.waiting) == (3, 3, 0)


def test_close_does_not_wait_again_for_what_a_flush_has_waited_for(shipping: Handlers, capsys: pytest.CaptureFixture[str]) -> None:
    """As at exit, where logging calls one after the other: the program is held up once."""
    clock = ManualClock()
    gate = Gate(is_open=False)
    handler, logger = shipping(gate, flush_timeout=5.0, clock=clock)
    fill(gate, logger, 1)
    flushing = spawn(handler.flush)
    clock.wait_for_waiters(1)
    clock.advance(5.0)
    flushing.result()
    spawn(handler.close).result()  # nobody turns the clock
    assert capsys.readouterr().err.startswith("1 log record was lost")


def test_a_handler_that_was_never_used_has_no_thread(shipping: Handlers) -> None:
    handler, logger = shipping(Gate())
    before = threading.active_count()
    handler.flush()
    handler.close()
    logger.info("too late")
    assert threading.active_count() == before
    assert handler.statistics().closed == 1


def test_no_thread_can_be_started(shipping: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the interpreter exits, since Python 3.12: who flushes ships."""
    gate = Gate()
    handler, logger = shipping(gate, 2)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for n in range(3):
            logger.info("%d", n)
        assert gate.messages == []
        handler.flush()
        assert gate.messages == ["0", "1", "1 record was dropped: the queue was full"]
        assert gate.threads == {threading.get_ident()}
        logger.info("3")
        handler.close()
    assert gate.messages[3:] == ["3"]


def test_a_flush_while_the_thread_has_just_been_started(shipping: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same a moment later: the thread is there, and waits for a record already."""
    gate = Gate()
    handler, logger = shipping(gate, flush_timeout=None)
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        thread.start()
        wait_until(lambda: handler._shipper.queue.statistics().waiting_getters == 1)
        handler.flush()

    def log() -> None:
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        logger.info("first")

    spawn(log).result()
    assert gate.messages == ["first"]


def test_a_flush_in_the_middle_of_starting_the_thread(shipping: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a signal handler: there is no thread yet, and there will be none while it waits."""
    gate = Gate()
    handler, logger = shipping(gate, flush_timeout=None)
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        logger.info("from the signal handler")
        handler.flush()
        thread.start()

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    logger.info("first")
    assert gate.messages == ["first", "from the signal handler"]
    logger.info("third")
    handler.flush()
    handler.close()
    assert gate.messages[2:] == ["third"]


# --- arguments, configuration -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"target": None}, TypeError, "target must be"),
        ({"target": "stderr"}, TypeError, "target must be"),
        ({"target": [print, 3]}, TypeError, "each target"),
        ({"target": []}, ValueError, "there must be a target"),
        ({"target": {}}, TypeError, "order of their names"),
        ({"maxsize": 0}, ValueError, "needs a bound"),
        ({"maxsize": True}, TypeError, "maxsize must be an integer, not bool"),
        ({"maxsize": 1.5}, TypeError, "maxsize must be an integer, not float"),
        ({"maxsize": None}, TypeError, "maxsize must be an integer, not NoneType"),
        ({"report_every": None}, TypeError, "report_every must be a number of seconds or a timedelta, not NoneType"),
        ({"report_every": True}, TypeError, "report_every must be a number of seconds or a timedelta, not bool"),
        ({"report_level": "LOUD"}, TypeError, "report_level must be a number, such as logging.ERROR, not 'LOUD'"),
        ({"flush_timeout": "5"}, TypeError, "flush_timeout must be a number of seconds or a timedelta, not str"),
        ({"overflow": "block"}, ValueError, "wait for its log"),
        ({"overflow": "drop"}, ValueError, "drop_lowest"),
        ({"flush_timeout": -1}, ValueError, "flush_timeout"),
        ({"report_every": float("nan")}, ValueError, "report_every"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        made: Any = {"target": print, **arguments}
        ShippingHandler(**made)


def test_a_target_that_would_never_run() -> None:
    async def coroutine_function(_record: logging.LogRecord) -> None: ...

    def generator_function(_record: logging.LogRecord) -> Any:
        yield

    with pytest.raises(TypeError, match="'target' must be an ordinary function, not the coroutine function"):
        ShippingHandler(coroutine_function)
    with pytest.raises(TypeError, match="'target' must be an ordinary function, not the generator function"):
        ShippingHandler([print, generator_function])
    target: Any = logging.StreamHandler
    for given in (target, [print, target]):
        with pytest.raises(TypeError, match=r"not the class StreamHandler: give an object of it, StreamHandler\(...\)"):
            ShippingHandler(given)


def test_by_logging_config() -> None:
    """A handler whose name comes earlier in the alphabet can be the target."""
    kept = logging.handlers.MemoryHandler(100, flushLevel=100)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "file": {"()": lambda: kept},
                "shipping": {
                    "class": "sluicegate.logging.ShippingHandler",
                    "target": "cfg://handlers.file",
                    "maxsize": 10,
                    "level": "INFO",
                },
            },
            "loggers": {"a test's own": {"handlers": ["shipping"], "level": "DEBUG"}},
        }
    )
    logger = logging.getLogger("a test's own")
    (handler,) = logger.handlers
    assert isinstance(handler, ShippingHandler)
    try:
        logger.debug("too low")
        logger.info("in")
        wait_until(lambda: len(kept.buffer) == 1)
        assert kept.buffer[0].getMessage() == "in"
    finally:
        logger.removeHandler(handler)
        handler.close()
        kept.setTarget(logging.NullHandler())
        kept.close()


# --- the listener -------------------------------------------------------------------------------------------------

DROPPING: list[Any] = ["drop_newest", "drop_oldest", Sample(2), "reject"]


@pytest.mark.parametrize("overflow", ["block", *DROPPING], ids=str)
def test_the_listener_ends_though_the_queue_is_full(overflow: Any) -> None:
    gate = Gate(is_open=False)
    q: sluicegate.Queue[Any] = sluicegate.Queue(2, overflow=overflow)

    class Through(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            gate(record)

    listener = QueueListener(q, Through())
    listener.start()
    logger = logging.Logger("a test's")  # noqa: LOG001
    logger.addHandler(logging.handlers.QueueHandler(q))
    fill(gate, logger, 2)
    assert q.full()
    stopping = spawn(listener.stop)
    wait_until(lambda: q.is_shutdown)
    gate.open.set()
    stopping.result()
    assert gate.messages == ["in hand", "0", "1"]
    assert q.unfinished_tasks == 0
    listener.stop()
    with pytest.raises(RuntimeError, match="make a new queue"):
        listener.start()


def test_the_standard_librarys_sentinel_is_dropped() -> None:
    """Why there is a listener of ours: with theirs, `stop` would wait for ever here. Shutting the queue down ends its thread."""
    gate = Gate(is_open=False)
    q: sluicegate.Queue[Any] = sluicegate.Queue(1, overflow="drop_newest")

    class Through(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            gate(record)

    class Ending(logging.handlers.QueueListener):
        def dequeue(self, block: bool) -> Any:
            try:
                return super().dequeue(block)
            except sluicegate.ShutDown:
                raise stdlib_queue.Empty from None  # which ends its thread

    listener = Ending(q, Through())
    listener.start()
    logger = logging.Logger("a test's")  # noqa: LOG001
    logger.addHandler(logging.handlers.QueueHandler(q))
    fill(gate, logger, 1)
    stopping = spawn(listener.stop)
    wait_until(lambda: q.statistics().dropped_newest == 1)  # the sentinel
    gate.open.set()
    wait_until(lambda: gate.messages == ["in hand", "0"] and q.statistics().waiting_getters == 1)
    assert not stopping.done()
    q.shutdown()
    stopping.result()


def test_the_standard_librarys_sentinel_is_shed() -> None:
    """Nor does `overflow` help where items are shed. The sentinel is put into a queue that stands, and its time passes."""
    clock = ManualClock()
    q: sluicegate.Queue[Any] = sluicegate.Queue(9, shed=AdaptiveLifo(1, 10), clock=clock)
    listener = logging.handlers.QueueListener(q)
    q.put("a record")
    clock.advance(11)
    listener.enqueue_sentinel()
    clock.advance(2)
    with pytest.raises(sluicegate.Empty):
        q.get_nowait()
    assert q.statistics().dropped_shed == 2


@pytest.mark.parametrize("rule", [AdaptiveLifo(), CoDel()], ids=["AdaptiveLifo", "CoDel"])
def test_the_listener_ends_though_the_queue_sheds(rule: Any) -> None:
    gate = Gate(is_open=False)
    clock = ManualClock()
    q: sluicegate.Queue[Any] = sluicegate.Queue(9, shed=rule, clock=clock)

    class Through(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            gate(record)

    listener = QueueListener(q, Through())
    listener.start()
    logger = logging.Logger("a test's")  # noqa: LOG001
    logger.addHandler(logging.handlers.QueueHandler(q))
    fill(gate, logger, 3)
    clock.advance(60)
    stopping = spawn(listener.stop)
    wait_until(lambda: q.is_shutdown)
    gate.open.set()
    stopping.result()
    assert gate.messages[0] == "in hand"
    assert q.qsize() == q.unfinished_tasks == 0


def test_with_block_the_standard_librarys_stop_is_refused_when_full() -> None:
    """What the guide says of `q.overflow = "block"` before `stop`: it raises `Full`, and can be called again."""
    q: sluicegate.Queue[Any] = sluicegate.Queue(1, overflow="drop_newest")
    gate = Gate(is_open=False)

    class Through(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            gate(record)

    listener = logging.handlers.QueueListener(q, Through())
    listener.start()
    logger = logging.Logger("a test's")  # noqa: LOG001
    logger.addHandler(logging.handlers.QueueHandler(q))
    fill(gate, logger, 1)
    q.overflow = "block"
    with pytest.raises(sluicegate.Full):
        listener.stop()
    gate.open.set()
    q.join()
    listener.stop()


def test_a_listener_needs_a_queue_with_shutdown() -> None:
    with pytest.raises(TypeError, match="SimpleQueue has no shutdown"):
        QueueListener(stdlib_queue.SimpleQueue())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="queue.Queue has shutdown since 3.13")
def test_the_listener_with_the_standard_librarys_queue() -> None:
    q: stdlib_queue.Queue[Any] = stdlib_queue.Queue(1)
    gate = Gate()

    class Through(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            gate(record)

    listener = QueueListener(q, Through())
    listener.start()
    q.put(logging.makeLogRecord({"msg": "a"}))
    listener.stop()
    assert gate.messages == ["a"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="dictConfig knows queue and listener since 3.12")
def test_the_listener_by_logging_config() -> None:
    q: sluicegate.Queue[Any] = sluicegate.Queue(10, overflow="drop_newest")
    kept = logging.handlers.MemoryHandler(100, flushLevel=100)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "kept": {"()": lambda: kept},
                "queued": {
                    "class": "logging.handlers.QueueHandler",
                    "queue": {"()": lambda: q},
                    "listener": "sluicegate.logging.QueueListener",
                    "handlers": ["kept"],
                },
            },
            "loggers": {"a test's listener": {"handlers": ["queued"], "level": "DEBUG"}},
        }
    )
    logger = logging.getLogger("a test's listener")
    (handler,) = logger.handlers
    listener: Any = handler.listener  # type: ignore[attr-defined]
    assert type(listener) is QueueListener
    listener.start()
    logger.info("in")
    listener.stop()
    logger.removeHandler(handler)
    assert [record.getMessage() for record in kept.buffer] == ["in"]
    kept.close()
