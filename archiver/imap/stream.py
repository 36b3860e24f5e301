"""Lines and literals straight off a socket, plain, in TLS, or compressed (RFC 4978)."""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
import zlib
from collections.abc import Callable

from archiver.errors import InterruptedRun

_CHUNK = 1 << 18
_MAX_LINE = 1 << 20
# Seconds of silence after which somebody who wants it to stop is heard.
LOOK = 1.0
# All that is in a mailbox of millions, or ever left it, in one line (RFC 4731, 3.1; RFC 7162, 3.2.10).
_MAX_UIDS = 16 << 20


def longest_line(start: bytes) -> int:
    """How many bytes a line that begins so may have, literals apart."""
    return _MAX_UIDS if start[:10].upper() in (b"* VANISHED", b"* ESEARCH ") else _MAX_LINE


class Stream:
    """Takes over a connected socket nobody else reads from any more.

    Reading raises what the socket raises (TimeoutError when the server is silent for the socket's
    timeout); the end of the stream shows as a line without its newline, or as too few bytes. InterruptedRun
    when `stop` says so while the server is silent; who is being sent something gets it.
    """

    def __init__(self, connected: socket.socket, stop: Callable[[], bool] | None = None) -> None:
        self._socket = connected
        self._stop = stop
        self._data = b""
        self._at = 0
        self._deflate: zlib._Compress | None = None
        self._inflate: zlib._Decompress | None = None

    def compress(self) -> None:
        """From here on both directions are raw deflate; what is buffered already came compressed."""
        self._deflate = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
        self._inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        packed, self._data, self._at = self._data[self._at :], b"", 0
        if packed:
            self._data = self._inflate.decompress(packed, _CHUNK)

    def send(self, data: bytes) -> None:
        if self._deflate:
            data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        if len(data) <= _CHUNK:
            self._socket.sendall(data)
            return
        # The socket's timeout is for all that one call sends: a slow line has it for each piece anew.
        view = memoryview(data)
        for at in range(0, len(view), _CHUNK):
            self._socket.sendall(view[at : at + _CHUNK])

    def readline(self) -> bytes:
        """Up to and with the next LF; without one at the end of the stream or when it grows too long."""
        end = self._data.find(b"\n", self._at) + 1
        if end:
            line = self._data[self._at : end]
            self._at = end
            return line
        parts = [self._data[self._at :]]
        length = len(parts[0])
        self._data, self._at = b"", 0
        # Each piece is looked at once: a line that trickles in costs no more than one that comes at once.
        while length <= longest_line(parts[0] if len(parts[0]) >= 10 else b"".join(parts[:10])):
            more = self._receive()
            end = more.find(b"\n") + 1
            if end or not more:
                self._data, self._at = more, end
                return b"".join(parts) + more[:end]
            parts.append(more)
            length += len(more)
        return b"".join(parts)

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; fewer only at the end of the stream."""
        end = self._at + size
        if end <= len(self._data):
            data = self._data[self._at : end]
            self._at = end
            return data
        parts = [self._data[self._at :]]
        missing = size - len(parts[0])
        self._data, self._at = b"", 0
        while missing:
            more = self._receive()
            if not more:
                break
            parts.append(more[:missing])
            if len(more) > missing:
                self._data, self._at = more, missing
            missing -= len(parts[-1])
        return b"".join(parts)

    # For who listens without waiting

    def whole(self, head: re.Pattern[bytes], tail: bytes) -> tuple[re.Match[bytes], bytes] | None:
        """A literal whose size is the last group of `head`, and `tail` after it, if all of it has come.

        None, and nothing is taken, when the next bytes are something else or not all there yet.
        """
        found = head.match(self._data, self._at)
        if found is None:
            return None
        start = found.end()
        end = start + int(found[found.re.groups])
        if self._data[end : end + len(tail)] != tail:
            return None
        self._at = end + len(tail)
        return found, self._data[start:end]

    @property
    def timeout(self) -> float:
        """How long the server may be silent when something is expected of it, in seconds."""
        return self._socket.gettimeout() or 0.0

    def fileno(self) -> int:
        return self._socket.fileno()

    def holds_line(self) -> bool:
        """Whether `readline` would give a whole line without asking the socket."""
        return self._data.find(b"\n", self._at) >= 0

    def holds_more(self) -> bool:
        """Whether `take` would find something though the descriptor is not readable."""
        pending = getattr(self._socket, "pending", None)
        return bool(pending and pending()) or bool(self._inflate and self._inflate.unconsumed_tail)

    def take(self) -> bool:
        """Take in what has come and wait for nothing; False at the end of the stream, or of all patience."""
        if len(self._data) - self._at > _MAX_LINE:
            return False
        timeout = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            more = self._receive()
        except (BlockingIOError, ssl.SSLWantReadError):
            return True  # nothing, or nothing but records of TLS itself
        finally:
            self._socket.settimeout(timeout)
        self._data, self._at = self._data[self._at :] + more, 0
        return bool(more)

    def keep_alive(self, seconds: int) -> None:
        """Let the kernel find out within about twice so many seconds that nobody is there any more."""
        settings = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        # Not every system has a name for each of these.
        for name, value in (("TCP_KEEPIDLE", seconds), ("TCP_KEEPINTVL", seconds // 4), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, name):
                settings.append((socket.IPPROTO_TCP, getattr(socket, name), value))
        for setting in settings:
            self._socket.setsockopt(*setting)

    def _receive(self) -> bytes:
        """What comes next, at most about _CHUNK bytes, whatever a compressed stream swells to."""
        if not self._inflate:
            return self._hear()
        while True:
            packed = self._inflate.unconsumed_tail or self._hear()
            if not packed:
                return b""
            data = self._inflate.decompress(packed, _CHUNK)
            if data:
                return data

    def _hear(self) -> bytes:
        if self._stop and self._socket.gettimeout() and not self.holds_more():
            self._wait(self._stop)
        return self._socket.recv(_CHUNK)

    def _wait(self, stop: Callable[[], bool]) -> None:
        """Until the socket has something; it may be long."""
        end = time.monotonic() + self.timeout
        line = select.poll()
        line.register(self._socket, select.POLLIN)
        while not line.poll(1000 * min(LOOK, max(end - time.monotonic(), 0))):
            if stop():
                raise InterruptedRun()
            if time.monotonic() >= end:
                raise TimeoutError("timed out")
