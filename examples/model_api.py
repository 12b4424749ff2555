"""A client of an API for a language model: requests and tokens a minute, a price that is known afterwards, 429s and failures.

The server runs in this process, on a port of its own, and behaves like the large ones: it allows so many requests and so many tokens in a
period (of one second here, so that the example is short), answers 429 with Retry-After above that, is overloaded now and then (503), and
says in its answer how many tokens it has counted. The client asks many prompts from several threads, once with plain retries and once with

    limits   RateLimits(requests=..., tokens=...): takes an estimate and settles with what the answer says
    guard    Guard(total=..., retry=..., breaker=..., concurrency=...): what is done when the server says no

and counts how often it was told no, and what it has not got an answer to.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sluicegate import (
    Backoff,
    CircuitBreaker,
    Guard,
    RateLimits,
    Retry,
    RetryBudget,
    Semaphore,
    SlidingWindow,
    map_bounded,
)

HOST = "127.0.0.1"
PERIOD = 1.0
AT_MOST = 100  # tokens that an answer may have

# The server.


class Quota:
    """At most `limit` in any period, counted when a request arrives."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken: list[tuple[float, int]] = []

    def room_in(self, n: int, now: float) -> float:
        """Return the seconds until there is room for `n` more."""
        self.taken = [each for each in self.taken if each[0] > now - PERIOD]
        over = sum(count for _, count in self.taken) + n - self.limit
        for arrived, count in self.taken:
            if over <= 0:
                break
            over -= count
            wait = arrived + PERIOD - now
            if over <= 0:
                return wait
        return 0.0


class Server(ThreadingHTTPServer):
    """Counts what it has answered."""

    request_queue_size = 128

    def __init__(self, requests: int, tokens: int) -> None:
        super().__init__((HOST, 0), Handler)
        self.requests, self.tokens = Quota(requests), Quota(tokens)
        self.lock = threading.Lock()
        self.chance = random.Random(7)  # noqa: S311 - which requests fail, the same in each run
        self.answered = {200: 0, 429: 0, 503: 0}

    def admit(self, estimate: int) -> tuple[int, float]:
        """Return the status of the answer, and when to come back."""
        with self.lock:
            now = time.monotonic()
            wait = max(self.requests.room_in(1, now), self.tokens.room_in(estimate, now))
            status = 429 if wait > 0 else 503 if self.chance.random() < 0.03 else 200
            if status == 200:
                self.requests.taken.append((now, 1))
                self.tokens.taken.append((now, estimate))
            self.answered[status] += 1
            return status, wait

    def settle(self, estimate: int, used: int) -> None:
        """Count what was used instead of what was estimated."""
        with self.lock:
            self.tokens.taken.append((time.monotonic(), used - estimate))


class Handler(BaseHTTPRequestHandler):
    """Answers a prompt with some words."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        """Answer a request."""
        server: Any = self.server
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        estimate = len(asked["prompt"].split()) + asked["max_tokens"]
        status, wait = server.admit(estimate)
        answer: dict[str, Any] = {"error": "try again later"}
        if status == 200:
            time.sleep(0.02)  # the model
            used = estimate - asked["max_tokens"] + server.chance.randrange(10, asked["max_tokens"])
            server.settle(estimate, used)
            answer = {"text": f"about {asked['prompt']}", "usage": used}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", f"{wait:.3f}")  # a fraction, as some of them send it
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


# The client.


class Unavailable(Exception):
    """The server's answer was not 200. `retry_after` is what it asks for, as it came."""

    def __init__(self, status: int, retry_after: str | None) -> None:
        super().__init__(f"status {status}")
        self.status, self.retry_after = status, retry_after


class Client:
    """Asks prompts, from any number of threads."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, prompt: str) -> tuple[str, int]:
        """Return the answer, and the tokens that it has cost. Raises Unavailable."""
        with contextlib.closing(http.client.HTTPConnection(HOST, self.port, timeout=10)) as connection:
            connection.request("POST", "/v1/answers", json.dumps({"prompt": prompt, "max_tokens": AT_MOST}))
            response = connection.getresponse()
            answer = json.loads(response.read())
        if response.status != 200:
            raise Unavailable(response.status, response.headers["Retry-After"])
        return answer["text"], answer["usage"]


def plain(client: Client) -> Any:
    """Retry, as most programs do: after a fixed time, some times."""

    def ask(prompt: str) -> str | None:
        for _ in range(10):
            try:
                return client.ask(prompt)[0]
            except Unavailable:
                time.sleep(0.1)
        return None

    return ask


def guarded(client: Client, requests: int, tokens: int) -> Any:
    """Take what an attempt may cost before it is made, and settle with what it has cost."""
    limits = RateLimits(
        # A little longer than the server's period: two requests may arrive closer together than they left.
        requests=SlidingWindow(requests, PERIOD * 1.1),
        tokens=SlidingWindow(tokens, PERIOD * 1.1),
    )
    guard = Guard(
        total=60,
        retry=Retry(8, on=Unavailable, backoff=Backoff(0.05, 2), budget=RetryBudget(reserve=50)),
        breaker=CircuitBreaker(failure=lambda error: isinstance(error, Unavailable) and error.status >= 500),
        concurrency=Semaphore(8),
        name="model",
    )

    @guard
    def ask(prompt: str) -> str:
        with limits.permit(requests=1, tokens=len(prompt.split()) + AT_MOST, timeout=guard.remaining) as permit:
            try:
                text, used = client.ask(prompt)
            except Unavailable as error:
                permit.refund()  # the server does not count what it refuses
                if error.retry_after is not None:
                    limits.pause_for(error.retry_after)  # for all threads
                raise
            permit.settle(tokens=used)
            return text

    return ask


def run(name: str, options: argparse.Namespace) -> str:
    """Ask all prompts in one of the two ways; return the line of the table."""
    with Server(options.requests, options.tokens) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        client = Client(server.server_port)
        ask = plain(client) if name == "plain" else guarded(client, options.requests, options.tokens)
        prompts = [f"prompt number {number}" for number in range(options.prompts)]
        started = time.monotonic()
        with map_bounded(ask, prompts, workers=options.workers) as answers:
            unanswered = sum(answer is None for answer in answers)
        seconds = time.monotonic() - started
        server.shutdown()
        counts = server.answered
    return f"{name:<8}{counts[200]:>9}{counts[429]:>7}{counts[503]:>7}{unanswered:>12}{seconds:>10.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Ask an API that limits requests and tokens.")
    parser.add_argument("--prompts", type=int, default=120, metavar="N", help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=16, metavar="N", help="threads; default: %(default)s")
    parser.add_argument("--requests", type=int, default=50, metavar="N", help="in a period; default: %(default)s")
    parser.add_argument("--tokens", type=int, default=3000, metavar="N", help="in a period; default: %(default)s")
    options = parser.parse_args()
    print(f"{options.prompts} prompts, at most {options.requests} requests and {options.tokens} tokens in any {PERIOD:g} s\n")
    print("client    answers   429s   503s  unanswered   seconds")
    for name in ("plain", "guarded"):
        print(run(name, options), flush=True)


if __name__ == "__main__":
    main()
