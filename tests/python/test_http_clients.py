"""httpx, aiohttp and requests behind a guard, over loopback, against a server that limits, stalls, resets and lies."""

from __future__ import annotations

import asyncio
import copy
import pickle
import time

import pytest
from helpers import LoopThread, eventually, wait_until
from http_servers import SERVERS, Bad, breaking_server, closed_port, endless_server

from sluicegate import (
    AdaptiveRate,
    Backoff,
    CircuitBreaker,
    CircuitOpen,
    Fallback,
    Guard,
    KeyedBreaker,
    KeyedTokenBucket,
    RateLimited,
    RateLimits,
    Retry,
    RetryBudget,
    Semaphore,
    SlidingWindow,
    Stale,
    TokenBucket,
    UnlimitedRate,
    ZeroRate,
)
from sluicegate.http import ErrorResponse, TooManyRequests, heed, parse_retry_after
from sluicegate.testing import ManualClock

REASON = "a client library of the dependency group `test`, which is not installed here"
uvicorn = pytest.importorskip("uvicorn", reason=REASON)
httpx = pytest.importorskip("httpx", reason=REASON)
aiohttp = pytest.importorskip("aiohttp", reason=REASON)
requests = pytest.importorskip("requests", reason=REASON)

from sluicegate.http.aiohttp import GuardMiddleware  # noqa: E402  # after the checks above
from sluicegate.http.httpx import AsyncGuardTransport, GuardTransport  # noqa: E402
from sluicegate.http.requests import GuardAdapter  # noqa: E402

FAST = Backoff(0.001, 0.01)


class Httpx:
    errors = httpx.TransportError
    timeouts = httpx.ReadTimeout

    def __init__(self, guard, timeout=20.0, **options):
        self.client = httpx.Client(transport=GuardTransport(guard, **options), timeout=timeout)

    def ask(self, method, url, body=None, headers=None):
        response = self.client.request(method, url, content=body, headers=headers)
        return response.status_code, response.text

    def close(self):
        self.client.close()


class AsyncHttpx(Httpx):
    def __init__(self, guard, timeout=20.0, **options):
        self.loop = LoopThread()
        self.client = httpx.AsyncClient(transport=AsyncGuardTransport(guard, **options), timeout=timeout)

    def ask(self, method, url, body=None, headers=None):
        response = self.loop.run(self.client.request(method, url, content=body, headers=headers))
        return response.status_code, response.text

    def close(self):
        self.loop.run(self.client.aclose())
        self.loop.__exit__()


class Aiohttp:
    errors = aiohttp.ClientError
    timeouts = asyncio.TimeoutError  # which is not the builtin one before Python 3.11

    def __init__(self, guard, timeout=20.0, **options):
        self.loop = LoopThread()
        self.session = self.loop.run(self.open(guard, timeout, options))

    async def open(self, guard, timeout, options):
        # Whole requests have no time limit here: it would be over all attempts.
        limit = aiohttp.ClientTimeout(total=None, sock_read=timeout)
        return aiohttp.ClientSession(middlewares=[GuardMiddleware(guard, **options)], timeout=limit)

    def ask(self, method, url, body=None, headers=None):
        async def ask():
            async with self.session.request(method, url, data=body, headers=headers) as response:
                return response.status, await response.text()

        return self.loop.run(ask())

    def close(self):
        self.loop.run(self.session.close())
        self.loop.__exit__()


class Requests:
    errors = requests.RequestException
    timeouts = (requests.ReadTimeout, requests.ConnectionError)

    def __init__(self, guard, timeout=20.0, **options):
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount("http://", GuardAdapter(guard, **options))
        self.timeout = timeout

    def ask(self, method, url, body=None, headers=None):
        response = self.session.request(method, url, data=body, headers=headers, timeout=self.timeout)
        return response.status_code, response.text

    def close(self):
        self.session.close()


