"""archiver check"""

from __future__ import annotations

import click

from archiver.cli.app import Session
from archiver.cli.text import count, one_line, printable
from archiver.errors import ArchiverError, PartialError


@click.command(
    epilog="Exit codes: 0 valid, and every login works, 1 no login works, 2 the configuration is wrong,"
    " 3 some logins fail, 75 no login works, and trying again may help."
)
@click.option("--connect", is_flag=True, help="Log in to every account and sending server; list the folders.")
@click.pass_obj
def command(session: Session, connect: bool) -> None:
    """Validate the configuration, all problems at once; with --connect, try every login.

    Nothing is pulled, sent or changed. A folder marked with a minus is left out by the configuration.
    """
    archive = session.archive()
    config = archive.config
    servers = count(len(config.smtp), "sending server")
    print(
        f"{printable(session.path)} is valid: {count(len(config.accounts), 'account')}, {servers},"
        f" archive in {printable(config.archive)}"
    )
    for name, query in config.searches.items():
        print(f"  saved:{name}  {one_line(query, 100)}")
    if absent := archive.missing():
        print(absent)
    if not connect:
        return
    failures: list[ArchiverError] = []
    for check in archive.check():
        if check.error:
            failures.append(check.error)
            print(f"\n{check.account}: {printable(str(check.error))}")
            continue
        server = archive.config.accounts[check.account].imap
        print(f"\n{check.account}: logged in to {server.host}:{server.port} ({server.security})")
        print(f"  server: {printable(check.server) or 'does not say'}")
        print(f"  capabilities: {printable(' '.join(check.capabilities))}")
        for name, messages, chosen in check.folders:
            shown = "?" if messages is None else f"{messages:,}"
            print(f"  {' ' if chosen else '-'} {shown:>10}  {printable(name)}")
    for name, error in archive.check_smtp():
        print(f"\n{name} (sending): {printable(str(error)) if error else 'logged in'}")
        if error:
            failures.append(error)
    _conclude(failures, len(config.accounts) + len(config.smtp))


def _conclude(failures: list[ArchiverError], total: int) -> None:
    if not failures:
        return
    if total == 1:
        raise failures[0]
    hints = "; ".join(dict.fromkeys(failure.hint for failure in failures if failure.hint))
    kind = PartialError if len(failures) < total else ArchiverError
    error = kind(f"{len(failures)} of {total} logins failed", hint=hints or None)
    if len(failures) == total and all(failure.transient for failure in failures):
        error.exit_code = failures[0].exit_code
    raise error
