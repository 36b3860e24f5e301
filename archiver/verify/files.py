"""A folder's files beside what the ledger knows: every known message with its file, and the other files."""

from __future__ import annotations

import os
from collections.abc import Iterator

from archiver.store.hashing import hash_file
from archiver.store.layout import mail_root
from archiver.store.ledger import Ledger
from archiver.store.maildir import is_tail, parse_name
from archiver.store.records import Folder, Stored
from archiver.verify.findings import Finding, Kind

Item = tuple[Folder, Stored, str]
"""What the ledger knows of a message in a folder, and the path of its file; empty when it has none."""
_Where = tuple[str, str]
"""`cur` or `new`, and what follows the base in the name; one object for all files of the same."""


def paired(ledger: Ledger, folder: Folder, findings: list[Finding]) -> Iterator[Item]:
    """Every known message of a folder with its file; files that are nobody's go into `findings`.

    So does a folder that cannot be listed, of whose messages nothing is said then.
    The names are held in memory, the ledger's rows are not.
    """
    directory = os.path.join(mail_root(ledger.root), folder.path)
    try:
        found, further = _listing(directory)
    except OSError as exc:
        findings.append(_unlisted(ledger, folder, exc))
        return
    doubles: list[str] = []

    def best(base: str, flags: str, where: _Where) -> str:
        if base not in further:
            return _path(directory, base, where)
        paths = [_path(directory, base, each) for each in (where, *further[base])]
        first, *rest = _best_first(paths, base, flags)
        doubles.extend(rest)
        return first

    for place in ledger.stored(folder.id):
        if where := found.pop(place.file, None):
            yield folder, place, best(place.file, place.flags, where)
        else:
            # It may have been moved from a directory not yet listed to one that was.
            path = _path(directory, place.file, ("cur", f":2,{place.flags}"))
            yield folder, place, path if os.path.exists(path) else ""
    unknown = [best(base, "", found[base]) for base in sorted(found) if parse_name(base)]
    findings += (_of_file("unknown", folder, path) for path in unknown)
    findings += (_of_file("double", folder, path) for path in doubles)


def lost(kind: Kind, folder: Folder, place: Stored, path: str) -> Finding:
    """A message whose file is not what it was."""
    return Finding(
        kind=kind,
        account=folder.account,
        folder=folder.name,
        uid=max(place.uid, 0),
        key=place.key.hex(),
        path=place.file if kind == "missing" else path,
        place=place.id,
        gone=bool(place.gone),
    )


def _unlisted(ledger: Ledger, folder: Folder, exc: OSError) -> Finding:
    return Finding(
        kind="unreadable",
        account=folder.account,
        folder=folder.name,
        path=folder.path,
        messages=sum(1 for _ in ledger.stored(folder.id)),
        detail=f"{folder.path} cannot be listed: {exc.strerror}",
    )


def _of_file(kind: Kind, folder: Folder, path: str) -> Finding:
    return Finding(kind=kind, account=folder.account, folder=folder.name, path=path)


def _listing(directory: str) -> tuple[dict[str, _Where], dict[str, list[_Where]]]:
    """What is in cur/ and new/ by the name's base; further files of a base. Others' files are there too."""
    found: dict[str, _Where] = {}
    further: dict[str, list[_Where]] = {}
    for sub in ("cur", "new"):
        tails: dict[str, _Where | None] = {}
        for name in _names(os.path.join(directory, sub)):
            base = name.partition(":")[0]
            tail = name[len(base) :]
            if tail not in tails:
                tails[tail] = (sub, tail) if is_tail(tail) else None
            if (where := tails[tail]) and found.setdefault(base, where) is not where:
                further.setdefault(base, []).append(where)
    return found, further


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _path(directory: str, base: str, where: _Where) -> str:
    sub, tail = where
    return f"{directory}/{sub}/{base}{tail}"


def _best_first(paths: list[str], base: str, flags: str) -> list[str]:
    """Files of one message: the one to keep, whole and with the right flags, then those to set aside.

    One that cannot be read may be whole: it is not told of.
    """
    whole = {path: _is_whole(path) for path in paths}
    expected = f"{base}:2,{flags}"
    best, *rest = sorted(paths, key=lambda path: (not whole[path], not path.endswith(expected), path))
    return [best, *(path for path in rest if whole[path] is not None)]


def _is_whole(path: str) -> bool | None:
    """Whether a file has the bytes its name speaks of; None when it could not be read."""
    try:
        return bool(hash_file(path)[1])
    except OSError:
        return None
