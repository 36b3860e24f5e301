"""The IMAP edge: connect, log in, list, select, fetch. The only importer of imapclient."""

from archiver.imap.connection import Connection, connect
from archiver.imap.types import Failed, Fetched, Listed, Mailbox, Receive, Selected, Spooled, Status

__all__ = [
    "Connection",
    "Failed",
    "Fetched",
    "Listed",
    "Mailbox",
    "Receive",
    "Selected",
    "Spooled",
    "Status",
    "connect",
]
