"""Tags: who gets them by a query, how they are shown, and how they leave and come back as text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from archiver.archive.reports import Imported, Tagged
from archiver.errors import NotFoundError
from archiver.store import tags as store
from archiver.store.layout import user_path
from archiver.store.tags import Change, Tags

if TYPE_CHECKING:
    from archiver.archive import Archive

# Messages asked the ledger for at once.
_MANY = 500


def tag(archive: Archive, query: str, change: Change, *, dry_run: bool) -> Tagged:
    """Change the tags of every message a query finds, all or none."""
    from archiver.archive.find import asking

    with asking(archive, query) as asked:
        keys = list(asked.index.found(asked.tree, asked.places))
    with Tags(archive.root) as tags:
        return Tagged(len(keys), tags.change(keys, change, dry_run=dry_run), asked.behind)


def has_tags(archive: Archive) -> bool:
    """Whether there is a user database at all; looking makes none."""
    return os.path.exists(user_path(archive.root))


def tags_of(archive: Archive, keys: Sequence[bytes]) -> dict[bytes, tuple[str, ...]]:
    """The tags of those messages that have any."""
    with Tags(archive.root) as tags:
        return tags.of(keys)


def counts(archive: Archive) -> dict[str, int]:
    """Every tag, and how many messages have it."""
    if not has_tags(archive):
        return {}
    with Tags(archive.root) as tags:
        return tags.counts()


def dump(archive: Archive) -> Iterator[str]:
    """All tags as lines of text; NotFoundError where no tag was ever given, or the database is lost."""
    if not has_tags(archive):
        raise NotFoundError(
            f"there are no tags: {user_path(archive.root)} does not exist",
            hint="the first archiver tag +TAG QUERY makes it; if there were tags, put it back from a backup",
        )
    with Tags(archive.root) as tags:
        return store.dump(tags.all())


def load(archive: Archive, lines: Iterable[str], source: str, *, dry_run: bool) -> Imported:
    """Change tags as such lines say, all or none; also of messages that the archive does not have (yet)."""
    changes = store.read(lines, source)
    keys = list(changes)
    with archive.ledger() as ledger:
        known = sum(
            len(ledger.known_keys(keys[start : start + _MANY])) for start in range(0, len(keys), _MANY)
        )
    with Tags(archive.root) as tags:
        changed = tags.change_each(changes, dry_run=dry_run)
    return Imported(len(keys), changed, len(keys) - known)
