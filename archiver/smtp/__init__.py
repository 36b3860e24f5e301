"""The SMTP edge: connect, log in, send bytes as they are. Only importer of smtplib."""

from archiver.smtp.address import Mailbox, check_address, mailbox
from archiver.smtp.connection import connect
from archiver.smtp.session import Dsn, Outcome, Session, check_bytes

__all__ = ["Dsn", "Mailbox", "Outcome", "Session", "check_address", "check_bytes", "connect", "mailbox"]
