"""`sluicegate.http`: what a server's headers say of its limits, in every dialect, and the headers in which one's own are told."""

from __future__ import annotations

import base64
import math
import os
import time
from datetime import datetime, timedelta, timezone
from email.message import Message

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate import TokenBucket
from sluicegate.http import Limit, heed, limit_headers, read_limits, read_retry_after
from sluicegate.http._fields import LARGEST, parse_list, serialize_member
from sluicegate.http._times import parse_reset

NOW = 1_795_648_000.0  # Wed, 25 Nov 2026 23:06:40 GMT
DATE = "Wed, 25 Nov 2026 23:06:40 GMT"


def one(headers, **told):
    (limit,) = read_limits(headers, now=NOW)
    assert {name: getattr(limit, name) for name in told} == told
    return limit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12ms", 0.012),
        ("1s", 1.0),
        ("1m30s", 90.0),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("2us", 2e-6),
        ("2\u00b5s", 2e-6),
        ("5ns", 5e-9),
        ("60", 60.0),
        (" 60\t", 60.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("1795648060", 60.0),
        ("1795648060.25", 60.25),
        ("1795648060250", 60.25),
        ("1795647000", 0.0),
        ("2026-11-25T23:07:40Z", 60.0),
        ("2026-11-25T23:07:40.5Z", 60.5),
        ("2026-11-25 23:07:40", 60.0),
        ("2026-11-26T00:07:40+01:00", 60.0),
        ("2026-11-25T22:07:40-0100", 60.0),
        ("2026-11-25T23:06:39Z", 0.0),
        ("Wed, 25 Nov 2026 23:07:40 GMT", 60.0),
        ("Thu Nov 26 2026 00:07:40 GMT+0100 (Central European Standard Time)", 60.0),
        *(
            (text, None)
            for text in (
                "",
                "soon",
                "1 s",
                "s",
                "1x",
                "nan",
                "inf",
                "1e3",
                "\u0663",
                "2026-13-01T00:00:00Z",
                "2026-11-25T23:07:40+99:00",
                "Thu Foo 26 2026 00:07:40 GMT+0100",
                "1" * 129,
                "\x00",
                "1m30",
            )
        ),
    ],
)
def test_resets(text, seconds):
    """Every way of saying when; what cannot be read is unknown, and not now."""
    assert parse_reset(text, NOW) == (None if seconds is None else pytest.approx(seconds, abs=1e-6))


def test_the_drafts_fields():
    """Lists of structured fields: policies and states belong together by name, in one line or in several."""
    policy = '"permin";q=50;w=60,"perhr";q=1000;w=3600'
    state = '"permin";r=49;t=12, "perhr";r=900;t=2400'
    both = [
        Limit("permin", 50.0, 49.0, 12.0, 60.0),
        Limit("perhr", 1000.0, 900.0, 2400.0, 3600.0),
    ]
    assert read_limits({"RateLimit-Policy": policy, "RateLimit": state}) == both
    lines = [("ratelimit-policy", part) for part in policy.split(",")] + [("RATELIMIT", part.strip()) for part in state.split(",")]
    assert read_limits(lines) == both
    assert read_limits([(name.encode(), value.encode()) for name, value in lines]) == both
    message = Message()
    for name, value in lines:
        message[name] = value
    assert read_limits(message) == both
    assert read_limits({"RateLimit": state}) == [Limit("permin", None, 49.0, 12.0), Limit("perhr", None, 900.0, 2400.0)]
    assert read_limits({"RateLimit-Policy": policy}) == [Limit("permin", 50.0, window=60.0), Limit("perhr", 1000.0, window=3600.0)]


