"""`archiver verify`: every file read and hashed; beside it the same files only read, and read and hashed."""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path

from bench import clients, common, mail

CORES = 2
Rates = dict[str, list[float]]


def verify(options: argparse.Namespace, place: Path) -> None:
    """The whole verb on an indexed archive, first from the page cache, then from the disk."""
    common.heading(f"verify: the corpus, indexed, archive in {options.root}")
    full, empty = place / "verify", place / "verify-empty"
    with mail.corpus() as corpus:
        port = corpus.user.server.port
        clients.pulled("archiver sync", clients.archiver, corpus.user, port, full, corpus.count)
        clients.archiver(corpus.user.server.new_user(), port, empty)
    common.step("archiver reindex", run(full, "reindex"))
    paths = [str(path) for path in (full / "archive").rglob("cur/*")]
    size = sum(os.path.getsize(path) for path in paths)
    cached = {name: rate / 1e6 for name, rate in measured(options.runs, full, empty, paths, lambda: None)}
    os.sync()
    cold = {
        name: rate / 1e6 for name, rate in measured(options.runs, full, empty, paths, lambda: drop(paths))
    }
    print(f"  {common.megabytes(size)}, MB/s, start-up not counted{'page cache':>15}{'disk':>9}")
    for name in cached:
        print(f"  {name:<39}{cached[name]:9.0f}{cold[name]:9.0f}")
    common.verdict(
        f"archiver verify hashes {cached['archiver verify']:.0f} MB/s; the files are read at"
        f" {cached['read']:.0f} MB/s",
        "at least 400 MB/s, or as fast as the files can be read",
        cached["archiver verify"] >= min(400, cached["read"]),
    )


def measured(
    runs: int, full: Path, empty: Path, paths: Sequence[str], prepare: Callable[[], None]
) -> list[tuple[str, float]]:
    """Bytes a second, the medians; `prepare` is done before each."""
    size = sum(os.path.getsize(path) for path in paths)
    rates: Rates = {"read": [], "read and hashed": [], "archiver verify": []}
    for _ in range(runs):
        for name, work in (("read", read), ("read and hashed", read_and_hash)):
            prepare()
            rates[name].append(size / in_processes(work, paths))
        start = run(empty, "verify").wall
        prepare()
        whole = common.step("archiver verify", run(full, "verify")).wall
        rates["archiver verify"].append(size / (whole - start))
    return [(name, statistics.median(each)) for name, each in rates.items()]


def run(directory: Path, verb: str) -> common.Run:
    command = common.archiver(directory / "config.yaml", verb)
    return common.measure(command, environment={common.PASSWORD_VARIABLE: "none"})


def drop(paths: Sequence[str]) -> None:
    """Let the page cache forget the files; what is known of their names and inodes stays."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def in_processes(work: Callable[[Sequence[str]], None], paths: Sequence[str]) -> float:
    """Seconds for all the paths, shared out between processes that run already."""
    with get_context("spawn").Pool(CORES) as pool:
        pool.map(work, [[]] * CORES)
        begun = time.perf_counter()
        pool.map(work, [paths[i::8] for i in range(8)], chunksize=1)
        return time.perf_counter() - begun


def read(paths: Sequence[str]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        while os.read(descriptor, 1 << 20):
            pass
        os.close(descriptor)


def read_and_hash(paths: Sequence[str]) -> None:
    """What an archive of these files cannot be checked without: CRLF for LF, and SHA-256."""
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            hashlib.sha256(file.read().replace(b"\n", b"\r\n")).digest()
