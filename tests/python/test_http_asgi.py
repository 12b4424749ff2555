"""`sluicegate.http.asgi`: limits for an ASGI application, which leaves alone what is no HTTP request, and streams as they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import time

import pytest
from helpers import eventually, on_loops
from http_apps import Recording, ask, ask_async, hello, scope, three_chunks

from sluicegate import (
    AdaptiveConcurrency,
    KeyedLeakyBucket,
    KeyedSlidingWindow,
    KeyedTokenBucket,
    LeakyBucket,
    RateLimited,
    RateLimits,
    Semaphore,
    SlidingWindow,
    TokenBucket,
    UnlimitedRate,
    ZeroRate,
)
from sluicegate.http import Limit, Refusal, Route, read_limits
from sluicegate.http._concurrency import LoopLag
from sluicegate.http.asgi import ConcurrencyLimitMiddleware, RateLimitMiddleware
from sluicegate.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def bucket(clock, rate=1, burst=2, max_keys=1000, **options):
    return KeyedTokenBucket(rate, burst=burst, max_keys=max_keys, clock=clock, **options)


# --- how often --------------------------------------------------------------------------------------------------


def test_above_the_limit(clock):
    """429, with Retry-After of at least a second, the fields of the draft, and a problem; and admitted again in time."""
    app = RateLimitMiddleware(hello, bucket(clock, rate=0.5, name="per client"))
    first = ask(app)
    assert (first.status, first.body, first.headers["content-type"]) == (200, b"hello", "text/plain")
    assert read_limits(first.headers) == [Limit("per client", 2.0, 1.0, None, 4.0)]
    assert ask(app).status == 200
    refused = ask(app)
    assert refused.status == 429
    assert read_limits(refused.headers) == [Limit("per client", 2.0, 0.0, 2.0, 4.0)]
    assert refused.headers["retry-after"] == "2"
    assert refused.headers["cache-control"] == "no-store"
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["content-length"]) == len(refused.body)
    told = json.loads(refused.body)
    assert told["status"] == 429
    assert told["violated-policies"] == ["per client"]
    clock.advance(1.999)
    assert ask(app).headers["retry-after"] == "1", "never less"
    clock.advance(0.001)
    assert ask(app).status == 200
    head = ask(app, method="HEAD")
    assert (head.status, head.body) == (429, b"")


def test_a_stream_is_passed_on_as_it_is(clock):
    """Three chunks are one start and three bodies, and the application's own messages are not changed."""
    messages = []

    async def receive():
        raise AssertionError("nobody asked for the request")

    async def send(message):
        messages.append(message)

    for app in (
        RateLimitMiddleware(three_chunks, bucket(clock)),
        RateLimitMiddleware(three_chunks, bucket(clock), headers=False),
        ConcurrencyLimitMiddleware(three_chunks, Semaphore(1)),
        ConcurrencyLimitMiddleware(RateLimitMiddleware(three_chunks, bucket(clock)), Semaphore(1)),
    ):
        asyncio.run(app(scope(), receive, send))
        kinds = [message["type"] for message in messages]
        assert kinds == ["http.response.start"] + ["http.response.body"] * 3
        assert [(message["body"], message["more_body"]) for message in messages[1:]] == [(b"a", True), (b"b", True), (b"c", False)]
        assert messages[0]["headers"][0] == (b"content-type", b"text/plain")
        messages.clear()


def test_the_applications_message_is_not_changed(clock):
    start = {"type": "http.response.start", "status": 200}

    async def app(scope, receive, send):
        await send(start)
        await send({"type": "http.response.body"})

    assert "ratelimit" in ask(RateLimitMiddleware(app, bucket(clock))).headers
    assert start == {"type": "http.response.start", "status": 200}


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "something new"])
def test_what_is_no_request_is_left_alone(kind, clock):
    """The application gets the very same objects, and no limit is asked."""
    seen = []

    async def app(*given):
        seen.append(given)

    limiter, slots = TokenBucket(1, burst=1, clock=clock), Semaphore(0)
    given = ({"type": kind}, object(), object())
    for middleware in (RateLimitMiddleware(app, limiter), ConcurrencyLimitMiddleware(app, slots)):
        asyncio.run(middleware(*given))
        assert all(mine is its for mine, its in zip(given, seen.pop(), strict=True))
    assert limiter.tokens == 1


def test_each_client_has_its_own(clock):
    app = RateLimitMiddleware(hello, bucket(clock, burst=1))
    assert ask(app, peer="198.51.100.1").status == 200
    assert ask(app, peer="198.51.100.2").status == 200
    assert ask(app, peer="198.51.100.1").status == 429
    forged = [(b"x-forwarded-for", b"198.51.100.77")]
    assert ask(app, peer="198.51.100.1", headers=forged).status == 429, "a header that anybody can write is not believed"
    assert ask(app, peer="198.51.100.77").status == 200, "and nobody is locked out by one"


