from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from imaplib import Time2Internaldate
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archiver.errors import ConnectionLostError, ProtocolError
from archiver.imap import listing
from archiver.imap.fetch import vanished_in
from archiver.imap.types import Spooled
from archiver.imap.wire import LARGE, fetch_items, flags_of, internal_date, number, read_line, uid_set

BODY = b"Subject: x\r\n\r\n)\r\n* 2 FETCH (UID 9)\r\nA1 OK done {3}\r\n"
Items = dict[bytes, bytes | None] | None


def items(wire: bytes) -> Items:
    """The items of the first answer on the wire, which must be all of it."""
    stream = io.BytesIO(wire)
    line = read_line(stream)
    assert stream.read() == b""
    return fetch_items(line)


def literal(data: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(data), data)


def quoted(data: bytes) -> bytes:
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


class TestReadLine:
    def test_keeps_literals_apart_from_the_text(self) -> None:
        line = read_line(io.BytesIO(b"* LIST () {1}\r\n/ {5}\r\na\r\nb) end\r\n"))
        assert line.literals == [b"/", b"a\r\nb)"]
        assert line.text.endswith(b" end\r\n")

    def test_takes_one_answer_and_leaves_the_next(self) -> None:
        stream = io.BytesIO(b"* 1 FETCH (BODY[] %b)\r\nA1 OK done\r\n" % literal(BODY))
        assert read_line(stream).literals == [BODY]
        assert read_line(stream).text == b"A1 OK done\r\n"

    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    def test_takes_lone_line_feeds(self, end: bytes) -> None:
        assert items(b"* 1 FETCH (UID 7 BODY[] {3}%babc)%b" % (end, end)) == {b"UID": b"7", b"BODY[]": b"abc"}

    def test_takes_non_synchronising_literals(self) -> None:
        assert read_line(io.BytesIO(b"* X {2+}\r\nab\r\n")).literals == [b"ab"]

    def test_takes_an_empty_literal(self) -> None:
        assert read_line(io.BytesIO(b"* X {0}\r\n\r\n")).literals == [b""]

    def test_a_literal_may_be_the_last_thing(self) -> None:
        assert read_line(io.BytesIO(b"* X {2}\r\nab\r\n* Y\r\n")).literals == [b"ab"]

    @pytest.mark.parametrize("cut", range(len(b"* 1 FETCH (BODY[] {9}\r\n123456789)")))
    def test_a_cut_anywhere_is_a_lost_connection(self, cut: int) -> None:
        wire = b"* 1 FETCH (BODY[] {9}\r\n123456789)\r\n"
        with pytest.raises(ConnectionLostError):
            read_line(io.BytesIO(wire[:cut]))

    def test_says_how_much_of_a_message_is_lacking(self) -> None:
        with pytest.raises(ConnectionLostError, match="4 bytes before the end"):
            read_line(io.BytesIO(b"* 1 FETCH (BODY[] {9}\r\n12345"))

    def test_refuses_a_literal_no_message_can_be(self) -> None:
        with pytest.raises(ProtocolError, match="literal of 99999999999 bytes"):
            read_line(io.BytesIO(b"* 1 FETCH (BODY[] {99999999999}\r\nx"))

    def test_refuses_a_line_without_end(self) -> None:
        with pytest.raises(ProtocolError, match="line of more than"):
            read_line(io.BytesIO(b"x" * (2 << 20)))

    def test_takes_a_long_list_of_what_vanished(self) -> None:
        uids = b",".join(b"%d" % uid for uid in range(1_000_001, 1_400_000, 2))
        assert len(vanished_in(read_line(io.BytesIO(b"* VANISHED (EARLIER) %b\r\n" % uids)))) == 200_000

    @pytest.mark.parametrize("digits", [b"1073741825", b"9" * 5000])
    def test_refuses_literals_above_a_gibibyte(self, digits: bytes) -> None:
        with pytest.raises(ProtocolError, match="literal of"):
            read_line(io.BytesIO(b"* 1 FETCH (BODY[] {%b}\r\nx" % digits), spooled_nowhere)

    def test_refuses_a_second_large_literal(self) -> None:
        large = literal(b"x" * LARGE)
        assert read_line(io.BytesIO(b"* 1 FETCH (BODY[] %b)\r\n" % large), spooled_nowhere).spooled
        with pytest.raises(ProtocolError, match=r"literals of \d+ bytes in one"):
            read_line(io.BytesIO(b"* X " + 3 * (large + b" ") + b"{%d}\r\n" % LARGE), spooled_nowhere)

    def test_refuses_literals_without_end(self) -> None:
        with pytest.raises(ProtocolError, match="more than 16 literals"):
            read_line(io.BytesIO(b"* X " + 20 * (literal(b"x") + b" ") + b"\r\n"))


