"""The row about files: ways to bring their lines to a consumer, beside a Python loop that puts them on our own queue."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sluicegate

from .. import harness
from ..model import OURS, Contender, Row, Run, Sample

WINDOW = 16_384
BATCH = 4096
LOOP = "a loop, sluicegate.Queue"


@contextmanager
def file_of(lines: int) -> Generator[Path]:
    """A file of that many lines of 55 bytes, just written: it is read from memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lines")
        with path.open("w") as file:
            file.writelines(f"{number:08d} {'abcdefghij ' * 4}x\n" for number in range(lines))
        yield path


def natively(n: int) -> Sample:
    """`sluicegate.io` reads into a credit channel, a thread takes what is there."""
    from sluicegate.io import read_lines  # an extension built without it has the other rows

    with file_of(n) as path:
        channel = sluicegate.CreditChannel[str](WINDOW)

        def take() -> None:
            running, left = read_lines(path, channel.sender), n
            while left:
                left -= len(channel.receiver.receive_many(BATCH))
            running.result(harness.LIMIT)

        return harness.run_threads([take], n)


def by_a_loop(make: Callable[[], Any], get: Callable[[Any], int]) -> Run:
    """A thread reads line by line and puts each on a queue, another takes what is there."""

    def run(n: int) -> Sample:
        with file_of(n) as path:
            q = make()

            def read() -> None:
                put = q.put
                with path.open() as file:
                    for line in file:
                        put(line)

            def take() -> None:
                left = n
                while left:
                    left -= get(q)

            return harness.run_threads([read, take], n)

    return run


def many(q: Any) -> int:
    """Take what is there."""
    return len(q.get_many(BATCH))


def one(q: Any) -> int:
    """Take one line."""
    q.get()
    return 1


ROWS = (
    Row(
        "lines",
        f"lines of a file to one consumer, window {WINDOW}",
        (
            Contender(OURS, natively),
            Contender(LOOP, by_a_loop(lambda: sluicegate.Queue[Any](WINDOW), many), peer=False),
            Contender("a loop, queue.Queue", by_a_loop(lambda: queue.Queue[Any](WINDOW), one)),
        ),
        least=500_000,
        contended=True,
        gain="Read natively, {rate} lines of a file a second reached their consumer",
    ),
)
