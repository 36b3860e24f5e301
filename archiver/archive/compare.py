"""Ask a server for every UID of what is pulled from it, for `verify`; read only, a folder at a time."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from itertools import pairwise

from archiver.config import Account
from archiver.errors import FolderError, InterruptedRun, ProtocolError
from archiver.imap import Connection, Mailbox
from archiver.pull.plan import choose
from archiver.store.ledger import Ledger
from archiver.store.records import Folder
from archiver.verify import Compared
from archiver.verify.server import Ours, Theirs, compare, vanished

# So many UIDs are taken in before somebody who wants it to stop is heard.
_STOP_EVERY = 1000


def compare_account(
    account: Account, connection: Connection, ledger: Ledger, compared: Compared, *, stop: Callable[[], bool]
) -> None:
    """Compare each folder that the configuration has pulled, into `compared`, which also counts on an error.

    No answer is taken for granted: a folder of which STATUS says what it said when it was settled is listed
    like any other. The caller holds the account's lock. InterruptedRun, ServerError.
    """
    mailboxes = connection.list_folders(account.folders.namespaces)
    if not mailboxes:
        raise ProtocolError("the server lists no folder at all", account=account.name)
    known = {folder.raw: folder for folder in ledger.folders(account.name)}
    other = _is_other(account, ledger)
    for mailbox in choose(mailboxes, account.folders):
        folder = known.pop(mailbox.raw, None)
        theirs = _theirs(connection, mailbox, stop)
        ours = _ours(ledger, folder, other) if folder else None
        compared.findings += compare(account.name, mailbox.name, theirs, ours)
        compared.asked.folders += 1
        compared.asked.messages += len(theirs.uids) if isinstance(theirs, Theirs) else 0
        if ours and not isinstance(theirs, FolderError):
            compared.judged.add(ours.folder.id)
    listed = {mailbox.raw for mailbox in mailboxes if mailbox.selectable}
    for raw, folder in known.items():
        compared.judged.add(folder.id)  # be it that nobody wants it pulled any more
        if raw not in listed and connection.sees(raw) and not other:
            compared.findings += vanished(_ours(ledger, folder, other))


def _is_other(account: Account, ledger: Ledger) -> bool:
    """Whether another mailbox was pulled under this account's name; see `Ledger.identify`."""
    row = ledger.account(account.name)
    return (
        row is not None and row.host != "" and (row.host, row.user) != (account.imap.host, account.imap.user)
    )


def _ours(ledger: Ledger, folder: Folder, other: bool) -> Ours:
    return Ours(folder, *ledger.uids(folder), ledger.failures(folder), other)


def _theirs(connection: Connection, mailbox: Mailbox, stop: Callable[[], bool]) -> Theirs | FolderError:
    try:
        selected = connection.examine(mailbox)
        uids = _taken(connection.uids(1), stop)
        if len(uids) != selected.exists and connection.has("ESEARCH"):
            # A search that finds less, or more, than there is proves nothing.
            uids = _taken((listed.uid for listed in connection.list_uids(1)), stop)
    except FolderError as exc:
        return exc
    return Theirs(selected, uids)


def _taken(listed: Iterable[int], stop: Callable[[], bool]) -> array[int]:
    """UIDs as they come, in order and each once."""
    uids = array("I")
    for uid in listed:
        if len(uids) % _STOP_EVERY == 0 and stop():
            raise InterruptedRun()
        uids.append(uid)
    if any(second <= first for first, second in pairwise(uids)):
        uids = array("I", sorted(set(uids)))
    return uids
