"""archiver verify"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli.app import Session
from archiver.cli.outcome import conclude, print_errors
from archiver.cli.output import print_json
from archiver.cli.progress import meter
from archiver.cli.text import count, cut, printable, size
from archiver.errors import ArchiverError, PartialError

if TYPE_CHECKING:
    from archiver.archive.reports import Repaired
    from archiver.verify import Finding, VerifyReport

_UIDS_WIDTH = 60
# More messages that are not indexed than these are told of in one line.
_MANY = 10


@click.command(
    epilog="Exit codes: 0 nothing is missing, 1 something is, 2 usage or configuration, 3 mended, or compared"
    " with servers, but for what no server could be asked for, 75 no server could be asked, and trying again"
    " may help, 130 or 143 interrupted."
)
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]...")
@click.option("--server", is_flag=True, help="Compare with what the accounts' servers have, too.")
@click.option("--repair", is_flag=True, help="Mend what differs; nothing is deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.pass_obj
def command(session: Session, accounts: tuple[str, ...], server: bool, repair: bool, as_json: bool) -> None:
    """Compare every place with its file, every file with its hash, every message with the index.

    With --server, every UID the server has in the folders that are pulled with those that are archived.

    Nothing is changed. With --repair, each difference is mended as it is listed: files are linked, fetched
    again, set aside in quarantine or taken in, messages indexed, folders pulled.
    """
    archive = session.archive()
    with session.stoppable(), meter(quiet=as_json) as progress:
        result = archive.verify(accounts, repair=repair, server=server, advance=progress.read)
    if as_json:
        print_json(result)
    else:
        _print(result)
    _conclude(result, repair)


def _conclude(result: Repaired, repair: bool) -> None:
    """Nothing when nothing is missing, and every server could be asked that was to be; else the error."""
    final = result.left or result.found
    lost = [finding for finding in final.findings if not finding.harmless]
    unasked = result.sync is not None and bool(result.sync.errors)
    if lost and not unasked:
        print_errors(final.server.errors.values() if final.server else ())
        raise ArchiverError(f"{_differences(final.findings)} found", hint=_hint(lost, final, repair))
    if final.server:
        conclude(final.server.errors, final.server.accounts, "compared with their servers")
    if unasked:
        raise PartialError("not everything could be fetched again", hint="archiver sync tries it again")


def _differences(findings: list[Finding]) -> str:
    harmless = sum(finding.harmless for finding in findings)
    return count(len(findings), "difference") + (f", {harmless:,} of them harmless" if harmless else "")


def _hint(lost: list[Finding], report: VerifyReport, repair: bool) -> str:
    from archiver.verify import REMEDIES

    if all(REMEDIES[finding.kind].startswith("nothing") for finding in lost):
        return "beside each is what can be done"
    if not repair:
        return f"archiver verify {'--server ' if report.server else ''}--repair mends them"
    if all(finding.kind == "missing" for finding in lost):
        return "what is left cannot be had again"
    return "what is left is not mended from here; beside each is what can be done"


def _print(result: Repaired) -> None:
    _counts(result.found)
    _list(result.found)
    if result.left is None:
        return
    errors = result.sync.errors if result.sync else {}
    for exc in errors.values():
        print(f"fetching again failed: {printable(str(exc))}")
    print("after the repair:")
    _counts(result.left)
    _list(result.left)


def _list(report: VerifyReport) -> None:
    """A line for each difference; one for all messages that are not indexed, where they are many."""
    from archiver.verify import REMEDIES

    unindexed = [finding for finding in report.findings if finding.kind == "unindexed" and finding.key]
    many = len(unindexed) > _MANY
    for finding in report.findings:
        if not (many and finding.kind == "unindexed" and finding.key):
            print(f"  {_line(finding)}")
    if many:
        print(f"  unindexed: {count(len(unindexed), 'message')} -> {REMEDIES['unindexed']}")


def _counts(report: VerifyReport) -> None:
    parts = [
        f"{count(report.places, 'place')} in {count(report.folders, 'folder')}",
        f"{count(report.files, 'file')} ({size(report.bytes)}) read",
        f"{report.indexed:,} of {count(report.documents, 'document')} indexed",
    ]
    if report.server:
        messages, folders = count(report.server.messages, "message"), count(report.server.folders, "folder")
        parts.append(f"{messages} in {folders} compared with the server")
    print(f"{', '.join(parts)}: {_differences(report.findings)}")


def _line(finding: Finding) -> str:
    from archiver.verify import REMEDIES

    where = "/".join(part for part in (finding.account, finding.folder) if part)
    uids = str(finding.uid or "") or cut(finding.uids, _UIDS_WIDTH)
    what = [
        f"UID {uids}" if uids else "",
        count(finding.messages, "message") if finding.messages else "",
        finding.detail or finding.path or finding.key[:12],
    ]
    words = " ".join(part for part in (where, *what) if part)
    return printable(f"{finding.kind}: {words} -> {REMEDIES[finding.kind]}")
