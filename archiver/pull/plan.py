"""What a folder needs: pure decisions from what the server says and what is known."""

from __future__ import annotations

import bisect
import functools
from array import array
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from itertools import islice
from operator import gt
from types import MappingProxyType

import msgspec

from archiver.config import Folders
from archiver.errors import FolderError
from archiver.imap import Mailbox, Selected, Status
from archiver.pull.listing import Names
from archiver.store.ledger import glob_folder
from archiver.store.maildir import letters
from archiver.store.records import RETRY_AFTER, Failure, Folder, State

BATCH_MESSAGES = 500


class Differences(msgspec.Struct, frozen=True):
    """Server minus ledger: UIDs to file (ascending), UIDs gone; (UID, letters, keywords, labels) to note."""

    fetch: array[int]
    flags: tuple[tuple[int, str, str, str | None], ...]
    gone: tuple[int, ...]


def choose(mailboxes: Iterable[Mailbox], folders: Folders) -> list[Mailbox]:
    r"""The selectable mailboxes the configuration wants, INBOX first.

    A pattern that begins with a backslash names a special use (`\Junk`); any other is a glob on the
    readable name, letters of either case alike.
    """
    chosen = [
        m
        for m in mailboxes
        if m.selectable
        and (not folders.include or _fits(m, folders.include))
        and not _fits(m, folders.exclude)
    ]
    return sorted(chosen, key=lambda m: (m.name != "INBOX", m.name))


def _fits(mailbox: Mailbox, patterns: Sequence[str]) -> bool:
    special = {use.lower() for use in mailbox.special}
    return any(p.lower() in special if p.startswith("\\") else glob_folder(p, mailbox.name) for p in patterns)


def is_unchanged(
    folder: Folder, status: Status, failures: Iterable[Failure], now: float, flags_every: float
) -> bool:
    """Whether nothing needs to be asked: every value equal, no failed UID due, no run cut short.

    Without HIGHESTMODSEQ nobody says whether flags changed, so they count as changed every `flags_every`
    seconds.
    """
    if folder.open or folder.uidnext is None or status.uidnext is None or status.messages is None:
        return False
    if not status.uidvalidity or status.uidvalidity != folder.uidvalidity:
        return False
    if status.uidnext != folder.uidnext or folder.is_another(status.mailboxid):
        return False
    if status.messages != folder.messages or any(is_due(f, now) for f in failures):
        return False
    if status.modseq is not None and folder.modseq is not None:
        return status.modseq == folder.modseq
    return 0 <= now - folder.flags_at < flags_every


def is_due(failure: Failure, now: float) -> bool:
    """Whether to try again; a due date no wait can lead to is a clock's that was wrong."""
    return failure.due <= now or failure.due > now + RETRY_AFTER[-1]


def is_new_epoch(folder: Folder, selected: Selected, highest: int) -> bool:
    """Whether UIDs no longer mean what they meant; see `Folder.is_over`."""
    return folder.is_over(selected.uidvalidity, selected.uidnext, highest, selected.mailboxid)


def suspects(
    folders: Iterable[Folder], there: Collection[str], statuses: Mapping[str, Status | FolderError]
) -> list[str]:
    """Raw names of mailboxes that may have had another name, or be another under a known one: EXAMINE tells.

    `there` are all that can be opened, `statuses` are of those that are pulled. A name that is new may be
    that of a folder that is lost; one that is not pulled only when the folder was there the last time.
    """
    rows = {folder.raw: folder for folder in folders if folder.mailboxid}
    lost = [folder for raw, folder in rows.items() if raw not in there]
    told = {raw: status for raw, status in statuses.items() if raw in rows and isinstance(status, Status)}
    changed = [
        raw
        for raw, status in told.items()
        if rows[raw].is_over(status.uidvalidity, status.uidnext, 0, status.mailboxid)
    ]
    at_once = any(folder.listed for folder in lost)
    new = [raw for raw in there if raw not in rows and (at_once or raw in statuses)]
    return changed + (new if lost or changed else [])


