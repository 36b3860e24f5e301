"""archiver reindex"""

from __future__ import annotations

import click

from archiver.cli.app import Session
from archiver.cli.outcome import done, say_unread
from archiver.cli.progress import meter
from archiver.cli.text import count
from archiver.errors import PartialError


@click.command(
    epilog="Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 some messages could not be read,"
    " 75 no space left, 130 or 143 interrupted."
)
@click.option("--anew", is_flag=True, help="Begin again, even where one was interrupted.")
@click.pass_obj
def command(session: Session, anew: bool) -> None:
    """Throw the index away and build it anew from the mail, newest first.

    Meanwhile a search finds what is indexed so far. Interrupted, it goes on where it stopped, with the next
    reindex or sync.
    """
    archive = session.archive()
    with session.stoppable(), meter() as progress:
        report = archive.reindex(progress.indexed, anew=anew)
    print(done(report))
    say_unread(report)
    if report.unreadable:
        raise PartialError(
            f"{count(len(report.unreadable), 'message')} could not be read", hint="archiver verify says which"
        )