def test_behind_a_proxy(clock):
    app = RateLimitMiddleware(hello, bucket(clock, burst=1), trusted=["10.0.0.0/8"], v6_prefix=48)

    def status(forwarded):
        return ask(app, peer="10.0.0.1", headers=[(b"x-forwarded-for", forwarded)]).status

    assert status(b"198.51.100.1") == 200
    assert status(b"1.2.3.4, 198.51.100.1") == 429
    assert status(b"198.51.100.2") == 200
    assert status(b"2001:db8:1:2::1") == 200
    assert status(b"2001:db8:1:3::1") == 429


def test_a_flood_of_keys(clock):
    """A full table keeps every debt, takes no more memory, and newcomers still get in: as many as the overflow admits."""
    limiter = bucket(clock, rate=0.1, burst=1, max_keys=100)
    overflow = TokenBucket(5, burst=5, clock=clock, name="newcomers")
    app = RateLimitMiddleware(hello, limiter, overflow=overflow, key=lambda scope: scope["client"][0])

    async def flood():
        statuses = [(await ask_async(app, peer=f"peer {n}")).status for n in range(2000)]
        assert statuses[:100] == [200] * 100
        assert statuses[100:105] == [200] * 5
        assert set(statuses[105:]) == {429}
        assert len(limiter) <= 100
        assert (await ask_async(app, peer="peer 7")).status == 429, "its debt is not forgotten"
        refused = await ask_async(app, peer="a newcomer")
        assert read_limits(refused.headers)[0].name == "newcomers"
        clock.advance(0.2)
        assert (await ask_async(app, peer="a newcomer")).status == 200
        assert (await ask_async(app, peer="peer 7")).status == 429

    asyncio.run(flood())
    seen = app.statistics()
    assert (seen.admitted, seen.refused, seen.overflowed) == (106, 1898, 1902)


def test_a_newcomer_who_costs_more_than_all_newcomers_have(clock):
    """Its own key would admit it, so it is told when there is one, and not that there never is."""
    limiter = KeyedTokenBucket(1, burst=10, max_keys=1, clock=clock)
    overflow = TokenBucket(1, burst=2, clock=clock)
    costs = {"/small": 1, "/large": 5, "/huge": 50}
    app = RateLimitMiddleware(
        hello, limiter, overflow=overflow, cost=lambda scope: costs[scope["path"]], key=lambda scope: scope["client"][0]
    )
    assert ask(app, "/large", peer="first").status == 200
    assert ask(app, "/small", peer="second").status == 200
    refused = ask(app, "/large", peer="second")
    assert (refused.status, refused.headers["retry-after"]) == (429, "5")
    assert ask(app, "/huge", peer="second").status == 413
    clock.advance(5)
    assert ask(app, "/large", peer="second").status == 200


def test_a_newcomer_is_told_when_a_key_is_free_if_that_is_before_others_leave_room(clock):
    """Also when the limit that newcomers share is closed for good, and while a key is booked."""
    limiter = KeyedTokenBucket(1, burst=10, max_keys=2, clock=clock)
    app = RateLimitMiddleware(hello, limiter, overflow=ZeroRate(clock=clock), key=lambda scope: scope["client"][0])
    assert limiter.try_acquire("first", 7)
    reservations = [limiter.key("second").reserve(10) for _ in range(2)]
    refused = ask(app, peer="third")
    assert (refused.status, refused.headers["retry-after"]) == (429, "7")
    clock.advance(6.5)
    assert limiter.try_acquire("first", 10 - 0.5)
    assert ask(app, peer="third").headers["retry-after"] == "10", "and not 14, when the booked one will be"
    assert len(reservations) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: KeyedTokenBucket(2, burst=1, period=100, max_keys=1, name="a"),
        lambda: KeyedLeakyBucket(2, capacity=1, period=100, max_keys=1, name="a"),
        lambda: KeyedSlidingWindow(1, 100, max_keys=1, name="a"),
    ],
    ids=["bucket", "leaky", "window"],
)
def test_by_default_newcomers_share_what_one_key_has(make):
    with ManualClock():
        app = RateLimitMiddleware(hello, make())
        statuses = [ask(app, peer=f"198.51.100.{n}").status for n in range(4)]
        fields = ask(app, peer="198.51.100.9").headers
    assert statuses == [200, 200, 429, 429]
    assert fields["ratelimit-policy"].startswith('"a";q=1;w=')
    assert int(fields["retry-after"]) in (50, 100)


