"""A private Cyrus IMAP 3.6: the second real server, another family of code than Dovecot.

Its programs are not installed, since their package would remove Dovecot's: `.ci/test-servers` unpacks them
into `.servers/cyrus`. Started in the foreground from a configuration of its own, on loopback and free
ports, in a directory of its own. Works as root and as anybody else.

What it does that Dovecot does not: it names mailboxes and messages (OBJECTID), lists INBOX without quotes,
announces LOGINDISABLED after a login in clear, has no NOTIFY, takes no folder named `100%` or `{5}`, and no
message with bare LF, NUL or a broken header; 8-bit letters of headers become X unless it is told not to.
"""

from __future__ import annotations

import contextlib
import getpass
import grp
import imaplib
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.servers.dovecot import (
    HOST,
    MissingServerError,
    RefusedError,
    answers,
    free_ports,
    modified_utf7,
    remove,
)
from tests.servers.tls import Certificate

PREFIX = pathlib.Path(__file__).parents[2] / ".servers" / "cyrus"
PROGRAMS = "usr/lib/cyrus/bin"
# Whom the server runs as when root starts it.
SERVER_USER = "mail"


@dataclass(frozen=True)
class User:
    """One mailbox, and what the outside world does to it behind the back of the program under test.

    All over IMAP, a connection each time. Folder names are in Unicode with "/" between levels.
    """

    server: Cyrus = field(repr=False)
    name: str
    password: str

    def save(
        self,
        message: bytes,
        folder: str = "INBOX",
        *,
        date: datetime | None = None,
        flags: Sequence[str] = (),
    ) -> int:
        """Append one message, its INTERNALDATE at `date` (aware; default now); the UID it got."""
        received = imaplib.Time2Internaldate(date or datetime.now(UTC))
        with self._session() as session:
            told = insist(session.append(wire(folder), f"({' '.join(flags)})", received, message))
        return int(told.partition(b"]")[0].split()[-1])  # [APPENDUID <uidvalidity> <uid>]

    def add_flags(self, folder: str, uids: str, *flags: str) -> None:
        """Set flags and keywords (`\\Seen`, `$Label1`) on a UID set."""
        self._store(folder, uids, "+FLAGS.SILENT", *flags)

    def remove_flags(self, folder: str, uids: str, *flags: str) -> None:
        self._store(folder, uids, "-FLAGS.SILENT", *flags)

    def _store(self, folder: str, uids: str, how: str, *flags: str) -> None:
        with self._selected(folder) as session:
            insist(session.uid("STORE", uids, how, f"({' '.join(flags)})"))

    def expunge(self, folder: str, uids: str) -> None:
        """Delete a UID set for good."""
        with self._selected(folder) as session:
            insist(session.uid("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)"))
            insist(session.uid("EXPUNGE", uids))

    def move(self, folder: str, uids: str, target: str) -> None:
        with self._selected(folder) as session:
            insist(session.uid("MOVE", uids, wire(target)))

    def copy(self, folder: str, uids: str, target: str) -> None:
        with self._selected(folder) as session:
            insist(session.uid("COPY", uids, wire(target)))

    def create(self, *folders: str) -> None:
        with self._session() as session:
            for folder in folders:
                insist(session.create(wire(folder)))

    def rename(self, folder: str, to: str) -> None:
        with self._session() as session:
            insist(session.rename(wire(folder), wire(to)))

    def delete(self, folder: str) -> None:
        """Delete a folder with everything in it; those below it stay."""
        with self._session() as session:
            insist(session.delete(wire(folder)))

    def folders(self) -> list[str]:
        """The folders' names as they are on the wire, quotes apart."""
        with self._session() as session:
            insist(answer := session.list())
        lines = [line for line in answer[1] if isinstance(line, bytes)]
        return [line.decode().partition(' "/" ')[2].strip('"') for line in lines]

    def status(self, folder: str = "INBOX") -> dict[str, int]:
        """messages, uidnext, uidvalidity, unseen, highestmodseq."""
        with self._session() as session:
            told = insist(session.status(wire(folder), "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)"))
        items = re.findall(rb"([A-Z]+) (\d+)", told.rpartition(b"(")[2])
        return {name.decode().lower(): int(value) for name, value in items}

    def uids(self, folder: str = "INBOX") -> list[int]:
        """The folder's UIDs, ascending."""
        with self._selected(folder) as session:
            return [int(uid) for uid in insist(session.uid("SEARCH", "ALL")).split()]

    @contextlib.contextmanager
    def _selected(self, folder: str) -> Iterator[imaplib.IMAP4]:
        with self._session() as session:
            insist(session.select(wire(folder)))
            yield session

    @contextlib.contextmanager
    def _session(self) -> Iterator[imaplib.IMAP4]:
        with imaplib.IMAP4(HOST, self.server.port, timeout=30) as session:
            # Else an APPEND waits 45 ms for the acknowledgement of its first packet.
            session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session.login(self.name, self.password)
            yield session


