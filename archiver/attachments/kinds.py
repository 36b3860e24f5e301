"""What kind of document an attachment is: said by its type or its name, decided by its first bytes."""

from __future__ import annotations

import re

KINDS: dict[str, str] = {
    "pdf": "application/pdf application/x-pdf .pdf",
    "zip": "application/zip application/x-zip-compressed application/epub+zip"
    " .zip .epub .docx .docm .dotx .xlsx .xlsm .xltx .pptx .pptm .ppsx .potx .odt .ods .odp .ott .ots .otp",
    "rtf": "application/rtf text/rtf text/richtext application/x-rtf .rtf",
    "html": "text/html application/xhtml+xml .html .htm .xhtml",
    "xml": "application/xml text/xml .xml",
    "text": "application/json application/x-ndjson application/csv application/x-yaml application/sql"
    " .txt .text .csv .tsv .md .markdown .rst .json .jsonl .yaml .yml .toml .ini .log .sql .tex",
}
"""The kinds of documents, and what says that it may be one: types, ends of names.

A `zip` is also what word processors, spreadsheets and presentations write, and a book.
"""

_BY_WORD = {word: kind for kind, words in KINDS.items() for word in words.split()}
_ZIPPED = ("application/vnd.openxmlformats-officedocument.", "application/vnd.oasis.opendocument.")
# What says nothing: the first bytes decide.
_VAGUE = frozenset({"application/octet-stream", "application/x-download", "application/force-download", ""})
_PDF_WITHIN = 1024
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def kind_said(content_type: str, filename: str) -> str:
    """The kind that an attachment's type or name says, `any` when they say nothing, "" for none of ours."""
    ending = re.search(r"\.[a-z0-9]{1,8}\Z", filename.strip().lower())
    kind = _BY_WORD.get(content_type) or _BY_WORD.get(ending[0] if ending else "")
    if kind:
        return kind
    if content_type.startswith(_ZIPPED):
        return "zip"
    if content_type.startswith("text/") and content_type not in ("text/calendar", "text/vcard"):
        return "text"
    return "any" if content_type in _VAGUE and not ending else ""


def kind_of(said: str, data: bytes) -> str:
    """The kind by the bytes; what should be text is that when it looks so. "" for none of ours."""
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if b"%PDF-" in data[:_PDF_WITHIN]:
        return "pdf"
    if data.startswith(b"{\\rtf"):
        return "rtf"
    if said not in ("html", "xml", "text"):
        return ""
    return said if data.startswith(_UTF_16) or b"\0" not in data[:_PDF_WITHIN] else ""