def test_routes(clock):
    """The first route that fits decides; others come under the limit for all."""
    app = RateLimitMiddleware(
        hello,
        TokenBucket(1, burst=100, clock=clock, name="all"),
        routes=[
            Route("/health", None),
            Route("/login", SlidingWindow(1, 60, clock=clock, name="login"), methods=["post"]),
            Route("/users/{user}/posts", TokenBucket(1, burst=10, clock=clock, name="posts"), methods="GET"),
            Route("/api/v2*", TokenBucket(1, burst=20, clock=clock, name="v2")),
            Route("/api/*", TokenBucket(1, burst=30, clock=clock, name="api")),
        ],
    )

    def name(path, method="GET"):
        limits = read_limits(ask(app, path, method).headers)
        return limits[0].name if limits else None

    assert name("/health") is None
    assert name("/login", "POST") == "login"
    assert name("/login") == "all"
    assert name("/users/5/posts") == "posts"
    assert name("/users/5/posts", "HEAD") == "posts"
    assert name("/users/5/posts", "PUT") == "all"
    assert name("/users/5/6/posts") == "all"
    assert name("/users//posts") == "all"
    assert name("/api/v2") == name("/api/v2/x") == "v2"
    assert name("/api/x\ny") == "api"
    assert name("/api") == name("/api.") == name("/Login", "POST") == "all"
    assert ask(app, "/login", "POST").status == 429
    assert ask(app, "/login", "GET").status == 200


def test_keys_and_costs(clock):
    """From the scope; a key that is None is not limited, and a route has its own."""
    limiter = bucket(clock, burst=10)
    app = RateLimitMiddleware(
        hello,
        limiter,
        key=lambda scope: dict(scope["headers"]).get(b"x-api-key"),
        cost=lambda scope: 4 if scope["method"] == "POST" else 1,
        routes=[Route("/heavy", limiter, cost=7, key=lambda scope: "everybody")],
    )
    key = [(b"x-api-key", b"secret")]
    assert ask(app).headers == {"content-type": "text/plain"}
    assert read_limits(ask(app, method="POST", headers=key).headers)[0].remaining == 6
    assert read_limits(ask(app, headers=key).headers)[0].remaining == 5
    assert read_limits(ask(app, "/heavy", headers=key).headers)[0].remaining == 3
    assert ask(app, "/heavy").headers["retry-after"] == "4"


@pytest.mark.parametrize(
    "limiter",
    [
        TokenBucket(1, burst=3, name="points"),
        KeyedTokenBucket(1, burst=3, max_keys=5, name="points"),
        SlidingWindow(3, 3, name="points"),
        RateLimits(points=TokenBucket(1, burst=3)),
    ],
    ids=lambda limiter: type(limiter).__name__,
)
def test_a_request_that_can_never_be_admitted(limiter):
    """No time to come back is told, because there is none; the policy says how much a request may cost."""
    seen = []

    def on_refused(scope, refusal):
        seen.append(refusal)
        return hello

    costs = {"/large": 4, "/huge": 10**30, "/wrong": -1, "/free": 0}
    app = RateLimitMiddleware(hello, limiter, cost=lambda scope: costs[scope["path"]], key=lambda scope: "one")
    for path in ("/large", "/huge"):
        answer = ask(app, path)
        assert answer.status == 413
        assert "retry-after" not in answer.headers
        assert answer.headers["ratelimit-policy"] == '"points";q=3;w=3'
        assert answer.headers["cache-control"] == "no-store"
        assert json.loads(answer.body)["status"] == 413
    assert ask(app, "/free").status == 200
    with pytest.raises(ValueError, match="'n' must be finite and not negative, got -1"):
        ask(app, "/wrong")
    assert (app.statistics().refused, app.statistics().admitted) == (2, 1)
    ask(RateLimitMiddleware(hello, limiter, cost=lambda scope: 4, key=lambda scope: "one", on_refused=on_refused))
    assert [(refusal.status, refusal.retry_after) for refusal in seen] == [(413, math.inf)]


