"""What becomes of errors of several accounts: printed, and one that stands for all of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from archiver.cli.text import printable
from archiver.errors import ArchiverError, PartialError


def conclude(errors: Mapping[str, ArchiverError], total: int, done: str) -> None:
    """Nothing without errors, else raise what those of `total` accounts come to.

    The only account's is raised itself; several are printed first. `done` is what could not be, "pulled".
    """
    if not errors:
        return
    first = next(iter(errors.values()))
    if len(errors) == total == 1:
        raise first
    print_errors(errors.values())
    if len(errors) < total:
        raise PartialError(f"{len(errors)} of {total} accounts could not be {done}")
    worst = next((exc for exc in errors.values() if not exc.transient), first)
    summary = ArchiverError(f"none of {total} accounts could be {done}")
    summary.exit_code = worst.exit_code
    raise summary


def print_errors(errors: Iterable[ArchiverError]) -> None:
    for exc in errors:
        print(f"archiver: {printable(str(exc))}", file=sys.stderr)
        if exc.hint:
            print(f"  {printable(exc.hint)}", file=sys.stderr)
