"""archiver prune"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli.app import Session, as_text
from archiver.cli.output import print_json
from archiver.cli.text import count, moment, printable, size
from archiver.errors import InterruptedRun, PartialError

if TYPE_CHECKING:
    from archiver.prune import FolderPrune, PruneReport


@click.command(
    epilog="Exit codes: 0 all that was to go is gone, or would go, 1 failed, 2 usage or configuration, or a"
    " server that is not pruned, 3 some is not gone, since it could not be proven or the server would not,"
    " 75 temporary, 130 or 143 interrupted."
)
@click.argument("account", metavar="ACCOUNT")
@click.option(
    "--older-than", required=True, metavar="AGE", callback=as_text, help="By INTERNALDATE: 90d, 26w, 2y."
)
@click.option("--folder", metavar="F", callback=as_text, help="Only folders like this.")
@click.option("--yes-delete-from-server", is_flag=True, help="Delete; without it only say what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.pass_obj
def command(
    session: Session,
    account: str,
    older_than: str,
    folder: str | None,
    yes_delete_from_server: bool,
    as_json: bool,
) -> None:
    """Delete old mail from the server, so that the mailbox stays small; the archive keeps it.

    Only what is archived goes, its file read back and compared in this very run, and only what is not
    flagged. Without --yes-delete-from-server nothing is changed. Not on Gmail, nor without UIDPLUS.
    """
    archive = session.archive()
    with session.stoppable():
        report = archive.prune(account, older_than, folder, delete=yes_delete_from_server)
    if as_json:
        print_json(report)
    else:
        _print(report)
    _conclude(report, session.stopped())


def _print(report: PruneReport) -> None:
    for folder in report.folders:
        for message in folder.deleted:
            what = f"UID {message.uid}, {size(message.size)}, received {moment(message.received)}"
            print(printable(f"{message.key.hex()[:8]}  {report.account}/{folder.folder}  {what}"))
    for folder in report.folders:
        print(printable(f"{report.account}/{folder.folder}: {_amounts(folder, report.dry_run)}"))
        for unproven in folder.unproven:
            what = f"UID {unproven.uid} stays: its file is {unproven.reason}"
            print(printable(f"  {unproven.key.hex()[:8]}  {what}"))
    if report.dry_run:
        print("nothing was deleted; --yes-delete-from-server does it")


def _amounts(folder: FolderPrune, dry_run: bool) -> str:
    bytes_ = size(sum(message.size for message in folder.deleted))
    verb = "would delete" if dry_run else "deleted"
    parts = [f"{verb} {count(len(folder.deleted), 'message')} ({bytes_})"]
    kept = dict(folder.kept) | ({"not proven": len(folder.unproven)} if folder.unproven else {})
    if kept:
        parts.append("kept " + ", ".join(f"{number:,} {reason}" for reason, number in kept.items()))
    return "; ".join(parts) + (f": {folder.error.message}" if folder.error else "")


def _conclude(report: PruneReport, stopped: bool) -> None:
    deleted = sum(len(folder.deleted) for folder in report.folders)
    if stopped or isinstance(report.error, InterruptedRun):
        raise InterruptedRun(f"interrupted: {count(deleted, 'message')} deleted from the server")
    if not report.exit_code:
        return
    errors = [exc for exc in (report.error, *(folder.error for folder in report.folders)) if exc]
    if errors and not deleted:
        raise errors[0]
    hint = (errors[0].hint if errors else None) or "archiver verify --repair fetches what is lacking here"
    raise PartialError(f"not all that is old enough could go{f': {errors[0]}' if errors else ''}", hint=hint)
