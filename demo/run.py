"""The guided run: each step is told in a line, printed as the command a user would type, and really run."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import click

from demo.compose import OWNER
from demo.directory import DemoError, Directory, Settings
from demo.samples import Sample, folders, mailbox
from demo.servers import HOST, Arrival, Servers

FRIEND = "nora@example.net"
STEP_LIMIT = 120.0  # seconds; a step that takes longer hangs

SEARCHES = (
    ("One word; the newest message comes first.", ["telescope"]),
    ("A phrase.", ['"green tiles"']),
    ("What one person wrote, in whatever script the name is.", ["from:田中"]),
    (
        "Everything with an attachment, from one year only.",
        ["has:attachment", "after:2023-01-01", "before:2024-01-01"],
    ),
    ("Chinese, by any two characters: train tickets.", ["车票"]),
    ("Japanese: meetings. The mail is in ISO-2022-JP, the query is not.", ["会議"]),
    ("What is unread in a folder and those below it.", ["is:unread", "folder:仕事"]),
    ("Conditions can be combined and grouped.", ["(Сатурн OR Saturn) NOT from:nightsky"]),
)


@dataclass(frozen=True)
class Stage:
    """What the steps need: the program and the configuration, as the user would name them."""

    program: Path
    config: Path

    def run(self, *arguments: str) -> None:
        """Run one command with its output where ours goes; DemoError when it fails."""
        self._call(arguments, capture=False)

    def key(self, *query: str) -> str:
        """Run a search that prints keys, show its output too, and return the first key."""
        arguments = ("search", *query, "--format", "keys", "--limit", "1")
        keys = self._call(arguments, capture=True).split()
        if not keys:
            raise DemoError(f"nothing was found by: {shlex.join(arguments)}")
        return keys[0]

    def _call(self, arguments: tuple[str, ...], capture: bool) -> str:
        shown = f"archiver --config {shlex.quote(str(self.config))} {shlex.join(arguments)}"
        prompt(shown)
        try:
            done = subprocess.run(
                [str(self.program), "--config", str(self.config), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture else None,
                timeout=STEP_LIMIT,
            )
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"no end after {STEP_LIMIT:.0f} seconds: {shown}") from error
        output = (done.stdout or b"").decode("utf-8", "replace")
        click.echo(output, nl=False)
        if done.returncode:
            raise DemoError(f"exit code {done.returncode} from: {shown}", exit_code=done.returncode)
        return output


def tell(text: str) -> None:
    """One line of narration before a step."""
    click.echo()
    click.secho(text, fg="cyan")


def prompt(command: str) -> None:
    """A command as it would be typed; flushed, for the command's own output follows."""
    click.echo(click.style("$ ", fg="green") + click.style(command, bold=True))
    sys.stdout.flush()


def run(directory: Directory) -> None:
    """The whole demo, from a fresh directory to the goodbye; DemoError when a step fails."""
    began = time.monotonic()
    program = _program()
    samples = mailbox()
    credentials = directory.make_fresh()
    with Servers(samples, credentials) as servers:
        directory.remember(Settings(servers.imap_port, servers.smtp_port))
        stage = Stage(program, directory.config)
        _introduce(directory, servers, samples)
        _pull(stage)
        _search(stage)
        _open(stage, directory)
        _resend(stage, servers)
        _look_after(stage)
    _say_goodbye(directory, time.monotonic() - began)


def _program() -> Path:
    """The `archiver` command of this very interpreter's environment."""
    program = Path(sys.executable).parent / "archiver"
    if program.exists():
        return program
    found = shutil.which("archiver")
    if not found:
        raise DemoError("the archiver command is not installed here: run `make demo`", exit_code=2)
    return Path(found)


def _introduce(directory: Directory, servers: Servers, samples: tuple[Sample, ...]) -> None:
    mail = f"{len(samples)} messages in {len(folders(samples))} folders"
    tell(f"Two servers run in this process now: IMAP at {HOST}:{servers.imap_port}, holding {mail},")
    click.secho(f"and SMTP at {HOST}:{servers.smtp_port}. This configuration names them:", fg="cyan")
    prompt(f"cat {shlex.quote(str(directory.config))}")
    click.echo(directory.config.read_text("utf-8"), nl=False)


def _pull(stage: Stage) -> None:
    tell("Is the configuration right, and do the servers let us in?")
    stage.run("check", "--connect")
    tell("Pull everything into the archive, and index it.")
    stage.run("sync")
    tell("What is archived now?")
    stage.run("status")
    tell("Pull again: there is nothing new, so nothing is downloaded.")
    stage.run("sync")


def _search(stage: Stage) -> None:
    for narration, query in SEARCHES:
        tell(narration)
        stage.run("search", *query)


