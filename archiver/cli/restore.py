"""archiver restore"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from archiver.cli.app import Session, as_text
from archiver.cli.output import print_json
from archiver.cli.progress import meter
from archiver.cli.text import count, printable, size
from archiver.errors import ArchiverError, InterruptedRun, PartialError, UsageError

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.archive.restore import Selection
    from archiver.restore import FolderReport, RestoreReport

# More messages than these are put back only after a question.
_MANY = 10
# So many that were not taken are listed of a folder.
_SHOWN = 20


@click.command(
    epilog="Exit codes: 0 every message is there, 1 none, or you said no, 2 usage, configuration or no such"
    " message, 3 some are not, 75 none, and trying again may help, 130 or 143 interrupted: the same command"
    " goes on."
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--to", "target", required=True, metavar="ACCOUNT", help="Into whose mailbox.")
@click.option("--query", metavar="Q", callback=as_text, help="Every message this query finds.")
@click.option("--from-file", metavar="FILE", help="Ids or keys, one a line; - reads them from stdin.")
@click.option("--account", metavar="NAME", callback=as_text, help="Only what was pulled from this account.")
@click.option("--from-folder", metavar="F", callback=as_text, help="Only what is in folders like this.")
@click.option("--with-gone", is_flag=True, help="Without ids or query: also what left its server.")
@click.option("--folder", metavar="F", callback=as_text, help="Put all of it into this folder.")
@click.option("--same-folders", is_flag=True, help="Put it into folders of the names it comes from.")
@click.option("--prefix", metavar="P", callback=as_text, default="", help="Those folders below this one.")
@click.option("--dry-run", is_flag=True, help="Say what would go where; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.pass_obj
def command(
    session: Session,
    ids: tuple[str, ...],
    target: str,
    query: str | None,
    from_file: str | None,
    account: str | None,
    from_folder: str | None,
    with_gone: bool,
    folder: str | None,
    same_folders: bool,
    prefix: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Put messages into a mailbox over IMAP: their bytes, flags and dates.

    ID is as for archiver show. What is there already is not put there again, so the same command goes on
    where it was interrupted. To move to another provider, restore one account's archive into another account.
    """
    archive = session.archive()
    archive.account(target)
    where = _where(folder, same_folders, prefix)
    keys = _keys(archive, ids, query, from_file)
    if keys is None and account is None and from_folder is None:
        raise UsageError("nothing to restore", hint="give ids, --query, --from-file, or --account")
    selection = _selection(keys, account, from_folder, with_gone)
    number = archive.restore_count(selection)
    if not dry_run and number > _MANY and not yes:
        _confirm(number, target)
    with session.stoppable(), meter(quiet=as_json) as progress:
        if dry_run:
            report = archive.restore_preview(selection, target, where)
        else:
            report = archive.restore(selection, target, where, progress)
    if as_json:
        print_json(report)
    else:
        _print(report, dry_run)
    if not dry_run:
        _conclude(report, session.stopped())


def _where(folder: str | None, same: bool, prefix: str) -> Callable[[str], str]:
    from archiver.restore import same_folders

    if (folder is not None) == same:
        raise UsageError("into which folder?", hint="give either --folder F or --same-folders")
    if folder is None:
        return same_folders(prefix)
    if prefix:
        raise UsageError("--prefix goes with --same-folders", hint="write the whole name after --folder")
    return lambda name: folder


def _keys(
    archive: Archive, ids: tuple[str, ...], query: str | None, from_file: str | None
) -> list[bytes] | None:
    """The messages that are named, each once; None when none are, so that all are meant."""
    if not ids and query is None and from_file is None:
        return None
    keys = [archive.resolve(text) for text in (*ids, *_lines(from_file))]
    if query is not None:
        keys += archive.search_keys(query)
    if not keys:
        raise UsageError("nothing is found to restore", hint="try the query with archiver search")
    return list(dict.fromkeys(keys))


def _lines(path: str | None) -> Iterable[str]:
    if path is None:
        return []
    text = sys.stdin.read() if path == "-" else _read(path)
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise UsageError(f"cannot read {path}: {reason}", hint="it has an id or key in each line") from exc


def _selection(keys: list[bytes] | None, account: str | None, folder: str | None, gone: bool) -> Selection:
    from archiver.archive.restore import Selection

    return Selection(keys, account, folder, gone)


def _confirm(number: int, target: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            f"{count(number, 'message')} would go to {target}, and nobody can be asked",
            hint="add --yes to put them there, --dry-run to look",
        )
    if not click.confirm(f"Put {count(number, 'message')} into {target}?", err=True):
        raise ArchiverError("nothing was put back: you said no")


def _print(report: RestoreReport, dry_run: bool) -> None:
    for folder in report.folders:
        print(printable(f"{report.account}/{folder.folder}: {_amounts(folder, dry_run)}"))
        for failure in folder.failed[:_SHOWN]:
            print(printable(f"  {failure.key.hex()[:8]}  {failure.reason}"))
            if failure.hint:
                print(printable(f"            {failure.hint}"))
        if len(folder.failed) > _SHOWN:
            print(f"  and {len(folder.failed) - _SHOWN:,} more; --json lists all")


def _amounts(folder: FolderReport, dry_run: bool) -> str:
    parts = []
    if dry_run:
        parts.append(f"would put {count(folder.left, 'message')} there")
        parts += ["would create it"] if folder.created else []
    else:
        parts.append(f"{count(folder.restored, 'message')} put back ({size(folder.bytes)})")
        parts += ["created"] if folder.created else []
    parts += [f"{folder.there:,} there already"] if folder.there else []
    parts += [f"{len(folder.failed):,} not taken"] if folder.failed else []
    parts += [f"{folder.left:,} left"] if folder.left and not dry_run else []
    return ", ".join(parts) + (f": {folder.error.message}" if folder.error else "")


def _conclude(report: RestoreReport, stopped: bool) -> None:
    if not report.exit_code:
        return
    total = sum(f.restored + f.there + len(f.failed) + f.left for f in report.folders)
    there = total - report.missing
    if stopped or isinstance(report.error, InterruptedRun):
        raise InterruptedRun(f"interrupted: {there} of {total} messages are there")
    errors = [exc for exc in (report.error, *(folder.error for folder in report.folders)) if exc]
    if errors and not there:
        raise errors[0]
    hints = dict.fromkeys(exc.hint for exc in errors if exc.hint)
    why = f": {errors[0]}" if errors else ""
    error = (PartialError if there else ArchiverError)(
        f"{there} of {total} messages are there{why}",
        hint="; ".join([*hints, "the same command tries the others again"]),
    )
    error.exit_code = report.exit_code
    raise error
