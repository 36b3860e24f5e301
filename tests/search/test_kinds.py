"""Kinds of files, by their types and names."""

from __future__ import annotations

import pytest

from archiver.search.kinds import KINDS, kinds


@pytest.mark.parametrize(
    ("mimetype", "filename", "found"),
    [
        ("image/png", "", {"image"}),
        ("application/octet-stream", "Photo.JPG", {"image"}),
        ("application/pdf", "", {"pdf"}),
        ("application/octet-stream", "a.b.pdf", {"pdf"}),
        ("application/ics", "invite.ics", {"calendar"}),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "", {"document"}),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "a.xlsx", {"spreadsheet"}),
        ("application/vnd.oasis.opendocument.presentation", "", {"presentation"}),
        ("text/csv", "", {"spreadsheet"}),
        ("application/x-bzip2", "", {"archive"}),
        ("application/octet-stream", "logs.tar.gz", {"archive"}),
        ("audio/ogg", "a.ogg", {"audio"}),
        ("video/mp4", "", {"video"}),
        ("application/zip", "song.mp3", {"archive", "audio"}),
        ("text/plain", "notes.txt", set()),
        ("application/octet-stream", "pdf", set()),
        ("imagery/png", ".pdf", set()),
    ],
)
def test_kinds(mimetype: str, filename: str, found: set[str]) -> None:
    assert kinds([mimetype], [filename] if filename else []) == found


def test_no_extension_is_of_two_kinds() -> None:
    extensions = [each for kind in KINDS for each in kind.extensions]
    assert len(extensions) == len(set(extensions))
    assert all(each == each.lower() for kind in KINDS for each in (*kind.types, *kind.extensions))
