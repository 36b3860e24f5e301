"""Sending through a real Postfix, which delivers into Maildirs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archiver.config import Duration, SmtpServer
from archiver.resend import Parcel, Recipe, Report, deliver, enqueue
from archiver.resend.header import delivered_to
from archiver.smtp import Mailbox, connect
from archiver.store.user import User
from tests.servers.postfix import Postfix

ME = Mailbox("Me", "me@example.org")


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    with User(str(tmp_path)) as opened:
        yield opened


def send(postfix: Postfix, user: User, recipe: Recipe, *wires: bytes) -> Report:
    server = SmtpServer(
        host=postfix.host, port=postfix.port, security="none", from_=ME.address, read_timeout=Duration(30)
    )
    by_key = {hashlib.sha256(wire).digest(): wire for wire in wires}
    parcels = [Parcel((key,), recipe) for key in by_key]
    now = datetime.now(UTC)
    jobs = enqueue(parcels, server, "postfix", user, now, by_key.__getitem__)
    return deliver(jobs, lambda: connect(server, None), user, lambda: datetime.now(UTC))


def recipe(to: str, **more: object) -> Recipe:
    return Recipe(from_=ME, to=(Mailbox("", to),), date=datetime.now(UTC), **more)  # type: ignore[arg-type]


def test_what_arrives_ends_with_the_original(postfix: Postfix, user: User) -> None:
    wires = [
        b"From: a@example.org\r\nSubject: one\r\n\r\n.dot\r\nFrom here\r\n",
        "From: a@example.org\r\nSubject: zwei\r\n\r\nGrüße\r\n".encode(),
    ]
    report = send(postfix, user, recipe("carol@example.org"), *wires)
    assert report.exit_code == 0
    arrived = postfix.delivered("carol@example.org", 2)
    for wire in wires:
        (found,) = [text for text in arrived if text.endswith(wire.replace(b"\r\n", b"\n"))]
        assert b"\nResent-From: Me <me@example.org>\n" in found


def test_one_that_is_too_large_is_never_begun(postfix: Postfix, user: User) -> None:
    report = send(postfix, user, recipe("carol@example.org"), b"Subject: x\r\n\r\n" + b"x" * 70_000 * 15)
    reply = report.messages[0].outcomes[0].reply
    assert "998" in reply
    report = send(postfix, user, recipe("carol@example.org"), b"Subject: x\r\n\r\n" + b"x\r\n" * 400_000)
    assert "takes 1,000,000" in report.messages[0].outcomes[0].reply


def test_one_that_was_there_before_comes_back_unless_the_line_is_dropped(
    postfix: Postfix, user: User
) -> None:
    dave, other = "dave@local.example.org", b"Delivered-To: x@example.org\r\n"
    head = b"Return-Path: <a@example.org>\r\n"
    line = f"Delivered-To: {dave}\r\n".encode()
    rest = b"From: a@example.org\r\nSubject: loop\r\n\r\ntext\r\n"
    assert dave in delivered_to(head + line + other + rest)
    send(postfix, user, recipe(dave), head + line + other + rest)
    (returned,) = postfix.delivered("me@example.org")
    assert f"mail forwarding loop for {dave}".encode() in returned
    send(postfix, user, recipe(dave, drop_delivered=(dave,)), head + line + other + rest + b"again\r\n")
    (arrived,) = postfix.delivered("dave@example.org")
    assert arrived.endswith((other + rest + b"again\r\n").replace(b"\r\n", b"\n"))
    assert f"Delivered-To: {dave}".encode() not in arrived.partition(b"Resent-Date")[2]


def test_a_report_comes_when_it_was_asked_for(postfix: Postfix, user: User) -> None:
    before = len(list((postfix.directory / "mail" / "me" / "new").glob("*")))
    wire = b"From: a@example.org\r\nSubject: report\r\n\r\ntext\r\n"
    report = send(postfix, user, recipe("they@example.org", notify=("SUCCESS",)), wire)
    texts = postfix.delivered("me@example.org", before + 1)
    (said,) = [text for text in texts if b"Successful Mail Delivery Report" in text]
    assert report.messages[0].message_id.encode() in said  # ENVID