KINDS = [Httpx, AsyncHttpx, Aiohttp, Requests]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def client(request):
    """`client(guard, ...)` makes a client of one kind, which is closed at the end."""
    made = []

    def make(guard, **options):
        made.append(request.param(guard, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="module", params=SERVERS, ids=lambda server: server.__name__.removesuffix("_server"))
def server(request):
    app = Bad()
    with request.param(app) as address:
        yield app, address
        app.let_go.set()


@pytest.fixture
def bad(server):
    app, address = server
    app.seen.clear()
    app.headers = {}
    return app, address


def retry(attempts=3, *, on=(ErrorResponse, Exception), **options):
    return Retry(attempts, on=on, backoff=FAST, budget=RetryBudget(reserve=100), **options)


def test_another_attempt_after_a_failure(bad, client):
    app, address = bad
    asked = client(retry())
    assert asked.ask("GET", address + "/flaky/2/503") == (200, "fine")
    assert app.seen["/flaky/2/503"] == 3


def test_the_last_failure_is_the_response(bad, client):
    """With its body, and no exception of ours; an error that the guard does not retry as well."""
    app, address = bad
    asked = client(retry(2))
    assert asked.ask("GET", address + "/flaky/9/500") == (500, "failed")
    assert asked.ask("GET", address + "/flaky/9/404") == (404, "failed"), "that is no failure of the server"
    assert client(retry(on=OSError)).ask("GET", address + "/flaky/9/502") == (502, "failed")
    assert client(retry(), statuses=[404]).ask("GET", address + "/flaky/1/404/a") == (200, "fine")
    assert dict(app.seen) == {"/flaky/9/500": 2, "/flaky/9/404": 1, "/flaky/9/502": 1, "/flaky/1/404/a": 2}


def test_what_may_be_repeated(bad, client):
    """A POST only if nothing can have been done twice."""
    app, address = bad
    asked = client(retry(), repeatable=lambda request: "x-ours" in request.headers)
    assert asked.ask("POST", address + "/flaky/1/500", b"x") == (500, "failed")
    assert asked.ask("POST", address + "/flaky/1/503", b"x") == (503, "failed")
    assert asked.ask("POST", address + "/flaky/1/429", b"x") == (200, "fine")
    assert asked.ask("POST", address + "/flaky/1/500/a", b"x", {"Idempotency-Key": "1"}) == (200, "fine")
    assert asked.ask("POST", address + "/flaky/1/500/b", b"x", {"X-Ours": "1"}) == (200, "fine")
    assert asked.ask("PUT", address + "/flaky/1/500/c", b"x") == (200, "fine")
    app.headers = {"Retry-After": "0.01"}
    assert asked.ask("POST", address + "/flaky/1/503/d", b"x") == (200, "fine")
    asked = client(retry(), statuses=[403])
    assert asked.ask("POST", address + "/flaky/1/403", b"x") == (200, "fine"), "GitHub's refusal, with a Retry-After"
    assert sum(app.seen.values()) == 2 + 6 * 2


def test_a_body_that_is_gone_is_not_sent_again(bad, client):
    app, address = bad

    def body():
        yield b"x"

    async def body_async():
        yield b"x"

    asked = client(retry())
    assert (
        asked.ask("PUT", address + "/flaky/1/429", body() if isinstance(asked, Requests) or type(asked) is Httpx else body_async())[0]
        == 429
    )
    assert app.seen["/flaky/1/429"] == 1


def test_an_open_breaker_asks_nobody(bad, client):
    """Failures open it, and 429 need not."""
    app, address = bad
    breaker = CircuitBreaker(calls=3, min_calls=3, open_for=60, ignore=TooManyRequests)
    asked = client(Guard(breaker=breaker))
    for _ in range(4):
        assert asked.ask("GET", address + "/flaky/9/429")[0] == 429
    assert breaker.state == "closed"
    for _ in range(3):
        assert asked.ask("POST", address + "/flaky/9/500")[0] == 500
    with pytest.raises(CircuitOpen):
        asked.ask("GET", address + "/flaky/9/500")
    assert app.seen == {"/flaky/9/429": 4, "/flaky/9/500": 3}


def test_one_refusal_pauses_the_siblings(bad, client):
    app, address = bad
    app.headers = {"Retry-After": "30"}
    limiter = TokenBucket(100, burst=100)
    asked = client(Guard(rate=limiter, total=5))
    assert asked.ask("GET", address + "/flaky/1/429") == (429, "failed")
    assert 20 < limiter.retry_after() <= 30
    with pytest.raises(RateLimited):
        asked.ask("GET", address + "/flaky/1/429")
    assert app.seen["/flaky/1/429"] == 1


def test_not_before_the_server_wants_it(bad, client):
    app, address = bad
    app.headers = {"Retry-After": "0.2"}
    begin = time.monotonic()
    assert client(retry()).ask("GET", address + "/flaky/1/429") == (200, "fine")
    assert time.monotonic() - begin >= 0.2
    app.headers = {"Retry-After": "7200"}
    assert client(retry()).ask("GET", address + "/flaky/9/503") == (503, "failed"), "too long to wait for: told at once"


def test_a_limiter_heeds_each_response(bad, client):
    app, address = bad
    limiter = SlidingWindow(100, 60)
    asked = client(Guard(rate=limiter), limiter=limiter)
    app.headers = {"RateLimit": '"a";r=40'}
    asked.ask("GET", address + "/told")
    assert limiter.tokens == 40
    app.headers = {"RateLimit": '"a";r=4000'}
    asked.ask("GET", address + "/told")
    assert limiter.tokens == 39, "it is never raised"
    app.headers = {"RateLimit": '"a";r=0;t=100'}
    asked.ask("GET", address + "/told")
    assert 90 < limiter.retry_after() <= 100


def test_a_rate_that_finds_itself(bad, client):
    """An `AdaptiveRate` heeds each response too, and a 429 cuts its rate."""
    app, address = bad
    limiter = AdaptiveRate(100, burst=100)
    asked = client(Guard(rate=limiter), limiter=limiter)
    app.headers = {"RateLimit": '"a";r=0;t=100'}
    asked.ask("GET", address + "/told")
    assert limiter.rate == 100
    assert 90 < limiter.retry_after() <= 100
    fresh = AdaptiveRate(100, burst=100)
    app.headers = {}
    assert client(retry(1), limiter=fresh).ask("GET", address + "/flaky/1/429")[0] == 429
    assert fresh.rate < 100


def test_a_response_that_has_not_been_read_can_be_heeded(bad):
    """httpx has no `elapsed` for it."""
    app, address = bad
    app.headers = {"RateLimit": '"a";r=7'}
    limiter = AdaptiveRate(1, burst=100)
    with httpx.Client() as asked, asked.stream("GET", address + "/told") as response:
        limiter.heed(response)
    assert 7 <= limiter.tokens < 50


def test_lies_do_no_harm(bad, client):
    app, address = bad
    limiter = TokenBucket(100, burst=100)
    asked = client(Guard(rate=limiter, retry=retry(2)), limiter=limiter)
    assert asked.ask("GET", address + "/lies") == (429, "fine")
    assert app.seen["/lies"] == 2
    assert limiter.retry_after() == 0


def test_a_server_that_stalls(bad, client):
    """A time limit of the client library is an error like others: a GET is repeated, a POST is not."""
    app, address = bad
    asked = client(retry(2), timeout=0.2)
    for method, times in (("GET", 2), ("POST", 1)):
        app.seen.clear()
        with pytest.raises(asked.timeouts):
            asked.ask(method, address + "/stalls", b"x")
        wait_until(lambda times=times: app.seen["/stalls"] == times)  # the server may be slower than the time limit


@pytest.mark.parametrize("kind", [AsyncHttpx, Aiohttp])
@pytest.mark.parametrize("limit", ["attempt_timeout", "total"])
def test_a_time_limit_of_the_guard(bad, kind, limit):
    """Nobody knows what has been done when an attempt is cut off, so it is repeated only if that can do no harm."""
    app, address = bad

    async def stream():
        yield b"x"

    for method, body, headers, times in (
        ("GET", None, None, 2),
        ("PUT", b"x", None, 2),
        ("POST", b"x", {"Idempotency-Key": "1"}, 2),
        ("POST", b"x", None, 1),
        ("PUT", stream(), None, 1),
    ):
        app.seen.clear()
        # `total` is over all attempts of the guard; another `Retry` around the call obeys too.
        inner, outer = (retry(2, on=OSError), retry(1)) if limit == "attempt_timeout" else (None, retry(2, on=TimeoutError))
        asked = kind(Guard(retry=inner, **{limit: 0.2}))
        request = asked.client.request if kind is AsyncHttpx else asked.session.request
        given = {"content" if kind is AsyncHttpx else "data": body, "headers": headers}
        try:
            with pytest.raises(TimeoutError):
                asked.loop.run(outer.call_async(request, method, address + "/stalls", **given))
            wait_until(lambda times=times: app.seen["/stalls"] >= times)
            time.sleep(0.05)
            assert app.seen["/stalls"] == times, method
        finally:
            asked.close()


def test_retries_around_a_client_do_not_multiply(bad, client):
    """The client has repeated the request, and what it gives is a response: the error of `raise_for_status` is of that."""
    app, address = bad
    asked = client(retry(3, on=ErrorResponse))
    outer = retry(3, on=(httpx.HTTPStatusError, requests.HTTPError, aiohttp.ClientResponseError))

    async def ask_async():
        if isinstance(asked, Aiohttp):
            (await asked.session.get(address + "/flaky/99/503")).raise_for_status()
        else:
            (await asked.client.get(address + "/flaky/99/503")).raise_for_status()

    def ask():
        (asked.session if isinstance(asked, Requests) else asked.client).get(address + "/flaky/99/503").raise_for_status()

    for times in (3, 6):  # the first call of a Retry is made in another way than one that has a deadline
        with pytest.raises((httpx.HTTPStatusError, requests.HTTPError, aiohttp.ClientResponseError)):
            if hasattr(asked, "loop"):
                asked.loop.run(outer.call_async(ask_async))
            elif times == 3:
                outer.call(ask)
            else:
                Guard(total=60, retry=outer).call(ask)
        assert app.seen["/flaky/99/503"] == times
    assert outer.statistics().nested == 2


def test_a_failure_without_an_end(bad, client):
    """A body that never ends is not waited for before the next attempt."""
    app, address = bad
    assert client(retry()).ask("GET", address + "/endless") == (200, "fine")
    assert app.seen["/endless"] == 2


def test_a_failure_that_lies_about_its_length(client):
    """A Content-Length means nothing beside chunks, which need not end. What is read of them is what the operating system buffers."""
    with endless_server() as (address, sent):
        assert client(retry()).ask("GET", address + "/") == (200, "fine")
        assert len(sent) < 32


@pytest.mark.parametrize("is_async", [False, True])
def test_a_transport_that_lies_about_its_length(is_async):
    """No more than 64 KiB are read before the next attempt, and the caller that gets the response has the whole body."""
    read, closed = [], []

    class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self):
            for piece in range(100):
                read.append(piece)
                yield b"x" * 10_000

        async def __aiter__(self):
            for piece in self:
                yield piece

        def close(self):
            closed.append(len(read))

        async def aclose(self):
            self.close()

    inner = httpx.MockTransport(lambda request: httpx.Response(503, headers={"content-length": "5"}, stream=Body()))
    if is_async:

        async def ask():
            async with (
                httpx.AsyncClient(transport=AsyncGuardTransport(retry(2, on=ErrorResponse), inner)) as asking,
                asking.stream("GET", "http://nowhere/") as response,
            ):
                return len(read), len(await response.aread())

        assert asyncio.run(ask()) == (14, 1_000_000)
    else:
        with (
            httpx.Client(transport=GuardTransport(retry(2, on=ErrorResponse), inner)) as asking,
            asking.stream("GET", "http://nowhere/") as response,
        ):
            assert (len(read), len(response.read())) == (14, 1_000_000)
    assert closed == [7, 107]


