"""The one table of query fields: it drives the parser, `archiver search --help` and docs/query.md."""

from __future__ import annotations

from typing import Literal

import msgspec

from archiver.search.kinds import KINDS

Kind = Literal["content", "document", "place"]
Takes = Literal["saved", "words", "term", "message", "date", "age", "size", "name", "choice"]


class Field(msgspec.Struct, frozen=True):
    """One field of the query language.

    `content` is text of the message, `document` a fact that never changes, `place` a fact of the
    places where the message is. What takes words is found by each of them, what takes a `term` only as
    a whole. A word without a field is looked for in those that are `anywhere`. `values` are the words a
    field of choices takes: such a field may have two rows, each with words of its own.
    """

    name: str
    kind: Kind
    takes: Takes
    description: str
    example: str
    aliases: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    anywhere: bool = False
    regex: bool = False


FIELDS: tuple[Field, ...] = (
    Field(
        "from",
        "content",
        "words",
        "who sent it: name or address",
        "from:alice@example.org",
        anywhere=True,
        regex=True,
    ),
    Field(
        "to",
        "content",
        "words",
        "a recipient in To or, of what was sent, in Bcc",
        'to:"Bob Example"',
        anywhere=True,
        regex=True,
    ),
    Field("cc", "content", "words", "a recipient in Cc", "cc:office@example.org", anywhere=True, regex=True),
    Field("bcc", "content", "words", "a recipient in Bcc", "bcc:carol", regex=True),
    Field(
        "subject",
        "content",
        "words",
        "the subject",
        "subject:(invoice OR receipt)",
        anywhere=True,
        regex=True,
    ),
    Field("body", "content", "words", "the text of the message", 'body:"see you on monday"', anywhere=True),
    Field("attachment", "content", "words", "the text of an attachment", "attachment:budget", anywhere=True),
    Field(
        "filename",
        "content",
        "words",
        "the name of an attachment",
        "filename:report.pdf",
        ("file",),
        anywhere=True,
        regex=True,
    ),
    Field(
        "mimetype",
        "document",
        "term",
        "the type of an attachment, or its main type",
        "mimetype:image/png",
        ("mime",),
    ),
    Field(
        "list",
        "content",
        "words",
        "the mailing list it came by: name or id",
        "list:announce.example.org",
        regex=True,
    ),
    Field(
        "id",
        "document",
        "term",
        "its Message-ID",
        "id:20240305.1@example.org",
        ("mid", "msgid", "rfc822msgid"),
    ),
    Field(
        "has",
        "document",
        "choice",
        "attachment: a file; the others: one of that kind",
        "has:pdf",
        (),
        ("attachment", *(kind.name for kind in KINDS)),
    ),
    Field(
        "thread",
        "document",
        "message",
        "the conversation of this message, whole",
        "thread:1a2b3c4d",
    ),
    Field(
        "before", "document", "date", "dated earlier than the first moment of", "before:2024-03", ("older",)
    ),
    Field(
        "after", "document", "date", "dated at the first moment of, or later", "after:2024-03-05", ("newer",)
    ),
    Field("date", "document", "date", "dated within; ranges include both ends", "date:2024..2025-03"),
    Field("older_than", "document", "age", "dated before the day so long ago", "older_than:3m"),
    Field("newer_than", "document", "age", "dated on the day so long ago, or later", "newer_than:2w"),
    Field("received", "place", "date", "it came to the server within", "received:yesterday"),
    Field("larger", "document", "size", "more bytes than, as sent by the server", "larger:5M"),
    Field("smaller", "document", "size", "fewer bytes than, as sent by the server", "smaller:200k"),
    Field("size", "document", "size", "bytes within; one size alone: that or more", "size:1M..5M"),
    Field("account", "place", "name", "the account it is in", "account:work"),
    Field(
        "folder",
        "place",
        "name",
        "the folder it is in, or one above it",
        "folder:Lists",
        ("in", "maildir", "path"),
    ),
    Field("label", "place", "name", "a label it has there (Gmail), or one above it", "label:invoices"),
    Field("tag", "place", "name", "a tag you gave it, or one above it", "tag:project/*"),
    Field(
        "is",
        "place",
        "choice",
        "unread, read, flagged, answered, draft; gone: no longer on the server",
        "is:unread",
        ("flag",),
        ("unread", "read", "flagged", "answered", "draft", "gone"),
    ),
    Field("saved", "document", "saved", "a search saved in the configuration", "saved:invoices"),
    Field(
        "is",
        "document",
        "choice",
        "encrypted or signed, by OpenPGP or S/MIME; nothing is verified",
        "is:encrypted",
        ("flag",),
        ("encrypted", "signed"),
    ),
)

