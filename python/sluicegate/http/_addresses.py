"""Whose request it is: the address of a client, for ASGI and WSGI.

No header is believed unless the program names the proxies that write it: anybody can send an X-Forwarded-For, to be taken for many clients,
or for another client, which is then locked out. The header is read from the right, because each proxy appends the address that it has seen,
and what stands to the left of an address that is not trusted was written by that address. Reading ends after 32 proxies, whatever the
length of the header.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from sluicegate._arguments import check_several, count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeAlias

    Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

__all__ = ["address_reader", "client_address"]

_MOST_PROXIES = 32
#: No address with a port is longer.
_LONGEST = 64
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}", re.ASCII)
#: The peer of a Unix domain socket, which has no address.
_UNIX = "unix"


def client_address(
    scope_or_environ: Mapping[str, Any],
    trusted: Iterable[str | Network] = (),
    v6_prefix: int = 64,
) -> str:
    """Return the address of a request's client, as the key of a limit: "198.51.100.7", or "2001:db8:1:2::/64".

    The request is an ASGI scope, or a WSGI environ. The address is that of the peer, the other end of the connection. If the peer is in
    one of the `trusted` networks, it is a proxy, and X-Forwarded-For is read from the right: the client is the first address that is not
    trusted, or the last readable one before an entry that is not an address. `trusted` has addresses and networks, such as "10.0.0.0/8",
    and "unix" for a peer at a Unix domain socket, whose address is "unix". All lines of the header count as one list.

    A client with IPv6 owns a whole network, and could have a new address for each request. So the address is that of its network, with a
    prefix of `v6_prefix` bits: 64 for what one site at least has, 56 or 48 for what many get. An IPv4 address inside IPv6 (::ffff:a.b.c.d)
    is an IPv4 address. A peer whose name is not an address is returned as it is.

    Raises ValueError for a network that cannot be read, or a prefix that is not in 1..128, and TypeError if `trusted` is not an iterable,
    or for a request object of a framework: give its scope or environ.
    """
    return address_reader(trusted, v6_prefix)(scope_or_environ)


def address_reader(trusted: Iterable[str | Network] = (), v6_prefix: int = 64) -> Callable[[Mapping[str, Any]], str]:
    """Return `client_address` with these arguments, checked and made ready."""
    check_several("trusted", trusted, "networks, such as ['10.0.0.0/8']")
    networks = tuple(trusted)
    for each in networks:
        if not isinstance(each, (str, ipaddress.IPv4Network, ipaddress.IPv6Network)):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
            raise TypeError(f"'trusted' must be networks, such as '10.0.0.0/8', not {each!r}")
    return _reader(networks, count("v6_prefix", v6_prefix, 1, 128))


@lru_cache(maxsize=64)
def _reader(trusted: tuple[str | Network, ...], v6_prefix: int) -> Callable[[Mapping[str, Any]], str]:
    networks = tuple(_network(each) for each in trusted if each != _UNIX)
    trusts_unix = _UNIX in trusted

    @lru_cache(maxsize=4096)
    def of(text: str) -> tuple[str, bool]:
        """Return the key for an address, and whether it is a proxy of ours."""
        address = _address(text)
        if address is None:
            return text or _UNIX, trusts_unix and (not text or text == _UNIX)
        is_trusted = any(address in network for network in networks)
        if address.version == 6:
            return str(ipaddress.ip_network((int(address), v6_prefix), strict=False)) if v6_prefix < 128 else str(address), is_trusted
        return str(address), is_trusted

    def read(request: Mapping[str, Any]) -> str:
        key, is_proxy = of(_peer(request))
        if not is_proxy:
            return key
        for hop in _hops(_forwarded(request)):
            if _address(hop) is None:
                return key
            key, is_proxy = of(hop)
            if not is_proxy:
                return key
        return key

    return read


def _network(given: str | Network) -> Network:
    if not isinstance(given, str):
        return given
    try:
        return ipaddress.ip_network(given)
    except ValueError as error:
        raise ValueError(f"'trusted' must be networks, such as '10.0.0.0/8', not {given!r}: {error}") from None


def _address(text: str) -> Address | None:
    """Return the address that a text is, also with a port; None if it is none."""
    text = text.strip(" \t")
    if len(text) > _LONGEST:
        return None
    found = _WITH_PORT.fullmatch(text)
    if found is not None:
        text = found[1] or found[2]
    try:
        # An IPv6 address without its zone.
        address = ipaddress.ip_address(text.partition("%")[0] if ":" in text else text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _peer(request: Mapping[str, Any]) -> str:
    # Starlette's request is a mapping as its scope is.
    if type(request) is not dict and (not hasattr(request, "get") or hasattr(request, "environ") or hasattr(request, "META")):
        raise TypeError(
            f"the request must be an ASGI scope or a WSGI environ, not {request!r}: "
            "give request.environ (Flask), request.META (Django) or request.scope (Starlette, FastAPI)"
        )
    if "REMOTE_ADDR" in request or "wsgi.version" in request:
        return request.get("REMOTE_ADDR") or ""
    client = request.get("client")
    return client[0] or "" if client else ""


def _forwarded(request: Mapping[str, Any]) -> list[str]:
    """Return the lines of X-Forwarded-For."""
    if "headers" in request:
        return [value.decode("latin-1") for name, value in request["headers"] if name.lower() == b"x-forwarded-for"]
    line = request.get("HTTP_X_FORWARDED_FOR")
    return [] if line is None else [line]


def _hops(lines: list[str]) -> Iterable[str]:
    """Yield the entries from the right, and no more than there may be proxies."""
    left = _MOST_PROXIES
    for line in reversed(lines):
        end = len(line)
        while end >= 0 and left > 0:
            start = line.rfind(",", 0, end)
            yield line[start + 1 : end]
            end, left = start, left - 1
