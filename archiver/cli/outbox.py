"""archiver outbox"""

from __future__ import annotations

import click

from archiver.cli.app import Session, say
from archiver.cli.output import print_json
from archiver.cli.text import moment, printable


@click.command(
    epilog="Exit codes: 0 shown, whatever it says, 1 the user database cannot be read, 2 usage or"
    " configuration."
)
@click.option("--open", "open_only", is_flag=True, help="Only what is neither sent nor refused for good.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.pass_obj
def command(session: Session, open_only: bool, as_json: bool) -> None:
    """Show what was sent again, newest first, and what became of it.

    queued: never begun; sent: the server took it; deferred: not taken, may be tried again; failed: refused;
    unknown: begun, and nobody can tell whether the server has it.
    """
    messages = session.archive().outbox(open_only=open_only)
    if as_json:
        print_json(
            [
                {
                    "outbox_id": m.id,
                    "key": m.key.hex(),
                    "message_id": m.message_id,
                    "via": m.via,
                    "from": m.sender,
                    "created": m.created,
                    "recipients": m.recipients,
                }
                for m in messages
            ]
        )
        return
    for message in messages:
        print(f"{moment(message.created)}  {message.key.hex()[:8]}  via {message.via}  {message.message_id}")
        for to in message.recipients:
            reply = f" ({printable(to.reply)})" if to.reply else ""
            print(f"    {to.status:<8}  {printable(to.address)}{reply}")
    if not messages:
        say("the outbox is empty")
