"""The archive at a glance, from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.archive.reports import FolderStatus
from archiver.archive.status import status
from archiver.config import Account, Config, ImapServer, SecretSource
from archiver.store.locks import lock
from tests.store.tree import Tree, message


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(str(tmp_path))
    yield made
    made.ledger.close()


def config(tree: Tree, *names: str) -> Config:
    server = ImapServer(host="imap.example.org", user="me", password=SecretSource(env="X"))
    return Config(archive=tree.root, accounts={name: Account(name=name, imap=server) for name in names})


def test_counts_runs_and_errors(tree: Tree) -> None:
    inbox, other = tree.folder(), tree.folder("Old", account="former")
    tree.file(inbox, [message(n) for n in range(1, 5)])
    tree.file(other, [message(1)])
    tree.ledger.set_gone(inbox, [2], 5)
    for uid in (8, 9):
        tree.ledger.fail(inbox, uid, "no body", 0)
    tree.ledger.close_folder(inbox.id, "no permission")
    for name in ("work", "former"):
        tree.ledger.identify(name, "imap.example.org", "me")
    tree.ledger.started("work", 10.0)
    tree.ledger.finished("work", 11.0, None)
    tree.ledger.schedule("work", 99.0)
    report = status(config(tree, "work", "new"), tree.ledger, 1)
    assert (report.archive, report.daemon, report.documents, report.pending) == (tree.root, None, 4, 3)
    assert [(each.name, each.configured) for each in report.accounts] == [
        ("work", True),
        ("new", True),
        ("former", False),
    ]
    work, new, former = report.accounts
    assert (work.started, work.finished, work.succeeded, work.error) == (10.0, 11.0, 11.0, None)
    assert (work.next_run, work.failed) == (99.0, 2)
    size = sum(len(message(n)) for n in range(1, 5))
    assert work.folders == (FolderStatus("INBOX", 3, 1, size, "no permission"),)
    assert (new.started, new.folders, new.failed) == (None, (), 0)
    assert former.folders == (FolderStatus("Old", 1, 0, len(message(1)), None),)


def test_folders_of_other_accounts_are_not_mixed_up(tree: Tree) -> None:
    tree.file(tree.folder(account="a"), [message(1)])
    tree.file(tree.folder(account="b"), [message(1), message(2)])
    a, b = status(config(tree, "a", "b"), tree.ledger, 0).accounts
    assert ([f.messages for f in a.folders], [f.messages for f in b.folders]) == ([1], [2])


def test_who_runs_the_schedule(tree: Tree) -> None:
    with lock(tree.root, "daemon", "run"):
        assert str(status(config(tree), tree.ledger, 0).daemon).endswith(", run")
    assert status(config(tree), tree.ledger, 5).pending == 0
