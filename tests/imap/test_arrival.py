"""Messages are the same however the line cuts them up: read in one go when whole, else line by line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from archiver.imap import Failed, Fetched
from archiver.imap.exchange import Exchange
from archiver.imap.fetch import fetch
from archiver.imap.stream import Stream

UIDS = range(1, 8)
NOON = 1614859205
DATE = b'"04-Mar-2021 12:00:05 +0000"'
BODIES = {uid: b"Subject: %d\r\n\r\n)\r\nA1 OK no\r\n* 9 FETCH (%b" % (uid, b"x" * uid * 30) for uid in UIDS}


def literal(uid: int) -> bytes:
    return b"{%d}\r\n%b" % (len(BODIES[uid]), BODIES[uid])


# The usual form, other orders, two parts, more than was asked for, what nobody asked for, other lines.
FORMS: Sequence[bytes] = (
    b"* 1 FETCH (UID 1 FLAGS (\\Seen) INTERNALDATE %b BODY[] %b)\r\n" % (DATE, literal(1)),
    b"* 2 FETCH (FLAGS (\\Seen) INTERNALDATE %b UID 2 BODY[] %b)\r\n" % (DATE, literal(2)),
    b"* 3 FETCH (BODY[] %b UID 3 INTERNALDATE %b FLAGS (\\Seen))\r\n" % (literal(3), DATE),
    b"* 4 FETCH (FLAGS (\\Seen) INTERNALDATE %b UID 4)\r\n* 4 FETCH (UID 4 BODY[] %b)\r\n"
    % (DATE, literal(4)),
    b"* 5 FETCH (UID 5 MODSEQ (7) FLAGS (\\Seen) INTERNALDATE %b BODY[] %b)\r\n" % (DATE, literal(5)),
    b"* 99 FETCH (UID 99 FLAGS () INTERNALDATE %b BODY[] {3}\r\nxyz)\r\n" % DATE,
    b"* 6 FETCH (UID 6 FLAGS (\\Seen) UID 6 BODY[] {0}\r\n)\r\n",
    b"* 6 FETCH (UID 6 FLAGS (\\Seen) INTERNALDATE %b BODY[] %b)\r\n" % (DATE, literal(6)),
    b"* 7 FETCH (uid 7 FLAGS (\\Seen) INTERNALDATE %b BODY[] %b)\r\n" % (DATE, literal(7)),
    b"* 8 EXISTS\r\n",
    b"* 3 FETCH (FLAGS (\\Deleted))\r\n",
)


class Line:
    """A socket that hands out what there is in these pieces, whatever is sent."""

    def __init__(self, data: bytes, cuts: Sequence[int]) -> None:
        bounds = [0, *sorted(set(cuts)), len(data)]
        self.pieces = [data[a:b] for a, b in pairwise(bounds) if a < b]

    def recv(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def sendall(self, data: bytes) -> None:
        """Nobody listens."""


def arrived(data: bytes, cuts: Sequence[int]) -> list[Fetched | Failed]:
    exchange = Exchange(Stream(Line(data, cuts)), "imap.example.org:993")  # type: ignore[arg-type]
    return list(fetch(exchange, UIDS))


TOTAL = sum(map(len, FORMS)) + 20


@given(st.permutations(FORMS), st.lists(st.integers(1, TOTAL), max_size=60))
def test_whatever_the_order_and_wherever_it_is_cut(forms: Sequence[bytes], cuts: list[int]) -> None:
    found = arrived(b"".join(forms) + b"A1 OK done\r\n", cuts)
    assert all(isinstance(each, Fetched) for each in found)
    assert {each.uid: each for each in found} == {
        uid: Fetched(uid, frozenset({"\\Seen"}), NOON, BODIES[uid]) for uid in UIDS
    }
    assert len(found) == len(UIDS)
