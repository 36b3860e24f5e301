"""`archiver verify --server` beside a real server: what differs, what it means, what mends it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.store.ledger import Ledger
from tests.cli import mails
from tests.cli.home import PASSWORD, Home, complains
from tests.pull import checks
from tests.servers.dovecot import User
from tests.servers.scripted import ScriptedServer, reply

Scripted = Callable[..., ScriptedServer]


@pytest.fixture
def pulled(home: Home, mailbox: User) -> tuple[Home, User]:
    """INBOX with UIDs 1, 2 and 4, the third expunged before; Kept with 1; all pulled and indexed."""
    for message in (mails.INVOICE, mails.TWICE, mails.GONE, mails.PAGE):
        mailbox.save(message)
    mailbox.expunge("INBOX", "3")
    mailbox.create("Kept")
    mailbox.save(mails.TWICE, "Kept")
    home.mailbox(mailbox)
    home.good("sync")
    return home, mailbox


def differs(home: Home, *arguments: str) -> list[str]:
    """The differences of a run that must end with 1, without what is said about mending them."""
    result = home.call("verify", "--server", *arguments)
    assert result.code == 1, result
    return [line.partition(" -> ")[0].strip() for line in result.lines() if line.startswith("  ")]


def mended(home: Home) -> None:
    result = home.good("verify", "--server", "--repair")
    assert result.lines()[-1].endswith("compared with the server: 0 differences"), result
    home.good("verify", "--server")


def test_all_is_well(pulled: tuple[Home, User]) -> None:
    home, _ = pulled
    (line,) = home.good("verify", "--server").lines()
    assert line.endswith("indexed, 4 messages in 2 folders compared with the server: 0 differences")
    report = home.good("verify", "--server", "--json").json()["found"]
    assert report["server"] == {"accounts": 1, "folders": 2, "messages": 4, "errors": {}}
    assert home.good("verify", "--json").json()["found"]["server"] is None


def test_new_mail(pulled: tuple[Home, User]) -> None:
    """Not archived yet: a difference until the next sync."""
    home, user = pulled
    home.good("verify")
    user.save(mails.STEERING)
    user.save(mails.PARTS)
    assert differs(home) == ["unfetched: work/INBOX UID 5:6 2 messages"]
    result = home.call("verify", "--server")
    complains(result, 1, "1 difference found", "archiver verify --server --repair mends them")
    home.good("sync")
    home.good("verify", "--server")


def test_expunged_on_the_server(pulled: tuple[Home, User]) -> None:
    """Nothing is missing: it is archived."""
    home, user = pulled
    user.expunge("INBOX", "2")
    result = home.good("verify", "--server")
    assert "  expunged: work/INBOX UID 2 1 message -> nothing is lost: mark them gone" in result.out
    mended(home)
    assert home.good("search", "is:gone", "folder:INBOX", "--format", "keys").lines()


def test_deleted_from_the_ledger_by_hand(pulled: tuple[Home, User]) -> None:
    home, _ = pulled
    with Ledger(str(home.root)) as ledger, ledger.transaction():
        ledger._db.execute("DELETE FROM place WHERE uid = 4")
    (path,) = (home.root / "mail/work/INBOX/cur").glob("*,U=4:2,*")
    path.unlink()
    assert "unfetched: work/INBOX UID 4 1 message" in differs(home)
    mended(home)
    assert path.read_bytes() == mails.PAGE.replace(b"\r\n", b"\n")


def test_a_folder_created_since(pulled: tuple[Home, User]) -> None:
    home, user = pulled
    user.create("Neu/Büro")
    home.good("verify", "--server")
    user.save(mails.CHINESE, "Neu/Büro")
    assert differs(home) == ["unpulled: work/Neu/Büro 1 message"]
    mended(home)


def test_a_folder_deleted_since(pulled: tuple[Home, User]) -> None:
    home, user = pulled
    user.delete("Kept")
    assert "  expunged: work/Kept UID 1 1 message the server has no" in home.good("verify", "--server").out


def test_another_uidvalidity(pulled: tuple[Home, User]) -> None:
    home, user = pulled
    before = user.status()["uidvalidity"]
    user.set_uidvalidity("INBOX", before + 7)
    why = f"UIDVALIDITY is {before + 7}, it was {before}"
    assert differs(home) == [f"renumbered: work/INBOX 3 messages {why}"]
    mended(home)
    assert len(checks.files(str(home.root))) == 4


def test_other_uids_under_the_same_uidvalidity(pulled: tuple[Home, User]) -> None:
    home, user = pulled
    user.renumber()
    assert differs(home) == [
        "unfetched: work/INBOX UID 5:7 3 messages",
        "expunged: work/INBOX UID 1:2,4 3 messages",
    ]
    mended(home)
    assert {uid for folder, uid in checks.live(str(home.root)) if folder == "INBOX"} == {5, 6, 7}


def test_uids_counted_anew(home: Home, scripted: Scripted) -> None:
    server = scripted()
    for uid, message in ((1, mails.INVOICE), (4, mails.PAGE)):
        server.folder().add(message, uid=uid)
    home.account("work", server.port)
    home.good("sync")
    server.folder().mails[1].uid = 2
    server.folder().uidnext = 3
    (line,) = differs(home)
    assert line == "renumbered: work/INBOX 2 messages UIDs are counted anew: the next one is 3, 4 is known"
    mended(home)
    assert len(checks.files(str(home.root))) == 2


def test_a_damaged_file_and_new_mail_at_once(pulled: tuple[Home, User]) -> None:
    home, user = pulled
    (path,) = (home.root / "mail/work/INBOX/cur").glob("*,U=4:2,*")
    path.write_bytes(b"rot")
    user.save(mails.STEERING)
    assert {line.split()[0] for line in differs(home)} == {"damaged:", "unfetched:"}
    mended(home)


class TestServersThatCannotBeAsked:
    def test_login_refused(self, pulled: tuple[Home, User]) -> None:
        home, user = pulled
        home.mailbox(user, password=PASSWORD)
        result = home.call("verify", "--server")
        complains(result, 1, "work: ", "refused the login")
        (line,) = result.lines()
        assert line.endswith("indexed, 0 messages in 0 folders compared with the server: 0 differences")

    def test_not_reachable(self, pulled: tuple[Home, User]) -> None:
        """Everything else is compared and printed; passing trouble gives 75, differences give 1."""
        home, user = pulled
        home.account("work", 1, user.name)
        result = home.call("verify", "--server")
        complains(result, 75, "work: 127.0.0.1:1 refuses connections")
        assert result.out.startswith("4 places in 2 folders, 4 files")
        shown = home.call("verify", "--server", "--json")
        (error,) = shown.json()["found"]["server"]["errors"].values()
        assert (shown.code, error["transient"], error["exit_code"]) == (75, True, 75)
        shutil.rmtree(home.root / "mail/work/Kept/cur")
        result = home.call("verify", "--server")
        assert result.code == 1
        assert result.err.splitlines()[0].startswith("archiver: work: 127.0.0.1:1 refuses connections")
        assert "archiver: 1 difference found" in result.err

    def test_one_of_two(self, pulled: tuple[Home, User]) -> None:
        home, _ = pulled
        home.account("other", 1)
        result = home.call("verify", "--server")
        assert result.code == 3
        assert "archiver: 1 of 2 accounts could not be compared with their servers" in result.err
        home.good("verify", "--server", "work")
        assert home.call("verify", "--server", "other").code == 75
        home.good("verify")

    def test_one_folder_refused(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        for name in ("INBOX", "Kept"):
            server.folder(name).add(mails.INVOICE)
        home.account("work", server.port)
        home.good("sync")
        server.on("EXAMINE", reply("{tag} NO [NOPERM] \x1b[31mnot yours"), when=lambda c: c.text(0) == "Kept")
        (line,) = differs(home)
        assert line.startswith("refused: work/Kept cannot be opened: NO [NOPERM] ")
        assert "\x1b" not in line
        result = home.call("verify", "--server", "--repair")
        complains(result, 1, "1 difference found")

    def test_repair_while_the_server_is_away(self, pulled: tuple[Home, User]) -> None:
        home, user = pulled
        user.save(mails.STEERING)
        (path,) = (home.root / "mail/work/INBOX/cur").glob("*,U=4:2,*")
        path.unlink()
        home.account("work", 1, user.name)
        result = home.call("verify", "--server", "--repair")
        assert result.code == 75, result
        home.mailbox(user)
        mended(home)


def test_every_account_alone_and_all_together(pulled: tuple[Home, User]) -> None:
    home, user = pulled
    second = user.server.new_user()
    second.save(mails.STEERING)
    home.mailbox(second, "second")
    home.good("verify", "--server", "work")
    assert differs(home) == ["unpulled: second/INBOX 1 message"]
    assert differs(home, "second") == ["unpulled: second/INBOX 1 message"]
    mended(home)
    assert re.search(r"5 messages in 3 folders", home.good("verify", "--server").out)


def test_many_uids_are_cut_on_a_terminal_and_whole_for_programs(home: Home, scripted: Scripted) -> None:
    server = scripted()
    server.folder().add(mails.INVOICE)
    home.account("work", server.port)
    home.good("sync")
    for uid in range(3, 203, 2):
        server.folder().add(mails.TWICE, uid=uid)
    (line,) = differs(home)
    assert "…" in line and line.endswith(" 100 messages") and len(line) < 120
    (finding,) = home.call("verify", "--server", "--json").json()["found"]["findings"]
    assert finding["uids"] == ",".join(map(str, range(3, 203, 2)))
    assert list(finding) == [
        "kind",
        "account",
        "folder",
        "uid",
        "key",
        "path",
        "place",
        "gone",
        "uids",
        "messages",
        "detail",
    ]


def test_the_path_of_mail_is_not_what_counts(pulled: tuple[Home, User]) -> None:
    """Every file of a folder moved away: found by the local comparison, while the server's UIDs are known."""
    home, _ = pulled
    shutil.move(home.root / "mail/work/Kept", home.path / "elsewhere")
    assert {line.split()[0] for line in differs(home)} == {"missing:"}
    assert Path(home.path, "elsewhere").is_dir()
    mended(home)
