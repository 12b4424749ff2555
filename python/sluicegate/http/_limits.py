"""What the headers of a response say about limits, in every dialect, and the headers in which one's own limits are stated.

Each dialect is a row of a table. What differs between the drafts of draft-ietf-httpapi-ratelimit-headers are the names of parameters, and
they are in a table too: the eleventh draft calls `r` `a`, and `t` `w`. What cannot be read is absent, never zero and never an exception:
it comes from somebody else's server. Reading takes time in proportion to the length of the headers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from sluicegate._arguments import check_several
from sluicegate._retry_after import parse_retry_after, sent_at, told_retry_after
from sluicegate.http._fields import LARGEST, parse_list, serialize_member
from sluicegate.http._times import parse_reset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from typing import Any, TypeAlias

    from sluicegate.http._fields import Member

    #: A mapping, or an object with `items()` as the headers of httpx, requests, aiohttp, Starlette and Django have, or pairs.
    Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]

__all__ = ["Limit", "collect", "limit_headers", "read_limits", "read_retry_after", "whole_wait"]

#: A longer field is malformed: nobody has so many limits.
_LONGEST = 8192
_MOST_DIMENSIONS = 64
_LONGEST_WAIT = 31 * 86_400


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a server: its quota, what is left of it, and when there is more. None is what the server has not said.

    `name` is the name of the policy, the resource, the bucket or the dimension, "default" if it has none. `quota` and `remaining` count
    `unit`, which is "requests" or "tokens" in most cases. `reset_after` is the number of seconds until more of the quota is there (in some
    dialects, all of it), `window` the length in seconds of the time that the quota is for. `partition` tells which part of the server's
    clients the limit is for, as the server writes it. `dialect` is the name of the way of writing in which it came.
    """

    name: str = "default"
    quota: float | None = None
    remaining: float | None = None
    reset_after: float | None = None
    window: float | None = None
    unit: str = "requests"
    partition: bytes | None = None
    dialect: str = "ietf"


class _Dialect(NamedTuple):
    """A row of the table. `{}` in a header's name stands for a dimension, and there is a limit for each that the response has."""

    name: str
    limit: str
    remaining: str
    #: The first of them that can be read is taken.
    reset: tuple[str, ...]
    #: The header that names the limit.
    label: str = ""
    #: Only a response with one of these headers is in this dialect.
    marks: tuple[str, ...] = ()
    #: Numbers up to this one mean that it is not known.
    unknown: float = -1.0


# The first row that fits takes its headers. After https://docs.github.com/rest, discord.com/developers/docs, platform.openai.com/docs,
# learn.microsoft.com/azure/ai-services/openai, docs.anthropic.com and Kong's rate-limiting plugin, in November 2026.
_DIALECTS = (
    _Dialect(
        "discord",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        ("x-ratelimit-reset-after", "x-ratelimit-reset"),
        label="x-ratelimit-bucket",
        marks=("x-ratelimit-bucket",),
    ),
    _Dialect(
        "github",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        ("x-ratelimit-reset",),
        label="x-ratelimit-resource",
        marks=("x-ratelimit-resource", "x-github-request-id"),
    ),
    _Dialect(
        "azure",
        "x-ratelimit-limit-{}",
        "x-ratelimit-remaining-{}",
        ("x-ratelimit-reset-{}",),
        marks=("apim-request-id", "x-ms-region"),
        unknown=0.0,
    ),
    _Dialect("openai", "x-ratelimit-limit-{}", "x-ratelimit-remaining-{}", ("x-ratelimit-reset-{}",)),
    _Dialect("anthropic", "anthropic-ratelimit-{}-limit", "anthropic-ratelimit-{}-remaining", ("anthropic-ratelimit-{}-reset",)),
    _Dialect("draft-06", "ratelimit-limit", "ratelimit-remaining", ("ratelimit-reset",)),
    _Dialect("generic", "x-ratelimit-limit", "x-ratelimit-remaining", ("x-ratelimit-reset-after", "x-ratelimit-reset")),
    _Dialect("generic", "x-rate-limit-limit", "x-rate-limit-remaining", ("x-rate-limit-reset",)),
)
_SHOPIFY = "x-shopify-shop-api-call-limit"
#: Dimensions that are the length of a window (Kong).
_WINDOWS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0, "month": 2_592_000.0}
#: The parameters of the drafts: the first name is the one that is written, and all are read.
_PARAMETERS = {
    "quota": ("q",),
    "unit": ("qu",),
    "window": ("w",),
    "partition": ("pk",),
    "remaining": ("r", "a"),
    "reset": ("t", "w"),
}
_NUMBER = re.compile(r"\s*(-?[0-9]{1,18}(?:\.[0-9]{1,9})?)\s*(?:[,;]|$)", re.ASCII)
_WINDOW = re.compile(r";\s*(?:w|window)\s*=\s*([0-9]{1,15})(?![0-9.])", re.ASCII)
#: One limit, as the seventh draft had it.
_DRAFT_07 = re.compile(r"\s*limit=([0-9]{1,15})\s*,\s*remaining=([0-9]{1,15})\s*,\s*reset=([0-9]{1,15})\s*", re.ASCII)
_POLICY_07 = re.compile(r"\s*[0-9]{1,15}\s*;\s*w=([0-9]{1,15})(?![0-9.])", re.ASCII)
_USED = re.compile(r"\s*([0-9]{1,18})\s*/\s*([0-9]{1,18})\s*", re.ASCII)


