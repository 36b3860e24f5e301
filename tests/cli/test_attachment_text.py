"""Attachments through the whole program: pulled, read, found, and said to be unreadable where they are."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing

from archiver.store.maildir import key_of
from tests.attachments import documents
from tests.cli.home import Home
from tests.servers.dovecot import User


def test_every_kind_is_found(home: Home, mailbox: User) -> None:
    home.mailbox(mailbox)
    home.make_archive()
    for name, make in documents.MAKERS.items():
        paper = f"file.{name}", make(f"Zürich {name}word")
        mailbox.save(documents.mail(paper, subject=f"a {name}"))
    inner = documents.mail(("file.pdf", documents.pdf("deeply forwarded")), subject="inner", inside=True)
    mailbox.save(inner)
    assert home.good("sync").err == ""
    for name in documents.MAKERS:
        assert home.good("search", f"attachment:{name}word", "attachment:zurich").out.count(f"a {name}") == 1
    assert "forwarded" in home.good("search", 'attachment:"deeply forwarded"').out


def test_what_was_read_once_is_what_is_found(home: Home, mailbox: User) -> None:
    home.mailbox(mailbox)
    mailbox.save(documents.mail(("a.pdf", documents.pdf("quarterly figures")), subject="a pdf"))
    assert "indexed 1 message, read 1 attachment\n" in home.good("sync").out
    with closing(sqlite3.connect(home.root / "attachments.sqlite3")) as known:
        known.execute("UPDATE text SET text = ?", (zlib.compress(b"remembered"),))
        known.commit()
    assert home.good("reindex", "--anew").out == "indexed 1 message\n"
    assert "a pdf" in home.good("search", "attachment:remembered").out
    (home.root / "attachments.sqlite3").unlink()
    home.good("reindex", "--anew")
    assert "a pdf" in home.good("search", "attachment:quarterly").out


def test_what_cannot_be_read_is_named(home: Home, mailbox: User) -> None:
    home.mailbox(mailbox)
    mail = documents.mail(("cut.pdf", documents.pdf("x" * 50)[:700]), subject="cut off")
    mailbox.save(mail)
    synced = home.good("sync")
    (key,) = home.good("search", "subject:cut", "--format", "keys").lines()
    assert key == key_of(mail).hex()
    assert f"message {key[:12]}, attachment 2: it is damaged" in synced.err
    assert "1 attachment could not be read" in synced.err
    assert "%PDF" not in synced.err + synced.out
    report = home.good("reindex")
    assert f"message {key[:12]}, attachment 2: it is damaged" in report.err


def without_the_extra(home: Home) -> dict[str, str]:
    """An environment in which the library is not there."""
    path = home.path / "absent"
    path.mkdir(exist_ok=True)
    (path / "sitecustomize.py").write_text("import sys; sys.modules['kreuzberg'] = None\n")
    return {"PYTHONPATH": str(path)}


def test_without_the_extra_all_else_works(home: Home, mailbox: User) -> None:
    home.mailbox(mailbox)
    home.make_archive()
    absent = without_the_extra(home)
    mailbox.save(documents.mail(("a.pdf", documents.pdf("quarterly figures")), subject="with a pdf"))
    check = home.run("check", env=absent)
    assert check.code == 0
    assert "pip install 'imap-archiver[attachments]'" in check.out
    synced = home.run("sync", env=absent)
    assert (synced.code, synced.err) == (0, "")
    assert "with a pdf" in home.run("search", "filename:a.pdf", env=absent).out
    assert "with a pdf" not in home.run("search", "attachment:figures", env=absent).out
    assert not (home.root / "attachments.sqlite3").exists()
    # Later it is there, and the next sync brings all up to date.
    assert "pip install" not in home.run("check").out
    assert "indexed 1 message" in home.run("sync").out
    assert "with a pdf" in home.run("search", "attachment:figures").out


def test_who_wants_it_is_told_that_it_is_missing(home: Home, mailbox: User) -> None:
    home.mailbox(mailbox)
    home.settings["index"] = {"attachments": "on"}
    home.write()
    synced = home.run("sync", env=without_the_extra(home))
    assert synced.code == 0 and "pip install 'imap-archiver[attachments]'" in synced.err


def test_who_does_not_want_it_is_left_alone(home: Home, mailbox: User) -> None:
    home.mailbox(mailbox)
    home.settings["index"] = {"attachments": "off"}
    home.write()
    mailbox.save(documents.mail(("a.pdf", documents.pdf("quarterly figures")), subject="with a pdf"))
    assert "attachments" not in home.run("check", env=without_the_extra(home)).out
    home.good("sync")
    assert "with a pdf" not in home.good("search", "attachment:figures").out


def test_a_hit_shows_where_it_is(home: Home, mailbox: User) -> None:
    home.mailbox(mailbox)
    papers = (
        ("one.txt", b"nothing of it"),
        ("two.pdf", documents.pdf("The quarterly figures are good.\nMore follows")),
    )
    mailbox.save(documents.mail(*papers, subject="papers"))
    home.good("sync")
    (hit,) = home.good("search", "attachment:figures", "--json", "--snippets").json()["hits"]
    text, marks = hit["snippet"]["text"], hit["snippet"]["marks"]
    assert text.startswith("two.pdf: The quarterly figures are good. More")
    assert [text[start:end] for start, end in marks] == ["figures"]
    (hit,) = home.good("search", "papers", "--json", "--snippets").json()["hits"]
    assert hit["snippet"]["text"] == "see the papers"
    code, shown = home.terminal("search", "quarterly")
    assert code == 0 and "two.pdf: The " in shown
    (home.root / "attachments.sqlite3").unlink()
    (hit,) = home.good("search", "attachment:figures", "--json", "--snippets").json()["hits"]
    assert hit["snippet"]["text"] == "see the papers"
    assert not (home.root / "attachments.sqlite3").exists(), "a search reads nothing and makes nothing"
