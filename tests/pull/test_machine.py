"""Random histories of a mailbox and of the runs that archive it: nothing lost, nothing twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from itertools import count
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from archiver.errors import ConnectionLostError, InterruptedRun
from archiver.store.maildir import key_of, letters
from archiver.verify import Finding
from tests.pull import checks
from tests.pull.conftest import HOUR, Archive, mail, small_groups
from tests.pull.steps import lose_ledger, mended
from tests.servers.fake import FakeFolder, FakeServer

FOLDERS = st.sampled_from(["INBOX", "Work", "Work/Küche"])
# Few contents, so that twins are common.
CONTENTS = st.integers(0, 5)
LABELS = st.frozensets(st.sampled_from(["\\Inbox", "Büro"]))
FLAGS = st.frozensets(st.sampled_from(["\\Seen", "\\Flagged", "$Later"]))
WHICH = st.integers(0, 30)
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None


class Death(BaseException):
    """The process ends here, as far as the pull can tell."""


class Mailbox(RuleBasedStateMachine):
    """A server, an archive of it, and what the archive must hold by now.

    `archived` is every content that some run brought home; `room` how many files of each content a folder
    may have: one more for each time it came to the folder, none for UIDs counted anew.
    """

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(dir=MEMORY))
        self.archived: set[bytes] = set()
        self.room: Counter[tuple[str, bytes]] = Counter()
        # Folders of which a whole run must be seen before their UIDVALIDITY, or their UIDNEXT, may change.
        self.unsettled: set[str] = set()
        self.counted_anew: set[str] = set()
        self.uidvalidities = count(10)

    @initialize(
        condstore=st.booleans(),
        qresync=st.booleans(),
        uidnext=st.booleans(),
        naming=st.sampled_from(["", "contents", "labels", "mailboxes"]),
    )
    def open(self, condstore: bool, qresync: bool, uidnext: bool, naming: str) -> None:
        self.server = FakeServer(
            condstore=condstore,
            qresync=qresync,
            uidnext=uidnext,
            naming=naming == "contents",
            labels=naming == "labels",
            objectid=naming == "mailboxes",
        )
        self.archive = Archive(self.path / "archive", flags_every=0)

    def teardown(self) -> None:
        shutil.rmtree(self.path)

    # What happens on the server

    @rule(folder=FOLDERS, number=CONTENTS, flags=FLAGS, dated=st.booleans())
    def arrive(self, folder: str, number: int, flags: frozenset[str], dated: bool) -> None:
        self.deliver(folder, mail(number), flags, 1_600_000_000 if dated else None)

    def deliver(self, folder: str, wire: bytes, flags: frozenset[str], received: int | None) -> None:
        self.at_rest(folder)
        self.at(folder).add(wire, flags, received)
        self.room[folder, wire] += 1

    def at(self, name: str) -> FakeFolder:
        """A folder; one that is made, or made again, has a UIDVALIDITY of its own."""
        if name not in self.server.folders:
            self.server.folder(name).uidvalidity = next(self.uidvalidities)
        return self.server.folder(name)

    def at_rest(self, name: str) -> None:
        """UIDs counted anew under one UIDVALIDITY show in a lower UIDNEXT: a run sees it before it grows."""
        if name in self.counted_anew:
            self.pull()

    @rule(folder=FOLDERS, which=WHICH)
    def expunge(self, folder: str, which: int) -> None:
        if uid := self.chosen(folder, which):
            self.at(folder).expunge(uid)

    @rule(folder=FOLDERS, which=WHICH, flags=FLAGS)
    def flag(self, folder: str, which: int, flags: frozenset[str]) -> None:
        if uid := self.chosen(folder, which):
            self.at(folder).flag(uid, flags)

    @rule(folder=FOLDERS, which=WHICH, labels=LABELS)
    def label(self, folder: str, which: int, labels: frozenset[str]) -> None:
        if uid := self.chosen(folder, which):
            self.at(folder).label(uid, labels)

    @rule(folder=FOLDERS, which=WHICH, to=FOLDERS, copy=st.booleans())
    def move(self, folder: str, which: int, to: str, copy: bool) -> None:
        if uid := self.chosen(folder, which):
            found = self.at(folder).mails[uid]
            self.deliver(to, found.wire, found.flags, found.received)
            if not copy:
                self.at(folder).expunge(uid)

    @rule(folder=FOLDERS, uidvalidity=st.integers(1, 3), renumber=st.booleans())
    def change_uidvalidity(self, folder: str, uidvalidity: int, renumber: bool) -> None:
        found = self.at(folder)
        if folder in self.unsettled:
            self.pull()  # it may come back to a value it had
        if uidvalidity != found.uidvalidity:
            if renumber:
                found.renumber(uidvalidity)
            found.uidvalidity = uidvalidity
            self.unsettled.add(folder)

    @precondition(lambda self: self.server.uidnext)
    @rule(folder=FOLDERS)
    def count_anew(self, folder: str) -> None:
        """The same UIDVALIDITY, other UIDs; where something was expunged, UIDNEXT tells it."""
        found = self.at(folder)
        if found.uidnext > len(found.mails) + 1:
            self.pull()  # the archive knows UIDs that are now to be given again
            found.renumber(found.uidvalidity)
            self.unsettled.add(folder)
            self.counted_anew.add(folder)

    @rule(folder=FOLDERS)
    def delete(self, folder: str) -> None:
        if folder != "INBOX":
            self.server.folders.pop(folder, None)

    @precondition(lambda self: self.server.objectid)
    @rule(folder=FOLDERS, other=FOLDERS, garbage=st.none() | st.sampled_from(["", "F1", "F2", "F9"]))
    def rename(self, folder: str, other: str, garbage: str | None) -> None:
        """Or swap, where both are there; known by MAILBOXID, whatever STATUS says of it."""
        if folder not in self.server.folders or other == folder:
            return
        if {folder, other} & (self.unsettled | self.counted_anew):
            self.pull()
        if other in self.server.folders:
            self.server.rename(**{folder: other, other: folder})
        else:
            self.server.rename(**{folder: other})
        self.server.folders[other].garbage = garbage
        room = self.room.copy()
        for (name, wire), number in room.items():
            # Files stay with their folder; those of one that was called so before stay as well.
            if name == folder:
                self.room[other, wire] += number
            elif name == other:
                self.room[folder, wire] += number

    @rule(folder=FOLDERS, which=WHICH)
    def refuse(self, folder: str, which: int) -> None:
        """A message that cannot be had; until `relent`."""
        if uid := self.chosen(folder, which):
            self.at(folder).mails[uid].refused = "NO"

    @rule()
    def relent(self) -> None:
        for folder in self.server.folders.values():
            for each in folder.mails.values():
                each.refused = ""
        self.archive.now += 8 * 24 * HOUR

    @rule(folder=FOLDERS, unlisted=st.integers(0, 2))
    def hide(self, folder: str, unlisted: int) -> None:
        self.at(folder).unlisted = unlisted

    def chosen(self, folder: str, which: int) -> int | None:
        uids = list(self.at(folder).mails)
        return uids[which % len(uids)] if uids else None

    # What happens to the archive

    @rule()
    def pull(self) -> None:
        with small_groups():
            run = self.archive.pull(self.server.connect())
        self.unsettled.clear()
        self.counted_anew.clear()
        self.look(complete=run.complete)

    @rule(step=st.integers(0, 40))
    def die(self, step: int) -> None:
        left = step

        def fault(name: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Death(name)

        with small_groups(), contextlib.suppress(Death):
            self.archive.pull(self.server.connect(), fault=fault)

    @rule(messages=st.integers(0, 8))
    def lose_the_line(self, messages: int) -> None:
        with small_groups(), contextlib.suppress(ConnectionLostError):
            self.archive.pull(self.server.connect(cut_after=messages))

    @rule(messages=st.integers(0, 8))
    def stop(self, messages: int) -> None:
        left = iter(range(messages))
        with small_groups(), contextlib.suppress(InterruptedRun):
            self.archive.pull(self.server.connect(), stop=lambda: next(left, None) is None)

    @rule()
    def lose_the_ledger(self) -> None:
        """What was the highest UID of which life of a folder is then not known for certain."""
        lose_ledger(self.archive)
        self.unsettled.update(self.server.folders)
        self.counted_anew.update(self.server.folders)

    @rule(which=WHICH, letters=st.sampled_from(["", "S", "FRS"]))
    def rename_a_file(self, which: int, letters: str) -> None:
        """Another program sets flags in its own way."""
        if path := self.a_file(which):
            path.rename(path.with_name(path.name.partition(":")[0] + ":2," + letters))

    @rule(which=WHICH, damage=st.booleans())
    def lose_a_file(self, which: int, damage: bool) -> None:
        """One whose message is still on the server; and what can be mended here is mended at once."""
        self.pull()
        there = {key_of(wire).hex()[:32]: wire for wire in self.visible().values()}
        path = self.a_file(which)
        wire = there.get(path.name.split(".")[1]) if path else None
        if path and wire:
            size = path.stat().st_size
            path.unlink()  # alone, not its other names
            if damage:
                path.write_bytes(b"x" * size)
            mended(self.archive)
            self.archived.discard(wire)  # until the next run has it again

    def a_file(self, which: int) -> Path | None:
        paths = checks.files(self.archive.root)
        return paths[which % len(paths)] if paths else None

    # What must be true

    def visible(self) -> dict[tuple[str, int], bytes]:
        """What the server shows and hands out."""
        return {
            (name, uid): each.wire
            for name, folder in self.server.folders.items()
            for uid, each in folder.shown().items()
            if not each.refused
        }

    def look(self, *, complete: bool) -> None:
        """After a run to the end: the archive is what the server is, and more."""
        self.archived |= set(self.visible().values())
        live = checks.live(self.archive.root)
        assert self.visible().items() <= live.items()
        assert {place for place in live if place not in self.server.messages()} <= self.hidden_places()
        if complete and not self.hidden():
            assert live == self.server.messages()
            told = {(s.folder, s.uid): s.flags for s in checks.spots(self.archive.root) if not s.gone}
            assert told == self.flags()
            if self.server.labels:
                assert self.told_labels() == self.labels()
        findings = checks.findings(self.archive.root)
        assert [f for f in findings if not (self.never_used(f) or self.lost_for_good(f))] == []
        checks.nothing_between(self.archive.root)
        for place, number in self.files().items():
            assert number <= self.room[place], "a second file"

    def never_used(self, finding: Finding) -> bool:
        """A directory made by a run that died at once, of a folder that was deleted before the next one."""
        return finding.kind == "folder" and not checks.files_in(self.archive.root, finding.path)

    def lost_for_good(self, finding: Finding) -> bool:
        """A lost file whose message was deleted on the server before the next run: told for ever."""
        kept = {key_of(wire).hex() for wire in self.archived}
        return finding.kind == "missing" and finding.gone and finding.key not in kept

    def hidden(self) -> list[FakeFolder]:
        return [folder for folder in self.server.folders.values() if folder.unlisted and folder.mails]

    def hidden_places(self) -> set[tuple[str, int]]:
        """In a folder that shows less than it has, nothing may be taken for gone."""
        hidden = self.hidden()
        names = {name for name, folder in self.server.folders.items() if folder in hidden}
        return {(spot.folder, spot.uid) for spot in checks.spots(self.archive.root) if spot.folder in names}

    def flags(self) -> dict[tuple[str, int], str]:
        return {
            (name, uid): letters(each.flags)
            for name, folder in self.server.folders.items()
            for uid, each in folder.mails.items()
        }

    def labels(self) -> dict[tuple[str, int], frozenset[str]]:
        return {
            (name, uid): each.labels
            for name, folder in self.server.folders.items()
            for uid, each in folder.mails.items()
        }

    def told_labels(self) -> dict[tuple[str, int], frozenset[str]]:
        spots = checks.spots(self.archive.root)
        return {(s.folder, s.uid): frozenset(s.label_names) for s in spots if not s.gone}

    def files(self) -> Counter[tuple[str, bytes]]:
        """How many files of each content there are in each folder."""
        wires = {key_of(wire).hex()[:32]: wire for _, wire in self.room}
        return Counter(
            (self.folder_of(path), wires[path.name.split(".")[1]]) for path in checks.files(self.archive.root)
        )

    def folder_of(self, path: Path) -> str:
        """The name; one that gave way to another has a hash behind it in the directory's name."""
        return str(path.parent.parent.relative_to(self.archive.mail)).partition("%~")[0]

    @invariant()
    def everything_archived_is_readable(self) -> None:
        checks.readable(self.archive.root, *sorted(self.archived))


TestMachine = Mailbox.TestCase
TestMachine.settings = settings(stateful_step_count=40, suppress_health_check=list(HealthCheck))
