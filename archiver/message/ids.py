"""What a message says of its place among others: its Message-ID, those it refers to, its mailing list.

Hints all of them: missing, repeated or forged in real mail. Ids are without angle brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from archiver.message.model import Message

REFERS_LIMIT = 64
"""Of more ids that a message refers to, the first and the last ones count."""

_ID_LIMIT = 998
_bracketed = re.compile(r"<([^<>]{1,2000})>")
_list = re.compile(r"(?P<name>.*)<(?P<id>[^<>]+)>\s*\Z", re.DOTALL)


def message_id(message: Message) -> str:
    """Its Message-ID (RFC 5322, 3.6.4), "" when it has none."""
    return next(iter(_ids(_values(message, "message-id"))), "")


def referred(message: Message) -> tuple[str, ...]:
    """The ids in References and In-Reply-To, each once, the oldest first: the last one is what it answers.

    Where References is there, In-Reply-To adds only what is not in it, before the rest: who wrote both
    answers what References ends with.
    """
    references = _ids(_values(message, "references"))
    answered = [each for each in _ids(_values(message, "in-reply-to")) if each not in references]
    found = list(dict.fromkeys([*answered, *references]))
    own = message_id(message)
    found = [each for each in found if each != own]
    if len(found) > REFERS_LIMIT:
        found[1 : 1 - REFERS_LIMIT] = []
    return tuple(found)


def lists(message: Message) -> tuple[str, ...]:
    """The mailing list it came by (List-Id, RFC 2919): name and id, as an address is written."""
    return tuple(_named(value) for value in _values(message, "list-id") if value.strip())


def _named(value: str) -> str:
    found = _list.match(value)
    if not found:
        return value.strip()
    name = found["name"].strip().strip('"').strip()
    return f"{name} <{found['id'].strip()}>" if name else found["id"].strip()


def _values(message: Message, name: str) -> list[str]:
    size = len(name)
    return [value for key, value in message.headers if len(key) == size and key.lower() == name]


def _ids(values: Iterable[str]) -> list[str]:
    """Every id in the values, once; a value without angle brackets is one, if it is a single word."""
    found: list[str] = []
    for value in values:
        bracketed = _bracketed.findall(value)
        if not bracketed and len(value.split()) == 1:
            bracketed = [value.strip().strip("<>")]
        found += ["".join(each.split())[:_ID_LIMIT] for each in bracketed]
    return list(dict.fromkeys(filter(None, found)))
