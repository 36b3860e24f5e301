"""Addresses that may go into an SMTP command or a header; anything else is refused here."""

from __future__ import annotations

import functools
import ipaddress
import re

from msgspec import Struct

from archiver.errors import UsageError

_ATOM = r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\x7f])+"
_QUOTED = r'"(?:[ !#-\[\]-~]|[^\x00-\x7f]|\\[ -~])*"'
_LABEL = r"(?:[A-Za-z0-9]|[^\x00-\x7f])(?:(?:[A-Za-z0-9-]|[^\x00-\x7f])*(?:[A-Za-z0-9]|[^\x00-\x7f]))?"
_ADDRESS = re.compile(
    rf"(?P<local>{_ATOM}(?:\.{_ATOM})*|{_QUOTED})"
    rf"@(?:(?P<domain>{_LABEL}(?:\.{_LABEL})*)|\[(?P<literal>[0-9A-Za-z.:]+)\])"
)
_MAX_NAME = 200


class Mailbox(Struct, frozen=True):
    """A display name (may be empty) and an address; `mailbox` makes only such as are safe to send."""

    name: str
    address: str


def mailbox(text: str) -> Mailbox:
    """`me@example.org` or `Me <me@example.org>` as a Mailbox; UsageError for anything else.

    RFC 5322, 3.4, without comments and groups.
    """
    text = text.strip(" \t")
    name, address = "", text
    if text.endswith(">") and "<" in text:
        name, _, address = text[:-1].rpartition("<")
        name = _unquoted(name.strip(" \t"))
    check_address(address)
    if not name.isprintable() or len(name) > _MAX_NAME:
        raise UsageError(
            f"the name before <{address}> holds control characters or is over {_MAX_NAME} characters",
            hint="write the address alone",
        )
    return Mailbox(name, address)


def check_address(address: str) -> None:
    """UsageError unless `address` is a mailbox by RFC 5321, 4.1.2 (with RFC 6531's letters).

    So it holds no CR, LF, NUL or other control character. Says nothing about whether it exists.
    """
    reason = _problem(address)
    if reason:
        raise UsageError(f"not an address: {_shown(address)}: {reason}", hint="write it as name@example.org")


@functools.lru_cache(1024)
def _problem(address: str) -> str | None:
    if not address.isprintable():
        return "a control character or line break in it"
    match = _ADDRESS.fullmatch(address)
    if not match or any(c.isspace() for c in address if c != " "):
        return "expected name@domain"
    sizes = [len(part.encode()) for part in (match["local"], match["domain"] or "", address)]
    if sizes[0] > 64 or sizes[2] > 254:
        return "too long (64 octets before the @, 254 in all)"
    if any(len(label.encode()) > 63 for label in (match["domain"] or "").split(".")):
        return "a part of the domain is over 63 octets"
    if match["literal"] and not _is_literal(match["literal"]):
        return "expected an IP address between the brackets"
    return None


def _is_literal(text: str) -> bool:
    kind, rest = (6, text[5:]) if text.lower().startswith("ipv6:") else (4, text)
    try:
        return ipaddress.ip_address(rest).version == kind
    except ValueError:
        return False


def _shown(address: str) -> str:
    text = "".join(c if c.isprintable() else "�" for c in address)
    return (text if len(text) <= 80 else text[:79] + "…") or "(empty)"


def _unquoted(name: str) -> str:
    if len(name) >= 2 and name[0] == name[-1] == '"':
        return re.sub(r"\\(.)", r"\1", name[1:-1])
    return name
