"""archiver verify"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli.app import Session
from archiver.cli.output import print_json
from archiver.cli.progress import meter
from archiver.cli.text import count, printable, size
from archiver.errors import ArchiverError, PartialError

if TYPE_CHECKING:
    from archiver.archive.reports import Repaired
    from archiver.verify import Finding, VerifyReport


@click.command(
    epilog="Exit codes: 0 nothing is missing, 1 something is, 2 usage or configuration, 3 mended but for what"
    " no server could be asked for, 130 or 143 interrupted."
)
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]...")
@click.option("--repair", is_flag=True, help="Mend what differs; nothing is deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.pass_obj
def command(session: Session, accounts: tuple[str, ...], repair: bool, as_json: bool) -> None:
    """Compare every place with its file, every file with its hash, every message with the index.

    Nothing is changed. With --repair, each difference is mended as it is listed: files are linked, fetched
    again, set aside in quarantine or taken in, messages indexed.
    """
    archive = session.archive()
    with session.stoppable(), meter(quiet=as_json) as progress:
        result = archive.verify(accounts, repair=repair, advance=progress.read)
    if as_json:
        print_json(result)
    else:
        _print(result)
    final = result.left or result.found
    lost = [finding for finding in final.findings if not finding.harmless]
    if lost:
        raise ArchiverError(
            f"{count(len(lost), 'difference')} found",
            hint="what is left cannot be had again" if repair else "archiver verify --repair mends them",
        )
    if result.sync and result.sync.errors:
        raise PartialError("not everything could be fetched again", hint="archiver sync tries it again")


def _print(result: Repaired) -> None:
    _counts(result.found)
    for finding in result.found.findings:
        print(f"  {_line(finding)}")
    if result.left is None:
        return
    errors = result.sync.errors if result.sync else {}
    for exc in errors.values():
        print(f"fetching again failed: {printable(str(exc))}")
    print("after the repair:")
    _counts(result.left)
    for finding in result.left.findings:
        print(f"  {_line(finding)}")


def _counts(report: VerifyReport) -> None:
    print(
        f"{count(report.places, 'place')} in {count(report.folders, 'folder')}, {count(report.files, 'file')}"
        f" ({size(report.bytes)}) read, {report.indexed:,} of {count(report.documents, 'document')} indexed:"
        f" {count(len(report.findings), 'difference')}"
    )


def _line(finding: Finding) -> str:
    from archiver.verify import REMEDIES

    where = "/".join(part for part in (finding.account, finding.folder) if part)
    uid = f" UID {finding.uid}" if finding.uid else ""
    what = finding.detail or finding.path or finding.key[:12]
    return printable(f"{finding.kind}: {where}{uid} {what} -> {REMEDIES[finding.kind]}")
