from __future__ import annotations

import pytest

from archiver.message import Message, parse
from archiver.message.body import MAX_TEXT_BYTES


def multipart(subtype: str, *parts: bytes, boundary: bytes = b"b") -> bytes:
    head = b"Content-Type: multipart/" + subtype.encode() + b"; boundary=" + boundary + b"\n\n"
    return (
        head
        + b"".join(b"--" + boundary + b"\n" + part + b"\n" for part in parts)
        + b"--"
        + boundary
        + b"--\n"
    )


def part(type_: str, content: bytes = b"content", *fields: str) -> bytes:
    return "\n".join((f"Content-Type: {type_}", *fields)).encode() + b"\n\n" + content


def listed(message: Message) -> list[tuple[str, str, str]]:
    return [(found.part, found.filename, found.content_type) for found in message.attachments]


_PLAIN = part("text/plain", b"plain form")
_HTML = part("text/html", b"<p>rich <b>form</b></p>")
_HEADERS = b"Subject: =?iso-8859-1?Q?M=E4rz?=\nX-A:\n b\n\n"
_CALENDAR = b"BEGIN:VCALENDAR\nSUMMARY:Planning\nEND:VCALENDAR\n"
_ATTACHED = "Content-Disposition: attachment"


@pytest.mark.parametrize(
    ("raw", "text", "html"),
    [
        (_PLAIN, "plain form", ""),
        (_HTML, "rich form", "<p>rich <b>form</b></p>"),
        (multipart("alternative", _PLAIN, _HTML), "plain form", "<p>rich <b>form</b></p>"),
        (multipart("alternative", _HTML, _PLAIN), "plain form", "<p>rich <b>form</b></p>"),
        (multipart("alternative", part("text/plain", b" \n"), _HTML), "rich form", "<p>rich <b>form</b></p>"),
        (multipart("alternative", part("text/plain", b""), part("text/html", b"")), "", ""),
        (multipart("mixed", _PLAIN, _HTML), "plain form\nrich form", "<p>rich <b>form</b></p>"),
        (multipart("mixed", _PLAIN, part("text/plain", b"not read", _ATTACHED)), "plain form", ""),
        (multipart("mixed", part("image/png"), part("text/plain", b"after")), "after", ""),
        (multipart("related", _HTML, part("image/png")), "rich form", "<p>rich <b>form</b></p>"),
        (part("text/rfc822-headers", _HEADERS), "Subject: März\nX-A: b\n", ""),
        (part("text/enriched", b"<bold>rich</bold> text"), "rich text", ""),
        (part("text/x-unheard-of", b"still text"), "still text", ""),
        (part("text/plain", b"only", _ATTACHED), "only", ""),
        (part("application/pdf", b"%PDF"), "", ""),
        (part("text/html", b"\xb1<meta charset=iso-8859-2>"), "ą", "ą<meta charset=iso-8859-2>"),
        (part("text/plain; format=flowed", b"a \nb\n"), "a b\n", ""),
        (part("text/plain; format=flowed; delsp=yes", b"a \nb\n"), "ab\n", ""),
        (part("text/plain", b"a=3Db", "Content-Transfer-Encoding: Quoted-Printable"), "a=b", ""),
        (part("text/plain", b"aGVsbG8=", "Content-Transfer-Encoding: BASE64 "), "hello", ""),
    ],
)  # fmt: skip
def test_what_is_read(raw: bytes, text: str, html: str) -> None:
    message = parse(raw)
    assert (message.text, message.html) == (text, html)


def test_html_behind_a_note_is_read_too() -> None:
    note = part("text/plain", b"Your program cannot show this.")
    page = part("text/html", b"<p>" + b"offer " * 60)
    assert (
        parse(multipart("alternative", note, page)).text
        == f"Your program cannot show this.\n{'offer ' * 59}offer"
    )
    markup = part("text/html", b"<p style='color: black'>" * 60 + b"Your program can show this.")
    assert parse(multipart("alternative", note, markup)).text == "Your program cannot show this."
    letter = part("text/plain", b"letter " * 400)
    assert "offer" not in parse(multipart("alternative", letter, part("text/html", b"offer " * 4000))).text


@pytest.mark.parametrize("type_", ["text/calendar", "application/ics"])
def test_an_attached_calendar_is_text_too(type_: str) -> None:
    message = parse(multipart("mixed", _PLAIN, part(f"{type_}; name=a.ics", _CALENDAR, _ATTACHED)))
    assert message.text == "plain form\nPlanning"
    assert listed(message) == [("2", "a.ics", type_)]


