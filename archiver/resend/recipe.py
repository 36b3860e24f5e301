"""How what goes out is made of stored messages; kept in the outbox, so that all make the same of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

import msgspec

from archiver.smtp import Mailbox

Form = Literal["resent", "attachment", "file", "original"]
FORMS: tuple[Form, ...] = get_args(Form)


class Recipe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What goes around the originals' bytes, and what of them is left out.

    form: `resent` puts a Resent block before the bytes of one original, `original` nothing; `attachment` and
    `file` make a new message with `subject` and `note` that holds the originals as message/rfc822 or as
    files. from_, to, cc: what the head says; blind recipients are in the outbox only. date: when the user
    said send (RFC 5322, 3.6.1), aware. drop_bcc: leave out the original's Bcc fields. drop_delivered: leave
    out its Delivered-To fields that name one of these addresses. notify: as `archiver.smtp.Dsn`.
    """

    form: Form = "resent"
    from_: Mailbox
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    date: datetime
    subject: str = ""
    note: str = ""
    drop_bcc: bool = False
    drop_delivered: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()

    @property
    def new(self) -> bool:
        """Whether it is a message of the user's own, with the originals in it."""
        return self.form in ("attachment", "file")


def packed(recipe: Recipe) -> bytes:
    return msgspec.json.encode(recipe)


def unpacked(data: bytes) -> Recipe:
    return msgspec.json.decode(data, type=Recipe)
