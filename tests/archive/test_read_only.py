"""An archive on a disk that is mounted read-only: looked at, never changed, and nothing of it left out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.archive import Archive
from archiver.config import Config
from archiver.store.tags import Change
from archiver.store.user import Intent, User
from tests.conftest import missing
from tests.store.tree import Tree, message

# The directory mounted over itself, and so unlike its parent read-only, in a namespace of its own.
_MOUNT = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
_ALONE = ["unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNT]
_LOOK = """
import sys
from archiver.archive import Archive
from archiver.config import Config
from archiver.errors import ArchiverError
archive = Archive(Config(archive=sys.argv[1]), say=print)
try:
    (row,) = archive.search("subject:number AND word4").rows
    assert b"word4" in archive.wire(archive.resolve(row.id))
    print(archive.count("subject:number").count, archive.status().pending, archive.outbox())
    print(archive.verify().found.findings)
    archive.reindex()
except ArchiverError as exc:
    print(f"{type(exc).__name__}: {exc.message}; {exc.hint}")
"""

_TAGS = """
import sys
from archiver.archive import Archive
from archiver.config import Config
archive = Archive(Config(archive=sys.argv[1]), say=print)
(row,) = archive.search("tag:seen").rows
print(row.tags, archive.count("tag:seen folder:inbox").count, archive.tag_counts())
"""

_OUTBOX = """
import sys
from archiver.archive import Archive
from archiver.config import Config
from archiver.errors import ArchiverError
archive = Archive(Config(archive=sys.argv[1]), say=print)
(message,) = archive.outbox()
assert archive.outbox_message(message.id) == message
print(*((to.address, to.status) for to in message.recipients))
try:
    archive.cancel(message.id)
except ArchiverError as exc:
    print(f"{type(exc).__name__}: {exc.hint}")
"""


def mounts() -> bool:
    return shutil.which("unshare") is not None and subprocess.run([*_ALONE, "/tmp", "true"]).returncode == 0


@pytest.fixture(autouse=True, scope="module")
def mounting() -> None:
    if not mounts():
        missing("no right to mount anything, were it in a namespace")


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(str(tmp_path / "archive"))
    made.file(made.folder(), [message(n) for n in range(1, 7)])
    with made.ledger:
        archive = Archive(Config(archive=made.root))
        with archive.ledger() as ledger:
            archive._drain(ledger)
        yield made


def seen(root: str, look: str = _LOOK) -> list[str]:
    """What looking at it prints; nothing in it changes."""
    before = contents(root)
    command = [*_ALONE, root, sys.executable, "-c", look, root]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert contents(root) == before
    return run.stdout.splitlines()


def contents(root: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


def assert_whole(lines: list[str]) -> None:
    assert lines[:2] == ["6 0 []", "[]"]
    assert lines[2].startswith("StoreError: cannot lock the archive: Read-only file system")


def test_of_files_that_were_closed(tree: Tree) -> None:
    tree.ledger.close()
    assert not os.path.exists(f"{tree.root}/ledger.sqlite3-wal")
    assert_whole(seen(tree.root))


def test_of_files_that_were_open(tree: Tree) -> None:
    """What was written last is in the log beside the ledger: a snapshot, or the daemon was killed."""
    assert os.path.getsize(f"{tree.root}/ledger.sqlite3-wal") > 0
    copied = f"{tree.root}-copy"
    shutil.copytree(tree.root, copied)
    assert_whole(seen(copied))


def test_tags(tree: Tree) -> None:
    Archive(Config(archive=tree.root)).tag("word4", Change(("seen",)))
    tree.ledger.close()
    assert seen(tree.root, _TAGS) == ["('seen',) 1 {'seen': 1}"]


def test_the_outbox(tree: Tree) -> None:
    """It is listed as it is: nobody can become the holder of its lock."""
    with User(tree.root) as user:
        (id,) = user.queue(
            [Intent(bytes(32), "<1@example.org>", "relay", "me@example.org", ("you@example.org",))], 1
        )
        user.begin(id, b"", 2)
    tree.ledger.close()
    assert seen(tree.root, _OUTBOX) == ["('you@example.org', 'sending')", "StoreError: check its permissions"]


def test_changes_that_cannot_be_read_are_not_left_out(tree: Tree) -> None:
    copied = f"{tree.root}-copy"
    shutil.copytree(tree.root, copied)
    os.unlink(f"{copied}/ledger.sqlite3-shm")
    (line,) = seen(copied)
    assert line.startswith(f"StoreError: {copied}/ledger.sqlite3 cannot be written, and so what waits in ")
    assert line.endswith("; make it writable once, and run `archiver status`")
