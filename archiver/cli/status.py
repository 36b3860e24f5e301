"""archiver status"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from archiver.cli.app import Session
from archiver.cli.output import print_json
from archiver.cli.text import count, moment, printable, size, span

if TYPE_CHECKING:
    from archiver.archive.reports import AccountStatus, StatusReport


# Turns wait for a free thread, and for each other.
_PUNCTUAL = 60


@click.command(
    epilog="Exit codes: 0 shown, whatever it says, 1 the ledger cannot be read, 2 usage or configuration."
)
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.option("--folders", is_flag=True, help="A line for each folder.")
@click.pass_obj
def command(session: Session, as_json: bool, folders: bool) -> None:
    """Show what is archived: messages, bytes, the last good run and its age, the last error, the next run.

    Asks no server. The next run, and what is listened to for push, are known while archiver run is there.
    """
    report = session.archive().status()
    if as_json:
        print_json(report)
        return
    _print(report)
    for account in report.accounts:
        _account(account, report.daemon is not None, folders)


def _late(account: AccountStatus) -> float:
    """For how many seconds a run that was due has not begun, be it that its daemon was killed; 0 for none."""
    late = time.time() - (account.next_run or float("inf"))
    return late if late > _PUNCTUAL and (account.started or 0) < (account.next_run or 0) else 0


def _print(report: StatusReport) -> None:
    print(f"archive   {printable(report.archive)}: {count(report.documents, 'message')}")
    print(f"schedule  {f'running ({report.daemon})' if report.daemon else 'not running (archiver run)'}")
    if report.pending:
        print(f"index     {count(report.pending, 'message')} behind")


def _account(account: AccountStatus, daemon: bool, folders: bool) -> None:
    live = sum(f.messages for f in account.folders)
    gone = sum(f.gone for f in account.folders)
    held = size(sum(f.bytes for f in account.folders))
    note = "" if account.configured else " (not in the configuration)"
    print(f"\n{account.name}{note}")
    gone_note = f", {gone:,} more gone from the server" if gone else ""
    print(
        f"  holds      {count(live, 'message')} in {count(len(account.folders), 'folder')}, {held}{gone_note}"
    )
    age = f", {span(time.time() - account.succeeded)} ago" if account.succeeded else ""
    print(f"  last good  {moment(account.succeeded)}{age}")
    if account.error:
        print(f"  last error {printable(account.error)} ({moment(account.finished)})")
    if account.failed:
        print(
            f"  waiting    {count(account.failed, 'message')} the server did not hand out, to be tried again"
        )
    if late := _late(account):
        print(f"  overdue    since {moment(account.next_run)}, {span(late)}: does archiver run go on?")
    elif daemon and account.next_run:
        print(f"  next run   {moment(account.next_run)}")
    if account.push:
        print(f"  push       {printable(account.push.text)}, since {moment(account.push.since)}")
    for folder in account.folders if folders else ():
        gone_note = f" (+{folder.gone:,} gone)" if folder.gone else ""
        print(f"    {folder.messages:>9,}{gone_note}  {size(folder.bytes):>8}  {printable(folder.name)}")
    for folder in account.folders:
        if folder.error:
            print(f"    {printable(folder.name)}: {printable(folder.error)}")
