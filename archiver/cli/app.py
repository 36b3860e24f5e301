"""The root command, what verbs share, and signals."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from archiver import __version__

if TYPE_CHECKING:
    from types import FrameType

    from archiver.archive import Archive
    from archiver.config import Config

# Verb -> what it does, in the order of a first day's use; each is a module here, loaded when called.
VERBS = {
    "check": "Validate the configuration; with --connect, log in everywhere",
    "sync": "Pull new mail, then index it",
    "search": "Find messages",
    "count": "Count the messages a query finds",
    "stats": "Count messages by month, sender, folder, list and size",
    "addresses": "List the people of messages, for completion in mail clients",
    "tag": "Give messages tags of your own, or take them away",
    "show": "Show a message",
    "thread": "Show the conversation a message belongs to",
    "attachments": "List or save a message's attachments",
    "resend": "Send messages again over SMTP",
    "restore": "Put messages back into a mailbox, or into another one",
    "outbox": "Show what was sent again and what became of it; send it once more, or never",
    "export": "Write messages to an mbox, a Maildir, .eml files or a .zip of those",
    "import": "Take in an mbox, a Maildir, .eml files or an archive of those",
    "prune": "Delete from the server what is proven archived",
    "status": "Show what is archived, and the last and next runs",
    "run": "Sync on schedule until stopped",
    "verify": "Compare mail, ledger, index and, if told to, servers; mend them",
    "reindex": "Build the index anew",
    "account": "Show whose mailbox an account is, or say it is the same one",
}


class Session:
    """One run of the program: its options, where its configuration is, the signal it got."""

    def __init__(self) -> None:
        self.config: str | None = None
        self.path = ""
        self.debug = False
        self.signal = 0

    def load(self) -> Config:
        """The configuration as it is now, found at `path`; warnings about it are printed."""
        from archiver import config

        path = config.find(self.config, os.environ)
        self.path = str(path)
        loaded = config.load(path, _wrong_searches)
        for warning in config.warnings(loaded, path):
            say(f"warning: {warning}")
        return loaded

    def archive(self) -> Archive:
        """The archive of the configuration."""
        from archiver.archive import Archive

        return Archive(self.load(), say=say, stop=self.stopped)

    def stopped(self) -> bool:
        return bool(self.signal)

    @contextmanager
    def stoppable(self, on_signal: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Let the first SIGINT or SIGTERM ask the work to stop, and the second end it at once.

        Ending at once is safe: what a killed run leaves is what the next run expects.
        """

        def handle(number: int, frame: FrameType | None) -> None:
            if self.signal:
                _write_now(_SHOW_CURSOR if sys.stderr.isatty() else "")
                os._exit(128 + number)
            self.signal = number
            _write_now("stopping after the batch in hand; once more to abort\n")
            on_signal()

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)


def _wrong_searches(searches: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong with saved searches, each with the place in it."""
    from archiver.cli.text import pointed
    from archiver.search.saved import problems

    for name, error in problems(searches):
        lines = [error.message, *pointed(error.query, error.position), *filter(None, [error.hint])]
        yield name, "\n  ".join(lines)


# A progress bar hides it.
_SHOW_CURSOR = "\x1b[?25h"


def _write_now(text: str) -> None:
    """Write to stderr from a signal handler, where `print` may find itself interrupted."""
    try:
        os.write(2, text.encode())
    except OSError:
        pass  # nobody reads it; what the signal asked for counts


def say(text: str) -> None:
    """A notice for people, on stderr."""
    from archiver.cli.text import printable

    # One write: the threads of several accounts have notices.
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def as_text(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A callback for arguments that are words, and no paths: bytes that are no UTF-8 are refused."""
    for text in value if isinstance(value, tuple) else (value or "",):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise click.BadParameter("not UTF-8 text", ctx, parameter) from None
    return value


class _Verbs(click.Group):
    """Lists verbs from the table, so that help loads none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"archiver.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, VERBS, n=1)
            ctx.fail(f"no verb {name!r}{f'; did you mean {near[0]}?' if near else ''}")
        return super().resolve_command(ctx, args)


EXIT_CODES = """\
\b
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 done in part,
75 temporary (try again), 130 or 143 interrupted.
Each verb's own help: archiver VERB --help
"""


@click.group(
    cls=_Verbs,
    subcommand_metavar="VERB ...",
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--config",
    metavar="FILE",
    help="The configuration; else $ARCHIVER_CONFIG, ./config.yaml or"
    " $XDG_CONFIG_HOME/archiver/config.yaml, the first there is.",
)
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.version_option(__version__, prog_name="archiver")
@click.pass_obj
def root(session: Session, config: str | None, debug: bool) -> None:
    """Keep every message of your mailboxes in a local Maildir, find any of them, send any of them again."""
    session.config = config
    session.debug = debug