def renames(
    folders: Iterable[Folder], there: Container[str], confirmed: Mapping[str, str | None]
) -> dict[str, Folder]:
    """Raw names, and the folders that had another one, from the MAILBOXIDs that EXAMINE told.

    Each name comes after the folder that leaves it, as far as there is such an order, and the same one when
    only some of it was done. Nothing is made of a MAILBOXID that two mailboxes have.
    """
    # Of folders with one MAILBOXID (a repaired ledger may have such) the one that is there counts.
    owners = {f.mailboxid: f for f in sorted(folders, key=lambda f: f.raw in there) if f.mailboxid}
    claims = Counter(confirmed.values())
    found: dict[str, Folder] = {}
    for raw, name in confirmed.items():
        owner = owners.get(name) if name else None
        if owner and owner.raw != raw and claims[name] == 1:
            found[raw] = owner
    held = {owner.raw for owner in found.values()}
    ordered: dict[str, Folder] = {}
    while len(ordered) < len(found):
        raw = min(found.keys() - ordered, key=lambda raw: (raw in held, raw))
        ordered[raw] = found[raw]
        held -= {raw, found[raw].raw}
    return ordered


def needs_all(
    folder: Folder, selected: Selected, live: int, tail: int, now: float, flags_every: float
) -> bool:
    """Whether every UID must be compared, or those above the cursor tell enough.

    `live` messages are known to be there, `tail` are new above the cursor: when that is not what the
    server counts, something vanished. A folder without `uidnext` was not brought up to date by the last
    run, or lost a file that is wanted again: as much may be lacking here as vanished there.
    """
    if not folder.cursor or folder.uidnext is None or live + tail != selected.exists:
        return True
    if selected.modseq is not None and folder.modseq is not None:
        return False
    return not 0 <= now - folder.flags_at < flags_every


def compare(
    server: Mapping[int, frozenset[str]],
    known: Mapping[int, State],
    failures: Mapping[int, Failure],
    now: float,
    *,
    complete: bool,
    labels: Mapping[int, str] = MappingProxyType({}),
    vanished: Sequence[int] = (),
) -> Differences:
    """What differs between the server's messages (UID -> flags) and the known ones of the epoch.

    Labels of which the server told nothing are as they were. Only a `complete` listing, or the server's
    word (`vanished`), lets a known UID be gone; and gone is only a mark, the message stays.
    """
    fetch = ascending(
        uid for uid in server if (is_due(failures[uid], now) if uid in failures else uid not in known)
    )
    flags = []
    for uid in server:
        if uid in known:
            words = server[uid]
            new = letters(words), keywords(words)
            now_labels = labels.get(uid, known[uid][3])
            if known[uid] != (*new, 0, now_labels):
                flags.append((uid, *new, now_labels))
    lacking = known if complete else vanished
    gone = [uid for uid in lacking if not known[uid][2] and uid not in server]
    return Differences(fetch, tuple(flags), tuple(gone))


def ascending(uids: Iterable[int]) -> array[int]:
    """UIDs in order, four bytes each."""
    found = array("I", uids)
    if any(map(gt, found, islice(found, 1, None))):
        found = array("I", sorted(found))
    return found


def within(known: Mapping[int, State], ranges: Sequence[tuple[int, int]]) -> list[int]:
    """The known UIDs, not gone yet, that lie in one of the ranges (first and last included, any order)."""
    spans: list[tuple[int, int]] = []
    for first, last in sorted((min(span), max(span)) for span in ranges):
        if spans and first <= spans[-1][1]:
            first, last = spans[-1][0], max(last, spans.pop()[1])
        spans.append((first, last))
    firsts = [first for first, _ in spans]
    found = []
    for uid, (_, _, gone, _) in known.items():
        at = bisect.bisect_right(firsts, uid) - 1
        if not gone and at >= 0 and uid <= spans[at][1]:
            found.append(uid)
    return found


def first_of_each(uids: Sequence[int], names: Names) -> tuple[Sequence[int], Sequence[int]]:
    """The messages of which each has another content by name, and those that only repeat one of them."""
    if not len(names):
        return uids, []
    first: list[int] = []
    again: list[int] = []
    seen: set[int] = set()  # hashes: two contents that share one are at worst looked up once more
    for uid in uids:
        named = names.get(uid)
        content = hash(named.content) if named else None
        (again if content in seen else first).append(uid)
        if content is not None:
            seen.add(content)
    return first, again


@functools.lru_cache(maxsize=4096)
def keywords(flags: frozenset[str]) -> str:
    """The flags that are no system flags, sorted, with spaces between."""
    return " ".join(sorted(flag for flag in flags if not flag.startswith("\\")))
