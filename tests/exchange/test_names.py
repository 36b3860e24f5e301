"""What folders and files are called outside, and in here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.exchange import names
from archiver.imap.names import readable
from archiver.store.layout import FolderFile, encode_component


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("INBOX", "INBOX"),
        ("inbox", "INBOX"),
        (".Sent", "Sent"),
        (".Lists.K&APw-che", "Lists/Küche"),
        ("Archive.sbd/2019", "Archive/2019"),
        ("Mail.mbox", "Mail"),
        (".mbox", "mbox"),
        ("R&D", "R&D"),
        ("R&D-", "R&D-"),
        ("a&-b", "a&b"),
        ("%2Fetc", "/etc".lstrip("/")),
        ("K\udcfcche", "Küche"),
        ("", ""),
        ("...", "..."),
    ],
)
def test_folders_by_their_directories(path: str, expected: str) -> None:
    assert names.folder_name(tuple(path.split("/")) if path else ()) == expected


@given(st.text(st.characters(exclude_characters="/%", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_what_a_folder_is_called_on_the_wire(name: str) -> None:
    described = names.described(name, ".")
    assert described.raw.isascii()
    if name.upper() != "INBOX":
        assert readable(described.raw) == name


@given(st.text(st.sampled_from("a/.\ud800é\0"), max_size=20))
def test_no_name_is_more_than_the_ledger_can_have(name: str) -> None:
    for tidied in (names.tidy(name), names.told_name(("a",), FolderFile("a", name, "/"))):
        tidied.encode()
        assert "//" not in tidied and not tidied.startswith("/") and not tidied.endswith("/")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_directory_of_ours_is_read_or_told(name: str) -> None:
    """By its name where that says all, else its .folder.json does."""
    assert names.told_name((encode_component(name),), FolderFile("x", name, None)) == names.tidy(name)


@pytest.mark.parametrize("moment", [0, -1, 1_700_000_000, 253_402_300_800, -(10**12), 10**18])
def test_the_name_of_an_eml_tells_when_it_was_received(moment: int) -> None:
    placed = names.place(f"a/{names.eml_name(moment, '0' * 32)}")
    assert placed is not None
    assert (placed.kind, placed.received, placed.directories) == ("eml", moment, ("a",))


@pytest.mark.parametrize("name", ["99999999T999999Z." + "0" * 32 + ".eml", "x.eml", ".eml.eml"])
def test_the_name_of_another_eml_tells_nothing(name: str) -> None:
    placed = names.place(name)
    assert placed is None or placed.received is None