def test_line_ends_are_lf() -> None:
    assert parse(b"A: b\r\n\r\none\r\ntwo\nthree\r").text == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("attached", "expected"),
    [
        (part("application/pdf"), ("2", "", "application/pdf")),
        (part("application/pdf; name=a.pdf"), ("2", "a.pdf", "application/pdf")),
        (part("a/b; name=a.pdf", b"", f"{_ATTACHED}; filename=b.pdf"), ("2", "b.pdf", "a/b")),
        (part("image/png; name=a.png", b"", "Content-Disposition: inline"), ("2", "a.png", "image/png")),
        (part("image/png", b"", _ATTACHED), ("2", "", "image/png")),
        (part("text/plain", b"x", _ATTACHED), ("2", "", "text/plain")),
        (part("text/plain; name=a.txt"), ("2", "a.txt", "text/plain")),
        (part("text/rtf"), ("2", "", "text/rtf")),
        (part("message/external-body; access-type=url"), ("2", "", "message/external-body")),
        (part("a/b", b"", f"{_ATTACHED}; filename==?utf-8?Q?M=C3=A4rz?=.pdf"), ("2", "März.pdf", "a/b")),
        (part("a/b", b"", f'{_ATTACHED}; filename="=?gb2312?B?1dXGrA==?="'), ("2", "照片", "a/b")),
        (part("a/b", b"", f"{_ATTACHED}; filename*0*=utf-8''M%C3; filename*1*=%A4rz"), ("2", "März", "a/b")),
        (part("a/b", b"", f'{_ATTACHED}; filename="\u00e4.txt"'), ("2", "ä.txt", "a/b")),
        (part("a/b", b"", f"{_ATTACHED}; filename=../../x"), ("2", "../../x", "a/b")),
    ],
)  # fmt: skip
def test_attachments(attached: bytes, expected: tuple[str, str, str]) -> None:
    assert listed(parse(multipart("mixed", _PLAIN, attached))) == [expected]


@pytest.mark.parametrize(
    "raw",
    [
        multipart("related", _HTML, part("image/png", b"", "Content-ID: <x@example.org>")),
        multipart("mixed", _PLAIN, part("image/png", b"", "Content-Disposition: inline")),
        multipart("alternative", part("text/plain; name=a.txt"), part("text/html; name=a.html")),
        multipart("signed", _PLAIN, part("application/pgp-signature; name=signature.asc")),
        multipart("report", _PLAIN, part("message/delivery-status", b"Action: failed")),
        part("text/plain; name=body.txt"),
    ],
)
def test_what_is_no_attachment(raw: bytes) -> None:
    assert parse(raw).attachments == ()


def test_a_signature_outside_a_signed_message_is_an_attachment() -> None:
    raw = multipart("mixed", _PLAIN, part("application/pgp-signature; name=signature.asc"))
    assert listed(parse(raw)) == [("2", "signature.asc", "application/pgp-signature")]


def test_a_message_inside() -> None:
    inside = b"Subject: =?utf-8?Q?=C3=84pfel?=\nFrom: \"Eva S\" <eva@example.org>\n" + multipart(
        "mixed", part("text/plain", b"inner text"), part("a/b; name=x"), boundary=b"c"
    )  # fmt: skip
    message = parse(
        multipart("mixed", _PLAIN, part("message/rfc822", inside, f"{_ATTACHED}; filename=m.eml"))
    )
    assert message.text == "plain form\nÄpfel\nEva S eva@example.org\ninner text"
    assert listed(message) == [("2", "m.eml", "message/rfc822"), ("2.2", "x", "a/b")]
    assert message.attachments[0].size == len(inside)


def test_text_is_bounded_and_cut_at_a_line() -> None:
    line = b"x" * 99 + b"\n"
    raw = multipart("mixed", *[part("text/plain", line * (MAX_TEXT_BYTES // 150))] * 3)
    text = parse(raw).text
    assert MAX_TEXT_BYTES - 200 < len(text) <= MAX_TEXT_BYTES + 10
    assert set(text.split("\n")) == {"x" * 99, ""}


def test_a_huge_attachment_is_not_text() -> None:
    message = parse(
        multipart("mixed", part("a/b", bytes(2 * MAX_TEXT_BYTES)), part("text/plain", b"after it"))
    )
    assert message.text == "after it"
