"""What the verbs that send print, wait for, and end with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from archiver.cli.app import say
from archiver.cli.text import count, moment, printable
from archiver.errors import ArchiverError, InterruptedRun, PartialError

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.resend import MessageReport, Report

_LOOK = 0.2


def one_line_each(report: MessageReport) -> None:
    for outcome in report.outcomes:
        reply = f" ({printable(outcome.reply)})" if outcome.reply else ""
        print(f"{report.key.hex()[:8]}  {outcome.status:<8}  {printable(outcome.address)}{reply}")


def wait_for(archive: Archive, report: Report, span: float, stopped: Callable[[], bool]) -> Report:
    """The report, after what is deferred was tried again as long as `span` allows (seconds)."""
    until = time.time() + span
    while not stopped():
        due = {m.id: m.due for m in report.messages if m.due is not None}
        if not due or max(due.values()) > until:
            return report
        say(f"{count(len(due), 'message')} deferred: trying again at {moment(max(due.values()))}")
        while time.time() < max(due.values()) and not stopped():
            time.sleep(_LOOK)
        if not stopped():
            report = _merged(report, archive.send_again([*due], one_line_each))
    return report


def _merged(before: Report, after: Report) -> Report:
    """The earlier report with what the later one knows better."""
    later = {message.id: message for message in after.messages}
    messages = []
    for message in before.messages:
        new = later.get(message.id)
        if new is not None and new.asked:
            outcomes = {o.address: o for o in (*message.outcomes, *new.outcomes)}
            message = replace(message, outcomes=tuple(outcomes.values()), due=new.due, hint=new.hint)
        messages.append(message)
    return replace(before, messages=tuple(messages), error=after.error)


def conclude(report: Report, stopped: bool) -> None:
    """Nothing when all was sent; else the error that says what was not, and the exit code."""
    if report.orphans:
        say(f"{count(report.orphans, 'recipient')} of an earlier, killed run: unknown; see archiver outbox")
    sent, total = report.count("sent"), report.asked
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
        hint="; ".join([*hints, *_prospects(report)]),
    )
    error.exit_code = report.exit_code
    raise error


def _prospects(report: Report) -> list[str]:
    dues = [message.due for message in report.messages if message.due is not None]
    later = [f"archiver run tries again from {moment(min(dues))} on"] if dues else []
    unknown = ["unknown ones may have arrived: archiver outbox retry sends them again"]
    return [*later, *(unknown if report.count("unknown") else []), "archiver outbox has every outcome"]
