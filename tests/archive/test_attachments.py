"""What is said of attachments: that what reads them is missing, and how they were read."""

from __future__ import annotations

import msgspec
import pytest

from archiver.archive import attachments
from archiver.archive.attachments import missing, notices, reading
from archiver.attachments import Tally
from archiver.config import AutoOnOff, IndexSettings


def settings(wanted: AutoOnOff) -> IndexSettings:
    return IndexSettings(attachments=wanted)


def test_they_are_read_where_that_can_be() -> None:
    made = reading(settings("auto"))
    assert made and not made.known
    assert made.size == IndexSettings().attachment_size
    assert reading(settings("off")) is None
    assert missing(settings("auto")) is None
    assert list(notices(settings("on"), Tally())) == []


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "installed", lambda: False)
    made = reading(settings("auto"))
    assert made and made.known
    text = missing(settings("auto"))
    assert text and "pip install 'imap-archiver[attachments]'" in text
    assert missing(settings("off")) is None
    assert list(notices(settings("on"), Tally())) == [text]
    assert list(notices(settings("auto"), Tally())) == [], "who did not ask for it is not told each time"


def test_what_went_wrong_is_said() -> None:
    (broken,) = notices(settings("auto"), Tally(broken="no library"))
    assert "no library" in broken and "pip install" in broken
    (lost,) = notices(settings("auto"), msgspec.structs.replace(Tally(), lost=True))
    assert "attachments.sqlite3" in lost
