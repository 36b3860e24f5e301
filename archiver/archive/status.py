"""The archive at a glance, from the ledger alone: works while the daemon runs, or not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

import msgspec

from archiver.archive.reports import AccountStatus, FolderStatus, StatusReport, Watching
from archiver.config import Config
from archiver.store.layout import watch_path, write_file
from archiver.store.ledger import Ledger
from archiver.store.locks import holder
from archiver.store.maildir import disk_errors
from archiver.store.records import AccountRow, Folder

DAEMON_LOCK = "daemon"


def status(config: Config, ledger: Ledger, indexed: int) -> StatusReport:
    """Counts, last and next runs; `indexed` is the last change the index holds."""
    folders = ledger.folders()
    totals = ledger.totals()
    failed = Counter(failure.folder for failure in ledger.all_failures())
    rows = {row.name: row for row in ledger.accounts()}
    daemon = holder(config.archive, DAEMON_LOCK)
    # What a killed one left behind is not so any more.
    listening = watching(config.archive) if daemon else {}
    nobody = AccountRow("", "", "", None, None, None, None, None)

    def account(name: str) -> AccountStatus:
        mine = [folder for folder in folders if folder.account == name]
        row = rows.get(name, nobody)
        return AccountStatus(
            name=name,
            configured=name in config.accounts,
            started=row.started,
            finished=row.finished,
            succeeded=row.succeeded,
            error=row.error,
            next_run=row.next_run,
            push=listening.get(name),
            failed=sum(failed[folder.id] for folder in mine),
            folders=tuple(_folder(folder, totals.get(folder.id, (0, 0, 0))) for folder in mine),
        )

    # Of what was imported, or is known from the files alone, there is no row.
    names = [*config.accounts, *rows, *(folder.account for folder in folders)]
    return StatusReport(
        archive=config.archive,
        daemon=daemon,
        documents=ledger.document_count(),
        pending=max(ledger.last_change() - indexed, 0),
        accounts=tuple(account(name) for name in dict.fromkeys(names)),
    )


def _folder(folder: Folder, totals: tuple[int, int, int]) -> FolderStatus:
    messages, gone, size = totals
    return FolderStatus(folder.name, messages, gone, size, folder.error)


def note_watching(root: str, states: Mapping[str, Watching]) -> None:
    """Write down, by account, what the daemon does for push; read by `watching`."""
    path = watch_path(root)
    with disk_errors("note what is listened to"):
        if states:
            write_file(path, msgspec.json.encode(states))
        elif os.path.exists(path):
            os.unlink(path)


def watching(root: str) -> dict[str, Watching]:
    """What `note_watching` wrote; nothing when there is none, or it cannot be read."""
    try:
        with open(watch_path(root), "rb") as file:
            return msgspec.json.decode(file.read(), type=dict[str, Watching])
    except (OSError, msgspec.DecodeError):
        return {}