@pytest.mark.parametrize("kind", KINDS)
def test_the_body_of_a_failure_is_not_decoded_by_us(bad, kind):
    """A small body can be a large one when it is decoded, or none at all; that is left to the caller that gets the response."""
    app, address = bad
    app.headers = {"content-encoding": "gzip"}  # which it is not
    asked = kind(retry(2, on=ErrorResponse))
    try:
        assert asked.ask("GET", address + "/flaky/1/503") == (200, "fine")
        with pytest.raises((httpx.DecodingError, requests.exceptions.ContentDecodingError, aiohttp.ClientPayloadError)):
            asked.ask("GET", address + "/flaky/9/503")
    finally:
        asked.close()


def test_the_response_of_requests_is_whole(bad):
    """What an adapter has read is a response as any other: its body, its headers and its cookies are there, and HEAD has no body."""
    app, address = bad
    app.headers = {"set-cookie": "a=b"}
    asked = Requests(retry(2, on=ErrorResponse))
    try:
        response = asked.session.get(address + "/flaky/9/503", stream=True)
        assert (response.status_code, response.raw.status, response.raw.headers["content-length"]) == (503, 503, "6")
        assert asked.session.cookies.get_dict() == response.cookies.get_dict() == {"a": "b"}
        assert list(response.iter_content(4)) == [b"fail", b"ed"]
        response = asked.session.head(address + "/flaky/8/503")
        assert (response.status_code, response.content) == (503, b"")
    finally:
        asked.close()