def test_the_drafts_details():
    """Tokens for strings, the newer names of the parameters, units, partitions, parameters that nobody knows."""
    assert read_limits({"RateLimit-Policy": "quota;q=100;w=1", "RateLimit": "quota;r=3"}) == [Limit("quota", 100.0, 3.0, None, 1.0)]
    assert read_limits({"RateLimit": '"p";a=49;w=12'}) == [Limit("p", None, 49.0, 12.0)]
    key = base64.b64encode(b"user 1").decode()
    headers = {
        "RateLimit-Policy": f'"p";q=9;qu="content-bytes";pk=:{key}:;x=?1;y="a\\"b";z=@12;v=1.5;u',
        "RateLimit": f'"p";r=1;pk=:{key}:',
    }
    assert read_limits(headers) == [Limit("p", 9.0, 1.0, unit="content-bytes", partition=b"user 1")]
    assert read_limits({"RateLimit-Policy": '"p";q=9;qu="request"'}) == [Limit("p", 9.0)]
    assert read_limits({"RateLimit": '"p";r=1', "Age": "5"}) == [], "it comes from a cache"
    assert read_limits({"RateLimit": '"p";r=1', "Age": "0"}) == [Limit("p", remaining=1.0)]


@pytest.mark.parametrize(
    "field",
    [
        '"a";r=1, "b";r=x',
        '"a";r=1, "b"',
        '"a";r=1, "b";r=-1',
        '"a";r=1, "b";r=1.5',
        '"a";r=1, "b";r="1"',
        '"a";r=1, "b";r=?1',
        '"a";r=1, "b";r=1;t=-1',
        '"a";r=1, "b";r=1;t=soon',
        '"a";r=1, "b";r=1;pk="x"',
        '"a";r=1, 7;r=1',
        '"a";r=1, ("b" "c");r=1',
        '"a";r=1,',
        '"a";r=1 "b";r=1',
        '"a";r=1;',
        '"a";r=',
        '"a";R=1',
        '"a";r=1, "b',
        '"a\x7f";r=1',
        '"a\n";r=1',
        '"\u00e9";r=1',
        '"a";r=1234567890123456',
        '"a";r=1, "b";r=1;x=:?:',
        '"a";r=1;x=%"%zz"',
        '"a";r=1;x=%"%ff"',
        "\u0661;r=1",
        "," * 100,
        '"a";r=1,' * 3000 + '"a";r=1',
    ],
)
def test_a_malformed_field_is_ignored_whole(field):
    assert read_limits({"RateLimit": field, "RateLimit-Policy": '"a";q=2'}) == [Limit("a", 2.0)]


def test_a_malformed_policy():
    for policy in ('"a";q=1;w=0', '"a";w=1', '"a";q=1;w=1.5', '"a"'):
        assert read_limits({"RateLimit-Policy": policy, "RateLimit": '"a";r=2'}) == [Limit("a", remaining=2.0)]


def test_old_drafts():
    one({"RateLimit-Limit": "100", "RateLimit-Remaining": "3", "RateLimit-Reset": "50"}, quota=100.0, remaining=3.0, reset_after=50.0)
    one({"RateLimit-Limit": "100, 100;w=60, 1000;w=3600", "RateLimit-Remaining": "3"}, quota=100.0, window=60.0, dialect="draft-06")


def test_the_seventh_draft():
    """A dictionary, which some servers still send."""
    told = {"RateLimit": "limit=100, remaining=50, reset=30", "RateLimit-Policy": "100;w=60"}
    assert read_limits(told) == [Limit("default", 100.0, 50.0, 30.0, 60.0, dialect="draft-07")]
    assert read_limits({"RateLimit": "limit=100,remaining=0,reset=5"}) == [Limit("default", 100.0, 0.0, 5.0, dialect="draft-07")]
    for wrong in ("limit=100, remaining=50", "limit=100, remaining=-1, reset=5", "limit=1, remaining=1, reset=soon"):
        assert read_limits({"RateLimit": wrong}) == []


def test_github():
    headers = {
        "x-ratelimit-limit": "5000",
        "x-ratelimit-remaining": "4999",
        "x-ratelimit-used": "1",
        "x-ratelimit-reset": "1795648060",
        "x-ratelimit-resource": "core",
    }
    one(headers, name="core", quota=5000.0, remaining=4999.0, reset_after=60.0, dialect="github", unit="requests")


