"""The demo's directory: a configuration that works, and what the servers must remember.

A file of its own marks it; no directory without that file is ever removed or written to.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from demo.compose import OWNER
from demo.servers import HOST, Credentials

MARKER = ".archiver-demo"
USER = "demouser"


class DemoError(Exception):
    """The demo cannot go on; its message is for the user, `exit_code` for the shell."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Settings:
    """What `serve` must know again: the ports in the configuration, and how often the servers have run."""

    imap_port: int
    smtp_port: int
    generation: int = 0


@dataclass(frozen=True)
class Directory:
    """The directory as the user wrote it; relative paths stay relative, so that commands read well."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration for `archiver --config`."""
        return self.path / "config.yaml"

    @property
    def archive(self) -> Path:
        """The archive's root, absolute."""
        return self.path.absolute() / "archive"

    @property
    def password_file(self) -> Path:
        """Where both servers' password is, absolute."""
        return self.path.absolute() / "password"

    def make_fresh(self) -> Credentials:
        """An empty directory with marker and password, in place of the last demo's; DemoError otherwise."""
        if self.path.is_symlink() or (self.path.exists() and not self._is_ours()):
            raise DemoError(
                f"{self.path} is there and was not made by the demo: it is left as it is. "
                "Move it away, or name another directory with --directory.",
                exit_code=2,
            )
        if self.path.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(mode=0o700, parents=True)
        (self.path / MARKER).write_text("{}\n")
        password = secrets.token_urlsafe(12)
        _write_private(self.password_file, password + "\n")
        return Credentials(USER, password)

    def _is_ours(self) -> bool:
        return (self.path / MARKER).is_file()

    def remember(self, settings: Settings) -> None:
        """Write the marker and the configuration that goes with it."""
        _write_private(self.path / MARKER, json.dumps(asdict(settings)) + "\n")
        _write_private(self.config, self._config_text(settings))

    def recall(self) -> tuple[Settings, Credentials]:
        """What the last run left, counted as one more run; DemoError when there was none."""
        try:
            settings = Settings(**json.loads((self.path / MARKER).read_text()))
            password = self.password_file.read_text().strip()
        except (OSError, ValueError, TypeError) as error:
            message = f"there is no finished demo in {self.path} ({error}): run `make demo` first"
            raise DemoError(message, exit_code=2) from error
        settings = replace(settings, generation=settings.generation + 1)
        _write_private(self.path / MARKER, json.dumps(asdict(settings)) + "\n")
        return settings, Credentials(USER, password)

    def _config_text(self, settings: Settings) -> str:
        password = f"{{file: {json.dumps(str(self.password_file), ensure_ascii=False)}}}"
        return f"""\
# Made by the demo. Its servers are on this machine only, up during `make demo` or `python -m demo serve`.
archive: {json.dumps(str(self.archive), ensure_ascii=False)}
accounts:
  demo:
    imap:
      host: {HOST}
      port: {settings.imap_port}
      security: none  # allowed on loopback only
      user: {USER}
      password: {password}
    folders: {{exclude: []}}
    schedule: {{every: 15m}}
smtp:
  demo:
    host: {HOST}
    port: {settings.smtp_port}
    security: none
    user: {USER}
    password: {password}
    from: {OWNER}
"""


def _write_private(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
