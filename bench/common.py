"""What the benchmarks share: the corpus in a private Dovecot, configurations, one measured command."""

from __future__ import annotations

import argparse
import contextlib
import email
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from tests.servers import dovecot

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus" / "list-18k.tar.xz"
ARCHIVER = Path(sys.executable).parent / "archiver"
PASSWORD_VARIABLE = "BENCH_PASSWORD"


@dataclass(frozen=True)
class Run:
    """One finished command: seconds of wall clock and of CPU (its children too), bytes of peak memory.

    Memory is that of the largest process among the command and its children, not their sum.
    """

    wall: float
    cpu: float
    memory: int


def arguments(description: str) -> argparse.ArgumentParser:
    """The options every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("/var/tmp"),
        help="where the archives are made: on a disk, or /dev/shm for none (default: %(default)s)",
    )
    return parser


def require(*programs: tuple[str, str]) -> None:
    """End with a clear line when Dovecot, a program, or the corpus is not there."""
    try:
        dovecot.check_version()
    except dovecot.MissingServerError as error:
        sys.exit(str(error))
    for program, package in programs:
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed: apt install {package}")
    if not CORPUS.exists():
        sys.exit(f"the mail to measure with is not there: {CORPUS}")


@contextlib.contextmanager
def workplace(root: Path) -> Iterator[Path]:
    """An empty directory under `root`, removed at the end."""
    if not root.is_dir():
        sys.exit(f"--root: there is no directory {root}")
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=root))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def corpus_server(*, compress: bool = False) -> Iterator[tuple[dovecot.User, int]]:
    """A Dovecot whose INBOX holds the corpus, its caches warm, and the number of messages in it.

    It offers COMPRESS only when asked to: a client that takes it is slower for it on loopback.
    """
    settings = "" if compress else "protocol imap {\n  mail_plugins = quota imap_quota\n}"
    server = dovecot.start(dovecot.Options(layout="mdbox:~/mdbox", settings=settings))
    try:
        user = server.new_user()
        maildir = server.directory / "corpus"
        count = unpack(maildir)
        user.import_maildir(maildir)
        shutil.rmtree(maildir)
        held = user.status()["messages"]
        if held != count:
            sys.exit(f"Dovecot took {held} of {count} messages")
        server.doveadm(
            "fetch", "-u", user.name, "size.virtual date.received flags", "mailbox", "INBOX", "all"
        )
        yield user, count
    finally:
        server.stop()


def unpack(maildir: Path) -> int:
    """Lay out the corpus as a Maildir, each file dated as its message; the number of messages."""
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    count = 0
    with lzma.open(CORPUS) as packed, tarfile.open(fileobj=packed, mode="r|") as members:
        for member in members:
            content = members.extractfile(member)
            if content is None:
                continue
            path = maildir / "cur" / f"{count:06}.bench:2,"
            raw = content.read()
            path.write_bytes(raw)
            moment = received(raw, member.mtime)
            os.utime(path, (moment, moment))
            count += 1
    return count


def received(raw: bytes, otherwise: float) -> float:
    """When a message may have come in, in Unix seconds: its Date header, where that can be read."""
    header = email.message_from_bytes(raw.partition(b"\n\n")[0])["Date"]
    try:
        return max(parsedate_to_datetime(str(header)).timestamp(), 0)
    except ValueError:
        return otherwise


def measure(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end, its output thrown away; a failure ends the benchmark with what it said."""
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **(environment or {})},
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            said = errors.read().decode(errors="replace")[-2000:]
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def archiver_config(user: dovecot.User, directory: Path, port: int) -> Path:
    """A configuration with one account, `bench`, and its archive under `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config.yaml"
    path.write_text(
        f"archive: {directory / 'archive'}\n"
        "accounts:\n"
        "  bench:\n"
        "    imap:\n"
        f"      host: {user.server.host}\n"
        f"      port: {port}\n"
        "      security: none\n"
        f"      user: {user.name}\n"
        f"      password: {{env: {PASSWORD_VARIABLE}}}\n",
        encoding="utf-8",
    )
    return path


def archiver(config: Path, *verb: str) -> list[str]:
    if not ARCHIVER.exists():
        sys.exit(f"{ARCHIVER} is not installed: make bench, or pip install -e .")
    return [str(ARCHIVER), "--config", str(config), *verb]


def megabytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB"
