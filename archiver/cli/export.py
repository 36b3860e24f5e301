"""archiver export"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli.app import Session, as_text, say
from archiver.cli.output import print_json
from archiver.cli.progress import meter
from archiver.cli.selection import chosen
from archiver.cli.text import count, printable, size
from archiver.errors import PartialError, UsageError

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.exchange import ExportReport, Wanted

# So many of those that differ, or that could not be read, are printed.
_SHOWN = 10


@click.command(
    epilog="Exit codes: 0 done, 1 failed, 2 usage, configuration, no such message, or PATH is there already,"
    " 3 some messages could not be read, 75 no space left, 130 or 143 interrupted: nothing is left of it."
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--to", "path", required=True, metavar="PATH", help="The new file or directory.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["mbox", "maildir", "eml", "zip"]),
    help="mbox, Maildirs, a tree of .eml files, or a .zip of them; else PATH tells.",
)
@click.option("--query", metavar="Q", callback=as_text, help="Every message this query finds.")
@click.option("--from-file", "file", metavar="FILE", help="Ids, one a line; - is standard input.")
@click.option("--account", metavar="NAME", callback=as_text, help="Everything of this account.")
@click.option(
    "--folder",
    "folders",
    multiple=True,
    metavar="F",
    callback=as_text,
    help="Everything in folders like this glob; repeatable.",
)
@click.option("--flat", is_flag=True, help="All in one directory, each message once.")
@click.option("--json", "as_json", is_flag=True, help="Print a report for programs.")
@click.pass_obj
def command(
    session: Session,
    ids: tuple[str, ...],
    path: str,
    format_: str | None,
    query: str | None,
    file: str | None,
    account: str | None,
    folders: tuple[str, ...],
    flat: bool,
    as_json: bool,
) -> None:
    """Write messages to a new file or directory: those named, or all of an account or of folders.

    ID is as for archiver show. Nothing is overwritten, and PATH is there when it is whole. A .zip, .eml
    files and Maildirs come back byte for byte with archiver import; what an mbox changes is reported.
    """
    from archiver.exchange import FORMATS, guess_format

    named = next((each for each in FORMATS if each == format_), None) or guess_format(path)
    archive = session.archive()
    wanted = _wanted(archive, ids, query, file, account, folders, flat)
    with session.stoppable(), meter(quiet=as_json) as progress:
        report = archive.export(
            wanted,
            path,
            named,
            expect=lambda messages: progress.expect("export", "", messages),
            advance=lambda messages, bytes_: progress.stored("export", messages, bytes_),
        )
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report.failed:
        raise PartialError(
            f"{count(report.failed, 'message')} could not be read", hint="archiver verify says which, and why"
        )


def _wanted(
    archive: Archive,
    ids: tuple[str, ...],
    query: str | None,
    file: str | None,
    account: str | None,
    folders: tuple[str, ...],
    flat: bool,
) -> Wanted:
    from archiver.exchange import Wanted

    named = bool(ids) or query is not None or file is not None
    everything = account is not None or bool(folders)
    if named and everything:
        raise UsageError(
            "messages and folders cannot both be named", hint="a query can: account:NAME folder:F and more"
        )
    if everything:
        return Wanted(account=account, folders=folders, flat=flat)
    if not named:
        raise UsageError(
            "nothing to export", hint="give ids, --query, --from-file, or everything of --account or --folder"
        )
    keys = chosen(archive, ids, query, file)
    if not keys:
        raise UsageError("nothing was found to export", hint="try the query with archiver search")
    return Wanted(keys=keys, flat=flat)


def _print(report: ExportReport) -> None:
    folders = f" in {count(report.folders, 'folder')}" if report.folders else ""
    rate = report.messages / max(report.seconds, 0.001)
    print(
        f"exported {count(report.messages, 'message')}{folders}, {size(report.bytes)},"
        f" {report.seconds:.1f} s, {rate:,.0f}/s: {printable(report.path)}"
    )
    if report.differing:
        print(f"{count(report.differing, 'message')} will come back with other line ends or a new last one:")
        _keys(report.altered, report.differing)
        say("a .zip, .eml files or Maildirs keep every byte")
    for each in report.failures[:_SHOWN]:
        say(f"not exported: {printable(each.why)}")


def _keys(keys: list[str], total: int) -> None:
    for key in keys[:_SHOWN]:
        print(f"  {key[:12]}")
    if total > _SHOWN:
        print(f"  and {total - _SHOWN:,} more; --json names them")
