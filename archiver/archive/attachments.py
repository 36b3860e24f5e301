"""What the configuration says of attachments, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator

from archiver.attachments import INSTALL, Reading, Tally, installed
from archiver.config import IndexSettings


def reading(settings: IndexSettings) -> Reading | None:
    """What may be spent on an attachment; None when their texts are not wanted."""
    if settings.attachments == "off":
        return None
    return Reading(settings.attachment_size, known=not installed())


def missing(settings: IndexSettings) -> str | None:
    """What is to be said of the extra: nothing when it is here, or not wanted."""
    if settings.attachments == "off" or installed():
        return None
    return f"the text of attachments is not searched: the extra is not installed ({INSTALL})"


def notices(settings: IndexSettings, tally: Tally) -> Iterator[str]:
    """What a run has to say, but for what single attachments are."""
    if settings.attachments == "on" and (text := missing(settings)):
        yield text
    if tally.broken:
        yield f"attachments are not read: {tally.broken}; install it again ({INSTALL}), then archiver reindex"
    if tally.lost:
        yield "attachments.sqlite3 was damaged and is made anew; attachments are read again when they come up"
