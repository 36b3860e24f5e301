"""Sending over an open connection: every recipient's outcome, exactly as far as it can be known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec import Struct

from archiver.config import SmtpServer
from archiver.errors import ArchiverError, ProtocolError, UnsendableError
from archiver.smtp.address import check_address
from archiver.smtp.translate import one_line, translated, where
from archiver.smtp.wire import Wire

Status = Literal["sent", "deferred", "failed", "unknown"]

MAX_LINE = 998  # RFC 5321, 4.5.3.1.6, without CRLF
_CHUNK = 64 * 1024
_FINAL_PATIENCE = 10
_AS_FILE = "--as file sends it whole, as a file in a message of yours"


class Outcome(Struct, frozen=True):
    """What became of one recipient.

    sent: the server took the message. deferred: it did not, and trying again is safe. failed: it refused
    for good. unknown: the connection died after the end of the message and before the answer. `code` is the
    reply's, 0 without one; `reply` is its text, one line of at most 300 characters, or why there was none.
    """

    address: str
    status: Status
    code: int
    reply: str


class Reply(Struct, frozen=True):
    """A server's answer, its text made harmless."""

    code: int
    text: str

    @property
    def status(self) -> Status | None:
        """What it means for a recipient; None when it answers nothing that was asked."""
        meanings: dict[int, Status] = {2: "sent", 4: "deferred", 5: "failed"}
        return meanings.get(self.code // 100)


def _no_step(name: str) -> None:
    pass


class Dsn(Struct, frozen=True):
    """What the recipients' servers are to report (RFC 3461).

    `notify` is NEVER, or any of SUCCESS, FAILURE, DELAY; without it nothing is asked. The reports name
    `envelope_id`, and quote the header alone.
    """

    notify: tuple[str, ...] = ()
    envelope_id: str = ""

    @property
    def mail(self) -> tuple[str, ...]:
        """The options for MAIL FROM."""
        if not self.notify:
            return ()
        return ("RET=HDRS", *((f"ENVID={_xtext(self.envelope_id)}",) if self.envelope_id else ()))

    @property
    def rcpt(self) -> str:
        """What follows the address in RCPT TO."""
        return f" NOTIFY={','.join(self.notify)}" if self.notify else ""


def _xtext(text: str) -> str:
    """RFC 3461, 4."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


_NO_DSN = Dsn()


class Session:
    """A connection that is ready to send. Made by `connect`, which also closes it."""

    def __init__(self, wire: Wire, server: SmtpServer) -> None:
        self._wire = wire
        self.server = server

    @property
    def alive(self) -> bool:
        """Whether another message can be sent here."""
        return self._wire.alive

    @property
    def capabilities(self) -> dict[str, str]:
        """What EHLO announced: keyword in lower case -> parameters."""
        return dict(self._wire.esmtp_features)

    def check(
        self, envelope_from: str, recipients: Sequence[str], data: bytes, dsn: Dsn = _NO_DSN
    ) -> tuple[str, ...]:
        """The options for MAIL FROM (RFC 1870, 3461, 6152, 6531); sends nothing.

        UsageError for an address that is none; UnsendableError when this server must not get these bytes.
        """
        addresses = (envelope_from, *recipients)
        for address in addresses:
            check_address(address)
        check_bytes(data)
        features = self._wire.esmtp_features
        if dsn.notify and "dsn" not in features:
            raise UnsendableError(
                f"{where(self.server)} takes no wishes about reports (no DSN)", hint="leave out --notify"
            )
        return (*_mail_options(features, where(self.server), addresses, data), *dsn.mail)

    def send(
        self,
        envelope_from: str,
        recipients: Sequence[str],
        data: bytes,
        step: Callable[[str], None] = _no_step,
        dsn: Dsn = _NO_DSN,
    ) -> tuple[Outcome, ...]:
        """One mail transaction (RFC 5321, 3.3); an outcome for every recipient, in order.

        `data` is what goes on the wire, lines ending in CRLF. It is transmitted unchanged but for
        dot-stuffing; where its last line has no end, the end of data gives it one, as SMTP has no other
        way. Raises as `check` does, before MAIL FROM; what the server or the line does is in the outcomes,
        never raised. `step` is called with a name between every two steps.
        """
        options = self.check(envelope_from, recipients, data, dsn)
        transaction = _Transaction(self._wire, self.server, recipients, step, dsn.rcpt)
        return transaction.run(envelope_from, options, data)


def check_bytes(data: bytes) -> None:
    """UnsendableError for bytes that no server may get in DATA, whatever it announces.

    A bare CR or LF is how a second message is smuggled into the first (RFC 5321, 2.3.8); NUL and lines over
    998 octets are cut or refused on the way (4.5.3.1.6).
    """
    lines = data.count(b"\r\n")
    if data.count(b"\r") != lines or data.count(b"\n") != lines:
        raise UnsendableError("the message holds a line break that is not CRLF", hint=_AS_FILE)
    if b"\0" in data:
        raise UnsendableError("the message holds a NUL", hint=_AS_FILE)
    longest = max(map(len, data.split(b"\r\n")))
    if longest > MAX_LINE:
        raise UnsendableError(
            f"the message has a line of {longest:,} octets; {MAX_LINE} are the most in SMTP", hint=_AS_FILE
        )


def _mail_options(
    features: dict[str, str], server: str, addresses: Iterable[str], data: bytes
) -> tuple[str, ...]:
    options = []
    if "size" in features:
        limit = int(features["size"]) if features["size"].isdecimal() else 0
        if 0 < limit < len(data):
            raise UnsendableError(
                f"the message has {len(data):,} octets; {server} takes {limit:,}",
                hint="--via another server that takes more",
            )
        options.append(f"SIZE={len(data)}")
    foreign = [address for address in addresses if not address.isascii()]
    if not data.isascii() or foreign:
        if "8bitmime" not in features:
            raise UnsendableError(
                f"the message holds 8-bit bytes and {server} takes 7-bit ones only (no 8BITMIME)",
                hint=_AS_FILE,
            )
        options.append("BODY=8BITMIME")
    if foreign:
        if "smtputf8" not in features:
            raise UnsendableError(
                f"{server} takes ASCII addresses only (no SMTPUTF8), not {foreign[0]}",
                hint="write a domain in its xn-- form; letters before the @ need another server",
            )
        options.append("SMTPUTF8")
    return tuple(options)


class _Transaction:
    """MAIL, RCPT, DATA, the bytes, the dot; and what is known of each recipient at every moment."""

    def __init__(
        self,
        wire: Wire,
        server: SmtpServer,
        recipients: Sequence[str],
        step: Callable[[str], None],
        wishes: str = "",
    ) -> None:
        self.wire = wire
        self.server = server
        self.open = list(dict.fromkeys(recipients))
        self.outcomes: dict[str, Outcome] = {}
        self.step = step
        self.wishes = wishes
        self.dotted = False

    def run(self, envelope_from: str, options: tuple[str, ...], data: bytes) -> tuple[Outcome, ...]:
        order = tuple(self.open)
        # Addresses are checked; the encoding matters only after SMTPUTF8 was agreed on.
        self.wire.command_encoding = "utf-8" if "SMTPUTF8" in options else "ascii"
        try:
            with translated(self.server):
                self.converse(" ".join((f"MAIL FROM:<{envelope_from}>", *options)), data)
        except ArchiverError as exc:
            self.wire.close()
            self.settle(self.open, "unknown" if self.dotted else "deferred", Reply(0, exc.message))
        return tuple(self.outcomes[address] for address in order)

    def converse(self, mail: str, data: bytes) -> None:
        if not self.agreed(self.command(mail), self.open):
            return
        self.step("mail")
        for address in tuple(self.open):
            # After 421 the server is gone, and nobody is left open.
            if address in self.open:
                self.agreed(self.command(f"RCPT TO:<{address}>{self.wishes}"), [address])
                self.step("rcpt")
        if not self.open:
            self.reset()
            return
        reply = self.command("DATA")
        if reply.code != 354:
            if self.agreed(reply, self.open):
                raise self.nonsense("DATA")
            self.reset()
            return
        self.step("data")
        self.transmit(data)
        final = self.reply()
        if final.status is None:
            raise self.nonsense("the message")
        self.settle(self.open, final.status, final)
        self.step("answered")

    def transmit(self, data: bytes) -> None:
        """The dot-stuffed bytes (RFC 5321, 4.5.2), then the dot: before it, the server has no message."""
        stuffed = memoryview((b"." if data.startswith(b".") else b"") + data.replace(b"\r\n.", b"\r\n.."))
        for start in range(0, len(stuffed), _CHUNK):
            # Each piece has the read timeout for itself: a long message may take long.
            self.wire.send(stuffed[start : start + _CHUNK])
        self.step("body")
        self.dotted = True
        self.wire.send(b".\r\n" if data.endswith(b"\r\n") or not data else b"\r\n.\r\n")
        self.step("dot")
        # RFC 5321, 4.5.3.2.6: impatience here is what delivers messages twice.
        self.wire.patience(_FINAL_PATIENCE * self.server.read_timeout)

    def command(self, line: str) -> Reply:
        self.wire.putcmd(line)
        return self.reply()

    def reply(self) -> Reply:
        code, text = self.wire.getreply()
        self.wire.patience(self.server.read_timeout)
        return Reply(code, one_line(text))

    def agreed(self, reply: Reply, concerned: list[str]) -> bool:
        """Whether the server said yes; else those concerned have their outcome (after 421 everybody)."""
        if reply.status == "sent":
            return True
        if reply.status is None:
            raise self.nonsense("a command")
        gone = reply.code == 421
        self.settle(self.open if gone else concerned, reply.status, reply)
        if gone:
            self.wire.close()
        return False

    def settle(self, addresses: list[str], status: Status, reply: Reply) -> None:
        for address in tuple(addresses):
            self.outcomes[address] = Outcome(address, status, reply.code, reply.text)
            self.open.remove(address)
        if reply.code == 421:
            self.wire.close()

    def reset(self) -> None:
        """End the transaction so that the next message can begin; a line on which that fails is cut."""
        if self.wire.alive and not 200 <= self.wire.docmd("RSET")[0] <= 299:
            self.wire.close()

    def nonsense(self, answered: str) -> ProtocolError:
        return ProtocolError(f"{where(self.server)}: the answer to {answered} cannot be understood")
