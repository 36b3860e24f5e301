"""`archiver count`."""

from __future__ import annotations

from tests.cli.home import Home, complains, fails
from tests.cli.mails import mail
from tests.servers.dovecot import User


def test_counts(library: Home) -> None:
    assert library.good("count", "news").out == "25\n"
    assert library.good("count", "from:alice", "news").out == "25\n"
    assert library.good("count", "nowhere").out == "0\n"
    assert library.good("count", "--", "-is:read").out == "4\n"
    assert library.good("count", "--json", "news").json() == {"count": 25, "indexed": True, "pending": 0}


def test_says_what_is_not_indexed_yet(home: Home, mailbox: User) -> None:
    home.mailbox(mailbox)
    mailbox.save(mail("One"))
    home.good("sync")
    mailbox.save(mail("Two"))
    home.good("sync", "--no-index")
    result = home.good("count", "subject:(one OR two)", "--json")
    assert result.json() == {"count": 1, "indexed": False, "pending": 1}
    assert result.err == "1 message not indexed yet: archiver sync or reindex does it\n"
    assert home.good("tag", "+a", "subject:(one OR two)").err == result.err
    assert home.good("stats").err == home.good("addresses").err == result.err
    assert home.good("search", "two", "--json").json()["indexed"] is False


def test_bad_input(library: Home) -> None:
    fails(library, ["count", "form:x"], 2, "no field is called form:", "^")
    complains(library.call("count"), 2, "QUERY", "archiver count --help")
    complains(library.call("count", "-is:read"), 2, "archiver count --help")
