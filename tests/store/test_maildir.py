"""Messages as files: their names, their bytes, and that they are whole before they are there."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import DiskFullError, StoreError
from archiver.store.layout import make_directory
from archiver.store.maildir import (
    Finder,
    Group,
    Name,
    disk_errors,
    files,
    fits,
    key_of,
    letters,
    parse_name,
    sweep,
    to_file,
    to_wire,
)
from tests.conftest import missing
from tests.store.conftest import Trace
from tests.store.tree import Plain

DIGEST = "0123456789abcdef" * 2
numbers = st.integers(0, 2**32 - 1)
bases = st.builds(
    lambda received, digest, size, wire, place: Name(received, digest, size, wire, *place),
    st.integers(-(2**40), 2**40),
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.integers(0, 2**40),
    st.none() | st.integers(0, 2**40),
    st.just((None, None)) | st.tuples(numbers, numbers),
)
wires = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b"", b"\0", b"From ", b"\xff"]) | st.binary(max_size=5)
).map(b"".join)


@pytest.fixture
def maildir(tmp_path: Path) -> str:
    for sub in ("cur", "new", "tmp"):
        make_directory(str(tmp_path / "INBOX" / sub))
    return str(tmp_path / "INBOX")


def nothing(step: str) -> None:
    """What happens between the steps of a commit on other days."""


def name_of(wire: bytes, uid: int = 1) -> Name:
    data, size = to_file(wire)
    return Name(1_000_000_000, key_of(wire).hex()[:32], len(data), size, 7, uid)


def add(group: Group, wire: bytes, uid: int = 1, flags: str = "") -> str:
    name = name_of(wire, uid)
    group.add(f"{name}:2,{flags}", to_file(wire)[0], name.received)
    return f"{name}:2,{flags}"


def listed(folder: str, sub: str) -> list[str]:
    return sorted(os.listdir(os.path.join(folder, sub)))


class TestNames:
    @given(bases, st.text("DFRSTabc", max_size=6), st.booleans())
    def test_parse_back(self, name: Name, flags: str, bare: bool) -> None:
        text = str(name) if bare else f"{name}:2,{flags}"
        assert parse_name(text) == (name, "" if bare else flags)

    @given(
        st.builds(
            lambda name, i, j, text: str(name)[:i] + text + str(name)[j:],
            bases,
            *[st.integers(0, 90)] * 2,
            st.text("0123456789abcdef.,=:-SWVU٣²٠ \n", max_size=3),
        )
        | st.text()
    )
    def test_what_parses_is_written_the_same(self, text: str) -> None:
        parsed = parse_name(text)
        assert parsed is None or text in (str(parsed[0]), f"{parsed[0]}:2,{parsed[1]}")

    def test_the_form_that_the_design_gives(self) -> None:
        name = Name(1_000_000_000, DIGEST, 10, 12, 7, 3)
        assert str(name) == f"1000000000.{DIGEST}.archiver,S=10,W=12,V=7,U=3"
        imported = Name(-5, DIGEST, 10, None, None, None)
        assert str(imported) == f"-5.{DIGEST}.archiver,S=10"
        assert parse_name(f"{name}:2,FS") == (name, "FS")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "1000000000.M1P2.host:2,S",
            f"1000000000.{DIGEST}.archiver",
            f"1000000000.{DIGEST[:-1]}.archiver,S=10",
            f"1000000000.{DIGEST.upper()}.archiver,S=10",
            f"01.{DIGEST}.archiver,S=10",
            f"-0.{DIGEST}.archiver,S=10",
            f"1.{DIGEST}.archiver,S=010",
            f"٣.{DIGEST}.archiver,S=10",
            f"1.{DIGEST}.archiver,S=10,V=1",
            f"1.{DIGEST}.archiver,S=10,U=1",
            f"1.{DIGEST}.archiver,S=10,U=1,V=1",
            f"1.{DIGEST}.archiver,S=10:1,S",
            f"1.{DIGEST}.archiver,S=10:2,S\n",
            f"1.{DIGEST}.archiver,S={'9' * 5000}",
        ],
    )
    def test_what_is_not_ours(self, text: str) -> None:
        assert parse_name(text) is None

    def test_flags_of_imap_are_letters_of_maildir(self) -> None:
        everything = {
            "\\Draft",
            "\\Flagged",
            "\\Answered",
            "\\Seen",
            "\\Deleted",
            "\\Recent",
            "$Junk",
            "Work",
        }
        assert letters(frozenset(everything)) == "DFRST"
        assert letters(frozenset({"\\SEEN", "\\seen", "\\fLaGGed"})) == "FS"
        assert letters(frozenset()) == ""


class TestBytes:
    @given(wires)
    def test_the_wire_bytes_come_back(self, wire: bytes) -> None:
        data, size = to_file(wire)
        assert to_wire(data, name_of(wire)) == wire
        assert fits(wire, name_of(wire))
        if b"\n" in wire.replace(b"\r\n", b""):
            assert (data, size) == (wire, None)
        else:
            assert (size, data.replace(b"\n", b"\r\n")) == (len(wire), wire)

    @given(wires)
    def test_they_come_back_without_w_as_well(self, wire: bytes) -> None:
        name = name_of(wire)
        lost = Name(name.received, name.digest, name.size, None, name.uidvalidity, name.uid)
        assert to_wire(to_file(wire)[0], lost) == wire

    @given(wires, wires)
    def test_other_bytes_do_not_fit(self, wire: bytes, other: bytes) -> None:
        assert fits(other, name_of(wire)) == (other == wire)

    def test_keys_are_of_the_wire(self) -> None:
        assert key_of(b"").hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        assert key_of(b"a\r\n") != key_of(b"a\n")

    def test_rot_is_seen_with_or_without_w(self) -> None:
        name = name_of(b"a\r\nb\r\n")
        for rotten in (b"a\nB\n", b"", b"a\nb\n\0"):
            for wire in (name.wire, None):
                read = Name(name.received, name.digest, name.size, wire, 7, 1)
                assert not fits(to_wire(rotten, read), read)


class TestGroup:
    def test_files_hold_what_was_given(self, maildir: str) -> None:
        group = Group(maildir)
        one = add(group, b"Subject: a\r\n\r\nb\r\n", 1, "S")
        two = add(group, b"bare\nline", 2)
        assert listed(maildir, "cur") == []
        group.commit(Plain(), nothing)
        assert listed(maildir, "cur") == sorted([one, two])
        assert listed(maildir, "tmp") == []
        assert Path(maildir, "cur", one).read_bytes() == b"Subject: a\n\nb\n"
        assert Path(maildir, "cur", two).read_bytes() == b"bare\nline"
        for name in (one, two):
            facts = os.stat(os.path.join(maildir, "cur", name))
            assert stat.S_IMODE(facts.st_mode) == 0o600
            assert facts.st_mtime == 1_000_000_000
        assert {(str(name), flags) for name, flags, _ in files(maildir)} == {
            (str(name_of(b"Subject: a\r\n\r\nb\r\n", 1)), "S"),
            (str(name_of(b"bare\nline", 2)), ""),
        }

    def test_repeating_makes_no_second_file(self, maildir: str) -> None:
        for _ in range(2):
            group = Group(maildir)
            add(group, b"a\r\n")
            group.commit(Plain(), nothing)
        assert len(listed(maildir, "cur")) == 1

    def test_durable_before_it_is_there(self, maildir: str, trace: Trace) -> None:
        group = Group(maildir)
        names = [add(group, bytes([65 + n]) * 10, n) for n in range(8)]
        steps: list[str] = []

        def step(name: str) -> None:
            steps.append(name)
            assert name == "moved" or listed(maildir, "cur") == []

        group.commit(Plain(), step)
        assert steps == [*["written"] * 8, "synced", "moved"]
        for name in names:
            path = os.path.join(maildir, "tmp", name.partition(":")[0])
            target = os.path.join(maildir, "cur", name)
            assert trace.index("fsync", path) < trace.index("rename", path)
            assert trace.calls[trace.index("rename", path)] == ("rename", path, target)
        tmp = os.path.join(maildir, "tmp", "")
        renames = [i for i, call in enumerate(trace.calls) if call[0] == "rename"]
        syncs = [i for i, call in enumerate(trace.calls) if call[0] == "fsync" and call[1].startswith(tmp)]
        assert max(syncs) < min(renames)
        assert trace.calls[-1] == ("fsync", os.path.join(maildir, "cur"), "")
        assert len(renames) == len(syncs) == 8

    def test_a_file_that_was_there_before_the_group_is_made_durable_by_itself(
        self, maildir: str, trace: Trace
    ) -> None:
        """A syncfs answers only for what is written after its file system was opened."""

        class Whole(Plain):
            def _each(self, paths: Sequence[str]) -> None:
                """All at once."""

        name = name_of(b"large")
        spooled = os.path.join(maildir, "tmp", "archiver-spool-1")
        Path(spooled).write_bytes(b"large")
        group = Group(maildir)
        group.add(f"{name}:2,", spooled, name.received)
        add(group, b"small", 2)
        group.commit(Whole(), nothing)
        assert [path for kind, path, _ in trace.calls if kind == "fsync"] == [spooled, f"{maildir}/cur"]
        assert trace.index("fsync", spooled) < trace.index("rename", spooled)

    def test_a_group_holds_no_descriptor_a_message(self, maildir: str) -> None:
        group = Group(maildir)
        for uid in range(300):
            add(group, b"x", uid)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 30, hard))
        try:
            group.commit(Plain(), nothing)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert len(listed(maildir, "cur")) == 300

    def test_empty_directories_that_a_copy_left_behind(self, maildir: str) -> None:
        for sub in ("cur", "new", "tmp"):
            os.rmdir(os.path.join(maildir, sub))
        sweep(maildir)
        assert list(files(maildir)) == []
        group = Group(maildir)
        name = add(group, b"x")
        group.commit(Plain(), nothing)
        assert Finder().path(maildir, name.partition(":")[0], "S") == os.path.join(maildir, "cur", name)


class TestLinks:
    @pytest.fixture
    def source(self, maildir: str) -> str:
        group = Group(maildir)
        name = add(group, b"twin\r\n", 1)
        group.commit(Plain(), nothing)
        return os.path.join(maildir, "cur", name)

    def test_one_file_with_two_names(self, maildir: str, source: str, trace: Trace) -> None:
        group = Group(maildir)
        assert group.link(source, f"{name_of(b'twin', 2)}:2,S")
        group.commit(Plain(), nothing)
        assert os.stat(source).st_nlink == 2
        assert [call[0] for call in trace.calls] == ["link", "fsync"]

    def test_once_more_after_a_kill(self, maildir: str, source: str) -> None:
        target = f"{name_of(b'twin', 2)}:2,S"
        assert Group(maildir).link(source, target)
        assert Group(maildir).link(source, target)
        assert os.stat(source).st_nlink == 2

    def test_a_copy_that_is_there_is_as_good(self, maildir: str, source: str) -> None:
        Path(maildir, "cur", "copy").write_bytes(b"twin\n")
        assert Group(maildir).link(source, "copy")
        assert os.stat(source).st_nlink == 1

    def test_rotten_bytes_of_that_name_are_not(self, maildir: str, source: str) -> None:
        target = f"{name_of(b'twin', 2)}:2,"
        Path(maildir, "cur", target).write_bytes(b"tWin\n")
        group = Group(maildir)
        assert not group.link(source, target)
        group.add(target, b"twin\n", 1)
        group.commit(Plain(), nothing)
        assert Path(maildir, "cur", target).read_bytes() == b"twin\n"

    @pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP])
    def test_file_systems_that_will_not(
        self, maildir: str, source: str, code: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "link", refuse)
        assert not Group(maildir).link(source, "copy")
        assert len(listed(maildir, "cur")) == 1

    def test_a_source_that_has_just_been_renamed(self, maildir: str, source: str) -> None:
        os.rename(source, source + "S")
        assert not Group(maildir).link(source, "copy")

    def test_any_other_error_is_one(self, maildir: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "link", broken)
        with pytest.raises(OSError, match="Input/output"):
            Group(maildir).link(source, "copy")


class TestDiskFull:
    """No message is half in cur/, nothing is left in tmp/, and with room again it goes on."""

    def fill(self, folder: str, count: int, size: int) -> None:
        group = Group(folder)
        for uid in range(count):
            add(group, bytes([uid]) * size, uid)
        with disk_errors("store messages"):
            group.commit(Plain(), nothing)

    def test_a_limit_on_file_size(self, maildir: str) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        try:
            with pytest.raises(DiskFullError) as caught:
                self.fill(maildir, 3, 20_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (caught.value.exit_code, caught.value.transient) == (75, True)
        assert caught.value.message.startswith("cannot store messages: File too large")
        assert (listed(maildir, "cur"), listed(maildir, "tmp")) == ([], [])
        self.fill(maildir, 3, 20_000)
        assert len(listed(maildir, "cur")) == 3

    def test_a_small_file_system(self, tmp_path: Path) -> None:
        with small_disk(tmp_path, 256):
            folder = str(tmp_path / "INBOX")
            self.fill(folder, 4, 20_000)
            before = listed(folder, "cur")
            with pytest.raises(DiskFullError, match="No space left on device"):
                self.fill(folder, 40, 20_000)
            assert (listed(folder, "cur"), listed(folder, "tmp")) == (before, [])
            for path in Path(folder, "cur").iterdir():
                assert path.stat().st_size == 20_000
                path.unlink()
            self.fill(folder, 5, 20_000)

    @pytest.mark.parametrize("call", ["fsync", "rename"])
    def test_when_it_is_said_late(self, maildir: str, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Delayed allocation tells at fsync, a full directory at rename."""
        real: Callable[..., None] = getattr(os, call)
        count = 0
        guard = threading.Lock()

        def full(*arguments: object) -> None:
            nonlocal count
            with guard:
                count += 1
                if count > 2:
                    raise OSError(errno.ENOSPC, "No space left on device")
            real(*arguments)

        monkeypatch.setattr(os, call, full)
        with pytest.raises(DiskFullError):
            self.fill(maildir, 5, 10)
        monkeypatch.undo()
        assert listed(maildir, "tmp") == []
        whole = listed(maildir, "cur")
        assert len(whole) == (0 if call == "fsync" else 2)
        for name, _, path in files(maildir):
            assert fits(to_wire(Path(path).read_bytes(), name), name)
        self.fill(maildir, 5, 10)
        assert len(listed(maildir, "cur")) == 5 and set(whole) <= set(listed(maildir, "cur"))

    @pytest.mark.parametrize(
        ("code", "kind", "hint"),
        [
            (errno.ENOSPC, DiskFullError, "make room"),
            (errno.EDQUOT, DiskFullError, "make room"),
            (errno.EFBIG, DiskFullError, "make room"),
            (errno.EACCES, StoreError, "who owns"),
            (errno.EROFS, StoreError, "who owns"),
            (errno.EIO, StoreError, "None"),
        ],
    )
    def test_errors_say_what_was_tried(self, code: int, kind: type[StoreError], hint: str) -> None:
        with pytest.raises(StoreError) as caught, disk_errors("store a message"):
            raise OSError(code, os.strerror(code), "/some/file")
        assert type(caught.value) is kind
        assert caught.value.message == f"cannot store a message: {os.strerror(code)} (/some/file)"
        assert hint in str(caught.value.hint)


