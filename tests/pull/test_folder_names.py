from __future__ import annotations

from pathlib import Path

from archiver.store.layout import read_folder_file
from archiver.store.ledger import Ledger
from archiver.store.records import Folder
from tests.conftest import AnyUser
from tests.pull import checks
from tests.pull.conftest import Archive, mail
from tests.pull.steps import Messages, delivered, fetches, lose_ledger
from tests.servers.fake import FakeServer


class TestFolderNames:
    def test_of_every_script_on_real_servers(self, any_mailbox: AnyUser, server_archive: Archive) -> None:
        names = ["Projekte/Küche", "仕事/会議", "Архив/2024", "R&D", "007", "Ελλάδα"]
        any_mailbox.create(*names)
        messages: Messages = {}
        for number, name in enumerate(names):
            messages |= delivered(any_mailbox, number, folder=name)
        server_archive.sync()
        checks.converged(server_archive.root, messages)
        assert server_archive.sync().folders == []
        for name in names:
            described = read_folder_file(str(server_archive.mail / name))
            assert described is not None
            assert described.name == name

    HOSTILE = (
        "..",
        "../../etc",
        "/etc/passwd",
        "a/../../b",
        ".",
        "",
        "/",
        "//",
        "cur",
        "new/tmp",
        "INBOX/cur",
        ".folder.json",
        ".hidden",
        "CON",
        "x" * 400,
        "ü" * 200,
        "/".join(["deep"] * 60),
        "/".join(["d" * 200] * 60),
        "tab\there",
        "bell\a",
        "back\\slash",
        "colon:2,S",
        "%2F",
        "%",
        "~",
        "case",
        "Case",
        "CASE",
        "e\u0301",
        "é",
        "trailing. ",
        "\x85\u2028",
        "*?<>|",
    )

    def test_from_a_hostile_server(self, archive: Archive, tmp_path: Path) -> None:
        server = FakeServer()
        for number, name in enumerate(self.HOSTILE):
            server.folder(name).add(mail(number))
        archive.pull(server.connect())
        assert archive.pull(server.connect()).folders == []
        checks.converged(archive.root, server.messages())
        assert {path.name for path in tmp_path.iterdir()} == {"archive"}
        assert {path.name.partition(".")[0] for path in archive.path.iterdir()} <= {"mail", "ledger", "locks"}
        names = {f.name for f in folders(archive)}
        assert names == set(server.folders)

    def test_as_they_are_on_the_wire_are_kept_through_a_lost_ledger(self, archive: Archive) -> None:
        server = FakeServer()
        for number, name in enumerate(self.HOSTILE):
            server.folder(name).add(mail(number))
        archive.pull(server.connect())
        before = {(f.raw, f.name, f.path) for f in folders(archive)}
        lose_ledger(archive)
        assert {(f.raw, f.name, f.path) for f in folders(archive)} == before
        connection = server.connect()
        archive.pull(connection)
        assert fetches(connection.asked) == []
        checks.converged(archive.root, server.messages())


def folders(archive: Archive) -> list[Folder]:
    with Ledger(archive.root) as ledger:
        return ledger.folders()
