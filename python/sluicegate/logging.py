"""Logging that never makes the program wait: records go into a bounded queue, and a thread hands them to slow handlers.

`ShippingHandler` is a queue, a thread and a policy for a full queue in one `logging.Handler`. `QueueListener` is the standard
library's, except that it ends by shutting its queue down: it needs no room for a sentinel, which a queue with a drop policy may drop.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
import logging.handlers
import os
import queue as _queue
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, Union

from sluicegate._core import Clock, _refuse_coroutine_function
from sluicegate._exceptions import Empty, Full, ShutDown
from sluicegate._latest import Latest
from sluicegate._queues import PriorityQueue, Queue, Sample, SimpleQueue
from sluicegate._statistics import _counter, _documented, _gauge

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["QueueListener", "ShippingHandler", "ShippingStatistics"]

#: Where records go: a handler, or a function that is called with each record.
Target = Callable[[logging.LogRecord], object] | logging.Handler
Overflow = Literal["drop_newest", "drop_oldest", "drop_lowest", "reject"] | Sample

_Seconds = Union[float, "timedelta"]
_POLICIES = ("drop_newest", "drop_oldest", "drop_lowest", "reject")
_MOST_URGENT = -(1 << 62)


@_documented
@dataclass(frozen=True, slots=True)
class ShippingStatistics:
    """A snapshot of a shipping handler, of this process alone: a forked child begins at zero."""

    waiting: int = field(metadata=_gauge("Records in the queue.", "records"))
    maxsize: int = field(metadata=_gauge("The largest number of records in the queue.", "records"))
    shipped: int = field(metadata=_counter("Records that every target has taken.", "records"))
    failed: int = field(metadata=_counter("Records that could not be formatted, or that a target raised an exception for.", "records"))
    reports: int = field(metadata=_counter("Records that told how many were dropped.", "records"))
    dropped_newest: int = field(metadata=_counter("Records dropped because they found the queue full.", "records"))
    dropped_oldest: int = field(metadata=_counter("Records dropped to make room for newer ones.", "records"))
    dropped_lowest: int = field(metadata=_counter("Records dropped because no other had a lower level.", "records"))
    dropped_sampled: int = field(metadata=_counter("Records dropped by `Sample`.", "records"))
    rejected: int = field(metadata=_counter('Records refused because the queue was full and the policy is "reject".', "records"))
    closed: int = field(metadata=_counter("Records logged after `close`, or still waiting when its time was over.", "records"))
    from_target: int = field(metadata=_counter("Records that a target logged to this handler while it took a record.", "records"))

    @property
    def dropped(self) -> int:
        """Records dropped for any reason, except those that a target logged itself."""
        return self.dropped_for_room + self.closed

    @property
    def dropped_for_room(self) -> int:
        """Records dropped or refused because the queue was full."""
        return self.dropped_newest + self.dropped_oldest + self.dropped_lowest + self.dropped_sampled + self.rejected


class _Shipper:
    """The queue and the thread of a handler in one process.

    There is no lock, because a signal handler may flush, or a child be forked, while the thread is anywhere in this class. The thread that
    calls the targets holds the claim (usually the shipper's own; if no thread can be started any more, the one that flushes) and counts
    with plain numbers. Threads that log count with the versions of a `Latest`, which many can set at once. A forked child makes another
    shipper (`ShippingHandler._here`).
    """

    __slots__ = (
        "asked",
        "batch",
        "claim",
        "closed",
        "ended",
        "failed",
        "from_target",
        "gave_up_at",
        "handler",
        "ident",
        "losses",
        "next_report",
        "next_shippers",
        "nudge",
        "nudges",
        "nudges_lost",
        "nudges_taken",
        "number",
        "pid",
        "queue",
        "ranked",
        "reported",
        "reports",
        "shipped",
        "startable",
        "starter",
        "told",
        "unformatted",
    )

    def __init__(self, handler: ShippingHandler, maxsize: int, overflow: Overflow) -> None:
        self.handler = handler
        self.pid = os.getpid()
        self.ranked = overflow == "drop_lowest"
        kind: Any = PriorityQueue if self.ranked else Queue
        self.queue: Queue[Any] = kind(maxsize, overflow=overflow, on_drop=self.on_drop, clock=handler._clock)
        # A heap does not keep the order of arrival. If all records are taken at once, they can be sorted.
        self.batch = maxsize if self.ranked else 1
        self.nudge: Any = (_MOST_URGENT, 0, 0, None) if self.ranked else None
        self.number = itertools.count()
        self.claim = [True]
        self.startable = [True]
        self.starter: int | None = None
        self.next_shippers: dict[int, _Shipper] = {}
        self.ident: int | None = None
        self.asked: deque[SimpleQueue[None]] = deque()
        self.ended = False
        self.losses = False
        self.next_report = handler._clock.now()
        self.closed: Latest[None] = Latest()
        self.unformatted: Latest[None] = Latest()
        self.nudges: Latest[None] = Latest()
        self.nudges_lost: Latest[None] = Latest()
        self.reported = self.reports = self.shipped = self.failed = self.from_target = self.nudges_taken = 0
        self.told = False
        self.gave_up_at: int | None = None

    # In threads that log.

    def put(self, record: logging.LogRecord, level: int) -> None:
        item: Any = record
        if self.ranked:
            item = (-level, next(self.number), id(record), record)  # the unique id keeps records from being compared
        try:
            self.queue.put_nowait(item)
        except Full:
            self.losses = True  # the queue has counted it
        except ShutDown:
            self.closed.set(None)
            return
        if self.startable:
            self.start()

    def on_drop(self, item: Any, _reason: str) -> None:
        if self.record_of(item) is None:
            self.nudges_lost.set(None)
        else:
            self.losses = True

    def record_of(self, item: Any) -> logging.LogRecord | None:
        return item[3] if self.ranked else item

    def start(self) -> bool:
        """Start the thread, unless another caller has. Return whether there is a thread."""
        try:
            self.startable.pop()
        except IndexError:
            # A signal handler that interrupts this very method must not wait for it.
            return self.starter != threading.get_ident()
        self.starter = threading.get_ident()
        thread = threading.Thread(target=self.run, name="sluicegate-logging", daemon=True)
        try:
            thread.start()
        except BaseException as error:
            # If the thread runs in spite of the exception (an interrupt), a second one finds no claim, and ends.
            self.startable.append(True)
            if not isinstance(error, (RuntimeError, MemoryError)):
                raise
            return False  # the interpreter is exiting, or there are too many threads
        finally:
            self.starter = None
        _flush_when_multiprocessing_ends(self.handler)
        return True

    def ask(self, timeout: _Seconds | None) -> bool:
        """Have all waiting records shipped, and wait for that. Return whether it happened in time."""
        if self.ident == threading.get_ident():
            return True  # this is a target that flushes: it cannot wait for itself
        if self.startable and self.queue.empty():
            return True  # never used, or everything was shipped by `work_here`: no reason to start a thread
        done: SimpleQueue[None] = SimpleQueue(clock=self.handler._clock)
        self.asked.append(done)
        if not self.start() and self.work_here():
            pass
        elif not self.ended and self.queue.empty():
            # Otherwise a waiting record wakes the thread. A wake-up item that is dropped was not needed, because the queue was full again.
            try:
                self.queue.put_nowait(self.nudge)
                self.nudges.set(None)
            except Full:
                self.nudges.set(None)
                self.nudges_lost.set(None)
            except ShutDown:
                pass
        if self.ended:
            return True
        try:
            done.get(timeout=timeout)
        except Empty:
            return False
        return True

    def work_here(self) -> bool:
        """Do the thread's work in a thread that flushes or closes, when no thread can be started. Return False if another does it."""
        try:
            self.claim.pop()
        except IndexError:
            return False
        self.ident = threading.get_ident()
        try:
            self.answer()
            if self.queue.is_shutdown:
                self.end()
        finally:
            self.ident = None
            self.claim.append(True)
            if not self.startable:
                self.startable.append(True)  # a thread that was being started may have found no claim, and ended
        return True

    # In the thread that ships.

    def run(self) -> None:
        try:
            self.claim.pop()
        except IndexError:
            return
        self.ident = threading.get_ident()
        while self.pid == os.getpid():  # a target may fork: the child must not ship the parent's records
            try:
                items = self.queue.get_many(self.batch, timeout=self.patience())
            except Empty:
                items = []
            except ShutDown:
                break
            self.ship(items)
            if self.asked or (self.losses and self.handler._clock.now() >= self.next_report):
                self.answer()
        if self.pid == os.getpid():
            self.end()

    def patience(self) -> float | None:
        """Return how long to wait for a record: until the next report of dropped records is due, if there is anything to report."""
        return max(0.0, self.next_report - self.handler._clock.now()) if self.losses else None

    def ship(self, items: list[Any]) -> None:
        if self.ranked:
            items = sorted(items, key=itemgetter(1))
        for item in items:
            record = self.record_of(item)
            if record is None:
                self.nudges_taken += 1
            elif self.pid != os.getpid():
                return
            elif self.hand_out(record):
                self.shipped += 1
            else:
                self.failed += 1

    def hand_out(self, record: logging.LogRecord) -> bool:
        taken = True
        for target in self.handler._targets:
            try:
                if not isinstance(target, logging.Handler):
                    target(record)
                elif record.levelno >= target.level:
                    target.handle(record)
            except BaseException:  # noqa: BLE001 - SystemExit too: the other records are not this one's hostages
                taken = False
                self.complain(record)
        return taken

    def complain(self, record: logging.LogRecord) -> None:
        try:
            self.handler.handleError(record)
        except BaseException:  # noqa: BLE001 - the thread must live on
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))

    def answer(self) -> None:
        """Ship the records that are waiting now, report what was dropped, and notify the callers of `ask`."""
        asked = [self.asked.popleft() for _ in range(len(self.asked))]
        left = self.queue.qsize()
        while left > 0:
            try:
                items = self.queue.get_many(self.batch, block=False)  # everything in a heap, because only then can it be sorted
            except (Empty, ShutDown):
                break
            left -= len(items)
            self.ship(items)
        self.report()
        self.flush_targets()
        for done in asked:
            done.put(None)

    def flush_targets(self) -> None:
        for target in self.handler._targets:
            if isinstance(target, logging.Handler):
                try:
                    target.flush()
                except BaseException:  # noqa: BLE001 - as above
                    self.complain(_record(logging.ERROR, "flushing a target of a ShippingHandler", 0))

    def report(self) -> None:
        """Report to the targets how many records have been dropped since the last report."""
        self.losses = False  # first, because a record that is dropped from here on sets it again
        lost = self.statistics().dropped_for_room - self.reported
        if lost <= 0 or self.pid != os.getpid():
            return
        self.reported += lost
        self.next_report = self.handler._clock.now() + self.handler._report_every
        text = "1 record was dropped: the queue was full" if lost == 1 else f"{lost} records were dropped: the queue was full"
        record = _record(self.handler._report_level, text, lost)
        try:
            record = self.handler.prepare(record)
        except Exception:  # noqa: BLE001 - a formatter's: told as it stands
            self.complain(record)
        self.hand_out(record)
        self.reports += 1

    def end(self) -> None:
        self.report()
        self.flush_targets()
        self.ended = True  # before the last look at `asked`: a caller that comes later sees it
        while self.asked:
            self.asked.popleft().put(None)

    def give_up(self) -> int:
        """Drop the waiting records, and return their number."""
        lost = 0
        while True:
            try:
                items = self.queue.get_many(self.batch, block=False)
            except (Empty, ShutDown):
                return lost
            for item in items:
                if self.record_of(item) is not None:
                    self.closed.set(None)
                    lost += 1

    def statistics(self) -> ShippingStatistics:
        queued = self.queue.statistics()
        nudges_lost = self.nudges_lost.version
        dropped = {
            "dropped_newest": queued.dropped_newest,
            "dropped_oldest": queued.dropped_oldest,
            "dropped_lowest": queued.dropped_lowest,
            "dropped_sampled": queued.dropped_sampled,
            "rejected": queued.rejected,
        }
        left = nudges_lost
        for kind, count in dropped.items():  # a policy drops in one way; a wake-up item was no record
            dropped[kind] = count - min(left, count)
            left -= min(left, count)
        return ShippingStatistics(
            waiting=max(0, queued.size - self.nudges.version + self.nudges_taken + nudges_lost),
            maxsize=queued.maxsize,
            shipped=self.shipped,
            failed=self.failed + self.unformatted.version,
            reports=self.reports,
            closed=self.closed.version,
            from_target=self.from_target,
            **dropped,
        )


