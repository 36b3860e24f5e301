"""The mail that is pulled: a private Dovecot holding the corpus, or messages made up here."""

from __future__ import annotations

import contextlib
import email
import lzma
import os
import random
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

from archiver.store import layout
from archiver.store.maildir import Name, key_of, to_file
from bench import common
from tests.servers import dovecot

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus" / "list-18k.tar.xz"
DATE = b'"03-Feb-2020 04:05:06 +0000"'
# Messages in one APPEND (RFC 3502).
BUNCH = 100
NO_COMPRESS = "protocol imap {\n  mail_plugins = quota imap_quota\n}"


@dataclass(frozen=True)
class Corpus:
    """The server's copy of it, and the same messages as a Maildir."""

    user: dovecot.User
    maildir: Path
    count: int
    size: int


@contextlib.contextmanager
def server(*, compress: bool = False) -> Iterator[tuple[dovecot.Dovecot, Path]]:
    """A Dovecot, and a directory for mail: both keep it off the disk where there is a tmpfs.

    It offers COMPRESS only when asked to: a client that takes it is slower for it on loopback.
    """
    memory = common.TMPFS if common.TMPFS.is_dir() else None
    directory = Path(tempfile.mkdtemp(prefix="bench-mail-", dir=memory))
    directory.chmod(0o755)
    mailboxes = directory / "mailboxes"
    mailboxes.mkdir()
    if os.geteuid() == 0:
        shutil.chown(mailboxes, "mail", "mail")
    settings = "" if compress else NO_COMPRESS
    running = dovecot.start(dovecot.Options(layout=f"mdbox:{mailboxes}/%u", settings=settings))
    try:
        yield running, directory
    finally:
        running.stop()
        shutil.rmtree(directory)


@contextlib.contextmanager
def corpus(*, compress: bool = False) -> Iterator[Corpus]:
    """The corpus in one INBOX, the server's caches warm."""
    if not CORPUS.exists():
        sys.exit(f"the mail to measure with is not there: {CORPUS}")
    with server(compress=compress) as (running, directory):
        user = running.new_user()
        maildir = directory / "corpus"
        count, size = unpack(maildir)
        user.import_maildir(maildir)
        held = user.status()["messages"]
        if held != count:
            sys.exit(f"Dovecot took {held} of {count} messages")
        warm(user)
        yield Corpus(user, maildir, count, size)


def warm(user: dovecot.User, folder: str = "INBOX") -> None:
    """Let the server remember what every first reader would make it find out."""
    items = "size.virtual date.received flags"
    user.server.doveadm("fetch", "-u", user.name, items, "mailbox", folder, "all")


def unpack(maildir: Path) -> tuple[int, int]:
    """Lay out the corpus as a Maildir, each file dated as its message; messages and bytes."""
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    count = size = 0
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
            size += len(raw)
    return count, size


_IDS = re.compile(
    rb"^(?:Message-ID|In-Reply-To|References):[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE | re.MULTILINE
)
_DATE = re.compile(rb"^Date:[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE | re.MULTILINE)
_COPIES_APART = 37 * 86_400


def multiplied(count: int) -> Iterator[tuple[int, int, bytes]]:
    """`count` messages made of the corpus: (which copy, INTERNALDATE, bytes); the same ones every time.

    Copy 0 is the corpus as it is; the n-th has other ids and is n times 37 days older, so that copies of
    a message do not stand side by side.
    """
    with lzma.open(CORPUS) as packed, tarfile.open(fileobj=packed, mode="r|") as members:
        contents = ((member, members.extractfile(member)) for member in members)
        originals = [(file.read(), member.mtime) for member, file in contents if file]
    for number in range(count):
        copy, at = divmod(number, len(originals))
        raw, otherwise = originals[at]
        moment = int(received(raw, otherwise)) - copy * _COPIES_APART
        yield copy, moment, _renamed(raw, copy, moment) if copy else raw


def _renamed(raw: bytes, copy: int, moment: int) -> bytes:
    """A message with other ids and another date."""
    head, blank, body = raw.partition(b"\n\n")
    head = _IDS.sub(lambda found: found[0].replace(b"<", b"<%d." % copy), head)
    return _DATE.sub(b"Date: " + formatdate(moment).encode(), head) + blank + body


def fill_archive(root: Path, count: int, *, crlf: bool = False) -> None:
    """Lay out `multiplied` messages as pulled ones: INBOX and a folder for each further copy.

    With `crlf` their lines end as a server sends them. Nine of ten are read, one of 500 is flagged. The next
    command rebuilds ledger and index from it.
    """
    for copy in range(count // 17_000 + 1):
        name = f"Lists/{copy}" if copy else "INBOX"
        layout.claim_folder(str(root), "bench", layout.FolderFile(name, name, "/"))
    for uid, (copy, moment, raw) in enumerate(multiplied(count), 1):
        raw = raw.replace(b"\n", b"\r\n") if crlf else raw
        data, wire = to_file(raw)
        base = Name(moment, key_of(raw).hex()[:32], len(data), wire, 1, uid)
        flags = "F" * (uid % 500 == 0) + "S" * (uid % 10 != 0)
        folder = root / "mail" / "bench" / (f"Lists/{copy}" if copy else "INBOX")
        (folder / "cur" / f"{base}:2,{flags}").write_bytes(data)


def received(raw: bytes, otherwise: float) -> float:
    """When a message may have come in, in Unix seconds: its Date header, where that can be read."""
    header = email.message_from_bytes(raw.partition(b"\n\n")[0])["Date"]
    try:
        return max(parsedate_to_datetime(str(header)).timestamp(), 0)
    except ValueError:
        return otherwise


def append(user: dovecot.User, messages: Iterable[bytes], folders: Sequence[str] = ("INBOX",)) -> None:
    """Put the same messages into each of the folders, many in one command (MULTIAPPEND, LITERAL+)."""
    with dovecot.session(user.server.port) as say:
        say(f'LOGIN "{user.name}" "{user.password}"'.encode())
        bunch: list[bytes] = []
        for message in messages:
            bunch.append(b" (\\Seen) %b {%d+}\r\n%b" % (DATE, len(message), message))
            if len(bunch) == BUNCH:
                _append(say, folders, bunch)
                bunch = []
        if bunch:
            _append(say, folders, bunch)


def _append(say: Callable[[bytes], bytes], folders: Sequence[str], bunch: Sequence[bytes]) -> None:
    for folder in folders:
        say(b'APPEND "%b"%b' % (folder.encode("ascii"), b"".join(bunch)))


def made_up(count: int, *, first: int = 0, size: int | None = None) -> Iterator[bytes]:
    """Messages unlike each other, of `size` bytes each or of sizes as real ones have (median 4 kB).

    Always the same for the same numbers.
    """
    chance = random.Random(first)
    text = b"\r\n".join(chance.randbytes(38).hex().encode() for _ in range(20_000))
    for number in range(first, first + count):
        length = size or int(min(chance.lognormvariate(8.3, 1), len(text) - 1))
        start = chance.randrange(max(len(text) - length, 1))
        body = text[start : start + length]
        while len(body) < length:
            body += text[: length - len(body)]
        yield (
            b"From: Someone <someone@example.org>\r\nTo: list@example.org\r\n"
            b"Subject: Message %d\r\nMessage-ID: <%d@example.org>\r\n"
            b"Date: Mon, 3 Feb 2020 04:05:06 +0000\r\n\r\n%b\r\n" % (number, number, body)
        )
