"""What a server listed of a folder: flags and labels by UID, and the names of the contents of what is new."""

from __future__ import annotations

import bisect
import functools
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import msgspec

from archiver.imap import Listed


class Named(msgspec.Struct, frozen=True):
    """What a server calls a message's content; INTERNALDATE (Unix seconds) and labels, if it told them."""

    content: str
    received: int | None
    labels: str | None


class Names:
    """`Named` by UID, in some fifty bytes each: a new folder has as many as messages."""

    def __init__(self) -> None:
        self._uids = array("I")
        self._received = array("q")
        self._labels: list[str | None] = []
        self._text = bytearray()
        self._ends = array("Q", [0])
        # Of answers that did not come in ascending order, or without a date.
        self._others: dict[int, Named] = {}

    def __len__(self) -> int:
        return len(self._uids) + len(self._others)

    def __contains__(self, uid: int) -> bool:
        at = bisect.bisect_left(self._uids, uid)
        return (at < len(self._uids) and self._uids[at] == uid) or uid in self._others

    def add(self, uid: int, named: Named) -> None:
        late = self._uids and uid <= self._uids[-1]
        if late or named.received is None or uid in self._others:
            self._others[uid] = named
            return
        self._uids.append(uid)
        self._received.append(named.received)
        self._labels.append(named.labels)
        self._text += named.content.encode()
        self._ends.append(len(self._text))

    def get(self, uid: int) -> Named | None:
        at = bisect.bisect_left(self._uids, uid)
        if at == len(self._uids) or self._uids[at] != uid or uid in self._others:
            return self._others.get(uid)
        content = self._text[self._ends[at] : self._ends[at + 1]].decode()
        return Named(content, self._received[at], self._labels[at])


class Flags(Mapping[int, frozenset[str]]):
    """Flags by UID, in eight bytes each: a folder has few that differ."""

    def __init__(self) -> None:
        self._uids = array("I")
        self._which = array("I")
        self._sets: list[frozenset[str]] = []
        self._numbers: dict[frozenset[str], int] = {}
        # Of answers that did not come in ascending order.
        self._others: dict[int, frozenset[str]] = {}

    def add(self, uid: int, flags: frozenset[str]) -> None:
        """Note the flags of a message, instead of those noted before."""
        if not self._uids or uid > self._uids[-1]:
            self._uids.append(uid)
            self._which.append(self._number(flags))
        elif (at := self._at(uid)) is not None:
            self._which[at] = self._number(flags)
        else:
            self._others[uid] = flags

    def _number(self, flags: frozenset[str]) -> int:
        number = self._numbers.setdefault(flags, len(self._sets))
        if number == len(self._sets):
            self._sets.append(flags)
        return number

    def _at(self, uid: int) -> int | None:
        at = bisect.bisect_left(self._uids, uid)
        return at if at < len(self._uids) and self._uids[at] == uid else None

    def __getitem__(self, uid: int) -> frozenset[str]:
        at = self._at(uid)
        return self._others[uid] if at is None else self._sets[self._which[at]]

    def __iter__(self) -> Iterator[int]:
        return chain(self._uids, self._others)

    def __len__(self) -> int:
        return len(self._uids) + len(self._others)


class Listing:
    """Takes what the server lists, in as many answers as it takes; a later one counts.

    `labels` has the UIDs of which the server told labels.
    """

    def __init__(self) -> None:
        self.flags = Flags()
        self.labels: dict[int, str] = {}
        self.names = Names()

    def take(self, listed: Iterable[Listed]) -> None:
        for each in listed:
            self.flags.add(each.uid, each.flags)
            labels = None if each.labels is None else label_text(each.labels)
            if labels is not None:
                self.labels[each.uid] = labels
            if each.content is not None:
                self.names.add(each.uid, Named(each.content, each.received, labels))


@functools.lru_cache(maxsize=4096)
def label_text(labels: frozenset[str]) -> str:
    """Labels as the ledger keeps them, a line each; one text for all messages that have the same."""
    return "\n".join(sorted(labels))
