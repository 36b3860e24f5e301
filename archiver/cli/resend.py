"""archiver resend"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from archiver.cli.app import Session, as_text, say
from archiver.cli.text import count, moment, one_line, printable, size
from archiver.errors import ArchiverError, InterruptedRun, PartialError, UsageError

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.resend import MessageReport, Report


@click.command(
    epilog="Exit codes: 0 the server took every message for every recipient, 1 none, or you said no, 2 usage,"
    " configuration or no such message, 3 some, 75 none, and trying again may help, 130 or 143 interrupted:"
    " what was not begun stays queued."
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--to", "recipients", multiple=True, required=True, metavar="ADDR", help="A recipient; repeatable."
)
@click.option("--via", metavar="NAME", help="The sending server; else the first of the configuration.")
@click.option(
    "--query", metavar="Q", callback=as_text, help="Every message this query finds, after a question."
)
@click.option("--dry-run", is_flag=True, help="Say what would go where; send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def command(
    session: Session,
    ids: tuple[str, ...],
    recipients: tuple[str, ...],
    via: str | None,
    query: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Send messages again, byte for byte, behind a Resent block that says by whom (RFC 5322, 3.6.6).

    ID is as for archiver show. The sender is the from: of the sending server. Intent and outcome of every
    recipient are kept: archiver outbox shows them.
    """
    from archiver.smtp import mailbox

    archive = session.archive()
    name, server = archive.via(via)
    for recipient in recipients:
        mailbox(recipient)
    keys = _selection(archive, ids, query)
    if dry_run:
        _preview(archive, keys)
        to = ", ".join(dict.fromkeys(recipients))
        print(f"would send {count(len(keys), 'message')} as {server.from_} via {name} to {printable(to)}")
        return
    if query is not None and not yes:
        _confirm(len(keys), recipients)
    with session.stoppable():
        report = archive.resend(keys, recipients, name, done=_print)
    _conclude(report, session.stopped())


def _selection(archive: Archive, ids: tuple[str, ...], query: str | None) -> list[bytes]:
    if not ids and query is None:
        raise UsageError("nothing to send", hint="give ids, or --query")
    keys = [archive.resolve(text) for text in ids]
    if query is not None:
        keys += archive.search_keys(query)
    if not keys:
        raise UsageError("the query finds nothing to send", hint="try it with archiver search")
    return list(dict.fromkeys(keys))


def _preview(archive: Archive, keys: list[bytes]) -> None:
    for key in keys:
        wire = archive.wire(key)
        message = archive.message(key)
        date = moment(message.date) if message.date is not None else "no date"
        print(f"{key.hex()[:8]}  {date}  {size(len(wire)):>8}  {one_line(message.subject, 80)}")


def _confirm(number: int, recipients: tuple[str, ...]) -> None:
    to = printable(", ".join(recipients))
    if not sys.stdin.isatty():
        raise UsageError(
            f"{count(number, 'message')} would go to {to}, and nobody can be asked", hint="add --yes to send"
        )
    if not click.confirm(f"Send {count(number, 'message')} to {to}?", err=True):
        raise ArchiverError("nothing was sent: you said no")


def _print(report: MessageReport) -> None:
    for outcome in report.outcomes:
        reply = f" ({printable(outcome.reply)})" if outcome.reply else ""
        print(f"{report.key.hex()[:8]}  {outcome.status:<8}  {printable(outcome.address)}{reply}")


def _conclude(report: Report, stopped: bool) -> None:
    if report.orphans:
        say(f"{count(report.orphans, 'recipient')} of an earlier, killed run: unknown; see archiver outbox")
    sent, total = report.count("sent"), len(report.messages) * report.recipients
    if sent == total:
        return
    if stopped:
        raise InterruptedRun(f"interrupted: {sent} of {total} deliveries were taken by the server")
    if report.error and not sent:
        raise report.error
    reasons = {o.reply for message in report.messages for o in message.outcomes if o.status != "sent"}
    why = f": {reasons.pop()}" if len(reasons) == 1 else f": {report.error}" if report.error else ""
    hints = dict.fromkeys(message.hint for message in report.messages if message.hint)
    error = (PartialError if sent else ArchiverError)(
        f"{sent} of {total} deliveries were taken by the server{why}",
        hint="; ".join([*hints, "archiver outbox has every outcome"]),
    )
    error.exit_code = report.exit_code
    raise error
