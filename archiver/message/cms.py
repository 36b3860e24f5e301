"""What an S/MIME message signs, out of the data that holds it and its signature (RFC 5652, 5).

Walks down to the content by the few elements that lead there, in DER or BER; verifies nothing.
"""

from __future__ import annotations

TYPES = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})

_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET, _FIRST = 0x02, 0x04, 0x06, 0x30, 0x31, 0xA0
_CONSTRUCTED = 0x20
_INDEFINITE = 0x80
_MAX_CHUNKS = 200_000
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
# ContentInfo, SignedData and EncapsulatedContentInfo: enter what is a wrapping, pass over the rest.
_WAY = (_SEQUENCE, _OID, _FIRST, _SEQUENCE, _INTEGER, _SET, _SEQUENCE, _OID, _FIRST)
_WRAPPINGS = (_SEQUENCE, _FIRST)


def signed_content(data: bytes) -> bytes:
    """The bytes that are signed, b"" when there are none: a detached signature, other data, damage."""
    at = 0
    for step, wanted in enumerate(_WAY):
        tag, first, last = _element(data, at)
        if tag != wanted or (step == 1 and data[first:last] != _SIGNED_DATA):
            return b""
        at = first if wanted in _WRAPPINGS else last
    tag, first, last = _element(data, at)
    if tag == _OCTETS:
        return data[first:last]
    return _joined(data, first, last) if tag == _OCTETS | _CONSTRUCTED else b""


def _joined(data: bytes, at: int, end: int) -> bytes:
    """A string that is sent in pieces, as far as they go."""
    pieces: list[bytes] = []
    while at < end and len(pieces) < _MAX_CHUNKS:
        tag, first, at = _element(data, at)
        if tag != _OCTETS:
            break
        pieces.append(data[first:at])
    return b"".join(pieces)


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start and end of the element at a place; of indefinite length it ends with the data."""
    if at + 2 > len(data):
        return 0, len(data), len(data)
    tag, length, first = data[at], data[at + 1], at + 2
    if length == _INDEFINITE:
        return tag, first, len(data)
    if length > _INDEFINITE:
        size = length - _INDEFINITE
        length = int.from_bytes(data[first : first + size])
        first += size
    return tag, first, min(first + length, len(data))
