"""smtplib's client on a socket of ours, with replies bounded in length."""

from __future__ import annotations

import smtplib
import socket

_MAX_LINE = 8192
_MAX_LINES = 200


class Wire(smtplib.SMTP):
    """One connection; raises what smtplib raises. Never looks up this machine's own name."""

    def __init__(self, sock: socket.socket) -> None:
        # RFC 5321, 4.1.3: an address literal, as mail programs without a name of their own say.
        address = sock.getsockname()[0]
        literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        super().__init__(local_hostname=literal)
        self.swap(sock)

    def swap(self, sock: socket.socket) -> None:
        """Go on over this socket, and forget what was said over the one before (RFC 3207, 4.2)."""
        if self.file is not None:
            self.file.close()
        self.sock, self.file = sock, None
        self.ehlo_resp = self.helo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    @property
    def alive(self) -> bool:
        return self.sock is not None

    def patience(self, seconds: float) -> None:
        """How long each read or write may take from now on."""
        if self.sock is not None:
            self.sock.settimeout(seconds)

    def getreply(self) -> tuple[int, bytes]:
        """A reply's code and lines (RFC 5321, 4.2); code -1 when it is none, SMTPException over 200 lines."""
        lines: list[bytes] = []
        while len(lines) < _MAX_LINES:
            line = self._line()
            lines.append(line[4:].strip())
            if not line[:3].isdigit():
                return -1, line
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)
        self.close()
        raise smtplib.SMTPException("a reply without end")

    def _line(self) -> bytes:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("not connected")
        if self.file is None:
            self.file = self.sock.makefile("rb")
        try:
            line: bytes = self.file.readline(_MAX_LINE + 1)
        except OSError as exc:
            self.close()
            raise smtplib.SMTPServerDisconnected("reading failed") from exc
        if not line:
            self.close()
            raise smtplib.SMTPServerDisconnected("closed")
        if len(line) > _MAX_LINE:
            self.close()
            raise smtplib.SMTPException("a line without end")
        return line
