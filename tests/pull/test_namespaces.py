"""Folders that are not one's own: left alone, unless the configuration asks for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from archiver.archive.compare import compare_account
from archiver.config import Folders
from archiver.imap import connect
from archiver.store.ledger import Ledger
from archiver.verify import Compared
from tests.imap.conftest import PASSWORD
from tests.pull import checks
from tests.pull.conftest import Archive, ArchiveOf, Scripted, mail
from tests.pull.steps import Messages, delivered
from tests.servers.dovecot import Dovecot
from tests.servers.scripted import reply

PUBLIC = """\
namespace public {
  type = public
  separator = /
  prefix = Public/
  location = maildir:~/public
  subscriptions = no
}
"""


Shared = tuple[Archive, Messages, Messages]


@pytest.fixture
def shared(
    start_dovecot: Callable[..., Dovecot], archive_of: ArchiveOf
) -> tuple[Archive, Messages, Messages]:
    """An archive of a mailbox on a Dovecot with public folders; what is one's own, and what is not."""
    server = start_dovecot(settings=PUBLIC)
    user = server.new_user()
    user.create("Work", "Public/News", "Public/News/old")
    own = delivered(user, 1) | delivered(user, 2, folder="Work")
    foreign = delivered(user, 3, folder="Public/News") | delivered(user, 4, folder="Public/News/old")
    return archive_of(server, user=user.name), own, foreign


class TestDovecot:
    def test_are_left_alone(self, shared: Shared) -> None:
        archive, own, _ = shared
        archive.sync()
        checks.converged(archive.root, own)

    def test_are_pulled_when_asked_for(self, shared: Shared) -> None:
        archive, own, foreign = shared
        archive.folders = Folders(namespaces=("personal", "shared"))
        archive.sync()
        checks.converged(archive.root, own | foreign)
        assert archive.sync().folders == []

    def test_and_no_others(self, shared: Shared) -> None:
        archive, _, foreign = shared
        archive.folders = Folders(namespaces=("shared",), exclude=("*/old",))
        archive.sync()
        checks.converged(archive.root, {("Public/News", 1): foreign["Public/News", 1]})

    @pytest.mark.parametrize("now", [("personal",), ("shared",)])
    def test_what_is_not_asked_for_any_more_is_not_gone(self, shared: Shared, now: tuple[str, ...]) -> None:
        archive, own, foreign = shared
        archive.folders = Folders(namespaces=("personal", "shared"))
        archive.sync()
        archive.folders = Folders(namespaces=now)  # type: ignore[arg-type]
        archive.sync()
        checks.converged(archive.root, own | foreign)
        with Ledger(archive.root) as ledger:
            assert all(folder.listed for folder in ledger.folders())
            compared = Compared()
            with connect(archive.imap, lambda: PASSWORD) as connection:
                compare_account(archive.account(), connection, ledger, compared, stop=lambda: False)
        assert compared.findings == []


def test_what_is_not_asked_for_any_more_was_not_renamed(scripted: Scripted, archive_of: ArchiveOf) -> None:
    server = scripted()
    server.account.late = (*server.account.late, "OBJECTID")
    server.on("NAMESPACE", reply('* NAMESPACE (("" "/")) (("Users/" "/")) NIL', "{tag} OK done"))
    for number, name in enumerate(("INBOX", "Users/other")):
        server.folder(name).add(mail(number), extra={"EMAILID": f"(M{number})"})
        server.folder(name).extra["MAILBOXID"] = f"(F{number})"
    archive = archive_of(server)
    archive.folders = Folders(namespaces=("personal", "others"))
    archive.sync()
    server.folder("Junk")
    archive.folders = Folders(exclude=("Junk",))
    server.commands.clear()
    assert archive.sync().folders == []
    assert "EXAMINE" not in server.names()
    checks.converged(archive.root, {("INBOX", 1): mail(0), ("Users/other", 1): mail(1)})
