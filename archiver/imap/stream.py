"""Lines and literals straight off a socket, plain, in TLS, or compressed (RFC 4978)."""

from __future__ import annotations

import select
import socket
import zlib

_CHUNK = 1 << 18
_MAX_LINE = 16 << 20


class Stream:
    """Takes over a connected socket nobody else reads from any more.

    Reading raises what the socket raises (TimeoutError when the server is silent for the socket's
    timeout); the end of the stream shows as a line without its newline, or as too few bytes.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
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
        self._socket.sendall(data)

    def readline(self) -> bytes:
        """Up to and with the next LF; without one at the end of the stream or after 16 MiB."""
        while True:
            end = self._data.find(b"\n", self._at) + 1
            if end:
                line = self._data[self._at : end]
                self._at = end
                return line
            kept = self._data[self._at :]
            more = self._receive() if len(kept) <= _MAX_LINE else b""
            self._data, self._at = kept + more, 0
            if not more:
                self._data = b""
                return kept

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

    def waits(self, seconds: float, wake: int = -1) -> bool:
        """Whether there is something to read within `seconds`; sooner False when `wake` (a descriptor) is."""
        if self._at < len(self._data) or (self._inflate and self._inflate.unconsumed_tail):
            return True
        pending = getattr(self._socket, "pending", None)
        if pending and pending():
            return True
        watched = [self._socket.fileno()] + ([wake] if wake >= 0 else [])
        ready, _, _ = select.select(watched, [], [], max(seconds, 0))
        return self._socket.fileno() in ready

    def _receive(self) -> bytes:
        """What comes next, at most about _CHUNK bytes, whatever a compressed stream swells to."""
        if not self._inflate:
            return self._socket.recv(_CHUNK)
        while True:
            packed = self._inflate.unconsumed_tail or self._socket.recv(_CHUNK)
            if not packed:
                return b""
            data = self._inflate.decompress(packed, _CHUNK)
            if data:
                return data
