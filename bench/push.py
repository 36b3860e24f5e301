"""How soon new mail is here: from the moment it is handed to the server until its file is on disk.

    python -m bench.push

`archiver run` with push, mail delivered by APPEND, one message at a time, to servers that differ in how they
tell. Beside it a bare connection listens for when the server says so: Dovecot waits half a second before it
does, unless it hibernates its idle connections, as large sites have it; what is ours is the difference.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import common
from tests.servers import dovecot

TARGET = 0.5
# Between two messages: so long that a server hibernates, and that none profits from the one before.
PAUSE = (1.5, 2.5)


@dataclass(frozen=True)
class Server:
    """A way of telling: what is printed, the server's options, and what a client says to be told."""

    title: str
    options: dovecot.Options
    state: str
    listen: tuple[str, ...]


IDLE = ("EXAMINE INBOX", "IDLE")
WITHOUT_NOTIFY = (
    "IMAP4rev1 IDLE UIDPLUS LITERAL+ ENABLE CONDSTORE QRESYNC ID SPECIAL-USE LIST-EXTENDED LIST-STATUS"
)
SERVERS = (
    Server(
        "IDLE, the server tells at once (Dovecot, hibernating)",
        dovecot.Options(settings=dovecot.HIBERNATING, capability=WITHOUT_NOTIFY),
        "IDLE on INBOX",
        IDLE,
    ),
    Server(
        "IDLE, the server waits first (Dovecot)",
        dovecot.Options(capability=WITHOUT_NOTIFY),
        "IDLE on INBOX",
        IDLE,
    ),
    Server(
        "NOTIFY (Dovecot, which waits first)",
        dovecot.Options(),
        "NOTIFY on 1 folder",
        ("NOTIFY SET (personal (MessageNew MessageExpunge))",),
    ),
)


@dataclass(frozen=True)
class Arrival:
    """Seconds after a message was handed over: when the server said so, and when its file was there."""

    told: float
    stored: float


def main() -> None:
    parser = common.arguments(__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=20, help="for each server (default: %(default)s)")
    options = parser.parse_args()
    common.require()
    for number, server in enumerate(SERVERS):
        common.heading(f"push: {server.title}, {options.messages} messages, archive in {options.root}")
        report(measure(server, options), binding=number == 0)


def report(arrivals: list[Arrival], *, binding: bool) -> None:
    stored, told = [a.stored for a in arrivals], [a.told for a in arrivals]
    ours = [a.stored - a.told for a in arrivals]
    print(f"  {'seconds':<34}{'median':>9}{'least':>9}{'most':>9}")
    for name, values in (
        ("arrival to file on disk", stored),
        ("arrival to the server's word", told),
        ("the server's word to the file", ours),
    ):
        print(f"  {name:<34}{statistics.median(values):9.3f}{min(values):9.3f}{max(values):9.3f}")
    # Where the server itself takes as long, what is ours has to be judged.
    what, value = ("arrival to file", stored) if binding else ("the server's word to the file", ours)
    median = statistics.median(value)
    common.verdict(f"{what}: median {median:.3f} s", f"under {TARGET} s", median < TARGET)


def measure(server: Server, options: argparse.Namespace) -> list[Arrival]:
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(common.workplace(options.root))
        running = dovecot.start(server.options)
        stack.callback(running.stop)
        user = running.new_user()
        stack.enter_context(daemon(user, place, server.state))
        ear = stack.enter_context(Ear(user, server.listen))
        return [deliver(number, user, place, ear) for number in range(1, options.messages + 1)]


@contextlib.contextmanager
def daemon(user: dovecot.User, place: Path, state: str) -> Iterator[None]:
    """`archiver run` with push, listening."""
    config = common.archiver_config(user, place, user.server.port)
    text = config.read_text(encoding="utf-8")
    config.write_text(text + "    schedule: push\n", encoding="utf-8")
    environment = {**os.environ, common.PASSWORD_VARIABLE: user.password}
    process = subprocess.Popen(
        common.archiver(config, "run"), stderr=subprocess.PIPE, env=environment, text=True
    )
    assert process.stderr is not None
    try:
        log: list[str] = []
        while f"bench: {state}" not in (line := process.stderr.readline()):
            log.append(line)
            if not line:
                raise SystemExit(f"archiver run does not listen:\n{''.join(log)}")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        time.sleep(3)  # the first pull of everything, which is no arrival's
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


class Ear:
    """A bare connection that is told of new mail, and when."""

    def __init__(self, user: dovecot.User, listen: tuple[str, ...]) -> None:
        self._socket = socket.create_connection((user.server.host, user.server.port))
        self._lines = self._socket.makefile("rb")
        self._lines.readline()
        self._idles = listen[-1] == "IDLE"
        for command in (f'LOGIN "{user.name}" "{user.password}"', *listen):
            self._say(command)
        self.told = 0.0
        self._heard = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _say(self, command: str) -> None:
        self._socket.sendall(f"a {command}\r\n".encode())
        while not (line := self._lines.readline()).startswith((b"a ", b"+")):
            if not line:
                raise SystemExit("the server hung up")

    def _follow(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in self._lines:
                if b"EXISTS" in line or b"UIDNEXT" in line:
                    if not self._heard.is_set():
                        self.told = time.perf_counter()
                        self._heard.set()
                    if self._idles:
                        self._socket.sendall(b"DONE\r\na IDLE\r\n")

    def expect(self) -> None:
        self._heard.clear()

    def wait(self) -> None:
        self._heard.wait(30)

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


def deliver(number: int, user: dovecot.User, place: Path, ear: Ear) -> Arrival:
    """One message; both moments, counted from before it was sent."""
    time.sleep(random.uniform(*PAUSE))
    ear.expect()
    begun = time.perf_counter()
    user.save(f"Subject: message {number}\r\n\r\n{'text ' * 400}\r\n".encode())
    directory = place / "archive" / "mail" / "bench" / "INBOX" / "cur"
    while not directory.is_dir() or len(os.listdir(directory)) < number:
        if time.perf_counter() - begun > 30:
            raise SystemExit(f"message {number} did not come within 30 s")
        time.sleep(0.002)
    stored = time.perf_counter()
    ear.wait()
    return Arrival(ear.told - begun, stored - begun)


if __name__ == "__main__":
    main()
