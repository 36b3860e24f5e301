"""Ids people type: the first digits of a message's key, as git shortens its hashes."""

from __future__ import annotations

from archiver.errors import NotFoundError
from archiver.store.ledger import Ledger

ID_LENGTH = 8
_SHORTEST = 4


def resolve(ledger: Ledger, text: str) -> bytes:
    """The key that an id stands for; NotFoundError when it is none, or several messages'."""
    digits = text.strip().lower()
    if not _SHORTEST <= len(digits) <= 64 or not all(c in "0123456789abcdef" for c in digits):
        short = f", with {_SHORTEST} digits of it at least" if len(digits) < _SHORTEST else ""
        raise NotFoundError(
            f"{text!r} is no id", hint=f"take one from the first column of `archiver search`{short}"
        )
    found = _between(ledger, digits)
    if not found:
        raise NotFoundError(f"no message has the id {digits}", hint="`archiver search` shows ids")
    if len(found) > 1:
        raise NotFoundError(f"several messages have the id {digits}", hint="give more digits of it")
    return found[0]


def short_id(ledger: Ledger, key: bytes) -> str:
    """The first digits of a key, as many as tell it from every other, ID_LENGTH at least."""
    digits = key.hex()
    for length in range(ID_LENGTH, 64, 2):
        if len(_between(ledger, digits[:length])) < 2:
            return digits[:length]
    return digits


def _between(ledger: Ledger, digits: str) -> list[bytes]:
    low, high = bytes.fromhex(digits.ljust(64, "0")), bytes.fromhex(digits.ljust(64, "f"))
    return ledger.keys_between(low, high, 2)
