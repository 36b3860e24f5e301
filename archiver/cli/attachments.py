"""archiver attachments"""

from __future__ import annotations

import click

from archiver.cli.app import Session, say
from archiver.cli.output import print_path
from archiver.cli.text import printable, size


@click.command(
    epilog="Exit codes: 0 done, also without any attachment, 1 cannot be read or written, 2 no such message"
    " or usage, 75 no space left."
)
@click.argument("id")
@click.option("--save", metavar="DIR", help="Write them into DIR, made if needed; nothing is overwritten.")
@click.pass_obj
def command(session: Session, id: str, save: str | None) -> None:
    """List a message's attachments, or save them under safe names.

    ID is as for archiver show. The list has each one's part number, size, type and name; --save prints the
    path of each file written. A name that is taken gets a number; no link is followed.
    """
    archive = session.archive()
    key = archive.resolve(id)
    if save is not None:
        saved = 0
        for path in archive.save_attachments(key, save):
            print_path(path)
            saved += 1
        if not saved:
            say("no attachments")
        return
    attachments = archive.message(key).attachments
    for each in attachments:
        name = printable(each.filename) or "(no name)"
        print(f"{each.part:<6} {size(each.size):>9}  {printable(each.content_type):<32} {name}")
    if not attachments:
        say("no attachments")