def _record(level: int, text: str, dropped: int) -> logging.LogRecord:
    record = logging.LogRecord("sluicegate.logging", level, __file__, 0, text, None, None)
    record.dropped = dropped
    return record


def _flush_by(handler: weakref.ref[ShippingHandler]) -> None:
    alive = handler()
    if alive is not None:
        alive.flush()


def _flush_when_multiprocessing_ends(handler: ShippingHandler) -> None:
    """Flush at the end of a child of multiprocessing, which exits without `atexit`, so that logging does not flush."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing import util

        # 20: before the multiprocessing queues are closed, because a target may use one of them.
        util.Finalize(None, _flush_by, args=(weakref.ref(handler),), exitpriority=20)


class ShippingHandler(logging.Handler):
    """A logging handler that never waits: a thread of its own hands the records to `target`.

    A record is formatted in the thread that logs it, put into a queue that holds up to `maxsize` records, and handed to the target by
    one daemon thread, in the order in which the records came. The thread starts with the first record.

    `target` is a handler, a function that is called with each record, or several of them in a list or tuple. A handler gets the
    records of its level and above. What a target raises goes to `handleError`, and the next record follows. Records that a target logs
    to this handler while it takes a record are not shipped, or there would be no end: they are counted, as `from_target`.

    `overflow` says what happens to a record that finds the queue full:

    * `"drop_newest"`: it is dropped.
    * `"drop_oldest"`: it takes the place of the record that has waited longest.
    * `"drop_lowest"`: it takes the place of a record of the lowest level, the newest of those, unless its own level is not higher.
      The thread takes all waiting records at once, so up to twice `maxsize` records are in memory.
    * `"reject"`: it is refused. The difference to `"drop_newest"` is the name under which it is counted.
    * `Sample(n)`: one in `n` takes the place of the oldest, the others are dropped.

    The number of records dropped is sent to the target as a record of its own, of the level `report_level` and with the attribute
    `dropped`: at most every `report_every` seconds, and by `flush` and `close`. It is also in `dropped` and `statistics()`.

    `flush` and `close` wait up to `flush_timeout` seconds; None is for as long as it takes. logging calls both when the interpreter
    exits. A forked child has a queue and a thread of its own, and starts with none of the records of its parent.

    Raises ValueError for a `maxsize` below 1, an unknown policy, or `overflow="block"`; TypeError for a target that is not one, or is a
    coroutine function, and for another argument of the wrong type.
    """

    lock: Any  # always None

    def __init__(
        self,
        target: Target | Iterable[Target],
        maxsize: int = 1000,
        overflow: Overflow = "drop_newest",
        flush_timeout: _Seconds | None = 5.0,
        report_every: _Seconds = 60.0,
        *,
        report_level: int = logging.WARNING,
        level: int | str = logging.NOTSET,
        clock: Clock | None = None,
    ) -> None:
        self._targets = _targets(target)
        if isinstance(maxsize, bool) or not isinstance(maxsize, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"maxsize must be an integer, not {type(maxsize).__name__}")
        if maxsize < 1:
            raise ValueError(f"maxsize must be at least 1, not {maxsize!r}: logging that never waits needs a bound on what it keeps")
        if overflow == "block":
            raise ValueError('overflow="block" would make the program wait for its log; choose what to drop')
        if not isinstance(overflow, Sample) and overflow not in _POLICIES:
            raise ValueError(f"overflow must be one of {', '.join(map(repr, _POLICIES))}, or a Sample, not {overflow!r}")
        self._maxsize = maxsize
        self._overflow: Overflow = overflow
        self._flush_timeout = None if flush_timeout is None else _seconds("flush_timeout", flush_timeout)
        self._report_every = _seconds("report_every", report_every)
        if not isinstance(report_level, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"report_level must be a number, such as logging.ERROR, not {report_level!r}")
        self._report_level = report_level
        self._clock = Clock() if clock is None else clock
        super().__init__(level)
        self._shipper = _Shipper(self, maxsize, overflow)

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Make no lock: the queue needs none, and a lock held during `flush` would block every thread that logs."""
        self.lock = None

    def _here(self) -> _Shipper:
        """Return the shipper of this process."""
        shipper = self._shipper
        if shipper.pid == os.getpid():
            return shipper
        made = shipper.next_shippers.setdefault(os.getpid(), _Shipper(self, self._maxsize, self._overflow))
        if shipper.queue.is_shutdown:
            made.queue.shutdown()
        self._shipper = made
        return made

    def handle(self, record: logging.LogRecord) -> Any:
        """Emit the record unless a filter rejects it. Unlike other handlers, it takes no lock."""
        passed: Any = self.filter(record)  # since Python 3.12 a filter may return another record
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Format the record and put it into the queue. Never waits."""
        shipper = self._here()
        if shipper.ident == threading.get_ident():
            shipper.from_target += 1
            return
        try:
            shipper.put(self.prepare(record), record.levelno)
        except Exception:  # noqa: BLE001 - as every handler of logging does
            shipper.unformatted.set(None)
            self.handleError(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return a copy of the record whose message is complete, with its arguments, traceback and stack merged in.

        Called in the thread that logs, so what happens to the arguments later does not matter. The same as
        `logging.handlers.QueueHandler.prepare`; on every Python the stack is merged in once.
        """
        text = self.format(record)
        prepared = copy.copy(record)
        prepared.message = prepared.msg = text
        prepared.args = prepared.exc_info = prepared.exc_text = prepared.stack_info = None
        return prepared

    @property
    def dropped(self) -> int:
        """The number of records dropped in this process, for whatever reason; the reasons are in `statistics()`."""
        return self.statistics().dropped

    def statistics(self) -> ShippingStatistics:
        """Return a snapshot of what the handler has shipped and dropped in this process."""
        return self._here().statistics()

    def flush(self) -> None:
        """Wait until the target has taken all records that are waiting, and has been flushed; up to `flush_timeout` seconds.

        What has been dropped is reported first. Records that come meanwhile are not waited for. When time is over the records stay in
        the queue. Does nothing in a target.
        """
        shipper = self._here()
        if not shipper.ask(self._flush_timeout):
            shipper.gave_up_at = shipper.shipped + shipper.failed

    def close(self) -> None:
        """Ship what is waiting, report what was dropped, and end the thread; up to `flush_timeout` seconds.

        What is still waiting then is lost, which is counted and said on standard error. Records that come later are counted, as
        `closed`. The targets are flushed, and not closed. It can be called again.
        """
        shipper = self._here()
        shipper.queue.shutdown()
        # If a flush has just timed out, as happens when the interpreter exits, do not wait a second time for the same record.
        stuck = shipper.gave_up_at == shipper.shipped + shipper.failed
        if not shipper.ask(0 if stuck else self._flush_timeout):
            lost = shipper.give_up()
            if lost and not shipper.told and logging.raiseExceptions and sys.stderr is not None:
                shipper.told = True
                what = "1 log record was" if lost == 1 else f"{lost} log records were"
                told = f"{what} lost: the target of a ShippingHandler was too slow\n"
                with contextlib.suppress(OSError, ValueError):  # as in logging: there is nowhere left to report it
                    sys.stderr.write(told)
        super().close()


