"""An ASGI application under more load than it can bear, with a `ConcurrencyLimitMiddleware` and without.

The application asks a database that works on ten queries at once and takes 50 ms for each: it can answer 200 requests a second. Clients
come at random, whether or not the earlier ones have been answered, and give up after half a second. The application does not notice that,
and answers them all the same, as most do. So what counts is the goodput: the answers a second that came while somebody still waited for
them.

It runs in virtual time: twenty seconds take one or two, and show the same each time.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import selectors
from collections.abc import Callable
from typing import Any

from sluicegate import Semaphore
from sluicegate.http.asgi import ConcurrencyLimitMiddleware
from sluicegate.testing import ManualClock

WORKERS = 10
QUERY = 0.05
PATIENCE = 0.5
STEP = 0.001


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that does not wait: where it would, its time goes on, a millisecond at a time, and the clock of sluicegate with it."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        """Return the clock's time."""
        return self._clock.now()


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        """Let the time go on, and return what is ready."""
        if timeout is None or timeout > 0:
            self._clock.advance(STEP if timeout is None else min(timeout, STEP))
        return super().select(0)


class Shop:
    """The application."""

    def __init__(self) -> None:
        self.database = asyncio.Semaphore(WORKERS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        async with self.database:
            await asyncio.sleep(QUERY)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1.50"})


class Load:
    """Clients, `rate` of them a second, and what became of them."""

    def __init__(self, rate: float, seconds: float) -> None:
        self.rate, self.seconds = rate, seconds
        self.in_time: list[float] = []
        self.late = self.refused = 0

    async def one(self, app: Callable[..., Any]) -> None:
        """Make one request."""
        begin = asyncio.get_running_loop().time()
        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await app({"type": "http", "method": "GET", "path": "/", "client": ("203.0.113.9", 5), "headers": []}, None, send)
        took = asyncio.get_running_loop().time() - begin
        if statuses != [200]:
            self.refused += 1
        elif took <= PATIENCE:
            self.in_time.append(took)
        else:
            self.late += 1

    async def run(self, make: Callable[[], Any]) -> None:
        """Make them all, and wait for the last answer."""
        chance = random.Random(1)  # noqa: S311  # clients, not secrets
        app, loop = make(), asyncio.get_running_loop()
        requests: list[asyncio.Task[None]] = []
        end = loop.time() + self.seconds
        while loop.time() < end:
            await asyncio.sleep(chance.expovariate(self.rate))
            requests.append(asyncio.create_task(self.one(app)))
        await asyncio.gather(*requests)

    def median(self) -> str:
        """Return how long the answers took that came in time."""
        return f"{sorted(self.in_time)[len(self.in_time) // 2] * 1000:.0f} ms" if self.in_time else "-"


def plain() -> Any:
    """Return the application as it is."""
    return Shop()


def limited() -> Any:
    """Return the application with a limit."""
    # As many as the database works on, and as many more as it needs to have the next one at hand.
    return ConcurrencyLimitMiddleware(Shop(), Semaphore(2 * WORKERS), max_wait=0.1)


def simulate(make: Callable[[], Any], rate: float, seconds: float) -> Load:
    """Run one load in a time of its own."""
    load, clock = Load(rate, seconds), ManualClock()
    loop = VirtualLoop(clock)
    try:
        with clock:
            loop.run_until_complete(load.run(make))
    finally:
        loop.close()
    return load


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long clients come (default: %(default)s)")
    seconds = parser.parse_args().seconds
    capacity = WORKERS / QUERY
    print(f"{capacity:.0f} requests a second can be answered; {seconds:g} seconds of load")
    print(f"{'':>9} | {'without':^25} | {'with the middleware':^37}")
    print(
        f"{'offered/s':>9} | {'in time/s':>9} {'late/s':>7} {'median':>7} | {'in time/s':>9} {'late/s':>8} {'refused/s':>9} {'median':>8}"
    )
    for share in (0.5, 0.9, 1.2, 2.0, 4.0):
        without, with_it = (simulate(make, share * capacity, seconds) for make in (plain, limited))
        left = f"{len(without.in_time) / seconds:9.0f} {without.late / seconds:7.0f} {without.median():>7}"
        told = f"{with_it.late / seconds:8.0f} {with_it.refused / seconds:9.0f} {with_it.median():>8}"
        print(f"{share * capacity:9.0f} | {left} | {len(with_it.in_time) / seconds:9.0f} {told}")


if __name__ == "__main__":
    main()
