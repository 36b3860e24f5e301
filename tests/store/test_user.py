from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archiver.errors import (
    ArchiverError,
    DamagedError,
    DiskFullError,
    InterruptedRun,
    LockedError,
    NotFoundError,
    StoreError,
)
from archiver.smtp import Outcome
from archiver.store import user as module
from archiver.store.user import INTERRUPTED, Intent, User

YOU, THEY = "you@example.org", "they@example.org"
SOMEBODY = Intent(b"k" * 32, "<1@example.org>", "work", "me@example.org", (YOU, THEY))


def statuses(user: User, message: int) -> list[tuple[str, str]]:
    return [(recipient.address, recipient.status) for recipient in user.message(message).recipients]


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "archive")


def test_what_is_queued_is_there_again(root: str) -> None:
    with User(root) as user:
        first, second = user.queue([SOMEBODY, SOMEBODY], 100)
        assert first != second
    with User(root) as user:
        message = user.message(first)
        assert (message.key, message.message_id, message.via) == (b"k" * 32, "<1@example.org>", "work")
        assert (message.sender, message.created, message.block) == ("me@example.org", 100, b"")
        assert statuses(user, first) == [(YOU, "queued"), (THEY, "queued")]
        assert [message.id for message in user.outbox()] == [second, first]
        assert [message.id for message in user.outbox(limit=1)] == [second]


def test_a_message_goes_from_queued_to_its_outcomes(root: str) -> None:
    with User(root) as user:
        (id,) = user.queue([SOMEBODY], 100)
        assert user.begin(id, b"Resent-From: me@example.org\r\n", 200) == (YOU, THEY)
        assert statuses(user, id) == [(YOU, "sending"), (THEY, "sending")]
        outcomes = [Outcome(YOU, "sent", 250, "taken"), Outcome(THEY, "failed", 550, "unknown")]
        assert user.finish(id, outcomes, 300) == ()
        message = user.message(id)
        assert message.block == b"Resent-From: me@example.org\r\n"
        assert [(r.status, r.code, r.reply, r.updated) for r in message.recipients] == [
            ("sent", 250, "taken", 300),
            ("failed", 550, "unknown", 300),
        ]
        assert user.outbox(open_only=True) == []


def test_one_message_ends_and_the_next_begins_together(root: str) -> None:
    with User(root) as user:
        first, second = user.queue([SOMEBODY, SOMEBODY], 100)
        user.begin(first, b"1", 200)
        sent = [Outcome(YOU, "sent", 250, "")]
        assert user.finish(first, sent, 300, then=(second, b"2")) == (YOU, THEY)
        assert statuses(user, first) == [(YOU, "sent"), (THEY, "sending")]
        assert statuses(user, second) == [(YOU, "sending"), (THEY, "sending")]
        assert user.message(second).block == b"2"


def test_only_what_may_be_sent_is_begun(root: str) -> None:
    with User(root) as user:
        (id,) = user.queue([SOMEBODY], 100)
        user.begin(id, b"", 200)
        assert user.begin(id, b"", 200) == ()
        user.finish(id, [Outcome(YOU, "deferred", 451, ""), Outcome(THEY, "unknown", 0, "")], 300)
        assert user.begin(id, b"", 400) == (YOU,)
        user.finish(id, [Outcome(YOU, "sent", 250, "")], 500)
        assert user.begin(id, b"", 600) == ()


def test_what_is_known_is_not_forgotten(root: str) -> None:
    with User(root) as user:
        (id,) = user.queue([SOMEBODY], 100)
        user.begin(id, b"", 200)
        user.finish(id, [Outcome(YOU, "sent", 250, ""), Outcome(THEY, "unknown", 0, "")], 300)
        user.settle([(id, [Outcome(YOU, "deferred", 0, ""), Outcome(THEY, "failed", 0, "")], 500)], 400)
        assert statuses(user, id) == [(YOU, "sent"), (THEY, "unknown")]


def test_what_another_is_sending_is_not_settled(root: str) -> None:
    with User(root) as user:
        (id,) = user.queue([SOMEBODY], 100)
        user.begin(id, b"", 200)
        user.settle([(id, [Outcome(YOU, "failed", 0, "no such server")], None)], 300)
        assert statuses(user, id) == [(YOU, "sending"), (THEY, "sending")]
        user.finish(id, [Outcome(YOU, "sent", 250, ""), Outcome(THEY, "sent", 250, "")], 400)
        assert statuses(user, id) == [(YOU, "sent"), (THEY, "sent")]


def test_a_queue_is_all_or_nothing(root: str) -> None:
    with User(root) as user:
        bad = Intent(b"k" * 32, "<2@example.org>", "work", "me@example.org", (YOU, None))  # type: ignore[arg-type]
        with pytest.raises(StoreError):
            user.queue([SOMEBODY, bad], 100)
        assert user.outbox() == []


