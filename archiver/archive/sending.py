"""Sending: an order of the user's -> parcels -> the outbox -> the servers of the configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from string import Template
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from archiver.errors import ArchiverError, NotFoundError, UsageError
from archiver.message import Message, parse
from archiver.resend import (
    FORMS,
    Fetch,
    Form,
    Job,
    MessageReport,
    Parcel,
    Recipe,
    Report,
    compose,
    deliver,
    enqueue,
    mailboxes,
    new_message_id,
    split,
    stored,
)
from archiver.resend.compose import attached_size
from archiver.resend.header import delivered_to, has_bcc
from archiver.smtp import Mailbox, Outcome, check_bytes, mailbox
from archiver.store.layout import user_path
from archiver.store.reader import Reader
from archiver.store.user import OutboxMessage, User

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.config import SmtpServer

MESSAGE_SIZE = 20 << 20
_LISTED = 50
_SUBJECT, _SUBJECTS = "Fwd: $subject", "$count messages"
_NAMES = ("subject", "from", "date", "count")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done with the messages that were selected; addresses as people write them.

    subject, note: for a message of the user's own, may hold $subject, $from, $date (of its first original)
    and $count; None: as usual. message_size: how many originals go into one, by their bytes.
    """

    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    form: Form = "resent"
    subject: str | None = None
    note: str | None = None
    message_size: int = MESSAGE_SIZE
    drop_bcc: bool = False
    drop_delivered_to: bool = False
    notify: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """What would be sent, and what the user should be asked about first.

    loops: originals that say they were delivered to one of the recipients, with his address: a delivery
    agent would bounce them. bcc: originals that show their blind recipients.
    """

    parcels: tuple[Parcel, ...]
    loops: tuple[tuple[bytes, str], ...] = ()
    bcc: tuple[bytes, ...] = ()


class Preview(msgspec.Struct, frozen=True):
    """One message as it would go out: its originals, recipients, bytes; why it cannot, if so."""

    keys: tuple[bytes, ...]
    to: tuple[str, ...]
    size: int
    refused: str = ""


def plan(archive: Archive, keys: Sequence[bytes], order: Order, server: SmtpServer) -> Plan:
    """Read the originals and decide; writes and sends nothing. UsageError for what cannot be asked."""
    recipe = _recipe(order, server)
    blind = mailboxes(order.bcc)
    with _reader(archive) as reader:
        if recipe.new:
            return Plan(tuple(_letters(keys, recipe, blind, order, reader.wire)))
        return _copies(keys, recipe, blind, order, reader.wire)


def _recipe(order: Order, server: SmtpServer) -> Recipe:
    if order.form not in FORMS:
        raise UsageError(f"{order.form} is no way of sending", hint=f"one of {', '.join(FORMS)}")
    _insist(order)
    return Recipe(
        form=order.form,
        from_=mailbox(server.from_),
        to=mailboxes(order.to),
        cc=mailboxes(order.cc),
        date=datetime.now().astimezone().replace(microsecond=0),
        drop_bcc=order.drop_bcc,
        notify=order.notify,
    )


def _insist(order: Order) -> None:
    """UsageError for options that do not go together, and for a subject that is no line."""
    if order.form in ("attachment", "file"):
        if order.drop_bcc or order.drop_delivered_to:
            raise UsageError("an attached message stays as it is", hint="drop lines with --as resent")
    elif order.subject is not None or order.note is not None:
        raise UsageError(
            "a message that is sent again keeps its subject and text",
            hint="--as attachment or --as file makes a new one",
        )
    if order.subject is not None and not order.subject.isprintable():
        raise UsageError("the subject holds a line break or another control character")
    if "\0" in (order.note or ""):
        raise UsageError("the note holds a NUL")
    _insist_on_names(f"{order.subject or ''}\n{order.note or ''}")
    if "NEVER" in order.notify and len(order.notify) > 1:
        raise UsageError(
            "reports are asked for never, or for something", hint="--notify never, or the others"
        )


