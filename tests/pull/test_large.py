"""Messages too large to hold, from a server to the index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.errors import DamagedError
from archiver.imap import wire
from archiver.store import reader
from tests.imap.conftest import Connect
from tests.pull import checks
from tests.pull.conftest import Archive
from tests.servers.fake import FakeServer
from tests.servers.scripted import ScriptedServer


def only_file(root: str) -> tuple[bytes, str]:
    """Key and path of the one message there is."""
    (spot,) = checks.spots(root)
    (path,) = checks.files(root)
    return spot.key, str(path)


@pytest.mark.parametrize("lines", [b"\r\n", b"\n"])
def test_a_large_message_comes_through_a_file_and_is_the_same(
    scripted: Callable[..., ScriptedServer],
    log_in: Connect,
    archive: Archive,
    lines: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over a real line: one large message among small ones, its twin in a second folder a link."""
    monkeypatch.setattr(wire, "LARGE", 5000)
    monkeypatch.setattr(wire, "_PIECE", 777)
    large = b"Subject: large" + lines * 2 + lines.join([b"x" * 60] * 500)
    server = scripted()
    for name in ("INBOX", "Copy"):
        server.folder(name).add(b"Subject: small\r\n\r\nsmall\r\n")
        server.folder(name).add(large)
    connection = log_in(server)
    report = archive.pull(connection)
    assert report.complete and report.total("stored") == 4 and report.total("linked") == 2
    assert sorted(checks.live(archive.root).values()) == sorted(
        [large, b"Subject: small\r\n\r\nsmall\r\n"] * 2
    )
    assert checks.findings(archive.root) == []
    assert not list(Path(archive.root).rglob("archiver-spool-*"))


def test_a_large_message_into_a_folder_without_its_empty_directories(
    scripted: Callable[..., ScriptedServer],
    log_in: Connect,
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a copy of the archive by a program that leaves them behind."""
    monkeypatch.setattr(wire, "LARGE", 5000)
    server = scripted()
    server.folder().add(b"Subject: small\r\n\r\nsmall\r\n")
    archive.pull(log_in(server))
    (archive.mail / "INBOX" / "tmp").rmdir()
    large = b"Subject: large\r\n\r\n" + b"x" * 6000
    server.folder().add(large)
    assert archive.pull(log_in(server)).complete
    assert large in checks.live(archive.root).values()


def test_the_index_reads_the_start_of_a_large_message(archive: Archive) -> None:
    server = FakeServer()
    server.folder().add(b"Subject: large\r\n\r\n" + b"word\r\n" * 5000)
    archive.pull(server.connect())
    key, path = only_file(archive.root)
    start, size = reader.read_start(key, [path], 1000)
    assert start.startswith(b"Subject: large\n\nword\n") and len(start) == 1000
    assert size == 30018
    whole, size = reader.read_start(key, [path], 1 << 20)
    assert (len(whole), size) == (30018, 30018)


def test_a_damaged_large_message_has_no_start(archive: Archive) -> None:
    server = FakeServer()
    server.folder().add(b"Subject: large\r\n\r\n" + b"word\r\n" * 5000)
    archive.pull(server.connect())
    key, path = only_file(archive.root)
    Path(path).write_bytes(Path(path).read_bytes()[:-1] + b"!")
    with pytest.raises(DamagedError):
        reader.read_start(key, [path], 1000)
