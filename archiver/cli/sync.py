"""archiver sync"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli.app import Session, as_text
from archiver.cli.outcome import conclude, done, print_errors, say_unread
from archiver.cli.output import print_json
from archiver.cli.progress import meter
from archiver.cli.text import count, printable, size
from archiver.errors import PartialError

if TYPE_CHECKING:
    from archiver.archive.reports import SyncReport
    from archiver.pull import AccountReport, FolderReport


@click.command(
    epilog="Exit codes: 0 all is home and indexed, 1 failed, 2 usage or configuration, 3 done in part: the"
    " report says what is missing, 75 a server or the disk cannot be used now, 130 or 143 interrupted."
)
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]...")
@click.option(
    "--folder",
    "folders",
    multiple=True,
    metavar="F",
    callback=as_text,
    help="Only folders like this glob; repeatable.",
)
@click.option("--no-index", is_flag=True, help="Leave the index as it is.")
@click.option("--json", "as_json", is_flag=True, help="Print a report for programs.")
@click.pass_obj
def command(
    session: Session, accounts: tuple[str, ...], folders: tuple[str, ...], no_index: bool, as_json: bool
) -> None:
    """Pull new mail of all accounts, or of those named, then index it.

    Nothing is changed on the server, and nothing stored is deleted. Ctrl-C stops after the batch in hand;
    the next run continues there.
    """
    archive = session.archive()
    with session.stoppable(), meter(quiet=as_json) as progress:
        report = archive.sync(
            accounts, folders=folders, index=not no_index, progress=progress, indexed=progress.indexed
        )
    if as_json:
        print_json(report)
    else:
        _print(report)
    _conclude(report)


def _print(report: SyncReport) -> None:
    for account in report.accounts:
        print(_summary(account))
        if account.other_mailbox:
            print("  another mailbox than before: all its folders were compared from the start")
        for folder in account.folders:
            for line in _details(folder):
                print(f"  {printable(folder.folder)}: {printable(line)}")
    if report.index and report.index.added:
        print(done(report.index))
    if report.index:
        say_unread(report.index)


def _summary(account: AccountReport) -> str:
    stored, bytes_ = account.total("stored"), account.total("bytes")
    if not stored:
        done = "nothing new"
    else:
        rate = stored / max(account.seconds, 0.001)
        spared = account.total("spared")
        known = f" ({spared:,} not downloaded)" if spared else ""
        done = (
            f"{count(stored, 'new message')}{known}, {size(bytes_)}, {account.seconds:.1f} s, {rate:,.0f}/s"
        )
    changes = [
        f"{account.total(field):,} {words}"
        for field, words in (("flags", "changed flags"), ("gone", "gone from the server"))
        if account.total(field)
    ]
    return f"{account.account}: {', '.join([done, *changes])} in {count(account.checked, 'folder')}"


def _details(folder: FolderReport) -> list[str]:
    lines = []
    if folder.stored:
        same = f", {folder.linked:,} of them kept already" if folder.linked else ""
        spared = f", {folder.spared:,} not downloaded" if folder.spared else ""
        lines.append(f"{count(folder.stored, 'new message')}{same}{spared}")
    if folder.renamed:
        lines.append(f"renamed, it was {folder.renamed}")
    if folder.new_epoch:
        lines.append(
            f"the server numbers its messages anew (UIDVALIDITY); {folder.claimed:,} known again by content"
        )
    if folder.adopted:
        lines.append(f"{count(folder.adopted, 'file')} of an interrupted run taken in")
    if folder.waiting:
        lines.append(f"{count(folder.waiting, 'message')} not handed out by the server, tried again later")
    if folder.unlisted:
        lines.append(f"{count(folder.unlisted, 'message')} the server counts but does not show")
    lines += [f"damaged file: {path}" for path in folder.damaged]
    if folder.error:
        lines.append(f"not pulled: {folder.error}")
    return lines


def _conclude(report: SyncReport) -> None:
    """Nothing when all is well; else the error that says how much is not."""
    if report.index_error:
        print_errors(report.errors.values())
        raise report.index_error
    conclude(report.errors, len(report.errors) + len(report.accounts), "pulled")
    incomplete = [account.account for account in report.accounts if not account.complete]
    if incomplete or (report.index and report.index.unreadable):
        raise PartialError(
            f"not everything came home: {', '.join(incomplete) or 'index'}",
            hint="archiver status shows what is waiting; it is tried again",
        )
