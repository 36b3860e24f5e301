"""Message-IDs as the index has them: hashed, so that each takes the same few bytes.

A term of the fields `id` and `refers` is 80 bits of a hash in sixteen letters and digits. Case does not
count. What a subject is about becomes a term of `topic` in the same way; a reply that names no message has
a second one. What a document has of all these is kept beside it, too, so that they can be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec

SIZE = 10
"""Bytes of a hash."""

NONE = bytes(SIZE)

LOST = "?"
"""What the second term of a reply that names no message begins with."""


class Ids(msgspec.Struct, frozen=True):
    """Terms of the fields `id` and `refers` of a document: its own, "" without one, and the others.

    `topic` is the term of what its subject is about, "" for nothing; `reply`: the subject says it is one.
    """

    own: str
    refers: tuple[str, ...]
    topic: str = ""
    reply: bool = False


def id_term(message_id: str) -> str:
    """The term of a Message-ID without its angle brackets."""
    return term_of(_hash(message_id))


def topic_terms(topic: str, lost: bool) -> tuple[str, ...]:
    """The terms of what a subject is about, "" for nothing; `lost`: of a reply that names no message."""
    if not topic:
        return ()
    term = id_term(topic)
    return (term, LOST + term) if lost else (term,)


def pack(own: str, refers: Iterable[str], topic: str = "", reply: bool = False) -> bytes:
    """As they are kept: a byte, 1 for a reply; the own id, the topic, zeros without them; the other ids.

    Nothing at all when there is none of them.
    """
    others = b"".join(dict.fromkeys(map(_hash, refers)))
    if not (own or topic or others):
        return b""
    return bytes([reply]) + b"".join(_hash(each) if each else NONE for each in (own, topic)) + others


def unpack(packed: bytes) -> Ids:
    if not packed:
        return Ids("", ())
    own, topic, *others = hashes(packed)
    return Ids(
        term_of(own) if own != NONE else "",
        tuple(map(term_of, others)),
        term_of(topic) if topic != NONE else "",
        packed[0] == 1,
    )


def hashes(packed: bytes) -> list[bytes]:
    """The own id, the topic, the other ids of what is not empty; the first two may be NONE."""
    return [packed[at : at + SIZE] for at in range(1, len(packed), SIZE)]


@lru_cache(maxsize=4096)
def _hash(message_id: str) -> bytes:
    # Most searches ask for no id, and need not import this.
    from hashlib import blake2b

    return blake2b(message_id.lower().encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()


@lru_cache(maxsize=1 << 14)
def term_of(hashed: bytes) -> str:
    """The term of a hash; messages of one conversation have the same ones."""
    from base64 import b32encode

    return b32encode(hashed).decode().lower()
