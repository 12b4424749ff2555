"""`sluicegate.http.wsgi`: the same limits for a WSGI application. Each call goes through `wsgiref.validate`, on both sides."""

from __future__ import annotations

import json
import random
import threading
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from helpers import wait_until
from http_apps import Recording

from sluicegate import AdaptiveConcurrency, KeyedTokenBucket, Semaphore, SlidingWindow, TokenBucket, ZeroRate
from sluicegate.http import Limit, Refusal, Route, read_limits
from sluicegate.http.wsgi import ConcurrencyLimitMiddleware, RateLimitMiddleware
from sluicegate.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


class Call:
    """A request as a server makes it, whose body is read when the test wants it."""

    def __init__(self, app, path="/", method="GET", peer="203.0.113.9", **environ):
        self.environ = {"PATH_INFO": path, "REQUEST_METHOD": method, "REMOTE_ADDR": peer, "QUERY_STRING": "", "SCRIPT_NAME": "", **environ}
        setup_testing_defaults(self.environ)
        self.starts = []
        self.body = validator(app)(self.environ, self.start)
        self.pieces = iter(self.body)

    def start(self, status, headers, exc_info=None):
        self.starts.append((status, headers))
        return lambda data: None

    def finish(self):
        try:
            data = b"".join(self.pieces)
        finally:
            self.body.close()
        ((status, headers),) = self.starts
        return int(status[:3]), {name.lower(): value for name, value in headers}, data


def ask(app, *args, **environ):
    return Call(app, *args, **environ).finish()


