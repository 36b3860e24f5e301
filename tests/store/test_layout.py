"""Folder names that a server chose become directories, and nothing but directories of the account."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.imap.names import readable
from archiver.store.layout import (
    FOLDER_FILE,
    FolderFile,
    claim_folder,
    describe_folder,
    encode_component,
    folder_components,
    guess_folder,
    lock_path,
    mail_root,
    make_directory,
    read_folder_file,
    set_aside,
    walk_folders,
    write_file,
)
from tests.store.conftest import Trace, fast_directory

# What names that want out are made of.
NASTY = (
    *("..", ".", "/", "\\", "\0", "\n", "\r", "\x7f", "\x85", "%", "%2F", "%~", ":", " ", "~", "*", "?", '"'),
    *(
        "cur",
        "new",
        "tmp",
        "CUR",
        "Con",
        "nul.txt",
        "com1",
        ".folder.json",
        "INBOX",
        "inbox",
        "Inbox",
        "a",
        "A",
    ),
    *("é", "e\u0301", "ß", "SS", "日本", "ﬁ", "\u202e", "\u2028", "&AOk-", "x" * 130, "é" * 70, "日" * 50),
)
names = st.lists(st.sampled_from(NASTY) | st.text(max_size=3), max_size=5).map("".join)
anything = names | st.text(st.characters(exclude_categories=()), max_size=300)


def folder(raw: str, delimiter: str | None = "/") -> FolderFile:
    """What a LIST line with this name on the wire becomes; `raw` has one character for each byte."""
    name = readable(raw)
    return FolderFile(raw, name.replace(delimiter, "/") if delimiter else name, delimiter)


def wire(name: str) -> str:
    return name.encode("utf-8", "surrogatepass").decode("latin-1")


folders = st.builds(folder, anything.map(wire), st.sampled_from(["/", ".", None]))


class TestComponent:
    @given(anything)
    def test_safe_on_any_file_system(self, name: str) -> None:
        encoded = encode_component(name)
        assert 0 < len(encoded.encode()) <= 120
        assert not re.search(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\u2028\u2029\ud800-\udfff]', encoded)
        assert encoded[0] != "." and encoded[-1] not in ". "
        assert encoded.split(".")[0].lower() not in {"cur", "new", "tmp", "con", "prn", "aux", "nul", "com1"}

    @given(anything, anything)
    def test_different_names_differ(self, one: str, other: str) -> None:
        assert (encode_component(one) == encode_component(other)) == (one == other)

    @given(st.text("abcdefXYZ0189_-+,@#$&()[]{}é日 ", min_size=1, max_size=30).filter(lambda t: t[-1] != " "))
    def test_usual_names_stay_readable(self, name: str) -> None:
        assert encode_component(name) == name

    @pytest.mark.parametrize(
        ("name", "encoded"),
        [
            ("", "%"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            ("...", "%2E.%2E"),
            (".hidden", "%2Ehidden"),
            ("a/b", "a%2Fb"),
            ("a\0b", "a%00b"),
            ("100%", "100%25"),
            ("cur", "%63ur"),
            ("NEW", "%4EEW"),
            ("tmp.old", "%74mp.old"),
            ("con", "%63on"),
            ("current", "current"),
            ("end.", "end%2E"),
            ("end ", "end%20"),
            ("\ud800", "%ED%A0%80"),
            ("[Gmail]", "[Gmail]"),
        ],
    )
    def test_each_danger(self, name: str, encoded: str) -> None:
        assert encode_component(name) == encoded

    def test_long_names_are_cut_and_hashed(self) -> None:
        one, other = encode_component("x" * 300), encode_component("x" * 301)
        assert one != other
        assert one.startswith("x" * 100)
        assert len(one) == len(other) == 120
        assert encode_component("x" * 120) == "x" * 120
        assert len(encode_component("日" * 100).encode()) <= 120


class TestClaim:
    @given(st.lists(folders, min_size=1, max_size=8, unique_by=lambda folder: folder.raw))
    def test_every_folder_has_a_directory_of_its_own_inside_the_account(
        self, chosen: list[FolderFile]
    ) -> None:
        with fast_directory() as root:
            claimed = {claim_folder(root, "work", each): each for each in chosen}
            assert len(claimed) == len(chosen)
            top = os.path.join(mail_root(root), "work")
            for relative, each in claimed.items():
                path = os.path.join(mail_root(root), relative)
                assert os.path.realpath(path) == path
                assert path == top or path.startswith(top + os.sep)
                assert read_folder_file(path) == each
                assert {"cur", "new", "tmp"} <= set(os.listdir(path))
            assert sorted(walk_folders(root)) == sorted(
                ("work", path, each) for path, each in claimed.items()
            )
            assert os.listdir(root) == ["mail"] and os.listdir(mail_root(root)) == ["work"]
            assert [claim_folder(root, "work", each) for each in chosen] == list(claimed)

    def test_levels_are_directories_and_without_a_delimiter_there_are_none(self) -> None:
        assert folder_components(folder("a/b")) == ["a", "b"]
        assert folder_components(folder("a.b", ".")) == ["a", "b"]
        assert folder_components(folder("a/b", None)) == ["a%2Fb"]
        assert folder_components(folder("/../", "/")) == ["%", "%2E%2E", "%"]

    def test_names_that_become_one_are_kept_apart(self, tmp_path: Path) -> None:
        # With the delimiter "." the name "a/b" has a slash as a letter, and is read like "a.b".
        first = claim_folder(str(tmp_path), "work", folder("a.b", "."))
        second = claim_folder(str(tmp_path), "work", folder("a/b", "."))
        assert first == "work/a/b"
        assert re.fullmatch(r"work/a/b%~[0-9a-f]{16}", second)

    @pytest.mark.parametrize(
        ("present", "wanted"),
        [("Lists", "lists"), (unicodedata.normalize("NFD", "Küche"), "Küche"), ("x" * 120, "X" * 120)],
    )
    def test_file_systems_that_fold_names(self, tmp_path: Path, present: str, wanted: str) -> None:
        first = claim_folder(str(tmp_path), "work", folder(wire(present)))
        # Such a file system leads both names to one directory: as this link does.
        (tmp_path / "mail" / "work" / wanted).symlink_to(present)
        second = claim_folder(str(tmp_path), "work", folder(wire(wanted)))
        assert Path(second).name.startswith(f"{wanted[:80]}%~")
        assert read_folder_file(str(tmp_path / "mail" / first)) == folder(wire(present))
        assert read_folder_file(str(tmp_path / "mail" / second)) == folder(wire(wanted))

    @pytest.mark.parametrize("name", ["/".join(["long-" * 20] * 80), "/" * 3000, "a/" * 2000])
    def test_endless_names(self, tmp_path: Path, name: str) -> None:
        first = claim_folder(str(tmp_path), "work", folder(name))
        second = claim_folder(str(tmp_path), "work", folder(name + "b"))
        assert first != second
        for path, raw in ((first, name), (second, name + "b")):
            found = read_folder_file(str(tmp_path / "mail" / path))
            assert found is not None and found.raw == raw
            assert path.startswith("work/")

    def test_everything_is_private(self, tmp_path: Path) -> None:
        old = os.umask(0)
        try:
            claim_folder(str(tmp_path / "new" / "root"), "work", folder("a/b"))
        finally:
            os.umask(old)
        for directory, _, files in os.walk(tmp_path / "new"):
            assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
            for name in files:
                assert stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) == 0o600

    def test_the_name_is_durable_before_there_is_room_for_a_message(
        self, tmp_path: Path, trace: Trace
    ) -> None:
        claim_folder(str(tmp_path), "work", folder("INBOX"))
        path = f"{tmp_path}/mail/work/INBOX"
        named = max(
            i
            for i, call in enumerate(trace.calls)
            if call == ("fsync", path, "") and i < trace.index("mkdir", f"{path}/cur")
        )
        assert trace.index("mkdir", path) < trace.index("fsync", f"{tmp_path}/mail/work") < named
        (replaced,) = [i for i, call in enumerate(trace.calls) if call[0] == "replace"]
        assert trace.calls[replaced][2] == f"{path}/{FOLDER_FILE}"
        assert trace.index("fsync", trace.calls[replaced][1]) < replaced < named

    @pytest.mark.parametrize(
        "content",
        ["", "{", "[]", "{}", '{"raw": 1, "name": "a", "delimiter": null}', "\xff", '{"raw": "\xff"}'],
    )
    def test_a_file_that_says_nothing(self, tmp_path: Path, content: str) -> None:
        (tmp_path / FOLDER_FILE).write_bytes(content.encode("latin-1"))
        assert read_folder_file(str(tmp_path)) is None
        assert read_folder_file(str(tmp_path / "nowhere")) is None
        assert read_folder_file(str(tmp_path / FOLDER_FILE)) is None

    def test_a_mailboxid_tells_folders_apart_and_one_folder_by_another_name(self, tmp_path: Path) -> None:
        def claim(raw: str, mailboxid: str | None) -> str:
            return claim_folder(str(tmp_path), "work", FolderFile(raw, "Küche", "/", mailboxid))

        first = claim("K&APw-che", "F1")
        assert first == "work/Küche"
        assert claim("K&APw-che", None) == first
        found = read_folder_file(str(tmp_path / "mail" / first))
        assert found == FolderFile("K&APw-che", "Küche", "/", "F1"), "what is known is not unlearnt"
        assert claim("KÃ¼che", "F1") == first
        found = read_folder_file(str(tmp_path / "mail" / first))
        assert found == FolderFile("KÃ¼che", "Küche", "/", "F1")
        assert len({first, claim("KÃ¼che", "F2"), claim("KÃ¼che", "F3")}) == 3

    def test_what_was_set_aside_is_in_nobodys_way(self, tmp_path: Path) -> None:
        former = set_aside(FolderFile("a/b", "a/b", "/", "F1"), "F1")
        assert (former.guessed, former.name, former.mailboxid) == (True, "a/b", "F1")
        path = describe_folder(str(tmp_path), "work", former)
        assert path.startswith("work/a/b%~")
        assert read_folder_file(str(tmp_path / "mail" / path)) == former
        assert describe_folder(str(tmp_path), "work", FolderFile("a/b", "a/b", "/", "F2")) == "work/a/b"

    def test_the_file_can_be_read_by_a_person(self, tmp_path: Path) -> None:
        path = tmp_path / "mail" / claim_folder(str(tmp_path), "work", folder("K&APw-che.Brot", "."))
        assert json.loads((path / FOLDER_FILE).read_text()) == {
            "raw": "K&APw-che.Brot",
            "name": "Küche/Brot",
            "delimiter": ".",
        }


class TestWalk:
    def test_maildirs_and_links_are_not_entered(self, tmp_path: Path) -> None:
        claim_folder(str(tmp_path), "work", folder("INBOX"))
        inbox = tmp_path / "mail" / "work" / "INBOX"
        for sub in ("cur", "new", "tmp"):
            (inbox / sub / FOLDER_FILE).write_bytes((inbox / FOLDER_FILE).read_bytes())
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / FOLDER_FILE).write_bytes((inbox / FOLDER_FILE).read_bytes())
        (tmp_path / "mail" / "work" / "link").symlink_to(outside)
        assert [(account, path) for account, path, _ in walk_folders(str(tmp_path))] == [
            ("work", "work/INBOX")
        ]

    def test_an_account_may_be_a_link(self, tmp_path: Path) -> None:
        claim_folder(str(tmp_path), "work", folder("INBOX"))
        (tmp_path / "mail" / "work").rename(tmp_path / "elsewhere")
        (tmp_path / "mail" / "work").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "mail" / "file").touch()
        assert list(walk_folders(str(tmp_path))) == [("work", "work/INBOX", folder("INBOX"))]

    def test_no_tree_no_folders(self, tmp_path: Path) -> None:
        assert list(walk_folders(str(tmp_path / "nowhere"))) == []

    def test_what_cannot_be_listed_is_not_passed_over(self) -> None:
        script = (
            "import os, sys\nfrom archiver.store.layout import walk_folders\n"
            "os.geteuid() or os.seteuid(65534)\nprint(list(walk_folders(sys.argv[1])))\n"
        )
        with fast_directory() as root:
            claim_folder(root, "work", folder("INBOX"))
            os.chmod(root, 0o755)
            os.chmod(f"{root}/mail", 0o755)
            os.chmod(f"{root}/mail/work", 0)
            done = subprocess.run([sys.executable, "-c", script, root], capture_output=True, text=True)
            os.chmod(f"{root}/mail/work", 0o700)
        assert "PermissionError" in done.stderr
        assert done.stdout == ""


class TestFiles:
    def test_old_content_or_new(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = str(tmp_path / "file")
        write_file(path, b"old")
        write_file(path, b"new")
        assert (tmp_path / "file").read_bytes() == b"new"

        real = os.fsync

        def full(fd: int) -> None:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.ENOSPC, "No space left on device")
            real(fd)

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_file(path, b"newer")
        assert (tmp_path / "file").read_bytes() == b"new"
        assert os.listdir(tmp_path) == ["file"]

    def test_directories_from_where_one_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        make_directory("a/b")
        make_directory("c")
        assert (tmp_path / "a" / "b").is_dir() and (tmp_path / "c").is_dir()

    def test_where_things_are(self) -> None:
        assert lock_path("/r", "account-work") == "/r/locks/account-work.lock"


class TestGuess:
    @pytest.mark.parametrize("name", ["INBOX", "Lists/a: b", "%", ".hidden/cur", "日本/%41", "a%/é"])
    def test_the_name_comes_back_from_the_directory(self, tmp_path: Path, name: str) -> None:
        described = FolderFile("raw", name, "/")
        found = guess_folder(claim_folder(str(tmp_path), "work", described))
        assert (found.name, found.delimiter, found.guessed, described.guessed) == (name, "/", True, False)

    @pytest.mark.parametrize(
        ("path", "name", "delimiter"),
        [
            ("w/a%2Fb", "a/b", None),
            ("w/a%2Fb/c", "a%2Fb/c", "/"),
            ("w/a%FF", "a%FF", "/"),
            ("w/x%~0123456789abcdef", "x%~0123456789abcdef", "/"),
            ("w/%/a", "/a", "/"),
        ],
    )
    def test_what_cannot_be_undone_stays(self, path: str, name: str, delimiter: str | None) -> None:
        assert (guess_folder(path).name, guess_folder(path).delimiter) == (name, delimiter)

    def test_a_claim_takes_its_own_before_one_that_is_guessed(self, tmp_path: Path) -> None:
        first = claim_folder(str(tmp_path), "work", folder("a.b", "."))
        second = claim_folder(str(tmp_path), "work", folder("a/b", "."))
        described = tmp_path / "mail" / first / FOLDER_FILE
        for lost in (json.dumps({"raw": guess_folder(first).raw, "name": "a/b", "delimiter": "/"}), ""):
            described.write_text(lost)
            assert claim_folder(str(tmp_path), "work", folder("a/b", ".")) == second
            assert claim_folder(str(tmp_path), "work", folder("a.b", ".")) == first
            assert read_folder_file(str(described.parent)) == folder("a.b", ".")
