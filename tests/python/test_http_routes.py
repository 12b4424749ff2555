"""The paths of routes and of `exempt`: which of them fit, and that no path of a stranger's keeps the server busy."""

from __future__ import annotations

import os
import re

import pytest
from http_apps import ask, hello
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate import Semaphore, TokenBucket
from sluicegate.http import Route
from sluicegate.http._paths import Paths
from sluicegate.http.asgi import ConcurrencyLimitMiddleware, RateLimitMiddleware

# How many inputs are tried: more with SLUICEGATE_MODEL_EXAMPLES=100000.
EXAMPLES = int(os.environ.get("SLUICEGATE_MODEL_EXAMPLES", "300"))


def finder(patterns):
    paths = Paths("routes", [(pattern, None, number) for number, pattern in enumerate(patterns)])
    return lambda path: paths.find("GET", path, None)


def find(patterns, path):
    return finder(patterns)(path)


@pytest.mark.parametrize(
    ("pattern", "fits", "fails"),
    [
        (
            "/files/{name}.{ext}",
            ["/files/a.b", "/files/a.b.c", "/files/..a", "/files/..."],
            ["/files/a", "/files/.a", "/files/a.", "/files/a/.b"],
        ),
        ("/{a}-{b}-{c}/x", ["/1-2-3/x", "/-----/x", "/1--2-3/x"], ["/1-2/x", "/----/x", "/1-2-3/y", "/1-2/3-4-5/x"]),
        ("/{a}{b}", ["/12", "/123"], ["/1", "/", "/1/2"]),
        ("/{a}ab{b}ab", ["/xabyab", "/xababab"], ["/abab", "/ababab", "/xabab", "/xabyabz"]),
        ("/{a}-{b}*", ["/1-2", "/1-2/3", "/1-2\n3"], ["/1-", "/1-/2", "/-2"]),
        ("/{a}.{b}/{c}.{d}", ["/1.2/3.4"], ["/1.2/34", "/12/3.4", "/1.2/3.4/"]),
        ("/{a}-y/{b}-{c}", ["/1-y/2-3", "/-y-y/2-3"], ["/-y/2-3", "/1-z/2-3"]),
    ],
)
def test_several_names_in_one_segment(pattern, fits, fails):
    """As in the paths of Starlette and Django: each takes at least one character, and none goes beyond its segment."""
    assert [path for path in fits if find([pattern], path) is None] == []
    assert [path for path in fails if find([pattern], path) is not None] == []


def test_the_first_pattern_that_fits():
    """Also among patterns with and without names, of which some take part of the path before they fail."""
    patterns = ["/{a}-{b}-{c}", "/{a}/x", "/{a}-{b}", "/plain", "/{a}.{b}.{c}.{d}", "/*"]
    paths = ["/1-2-3", "/1/x", "/1-2", "/plain", "/1.2.3.4", "/1.2.3"]
    assert [find(patterns, path) for path in paths] == [0, 1, 2, 3, 4, 5]
    # More names than a number in a regular expression can refer to.
    many = finder([f"/{number}/{{a}}-{{b}}" for number in range(120)])
    assert [many(f"/{number}/1-2") for number in range(120)] == list(range(120))


def naive(pattern):
    """What a pattern means, as a regular expression that tries every way of dividing a path."""
    whole, rest = (pattern[:-1], ".*") if pattern.endswith("*") else (pattern, "")
    return re.compile("[^/]+".join(map(re.escape, re.split(r"\{[a-z]\}", whole))) + rest, re.DOTALL)


parts = st.lists(st.sampled_from(["{a}", "{b}", "-", ".", "-.", "/", "a"]), max_size=7)
patterns = st.builds(lambda parts, end: "/" + "".join(parts) + end, parts, st.sampled_from(["", "*"]))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(patterns, min_size=1, max_size=4), st.lists(st.text("-./a", max_size=9), min_size=1, max_size=8))
def test_patterns_mean_what_a_search_of_all_ways_finds(patterns, paths):
    found, searches = finder(patterns), [naive(pattern) for pattern in patterns]
    for path in paths:
        expected = next((number for number, search in enumerate(searches) if search.fullmatch("/" + path)), None)
        assert found("/" + path) == expected


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/{a}-{b}-{c}/x", "/" + "-" * 200_000 + "/"),
        ("/files/{name}.{ext}", "/files/" + "." * 200_000 + "/"),
        ("/{a}{b}{c}{d}/x", "/" + "a" * 200_000),
        ("/{a}ab{b}ab{c}ab{d}/x", "/" + "ab" * 100_000 + "a/x."),
        ("/{a}-{b}/{c}-{d}/{e}-{f}", "/" + "-" * 60_000 + "/" + "-" * 60_000 + "/" + "-" * 60_000 + "/"),
        ("/{a}/{b}/{c}/x", "/a" * 60_000),
        ("/{a}.json/{b}.json/x", "/" + ".json" * 40_000 + "/" + ".json" * 40_000),
        ("/{a}-{b}x*", "/" + "-" * 200_000),
    ],
)
def test_a_long_path_is_compared_in_linear_time(pattern, path):
    """Paths so long that a search that goes back for each way of dividing them would last for hours: the test's time limit sees it."""
    assert find([pattern, "/never", pattern], path) is None


def test_no_path_keeps_a_middleware_busy():
    """Neither in `routes` nor in `exempt`."""
    path = "/" + "-" * 200_000 + "/"
    app = RateLimitMiddleware(hello, TokenBucket(1, burst=5), routes=[Route("/{a}-{b}-{c}-{d}/x", None)])
    assert "ratelimit" in ask(app, path).headers
    assert "ratelimit" not in ask(app, "/1-2-3-4/x").headers
    app = ConcurrencyLimitMiddleware(hello, Semaphore(1), exempt=["/{a}-{b}-{c}-{d}/x"])
    assert ask(app, path).status == ask(app, "/1-2-3-4/x").status == 200
    assert (app.statistics().admitted, app.statistics().not_limited) == (1, 1)


@pytest.mark.parametrize("path", ["/u/<id>", "/u/<int:id>", "/u/:id", "/:a/b", "/search?q=*", "/a#b"])
def test_paths_of_other_frameworks_are_refused(path):
    """They would fit no request, and the route had no limit."""
    for make in (
        lambda: RateLimitMiddleware(hello, routes=[Route(path, TokenBucket(1, burst=1))]),
        lambda: ConcurrencyLimitMiddleware(hello, Semaphore(1), exempt=[path]),
    ):
        with pytest.raises(ValueError, match=r"write `\{id\}`"):
            make()
    assert find(["/v1/a:b", "/{x}:c"], "/d:c") == 1
