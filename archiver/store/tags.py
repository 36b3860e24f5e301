"""The user's tags, by key, in the user database: they outlive ledger and index.

A tag belongs to a message, wherever it is. Names are kept in lower case and composed (NFC).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from archiver.errors import QueryError
from archiver.store.database import location
from archiver.store.layout import ledger_path
from archiver.store.ledger import glob_folder
from archiver.store.user import User

NAME_LIMIT = 100
_LETTERS = re.compile(r"[\w.@/+-]")
_HINT = "a name has letters, digits and any of . _ - / @ +, and begins with a letter or digit"
# Values asked for in one statement.
_MANY = 500


# From one name to the next, where DISTINCT would go through all rows.
_NAMES = """WITH RECURSIVE known (name) AS (
    SELECT min(name) FROM tag
    UNION ALL SELECT (SELECT min(name) FROM tag WHERE name > known.name) FROM known WHERE name IS NOT NULL
) SELECT name FROM known WHERE name IS NOT NULL"""


class Change(msgspec.Struct, frozen=True):
    """Tags a message gets, and tags it loses."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


def tag_name(text: str, line: str = "", at: int = 0) -> str:
    """The tag of that name, as it is kept; QueryError where it is none.

    `line` is what is shown with the error, and `at` where in it the name begins.
    """
    line = line or text
    if not text:
        raise QueryError("the name of a tag is missing", line, at, hint=_HINT)
    for offset, letter in enumerate(text):
        good = letter.isalnum() if offset == 0 else _is_part(letter)
        if not good:
            raise QueryError("no name of a tag has this character here", line, at + offset, hint=_HINT)
    name = unicodedata.normalize("NFC", text.lower())
    if len(name) > NAME_LIMIT:
        raise QueryError(f"the name of a tag is longer than {NAME_LIMIT} characters", line, at + NAME_LIMIT)
    return name


def _is_part(letter: str) -> bool:
    return bool(_LETTERS.match(letter)) or unicodedata.category(letter) in ("Mn", "Mc")


class Tags(User):
    """The user database, asked for tags."""

    def counts(self) -> dict[str, int]:
        """Every tag and how many messages have it, by name."""
        return dict(self._rows("SELECT name, count(*) FROM tag GROUP BY name ORDER BY name"))

    def documents(self, pattern: str) -> str:
        """The messages with a tag that fits a glob, or is below one that does: the ledger's numbers of them.

        As text, with commas between; those that the ledger does not know are left out. The ledger is asked
        in the same statement: there may be as many of them as there is mail.
        """
        names = [name for (name,) in self._rows(_NAMES)]
        wanted = [name for name in names if any(glob_folder(p, name) for p in (pattern, f"{pattern}/*"))]
        if not wanted:
            return ""
        marks = ",".join("?" * len(wanted))
        self._rows("ATTACH ? AS ledger", location(ledger_path(self.root)))
        try:
            ((found,),) = self._rows(
                "SELECT group_concat(d.id) FROM tag t CROSS JOIN ledger.document d ON d.key = t.key"
                f" WHERE t.name IN ({marks})",
                *wanted,
            )
        finally:
            self._rows("DETACH ledger")
        return found or ""

    def of(self, keys: Sequence[bytes]) -> dict[bytes, tuple[str, ...]]:
        """The tags of each of these messages that has any, by name."""
        found: dict[bytes, tuple[str, ...]] = {}
        for start in range(0, len(keys), _MANY):
            some = keys[start : start + _MANY]
            marks = ",".join("?" * len(some))
            for key, name in self._rows(
                f"SELECT key, name FROM tag WHERE key IN ({marks}) ORDER BY name", *some
            ):
                found[key] = (*found.get(key, ()), name)
        return found

    def all(self) -> Iterator[tuple[bytes, tuple[str, ...]]]:
        """Every message that has tags, by key, and its tags, by name."""
        names: dict[bytes, list[str]] = {}
        for key, name in self._rows("SELECT key, name FROM tag ORDER BY key, name"):
            names.setdefault(key, []).append(name)
        return ((key, tuple(each)) for key, each in names.items())

    def change(self, keys: Collection[bytes], change: Change, *, dry_run: bool = False) -> int:
        """Change the tags of messages, all or none; how many have others now, or would have."""
        return self.change_each(dict.fromkeys(keys, change), dry_run=dry_run)

    def change_each(self, changes: Mapping[bytes, Change], *, dry_run: bool = False) -> int:
        """As `change`, each message its own."""
        added, removed = _by_tag(changes, "add"), _by_tag(changes, "remove")
        if dry_run:
            return len(self._due(added, removed)[0])
        with self._transaction():
            touched, more, less = self._due(added, removed)
            self._db.executemany("DELETE FROM tag WHERE name = ? AND key = ?", less)
            self._db.executemany("INSERT INTO tag (name, key) VALUES (?, ?)", more)
        return len(touched)

    def _due(
        self, added: Mapping[str, AbstractSet[bytes]], removed: Mapping[str, AbstractSet[bytes]]
    ) -> tuple[set[bytes], list[tuple[str, bytes]], list[tuple[str, bytes]]]:
        """The messages that are touched; the rows that are lacking, and those that are too many."""
        touched: set[bytes] = set()
        rows: tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]] = [], []
        for number, (wanted, lacking) in enumerate(((added, True), (removed, False))):
            for name, keys in wanted.items():
                held = {key for (key,) in self._rows("SELECT key FROM tag WHERE name = ?", name)}
                due = keys - held if lacking else keys & held
                touched |= due
                rows[number].extend((name, key) for key in sorted(due))
        return touched, *rows


