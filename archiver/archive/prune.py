"""How a prune is wired: which account's folders, over which connection, under which lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from archiver.archive.accounts import mailbox
from archiver.errors import NotFoundError, UsageError
from archiver.store.layout import user_path
from archiver.store.ledger import glob_folder

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.config import Account
    from archiver.imap import Connection, Mailbox
    from archiver.prune import PruneReport
    from archiver.store.ledger import Ledger


def prune(
    archive: Archive,
    name: str,
    before: int,
    folder: str | None = None,
    *,
    delete: bool = False,
    fault: Callable[[str], None] = lambda step: None,
) -> PruneReport:
    """Delete from an account's server what is older than `before` and proven archived; without `delete` look.

    `folder` is a glob. Only folders that are pulled, and are the account's own.
    """
    from archiver.prune import prune as run
    from archiver.store.pruned import PruneRecords

    account = archive.account(name)
    with ExitStack() as stack:
        ledger = stack.enter_context(archive.ledger())
        stack.enter_context(archive.lock(f"account-{name}", "prune"))
        _insist_same(account, ledger)
        records = stack.enter_context(PruneRecords(archive.root)) if delete else None
        connection = stack.enter_context(archive.connect(account))
        mailboxes = _chosen(account, connection, folder)
        return run(account, mailboxes, connection, ledger, records, before, stop=archive.stop, fault=fault)


def pruned(root: str, key: bytes) -> dict[tuple[str, str, int], int]:
    """When a message was pruned from its places: (account, folder, UID) -> Unix seconds."""
    from archiver.store.pruned import PruneRecords

    if not os.path.exists(user_path(root)):
        return {}
    with PruneRecords(root) as records:
        return {(p.account, p.folder, p.uid): p.done for p in records.pruned(key) if p.done is not None}


def _insist_same(account: Account, ledger: Ledger) -> None:
    """UsageError unless what is archived under the account's name is of the mailbox that it now has."""
    state = mailbox(account.name, account, ledger).state
    if state != "same":
        raise UsageError(
            "nothing of this mailbox is archived"
            if state == "new"
            else "what is archived was pulled from another mailbox than the account's is now",
            account=account.name,
            hint=f"archiver sync {account.name} archives it",
        )


def _chosen(account: Account, connection: Connection, folder: str | None) -> list[Mailbox]:
    from archiver.pull.plan import choose

    own = [
        each for each in choose(connection.list_folders(), account.folders) if each.namespace == "personal"
    ]
    if folder is not None and not (own := [each for each in own if glob_folder(folder, each.name)]):
        raise NotFoundError(
            f"no folder like {folder} is pulled",
            account=account.name,
            hint="archiver check --connect lists them; a minus marks what the configuration leaves out",
        )
    return own
