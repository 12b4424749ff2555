"""A client of a server that answers 429 above its limit: how often it hears that depends on how it limits itself.

The server runs in this process, on a port of its own. It lets through at most LIMIT requests in any PERIOD, counted at
the moment they arrive, and answers the others with 429 and Retry-After. The client is threads and asyncio tasks that
fetch pages until they have all, and that wait as long as a 429 says. It is run with

    none     no limiter: each worker finds out for itself
    bucket   one TokenBucket(LIMIT, burst=LIMIT) for all: a full bucket and its refill together are more than LIMIT
    window   one SlidingWindow(LIMIT, PERIOD + MARGIN) for all: what a quota like the server's asks for
    answer   a SlidingWindow(1, PERIOD) for each of LIMIT workers, which begins to count when the answer is there

Why the margin? The limiter counts when it lets a request go, the server when the request arrives. If every request took
equally long, that would make no difference. But one that is held up and one that is quick arrive closer together than
they left. So two requests must leave further apart than a PERIOD by as much as their ways may differ, and that is
MARGIN. No margin is large enough for every network; `answer` needs none, because a request has been counted before its
answer is there. It pays with the time that the answers take.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import io
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sluicegate import Queue, RateLimiter, SlidingWindow, TokenBucket

HOST = "127.0.0.1"
PATIENCE = 30.0  # seconds for one answer

# The server.


class Quota:
    """At most `limit` requests in any `period`, counted as they arrive; those that are refused do not count."""

    def __init__(self, limit: int, period: float) -> None:
        self.limit = limit
        self.period = period
        self.arrivals: list[float] = []
        self.refused = 0
        self._accepted: deque[float] = deque()
        self._lock = threading.Lock()

    def ask(self) -> float | None:
        """Let a request through (None), or say in how many seconds there is room."""
        with self._lock:
            now = time.monotonic()
            self.arrivals.append(now)
            while self._accepted and self._accepted[0] <= now - self.period:
                self._accepted.popleft()
            if len(self._accepted) < self.limit:
                self._accepted.append(now)
                return None
            self.refused += 1
            return self._accepted[0] + self.period - now

    def busiest(self) -> int:
        """Return how many requests arrived in the busiest period, the refused ones with them."""
        most = first = 0
        for last, arrival in enumerate(self.arrivals):
            while self.arrivals[first] <= arrival - self.period:
                first += 1
            most = max(most, last - first + 1)
        return most


class Server(ThreadingHTTPServer):
    """Serves pages as long as the quota lets it."""

    request_queue_size = 128

    def __init__(self, quota: Quota) -> None:
        super().__init__((HOST, 0), Handler)
        self.quota = quota


class Handler(BaseHTTPRequestHandler):
    """Answers 200, or 429 with Retry-After (which is in whole seconds)."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body of an answer in one packet

    def do_GET(self) -> None:
        """Answer a request."""
        assert isinstance(self.server, Server)  # noqa: S101 - tells type checkers what it is
        wait = self.server.quota.ask()
        body = b"too many requests\n" if wait is not None else f"this is {self.path}\n".encode()
        self.send_response(200 if wait is None else 429)
        if wait is not None:
            self.send_header("Retry-After", str(math.ceil(wait)))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


# The client.


@dataclass(frozen=True)
class Plan:
    """How the workers limit themselves: the limiter that each of them uses, and how long it rests after an answer."""

    limiter: Callable[[], RateLimiter]
    rest: float = 0.0


def make_plan(name: str, limit: int, period: float, margin: float) -> Plan:
    """Return one of the four plans."""
    shared: RateLimiter
    if name == "none":
        return Plan(lambda: TokenBucket(10**6, burst=10**6))  # lets everything through, but its worker can pause it
    if name == "bucket":
        shared = TokenBucket(limit, burst=limit, period=period)
        return Plan(lambda: shared)
    if name == "window":
        shared = SlidingWindow(limit, period + margin)
        return Plan(lambda: shared)
    return Plan(lambda: SlidingWindow(1, period), rest=period)


