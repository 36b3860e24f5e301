"""archiver resend"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from archiver.cli.app import Session, as_text, say
from archiver.cli.selection import chosen
from archiver.cli.sent import conclude, one_line_each, wait_for
from archiver.cli.text import count, moment, one_line, printable, size
from archiver.errors import ArchiverError, PartialError, RepeatError, UsageError

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.archive.sending import Order, Plan
    from archiver.resend import Report

# A selection of more messages than these is asked about, and so is what a query finds.
_MANY = 10
_LIMIT = 1000
_WAYS = ("resent", "attachment", "file", "original")


def _span(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float:
    from archiver.config import Duration

    try:
        return Duration.parse(value) if value else 0.0
    except ValueError as exc:
        raise click.BadParameter(str(exc), ctx, parameter) from None


def _size(ctx: click.Context, parameter: click.Parameter, value: str) -> int:
    from archiver.config.structs import Size

    try:
        return Size.parse(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc), ctx, parameter) from None


def _word(text: str) -> str:
    return text.upper()


@click.command(
    epilog="Exit codes: 0 the server took every message for every recipient, or with --queue the outbox did,"
    " 1 none, or you said no, 2 usage, configuration, no such message, or sent before, 3 some, 75 none, and"
    " trying again may help, 130 or 143 interrupted: what was not begun stays queued."
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--to", "to", multiple=True, required=True, metavar="ADDR", help="A recipient; repeatable.")
@click.option("--cc", multiple=True, metavar="ADDR", help="One who gets a copy; repeatable.")
@click.option("--bcc", multiple=True, metavar="ADDR", help="One whom no other sees; repeatable.")
@click.option("--via", metavar="NAME", help="The sending server; else the first of the configuration.")
@click.option(
    "--as",
    "form",
    type=click.Choice(_WAYS),
    default="resent",
    show_default=True,
    help="How: behind a Resent block; as it was, in your envelope alone; or in a new message of yours, as an"
    " attached message, or as a file, which goes anywhere.",
)
@click.option("--subject", callback=as_text, help="Of a new message; $subject, $from, $date, $count.")
@click.option("--note", callback=as_text, help="The text of a new message; the same names.")
@click.option(
    "--template",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="Subject and text of a new message: Subject: ..., a blank line, the text.",
)
@click.option(
    "--message-size",
    default="20M",
    show_default=True,
    callback=_size,
    metavar="SIZE",
    help="Originals in one new message, at most.",
)
@click.option("--drop-bcc", is_flag=True, help="Leave out the original's Bcc lines.")
@click.option(
    "--drop-delivered-to",
    is_flag=True,
    help="Leave out the Delivered-To lines for which a recipient's server would return it.",
)
@click.option(
    "--notify",
    multiple=True,
    type=click.Choice(["success", "failure", "delay", "never"]),
    help="When the recipients' servers are to report (RFC 3461); repeatable.",
)
@click.option(
    "--query", metavar="Q", callback=as_text, help="Every message this query finds, after a question."
)
@click.option("--from-file", metavar="FILE", help="The ids at the start of its lines; - is standard input.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=_LIMIT,
    show_default=True,
    metavar="N",
    help="Refuse to send more messages than these.",
)
@click.option("--again", is_flag=True, help="Also what the same recipient got within a day.")
@click.option("--queue", is_flag=True, help="Leave the sending to archiver run.")
@click.option(
    "--wait",
    metavar="SPAN",
    callback=_span,
    help="So long try again what the server does not take at once, such as 30m.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go where; send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask whether to send so many.")
@click.pass_obj
def command(session: Session, /, ids: tuple[str, ...], **options: Any) -> None:
    """Send messages again, byte for byte, behind a Resent block that says by whom (RFC 5322, 3.6.6).

    ID is as for archiver show. The sender is the from: of the sending server. Intent and outcome of every
    recipient are kept: archiver outbox shows them. What the server does not take for now is tried again by
    archiver run; what may have arrived is never sent again by itself.
    """
    archive = session.archive()
    name, _ = archive.via(options["via"])
    order = _order(options)
    keys = _selection(archive, ids, options["query"], options["from_file"], options["limit"])
    plan = archive.plan_sending(keys, order, name)
    if options["dry_run"]:
        refused = _preview(archive, plan, order, name)
        if refused and not options["queue"]:
            _complain_of(refused, len(keys))
        return
    if not options["yes"] and (options["query"] is not None or len(keys) > _MANY):
        to = printable(", ".join((*order.to, *order.cc, *order.bcc)))
        _ask(
            f"{count(len(keys), 'message')} would go to {to}", f"Send {count(len(keys), 'message')} to {to}?"
        )
    plan = _without_loops(archive, plan, keys, order, name)
    with session.stoppable():
        report = _send(archive, plan, name, options)
        report = wait_for(archive, report, options["wait"], session.stopped)
    if options["queue"]:
        say(f"{count(report.asked, 'delivery', 'deliveries')} queued: archiver run sends them")
        return
    conclude(report, session.stopped())


def _selection(
    archive: Archive, ids: tuple[str, ...], query: str | None, from_file: str | None, limit: int
) -> list[bytes]:
    if not ids and query is None and from_file is None:
        raise UsageError("nothing to send", hint="give ids, --query, or --from-file")
    keys = chosen(archive, ids, query, from_file)
    if not keys and query is not None:
        raise UsageError("the query finds nothing to send", hint="try it with archiver search")
    if not keys:
        raise UsageError("no id in what was given", hint="an id starts each line")
    if len(keys) > limit:
        raise UsageError(
            f"{count(len(keys), 'message')} are selected; {limit:,} are the most",
            hint="--limit N allows more",
        )
    return keys


def _order(options: dict[str, Any]) -> Order:
    from archiver.archive.sending import Order, template

    subject, note = options["subject"], options["note"]
    if options["template"]:
        try:
            told = template(options["template"].read(1 << 20))
        except UnicodeDecodeError:
            raise UsageError("the template is not UTF-8 text") from None
        subject, note = subject if subject is not None else told[0], note if note is not None else told[1]
    return Order(
        to=options["to"],
        cc=options["cc"],
        bcc=options["bcc"],
        form=options["form"],
        subject=subject,
        note=note,
        message_size=options["message_size"],
        drop_bcc=options["drop_bcc"],
        drop_delivered_to=options["drop_delivered_to"],
        notify=tuple(dict.fromkeys(map(_word, options["notify"]))),
    )


def _preview(archive: Archive, plan: Plan, order: Order, name: str) -> int:
    """Print what would go where; how many of the originals would be refused."""
    server = archive.via(name)[1]
    good = refused = 0
    for message in archive.preview(plan.parcels):
        good += 0 if message.refused else len(message.keys)
        refused += len(message.keys) if message.refused else 0
        for key in message.keys:
            print(_described(archive, key))
        what = f"refused: {message.refused}" if message.refused else f"{order.form}, {message.size:,} octets"
        print(printable(f"    {what}, to {', '.join(message.to)}"))
    for key, address in plan.loops:
        say(f"{key.hex()[:8]} was delivered to {printable(address)} before: --drop-delivered-to")
    for key in plan.bcc:
        say(f"{key.hex()[:8]} shows its blind recipients: --drop-bcc leaves them out")
    to = printable(", ".join(dict.fromkeys((*order.to, *order.cc, *order.bcc))))
    print(f"would send {count(good, 'message')} as {server.from_} via {name} to {to}")
    return refused


def _complain_of(refused: int, total: int) -> None:
    """The error that the real run would end with."""
    raise (PartialError if refused < total else ArchiverError)(
        f"{refused:,} of {count(total, 'message')} would be refused", hint="beside each is why"
    )


def _described(archive: Archive, key: bytes) -> str:
    try:
        message, wire = archive.message(key), archive.wire(key)
    except ArchiverError:
        return f"{key.hex()[:8]}  cannot be read"
    date = moment(message.date) if message.date is not None else "no date"
    return f"{key.hex()[:8]}  {date}  {size(len(wire)):>8}  {one_line(message.subject, 80)}"


def _without_loops(archive: Archive, plan: Plan, keys: list[bytes], order: Order, name: str) -> Plan:
    """The plan, after a question without the Delivered-To lines that would bring messages back."""
    if not plan.loops:
        return plan
    key, address = plan.loops[0]
    more = f", and {len(plan.loops) - 1} more like that" if len(plan.loops) > 1 else ""
    what = printable(f"message {key.hex()[:8]} was delivered to {address} before{more}")
    _ask(
        f"{what}: a server may return it",
        f"{what[:1].upper()}{what[1:]}: a server may return it. Send it without that Delivered-To line?",
        "--drop-delivered-to sends it without that line",
    )
    return archive.plan_sending(keys, replace(order, drop_delivered_to=True), name)


def _ask(what: str, question: str, hint: str = "add --yes to send") -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"{what}, and nobody can be asked", hint=hint)
    if not click.confirm(question, err=True):
        raise ArchiverError("nothing was sent: you said no")


def _send(archive: Archive, plan: Plan, name: str, options: dict[str, Any]) -> Report:
    again, queue = options["again"], options["queue"]
    try:
        return archive.send(plan.parcels, name, again=again, queue=queue, done=one_line_each)
    except RepeatError as exc:
        if not sys.stdin.isatty():
            raise
        _ask(exc.message, f"{exc.message[:1].upper()}{exc.message[1:]}. Send all the same?")
    return archive.send(plan.parcels, name, again=True, queue=queue, done=one_line_each)