CONTENT: tuple[str, ...] = tuple(field.name for field in FIELDS if field.kind == "content")
"""The fields that have words."""

ANYWHERE: tuple[str, ...] = tuple(field.name for field in FIELDS if field.anywhere)
"""The fields that a word without a field is looked for in, all together."""

TERMS = ("has", "mimetype", "id", "refers", "topic", "people")
"""The fields that have terms which are asked for as a whole.

`refers`: the ids a message refers to; `topic`: what its subject is about, for replies that refer to none.
`people` (people.py) is counted and sorted by, and not asked for.
"""

STEMMED = ("subject", "body", "attachment")
"""The fields whose words are stemmed where the configuration says so; names are not."""

BY_NAME: dict[str, Field] = {
    name: field for field in reversed(FIELDS) for name in (field.name, *field.aliases)
}
"""The first row of each name."""

CHOICES: dict[tuple[str, str], Field] = {
    (field.name, value): field for field in FIELDS for value in field.values
}
"""The row of each word that a field of choices takes."""

SYNONYMS: dict[tuple[str, str], tuple[str, str]] = {
    ("is", "seen"): ("is", "read"),
    ("is", "unseen"): ("is", "unread"),
    ("is", "starred"): ("is", "flagged"),
    ("is", "replied"): ("is", "answered"),
    ("is", "attach"): ("has", "attachment"),
    ("is", "calendar"): ("has", "calendar"),
    ("has", "invite"): ("has", "calendar"),
    ("has", "photo"): ("has", "image"),
}
"""What other programs call words of a field of choices."""

REGEX: tuple[str, ...] = tuple(field.name for field in FIELDS if field.regex)
"""The fields in which a regular expression may be looked for."""

_TAKES = {
    "words": 'a word, start*, a "phrase" or a (group)',
    "term": "exactly this, in any case",
    "message": "an id as search shows it, or a Message-ID",
    "date": "2024, 2024-03, 2024-03-05, today, yesterday, 7d, 3w, 2m, 1y",
    "age": "days, weeks, months or years: 7d, 3w, 2m, 1y",
    "size": "bytes, or 200k, 5M, 1G (1k = 1024)",
    "name": "a name; * and ? stand for any characters, any case",
    "choice": "one of its words",
    "saved": "the name of one of its `searches:`",
}

SYNTAX = """\
word                in addresses, subject, text, attachments, in any case, with or without accents
"two words"         next to each other
wor*, *ord, *or*    words that begin so, end so, have it inside; w*d: both
word~, word~2       words one letter, or two, away from it
a NEAR/5 b          at most five words apart; a ADJ/5 b: in this order
subject:/re.+x/     a regular expression in from, to, cc, bcc, subject, filename or list
a b, a AND b        both; binds tighter than OR
a OR b              either
-a, NOT a           every message but those
*                   every message
( )                 grouping; also for the values of a field: from:(alice OR bob)
"""


def help_text() -> str:
    """The query language in plain text, for `archiver search --help`."""
    lines = [SYNTAX.rstrip(), ""]
    for field in FIELDS:
        lines.append(f"{field.name + ':':<10}{field.description:<71} {field.example}")
    return "\n".join([*lines, "", *values_text()]) + "\n"


def values_text() -> list[str]:
    """What fields take, a sentence a line."""
    choices = {f.name: [word for name, word in CHOICES if name == f.name] for f in FIELDS if f.values}
    kinds = [f"A field of {what}s takes {_TAKES[what]}." for what in ("date", "age", "size", "name")]
    words = [f"{name}: takes {', '.join(found)}." for name, found in choices.items()]
    return [*kinds, "A range of dates or sizes is written FROM..TO; either end may be left out.", *words]


def markdown() -> str:
    """The table of fields for docs/query.md."""
    lines = ["| field | finds messages by | takes | example |", "|---|---|---|---|"]
    for field in FIELDS:
        names = ", ".join(f"`{name}:`" for name in (field.name, *field.aliases))
        takes = ", ".join(f"`{value}`" for value in field.values) or _TAKES[field.takes]
        lines.append(
            f"| {names} | {field.description} | {takes.replace('|', chr(92) + '|')} | `{field.example}` |"
        )
    return "\n".join(lines) + "\n"