class QueueListener(logging.handlers.QueueListener):
    """The standard library's `QueueListener`, for queues that drop.

    `stop` shuts the queue down and waits until what is in it has been handled. The standard library's puts a sentinel instead, without
    waiting for room, and then waits for its thread: a queue that drops or sheds the sentinel makes it wait for ever.

    A queue that is shut down takes no records any more, so the listener cannot be started again. Raises TypeError for a queue without
    `shutdown`.
    """

    def __init__(self, queue: Any, *handlers: logging.Handler, respect_handler_level: bool = False) -> None:
        if not callable(getattr(queue, "shutdown", None)):
            raise TypeError(f"a {type(queue).__name__} has no shutdown(), by which this listener ends; logging.handlers' uses a sentinel")
        self._shut_down: Callable[[], object] = queue.shutdown
        super().__init__(queue, *handlers, respect_handler_level=respect_handler_level)

    def start(self) -> None:
        """Start the thread. Raises RuntimeError after `stop`."""
        if getattr(self.queue, "is_shutdown", False):
            raise RuntimeError("the listener has been stopped and its queue shut down; make a new queue and a new listener")
        super().start()

    def dequeue(self, block: bool) -> logging.LogRecord:
        """Return the next record. At the end it raises `queue.Empty`, which ends the thread."""
        try:
            return super().dequeue(block)
        except _ENDINGS:
            raise _queue.Empty from None

    def enqueue_sentinel(self) -> None:
        """Shut the queue down."""
        self._shut_down()

    def stop(self) -> None:
        """Shut the queue down, and wait until what is in it has been handled. It can be called again."""
        if getattr(self, "_thread", None) is not None:
            super().stop()


