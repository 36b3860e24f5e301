"""Message-IDs, references and mailing lists as they are in real headers."""

from __future__ import annotations

import pytest

from archiver.message import lists, message_id, parse, referred
from archiver.message.ids import REFERS_LIMIT


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Message-ID: <1@example.org>", "1@example.org"),
        ("Message-Id:\n\t<1@example.org>", "1@example.org"),
        ("message-id: <1@\n example.org> (added)", "1@example.org"),
        ("Message-ID: 1@example.org", "1@example.org"),
        ("Message-ID: <1@example.org>\nMessage-ID: <2@example.org>", "1@example.org"),
        ("Message-ID: no id at all", ""),
        ("Message-ID: <>", ""),
        ("X-Message-ID: <1@example.org>", ""),
    ],
)
def test_own_id(header: str, found: str) -> None:
    assert message_id(parse(f"{header}\n\ntext".encode())) == found


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("References: <a@x> <b@x>\n <c@x>", ("a@x", "b@x", "c@x")),
        ("References: <a@x><b@x>,<c@x>", ("a@x", "b@x", "c@x")),
        ("References: <a@x> <b@x>\nIn-Reply-To: <b@x>", ("a@x", "b@x")),
        ("References: <a@x>\nIn-Reply-To: <b@x>", ("b@x", "a@x")),
        ("In-Reply-To: Your message of Monday <b@x>", ("b@x",)),
        ("In-Reply-To: b@x", ("b@x",)),
        ("In-Reply-To: a message from b@x", ()),
        ("References: <a@x> <a@x>", ("a@x",)),
        ("Message-ID: <me@x>\nReferences: <a@x> <me@x>", ("a@x",)),
        ("Subject: Re: x", ()),
    ],
)
def test_what_it_refers_to(header: str, found: tuple[str, ...]) -> None:
    assert referred(parse(f"{header}\n\ntext".encode())) == found


def test_of_many_the_first_and_the_last() -> None:
    many = " ".join(f"<{number}@x>" for number in range(5_000))
    found = referred(parse(f"References: {many}\n\n".encode()))
    assert len(found) == REFERS_LIMIT
    assert (found[0], found[1], found[-1]) == ("0@x", f"{5_001 - REFERS_LIMIT}@x", "4999@x")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("List-Id: Plans of us <plans.example.org>", ("Plans of us <plans.example.org>",)),
        ('List-ID: "Plans" <plans.example.org>', ("Plans <plans.example.org>",)),
        ("List-Id: <plans.example.org>", ("plans.example.org",)),
        ("List-Id: plans.example.org", ("plans.example.org",)),
        ("List-Id: =?utf-8?q?Pl=C3=A4ne?= <plans.example.org>", ("Pl\xe4ne <plans.example.org>",)),
        ("List-Id: <a.example.org>\nList-Id: <b.example.org>", ("a.example.org", "b.example.org")),
        ("List-Id:", ()),
    ],
)
def test_mailing_list(header: str, found: tuple[str, ...]) -> None:
    assert lists(parse(f"{header}\n\ntext".encode())) == found


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("Content-Type: text/calendar; method=REQUEST", True),
        ("Content-Type: application/ics; name=invite.ics\nContent-Disposition: attachment", True),
        ("Content-Type: text/vcard", False),
    ],
)
def test_a_calendar_entry_is_noted_wherever_it_is(part: str, found: bool) -> None:
    head = "Content-Type: multipart/alternative; boundary=b\n\n--b\n\ntext\n"
    raw = f"{head}--b\n{part}\n\nBEGIN:VCALENDAR\n--b--\n"
    assert parse(raw.encode()).calendar is found