@validator
def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def three_pieces(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"a"
    yield b"b"
    yield b"c"


def test_above_the_limit(clock):
    app = RateLimitMiddleware(hello, KeyedTokenBucket(0.5, burst=1, max_keys=10, clock=clock, name="per client"))
    status, headers, body = ask(app)
    assert (status, body) == (200, b"hello")
    assert read_limits(headers) == [Limit("per client", 1.0, 0.0, 2.0, 2.0)]
    status, headers, body = ask(app)
    assert (status, headers["retry-after"], headers["cache-control"]) == (429, "2", "no-store")
    assert json.loads(body)["violated-policies"] == ["per client"]
    assert read_limits(headers) == [Limit("per client", 1.0, 0.0, 2.0, 2.0)]
    assert ask(app, "/", "GET", "203.0.113.8")[0] == 200
    assert ask(app, HTTP_X_FORWARDED_FOR="198.51.100.9")[0] == 429, "a header that anybody can write is not believed"
    clock.advance(2)
    assert ask(app)[0] == 200


def test_a_request_that_can_never_be_admitted(clock):
    app = RateLimitMiddleware(hello, TokenBucket(1, burst=3, clock=clock), cost=lambda environ: 4)
    status, headers, body = ask(app)
    assert (status, json.loads(body)["title"]) == (413, "Content Too Large")
    assert "retry-after" not in headers


def test_head_has_no_body(clock):
    app = RateLimitMiddleware(hello, SlidingWindow(1, 60, clock=clock))
    ask(app)
    environ = {"REQUEST_METHOD": "HEAD"}
    setup_testing_defaults(environ)
    assert app(environ, lambda status, headers: None) == [b""]


def test_a_stream_is_passed_on_as_it_is(clock):
    for app in (
        RateLimitMiddleware(three_pieces, TokenBucket(1, burst=1, clock=clock)),
        ConcurrencyLimitMiddleware(three_pieces, Semaphore(1)),
    ):
        call = Call(app)
        assert list(call.pieces) == [b"a", b"b", b"c"]
        assert len(call.starts) == 1
        call.body.close()


def test_routes_see_the_whole_path(clock):
    app = RateLimitMiddleware(
        hello,
        routes=[
            Route("/app/caf\u00e9", TokenBucket(1, burst=5, clock=clock, name="cafe")),
            Route("/", TokenBucket(1, burst=5, name="root")),
        ],
    )

    def name(path, script=""):
        limits = read_limits(ask(app, path.encode().decode("latin-1"), SCRIPT_NAME=script)[1])
        return limits[0].name if limits else None

    assert name("/caf\u00e9", "/app") == "cafe"
    assert name("/app/caf\u00e9") == "cafe"
    assert name("/") == "root"
    assert name("/other") is None


def test_an_answer_of_ones_own(clock):
    seen = []

    def on_refused(environ, refusal):
        seen.append(refusal)

        def answer(environ, start_response):
            start_response("418 No", [("Content-Type", "text/plain"), *refusal.headers.items()])
            return [b"no"]

        return answer

    app = RateLimitMiddleware(hello, TokenBucket(1, burst=1, clock=clock), on_refused=on_refused, headers=False)
    ask(app)
    status, headers, body = ask(app)
    assert (status, headers["retry-after"], body) == (418, "1", b"no")
    assert seen == [Refusal(429, 1.0, None, {"Retry-After": "1", "Cache-Control": "no-store"})]


def test_a_body_that_cannot_be_iterated_over_is_closed():
    """The server closes what it has been given, and that closes the body of the application."""
    closed = []

    class Body:
        def __iter__(self):
            raise OSError("the file is gone")

        def close(self):
            closed.append(True)

    def app(environ, start_response):
        start_response("200 OK", [])
        return Body()

    slots = Semaphore(1)
    body = ConcurrencyLimitMiddleware(app, slots)({"REQUEST_METHOD": "GET"}, lambda *args: None)
    with pytest.raises(OSError, match="the file is gone"):
        list(body)
    body.close()
    assert closed == [True]
    assert slots.value == 1


def test_a_slot_is_held_until_the_body_is_closed():
    slots = Semaphore(1)
    limited = ConcurrencyLimitMiddleware(three_pieces, slots, max_wait=0)
    call = Call(limited)
    for _ in range(3):
        next(call.pieces)
        assert slots.value == 0
    status, headers, body = ask(limited)
    assert (status, headers["retry-after"], json.loads(body)["status"]) == (503, "1", 503)
    call.finish()
    assert slots.value == 1
    left = Call(limited)  # a client that leaves: the server closes the body before its end
    next(left.pieces)
    left.body.close()
    assert slots.value == 1


def test_a_thread_waits_for_its_slot(threads):
    slots = Semaphore(1)
    limited = ConcurrencyLimitMiddleware(three_pieces, slots, max_wait=30)
    call = Call(limited)
    waiting = threads(ask, limited)
    wait_until(lambda: slots.statistics().waiters == 1)
    call.finish()
    assert waiting.result()[0] == 200
    assert slots.value == 1


def test_a_list_keeps_its_length():
    """A server takes the length of a body in one piece for its Content-Length."""
    body = ConcurrencyLimitMiddleware(lambda environ, start_response: [b"hello"], Semaphore(1))({"REQUEST_METHOD": "GET"}, None)
    assert len(body) == 1
    body.close()
    stream = ConcurrencyLimitMiddleware(lambda environ, start_response: iter([b"hello"]), Semaphore(1))({"REQUEST_METHOD": "GET"}, None)
    assert not hasattr(stream, "__len__")
    stream.close()


def test_how_requests_end():
    limiter = Recording()

    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/error":
            raise ZeroDivisionError
        start_response("503 Busy" if path == "/busy" else "200 OK", [("Content-Type", "text/plain")])
        if path == "/stream":
            return three_pieces(environ, lambda status, headers: None)
        if path == "/fails":
            return (1 // 0 for _ in range(1))
        return [b"x"]

    limited = ConcurrencyLimitMiddleware(app, limiter, priority=lambda environ: 2, exempt=["/health"])
    for path in ("/", "/busy", "/stream", "/health"):
        ask(limited, path)
    with pytest.raises(ZeroDivisionError):
        Call(limited, "/error")
    with pytest.raises(ZeroDivisionError):
        Call(limited, "/fails").finish()
    left = Call(limited)
    left.body.close()
    assert limiter.ended == ["success", "failure", "ignore", "ZeroDivisionError", "ZeroDivisionError", "ignore"]
    assert limiter.held == 0
    assert set(limiter.priorities) == {2}
    seen = limited.statistics()
    assert (seen.admitted, seen.refused, seen.not_limited) == (6, 0, 1)


def test_a_limit_that_finds_itself():
    """The real one: a body that is read whole is a success, one in pieces or left alone says nothing."""
    limiter = AdaptiveConcurrency(target=1, initial=2, clock=ManualClock())
    limited = ConcurrencyLimitMiddleware(hello, limiter)
    ask(limited)
    left = Call(limited)
    left.body.close()
    ask(ConcurrencyLimitMiddleware(three_pieces, limiter))
    seen = limiter.statistics()
    assert (seen.in_flight, seen.successes, seen.ignored, seen.dropped) == (0, 1, 2, 0)


def test_many_threads_and_clients_that_leave(threads):
    """Eight threads: no more at once than there are slots, and none is lost."""
    slots = Semaphore(3)
    inside, most, lock = 0, 0, threading.Lock()

    def app(environ, start_response):
        nonlocal inside, most
        start_response("200 OK", [("Content-Type", "text/plain")])
        with lock:
            inside += 1
            most = max(most, inside)
        try:
            yield b"a"
            if environ["HTTP_HOW"] == "error":
                raise ZeroDivisionError
            yield b"b"
        finally:
            with lock:
                inside -= 1

    limited = ConcurrencyLimitMiddleware(app, slots, max_wait=30)

    def client(seed):
        chance = random.Random(seed)
        for _ in range(150):
            how = chance.choice(["whole", "leaves", "error"])
            call = Call(limited, HTTP_HOW=how)
            if how == "leaves":
                next(call.pieces)
                call.body.close()
            else:
                try:
                    call.finish()
                except ZeroDivisionError:
                    call.body.close()

    for worker in [threads(client, n) for n in range(8)]:
        worker.result()
    assert slots.value == 3
    assert 1 <= most <= 3


def test_what_a_middleware_shows():
    """Its name, and the application that it is around."""
    for middleware in (
        RateLimitMiddleware(hello, TokenBucket(1, burst=1), name="x"),
        ConcurrencyLimitMiddleware(hello, Semaphore(1), name="x"),
    ):
        assert middleware.statistics().name == "x"
        assert repr(middleware).startswith(f"<sluicegate.http.wsgi.{type(middleware).__name__} 'x' at 0x")
        assert repr(hello) in repr(middleware)
    for wrong in (5, b"x"):
        with pytest.raises(TypeError, match="name"):
            RateLimitMiddleware(hello, TokenBucket(1, burst=1), name=wrong)


def test_an_application_of_asgi():
    """It is told at once which module has the middleware for it, and so is what answers in its place."""

    async def asgi_app(scope, receive, send):
        pass

    for make in (
        lambda: RateLimitMiddleware(asgi_app, TokenBucket(1, burst=1)),
        lambda: ConcurrencyLimitMiddleware(asgi_app, Semaphore(1)),
    ):
        with pytest.raises(
            TypeError, match=r"'app' must be a WSGI application, .* of ASGI: import the middleware from sluicegate\.http\.asgi"
        ):
            make()
    limited = RateLimitMiddleware(lambda environ, start_response: [], ZeroRate(), on_refused=lambda environ, refusal: b"no")
    with pytest.raises(TypeError, match="'on_refused' must return a WSGI application, not b'no'"):
        limited({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "203.0.113.9"}, None)
