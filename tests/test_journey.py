"""The whole way of a message through the real command: off a server, onto the disk, found, sent again."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.conftest import home, pycache
from tests.cli.home import PASSWORD, Home, complains, until
from tests.conftest import AnyUser, missing
from tests.pull import checks
from tests.pull.steps import crowd
from tests.servers import cyrus
from tests.servers.dovecot import Dovecot, RefusedError, User
from tests.servers.proxy import Proxy
from tests.servers.smtp import Offer, Received, Sink
from tests.servers.tls import Authority, Certificate

__all__ = ["home", "pycache"]

SAMPLES = Path(__file__).parent / "samples"
NOON = datetime(2021, 3, 4, 12, 0, 5, tzinfo=UTC)
ACCOUNT = Offer(user="me@example.org", password="pässword, with a space")
StartProxy = Callable[..., Proxy]


def wire(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


LETTER = wire(
    "From: Anna <anna@example.org>\nTo: me@example.org\nSubject: The boiler is leaking\n"
    "Message-ID: <boiler@example.org>\nDate: Thu, 04 Mar 2021 11:00:00 +0000\n\n"
    ".Please send the plumber.\n.\nAnna\n"
)
CHINESE = wire(
    "From: =?utf-8?b?546L5Li9?= <li@example.org>\nSubject: =?utf-8?b?5Lya6K6u57qq6KaB?=\n"
    "Date: Fri, 05 Mar 2021 11:00:00 +0000\nMIME-Version: 1.0\n"
    "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n明天下午三点开会。\n"
)
TWIN = wire("From: b@example.org\nSubject: Kept twice\n\nThe same in two folders\n")


@pytest.fixture
def sink(certificate: Certificate) -> Iterator[Sink]:
    """An SMTP server with TLS, which lets nobody send without a password."""
    with Sink("tls", certificate.context(), ACCOUNT) as server:
        yield server


def connect_home(home: Home, mailbox: AnyUser, sink: Sink, authority: Authority, security: str) -> None:
    """Both servers in the configuration, encrypted, trusted by the private authority."""
    port = mailbox.server.tls_port if security == "tls" else mailbox.server.port
    ca_file = str(authority.ca_file)
    home.account("work", port, mailbox.name, security=security, ca_file=ca_file, host="localhost")
    user, password = ACCOUNT.user, ACCOUNT.password
    home.smtp(sink.port, host="localhost", security="tls", ca_file=ca_file, user=user, password=password)


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_from_one_server_to_another(
    home: Home, any_mailbox: AnyUser, sink: Sink, authority: Authority, security: str
) -> None:
    mailbox = any_mailbox
    mailbox.create("Projekte/Küche", "仕事")
    saved = {
        ("INBOX", mailbox.save(LETTER, date=NOON)): LETTER,
        ("INBOX", mailbox.save(TWIN, date=NOON)): TWIN,
        ("Projekte/Küche", mailbox.save(TWIN, "Projekte/Küche", date=NOON)): TWIN,
        ("仕事", mailbox.save(CHINESE, "仕事", date=NOON)): CHINESE,
    }
    for sample in sorted(SAMPLES.glob("*.eml")):
        message = sample.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        try:
            saved["INBOX", mailbox.save(message, date=NOON)] = message
        except RefusedError:
            assert isinstance(mailbox, cyrus.User), "a Dovecot takes anything for a message"
    connect_home(home, mailbox, sink, authority, security)

    check = home.run("check", "--connect")
    assert check.code == 0, check
    assert ("Cyrus" if isinstance(mailbox, cyrus.User) else "Dovecot") in check.out and "仕事" in check.out

    assert home.run("sync").code == 0
    checks.converged(str(home.root), saved)
    assert "nothing new" in home.run("sync").out

    found = [search(home, query) for query in ("boiler plumber", "三点", 'folder:"Projekte/Küche"')]
    assert [shown(home, id_) for id_ in found] == [LETTER, CHINESE, TWIN]

    sent = home.run("resend", *found, "--to", "you@example.org", "--to", "other@example.org")
    assert sent.code == 0, sent
    assert sink.mechanisms
    for arrived, original in zip(sink.messages, [LETTER, CHINESE, TWIN], strict=True):
        assert resent_block(arrived, original)[0].startswith(b"Resent-")
        assert arrived.rcpt_tos == ("you@example.org", "other@example.org")
    assert home.run("outbox").out.count("sent") >= 3

    lose_everything_derived(home)
    again = home.run("search", "boiler plumber", "--json")
    assert again.code == 0, again
    assert home.run("sync").code == 0
    checks.converged(str(home.root), saved)
    assert [search(home, query) for query in ("boiler plumber", "三点")] == found[:2]
    assert len(home.run("outbox", "--json").json()) == 3, "the outbox is not derived"
    verify = home.run("verify")
    assert verify.code == 0, verify


class Life:
    """A mailbox on a server and its archive, some messages in both."""

    def __init__(self, home: Home, mailbox: AnyUser, line: Proxy) -> None:
        self.home = home
        self.mailbox = mailbox
        self.line = line
        self.there: dict[tuple[str, int], bytes] = {}
        home.account("work", line.port, mailbox.name)
        mailbox.create("Work", "仕事 & mehr")
        self.deliver("INBOX", LETTER, *map(numbered, range(20)))
        self.deliver("仕事 & mehr", CHINESE, TWIN)
        self.sync()

    def deliver(self, folder: str, *messages: bytes) -> None:
        for message in messages:
            self.there[folder, self.mailbox.save(message, folder, date=NOON)] = message

    def sync(self) -> dict[str, dict[str, int]]:
        """What a sync counted in each folder; after it the archive is as the server is."""
        (account,) = self.home.good("sync", "--json").json()["accounts"]
        checks.converged(str(self.home.root), self.there)
        told = ("stored", "documents", "flags", "gone", "new_epoch")
        counts = {}
        for each in account["folders"]:
            counts[each["folder"]] = {name: each[name] for name in told if each[name]}
        return {folder: count for folder, count in counts.items() if count}


@pytest.fixture
def life(home: Home, any_mailbox: AnyUser, start_proxy: StartProxy) -> Iterator[Life]:
    """A life on each of the servers; at its end nothing is amiss in the archive."""
    made = Life(home, any_mailbox, start_proxy(("127.0.0.1", any_mailbox.server.port)))
    yield made
    assert made.sync() == {}, "what was told is told once"
    verify = home.call("verify")
    assert verify.code == 0, verify


class TestLife:
    """Whatever happens on the server is here after one sync, which does that and no more."""

    def test_nothing_happens(self, life: Life) -> None:
        told, asked = life.line.bytes_down, life.line.round_trips
        assert life.sync() == {}
        assert life.line.bytes_down - told < 3000
        assert life.line.round_trips - asked <= 6

    def test_new_mail(self, life: Life) -> None:
        life.deliver("INBOX", numbered(77))
        life.deliver("Work", LETTER)
        assert life.sync() == {"INBOX": {"stored": 1, "documents": 1}, "Work": {"stored": 1}}

    def test_flags(self, life: Life) -> None:
        life.mailbox.add_flags("INBOX", "1,3", "\\Flagged", "\\Seen", "$Later")
        assert life.sync() == {"INBOX": {"flags": 2}}
        assert search(life.home, "is:flagged boiler") == search(life.home, "boiler")
        life.mailbox.remove_flags("INBOX", "1", "\\Flagged")
        assert life.sync() == {"INBOX": {"flags": 1}}
        assert life.home.good("search", "is:flagged boiler", "--json").json()["hits"] == []

    def test_expunged(self, life: Life) -> None:
        life.mailbox.expunge("INBOX", "1,5:7")
        for uid in (1, 5, 6, 7):
            del life.there["INBOX", uid]
        assert life.sync() == {"INBOX": {"gone": 4}}
        assert shown(life.home, search(life.home, "boiler is:gone")) == LETTER

    def test_moved(self, life: Life) -> None:
        life.mailbox.move("INBOX", "1:2", "Work")
        for uid in (1, 2):
            life.there["Work", uid] = life.there.pop(("INBOX", uid))
        assert life.sync() == {"INBOX": {"gone": 2}, "Work": {"stored": 2}}
        assert search(life.home, "boiler folder:Work") == search(life.home, "boiler")

    def test_a_folder_of_another_name(self, life: Life) -> None:
        life.mailbox.rename("仕事 & mehr", "Übrig")
        for uid in (1, 2):
            life.there["Übrig", uid] = life.there.pop(("仕事 & mehr", uid))
        counts = life.sync()
        assert "documents" not in counts.get("Übrig", {})
        assert search(life.home, "三点 folder:Übrig") == search(life.home, "三点")

    def test_a_folder_deleted_and_made_again(self, life: Life) -> None:
        """Its UIDs begin anew under another UIDVALIDITY; what went with it is kept."""
        life.mailbox.delete("仕事 & mehr")
        life.mailbox.create("仕事 & mehr")
        del life.there["仕事 & mehr", 1], life.there["仕事 & mehr", 2]
        life.deliver("仕事 & mehr", TWIN, LETTER)
        assert life.sync() == {"仕事 & mehr": {"stored": 2, "new_epoch": True}}
        assert shown(life.home, search(life.home, "三点")) == CHINESE


def numbered(number: int) -> bytes:
    return wire(f"From: c@example.org\nSubject: Number {number}\n\nOf many\n")


def test_a_wrong_password(home: Home, any_mailbox: AnyUser, authority: Authority) -> None:
    port, ca_file = any_mailbox.server.tls_port, str(authority.ca_file)
    home.account("work", port, any_mailbox.name, security="tls", ca_file=ca_file, password=PASSWORD)
    for arguments in (["sync"], ["check", "--connect"]):
        complains(home.call(*arguments), 1, "refused the login", "check user and password")


def test_mail_is_pushed(home: Home, any_mailbox: AnyUser, authority: Authority) -> None:
    """By NOTIFY on one of the servers, by IDLE on the other; both encrypted."""
    mailbox = any_mailbox
    mailbox.save(LETTER)
    secure = {"host": "localhost", "security": "tls", "ca_file": str(authority.ca_file)}
    push = {"push": True, "every": "1h"}
    home.account("work", mailbox.server.tls_port, mailbox.name, **secure, schedule=push)
    listens = "work: IDLE on INBOX" if isinstance(mailbox, cyrus.User) else "work: NOTIFY on 1 folder"
    log = home.path / "log"
    with log.open("wb") as file, home.spawn("run", stderr=file) as process:
        until(lambda: listens in log.read_text() and "work: 1 new" in log.read_text())
        for number in (2, 3, 4):
            mailbox.save(numbered(number))
            until(functools.partial(_holds, home, number), seconds=10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    verify = home.call("verify")
    assert verify.code == 0, verify


def _holds(home: Home, number: int) -> bool:
    return stored(home) == number


def search(home: Home, query: str) -> str:
    """The short id of the one message that a query finds."""
    result = home.run("search", query, "--json")
    assert result.code == 0, result
    (hit,) = result.json()["hits"]
    return str(hit["id"])


def shown(home: Home, id_: str) -> bytes:
    result = home.run("show", id_, "--raw")
    assert result.code == 0, result
    return result.raw


def resent_block(arrived: Received, original: bytes) -> list[bytes]:
    """The lines before the original; what follows them is the original, byte for byte."""
    assert arrived.mail_from == "me@example.org"
    assert arrived.data.endswith(original)
    lines = arrived.data.removesuffix(original).splitlines()
    names = {line.partition(b":")[0] for line in lines if not line.startswith(b" ")}
    assert names == {b"Resent-From", b"Resent-To", b"Resent-Date", b"Resent-Message-ID"}
    return lines


def lose_everything_derived(home: Home) -> None:
    for path in home.root.glob("ledger.sqlite3*"):
        path.unlink()
    shutil.rmtree(home.root / "index")


MANY = 3000


@pytest.fixture(scope="module")
def thousands(dovecot: Dovecot) -> User:
    """A mailbox of some thousand messages."""
    return crowd(dovecot, MANY)[0]


def stored(home: Home) -> int:
    return len(checks.files(str(home.root)))


def complete(home: Home) -> None:
    """What one more run makes of the archive: all of it, and nothing amiss."""
    result = home.run("sync")
    assert (result.code, result.err) == (0, ""), result
    assert stored(home) == len(checks.live(str(home.root))) == MANY
    verify = home.run("verify")
    assert verify.code == 0, verify


def test_ctrl_c_in_the_middle(home: Home, thousands: User, start_proxy: StartProxy) -> None:
    line = start_proxy(("127.0.0.1", thousands.server.port), rate=700_000)
    home.account("work", line.port, thousands.name)
    with home.spawn("sync") as process:
        until(lambda: stored(home) > 400)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err.decode()
    kept = stored(home)
    assert 400 < kept < MANY
    assert checks.findings(str(home.root)) == []
    home.mailbox(thousands)
    report = home.run("sync", "--json").json()["accounts"][0]["folders"][0]
    assert report["stored"] == MANY - kept, "what was there is not fetched again"
    complete(home)


def test_kill_in_the_middle(home: Home, thousands: User, start_proxy: StartProxy) -> None:
    """The locks of a killed run, and of its workers, are free at once: the next one waits for nobody."""
    line = start_proxy(("127.0.0.1", thousands.server.port), rate=700_000)
    home.account("work", line.port, thousands.name)
    with home.spawn("sync") as process:
        until(lambda: stored(home) > 400)
        process.kill()
    home.mailbox(thousands)
    complete(home)


def test_two_at_once(home: Home, thousands: User, start_proxy: StartProxy) -> None:
    line = start_proxy(("127.0.0.1", thousands.server.port), rate=1_500_000)
    home.account("work", line.port, thousands.name)
    with home.spawn("sync") as first:
        until(lambda: stored(home) > 0)
        second = home.run("sync")
        out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert second.code == 0, second
    assert f"waiting for account-work, in use by PID {first.pid}, sync" in second.err
    assert "nothing new" in second.out and f"{MANY:,} new messages" in out.decode()
    complete(home)


def test_searching_goes_on_during_a_sync(home: Home, thousands: User, start_proxy: StartProxy) -> None:
    line = start_proxy(("127.0.0.1", thousands.server.port), rate=1_500_000)
    home.account("work", line.port, thousands.name)
    with home.spawn("sync") as process:
        until(lambda: stored(home) > 0)
        result = home.run("search", "subject:message")
        assert process.poll() is None, "the sync was over too soon to tell"
        assert result.code == 0, result
        assert home.run("status").code == 0
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_notmuch_reads_the_tree(home: Home, mailbox: User, tmp_path: Path) -> None:
    if not shutil.which("notmuch"):
        missing("notmuch is not installed: apt install notmuch")
    mailbox.create("Projekte/Küche", "仕事", "con")
    for folder in ("INBOX", "Projekte/Küche", "仕事", "con"):
        for number, message in enumerate((LETTER, CHINESE, TWIN)):
            mailbox.save(message, folder, flags=["\\Seen"] if number else [])
    home.mailbox(mailbox)
    home.good("sync")
    tree = tmp_path / "copy"
    shutil.copytree(home.root / "mail", tree)
    config = tmp_path / "notmuch-config"
    config.write_text(
        f"[database]\npath={tree}\n[user]\nname=x\nprimary_email=x@example.org\n[new]\nignore=.folder.json\n"
        "[search]\nexclude_tags=\n[maildir]\nsynchronize_flags=true\n"
    )
    assert stored(home) == 12
    notmuch(config, "new")
    assert notmuch(config, "count", "--output=files", "*") == "12\n"
    assert notmuch(config, "count", "tag:unread") == "1\n"
    assert notmuch(config, "count", "subject:会议纪要") == "1\n"


def notmuch(config: Path, *arguments: str) -> str:
    env = {**os.environ, "NOTMUCH_CONFIG": str(config)}
    done = subprocess.run(["notmuch", *arguments], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done.stdout
