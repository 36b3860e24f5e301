"""Results for programs: JSON, paths and bytes on stdout, the same in every locale."""

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec

from archiver.cli.text import printable
from archiver.errors import ArchiverError


def print_json(value: Any) -> None:
    """One JSON document: structs as objects, keys of messages in hex, times as they are (Unix seconds)."""
    data = msgspec.json.format(msgspec.json.encode(_plain(value)), indent=2).decode()
    if not data.isascii():
        data = "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in data)
    write_bytes(data.encode() + b"\n")


def print_json_line(value: Any) -> None:
    """The same on one line."""
    data = msgspec.json.encode(_plain(value)).decode()
    write_bytes("".join(c if c.isprintable() else _escaped(c) for c in data).encode() + b"\n")


def _plain(value: Any) -> Any:
    """Builtin values only: bytes in hex, errors as objects."""
    return _encodable(msgspec.to_builtins(value, builtin_types=(bytes,), enc_hook=_as_object))


def _as_object(value: Any) -> dict[str, object]:
    assert isinstance(value, ArchiverError)
    return {
        "error": value.message,
        "hint": value.hint,
        "transient": value.transient,
        "exit_code": value.exit_code,
    }


def _encodable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        # Half a surrogate pair, from a path that is no UTF-8, is in no JSON.
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {key: _encodable(inner) for key, inner in value.items()}
    return [_encodable(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _escaped(char: str) -> str:
    r"""What could steer a terminal, as the same character to a JSON reader: `\u202e`."""
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def print_path(path: str) -> None:
    """A line with a path, byte for byte as the file system has it; on a terminal, made harmless."""
    if sys.stdout.isatty():
        print(printable(path))
    else:
        write_bytes(os.fsencode(path) + b"\n")


def write_bytes(data: bytes) -> None:
    """Bytes on stdout, in order with what was printed before."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