def insist(answer: tuple[str, Sequence[bytes | tuple[bytes, bytes] | None]]) -> bytes:
    """What an OK told; RefusedError for a NO."""
    outcome, told = answer
    first = told[0] if told and isinstance(told[0], bytes) else b""
    if outcome != "OK":
        raise RefusedError(first.decode(errors="replace"))
    return first


def wire(folder: str) -> str:
    """A folder name as imaplib wants it: coded, quoted."""
    return '"' + modified_utf7(folder).replace("\\", "\\\\").replace('"', '\\"') + '"'


class Cyrus:
    """A running server; `stop` ends it and removes its directory."""

    host = HOST

    def __init__(self, certificate: Certificate, directory: pathlib.Path) -> None:
        self.certificate = certificate
        self.directory = directory
        self.port = 0
        self.tls_port = 0
        self.prefix = PREFIX
        self._passwords = directory / "sasldb2"
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def add_user(self, name: str, password: str = "secret") -> User:
        """Make a user; his INBOX appears when he first logs in."""
        program = self.prefix / "usr" / "sbin" / "saslpasswd2"
        command = [str(program), "-c", "-p", "-f", str(self._passwords), "-u", "localhost", name]
        env = environment(self.prefix)
        subprocess.run(command, input=password.encode(), env=env, check=True, capture_output=True)
        if os.geteuid() == 0:
            shutil.chown(self._passwords, SERVER_USER, SERVER_USER)
        return User(self, name, password)

    def new_user(self) -> User:
        """A user of a name nobody has had yet, with an INBOX."""
        user = self.add_user(f"user{next(self._numbers)}")
        user.status()
        return user

    def launch(self) -> None:
        """Start and wait until it answers; other ports when someone took them in between."""
        prepare(self.directory, self.certificate)
        if os.geteuid() == 0:
            # The server's own user may not be let into this checkout.
            self.prefix = self.directory / "programs"
            rest = shutil.ignore_patterns("share", "etc", "var")
            shutil.copytree(PREFIX, self.prefix, symlinks=True, ignore=rest)
        for _ in range(5):
            self.port, self.tls_port = free_ports(2)
            write_configuration(self)
            if not (said := self._start()):
                return
        raise RuntimeError(f"Cyrus does not start: {said}")

    def _start(self) -> str:
        """Nothing when it answers, else what it said when it ended."""
        # Should this process be killed, the kernel asks the server to end; that ends those it started, too.
        command = ["setpriv", "--pdeathsig", "TERM"]
        if os.geteuid() == 0:
            # From the start: whoever changes the user later loses the signal of the line above.
            command += ["--reuid", SERVER_USER, "--regid", SERVER_USER, "--clear-groups"]
        command += [str(self.prefix / PROGRAMS / "master"), "-C", str(self.directory / "imapd.conf")]
        command += ["-M", str(self.directory / "cyrus.conf"), "-p", str(self.directory / "pid")]
        process = subprocess.Popen(
            command,
            env=environment(self.prefix),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if answers(process, self.port):
            self._process = process
            return ""
        return end(process) or "nothing"

    def stop(self) -> None:
        """End the server and all its sessions, and remove its directory."""
        if self._process is not None:
            end(self._process)
            self._process = None
        remove(self.directory)


def start(certificate: Certificate) -> Cyrus:
    """A running Cyrus; MissingServerError when there is none to run."""
    check_programs()
    # Not pytest's directory: its sockets have long names. The server's own user must get in.
    directory = pathlib.Path(tempfile.mkdtemp(prefix="cy-", dir="/tmp"))
    server = Cyrus(certificate, directory)
    try:
        server.launch()
    except BaseException:
        server.stop()
        raise
    return server


def check_programs() -> None:
    """MissingServerError unless the server's programs are there, and all libraries that they need."""
    program = PREFIX / PROGRAMS / "imapd"
    if not program.exists():
        raise MissingServerError("Cyrus IMAP is not there: .ci/test-servers unpacks it from its package")
    env = environment(PREFIX)
    done = subprocess.run(["ldd", program], env=env, capture_output=True, text=True, check=False)
    if "not found" in done.stdout or done.returncode:
        raise MissingServerError(f"Cyrus IMAP lacks libraries: remove {PREFIX} and run .ci/test-servers")


def environment(prefix: pathlib.Path) -> dict[str, str]:
    """Of the programs: libraries are where they were unpacked, and so may the parts of SASL be.

    One of them makes fsync do nothing: no mail of a test has to survive a power cut.
    """
    libraries = [*prefix.glob("usr/lib/*-linux-gnu*"), *prefix.glob("lib/*-linux-gnu*")]
    plugins = [path / "sasl2" for path in (*libraries, *pathlib.Path("/usr/lib").glob("*-linux-gnu*"))]
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "LD_PRELOAD": "libeatmydata.so",
        "SASL_PATH": ":".join(str(path) for path in plugins if path.is_dir()),
    }


