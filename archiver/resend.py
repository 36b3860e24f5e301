"""Stored bytes + a Resent block -> SMTP, through the outbox.

The plan is `resent_block`: what goes in front of a message's own bytes, which follow unchanged. The loop
writes the intent for every message before it connects, `sending` before a message's first byte, the outcome
after the server's answer. It neither waits nor tries again: a deferred recipient is for the caller, an
`unknown` one for the user.
"""

from __future__ import annotations

import email.utils
import re
import uuid
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime

from msgspec import Struct

from archiver.config import SmtpServer
from archiver.errors import ArchiverError, ConnectionLostError, RefusedError, UsageError
from archiver.smtp import Mailbox, Outcome, Session, check_address, mailbox
from archiver.store.user import Intent, User

Wire = bytes | Callable[[], bytes]

_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_ENVELOPE_LINE = re.compile(rb">*From ")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]{1,60}")
_QUOTABLE_NAME = re.compile(r"[ -~]{1,60}")
_WORD_OCTETS = 42  # 56 in base64, 68 with =?utf-8?b? and ?=: under the 75 of RFC 2047, section 2


class MessageReport(Struct, frozen=True):
    """One message: the original's key, its id in the outbox, what became of each recipient.

    `outcomes` is empty for a message that was not begun (the run was stopped); the outbox has it as queued.
    """

    key: bytes
    id: int
    message_id: str
    outcomes: tuple[Outcome, ...]
    hint: str | None = None


class Report(Struct, frozen=True):
    """A whole run. `error` is why it ended before its last message, if it did.

    `orphans`: recipients of earlier runs, killed while sending, that are `unknown` from now on.
    """

    messages: tuple[MessageReport, ...]
    recipients: int
    error: ArchiverError | None = None
    orphans: int = 0

    def count(self, status: str) -> int:
        """How many recipients of how many messages ended with `status`."""
        return sum(outcome.status == status for message in self.messages for outcome in message.outcomes)

    @property
    def exit_code(self) -> int:
        """0 all sent, 3 some, 75 none and all deferred, 1 none otherwise."""
        asked = len(self.messages) * self.recipients
        sent = self.count("sent")
        if sent:
            return 0 if sent == asked else 3
        return 75 if asked and self.count("deferred") == asked else 1 if asked else 0


def resent_block(
    sender: Mailbox, recipients: Sequence[Mailbox], message_id: str, now: datetime, first: bytes = b""
) -> bytes:
    """The header fields that go before the message's own bytes, the newest block on top (RFC 5322, 3.6.6).

    `now` is aware; `message_id` has its angle brackets; `first` is the start of the message, its first line
    at least. Ends with CRLF, so that a header follows or, where the message begins with a blank line, its
    body does. Two kinds of messages have no header that could follow, and are joined as Postfix does it: an
    mbox line (`From me@example.org Mon ...`) becomes the value of X-Mailbox-Line, and before text without
    any header comes the blank line that it lacks. In all cases the message's bytes are unchanged.
    """
    to = ",\r\n ".join(_header_mailbox(mailbox) for mailbox in recipients)
    block = (
        f"Resent-Date: {email.utils.format_datetime(now)}\r\n"
        f"Resent-From: {_header_mailbox(sender)}\r\n"
        f"Resent-To: {to}\r\n"
        f"Resent-Message-ID: {message_id}\r\n"
    ).encode()
    if not first or first.startswith(b"\r\n") or _FIELD.match(first):
        return block
    return block + (b"X-Mailbox-Line: " if _ENVELOPE_LINE.match(first) else b"\r\n")


def new_message_id(sender: Mailbox) -> str:
    """A Message-ID never used before, in the sender's domain; ASCII."""
    domain = sender.address.rpartition("@")[2]
    try:
        right = domain.encode("idna").decode("ascii")
    except UnicodeError:
        right = "localhost.invalid"
    return f"<{uuid.uuid4()}@{right}>"


def _header_mailbox(value: Mailbox) -> str:
    if not value.name:
        return value.address
    # A space in front of < lets the line be folded there.
    name = _phrase(value.name)
    gap = "\r\n " if len(name) + len(value.address) > 60 else " "
    return f"{name}{gap}<{value.address}>"


