"""`archiver tag`, and how tags are shown and found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.home import Home, complains, fails
from tests.cli.test_search import subjects


def test_given_found_shown_and_taken_away(own_library: Home) -> None:
    home = own_library
    assert home.good("tag", "+Todo", "+project/x", "invoice").out == "1 message found, 1 changed\n"
    assert subjects(home, "tag:todo") == subjects(home, "tag:TODO") == ["Invoice for March"]
    assert subjects(home, "tag:project") == subjects(home, "tag:proj*") == ["Invoice for March"]
    assert "Invoice for March" not in subjects(home, "--limit", "100", "--", "-tag:todo")
    assert subjects(home, "tag:todo folder:inbox is:read") == ["Invoice for March"]
    assert subjects(home, "tag:todo folder:kept") == []
    assert home.good("search", "invoice").out.endswith("  [work/INBOX +project/x +todo]\n")
    (hit,) = home.good("search", "--json", "invoice").json()["hits"]
    assert hit["tags"] == ["project/x", "todo"]
    assert "Tags:       project/x, todo\n" in home.good("show", hit["id"]).out
    assert home.good("tag", "-todo", "+done", "tag:todo").out == "1 message found, 1 changed\n"
    assert home.good("tag", "--list").lines() == ["        1  done", "        1  project/x"]
    assert home.good("tag", "--list", "--json").json() == {"done": 1, "project/x": 1}


def test_they_outlive_ledger_and_index(own_library: Home) -> None:
    own_library.good("tag", "+news", "news")
    for path in own_library.root.glob("ledger.sqlite3*"):
        path.unlink()
    shutil.rmtree(own_library.root / "index")
    own_library.good("reindex")
    assert own_library.good("count", "tag:news").out == "25\n"
    assert own_library.good("tag", "--list").out.split() == ["25", "news"]


def test_all_at_once_and_what_is_not_changed_is_not_counted(own_library: Home) -> None:
    assert own_library.good("tag", "+a", "news").out == "25 messages found, 25 changed\n"
    assert own_library.good("tag", "+a", "news OR invoice").out == "26 messages found, 1 changed\n"


def test_a_dry_run_changes_nothing(own_library: Home) -> None:
    result = own_library.good("tag", "--dry-run", "+a", "news")
    assert result.out == "25 messages found, 25 would change\n"
    assert own_library.good("tag", "--list").out == ""


def test_json(own_library: Home) -> None:
    assert own_library.good("tag", "+a", "news", "--json").json() == {
        "matched": 25,
        "changed": 25,
        "dry_run": False,
        "indexed": True,
        "pending": 0,
    }


def test_a_query_that_begins_with_a_minus(own_library: Home) -> None:
    assert own_library.good("tag", "+new", "--", "-is:read").out == "4 messages found, 4 changed\n"
    assert own_library.good("tag", "-h").out.startswith("Usage: archiver tag")


def test_out_and_in_again(own_library: Home, tmp_path: Path) -> None:
    own_library.good("tag", "+a", "+b/c", "invoice")
    own_library.good("tag", "+d", "发票")
    file = tmp_path / "tags"
    own_library.good("tag", "--export", str(file))
    assert own_library.good("tag", "--export", "-").raw == file.read_bytes()
    own_library.good("tag", "-a", "-b/c", "-d", "account:work")
    assert own_library.good("tag", "--list").out == ""
    file.write_text(file.read_text() + f"+a -- {'00' * 32}\n")
    words = "3 messages read, 3 {}; 1 of them not in the archive\n"
    dry = own_library.good("tag", "--import", str(file), "--dry-run")
    assert dry.out == words.format("would change")
    assert own_library.good("tag", "--import", str(file)).out == words.format("changed")
    assert own_library.good("tag", "--import", str(file), "--json").json() == {
        "messages": 3,
        "changed": 0,
        "unknown": 1,
        "dry_run": False,
    }
    assert own_library.good("tag", "--list").out.split() == ["2", "a", "1", "b/c", "1", "d"]


def test_an_export_takes_the_place_of_nothing(own_library: Home, tmp_path: Path) -> None:
    own_library.good("tag", "+a", "invoice")
    target, link, dangling = tmp_path / "earlier", tmp_path / "link", tmp_path / "dangling"
    target.write_text("an earlier export")
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "nothing")
    for path in (target, link, dangling, Path("/dev/null"), tmp_path):
        complains(own_library.call("tag", "--export", str(path)), 2, f"{path} is there already")
    assert target.read_text() == "an earlier export"
    assert link.is_symlink() and dangling.is_symlink() and Path("/dev/null").is_char_device()
    assert not list(tmp_path.glob(".*"))
    new = tmp_path / "new"
    own_library.good("tag", "--export", str(new))
    assert new.read_text().endswith("\n") and new.stat().st_mode & 0o777 == 0o600


def test_without_a_user_database_no_empty_export_is_written(own_library: Home, tmp_path: Path) -> None:
    for path in own_library.root.glob("user.sqlite3*"):
        path.unlink()
    for target in (str(tmp_path / "tags"), "-"):
        result = own_library.call("tag", "--export", target)
        complains(result, 2, "there are no tags", "user.sqlite3 does not exist")
        assert result.out == ""
    assert not (tmp_path / "tags").exists()


def test_editors_that_mark_utf_8_are_understood(own_library: Home, tmp_path: Path) -> None:
    file = tmp_path / "tags"
    file.write_bytes(b"\xef\xbb\xbf" + f"+good -- {'00' * 32}\r\n".encode())
    own_library.good("tag", "--import", str(file))
    assert own_library.good("tag", "--list").out.split() == ["1", "good"]


def test_an_import_with_a_mistake_changes_nothing(own_library: Home, tmp_path: Path) -> None:
    file = tmp_path / "tags"
    file.write_text(f"+good -- {'00' * 32}\n+ba:d -- {'11' * 32}\n")
    result = fails(own_library, ["tag", "--import", str(file)], 2, f"{file}:2: ", "+ba:d -- 1111")
    assert "\n     ^\n" in result.err
    assert own_library.good("tag", "--list").out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["+a:b", "x"], ["character here", "  +a:b\n    ^\n"]),
        (["+", "x"], ["name of a tag is missing", "  +\n   ^\n"]),
        (["+ok", "-no(pe", "x"], ["  +ok -no(pe\n         ^\n"]),
        (["+\x1b[31m", "x"], ["character here"]),
        (["+a", "-A", "x"], ["a is both given and taken away", "  +a -A\n     ^\n"]),
        (["-a", "+b", "+a", "x"], ["a is both given and taken away"]),
        (["+a"], ["no query is given"]),
        (["+a", "news", "+b"], ["tags stand before the query"]),
        (["news", "+b"], ["tags stand before the query"]),
        (["news"], ["no tag is given"]),
        ([], ["one thing at a time"]),
        (["--list", "+a", "x"], ["one thing at a time"]),
        (["--list", "--export", "-"], ["one thing at a time"]),
        (["+a", "form:x"], ["no field is called form:", "^"]),
        (["--import", "/nowhere/tags"], ["cannot read /nowhere/tags", "No such file"]),
        (["+a", "b\udcff"], ["not UTF-8"]),
        (["+a", "tag:"], ["needs a value"]),
    ],
)
def test_bad_input(library: Home, arguments: list[str], words: list[str]) -> None:
    complains(library.call("tag", *arguments), 2, *words)
    assert library.good("tag", "--list").out == ""


def test_where_it_cannot_be_written(library: Home) -> None:
    complains(library.call("tag", "--export", "/nowhere/tags"), 2, "there is no directory /nowhere")
    assert library.call("tag", "--import", str(library.root)).code == 2


def test_a_damaged_user_database_hides_tags_and_no_mail(own_library: Home) -> None:
    own_library.good("tag", "+a", "invoice")
    for path in own_library.root.glob("user.sqlite3-*"):
        path.unlink()
    (own_library.root / "user.sqlite3").write_bytes(b"no database" * 1000)
    result = own_library.good("search", "invoice")
    assert "Invoice for March" in result.out and "no tags are shown" in result.err
    complains(own_library.call("search", "tag:a"), 1, "user.sqlite3 cannot be used")
    complains(own_library.call("tag", "+a", "invoice"), 1, "user.sqlite3 cannot be used")
