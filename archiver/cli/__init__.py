"""The command line: verbs, and the one place that catches ArchiverError and prints it."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from archiver.cli.app import Session, root
from archiver.cli.text import pointed, printable
from archiver.errors import ArchiverError, ConfigError, InterruptedRun, QueryError

# As the shell reports a program that a closed pipe ended.
_PIPE_EXIT = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit code of README's table."""
    # Compiled for the first time, a library of ours would tell the user about its style.
    warnings.filterwarnings("ignore", category=SyntaxWarning)
    _open_streams()
    if arguments is None:
        _name_files_in_utf8()
    code = _run(Session(), sys.argv[1:] if arguments is None else list(arguments))
    return _flushed(code)


def _run(session: Session, arguments: list[str]) -> int:
    if not arguments:
        bare = root.make_context("archiver", [], resilient_parsing=True)
        _complain(*bare.get_help().splitlines())
        return 2
    try:
        # Not root.main(): that one answers for closed pipes and other errors itself.
        with root.make_context("archiver", arguments, obj=session) as context:
            root.invoke(context)
        return 0
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        _usage(exc)
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("archiver: interrupted")
        return 128 + (session.signal or 2)
    except ArchiverError as exc:
        _explain(exc)
        _debug(session)
        return 128 + session.signal if isinstance(exc, InterruptedRun) and session.signal else exc.exit_code
    except BrokenPipeError:
        return _PIPE_EXIT
    except OSError as exc:  # no room or no right where the user pointed us, standard output for one
        _complain(*_of_the_system(exc))
        _debug(session)
        return 1
    except Exception as exc:  # a bug: said in one line, since a traceback helps no user
        _complain(f"archiver: internal error ({type(exc).__name__}); --debug shows where")
        _debug(session)
        return 1


def _of_the_system(exc: OSError) -> tuple[str, ...]:
    why = exc.strerror or type(exc).__name__
    where = f": {exc.filename}" if exc.filename else ""
    if exc.errno in (errno.EMFILE, errno.ENFILE):
        return f"archiver: {why}{where}", "  let it open more of them at once: ulimit -n says how many"
    # Files of ours have errors of ours: without a name it is what is printed to.
    return (f"archiver: {why}{where}" if where else f"archiver: cannot write the output: {why}",)


def _open_streams() -> None:
    """Let all three standard streams lead somewhere, and take any character.

    A closed one would be the number of the next file that is opened, and get what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
        elif number and getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def _name_files_in_utf8() -> None:
    """Start over where the locale says otherwise: the archive's names are UTF-8 in all of them."""
    if sys.getfilesystemencoding() != "utf-8":
        streams = {"PYTHONUTF8": "1", "PYTHONIOENCODING": f"{sys.stdout.encoding}:replace"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | streams)


def _flushed(code: int) -> int:
    """Print what is still held back: nothing of it may be left to the interpreter's own, loud end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as exc:
            # What reads our output has seen enough, or it has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if isinstance(exc, BrokenPipeError):
                code = code or _PIPE_EXIT
            else:
                _complain(f"archiver: cannot write the output: {exc.strerror}")
                code = code or 1
    return code


def _usage(exc: click.ClickException) -> None:
    context = getattr(exc, "ctx", None)
    path = context.command_path if context else "archiver"
    hint = f"{path} --help says what there is"
    if isinstance(exc, click.NoSuchOption) and context and _takes_query(context.command):
        hint = f"a query that begins with a minus goes after a double dash: {path} -- -is:read; {hint}"
    _complain(f"archiver: {exc.format_message()}", f"  {hint}")


def _takes_query(command: click.Command) -> bool:
    return any(isinstance(each, click.Argument) and each.name == "query" for each in command.params)


def _explain(exc: ArchiverError) -> None:
    """One line that says what, indented ones that say where exactly and what to do."""
    # Where an interrupted run was matters to nobody.
    lines = [f"archiver: {exc.message if isinstance(exc, InterruptedRun) else exc}"]
    if isinstance(exc, ConfigError):
        lines += [f"  {line}" for problem in exc.problems for line in problem.split("\n")]
    if isinstance(exc, QueryError):
        lines += [f"  {line}" for line in pointed(exc.query, exc.position)]
    if exc.hint:
        lines.append(f"  {exc.hint}")
    _complain(*lines)


def _debug(session: Session) -> None:
    """The traceback; it quotes servers."""
    if session.debug:
        import traceback

        _complain(*traceback.format_exc().splitlines())


def _complain(*lines: str) -> None:
    """Lines on stderr, if it still leads anywhere."""
    try:
        for line in lines:
            print(printable(line), file=sys.stderr)
    except OSError:
        pass  # the exit code still tells
