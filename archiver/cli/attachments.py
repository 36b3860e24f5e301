"""archiver attachments"""

from __future__ import annotations

import click

from archiver.cli.app import Session, say
from archiver.cli.text import printable, size


@click.command()
@click.argument("id")
@click.option("--save", metavar="DIR", type=click.Path(), help="Write them into DIR; nothing is overwritten.")
@click.pass_obj
def command(session: Session, id: str, save: str | None) -> None:
    """List a message's attachments, or save them under safe names."""
    archive = session.archive()
    key = archive.resolve(id)
    if save is not None:
        for path in archive.save_attachments(key, save):
            print(printable(path))
        return
    attachments = archive.message(key).attachments
    for each in attachments:
        print(f"{each.part:<6} {size(each.size):>9}  {each.content_type:<32} {printable(each.filename)}")
    if not attachments:
        say("no attachments")
