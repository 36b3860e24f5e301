"""Raw bytes -> Message: headers, addresses, date, text, attachments.

No I/O and no opinion: nothing here raises on any bytes, and nothing here changes a message.
"""

from __future__ import annotations

from archiver.message.dates import document_date
from archiver.message.filenames import safe_filename
from archiver.message.ids import lists, message_id, referred
from archiver.message.model import Address, Attachment, Message
from archiver.message.parse import attachment_bytes, contents, parse
from archiver.message.subjects import base_subject

__all__ = [
    "Address",
    "Attachment",
    "Message",
    "attachment_bytes",
    "base_subject",
    "contents",
    "document_date",
    "lists",
    "message_id",
    "parse",
    "referred",
    "safe_filename",
]
