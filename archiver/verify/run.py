"""The whole comparison: files hashed by processes while the next ones are listed, and the index meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from archiver.errors import DamagedError, InterruptedRun
from archiver.search.index import Index
from archiver.store.hashing import Checked, Task, check
from archiver.store.layout import guess_folder, mail_root, walk_folders
from archiver.store.ledger import Ledger
from archiver.store.rebuild import nameless
from archiver.store.records import Folder
from archiver.verify.files import Item, lost, paired
from archiver.verify.findings import Compared, Finding, VerifyReport
from archiver.verify.server import failed
from archiver.workers import Crashed, Workers

# So much is given to a process at a time: handing it over must not cost, nor must waiting for its end.
CHUNK_FILES = 400
CHUNK_BYTES = 8 << 20

Hashers = Workers[Task, Checked]
"""Processes for `archiver.store.hashing.check`."""


def verify(
    ledger: Ledger,
    index: Index,
    accounts: tuple[str, ...] = (),
    *,
    compared: Compared | None = None,
    hashers: Hashers | None = None,
    advance: Callable[[int, int], None] = lambda files, size: None,
    stop: Callable[[], bool] = lambda: False,
) -> VerifyReport:
    """Compare every place with its file, every file's hash with its name, every document with the index.

    `accounts` limits the first two. The caller holds the locks that keep others from writing. What servers
    were asked before is `compared`, and becomes a part of the report. Without `hashers` all is done in this
    process. `advance` is told files and bytes as they are read; `stop` is asked between some hundred files:
    InterruptedRun.
    """
    report = VerifyReport()
    known = [f for f in ledger.folders() if not accounts or f.account in accounts]
    with ThreadPoolExecutor(1, thread_name_prefix="verify") as thread:
        indexed = thread.submit(_indexed, index)
        documents = ledger.keys("1")
        report.findings += _files(ledger, known, report, hashers, advance, stop)
        report.findings += _directories(ledger, known, accounts)
        if compared:
            report.server = compared.asked
            report.findings += compared.findings
        judged = compared.judged if compared else set()
        report.findings += _failures(ledger, (folder for folder in known if folder.id not in judged))
        report.findings += _index(documents, indexed, report)
    return report


def _files(
    ledger: Ledger,
    folders: Sequence[Folder],
    report: VerifyReport,
    hashers: Hashers | None,
    advance: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> list[Finding]:
    found: dict[int, list[Finding]] = {folder.id: [] for folder in folders}
    under_way: dict[int, list[Item]] = {}

    def tasks() -> Iterator[Task]:
        items = (item for folder in folders for item in paired(ledger, folder, found[folder.id]))
        for number, chunk in enumerate(_chunks(items)):
            if stop():
                raise InterruptedRun()
            report.places += len(chunk)
            under_way[number] = chunk
            yield number, [(path, place.key) for _, place, path in chunk]

    for number, files, size, wrong in _checked(tasks(), hashers):
        chunk = under_way.pop(number)
        report.files += files
        report.bytes += size
        advance(report.files, report.bytes)
        for at, kind in wrong:
            found[chunk[at][0].id].append(lost(kind, *chunk[at]))
    report.folders = len(folders)
    return [finding for folder in folders for finding in _in_order(found[folder.id])]


def _checked(tasks: Iterable[Task], hashers: Hashers | None) -> Iterator[Checked]:
    """Each task's result, in any order; a task whose process was killed is done here."""
    for result in hashers.map(tasks) if hashers else map(check, tasks):
        yield check(result.item) if isinstance(result, Crashed) else result


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += item[1].size
        if len(chunk) == CHUNK_FILES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _in_order(findings: list[Finding]) -> list[Finding]:
    """One folder's findings, whichever process was first: messages as the ledger has them, then files."""
    return sorted(findings, key=lambda finding: (not finding.place, finding.place, finding.path))


def _directories(ledger: Ledger, known: Sequence[Folder], accounts: tuple[str, ...]) -> Iterator[Finding]:
    """Directories that do not say which folder they are, or that the ledger does not know."""
    try:
        on_disk = list(walk_folders(ledger.root))
        lost = nameless(ledger.root)
    except OSError as exc:
        where = os.path.relpath(exc.filename or "", mail_root(ledger.root))
        detail = f"{where} cannot be listed ({exc.strerror}), so no further folders were looked for"
        yield Finding(kind="unreadable", path=where, detail=detail)
        return
    names = {folder.path: folder.name for folder in known}
    for account, path in lost:
        if not accounts or account in accounts:
            yield Finding(
                kind="nameless",
                account=account,
                folder=names.get(path) or guess_folder(path).name,
                path=path,
                detail=f"{path} does not say what folder it is",
            )
    paths = {(folder.account, folder.raw): folder.path for folder in ledger.folders()}
    there = set(paths.values())
    for account, path, described in on_disk:
        if path not in there and (not accounts or account in accounts):
            first = paths.get((account, described.raw), "")
            yield Finding(
                kind="copy" if first else "folder",
                account=account,
                folder=described.name,
                path=path,
                detail=f"{path} says that it is the folder in {first}" if first else "",
            )


def _failures(ledger: Ledger, folders: Iterable[Folder]) -> Iterator[Finding]:
    for folder in folders:
        for uid, failure in ledger.failures(folder).items():
            if ledger.places(folder, [uid]):
                continue  # its file is wanted again, and missing among the files until it is there
            yield failed(folder, failure, gone=not folder.listed)


def _indexed(index: Index) -> set[bytes]:
    """The keys in the index, every byte of which was compared; DamagedError."""
    present = index.keys() if index.state() else set()
    index.verify()
    return present


def _index(known: set[bytes], indexed: Future[set[bytes]], report: VerifyReport) -> Iterator[Finding]:
    report.documents = len(known)
    try:
        present = indexed.result()
    except DamagedError as exc:
        yield Finding(kind="unindexed", detail=f"the index is damaged: {exc.message}")
        return
    report.indexed = len(present)
    yield from (Finding(kind="unindexed", key=key.hex()) for key in sorted(known - present))
    yield from (Finding(kind="stray", key=key.hex()) for key in sorted(present - known))
