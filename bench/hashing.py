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


def verify(options: argparse.Namespace, place: Path) -> None:
    """The archive is not indexed: what is measured is store against ledger, and the files' hashes."""
    common.heading(f"verify: the corpus, in the page cache, archive in {options.root}")
    full, empty = place / "verify", place / "verify-empty"
    with mail.corpus() as corpus:
        port = corpus.user.server.port
        clients.pulled("archiver sync", clients.archiver, corpus.user, port, full, corpus.count)
        clients.archiver(corpus.user.server.new_user(), port, empty)
    paths = [str(path) for path in (full / "archive").rglob("cur/*")]
    size = sum(os.path.getsize(path) for path in paths)
    rates: dict[str, list[float]] = {name: [] for name in ("read", "read and hashed", "verify")}
    walls = []
    for _ in range(options.runs):
        rates["read"].append(size / in_processes(read, paths))
        rates["read and hashed"].append(size / in_processes(read_and_hash, paths))
        run = common.step("archiver verify", verified(full, allowed=1))
        walls.append(run.wall)
        rates["verify"].append(size / (run.wall - verified(empty, allowed=0).wall))
    rate = {name: statistics.median(each) / 1e6 for name, each in rates.items()}
    for name in ("read", "read and hashed"):
        print(f"  {name:<24}{rate[name]:7.0f} MB/s by {CORES} processes, Python's start not counted")
    print(f"  {'archiver verify':<24}{rate['verify']:7.0f} MB/s, its start not counted")
    print(f"  the whole command takes {statistics.median(walls):.2f} s for {common.megabytes(size)}")
    common.verdict(
        f"archiver verify hashes {rate['verify']:.0f} MB/s; the files are read at {rate['read']:.0f} MB/s",
        "at least 400 MB/s, or as fast as the files can be read",
        rate["verify"] >= min(400, rate["read"]),
    )


def verified(directory: Path, allowed: int) -> common.Run:
    """`allowed` is the exit status: an archive that is not indexed has that as its only difference."""
    command = common.archiver(directory / "config.yaml", "verify")
    return common.measure(command, environment={common.PASSWORD_VARIABLE: "none"}, allowed=[allowed])


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
