"""archiver outbox"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from archiver.cli.app import Session, say
from archiver.cli.output import print_json
from archiver.cli.sent import conclude, one_line_each
from archiver.cli.text import count, moment, printable
from archiver.errors import ArchiverError

if TYPE_CHECKING:
    from archiver.store.user import OutboxMessage, Recipient

_EPILOG = (
    "Exit codes: 0 done, 1 the user database cannot be read, or a retry was not taken, 2 usage or"
    " configuration, or no such message, 3 a retry was taken for some, 75 a retry may do later."
)
_OPEN = click.option(
    "--open", "open_only", is_flag=True, help="Only what is neither sent nor refused for good."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
_NUMBER = click.argument("number", type=click.IntRange(1), metavar="NUMBER")
_TO = click.option("--to", multiple=True, metavar="ADDR", help="Only this recipient; repeatable.")


@click.group(
    epilog=_EPILOG,
    subcommand_metavar="[list | show NUMBER | retry NUMBER | cancel NUMBER]",
    invoke_without_command=True,
    no_args_is_help=False,
)
@_OPEN
@_JSON
@click.pass_context
def command(context: click.Context, open_only: bool, as_json: bool) -> None:
    """Show what was sent again, newest first, and what became of it; decide about what was not.

    queued: never begun; sent: the server took it; deferred: not taken, may be tried again; failed: refused;
    unknown: begun, and nobody can tell whether the server has it.
    """
    if context.invoked_subcommand is None:
        _list(context.obj, open_only, as_json)


@command.command("list", epilog=_EPILOG, short_help="All messages, newest first")
@_OPEN
@_JSON
@click.pass_obj
def every(session: Session, open_only: bool, as_json: bool) -> None:
    """List the messages of the outbox, newest first; the same as archiver outbox alone."""
    _list(session, open_only, as_json)


def _list(session: Session, open_only: bool, as_json: bool) -> None:
    messages = session.archive().outbox(open_only=open_only)
    if as_json:
        print_json([_for_programs(message) for message in messages])
        return
    for message in messages:
        _print(message)
    if not messages:
        say("the outbox is empty")


@command.command(epilog=_EPILOG, short_help="One message")
@_NUMBER
@_JSON
@click.pass_obj
def show(session: Session, number: int, as_json: bool) -> None:
    """Show one message of the outbox, its originals, and when what is deferred is tried again."""
    message = session.archive().outbox_message(number)
    if as_json:
        print_json(_for_programs(message))
        return
    _print(message)
    form = _form(message)
    print(printable(f"    as {form} from {message.sender}"))
    for key in message.originals:
        print(f"    of {key.hex()}")


@command.command(epilog=_EPILOG, short_help="Send it once more")
@_NUMBER
@_TO
@click.option("--queue", is_flag=True, help="Leave the sending to archiver run.")
@click.pass_obj
def retry(session: Session, number: int, to: tuple[str, ...], queue: bool) -> None:
    """Send a message of the outbox to all who are not known to have it, the same bytes as before.

    Those whose outcome is unknown may get it a second time: that is your decision.
    """
    archive = session.archive()
    chosen = archive.retry(number, to)
    if not chosen:
        raise ArchiverError(f"nobody is left to whom message {number} could be sent", hint=_SHOWN)
    if queue:
        say(f"{count(chosen, 'recipient')} queued: archiver run sends it")
        return
    with session.stoppable():
        report = archive.send_again([number], one_line_each)
    conclude(report, session.stopped())


@command.command(epilog=_EPILOG, short_help="Never send what is left of it")
@_NUMBER
@_TO
@click.pass_obj
def cancel(session: Session, number: int, to: tuple[str, ...]) -> None:
    """Never send what is queued or deferred of a message, and ask no more about what is unknown."""
    chosen = session.archive().cancel(number, to)
    if not chosen:
        raise ArchiverError(f"nothing is left to cancel of message {number}", hint=_SHOWN)
    print(f"{count(chosen, 'recipient')} of message {number}: cancelled")


_SHOWN = "archiver outbox show NUMBER has every recipient"


def _form(message: OutboxMessage) -> str:
    from archiver.resend.recipe import unpacked

    return unpacked(message.recipe).form if message.recipe else "resent"


def _for_programs(message: OutboxMessage) -> dict[str, Any]:
    return {
        "outbox_id": message.id,
        "key": message.key.hex(),
        "originals": [key.hex() for key in message.originals],
        "as": _form(message),
        "message_id": message.message_id,
        "via": message.via,
        "from": message.sender,
        "created": message.created,
        "recipients": message.recipients,
    }


def _print(message: OutboxMessage) -> None:
    more = f" and {len(message.originals) - 1} more" if len(message.originals) > 1 else ""
    what = f"{message.key.hex()[:8]}{more}"
    print(f"{message.id}  {moment(message.created)}  {what}  via {message.via}  {message.message_id}")
    for to in message.recipients:
        print(f"    {to.status:<8}  {printable(to.address)}{_told(to)}")


def _told(to: Recipient) -> str:
    reply = f" ({printable(to.reply)})" if to.reply else ""
    return reply + (f", again from {moment(to.due)} on" if to.due is not None else "")
