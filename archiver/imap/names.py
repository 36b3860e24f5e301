"""Mailbox names: modified UTF-7 (RFC 3501, 5.1.3) to text, and raw bytes to what a command takes."""

from __future__ import annotations

from imapclient.imap_utf7 import decode, encode

from archiver.errors import UsageError


def readable(raw: str) -> str:
    """The name as people write it; names that are no modified UTF-7 are taken as UTF-8, else as they are."""
    data = raw.encode("latin-1")
    try:
        name = decode(data)
        if isinstance(name, str) and encode(name) == data:
            return "INBOX" if name.upper() == "INBOX" else name
    except (UnicodeError, ValueError):
        pass
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def wire_name(name: str) -> str:
    """A name, or a level of one, in modified UTF-7, each byte one character."""
    return str(encode(name).decode("latin-1"))


def quoted(text: str) -> bytes:
    """A quoted string (RFC 9051, 9). UsageError for what cannot be one.

    CR, LF and NUL never reach a command: they could smuggle a second one in (CVE-2025-15366).
    """
    data = text.encode("latin-1")
    if any(byte in data for byte in b"\r\n\0"):
        raise UsageError("a name with a line break or NUL cannot be sent to a server")
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
