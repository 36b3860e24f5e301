"""What must be true of an archive after a pull, looked up in ledger and files, apart from the pull itself."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from archiver.search.index import open_index
from archiver.store.layout import index_path, mail_root
from archiver.store.ledger import Ledger
from archiver.store.maildir import key_of
from archiver.store.reader import Reader, read_wire
from archiver.store.records import Spot
from archiver.verify import Finding, verify

# What verify says as long as nobody has indexed, and of messages the server does not hand out.
_NOT_OF_THE_STORE = ("unindexed", "failed")


def findings(root: str) -> list[Finding]:
    """What `archiver.verify` finds wrong between ledger and files."""
    with Ledger(root) as ledger:
        index = open_index(index_path(root))
        try:
            found = verify(ledger, index).findings
        finally:
            index.close()
    return [finding for finding in found if finding.kind not in _NOT_OF_THE_STORE]


def spots(root: str) -> list[Spot]:
    """Every place the ledger knows."""
    with Ledger(root) as ledger:
        return [spot for key in sorted(ledger.keys("1")) for spot in ledger.spots(key)]


def live(root: str) -> dict[tuple[str, int], bytes]:
    """(folder, UID) -> wire bytes of what the archive takes to be on the server, each from its own file."""
    with Ledger(root) as ledger:
        reader = Reader(ledger)
        found: dict[tuple[str, int], bytes] = {}
        for key in ledger.keys("gone = 0"):
            for spot in ledger.spots(key):
                if not spot.gone:
                    path = reader.path(spot)
                    assert path is not None, f"{spot.folder} UID {spot.uid} has no file"
                    assert spot.current, f"{spot.folder} UID {spot.uid} is of an earlier epoch and not gone"
                    assert (spot.folder, spot.uid) not in found
                    found[spot.folder, spot.uid] = read_wire(key, [path])
    return found


def flags(root: str) -> dict[tuple[str, int], str]:
    """(folder, UID) -> Maildir letters of what is on the server, the same in ledger and file name."""
    found: dict[tuple[str, int], str] = {}
    for spot in spots(root):
        if not spot.gone:
            path = os.path.join(mail_root(root), spot.path, "cur", f"{spot.file}:2,{spot.flags}")
            assert os.path.exists(path)
            found[spot.folder, spot.uid] = spot.flags
    return found


def files(root: str) -> list[Path]:
    """Every message file, in cur/ or new/."""
    return sorted(path for sub in ("cur", "new") for path in Path(mail_root(root)).glob(f"**/{sub}/*"))


def leftovers(root: str) -> list[Path]:
    """What an unfinished run left in tmp/, or of a file being replaced."""
    top = Path(mail_root(root))
    return [*top.glob("**/tmp/*"), *top.glob("**/*.new")]


def readable(root: str, *wires: bytes) -> None:
    """Each of these can be had by its key, byte for byte."""
    with Ledger(root) as ledger:
        reader = Reader(ledger)
        for wire in wires:
            assert reader.wire(key_of(wire)) == wire


def files_in(root: str, folder: str) -> list[Path]:
    """The message files of one folder, by its directory relative to the mail root."""
    return [path for path in files(root) if path.parent.parent == Path(mail_root(root)) / folder]


def converged(root: str, messages: Mapping[tuple[str, int], bytes]) -> None:
    """The archive has these messages on the server, one place and one file each, and nothing is amiss."""
    assert live(root) == dict(messages)
    assert findings(root) == []
    nothing_between(root)


def nothing_between(root: str) -> None:
    """Each place has one file, each file is one place's, and no run has left anything undone."""
    assert leftovers(root) == []
    known = Counter((spot.path, spot.file) for spot in spots(root))
    assert set(known.values()) <= {1}, "a file is two places'"
    on_disk = Counter(
        (str(path.parent.parent.relative_to(mail_root(root))), path.name.partition(":")[0])
        for path in files(root)
    )
    assert on_disk == known, "places and files differ"
    with Ledger(root) as ledger:
        assert not any(folder.open for folder in ledger.folders())
