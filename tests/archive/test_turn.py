"""An account's turn: logins that expire in the middle of a pull, mailboxes that are not those of before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from archiver.archive import Archive
from archiver.config import Account, Config, Duration, ImapServer, SecretSource
from archiver.errors import CredentialError, ExpiredError, InterruptedRun, LoginError
from archiver.pull import AccountReport
from archiver.store.ledger import Ledger
from tests.servers.bearer import Gate
from tests.servers.honest import Command
from tests.servers.scripted import Action, ScriptedServer, Session, bye, reply, stall

Scripted = Callable[..., ScriptedServer]
MESSAGES = 40
EXPIRED = "* BYE Session expired, please login again."


def mail(number: int) -> bytes:
    return f"From: a@example.org\r\nSubject: message {number}\r\n\r\nword{number}\r\n".encode()


class Minting:
    """A command that prints another token each time."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "tokens"
        self.path.touch()
        self.source = SecretSource(command=f"echo x >> {self.path}; echo token-$(wc -l < {self.path})")

    @property
    def count(self) -> int:
        return len(self.path.read_text().splitlines())


@pytest.fixture
def minting(tmp_path: Path) -> Minting:
    return Minting(tmp_path)


@pytest.fixture
def server(scripted: Scripted) -> ScriptedServer:
    made = scripted()
    made.account.capabilities = ("IMAP4rev1", "AUTH=XOAUTH2")
    for number in range(MESSAGES):
        made.folder(f"F{number % 4}").add(mail(number))
    return made


@pytest.fixture
def gate(server: ScriptedServer) -> Gate:
    """Takes the tokens as they come."""
    made = Gate({f"token-{n}" for n in range(1, 50)})
    server.on("AUTHENTICATE", made)
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def archive(tmp_path: Path, server: ScriptedServer, gate: Gate, minting: Minting, said: list[str]) -> Archive:
    """An account `work` with two connections at most."""
    imap = ImapServer(
        host=server.host,
        port=server.port,
        security="none",
        user="me",
        token=minting.source,
        read_timeout=Duration(5),
        connections=2,
    )
    config = Config(archive=str(tmp_path / "archive"), accounts={"work": Account(name="work", imap=imap)})
    made = Archive(config, say=said.append)
    with made.ledger(make=True):
        said.clear()
    return made


def is_body(command: Command) -> bool:
    return "BODY.PEEK[]" in command.arguments


def part_of_it(share: float, end: Action) -> Action:
    """So much of the honest answer, in whole messages, and then another end than the honest one."""

    def act(session: Session, command: Command) -> bytes:
        messages = session.honest(command).split(b"* ")[1:]
        messages[-1] = messages[-1].rpartition(command.tag.encode())[0]
        kept = messages[: int(len(messages) * share)]
        session.send(b"".join(b"* " + message for message in kept))
        return end(session, command)

    return act


def wanted(server: ScriptedServer) -> Counter[tuple[str, int]]:
    """How often each message, (folder, UID), was asked for."""
    examined: dict[int, str] = {}
    asked: Counter[tuple[str, int]] = Counter()
    for command in server.commands:
        if command.name == "EXAMINE":
            examined[command.connection] = command.text(0)
        elif command.name == "UID FETCH" and is_body(command):
            first, _, last = command.text(0).partition(":")
            asked.update((examined[command.connection], n) for n in range(int(first), int(last or first) + 1))
    return asked


def change(archive: Archive, **changes: object) -> None:
    """Change the account's server in the configuration."""
    account = archive.config.accounts["work"]
    imap = msgspec.structs.replace(account.imap, **changes)
    archive.config.accounts["work"] = msgspec.structs.replace(account, imap=imap)


def pulled(archive: Archive) -> AccountReport:
    report = archive.sync(index=False)
    assert report.errors == {}
    return report.accounts[0]


def stored(archive: Archive) -> int:
    with Ledger(archive.root) as ledger:
        return sum(live for live, _, _ in ledger.totals().values())


