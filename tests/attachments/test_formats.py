"""The text of documents of every kind, and of what only says to be one."""

from __future__ import annotations

from time import thread_time

import pytest

from archiver.attachments.formats import Damaged, Encrypted, TooLarge, text_of
from archiver.attachments.kinds import kind_of, kind_said
from tests.attachments import documents

TEXT = "Überweisung für Zoë"


def read(name: str, data: bytes, limit: int = 10_000) -> str:
    said = kind_said(documents.TYPES[name], f"file.{name}")
    return text_of(kind_of(said, data), data, limit)


@pytest.mark.parametrize("name", documents.MAKERS)
def test_every_kind_is_read(name: str) -> None:
    assert TEXT in read(name, documents.MAKERS[name](TEXT))


@pytest.mark.parametrize("name", ["pdf", "docx", "epub", "odt", "zip"])
def test_the_bytes_decide_what_it_is(name: str) -> None:
    """Many a mailer says octet-stream of everything, or text/plain."""
    data = documents.MAKERS[name](TEXT)
    assert TEXT in text_of(kind_of(kind_said("application/octet-stream", ""), data), data, 10_000)
    assert TEXT in text_of(kind_of(kind_said("text/plain", "file"), data), data, 10_000)


@pytest.mark.parametrize(
    ("content_type", "filename", "kind"),
    [
        ("image/png", "page.png", ""),
        ("application/octet-stream", "Report.PDF", "pdf"),
        ("application/octet-stream", "setup.exe", ""),
        ("application/octet-stream", "", "any"),
        (f"{documents.OFFICE}.wordprocessingml.template", "", "zip"),
        ("text/x-python", "", "text"),
        ("text/calendar", "", ""),
        ("application/pgp-encrypted", "", ""),
    ],
)
def test_what_may_be_one(content_type: str, filename: str, kind: str) -> None:
    assert kind_said(content_type, filename) == kind


def test_binaries_are_no_text() -> None:
    assert kind_of("text", b"MZ\x90\0\0") == ""
    assert kind_of("any", b"plain words") == ""


def test_words_stay_whole_where_markup_is_inside_them() -> None:
    content = "<text:p>in<text:span>voice</text:span><text:tab/>paid</text:p><text:p>&lt;today&gt;</text:p>"
    data = documents.archive(
        {"mimetype": documents.TYPES["odt"], "content.xml": content, "META-INF/manifest.xml": ""}
    )
    assert read("odt", data) == "invoice\npaid\n<today>"


@pytest.mark.parametrize("name", ["pdf", "docx", "xlsx", "pptx", "odt", "zip"])
def test_what_is_cut_is_damaged(name: str) -> None:
    whole = documents.MAKERS[name](TEXT)
    with pytest.raises(Damaged):
        read(name, whole[: len(whole) // 2])


def test_what_fails_its_checksum_is_damaged() -> None:
    whole = documents.pptx(TEXT)
    at = whole.index(b"ppt/slides/slide1.xml") + 100
    with pytest.raises(Damaged):
        read("pptx", whole[:at] + bytes(byte ^ 0x55 for byte in whole[at : at + 2]) + whole[at + 2 :])


def test_what_is_encrypted_is_said_to_be() -> None:
    with pytest.raises(Encrypted):
        read("pdf", documents.pdf(TEXT, password="secret"))
    parts: dict[str, str | bytes] = {
        "mimetype": documents.TYPES["odt"],
        "META-INF/manifest.xml": "<manifest:encryption-data/>",
        "content.xml": b"\x07\x9f",
    }
    with pytest.raises(Encrypted):
        read("odt", documents.archive(parts))


def test_a_text_has_an_end() -> None:
    assert len(read("txt", b"word " * 1_000_000, 5_000)) == 5_000
    assert len(read("pdf", documents.pdf("word " * 15, pages=50), 100)) == 100
    assert len(read("zip", documents.archive({f"name{n}": b"" for n in range(1000)}), 100)) == 100


def test_entities_are_not_followed() -> None:
    bomb = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(20))
    bomb = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "boom">{bomb}]><a>&e20; and words</a>'
    assert "and words" in read("xml", bomb.encode())
    outside = '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/hostname">]><a>&f; and words</a>'
    assert "&f; and words" in read("xml", outside.encode())


@pytest.mark.parametrize("name", ["docx", "odt"])
def test_what_is_huge_when_unpacked_is_left_packed(name: str) -> None:
    part = {"docx": "word/document.xml", "odt": "content.xml"}[name]
    parts: dict[str, str | bytes] = {part: b"<a>" * 25_000_000}
    if name == "docx":
        parts |= {"[Content_Types].xml": ""}
    else:
        parts |= {"mimetype": documents.TYPES["odt"]}
    with pytest.raises(TooLarge):
        read(name, documents.archive(parts))


def test_an_archive_in_an_archive_is_a_name() -> None:
    inner = documents.archive({"inner.txt": TEXT})
    for depth in range(5):
        inner = documents.archive({f"level{depth}.zip": inner})
    assert read("zip", inner) == "level4.zip"


def test_a_tag_that_is_never_closed_takes_no_longer_than_others() -> None:
    began = thread_time()
    assert text_of("xml", b"<a>words</a> <" + b"b" * 100_000, 10_000).split()[0] == "words"
    assert thread_time() - began < 1
