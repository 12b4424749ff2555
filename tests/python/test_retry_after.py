"""`sluicegate.http`: what a Retry-After says."""

from __future__ import annotations

import random
from datetime import datetime, timezone

import pytest

from sluicegate.http import parse_retry_after

NOW = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 120\t", 120.0),
        (b"120", 120.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("2.0", 2.0),
        (".5", 0.5),
        (3, 3.0),
        (1.5, 1.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:29:30 GMT", 90.0),
        ("Fri, 23 Oct 2015 07:28:00 GMT", 172_800.0),
        ("Friday, 23-Oct-15 07:28:00 GMT", 172_800.0),
        ("Fri Oct 23 07:28:00 2015", 172_800.0),
        ("Wed, 21 Oct 2005 07:28:00 GMT", 0.0),
        ("5, 6", 6.0),
        ("60,5", 60.0),
        ("soon, 7,", 7.0),
        ("30, Wed, 21 Oct 2015 07:29:30 GMT", 90.0),
        ("Wed, 21 Oct 2015 07:29:30 GMT, 120", 120.0),
        ("Friday, 23-Oct-15 07:28:00 GMT,Fri Oct 23 07:28:01 2015, 5", 172_801.0),
        *(
            (value, None)
            for value in (None, "", " ", "-1", "soon", "1e3", "nan", "inf", "+5", "1_000", "\u0663", "21 Oct", "5 s", ",", "a, b", True)
        ),
        *(
            (value, None)
            for value in (-1, float("nan"), float("inf"), 10**400, "9" * 400, "Wed, 99 Oct 2015 07:28:00 GMT", object(), b"\xff")
        ),
    ],
)
def test_retry_after(value, seconds):
    """Seconds, with a fraction too, or a date in any of its forms; what cannot be read is absent."""
    assert parse_retry_after(value, now=NOW) == seconds


def test_now():
    """Seconds since the epoch, or a datetime that knows its zone; the system's clock otherwise."""
    date = "Wed, 21 Oct 2015 07:29:30 GMT"
    assert parse_retry_after(date, now=datetime(2015, 10, 21, 7, 28, tzinfo=timezone.utc)) == 90.0
    assert parse_retry_after(date) == 0.0
    for now in ("now", True, float("nan"), datetime(2015, 10, 21)):
        with pytest.raises(TypeError, match="'now' must be seconds since the epoch"):
            parse_retry_after(date, now=now)


def test_no_text_raises():
    """Whatever a server sends."""
    chance = random.Random(4)
    letters = "0123456789.:,-+ GMTWedOctabc\t\x00\xff"
    for _ in range(5000):
        text = "".join(chance.choices(letters, k=chance.randrange(40)))
        seconds = parse_retry_after(text, now=NOW)
        assert seconds is None or seconds >= 0
    for length in (100, 10_000_000):
        parse_retry_after("1" * length + "x")