def _phrase(name: str) -> str:
    """A display name as atoms, as a quoted string, or as encoded words (RFC 2047, section 5 (3))."""
    if _PLAIN_NAME.fullmatch(name) and "=?" not in name and name == " ".join(name.split()):
        return name
    if _QUOTABLE_NAME.fullmatch(name) and "=?" not in name:
        return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return "\r\n ".join(f"=?utf-8?b?{b64encode(part).decode('ascii')}?=" for part in _octets(name))


def _octets(text: str) -> Iterable[bytes]:
    """The text in UTF-8, in pieces that end between characters."""
    piece = b""
    for char in text:
        encoded = char.encode()
        if len(piece) + len(encoded) > _WORD_OCTETS:
            yield piece
            piece = b""
        piece += encoded
    yield piece


def resend(
    items: Iterable[tuple[bytes, Wire]],
    recipients: Sequence[str | Mailbox],
    via: SmtpServer,
    session_factory: Callable[[], AbstractContextManager[Session]],
    user: User,
    now: Callable[[], datetime],
    *,
    name: str = "",
    fault: Callable[[str], None] = lambda step: None,
    stop: Callable[[], bool] = lambda: False,
    waiting: Callable[[str], None] | None = None,
    done: Callable[[MessageReport], None] = lambda report: None,
) -> Report:
    """Send each message again to all recipients; a report, also when nobody took anything.

    items: key and wire bytes, or a function that fetches them just before they are needed (two messages are
    in memory at a time; what it raises of our own errors fails that message alone). name: the server's in
    the configuration, kept in the outbox. fault: called with a name between every two steps, for tests.
    stop: asked between messages; what is left stays queued. waiting: told who holds the outbox before
    waiting for it, where `stop` ends it with InterruptedRun. done: told each message's report as it ends;
    what it raises ends the run, and what is left stays queued.

    Raises UsageError for addresses, before anything is written or sent, and StoreError when the outbox
    cannot be written, since nothing may be sent that cannot be recorded.
    """
    sender, to = mailbox(via.from_), _mailboxes(recipients)
    jobs = [(key, wire) for key, wire in items]
    fault("planned")
    queued = _queue(jobs, sender, to, name or via.host, user, now)
    fault("queued")
    with user.sending("resend", _unix(now), waiting=waiting, stop=stop) as orphans:
        fault("locked")
        delivery = _Delivery(queued, sender, to, session_factory, user, now, fault, stop, done)
        delivery.run()
    reports = tuple(delivery.reports[job.id] for job in queued)
    return Report(reports, len(to), delivery.error, orphans)


class _Job(Struct, frozen=True):
    id: int
    key: bytes
    message_id: str
    wire: Wire


class _Loaded(Struct, frozen=True):
    job: _Job
    block: bytes
    data: bytes