def test_what_is_told_of_each_limiter(clock):
    def told(limiter):
        return read_limits(ask(RateLimitMiddleware(hello, limiter)).headers)

    assert told(SlidingWindow(3, 60, clock=clock)) == [Limit("default", 3.0, 2.0, None, 60.0)]
    assert told(LeakyBucket(10, capacity=5, clock=clock)) == [Limit("default", 10.0, 0.0, 1.0, 1.0)]
    assert told(LeakyBucket(1, capacity=5, period=30, clock=clock)) == [Limit("default", 1.0, 0.0, 30.0, 30.0)]
    assert told(KeyedSlidingWindow(3, 60, max_keys=5, clock=clock)) == [Limit("default", 3.0, 2.0, None, 60.0)]
    assert told(UnlimitedRate()) == []
    several = RateLimits(second=TokenBucket(5, burst=5, clock=clock), day=SlidingWindow(1000, 86400, clock=clock))
    assert told(several) == [Limit("second", 5.0, 4.0, None, 1.0), Limit("day", 1000.0, 999.0, None, 86400.0)]
    changed = TokenBucket(1, burst=5, clock=clock)
    app = RateLimitMiddleware(hello, changed)
    ask(app)
    changed.set_rate(2, burst=3)
    assert read_limits(ask(app).headers) == [Limit("default", 3.0, 2.0, None, 2.0)]
    assert "ratelimit" not in ask(RateLimitMiddleware(hello, bucket(clock), headers=False)).headers


def test_nothing_is_left_during_a_pause(clock):
    """Also for a limiter that has tokens; and nobody is told to stay away for longer than a month."""
    for make in (
        lambda: TokenBucket(1, burst=5, clock=clock),
        lambda: SlidingWindow(5, 60, clock=clock),
        lambda: LeakyBucket(5, capacity=5, clock=clock),
        lambda: RateLimits(default=TokenBucket(1, burst=5, clock=clock)),
    ):
        limiter = make()
        limiter.pause_for(90)
        refused = ask(RateLimitMiddleware(hello, limiter))
        assert (refused.status, refused.headers["retry-after"]) == (429, "90")
        assert [(limit.remaining, limit.reset_after) for limit in read_limits(refused.headers)] == [(0.0, 90.0)]
        limiter.pause_for(10**9)
        refused = ask(RateLimitMiddleware(hello, limiter))
        assert refused.headers["retry-after"] == "2678400"
        assert read_limits(refused.headers)[0].reset_after == 2678400.0
    assert ask(RateLimitMiddleware(hello, ZeroRate())).headers["retry-after"] == "2678400"

    class Refusing:
        def permit(self):
            return self

        async def __aenter__(self):
            raise RateLimited("no", None, math.inf)

        def __exit__(self, *_):
            pass

    assert ask(ConcurrencyLimitMiddleware(hello, Refusing())).headers["retry-after"] == "2678400"


def test_an_answer_of_ones_own(clock):
    """`on_refused` returns an application, and gets the scope and all there is to tell."""
    seen = []

    def on_refused(scope, refusal):
        seen.append((scope["path"], refusal))

        async def answer(scope, receive, send):
            await send({"type": "http.response.start", "status": 418, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})

        return answer

    app = RateLimitMiddleware(hello, TokenBucket(0.5, burst=1, clock=clock, name="tea"), on_refused=on_refused)
    ask(app)
    refused = ask(app, "/pot")
    assert (refused.status, refused.body) == (418, b"no")
    headers = {"RateLimit-Policy": '"tea";q=1;w=2', "RateLimit": '"tea";r=0;t=2', "Retry-After": "2", "Cache-Control": "no-store"}
    assert seen == [("/pot", Refusal(429, 2.0, "tea", headers))]


