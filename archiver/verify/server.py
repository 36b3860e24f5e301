"""What a server says of a folder beside what the ledger knows of it; asks nobody itself."""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterator, Mapping

import msgspec

from archiver.errors import FolderError
from archiver.imap.types import Selected
from archiver.imap.wire import uid_set
from archiver.store.records import Failure, Folder
from archiver.verify.findings import Finding, Kind


class Theirs(msgspec.Struct, frozen=True):
    """A folder as the server has it: what EXAMINE answered, and every UID that it lists, ascending."""

    selected: Selected
    uids: array[int]

    @property
    def count(self) -> int:
        """How many messages there are: whatever is more, those that are counted or those that are listed."""
        return max(self.selected.exists, len(self.uids))


class Ours(msgspec.Struct, frozen=True):
    """A folder as the ledger has it: UIDs of its present epoch, ascending; there, gone, and not handed out.

    `other_mailbox`: it was pulled from another server, or as another user, than the account now has.
    """

    folder: Folder
    live: array[int]
    gone: array[int]
    failed: Mapping[int, Failure]
    other_mailbox: bool = False

    @property
    def highest(self) -> int:
        """The highest UID that is or was there."""
        return max((uids[-1] for uids in (self.live, self.gone) if uids), default=0)


def compare(account: str, name: str, theirs: Theirs | FolderError, ours: Ours | None) -> Iterator[Finding]:
    """What differs in one folder that is to be pulled; `ours` is None when the ledger does not know it.

    Nothing is found exactly when every message the server has there is archived, and none that is taken to be
    there is not.
    """
    if isinstance(theirs, FolderError):
        yield Finding(kind="refused", account=account, folder=name, detail=theirs.message)
    elif not theirs.selected.uidvalidity:
        detail = "the server gives no UIDVALIDITY: its UIDs cannot be relied on"
        yield Finding(kind="refused", account=account, folder=name, messages=theirs.count, detail=detail)
        yield from (failed(ours.folder, failure) for failure in ours.failed.values()) if ours else ()
    elif ours is None or not (ours.folder.uidvalidity or ours.other_mailbox):
        if theirs.count:
            yield Finding(kind="unpulled", account=account, folder=name, messages=theirs.count)
    elif why := _renumbered(theirs.selected, ours):
        yield Finding(kind="renumbered", account=account, folder=name, messages=theirs.count, detail=why)
    else:
        yield from _uids(theirs, ours)


def vanished(ours: Ours) -> Iterator[Finding]:
    """What to say of a folder that the server does not list any more."""
    yield from (failed(ours.folder, failure, gone=True) for failure in ours.failed.values())
    if ours.live:
        yield _several("expunged", ours.folder, ours.live, "the server has no such folder any more")


def failed(folder: Folder, failure: Failure, *, gone: bool = False) -> Finding:
    """A message the server did not hand out; `gone`: it does not have it any more."""
    return Finding(
        kind="failed",
        account=folder.account,
        folder=folder.name,
        uid=failure.uid,
        gone=gone,
        detail=f"{failure.reason} (tried {failure.tries} times)",
    )


def _renumbered(selected: Selected, ours: Ours) -> str:
    """Why UIDs do not mean any more what they meant; empty when they do."""
    folder = ours.folder
    if ours.other_mailbox:
        return "it was pulled from another mailbox than the account's is now"
    if selected.uidvalidity != folder.uidvalidity:
        return f"UIDVALIDITY is {selected.uidvalidity}, it was {folder.uidvalidity}"
    if folder.is_another(selected.mailboxid):
        return "it is another folder under the same name"
    if folder.is_over(selected.uidvalidity, selected.uidnext, ours.highest):
        return f"UIDs are counted anew: the next one is {selected.uidnext}, {ours.highest} is known"
    return ""


def _uids(theirs: Theirs, ours: Ours) -> Iterator[Finding]:
    unfetched = _minus(_minus(theirs.uids, ours.live), ours.gone)
    if unfetched := _minus(unfetched, array("I", sorted(ours.failed))):
        yield _several("unfetched", ours.folder, unfetched)
    # A listing that is shorter than what the server counts lets nothing be gone.
    unlisted = theirs.selected.exists - len(theirs.uids)
    for _, failure in sorted(ours.failed.items()):
        yield failed(ours.folder, failure, gone=unlisted <= 0 and not _has(theirs.uids, failure.uid))
    if unlisted > 0:
        yield Finding(
            kind="unlisted",
            account=ours.folder.account,
            folder=ours.folder.name,
            messages=unlisted,
            detail=f"the server counts {theirs.selected.exists:,} and lists {len(theirs.uids):,}",
        )
    elif expunged := _minus(ours.live, theirs.uids):
        yield _several("expunged", ours.folder, expunged)


def _several(kind: Kind, folder: Folder, uids: array[int], detail: str = "") -> Finding:
    return Finding(
        kind=kind,
        account=folder.account,
        folder=folder.name,
        uids=b",".join(uid_set(uids)).decode(),
        messages=len(uids),
        detail=detail,
    )


def _minus(left: array[int], right: array[int]) -> array[int]:
    """What is in the one and not in the other."""
    found = array("I")
    if left == right:
        return found
    at, end = 0, len(right)
    for uid in left:
        while at < end and right[at] < uid:
            at += 1
        if at == end or right[at] != uid:
            found.append(uid)
    return found


def _has(uids: array[int], uid: int) -> bool:
    at = bisect.bisect_left(uids, uid)
    return at < len(uids) and uids[at] == uid
