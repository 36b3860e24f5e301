"""Address headers -> mailboxes (RFC 5322, 3.4 and 4.4), whatever stands there.

Names in quotes, comments, encoded words and raw bytes; groups (their members), routes, missing
brackets, semicolons between addresses. Does not check that an address could exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from archiver.message.model import Address
from archiver.message.words import decode_phrase, raw_text, without_controls

# A thousand recipients with long names fit four times; what is longer is cut.
MAX_ADDRESS_CHARS = 1 << 18

# Nearly all real mailboxes: an optional plain or quoted name with an address in brackets, or only an address.
_SIMPLE = re.compile(
    r"\s*+(?:\"([^\"\\]*)\"|([^\"<>()\[\]\\,;:@]*+))\s*+<([^<>\s\"(),;:\\@]++@[^<>\s\"(),;:\\@\[\]]++)>\s*+\Z"
    r"|\s*+([^<>\s\"(),;:\\@]++@[^<>\s\"(),;:\\@\[\]]++)\s*+\Z"
)
_TOKEN = re.compile(
    r"(?P<word>=\?[^\s?=]{0,60}\?[bBqQ]\?[^?\"]*+\?=)"
    r"|\"(?P<quoted>(?:[^\"\\]|\\.)*+)(?P<ended>\"|\Z)"
    r"|(?P<blank>\s++)"
    r"|(?P<special>[()<>,;:])"
    r"|(?P<atom>(?:(?!=\?)[^\s\"()<>,;:])++|.)",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_INNER = re.compile(r"<?([^<>\s\"(),;:@]{1,100}@[^<>\s\"(),;:@]{1,100})>?")


def parse_addresses(value: str, hint: str = "") -> tuple[Address, ...]:
    """Every mailbox in an address field's value (as `header_block` gives it), in order."""
    value = without_controls(raw_text(value[:MAX_ADDRESS_CHARS], hint))
    simple = _simple(value)
    if simple is None:
        simple = [address for address in _careful(value) if address.name or address.address]
    return tuple(simple)


def _simple(value: str) -> list[Address] | None:
    out = []
    for piece in value.split(","):
        mailbox = _SIMPLE.match(piece)
        if mailbox is None:
            return None
        quoted, plain, angle, bare = mailbox.groups()
        if "=?" in (bare or angle):
            return None
        out.append(Address("", bare) if bare else Address(_name(quoted or plain or ""), angle))
    return out


class _Mailbox:
    """What has been read of one mailbox so far."""

    __slots__ = ("after", "angle", "bare", "comment", "name")

    def __init__(self, name: list[tuple[str, str]] | None = None) -> None:
        self.name: list[tuple[str, str]] = name or []  # kind and text of each token
        self.after: list[tuple[str, str]] = []  # what follows the brackets
        self.comment: list[str] = []
        self.bare = ""
        self.angle: list[str] | None = None

    def finished(self) -> Address:
        name = _name("".join(text for _, text in self.name)) or _name("".join(text for _, text in self.after))
        comment = _name("".join(self.comment))
        if self.angle is not None:
            return Address(name or comment or self.bare, "".join(self.angle))
        if self.bare:
            return Address(name or comment, self.bare)
        atoms = [kind for kind, _ in self.name if kind != "blank"]
        if atoms == ["atom"]:
            return Address(comment, name)  # a user of the sender's own machine: postmaster
        # Some mailers encode name and address together; some forget to close a comment.
        inner = _INNER.search(f"{name} {comment}")
        if inner is None:
            return Address(name or comment, "")
        return Address(_name(f"{name} {comment}"[: inner.start()]), inner[1])


def _careful(value: str) -> Iterator[Address]:
    mailbox = _Mailbox()
    depth, in_angle, previous = 0, False, ""
    for kind, text in _tokens(value):
        special = text if kind == "special" else ""
        if depth or special == "(":
            depth += (special == "(") - (special == ")")
            if depth and (mailbox.comment or special != "("):
                mailbox.comment.append(text)
            continue
        if in_angle:
            in_angle = _in_angle(mailbox, kind, text)
        elif special == "<":
            if mailbox.angle:
                yield mailbox.finished()
                mailbox = _Mailbox(mailbox.after)
            in_angle, mailbox.angle = True, []
        elif special == ":":
            mailbox = _Mailbox()  # what came before named a group
        elif not special:
            if mailbox.bare and mailbox.angle is None and _is_address(kind, text):
                yield mailbox.finished()
                mailbox = _Mailbox()
            _outside(mailbox, kind, text, previous)
        if special in (",", ";") and not in_angle:
            yield mailbox.finished()
            mailbox = _Mailbox()
        previous = kind
    yield mailbox.finished()


def _in_angle(mailbox: _Mailbox, kind: str, text: str) -> bool:
    """Take one token inside angle brackets; whether they are still open."""
    angle = mailbox.angle if mailbox.angle is not None else []
    if kind == "special" and text in "<:":
        angle.clear()  # a source route, `mailto:`, or a bracket too many
    elif kind == "special" and text in ",;>":
        return text == "," and bool(angle) and angle[0].startswith("@")
    elif kind == "quoted":
        angle.append(f'"{text}"')
    elif kind != "blank":
        angle.append(text)
    return True


def _outside(mailbox: _Mailbox, kind: str, text: str, previous: str) -> None:
    if mailbox.angle is not None:
        mailbox.after.append((kind, text))
    elif _is_address(kind, text) and not mailbox.bare:
        if text.startswith("@") and previous in ("atom", "quoted") and mailbox.name:
            local = mailbox.name.pop()[1]
            text = (f'"{local}"' if previous == "quoted" else local) + text
        mailbox.bare = text
    else:
        mailbox.name.append((kind, text))


def _is_address(kind: str, text: str) -> bool:
    return kind == "atom" and "@" in text[:-1]


def _tokens(value: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each token. An unended quote is no quote: the rest is read without quotes."""
    for token in _TOKEN.finditer(value):
        kind = token.lastgroup or ""
        if kind == "ended":
            if not token["ended"]:
                yield from _tokens(value[token.start() :].replace('"', " "))
                return
            yield "quoted", _ESCAPED.sub(r"\1", token["quoted"])
        else:
            yield kind, token[0]


def _name(raw: str) -> str:
    name = decode_phrase(raw)
    if len(name) > 1 and name[0] == name[-1] == "'":
        name = name[1:-1].strip()
    return name