def _by_tag(changes: Mapping[bytes, Change], which: str) -> dict[str, set[bytes]]:
    found: dict[str, set[bytes]] = {}
    for change, keys in _alike(changes).items():
        for name in getattr(change, which):
            found.setdefault(name, set()).update(keys)
    return found


def _alike(changes: Mapping[bytes, Change]) -> dict[Change, list[bytes]]:
    """The messages of each change: most of many have the same."""
    found: dict[Change, list[bytes]] = {}
    for key, change in changes.items():
        found.setdefault(change, []).append(key)
    return found


# As text

HEADER = "# Tags of messages, as `archiver tag --import` reads them: +TAG ... -- KEY\n"


def dump(entries: Iterable[tuple[bytes, Sequence[str]]]) -> Iterator[str]:
    """The lines of tags as text: the header, then `+tag +tag -- key`, the key in hex."""
    yield HEADER
    for key, names in entries:
        yield f"{' '.join(f'+{name}' for name in names)} -- {key.hex()}\n"


def read(lines: Iterable[str], source: str) -> dict[bytes, Change]:
    """What such text says; `-tag` takes one away. QueryError at the first mistake, in the file `source`."""
    found: dict[bytes, Change] = {}
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\n")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            key, change = _entry(line)
        except QueryError as error:
            raise QueryError(
                f"{source}:{number}: {error.message}", error.query, error.position, hint=error.hint
            ) from error
        before = found.get(key, Change())
        found[key] = merged(before, change)
    return found


def merged(before: Change, after: Change) -> Change:
    """Both, one after the other."""
    add = [name for name in before.add if name not in after.remove]
    remove = [name for name in before.remove if name not in after.add]
    return Change(tuple(dict.fromkeys((*add, *after.add))), tuple(dict.fromkeys((*remove, *after.remove))))


def _entry(line: str) -> tuple[bytes, Change]:
    words, dashes, rest = line.partition(" -- ")
    if not dashes:
        raise QueryError("expected +TAG ... -- KEY", line, len(line.rstrip()))
    digits = rest.strip()
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digits):
        raise QueryError(
            "expected the key of a message, 64 hex digits",
            line,
            line.index(rest.lstrip() or rest, len(words) + 4),
        )
    return bytes.fromhex(digits), changes_in(words, line)


def changes_in(text: str, line: str = "") -> Change:
    """`+x -y` as one change; QueryError, which shows the line that begins with this text."""
    change, line = Change(), line or text
    for found in re.finditer(r"\S+", text):
        word, at = found[0], found.start()
        if word[:1] not in ("+", "-"):
            raise QueryError("expected + or - before the name of a tag", line, at)
        name = tag_name(word[1:], line, at + 1)
        given = word[0] == "+"
        if name in (change.remove if given else change.add):
            raise QueryError(f"{name} is both given and taken away", line, at)
        change = merged(change, Change((name,)) if given else Change((), (name,)))
    return change