def test_a_server_that_resets(client):
    """The connection breaks when the request has been sent: nobody knows what has been done."""
    with breaking_server() as (address, lines):
        asked = client(retry(3))
        with pytest.raises(asked.errors):
            asked.ask("POST", address + "/", b"x")
        assert len(lines) == 1
        # aiohttp itself sends an idempotent request once more if a connection that was kept is found broken; these are new ones
        with pytest.raises(asked.errors):
            asked.ask("GET", address + "/")
        assert len(lines) >= 4


def test_a_server_that_is_not_there(client):
    """Nothing was sent, so anything may be repeated."""
    retries = retry(3)
    asked = client(retries)
    with pytest.raises(asked.errors):
        asked.ask("POST", closed_port() + "/", b"x")
    assert retries.statistics().retries == 2


def test_a_guard_for_each_host(bad, client):
    app, address = bad
    breakers = KeyedBreaker(max_keys=10, calls=1, min_calls=1)
    limiter = KeyedTokenBucket(100, burst=100, max_keys=10, clock=ManualClock())

    def host(request):
        return str(request.url).split("/")[2].split(":")[0]

    asked = client(Guard(breaker=breakers, rate=limiter), key=host, limiter=limiter)
    app.headers = {"RateLimit": '"a";r=5'}
    assert asked.ask("GET", address + "/flaky/1/500")[0] == 500
    assert breakers.state("127.0.0.1") == "open"
    assert limiter.key("127.0.0.1").tokens == 5
    with pytest.raises(CircuitOpen):
        asked.ask("GET", address + "/other")
    assert asked.ask("GET", address.replace("127.0.0.1", "localhost") + "/other") == (200, "fine")


