"""docs/sending.md: each row of its table of failures is played against the program."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.home import PASSWORD, Home, until
from tests.cli.test_resend import INVOICE, TO, outcomes
from tests.servers.smtp import DROP, STALL, Offer, Sink
from tests.servers.tls import Authority, Certificate, self_signed

PAGE = Path(__file__).parents[2] / "docs" / "sending.md"
DAVE = "dave@example.org"
HAPPENINGS = {"silence": STALL, "the line is cut": DROP}
# Who else gets it; a message that no buffer on the way holds.
MORE = {"RCPT": ("--to", DAVE), "text": ("--as", "file", "--note", f"{'x' * 70}\n" * 250_000)}
STAGES = {"text": "body", "final dot": "dot"}


@dataclass(frozen=True)
class Row:
    """A line of the table, its cells without the marks of code."""

    stage: str
    happens: str
    seen: str
    status: str
    exit: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.happens}"


def rows() -> list[Row]:
    text = PAGE.read_text("utf-8").partition("| stage |")[2]
    lines = [line for line in text.splitlines()[2:] if line.startswith("| ")]
    return [Row(*(cell.strip().strip("`") for cell in line.strip("|").split("|"))) for line in lines]


@pytest.fixture
def home(own_library: Home) -> Home:
    return own_library


@pytest.fixture
def serve(home: Home, certificate: Certificate, authority: Authority) -> Iterator[Callable[..., Sink]]:
    """Start a sink and configure it as the stage needs it."""
    with ExitStack() as stack:

        def start(security: str = "none", shown: Certificate = certificate, login: bool = False) -> Sink:
            offer = Offer("me", PASSWORD) if login else Offer()
            sink = stack.enter_context(Sink(security, shown.context(), offer))
            more = {"user": "me", "password": PASSWORD} if login else {}
            ca = {} if security == "none" else {"ca_file": str(authority.ca_file)}
            home.smtp(sink.port, security=security, read_timeout="0.3s", connect_timeout="2s", **more, **ca)
            return sink

        yield start


def prepared(row: Row, home: Home, serve: Callable[..., Sink]) -> Sink | None:
    """A server at which this row will happen."""
    if row.stage == "connecting":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        host = "nowhere.invalid" if row.happens == "no such host" else "127.0.0.1"
        home.smtp(port, host=host, allow_plaintext=True)
        return None
    if row.stage == "certificate":
        return serve("tls", self_signed(home.path))
    if row.happens == "not offered":
        sink = serve("none")
        home.smtp(sink.port, security="starttls")
        return sink
    # In clear, one who refuses EHLO is asked with HELO.
    encrypted = row.stage in ("EHLO", "STARTTLS")
    sink = serve("starttls" if encrypted else "none", login=row.stage == "AUTH")
    action = HAPPENINGS.get(row.happens, row.happens)
    stage = STAGES.get(row.stage, row.stage.lower())
    sink.play(**({"rcpt": {DAVE: action}} if stage == "rcpt" else {stage: action}))
    return sink


@pytest.mark.parametrize("row", [row for row in rows() if "killed" not in row.happens], ids=str)
def test_a_row_of_the_table(
    row: Row, home: Home, serve: Callable[..., Sink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archiver.smtp.session._FINAL_PATIENCE", 1)
    monkeypatch.setattr("archiver.smtp.connection._QUIT_SECONDS", 0.3)
    prepared(row, home, serve)
    more = MORE.get(row.stage, ())
    result = home.call("resend", INVOICE, *TO, *more)
    assert result.code == int(row.exit), result
    assert row.seen in result.out + result.err
    assert [status for _, status in outcomes(home)] == row.status.split(", ")


@pytest.mark.parametrize("row", [row for row in rows() if "killed" in row.happens], ids=str)
def test_a_row_with_a_kill(row: Row, home: Home, serve: Callable[..., Sink]) -> None:
    sink = serve()
    home.smtp(sink.port, read_timeout="60s")
    sink.play(dot=STALL)
    with home.spawn("resend", INVOICE, *TO) as sender:
        until(lambda: sink.messages)
        sender.send_signal(signal.SIGKILL)
        assert 128 - sender.wait(10) == int(row.exit)
    assert row.seen in home.good("outbox").out
    assert [status for _, status in outcomes(home)] == row.status.split(", ")


def test_the_table_is_complete() -> None:
    """Each stage that can be scripted with what a server can answer: for now, for good, nothing at all."""
    happened = {(row.stage, row.happens) for row in rows()}
    assert len(happened) == len(rows()) > 40
    for stage in ("banner", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "final dot"):
        kinds = {re.sub(r"^([45]).*", r"\1", what) for where, what in happened if where == stage}
        assert {"4", "5", "the line is cut"} <= kinds, stage
    assert {row.status for row in rows()} >= {"sent", "deferred", "failed", "unknown"}
