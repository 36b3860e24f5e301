"""What goes where: pure decisions from what the ledger knows of messages' places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from archiver.imap import Listed
from archiver.store.records import Origin
from archiver.store.restored import Sent

BUNCH_MESSAGES = 500
BUNCH_BYTES = 4 << 20
# Marked as deleted a message would not stay: the next EXPUNGE of any program takes it.
_FLAGS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen"}
# Copies of a message that went within so many seconds went together, though not at one and the same time.
_TOGETHER = 3600


class Item(msgspec.Struct, frozen=True, gc=False):
    """A message for one folder: content and bytes on the wire, its file, and what the server is to know."""

    key: bytes
    size: int
    path: str
    file: str
    letters: str
    flags: tuple[str, ...]
    received: int


def same_folders(prefix: str) -> Callable[[str], str]:
    """Into folders called as the ones they come from, below `prefix` where there is one."""
    return (lambda name: f"{prefix.strip('/')}/{name}") if prefix.strip("/") else (lambda name: name)


def lay_out(origins: Iterable[Origin], where: Callable[[str], str]) -> dict[str, list[Item]]:
    """Folder to put into -> its messages, oldest first; each content once in a folder.

    Of a message's places those that are on the server count, and where it is on none any more, those it
    was last in. `where` says into which folder what was in one goes.
    """
    groups: dict[bytes, list[Origin]] = {}
    for origin in origins:
        groups.setdefault(origin.key, []).append(origin)
    plan: dict[str, dict[bytes, Item]] = {}
    for group in groups.values():
        for origin in _last(group):
            plan.setdefault(where(origin.folder), {}).setdefault(origin.key, _item(origin))
    return {
        name: sorted(items.values(), key=lambda item: item.received) for name, items in sorted(plan.items())
    }


def _last(group: Sequence[Origin]) -> list[Origin]:
    there = [origin for origin in group if not origin.gone]
    if there:
        return there
    latest = max(origin.gone for origin in group)
    return [origin for origin in group if origin.gone >= latest - _TOGETHER]


def _item(origin: Origin) -> Item:
    flags = (*(_FLAGS[letter] for letter in origin.flags if letter in _FLAGS), *origin.keywords.split())
    return Item(origin.key, origin.size, origin.path, origin.file, origin.flags, flags, origin.received)


def settable(flags: Iterable[str], permanent: Iterable[str], keywords: bool) -> tuple[str, ...]:
    """Those flags that the mailbox keeps; others would make some servers refuse the message."""
    known = {flag.lower() for flag in permanent}
    return tuple(flag for flag in flags if flag.lower() in known or (keywords and not flag.startswith("\\")))


def bunches(items: Iterable[tuple[Item, int]], messages: Callable[[], int]) -> Iterator[list[Item]]:
    """Messages to send together: at most so many as `messages` says by then, and about BUNCH_BYTES."""
    bunch: list[Item] = []
    size = 0
    for item, bytes_ in items:
        if bunch and (len(bunch) >= messages() or size + bytes_ > BUNCH_BYTES):
            yield bunch
            bunch, size = [], 0
        bunch.append(item)
        size += bytes_
    if bunch:
        yield bunch


def in_order(confirmed: Sequence[Sent], listed: Sequence[Listed]) -> dict[bytes, int] | None:
    """The UIDs of messages that the server took, in the order they were sent; None when that cannot be.

    UIDs ascend (RFC 9051, 2.3.1.1), so when as many came as were sent, each with its date, they are those.
    """
    if len(confirmed) != len(listed):
        return None
    if any(sent.received != there.received for sent, there in zip(confirmed, listed, strict=True)):
        return None
    return {sent.key: there.uid for sent, there in zip(confirmed, listed, strict=True)}


def candidates(
    sent: Iterable[Sent], listed: Iterable[Listed], taken: Iterable[int]
) -> tuple[list[int], list[int]]:
    """UIDs that may be messages sent without an answer, but those `taken` by others.

    First those whose dates say so, then the rest: not every server keeps the date it is given.
    """
    dates = {message.received for message in sent}
    others = set(taken)
    likely: list[int] = []
    unlikely: list[int] = []
    for message in listed:
        if message.uid not in others:
            is_likely = message.received is None or message.received in dates
            (likely if is_likely else unlikely).append(message.uid)
    return likely, unlikely


def match(
    sent: Sequence[Sent], found: Iterable[tuple[int, bytes, bytes]], likeness: Callable[[Sent], bytes]
) -> dict[bytes, int]:
    """Which of the messages sent are there. `found` has UID, key and likeness of each candidate.

    By content; what is then left by likeness, since some servers change what they are given. Each UID is one
    message's.
    """
    left = {message.key: message for message in sent}
    uids: dict[bytes, int] = {}
    others: dict[bytes, list[int]] = {}
    for uid, key, alike in found:
        if left.pop(key, None):
            uids[key] = uid
        elif alike:
            others.setdefault(alike, []).append(uid)
    for key, message in left.items() if others else ():
        if same := others.get(likeness(message)):
            uids[key] = same.pop(0)
    return uids


def likeness(wire: bytes) -> bytes:
    """What stays of a message when a server rewrites it: its Message-ID, else its text without line ends."""
    head = wire.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    for line in head.replace(b"\n ", b" ").replace(b"\n\t", b" ").split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"message-id" and value.strip():
            return value.strip()
    return wire.translate(None, b"\r\n")