_ENDINGS: tuple[type[Exception], ...] = (ShutDown, getattr(_queue, "ShutDown", ShutDown))


def _is_target(target: Any) -> bool:
    if isinstance(target, logging.Handler):
        return True
    if not callable(target):
        return False
    if isinstance(target, type) and issubclass(target, logging.Handler):  # each record would make a handler, which would be dropped
        name = target.__name__
        raise TypeError(f"a target must be a handler or a function, not the class {name}: give an object of it, {name}(...)")
    _refuse_coroutine_function("target", target)
    return True


def _targets(target: Any) -> tuple[Target, ...]:
    if _is_target(target):
        return (target,)
    if isinstance(target, dict):
        raise TypeError(
            "target is a dict: if it is a handler of logging.config (cfg://handlers.NAME), that is not configured yet;"
            " handlers are configured in the order of their names"
        )
    if isinstance(target, (str, bytes)) or not isinstance(target, Iterable):
        raise TypeError(f"target must be a handler, a function, or several of them, not {type(target).__name__}")
    targets: tuple[Any, ...] = tuple(target)
    for each in targets:
        if not _is_target(each):
            raise TypeError(f"each target must be a handler or a function, not {type(each).__name__}")
    if not targets:
        raise ValueError("there must be a target")
    return targets


def _seconds(what: str, value: _Seconds) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds: float = value
    elif not isinstance(value, (int, float)) and hasattr(value, "total_seconds"):  # datetime is not imported for this
        seconds = value.total_seconds()
    else:
        raise TypeError(f"{what} must be a number of seconds or a timedelta, not {type(value).__name__}")
    if not seconds >= 0:
        raise ValueError(f"{what} must not be negative, nor NaN, and not {value!r}")
    return float(seconds)
