"""YAML -> frozen structs; every problem reported at once, with file, line and key."""

from archiver.config.load import find, load, parse, warnings
from archiver.config.structs import (
    Account,
    Config,
    Duration,
    Folders,
    ImapServer,
    IndexSettings,
    Schedule,
    SecretSource,
    Security,
    Server,
    SmtpServer,
)

__all__ = [
    "Account",
    "Config",
    "Duration",
    "Folders",
    "ImapServer",
    "IndexSettings",
    "Schedule",
    "SecretSource",
    "Security",
    "Server",
    "SmtpServer",
    "find",
    "load",
    "parse",
    "warnings",
]