def read_limits(headers: Headers, *, now: float | datetime | None = None) -> list[Limit]:
    """Return what the headers of a response say about the server's limits, in whatever way it says it; an empty list if nothing.

    `headers` is a mapping of names to values, or an object with `items()` as the responses of httpx, requests, aiohttp and Django have, or
    pairs of str or of bytes; a name that comes more than once is one list. What cannot be read is left out: a malformed field of the IETF's
    dialect as a whole, any other value by itself. A field of more than 8192 characters counts as malformed. A response from a cache (one
    with an Age) has no limits in the IETF's dialect.

    Moments are turned into seconds from `now`: seconds since the epoch, or a `datetime` with a time zone. The default is the response's own
    Date, so that it does not matter whether the two clocks agree, or the system's clock if there is none.

    Raises TypeError for headers of another type, and for a `now` that is not a time.
    """
    found = collect(headers)
    limits, seconds = _ietf(found), _moment(found, now)
    left = dict(found)
    for dialect in _DIALECTS:
        if dialect.marks and not any(mark in found for mark in dialect.marks):
            continue
        for dimension in _dimensions(dialect, left) if "{}" in dialect.limit else ("",):
            limit = _of(dialect, dimension, left, seconds)
            if limit is not None:
                limits.append(limit)
    if (calls := _USED.fullmatch(found.get(_SHOPIFY, ""))) is not None:
        used, quota = float(calls[1]), float(calls[2])
        limits.append(Limit(quota=quota, remaining=max(0.0, quota - used), dialect="shopify"))
    return limits


def read_retry_after(headers: Headers, *, status: int | None = None, now: float | datetime | None = None) -> float | None:
    """Return the seconds after which the server wants to be asked again, or None if the headers do not say so.

    That is what `retry-after-ms`, Retry-After or `X-RateLimit-Retry-After` says; if one was sent more than once, for example by a server
    and a proxy, the longest time counts. If there is none of them and the response refuses (the `status` is 429 or 503, or 403 as GitHub
    does it), it is the time until the limits of which nothing remains are reset; and a minute if GitHub refuses with 429 although
    something remains, which it asks for. `headers`, `now` and the errors are those of `read_limits`.
    """
    found = collect(headers)
    seconds = _moment(found, now)
    told = told_retry_after(found.get, now=seconds)
    if told is not None:
        return told
    if status not in {403, 429, 503}:
        return None
    limits = read_limits(found, now=seconds)
    resets = [limit.reset_after for limit in limits if limit.remaining == 0 and limit.reset_after is not None]
    if resets:
        return max(resets)
    return 60.0 if status == 429 and any(limit.dialect == "github" for limit in limits) else None


