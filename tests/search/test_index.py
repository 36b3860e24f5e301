"""A message as a document, and what of it is analysed."""

from __future__ import annotations

from archiver.message import parse
from archiver.search.index import document, prepare

RAW = (
    b"From: Ana Example <ana@example.org>\nTo: Ben <ben@example.org>, cleo@example.org\n"
    b"Bcc: dan@example.org\nCc: Eva <eva@example.org>\nSubject: Plan\nDate: Tue, 05 Mar 2024 12:00:00 +0000\n"
    b"Content-Type: multipart/signed; boundary=b\n\n--b\n\nThe text.\n--b\n"
    b"Content-Type: application/pdf; name=plan.pdf\n\n%PDF\n--b--\n"
)


def test_a_message_as_a_document() -> None:
    made = document(b"k" * 32, 1_800_000_000, 500, parse(RAW))
    assert (made.date, made.size, made.subject, made.body) == (1_709_640_000, 500, "Plan", "The text.")
    assert made.from_ == ("Ana Example <ana@example.org>",)
    assert made.to == ("Ben <ben@example.org>", "cleo@example.org", "dan@example.org")
    assert made.cc == ("Eva <eva@example.org>",)
    assert (made.filenames, made.has_attachment) == (("plan.pdf",), True)
    assert (made.is_encrypted, made.is_signed) == (False, True)


def test_what_is_analysed() -> None:
    ready = prepare(document(b"k" * 32, 1_800_000_000, 500, parse(RAW)))
    assert set(ready.terms["to"]) == {"ben", "cleo", "dan", "example", "org"}
    assert (ready.lengths["to"], ready.has) == (10, ("attachment", "signed"))
