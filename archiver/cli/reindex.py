"""archiver reindex"""

from __future__ import annotations

import click

from archiver.cli.app import Session, say
from archiver.cli.progress import meter
from archiver.cli.text import count
from archiver.errors import PartialError


@click.command()
@click.pass_obj
def command(session: Session) -> None:
    """Throw the index away and build it anew from the mail; interrupted, the next sync continues."""
    archive = session.archive()
    with session.stoppable(), meter() as progress:
        report = archive.reindex(progress.indexed)
    print(f"indexed {count(report.added, 'message')}")
    for lost in report.unreadable:
        say(f"not indexed: {lost.reason}")
    if report.unreadable:
        raise PartialError(
            f"{count(len(report.unreadable), 'message')} could not be read", hint="archiver verify says which"
        )
