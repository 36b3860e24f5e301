"""The SMTP edge: connect, log in, send bytes as they are. Only importer of smtplib."""

from archiver.smtp.address import Mailbox, check_address, mailbox
from archiver.smtp.connection import connect
from archiver.smtp.session import Outcome, Session

__all__ = ["Mailbox", "Outcome", "Session", "check_address", "connect", "mailbox"]
