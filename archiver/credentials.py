"""Where a password comes from: an environment variable, a file, a command, or the configuration itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from archiver.config import SecretSource
from archiver.errors import CredentialError, InterruptedRun

COMMAND_SECONDS = 60


def secret(source: SecretSource, what: str) -> str:
    """The secret itself; `what` names its use in errors, e.g. `accounts.work.imap.password`.

    Raises CredentialError, whose text never holds the secret nor what a command printed.
    """
    if source.literal is not None:
        value = source.literal
    elif source.env is not None:
        value = _from_env(source.env, what)
    elif source.file is not None:
        value = _from_file(source.file, what)
    else:
        value = _from_command(source.command or "", what)
    if not value:
        raise CredentialError(
            f"{what}: the secret is empty", hint="check where the configuration takes it from"
        )
    if any(c in value for c in "\r\n\0"):
        raise CredentialError(f"{what}: the secret holds a line break or NUL", hint="store it as one line")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise CredentialError(f"{what}: the secret is not UTF-8 text")
    return value


def _from_env(name: str, what: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise CredentialError(f"{what}: the environment variable {name} is not set", hint=f"export {name}")
    return value


def _from_file(path: str, what: str) -> str:
    try:
        with open(path, "rb") as file:
            line = file.readline()
    except OSError as exc:
        raise CredentialError(f"{what}: cannot read {path}: {exc.strerror}") from exc
    except ValueError:
        raise CredentialError(f"{what}: cannot read {path!r}: it is no file name") from None
    return _first_line(line, f"{what}: {path}")


def _from_command(command: str, what: str) -> str:
    # Without a terminal nobody sees what a hung command leaves behind: a session of its own lets all of it
    # be ended. On a terminal it may want to ask there, and Ctrl-C reaches it.
    alone = sys.stdin is None or not sys.stdin.isatty()
    try:
        process = subprocess.Popen(command, shell=True, stdout=subprocess.PIPE, start_new_session=alone)
    except (OSError, ValueError):
        raise CredentialError(f"{what}: the command cannot be run") from None
    with process:
        try:
            printed, _ = process.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            _end(process, alone)
            raise CredentialError(f"{what}: the command did not end in {COMMAND_SECONDS} s") from None
        except BaseException:
            _end(process, alone)
            raise
    if -process.returncode in (signal.SIGINT, signal.SIGTERM):
        raise InterruptedRun(signal_number=-process.returncode)
    if process.returncode:
        raise CredentialError(
            f"{what}: the command failed with exit code {process.returncode}",
            hint="run it by hand to see why",
        )
    return _first_line(printed, f"{what}: what the command prints")


def _end(process: subprocess.Popen[bytes], alone: bool) -> None:
    try:
        if alone:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        pass  # it ended meanwhile


def _first_line(data: bytes, source: str) -> str:
    """The first line without its end: LF or CRLF; a CR elsewhere stays, to be refused."""
    try:
        return data.split(b"\n", 1)[0].removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        # Not chained: its text would quote the bytes of the secret.
        raise CredentialError(f"{source} is not UTF-8 text") from None