def _insist_on_names(text: str) -> None:
    """UsageError for a name in a subject or note that stands for nothing."""
    unknown = [name for name in Template(text).get_identifiers() if name not in _NAMES]
    if unknown:
        known = ", ".join(f"${name}" for name in _NAMES)
        raise UsageError(
            f"nothing is called ${unknown[0]}", hint=f"known: {known}; $$ stands for the character itself"
        )


def _copies(
    keys: Sequence[bytes],
    recipe: Recipe,
    blind: tuple[Mailbox, ...],
    order: Order,
    fetch: Fetch,
) -> Plan:
    addresses = Parcel((), recipe, blind).addresses
    parcels, loops, bcc = [], [], []
    for key in keys:
        # One that cannot be read fails by itself, when it is to be sent.
        wire = _wire_or_nothing(fetch, key)
        before = delivered_to(wire)
        again = tuple(address for address in addresses if address.lower() in before)
        loops += [(key, address) for address in again if not order.drop_delivered_to]
        if has_bcc(wire) and not recipe.drop_bcc:
            bcc.append(key)
        own = replace(recipe, drop_delivered=again) if order.drop_delivered_to else recipe
        parcels.append(Parcel((key,), own, blind))
    return Plan(tuple(parcels), tuple(loops), tuple(bcc))


def _wire_or_nothing(fetch: Fetch, key: bytes) -> bytes:
    try:
        return fetch(key)
    except ArchiverError:
        return b""


def _letters(
    keys: Sequence[bytes],
    recipe: Recipe,
    blind: tuple[Mailbox, ...],
    order: Order,
    fetch: Fetch,
) -> Iterator[Parcel]:
    """New messages, each with as many originals as its size allows."""
    sized = []
    for key in keys:
        wire = fetch(key)
        if recipe.form == "attachment":
            _attachable(key, wire)
        sized.append((key, attached_size(recipe, wire), _Gist.of(parse(wire))))
    for group in split(sized, lambda each: int(each[1]), order.message_size):
        gists = [gist for _, _, gist in group]
        own = replace(recipe, subject=_subject(order, gists), note=_note(order, gists))
        yield Parcel(tuple(key for key, _, _ in group), own, blind)


def _attachable(key: bytes, wire: bytes) -> None:
    try:
        check_bytes(wire)
    except ArchiverError as exc:
        exc.message = f"message {key.hex()[:8]}: {exc.message}"
        raise


class _Gist(msgspec.Struct, frozen=True):
    """What a subject and a note say of an original: one line each."""

    subject: str
    sender: str
    date: str

    @classmethod
    def of(cls, message: Message) -> _Gist:
        sender = next((each.name or each.address for each in message.from_), "")
        when = datetime.fromtimestamp(message.date).astimezone() if message.date is not None else None
        return cls(_line(message.subject), _line(sender), f"{when:%Y-%m-%d}" if when else "no date")