def test_openai_and_azure():
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-reset-tokens": "6m0s",
        "x-ratelimit-remaining-tokens_usage_based": "7",
    }
    requests, tokens, by_usage = read_limits(headers)
    assert requests == Limit("requests", 60.0, 59.0, 1.0, unit="requests", dialect="openai")
    assert tokens == Limit("tokens", 150000.0, 149984.0, 360.0, unit="tokens", dialect="openai")
    assert by_usage == Limit("tokens_usage_based", remaining=7.0, unit="tokens", dialect="openai")
    headers = {
        "apim-request-id": "1",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "-1",
        "x-ratelimit-reset-tokens": "7",
    }
    one(headers, quota=100.0, remaining=None, reset_after=7.0, dialect="azure")
    one({**headers, "x-ratelimit-remaining-tokens": "0"}, remaining=None)


def test_anthropic():
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-11-25T23:06:39Z",
        "anthropic-ratelimit-input-tokens-limit": "40000",
        "anthropic-ratelimit-input-tokens-remaining": "39000",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-25T23:07:40Z",
        "anthropic-ratelimit-unified-reset": "1795648060",
    }
    requests, tokens = read_limits(headers, now=NOW)
    assert requests == Limit("requests", 50.0, 49.0, 0.0, unit="requests", dialect="anthropic")
    assert tokens == Limit("input-tokens", 40000.0, 39000.0, 60.0, unit="tokens", dialect="anthropic")


def test_the_others():
    discord = {
        "X-RateLimit-Limit": "5",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1795649999.5",
        "X-RateLimit-Reset-After": "1.25",
        "X-RateLimit-Bucket": "abcd1234",
    }
    one(discord, name="abcd1234", quota=5.0, remaining=0.0, reset_after=1.25, dialect="discord")
    one({"X-Shopify-Shop-Api-Call-Limit": "32/40"}, quota=40.0, remaining=8.0, dialect="shopify")
    one({"X-Shopify-Shop-Api-Call-Limit": "41/40"}, remaining=0.0)
    slowapi = {"X-RateLimit-Limit": "2", "X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "1795648034.64367"}
    one(slowapi, quota=2.0, reset_after=pytest.approx(34.64367), dialect="generic")
    one({"x-rate-limit-limit": "15", "x-rate-limit-remaining": "14", "x-rate-limit-reset": "1795648900"}, reset_after=900.0)
    kong = {"X-RateLimit-Limit-Minute": "10", "X-RateLimit-Remaining-Minute": "9"}
    one(kong, name="minute", window=60.0, unit="requests", quota=10.0, remaining=9.0)
    one(
        {"X-RateLimit-Limit": "many", "X-RateLimit-Remaining": "2", "X-RateLimit-Reset": "later"},
        quota=None,
        remaining=2.0,
        reset_after=None,
    )


def test_now():
    """The response's own Date, the argument, or the clock."""
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795648060"}
    assert read_limits({**headers, "Date": DATE})[0].reset_after == 60.0
    assert read_limits({**headers, "Date": DATE}, now=NOW + 10)[0].reset_after == 50.0
    assert read_limits(headers, now=datetime.fromtimestamp(NOW, timezone.utc))[0].reset_after == 60.0
    for date in ("soon", "5", "\xff"):
        soon = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(time.time() + 1000), "Date": date}
        assert 0 < read_limits(soon)[0].reset_after <= 1000
    with pytest.raises(TypeError, match="'now' must be seconds since the epoch"):
        read_limits(headers, now="now")


