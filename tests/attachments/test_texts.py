"""From a message to the texts of its attachments: each is read once, none can do harm."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from archiver.attachments import Reading, Texts, Unread
from archiver.attachments import texts as reading_texts
from archiver.attachments.process import DEADLY, LATE, Outcome
from archiver.message import parse
from archiver.store.layout import attachments_path
from tests.attachments import documents
from tests.attachments.hostile import obey

Read = Callable[..., tuple[str, ...]]
READING = Reading(25 << 20, work=obey)


@pytest.fixture
def texts(tmp_path: Path) -> Iterator[Texts]:
    with Texts(str(tmp_path), READING) as made:
        yield made


def of(texts: Texts, raw: bytes) -> tuple[str, ...]:
    return texts.of(b"key", raw, parse(raw).attachments)


def test_all_that_are_in_a_message(texts: Texts) -> None:
    made = {name: maker(f"figures of {name}") for name, maker in documents.MAKERS.items()}
    found = of(texts, documents.mail(*((f"file.{name}", data) for name, data in made.items())))
    assert len(found) == len(made)
    for text, name in zip(found, made, strict=True):
        assert f"figures of {name}" in text
    assert texts.taken().read == len(made)


def test_those_of_a_message_inside(texts: Texts) -> None:
    assert "figures" in of(texts, documents.mail(("a.pdf", documents.pdf("figures")), inside=True))[0]


def test_none_is_read_twice(texts: Texts, tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.mkdir()
    note = b"note:" + os.fsencode(count)
    assert of(texts, documents.mail(("a.txt", note), ("b.txt", note))) == ("noted", "noted")
    assert of(texts, documents.mail(("c.txt", note), subject="another")) == ("noted",)
    tally = texts.taken()
    assert (tally.read, tally.known, tally.unread) == (1, 2, ())
    with Texts(str(tmp_path), READING) as later:
        assert of(later, documents.mail(("d.txt", note))) == ("noted",)
        assert (later.taken().read, later.taken().known) == (0, 0)
    assert len(os.listdir(count)) == 1


def test_what_is_known_is_enough_where_nothing_can_be_read(texts: Texts, tmp_path: Path) -> None:
    mail = documents.mail(("a.txt", b"plain words"))
    of(texts, mail)
    with Texts(str(tmp_path), replace(READING, known=True)) as later:
        assert of(later, mail) == ("plain words",)
        assert of(later, documents.mail(("a.txt", b"other words"))) == ()
        assert later.taken().read == 0


@pytest.mark.parametrize(("order", "reason"), [(b"crash", DEADLY), (b"hang", LATE)])
def test_a_hostile_one_costs_its_text_once(tmp_path: Path, order: bytes, reason: str) -> None:
    mail = documents.mail(("a.txt", order), ("b.txt", b"plain words"))
    with Texts(str(tmp_path), replace(READING, seconds=2)) as texts:
        assert of(texts, mail) == ("plain words",)
        tally = texts.taken()
        assert (tally.read, tally.unread) == (2, (Unread(b"key", "2", reason),))
        assert of(texts, mail) == ("plain words",)
        tally = texts.taken()
        assert (tally.read, tally.known, tally.unread) == (0, 2, (Unread(b"key", "2", reason),))


def test_encrypted_and_unknown_ones_are_passed_over_quietly(texts: Texts) -> None:
    mail = documents.mail(
        ("a.pdf", documents.pdf("figures", password="secret")),
        ("b.exe", b"MZ\0"),
        ("c.docx", b"\xd0\xcf\x11\xe0\0"),
    )
    assert of(texts, mail) == ()
    assert texts.taken().unread == ()


def test_too_large_ones_are_passed_over(tmp_path: Path) -> None:
    with Texts(str(tmp_path), replace(READING, size=1000)) as texts:
        assert of(texts, documents.mail(("a.txt", b"word " * 200), ("b.txt", b"word " * 201))) == (
            ("word " * 200).strip(),
        )
        assert texts.taken().unread == ()


def test_a_message_takes_no_longer_than_it_may(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_texts, "_SECONDS", 0.5)
    mail = documents.mail(("a.txt", b"slow:1"), ("b.txt", b"slow:1.5"))
    assert len(of(texts, mail)) == 1
    (unread,) = texts.taken().unread
    assert unread.part == "3"
    monkeypatch.setattr(reading_texts, "_SECONDS", 60.0)
    assert len(of(texts, mail)) == 2, "how long others take is no failure of the document"


def test_a_message_has_no_more_text_than_it_may(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_texts, "_CHARACTERS", 10)
    assert of(texts, documents.mail(("a.txt", b"1234567"), ("b.txt", b"abcdefg"), ("c.txt", b"more"))) == (
        "1234567",
        "abc",
    )


def test_where_nothing_can_be_read_it_is_said_once(tmp_path: Path) -> None:
    with Texts(str(tmp_path), replace(READING, work=unusable)) as texts:
        assert of(texts, documents.mail(("a.txt", b"one"), ("b.txt", b"two"))) == ()
        tally = texts.taken()
        assert (tally.broken, tally.read, tally.unread) == ("no library", 0, ())
    with Texts(str(tmp_path), READING) as texts:
        assert of(texts, documents.mail(("a.txt", b"one"))) == ("one",)


def unusable(task: object) -> Outcome:
    return Outcome(reason="no library", usable=False)


def test_what_was_damaged_is_said_to_be_lost(texts: Texts, tmp_path: Path) -> None:
    with open(attachments_path(str(tmp_path)), "wb") as file:
        file.write(b"no database" * 1000)
    assert of(texts, documents.mail(("a.txt", b"plain words"))) == ("plain words",)
    assert texts.taken().lost


def test_mail_without_documents_costs_nothing(texts: Texts, tmp_path: Path) -> None:
    assert of(texts, documents.mail(("photo.jpg", b"\xff\xd8"))) == ()
    assert os.listdir(tmp_path) == []
