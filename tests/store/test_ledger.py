"""The ledger: one transaction a batch, epochs and claims, what is due, what the index has to look at."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import DamagedError, DiskFullError, LockedError, StoreError
from archiver.search.places import LedgerPlaces
from archiver.search.tree import And, Node, Or, SamePlace
from archiver.search.tree import Place as Predicate
from archiver.store import records
from archiver.store.layout import ledger_path
from archiver.store.ledger import Ledger, glob_folder, has_label
from archiver.store.maildir import key_of
from archiver.store.records import VERSION, AccountRow, Content, Folder, NewPlace, Queued
from tests.store.conftest import fast_directory
from tests.store.tree import forget

TOP = (1 << 62, 0)


def key(number: int) -> bytes:
    return key_of(b"message %d" % number)


def place(uid: int, number: int, received: int = 1000, flags: str = "", words: str = "") -> NewPlace:
    return NewPlace(uid, key(number), 100 + number, received, f"{received}.{number}.U={uid}", flags, words)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(str(tmp_path)) as opened:
        yield opened


@pytest.fixture
def inbox(ledger: Ledger) -> Folder:
    return folder(ledger)


def folder(ledger: Ledger, name: str = "INBOX", account: str = "work", uidvalidity: int = 7) -> Folder:
    added = ledger.add_folder(account, name, name, f"{account}/{name}")
    ledger.new_epoch(added.id, uidvalidity)
    return ledger.folder(added.id)


def next_epoch(ledger: Ledger, of: Folder) -> Folder:
    ledger.new_epoch(of.id, of.uidvalidity + 1)
    return ledger.folder(of.id)


def settle(ledger: Ledger, of: Folder, cursor: int = 1) -> None:
    ledger.settle(of, cursor=cursor, uidnext=cursor + 1, messages=cursor, modseq=None, flags_at=5.0)


def changed(ledger: Ledger, after: int = 0) -> list[bytes]:
    return [each.key for each in ledger.changed(after, 1 << 40)]


class TestFile:
    def test_made_private_and_safe(self, tmp_path: Path) -> None:
        old = os.umask(0)
        try:
            with Ledger(str(tmp_path / "root")) as ledger:
                folder(ledger)
                assert ledger._one("PRAGMA journal_mode") == ("wal",)
                assert ledger._one("PRAGMA synchronous") == (2,)
                for path in (tmp_path / "root").iterdir():
                    assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
        finally:
            os.umask(old)
        assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o700

    def test_the_rows_are_what_their_structs_say(self, ledger: Ledger) -> None:
        tables = [("folder", records.Folder), ("place", records.Place), ("spot", records.Spot)]
        tables += [("account", records.AccountRow), ("failed", records.Failure)]
        for table, struct in tables:
            columns = [row[1] for row in ledger._rows(f"PRAGMA table_info({table})")]
            assert sorted(columns) == sorted(struct.__struct_fields__), table

    def test_fresh_until_the_tree_was_read(self, tmp_path: Path) -> None:
        with Ledger(str(tmp_path)) as first:
            assert first.fresh
            name = first.id
        with Ledger(str(tmp_path)) as second:
            assert second.fresh and second.id == name
            second.rebuilt()
            assert not second.fresh
        with Ledger(str(tmp_path)) as third:
            assert not third.fresh

    def test_another_ledger_has_another_id(self, tmp_path: Path) -> None:
        with Ledger(str(tmp_path / "a")) as one, Ledger(str(tmp_path / "b")) as other:
            assert one.id != other.id

    def test_renamed_it_has_another_id_for_all_who_have_it_open(self, tmp_path: Path) -> None:
        with Ledger(str(tmp_path)) as one, Ledger(str(tmp_path)) as other:
            name = one.id
            other.rename()
            assert one.id == other.id != name

    @pytest.mark.parametrize(
        "content", [b"not a database, but long enough to be one" * 30, b"SQLite format 3\0x"]
    )
    def test_what_is_no_database(self, tmp_path: Path, content: bytes) -> None:
        Path(ledger_path(str(tmp_path))).write_bytes(content)
        with pytest.raises(DamagedError) as caught:
            Ledger(str(tmp_path))
        assert "is damaged" in caught.value.message
        assert "rebuilds it" in str(caught.value.hint)
        assert Path(ledger_path(str(tmp_path))).read_bytes() == content

    def test_an_empty_file_is_a_new_ledger(self, tmp_path: Path) -> None:
        Path(ledger_path(str(tmp_path))).touch()
        with Ledger(str(tmp_path)) as ledger:
            assert ledger.fresh

    def test_rot_inside(self, tmp_path: Path) -> None:
        with Ledger(str(tmp_path)) as ledger:
            inbox = folder(ledger)
            ledger.add_places(inbox, [place(uid, uid) for uid in range(1, 400)])
            ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path = Path(ledger_path(str(tmp_path)))
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xa5" * (len(content) - 4096)
        path.write_bytes(content)
        with pytest.raises(DamagedError, match="is damaged"), Ledger(str(tmp_path)) as ledger:
            ledger.folders()
            ledger.spots(key(1))

    def test_text_that_is_none(self, ledger: Ledger, inbox: Folder) -> None:
        ledger._db.execute("UPDATE folder SET error = CAST(x'ff41' AS TEXT)")
        with pytest.raises(DamagedError, match="is damaged"):
            ledger.folders()

    @pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
    def test_another_version_is_left_alone(self, tmp_path: Path, version: int) -> None:
        Ledger(str(tmp_path)).close()
        with sqlite3.connect(ledger_path(str(tmp_path))) as raw:
            raw.execute(f"PRAGMA user_version = {version}")
        raw.close()
        with pytest.raises(DamagedError, match=f"of format {version}, this program knows {VERSION}"):
            Ledger(str(tmp_path))
        with sqlite3.connect(ledger_path(str(tmp_path))) as raw:
            assert raw.execute("SELECT count(*) FROM meta").fetchone() == (2,)
        raw.close()

    def test_what_failed_to_open_is_closed(self, tmp_path: Path) -> None:
        path = Path(ledger_path(str(tmp_path)))
        path.write_bytes(b"nothing like a database" * 100)
        with pytest.raises(DamagedError) as caught:
            Ledger(str(tmp_path))
        assert caught.value.__traceback__ is not None  # which keeps the half-made Ledger alive
        opened = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd_is_open(fd)]
        assert str(path) not in opened

    def test_a_directory_in_its_place(self, tmp_path: Path) -> None:
        Path(ledger_path(str(tmp_path))).mkdir()
        with pytest.raises(StoreError, match="unable to open"):
            Ledger(str(tmp_path))

    def test_a_disk_that_is_full(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [place(1, 1)])
        size = max(os.path.getsize(ledger_path(ledger.root) + end) for end in ("", "-wal"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, hard))
        try:
            with pytest.raises(DiskFullError) as caught:
                ledger.add_places(inbox, [place(uid, uid) for uid in range(2, 2000)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.transient
        assert set(ledger.known(inbox)) == {1}
        ledger.add_places(inbox, [place(uid, uid) for uid in range(2, 2000)])
        assert len(ledger.known(inbox)) == 1999

    def test_one_that_another_writes_for_too_long(self, ledger: Ledger, inbox: Folder) -> None:
        ledger._db.execute("PRAGMA busy_timeout = 10")
        with Ledger(ledger.root) as other, other.transaction():
            assert ledger.folder(inbox.id) == inbox  # reading waits for nobody
            with pytest.raises(LockedError, match="is in use by another run"):
                ledger.started("work", 1.0)

    def test_our_own_mistakes_are_not_called_damage(self, ledger: Ledger) -> None:
        raised: list[BaseException] = []

        def other_thread() -> None:
            try:
                ledger.folders()
            except sqlite3.ProgrammingError as exc:
                raised.append(exc)

        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        assert len(raised) == 1


def fd_is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


class TestTransactions:
    def test_all_or_nothing(self, ledger: Ledger, inbox: Folder) -> None:
        with pytest.raises(ZeroDivisionError), ledger.transaction():
            ledger._db.execute("DELETE FROM folder")
            raise ZeroDivisionError
        assert ledger.folders() == [inbox]

    def test_a_batch_with_a_bad_place_adds_nothing(self, ledger: Ledger, inbox: Folder) -> None:
        bad = msgspec.structs.replace(place(3, 3), file=None)
        with pytest.raises(StoreError):
            ledger.add_places(inbox, [place(1, 1), place(2, 2), bad])
        assert (ledger.known(inbox), ledger.document_count(), ledger.last_change()) == ({}, 0, 0)
        ledger.add_places(inbox, [place(1, 1)])

    def test_two_write_at_once(self, tmp_path: Path) -> None:
        def write(name: str) -> None:
            with Ledger(str(tmp_path)) as mine:
                target = folder(mine, name)
                for uid in range(1, 31):
                    mine.add_places(target, [place(uid, uid), place(1000 + uid, -uid)])

        threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with Ledger(str(tmp_path)) as ledger:
            assert [len(ledger.known(each)) for each in ledger.folders()] == [60, 60]
            assert ledger.document_count() == 60
            assert len(set(changed(ledger))) == 60

    def test_many_first_runs_at_once(self, tmp_path: Path) -> None:
        def run(root: str) -> tuple[str, bool]:
            with Ledger(root) as mine:
                return mine.id, mine.fresh

        for number in range(5):
            with ThreadPoolExecutor(8) as pool:
                assert len(set(pool.map(run, [str(tmp_path / str(number))] * 16))) == 1

    def test_killed_in_the_middle(self, tmp_path: Path, rounds: int) -> None:
        """What was said to be known is; of the batch under way all or nothing."""
        script = (
            "import sys\nfrom archiver.store.ledger import Ledger\n"
            "from tests.store.test_ledger import place\n"
            "with Ledger(sys.argv[1]) as ledger:\n"
            "    inbox = ledger.add_folder('work', 'INBOX', 'INBOX', 'work/INBOX')\n"
            "    first = len(ledger.known(inbox)) // 7\n"
            "    for batch in range(first, first + 5000):\n"
            "        ledger.add_places(inbox, [place(batch * 7 + n, batch * 7 + n) for n in range(1, 8)])\n"
            "        print(batch + 1, flush=True)\n"
        )
        project = Path(__file__).parents[2]
        for turn in range(rounds):
            with subprocess.Popen(
                [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=project
            ) as process:
                assert process.stdout is not None
                for _ in range(3 + turn):
                    said = int(process.stdout.readline())
                process.send_signal(signal.SIGKILL)
                said = max([said, *map(int, process.stdout.read().split())])
            with Ledger(str(tmp_path)) as ledger:
                assert ledger._one("PRAGMA integrity_check") == ("ok",)
                known = ledger.known(ledger.folders()[0])
                assert len(known) % 7 == 0 and len(known) // 7 in (said, said + 1)
                assert set(known) == set(range(1, len(known) + 1))
                assert ledger.document_count() == len(known) == ledger.last_change()


class TestAccounts:
    def test_whose_mailbox_it_is(self, ledger: Ledger) -> None:
        assert not ledger.identify("work", "imap.example.org", "me")
        inbox = folder(ledger)
        home = folder(ledger, account="home")
        assert not ledger.identify("work", "imap.example.org", "me")
        assert ledger.folder(inbox.id) == inbox
        for host, user in (("imap.example.net", "me"), ("imap.example.net", "you")):
            ledger.new_epoch(inbox.id, 7)
            assert ledger.identify("work", host, user)
            assert ledger.folder(inbox.id).uidvalidity == 0  # what the server says next is a new epoch
        assert ledger.folder(home.id) == home
        assert [(row.host, row.user) for row in ledger.accounts()] == [("imap.example.net", "you")]

    def test_a_rebuilt_ledger_keeps_its_epochs_for_the_first_to_come(
        self, ledger: Ledger, inbox: Folder
    ) -> None:
        assert ledger.accounts() == []
        assert not ledger.identify("work", "imap.example.org", "me")
        assert ledger.folder(inbox.id).uidvalidity == 7

    def test_the_same_mailbox_under_another_name(self, ledger: Ledger, inbox: Folder) -> None:
        assert not ledger.identify("work", "imap.example.org", "me")
        ledger.same_mailbox("work", "imap.example.net", "me@example.net")
        assert not ledger.identify("work", "imap.example.net", "me@example.net")
        assert ledger.folder(inbox.id) == inbox
        assert ledger.identify("work", "imap.example.org", "me")

    def test_an_account_without_folders_has_no_epochs_to_open(self, ledger: Ledger) -> None:
        assert not ledger.identify("work", "imap.exmaple.org", "me")
        assert not ledger.identify("work", "imap.example.org", "me")

    def test_a_run_does_not_say_whose_mailbox_it_is(self, ledger: Ledger, inbox: Folder) -> None:
        """Nor when the daemon means to run: the host may be wrong, and nobody has logged in."""
        ledger.started("work", 10.0)
        ledger.schedule("work", 20.0)
        assert ledger.account("work") == AccountRow("work", "", "", 10.0, None, None, None, 20.0)
        assert ledger.account("home") is None
        assert not ledger.identify("work", "imap.example.org", "me")
        assert ledger.folder(inbox.id) == inbox

    def test_runs(self, ledger: Ledger) -> None:
        ledger.identify("work", "h", "u")
        ledger.started("work", 10.0)
        assert ledger.accounts() == [AccountRow("work", "h", "u", 10.0, None, None, None, None)]
        ledger.finished("work", 11.0, None)
        ledger.started("work", 20.0)
        ledger.finished("work", 21.0, "no route")
        ledger.schedule("work", 30.0)
        assert ledger.accounts() == [AccountRow("work", "h", "u", 20.0, 21.0, 11.0, "no route", 30.0)]
        ledger.finished("work", 22.0, None)
        assert ledger.accounts()[0].error is None


class TestFolders:
    def test_added_once(self, ledger: Ledger) -> None:
        first = ledger.add_folder("work", "A", "A", "work/A")
        assert ledger.add_folder("work", "A", "other", "other/path") == first
        other = ledger.add_folder("home", "A", "A", "home/A")
        assert ledger.folders() == [other, first]
        assert ledger.folders("work") == [first]
        assert (first.epoch, first.uidvalidity, first.cursor, first.uidnext) == (0, 0, 0, None)

    def test_open_says_that_nothing_is_up_to_date(self, ledger: Ledger, inbox: Folder) -> None:
        settle(ledger, inbox, 5)
        ledger.open_folder(inbox.id)
        with Ledger(ledger.root) as after_a_kill:
            found = after_a_kill.folder(inbox.id)
        assert (found.open, found.uidnext, found.cursor) == (1, None, 5)
        ledger.close_folder(inbox.id, "no luck")
        found = ledger.folder(inbox.id)
        assert (found.open, found.error, found.uidnext) == (0, "no luck", None)

    def test_settled_is_all_that_the_server_said(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.open_folder(inbox.id)
        ledger.settle(inbox, cursor=9, uidnext=10, messages=4, modseq=77, flags_at=8.0)
        found = ledger.folder(inbox.id)
        assert (found.cursor, found.uidnext, found.messages, found.modseq) == (9, 10, 4, 77)
        assert (found.flags_at, found.open, found.error) == (8.0, 0, None)

    def test_a_new_epoch_settles_nothing_and_forgets_failures(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [place(1, 1)])
        ledger.fail(inbox, 2, "no", 0)
        ledger.settle(inbox, cursor=9, uidnext=10, messages=4, modseq=77, flags_at=8.0)
        new = next_epoch(ledger, inbox)
        assert (new.epoch, new.uidvalidity) == (inbox.epoch + 1, 8)
        assert (new.cursor, new.uidnext, new.messages, new.modseq, new.flags_at) == (0, None, None, None, 0)
        assert ledger.known(new) == {} and ledger.all_failures() == []
        assert len(ledger.all_places(new.id)) == 1

    def test_folders_the_server_no_longer_lists(self, ledger: Ledger, inbox: Folder) -> None:
        other, home = folder(ledger, "Old"), folder(ledger, account="home")
        for each in (inbox, other, home):
            ledger.add_places(each, [place(1, 1)])
            settle(ledger, each)
        ledger.set_listed("work", ["INBOX"])
        gone = {spot.path: bool(spot.gone) for spot in ledger.spots(key(1))}
        assert gone == {"work/INBOX": False, "work/Old": True, "home/INBOX": False}
        assert [each.listed for each in ledger.folders()] == [1, 1, 0]
        unlisted = ledger.folder(other.id)
        assert (unlisted.uidnext, unlisted.messages, unlisted.flags_at) == (None, None, 0)
        assert ledger.folder(inbox.id).uidnext == 2
        ledger.set_listed("work", ["INBOX", "Old"])
        assert ledger.folder(other.id).listed == 1


class TestPlaces:
    def test_known_once_however_often_added(self, ledger: Ledger, inbox: Folder) -> None:
        batch = [place(1, 1, flags="S"), place(2, 2, words="$Work a"), place(3, 1)]
        assert ledger.add_places(inbox, batch) == 2
        before = (ledger.known(inbox), ledger.all_places(inbox.id), ledger.last_change())
        assert ledger.add_places(inbox, batch) == 0
        assert (ledger.known(inbox), ledger.all_places(inbox.id), ledger.last_change()) == before
        assert ledger.known(inbox) == {
            1: ("S", "", 0, None),
            2: ("", "$Work a", 0, None),
            3: ("", "", 0, None),
        }
        assert changed(ledger) == [key(1), key(2)]
        assert ledger.live_count(inbox) == 3
        assert ledger.known_keys([key(1), key(3)]) == {key(1)} and ledger.known_keys([]) == set()

    def test_flags_and_gone(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [place(uid, uid) for uid in (1, 2, 3)])
        ledger.set_gone(inbox, [1, 2], 500)
        ledger.set_gone(inbox, [1], 900)
        assert ledger.known(inbox) == {
            1: ("", "", 500, None),
            2: ("", "", 500, None),
            3: ("", "", 0, None),
        }
        ledger.set_flags(inbox, [(2, "FS", "$X", "Work")])  # it is there again
        assert ledger.known(inbox)[2] == ("FS", "$X", 0, "Work")
        assert ledger.live_count(inbox) == 2
        assert ledger.totals() == {inbox.id: (2, 1, 100 * 3 + 6)}
        assert [spot.uid for spot in ledger.spots(key(1))] == [1]

    def test_spots_on_the_server_come_first(self, ledger: Ledger, inbox: Folder) -> None:
        other = folder(ledger, "A/B")
        ledger.add_places(inbox, [place(1, 1)])
        ledger.add_places(other, [place(5, 1, received=50)])
        ledger.set_gone(inbox, [1], 500)
        spots = ledger.spots(key(1))
        assert [(s.folder, s.uid, s.gone, s.current) for s in spots] == [
            ("A/B", 5, 0, 1),
            ("INBOX", 1, 500, 1),
        ]
        assert (spots[0].size, spots[0].account, spots[0].path) == (101, "work", "work/A/B")
        assert ledger.received(key(1)) == 50
        assert ledger.received(key(9)) == 0
        next_epoch(ledger, other)
        assert [s.current for s in ledger.spots(key(1))] == [0, 1]

    def test_uids_of_the_present_epoch(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_earlier(inbox, [place(1, 9)])
        assert [list(uids) for uids in ledger.uids(ledger.folder(inbox.id))] == [[], []]
        ledger.add_places(inbox, [place(4294967295, 1), place(7, 2), place(3, 1), place(5, 3)])
        ledger.set_gone(inbox, [5], 100)
        assert [list(uids) for uids in ledger.uids(inbox)] == [[3, 7, 4294967295], [5]]
        assert [list(uids) for uids in ledger.uids(next_epoch(ledger, inbox))] == [[], []]

    def test_unsettled(self, ledger: Ledger, inbox: Folder) -> None:
        """The next pull compares all UIDs, and waits with none that failed."""
        other = ledger.add_folder("work", "B", "B", "work/B")
        for folder in (inbox, other):
            ledger.settle(folder, cursor=9, uidnext=10, messages=2, modseq=4, flags_at=1.0)
            ledger.fail(folder, 8, "no body", 1e9)
        ledger.unsettle(inbox.id)
        assert [folder.uidnext for folder in ledger.folders()] == [10, None]
        dues = {failure.folder: failure.due for failure in ledger.all_failures()}
        assert dues == {inbox.id: 0, other.id: 1e9}

    def test_places_of_uids_and_keys_of_folders(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [place(1, 1), place(2, 2), place(3, 1)])
        assert [each.uid for each in ledger.places(inbox, [3, 9, 1])] == [3, 1]
        assert [(each.uid, each.key, each.size) for each in ledger.stored(inbox.id)] == [
            (1, key(1), 101),
            (2, key(2), 102),
            (3, key(1), 101),
        ]
        assert ledger.keys_between(b"\0" * 32, b"\xff" * 32, 10) == sorted([key(1), key(2)])
        assert ledger.keys_between(key(1), key(1), 10) == [key(1)]


def named(uid: int, number: int, content: str | None, labels: str | None = None) -> NewPlace:
    file = f"1000.{key(number).hex()[:32]}.archiver,S=90,W={100 + number},V=7,U={uid}"
    return NewPlace(uid, key(number), 100 + number, 1000, file, "", "", content, labels)


class TestContents:
    def test_are_known_by_the_names_of_one_account(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [named(1, 1, "gm:1:101"), named(2, 2, None)])
        home = folder(ledger, account="home")
        ledger.add_places(home, [named(1, 3, "gm:1:101"), named(2, 4, "gm:2:104")])
        found = ledger.named("work", ["gm:1:101", "gm:2:104", "gm:3:1"])
        assert found == {"gm:1:101": Content(key(1), 101, named(1, 1, None).file, frozenset({1000}))}
        assert ledger.named("work", []) == {}

    def test_in_any_folder_and_also_when_gone(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [named(1, 1, "gm:1:101")])
        ledger.add_places(folder(ledger, "A/B"), [named(8, 1, "gm:1:101")])
        ledger.set_gone(inbox, [1], 5)
        assert ledger.named("work", ["gm:1:101"])["gm:1:101"].key == key(1)

    def test_a_name_that_stood_for_two_contents_stands_for_none(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [named(1, 1, "id:M1:9"), named(2, 2, "id:M1:9"), named(3, 3, "id:m1:9")])
        assert ledger.named("work", ["id:M1:9", "id:m1:9"]).keys() == {"id:m1:9"}

    def test_named_afterwards(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [named(1, 1, None), named(2, 2, "gm:2:102")])
        assert ledger.has_unnamed(inbox)
        ledger.set_contents(inbox, [(1, "gm:1:101"), (2, "gm:9:1"), (3, "gm:3:1")])
        assert not ledger.has_unnamed(inbox)
        assert ledger.named("work", ["gm:1:101", "gm:2:102", "gm:9:1"]).keys() == {"gm:1:101", "gm:2:102"}

    def test_mean_nothing_in_another_mailbox(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.identify("work", "imap.example.org", "me")
        ledger.add_places(inbox, [named(1, 1, "gm:1:101", "Work")])
        home = folder(ledger, account="home")
        ledger.add_places(home, [named(1, 1, "gm:1:101")])
        ledger.same_mailbox("work", "imap.example.net", "me")
        assert not ledger.identify("work", "imap.example.net", "me")
        assert ledger.named("work", ["gm:1:101"])
        assert ledger.identify("work", "imap.example.net", "you")
        assert not ledger.named("work", ["gm:1:101"])
        assert ledger.named("home", ["gm:1:101"])

    def test_are_looked_up_in_an_index(self, ledger: Ledger) -> None:
        with sqlite3.connect(ledger_path(ledger.root)) as raw:
            sql = "EXPLAIN QUERY PLAN SELECT 1 FROM place WHERE content IN (?, ?)"
            assert "INDEX place_content" in str(raw.execute(sql, ("a", "b")).fetchall())
        raw.close()

    def test_added_again_with_what_the_server_says_now(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [named(1, 1, "gm:1:101", "Work")])
        ledger.add_places(inbox, [named(1, 1, "gm:5:101", "Home\nWork")])
        (spot,) = ledger.spots(key(1))
        assert spot.label_names == ("Home", "Work")
        assert ledger.named("work", ["gm:1:101", "gm:5:101"]).keys() == {"gm:5:101"}


class TestLabels:
    @pytest.mark.parametrize(
        ("pattern", "labels", "fits"),
        [
            ("work", "Work", True),
            ("wor?", "A\nWork\nZ", True),
            ("work", "Work/2024", True),
            ("work", "Workshop", False),
            ("*2024", "Work/2024", True),
            ("inbox", "\\Inbox", True),
            ("\\inbox", "\\Inbox", True),
            ("\\inbox", "Inbox", False),
            ("STRASSE", "straße", True),
            ("a*z", "a\nz", False),
            ("[x]", "[x]", True),
            ("*", "", False),
            ("*", None, False),
        ],
    )
    def test_fit_as_folders_do(self, pattern: str, labels: str | None, fits: bool) -> None:
        assert has_label(pattern, labels) == fits

    def test_cost_the_index_nothing(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [named(1, 1, "gm:1:101", "Work")])
        before = ledger.last_change()
        ledger.set_flags(inbox, [(1, "", "", "Home")])
        assert ledger.keys("has_label(?, labels)", ("home",)) == {key(1)}
        assert ledger.last_change() == before


class TestEpochs:
    def test_claims_come_from_this_folder_and_earlier_epochs_only(
        self, ledger: Ledger, inbox: Folder
    ) -> None:
        other = folder(ledger, "Other")
        ledger.add_places(inbox, [place(1, 1), place(2, 1), place(3, 2)])
        ledger.add_places(other, [place(1, 1)])
        assert ledger.earlier_count(inbox) == 0 and ledger.claimable(inbox, key(1)) == []
        new = next_epoch(ledger, inbox)
        assert ledger.earlier_count(new) == 3
        assert [each.uid for each in ledger.claimable(new, key(1))] == [1, 2]
        assert ledger.claimable(new, key(9)) == []

    def test_the_likeliest_claim_comes_first(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [place(1, 1), place(2, 1)])
        ledger.set_gone(inbox, [1], 500)
        second = next_epoch(ledger, inbox)
        ledger.add_places(second, [place(9, 1)])
        third = next_epoch(ledger, second)
        assert [each.uid for each in ledger.claimable(third, key(1))] == [9, 2, 1]

    def test_a_claim_moves_the_place(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [place(1, 1), place(2, 2)])
        new = next_epoch(ledger, inbox)
        (old,) = ledger.claimable(new, key(1))
        assert ledger.add_places(new, [place(40, 1)], [old.id]) == 0
        assert ledger.claimable(new, key(1)) == []
        assert [(p.epoch, p.uid) for p in ledger.all_places(new.id)] == [(inbox.epoch, 2), (new.epoch, 40)]
        settle(ledger, new)
        assert [bool(p.gone) for p in ledger.all_places(new.id)] == [True, False]

    def test_what_nobody_claims_is_gone_but_imported_mail_is_not(self, ledger: Ledger, inbox: Folder) -> None:
        imported = NewPlace(0, key(5), 1, 1, f"1.{'5' * 32}.archiver,S=1", "", "")
        ledger.add_earlier(inbox, [place(7, 4), imported, place(7, 6)])
        found = {p.file: (p.epoch, p.uid) for p in ledger.all_places(inbox.id)}
        assert found == {"1000.4.U=7": (0, -1), imported.file: (-1, -2), "1000.6.U=7": (0, -3)}
        ledger.add_earlier(inbox, [place(7, 8)])
        assert min(p.uid for p in ledger.all_places(inbox.id)) == -4
        assert ledger.known(inbox) == {} and ledger.live_count(inbox) == 0
        settle(ledger, inbox)
        assert {p.epoch: bool(p.gone) for p in ledger.all_places(inbox.id)} == {0: True, -1: False}


class TestFailures:
    def test_due_later_and_later(self, ledger: Ledger, inbox: Folder) -> None:
        now, waits = 1000.0, []
        for _ in range(7):
            ledger.fail(inbox, 4, "no body", now)
            waits.append(ledger.failures(inbox)[4].due - now)
        assert waits == [0, 3600, 6 * 3600, 86400, 7 * 86400, 7 * 86400, 7 * 86400]
        failure = ledger.failures(inbox)[4]
        assert (failure.reason, failure.tries, failure.uid) == ("no body", 7, 4)

    def test_forgotten_when_stored_or_gone(self, ledger: Ledger, inbox: Folder) -> None:
        other = folder(ledger, "Other")
        for uid in (1, 2, 3):
            ledger.fail(inbox, uid, "no", 0)
            ledger.fail(other, uid, "no", 0)
        ledger.add_places(inbox, [place(1, 1)])
        ledger.forget_failures(inbox, [2, 99])
        assert set(ledger.failures(inbox)) == {3}
        assert set(ledger.failures(other)) == {1, 2, 3}
        assert [(f.folder, f.uid) for f in ledger.all_failures()] == [
            (inbox.id, 3),
            *((other.id, uid) for uid in (1, 2, 3)),
        ]


class TestWantedAgain:
    def test_until_it_is_back(self, ledger: Ledger, inbox: Folder) -> None:
        """The place stays, so that it is known what is lacking; the pull has a UID that is due."""
        ledger.add_places(inbox, [place(1, 1), place(2, 2)])
        settle(ledger, inbox)
        (lost,) = ledger.places(inbox, [1])
        ledger.want_again([lost.id])
        assert ledger.places(inbox, [1]) == [lost]
        assert ledger.folder(inbox.id).uidnext is None
        (failure,) = ledger.failures(inbox).values()
        assert (failure.uid, failure.tries, failure.due) == (1, 0, 0)
        ledger.add_places(inbox, [place(1, 1)])
        assert ledger.failures(inbox) == {} and len(ledger.all_places(inbox.id)) == 2


class TestChanges:
    def test_numbered_in_order(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [place(uid, uid) for uid in range(1, 6)])
        assert [each.key for each in ledger.changed(0, 2)] == [key(1), key(2)]
        assert [each.key for each in ledger.changed(2, 100)] == [key(3), key(4), key(5)]
        assert ledger.last_change() == 5 and ledger.changed(5, 100) == []
        ledger.touch([key(2), key(99), key(2)])
        assert ledger.last_change() == 7
        assert [each.key for each in ledger.changed(4, 7)] == [key(2), key(5)]

    def test_each_has_a_mark_of_its_own(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [place(uid, uid) for uid in range(1, 6)])
        ledger.touch([key(2), key(3)])
        marks = [ledger.mark(number) for number in range(1, 8)]
        assert None not in marks and len(set(marks)) == 7
        assert marks == [ledger.mark(number) for number in range(1, 8)]
        assert (ledger.mark(0), ledger.mark(8)) == (0, None)

    def test_what_is_needed_to_index_it(self, ledger: Ledger, inbox: Folder) -> None:
        other = folder(ledger, "Other")
        ledger.add_places(inbox, [place(1, 1, received=500, flags="S"), place(2, 2)])
        ledger.add_places(other, [place(8, 1, received=300)])
        ledger.set_gone(inbox, [1], now=9)
        forget(ledger, ledger.places(inbox, [2])[0].id)
        expected = [
            Queued(1, 300, key(1), 101, (("work/Other", "300.1.U=8", ""), ("work/INBOX", "500.1.U=1", "S"))),
            Queued(2, 0, key(2), 102, ()),
        ]
        assert ledger.changed(0, 100) == expected
        assert ledger.queue(0, 100, TOP) == 2
        assert list(ledger.queued(0, 10)) == expected

    def test_lined_up_newest_first(self, ledger: Ledger, inbox: Folder) -> None:
        dates = [500, 900, 100, 900, 700, 300]
        ledger.add_places(inbox, [place(n, n, received=date) for n, date in enumerate(dates, 1)])
        ledger.touch([key(3)])
        assert ledger.queue(0, 7, TOP) == 6
        line = list(ledger.queued(0, 10))
        assert [each.document for each in line] == [4, 2, 5, 1, 6, 3]
        assert [each.document for each in list(ledger.queued(2, 3))] == [5, 1, 6]
        for at, each in enumerate(line, 1):
            assert ledger.queue(0, 7, (each.received, each.document)) == 6 - at
            assert list(ledger.queued(0, 10)) == line[at:]
        assert ledger.queue(2, 5, TOP) == 3
        assert [each.document for each in list(ledger.queued(0, 10))] == [4, 5, 3]

    def test_a_place_in_the_line_is_kept_when_an_older_copy_comes(
        self, ledger: Ledger, inbox: Folder
    ) -> None:
        """How far a bulk is follows from it: with the new date, all that is between would count as done."""
        ledger.add_places(inbox, [place(n, n, received=100 * n) for n in range(1, 4)])
        assert ledger.queue(0, 3, TOP) == 3
        ledger.add_places(inbox, [place(4, 3, received=50)])
        assert [each.received for each in ledger.queued(0, 10)] == [300, 200, 100]
        assert [each.received for each in ledger.changed(3, 4)] == [50]

    def test_a_line_is_its_owners_alone(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [place(n, n, received=n) for n in range(1, 4)])
        with Ledger(ledger.root) as other:
            assert (ledger.queue(0, 3, TOP), other.queue(2, 3, TOP)) == (3, 1)
            assert len(list(ledger.queued(0, 10))) == 3

    def test_a_second_place_is_none_unless_it_is_older(self, ledger: Ledger, inbox: Folder) -> None:
        """A document without a Date has the date of its oldest place; else the rebuilt index would differ."""
        ledger.add_places(inbox, [place(1, 1, received=500)])
        ledger.add_places(inbox, [place(2, 1, received=700)])
        assert changed(ledger, 1) == []
        ledger.add_places(inbox, [place(3, 1, received=300)])
        assert changed(ledger, 1) == [key(1)]
        assert ledger.received(key(1)) == 300

    def test_another_message_under_its_uid_is_one_for_both(self, ledger: Ledger, inbox: Folder) -> None:
        """What was there is younger now; a bulk that has passed its new date must hear of it."""
        ledger.add_places(inbox, [place(1, 1, received=500)])
        ledger.add_places(inbox, [place(2, 1, received=700)])
        ledger.add_places(inbox, [place(3, 3, received=600)])
        last = ledger.last_change()
        ledger.add_places(inbox, [place(1, 2, received=500), place(3, 4, received=600)])
        assert set(changed(ledger, last)) == {key(1), key(2), key(4)}

    def test_a_claim_that_makes_it_younger_is_one(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [place(1, 1, received=500)])
        new = next_epoch(ledger, inbox)
        (old,) = ledger.claimable(new, key(1))
        ledger.add_places(new, [place(1, 1, received=800)], [old.id])
        assert changed(ledger, 1) == [key(1)]

    def test_a_document_that_had_no_place_is_one(self, ledger: Ledger, inbox: Folder) -> None:
        """The index may have dropped it."""
        ledger.add_places(inbox, [place(1, 1), place(2, 2)])
        (lost,) = ledger.places(inbox, [1])
        forget(ledger, lost.id)
        assert ledger.keys("1") == {key(2)} and ledger.document_count() == 2
        last = ledger.last_change()
        assert ledger.add_places(inbox, [place(1, 1)]) == 0
        assert changed(ledger, last) == [key(1)]


ACCOUNTS = ("work", "home", "work-2")
FOLDERS = (
    "INBOX",
    "Sent",
    "Lists/python",
    "Lists/Python-dev",
    "[Gmail]/All Mail",
    "Straße",
    "日本/仕事",
    "a*b?",
)
rows = st.lists(
    st.tuples(
        st.sampled_from(ACCOUNTS),
        st.sampled_from(FOLDERS),
        st.integers(1, 6),
        st.text("DFRST", max_size=3).map(lambda text: "".join(sorted(set(text)))),
        st.sampled_from([0, 0, 900]),
    ),
    max_size=12,
    unique_by=lambda row: row[:3],
)
predicates = st.builds(
    Predicate, st.just("account"), st.sampled_from([*ACCOUNTS, "w*", "WORK", "*", "wor?", "nobody"])
) | st.builds(
    Predicate,
    st.just("folder"),
    st.sampled_from(
        [*FOLDERS, "lists", "Lists/", "lists/*", "*python*", "[gmail]", "STRASSE", "日本", "a[*]b", "?ent"]
    ),
)
predicates |= st.builds(
    Predicate, st.just("is"), st.sampled_from(["unread", "read", "flagged", "answered", "draft", "gone"])
)
trees = st.recursive(
    predicates,
    lambda inner: st.builds(
        lambda kind, parts: kind(tuple(parts)),
        st.sampled_from([And, Or]),
        st.lists(inner, min_size=2, max_size=3),
    ),
)
Row = tuple[str, str, int, str, int]


def asked(ledger: Ledger, tree: SamePlace) -> set[bytes]:
    """The keys of the documents with such a place."""
    facts = LedgerPlaces(ledger)
    found = facts.documents(tree)
    keys = [*ledger.keys("1")]
    return {key for key, number in zip(keys, facts.numbers(keys), strict=True) if number in found}


class TestKeys:
    """Sets of documents for a condition on one and the same place."""

    @given(rows, trees)
    def test_any_tree_of_places_is_answered_as_a_person_would(self, facts: Sequence[Row], tree: Node) -> None:
        with fast_directory() as root, Ledger(root) as ledger:
            ledger._db.execute("PRAGMA synchronous = OFF")
            for account, name, number, flags, gone in facts:
                target = ledger.add_folder(account, name, name, f"{account}/{name}")
                ledger.add_places(target, [place(number, number, flags=flags)])
                if gone:
                    ledger.set_gone(target, [number], gone)
            expected = {key(row[2]) for row in facts if holds(tree, row)}
            assert asked(ledger, SamePlace(tree)) == expected

    def test_predicates_hold_for_one_and_the_same_place(self, ledger: Ledger, inbox: Folder) -> None:
        other = folder(ledger, "Other")
        ledger.add_places(inbox, [place(1, 1, flags="S")])
        ledger.add_places(other, [place(1, 1, flags="")])
        for name, state, found in (("inbox", "unread", set()), ("other", "unread", {key(1)})):
            tree = SamePlace(And((Predicate("folder", name), Predicate("is", state))))
            assert asked(ledger, tree) == found

    def test_every_column_of_the_contract(self, ledger: Ledger, inbox: Folder) -> None:
        ledger.add_places(inbox, [place(1, 1, received=500), place(2, 2, received=600)])
        assert ledger.keys("size > ? AND received >= ?", [101, 600]) == {key(2)}
        assert ledger.keys("casefold(folder) = ?", ["inbox"]) == {key(1), key(2)}
        assert ledger.keys("1") == {key(1), key(2)}
        assert ledger.keys("account = 'nobody'") == set()


def holds(tree: Node, row: Row) -> bool:
    account, name, _, flags, gone = row
    match tree:
        case And(parts):
            return all(holds(part, row) for part in parts)
        case Or(parts):
            return any(holds(part, row) for part in parts)
        case Predicate("account", value):
            return like(value, account)
        case Predicate("folder", value):
            value = value.rstrip("/")
            return like(value, name) or any(
                like(value, name[:end]) for end in range(len(name)) if name[end] == "/"
            )
        case Predicate("is", value):
            wanted = {"flagged": "F", "answered": "R", "draft": "D", "read": "S"}
            states = {word: letter in flags for word, letter in wanted.items()}
            return {**states, "unread": "S" not in flags, "gone": gone > 0}[value]
    raise AssertionError(tree)


def like(pattern: str, text: str) -> bool:
    """A glob of `*` and `?` only, letters of either case alike; by another way than the ledger's."""
    pattern, text = pattern.casefold(), text.casefold()
    reached = {0}
    for char in pattern:
        if char == "*":
            reached = set(range(min(reached), len(text) + 1)) if reached else set()
        else:
            reached = {i + 1 for i in reached if i < len(text) and char in ("?", text[i])}
    return len(text) in reached


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("INBOX", "inbox", True),
        ("Lists/*", "Lists/a/b", True),
        ("Lists/*", "Lists", False),
        ("*/b", "a/x/b", True),
        ("a?c", "a/c", True),
        ("STRASSE", "straße", True),
        ("*", "", True),
        ("a.c", "abc", False),
        ("*" + "a*" * 40 + "b", "a" * 200, False),
        ("line\nbreak", "line\nbreak", True),
    ],
)
def test_globs_cross_levels_and_know_no_case(pattern: str, name: str, fits: bool) -> None:
    assert glob_folder(pattern, name) is fits


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("[Gmail]/Spam", "[Gmail]/Spam", True),
        ("[gmail]/*", "[Gmail]/All Mail", True),
        ("[Gmail]/Spam", "G/Spam", False),
        ("Lists/*", "Lists/a/b", True),
        ("inbox", "INBOX", True),
        ("a?c", "abc", True),
    ],
)
def test_globs_of_folder_names(pattern: str, name: str, fits: bool) -> None:
    assert glob_folder(pattern, name) is fits
