"""`client_address`: whose request it is, and what a client can do to be taken for somebody else."""

from __future__ import annotations

import ipaddress
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate import KeyedTokenBucket
from sluicegate.http import client_address
from sluicegate.testing import ManualClock

TRUSTED = ("10.0.0.0/8",)


def scope(peer, *lines):
    headers = [(b"host", b"example.org"), *((b"x-forwarded-for", line.encode("latin-1")) for line in lines)]
    return {"type": "http", "client": None if peer is None else (peer, 50000), "headers": headers}


def environ(peer, *lines):
    told = {"REMOTE_ADDR": peer, "wsgi.version": (1, 0)} if peer is not None else {"wsgi.version": (1, 0)}
    return {**told, "HTTP_X_FORWARDED_FOR": ",".join(lines)} if lines else told


VECTORS = [
    ("203.0.113.9", ["1.1.1.1"], "203.0.113.9"),
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["6.6.6.6, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
    ("10.0.0.1", ["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
    ("10.0.0.1", ["198.51.100.7, evil, 10.0.0.2"], "10.0.0.2"),
    ("10.0.0.1", ["198.51.100.7, , 10.0.0.2"], "10.0.0.2"),
    ("10.0.0.1", ["unknown"], "10.0.0.1"),
    ("10.0.0.1", [""], "10.0.0.1"),
    ("10.0.0.1", [","], "10.0.0.1"),
    ("10.0.0.1", ["[2001:db8:1:2::9]:443"], "2001:db8:1:2::/64"),
    ("10.0.0.1", ["[2001:db8:1:2::9]"], "2001:db8:1:2::/64"),
    ("10.0.0.1", ["2001:db8:1:2::9"], "2001:db8:1:2::/64"),
    ("10.0.0.1", ["fe80::1%eth0"], "fe80::/64"),
    ("10.0.0.1", ["198.51.100.7:5123"], "198.51.100.7"),
    ("10.0.0.1", ["\t198.51.100.7 "], "198.51.100.7"),
    ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ("10.0.0.1", ["198.51.100.7%1"], "10.0.0.1"),
    ("10.0.0.1", ["\xb9\xb2.1.1.1"], "10.0.0.1"),
    ("10.0.0.1", ["0198.51.100.7"], "10.0.0.1"),
    ("10.0.0.1", ["1" * 10_000], "10.0.0.1"),
    ("::ffff:203.0.113.9", [], "203.0.113.9"),
    ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
    ("2001:db8::1", ["1.1.1.1"], "2001:db8::/64"),
    ("testclient", ["1.1.1.1"], "testclient"),
    ("", ["1.1.1.1"], "unix"),
    (None, ["1.1.1.1"], "unix"),
]


@pytest.mark.parametrize("request_of", [scope, environ])
@pytest.mark.parametrize(("peer", "lines", "address"), VECTORS)
def test_vectors(request_of, peer, lines, address):
    assert client_address(request_of(peer, *lines), TRUSTED) == address


def test_by_default_no_header_is_believed():
    for peer, lines, _ in VECTORS:
        assert client_address(scope(peer, *lines)) == client_address(scope(peer))


def test_a_socket_of_the_machine():
    """A proxy at a Unix domain socket has no address, and is trusted by name."""
    for peer in ("", None):
        assert client_address(scope(peer, "6.6.6.6, 198.51.100.7"), ("unix",)) == "198.51.100.7"
        assert client_address(environ(peer, "6.6.6.6, 198.51.100.7"), ["unix"]) == "198.51.100.7"
    assert client_address(scope("10.0.0.1", "198.51.100.7"), ("unix",)) == "10.0.0.1"
    assert client_address(scope("10.0.0.1", "198.51.100.7, unix"), ("unix", *TRUSTED)) == "10.0.0.1", "no hop is a socket"


def test_arguments():
    assert client_address(scope("10.0.0.1", "1.1.1.1"), [ipaddress.ip_network("10.0.0.0/8")]) == "1.1.1.1"
    assert client_address(scope("10.0.0.1", "1.1.1.1"), ["10.0.0.1"]) == "1.1.1.1"
    assert client_address(scope("2001:db8:1:2::9"), v6_prefix=48) == "2001:db8:1::/48"
    assert client_address(scope("2001:db8:1:2::9"), v6_prefix=128) == "2001:db8:1:2::9"
    for wrong in ("10.0.0.0/8", None, 5, [5], [None], [["10.0.0.0/8"]]):
        with pytest.raises(TypeError):
            client_address(scope("10.0.0.1"), wrong)
    for wrong in (["10.0.0.1/8"], ["*"], ["ten"], [""]):
        with pytest.raises(ValueError, match="'trusted' must be networks"):
            client_address(scope("10.0.0.1"), wrong)
    client_address(scope("::1"), v6_prefix=1)
    for wrong, error in ((0, ValueError), (129, ValueError), (True, TypeError), ("64", TypeError), (64.0, TypeError)):
        with pytest.raises(error, match="'v6_prefix'"):
            client_address(scope("::1"), v6_prefix=wrong)


# How many addresses: a million with SLUICEGATE_ROTATING_ADDRESSES=1000000, as `make test-long` has it.
ADDRESSES = int(os.environ.get("SLUICEGATE_ROTATING_ADDRESSES", "20000"))


def test_a_rotating_address_is_one_key():
    """Many addresses of one /64 are one key of a limiter, so rotating them gets a client nothing."""
    chance = random.Random(64)
    with ManualClock():
        limiter = KeyedTokenBucket(1, burst=5, max_keys=100)
    admitted = 0
    for _ in range(ADDRESSES):
        address = ipaddress.IPv6Address((0x20010DB800010002 << 64) | chance.getrandbits(64))
        admitted += limiter.try_acquire(client_address(scope(str(address))))
    assert admitted == 5
    assert len(limiter) == 1


def test_long_headers_are_read_from_the_right():
    """A mebibyte of proxies: only the last 32 are looked at, and an endless line of commas is nothing."""
    line = "10.0.0.9, " * 100_000
    assert client_address(scope("10.0.0.1", "6.6.6.6," + line + "10.0.0.2"), TRUSTED) == "10.0.0.9"
    assert client_address(scope("10.0.0.1", "," * 1_000_000), TRUSTED) == "10.0.0.1"
    assert client_address(scope("10.0.0.1", *["10.0.0.7"] * 50_000), TRUSTED) == "10.0.0.7"


# More with SLUICEGATE_MODEL_EXAMPLES=100000.
@settings(max_examples=int(os.environ.get("SLUICEGATE_MODEL_EXAMPLES", "300")), deadline=None)
@given(st.lists(st.text(st.sampled_from("0123456789abf.:[], %\t\xff"), max_size=40), max_size=3))
def test_no_header_raises(lines):
    """And whatever stands to the left of an address that is not trusted changes nothing."""
    assert isinstance(client_address(scope("10.0.0.1", *lines), TRUSTED), str)
    assert client_address(scope("10.0.0.1", *lines, "198.51.100.7, 10.0.0.2"), TRUSTED) == "198.51.100.7"
    assert client_address(scope("203.0.113.9", *lines), TRUSTED) == "203.0.113.9"


def test_the_request_of_a_framework_is_refused():
    """The error says what to give."""

    class Flask:
        environ = {"REMOTE_ADDR": "203.0.113.9"}

    class Django:
        META = {"REMOTE_ADDR": "203.0.113.9"}

        def get(self, name):
            return None

    for request in (Flask(), Django(), object(), None):
        with pytest.raises(
            TypeError, match=r"give request\.environ \(Flask\), request\.META \(Django\) or request\.scope \(Starlette, FastAPI\)"
        ):
            client_address(request)
