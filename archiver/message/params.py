"""Content-Type and Content-Disposition: value and parameters (RFC 2045, 5.1; RFC 2183; RFC 2231)."""

from __future__ import annotations

import re
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from archiver.message.charset import decode_text

if TYPE_CHECKING:
    from collections.abc import Mapping

# A file name of 255 characters in the longest encoding takes 9 KiB.
_MAX_VALUE = 1 << 14
_MAX_PARAMETERS = 200
_VALUE = re.compile(r"\s*([^\s;()\"=]*)")
_BETWEEN = re.compile(r"[;\s]*")
_PARAMETER = re.compile(r"([^\s=;\"]{1,60})\s*=\s*(\"(?:[^\"\\]|\\.)*+\"?|[^;]*)", re.DOTALL)
_EXTENDED = re.compile(r"([^*]+)\*(?:(\d{1,3})(\*)?)?\Z")
_ESCAPED = re.compile(r"\\([\"\\])")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")

_Pieces = dict[int, tuple[str, bool]]  # number -> value, whether it is percent-encoded


def parse_parameters(value: str) -> tuple[str, Mapping[str, str]]:
    """The value in lower case and its parameters by lower-case name.

    A plain parameter is as it was sent (encoded words and raw bytes undecoded: a boundary must stay
    what it is); one in RFC 2231 form is joined and decoded, and wins over a plain one of its name.
    The first of equal names counts, an unended quote ends with the field, stray text is skipped.
    """
    return _parsed(value[:_MAX_VALUE])


@lru_cache(maxsize=1024)
def _parsed(value: str) -> tuple[str, Mapping[str, str]]:
    found = _VALUE.match(value)
    position = found.end() if found else 0
    plain: dict[str, str] = {}
    extended: dict[str, _Pieces] = {}
    while 0 <= position < len(value) and len(plain) + len(extended) < _MAX_PARAMETERS:
        position = _BETWEEN.match(value, position).end()  # type: ignore[union-attr]
        parameter = _PARAMETER.match(value, position)
        if parameter is None:
            position = value.find(";", position)
            continue
        _keep(parameter[1].lower(), _unquoted(parameter[2]), plain, extended)
        position = parameter.end()
    plain.update((name, _joined(pieces)) for name, pieces in extended.items())
    return (found[1].lower() if found else ""), MappingProxyType(plain)


def _keep(name: str, value: str, plain: dict[str, str], extended: dict[str, _Pieces]) -> None:
    form = _EXTENDED.match(name)
    if form is None:
        plain.setdefault(name, value)
        return
    whole = form[2] is None
    pieces = extended.setdefault(form[1], {})
    pieces.setdefault(0 if whole else int(form[2]), (value, whole or form[3] is not None))


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value.strip()
    inner = value[1:-1] if len(value) > 1 and value.endswith('"') else value[1:]
    return _ESCAPED.sub(r"\1", inner) if "\\" in inner else inner


def _joined(pieces: _Pieces) -> str:
    charset = ""
    out: list[bytes] = []
    for number in sorted(pieces):
        value, encoded = pieces[number]
        if encoded and not out and value.count("'") >= 2:
            charset, _, value = value.split("'", 2)
        data = value.encode("utf-8", "surrogateescape")
        out.append(_PERCENT.sub(lambda code: bytes.fromhex(code[1].decode()), data) if encoded else data)
    return decode_text(b"".join(out), charset)