def work_in_thread(pages: Queue[str], plan: Plan, port: int) -> None:
    """Fetch pages from a thread."""
    limiter = plan.limiter()
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    connection.connect()
    for page in pages:
        status = 0
        while status != 200:
            with limiter:
                connection.request("GET", page)
                response = connection.getresponse()
                response.read()
            status = response.status
            learn(limiter, plan, status, response.headers)
    connection.close()


async def work_in_task(pages: Queue[str], plan: Plan, port: int) -> None:
    """Fetch pages from a coroutine: the same lines, with `async` and `await`."""
    limiter = plan.limiter()
    reader, writer = await asyncio.open_connection(HOST, port)
    async for page in pages:
        status = 0
        while status != 200:
            async with limiter:
                writer.write(f"GET {page} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
                status, headers = await read_response(reader)
            learn(limiter, plan, status, headers)
    writer.close()
    await writer.wait_closed()


async def read_response(reader: asyncio.StreamReader) -> tuple[int, http.client.HTTPMessage]:
    """Read an answer, as much of HTTP as this server speaks."""
    status = int((await reader.readline()).split()[1])
    headers = http.client.parse_headers(io.BytesIO(await reader.readuntil(b"\r\n\r\n")))
    await reader.readexactly(int(headers["Content-Length"]))
    return status, headers


def learn(limiter: RateLimiter, plan: Plan, status: int, headers: http.client.HTTPMessage) -> None:
    """Do what an answer asks for. A shared limiter pauses for all its workers at once."""
    if plan.rest:
        limiter.pause_for(plan.rest)
    if status == 429:
        limiter.pause_for(float(headers["Retry-After"]))


# The run.


def run(name: str, options: argparse.Namespace) -> str:
    """Fetch all pages with one of the plans; return the line of the table."""
    quota = Quota(options.limit, options.period)
    plan = make_plan(name, options.limit, options.period, options.margin)
    pages: Queue[str] = Queue()
    pages.put_many(f"/page/{number}" for number in range(options.pages))
    pages.shutdown()  # the workers take what is there, and then leave
    with Server(quota) as server:
        port = server.server_port
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        serving.start()
        started = time.monotonic()
        crew = [threading.Thread(target=work_in_thread, args=(pages, plan, port)) for _ in range(options.threads)]
        for thread in crew:
            thread.start()

        async def tasks() -> None:
            await asyncio.gather(*(work_in_task(pages, plan, port) for _ in range(options.tasks)))

        asyncio.run(tasks())
        for thread in crew:
            thread.join()
        seconds = time.monotonic() - started
        server.shutdown()
    fetched = len(quota.arrivals) - quota.refused
    return f"{name:<8}{fetched:>7}{quota.refused:>7}{quota.busiest():>12}{seconds:>10.1f}"


def parse() -> argparse.Namespace:
    """Read the command line."""
    summary = "Fetch pages from a server that answers 429 above its limit."
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--limiter", choices=("none", "bucket", "window", "answer", "all"), default="all", help="default: %(default)s")
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="requests in a period; default: %(default)s")
    parser.add_argument("--period", type=float, default=1.0, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument("--margin", type=float, default=0.1, metavar="SECONDS", help="of the window; default: %(default)s")
    parser.add_argument("--pages", type=int, default=40, metavar="N", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=5, metavar="N", help="workers; default: %(default)s")
    parser.add_argument("--tasks", type=int, default=5, metavar="N", help="workers too; default: %(default)s")
    options = parser.parse_args()
    if options.limiter in {"answer", "all"} and options.threads + options.tasks > options.limit:
        parser.error("'answer' needs as few workers as the server's limit, or fewer")
    return options


def main() -> None:
    """Print the table."""
    options = parse()
    print(
        f"at most {options.limit} requests in any {options.period:g} s; "
        f"{options.pages} pages, {options.threads} threads and {options.tasks} tasks\n"
    )
    print("limiter   pages   429s   at worst   seconds")
    for name in ("none", "bucket", "window", "answer") if options.limiter == "all" else (options.limiter,):
        print(run(name, options), flush=True)
    print(f"\nat worst: requests that arrived in the busiest {options.period:g} s, refused ones included")


if __name__ == "__main__":
    main()