def test_sending_without_a_holder_becomes_unknown(root: str) -> None:
    with User(root) as user:
        first, second = user.queue([SOMEBODY, SOMEBODY], 100)
        with user.sending("test", 200) as orphans:
            assert orphans == 0
            user.begin(first, b"", 200)
    with User(root) as user:
        assert statuses(user, first) == [(YOU, "sending"), (THEY, "sending")]
        with user.sending("test", 300) as orphans:
            assert orphans == 2
            assert statuses(user, first) == [(YOU, "unknown"), (THEY, "unknown")]
            assert statuses(user, second) == [(YOU, "queued"), (THEY, "queued")]
            assert user.message(first).recipients[0].reply == INTERRUPTED
            assert user.begin(first, b"", 400) == ()


def test_what_was_begun_and_not_touched_is_queued_again(root: str) -> None:
    with User(root) as user:
        first, second = user.queue([SOMEBODY, SOMEBODY], 100)
        with user.sending("test", 200):
            to = user.begin(first, b"", 200)
            user.begin(second, b"", 200)
            user.finish(second, [Outcome(YOU, "sent", 250, "ok")], 200)
            user.release([first, second], [], 300)
            assert statuses(user, first) == [(YOU, "queued"), (THEY, "queued")]
            assert statuses(user, second) == [(YOU, "sent"), (THEY, "queued")]
            assert user.begin(first, b"", 400) == to


@pytest.mark.parametrize(("boot", "status"), [(None, "queued"), ("another", "unknown")])
def test_what_was_reserved_is_unknown_once_the_machine_has_stopped(
    root: str, boot: str | None, status: str
) -> None:
    with User(root) as user:
        first, second, third = user.queue([SOMEBODY] * 3, 100)
        with user.sending("test", 200):
            user.begin(first, b"", 200)
            sent = [Outcome(YOU, "sent", 250, ""), Outcome(THEY, "sent", 250, "")]
            user.finish(first, sent, 300, reserve=[second])
    with User(root) as user:
        user.boot = boot or user.boot
        with user.sending("test", 400) as orphans:
            assert orphans == (2 if boot else 0)
        assert statuses(user, second) == [(YOU, status), (THEY, status)]
        assert statuses(user, third) == [(YOU, "queued"), (THEY, "queued")]
        # Seen to once.
        user.retry(second, 500)
        user.boot = "a third"
        with user.sending("test", 600) as orphans:
            assert orphans == 0


def test_cancelled_while_it_was_reserved_and_wanted_again_it_is_queued(root: str) -> None:
    with User(root) as user:
        first, second = user.queue([SOMEBODY] * 2, 100)
        with user.sending("test", 200):
            user.begin(first, b"", 200)
            user.finish(first, [Outcome(YOU, "sent", 250, "")], 300, reserve=[second])
            user.cancel(second, 300)
            assert user.begin(second, b"", 300) == ()
        user.retry(second, 400)
        user.boot = "another"
        with user.sending("test", 500):
            assert statuses(user, second) == [(YOU, "queued"), (THEY, "queued")]


def test_what_is_not_durable_yet_outlives_the_process(root: str) -> None:
    with User(root) as user:
        first, second = user.queue([SOMEBODY] * 2, 100)
        user.begin(first, b"", 200)
        sent = [Outcome(YOU, "sent", 250, ""), Outcome(THEY, "sent", 250, "")]
        assert user.finish(first, sent, 300, then=(second, b""), durable=False) == (YOU, THEY)
        assert user._rows("PRAGMA synchronous") == [(1,)]
        with User(root) as other:
            assert statuses(other, first) == [(YOU, "sent"), (THEY, "sent")]
        user.finish(second, sent, 400)
        assert user._rows("PRAGMA synchronous") == [(2,)]


def test_stopped_while_another_sends(root: str) -> None:
    with User(root) as user, User(root) as other, user.sending("resend", 200):
        asked = iter([False, True])
        with pytest.raises(InterruptedRun), other.sending("x", 200, stop=lambda: next(asked)):
            pytest.fail("two senders")


def test_while_one_sends_another_waits_or_is_told_who(root: str) -> None:
    with User(root) as user, User(root) as other:
        (id,) = user.queue([SOMEBODY], 100)
        with user.sending("resend", 200):
            user.begin(id, b"", 200)
            with (
                pytest.raises(LockedError, match=f"PID {os.getpid()}, resend"),
                other.sending("x", 200, wait=False),
            ):
                pytest.fail("two senders")
            assert statuses(other, id) == [(YOU, "sending"), (THEY, "sending")]


def test_the_lock_of_a_killed_sender_is_free_at_once(root: str) -> None:
    program = (
        "import sys, time\n"
        "from archiver.store.user import Intent, User\n"
        "user = User(sys.argv[1])\n"
        "intent = Intent(b'k', '<1@example.org>', 'work', 'me@example.org', ('you@example.org',))\n"
        "ids = user.queue([intent], 1)\n"
        "with user.sending('test', 2):\n"
        "    user.begin(ids[0], b'', 3)\n"
        "    print(ids[0], flush=True)\n"
        "    time.sleep(60)\n"
    )
    sender = subprocess.Popen([sys.executable, "-c", program, root], stdout=subprocess.PIPE, text=True)
    with sender:
        assert sender.stdout is not None
        id = int(sender.stdout.readline())
        with User(root) as user:
            with pytest.raises(LockedError), user.sending("test", 4, wait=False):
                pytest.fail("two senders")
            sender.send_signal(signal.SIGKILL)
            sender.wait()
            with user.sending("test", 5, wait=False) as orphans:
                assert orphans == 1
                assert statuses(user, id) == [(YOU, "unknown")]


