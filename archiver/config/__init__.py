"""YAML -> frozen structs; every problem reported at once, with file, line and key."""

from archiver.config.load import ACCOUNT_NAME, find, load, parse, warnings
from archiver.config.structs import (
    Account,
    AutoOnOff,
    Config,
    Duration,
    Folders,
    ImapServer,
    IndexSettings,
    Schedule,
    SecretSource,
    Security,
    Server,
    Size,
    SmtpServer,
)

__all__ = [
    "ACCOUNT_NAME",
    "Account",
    "AutoOnOff",
    "Config",
    "Duration",
    "Folders",
    "ImapServer",
    "IndexSettings",
    "Schedule",
    "SecretSource",
    "Security",
    "Server",
    "Size",
    "SmtpServer",
    "find",
    "load",
    "parse",
    "warnings",
]
