"""The middlewares under real servers: uvicorn and hypercorn with Starlette over loopback, wsgiref's server, and what their clients see."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
import wsgiref.simple_server

import pytest
from helpers import PATIENCE, wait_until
from http_servers import SERVERS

from sluicegate import KeyedTokenBucket, Semaphore
from sluicegate.http import asgi, read_limits, wsgi

REASON = "a part of the dependency group `test`, which is not installed here"
pytest.importorskip("uvicorn", reason=REASON)
pytest.importorskip("starlette", reason=REASON)

from starlette.applications import Starlette  # noqa: E402  # after the checks above
from starlette.background import BackgroundTask  # noqa: E402
from starlette.responses import PlainTextResponse, StreamingResponse  # noqa: E402
from starlette.routing import Route, WebSocketRoute  # noqa: E402

SLOTS = 2


class Site:
    """An application of Starlette's behind both middlewares."""

    def __init__(self):
        self.slots = Semaphore(SLOTS)
        self.go_on = threading.Event()
        self.background = threading.Event()
        self.seen = []

        async def stream(request):
            async def pieces():
                while not self.go_on.is_set():
                    yield b"piece "
                    await asyncio.sleep(0.005)

            return StreamingResponse(pieces())

        async def with_background(request):
            return PlainTextResponse("done", background=BackgroundTask(self.wait))

        async def hello(request):
            return PlainTextResponse("hello")

        async def socket(websocket):
            await websocket.accept()
            await websocket.send_text(await websocket.receive_text())
            await websocket.close()

        @contextlib.asynccontextmanager
        async def lifespan(app):
            self.seen.append("started")
            yield
            self.seen.append("stopped")

        site = Starlette(
            routes=[
                Route("/", hello),
                Route("/stream", stream),
                Route("/background", with_background),
                WebSocketRoute("/socket", socket),
            ],
            lifespan=lifespan,
        )
        limiter = KeyedTokenBucket(0.001, burst=20, max_keys=10, name="client")
        limited = asgi.RateLimitMiddleware(site, limiter, key=lambda scope: dict(scope["headers"]).get(b"x-client"))
        self.app = asgi.ConcurrencyLimitMiddleware(limited, self.slots, max_wait=0.1, max_lag=None)

    async def wait(self):
        while not self.background.is_set():
            await asyncio.sleep(0.005)


@pytest.fixture(params=SERVERS, ids=lambda server: server.__name__.removesuffix("_server"))
def site(request):
    site = Site()
    with request.param(site.app, lifespan="on") as address:
        yield site, address.removeprefix("http://")
        site.go_on.set()
        site.background.set()
    assert site.seen == ["started", "stopped"]
    assert site.slots.value == SLOTS


def ask(address, path, method="GET", headers=None):
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), body


def test_refusals(site):
    """One client at its limit, another one not."""
    _, address = site
    for _ in range(20):
        status, headers, body = ask(address, "/", headers={"X-Client": "a"})
        assert (status, body) == (200, b"hello")
    assert read_limits(headers)[0].remaining == 0
    status, headers, body = ask(address, "/", headers={"X-Client": "a"})
    assert status == 429
    assert int(headers["retry-after"]) >= 1
    assert ask(address, "/", "HEAD", {"X-Client": "a"})[2] == b""
    assert ask(address, "/", headers={"X-Client": "b"})[0] == 200


def test_a_client_that_leaves_a_stream_gives_its_slot_back(site):
    """A stream holds its slot while somebody reads it, and not when he has left."""
    site, address = site
    host, port = address.split(":")
    readers = []
    for _ in range(SLOTS):
        reader = socket.create_connection((host, int(port)), PATIENCE)
        reader.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        assert reader.recv(1000).startswith(b"HTTP/1.1 200")
        readers.append(reader)
    wait_until(lambda: site.slots.value == 0)
    status, headers, _ = ask(address, "/")
    assert (status, headers["retry-after"]) == (503, "1")
    for reader in readers:
        reader.close()
    wait_until(lambda: site.slots.value == SLOTS)
    assert ask(address, "/")[0] == 200


def test_what_comes_after_the_last_byte_holds_no_slot(site):
    site, address = site
    for _ in range(SLOTS + 1):
        assert ask(address, "/background")[2] == b"done"
        wait_until(lambda: site.slots.value == SLOTS)


def test_a_websocket_is_not_limited(site):
    client = pytest.importorskip("websockets.sync.client", reason=REASON)
    site, address = site
    for _ in range(SLOTS):
        assert site.slots.try_acquire()
    with client.connect(f"ws://{address}/socket") as connection:
        connection.send("over")
        assert connection.recv(PATIENCE) == "over"
    site.slots.release(SLOTS)


def test_a_wsgi_server():
    """The permit is held while the server writes the body, and a refusal is told."""
    slots = Semaphore(1)
    held = []

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        for _ in range(3):
            held.append(slots.value)
            yield b"piece "

    class Quiet(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, *_args):
            pass

    limiter = KeyedTokenBucket(0.001, burst=1, max_keys=10)
    limited = wsgi.ConcurrencyLimitMiddleware(wsgi.RateLimitMiddleware(app, limiter), slots)
    with wsgiref.simple_server.make_server("127.0.0.1", 0, limited, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        address = f"127.0.0.1:{server.server_port}"
        assert ask(address, "/")[2] == b"piece piece piece "
        assert ask(address, "/")[0] == 429
        server.shutdown()
        thread.join(PATIENCE)
    assert held == [0, 0, 0]
    assert slots.value == 1