@pytest.mark.parametrize(
    ("headers", "status", "seconds"),
    [
        ({"Retry-After": "120"}, None, 120.0),
        ({"Retry-After": "2.0"}, 200, 2.0),
        ({"Retry-After": "Wed, 25 Nov 2026 23:07:40 GMT"}, 503, 60.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 429, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 429, 2.0),
        ({"X-RateLimit-Retry-After": "7"}, 429, 7.0),
        ({"Retry-After": "soon"}, 429, None),
        ({}, 429, None),
        ({"RateLimit": '"a";r=0;t=9, "b";r=0;t=30, "c";r=1;t=99'}, 429, 30.0),
        ({"RateLimit": '"a";r=0;t=9', "Retry-After": "10"}, 429, 10.0),
        ({"RateLimit": '"a";r=0;t=9'}, 200, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795648060", "x-ratelimit-resource": "core"}, 403, 60.0),
        ({"x-ratelimit-remaining": "14", "x-ratelimit-reset": "1795649000", "x-ratelimit-resource": "core"}, 403, None),
        ({"x-ratelimit-remaining": "14", "x-ratelimit-reset": "1795649000", "x-ratelimit-resource": "core"}, 429, 60.0),
    ],
)
def test_retry_after_of_a_response(headers, status, seconds):
    assert read_retry_after(headers, status=status, now=NOW) == seconds


def test_headers_told():
    limits = [
        Limit("permin", 50.9, 49.9, 11.1, 59.5),
        Limit('a "b" \\', 10, -3, 0.0, 0.1, unit="tokens", partition=b"\x00"),
        Limit("no quota", remaining=1),
        Limit("no state", quota=math.inf),
    ]
    told = limit_headers(limits, 0.2)
    assert told == {
        "RateLimit-Policy": '"permin";q=50;w=60, "a \\"b\\" \\\\";q=10;qu="tokens";w=1;pk=:AA==:, "no state";q=999999999999999',
        "RateLimit": '"permin";r=49;t=12, "a \\"b\\" \\\\";r=0;t=0;pk=:AA==:, "no quota";r=1',
        "Retry-After": "1",
    }
    assert read_limits(told)[1] == Limit('a "b" \\', 10.0, 0.0, 0.0, 1.0, unit="tokens", partition=b"\x00")
    assert limit_headers([], timedelta(seconds=90.5)) == {"Retry-After": "91"}
    assert limit_headers([Limit()]) == {}


@pytest.mark.parametrize("name", ["a\r\nSet-Cookie: x=1", "a\nb", "\x00", "\x7f", "\u00e9", "\u2028"])
def test_nothing_gets_into_a_header_through_a_name(name):
    for limit in (Limit(name, quota=1), Limit(name, remaining=1), Limit("a", quota=1, unit=name)):
        with pytest.raises(ValueError, match="must be printable ASCII"):
            limit_headers([limit])
    for value in (math.nan, "1\r\nX: y", True):
        with pytest.raises(ValueError, match="must be a number"):
            limit_headers([Limit(quota=value)])
    with pytest.raises(ValueError, match="must be a number"):
        limit_headers([], math.nan)
    for value in ("1\r\nX: y", "x", True, b"1"):
        with pytest.raises(TypeError, match="'retry_after' must be seconds, a timedelta or None, not"):
            limit_headers([], value)


def test_a_number_without_an_end_is_the_largest():
    """Also one that is larger than any float."""
    for number in (10**400, math.inf, 1e300):
        told = limit_headers([Limit(quota=number, remaining=number, reset_after=number, window=number)], number)
        assert told == {
            "RateLimit-Policy": '"default";q=999999999999999;w=999999999999999',
            "RateLimit": '"default";r=999999999999999;t=999999999999999',
            "Retry-After": "2678400",  # 31 days, as in the answers of the middlewares
        }
    assert limit_headers([Limit(remaining=-(10**400))]) == {"RateLimit": '"default";r=0'}
    for function in (read_limits, read_retry_after):
        with pytest.raises(TypeError, match="'now' must be"):
            function({}, now=10**400)


@pytest.mark.parametrize(
    "limit",
    [Limit(quota=5, unit=None), Limit(quota=5, unit=5), Limit(quota=5, partition="x"), Limit(remaining=5, partition=5)],
    ids=repr,
)
def test_what_would_be_read_as_something_else_is_refused(limit):
    with pytest.raises(ValueError, match="'unit' must be a str, not|'partition' must be bytes or None, not"):
        limit_headers([limit])


def test_a_class_of_ones_own_gets_nothing_into_a_header():
    class Text(str):
        __slots__ = ()

        def replace(self, *_):
            return "x\r\nSet-Cookie: x=1"

        __str__ = __repr__ = lambda self: self.replace()

    class Whole(int):
        __str__ = __repr__ = __format__ = lambda self, *_: "1\r\nSet-Cookie: x=1"

    class Number(float):
        __str__ = __repr__ = __format__ = lambda self, *_: "1\r\nSet-Cookie: x=1"
        __floor__ = __ceil__ = lambda self: Whole(7)

    for number in (Whole(3), Number(3.0)):
        limit = Limit(Text("ab"), number, number, number, number, unit=Text("cd"))
        assert limit_headers([limit], number) == {
            "RateLimit-Policy": '"ab";q=3;qu="cd";w=3',
            "RateLimit": '"ab";r=3;t=3',
            "Retry-After": "3",
        }


def test_headers_that_are_none():
    for headers in (None, 5, [1], ["ab c"], [(1, 2, 3)], [(None, "x")]):
        with pytest.raises(TypeError, match="'headers' must be a mapping"):
            read_limits(headers)
    assert read_limits([("RateLimit", None), ("RateLimit", 5)]) == []


# How many inputs are tried: more with SLUICEGATE_MODEL_EXAMPLES=100000.
EXAMPLES = int(os.environ.get("SLUICEGATE_MODEL_EXAMPLES", "300"))
FIELD = st.text(st.sampled_from('"ab;=,rqwt 019.-:?@%()*\\\t\xff'), max_size=60)
ANY = st.one_of(FIELD, st.text(max_size=60))
NAMES = st.sampled_from(
    [
        "RateLimit",
        "RateLimit-Policy",
        "RateLimit-Limit",
        "RateLimit-Remaining",
        "RateLimit-Reset",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
        "X-RateLimit-Reset-After",
        "X-RateLimit-Bucket",
        "x-ratelimit-resource",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-reset-tokens",
        "apim-request-id",
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-reset",
        "X-Shopify-Shop-Api-Call-Limit",
        "Retry-After",
        "retry-after-ms",
        "Date",
        "Age",
    ]
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(NAMES, ANY), max_size=6), st.sampled_from([None, 200, 403, 429, 503]))
def test_no_headers_raise(headers, status):
    """Whatever a server sends, and what is read is a number, or absent."""
    for limit in read_limits(headers):
        for number in (limit.quota, limit.remaining, limit.reset_after, limit.window):
            assert number is None or (number >= 0 and math.isfinite(number))
    seconds = read_retry_after(headers, status=status)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    st.integers(0, LARGEST),
    st.integers(0, LARGEST),
    st.integers(1, LARGEST),
    st.one_of(st.none(), st.binary(max_size=20)),
)
def test_what_is_told_is_read(name, quota, remaining, seconds, partition):
    limit = Limit(name, float(quota), float(remaining), float(seconds), float(seconds), partition=partition)
    assert read_limits(limit_headers([limit])) == [limit]


