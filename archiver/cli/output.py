"""Results for programs: one JSON document on stdout."""

from __future__ import annotations

import sys
from typing import Any

import msgspec


def print_json(value: Any) -> None:
    """Print structs, keys of messages in hex, times as they are (Unix seconds)."""
    sys.stdout.write(
        msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain), indent=2).decode() + "\n"
    )


def _plain(value: object) -> object:
    return str(value)


def to_builtins(value: Any) -> Any:
    """Structs as dictionaries, bytes as hex."""
    return msgspec.to_builtins(value, builtin_types=(bytes,), enc_hook=_plain)
