"""What goes out, byte by byte: the four ways, what is dropped, and that no value makes a second header."""

from __future__ import annotations

import email
import email.message
import hashlib
from datetime import UTC, datetime
from email.header import decode_header, make_header
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from archiver.config import SmtpServer
from archiver.errors import UnsendableError
from archiver.message import attachment_bytes, parse
from archiver.resend import Parcel, Recipe, compose, deliver, enqueue
from archiver.resend.header import delivered_to, fields, has_bcc, without
from archiver.resend.recipe import Form, packed, unpacked
from archiver.smtp import Mailbox, check_bytes, connect
from archiver.store.user import User
from tests.servers.smtp import Sink

ME, YOU, THEY = (
    Mailbox("Me", "me@example.org"),
    Mailbox("", "you@example.org"),
    Mailbox("", "they@example.org"),
)
NOW = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)
ID = "<1-2-3@example.org>"
WIRE = b"From: a@example.org\r\nBcc: b@example.org\r\nSubject: Caf\xc3\xa9 news\r\n\r\n.text\r\nof it\r\n"


def recipe(form: Form, **more: object) -> Recipe:
    values: dict[str, object] = {"from_": ME, "to": (YOU,), "date": NOW, "subject": "s", **more}
    return Recipe(form=form, **values)  # type: ignore[arg-type]


def whole(made: Recipe, *originals: bytes) -> bytes:
    block, rest = compose(made, ID, originals)
    return block + rest


def parts(data: bytes) -> list[email.message.Message]:
    read = email.message_from_bytes(data)
    assert read.is_multipart() and not read.defects
    return [part for part in read.get_payload() if isinstance(part, email.message.Message)]


lines = st.lists(st.binary(max_size=40).map(lambda b: b.translate(None, b"\r\n\0")), max_size=8)
wires = st.builds(lambda body: b"Subject: x\r\n\r\n" + b"".join(line + b"\r\n" for line in body), lines)


class TestNewMessages:
    @given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
    def test_files_hold_any_bytes_and_go_anywhere(self, originals: list[bytes]) -> None:
        data = whole(recipe("file"), *originals)
        assert data.isascii() and max(map(len, data.split(b"\r\n"))) <= 78
        check_bytes(data)
        assert [part.get_payload(decode=True) or b"" for part in parts(data)[1:]] == originals

    @given(st.lists(wires, min_size=1, max_size=4), st.booleans())
    def test_attached_messages_are_byte_for_byte_in_it(self, originals: list[bytes], unended: bool) -> None:
        originals = [wire.removesuffix(b"\r\n") if unended else wire for wire in originals]
        data = whole(recipe("attachment"), *originals)
        check_bytes(data)
        line = b"\r\n--" + (email.message_from_bytes(data).get_boundary() or "").encode()
        pieces = data.split(line)[2:-1]
        assert [piece.partition(b"\r\n\r\n")[2] for piece in pieces] == originals
        eight_bit = not all(wire.isascii() for wire in originals)
        read = email.message_from_bytes(data)
        assert read["Content-Transfer-Encoding"] == ("8bit" if eight_bit else "7bit")
        # RFC 2046, 5.2.1: nothing else.
        assert {part["Content-Transfer-Encoding"] for part in parts(data)[1:]} <= {"7bit", "8bit"}

    @pytest.mark.parametrize("wire", [b"a\nb", b"a\rb\r\n", b"\0", b"x" * 999 + b"\r\n"])
    def test_what_no_line_allows_is_no_attachment(self, wire: bytes) -> None:
        with pytest.raises(UnsendableError) as caught:
            compose(recipe("attachment"), ID, [wire])
        assert "--as file" in (caught.value.hint or "")
        assert parts(whole(recipe("file"), wire))[1].get_payload(decode=True) == wire

    def test_our_own_reader_finds_them(self) -> None:
        data = whole(recipe("file", subject="Fwd: news"), WIRE, b"Subject: ../../x\r\n\r\n")
        read = parse(data)
        assert [each.filename for each in read.attachments] == ["1-Caf-news.eml", "2-x.eml"]
        assert attachment_bytes(data, read.attachments[0].part) == WIRE
        assert (read.subject, read.from_[0].address) == ("Fwd: news", "me@example.org")

    @given(st.text(max_size=200).filter(str.isprintable), st.text(max_size=300))
    def test_subject_and_note_are_read_back_and_make_no_header(self, subject: str, note: str) -> None:
        note = note.replace("\0", "").encode("utf-8", "replace").decode()
        data = whole(recipe("file", subject=subject, note=note, cc=(THEY,)), WIRE)
        check_bytes(data)
        read = email.message_from_bytes(data)
        assert [name.lower() for name in read] == [
            *("date", "from", "to", "cc", "subject", "message-id", "mime-version"),
            *("content-type", "content-transfer-encoding"),
        ]
        assert str(make_header(decode_header(read["Subject"]))).strip() == subject.strip()
        text = parts(data)[0].get_payload(decode=True)
        assert isinstance(text, bytes)
        assert text.decode().split() == note.split() or "".join(text.decode().split()) == "".join(
            note.split()
        )

    def test_a_boundary_is_in_nothing_it_separates(self) -> None:
        made = recipe("attachment")
        line = b"--" + (email.message_from_bytes(whole(made, WIRE)).get_boundary() or "").encode()
        trap = b"Subject: x\r\n\r\n" + line + b"--\r\nno end\r\n"
        data = whole(made, trap, WIRE)
        assert len(parts(data)) == 3 and trap in data

    def test_blind_recipients_are_named_nowhere(self) -> None:
        data = whole(recipe("file", to=()), WIRE)
        assert email.message_from_bytes(data)["To"] == "undisclosed-recipients:;"