def test_wrong_arguments(clock):
    limiter = bucket(clock)
    for wrong, error, text in (
        (lambda: RateLimitMiddleware(hello), ValueError, "'limiter' can be None only if"),
        (lambda: RateLimitMiddleware(hello, routes=[Route("/", None)]), ValueError, "'limiter' can be None only if"),
        (lambda: RateLimitMiddleware(hello, 5), TypeError, "'limiter' must be a limiter"),
        (lambda: RateLimitMiddleware(hello, Semaphore(1)), TypeError, "'limiter' must be a limiter"),
        (lambda: RateLimitMiddleware(hello, limiter, key="x"), TypeError, "'key' must be a function"),
        (lambda: RateLimitMiddleware(hello, limiter, cost="x"), TypeError, "'cost' must be a number"),
        (lambda: RateLimitMiddleware(hello, limiter, cost=True), TypeError, "'cost' must be a number"),
        (lambda: RateLimitMiddleware(hello, limiter, overflow=limiter), TypeError, "'overflow' must be a limiter"),
        (
            lambda: RateLimitMiddleware(hello, bucket(clock, burst=3), cost=3, overflow=TokenBucket(1, burst=2)),
            ValueError,
            "'cost' cannot be 3",
        ),
        (lambda: RateLimitMiddleware(hello, limiter, trusted="10.0.0.0/8"), TypeError, "'trusted' must be several"),
        (lambda: RateLimitMiddleware(hello, limiter, routes=["/"]), TypeError, "'routes' must be Route objects"),
        (lambda: RateLimitMiddleware(hello, limiter, routes=[Route("x", limiter)]), ValueError, "'routes' must have paths"),
        (lambda: RateLimitMiddleware(hello, limiter, routes=[Route("/{a b}", limiter)]), ValueError, "'routes' must have paths"),
        (lambda: RateLimitMiddleware(hello, limiter, routes=[Route("/*/x", limiter)]), ValueError, "'routes' must have paths"),
        (lambda: RateLimitMiddleware(hello, limiter, routes=[Route("/", limiter, methods=[])]), ValueError, "must have methods"),
        (lambda: RateLimitMiddleware(hello, limiter, routes=[Route("/", limiter, methods=["A B"])]), ValueError, "must have methods"),
        (lambda: RateLimitMiddleware(hello, bucket(clock, name="a\r\nSet-Cookie: b")), ValueError, "must be printable ASCII"),
        (lambda: RateLimitMiddleware(hello, TokenBucket(1, burst=1, name="\u00e9")), ValueError, "must be printable ASCII"),
        (lambda: RateLimitMiddleware(5, limiter), TypeError, "'app' must be an application, not 5"),
        (lambda: RateLimitMiddleware(hello, limiter, on_refused=429), TypeError, "'on_refused' must be a function"),
        (lambda: RateLimitMiddleware(hello, limiter, routes=None), TypeError, "'routes' must be several Route objects, not None"),
        (lambda: RateLimitMiddleware(hello, limiter, trusted=None), TypeError, "'trusted' must be several networks"),
        (lambda: RateLimitMiddleware(hello, limiter, cost=3), ValueError, "'cost' cannot be 3: .* can never be admitted"),
        (lambda: RateLimitMiddleware(hello, limiter, cost=-1), ValueError, "'cost' cannot be -1"),
        (lambda: RateLimitMiddleware(hello, TokenBucket(1, burst=2), cost=3), ValueError, "'cost' cannot be 3"),
        (lambda: ConcurrencyLimitMiddleware(None, Semaphore(1)), TypeError, "'app' must be an application, not None"),
        (lambda: ConcurrencyLimitMiddleware(hello, Semaphore(1), on_refused=5), TypeError, "'on_refused' must be a function"),
        (lambda: ConcurrencyLimitMiddleware(hello, Semaphore(1), exempt=None), TypeError, "'exempt' must be several paths"),
        (lambda: ConcurrencyLimitMiddleware(hello, limiter.key), TypeError, "'limiter' must be a Semaphore"),
        (lambda: ConcurrencyLimitMiddleware(hello, Semaphore), TypeError, "'limiter' must be a Semaphore"),
        (lambda: ConcurrencyLimitMiddleware(hello, limiter), TypeError, "'limiter' must have a permit for all requests"),
        (lambda: ConcurrencyLimitMiddleware(hello, Semaphore(1), max_wait=-1), ValueError, "'max_wait'"),
        (lambda: ConcurrencyLimitMiddleware(hello, Semaphore(1), max_lag=float("nan")), ValueError, "'max_lag'"),
        (lambda: ConcurrencyLimitMiddleware(hello, Semaphore(1), priority=lambda scope: 0), TypeError, "'priority' must be None"),
        (lambda: ConcurrencyLimitMiddleware(hello, Recording(), priority=5), TypeError, "'priority' must be a function"),
        (lambda: ConcurrencyLimitMiddleware(hello, Semaphore(1), exempt="/health"), TypeError, "'exempt' must be several paths"),
    ):
        with pytest.raises(error, match=text):
            wrong()


@pytest.mark.parametrize("method", ["post", "Post", "POST"])
def test_a_method_in_small_letters_is_no_way_around_a_limit(method, clock):
    """Django reads it in capitals, and a server may pass on what the client has written."""
    app = RateLimitMiddleware(hello, routes=[Route("/login", TokenBucket(1, burst=1, clock=clock), methods=["POST"])])
    assert [ask(app, "/login", method).status for _ in range(2)] == [200, 429]


def test_a_mistake_in_a_function_is_raised(clock):
    """An error of the program's own is nobody's refusal."""
    app = RateLimitMiddleware(hello, bucket(clock), key=lambda scope: scope["nothing"])
    with pytest.raises(KeyError):
        ask(app)


# --- how many at once -------------------------------------------------------------------------------------------


@on_loops
async def test_a_slot_is_held_until_the_last_byte():
    """Through the whole stream, and not through what the application does afterwards."""
    slots = Semaphore(1)
    steps = asyncio.Queue()
    seen = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for n in range(3):
            await steps.get()
            await send({"type": "http.response.body", "body": b"x", "more_body": n < 2})
            seen.append(slots.value)
        await steps.get()  # a background task
        seen.append("background")

    request = asyncio.create_task(ask_async(ConcurrencyLimitMiddleware(app, slots)))
    await eventually(lambda: slots.value == 0)
    for _ in range(4):
        steps.put_nowait(None)
    assert (await request).body == b"xxx"
    assert seen == [0, 0, 1, "background"]
    assert slots.value == 1


