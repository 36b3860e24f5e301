"""Asking servers for verify: what they say is compared whole, read only, and one that fails hides nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.archive import Archive, compare
from archiver.config import Account, Config, Duration, Folders, ImapServer, SecretSource
from archiver.errors import (
    ConnectError,
    ConnectionLostError,
    CredentialError,
    InterruptedRun,
    LoginError,
    NotFoundError,
    ProtocolError,
    UnavailableError,
    UsageError,
)
from archiver.store.ledger import Ledger
from archiver.verify import Finding
from tests.pull.conftest import mail
from tests.servers.scripted import ScriptedServer, cut, edit, reply

Scripted = Callable[..., ScriptedServer]


def account(server: ScriptedServer, name: str = "work", **changes: object) -> Account:
    settings: dict[str, object] = {
        "host": server.host,
        "port": server.port,
        "security": "none",
        "user": "user",
        "password": SecretSource(literal="secret"),
        "connect_timeout": Duration(5),
        "read_timeout": Duration(5),
    }
    return Account(name=name, imap=ImapServer(**(settings | changes)))  # type: ignore[arg-type]


@pytest.fixture
def server(scripted: Scripted) -> ScriptedServer:
    """UIDs 1, 2 and 5 in INBOX, 1 and 2 in Lists."""
    made = scripted()
    for uid in (1, 2, 5):
        made.folder().add(mail(uid), uid=uid)
    for number in (7, 8):
        made.folder("Lists").add(mail(number))
    return made


@pytest.fixture
def archive(server: ScriptedServer, tmp_path: Path) -> Archive:
    """All of it pulled and indexed."""
    made = Archive(Config(archive=str(tmp_path / "archive"), accounts={"work": account(server)}))
    assert not made.sync().errors
    server.commands.clear()
    return made


def look(archive: Archive) -> list[Finding]:
    return archive.verify(server=True).found.findings


def kinds(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.kind, finding.folder, finding.uids or str(finding.uid or "")) for finding in findings]


def execute(archive: Archive, statement: str) -> None:
    with Ledger(archive.root) as ledger, ledger.transaction():
        ledger._db.execute(statement)


class TestAsking:
    def test_all_is_well(self, archive: Archive, server: ScriptedServer) -> None:
        """A listing of every folder though nothing changed, and nothing but listings."""
        report = archive.verify(server=True).found
        assert report.findings == []
        assert report.server is not None
        assert (report.server.accounts, report.server.folders, report.server.messages) == (1, 2, 5)
        asked = [(c.name, c.arguments) for c in server.commands if c.name in ("SELECT", "EXAMINE")]
        assert [name for name, _ in asked] == ["EXAMINE"] * 2
        fetched = [command.arguments for command in server.commands if "FETCH" in command.name]
        assert fetched == ["1:* (UID FLAGS)"] * 2

    def test_without_being_told_to_nobody_is_asked(self, archive: Archive, server: ScriptedServer) -> None:
        assert archive.verify().found.server is None
        assert server.commands == []

    def test_status_proves_nothing(self, archive: Archive, server: ScriptedServer) -> None:
        """The ledger lost a message, and every value of STATUS is what it was when it was settled."""
        execute(archive, "DELETE FROM place WHERE uid = 2")
        assert [kind for kind in kinds(look(archive)) if kind[0] == "unfetched"] == [
            ("unfetched", "INBOX", "2"),
            ("unfetched", "Lists", "2"),
        ]

    def test_what_is_not_pulled_is_not_compared(self, archive: Archive, server: ScriptedServer) -> None:
        server.folder("Junk").add(mail(30))
        server.folder("Level").attributes = ("\\Noselect",)
        execute(
            archive,
            "INSERT INTO failed SELECT id, epoch, 9, 'no body', 1, 0 FROM folder WHERE name = 'Lists'",
        )
        only = account(server)
        only = Account(name="work", imap=only.imap, folders=Folders(exclude=("Junk", "Lists")))
        archive.config = Config(archive=archive.root, accounts={"work": only})
        assert look(archive) == []
        assert [c.text(0) for c in server.commands if c.name == "EXAMINE"] == ["INBOX"]

    @pytest.mark.parametrize(
        "shuffle",
        [
            lambda lines: lines[::-1],
            lambda lines: [*lines, lines[0], lines[0]],
            lambda lines: [b"* 9 EXISTS\r\n", *lines, b"* 1 EXPUNGE\r\n"],
        ],
    )
    def test_in_any_order_and_more_than_once(
        self, archive: Archive, server: ScriptedServer, shuffle: Callable[[list[bytes]], list[bytes]]
    ) -> None:
        def change(answer: bytes) -> bytes:
            *lines, end = answer.splitlines(keepends=True)
            return b"".join([*shuffle(lines), end])

        server.on("UID FETCH", edit(change))
        assert look(archive) == []

    @pytest.mark.parametrize("found", ["ALL 1:2,5", "ALL 1,5", "", "ALL 1:9"])
    def test_a_search_is_believed_when_it_finds_as_many_as_there_are(
        self, archive: Archive, server: ScriptedServer, found: str
    ) -> None:
        server.account.capabilities += ("ESEARCH",)
        del server.account.folders["Lists"]
        archive.sync()
        server.on("UID SEARCH", reply(f'* ESEARCH (TAG "{{tag}}") UID {found}', "{tag} OK done"))
        server.commands.clear()
        assert [finding.kind for finding in look(archive)] == []
        assert ("UID FETCH" in server.names()) == (found != "ALL 1:2,5")

    def test_stopped_in_the_middle_of_a_listing(
        self, archive: Archive, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compare, "_STOP_EVERY", 1)
        archive.stop = lambda: "UID FETCH" in server.names()
        with pytest.raises(InterruptedRun):
            archive.verify(server=True)


class TestDifferences:
    def test_new_mail_is_not_archived_yet(self, archive: Archive, server: ScriptedServer) -> None:
        for number in (40, 41, 42):
            server.folder().add(mail(number))
        (finding,) = look(archive)
        assert (finding.kind, finding.uids, finding.messages) == ("unfetched", "6:8", 3)
        archive.sync()
        assert look(archive) == []

    def test_gone_from_the_server(self, archive: Archive, server: ScriptedServer) -> None:
        del server.folder().mails[1]
        (finding,) = look(archive)
        assert (finding.kind, finding.uids, finding.harmless) == ("expunged", "2", True)
        archive.sync()
        assert look(archive) == []

    def test_gone_and_back(self, archive: Archive, server: ScriptedServer) -> None:
        """It is archived all the time, whatever the ledger believes."""
        execute(archive, "UPDATE place SET gone = 5 WHERE uid = 2")
        assert look(archive) == []

    def test_a_folder_gone_from_the_server(self, archive: Archive, server: ScriptedServer) -> None:
        del server.account.folders["Lists"]
        (finding,) = look(archive)
        assert (finding.kind, finding.folder, finding.uids) == ("expunged", "Lists", "1:2")

    def test_a_new_folder(self, archive: Archive, server: ScriptedServer) -> None:
        new = server.folder("New")
        assert look(archive) == []
        new.add(mail(50))
        (finding,) = look(archive)
        assert (finding.kind, finding.folder, finding.messages) == ("unpulled", "New", 1)

    def test_more_is_counted_than_listed(self, archive: Archive, server: ScriptedServer) -> None:
        """What is not shown is neither gone nor known."""
        del server.folder().mails[0]
        inbox = edit(lambda answer: answer.replace(b"* 2 EXISTS", b"* 3 EXISTS"))
        server.on("EXAMINE", inbox, when=lambda command: command.text(0) == "INBOX")
        (finding,) = look(archive)
        assert (finding.kind, finding.folder, finding.messages) == ("unlisted", "INBOX", 1)
        assert finding.detail == "the server counts 3 and lists 2"
        assert finding.harmless

    def test_one_that_failed(self, archive: Archive, server: ScriptedServer) -> None:
        refused = server.folder().add(mail(60))
        server.on(
            "UID FETCH",
            reply("{tag} NO [UNAVAILABLE] Server error"),
            when=lambda command: "BODY.PEEK" in command.arguments,
        )
        archive.sync()
        (finding,) = look(archive)
        assert (finding.kind, finding.uid, finding.gone, finding.harmless) == ("failed", 6, False, False)
        assert archive.verify().found.findings == [finding]
        server.folder().mails.remove(refused)
        (finding,) = look(archive)
        assert (finding.kind, finding.uid, finding.gone, finding.harmless) == ("failed", 6, True, True)

    def test_another_mailbox_under_the_name(self, archive: Archive, server: ScriptedServer) -> None:
        server.account.user = "somebody else"
        other = account(server, user="somebody else")
        archive.config = Config(archive=archive.root, accounts={"work": other})
        findings = look(archive)
        assert [finding.kind for finding in findings] == ["renumbered"] * 2
        assert "another mailbox" in findings[0].detail


class TestServersThatFail:
    def errors(self, archive: Archive) -> dict[str, object]:
        report = archive.verify(server=True).found
        assert report.server is not None
        assert (report.files, report.documents) == (5, 5)  # all else is compared
        return {name: type(error) for name, error in report.server.errors.items()}

    def test_one_folder_refused(self, archive: Archive, server: ScriptedServer) -> None:
        server.on("EXAMINE", reply("{tag} NO [NOPERM] not yours"), times=1)
        execute(archive, "INSERT INTO failed SELECT id, epoch, 9, 'no body', 1, 0 FROM folder")
        findings = look(archive)
        assert kinds(findings) == [
            ("refused", "INBOX", ""),
            ("failed", "Lists", "9"),
            ("failed", "INBOX", "9"),
        ]
        assert [finding.harmless for finding in findings] == [False, True, False]
        assert "not yours" in findings[0].detail

    @pytest.mark.parametrize("value", [None, 0])
    def test_no_uidvalidity(self, archive: Archive, server: ScriptedServer, value: int | None) -> None:
        server.folder().uidvalidity = value
        (finding,) = look(archive)
        assert (finding.kind, finding.folder, finding.harmless) == ("refused", "INBOX", False)

    def test_lost_in_the_middle(self, archive: Archive, server: ScriptedServer) -> None:
        """What was compared before counts."""
        server.folder().add(mail(70))
        server.on("UID FETCH", cut(after=40), when=lambda command: "Lists" in server.commands[-2].arguments)
        report = archive.verify(server=True).found
        assert report.server is not None
        assert kinds(report.findings) == [("unfetched", "INBOX", "6")]
        assert (report.server.folders, report.server.messages) == (1, 4)
        assert isinstance(report.server.errors["work"], ConnectionLostError)
        assert report.server.errors["work"].account == "work"

    def test_no_folder_at_all(self, archive: Archive, server: ScriptedServer) -> None:
        """An empty list must not pass for an empty mailbox."""
        server.on("LIST", reply("{tag} OK done"))
        assert self.errors(archive) == {"work": ProtocolError}

    def test_login_refused(self, archive: Archive, server: ScriptedServer) -> None:
        server.on("LOGIN", reply("{tag} NO [AUTHENTICATIONFAILED] no"))
        assert self.errors(archive) == {"work": LoginError}

    def test_not_now(self, archive: Archive, server: ScriptedServer) -> None:
        server.on("EXAMINE", reply("{tag} NO [OVERQUOTA] Account exceeded bandwidth limits"))
        assert self.errors(archive) == {"work": UnavailableError}

    def test_no_password(self, archive: Archive, server: ScriptedServer) -> None:
        nowhere = account(server, password=SecretSource(env="ARCHIVER_TEST_NO_SUCH_VARIABLE"))
        archive.config = Config(archive=archive.root, accounts={"work": nowhere})
        assert self.errors(archive) == {"work": CredentialError}

    def test_one_of_two(self, archive: Archive, server: ScriptedServer) -> None:
        server.folder().add(mail(80))
        accounts = {"work": account(server), "home": account(server, "home", port=1)}
        archive.config = Config(archive=archive.root, accounts=accounts)
        report = archive.verify(server=True).found
        assert report.server is not None
        assert (report.server.accounts, list(report.server.errors)) == (2, ["home"])
        assert isinstance(report.server.errors["home"], ConnectError)
        assert kinds(report.findings) == [("unfetched", "INBOX", "6")]
        only_home = archive.verify(["home"], server=True).found
        assert only_home.server is not None and only_home.server.accounts == 1

    def test_who_is_not_configured_cannot_be_asked(self, archive: Archive) -> None:
        archive.config = Config(archive=archive.root, accounts={})
        assert archive.verify(["work"]).found.findings == []
        with pytest.raises(NotFoundError, match="no account work"):
            archive.verify(["work"], server=True)
        with pytest.raises(UsageError, match="no account in the configuration"):
            archive.verify(server=True)


class TestRepair:
    def test_all_that_a_pull_mends(self, archive: Archive, server: ScriptedServer) -> None:
        """Each difference STATUS does not tell of, and one pull that looks at all UIDs again."""
        for folder in ("INBOX", "Lists"):
            (path,) = Path(archive.root, "mail/work", folder, "cur").glob("*,U=2:2,")
            path.unlink()
        execute(archive, "DELETE FROM place WHERE uid = 2")
        execute(
            archive,
            "INSERT INTO failed SELECT id, epoch, 5, 'no body', 9, 4e9 FROM folder WHERE name = 'INBOX'",
        )
        execute(archive, "DELETE FROM place WHERE uid = 5")
        (path,) = Path(archive.root, "mail/work/INBOX/cur").glob("*,U=5:2,")
        path.unlink()
        server.folder("New").add(mail(90))
        repaired = archive.verify(server=True, repair=True)
        assert kinds(repaired.found.findings)[:4] == [
            ("unfetched", "INBOX", "2"),
            ("failed", "INBOX", "5"),
            ("unfetched", "Lists", "2"),
            ("unpulled", "New", ""),
        ]
        assert repaired.sync is not None and not repaired.sync.errors
        assert repaired.left is not None and repaired.left.findings == []
        assert repaired.left.server is not None and repaired.left.server.messages == 6

    def test_what_the_ledger_takes_to_be_there(self, archive: Archive, server: ScriptedServer) -> None:
        """A place of a message that never was on the server; nothing of STATUS changed."""
        execute(archive, "UPDATE place SET uid = 4 WHERE uid = 5")
        repaired = archive.verify(server=True, repair=True)
        assert kinds(repaired.found.findings) == [("unfetched", "INBOX", "5"), ("expunged", "INBOX", "4")]
        assert repaired.left is not None
        assert [finding for finding in repaired.left.findings if not finding.harmless] == []

    def test_what_it_does_not(self, archive: Archive, server: ScriptedServer) -> None:
        server.on("EXAMINE", reply("{tag} NO [NOPERM] not yours"), when=lambda c: c.text(0) == "Lists")
        repaired = archive.verify(server=True, repair=True)
        assert repaired.sync is None
        assert repaired.left is not None
        assert kinds(repaired.left.findings) == [("refused", "Lists", "")]
