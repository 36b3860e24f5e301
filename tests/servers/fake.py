r"""An IMAP server without IMAP: mailboxes in memory, and a connection that behaves as `archiver.imap` does.

    server = FakeServer()
    server.folder("INBOX").add(b"Subject: hello\r\n\r\nhello\r\n", {"\\Seen"})
    pull(account, server.connect(), ledger)

Quick enough for thousands of pulls. What only a real line shows (syntax, TLS, cuts inside a literal) is not
here: take `scripted`.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from archiver.config.structs import PERSONAL, Namespace
from archiver.errors import ConnectionLostError, FolderError
from archiver.imap import Connection, Failed, Fetched, Listed, Mailbox, Receive, Selected, Status
from archiver.store.maildir import key_of

EPOCH = 1577836800  # INTERNALDATE of the first message, Unix seconds


@dataclass
class FakeMail:
    """One message; `modseq` is the folder's when it last changed. `refused`: never handed out, and why.

    `content` is what a server that names contents calls these bytes.
    """

    wire: bytes
    flags: frozenset[str]
    received: int | None
    modseq: int
    refused: str = ""
    content: str = ""
    labels: frozenset[str] = frozenset()


@dataclass
class FakeFolder:
    """One mailbox: UID -> message, ascending.

    unlisted: how many of the oldest messages are counted and not shown (Yahoo). refused: the answer to
    EXAMINE, if it is a NO. garbage: the MAILBOXID that STATUS tells, if it is a wrong one (Cyrus).
    """

    uidvalidity: int | None = 1
    special: tuple[str, ...] = ()
    uidnext: int = 1
    modseq: int = 1
    mails: dict[int, FakeMail] = field(default_factory=dict)
    vanished: dict[int, int] = field(default_factory=dict)  # UID -> mod-sequence when it did
    unlisted: int = 0
    refused: str = ""
    mailboxid: str = ""
    garbage: str | None = None

    def add(
        self,
        wire: bytes,
        flags: Iterable[str] = (),
        received: int | None = EPOCH,
        *,
        content: str | None = None,
        labels: Iterable[str] = (),
    ) -> int:
        """Deliver a message; its UID. Its content is called by its bytes unless given."""
        uid = self.uidnext
        self.uidnext += 1
        self.modseq += 1
        content = content or f"id:{key_of(wire).hex()}:{len(wire)}"
        self.mails[uid] = FakeMail(
            wire, frozenset(flags), received, self.modseq, content=content, labels=frozenset(labels)
        )
        return uid

    def label(self, uid: int, labels: Iterable[str]) -> None:
        self.modseq += 1
        self.mails[uid].labels = frozenset(labels)
        self.mails[uid].modseq = self.modseq

    def flag(self, uid: int, flags: Iterable[str]) -> None:
        self.modseq += 1
        self.mails[uid].flags = frozenset(flags)
        self.mails[uid].modseq = self.modseq

    def expunge(self, uid: int) -> FakeMail:
        self.modseq += 1
        self.vanished[uid] = self.modseq
        return self.mails.pop(uid)

    def renumber(self, uidvalidity: int | None) -> None:
        """Count the UIDs anew, from 1: what a backup put back does, often under the UIDVALIDITY of before."""
        self.uidvalidity = uidvalidity
        self.mails = dict(enumerate(self.mails.values(), 1))
        self.uidnext = len(self.mails) + 1
        self.modseq += 1
        self.vanished = {}
        for mail in self.mails.values():
            mail.modseq = self.modseq

    def shown(self) -> dict[int, FakeMail]:
        return dict(list(self.mails.items())[self.unlisted :])


class FakeServer:
    """Mailboxes by name.

    condstore: whether mod-sequences are told; qresync: and with EXAMINE what changed and vanished since;
    uidnext: whether EXAMINE tells it; naming: whether contents have names, labels: and labels, objectid:
    and mailboxes (MAILBOXID), which stay when they are renamed.
    """

    def __init__(
        self,
        *,
        condstore: bool = True,
        qresync: bool = False,
        uidnext: bool = True,
        naming: bool = False,
        labels: bool = False,
        objectid: bool = False,
    ) -> None:
        self.naming = naming or labels or objectid
        self.objectid = objectid
        self._mailboxes = itertools.count(1)
        self.labels = labels
        self.condstore = condstore or qresync
        self.qresync = qresync
        self.uidnext = uidnext
        self.folders: dict[str, FakeFolder] = {}
        self.folder()

    def folder(self, name: str = "INBOX") -> FakeFolder:
        """The mailbox of that name, made when it is not there."""
        if name not in self.folders:
            self.folders[name] = FakeFolder(mailboxid=f"F{next(self._mailboxes)}")
        return self.folders[name]

    def rename(self, **names: str) -> None:
        """Let mailboxes have other names, all at once: `rename(A="B", B="A")`."""
        renamed = {names.get(name, name): folder for name, folder in self.folders.items()}
        assert len(renamed) == len(self.folders)
        self.folders = renamed

    def connect(self, *, cut_after: int | None = None) -> FakeConnection:
        """A session; it is lost after `cut_after` messages were fetched."""
        return FakeConnection(self, cut_after)

    def messages(self) -> dict[tuple[str, int], bytes]:
        """(folder, UID) -> bytes of everything there is."""
        return {
            (name, uid): mail.wire
            for name, folder in self.folders.items()
            for uid, mail in folder.mails.items()
        }


class FakeConnection(Connection):
    """A session with a FakeServer, far away. `asked` records the calls: ("fetch", "INBOX", 1, 2, 3)."""

    @property
    def round_trip(self) -> float:
        return 1.0

    def __init__(self, server: FakeServer, cut_after: int | None = None) -> None:
        self.server = server
        self.identity = "fake"
        self.capabilities = ("CONDSTORE", "IMAP4REV1") if server.condstore else ("IMAP4REV1",)
        self.capabilities += ("X-GM-EXT-1",) if server.labels else ()
        self.capabilities += ("OBJECTID",) if server.objectid else ()
        self.tells_changes = server.qresync and not server.labels
        self.asked: list[tuple[object, ...]] = []
        self.abandoned = False
        self._left = cut_after
        self._examined = ""

    @property
    def names_contents(self) -> bool:
        return self.server.naming

    def sees(self, raw: str) -> bool:
        return True

    def list_folders(self, namespaces: Collection[Namespace] = PERSONAL) -> list[Mailbox]:
        self._record("list_folders")
        return [Mailbox(name, name, "/", folder.special) for name, folder in self.server.folders.items()]

    def status(self, mailboxes: Sequence[Mailbox]) -> dict[str, Status | FolderError]:
        self._record("status", *(m.raw for m in mailboxes))
        return {m.raw: self._told(self.server.folders[m.raw]) for m in mailboxes}

    def _told(self, folder: FakeFolder) -> Status:
        told = folder.mailboxid if folder.garbage is None else folder.garbage
        mailboxid = told if self.server.objectid else None
        return Status(len(folder.mails), folder.uidnext, folder.uidvalidity, self._modseq(folder), mailboxid)

    def _modseq(self, folder: FakeFolder) -> int | None:
        return folder.modseq if self.server.condstore else None

    def examine(self, mailbox: Mailbox, known: tuple[int, int] | None = None) -> Selected:
        self._record("examine", mailbox.raw, known)
        folder = self.server.folders[mailbox.raw]
        if folder.refused:
            raise FolderError(f"cannot be opened: {folder.refused}", folder=mailbox.name)
        self._examined = mailbox.raw
        uidnext = folder.uidnext if self.server.uidnext else None
        modseq = self._modseq(folder)
        mailboxid = folder.mailboxid if self.server.objectid else None
        facts = Selected(len(folder.mails), folder.uidvalidity, uidnext, modseq, mailboxid=mailboxid)
        if not self.tells_changes or known is None or known[0] != folder.uidvalidity:
            return facts
        changed = [Listed(uid, mail.flags) for uid, mail in folder.shown().items() if mail.modseq > known[1]]
        vanished = [(uid, uid) for uid, when in folder.vanished.items() if when > known[1]]
        return msgspec.structs.replace(facts, changed=tuple(changed), vanished=tuple(vanished))

    def list_uids(
        self, first: int, last: int | None = None, since: int | None = None, *, named: bool = False
    ) -> Iterator[Listed]:
        self._record("list_uids", self._examined, first, last, since)
        for uid, mail in self.server.folders[self._examined].shown().items():
            if first <= uid and (last is None or uid <= last) and (since is None or mail.modseq > since):
                yield self._listed(uid, mail, named)

    def uids(self, first: int = 1) -> Iterator[int]:
        return (listed.uid for listed in self.list_uids(first))

    def name(self, uids: Sequence[int]) -> Iterator[Listed]:
        self._record("name", self._examined, *uids)
        for uid, mail in self.server.folders[self._examined].shown().items():
            if uid in uids:
                yield self._listed(uid, mail, True)

    def _listed(self, uid: int, mail: FakeMail, named: bool) -> Listed:
        labels = mail.labels if self.server.labels else None
        if not named or not self.server.naming:
            return Listed(uid, mail.flags, labels)
        return Listed(uid, mail.flags, labels, mail.content, mail.received)

    def fetch(self, uids: Sequence[int], receive: Receive | None = None) -> Iterator[Fetched | Failed]:
        self._record("fetch", self._examined, *uids)
        mails = self.server.folders[self._examined].mails
        for uid in uids:
            mail = mails.get(uid)
            if mail is None:
                continue
            if mail.refused:
                yield Failed(uid, mail.refused)
                continue
            if self._left is not None:
                if self._left == 0:
                    self.abandoned = True
                    raise ConnectionLostError("the server closed the connection")
                self._left -= 1
            yield Fetched(uid, mail.flags, mail.received, mail.wire)

    def log_out(self) -> None:
        self._record("log_out")

    def abandon(self) -> None:
        self.abandoned = True

    def _record(self, *call: object) -> None:
        assert not self.abandoned, "a connection that was given up is not used again"
        self.asked.append(call)
