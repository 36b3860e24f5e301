"""The IMAP edge: connect, log in, list, select, fetch, watch, append. The only importer of imapclient."""

from archiver.imap.connection import Connection, connect
from archiver.imap.types import (
    Appended,
    Failed,
    Fetched,
    Listed,
    Mailbox,
    Opened,
    Outgoing,
    Receive,
    Refused,
    Selected,
    Spooled,
    Status,
)

__all__ = [
    "Appended",
    "Connection",
    "Failed",
    "Fetched",
    "Listed",
    "Mailbox",
    "Opened",
    "Outgoing",
    "Receive",
    "Refused",
    "Selected",
    "Spooled",
    "Status",
    "connect",
]
