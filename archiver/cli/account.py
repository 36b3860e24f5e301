"""archiver account"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from archiver.cli.app import Session, say
from archiver.cli.output import print_json
from archiver.cli.text import pad, printable

if TYPE_CHECKING:
    from archiver.archive.accounts import Mailbox

_EPILOG = "Exit codes: 0 done, 1 the ledger cannot be used, 2 usage or configuration."


@click.group(epilog=_EPILOG, subcommand_metavar="list | same NAME", no_args_is_help=False)
def command() -> None:
    """Show whose mailbox each account is; say that it is the same one under another name."""


@command.command("list", epilog=_EPILOG, short_help="Show whose mailbox each account is")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.pass_obj
def show(session: Session, as_json: bool) -> None:
    """List the accounts, and where the configuration names another mailbox than before."""
    mailboxes = session.archive().mailboxes()
    if as_json:
        print_json(mailboxes)
        return
    width = max((len(mailbox.name) for mailbox in mailboxes), default=0)
    for mailbox in mailboxes:
        print(f"{pad(mailbox.name, width)}  {printable(_described(mailbox))}")
    if not mailboxes:
        say("no account in the configuration")


def _described(mailbox: Mailbox) -> str:
    now = f"{mailbox.user} on {mailbox.host}"
    kept = f"{mailbox.kept_user} on {mailbox.kept_host}"
    if mailbox.state == "other":
        return f"{now}: another mailbox than before, {kept}"
    if mailbox.state == "new":
        return f"{now}: not pulled yet"
    if mailbox.state == "unconfigured":
        return f"{kept}: not in the configuration" if mailbox.kept_host else "not in the configuration"
    return now


@command.command(epilog=_EPILOG, short_help="Say that NAME is the same mailbox as before")
@click.argument("name", metavar="NAME")
@click.pass_obj
def same(session: Session, name: str) -> None:
    """Say that an account is still the same mailbox, though its host or user changed.

    For a provider that renamed its server: the next sync goes on where the last one ended. Without it all
    folders are compared from the start, which loses nothing and takes as long as a first pull. Never say it
    of a mailbox with other messages: those with numbers that are known already would be missed.
    """
    before = session.archive().same_mailbox(name)
    now = f"{before.user} on {before.host}"
    if before.state == "other":
        print(printable(f"{name}: {now} is the mailbox that was {before.kept_user} on {before.kept_host}"))
    elif before.state == "new":
        say(printable(f"{name}: nothing was pulled yet, so there is nothing to say"))
    else:
        say(printable(f"{name}: {now} is the mailbox it was before; nothing to do"))
