"""A crawler: workers that feed their own queue, with limits for each host.

Two servers run in this process, each with pages that link to each other. The crawler begins at one page and follows every link:

- `frontier.working()` gives each worker pages until there are none left and nobody can find more; so nobody has to say when it is over;
- a `KeyedSemaphore` lets at most 2 requests at a time go to each host;
- a `KeyedSlidingWindow` lets at most so many requests in a second go to each host.

    python examples/crawler.py
    python examples/crawler.py --pages 200 --per-second 50
"""

from __future__ import annotations

import argparse
import re
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from sluicegate import KeyedSemaphore, KeyedSlidingWindow, Queue

AT_ONCE = 2


def crawl(start: str, workers: int, per_second: int, fetch: Callable[[str], str]) -> set[str]:
    """Fetch a page and all pages that it leads to; return their addresses."""
    frontier: Queue[str] = Queue()  # without a bound: the workers put into it
    seen, lock = {start}, threading.Lock()
    slots = KeyedSemaphore(AT_ONCE, max_keys=10_000)
    windows = KeyedSlidingWindow(per_second, period=1.0, max_keys=10_000)

    def work() -> None:
        with frontier.working() as pages:
            for page in pages:
                host = urlsplit(page).netloc
                with slots.permit(host):
                    windows.acquire(host)
                    text = fetch(page)
                with lock:
                    found = set(re.findall(r'href="(.*?)"', text)) - seen
                    seen.update(found)
                frontier.put_many(list(found))

    frontier.put(start)
    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(work) for _ in range(workers)]:
            future.result()
    return seen


class Site:
    """A server whose pages link to a few others, here and on the other site, and that knows how many requests it had at a time."""

    def __init__(self, pages: int) -> None:
        self.others: list[Site] = []
        self.requests: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        site = self

        class Handler(BaseHTTPRequestHandler):
            """Serves one page."""

            def do_GET(self) -> None:
                """Answer."""
                with site.lock:
                    site.requests[self.path] += 1
                    site.at_once += 1
                    site.most_at_once = max(site.most_at_once, site.at_once)
                time.sleep(0.002)
                number = int(self.path.removeprefix("/"))
                links = [f"{other.address}/{2 * number + side}" for side in (1, 2) for other in site.others if 2 * number + side < pages]
                body = "".join(f'<a href="{link}">' for link in links).encode()
                with site.lock:
                    site.at_once -= 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Site:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def fetch(page: str) -> str:
    """Fetch a page."""
    with urllib.request.urlopen(page, timeout=30) as answer:  # noqa: S310 - our own server
        return answer.read().decode()


def main() -> None:
    """Crawl two sites of our own."""
    parser = argparse.ArgumentParser(description="A crawler with limits for each host.")
    parser.add_argument("--pages", type=int, default=50, metavar="N", help="pages of each of two sites; default: %(default)s")
    parser.add_argument("--per-second", type=int, default=40, metavar="N", help="requests a second to each; default: %(default)s")
    parser.add_argument("--workers", type=int, default=8, metavar="N", help="threads; default: %(default)s")
    arguments = parser.parse_args()
    sites = [Site(arguments.pages), Site(arguments.pages)]
    with ExitStack() as stack:
        for site in sites:
            site.others = sites
            stack.enter_context(site)
        begun = time.monotonic()
        seen = crawl(f"{sites[0].address}/0", arguments.workers, arguments.per_second, fetch)
        seconds = time.monotonic() - begun
    print(f"{len(seen)} pages in {seconds:.1f} s, {max(site.most_at_once for site in sites)} requests at a time to one host")
    print(f"fetched more than once: {sum(times > 1 for site in sites for times in site.requests.values())}")


if __name__ == "__main__":
    main()
