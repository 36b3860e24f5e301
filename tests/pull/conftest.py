"""An archive to pull into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from archiver.config import Account, Duration, Folders, ImapServer, SecretSource
from archiver.imap import Connection, connect
from archiver.pull import AccountReport, FolderReport, pull
from archiver.store import filing
from archiver.store.layout import mail_root
from archiver.store.ledger import Ledger
from tests.conftest import AnyUser
from tests.imap.conftest import PASSWORD, Connect, Listening, ServerFor, log_in, server_for
from tests.servers.dovecot import User
from tests.servers.scripted import ScriptedServer

__all__ = ["Archive", "Connect", "Listening", "ServerFor", "log_in", "mail", "server_for", "unused"]

HOUR = 3600.0
Scripted = Callable[..., ScriptedServer]


def unused() -> ImapServer:
    """For pulls over a connection that is there already."""
    return ImapServer(
        host="imap.example.org", user="me", security="none", password=SecretSource(literal=PASSWORD)
    )


def mail(number: int = 0, text: str = "text") -> bytes:
    """A small message; the same for the same arguments."""
    return (
        f"From: a@example.org\r\nSubject: message {number}\r\n"
        f"Date: Wed, 01 Jan 2020 00:00:00 +0000\r\n\r\n{text}\r\n"
    ).encode()


@dataclass
class Archive:
    """One account, `work`, in an archive of its own; the clock stands where `now` says."""

    path: Path
    imap: ImapServer = field(default_factory=unused)
    folders: Folders = field(default_factory=Folders)
    flags_every: float = 24 * HOUR
    now: float = 1_700_000_000.0

    @property
    def root(self) -> str:
        return str(self.path)

    @property
    def mail(self) -> Path:
        """The account's directory."""
        return Path(mail_root(self.root)) / "work"

    def account(self) -> Account:
        return Account(
            name="work", imap=self.imap, folders=self.folders, flags_every=Duration(self.flags_every)
        )

    def pull(self, connection: Connection, **options: Any) -> AccountReport:
        """A run over this connection, a minute after the one before."""
        self.now += 60
        with Ledger(self.root) as ledger:
            return pull(self.account(), connection, ledger, now=lambda: self.now, **options)

    def sync(self, **options: Any) -> AccountReport:
        """A run over a connection of its own to the configured server."""
        with connect(self.imap, lambda: PASSWORD) as connection:
            return self.pull(connection, **options)


def only(report: AccountReport, folder: str = "INBOX") -> FolderReport:
    """The report of the one folder in which something happened."""
    assert [each.folder for each in report.folders] == [folder]
    return report.folders[0]


ArchiveOf = Callable[..., Archive]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


@pytest.fixture
def archive_of(tmp_path: Path, server_for: ServerFor) -> ArchiveOf:
    """An archive of a server's mailbox: `archive_of(server, user=...)`; settings as of `server_for`."""

    def make(server: Listening, **changes: object) -> Archive:
        return Archive(tmp_path / "archive", server_for(server, **changes))

    return make


@pytest.fixture
def dovecot_archive(mailbox: User, archive_of: ArchiveOf) -> Archive:
    """An archive of `mailbox`."""
    return archive_of(mailbox.server, user=mailbox.name)


@pytest.fixture
def server_archive(any_mailbox: AnyUser, archive_of: ArchiveOf) -> Archive:
    """An archive of `any_mailbox`."""
    return archive_of(any_mailbox.server, user=any_mailbox.name)


@contextmanager
def small_groups() -> Iterator[None]:
    """Let three messages make a group, so that a handful makes several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filing, "BATCH_MESSAGES", 3)
        yield
