"""`archiver restore`, from one mailbox into another, on real servers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from archiver.config import SecretSource
from archiver.config.structs import ImapServer
from archiver.imap import Fetched, connect
from tests.cli.home import Home, complains
from tests.conftest import AnyUser
from tests.pull.conftest import mail
from tests.servers.dovecot import Dovecot, User

NOON = datetime(2021, 3, 4, 12, 0, 5, tzinfo=UTC)
Content = tuple[bytes, frozenset[str], int | None]


def content(user: AnyUser) -> dict[str, list[Content]]:
    """What a mailbox holds, asked for over a connection of its own: bytes, flags, INTERNALDATE."""
    server = ImapServer(
        host="127.0.0.1",
        port=user.server.port,
        security="none",
        user=user.name,
        password=SecretSource(literal=user.password),
    )
    found: dict[str, list[Content]] = {}
    with connect(server, lambda: user.password) as connection:
        for mailbox in connection.list_folders():
            if mailbox.selectable:
                connection.examine(mailbox)
                uids = list(connection.uids())
                messages = [m for m in connection.fetch(uids) if isinstance(m, Fetched)]
                assert all(isinstance(m.wire, bytes) for m in messages)
                found[mailbox.name] = sorted(
                    (m.wire, m.flags, m.received) for m in messages if isinstance(m.wire, bytes)
                )
    return found


def filled(user: AnyUser) -> AnyUser:
    """A few folders, with flags, keywords, dates, and one message in two of them."""
    user.create("Work", "Work/Küche & Bad", "Old.Stuff")
    for number in range(12):
        flags = ("\\Seen", "$Later") if number % 3 else ("\\Flagged", "\\Answered")
        user.save(mail(number), date=NOON + timedelta(days=number), flags=flags)
    user.save(mail(3), "Work", date=NOON + timedelta(days=3), flags=("\\Draft",))
    user.save(mail(40), "Work/Küche & Bad", date=NOON - timedelta(days=9000))
    user.save(mail(41), "Old.Stuff", date=NOON)
    return user


@pytest.fixture
def pair(home: Home, mailbox: User, any_mailbox: AnyUser) -> tuple[Home, AnyUser, AnyUser]:
    """A home that has `old` archived, and an empty `new` on either server."""
    home.mailbox(filled(mailbox), "old")
    home.good("sync", "old")
    home.mailbox(any_mailbox, "new")
    return home, mailbox, any_mailbox


MIGRATE = ("restore", "--account", "old", "--to", "new", "--same-folders", "--yes")


def test_from_account_to_account(pair: tuple[Home, AnyUser, AnyUser]) -> None:
    home, old, new = pair
    result = home.good(*MIGRATE)
    assert result.lines()[0].startswith("new/INBOX: 12 messages put back (")
    assert content(new) == content(old)
    # What was put there is archived like any other mail, and nothing is missing.
    home.good("sync")
    home.good("verify", "--server")


def test_again_and_nothing_comes_twice(pair: tuple[Home, AnyUser, AnyUser]) -> None:
    home, old, new = pair
    home.good(*MIGRATE)
    again = home.good(*MIGRATE)
    assert all("0 messages put back" in line and "there already" in line for line in again.lines())
    assert content(new) == content(old)


def test_what_was_deleted_since_then_is_put_back(pair: tuple[Home, AnyUser, AnyUser]) -> None:
    home, old, new = pair
    home.good(*MIGRATE)
    new.expunge("INBOX", ",".join(map(str, new.uids()[2:5])))
    assert "3 messages put back" in home.good(*MIGRATE).lines()[0]
    assert content(new) == content(old)


def test_into_the_mailbox_it_came_from(home: Home, any_mailbox: AnyUser) -> None:
    """What is there is known from the pull; what was lost there comes back."""
    home.mailbox(filled(any_mailbox))
    home.good("sync")
    before = content(any_mailbox)
    any_mailbox.expunge("INBOX", ",".join(map(str, any_mailbox.uids()[:4])))
    command = ("restore", "--account", "work", "--to", "work", "--same-folders", "--yes")
    assert "4 messages put back" in home.good(*command).lines()[0]
    assert content(any_mailbox) == before
    any_mailbox.expunge("INBOX", "1:*")
    home.good("sync")
    # Gone from the server by then, so only where that is asked for.
    assert home.good(*command).lines()[0].startswith("work/Old.Stuff")
    home.good(*command, "--with-gone", "--from-folder", "INBOX")
    assert content(any_mailbox) == before


def test_under_another_uidvalidity_nothing_comes_twice(home: Home, dovecot: Dovecot, mailbox: User) -> None:
    home.mailbox(filled(mailbox), "old")
    home.good("sync", "old")
    new = dovecot.new_user()
    home.mailbox(new, "new")
    home.good(*MIGRATE)
    new.set_uidvalidity("INBOX", new.status()["uidvalidity"] + 7)
    home.good(*MIGRATE)
    assert content(new) == content(mailbox)


def test_into_one_folder(pair: tuple[Home, AnyUser, AnyUser]) -> None:
    home, _, new = pair
    result = home.good("restore", "--query", "subject:message", "--to", "new", "--folder", "A/b", "--yes")
    assert result.lines() == ["new/A/b: 14 messages put back (1.2 kB), created"]
    assert len(content(new)["A/b"]) == 14


def test_below_a_prefix(pair: tuple[Home, AnyUser, AnyUser]) -> None:
    home, old, new = pair
    home.good(*MIGRATE, "--prefix", "From old")
    held = content(new)
    for name, messages in content(old).items():
        assert held[f"From old/{name}"] == messages


def test_new_folders_are_subscribed_to(home: Home, dovecot: Dovecot, mailbox: User) -> None:
    home.mailbox(filled(mailbox), "old")
    home.good("sync", "old")
    new = dovecot.new_user()
    home.mailbox(new, "new")
    home.good(*MIGRATE)
    subscribed = dovecot.doveadm("mailbox", "list", "-s", "-u", new.name).splitlines()
    assert {"Work", "Work/Küche & Bad", "Old.Stuff"} <= set(subscribed)


def test_another_separator(home: Home, mailbox: User, start_dovecot: Callable[..., Dovecot]) -> None:
    """Where a dot separates levels and names begin with INBOX., as Courier has it."""
    settings = "namespace inbox {\n  inbox = yes\n  separator = .\n  prefix = INBOX.\n}"
    other = start_dovecot(settings=settings, layout="maildir:~/Maildir").new_user()
    home.mailbox(filled(mailbox), "old")
    home.good("sync", "old")
    home.mailbox(other, "new")
    home.good(*MIGRATE)
    held = content(other)
    assert held["INBOX/Work/Küche & Bad"] == content(mailbox)["Work/Küche & Bad"]
    assert held["INBOX/Old_Stuff"] == content(mailbox)["Old.Stuff"]
    assert all("there already" in line for line in home.good(*MIGRATE).lines())


def test_a_dry_run_changes_nothing(pair: tuple[Home, AnyUser, AnyUser]) -> None:
    home, _, new = pair
    new.save(mail(77))
    before = content(new)
    result = home.good(*MIGRATE, "--dry-run")
    assert "new/INBOX: would put 12 messages there" in result.lines()
    assert "new/Work/Küche & Bad: would put 1 message there, would create it" in result.lines()
    assert content(new) == before and not (home.root / "user.sqlite3").exists()
    home.good(*MIGRATE)
    assert (
        "new/INBOX: would put 0 messages there, 12 there already" in home.good(*MIGRATE, "--dry-run").lines()
    )


def test_json(pair: tuple[Home, AnyUser, AnyUser]) -> None:
    home, _, _ = pair
    report = home.good(*MIGRATE, "--json").json()
    inbox = report["folders"][0]
    assert (report["account"], report["error"]) == ("new", None)
    assert {key: inbox[key] for key in ("folder", "restored", "there", "failed", "left", "error")} == {
        "folder": "INBOX",
        "restored": 12,
        "there": 0,
        "failed": [],
        "left": 0,
        "error": None,
    }


def test_ids_from_a_file(pair: tuple[Home, AnyUser, AnyUser]) -> None:
    home, _, new = pair
    keys = home.good("search", "folder:Work", "--format", "keys").out
    (home.path / "keys").write_text(keys)
    home.good("restore", "--from-file", str(home.path / "keys"), "--to", "new", "--folder", "INBOX")
    assert len(content(new)["INBOX"]) == len(keys.split()) == 2


class TestAsked:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--account", "old", "--to", "new"), "--same-folders"),
            (("--account", "old", "--to", "new", "--folder", "A", "--same-folders"), "--same-folders"),
            (("--account", "old", "--to", "new", "--folder", "A", "--prefix", "B"), "--prefix"),
            (("--to", "new", "--folder", "A"), "nothing to restore"),
            (("--account", "old", "--to", "nobody", "--folder", "A"), "no account nobody"),
            (("--account", "nobody", "--to", "new", "--folder", "A"), "no account nobody"),
            (("abcd1234", "--to", "new", "--folder", "A"), "no message has the id"),
            (("--from-file", "none", "--to", "new", "--folder", "A"), "cannot read none"),
        ],
    )
    def test_what_cannot_be_asked(
        self, pair: tuple[Home, AnyUser, AnyUser], options: tuple[str, ...], words: str
    ) -> None:
        complains(pair[0].call("restore", *options), 2, words)

    def test_many_and_nobody_to_ask(self, pair: tuple[Home, AnyUser, AnyUser]) -> None:
        home, _, new = pair
        before = content(new)
        complains(home.call(*MIGRATE[:-1]), 2, "14 messages would go to new", "--yes")
        assert content(new) == before

    def test_many_and_a_person(self, pair: tuple[Home, AnyUser, AnyUser]) -> None:
        home, _, _ = pair
        question = "Put 14 messages into new? [y/N]: "
        code, shown = home.terminal(*MIGRATE[:-1], answers={question: "n\n"})
        assert code == 1 and "nothing was put back" in shown
        assert home.terminal(*MIGRATE[:-1], answers={question: "y\n"})[0] == 0
