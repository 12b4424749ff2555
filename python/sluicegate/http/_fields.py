"""Structured field values (RFC 9651): the lists that RateLimit and RateLimit-Policy are.

Items of every type are read, so that a parameter of a type that is not expected can be told from a malformed field. A list with an inner
list in it is refused as a whole, because no limit is one. Reading takes linear time: each character is looked at by one pattern, once.
"""

from __future__ import annotations

import base64
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    BareItem: TypeAlias = "bool | int | float | str | bytes"
    Member: TypeAlias = "tuple[BareItem, dict[str, BareItem]]"

__all__ = ["LARGEST", "parse_list", "serialize_member", "serialize_string"]

#: The largest integer of a structured field.
LARGEST = 999_999_999_999_999

# A date (`@1659578233`) is read as its number and a token as a string: the code that reads limits accepts both spellings of a name.
_ITEM = re.compile(
    r"""(?P<decimal>-?[0-9]{1,12}\.[0-9]{1,3})(?![0-9.])
      | @?(?P<integer>-?[0-9]{1,15})(?![0-9.])
      | "(?P<string>(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"
      | (?P<token>[A-Za-z*][A-Za-z0-9!\#$%&'*+.^_`|~:/-]*)
      | :(?P<bytes>[A-Za-z0-9+/]*={0,2}):
      | \?(?P<bool>[01])
      | %"(?P<display>(?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*)"
    """,
    re.VERBOSE | re.ASCII,
)
_PARAMETER = re.compile(r"; *(?P<key>[a-z*][a-z0-9_.*-]*)(?P<has_value>=)?", re.ASCII)
_COMMA = re.compile(r"[ \t]*,[ \t]*", re.ASCII)
_ESCAPED = re.compile(r"\\(.)")
_PRINTABLE = re.compile(r"[\x20-\x7e]*", re.ASCII)


def parse_list(text: str) -> list[Member] | None:
    """Return the members of a list, each a bare item and its parameters, or None if the field is malformed."""
    members: list[Member] = []
    text = text.strip(" ")
    position, end = 0, len(text)
    while position < end:
        found = _bare_item(text, position)
        if found is None:
            return None
        value, position = found
        parameters: dict[str, BareItem] = {}
        while (start := _PARAMETER.match(text, position)) is not None:
            position = start.end()
            if start["has_value"]:
                found = _bare_item(text, position)
                if found is None:
                    return None
                parameters[start["key"]], position = found
            else:
                parameters[start["key"]] = True
        members.append((value, parameters))
        if position == end:
            break
        comma = _COMMA.match(text, position)
        if comma is None or comma.end() == end:  # something else, or a comma at the end
            return None
        position = comma.end()
    return members


def _bare_item(text: str, position: int) -> tuple[BareItem, int] | None:
    found = _ITEM.match(text, position)
    if found is None:
        return None
    kind, value = found.lastgroup, ""
    if kind is not None:
        value = found[kind]
    item: BareItem
    if kind == "integer":
        item = int(value)
    elif kind == "decimal":
        item = float(value)
    elif kind == "string":
        item = _ESCAPED.sub(r"\1", value)
    elif kind == "bool":
        item = value == "1"
    elif kind == "bytes":
        try:
            item = base64.b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4))
        except ValueError:
            return None
    elif kind == "display":
        from urllib.parse import unquote_to_bytes

        try:
            item = unquote_to_bytes(value).decode()
        except ValueError:
            return None
    else:
        item = value
    return item, found.end()


def serialize_member(name: str, parameters: Iterable[tuple[str, int | str | bytes]]) -> str:
    """Return a member of a list: a string and its parameters. Raises ValueError for a text that is no string of a structured field."""
    return serialize_string(name) + "".join(f";{key}={_serialized(value)}" for key, value in parameters)


def _serialized(value: int | str | bytes) -> str:
    if isinstance(value, bytes):
        return f":{base64.b64encode(value).decode()}:"
    return serialize_string(value) if isinstance(value, str) else str(value)


def serialize_string(text: str) -> str:
    """Return it in quotation marks. Only printable ASCII is a string: no line break can get into a header."""
    if not isinstance(text, str) or not _PRINTABLE.fullmatch(text):  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller checks types
        raise ValueError(f"the name of a limit in a header must be printable ASCII, not {text!r}")
    # The method of a subclass could return another text than the one that was looked at.
    return '"' + str.replace(text, "\\", "\\\\").replace('"', '\\"') + '"'
