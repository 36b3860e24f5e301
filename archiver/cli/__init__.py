"""The command line: verbs, and the one place that catches ArchiverError and prints it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from archiver.cli.app import Session, root
from archiver.cli.text import printable
from archiver.errors import ArchiverError, ConfigError, InterruptedRun, QueryError

# As the shell reports a program that a closed pipe ended.
_PIPE_EXIT = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code of README's table."""
    session = Session()
    try:
        root.main(args=arguments, prog_name="archiver", standalone_mode=False, obj=session)
        return session.exit_code
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 128 + (session.signal or 2)
    except BrokenPipeError:
        # What reads our output has seen enough. Nothing more may be flushed into the void at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_EXIT
    except ArchiverError as exc:
        _explain(exc)
        _debug(session)
        return 128 + session.signal if isinstance(exc, InterruptedRun) and session.signal else exc.exit_code
    except Exception as exc:  # a bug: said in one line, since a traceback helps no user
        print(f"archiver: internal error ({type(exc).__name__}); --debug shows where", file=sys.stderr)
        _debug(session)
        return 1


def _explain(exc: ArchiverError) -> None:
    print(f"archiver: {printable(str(exc))}", file=sys.stderr)
    if isinstance(exc, ConfigError):
        for problem in exc.problems:
            print(f"  {printable(problem)}", file=sys.stderr)
    if isinstance(exc, QueryError):
        print(f"  {printable(exc.query)}\n  {' ' * exc.position}^", file=sys.stderr)
    if exc.hint:
        print(f"  {printable(exc.hint)}", file=sys.stderr)


def _debug(session: Session) -> None:
    if session.debug:
        traceback.print_exc()