class TestExpired:
    @pytest.mark.parametrize("end", [bye(EXPIRED), reply("{tag} NO [AUTHENTICATIONFAILED] Token expired")])
    def test_the_pull_goes_on_where_it_stopped(
        self, server: ScriptedServer, archive: Archive, minting: Minting, said: list[str], end: Action
    ) -> None:
        server.on("UID FETCH", part_of_it(0.5, end), times=1, when=is_body)
        report = pulled(archive)
        assert (report.total("stored"), report.total("documents")) == (MESSAGES, MESSAGES)
        counts = Counter(folder.folder for folder in report.folders if folder.folder != "INBOX")
        assert counts == {f"F{n}": 1 for n in range(4)}
        assert report.complete and report.seconds > 0
        assert said.count("the login of work has expired: logging in anew") <= 1
        assert minting.count >= 2
        assert stored(archive) == MESSAGES
        status = archive.status().accounts[0]
        assert status.error is None and status.succeeded
        assert pulled(archive).folders == []

    def test_as_often_as_mail_comes_in_between(
        self, server: ScriptedServer, archive: Archive, said: list[str]
    ) -> None:
        """A first pull may take longer than many tokens last."""
        change(archive, connections=1)
        server.on("UID FETCH", part_of_it(0.5, bye(EXPIRED)), times=4, when=is_body)
        report = pulled(archive)
        assert report.total("stored") == MESSAGES
        assert said == ["the login of work has expired: logging in anew"] * 4
        asked = wanted(server)
        assert {asked[f"F{n}", uid] for n in range(4) for uid in range(1, 6)} == {1}

    def test_one_that_expires_at_once_is_no_good(
        self, server: ScriptedServer, archive: Archive, minting: Minting, said: list[str]
    ) -> None:
        server.on("UID FETCH", bye(EXPIRED), when=is_body)
        report = archive.sync(index=False)
        error = report.errors["work"]
        assert isinstance(error, ExpiredError)
        assert (error.account, error.exit_code, error.transient) == ("work", 75, True)
        assert len(said) == 1
        assert minting.count <= 4
        status = archive.status().accounts[0]
        assert status.error and "Session expired" in status.error

    def test_before_anything_was_asked(
        self, server: ScriptedServer, archive: Archive, said: list[str]
    ) -> None:
        server.on("LIST", bye(EXPIRED), times=1)
        assert pulled(archive).total("stored") == MESSAGES
        assert len(said) == 1

    def test_the_new_token_is_refused(
        self, server: ScriptedServer, archive: Archive, gate: Gate, minting: Minting
    ) -> None:
        gate.good = {"token-1"}
        server.on("LIST", bye(EXPIRED), times=1)
        error = archive.sync(index=False).errors["work"]
        assert isinstance(error, LoginError)
        assert "status invalid_token" in error.message
        assert minting.count == 3, "asked once more, when the second was refused"

    def test_no_new_token_can_be_had(self, server: ScriptedServer, archive: Archive, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text("token-1\n")

        def lose(session: Session, command: Command) -> bytes:
            token.unlink()
            return bye(EXPIRED)(session, command)

        server.on("LIST", lose, times=1)
        change(archive, token=SecretSource(command=f"cat {token} 2>/dev/null"))
        assert isinstance(archive.sync(index=False).errors["work"], CredentialError)

    def test_other_losses_are_for_the_schedule(
        self, server: ScriptedServer, archive: Archive, said: list[str]
    ) -> None:
        server.on("LIST", bye("* BYE idle for too long"), times=1)
        assert set(archive.sync(index=False).errors) == {"work"}
        assert said == []


class TestAnotherMailbox:
    def bodies(self, server: ScriptedServer) -> int:
        return sum(is_body(command) for command in server.commands)

    def test_said_before_and_told_after(
        self, server: ScriptedServer, archive: Archive, said: list[str]
    ) -> None:
        assert not pulled(archive).other_mailbox
        change(archive, user="other")
        report = pulled(archive)
        assert report.other_mailbox
        assert all(folder.new_epoch for folder in report.folders)
        assert report.total("claimed") == report.total("stored") == MESSAGES
        assert stored(archive) == MESSAGES
        (notice,) = said
        assert "other on 127.0.0.1, it was me on 127.0.0.1" in notice
        assert notice.endswith("archiver account same work")
        assert not pulled(archive).other_mailbox

    def test_the_same_under_another_name(
        self, server: ScriptedServer, archive: Archive, said: list[str]
    ) -> None:
        pulled(archive)
        change(archive, host="localhost", user="me@example.org")
        assert [m.state for m in archive.mailboxes()] == ["other"]
        before = archive.same_mailbox("work")
        assert (before.state, before.kept_host, before.kept_user) == ("other", "127.0.0.1", "me")
        assert [m.state for m in archive.mailboxes()] == ["same"]
        fetched = self.bodies(server)
        report = pulled(archive)
        assert (report.other_mailbox, report.folders, said) == (False, [], [])
        assert self.bodies(server) == fetched
        assert archive.same_mailbox("work").state == "same"

    def test_a_wrong_host_opens_nothing(self, server: ScriptedServer, archive: Archive) -> None:
        """Only who logged in knows that there is another mailbox."""
        pulled(archive)
        port = server.port
        change(archive, port=1, user="tpyo")
        assert set(archive.sync(index=False).errors) == {"work"}
        change(archive, port=port, user="me")
        report = pulled(archive)
        assert (report.other_mailbox, report.folders) == (False, [])

    def test_nor_after_the_ledger_was_lost(self, server: ScriptedServer, archive: Archive) -> None:
        pulled(archive)
        for path in Path(archive.root).glob("ledger.sqlite3*"):
            path.unlink()
        port = server.port
        change(archive, port=1, user="tpyo")
        assert set(archive.sync(index=False).errors) == {"work"}
        change(archive, port=port, user="me")
        fetched = self.bodies(server)
        assert not pulled(archive).other_mailbox
        assert self.bodies(server) == fetched

    def test_told_also_when_the_login_expired_meanwhile(
        self, server: ScriptedServer, archive: Archive
    ) -> None:
        pulled(archive)
        change(archive, user="other")
        server.on("UID FETCH", part_of_it(0.5, bye(EXPIRED)), times=1, when=is_body)
        assert pulled(archive).other_mailbox
        assert stored(archive) == MESSAGES

    def test_of_accounts_that_come_and_go(self, archive: Archive) -> None:
        assert [m.state for m in archive.mailboxes()] == ["new"]
        assert archive.same_mailbox("work").state == "new"
        pulled(archive)
        del archive.config.accounts["work"]
        (left,) = archive.mailboxes()
        assert (left.state, left.host, left.kept_user) == ("unconfigured", "", "me")


def test_some_folders_are_no_proof_that_the_account_is_well(server: ScriptedServer, tmp_path: Path) -> None:
    server.account.capabilities = ("IMAP4rev1",)
    imap = ImapServer(
        host="127.0.0.1",
        port=server.port,
        security="none",
        user="user",
        password=SecretSource(literal="secret"),
        read_timeout=Duration(5),
    )
    archive = Archive(Config(archive=str(tmp_path / "a"), accounts={"work": Account(imap=imap, name="work")}))
    assert archive.sync(folders=["F1"], index=False).accounts[0].total("stored") == MESSAGES // 4
    assert archive.status().accounts[0].succeeded is None
    archive.sync(index=False)
    assert archive.status().accounts[0].succeeded is not None


def test_a_silent_server_is_not_waited_for_when_it_is_to_stop(
    server: ScriptedServer, archive: Archive
) -> None:
    change(archive, connections=1, read_timeout=Duration(600))
    server.on("UID FETCH", stall(after=0), when=is_body)
    archive.stop = lambda: any(is_body(command) for command in server.commands)
    with pytest.raises(InterruptedRun):
        archive.sync()
    status = archive.status().accounts[0]
    assert (status.error, status.succeeded) == (None, None)