def _line(text: str) -> str:
    """Of what a stranger wrote: one printable line of bounded length."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _subject(order: Order, gists: Sequence[_Gist]) -> str:
    usual = _SUBJECT if len(gists) == 1 else _SUBJECTS
    return _filled(usual if order.subject is None else order.subject, gists)


def _note(order: Order, gists: Sequence[_Gist]) -> str:
    if order.note is not None:
        return _filled(order.note, gists)
    listed = [f"{gist.date}  {gist.sender}: {gist.subject}" for gist in gists[:_LISTED]]
    more = [f"and {len(gists) - _LISTED} more"] if len(gists) > _LISTED else []
    return "\n".join([*listed, *more])


def _filled(text: str, gists: Sequence[_Gist]) -> str:
    first = gists[0]
    values = (first.subject, first.sender, first.date, str(len(gists)))
    # A $ before what is no name, as in $5, is one.
    return Template(text).safe_substitute(dict(zip(_NAMES, values, strict=True)))


def template(text: str) -> tuple[str | None, str]:
    """Subject and note of a template: `Subject: ...` and a blank line, then the note; or a note alone."""
    first, _, rest = text.partition("\n")
    name, colon, subject = first.partition(":")
    if colon and name.strip().lower() == "subject":
        return subject.strip(), rest.removeprefix("\r").removeprefix("\n").strip("\r\n")
    return None, text


def preview(archive: Archive, parcels: Sequence[Parcel]) -> Iterator[Preview]:
    """Each message as it would go out, and what would keep it from that whatever the server is."""
    with _reader(archive) as reader:
        for parcel in parcels:
            to, recipe = parcel.addresses, parcel.recipe
            try:
                wires = [reader.wire(key) for key in parcel.keys]
                block, data = compose(recipe, new_message_id(recipe.from_), wires)
                check_bytes(block + data)
            except ArchiverError as exc:
                yield Preview(parcel.keys, to, 0, f"{exc}{f' ({exc.hint})' if exc.hint else ''}")
            else:
                yield Preview(parcel.keys, to, len(block) + len(data))


def send(
    archive: Archive,
    parcels: Sequence[Parcel],
    via: str | None,
    *,
    again: bool = False,
    queue: bool = False,
    done: Callable[[MessageReport], None] = lambda report: None,
) -> Report:
    """Put parcels into the outbox and, unless they are only to be queued, send them."""
    name, server = archive.via(via)
    now = datetime.now().astimezone()
    with _reader(archive) as reader, User(archive.root) as user:
        jobs = enqueue(parcels, server, name, user, now, reader.wire, again=again, due=queue)
        if queue:
            waiting = (MessageReport(job.key, job.id, job.message_id, (), asked=len(job.to)) for job in jobs)
            return Report(tuple(waiting))
        return _deliver(archive, name, jobs, user, done)


def send_stored(
    archive: Archive,
    choose: Callable[[User, int], Sequence[OutboxMessage]],
    done: Callable[[MessageReport], None] = lambda report: None,
) -> Report:
    """Send what `choose` takes from the outbox, server by server; a report of all of it."""
    if not os.path.exists(user_path(archive.root)):
        return Report(())
    with User(archive.root) as user:
        messages = choose(user, _now())
        if not messages:
            return Report(())
        with _reader(archive) as reader:
            reports = [
                _deliver(archive, name, [stored(each, reader.wire) for each in some], user, done)
                if name in archive.config.smtp
                else _nowhere(name, some, user, done)
                for name, some in _by_server(messages).items()
            ]
    error = next((report.error for report in reports if report.error), None)
    every = tuple(each for report in reports for each in report.messages)
    return Report(every, error, sum(report.orphans for report in reports))


def _by_server(messages: Sequence[OutboxMessage]) -> dict[str, list[OutboxMessage]]:
    groups: dict[str, list[OutboxMessage]] = {}
    for message in messages:
        groups.setdefault(message.via, []).append(message)
    return groups


def _deliver(
    archive: Archive, name: str, jobs: Sequence[Job], user: User, done: Callable[[MessageReport], None]
) -> Report:
    server = archive.config.smtp[name]
    return deliver(
        jobs,
        lambda: archive.smtp_session(name, server),
        user,
        lambda: datetime.now().astimezone(),
        via=name,
        per_minute=server.messages_per_minute,
        stop=archive.stop,
        waiting=lambda holder: archive.say(f"waiting for the outbox, in use by {holder}"),
        done=done,
    )


def _nowhere(
    name: str, messages: Sequence[OutboxMessage], user: User, done: Callable[[MessageReport], None]
) -> Report:
    """What was to go through a server that the configuration no longer has: failed."""
    exc = NotFoundError(f"no sending server {name} in the configuration", hint="archiver outbox retry ID")
    reports = []
    for message in messages:
        waiting = [to.address for to in message.recipients if to.status in ("queued", "deferred")]
        outcomes = tuple(Outcome(address, "failed", 0, str(exc)) for address in waiting)
        user.settle([(message.id, outcomes, None)], _now())
        reports.append(
            MessageReport(message.key, message.id, message.message_id, outcomes, exc.hint, len(waiting))
        )
        done(reports[-1])
    return Report(tuple(reports), exc)


@contextmanager
def _reader(archive: Archive) -> Iterator[Reader]:
    with archive.ledger() as ledger:
        yield Reader(ledger)


def _now() -> int:
    return int(datetime.now().timestamp())
