"""What becomes of errors of several accounts: printed, and one that stands for all of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from archiver.cli.app import say
from archiver.cli.text import count, printable
from archiver.errors import ArchiverError, PartialError

if TYPE_CHECKING:
    from archiver.indexer import IndexReport

# Attachments that could not be read are named, so many of them.
_NAMED = 20
# Digits of a message's key, enough to tell it from others.
_ID = 12


def conclude(errors: Mapping[str, ArchiverError], total: int, done: str) -> None:
    """Nothing without errors, else raise what those of `total` accounts come to.

    The only account's is raised itself; several are printed first. `done` is what could not be, "pulled".
    """
    if not errors:
        return
    first = next(iter(errors.values()))
    if len(errors) == total == 1:
        raise first
    print_errors(errors.values())
    if len(errors) < total:
        raise PartialError(f"{len(errors)} of {total} accounts could not be {done}")
    worst = next((exc for exc in errors.values() if not exc.transient), first)
    summary = ArchiverError(f"none of {total} accounts could be {done}")
    summary.exit_code = worst.exit_code
    raise summary


def done(report: IndexReport) -> str:
    """What an index took in, in words."""
    read = report.attachments.read
    also = f", read {count(read, 'attachment')}" if read else ""
    return f"indexed {count(report.added, 'message')}{also}"


def say_unread(report: IndexReport) -> None:
    """What could not be read of the mail that was indexed: messages, and attachments of others."""
    for lost in report.unreadable:
        say(f"not indexed: {lost.reason}")
    unread = report.attachments.unread
    for each in unread[:_NAMED]:
        say(f"warning: message {each.key.hex()[:_ID]}, attachment {each.part}: {each.reason}")
    if unread:
        say(f"{count(len(unread), 'attachment')} could not be read; the messages are indexed all the same")


def print_errors(errors: Iterable[ArchiverError]) -> None:
    for exc in errors:
        print(f"archiver: {printable(str(exc))}", file=sys.stderr)
        if exc.hint:
            print(f"  {printable(exc.hint)}", file=sys.stderr)