def limit_headers(limits: Iterable[Limit], retry_after: float | timedelta | None = None) -> dict[str, str]:
    """Return the headers that state limits to a client: RateLimit-Policy, RateLimit and, if it is given, Retry-After.

    They are lists of structured fields, as draft-ietf-httpapi-ratelimit-headers-10 describes. A limit without a quota is not in
    RateLimit-Policy, and one without `remaining` not in RateLimit. Numbers are rounded so that they promise no more than there is: quota
    and `remaining` down, times up; a debt is 0. Retry-After is at least 1, because clients take a 0 as a request to be asked at once,
    and at most 31 days, also if `retry_after` is infinite, as it is for a limiter that admits nothing now.

    Raises ValueError for a name, a unit or a number that cannot be in a header, such as a name with a line break in it,
    and TypeError for what is not a Limit, and for a `retry_after` that is no time.
    """
    policies: list[str] = []
    states: list[str] = []
    check_several("limits", limits, "Limit objects")
    for limit in limits:
        if not isinstance(limit, Limit):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
            raise TypeError(f"'limits' must be Limit objects, not {limit!r}")
        if not isinstance(limit.unit, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
            raise ValueError(f"'unit' must be a str, not {limit.unit!r}")
        if not isinstance(limit.partition, (bytes, type(None))):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
            raise ValueError(f"'partition' must be bytes or None, not {limit.partition!r}")
        partition = [] if limit.partition is None else [(_PARAMETERS["partition"][0], limit.partition)]
        if limit.quota is not None:
            policy: list[tuple[str, int | str | bytes]] = [(_PARAMETERS["quota"][0], _down("quota", limit.quota))]
            if limit.unit != "requests":
                policy.append((_PARAMETERS["unit"][0], limit.unit))
            if limit.window is not None:
                policy.append((_PARAMETERS["window"][0], max(1, _up("window", limit.window))))
            policies.append(serialize_member(limit.name, [*policy, *partition]))
        if limit.remaining is not None:
            state: list[tuple[str, int | str | bytes]] = [(_PARAMETERS["remaining"][0], _down("remaining", limit.remaining))]
            if limit.reset_after is not None:
                state.append((_PARAMETERS["reset"][0], _up("reset_after", limit.reset_after)))
            states.append(serialize_member(limit.name, [*state, *partition]))
    fields: dict[str, str] = {}
    if policies:
        fields["RateLimit-Policy"] = ", ".join(policies)
    if states:
        fields["RateLimit"] = ", ".join(states)
    if retry_after is not None:
        seconds = retry_after.total_seconds() if isinstance(retry_after, timedelta) else retry_after
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
            raise TypeError(f"'retry_after' must be seconds, a timedelta or None, not {seconds!r}")
        fields["Retry-After"] = str(whole_wait(_number("retry_after", seconds)))
    return fields


def whole_wait(seconds: float) -> int:
    """Return the seconds that a client is told to wait: whole ones, at least one, and no more than the longest month has.

    A longer time is that of a limit which is switched off, or paused, for good or by mistake; clients should find out if that changes.
    """
    return max(1, math.ceil(min(seconds, _LONGEST_WAIT)))


def _number(argument: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
        raise ValueError(f"'{argument}' must be a number, not {value!r}")
    # Of a subclass, which may round and print itself in its own way, only the number counts.
    number = float.__float__(value) if isinstance(value, float) else int.__index__(value)
    return min(max(0.0, number), LARGEST)


def _down(argument: str, value: float) -> int:
    return math.floor(_number(argument, value))


def _up(argument: str, value: float) -> int:
    return math.ceil(_number(argument, value))


def collect(headers: Any) -> dict[str, str]:
    """Return the headers by their names in lower case; lines with one name are joined to a list."""
    pairs = headers.items() if hasattr(headers, "items") else headers
    if pairs is headers and hasattr(headers, "headers"):  # the body of a response could be iterated over
        raise TypeError(f"'headers' must be a mapping of names to values, or pairs of them, not {headers!r}: write `response.headers`")
    lines: dict[str, list[str]] = {}
    try:
        for name, value in pairs:
            if isinstance(name, bytes):
                name = name.decode("latin-1")  # noqa: PLW2901 - bytes are read as text, in place
            if isinstance(value, bytes):
                value = value.decode("latin-1")  # noqa: PLW2901 - the same
            if isinstance(value, str):
                lines.setdefault(name.lower(), []).append(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise TypeError(
            f"'headers' must be a mapping of names to values, or pairs of them, not {type(headers).__name__}: {error}"
        ) from None
    return {name: values[0] if len(values) == 1 else ", ".join(values) for name, values in lines.items()}


def _moment(headers: dict[str, str], now: float | datetime | None) -> float:
    """Return the seconds since the epoch that absolute times are compared with."""
    # What is left until a date that is `now` is 0; the checks of `now` are those of `parse_retry_after`.
    if now is not None:
        stamp = getattr(now, "timestamp", None)
        parse_retry_after("Thu, 01 Jan 1970 00:00:00 GMT", now=now)
        return float(stamp() if stamp is not None else now)  # pyright: ignore[reportArgumentType]  # a number, after the check above
    sent = sent_at(headers.get)
    if sent is not None:
        return sent
    import time

    return time.time()


def _dimensions(dialect: _Dialect, headers: dict[str, str]) -> list[str]:
    found: dict[str, None] = {}
    for template in (dialect.limit, dialect.remaining):
        before, _, after = template.partition("{}")
        for name in headers:
            if len(name) > len(before) + len(after) and name.startswith(before) and name.endswith(after):
                found[name[len(before) : len(name) - len(after)]] = None
    return list(found)[:_MOST_DIMENSIONS]


def _of(dialect: _Dialect, dimension: str, headers: dict[str, str], now: float) -> Limit | None:
    """Return the limit, and take its headers out, so that no other row reads them again."""
    limit = headers.pop(dialect.limit.replace("{}", dimension), None)
    remaining = headers.pop(dialect.remaining.replace("{}", dimension), None)
    resets = [headers.pop(name.replace("{}", dimension), None) for name in dialect.reset]
    if limit is None and remaining is None:
        return None
    quota, left = _quantity(limit, dialect.unknown), _quantity(remaining, dialect.unknown)
    reset_after = next((after for text in resets if text is not None and (after := parse_reset(text, now)) is not None), None)
    window = _WINDOWS.get(dimension)
    if window is None and limit is not None and len(limit) <= _LONGEST and (told := _WINDOW.search(limit)) is not None:
        window = float(told[1]) or None
    name = headers.get(dialect.label, "") or dimension or "default"
    unit = next((unit for unit in ("requests", "tokens") if unit in dimension), dimension)
    return Limit(
        name=name[:_LONGEST],
        quota=quota,
        remaining=left,
        reset_after=reset_after,
        window=window,
        unit="requests" if not unit or dimension in _WINDOWS else unit,
        dialect=dialect.name,
    )


def _quantity(text: str | None, unknown: float) -> float | None:
    found = None if text is None else _NUMBER.match(text[:_LONGEST])
    if found is None:
        return None
    number = float(found[1])
    return None if number <= unknown or number < 0 else number


def _ietf(headers: dict[str, str]) -> list[Limit]:
    if parse_retry_after(headers.get("age")):  # from a cache: it was true of another response
        return []
    if (older := _DRAFT_07.fullmatch(headers.get("ratelimit", "")[:_LONGEST])) is not None:
        policy = _POLICY_07.match(headers.get("ratelimit-policy", "")[:_LONGEST])
        window = None if policy is None else float(policy[1]) or None
        return [Limit("default", float(older[1]), float(older[2]), float(older[3]), window, dialect="draft-07")]
    policies = {_key(member): member for member in _members(headers.get("ratelimit-policy"), "quota", "window")}
    states = {_key(member): member for member in _members(headers.get("ratelimit"), "remaining", "reset")}
    limits: list[Limit] = []
    for key in {**policies, **states}:
        policy, state = policies.get(key, (None, {}))[1], states.get(key, (None, {}))[1]
        unit = _parameter(policy, "unit")
        limits.append(
            Limit(
                name=key[0],
                quota=_float(_parameter(policy, "quota")),
                remaining=_float(_parameter(state, "remaining")),
                reset_after=_float(_parameter(state, "reset")),
                window=_float(_parameter(policy, "window")),
                unit="requests" if not isinstance(unit, str) or unit in {"", "request"} else unit,
                partition=key[1],
            )
        )
    return limits


def _members(text: str | None, needed: str, time: str) -> list[Member]:
    """Return the members of a field; none if the field is malformed, or if a member is no limit: then the whole field is ignored."""
    members = None if text is None or len(text) > _LONGEST else parse_list(text)
    for name, parameters in members or ():
        numbers = [_parameter(parameters, needed), _parameter(parameters, time)]
        if not isinstance(name, str) or numbers[0] is None:
            return []
        for number in numbers:
            if number is not None and (type(number) is not int or number < 0):
                return []
        if time == "window" and numbers[1] == 0:
            return []
        partition = _parameter(parameters, "partition")
        if partition is not None and not isinstance(partition, bytes):
            return []
    return members or []


def _key(member: Member) -> tuple[str, bytes | None]:
    name, partition = member[0], _parameter(member[1], "partition")
    return str(name), partition if isinstance(partition, bytes) else None


def _parameter(parameters: Mapping[str, object], meaning: str) -> object:
    return next((parameters[name] for name in _PARAMETERS[meaning] if name in parameters), None)


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int) else None
