"""Requests that come one by one, and a model that is faster with many at once.

A `Batcher` collects what many coroutines ask for, for 5 ms at most, and gives it to the model as one list. The model here is a
stand-in that takes 10 ms, however long the list is.

    python examples/batch_inference.py
    python examples/batch_inference.py --requests 1000 --clients 100
"""

from __future__ import annotations

import argparse
import asyncio
import time

from sluicegate import Batcher, Pipeline


class Model:
    """Says how many vowels there are in a text."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict(self, texts: list[str]) -> list[int]:
        """Take 10 ms, however many texts there are."""
        time.sleep(0.01)
        self.batches.append(len(texts))
        return [sum(letter in "aeiou" for letter in text) for text in texts]


async def serve(model: Model, requests: int, clients: int) -> list[int]:
    """Answer that many requests, from so many clients at a time."""
    async with Batcher(model.predict, max=64, linger=0.005, max_pending=1000) as score:
        answers = Pipeline(f"request number {number}" for number in range(requests)).map(score.submit_async, workers=clients)
        return [answer async for answer in answers]


def main() -> None:
    """Compare with one call of the model for each request."""
    parser = argparse.ArgumentParser(description="Requests that come one by one, and a model that is faster with many.")
    parser.add_argument("--requests", type=int, default=500, metavar="N", help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=50, metavar="N", help="default: %(default)s")
    arguments = parser.parse_args()
    model = Model()
    begun = time.monotonic()
    answers = asyncio.run(serve(model, arguments.requests, arguments.clients))
    seconds = time.monotonic() - begun
    print(f"{len(answers)} answers from {len(model.batches)} calls of the model, at most {max(model.batches)} texts in one")
    print(f"{seconds:.2f} s; one by one the model alone would take {len(answers) * 0.01:.2f} s")


if __name__ == "__main__":
    main()
