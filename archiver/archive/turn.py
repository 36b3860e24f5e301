"""One account's turn in a sync: whose mailbox it is, the pull, and logging in anew when the login expires."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import date
from typing import TYPE_CHECKING

from archiver.config import Account
from archiver.errors import ArchiverError, ExpiredError, InterruptedRun, NotFoundError
from archiver.pull import AccountReport, Budget, Progress, pull
from archiver.store.ledger import Ledger

if TYPE_CHECKING:
    from archiver.imap import Connection


def take_turn(
    account: Account,
    ledger: Ledger,
    connect: Callable[[], AbstractContextManager[Connection]],
    *,
    only: Sequence[str] = (),
    progress: Progress | None = None,
    say: Callable[[str], None],
    stop: Callable[[], bool],
) -> AccountReport:
    """Pull an account, and note in the ledger when, and how it ended; the caller holds the account's lock.

    `connect` logs in, with a token fetched anew each time. Where the server ends the session because the
    login has expired, another one goes on, as often as some mail came in between; tokens last an hour, first
    pulls a day.
    """
    _notice_another_mailbox(account, ledger, say)
    ledger.started(account.name, time.time())
    report = AccountReport(account=account.name)
    today = date.today().isoformat()
    budget = Budget(account.imap.daily_bytes, ledger.spent(account.name, today))
    expired_after = -1
    try:
        while True:
            try:
                with connect() as connection:
                    pull(
                        account,
                        connection,
                        ledger,
                        only=only,
                        progress=progress,
                        stop=stop,
                        hire=connect,
                        connections=account.imap.connections,
                        report=report,
                        budget=budget,
                    )
                break
            except ExpiredError:
                stored = report.total("stored")
                if stored == expired_after:
                    raise
                expired_after = stored
                say(f"the login of {account.name} has expired: logging in anew")
    except (InterruptedRun, NotFoundError):
        raise  # somebody's wish or slip, no failure of the account
    except ArchiverError as exc:
        exc.account = exc.account or account.name
        ledger.finished(account.name, time.time(), exc.message)
        raise
    finally:
        ledger.spend(account.name, today, budget.spent)
    if not only or not report.complete:
        # A run over some folders is no proof that the account is well.
        ledger.finished(account.name, time.time(), None if report.complete else "some messages failed")
    return report


def _notice_another_mailbox(account: Account, ledger: Ledger, say: Callable[[str], None]) -> None:
    """Say so before the pull opens new epochs, which it does once it has logged in."""
    known, server = ledger.account(account.name), account.imap
    if known is None or not known.host or not ledger.folders(account.name):
        return
    if (known.host, known.user) != (server.host, server.user):
        say(
            f"{account.name} is another mailbox than before: {server.user} on {server.host}, it was"
            f" {known.user} on {known.host}. All its folders are compared from the start, and nothing kept is"
            f" lost. If it is the same mailbox, stop here and say so: archiver account same {account.name}"
        )
