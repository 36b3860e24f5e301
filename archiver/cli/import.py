"""archiver import"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli.app import Session, as_text, say
from archiver.cli.output import print_json
from archiver.cli.progress import meter
from archiver.cli.text import count, printable, size
from archiver.errors import ArchiverError, PartialError

if TYPE_CHECKING:
    from archiver.exchange import ImportReport

# So many of those that could not be taken, or were passed over, are printed.
_SHOWN = 10


@click.command(
    epilog="Exit codes: 0 all mail that was found is in the archive, 1 none of it could be taken, 2 usage,"
    " configuration, or PATH holds no mail, 3 some of it, 75 no space left, 130 or 143 interrupted: doing it"
    " again goes on."
)
@click.argument("path", metavar="PATH")
@click.option(
    "--account", required=True, metavar="NAME", callback=as_text, help="The account it becomes part of."
)
@click.option(
    "--folder",
    metavar="F",
    callback=as_text,
    help="Where mail without a folder goes, and below which folders go.",
)
@click.option(
    "--mbox",
    "dialect",
    type=click.Choice(["mboxrd", "mboxo", "mboxcl", "mboxcl2"]),
    help="How lines in an mbox are quoted; else it is found out.",
)
@click.option("--no-index", is_flag=True, help="Leave the index as it is.")
@click.option("--json", "as_json", is_flag=True, help="Print a report for programs.")
@click.pass_obj
def command(
    session: Session,
    path: str,
    account: str,
    folder: str | None,
    dialect: str | None,
    no_index: bool,
    as_json: bool,
) -> None:
    """Take mail of other programs into an account: mbox, Maildir, .eml files, or a .zip or .tar of those.

    The account needs no server, nor to be in the configuration. What its folder has already is passed over,
    so that doing it again after an interruption goes on. No server is ever asked about imported mail.
    """
    from archiver.exchange import DIALECTS

    archive = session.archive()
    with session.stoppable(), meter(quiet=as_json) as progress:
        report = archive.import_(
            path,
            account,
            folder=folder,
            dialect=next((each for each in DIALECTS if each == dialect), None),
            advance=progress.taken,
        )
        if not no_index:
            archive.feed_index(progress.indexed)
    if as_json:
        print_json(report)
    else:
        _print(report)
    _conclude(report)


def _print(report: ImportReport) -> None:
    rate = report.stored / max(report.seconds, 0.001)
    known = f", {report.known:,} there already" if report.known else ""
    print(
        f"{report.account}: {count(report.stored, 'new message')}, {size(report.bytes)},"
        f" {report.seconds:.1f} s, {rate:,.0f}/s{known}"
    )
    for name, messages in report.folders.items():
        print(f"  {printable(name)}: {count(messages, 'new message')}")
    if report.adopted:
        print(f"  {count(report.adopted, 'file')} of an interrupted run taken in")
    for path in report.passed_over[:_SHOWN]:
        say(f"no mail: {printable(path)}")
    if report.passed > _SHOWN:
        say(f"and {report.passed - _SHOWN:,} more files that hold no mail")
    for each in report.failures[:_SHOWN]:
        say(f"not taken: {printable(f'{each.where}: ' if each.where else '')}{printable(each.why)}")


def _conclude(report: ImportReport) -> None:
    if not report.failed:
        return
    what = "message or file" if report.failed == 1 else "messages or files"
    more = f"; the first {_SHOWN} are named" if report.failed > _SHOWN else ""
    kind = PartialError if report.stored or report.known else ArchiverError
    raise kind(f"{report.failed:,} {what} could not be taken{more}", hint="the rest is archived")