class TestCopies:
    def test_the_original_alone(self) -> None:
        assert compose(recipe("original"), ID, [WIRE]) == (b"", WIRE)

    def test_the_same_from_the_same(self) -> None:
        for form in ("resent", "attachment", "file"):
            made = recipe(form)
            assert whole(made, WIRE) == whole(unpacked(packed(made)), WIRE)

    def test_copies_are_told_and_blind_ones_not(self) -> None:
        block, rest = compose(recipe("resent", cc=(THEY,)), ID, [WIRE])
        read = email.message_from_bytes(block + rest)
        assert (read["Resent-To"], read["Resent-Cc"]) == ("you@example.org", "they@example.org")
        assert rest == WIRE and b"Resent-Bcc" not in block

    def test_bcc_goes_only_when_asked(self) -> None:
        assert has_bcc(WIRE) and WIRE in whole(recipe("resent"), WIRE)
        dropped = whole(recipe("resent", drop_bcc=True), WIRE)
        assert dropped.endswith(WIRE.replace(b"Bcc: b@example.org\r\n", b"")) and b"Bcc" not in dropped


class TestHeader:
    HEAD = (
        b"Delivered-To: You@Example.org\r\n"
        b"DELIVERED-TO:\r\n <you@example.org>\r\n"
        b"Subject: Delivered-To: you@example.org\r\n"
        b"Delivered-To: they@example.org\r\n"
        b"X-Delivered-To: you@example.org\r\n"
    )
    BODY = b"\r\nDelivered-To: you@example.org\r\n"

    def test_those_lines_and_no_others(self) -> None:
        kept = without(self.HEAD + self.BODY, delivered=("you@EXAMPLE.org",))
        assert kept == b"".join(self.HEAD.splitlines(keepends=True)[3:]) + self.BODY
        assert delivered_to(self.HEAD + self.BODY) == {"you@example.org", "they@example.org"}

    @given(st.binary(max_size=200))
    def test_any_bytes_are_left_as_they_are(self, wire: bytes) -> None:
        assert without(wire, bcc=True, delivered=("you@example.org",)) == wire or b"bcc" in wire.lower()
        covered = [wire[start:end] for start, end, _ in fields(wire)]
        assert wire.startswith(b"".join(covered))


def signed(wire: bytes) -> tuple[bytes, bytes]:
    """The message with a DKIM signature on top, and the DNS record that proves it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    record = b"v=DKIM1; k=rsa; p=" + b"".join(public.splitlines()[1:-1])
    headers = [b"from", b"subject", b"to", b"date"]
    return dkim.sign(wire, b"s", b"example.org", pem, include_headers=headers) + wire, record


@pytest.mark.parametrize("form", ["resent", "original"])
def test_a_signature_is_as_valid_as_before(form: Form, tmp_path: Path) -> None:
    plain = (
        b"From: a@example.org\r\nTo: b@example.org\r\nSubject: x\r\nDate: now\r\n\r\n.dot\r\n  text \r\n\r\n"
    )
    wire, record = signed(plain)
    with Sink() as sink, User(str(tmp_path)) as user:
        server = SmtpServer(host=sink.host, port=sink.port, security="none", from_=ME.address)
        key = hashlib.sha256(wire).digest()
        parcel = Parcel((key,), recipe(form, drop_delivered=("you@example.org",)))
        jobs = enqueue([parcel], server, "x", user, NOW, lambda key: wire)
        assert deliver(jobs, lambda: connect(server, None), user, lambda: NOW).exit_code == 0
        (received,) = sink.messages

    def dns(name: bytes, timeout: int = 5) -> bytes:
        assert name == b"s._domainkey.example.org."
        return record

    assert dkim.verify(received.data, dnsfunc=dns)
    assert not dkim.verify(received.data.replace(b"text", b"test"), dnsfunc=dns)
