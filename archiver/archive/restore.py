"""How a restore is wired: which messages it takes, whence their bytes, what is known of the target."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from archiver.config import Account
from archiver.errors import NotFoundError, StoreError
from archiver.store.layout import mail_root, user_path
from archiver.store.ledger import Ledger, glob_folder
from archiver.store.reader import Reader, open_wire
from archiver.store.records import Origin

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.restore import Item, Progress, RestoreReport, Target, Wire

# What is larger is read in pieces, while it is sent.
_LARGE = 8 << 20


class Selection(msgspec.Struct, frozen=True):
    """Which messages to restore: those of `keys`, or all; of places in this account and folders like this.

    Without `keys` only messages that are on their server, unless `gone` ones are wanted, too.
    """

    keys: Sequence[bytes] | None = None
    account: str | None = None
    folder: str | None = None
    gone: bool = False


class _Stored:
    """The bytes of messages, through one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._reader = Reader(ledger)
        self._mail = mail_root(ledger.root)

    def load(self, item: Item) -> Wire:
        path = self._reader.find(os.path.join(self._mail, item.path), item.file, item.letters)
        if path and item.size < _LARGE:
            try:
                return open_wire(item.key, item.size, [path], _LARGE)
            except (NotFoundError, StoreError):
                pass  # another copy may be good
        return open_wire(item.key, item.size, self._reader.paths(item.key), _LARGE)

    def original(self, key: bytes) -> bytes:
        return self._reader.wire(key)


def chosen(ledger: Ledger, selection: Selection) -> list[Origin]:
    """The places that a selection means. NotFoundError where it means none."""
    _insist(ledger, selection.account)
    found = [origin for origin in _origins(ledger, selection) if _fits(origin, selection)]
    if selection.keys is None and not selection.gone:
        found = [origin for origin in found if not origin.gone]
    if not found:
        raise NotFoundError("nothing to restore", hint="archiver status --folders shows what is archived")
    return found


def _insist(ledger: Ledger, account: str | None) -> None:
    """NotFoundError for an account of which the archive knows no folder."""
    known = sorted({folder.account for folder in ledger.folders()})
    if account is not None and account not in known:
        raise NotFoundError(
            f"no account {account} in the archive", hint=f"accounts in it: {', '.join(known) or 'none'}"
        )


def _origins(ledger: Ledger, selection: Selection) -> Iterable[Origin]:
    if selection.keys is not None:
        return ledger.origins_of(selection.keys)
    accounts = sorted({folder.account for folder in ledger.folders(selection.account)})
    return (origin for account in accounts for origin in ledger.origins(account))


def _fits(origin: Origin, selection: Selection) -> bool:
    if selection.account is not None and origin.account != selection.account:
        return False
    return selection.folder is None or glob_folder(selection.folder, origin.folder)


def restore(
    archive: Archive,
    selection: Selection,
    name: str,
    where: Callable[[str], str],
    progress: Progress,
    fault: Callable[[str], None] = lambda step: None,
) -> RestoreReport:
    from archiver.restore import lay_out
    from archiver.restore import restore as run
    from archiver.store.restored import RestoreRecords

    account = archive.account(name)
    with archive.ledger() as ledger:
        folders = lay_out(chosen(ledger, selection), where)
        with archive.lock(f"restore-{name}", "restore"), RestoreRecords(archive.root) as records:
            return run(
                folders,
                _target(account, ledger),
                lambda: archive.connect(account),
                _Stored(ledger),
                records,
                progress=progress,
                stop=archive.stop,
                fault=fault,
            )


def preview(archive: Archive, selection: Selection, name: str, where: Callable[[str], str]) -> RestoreReport:
    from archiver.restore import lay_out
    from archiver.restore import preview as look
    from archiver.store.restored import RestoreRecords

    account = archive.account(name)
    with archive.ledger() as ledger:
        folders = lay_out(chosen(ledger, selection), where)
        with archive.connect(account) as connection:
            if not os.path.exists(user_path(archive.root)):
                return look(folders, _target(account, ledger), connection, None)
            with RestoreRecords(archive.root) as records:
                return look(folders, _target(account, ledger), connection, records)


def _target(account: Account, ledger: Ledger) -> Target:
    from archiver.archive.accounts import mailbox
    from archiver.restore import Target

    same = mailbox(account.name, account, ledger).state == "same"

    def known(raw: str, uidvalidity: int) -> Mapping[int, bytes]:
        for folder in ledger.folders(account.name) if same else ():
            if folder.raw == raw and folder.uidvalidity == uidvalidity:
                return ledger.keys_by_uid(folder)
        return {}

    return Target(account.name, account.imap.host, account.imap.user, known)