class _Delivery:
    """A run over queued messages, under the outbox lock, with sessions as needed."""

    def __init__(
        self,
        jobs: Sequence[_Job],
        sender: Mailbox,
        to: Sequence[Mailbox],
        session_factory: Callable[[], AbstractContextManager[Session]],
        user: User,
        now: Callable[[], datetime],
        fault: Callable[[str], None],
        stop: Callable[[], bool],
        done: Callable[[MessageReport], None],
    ) -> None:
        self.left = deque(jobs)
        self.sender = sender
        self.to = to
        self.session_factory = session_factory
        self.user = user
        self.now = now
        self.fault = fault
        self.stop = stop
        self.done = done
        self.error: ArchiverError | None = None
        self.reports = {job.id: MessageReport(job.key, job.id, job.message_id, ()) for job in jobs}

    def run(self) -> None:
        """Send until nothing is left or the server is gone: unreachable, or lost at a first message."""
        while self.left and not self.stop():
            with ExitStack() as stack:
                try:
                    session = stack.enter_context(self.session_factory())
                except ArchiverError as exc:
                    return self.give_up(exc)
                self.fault("connected")
                answered = self.drain(session)
            if self.left and not answered and not self.stop():
                return self.give_up(
                    ConnectionLostError("the server ends every connection", hint="try again later")
                )

    def drain(self, session: Session) -> int:
        """Send over this session while it lives; how many messages it outlived."""
        answered = 0
        current = self.load()
        claimed = current and self.user.begin(current.job.id, current.block, _unix(self.now))
        while current and claimed:
            self.fault("sending")
            # Fetched now, so that one transaction can end this message and begin the next.
            with self.untouched(current):
                following = self.load()
            outcomes, hint = self.send(session, current, claimed)
            goes_on = session.alive and not self.stop()
            claimed = self.user.finish(
                current.job.id,
                outcomes,
                _unix(self.now),
                then=(following.job.id, following.block) if following and goes_on else None,
            )
            with self.untouched(following if claimed else None):
                self.report(current.job, outcomes, hint)
            answered += session.alive
            if following and not goes_on:
                self.left.appendleft(following.job)
            current = following
            self.fault("recorded")
        return answered

    @contextmanager
    def untouched(self, begun: _Loaded | None) -> Iterator[None]:
        """Around what runs between a message's claim and its first byte: an error takes the claim back."""
        try:
            yield
        except BaseException:
            if begun:
                self.user.release(begun.job.id, _unix(self.now))
            raise

    def send(
        self, session: Session, message: _Loaded, to: Sequence[str]
    ) -> tuple[tuple[Outcome, ...], str | None]:
        try:
            data = message.block + message.data
            return session.send(self.sender.address, to, data, self.fault), None
        except ArchiverError as exc:
            return _same_for_all(to, exc), exc.hint

    def load(self) -> _Loaded | None:
        """The next message whose bytes can be had; one whose bytes cannot has failed."""
        while self.left:
            job = self.left.popleft()
            try:
                data = job.wire if isinstance(job.wire, bytes) else job.wire()
            except ArchiverError as exc:
                self.abandon([job], exc)
                continue
            block = resent_block(self.sender, self.to, job.message_id, self.now(), data[:1000])
            return _Loaded(job, block, data)
        return None

    def give_up(self, exc: ArchiverError) -> None:
        self.error = exc
        self.abandon(list(self.left), exc)
        self.left.clear()

    def abandon(self, jobs: Sequence[_Job], exc: ArchiverError) -> None:
        """What was not begun and will not be, in this run."""
        outcomes = _same_for_all([box.address for box in self.to], exc)
        self.user.settle([(job.id, outcomes) for job in jobs], _unix(self.now))
        for job in jobs:
            self.report(job, outcomes, exc.hint)

    def report(self, job: _Job, outcomes: tuple[Outcome, ...], hint: str | None) -> None:
        ended = MessageReport(job.key, job.id, job.message_id, outcomes, hint)
        self.reports[job.id] = ended
        self.done(ended)


def _same_for_all(addresses: Sequence[str], exc: ArchiverError) -> tuple[Outcome, ...]:
    code = exc.code if isinstance(exc, RefusedError) else 0
    reason = str(exc).encode("utf-8", "replace").decode()
    return tuple(
        Outcome(address, "deferred" if exc.transient else "failed", code, reason) for address in addresses
    )


def _mailboxes(recipients: Sequence[str | Mailbox]) -> tuple[Mailbox, ...]:
    """Checked, each address once (the part before the @ may tell upper from lower case, RFC 5321, 2.4)."""
    boxes: dict[str, Mailbox] = {}
    for recipient in recipients:
        box = mailbox(recipient) if isinstance(recipient, str) else recipient
        check_address(box.address)
        local, _, domain = box.address.rpartition("@")
        boxes.setdefault(f"{local}@{domain.lower()}", box)
    if not boxes:
        raise UsageError("no recipient", hint="name one with --to")
    return tuple(boxes.values())


def _queue(
    jobs: Sequence[tuple[bytes, Wire]],
    sender: Mailbox,
    to: Sequence[Mailbox],
    via: str,
    user: User,
    now: Callable[[], datetime],
) -> list[_Job]:
    addresses = tuple(box.address for box in to)
    ids = [new_message_id(sender) for _ in jobs]
    intents = (
        Intent(key, message_id, via, sender.address, addresses)
        for (key, _), message_id in zip(jobs, ids, strict=True)
    )
    queued = user.queue(intents, _unix(now))
    return [
        _Job(id, key, message_id, wire) for id, (key, wire), message_id in zip(queued, jobs, ids, strict=True)
    ]


def _unix(now: Callable[[], datetime]) -> int:
    return int(now().timestamp())
