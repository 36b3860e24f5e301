"""Whose mailbox each account is: by the configuration, and by what was pulled so far."""

from __future__ import annotations

from typing import Literal

import msgspec

from archiver.config import Account, Config
from archiver.store.ledger import Ledger


class Mailbox(msgspec.Struct, frozen=True):
    """An account's host and user now, and those of the mail that is kept; empty where there are none.

    same: both agree. other: they do not, and the next sync compares all folders from the start. new: nothing
    was pulled yet. unconfigured: the configuration has no such account any more.
    """

    name: str
    host: str
    user: str
    kept_host: str
    kept_user: str
    state: Literal["same", "other", "new", "unconfigured"]


def mailboxes(config: Config, ledger: Ledger) -> list[Mailbox]:
    """Every account that is configured or was once pulled."""
    names = [*config.accounts, *(row.name for row in ledger.accounts())]
    return [mailbox(name, config.accounts.get(name), ledger) for name in dict.fromkeys(names)]


def mailbox(name: str, account: Account | None, ledger: Ledger) -> Mailbox:
    row = ledger.account(name)
    kept = (row.host, row.user) if row else ("", "")
    now = (account.imap.host, account.imap.user) if account else ("", "")
    return Mailbox(name, *now, *kept, _state(now, kept))


def _state(now: tuple[str, str], kept: tuple[str, str]) -> Literal["same", "other", "new", "unconfigured"]:
    if not now[0]:
        return "unconfigured"
    if not kept[0]:
        return "new"
    return "same" if now == kept else "other"
