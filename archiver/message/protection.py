"""Whether a message is encrypted or signed, as far as its outside shows; nothing is decrypted or verified.

OpenPGP (RFC 3156, and armour in the text, RFC 9580, 6.2) and S/MIME (RFC 8551, 3).
"""

from __future__ import annotations

import re
from typing import Literal

from archiver.message import cms
from archiver.message.filenames import attachment_name
from archiver.message.mime import Part
from archiver.message.transfer import decode_transfer

Protection = Literal["encrypted", "signed"]

_SMIME_TYPES: dict[str, Protection] = {
    "enveloped-data": "encrypted",
    "authenveloped-data": "encrypted",
    "signed-data": "signed",
    "signed-receipt": "signed",
}
# Content types of CMS (RFC 5652, RFC 5083): the first object identifier in the data.
_IDENTIFIERS: dict[bytes, Protection] = {
    bytes.fromhex("06092a864886f70d010702"): "signed",
    bytes.fromhex("06092a864886f70d010703"): "encrypted",
    bytes.fromhex("060b2a864886f70d0109100117"): "encrypted",
}
_SAYING: dict[str, Protection] = {
    "multipart/signed": "signed",
    "multipart/encrypted": "encrypted",
    # Exchange makes multipart/mixed of multipart/encrypted, and keeps what is inside.
    "application/pgp-encrypted": "encrypted",
}
TYPES = frozenset({*_SAYING, *cms.TYPES, "application/octet-stream"})
"""The types of part that may say something."""

_HEAD = 200  # encoded bytes that the identifier is in
_BEGIN = re.compile(r"(?m)^-----BEGIN PGP (SIGNED )?MESSAGE-----")


def by_structure(part: Part) -> Protection | None:
    """What one part, of one of TYPES, says about the message it belongs to."""
    return _SAYING.get(part.type) or _by_cms(part)


def by_armour(text: str) -> set[Protection]:
    """What armour in a text says; quoted armour, and such as has no end, says nothing."""
    begins = _BEGIN.finditer(text, 0, max(text.rfind("-----END PGP "), 0))
    return {"signed" if begin[1] else "encrypted" for begin in begins}


def _by_cms(part: Part) -> Protection | None:
    """By the parameter, or where it is missing by what the data says of itself."""
    name = attachment_name(part.disposition_params, part.params).lower()
    if name.endswith(".p7c") or (part.type not in cms.TYPES and not name.endswith(".p7m")):
        return None
    if (said := part.params.get("smime-type", "").lower()) in _SMIME_TYPES:
        return _SMIME_TYPES[said]
    head = decode_transfer(part.data[part.start : min(part.start + _HEAD, part.end)], part.encoding)
    at = head.find(b"\x06")
    found = (kind for identifier, kind in _IDENTIFIERS.items() if at >= 0 and head.startswith(identifier, at))
    return None if said else next(found, None)
