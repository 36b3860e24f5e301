"""One folder over loopback: bound by the disk, or on tmpfs by what the program does itself."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

from bench import clients, common, mail

# Ways to make files durable; the quicker one of the hour is the floor.
WAYS = {"floor, 16 x fsync": "fsync", "floor, syncfs": "syncfs"}


def disk(options: argparse.Namespace, place: Path) -> None:
    """Archive on the disk: our rate, mbsync's, and what the disk allows."""
    common.heading(f"disk: one folder, loopback, durable, archives in {options.root}")
    runs: dict[str, list[common.Run]] = {name: [] for name in (*WAYS, "mbsync", "archiver")}
    with mail.corpus() as corpus:
        print(f"  {corpus.count} messages, {common.megabytes(corpus.size)}")
        for number in range(options.runs):
            for name, each in runs.items():
                directory = place / f"disk-{number}-{name.replace(' ', '')}"
                each.append(
                    floor(name, corpus.maildir, directory)
                    if name in WAYS
                    else clients.pulled(
                        name, PULLERS[name], corpus.user, corpus.user.server.port, directory, corpus.count
                    )
                )
    common.table(runs, corpus.count)
    best = min(WAYS, key=lambda way: statistics.median(run.wall for run in runs[way]))
    rate = common.ratio(runs["mbsync"], runs["archiver"])
    above = 1 / common.ratio(runs[best], runs["archiver"])
    common.verdict(
        f"archiver at {rate:.2f} of mbsync's rate, in {above:.2f} of the floor's time ({best})",
        "at least 1.2 of mbsync's rate, or at most 1.15 of the floor's time",
        rate >= 1.2 or above <= 1.15,
    )


def floor(name: str, maildir: Path, directory: Path) -> common.Run:
    """The same files made durable; its CPU and time are without start-up and reading."""
    os.sync()
    script = str(Path(__file__).with_name("floor.py"))
    done = subprocess.run(
        [sys.executable, script, WAYS[name], str(maildir / "cur"), str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall, cpu = map(float, done.stdout.split())
    return common.step(name, common.Run(wall, cpu, 0))


def tmpfs(options: argparse.Namespace, place: Path) -> None:
    """Archive in memory: what the program itself costs."""
    common.heading(f"tmpfs: one folder, loopback, archives in {common.TMPFS}")
    pullers = {**PULLERS, "bare IMAPClient loop": clients.bare}
    runs: dict[str, list[common.Run]] = {name: [] for name in pullers}
    with mail.corpus() as corpus, common.workplace(common.TMPFS) as memory:
        for _ in range(options.runs):
            for name, pull in pullers.items():
                with common.workplace(memory) as directory:
                    port = corpus.user.server.port
                    runs[name].append(clients.pulled(name, pull, corpus.user, port, directory, corpus.count))
    common.table(runs, corpus.count)
    cpu = statistics.median(run.cpu for run in runs["archiver"])
    common.verdict(
        f"archiver takes {cpu:.2f} s of CPU, start-up and ledger included",
        "at most 1.5 s for 17,885 messages",
        cpu <= 1.5,
    )


PULLERS: dict[str, clients.Pull] = {"mbsync": clients.mbsync, "archiver": clients.archiver}
