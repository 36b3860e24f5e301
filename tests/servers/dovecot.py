"""A private Dovecot 2.3: the real server most tests run against.

Started in the foreground from a configuration of its own, on loopback and free ports, in a directory
of its own; the system's configuration and services are not touched. Works as root and as anybody else.
Needs the Debian package dovecot-imapd, and of Python only the standard library: the benchmarks use it too.
"""

from __future__ import annotations

import base64
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
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

HOST = "127.0.0.1"
PACKAGE = "dovecot-imapd"


class MissingServerError(RuntimeError):
    """A server's program is not installed, or is of a version this module cannot configure."""


class RefusedError(RuntimeError):
    """doveadm or the server refused; the message is what it said."""


@dataclass(frozen=True)
class Options:
    """How one Dovecot differs from the usual.

    certificate, key: PEM files; without them there is neither TLS nor STARTTLS.
    capability: the whole capability list to show (the commands behind hidden ones still work).
    layout: `mail_location`. settings: more lines for the end of the configuration.
    """

    certificate: pathlib.Path | None = None
    key: pathlib.Path | None = None
    capability: str | None = None
    layout: str = "maildir:~/Maildir:LAYOUT=fs"
    settings: str = ""


@dataclass(frozen=True)
class User:
    """One mailbox, and what the outside world does to it behind the back of the program under test.

    Folder names are in Unicode with "/" between levels. Bytes come back over IMAP as they were given
    only when every LF follows a CR: the Maildir behind the server keeps no other line end apart.
    """

    server: Dovecot = field(repr=False)
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
        """Append one message, its INTERNALDATE at `date` (aware; default now); the UID it got.

        By APPEND on a connection of its own, since `doveadm save` knows no dates.
        """
        received = imaplib.Time2Internaldate(date or datetime.now(UTC))
        line = f'APPEND "{modified_utf7(folder)}" ({" ".join(flags)}) {received} {{{len(message)}+}}\r\n'
        with session(self.server.port) as say:
            say(f'LOGIN "{self.name}" "{self.password}"'.encode())
            answer = say(line.encode() + message)
        return int(answer.split(b"]")[0].split()[-1])  # [APPENDUID <uidvalidity> <uid>]

    def add_flags(self, folder: str, uids: str, *flags: str) -> None:
        """Set flags and keywords (`\\Seen`, `$Label1`) on a UID set."""
        self._on("flags", "add", folder, uids, " ".join(flags))

    def remove_flags(self, folder: str, uids: str, *flags: str) -> None:
        self._on("flags", "remove", folder, uids, " ".join(flags))

    def _on(self, verb: str, how: str, folder: str, uids: str, value: str) -> None:
        self.server.doveadm(verb, how, "-u", self.name, value, "mailbox", folder, "uid", uids)

    def expunge(self, folder: str, uids: str) -> None:
        """Delete a UID set for good."""
        self.server.doveadm("expunge", "-u", self.name, "mailbox", folder, "uid", uids)

    def move(self, folder: str, uids: str, target: str) -> None:
        self.server.doveadm("move", "-u", self.name, target, "mailbox", folder, "uid", uids)

    def copy(self, folder: str, uids: str, target: str) -> None:
        self.server.doveadm("copy", "-u", self.name, target, "mailbox", folder, "uid", uids)

    def create(self, *folders: str) -> None:
        self.server.doveadm("mailbox", "create", "-u", self.name, *folders)

    def rename(self, folder: str, to: str) -> None:
        self.server.doveadm("mailbox", "rename", "-u", self.name, folder, to)

    def delete(self, folder: str) -> None:
        """Delete a folder with everything in it."""
        self.server.doveadm("mailbox", "delete", "-u", self.name, folder)

    def folders(self) -> list[str]:
        return self.server.doveadm("mailbox", "list", "-u", self.name).splitlines()

    def status(self, folder: str = "INBOX") -> dict[str, int]:
        """messages, uidnext, uidvalidity, unseen, highestmodseq."""
        wanted = "messages uidnext uidvalidity unseen highestmodseq"
        line = self.server.doveadm("-f", "tab", "mailbox", "status", "-u", self.name, wanted, folder)
        names, values = (row.split("\t") for row in line.splitlines())
        return {name: int(value) for name, value in zip(names, values, strict=True) if name != "mailbox"}

    def uids(self, folder: str = "INBOX") -> list[int]:
        """The folder's UIDs, ascending."""
        lines = self.server.doveadm("search", "-u", self.name, "mailbox", folder, "all").splitlines()
        return [int(line.split()[1]) for line in lines]

    def set_uidvalidity(self, folder: str, value: int) -> None:
        """A new UIDVALIDITY; the UIDs stay, sessions on the folder are dropped."""
        self.server.doveadm("mailbox", "update", "-u", self.name, "--uid-validity", str(value), folder)

    def renumber(self, folder: str = "INBOX") -> None:
        """The nastiest case: the same UIDVALIDITY, new UIDs (a backup put back without its index)."""
        self.kick()
        path = pathlib.Path(self.server.doveadm("mailbox", "path", "-u", self.name, folder).strip())
        (path / "dovecot-uidlist").unlink()

    def import_maildir(self, source: pathlib.Path) -> None:
        """Load a Maildir into INBOX, dates (mtime) and flags kept; `source` under `server.directory`."""
        if (
            os.geteuid() == 0
        ):  # the server's user must write there, else doveadm imports nothing and is content
            for path in (source, *source.glob("*/")):
                shutil.chown(path, "mail", "mail")
        self.server.doveadm("import", "-u", self.name, f"maildir:{source}", "", "all")

    def kick(self) -> None:
        """Cut all sessions of the user."""
        with contextlib.suppress(RefusedError):  # nobody was logged in
            self.server.doveadm("kick", self.name)


