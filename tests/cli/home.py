"""A home with a configuration, the program run in it, and what its complaints look like."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from types import TracebackType
from typing import Any

from archiver.cli import main
from tests.conftest import AnyUser

PROGRAM = str(Path(sys.executable).parent / "archiver")
PASSWORD = "s3cr3t-Pa55"


@dataclass(frozen=True)
class Result:
    """What a run of the program left; `out` as bytes too, for what is byte for byte."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    def json(self) -> Any:
        return json.loads(self.raw)

    def lines(self) -> list[str]:
        return self.out.splitlines()


class Process(subprocess.Popen[bytes]):
    """A process that does not outlive a test that failed."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, trace)


class Home:
    """A directory of a user: a configuration, an archive, and runs of the program."""

    def __init__(self, path: Path, pycache: Path) -> None:
        self.path = path
        self.root = path / "archive"
        self.config = path / "config.yaml"
        self._pycache = pycache
        self.settings: dict[str, Any] = {"archive": "archive", "accounts": {}, "smtp": {}}

    def make_archive(self) -> None:
        """An archive with nothing in it, as a sync that found nothing leaves one."""
        (self.root / "mail").mkdir(mode=0o700, parents=True)

    def account(self, name: str, port: int, user: str = "user", **imap: Any) -> None:
        """Add or replace an account on a local server, without encryption unless told."""
        rest = {"folders", "schedule", "flags_every"}
        server = {
            "host": "127.0.0.1",
            "port": port,
            "security": "none",
            "user": user,
            "password": "secret",
            "connect_timeout": "5s",
            "read_timeout": "5s",
            **{key: value for key, value in imap.items() if key not in rest},
        }
        others = {key: value for key, value in imap.items() if key in rest}
        self.settings["accounts"][name] = {"imap": server, **others}
        self.write()

    def mailbox(self, user: AnyUser, name: str = "work", **more: Any) -> None:
        """Add an account for a user of one of the tests' servers."""
        self.account(name, user.server.port, user.name, **{"password": user.password, **more})

    def smtp(self, port: int, name: str = "relay", **more: Any) -> None:
        """Add a local sending server."""
        base = {"host": "127.0.0.1", "port": port, "security": "none", "from": "me@example.org"}
        timeouts = {"connect_timeout": "2s", "read_timeout": "2s"}
        self.settings["smtp"][name] = {**base, **timeouts, **more}
        self.write()

    def write(self, text: str | None = None) -> None:
        """Write the configuration, JSON being YAML; or this text instead."""
        self.config.touch(0o600)
        self.config.write_text(json.dumps(self.settings, indent=1) if text is None else text, "utf-8")

    def call(self, *arguments: str) -> Result:
        """Run the command line in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["--config", str(self.config), *arguments])
        return Result(code, _content(out), _content(err).decode())

    def good(self, *arguments: str) -> Result:
        """A run in this process that must succeed."""
        result = self.call(*arguments)
        assert result.code == 0, result
        return result

    def spawn(self, *arguments: str, bare: bool = False, **options: Any) -> Process:
        """Start the program as a process of its own, in this home; `bare` without --config."""
        pipes: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        env = self.environment() | options.pop("env", {})
        command = [PROGRAM, *(() if bare else ("--config", str(self.config))), *arguments]
        return Process(command, env=env, cwd=self.path, **(pipes | options))

    def run(self, *arguments: str, timeout: float = 60, **options: Any) -> Result:
        """Run the program as a process of its own, to its end."""
        with self.spawn(*arguments, **options) as process:
            out, err = process.communicate(timeout=timeout)
        return Result(process.returncode, out or b"", (err or b"").decode(errors="surrogateescape"))

    def environment(self) -> dict[str, str]:
        """Of a plain user: a UTF-8 locale, UTC, and none of the test runner's own variables."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "TERM": "xterm-256color",
            "PYTHONPYCACHEPREFIX": str(self._pycache),
        }

    def terminal(
        self,
        *arguments: str,
        columns: int = 100,
        env: Mapping[str, str] | None = None,
        answers: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run the program with a terminal on all three streams: exit code and all that it showed.

        `answers` are typed when the text before them is seen.
        """
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        streams: dict[str, Any] = {
            "stdin": theirs,
            "stdout": theirs,
            "stderr": theirs,
            "start_new_session": True,
        }
        with self.spawn(*arguments, env=dict(env or {}), preexec_fn=_take_terminal, **streams) as process:
            os.close(theirs)
            seen, waiting = b"", dict(answers or {})
            while data := _read(ours):
                seen += data
                text = seen.decode(errors="replace")
                for asked in [asked for asked in waiting if asked in text]:
                    # A key that comes before the program reads is not seen to interrupt its reading.
                    time.sleep(0.2)
                    os.write(ours, waiting.pop(asked).encode())
        os.close(ours)
        return process.returncode, seen.decode()


def _content(stream: io.TextIOWrapper) -> bytes:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue()


def _take_terminal() -> None:
    """Let Ctrl-C on it reach this process."""
    ioctl(0, termios.TIOCSCTTY, 0)


def _read(terminal: int) -> bytes:
    """What the terminal shows next; nothing when its last user is gone."""
    ready, _, _ = select.select([terminal], [], [], 60)
    assert ready, "the program is silent for a minute"
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something another thread or process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def complains(result: Result, code: int, *words: str) -> None:
    """One line that says what, hints below it, the exit code, and no word more."""
    # That an archive was made is a notice, no complaint.
    lines = [line for line in result.err.splitlines() if not line.endswith(" yet: it is made")]
    assert result.code == code, result
    assert [line for line in lines if not line.startswith("  ")] == lines[:1], result
    assert lines[0].startswith("archiver: "), result
    for word in words:
        assert word in result.err, result
    _says_no_secret(result)


def traces(result: Result, code: int) -> None:
    """The same error with --debug: a traceback, and still no secret."""
    assert result.code == code, result
    assert "Traceback (most recent call last)" in result.err
    _says_no_secret(result)


def _says_no_secret(result: Result) -> None:
    for text in (result.err, result.raw.decode(errors="replace")):
        assert PASSWORD not in text
        assert not [c for c in text if not c.isprintable() and c not in "\n\t"], repr(text)


def fails(home: Home, arguments: Sequence[str], code: int, *words: str) -> Result:
    """Both of the above, in this process; the first one's result."""
    result = home.call(*arguments)
    complains(result, code, *words)
    traces(home.call("--debug", *arguments), code)
    return result