def _open(stage: Stage, directory: Directory) -> None:
    tell("Scripts get keys instead of a table ...")
    key = stage.key('"green tiles"')
    tell("... and the first characters of a key are enough to read the message.")
    stage.run("show", key[:8])
    tell("Attachments come out under safe names.")
    offer = stage.key("filename:Angebot")
    stage.run("attachments", offer[:8], "--save", str(directory.path / "attachments"))


def _resend(stage: Stage, servers: Servers) -> None:
    tell("Send a message again, to a friend. First only say what would be done.")
    key = stage.key("comet", "from:whitcombe")
    stage.run("resend", key[:8], "--to", FRIEND, "--dry-run")
    tell("Now really.")
    stage.run("resend", key[:8], "--to", FRIEND)
    if not servers.arrived:
        raise DemoError("the SMTP server has received nothing")
    tell("This is what arrived at the SMTP server (its first lines):")
    _show_arrival(servers.arrived[-1], key)


def _show_arrival(arrival: Arrival, key: str) -> None:
    """Print the Resent- block and prove that the rest is what was archived: a key is its SHA-256."""
    block, rest = split_resent(arrival.content)
    click.echo(f"envelope: from <{arrival.sender}> to {', '.join(f'<{one}>' for one in arrival.recipients)}")
    click.echo(block.decode("utf-8", "replace").replace("\r\n", "\n"), nl=False)
    digest = hashlib.sha256(rest).hexdigest()
    if not block or digest != key:
        raise DemoError(f"what arrived is not the archived message: SHA-256 {digest}, archived {key}")
    same = f"The {len(rest):,} bytes after the Resent- block equal the archived message's bytes"
    click.secho(f"{same} (SHA-256 {digest[:16]}...).", fg="green")


def split_resent(content: bytes) -> tuple[bytes, bytes]:
    """The Resent- header lines that a message begins with (RFC 5322, 3.6.6), and all that follows."""
    end = 0
    for line in content.splitlines(keepends=True):
        folded = end and line[:1] in (b" ", b"\t")
        if not folded and not line.lower().startswith(b"resent-"):
            break
        end += len(line)
    return content[:end], content[end:]


def _look_after(stage: Stage) -> None:
    tell("The outbox knows what was sent, to whom, and what the server said.")
    stage.run("outbox")
    tell("Is everything still as it was stored?")
    stage.run("verify")


def _say_goodbye(directory: Directory, seconds: float) -> None:
    config = shlex.quote(str(directory.config))
    click.echo()
    click.secho(
        f"That was the demo, in {seconds:.0f} seconds; the two servers are gone again.", fg="green", bold=True
    )
    click.echo(f"""\
{directory.path}/config.yaml   the configuration
{directory.path}/archive       the archive; its mail/ is a Maildir for any mail program
{directory.path}/attachments   what was saved from a message

Searching goes on without servers. Try:
  export PATH={shlex.quote(str(_program().parent))}:"$PATH"
  archiver --config {config} search lighthouse
  archiver --config {config} search 'folder:"Архив/*" телескоп'
  archiver --config {config} search --help
To pull and resend by hand, start the same servers again and leave them running:
  {shlex.quote(os.path.relpath(sys.executable))} -m demo{_directory_option(directory)} serve
Mail resent to {OWNER} then lands in its INBOX, where the next sync finds it.
The server forgets that mail when it stops; the archive does not, and calls it gone.""")


def _directory_option(directory: Directory) -> str:
    return (
        "" if directory.path == Path("demo-archive") else f" --directory {shlex.quote(str(directory.path))}"
    )


def serve(directory: Directory) -> None:
    """The last demo's servers once more, on their ports, until Ctrl-C; DemoError when they cannot start."""
    settings, credentials = directory.recall()
    samples = mailbox()
    ports = (settings.imap_port, settings.smtp_port)
    try:
        with Servers(samples, credentials, *ports, settings.generation, _announce):
            click.echo(f"IMAP at {HOST}:{ports[0]} ({len(samples)} messages), SMTP at {HOST}:{ports[1]}.")
            click.echo(f"In another terminal: archiver --config {shlex.quote(str(directory.config))} sync")
            click.echo("Ctrl-C ends both servers.")
            sys.stdout.flush()
            threading.Event().wait()
    except OSError as error:
        raise DemoError(
            f"a port of {directory.config} is taken ({error}): is another `serve` running?"
        ) from error
    except KeyboardInterrupt:
        click.echo("\nBoth servers are gone.")


def _announce(arrival: Arrival) -> None:
    click.echo(
        f"SMTP: {len(arrival.content):,} bytes from <{arrival.sender}> to {', '.join(arrival.recipients)}"
    )