def spooled_nowhere(pieces: Iterator[bytes]) -> Spooled:
    """Reads it all and keeps nothing."""
    size = sum(map(len, pieces))
    return Spooled(path="", key=bytes(32), size=size, crlf=False)


HOSTILE = [
    b"* LIST ()" + b" " * 60_000 + b"x",
    b'* LIST () "/"' + b" " * 60_000 + b"x" + b" " * 60_000 + b"x",
    b'* LIST () "/" ' + b'"\\' * 60_000,
    b'* LIST () "' + b"\\\\" * 60_000,
    b"* LIST (" * 20_000,
    b"* STATUS x" + b" " * 100_000 + b"y",
    b"* STATUS " + b"( " * 50_000 + b")",
    b"* NAMESPACE " + b'\\" ' * 40_000,
    b'* NAMESPACE "' + b'\\" ' * 40_000,
    b"* NAMESPACE " + b"(" * 150_000,
    b"* VANISHED " + b"1," * 50_000 + b" " * 50_000 + b"x",
    b"* 1 FETCH (" + b'A ("\\" ' * 20_000,
    b"* 1 FETCH (" + b'A ("\\" ' * 20_000 + b")",
    b"* 1 FETCH (" + b"A" * 150_000 + b")",
    b"* 1 FETCH (" + b"A[" * 60_000 + b")",
    b"* 1 FETCH (" + b"A " * 60_000 + b"(" * 60_000 + b")",
    b'* 1 FETCH (A "' + b'\\" ' * 50_000 + b")",
    b"* 1 FETCH (A " + b'("x" ' * 30_000 + b")",
    b"* 1 FETCH (UID 1)" + b") " * 50_000 + b"x",
    b"* 1 FETCH" + b" " * 100_000 + b"(" + b" " * 60_000 + b"x)",
    b"* OK [UIDVALIDITY" + b" " * 100_000 + b"]",
    b"* X " + b"{1" * 60_000 + b"x}",
]


@pytest.mark.parametrize("wire", HOSTILE, ids=lambda wire: wire[:24].decode())
def test_no_line_takes_long(wire: bytes) -> None:
    begun = time.process_time()
    line = read_line(io.BytesIO(wire + b"\r\n"))
    for read in (fetch_items, listing.mailbox, listing.status_name, listing.foreign_prefixes, vanished_in):
        with suppress(ProtocolError):
            read(line)
    assert time.process_time() - begun < 1