@pytest.mark.parametrize("decorator", [contextlib.contextmanager, contextlib.asynccontextmanager])
def test_a_permit_that_cannot_be_left_is_not_entered(decorator):
    entered = []

    class Limiter:
        def permit(self):
            def steps():
                entered.append(1)
                yield

            async def steps_async():
                entered.append(1)
                yield

            return decorator(steps if decorator is contextlib.contextmanager else steps_async)()

    app = ConcurrencyLimitMiddleware(hello, Limiter())
    for _ in range(2):
        with pytest.raises(TypeError, match="'limiter' must have permits with __aenter__ and __exit__, not"):
            ask(app)
    assert not entered


@on_loops
async def test_waiting_and_refusing():
    """A request waits in the wait queue for a slot as long as it may, and is then refused with 503."""
    clock = ManualClock()
    slots = Semaphore(1, clock=clock, name="slots")
    release = asyncio.Event()

    async def app(scope, receive, send):
        await release.wait()
        await hello(scope, receive, send)

    limited = ConcurrencyLimitMiddleware(app, slots, max_wait=2, max_lag=None)
    first = asyncio.create_task(ask_async(limited))
    await eventually(lambda: slots.value == 0)
    second = asyncio.create_task(ask_async(limited))
    await eventually(lambda: slots.statistics().waiters == 1)
    clock.advance(2)
    refused = await second
    assert refused.status == 503
    assert refused.headers["retry-after"] == "1"
    assert json.loads(refused.body)["status"] == 503
    third = asyncio.create_task(ask_async(limited))
    await eventually(lambda: slots.statistics().waiters == 1)
    release.set()
    assert (await first).status == (await third).status == 200
    assert slots.value == 1


@on_loops
async def test_exempt_paths_and_an_answer_of_ones_own():
    refusals = []

    def on_refused(scope, refusal):
        refusals.append(refusal)
        return hello

    app = ConcurrencyLimitMiddleware(hello, Semaphore(0), max_wait=0, exempt=["/health", "/static/*"], on_refused=on_refused)
    assert (await ask_async(app, "/health")).status == (await ask_async(app, "/static/x")).status == 200
    assert refusals == []
    assert app.statistics().not_limited == 2
    assert (await ask_async(app, "/")).body == b"hello"
    assert [refusal.status for refusal in refusals] == [503]
    assert app.statistics().refused == 1


