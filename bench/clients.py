"""Who pulls: archiver, mbsync, and the shortest program that IMAPClient allows."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import common
from tests.servers.dovecot import User

# From an account, over a port, into a directory: empty, or the one of an earlier pull.
Pull = Callable[[User, int, Path], common.Run]


def archiver(user: User, port: int, directory: Path, settings: Mapping[str, str] | None = None) -> common.Run:
    """Without indexing, since nobody else does that; `settings` are more lines of the account's `imap`."""
    config = common.archiver_config(user, directory, port, settings)
    command = common.archiver(config, "sync", "--no-index")
    return common.measure(command, environment={common.PASSWORD_VARIABLE: user.password})


def mbsync(user: User, port: int, directory: Path) -> common.Run:
    """New messages and changed flags, as archiver keeps them."""
    config = directory / "mbsyncrc"
    (directory / "mail").mkdir(parents=True, exist_ok=True)
    config.write_text(
        "FSync yes\n\n"
        "IMAPAccount server\n"
        f"Host {user.server.host}\nPort {port}\nUser {user.name}\nPass {user.password}\nSSLType None\n\n"
        "IMAPStore far\nAccount server\n\n"
        "MaildirStore near\n"
        f"Path {directory}/mail/\nInbox {directory}/mail/INBOX\nSubFolders Verbatim\n\n"
        "Channel pull\nFar :far:\nNear :near:\nPatterns *\n"
        "Sync Pull New Flags\nCreate Near\nExpunge None\nSyncState *\n",
        encoding="utf-8",
    )
    return common.measure(["mbsync", "--config", str(config), "--quiet", "pull"])


def bare(user: User, port: int, directory: Path) -> common.Run:
    """A loop over IMAPClient.fetch with plain writes, nothing durable and nothing remembered."""
    directory.mkdir(parents=True, exist_ok=True)
    arguments = [user.server.host, str(port), user.name, user.password, str(directory)]
    return common.measure([sys.executable, str(Path(__file__).with_name("bare.py")), *arguments])


def pulled(name: str, pull: Pull, user: User, port: int, directory: Path, count: int) -> common.Run:
    """One pull, told of; the benchmark ends when anything is missing from the directory afterwards."""
    os.sync()  # what others left to be written is not ours to wait for
    run = common.step(name, pull(user, port, directory))
    kept = sum(1 for path in directory.rglob("*") if path.parent.name in ("cur", "new"))
    if kept != count:
        sys.exit(f"{name} kept {kept} of {count} messages")
    return run