@contextmanager
def small_disk(path: Path, kilobytes: int) -> Iterator[None]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(path)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        missing(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_sweep_removes_our_unfinished_files_only(maildir: str) -> None:
    for name in (str(name_of(b"x")), "1000.M5P3.other-host", f"{name_of(b'y')}.lock"):
        Path(maildir, "tmp", name).touch()
    Path(maildir, "cur", f"{name_of(b'z')}:2,").touch()
    sweep(maildir)
    assert listed(maildir, "tmp") == sorted(["1000.M5P3.other-host", f"{name_of(b'y')}.lock"])
    assert len(listed(maildir, "cur")) == 1


def test_files_of_other_programs_are_passed_over(maildir: str) -> None:
    ours = [f"{name_of(b'x', uid)}:2,{flags}" for uid, flags in ((1, ""), (2, "FS"))]
    Path(maildir, "cur", ours[0]).touch()
    Path(maildir, "new", ours[1]).touch()
    for theirs in ("1000.M5P3.host:2,S", "dovecot-uidlist", ".hidden", ours[0] + "!"):
        Path(maildir, "cur", theirs).touch()
    assert sorted((str(name), flags) for name, flags, _ in files(maildir)) == [
        (str(name_of(b"x", 1)), ""),
        (str(name_of(b"x", 2)), "FS"),
    ]
    assert list(files(maildir + "/nowhere")) == []


class TestFinder:
    @pytest.fixture
    def bases(self, maildir: str) -> list[str]:
        made = [str(name_of(b"x", uid)) for uid in range(4)]
        for base in made:
            Path(maildir, "cur", f"{base}:2,").touch()
        return made

    def test_after_renames_by_other_programs(self, maildir: str, bases: list[str]) -> None:
        finder = Finder()
        cur = Path(maildir, "cur")
        for base, suffix in zip(bases, (":2,", ":2,FS", ":2,RSa", ""), strict=True):
            if suffix != ":2,":
                (cur / f"{base}:2,").rename(cur / f"{base}{suffix}")
            assert finder.path(maildir, base, "") == str(cur / f"{base}{suffix}")
        # mutt moves what it has not shown yet into new/, without flags.
        (cur / f"{bases[1]}:2,FS").rename(Path(maildir, "new", bases[1]))
        assert finder.path(maildir, bases[1], "FS") == os.path.join(maildir, "new", bases[1])

    def test_gone_is_gone(self, maildir: str, bases: list[str]) -> None:
        finder = Finder()
        assert finder.path(maildir, str(name_of(b"other")), "") is None
        os.unlink(os.path.join(maildir, "cur", f"{bases[0]}:2,"))
        assert finder.path(maildir, bases[0], "") is None
        assert finder.path(maildir + "/nowhere", bases[0], "") is None

    def test_one_listing_serves_many_questions(
        self, maildir: str, bases: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        count = 0
        real = os.scandir

        def counted(path: str) -> object:
            nonlocal count
            count += 1
            return real(path)

        monkeypatch.setattr(os, "scandir", counted)
        finder = Finder()
        for _ in range(5):
            for base in bases:
                assert finder.path(maildir, base, "T")
        assert count == 2  # cur and new, once
        for base in bases:
            # What is found is renamed, message by message, when flags of many have changed.
            path = finder.path(maildir, base, "T")
            assert path
            os.rename(path, os.path.join(maildir, "cur", f"{base}:2,F"))
            os.utime(os.path.join(maildir, "cur"), (count, int(base.partition("U=")[2])))
        assert count == 2

    def test_a_rename_that_the_clock_of_the_disk_does_not_show(self, maildir: str, bases: list[str]) -> None:
        """Directories are dated by a clock of 4 ms or so: a listing may be old and look new."""
        finder = Finder()
        cur = os.path.join(maildir, "cur")
        assert finder.path(maildir, bases[0], "S")
        before = os.stat(cur)
        os.rename(os.path.join(cur, f"{bases[0]}:2,"), os.path.join(cur, f"{bases[0]}:2,R"))
        os.utime(cur, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert finder.path(maildir, bases[0], "S") == os.path.join(cur, f"{bases[0]}:2,R")