@on_loops
async def test_ten_thousand_requests_whose_clients_leave():
    """By a send that fails, a cancelled request, an application that sees it and stops, an error, before a slot or after: none is lost."""
    chance = random.Random(10_000)
    slots = Semaphore(20)
    ended = []

    class Gone(OSError):
        pass

    async def app(scope, receive, send):
        how = scope["how"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for n in range(3):
            if how == "sees" and n == 1:
                assert (await receive())["type"] == "http.disconnect"
                return
            if how == "error" and n == 2:
                raise ZeroDivisionError
            await send({"type": "http.response.body", "body": b"x", "more_body": n < 2})
        if how == "error afterwards":
            raise ZeroDivisionError

    limited = ConcurrencyLimitMiddleware(app, slots, max_wait=30, max_lag=30)

    async def request(how):
        left = chance.randrange(4)

        async def send(message):
            nonlocal left
            await asyncio.sleep(0)
            left -= 1
            if how == "send fails" and left < 0:
                raise Gone

        async def receive():
            return {"type": "http.disconnect"}

        await limited(scope(how=how), receive, send)

    async def client(count):
        for _ in range(count):
            how = chance.choice(["whole", "send fails", "sees", "error", "error afterwards", "cancelled"])
            task = asyncio.create_task(request(how))
            if how == "cancelled":
                for _ in range(chance.randrange(8)):
                    await asyncio.sleep(0)
                task.cancel()
            try:
                await task
            except (Gone, ZeroDivisionError, asyncio.CancelledError) as error:
                ended.append(type(error).__name__)
            else:
                ended.append(how)

    await asyncio.gather(*(client(250) for _ in range(40)))
    assert len(ended) == 10_000
    assert {"whole", "sees", "Gone", "ZeroDivisionError", "CancelledError"} <= set(ended)
    assert slots.value == 20
    assert slots.statistics().waiters == 0


@pytest.mark.parametrize(
    ("statuses", "chunks", "outcome"),
    [
        (200, 1, "success"),
        (404, 1, "success"),
        (200, 3, "ignore"),
        (500, 1, "ignore"),
        (503, 1, "failure"),
        (504, 3, "failure"),
        (429, 1, "failure"),
    ],
)
def test_an_adaptive_limit_is_told_how_requests_end(statuses, chunks, outcome):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": statuses, "headers": []})
        for n in range(chunks):
            await send({"type": "http.response.body", "body": b"x", "more_body": n < chunks - 1})

    limiter = Recording()
    ask(ConcurrencyLimitMiddleware(app, limiter, priority=lambda scope: len(scope["path"])), "/ab")
    assert limiter.ended == [outcome]
    assert limiter.held == 0
    assert limiter.priorities == [3]


@on_loops
async def test_a_limit_that_finds_itself():
    """Fast responses raise it, an application that is overloaded lowers it, and streams and errors say nothing."""
    clock = ManualClock()
    limiter = AdaptiveConcurrency(target=1, initial=2, min=1, max=10, max_waiting=5, clock=clock, name="found")

    async def app(scope, receive, send):
        if scope["path"] == "/stream":
            await three_chunks(scope, receive, send)
        elif scope["path"] == "/error":
            raise ZeroDivisionError
        elif scope["path"] == "/busy":
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body"})
        else:
            clock.advance(0.1)
            await hello(scope, receive, send)

    limited = ConcurrencyLimitMiddleware(
        app, limiter, max_wait=5, max_lag=None, priority=lambda scope: 4 if scope["path"] == "/later" else 0
    )
    await asyncio.gather(*(ask_async(limited) for _ in range(7)))
    grown = limiter.limit
    assert grown > 2
    await ask_async(limited, "/stream")
    with pytest.raises(ZeroDivisionError):
        await ask_async(limited, "/error")
    assert limiter.limit == grown
    for _ in range(20):
        await ask_async(limited, "/busy")
        clock.advance(0.1)
    assert limiter.limit == 1
    seen = limiter.statistics()
    assert (seen.in_flight, seen.successes, seen.dropped, seen.ignored) == (0, 7, 20, 2)


@on_loops
async def test_a_limit_that_finds_itself_refuses():
    """What it says is in the 503; a request that is cancelled, while it waits or in flight, leaves no trace."""
    limiter = AdaptiveConcurrency(target=1, initial=1, max=1)
    go_on = asyncio.Event()

    async def app(scope, receive, send):
        await go_on.wait()
        await hello(scope, receive, send)

    limited = ConcurrencyLimitMiddleware(app, limiter, max_lag=None)
    first = asyncio.create_task(ask_async(limited))
    await eventually(lambda: limiter.in_flight == 1)
    refused = await ask_async(limited)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert limiter.in_flight == 0
    go_on.set()
    assert (await ask_async(limited)).status == 200


def test_an_adaptive_limit_is_told_of_errors():
    """An application that ends without a response, or by an error; and its own refusal is a 503 with what it says."""

    async def fails(scope, receive, send):
        raise ZeroDivisionError

    async def says_nothing(scope, receive, send):
        return

    limiter = Recording()
    with pytest.raises(ZeroDivisionError):
        ask(ConcurrencyLimitMiddleware(fails, limiter))
    ask(ConcurrencyLimitMiddleware(says_nothing, limiter))
    assert limiter.ended == ["ZeroDivisionError", "ignore"]
    limiter.refuses = True
    refused = ask(ConcurrencyLimitMiddleware(hello, limiter))
    assert (refused.status, refused.headers["retry-after"]) == (503, "3")
    assert limiter.held == 0


def test_trailers_and_files():
    """The last message is what the application says it is: trailers, or a path that the server sends."""

    def outcome(*messages):
        limiter = Recording()

        async def app(scope, receive, send):
            for message in messages:
                assert limiter.held == 1
                await send(message)
            assert limiter.held == 0

        ask(ConcurrencyLimitMiddleware(app, limiter))
        return limiter.ended

    start = {"type": "http.response.start", "status": 200, "headers": [], "trailers": True}
    body = {"type": "http.response.body", "body": b"x"}
    trailers = {"type": "http.response.trailers", "headers": []}
    assert outcome(start, body, {**trailers, "more_trailers": True}, trailers) == ["success"]
    assert outcome({**start, "trailers": False}, {"type": "http.response.pathsend", "path": "/x"}) == ["success"]


@on_loops
async def test_a_late_loop_sheds():
    """A loop that its handlers keep busy is late twice in a row, and then requests are refused; a rested one serves again."""
    held = asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"] == "/held":
            await held.wait()
        await hello(scope, receive, send)

    limited = ConcurrencyLimitMiddleware(app, Semaphore(10), max_lag=0.05)
    waiting = asyncio.create_task(ask_async(limited, "/held"))
    await asyncio.sleep(0)
    time.sleep(0.1)  # a handler that computes
    await asyncio.sleep(0.001)
    statuses = []
    for _ in range(3):
        time.sleep(0.2)
        await asyncio.sleep(0.001)
        statuses.append((await ask_async(limited)).status)
    assert statuses[-1] == 503
    assert limited.statistics().late >= 1
    held.set()
    assert (await waiting).status == 200
    # Nothing is worked on: the next request finds a loop of which nothing is known.
    await eventually(lambda: not any(beat.runs for beat in limited._lag._beats.values()))
    assert (await ask_async(limited)).status == 200


def test_the_lag_is_the_smaller_of_the_last_two():
    """Arithmetic, on a loop whose time is the test's."""

    class Loop:
        now = 0.0
        timer = None

        def time(self):
            return self.now

        def call_at(self, when, function, *args):
            self.timer = (when, function, args)

        def late(self, seconds):
            when, function, args = self.timer
            self.timer = None
            self.now = when + seconds
            function(*args)

    lag, loop = LoopLag(0.02), Loop()
    assert lag.enter(loop) == 0
    for late, seen in ((3.0, 0.0), (1.0, 1.0), (2.0, 1.0), (0.0, 0.0), (5.0, 0.0)):
        loop.late(late)
        assert lag.enter(loop) == pytest.approx(seen)
        lag.leave(loop)
    lag.leave(loop)
    loop.late(1.0)
    assert loop.timer is None, "it stops where there are no requests"
    assert lag.enter(loop) == 0
    assert loop.timer is not None


def test_the_permit_of_a_request_that_is_cancelled_in_line():
    async def main():
        slots = Semaphore(1)
        slots.try_acquire()
        task = asyncio.create_task(ask_async(ConcurrencyLimitMiddleware(hello, slots, max_wait=30)))
        await eventually(lambda: slots.statistics().waiters == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        slots.release()
        assert slots.value == 1

    asyncio.run(main())


# --- mistakes ---------------------------------------------------------------------------------------------------


async def later(*_arguments):
    return 1


def test_functions_of_the_request_must_not_be_coroutine_functions(clock):
    """What they return would be a coroutine: the same key for nobody, and no cost."""
    for name in "key", "cost", "on_refused":
        with pytest.raises(TypeError, match=f"'{name}' must be an ordinary function, not the coroutine function"):
            RateLimitMiddleware(hello, bucket(clock), **{name: later})
    for name in "key", "cost":
        with pytest.raises(TypeError, match=f"'{name}' must be an ordinary function"):
            RateLimitMiddleware(hello, routes=[Route("/", bucket(clock), **{name: later})])
    for name in "priority", "on_refused":
        with pytest.raises(TypeError, match=f"'{name}' must be an ordinary function"):
            ConcurrencyLimitMiddleware(hello, AdaptiveConcurrency(target=1), **{name: later})


def test_functions_of_the_request_that_return_something_else(clock):
    with pytest.raises(TypeError, match="'cost' must return a number, not None"):
        ask(RateLimitMiddleware(hello, bucket(clock), cost=lambda scope: None))
    for app in (
        RateLimitMiddleware(hello, ZeroRate(), on_refused=lambda scope, refusal: None),
        ConcurrencyLimitMiddleware(hello, Semaphore(0), max_wait=0, on_refused=lambda scope, refusal: None),
    ):
        with pytest.raises(TypeError, match="'on_refused' must return an ASGI application, not None"):
            ask(app)


def test_an_application_of_wsgi():
    """It is told at once which module has the middleware for it."""

    def wsgi_app(environ, start_response):
        return []

    for make in (lambda: RateLimitMiddleware(wsgi_app, ZeroRate()), lambda: ConcurrencyLimitMiddleware(wsgi_app, Semaphore(1))):
        with pytest.raises(
            TypeError, match=r"'app' must be an ASGI application, .* of WSGI: import the middleware from sluicegate\.http\.wsgi"
        ):
            make()
    RateLimitMiddleware(lambda *arguments: later(), ZeroRate())


def test_a_set_with_a_semaphore_is_no_limit_of_a_rate():
    limits = RateLimits(rate=RateLimits(inner=Semaphore(1), slow=TokenBucket(1, burst=1)), other=TokenBucket(1, burst=1))
    for options in (
        {"limiter": limits},
        {"routes": [Route("/", limits)]},
        {"limiter": KeyedTokenBucket(1, burst=1, max_keys=1), "overflow": limits},
    ):
        with pytest.raises(TypeError, match="must have no Semaphore in it, because it admits by permits only"):
            RateLimitMiddleware(hello, **options)
