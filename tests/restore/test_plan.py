"""What goes where, without a server."""

from __future__ import annotations

import pytest

from archiver.imap import Listed
from archiver.restore import plan
from archiver.store.records import Origin
from archiver.store.restored import Sent

ALL_FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft")


def origin(key: bytes, folder: str = "INBOX", gone: int = 0, received: int = 0, flags: str = "") -> Origin:
    return Origin(key, 10, "work", folder, f"work/{folder}", "file", flags, "$Work $Later", gone, received)


def names(laid_out: dict[str, list[plan.Item]]) -> dict[str, list[bytes]]:
    return {name: [item.key for item in items] for name, items in laid_out.items()}


def test_into_folders_of_the_same_names_oldest_first() -> None:
    origins = [origin(b"b", received=2), origin(b"a", received=1), origin(b"a", "Work", received=1)]
    assert names(plan.lay_out(origins, plan.same_folders(""))) == {"INBOX": [b"a", b"b"], "Work": [b"a"]}


@pytest.mark.parametrize("prefix", ["Old", "Old/", "/Old/"])
def test_below_a_prefix(prefix: str) -> None:
    assert list(plan.lay_out([origin(b"a"), origin(b"b", "W/x")], plan.same_folders(prefix))) == [
        "Old/INBOX",
        "Old/W/x",
    ]


def test_into_one_folder_each_content_comes_once() -> None:
    origins = [origin(b"a"), origin(b"a", "Work"), origin(b"a"), origin(b"b", "Work", received=1)]
    assert names(plan.lay_out(origins, lambda name: "All")) == {"All": [b"a", b"b"]}


def test_only_where_it_is_not_where_it_was() -> None:
    assert list(plan.lay_out([origin(b"a", gone=9), origin(b"a", "Moved")], plan.same_folders(""))) == [
        "Moved"
    ]


def test_gone_everywhere_only_where_it_was_last() -> None:
    first, later, last = origin(b"a", "First", 10), origin(b"a", "X", 90_000), origin(b"a", "Y", 90_060)
    assert list(plan.lay_out([first, later, last], plan.same_folders(""))) == ["X", "Y"]


def test_flags_but_the_one_that_would_delete_it() -> None:
    laid_out = plan.lay_out([origin(b"a", flags="DFRST")], plan.same_folders(""))
    assert set(laid_out["INBOX"][0].flags) == {*ALL_FLAGS, "$Work", "$Later"}


def test_only_flags_that_the_mailbox_keeps() -> None:
    flags = ("\\Seen", "\\Draft", "$Work", "$Later")
    assert plan.settable(flags, {"\\seen", "\\*"}, True) == ("\\Seen", "$Work", "$Later")
    assert plan.settable(flags, {"\\Seen", "$work"}, False) == ("\\Seen", "$Work")


def items(*sizes: int) -> list[tuple[plan.Item, int]]:
    return [(plan.Item(bytes([n]), size, "", "", "", (), 0), size) for n, size in enumerate(sizes)]


def test_bunches_of_so_many_messages_and_bytes() -> None:
    large = plan.BUNCH_BYTES
    bunches = plan.bunches(items(1, 1, 1, large, 1, large - 1, 2), lambda: 2)
    assert [[item.key[0] for item in bunch] for bunch in bunches] == [[0, 1], [2], [3], [4, 5], [6]]


def test_in_the_order_they_were_sent() -> None:
    sent = [Sent(b"a", 5), Sent(b"b", 4)]
    came = [Listed(7, frozenset(), received=5), Listed(9, frozenset(), received=4)]
    assert plan.in_order(sent, came) == {b"a": 7, b"b": 9}
    assert plan.in_order(sent, came[::-1]) is None  # somebody else's came in place of one
    assert plan.in_order(sent, came[:1]) is None


def test_candidates_by_their_dates() -> None:
    listed = [Listed(n, frozenset(), received=date) for n, date in ((1, 5), (2, 6), (3, None), (4, 5))]
    assert plan.candidates([Sent(b"a", 5)], listed, [4]) == ([1, 3], [2])


def test_each_uid_is_one_messages() -> None:
    sent = [Sent(b"a", 0), Sent(b"b", 0), Sent(b"c", 0)]
    found = [(1, b"a", b"<1>"), (2, b"a", b"<1>"), (3, b"x", b"<2>"), (4, b"y", b"<3>")]
    alike = {b"b": b"<2>", b"c": b"<9>"}
    assert plan.match(sent, found, lambda message: alike[message.key]) == {b"a": 1, b"b": 3}


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"Subject: x\r\nMessage-ID:\r\n <1@example.org>\r\n\r\ntext\r\n", b"<1@example.org>"),
        (b"message-id: <1@example.org>\nSubject: x\n\nMessage-ID: <2@example.org>", b"<1@example.org>"),
        (b"Subject: x\r\n\r\nMessage-ID: <2@example.org>\r\n", b"Subject: xMessage-ID: <2@example.org>"),
    ],
)
def test_what_stays_when_a_server_rewrites_it(wire: bytes, expected: bytes) -> None:
    assert plan.likeness(wire) == expected
