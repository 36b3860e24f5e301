"""Mail carried over: into the archive from files of other programs, and out of it into such."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from archiver.config import ACCOUNT_NAME
from archiver.errors import UsageError

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.exchange import Dialect, ExportReport, Format, ImportReport, Wanted

Advance = Callable[[int, int], None]


def give(
    archive: Archive,
    wanted: Wanted,
    path: str,
    format: Format,
    expect: Callable[[int], None],
    advance: Advance,
) -> ExportReport:
    from archiver import exchange

    with archive.ledger() as ledger:
        return exchange.give(ledger, wanted, path, format, expect=expect, advance=advance, stop=archive.stop)


def take(
    archive: Archive,
    source: str,
    account: str,
    folder: str | None,
    dialect: Dialect | None,
    advance: Advance,
) -> ImportReport:
    """Import under the account's lock; InterruptedRun says how far it came."""
    from archiver import exchange

    if not ACCOUNT_NAME.fullmatch(account):
        raise UsageError(
            f"{account!r} is no name of an account",
            hint="take lower-case letters, digits, - and _, such as old-mail",
        )
    report = exchange.ImportReport(account=account, source=source)
    with archive.ledger(make=True) as ledger, archive.lock(f"account-{account}", "import"):
        exchange.take(
            report,
            ledger,
            folder=folder,
            dialect=dialect,
            advance=advance,
            stop=archive.stop,
        )
    return report
