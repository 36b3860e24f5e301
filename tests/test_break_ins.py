"""How other programs were broken into, from the outside in: what is not tested where it belongs.

Hostile folder names are in tests/pull/test_folder_names.py and tests/store/test_layout.py, names of
attachments in tests/message/test_filenames.py and tests/cli/test_show.py, lines without the encryption they
should have in tests/imap/test_connection.py and tests/smtp/test_connection.py, smuggled commands and header
fields there, in tests/smtp/test_session.py and tests/test_resend.py, mails that would steer a terminal in
tests/cli/test_show.py, mails that would take for ever to read in tests/message/test_limits.py.
"""

from __future__ import annotations

import base64
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import home, pycache
from tests.cli.home import Home, until
from tests.cli.mails import mail
from tests.conftest import AnyUser
from tests.pull import checks
from tests.servers.honest import Account, Folder
from tests.servers.scripted import ScriptedServer, edit
from tests.servers.smtp import Offer, Sink
from tests.servers.tls import Authority, Certificate

__all__ = ["home", "pycache"]

Scripted = Callable[..., ScriptedServer]
# Names as they are on the line, between quotes.
HOSTILE = [
    "../../../../outside",
    "/outside",
    "a/../../../../outside",
    "&AC4ALg-/&AC4ALg-/outside",
    "&AC8-outside",
    "..\\..\\outside",
    "..",
    "",
    "cur",
    ".folder.json",
    "~/outside",
    "$(touch outside)",
    "\x01..\x02",
    "&2AA-",
    "ÿ\u202e",
]


class Raw(Folder):
    """A folder whose name is on the line as it is."""

    @property
    def wire(self) -> str:
        return '"' + self.name.replace("\\", "\\\\") + '"'


class RawAccount(Account):
    """Its folders by their names on the line."""

    def find(self, name: str) -> Folder | None:
        return self.folders.get(name)


@pytest.mark.parametrize("delimiter", ['"/"', '"\\\\"', '"."', '"o"', "NIL"])
def test_cve_2021_20247_no_folder_name_leaves_the_tree(
    home: Home, scripted: Scripted, delimiter: str
) -> None:
    """Straight off the line, whatever the server takes for a separator."""
    server = scripted()
    server.account = RawAccount(folders={name: Raw(name) for name in ["INBOX", *HOSTILE]})
    for name in server.account.folders:
        server.folder(name).add(mail(f"In {name!r}"))
    server.on("LIST", edit(lambda answer: answer.replace(b' "/" ', f" {delimiter} ".encode())))
    home.account("work", server.port)
    before = outside(home)
    report = home.good("sync", "--json").json()["accounts"][0]
    assert sum(folder["stored"] for folder in report["folders"]) == len(server.account.folders)
    assert outside(home) == before
    assert {path.name for path in (home.root / "mail").iterdir()} == {"work"}
    assert len(checks.files(str(home.root))) == len(server.account.folders)
    home.good("verify")


def outside(home: Home) -> set[Path]:
    """All that is in the home and around it, but for the archive."""
    around = home.path.parent
    return {path for path in around.rglob("*") if home.root not in (path, *path.parents)}


@pytest.mark.parametrize("security", ["none", "tls", "starttls"])
def test_offlineimap_266_481_no_log_of_any_level_has_a_password(
    home: Home,
    any_mailbox: AnyUser,
    authority: Authority,
    certificate: Certificate,
    caplog: pytest.LogCaptureFixture,
    security: str,
) -> None:
    """Nor the content of a mail, in whatever the libraries beneath would like to tell."""
    caplog.set_level(logging.DEBUG)
    any_mailbox.save(mail("Confidential", "Nobody else may read this."))
    offer = Offer(user="me@example.org", password="s3nding-Pa55")
    secure = {"host": "localhost", "ca_file": str(authority.ca_file)} if security != "none" else {}
    port = any_mailbox.server.tls_port if security == "tls" else any_mailbox.server.port
    home.account("work", port, any_mailbox.name, security=security, **secure)
    with Sink(security, certificate.context() if secure else None, offer) as sink:
        home.smtp(sink.port, security=security, user=offer.user, password=offer.password, **secure)
        results = [home.good("--debug", "sync"), home.good("--debug", "check", "--connect")]
        (key,) = home.good("search", "confidential", "--format", "keys").lines()
        results.append(home.good("--debug", "resend", key, "--to", "you@example.org"))
        assert len(sink.messages) == 1
    ours = [record for record in caplog.records if not record.name.startswith("mail.")]  # the sink's own
    assert ours, "something is told at this level, or this test tells nothing"
    told = "\n".join([*(record.getMessage() for record in ours), *(r.out + r.err for r in results)])
    for secret in (any_mailbox.password, offer.password):
        for form in (secret, *(base64.b64encode(t.encode()).decode() for t in plain(any_mailbox, offer))):
            assert form not in told
    assert "Nobody else" not in told


def plain(mailbox: AnyUser, offer: Offer) -> list[str]:
    """What AUTHENTICATE PLAIN sends, and LOGIN."""
    pairs = [(mailbox.name, mailbox.password), (offer.user, offer.password)]
    return [text for user, password in pairs for text in (f"\0{user}\0{password}", password)]


def test_nothing_is_open_by_default(home: Home, any_mailbox: AnyUser) -> None:
    """The daemon listens on no port and no socket: there is nobody to let in."""
    home.mailbox(any_mailbox, schedule={"push": True, "every": "1h"})
    log = home.path / "log"
    with log.open("wb") as file, home.spawn("run", stderr=file) as process:
        until(lambda: "nothing new" in log.read_text())
        sockets = set(_sockets(process.pid))
        listening = sockets & set(_listening())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert sockets, "it is connected to its server"
    assert not listening
    modes = {path: path.stat().st_mode & 0o077 for path in home.root.rglob("*")}
    assert not any(modes.values()), modes


def _sockets(pid: int) -> Iterator[str]:
    """The numbers of the sockets that a process and its children hold."""
    for process in [pid, *_children(pid)]:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            try:
                target = os.readlink(descriptor)
            except OSError:
                continue  # closed meanwhile
            if target.startswith("socket:["):
                yield target[8:-1]


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(word) for task in tasks for word in task.read_text().split()]
    return [each for child in children for each in (child, *_children(child))]


def _listening() -> Iterator[str]:
    """The numbers of all sockets on this machine that take connections: of TCP, UDP, and on file names."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                yield fields[9]
    for table in ("udp", "udp6"):
        yield from (line.split()[9] for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:])
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[3], 16) & 0x10000:
            yield fields[6]
