"""What a subject is about: itself without marks of replies, forwards and lists (RFC 5256, 2.1)."""

from __future__ import annotations

import re
from unicodedata import normalize

SUBJECT_LIMIT = 2_000
"""Characters of a subject that are looked at."""

# RFC 5256 knows Re, Fw and Fwd. Of other languages: what their programs write before the colon.
_REPLY = (
    "re|aw|antw|antwort|sv|vs|odp|ynt|atb|rif|réf|ref|res|vá|отв|ответ|відп|απ|σχετ"
    "|回复|回覆|答复|答覆|回信|返信|회신|답장|תשובה|رد"
)
_FORWARD = "fw|fwd|wg|tr|rv|vb|vl|enc|doorst|pd|továbbítás|пересл|转发|轉寄|轉發|転送|전달|הועבר"

_BLOB = r"\[[^\[\]]*\]\s*"
_blob = re.compile(_BLOB)
_leader = re.compile(
    rf"(?:{_BLOB})*(?:(?P<reply>{_REPLY})|{_FORWARD})"
    rf"\s*(?:{_BLOB}|\(\d{{1,3}}\)\s*|\^\d{{1,3}}\s*|\*\d{{1,3}}\s*)?:\s*"
)
_trailer = re.compile(r"\s*\(fwd\)\Z")
_wrapped = re.compile(r"\[fwd:(?P<inside>.*)\]\Z")


def base_subject(subject: str) -> tuple[str, bool]:
    """What it is about, case folded, "" when nothing is left; whether the first mark says: a reply."""
    text = " ".join(normalize("NFKC", subject[:SUBJECT_LIMIT]).casefold().split())
    first: bool | None = None
    while True:
        before = text
        text = _trailer.sub("", text)
        if found := _leader.match(text):
            first = bool(found["reply"]) if first is None else first
            text = text[found.end() :]
        elif (found := _blob.match(text)) and found.end() < len(text):
            text = text[found.end() :]
        elif found := _wrapped.match(text):
            first = False if first is None else first
            text = found["inside"].strip()
        if text == before:
            return text, bool(first)
