"""Names of attachments: as the sender wrote them, and as they may be written to a disk."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from archiver.message.words import decode_phrase

MAX_BYTES = 120
_MAX_EXTENSION = 20
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_RESERVED = re.compile(r"(?i)(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(?=\s*(?:\.|\Z))")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def attachment_name(disposition: Mapping[str, str], content_type: Mapping[str, str], hint: str = "") -> str:
    """The decoded file name of a part, "" when it has none: Content-Disposition first, then Content-Type."""
    raw = disposition.get("filename") or content_type.get("name") or disposition.get("name") or ""
    return decode_phrase(raw[:2048], hint)


def safe_filename(name: str, fallback: str) -> str:
    """A name for one file in a directory of ours, never empty, at most 120 bytes of UTF-8.

    No separators, control or invisible characters, no leading dot or dash, no name that Windows
    reserves, no trailing dot or blank. The extension survives cutting. Does not make it unique.
    """
    return _safe(name) or _safe(fallback) or "attachment"


def _safe(name: str) -> str:
    name = unicodedata.normalize("NFC", name[:4096]).replace("\\", "/").rstrip("/ .").rpartition("/")[2]
    name = "".join(" " if unicodedata.category(c) in ("Zs", "Zl", "Zp") else c for c in name)
    name = "".join(c for c in name if unicodedata.category(c) not in _UNSEEN)
    name = _FORBIDDEN.sub("_", name).strip(" .").lstrip("-. ")
    if _RESERVED.match(name):
        name = f"_{name}"
    return _cut(name)


def _cut(name: str) -> str:
    if len(name.encode()) <= MAX_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem or len(extension.encode()) > _MAX_EXTENSION:
        stem, dot, extension = name, "", ""
    room = MAX_BYTES - len((dot + extension).encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(" .") + dot + extension
