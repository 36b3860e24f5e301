"""What a query could not find because it is not indexed yet: said to people, and told to programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archiver.cli.app import say
from archiver.cli.text import count, moment

if TYPE_CHECKING:
    from archiver.archive.reports import Behind


def say_behind(behind: Behind) -> None:
    """Nothing when the index holds everything."""
    if behind.pending:
        before = f", received before {moment(behind.since)}" if behind.since else ""
        who = f"{behind.busy} is at it" if behind.busy else "archiver sync or reindex does it"
        say(f"{count(behind.pending, 'message')} not indexed yet{before}: {who}")


def behind_facts(behind: Behind) -> dict[str, Any]:
    return {"indexed": not behind.pending, "pending": behind.pending}
