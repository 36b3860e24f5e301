"""archiver run"""

from __future__ import annotations

import sys
from datetime import datetime

import click

from archiver.cli.app import Session
from archiver.cli.text import printable


@click.command()
@click.pass_obj
def command(session: Session) -> None:
    """Sync every account on its schedule until SIGTERM or Ctrl-C; SIGHUP reads the configuration again.

    One process an archive. A failed account is tried again with growing delays; the others go on.
    """
    from archiver.schedule import Daemon

    path, config = session.load()
    daemon = Daemon(config, lambda: session.load()[1], _log, session.stopped)
    _log(f"configuration {path}, archive {config.archive}")
    with session.stoppable(daemon.wake), daemon.reloaded_by_signal():
        daemon.run()
    # A stop that was asked for is how a daemon ends well.
    session.exit_code = 0


def _log(text: str) -> None:
    """A line of the log: local time, then what happened."""
    print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {printable(text)}", file=sys.stderr, flush=True)
