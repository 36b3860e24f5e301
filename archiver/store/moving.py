"""A folder that has another name now: its directory follows, whatever instant a run is killed at.

Each step can be done again, and finds what was done: the new directory says what it is; cur/, new/ and tmp/
move into it; the old one is left; one transaction tells the ledger. Until then the ledger has the old name,
so the next run begins again from the top. Wherever the messages are, a `.folder.json` beside them, or where
they came from, has the MAILBOXID, so that a ledger made from the files comes out right as well. Folders below
are directories below: they stay, and follow when their own names change.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence

from archiver.store import layout
from archiver.store.layout import FolderFile, mail_root, make_parts, read_folder_file, sync_directory
from archiver.store.ledger import Ledger
from archiver.store.maildir import disk_errors
from archiver.store.records import Folder

_PARTS = ("cur", "new", "tmp")


def move_folder(ledger: Ledger, folder: Folder, described: FolderFile, fault: Callable[[str], None]) -> None:
    """Let a folder be called as `described`, and its directory. `fault` hears the name of each step done.

    No other folder of the ledger may have that name.
    """
    top = mail_root(ledger.root)
    taken = {each.path for each in ledger.folders(folder.account) if each.id != folder.id}
    with disk_errors("rename a folder of the archive"):
        target = layout.describe_folder(ledger.root, folder.account, described, taken)
        fault("described")
        old, new = os.path.join(top, folder.path), os.path.join(top, target)
        if old != new:
            for part in _PARTS:
                _move(os.path.join(old, part), os.path.join(new, part))
                fault("carried")
            sync_directory(new)
            _leave(old, os.path.join(top, folder.account))
            fault("left")
        make_parts(new)
    ledger.rename_folder(folder.id, described.raw, described.name, target)
    fault("followed")


def give_way(ledger: Ledger, folder: Folder, fault: Callable[[str], None]) -> None:
    """Let a folder leave its name and directory to another that is called so now, and keep all it has.

    Perhaps it is found under another name at once; else it was deleted on the server.
    """
    path = os.path.join(mail_root(ledger.root), folder.path)
    with disk_errors("read a folder of the archive"):
        found = read_folder_file(path)
    delimiter = found.delimiter if found else "/"
    described = FolderFile(folder.raw, folder.name, delimiter, folder.mailboxid)
    move_folder(
        ledger, folder, layout.set_aside(described, folder.mailboxid or str(folder.uidvalidity)), fault
    )


def forget_doubles(ledger: Ledger, folders: Sequence[Folder]) -> None:
    """Of folders with one MAILBOXID drop those without a message: what a move that was cut short left over.

    A ledger made from the files meanwhile knows both directories.
    """
    named = Counter(folder.mailboxid for folder in folders if folder.mailboxid)
    doubles = [folder for folder in folders if folder.mailboxid and named[folder.mailboxid] > 1]
    held = {folder.mailboxid for folder in doubles if not ledger.is_empty(folder.id)}
    for folder in doubles:
        if folder.mailboxid in held and ledger.is_empty(folder.id):
            forget_empty(ledger, folder)


def forget_empty(ledger: Ledger, folder: Folder) -> None:
    """Forget a folder without a message, and its directory as far as nobody else has put something there."""
    top = mail_root(ledger.root)
    with disk_errors("tidy the archive"):
        _leave(os.path.join(top, folder.path), os.path.join(top, folder.account))
    ledger.forget_folder(folder.id)


def _move(source: str, target: str) -> None:
    """Rename a directory, or, where there is one of that name with something in it, what is in it."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        pass  # done before, or somebody removed it
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        for name in os.listdir(source):
            os.rename(os.path.join(source, name), os.path.join(target, name))
        sync_directory(target)
        os.rmdir(source)


def _leave(path: str, top: str) -> None:
    """Remove a directory that is no folder any more, and those above it, unless something else is in them."""
    if not os.path.isdir(path):
        return
    for part in _PARTS:
        _remove(os.path.join(path, part))
    sync_directory(path)
    if not any(os.path.isdir(os.path.join(path, part)) for part in _PARTS):
        try:
            os.unlink(os.path.join(path, layout.FOLDER_FILE))
        except FileNotFoundError:
            pass
    while path != top and _remove(path):
        path = os.path.dirname(path)
    if os.path.isdir(path):
        sync_directory(path)


def _remove(directory: str) -> bool:
    """Remove an empty directory; whether it is not there any more."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        pass
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True