class TestFetchItems:
    @pytest.mark.parametrize("order", [0, 1, 2, 3])
    def test_items_in_any_order(self, order: int) -> None:
        wanted = [
            b"UID 7",
            rb"FLAGS (\Seen $Work)",
            b'INTERNALDATE " 1-Jan-2020 00:00:00 +0000"',
            b"BODY[] " + literal(BODY),
        ]
        turned = wanted[order:] + wanted[:order]
        assert items(b"* 3 FETCH (%b)\r\n" % b" ".join(turned)) == {
            b"UID": b"7",
            b"FLAGS": rb"(\Seen $Work)",
            b"INTERNALDATE": b" 1-Jan-2020 00:00:00 +0000",
            b"BODY[]": BODY,
        }

    def test_a_quoted_body(self) -> None:
        body = rb'say "hi" (UID 9) \o/'
        assert items(b"* 1 FETCH (BODY[] %b UID 7)\r\n" % quoted(body)) == {b"BODY[]": body, b"UID": b"7"}

    @pytest.mark.parametrize("nothing", [b"NIL", b"nil"])
    def test_nil(self, nothing: bytes) -> None:
        assert items(b"* 1 FETCH (BODY[] %b UID 7)\r\n" % nothing) == {b"BODY[]": None, b"UID": b"7"}

    @pytest.mark.parametrize("nothing", [b'""', b"{0}\r\n"])
    def test_an_empty_body_is_empty_not_nil(self, nothing: bytes) -> None:
        assert items(b"* 1 FETCH (UID 7 BODY[] %b)\r\n" % nothing) == {b"UID": b"7", b"BODY[]": b""}

    @pytest.mark.parametrize(
        "line", [b"* 5 EXISTS", b"* 5 EXPUNGE", b"A1 OK FETCH (UID 1)", b"* OK FETCH (UID 1)", b"* 1 FETCH"]
    )
    def test_other_answers_are_none(self, line: bytes) -> None:
        assert items(line + b"\r\n") is None

    @pytest.mark.parametrize(
        "line",
        [
            b"*  3  FETCH  (UID 7)",
            b"* 3 fetch (uid 7)",
            b"* 3 FETCH (UID 7) ",
            b"* 3 FETCH ( UID 7 )",
            b"* 3 FETCH (UID  7)",
        ],
    )
    def test_loose_syntax(self, line: bytes) -> None:
        assert items(line + b"\r\n") == {b"UID": b"7"}

    def test_items_nobody_asked_for(self) -> None:
        wire = (
            b'* 1 FETCH (MODSEQ (12) X-GM-LABELS ("\\\\Inbox" "a) b" ("c") %b) '
            b"BODY[HEADER.FIELDS (SUBJECT)]<0> %b BODY[] %b UID 7)\r\n"
        )
        found = items(wire % (literal(b"UID 8 )"), literal(b"UID 9"), literal(BODY)))
        assert found is not None
        assert (found[b"UID"], found[b"BODY[]"]) == (b"7", BODY)
        assert found[b"BODY[HEADER.FIELDS (SUBJECT)]<0>"] == b"UID 9"

    def test_a_forged_mark_of_a_literal_is_no_literal(self) -> None:
        with pytest.raises(IndexError):  # `translate` makes a ProtocolError of it
            items(b"* 1 FETCH (UID 7 BODY[] \x000\x00)\r\n")


@given(
    message=st.binary(),
    flags=st.lists(st.sampled_from([r"\Seen", r"\Flagged", "$Work", "NonJunk"]), unique=True),
    uid=st.integers(1, 2**32 - 1),
    shuffle=st.randoms(use_true_random=False),
)
@example(message=b")\r\nA1 OK\r\n", flags=[], uid=1, shuffle=None)
@example(message=b"{3}\r\n", flags=[], uid=1, shuffle=None)
@example(message=b"\x000\x00", flags=[], uid=1, shuffle=None)
def test_any_bytes_served_as_a_literal_come_back(
    message: bytes, flags: list[str], uid: int, shuffle: object
) -> None:
    parts = [
        b"UID %d" % uid,
        b"FLAGS (%b)" % " ".join(flags).encode(),
        b'INTERNALDATE "17-Jul-1996 02:44:25 -0700"',
        b"RFC822.SIZE 3",
        b"BODY[] " + literal(message),
    ]
    if shuffle is not None:
        shuffle.shuffle(parts)  # type: ignore[attr-defined]
    found = items(b"* 1 FETCH (%b)\r\n" % b" ".join(parts))
    assert found is not None
    assert found[b"BODY[]"] == message
    assert found[b"UID"] == b"%d" % uid
    assert flags_of(found[b"FLAGS"]) == frozenset(flags)


@given(st.binary().filter(lambda data: not re.search(rb"[\r\n\0]", data)))
def test_any_line_served_as_a_quoted_string_comes_back(message: bytes) -> None:
    assert items(b"* 1 FETCH (UID 7 BODY[] %b)\r\n" % quoted(message)) == {b"UID": b"7", b"BODY[]": message}


@given(st.binary())
def test_no_bytes_from_a_server_raise_anything_foreign(wire: bytes) -> None:
    stream = io.BytesIO(b"* 1 FETCH (" + wire)
    try:
        while True:
            fetch_items(read_line(stream))
    except (ConnectionLostError, ProtocolError, IndexError):
        pass  # the end of the stream, a huge literal, a forged mark


