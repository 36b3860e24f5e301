"""An IMAP mailbox kept as a local Maildir, searched in full text, sent again over SMTP."""

__version__ = "0.1.0"
