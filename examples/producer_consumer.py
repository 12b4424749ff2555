"""A fast producer and a slow consumer: 20 items at 10 a second, consumed at 2 a second, and 3 may wait in between.

The producer runs ahead until the buffer is full. From then on it is as fast as the consumer, and never more than the buffer and
the consumer's own item ahead.

    python examples/producer_consumer.py
    python examples/producer_consumer.py --speed 20      # in half a second instead of ten
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from sluicegate import Pipeline, produce

T = TypeVar("T")


class DataPipeline:
    """The whole of it: a producer, a buffer, a consumer."""

    def __init__(self, buffer_size: int) -> None:
        self.buffer_size = buffer_size

    def start(self, producer: Callable[[], Iterator[T]], consumer: Callable[[T], object]) -> None:
        """Run to the end."""
        Pipeline(produce(producer)).buffer(self.buffer_size).for_each(consumer, buffer=0).run()


def main() -> None:
    """Show both sides."""
    parser = argparse.ArgumentParser(description="A fast producer and a slow consumer.")
    parser.add_argument("--speed", type=float, default=1.0, metavar="N", help="N times as fast; default: %(default)s")
    speed: float = parser.parse_args().speed
    produced, consumed = 0, 0

    def producer() -> Iterator[int]:
        nonlocal produced
        for number in range(1, 21):
            time.sleep(0.1 / speed)
            produced = number
            print(f"produced {number:2}   {'#' * (produced - consumed)}\n", end="", flush=True)
            yield number

    def consumer(number: int) -> None:
        nonlocal consumed
        time.sleep(0.5 / speed)
        consumed = number
        print(f"            consumed {number:2}\n", end="", flush=True)

    DataPipeline(buffer_size=3).start(producer, consumer)
    print(f"produced {produced}, consumed {consumed}")


if __name__ == "__main__":
    main()
