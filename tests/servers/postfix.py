"""A private Postfix 3.7: a real server that receives, and delivers into Maildirs.

Its programs are not installed: `.ci/postfix` unpacks them into `.servers/postfix`. Only root can run it. It
is started from a configuration of its own, on loopback and a free port, in a directory of its own. BOXES at
example.org are Maildirs. dave@local.example.org is forwarded to one by local(8), which returns a message
whose Delivered-To names him to its sender.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

from tests.servers.dovecot import HOST, MissingServerError, free_ports, remove

PREFIX = pathlib.Path(__file__).parents[2] / ".servers" / "postfix"
PROGRAMS = "usr/lib/postfix"
# Whom it runs as; a group of its own for its queue; it wants the two to differ.
OWNER, QUEUE_GROUP = "mail", "daemon"
# fmt: off
QUEUES = (
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop", "pid",
    "private", "public", "saved", "trace",
)
# fmt: on
BOXES = ("me", "you", "they", "carol", "dave")


class Postfix:
    """A running server; `stop` ends it and removes its directory."""

    host = HOST

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def delivered(self, address: str, count: int = 1, seconds: float = 30) -> list[bytes]:
        """What lies in an address's Maildir once so many messages are there."""
        box = self.directory / "mail" / address.partition("@")[0] / "new"
        deadline = time.monotonic() + seconds
        while not box.is_dir() or len(list(box.iterdir())) < count:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)
        return [path.read_bytes() for path in sorted(box.iterdir())]

    def log(self) -> str:
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else "no log"

    def launch(self) -> None:
        """Start and wait until it answers; another port when someone took it in between."""
        shutil.copytree(PREFIX / PROGRAMS, self.directory / "programs", symlinks=True)
        for name in ("etc", "queue", "data", "mail"):
            (self.directory / name).mkdir()
        for name in QUEUES:
            (self.directory / "queue" / name).mkdir()
        owned = [self.directory / "data", self.directory / "mail"]
        owned += [path for path in (self.directory / "queue").iterdir() if path.name != "pid"]
        for path in owned:
            shutil.chown(path, OWNER, OWNER)
        for _ in range(5):
            (self.port,) = free_ports(1)
            self._configure()
            if not (said := self._start()):
                return
        raise RuntimeError(f"Postfix does not start: {said} {self.log()}")

    def _configure(self) -> None:
        etc = self.directory / "etc"
        words = {"DIRECTORY": str(self.directory), "PORT": str(self.port)}
        owner = pwd.getpwnam(OWNER)
        words |= {"UID": str(owner.pw_uid), "GID": str(owner.pw_gid)}
        words |= {"OWNER": OWNER, "QUEUE_GROUP": QUEUE_GROUP}
        words["BOXES"] = ", ".join(f"{name}@example.org={name}/" for name in BOXES)
        for name, text in (("main.cf", MAIN), ("master.cf", MASTER)):
            (etc / name).write_text(re.sub(r"@([A-Z_]+)@", lambda word: words[word[1]], text))
            # A configuration that was just changed is read again and again, for two seconds.
            os.utime(etc / name, (time.time() - 3600,) * 2)

    def _start(self) -> str:
        """Nothing when it answers, else what it said when it ended."""
        programs = self.directory / "programs"
        process = subprocess.Popen(
            [
                "setpriv",
                "--pdeathsig",
                "TERM",
                programs / "sbin" / "master",
                "-c",
                self.directory / "etc",
                "-d",
            ],
            env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(programs)},
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
        if self._process is not None:
            end(self._process)
            self._process = None
        remove(self.directory)


def answers(process: subprocess.Popen[bytes], port: int, seconds: float = 20) -> bool:
    """Whether the greeting comes before the process ends or the time is up."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=5) as sock:
            if sock.recv(4) == b"220 ":
                return True
        time.sleep(0.01)
    return False


def end(process: subprocess.Popen[bytes]) -> str:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[1].decode(errors="replace").strip()


@contextlib.contextmanager
def running() -> Iterator[Postfix]:
    """A running Postfix; MissingServerError when there is none to run."""
    if os.geteuid() != 0:
        raise MissingServerError("Postfix runs as root only")
    if not (PREFIX / PROGRAMS / "sbin" / "master").exists():
        raise MissingServerError("Postfix is not there: .ci/postfix unpacks it from its package")
    # Not pytest's directory: its sockets have long names. The server's own user must get in.
    directory = pathlib.Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
    directory.chmod(0o755)
    server = Postfix(directory)
    try:
        server.launch()
        yield server
    finally:
        server.stop()


MAIN = """\
compatibility_level = 3.6
config_directory = @DIRECTORY@/etc
queue_directory = @DIRECTORY@/queue
data_directory = @DIRECTORY@/data
daemon_directory = @DIRECTORY@/programs/sbin
command_directory = @DIRECTORY@/programs/sbin
shlib_directory = no
mail_owner = @OWNER@
setgid_group = @QUEUE_GROUP@
default_privs = nobody
maillog_file = @DIRECTORY@/log
maillog_file_prefixes = @DIRECTORY@
import_environment = MAIL_CONFIG PATH TZ LD_LIBRARY_PATH=@DIRECTORY@/programs
export_environment = MAIL_CONFIG PATH TZ LD_LIBRARY_PATH
inet_protocols = ipv4
inet_interfaces = 127.0.0.1
myhostname = mail.example.org
mydestination = local.example.org
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = example.org
virtual_mailbox_base = @DIRECTORY@/mail
virtual_mailbox_maps = inline:{ @BOXES@ }
virtual_minimum_uid = 1
virtual_uid_maps = static:@UID@
virtual_gid_maps = static:@GID@
alias_maps = inline:{ dave=dave@example.org }
local_recipient_maps =
default_transport = discard:
smtpd_error_sleep_time = 0
message_size_limit = 1000000
smtpd_tls_security_level = none
smtputf8_enable = yes
"""

MASTER = """\
127.0.0.1:@PORT@ inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
local unix - n n - - local
postlog unix-dgram n - n - 1 postlogd
"""
