"""Who gets what: recipients checked, parcels put into the outbox, jobs read back from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from msgspec import Struct

from archiver.config import SmtpServer
from archiver.errors import UsageError
from archiver.resend.block import new_message_id
from archiver.resend.delivery import MessageReport, Report, deliver
from archiver.resend.job import Fetch, Job, Original
from archiver.resend.recipe import Recipe, packed, unpacked
from archiver.smtp import Mailbox, Session, check_address, mailbox
from archiver.store.user import Intent, OutboxMessage, User

# The same to the same recipient within this time is asked about (seconds).
DAY = 24 * 3600


class Parcel(Struct, frozen=True):
    """One message to be: its originals' keys, how it is made of them, and who gets it unnamed."""

    keys: tuple[bytes, ...]
    recipe: Recipe
    blind: tuple[Mailbox, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The envelope: each address once."""
        everybody = mailboxes([*self.recipe.to, *self.recipe.cc, *self.blind])
        return tuple(box.address for box in everybody)


def mailboxes(recipients: Sequence[str | Mailbox]) -> tuple[Mailbox, ...]:
    """Checked, each address once (the part before the @ may tell upper from lower case, RFC 5321, 2.4)."""
    boxes: dict[str, Mailbox] = {}
    for recipient in recipients:
        box = mailbox(recipient) if isinstance(recipient, str) else recipient
        check_address(box.address)
        local, _, domain = box.address.rpartition("@")
        boxes.setdefault(f"{local}@{domain.lower()}", box)
    return tuple(boxes.values())


def split(items: Sequence[Any], size: Callable[[Any], int], limit: int) -> Iterator[list[Any]]:
    """Neighbours together while their sizes add up to `limit` at most; what is larger goes alone."""
    group: list[Any] = []
    total = 0
    for item in items:
        if group and total + size(item) > limit:
            yield group
            group, total = [], 0
        group.append(item)
        total += size(item)
    if group:
        yield group


def enqueue(
    parcels: Iterable[Parcel],
    via: SmtpServer,
    name: str,
    user: User,
    now: datetime,
    fetch: Fetch,
    *,
    again: bool = False,
    due: bool = False,
) -> list[Job]:
    """Put parcels into the outbox, all or none; several jobs for one with more recipients than go at once.

    name: the server's in the configuration. fetch: key -> bytes, when they are needed. due: the daemon is to
    send them. RepeatError unless `again` where an original went, or is about to go, to one of its recipients
    within a day.
    """
    planned = [part for parcel in parcels for part in _parts(parcel, via)]
    at = int(now.timestamp())
    intents = [_intent(parcel, to, id, name, at if due else None) for parcel, to, id in planned]
    ids = user.queue(intents, at, unless_since=None if again else at - DAY)
    return [
        Job(id, _bound(parcel.keys, fetch), message_id, parcel.recipe.from_.address, to, parcel.recipe)
        for id, (parcel, to, message_id) in zip(ids, planned, strict=True)
    ]


def _parts(parcel: Parcel, via: SmtpServer) -> Iterator[tuple[Parcel, tuple[str, ...], str]]:
    """A parcel with as many of its recipients at a time as the server takes; it is one message still."""
    addresses, most = parcel.addresses, via.recipients_per_message
    if not addresses:
        raise UsageError("no recipient", hint="name one with --to")
    check_address(parcel.recipe.from_.address)
    message_id = new_message_id(parcel.recipe.from_)
    for start in range(0, len(addresses), most):
        yield parcel, addresses[start : start + most], message_id


def _intent(parcel: Parcel, to: tuple[str, ...], message_id: str, name: str, due: int | None) -> Intent:
    first, *more = parcel.keys
    sender = parcel.recipe.from_.address
    return Intent(first, message_id, name, sender, to, packed(parcel.recipe), tuple(more), due)


def stored(message: OutboxMessage, fetch: Fetch) -> Job:
    """The job of a message of the outbox, for those of its recipients who are queued or deferred.

    fetch: key -> wire bytes.
    """
    waiting = [to for to in message.recipients if to.status in ("queued", "deferred")]
    return Job(
        message.id,
        _bound(message.originals, fetch),
        message.message_id,
        message.sender,
        tuple(to.address for to in waiting),
        unpacked(message.recipe) if message.recipe else _plain(message),
        tries=max((to.tries for to in waiting), default=0),
        # Of the time before there were recipes: the block as it went out is all that is known.
        block=b"" if message.recipe else message.block,
    )


def _bound(keys: Sequence[bytes], fetch: Fetch) -> tuple[Original, ...]:
    return tuple((key, partial(fetch, key)) for key in keys)


def _plain(message: OutboxMessage) -> Recipe:
    to = tuple(Mailbox("", each.address) for each in message.recipients)
    date = datetime.fromtimestamp(message.created, UTC).astimezone()
    return Recipe(from_=Mailbox("", message.sender), to=to, date=date)


def resend(
    items: Iterable[tuple[bytes, bytes | Callable[[], bytes]]],
    recipients: Sequence[str | Mailbox],
    via: SmtpServer,
    session_factory: Callable[[], AbstractContextManager[Session]],
    user: User,
    now: Callable[[], datetime],
    *,
    name: str = "",
    again: bool = False,
    fault: Callable[[str], None] = lambda step: None,
    stop: Callable[[], bool] = lambda: False,
    waiting: Callable[[str], None] | None = None,
    done: Callable[[MessageReport], None] = lambda report: None,
) -> Report:
    """Send each message again to all recipients behind a Resent block; a report in any case.

    items: key and wire bytes, or a function that fetches them just before they are needed; a key that comes
    again is the same message. The rest as
    `enqueue` and `deliver` have it. Raises UsageError for addresses, before anything is written or sent, and
    StoreError when the outbox cannot be written, since nothing may be sent that cannot be recorded.
    """
    recipe = Recipe(from_=mailbox(via.from_), to=mailboxes(recipients), date=now())
    if not recipe.to:
        raise UsageError("no recipient", hint="name one with --to")
    wires = dict(items)

    def fetch(key: bytes) -> bytes:
        wire = wires[key]
        return wire if isinstance(wire, bytes) else wire()

    parcels = [Parcel((key,), recipe) for key in wires]
    fault("planned")
    jobs = enqueue(parcels, via, name or via.host, user, now(), fetch, again=again)
    fault("queued")
    return deliver(
        jobs,
        session_factory,
        user,
        now,
        via=name or via.host,
        per_minute=via.messages_per_minute,
        fault=fault,
        stop=stop,
        waiting=waiting,
        done=done,
    )
