"""The text of attachments, for the index: PDF, office documents, books, text, names in archives.

kinds       whether an attachment may be a document, and of which kind it is
formats     the text of a document; only here kreuzberg is known (the extra `attachments`)
process     a process that does so, with limits, and is replaced when a document kills it
cache       what was read once: `<root>/attachments.sqlite3`
texts       from a message to the texts of its attachments

Nothing here raises because of what an attachment is: it has no text then, and the reason is told.
"""

from __future__ import annotations

from importlib.util import find_spec

from archiver.attachments.texts import Reading, Tally, Texts, Unread

__all__ = ["INSTALL", "Reading", "Tally", "Texts", "Unread", "installed"]

INSTALL = "pip install 'imap-archiver[attachments]'"
"""How to get what reads attachments."""


def installed() -> bool:
    """Whether the extra is here, without loading it."""
    return find_spec("kreuzberg") is not None