def prepare(directory: pathlib.Path, certificate: Certificate) -> None:
    """Make what the server expects to find: directories of its configuration, a key that it may read."""
    for name in ("db", "lock", "log", "msg", "proc", "ptclient", "quota", "sieve", "socket", "user"):
        (directory / "conf" / name).mkdir(parents=True)
    (directory / "mail").mkdir()
    (directory / "cert.pem").write_bytes(certificate.certificate.read_bytes())
    (directory / "key.pem").touch(0o600)
    (directory / "key.pem").write_bytes(certificate.key.read_bytes())
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            shutil.chown(path, SERVER_USER, SERVER_USER)


def write_configuration(server: Cyrus) -> None:
    user, group = SERVER_USER, SERVER_USER
    if os.geteuid() != 0:
        user, group = getpass.getuser(), grp.getgrgid(os.getegid()).gr_name
    values = {
        "DIRECTORY": str(server.directory),
        "PROGRAMS": str(server.prefix / PROGRAMS),
        "PORT": str(server.port),
        "TLS_PORT": str(server.tls_port),
        "USER": user,
        "GROUP": group,
    }
    for name, text in (("imapd.conf", IMAPD), ("cyrus.conf", MASTER)):
        for word, value in values.items():
            text = text.replace(f"@{word}@", value)
        path = server.directory / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)


def end(process: subprocess.Popen[bytes]) -> str:
    """Ask the server to end, which takes no time, then kill what is left of its group; what it said.

    Clients that go on connecting would keep it from ending.
    """
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[1].decode(errors="replace").strip()


IMAPD = """\
configdirectory: @DIRECTORY@/conf
defaultpartition: default
partition-default: @DIRECTORY@/mail
cyrus_user: @USER@
cyrus_group: @GROUP@
admins: cyrus
servername: localhost
allowplaintext: yes
unixhierarchysep: yes
altnamespace: yes
autocreate_post: yes
autocreate_quota: 0
conversations: yes
munge8bit: no
idlesocket: @DIRECTORY@/conf/socket/idle
failedloginpause: 0
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: @DIRECTORY@/sasldb2
sasl_mech_list: PLAIN LOGIN
tls_server_cert: @DIRECTORY@/cert.pem
tls_server_key: @DIRECTORY@/key.pem
"""

MASTER = """\
START {
  recover cmd="@PROGRAMS@/ctl_cyrusdb -C @DIRECTORY@/imapd.conf -r"
}
SERVICES {
  imap cmd="@PROGRAMS@/imapd -C @DIRECTORY@/imapd.conf" listen="127.0.0.1:@PORT@" prefork=1
  imaps cmd="@PROGRAMS@/imapd -C @DIRECTORY@/imapd.conf -s" listen="127.0.0.1:@TLS_PORT@" prefork=0
}
EVENTS {
}
DAEMON {
  idled cmd="@PROGRAMS@/idled -C @DIRECTORY@/imapd.conf"
}
"""