@settings(max_examples=EXAMPLES, deadline=None)
@given(FIELD)
def test_a_list_that_is_read_can_be_written(text):
    """What has been read, written and read again is the same."""
    for name, parameters in parse_list(text) or ():
        plain = [(key, value) for key, value in parameters.items() if type(value) in (int, bytes)]
        if isinstance(name, str):
            assert parse_list(serialize_member(name, plain)) == [(name, dict(plain))]


def work(function, text):
    """The processor's time that the function takes, the better of two, and at least a millisecond."""
    times = []
    for _ in range(2):
        begin = time.thread_time()
        function(text)
        times.append(time.thread_time() - begin)
    return max(min(times), 1e-3)


HEADS = ['"', '"\\', '"a";', '"a";r=1,', '"a";r=1;', ",", " ", "a", "1", "1.", "1m", ":", '%"%', "; ", '"a"; ', "w=", ";w = "]


@pytest.mark.parametrize("head", HEADS)
def test_a_mebibyte_is_read_in_linear_time(head):
    """32 times as much text takes no more than 100 times as long: if it were quadratic, that would be 1000 times."""
    small, long = (head * (length // len(head)) for length in (1 << 15, 1 << 20))
    for name in ("RateLimit", "RateLimit-Limit", "X-RateLimit-Reset", "Retry-After", "X-Shopify-Shop-Api-Call-Limit", "X"):

        def read(text, name=name):
            return read_retry_after([(name, text), ("X-RateLimit-Remaining", "0")], status=429, now=NOW)

        assert work(read, long) < 100 * work(read, small)
    assert work(parse_list, head * (8192 // len(head))) < 100 * work(parse_list, head * (256 // len(head)))  # no longer field is parsed


def test_many_headers():
    """Thirty thousand headers are read in a moment, and of one dialect only so many dimensions are."""
    headers = [(f"x-ratelimit-limit-{n}", "1") for n in range(30_000)]
    assert len(read_limits(headers)) == 64
    assert len(read_limits([("RateLimit", '"a";r=1')] * 30_000)) == 0


def test_milliseconds_are_a_number():
    """A date is none, and zero would be an invitation."""
    date = "Thu, 01 Jan 1970 00:00:00 GMT"
    assert read_retry_after({"retry-after-ms": "1500"}) == 1.5
    assert read_retry_after({"retry-after-ms": date}) is None
    assert read_retry_after({"retry-after-ms": date, "Retry-After": "7"}) == 7.0
    assert read_retry_after({"retry-after-ms": "soon"}) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("11, 30", 30.0),
        ("30,11", 30.0),
        ("soon, 11, ", 11.0),
        (", -1", None),
        (f"11, {DATE}", 11.0),
        ("Wed, 25 Nov 2026 23:07:40 GMT, 11", 60.0),
        ("11, Wednesday, 25-Nov-26 23:07:40 GMT", 60.0),
        ("Wed Nov 25 23:07:40 2026, Wed, 25 Nov 2026 23:08:40 GMT", 120.0),
    ],
)
def test_a_retry_after_that_was_sent_twice(value, seconds):
    """By the server and a proxy, say: the longest time counts, because whoever asked for it would refuse a call before."""
    assert read_retry_after({"Retry-After": value}, now=NOW) == seconds
    assert read_retry_after([("Retry-After", value), ("retry-after", "1")], now=NOW) == max(1.0, seconds or 0.0)


@pytest.mark.parametrize(
    "text", ["1," * 128, ", " * 128, "," + " " * 255, ("Wed, 25 Nov" * 24)[:256]], ids=["numbers", "commas", "blanks", "dates"]
)
def test_the_longest_retry_after_that_is_read(text):
    """A longer one is not read at all, so that the time for one header is bounded."""
    assert read_retry_after({"Retry-After": text}, now=NOW) == (1.0 if text[0] == "1" else None)
    assert read_retry_after({"Retry-After": text + ",1"}, now=NOW) is None


def test_what_is_no_limit_is_refused():
    for wrong in 5, None, "abc", [5], [Limit("a", quota=1), None]:
        with pytest.raises(TypeError, match="'limits' must be"):
            limit_headers(wrong)
    with pytest.raises(ValueError, match="must be printable ASCII, not 5"):
        limit_headers([Limit(5, quota=1)])


def test_a_response_in_the_place_of_its_headers():
    class Response:
        headers = {"Retry-After": "2"}

        def __iter__(self):
            return iter([b"a body"])

    for call in (read_limits, read_retry_after, lambda response: heed(TokenBucket(1, burst=1), response)):
        with pytest.raises(TypeError, match=r"'headers' must be .*: write `response\.headers`"):
            call(Response())


@pytest.mark.parametrize("status", ["429", True, 429.0])
def test_a_status_is_an_int(status):
    with pytest.raises(TypeError, match="'status' must be an int or None, not"):
        heed(TokenBucket(1, burst=1), {"Retry-After": "2"}, status=status)
