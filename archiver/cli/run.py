"""archiver run"""

from __future__ import annotations

import sys
from datetime import datetime

import click

from archiver.cli.app import Session
from archiver.cli.text import printable


@click.command(
    epilog="Exit codes: 0 stopped by SIGTERM or Ctrl-C, which is how it ends well, 1 failed, 2 usage or"
    " configuration, 75 another archiver run has this archive, 130 or 143 stopped by a second signal."
)
@click.pass_obj
def command(session: Session) -> None:
    """Sync every account on its schedule until SIGTERM or Ctrl-C; SIGHUP reads the configuration again.

    With push an account is also synced whenever its server says that something changed.
    One process an archive; it stays in the foreground and logs to stderr, a line each time. An account that
    is late, or that never ran, runs at once. One that fails for the moment is tried again with growing
    delays; the others go on. A stop waits for the batches in hand, a second signal does not.
    """
    from archiver.schedule import Daemon

    config = session.load()
    daemon = Daemon(config, session.load, _log, session.stopped, debug=session.debug)
    _log(f"configuration {session.path}, archive {config.archive}")
    with session.stoppable(daemon.wake), daemon.reloaded_by_signal():
        daemon.run()


def _log(text: str) -> None:
    """A line of the log: local time, then what happened. A log that cannot be written stops no work."""
    try:
        # One write: the threads of several accounts have lines.
        sys.stderr.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {printable(text)}\n")
        sys.stderr.flush()
    except OSError:
        pass