class Dovecot:
    """A running server; `stop` ends it and removes its directory."""

    host = HOST

    def __init__(self, options: Options, directory: pathlib.Path) -> None:
        self.options = options
        self.directory = directory
        self.port = 0
        self.tls_port = 0
        self._config = directory / "dovecot.conf"
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def add_user(self, name: str, password: str = "secret", *, fields: str = "") -> User:
        """Make a user. `fields` are Dovecot's extra fields, separated by spaces:

        `userdb_quota_rule=*:storage=20K` (over it: NO [OVERQUOTA]), `delay_until=<Unix seconds>` (slow
        login), `nologin=y reason=Closed` (refused). The server may see a later change only after a second.
        """
        if name != name.lower() or "/" in name:
            raise ValueError(f"Dovecot folds user names to lower case, and this one names a file: {name}")
        path = self.directory / "users" / name
        path.write_text(f"{name}:{{PLAIN}}{password}::::::{fields}\n", encoding="utf-8")
        path.chmod(0o644)
        return User(self, name, password)

    def new_user(self, *, fields: str = "") -> User:
        """A user of a name nobody has had yet."""
        return self.add_user(f"user{next(self._numbers)}", fields=fields)

    def doveadm(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run doveadm against this server (about 12 ms)."""
        command = [program("doveadm"), "-c", str(self._config), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise RefusedError(
                f"doveadm {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}"
            )
        return done.stdout.decode()

    def log(self) -> str:
        path = self.directory / "dovecot.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def launch(self) -> None:
        """Start and wait until it answers; other ports when someone took them in between."""
        for _ in range(5):
            self.port, self.tls_port = free_ports(2)
            self._config.write_text(configuration(self), encoding="utf-8")
            if not (said := self._start()):
                return
        raise RuntimeError(f"Dovecot does not start: {said}\n{self.log()[-2000:]}")

    def _start(self) -> str:
        """Nothing when it answers, else what it said when it ended."""
        # Should this process be killed, the kernel ends the server too.
        command = ["setpriv", "--pdeathsig", "KILL", program("dovecot"), "-F", "-c", str(self._config)]
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        if answers(process, self.port):
            self._process = process
            return ""
        return self._end(process) or "nothing"

    def halt(self) -> None:
        """Kill the server and all its sessions; the mail stays, for `resume`."""
        assert self._process is not None
        self._end(self._process)
        self._process = None

    def resume(self) -> None:
        """Start again after `halt`, on the same ports."""
        if said := self._start():
            raise RuntimeError(f"Dovecot does not start again: {said}\n{self.log()[-2000:]}")

    def stop(self) -> None:
        """End the server and all its sessions, and remove its directory."""
        if self._process is not None:
            self._end(self._process)
            self._process = None
        remove(self.directory)

    def _end(self, process: subprocess.Popen[bytes]) -> str:
        """Kill the group: nothing is kept; asked politely the master takes a second, its sessions ten."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[1].decode(errors="replace").strip()


@contextlib.contextmanager
def session(port: int) -> Iterator[Callable[[bytes], bytes]]:
    """A bare IMAP session: a function that sends a command and gives back its tagged answer, an OK."""
    with (
        socket.create_connection((HOST, port), timeout=30) as connection,
        connection.makefile("rb") as lines,
    ):

        def say(text: bytes) -> bytes:
            connection.sendall(b"t " + text + b"\r\n")
            answer = next((line for line in lines if line.startswith(b"t ")), b"closed")
            if not answer.startswith(b"t OK"):
                raise RefusedError(answer.decode(errors="replace").strip())
            return answer

        lines.readline()
        yield say
        say(b"LOGOUT")


def modified_utf7(name: str) -> str:
    """A folder name on the wire (RFC 3501, 5.1.3), without quotes."""

    def shift(match: re.Match[str]) -> str:
        coded = base64.b64encode(match[0].encode("utf-16-be")).decode().rstrip("=")
        return "&" + coded.replace("/", ",") + "-"

    return re.sub(r"[^\x20-\x7e]+", shift, name.replace("&", "&-"))


def start(options: Options | None = None) -> Dovecot:
    """A running Dovecot; MissingServerError when there is none to run."""
    check_version()
    # Not pytest's directory: Dovecot's sockets allow about 80 characters. The server's own user must get in.
    directory = pathlib.Path(tempfile.mkdtemp(prefix="dc-", dir="/tmp"))
    directory.chmod(0o755)
    for name in ("users", "home"):
        (directory / name).mkdir(mode=0o755)
    if os.geteuid() == 0:
        shutil.chown(directory / "home", "mail", "mail")
    server = Dovecot(options or Options(), directory)
    try:
        server.launch()
    except BaseException:
        server.stop()
        raise
    return server


def remove(directory: pathlib.Path) -> None:
    """Remove a server's directory; what was still being written when it was killed goes in a second pass."""
    for _ in range(2):
        shutil.rmtree(directory, ignore_errors=True)


def program(name: str) -> str:
    """Where it is; Debian leaves the sbin directories off the PATH of everybody but root."""
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if found is None:
        raise MissingServerError(f"{name} is not installed: apt install {PACKAGE}")
    return found


def check_version() -> None:
    version = subprocess.run(
        [program("dovecot"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    if not version.startswith("2.3."):
        raise MissingServerError(
            f"Dovecot 2.3 is needed (its configuration language), found {version.strip()}"
        )


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def answers(process: subprocess.Popen[bytes], port: int, seconds: float = 10) -> bool:
    """Whether the greeting comes before the process ends or the time is up."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with session(port):
                return True
        except (OSError, RefusedError):
            pass
        time.sleep(0.005)
    return False


def configuration(server: Dovecot) -> str:
    options = server.options
    sections = [GENERAL, tls_section(options), user_section(), options.settings]
    if options.capability is not None:
        sections.append(f"imap_capability = {options.capability}")
    uid, gid = ("mail", "mail") if os.geteuid() == 0 else (str(os.geteuid()), str(os.getegid()))
    values = {
        "DIRECTORY": str(server.directory),
        "LAYOUT": options.layout,
        "TLS_PORT": str(server.tls_port if options.certificate else 0),
        "PORT": str(server.port),
        "UID": uid,
        "GID": gid,
    }
    text = "\n".join(sections)
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text + "\n"


def tls_section(options: Options) -> str:
    if options.certificate is None:
        return "ssl = no"
    return f"ssl = yes\nssl_cert = <{options.certificate}\nssl_key = <{options.key}"


def user_section() -> str:
    """Whose processes these are: Dovecot's users when root starts it, else ours alone, without chroot."""
    if os.geteuid() == 0:
        return ""
    user, group = getpass.getuser(), grp.getgrgid(os.getegid()).gr_name
    lines = [
        f"default_internal_user = {user}",
        f"default_login_user = {user}",
        f"default_internal_group = {group}",
    ]
    lines += [f"service {name} {{\n  chroot =\n}}" for name in ("imap-login", "anvil", "stats")]
    return "\n".join(lines)


GENERAL = """\
protocols = imap
listen = 127.0.0.1
base_dir = @DIRECTORY@/run
state_dir = @DIRECTORY@/state
log_path = @DIRECTORY@/dovecot.log
first_valid_uid = 1
default_process_limit = 100
default_client_limit = 400
mail_fsync = never
mail_location = @LAYOUT@
mail_plugins = zlib quota notify
disable_plaintext_auth = no
auth_failure_delay = 0 secs
passdb {
  driver = passwd-file
  args = @DIRECTORY@/users/%u
}
userdb {
  driver = passwd-file
  args = @DIRECTORY@/users/%u
  default_fields = uid=@UID@ gid=@GID@ home=@DIRECTORY@/home/%u
}
namespace inbox {
  inbox = yes
  separator = /
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=2G
}
protocol imap {
  mail_plugins = $mail_plugins imap_zlib imap_quota
  mail_max_userip_connections = 200
}
service imap-login {
  inet_listener imap {
    port = @PORT@
  }
  inet_listener imaps {
    port = @TLS_PORT@
    ssl = yes
  }
}
# Without this a wrong password costs seconds, and so does the next right one.
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
"""

# Settings that let connections which idle sleep after a second, as large sites have it; it then tells of
# new mail at once, and forgets to tell of what comes right after.
HIBERNATING = """\
imap_hibernate_timeout = 1s
service imap {
  unix_listener imap-master {
    mode = 0666
  }
}
service imap-hibernate {
  unix_listener imap-hibernate {
    mode = 0666
  }
}
"""
