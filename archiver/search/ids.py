"""Message-IDs as the index has them: hashed, so that each takes the same few bytes.

A term of the fields `id` and `refers` is 80 bits of a hash in sixteen letters and digits. Case does not
count. What a document has of them is kept beside it, too, ten bytes each, so that they can be read.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

SIZE = 10
"""Bytes of a hash."""


class Ids(msgspec.Struct, frozen=True):
    """Terms of the fields `id` and `refers` of a document: its own, "" without one, and the others."""

    own: str
    refers: tuple[str, ...]


def id_term(message_id: str) -> str:
    """The term of a Message-ID without its angle brackets."""
    return _term(_hash(message_id))


def pack(own: str, refers: Iterable[str]) -> bytes:
    """Message-IDs as they are kept: the own one (zeros without one), the others; nothing for none at all."""
    others = b"".join(dict.fromkeys(map(_hash, refers)))
    return (_hash(own) if own else bytes(SIZE)) + others if own or others else b""


def unpack(packed: bytes) -> Ids:
    own, *others = [packed[at : at + SIZE] for at in range(0, len(packed), SIZE)] or [b""]
    return Ids(_term(own) if any(own) else "", tuple(map(_term, others)))


def _hash(message_id: str) -> bytes:
    # Most searches ask for no id, and need not import this.
    from hashlib import blake2b

    return blake2b(message_id.lower().encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()


def _term(hashed: bytes) -> str:
    from base64 import b32encode

    return b32encode(hashed).decode().lower()
