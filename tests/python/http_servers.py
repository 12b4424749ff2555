"""Servers over loopback: uvicorn and hypercorn, an application that behaves badly, and a server that breaks connections."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
from collections import Counter

import pytest
from helpers import PATIENCE, wait_until


class Bad:
    """An ASGI application. What it does is the request's path, and `seen` counts the requests by path."""

    def __init__(self):
        self.seen = Counter()
        self.let_go = threading.Event()

    async def __call__(self, scope, receive, send):
        path = scope["path"]
        self.seen[path] += 1
        # A connection that is closed with something unread is reset, and the client may not see the answer.
        while (await receive()).get("more_body"):
            pass
        words = path.split("/")
        status, headers, body = 200, [], b"fine"
        if words[1] == "flaky" and self.seen[path] <= int(words[2]):  # /flaky/2/503: fails twice
            status, body = int(words[3]), b"failed"
            headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        elif words[1] == "stalls":
            while not self.let_go.is_set():
                await asyncio.sleep(0.01)
        elif words[1] == "endless" and self.seen[path] == 1:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            with contextlib.suppress(OSError):
                while (not self.let_go.is_set()) and await self.more(send):
                    pass
            return
        elif words[1] == "lies":
            status, headers = 429, LIES
        elif words[1] == "told":
            headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    headers: dict[str, str] = {}

    async def more(self, send):
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        await asyncio.sleep(0.01)
        return True


LIES = [
    (b"retry-after", b"soon"),
    (b"ratelimit", b'"a";r=-5;t=1'),
    (b"ratelimit-policy", b'"a";q=\xff'),
    (b"x-ratelimit-limit", b"NaN"),
    (b"x-ratelimit-remaining", b"-7"),
    (b"x-ratelimit-reset", b"999999999999999999999999999"),
    (b"anthropic-ratelimit-requests-reset", b"2026-99-99T99:99:99Z"),
    (b"date", b"yesterday"),
]


@contextlib.contextmanager
def uvicorn_server(app, lifespan="off"):
    """Runs an application in a thread; gives the address."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="critical", lifespan=lifespan, loop="asyncio", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive())
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


@contextlib.contextmanager
def hypercorn_server(app, lifespan="off"):
    """The same with hypercorn, which runs the lifespan of any application that takes it."""
    hypercorn = pytest.importorskip("hypercorn", reason="a server of the dependency group `test`, which is not installed here")
    from hypercorn.asyncio import serve

    async def without_lifespan(scope, receive, send):
        if scope["type"] == "lifespan":
            raise RuntimeError("no lifespan")
        await app(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = hypercorn.Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.errorlog = None
        config.graceful_timeout = config.shutdown_timeout = 1.0
    stop = threading.Event()

    async def stopped():
        while not stop.is_set():
            await asyncio.sleep(0.01)

    def run():
        asyncio.run(serve(app if lifespan == "on" else without_lifespan, config, shutdown_trigger=stopped))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


SERVERS = [uvicorn_server, hypercorn_server]


@contextlib.contextmanager
def breaking_server():
    """Reads the beginning of each request and resets the connection. Gives the address, and a list with a line for each request."""
    lines = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                data = connection.recv(65536)
                lines.append(data.split(b"\r\n")[0])
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", lines
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE)


@contextlib.contextmanager
def endless_server(most=64):
    """Answers each connection's request with 503, a Content-Length of 5 and, at once, chunks that do not end before `most` mebibytes.

    The second request of all, and those after it, are answered well. Gives the address, and a list with the mebibytes that were sent.
    """
    sent = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            for number in itertools.count():
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection, number > 0), daemon=True).start()

    def answer(connection, well):
        with contextlib.suppress(OSError), connection:
            connection.recv(65536)
            if well:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
                return
            connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")
            for number in range(most):
                connection.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
                sent.append(number)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE)


def closed_port():
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