def test_files_are_private(root: str) -> None:
    previous = os.umask(0)
    try:
        with User(root) as user:
            user.queue([SOMEBODY], 100)
            names = [name for name in os.listdir(root) if name.startswith("user.sqlite3")]
            modes = {name: stat.S_IMODE(os.stat(os.path.join(root, name)).st_mode) for name in names}
    finally:
        os.umask(previous)
    assert set(names) >= {"user.sqlite3", "user.sqlite3-wal"}
    assert set(modes.values()) == {0o600}


def test_a_file_others_may_read_is_closed_to_them(root: str) -> None:
    User(root).close()
    os.chmod(f"{root}/user.sqlite3", 0o644)
    User(root).close()
    assert stat.S_IMODE(os.stat(f"{root}/user.sqlite3").st_mode) == 0o600


def test_what_is_committed_is_synced(root: str) -> None:
    with User(root) as user:
        assert user._rows("PRAGMA journal_mode") == [("wal",)]
        assert user._rows("PRAGMA synchronous") == [(2,)]
    with User(root) as user:
        assert user._rows("PRAGMA synchronous") == [(2,)]


def test_many_first_runs_at_once(root: str) -> None:
    def run(number: int) -> int:
        with User(root) as user:
            return user.queue([SOMEBODY], number)[0]

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(run, range(24)))
    assert sorted(ids) == list(range(1, 25))


@pytest.mark.parametrize("content", [b"this is no database " * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_left_as_it_is(root: str, content: bytes) -> None:
    path = Path(root) / "user.sqlite3"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DamagedError) as caught:
        User(root)
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert path.read_bytes() == content


def test_a_database_of_somebody_else_is_left_as_it_is(root: str) -> None:
    os.mkdir(root)
    with sqlite3.connect(f"{root}/user.sqlite3") as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(DamagedError, match="another program"):
        User(root)


def test_a_later_version_is_left_as_it_is(root: str) -> None:
    User(root).close()
    with sqlite3.connect(f"{root}/user.sqlite3") as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(DamagedError, match="version 999") as caught:
        User(root)
    assert "later release" in (caught.value.hint or "")


def test_a_damaged_page_is_said(root: str) -> None:
    with User(root) as user:
        user.queue([SOMEBODY] * 200, 100)
    path = Path(root) / "user.sqlite3"
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(DamagedError), User(root) as user:
        user.outbox()


def test_an_older_version_is_migrated_and_keeps_its_rows(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with User(root) as user:
        (id,) = user.queue([SOMEBODY], 100)
    later = (
        *module._MIGRATIONS,
        ("CREATE TABLE later (name TEXT) STRICT", "INSERT INTO later VALUES ('kept')"),
    )
    monkeypatch.setattr(module, "_MIGRATIONS", later)
    with User(root) as user:
        assert user._rows("SELECT name FROM later") == [("kept",)]
        assert user._rows("PRAGMA user_version") == [(len(later),)]
        assert statuses(user, id) == [(YOU, "queued"), (THEY, "queued")]


def test_an_older_version_that_cannot_be_written_is_said(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    User(root).close()
    monkeypatch.setattr(module, "_MIGRATIONS", (*module._MIGRATIONS, ()))
    monkeypatch.setattr(module, "is_read_only", os.path.exists)
    with pytest.raises(StoreError, match="written by an earlier release") as caught:
        User(root)
    assert "make it writable once" in (caught.value.hint or "")


def test_a_migration_is_all_or_nothing(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    User(root).close()
    broken = (
        *module._MIGRATIONS,
        ("CREATE TABLE later (name TEXT) STRICT", "CREATE TABLE later (again TEXT)"),
    )
    with monkeypatch.context() as patch, pytest.raises(StoreError):
        patch.setattr(module, "_MIGRATIONS", broken)
        User(root)
    with User(root) as user:
        assert user._rows("SELECT name FROM sqlite_master WHERE name = 'later'") == []


def test_a_full_disk_is_said_and_nothing_is_half_done(root: str) -> None:
    with User(root) as user:
        pages = user._rows("PRAGMA page_count")[0][0]
        user._rows(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(DiskFullError) as caught:
            user.queue([SOMEBODY] * 1000, 100)
        assert caught.value.hint
        assert user.outbox() == []


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArchiverError) as caught:
        User(str(tmp_path / "file" / "archive"))
    assert caught.value.hint


def test_a_message_that_is_not_there(root: str) -> None:
    with User(root) as user, pytest.raises(NotFoundError) as caught:
        user.message(7)
    assert "outbox" in (caught.value.hint or "")
