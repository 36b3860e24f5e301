from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archiver.message.cards import card_text


def test_calendar() -> None:
    source = (
        "BEGIN:VCALENDAR\nPRODID:-//Example//EN\nBEGIN:VEVENT\nUID:1@example.org\nDTSTART:20240305T120000Z\n"
        "SUMMARY;LANGUAGE=en:Planning\\, part 2\\; with tea\nDESCRIPTION:Bring \n the figures\\nand cake\n"
        'ATTENDEE;ROLE=CHAIR;CN="Sample, Ben":mailto:ben@example.net\n'
        "ATTENDEE;CN=Eva:MAILTO:eva@example.net\n"
        "LOCATION:Großer Saal\nEND:VEVENT\nEND:VCALENDAR\n"
    )
    assert card_text(source).splitlines() == [
        "Planning, part 2; with tea",
        "Bring the figures",
        "and cake",
        "Sample, Ben ben@example.net",
        "Eva eva@example.net",
        "Großer Saal",
    ]


def test_card() -> None:
    source = (
        "BEGIN:VCARD\nVERSION:3.0\nN:Sample;Ana;;;\nFN:Ana Sample\nORG:Example Ltd;Sales\n"
        "item1.EMAIL;TYPE=work:ana@example.org\nPHOTO;ENCODING=b:AAAA\n BBBB\nEND:VCARD\n"
    )
    assert card_text(source).splitlines() == ["Ana Sample", "Example Ltd;Sales", "ana@example.org"]


def test_a_card_of_an_old_telephone() -> None:
    source = (
        "BEGIN:VCARD\nVERSION:2.1\nFN;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:J=F6rg S=\nample\n"
        "ORG;QUOTED-PRINTABLE:Gr=C3=BC=C3=9Fe=20AG\nPHOTO;BASE64:AAA=\n\nNOTE:a=3Db\nEND:VCARD\n"
    )
    assert card_text(source).splitlines() == ["Jörg Sample", "Grüße AG", "a=3Db"]


@given(st.lists(st.sampled_from(["SUMMARY", ";", '"', ":", "CN=", "\n", "\n ", "\\n", "x", "mailto:"])))
def test_total(pieces: list[str]) -> None:
    assert len(card_text("".join(pieces))) <= 2 * len("".join(pieces))