class TestNumbers:
    @pytest.mark.parametrize("uid", [b"1", b"4294967295", b"0004294967295"])
    def test_what_can_be(self, uid: bytes) -> None:
        assert number({b"UID": uid}, b"UID") == int(uid)

    @pytest.mark.parametrize("uid", [b"4294967296", b"18446744073709551616", b"9" * 5000])
    def test_what_cannot_be(self, uid: bytes) -> None:
        with pytest.raises(ProtocolError, match=r"UID \d+, which cannot be"):
            number({b"UID": uid}, b"UID")

    @pytest.mark.parametrize("uid", [b"", b"x", b"-1", b"\xb2", None])
    def test_what_is_none(self, uid: bytes | None) -> None:
        assert number({b"UID": uid}, b"UID") is None


class TestFlags:
    def test_recent_does_not_stay(self) -> None:
        assert flags_of(rb"(\Recent \SEEN \recent $Work)") == {r"\SEEN", "$Work"}

    @pytest.mark.parametrize("nothing", [None, b"", b"()"])
    def test_none(self, nothing: bytes | None) -> None:
        assert flags_of(nothing) == frozenset()


class TestInternalDate:
    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            (b"17-Jul-1996 02:44:25 -0700", datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC)),
            (b" 1-Jan-2020 00:00:00 +0000", datetime(2020, 1, 1, tzinfo=UTC)),
            (b"1-Jan-2020 00:00:00 +0000", datetime(2020, 1, 1, tzinfo=UTC)),
            (b"01-jAN-2020 00:00:00 +0530", datetime(2019, 12, 31, 18, 30, tzinfo=UTC)),
            (b"31-Dec-1969 23:59:59 +0000", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
            (b"30-Jun-2015 23:59:60 +0000", datetime(2015, 6, 30, 23, 59, 59, tzinfo=UTC)),
        ],
    )
    def test_dates_as_servers_write_them(self, text: bytes, moment: datetime) -> None:
        assert internal_date(text) == int(moment.timestamp())

    @pytest.mark.parametrize(
        "text",
        [
            None,
            b"",
            b"00-Jan-0000 00:00:00 +0000",
            b"01-Jan-0000 00:00:00 +0000",
            b"31-Feb-2020 00:00:00 +0000",
            b"01-Foo-2020 00:00:00 +0000",
            b"01-Jan-2020 25:00:00 +0000",
            b"01-Jan-2020 00:00:00 +9900",
            b"01-Jan-2020 00:00:00",
            b"Wed, 01 Jan 2020 00:00:00 +0000",
        ],
    )
    def test_what_is_no_date_is_none(self, text: bytes | None) -> None:
        assert internal_date(text) is None

    @given(
        st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)),
        st.integers(-14 * 60, 14 * 60),
    )
    def test_every_date_comes_back(self, naive: datetime, minutes: int) -> None:
        moment = naive.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
        text = Time2Internaldate(moment).strip('"')
        text = text.replace(f"-{moment.year} ", f"-{moment.year:04} ")  # RFC 9051, 9: four digits
        assert internal_date(text.encode()) == int(moment.timestamp())


class TestUidSet:
    def test_runs(self) -> None:
        assert list(uid_set([1, 2, 3, 5, 7, 8])) == [b"1:3,5,7:8"]

    def test_nothing(self) -> None:
        assert list(uid_set([])) == []

    @given(st.sets(st.integers(1, 2**32 - 1)))
    def test_means_the_same_uids(self, uids: set[int]) -> None:
        assert expanded(uid_set(sorted(uids))) == sorted(uids)

    def test_is_bounded_and_ascending(self) -> None:
        uids = list(range(4_000_000_000, 4_000_010_000, 2))
        parts = list(uid_set(uids))
        assert expanded(parts) == uids
        assert max(map(len, parts)) <= 4000
        assert len(parts) < 20


def expanded(parts: object) -> list[int]:
    """The UIDs of sequence sets, each part seen to be ascending."""
    uids: list[int] = []
    for part in parts:  # type: ignore[attr-defined]
        for span in part.split(b","):
            first, _, last = span.partition(b":")
            uids += range(int(first), int(last or first) + 1)
    assert all(a < b for a, b in pairwise(uids))
    return uids
