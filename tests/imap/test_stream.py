from __future__ import annotations

import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.config import Duration
from archiver.errors import InterruptedRun
from archiver.imap import Connection, Mailbox, connect
from archiver.imap.stream import Stream
from tests.conftest import AnyUser
from tests.imap.conftest import Connect, ServerFor
from tests.servers.scripted import ScriptedServer, reply

CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
READS = st.lists(st.integers(0, 30) | st.none(), max_size=20)


@contextmanager
def fed(*chunks: bytes, then_close: bool = True) -> Iterator[Stream]:
    """A stream whose other side sends these, each by itself."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)

        def feed() -> None:
            with suppress(OSError):  # the reader has had enough
                for chunk in chunks:
                    theirs.sendall(chunk)
                if then_close:
                    theirs.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            yield Stream(ours)
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            thread.join()


def taken(stream: Stream, reads: list[int | None]) -> list[bytes]:
    """What readline (None) and read (a size) give, one after the other."""
    return [stream.readline() if size is None else stream.read(size) for size in reads]


def expected(data: bytes, reads: list[int | None]) -> list[bytes]:
    found = []
    for size in reads:
        end = len(data) if size is None else min(size, len(data))
        if size is None and b"\n" in data:
            end = data.index(b"\n") + 1
        found.append(data[:end])
        data = data[end:]
    return found


@given(CHUNKS, READS)
def test_reads_as_a_file_would_however_it_comes(chunks: list[bytes], reads: list[int | None]) -> None:
    chunks = [chunk.replace(b"\x00", b"\n") for chunk in chunks]
    with fed(*chunks) as stream:
        assert taken(stream, reads) == expected(b"".join(chunks), reads)


@given(CHUNKS, READS, st.integers(1, 50))
def test_reads_the_same_when_compressed(chunks: list[bytes], reads: list[int | None], cut: int) -> None:
    data = b"".join(chunks).replace(b"\x00", b"\n")
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    answer = b"A1 OK go on\r\n"
    whole = answer + packed
    # The first compressed bytes may come with the answer to COMPRESS, or not.
    with fed(whole[:cut], *(whole[i : i + 7] for i in range(cut, len(whole), 7))) as stream:
        assert stream.readline() == answer
        stream.compress()
        assert taken(stream, reads) == expected(data, reads)


def test_a_little_that_swells_is_taken_in_pieces() -> None:
    """Memory is bounded whatever a compressed stream becomes."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(b"\0" * 50_000_000) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert len(packed) < 60_000
    with fed(packed) as stream:
        stream.compress()
        for _ in range(3):
            assert stream.read(1000) == b"\0" * 1000
            assert len(stream._data) <= 1 << 18


def test_silence_is_a_timeout() -> None:
    with fed(b"half a line", then_close=False) as stream:
        stream._socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            stream.readline()


def test_a_line_without_end_is_bounded() -> None:
    with fed(*[b"x" * (1 << 20)] * 18) as stream:
        line = stream.readline()
    assert 1 << 20 < len(line) < 2 << 20


class TestCompress:
    def test_on_real_servers(self, any_mailbox: AnyUser, log_in: Connect) -> None:
        message = b"Subject: x\r\n\r\n" + b"a long text \r\n" * 5000
        for _ in range(3):
            any_mailbox.save(message)
        connection = log_in(any_mailbox.server, user=any_mailbox.name)
        assert connection.has("COMPRESS=DEFLATE")
        connection._exchange.compress()
        connection.examine(Mailbox("INBOX", "INBOX", "/"))
        assert bodies(connection) == [message] * 3

    def test_a_server_that_will_not_is_used_as_it_is(self, scripted: object, log_in: Connect) -> None:
        server: ScriptedServer = scripted()  # type: ignore[operator]
        server.folder().add(b"Subject: x\r\n\r\n")
        server.on("COMPRESS", reply("{tag} NO [COMPRESSIONACTIVE] not now"))
        connection = log_in(server)
        connection._exchange.compress()
        connection.examine(Mailbox("INBOX", "INBOX", "/"))
        assert bodies(connection) == [b"Subject: x\r\n\r\n"]


def bodies(connection: Connection) -> list[bytes]:
    uids = [listed.uid for listed in connection.list_uids(1)]
    return [getattr(message, "wire", b"") for message in connection.fetch(uids)]


class TestStopped:
    """Who is silent is not waited for; who sends is heard."""

    @pytest.mark.parametrize("compressed", [False, True])
    def test_while_the_server_is_silent(self, compressed: bool) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(600)
            stream = Stream(ours, lambda: True)
            if compressed:
                stream.compress()
            with pytest.raises(InterruptedRun):
                stream.readline()

    def test_not_while_something_comes(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(5)
            theirs.sendall(b"* OK\r\n")
            stream = Stream(ours, lambda: True)
            assert stream.readline() == b"* OK\r\n"
            theirs.close()
            assert stream.readline() == b""

    def test_patience_ends_as_ever(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(0.2)
            with pytest.raises(TimeoutError):
                Stream(ours, lambda: False).readline()

    def test_before_the_greeting(self, server_for: ServerFor) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            host, port = listener.getsockname()
            server = server_for(_Silent(host, port), connect_timeout=Duration(600))
            with pytest.raises(InterruptedRun), connect(server, lambda: "secret", lambda: True):
                pass
            line, _ = listener.accept()
            with line, line.makefile("rb") as heard:
                line.sendall(b"* OK [CAPABILITY IMAP4rev1] late\r\n")
                tag = heard.readline().split()[0]
                line.sendall(b"* CAPABILITY IMAP4rev1\r\n%b OK done\r\n" % tag)
                # What was given up is closed as soon as it can be, without a login.
                assert heard.read() == b""


class _Silent(NamedTuple):
    host: str
    port: int