def test_a_stream_is_passed_through(bad):
    """A response that is no failure is not read by the transport."""
    _, address = bad
    with httpx.Client(transport=GuardTransport(Guard(concurrency=Semaphore(1)))) as asked:
        with asked.stream("GET", address + "/ok") as response:
            assert not response.is_stream_consumed
            assert b"".join(response.iter_raw()) == b"fine"


def test_a_cancelled_request_holds_nothing(bad):
    _, address = bad
    slots = Semaphore(1)

    async def main():
        async with httpx.AsyncClient(transport=AsyncGuardTransport(Guard(concurrency=slots)), timeout=30) as asked:
            task = asyncio.create_task(asked.get(address + "/stalls"))
            await eventually(lambda: slots.value == 0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert slots.value == 1

    asyncio.run(main())


@pytest.mark.parametrize("make", [GuardTransport, AsyncGuardTransport, GuardMiddleware, GuardAdapter], ids=lambda make: make.__name__)
def test_wrong_arguments(make):
    guard = Guard()
    limiter = KeyedTokenBucket(1, burst=1, max_keys=1)
    for wrong, error, text in (
        (lambda: make(5), TypeError, "'guard' must be a Guard"),
        (lambda: make(Guard), TypeError, "'guard' must be a Guard"),
        (lambda: make(TokenBucket(1, burst=1)), TypeError, "'guard' must be a Guard"),
        (lambda: make(guard, key="host"), TypeError, "'key' must be a function"),
        (lambda: make(retry(), key=lambda request: 1), TypeError, "'key' must be None"),
        (lambda: make(guard, key=lambda request: 1), TypeError, "'key' must be None, because <sluicegate.Guard"),
        (
            lambda: make(Guard(breaker=KeyedBreaker(max_keys=1))),
            TypeError,
            "'key' must be a function of the request, because <sluicegate.Guard",
        ),
        (lambda: make(Guard(fallback=Fallback(stale=Stale(60)))), TypeError, "'guard' must have no fallback with 'stale'"),
        (lambda: make(Fallback(5, stale=Stale(60))), TypeError, "'guard' must have no fallback with 'stale'"),
        (lambda: make(guard, limiter=5), TypeError, "'limiter' must be a limiter"),
        (lambda: make(guard, limiter=limiter), TypeError, "'key' must be a function"),
        (lambda: make(guard, statuses=429), TypeError, "'statuses' must be several"),
        (lambda: make(guard, statuses=[200]), ValueError, "'statuses' must be status codes of 400 to 599, not 200"),
        (lambda: make(guard, repeatable=True), TypeError, "'repeatable' must be a function"),
    ):
        with pytest.raises(error, match=text):
            wrong()


# --- heed ---------------------------------------------------------------------------------------------------------


class Body(httpx.SyncByteStream):
    """Of a response whose end is to be seen."""

    def __init__(self):
        self.is_closed = False

    def __iter__(self):
        yield b"down"

    def close(self):
        self.is_closed = True


class AsyncBody(httpx.AsyncByteStream):
    def __init__(self):
        self.is_closed = False

    async def __aiter__(self):
        yield b"down"

    async def aclose(self):
        self.is_closed = True


def in_process(guard, is_async, respond, **options):
    """Makes a request of httpx to a function, as a client does or as an asynchronous one does."""
    request = httpx.Request("POST", "http://a.test/")
    if not is_async:
        return GuardTransport(guard, httpx.MockTransport(respond), **options).handle_request(request)
    return asyncio.run(AsyncGuardTransport(guard, httpx.MockTransport(respond), **options).handle_async_request(request))


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("argument", ["repeatable", "key"])
def test_a_response_is_closed_if_a_function_of_the_programs_raises(argument, is_async):
    body = AsyncBody() if is_async else Body()
    options = {argument: lambda request: {}["nothing"]}
    if argument == "key":
        options["limiter"] = KeyedTokenBucket(1, burst=1, max_keys=1)
    with pytest.raises(KeyError):
        in_process(Guard(), is_async, lambda request: httpx.Response(500, stream=body), **options)
    assert body.is_closed


@pytest.mark.parametrize("is_async", [False, True])
def test_a_keyed_limiter_beside_a_guard_without_keys(is_async):
    limiter = KeyedTokenBucket(1, burst=9, max_keys=9, clock=ManualClock())

    def respond(request):
        return httpx.Response(200, headers={"X-RateLimit-Limit": "9", "X-RateLimit-Remaining": "2"})

    options = {"limiter": limiter, "key": lambda request: request.url.host}
    assert in_process(Guard(), is_async, respond, **options).status_code == 200
    assert (limiter.key("a.test").tokens, limiter.key("b.test").tokens) == (2, 9)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_fallback_has_to_return_a_response(is_async):
    def respond(request):
        return httpx.Response(503)

    with pytest.raises(TypeError, match="its fallback must return a response"):
        in_process(Guard(fallback=Fallback(None, on=ErrorResponse)), is_async, respond)
    other = Fallback(lambda error: httpx.Response(203), on=ErrorResponse)
    assert in_process(Guard(fallback=other), is_async, respond).status_code == 203


def test_an_adapter_is_not_pickled_without_its_guard():
    with pytest.raises(TypeError, match="cannot pickle or copy 'GuardAdapter' object"):
        pickle.dumps(GuardAdapter(Guard()))


def test_heed_lowers_and_never_raises():
    clock = ManualClock()
    limiter = TokenBucket(1, burst=10, clock=clock)
    heed(limiter, {"RateLimit": '"a";r=50', "RateLimit-Policy": '"a";q=100;w=1'})
    assert (limiter.tokens, limiter.rate, limiter.burst) == (10, 1, 10)
    heed(limiter, {"X-RateLimit-Remaining": "4"})
    assert limiter.tokens == 4
    heed(limiter, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m"})
    assert limiter.tokens == 4, "that is another unit"
    heed(limiter, {"RateLimit": '"a";r=0;t=7'})
    assert limiter.tokens == 0
    assert limiter.retry_after() == 7
    heed(limiter, {"RateLimit": '"a";r=9;t=1'})
    assert limiter.retry_after() == 7, "a pause is not shortened"


def test_heed_pauses_for_what_a_refusal_wants():
    clock = ManualClock()
    limiter = TokenBucket(1, burst=10, clock=clock)
    heed(limiter, {"Retry-After": "20"})
    heed(limiter, {"Retry-After": "20"}, status=500)
    assert limiter.retry_after() == 0
    heed(limiter, {"Retry-After": "20"}, status=429)
    assert limiter.retry_after() == 20
    heed(limiter, {"Retry-After": "1000000"}, status=503)
    assert limiter.retry_after() == 600, "and no longer"
    heed(limiter, {"Retry-After": "soon"}, status=503)
    assert limiter.retry_after() == 600
    github = TokenBucket(1, burst=10, clock=clock)
    heed(github, {"retry-after": "60", "x-ratelimit-remaining": "14", "x-ratelimit-resource": "core"}, status=403)
    assert github.retry_after() == 60


def test_heed_of_several_limits():
    clock = ManualClock()
    limits = RateLimits(
        requests=TokenBucket(1, burst=60, clock=clock), tokens=TokenBucket(1000, burst=1000, clock=clock), slots=Semaphore(5)
    )
    headers = {
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-remaining-tokens": "300",
        "x-ratelimit-remaining-slots": "0",
        "x-ratelimit-reset-slots": "1m",
    }
    heed(limits, headers)
    assert limits.tokens["requests"] == 59
    assert limits.tokens["tokens"] == 300
    assert limits.retry_after(requests=1, tokens=1) == 0
    heed(limits, {"Retry-After": "5"}, status=429)
    assert limits.retry_after(requests=1, tokens=1) == 5


def test_heed_of_a_limiter_without_a_limit():
    """It cannot be lowered; those beside it are."""
    heed(UnlimitedRate(), {"RateLimit": '"a";r=5'})
    heed(UnlimitedRate(), {"RateLimit": '"a";r=0;t=5', "Retry-After": "5"}, status=429)
    with ManualClock():
        limits = RateLimits(requests=UnlimitedRate(), tokens=TokenBucket(1, burst=10))
    heed(limits, {"x-ratelimit-remaining-requests": "5", "x-ratelimit-remaining-tokens": "5"})
    assert limits.tokens == {"requests": float("inf"), "tokens": 5.0}
    zero = ZeroRate()
    heed(zero, {"RateLimit": '"a";r=5'})
    assert zero.tokens == 0


def test_a_response_counts_once_for_the_guards_own_rate():
    """The same `AdaptiveRate` as the guard's `rate` and as `limiter` heeds each response and learns once of each call."""
    statuses = iter([429, 429, 200, 429, 503, 200])

    def answer(request):
        status = next(statuses)
        return httpx.Response(status, headers={"RateLimit": '"a";r=40'} if status == 200 else {})

    def counts(guard, limiter, **options):
        with httpx.Client(transport=GuardTransport(guard, httpx.MockTransport(answer), limiter=limiter, **options)) as asked:
            for _ in range(3):
                asked.get("http://nowhere/")
        seen = limiter.statistics()
        return seen.throttled, seen.successes, seen.ignored

    api = AdaptiveRate(50, burst=100)
    assert counts(Guard(rate=api), api) == (2, 1, 0)
    assert api.tokens < 45
    api = AdaptiveRate(50, burst=100)
    assert counts(Guard(rate=api), api) == (1, 1, 1)
    # Where the guard does not learn of it, the limiter does: a 429 that is no failure, and another limiter than the guard's.
    statuses = iter([429, 200, 200] * 2)
    api = AdaptiveRate(50, burst=100)
    assert counts(Guard(rate=api), api, statuses=[503]) == (1, 3, 0)
    assert counts(Guard(rate=AdaptiveRate(50, burst=100)), api) == (2, 3, 0)


def test_heed_wants_a_limiter_and_headers():
    for wrong in (KeyedTokenBucket(1, burst=1, max_keys=1), None, Semaphore(1)):
        with pytest.raises(TypeError, match="'limiter' must be a limiter"):
            heed(wrong, {})
    with pytest.raises(TypeError, match="'headers' must be"):
        heed(TokenBucket(1, burst=1), 5)


def test_the_error_of_a_response_is_pickled():
    """With what it says and the notes of a `Retry`, if its response can be."""
    for kind in (ErrorResponse, TooManyRequests):
        error = kind({"a": "response"}, 429, 2.5, False)
        error.__notes__ = ["a note"]
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.__notes__) == (kind, str(error), ["a note"])
        assert (again.response, again.status, again.retry_after, again.repeatable) == ({"a": "response"}, 429, 2.5, False)
        assert copy.copy(error).status == 429


def test_the_error_of_a_response():
    error = ErrorResponse("the response", 503, parse_retry_after("2"), True)
    assert str(error) == "the server answered with status 503"
    assert (error.response, error.status, error.retry_after, error.repeatable) == ("the response", 503, 2.0, True)
    assert issubclass(TooManyRequests, ErrorResponse)


def test_a_transport_in_the_other_kind_of_client():
    """Each error names the one to use."""
    for_client, for_async_client = GuardTransport(Guard()), AsyncGuardTransport(Guard())
    with pytest.raises(TypeError, match="give a Client a GuardTransport"), httpx.Client(transport=for_async_client):
        pass
    with pytest.raises(TypeError, match="give a Client a GuardTransport"):
        httpx.Client(transport=for_async_client).get("http://localhost/")

    async def main():
        with pytest.raises(TypeError, match="give an AsyncClient an AsyncGuardTransport"):
            async with httpx.AsyncClient(transport=for_client):
                pass
        with pytest.raises(TypeError, match="give an AsyncClient an AsyncGuardTransport"):
            await httpx.AsyncClient(transport=for_client).get("http://localhost/")

    asyncio.run(main())
    with pytest.raises(TypeError, match="'transport' must be an httpx.BaseTransport, not .*AsyncHTTPTransport"):
        GuardTransport(Guard(), httpx.AsyncHTTPTransport())
    with pytest.raises(TypeError, match="'transport' must be an httpx.AsyncBaseTransport, not .*HTTPTransport"):
        AsyncGuardTransport(Guard(), httpx.HTTPTransport())


MAKERS = [GuardTransport, AsyncGuardTransport, GuardMiddleware, GuardAdapter]


@pytest.mark.parametrize("make", MAKERS)
def test_functions_of_the_request_must_not_be_coroutine_functions(make):
    """A coroutine counts as true: each POST would be repeated."""

    async def later(request):
        return False

    with pytest.raises(TypeError, match="'repeatable' must be an ordinary function, not the coroutine function"):
        make(retry(), repeatable=later)
    with pytest.raises(TypeError, match="'key' must be an ordinary function, not the coroutine function"):
        make(Guard(breaker=KeyedBreaker(max_keys=1)), key=later)


def test_whether_a_request_is_repeatable_is_a_bool(bad, client):
    app, address = bad
    asked = client(retry(), repeatable=lambda request: "no")
    with pytest.raises(TypeError, match="'repeatable' must return True or False, not 'no'"):
        asked.ask("POST", address + "/flaky/9/500", b"x")
    assert app.seen["/flaky/9/500"] == 1
    asked = client(retry(), repeatable=lambda request: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        asked.ask("POST", address + "/flaky/9/500/a", b"x")
    assert app.seen["/flaky/9/500/a"] == 1


@pytest.mark.parametrize("make", MAKERS)
def test_a_time_limit_of_an_attempt_in_a_thread(make):
    guard = Guard(attempt_timeout=1)
    if make in {GuardTransport, GuardAdapter}:
        with pytest.raises(TypeError, match="'guard' must have no 'attempt_timeout', because a thread cannot be stopped"):
            make(guard)
    else:
        make(guard)


@pytest.mark.parametrize("make", MAKERS)
def test_an_adaptive_rate_in_a_set_is_refused(make):
    """It would never learn."""
    limits = RateLimits(calls=AdaptiveRate(1, burst=1), inner=RateLimits(tokens=TokenBucket(1, burst=1)))
    with pytest.raises(TypeError, match="'limiter' must have no AdaptiveRate in it"):
        make(retry(), limiter=limits)
    with pytest.raises(TypeError, match="'limiter' must have no AdaptiveRate in it"):
        make(retry(), limiter=RateLimits(inner=RateLimits(calls=AdaptiveRate(1, burst=1))))
    make(retry(), limiter=AdaptiveRate(1, burst=1))


def test_a_client_in_the_place_of_a_transport():
    with pytest.raises(TypeError, match="'transport' must be an httpx.BaseTransport or None, not <httpx.Client"), httpx.Client() as given:
        GuardTransport(Guard(), given)
    with pytest.raises(TypeError, match="'transport' must be an httpx.AsyncBaseTransport or None, not <httpx.AsyncClient"):
        AsyncGuardTransport(Guard(), httpx.AsyncClient())
