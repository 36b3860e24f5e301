"""`archiver account`: whose mailbox each account is."""

from __future__ import annotations

from tests.cli.home import Home, complains
from tests.cli.mails import mail
from tests.servers.dovecot import User


def test_list_and_same(home: Home, mailbox: User) -> None:
    mailbox.save(mail("First"))
    home.mailbox(mailbox)
    home.account("web", 1, "you")
    home.make_archive()
    name, host = mailbox.name, mailbox.server.host
    assert home.good("account", "list").lines() == [
        f"work  {name} on {host}: not pulled yet",
        f"web   you on {host}: not pulled yet",
    ]
    assert "nothing was pulled yet" in home.good("account", "same", "work").err
    home.good("sync", "work")
    home.mailbox(mailbox, host="localhost")
    assert home.good("account", "list").lines() == [
        f"work  {name} on localhost: another mailbox than before, {name} on {host}",
        f"web   you on {host}: not pulled yet",
    ]
    said = home.good("account", "same", "work").out
    assert said == f"work: {name} on localhost is the mailbox that was {name} on {host}\n"
    assert "nothing to do" in home.good("account", "same", "work").err
    result = home.good("sync", "work")
    assert (result.lines(), result.err) == (["work: nothing new in 1 folder"], "")


def test_json(home: Home, mailbox: User) -> None:
    home.mailbox(mailbox)
    home.good("sync")
    home.account("work", mailbox.server.port, "other")
    assert home.good("account", "list", "--json").json() == [
        {
            "name": "work",
            "host": "127.0.0.1",
            "user": "other",
            "kept_host": mailbox.server.host,
            "kept_user": mailbox.name,
            "state": "other",
        }
    ]


def test_another_mailbox_shows_in_a_sync(home: Home, mailbox: User) -> None:
    mailbox.save(mail("First"))
    home.mailbox(mailbox)
    home.good("sync")
    home.mailbox(mailbox, host="localhost")
    result = home.good("sync")
    assert "work is another mailbox than before: " in result.err
    assert "archiver account same work" in result.err
    assert "  another mailbox than before: all its folders were compared from the start" in result.lines()
    assert len(home.good("search", "first", "--format", "paths").lines()) == 1
    again = home.good("sync")
    assert (again.lines(), again.err) == (["work: nothing new in 1 folder"], "")


def test_names_that_are_none(home: Home) -> None:
    complains(home.call("account", "same", "wrok"), 2, "no account wrok")
    complains(home.call("account", "smae"), 2, "same")
    complains(home.call("account"), 2, "account --help")


def test_accounts_that_are_gone_and_hostile_names(home: Home, mailbox: User) -> None:
    home.mailbox(mailbox)
    home.good("sync")
    home.settings["accounts"].clear()
    home.account("odd", 1, "a\x1b[31m\u202eb")
    lines = home.good("account", "list").lines()
    assert len(lines) == 2 and lines[1].startswith("work")
    assert lines[1].endswith(": not in the configuration")
    assert lines[0].isprintable()
